//! Prints and parses topic names (`docs/reference/mqtt.md`). Pure.

use std::fmt;

use media::{InvalidName, NodeId, StreamId};

/// The first levels of every topic: `sealcast/v1` unless configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(String);

/// Why a prefix or topic was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// A prefix is one or more levels of `[A-Za-z0-9._-]`, without a slash at either end.
    #[error("MQTT prefix {0:?} is not valid: use letters, digits, '-', '_', '.' and '/' between levels")]
    Prefix(String),
    /// The topic is not under this prefix.
    #[error("topic is not under the prefix {0}")]
    Foreign(String),
    /// The topic is under the prefix, but not one of ours.
    #[error("topic is not one of Sealcast's")]
    Unknown,
    /// A stream or node name in the topic is not valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl Default for Prefix {
    fn default() -> Self {
        Self("sealcast/v1".to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Prefix {
    /// Checks and wraps a prefix of at most 128 bytes.
    pub fn new(text: &str) -> Result<Self, InvalidTopic> {
        let level_ok = |level: &str| {
            !level.is_empty() && level.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if text.len() > 128 || !text.split('/').all(level_ok) {
            return Err(InvalidTopic::Prefix(text.chars().take(128).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The full name of a topic.
    pub fn name(&self, topic: &Topic) -> String {
        format!("{}/{topic}", self.0)
    }

    /// A subscription filter under the prefix; `rest` may hold wildcards (`streams/+/seals`).
    pub fn filter(&self, rest: &str) -> String {
        format!("{}/{rest}", self.0)
    }

    /// Reads a full topic name.
    pub fn parse(&self, name: &str) -> Result<Topic, InvalidTopic> {
        let rest = name.strip_prefix(&self.0).and_then(|rest| rest.strip_prefix('/'));
        Topic::parse(rest.ok_or_else(|| InvalidTopic::Foreign(self.0.clone()))?)
    }
}

/// A topic, below the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `nodes/{node}`: [`crate::Presence`]; retained.
    Node(NodeId),
    /// `streams/{stream}/session`: [`crate::SessionInfo`]; retained.
    Session(StreamId),
    /// `streams/{stream}/input`: [`crate::InputReport`].
    Input(StreamId),
    /// `streams/{stream}/seals`: one seal (COSE).
    Seals(StreamId),
    /// `streams/{stream}/chat`: [`crate::ChatChanges`].
    Chat(StreamId),
    /// `streams/{stream}/head`: the newest seal (COSE); retained.
    Head(StreamId),
    /// `policy`: [`crate::Policy`]; retained.
    Policy,
    /// `catalogue/update`: a change of metadata.
    CatalogueUpdate,
    /// `metadata/log`: an entry of the metadata log, with its rows.
    MetadataLog,
    /// `metadata/head`: where the metadata log stands (COSE); retained.
    MetadataHead,
    /// `alerts`: [`crate::Alert`].
    Alerts,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "nodes/{node}"),
            Self::Session(stream) => write!(f, "streams/{stream}/session"),
            Self::Input(stream) => write!(f, "streams/{stream}/input"),
            Self::Seals(stream) => write!(f, "streams/{stream}/seals"),
            Self::Chat(stream) => write!(f, "streams/{stream}/chat"),
            Self::Head(stream) => write!(f, "streams/{stream}/head"),
            Self::Policy => f.write_str("policy"),
            Self::CatalogueUpdate => f.write_str("catalogue/update"),
            Self::MetadataLog => f.write_str("metadata/log"),
            Self::MetadataHead => f.write_str("metadata/head"),
            Self::Alerts => f.write_str("alerts"),
        }
    }
}

impl Topic {
    fn parse(rest: &str) -> Result<Self, InvalidTopic> {
        let mut levels = rest.split('/');
        let topic = match (levels.next(), levels.next(), levels.next()) {
            (Some("nodes"), Some(node), None) => Self::Node(NodeId::new(node)?),
            (Some("streams"), Some(stream), Some("session")) => Self::Session(StreamId::new(stream)?),
            (Some("streams"), Some(stream), Some("input")) => Self::Input(StreamId::new(stream)?),
            (Some("streams"), Some(stream), Some("seals")) => Self::Seals(StreamId::new(stream)?),
            (Some("streams"), Some(stream), Some("chat")) => Self::Chat(StreamId::new(stream)?),
            (Some("streams"), Some(stream), Some("head")) => Self::Head(StreamId::new(stream)?),
            (Some("policy"), None, None) => Self::Policy,
            (Some("catalogue"), Some("update"), None) => Self::CatalogueUpdate,
            (Some("metadata"), Some("log"), None) => Self::MetadataLog,
            (Some("metadata"), Some("head"), None) => Self::MetadataHead,
            (Some("alerts"), None, None) => Self::Alerts,
            _ => return Err(InvalidTopic::Unknown),
        };
        if levels.next().is_some() { Err(InvalidTopic::Unknown) } else { Ok(topic) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let prefix = Prefix::default();
        for rest in [
            "nodes/b1",
            "streams/demo/session",
            "streams/demo/input",
            "streams/demo/seals",
            "streams/demo/chat",
            "streams/demo/head",
            "policy",
            "catalogue/update",
            "metadata/log",
            "metadata/head",
            "alerts",
        ] {
            let name = prefix.filter(rest);
            assert_eq!(prefix.name(&prefix.parse(&name).unwrap()), name);
        }
    }

    #[test]
    fn foreign_and_hostile_topics_are_refused() {
        let prefix = Prefix::default();
        for name in ["", "sealcast", "sealcast/v1", "sealcast/v1/", "sealcast/v2/policy", "sealcast/v1x/policy"] {
            assert!(prefix.parse(name).is_err(), "{name:?}");
        }
        for rest in [
            "streams/../seals",
            "streams/a/seals/b",
            "streams/a",
            "nodes/",
            "policy/x",
            "streams/a/other",
            "keys/00ff",
            "catalogue/b1",
        ] {
            assert!(prefix.parse(&prefix.filter(rest)).is_err(), "{rest:?}");
        }
    }
}
