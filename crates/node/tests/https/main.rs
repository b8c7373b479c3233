//! Listeners under good and bad peers, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

mod patience;
mod priorities;
mod rotation;
mod turns;
mod visitors;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use media::NodeId;
use node::clock::Clock;
use node::http::{self, Limits, Peer};
use node::tls::{Authority, Identity, Server as Meant, WrongServer, provider};
use node::{CancellationToken, Role};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest that a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

/// RFC 9113, section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame: RFC 9113, section 6.5.
const HTTP2_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

enum Plane {
    Public,
    Mutual,
}

struct Server {
    address: SocketAddr,
    authority: Authority,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    entered: Arc<tokio::sync::Notify>,
    _directory: TempDir,
}

impl Server {
    async fn start(plane: Plane, limits: Limits) -> Self {
        let entered = Arc::new(tokio::sync::Notify::new());
        Self { entered: entered.clone(), ..Self::serve(plane, limits, router(entered)).await }
    }

    async fn serve(plane: Plane, limits: Limits, router: Router) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
        let identity = identity(&authority, "b1", Role::Broadcast);
        let tls = match plane {
            Plane::Public => identity.server_public(),
            Plane::Mutual => identity.server_mutual(),
        };
        let listener = acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), "a_listen").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(http::serve_tls(listener, tls, router, limits, shutdown.clone()));
        Self { address, authority, shutdown, running, entered: Arc::default(), _directory: directory }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// A client that trusts the authority, shows no certificate, and offers these protocols.
    fn stranger(&self, alpn: &[&str]) -> rustls::ClientConfig {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls_pki_types::CertificateDer::from_pem_file(self.authority.ca_path()).unwrap();
        roots.add(ca).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    async fn connect(&self, tls: rustls::ClientConfig) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        within("the end of the listener", self.running).await.unwrap().unwrap();
    }
}

fn identity(authority: &Authority, name: &str, role: Role) -> Identity {
    Identity::load(&authority.issue(&NodeId::new(name).unwrap(), role, &[]).unwrap()).unwrap()
}

/// The identity of these tests' servers.
fn b1() -> Meant {
    Meant::Node(Role::Broadcast, NodeId::new("b1").unwrap())
}

fn router(entered: Arc<tokio::sync::Notify>) -> Router {
    let who = |Extension(peer): Extension<Peer>| async move {
        assert!(peer.address.expose().ip().is_loopback());
        peer.node.map_or_else(|| "nobody".to_owned(), |(node, role)| format!("{role} {node}"))
    };
    let forever = move || async move {
        entered.notify_one();
        std::future::pending::<()>().await;
    };
    Router::new()
        .route("/who", get(who))
        .route("/forever", get(forever))
        .route("/echo", post(|body: axum::body::Bytes| async move { body }))
}

fn client(tls: rustls::ClientConfig) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().use_preconfigured_tls(tls).build().unwrap()
}

fn short() -> Limits {
    let soon = Duration::from_millis(300);
    Limits { handshake_timeout: soon, header_timeout: soon, idle_timeout: soon, ..Limits::default() }
}

#[tokio::test]
async fn http_2_and_http_1_are_both_served_to_viewers() {
    let server = Server::start(Plane::Public, Limits::default()).await;
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], reqwest::Version::HTTP_2),
        (&["http/1.1"], reqwest::Version::HTTP_11),
        (&[], reqwest::Version::HTTP_11),
    ] {
        let client = client(server.stranger(alpn));
        let answer = client.get(server.url("/who")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version), "{alpn:?}");
        assert_eq!(answer.text().await.unwrap(), "nobody");
        let body = vec![7_u8; 3_000_000];
        let echoed = client.post(server.url("/echo")).body(body.clone()).send().await.unwrap();
        assert_eq!(echoed.status(), 413, "axum's own bound on bodies holds");
    }
    server.stop().await;
}

#[tokio::test]
async fn node_is_known_by_its_certificate() {
    let server = Server::start(Plane::Mutual, Limits::default()).await;
    let ingest = identity(&server.authority, "i1", Role::Ingest).http_client(b1()).unwrap();
    let answer = ingest.get(server.url("/who")).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "ingest i1");
    server.stop().await;
}

