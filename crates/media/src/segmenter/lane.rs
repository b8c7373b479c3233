//! One rendition inside the segmenter: its waiting samples, their presentation instants, and the open segment. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::meter::Meter;
use super::{BUFFERED_BYTES_MAX, BUFFERED_SAMPLES_MAX, MediaObject, RenditionConfig, RowEnd};
use crate::{Error, PartIndex, Sample, Slot, Timescale, Timestamp, cmaf};

/// A decode time further than this behind the previous one is an error. One less far behind moves to just after the previous one
/// (duplicate stamps, NVENC's 1/3 ms).
const STEP_BACK_MAX: Duration = Duration::from_millis(500);

/// Longest duration of a sample. A longer pause of the source is a break in its timeline.
const SAMPLE_DURATION_MAX: Duration = Duration::from_secs(30);

/// The furthest a presentation time may be from its decode time: 16 reordered frames at 2 frames a second.
const COMPOSITION_OFFSET_MAX: Duration = Duration::from_secs(8);

/// How many recent intervals between sync samples predict the next one: a minute of 2 s GOPs.
const INTERVALS_KEPT: usize = 32;

/// A sample that waits for its row, with times in the track's timescale.
#[derive(Debug)]
pub(super) struct Queued {
    /// Its decode time is [`Self::instant`]; strictly rising.
    pub(super) sample: Sample,
    /// End of the sample as known when it arrived, in ticks; later samples do not change it.
    pub(super) expected_end: i64,
    /// For sync samples: the longest of the recent intervals between sync samples, in ticks.
    pub(super) longest_interval: i64,
    /// Whether there are [`INTERVALS_KEPT`] such intervals that differ by at most a frame, so that the next one is predictable.
    pub(super) regular: bool,
}

impl Queued {
    /// Presentation instant of a cut before this sample, and the sample's decode time in the track: the encoder's decode time plus the
    /// encoder's reordering delay. For a sync sample this is exactly the presentation time, so that tracks with any delay join there
    /// (ISO/IEC 23000-19). Pictures that are shown before that instant have negative composition offsets.
    pub(super) const fn instant(&self) -> i64 {
        self.sample.dts.ticks
    }
}

/// The segment that the next part of a lane continues.
#[derive(Debug, Default)]
struct OpenSegment {
    decode_time: i64,
    duration: i64,
    bytes: u64,
    parts: u32,
    independent: bool,
    has_gap: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) config: RenditionConfig,
    pub(super) timescale: Timescale,
    pub(super) queue: VecDeque<Queued>,
    pub(super) shed: bool,
    /// Pictures were lost: the lane emits gaps until a segment begins with a sync sample.
    lost: bool,
    /// The declared part target.
    part_longest: Duration,
    pub(super) meter: Meter,
    bytes: usize,
    /// The encoder's decode time of the newest sample, and its expected duration.
    newest: Option<(i64, i64)>,
    newest_instant: Option<i64>,
    /// The encoder's reordering delay: presentation minus decode time of the newest sync sample.
    delay: i64,
    last_sync: Option<i64>,
    intervals: VecDeque<i64>,
    fragments: u32,
    open: OpenSegment,
    scratch: Vec<Sample>,
}

impl Lane {
    pub(super) fn new(config: RenditionConfig, part_longest: Duration) -> Self {
        let meter = Meter::new(config.bandwidth_peak, config.bandwidth_mean);
        Self {
            timescale: config.track.timescale(),
            config,
            queue: VecDeque::new(),
            shed: false,
            lost: false,
            part_longest,
            meter,
            bytes: 0,
            newest: None,
            newest_instant: None,
            delay: 0,
            last_sync: None,
            intervals: VecDeque::with_capacity(INTERVALS_KEPT),
            fragments: 0,
            open: OpenSegment::default(),
            scratch: Vec::new(),
        }
    }

    pub(super) const fn is_video(&self) -> bool {
        self.config.track.is_video()
    }

