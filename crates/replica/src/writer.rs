//! The control node's side of the log: the key that writes, the entries, and the head that it says anew every two seconds.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bus::Message;
use bytes::Bytes;
use media::{NodeId, UnixMillis};
use messages::Topic;
use metadata::limits::{CHANGES_MAX, ROWS_BYTES_MAX};
use metadata::{
    Branch, Control, Edit, EntrySequence, Input, LogId, Place, Replica, RootStatement, SignedEntry, View, sign_root,
};
use node::{CancellationToken, files};
use seal::{ControlKey, KeyId, RootKey};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::log::refused;
use crate::{Ledger, Log, frames};

/// How often control says where the log stands.
const HEAD_INTERVAL: Duration = Duration::from_secs(2);
/// How long a key of control may write.
const KEY_LIFE: Duration = Duration::from_secs(400 * 86_400);
/// The root signs a key again when less than this is left of its life; without a root key here, an operator is told.
const KEY_RENEWAL: Duration = Duration::from_secs(60 * 86_400);
/// How long a control that was here before waits for the other nodes before it writes: it may have been restored from a backup, and
/// they know what it has forgotten.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(4);
/// Of that, how long it listens in any case for another control that writes the same log.
const LISTEN: Duration = Duration::from_millis(2_500);

/// How long a change waits until this control node writes: longer than it waits for others, and shorter than clients wait for an answer.
const BEGIN_WAIT_MAX: Duration = Duration::from_millis(4_500);

/// Why a control node that was restored from a backup does not write.
const UNANSWERED: &str = "this control node was restored from a backup, and no broadcast node has told it yet what it has forgotten: start \
                          one, or give up what is missing (sealcast root branch)";

/// The keys of a control node.
pub struct ControlIdentity<'a> {
    /// File of the key that signs entries and heads; made when missing, mode 0600.
    pub key_file: &'a Path,
    /// The root key, where it lies on this machine: it makes the first statement, and renews the key in time.
    pub root: Option<&'a RootKey>,
    /// What it shares with other control nodes, of which one writes at a time; `None` where it is the only one.
    pub ledger: Option<Arc<dyn Ledger>>,
}

/// Another control node writes the same log, and shares no ledger with this one.
#[derive(Debug)]
pub struct NotAlone;

impl std::error::Error for NotAlone {}

impl std::fmt::Display for NotAlone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "another control node writes the metadata log of this cluster, with the key of this one: is a copy of this data directory in \
             use elsewhere? Stop one of them, or let both keep their catalogue in one PostgreSQL (role.control.database)",
        )
    }
}

/// Writes the log. One for each control node; of those that share a ledger, the one that leads writes.
pub struct Writer {
    log: Arc<Log>,
    node: node::Context,
    key: ControlKey,
    /// Identity of the database as heads name it: those who write to different ones see each other by it.
    database: Mutex<Database>,
    ledger: Option<Arc<dyn Ledger>>,
    /// Held while entries are made and published, so that they are published in order.
    writing: tokio::sync::Mutex<()>,
    /// Whether the log was begun in this run: nobody can know more of it.
    is_new: bool,
    settled: CancellationToken,
    /// Whether this control node writes now.
    leads: watch::Sender<bool>,
}

/// Under which identity a control node writes, and since when.
#[derive(Debug, Clone, Copy)]
struct Database {
    id: [u8; 16],
    since: UnixMillis,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("node", &self.node.id).finish_non_exhaustive()
    }
}

