//! Starts a role in a process of its own, so that its memory and CPU can be measured alone.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use media::NodeId;
use node::ops::Ops;
use node::{CancellationToken, Context, Role, Setup, tls};
use serde::{Deserialize, Serialize};

use crate::log::Author;

/// Password of all users of the broker.
pub(crate) const PASSWORD: &str = "bench";

/// What the parent tells the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) name: String,
    pub(crate) directory: std::path::PathBuf,
    pub(crate) broker: SocketAddr,
    pub(crate) identity: tls::IdentityPaths,
    /// Most bytes of media of a broadcast node that is attacked and records; `None` for the defaults.
    pub(crate) attacked: Option<u64>,
}

impl Orders {
    /// The context with which the role starts.
    pub(crate) async fn context(
        &self,
        role: Role,
        ops: &Arc<Ops>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Context> {
        let name = &self.name;
        let password_file = self.directory.join(format!("{name}.password"));
        std::fs::write(&password_file, PASSWORD)?;
        let bus = bus::Config {
            urls: vec![format!("mqtt://{}", self.broker)],
            username: Some(name.clone()),
            password_file: Some(password_file),
            ..bus::Config::default()
        };
        let setup = Setup {
            id: NodeId::new(name)?,
            role,
            cluster: Author::cluster()?,
            data: self.directory.join(name),
            bus,
            identity: self.identity.clone(),
            ops: ops.clone(),
        };
        setup.start(shutdown.clone()).await
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kibibytes * 1024)
}

/// CPU time of a process since its start, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (fields.next().context("no utime")??, fields.next().context("no stime")??);
    // USER_HZ is 100 on every Linux.
    Ok((user + system) / 100.0)
}
