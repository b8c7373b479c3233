//! One request to a node for what many viewers want at the same moment: collapsed requests (RFC 9111, 4), and answers that are kept for
//! a fraction of a second.
//!
//! [`Question`] says which requests these are; `answers` counts who waits and bounds everything. A fetch is a subrequest of Pingora's, so
//! it passes through the proxy's filters like the request of a viewer ([`fetch`]). [`crate::proxy`] decides which node a viewer asks, and
//! delivers. Answers belong to a node: a viewer gets the playlists of the node that its media come from, and no playlist that is older
//! than the last one.

mod answers;
pub(crate) mod fetch;
mod question;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AGE;
use media::NodeId;
use node::clock::Clock;
use pingora::http::ResponseHeader;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use answers::{Answers, FetchId, Landing, Limits, Reply};
use fetch::{Answer, Fetched};
use question::Audience;
pub(crate) use question::{Question, is_playlist};

use crate::members::Among;

/// Playlists that are fetched or kept at once: four playlists of fifty streams, each from five nodes.
const ENTRIES_MAX: usize = 1_024;
/// Longest answer that is shared, in bytes: a window has some kilobytes, two hours of DVR 200 KB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the answers that are kept.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Viewers' requests that wait at once: twice as many as a node lets wait.
const WAITING_MAX: usize = 128 * 1024;
/// How long viewers ask by themselves for what proved to be for one viewer.
const UNSHARED: Duration = Duration::from_secs(1);

/// What is asked, and of which node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) node: NodeId,
    pub(crate) question: Question,
}

/// The answers that viewers share. No lock is held across an await.
pub(crate) struct Sharing {
    table: Mutex<Answers<Key, Arc<Fetch>, Arc<Answer>>>,
    clock: Clock,
    kept: metrics::Counter,
    awaited: metrics::Counter,
    waiting: metrics::Gauge,
}

/// A request to a node, and those who wait for it.
pub(crate) struct Fetch {
    id: FetchId,
    key: Key,
    began: Duration,
    outcome: watch::Sender<Option<Outcome>>,
    /// Nobody waits any more.
    abandoned: CancellationToken,
}

/// What a viewer is told.
pub(crate) enum Asked {
    /// The answer is there.
    Kept(Arc<Answer>),
    /// Another viewer asked before.
    Waits(Waiting),
    /// This one is the first, and has to begin the fetch.
    Begins(Waiting, Underway),
    /// Nothing is shared.
    Alone,
}

/// What a fetch brought.
#[derive(Clone)]
pub(crate) enum Outcome {
    Answer(Arc<Answer>),
    /// Each viewer has to ask by itself.
    Alone,
    /// The node failed in the middle of its answer: ask again.
    Broken,
}

/// A viewer who waits for a fetch. The last one that is dropped before the end takes the request back from the node.
pub(crate) struct Waiting {
    sharing: Arc<Sharing>,
    fetch: Arc<Fetch>,
    outcome: watch::Receiver<Option<Outcome>>,
    is_over: bool,
}

