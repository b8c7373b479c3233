//! The accept loop of every listener, with its bounds.
//!
//! Owns binding, the pause after a failed accept, the limits of connections in total and per address, and the deadline and the turn of a
//! TLS handshake. Deliberately knows no protocol, and logs no address: a viewer's address is not for logs.

mod census;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{Acceptor as Hello, ClientHello};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

pub use census::{Census, Limit, Slot, network};
pub use turns::{Turn, Turns};

/// Pause after a failed accept, such as for want of file descriptors: an immediate retry would burn a core.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Binds a TCP listener. Port 0 asks for a free port. `setting` is the key in `sealcast.toml` that the address comes from.
///
/// # Errors
/// Names the address, and says what to set when it is taken or not this machine's.
pub async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let (why, other) = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ("the port is taken by another program; stop that, or set", "another port (0 asks for a free one)")
            }
            io::ErrorKind::AddrNotAvailable => ("this machine does not have that address; set", "another"),
            io::ErrorKind::PermissionDenied => ("ports below 1024 need a privilege; set", "a higher one"),
            _ => return anyhow::Error::new(error).context(format!("cannot listen on {address} ({setting})")),
        };
        // A key at the top of the file is also a flag.
        let flag = if setting.contains('.') { String::new() } else { format!(" or --{}", setting.replace('_', "-")) };
        anyhow::anyhow!("cannot listen on {address}: {why} {setting}{flag} to {other}")
    })
}

/// A listener and the census that its connections are counted in. Several listeners may share a census.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    census: Arc<Census>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with Nagle's algorithm off: what Sealcast sends is small and waited for.
    pub stream: TcpStream,
    pub address: SocketAddr,
    /// Keep it as long as the connection: it is one of those that the limits count.
    pub slot: Slot,
}

impl Acceptor {
    pub const fn new(listener: TcpListener, census: Arc<Census>) -> Self {
        Self { listener, census }
    }

    /// Accepts the next connection within the limits. Closes each connection beyond them and hands limit and address to `refused`.
    /// A failed accept is logged and tried again after [`RETRY_PAUSE`]. Cancel safe.
    pub async fn accept(&self, mut refused: impl FnMut(Limit, SocketAddr)) -> Accepted {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let listen = self.listener.local_addr().ok();
                    tracing::warn!(?listen, %error, "cannot accept a connection");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
            match self.census.admit(address.ip()) {
                Ok(slot) => {
                    // Without it, answers come later.
                    let _ = stream.set_nodelay(true);
                    return Accepted { stream, address, slot };
                }
                Err(limit) => refused(limit, address),
            }
        }
    }
}

/// Why a TLS handshake came to nothing.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer broke TLS off, or its side of it is not accepted.
    Failed(io::Error),
    /// The peer took longer than allowed.
    Late,
}

/// Shakes hands over TLS on an accepted connection, in `time` at most.
///
/// # Errors
/// When the handshake fails or is late. The connection is closed then.
pub async fn handshake<S>(tls: &TlsAcceptor, stream: S, time: Duration) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time(tls.accept(stream), time).await
}

/// As [`handshake`], with the configuration that `choose` takes by what the client says first. What follows from that is computed while
/// `turn` is held. The peer has `time` to say something, and again to answer; the wait for the turn is not the peer's.
///
/// # Errors
/// As [`handshake`].
pub async fn handshake_by<'t, S>(
    choose: impl FnOnce(&ClientHello<'_>) -> Arc<ServerConfig>,
    stream: S,
    turn: impl Future<Output = Turn<'t>>,
    time: Duration,
) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begun = in_time(LazyConfigAcceptor::new(Hello::default(), stream), time).await?;
    let config = choose(&begun.client_hello());
    let rest = {
        let _turn = turn.await;
        begun.into_stream(config)
    };
    in_time(rest, time).await
}

async fn in_time<T>(shaken: impl Future<Output = io::Result<T>>, time: Duration) -> Result<T, HandshakeError> {
    match tokio::time::timeout(time, shaken).await {
        Ok(Ok(shaken)) => Ok(shaken),
        Ok(Err(error)) => Err(HandshakeError::Failed(error)),
        Err(_) => Err(HandshakeError::Late),
    }
}
