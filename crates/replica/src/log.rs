//! The log as the parts of a node share it: the replica in memory, and on disk what it has taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use media::{ClusterId, Digest, NodeId, UnixMillis};
use metadata::{EntrySequence, Freshness, Input, Output, Replica, Roots, SignedEntry, View};
use node::clock::Clock;
use seal::{KeyId, Refusal, RootPublicKey};
use tokio::sync::{OwnedMutexGuard, watch};

use crate::ledger::Ledger;
use crate::routes::Acknowledged;
use crate::store::{EntryChanges, Loaded, Store};

/// Inputs that are verified on the reactor; more go to a thread, because each takes a fraction of a millisecond.
const AT_ONCE_MAX: usize = 8;
/// Longest wait for the ledger of several control nodes; meanwhile the replica takes nothing.
const LEDGER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most entries whose changes are read at once, and most bytes of them, the last entry apart.
const CHANGES_ENTRIES_MAX: u32 = 64;
const CHANGES_BYTES_MAX: usize = 1024 * 1024;
/// Heads come every two seconds, and each write waits for the disk.
const HEAD_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// Where a node stands in the log, as `/status` shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Standing {
    /// Newest entry.
    pub sequence: u64,
    /// Version of the root statement in force; 0 before the first.
    pub root_version: u64,
    /// Age of control's newest word, in seconds; since the start when none came.
    pub head_age_s: f64,
    /// `fresh`, `stale` (30 s) or `critical` (10 min).
    pub freshness: &'static str,
    /// Rows of all kinds.
    pub rows: usize,
    /// Rows that this version of the software is too old for.
    pub not_understood: usize,
    /// First entry of which control signed two, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork: Option<u64>,
}

/// The log on a node. Shared as `Arc<Log>`.
pub struct Log {
    node: NodeId,
    clock: Clock,
    /// Locked for one look or one change, never across an await.
    replica: Mutex<Replica>,
    /// The disk, in the order in which the replica takes inputs.
    store: Arc<tokio::sync::Mutex<Keeper>>,
    /// For questions, which need no order.
    reader: Store,
    /// The newest head that counts, for nodes that ask.
    head: Mutex<Option<Bytes>>,
    changed: watch::Sender<()>,
    wanted: watch::Sender<Wanted>,
    began: OnceLock<UnixMillis>,
    /// Whether another node has answered since the start, and all that it had is here.
    has_answered: watch::Sender<bool>,
    acknowledged: Acknowledged,
}

/// What is missing here, and another node may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Root statements after this version.
    pub(crate) roots_after: Option<u64>,
    /// Entries from this one on.
    pub(crate) entries_from: Option<EntrySequence>,
    /// Nothing, but whoever asks also says what is here: control wants to know.
    pub(crate) has_news: bool,
}

/// The disk, and whether it can still be written.
struct Keeper {
    store: Store,
    /// After a failure the disk has a gap; nothing more is written before a restart.
    failed: bool,
    /// When a head was last kept, on the node's clock.
    head_kept_at: Duration,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens a node's replica in a file. What is there is verified as if it came from a stranger; a replica that does not verify is
    /// begun again.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or was written by a newer version; names it.
    pub async fn open(path: &Path, node: &node::Context, root: RootPublicKey) -> Result<Arc<Self>> {
        node::ops::describe(crate::HELP);
        let (cluster, clock) = (node.cluster.clone(), node.clock);
        let open = async {
            let store = Store::open(path).await?;
            let loaded = store.load().await?;
            anyhow::Ok((store, loaded))
        };
        let (store, loaded) = open.await.with_context(|| format!("metadata log {}", path.display()))?;
        let (began, replica) = tokio::task::spawn_blocking(move || restore(cluster, root, loaded, clock)).await?;
        let replica = match replica {
            Ok(replica) => replica,
            Err((refusal, empty)) => {
                tracing::warn!(path = %path.display(), %refusal, "the metadata log on disk does not verify: it is begun again");
                store.clear().await?;
                empty
            }
        };
        let log = Arc::new(Self {
            node: node.id.clone(),
            clock,
            replica: Mutex::new(*replica),
            reader: store.clone(),
            head: Mutex::default(),
            store: Arc::new(tokio::sync::Mutex::new(Keeper { store, failed: false, head_kept_at: Duration::ZERO })),
            changed: watch::Sender::new(()),
            wanted: watch::Sender::default(),
            began: began.map(OnceLock::from).unwrap_or_default(),
            has_answered: watch::Sender::new(false),
            acknowledged: Acknowledged::default(),
        });
        log.measure();
        Ok(log)
    }

