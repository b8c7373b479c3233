//! What survives a restart: the newest admitted seal of each stream, and the revocation list.
//!
//! An old session must not be replayable into a restarted node, so heads are written whole (temporary file, rename, sync).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use media::StreamId;
use node::files;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::gate::SavedHead;
use crate::gate::limits::HEADS_MAX;

/// Heads are written at most this often: a disk that syncs slowly must not fall behind a hundred streams. What a crash takes of a log that
/// goes on, two seconds, is no older session.
const INTERVAL: Duration = Duration::from_secs(2);
const HEAD_SUFFIX: &str = ".head";
const REVOKED_FILE: &str = "revoked.cose";

/// Writes what the gate says, the newest only.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    heads: PathBuf,
    revoked: PathBuf,
    waiting: Arc<Mutex<BTreeMap<PathBuf, Bytes>>>,
    notify: Arc<Notify>,
}

impl Disk {
    /// Makes the directory for heads below the node's own.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let heads = data.join("heads");
        files::create_directory(&heads)?;
        let revoked = data.join(REVOKED_FILE);
        Ok(Self { heads, revoked, waiting: Arc::default(), notify: Arc::default() })
    }

    /// Reads all heads. One that is not what was written is an error: going on without it would let an old session in.
    pub(crate) fn heads(&self) -> Result<BTreeMap<StreamId, SavedHead>> {
        let mut heads = BTreeMap::new();
        let entries =
            std::fs::read_dir(&self.heads).with_context(|| format!("cannot read {}", self.heads.display()))?;
        for entry in entries.take(2 * HEADS_MAX) {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            // A dot first: a temporary file of a write that was cut short.
            let Some(stream) = name.and_then(|name| name.strip_suffix(HEAD_SUFFIX)) else { continue };
            let bytes = Bytes::from(files::read_bounded(&path)?);
            let saved = SavedHead::from_bytes(&bytes).map_err(|refusal| {
                anyhow::anyhow!(
                    "{} is damaged ({}); remove it if its stream may start anew",
                    path.display(),
                    refusal.detail
                )
            })?;
            anyhow::ensure!(saved.head.stream.as_str() == stream, "{} is of another stream", path.display());
            heads.insert(saved.head.stream.clone(), saved);
        }
        Ok(heads)
    }

    /// The newest revocation list that was seen.
    pub(crate) fn revocations(&self) -> Result<Option<Bytes>> {
        self.revoked.exists().then(|| files::read_bounded(&self.revoked).map(Bytes::from)).transpose()
    }

    pub(crate) fn save_head(&self, stream: &StreamId, saved: &SavedHead) {
        self.save(self.heads.join(format!("{stream}{HEAD_SUFFIX}")), saved.to_bytes());
    }

    pub(crate) fn save_revocations(&self, bytes: Bytes) {
        self.save(self.revoked.clone(), bytes);
    }

    fn save(&self, path: PathBuf, bytes: Bytes) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(path, bytes);
        self.notify.notify_one();
    }

    /// Writes until `shutdown`, and then what is left.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.notify.notified() => {}
            }
            self.write().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        self.write().await;
    }

    async fn write(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let written = tokio::task::spawn_blocking(move || {
            for (path, bytes) in waiting {
                if let Err(error) = files::atomic_write(&path, &bytes, files::MODE_PUBLIC) {
                    metrics::counter!("broadcast_disk_failures_total").increment(1);
                    tracing::warn!(%error, "what must survive a restart was not written");
                }
            }
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "writer of heads failed");
        }
    }
}
