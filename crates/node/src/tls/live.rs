//! Answers rustls at each handshake: which certificate to show and which authorities to trust, as the files say now.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::loaded::Loaded;
use super::public::{self, PublicCertificates};
use super::server::{Server, ServerCheck};

/// What was read last; shared by all configurations of an identity.
pub(super) struct Live {
    loaded: ArcSwap<Loaded>,
    /// Certificates for viewers, each with its names.
    pub(super) public: PublicCertificates,
    pub(super) server_check: Arc<ServerCheck>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    pub(super) fn new(loaded: Loaded) -> Self {
        Self { loaded: ArcSwap::from_pointee(loaded), public: ArcSwap::default(), server_check: Arc::default() }
    }

    pub(super) fn loaded(&self) -> Guard<Arc<Loaded>> {
        self.loaded.load()
    }

    pub(super) fn replace(&self, loaded: Loaded) {
        self.loaded.store(Arc::new(loaded));
    }
}

/// Shows the node's certificate to other nodes.
#[derive(Debug)]
pub(super) struct NodeCertificate(pub(super) Arc<Live>);

impl ResolvesServerCert for NodeCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.loaded().certified())
    }
}

/// Shows viewers the public certificate for the name that they ask for, and all others the node's own: balancers ask for the name of the
/// node.
#[derive(Debug)]
pub(super) struct ViewerCertificate(pub(super) Arc<Live>);

impl ResolvesServerCert for ViewerCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.0.public.load();
        // RFC 8737, section 3: a handshake for this protocol gets the answer, and never the certificate that is served otherwise.
        if hello.alpn().is_some_and(|mut alpn| alpn.any(|protocol| protocol == public::ACME_TLS_ALPN)) {
            return all.iter().find_map(|public| public.challenge(hello.server_name()?));
        }
        let named = hello.server_name().and_then(|name| all.iter().find_map(|public| public.certificate_for(name)));
        Some(named.unwrap_or_else(|| self.0.loaded().certified()))
    }
}

/// Shows the node's certificate as a client.
#[derive(Debug)]
pub(super) struct ClientCertificate(pub(super) Arc<Live>);

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.loaded().certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Trusts clients that the present authorities certify; rustls's own verifier does all else.
#[derive(Debug)]
pub(super) struct TrustedClients(pub(super) Arc<Live>);

impl ClientCertVerifier for TrustedClients {
    /// No hints: they would have to outlive the authorities that they come from, and a node has only one certificate to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.loaded().clients.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.loaded().clients.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.loaded().clients.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.loaded().clients.supported_verify_schemes()
    }
}

/// As [`TrustedClients`], for a client that may also show no certificate.
#[derive(Debug)]
pub(super) struct Visitors {
    pub(super) nodes: TrustedClients,
    /// The authorities as they were at the start. A browser shows no certificate of others; nodes do not look at this.
    pub(super) hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Visitors {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.nodes.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.supported_verify_schemes()
    }
}

/// The authorities one of which has to certify a server.
#[derive(Debug)]
pub(super) enum Roots {
    /// The authorities of nodes, as they are at the handshake.
    Live(Arc<Live>),
    /// The authorities read when the configuration was made.
    Read(Arc<WebPkiServerVerifier>),
}

/// Trusts only the server that is meant. rustls's own verifier checks chain and name.
#[derive(Debug)]
pub(super) struct TrustedServer {
    pub(super) roots: Roots,
    pub(super) check: Arc<ServerCheck>,
    pub(super) meant: Server,
}

impl TrustedServer {
    fn servers(&self) -> Arc<WebPkiServerVerifier> {
        match &self.roots {
            Roots::Live(live) => live.loaded().servers.clone(),
            Roots::Read(servers) => servers.clone(),
        }
    }
}

impl ServerCertVerifier for TrustedServer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.servers().verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        self.check.check(&self.meant, leaf, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers().verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers().verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers().supported_verify_schemes()
    }
}
