//! A small origin of live HLS: correct, or with one fault.

pub mod breakage;
pub mod clip;
mod mux;
mod render;
mod server;
mod timeline;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use breakage::Break;
use clip::Clips;
pub use server::InProcess;
use timeline::Timeline;
use tokio::time::Instant;

/// What kind of stream it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Low latency, fMP4.
    LowLatency,
    /// Low latency, ending two seconds after the start.
    Ending,
    /// Plain live, fMP4, with subtitles and a variant behind a key.
    Plain,
    /// Plain live, one transport stream.
    Transport,
}

/// An origin on the network, which stops when this is dropped.
pub struct Origin {
    pub url: String,
    /// The authority behind its certificate.
    pub ca: PathBuf,
    serving: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// State that requests share.
pub struct Station {
    pub kind: Kind,
    pub timeline: Timeline,
    began: Instant,
    /// Objects that were requested before.
    pub asked: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl Station {
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Station {
    /// Makes an origin without a network, which begins now.
    #[expect(clippy::disallowed_methods, reason = "a live origin goes by the clock")]
    pub fn new(kind: Kind, broken: Break, clips: Arc<Clips>) -> Self {
        let last_msn = (kind == Kind::Ending).then_some(15);
        let timeline = Timeline { clips, broken, last_msn };
        Self { kind, timeline, began: Instant::now(), asked: std::sync::Mutex::default() }
    }
}

impl Origin {
    /// Starts an origin on a free port.
    pub async fn start(kind: Kind, broken: Break, clips: Arc<Clips>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&ca, certified.cert.pem()).unwrap();
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("https://{}/live/index.m3u8", listener.local_addr().unwrap());
        let station = Arc::new(Station::new(kind, broken, clips));
        let serving = tokio::spawn(server::serve(listener, certified, station));
        Self { url, ca, serving, _directory: directory }
    }
}
