//! Tests of more than one module.

pub(crate) mod author;
mod content;
mod encoding;
mod head;
mod keyring;
mod oracle;
