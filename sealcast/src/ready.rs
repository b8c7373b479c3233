//! The ready file: tells the program that started Sealcast every address, once everything serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// One JSON object. Addresses that listen on all interfaces appear as loopback.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ready {
    pub rtmp: Option<String>,
    pub rtmps: Option<String>,
    pub https: Option<String>,
    /// Where programs connect by gRPC, where the configuration says so.
    pub grpc: Option<String>,
    pub mqtt: Vec<String>,
    pub ops: Option<String>,
    pub ca: Option<String>,
    pub broadcast: Vec<BroadcastNode>,
    pub streams: Vec<StreamKey>,
    /// Where somebody becomes the operator, while there is none. For 15 minutes.
    pub set_up: Option<SetUpLink>,
    pub pid: u32,
}

/// A broadcast node's name, and its base URL for viewers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BroadcastNode {
    pub id: String,
    pub https: String,
}

/// A stream and its key, which `Debug` does not show.
#[derive(Clone, Serialize)]
pub(crate) struct StreamKey {
    pub name: String,
    pub key: String,
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A set-up link, which `Debug` does not show.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct SetUpLink(pub String);

impl std::fmt::Debug for SetUpLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Ready {
    /// The process id and no address.
    pub(crate) fn new() -> Self {
        Self {
            rtmp: None,
            rtmps: None,
            https: None,
            grpc: None,
            mqtt: Vec::new(),
            ops: None,
            ca: None,
            broadcast: Vec::new(),
            streams: Vec::new(),
            set_up: None,
            pid: std::process::id(),
        }
    }

    /// Writes the file atomically, so that a reader never sees half of it. It holds secrets, so only its owner can read it.
    ///
    /// # Errors
    /// When the file cannot be written; names it.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        node::files::atomic_write(path, &text, 0o600)
            .with_context(|| format!("cannot write the ready file {}", path.display()))
    }
}

/// `scheme://address`, with loopback in place of "all interfaces".
pub(crate) fn url(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_are_reached_by_loopback() {
        assert_eq!(url("https", "0.0.0.0:8443".parse().unwrap()), "https://127.0.0.1:8443");
        assert_eq!(url("https", "[::]:8443".parse().unwrap()), "https://[::1]:8443");
        assert_eq!(url("https", "192.0.2.1:1".parse().unwrap()), "https://192.0.2.1:1");
    }
}
