//! HTTP clients for nodes, one for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use media::NodeId;
use messages::Role;

use super::identity::Identity;
use super::server::Server;

/// Most clients kept, one for each node: as many as a cluster has nodes. One more makes [`Clients`] forget them all; a caller keeps the
/// client that it uses.
const CLIENTS_MAX: usize = 1_024;

/// HTTP clients for nodes of one role, each of which reaches one node and no other. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Clients {
    identity: Arc<Identity>,
    role: Role,
    made: Arc<Mutex<BTreeMap<NodeId, reqwest::Client>>>,
}

impl Clients {
    /// Clients with this identity, for nodes of `role`.
    pub fn new(identity: Arc<Identity>, role: Role) -> Self {
        Self { identity, role, made: Arc::default() }
    }

    /// The client for a node, as [`Identity::http_client`] makes it.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn to(&self, node: &NodeId) -> Result<reqwest::Client> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(node) {
            return Ok(client.clone());
        }
        if made.len() >= CLIENTS_MAX {
            made.clear();
        }
        let client = self.identity.http_client(Server::Node(self.role, node.clone()))?;
        made.insert(node.clone(), client.clone());
        Ok(client)
    }
}
