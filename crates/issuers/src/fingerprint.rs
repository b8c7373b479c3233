//! Which key signed a token. Pure.

use aws_lc_rs::digest::{SHA256, digest};

/// Which public key signed a token: SHA-256 of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn of(material: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, material).as_ref());
        Self(bytes)
    }
}

/// Which key of which issuer with which settings signed a token: another one once any of them changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signer(pub [u8; 32]);
