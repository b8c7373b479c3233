//! The root key. It says which key of control may write the metadata log, and is needed for nothing else: it may lie elsewhere.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node::files;
use seal::{RootKey, RootPublicKey};

/// File of the root key's seed; mode 0600. Missing when the key lies elsewhere.
const ROOT_KEY_FILE: &str = "root.key";
/// File of the root public key, which the other nodes get. It stays when the key is rotated: nodes walk from it to the newest statement.
const ROOT_PUBLIC_FILE: &str = "root.pub";

pub(crate) struct Root {
    key_path: PathBuf,
    public: RootPublicKey,
    public_path: PathBuf,
}

impl Root {
    /// Reads what is there, or makes a root key when there is nothing.
    pub(crate) fn load(directory: &Path) -> anyhow::Result<Self> {
        let (key_path, public_path) = (directory.join(ROOT_KEY_FILE), directory.join(ROOT_PUBLIC_FILE));
        let key = match (key_path.exists(), public_path.exists()) {
            (true, _) => Some(read_key(&key_path)?),
            (false, true) => None,
            (false, false) => {
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
}
