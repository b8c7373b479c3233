//! The load balancer, which viewers connect to. It terminates their TLS, keeps each viewer on one broadcast node while that node is
//! there, and sends a request that failed at one node to another, so that the viewer never sees the failure.
//!
//! Owns the public listener and the choice of node per request. A viewer carries a keyed token ([`sticky`]), so any number of balancers
//! can work side by side without shared state. A viewer without a token stays on the node of its connection ([`viewer`]), then on that of
//! its address. Built on Pingora's proxy; the accept loop and the life cycle are ours (see [`accept`]).

mod accept;
mod answered;
mod certificates;
mod connect_limits;
mod http2;
mod kept;
mod members;
mod node_connections;
mod probe;
mod proof;
mod proxy;
mod report;
mod request;
mod sharing;
pub mod sticky;
mod target;
mod transport;
mod upstream;
mod viewer;
mod written;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use node::CancellationToken;
use replica::{Log, Membership, Report, Rules};
use seal::RootPublicKey;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::members::Members;
use crate::proxy::Balancer;
use crate::sharing::Sharing;
use crate::sticky::StickyKey;
use crate::upstream::Trust;

/// Help texts of this role's metrics, shown in `/metrics`.
const HELP: &[(&str, &str)] = &[
    (
        "loadbalancer_connections_displaced_total",
        "Viewers' connections ended for others, because their address had more than its share of all that there were.",
    ),
    ("loadbalancer_connections_refused_total", "Viewers' connections that there was no room for."),
    ("loadbalancer_failed_requests_total", "Requests that no node answered."),
    ("loadbalancer_handshakes_failed_total", "TLS handshakes of viewers that failed."),
    ("loadbalancer_policy_malformed_total", "Policies on the bus that could not be read."),
    (
        "loadbalancer_presence_malformed_total",
        "Presences on the bus that could not be read, or spoke for another node.",
    ),
    ("loadbalancer_probes_missed_total", "Probes that a node did not answer in time, by node."),
    ("loadbalancer_refused_full_total", "New viewers refused because all nodes send as much as they can."),
    ("loadbalancer_refused_share_total", "Requests refused because too many of their address were under way."),
    ("loadbalancer_requests_total", "Viewers' requests, by class of status."),
    ("loadbalancer_retries_total", "Requests sent to another node after one had failed."),
    (
        "loadbalancer_shared_answers_total",
        "Viewers' requests that needed none of their own to a node, because an answer was kept or awaited by several (label `how`).",
    ),
    ("loadbalancer_upstream_failures_total", "Requests that a node failed before it answered, by node."),
    ("loadbalancer_viewers", "Viewers' open connections."),
    ("loadbalancer_waiting", "Viewers' requests that wait for an answer that they share."),
    (
        "loadbalancer_wrong_servers_total",
        "Requests not sent because the server did not prove to be the node that was meant, by node.",
    ),
];

/// Configuration of a load balancer.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where viewers connect. Default: `0.0.0.0:8443`; port 0 asks for a free port. Set by the program that runs the role.
    #[serde(skip)]
    pub https_listen: SocketAddr,
    /// Viewers' connections at once, 1 to 1,000,000; one more is closed at once and counted. Default: 16384.
    pub connections_max: usize,
    /// Connections from one address, or one IPv6 network of 64 bits, that stay when all are taken, 1 to 1,000,000. Of an address with
    /// more, the newest gives way to a viewer from an address with fewer. Default: 1024, for as many viewers behind one router.
    pub connections_share: usize,
    /// Requests of one address, or one IPv6 network of 64 bits, that are under way at once, 1 to 1,000,000; one more gets 429. A viewer has
    /// up to four. Default: 4096, for a thousand viewers behind one router.
    pub requests_per_address_max: usize,
    /// File of the key that signs sticky tokens, 32 bytes; made when missing. Balancers that share it honour each other's
    /// tokens. Default: `sticky.key` in the folder of identities if there is one, else in the node's data directory.
    pub sticky_key: Option<PathBuf>,
    /// File with the cluster's root public key: the trust anchor of the metadata log. Set by the program that runs the role.
    #[serde(skip)]
    pub root_key: PathBuf,
    /// Base URLs of control nodes, to ask about the metadata log; presences name others. Set by the program that runs the role.
    #[serde(skip)]
    pub control: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            https_listen: (Ipv4Addr::UNSPECIFIED, 8443).into(),
            connections_max: 16_384,
            connections_share: 1_024,
            requests_per_address_max: 4_096,
            sticky_key: None,
            root_key: PathBuf::from("root.pub"),
            control: Vec::new(),
        }
    }
}

