//! The gate: what is admitted, what is refused, and what has to be fetched for it.
//!
//! Owns verification, the order of admission, the quarantine, admitted media and playlists of all streams of a node. It is a
//! pure core: [`Gate::apply`] takes an input and the time, and says what is to be done; sockets, the bus and the disk are the
//! shell's. Nothing that was not admitted is in a [`StreamView`].

mod assembly;
mod catch_up;
mod intake;
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
    /// Pushed over the data plane by this node.
    Put(NodeId),
}

/// What a node does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Has all of its bytes: a seal is admitted once they are here.
    Owner,
    /// Has its log, which is admitted as it verifies; bytes are fetched when a viewer wants them, and checked then.
    Edge,
}

/// What a peer answered to a pull.
#[derive(Debug, Clone)]
pub enum Pulled {
    /// Bytes, and their digest.
    Object {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// The bytes.
        bytes: Bytes,
    },
    /// Seals, oldest first.
    Log(Vec<Bytes>),
    /// Nothing of use: why, for the alert; `None` for a plain "not here".
    Failed(Option<(AlertReason, String)>),
}

/// What happens to a gate.
#[derive(Debug, Clone)]
pub enum Input {
    /// A seal was presented as one of `stream`.
    Seal {
        /// Stream whose topic or path it came on.
        stream: StreamId,
        /// The seal as it came.
        raw: Bytes,
        /// From where.
        source: Source,
    },
    /// Bytes were pushed.
    Object {
        /// Name under which.
        name: ObjectName,
        /// Their SHA-256.
        digest: Digest,
        /// The bytes.
        bytes: Bytes,
        /// By whom.
        peer: NodeId,
    },
    /// A pull ended.
    Pulled {
        /// Which.
        id: PullId,
        /// How.
        result: Pulled,
    },
    /// A grant came.
    Grant(Bytes),
    /// A revocation list came.
    Revocations(Bytes),
    /// The other broadcast nodes that are there now.
    Peers(Vec<NodeId>),
    /// The node has to do with a stream, in this way, from now on.
    Follow {
        /// Stream.
        stream: StreamId,
        /// How.
        holding: Holding,
        /// Who owns it, this node or not: they are asked before others.
        owners: Vec<NodeId>,
    },
    /// The node has nothing to do with a stream any more. Its head stays.
    Unfollow(StreamId),
    /// An ingest is about to open an epoch of this stream: nothing extends its log until one opens, or until [`limits::FENCE_MAX`] is over.
    Fence {
        /// Whose log.
        stream: StreamId,
        /// Who asks.
        peer: NodeId,
    },
    /// A message from the bus that cannot be read: the kind of message it was supposed to be.
    Garbage(&'static str),
    /// What was admitted before is not on the node's own disk as it was written.
    Damaged(Refused),
    /// A deadline passed.
    Tick,
}

/// Answer to a push, or to a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Taken: admitted, or in quarantine until its seal comes.
    Stored,
    /// It was here already.
    Known,
    /// Refused for good.
    Refused(AlertReason),
    /// No room now.
    Full,
}

/// Number of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId(pub u64);

/// What the shell has to do.
#[derive(Debug, Clone)]
pub enum Output {
    /// Answer to the input at hand.
    Respond(Answer),
    /// Serve this from now on.
    Publish(Arc<StreamView>),
    /// Serve nothing of this stream any more.
    Forget(StreamId),
    /// Fetch an object.
    PullObject {
        /// To be given back.
        id: PullId,
        /// From whom.
        peer: NodeId,
        /// Which.
        name: ObjectName,
        /// How long it is, in bytes: anything longer is wrong.
        length: u64,
    },
    /// Fetch the log of a stream.
    PullLog {
        /// To be given back.
        id: PullId,
        /// From whom.
        peer: NodeId,
        /// Whose log.
        stream: StreamId,
        /// First seal of interest.
        from: LogSequence,
    },
    /// Count this and say it on `alerts`.
    Refused(Refused),
    /// A seal was admitted, with these bytes. Only where that is asked for ([`Gate::record`]).
    Admitted(StreamId, Box<Admitted>),
    /// Keep this on disk.
    SaveHead(StreamId, SavedHead),
    /// Keep this revocation list on disk.
    SaveRevocations(Bytes),
    /// The grants in force, and the revocation list last: for whoever checks a log from outside.
    Grants(Vec<Bytes>),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Under which it is counted.
    pub reason: AlertReason,
    /// Stream concerned.
    pub stream: Option<StreamId>,
    /// One line for a person.
    pub detail: String,
}

/// A seal that was admitted, and the bytes that became visible with it.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The seal.
    pub sealed: Sealed,
    /// It opens an epoch that builds on this seal: what came after that is void.
    pub void_after: Option<LogSequence>,
    /// Init segments, parts and images that it lists; none of what lies before the checkpoint at which the node begins.
    pub bytes: Vec<(RenditionId, Slot, Bytes)>,
}

