//! `sealcast certs`: the cluster's authorities, and all that nodes need to trust one another and to log in to the brokers.

pub(crate) mod claim;
mod cluster;
mod rotate;
mod streamers;

use std::path::Path;

use media::{NodeId, StreamId};
use messages::Role;

use node::clock::Clock;
use node::tls::{Authority, BROKER_CA_FILE};

use crate::cli::{CertsCommand, CertsFlags};

/// File with the certificates of all nodes, which control makes members of the cluster.
pub(crate) const MEMBERS_FILE: &str = "members.pem";

/// The password of a streamer, made if it has none. All brokers of this cluster get it, and its streams.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn streamer_password(
    directory: &Path,
    data: &Path,
    name: &NodeId,
    streams: &[StreamId],
) -> anyhow::Result<String> {
    let password = streamers::login(directory, data, name, streams)?;
    if directory.join("broker").is_dir() {
        cluster::write_broker_rules(directory, &cluster::prefix_of_rules(directory)?)?;
        println!(
            "the rules of Mosquitto are new: give the brokers {}, and send them SIGHUP",
            directory.join("broker").display()
        );
    }
    Ok(password)
}

/// Runs the subcommand, or makes one node's certificate and prints the paths.
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

/// Opens or makes the brokers' authority, and copies its certificate to every existing folder. In an older cluster, the nodes'
/// authority signed the brokers' certificates; there, this prints what the operator has to do.
fn brokers(directory: &Path) -> anyhow::Result<Authority> {
    let is_new = !directory.join(BROKER_CA_FILE).exists();
    let is_upgrade = is_new && has_keys(&directory.join(folder(None)));
    let brokers = Authority::ensure_for_brokers(directory, &Clock::new())?;
    for folder in FOLDERS.iter().map(|role| directory.join(folder(*role))).filter(|folder| folder.is_dir()) {
        brokers.share(&folder)?;
    }
    if is_upgrade {
        println!(
            "brokers have an authority of their own now: {}. Give every machine its folder again ({BROKER_CA_FILE} is new in it), \
             have the brokers read their new certificates (SIGHUP), and restart the nodes",
            brokers.ca_path().display()
        );
    }
    Ok(brokers)
}

/// Whether a folder holds a private key. The folder may be empty, as a new volume of a container is.
fn has_keys(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|extension| extension == "key"))
}

/// Folder of a role's nodes, or of the brokers, below the authority's directory.
fn folder(role: Option<Role>) -> String {
    role.map_or_else(|| "broker".to_owned(), |role| role.to_string())
}

/// Folders of all roles, and of the brokers (`None`).
const FOLDERS: [Option<Role>; 5] =
    [Some(Role::Ingest), Some(Role::Broadcast), Some(Role::LoadBalancer), Some(Role::Control), None];
