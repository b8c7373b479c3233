//! Tests that span modules.

pub(crate) mod author;
mod content;
mod encoding;
mod head;
mod keyring;
mod oracle;
