//! Tokens (JWT, RFC 7519) that other people's issuers sign: which issuers there are, whether a token of theirs is good, and what it allows.
//!
//! The decisions are pure modules that know no clock and no socket: [`Settings`], `token` (reading a token), `jwks` (reading keys),
//! `decide` (claims, signature, rights) and `freshness` (when keys are fetched). Around them, `cache` fetches keys through
//! [`outbound`] and [`Issuers`] puts it all together. `jsonwebtoken` verifies signatures and nothing else: it would accept symmetric keys,
//! texts for dates and repeated members, so reading is ours. [`Known`] is an issuer, or a registered key, as the metadata log has it: whoever
//! has it asks nobody.
//!
//! Does not own what a token is used for: `ingest` takes publishers' tokens in place of stream keys.

mod algorithm;
mod cache;
mod claims;
mod decide;
mod fingerprint;
mod foreign;
mod freshness;
mod identity;
mod json;
mod jwks;
mod known;
mod limits;
mod refusal;
mod registry;
mod self_test;
mod settings;
mod sign_in;
mod token;
mod viewing;

pub use algorithm::Algorithm;
pub use cache::PublicKeys;
pub use decide::{Streams, Verified};
pub use fingerprint::{Fingerprint, Signer};
pub use foreign::{ForeignKeys, ForeignViewer};
pub use freshness::Bounds;
pub use identity::{Identity, id_token};
pub use known::{Document, DocumentKind, KEYS_MAX, Known, registered};
pub use limits::TOKEN_BYTES_MAX;
pub use refusal::Refusal;
pub use registry::Issuers;
pub use self_test::self_test;
pub use settings::{ISSUERS_MAX, Role, Rule, Settings, Use};
pub use sign_in::{Question, SignIn};
pub use token::{issuer_of, looks_like_a_token};
pub use viewing::Viewing;

/// Names and help texts of this crate's metrics.
pub const METRICS: &[(&str, &str)] = &[
    ("issuers_fetches_total", "Fetches of issuers' key sets, by result."),
    ("issuers_stale", "Issuers whose newest fetch of keys failed: their last good keys are used, for a while."),
];
