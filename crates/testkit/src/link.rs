//! A connection between two programs that the test can cut, close, narrow and heal: a TCP relay on a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Most bytes that pass at once.
const PIECE_BYTES: usize = 8 * 1024;

/// What a link does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They pass, as fast as the machine allows.
    Pass,
    /// Nothing passes, and neither side is told. Bytes under way pass later, as when lost packets are sent again.
    Blackhole,
    /// Existing and new connections end at once with a reset.
    Reset,
    /// As `Reset` for the side that connects; the other side is never told.
    Forgotten,
    /// Nothing passes, and neither side is ever told: existing connections stay dead even in a later mode.
    Dead,
    /// This many bytes pass per second, in each direction of each connection.
    Slow(u32),
}

/// The relay, which ends when this is dropped. TLS goes from end to end.
pub struct Link {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    accept: JoinHandle<()>,
}

impl Link {
    pub async fn open(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (mode, seen) = watch::channel(Mode::Pass);
        let accept = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((near, _)) = listener.accept() => { connections.spawn(relay(near, target, seen.clone())); }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, mode, accept }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn relay(mut near: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    passing(&mut mode).await;
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    let mut changes = mode.clone();
    let cut = {
        let (from_near, to_near) = near.split();
        let (from_far, to_far) = far.split();
        // The end of either side ends the connection: a half-closed HTTP connection carries nothing more.
        tokio::select! {
            () = pump(from_near, to_far, mode.clone()) => None,
            () = pump(from_far, to_near, mode.clone()) => None,
            cut = changes.wait_for(|mode| matches!(mode, Mode::Reset | Mode::Forgotten | Mode::Dead)) => cut.ok().map(|mode| *mode),
        }
    };
    match cut {
        Some(Mode::Reset) => {
            let (_, _) = (near.set_zero_linger(), far.set_zero_linger());
        }
        Some(Mode::Forgotten) => {
            let _ = near.set_zero_linger();
            drop(near);
            std::future::pending::<()>().await;
        }
        Some(Mode::Dead) => std::future::pending().await,
        _ => {}
    }
}

/// Waits until bytes may pass.
async fn passing(mode: &mut watch::Receiver<Mode>) {
    // An error means that the link is gone, which ends this task, too.
    let _ = mode.wait_for(|mode| *mode != Mode::Blackhole).await;
}

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await;
        // Neither bytes nor the end of the stream may pass before the link lets them.
        passing(&mut mode).await;
        let Ok(length @ 1..) = read else { return };
        let now = *mode.borrow();
        if let Mode::Slow(bytes_per_second) = now {
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / f64::from(bytes_per_second))).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
