//! Configuration of a control node.

use std::net::{Ipv4Addr, SocketAddr};

use media::StreamId;
use node::Redacted;
use serde::Deserialize;

/// Configuration of a control node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where ingests and operators connect (mutual TLS, HTTP/2). Default: `127.0.0.1:0`; port 0 asks for a free port.
    pub data_listen: SocketAddr,
    /// How long a grant is valid, in days; ingests renew theirs in time. Default: 7.
    pub grant_days: u16,
    /// Streams that are made at the start when they are not there.
    pub streams: Vec<StreamConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { data_listen: (Ipv4Addr::LOCALHOST, 0).into(), grant_days: 7, streams: Vec::new() }
    }
}

/// A configured stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Name of the stream.
    pub name: StreamId,
    /// Its key, 8 to 128 characters out of `[A-Za-z0-9._-]`. Default: one is drawn, and kept.
    #[serde(default)]
    pub key: Option<Redacted<String>>,
}
