//! The gate decides which seals and bytes a node admits or refuses, and what it has to fetch.
//!
//! Owns verification, the order of admission, the quarantine, admitted media and playlists of all streams of a node. It is a
//! pure core: [`Gate::apply`] takes an input and the time, and returns what the shell has to do; sockets, the bus and the disk
//! are the shell's. A [`StreamView`] holds only what was admitted.

mod assembly;
mod intake;
mod ledger;
pub mod limits;
mod quarantine;
mod rendered;
mod store;
mod stream;
mod view;
mod wants;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, LogSequence, NodeId, Now, ObjectName, RenditionId, Slot, StreamId};
use messages::AlertReason;
use seal::{Head, Keyring, Refusal, RefusalReason, Sealed};

pub use ledger::Ledger;
use limits::{HEADS_MAX, PEERS_MAX};
pub use quarantine::Quarantine;
pub use rendered::{Rendered, entity_tag};
pub use store::{Absent, Media};
use stream::Stream;
pub use view::{Lists, Look, Playlist, Playlists, Shown, StreamView};

/// Where a seal came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Topic `streams/{stream}/seals`.
    Bus,
    /// Topic `streams/{stream}/head`: retained, so it may be old.
    Head,
    /// Pushed over the data plane by the ingest named here.
    Put(NodeId),
}

/// What a node does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// The node has all bytes of the stream. A seal is admitted once its bytes are here.
    Owner,
    /// The node has only the log. A seal is admitted once it is verified; bytes are fetched, and checked, when a viewer asks for them.
    Edge,
}

/// What a peer answered to a pull.
#[derive(Debug, Clone)]
pub enum Pulled {
    /// An object.
    Object {
        /// SHA-256 of `bytes`, computed on receipt.
        digest: Digest,
        /// The body of the peer's answer.
        bytes: Bytes,
    },
    /// Seals, oldest first.
    Log(Vec<Bytes>),
    /// Nothing usable. The reason and detail for an alert; `None` when the peer does not have it or is not reachable, which is no fault.
    Failed(Option<(AlertReason, String)>),
}

/// An input of the gate.
#[derive(Debug, Clone)]
pub enum Input {
    /// A seal arrived for `stream`; it is not verified yet.
    Seal {
        /// Stream whose topic or path it came on.
        stream: StreamId,
        /// The signed envelope as received.
        raw: Bytes,
        /// Topic or node that it came from.
        source: Source,
    },
    /// Bytes were pushed.
    Object {
        /// The name that the pusher gives them.
        name: ObjectName,
        /// SHA-256 of `bytes`, computed on receipt.
        digest: Digest,
        /// The body of the push.
        bytes: Bytes,
        /// The ingest that pushed them.
        peer: NodeId,
    },
    /// A pull ended.
    Pulled {
        /// The pull, as named in [`Effect::PullObject`] or [`Effect::PullLog`].
        id: PullId,
        /// What the peer answered.
        result: Pulled,
    },
    /// The metadata log says this of keys from now on.
    Keys(Arc<Keyring>),
    /// The other broadcast nodes that are present now; the gate takes at most [`limits::PEERS_MAX`].
    Peers(Vec<NodeId>),
    /// The node owns a stream, or follows it as an edge, from now on.
    Follow {
        /// The stream to hold.
        stream: StreamId,
        /// As an owner or as an edge.
        holding: Holding,
        /// Its owners, which may include this node. They are asked before other peers.
        owners: Vec<NodeId>,
    },
    /// The node drops a stream. Only its head stays.
    Unfollow(StreamId),
    /// An ingest is about to open an epoch of this stream. No seal is admitted until a newer epoch opens, or until
    /// [`limits::FENCE_MAX`] is over.
    Fence {
        /// The stream whose log is fenced.
        stream: StreamId,
        /// The ingest that asks.
        peer: NodeId,
    },
    /// A bus message could not be parsed; the payload names the expected kind.
    Garbage(&'static str),
    /// A refusal found outside the gate, which counts and reports it: a damaged recording on this node's disk, or an owner's
    /// faulty answer to an edge.
    Damaged(Refused),
    /// A deadline passed.
    Tick,
}

/// Answer to a push, or to a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Taken: it is admitted now, or waits for its seal or its bytes.
    Stored,
    /// It was here already.
    Known,
    /// Refused for good.
    Refused(AlertReason),
    /// No room now.
    Full,
}

