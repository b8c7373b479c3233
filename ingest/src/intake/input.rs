//! Turns a publisher's messages into inputs of the pipeline: parameter sets, codecs, one timeline. Pure.

use bytes::Bytes;
use media::input_clock::{BASE_OFFSET_MILLIS, InputClock, Media};
use media::{Timescale, Timestamp, UnixMillis, aac, av1, avc, hevc};
use rtmp::flv::{Body, VideoCodec};

use crate::pipeline::{AudioFormat, AudioPacket, Input, VideoFormat, VideoPacket};

/// After a break the timeline continues this long after the newest time, so that no time comes twice.
const BREAK_GAP_MILLIS: i64 = 1_000;

/// Why a publisher has to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    /// Parameter sets that do not parse or are not supported.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// Keyframe intervals that are kept, because one that a scene change cut short says nothing about the longest.
const KEYFRAME_INTERVALS_KEPT: usize = 4;

/// Figures of a publisher's media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InputCounters {
    /// Access units.
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    pub(crate) video_bytes: u64,
    pub(crate) audio_bytes: u64,
    /// Frames left out: they came before their parameter sets, or a single stamp jumped.
    pub(crate) dropped: u64,
    /// Jumps of the clock.
    pub(crate) breaks: u64,
    /// Newest decode time of video on the session's timeline, in milliseconds.
    pub(crate) video_ms: Option<i64>,
    /// The same of sound.
    pub(crate) audio_ms: Option<i64>,
    /// Decode time of the newest keyframe, in milliseconds.
    pub(crate) keyframe_ms: Option<i64>,
    /// The newest keyframe intervals, newest first, in milliseconds; 0 where there are fewer.
    pub(crate) keyframe_intervals_ms: [i64; KEYFRAME_INTERVALS_KEPT],
    /// Largest composition time offset since the parameter sets came, in milliseconds.
    pub(crate) reorder_ms: i32,
    /// How much later the stamps of sound are than those of video, in milliseconds, when the two count from different zeros.
    pub(crate) zero_offset_ms: i64,
}

impl InputCounters {
    /// The longest of the newest keyframe intervals, in milliseconds. The open interval counts with its length so far.
    pub(crate) fn keyframe_interval_ms(&self) -> Option<u64> {
        let open = self.video_ms.zip(self.keyframe_ms).map_or(0, |(now, since)| now.saturating_sub(since));
        let known = self.keyframe_intervals_ms.iter().copied().max().unwrap_or(0);
        u64::try_from(known.max(open)).ok().filter(|ms| *ms > 0 && self.keyframe_ms.is_some())
    }

    /// Whether at least one interval from keyframe to keyframe was seen whole.
    pub(crate) fn has_whole_interval(&self) -> bool {
        self.keyframe_intervals_ms.iter().any(|ms| *ms > 0)
    }

    /// Newest time of picture and sound, in milliseconds.
    pub(crate) fn newest_ms(&self) -> Option<i64> {
        self.video_ms.max(self.audio_ms)
    }

    /// Newest video time less newest audio time, in milliseconds.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        Some(self.video_ms?.saturating_sub(self.audio_ms?))
    }

    fn keyframe(&mut self, at_ms: i64) {
        if let Some(before) = self.keyframe_ms.replace(at_ms) {
            self.keyframe_intervals_ms.rotate_right(1);
            if let Some(newest) = self.keyframe_intervals_ms.first_mut() {
                *newest = at_ms.saturating_sub(before);
            }
        }
    }
}

/// A frame as it arrived.
#[derive(Debug)]
struct Frame {
    media: Media,
    stamp_ms: u32,
    /// When it arrived.
    at: UnixMillis,
    composition_ms: i32,
    key: bool,
    data: Bytes,
}

/// The parameter sets in force.
#[derive(Debug)]
struct Video {
    codec: VideoCodec,
    record: Bytes,
    format: VideoFormat,
}

/// Maps the messages of one publisher.
#[derive(Debug, Default)]
pub(crate) struct InputMapper {
    clock: InputClock,
    /// Added to the clock's times, to place them on the timeline after breaks.
    shift_ms: i64,
    newest_ms: i64,
    anchored: bool,
    origin: UnixMillis,
    video: Option<Video>,
    audio: Option<aac::AudioSpecificConfig>,
    mp3: bool,
    /// A frame whose stamp jumped. It waits for a second one: one alone is a slip of the encoder, two mean that its clock jumped.
    stray: Option<Frame>,
    counters: InputCounters,
}

