//! Numbers of the kinds of rows, which never change. Pure.

/// [`crate::Cluster`]
pub const CLUSTER: u64 = 1;
/// [`crate::Member`]
pub const MEMBER: u64 = 2;
/// [`crate::Grant`]
pub const GRANT: u64 = 3;
/// [`crate::Revocation`]
pub const REVOCATION: u64 = 4;
/// The last seal of a revoked key that counts; no version writes it. The time of a revocation decides that ([`crate::Revocation`]).
pub const ANCHOR: u64 = 5;
/// [`crate::Tenant`]
pub const TENANT: u64 = 6;
/// [`crate::StreamSettings`]
pub const STREAM: u64 = 7;
/// [`crate::NodePolicy`]
pub const POLICY: u64 = 8;
/// [`crate::Verifier`]
pub const VERIFIER: u64 = 9;
/// A recording; no version writes it yet.
pub const RECORDING: u64 = 10;
/// [`crate::Tombstone`]
pub const TOMBSTONE: u64 = 11;
/// [`crate::SignedDelegation`]
pub const DELEGATION: u64 = 12;
/// [`crate::TokenRevocation`]. A kind of its own, and no subject of [`REVOCATION`]: a version that does not know it takes the entry.
pub const TOKEN_REVOCATION: u64 = 13;
/// [`crate::ApiKey`]
pub const API_KEY: u64 = 14;
/// [`crate::SessionRow`]
pub const SESSION: u64 = 15;
/// [`crate::TokenIssuer`]
pub const TOKEN_ISSUER: u64 = 16;
/// A member of a tenant. The log has no rows of people, and only [`crate::Tombstone`]s of those that were deleted.
pub const PERSON: u64 = 17;
