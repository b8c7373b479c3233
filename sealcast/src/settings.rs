//! The configuration: one typed file, overlaid by environment and flags, checked as a whole before anything binds.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use media::{ClusterId, NodeId, StreamId};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cli::{Common, RoleFlags, UpFlags};

/// Configuration file that is read, if it exists, when the flags name none.
pub(crate) const DEFAULT_FILE: &str = "sealcast.toml";

/// Most broadcast nodes in one process: more would only share the same cores.
pub(crate) const BROADCAST_MAX: u16 = 16;

/// Fewest bytes of a stream key in the configuration, so that nobody can guess it.
pub(crate) const KEY_LENGTH_MIN: usize = 8;

/// `sealcast.toml`. Every field may be left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// Directory for all files that Sealcast keeps. Default: `./data`.
    pub data: PathBuf,
    /// Name of the cluster; every seal carries it. Default: `sealcast`.
    #[schemars(with = "String")]
    pub cluster: ClusterId,
    /// Address where publishers connect by RTMP. Default: `0.0.0.0:1935`.
    pub rtmp_listen: SocketAddr,
    /// Address where publishers connect by RTMP over TLS. Default: none.
    pub rtmps_listen: Option<SocketAddr>,
    /// Address where viewers connect by HTTPS. Default: `0.0.0.0:8443`.
    pub https_listen: SocketAddr,
    /// Address of the embedded broker (`sealcast up`). Default: `127.0.0.1:1883`.
    pub mqtt_listen: SocketAddr,
    /// Whether the embedded broker requires TLS. `certs/broker-ca.pem` in the data directory is the authority of its certificate. Needed
    /// where it listens beyond this machine. Default: false.
    pub mqtt_tls: bool,
    /// Address of the ops plane. Default: `127.0.0.1:9090`.
    pub ops_listen: SocketAddr,
    /// Part target in milliseconds, 200 to 2000: the duration of a part, the unit in which media reaches low-latency players. The same on
    /// all ingest and broadcast nodes. Default: 500.
    pub part_target_ms: u64,
    /// Number of broadcast nodes in one process (`sealcast up`), 1 to 16. Default: 2.
    pub broadcast: u16,
    /// Whether to leave the test picture out (`sealcast up`). Default: false.
    pub no_source: bool,
    /// File to write once everything serves. Default: none.
    pub ready_file: Option<PathBuf>,
    /// Host names by which viewers reach the load balancer, and publishers the ingest; their certificates get them (`sealcast up`).
    /// Default: none.
    pub public_names: Vec<String>,
    /// Base URLs of the control nodes' data planes (single roles and administration). Default: none.
    pub control: Vec<String>,
    /// File of the cluster's root public key (single roles). Default: `root.pub`.
    pub root_key: PathBuf,
    /// Streams and their keys.
    pub streams: Vec<control::StreamConfig>,
    /// Issuers whose tokens (JWT) count: at the API, for publishers in place of stream keys, for viewers. Default: none.
    pub issuers: Vec<issuers::Settings>,
    /// Where nodes may send requests whose URL somebody else chose, besides public addresses: networks (`10.0.0.0/8`), hosts (`idp.lan`,
    /// `idp.lan:8443`), and hosts that may be asked without TLS (`http://idp.lan`). Default: none.
    pub outbound_allow: Vec<String>,
    /// PEM file of authorities that such servers may have, besides those that the system trusts. Default: none.
    pub outbound_ca: Option<PathBuf>,
    /// Stream, size and rates of the test picture.
    pub test_source: TestSource,
    /// Identity of a node that runs in its own process. The public certificate applies to `sealcast up`, too.
    pub node: Node,
    /// ACME server that issues the certificate which viewers see (load balancers, broadcast nodes and `sealcast up`). Default: none.
    pub acme: Option<node::acme::Config>,
    /// The brokers (single roles only; `sealcast up` brings its own).
    pub bus: bus::Config,
    /// Settings of each role.
    pub role: Roles,
}

impl Default for File {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            cluster: ClusterId::new("sealcast").expect("a valid name"),
            rtmp_listen: (Ipv4Addr::UNSPECIFIED, 1935).into(),
            rtmps_listen: None,
            https_listen: (Ipv4Addr::UNSPECIFIED, 8443).into(),
            mqtt_listen: (Ipv4Addr::LOCALHOST, 1883).into(),
            mqtt_tls: false,
            ops_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            part_target_ms: 500,
            broadcast: 2,
            no_source: false,
            ready_file: None,
            public_names: Vec::new(),
            control: Vec::new(),
            root_key: PathBuf::from("root.pub"),
            streams: Vec::new(),
            issuers: Vec::new(),
            outbound_allow: Vec::new(),
            outbound_ca: None,
            test_source: TestSource::default(),
            node: Node::default(),
            acme: None,
            bus: bus::Config::default(),
            role: Roles::default(),
        }
    }
}