/// The newest admitted seal of a stream, as it survives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedHead {
    /// Place in the log.
    pub head: Head,
    /// The seal itself.
    pub raw: Bytes,
    /// Init segments of its epoch: the ingest pushes them once only. Left out when they are longer than
    /// [`limits::SAVED_INITS_BYTES_MAX`] together.
    pub inits: Vec<Bytes>,
}

impl SavedHead {
    /// For the disk: the head, the seal and each init segment, each after its length in 4 bytes.
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

/// What the gate is told when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What shows in playlists.
    pub playlist: playlist::Settings,
    /// Media held at most, in bytes.
    pub media_bytes_max: u64,
}

/// Whether somebody records what is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// Everything is an [`Output::Admitted`].
    Yes,
    /// Nothing is.
    No,
}

/// What a stream shares with the others while an input is worked on.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    recorded: Recorded,
    keyring: Keyring,
    quarantine: Quarantine,
    peers: Vec<NodeId>,
    /// Since when there are no peers, or no more of them are waited for.
    started: Option<Duration>,
    pulls: HashMap<PullId, Pull>,
    next_pull: u64,
    media_bytes: u64,
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
    /// How streams are held, also while nothing of them is in memory.
    followed: BTreeMap<StreamId, (Holding, Vec<NodeId>)>,
    heads: BTreeMap<StreamId, SavedHead>,
    /// Order in which heads came, to drop the oldest.
    heads_order: VecDeque<StreamId>,
    /// Seals whose key has no grant yet.
    strangers: VecDeque<Stranger>,
    shared: Shared,
}

/// A seal that waits for the grant of its key.
#[derive(Debug)]
struct Stranger {
    deadline: Duration,
    stream: StreamId,
    raw: Bytes,
    source: Source,
    detail: String,
}

impl Gate {
    /// A gate that trusts what `keyring` does, and goes on after `heads`.
    pub fn new(settings: Settings, keyring: Keyring, heads: BTreeMap<StreamId, SavedHead>) -> Self {
        let heads_order = heads.keys().cloned().collect();
        let now = Now { elapsed: Duration::ZERO, wall: media::UnixMillis(0) };
        let shared = Shared {
            settings,
            recorded: Recorded::No,
            keyring,
            quarantine: Quarantine::default(),
            peers: Vec::new(),
            started: None,
            pulls: HashMap::new(),
            next_pull: 0,
            media_bytes: 0,
            now,
            outputs: Vec::new(),
        };
        Self {
            streams: BTreeMap::new(),
            followed: BTreeMap::new(),
            heads,
            heads_order,
            strangers: VecDeque::new(),
            shared,
        }
    }

    /// From now on, says of all that is admitted what it was.
    pub fn record(&mut self) {
        self.shared.recorded = Recorded::Yes;
    }

    /// Takes an input; says what is to be done. An answer to a push is always among it.
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
                let answer = self.object(&name, digest, bytes, &peer);
                self.shared.outputs.push(Output::Respond(answer));
            }
            Input::Pulled { id, result } => self.pulled(id, result),
            Input::Grant(raw) => self.grant(&raw),
            Input::Revocations(raw) => self.revocations(&raw),
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
        let strangers = self.strangers.front().map(|stranger| stranger.deadline);
        streams.chain(self.shared.quarantine.next_deadline()).chain(strangers).min()
    }

    /// The newest admitted seals of all streams that are remembered.
    pub fn heads(&self) -> impl Iterator<Item = (&StreamId, &SavedHead)> {
        self.heads.iter()
    }

    /// Streams held.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        self.shared.quarantine.check_invariants();
        assert!(self.streams.len() <= limits::STREAMS_MAX);
        assert!(self.heads.len() <= HEADS_MAX && self.strangers.len() <= limits::STRANGERS_MAX);
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
        self.strangers.retain(|stranger| stranger.stream != *id);
        self.leave(id);
    }

    /// A stream, made when it is new here; `None` when there is no room for it.
    fn stream(&mut self, id: StreamId) -> Option<(&mut Stream, &mut Shared)> {
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
    fn held(&mut self, id: &StreamId) -> Option<(&mut Stream, &mut Shared)> {
        let stream = self.streams.get_mut(id)?;
        stream.touch();
        Some((stream, &mut self.shared))
    }

    /// Nothing of the stream stays in memory but its head.
    fn leave(&mut self, id: &StreamId) {
        if let Some(stream) = self.streams.remove(id) {
            self.shared.media_bytes -= stream.media_bytes();
            self.shared.outputs.push(Output::Forget(id.clone()));
        }
    }

    /// Everything that is due, and what became visible.
    fn work(&mut self) {
        self.refuse_strangers();
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
        // Those that nothing came for, and that wait for nothing yet, are as they were.
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

impl Shared {
    fn refuse(&mut self, reason: AlertReason, stream: Option<&StreamId>, detail: String) {
        self.outputs.push(Output::Refused(Refused { reason, stream: stream.cloned(), detail }));
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
