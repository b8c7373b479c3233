//! Row 4: EXTINF states the real duration of the media. Pure.

use std::time::Duration;

use super::common::{apart, frame, s};
use crate::media::{Content, ticks};
use crate::observation::{Observation, RenditionSeen, SegmentSeen};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 4,
    name: "durations: sums of EXTINF within one frame of the media",
    rule: "A8.1",
    level: Level::Must,
    judge,
};

/// A run of segments side by side, all of them downloaded.
#[derive(Default)]
struct Stretch {
    first: u64,
    stated: Duration,
    actual: Duration,
    next: Option<u64>,
}

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut segments = 0;
    for rendition in observation.regular() {
        let frame = frame(observation, rendition);
        let mut stretch = Stretch::default();
        for (msn, seen) in &rendition.segments {
            let Some(actual) = length(rendition, seen) else {
                stretch = Stretch::default();
                continue;
            };
            segments += 1;
            if stretch.next != Some(*msn) || seen.tags.discontinuity {
                stretch = Stretch { first: *msn, ..Stretch::default() };
            }
            stretch.next = Some(*msn + 1);
            stretch.stated += seen.tags.duration;
            stretch.actual += actual;
            let tolerance = frame.max(sound_frame(rendition, seen)) + Duration::from_millis(1);
            if apart(stretch.stated, stretch.actual) > tolerance {
                findings.must(
                    "A8.1",
                    format!(
                        "{} segments {} to {msn}: EXTINF adds up to {}, the media to {}",
                        rendition.name,
                        stretch.first,
                        s(stretch.stated),
                        s(stretch.actual)
                    ),
                );
                stretch = Stretch::default();
            }
        }
    }
    findings.looked_at(segments, "segments measured");
    findings.verdict("no segment could be measured")
}

/// Duration of a segment's media. A transport stream does not state that of its last frame, which counts as the interval before it.
fn length(rendition: &RenditionSeen, seen: &SegmentSeen) -> Option<Duration> {
    let fetch = seen.fetch.as_ref()?;
    fetch.content.duration(rendition.init_of(seen))
}

/// Duration of a frame of audio, which is the tolerance where there is no video.
fn sound_frame(rendition: &RenditionSeen, seen: &SegmentSeen) -> Duration {
    let (Some(Content::Fmp4(fragments)), Some(init)) =
        (seen.fetch.as_ref().map(|fetch| &fetch.content), rendition.init_of(seen))
    else {
        return Duration::ZERO;
    };
    let sample = fragments.main(init).and_then(|(track, run)| Some((track, run.samples.first()?)));
    sample.map_or(Duration::ZERO, |(track, sample)| ticks(u64::from(sample.duration), track.timescale))
}
