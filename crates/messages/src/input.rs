//! An ingest's report on a publisher's media, for the person who streams. Pure.

use media::{BitsPerSecond, NodeId, StreamId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Topic `streams/{stream}/input`, every 2 s while the ingest has the stream; not retained. For display, and for
/// the quotas of tenants, which ingests count by it. It does not contain the publisher's address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = Input))]
pub struct InputReport {
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub stream: StreamId,
    /// Ingest node that sends the report.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub ingest: NodeId,
    /// Time of the report.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub at: UnixMillis,
    /// Since when the publisher is connected; `None` while it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub connected_at: Option<UnixMillis>,
    /// Since when the publisher has been away; `None` while it is connected, and before the first publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub away_since: Option<UnixMillis>,
    /// Viewers see the slate instead of the publisher.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slate: bool,
    /// Another ingest has the stream; this one and its publisher stand by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
    /// How often a publisher has reconnected since the stream went live.
    #[serde(default)]
    pub reconnects: u64,
    /// Name of the encoder from its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub encoder: Option<String>,
    /// Bit rate of video and audio together, over the last seconds.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = u64))]
    pub bit_rate: BitsPerSecond,
    /// Seconds of media received per 1000 s of real time: 1000 is real time. `None` before the first measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u32))]
    pub pace_permille: Option<u32>,
    /// The video, once its format is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = VideoInput))]
    pub video: Option<VideoInput>,
    /// The audio, once its format is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = AudioInput))]
    pub audio: Option<AudioInput>,
    /// Time of the newest picture minus time of the newest audio, in milliseconds; `None` unless there are both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub video_ahead_of_audio_ms: Option<i64>,
    /// Media that could not be used.
    #[serde(default)]
    pub drops: Drops,
    /// Jumps of the publisher's clock since it connected; each is a discontinuity.
    #[serde(default)]
    pub clock_jumps: u64,
    /// Warnings for the streamer, the most important first.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(required))]
    pub warnings: Vec<Warning>,
}

/// The publisher's video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VideoInput {
    /// Codec as in the CODECS attribute (RFC 6381).
    pub codec: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per 1000 s of media, over the last seconds. `None` before the first measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u32))]
    pub frame_rate_millihertz: Option<u32>,
    /// Frames per 1000 s as the encoder announced them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u32))]
    pub announced_frame_rate_millihertz: Option<u32>,
    /// The longest of the recent intervals between keyframes, in milliseconds; during the first interval, its length so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u64))]
    pub keyframe_interval_ms: Option<u64>,
    /// Largest presentation minus decode time of a picture, in milliseconds: the delay of B-frames.
    #[serde(default)]
    pub reorder_ms: u32,
    /// Bit rate over the last seconds.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = u64))]
    pub bit_rate: BitsPerSecond,
    /// The source is passed through as a rendition, besides being decoded.
    #[serde(default)]
    pub passed_through: bool,
}

/// The publisher's audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AudioInput {
    /// Codec as in the CODECS attribute (RFC 6381).
    pub codec: String,
    /// Samples per second; `None` when each frame states its own (MP3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u32))]
    pub sample_rate_hz: Option<u32>,
    /// Channels; `None` when each frame states its own (MP3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = u8))]
    pub channels: Option<u8>,
    /// Bit rate over the last seconds.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = u64))]
    pub bit_rate: BitsPerSecond,
}

/// Media that could not be used since the publisher connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Drops {
    /// Frames that arrived before their parameter sets, or alone at another time.
    pub early: u64,
    /// Frames that no decoder accepts, or that do not fit the timeline.
    pub refused: u64,
    /// Pictures in which a decoder had to hide damage.
    pub concealed: u64,
    /// Pictures not encoded, because this machine was too slow or their time did not rise.
    pub skipped: u64,
}

impl Drops {
    /// Sum of all counters; saturating.
    pub const fn total(self) -> u64 {
        self.early.saturating_add(self.refused).saturating_add(self.concealed).saturating_add(self.skipped)
    }
}

/// How much a warning matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Viewers notice.
    Warning,
    /// The stream works, but could be better.
    Note,
}

/// A problem, in plain words for the streamer, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Warning {
    /// Identifier for programs: `keyframe_interval`, `no_audio`, …
    pub kind: String,
    pub severity: Severity,
    /// One or two sentences.
    pub text: String,
    /// Since when the problem exists.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub since: UnixMillis,
    /// When the problem ended; `None` while it lasts. The ingest repeats the warning for a while afterwards, so that people see it and it
    /// does not flicker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub until: Option<UnixMillis>,
}
