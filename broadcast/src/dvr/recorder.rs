//! The recorder's thread: writes what the gate admitted, has recordings read back, and removes what has expired.
//!
//! Nothing waits for it. What it cannot take in time is left out, and counted. It never syncs: 50 MB/s go to the page cache,
//! and each read checks what a power failure left of them. Nothing is shown as kept before its files are whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use media::StreamId;
use node::clock::Clock;
use seal::Keyring;
use tokio::sync::{mpsc, watch};

use super::Settings;
use super::files::Files;
use super::fold::Fold;
use super::load::{self, Job, Loaded, Patience};
use super::log::{self, SealLog};
use super::reader::{Dvr, Recording};
use super::reel::{Reel, State};
use super::space::{self, Space};
use super::tape::{Spans, Tape, Worth};
use crate::quotas::Quotas;
use gate::{Admitted, Refused};

/// Rows that wait to be written: ten seconds of half-second rows of 50 streams.
const ROWS_MAX: usize = 1024;
/// Places in that queue that rows leave free for what is rare and must not be lost: the gate forgets at most 128 streams at once.
const PLACES_KEPT: usize = 128;
/// Bytes that wait to be written: five seconds of 50 streams of 8 Mbit/s. The live window holds most of them anyway.
const ROWS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Refusals that wait to be reported.
const REFUSALS_MAX: usize = 64;
/// How often expired segments are removed and the free space of the disk is measured.
const TICK: Duration = Duration::from_secs(1);
/// How long recordings count as short of room after a window was cut.
const SHORT_FOR: Duration = Duration::from_secs(60);
/// How long a stream has to be gone before its recording is: a root that voids entries gives control the time to write them again.
const GONE_FOR: Duration = Duration::from_secs(10);
/// Recordings of a node: of as many streams as it holds in memory, and of those that were held before and have not expired.
const STREAMS_MAX: usize = 256;

/// What was removed to make room.
struct Cut {
    /// Bytes that are there still.
    used: u64,
    /// Segments that playlists listed.
    listed: u64,
}

enum Message {
    Admitted(StreamId, Admitted),
    Forget(StreamId),
}

/// The gate's way to the recorder: never waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RecorderQueue {
    messages: mpsc::Sender<Message>,
    /// Beside the queue, which may be full: a revocation is never lost, and waits for no row.
    keys: watch::Sender<Arc<Keyring>>,
    waiting_bytes: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

impl RecorderQueue {
    /// Hands over an admitted seal with its bytes; drops and counts it when there is no room.
    pub fn admitted(&self, stream: StreamId, admitted: Admitted) {
        let bytes = length(&admitted);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting.saturating_add(bytes) <= ROWS_BYTES_MAX && self.messages.capacity() > PLACES_KEPT;
        if !fits || self.messages.try_send(Message::Admitted(stream, admitted)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::counter!("broadcast_dvr_rows_dropped_total").increment(1);
        }
    }

    /// Whether everything that was handed over is taken.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) == 0
    }

    /// A feed whose other end nobody reads, how many messages wait in it, and the keys that it hands over.
    #[cfg(test)]
    pub(super) fn unread(keyring: Arc<Keyring>) -> (Self, impl Fn() -> usize, watch::Receiver<Arc<Keyring>>) {
        let ((messages, inputs), (keys, handed_over)) = (mpsc::channel(ROWS_MAX), watch::channel(keyring));
        (Self { messages, keys, waiting_bytes: Arc::default() }, move || inputs.len(), handed_over)
    }

    /// Says that the gate does not hold the stream any more.
    pub fn forget(&self, stream: StreamId) {
        // Rows leave [`PLACES_KEPT`] places free for this.
        _ = self.messages.try_send(Message::Forget(stream));
    }

    /// Hands over the keys in force.
    pub fn keys(&self, keyring: Arc<Keyring>) {
        self.keys.send_replace(keyring);
    }
}

fn length(admitted: &Admitted) -> u64 {
    admitted.bytes.iter().map(|(_, _, bytes)| u64::try_from(bytes.len()).unwrap_or(u64::MAX)).sum()
}

