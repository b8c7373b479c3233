//! Whose certificates servers outside may show: the authorities that the system trusts, and those that the operator adds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, OtherError, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Authorities that the system trusts (Debian's `ca-certificates`).
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longest file of authorities, in bytes. Debian's has 250 kB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTrust {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no PEM file of certificates, or has more than {FILE_BYTES_MAX} bytes", .path.display())]
    NoCertificates { path: PathBuf },
    #[error("{SYSTEM_AUTHORITIES} is not there: install ca-certificates, or give outbound_ca")]
    Nobody,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The authorities, as rustls takes them.
#[derive(Debug, Clone)]
pub struct Trust {
    pub(crate) tls: Arc<ClientConfig>,
}

impl Trust {
    /// Reads the system's authorities and those of `extra`, a PEM file. Blocks for the disk.
    ///
    /// # Errors
    /// When a file cannot be read, or there are no authorities at all.
    pub fn load(extra: Option<&Path>, provider: Arc<CryptoProvider>) -> Result<Self, InvalidTrust> {
        let mut roots = RootCertStore::empty();
        let system = Some(Path::new(SYSTEM_AUTHORITIES)).filter(|path| path.exists());
        for path in [system, extra].into_iter().flatten() {
            let (added, _) = roots.add_parsable_certificates(certificates(path)?);
            if added == 0 {
                return Err(InvalidTrust::NoCertificates { path: path.to_owned() });
            }
        }
        if roots.is_empty() {
            return Err(InvalidTrust::Nobody);
        }
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }
}

/// Says what is wrong with a server's certificate, and the way out where there is one. An error of another kind keeps its own text.
pub(crate) fn objection(error: &io::Error) -> String {
    let rustls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = rustls_error else { return error.to_string() };
    match certificate {
        // The second: an authority of that name is trusted, and has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is trusted here has issued its certificate; the operator can add one in outbound_ca"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or a clock is wrong".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        // What rustls has no word for; the verifier says it by this name only.
        CertificateError::Other(OtherError(other)) if format!("{other:?}") == "CaUsedAsEndEntity" => {
            "its certificate is that of an authority (CA:TRUE); a server needs one of its own (CA:FALSE)".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidTrust> {
    let unreadable = |source| InvalidTrust::Read { path: path.to_owned(), source };
    let none = || InvalidTrust::NoCertificates { path: path.to_owned() };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(none());
    }
    let pem = std::fs::read(path).map_err(unreadable)?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| none())
}