impl Writer {
    /// Reads or makes the key. Begins the log with the first root statement, if there is none; renews the key's place in it, if that
    /// is due and the root key is here.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the root has not named this key and is not here to do so.
    pub async fn open(log: Arc<Log>, node: &node::Context, identity: ControlIdentity<'_>) -> Result<Self> {
        let key = control_key(identity.key_file)?;
        if let Some(ledger) = &identity.ledger {
            take_roots(&log, &**ledger).await?;
        }
        let now = node.clock.wall();
        let (known, place) = log.with(|replica| (replica.roots().statement().cloned(), replica.place()));
        let is_new = known.is_none();
        let public = key.public_key_bytes();
        if let Some(next) = next_statement((known, place), node, &public, identity.root, now)? {
            let root = identity.root.context("was there to make the statement")?;
            let signed = sign_root(&next, &[root])?;
            let outputs = log.take(vec![Input::Root(signed)]).await?;
            if let Some(refusal) = outputs.iter().find_map(refused) {
                bail!("the metadata log refuses the root statement of its own root key: {refusal}");
            }
            tracing::info!(version = next.version, log = %next.log, "root statement of the metadata log signed");
        }
        // A random one is this process's own.
        let database = Mutex::new(Database { id: rand::random(), since: node.started_at });
        let (node, settled, ledger) = (node.clone(), CancellationToken::new(), identity.ledger);
        let (writing, leads) = (tokio::sync::Mutex::default(), watch::Sender::new(false));
        Ok(Self { log, node, key, database, ledger, writing, is_new, settled, leads })
    }

    /// The log that it writes.
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Lets a control node that was here before take what the other nodes know, before it writes. One that `is_restored` from a backup has
    /// forgotten something in all likelihood: it waits for a node that has all that it has itself, for as long as it takes, or until the root
    /// gives up what is missing ([`Writer::branch`]).
    ///
    /// # Errors
    /// When another control node writes the same log, and shares no ledger with this one.
    pub async fn settle(&self, is_restored: bool) -> Result<()> {
        if !self.is_new {
            let waited = async {
                if !self.wait_for_others().await && is_restored {
                    tracing::warn!(entry = %self.place().sequence, "{UNANSWERED}");
                    self.log.until_answered().await;
                }
            };
            self.settled.run_until_cancelled(waited).await;
            if self.ledger.is_none() {
                self.ensure_alone()?;
            }
        }
        self.settled.cancel();
        Ok(())
    }

    /// Begins to write, as the only one of those that share a ledger: takes from it what the others have signed, whether anybody has seen
    /// that or not.
    ///
    /// # Errors
    /// When the ledger fails or has another log, or when entries are missing here.
    pub async fn begin(&self) -> Result<()> {
        self.settled.cancelled().await;
        if let Some(ledger) = &self.ledger {
            let database = Database { id: ledger.identity().await?, since: self.node.clock.wall() };
            *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
            let known = self.log.reader().roots(0).await?;
            let version = self.log.with(|replica| replica.roots().version());
            let count = u64::try_from(known.len()).unwrap_or(u64::MAX);
            for (version, statement) in (version.saturating_sub(count).saturating_add(1)..).zip(known) {
                ledger.keep_root(version, statement, None).await?;
            }
            take_roots(&self.log, &**ledger).await?;
            self.take_entries(&**ledger).await?;
            let (newest, here) = (ledger.newest().await?, self.place().sequence);
            ensure!(
                newest.is_none_or(|newest| newest <= here),
                "this control node has entries of the metadata log up to {here}, and another has signed them up to {}: start a node \
                 that has the rest",
                newest.unwrap_or(here)
            );
        }
        self.leads.send_replace(true);
        Ok(())
    }

