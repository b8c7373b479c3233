//! What the certificate of a node says.

use media::Digest;
use node::tls;
use rustls_pki_types::CertificateDer;

/// What a certificate says.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// SHA-256 of its public key.
    pub(crate) spki: Digest,
    /// Host names and addresses.
    pub(crate) names: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub(crate) valid_from_s: i64,
}

impl Shown {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        Some(Self {
            spki: tls::spki_of(certificate)?,
            names: tls::names_of(certificate),
            valid_from_s: tls::valid_from_s(certificate)?,
        })
    }
}