    pub(super) fn ticks(&self, span: Duration) -> i64 {
        let nanos = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX >> 40);
        i64::try_from(nanos * i128::from(self.timescale.get()) / 1_000_000_000).unwrap_or(i64::MAX)
    }

    /// An instant in the lane's ticks.
    pub(super) fn at(&self, instant: Timestamp) -> i64 {
        instant.rescale(self.timescale).ticks
    }

    pub(super) const fn time(&self, ticks: i64) -> Timestamp {
        Timestamp::new(ticks, self.timescale)
    }

    pub(super) fn newest_instant(&self) -> Option<Timestamp> {
        self.newest_instant.map(|ticks| self.time(ticks))
    }

    /// Half of the usual frame duration, in ticks.
    pub(super) fn half_frame(&self) -> i64 {
        self.newest.map_or(0, |(_, duration)| self.nominal_frame().unwrap_or(duration) / 2)
    }

    fn nominal_frame(&self) -> Option<i64> {
        match &self.config.track {
            crate::TrackConfig::Video { frame_rate_millihertz: 0, .. } => None,
            crate::TrackConfig::Video { frame_rate_millihertz, .. } => {
                Some(i64::from(self.timescale.get()) * 1_000 / i64::from(*frame_rate_millihertz))
            }
            crate::TrackConfig::Audio { aac } => Some(i64::from(aac.frame_samples())),
        }
    }

    fn timing(&self, decode_time: i64, what: &'static str) -> Error {
        Error::Timing { rendition: self.config.rendition.clone(), decode_time, what }
    }

    /// Checks and appends a sample, and gives the previous one its real duration. `begun` is false until the first row has a start.
    pub(super) fn push(&mut self, mut sample: Sample, begun: bool) -> Result<(), Error> {
        if !begun && self.queue.is_empty() && self.is_video() && !sample.sync {
            return Ok(());
        }
        let (pts, mut dts) = (sample.pts.rescale(self.timescale).ticks, sample.dts.rescale(self.timescale).ticks);
        let mut duration = sample.duration.rescale(self.timescale).ticks;
        if self.is_video() {
            dts = self.check_video_step(dts)?;
            if duration <= 0 || duration > self.ticks(SAMPLE_DURATION_MAX) {
                let step = self.newest.map(|(last, _)| dts - last);
                duration = self.nominal_frame().or(step).unwrap_or(1).max(1);
            }
        } else {
            self.check_audio_step(pts, dts, duration)?;
        }
        if dts < 0 {
            return Err(self.timing(dts, "negative decode time"));
        }
        if pts.saturating_sub(dts).saturating_abs() > self.ticks(COMPOSITION_OFFSET_MAX) {
            return Err(self.timing(dts, "presentation time more than 8 s from it"));
        }
        let bytes = self.bytes.saturating_add(sample.data.len());
        if self.queue.len() >= BUFFERED_SAMPLES_MAX || bytes > BUFFERED_BYTES_MAX {
            return Err(Error::BufferFull {
                rendition: self.config.rendition.clone(),
                samples: self.queue.len(),
                bytes,
            });
        }
        self.bytes = bytes;
        let instant = self.place(pts, dts, sample.sync);
        if let Some(before) = self.queue.back_mut() {
            before.sample.duration.ticks = instant - before.instant();
        }
        self.newest = Some((dts, duration));
        self.newest_instant = Some(instant);
        (sample.pts, sample.dts, sample.duration) = (self.time(pts), self.time(instant), self.time(duration));
        let expected_end = instant.saturating_add(duration);
        let (longest_interval, regular) = if sample.sync { self.intervals_seen(duration) } else { (0, false) };
        self.queue.push_back(Queued { sample, expected_end, longest_interval, regular });
        Ok(())
    }

    /// The decode time, moved to just after the previous one when it does not rise.
    fn check_video_step(&self, dts: i64) -> Result<i64, Error> {
        let Some((last, _)) = self.newest else { return Ok(dts) };
        let step = dts.saturating_sub(last);
        if step < -self.ticks(STEP_BACK_MAX) {
            return Err(self.timing(dts, "more than 0.5 s before the one before"));
        }
        if step > self.ticks(SAMPLE_DURATION_MAX) {
            return Err(self.timing(dts, "more than 30 s after the one before"));
        }
        Ok(dts.max(last + 1))
    }

    fn check_audio_step(&self, pts: i64, dts: i64, duration: i64) -> Result<(), Error> {
        if pts != dts || duration <= 0 {
            return Err(self.timing(dts, "audio with a composition offset or without duration"));
        }
        match self.newest {
            Some((last, last_duration)) if last + last_duration != dts => {
                Err(self.timing(dts, "audio that does not start where the frame before ended"))
            }
            _ => Ok(()),
        }
    }

    /// The instant of a sample ([`Queued::instant`]); records the interval between sync samples.
    fn place(&mut self, pts: i64, dts: i64, sync: bool) -> i64 {
        if sync {
            self.delay = pts - dts;
        }
        let instant = dts.saturating_add(self.delay);
        let instant = self.newest_instant.map_or(instant, |newest| instant.max(newest + 1));
        if sync && let Some(last) = self.last_sync.replace(instant) {
            if self.intervals.len() == INTERVALS_KEPT {
                self.intervals.pop_front();
            }
            self.intervals.push_back(instant - last);
        }
        instant
    }

    /// The longest of the recent intervals, and whether they are regular.
    fn intervals_seen(&self, frame: i64) -> (i64, bool) {
        let longest = self.intervals.iter().copied().max().unwrap_or(0);
        let shortest = self.intervals.iter().copied().min().unwrap_or(0);
        (longest, self.intervals.len() == INTERVALS_KEPT && longest - shortest <= frame)
    }

    /// First sync sample at or after `earliest`, less half a frame of tolerance.
    pub(super) fn first_sync(&self, earliest: Timestamp) -> Option<&Queued> {
        let earliest = earliest.rescale(self.timescale).ticks - self.half_frame();
        self.queue.iter().find(|queued| queued.sample.sync && queued.instant() >= earliest)
    }

    /// Drops the samples before the start of the first row.
    pub(super) fn begin(&mut self, start: Timestamp) {
        let tolerance = if self.is_video() { self.half_frame() } else { 0 };
        while let Some(queued) = self.queue.front() {
            let early = self.time(queued.instant() + tolerance) < start;
            if !early && (queued.sample.sync || !self.is_video()) {
                break;
            }
            self.bytes -= queued.sample.data.len();
            self.queue.pop_front();
        }
    }

    /// How many waiting samples of this lane, the `index`-th, belong to the row that ends at `end`; `None` while later samples decide.
    /// With `finished`, no more samples come, so the count is always known.
    pub(super) fn cut(&self, end: RowEnd, index: usize, finished: bool) -> Option<usize> {
        let all = finished.then_some(self.queue.len());
        if !self.is_video() {
            let ends = || self.queue.iter().position(|queued| self.time(queued.instant()) >= end.instant).or(all);
            return ends().map(|count| self.sound_frames(count));
        }
        if end.decided_by == index {
            return self.queue.iter().position(|queued| self.time(queued.instant()) >= end.instant).or(all);
        }
        // The stamps of this rendition may differ slightly from the reference's: take the nearest frame.
        let target = self.at(end.instant);
        let near = |queued: &Queued| queued.instant() + (queued.expected_end - queued.instant()) / 2 >= target;
        let Some(nearest) = self.queue.iter().position(near) else { return all };
        let tolerance = self.half_frame();
        if !end.completes_segment {
            return Some(nearest);
        }
        // A segment begins with a sync sample if there is one within the tolerance.
        for (at, queued) in self.queue.iter().enumerate().skip(nearest) {
            if queued.instant() > target + tolerance {
                return Some(nearest);
            }
            if queued.sample.sync {
                return Some(at);
            }
        }
        finished.then_some(nearest)
    }

    /// Number of frames in an audio part when `beginning` frames begin before its row ends. The last frame moves to the next part where
    /// the part would otherwise exceed the declared target: around 0.2 s at 23.976 frames a second and 44.1 kHz.
    fn sound_frames(&self, beginning: usize) -> usize {
        let Some(frame) = self.nominal_frame() else { return beginning };
        let ticks = |count: usize| i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(frame);
        let too_long = beginning > 1 && self.time(ticks(beginning)).as_duration() > self.part_longest;
        if too_long { beginning - 1 } else { beginning }
    }

    /// Length of an audio part when the row ends at `end`: audio frames are contiguous, and the cut is before the first frame that begins
    /// at `end` or later. `None` for video, and before the first sample.
    pub(super) fn sound_until(&self, end: Timestamp) -> Option<Duration> {
        let frame = if self.is_video() { None } else { self.nominal_frame() }?;
        let (newest, duration) = self.newest?;
        let first = self.queue.front().map_or(newest + duration, |queued| queued.instant());
        let nearest = self.at(end);
        let end = if self.time(nearest) < end { nearest + 1 } else { nearest };
        let frames = (end.saturating_sub(first).max(0) + frame - 1) / frame;
        let frames = self.sound_frames(usize::try_from(frames).unwrap_or(usize::MAX));
        Some(self.time(i64::try_from(frames).unwrap_or(i64::MAX).saturating_mul(frame)).as_duration())
    }

    /// How many of the next `count` samples the part gets: all or none. A video rendition has lost pictures when its samples would last
    /// longer than a part may. It then gets none, and drops them, until a segment begins with a sync sample.
    pub(super) fn without_holes(&mut self, count: usize, part: PartIndex) -> usize {
        let samples = || self.queue.iter().take(count);
        if part == PartIndex(0) && samples().next().is_some_and(|first| first.sample.sync) {
            self.lost = false;
        }
        let ticks: i64 = samples().map(|queued| queued.sample.duration.ticks).sum();
        self.lost |= self.is_video() && self.time(ticks).as_duration() > self.part_longest;
        if !self.lost {
            return count;
        }
        for queued in self.queue.drain(..count.min(self.queue.len())) {
            self.bytes -= queued.sample.data.len();
        }
        0
    }

    /// Packages the next `count` samples as a part, or a gap when there are none. `start` and `end` are the row's.
    pub(super) fn take_part(
        &mut self,
        count: usize,
        slot: Slot,
        (start, end): (Timestamp, Timestamp),
    ) -> Result<MediaObject, Error> {
        self.scratch.clear();
        self.scratch.extend(self.queue.drain(..count.min(self.queue.len())).map(|queued| queued.sample));
        if let Some(next) = self.queue.front().filter(|next| next.sample.sync && self.is_video()) {
            last_shown_until(&mut self.scratch, next.instant());
        }
        let freed: usize = self.scratch.iter().map(|sample| sample.data.len()).sum();
        self.bytes -= freed;
        let object = match self.scratch.first() {
            None => self.gap(slot, start, end),
            Some(first) => {
                self.fragments = self.fragments.wrapping_add(1);
                let bytes = cmaf::fragment(self.fragments, first.dts, &self.scratch)?;
                let sync_length = (first.sync && self.is_video())
                    .then(|| length(cmaf::header_bytes(self.scratch.len()) + first.data.len()));
                let duration = self.scratch.iter().map(|sample| sample.duration.ticks).sum();
                MediaObject {
                    rendition: self.config.rendition.clone(),
                    slot,
                    start,
                    decode_time: first.dts,
                    duration: self.time(duration),
                    independent: first.sync,
                    gap: false,
                    length: length(bytes.len()),
                    sync_length,
                    bytes,
                }
            }
        };
        self.scratch.clear();
        self.add_to_segment(&object);
        Ok(object)
    }

    fn gap(&self, slot: Slot, start: Timestamp, end: Timestamp) -> MediaObject {
        MediaObject {
            rendition: self.config.rendition.clone(),
            slot,
            start,
            decode_time: start.rescale(self.timescale),
            duration: self.time(end.rescale(self.timescale).minus(start).ticks.max(1)),
            independent: false,
            gap: true,
            length: 0,
            sync_length: None,
            bytes: bytes::Bytes::new(),
        }
    }

    fn add_to_segment(&mut self, part: &MediaObject) {
        if self.open.parts == 0 {
            self.open.decode_time = part.decode_time.ticks;
            self.open.independent = part.independent;
        }
        self.open.parts += 1;
        self.open.has_gap |= part.gap;
        self.open.duration += part.duration.ticks;
        self.open.bytes += part.length;
    }

    /// Closes the open segment.
    pub(super) fn take_segment(
        &mut self,
        slot: Slot,
        (start, end): (Timestamp, Timestamp),
        segment_target: Duration,
    ) -> MediaObject {
        let open = std::mem::take(&mut self.open);
        if open.has_gap {
            return self.gap(slot, start, end);
        }
        let duration = self.time(open.duration);
        self.meter.add(open.bytes, duration, segment_target);
        MediaObject {
            rendition: self.config.rendition.clone(),
            slot,
            start,
            decode_time: self.time(open.decode_time),
            duration,
            independent: open.independent,
            gap: false,
            length: open.bytes,
            sync_length: None,
            bytes: bytes::Bytes::new(),
        }
    }

    /// Gives the rendition up: drops its samples, and every part is a gap from here on.
    pub(super) fn shed(&mut self) {
        self.shed = true;
        self.clear();
    }

    /// Resumes the rendition: new samples need not continue the old ones, and the open segment stays a gap.
    pub(super) fn restore(&mut self) {
        (self.shed, self.lost) = (false, true);
        (self.newest, self.newest_instant, self.last_sync) = (None, None, None);
    }

    /// Whether it has gaps until a segment begins with a sync sample.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Drops the waiting samples.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    pub(super) fn check_invariants(&self, open_parts: PartIndex) {
        assert_eq!(
            self.bytes,
            self.queue.iter().map(|queued| queued.sample.data.len()).sum::<usize>(),
            "bytes are counted"
        );
        assert!(self.queue.len() <= BUFFERED_SAMPLES_MAX && self.bytes <= BUFFERED_BYTES_MAX, "bounded");
        assert!(!self.shed || self.queue.is_empty(), "a shed rendition holds nothing");
        assert_eq!(self.open.parts, open_parts.0, "every rendition has a part in every row");
        for (one, next) in self.queue.iter().zip(self.queue.iter().skip(1)) {
            let (sample, after) = (&one.sample, &next.sample);
            assert_eq!(sample.dts.ticks + sample.duration.ticks, after.dts.ticks, "decode times are contiguous");
            assert!(sample.duration.ticks > 0 && one.instant() < next.instant(), "time goes forward");
        }
    }
}

