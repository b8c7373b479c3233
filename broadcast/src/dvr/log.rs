//! The seals of a recording, on disk: `{root}/{stream}/seals/{number}.cbor`, CBOR sequences (RFC 8742) of seals as they travel,
//! in the order in which they were admitted.
//!
//! A file is only appended to, and never after a restart, so a crash cuts off only the end of one file. What is read is not verified here.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use media::{Digest, LogSequence, MediaSequence, UnixMillis};
use seal::Sealed;
use seal::limits::{SEAL_BYTES_MAX, TAIL_MAX};

/// Seals of a file: two minutes of half-second rows. Damage costs no more than the rest of a file.
const SEALS_PER_FILE: usize = 256;
/// Longest file that is read.
const FILE_BYTES_MAX: u64 = (SEALS_PER_FILE * SEAL_BYTES_MAX) as u64;
/// Most files of a stream: a day, twice over. More is not ours.
const FILES_MAX: usize = 4 * 1024;
/// Newest seals that are remembered, so that they are not written again when a log is joined anew.
const KNOWN_MAX: usize = TAIL_MAX;
const DIRECTORY: &str = "seals";
const SUFFIX: &str = ".cbor";

/// A file of seals.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) number: u64,
    /// Largest [`seal::SealBody::next_msn`] of its seals: none of them is about a later segment.
    pub(super) next_msn: MediaSequence,
    pub(super) bytes: u64,
}

/// The log of one stream.
#[derive(Debug)]
pub(super) struct SealLog {
    directory: PathBuf,
    pieces: VecDeque<Piece>,
    /// The file that is written to, and how many seals it has.
    open: Option<(File, usize)>,
    next_number: u64,
    known: VecDeque<(LogSequence, Digest)>,
}

impl SealLog {
    /// The log in a stream's directory; its first new file has the number `first_number`.
    pub(super) fn new(stream: &Path, first_number: u64) -> Self {
        let (pieces, known) = (VecDeque::new(), VecDeque::new());
        Self { directory: stream.join(DIRECTORY), pieces, open: None, next_number: first_number, known }
    }

    /// Takes over what was read: older files, and the digests of the newest seals.
    pub(super) fn adopt(&mut self, pieces: Vec<Piece>, known: impl IntoIterator<Item = (LogSequence, Digest)>) {
        for piece in pieces.into_iter().rev() {
            self.pieces.push_front(piece);
        }
        let mut all: VecDeque<_> = known.into_iter().collect();
        all.append(&mut self.known);
        while all.len() > KNOWN_MAX {
            all.pop_front();
        }
        self.known = all;
    }

    /// Writes a seal, unless it was written before.
    pub(super) fn append(&mut self, sealed: &Sealed) -> io::Result<()> {
        let (sequence, digest) = (sealed.body().sequence, sealed.digest());
        let is_next = self.known.back().is_none_or(|(newest, _)| *newest < sequence);
        if !is_next && self.known.iter().any(|(_, known)| *known == digest) {
            return Ok(());
        }
        let written = self.write(sealed);
        if written.is_err() {
            // What there is of the seal ends that file: the next seal goes into a new one.
            self.open = None;
            return written;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back((sequence, digest));
        Ok(())
    }

    fn write(&mut self, sealed: &Sealed) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(_, seals)| *seals >= SEALS_PER_FILE) {
            fs::create_dir_all(&self.directory)?;
            let number = self.next_number;
            let file = OpenOptions::new().append(true).create_new(true).open(path(&self.directory, number))?;
            self.next_number += 1;
            self.open = Some((file, 0));
            self.pieces.push_back(Piece { number, next_msn: MediaSequence(0), bytes: 0 });
        }
        let (Some((file, seals)), Some(piece)) = (&mut self.open, self.pieces.back_mut()) else { return Ok(()) };
        file.write_all(sealed.raw())?;
        *seals += 1;
        piece.bytes += u64::try_from(sealed.raw().len()).unwrap_or(u64::MAX);
        piece.next_msn = piece.next_msn.max(sealed.body().next_msn);
        Ok(())
    }

    /// Removes files that are about segments before `oldest` only.
    pub(super) fn forget_before(&mut self, oldest: MediaSequence) -> io::Result<()> {
        while self.pieces.len() > 1 && self.pieces.front().is_some_and(|first| first.next_msn < oldest) {
            let Some(first) = self.pieces.pop_front() else { break };
            match fs::remove_file(path(&self.directory, first.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of disk that the log takes.
    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}{SUFFIX}"))
}

/// Numbers of the files in a stream's directory, oldest first; none when there is no log.
pub(super) fn numbers(stream: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(stream.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|n| n.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// When the newest of these files of a stream was last written, as the disk says; `None` when it does not say.
pub(super) fn written_at(stream: &Path, numbers: &[u64]) -> Option<UnixMillis> {
    let newest = fs::metadata(path(&stream.join(DIRECTORY), *numbers.last()?)).ok()?;
    let since_1970 = newest.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since_1970.as_millis()).ok().map(UnixMillis)
}

/// The seals of a file as far as they are whole, not verified.
pub(super) fn read(stream: &Path, number: u64) -> io::Result<Vec<Bytes>> {
    let mut bytes = Vec::new();
    File::open(path(&stream.join(DIRECTORY), number))?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let items = seal::sequence::split(&Bytes::from(bytes));
    Ok(items.take(SEALS_PER_FILE).map_while(Result::ok).collect())
}
