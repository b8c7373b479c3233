//! The secrets around stream keys: the pepper under which the catalogue keeps them, and the files of keys that `sealcast up` shows at
//! each start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use catalogue::{Catalogue, ClearKey, Id, Kind, Record, Stream, StreamKey};
use media::{StreamId, UnixMillis};
use messages::Pepper;
use node::files;
use tokio::sync::{Mutex, MutexGuard};
use zeroize::Zeroizing;

use crate::StreamConfig;

/// File of the pepper in control's data directory; mode 0600. Without it, no stream key is recognised.
pub(crate) const PEPPER_FILE: &str = "pepper.key";

/// Reads the pepper, or makes it at the first start.
///
/// # Errors
/// When the file cannot be read or written, or is no pepper; names it.
pub(crate) fn pepper(directory: &Path) -> Result<Pepper> {
    let path = directory.join(PEPPER_FILE);
    if path.exists() {
        let bytes = Zeroizing::new(files::read_bounded(&path)?);
        let invalid =
            || format!("{} is no pepper: it has {} bytes, not {}", path.display(), bytes.len(), Pepper::BYTES);
        return Pepper::from_bytes(&bytes).with_context(invalid);
    }
    let bytes: Zeroizing<[u8; Pepper::BYTES]> = Zeroizing::new(rand::random());
    files::atomic_write(&path, &bytes[..], files::MODE_SECRET)?;
    Pepper::from_bytes(&bytes[..]).context("a pepper has 32 bytes")
}

/// Files that keep the keys of some configured streams, because somebody wants to read them again.
#[derive(Debug, Default)]
pub(crate) struct KeyFiles {
    paths: BTreeMap<StreamId, PathBuf>,
    configured: BTreeSet<StreamId>,
    /// Streams whose keys stand in the configuration itself.
    fixed: BTreeSet<StreamId>,
    /// Held while file and catalogue change, so that two that give a stream a new key at once leave the same one in both.
    changing: Mutex<()>,
}

impl KeyFiles {
    pub(crate) fn new(streams: &[StreamConfig]) -> Self {
        let path = |stream: &StreamConfig| Some((stream.name.clone(), stream.key_file.clone()?));
        let configured = streams.iter().map(|stream| stream.name.clone()).collect();
        let fixed = streams.iter().filter(|stream| stream.key.is_some()).map(|stream| stream.name.clone()).collect();
        Self { paths: streams.iter().filter_map(path).collect(), configured, fixed, changing: Mutex::default() }
    }

    /// The streams that the configuration has.
    pub(crate) const fn configured(&self) -> &BTreeSet<StreamId> {
        &self.configured
    }

    /// Whether the configuration has a stream, which is then made at each start.
    pub(crate) fn is_configured(&self, name: &StreamId) -> bool {
        self.configured.contains(name)
    }

    /// Whether the configuration says the key of a stream.
    pub(crate) fn has_fixed_key(&self, name: &StreamId) -> bool {
        self.fixed.contains(name)
    }

    /// Waits until nobody else changes a key.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Keeps the keys that the catalogue had in the clear, of streams whose file is not there yet.
    pub(crate) fn keep_missing(&self, were_clear: &[ClearKey]) -> Result<()> {
        let is_missing = |name: &StreamId| self.paths.get(name).is_some_and(|path| !path.exists());
        were_clear.iter().filter(|(name, _)| is_missing(name)).try_for_each(|(name, key)| self.keep(name, key))
    }

    /// The key in the file of a stream, `None` when the stream has none. Without the file, it gets a new one.
    fn key(&self, name: &StreamId) -> Result<Option<StreamKey>> {
        let Some(path) = self.paths.get(name) else { return Ok(None) };
        if !path.exists() {
            let key = StreamKey::random();
            self.keep(name, &key)?;
            return Ok(Some(key));
        }
        let text = Zeroizing::new(files::read_bounded(path)?);
        let key = std::str::from_utf8(&text).ok().and_then(|text| StreamKey::new(text.trim()).ok());
        key.map(Some).with_context(|| format!("{} holds no stream key: remove it to get a new one", path.display()))
    }

    /// Keeps the new key of a stream, if the stream has a file.
    pub(crate) fn keep(&self, name: &StreamId, key: &StreamKey) -> Result<()> {
        let Some(path) = self.paths.get(name) else { return Ok(()) };
        if let Some(directory) = path.parent() {
            files::create_private_directory(directory)?;
        }
        files::atomic_write(path, key.expose().as_bytes(), files::MODE_SECRET)
    }

