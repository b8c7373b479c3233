//! The set-up of `balancer`: a node reduced to what a balancer sees of it, and the two balancers in front of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{self, State};
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use bus::broker;
use bytes::Bytes;
use media::NodeId;
use node::http::{Limits, Peer};
use node::ops::Ops;
use node::presence::PresenceParts;
use node::{CancellationToken, Role, tls};
use tokio::sync::watch;

use super::Which;
use super::haproxy::Haproxy;
use super::running::SEGMENT;
use crate::balancer_process::{Running, begin, idle};
use crate::blocked::viewer::Viewer;
use crate::role::{Orders, PASSWORD, cpu_seconds, resident_bytes};

pub(crate) const PLAYLIST: &str = "/live/bench/v/index.m3u8";
pub(super) const PARTS: &str = "/live/bench/v/1";
pub(crate) const PLAYLIST_BYTES: usize = 2_000;
pub(crate) const SEGMENT_BYTES: usize = 2_200_000;
/// Half a second at 1 Mbit/s; the bench's viewer takes at most 64 KiB at once.
const PART_BYTES: usize = 60_000;
/// Longest time for a balancer to find the node.
const START_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The parts that the node holds back.
#[derive(Debug, Clone)]
struct Hold {
    released: watch::Sender<u64>,
    waiting: watch::Sender<usize>,
    connections: Arc<Mutex<BTreeSet<SocketAddr>>>,
    part: Bytes,
    segment: Bytes,
    playlist: Bytes,
}

impl Hold {
    fn router(&self) -> Router {
        Router::new()
            .route(PLAYLIST, get(Self::playlist))
            .route(SEGMENT, get(Self::segment))
            .route(&format!("{PARTS}/{{part}}"), get(Self::part))
            .with_state(self.clone())
    }

    async fn playlist(State(hold): State<Self>) -> impl IntoResponse {
        ([priority("u=1"), (header::CACHE_CONTROL, "public, max-age=2")], hold.playlist)
    }

    async fn segment(State(hold): State<Self>) -> impl IntoResponse {
        ([priority("u=3"), (header::CACHE_CONTROL, IMMUTABLE)], hold.segment)
    }

    async fn part(
        State(hold): State<Self>,
        Extension(peer): Extension<Peer>,
        extract::Path(part): extract::Path<String>,
    ) -> impl IntoResponse {
        let wanted: u64 = part.trim_end_matches(".m4s").parse().unwrap_or(u64::MAX);
        hold.connections.lock().unwrap_or_else(PoisonError::into_inner).insert(*peer.address.expose());
        let mut released = hold.released.subscribe();
        hold.waiting.send_modify(|waiting| *waiting += 1);
        let _ = released.wait_for(|released| *released >= wanted).await;
        hold.waiting.send_modify(|waiting| *waiting -= 1);
        ([priority("u=3"), (header::CACHE_CONTROL, IMMUTABLE)], hold.part)
    }
}

fn priority(value: &'static str) -> (HeaderName, &'static str) {
    (HeaderName::from_static(node::priority::NAME), value)
}

/// The node, its broker and the balancers.
pub(crate) struct Cluster {
    pub(super) viewers: rustls::ClientConfig,
    hold: Hold,
    newest: AtomicU64,
    node: SocketAddr,
    ours: (Running, SocketAddr),
    haproxy: (Running, SocketAddr),
    _shutdown: tokio_util::sync::DropGuard,
}

impl Cluster {
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let authority = tls::Authority::ensure(&directory.join("certs"), &node::clock::Clock::new())?;
        let user = |name: &str, access| broker::User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let users = vec![user("b1", broker::Access::Broadcast), user("lb", broker::Access::LoadBalancer)];
        let config = broker::Config { listen: any_port(), users, ..broker::Config::default() };
        let broker = broker::EmbeddedBroker::load(config).await?;
        let shutdown = CancellationToken::new();
        let orders = |name: &str, role| {
            let identity = authority.issue(&NodeId::new(name)?, role, &[])?;
            anyhow::Ok(Orders {
                name: name.to_owned(),
                directory: directory.to_owned(),
                broker: broker.address(),
                identity,
                attacked: None,
            })
        };
        let (for_node, for_ours) = (orders("b1", Role::Broadcast)?, orders("lb", Role::LoadBalancer)?);
        tokio::spawn(broker.run(shutdown.clone()));

