//! The node as a whole: assembled from its parts, then driven.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use access::{Facts, Rules, SessionRules};
use anyhow::{Context as _, Result};
use media::{BitsPerSecond, UnixMillis};
use messages::{NodeState, Role};
use node::clock::Clock;
use node::cluster_view::ClusterView;
use node::http::Limits;
use node::ops::ReadyFlag;
use node::presence::PresenceParts;
use node::tls::Clients;
use node::{CancellationToken, Context, files, http, presence};
use replica::{Log, Membership, Report};
use seal::{Keyring, RootPublicKey};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actor::{Actor, Durable, Handle, Views};
use crate::bus_subscriptions::{BusSubscriptions, FromBus, Listener};
use crate::disk::Disk;
use crate::dvr::{self, Dvr, Recorder};
use crate::edge::Fetcher;
use crate::effects::Effects;
use crate::follow::{Attention, Follower};
use crate::memory::MemoryWatch;
use crate::node_snapshots::NodeSnapshots;
use crate::peers::Peers;
use crate::quotas::Quotas;
use crate::trust::TrustAnswers;
use crate::{Config, data_plane, viewers};
use gate::{Effect, Gate, Holding, Input, Ledger, Refused, Settings, StreamView};

/// Files besides viewers' connections: those to peers, ingests and brokers, and the process's own.
const OTHER_FILES: u64 = 512;

/// A broadcast node that is bound, and serves once it runs.
#[derive(Debug)]
pub struct Broadcast {
    config: Config,
    context: Context,
    gate: Gate,
    disk: Disk,
    /// How to record, if at all.
    dvr: Option<dvr::Settings>,
    /// The keys of the log, from now on.
    keys: watch::Sender<Arc<Keyring>>,
    https: TcpListener,
    data: TcpListener,
    ready: ReadyFlag,
    log: Arc<Log>,
}

impl Broadcast {
    /// Checks the configuration, reads what survived the last run, and binds.
    ///
    /// # Errors
    /// Names the configuration field, the file or the address.
    pub async fn load(config: Config, context: Context) -> Result<Self> {
        config.check()?;
        node::ops::describe(crate::metrics::HELP);
        let ready = context.ops.ready(context.id.as_str());
        let root_path = &config.root_key;
        let root = files::read_bounded(root_path).context("the authority's public key (root_key) is needed")?;
        let root =
            RootPublicKey::from_bytes(&root).with_context(|| format!("{} is not a root key", root_path.display()))?;
        let log = Log::open(&context.data.join("metadata.db"), &context, root.clone()).await?;
        let keyring = Arc::new(Keyring::new(context.cluster.clone()).with(log.look(|view| view.rights())));
        let disk = Disk::open(&context.data)?;
        let settings = Settings { playlist: config.playlist(), media_bytes_max: config.media_bytes_max };
        let dvr = config.dvr(&context.id, &context.data);
        let mut gate = Gate::new(settings, Arc::clone(&keyring), disk.heads()?);
        if dvr.is_some() {
            gate.record();
        }
        warn_of_few_files(config.connections_max);
        let https = acceptor::bind(config.https_listen, "role.broadcast.https_listen").await?;
        let data = acceptor::bind(config.data_listen, "role.broadcast.data_listen").await?;
        let keys = watch::Sender::new(keyring);
        Ok(Self { config, context, gate, disk, dvr, keys, https, data, ready, log })
    }

    /// Where viewers are served.
    ///
    /// # Panics
    /// When the operating system does not know the address of a socket it has bound.
    pub fn https_address(&self) -> SocketAddr {
        self.https.local_addr().expect("a bound listener has an address")
    }

    /// Where the data plane is.
    ///
    /// # Panics
    /// As [`Broadcast::https_address`].
    pub fn data_address(&self) -> SocketAddr {
        self.data.local_addr().expect("a bound listener has an address")
    }

