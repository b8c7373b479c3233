//! The start of a run: holds packets back until the source is known, and learns the source from them. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use media::{BitsPerSecond, Timescale, avc};

use super::ladder::Pictures;
use super::memory::Known;
use super::plan::SourceFormat;
use super::{AudioFormat, AudioPacket, Config, PassThrough, VideoFormat, VideoPacket, ticks};

/// When this many bytes are held back, the start is decided with what is there: 2.5 s of 100 Mbit/s.
const BYTES_MAX: usize = 32 << 20;

/// The same, in packets.
const PACKETS_MAX: usize = 4_096;

/// No decision comes earlier: the frame rate needs some frames, and sound may come a little later. In 90 kHz ticks.
const DECISION_TICKS_MIN: i64 = 45_000;

/// Longest span of held-back pictures that is shown after another run, when viewers had gaps meanwhile. Of a longer span, only the
/// newest is shown. In 90 kHz ticks.
const SHOWN_TICKS_MAX: i64 = DECISION_TICKS_MIN + 9_000;

/// A source whose keyframes are closer is not passed through: all rungs would have to follow it, at several times their bits. In
/// 90 kHz ticks.
const KEYFRAME_TICKS_MIN: i64 = 45_000;

/// Longest time without an IDR in a passed-through run before it breaks: a segment of 4 s has to end, and ends at an IDR. 90 kHz ticks.
pub(super) const KEYFRAME_TICKS_MAX: i64 = 4_200 * 90;

/// Highest level passed through: 5.2 is what players on phones and televisions decode.
const LEVEL_MAX: u8 = 52;

/// A measured frame rate within 1 % of one of these is taken for it. In frames per 1000 s.
const COMMON_RATES: [u32; 9] = [15_000, 23_976, 24_000, 25_000, 29_970, 30_000, 50_000, 59_940, 60_000];

/// A picture or sound in the order of arrival.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    /// A picture, and whether it is an IDR.
    Video(VideoPacket, bool),
    Audio(AudioPacket),
}

/// What a run starts with.
#[derive(Debug)]
pub(super) struct Decision {
    /// The pictures' source and parameter sets; `None` for sound alone.
    pub(super) video: Option<(SourceFormat, VideoFormat)>,
    /// The sound's format; `None` for pictures alone.
    pub(super) audio: Option<AudioFormat>,
    /// All that was held back; the first picture is an IDR.
    pub(super) packets: VecDeque<Packet>,
    /// Size and format of the decoded pictures, if known.
    pub(super) pictures: Option<Pictures>,
    /// What the encoder says of its settings.
    pub(super) settings: Option<Bytes>,
    /// Presentation time of the first picture that is encoded, in 90 kHz ticks, if it is not the first of all.
    pub(super) shown_from: Option<i64>,
}

/// What came before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing: no viewer waits, and everything held back is shown.
    Nothing,
    /// Another run: while the start is held back, viewers have gaps in its place.
    Run,
}

/// Collects the start of a run.
#[derive(Debug, Default)]
pub(super) struct Start {
    packets: VecDeque<Packet>,
    bytes: usize,
    first: Option<i64>,
    newest: i64,
    settings: Option<Bytes>,
}

impl Start {
    /// Holds a picture back. Those before the first IDR are dropped.
    pub(super) fn video(&mut self, packet: VideoPacket, idr: bool, format: &VideoFormat) {
        self.saw(ticks(packet.dts));
        if idr && self.settings.is_none() {
            self.settings = format.avc().and_then(|avc| avc.encoder_settings(&packet.data)).map(Bytes::copy_from_slice);
        }
        if idr || self.pictures().next().is_some() {
            self.bytes += packet.data.len();
            self.packets.push_back(Packet::Video(packet, idr));
        }
    }

    /// Holds sound back.
    pub(super) fn audio(&mut self, packet: AudioPacket) {
        self.saw(ticks(packet.pts));
        self.bytes += packet.data.len();
        self.packets.push_back(Packet::Audio(packet));
    }

    /// The parameter sets changed: pictures so far cannot be used.
    pub(super) fn forget_video(&mut self) {
        self.packets.retain(|packet| matches!(packet, Packet::Audio(_)));
        self.settings = None;
        self.recount();
    }

    /// The sound's format changed: sound so far cannot be used.
    pub(super) fn forget_audio(&mut self) {
        self.packets.retain(|packet| matches!(packet, Packet::Video(..)));
        self.recount();
    }

    fn recount(&mut self) {
        self.bytes = self.packets.iter().map(|packet| packet.len()).sum();
        self.first = None;
    }

