//! Signatures of deliveries (Standard Webhooks 1.0.0, "Signature scheme"). Pure.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// The scheme: HMAC-SHA256.
const VERSION: &str = "v1";
/// Length of a secret, in bytes.
pub const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
/// Most secrets that sign one delivery: the one that counts, and the one before it, while a rotation overlaps.
pub const SECRETS_MAX: usize = 2;

/// A text that is no secret. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no secret of a webhook: write whsec_ and {} to {} bytes in base64", SECRET_BYTES.start(), SECRET_BYTES.end())]
pub struct InvalidSecret;

/// The secret that an endpoint shares. `Debug` hides it, and dropping wipes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of random bytes.
    ///
    /// # Errors
    /// When there are fewer or more of them than [`SECRET_BYTES`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(bytes);
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidSecret) }
    }

    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// When the text is not one, or has fewer or more bytes than [`SECRET_BYTES`].
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        Self::new(STANDARD.decode(encoded).map_err(|_| InvalidSecret)?)
    }

    /// The text that its owner is shown once.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The header `webhook-signature` of a delivery: one signature for each of the first [`SECRETS_MAX`] secrets. `id` and `timestamp_s` are
/// the headers `webhook-id` and `webhook-timestamp`; `body` is what is sent, byte for byte.
pub fn signature(secrets: &[Secret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let sign = |secret: &Secret| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0));
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        format!("{VERSION},{}", STANDARD.encode(context.sign()))
    };
    secrets.iter().take(SECRETS_MAX).map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use standardwebhooks::Webhook;

    use super::*;

    #[derive(Deserialize)]
    struct Signed {
        secret: String,
        id: String,
        timestamp_s: u64,
        body: String,
        signature: String,
    }

    /// Case E5: what the reference library for Python signs is what we sign, byte for byte.
    #[test]
    fn deliveries_that_the_reference_library_signed_have_our_signature() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../testdata/signed-elsewhere.json")).unwrap();
        let signed: Vec<Signed> = serde_json::from_value(file["signed"].clone()).unwrap();
        assert_eq!(signed.len(), 4);
        for Signed { secret, id, timestamp_s, body, signature: expected } in signed {
            let ours = signature(&[Secret::parse(&secret).unwrap()], &id, timestamp_s, body.as_bytes());
            assert_eq!(ours, expected, "{id}");
        }
    }

    /// Whether one of the signatures is the one that the reference library for Rust makes.
    fn is_verified(secret: &Secret, id: &str, timestamp_s: u64, body: &str, signature: &str) -> bool {
        let reference = Webhook::new(&secret.expose()).unwrap();
        let expected = reference.sign(id, i64::try_from(timestamp_s).unwrap(), body.as_bytes()).unwrap();
        signature.split(' ').any(|one| one == expected)
    }

    proptest! {
        /// Case E5: what we sign, the reference library for Rust signs the same way; and nothing else.
        #[test]
        fn reference_library_signs_the_same(bytes in prop::collection::vec(any::<u8>(), 24..=64), body in ".{0,200}") {
            let secret = Secret::new(bytes).unwrap();
            let signed = signature(std::slice::from_ref(&secret), "evt_1", 1_700_000_000, body.as_bytes());
            prop_assert!(is_verified(&secret, "evt_1", 1_700_000_000, &body, &signed));
            prop_assert!(!is_verified(&secret, "evt_2", 1_700_000_000, &body, &signed));
            prop_assert!(!is_verified(&secret, "evt_1", 1_700_000_001, &body, &signed));
            let longer = format!("{body} ");
            prop_assert!(!is_verified(&secret, "evt_1", 1_700_000_000, &longer, &signed));
        }
    }

    /// Case E6.
    #[test]
    fn both_secrets_verify_while_a_rotation_overlaps() {
        let [old, new, other] = [1, 2, 3].map(|byte| Secret::new(vec![byte; 24]).unwrap());
        let signed = signature(&[new.clone(), old.clone(), other.clone()], "evt_1", 1_700_000_000, b"{}");
        let verified = |secret: &Secret| is_verified(secret, "evt_1", 1_700_000_000, "{}", &signed);
        assert_eq!([&old, &new, &other].map(verified), [true, true, false]);
    }

    #[test]
    fn secrets_are_long_enough_and_never_printed() {
        let secret = Secret::new(vec![7; 24]).unwrap();
        assert_eq!(Secret::parse(&secret.expose()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for wrong in
            ["", "whsec_", "whsec_AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(Secret::parse(wrong), Err(InvalidSecret), "{wrong}");
        }
        assert!(Secret::new(vec![7; 23]).is_err() && Secret::new(vec![7; 65]).is_err());
    }
}
