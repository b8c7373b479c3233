//! The development authority: makes a cluster's certificates in a directory, so that nobody has to make them by hand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use media::{NodeId, UnixMillis};
use messages::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::loaded::IdentityPaths;
use super::pair::Pair;
use super::{node_uri, parse_certificates, provider};
use crate::clock::Clock;
use crate::files::{self, MODE_PUBLIC, MODE_SECRET};

/// How long the authority's own certificate is valid: as long as a development machine lives.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a node's certificate is valid: what browsers accept from a public authority.
const NODE_VALIDITY: Duration = Duration::from_secs(397 * 86_400);
/// A certificate with less than this left is made anew.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// How far a peer's clock may be behind ours and still accept a certificate made just now.
const BACKDATE: Duration = Duration::from_secs(86_400);

/// File of the authority that all nodes of a cluster share, in each of its folders.
pub const NODE_CA_FILE: &str = "ca.pem";
/// File of the authority that signs brokers and nothing else, in each of its folders.
pub const BROKER_CA_FILE: &str = "broker-ca.pem";
/// Names that no node or broker can have: their files would replace an authority's.
const RESERVED: [&str; 5] = ["ca", "next", "broker-ca", "broker-next", "members"];

/// What an authority signs. A cluster has one authority for nodes and one for brokers, so that neither can pass for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signs {
    /// Nodes: servers and clients, with role and name in the certificate.
    Nodes,
    /// Brokers: servers, whose certificate opens no connection between nodes.
    Brokers,
}

impl Signs {
    const fn certificate_file(self) -> &'static str {
        match self {
            Self::Nodes => NODE_CA_FILE,
            Self::Brokers => BROKER_CA_FILE,
        }
    }

    pub(super) const fn key_file(self) -> &'static str {
        match self {
            Self::Nodes => "ca.key",
            Self::Brokers => "broker-ca.key",
        }
    }

    /// Key of the authority that is already trusted, but does not sign yet.
    pub(super) const fn next_key_file(self) -> &'static str {
        match self {
            Self::Nodes => "next.key",
            Self::Brokers => "broker-next.key",
        }
    }
}

/// A certificate authority in a directory: `ca.pem` and `ca.key` (for brokers `broker-ca.pem` and `broker-ca.key`), and next to them
/// `{node}.pem` and `{node}.key`.
pub struct Authority {
    pub(super) directory: PathBuf,
    pub(super) signs: Signs,
    pub(super) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    pub(super) clock: Clock,
}

