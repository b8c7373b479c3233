//! The key that signs viewer tokens in tests, and what such a token says.

use access::TokenKey;
use access::token::{Claims, Named, Streams, audience};
use media::{ClusterId, StreamId, UnixMillis};
use metadata::{TokenId, Verifier};

/// Seed of the key. Whoever reads this could sign with it: no cluster outside of tests has it.
pub const SEED: [u8; TokenKey::SEED_BYTES] = [7; TokenKey::SEED_BYTES];

/// The key.
pub fn key() -> TokenKey {
    TokenKey::from_seed(&SEED).unwrap()
}

/// The row that makes nodes take its tokens for the streams of the tenant `default`.
pub fn verifier(from: UnixMillis, until: UnixMillis) -> Verifier {
    Verifier { key: key().public(), from, until, tenant: None }
}

/// A token of the viewer `u81` for one stream, for an hour.
pub fn claims(cluster: &ClusterId, stream: &StreamId, now_s: u64) -> Claims {
    Claims {
        sub: Some("u81".to_owned()),
        aud: audience(cluster),
        exp: now_s + 3_600,
        nbf: now_s,
        jti: TokenId([5; 8]),
        streams: Streams::Some(vec![Named::from(stream)]),
        admit_by: None,
        ver: 0,
        origins: Vec::new(),
        strict: false,
        max_viewers: None,
        chat: false,
    }
}
