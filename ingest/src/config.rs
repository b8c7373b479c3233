//! Configuration of the role.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::owners::Replicas;
use issuers::{Bounds, Issuers};
use media::segmenter::{PART_TARGET_MS, Targets};
use node::clock::Clock;
use node::config::HOST_NAME;
use node::publish_url::PublishUrl;
use outbound::{Outbound, Policy, Trust};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::pipeline::slate::Picture;

/// Most parts of a segment: broadcast nodes refuse seals that go beyond.
const PARTS_PER_SEGMENT_MAX: u64 = seal::limits::PARTS_MAX as u64;

/// Configuration of an ingest node (`[role.ingest]` in `sealcast.toml`, which refuses the fields that its top level sets).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where RTMP is served. Default `0.0.0.0:1935`; port 0 asks for a free one. In the file: `rtmp_listen` at its top level.
    #[serde(skip)]
    pub rtmp_listen: SocketAddr,
    /// Where RTMP over TLS is served, with the certificate that viewers are shown. Default: nowhere; port 0 asks for a free one. In
    /// the file: `rtmps_listen` at its top level.
    #[serde(skip)]
    pub rtmps_listen: Option<SocketAddr>,
    /// RTMP application that publishers name in their URL. Default `live`.
    pub application: String,
    /// Where publishers reach this ingest, as `rtmp://HOST:PORT/APPLICATION` or with `rtmps`: whoever gets a stream key is shown it. The
    /// host `0.0.0.0` stands for the one at which they reach the cluster, and `{hostname}` is the machine's or container's name. Default:
    /// `rtmp://0.0.0.0:PORT/APPLICATION`, or `rtmps` with the port of `rtmps_listen` if there is one.
    pub public_url: Option<String>,
    /// Base URLs of the control nodes' data planes (`https://host:port`), tried in order; at least one. The bus never names a
    /// control node. In the file: `control` at its top level.
    #[serde(skip)]
    pub control: Vec<String>,
    /// File with the root public key: the trust anchor of all grants. Default `root.pub`. In the file: `root_key` at its
    /// top level.
    #[serde(skip)]
    pub root_key: PathBuf,
    /// How long a stream waits for its publisher to come back before it ends, in seconds, at most a day. Default 30.
    pub reconnect_grace_s: u64,
    /// How long a publisher has to be silent before another with the same key may take over, in seconds, 1 to 3600. Default 5. (With 0,
    /// two publishers with one key would close each other for ever.)
    pub takeover_silence_s: u64,
    /// What viewers get while a stream waits for its publisher: `"gap"`, or `"slate"`, a still picture with silence. Default `gap`.
    pub outage: DuringOutage,
    /// The slate's picture: a PNG or JPEG file. Default: none; the slate is then a calm dark picture.
    pub slate_picture: Option<PathBuf>,
    /// RTMP connections at once, with and without TLS, 1 to 10,000. Default 200.
    pub connections_max: usize,
    /// RTMP connections at once from one IPv4 address or one IPv6 network (/64), 1 to 10,000. Default 20.
    pub connections_per_address_max: usize,
    /// How long a connection may take from its start, TLS included, to an accepted `publish`, in seconds, 1 to 3600. Default 10.
    pub handshake_s: u64,
    /// How long a publisher may send nothing before it is closed, in seconds, 1 to 3600. Default 20.
    pub idle_s: u64,
    /// Segment target in milliseconds, at most 60,000 and 64 parts. Default 4000.
    pub segment_ms: u64,
    /// Part target in milliseconds, 200 to 2000 and at most `segment_ms`; the same on all ingest and broadcast nodes. Default 500. In the
    /// file: `part_target_ms` at its top level.
    #[serde(skip)]
    pub part_target_ms: u64,
    /// How many broadcast nodes each stream is pushed to: a number from 1 to 16, or `"all"`. The others pull from these what their
    /// viewers want. Default 2.
    #[serde(deserialize_with = "owners")]
    #[schemars(with = "WrittenOwners")]
    pub owners: Replicas,
    /// The encoding ladder.
    pub pipeline: crate::pipeline::Config,
    /// Issuers whose tokens publish, in place of stream keys. In the file: `[[issuers]]` at its top level.
    #[serde(skip)]
    pub issuers: Vec<issuers::Settings>,
    /// Networks and hosts that may be asked besides public addresses. In the file: `outbound_allow` at its top level.
    #[serde(skip)]
    pub outbound_allow: Vec<String>,
    /// PEM file of authorities that servers outside may have, besides those that the system trusts. In the file: `outbound_ca` at its top
    /// level.
    #[serde(skip)]
    pub outbound_ca: Option<PathBuf>,
}

/// What viewers get while a stream waits for its publisher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuringOutage {
    /// Nothing: their players wait.
    #[default]
    Gap,
    /// A still picture, after two seconds, or four where there is another ingest.
    Slate,
}

/// Largest number that `owners` may have; more nodes need `"all"`.
const OWNERS_MAX: usize = 16;