    /// Writes the journal back, and closes the file.
    pub async fn close(&self) {
        self.reader.close().await;
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Replica) -> T) -> T {
        f(&mut self.replica.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the rows. The closure must not use this log: it is locked meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        self.with(|replica| look(replica.view()))
    }

    /// Sent whenever rows have changed, or the root has made another statement.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until an entry is here, `at_most` for so long. Returns whether it is.
    pub async fn reaches(&self, wanted: EntrySequence, at_most: Duration) -> bool {
        let mut changes = self.changes();
        let here = || self.with(|replica| replica.place().sequence) >= wanted;
        let reached = async {
            while !here() {
                // The sender lives as long as the log.
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(at_most, reached).await;
        here()
    }

    /// What was found missing, whenever that changes.
    pub(crate) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Notes that another node has answered that has all that is here, and that all that it had is here, too.
    pub(crate) fn answered(&self) {
        self.has_answered.send_replace(true);
    }

    /// Resolves once [`Log::answered`] was called.
    pub(crate) async fn until_answered(&self) {
        // The sender lives as long as the log.
        let _ = self.has_answered.subscribe().wait_for(|has| *has).await;
    }

    pub(crate) const fn acknowledged(&self) -> &Acknowledged {
        &self.acknowledged
    }

    /// Where this node stands.
    pub fn standing(&self) -> Standing {
        let now = self.clock.now().elapsed;
        self.with(|replica| Standing {
            sequence: replica.place().sequence.0,
            root_version: replica.roots().version(),
            head_age_s: (replica.head_age(now).as_secs_f64() * 10.0).round() / 10.0,
            freshness: label(replica.freshness(now)),
            rows: replica.view().rows(),
            not_understood: replica.view().not_understood(),
            fork: replica.view().fork().map(|fork| fork.0),
        })
    }

    /// When the log began: the time of the root statement that this node trusted first; `None` before there is one.
    pub fn began(&self) -> Option<UnixMillis> {
        if let Some(began) = self.began.get() {
            return Some(*began);
        }
        let first = self.with(|replica| replica.roots().statement().map(|statement| statement.at))?;
        Some(*self.began.get_or_init(|| first))
    }

    /// Whether a root key with this identity, printed, is the one that this node was given, or one of the statement in force.
    pub fn has_root_key(&self, key: &str) -> bool {
        self.with(|replica| {
            let roots = replica.roots();
            let named = roots.statement().into_iter().flat_map(|statement| &statement.root_keys);
            named.map(|key| KeyId::of(key)).chain([roots.pinned()]).any(|id| id.to_string() == key)
        })
    }

    /// Newest entry that control is known to have signed, where that is not here.
    pub fn behind(&self) -> Option<EntrySequence> {
        self.with(|replica| replica.behind())
    }

    /// What each node says that it has, as it asks here.
    pub fn acknowledgements(&self) -> BTreeMap<NodeId, EntrySequence> {
        self.acknowledged.all()
    }

    /// What entries after `after` changed, in their order, as far as the disk has them: at most [`CHANGES_ENTRIES_MAX`] entries, and about
    /// [`CHANGES_BYTES_MAX`]. `None` when that is not known any more, or `after` is no entry of this log.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn changes_after(&self, after: EntrySequence) -> Result<Option<Vec<EntryChanges>>> {
        if after > self.with(|replica| replica.place().sequence) {
            return Ok(None);
        }
        self.reader.changes(after, (CHANGES_ENTRIES_MAX, CHANGES_BYTES_MAX)).await
    }

    /// State digest of all rows: two nodes with one have the same rows.
    pub fn state(&self) -> Digest {
        self.with(|replica| replica.state())
    }

    /// Asks other nodes for news, soon: control has said that it wrote something that is not here.
    pub fn hurry(&self) {
        self.wanted.send_modify(|wanted| wanted.has_news = true);
    }

    /// When time alone changes how fresh the log is.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let now = self.clock.now().elapsed;
        self.with(|replica| replica.next_deadline(now))
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) const fn reader(&self) -> &Store {
        &self.reader
    }

    /// Takes inputs in their order: into memory, then onto the disk in one transaction. Goes on when the caller is cancelled: memory and
    /// disk must not part.
    ///
    /// # Errors
    /// When the disk cannot be written. The replica in memory goes on, and is caught up again after a restart.
    pub(crate) async fn take(self: &Arc<Self>, inputs: Vec<Input>) -> Result<Vec<Output>> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.take_all(inputs).await }).await?
    }

    async fn take_all(self: Arc<Self>, inputs: Vec<Input>) -> Result<Vec<Output>> {
        let mut keeper = self.store.lock().await;
        let (mut outputs, version) = if inputs.len() > AT_ONCE_MAX {
            let this = Arc::clone(&self);
            tokio::task::spawn_blocking(move || this.apply(inputs)).await?
        } else {
            self.apply(inputs)
        };
        self.keep_head_for_others(&outputs);
        let now = self.clock.elapsed();
        outputs.retain(|output| !matches!(output, Output::StoreHead(_)) || keeper.is_head_due(now));
        let kept = keeper.keep(&outputs, version).await;
        drop(keeper);
        self.note(&outputs);
        kept.map(|()| outputs)
    }

    fn apply(&self, inputs: Vec<Input>) -> (Vec<Output>, u64) {
        let now = self.clock.now();
        self.with(|replica| {
            let outputs = inputs.into_iter().flat_map(|input| replica.apply(input, now)).collect();
            (outputs, replica.roots().version())
        })
    }

    /// Drafts, signs and takes an entry; `draft` sees the replica, and nothing changes before the entry is taken. Once drafted, the entry is
    /// kept even when the caller is cancelled: first in the `ledger`, where there is one.
    ///
    /// # Errors
    /// When `draft` fails, the ledger does not keep the entry, the replica refuses it, or the disk cannot be written.
    pub(crate) async fn append(
        self: &Arc<Self>,
        ledger: Option<Arc<dyn Ledger>>,
        draft: impl FnOnce(&mut Replica) -> Result<SignedEntry>,
    ) -> Result<SignedEntry> {
        let keeper = Arc::clone(&self.store).lock_owned().await;
        keeper.ensure_whole()?;
        let (sequence, signed) = self.with(|replica| anyhow::Ok((replica.place().sequence.next(), draft(replica)?)))?;
        let (this, entry) = (Arc::clone(self), signed.clone());
        let enter = async move {
            if let Some(ledger) = ledger {
                let kept = tokio::time::timeout(LEDGER_WAIT_MAX, ledger.keep_entry(sequence, entry.clone())).await;
                kept.context("the database does not answer")?.context("an entry of the metadata log was not kept")?;
            }
            this.enter(keeper, entry).await
        };
        tokio::spawn(enter).await??;
        Ok(signed)
    }

    async fn enter(self: Arc<Self>, mut keeper: OwnedMutexGuard<Keeper>, signed: SignedEntry) -> Result<()> {
        let SignedEntry { entry, rows } = signed;
        let (outputs, version) = self.apply(vec![Input::Entry { entry, rows }]);
        if let Some(refusal) = outputs.iter().find_map(refused) {
            anyhow::bail!("the metadata log refuses its own control node: {refusal}");
        }
        let kept = keeper.keep(&outputs, version).await;
        drop(keeper);
        self.note(&outputs);
        kept
    }

    /// Begins anew with a snapshot, if it is ahead of what is here. Returns whether it was.
    ///
    /// # Errors
    /// With what is wrong with the snapshot.
    pub(crate) async fn take_snapshot(self: &Arc<Self>, entry: Bytes, rows: Vec<Bytes>) -> Result<bool> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.begin_with(entry, rows).await }).await?
    }

    async fn begin_with(self: Arc<Self>, entry: Bytes, rows: Vec<Bytes>) -> Result<bool> {
        let mut keeper = self.store.lock().await;
        let (now, before) = (self.clock.now(), self.with(|replica| replica.place().sequence));
        let (roots, newest, held) = (self.with(|replica| replica.roots().clone()), entry.clone(), rows.clone());
        let restored = tokio::task::spawn_blocking(move || Replica::restore(roots, &newest, held, now)).await?;
        let restored = restored.context("a snapshot does not verify")?;
        let sequence = restored.place().sequence;
        if sequence <= before {
            return Ok(false);
        }
        self.with(|replica| *replica = restored);
        let kept = keeper.store.replace(sequence, &entry, &rows).await;
        keeper.failed |= kept.is_err();
        drop(keeper);
        self.note(&[Output::Changed]);
        kept.map(|()| true)
    }

    /// Tells the node's other parts, its log and its metrics what happened.
    fn note(&self, outputs: &[Output]) {
        for output in outputs {
            self.tell(output);
            match output {
                Output::FetchRoots(version) => self.wanted.send_modify(|wanted| wanted.roots_after = Some(*version)),
                Output::FetchEntries(from) => self.wanted.send_modify(|wanted| wanted.entries_from = Some(*from)),
                _ => {}
            }
        }
        if outputs.iter().any(|output| matches!(output, Output::Changed | Output::StoreRoot(_))) {
            self.changed.send_replace(());
            self.wanted.send_modify(|wanted| wanted.has_news = true);
        }
        self.measure();
    }

    /// Tells people what an output means to them.
    fn tell(&self, output: &Output) {
        let node = &self.node;
        match output {
            Output::Freshness(Freshness::Fresh) => {
                tracing::info!(%node, "control is heard on the metadata log again");
            }
            Output::Freshness(freshness) => tracing::warn!(
                %node,
                age = label(*freshness),
                "control is not heard on the metadata log: it is down, or something holds back what it says"
            ),
            Output::Forked(evidence) => tracing::error!(
                %node,
                sequence = %evidence.sequence,
                "control signed two metadata logs: its key is stolen, or its database was restored from a backup. Nothing more is \
                 taken before the root key decides (sealcast root branch)"
            ),
            Output::Refused(refusal) => {
                let (node, reason) = (node.to_string(), refusal.reason.label());
                metrics::counter!("metadata_refused_total", "node" => node, "reason" => reason).increment(1);
                tracing::debug!(node = %self.node, %refusal, "refused on the metadata log");
            }
            Output::Rewind(to) => {
                tracing::warn!(%node, %to, "the root has voided later entries of the metadata log");
            }
            Output::StartAgain => tracing::warn!(%node, "the root has voided the metadata log: it is fetched anew"),
            _ => {}
        }
    }

    /// Sets the metrics.
    pub(crate) fn measure(&self) {
        let (standing, node) = (self.standing(), self.node.to_string());
        metrics::gauge!("metadata_head_age_seconds", "node" => node.clone()).set(standing.head_age_s);
        metrics::gauge!("metadata_sequence", "node" => node.clone()).set(standing.sequence as f64);
        metrics::gauge!("metadata_not_understood", "node" => node.clone()).set(standing.not_understood as f64);
        metrics::gauge!("metadata_forked", "node" => node).set(if standing.fork.is_some() { 1.0 } else { 0.0 });
    }

    /// The newest head that counts here.
    pub(crate) fn head(&self) -> Option<Bytes> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep_head_for_others(&self, outputs: &[Output]) {
        let newest = outputs.iter().rev().find_map(|output| match output {
            Output::StoreHead(head) => Some(head.clone()),
            _ => None,
        });
        if newest.is_some() {
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        }
    }
}