/// Number of a pull; a gate uses each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId(pub u64);

/// What has to be done. The thread of the gate does it at once, in this order, except for effects.
#[derive(Debug, Clone)]
pub enum Output {
    /// Answer the push or the fence that is the current input.
    Respond(Answer),
    /// Serve this from now on.
    Publish(Arc<StreamView>),
    /// Serve nothing of this stream any more.
    Forget(StreamId),
    /// A seal of an owned stream was admitted, with these bytes. Only after [`Gate::record`].
    Admitted(StreamId, Box<Admitted>),
    /// Keep this on disk.
    SaveHead(StreamId, SavedHead),
    /// The keys in force, for readers that verify a log outside the gate.
    Keys(Arc<Keyring>),
    /// Have the shell do this, whenever it can.
    Effect(Effect),
}

/// What the shell around the gate's thread does: it speaks to peers and to the bus, and the gate does not wait for it.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Fetch an object.
    PullObject {
        /// Number to return in [`Input::Pulled`].
        id: PullId,
        /// Peer to ask.
        peer: NodeId,
        /// Object to fetch.
        name: ObjectName,
        /// Length in bytes that the seal states; any other is wrong.
        length: u64,
    },
    /// Fetch the log of a stream.
    PullLog {
        /// Number to return in [`Input::Pulled`].
        id: PullId,
        /// Peer to ask.
        peer: NodeId,
        /// Stream whose log is wanted.
        stream: StreamId,
        /// Sequence of the first seal that is wanted.
        from: LogSequence,
    },
    /// Count this refusal, and publish it on `alerts`.
    Refused(Refused),
}

/// A refusal, for the counters and `alerts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Label under which it is counted.
    pub reason: AlertReason,
    /// `None` when it concerns no single stream.
    pub stream: Option<StreamId>,
    /// One line for a person.
    pub detail: String,
}

/// A seal that was admitted, and the bytes that became visible with it.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The verified seal.
    pub sealed: Sealed,
    /// The seal that its epoch builds on, when it opens one: what the log had after that is void.
    pub void_after: Option<LogSequence>,
    /// Init segments, parts and images that it lists; nothing from before the checkpoint at which the node joined the log.
    pub bytes: Vec<(RenditionId, Slot, Bytes)>,
}

/// The newest admitted seal of a stream, as it survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedHead {
    /// Place in the log.
    pub head: Head,
    /// The seal as it travels.
    pub raw: Bytes,
    /// Init segments of its epoch, kept because the ingest pushes them only once. Empty when together they exceed
    /// [`limits::SAVED_INITS_BYTES_MAX`].
    pub inits: Vec<Bytes>,
}

impl SavedHead {
    /// For the disk: the head, the seal and each init segment, each after its length as 4 bytes, big endian.
    pub fn to_bytes(&self) -> Bytes {
        let head = self.head.to_bytes();
        let mut bytes = Vec::new();
        for field in [&head[..], &self.raw].into_iter().chain(self.inits.iter().map(|init| &init[..])) {
            let length = u32::try_from(field.len()).expect("seals and init segments have at most some kilobytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes.into()
    }

    /// Reads what [`SavedHead::to_bytes`] wrote; refuses anything else as malformed.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, Refusal> {
        let malformed = || Refusal { reason: RefusalReason::Malformed, detail: "saved head is cut short".to_owned() };
        let mut rest = bytes.clone();
        let mut fields = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed())?;
            if length > after.len() {
                return Err(malformed());
            }
            rest = rest.slice(4..);
            fields.push(rest.split_to(length));
        }
        let mut fields = fields.into_iter();
        let (Some(head), Some(raw), true) = (fields.next(), fields.next(), rest.is_empty()) else {
            return Err(malformed());
        };
        Ok(Self { head: Head::from_bytes(&head)?, raw, inits: fields.collect() })
    }
}

