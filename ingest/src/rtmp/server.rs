//! The listener: accepts connections within bounds, each in a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use node::CancellationToken;
use node::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::census::Census;
use super::connection::{Closed, Connection, Rules};
use crate::Config;
use crate::session::hub::Hub;

/// Wait after `accept` failed (out of file descriptors, for one), so that it does not spin.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);
/// How long connections may take to say goodbye.
const CLOSE_WAIT: Duration = Duration::from_millis(500);
/// How often it is said that there are too many connections.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// A bound listener.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    rules: Rules,
    census: Arc<Census>,
    complaints: Complaints,
}

impl Server {
    /// Binds. Errors name the address.
    pub(crate) async fn bind(config: &Config, clock: Clock) -> Result<Self> {
        let listener = node::http::bind(config.rtmp_listen).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            rules: Rules {
                handshake: Duration::from_secs(config.handshake_seconds),
                idle: Duration::from_secs(config.idle_seconds),
                application: config.application.clone(),
            },
            census: Census::new(config.connections_max, config.connections_per_address_max),
            complaints: Complaints { clock, last: None },
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `shutdown`; then waits a moment for the connections to end.
    pub(crate) async fn run(mut self, hub: Arc<Hub>, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                    continue;
                }
            };
            let counted = match self.census.admit(address.ip()) {
                Ok(counted) => counted,
                Err(limit) => {
                    metrics::counter!("ingest_refused_total", "reason" => limit).increment(1);
                    self.complaints.too_many(address, limit);
                    continue;
                }
            };
            // Answers are small and waited for.
            let _ = socket.set_nodelay(true);
            metrics::counter!("ingest_connections_total").increment(1);
            let connection = Connection::new(socket, address, Arc::clone(&hub), self.rules.clone());
            let closing = shutdown.clone();
            tasks.spawn(async move {
                let _counted = counted;
                tokio::select! {
                    closed = connection.run(Duration::ZERO) => report(address, &closed),
                    // Publishers are told by their streams; whoever has not got that far, or does not listen, is cut.
                    () = async { closing.cancelled().await; tokio::time::sleep(CLOSE_WAIT).await } => {}
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// Says that there are too many connections, and not each time: who makes them would fill the disk with it.
struct Complaints {
    clock: Clock,
    last: Option<Duration>,
}

impl Complaints {
    fn too_many(&mut self, address: SocketAddr, limit: &'static str) {
        let now = self.clock.elapsed();
        if self.last.is_some_and(|last| now.saturating_sub(last) < COMPLAINT_INTERVAL) {
            return;
        }
        self.last = Some(now);
        tracing::warn!(%address, limit, "too many connections: closed (said once in ten seconds; metrics have the number)");
    }
}

/// Counts and says why a connection ended.
fn report(address: SocketAddr, closed: &Closed) {
    match closed.label() {
        None => tracing::debug!(%address, %closed, "connection ended"),
        Some(reason) => {
            metrics::counter!("ingest_refused_total", "reason" => reason).increment(1);
            tracing::info!(%address, reason, %closed, "connection ended");
        }
    }
}