/// Whether an existing certificate may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// It stays if it is usable.
    Usable,
    Nothing,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority of nodes in `directory`, or makes one there when there is none or it has less than [`RENEW_BEFORE`]
    /// left. The key has mode 0600. Two processes may do this at once; they get the same authority.
    ///
    /// # Errors
    /// When the directory cannot be written, or its files are no authority's; these are not overwritten.
    pub fn ensure(directory: &Path, clock: &Clock) -> Result<Self> {
        Self::ensure_that(Signs::Nodes, directory, clock)
    }

    /// As [`Authority::ensure`], for the authority of brokers.
    ///
    /// # Errors
    /// As [`Authority::ensure`].
    pub fn ensure_for_brokers(directory: &Path, clock: &Clock) -> Result<Self> {
        Self::ensure_that(Signs::Brokers, directory, clock)
    }

    fn ensure_that(signs: Signs, directory: &Path, clock: &Clock) -> Result<Self> {
        files::create_directory(directory)?;
        let _lock = lock(directory)?;
        let (pem_path, key_path) = (directory.join(signs.certificate_file()), directory.join(signs.key_file()));
        if pem_path.exists() || key_path.exists() {
            let there = Self::open(signs, directory, clock).with_context(|| {
                format!(
                    "cannot use the authority in {}; remove {} and {} to have a new one",
                    directory.display(),
                    signs.certificate_file(),
                    signs.key_file()
                )
            })?;
            if !expires_soon(&there.certificate, clock)? {
                return Ok(there);
            }
            tracing::warn!(directory = %directory.display(), "the authority's certificate ends soon; making a new one");
        }
        let key = KeyPair::generate()?;
        let params = authority_params(signs, clock);
        let certificate = params.self_signed(&key)?;
        files::atomic_write(&key_path, key.serialize_pem().as_bytes(), MODE_SECRET)?;
        files::atomic_write(&pem_path, certificate.pem().as_bytes(), MODE_PUBLIC)?;
        tracing::info!(path = %pem_path.display(), "made a development certificate authority");
        Self::open(signs, directory, clock)
    }

    /// The key decides which certificate of the file signs: the file has two while one authority takes over from another.
    pub(super) fn open(signs: Signs, directory: &Path, clock: &Clock) -> Result<Self> {
        let (pem_path, key_path) = (directory.join(signs.certificate_file()), directory.join(signs.key_file()));
        let key = read_key(&key_path)?;
        let certificates = parse_certificates(&files::read_bounded(&pem_path)?, &pem_path)?;
        let certificate = certificate_of(&certificates, &key)
            .with_context(|| format!("{} is not the key of {}", key_path.display(), pem_path.display()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .with_context(|| format!("{} is not an authority's certificate", pem_path.display()))?;
        Ok(Self { directory: directory.to_owned(), signs, certificate, issuer, clock: *clock })
    }

    /// The certificate that clients have to trust.
    pub fn ca_path(&self) -> PathBuf {
        self.directory.join(self.signs.certificate_file())
    }

    /// Returns the files of a node. Makes them when they are missing, come from another authority, have less than [`RENEW_BEFORE`] left,
    /// or lack one of `names` (host names or IP addresses under which the node is reached). Always included: `localhost`, `127.0.0.1`,
    /// `::1` and the node's own name. The key has mode 0600.
    ///
    /// # Errors
    /// When a name is neither a host name nor an IP address, or the directory cannot be written.
    pub fn issue(&self, node: &NodeId, role: Role, names: &[String]) -> Result<IdentityPaths> {
        self.issue_in(&self.directory, node, Some(role), names)
    }

    /// As [`Authority::issue`], but in the folder that a machine gets, with a copy of the authority's certificate. A node has a role, and
    /// a broker has none.
    ///
    /// # Errors
    /// As [`Authority::issue`], and when this authority signs the other kind.
    pub fn issue_in(
        &self,
        directory: &Path,
        node: &NodeId,
        role: Option<Role>,
        names: &[String],
    ) -> Result<IdentityPaths> {
        self.make(directory, node, role, names, Keep::Usable)
    }

    /// As [`Authority::issue_in`], but always makes a new certificate.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_anew(
        &self,
        directory: &Path,
        node: &NodeId,
        role: Option<Role>,
        names: &[String],
    ) -> Result<IdentityPaths> {
        self.make(directory, node, role, names, Keep::Nothing)
    }

    fn make(
        &self,
        directory: &Path,
        node: &NodeId,
        role: Option<Role>,
        names: &[String],
        keep: Keep,
    ) -> Result<IdentityPaths> {
        anyhow::ensure!(
            !RESERVED.contains(&node.as_str()),
            "nothing can be called {:?}: its files would be the authority's",
            node.as_str()
        );
        anyhow::ensure!(
            role.is_some() == (self.signs == Signs::Nodes),
            "{} signs {}: {node} is none of these",
            self.ca_path().display(),
            if self.signs == Signs::Nodes { "nodes" } else { "brokers" }
        );
        let paths = IdentityPaths {
            certificate: directory.join(format!("{node}.pem")),
            key: directory.join(format!("{node}.key")),
            ca: directory.join(self.signs.certificate_file()),
        };
        let params = self.node_params(node, role, names)?;
        let _lock = lock(&self.directory)?;
        self.share(directory)?;
        let why = if keep == Keep::Nothing { Some("it was asked for") } else { self.why_not_usable(&paths, &params) };
        match why {
            None => return Ok(paths),
            Some(reason) => tracing::info!(%node, reason, "making a certificate"),
        }
        // A renewed certificate keeps its key: the cluster knows a node by it.
        let key = read_key(&paths.key).or_else(|_| KeyPair::generate())?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        files::atomic_write(&paths.key, key.serialize_pem().as_bytes(), MODE_SECRET)?;
        files::atomic_write(&paths.certificate, certificate.pem().as_bytes(), MODE_PUBLIC)?;
        Ok(paths)
    }

    /// Copies the certificates of the authority's file to a folder, to be trusted there. Returns whether the folder had others, or none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn share(&self, folder: &Path) -> Result<bool> {
        if folder == self.directory {
            return Ok(false);
        }
        files::create_private_directory(folder)?;
        let (trusted, copy) = (files::read_bounded(&self.ca_path())?, folder.join(self.signs.certificate_file()));
        if files::read_bounded(&copy).ok().as_ref() == Some(&trusted) {
            return Ok(false);
        }
        files::atomic_write(&copy, &trusted, MODE_PUBLIC)?;
        Ok(true)
    }

    fn node_params(&self, node: &NodeId, role: Option<Role>, names: &[String]) -> Result<CertificateParams> {
        let fixed = ["localhost", "127.0.0.1", "::1", node.as_str()].map(str::to_owned);
        let mut all: Vec<String> = Vec::with_capacity(names.len() + fixed.len());
        for name in fixed.iter().chain(names) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let mut params = CertificateParams::new(all)
            .with_context(|| format!("one of {names:?} is neither a host name nor an IP address"))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if let Some(role) = role {
            params.subject_alt_names.push(SanType::URI(node_uri(node, role).try_into()?));
            params.distinguished_name.push(DnType::CommonName, format!("Sealcast {role} {node}"));
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        } else {
            params.distinguished_name.push(DnType::CommonName, format!("Sealcast broker {node}"));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, &self.clock, NODE_VALIDITY);
        Ok(params)
    }

    /// Why the files that are there cannot stay; `None` when they can.
    fn why_not_usable(&self, paths: &IdentityPaths, wanted: &CertificateParams) -> Option<&'static str> {
        if !paths.certificate.exists() || !paths.key.exists() {
            return Some("there is none");
        }
        let Ok(Pair { chain, .. }) = Pair::load(&paths.certificate, &paths.key) else {
            return Some("the files do not load");
        };
        let leaf = chain.first()?;
        if !self.signed_and_valid_at(leaf, self.clock.wall().plus(RENEW_BEFORE)) {
            return Some("it ends soon or is another authority's");
        }
        let has_all = san_set(leaf).is_some_and(|there| wanted.subject_alt_names.iter().all(|san| there.contains(san)));
        if has_all { None } else { Some("it lacks a name") }
    }

    fn signed_and_valid_at(&self, leaf: &CertificateDer<'_>, at: UnixMillis) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(self.certificate.clone()).is_err() {
            return false;
        }
        // Verified as a server's, since all nodes and brokers are servers.
        let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap_or(0)));
        let algorithms = provider().signature_verification_algorithms.all;
        ParsedCertificate::try_from(leaf)
            .is_ok_and(|leaf| verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], at, algorithms).is_ok())
    }
}

