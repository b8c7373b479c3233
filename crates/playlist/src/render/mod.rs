//! Playlists as text (RFC 8216bis). Pure functions of what is listed; which tags there are is in `tags`.

mod iframes;
mod media;
mod multivariant;
mod tags;

pub use self::iframes::iframes;
pub use self::media::{Extent, media};
pub use multivariant::{Pathway, Steering, multivariant, steered};
