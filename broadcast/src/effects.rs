//! Carries out what the gate leaves to the shell: pulls from peers, and alerts.

use std::sync::Arc;

use bus::Message;
use messages::{Alert, Topic};
use node::{CancellationToken, Context};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::actor::Handle;
use crate::alerts::{self, Alerts};
use crate::peers::Peers;
use gate::{Effect, Input, Pulled};

/// Pulls at once, all streams together; the others wait for their turn, within the bounds of the gate's pulls.
const PULLS_MAX: usize = 256;
/// Alerts that wait for a broker; further ones are dropped and stay counted.
const ALERTS_MAX: usize = 256;

/// Starts pulls and publishes alerts.
pub(crate) struct Effects {
    context: Context,
    handle: Handle,
    peers: Peers,
    pulls: Arc<Semaphore>,
}

impl Effects {
    pub(crate) fn new(context: Context, handle: Handle, peers: Peers) -> Self {
        Self { context, handle, peers, pulls: Arc::new(Semaphore::new(PULLS_MAX)) }
    }

    /// Works until `shutdown`; pulls that are under way are cut off then.
    pub(crate) async fn run(self, mut effects: mpsc::Receiver<Effect>, shutdown: CancellationToken) {
        let (alert, waiting) = mpsc::channel(ALERTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(say(self.context.clone(), waiting));
        let mut alerts = Alerts::new(self.context.id.clone());
        let mut ticks = tokio::time::interval(alerts::INTERVAL);
        let clock = self.context.clock;
        loop {
            let effect = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = tasks.join_next() => continue,
                _ = ticks.tick() => {
                    alerts.flush(clock.elapsed(), clock.wall()).into_iter().for_each(|summed| send(&alert, summed));
                    continue;
                }
                effect = effects.recv() => effect,
            };
            match effect {
                None => return,
                Some(Effect::Refused(refused)) => {
                    let label = refused.reason.label();
                    tracing::debug!(node = %self.context.id, reason = label, detail = refused.detail, "refused");
                    if let Some(first) = alerts.add(refused, clock.elapsed(), clock.wall()) {
                        tracing::warn!(node = %first.node, reason = label, detail = first.detail, "refused");
                        send(&alert, first);
                    }
                }
                Some(Effect::PullObject { id, peer, name, length }) => {
                    let peers = self.peers.clone();
                    self.pull(&mut tasks, id, async move { peers.object(&peer, &name, length).await });
                }
                Some(Effect::PullLog { id, peer, stream, from }) => {
                    let peers = self.peers.clone();
                    self.pull(&mut tasks, id, async move { peers.log(&peer, &stream, from).await });
                }
            }
        }
    }

    fn pull(&self, tasks: &mut JoinSet<()>, id: gate::PullId, pull: impl Future<Output = Pulled> + Send + 'static) {
        let (handle, pulls) = (self.handle.clone(), self.pulls.clone());
        tasks.spawn(async move {
            let result = match pulls.acquire().await {
                Ok(_turn) => pull.await,
                Err(_) => Pulled::Failed(None),
            };
            // The gate is gone only when the node stops.
            let _ = handle.send(Input::Pulled { id, result }).await;
        });
    }
}

fn send(alerts: &mpsc::Sender<Alert>, alert: Alert) {
    if alerts.try_send(alert).is_err() {
        metrics::counter!("broadcast_alerts_dropped_total").increment(1);
    }
}

/// Publishes alerts on the bus, one after the other; the bus may be away for a while.
async fn say(context: Context, mut alerts: mpsc::Receiver<Alert>) {
    while let Some(alert) = alerts.recv().await {
        let topic = context.prefix.name(&Topic::Alerts);
        let payload = serde_json::to_vec(&alert).expect("strings and numbers are always JSON").into();
        if let Err(error) = context.bus.publish(Message { topic, payload, retain: false }).await {
            tracing::debug!(%error, "alert was not published");
        }
    }
}