impl InputMapper {
    /// Starts the timeline at `end`, where the media of the epoch before ended, however long ago. Some players measure their buffer by
    /// decode times: if times began anew, these players would wait until the times had caught up.
    pub(crate) fn after(end: Option<Timestamp>) -> Self {
        let start_ms =
            end.map_or(BASE_OFFSET_MILLIS, |end| end.rescale(Timescale::MILLIS).ticks.max(BASE_OFFSET_MILLIS));
        Self { shift_ms: start_ms.saturating_sub(BASE_OFFSET_MILLIS), ..Self::default() }
    }

    /// Wall clock of the timeline's zero, by the arrival of the first frame, or of the first after a break.
    pub(crate) const fn origin(&self) -> UnixMillis {
        self.origin
    }

    pub(crate) const fn counters(&self) -> InputCounters {
        self.counters
    }

    /// Takes one message and returns the inputs that it yields: at most four (the MP3 format, a break, the frame that jumped, and the
    /// one that follows it).
    pub(crate) fn push(&mut self, stamp_ms: u32, body: Body, now: UnixMillis) -> Result<Vec<Input>, InputError> {
        match body {
            Body::Nothing => Ok(Vec::new()),
            Body::VideoConfig(codec, record) => self.video_config(codec, record),
            Body::AudioConfig(config) => self.audio_config(&config),
            Body::Video { codec, composition_ms, data, .. } => {
                let Some(video) = self.video.as_ref().filter(|video| video.codec == codec) else {
                    return Ok(self.dropped());
                };
                let key = video.format.is_sync(&data);
                Ok(self.frame(Frame { media: Media::Video, stamp_ms, at: now, composition_ms, key, data }))
            }
            Body::Audio(data) if self.audio.is_some() => Ok(self.frame(Frame::sound(stamp_ms, now, data))),
            Body::Mp3(data) => {
                let mut inputs = Vec::new();
                if !self.mp3 {
                    (self.mp3, self.audio) = (true, None);
                    inputs.push(Input::AudioConfig(AudioFormat::Mp3));
                }
                inputs.extend(self.frame(Frame::sound(stamp_ms, now, data)));
                Ok(inputs)
            }
            Body::Audio(_) => Ok(self.dropped()),
        }
    }

    /// Ignores parameter sets that repeat, as encoders send them every few seconds.
    fn video_config(&mut self, codec: VideoCodec, record: Bytes) -> Result<Vec<Input>, InputError> {
        if self.video.as_ref().is_some_and(|known| known.codec == codec && known.record == record) {
            return Ok(Vec::new());
        }
        let format = match codec {
            VideoCodec::Avc => VideoFormat::Avc(avc::DecoderConfig::parse(&record)?),
            VideoCodec::Hevc => VideoFormat::Hevc(hevc::DecoderConfig::parse(&record)?),
            VideoCodec::Av1 => VideoFormat::Av1(av1::DecoderConfig::parse(&record)?),
        };
        (self.counters.reorder_ms, self.counters.keyframe_intervals_ms) = Default::default();
        self.video = Some(Video { codec, record, format: format.clone() });
        Ok(vec![Input::VideoConfig(format)])
    }

    /// Ignores a format that repeats, even if it is encoded differently.
    fn audio_config(&mut self, config: &[u8]) -> Result<Vec<Input>, InputError> {
        let parsed = aac::AudioSpecificConfig::parse(config)?;
        if self.audio.as_ref() == Some(&parsed) {
            return Ok(Vec::new());
        }
        (self.mp3, self.audio) = (false, Some(parsed.clone()));
        Ok(vec![Input::AudioConfig(AudioFormat::Aac(parsed))])
    }

    /// Counts a frame that cannot be used.
    fn dropped(&mut self) -> Vec<Input> {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
        Vec::new()
    }

    fn frame(&mut self, frame: Frame) -> Vec<Input> {
        match self.clock.unwrap(frame.media, frame.stamp_ms) {
            Ok(time) => {
                if self.stray.take_if(|stray| stray.media == frame.media).is_some() {
                    self.dropped();
                }
                vec![self.placed(frame, time.ticks)]
            }
            Err(jump) => match self.stray.take() {
                None => {
                    self.stray = Some(frame);
                    Vec::new()
                }
                Some(first) => {
                    tracing::warn!(%jump, "the publisher's clock jumped: a new epoch begins");
                    let mut inputs = vec![Input::Break];
                    self.broke();
                    inputs.extend(self.frame(first));
                    inputs.extend(self.frame(frame));
                    inputs
                }
            },
        }
    }

