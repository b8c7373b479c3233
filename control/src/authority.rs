//! The root key and what it signs: grants and the revocation list, kept in files so that a restart says the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use media::{ClusterId, NodeId, UnixMillis};
use node::files;
use seal::{Grant, KeyId, Keyring, RevocationList, RootKey, StreamPattern};

/// File of the root key's seed; mode 0600.
const ROOT_KEY_FILE: &str = "root.key";
/// File of the root public key: what other nodes are given.
const ROOT_PUBLIC_FILE: &str = "root.pub";
/// File of the revocation list in force.
const REVOCATIONS_FILE: &str = "revocations.cose";
/// Directory of the grants, a file each.
const GRANTS_DIRECTORY: &str = "grants";
/// A grant begins a little before it was asked for: nodes' clocks differ.
const BACKDATE: Duration = Duration::from_secs(60);

/// A grant, for display.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct GrantInfo {
    pub(crate) key: String,
    pub(crate) node: NodeId,
    pub(crate) not_before: UnixMillis,
    pub(crate) not_after: UnixMillis,
}

/// Why a grant was not given or a key not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("key {0} is revoked: stop this ingest, move sealing.key out of its data directory, and start it again")]
    Revoked(KeyId),
    #[error("no grant was given to key {0}")]
    Unknown(String),
    #[error(transparent)]
    Seal(#[from] seal::Error),
    #[error(transparent)]
    Refusal(#[from] seal::Refusal),
    #[error("cannot keep it")]
    File(#[source] anyhow::Error),
}

/// The authority.
pub(crate) struct Authority {
    directory: PathBuf,
    cluster: ClusterId,
    root: RootKey,
    validity: Duration,
    /// Grants and revocations in force, read as every other node reads them.
    keyring: Mutex<Keyring>,
}

impl Authority {
    /// Reads what was kept, or makes a new root key.
    pub(crate) fn load(directory: &Path, cluster: &ClusterId, grant_days: u16) -> anyhow::Result<Self> {
        let root = root_key(&directory.join(ROOT_KEY_FILE))?;
        let public = root.public_key()?;
        let public_path = directory.join(ROOT_PUBLIC_FILE);
        files::atomic_write(&public_path, public.as_bytes(), files::MODE_PUBLIC)?;
        tracing::info!(root = %public.id(), path = %public_path.display(), "root key ready");

        let mut keyring = Keyring::new(cluster.clone(), public);
        let path = directory.join(REVOCATIONS_FILE);
        if path.exists() {
            let list = files::read_bounded(&path)?;
            keyring.apply_revocations(&list).with_context(|| format!("{} does not verify", path.display()))?;
        }
        let now = node::clock::Clock::new().wall();
        let grants = directory.join(GRANTS_DIRECTORY);
        files::create_directory(&grants)?;
        for entry in std::fs::read_dir(&grants).with_context(|| format!("cannot read {}", grants.display()))? {
            let path = entry?.path();
            if let Err(refusal) = keyring.add_grant(&files::read_bounded(&path)?, now) {
                tracing::info!(path = %path.display(), %refusal, "a kept grant is of no use any more");
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let validity = Duration::from_secs(u64::from(grant_days) * 86_400);
        let keyring = Mutex::new(keyring);
        Ok(Self { directory: directory.to_owned(), cluster: cluster.clone(), root, validity, keyring })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Keyring) -> T) -> T {
        f(&mut self.keyring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn root_public_key_path(&self) -> PathBuf {
        self.directory.join(ROOT_PUBLIC_FILE)
    }

    /// Grants a node's key all streams, from now on for the configured time. Returns the key and the grant.
    pub(crate) fn grant(&self, node: NodeId, public_key: &[u8], now: UnixMillis) -> Result<(KeyId, Bytes), Error> {
        let grant = Grant {
            cluster: self.cluster.clone(),
            public_key: public_key.to_vec(),
            node,
            streams: vec![StreamPattern::All],
            not_before: now.minus(BACKDATE),
            not_after: now.plus(self.validity),
        };
        let key = grant.key_id();
        let signed = seal::sign_grant(&grant, &self.root)?;
        self.with(|keyring| {
            if keyring.revoked().any(|revoked| *revoked == key) {
                return Err(Error::Revoked(key));
            }
            keyring.add_grant(&signed, now)?;
            files::atomic_write(&self.grant_path(key), &signed, files::MODE_PUBLIC).map_err(Error::File)
        })?;
        Ok((key, signed))
    }

    /// Revokes a key that was granted. Returns the new list.
    pub(crate) fn revoke(&self, key: &str, now: UnixMillis) -> Result<Bytes, Error> {
        self.with(|keyring| {
            let known = keyring.grants().map(|(id, _)| *id).find(|id| id.to_string() == key);
            let id = known.ok_or_else(|| Error::Unknown(key.to_owned()))?;
            let mut keys: Vec<KeyId> = keyring.revoked().copied().chain([id]).collect();
            keys.sort_unstable();
            let version = keyring.revocations().map_or(0, |(version, _)| version) + 1;
            let list = RevocationList { cluster: self.cluster.clone(), version, issued_at: now, keys };
            let signed = seal::sign_revocations(&list, &self.root)?;
            files::atomic_write(&self.directory.join(REVOCATIONS_FILE), &signed, files::MODE_PUBLIC)
                .map_err(Error::File)?;
            keyring.apply_revocations(&signed)?;
            // The list is what counts; a grant file that stays is cleared at the next start.
            if let Err(error) = std::fs::remove_file(self.grant_path(id)) {
                tracing::warn!(key = %id, %error, "the grant of a revoked key stays on disk for now");
            }
            Ok(signed)
        })
    }

    fn grant_path(&self, key: KeyId) -> PathBuf {
        self.directory.join(GRANTS_DIRECTORY).join(format!("{key}.cose"))
    }

    /// Grants in force, as they travel, by key.
    pub(crate) fn grants(&self) -> BTreeMap<String, Bytes> {
        self.with(|keyring| keyring.grants().map(|(key, raw)| (key.to_string(), raw.clone())).collect())
    }

    /// Grants in force, for display.
    pub(crate) fn grant_infos(&self) -> Vec<GrantInfo> {
        self.with(|keyring| {
            let keys: Vec<KeyId> = keyring.grants().map(|(key, _)| *key).collect();
            let info = |key: &KeyId| {
                let grant = keyring.grant(key)?;
                Some(GrantInfo {
                    key: key.to_string(),
                    node: grant.node.clone(),
                    not_before: grant.not_before,
                    not_after: grant.not_after,
                })
            };
            keys.iter().filter_map(info).collect()
        })
    }

    /// The revocation list in force, as it travels.
    pub(crate) fn revocations(&self) -> Option<Bytes> {
        self.with(|keyring| keyring.revocations().map(|(_, raw)| raw.clone()))
    }
}

/// Reads the root key, or makes one.
fn root_key(path: &Path) -> anyhow::Result<RootKey> {
    if path.exists() {
        let seed = zeroize::Zeroizing::new(files::read_bounded(path)?);
        return RootKey::from_seed_bytes(&seed).with_context(|| format!("{} is not a root key", path.display()));
    }
    let root = RootKey::generate()?;
    files::atomic_write(path, &root.to_seed_bytes(), files::MODE_SECRET)?;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use seal::SealingKey;

    use super::*;

    fn load(directory: &tempfile::TempDir) -> Authority {
        Authority::load(directory.path(), &ClusterId::new("test").unwrap(), 7).unwrap()
    }

    fn now() -> UnixMillis {
        node::clock::Clock::new().wall()
    }

    #[test]
    fn grants_and_root_key_survive_a_restart() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let authority = load(&directory);
        let public = SealingKey::generate().unwrap().public_key_bytes();
        let (key, grant) = authority.grant(NodeId::new("i1").unwrap(), &public, now()).unwrap();
        let anchor = std::fs::read(authority.root_public_key_path()).unwrap();
        drop(authority);
        let authority = load(&directory);
        assert_eq!(authority.grants(), BTreeMap::from([(key.to_string(), grant)]));
        assert_eq!(std::fs::read(authority.root_public_key_path()).unwrap(), anchor);
        let mode = std::fs::metadata(directory.path().join(ROOT_KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn revoked_key_is_not_granted_again_even_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let authority = load(&directory);
        let public = SealingKey::generate().unwrap().public_key_bytes();
        let node = NodeId::new("i1").unwrap();
        let (key, _) = authority.grant(node.clone(), &public, now()).unwrap();
        assert!(matches!(authority.revoke("00", now()), Err(Error::Unknown(_))));
        let list = authority.revoke(&key.to_string(), now()).unwrap();
        assert!(authority.grants().is_empty());
        let authority = load(&directory);
        assert_eq!(authority.revocations(), Some(list));
        assert!(matches!(authority.grant(node, &public, now()), Err(Error::Revoked(_))));
    }

    #[test]
    fn key_that_is_none_gets_no_grant() {
        let directory = tempfile::tempdir().unwrap();
        let node = NodeId::new("i1").unwrap();
        for bad in [&[][..], &[0; 1311], &[0; 1313]] {
            assert!(load(&directory).grant(node.clone(), bad, now()).is_err(), "{} bytes", bad.len());
        }
    }
}
