//! Presence: each node publishes on the bus that it is there, its load and its addresses.
//!
//! Owns the interval, the last will, the message at a clean stop, and the measurement of the machine. A role passes what it knows of
//! itself as [`PresenceParts`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use media::{BitsPerSecond, NodeId, StreamId, UnixMillis};
use messages::{Load, NodeState, Prefix, Presence, Role, TenantLoad, Topic};
use sysinfo::{Disks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Context;
use bus::Message;

/// How often a node publishes its presence (`docs/reference/mqtt.md`).
pub const INTERVAL: Duration = Duration::from_secs(2);
/// A node that is silent for this long counts as gone, even without its last will: three messages are missing.
pub const STALE_AFTER: Duration = Duration::from_millis(7_000);
/// How long a stopping node tries to publish that it is offline.
const GOODBYE_WAIT_MAX: Duration = Duration::from_millis(500);
/// Measurements of the machine are shared by the nodes of a process for this long.
const MEASURE_INTERVAL: Duration = Duration::from_millis(1_000);
/// Free space changes slowly, and asking can block on a sick disk.
const DISK_INTERVAL: Duration = Duration::from_secs(10);

/// What a role says of itself. The default is an online node without addresses, traffic or streams.
#[derive(Debug, Clone, PartialEq)]
pub struct PresenceParts {
    /// Its state; this module itself publishes [`NodeState::Offline`] at the end.
    pub state: NodeState,
    /// Base URL for viewers, without a slash at its end.
    pub https: Option<String>,
    /// Base URL of its data plane, without a slash at its end.
    pub data: Option<String>,
    /// Base URL under which browsers reach it, without a slash at its end; `None` where viewers come through a balancer.
    pub public: Option<String>,
    /// What it sends to viewers now.
    pub egress: BitsPerSecond,
    /// What it may send at most; 0 when not configured.
    pub egress_capacity: BitsPerSecond,
    /// Requests of viewers in the last second.
    pub requests_per_second: f64,
    /// Streams that it owns and whose window it holds.
    pub streams: Vec<StreamId>,
    /// Streams that it serves as an edge.
    pub edges: Vec<StreamId>,
    /// What tenants use of it.
    pub tenants: Vec<TenantLoad>,
}

impl Default for PresenceParts {
    fn default() -> Self {
        Self {
            state: NodeState::Online,
            https: None,
            data: None,
            public: None,
            egress: BitsPerSecond::default(),
            egress_capacity: BitsPerSecond::default(),
            requests_per_second: 0.0,
            streams: Vec::new(),
            edges: Vec::new(),
            tenants: Vec::new(),
        }
    }
}

/// The retained message that a node is offline: its last will, and its own message at a clean stop.
pub fn offline(prefix: &Prefix, node: &NodeId, role: Role, at: UnixMillis, started_at: UnixMillis) -> Message {
    let presence = Presence {
        node: node.clone(),
        role,
        state: NodeState::Offline,
        at,
        started_at,
        https: None,
        data: None,
        public: None,
        load: Load::default(),
        streams: Vec::new(),
        edges: Vec::new(),
        tenants: Vec::new(),
    };
    message(prefix, &presence)
}

fn message(prefix: &Prefix, presence: &Presence) -> Message {
    let payload = serde_json::to_vec(presence).expect("strings and numbers are always JSON").into();
    Message { topic: prefix.name(&Topic::Node(presence.node.clone())), payload, retain: true }
}

/// Publishes what `make` returns every [`INTERVAL`], and at once when a broker connects or disconnects: a new one may be empty. After
/// `shutdown` it publishes that the node is offline, and ends; the bus has to live until then.
pub fn spawn(
    context: &Context,
    make: impl Fn() -> PresenceParts + Send + 'static,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    let context = context.clone();
    tokio::spawn(async move {
        let mut connected = context.bus.connected();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
                Ok(()) = connected.changed() => {}
            }
            let presence = presence_now(&context, make());
            tokio::select! {
                () = shutdown.cancelled() => break,
                published = context.bus.publish(message(&context.prefix, &presence)) => {
                    if let Err(error) = published {
                        tracing::debug!(node = %context.id, %error, "presence was not published");
                    }
                }
            }
        }
        let goodbye = offline(&context.prefix, &context.id, context.role, context.clock.wall(), context.started_at);
        if !matches!(tokio::time::timeout(GOODBYE_WAIT_MAX, context.bus.publish(goodbye)).await, Ok(Ok(()))) {
            tracing::debug!(node = %context.id, "could not say good-bye; the last will does");
        }
    })
}