/// Settings of the gate, fixed when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Settings of all playlists.
    pub playlist: playlist::Settings,
    /// Most bytes of media that all streams and the quarantine hold together.
    pub media_bytes_max: u64,
}

/// Whether a recorder takes what is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// Each admitted seal of an owned stream is an [`Output::Admitted`].
    Yes,
    /// None is.
    No,
}

/// State that all streams share.
#[derive(Debug)]
struct GateContext {
    settings: Settings,
    recorded: Recorded,
    keyring: Arc<Keyring>,
    quarantine: Quarantine,
    peers: Vec<NodeId>,
    /// When the first input came: from then on, joins wait for peers to appear.
    started: Option<Duration>,
    pulls: HashMap<PullId, Pull>,
    next_pull: u64,
    media_bytes: u64,
    /// Media of all streams, with what only views and responses still hold.
    ledger: Ledger,
    now: Now,
    outputs: Vec<Output>,
}

/// A pull that is under way.
#[derive(Debug, Clone)]
enum Pull {
    Object { name: ObjectName, peer: NodeId },
    Log { stream: StreamId, peer: NodeId },
}

/// The gate of one node.
#[derive(Debug)]
pub struct Gate {
    streams: BTreeMap<StreamId, Stream>,
    /// How each followed stream is held, and by which owners; kept while the stream is not in memory, too.
    followed: BTreeMap<StreamId, (Holding, Vec<NodeId>)>,
    heads: BTreeMap<StreamId, SavedHead>,
    /// Streams in the order of their first heads; beyond [`HEADS_MAX`], the oldest is dropped.
    heads_order: VecDeque<StreamId>,
    /// Seals whose key has no grant yet.
    ungranted: VecDeque<UngrantedSeal>,
    shared: GateContext,
}

/// A seal that waits for the grant of its key.
#[derive(Debug)]
struct UngrantedSeal {
    deadline: Duration,
    stream: StreamId,
    raw: Bytes,
    source: Source,
    detail: String,
}

impl Gate {
    /// A gate that verifies with `keyring` and continues each log after its head in `heads`.
    pub fn new(settings: Settings, keyring: Arc<Keyring>, heads: BTreeMap<StreamId, SavedHead>) -> Self {
        let heads_order = heads.keys().cloned().collect();
        let now = Now { elapsed: Duration::ZERO, wall: media::UnixMillis(0) };
        let shared = GateContext {
            settings,
            recorded: Recorded::No,
            keyring,
            quarantine: Quarantine::default(),
            peers: Vec::new(),
            started: None,
            pulls: HashMap::new(),
            next_pull: 0,
            media_bytes: 0,
            ledger: Ledger::default(),
            now,
            outputs: Vec::new(),
        };
        Self {
            streams: BTreeMap::new(),
            followed: BTreeMap::new(),
            heads,
            heads_order,
            ungranted: VecDeque::new(),
            shared,
        }
    }