        let hold = Hold {
            released: watch::Sender::new(0),
            waiting: watch::Sender::new(0),
            connections: Arc::default(),
            part: vec![0x5a; PART_BYTES].into(),
            segment: vec![0x5a; SEGMENT_BYTES].into(),
            playlist: vec![b'#'; PLAYLIST_BYTES].into(),
        };
        let context = for_node.context(Role::Broadcast, &Ops::new(), &shutdown).await?;
        let listener = acceptor::bind(any_port(), "bench.listen").await?;
        let address = listener.local_addr()?;
        let public = context.identity.server_public();
        tokio::spawn(node::http::serve_tls(listener, public, hold.router(), Limits::default(), shutdown.clone()));
        let https = format!("https://{address}");
        let parts = move || PresenceParts { https: Some(https.clone()), ..PresenceParts::default() };
        node::presence::spawn(&context, parts, shutdown.clone());

        let mut viewers = context.identity.client(tls::Server::Any(Role::LoadBalancer));
        viewers.alpn_protocols = vec![b"h2".to_vec()];
        let mut running = idle()?;
        let listens = begin(&mut running, &for_ours).await?;
        let cluster = Self {
            viewers,
            hold,
            newest: AtomicU64::new(0),
            node: address,
            ours: (running, listens.https),
            haproxy: Haproxy { node: address, identity: &for_ours.identity, directory }.start()?,
            _shutdown: shutdown.drop_guard(),
        };
        for which in [Which::Ours, Which::Haproxy] {
            let found = tokio::time::timeout(START_MAX, cluster.found(which)).await;
            found.with_context(|| format!("{which:?} does not find the node"))?;
        }
        Ok(cluster)
    }

    /// Resolves once a balancer has passed a request on to the node.
    async fn found(&self, which: Which) {
        let once = async || {
            let mut viewer = Viewer::connect(self.address(Some(which)), Arc::new(self.viewers.clone())).await?;
            viewer.ask(PLAYLIST).await?;
            viewer.answer().await
        };
        while once().await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn address(&self, which: Option<Which>) -> SocketAddr {
        match which {
            None => self.node,
            Some(Which::Ours) => self.ours.1,
            Some(Which::Haproxy) => self.haproxy.1,
        }
    }

    pub(crate) fn pid(&self, which: Which) -> u32 {
        match which {
            Which::Ours => self.ours.0.0.id(),
            Which::Haproxy => self.haproxy.0.0.id(),
        }
    }

    /// CPU time of a balancer since its start, in seconds.
    pub(super) fn cpu(&self, which: Option<Which>) -> anyhow::Result<f64> {
        which.map_or(Ok(f64::NAN), |which| cpu_seconds(self.pid(which)))
    }

    /// Resident memory of a balancer, in bytes.
    pub(super) fn resident(&self, which: Which) -> anyhow::Result<u64> {
        resident_bytes(self.pid(which))
    }

    pub(super) fn next_part(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn release(&self, part: u64) {
        self.hold.released.send_replace(part);
    }

    /// Resolves once `count` requests wait on the node.
    pub(super) async fn all_wait(&self, count: usize) {
        let mut waiting = self.hold.waiting.subscribe();
        let _ = waiting.wait_for(|waiting| *waiting == count).await;
    }

    pub(super) fn forget_connections(&self) {
        self.hold.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Number of connections to the node on which parts were requested.
    pub(super) fn connections(&self) -> usize {
        self.hold.connections.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