fn presence_now(context: &Context, parts: PresenceParts) -> Presence {
    let measured = measure(context);
    Presence {
        node: context.id.clone(),
        role: context.role,
        state: parts.state,
        at: context.clock.wall(),
        started_at: context.started_at,
        https: parts.https,
        data: parts.data,
        public: parts.public,
        load: Load {
            egress: parts.egress,
            egress_capacity: parts.egress_capacity,
            requests_per_second: parts.requests_per_second,
            ..measured
        },
        streams: parts.streams,
        edges: parts.edges,
        tenants: parts.tenants,
    }
}

/// The machine's load, measured once for all nodes of the process.
struct Machine {
    system: System,
    pid: Option<Pid>,
    measured_at: Option<Duration>,
    load: Load,
    disks: Vec<(PathBuf, u64)>,
    disks_at: Option<Duration>,
    clock: crate::clock::Clock,
}

fn measure(context: &Context) -> Load {
    static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        Mutex::new(Machine {
            system: System::new(),
            pid: sysinfo::get_current_pid().ok(),
            measured_at: None,
            load: Load::default(),
            disks: Vec::new(),
            disks_at: None,
            clock: context.clock,
        })
    });
    let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    machine.refresh();
    Load { disk_free_bytes: machine.disk_free_bytes(&context.data), ..machine.load }
}

impl Machine {
    fn refresh(&mut self) {
        let now = self.clock.elapsed();
        let is_old = |at: Option<Duration>, interval| at.is_none_or(|at| now.saturating_sub(at) >= interval);
        if is_old(self.measured_at, MEASURE_INTERVAL) {
            self.measured_at = Some(now);
            self.system.refresh_cpu_usage();
            self.system.refresh_memory();
            let usage = f64::from(self.system.global_cpu_usage()) / 100.0;
            self.load.cpu = if usage.is_finite() { usage.clamp(0.0, 1.0) } else { 0.0 };
            self.load.memory_total_bytes = self.system.total_memory();
            if let Some(pid) = self.pid {
                let kind = ProcessRefreshKind::nothing().with_memory();
                self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
                self.load.memory_bytes = self.system.process(pid).map_or(0, sysinfo::Process::memory);
            }
            record(&self.load);
        }
        if is_old(self.disks_at, DISK_INTERVAL) {
            self.disks_at = Some(now);
            let disks = Disks::new_with_refreshed_list();
            self.disks = disks.iter().map(|disk| (disk.mount_point().to_owned(), disk.available_space())).collect();
        }
    }

