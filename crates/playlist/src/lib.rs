//! Playlists: the fold from the admitted part of a seal log to playlist state, and its rendering as text.
//!
//! Owns what RFC 8216bis says about live playlists. Deliberately does not check signatures or bytes: what is applied here was
//! admitted by the gate. Everything is a function of the log, so two nodes at the same place in it render the same bytes.
//! Pure.

mod listing;
mod past;
pub mod reload;
pub mod render;
mod timeline;

pub use listing::Listing;
pub use past::{Past, TooLate};
pub use timeline::{
    Checkpoint, Contradiction, Effects, Part, Row, Segment, SegmentKey, Settings, Timeline, WINDOW_SEGMENTS_MIN,
};
