//! Fetching ahead: while somebody watches a rendition, its newest parts are fetched as soon as their seal is here.

use std::sync::Arc;
use std::time::Duration;

use media::{LogSequence, ObjectName, RenditionId, Slot, StreamId};
use node::CancellationToken;
use node::clock::Clock;

use super::Followed;
use crate::actor::Views;
use crate::edge::Fetcher;
use crate::viewers::NoPlace;
use gate::StreamView;

/// Pause after there was no place to wait: the room is full of viewers.
const CROWDED_PAUSE: Duration = Duration::from_millis(200);

/// Fetches ahead for one stream until `stop`.
pub(crate) async fn run(
    (fetcher, views, clock): (Fetcher, Views, Clock),
    stream: StreamId,
    followed: Arc<Followed>,
    stop: CancellationToken,
) {
    let mut done = LogSequence(0);
    let mut appearances = views.appearances();
    loop {
        let mut place = match views.wait(&stream, None, clock) {
            Ok(place) => place,
            Err(why) => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    // An error means that the node stops.
                    appeared = appearances.changed() => if appeared.is_err() { return },
                    () = tokio::time::sleep(CROWDED_PAUSE), if why == NoPlace::Taken => {}
                }
                continue;
            }
        };
        if let Some(view) = views.get(&stream) {
            done = ahead(&fetcher, &view, &followed, done, clock);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = place.woken() => {}
        }
    }
}

/// Starts to fetch the new parts of renditions that somebody watches; returns the newest seal that it looked at.
fn ahead(
    fetcher: &Fetcher,
    view: &Arc<StreamView>,
    followed: &Followed,
    done: LogSequence,
    clock: Clock,
) -> LogSequence {
    let Some(newest) = view.newest().map(|newest| newest.body().sequence) else { return done };
    // A viewer who comes late asks for what is older.
    let from = if done == LogSequence(0) { LogSequence(newest.0.saturating_sub(1)) } else { done };
    let now = clock.elapsed();
    let is_watched = |rendition: &RenditionId| followed.is_watched(rendition, now);
    for (epoch, _, absent) in view.media.absent_after(from) {
        if matches!(absent.slot, Slot::Part { .. }) && is_watched(&absent.rendition) {
            let name = ObjectName {
                stream: view.stream.clone(),
                rendition: absent.rendition.clone(),
                epoch,
                slot: absent.slot,
            };
            let (fetcher, view, absent) = (fetcher.clone(), Arc::clone(view), absent.clone());
            // Bounded by the parts of the new rows; a request for one of them waits for the same pull.
            tokio::spawn(async move { fetcher.get(name, absent, &view).await });
        }
    }
    if newest > done {
        fetcher.trim(view);
    }
    newest
}
