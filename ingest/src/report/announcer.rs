//! Announces a stream on the bus: its session and its owners, whenever one of them changes and every few seconds besides.
//!
//! Owns the retained session message and the alert of a degraded stream. Media waits for none of it.

use std::sync::Arc;
use std::time::Duration;

use bus::Message;
use cluster::replicas::Placed;
use media::StreamId;
use messages::{Alert, AlertReason, SessionInfo, Topic};
use node::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a message may wait while no broker is there. The bus remembers the newest retained one.
const SAY_WAIT: Duration = Duration::from_millis(100);
/// How often an unchanged session is announced again. Nobody signs it, and a node believes the last one.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last message may take.
const FINISH_WAIT: Duration = Duration::from_millis(500);

/// Announces one stream. Ends with [`Announcer::finish`].
pub(crate) struct Announcer {
    session: watch::Sender<Option<SessionInfo>>,
    task: JoinHandle<()>,
}

impl Announcer {
    pub(crate) fn start(context: Context, placed: watch::Receiver<Placed>) -> Self {
        let session = watch::Sender::new(None);
        let task = tokio::spawn(run(context, session.subscribe(), placed));
        Self { session, task }
    }

    /// Announces this session from now on, with its owners filled in.
    pub(crate) fn say(&self, session: SessionInfo) {
        self.session.send_replace(Some(session));
    }

    /// Announces nothing from now on.
    pub(crate) fn fall_silent(&self) {
        self.session.send_replace(None);
    }

    /// Waits until the newest session is announced, for [`FINISH_WAIT`] at most.
    pub(crate) async fn finish(self) {
        drop(self.session);
        // If no broker is there, the bus sends the message when one connects.
        let _ = tokio::time::timeout(FINISH_WAIT, self.task).await;
    }
}

async fn run(context: Context, mut session: watch::Receiver<Option<SessionInfo>>, mut placed: watch::Receiver<Placed>) {
    let mut was_degraded = false;
    loop {
        let now = placed.borrow_and_update().clone();
        let is_over = session.has_changed().is_err();
        let said = session.borrow_and_update().clone();
        // An empty list of owners would name every node.
        if let Some(info) = said.filter(|_| !now.receivers.is_empty()) {
            let stream = info.stream.clone();
            let info = SessionInfo {
                owners: now.receivers.clone(),
                replicas: u16::try_from(now.wanted).unwrap_or(u16::MAX),
                ..info
            };
            say(&context, Topic::Session(stream.clone()), serde_json::to_vec(&info), true).await;
            if now.is_degraded && !was_degraded {
                let detail = format!("stream {stream}: {} of {} nodes hold it", now.holding, now.wanted);
                tracing::warn!(%stream, holding = now.holding, wanted = now.wanted, "too few nodes hold the stream");
                alert(&context, &stream, AlertReason::UnderReplicated, detail).await;
            }
            was_degraded = now.is_degraded;
        }
        if is_over {
            return;
        }
        tokio::select! {
            // An error means the end, which the loop sees above after it has announced the newest.
            _ = session.changed() => {}
            () = tokio::time::sleep(REPEAT_INTERVAL) => {}
            changed = placed.changed() => if changed.is_err() { _ = session.changed().await },
        }
    }
}

/// Sends an alert about a stream on the topic `alerts`.
pub(crate) async fn alert(context: &Context, stream: &StreamId, reason: AlertReason, detail: String) {
    let (at, node) = (context.clock.wall(), context.id.clone());
    let alert = Alert { at, node, stream: Some(stream.clone()), reason, detail, count: 1 };
    say(context, Topic::Alerts, serde_json::to_vec(&alert), false).await;
}

/// Best effort: the bus remembers the newest retained message, and sends it when a broker connects.
async fn say(context: &Context, topic: Topic, payload: serde_json::Result<Vec<u8>>, retain: bool) {
    let Ok(payload) = payload else { return };
    let message = Message { topic: context.prefix.name(&topic), payload: payload.into(), retain };
    let bus = Arc::clone(&context.bus);
    let sent = tokio::time::timeout(SAY_WAIT, bus.publish(message)).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!(%topic, "message waits for the bus");
    }
}
