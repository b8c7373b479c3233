//! Finds where the log of a stream stands: asks the broadcast nodes, and keeps the position on our own disk in case none answers.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use media::{Epoch, StreamId};
use node::files;
use node::http::REMEMBERED;
use node::tls::Clients;
use seal::RefusalReason;

use super::position::LogPosition;
use crate::authority::{Authority, read_answer};
use crate::nodes::{DataPlane, Nodes};

/// How long the nodes may take to answer. The pipeline holds back the first 2.5 s of a session before anything is sealed, so this
/// wait delays nothing.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// The same while media waits for the answer: as long as a part lasts.
const ASK_SOON_TIMEOUT: Duration = Duration::from_millis(500);

/// Longest epoch file, in bytes: 20 digits, and a line end that an editor may have added.
const EPOCH_BYTES_MAX: usize = 32;

/// One of our files is unreadable or damaged. Without it, an epoch might be used a second time.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be relied on: {detail}", path.display())]
pub(crate) struct Unreliable {
    path: PathBuf,
    detail: String,
}

impl Unreliable {
    fn new(path: &Path, detail: &impl ToString) -> Self {
        Self { path: path.to_owned(), detail: detail.to_string() }
    }
}

/// Finds and keeps the log positions of all streams of this node.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    directory: PathBuf,
    clients: Clients,
    nodes: Nodes,
}

/// How the nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Where the log stands now.
    Head,
    /// Whether our log is still the newest one: another ingest may have continued it while we slept or reached no node. Media waits for
    /// the answer.
    StillOurs,
    /// Where the log stands, and stays until we open an epoch. Without the fence, an ingest that was taken for gone could wake meanwhile,
    /// and viewers would see what it seals and then lose it.
    Fence,
}

#[derive(Debug)]
struct NodeHead {
    cose: Bytes,
    is_remembered: bool,
}

/// What the nodes and our own disk say about a log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Newest position that a node has admitted.
    pub(crate) admitted: Option<LogPosition>,
    /// That node has restarted since and has nothing but the position. It wrote the position down only now and then, so it showed more.
    pub(crate) is_remembered: bool,
    /// Newest position on our own disk.
    pub(crate) kept: Option<LogPosition>,
    /// Largest epoch that this node ever used.
    pub(crate) epoch_used: Option<Epoch>,
}

impl Found {
    /// The position that a new session builds on: the newest that a node has admitted. Our own counts when no node has admitted any,
    /// or when it is newer than what a restarted node remembers: that node has no media that could continue either.
    pub(crate) fn base(&self) -> Option<LogPosition> {
        let kept = self.kept.filter(|_| self.admitted.is_none() || self.is_remembered);
        [self.admitted, kept].into_iter().flatten().max_by_key(LogPosition::place)
    }

    /// The first epoch that is newer than all that were seen.
    pub(crate) fn next_epoch(&self) -> Epoch {
        let heads = [self.admitted, self.kept].into_iter().flatten().map(|position| position.epoch);
        heads.chain(self.epoch_used).max().map_or(Epoch(1), Epoch::next)
    }
}

impl Heads {
    /// Keeps its files in `data`, the node's directory.
    pub(crate) fn new(data: &Path, clients: Clients, nodes: Nodes) -> Result<Self> {
        let directory = data.join("streams");
        files::create_directory(&directory)?;
        Ok(Self { directory, clients, nodes })
    }

    /// Asks every broadcast node that is there, and reads the disk.
    ///
    /// # Errors
    /// [`Unreliable`] when a file of ours is there but cannot be read, or is damaged.
    pub(crate) async fn find(&self, stream: &StreamId, ask: Ask, authority: &Authority) -> Result<Found> {
        let (heads, name) = (self.clone(), stream.clone());
        let on_disk = tokio::task::spawn_blocking(move || heads.on_disk(&name));
        let (epoch_used, kept) = on_disk.await.context("files were not read")??;
        let kept = match kept.map(|cose| authority.check(&cose, stream)) {
            Some(Err(refusal)) if matches!(refusal.reason, RefusalReason::Malformed | RefusalReason::Signature) => {
                return Err(Unreliable::new(&self.head_path(stream), &refusal).into());
            }
            // The seal is intact, but its key is no longer trusted.
            Some(Err(refusal)) => {
                tracing::warn!(%stream, %refusal, "kept head of the log refused");
                None
            }
            Some(Ok(head)) => Some(LogPosition::after(&head)),
            None => None,
        };
        let asked = self.nodes.online().into_iter().map(|plane| self.ask(plane, stream, ask));
        let answers = join_all(asked).await;
        let heads = answers.iter().flatten().flatten();
        let positions = heads.filter_map(|head| {
            let sealed = authority.verify(&head.cose, stream)?;
            Some((LogPosition::after(&sealed), head.is_remembered))
        });
        // Of nodes at the same place, one that has not restarted counts.
        let newest = positions.max_by_key(|(position, is_remembered)| (position.place(), !is_remembered));
        Ok(Found {
            admitted: newest.map(|(position, _)| position),
            is_remembered: newest.is_some_and(|(_, is_remembered)| is_remembered),
            kept,
            epoch_used,
        })
    }

