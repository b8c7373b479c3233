//! A node that records a stream, and the viewers of its longer playlists.

use std::time::Duration;

use media::LogSequence;
use playlist::{Listing, Past, Segment, SegmentKey, Timeline, render};

use super::client::Playlist;
use super::rules;

/// Length of the recording.
const WINDOW: Duration = Duration::from_secs(120);

/// The recording, and the last text of one rendition's playlist.
#[derive(Default)]
pub(crate) struct Recorder {
    past: Past,
    /// The newest segment that was recorded.
    closed: Option<SegmentKey>,
    seen: Option<(String, Playlist)>,
    seals: u64,
}

impl Recorder {
    /// An epoch opens: seals after `after` are void.
    pub(crate) fn opens(&mut self, timeline: &Timeline, after: LogSequence, was_ended: bool) {
        let Some(newest) = timeline.checkpoint() else { return };
        self.past.void(newest.epoch, after);
        if was_ended {
            self.past.begin_at(timeline.segments().next().map(Segment::key).expect("an epoch opens with a row").msn);
        }
    }

    /// The log went back: viewers start over.
    pub(crate) fn void_after(&mut self, timeline: &Timeline) {
        self.closed = timeline.listed().next_back().map(Segment::key);
        self.seen = None;
    }

    /// Records the newly completed segments, and lets viewers reload.
    pub(crate) fn follow(&mut self, timeline: &Timeline) {
        let newest = timeline.listed().rev().take_while(|segment| Some(segment.key()) > self.closed);
        let closed: Vec<Segment> = newest.map(|segment| segment.kept(|_| true)).collect();
        self.closed = closed.first().map(Segment::key).or(self.closed);
        // The disk is not always fast enough.
        for segment in closed.into_iter().rev().filter(|segment| segment.key().msn.0 % 11 != 5) {
            _ = self.past.insert(segment);
        }
        self.past.trim(WINDOW);
        self.past.join(timeline);
        self.past.check_invariants();
        // These viewers reload only now and then.
        self.seals += 1;
        if self.seals.is_multiple_of(5) || timeline.is_ended() {
            self.reload(timeline);
        }
    }

    fn reload(&mut self, timeline: &Timeline) {
        let listing = Listing::with_past(timeline, &self.past);
        let Some(name) = listing.renditions().into_iter().next() else { return };
        let text = |extent| render::media(listing, name, extent).map(|text| Playlist::parse(&text));
        let (Some(now), Some(delta)) = (text(playlist::reload::Extent::Full), text(playlist::reload::Extent::Delta))
        else {
            return;
        };
        rules::alone(&now);
        if let Some((_, seen)) = self.seen.take().filter(|(seen, _)| seen == name.as_str()) {
            rules::follows(&seen, &now);
            if let Some(merged) = seen.merge(&delta) {
                assert_eq!(Playlist { version: now.version, ..merged }, now, "6.2.5.1");
            }
        }
        if let Some(text) = render::iframes(listing, name, playlist::reload::Extent::Full) {
            rules::i_frames_are_alike(&now, &Playlist::parse(&text));
        }
        self.seen = Some((name.to_string(), now));
    }
}
