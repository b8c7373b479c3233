//! Listeners: TLS with HTTP/2 and HTTP/1.1 in front of an application, with a bound on everything a peer can hold.
//!
//! Owns accepting, handshakes, connection limits, idle and slow peers, and the graceful end. On HTTP/2 the responses of a
//! connection go in the order of their [priorities](crate::priority). Deliberately knows no routes.

mod http2;
mod transport;

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use acceptor::{Accepted, Acceptor, Census, HandshakeError, Slot, Turn, Turns};
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::http::HeaderName;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use media::NodeId;
use messages::Role;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use self::http2::{Driven, Requests};
pub use self::transport::{Flush, Transport};
use crate::Redacted;
use crate::priority::{self, Hint, PROGRESS_BYTES_MIN, Paced, Progress, Sliced};
use crate::tls::{self, VisitorTls};

/// How long open requests may go on after shutdown begins. Together with the time that an ingest in the same process takes first, it is
/// less than a process gets to end.
pub const GRACE: Duration = Duration::from_millis(1_500);
/// Longest header block in bytes. Our longest URL has some 300 bytes; browsers add cookies.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Read buffer of an HTTP/1.1 connection in bytes; a header block has to fit.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams a peer may have reset before we have looked at them (CVE-2023-44487, "rapid reset").
const PENDING_RESETS_MAX: usize = 20;
/// Stream errors of its own making that a peer may cause on one connection before it is closed.
const LOCAL_ERROR_RESETS_MAX: usize = 256;
/// Most bytes that HTTP/2 buffers for one stream. Bodies are handed over in slices in their turn, so this only has to hold what may be
/// ahead.
const SEND_BUFFER_BYTES_MAX: usize = 2 * priority::AHEAD_BYTES_MAX;
/// Most unsent bytes that the operating system holds for a connection. Nothing more urgent can overtake them, so the limit is low. Bytes
/// in flight come on top, without this limit.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;
/// The same on HTTP/1.1, where nothing could overtake a response anyway: more at once means fewer wake-ups.
const HTTP1_UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// Room for uploads on one stream and on one connection, in bytes: a part of the ladder, and all of it at once.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Header of a stopping node's answer to a request that waited there: another node can do better. It has no value.
pub const STOPPING: HeaderName = HeaderName::from_static("x-sealcast-stopping");

/// Header of a 404 (or 503) for a stream that other nodes own too: one of them may have what was asked for. It has no value.
pub const ELSEWHERE: HeaderName = HeaderName::from_static("x-sealcast-elsewhere");

/// Header of a 503 of a control node that does not lead: it has done nothing, and names the control node that leads, if it knows.
pub const LEADER: HeaderName = HeaderName::from_static("x-sealcast-leader");

/// Header of a head that a node has from before its start: it does not know what it showed after that head. It has no value.
pub const REMEMBERED: HeaderName = HeaderName::from_static("x-sealcast-remembered");

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The listener's name in metrics; not a bound. Default: `data`.
    pub name: &'static str,
    /// Connections at once, handshakes included; one more is closed at once and counted. Default: 4096.
    pub connections_max: usize,
    /// Connections from one address, or one /64 network, that stay when all are taken: of an address with more, the newest gives way to
    /// one from an address with fewer. Default: as many as there are.
    pub connections_share: usize,
    /// Time for the TLS handshake. Default: 5 s.
    pub handshake_timeout: Duration,
    /// Time for the first request after the handshake, and for each header block. Default: 10 s.
    pub header_timeout: Duration,
    /// A connection without a new request and without progress of a response for this long is asked to end; after as long again it is
    /// cut. So is one with a response that makes no progress, whatever else it asks for: its media would stay in memory. A blocked
    /// request has to be answered by then. Default: 60 s.
    pub idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection. Default: 128.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name: "data",
            connections_max: 4096,
            connections_share: usize::MAX,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            streams_max: 128,
        }
    }
}

/// The other end of a connection; an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address. A viewer's address is not for logs.
    pub address: Redacted<SocketAddr>,
    /// Its node and role, from the client certificate that the handshake verified; `None` for a viewer, and on a viewers' port for whoever
    /// is [no member](Members).
    pub node: Option<(NodeId, Role)>,
    /// That certificate; `None` for a viewer.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
    /// Cancelling it ends the connection at once.
    pub cut: CancellationToken,
    /// Its responses that last for as long as somebody reads them.
    pub long_lived: LongLived,
}