/// Reads recordings back, one after the other.
fn read_back(
    jobs: &std::sync::mpsc::Receiver<(Job, Arc<Keyring>)>,
    read: &mpsc::Sender<(StreamId, io::Result<Option<Loaded>>)>,
    clock: Clock,
) {
    while let Ok((job, keyring)) = jobs.recv() {
        let loaded = load::load(&job, &keyring, clock.now());
        if read.blocking_send((job.stream, loaded)).is_err() {
            return;
        }
    }
}

/// State of the recorder's thread.
pub struct Recorder {
    settings: Settings,
    spans: Spans,
    clock: Clock,
    keyring: Arc<Keyring>,
    quotas: Arc<Quotas>,
    /// Since when streams are gone whose recordings are there.
    gone: BTreeMap<StreamId, Duration>,
    dvr: Dvr,
    reels: BTreeMap<StreamId, Reel>,
    space: Space,
    messages: mpsc::Receiver<Message>,
    keys: watch::Receiver<Arc<Keyring>>,
    waiting_bytes: Arc<AtomicU64>,
    /// How often keys came, to see whether some came after a recording was asked for.
    keys_came: u64,
    jobs: std::sync::mpsc::SyncSender<(Job, Arc<Keyring>)>,
    loads: mpsc::Receiver<(StreamId, io::Result<Option<Loaded>>)>,
    refused: mpsc::Sender<Refused>,
    /// When a window was last cut short because there was no room for all of it.
    short_at: Option<Duration>,
    was_short: bool,
    is_failing: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Handles of a running recorder.
#[derive(Debug)]
pub struct Parts {
    /// What viewers read recordings with.
    pub dvr: Dvr,
    /// What the gate writes to. The thread ends when the last clone is dropped, once everything is written.
    pub feed: RecorderQueue,
    /// Refusals of what is on disk.
    pub refused: mpsc::Receiver<Refused>,
    /// The thread, to be joined at the end.
    pub thread: std::thread::JoinHandle<()>,
}

impl Recorder {
    /// Starts the thread. Recordings of earlier runs are read back in the background, under the keys of `keyring` and those
    /// that are granted later.
    ///
    /// # Errors
    /// When the directory, the thread or its runtime cannot be made.
    pub fn spawn(
        settings: Settings,
        (keyring, quotas): (Arc<Keyring>, Arc<Quotas>),
        clock: Clock,
    ) -> io::Result<Parts> {
        std::fs::create_dir_all(&settings.root)?;
        let (messages, inputs) = mpsc::channel(ROWS_MAX);
        let (refused, refusals) = mpsc::channel(REFUSALS_MAX);
        let (jobs, to_read) = std::sync::mpsc::sync_channel(STREAMS_MAX);
        let (read, loads) = mpsc::channel(1);
        let waiting_bytes = Arc::<AtomicU64>::default();
        let dvr = Dvr::new(settings.window, refused.clone());
        let (keys, handed_over) = watch::channel(Arc::clone(&keyring));
        let feed = RecorderQueue { messages, keys, waiting_bytes: waiting_bytes.clone() };
        let target = Duration::from_secs(settings.playlist.target_duration_s.into());
        let recorder = Self {
            spans: Spans { window: settings.window, target },
            clock,
            keyring,
            quotas,
            gone: BTreeMap::new(),
            dvr: dvr.clone(),
            reels: BTreeMap::new(),
            space: Space::new(settings.bytes_max, settings.free_bytes_min),
            messages: inputs,
            keys: handed_over,
            waiting_bytes,
            jobs,
            loads,
            refused,
            keys_came: 0,
            short_at: None,
            was_short: false,
            is_failing: false,
            settings,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("dvr-read".to_owned()).spawn(move || read_back(&to_read, &read, clock))?;
        let thread =
            std::thread::Builder::new().name("dvr".to_owned()).spawn(move || runtime.block_on(recorder.run()))?;
        Ok(Parts { dvr, feed, refused: refusals, thread })
    }

    async fn run(mut self) {
        self.find_recordings();
        // Before anything is written.
        self.tick();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some((stream, loaded)) = self.loads.recv() => self.loaded(&stream, loaded),
                _ = ticks.tick() => self.tick(),
                Ok(()) = self.keys.changed() => {
                    let keyring = Arc::clone(&self.keys.borrow_and_update());
                    self.take_keys(keyring);
                }
                message = self.messages.recv() => match message {
                    Some(Message::Admitted(stream, admitted)) => {
                        self.waiting_bytes.fetch_sub(length(&admitted), Ordering::Relaxed);
                        self.admitted(&stream, &admitted);
                    }
                    Some(Message::Forget(stream)) => self.set_live(&stream, None),
                    None => return,
                },
            }
        }
    }