    /// Starts a new clock for the frames that follow.
    fn broke(&mut self) {
        self.clock = InputClock::new();
        self.shift_ms = self.newest_ms.saturating_add(BREAK_GAP_MILLIS).saturating_sub(BASE_OFFSET_MILLIS);
        self.anchored = false;
        let counters = &mut self.counters;
        counters.breaks = counters.breaks.saturating_add(1);
        (counters.keyframe_ms, counters.video_ms, counters.audio_ms) = (None, None, None);
    }

    /// The input for a frame whose time on the clock is `clock_ms`.
    fn placed(&mut self, frame: Frame, clock_ms: i64) -> Input {
        let Frame { media, at, composition_ms, key, data, .. } = frame;
        let ms = clock_ms.saturating_add(self.shift_ms);
        if !self.anchored {
            self.anchored = true;
            self.origin = UnixMillis(at.0.saturating_sub(ms));
        }
        self.newest_ms = self.newest_ms.max(ms);
        let counters = &mut self.counters;
        counters.zero_offset_ms = self.clock.zero_offset_millis();
        match media {
            Media::Video => {
                if key {
                    counters.keyframe(ms);
                }
                counters.video_ms = Some(ms);
                counters.video_frames = counters.video_frames.saturating_add(1);
                counters.video_bytes = counters.video_bytes.saturating_add(length(&data));
                counters.reorder_ms = counters.reorder_ms.max(composition_ms);
                let pts = ticks(ms.saturating_add(i64::from(composition_ms)));
                Input::Video(VideoPacket { pts, dts: ticks(ms), data })
            }
            Media::Audio => {
                counters.audio_ms = Some(ms);
                counters.audio_frames = counters.audio_frames.saturating_add(1);
                counters.audio_bytes = counters.audio_bytes.saturating_add(length(&data));
                Input::Audio(AudioPacket { pts: Timestamp::new(ms, Timescale::MILLIS), data })
            }
        }
    }
}

impl Frame {
    const fn sound(stamp_ms: u32, at: UnixMillis, data: Bytes) -> Self {
        Self { media: Media::Audio, stamp_ms, at, composition_ms: 0, key: true, data }
    }
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// Milliseconds in the timescale of video: exact, 90 ticks each.
fn ticks(ms: i64) -> Timestamp {
    Timestamp::new(ms, Timescale::MILLIS).rescale(Timescale::VIDEO)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Records as x264 writes them: 320x240 baseline, 854x480 main.
    const SMALL: &str = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
    const LARGE: &str = "014d401effe10018674d401eeca06c1ef37808800000030080000019078b16cb01000468ef8fc8";
    const IDR: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];
    const NOT_IDR: &[u8] = &[0, 0, 0, 2, 0x41, 0x9A];
    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn record(hex: &str) -> Body {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Body::VideoConfig(VideoCodec::Avc, (0..hex.len()).step_by(2).map(byte).collect())
    }

    fn frame(data: &'static [u8], composition_ms: i32) -> Body {
        Body::Video { codec: VideoCodec::Avc, composition_ms, key: false, data: Bytes::from_static(data) }
    }