    /// Counts the media that came through this gate, as long as anything holds them.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger.clone()
    }

    /// From now on, each admitted seal of an owned stream is an [`Output::Admitted`].
    pub fn record(&mut self) {
        self.shared.recorded = Recorded::Yes;
    }

    /// Takes an input and returns what the shell has to do. A push or a fence always gets an [`Output::Respond`].
    pub fn apply(&mut self, input: Input, now: Now) -> Vec<Output> {
        self.shared.now = now;
        self.shared.started.get_or_insert(now.elapsed);
        match input {
            Input::Seal { stream, source: Source::Put(peer), .. } if self.is_revoked(&peer) => {
                self.refuse_revoked(&peer, &stream);
            }
            Input::Object { name, peer, .. } if self.is_revoked(&peer) => self.refuse_revoked(&peer, &name.stream),
            Input::Seal { stream, raw, source } => self.seal(stream, &raw, source),
            Input::Object { name, digest, bytes, peer } => {
                let bytes = self.shared.ledger.hold(bytes);
                let answer = self.object(&name, digest, bytes, &peer);
                self.shared.outputs.push(Output::Respond(answer));
            }
            Input::Pulled { id, result } => self.pulled(id, result),
            Input::Keys(keyring) => self.take_keys(keyring),
            Input::Peers(mut peers) => {
                peers.truncate(PEERS_MAX);
                self.shared.peers = peers;
                for stream in self.streams.values_mut() {
                    stream.touch();
                    stream.peers_changed(&mut self.shared);
                }
            }
            Input::Follow { stream, holding, owners } => self.follow(stream, holding, owners),
            Input::Unfollow(stream) => self.unfollow(&stream),
            Input::Fence { stream, peer } if self.is_revoked(&peer) => self.refuse_revoked(&peer, &stream),
            Input::Fence { stream, .. } => {
                if let Some((stream, shared)) = self.held(&stream) {
                    stream.fence(shared);
                }
                self.shared.outputs.push(Output::Respond(Answer::Stored));
            }
            Input::Damaged(Refused { reason, stream, detail }) => match stream {
                Some(stream) => self.refuse(reason, &stream, detail),
                None => self.shared.refuse(reason, None, detail),
            },
            Input::Garbage(what) => self.shared.refuse(AlertReason::Malformed, None, format!("not {what}")),
            Input::Tick => {}
        }
        self.work();
        std::mem::take(&mut self.shared.outputs)
    }

    /// When [`Input::Tick`] is due, on the clock of [`Now::elapsed`].
    pub fn next_deadline(&self) -> Option<Duration> {
        let streams = self.streams.values().filter_map(Stream::due);
        let ungranted = self.ungranted.front().map(|ungranted_seal| ungranted_seal.deadline);
        streams.chain(self.shared.quarantine.next_deadline()).chain(ungranted).min()
    }

    /// The newest admitted seal of each stream that is remembered.
    pub fn heads(&self) -> impl Iterator<Item = (&StreamId, &SavedHead)> {
        self.heads.iter()
    }

    /// How many streams are in memory.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        self.shared.quarantine.check_invariants();
        assert!(self.streams.len() <= limits::STREAMS_MAX);
        assert!(self.heads.len() <= HEADS_MAX && self.ungranted.len() <= limits::UNGRANTED_MAX);
        let media: u64 = self.streams.values().map(Stream::media_bytes).sum();
        assert_eq!(self.shared.media_bytes, media, "media of all streams are counted");
        for stream in self.streams.values() {
            stream.check_invariants(self.shared.now.elapsed);
            assert_eq!(stream.due(), stream.next_deadline(&self.shared), "no stream has changed untouched");
        }
    }

    fn follow(&mut self, id: StreamId, holding: Holding, owners: Vec<NodeId>) {
        if self.followed.len() < HEADS_MAX || self.followed.contains_key(&id) {
            self.followed.insert(id.clone(), (holding, owners.clone()));
        }
        if let Some((stream, shared)) = self.stream(id) {
            stream.hold(holding, owners, shared);
        }
    }

    fn unfollow(&mut self, id: &StreamId) {
        self.followed.remove(id);
        self.ungranted.retain(|ungranted_seal| ungranted_seal.stream != *id);
        self.leave(id);
    }

    /// The stream, made when it is new here; `None`, and a refusal, when [`limits::STREAMS_MAX`] others are held.
    fn stream(&mut self, id: StreamId) -> Option<(&mut Stream, &mut GateContext)> {
        if !self.streams.contains_key(&id) && self.streams.len() >= limits::STREAMS_MAX {
            let detail = format!("{} streams are held already", limits::STREAMS_MAX);
            self.refuse(AlertReason::Quarantine, &id, detail);
            return None;
        }
        let (saved, shared) = (self.heads.get(&id).cloned(), &mut self.shared);
        let held = self.followed.get(&id).cloned();
        let stream = self.streams.entry(id.clone()).or_insert_with(|| {
            let (holding, owners) = held.unwrap_or((Holding::Owner, Vec::new()));
            Stream::new(id, saved, (holding, owners), shared)
        });
        stream.touch();
        Some((stream, shared))
    }

    /// A stream that is held already.
    fn held(&mut self, id: &StreamId) -> Option<(&mut Stream, &mut GateContext)> {
        let stream = self.streams.get_mut(id)?;
        stream.touch();
        Some((stream, &mut self.shared))
    }

    /// Drops the stream from memory; its head stays.
    fn leave(&mut self, id: &StreamId) {
        if let Some(stream) = self.streams.remove(id) {
            self.shared.media_bytes -= stream.media_bytes();
            self.shared.outputs.push(Output::Forget(id.clone()));
        }
    }

    /// Does what is due, and publishes what changed.
    fn work(&mut self) {
        self.refuse_ungranted();
        let shared = &mut self.shared;
        let elapsed = shared.now.elapsed;
        for (name, claim) in shared.quarantine.expire(elapsed) {
            let detail = format!("{name} from {}: no verified seal named these bytes in time", claim.peer);
            if let Some(stream) = self.streams.get_mut(&name.stream) {
                stream.touch();
                stream.count(AlertReason::Deadline);
            }
            shared.refuse(AlertReason::Deadline, Some(&name.stream), detail);
        }
        // Streams without an input and without a deadline that is due are unchanged.
        for stream in self.streams.values_mut().filter(|stream| stream.due().is_some_and(|due| due <= elapsed)) {
            stream.work(shared);
        }
        let idle: Vec<StreamId> =
            self.streams.values().filter(|stream| stream.is_idle(elapsed)).map(|stream| stream.id().clone()).collect();
        for id in idle {
            self.leave(&id);
        }
        let shared = &mut self.shared;
        for stream in self.streams.values_mut() {
            if let Some(saved) = stream.publish(shared) {
                let id = stream.id().clone();
                if self.heads.insert(id.clone(), saved).is_none() {
                    self.heads_order.push_back(id);
                    if self.heads.len() > HEADS_MAX {
                        let oldest = self.heads_order.pop_front();
                        oldest.and_then(|oldest| self.heads.remove(&oldest));
                    }
                }
            }
        }
    }
}

impl GateContext {
    fn refuse(&mut self, reason: AlertReason, stream: Option<&StreamId>, detail: String) {
        let refused = Refused { reason, stream: stream.cloned(), detail };
        self.outputs.push(Output::Effect(Effect::Refused(refused)));
    }

    fn start_pull(&mut self, pull: Pull) -> PullId {
        let id = PullId(self.next_pull);
        self.next_pull += 1;
        self.pulls.insert(id, pull);
        id
    }
}

/// The label of a seal's refusal on `alerts`.
pub fn reason_of(reason: RefusalReason) -> AlertReason {
    match reason {
        RefusalReason::Malformed => AlertReason::Malformed,
        RefusalReason::Key => AlertReason::Key,
        RefusalReason::Signature => AlertReason::Signature,
        RefusalReason::Identity => AlertReason::Identity,
        RefusalReason::Epoch => AlertReason::Epoch,
        RefusalReason::Chain => AlertReason::Chain,
        RefusalReason::Equivocation => AlertReason::Equivocation,
        RefusalReason::Implausible => AlertReason::Implausible,
    }
}