impl Keeper {
    /// Whether a head is worth a write. On disk it only says, after a restart, how old the replica is.
    fn is_head_due(&mut self, now: Duration) -> bool {
        let is_due = now.saturating_sub(self.head_kept_at) >= HEAD_INTERVAL_MIN;
        if is_due {
            self.head_kept_at = now;
        }
        is_due
    }

    fn ensure_whole(&self) -> Result<()> {
        anyhow::ensure!(!self.failed, "the metadata log could not be written before: restart this node");
        Ok(())
    }

    async fn keep(&mut self, outputs: &[Output], version: u64) -> Result<()> {
        self.ensure_whole()?;
        let kept = self.store.keep(outputs, version).await;
        if let Err(error) = &kept {
            self.failed = true;
            tracing::error!(
                error = format!("{error:#}"),
                "the metadata log cannot be written: it goes on in memory until a restart"
            );
        }
        kept
    }
}

pub(crate) const fn refused(output: &Output) -> Option<&Refusal> {
    match output {
        Output::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

const fn label(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Fresh => "fresh",
        Freshness::Stale => "stale",
        Freshness::Critical => "critical",
    }
}

/// The replica of what was on disk; else why it does not verify, and an empty one that has the root statements that do.
type Restored = Result<Box<Replica>, (Refusal, Box<Replica>)>;

/// Verifies what was on disk. Returns the time of the first root statement, too.
fn restore(cluster: ClusterId, root: RootPublicKey, loaded: Loaded, clock: Clock) -> (Option<UnixMillis>, Restored) {
    let now = clock.now();
    let mut roots = Roots::new(cluster, root);
    let mut began = None;
    for statement in &loaded.roots {
        if let Err(refusal) = roots.take(statement) {
            return (began, Err((refusal, Box::new(Replica::new(roots, now.elapsed)))));
        }
        began = began.or_else(|| roots.statement().map(|first| first.at));
    }
    let Some(newest) = &loaded.newest else { return (began, Ok(Box::new(Replica::new(roots, now.elapsed)))) };
    let mut replica = match Replica::restore(roots.clone(), newest, loaded.rows, now) {
        Ok(replica) => replica,
        Err(refusal) => return (began, Err((refusal, Box::new(Replica::new(roots, now.elapsed))))),
    };
    if let Some(head) = loaded.head {
        // It says how old the replica is; one that does not verify says nothing.
        replica.apply(Input::Head(head), now);
    }
    (began, Ok(Box::new(replica)))
}