/// Responses of a connection that send little and hold nothing but themselves, such as streams of events. The connection is in use while
/// it has one, and their silence is no standstill.
#[derive(Debug, Clone, Default)]
pub struct LongLived(Arc<AtomicUsize>);

impl LongLived {
    /// One more, until the guard is dropped.
    pub fn begin(&self) -> LongLivedGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        LongLivedGuard(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A long-lived response that is under way.
#[derive(Debug)]
pub struct LongLivedGuard(Arc<AtomicUsize>);

impl Drop for LongLivedGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// Whether it is a load balancer, which stands for many viewers and counts them itself.
    pub fn is_balancer(&self) -> bool {
        matches!(self.node, Some((_, Role::LoadBalancer)))
    }

    /// The address that its share of anything is counted for; `None` for a load balancer.
    pub fn counted_as(&self) -> Option<IpAddr> {
        (!self.is_balancer()).then(|| self.address.expose().ip())
    }
}

/// A response that is under way, for whoever has to end it before its peer has read it.
#[derive(Debug, Clone)]
pub struct UnderWay {
    connection: CancellationToken,
    /// Its place on a connection that others share.
    shared: Option<Arc<priority::Response>>,
}

impl UnderWay {
    /// The response to the request that the running task answers.
    pub fn of(peer: &Peer) -> Self {
        // A viewer's connection ends as a whole: it may have stopped to read, and then nothing less gives the memory back.
        let shared = if peer.is_balancer() { priority::current() } else { None };
        Self { connection: peer.cut.clone(), shared }
    }

    /// Ends it, and drops what it holds: with its connection, or alone where the connection is a balancer's.
    pub fn cut(&self) {
        match &self.shared {
            Some(response) => response.cut(),
            None => self.connection.cancel(),
        }
    }
}

/// Says who is a member of the cluster. A certificate alone does not: its node may be revoked, or a stolen authority may have signed it.
pub trait Members: fmt::Debug + Send + Sync + 'static {
    /// Whether the peer is the node that its certificate names.
    fn is_member(&self, peer: &Peer) -> bool;

    /// Sent whenever the answer may have changed.
    fn changes(&self) -> watch::Receiver<()>;
}

/// How a listener shakes hands.
#[derive(Debug, Clone)]
pub enum Handshakes {
    /// The same with everybody.
    Alike(Arc<ServerConfig>),
    /// With viewers and balancers. Whoever has a certificate and is no member is taken for a viewer.
    Visitors(VisitorTls, Arc<dyn Members>),
}

impl From<Arc<ServerConfig>> for Handshakes {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::Alike(config)
    }
}

impl<M: Members> From<(VisitorTls, Arc<M>)> for Handshakes {
    fn from((tls, members): (VisitorTls, Arc<M>)) -> Self {
        Self::Visitors(tls, members)
    }
}

impl Handshakes {
    async fn shake<'t>(
        &self,
        stream: TcpStream,
        turn: impl Future<Output = Turn<'t>>,
        time: Duration,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        match self {
            Self::Alike(config) => acceptor::handshake(&TlsAcceptor::from(Arc::clone(config)), stream, time).await,
            Self::Visitors(tls, _) => acceptor::handshake_by(|hello| tls.for_client(hello), stream, turn, time).await,
        }
    }

    /// Settles what a peer is. Resolves to a future that ends when that is over, and the peer has to connect again.
    fn settle(&self, peer: &mut Peer) -> impl Future<Output = ()> + Send + use<> {
        let named = match self {
            Self::Visitors(_, members) if peer.node.is_some() => {
                Some((Arc::clone(members), members.changes(), peer.clone()))
            }
            _ => None,
        };
        let is_member = named.as_ref().is_none_or(|(members, _, peer)| members.is_member(peer));
        if !is_member {
            (peer.node, peer.certificate) = (None, None);
        }
        async move {
            if let Some((members, mut changes, peer)) = named {
                while changes.changed().await.is_ok() {
                    if members.is_member(&peer) != is_member {
                        return;
                    }
                }
            }
            std::future::pending::<()>().await;
        }
    }
}

