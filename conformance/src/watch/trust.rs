//! Which servers are trusted.

use std::path::Path;

use anyhow::Context as _;

/// Authorities that this machine trusts, as Debian stores them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which certificates are accepted.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The machine's authorities.
    #[default]
    System,
    /// The machine's authorities, and those in this PEM file.
    Authority(std::path::PathBuf),
    /// Any certificate, with any name.
    Anyone,
}

/// Certificates of the machine and of `trust`.
pub(super) fn authorities(trust: &Trust) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut pems = Vec::new();
    if Path::new(SYSTEM_AUTHORITIES).exists() {
        pems.push(std::fs::read(SYSTEM_AUTHORITIES).with_context(|| format!("cannot read {SYSTEM_AUTHORITIES}"))?);
    }
    if let Trust::Authority(path) = trust {
        pems.push(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(pems)
}
