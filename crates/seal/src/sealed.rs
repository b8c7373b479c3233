//! A seal with its signature. Pure.

use std::sync::Arc;

use bytes::Bytes;
use media::Digest;
use sha2::Digest as _;

use crate::limits::SEAL_BYTES_MAX;
use crate::{Error, KeyId, Refusal, SealBody, Signer, content, cose, encoding};

/// A seal that a [`crate::Keyring`] verified or [`sign_seal`] made: nothing else creates one. Clones share one allocation.
#[derive(Debug, Clone)]
pub struct Sealed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    body: SealBody,
    raw: Bytes,
    digest: Digest,
    key: KeyId,
}

impl Sealed {
    pub(crate) fn new(body: SealBody, raw: Bytes, key: KeyId) -> Self {
        let digest = digest(&raw);
        Self(Arc::new(Inner { body, raw, digest, key }))
    }

    pub fn body(&self) -> &SealBody {
        &self.0.body
    }

    /// The whole signed `COSE_Sign1`, as nodes send it.
    pub fn raw(&self) -> &Bytes {
        &self.0.raw
    }

    /// SHA-256 of [`Sealed::raw`], which the next seal names.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The key that signed it.
    pub fn key(&self) -> KeyId {
        self.0.key
    }
}

impl PartialEq for Sealed {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for Sealed {}

/// Signs a seal. Errors when its content breaks a rule, so that every node would refuse it, when it is too large, or when the signer
/// fails.
pub fn sign_seal(body: &SealBody, signer: &impl Signer) -> Result<Sealed, Error> {
    content::check(body).map_err(Error::Content)?;
    let raw = cose::seal(&encoding::encode_body(body), signer, SEAL_BYTES_MAX)?;
    Ok(Sealed::new(body.clone(), raw.into(), signer.key_id()))
}

/// Reads the content of a seal and the key that it names, *without verifying anything*: for a person who inspects a file.
///
/// # Errors
/// `Malformed`, when it is not a seal at all.
pub fn peek(cose: &Bytes) -> Result<(KeyId, SealBody), Refusal> {
    let envelope = cose::Envelope::read(cose, SEAL_BYTES_MAX)?;
    Ok((envelope.key, encoding::decode_body(envelope.payload)?))
}

/// SHA-256 of bytes, as seals name them.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}
