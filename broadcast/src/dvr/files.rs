//! The files of a recording: where they are, and how they are written and read.
//!
//! `{root}/{stream}/{epoch}/{msn}/{rendition}.m4s` has exactly the bytes of that segment, as far as they have come;
//! `{rendition}.jpg` beside it has those of its image, and `{root}/{stream}/{epoch}/{rendition}.mp4` those of an init segment.
//! A segment's directory is removed as a whole. Nothing is synced: what a power failure leaves is checked when it is read, like
//! everything else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use media::{Epoch, ObjectName, RenditionId, Slot, StreamId};
use playlist::SegmentKey;

/// The directory of one stream.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path, stream: &StreamId) -> Self {
        Self { directory: root.join(stream.as_str()) }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn epoch(&self, epoch: Epoch) -> PathBuf {
        self.directory.join(epoch.to_string())
    }

    fn segment(&self, key: SegmentKey) -> PathBuf {
        self.epoch(key.epoch).join(key.msn.to_string())
    }

    /// Where an object is, or would be. Parts have no files of their own.
    pub(super) fn path(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> Option<PathBuf> {
        match slot {
            Slot::Init => Some(self.epoch(epoch).join(format!("{rendition}.mp4"))),
            Slot::Part { .. } => None,
            Slot::Segment { msn } => Some(self.segment(SegmentKey { epoch, msn }).join(format!("{rendition}.m4s"))),
            Slot::Image { msn } => Some(self.segment(SegmentKey { epoch, msn }).join(format!("{rendition}.jpg"))),
        }
    }

    /// Writes a part into the file of its segment. The file never has a hole: a part whose predecessors are not there is refused.
    pub(super) fn write_part(&self, key: SegmentKey, rendition: &RenditionId, at: u64, bytes: &[u8]) -> io::Result<()> {
        let slot = Slot::Segment { msn: key.msn };
        let path = self.path(key.epoch, rendition, slot).ok_or(io::ErrorKind::InvalidInput)?;
        let mut options = OpenOptions::new();
        options.write(true).create(at == 0);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && at == 0 => {
                fs::create_dir_all(self.segment(key))?;
                options.open(&path)?
            }
            opened => opened?,
        };
        if file.metadata()?.len() < at {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what comes before the part was not written"));
        }
        file.write_all_at(bytes, at)
    }

    /// Writes an object that is a file of its own, unless a file of its length is there.
    pub(super) fn write_whole(
        &self,
        epoch: Epoch,
        rendition: &RenditionId,
        slot: Slot,
        bytes: &[u8],
    ) -> io::Result<()> {
        let path = self.path(epoch, rendition, slot).ok_or(io::ErrorKind::InvalidInput)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == length) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, bytes)
    }

    /// How many bytes there are of an object; 0 when there is no file.
    pub(super) fn length(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> u64 {
        let path = self.path(epoch, rendition, slot);
        path.and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
    }

    /// Makes the directory of a segment, which shows that the segment is kept, even if it has no bytes.
    pub(super) fn make(&self, key: SegmentKey) -> io::Result<()> {
        fs::create_dir_all(self.segment(key))
    }

    /// Whether a segment has a directory.
    pub(super) fn has(&self, key: SegmentKey) -> bool {
        self.segment(key).is_dir()
    }

    /// The first `length` bytes of an object's file.
    pub(super) fn read(&self, name: &ObjectName, length: u64) -> io::Result<Vec<u8>> {
        let path = self.path(name.epoch, &name.rendition, name.slot).ok_or(io::ErrorKind::NotFound)?;
        let capacity = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::with_capacity(capacity);
        File::open(path)?.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn remove(&self, key: SegmentKey) -> io::Result<()> {
        gone(fs::remove_dir_all(self.segment(key)))
    }

    /// Removes an epoch: its init segments, and whatever else is there.
    pub(super) fn remove_epoch(&self, epoch: Epoch) -> io::Result<()> {
        gone(fs::remove_dir_all(self.epoch(epoch)))
    }

    /// Removes everything of the stream.
    pub(super) fn remove_all(&self) -> io::Result<()> {
        gone(fs::remove_dir_all(&self.directory))
    }

    /// All segments that have a directory, and all epochs that have one.
    pub(super) fn list(&self) -> io::Result<(Vec<SegmentKey>, Vec<Epoch>)> {
        let (mut segments, mut epochs) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Some(epoch) = number(&entry).map(Epoch) else { continue };
            epochs.push(epoch);
            for entry in fs::read_dir(entry.path())? {
                let msn = number(&entry?).map(media::MediaSequence);
                segments.extend(msn.map(|msn| SegmentKey { epoch, msn }));
            }
        }
        Ok((segments, epochs))
    }
}

/// The number in a directory's name.
fn number(entry: &fs::DirEntry) -> Option<u64> {
    if !entry.file_type().ok()?.is_dir() {
        return None;
    }
    entry.file_name().to_str()?.parse().ok()
}

/// A file that is missing counts as removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
