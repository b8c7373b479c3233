//! The connections to one node, so that they can be cut.
//!
//! A frozen process keeps its connections: what waits there would wait until HTTP/2's pings give up, ten seconds later. Pingora makes its
//! connections through [`Dial`], which keeps a second descriptor of each socket. Shutting that down looks to Pingora like a node that
//! died, so requests without an answer go to another.

use std::net::{Shutdown, TcpStream as DuplicateSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use node::clock::Clock;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::Tracing;
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;

use crate::certificates::Certificates;

/// Longest wait for a connection to a node; it is in the same cluster.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// All connections to a node.
#[derive(Debug)]
pub(crate) struct NodeConnections {
    clock: Clock,
    /// Monotonic time when the node was last heard, in milliseconds.
    heard_ms: AtomicU64,
    certificates: Certificates,
    open: Mutex<Vec<Weak<Socket>>>,
}

/// The second descriptor of one connection; gone when Pingora closes the connection.
#[derive(Debug, Default)]
struct Socket(Mutex<Option<DuplicateSocket>>);

/// Makes one connection for Pingora, and is told when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    connections: Arc<NodeConnections>,
    socket: Arc<Socket>,
}

impl NodeConnections {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, heard_ms: AtomicU64::new(0), certificates: Certificates::default(), open: Mutex::default() }
    }

    /// The certificates with which the node has proved its identity.
    pub(crate) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Notes that the node has answered.
    pub(crate) fn heard(&self) {
        self.heard_ms.store(millis(self.clock.elapsed()), Ordering::Relaxed);
    }

    /// Whether the node has answered since then.
    pub(crate) fn was_heard_since(&self, then: Duration) -> bool {
        self.heard_ms.load(Ordering::Relaxed) > millis(then)
    }

    /// Ends all connections, so that requests that wait there fail now.
    pub(crate) fn cut(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for socket in open.iter().filter_map(Weak::upgrade) {
            if let Some(duplicate) = socket.take() {
                // It may have ended a moment ago.
                let _ = duplicate.shutdown(Shutdown::Both);
            }
        }
    }

    fn opened(&self, socket: &Arc<Socket>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // So the list is at most one longer than the number of open connections.
        open.retain(|socket| socket.strong_count() > 0);
        open.push(Arc::downgrade(socket));
    }
}

impl Socket {
    fn take(&self) -> Option<DuplicateSocket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Dial {
    pub(crate) fn new(connections: Arc<NodeConnections>) -> Self {
        Self { connections, socket: Arc::default() }
    }
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let address = address.as_inet().ok_or_else(|| Error::explain(ErrorType::ConnectError, "no IP address"))?;
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                let kind = if refused { ErrorType::ConnectRefused } else { ErrorType::ConnectError };
                return Err(Error::because(kind, "to a broadcast node", error));
            }
            Err(_) => return Err(Error::explain(ErrorType::ConnectTimedout, "to a broadcast node")),
        };
        let duplicate = stream.as_fd().try_clone_to_owned();
        let duplicate =
            duplicate.map_err(|error| Error::because(ErrorType::SocketError, "no second descriptor", error))?;
        *self.socket.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(DuplicateSocket::from(duplicate));
        self.connections.opened(&self.socket);
        Ok(stream.into())
    }
}

impl Tracing for Dial {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        // While a second descriptor is open, the node does not see the end of the connection.
        drop(self.socket.take());
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
