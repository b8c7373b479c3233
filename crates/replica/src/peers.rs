//! Questions to control and to other nodes about the log. Whoever answers is asked by name over mutual TLS, and is believed nothing:
//! all that comes is verified.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use media::NodeId;
use messages::{NodeState, Presence, Role};
use metadata::EntrySequence;
use metadata::limits::{ENTRY_BYTES_MAX, HEAD_BYTES_MAX, ROOT_BYTES_MAX, ROWS_BYTES_MAX};
use node::cluster_view::ClusterView;
use node::tls::{Clients, Server};
use rand::seq::IteratorRandom as _;
use reqwest::{Client, StatusCode};

use crate::routes::ANSWER_BYTES_MAX;
use crate::{Report, frames};

/// Time limit of a question, a snapshot apart.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a report: a control that was started again waits for other nodes before it writes.
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit of a snapshot: a million rows.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest snapshot in bytes: a million rows of a few hundred.
const SNAPSHOT_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most root statements that are taken at once.
const ROOTS_MAX: usize = 8;
/// Broadcast nodes that are asked in one round, beside control.
const OTHERS: usize = 2;
/// Longest base URL, in bytes.
const URL_BYTES_MAX: usize = 256;

/// The nodes that can be asked.
#[derive(Debug, Clone)]
pub struct Peers {
    node: NodeId,
    cluster: ClusterView,
    control: Clients,
    broadcast: Clients,
    /// Control nodes that the configuration names; presences name others.
    configured: Vec<String>,
    /// For the configured ones, whose names the configuration does not tell.
    any_control: Client,
    /// Where nodes were last: presences can be withheld, and a node that stops names no address any more.
    known: Arc<Mutex<BTreeMap<NodeId, String>>>,
}

/// A node that is asked.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) url: String,
    client: Client,
}

impl Peers {
    /// The nodes that `cluster` shows, and control where `configured` says that it is.
    ///
    /// # Errors
    /// When no TLS client can be built.
    pub fn new(node: &node::Context, cluster: ClusterView, configured: &[String]) -> Result<Self> {
        let identity = &node.identity;
        Ok(Self {
            node: node.id.clone(),
            cluster,
            control: Clients::new(Arc::clone(identity), Role::Control),
            broadcast: Clients::new(Arc::clone(identity), Role::Broadcast),
            configured: configured.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            any_control: identity.http_client(Server::Any(Role::Control))?,
            known: Arc::default(),
        })
    }

    /// Whom to ask now: control first, then some broadcast nodes, drawn anew each time. A node that seems to be gone is asked too,
    /// because presences can be withheld.
    pub(crate) fn draw(&self) -> Vec<Peer> {
        let mut peers = self.controls();
        peers.extend(self.of_role(Role::Broadcast, &self.broadcast, OTHERS));
        peers
    }

    /// The control nodes: those that are configured, and then those that are present elsewhere, for one that has moved.
    fn controls(&self) -> Vec<Peer> {
        let configured = self.configured.iter().map(|url| Peer { url: url.clone(), client: self.any_control.clone() });
        let mut controls: Vec<Peer> = configured.collect();
        let elsewhere = self.of_role(Role::Control, &self.control, OTHERS).into_iter();
        controls.extend(elsewhere.filter(|peer| !self.configured.contains(&peer.url)));
        controls
    }

