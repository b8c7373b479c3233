//! The embedded MQTT 5 broker: a small cluster's bus without another program to install.
//!
//! Owns its listener, users, access rules and bounds. Deliberately keeps nothing on disk: retained messages are
//! re-published by those who own them (see [`crate::bus`]), which a replaced broker needs anyway.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use messages::Prefix;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What a user may publish. Everybody may read everything under the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Sessions, seals and heads of all streams, alerts, its own presence.
    Ingest,
    /// Alerts, catalogue requests and its own answers, its own presence.
    Broadcast,
    /// Alerts, its own presence.
    LoadBalancer,
    /// Keys, policy, catalogue, alerts, its own presence.
    Control,
    /// Nothing: a person who looks.
    Observer,
}

/// One user of the broker. For a node the name is the node's id: "its own" topics are told by it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name; of a node its id.
    pub name: String,
    /// Password. Never printed.
    pub password: String,
    /// What it may publish.
    pub access: Access,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("access", &self.access).finish_non_exhaustive()
    }
}

/// Configuration of the embedded broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens, without TLS. Default: `127.0.0.1:1883`; port 0 asks for a free port.
    pub listen: SocketAddr,
    /// Who may log in. Default: nobody.
    pub users: Vec<User>,
    /// What stands before every topic. Default: `sealcast/v1`.
    pub prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 1883).into(), users: Vec::new(), prefix: Prefix::default().to_string() }
    }
}

/// A broker that is bound, and serves once it runs.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
}

impl EmbeddedBroker {
    /// Checks the configuration and binds.
    ///
    /// # Errors
    /// When the address is taken (names it), or a user's name or the prefix is not valid.
    #[expect(clippy::unused_async, reason = "binds")]
    pub async fn load(config: Config) -> anyhow::Result<Self> {
        anyhow::bail!("the broker on {} is being built", config.listen)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then closes all connections and returns within a second.
    ///
    /// # Errors
    /// When the listener fails for good.
    #[expect(clippy::unused_async, reason = "serves")]
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        drop(shutdown);
        Ok(())
    }
}
