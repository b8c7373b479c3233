//! Playlists as text (RFC 8216bis): pure functions of a listing. `tags` has one function per tag.

mod common;
mod iframes;
mod media;
mod multivariant;
mod steering;
mod tags;

pub use self::iframes::iframes;
pub use self::media::media;
pub use multivariant::{multivariant, steered};
pub use steering::{Pathway, Steering};
