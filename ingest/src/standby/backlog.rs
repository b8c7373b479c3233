//! Keeps the newest media of a publisher while this ingest stands by, to continue where another ingest stops. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use media::segmenter::RenditionConfig;
use media::{RenditionId, Sample, Timescale, Timestamp, TrackConfig};

/// How much is kept, in media time: longer than it takes to notice that the other ingest is gone.
const KEPT: Timestamp = Timestamp::new(8_000, Timescale::MILLIS);
/// How much is kept, in bytes, of all renditions: 8 s of 60 Mbit/s. Beyond it the oldest is dropped.
const BYTES_MAX: usize = 64 << 20;
/// How far before the requested point media may begin: the clocks of encoders differ by this much, and a frame shown twice is
/// better than two seconds without a picture.
const EARLY_MAX: Timestamp = Timestamp::new(300, Timescale::MILLIS);

/// Media of one run of the pipeline.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    renditions: Vec<RenditionConfig>,
    lanes: BTreeMap<RenditionId, Lane>,
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    is_picture: bool,
    samples: VecDeque<Sample>,
}

/// Media that continues from a point on.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// All renditions of the run.
    pub(crate) renditions: Vec<RenditionConfig>,
    pub(crate) shed: Vec<RenditionId>,
    /// In decode order; the first of each rendition is a sync sample.
    pub(crate) samples: Vec<(RenditionId, Sample)>,
}

impl Backlog {
    /// The empty backlog of a run with these renditions.
    pub(crate) fn new(renditions: Vec<RenditionConfig>) -> Self {
        let lane = |config: &RenditionConfig| {
            let is_picture = matches!(config.track, TrackConfig::Video { .. });
            (config.rendition.clone(), Lane { is_picture, samples: VecDeque::new() })
        };
        let lanes = renditions.iter().map(lane).collect();
        Self { renditions, lanes, bytes: 0 }
    }

    /// Takes a sample and drops what is too old. `true` when [`Self::resume`] may succeed now that this sample has come.
    pub(crate) fn push(&mut self, rendition: &RenditionId, sample: Sample) -> bool {
        let has_pictures = self.lanes.values().any(|lane| lane.is_picture);
        let Some(lane) = self.lanes.get_mut(rendition) else { return false };
        let may_begin = sample.sync && lane.is_picture == has_pictures;
        self.bytes = self.bytes.saturating_add(sample.data.len());
        let until = sample.pts.minus(KEPT.rescale(sample.pts.timescale));
        lane.samples.push_back(sample);
        while lane.second_sync().is_some_and(|second| second <= until) {
            self.bytes = self.bytes.saturating_sub(lane.drop_group());
        }
        while self.bytes > BYTES_MAX {
            let dropped: usize = self.lanes.values_mut().map(Lane::drop_group).sum();
            self.bytes = self.bytes.saturating_sub(dropped);
        }
        may_begin
    }

    pub(crate) fn shed(&mut self, rendition: &RenditionId) {
        if let Some(lane) = self.lanes.remove(rendition) {
            self.bytes = self.bytes.saturating_sub(lane.bytes());
        }
    }

    /// A rendition of video that was shed is restored.
    pub(crate) fn restore(&mut self, rendition: &RenditionId) {
        let lane = Lane { is_picture: true, samples: VecDeque::new() };
        self.lanes.entry(rendition.clone()).or_insert(lane);
    }

    /// Everything from the first instant at which all renditions can begin, no earlier than [`EARLY_MAX`] before `from`. `None` when that
    /// instant has not come yet; then everything is kept.
    pub(crate) fn resume(&mut self, from: Option<Timestamp>) -> Option<Resumed> {
        let start = self.start(from)?;
        let mut samples = Vec::new();
        let mut shed: Vec<RenditionId> = self.renditions.iter().map(|config| config.rendition.clone()).collect();
        for (rendition, lane) in std::mem::take(&mut self.lanes) {
            shed.retain(|other| *other != rendition);
            let kept =
                lane.samples.into_iter().skip_while(|sample| !(sample.sync && sample.pts.as_duration() >= start));
            samples.extend(kept.map(|sample| (rendition.clone(), sample)));
        }
        // Stable: samples of one rendition keep their order.
        samples.sort_by_key(|(_, sample)| sample.dts.as_duration());
        Some(Resumed { renditions: std::mem::take(&mut self.renditions), shed, samples })
    }

    fn start(&self, from: Option<Timestamp>) -> Option<Duration> {
        let from = from.map(|from| from.minus(EARLY_MAX.rescale(from.timescale)).as_duration()).unwrap_or_default();
        let syncs = |lane: &Lane| -> BTreeSet<Duration> {
            lane.samples.iter().filter(|s| s.sync).map(|s| s.pts.as_duration()).filter(|at| *at >= from).collect()
        };
        let pictures: Vec<_> = self.lanes.values().filter(|lane| lane.is_picture).map(syncs).collect();
        if pictures.is_empty() {
            return self.lanes.values().filter_map(|lane| syncs(lane).first().copied()).max();
        }
        let common = pictures.into_iter().reduce(|all, lane| all.intersection(&lane).copied().collect())?;
        common.first().copied()
    }
}

