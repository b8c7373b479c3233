//! The accept loop in front of Pingora's proxy.
//!
//! Pingora's own `Server` makes its runtimes, installs signal handlers, ends the process or sleeps for minutes on a graceful
//! stop, cannot bind port 0, and logs viewers' addresses. Its HTTP application can be driven without it: this loop
//! accepts, shakes hands and hands the connection over, all bounded.

use std::sync::Arc;
use std::time::Duration;

use node::CancellationToken;
use pingora::apps::{HttpServerOptions, ServerApp as _};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::GetSocketDigest as _;
use pingora::protocols::SocketDigest;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::proxy::Balancer;

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A viewer's HTTP/2 connection without a request for this long is closed: players ask every few seconds, and a phone that
/// has vanished must not hold its place. Pingora does the same for HTTP/1.1.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    balancer: Balancer,
    connections_max: usize,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let conf = Arc::new(server_conf(&balancer));
    let mut app = pingora::proxy::http_proxy(&conf, balancer);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(IDLE_TIMEOUT);
    app.server_options = Some(options);
    let app = Arc::new(app);
    let acceptor = Arc::new(Acceptor::from_server_config(tls));
    let room = Arc::new(Semaphore::new(connections_max));
    let (stop, stopping) = watch::channel(false);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept viewers' connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            metrics::counter!("loadbalancer_connections_refused_total").increment(1);
            continue;
        };
        let (app, acceptor, stopping) = (Arc::clone(&app), Arc::clone(&acceptor), stopping.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection(stream, &acceptor, &app, stopping).await;
        });
    }
    drop(listener);
    // Nobody listens for it when no connection is open.
    let _ = stop.send(true);
    connections.close();
    if tokio::time::timeout(node::http::GRACE, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "connections were cut at shutdown");
    }
    Ok(())
}

fn server_conf(balancer: &Balancer) -> ServerConf {
    ServerConf {
        ca_file: Some(balancer.ca_file().to_owned()),
        max_retries: crate::proxy::TRIES_MAX,
        upstream_keepalive_pool_size: crate::proxy::IDLE_UPSTREAMS_MAX,
        ..ServerConf::default()
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    acceptor: &Acceptor,
    app: &Arc<HttpProxy<Balancer>>,
    stopping: watch::Receiver<bool>,
) {
    // A playlist is smaller than a packet: it must not wait for the next one.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let digest = {
        use std::os::fd::AsRawFd as _;
        SocketDigest::from_raw_fd(stream.as_raw_fd())
    };
    let mut stream = TcpStream::from(stream);
    stream.set_socket_digest(digest);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.tls_handshake(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        metrics::counter!("loadbalancer_handshakes_failed_total").increment(1);
        return;
    };
    let mut next: Option<pingora::protocols::Stream> = Some(Box::new(stream));
    while let Some(stream) = next {
        next = app.process_new(stream, &stopping).await;
    }
}
