//! Media: identifiers, timestamps, codec parameters, CMAF packaging and the segmenter.
//!
//! Owns everything about media that needs no network, clock or codec library. Deliberately does not decode or encode pictures
//! (`ingest` does) and knows nothing of signatures (`seal` does). Pure.

pub mod aac;
pub mod audio_clock;
pub mod av1;
pub mod avc;
mod bits;
pub mod cmaf;
mod error;
pub mod hevc;
mod ids;
pub mod input_clock;
mod object;
mod sample;
pub mod segmenter;
mod time;
mod track;

pub use error::Error;
pub use ids::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, InvalidName, LogSequence, MediaSequence,
    NAME_BYTES_MAX, NodeId, PartIndex, RenditionId, SessionId, StreamId,
};
pub use object::{ObjectName, Slot};
pub use sample::{Sample, TrackConfig};
pub use segmenter::Segmenter;
pub use time::{Now, Timescale, Timestamp, UnixMillis};
pub use track::{Format, Track};
