//! `sealcast certs renew` and `rotate`: replace certificates and the authorities while the nodes run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use media::NodeId;
use node::clock::Clock;
use node::files;
use node::tls::{self, Authority, BROKER_CA_FILE, NODE_CA_FILE};

use super::cluster::list_members;
use super::{FOLDERS, MEMBERS_FILE, brokers, folder};
use crate::cli::{RenewFlags, RotateFlags, RotateStep};

/// Renews certificates that expire soon, or all of them with `--all`.
///
/// # Errors
/// When there is no authority, or a directory cannot be written.
pub(super) fn renew(flags: &RenewFlags) -> anyhow::Result<()> {
    let authorities = existing(&flags.dir)?;
    let renewed = issue_again(&authorities, &flags.dir, flags.all)?;
    println!("{renewed} certificates renewed; nodes read them again within {:?}", tls::REREAD_INTERVAL);
    Ok(())
}

/// Takes one of the three steps.
///
/// # Errors
/// When there is no authority, the steps are out of order, or a directory cannot be written.
pub(super) fn rotate(flags: &RotateFlags) -> anyhow::Result<()> {
    let authorities = existing(&flags.dir)?;
    let next = match flags.step {
        RotateStep::Trust => "give every machine its ca.pem and broker-ca.pem, then --step issue",
        RotateStep::Issue => "give every machine its certificate and key, then --step forget",
        RotateStep::Forget => "give every machine its ca.pem and broker-ca.pem: then the old authorities are gone",
    };
    let brokers = authorities.brokers.map(|brokers| step(brokers, flags.step)).transpose()?;
    let authorities = Authorities { nodes: step(authorities.nodes, flags.step)?, brokers };
    let renewed = issue_again(&authorities, &flags.dir, false)?;
    println!("{renewed} certificates renewed; next: {next}");
    Ok(())
}

/// The authority of the nodes, and that of the brokers if the cluster has any.
struct Authorities {
    nodes: Authority,
    brokers: Option<Authority>,
}

fn existing(directory: &Path) -> anyhow::Result<Authorities> {
    let nodes = Authority::existing(directory, &Clock::new())?;
    let has_brokers = directory.join(folder(None)).is_dir() || directory.join(BROKER_CA_FILE).exists();
    let brokers = has_brokers.then(|| brokers(directory)).transpose()?;
    Ok(Authorities { nodes, brokers })
}

fn step(authority: Authority, step: RotateStep) -> anyhow::Result<Authority> {
    match step {
        RotateStep::Trust => authority.trust_next()?,
        RotateStep::Issue => return authority.issue_by_next(),
        RotateStep::Forget => authority.forget_others()?,
    }
    Ok(authority)
}

/// Issues again the certificates in `directory` and its folders that cannot stay, or all, and copies the authorities' certificates to
/// every folder. Returns the number of certificates that changed.
fn issue_again(authorities: &Authorities, directory: &Path, all: bool) -> anyhow::Result<usize> {
    let mut renewed = 0;
    let folders = FOLDERS.iter().map(|role| directory.join(folder(*role))).filter(|folder| folder.is_dir());
    for folder in std::iter::once(directory.to_owned()).chain(folders) {
        if let Some(brokers) = &authorities.brokers {
            brokers.share(&folder)?;
        }
        for path in certificates(&folder)? {
            renewed += usize::from(again(authorities, &folder, &path, all)?);
        }
    }
    list_members(directory)?;
    Ok(renewed)
}

/// Certificates of single nodes and brokers in a folder, sorted by path.
fn certificates(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_certificate = path.extension().is_some_and(|extension| extension == "pem");
        let others = [NODE_CA_FILE, BROKER_CA_FILE, MEMBERS_FILE];
        let is_a_nodes = path.file_name().is_some_and(|name| others.iter().all(|other| name != *other));
        if is_certificate && is_a_nodes {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Issues one certificate again for the same node and names, if it cannot stay or with `all`. Returns whether it changed.
fn again(authorities: &Authorities, folder: &Path, path: &Path, all: bool) -> anyhow::Result<bool> {
    let before = files::read_bounded(path)?;
    let leaf = tls::parse_certificates(&before, path)?.swap_remove(0);
    let name = path.file_stem().and_then(|stem| stem.to_str()).with_context(|| format!("{}", path.display()))?;
    let id = NodeId::new(name)?;
    let owner = tls::node_of(&leaf);
    ensure!(
        owner.as_ref().is_none_or(|(node, _)| *node == id),
        "{} is not the certificate of {id}; put it where it belongs",
        path.display()
    );
    let (role, names) = (owner.map(|(_, role)| role), tls::names_of(&leaf));
    let authority = match (role, &authorities.brokers) {
        (Some(_), _) => &authorities.nodes,
        (None, Some(brokers)) => brokers,
        (None, None) => {
            anyhow::bail!("{} is neither a node's certificate nor in the folder of brokers", path.display())
        }
    };
    if all {
        authority.issue_anew(folder, &id, role, &names)?;
    } else {
        authority.issue_in(folder, &id, role, &names)?;
    }
    Ok(files::read_bounded(path)? != before)
}