    /// Forgets the key of a stream that was deleted.
    pub(crate) fn forget(&self, name: &StreamId) -> Result<()> {
        match self.paths.get(name).map(std::fs::remove_file) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the file of the key of {name}"))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the configured streams, and sets keys to the configured ones. Without one, an existing stream keeps its own. Returns the keys
/// that the configuration or a file has.
pub(crate) async fn configure(
    (catalogue, pepper): (&Catalogue, &Pepper),
    (streams, files): (&[StreamConfig], &KeyFiles),
    now: UnixMillis,
) -> Result<Vec<(StreamId, StreamKey)>> {
    let mut known = Vec::new();
    for stream in streams {
        let key = configure_one((catalogue, pepper), (stream, files), now).await;
        let key = key.with_context(|| format!("configured stream {}", stream.name))?;
        known.extend(key.map(|key| (stream.name.clone(), key)));
    }
    Ok(known)
}

async fn configure_one(
    (catalogue, pepper): (&Catalogue, &Pepper),
    (stream, files): (&StreamConfig, &KeyFiles),
    now: UnixMillis,
) -> Result<Option<StreamKey>> {
    let name = &stream.name;
    let key = match &stream.key {
        Some(key) => Some(StreamKey::new(key.expose())?),
        None => files.key(name)?,
    };
    if let Some(key) = &key {
        catalogue.ensure_key_free(name, key, pepper).await?;
    }
    let kept = key.as_ref().map(|key| key.kept(pepper, name));
    match (catalogue.find_stream(name).await?, kept) {
        (Some(there), Some(kept)) if there.key != kept => {
            catalogue.set_key(name, &kept).await?;
            catalogue.note(record(name, "streams.rotate-key", now)).await?;
        }
        (Some(_), _) => {}
        (None, Some(kept)) => {
            catalogue.create_stream(&Stream { name: name.clone(), key: kept, created_at: now }).await?;
            catalogue.note(record(name, "streams.create", now)).await?;
        }
        (None, None) => {
            let key = StreamKey::random().kept(pepper, name);
            catalogue.create_stream(&Stream { name: name.clone(), key, created_at: now }).await?;
            catalogue.note(record(name, "streams.create", now)).await?;
            tracing::info!(stream = %name, "stream made; its key is shown to nobody: `sealcast stream rotate-key {name}` gives it one");
        }
    }
    Ok(key)
}

/// What the audit keeps of a change that the configuration makes.
fn record(name: &StreamId, action: &str, now: UnixMillis) -> Record {
    Record {
        id: Id::draw(Kind::Event, now),
        at: now,
        tenant: None,
        actor: "configuration".to_owned(),
        credential: String::new(),
        action: action.to_owned(),
        object: name.to_string(),
        changes: "{}".to_owned(),
        result: "done".to_owned(),
        request_id: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use catalogue::Location;

    use super::*;

    /// What `sealcast up` showed before keys were kept as MACs, it goes on to show.
    #[tokio::test]
    async fn configured_stream_keeps_its_clear_key_in_its_file_and_the_file_decides() {
        let directory = tempfile::tempdir().unwrap();
        let pepper = pepper(directory.path()).unwrap();
        let (catalogue, _) =
            Catalogue::open(Location::File(&directory.path().join("catalogue.db")), &pepper).await.unwrap();
        let stream = |name: &str| {
            let key_file = Some(directory.path().join("keys").join(name));
            StreamConfig { name: name.parse().unwrap(), key: None, pool: None, key_file }
        };
        let streams = [stream("old"), stream("new")];
        let (files, old) = (KeyFiles::new(&streams), StreamKey::new("an-old-key").unwrap());
        let were_clear = [(streams[0].name.clone(), old.clone())];
        let start = async || {
            let configured = (&streams[..], &files);
            configure((&catalogue, &pepper), configured, UnixMillis(0)).await.unwrap()
        };
        files.keep_missing(&were_clear).unwrap();
        let known = start().await;
        assert_eq!(known[0], were_clear[0]);
        assert!(known[1].1.expose().starts_with("scp_"));
        let path = directory.path().join("keys/old");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        files.keep_missing(&[(streams[1].name.clone(), old)]).unwrap();
        assert_eq!(start().await, known, "a file that is there decides");
        let rotated = StreamKey::random();
        files.keep(&streams[0].name, &rotated).unwrap();
        start().await;
        assert_eq!(catalogue.stream(&streams[0].name).await.unwrap().key, rotated.kept(&pepper, &streams[0].name));
    }

    #[test]
    fn pepper_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = pepper(directory.path()).unwrap();
        assert_eq!(pepper(directory.path()).unwrap().expose(), first.expose());
        let path = directory.path().join(PEPPER_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        let said = pepper(directory.path()).unwrap_err().to_string();
        assert!(said.ends_with("pepper.key is no pepper: it has 5 bytes, not 32"), "{said}");
    }
}
