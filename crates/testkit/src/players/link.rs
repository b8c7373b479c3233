//! The connection between one player and the load balancer, with a bandwidth that the test sets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Most bytes that pass at once.
const PIECE_BYTES: usize = 8 * 1024;

/// A TCP relay on a free port of 127.0.0.1. Bytes pass unchanged; TLS goes from end to end.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    bits_per_second: Arc<AtomicU64>,
    accept: JoinHandle<()>,
}

impl Link {
    /// Opens a relay without a limit.
    pub(super) async fn open(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let bits_per_second = Arc::new(AtomicU64::new(0));
        let rate = bits_per_second.clone();
        let accept = tokio::spawn(async move {
            let turn = Arc::new(Mutex::new(()));
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((viewer, _)) = listener.accept().await {
                connections.spawn(relay(viewer, target, rate.clone(), turn.clone()));
            }
        });
        Self { address, bits_per_second, accept }
    }

    /// Limits what all connections together may receive, in bits per second; 0 is no limit.
    pub(super) fn limit(&self, bits_per_second: u64) {
        self.bits_per_second.store(bits_per_second, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn relay(viewer: TcpStream, target: SocketAddr, rate: Arc<AtomicU64>, turn: Arc<Mutex<()>>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (_, _) = (viewer.set_nodelay(true), server.set_nodelay(true));
    let (mut from_viewer, mut to_viewer) = viewer.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_viewer, &mut to_server).await };
    let down = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = from_server.read(&mut piece).await?;
            if length == 0 {
                return to_viewer.shutdown().await;
            }
            if let bits @ 1.. = rate.load(Ordering::Relaxed) {
                let _turn = turn.lock().await;
                tokio::time::sleep(Duration::from_nanos(length as u64 * 8 * 1_000_000_000 / bits)).await;
            }
            to_viewer.write_all(&piece[..length]).await?;
        }
    };
    // The end of either side ends the connection: a half-closed HTTP connection carries nothing more.
    tokio::select! {
        _ = up => {}
        _ = down => {}
    }
}
