//! Configuration of a control node.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use media::{NodeId, StreamId};
use node::Redacted;
use outbound::Policy;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a control node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where ingests and operators connect (mutual TLS, HTTP/2). Default: `127.0.0.1:0`; port 0 asks for a free port.
    pub data_listen: SocketAddr,
    /// Where programs connect by gRPC (TLS with the node's certificate, HTTP/2), with an API key or a token of an issuer. Default: nowhere;
    /// port 0 asks for a free port.
    pub grpc_listen: Option<SocketAddr>,
    /// How long a grant is valid, in hours, 1 to 720. Ingests renew theirs at half of it, so control may be away for that long. Default:
    /// 24.
    pub grant_hours: u16,
    /// PostgreSQL database of the catalogue, `postgres://USER:PASSWORD@HOST/DATABASE`; without a password there, it comes from `PGPASSWORD`
    /// or `~/.pgpass`. Control nodes that share one take turns. Default: an SQLite file in the data directory.
    #[schemars(with = "Option<String>")]
    pub database: Option<Redacted<String>>,
    /// Hosts under which viewers may reach broadcast nodes directly, besides the names in the nodes' certificates: a name, or `.` and a
    /// domain for everything below it. Default: none.
    pub public_hosts: Vec<String>,
    /// PEM files with the certificates of nodes that belong to the cluster; read again when they change. A node that no file lists
    /// has to be added (`sealcast node add`), unless its certificate is older than the cluster's metadata log and it comes within a
    /// day of the log's beginning. A node of role control always has to be. Default: `members.pem` in the folder of identities, if it is
    /// there.
    pub members: Vec<PathBuf>,
    /// Pools whose streams an ingest serves, by the ingest's name. Default: `default` for each; streams are in that pool, too, unless
    /// `[[streams]]` says otherwise. The ingest of a streamer (`sealcast streamer add`) serves the streams that it was given.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub ingest_pools: BTreeMap<NodeId, Vec<String>>,
    /// Part target of the cluster in milliseconds. Set by the program that runs the role, from the setting that all roles share.
    #[serde(skip)]
    pub part_target_ms: u64,
    /// EXT-X-TARGETDURATION of the cluster in seconds. Set by the program that runs the role, from the broadcast nodes' setting.
    #[serde(skip)]
    pub target_duration_s: u32,
    /// Issuers whose tokens count, and at which people sign in if they say how. In the file: `[[issuers]]` at its top level.
    #[serde(skip)]
    pub issuers: Vec<issuers::Settings>,
    /// Networks and hosts that may be asked besides public addresses. In the file: `outbound_allow` at its top level.
    #[serde(skip)]
    pub outbound_allow: Vec<String>,
    /// PEM file of authorities that servers outside may have. In the file: `outbound_ca` at its top level.
    #[serde(skip)]
    pub outbound_ca: Option<PathBuf>,
    /// Streams that control makes at the start if they do not exist. In the file: `[[streams]]` at its top level.
    #[serde(skip)]
    pub streams: Vec<StreamConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            grpc_listen: None,
            grant_hours: 24,
            database: None,
            public_hosts: Vec::new(),
            members: Vec::new(),
            ingest_pools: BTreeMap::new(),
            part_target_ms: 500,
            target_duration_s: 4,
            issuers: Vec::new(),
            outbound_allow: Vec::new(),
            outbound_ca: None,
            streams: Vec::new(),
        }
    }
}

