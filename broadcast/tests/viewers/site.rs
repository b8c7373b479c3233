//! A node's viewers' side on a free port of loopback, and clients of it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use acceptor::bind;
use access::{Facts, Rules};
use broadcast::viewers::{AccessControl, ChatBounds, ChatHub, Direct, Settings, Traffic, Viewers};
use media::NodeId;
use node::clock::Clock;
use node::http::{Limits, serve_tls};
use node::tls::{Authority, Identity, Server};
use node::{CancellationToken, Role};
use reqwest::{Client, Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use crate::snapshots::{Fixed, Watched};

pub(crate) struct Site {
    base: String,
    address: std::net::SocketAddr,
    identity: Identity,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) watched: Watched,
    access: Arc<AccessControl>,
    pub(crate) chat: Arc<ChatHub>,
    pub(crate) http1: Client,
    pub(crate) http2: Client,
    _directory: tempfile::TempDir,
    _running: DropGuard,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(direct: Option<Direct>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
        let node = NodeId::new("b1").unwrap();
        let identity = Identity::load(&authority.issue(&node, Role::Broadcast, &[]).unwrap()).unwrap();
        let traffic = Arc::new(Traffic::default());
        let access = AccessControl::new(Clock::new());
        let shutdown = CancellationToken::new();
        let chat = ChatHub::new(ChatBounds { readers_share: 10_000, ..ChatBounds::default() }, shutdown.clone());
        let settings = Settings { node, target_duration_s: 4, direct, access: access.clone(), chat: chat.clone() };
        let fixed = Fixed::new();
        let watched = fixed.watched.clone();
        let viewers = Viewers::new(settings, Arc::new(fixed), traffic.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap(), "a_listen").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = shutdown.clone().drop_guard();
        tokio::spawn(serve_tls(listener, identity.server_public(), viewers, Limits::default(), shutdown));
        let (http1, http2) = (client(&identity, b"http/1.1"), client(&identity, b"h2"));
        let base = format!("https://{address}");
        Self {
            base,
            address,
            identity,
            traffic,
            watched,
            access,
            chat,
            http1,
            http2,
            _directory: directory,
            _running: running,
        }
    }

    /// From now on, these facts decide who may have what.
    pub(crate) fn obey(&self, facts: Facts) {
        self.access.obey(Rules::from_facts(facts));
    }

    /// From now on, what the node answers reflects the metadata log up to this entry.
    pub(crate) fn reflect(&self, sequence: u64) {
        self.access.reflect(sequence);
    }

    /// From now on, tokens of these issuers and registered keys are taken, too.
    pub(crate) fn obey_foreign(&self, facts: Facts, known: Vec<issuers::Known>) {
        let foreign = issuers::ForeignKeys::new(known);
        let signers = foreign.signers();
        self.access.take_foreign(foreign);
        self.obey(Facts { signers, ..facts });
    }

    /// The same request in both versions of HTTP; answers must have the same status, headers and body. Returns one.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut answers = Vec::new();
        for client in [&self.http1, &self.http2] {
            answers.push(Answer::read(self.send(client, method.clone(), path, headers).await).await);
        }
        let (two, one) = (answers.pop().unwrap(), answers.pop().unwrap());
        assert_eq!((one.version, two.version), (reqwest::Version::HTTP_11, reqwest::Version::HTTP_2));
        assert_eq!((one.status, &one.headers, &one.body), (two.status, &two.headers, &two.body), "{method} {path}");
        two
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    pub(crate) async fn send(&self, client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = client.request(method, format!("{}{path}", self.base));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    /// Another client, with connections of its own.
    pub(crate) fn client(&self, protocol: &[u8]) -> Client {
        client(&self.identity, protocol)
    }

    /// Sends bytes over TLS as they are and reads until the node closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        self.raw_from(Ipv4Addr::LOCALHOST, request).await
    }

    /// The answer to a viewer of another address.
    pub(crate) async fn ask_from_another_address(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.raw_from(Ipv4Addr::new(127, 0, 0, 2), request.as_bytes()).await
    }

    async fn raw_from(&self, from: Ipv4Addr, request: &[u8]) -> String {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.identity.client(Server::Any(Role::Broadcast))));
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // The node may close without a TLS close_notify after a request that it could not read.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn client(identity: &Identity, protocol: &[u8]) -> Client {
    let mut tls = identity.client(Server::Any(Role::Broadcast));
    tls.alpn_protocols = vec![protocol.to_vec()];
    Client::builder().use_preconfigured_tls(tls).no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: reqwest::Version,
    pub(crate) status: u16,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let (version, status) = (response.version(), response.status().as_u16());
        let mut headers: std::collections::BTreeMap<_, _> = response.headers().iter().map(header).collect();
        headers.remove("date").expect("every answer has a date");
        Self { version, status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn unbrotlied(&self) -> Vec<u8> {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut brotli_decompressor::Decompressor::new(self.body.as_slice(), 4096), &mut out)
            .unwrap();
        out
    }

    pub(crate) fn unzipped(&self) -> Vec<u8> {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(self.body.as_slice()), &mut out).unwrap();
        out
    }
}
