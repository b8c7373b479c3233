//! From what a publisher sends to what the pipeline takes: parameter sets, one timeline, codecs. Pure.

use bytes::Bytes;
use media::input_clock::{BASE_OFFSET_MILLIS, InputClock, Media};
use media::{Timescale, Timestamp, UnixMillis, aac, avc};

use crate::pipeline::{AudioFormat, AudioPacket, Input, VideoPacket};
use crate::rtmp::flv::Body;

/// After a break the timeline goes on this much later than the newest time seen, so that no time comes twice.
const BREAK_GAP_MILLIS: i64 = 1_000;

/// Why a publisher has to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    /// Parameter sets that do not parse or are not supported.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// What was seen of a publisher's media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InputCounters {
    /// Access units.
    pub(crate) video_frames: u64,
    /// Sound frames.
    pub(crate) audio_frames: u64,
    /// Bytes of both.
    pub(crate) media_bytes: u64,
    /// Frames that came before their parameter sets, or did not parse.
    pub(crate) dropped: u64,
    /// Jumps of the clock.
    pub(crate) breaks: u64,
    /// Time from one keyframe to the next, the newest, in milliseconds.
    pub(crate) keyframe_interval_ms: i64,
    /// Newest video time less newest audio time, in milliseconds.
    pub(crate) skew_ms: i64,
}

/// Inputs of one publisher.
#[derive(Debug, Default)]
pub(crate) struct InputMapper {
    clock: InputClock,
    /// Added to the clock's times: where the timeline stands after breaks.
    shift_ms: i64,
    newest_ms: i64,
    anchored: bool,
    origin: UnixMillis,
    video: Option<(Bytes, avc::DecoderConfig)>,
    audio: Option<aac::AudioSpecificConfig>,
    mp3: bool,
    keyframe_ms: Option<i64>,
    video_ms: Option<i64>,
    audio_ms: Option<i64>,
    counters: InputCounters,
}

impl InputMapper {
    /// The timeline goes on where the media of the epoch before ended, whatever time went by since: players that measure what they
    /// have buffered by decode times would wait until times that began anew had caught up.
    pub(crate) fn after(end: Option<Timestamp>) -> Self {
        let start_ms =
            end.map_or(BASE_OFFSET_MILLIS, |end| end.rescale(Timescale::MILLIS).ticks.max(BASE_OFFSET_MILLIS));
        Self { shift_ms: start_ms.saturating_sub(BASE_OFFSET_MILLIS), ..Self::default() }
    }

    /// Wall clock of the timeline's zero: from when the first frame, or the first after a break, arrived.
    pub(crate) const fn origin(&self) -> UnixMillis {
        self.origin
    }

    pub(crate) const fn counters(&self) -> InputCounters {
        self.counters
    }

    /// Takes one message; at most two inputs come out (a break before a frame).
    pub(crate) fn push(&mut self, stamp_ms: u32, body: Body, now: UnixMillis) -> Result<Vec<Input>, InputError> {
        match body {
            Body::Nothing => Ok(Vec::new()),
            Body::VideoConfig(record) => self.video_config(record),
            Body::AudioConfig(config) => self.audio_config(&config),
            Body::Video { composition_ms, data, .. } => Ok(self.video_frame(stamp_ms, composition_ms, data, now)),
            Body::Audio(data) if self.audio.is_some() => Ok(self.audio_frame(stamp_ms, data, now)),
            Body::Mp3(data) => {
                let mut inputs = Vec::new();
                if !self.mp3 {
                    (self.mp3, self.audio) = (true, None);
                    inputs.push(Input::AudioConfig(AudioFormat::Mp3));
                }
                inputs.extend(self.audio_frame(stamp_ms, data, now));
                Ok(inputs)
            }
            Body::Audio(_) => {
                self.counters.dropped = self.counters.dropped.saturating_add(1);
                Ok(Vec::new())
            }
        }
    }

    /// The same parameter sets again, as encoders send them every few seconds, are nothing.
    fn video_config(&mut self, record: Bytes) -> Result<Vec<Input>, InputError> {
        if self.video.as_ref().is_some_and(|(known, _)| *known == record) {
            return Ok(Vec::new());
        }
        let config = avc::DecoderConfig::parse(&record)?;
        self.video = Some((record, config.clone()));
        Ok(vec![Input::VideoConfig(config)])
    }

    fn audio_config(&mut self, config: &[u8]) -> Result<Vec<Input>, InputError> {
        let parsed = aac::AudioSpecificConfig::parse(config)?;
        if self.audio.as_ref().is_some_and(|known| known.says_the_same(&parsed)) {
            return Ok(Vec::new());
        }
        (self.mp3, self.audio) = (false, Some(parsed.clone()));
        Ok(vec![Input::AudioConfig(AudioFormat::Aac(parsed))])
    }

    fn video_frame(&mut self, stamp_ms: u32, composition_ms: i32, data: Bytes, now: UnixMillis) -> Vec<Input> {
        let Some(key) = self.video.as_ref().map(|(_, config)| config.is_idr(&data)) else {
            self.counters.dropped = self.counters.dropped.saturating_add(1);
            return Vec::new();
        };
        let mut inputs = Vec::new();
        let dts_ms = self.time(Media::Video, stamp_ms, now, &mut inputs);
        if key {
            if let Some(before) = self.keyframe_ms {
                self.counters.keyframe_interval_ms = dts_ms.saturating_sub(before);
            }
            self.keyframe_ms = Some(dts_ms);
        }
        self.video_ms = Some(dts_ms);
        self.counters.video_frames = self.counters.video_frames.saturating_add(1);
        self.count(&data);
        let pts_ms = dts_ms.saturating_add(i64::from(composition_ms));
        inputs.push(Input::Video(VideoPacket { pts: ticks(pts_ms), dts: ticks(dts_ms), data }));
        inputs
    }