/// `owners` as it stands in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum WrittenOwners {
    Count(usize),
    Word(String),
}

fn owners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Replicas, D::Error> {
    let count = match WrittenOwners::deserialize(deserializer)? {
        WrittenOwners::Word(word) if word == "all" => return Ok(Replicas::All),
        WrittenOwners::Word(word) => Err(format!("{word:?}")),
        WrittenOwners::Count(count) => match NonZeroUsize::new(count).filter(|_| count <= OWNERS_MAX) {
            Some(count) => Ok(count),
            None => Err(count.to_string()),
        },
    };
    count
        .map(Replicas::Count)
        .map_err(|given| D::Error::custom(format!("{given} is not in 1 to {OWNERS_MAX}, and not \"all\"")))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rtmp_listen: SocketAddr::from(([0, 0, 0, 0], 1935)),
            rtmps_listen: None,
            application: "live".to_owned(),
            public_url: None,
            control: Vec::new(),
            root_key: PathBuf::from("root.pub"),
            reconnect_grace_s: 30,
            takeover_silence_s: 5,
            outage: DuringOutage::Gap,
            slate_picture: None,
            connections_max: 200,
            connections_per_address_max: 20,
            handshake_s: 10,
            idle_s: 20,
            segment_ms: 4000,
            part_target_ms: 500,
            owners: Replicas::default(),
            pipeline: crate::pipeline::Config::default(),
            issuers: Vec::new(),
            outbound_allow: Vec::new(),
            outbound_ca: None,
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
        let seconds = [
            ("reconnect_grace_s", self.reconnect_grace_s, 0, 86_400),
            ("takeover_silence_s", self.takeover_silence_s, 1, 3_600),
            ("handshake_s", self.handshake_s, 1, 3_600),
            ("idle_s", self.idle_s, 1, 3_600),
        ];
        for (field, value, low, high) in seconds {
            anyhow::ensure!((low..=high).contains(&value), "role.ingest.{field} = {value} is not in {low} to {high}");
        }
        anyhow::ensure!(
            PART_TARGET_MS.contains(&self.part_target_ms),
            "part_target_ms = {} is not in {} to {}",
            self.part_target_ms,
            PART_TARGET_MS.start(),
            PART_TARGET_MS.end()
        );
        anyhow::ensure!(
            (self.part_target_ms..=60_000).contains(&self.segment_ms),
            "role.ingest.segment_ms = {} is not in part_target_ms = {} to 60000",
            self.segment_ms,
            self.part_target_ms
        );
        let parts = self.segment_ms.div_ceil(self.part_target_ms);
        anyhow::ensure!(
            parts <= PARTS_PER_SEGMENT_MAX,
            "role.ingest.segment_ms = {} has {parts} parts of part_target_ms = {}: at most {PARTS_PER_SEGMENT_MAX}",
            self.segment_ms,
            self.part_target_ms
        );
        anyhow::ensure!(!self.application.is_empty(), "role.ingest.application is empty");
        if let Some(url) = &self.public_url {
            // The machine's name takes the placeholder's place when the node starts.
            let checked = url.replace(HOST_NAME, "host").parse::<PublishUrl>();
            checked.map_err(|error| anyhow::anyhow!("role.ingest.public_url = {url:?}: {error}"))?;
        }
        anyhow::ensure!(
            self.slate_picture.is_none() || self.outage == DuringOutage::Slate,
            "role.ingest.slate_picture is never shown: it needs role.ingest.outage = \"slate\""
        );
        for url in &self.control {
            anyhow::ensure!(url.starts_with("https://"), "control = {url:?} does not start with https://");
        }
        let policy = Policy::new(&self.outbound_allow).map_err(|error| anyhow::anyhow!("outbound_allow: {error}"))?;
        for issuer in &self.issuers {
            issuer.check(&policy)?;
        }
        self.pipeline.check().map_err(|error| anyhow::anyhow!("role.ingest.pipeline.{error}"))
    }

    /// Reads the slate's picture; `None` if no slate is configured. The error names the file. Blocks for the disk.
    pub(crate) fn slate(&self) -> anyhow::Result<Option<Picture>> {
        match (self.outage, &self.slate_picture) {
            (DuringOutage::Gap, _) => Ok(None),
            (DuringOutage::Slate, None) => Ok(Some(Picture::default())),
            (DuringOutage::Slate, Some(path)) => Picture::read(path)
                .map(Some)
                .map_err(|error| anyhow::anyhow!("role.ingest.slate_picture = {path:?} {error}")),
        }
    }

    /// The issuers, with keys that are fetched through the one way out. Blocks for the disk.
    pub(crate) fn issuers(&self, clock: Clock) -> anyhow::Result<Arc<Issuers>> {
        if self.issuers.is_empty() {
            // The system's authorities need not be there then.
            return Ok(Issuers::none(clock));
        }
        let trust = Trust::load(self.outbound_ca.as_deref(), node::tls::provider())?;
        let outbound = Outbound::new(Policy::new(&self.outbound_allow)?, &trust);
        Issuers::load(self.issuers.clone(), &outbound, clock, Bounds::default())
    }

    /// How long segments and parts should be.
    pub(crate) const fn targets(&self) -> Targets {
        Targets { segment: Duration::from_millis(self.segment_ms), part: Duration::from_millis(self.part_target_ms) }
    }

    pub(crate) const fn reconnect_grace(&self) -> Duration {
        Duration::from_secs(self.reconnect_grace_s)
    }

    pub(crate) const fn takeover_silence(&self) -> Duration {
        Duration::from_secs(self.takeover_silence_s)
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
        assert!(error(|c| c.idle_s = 0).starts_with("role.ingest.idle_s = 0 "));
        let grace = error(|c| c.reconnect_grace_s = 99_999_999);
        assert_eq!(grace, "role.ingest.reconnect_grace_s = 99999999 is not in 0 to 86400");
        let silence = error(|c| c.takeover_silence_s = 0);
        assert_eq!(silence, "role.ingest.takeover_silence_s = 0 is not in 1 to 3600");
        assert!(error(|c| c.part_target_ms = 199).starts_with("part_target_ms = 199 "));
        assert!(error(|c| c.application.clear()).starts_with("role.ingest.application "));
        let url = error(|c| c.public_url = Some("http://a/live".to_owned()));
        assert!(url.starts_with("role.ingest.public_url = \"http://a/live\": use rtmp://"), "{url}");
        assert!(error(|c| c.control.push("http://c1".to_owned())).starts_with("control = \"http://c1\" "));
        assert!(error(|c| c.pipeline.cpu_share_percent = 0).contains("role.ingest.pipeline.cpu_share_percent"));
        assert!(error(|c| c.pipeline.rungs = Some(Vec::new())).starts_with("role.ingest.pipeline.rungs (count) = 0 "));
        let rung = |kbit_per_second| crate::pipeline::RungConfig { short_side: 360, kbit_per_second };
        let bits = error(|c| c.pipeline.rungs = Some(vec![rung(None), rung(Some(0))]));
        assert!(bits.starts_with("role.ingest.pipeline.rungs.kbit_per_second = 0 "), "{bits}");
        assert!(bits.contains("50 to 100000, or leave it out"), "{bits}");
    }

    #[test]
    fn slate_is_configured_as_a_whole_and_errors_name_its_file() {
        let config = |text: &str| serde_json::from_str::<Config>(text);
        assert_eq!(config(r#"{"outage": "slate"}"#).unwrap().outage, DuringOutage::Slate);
        let unknown = config(r#"{"outage": "black"}"#).unwrap_err().to_string();
        assert!(unknown.contains("`gap` or `slate`"), "{unknown}");
        assert!(error(|c| c.slate_picture = Some("a.png".into())).starts_with("role.ingest.slate_picture is never "));
        assert!(Config::default().slate().unwrap().is_none());
        let slate = Config { outage: DuringOutage::Slate, ..Config::default() };
        slate.check().unwrap();
        assert!(slate.slate().unwrap().is_some(), "no file is needed");
        let missing = Config { slate_picture: Some("/nowhere/a.png".into()), ..slate };
        missing.check().unwrap();
        let error = missing.slate().unwrap_err().to_string();
        assert!(error.starts_with("role.ingest.slate_picture = \"/nowhere/a.png\" cannot be read: "), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn owners_are_a_number_or_all() {
        let owners = |text: &str| serde_json::from_str::<Config>(&format!("{{\"owners\": {text}}}")).map(|c| c.owners);
        assert_eq!(owners("3").unwrap(), Replicas::Count(NonZeroUsize::new(3).unwrap()));
        assert_eq!(owners("\"all\"").unwrap(), Replicas::All);
        for text in ["0", "17", "\"some\""] {
            let said = owners(text).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{text} is not in 1 to 16, and not \"all\"")), "{said}");
        }
    }

    #[test]
    fn segment_has_no_more_parts_than_nodes_take() {
        let config = |segment_ms, part_target_ms| Config { segment_ms, part_target_ms, ..Config::default() };
        config(12_800, 200).check().unwrap();
        assert!(config(400, 500).check().unwrap_err().to_string().starts_with("role.ingest.segment_ms = 400 "));
        let error = config(12_801, 200).check().unwrap_err().to_string();
        assert!(error.contains("65 parts"), "{error}");
    }

    #[test]
    fn what_the_top_level_of_the_file_sets_is_refused_here() {
        let shared = ["issuers", "outbound_allow", "outbound_ca"];
        for key in ["rtmp_listen", "rtmps_listen", "control", "root_key", "part_target_ms"].into_iter().chain(shared) {
            let file = serde_json::json!({ key: "127.0.0.1:1" });
            let error = serde_json::from_value::<Config>(file).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
        }
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }
}
