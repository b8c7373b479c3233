//! The crate's one error type. Pure.

use std::time::Duration;

use crate::RenditionId;

/// What can be wrong with the media that a caller hands in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An AVC decoder configuration record, parameter set or sample does not parse.
    #[error("AVC: {0}")]
    Avc(&'static str),
    /// An HEVC decoder configuration record does not parse.
    #[error("HEVC: {0}")]
    Hevc(&'static str),
    /// An AV1 codec configuration record does not parse.
    #[error("AV1: {0}")]
    Av1(&'static str),
    /// An AudioSpecificConfig does not parse, or its kind is not supported.
    #[error("AAC: {0}")]
    Aac(&'static str),
    /// A box cannot be written: a value does not fit its field.
    #[error("CMAF: {0}")]
    Cmaf(String),
    /// The segmenter cannot work with the given renditions or targets.
    #[error("segmenter: {0}")]
    Configuration(&'static str),
    /// A sample names a rendition that is not one of the session.
    #[error("rendition {rendition} is not one of this session")]
    UnknownRendition {
        /// As the sample names it.
        rendition: RenditionId,
    },
    /// A sample's times are impossible: a negative decode time, a decode time far from the previous one, a composition offset or
    /// duration out of range, or audio that does not start where the previous frame ended.
    #[error("rendition {rendition}, decode time {decode_time} ticks: {what}")]
    Timing {
        rendition: RenditionId,
        /// Decode time of the sample in ticks of the rendition's timescale.
        decode_time: i64,
        what: &'static str,
    },
    /// The buffer of a rendition is full, because another rendition holds the row back. Shed that other one.
    #[error("rendition {rendition} has {samples} samples of {bytes} bytes waiting for the other renditions")]
    BufferFull {
        /// The rendition that is full.
        rendition: RenditionId,
        samples: usize,
        bytes: usize,
    },
    /// A part would exceed the declared part target, because the source pauses for longer between two frames.
    #[error("rendition {rendition} has a part of {length:?}, longer than declared")]
    PartTooLong {
        rendition: RenditionId,
        /// Duration that the part would have.
        length: Duration,
    },
    /// No sync sample came where the segment had to end: the keyframe interval is longer than the segment target allows.
    #[error("rendition {rendition} has no sync sample for {waited:?}, so the segment cannot end")]
    SyncSampleLate {
        /// The reference rendition.
        rendition: RenditionId,
        /// Length of the open segment.
        waited: Duration,
    },
}