/// What answers the requests of a listener.
pub trait Application: Clone + Send + Sync + 'static {
    /// Body of its responses.
    type Body: hyper::body::Body<Data = Bytes, Error = axum::Error> + Send + Unpin + 'static;

    /// Answers one request. The future is dropped early only when its connection or its stream is gone.
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

impl Application for Router {
    type Body = Body;

    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + 'static {
        let answer = hyper::service::Service::call(&TowerToHyperService::new(self), request);
        async move {
            let Ok(response) = answer.await;
            response
        }
    }
}

/// Serves an application over TLS until `shutdown`, then lets open requests end for [`GRACE`] at most.
///
/// # Errors
/// When the listener cannot be used at all. What a single peer does is counted, not returned.
pub async fn serve_tls<A: Application>(
    listener: TcpListener,
    tls: impl Into<Handshakes>,
    application: A,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<()> {
    serve(listener, Some(tls.into()), application, limits, shutdown).await
}

/// Serves a router without TLS, HTTP/1.1 only: for the ops plane on loopback.
///
/// # Errors
/// As [`serve_tls`].
pub async fn serve_plain(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<()> {
    serve(listener, None, router, limits, shutdown).await
}

async fn serve<A: Application>(
    listener: TcpListener,
    tls: Option<Handshakes>,
    application: A,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<()> {
    let local = listener.local_addr().context("the listener has no address")?;
    let acceptor = Acceptor::new(listener, Census::fair(limits.connections_max, limits.connections_share));
    let open = metrics::gauge!("http_connections", "listener" => limits.name);
    let server = Arc::new(Server { tls, turns: Turns::default(), application, limits, shutdown });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = acceptor.accept(|_, _| refused("connections_max")) => accepted,
        };
        let (server, counted) = (server.clone(), Counted::new(open.clone()));
        connections.spawn(async move {
            let _counted = counted;
            server.connection(accepted).await;
        });
    }
    drop(acceptor);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::debug!(listen = %local, left = connections.len(), "cutting connections that did not end in time");
    }
    connections.shutdown().await;
    Ok(())
}

/// One open thing, counted in a gauge for as long as this lives.
#[derive(Debug)]
pub struct Counted(metrics::Gauge);

impl Counted {
    /// Adds one to the gauge.
    pub fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

fn refused(reason: &'static str) {
    metrics::counter!("http_connections_refused_total", "reason" => reason).increment(1);
}

struct Server<A> {
    tls: Option<Handshakes>,
    turns: Turns,
    application: A,
    limits: Limits,
    shutdown: CancellationToken,
}

impl<A: Application> Server<A> {
    async fn connection(self: Arc<Self>, Accepted { stream, address, slot }: Accepted) {
        let (cut, displaced) = (CancellationToken::new(), slot.when_displaced());
        tokio::select! {
            () = self.serve(stream, (address, slot), cut.clone()) => {}
            () = displaced.cancelled() => refused("share"),
            () = cut.cancelled() => refused("memory"),
        }
    }

