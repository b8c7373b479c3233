//! JSON payloads. Readers ignore unknown fields, so that nodes of two versions understand each other. Pure.

use std::collections::BTreeMap;
use std::fmt;

use media::{BitsPerSecond, Epoch, NodeId, SessionId, StreamId, Track, UnixMillis};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Receives RTMP, encodes, seals and pushes.
    Ingest,
    /// Verifies media and serves viewers.
    Broadcast,
    /// Stands in front of the broadcast nodes.
    LoadBalancer,
    /// The authority: grants, revocations, stream keys.
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

/// State of a node, as the node itself (or its last will) reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Serves.
    Online,
    /// Finishes its work, and takes nothing new.
    Draining,
    /// Gone: sent by the node at a clean stop, or by the broker as its last will.
    Offline,
}

/// Topic `nodes/{node}`, retained, every 2 s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    pub node: NodeId,
    pub role: Role,
    pub state: NodeState,
    /// Time of the message.
    pub at: UnixMillis,
    /// Wall clock of its start, which tells a restarted node from its previous process.
    pub started_at: UnixMillis,
    /// Base URL for viewers (`https://127.0.0.1:9101`); broadcast nodes and load balancers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Base URL of its data plane (mTLS), to which ingests push and from which peers pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Base URL under which browsers reach the node when it serves viewers directly (`https://b1.example.net:8443`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    #[serde(default)]
    pub load: Load,
    /// Streams that it owns and whose window it holds.
    #[serde(default)]
    pub streams: Vec<StreamId>,
    /// Streams that it serves as an edge: it pulls the objects that its viewers request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<StreamId>,
    /// What tenants use of it; broadcast nodes only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantLoad>,
}

/// What a tenant uses of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLoad {
    /// The tenant's slug.
    pub tenant: String,
    /// Bit rate to viewers of its streams, as a mean over ten seconds.
    #[serde(default)]
    pub egress: BitsPerSecond,
    /// Bytes of disk that recordings of its streams take.
    #[serde(default)]
    pub storage_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Share of all cores in use, 0 to 1.
    pub cpu: f64,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// Memory of the machine in bytes.
    pub memory_total_bytes: u64,
    /// Free bytes on the file system of its data directory.
    pub disk_free_bytes: u64,
    /// Bit rate that it now sends to viewers.
    pub egress: BitsPerSecond,
    /// Bit rate that it may send at most; 0 when not configured.
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
    /// The publisher is gone, and may reconnect within the grace period.
    Reconnecting,
    Ended,
}

impl SessionState {
    /// As messages and the API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
        }
    }
}

/// Topic `streams/{stream}/session`, retained. For display and discovery: nothing that viewers receive depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    pub stream: StreamId,
    pub epoch: Epoch,
    /// Its random identity.
    pub session: SessionId,
    /// Ingest node of the session.
    pub ingest: NodeId,
    pub state: SessionState,
    /// When the stream went live; unchanged by reconnects within the grace period.
    pub started_at: UnixMillis,
    /// Those that are shed are left out.
    pub ladder: Vec<Track>,
    /// Broadcast nodes to which the ingest pushes, by name. Empty when not known: then every node may be one.
    #[serde(default)]
    pub owners: Vec<NodeId>,
    /// How many nodes should hold the stream; it is degraded when fewer report that they do.
    #[serde(default)]
    pub replicas: u16,
}

/// Topic `policy`, retained: how new viewers are spread over the nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Rises with each change.
    pub version: u64,
    /// When the policy was made.
    pub at: UnixMillis,
    /// Relative weight of each node for new viewers; a node without an entry has weight 1.
    pub weights: BTreeMap<NodeId, f64>,
    /// Nodes that take no new viewers.
    pub drained: Vec<NodeId>,
}

/// Why something was refused or needs attention. Metrics count each reason under its own label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertReason {
    /// Not a seal, grant or object at all: wrong structure, not canonical, too large.
    Malformed,
    /// Key unknown, expired, not yet valid, revoked, or not granted this stream.
    Key,
    Signature,
    /// A seal of another cluster, stream or session; a server that is not the intended node.
    Identity,
    /// Epoch older than the newest seen.
    Epoch,
    /// Does not extend the chain, after catch-up.
    Chain,
    /// Two statements about one slot or one sequence, both validly signed.
    Equivocation,
    /// A time, duration or number is impossible or out of range.
    Implausible,
    /// Bytes do not have the digest that the seal names.
    Digest,
    /// No verified seal named these bytes in time, or no peer had the bytes in time.
    Deadline,
    /// The quarantine reached one of its limits.
    Quarantine,
    /// An encoder fell behind and a rung was shed.
    RungShed,
    /// Fewer nodes than wanted hold a stream.
    UnderReplicated,
}

impl AlertReason {
    /// The label in metrics, which is also the JSON name.
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

/// Topic `alerts`. The sender limits their rate: `count` says for how many events an alert stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Time of the alert.
    pub at: UnixMillis,
    /// Node that raised the alert.
    pub node: NodeId,
    /// `None` when it concerns no single stream, or when the sender sums up too many of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    pub reason: AlertReason,
    /// One line for a person. Never a key or a viewer's address.
    pub detail: String,
    /// Number of events with the same reason and stream since the last alert.
    pub count: u64,
}
