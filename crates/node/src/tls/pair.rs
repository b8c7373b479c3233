//! A certificate and its private key, read from two files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{parse_certificates, provider};
use crate::files;

/// A certificate and its key, as read from two files.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) certified: Arc<CertifiedKey>,
    /// The key as it is in its file.
    pub(super) private: PrivateKeyDer<'static>,
    digest: [u8; 32],
}

impl Pair {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let certificate_pem = files::read_bounded(certificate)?;
        let chain = parse_certificates(&certificate_pem, certificate)?;
        let key_pem = zeroize::Zeroizing::new(files::read_bounded(key)?);
        let private = PrivateKeyDer::from_pem_slice(&key_pem)
            .with_context(|| format!("{} is not a PEM file of a private key", key.display()))?;
        let certified = CertifiedKey::from_der(chain.clone(), private.clone_key(), &provider())
            .with_context(|| format!("{} is not the key of {}", key.display(), certificate.display()))?;
        let digest = digest_of(&[&certificate_pem, &key_pem]);
        Ok(Self { chain, certified: Arc::new(certified), private, digest })
    }

    /// Whether it was read from files with the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// SHA-256 of several files, each after its length.
fn digest_of(contents: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for content in contents {
        context.update(&content.len().to_be_bytes());
        context.update(content);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// What reading the files again found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reread {
    /// Their content is the same.
    Same,
    /// Their content is new, and counts from the next handshake on.
    New,
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn end_s(certificate: &CertificateDer<'_>) -> Option<i64> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed.validity().not_after.timestamp())
}

pub(super) fn warn_when_others_can_read(path: &Path) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o077);
    if matches!(mode, Ok(bits) if bits != 0) {
        tracing::warn!(path = %path.display(), "others can read this private key; make it mode 0600");
    }
}