/// The test picture of `sealcast up`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TestSource {
    /// Stream to publish to; it is created if it does not exist. Default: `demo`.
    #[schemars(with = "String")]
    pub stream: StreamId,
    /// Width in pixels, even. Default: 1280.
    pub width: u32,
    /// Height in pixels, even. Default: 720.
    pub height: u32,
    /// Frames per second. Default: 30.
    pub frame_rate: u32,
    /// Bits per second of the video. Default: 2,500,000.
    pub bit_rate: u64,
    /// Film grain, 0 to 64. Grain makes the encoder spend the whole bit rate. Default: 0, none.
    pub grain: u8,
}

impl Default for TestSource {
    fn default() -> Self {
        Self {
            stream: StreamId::new("demo").expect("a valid name"),
            width: 1280,
            height: 720,
            frame_rate: 30,
            bit_rate: 2_500_000,
            grain: 0,
        }
    }
}

/// Identity of a node that runs in its own process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Name, unique in the cluster.
    #[schemars(with = "Option<String>")]
    pub id: Option<NodeId>,
    /// PEM file of the cluster's certificate authority.
    pub ca: Option<PathBuf>,
    /// PEM file of the node's certificate.
    pub certificate: Option<PathBuf>,
    /// PEM file of the node's private key.
    pub private_key: Option<PathBuf>,
    /// Directory with the identities of a role, one of which this node takes. It replaces `id`, `ca`, `certificate` and `private_key`,
    /// and `username`, `password_file` and `ca` under `[bus]`. Default: none.
    pub identities: Option<PathBuf>,
    /// PEM file of a certificate from an authority that browsers trust, with its intermediate certificates. Viewers that ask for one
    /// of its names see it. Default: none, viewers see the node's own certificate.
    pub public_certificate: Option<PathBuf>,
    /// PEM file of the private key of `public_certificate`.
    pub public_key: Option<PathBuf>,
}

/// Settings of each role. A node reads only those of its own role.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Roles {
    pub ingest: ingest::Config,
    pub broadcast: broadcast::Config,
    pub loadbalancer: loadbalancer::Config,
    pub control: control::Config,
}

/// Reads the configuration file: the one named, or the default one if it exists.
///
/// # Errors
/// When the named file cannot be read, or has an unknown key or a value of the wrong kind (names file, line and key).
pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<File> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(File::default()),
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let mut file: File = node::config::read(&text, path)?;
    file.share();
    check(&file).with_context(|| format!("configuration {}", path.display()))?;
    Ok(file)
}

fn overlay(file: &mut File, common: &Common) {
    if let Some(data) = &common.data {
        file.data.clone_from(data);
    }
    if let Some(ops) = common.ops_listen {
        file.ops_listen = ops;
    }
    if let Some(ready) = &common.ready_file {
        file.ready_file = Some(ready.clone());
    }
    if let Some(part) = common.part_target_ms {
        file.part_target_ms = part;
    }
    file.share();
}

impl File {
    /// Copies the settings that several roles share to each of them.
    fn share(&mut self) {
        self.role.ingest.part_target_ms = self.part_target_ms;
        self.role.broadcast.part_target_ms = self.part_target_ms;
        let publish = |issuer: &&issuers::Settings| issuer.uses.contains(&issuers::Use::Publish);
        self.role.ingest.issuers = self.issuers.iter().filter(publish).cloned().collect();
        self.role.control.issuers.clone_from(&self.issuers);
        self.role.control.outbound_allow.clone_from(&self.outbound_allow);
        self.role.control.outbound_ca.clone_from(&self.outbound_ca);
        self.role.ingest.outbound_allow.clone_from(&self.outbound_allow);
        self.role.ingest.outbound_ca.clone_from(&self.outbound_ca);
    }
}

