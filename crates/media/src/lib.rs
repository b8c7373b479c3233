//! Media: identifiers, timestamps, codec parameters, CMAF packaging and the segmenter.
//!
//! Owns everything that is true of media without a network, a clock or a codec library. Deliberately does not decode or
//! encode pictures (that is `ingest`) and knows nothing of signatures (that is `seal`). Pure.

mod ids;
mod object;
mod time;
mod track;

pub use ids::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, InvalidName, LogSequence, MediaSequence,
    NAME_BYTES_MAX, NodeId, PartIndex, RenditionId, SessionId, StreamId,
};
pub use object::{ObjectName, Slot};
pub use time::{Now, Timescale, Timestamp, UnixMillis};
pub use track::{Format, Track};