    /// The base URLs under which others reach this node.
    fn urls(&self) -> Urls {
        let https = self.config.https_url.clone().unwrap_or_else(|| format!("https://{}", self.https_address()));
        let data = self.config.data_url.clone().unwrap_or_else(|| format!("https://{}", self.data_address()));
        let public = self.config.direct.then(|| self.config.public_url.clone().unwrap_or_else(|| https.clone()));
        Urls { https, data, public }
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When a listener fails, or the bus takes no subscription.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let urls = self.urls();
        let Self { config, context, gate, disk, dvr, keys, https, data, ready, log } = self;
        // Whatever ends one part of this node ends all of it.
        let shutdown = shutdown.child_token();
        let _ends_with_this = shutdown.clone().drop_guard();
        let ledger = gate.ledger();
        let dvr = dvr.map(|settings| (settings, Arc::clone(&keys.borrow())));
        let access = viewers::AccessControl::new(context.clock);
        obey_log(&access, &log, &context);
        let dvr = dvr.map(|(settings, keyring)| (settings, (keyring, Arc::clone(access.quotas()))));
        let Threads { handle, outputs, recorder, gate } =
            Threads::start((gate, Views::with_bounds(config.waiting())), disk.clone(), dvr, context.clock, &shutdown)?;
        let (handles, follower) = Handles::new(config, context, handle, (urls, log, keys, access), &shutdown);
        let Handles { context, handle, peers, .. } = &handles;
        let cluster = ClusterView::new(context.clock);
        let subscriptions = BusSubscriptions::open(context, &cluster).await?;
        let obeying = cluster.clone();
        let listener = handles.listener(follower, cluster.clone());
        let effects = Effects::new(context.clone(), handle.clone(), peers.clone());
        let dvr = recorder.as_ref().map(|recorder| recorder.dvr.clone());
        let viewers = handles.viewers(dvr.clone());
        let memory = handles.memory_watch(ledger.clone(), dvr);

        let presence = handles.announce(ledger, &shutdown);
        let mut tasks = JoinSet::new();
        handles.serve(&mut tasks, (https, viewers), data, &shutdown);
        tasks.spawn(ending(handle.views().clone().wake_in_turn(shutdown.clone())));
        tasks.spawn(ending(memory.run(shutdown.clone())));
        tasks.spawn(ending(listener.run(subscriptions, shutdown.clone())));
        let asked = replica::Peers::new(context, cluster.clone(), &handles.config.control)?;
        tasks.spawn(ending(Arc::clone(&handles.chat).run(asked, shutdown.clone())));
        let (quotas, own) = (Arc::clone(handles.access.quotas()), context.id.clone());
        tasks.spawn(ending(quotas.run(cluster.clone(), context.clock, own, shutdown.clone())));
        tasks.spawn(handles.membership(cluster).run(handles.obey(obeying), shutdown.clone()));
        tasks.spawn(ending(effects.run(outputs, shutdown.clone())));
        tasks.spawn(ending(disk.run(shutdown.clone())));
        let recorder = recorder.map(|RecorderParts { refused, thread, .. }| {
            tasks.spawn(ending(report(refused, handle.clone(), shutdown.clone())));
            thread
        });
        ready.set(true);
        let ended = first_error(tasks, &shutdown).await;
        ready.set(false);
        let _ = presence.await;
        // The threads were told to end; what they still have to do takes milliseconds.
        let threads = [Some(gate), recorder];
        let _ = tokio::task::spawn_blocking(move || threads.map(|thread| thread.map(JoinHandle::join))).await;
        ended
    }
}

/// Base URLs of this node.
struct Urls {
    /// For viewers.
    https: String,
    /// Of the data plane.
    data: String,
    /// Under which browsers reach the node directly; `None` where all viewers come through a balancer.
    public: Option<String>,
}

/// The threads of the gate and of the recorder, and the ways to them.
struct Threads {
    handle: Handle,
    /// Pulls to start and refusals to publish.
    outputs: mpsc::Receiver<Effect>,
    /// `None` when nothing is recorded.
    recorder: Option<RecorderParts>,
    gate: JoinHandle<()>,
}