    fn names(inputs: &[Input]) -> Vec<&'static str> {
        let name = |input: &Input| match input {
            Input::VideoConfig(_) => "video config",
            Input::AudioConfig(_) => "audio config",
            Input::Video(_) => "video",
            Input::Audio(_) => "audio",
            Input::Break => "break",
        };
        inputs.iter().map(name).collect()
    }

    fn video_times(inputs: &[Input]) -> Vec<(i64, i64)> {
        let times = |input: &Input| match input {
            Input::Video(packet) => Some((packet.dts.ticks / 90, packet.pts.ticks / 90)),
            _ => None,
        };
        inputs.iter().filter_map(times).collect()
    }

    #[test]
    fn repeated_parameter_sets_are_nothing_and_changed_ones_are_passed_on() {
        let mut mapper = InputMapper::after(None);
        assert_eq!(names(&mapper.push(0, record(SMALL), NOW).unwrap()), ["video config"]);
        for _ in 0..3 {
            assert!(mapper.push(0, record(SMALL), NOW).unwrap().is_empty());
        }
        assert_eq!(names(&mapper.push(0, record(LARGE), NOW).unwrap()), ["video config"]);
        assert!(mapper.push(0, Body::VideoConfig(VideoCodec::Avc, Bytes::from_static(b"\x01nonsense")), NOW).is_err());
    }

    #[test]
    fn frames_before_their_parameter_sets_are_dropped_and_counted() {
        let mut mapper = InputMapper::after(None);
        assert!(mapper.push(0, frame(IDR, 0), NOW).unwrap().is_empty());
        assert!(mapper.push(0, Body::Audio(Bytes::from_static(b"raw")), NOW).unwrap().is_empty());
        assert_eq!(mapper.counters().dropped, 2);
    }

    #[test]
    fn times_are_exact_and_negative_composition_is_kept() {
        let mut mapper = InputMapper::after(None);
        mapper.push(5_000, record(SMALL), NOW).unwrap();
        let first = mapper.push(5_000, frame(IDR, 66), NOW).unwrap();
        assert_eq!(video_times(&first), [(10_000, 10_066)]);
        assert_eq!(mapper.origin(), UnixMillis(NOW.0 - 10_000));
        let next = mapper.push(5_033, frame(NOT_IDR, -33), NOW).unwrap();
        assert_eq!(video_times(&next), [(10_033, 10_000)]);
        mapper.push(7_000, frame(IDR, 0), NOW).unwrap();
        assert_eq!(mapper.counters().keyframe_interval_ms(), Some(2_000));
        assert_eq!(mapper.counters().reorder_ms, 66);
        // While no other keyframe comes, the interval grows.
        mapper.push(10_500, frame(NOT_IDR, 0), NOW).unwrap();
        assert_eq!(mapper.counters().keyframe_interval_ms(), Some(3_500));
    }

    #[test]
    fn timeline_goes_on_where_the_epoch_before_ended() {
        let end = Timestamp::new(33_188, Timescale::MILLIS).rescale(Timescale::VIDEO);
        let mut mapper = InputMapper::after(Some(end));
        mapper.push(700, record(SMALL), NOW).unwrap();
        assert_eq!(video_times(&mapper.push(700, frame(IDR, 66), NOW).unwrap()), [(33_188, 33_254)]);
        assert_eq!(mapper.origin(), UnixMillis(NOW.0 - 33_188));
        assert!(mapper.push(90_000_000, frame(IDR, 0), NOW).unwrap().is_empty());
        let jumped = mapper.push(90_000_033, frame(NOT_IDR, 0), NOW).unwrap();
        assert_eq!(video_times(&jumped), [(34_188, 34_188), (34_221, 34_221)], "and goes on so after a break");
    }

    #[test]
    fn jump_of_the_clock_breaks_the_timeline_which_never_goes_back() {
        for jump in [1_000_u32, 3_600_000, 86_400_000] {
            let mut mapper = InputMapper::after(None);
            mapper.push(90_000_000, record(SMALL), NOW).unwrap();
            mapper.push(90_000_000, frame(IDR, 0), NOW).unwrap();
            mapper.push(90_000_033, frame(NOT_IDR, 0), NOW).unwrap();
            let later = UnixMillis(NOW.0 + 50);
            assert!(mapper.push(90_000_033 - jump, frame(IDR, 0), later).unwrap().is_empty(), "one alone says nothing");
            let after = mapper.push(90_000_066 - jump, frame(NOT_IDR, 0), NOW).unwrap();
            assert_eq!(names(&after), ["break", "video", "video"]);
            assert_eq!(video_times(&after), [(11_033, 11_033), (11_066, 11_066)]);
            assert_eq!(mapper.origin(), UnixMillis(later.0 - 11_033), "from when the first one came");
            let next = mapper.push(90_000_099 - jump, frame(NOT_IDR, 0), later).unwrap();
            assert_eq!(video_times(&next), [(11_099, 11_099)]);
            assert_eq!(mapper.counters().breaks, 1);
        }
    }

    #[test]
    fn single_stray_stamp_costs_its_frame_and_no_break() {
        let mut mapper = InputMapper::after(None);
        mapper.push(0, record(SMALL), NOW).unwrap();
        mapper.push(0, Body::AudioConfig(Bytes::from_static(&[0x11, 0x90])), NOW).unwrap();
        let sound = || Body::Audio(Bytes::from_static(b"raw"));
        mapper.push(60_000, frame(IDR, 0), NOW).unwrap();
        mapper.push(60_000, sound(), NOW).unwrap();
        // Some encoders stamp a frame with 0 now and then. The sound in between does not count.
        assert!(mapper.push(0, frame(NOT_IDR, 0), NOW).unwrap().is_empty());
        assert_eq!(names(&mapper.push(60_021, sound(), NOW).unwrap()), ["audio"]);
        assert_eq!(video_times(&mapper.push(60_066, frame(NOT_IDR, 0), NOW).unwrap()), [(10_066, 10_066)]);
        assert_eq!((mapper.counters().breaks, mapper.counters().dropped), (0, 1));
        // The clocks of video and sound jump together.
        assert!(mapper.push(5_000_000, frame(IDR, 0), NOW).unwrap().is_empty());
        assert_eq!(names(&mapper.push(5_000_003, sound(), NOW).unwrap()), ["break", "video", "audio"]);
        assert_eq!(mapper.counters().breaks, 1);
    }

    #[test]
    fn sound_header_in_other_words_is_nothing_and_one_of_another_format_is_passed_on() {
        let mut mapper = InputMapper::after(None);
        let header = |bytes: &'static [u8]| Body::AudioConfig(Bytes::from_static(bytes));
        assert_eq!(names(&mapper.push(0, header(&[0x11, 0x90]), NOW).unwrap()), ["audio config"]);
        for same in [&[0x11, 0x90][..], &[0x11, 0x90, 0x56, 0xE5], &[0x11, 0x90, 0x56, 0xE5, 0], &[0x11, 0x90, 0, 0]] {
            assert!(mapper.push(0, header(same), NOW).unwrap().is_empty(), "{same:02x?}");
        }
        for other in [&[0x11, 0x88][..], &[0x11, 0x90, 0x56, 0xE5, 0x80], &[0x12, 0x10]] {
            assert_eq!(names(&mapper.push(0, header(other), NOW).unwrap()), ["audio config"], "{other:02x?}");
        }
    }

    proptest! {
        /// Whatever the stamps, no time is negative or more than 20 s beyond the newest, and each frame is passed on, held as the stray
        /// or counted as dropped.
        #[test]
        fn any_stamps_give_one_timeline(stamps in prop::collection::vec((any::<bool>(), prop_oneof![4 => 0_u32..20_000, 1 => any::<u32>()]), 1..200)) {
            let mut mapper = InputMapper::after(None);
            mapper.push(0, record(SMALL), NOW).unwrap();
            mapper.push(0, Body::AudioConfig(Bytes::from_static(&[0x11, 0x90])), NOW).unwrap();
            let (mut newest, mut taken) = (0, 0_u64);
            for (is_video, stamp) in &stamps {
                let body = if *is_video { frame(IDR, 0) } else { Body::Audio(Bytes::from_static(b"raw")) };
                for input in mapper.push(*stamp, body, NOW).unwrap() {
                    let at = match input {
                        Input::Video(packet) => packet.dts.rescale(Timescale::MILLIS).ticks,
                        Input::Audio(packet) => packet.pts.ticks,
                        _ => continue,
                    };
                    taken += 1;
                    prop_assert!(at >= 0 && at <= newest + 20_000, "{} after {}", at, newest);
                    newest = newest.max(at);
                }
            }
            let held = u64::from(mapper.stray.is_some());
            prop_assert_eq!(taken + held + mapper.counters().dropped, u64::try_from(stamps.len()).unwrap());
        }
    }

    #[test]
    fn mp3_and_aac_follow_each_other() {
        let mut mapper = InputMapper::after(None);
        let mp3 = || Body::Mp3(Bytes::from_static(b"frame"));
        assert_eq!(names(&mapper.push(0, mp3(), NOW).unwrap()), ["audio config", "audio"]);
        assert_eq!(names(&mapper.push(26, mp3(), NOW).unwrap()), ["audio"]);
        let aac = Body::AudioConfig(Bytes::from_static(&[0x11, 0x90]));
        assert_eq!(names(&mapper.push(52, aac, NOW).unwrap()), ["audio config"]);
        assert_eq!(names(&mapper.push(52, Body::Audio(Bytes::from_static(b"raw")), NOW).unwrap()), ["audio"]);
    }
}