    async fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        (address, mut slot): (SocketAddr, Slot),
        cut: CancellationToken,
    ) {
        for_viewers(&stream);
        let (ip, address) = (address.ip(), Redacted::new(address));
        let Some(tls) = &self.tls else {
            let peer = Peer { address, node: None, certificate: None, cut, long_lived: LongLived::default() };
            return self.http1(stream, peer, self.shutdown.clone()).await;
        };
        let handshake = tokio::select! {
            () = self.shutdown.cancelled() => return,
            handshake = tls.shake(stream, self.turns.next(ip), self.limits.handshake_timeout) => handshake,
        };
        let (stream, session) = match handshake {
            Ok(stream) => stream.into_inner(),
            Err(HandshakeError::Failed(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return refused("handshake");
            }
            Err(HandshakeError::Late) => return refused("handshake_timeout"),
        };
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let mut peer = Peer {
            address,
            node: certificate.and_then(tls::node_of),
            certificate: certificate.map(|certificate| Arc::new(certificate.clone().into_owned())),
            cut,
            long_lived: LongLived::default(),
        };
        let over = tls.settle(&mut peer);
        if peer.is_balancer() {
            slot.stay();
        }
        let end = self.shutdown.child_token();
        let ends = end.clone();
        let served = async {
            if session.alpn_protocol() == Some(b"h2") {
                self.http2(Transport::new(stream, session, Flush::ByDriver), peer, end).await;
            } else {
                let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(HTTP1_UNSENT_BYTES_MAX);
                self.http1(Transport::new(stream, session, Flush::ByProtocol), peer, end).await;
            }
        };
        let mut served = std::pin::pin!(served);
        tokio::select! {
            () = served.as_mut() => {}
            () = over => {
                ends.cancel();
                served.await;
            }
        }
    }

    async fn http1<I>(&self, stream: I, peer: Peer, end: CancellationToken)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new(end);
        let stream = TokioIo::new(Paced::new(stream, activity.connection.clone()));
        let connection = conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HTTP1_BUFFER_BYTES_MAX)
            .serve_connection(stream, self.service(&activity, peer));
        self.drive(connection, |connection| connection.graceful_shutdown(), &activity).await;
    }

    async fn http2(&self, transport: Transport, peer: Peer, end: CancellationToken) {
        let activity = Activity::new(end);
        let requests = Requests::new(activity.connection.clone());
        let protocol = conn::http2::Builder::new(requests.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_max)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(LOCAL_ERROR_RESETS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(transport.clone()), self.service(&activity, peer));
        self.drive(Driven::new(protocol, requests, transport), Driven::graceful_shutdown, &activity).await;
    }

    fn service(
        &self,
        activity: &Activity,
        mut peer: Peer,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Sliced<A::Body>>,
        Error = Infallible,
        Future: Send + 'static,
    > + use<A> {
        let application = self.application.clone();
        let count = activity.requests.clone();
        peer.long_lived = activity.long_lived.clone();
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            count.fetch_add(1, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            let hint = Hint::of(request.headers());
            let answer = application.clone().answer(request.map(Body::new));
            async move { Ok(Sliced::response(hint, answer.await)) }
        })
    }

    /// Runs a connection to its end. When it is told to end, or is idle, asks it to end, and cuts it when it does not.
    async fn drive<C>(&self, connection: C, end: impl Fn(Pin<&mut C>), activity: &Activity)
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let mut connection = std::pin::pin!(connection);
        // Read before the connection runs: it may get its first request at once.
        let start = activity.now();
        tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            () = activity.end.cancelled() => {}
            () = self.unused(activity, start, self.limits.header_timeout) => {}
        }
        end(connection.as_mut());
        tokio::select! {
            ended = connection => log_end(ended),
            () = self.unused(activity, activity.now(), self.limits.idle_timeout) => refused("idle"),
        }
    }

    /// Resolves once nothing has happened for `wait` since `before`, or responses that were open then stand still; each later wait
    /// is [`Limits::idle_timeout`].
    async fn unused(&self, activity: &Activity, mut before: Seen, mut wait: Duration) {
        loop {
            tokio::time::sleep(wait).await;
            let now = activity.now();
            let written_bytes = now.progress.written_bytes - before.progress.written_bytes;
            let long_lived = activity.long_lived.count();
            if long_lived == 0 && now.requests == before.requests && written_bytes < PROGRESS_BYTES_MIN {
                return;
            }
            if activity.connection.stands_still_since(before.progress, long_lived) {
                return refused("stalled");
            }
            before = now;
            wait = self.limits.idle_timeout;
        }
    }
}

/// Sets the options of a TCP connection to a viewer. A failure costs latency only.
pub fn for_viewers(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

/// Counts what happens on a connection.
struct Activity {
    requests: Arc<AtomicU64>,
    connection: priority::Connection,
    /// Tells it to end.
    end: CancellationToken,
    long_lived: LongLived,
}

struct Seen {
    requests: u64,
    progress: Progress,
}

impl Activity {
    fn new(end: CancellationToken) -> Self {
        let connection = priority::Connection::default();
        Self { requests: Arc::default(), connection, end, long_lived: LongLived::default() }
    }

    fn now(&self) -> Seen {
        Seen { requests: self.requests.load(Ordering::Relaxed), progress: self.connection.progress() }
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended early");
    }
}