impl Lane {
    fn bytes(&self) -> usize {
        self.samples.iter().map(|sample| sample.data.len()).sum()
    }

    /// When the second group of samples begins; each group begins with a sync sample.
    fn second_sync(&self) -> Option<Timestamp> {
        self.samples.iter().skip(1).find(|sample| sample.sync).map(|sample| sample.pts)
    }

    /// Drops the samples before the next sync sample. Returns how many bytes they had.
    fn drop_group(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(sample) = self.samples.pop_front() {
            bytes += sample.data.len();
            if self.samples.front().is_some_and(|next| next.sync) {
                break;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{BitsPerSecond, aac};

    use super::*;

    fn name(rendition: &str) -> RenditionId {
        rendition.parse().unwrap()
    }

    fn config(rendition: &str) -> RenditionConfig {
        let aac = aac::AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        let avc = || {
            let hex = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            media::avc::DecoderConfig::parse(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()).unwrap()
        };
        let track = if rendition == "audio" {
            TrackConfig::Audio { aac }
        } else {
            TrackConfig::Video { avc: avc(), timescale: Timescale::VIDEO, frame_rate_millihertz: 0 }
        };
        RenditionConfig {
            rendition: name(rendition),
            track,
            bandwidth_peak: BitsPerSecond(1),
            bandwidth_mean: BitsPerSecond(1),
            has_more_sync: false,
        }
    }

    const fn ms(ms: i64) -> Timestamp {
        Timestamp::new(ms * 90, Timescale::VIDEO)
    }

    fn sample(at_ms: i64, sync: bool, bytes: usize) -> Sample {
        Sample { pts: ms(at_ms), dts: ms(at_ms), duration: ms(40), sync, data: Bytes::from(vec![0; bytes]) }
    }

    /// Pictures every 40 ms from `from` on with a keyframe every 2 s, and sound beside them.
    fn fill(backlog: &mut Backlog, renditions: &[&str], (from, to): (i64, i64)) {
        for at in (from..to).step_by(40) {
            for rendition in renditions {
                let may_begin =
                    backlog.push(&name(rendition), sample(at, *rendition == "audio" || at % 2_000 == 0, 100));
                let has_pictures = renditions.len() > 1 || *rendition != "audio";
                assert_eq!(may_begin, if has_pictures { *rendition != "audio" && at % 2_000 == 0 } else { true });
            }
        }
    }

    fn backlog(renditions: &[&str]) -> Backlog {
        Backlog::new(renditions.iter().map(|rendition| config(rendition)).collect())
    }

    fn first(resumed: &Resumed, rendition: &str) -> i64 {
        let found = resumed.samples.iter().find(|(other, _)| *other == name(rendition)).unwrap();
        found.1.pts.ticks / 90
    }

    #[test]
    fn media_goes_on_at_the_first_keyframe_of_all_renditions_from_a_point_on() {
        let all = ["360p", "720p", "audio"];
        let mut backlog = backlog(&all);
        fill(&mut backlog, &all, (0, 7_000));
        // One encoder is behind the other.
        fill(&mut backlog, &["360p", "audio"], (7_000, 8_400));
        assert!(backlog.resume(Some(ms(6_400))).is_none(), "it has not come yet");
        let resumed = backlog.resume(Some(ms(4_200))).unwrap();
        assert_eq!(["360p", "720p", "audio"].map(|rendition| first(&resumed, rendition)), [4_000; 3]);
        assert_eq!((resumed.renditions.len(), resumed.shed.len()), (3, 0));
        assert!(resumed.samples.is_sorted_by_key(|(_, sample)| sample.dts));
    }

    #[test]
    fn some_seconds_are_kept_and_no_more() {
        let all = ["720p", "audio"];
        let mut backlog = backlog(&all);
        fill(&mut backlog, &all, (0, 60_000));
        let kept = backlog.bytes;
        let resumed = backlog.resume(None).unwrap();
        assert_eq!(first(&resumed, "720p"), 50_000);
        assert!((8..=10).contains(&(kept / 5_000)), "{kept} bytes");

        let mut heavy = Backlog::new(vec![config("720p")]);
        for at in 0..400 {
            heavy.push(&name("720p"), sample(at * 10, at % 10 == 0, 1 << 20));
            assert!(heavy.bytes <= BYTES_MAX);
        }
        assert!(heavy.resume(None).is_some_and(|resumed| resumed.samples.len() >= 50));
    }

    #[test]
    fn rendition_that_was_given_up_holds_up_no_other() {
        let all = ["360p", "720p", "audio"];
        let mut backlog = backlog(&all);
        fill(&mut backlog, &["360p", "audio"], (0, 4_100));
        assert!(backlog.resume(None).is_none());
        backlog.shed(&name("720p"));
        let resumed = backlog.resume(None).unwrap();
        assert_eq!((first(&resumed, "360p"), resumed.shed), (0, vec![name("720p")]));
    }

    #[test]
    fn sound_alone_goes_on_anywhere() {
        let mut backlog = backlog(&["audio"]);
        fill(&mut backlog, &["audio"], (0, 4_000));
        assert_eq!(first(&backlog.resume(Some(ms(1_000))).unwrap(), "audio"), 720);
    }
}
