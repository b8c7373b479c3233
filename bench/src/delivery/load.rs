//! Viewers, by `h2load` of nghttp2.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Protocol;

/// Clients of `h2load`, each with one connection.
const CONNECTIONS: u32 = 8;

pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    pub(super) path: &'a str,
    pub(super) protocol: Protocol,
}

impl Load<'_> {
    /// Sends this many requests, and returns the bytes of the bodies. Fails unless each answer is a 2xx.
    pub(super) fn run(&self, requests: u32) -> anyhow::Result<u64> {
        let mut command = Command::new("h2load");
        command.args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--clients", &CONNECTIONS.to_string()]);
        // At least one request per connection.
        let requests = requests.max(CONNECTIONS);
        command.args(["--requests", &requests.to_string()]);
        match self.protocol {
            Protocol::Http1 => command.arg("--h1"),
            Protocol::Http2 { streams } => command.args(["--max-concurrent-streams", &streams.to_string()]),
        };
        let output = command.arg(format!("https://{}{}", self.address, self.path)).output();
        let output = output.context("h2load is missing: scripts/setup.sh bench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "h2load: {said}{}", String::from_utf8_lossy(&output.stderr));
        ensure!(
            said.contains(&format!("status codes: {requests} 2xx")),
            "{}: not every answer is a 2xx: {said}",
            self.path
        );
        body_bytes(&said).with_context(|| format!("h2load says no traffic: {said}"))
    }
}

/// The last number in `traffic: 2.05GB (2200012345) total, 12.3KB (12345) headers (space savings 0.00%), 2.05GB (2200000000) data`.
fn body_bytes(said: &str) -> Option<u64> {
    let traffic = said.lines().find(|line| line.starts_with("traffic: "))?;
    let (before, _) = traffic.strip_suffix(" data")?.rsplit_once(')')?;
    before.rsplit_once('(')?.1.parse().ok()
}
