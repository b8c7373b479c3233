//! Configuration of a control node.

use std::net::{Ipv4Addr, SocketAddr};

use media::StreamId;
use node::Redacted;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a control node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where ingests and operators connect (mutual TLS, HTTP/2). Default: `127.0.0.1:0`; port 0 asks for a free port.
    pub data_listen: SocketAddr,
    /// How long a grant is valid, in days, 1 to 3650; ingests renew theirs in time. Default: 7.
    pub grant_days: u16,
    /// Streams that control makes at the start if they do not exist. In the file: `[[streams]]` at its top level.
    #[serde(skip)]
    pub streams: Vec<StreamConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { data_listen: (Ipv4Addr::LOCALHOST, 0).into(), grant_days: 7, streams: Vec::new() }
    }
}

impl Config {
    /// Checks it as a whole, before anything is bound.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        let days = self.grant_days;
        anyhow::ensure!((1..=3_650).contains(&days), "role.control.grant_days = {days}: use 1 to 3650");
        Ok(())
    }
}

/// A configured stream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Name of the stream.
    #[schemars(with = "String")]
    pub name: StreamId,
    /// Its key, 8 to 128 characters out of `[A-Za-z0-9._-]`. Default: control draws one at random, and keeps it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Redacted<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_key_in_the_file() {
        Config::default().check().unwrap();
        let error = |grant_days| Config { grant_days, ..Config::default() }.check().unwrap_err().to_string();
        assert_eq!(error(0), "role.control.grant_days = 0: use 1 to 3650");
        assert_eq!(error(3_651), "role.control.grant_days = 3651: use 1 to 3650");
    }
}
