//! `sealcast certs renew` and `rotate`: new certificates for old, and a new authority for an old one, while the nodes run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use media::NodeId;
use node::clock::Clock;
use node::files;
use node::tls::{self, Authority};

use super::{FOLDERS, folder};
use crate::cli::{RenewFlags, RotateFlags, RotateStep};

/// Renews what ends soon; with `--all` everything.
///
/// # Errors
/// When there is no authority, or a directory cannot be written.
pub(super) fn renew(flags: &RenewFlags) -> anyhow::Result<()> {
    let authority = Authority::existing(&flags.dir, &Clock::new())?;
    let renewed = issue_again(&authority, &flags.dir, flags.all)?;
    println!("{renewed} certificates renewed; nodes read them again within {:?}", tls::REREAD_INTERVAL);
    Ok(())
}

/// One step of the three.
///
/// # Errors
/// When there is no authority, the steps are out of order, or a directory cannot be written.
pub(super) fn rotate(flags: &RotateFlags) -> anyhow::Result<()> {
    let authority = Authority::existing(&flags.dir, &Clock::new())?;
    let (authority, next) = match flags.step {
        RotateStep::Trust => {
            authority.trust_next()?;
            (authority, "give every machine its ca.pem, then --step issue")
        }
        RotateStep::Issue => {
            (authority.issue_by_next()?, "give every machine its certificate and key, then --step forget")
        }
        RotateStep::Forget => {
            authority.forget_others()?;
            (authority, "give every machine its ca.pem: then the old authority is gone")
        }
    };
    let renewed = issue_again(&authority, &flags.dir, false)?;
    println!("{renewed} certificates renewed; next: {next}");
    Ok(())
}

/// Makes the certificates below `directory` again that cannot stay, and brings `ca.pem` to every folder. Returns how many.
fn issue_again(authority: &Authority, directory: &Path, all: bool) -> anyhow::Result<usize> {
    let mut renewed = 0;
    let folders = FOLDERS.iter().map(|role| directory.join(folder(*role))).filter(|folder| folder.is_dir());
    for folder in std::iter::once(directory.to_owned()).chain(folders) {
        for path in certificates(&folder)? {
            renewed += usize::from(again(authority, &folder, &path, all)?);
        }
    }
    Ok(renewed)
}

/// The certificates in a folder, the authority's left out.
fn certificates(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_certificate = path.extension().is_some_and(|extension| extension == "pem");
        if is_certificate && path.file_stem().is_some_and(|stem| stem != "ca") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// As it was, for the same node and names.
fn again(authority: &Authority, folder: &Path, path: &Path, all: bool) -> anyhow::Result<bool> {
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
    if all {
        authority.issue_anew(folder, &id, role, &names)?;
    } else {
        authority.issue_in(folder, &id, role, &names)?;
    }
    Ok(files::read_bounded(path)? != before)
}
