//! Viewers' access to recordings: what playlists list before the live ones, and media from disk.
//!
//! Every byte is checked against its seal each time it is read, on threads that may block. A file with other bytes is never
//! served: it is refused, and its object is absent from then on.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use media::{ObjectName, StreamId};
use messages::AlertReason;
use playlist::{Past, Timeline};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc};

use super::files::Files;
use super::fold::Proof;
use super::is_passing;
use super::tape::Tape;
use crate::viewers::Object;
use gate::Refused;

/// Files that are read at once: more would only make a disk seek.
const READS_MAX: usize = 16;
/// Most bytes of media from disk that are in memory: on their way to viewers, and those that were asked for last. Sixty
/// segments of 4 s at 8 Mbit/s.
const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of media that stay in memory after they were read: viewers go back to where others do.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Objects that stay in memory: init segments and images are small.
const CACHE_ENTRIES_MAX: usize = 1024;
/// How long a request waits for its turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes that a permit of `memory` stands for.
const PERMIT_BYTES: usize = 1024;

/// What became of a request for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Here it is; its bytes are what the seal names.
    Here(Object),
    /// It is not on disk, or no longer.
    Absent,
    /// Too much is being read already.
    Busy,
}

/// A stream's recording, as viewers see it.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) files: Files,
    tape: Mutex<Tape>,
}

impl Recording {
    pub(super) fn new(files: Files, tape: Tape) -> Self {
        Self { files, tape: Mutex::new(tape) }
    }

    /// What is kept. Hold the lock briefly, and never while reading or writing files.
    pub(super) fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The recordings of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dvr(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    window: Duration,
    recordings: ArcSwap<BTreeMap<StreamId, Arc<Recording>>>,
    reads: Semaphore,
    memory: Arc<Semaphore>,
    /// Bytes that reads wait for, because responses hold all memory there is.
    wanted: AtomicU64,
    cache: Mutex<Cache>,
    refused: mpsc::Sender<Refused>,
}

impl Dvr {
    /// A DVR without recordings yet; refusals of those to come go to `refused`.
    pub(super) fn new(window: Duration, refused: mpsc::Sender<Refused>) -> Self {
        Self(Arc::new(Inner {
            window,
            recordings: ArcSwap::default(),
            reads: Semaphore::new(READS_MAX),
            memory: Arc::new(Semaphore::new(MEMORY_BYTES_MAX / PERMIT_BYTES)),
            wanted: AtomicU64::new(0),
            cache: Mutex::default(),
            refused,
        }))
    }

    /// How far back playlists go at most.
    pub fn window(&self) -> Duration {
        self.0.window
    }

    /// What a DVR playlist lists before the live one of `timeline`, which is about to be shown; `None` while the recording is
    /// not read back.
    pub fn past(&self, stream: &StreamId, timeline: &Timeline) -> Option<Arc<Past>> {
        Some(self.recording(stream)?.tape().past(timeline))
    }

    /// Whether a stream is recorded.
    pub fn has(&self, stream: &StreamId) -> bool {
        self.0.recordings.load().contains_key(stream)
    }

    /// Bytes that reads wait for now, because others that were read are still in memory.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.0.wanted.load(Ordering::Relaxed)
    }

    /// Whether an object was read lately, and is kept in memory.
    pub(crate) fn has_read(&self, name: &ObjectName) -> bool {
        self.cache().entries.contains_key(name)
    }

    /// Whether an object is kept: its file was whole when it was written.
    pub fn keeps(&self, name: &ObjectName) -> bool {
        self.recording(&name.stream).is_some_and(|recording| recording.tape().find(name).is_some())
    }

    /// Reads an object, and checks it.
    pub async fn read(&self, name: &ObjectName) -> Read {
        let Some(recording) = self.recording(&name.stream) else { return Read::Absent };
        let Some(proof) = recording.tape().find(name).cloned() else { return Read::Absent };
        let cell = self.cache().get(name, proof.length());
        let read = cell.get_or_init(|| self.read_file(&recording, name, &proof)).await.clone();
        if !matches!(read, Read::Here(_)) {
            self.cache().forget(name, &cell);
        }
        let result = match read {
            Read::Here(_) => "read",
            Read::Absent => "absent",
            Read::Busy => "busy",
        };
        metrics::counter!("broadcast_dvr_reads_total", "result" => result).increment(1);
        read
    }