    /// The largest epoch used and the newest seal, if they were kept. Blocks for the disk.
    fn on_disk(&self, stream: &StreamId) -> Result<(Option<Epoch>, Option<Bytes>), Unreliable> {
        let path = self.epoch_path(stream);
        let epoch = read(&path, EPOCH_BYTES_MAX)?.map(|bytes| {
            let epoch = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
            epoch.ok_or_else(|| Unreliable::new(&path, &"it is not an epoch"))
        });
        let head = read(&self.head_path(stream), seal::limits::SEAL_BYTES_MAX)?;
        Ok((epoch.transpose()?, head.map(Bytes::from)))
    }

    /// The newest position that one node has admitted; `None` when it has none or does not answer.
    pub(crate) async fn admitted_by(
        &self,
        plane: DataPlane,
        stream: &StreamId,
        authority: &Authority,
    ) -> Option<LogPosition> {
        let head = self.ask(plane, stream, Ask::Head).await??;
        authority.verify(&head.cose, stream).map(|head| LogPosition::after(&head))
    }

    /// `None`: no answer; `Some(None)`: the node has no such log.
    async fn ask(&self, plane: DataPlane, stream: &StreamId, ask: Ask) -> Option<Option<NodeHead>> {
        let http = self.clients.to(&plane.node).ok()?;
        let log = format!("{}/live/{stream}", plane.url);
        let (request, timeout) = match ask {
            Ask::Head => (http.get(format!("{log}/head")), ASK_TIMEOUT),
            Ask::StillOurs => (http.get(format!("{log}/head")), ASK_SOON_TIMEOUT),
            Ask::Fence => (http.post(format!("{log}/fence")), ASK_TIMEOUT),
        };
        let answer = request.timeout(timeout).send().await.ok()?;
        let is_remembered = answer.headers().contains_key(REMEMBERED);
        let cose = read_answer(answer, seal::limits::SEAL_BYTES_MAX).await.ok()?;
        Some(cose.map(|cose| NodeHead { cose, is_remembered }))
    }

    /// Keeps the number of an epoch before its first seal, so that this node never uses the epoch again. Blocks for the disk.
    pub(crate) fn keep_epoch(&self, stream: &StreamId, epoch: Epoch) -> Result<()> {
        files::atomic_write(&self.epoch_path(stream), epoch.to_string().as_bytes(), files::MODE_PUBLIC)
    }

    /// Keeps the newest seal. Blocks for the disk.
    pub(crate) fn keep_head(&self, stream: &StreamId, head: &Bytes) -> Result<()> {
        files::atomic_write(&self.head_path(stream), head, files::MODE_PUBLIC)
    }

    fn head_path(&self, stream: &StreamId) -> PathBuf {
        self.directory.join(format!("{stream}.head"))
    }

    fn epoch_path(&self, stream: &StreamId) -> PathBuf {
        self.directory.join(format!("{stream}.epoch"))
    }
}

/// A file of at most `bytes_max` bytes; `None` when there is none.
fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Unreliable> {
    let unreadable = |error: std::io::Error| Unreliable::new(path, &error);
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err(Unreliable::new(path, &format!("it is longer than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use media::{Digest, DiscontinuitySequence, LogSequence, MediaSequence};

    use super::*;

    fn position(epoch: u64, sequence: u64) -> LogPosition {
        LogPosition {
            epoch: Epoch(epoch),
            sequence: LogSequence(sequence),
            digest: Digest::NONE,
            first_msn: MediaSequence(sequence),
            discontinuity: DiscontinuitySequence(0),
            reached: None,
            decoded: None,
            has_media: true,
            ended: None,
        }
    }

    #[test]
    fn own_position_counts_where_no_node_knows_its_log_and_only_when_it_is_newer() {
        let base = |admitted, is_remembered, kept| {
            Found { admitted, is_remembered, kept, epoch_used: None }.base().map(|base| base.place())
        };
        let at = |epoch, sequence| Some(position(epoch, sequence));
        let place = |epoch, sequence| Some((Epoch(epoch), LogSequence(sequence)));
        assert_eq!(base(at(1, 20), false, at(1, 30)), place(1, 20), "what nodes never had cannot be built on");
        assert_eq!(base(at(1, 20), true, at(1, 30)), place(1, 30), "they showed more than they remember");
        assert_eq!(base(at(2, 20), true, at(1, 30)), place(2, 20), "another ingest went on");
        assert_eq!(base(None, false, at(1, 30)), place(1, 30));
        assert_eq!(base(at(1, 20), true, None), place(1, 20));
    }

    #[test]
    fn missing_file_is_none_and_a_damaged_one_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("demo.head");
        assert_eq!(read(&path, 4).unwrap(), None);
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"1234");
        let error = read(&path, 3).unwrap_err().to_string();
        assert!(error.contains("demo.head"), "{error}");
        let error = read(directory.path(), 4).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }
}
