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
use crate::gate::{Absent, Input, Media, Pulled, Refused, StreamView};
use crate::peers::Peers;

/// Pulls at once; the others wait for their turn, the first who asked first.
const PULLS_MAX: usize = 128;
/// Objects that are being fetched, those that wait for their turn included: the windows of some streams.
const UNDER_WAY_MAX: usize = 8 * 1024;
/// How long an object is tried for, as a whole: longer than an owner that has just got the seal takes to get the bytes.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// How long an owner may take before another is asked besides: a part crosses a continent in less.
const HEDGE_AFTER: Duration = Duration::from_millis(600);
/// Pause after all owners were asked in vain.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Many wait for one outcome.
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
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    under_way: HashMap<ObjectName, Fetching>,
    sources: Sources,
    /// Who owns which stream.
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
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `/status` shows: pulls since the node started, and the bytes that are kept of them.
    pub(crate) fn status(&self) -> serde_json::Value {
        let (pulls, bytes) = (self.0.pulls.load(Ordering::Relaxed), self.state().cache.bytes());
        serde_json::json!({ "pulls": pulls, "cache_bytes": bytes })
    }

    /// Who owns a stream from now on.
    pub(crate) fn owned_by(&self, stream: &StreamId, owners: Vec<NodeId>) {
        self.state().owners.insert(stream.clone(), owners);
    }

    /// The stream is not followed any more.
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
            if let Some(bytes) = state.find(&name, &absent, &view.media) {
                return Some(bytes);
            }
            match state.under_way.get(&name) {
                Some(fetching) if fetching.peek().is_none() => fetching.clone(),
                _ if state.under_way.len() >= UNDER_WAY_MAX => return None,
                _ => {
                    let (fetcher, name) = (self.clone(), name.clone());
                    // A task of its own: whoever asked first may hang up.
                    let task = tokio::spawn({
                        let name = name.clone();
                        async move { fetcher.fetch(name, absent).await }
                    });
                    let fetching = task.map(|ended| ended.ok().flatten()).boxed().shared();
                    state.under_way.insert(name, fetching.clone());
                    fetching
                }
            }
        };
        fetching.await
    }

    async fn fetch(&self, name: ObjectName, absent: Absent) -> Option<Bytes> {
        let _turn = self.0.turns.acquire().await.ok()?;
        let found = tokio::time::timeout(FETCH_MAX, self.rounds(&name, &absent)).await.ok();
        let outcome = if found.is_some() { "fetched" } else { "missed" };
        metrics::counter!("broadcast_edge_objects_total", "outcome" => outcome).increment(1);
        let mut state = self.state();
        state.under_way.remove(&name);
        if let Some(bytes) = &found {
            state.cache.insert(name, absent.digest, bytes.clone());
            gauge(&state.cache);
        }
        found
    }

    /// Asks the owners, round after round.
    async fn rounds(&self, name: &ObjectName, absent: &Absent) -> Bytes {
        loop {
            if let Some(bytes) = self.round(name, absent).await {
                return bytes;
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// Asks each owner once: the next when one has failed, or besides when it takes long.
    async fn round(&self, name: &ObjectName, absent: &Absent) -> Option<Bytes> {
        let owners = {
            let state = self.state();
            let owners = state.owners.get(&name.stream)?;
            state.sources.ranked(owners, self.0.clock.elapsed())
        };
        let mut owners = owners.into_iter();
        let mut asked = FuturesUnordered::new();
        asked.push(self.ask(owners.next()?, name, absent));
        loop {
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Some(bytes)) => return Some(bytes),
                    Some(None) => match owners.next() {
                        Some(owner) => asked.push(self.ask(owner, name, absent)),
                        None if asked.is_empty() => return None,
                        None => {}
                    },
                    None => return None,
                },
                () = tokio::time::sleep(HEDGE_AFTER), if owners.len() > 0 => {
                    if let Some(owner) = owners.next() {
                        asked.push(self.ask(owner, name, absent));
                    }
                }
            }
        }
    }

    async fn ask(&self, owner: NodeId, name: &ObjectName, absent: &Absent) -> Option<Bytes> {
        let asked_at = self.0.clock.elapsed();
        metrics::counter!("broadcast_edge_pulls_total").increment(1);
        self.0.pulls.fetch_add(1, Ordering::Relaxed);
        let pulled = self.0.peers.object(&owner, name, absent.length).await;
        let now = self.0.clock.elapsed();
        let why = match pulled {
            Pulled::Object { digest, bytes } if digest == absent.digest => {
                self.state().sources.answered(&owner, now.saturating_sub(asked_at));
                return Some(bytes);
            }
            Pulled::Object { .. } => Some((AlertReason::Digest, "answered with other bytes".to_owned())),
            Pulled::Failed(why) => why,
            Pulled::Log(_) => None,
        };
        self.state().sources.failed(&owner, now);
        if let Some((reason, why)) = why {
            let detail = format!("{name}: owner {owner}: {why}");
            // The gate counts it and has it said; it is gone only when the node stops.
            let _ =
                self.0.gate.send(Input::Damaged(Refused { reason, stream: Some(name.stream.clone()), detail })).await;
        }
        None
    }
}

impl State {
    /// What is here already, as a whole or in pieces.
    fn find(&mut self, name: &ObjectName, absent: &Absent, media: &Media) -> Option<Bytes> {
        if let Some(bytes) = self.cache.get(name, absent.digest) {
            return Some(bytes);
        }
        let bytes = match name.slot {
            Slot::Segment { .. } => self.put_together(name, media),
            Slot::Part { .. } => self.cut_out(name, media),
            Slot::Init | Slot::Image { .. } => None,
        }?;
        // A segment is its parts, by the seals; checked all the same, for it is one object in every cache.
        if Digest(Sha256::digest(&bytes).into()) != absent.digest {
            return None;
        }
        self.cache.insert(name.clone(), absent.digest, bytes.clone());
        Some(bytes)
    }

    /// A segment all of whose parts are here.
    fn put_together(&self, name: &ObjectName, media: &Media) -> Option<Bytes> {
        let parts = media.parts_elsewhere(name)?;
        let pieces: Option<Vec<Bytes>> =
            parts.iter().map(|part| self.cache.get(&part_name(name, part), part.digest)).collect();
        Some(pieces?.concat().into())
    }

    /// A part of a segment that is here.
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

fn part_name(name: &ObjectName, part: &Absent) -> ObjectName {
    ObjectName { slot: part.slot, ..name.clone() }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge; exact to 2^53 bytes")]
fn gauge(cache: &Cache) {
    metrics::gauge!("broadcast_edge_cache_bytes").set(cache.bytes() as f64);
}
