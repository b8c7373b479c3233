//! Certificates for viewers from an authority that browsers trust, beside the node's own; and the answers to an ACME server that checks
//! whether a name is ours (TLS-ALPN-01, RFC 8737).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::pair::{Pair, Reread, end_s, warn_when_others_can_read};
use super::{parse_certificates, provider};
use crate::files;

/// ALPN protocol of an ACME server that checks a name (RFC 8737, section 3).
pub(super) const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";
/// Public certificates of one node.
const PUBLIC_MAX: usize = 8;

/// Files of a certificate for viewers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicPaths {
    /// PEM: the certificate with all its intermediate ones.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The files need not exist yet: something in this process makes them.
    pub is_made_later: bool,
    /// Directory of answers to an ACME server, `{name}.pem` and `{name}.key`; shown only to a client of its protocol.
    pub challenges: Option<PathBuf>,
}

/// A public certificate, if there is one yet.
pub(super) struct Public {
    paths: PublicPaths,
    current: Mutex<Option<Arc<Named>>>,
}

/// All public certificates of a node.
pub(super) type PublicCertificates = ArcSwap<Vec<Arc<Public>>>;

/// A certificate with the host names it is for, in lower case.
struct Named {
    pair: Pair,
    names: Vec<String>,
}

impl Named {
    fn read(paths: &PublicPaths) -> Result<Self> {
        let pair = Pair::load(&paths.certificate, &paths.key)?;
        let leaf = pair.chain.first().context("a chain has a first certificate")?;
        let names = host_names(leaf);
        anyhow::ensure!(!names.is_empty(), "{} names no host", paths.certificate.display());
        Ok(Self { pair, names })
    }

    /// RFC 6125, section 6.4.3: a wildcard stands for one label, the leftmost.
    fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(label, after)| !label.is_empty() && after == rest),
            None => *name == host,
        })
    }
}

impl Public {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Named>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate, when it is for this host.
    pub(super) fn certificate_for(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().as_ref().filter(|named| named.is_for(host)).map(|named| named.pair.certified.clone())
    }

    /// The answer to an ACME server that checks `host`. It is read from disk, because another process with the same names may have
    /// written it. Any client can cause the read, at the price of a handshake; when no check is under way, there is no file.
    pub(super) fn challenge(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let (certificate, key) = challenge_paths(self.paths.challenges.as_ref()?, host)?;
        load_answer(&certificate, &key).ok()
    }

    fn reread(&self) -> Result<Reread> {
        if self.paths.is_made_later && !self.paths.certificate.exists() {
            return Ok(Reread::Same);
        }
        let read = Named::read(&self.paths)?;
        let mut current = self.lock();
        if current.as_ref().is_some_and(|there| there.pair.is_same(&read.pair)) {
            return Ok(Reread::Same);
        }
        warn_when_others_can_read(&self.paths.key);
        *current = Some(Arc::new(read));
        Ok(Reread::New)
    }
}

/// Paths of the answer for `host`, certificate and key; `None` when `host` is no host name.
pub fn challenge_paths(directory: &Path, host: &str) -> Option<(PathBuf, PathBuf)> {
    let host = host.to_ascii_lowercase();
    let is_name =
        !host.starts_with('.') && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    is_name.then(|| (directory.join(format!("{host}.pem")), directory.join(format!("{host}.key"))))
}

/// Skips the check that [`Pair`] makes: it would refuse the answer's critical extension, which it does not know.
fn load_answer(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>> {
    let chain = parse_certificates(&files::read_bounded(certificate)?, certificate)?;
    let pem = zeroize::Zeroizing::new(files::read_bounded(key)?);
    let key = provider().key_provider.load_private_key(PrivateKeyDer::from_pem_slice(&pem)?)?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The host names that a certificate is for, in lower case.
pub(super) fn host_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let hosts = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    hosts.collect()
}

pub(super) fn add(to: &PublicCertificates, paths: PublicPaths) -> Result<()> {
    let public = Public { paths, current: Mutex::default() };
    public.reread().context("public certificate")?;
    let mut all = Vec::clone(&to.load());
    anyhow::ensure!(all.len() < PUBLIC_MAX, "more than {PUBLIC_MAX} public certificates");
    all.push(Arc::new(public));
    to.store(Arc::new(all));
    Ok(())
}

/// When the first of them ends, in seconds since 1970.
pub(super) fn first_end_s(of: &PublicCertificates) -> Option<i64> {
    let end = |public: &Arc<Public>| end_s(public.lock().as_ref()?.pair.chain.first()?);
    of.load().iter().filter_map(end).min()
}

/// Reads all of them again; an error of one does not keep the others from being read.
pub(super) fn reread(all: &PublicCertificates) -> Result<Reread> {
    let mut outcome = Ok(Reread::Same);
    for public in all.load().iter() {
        match public.reread() {
            Ok(Reread::Same) => {}
            Ok(Reread::New) if outcome.is_ok() => outcome = Ok(Reread::New),
            Ok(Reread::New) => {}
            Err(error) => outcome = Err(error.context("public certificate")),
        }
    }
    outcome
}
