//! DVR: hours of a stream on disk, to go back to.
//!
//! Owns the recording of what the gate admitted, its seals included; how long it is kept and how much of it; what proves it when
//! it is read; and what a playlist of hours lists in front of the live one ([`playlist::Past`]). Deliberately never holds up the
//! gate: what the disk does not take in time is missing afterwards.
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
pub use recorder::{Feed, Parts, Recorder};

/// Space that is left free on the disk, in bytes: what the rest of the node writes for a long while.
pub const DISK_FREE_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;

/// How long the grants of older keys are waited for, once a stream is live: a control node that comes up with this one.
pub const GRANTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a recorder is told when it is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node, for metrics.
    pub node: NodeId,
    /// Directory of all recordings.
    pub root: PathBuf,
    /// What shows in playlists.
    pub playlist: playlist::Settings,
    /// What playlists list. Twice as much is on disk, because what has left a playlist stays as long as that was (RFC 8216bis
    /// 6.2.2).
    pub window: Duration,
    /// What all streams together take of the disk at most, in bytes.
    pub bytes_max: u64,
    /// What is left free on the disk, in bytes.
    pub free_bytes_min: u64,
    /// How long a recording whose keys are not known is left unread once its stream is live; then it goes on without what they
    /// signed.
    pub grants_wait_max: Duration,
}

/// Whether an error is the machine's for the moment, and says nothing of the file: too many are open, or memory is short.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR))
}

/// What to make of a segment that was closed while its bytes are not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is listed as a gap: nobody has seen anything else.
    IsGap,
    /// It is a hole: the live playlist lists it as what it is.
    IsHole,
}

/// What follows from a seal for what is kept, once it is known which files there are.
#[derive(Debug)]
struct Settled {
    voided: Option<(Epoch, LogSequence)>,
    /// A stream that had ended begins again with this segment.
    begins_at: Option<MediaSequence>,
    /// Closed segments with the objects that are on disk, and whether that is all of their media.
    closed: Vec<(Closed, bool)>,
}

/// Looks which files of closed segments are whole. What is not there any more is left out of them.
fn settle(taken: Taken, files: &Files) -> Settled {
    let reopened = taken.row.filter(|_| taken.reopened);
    let closed = taken.closed.into_iter().map(|mut closed| {
        let is_whole = take_whole(&mut closed, files);
        if closed.objects.is_empty() {
            // So that it is known later that it was kept. If that fails, it begins later after the next restart.
            _ = files.make(closed.segment.key());
        }
        (closed, is_whole)
    });
    let begins_at = reopened.map(|(key, _)| key.msn);
    Settled { voided: taken.voided, begins_at, closed: closed.collect() }
}

/// Leaves in a closed segment the objects that are on disk; whether none of its media is missing.
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
