//! DVR: keeps hours of a stream on disk, so that viewers can go back.
//!
//! Owns the recording of what the gate admitted, its seals included; how long and how much of it is kept; what proves it when
//! it is read; and what a playlist of hours lists in front of the live one ([`playlist::Past`]). Deliberately never holds up
//! the gate: what the disk does not take in time is missing afterwards.
//!
//! - `fold`: from seals to closed segments and what proves their bytes. Pure.
//! - `tape`: what is kept of one stream, and until when. Pure.
//! - `files`, `log`: media and seals on disk.
//! - `load`: a recording is read back after a restart.
//! - `recorder`: the thread that writes; `reel`: what it has of one stream.
//! - `reader`: viewers' way to it.

mod files;
mod fold;
mod load;
mod log;
mod reader;
mod recorder;
mod reel;
mod space;
mod tape;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use media::{Epoch, LogSequence, MediaSequence, NodeId, RenditionId, Slot};

use files::Files;
use fold::{Closed, Taken};

pub use reader::{Dvr, Read};
pub use recorder::{Parts, Recorder, RecorderQueue};

/// Space that is left free on the disk, in bytes: what the rest of the node writes for a long while.
pub const DISK_FREE_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;

/// How long a live stream's recording waits for the grants of older keys: enough for a control node that starts with this one.
pub const GRANTS_WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Settings {
    /// The node, for metrics.
    pub node: NodeId,
    /// Directory of all recordings.
    pub root: PathBuf,
    pub playlist: playlist::Settings,
    /// How far back playlists go. Twice as much is on disk, because what has left a playlist stays as long as that was (RFC 8216bis 6.2.2).
    pub window: Duration,
    /// Most bytes of disk that all streams take together.
    pub bytes_max: u64,
    /// Bytes of disk that are left free.
    pub free_bytes_min: u64,
    /// How long a recording with unknown keys stays unread once its stream is live. After that, it is read without what those keys signed.
    pub grants_wait_max: Duration,
}

/// Whether an error is temporary and says nothing about the file: too many files are open, or memory is short.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR))
}

/// What to do with a closed segment whose bytes are not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// List it as a gap: nobody has seen anything else.
    IsGap,
    /// Leave a hole: the live playlist lists it as what it is.
    IsHole,
}

/// What a seal changes in what is kept, once it is known which files exist.
#[derive(Debug)]
struct Settled {
    voided: Option<(Epoch, LogSequence)>,
    /// A stream that had ended begins again with this segment.
    begins_at: Option<MediaSequence>,
    /// Closed segments with the objects that are on disk, and whether that is all of their media.
    closed: Vec<(Closed, bool)>,
}

/// Looks which files of closed segments are whole, and leaves out the objects whose files are not.
fn settle(taken: Taken, files: &Files) -> Settled {
    let reopened = taken.row.filter(|_| taken.reopened);
    let closed = taken.closed.into_iter().map(|mut closed| {
        let is_whole = take_whole(&mut closed, files);
        if closed.objects.is_empty() {
            // The directory shows later that the segment was kept. If it cannot be made, the recording begins later after the next restart.
            _ = files.make(closed.segment.key());
        }
        (closed, is_whole)
    });
    let begins_at = reopened.map(|(key, _)| key.msn);
    Settled { voided: taken.voided, begins_at, closed: closed.collect() }
}

/// Leaves in a closed segment only the objects that are on disk; returns whether none of its media is missing.
fn take_whole(closed: &mut Closed, files: &Files) -> bool {
    let key = closed.segment.key();
    let Closed { objects, inits, .. } = closed;
    inits.retain(|(rendition, proof)| files.length(key.epoch, rendition, Slot::Init) == proof.length());
    let media = |objects: &[(RenditionId, Slot, fold::Proof)]| {
        objects.iter().filter(|(_, slot, _)| matches!(slot, Slot::Segment { .. })).count()
    };
    let sealed = media(objects);
    objects.retain(|(rendition, slot, proof)| {
        inits.iter().any(|(init, _)| init == rendition) && files.length(key.epoch, rendition, *slot) >= proof.length()
    });
    media(objects) == sealed
}
