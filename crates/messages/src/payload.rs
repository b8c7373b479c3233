//! JSON payloads. Unknown fields are ignored on reading, so that nodes of two versions can talk. Pure.

use std::collections::BTreeMap;
use std::fmt;

use media::{BitsPerSecond, Epoch, NodeId, SessionId, StreamId, Track, UnixMillis};
use serde::{Deserialize, Serialize};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes RTMP, encodes, seals and pushes.
    Ingest,
    /// Checks and serves.
    Broadcast,
    /// Stands in front of the broadcast nodes.
    LoadBalancer,
    /// The authority.
    Control,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Broadcast => "broadcast",
            Self::LoadBalancer => "loadbalancer",
            Self::Control => "control",
        })
    }
}

/// State of a node, as it says itself (or its last will).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Serves.
    Online,
    /// Finishes what it has, takes nothing new.
    Draining,
    /// Gone: said at a clean stop, or by the broker in its last will.
    Offline,
}

/// Topic `nodes/{node}`, retained, every 2 s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// The node.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// What it says of itself.
    pub state: NodeState,
    /// When it said so.
    pub at: UnixMillis,
    /// Wall clock of its start, to tell a restarted node from the one before.
    pub started_at: UnixMillis,
    /// Base URL for viewers (`https://127.0.0.1:9101`); broadcast nodes and load balancers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Base URL of its data plane (mTLS): where ingests push to, and peers pull from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Base URL under which browsers reach it, where it serves viewers directly (`https://b1.example.net:8443`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// What it bears.
    #[serde(default)]
    pub load: Load,
    /// Streams that it owns and whose window it holds.
    #[serde(default)]
    pub streams: Vec<StreamId>,
    /// Streams that it serves as an edge: it pulls what its viewers ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<StreamId>,
}

/// Load of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Share of all cores in use, 0 to 1.
    pub cpu: f64,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// Memory of the machine in bytes.
    pub memory_total_bytes: u64,
    /// Free bytes where its data directory is.
    pub disk_free_bytes: u64,
    /// What it sends to viewers now.
    pub egress: BitsPerSecond,
    /// What it may send at most; 0 when not configured.
    pub egress_capacity: BitsPerSecond,
    /// Requests of viewers in the last second.
    pub requests_per_second: f64,
}

/// State of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// The publisher is connected.
    Live,
    /// The publisher is gone, and may come back within the grace.
    Reconnecting,
    /// Over.
    Ended,
}

/// Topic `streams/{stream}/session`, retained. For display and discovery; nothing that viewers are served rests on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Stream.
    pub stream: StreamId,
    /// Epoch of the session.
    pub epoch: Epoch,
    /// Its random identity.
    pub session: SessionId,
    /// Ingest node that has it.
    pub ingest: NodeId,
    /// State.
    pub state: SessionState,
    /// When the stream went live; survives reconnects within the grace.
    pub started_at: UnixMillis,
    /// Its renditions.
    pub ladder: Vec<Track>,
    /// Broadcast nodes that it is pushed to, by name. Empty when not known: then every node may be one.
    #[serde(default)]
    pub owners: Vec<NodeId>,
    /// How many nodes should hold it; fewer that say they do, and it is degraded.
    #[serde(default)]
    pub replicas: u16,
}

/// Topic `policy`, retained: where new viewers go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Rises with each change.
    pub version: u64,
    /// When it was made.
    pub at: UnixMillis,
    /// Relative weight of each node for new viewers; a node that is not named has weight 1.
    pub weights: BTreeMap<NodeId, f64>,
    /// Nodes that take no new viewers.
    pub drained: Vec<NodeId>,
}

/// Why something was refused or needs a look. Each is counted under its own label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertReason {
    /// Not a seal, grant or object at all: wrong structure, not canonical, too large.
    Malformed,
    /// Key unknown, expired, not yet valid, revoked, or not granted this stream.
    Key,
    /// Signature wrong.
    Signature,
    /// Another cluster's or stream's seal; a server that is not the node that was meant.
    Identity,
    /// Epoch older than one seen.
    Epoch,
    /// Does not extend the chain, after catch-up.
    Chain,
    /// Two statements about one slot or one sequence, both validly signed.
    Equivocation,
    /// Time, duration or numbers that cannot be.
    Implausible,
    /// Bytes are not what the seal names.
    Digest,
    /// No verified seal named these bytes in time, or no peer had the bytes in time.
    Deadline,
    /// A bound of the quarantine was reached.
    Quarantine,
    /// An encoder fell behind and a rung was shed.
    RungShed,
    /// Fewer nodes than wanted hold a stream.
    UnderReplicated,
}

impl AlertReason {
    /// The label under which it is counted: the JSON name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Identity => "identity",
            Self::Epoch => "epoch",
            Self::Chain => "chain",
            Self::Equivocation => "equivocation",
            Self::Implausible => "implausible",
            Self::Digest => "digest",
            Self::Deadline => "deadline",
            Self::Quarantine => "quarantine",
            Self::RungShed => "rung_shed",
            Self::UnderReplicated => "under_replicated",
        }
    }
}

/// Topic `alerts`. Rate-limited by the sender: `count` says how many it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// When.
    pub at: UnixMillis,
    /// Who noticed.
    pub node: NodeId,
    /// Stream concerned, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// Reason.
    pub reason: AlertReason,
    /// One line for a person. Never a key or a viewer's address.
    pub detail: String,
    /// How many of the same reason and stream since the last alert.
    pub count: u64,
}