impl Config {
    /// Checks it as a whole, before anything is bound.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        let range = 1..=1_000_000;
        for (key, value) in [
            ("connections_max", self.connections_max),
            ("connections_share", self.connections_share),
            ("requests_per_address_max", self.requests_per_address_max),
        ] {
            anyhow::ensure!(range.contains(&value), "role.loadbalancer.{key} = {value}: use 1 to 1000000");
        }
        Ok(())
    }
}

/// A load balancer that is bound, and serves once it runs.
pub struct LoadBalancer {
    listener: TcpListener,
    address: SocketAddr,
    /// Connections at once, and how many of an address no other displaces.
    connections: (usize, usize),
    requests_max: usize,
    members: Arc<Members>,
    sticky: StickyKey,
    ready: node::ops::ReadyFlag,
    node: node::Context,
    /// `None` without a root key: the balancer then knows of no revocations, and believes messages about drained nodes.
    log: Option<Arc<Log>>,
    control: Vec<String>,
}

impl LoadBalancer {
    /// Binds the public listener and reads or makes the sticky key.
    ///
    /// # Errors
    /// When the address is taken (names it) or the key file cannot be read, or has another length than 32 bytes.
    pub async fn load(config: Config, node: node::Context) -> anyhow::Result<Self> {
        config.check()?;
        node::ops::describe(HELP);
        let path = config.sticky_key.unwrap_or_else(|| node.data.join("sticky.key"));
        let sticky = StickyKey::ensure(&path).with_context(|| format!("sticky key {}", path.display()))?;
        let listener = acceptor::bind(config.https_listen, "https_listen").await?;
        let address = listener.local_addr().context("the public listener has no address")?;
        let members = Arc::new(Members::new(node.clock));
        let ready = node.ops.ready(&format!("{}: a broadcast node is there", node.id));
        let log = match config.root_key.exists() {
            true => Some(Log::open(&node.data.join("metadata.db"), &node, root_key(&config.root_key)?).await?),
            false => {
                let root_key = config.root_key.display();
                tracing::warn!(%root_key, "no root key: this load balancer does not know which nodes are revoked; set root_key");
                None
            }
        };
        Ok(Self {
            listener,
            address,
            connections: (config.connections_max, config.connections_share),
            requests_max: config.requests_per_address_max,
            members,
            sticky,
            ready,
            node,
            log,
            control: config.control,
        })
    }

    /// Where viewers connect; the actual port when `https_listen` has port 0.
    pub fn https_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then lets open requests end for [`node::http::GRACE`] at most.
    ///
    /// # Errors
    /// When the bus refuses the subscriptions.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, address, connections, requests_max, members, sticky, ready, node, log, control } = self;
        let https = format!("https://{address}");
        let presence = node::presence::spawn(
            &node,
            move || node::presence::PresenceParts { https: Some(https.clone()), ..Default::default() },
            shutdown.clone(),
        );
        let sharing = Sharing::new(node.clock);
        let (status, standing, shared) = (Arc::clone(&members), log.clone(), Arc::clone(&sharing));
        node.ops.status(node.id.as_str(), move || {
            let mut status = status.status();
            status["waiting"] = shared.waiting().into();
            status["metadata"] = serde_json::json!(standing.as_ref().map(|log| log.standing()));
            status
        });
        let member = follow_log(log, control, (Arc::clone(&members), &node), shutdown.clone());
        let follow = members::follow(Arc::clone(&members), node.clone(), ready, shutdown.clone());
        let probes = probe::run(Arc::clone(&members), Arc::clone(&node.identity), node.clock, shutdown.clone());
        let balancer = Balancer::new(
            Arc::clone(&members),
            sticky,
            (Trust::new(Arc::clone(&node.identity)), requests_max),
            (sharing, shutdown.clone()),
            node.clock,
        );
        let serve =
            accept::serve(listener, node.identity.server_public(), (balancer, members), connections, shutdown.clone());
        let probes = async {
            probes.await;
            Ok(())
        };
        tokio::try_join!(follow, probes, serve, member)?;
        presence.await.context("the presence of the load balancer panicked")
    }
}

fn root_key(path: &Path) -> anyhow::Result<RootPublicKey> {
    let bytes = node::files::read_bounded(path)?;
    RootPublicKey::from_bytes(&bytes).with_context(|| format!("{} is not a root public key", path.display()))
}

/// Keeps the metadata log up to date, and does what it says: viewers are sent to no node that is revoked or drained.
async fn follow_log(
    log: Option<Arc<Log>>,
    control: Vec<String>,
    (members, node): (Arc<Members>, &node::Context),
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(log) = log else { return Ok(()) };
    let (node, cluster) = (node.clone(), members.cluster().clone());
    let (report, rules) = (Report::new(None), Rules::default());
    let membership = Membership { log, node, cluster, control, report, rules };
    let obey = move |_: &Arc<Log>| {
        members.cut_revoked();
        std::future::ready(())
    };
    membership.run(obey, shutdown).await
}