    async fn read_file(&self, recording: &Arc<Recording>, name: &ObjectName, proof: &Proof) -> Read {
        let permits =
            usize::try_from(proof.length()).unwrap_or(MEMORY_BYTES_MAX).min(MEMORY_BYTES_MAX).div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let turn = async {
            let memory = match self.0.memory.clone().try_acquire_many_owned(permits) {
                Ok(memory) => memory,
                Err(_) => {
                    let _wanted = Wanted::new(&self.0.wanted, proof.length());
                    self.0.memory.clone().acquire_many_owned(permits).await.ok()?
                }
            };
            Some((memory, self.0.reads.acquire().await.ok()?))
        };
        let Ok(Some((memory, _turn))) = tokio::time::timeout(TURN_WAIT_MAX, turn).await else { return Read::Busy };
        let (files, wanted, proven) = (recording.files.clone(), name.clone(), proof.clone());
        let read = tokio::task::spawn_blocking(move || {
            let bytes = files.read(&wanted, proven.length())?;
            Ok::<_, io::Error>(proven.check(&bytes).map(|digest| (bytes, digest)))
        });
        let why = match read.await {
            Ok(Ok(Some((bytes, digest)))) => {
                return Read::Here(Object { bytes: Bytes::from_owner(Held { bytes, _memory: memory }), digest });
            }
            Ok(Err(error)) if is_passing(&error) => return Read::Busy,
            Ok(Ok(None)) => "its bytes are not what the seal names".to_owned(),
            Ok(Err(error)) => error.to_string(),
            // Nothing is known of the file.
            Err(_) => return Read::Busy,
        };
        let mut tape = recording.tape();
        // An object that was removed in the meantime, or has other bytes now, is no fault.
        if tape.find(name) == Some(proof) {
            tape.lose(name);
            drop(tape);
            let refused = Refused {
                reason: AlertReason::Digest,
                stream: Some(name.stream.clone()),
                detail: format!("{name} on disk: {why}"),
            };
            if self.0.refused.try_send(refused).is_err() {
                metrics::counter!("broadcast_alerts_dropped_total").increment(1);
            }
        }
        Read::Absent
    }

    pub(super) fn publish(&self, stream: &StreamId, recording: Option<Arc<Recording>>) {
        let mut recordings = BTreeMap::clone(&self.0.recordings.load());
        match recording {
            Some(recording) => _ = recordings.insert(stream.clone(), recording),
            None => _ = recordings.remove(stream),
        }
        self.0.recordings.store(Arc::new(recordings));
    }

    fn recording(&self, stream: &StreamId) -> Option<Arc<Recording>> {
        self.0.recordings.load().get(stream).cloned()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a read waits for, as long as it does.
struct Wanted<'a>(&'a AtomicU64, u64);

impl<'a> Wanted<'a> {
    fn new(all: &'a AtomicU64, bytes: u64) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self(all, bytes)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Bytes that count as memory until nobody holds them.
struct Held {
    bytes: Vec<u8>,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What was read last, and what is being read: requests for the same object share one read.
#[derive(Debug, Default)]
struct Cache {
    entries: BTreeMap<ObjectName, Entry>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    cell: Arc<OnceCell<Read>>,
    bytes: u64,
    used: u64,
}

impl Cache {
    fn get(&mut self, name: &ObjectName, bytes: u64) -> Arc<OnceCell<Read>> {
        self.uses += 1;
        if let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.bytes == bytes) {
            entry.used = self.uses;
            return entry.cell.clone();
        }
        self.remove(&name.clone());
        while self.entries.len() >= CACHE_ENTRIES_MAX || self.bytes.saturating_add(bytes) > CACHE_BYTES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        let entry = Entry { cell: Arc::default(), bytes, used: self.uses };
        let cell = entry.cell.clone();
        self.bytes += bytes;
        self.entries.insert(name.clone(), entry);
        cell
    }

    /// Drops a failed read, so that the next request tries again.
    fn forget(&mut self, name: &ObjectName, cell: &Arc<OnceCell<Read>>) {
        if self.entries.get(name).is_some_and(|entry| Arc::ptr_eq(&entry.cell, cell)) {
            self.remove(name);
        }
    }

    fn remove(&mut self, name: &ObjectName) {
        if let Some(entry) = self.entries.remove(name) {
            self.bytes -= entry.bytes;
        }
    }
}
