//! Places where a player may change to a rendition: video parts, or else segments, that begin with a sync sample. Pure.

use std::time::Duration;

use super::common::frame;
use crate::media::{Content, Run, Track};
use crate::observation::{Observation, RenditionSeen};

/// Two joins of the same place of the stream are less than this apart, in microseconds.
const NEAR_US: i64 = 500_000;

/// Decode time and presentation time of frames, in microseconds of media time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) decoded: i64,
    pub(super) shown: i64,
}

/// A part or segment that begins with a sync sample.
#[derive(Debug, Clone)]
pub(super) struct Join {
    /// Its name as evidence.
    pub(super) name: String,
    /// Decode time of its first sample, and earliest presentation time of its samples.
    pub(super) start: Moment,
    /// End of the media before it in its own rendition; none if that was not downloaded, or belongs to another timeline.
    pub(super) before: Option<Moment>,
}

/// The joins of a video rendition, in order.
pub(super) struct Joins {
    pub(super) name: String,
    /// Duration of a frame, as [`frame`] gives it.
    pub(super) frame: Duration,
    all: Vec<Join>,
}

impl Joins {
    /// The joins of every video rendition in fMP4.
    pub(super) fn of(observation: &Observation) -> Vec<Self> {
        let of = |rendition: &RenditionSeen| {
            let all = joins(rendition);
            let frame = frame(observation, rendition);
            (!all.is_empty()).then(|| Self { name: rendition.name.clone(), frame, all })
        };
        observation.regular().filter_map(of).collect()
    }

    /// Joins of this rendition, each with the join of another rendition at the same place of the stream.
    pub(super) fn with<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Join, &'a Join)> {
        self.all.iter().filter_map(|join| {
            let distance = |their: &&Join| their.start.shown.abs_diff(join.start.shown);
            let nearest = other.all.iter().min_by_key(distance)?;
            (distance(&nearest) < NEAR_US.unsigned_abs()).then_some((join, nearest))
        })
    }
}

fn joins(rendition: &RenditionSeen) -> Vec<Join> {
    let (mut found, mut before): (Vec<Join>, Option<Moment>) = (Vec::new(), None);
    for (msn, seen) in &rendition.segments {
        if seen.tags.discontinuity {
            before = None;
        }
        let parts: Vec<_> = rendition.parts.range((*msn, 0)..=(*msn, u64::MAX)).collect();
        let pieces: Vec<_> = if parts.is_empty() {
            vec![(format!("{} segment {msn}", rendition.name), seen.fetch.as_ref())]
        } else {
            let name = |index: u64| format!("{} part {msn}.{index}", rendition.name);
            parts.into_iter().map(|((_, index), part)| (name(*index), part.fetch.as_ref())).collect()
        };
        for (name, fetch) in pieces {
            let content = fetch.filter(|fetch| fetch.answer.is_whole()).map(|fetch| &fetch.content);
            let Some(span) = content.zip(rendition.init_of(seen)).and_then(|(content, init)| {
                let Content::Fmp4(fragments) = content else { return None };
                fragments.main(init).and_then(|(track, run)| Span::of(track, run))
            }) else {
                before = None;
                continue;
            };
            // If the two are far apart, media that was not downloaded lies between them.
            before = before.filter(|end| end.decoded.abs_diff(span.start.decoded) < NEAR_US.unsigned_abs());
            if span.sync {
                found.push(Join { name, start: span.start, before });
            }
            // The frame that is shown last may be in an earlier part.
            let shown = before.map_or(span.end.shown, |end| end.shown.max(span.end.shown));
            before = Some(Moment { shown, ..span.end });
        }
    }
    found
}

/// Times of the video in a part or segment.
struct Span {
    sync: bool,
    start: Moment,
    end: Moment,
}

impl Span {
    fn of(track: &Track, run: &Run) -> Option<Self> {
        let first = run.samples.first().filter(|_| track.is_picture())?;
        let start = i64::try_from(run.start()?).ok()?;
        let (mut at, mut shown, mut shown_until) = (start, i64::MAX, i64::MIN);
        for sample in &run.samples {
            let here = at.checked_add(i64::from(sample.offset))?;
            shown = shown.min(here);
            shown_until = shown_until.max(here.checked_add(i64::from(sample.duration))?);
            at = at.checked_add(i64::from(sample.duration))?;
        }
        let us = |ticks: i64| {
            let us = i128::from(ticks) * 1_000_000 / i128::from(track.timescale.max(1));
            i64::try_from(us).ok()
        };
        Some(Self {
            sync: first.sync,
            start: Moment { decoded: us(start)?, shown: us(shown)? },
            end: Moment { decoded: us(at)?, shown: us(shown_until)? },
        })
    }
}