    /// Adds the recordings that earlier runs left.
    fn find_recordings(&mut self) {
        let entries = match std::fs::read_dir(&self.settings.root) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(node = %self.settings.node, %error, "recordings cannot be listed");
                return;
            }
        };
        for entry in entries.flatten().take(STREAMS_MAX) {
            let name = entry.file_name();
            let Some(stream) = name.to_str().and_then(|name| StreamId::new(name).ok()) else { continue };
            if let Err(error) = self.add(&stream) {
                tracing::warn!(node = %self.settings.node, %stream, %error, "a recording cannot be read: it stays where it is");
            }
        }
    }

    /// Adds a stream that is not known yet. Its earlier recording, if there is one, is still to be read.
    fn add(&mut self, stream: &StreamId) -> io::Result<()> {
        let files = Files::new(&self.settings.root, stream);
        let numbers = log::numbers(files.directory())?;
        let first_number = numbers.last().map_or(0, |last| last + 1);
        let state = if numbers.is_empty() {
            let recording = Arc::new(Recording::new(files.clone(), Tape::new(self.spans, Arc::clone(&self.keyring))));
            self.dvr.publish(stream, Some(recording.clone()));
            State::Ready(recording)
        } else {
            State::Unread { since: Vec::new(), asked: None }
        };
        let reel = Reel {
            fold: Fold::new(self.settings.playlist),
            log: SealLog::new(files.directory(), first_number),
            left_at: log::written_at(files.directory(), &numbers).unwrap_or_else(|| self.clock.wall()),
            files,
            first_number,
            state,
            epoch: None,
            open_bytes: 0,
            live_since: None,
        };
        self.reels.insert(stream.clone(), reel);
        self.ask(stream, Patience::WaitForGrants);
        Ok(())
    }

    fn ask(&mut self, stream: &StreamId, patience: Patience) {
        let Some(reel) = self.reels.get_mut(stream) else { return };
        let State::Unread { asked: asked @ None, .. } = &mut reel.state else { return };
        let job = Job {
            stream: stream.clone(),
            files: reel.files.clone(),
            until: reel.first_number,
            spans: self.spans,
            settings: self.settings.playlist,
            patience,
        };
        if self.jobs.try_send((job, self.keyring.clone())).is_ok() {
            *asked = Some(self.keys_came);
        }
    }

    fn take_keys(&mut self, keyring: Arc<Keyring>) {
        self.keyring = keyring;
        self.keys_came += 1;
        for (stream, reel) in &mut self.reels {
            if let Err(error) = reel.take_keys(&self.keyring) {
                tracing::warn!(node = %self.settings.node, %stream, %error, "void segments are not removed from the disk, and not served");
            }
        }
        let streams: Vec<StreamId> = self.reels.keys().cloned().collect();
        streams.iter().for_each(|stream| self.ask(stream, Patience::WaitForGrants));
    }

    fn set_live(&mut self, stream: &StreamId, since: Option<Duration>) {
        let Some(reel) = self.reels.get_mut(stream) else { return };
        if reel.live_since.is_some() == since.is_some() {
            return;
        }
        reel.live_since = since;
        if let State::Ready(recording) = &reel.state {
            recording.tape().set_live(since.is_some());
        }
    }

    fn admitted(&mut self, stream: &StreamId, admitted: &Admitted) {
        if self.quotas.is_gone(stream) {
            return;
        }
        if !self.reels.contains_key(stream) {
            if self.reels.len() >= STREAMS_MAX {
                metrics::counter!("broadcast_dvr_rows_dropped_total").increment(1);
                return;
            }
            if let Err(error) = self.add(stream) {
                return self.note_failure(stream, Err(error));
            }
        }
        self.set_live(stream, Some(self.clock.elapsed()));
        let has_room = self.make_room(length(admitted));
        let now = self.clock.wall();
        let Some(reel) = self.reels.get_mut(stream) else { return };
        let written = reel.take(admitted, has_room, now);
        self.note_failure(stream, written);
    }

    /// Logs once that writing fails, and once that it works again.
    fn note_failure(&mut self, stream: &StreamId, written: io::Result<()>) {
        let node = &self.settings.node;
        match written {
            Ok(()) if self.is_failing => {
                tracing::info!(%node, %stream, "recordings are written again");
                self.is_failing = false;
            }
            Ok(()) => {}
            Err(error) => {
                metrics::counter!("broadcast_dvr_write_failures_total").increment(1);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%node, %stream, %error, "a recording is not written: it will have a hole");
                }
            }
        }
    }

    fn loaded(&mut self, stream: &StreamId, loaded: io::Result<Option<Loaded>>) {
        let now = self.clock.wall();
        let Some(reel) = self.reels.get_mut(stream) else { return };
        let loaded = loaded.unwrap_or_else(|error| {
            // It is read again like one that lacks a grant; meanwhile nothing that may be needed is swept.
            tracing::warn!(node = %self.settings.node, %stream, %error, "a recording cannot be read back now");
            None
        });
        let Some(mut loaded) = loaded else {
            // A grant that has come in the meantime may be the missing one.
            let State::Unread { asked, .. } = &mut reel.state else { return };
            if asked.take() != Some(self.keys_came) {
                self.ask(stream, Patience::WaitForGrants);
            }
            return;
        };
        for refused in loaded.refused.drain(..) {
            if self.refused.try_send(refused).is_err() {
                metrics::counter!("broadcast_alerts_dropped_total").increment(1);
            }
        }
        let recording = reel.adopt(loaded, now);
        if let Err(error) = reel.take_keys(&self.keyring) {
            tracing::warn!(node = %self.settings.node, %stream, %error, "void segments are not removed from the disk, and not served");
        }
        tracing::info!(node = %self.settings.node, %stream, listed = ?recording.tape().length(), "recording read back");
        self.dvr.publish(stream, Some(recording));
    }

    /// Removes what has expired, measures the disk, and makes room.
    fn tick(&mut self) {
        let now = self.clock.now();
        let (wait_max, kept) = (self.settings.grants_wait_max, self.spans.window + self.spans.linger());
        let waited_for = |reel: &Reel| match reel.live_since {
            Some(since) => since + wait_max <= now.elapsed,
            // All of it has expired, whoever signed it.
            None => reel.left_at.plus(kept) <= now.wall,
        };
        let impatient: Vec<StreamId> =
            self.reels.iter().filter(|(_, reel)| waited_for(reel)).map(|(stream, _)| stream.clone()).collect();
        impatient.iter().for_each(|stream| self.ask(stream, Patience::GoOn));
        let mut failed = None;
        for (stream, reel) in &mut self.reels {
            if let State::Ready(recording) = &reel.state {
                let expired = recording.tape().expire(now.wall);
                if let Err(error) = reel.remove(&expired) {
                    failed = Some((stream.clone(), error));
                }
            }
        }
        if let Some((stream, error)) = failed {
            tracing::warn!(node = %self.settings.node, %stream, %error, "an old recording is not removed");
        }
        self.forget_empty();
        self.forget_gone(now.elapsed);
        self.keep_shares();
        let used = self.used();
        self.space.measured(space::free(&self.settings.root), used);
        self.make_room(0);
        self.say(used);
    }

    /// Removes streams that are not held and of which nothing is left.
    fn forget_empty(&mut self) {
        let is_over = |reel: &Reel| {
            let is_empty = matches!(&reel.state, State::Ready(recording) if recording.tape().is_empty());
            is_empty && reel.live_since.is_none()
        };
        let over: Vec<StreamId> =
            self.reels.iter().filter(|(_, reel)| is_over(reel)).map(|(stream, _)| stream.clone()).collect();
        for stream in over {
            self.dvr.publish(&stream, None);
            if let Some(reel) = self.reels.remove(&stream)
                && let Err(error) = reel.files.remove_all()
            {
                tracing::warn!(node = %self.settings.node, %stream, %error, "an old recording is not removed");
            }
        }
    }

    /// Removes the recordings of streams that were deleted: another tenant may get the name.
    fn forget_gone(&mut self, now: Duration) {
        let quotas = &self.quotas;
        self.gone.retain(|stream, _| quotas.is_gone(stream));
        for stream in self.reels.keys().filter(|stream| quotas.is_gone(stream)) {
            self.gone.entry(stream.clone()).or_insert(now);
        }
        let over = self.gone.iter().filter(|(_, since)| now.saturating_sub(**since) >= GONE_FOR);
        let over: Vec<StreamId> = over.map(|(stream, _)| stream.clone()).collect();
        for stream in over {
            self.gone.remove(&stream);
            let Some(reel) = self.reels.remove(&stream) else { continue };
            self.dvr.publish(&stream, None);
            tracing::info!(node = %self.settings.node, %stream, "the stream was deleted, and its recording is removed");
            if let Err(error) = reel.files.remove_all() {
                tracing::warn!(node = %self.settings.node, %stream, %error, "the recording of a deleted stream is not removed");
            }
        }
    }

    /// Removes the oldest of tenants of which this node has more than it may keep, and says what it has.
    fn keep_shares(&mut self) {
        let mut streams: BTreeMap<String, Vec<StreamId>> = BTreeMap::new();
        for stream in self.reels.keys() {
            if let Some(owner) = self.quotas.owner(stream) {
                streams.entry(owner).or_default().push(stream.clone());
            }
        }
        let mut used = BTreeMap::new();
        for (owner, streams) in streams {
            let limit = self.quotas.stored_bytes_max(&owner);
            let cut = self.cut(limit, |stream| streams.contains(stream));
            if cut.listed > 0 {
                metrics::counter!("broadcast_dvr_quota_cut_total").increment(cut.listed);
            }
            used.insert(owner, cut.used);
        }
        self.quotas.note_stored(&used);
    }

    fn used(&self) -> u64 {
        self.reels.values().map(Reel::bytes).sum()
    }

    /// Makes room for `bytes`: what has left the playlists goes first, then what is oldest. `false` when there is not enough.
    fn make_room(&mut self, bytes: u64) -> bool {
        let limit = self.space.limit();
        let Cut { used, listed } = self.cut(limit.saturating_sub(bytes), |_| true);
        let fits = used.saturating_add(bytes) <= limit;
        if listed > 0 || !fits {
            metrics::counter!("broadcast_dvr_segments_cut_total").increment(listed);
            self.short_at = Some(self.clock.elapsed());
        }
        fits
    }

    /// Removes from these streams until they take `limit` bytes at most: what has left the playlists first, then what is oldest.
    fn cut(&mut self, limit: u64, is_one: impl Fn(&StreamId) -> bool) -> Cut {
        let its = self.reels.iter().filter(|(stream, _)| is_one(stream));
        let mut used: u64 = its.map(|(_, reel)| reel.bytes()).sum();
        let mut listed = 0;
        while used > limit {
            let its = self.reels.iter().filter(|(stream, _)| is_one(stream));
            let oldest = its.filter_map(|(stream, reel)| {
                let State::Ready(recording) = &reel.state else { return None };
                Some((recording.tape().oldest()?, stream.clone()))
            });
            let Some(((worth, _), stream)) = oldest.min() else { break };
            listed += u64::from(worth == Worth::Listed);
            let Some(reel) = self.reels.get_mut(&stream) else { break };
            let before = reel.bytes();
            if let Err(error) = reel.evict() {
                tracing::warn!(node = %self.settings.node, %stream, %error, "an old recording is not removed");
            }
            used -= before - reel.bytes();
        }
        Cut { used, listed }
    }

    /// Logs once that there is too little room, and sets the gauges.
    #[expect(clippy::cast_precision_loss, reason = "gauges; exact to 2^53 bytes")]
    fn say(&mut self, used: u64) {
        let node = self.settings.node.to_string();
        let now = self.clock.elapsed();
        let is_short = self.short_at.is_some_and(|at| at + SHORT_FOR >= now);
        if is_short && !self.was_short {
            let (limit_bytes, by_disk) = (self.space.limit(), self.space.is_short());
            tracing::warn!(%node, limit_bytes, by_disk, "recordings have less room than their window needs: the oldest goes");
        }
        self.was_short = is_short;
        metrics::gauge!("broadcast_dvr_bytes", "node" => node.clone()).set(used as f64);
        metrics::gauge!("broadcast_dvr_short", "node" => node).set(f64::from(u8::from(is_short)));
    }
}