    /// Free space on the disk that is mounted deepest above `path`; 0 when unknown.
    fn disk_free_bytes(&self, path: &Path) -> u64 {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let above = self.disks.iter().filter(|(mount, _)| path.starts_with(mount));
        above.max_by_key(|(mount, _)| mount.components().count()).map_or(0, |(_, free)| *free)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; exact to 2^53 bytes")]
fn record(load: &Load) {
    metrics::gauge!("process_resident_memory_bytes").set(load.memory_bytes as f64);
    metrics::gauge!("machine_cpu_ratio").set(load.cpu);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media::ClusterId;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::clock::Clock;
    use crate::tls::{Authority, Identity};
    use bus::{Bus, BusError, Subscription};

    /// Keeps what is published; connected to as many brokers as the test says.
    struct Recorder {
        published: mpsc::UnboundedSender<Message>,
        connected: watch::Receiver<usize>,
    }

    #[async_trait::async_trait]
    impl Bus for Recorder {
        async fn publish(&self, message: Message) -> Result<(), BusError> {
            self.published.send(message).map_err(|_| BusError::Closed)
        }

        async fn subscribe(&self, _filter: &str) -> Result<Subscription, BusError> {
            Err(BusError::Closed)
        }

        fn connected(&self) -> watch::Receiver<usize> {
            self.connected.clone()
        }
    }

    struct Said(mpsc::UnboundedReceiver<Message>);

    impl Said {
        async fn next(&mut self) -> Presence {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.recv()).await.unwrap().unwrap();
            assert_eq!((message.topic.as_str(), message.retain), ("sealcast/v1/nodes/b1", true));
            serde_json::from_slice(&message.payload).unwrap()
        }
    }

    fn context(directory: &Path, bus: Recorder) -> Context {
        let (id, role, clock) = (NodeId::new("b1").unwrap(), Role::Broadcast, Clock::new());
        let paths = Authority::ensure(directory, &clock).unwrap().issue(&id, role, &[]).unwrap();
        Context {
            id,
            role,
            cluster: ClusterId::new("test").unwrap(),
            data: directory.to_owned(),
            bus: Arc::new(bus),
            prefix: Prefix::default(),
            clock,
            identity: Arc::new(Identity::load(&paths).unwrap()),
            ops: crate::ops::Ops::new(),
            started_at: clock.wall(),
        }
    }

    #[tokio::test]
    async fn node_says_that_it_is_there_in_rhythm_on_reconnect_and_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let (published, said) = mpsc::unbounded_channel();
        let (brokers, connected) = watch::channel(0);
        let context = context(directory.path(), Recorder { published, connected });
        let mut said = Said(said);
        let make = || PresenceParts {
            data: Some("https://127.0.0.1:9201".to_owned()),
            egress: BitsPerSecond(5_000_000),
            streams: vec![StreamId::new("demo").unwrap()],
            ..PresenceParts::default()
        };
        let shutdown = CancellationToken::new();
        let running = spawn(&context, make, shutdown.clone());

        let first = said.next().await;
        assert_eq!((first.node.as_str(), first.role, first.state), ("b1", Role::Broadcast, NodeState::Online));
        assert_eq!((first.data.as_deref(), first.https), (Some("https://127.0.0.1:9201"), None));
        assert_eq!((first.load.egress, first.streams.len()), (BitsPerSecond(5_000_000), 1));
        assert_eq!(first.started_at, context.started_at);
        assert!(first.load.memory_bytes > 1_000_000 && first.load.memory_total_bytes > first.load.memory_bytes);
        assert!(first.load.disk_free_bytes > 0 && (0.0..=1.0).contains(&first.load.cpu), "{:?}", first.load);

        brokers.send_replace(1);
        let second = said.next().await;
        let early = second.at.since(first.at);
        assert!(early < INTERVAL / 2, "a new broker is told at once, not after {early:?}");
        let third = said.next().await;
        let rhythm = third.at.since(first.at);
        assert!((INTERVAL.mul_f64(0.9)..INTERVAL * 3).contains(&rhythm), "{rhythm:?}");

        shutdown.cancel();
        running.await.unwrap();
        let mut last = said.next().await;
        while let Ok(message) = said.0.try_recv() {
            last = serde_json::from_slice(&message.payload).unwrap();
        }
        assert_eq!((last.state, last.data, last.started_at), (NodeState::Offline, None, context.started_at));
    }

    #[test]
    fn last_will_says_offline_and_is_kept() {
        let at = UnixMillis(1_000);
        let will = offline(&Prefix::default(), &NodeId::new("i1").unwrap(), Role::Ingest, at, at);
        assert_eq!((will.topic.as_str(), will.retain), ("sealcast/v1/nodes/i1", true));
        let presence: Presence = serde_json::from_slice(&will.payload).unwrap();
        assert_eq!((presence.state, presence.role), (NodeState::Offline, Role::Ingest));
    }
}
