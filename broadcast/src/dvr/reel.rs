//! One stream that is recorded: where its rows go, and what of its files is still needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use media::{Epoch, LogSequence, Slot, UnixMillis};
use playlist::SegmentKey;
use seal::{Keyring, Sealed};

use super::files::Files;
use super::fold::{Fold, Taken};
use super::load::Loaded;
use super::log::SealLog;
use super::reader::Recording;
use super::tape::Tape;
use super::{Missing, settle};
use gate::Admitted;

/// Rows that are noted while a recording is read back: half an hour of half-second rows.
const NOTED_MAX: usize = 4096;

/// A stream that is recorded, or was.
#[derive(Debug)]
pub(super) struct Reel {
    pub(super) fold: Fold,
    pub(super) files: Files,
    pub(super) log: SealLog,
    /// Number of the first file of seals that this run writes.
    pub(super) first_number: u64,
    /// When the files of earlier runs were last written.
    pub(super) left_at: UnixMillis,
    pub(super) state: State,
    /// The epoch that is being written.
    pub(super) epoch: Option<Epoch>,
    /// Bytes of the segment that is open.
    pub(super) open_bytes: u64,
    /// Since when the gate holds it.
    pub(super) live_since: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum State {
    /// The recording of earlier runs is not read back yet; these seals came since.
    Unread {
        since: Vec<(Sealed, Option<LogSequence>)>,
        /// It is being read, with the keys as of this count ([`super::recorder`]).
        asked: Option<u64>,
    },
    /// Everything is known.
    Ready(Arc<Recording>),
}

impl Reel {
    /// Writes a row, and takes note of what it closes.
    pub(super) fn take(&mut self, admitted: &Admitted, has_room: bool, now: UnixMillis) -> io::Result<()> {
        let Admitted { sealed, void_after, .. } = admitted;
        let mut written = self.log.append(sealed);
        let open = self.fold.open();
        let taken = self.fold.take(sealed, *void_after);
        if has_room {
            written = written.and(self.write(&taken, admitted));
        }
        self.epoch = Some(sealed.body().epoch);
        if !taken.closed.is_empty() {
            self.open_bytes = 0;
        }
        let recording = match &mut self.state {
            State::Ready(recording) => recording.clone(),
            State::Unread { since, .. } => {
                if since.len() >= NOTED_MAX {
                    since.clear();
                }
                since.push((sealed.clone(), *void_after));
                return written;
            }
        };
        let abandoned = open.filter(|key| {
            let is_closed = taken.closed.iter().any(|closed| closed.segment.key() == *key);
            taken.anew && !is_closed && self.fold.open() != Some(*key)
        });
        let settled = settle(taken, &self.files);
        let mut gone = recording.tape().follow(settled, Missing::IsHole, now);
        gone.extend(abandoned.filter(|key| !recording.tape().has(*key)));
        written.and(self.remove(&gone))
    }

    fn write(&mut self, taken: &Taken, admitted: &Admitted) -> io::Result<()> {
        let epoch = admitted.sealed.body().epoch;
        let mut written = Ok(());
        for (rendition, slot, bytes) in &admitted.bytes {
            let this = match (slot, &taken.row) {
                (Slot::Part { .. }, Some((key, places))) => {
                    let place = places.iter().find(|(name, _)| name == rendition);
                    place.map_or(Ok(()), |(_, at)| self.files.write_part(*key, rendition, *at, bytes))
                }
                (Slot::Part { .. } | Slot::Segment { .. }, _) => Ok(()),
                (Slot::Init | Slot::Image { .. }, _) => self.files.write_whole(epoch, rendition, *slot, bytes),
            };
            self.open_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            written = written.and(this);
        }
        written
    }

    /// Takes over what was read back, and what has come since.
    pub(super) fn adopt(&mut self, loaded: Loaded, now: UnixMillis) -> Arc<Recording> {
        let Loaded { fold, mut tape, pieces, known, .. } = loaded;
        self.log.adopt(pieces, known);
        self.fold = fold;
        if let State::Unread { since, .. } = &mut self.state {
            for (sealed, void_after) in std::mem::take(since) {
                let settled = settle(self.fold.take(&sealed, void_after), &self.files);
                tape.follow(settled, Missing::IsHole, now);
            }
        }
        tape.set_live(self.live_since.is_some());
        if let Err(error) = self.sweep(&tape) {
            tracing::warn!(directory = %self.files.directory().display(), %error, "unneeded files of a recording are not removed");
        }
        let recording = Arc::new(Recording::new(self.files.clone(), tape));
        self.state = State::Ready(recording.clone());
        recording
    }

    /// Removes what is on disk and nothing refers to.
    fn sweep(&self, tape: &Tape) -> io::Result<()> {
        let (segments, epochs) = self.files.list()?;
        let open = self.fold.open();
        for key in segments.into_iter().filter(|key| !tape.has(*key) && open != Some(*key)) {
            self.files.remove(key)?;
        }
        let is_needed = |epoch: Epoch| {
            tape.has_epoch(epoch) || self.epoch == Some(epoch) || open.is_some_and(|open| open.epoch == epoch)
        };
        epochs.into_iter().filter(|epoch| !is_needed(*epoch)).try_for_each(|epoch| self.files.remove_epoch(epoch))
    }

    /// Removes segments that are not kept any more, and what only they needed.
    pub(super) fn remove(&mut self, gone: &[SegmentKey]) -> io::Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let State::Ready(recording) = &self.state else { return Ok(()) };
        let mut removed = Ok(());
        for key in gone {
            removed = removed.and(self.files.remove(*key));
            if !recording.tape().has_epoch(key.epoch) && self.epoch != Some(key.epoch) {
                removed = removed.and(self.files.remove_epoch(key.epoch));
            }
        }
        let oldest = recording.tape().oldest_msn();
        removed.and(oldest.map_or(Ok(()), |oldest| self.log.forget_before(oldest)))
    }

    /// Removes what is void by these keys, and everything before it.
    pub(super) fn take_keys(&mut self, keyring: &Arc<Keyring>) -> io::Result<()> {
        let State::Ready(recording) = &self.state else { return Ok(()) };
        let erased = recording.tape().take_keys(Arc::clone(keyring));
        self.remove(&erased)
    }

    /// Removes the oldest segment, to make room.
    pub(super) fn evict(&mut self) -> io::Result<()> {
        let State::Ready(recording) = &self.state else { return Ok(()) };
        let evicted = recording.tape().evict();
        self.remove(evicted.as_slice())
    }

    /// Bytes of disk that the recording takes.
    pub(super) fn bytes(&self) -> u64 {
        let kept = match &self.state {
            State::Ready(recording) => recording.tape().bytes(),
            State::Unread { .. } => 0,
        };
        kept + self.log.bytes() + self.open_bytes
    }
}
