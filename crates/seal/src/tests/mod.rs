//! Tests of more than one module.

pub(crate) mod author;
mod content;
mod encoding;
mod keyring;
mod oracle;
