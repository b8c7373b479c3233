//! Recordings on a real disk: what is kept, what is listed, and that nothing else is ever read.

mod damage;
mod quota;
mod record;
mod restart;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Epoch, LogSequence, MediaSequence, ObjectName, Slot, StreamId, UnixMillis};
use node::clock::Clock;
use playlist::reload::Extent;
use playlist::render;
use playlist::{Listing, Past, Timeline};
use seal::Keyring;
use tokio::sync::mpsc;

use super::*;
use crate::quotas::Quotas;
use crate::viewers::Object;
use gate::{Admitted, Refused};
use testkit::studio::{self, Authority, Row, Studio, node};

/// Longest wait for any condition here.
const PATIENCE: Duration = Duration::from_secs(30);
/// A segment of the studio.
const SEGMENT: Duration = Duration::from_secs(4);

/// Waits until a condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !holds() {
            ticks.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

/// A directory with recordings, and the keys to read them back.
struct Disk {
    directory: tempfile::TempDir,
    authority: Authority,
    keyring: Arc<Keyring>,
    clock: Clock,
    window: Duration,
    bytes_max: u64,
    free_bytes_min: u64,
    grants_wait_max: Duration,
    quotas: Arc<Quotas>,
}

impl Disk {
    fn new(window: Duration) -> Self {
        let authority = Authority::new();
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        Self {
            directory,
            authority,
            keyring: Authority::nobody(),
            clock,
            window,
            bytes_max: 1 << 40,
            free_bytes_min: 0,
            grants_wait_max: GRANTS_WAIT_MAX,
            quotas: Arc::default(),
        }
    }

    /// An ingest whose key is granted.
    fn studio(&mut self, now: UnixMillis) -> Studio {
        let studio = Studio::new("demo", now);
        self.keyring = self.authority.grant(&studio, self.clock.wall());
        studio
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("dvr")
    }

    fn settings(&self) -> Settings {
        Settings {
            node: node("b1"),
            root: self.root(),
            playlist: playlist::Settings::default(),
            window: self.window,
            bytes_max: self.bytes_max,
            free_bytes_min: self.free_bytes_min,
            grants_wait_max: self.grants_wait_max,
        }
    }

    fn start(&self) -> Deck {
        self.start_knowing(self.keyring.clone())
    }

    fn start_knowing(&self, keyring: Arc<Keyring>) -> Deck {
        let knows = (keyring, Arc::clone(&self.quotas));
        let Parts { dvr, feed, refused, thread } = Recorder::spawn(self.settings(), knows, self.clock).unwrap();
        Deck { dvr, feed, refused, thread, timeline: Timeline::new(playlist::Settings::default()) }
    }

    /// All files below the directory of recordings, with their lengths.
    fn files(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(directory: &Path, files: &mut BTreeMap<PathBuf, u64>) {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => walk(&entry.path(), files),
                    Ok(metadata) => _ = files.insert(entry.path(), metadata.len()),
                    Err(_) => {}
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(&self.root(), &mut files);
        files
    }

    fn media_files(&self) -> Vec<PathBuf> {
        let is_media = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "m4s");
        self.files().into_keys().filter(is_media).collect()
    }
}

/// A running recorder, and a node's live timeline beside it.
struct Deck {
    dvr: Dvr,
    feed: RecorderQueue,
    refused: mpsc::Receiver<Refused>,
    thread: std::thread::JoinHandle<()>,
    timeline: Timeline,
}

impl Deck {
    fn take(&mut self, row: &Row) {
        self.take_on(row, None);
    }

    /// A row that opens an epoch on the seal before it, or on an older one.
    fn take_on(&mut self, row: &Row, void_after: Option<LogSequence>) {
        if let Some(after) = void_after {
            self.timeline.void_after(after);
        }
        if self.timeline.apply(row.sealed.body()).is_err() {
            self.timeline = Timeline::new(playlist::Settings::default());
            _ = self.timeline.apply(row.sealed.body());
        }
        self.feed.admitted(row.sealed.body().stream.clone(), admitted(row, void_after));
    }

    fn take_all<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) {
        rows.into_iter().for_each(|row| self.take(row));
    }

    fn past(&self) -> Option<Arc<Past>> {
        self.dvr.past(&studio::stream("demo"), &self.timeline)
    }

    fn playlist(&self, rendition: &str) -> String {
        let past = self.past().expect("the recording is read back");
        past.check_invariants();
        let listing = Listing::with_past(&self.timeline, &past);
        render::media(listing, &studio::rendition(rendition), Extent::Full).expect("there is something to list")
    }

    /// Media sequence numbers that are listed, gaps left out.
    fn listed(&self, rendition: &str) -> Vec<u64> {
        let playlist = parse(&self.playlist(rendition));
        let media =
            playlist.segments.iter().filter(|segment| !segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"));
        media.map(|segment| number(&segment.uri)).collect()
    }

    async fn read(&self, name: &ObjectName) -> Option<Object> {
        match self.dvr.read(name).await {
            Read::Here(object) => Some(object),
            Read::Absent => None,
            Read::Busy => panic!("nothing else is read"),
        }
    }

    /// Waits until everything is written, and ends the recorder.
    fn stop(self) -> Dvr {
        let Self { dvr, feed, thread, .. } = self;
        drop(feed);
        thread.join().unwrap();
        dvr
    }

    async fn loaded(&self) {
        eventually("the recording is read back", || self.dvr.has(&studio::stream("demo"))).await;
    }

    /// Waits until a segment is kept.
    async fn kept(&self, epoch: u64, msn: u64) {
        let name = segment("360p", epoch, msn);
        eventually(&format!("{name} is kept"), || self.dvr.keeps(&name)).await;
    }
}

fn admitted(row: &Row, void_after: Option<LogSequence>) -> Admitted {
    let bytes = row.objects.iter().map(|(name, bytes)| (name.rendition.clone(), name.slot, bytes.clone()));
    Admitted { sealed: row.sealed.clone(), void_after, bytes: bytes.collect() }
}

fn object(rendition: &str, epoch: u64, slot: Slot) -> ObjectName {
    let (stream, rendition) = (studio::stream("demo"), studio::rendition(rendition));
    ObjectName { stream, rendition, epoch: Epoch(epoch), slot }
}

fn segment(rendition: &str, epoch: u64, msn: u64) -> ObjectName {
    object(rendition, epoch, Slot::Segment { msn: MediaSequence(msn) })
}

fn parse(text: &str) -> m3u8_rs::MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn number(uri: &str) -> u64 {
    uri.rsplit('/').next().and_then(|name| name.strip_suffix(".m4s")).and_then(|n| n.parse().ok()).expect("a segment")
}

/// The bytes that each segment of these rows must have.
fn segments(rows: &[Row]) -> BTreeMap<ObjectName, Vec<u8>> {
    let mut segments: BTreeMap<ObjectName, Vec<u8>> = BTreeMap::new();
    for (name, bytes) in rows.iter().flat_map(|row| &row.objects) {
        let slot = match name.slot {
            Slot::Part { msn, .. } => Slot::Segment { msn },
            other => other,
        };
        segments.entry(ObjectName { slot, ..name.clone() }).or_default().extend_from_slice(bytes);
    }
    segments
}

/// Segments that were sealed one after the other, ending now: rows, each with the time at which it was sealed.
fn history(studio: &mut Studio, count: u32, end: UnixMillis) -> Vec<Row> {
    (0..count).flat_map(|n| studio.segment(end.minus(SEGMENT * (count - 1 - n)))).collect()
}
