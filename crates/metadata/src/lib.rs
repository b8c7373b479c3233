//! The metadata log: what a cluster agrees on at the pace of people, so that nobody can forge it, lose it or roll it back.
//!
//! Control appends entries under a key that a [`RootStatement`] names. Each entry writes or removes rows, names the chain value
//! before it and the digest of all rows after it, and is a `COSE_Sign1` with ML-DSA-44 in the one encoding of the `seal` crate.
//! Every node folds the log with a [`Replica`] and reads what counts through its [`View`]. A broker or peer can hold the log back,
//! which [`Freshness`] shows, and can do nothing else. Deliberately knows no MQTT, HTTP or disk. Pure.

mod access;
mod author;
mod body;
mod entry;
mod fields;
mod freshness;
mod ids;
pub mod kind;
pub mod limits;
mod pages;
mod replica;
mod root;
mod rows;
mod sessions;
mod state;
mod tenants;
mod trust;
mod view;

pub use access::{
    RevokedTokens, TokenId, TokenIssuer, TokenKeyId, TokenRevocation, Verifier, ViewerDigest, Visibility,
};
pub use author::{Draft, Edit, SignedEntry};
pub use body::{Body, Cluster, Member, NodePolicy, Revocation, Revoked, StreamKeyMac, StreamSettings, Tombstone};
pub use entry::{Change, Entry, Head, Row, row_digest, row_writes};
pub use freshness::Freshness;
pub use ids::{EntrySequence, LogId, RowId};
pub use pages::{ChatRules, ChatWriters, Embedding, PageSettings};
pub use replica::{Evidence, Input, Output, Place, Replica};
pub use root::{Branch, Control, RootStatement, RootStep, Roots, sign_root};
pub use seal::{Delegation, Grant, Scope, SignedDelegation};
pub use sessions::{PersonDigest, SessionRow, SessionRule, SessionToken};
pub use tenants::{ApiKey, Tenant, TenantQuota};
pub use trust::{DelegatedSession, GrantedKey, Proof, Proven, ProvenRow, Trust, root_fingerprint};
pub use view::View;

#[cfg(test)]
mod tests;
