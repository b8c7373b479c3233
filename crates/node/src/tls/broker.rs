//! TLS of brokers: servers that are no nodes, with certificates from an authority of their own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::identity::REREAD_INTERVAL;
use super::live::{Roots, TrustedServer};
use super::loaded::IdentityPaths;
use super::pair::{Pair, warn_when_others_can_read};
use super::server::{Server, ServerCheck};
use super::{node_of, parse_certificates, provider};
use crate::files;

/// The certificate of the embedded broker. Its files are read again while the broker runs.
pub struct BrokerCertificate {
    paths: IdentityPaths,
    pair: ArcSwap<Pair>,
}

impl std::fmt::Debug for BrokerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerCertificate").field("certificate", &self.paths.certificate).finish_non_exhaustive()
    }
}

impl BrokerCertificate {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// When a file is missing or not what it should be, or the certificate is a node's. Names the file.
    pub fn load(paths: &IdentityPaths) -> Result<Arc<Self>> {
        warn_when_others_can_read(&paths.key);
        Ok(Arc::new(Self { paths: paths.clone(), pair: ArcSwap::from_pointee(read(paths)?) }))
    }

    /// The broker's side of TLS: asks for no client certificate, and offers no ALPN protocol.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.2 and 1.3.
    pub fn server(self: &Arc<Self>) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Arc::new(config)
    }

    /// Reads the files again every [`REREAD_INTERVAL`] until `shutdown`. Files that do not load change nothing.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(REREAD_INTERVAL) => {}
            }
            let paths = self.paths.clone();
            match tokio::task::spawn_blocking(move || read(&paths)).await {
                Ok(Ok(pair)) if !self.pair.load().is_same(&pair) => {
                    self.pair.store(Arc::new(pair));
                    tracing::info!("the broker's certificate was read again, and is in use");
                }
                Ok(Err(error)) => {
                    tracing::debug!(error = format!("{error:#}"), "the broker's certificate stays as it was");
                }
                _ => {}
            }
        }
    }
}

fn read(paths: &IdentityPaths) -> Result<Pair> {
    let pair = Pair::load(&paths.certificate, &paths.key)?;
    let leaf = pair.chain.first().context("a chain has a first certificate")?;
    if let Some((node, role)) = node_of(leaf) {
        anyhow::bail!("{} belongs to {role} {node}: a broker needs one of its own", paths.certificate.display());
    }
    Ok(pair)
}

impl ResolvesServerCert for BrokerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load().certified.clone())
    }
}

/// What a client of brokers trusts: servers under one authority, and no node, whoever signed the node's certificate.
#[derive(Debug)]
pub struct BrokerTrust {
    ca: PathBuf,
    check: Arc<ServerCheck>,
    /// From the authority's file, when it last loaded.
    config: Mutex<Arc<ClientConfig>>,
}

impl BrokerTrust {
    /// Reads the file of the brokers' authority.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate in it.
    pub fn load(ca: &Path) -> Result<Self> {
        let check = Arc::<ServerCheck>::default();
        let config = Mutex::new(Arc::new(client(ca, &check)?));
        Ok(Self { ca: ca.to_owned(), check, config })
    }
}

impl bus::Trust for BrokerTrust {
    /// Reads the authority's file again; a file that does not load changes nothing.
    fn client_config(&self) -> Arc<ClientConfig> {
        let read = client(&self.ca, &self.check);
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(read) => *config = Arc::new(read),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "the brokers' authority stays as it was"),
        }
        Arc::clone(&config)
    }
}

/// TLS 1.2 or 1.3.
fn client(ca: &Path, check: &Arc<ServerCheck>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = files::read_bounded(ca).context("cannot read the authority of the MQTT broker")?;
    for certificate in parse_certificates(&pem, ca)? {
        roots.add(certificate).with_context(|| format!("certificate in {}", ca.display()))?;
    }
    let servers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let verifier = TrustedServer { roots: Roots::Read(servers), check: Arc::clone(check), meant: Server::Broker };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Refuses one authority for brokers and nodes: a node's certificate could then serve as a broker's.
///
/// # Errors
/// When the file shares a certificate with the authorities of nodes; says what to do.
pub(crate) fn ensure_apart(ca: &Path, of_nodes: &[CertificateDer<'static>]) -> Result<()> {
    let of_brokers = parse_certificates(&files::read_bounded(ca)?, ca)?;
    ensure!(
        !of_brokers.iter().any(|authority| of_nodes.contains(authority)),
        "{} is the authority of the nodes, and brokers have one of their own: run `sealcast certs renew` where the authority is, \
         give each node {BROKER_CA_FILE} (it is in its folder) as `ca` under [bus], and each broker its new certificate",
        ca.display(),
        BROKER_CA_FILE = super::BROKER_CA_FILE,
    );
    Ok(())
}