pub(super) fn read_key(path: &Path) -> Result<KeyPair> {
    let pem = zeroize::Zeroizing::new(files::read_bounded(path)?);
    let text = std::str::from_utf8(&pem).with_context(|| format!("{} is not text", path.display()))?;
    KeyPair::from_pem(text).with_context(|| format!("{} is not a key", path.display()))
}

/// The certificate that belongs to a key.
pub(super) fn certificate_of(
    certificates: &[CertificateDer<'static>],
    key: &KeyPair,
) -> Option<CertificateDer<'static>> {
    let is_its = |certificate: &&CertificateDer<'static>| {
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
    };
    certificates.iter().find(is_its).cloned()
}

pub(super) fn authority_params(signs: Signs, clock: &Clock) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Sealcast");
    // A number in the name keeps two authorities apart in a browser's list.
    let of = if signs == Signs::Nodes { "CA" } else { "broker CA" };
    let name = format!("Sealcast development {of} {:08x}", rand::random::<u32>());
    params.distinguished_name.push(DnType::CommonName, name);
    // It signs nodes or brokers, never another authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, clock, AUTHORITY_VALIDITY);
    params
}

fn set_validity(params: &mut CertificateParams, clock: &Clock, validity: Duration) {
    let now = Duration::from_millis(u64::try_from(clock.wall().0).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + (now + validity);
}

fn expires_soon(certificate: &CertificateDer<'_>, clock: &Clock) -> Result<bool> {
    let (_, parsed) = X509Certificate::from_der(certificate).context("the authority's certificate does not parse")?;
    let renew_at_s = clock.wall().plus(RENEW_BEFORE).0 / 1_000;
    Ok(parsed.validity().not_after.timestamp() <= renew_at_s)
}

/// The host names and addresses that a certificate is for, as text.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let names = san_set(certificate).unwrap_or_default();
    let text = names.iter().filter_map(|name| match name {
        SanType::DnsName(name) => Some(name.as_str().to_owned()),
        SanType::IpAddress(address) => Some(address.to_string()),
        _ => None,
    });
    text.collect()
}

/// The names of a certificate in the form that [`CertificateParams`] has them.
fn san_set(certificate: &CertificateDer<'_>) -> Option<Vec<SanType>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let convert = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into().ok()?)),
        GeneralName::URI(uri) => Some(SanType::URI((*uri).try_into().ok()?)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(SanType::IpAddress(<[u8; 4]>::try_from(*octets).ok()?.into())),
            16 => Some(SanType::IpAddress(<[u8; 16]>::try_from(*octets).ok()?.into())),
            _ => None,
        },
        _ => None,
    };
    Some(names.value.general_names.iter().filter_map(convert).collect())
}

/// Keeps two processes from making certificates in one directory at once; released when dropped.
pub(super) fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(".lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
