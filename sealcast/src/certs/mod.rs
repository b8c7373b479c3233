//! `sealcast certs`: the cluster's authority, and all that nodes need to believe one another and to log in to the broker.

pub(crate) mod claim;
mod cluster;
mod rotate;

use media::NodeId;
use messages::Role;
use node::clock::Clock;
use node::tls::Authority;

use crate::cli::{CertsCommand, CertsFlags};

/// Makes what is missing and prints the paths.
///
/// # Errors
/// When a name is not valid or the directory cannot be written.
pub(crate) fn run(flags: &CertsFlags) -> anyhow::Result<()> {
    match &flags.command {
        None => one(flags),
        Some(CertsCommand::Cluster(flags)) => cluster::run(flags),
        Some(CertsCommand::Renew(flags)) => rotate::renew(flags),
        Some(CertsCommand::Rotate(flags)) => rotate::rotate(flags),
    }
}

fn one(flags: &CertsFlags) -> anyhow::Result<()> {
    let (Some(role), Some(id)) = (flags.role, &flags.id) else { anyhow::bail!("give --role and --id") };
    let authority = Authority::ensure(&flags.dir, &Clock::new())?;
    let paths = authority.issue(&NodeId::new(id)?, role.into(), &flags.names)?;
    println!("ca           {}", paths.ca.display());
    println!("certificate  {}", paths.certificate.display());
    println!("private key  {}", paths.key.display());
    Ok(())
}

/// Folder of a role's nodes, or of the brokers, below the authority's directory.
fn folder(role: Option<Role>) -> String {
    role.map_or_else(|| "broker".to_owned(), |role| role.to_string())
}

/// All of them.
const FOLDERS: [Option<Role>; 5] =
    [Some(Role::Ingest), Some(Role::Broadcast), Some(Role::LoadBalancer), Some(Role::Control), None];