    fn saw(&mut self, at: i64) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.newest = self.newest.max(at);
    }

    fn pictures(&self) -> impl Iterator<Item = (&VideoPacket, bool)> {
        self.packets.iter().filter_map(|packet| match packet {
            Packet::Video(video, idr) => Some((video, *idr)),
            Packet::Audio(_) => None,
        })
    }

    /// How long it has been collecting, in 90 kHz ticks.
    pub(super) fn waited(&self) -> i64 {
        self.first.map_or(0, |first| self.newest - first)
    }

    /// What is known of the source, unless its encoder states other settings now.
    pub(super) fn recognise(&self, known: Option<Known>) -> Option<Known> {
        known.filter(|known| known.is_of(self.settings.as_ref()))
    }

    /// Whether enough is known. While `video` or `audio` is absent, the start waits for it the whole time; [after](After) another run only
    /// for a moment, because encoders announce at once what they will send. A source that is `known` needs nothing else.
    pub(super) fn ready(
        &self,
        video: Option<&VideoFormat>,
        audio: bool,
        (config, after): (&Config, After),
        known: Option<&Known>,
    ) -> bool {
        if self.bytes > BYTES_MAX || self.packets.len() > PACKETS_MAX {
            return true;
        }
        let longest = i64::from(config.decision_ms) * 90;
        let for_others = if after == After::Run { DECISION_TICKS_MIN } else { longest };
        let Some(first) = self.pictures().next().map(|(packet, _)| ticks(packet.dts)) else {
            let audio_there = self.packets.iter().any(|packet| matches!(packet, Packet::Audio(_)));
            return video.is_none() && audio_there && self.waited() >= for_others;
        };
        let seen = self.newest - first;
        let is_complete = |sound: bool| audio || !sound || seen >= for_others;
        if known.is_some_and(|known| is_complete(known.sound)) || seen >= longest {
            return true;
        }
        let intervals = self.pictures().filter(|(_, idr)| *idr).count() > 1;
        let possible =
            config.pass_through == PassThrough::Auto && video.and_then(VideoFormat::avc).is_some_and(can_pass_through);
        seen >= DECISION_TICKS_MIN && is_complete(true) && (intervals || !possible)
    }

    /// Leaves out what gaps have replaced. A source that is passed through begins with its newest keyframe; any other begins with the
    /// newest picture, whose time is returned.
    fn skip_to_newest(&mut self, pass_through: bool) -> Option<i64> {
        let times = || self.pictures().map(|(packet, _)| ticks(packet.pts));
        let held = times().min().zip(times().max()).filter(|(oldest, newest)| newest - oldest > SHOWN_TICKS_MAX);
        let (_, newest) = held?;
        if !pass_through {
            return Some(newest);
        }
        let is_keyframe = |packet: &Packet| matches!(packet, Packet::Video(_, true));
        let from = self.packets.iter().rposition(is_keyframe)?;
        self.packets.drain(..from);
        None
    }

    /// Decides what the run starts with; `None` when there is nothing to start with yet.
    pub(super) fn decide(
        mut self,
        video: Option<&VideoFormat>,
        audio: Option<&AudioFormat>,
        (config, after): (&Config, After),
        known: Option<Known>,
    ) -> Option<Decision> {
        if self.packets.is_empty() {
            return None;
        }
        let pictures = self.pictures().next().is_some();
        let video = video.filter(|_| pictures).map(|format| {
            let source = known.as_ref().map_or_else(|| self.source(format, config), |known| known.source);
            (source, format.clone())
        });
        let pictures = known.and_then(|known| known.pictures);
        let passes = |source: &SourceFormat| source.pass_through && config.pass_through == PassThrough::Auto;
        let shown_from =
            video.as_ref().filter(|_| after == After::Run).and_then(|(source, _)| self.skip_to_newest(passes(source)));
        // EncoderMetadata sound that has not come yet is silence, so that no new run is needed when it comes.
        let audio = audio.cloned();
        Some(Decision { video, audio, packets: self.packets, pictures, settings: self.settings, shown_from })
    }

    fn source(&self, format: &VideoFormat, pipeline: &Config) -> SourceFormat {
        let times: Vec<(i64, bool, usize)> =
            self.pictures().map(|(packet, idr)| (ticks(packet.dts), idr, packet.data.len())).collect();
        let span = times.first().zip(times.last()).map_or(0, |(first, last)| last.0 - first.0);
        let frame_rate_millihertz = frame_rate(format.frame_rate_millihertz(), span, times.len());
        // The span does not contain the duration of the last picture, so its bytes are left out, too.
        let bytes: usize = times.iter().rev().skip(1).map(|(_, _, length)| length).sum();
        let bits = u64::try_from(bytes).unwrap_or(0).saturating_mul(8 * 90_000);
        let bit_rate = u64::try_from(span).ok().and_then(|span| bits.checked_div(span)).unwrap_or(0);
        let idrs: Vec<i64> = times.iter().filter(|(_, idr, _)| *idr).map(|(dts, ..)| *dts).collect();
        SourceFormat {
            codec: format.codec(),
            width: format.width(),
            height: format.height(),
            frame_rate_millihertz,
            bit_rate: BitsPerSecond(bit_rate),
            pass_through: format.avc().is_some_and(can_pass_through)
                && regular(&idrs)
                && paces(&times, pipeline.picture_ticks_max()),
        }
    }
}

