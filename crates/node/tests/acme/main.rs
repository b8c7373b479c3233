//! Certificates from a real ACME server (Debian's `pebble`), which really checks on the listener that the name is ours.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only functions marked as such")]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use media::NodeId;
use node::acme::{self, Acme};
use node::clock::Clock;
use node::http::{self, Limits};
use node::tls::{Authority, Identity};
use node::{CancellationToken, Role};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use testkit::pebble::{NAMES, Server};
use testkit::wait::within;

const YEAR_MS: i64 = 365 * 86_400_000;

/// A balancer's listener for viewers.
struct Balancer {
    identity: Arc<Identity>,
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl Balancer {
    async fn start(directory: &Path, name: &str) -> Self {
        let authority = Authority::ensure(directory, &Clock::new()).unwrap();
        let paths = authority.issue(&NodeId::new(name).unwrap(), Role::LoadBalancer, &[]).unwrap();
        let identity = Arc::new(Identity::load(&paths).unwrap());
        let listener = acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), "a_listen").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let tls = identity.server_public();
        tokio::spawn(http::serve_tls(listener, tls, Router::new(), Limits::default(), shutdown.clone()));
        Self { identity, address, shutdown }
    }

    /// The certificate that a viewer gets who trusts only the authority in `roots`.
    async fn shown_to(&self, name: &str, roots: &[u8]) -> Result<CertificateDer<'static>, std::io::Error> {
        let mut store = rustls::RootCertStore::empty();
        store.add(CertificateDer::from_pem_slice(roots).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(node::tls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_root_certificates(store).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap().first().unwrap().clone().into_owned())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(server: &Server, state: &Path) -> acme::Config {
    acme::Config {
        directory: server.url(),
        names: NAMES.map(str::to_owned).to_vec(),
        email: Some("operator@streaming-cluster.test".to_owned()),
        ca: Some(server.ca()),
        state: Some(state.to_owned()),
    }
}

fn acme(server: &Server, balancer: &Balancer, state: &Path, clock: Clock) -> Acme {
    Acme::load(config(server, state), Arc::clone(&balancer.identity), clock, state).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_obtained_shown_to_viewers_and_renewed_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("acme");
    let balancer = Balancer::start(directory.path(), "lb1").await;
    let server = Server::start(balancer.address.port()).await;
    let root = server.root().await;
    let acme = acme(&server, &balancer, &state, Clock::new());
    assert!(balancer.shown_to(NAMES[0], &root).await.is_err(), "there is none yet");

    within("the certificate", acme.step()).await.unwrap();
    let first = balancer.shown_to(NAMES[0], &root).await.unwrap();
    assert_eq!(balancer.shown_to(NAMES[1], &root).await.unwrap(), first);
    let own = std::fs::read(directory.path().join("ca.pem")).unwrap();
    assert!(balancer.shown_to("lb1", &own).await.is_ok(), "nodes are still shown the node's own");
    for secret in std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        let name = secret.file_name().unwrap().to_string_lossy().into_owned();
        let is_secret = name.ends_with(".pem") || name.ends_with(".json");
        assert!(!is_secret || mode(&secret) == 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(state.join("challenges")).unwrap().count(), 0, "nobody asks any more");

    within("a step that has nothing to do", acme.step()).await.unwrap();
    assert_eq!(balancer.shown_to(NAMES[0], &root).await.unwrap(), first, "it is good for years");
    // Pebble's certificates are valid for five years.
    let late =
        Acme::load(config(&server, &state), Arc::clone(&balancer.identity), Clock::new().shifted(4 * YEAR_MS), &state);
    within("the renewal", late.unwrap().step()).await.unwrap();
    assert_ne!(balancer.shown_to(NAMES[0], &root).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_balancer_asks_and_the_other_answers_and_shows_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("shared");
    let (asking, answering) =
        (Balancer::start(directory.path(), "lb1").await, Balancer::start(directory.path(), "lb2").await);
    let server = Server::start(answering.address.port()).await;
    let root = server.root().await;
    let _other = acme(&server, &answering, &state, Clock::new());
    within("the certificate", acme(&server, &asking, &state, Clock::new()).step()).await.unwrap();
    answering.identity.reread().unwrap();
    let shown = asking.shown_to(NAMES[0], &root).await.unwrap();
    assert_eq!(answering.shown_to(NAMES[0], &root).await.unwrap(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_is_named_with_what_to_look_at() {
    let directory = tempfile::tempdir().unwrap();
    let (balancer, elsewhere) =
        (Balancer::start(directory.path(), "lb1").await, Balancer::start(directory.path(), "lb2").await);
    let server = Server::start(elsewhere.address.port()).await;
    let acme = acme(&server, &balancer, &directory.path().join("acme"), Clock::new());
    let error = format!("{:#}", within("the refusal", acme.step()).await.unwrap_err());
    assert!(error.contains(NAMES[0]) && error.contains("on port 443"), "{error}");
    assert!(!directory.path().join("acme/certificate.pem").exists());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let good = acme::Config {
        directory: "https://acme.test/dir".to_owned(),
        names: vec!["a.test".to_owned()],
        email: None,
        ca: None,
        state: None,
    };
    good.check().unwrap();
    let with_names =
        |names: &[&str]| acme::Config { names: names.iter().map(|name| (*name).to_owned()).collect(), ..good.clone() };
    for (wrong, why) in [
        (acme::Config { directory: "http://a".to_owned(), ..good.clone() }, "https://"),
        (with_names(&[]), "acme.names"),
        (with_names(&["*.a.test"]), "wildcards"),
        (with_names(&["localhost"]), "full host name"),
        (with_names(&["../a.test"]), "full host name"),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
