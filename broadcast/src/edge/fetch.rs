//! Fetching an object from its owners: once, however many ask for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use media::{Digest, NodeId, ObjectName, Slot, StreamId};
use messages::AlertReason;
use node::clock::Clock;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::sources::Sources;
use crate::actor::Handle;
use crate::peers::Peers;
use gate::{Absent, Input, Ledger, Media, Pulled, Refused, StreamView};

/// Pulls at once; the others wait for their turn in the order in which they asked.
const PULLS_MAX: usize = 128;
/// Objects that are being fetched, those that wait for their turn included: the windows of some streams.
const UNDER_WAY_MAX: usize = 8 * 1024;
/// How long an object is tried for, as a whole: longer than an owner that has just got the seal takes to get the bytes.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// How long an owner may take before another is asked as well: a part crosses a continent in less.
const HEDGE_AFTER: Duration = Duration::from_millis(600);
/// Pause after all owners were asked in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// One fetch, for all who wait for it.
type Fetching = Shared<BoxFuture<'static, Option<Bytes>>>;

/// Fetches objects. Cheap to clone; clones share what was fetched.
#[derive(Clone)]
pub(crate) struct Fetcher(Arc<Inner>);

struct Inner {
    peers: Peers,
    gate: Handle,
    clock: Clock,
    turns: Semaphore,
    pulls: AtomicU64,
    /// Counts the bytes that were fetched, for as long as anything holds them.
    ledger: Ledger,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    /// By name and digest: all who wait for a fetch want the same bytes.
    under_way: HashMap<(ObjectName, Digest), Fetching>,
    sources: Sources,
    owners: HashMap<StreamId, Vec<NodeId>>,
}

