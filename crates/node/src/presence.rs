//! Presence: every node says on the bus that it is there, what it bears and where it is reached.
//!
//! Owns the rhythm, the last will, the word at a clean stop, and the measuring of the machine. What a role knows of itself
//! comes in as [`PresenceParts`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use media::{BitsPerSecond, NodeId, StreamId, UnixMillis};
use messages::{Load, NodeState, Prefix, Presence, Role, Topic};
use sysinfo::{Disks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::bus::Message;

/// How often a node says that it is there (design, section 4).
pub const INTERVAL: Duration = Duration::from_secs(2);
/// A node that has not been heard for this long is taken for gone, even without its last will: three words missed.
pub const STALE_AFTER: Duration = Duration::from_millis(7_000);
/// How long a stopping node tries to say good-bye.
const GOODBYE_WAIT_MAX: Duration = Duration::from_millis(500);
/// Measurements of the machine are shared by the nodes of a process for this long.
const MEASURE_INTERVAL: Duration = Duration::from_millis(1_000);
/// Free space changes slowly, and asking can block on a sick disk.
const DISK_INTERVAL: Duration = Duration::from_secs(10);

/// What a role says of itself. A node that serves and bears nothing is the default.
#[derive(Debug, Clone, PartialEq)]
pub struct PresenceParts {
    /// Its state; [`NodeState::Offline`] is said by this module at the end.
    pub state: NodeState,
    /// Base URL for viewers, without a slash at its end.
    pub https: Option<String>,
    /// Base URL of its data plane, without a slash at its end.
    pub data: Option<String>,
    /// What it sends to viewers now.
    pub egress: BitsPerSecond,
    /// What it may send at most; 0 when not configured.
    pub egress_capacity: BitsPerSecond,
    /// Requests of viewers in the last second.
    pub requests_per_second: f64,
    /// Streams whose window it holds.
    pub streams: Vec<StreamId>,
}

impl Default for PresenceParts {
    fn default() -> Self {
        Self {
            state: NodeState::Online,
            https: None,
            data: None,
            egress: BitsPerSecond::default(),
            egress_capacity: BitsPerSecond::default(),
            requests_per_second: 0.0,
            streams: Vec::new(),
        }
    }
}

/// The retained message that a node is offline: its last will, and its word at a clean stop.
pub fn offline(prefix: &Prefix, node: &NodeId, role: Role, at: UnixMillis, started_at: UnixMillis) -> Message {
    let state = NodeState::Offline;
    let (load, streams) = (Load::default(), Vec::new());
    let presence = Presence { node: node.clone(), role, state, at, started_at, https: None, data: None, load, streams };
    message(prefix, &presence)
}

fn message(prefix: &Prefix, presence: &Presence) -> Message {
    let payload = serde_json::to_vec(presence).expect("strings and numbers are always JSON").into();
    Message { topic: prefix.name(&Topic::Node(presence.node.clone())), payload, retain: true }
}

/// Says every [`INTERVAL`] what `make` returns, and at once whenever another broker is connected: it may be an empty one.
/// After `shutdown` says that the node is offline, and ends; the bus has to live until then.
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
        load: Load {
            egress: parts.egress,
            egress_capacity: parts.egress_capacity,
            requests_per_second: parts.requests_per_second,
            ..measured
        },
        streams: parts.streams,
    }
}

/// What the machine bears; measured once for all nodes of the process.
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