impl Sharing {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        let limits = Limits { entries: ENTRIES_MAX, bytes: KEPT_BYTES_MAX, waiting: WAITING_MAX };
        let shared = |how: &'static str| metrics::counter!("loadbalancer_shared_answers_total", "how" => how);
        Arc::new(Self {
            table: Mutex::new(Answers::new(limits)),
            clock,
            kept: shared("kept"),
            awaited: shared("awaited"),
            waiting: metrics::gauge!("loadbalancer_waiting"),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Answers<Key, Arc<Fetch>, Arc<Answer>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A viewer asks.
    pub(crate) fn ask(self: &Arc<Self>, key: &Key) -> Asked {
        let began = self.clock.elapsed();
        let new = |id| {
            let (outcome, abandoned) = (watch::Sender::new(None), CancellationToken::new());
            Arc::new(Fetch { id, key: key.clone(), began, outcome, abandoned })
        };
        let (reply, waiting) = {
            let mut table = self.lock();
            (table.ask(key, began, new), table.waiting())
        };
        match reply {
            Reply::Kept(answer) => {
                self.kept.increment(1);
                Asked::Kept(answer)
            }
            Reply::Wait(fetch) => {
                self.show(waiting);
                Asked::Waits(self.waits(fetch))
            }
            Reply::Fetch(fetch) => {
                self.show(waiting);
                let underway = Underway { sharing: Arc::clone(self), fetch: Arc::clone(&fetch), has_landed: false };
                Asked::Begins(self.waits(fetch), underway)
            }
            Reply::Alone => Asked::Alone,
        }
    }

    fn waits(self: &Arc<Self>, fetch: Arc<Fetch>) -> Waiting {
        let outcome = fetch.outcome.subscribe();
        Waiting { sharing: Arc::clone(self), fetch, outcome, is_over: false }
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 128 Ki")]
    fn show(&self, waiting: usize) {
        self.waiting.set(waiting as f64);
    }

    /// Viewers' requests that wait for an answer that they share.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// An answer that is there, with its head as it is now.
    pub(crate) fn kept(&self, key: &Key) -> Option<(Box<ResponseHeader>, Bytes)> {
        let now = self.clock.elapsed();
        let answer = self.lock().kept(key, now)?;
        // A viewer whose answer comes from another node than its own moves there, which is the proxy's business.
        answer.source.as_ref().filter(|source| source.among == Among::All && source.node == key.node)?;
        self.kept.increment(1);
        Some((self.head(&answer), answer.body.clone()))
    }

    /// The head of an answer, with its age.
    pub(crate) fn head(&self, answer: &Answer) -> Box<ResponseHeader> {
        let mut head = Box::new(answer.head.clone());
        let age_s = self.clock.elapsed().saturating_sub(answer.came).as_secs();
        if age_s > 0 {
            // RFC 9111, 5.1: players count it in. It cannot fail, a number is a valid value.
            let _ = head.insert_header(AGE, age_s);
        }
        head
    }
}

impl Waiting {
    /// What the fetch brought; may be dropped and called again.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        let outcome = match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        self.is_over = true;
        self.sharing.awaited.increment(1);
        outcome.unwrap_or(Outcome::Broken)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (is_last, waiting) = {
            let mut table = self.sharing.lock();
            (table.leave(&self.fetch.key, self.fetch.id), table.waiting())
        };
        self.sharing.show(waiting);
        if is_last {
            self.fetch.abandoned.cancel();
        }
    }
}

/// A fetch that is under way. However it ends, even before it began, those who wait hear of it.
pub(crate) struct Underway {
    sharing: Arc<Sharing>,
    fetch: Arc<Fetch>,
    has_landed: bool,
}

impl Underway {
    /// Runs it until it has ended, or nobody waits any more.
    pub(crate) fn begin(self, request: fetch::Request) {
        tokio::spawn(async move {
            let abandoned = self.fetch.abandoned.clone();
            tokio::select! {
                () = abandoned.cancelled() => {}
                () = request.run(|fetched| self.landed(fetched)) => {}
            }
        });
    }

    fn landed(mut self, fetched: Fetched) {
        let now = self.sharing.clock.elapsed();
        let (outcome, landing) = match fetched {
            Fetched::Whole(found) => self.shared(*found, now),
            Fetched::TooLong => (Outcome::Alone, Landing::Unshared { until: now + UNSHARED }),
            Fetched::Broken => (Outcome::Broken, Landing::Forget),
        };
        self.tell(outcome, landing, now);
    }

    fn shared(&self, answer: Answer, now: Duration) -> (Outcome, Landing<Arc<Answer>>) {
        let audience = Audience::of(&answer.head);
        let answer = Arc::new(Answer { came: now, ..answer });
        match audience {
            Audience::Everybody(max_age) => {
                let until = self.fetch.key.question.kept_until((self.fetch.began, now), max_age);
                let bytes = answer.body.len();
                (Outcome::Answer(Arc::clone(&answer)), Landing::Keep { answer, bytes, until })
            }
            Audience::Waiting => (Outcome::Answer(answer), Landing::Forget),
            Audience::One => (Outcome::Alone, Landing::Unshared { until: now + UNSHARED }),
        }
    }

    fn tell(&mut self, outcome: Outcome, landing: Landing<Arc<Answer>>, now: Duration) {
        self.has_landed = true;
        let waiting = {
            let mut table = self.sharing.lock();
            table.land(&self.fetch.key, self.fetch.id, landing, now);
            table.waiting()
        };
        self.sharing.show(waiting);
        self.fetch.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.has_landed {
            let now = self.sharing.clock.elapsed();
            self.tell(Outcome::Broken, Landing::Forget, now);
        }
    }
}