    fn audio_frame(&mut self, stamp_ms: u32, data: Bytes, now: UnixMillis) -> Vec<Input> {
        let mut inputs = Vec::new();
        let ms = self.time(Media::Audio, stamp_ms, now, &mut inputs);
        self.audio_ms = Some(ms);
        self.counters.audio_frames = self.counters.audio_frames.saturating_add(1);
        self.count(&data);
        inputs.push(Input::Audio(AudioPacket { pts: Timestamp::new(ms, Timescale::MILLIS), data }));
        inputs
    }

    /// The time of a stamp on the session's timeline, in milliseconds; puts a break into `inputs` where the clock jumps.
    fn time(&mut self, media: Media, stamp_ms: u32, now: UnixMillis, inputs: &mut Vec<Input>) -> i64 {
        let unwrapped = match self.clock.unwrap(media, stamp_ms) {
            Ok(time) => time.ticks,
            Err(jump) => {
                tracing::warn!(%jump, "the publisher's clock jumped: a new epoch begins");
                self.counters.breaks = self.counters.breaks.saturating_add(1);
                inputs.push(Input::Break);
                self.clock = InputClock::new();
                self.shift_ms = self.newest_ms.saturating_add(BREAK_GAP_MILLIS).saturating_sub(BASE_OFFSET_MILLIS);
                (self.anchored, self.keyframe_ms) = (false, None);
                // A new clock has nothing to jump from.
                self.clock.unwrap(media, stamp_ms).map_or(BASE_OFFSET_MILLIS, |time| time.ticks)
            }
        };
        let ms = unwrapped.saturating_add(self.shift_ms);
        if !self.anchored {
            self.anchored = true;
            self.origin = UnixMillis(now.0.saturating_sub(ms));
        }
        self.newest_ms = self.newest_ms.max(ms);
        ms
    }

    fn count(&mut self, data: &Bytes) {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.counters.media_bytes = self.counters.media_bytes.saturating_add(bytes);
        if let (Some(video), Some(audio)) = (self.video_ms, self.audio_ms) {
            self.counters.skew_ms = video.saturating_sub(audio);
        }
    }
}

/// Milliseconds in the timescale of video: exact, 90 ticks each.
fn ticks(ms: i64) -> Timestamp {
    Timestamp::new(ms, Timescale::MILLIS).rescale(Timescale::VIDEO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as x264 writes them: 320x240 baseline, 854x480 main.
    const SMALL: &str = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
    const LARGE: &str = "014d401effe10018674d401eeca06c1ef37808800000030080000019078b16cb01000468ef8fc8";
    const IDR: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];
    const NOT_IDR: &[u8] = &[0, 0, 0, 2, 0x41, 0x9A];
    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn record(hex: &str) -> Body {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Body::VideoConfig((0..hex.len()).step_by(2).map(byte).collect())
    }

    fn frame(data: &'static [u8], composition_ms: i32) -> Body {
        Body::Video { composition_ms, key: false, data: Bytes::from_static(data) }
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
        assert!(mapper.push(0, Body::VideoConfig(Bytes::from_static(b"\x01nonsense")), NOW).is_err());
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
        assert_eq!(mapper.counters().keyframe_interval_ms, 2_000);
    }

    #[test]
    fn timeline_goes_on_where_the_epoch_before_ended() {
        let end = Timestamp::new(33_188, Timescale::MILLIS).rescale(Timescale::VIDEO);
        let mut mapper = InputMapper::after(Some(end));
        mapper.push(700, record(SMALL), NOW).unwrap();
        assert_eq!(video_times(&mapper.push(700, frame(IDR, 66), NOW).unwrap()), [(33_188, 33_254)]);
        assert_eq!(mapper.origin(), UnixMillis(NOW.0 - 33_188));
        let jumped = mapper.push(90_000_000, frame(IDR, 0), NOW).unwrap();
        assert_eq!(video_times(&jumped), [(34_188, 34_188)], "and goes on so after a break");
    }

    #[test]
    fn jump_of_the_clock_breaks_the_timeline_which_never_goes_back() {
        for jump in [1_000_u32, 3_600_000, 86_400_000] {
            let mut mapper = InputMapper::after(None);
            mapper.push(90_000_000, record(SMALL), NOW).unwrap();
            mapper.push(90_000_000, frame(IDR, 0), NOW).unwrap();
            mapper.push(90_000_033, frame(NOT_IDR, 0), NOW).unwrap();
            let later = UnixMillis(NOW.0 + 50);
            let after = mapper.push(90_000_033 - jump, frame(IDR, 0), later).unwrap();
            assert_eq!(names(&after), ["break", "video"]);
            assert_eq!(video_times(&after), [(11_033, 11_033)]);
            assert_eq!(mapper.origin(), UnixMillis(later.0 - 11_033));
            let next = mapper.push(90_000_066 - jump, frame(NOT_IDR, 0), later).unwrap();
            assert_eq!(video_times(&next), [(11_066, 11_066)]);
            assert_eq!(mapper.counters().breaks, 1);
        }
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
