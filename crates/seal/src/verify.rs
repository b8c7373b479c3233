//! Verifies a seal under a public key whose right to seal somebody else decides. Pure.

use bytes::Bytes;
use media::{ClusterId, StreamId};

use crate::cose::Envelope;
use crate::limits::SEAL_BYTES_MAX;
use crate::{KeyId, PublicKey, Refusal, RefusalReason, Sealed, content, encoding};

/// The key that a seal names. Nothing is verified.
///
/// # Errors
/// `Malformed`, when it is not a seal at all.
pub fn key_named(cose: &[u8]) -> Result<KeyId, Refusal> {
    Envelope::read(cose, SEAL_BYTES_MAX).map(|envelope| envelope.key)
}

/// Verifies a seal that was presented as one of `stream`: everything that [`crate::Keyring::verify`] checks, apart from the grant of the
/// key and the time of issue.
///
/// Refuses with `Malformed` what is no seal or breaks a rule of its content, with `Key` one of another key, with `Signature` a wrong
/// signature, with `Identity` one of another cluster or stream, and with `Implausible` a number out of range.
pub fn verify_seal(cose: &Bytes, key: &PublicKey, cluster: &ClusterId, stream: &StreamId) -> Result<Sealed, Refusal> {
    let refuse = |reason, detail: String| Err(Refusal::new(reason, detail));
    let envelope = Envelope::read(cose, SEAL_BYTES_MAX)?;
    if envelope.key != key.id() {
        return refuse(RefusalReason::Key, format!("signed by {}, not by {}", envelope.key, key.id()));
    }
    if !envelope.is_signed_by(key) {
        return refuse(RefusalReason::Signature, format!("not a signature of key {}", envelope.key));
    }
    let body = encoding::decode_body(envelope.payload)?;
    if body.cluster != *cluster || body.stream != *stream {
        return refuse(RefusalReason::Identity, format!("seal of stream {} of cluster {}", body.stream, body.cluster));
    }
    content::check(&body)?;
    Ok(Sealed::new(body, cose.clone(), envelope.key))
}
