//! The listeners: accept connections within bounds, each in a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acceptor::{Accepted, Acceptor, Census, HandshakeError, Limit};
use anyhow::Result;
use node::CancellationToken;
use node::clock::Clock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::connection::{Closed, Connection, End, Rules};
use super::paced::{PollClock, PublisherSocket};
use super::refusals::Refusals;
use crate::Config;
use crate::intake::hub::Hub;

/// How long connections may take to end at shutdown.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// The bound listeners: one for RTMP, and one for RTMP over TLS if it is configured.
pub(crate) struct Server {
    plain: Listener,
    secure: Option<Listener>,
    state: Arc<ServerState>,
}

/// A listener, with or without TLS in front of RTMP.
struct Listener {
    acceptor: Acceptor,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// What both listeners share.
struct ServerState {
    rules: Rules,
    clock: Clock,
    /// When publishers are read.
    poll_clock: PollClock,
}

impl Listener {
    async fn open(listen: SocketAddr, setting: &str, tls: Option<TlsAcceptor>, census: &Arc<Census>) -> Result<Self> {
        let listener = acceptor::bind(listen, setting).await?;
        Ok(Self { address: listener.local_addr()?, acceptor: Acceptor::new(listener, Arc::clone(census)), tls })
    }
}

impl Server {
    /// Binds. Errors name the address.
    pub(crate) async fn bind(config: &Config, context: &node::Context) -> Result<Self> {
        let census = Census::new(config.connections_max, config.connections_per_address_max);
        let secure = match config.rtmps_listen {
            Some(listen) => {
                let tls = context.identity.server_publishers().into();
                Some(Listener::open(listen, "rtmps_listen", Some(tls), &census).await?)
            }
            None => None,
        };
        let state = ServerState {
            rules: Rules {
                handshake: Duration::from_secs(config.handshake_s),
                idle: Duration::from_secs(config.idle_s),
                application: config.application.clone(),
                refusals: Arc::new(Refusals::new(context.clock)),
            },
            clock: context.clock,
            poll_clock: PollClock::new(context.clock, config.targets().part),
        };
        let plain = Listener::open(config.rtmp_listen, "rtmp_listen", None, &census).await?;
        Ok(Self { plain, secure, state: Arc::new(state) })
    }

    /// Where it listens for RTMP.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.plain.address
    }

    /// Where it listens for RTMP over TLS, if it does.
    pub(crate) fn secure_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|listener| listener.address)
    }

    /// Accepts until `shutdown`; then waits a moment for the connections to end.
    pub(crate) async fn run(self, hub: Arc<Hub>, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        let listeners = std::iter::once(self.plain).chain(self.secure);
        let accepting = listeners.map(|listener| accept(listener, &self.state, &hub, &tasks, &shutdown));
        tokio::join!(futures_util::future::join_all(accepting), self.state.rules.refusals.sum_up(&shutdown));
        tasks.close();
        tasks.wait().await;
    }
}

/// Accepts connections at one listener until `shutdown`, each in a task of its own.
async fn accept(
    listener: Listener,
    state: &Arc<ServerState>,
    hub: &Arc<Hub>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let refused = |limit: Limit, address| {
        let limit = limit.label();
        metrics::counter!("ingest_refused_total", "reason" => limit).increment(1);
        if state.rules.refusals.is_first(limit, address) {
            tracing::warn!(%address, limit, "too many connections: closed");
        }
    };
    loop {
        let Accepted { stream: socket, address, slot } = tokio::select! {
            accepted = listener.acceptor.accept(refused) => accepted,
            () = shutdown.cancelled() => return,
        };
        metrics::counter!("ingest_connections_total").increment(1);
        let (state, hub, tls, closing) = (Arc::clone(state), Arc::clone(hub), listener.tls.clone(), shutdown.clone());
        tasks.spawn(async move {
            let _slot = slot;
            tokio::select! {
                end = state.serve(socket, address, tls, hub) => report(address, &end, &state.rules.refusals),
                // Streams tell their publishers. Connections that do not publish yet, or do not listen, are cut.
                () = async { closing.cancelled().await; tokio::time::sleep(CLOSE_WAIT).await } => {}
            }
        });
    }
}

impl ServerState {
    /// Serves a connection until it ends, its TLS handshake included.
    async fn serve(&self, socket: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, hub: Arc<Hub>) -> End {
        let (rules, begun) = (self.rules.clone(), self.clock.elapsed());
        let socket = PublisherSocket::new(socket, self.poll_clock);
        let Some(tls) = tls else {
            return Connection::new(socket, address, hub, rules).run(Duration::ZERO).await;
        };
        match acceptor::handshake(&tls, socket, rules.handshake).await {
            Ok(socket) => {
                let spent = self.clock.elapsed().saturating_sub(begun);
                Connection::new(Box::new(socket), address, hub, rules).run(spent).await
            }
            Err(HandshakeError::Failed(error)) => Closed::from_tls(&error).into(),
            Err(HandshakeError::Late) => {
                Closed::late("handshake_time", "no whole TLS handshake", rules.handshake).into()
            }
        }
    }
}

/// Counts and logs why a connection ended; of strangers, not every end is logged.
fn report(address: SocketAddr, end: &End, refusals: &Refusals) {
    let End { closed, stream } = end;
    let Some(reason) = closed.label() else {
        match stream {
            Some(stream) => tracing::info!(%stream, %address, %closed, "publisher's connection ended"),
            None => tracing::debug!(%address, %closed, "connection ended"),
        }
        return;
    };
    metrics::counter!("ingest_refused_total", "reason" => reason).increment(1);
    match stream {
        Some(stream) => tracing::info!(%stream, %address, reason, %closed, "publisher's connection ended"),
        None if refusals.is_first(reason, address) => tracing::info!(%address, reason, %closed, "connection ended"),
        None => {}
    }
}