    /// Settles, begins, and says where the log stands until `shutdown`: for a control node that shares no ledger.
    ///
    /// # Errors
    /// When another control node writes the same log.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<()> {
        let write = async {
            self.settle(false).await?;
            self.begin().await?;
            self.say_heads().await
        };
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = write => ended.map(|never| match never {}),
        }
    }

    /// Ends writing: another control node may lead.
    pub fn end(&self) {
        self.leads.send_replace(false);
    }

    /// Takes entries of the ledger that are not here. The newest one that is here is compared with it.
    async fn take_entries(&self, ledger: &dyn Ledger) -> Result<()> {
        loop {
            let here = self.place().sequence;
            let entries = ledger.entries_from(here.max(EntrySequence(1))).await?;
            let inputs = entries.into_iter().map(|SignedEntry { entry, rows }| Input::Entry { entry, rows }).collect();
            let outputs = self.log.take(inputs).await?;
            if let Some(refusal) = outputs.iter().find_map(refused) {
                bail!("the metadata log refuses an entry that another control node has signed: {refusal}");
            }
            if self.place().sequence == here {
                return Ok(());
            }
        }
    }

    /// Says where the log stands, every two seconds, for as long as this control node writes.
    ///
    /// # Errors
    /// When a control node that shares no ledger with this one writes the same log.
    pub async fn say_heads(&self) -> Result<Infallible> {
        let mut ticks = tokio::time::interval(HEAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ensure_alone()?;
            if let Err(error) = self.say_head().await {
                tracing::error!(error = format!("{error:#}"), "no head of the metadata log");
            }
        }
    }

    /// Whether another node has answered that has all that is here.
    async fn wait_for_others(&self) -> bool {
        let heard = async {
            tokio::time::sleep(LISTEN).await;
            self.log.until_answered().await;
        };
        let has_answered = tokio::time::timeout(SETTLE_WAIT_MAX, heard).await.is_ok();
        if !has_answered {
            tracing::info!("no other node has answered about the metadata log");
        }
        has_answered
    }

    /// Two controls that write one log would fork it.
    fn ensure_alone(&self) -> Result<()> {
        let (heard, own) = (self.log.with(|replica| replica.heard()), self.database());
        let other = heard.filter(|(database, at)| *database != own.id && *at > own.since);
        if other.is_some() { Err(NotAlone.into()) } else { Ok(()) }
    }

    fn database(&self) -> Database {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say_head(&self) -> Result<()> {
        let _in_order = self.writing.lock().await;
        if self.log.behind().is_some() {
            // A head of before what is missing here would replace the one that says so, at nodes that start now.
            return Ok(());
        }
        let (now, database) = (self.node.clock.wall(), self.database().id);
        let head = self.log.with(|replica| replica.head(now, database)).context("there is no root statement")?;
        let head = head.sign(&self.key)?;
        let outputs = self.log.take(vec![Input::Head(head.clone())]).await?;
        if let Some(refusal) = outputs.iter().find_map(refused) {
            bail!("{refusal}");
        }
        self.publish(&Topic::MetadataHead, head, true).await;
        Ok(())
    }

    /// Writes what `edits` asks for, as one entry or, if it is too much for one, several. Returns the newest entry after it. Waits
    /// until a control that was started again knows what the others know.
    ///
    /// # Errors
    /// When an edit breaks a rule, the log is forked, or the disk cannot be written; some of the entries may have been written then.
    pub async fn write(&self, edits: impl FnOnce(View<'_>) -> Vec<Edit>) -> Result<EntrySequence> {
        let mut leads = self.leads.subscribe();
        let begun = tokio::time::timeout(BEGIN_WAIT_MAX, leads.wait_for(|leads| *leads)).await;
        begun.with_context(|| match self.settled.is_cancelled() {
            true => "this control node cannot write the metadata log yet, or another one leads",
            false => UNANSWERED,
        })??;
        let _in_order = self.writing.lock().await;
        if let Some(ledger) = &self.ledger {
            // It may have kept an entry of which this node was not told.
            self.take_entries(&**ledger).await?;
        }
        let edits = self.log.look(edits);
        let was_changed = !edits.is_empty();
        for some in in_entries(edits) {
            let now = self.node.clock.wall();
            let signed = self.log.append(self.ledger.clone(), |replica| {
                ensure_whole(replica)?;
                Ok(replica.draft(some, now)?.sign(&self.key)?)
            });
            let SignedEntry { entry, rows } = signed.await?;
            self.publish(&Topic::MetadataLog, frames::join([&entry[..], &rows[..]]), false).await;
        }
        let sequence = self.log.with(|replica| replica.place().sequence);
        drop(_in_order);
        if was_changed {
            // Nodes that have missed the entry learn of it by the head.
            self.say_head().await?;
        }
        Ok(sequence)
    }

    /// Has the root void everything after what is here, and a fork with it: for a control that was restored from a backup when no node
    /// has the rest, and for one whose key was stolen.
    ///
    /// # Errors
    /// When the root key may not sign alone, or the disk cannot be written.
    pub async fn branch(&self, root: &RootKey) -> Result<()> {
        let place = self.place();
        let mut next = self.log.with(|replica| replica.roots().statement().cloned()).context("no root statement")?;
        ensure_alone_signs(&next, root)?;
        next.begin_next(self.node.clock.wall());
        next.branch = Some(Branch { version: next.version, sequence: place.sequence, chain: place.chain });
        self.take_root(sign_root(&next, &[root])?).await
    }

    /// The newest entry that is here.
    pub fn place(&self) -> Place {
        self.log.with(|replica| replica.place())
    }

    /// The root statement in force, signed.
    pub fn root_statement(&self) -> Option<(RootStatement, Bytes)> {
        self.log.with(|replica| {
            let roots = replica.roots();
            Some((roots.statement()?.clone(), roots.raw()?.clone()))
        })
    }

    /// The public key that signs entries here.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key_bytes()
    }

    /// Takes a root statement that was signed where the root keys are, and tells the nodes.
    ///
    /// # Errors
    /// When too few root keys have signed it, it is not the next one, or the disk cannot be written.
    pub async fn take_root(&self, signed: Bytes) -> Result<()> {
        let in_order = self.writing.lock().await;
        let outputs = self.log.take(vec![Input::Root(signed)]).await?;
        if let Some(refusal) = outputs.iter().find_map(refused) {
            bail!("{refusal}");
        }
        let version = self.log.with(|replica| replica.roots().version());
        if let (Some(ledger), Some((statement, raw))) = (&self.ledger, self.root_statement()) {
            let branch = statement.branch.filter(|branch| branch.version == version);
            ledger.keep_root(version, raw, branch.map(|branch| branch.sequence)).await?;
        }
        tracing::warn!(version, entry = %self.place().sequence, "the root has made another statement");
        if self
            .root_statement()
            .and_then(|(statement, _)| statement.branch)
            .is_some_and(|branch| branch.version == version)
        {
            // What is missing is given up.
            self.settled.cancel();
        }
        drop(in_order);
        if let Err(error) = self.say_head().await {
            tracing::warn!(error = format!("{error:#}"), "no head of the metadata log under the new root statement");
        }
        Ok(())
    }

    /// Nodes that have said that they have an entry, itself included: waits until `enough` of them have, or for at most `wait`.
    pub async fn acknowledged(
        &self,
        sequence: EntrySequence,
        enough: impl Fn(&[NodeId]) -> bool,
        wait: Duration,
    ) -> Vec<NodeId> {
        let all_have = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                if enough(&self.log.acknowledged().have(sequence)) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(wait, all_have).await;
        self.log.acknowledged().have(sequence)
    }

    async fn publish(&self, topic: &Topic, payload: Bytes, retain: bool) {
        let message = Message { topic: self.node.prefix.name(topic), payload, retain };
        // Nodes ask for what the bus does not bring.
        if !bus::offer(&*self.node.bus, message).await {
            tracing::debug!(%topic, "not published now");
        }
    }
}