/// What is left of a recorder once the gate has its feed: the recorder ends after the gate.
struct RecorderParts {
    dvr: Dvr,
    refused: mpsc::Receiver<Refused>,
    thread: JoinHandle<()>,
}

/// What a recorder knows of the log: keys, and quotas.
type Known = (Arc<Keyring>, Arc<Quotas>);

impl Threads {
    /// Starts both threads. The gate's ends with `shutdown`, and the recorder's after it.
    fn start(
        (gate, views): (Gate, Views),
        disk: Disk,
        dvr: Option<(dvr::Settings, Known)>,
        clock: Clock,
        shutdown: &CancellationToken,
    ) -> Result<Self> {
        let record = |(settings, knows)| Recorder::spawn(settings, knows, clock).context("cannot record");
        let (feed, recorder) = match dvr.map(record).transpose()? {
            Some(dvr::Parts { dvr, feed, refused, thread }) => {
                (Some(feed), Some(RecorderParts { dvr, refused, thread }))
            }
            None => (None, None),
        };
        let kept = Durable { disk: Some(disk), recorder: feed };
        let (handle, outputs, gate) = Actor::spawn_keeping(gate, (kept, views), clock, shutdown.clone())?.into_parts();
        Ok(Self { handle, outputs, recorder, gate })
    }
}

/// The gate has taken what the metadata log says.
type Obeyed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the parts of a running node share.
struct Handles {
    config: Config,
    context: Context,
    urls: Urls,
    handle: Handle,
    peers: Peers,
    fetcher: Fetcher,
    attention: Attention,
    from_bus: FromBus,
    traffic: Arc<viewers::Traffic>,
    log: Arc<Log>,
    keys: watch::Sender<Arc<Keyring>>,
    access: Arc<viewers::AccessControl>,
    chat: Arc<viewers::ChatHub>,
}

impl Handles {
    /// Joins the gate to the other nodes: it pulls from them, and follows streams. The follower belongs to the bus's listener.
    fn new(
        config: Config,
        context: Context,
        handle: Handle,
        (urls, log, keys, access): (Urls, Arc<Log>, watch::Sender<Arc<Keyring>>, Arc<viewers::AccessControl>),
        shutdown: &CancellationToken,
    ) -> (Self, Follower) {
        let from_bus = FromBus::default();
        let peers = Peers {
            clients: Clients::new(Arc::clone(&context.identity), Role::Broadcast),
            addresses: from_bus.addresses.clone(),
        };
        // An edge's cache gets half as much as the streams that the node owns.
        let fetched = (context.clock, config.media_bytes_max / 2);
        let fetcher = Fetcher::new(context.id.clone(), peers.clone(), handle.clone(), fetched);
        let follower = Follower::new(context.clone(), handle.clone(), fetcher.clone());
        let (attention, traffic) = (follower.attention(), Arc::default());
        let chat = viewers::ChatHub::new(viewers::ChatBounds::default(), shutdown.clone());
        let handles = Self {
            config,
            context,
            urls,
            handle,
            peers,
            fetcher,
            attention,
            from_bus,
            traffic,
            log,
            keys,
            access,
            chat,
        };
        (handles, follower)
    }

    /// The node's part in the metadata log.
    fn membership(&self, cluster: ClusterView) -> Membership {
        Membership {
            log: Arc::clone(&self.log),
            node: self.context.clone(),
            cluster,
            control: self.config.control.clone(),
            report: Report::new(self.urls.public.clone()),
            rules: replica::Rules {
                part_target_ms: Some(self.config.part_target_ms),
                target_duration_s: Some(self.config.target_duration_s.into()),
            },
        }
    }

