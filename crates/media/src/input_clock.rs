//! Input time: RTMP's 32-bit millisecond stamps on one 64-bit session timeline. Pure.

use crate::Timestamp;

/// Which of the two tracks a stamp belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Video (decode times).
    Video,
    /// Audio.
    Audio,
}

/// The stamps jumped: the timeline breaks, a new epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{media:?} time jumped by {by_millis} ms")]
pub struct Break {
    /// Track that jumped.
    pub media: Media,
    /// Size and direction of the jump in milliseconds.
    pub by_millis: i64,
}

/// Session time of the first sample in milliseconds: all times of a session are shifted so that none is negative.
pub const BASE_OFFSET_MILLIS: i64 = 10_000;

/// Unwraps the stamps of one session.
#[derive(Debug, Default)]
pub struct InputClock {}

impl InputClock {
    /// A clock that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an RTMP stamp (milliseconds modulo 2^32) on the session's timeline: in [`crate::Timescale::MILLIS`], the first stamp
    /// of all at [`BASE_OFFSET_MILLIS`].
    pub fn unwrap(&mut self, _media: Media, _stamp: u32) -> Result<Timestamp, Break> {
        todo!()
    }
}
