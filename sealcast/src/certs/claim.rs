//! Gives each of many identical containers an identity of its own. A process takes the first identity of its role that no other
//! process has, and keeps it while it runs. `sealcast certs cluster` makes the folder of identities for the role.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use media::NodeId;
use messages::Role;
use node::tls::{self, BROKER_CA_FILE, IdentityPaths, NODE_CA_FILE};

/// An identity that belongs to this process until the claim is dropped or the process ends. A file lock holds it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub id: NodeId,
    /// Files of its certificate, private key and authority.
    pub identity: IdentityPaths,
    /// PEM file of the brokers' authority.
    pub broker_ca: PathBuf,
    /// File of its password for the brokers.
    pub password_file: PathBuf,
    _lock: File,
}

/// Takes a free identity, or only the one named `wanted` if it is given. Processes lock files in `locks`, so that `directory` can be
/// read-only.
///
/// # Errors
/// When all identities are taken, none exists, or a lock file cannot be written.
pub(crate) fn claim(directory: &Path, locks: &Path, role: Role, wanted: Option<&NodeId>) -> anyhow::Result<Claim> {
    let mut ids = identities(directory, role)?;
    ids.retain(|id| wanted.is_none_or(|wanted| wanted == id));
    if ids.is_empty() {
        let which = wanted.map_or_else(String::new, |id| format!(" called {id}"));
        bail!("no {role}{which} in {}: `sealcast certs cluster --node NAME={role}` makes one", directory.display());
    }
    node::files::create_directory(locks)?;
    for id in &ids {
        let path = locks.join(format!("{id}.lock"));
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => return Ok(taken(directory, id.clone(), lock)),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
    if let Some(id) = wanted {
        bail!("{role} {id} runs already: another process with the same --data has it");
    }
    bail!(
        "all {} identities in {} are in use: make more with `sealcast certs cluster --node NAME={role}`",
        ids.len(),
        directory.display()
    )
}

fn taken(directory: &Path, id: NodeId, lock: File) -> Claim {
    let file = |extension: &str| directory.join(format!("{id}.{extension}"));
    let identity = IdentityPaths { certificate: file("pem"), key: file("key"), ca: directory.join(NODE_CA_FILE) };
    let broker_ca = directory.join(BROKER_CA_FILE);
    Claim { broker_ca, password_file: file("password"), identity, id, _lock: lock }
}

/// Nodes of this role in the directory, in the order of their numbers.
fn identities(directory: &Path, role: Role) -> anyhow::Result<Vec<NodeId>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let certificates = tls::parse_certificates(&node::files::read_bounded(&path)?, &path)?;
        if let Some((node, its)) = certificates.first().and_then(tls::node_of)
            && its == role
            && path.file_stem().is_some_and(|stem| stem == node.as_str())
        {
            found.push(node);
        }
    }
    found.sort_by_key(|node| (node.as_str().len(), node.to_string()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_takes_another_identity_and_one_that_ends_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let authority = node::tls::Authority::ensure(directory.path(), &node::clock::Clock::new()).unwrap();
        for name in ["b10", "b9"] {
            authority.issue(&NodeId::new(name).unwrap(), Role::Broadcast, &[]).unwrap();
        }
        authority.issue(&NodeId::new("a1").unwrap(), Role::Ingest, &[]).unwrap();
        let take = || claim(directory.path(), directory.path(), Role::Broadcast, None);
        let (first, second) = (take().unwrap(), take().unwrap());
        assert_eq!((first.id.as_str(), second.id.as_str()), ("b9", "b10"));
        let said = take().unwrap_err().to_string();
        assert!(said.contains("all 2 identities") && said.contains("--node NAME=broadcast"), "{said}");
        drop(first);
        assert_eq!(take().unwrap().id.as_str(), "b9");
        let said = claim(directory.path(), directory.path(), Role::Control, None).unwrap_err().to_string();
        assert!(said.contains("no control"), "{said}");
        let wanted = NodeId::new("b10").unwrap();
        assert!(claim(directory.path(), directory.path(), Role::Broadcast, Some(&wanted)).is_err(), "it is taken");
    }
}
