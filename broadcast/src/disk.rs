//! What survives a restart: the newest admitted seal of each stream, and the revocation list.
//!
//! An old session must not be replayable into a restarted node, so heads are written whole (temporary file, rename, sync).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use media::{Epoch, MediaSequence, StreamId};
use node::files;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use gate::SavedHead;
use gate::limits::HEADS_MAX;

/// Heads within a segment are written at most this often: a disk that syncs slowly must not fall behind a hundred streams.
/// Heads of a new epoch and of a whole segment are written at once, so a crash loses neither.
const INTERVAL: Duration = Duration::from_secs(2);
const HEAD_SUFFIX: &str = ".head";

/// Writes heads, the newest of each stream only.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    heads: PathBuf,
    waiting: Arc<Mutex<Waiting>>,
    notify: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    files: BTreeMap<PathBuf, Bytes>,
    /// Files that are written at once.
    urgent: BTreeMap<PathBuf, Bytes>,
    /// Epoch and open segment of each stream's newest head, written or waiting; as many as there are files.
    places: BTreeMap<StreamId, (Epoch, MediaSequence)>,
}

impl Disk {
    /// Makes the directory for heads below the node's own.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let heads = data.join("heads");
        files::create_directory(&heads)?;
        Ok(Self { heads, waiting: Arc::default(), notify: Arc::default() })
    }

    /// Reads all heads. A damaged head is an error: going on without it would let an old session in.
    pub(crate) fn heads(&self) -> Result<BTreeMap<StreamId, SavedHead>> {
        let mut heads = BTreeMap::new();
        let entries =
            std::fs::read_dir(&self.heads).with_context(|| format!("cannot read {}", self.heads.display()))?;
        for entry in entries.take(2 * HEADS_MAX) {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            // Anything else is a temporary file, `.NAME.HEX.tmp`, of a write that was cut short.
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

    pub(crate) fn save_head(&self, stream: &StreamId, saved: &SavedHead) {
        let (path, place) =
            (self.heads.join(format!("{stream}{HEAD_SUFFIX}")), (saved.head.epoch, saved.head.next_msn));
        let mut waiting = self.waiting();
        let waits = waiting.places.insert(stream.clone(), place) == Some(place) && !waiting.urgent.contains_key(&path);
        if waits {
            waiting.files.insert(path, saved.to_bytes());
        } else {
            waiting.files.remove(&path);
            waiting.urgent.insert(path, saved.to_bytes());
        }
        self.notify.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until `shutdown`, and then what is left.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut rest = pin!(sleep(Duration::ZERO));
        while let Some(all) = shutdown.run_until_cancelled(self.due(rest.as_mut())).await {
            self.write(all).await;
            if all {
                rest.set(sleep(INTERVAL));
            }
        }
        self.write(true).await;
    }

    /// Resolves when files have to be written: to `false` when an urgent one waits, to `true`, which means all, when others
    /// wait and `rest` is over.
    async fn due(&self, mut rest: Pin<&mut Sleep>) -> bool {
        loop {
            let (is_urgent, waits) = {
                let waiting = self.waiting();
                (!waiting.urgent.is_empty(), !waiting.files.is_empty())
            };
            if is_urgent {
                return false;
            }
            tokio::select! {
                () = rest.as_mut(), if waits => return true,
                () = self.notify.notified() => {}
            }
        }
    }

    async fn write(&self, all: bool) {
        let files = {
            let mut waiting = self.waiting();
            let mut files = std::mem::take(&mut waiting.urgent);
            if all {
                files.append(&mut waiting.files);
            }
            files
        };
        let written = tokio::task::spawn_blocking(move || {
            for (path, bytes) in files {
                if let Err(error) = files::atomic_write(&path, &bytes, files::MODE_PUBLIC) {
                    metrics::counter!("broadcast_disk_failures_total").increment(1);
                    tracing::warn!(%error, "a head or the revocation list was not written: it does not survive a restart");
                }
            }
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "writer of heads failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use media::{Digest, DiscontinuitySequence, LogSequence, PartIndex, SessionId, UnixMillis};
    use seal::{Head, SealKind};

    use super::*;

    fn saved(epoch: u64, sequence: u64, next_msn: u64) -> SavedHead {
        let head = Head {
            stream: "a".parse().unwrap(),
            session: SessionId([1; 16]),
            epoch: Epoch(epoch),
            sequence: LogSequence(sequence),
            digest: Digest::NONE,
            kind: SealKind::Media,
            origin: UnixMillis(0),
            next_msn: MediaSequence(next_msn),
            next_part: PartIndex(0),
            discontinuity: DiscontinuitySequence(0),
            start: None,
            tracks: Vec::new(),
        };
        SavedHead { head, raw: Bytes::from_static(b"seal"), inits: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn log_that_goes_on_waits_its_time_and_the_end_of_a_segment_a_new_epoch_and_revocations_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path()).unwrap();
        let clock = node::clock::Clock::new();
        let writer = tokio::spawn(disk.clone().run(CancellationToken::new()));
        // Whether it is on disk at once.
        let written = async |head: SavedHead| {
            let begun = clock.elapsed();
            disk.save_head(&head.head.stream, &head);
            while disk.heads().unwrap().get(&head.head.stream) != Some(&head) {
                sleep(Duration::from_millis(1)).await;
            }
            clock.elapsed() - begun < INTERVAL / 2
        };
        assert!(written(saved(1, 1, 0)).await, "the first");
        assert!(written(saved(1, 2, 0)).await, "nothing was written for long");
        assert!(!written(saved(1, 3, 0)).await, "the log goes on");
        assert!(written(saved(1, 4, 1)).await, "a segment is whole");
        assert!(!written(saved(1, 5, 1)).await, "the log goes on");
        assert!(written(saved(2, 6, 1)).await, "a new epoch");
        assert!(!written(saved(2, 7, 1)).await, "the log goes on");
        writer.abort();
    }
}
