//! Playlists: the fold from the admitted part of a seal log to playlist state, and its rendering as text.
//!
//! Owns the rules of RFC 8216bis for live playlists. Deliberately does not check signatures or bytes: the gate has admitted every
//! seal that is applied here. Everything is a function of the log, so two nodes at the same place in it render the same bytes.
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