    /// Makes the node follow a change of the metadata log: its gate and its data plane take the keys, and it drains or does not.
    fn obey(&self, cluster: ClusterView) -> impl FnMut(&Arc<Log>) -> Obeyed + Send + use<> {
        let (gate, from_bus, node) = (self.handle.clone(), self.from_bus.clone(), self.context.id.clone());
        let (access, context, keys) = (Arc::clone(&self.access), self.context.clone(), self.keys.clone());
        let chat = Arc::clone(&self.chat);
        move |log: &Arc<Log>| {
            // First of all: who lost a right has lost it.
            obey_log(&access, log, &context);
            chat.keep(|stream| access.has_chat(stream));
            from_bus.note_policy(&node, &cluster);
            let (gate, keys, log) = (gate.clone(), keys.clone(), Arc::clone(log));
            Box::pin(async move {
                let keyring = Arc::new(keys.borrow().with(log.look(|view| view.rights())));
                // The gate is gone only when the node stops.
                let _ = gate.send(Input::Keys(Arc::clone(&keyring))).await;
                keys.send_replace(keyring);
            })
        }
    }

    /// Passes on what the bus delivers.
    fn listener(&self, follower: Follower, cluster: ClusterView) -> Listener {
        Listener {
            context: self.context.clone(),
            handle: self.handle.clone(),
            follower,
            cluster,
            log: Arc::clone(&self.log),
            from_bus: self.from_bus.clone(),
            chat: Arc::clone(&self.chat),
            told: Vec::new(),
        }
    }

    /// The viewers' pages, over what the gate publishes.
    fn viewers(&self, dvr: Option<Dvr>) -> viewers::Viewers {
        let snapshots = NodeSnapshots {
            node: self.context.id.clone(),
            clock: self.context.clock,
            views: self.handle.views().clone(),
            sessions: self.from_bus.sessions.clone(),
            trust: TrustAnswers::new(Arc::clone(&self.log)),
            dvr,
            attention: self.attention.clone(),
            fetcher: self.fetcher.clone(),
            has_heard: self.from_bus.has_heard.clone(),
        };
        let neighbours = self.from_bus.neighbours.clone();
        let settings = viewers::Settings {
            node: self.context.id.clone(),
            target_duration_s: self.config.target_duration_s,
            direct: self.urls.public.clone().map(|url| viewers::Direct { url, neighbours }),
            access: Arc::clone(&self.access),
            chat: Arc::clone(&self.chat),
        };
        viewers::Viewers::new(settings, Arc::new(snapshots), self.traffic.clone())
    }

    /// Watches what media take in memory.
    fn memory_watch(&self, ledger: Ledger, dvr: Option<Dvr>) -> MemoryWatch {
        MemoryWatch {
            ledger,
            bytes_max: self.config.media_bytes_max,
            views: self.handle.views().clone(),
            fetcher: self.fetcher.clone(),
            dvr,
            traffic: self.traffic.clone(),
        }
    }

    /// Shows the node's state: in `/status`, and to the cluster as a presence until `shutdown`.
    fn announce(&self, ledger: Ledger, shutdown: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let said = Said {
            handle: self.handle.clone(),
            traffic: self.traffic.clone(),
            https_url: self.urls.https.clone(),
            public: self.urls.public.clone(),
            data_url: self.urls.data.clone(),
            egress_capacity: self.config.egress_capacity,
            draining: self.from_bus.draining.clone(),
            quotas: Arc::clone(self.access.quotas()),
        };
        let (context, clock) = (&self.context, self.context.clock);
        let status = status_of(self.handle.clone(), (self.fetcher.clone(), ledger), Arc::clone(&self.log));
        context.ops.status(context.id.as_str(), status);
        presence::spawn(context, move || said.parts(clock), shutdown.clone())
    }

    /// Serves viewers on `https`, and the data plane on `data`.
    fn serve(
        &self,
        tasks: &mut JoinSet<Result<()>>,
        (https, viewers): (TcpListener, viewers::Viewers),
        data: TcpListener,
        shutdown: &CancellationToken,
    ) {
        let identity = &self.context.identity;
        let connections_max = self.config.connections_max;
        let connections_share = self.config.connections_share.unwrap_or(connections_max / 2);
        let limits = Limits { name: "viewers", connections_max, connections_share, ..Limits::default() };
        let visitors = (identity.server_visitors(), Arc::clone(&self.log));
        tasks.spawn(http::serve_tls(https, visitors, viewers, limits, shutdown.clone()));
        let data_plane =
            data_plane::router(self.handle.clone(), self.attention.clone(), self.context.clock, self.keys.subscribe());
        let data_plane = replica::only_members(data_plane.merge(replica::router(Arc::clone(&self.log))), &self.log);
        let limits = Limits::default();
        tasks.spawn(http::serve_tls(data, identity.server_mutual(), data_plane, limits, shutdown.clone()));
    }
}

