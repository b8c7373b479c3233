//! The identity of a node: its certificate, its key, the authority it trusts, and the TLS configurations of all three.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use media::NodeId;
use messages::Role;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use super::{node_of, parse_certificates, provider};
use crate::files;

/// Longest wait for a connection to another node: one in the same cluster answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence within one response. The whole request is bounded by its caller, who knows what it asks for.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection to another node is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often an idle connection is probed, so that one that died silently is found before it is needed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long such a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Files of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityPaths {
    /// PEM: the node's certificate, then any intermediate ones.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: the authority that all nodes of the cluster share.
    pub ca: PathBuf,
}

/// A loaded identity. Prints as whom it belongs to, never the key.
pub struct Identity {
    node: NodeId,
    role: Role,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: PathBuf,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("node", &self.node).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// When a file is missing or not what it should be, the key is not the certificate's, or the certificate does not say
    /// which node it belongs to. Names the file.
    pub fn load(paths: &IdentityPaths) -> Result<Self> {
        let chain = parse_certificates(&files::read_bounded(&paths.certificate)?, &paths.certificate)?;
        let leaf = chain.first().context("a chain has a first certificate")?;
        let (node, role) = node_of(leaf).with_context(|| {
            format!("{} does not say whose it is: no URI sealcast:ROLE/NODE in it", paths.certificate.display())
        })?;
        warn_when_others_can_read(&paths.key);
        let key_pem = zeroize::Zeroizing::new(files::read_bounded(&paths.key)?);
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .with_context(|| format!("{} is not a PEM file of a private key", paths.key.display()))?;
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())
            .with_context(|| format!("{} is not the key of {}", paths.key.display(), paths.certificate.display()))?;
        let mut roots = RootCertStore::empty();
        for authority in parse_certificates(&files::read_bounded(&paths.ca)?, &paths.ca)? {
            roots.add(authority).with_context(|| format!("{} is not an authority", paths.ca.display()))?;
        }
        Ok(Self {
            node,
            role,
            certified: Arc::new(certified),
            roots: Arc::new(roots),
            chain,
            key,
            ca: paths.ca.clone(),
        })
    }

    /// The node it belongs to.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What that node does.
    pub fn role(&self) -> Role {
        self.role
    }

    /// PEM file of the authority, for libraries that read it themselves.
    pub fn ca_path(&self) -> &Path {
        &self.ca
    }

    /// The node's own certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("checked when loaded")
    }

    /// For viewers: no client certificate is asked for; HTTP/2 and HTTP/1.1.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.2 and 1.3.
    pub fn server_public(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(self.certified.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// For nodes: the client has to show a certificate of the cluster's authority; TLS 1.3 and HTTP/2 only.
    ///
    /// # Panics
    /// Never: there is an authority, and the provider supports TLS 1.3.
    pub fn server_mutual(&self) -> Arc<ServerConfig> {
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .expect("there is an authority: checked when loaded");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider supports TLS 1.3")
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(self.certified.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// For connections to other nodes: shows the certificate, trusts the cluster's authority alone. No ALPN is set.
    ///
    /// # Panics
    /// Never: the key matches the certificate, and the provider supports TLS 1.3.
    pub fn client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider supports TLS 1.3")
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .expect("the key is the certificate's: checked when loaded")
    }

    /// An HTTP/2 client for other nodes, on [`Identity::client`]. Bounds the connect and every silence; the caller bounds
    /// the whole request (`RequestBuilder::timeout`). Follows no redirects and reads no proxy from the environment.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn http_client(&self) -> Result<reqwest::Client> {
        let mut tls = self.client();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .build()
            .context("cannot make an HTTP client")
    }
}

fn warn_when_others_can_read(path: &std::path::Path) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o077);
    if matches!(mode, Ok(bits) if bits != 0) {
        tracing::warn!(path = %path.display(), "others can read this private key; make it mode 0600");
    }
}