/// Reads the settings of `sealcast up`: the file, overlaid by the flags.
///
/// # Errors
/// As [`read`], and when values contradict one another.
pub(crate) fn for_up(flags: &UpFlags) -> anyhow::Result<File> {
    let mut file = read(flags.common.config.as_deref())?;
    overlay(&mut file, &flags.common);
    if let Some(address) = flags.rtmp_listen {
        file.rtmp_listen = address;
    }
    if flags.rtmps_listen.is_some() {
        file.rtmps_listen = flags.rtmps_listen;
    }
    if let Some(address) = flags.https_listen {
        file.https_listen = address;
    }
    if let Some(address) = flags.mqtt_listen {
        file.mqtt_listen = address;
    }
    if flags.grpc_listen.is_some() {
        file.role.control.grpc_listen = flags.grpc_listen;
    }
    if let Some(count) = flags.broadcast {
        file.broadcast = count;
    }
    if let Some(window) = flags.dvr_window_s {
        file.role.broadcast.dvr_window_s = window;
    }
    file.no_source |= flags.no_source;
    check(&file)?;
    let nodes = &file.role.broadcast;
    for (name, address) in [("https_listen", nodes.https_listen), ("data_listen", nodes.data_listen)] {
        if file.broadcast > 1 && address.port() != 0 {
            bail!("role.broadcast.{name} = {address}: {} nodes cannot share one port; use port 0", file.broadcast);
        }
    }
    Ok(file)
}

/// Reads the settings of a process with a single role: the file, overlaid by the flags.
///
/// # Errors
/// As [`read`], and when the node's name is missing or not valid.
pub(crate) fn for_role(flags: &RoleFlags) -> anyhow::Result<File> {
    let mut file = read(flags.common.config.as_deref())?;
    overlay(&mut file, &flags.common);
    if let Some(id) = &flags.id {
        file.node.id = Some(NodeId::new(id)?);
    }
    if flags.identities.is_some() {
        file.node.identities.clone_from(&flags.identities);
    }
    if file.node.id.is_none() && file.node.identities.is_none() {
        bail!("this node has no name: give --id NAME, or `id = \"…\"` under [node] in the configuration");
    }
    Ok(file)
}