impl Fetcher {
    /// Keeps at most `bytes_max` bytes of what `me` fetches.
    pub(crate) fn new(me: NodeId, peers: Peers, gate: Handle, (clock, bytes_max): (Clock, u64)) -> Self {
        let state = State {
            cache: Cache::new(bytes_max),
            under_way: HashMap::new(),
            sources: Sources::new(me),
            owners: HashMap::new(),
        };
        Self(Arc::new(Inner {
            peers,
            gate,
            clock,
            turns: Semaphore::new(PULLS_MAX),
            pulls: AtomicU64::new(0),
            ledger: Ledger::default(),
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `/status` shows: pulls since the node started, the bytes that are kept of them, and the objects that are waited for.
    pub(crate) fn status(&self) -> serde_json::Value {
        let (pulls, state) = (self.0.pulls.load(Ordering::Relaxed), self.state());
        let waited_for = state.under_way.values().filter(|fetching| is_waited_for(fetching)).count();
        serde_json::json!({ "pulls": pulls, "cache_bytes": state.cache.bytes(), "waited_for": waited_for })
    }

    /// Bytes that were fetched and are in memory beyond what the cache may keep: responses hold them.
    pub(crate) fn excess(&self) -> u64 {
        self.0.ledger.bytes().saturating_sub(self.state().cache.bytes_max())
    }

    /// Whether the cache keeps an object.
    pub(crate) fn keeps(&self, name: &ObjectName) -> bool {
        self.state().cache.has(name)
    }

    /// Sets the owners of a stream.
    pub(crate) fn owned_by(&self, stream: &StreamId, owners: Vec<NodeId>) {
        self.state().owners.insert(stream.clone(), owners);
    }

    /// Forgets a stream that is not followed any more.
    pub(crate) fn forget(&self, stream: &StreamId) {
        let mut state = self.state();
        state.owners.remove(stream);
        state.cache.forget(stream);
        gauge(&state.cache);
    }

    /// Drops what has left the window of a stream.
    pub(crate) fn trim(&self, view: &StreamView) {
        let mut state = self.state();
        state.cache.retain(|name| {
            name.stream != view.stream || view.media.elsewhere(name.epoch, &name.rendition, name.slot).is_some()
        });
        gauge(&state.cache);
    }

    /// The bytes of an object that an admitted seal names and that is elsewhere; `None` when no owner has them in time.
    pub(crate) async fn get(&self, name: ObjectName, absent: Absent, view: &StreamView) -> Option<Bytes> {
        let fetching = {
            let mut state = self.state();
            if let Some(bytes) = state.cache.get(&name, absent.digest) {
                return Some(bytes);
            }
            let key = (name, absent.digest);
            match state.under_way.get(&key) {
                // One that has ended without removing itself has panicked.
                Some(fetching) if fetching.peek().is_none() => fetching.clone(),
                _ if state.under_way.len() >= UNDER_WAY_MAX => return None,
                _ => {
                    let (fetcher, name, pieces) = (self.clone(), key.0.clone(), state.pieces(&key.0, &view.media));
                    // A task of its own, because whoever asked first may hang up.
                    let task = tokio::spawn(async move { fetcher.fetch(name, absent, pieces).await });
                    let fetching = task.map(|ended| ended.ok().flatten()).boxed().shared();
                    state.under_way.insert(key, fetching.clone());
                    fetching
                }
            }
        };
        fetching.await
    }

    async fn fetch(&self, name: ObjectName, absent: Absent, pieces: Option<Vec<Bytes>>) -> Option<Bytes> {
        let joined = match pieces {
            Some(pieces) => joined(pieces, absent.digest).await,
            None => None,
        };
        // A part that was cut out of a segment is a slice: in the cache, it would keep the whole segment.
        let is_cut = joined.is_some() && matches!(name.slot, Slot::Part { .. });
        let found = match joined {
            Some(bytes) if is_cut => Some(bytes),
            Some(bytes) => Some(self.0.ledger.hold(bytes)),
            None => self.pull(&name, &absent).await.map(|bytes| self.0.ledger.hold(bytes)),
        };
        let mut state = self.state();
        state.under_way.remove(&(name.clone(), absent.digest));
        if let Some(bytes) = found.as_ref().filter(|_| !is_cut) {
            state.cache.insert(name, absent.digest, bytes.clone());
            gauge(&state.cache);
        }
        found
    }

    /// Whether somebody still waits for a fetch.
    fn is_wanted(&self, name: &ObjectName, absent: &Absent) -> bool {
        self.state().under_way.get(&(name.clone(), absent.digest)).is_some_and(is_waited_for)
    }

    /// Asks the owners, round after round, for [`FETCH_MAX`] at most, the wait for a turn included. When its turn comes and everybody who
    /// waited has left, nobody is asked.
    async fn pull(&self, name: &ObjectName, absent: &Absent) -> Option<Bytes> {
        let rounds = async {
            let _turn = self.0.turns.acquire().await.ok()?;
            while self.is_wanted(name, absent) {
                if let Some(bytes) = self.round(name, absent).await {
                    return Some(bytes);
                }
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            None
        };
        let found = tokio::time::timeout(FETCH_MAX, rounds).await.ok().flatten();
        let outcome = if found.is_some() { "fetched" } else { "missed" };
        metrics::counter!("broadcast_edge_objects_total", "outcome" => outcome).increment(1);
        found
    }

    /// Asks each owner once: the next one when an owner has failed, or in addition when it takes [`HEDGE_AFTER`].
    async fn round(&self, name: &ObjectName, absent: &Absent) -> Option<Bytes> {
        let owners = {
            let state = self.state();
            let owners = state.owners.get(&name.stream)?;
            state.sources.ranked(owners, self.0.clock.elapsed())
        };
        let mut owners = owners.into_iter();
        let mut newest = owners.next()?;
        let mut asked = FuturesUnordered::new();
        asked.push(self.ask(newest.clone(), name, absent));
        // Owners that took so long that another was asked: one that is overtaken is asked last for a while.
        let mut late: Vec<NodeId> = Vec::new();
        loop {
            let next = tokio::select! {
                answer = asked.next() => match answer {
                    Some((owner, Some(bytes))) => {
                        self.overtaken(late.iter().filter(|other| **other != owner));
                        return Some(bytes);
                    }
                    Some((owner, None)) => {
                        late.retain(|other| *other != owner);
                        owners.next()
                    }
                    None => return None,
                },
                () = tokio::time::sleep(HEDGE_AFTER), if owners.len() > 0 => {
                    late.push(newest.clone());
                    owners.next()
                }
            };
            match next {
                Some(owner) => {
                    newest = owner.clone();
                    asked.push(self.ask(owner, name, absent));
                }
                None if asked.is_empty() => return None,
                None => {}
            }
        }
    }

    fn overtaken<'a>(&self, late: impl Iterator<Item = &'a NodeId>) {
        let (now, mut state) = (self.0.clock.elapsed(), self.state());
        late.for_each(|owner| state.sources.failed(owner, now));
    }

    /// Asks an owner. Returns it, with its bytes if they have the sealed digest.
    async fn ask(&self, owner: NodeId, name: &ObjectName, absent: &Absent) -> (NodeId, Option<Bytes>) {
        let asked_at = self.0.clock.elapsed();
        metrics::counter!("broadcast_edge_pulls_total").increment(1);
        self.0.pulls.fetch_add(1, Ordering::Relaxed);
        let pulled = self.0.peers.object(&owner, name, absent.length).await;
        let now = self.0.clock.elapsed();
        let why = match pulled {
            Pulled::Object { digest, bytes } if digest == absent.digest => {
                self.state().sources.answered(&owner, now.saturating_sub(asked_at));
                return (owner, Some(bytes));
            }
            Pulled::Object { .. } => Some((AlertReason::Digest, "answered with other bytes".to_owned())),
            Pulled::Failed(why) => why,
            Pulled::Log(_) => None,
        };
        self.state().sources.failed(&owner, now);
        if let Some((reason, why)) = why {
            let detail = format!("{name}: owner {owner}: {why}");
            let refused = Refused { reason, stream: Some(name.stream.clone()), detail };
            // The gate counts and reports it; it is gone only when the node stops.
            let _ = self.0.gate.send(Input::Damaged(refused)).await;
        }
        (owner, None)
    }
}

/// Joins pieces, if together they have the sealed digest. Hashes off the async threads.
async fn joined(mut pieces: Vec<Bytes>, digest: Digest) -> Option<Bytes> {
    let joined = tokio::task::spawn_blocking(move || {
        let bytes = if pieces.len() == 1 { pieces.pop() } else { Some(pieces.concat().into()) };
        bytes.filter(|bytes| Digest(Sha256::digest(bytes).into()) == digest)
    });
    joined.await.ok().flatten()
}

impl State {
    /// Pieces in the cache that an object can be made of: the parts of a segment, or a slice of a part's segment.
    fn pieces(&self, name: &ObjectName, media: &Media) -> Option<Vec<Bytes>> {
        match name.slot {
            Slot::Segment { .. } => self.parts_of(name, media),
            Slot::Part { .. } => self.cut_out(name, media).map(|part| vec![part]),
            Slot::Init | Slot::Image { .. } => None,
        }
    }

    /// The parts of a segment, if the cache has all of them.
    fn parts_of(&self, name: &ObjectName, media: &Media) -> Option<Vec<Bytes>> {
        let parts = media.parts_elsewhere(name)?;
        let name_of = |part: &Absent| ObjectName { slot: part.slot, ..name.clone() };
        parts.iter().map(|part| self.cache.get(&name_of(part), part.digest)).collect()
    }

    /// A part, cut out of its segment, if the cache has that.
    fn cut_out(&self, name: &ObjectName, media: &Media) -> Option<Bytes> {
        let Slot::Part { msn, .. } = name.slot else { return None };
        let of = ObjectName { slot: Slot::Segment { msn }, ..name.clone() };
        let whole = self.cache.get(&of, media.elsewhere(of.epoch, &of.rendition, of.slot)?.digest)?;
        let parts = media.parts_elsewhere(name)?;
        let before = parts.iter().take_while(|part| part.slot != name.slot).map(|part| part.length).sum::<u64>();
        let length = parts.iter().find(|part| part.slot == name.slot)?.length;
        let start = usize::try_from(before).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= whole.len())?;
        Some(whole.slice(start..end))
    }
}

/// Whether anybody has a clone of a fetch, besides the map.
fn is_waited_for(fetching: &Fetching) -> bool {
    fetching.strong_count().is_some_and(|clones| clones > 1)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; exact to 2^53 bytes")]
fn gauge(cache: &Cache) {
    metrics::gauge!("broadcast_edge_cache_bytes").set(cache.bytes() as f64);
}