/// Extends or shortens the picture that is shown last so that it ends at `end`, where the next sync sample is shown. A neighbour takes
/// the opposite change, so that the decode times of later samples stay.
///
/// Durations are steps of decode times. Where a source rounds its stamps, the step at the picture shown last may be a millisecond off,
/// and players would see a gap or an overlap where renditions join. A difference of more than half a frame is not rounding, and stays.
fn last_shown_until(samples: &mut [Sample], end: i64) {
    let shown_last = samples.iter().enumerate().max_by_key(|(_, sample)| sample.pts.ticks);
    let Some((at, longer, half_frame)) = shown_last.map(|(at, last)| {
        let duration = last.duration.ticks;
        (at, end - last.pts.ticks - duration, duration / 2)
    }) else {
        return;
    };
    let neighbour = if at + 1 < samples.len() { at + 1 } else { at.wrapping_sub(1) };
    let room = samples.get(neighbour).is_some_and(|sample| sample.duration.ticks > longer);
    if longer == 0 || longer.abs() > half_frame || !room {
        return;
    }
    let mut decode_time = samples.first().map_or(0, |first| first.dts.ticks);
    for (index, sample) in samples.iter_mut().enumerate() {
        sample.duration.ticks += if index == at {
            longer
        } else if index == neighbour {
            -longer
        } else {
            0
        };
        sample.dts.ticks = decode_time;
        decode_time += sample.duration.ticks;
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