    /// What the first control node that answers has at a path below `/cluster/v1/`.
    ///
    /// # Errors
    /// When none answers, or the answer is longer than `bytes_max`.
    pub async fn ask_control(&self, path: &str, bytes_max: usize) -> Result<Bytes> {
        let mut failed = anyhow::anyhow!("no control node is known");
        for peer in self.controls() {
            let url = format!("{}/cluster/v1/{path}", peer.url);
            let asked = peer.client.get(&url).timeout(ANSWER_TIMEOUT).send().await;
            match asked.with_context(|| format!("GET {url}")) {
                Ok(answer) if answer.status().is_success() => return node::answer::body(answer, bytes_max).await,
                Ok(answer) => failed = anyhow::anyhow!("{url} answered {}", answer.status()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Tells the first control node that answers what this node is.
    pub(crate) async fn report(&self, report: &Report) -> Reported {
        let mut failed = anyhow::anyhow!("no control node is known");
        for peer in self.controls() {
            match peer.report(report).await {
                Ok(None) => return Reported::Taken,
                Ok(Some(why)) => return Reported::Refused(why),
                Err(error) => failed = error,
            }
        }
        Reported::NotHeard(failed)
    }

    fn of_role(&self, role: Role, clients: &Clients, count: usize) -> Vec<Peer> {
        let found: Vec<(NodeId, String)> = self.cluster.look(|cluster| {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|node, _| cluster.members.get(node).is_some());
            let is_one = |presence: &&Presence| presence.role == role && presence.node != self.node;
            let all: Vec<&Presence> = cluster.members.members().map(|member| &member.presence).filter(is_one).collect();
            for presence in &all {
                let url =
                    presence.data.as_ref().filter(|url| url.starts_with("https://") && url.len() <= URL_BYTES_MAX);
                if let Some(url) = url {
                    known.insert(presence.node.clone(), url.trim_end_matches('/').to_owned());
                }
            }
            let any_there = all.iter().any(|presence| presence.state != NodeState::Offline);
            let asked = all.into_iter().filter(|presence| !any_there || presence.state != NodeState::Offline);
            let with_url =
                asked.filter_map(|presence| Some((presence.node.clone(), known.get(&presence.node)?.clone())));
            with_url.choose_multiple(&mut rand::rng(), count)
        });
        found.into_iter().filter_map(|(node, url)| Some(Peer { url, client: clients.to(&node).ok()? })).collect()
    }
}

/// What became of a node's word about itself.
#[derive(Debug)]
pub(crate) enum Reported {
    Taken,
    /// Control says why, for a person.
    Refused(String),
    /// No control node has answered.
    NotHeard(anyhow::Error),
}

/// Most characters of a refusal that are shown.
const REASON_CHARS_MAX: usize = 400;
const REASON_BYTES_MAX: usize = 4 * 1024;

/// Entries, or the word that only a snapshot helps.
#[derive(Debug)]
pub(crate) enum EntriesAnswer {
    Entries(Vec<(Bytes, Bytes)>),
    Pruned,
}

impl Peer {
    /// The newest head that the other node has; `have` says what is here.
    pub(crate) async fn head(&self, have: EntrySequence) -> Result<Option<Bytes>> {
        let answer = self.get(&format!("head?have={have}"), ANSWER_TIMEOUT).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        body(answer, HEAD_BYTES_MAX).await.map(Some)
    }

    /// Root statements after a version, ascending.
    pub(crate) async fn roots(&self, after: u64) -> Result<Vec<Bytes>> {
        let answer = self.get(&format!("roots?after={after}"), ANSWER_TIMEOUT).await?;
        Ok(frames::split(&body(answer, ROOTS_MAX * ROOT_BYTES_MAX).await?)?)
    }

    /// Entries from one on.
    pub(crate) async fn entries(&self, from: EntrySequence) -> Result<EntriesAnswer> {
        let answer = self.get(&format!("entries?from={from}"), ANSWER_TIMEOUT).await?;
        if answer.status() == StatusCode::GONE {
            return Ok(EntriesAnswer::Pruned);
        }
        let longest = ANSWER_BYTES_MAX + frames::pair_bytes_max(ENTRY_BYTES_MAX + ROWS_BYTES_MAX);
        Ok(EntriesAnswer::Entries(frames::split_pairs(&body(answer, longest).await?)?))
    }

    /// The newest entry, and all rows.
    pub(crate) async fn snapshot(&self) -> Result<Option<(Bytes, Vec<Bytes>)>> {
        let answer = self.get("snapshot", SNAPSHOT_TIMEOUT).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut parts = frames::split(&body(answer, SNAPSHOT_BYTES_MAX).await?)?;
        ensure!(!parts.is_empty(), "a snapshot without an entry");
        let rows = parts.split_off(1);
        Ok(parts.pop().map(|entry| (entry, rows)))
    }

    /// Tells a control node what this node is; returns its reason when it refuses.
    async fn report(&self, report: &Report) -> Result<Option<String>> {
        let url = format!("{}/cluster/v1/metadata/self", self.url);
        let asked = self.client.post(&url).timeout(REPORT_TIMEOUT).json(report).send().await;
        let answer = asked.with_context(|| format!("POST {url}"))?;
        match answer.status() {
            status if status.is_success() => Ok(None),
            StatusCode::FORBIDDEN => {
                let why = node::answer::body(answer, REASON_BYTES_MAX).await?;
                let why = String::from_utf8_lossy(&why);
                Ok(Some(why.trim().chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()))
            }
            status => bail!("{url} answered {status}"),
        }
    }

    async fn get(&self, what: &str, timeout: Duration) -> Result<reqwest::Response> {
        let url = format!("{}/cluster/v1/metadata/{what}", self.url);
        self.client.get(&url).timeout(timeout).send().await.with_context(|| format!("GET {url}"))
    }
}

/// The body of a success, no longer than `bytes_max`.
async fn body(answer: reqwest::Response, bytes_max: usize) -> Result<Bytes> {
    ensure!(answer.status().is_success(), "{} answered {}", answer.url(), answer.status());
    node::answer::body(answer, bytes_max).await
}
