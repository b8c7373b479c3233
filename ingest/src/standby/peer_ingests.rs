//! Follows what other ingests do with a stream, on the bus and at the broadcast nodes: the shell around [`Turn`].
//!
//! While another ingest is at work, this one asks the nodes how far its log has come. It does not ask the bus: an ingest that reaches
//! the bus and no node serves nobody.

use std::sync::Arc;
use std::time::Duration;

use bus::Subscription;
use media::{Epoch, NodeId, StreamId};
use messages::{SessionInfo, Topic};
use node::CancellationToken;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::DropGuard;

use super::turn::{Duty, Turn};
use crate::authority::Authority;
use crate::log::heads::Heads;
use crate::log::position::LogPosition;
use crate::nodes::Nodes;
use crate::push::LogPlace;

/// How often this ingest checks whether the other one is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often nodes are asked how far the log has come.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// Most nodes that are asked at a time.
const ASKED_MAX: usize = 4;

/// What it takes to follow the other ingests.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) context: node::Context,
    pub(crate) nodes: Nodes,
    pub(crate) heads: Heads,
    pub(crate) authority: Arc<Authority>,
}

/// This ingest's duty at one stream. Dropping it ends the task that follows the others.
pub(crate) struct PeerIngests {
    duty: watch::Receiver<Duty>,
    ours: watch::Sender<Option<Epoch>>,
    superseded: Arc<Notify>,
    _stop: DropGuard,
}

impl PeerIngests {
    /// `conflict` is the newest of our seals that a node refused.
    pub(crate) fn start(peers: Peers, stream: StreamId, conflict: watch::Receiver<Option<LogPlace>>) -> Self {
        let (duty, ours) = (watch::Sender::new(Duty::Active), watch::Sender::new(None));
        let superseded = Arc::<Notify>::default();
        let stop = CancellationToken::new();
        let watching = Watching {
            turn: Turn::new(peers.context.id.clone()),
            peers,
            stream,
            owners: Vec::new(),
            asked: JoinSet::new(),
            asked_at: None,
            duty: duty.clone(),
        };
        let task = watching.run(conflict, ours.subscribe(), Arc::clone(&superseded));
        let stopping = stop.clone();
        tokio::spawn(async move { stopping.run_until_cancelled(task).await });
        Self { duty: duty.subscribe(), ours, superseded, _stop: stop.drop_guard() }
    }

    /// What to do with the media that comes in.
    pub(crate) fn duty(&self) -> Duty {
        *self.duty.borrow()
    }

    /// The duty and its changes, for `/status` and reports.
    pub(crate) fn watch(&self) -> watch::Receiver<Duty> {
        self.duty.clone()
    }

    /// Resolves when the duty has changed.
    pub(crate) async fn changed(&mut self) {
        if self.duty.changed().await.is_err() {
            // The task has ended with the bus; the last duty stands.
            std::future::pending::<()>().await;
        }
    }

    /// We have opened an epoch.
    pub(crate) fn opened(&self, epoch: Epoch) {
        self.ours.send_replace(Some(epoch));
    }

    /// The nodes have a newer epoch of another ingest, of which we may not have heard.
    pub(crate) fn superseded(&self) {
        self.superseded.notify_one();
    }
}

struct Watching {
    peers: Peers,
    stream: StreamId,
    turn: Turn,
    /// Owners of the newest session that was heard of.
    owners: Vec<NodeId>,
    asked: JoinSet<Option<LogPosition>>,
    asked_at: Option<Duration>,
    duty: watch::Sender<Duty>,
}

impl Watching {
    async fn run(
        mut self,
        mut conflict: watch::Receiver<Option<LogPlace>>,
        mut ours: watch::Receiver<Option<Epoch>>,
        superseded: Arc<Notify>,
    ) {
        let context = &self.peers.context;
        let (clock, topic) = (context.clock, context.prefix.name(&Topic::Session(self.stream.clone())));
        let mut sessions: Subscription = match context.bus.subscribe(&topic).await {
            Ok(sessions) => sessions,
            Err(error) => {
                tracing::error!(stream = %self.stream, %error, "other ingests are not heard of");
                return;
            }
        };
        let mut grants = self.peers.authority.grants();
        self.turn.keyed(grants.borrow_and_update().map(|granted| granted.key), clock.elapsed());
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = sessions.recv() => match message {
                    Some(message) => self.hear(&message.payload, clock.elapsed()),
                    None => return,
                },
                Some(answer) = self.asked.join_next() => {
                    if let Ok(Some(position)) = answer {
                        self.turn.advanced(position.place(), position.has_media, clock.elapsed());
                    }
                }
                changed = conflict.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let refused = conflict.borrow_and_update().map(|(epoch, _)| epoch);
                    if refused.is_some() && refused == *ours.borrow() {
                        self.turn.superseded(clock.elapsed());
                    }
                }
                () = superseded.notified() => self.turn.superseded(clock.elapsed()),
                changed = ours.changed() => match changed {
                    Ok(()) => self.turn.opened(ours.borrow_and_update().unwrap_or_default()),
                    Err(_) => return,
                },
                Ok(()) = grants.changed() => {
                    let key = grants.borrow_and_update().map(|granted| granted.key);
                    self.turn.keyed(key, clock.elapsed());
                }
                _ = ticks.tick() => {}
            }
            self.decide(clock.elapsed());
        }
    }

    fn hear(&mut self, payload: &[u8], now: Duration) {
        // The broker's rules let only ingests write here, and the message decides no more than which ingest begins.
        let Ok(session) = serde_json::from_slice::<SessionInfo>(payload) else { return };
        if session.stream == self.stream {
            let process = self.peers.nodes.ingest_started_at(&session.ingest);
            self.turn.heard(&session, process, now);
            self.owners = session.owners;
        }
    }

    fn decide(&mut self, now: Duration) {
        let nodes = &self.peers.nodes;
        self.turn.decide(|ingest| nodes.ingest_started_at(ingest), now);
        let duty = self.turn.duty();
        let is_new = |before: &mut Duty| std::mem::replace(before, duty) != duty;
        if self.duty.send_if_modified(is_new) {
            tracing::info!(stream = %self.stream, ?duty, "turn of this ingest");
        }
        let is_due = self.asked_at.is_none_or(|asked_at| now.saturating_sub(asked_at) >= ASK_INTERVAL);
        if self.turn.is_watching() && is_due {
            self.asked_at = Some(now);
            self.ask();
        }
    }

    /// Asks nodes how far the log has come; one that does not answer delays no other.
    fn ask(&mut self) {
        if self.asked.len() >= ASKED_MAX * 2 {
            return;
        }
        for plane in self.peers.nodes.some(&self.owners, ASKED_MAX) {
            let (Peers { heads, authority, .. }, stream) = (self.peers.clone(), self.stream.clone());
            self.asked.spawn(async move { heads.admitted_by(plane, &stream, &authority).await });
        }
    }
}
