//! One function per playlist tag, in the order of RFC 8216bis section 4.4. Pure.

use std::fmt::Write as _;

use media::{BitsPerSecond, Epoch, MediaSequence, RenditionId, Timestamp, UnixMillis};

/// EXT-X-VERSION (4.4.1.2): 6 is what EXT-X-MAP in a playlist of whole segments needs.
const VERSION: u32 = 6;

/// Text of a playlist as it grows, line by line.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// EXTM3U (4.4.1.1), EXT-X-VERSION (4.4.1.2) and EXT-X-INDEPENDENT-SEGMENTS (4.4.2.1): the gate admits no segment that does
    /// not start with a sync sample.
    pub(super) fn new() -> Self {
        let mut text = Self::default();
        text.line(format_args!("#EXTM3U"));
        text.line(format_args!("#EXT-X-VERSION:{VERSION}"));
        text.line(format_args!("#EXT-X-INDEPENDENT-SEGMENTS"));
        text
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

    /// EXTINF (4.4.4.1) with microseconds, and the URI of the segment.
    pub(super) fn segment(&mut self, duration: Timestamp, epoch: Epoch, msn: MediaSequence) {
        let micros = duration.rescale(media::Timescale::new(1_000_000).expect("not zero")).ticks.max(0);
        self.line(format_args!("#EXTINF:{}.{:06},", micros / 1_000_000, micros % 1_000_000));
        self.line(format_args!("{epoch}/{msn}.m4s"));
    }

    /// EXT-X-DISCONTINUITY (4.4.4.3).
    pub(super) fn discontinuity(&mut self) {
        self.line(format_args!("#EXT-X-DISCONTINUITY"));
    }

    /// EXT-X-MAP (4.4.4.5).
    pub(super) fn map(&mut self, epoch: Epoch) {
        self.line(format_args!("#EXT-X-MAP:URI=\"{epoch}/init.mp4\""));
    }

    /// EXT-X-PROGRAM-DATE-TIME (4.4.4.6).
    pub(super) fn program_date_time(&mut self, at: UnixMillis) {
        self.line(format_args!("#EXT-X-PROGRAM-DATE-TIME:{at}"));
    }

    /// EXT-X-GAP (4.4.4.7).
    pub(super) fn gap(&mut self) {
        self.line(format_args!("#EXT-X-GAP"));
    }

    /// EXT-X-MEDIA (4.4.6.1) of a sound rendition.
    pub(super) fn audio(&mut self, group: &str, rendition: &RenditionId, channels: u8, first: First) {
        let default = match first {
            First::Yes => "YES",
            First::No => "NO",
        };
        self.line(format_args!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{rendition}\",DEFAULT={default},AUTOSELECT=YES,\
             CHANNELS=\"{channels}\",URI=\"{rendition}/index.m3u8\""
        ));
    }

    /// EXT-X-STREAM-INF (4.4.6.2) and the URI of its playlist.
    pub(super) fn variant(&mut self, variant: &Variant<'_>) {
        let Variant { rendition, peak, mean, codecs, .. } = variant;
        let mut attributes = format!("BANDWIDTH={peak},AVERAGE-BANDWIDTH={mean},CODECS=\"{codecs}\"");
        if let Some((width, height, frame_rate_millihertz)) = variant.picture {
            let _ = write!(attributes, ",RESOLUTION={width}x{height}");
            if frame_rate_millihertz > 0 {
                let (whole, rest) = (frame_rate_millihertz / 1000, frame_rate_millihertz % 1000);
                let _ = write!(attributes, ",FRAME-RATE={whole}.{rest:03}");
            }
        }
        if let Some(group) = variant.audio_group {
            let _ = write!(attributes, ",AUDIO=\"{group}\"");
        }
        self.line(format_args!("#EXT-X-STREAM-INF:{attributes}"));
        self.line(format_args!("{rendition}/index.m3u8"));
    }
}

/// Whether a rendition is the first of its group, which is the one that plays unless the viewer chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Yes,
    No,
}

/// What EXT-X-STREAM-INF says.
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
