//! The identity of a node: its certificate, its key, the authority it trusts, and the TLS configurations of all three.
//!
//! The files are read again while the node runs ([`Identity::follow`]). Every configuration made here looks up what was last read at each
//! handshake. So a new certificate or a second authority counts for new connections, while open ones go on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use media::NodeId;
use messages::Role;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_util::sync::CancellationToken;

use super::live::{
    ClientCertificate, Live, NodeCertificate, Roots, TrustedClients, TrustedServer, ViewerCertificate, Visitors,
};
use super::loaded::{IdentityPaths, Loaded};
use super::pair::{Pair, Reread, end_s, warn_when_others_can_read};
use super::provider;
use super::public::{self, ACME_TLS_ALPN, PublicPaths};
use super::server::Server;
use super::visitors::VisitorTls;

/// Longest wait for a connection to another node: one in the same cluster answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence within one response. The caller bounds the whole request, since it knows what it asks for.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection to another node is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often an idle connection is probed, so that one that died silently is found before it is needed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long such a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the files are read again: a handful of files of some kilobytes.
pub const REREAD_INTERVAL: Duration = Duration::from_secs(5);

/// What a library wants of a certificate and its key, and what it was made of.
pub struct Shown<T> {
    from: Arc<Pair>,
    made: Arc<T>,
}

