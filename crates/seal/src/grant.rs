//! What keys may seal, as the metadata log says it. Whoever hands in rights has verified the log that they come from. Pure.

use std::collections::BTreeMap;

use media::{NodeId, StreamId, UnixMillis};

use crate::{KeyId, SignedDelegation};

/// What a key may seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All streams of these pools.
    Pools(Vec<String>),
    /// These streams.
    Streams(Vec<StreamId>),
}

impl Scope {
    /// Whether it covers a stream, which is in this pool; `None` for a stream that is in none.
    pub fn covers(&self, stream: &StreamId, pool: Option<&str>) -> bool {
        match self {
            Self::Pools(pools) => pool.is_some_and(|pool| pools.iter().any(|covered| covered == pool)),
            Self::Streams(streams) => streams.contains(stream),
        }
    }
}

/// A key that may seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// ML-DSA-44, 1312 bytes. Verifiers take public keys only from grants.
    pub public_key: Vec<u8>,
    /// The ingest that has the private key.
    pub node: NodeId,
    /// What it may seal; the metadata log allows at most 128 names.
    pub scope: Scope,
    /// A streamer's key, which may let another node's key seal a session of its streams ([`crate::Delegation`]).
    pub may_delegate: bool,
    /// Valid from this time on. A renewed grant begins anew.
    pub from: UnixMillis,
    /// Valid until this time, exclusive.
    pub until: UnixMillis,
}

impl Grant {
    /// Identity of the key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.public_key)
    }
}

/// All that the metadata log says about keys, at one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Grants, also those that are over: recordings were sealed under them.
    pub grants: Vec<Grant>,
    /// Keys that nobody may trust any more, and [`KeyId::of_node`] of nodes whose keys nobody may trust. Each has the time since when it may
    /// have been in wrong hands: what it signed with that time or a later one is void.
    pub revoked: BTreeMap<KeyId, UnixMillis>,
    /// The pool of each stream.
    pub pools: BTreeMap<StreamId, String>,
    /// What streamers let shared ingests do, also what is over. Their signatures need not be verified.
    pub delegations: Vec<SignedDelegation>,
}
