//! Which servers are trusted.

use std::path::Path;

use anyhow::Context as _;

/// Where Debian and its relatives keep the authorities that the machine trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The machine's authorities.
    #[default]
    System,
    /// Those, and the ones in this PEM file.
    Authority(std::path::PathBuf),
    /// Any certificate: the server's name is not checked.
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
