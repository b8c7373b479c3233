//! A broadcast node that a request can be sent to.

use std::net::SocketAddr;
use std::sync::Arc;

use media::NodeId;

use crate::connect_limits::ConnectLimits;
use crate::node_connections::NodeConnections;

/// A broadcast node that a request can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) limits: ConnectLimits,
    pub(crate) connections: Arc<NodeConnections>,
}
