//! Names of media objects, in the seal log and in URLs. Pure.

use std::fmt;

use crate::{Epoch, MediaSequence, PartIndex, RenditionId, StreamId};

/// The place of a media object in a rendition of one epoch. The order is init segment, parts, segments, thumbnails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    Init,
    /// Part `part` of segment `msn`.
    Part {
        msn: MediaSequence,
        part: PartIndex,
    },
    /// Segment `msn`: exactly the bytes of its parts, one after the other.
    Segment {
        msn: MediaSequence,
    },
    /// The thumbnail of segment `msn`: its first picture as a JPEG. At most one rendition of a stream has thumbnails, and not for
    /// every segment.
    Image {
        msn: MediaSequence,
    },
}

impl fmt::Display for Slot {
    /// The last path element of the object's URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init.mp4"),
            Self::Part { msn, part } => write!(f, "{msn}.{part}.m4s"),
            Self::Segment { msn } => write!(f, "{msn}.m4s"),
            Self::Image { msn } => write!(f, "{msn}.jpg"),
        }
    }
}

impl Slot {
    /// Reads the last path element of an object's URL; `None` unless it is exactly as [`Slot`] prints it
    /// (no leading zeros or signs), so that an object has one URL.
    pub fn parse(text: &str) -> Option<Self> {
        let slot = if text == "init.mp4" {
            Self::Init
        } else if let Some(msn) = text.strip_suffix(".jpg") {
            Self::Image { msn: msn.parse().ok()? }
        } else {
            let stem = text.strip_suffix(".m4s")?;
            match stem.split_once('.') {
                None => Self::Segment { msn: stem.parse().ok()? },
                Some((msn, part)) => Self::Part { msn: msn.parse().ok()?, part: part.parse().ok()? },
            }
        };
        (slot.to_string() == text).then_some(slot)
    }
}

/// The full name of a media object. The bytes under a name never change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub stream: StreamId,
    pub rendition: RenditionId,
    /// Epoch in which it was sealed.
    pub epoch: Epoch,
    pub slot: Slot,
}

impl fmt::Display for ObjectName {
    /// The object's path on every broadcast node, on the viewers' listener and on the data plane.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, rendition, epoch, slot } = self;
        write!(f, "/live/{stream}/{rendition}/{epoch}/{slot}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_has_exactly_one_spelling() {
        for text in ["init.mp4", "0.m4s", "17.m4s", "17.3.m4s", "0.jpg", "17.jpg"] {
            assert_eq!(Slot::parse(text).unwrap().to_string(), text);
        }
        for text in ["", ".m4s", "017.m4s", "+1.m4s", "1.03.m4s", "1.2.3.m4s", "1", "init.m4s", "-1.m4s", "1.m4s/"] {
            assert_eq!(Slot::parse(text), None, "{text:?}");
        }
        for text in [".jpg", "01.jpg", "1.2.jpg", "1.jpeg", "1.JPG", "poster.jpg"] {
            assert_eq!(Slot::parse(text), None, "{text:?}");
        }
    }
}
