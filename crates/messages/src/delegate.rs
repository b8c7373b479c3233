//! What control tells a streamer who wants to delegate a session to a shared ingest. Pure.

use media::{NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

/// A shared ingest to which sessions can be delegated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegate {
    pub node: NodeId,
    /// Identity of its sealing key, hexadecimal.
    pub key: String,
}

/// Answer to `GET /cluster/v1/delegates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegates {
    /// Until when the streamer's own grants last: a delegation ends before.
    pub granted_until: UnixMillis,
    /// Sorted by name.
    pub ingests: Vec<Delegate>,
}
