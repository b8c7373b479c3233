//! TLS of the listener that viewers and balancers share.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;

/// What viewers get, and what those get who ask for the node by its name.
#[derive(Debug, Clone)]
pub struct VisitorTls {
    pub(super) node: String,
    pub(super) viewers: Arc<ServerConfig>,
    pub(super) named: Arc<ServerConfig>,
}

impl VisitorTls {
    /// The configuration for a client. Only one that asks for the name of the node is asked for a certificate: balancers do, and a
    /// browser that was asked could show its user a question.
    pub fn for_client(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_named = hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case(&self.node));
        Arc::clone(if is_named { &self.named } else { &self.viewers })
    }
}
