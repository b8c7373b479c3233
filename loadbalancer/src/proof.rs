//! The proof that a connection leads to the node that it is for.
//!
//! Pingora takes no verifier of ours: it checks chain and name of a connection, and reports the digest of the certificate. So a request
//! goes over a connection of Pingora's only if the node has shown the same certificate in a handshake of ours, which is bound to its role
//! and name ([`node::tls::Server`]). Probes make one at the start; another follows when a node shows a new certificate.

use std::sync::Arc;
use std::time::Duration;

use node::tls::{Identity, Server};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::target::Target;

/// Longest handshake to learn a node's new certificate; a request waits for it.
const PROOF_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to a node over HTTP/2. A server that is not this node, in its role, is refused in the handshake, wherever it runs.
pub(crate) async fn connect(target: &Target, identity: &Identity) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut tls = identity.client(Server::Node(target.role, target.node.clone()));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(target.address).await?;
    let name = ServerName::try_from(target.node.to_string())?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
    if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        target.connections.certificates().learn(certificate);
    }
    Ok(stream)
}

/// Whether a connection leads to the node, by the SHA-256 of the certificate that its server has shown.
pub(crate) async fn is_of_node(shown: &[u8], target: &Target, identity: &Identity) -> bool {
    let known = target.connections.certificates();
    if known.contain(shown) {
        return true;
    }
    let _one = known.one_at_a_time().await;
    if known.contain(shown) {
        return true;
    }
    // The verifier logs why a handshake fails.
    let learned = tokio::time::timeout(PROOF_TIMEOUT, connect(target, identity)).await;
    matches!(learned, Ok(Ok(_))) && known.contain(shown)
}
