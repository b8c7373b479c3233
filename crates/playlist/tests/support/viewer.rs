//! Viewers of all renditions of a stream, who check every playlist against the rules.

use std::collections::BTreeMap;

use media::LogSequence;
use playlist::reload::Extent;
use playlist::reload::{Answer, Directives};
use playlist::{Settings, Timeline};
use seal::SealBody;

use super::client::Playlist;
use super::recorder::Recorder;
use super::{delta, full, i_frames, oracle, rules};

/// A stream and its viewers.
pub(crate) struct Stream {
    pub(crate) timeline: Timeline,
    /// The last playlist of each rendition.
    seen: BTreeMap<String, Playlist>,
    /// An older one of each, to which delta updates are applied.
    older: BTreeMap<String, Playlist>,
    /// Requests that were told to wait.
    waiting: Vec<Directives>,
    reloads: u64,
    recorder: Recorder,
}

impl Stream {
    pub(crate) fn new(settings: Settings) -> Self {
        let timeline = Timeline::new(settings);
        let (seen, older, recorder) = Default::default();
        Self { timeline, seen, older, waiting: vec![], reloads: 0, recorder }
    }

    /// Applies a seal, and lets all viewers reload.
    pub(crate) fn apply(&mut self, body: &SealBody) {
        let (after, was_ended) = (self.timeline.head(), self.timeline.is_ended());
        let epoch = self.timeline.checkpoint().map(|newest| newest.epoch);
        self.timeline.apply(body).unwrap_or_else(|error| panic!("seal {}: {error}", body.sequence));
        self.timeline.check_invariants();
        if let Some(after) = after.filter(|_| epoch < Some(body.epoch)) {
            self.recorder.opens(&self.timeline, after, was_ended);
        }
        self.reload();
        self.recorder.follow(&self.timeline);
    }

    /// A new session builds on an older seal: later seals are void, and viewers start over.
    pub(crate) fn void_after(&mut self, sequence: LogSequence) {
        self.timeline.void_after(sequence);
        self.timeline.check_invariants();
        (self.seen, self.older) = Default::default();
        self.waiting.clear();
        self.recorder.void_after(&self.timeline);
    }

    fn reload(&mut self) {
        self.reloads += 1;
        let names = self.timeline.renditions();
        let texts = names.into_iter().filter_map(|name| Some((name.to_string(), full(&self.timeline, name)?)));
        let now: BTreeMap<String, Playlist> = texts.map(|(name, text)| (name, Playlist::parse(&text))).collect();
        assert_eq!(self.timeline.edge().is_some(), !now.is_empty());
        let parsed = |name: &String| {
            let text = i_frames(&self.timeline, &super::rendition(name), Extent::Full)?;
            Some((name.clone(), Playlist::parse(&text)))
        };
        let i_frames: BTreeMap<String, Playlist> = now.keys().filter_map(parsed).collect();
        rules::alike(&now, &i_frames);
        rules::hints(&now);
        for (name, playlist) in &now {
            rules::alone(playlist);
            rules::parts_are_there(playlist);
            if let Some(seen) = self.seen.get(name) {
                rules::follows(seen, playlist);
            }
        }
        // One rendition per reload: they are alike, and a fuzzer gains more from more logs.
        let turn = usize::try_from(self.reloads).unwrap() % now.len().max(1);
        if let Some((name, playlist)) = now.iter().nth(turn) {
            self.delta(name, playlist);
            if let Some(i_frames) = i_frames.get(name) {
                self.i_frames(name, playlist, i_frames);
            }
            self.requests(playlist);
        }
        if self.reloads.is_multiple_of(7) || self.older.is_empty() {
            self.older.clone_from(&now);
        }
        self.seen = now;
    }

    /// Applying a delta update gives exactly the playlist (6.2.5.1, 6.3.7).
    fn delta(&self, name: &str, now: &Playlist) {
        let name_of = super::rendition(name);
        let text = delta(&self.timeline, &name_of).expect("where there is a playlist there is a delta");
        let delta = Playlist::parse(&text);
        if delta.skipped == 0 {
            assert_eq!(delta, *now, "nothing is skipped");
        }
        rules_of_skipping(&delta, now);
        for base in [self.seen.get(name), self.older.get(name)].into_iter().flatten() {
            if let Some(merged) = base.merge(&delta) {
                let merged = Playlist { version: now.version, ..merged };
                assert_eq!(merged, *now, "6.2.5.1");
            }
        }
        if let Some(seen) = self.seen.get(name).filter(|seen| !seen.ended) {
            assert!(seen.merge(&delta).is_some(), "6.3.7: who has seen the last playlist can use the next delta");
        }
    }

    fn i_frames(&self, name: &str, now: &Playlist, full: &Playlist) {
        rules::alone(full);
        rules::i_frames_are_alike(now, full);
        let text = i_frames(&self.timeline, &super::rendition(name), Extent::Delta).expect("there is a full one");
        let delta = Playlist::parse(&text);
        assert_eq!(delta.version, if delta.skipped > 0 { 9 } else { 5 }, "section 8");
        rules_of_skipping(&delta, full);
        let merged = full.merge(&delta).expect("it skips what the full one has");
        assert_eq!(Playlist { version: full.version, ..merged }, *full, "6.2.5.1");
    }

    /// A request that was told to wait is not refused later, and answers follow from the text.
    fn requests(&mut self, now: &Playlist) {
        let edge = self.timeline.edge().expect("there is a playlist");
        oracle::check(&edge, now);
        self.waiting.retain(|directives| match edge.answer(directives) {
            Answer::Now => false,
            Answer::Wait => true,
            Answer::Refuse(why) => panic!("{directives:?} waited, and is refused: {why}"),
        });
        let (msn, part) = edge.place();
        for (msn, part) in [(msn.0, Some(part.0)), (msn.0 + 1, Some(3)), (msn.0, Some(part.0 + 4)), (msn.0 + 1, None)] {
            let directives = oracle::directives(msn, part);
            if self.waiting.len() < 32 && edge.answer(&directives) == Answer::Wait {
                self.waiting.push(directives);
            }
        }
    }
}

/// Exactly the segments further from the end of the last segment than the skip boundary are skipped (4.4.3.8).
fn rules_of_skipping(delta: &Playlist, full: &Playlist) {
    assert_eq!((delta.msn, delta.discontinuity, &delta.constants), (full.msn, full.discontinuity, &full.constants));
    let boundary = super::client::seconds(&full.control["CAN-SKIP-UNTIL"]);
    let skipped = usize::try_from(delta.skipped).unwrap();
    let after = |count: usize| full.segments[count..].iter().map(|segment| segment.micros).sum::<u64>();
    assert!(skipped == 0 || after(skipped) >= boundary, "4.4.3.8: {skipped} segments skipped");
    if full.ended {
        return assert_eq!(skipped, 0, "6.2.5.1: directives are ignored after the end");
    }
    assert!(after(skipped + 1) < boundary, "more could be skipped than {skipped}");
}
