//! The root key and what it signs: grants and the revocation list. All are kept in files, so that a restart changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use media::{ClusterId, NodeId, UnixMillis};
use node::files;
use seal::limits::GRANTS_PER_NODE_MAX;
use seal::{Grant, KeyId, Keyring, RevocationList, RootKey, StreamPattern};

/// File of the root key's seed; mode 0600.
const ROOT_KEY_FILE: &str = "root.key";
/// File of the root public key, which the other nodes get.
const ROOT_PUBLIC_FILE: &str = "root.pub";
/// File of the revocation list in force.
const REVOCATIONS_FILE: &str = "revocations.cose";
/// Directory of the grants, a file each.
const GRANTS_DIRECTORY: &str = "grants";
/// A grant is valid from this long before its request, because nodes' clocks differ.
const BACKDATE: Duration = Duration::from_secs(60);

/// A grant as `/cluster/v1/admin/keys` lists it.
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
    #[error(
        "node {0} is revoked, and its certificate opens nothing any more: give the machine an identity with another name \
         (sealcast certs cluster --node NAME=ROLE)"
    )]
    NodeRevoked(NodeId),
    #[error(
        "node {node} has {keys} keys granted already, which is the most: revoke those that it does not use any more \
         (sealcast key list, sealcast key revoke KEY)"
    )]
    TooManyKeys { node: NodeId, keys: usize },
    #[error("no grant was given to key {0}")]
    Unknown(String),
    #[error(transparent)]
    Seal(#[from] seal::Error),
    #[error(transparent)]
    Refusal(#[from] seal::Refusal),
    #[error("cannot write to the data directory")]
    File(#[source] anyhow::Error),
}

/// Result of revoking a node.
pub(crate) struct RevokedNode {
    /// The signed list in force.
    pub(crate) list: Bytes,
    /// The node's keys that had a grant until now.
    pub(crate) keys: Vec<KeyId>,
}

pub(crate) struct Authority {
    directory: PathBuf,
    cluster: ClusterId,
    root: RootKey,
    validity: Duration,
    /// Grants and revocations in force, verified as every other node verifies them.
    keyring: Mutex<Keyring>,
}

impl Authority {
    /// Reads the files of an earlier start, or makes a new root key.
    pub(crate) fn load(directory: &Path, cluster: &ClusterId, grant_hours: u16) -> anyhow::Result<Self> {
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
                tracing::info!(path = %path.display(), %refusal, "a grant on disk is not valid any more, removed");
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let validity = Duration::from_secs(u64::from(grant_hours) * 3_600);
        let keyring = Mutex::new(keyring);
        Ok(Self { directory: directory.to_owned(), cluster: cluster.clone(), root, validity, keyring })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Keyring) -> T) -> T {
        f(&mut self.keyring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The root key.
    pub(crate) const fn root(&self) -> &RootKey {
        &self.root
    }

    /// Entries of the revocation list in force: keys, and [`KeyId::of_node`] of nodes.
    pub(crate) fn revoked(&self) -> Vec<KeyId> {
        self.with(|keyring| keyring.revoked().copied().collect())
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
            if keyring.is_node_revoked(&grant.node) {
                return Err(Error::NodeRevoked(grant.node));
            }
            if keyring.revoked().any(|revoked| *revoked == key) {
                return Err(Error::Revoked(key));
            }
            // A key that is renewed takes no further place.
            let others = keyring.keys_of(&grant.node, now).filter(|other| *other != key).count();
            if others >= GRANTS_PER_NODE_MAX {
                return Err(Error::TooManyKeys { node: grant.node, keys: others });
            }
            keyring.add_grant(&signed, now)?;
            files::atomic_write(&self.grant_path(key), &signed, files::MODE_PUBLIC).map_err(Error::File)
        })?;
        Ok((key, signed))
    }

    /// Revokes a key that was granted. Returns its identity, and the new list.
    pub(crate) fn revoke(&self, key: &str, now: UnixMillis) -> Result<(KeyId, Bytes), Error> {
        self.with(|keyring| {
            let known = keyring.grants().map(|(id, _)| *id).find(|id| id.to_string() == key);
            let id = known.ok_or_else(|| Error::Unknown(key.to_owned()))?;
            let signed = self.extend_list(keyring, [id], now)?;
            self.remove_grant(id);
            Ok((id, signed))
        })
    }

    /// Revokes a node: control refuses its certificate, and neither control nor any other node accepts its keys any more. The node may
    /// never have been seen. Revoking it again is no error.
    pub(crate) fn revoke_node(&self, node: &NodeId, now: UnixMillis) -> Result<RevokedNode, Error> {
        self.with(|keyring| {
            let its = |keyring: &Keyring| -> Vec<KeyId> {
                let granted = keyring.grants().map(|(key, _)| *key);
                granted.filter(|key| keyring.grant(key).is_some_and(|grant| grant.node == *node)).collect()
            };
            let keys = its(keyring);
            let held = keyring.revocations().map(|(_, raw)| raw.clone());
            let list = match held.filter(|_| keyring.is_node_revoked(node)) {
                Some(list) => list,
                None => self.extend_list(keyring, keys.iter().copied().chain([KeyId::of_node(node)]), now)?,
            };
            keys.iter().for_each(|key| self.remove_grant(*key));
            Ok(RevokedNode { list, keys })
        })
    }

    /// Takes a revocation list that this authority signed and does not know any more, because it was restored from a backup:
    /// nodes have the newer list, and refuse every list that does not follow it. Returns whether it was newer.
    ///
    /// # Errors
    /// When the list is not signed by this root key, or cannot be kept on disk.
    pub(crate) fn adopt(&self, list: &Bytes) -> Result<bool, Error> {
        self.with(|keyring| {
            let version = |keyring: &Keyring| keyring.revocations().map_or(0, |(version, _)| version);
            let (before, known) = (version(keyring), keyring.grants().map(|(key, _)| *key).collect::<Vec<_>>());
            let mut newer = keyring.clone();
            newer.apply_revocations(list)?;
            if version(&newer) == before {
                return Ok(false);
            }
            files::atomic_write(&self.directory.join(REVOCATIONS_FILE), list, files::MODE_PUBLIC)
                .map_err(Error::File)?;
            known.into_iter().filter(|key| newer.grant(key).is_none()).for_each(|key| self.remove_grant(key));
            *keyring = newer;
            Ok(true)
        })
    }

    /// Whether requests of a node are refused.
    pub(crate) fn is_revoked(&self, node: &NodeId) -> bool {
        self.with(|keyring| keyring.is_node_revoked(node))
    }

    /// Makes the next revocation list: the one in force, and `more`. It is on disk before it takes effect.
    fn extend_list(
        &self,
        keyring: &mut Keyring,
        more: impl IntoIterator<Item = KeyId>,
        now: UnixMillis,
    ) -> Result<Bytes, Error> {
        let keys: BTreeSet<KeyId> = keyring.revoked().copied().chain(more).collect();
        let version = keyring.revocations().map_or(0, |(version, _)| version) + 1;
        let keys = keys.into_iter().collect();
        let list = RevocationList { cluster: self.cluster.clone(), version, issued_at: now, keys };
        let signed = seal::sign_revocations(&list, &self.root)?;
        files::atomic_write(&self.directory.join(REVOCATIONS_FILE), &signed, files::MODE_PUBLIC)
            .map_err(Error::File)?;
        keyring.apply_revocations(&signed)?;
        Ok(signed)
    }

    /// Removes the file of a grant. The list is what counts; a file that stays is removed at the next start.
    fn remove_grant(&self, key: KeyId) {
        if let Err(error) = std::fs::remove_file(self.grant_path(key)) {
            tracing::warn!(%key, %error, "the grant of a revoked key stays on disk for now");
        }
    }

    fn grant_path(&self, key: KeyId) -> PathBuf {
        self.directory.join(GRANTS_DIRECTORY).join(format!("{key}.cose"))
    }

    /// Signed grants in force, by key.
    pub(crate) fn grants(&self) -> BTreeMap<String, Bytes> {
        self.with(|keyring| keyring.grants().map(|(key, raw)| (key.to_string(), raw.clone())).collect())
    }

    /// Grants in force, as rows of the metadata log.
    pub(crate) fn grant_rows(&self) -> Vec<metadata::Grant> {
        self.with(|keyring| {
            let held = keyring.grants().filter_map(|(key, _)| keyring.grant(key));
            held.map(|grant| metadata::Grant {
                public_key: grant.public_key.clone(),
                node: grant.node.clone(),
                scope: metadata::Scope::Pools(vec![crate::log::POOL.to_owned()]),
                may_delegate: false,
                from: grant.not_before,
                until: grant.not_after,
            })
            .collect()
        })
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

    /// The signed revocation list in force.
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
    use seal::{SealingKey, Signer as _};

    use super::*;

    fn load(directory: &tempfile::TempDir) -> Authority {
        Authority::load(directory.path(), &ClusterId::new("test").unwrap(), 24).unwrap()
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
        let (_, list) = authority.revoke(&key.to_string(), now()).unwrap();
        assert!(authority.grants().is_empty());
        let authority = load(&directory);
        assert_eq!(authority.revocations(), Some(list));
        assert!(matches!(authority.grant(node, &public, now()), Err(Error::Revoked(_))));
    }

    #[test]
    fn revoked_node_is_granted_nothing_even_after_a_restart_and_even_if_it_was_never_seen() {
        let directory = tempfile::tempdir().unwrap();
        let authority = load(&directory);
        let grant = |authority: &Authority, node: &str| {
            let public = SealingKey::generate().unwrap().public_key_bytes();
            authority.grant(NodeId::new(node).unwrap(), &public, now())
        };
        let (first, _) = grant(&authority, "i1").unwrap();
        let (kept, _) = grant(&authority, "i2").unwrap();
        let (i1, unseen) = (NodeId::new("i1").unwrap(), NodeId::new("i9").unwrap());
        assert_eq!(authority.revoke_node(&i1, now()).unwrap().keys, [first]);
        assert!(authority.revoke_node(&unseen, now()).unwrap().keys.is_empty());
        let list = authority.revocations();
        assert_eq!(Some(authority.revoke_node(&i1, now()).unwrap().list), list, "twice is once");
        let authority = load(&directory);
        for node in ["i1", "i9"] {
            assert!(matches!(grant(&authority, node), Err(Error::NodeRevoked(_))), "{node}");
        }
        assert_eq!(authority.grants().into_keys().collect::<Vec<_>>(), [kept.to_string()]);
        grant(&authority, "i2").unwrap();
    }

    #[test]
    fn keys_of_one_node_are_bounded_and_one_that_is_renewed_or_revoked_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let authority = load(&directory);
        let node = NodeId::new("i1").unwrap();
        let keys: Vec<_> = (0..GRANTS_PER_NODE_MAX).map(|_| SealingKey::generate().unwrap()).collect();
        let another = SealingKey::generate().unwrap().public_key_bytes();
        for key in &keys {
            authority.grant(node.clone(), &key.public_key_bytes(), now()).unwrap();
        }
        let refused = authority.grant(node.clone(), &another, now()).unwrap_err();
        assert!(matches!(refused, Error::TooManyKeys { .. }), "{refused}");
        let later = now().plus(Duration::from_secs(3_600));
        authority.grant(node.clone(), &keys[0].public_key_bytes(), later).unwrap();
        authority.grant(NodeId::new("i2").unwrap(), &another, now()).unwrap();
        let spare = SealingKey::generate().unwrap().public_key_bytes();
        assert!(authority.grant(node.clone(), &spare, now()).is_err());
        authority.revoke(&keys[1].key_id().to_string(), now()).unwrap();
        authority.grant(node, &spare, now()).unwrap();
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
