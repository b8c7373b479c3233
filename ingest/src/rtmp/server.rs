//! The listener: accepts connections within bounds, each in a task of its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use node::CancellationToken;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::{Closed, Connection, Rules};
use crate::Config;
use crate::session::hub::Hub;

/// Wait after `accept` failed (out of file descriptors, for one), so that it does not spin.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);
/// How long connections may take to say goodbye.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// A bound listener.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    rules: Rules,
    connections_max: usize,
    connections_per_address_max: usize,
}

/// Connections per address, and in total.
#[derive(Debug, Default)]
struct Census(Mutex<HashMap<IpAddr, usize>>);

/// One counted connection.
struct Counted {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    fn admit(self: &Arc<Self>, address: IpAddr, total_max: usize, each_max: usize) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total = counts.values().fold(0_usize, |sum, count| sum.saturating_add(*count));
        let own = counts.get(&address).copied().unwrap_or(0);
        if total >= total_max || own >= each_max {
            return None;
        }
        counts.insert(address, own.saturating_add(1));
        Some(Counted { census: Arc::clone(self), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.census.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Server {
    /// Binds. Errors name the address.
    pub(crate) async fn bind(config: &Config) -> Result<Self> {
        let listener = node::http::bind(config.rtmp_listen).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            rules: Rules {
                handshake: Duration::from_secs(config.handshake_seconds),
                idle: Duration::from_secs(config.idle_seconds),
                application: config.application.clone(),
            },
            connections_max: config.connections_max,
            connections_per_address_max: config.connections_per_address_max,
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `shutdown`; then waits a moment for the connections to end.
    pub(crate) async fn run(self, hub: Arc<Hub>, shutdown: CancellationToken) {
        let census = Arc::new(Census::default());
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
            let Some(counted) = census.admit(address.ip(), self.connections_max, self.connections_per_address_max)
            else {
                tracing::warn!(%address, "too many connections: closed");
                metrics::counter!("ingest_refused_total", "reason" => "connections").increment(1);
                continue;
            };
            // Answers are small and waited for.
            let _ = socket.set_nodelay(true);
            metrics::counter!("ingest_connections_total").increment(1);
            let connection = Connection::new(socket, address, Arc::clone(&hub), self.rules.clone());
            let closing = shutdown.clone();
            tasks.spawn(async move {
                let _counted = counted;
                tokio::select! {
                    closed = connection.run() => report(address, &closed),
                    // Publishers are told by their streams; whoever has not got that far, or does not listen, is cut.
                    () = async { closing.cancelled().await; tokio::time::sleep(CLOSE_WAIT).await } => {}
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

fn report(address: SocketAddr, closed: &Closed) {
    match closed {
        Closed::Gone | Closed::Refused(_) => tracing::debug!(%address, %closed, "connection ended"),
        Closed::Invalid(_) | Closed::Deadline(_) => {
            let label = if matches!(closed, Closed::Invalid(_)) { "invalid" } else { "deadline" };
            metrics::counter!("ingest_refused_total", "reason" => label).increment(1);
            tracing::info!(%address, %closed, "connection ended");
        }
    }
}
