//! Audio time: a contiguous, sample-exact timeline from frames stamped in milliseconds. Pure.

use bytes::Bytes;

use crate::{Error, Sample, Timestamp, aac::AudioSpecificConfig};

/// The stamps jumped further than silence or dropping can hide: the timeline breaks, a new epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audio time jumped by {by_millis} ms")]
pub struct Break {
    /// Size and direction of the jump in milliseconds.
    pub by_millis: i64,
}

/// Puts AAC frames on a timeline without holes.
#[derive(Debug)]
pub struct AudioClock {}

impl AudioClock {
    /// A clock whose timeline begins at `start` (presentation time of the session's first video frame), or, with `None`,
    /// where the first frame is stamped. Errors when silence cannot be made for this configuration.
    pub fn new(_config: &AudioSpecificConfig, _start: Option<Timestamp>) -> Result<Self, Error> {
        todo!()
    }

    /// Takes the next frame, stamped `stamp` on the session's timeline. What comes out is contiguous with what came out
    /// before: silent frames where there was a hole, then the frame; nothing when it is dropped.
    pub fn push(&mut self, _stamp: Timestamp, _data: Bytes) -> Result<Emitted, Break> {
        todo!()
    }

    /// Fills with silence up to `until`, exclusive: for when the audio stays away while the video goes on.
    pub fn fill(&mut self, _until: Timestamp) -> Emitted {
        todo!()
    }

    /// Where the next frame will stand.
    pub fn next(&self) -> Option<Timestamp> {
        todo!()
    }
}

/// Samples that come out of the [`AudioClock`], in order.
#[derive(Debug)]
pub struct Emitted {}

impl Iterator for Emitted {
    type Item = Sample;
    fn next(&mut self) -> Option<Sample> {
        todo!()
    }
}
