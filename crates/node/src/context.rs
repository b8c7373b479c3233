//! What a role gets when it loads: its identity, its directory, and its connection to the rest of the cluster.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bus::Bus;
use media::{ClusterId, NodeId, UnixMillis};
use messages::{Prefix, Role};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ops::Ops;
use crate::{files, presence, tls};

/// A node's place in the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Name, unique in the cluster.
    pub id: NodeId,
    pub role: Role,
    pub cluster: ClusterId,
    /// This node's own directory; it exists.
    pub data: PathBuf,
    pub bus: Arc<dyn Bus>,
    /// Prefix of every topic.
    pub prefix: Prefix,
    /// Source of time for this node.
    pub clock: Clock,
    /// Certificate, key and authority.
    pub identity: Arc<tls::Identity>,
    /// Where health, metrics and status are shown; shared by the roles of one process.
    pub ops: Arc<Ops>,
    pub started_at: UnixMillis,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("cluster", &self.cluster)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// What a [`Context`] is made from.
#[derive(Debug)]
pub struct Setup {
    /// Name, unique in the cluster.
    pub id: NodeId,
    pub role: Role,
    pub cluster: ClusterId,
    /// This node's own directory; made when it does not exist.
    pub data: PathBuf,
    /// Brokers and how to log in.
    pub bus: bus::Config,
    /// Where its certificate, key and authority are.
    pub identity: tls::IdentityPaths,
    /// Where health, metrics and status are shown.
    pub ops: Arc<Ops>,
}

impl Setup {
    /// Reads the identity, makes the directory and starts the bus. The identity is read again whenever its files change. The last will on
    /// the bus says that this node is offline.
    ///
    /// `bus_shutdown` ends the bus. Cancel it after the roles have ended, so that their last messages get out.
    ///
    /// # Errors
    /// When the identity does not load or does not belong to this node and role; when the nodes' authority is also the brokers'; when the
    /// directory cannot be made; or when the bus configuration is not valid.
    pub async fn start(self, bus_shutdown: CancellationToken) -> Result<Context> {
        let clock = Clock::new();
        let started_at = clock.wall();
        let identity = Arc::new(tls::Identity::load(&self.identity)?);
        anyhow::ensure!(
            identity.node() == &self.id && identity.role() == self.role,
            "certificate {} belongs to {} {}, not to {} {}",
            self.identity.certificate.display(),
            identity.role(),
            identity.node(),
            self.role,
            self.id
        );
        let trust = match self.bus.ca.as_deref().filter(|_| self.bus.uses_tls()) {
            Some(ca) => {
                tls::ensure_apart(ca, &identity.authorities())?;
                Some(Arc::new(tls::BrokerTrust::load(ca)?) as Arc<dyn bus::Trust>)
            }
            None => None,
        };
        files::create_directory(&self.data)?;
        let prefix = Prefix::new(&self.bus.prefix)?;
        let will = presence::offline(&prefix, &self.id, self.role, started_at, started_at);
        tokio::spawn(Arc::clone(&identity).follow(bus_shutdown.clone()));
        let bus = bus::connect(&self.bus, self.id.as_str(), Some(will), trust, bus_shutdown)
            .await
            .with_context(|| format!("{} {} cannot start the bus", self.role, self.id))?;
        Ok(Context {
            id: self.id,
            role: self.role,
            cluster: self.cluster,
            data: self.data,
            bus,
            prefix,
            clock,
            identity,
            ops: self.ops,
            started_at,
        })
    }
}