/// Who may have what, as the log says.
/// From now on, what the log says decides who may watch, and who is signed in.
fn obey_log(access: &viewers::AccessControl, log: &Log, context: &Context) {
    let cluster = &context.cluster;
    let sequence = log.standing().sequence;
    let (facts, foreign, sessions) = log.look(|view| {
        (Facts::from_log(&view, cluster), issuers::ForeignKeys::of(&view), SessionRules::of(&view, cluster))
    });
    let rules = Arc::new(Rules::from_facts(Facts { signers: foreign.signers(), ..facts }));
    // First the keys: a token of a signer that the rules have is not refused in between.
    access.take_foreign(foreign);
    access.obey(Arc::clone(&rules));
    access.believe(sessions);
    log.look(|view| access.quotas().obey(&view, rules));
    access.reflect(sequence);
}

/// Reports damage on the node's own disk to the gate, which counts it and publishes alerts.
async fn report(mut refused: mpsc::Receiver<Refused>, gate: Handle, shutdown: CancellationToken) {
    loop {
        let refused = tokio::select! {
            () = shutdown.cancelled() => return,
            refused = refused.recv() => refused,
        };
        let Some(refused) = refused else { return };
        if gate.send(Input::Damaged(refused)).await.is_err() {
            return;
        }
    }
}

/// Warns when connections could use up the files that may be open: a viewer who comes then waits in vain, and nothing in the
/// log would say why.
fn warn_of_few_files(connections_max: usize) {
    let limit = files::open_files_limit();
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    if limit < wanted {
        tracing::warn!(limit, connections_max, "too few files may be open for so many connections: raise `ulimit -n`");
    }
}

/// A log without a new seal for this long has no ingest any more: an ingest seals a row or a gap every half second, until the stream ends.
const STANDSTILL: Duration = Duration::from_secs(15);

/// What the node says of itself on the bus.
struct Said {
    handle: Handle,
    traffic: Arc<viewers::Traffic>,
    https_url: String,
    public: Option<String>,
    data_url: String,
    egress_capacity: Option<u64>,
    draining: Arc<AtomicBool>,
    quotas: Arc<Quotas>,
}

impl Said {
    fn parts(&self, clock: Clock) -> PresenceParts {
        let rates = self.traffic.rates(clock.now());
        let shown = self.handle.views().all();
        let (held, edges): (Vec<_>, Vec<_>) =
            shown.iter().filter(|view| view.playlists.is_some()).partition(|view| view.holding == Holding::Owner);
        let named = |views: Vec<&Arc<StreamView>>| views.into_iter().map(|view| view.stream.clone()).collect();
        let state = if self.draining.load(Ordering::Relaxed) { NodeState::Draining } else { NodeState::Online };
        let is_owned = |view: &&Arc<StreamView>| is_owned(view, state, clock.wall());
        let held = held.into_iter().filter(is_owned).collect();
        PresenceParts {
            state,
            https: Some(self.https_url.clone()),
            public: self.public.clone(),
            data: Some(self.data_url.clone()),
            egress: rates.egress,
            egress_capacity: BitsPerSecond(self.egress_capacity.unwrap_or_default()),
            requests_per_second: rates.requests_per_second,
            streams: named(held),
            edges: named(edges),
            tenants: self.quotas.said(),
        }
    }
}

/// Whether the node says that it owns a stream. It does not while it still fills its window. A node that drains stays until
/// others own its streams, so it leaves out those that nobody takes over: ended ones, and those that no ingest has any more.
fn is_owned(view: &StreamView, state: NodeState, now: UnixMillis) -> bool {
    let stands_still = view.ended || now.since(view.admitted_at) >= STANDSTILL;
    view.media.is_whole() && !(state == NodeState::Draining && stands_still)
}