/// Whether control may go on from what it has: an entry after a missing one would fork the log.
fn ensure_whole(replica: &Replica) -> Result<()> {
    if let Some(fork) = replica.view().fork() {
        bail!("the metadata log is forked at entry {fork}: the root key has to decide (sealcast root branch)");
    }
    if let Some(signed) = replica.behind() {
        bail!(
            "this control node has entries of the metadata log up to {}, and has signed them up to {signed}: was it restored from a \
             backup? Start a broadcast node that has the rest; or give up what is missing (sealcast root branch)",
            replica.place().sequence
        );
    }
    Ok(())
}

/// Takes root statements that another control node has made or was given.
async fn take_roots(log: &Arc<Log>, ledger: &dyn Ledger) -> Result<()> {
    let statements = ledger.roots().await?;
    let is_empty = statements.is_empty();
    for statement in statements {
        // Those of before the one that is here, or before the one that this node pins, are refused.
        log.take(vec![Input::Root(statement)]).await?;
    }
    let is_known = log.with(|replica| replica.roots().statement().is_some());
    ensure!(
        is_known || is_empty,
        "another control node has begun the metadata log in this database (role.control.database), under another root key: copy \
         root.pub and metadata.key from its data directory into the one of this node, and remove root.key there"
    );
    Ok(())
}