#[tokio::test]
async fn client_without_or_with_a_foreign_certificate_is_refused() {
    let server = Server::start(Plane::Mutual, Limits::default()).await;
    let stranger = client(server.stranger(&["h2"]));
    within("refusal of a stranger", stranger.get(server.url("/who")).send()).await.unwrap_err();

    // A certificate with the right names, signed by an authority of the attacker's own.
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = Authority::ensure(elsewhere.path(), &Clock::new()).unwrap();
    let mut paths = theirs.issue(&NodeId::new("i1").unwrap(), Role::Ingest, &[]).unwrap();
    paths.ca = server.authority.ca_path();
    let forged = Identity::load(&paths).unwrap().http_client(b1()).unwrap();
    within("refusal of a forged node", forged.get(server.url("/who")).send()).await.unwrap_err();

    let genuine = identity(&server.authority, "i1", Role::Ingest).http_client(b1()).unwrap();
    assert_eq!(genuine.get(server.url("/who")).send().await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn node_does_not_talk_to_a_server_of_another_authority() {
    let server = Server::start(Plane::Mutual, Limits::default()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = Authority::ensure(elsewhere.path(), &Clock::new()).unwrap();
    let client = identity(&theirs, "i1", Role::Ingest).http_client(b1()).unwrap();
    let error = within("refusal of the server", client.get(server.url("/who")).send()).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    server.stop().await;
}

#[tokio::test]
async fn server_of_the_cluster_that_is_another_node_or_role_is_refused_in_the_handshake() {
    let server = Server::start(Plane::Mutual, Limits::default()).await;
    let ingest = identity(&server.authority, "i1", Role::Ingest);
    let id = |name: &str| NodeId::new(name).unwrap();
    for meant in [b1(), Meant::Any(Role::Broadcast)] {
        let answer = ingest.http_client(meant).unwrap().get(server.url("/who")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ingest i1");
    }
    for (meant, said) in [
        (Meant::Any(Role::Control), "the server has to be a node of role control, and"),
        (Meant::Node(Role::Control, id("b1")), "the server has to be control b1, and"),
        (Meant::Node(Role::Broadcast, id("b2")), "the server has to be broadcast b2, and"),
    ] {
        let client = ingest.http_client(meant).unwrap();
        let error = within("refusal of the server", client.get(server.url("/who")).send()).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let wrong = WrongServer::in_causes(&error).map(ToString::to_string).unwrap_or_default();
        assert_eq!(wrong, format!("{said} its certificate belongs to broadcast b1"));
    }
    server.stop().await;
}

#[tokio::test]
async fn slow_header_is_cut_off() {
    let server = Server::start(Plane::Public, short()).await;
    let silent_http2 = [HTTP2_PREFACE, &HTTP2_SETTINGS[..]].concat();
    for (alpn, beginning) in [
        ("http/1.1", &b"GET /who HTTP/1.1\r\nHost: x\r\nX-Slow: "[..]),
        ("h2", &b"PRI * HT"[..]),
        ("h2", &silent_http2[..]),
    ] {
        let mut stream = server.connect(server.stranger(&[alpn])).await;
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        // It may close with or without a TLS close_notify or an answer: what counts is that it closes.
        let _ = within("the end of a slow connection", stream.read_to_end(&mut rest)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn header_that_never_stops_dripping_is_cut_off() {
    let server = Server::start(Plane::Public, short()).await;
    let mut stream = server.connect(server.stranger(&["http/1.1"])).await;
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let dripping = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while writer.write_all(b"x").await.is_ok() && writer.flush().await.is_ok() {
            ticks.tick().await;
        }
    };
    let reading = async {
        let _ = reader.read_to_end(&mut Vec::new()).await;
    };
    within("the end of a dripping connection", async { tokio::join!(dripping, reading) }).await;
    server.stop().await;
}

#[tokio::test]
async fn handshake_that_does_not_come_is_cut_off() {
    let server = Server::start(Plane::Public, short()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = within("the end of a silent connection", stream.read_to_end(&mut Vec::new())).await;
    server.stop().await;
}

#[tokio::test]
async fn idle_connection_is_ended_and_the_next_request_opens_another() {
    let server = Server::start(Plane::Public, short()).await;
    let mut stream = server.connect(server.stranger(&["http/1.1"])).await;
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the end of an idle connection", stream.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    let answer = client(server.stranger(&["h2"])).get(server.url("/who")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn connection_beyond_the_bound_is_closed_and_room_comes_back() {
    // No other bound may close the third connection first.
    let handshake_timeout = Duration::from_secs(3_600);
    let limits = Limits { connections_max: 2, handshake_timeout, ..Limits::default() };
    let server = Server::start(Plane::Public, limits).await;
    let first = server.connect(server.stranger(&["http/1.1"])).await;
    let _second = server.connect(server.stranger(&["http/1.1"])).await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let _ = within("the end of the third connection", third.read_to_end(&mut Vec::new())).await;
    drop(first);
    within("room for another", async {
        let client = client(server.stranger(&["http/1.1"]));
        while client.get(server.url("/who")).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = Server::start(Plane::Public, Limits::default()).await;
    let mut stream = server.connect(server.stranger(&["h2"])).await;
    let mut attack = [HTTP2_PREFACE, &HTTP2_SETTINGS[..]].concat();
    for id in (1..2_000_u32).step_by(2) {
        // HEADERS with END_STREAM and END_HEADERS: GET https / x (RFC 7541, appendix A), then RST_STREAM with CANCEL.
        attack.extend([0, 0, 6, 1, 5]);
        attack.extend(id.to_be_bytes());
        attack.extend([0x82, 0x87, 0x84, 0x41, 1, b'x']);
        attack.extend([0, 0, 4, 3, 0]);
        attack.extend(id.to_be_bytes());
        attack.extend(8_u32.to_be_bytes());
    }
    // The peer may hang up in the middle of the attack.
    let _ = stream.write_all(&attack).await;
    let mut answer = Vec::new();
    let _ = within("the end of the attack", stream.read_to_end(&mut answer)).await;
    assert!(http2_goaway_errors(&answer).contains(&ENHANCE_YOUR_CALM), "{answer:?}");
    let answer = client(server.stranger(&["h2"])).get(server.url("/who")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "the listener goes on");
    server.stop().await;
}

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Error codes of the GOAWAY frames in what a server sent.
fn http2_goaway_errors(mut bytes: &[u8]) -> Vec<u32> {
    let mut errors = Vec::new();
    while let [l2, l1, l0, kind, _flags, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*l2) << 16 | usize::from(*l1) << 8 | usize::from(*l0);
        let (payload, next) = rest.split_at(length.min(rest.len()));
        if let (7, [_, _, _, _, e3, e2, e1, e0, ..]) = (kind, payload) {
            errors.push(u32::from_be_bytes([*e3, *e2, *e1, *e0]));
        }
        bytes = next;
    }
    errors
}

#[tokio::test]
async fn header_block_beyond_the_bound_is_refused_on_both_protocols() {
    let server = Server::start(Plane::Public, Limits::default()).await;
    for alpn in ["h2", "http/1.1"] {
        let client = client(server.stranger(&[alpn]));
        let request = client.get(server.url("/who")).header("x-large", "x".repeat(128 * 1024));
        if let Ok(answer) = within("an answer to a large header", request.send()).await {
            assert_eq!(answer.status(), 431, "{alpn}");
        }
        let answer = client.get(server.url("/who")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{alpn}: the listener goes on");
    }
    server.stop().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures the time of the end itself")]
async fn shutdown_cuts_what_does_not_end_within_the_grace() {
    let server = Server::start(Plane::Public, Limits::default()).await;
    let client = client(server.stranger(&["h2"]));
    let idle = server.connect(server.stranger(&["http/1.1"])).await;
    let request = tokio::spawn(client.get(server.url("/forever")).send());
    within("the request to begin", server.entered.notified()).await;
    let address = server.address;
    let began = std::time::Instant::now();
    server.stop().await;
    let took = began.elapsed();
    assert!(took < http::GRACE + Duration::from_millis(500), "{took:?}");
    assert!(request.await.unwrap().is_err());
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures the time of the end itself")]
async fn shutdown_without_open_requests_is_immediate() {
    let server = Server::start(Plane::Public, Limits::default()).await;
    let client = client(server.stranger(&["h2"]));
    assert_eq!(client.get(server.url("/who")).send().await.unwrap().status(), 200);
    let began = std::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn taken_port_and_foreign_address_are_named_with_what_to_set() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let error = format!("{:#}", acceptor::bind(address, "rtmp_listen").await.unwrap_err());
    let port_is_taken = format!(
        "cannot listen on {address}: the port is taken by another program; stop that, or set rtmp_listen or --rtmp-listen to \
         another port (0 asks for a free one)"
    );
    assert_eq!(error, port_is_taken);
    let error = format!("{:#}", acceptor::bind(address, "role.control.data_listen").await.unwrap_err());
    assert!(error.contains("or set role.control.data_listen to another port"), "{error}");
    let error = format!("{:#}", acceptor::bind("192.0.2.1:0".parse().unwrap(), "a_listen").await.unwrap_err());
    let expected = "this machine does not have that address; set a_listen or --a-listen to another";
    assert_eq!(error, format!("cannot listen on 192.0.2.1:0: {expected}"));
}

#[test]
fn peer_prints_no_address() {
    let address: SocketAddr = "198.51.100.23:4711".parse().unwrap();
    let peer = Peer {
        address: address.into(),
        node: None,
        certificate: None,
        cut: CancellationToken::new(),
        long_lived: Default::default(),
    };
    let printed = format!("{peer:?}");
    assert!(!printed.contains("198.51") && !printed.contains("4711"), "{printed}");
}
