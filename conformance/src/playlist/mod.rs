//! Playlists, read strictly. The result keeps faults, with line numbers, beside what could be read.
//!
//! Owns the text, the tags and what they mean together. The rows decide which faults matter. Pure.

pub mod attributes;
pub mod decimal;
mod media;
mod multivariant;
mod tags;
pub mod text;

pub use attributes::{Attributes, Value};
pub use decimal::ByteRange;
pub use media::{Hint, Key, Map, MediaPlaylist, Part, Position, Report, Segment, Skip};
pub use multivariant::{Multivariant, Rendition, Variant};
pub use tags::{Class, class};
pub use text::{Fault, Text};

/// Which kind of playlist a text is (4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// It has multivariant playlist tags, or no tags at all.
    Multivariant,
    /// It has media playlist or media segment tags.
    Media,
}

/// Decides the kind by the tags. A text with tags of both kinds counts as media; a row reports mixed playlists.
#[must_use]
pub fn flavour(text: &Text) -> Flavour {
    let media = text.lines.iter().any(|line| match &line.kind {
        text::Kind::Tag { name, .. } => matches!(class(name), Class::MediaPlaylist | Class::Segment),
        text::Kind::Uri(_) => false,
    });
    if media { Flavour::Media } else { Flavour::Multivariant }
}
