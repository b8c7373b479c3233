//! Tests that span modules.

pub(crate) mod author;
mod content;
mod delegation;
mod encoding;
mod head;
mod keyring;
mod oracle;
