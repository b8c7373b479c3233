//! Limits of the metadata log, each with its reason.

use std::time::Duration;

use crate::kind;

/// Most keys of a root statement: two people who can replace each other, twice.
pub const ROOT_KEYS_MAX: usize = 4;
/// Most control keys of a root statement: two nodes, each with a successor, and room for those that are retired.
pub const CONTROLS_MAX: usize = 16;
/// Longest root statement in bytes: four root keys and sixteen control keys (26 kB), signed by eight keys of two versions.
pub const ROOT_BYTES_MAX: usize = 320 * 1024;
/// Longest entry in bytes, without its rows: [`CHANGES_MAX`] changes of 56 bytes, and a signature.
pub const ENTRY_BYTES_MAX: usize = 24 * 1024;
/// Most changes of one entry: a request of an operator changes a few rows, an import some hundred.
pub const CHANGES_MAX: usize = 256;
/// Longest row in bytes: the name, description and settings of a stream.
pub const ROW_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of the rows of one entry: fits one MQTT message with its entry.
pub const ROWS_BYTES_MAX: usize = 192 * 1024;
/// Longest head in bytes.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Buckets of the state digest: a Merkle tree of twelve levels, which a browser can walk.
pub const BUCKETS: usize = 4096;
/// Newest entries that a replica can take back, and whose chain values it knows: to tell a head of the past from a fork, and to
/// follow a branch of the root. Days, at the pace of people.
pub const HISTORY_MAX: usize = 4096;
/// Most pieces of evidence that a replica keeps; the first are kept.
pub const EVIDENCE_MAX: usize = 16;

/// Most root statements of a [`crate::Trust`]: one a year for a working life.
pub const TRUST_ROOTS_MAX: usize = 32;
/// Most rows of a [`crate::Trust`]: the grants in force of a large cluster. That of a stream has far fewer.
pub const TRUST_ROWS_MAX: usize = 1_024;
/// Most keys that a [`crate::Trust`] speaks of for one stream: those that have sealed what a node shows of it.
pub const TRUST_KEYS_MAX: usize = 16;
/// Most delegations that it has for one stream: the newest.
pub const TRUST_DELEGATIONS_MAX: usize = 4;
/// Most rows of a bucket that a viewer reads: four times the mean of the largest log.
pub const BUCKET_ROWS_MAX: usize = 4_096;
/// Longest [`crate::Trust`] in bytes. That of a cluster with two rows in a bucket has 10 kB.
pub const TRUST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far an entry or a head may be ahead of the own clock.
pub const AHEAD_MAX: Duration = Duration::from_secs(30);
/// A head older than this is stale: an operator is told.
pub const STALE_AFTER: Duration = Duration::from_secs(30);
/// A head older than this is critical.
pub const CRITICAL_AFTER: Duration = Duration::from_secs(600);

/// Most public-key digests of a member: the one in use, and its successor.
pub const SPKI_MAX: usize = 2;
/// Most pools or streams of a grant.
pub const SCOPE_MAX: usize = 128;
/// Most sites that may show a stream's player: the pages of one tenant, and its partners'.
pub const ORIGINS_MAX: usize = 16;
/// Most MACs of a stream's key in each form: the one in use, and its successor.
pub const KEY_MACS_MAX: usize = 2;
/// Longest text field in bytes: titles, reasons and URLs.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Longest slug of a tenant in bytes.
pub const TENANT_BYTES_MAX: usize = 64;
/// Longest settings and keys of an issuer of tokens, in bytes: some twenty RSA keys, and room for the rest of the row.
pub const ISSUER_BYTES_MAX: usize = 14 * 1024;

/// Most rows of each kind, by its number.
pub const fn rows_max(kind: u64) -> usize {
    match kind {
        kind::CLUSTER => 1,
        kind::MEMBER | kind::GRANT | kind::POLICY | kind::DELEGATION | kind::TOKEN_ISSUER => 4_096,
        kind::TENANT => 10_000,
        kind::REVOCATION | kind::VERIFIER | kind::TOKEN_REVOCATION => 65_536,
        kind::ANCHOR | kind::STREAM | kind::API_KEY => 100_000,
        kind::RECORDING | kind::TOMBSTONE => 2_000_000,
        // As many as versions take that do not know the kind: they would stop at an entry with more.
        kind::SESSION => 1_000,
        _ => 1_000,
    }
}
