//! A node as a member: it says what it is, and holds itself to what the cluster has agreed on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use media::NodeId;
use node::CancellationToken;
use node::cluster_view::ClusterView;
use serde::Serialize;

use crate::peers::Reported;
use crate::{Log, Peers};

/// Level of the rows that this version understands.
const LEVEL: u64 = 1;
/// How often a node that control has not heard yet tries again: soon at first, because control may just be starting.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// What a node says of itself to control, in the body of `POST /cluster/v1/metadata/self`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    level: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// Cluster that it is configured for, and identity of the root key that it trusts: control says so when it has others.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<Trust>,
}

#[derive(Debug, Clone, Serialize)]
struct Trust {
    cluster: String,
    root: String,
}

/// What a node is configured with and the whole cluster has to agree on; `None` where the role does not use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Part target in milliseconds.
    pub part_target_ms: Option<u64>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration_s: Option<u64>,
}

impl Report {
    /// `public_url` is where browsers reach the node, if they do; of an ingest, where publishers do.
    pub const fn new(public_url: Option<String>) -> Self {
        Self { level: LEVEL, public_url, trust: None }
    }
}

/// A node's part in the metadata log.
#[derive(Debug)]
pub struct Membership {
    /// The node's replica.
    pub log: Arc<Log>,
    /// What the role was loaded with.
    pub node: node::Context,
    /// The role's view of the cluster: it shows where others are, and learns who is drained and revoked.
    pub cluster: ClusterView,
    /// Base URLs of control nodes, where the configuration names any; else presences say where one is.
    pub control: Vec<String>,
    /// What the node says of itself.
    pub report: Report,
    /// What it is configured with.
    pub rules: Rules,
}

impl Membership {
    /// Keeps the log up to date, makes the node a member, and calls `take` whenever rows change; until `shutdown`. Then closes the log.
    ///
    /// # Errors
    /// When the bus takes no subscription, the cluster does not take the node, or is configured otherwise; for a person.
    pub async fn run<F: Future<Output = ()> + Send>(
        self,
        take: impl FnMut(&Arc<Log>) -> F + Send,
        shutdown: CancellationToken,
    ) -> Result<()> {
        let Self { log, node, cluster, control, mut report, rules } = self;
        let root = log.with(|replica| replica.roots().pinned().to_string());
        report.trust = Some(Trust { cluster: node.cluster.to_string(), root });
        let peers = Peers::new(&node, cluster.clone(), &control)?;
        let id = node.id.clone();
        tokio::try_join!(
            crate::keep_up(Arc::clone(&log), node, peers.clone(), shutdown.clone()),
            join(report, peers, id, shutdown.clone()),
            follow(&log, cluster, rules, take, shutdown),
        )?;
        log.close().await;
        Ok(())
    }
}

/// Says to control what the node is, until control has taken it. Then waits for `shutdown`.
///
/// # Errors
/// When the first control node that answers refuses the node; with the reason, for a person.
async fn join(report: Report, peers: Peers, node: NodeId, shutdown: CancellationToken) -> Result<()> {
    let mut wait = RETRY.0;
    loop {
        match peers.report(&report).await {
            Reported::Taken => break,
            Reported::Refused(why) => bail!("this cluster does not take {node}: {why}"),
            Reported::NotHeard(error) => {
                tracing::debug!(%node, error = format!("{error:#}"), "control has not heard this node yet");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY.1),
        }
    }
    shutdown.cancelled().await;
    Ok(())
}

/// Calls `take` with the rows now and whenever they change, until `shutdown`; brings drained and revoked nodes into the view of the
/// cluster before.
///
/// # Errors
/// When the node is configured otherwise than the cluster; names what and how.
async fn follow<F: Future<Output = ()> + Send>(
    log: &Arc<Log>,
    cluster: ClusterView,
    rules: Rules,
    mut take: impl FnMut(&Arc<Log>) -> F + Send,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut changes = log.changes();
    let mut has_agreed = false;
    loop {
        let (drained, revoked, is_begun) =
            log.look(|view| (view.drained_nodes(), view.revoked_nodes(), view.cluster().is_some()));
        if is_begun && !has_agreed {
            rules.check(log)?;
            has_agreed = true;
        }
        if is_begun {
            cluster.take_log(drained, revoked);
        }
        take(log).await;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Ok(()) = changes.changed() => {}
        }
    }
}

impl Rules {
    /// Checks what was configured here against what the cluster has agreed on. Only at the start of a node: what is changed later
    /// takes effect as nodes are started again.
    fn check(&self, log: &Log) -> Result<()> {
        let Some((part, target)) =
            log.look(|view| view.cluster().map(|rules| (rules.part_target_ms, rules.target_duration_s)))
        else {
            return Ok(());
        };
        let both = [
            ("part_target_ms", self.part_target_ms, part),
            ("role.broadcast.target_duration_s", self.target_duration_s, target),
        ];
        for (key, own, agreed) in both {
            if let Some(own) = own.filter(|own| *own != agreed) {
                bail!("{key} = {own} here, and {agreed} on the control node: set the same on all nodes");
            }
        }
        Ok(())
    }
}
