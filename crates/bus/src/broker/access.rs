//! Which user may publish what: one table, for the embedded broker and for Mosquitto. Pure.

use std::fmt;

use media::StreamId;
use serde::{Deserialize, Serialize};

/// What a user may publish. Every user may read all topics under the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Sessions, input reports, seals and heads of all streams, alerts, its own presence.
    Ingest,
    /// Alerts, its own presence.
    Broadcast,
    /// Alerts, its own presence.
    LoadBalancer,
    /// Policy, changes of the catalogue, the metadata log, chats, alerts, its own presence.
    Control,
    /// Nothing: for a person who only watches.
    Observer,
}

impl From<messages::Role> for Access {
    fn from(role: messages::Role) -> Self {
        match role {
            messages::Role::Ingest => Self::Ingest,
            messages::Role::Broadcast => Self::Broadcast,
            messages::Role::LoadBalancer => Self::LoadBalancer,
            messages::Role::Control => Self::Control,
        }
    }
}

impl Access {
    /// Filters, below the prefix, of the topics that user `name` may publish.
    pub fn publishes(self, name: &str) -> Vec<String> {
        let shared: &[&str] = match self {
            Self::Ingest => &["streams/+/session", "streams/+/input", "streams/+/seals", "streams/+/head", "alerts"],
            Self::Broadcast | Self::LoadBalancer => &["alerts"],
            Self::Control => &["policy", "catalogue/update", "metadata/+", "streams/+/chat", "alerts"],
            Self::Observer => return Vec::new(),
        };
        let mut filters: Vec<String> = shared.iter().map(|&filter| filter.to_owned()).collect();
        filters.push(format!("nodes/{name}"));
        filters
    }
}

/// A streamer's own ingest. It publishes and reads what concerns its streams, and nothing else but its presence.
#[derive(Clone, PartialEq, Eq)]
pub struct Streamer {
    /// The node's id.
    pub name: String,
    /// Password, not empty. Never printed.
    pub password: String,
    /// Its streams.
    pub streams: Vec<StreamId>,
}

impl Streamer {
    /// Filters, below the prefix, of the topics that it may publish.
    pub fn publishes(&self) -> Vec<String> {
        let of =
            |stream: &StreamId| ["session", "input", "seals", "head"].map(|kind| format!("streams/{stream}/{kind}"));
        self.streams.iter().flat_map(of).chain([format!("nodes/{}", self.name)]).collect()
    }

    /// Filters, below the prefix, of the topics that it may read. The metadata log is among them: a replica needs all of it.
    pub fn reads(&self) -> Vec<String> {
        let common = ["nodes/+", "policy", "catalogue/update", "metadata/log", "metadata/head"].map(str::to_owned);
        common.into_iter().chain(self.streams.iter().map(|stream| format!("streams/{stream}/+"))).collect()
    }
}

impl fmt::Debug for Streamer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamer").field("name", &self.name).field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// One user of the broker. A node's user has the node's id as its name, which decides what its "own" topics are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name: letters, digits, `-`, `_`, `.`; for a node its id.
    pub name: String,
    /// Password, not empty. Never printed.
    pub password: String,
    /// What it may publish.
    pub access: Access,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("access", &self.access).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(access: Access, topic: &str) -> bool {
        access.publishes("n1").iter().any(|filter| mqtt5_protocol::topic_matches_filter(topic, filter))
    }

    #[test]
    fn only_ingests_publish_seals_and_only_control_publishes_the_metadata_log() {
        for (topic, who) in [
            ("streams/demo/seals", &[Access::Ingest][..]),
            ("streams/demo/head", &[Access::Ingest]),
            ("streams/demo/session", &[Access::Ingest]),
            ("streams/demo/input", &[Access::Ingest]),
            ("keys/00ff", &[]),
            ("policy", &[Access::Control]),
            ("catalogue/update", &[Access::Control]),
            ("catalogue/request", &[]),
            ("catalogue/n1", &[]),
            ("metadata/log", &[Access::Control]),
            ("metadata/head", &[Access::Control]),
            ("nodes/n1", &[Access::Ingest, Access::Broadcast, Access::LoadBalancer, Access::Control]),
            ("nodes/n2", &[]),
            ("alerts", &[Access::Ingest, Access::Broadcast, Access::LoadBalancer, Access::Control]),
            ("streams/demo/other", &[]),
        ] {
            for access in [Access::Ingest, Access::Broadcast, Access::LoadBalancer, Access::Control, Access::Observer] {
                assert_eq!(may(access, topic), who.contains(&access), "{access:?} on {topic}");
            }
        }
    }

    #[test]
    fn streamer_publishes_and_reads_what_concerns_its_streams() {
        let streams = vec![StreamId::new("choir").unwrap()];
        let anna = Streamer { name: "anna".into(), password: "secret".into(), streams };
        let matches = |filters: &[String], topic: &str| {
            filters.iter().any(|filter| mqtt5_protocol::topic_matches_filter(topic, filter))
        };
        for (topic, publishes, reads) in [
            ("streams/choir/seals", true, true),
            ("streams/choir/session", true, true),
            ("nodes/anna", true, true),
            ("nodes/b1", false, true),
            ("metadata/head", false, true),
            ("streams/hall/seals", false, false),
            ("streams/hall/session", false, false),
            ("alerts", false, false),
            ("policy", false, true),
        ] {
            assert_eq!(matches(&anna.publishes(), topic), publishes, "{topic}");
            assert_eq!(matches(&anna.reads(), topic), reads, "{topic}");
        }
        assert!(!format!("{anna:?}").contains("secret"));
    }

    #[test]
    fn the_password_is_never_printed() {
        let user = User { name: "b1".into(), password: "secret".into(), access: Access::Broadcast };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
