//! Several ingests with the same stream: whose turn it is to seal, and the media that the others keep ready.
//!
//! [`turn`] and [`backlog`] are pure; [`peer_ingests`] is the shell around `turn`.

pub(crate) mod backlog;
pub(crate) mod peer_ingests;
pub(crate) mod turn;
