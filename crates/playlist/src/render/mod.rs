//! Playlists as text (RFC 8216bis): pure functions of a listing. `tags` has one function per tag.

mod iframes;
mod media;
mod multivariant;
mod tags;

pub use self::iframes::iframes;
pub use self::media::{Extent, media};
pub use multivariant::{Pathway, Steering, multivariant, steered};
