//! Interrupted streams: they were live when this node went down, and no node has them now, because all went down together.
//!
//! Their encoders are about to come back. Until then the node has nothing of them, but must not call them absent: many players
//! give up for good at a 404 (hls.js at one of the sound). Owns which streams these are, and for how long; [`crate::follow`]
//! makes requests for them wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use media::{Now, StreamId};
use seal::SealKind;
use tokio::sync::watch;

use gate::SavedHead;

/// A stream that was silent for longer than this when the node started had ended. The node waits as long for the others, from
/// its start: it is the ingests' default grace.
const INTERRUPTED_MAX: Duration = Duration::from_secs(30);

/// The streams. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupted {
    streams: Arc<watch::Sender<BTreeSet<StreamId>>>,
    until: Duration,
}

impl Interrupted {
    /// Streams whose log was open and fresh, by the newest seals that this node had admitted.
    pub(crate) fn of<'a>(heads: impl Iterator<Item = (&'a StreamId, &'a SavedHead)>, now: Now) -> Self {
        let was_going_on = |saved: &SavedHead| {
            let head = &saved.head;
            let at = head.start.map(|start| head.origin.plus(start.as_duration()));
            head.kind == SealKind::Media && at.is_some_and(|at| now.wall.since(at) < INTERRUPTED_MAX)
        };
        let streams = heads.filter(|(_, saved)| was_going_on(saved)).map(|(stream, _)| stream.clone());
        let streams = Arc::new(watch::Sender::new(streams.collect()));
        Self { streams, until: now.elapsed.saturating_add(INTERRUPTED_MAX) }
    }

    pub(crate) fn contains(&self, stream: &StreamId) -> bool {
        self.streams.borrow().contains(stream)
    }

    /// Changes whenever a stream is interrupted no longer.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeSet<StreamId>> {
        self.streams.subscribe()
    }

    /// Takes out the streams that another node has.
    pub(crate) fn are_elsewhere<'a>(&self, streams: impl IntoIterator<Item = &'a StreamId>) {
        self.streams.send_if_modified(|interrupted| {
            let before = interrupted.len();
            streams.into_iter().for_each(|stream| _ = interrupted.remove(stream));
            interrupted.len() < before
        });
    }

    /// Takes all streams out when their time is over.
    pub(crate) fn tick(&self, elapsed: Duration) {
        if elapsed >= self.until {
            self.streams.send_if_modified(|streams| !std::mem::take(streams).is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use media::UnixMillis;
    use seal::Head;

    use super::*;
    use testkit::studio::{Row, Studio, stream};

    const START: UnixMillis = UnixMillis(1_767_225_600_000);

    fn saved(row: &Row) -> SavedHead {
        SavedHead { head: Head::of(&row.sealed), raw: row.sealed.raw().clone(), inits: Vec::new() }
    }

    /// What counts as interrupted when the node starts this long after the newest row of the stream.
    fn after(row: &Row, silence: Duration) -> Interrupted {
        let (name, saved) = (stream("demo"), saved(row));
        let start = saved.head.start.map_or(Duration::ZERO, |start| start.as_duration());
        let now = Now { elapsed: Duration::from_secs(1), wall: START.plus(start).plus(silence) };
        Interrupted::of([(&name, &saved)].into_iter(), now)
    }

    #[test]
    fn stream_that_went_on_until_the_node_went_down_is_interrupted() {
        let row = Studio::new("demo", START).segment(START).pop().unwrap();
        assert!(after(&row, Duration::from_secs(29)).contains(&stream("demo")));
        assert!(!after(&row, Duration::from_secs(30)).contains(&stream("demo")), "its grace was over");
        assert!(!after(&row, Duration::ZERO).contains(&stream("other")));
    }

    #[test]
    fn stream_that_had_ended_is_absent() {
        let mut studio = Studio::new("demo", START);
        studio.segment(START);
        let end = studio.end(START);
        assert!(!after(&end, Duration::ZERO).contains(&stream("demo")));
    }

    #[test]
    fn stream_that_another_node_has_or_whose_grace_is_over_is_interrupted_no_longer() {
        let row = Studio::new("demo", START).row(START);
        let interrupted = after(&row, Duration::ZERO);
        let changes = interrupted.changes();
        interrupted.are_elsewhere([&stream("other")]);
        interrupted.tick(Duration::from_secs(30));
        assert!(interrupted.contains(&stream("demo")) && !changes.has_changed().unwrap());
        interrupted.are_elsewhere([&stream("demo")]);
        assert!(!interrupted.contains(&stream("demo")) && changes.has_changed().unwrap());
        let interrupted = after(&row, Duration::ZERO);
        interrupted.tick(Duration::from_secs(31));
        assert!(!interrupted.contains(&stream("demo")));
    }
}
