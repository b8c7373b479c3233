//! Identifiers and counters of a stream, as newtypes, so that an epoch is never mistaken for a media sequence number.
//!
//! Owns their validity: every [`StreamId`] is safe in a URL path, a file name and an MQTT topic. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest accepted name of a stream, rendition, node or cluster, in bytes: names appear in URLs, file names and topics.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {text:?} is not valid: use 1 to {NAME_BYTES_MAX} characters out of a-z, A-Z, 0-9, '-', '_' and '.', not starting with '.'"
)]
pub struct InvalidName {
    kind: &'static str,
    text: String,
}

fn check_name(kind: &'static str, text: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.starts_with('.') || !text.bytes().all(allowed) {
        let text = text.chars().take(NAME_BYTES_MAX).collect();
        return Err(InvalidName { kind, text });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and wraps a name. Errors when `text` is not 1 to 64 bytes of `[A-Za-z0-9._-]`, or starts with a dot.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                check_name($kind, text)?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
    };
}

name!(
    /// The name of a stream: a live channel of a tenant.
    StreamId,
    "stream name"
);
name!(
    /// The name of a rendition: one media playlist's timeline, such as `720p` or `audio`.
    RenditionId,
    "rendition name"
);
name!(
    /// The name of a node: a running role.
    NodeId,
    "node name"
);
name!(
    /// The name of a cluster. Every seal and grant contains it, so that neither is valid in another cluster.
    ClusterId,
    "cluster name"
);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this; saturates at the largest value.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            /// Decimal digits. Leading zeros and a `+` pass: [`crate::Slot::parse`] refuses them in URLs.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

counter!(
    /// Rises by one with each session of a stream. A break in the timeline always starts a new epoch.
    Epoch,
    u64
);
counter!(
    /// Media sequence number of a segment (RFC 8216bis 4.4.3.2). Common to all renditions of a stream; never goes back.
    MediaSequence,
    u64
);
counter!(
    /// Index of a part within its parent segment, from 0.
    PartIndex,
    u32
);
counter!(
    /// Place of a seal in the seal log of its stream, from 0. It continues across epochs.
    LogSequence,
    u64
);
counter!(
    /// Discontinuity sequence number (RFC 8216bis 4.4.3.3) of a segment.
    DiscontinuitySequence,
    u64
);
counter!(
    /// A bit rate.
    BitsPerSecond,
    u64
);

/// Random identity of one session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// All zeros, where there is nothing to name: for the seal before the first of a log, and for the bytes of a gap.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

macro_rules! hex_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = Self([0; _]);
                hex::decode_to_slice(text, &mut bytes.0)?;
                Ok(bytes)
            }
        }
    };
}
hex_serde!(SessionId);
hex_serde!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_would_leave_a_path_or_topic_is_refused() {
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a#", "+", "é", "a\0", &"x".repeat(65)] {
            assert!(StreamId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "demo", "Demo-1_x.y", &"x".repeat(64)] {
            assert!(StreamId::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn digest_is_64_hex_digits() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        assert!("00ff".parse::<Digest>().is_err());
    }
}
