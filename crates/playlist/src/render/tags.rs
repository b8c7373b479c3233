//! One function per playlist tag, in the order of RFC 8216bis section 4.4. Pure.

use std::fmt::Write as _;

use media::{BitsPerSecond, Epoch, MediaSequence, PartIndex, RenditionId, Slot, Timestamp, UnixMillis};

use super::steering::Pathway;
use crate::Settings;
use crate::listing::Files;
use crate::reload::Hint;
use crate::timeline::{Part, extinf_micros};

/// EXT-X-VERSION (4.4.1.2, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// EXT-X-MAP in a playlist of I-frames needs 5.
    IFrames = 5,
    /// EXT-X-MAP in a playlist of whole segments needs 6.
    Map = 6,
    /// EXT-X-SKIP needs 9.
    Skip = 9,
}

/// The text of a playlist, written line by line.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// EXTM3U (4.4.1.1) and EXT-X-VERSION (4.4.1.2).
    pub(super) fn new(version: Version, capacity_bytes: usize) -> Self {
        let mut text = Self(String::with_capacity(capacity_bytes));
        text.line(format_args!("#EXTM3U"));
        text.line(format_args!("#EXT-X-VERSION:{}", version as u32));
        text
    }

    /// EXT-X-INDEPENDENT-SEGMENTS (4.4.2.1): the fold refuses a segment that does not start with a sync sample. In a multivariant playlist
    /// the tag holds for all media playlists, which should not repeat it.
    pub(super) fn independent_segments(&mut self) {
        self.line(format_args!("#EXT-X-INDEPENDENT-SEGMENTS"));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a string does not fail");
    }

    /// EXT-X-TARGETDURATION (4.4.3.1), in seconds.
    pub(super) fn target_duration(&mut self, seconds: u32) {
        self.line(format_args!("#EXT-X-TARGETDURATION:{seconds}"));
    }

    /// EXT-X-MEDIA-SEQUENCE (4.4.3.2).
    pub(super) fn media_sequence(&mut self, msn: MediaSequence) {
        self.line(format_args!("#EXT-X-MEDIA-SEQUENCE:{msn}"));
    }

    /// EXT-X-DISCONTINUITY-SEQUENCE (4.4.3.3): before the first segment and any EXT-X-DISCONTINUITY.
    pub(super) fn discontinuity_sequence(&mut self, number: u64) {
        self.line(format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{number}"));
    }

    /// EXT-X-ENDLIST (4.4.3.4).
    pub(super) fn end_list(&mut self) {
        self.line(format_args!("#EXT-X-ENDLIST"));
    }

    /// EXT-X-PART-INF (4.4.3.7): no part is longer; constant while the stream lives.
    pub(super) fn part_inf(&mut self, settings: &Settings) {
        self.line(format_args!("#EXT-X-PART-INF:PART-TARGET={}", Millis(settings.part_target_ms)));
    }

    /// EXT-X-SERVER-CONTROL (4.4.3.8). The skip boundary is six target durations and HOLD-BACK three, both the least allowed.
    /// PART-HOLD-BACK is three part targets, as recommended (two is the least).
    pub(super) fn server_control(&mut self, settings: &Settings) {
        let target_ms = settings.target_duration_s.saturating_mul(1_000);
        let [skip, hold_back] = [6, 3].map(|times| Millis(target_ms.saturating_mul(times)));
        let part_hold_back = Millis(settings.part_target_ms.saturating_mul(3));
        self.line(format_args!(
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={skip},HOLD-BACK={hold_back},\
             PART-HOLD-BACK={part_hold_back}"
        ));
    }

    /// EXT-X-I-FRAMES-ONLY (4.4.3.6).
    pub(super) fn i_frames_only(&mut self) {
        self.line(format_args!("#EXT-X-I-FRAMES-ONLY"));
    }

    /// EXTINF (4.4.4.1) of a segment of this duration, in seconds with six decimals.
    pub(super) fn duration(&mut self, duration: Timestamp) {
        self.line(format_args!("#EXTINF:{},", Micros(extinf_micros(duration))));
    }

    /// EXT-X-BYTERANGE (4.4.4.2) of the beginning of a segment.
    pub(super) fn byte_range(&mut self, length_bytes: u64) {
        self.line(format_args!("#EXT-X-BYTERANGE:{length_bytes}@0"));
    }

    /// The URI of a segment.
    pub(super) fn segment(&mut self, epoch: Epoch, msn: MediaSequence) {
        self.line(format_args!("{epoch}/{}", Slot::Segment { msn }));
    }

    /// EXT-X-DISCONTINUITY (4.4.4.3).
    pub(super) fn discontinuity(&mut self) {
        self.line(format_args!("#EXT-X-DISCONTINUITY"));
    }

    /// EXT-X-MAP (4.4.4.5).
    pub(super) fn map(&mut self, epoch: Epoch) {
        self.line(format_args!("#EXT-X-MAP:URI=\"{epoch}/{}\"", Slot::Init));
    }

    /// EXT-X-PROGRAM-DATE-TIME (4.4.4.6).
    pub(super) fn program_date_time(&mut self, at: UnixMillis) {
        self.line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{at}"));
    }

    /// EXT-X-GAP (4.4.4.7).
    pub(super) fn gap(&mut self) {
        self.line(format_args!("#EXT-X-GAP"));
    }

    /// EXT-X-PART (4.4.4.9) with DURATION in microseconds. `part` is `None` where the epoch does not have the rendition: a gap.
    pub(super) fn part(&mut self, micros: u64, epoch: Epoch, slot: Slot, part: Option<&Part>) {
        let flag = match part {
            Some(Part { gap: false, independent: true, .. }) => ",INDEPENDENT=YES",
            Some(Part { gap: false, .. }) => "",
            Some(_) | None => ",GAP=YES",
        };
        self.line(format_args!("#EXT-X-PART:DURATION={},URI=\"{epoch}/{slot}\"{flag}", Micros(micros)));
    }

    /// EXT-X-SKIP (4.4.5.2).
    pub(super) fn skip(&mut self, segments: usize) {
        self.line(format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={segments}"));
    }

    /// EXT-X-PRELOAD-HINT (4.4.5.3) of the next part. Never of an init segment: only another epoch brings another one.
    pub(super) fn preload_hint(&mut self, hint: &Hint) {
        let Hint { epoch, msn, part } = *hint;
        self.line(format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{epoch}/{}\"", Slot::Part { msn, part }));
    }

    /// EXT-X-RENDITION-REPORT (4.4.5.4) of another playlist, which may have parts.
    pub(super) fn rendition_report(
        &mut self,
        rendition: &RenditionId,
        file: &str,
        msn: MediaSequence,
        part: Option<PartIndex>,
    ) {
        let uri = format_args!("../{rendition}/{file}");
        match part {
            Some(part) => {
                self.line(format_args!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={msn},LAST-PART={part}"));
            }
            None => self.line(format_args!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={msn}")),
        }
    }

    /// EXT-X-MEDIA (4.4.6.1) of an audio rendition.
    pub(super) fn audio(
        &mut self,
        (group, first): (&str, First),
        (rendition, channels): (&RenditionId, u8),
        files: Files,
        way: Option<&Pathway>,
    ) {
        let default = match first {
            First::Yes => "YES",
            First::No => "NO",
        };
        self.line(format_args!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{rendition}\",LANGUAGE=\"und\",DEFAULT={default},AUTOSELECT=YES,\
             CHANNELS=\"{channels}\"{},URI=\"{}{rendition}/{}\"",
            stable_rendition(rendition, way),
            base(way),
            files.media
        ));
    }

    /// EXT-X-STREAM-INF (4.4.6.2) and the URI of its playlist. It states that video has standard dynamic range and no captions that we know
    /// of: a client may search for anything that is not stated.
    pub(super) fn variant(&mut self, variant: &Variant<'_>, files: Files, way: Option<&Pathway>) {
        let Variant { rendition, peak, mean, codecs, .. } = variant;
        let mut attributes = format!("BANDWIDTH={peak},AVERAGE-BANDWIDTH={mean},CODECS=\"{codecs}\"");
        if let Some((width, height, frame_rate_millihertz)) = variant.picture {
            let _ = write!(attributes, ",RESOLUTION={width}x{height}");
            if frame_rate_millihertz > 0 {
                let (whole, rest) = (frame_rate_millihertz / 1000, frame_rate_millihertz % 1000);
                let _ = write!(attributes, ",FRAME-RATE={whole}.{rest:03}");
            }
            attributes.push_str(",VIDEO-RANGE=SDR,CLOSED-CAPTIONS=NONE");
        }
        if let Some(group) = variant.audio_group {
            let _ = write!(attributes, ",AUDIO=\"{group}\"");
        }
        self.line(format_args!("#EXT-X-STREAM-INF:{attributes}{}", stable_variant(format_args!("{rendition}"), way)));
        self.line(format_args!("{}{rendition}/{}", base(way), files.media));
    }

    /// EXT-X-I-FRAME-STREAM-INF (4.4.6.3).
    pub(super) fn i_frames(&mut self, i_frames: &IFrames<'_>, files: Files, way: Option<&Pathway>) {
        let IFrames { rendition, peak, mean, codec, size: (width, height) } = i_frames;
        self.line(format_args!(
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={mean},CODECS=\"{codec}\",\
             RESOLUTION={width}x{height},VIDEO-RANGE=SDR{},URI=\"{}{rendition}/{}\"",
            stable_variant(format_args!("{rendition}-iframes"), way),
            base(way),
            files.iframes
        ));
    }

    /// EXT-X-CONTENT-STEERING (4.4.6.6).
    pub(super) fn content_steering(&mut self, server_uri: &str, first: &Pathway) {
        self.line(format_args!("#EXT-X-CONTENT-STEERING:SERVER-URI=\"{server_uri}\",PATHWAY-ID=\"{}\"", first.id));
    }
}

/// Prefix of the URIs of a pathway.
fn base(way: Option<&Pathway>) -> &str {
    way.map_or("", |pathway| &pathway.base)
}

/// STABLE-RENDITION-ID (4.4.6.1): the same rendition on all pathways.
fn stable_rendition(rendition: &RenditionId, way: Option<&Pathway>) -> String {
    way.map_or_else(String::new, |_| format!(",STABLE-RENDITION-ID=\"{rendition}\""))
}

/// STABLE-VARIANT-ID and PATHWAY-ID (4.4.6.2).
fn stable_variant(name: std::fmt::Arguments<'_>, way: Option<&Pathway>) -> String {
    way.map_or_else(String::new, |Pathway { id, .. }| format!(",STABLE-VARIANT-ID=\"{name}\",PATHWAY-ID=\"{id}\""))
}

/// Seconds with three decimals.
struct Millis(u32);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Seconds with six decimals.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Whether a rendition is the first of its group, which is the one that plays unless the viewer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Yes,
    No,
}

/// The attributes of EXT-X-STREAM-INF.
#[derive(Debug)]
pub(super) struct Variant<'a> {
    pub(super) rendition: &'a RenditionId,
    pub(super) peak: BitsPerSecond,
    pub(super) mean: BitsPerSecond,
    pub(super) codecs: String,
    /// Width, height, frames per 1000 seconds.
    pub(super) picture: Option<(u32, u32, u32)>,
    pub(super) audio_group: Option<&'a str>,
}

/// The attributes of EXT-X-I-FRAME-STREAM-INF.
#[derive(Debug)]
pub(super) struct IFrames<'a> {
    pub(super) rendition: &'a RenditionId,
    pub(super) peak: BitsPerSecond,
    pub(super) mean: BitsPerSecond,
    pub(super) codec: &'a str,
    /// Width and height.
    pub(super) size: (u32, u32),
}
