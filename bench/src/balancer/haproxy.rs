//! HAProxy as Debian ships it: TLS and HTTP/2 towards viewers and the node, shared connections to the node, and a cookie that keeps
//! viewers on their node.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use node::tls::IdentityPaths;

use super::running::SEGMENT;
use crate::balancer_process::Running;

pub(super) struct Haproxy<'a> {
    pub(super) node: SocketAddr,
    pub(super) identity: &'a IdentityPaths,
    pub(super) directory: &'a Path,
}

impl Haproxy<'_> {
    pub(super) fn start(&self) -> anyhow::Result<(Running, SocketAddr)> {
        // HAProxy cannot bind port 0 and tell which port it got.
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let front = self.directory.join("haproxy.pem");
        let mut pem = std::fs::read(&self.identity.certificate)?;
        pem.extend(std::fs::read(&self.identity.key)?);
        std::fs::write(&front, pem)?;
        let config = self.directory.join("haproxy.cfg");
        std::fs::write(&config, self.config(listen, &front))?;
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .context("haproxy is not installed")?;
        Ok((Running(child), listen))
    }

    fn config(&self, listen: SocketAddr, front: &Path) -> String {
        // h2load does not count an answer without a reason phrase, which HTTP/2 lacks. Segments alone are faster over HTTP/1.1 to the node.
        let (node, front, ca) = (self.node, front.display(), self.identity.ca.display());
        format!(
            "global
    maxconn 8000
defaults
    mode http
    option http-no-delay
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    timeout http-request 10s
frontend viewers
    bind {listen} ssl crt {front} alpn h2,http/1.1
    use_backend segments if {{ path {SEGMENT} }}
    default_backend nodes
backend segments
    http-reuse always
    cookie node insert indirect httponly secure
    server b1 {node} cookie b1 ssl verify required ca-file {ca} sni str(b1) verifyhost b1 alpn http/1.1
backend nodes
    http-reuse always
    http-response set-status 200 reason OK if {{ status 200 }}
    cookie node insert indirect httponly secure
    server b1 {node} cookie b1 ssl verify required ca-file {ca} sni str(b1) verifyhost b1 alpn h2
"
        )
    }
}
