//! Where the log of a stream stands: asked of the broadcast nodes, and kept on our own disk for when none answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::join_all;
use media::{Epoch, StreamId};
use node::files;

use crate::authority::{Authority, bounded_answer};
use crate::nodes::Nodes;
use crate::session::log::LogPosition;

/// How long the nodes may take to answer. The pipeline looks at the first 2.5 s of a session before anything is sealed, so this
/// delays nothing.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Positions of all streams of this node.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    directory: PathBuf,
    http: reqwest::Client,
    nodes: Nodes,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// Newest position that a node has admitted.
    pub(crate) admitted: Option<LogPosition>,
    /// How many nodes answered, with a head or with "none".
    pub(crate) answers: usize,
    /// Newest position on our own disk.
    pub(crate) kept: Option<LogPosition>,
    /// Largest epoch that this node ever used.
    pub(crate) epoch_used: Option<Epoch>,
}

impl Found {
    /// What a new session builds on: the newest that a node has admitted; our own when no node answered.
    pub(crate) fn base(&self) -> Option<LogPosition> {
        if self.answers > 0 && self.admitted.is_some() { self.admitted } else { self.kept }
    }

    /// The first epoch that is newer than all that were seen.
    pub(crate) fn next_epoch(&self) -> Epoch {
        let heads = [self.admitted, self.kept].into_iter().flatten().map(|position| position.epoch);
        heads.chain(self.epoch_used).max().map_or(Epoch(1), Epoch::next)
    }
}

impl Heads {
    /// Keeps its files in `data`, the node's directory.
    pub(crate) fn new(data: &Path, http: reqwest::Client, nodes: Nodes) -> Result<Self> {
        let directory = data.join("streams");
        files::create_directory(&directory)?;
        Ok(Self { directory, http, nodes })
    }

    /// Asks every broadcast node that is there, and reads the disk.
    pub(crate) async fn find(&self, stream: &StreamId, authority: &Authority) -> Found {
        let asked = self.nodes.online().into_iter().map(|base| self.ask(base, stream));
        let answers = join_all(asked).await;
        let heads = answers.iter().flatten().flatten().filter_map(|cose| authority.verify(cose, stream));
        let kept = std::fs::read(self.head_path(stream)).ok().map(Bytes::from);
        Found {
            admitted: heads.map(|head| LogPosition::after(&head)).max_by_key(LogPosition::place),
            answers: answers.iter().flatten().count(),
            kept: kept.and_then(|cose| authority.verify(&cose, stream)).map(|head| LogPosition::after(&head)),
            epoch_used: std::fs::read_to_string(self.epoch_path(stream)).ok().and_then(|text| text.trim().parse().ok()),
        }
    }

    /// `None`: no answer; `Some(None)`: the node has no such log.
    async fn ask(&self, base: String, stream: &StreamId) -> Option<Option<Bytes>> {
        let request = self.http.get(format!("{base}/live/{stream}/head")).timeout(ASK_TIMEOUT);
        bounded_answer(request, seal::limits::SEAL_BYTES_MAX).await.ok()
    }

    /// Before the first seal of an epoch: never again will this node use it, whatever happens. Blocks for the disk.
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
