//! The accept loop in front of Pingora's proxy.
//!
//! Pingora's own `Server` makes its runtimes, installs signal handlers, ends the process or sleeps for minutes on a graceful
//! stop, cannot bind port 0, and logs viewers' addresses. Its HTTP application can be driven without it: this loop
//! accepts, shakes hands and hands the connection over, all bounded.

use std::sync::Arc;
use std::time::Duration;

use acceptor::{Accepted, Acceptor, Census};
use node::CancellationToken;
use node::http::Counted;
use pingora::apps::ServerApp as _;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::http2;
use crate::kept::KeptPlaylists;
use crate::members::Members;
use crate::proxy::Balancer;
use crate::transport::Transport;
use crate::viewer;

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    (balancer, members): (Balancer, Arc<Members>),
    (connections_max, connections_share): (usize, usize),
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let conf = Arc::new(server_conf(&balancer));
    let kept = Arc::new(balancer.kept());
    let app = Arc::new(pingora::proxy::http_proxy(&conf, balancer));
    let tls = TlsAcceptor::from(tls);
    let acceptor = Acceptor::new(listener, Census::fair(connections_max, connections_share));
    let refused = || metrics::counter!("loadbalancer_connections_refused_total").increment(1);
    let (stop, stopping) = watch::channel(false);
    let connections = TaskTracker::new();
    loop {
        let Accepted { stream, slot, .. } = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = acceptor.accept(|_, _| refused()) => accepted,
        };
        let (app, tls, stopping) = ((Arc::clone(&app), Arc::clone(&kept)), tls.clone(), stopping.clone());
        let viewer = viewer::Connection::new(Arc::clone(&members));
        connections.spawn(async move {
            let _counted = Counted::new(metrics::gauge!("loadbalancer_viewers"));
            tokio::select! {
                () = viewer.scope(connection(stream, &tls, &app, stopping)) => {}
                () = slot.displaced() => metrics::counter!("loadbalancer_connections_displaced_total").increment(1),
            }
        });
    }
    drop(acceptor);
    // No connection listens when none is open.
    let _ = stop.send(true);
    // Idle HTTP/1.1 connections end now.
    app.cleanup().await;
    connections.close();
    if tokio::time::timeout(node::http::GRACE, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "connections were cut at shutdown");
    }
    Ok(())
}

fn server_conf(balancer: &Balancer) -> ServerConf {
    ServerConf {
        ca_file: Some(balancer.ca_file()),
        max_retries: crate::proxy::TRIES_MAX,
        upstream_keepalive_pool_size: crate::upstream::IDLE_UPSTREAMS_MAX,
        ..ServerConf::default()
    }
}

async fn connection(
    stream: tokio::net::TcpStream,
    tls: &TlsAcceptor,
    (app, kept): &(Arc<HttpProxy<Balancer>>, Arc<KeptPlaylists>),
    stopping: watch::Receiver<bool>,
) {
    node::http::for_viewers(&stream);
    let Ok(stream) = acceptor::handshake(tls, stream, HANDSHAKE_TIMEOUT).await else {
        metrics::counter!("loadbalancer_handshakes_failed_total").increment(1);
        return;
    };
    let transport = Transport::new(stream);
    if transport.is_http2() {
        return http2::serve(transport, (app, kept), stopping).await;
    }
    let mut next: Option<pingora::protocols::Stream> = Some(Box::new(transport));
    while let Some(stream) = next {
        next = app.process_new(stream, &stopping).await;
    }
}