/// A loaded identity. Prints its node and role, never the key.
pub struct Identity {
    node: NodeId,
    role: Role,
    paths: IdentityPaths,
    live: Arc<Live>,
    /// The last warning, so that it is logged once and not every few seconds.
    complaint: Mutex<Option<String>>,
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
        let loaded = Loaded::read(paths)?;
        warn_when_others_can_read(&paths.key);
        let (node, role) = (loaded.node.clone(), loaded.role);
        Ok(Self { node, role, paths: paths.clone(), live: Arc::new(Live::new(loaded)), complaint: Mutex::default() })
    }

    /// Reads the files again, those of public certificates included. Files that do not load, such as a pair of which only one is new,
    /// leave the old content in use.
    ///
    /// # Errors
    /// As [`Identity::load`], and when the certificate is another node's.
    pub fn reread(&self) -> Result<Reread> {
        let read = Loaded::read(&self.paths)?;
        anyhow::ensure!(
            (&read.node, read.role) == (&self.node, self.role),
            "{} now belongs to {} {}, not to {} {}",
            self.paths.certificate.display(),
            read.role,
            read.node,
            self.role,
            self.node
        );
        let mut found = Reread::Same;
        if !self.live.loaded().is_same(&read) {
            warn_when_others_can_read(&self.paths.key);
            self.live.replace(read);
            found = Reread::New;
        }
        if public::reread(&self.live.public)? == Reread::New {
            found = Reread::New;
        }
        Ok(found)
    }

    /// Reads the files again every [`REREAD_INTERVAL`] until `shutdown`. Logs once what is new, and once what is wrong.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            self.measure();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(REREAD_INTERVAL) => {}
            }
            let this = Arc::clone(&self);
            if let Ok(found) = tokio::task::spawn_blocking(move || this.reread()).await {
                self.report(found);
            }
        }
    }

    /// Sets the gauge of when certificates expire, so that an operator can have an alert when nobody renews one.
    fn measure(&self) {
        let ends = [("node", end_s(&self.certificate())), ("public", public::first_end_s(&self.live.public))];
        for (which, end_s) in ends {
            if let Some(end_s) = end_s {
                let node = self.node.to_string();
                metrics::gauge!("tls_certificate_end_seconds", "node" => node, "certificate" => which)
                    .set(end_s as f64);
            }
        }
    }

    fn report(&self, found: Result<Reread>) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => {
                *complaint = None;
                if found == Reread::New {
                    tracing::info!(node = %self.node, "certificates were read again, and are in use");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                if complaint.as_ref() != Some(&error) {
                    tracing::warn!(node = %self.node, error, "new certificates cannot be used; the old ones stay in use");
                }
                *complaint = Some(error);
            }
        }
    }

    /// Shows another certificate, such as one that browsers trust, to viewers that ask for one of its names. Its files are read again
    /// with the others.
    ///
    /// # Errors
    /// When the files exist but do not load, or do not exist and [`PublicPaths::is_made_later`] is not set.
    pub fn add_public(&self, paths: PublicPaths) -> Result<()> {
        public::add(&self.live.public, paths)
    }

    /// The node it belongs to.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// PEM file of the authority, for libraries that read it themselves.
    pub fn ca_path(&self) -> &Path {
        &self.paths.ca
    }

    /// The authorities that are trusted now, for libraries that have to be told at each connection.
    pub fn authorities(&self) -> Arc<[CertificateDer<'static>]> {
        self.live.loaded().authorities.clone()
    }

    /// Whether an authority that is trusted now has signed a certificate for a client, whose time is not over `at` this one.
    pub fn has_signed(&self, certificate: &CertificateDer<'_>, at: media::UnixMillis) -> bool {
        let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap_or(0)));
        self.live.loaded().clients.verify_client_cert(certificate, &[], at).is_ok()
    }

    /// The node's own certificate, as it is now.
    ///
    /// # Panics
    /// Never: a chain without a certificate is not loaded.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.live.loaded().pair.chain.first().expect("checked when loaded").clone()
    }

    /// TLS for viewers: asks for no client certificate; HTTP/2 and HTTP/1.1.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.2 and 1.3.
    pub fn server_public(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.server_publishers());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS_ALPN.to_vec()];
        Arc::new(config)
    }

    /// TLS for viewers and balancers: as [`Identity::server_public`], but a client that asks for the node by its name may show the
    /// certificate of a node.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.2 and 1.3.
    pub fn server_visitors(&self) -> VisitorTls {
        let viewers = self.server_public();
        let hints = self.live.loaded().clients.root_hint_subjects().to_vec();
        let mut named = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_client_cert_verifier(Arc::new(Visitors { nodes: TrustedClients(self.live.clone()), hints }))
            .with_cert_resolver(Arc::new(ViewerCertificate(self.live.clone())));
        named.alpn_protocols.clone_from(&viewers.alpn_protocols);
        named.session_storage = Arc::new(NoServerSessionStorage {});
        VisitorTls { node: self.node.to_string(), viewers, named: Arc::new(named) }
    }

    /// The certificate that this node shows as a client, with those that certify it, and its key, for a library that makes its own
    /// connections; `made` makes of them what that library wants, when they are not those of `last`.
    pub fn shown<T>(
        &self,
        last: &Mutex<Option<Shown<T>>>,
        made: impl FnOnce(&[CertificateDer<'static>], &PrivateKeyDer<'static>) -> T,
    ) -> Arc<T> {
        let pair = self.live.loaded().pair.clone();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(Shown { from, made }) if from.is_same(&pair) => Arc::clone(made),
            _ => {
                let made = Arc::new(made(&pair.chain, &pair.private));
                *last = Some(Shown { from: pair, made: Arc::clone(&made) });
                made
            }
        }
    }

    /// TLS for publishers: shows the certificates that viewers see, asks for no client certificate, and offers no ALPN protocol.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.2 and 1.3.
    pub fn server_publishers(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ViewerCertificate(self.live.clone())));
        Arc::new(config)
    }

    /// TLS for nodes: the client has to show a certificate of the cluster's authority; TLS 1.3 and HTTP/2 only.
    ///
    /// # Panics
    /// Never: there is an authority, and the provider supports TLS 1.3.
    pub fn server_mutual(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider supports TLS 1.3")
            .with_client_cert_verifier(Arc::new(TrustedClients(self.live.clone())))
            .with_cert_resolver(Arc::new(NodeCertificate(self.live.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A client that resumes a session is not asked for its certificate, so an authority that is no longer trusted would still count.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// TLS for programs that show a credential of their own: shows the node's certificate, and asks for none; TLS 1.3 and HTTP/2 only.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.3.
    pub fn server_programs(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider supports TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NodeCertificate(self.live.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// TLS for connections to another node: shows the certificate, and accepts only the server that is meant, under the cluster's
    /// authority. Any other server is refused in the handshake with [`super::WrongServer`], counted and logged. No ALPN is set.
    ///
    /// # Panics
    /// Never: the provider supports TLS 1.3.
    pub fn client(&self, meant: Server) -> ClientConfig {
        let (roots, check) = (Roots::Live(self.live.clone()), self.live.server_check.clone());
        let verifier = TrustedServer { roots, check, meant };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider supports TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(ClientCertificate(self.live.clone())));
        // A server that resumes a session shows no certificate.
        config.resumption = Resumption::disabled();
        config
    }

    /// An HTTP/2 client for another node, on [`Identity::client`]. Bounds the connect and every silence; the caller bounds
    /// the whole request (`RequestBuilder::timeout`). Follows no redirects and reads no proxy from the environment.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn http_client(&self, meant: Server) -> Result<reqwest::Client> {
        let mut tls = self.client(meant);
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