/// Reads the key, or makes one.
fn control_key(path: &Path) -> Result<ControlKey> {
    if path.exists() {
        let seed = zeroize::Zeroizing::new(files::read_bounded(path)?);
        return ControlKey::from_seed_bytes(&seed).with_context(|| format!("{} is not a key", path.display()));
    }
    let key = ControlKey::generate()?;
    files::atomic_write(path, &key.to_seed_bytes(), files::MODE_SECRET)?;
    Ok(key)
}

/// The root statement that has to be signed so that a key may write; `None` when it may for long enough.
fn next_statement(
    (known, place): (Option<RootStatement>, Place),
    node: &node::Context,
    key: &[u8],
    root: Option<&RootKey>,
    now: UnixMillis,
) -> Result<Option<RootStatement>> {
    let (id, not_after) = (KeyId::of(key), now.plus(KEY_LIFE));
    let control = |first| Control { public_key: key.to_vec(), node: node.id.clone(), first, last: None, not_after };
    let Some(mut statement) = known else {
        let root = root.context("the metadata log has no root statement, and the root key is not here to sign one")?;
        return Ok(Some(RootStatement {
            cluster: node.cluster.clone(),
            log: LogId(rand::random()),
            version: 1,
            at: now,
            root_keys: vec![root.public_key_bytes()],
            threshold: 1,
            controls: vec![control(EntrySequence(1))],
            branch: None,
        }));
    };
    // A root key that was replaced, or that needs others beside it, signs nothing here.
    let root = root.filter(|root| ensure_alone_signs(&statement, root).is_ok());
    let of_key = statement.controls.iter_mut().find(|control| control.public_key == key);
    match (of_key, root) {
        (Some(control), _) if control.not_after > now.plus(KEY_RENEWAL) => return Ok(None),
        (Some(control), Some(_)) => control.not_after = not_after,
        (Some(control), None) => {
            tracing::warn!(key = %id, until = %control.not_after, "control's key for the metadata log ends soon: sealcast root rotate --key FILE, where the root key is");
            return Ok(None);
        }
        (None, Some(_)) => {
            // The key before was lost, or taken away because somebody may have it: it signs nothing any more.
            let before = statement.controls.iter_mut().filter(|known| known.node == node.id && known.last.is_none());
            before.for_each(|known| known.end((place.sequence, place.at), now));
            statement.controls.push(control(place.sequence.next()));
        }
        (None, None) => bail!(
            "the newest root statement does not name key {id} of this control node, and no root key that may sign alone is in its data \
             directory: restore metadata.key from a backup, or start control once with root.key there"
        ),
    }
    statement.begin_next(now);
    Ok(Some(statement))
}

/// Whether one root key is enough for the next statement.
fn ensure_alone_signs(statement: &RootStatement, root: &RootKey) -> Result<()> {
    ensure!(
        statement.root_keys.contains(&root.public_key_bytes()) && statement.threshold == 1,
        "this root key may not sign alone: sign the next root statement where the others are (sealcast root … --key FILE --key FILE)"
    );
    Ok(())
}

/// Cuts edits into as many entries as they need, in order.
fn in_entries(edits: Vec<Edit>) -> Vec<Vec<Edit>> {
    let mut entries: Vec<Vec<Edit>> = Vec::new();
    let mut bytes = 0_usize;
    for edit in edits {
        bytes = bytes.saturating_add(edit.row_bytes());
        match entries.last_mut().filter(|last| last.len() < CHANGES_MAX && bytes <= ROWS_BYTES_MAX) {
            Some(last) => last.push(edit),
            None => {
                bytes = edit.row_bytes();
                entries.push(vec![edit]);
            }
        }
    }
    entries
}