/// What `/status` shows of this node: its streams, what was admitted and what was refused.
fn status_of(
    handle: Handle,
    (fetcher, ledger): (Fetcher, Ledger),
    log: Arc<Log>,
) -> impl Fn() -> serde_json::Value + Send + Sync + 'static {
    move || {
        let streams = handle.views().all().into_iter().map(|view| {
            serde_json::json!({
                "stream": view.stream,
                "sequence": view.newest().map(|newest| newest.body().sequence),
                "epoch": view.newest().map(|newest| newest.body().epoch),
                "holding": match view.holding { Holding::Owner => "owner", Holding::Edge => "edge" },
                "whole": view.media.is_whole(),
                "ended": view.ended,
                "media_bytes": view.media.bytes(),
                "seals_admitted": view.seals_admitted,
                "refused": view.refused,
            })
        });
        let (streams, waiting) = (streams.collect::<Vec<_>>(), handle.views().waiting());
        serde_json::json!({
            "role": "broadcast",
            "streams": streams,
            "waiting": waiting,
            "media_bytes": ledger.bytes(),
            "edge": fetcher.status(),
            "metadata": log.standing(),
        })
    }
}

/// A part that ends when the node does, and not before.
async fn ending(part: impl Future<Output = ()>) -> Result<()> {
    part.await;
    Ok(())
}

/// Waits for all parts; the first that ends before it was told to ends the others.
async fn first_error(mut tasks: JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
    let mut ended = Ok(());
    while let Some(task) = tasks.join_next().await {
        let early = !shutdown.is_cancelled();
        shutdown.cancel();
        let result = task.context("a part of the node panicked").and_then(|result| result);
        let result = result.and_then(|()| if early { anyhow::bail!("a part of the node ended early") } else { Ok(()) });
        if ended.is_ok() {
            ended = result;
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use media::Now;

    use super::*;
    use gate::{Output, Source};
    use testkit::studio::{self, Authority, Row, START, Studio, node, sha256};

    #[test]
    fn node_that_is_to_be_left_does_not_own_what_nobody_takes_over() {
        let authority = Authority::new();
        let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 1 << 30 };
        let mut gate = Gate::new(settings, Authority::nobody(), BTreeMap::new());
        let mut studio = Studio::new("demo", START);
        let at =
            |seconds| Now { elapsed: Duration::from_secs(seconds), wall: START.plus(Duration::from_secs(seconds)) };
        gate.apply(Input::Keys(authority.grant(&studio, START)), at(0));
        gate.apply(Input::Tick, at(2));
        let mut take = |row: &Row, now: Now| {
            let stream = studio::stream("demo");
            let objects = row.objects.iter().cloned().map(|(name, bytes)| {
                let digest = sha256(&bytes);
                Input::Object { name, digest, bytes, peer: node("i1") }
            });
            let seal = Input::Seal { stream, raw: row.sealed.raw().clone(), source: Source::Bus };
            let outputs: Vec<Output> = objects.chain([seal]).flat_map(|input| gate.apply(input, now)).collect();
            let views = outputs.into_iter().filter_map(|output| match output {
                Output::Publish(view) => Some(view),
                _ => None,
            });
            views.last().unwrap()
        };
        let rows = studio.segment(at(2).wall);
        let live = rows.iter().map(|row| take(row, at(2))).last().unwrap();
        let ended = take(&studio.end(at(3).wall), at(3));
        let (online, draining) = (NodeState::Online, NodeState::Draining);
        assert!(is_owned(&live, online, at(100).wall) && is_owned(&ended, online, at(4).wall));
        assert!(is_owned(&live, draining, at(4).wall), "others own it in a moment");
        assert!(!is_owned(&live, draining, at(100).wall), "its ingest is gone");
        assert!(!is_owned(&ended, draining, at(4).wall));
    }
}
