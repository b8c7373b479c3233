//! What an ingest says of a publisher's media, for the person who streams. Pure.

use media::{BitsPerSecond, NodeId, StreamId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Topic `streams/{stream}/input`, every 2 s while the ingest has the stream; not retained. For display only: nothing rests on it, and
/// the publisher's address is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputReport {
    /// Stream.
    pub stream: StreamId,
    /// Ingest node that says so.
    pub ingest: NodeId,
    /// When.
    pub at: UnixMillis,
    /// Since when the publisher is connected; none while it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMillis>,
    /// Since when it has been away; none while it is connected, and before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_since: Option<UnixMillis>,
    /// Viewers are shown the slate in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slate: bool,
    /// Another ingest has the stream: this one stands by with its publisher.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
    /// How often a publisher came back since the stream went live.
    #[serde(default)]
    pub reconnects: u64,
    /// What the encoder calls itself in its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Picture and sound together, over the last seconds.
    #[serde(default)]
    pub bit_rate: BitsPerSecond,
    /// Seconds of media that came in 1000 s of real time: 1000 is real time. None before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_permille: Option<u32>,
    /// The picture, once its format is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoInput>,
    /// The sound, once its format is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioInput>,
    /// Time of the newest picture less time of the newest sound, in milliseconds; with both only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_ahead_of_audio_ms: Option<i64>,
    /// What could not be used.
    #[serde(default)]
    pub drops: Drops,
    /// Jumps of the publisher's clock since it connected, each a discontinuity.
    #[serde(default)]
    pub clock_jumps: u64,
    /// What should be looked at, the most important first.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// The publisher's picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoInput {
    /// Codec as in the CODECS attribute (RFC 6381).
    pub codec: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames in 1000 s of media, over the last seconds. None before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate_millihertz: Option<u32>,
    /// The same as the encoder announced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_frame_rate_millihertz: Option<u32>,
    /// The longest of the newest intervals from keyframe to keyframe, in milliseconds; while the first is open, how long it is by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyframe_interval_ms: Option<u64>,
    /// Largest time from decoding to showing a picture, in milliseconds: what B-frames cost.
    #[serde(default)]
    pub reorder_ms: u32,
    /// Bit rate over the last seconds.
    #[serde(default)]
    pub bit_rate: BitsPerSecond,
    /// It is a rendition as it comes, besides being decoded.
    #[serde(default)]
    pub passed_through: bool,
}

/// The publisher's sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioInput {
    /// Codec as in the CODECS attribute (RFC 6381).
    pub codec: String,
    /// Samples a second; none where the stream says so in each frame (MP3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Channels; none where the stream says so in each frame (MP3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Bit rate over the last seconds.
    #[serde(default)]
    pub bit_rate: BitsPerSecond,
}

/// What could not be used since the publisher connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drops {
    /// Frames that came before their parameter sets, or alone at another time.
    pub early: u64,
    /// Frames that no decoder takes, or that do not fit the timeline.
    pub refused: u64,
    /// Pictures in which a decoder had to hide damage.
    pub concealed: u64,
    /// Pictures not encoded because this machine was too slow, or their time did not rise.
    pub skipped: u64,
}

impl Drops {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.early.saturating_add(self.refused).saturating_add(self.concealed).saturating_add(self.skipped)
    }
}

/// How much a warning matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Viewers notice.
    Warning,
    /// It could be better.
    Note,
}

/// Something that the streamer should know, in plain words, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Which, for programs: `keyframe_interval`, `no_audio`, …
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence or two.
    pub text: String,
    /// Since when.
    pub since: UnixMillis,
    /// When it was over; none while it holds. It is said a little longer, so that it is seen, and does not come and go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
}
