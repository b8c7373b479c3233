//! Configuration of the role.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Most parts of a segment: broadcast nodes refuse seals that go beyond.
const PARTS_PER_SEGMENT_MAX: u64 = seal::limits::PARTS_MAX as u64;

/// Configuration of an ingest node (`[role.ingest]` in `sealcast.toml`, which refuses the fields that its top level sets).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where RTMP is served. Default `0.0.0.0:1935`; port 0 asks for a free one. In the file: `rtmp_listen` at its top level.
    #[serde(skip)]
    pub rtmp_listen: SocketAddr,
    /// RTMP application that publishers name in their URL. Default `live`.
    pub application: String,
    /// Base URLs of the control nodes' data planes (`https://host:port`), tried in order. Default none: then those that announce
    /// themselves on the bus are used. In the file: `control` at its top level.
    #[serde(skip)]
    pub control: Vec<String>,
    /// File with the root public key: the trust anchor of all grants. Default `root.pub`. In the file: `root_key` at its
    /// top level.
    #[serde(skip)]
    pub root_key: PathBuf,
    /// How long a stream waits for its publisher to come back before it ends, in seconds. Default 30.
    pub reconnect_grace_seconds: u64,
    /// How long a publisher has to be silent before another with the same key takes over, in seconds. Default 5.
    pub takeover_silence_seconds: u64,
    /// RTMP connections at once, 1 to 10,000. Default 200.
    pub connections_max: usize,
    /// RTMP connections at once from one address. Default 20.
    pub connections_per_address_max: usize,
    /// How long a connection may take from its first byte to an accepted `publish`, in seconds. Default 10.
    pub handshake_seconds: u64,
    /// How long a publisher may send nothing before it is closed, in seconds. Default 20.
    pub idle_seconds: u64,
    /// Segment target in milliseconds, at most 60,000 and 64 parts. Default 4000.
    pub segment_ms: u64,
    /// Part target in milliseconds, 100 to `segment_ms`. Default 500.
    pub part_ms: u64,
    /// The encoding ladder.
    pub pipeline: crate::pipeline::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rtmp_listen: SocketAddr::from(([0, 0, 0, 0], 1935)),
            application: "live".to_owned(),
            control: Vec::new(),
            root_key: PathBuf::from("root.pub"),
            reconnect_grace_seconds: 30,
            takeover_silence_seconds: 5,
            connections_max: 200,
            connections_per_address_max: 20,
            handshake_seconds: 10,
            idle_seconds: 20,
            segment_ms: 4000,
            part_ms: 500,
            pipeline: crate::pipeline::Config::default(),
        }
    }
}

impl Config {
    /// Checks what the types cannot say. The error names the key in `sealcast.toml`.
    pub fn check(&self) -> anyhow::Result<()> {
        let positive = [
            ("connections_max", self.connections_max),
            ("connections_per_address_max", self.connections_per_address_max),
        ];
        for (field, value) in positive {
            anyhow::ensure!((1..=10_000).contains(&value), "role.ingest.{field} = {value} is not in 1 to 10000");
        }
        for (field, value) in [("handshake_seconds", self.handshake_seconds), ("idle_seconds", self.idle_seconds)] {
            anyhow::ensure!((1..=3600).contains(&value), "role.ingest.{field} = {value} is not in 1 to 3600");
        }
        anyhow::ensure!(
            self.part_ms >= 100 && self.segment_ms >= self.part_ms && self.segment_ms <= 60_000,
            "role.ingest.part_ms = {} and role.ingest.segment_ms = {} do not fit: 100 <= part_ms <= segment_ms <= 60000",
            self.part_ms,
            self.segment_ms
        );
        let parts = self.segment_ms.div_ceil(self.part_ms);
        anyhow::ensure!(
            parts <= PARTS_PER_SEGMENT_MAX,
            "role.ingest.segment_ms = {} has {parts} parts of role.ingest.part_ms = {}: at most {PARTS_PER_SEGMENT_MAX}",
            self.segment_ms,
            self.part_ms
        );
        anyhow::ensure!(!self.application.is_empty(), "role.ingest.application is empty");
        for url in &self.control {
            anyhow::ensure!(url.starts_with("https://"), "control = {url:?} does not start with https://");
        }
        self.pipeline.check().map_err(|error| anyhow::anyhow!("role.ingest.pipeline.{error}"))
    }

    pub(crate) const fn reconnect_grace(&self) -> Duration {
        Duration::from_secs(self.reconnect_grace_seconds)
    }

    pub(crate) const fn takeover_silence(&self) -> Duration {
        Duration::from_secs(self.takeover_silence_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_key_in_the_file() {
        Config::default().check().unwrap();
        assert!(error(|c| c.connections_max = 0).starts_with("role.ingest.connections_max = 0 "));
        assert!(error(|c| c.idle_seconds = 0).starts_with("role.ingest.idle_seconds = 0 "));
        assert!(error(|c| c.part_ms = 0).starts_with("role.ingest.part_ms = 0 and role.ingest.segment_ms = 4000 "));
        assert!(error(|c| c.application.clear()).starts_with("role.ingest.application "));
        assert!(error(|c| c.control.push("http://c1".to_owned())).starts_with("control = \"http://c1\" "));
        assert!(error(|c| c.pipeline.cpu_share_percent = 0).contains("role.ingest.pipeline.cpu_share_percent"));
    }

    #[test]
    fn segment_has_no_more_parts_than_nodes_take() {
        let config = |segment_ms, part_ms| Config { segment_ms, part_ms, ..Config::default() };
        config(6_400, 100).check().unwrap();
        let error = config(6_401, 100).check().unwrap_err().to_string();
        assert!(error.contains("65 parts"), "{error}");
    }

    #[test]
    fn what_the_top_level_of_the_file_sets_is_refused_here() {
        for key in ["rtmp_listen", "control", "root_key"] {
            let file = serde_json::json!({ key: "127.0.0.1:1" });
            let error = serde_json::from_value::<Config>(file).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
        }
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }
}
