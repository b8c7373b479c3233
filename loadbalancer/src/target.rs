//! A node that a request can be sent to.

use std::net::SocketAddr;
use std::sync::Arc;

use media::NodeId;
use messages::Role;

use crate::connect_limits::ConnectLimits;
use crate::node_connections::NodeConnections;

/// A broadcast node, or a control node for requests of the API.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    pub(crate) address: SocketAddr,
    pub(crate) limits: ConnectLimits,
    pub(crate) connections: Arc<NodeConnections>,
}
