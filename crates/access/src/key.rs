//! Ed25519 keys of viewer tokens (RFC 8032). AWS-LC refuses a signature whose scalar is not reduced, so a signature has one form; keys
//! come from the metadata log, and never from a token. Pure.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use metadata::TokenKeyId;

/// The seed or the public key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key")]
pub struct KeyRefused;

/// A key that signs tokens. The library wipes what it frees.
pub struct TokenKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Bytes of a seed.
    pub const SEED_BYTES: usize = 32;

    /// The key of a seed.
    ///
    /// # Errors
    /// When the library refuses the seed.
    pub fn from_seed(seed: &[u8; Self::SEED_BYTES]) -> Result<Self, KeyRefused> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyRefused)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyRefused)?;
        Ok(Self { pair, public })
    }

    /// The public key.
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// What tokens name the key by.
    pub fn id(&self) -> TokenKeyId {
        TokenKeyId::of(&self.public)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// A key that verifies tokens, parsed once.
#[derive(Clone)]
pub struct VerifyingKey {
    parsed: ParsedPublicKey,
    public: [u8; 32],
    tenant: Option<String>,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&TokenKeyId::of(&self.public)).finish()
    }
}

impl VerifyingKey {
    /// A key of the tenant `default`.
    ///
    /// # Errors
    /// When the bytes are no point of the curve.
    pub fn new(public: &[u8; 32]) -> Result<Self, KeyRefused> {
        Self::of_tenant(public, None)
    }

    /// A key of a tenant, by its slug; `None` for the tenant `default`.
    ///
    /// # Errors
    /// When the bytes are no point of the curve.
    pub fn of_tenant(public: &[u8; 32], tenant: Option<String>) -> Result<Self, KeyRefused> {
        let parsed = ParsedPublicKey::new(&ED25519, public).map_err(|_| KeyRefused)?;
        Ok(Self { parsed, public: *public, tenant })
    }

    /// The public key.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whose streams its tokens open.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
