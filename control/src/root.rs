//! The root key. It says which key of control may write the metadata log, and is needed for nothing else: it may lie elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use node::files;
use seal::{RootKey, RootPublicKey};

/// File of the root key's seed; mode 0600. Missing when the key lies elsewhere.
const ROOT_KEY_FILE: &str = "root.key";
/// The metadata log, which a root key has begun.
pub(crate) const LOG_FILE: &str = "metadata.db";
/// File of the root public key, which the other nodes get. It stays when the key is rotated: nodes walk from it to the newest statement.
const ROOT_PUBLIC_FILE: &str = "root.pub";

pub(crate) struct Root {
    key_path: PathBuf,
    public: RootPublicKey,
    public_path: PathBuf,
}

impl Root {
    /// Reads what is there, or makes a root key when there is nothing, and no log that another one has begun.
    ///
    /// # Errors
    /// When a file cannot be read or written, or both files of the root are missing while the log is there; for a person.
    pub(crate) fn load(directory: &Path) -> anyhow::Result<Self> {
        let (key_path, public_path) = (directory.join(ROOT_KEY_FILE), directory.join(ROOT_PUBLIC_FILE));
        let key = match (key_path.exists(), public_path.exists()) {
            (true, _) => Some(read_key(&key_path)?),
            (false, true) => None,
            (false, false) => {
                let log = directory.join(LOG_FILE);
                ensure!(
                    !log.exists(),
                    "{} is missing, and {} was begun under its key: copy it back from another node (root_key) or from a backup. Only \
                     for another cluster, which no node of this one will follow: move {} away",
                    public_path.display(),
                    log.display(),
                    log.display()
                );
                let key = RootKey::generate()?;
                files::atomic_write(&key_path, &key.to_seed_bytes(), files::MODE_SECRET)?;
                Some(key)
            }
        };
        let public = match &key {
            Some(key) if !public_path.exists() => {
                let public = key.public_key()?;
                files::atomic_write(&public_path, public.as_bytes(), files::MODE_PUBLIC)?;
                public
            }
            _ => {
                let bytes = files::read_bounded(&public_path)?;
                RootPublicKey::from_bytes(&bytes)
                    .with_context(|| format!("{} is not a root public key", public_path.display()))?
            }
        };
        let is_here = key.is_some();
        tracing::info!(root = %public.id(), path = %public_path.display(), is_here, "root key ready");
        Ok(Self { key_path, public, public_path })
    }

    /// The key, read now: it is taken away while control runs. `None` when it lies elsewhere.
    ///
    /// # Errors
    /// When the file cannot be read, or is no key.
    pub(crate) fn key(&self) -> anyhow::Result<Option<RootKey>> {
        self.key_path.exists().then(|| read_key(&self.key_path)).transpose()
    }

    pub(crate) fn key_path(&self) -> &Path {
        &self.key_path
    }

    /// The public key that nodes are configured to trust.
    pub(crate) const fn public(&self) -> &RootPublicKey {
        &self.public
    }

    pub(crate) fn public_path(&self) -> &Path {
        &self.public_path
    }
}

fn read_key(path: &Path) -> anyhow::Result<RootKey> {
    let seed = zeroize::Zeroizing::new(files::read_bounded(path)?);
    RootKey::from_seed_bytes(&seed).with_context(|| format!("{} is not a root key", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_stays_where_it_was_made_and_may_be_taken_away() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let made = Root::load(directory.path()).unwrap();
        let mode = std::fs::metadata(directory.path().join(ROOT_KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Root::load(directory.path()).unwrap();
        assert!(again.key().unwrap().is_some() && again.public() == made.public());
        std::fs::remove_file(directory.path().join(ROOT_KEY_FILE)).unwrap();
        let without = Root::load(directory.path()).unwrap();
        assert!(without.key().unwrap().is_none() && again.key().unwrap().is_none());
        assert_eq!(without.public(), made.public());
    }

    /// A cluster whose nodes trust another root would not follow it, and nobody would say why.
    #[test]
    fn lost_root_is_not_replaced_by_another_while_its_log_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let made = Root::load(directory.path()).unwrap();
        let public = std::fs::read(made.public_path()).unwrap();
        std::fs::write(directory.path().join(LOG_FILE), "").unwrap();
        for file in [ROOT_KEY_FILE, ROOT_PUBLIC_FILE] {
            std::fs::remove_file(directory.path().join(file)).unwrap();
        }
        let said = Root::load(directory.path()).err().unwrap().to_string();
        assert!(said.contains("root.pub is missing") && said.contains("copy it back"), "{said}");
        assert!(!directory.path().join(ROOT_KEY_FILE).exists());
        std::fs::write(directory.path().join(ROOT_PUBLIC_FILE), public).unwrap();
        assert_eq!(Root::load(directory.path()).unwrap().public(), made.public());
    }
}