/// Checks what must hold between values, and ranges that the types do not state.
fn check(file: &File) -> anyhow::Result<()> {
    if file.broadcast == 0 || file.broadcast > BROADCAST_MAX {
        bail!(
            "broadcast = {} is out of range: run 1 to {BROADCAST_MAX} broadcast nodes in one process",
            file.broadcast
        );
    }
    for name in &file.public_names {
        if !node::tls::is_host(name) {
            bail!(
                "public_names: {name:?} is no host name and no IP address: write it as in live.example, and nothing around it"
            );
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for stream in &file.streams {
        if !names.insert(&stream.name) {
            bail!("stream {:?} is configured twice", stream.name.as_str());
        }
        if stream.key.as_ref().is_some_and(|key| key.expose().len() < KEY_LENGTH_MIN) {
            bail!(
                "the key of stream {:?} is too short: use at least {KEY_LENGTH_MIN} characters",
                stream.name.as_str()
            );
        }
    }
    if file.issuers.len() > issuers::ISSUERS_MAX {
        bail!("{} issuers are more than {}", file.issuers.len(), issuers::ISSUERS_MAX);
    }
    if file.node.public_certificate.is_some() != file.node.public_key.is_some() {
        bail!("node.public_certificate and node.public_key belong together: give both");
    }
    if let Some(acme) = &file.acme {
        acme.check()?;
    }
    let (segment_ms, target_s) = (file.role.ingest.segment_ms, file.role.broadcast.target_duration_s);
    if segment_ms > u64::from(target_s) * 1_000 {
        bail!(
            "role.ingest.segment_ms = {segment_ms} is longer than role.broadcast.target_duration_s = {target_s}: \
             nodes would refuse every segment"
        );
    }
    file.role.ingest.check()?;
    file.role.broadcast.check()?;
    file.role.loadbalancer.check()?;
    file.role.control.check()?;
    let listeners = [
        ("rtmp_listen", file.rtmp_listen),
        ("https_listen", file.https_listen),
        ("mqtt_listen", file.mqtt_listen),
        ("ops_listen", file.ops_listen),
    ];
    let listeners: Vec<_> =
        listeners.into_iter().chain(file.rtmps_listen.map(|address| ("rtmps_listen", address))).collect();
    for (index, (name, address)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners.iter().take(index).find(|(_, a)| a == address && address.port() != 0) {
            bail!("{other} and {name} are both {address}: give each its own");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER_INSIDE: &str = r#"
        [[issuers]]
        url = "https://idp.example/"
        audiences = ["a"]
        jwks_url = "https://169.254.169.254/keys"
        uses = ["publish"]
        rules = [{ claim = "role", equals = "streamer", role = "producer" }]
    "#;
    const ISSUER_WITHOUT_AUDIENCE: &str = r#"
        [[issuers]]
        url = "https://idp.example/"
        audiences = []
        jwks_url = "https://idp.example/keys"
        uses = ["publish"]
        rules = [{ claim = "role", equals = "streamer", role = "producer" }]
    "#;
    fn parse(text: &str) -> anyhow::Result<File> {
        let mut file: File = node::config::read(text, Path::new("test.toml"))?;
        file.share();
        check(&file)?;
        Ok(file)
    }

    #[test]
    fn configurations_of_docker_compose_are_valid() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            parse(&std::fs::read_to_string(&file).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        }
    }

    #[test]
    fn example_is_valid_and_says_the_defaults() {
        let example = parse(include_str!("../../sealcast.example.toml")).unwrap();
        let default = File::default();
        assert_eq!(example.rtmp_listen, default.rtmp_listen);
        assert_eq!(example.broadcast, default.broadcast);
        assert_eq!(example.part_target_ms, default.part_target_ms);
        assert_eq!(example.role.ingest, default.role.ingest);
        assert_eq!(example.role.broadcast, default.role.broadcast);
    }

    #[test]
    fn values_that_make_no_sense_together_are_refused() {
        let cases = [
            ("broadcast = 17", "1 to 16"),
            ("rtmp_listen = \"0.0.0.0:1\"\nops_listen = \"0.0.0.0:1\"", "both"),
            ("rtmps_listen = \"0.0.0.0:1935\"", "rtmp_listen and rtmps_listen are both"),
            ("[[streams]]\nname = \"a\"\nkey = \"short\"", "too short"),
            ("[[streams]]\nname = \"a\"\n[[streams]]\nname = \"a\"", "twice"),
            ("[role.ingest]\nport = 1", "port"),
            ("[acme]\ndirectory = \"http://a\"\nnames = [\"a.test\"]", "https://"),
            ("[node]\npublic_certificate = \"a.pem\"", "belong together"),
            ("[role.ingest]\nsegment_ms = 6000", "longer than"),
            ("part_target_ms = 100", "200 to 2000"),
            ("outbound_allow = [\"10.0.0.1/8\"]", "outbound_allow: \"10.0.0.1/8\" is no network"),
            (ISSUER_INSIDE, "jwks_url: 169.254.169.254 leads to 169.254.169.254, a link-local address"),
            (ISSUER_WITHOUT_AUDIENCE, "audiences is empty"),
            ("[role.ingest]\npart_target_ms = 500", "part_target_ms"),
            ("part_target_ms = 2000\n[role.ingest]\nsegment_ms = 1000", "segment_ms = 1000"),
            ("[role.loadbalancer]\nconnections_max = 0", "1 to 1000000"),
            ("[role.control]\ngrant_hours = 0", "role.control.grant_hours = 0: "),
            ("[role.ingest]\nreconnect_grace_s = 99999999", "role.ingest.reconnect_grace_s = 99999999 "),
            ("[role.ingest]\ntakeover_silence_s = 0", "role.ingest.takeover_silence_s = 0 "),
            ("[role.broadcast]\negress_capacity = 0", "role.broadcast.egress_capacity = 0: "),
            ("[role.ingest.pipeline]\nrungs = []", "role.ingest.pipeline.rungs (count) = 0 "),
            ("[[role.ingest.pipeline.rungs]]\nshort_side = 360\nkbit_per_second = 0", "rungs.kbit_per_second = 0 "),
            ("public_names = [\"live.example\", \"https://live.example\"]", "public_names: \"https://live.example\" "),
            ("part_target_ms = \"x\"", "test.toml:1: part_target_ms: invalid type: string \"x\", expected u64"),
            ("[role.ingest]\nowners = 17", "test.toml:2: role.ingest.owners: 17 is not in 1 to 16"),
            ("[role.broadcast]\ndvr_window_s = 30", "48 (what the live playlist lists)"),
            ("[role.broadcast]\ndvr_window_s = 86_401", "to 86400"),
            ("[role.broadcast]\ndvr_bytes_max = 1_000", "at least 64 MiB"),
            ("[role.loadbalancer]\nhttps_listen = \"0.0.0.0:1\"", "https_listen"),
        ];
        for (text, expected) in cases {
            let said = format!("{:#}", parse(text).unwrap_err());
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn part_target_is_said_once_and_reaches_both_roles() {
        let file = parse("part_target_ms = 200").unwrap();
        assert_eq!((file.role.ingest.part_target_ms, file.role.broadcast.part_target_ms), (200, 200));
        let common = Common { part_target_ms: Some(1_000), ..Common::default() };
        let mut file = file;
        overlay(&mut file, &common);
        assert_eq!((file.role.ingest.part_target_ms, file.role.broadcast.part_target_ms), (1_000, 1_000));
    }

    #[test]
    fn keys_in_the_configuration_are_never_printed() {
        let file = parse("[[streams]]\nname = \"a\"\nkey = \"for-this-test-only\"").unwrap();
        assert!(!format!("{file:?}").contains("for-this-test-only"));
    }
}