impl Config {
    /// Checks it as a whole, before anything is bound.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        let hours = self.grant_hours;
        anyhow::ensure!((1..=720).contains(&hours), "role.control.grant_hours = {hours}: use 1 to 720");
        let is_server = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        anyhow::ensure!(
            self.database.as_ref().is_none_or(|url| is_server(url.expose())),
            "role.control.database: use postgres://USER:PASSWORD@HOST/DATABASE, or leave it out for a file in the data directory"
        );
        let policy = Policy::new(&self.outbound_allow).map_err(|error| anyhow::anyhow!("outbound_allow: {error}"))?;
        for issuer in &self.issuers {
            issuer.check(&policy)?;
        }
        for host in &self.public_hosts {
            let name = host.strip_prefix('.').unwrap_or(host);
            anyhow::ensure!(
                node::tls::is_host(name),
                "role.control.public_hosts: {host:?} is no host name; use NAME, or .DOMAIN for everything below it"
            );
        }
        let ingests =
            self.ingest_pools.iter().map(|(node, pools)| (format!("role.control.ingest_pools.{node}"), pools));
        for (key, pools) in ingests {
            let few = pools.len() <= metadata::limits::SCOPE_MAX;
            anyhow::ensure!(few && !pools.is_empty(), "{key}: name 1 to {} pools", metadata::limits::SCOPE_MAX);
            pools.iter().try_for_each(|pool| check_pool(&key, pool))?;
        }
        for stream in &self.streams {
            if let Some(pool) = &stream.pool {
                check_pool(&format!("pool of stream {}", stream.name), pool)?;
            }
        }
        Ok(())
    }

    /// The pools of configured streams.
    pub(crate) fn stream_pools(&self) -> BTreeMap<StreamId, String> {
        self.streams.iter().filter_map(|stream| Some((stream.name.clone(), stream.pool.clone()?))).collect()
    }

    /// The rules that the whole cluster keeps, as the metadata log has them.
    pub(crate) fn rules(&self) -> metadata::Cluster {
        metadata::Cluster {
            part_target_ms: self.part_target_ms,
            target_duration_s: self.target_duration_s.into(),
            level: crate::log::LEVEL,
            grant_hours: self.grant_hours.into(),
        }
    }
}

/// A configured stream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Name of the stream.
    #[schemars(with = "String")]
    pub name: StreamId,
    /// Its key, 8 to 128 characters out of `[A-Za-z0-9._-]`. Default: `sealcast up` draws one at random, and keeps and shows it; a
    /// separate control node gives one when asked (`sealcast stream rotate-key`).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Redacted<String>>,
    /// Which ingests serve it: those that have this pool in `role.control.ingest_pools`. A stream that a streamer was given
    /// (`sealcast streamer add`) is the streamer's, whatever this says. Default: what it was, at first `default`.
    #[serde(default)]
    pub pool: Option<String>,
    /// File that keeps its key, in place of `key`; control makes it when it is missing. Set by the program that runs the role.
    #[serde(skip)]
    pub key_file: Option<PathBuf>,
}

/// A pool's name; those with a slash are streamers'.
fn check_pool(key: &str, pool: &str) -> anyhow::Result<()> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_one = !pool.is_empty() && pool.len() <= 64 && pool.bytes().all(is_name);
    anyhow::ensure!(is_one, "{key}: {pool:?} is no name of a pool; use 1 to 64 letters, digits and ._-");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_key_in_the_file() {
        Config::default().check().unwrap();
        let error = |grant_hours| Config { grant_hours, ..Config::default() }.check().unwrap_err().to_string();
        assert_eq!(error(0), "role.control.grant_hours = 0: use 1 to 720");
        assert_eq!(error(721), "role.control.grant_hours = 721: use 1 to 720");
        let pools = |pools: &[&str]| {
            let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
            Config { ingest_pools: [(NodeId::new("i1").unwrap(), pools)].into(), ..Config::default() }.check()
        };
        pools(&["default", "music"]).unwrap();
        for bad in [&[][..], &["*"], &["streamer/i2"], &[""]] {
            assert!(pools(bad).unwrap_err().to_string().contains("role.control.ingest_pools.i1"), "{bad:?}");
        }
        let database = Some(Redacted::new("mysql://root:secret@db/x".to_owned()));
        let said = Config { database, ..Config::default() }.check().unwrap_err().to_string();
        assert!(said.starts_with("role.control.database: use postgres://") && !said.contains("secret"), "{said}");
    }
}