impl Packet {
    fn len(&self) -> usize {
        match self {
            Self::Video(packet, _) => packet.data.len(),
            Self::Audio(packet) => packet.data.len(),
        }
    }
}

/// Whether codec parameters allow it: baseline, main or high (8 bit 4:2:0), whole frames, a level that players decode.
pub(super) fn can_pass_through(config: &avc::DecoderConfig) -> bool {
    matches!(config.profile(), 66 | 77 | 100)
        && config.chroma_format() == 1
        && config.bit_depth() == 8
        && config.progressive()
        && (1..=LEVEL_MAX).contains(&config.level())
        && config.width() > 0
        && config.height() > 0
}

/// Whether at least one whole keyframe interval was seen, and all are within the limits.
fn regular(idrs: &[i64]) -> bool {
    let mut intervals = idrs.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?));
    idrs.len() > 1 && intervals.all(|ticks| (KEYFRAME_TICKS_MIN..=KEYFRAME_TICKS_MAX).contains(&ticks))
}

/// Whether no picture lasts longer than a part may.
fn paces(times: &[(i64, bool, usize)], picture_ticks_max: i64) -> bool {
    let mut spans = times.iter().zip(times.iter().skip(1)).map(|(one, next)| next.0 - one.0);
    spans.all(|ticks| ticks <= picture_ticks_max)
}

/// Frames per 1000 seconds from `count` pictures over `span` ticks; the rate in the parameter sets if that is near.
fn frame_rate(stated: Option<u32>, span: i64, count: usize) -> u32 {
    let intervals = i64::try_from(count).unwrap_or(0) - 1;
    let measured = if span > 0 && intervals > 0 {
        u32::try_from(intervals.saturating_mul(i64::from(Timescale::VIDEO.get()) * 1_000) / span).unwrap_or(0)
    } else {
        0
    };
    let near = |rate: u32, percent: u32| measured.abs_diff(rate) <= rate / 100 * percent;
    match stated {
        Some(stated) if measured == 0 || near(stated, 5) => stated,
        _ => COMMON_RATES
            .into_iter()
            .filter(|rate| near(*rate, 1))
            .min_by_key(|rate| measured.abs_diff(*rate))
            .unwrap_or(measured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_stamps_give_the_exact_rate() {
        // 75 frames at 29.97: 74 intervals of 1001/30000 s, in milliseconds.
        let span = |count: i64, per: i64| (count * per + 15) / 30 * 90;
        assert_eq!(frame_rate(None, span(74, 1_001), 75), 29_970);
        assert_eq!(frame_rate(None, span(74, 1_000), 75), 30_000);
        assert_eq!(frame_rate(Some(25_000), 90_000 * 2, 51), 25_000);
        assert_eq!(frame_rate(Some(90_000_000), 90_000 * 2, 51), 25_000, "an absurd VUI does not count");
        assert_eq!(frame_rate(None, 90_000 * 2, 15), 7_000, "odd rates stay");
        assert_eq!(frame_rate(None, 0, 1), 0);
    }

    #[test]
    fn source_that_pauses_for_longer_than_a_part_is_not_passed_through() {
        let at = |times: &[i64]| times.iter().map(|at| (*at, false, 1)).collect::<Vec<_>>();
        assert!(paces(&at(&[0, 3_000, 48_000, 51_000]), 45_000));
        assert!(!paces(&at(&[0, 3_000, 48_001]), 45_000));
        assert!(paces(&[], 45_000));
    }

    #[test]
    fn keyframes_are_regular_only_when_an_interval_was_seen() {
        let second = 90_000;
        assert!(regular(&[0, 2 * second]));
        assert!(regular(&[0, second, 2 * second]));
        assert!(!regular(&[]));
        assert!(!regular(&[0]), "the interval may be anything");
        assert!(!regular(&[0, 3_000, 6_000]), "every frame");
        assert!(!regular(&[0, 5 * second]));
    }
}
