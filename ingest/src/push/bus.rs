//! Publishes seals on the bus in log order, and the newest ones again after a broker connects.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Message};
use messages::{Prefix, Topic};
use node::CancellationToken;

use super::StreamPush;

/// Seals that are published again when a broker connects: it may have missed them, or lost them with its memory. Receivers drop
/// duplicates.
const REPEAT_ENTRIES: u64 = 64;
/// Wait between a failed publish and the next attempt with the same seal.
const RETRY_WAIT: Duration = Duration::from_millis(200);

pub(super) async fn run(shared: Arc<StreamPush>, bus: Arc<dyn Bus>, prefix: Prefix, shutdown: CancellationToken) {
    let seals = prefix.name(&Topic::Seals(shared.stream.clone()));
    let head = prefix.name(&Topic::Head(shared.stream.clone()));
    let mut end = shared.end.subscribe();
    let mut connected = bus.connected();
    let mut brokers = *connected.borrow_and_update();
    let mut cursor = 0;
    loop {
        if shutdown.is_cancelled() {
            return;
        }
        let now = *connected.borrow_and_update();
        if now > brokers {
            cursor = cursor.min(shared.with_ring(|ring| ring.end()).saturating_sub(REPEAT_ENTRIES));
        }
        brokers = now;
        let Some(found) = shared.with_ring(|ring| ring.at(cursor)) else {
            tokio::select! {
                changed = end.changed() => if changed.is_err() { return },
                changed = connected.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            continue;
        };
        if found.missed > 0 {
            metrics::counter!("ingest_seals_unpublished_total").increment(found.missed);
        }
        let newest = found.index.saturating_add(1) == shared.with_ring(|ring| ring.end());
        let payload = found.entry.seal.clone();
        let send = async {
            bus.publish(Message { topic: seals.clone(), payload: payload.clone(), retain: false }).await?;
            if newest {
                bus.publish(Message { topic: head.clone(), payload, retain: true }).await?;
            }
            Ok::<_, bus::BusError>(())
        };
        let sent = tokio::select! {
            sent = send => sent,
            () = shutdown.cancelled() => return,
        };
        match sent {
            Ok(()) => {
                cursor = found.index.saturating_add(1);
                shared.published.send_replace(cursor);
            }
            Err(error) => {
                tracing::debug!(stream = %shared.stream, %error, "seal waits for the bus");
                tokio::time::sleep(RETRY_WAIT).await;
            }
        }
    }
}
