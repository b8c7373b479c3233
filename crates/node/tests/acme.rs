//! Certificates from a real ACME server (Debian's `pebble`), which really asks the listener whether the name is ours.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only functions marked as such")]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use media::NodeId;
use node::acme::{self, Acme};
use node::clock::Clock;
use node::http::{self, Limits};
use node::tls::{Authority, Identity};
use node::{CancellationToken, Role};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 2] = ["streaming-cluster.test", "live.streaming-cluster.test"];
const YEAR_MS: i64 = 365 * 86_400_000;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

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
        let listener = http::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let tls = identity.server_public();
        tokio::spawn(http::serve_tls(listener, tls, Router::new(), Limits::default(), shutdown.clone()));
        Self { identity, address, shutdown }
    }

    /// What a viewer is shown who trusts the authority in `roots`, and nobody else.
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

/// Pebble, and a name server that leads all names to this machine.
struct Server {
    directory: TempDir,
    port: u16,
    management: u16,
    _child: Child,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    /// `asks` is where it looks for the names' listener, in place of port 443.
    async fn start(asks: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
        let own = authority.issue_in(directory.path(), &NodeId::new("pebble").unwrap(), None, &[]).unwrap();
        let (port, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": own.certificate,
            "privateKey": own.key,
            "httpPort": free_port(),
            "tlsPort": asks,
        }});
        let path = directory.path().join("pebble.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let names = serve_names().await;
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(&path)
            .args(["-strict", "-dnsserver", &names.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pebble is installed: scripts/setup.sh test");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        within("Pebble listens", async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("ACME directory available") {
                    return;
                }
            }
            panic!("Pebble ended at once");
        })
        .await;
        // What follows is read away, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let server = Self { directory, port, management, _child: child };
        within("Pebble answers", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        server
    }

    fn ca(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The authority that it signs with.
    async fn root(&self) -> Vec<u8> {
        node::tls::provider();
        let own = reqwest::Certificate::from_pem(&std::fs::read(self.ca()).unwrap()).unwrap();
        let client = reqwest::Client::builder().use_rustls_tls().add_root_certificate(own).no_proxy().build().unwrap();
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        client.get(url).send().await.unwrap().bytes().await.unwrap().to_vec()
    }

    fn config(&self, state: &Path) -> acme::Config {
        acme::Config {
            directory: format!("https://127.0.0.1:{}/dir", self.port),
            names: NAMES.map(str::to_owned).to_vec(),
            email: Some("operator@streaming-cluster.test".to_owned()),
            ca: Some(self.ca()),
            state: Some(state.to_owned()),
        }
    }

    fn acme(&self, balancer: &Balancer, state: &Path, clock: Clock) -> Acme {
        Acme::load(self.config(state), Arc::clone(&balancer.identity), clock, state).unwrap()
    }
}

/// Answers 127.0.0.1 to questions for an address, and nothing to all others (RFC 1035, section 4).
async fn serve_names() -> SocketAddr {
    const ADDRESS: [u8; 2] = [0, 1];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut packet).await {
            let labels = packet[12..].iter().position(|byte| *byte == 0).unwrap() + 13;
            let question = packet[12..labels + 4].to_vec();
            let is_address = packet[labels..labels + 2] == ADDRESS;
            let mut answer = vec![packet[0], packet[1], 0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
            answer.extend(question);
            if is_address {
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
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
    let acme = server.acme(&balancer, &state, Clock::new());
    assert!(balancer.shown_to(NAMES[0], &root).await.is_err(), "there is none yet");

    within("the certificate", acme.step()).await.unwrap();
    let first = balancer.shown_to(NAMES[0], &root).await.unwrap();
    assert_eq!(balancer.shown_to(NAMES[1], &root).await.unwrap(), first);
    let own = std::fs::read(directory.path().join("ca.pem")).unwrap();
    assert!(balancer.shown_to("lb1", &own).await.is_ok(), "nodes are still shown the node's own");
    for secret in std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        let name = secret.file_name().unwrap().to_string_lossy().into_owned();
        let is_secret = name.ends_with(".key") || name.ends_with(".json");
        assert!(!is_secret || mode(&secret) == 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(state.join("challenges")).unwrap().count(), 0, "nobody asks any more");

    within("nothing", acme.step()).await.unwrap();
    assert_eq!(balancer.shown_to(NAMES[0], &root).await.unwrap(), first, "it is good for years");
    // Pebble's are valid for five.
    let late =
        Acme::load(server.config(&state), Arc::clone(&balancer.identity), Clock::new().shifted(4 * YEAR_MS), &state);
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
    let _other = server.acme(&answering, &state, Clock::new());
    within("the certificate", server.acme(&asking, &state, Clock::new()).step()).await.unwrap();
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
    let acme = server.acme(&balancer, &directory.path().join("acme"), Clock::new());
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
