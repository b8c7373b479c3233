//! The control node's side of the log: the key that writes, the entries, and the head that it says anew every two seconds.

use std::path::Path;
use std::sync::Arc;
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
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use crate::log::refused;
use crate::{Log, frames};

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

/// The keys of a control node.
pub struct ControlIdentity<'a> {
    /// File of the key that signs entries and heads; made when missing, mode 0600.
    pub key_file: &'a Path,
    /// The root key, where it lies on this machine: it makes the first statement, and renews the key in time.
    pub root: Option<&'a RootKey>,
}

/// Writes the log. One for each control node.
pub struct Writer {
    log: Arc<Log>,
    node: node::Context,
    key: ControlKey,
    /// This process's identity as a writer: two that write at once see each other by it.
    database: [u8; 16],
    /// Held while entries are made and published, so that they are published in order.
    writing: Mutex<()>,
    /// Whether the log was begun in this run: nobody can know more of it.
    is_new: bool,
    settled: CancellationToken,
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
        let (node, settled) = (node.clone(), CancellationToken::new());
        Ok(Self { log, node, key, database: rand::random(), writing: Mutex::default(), is_new, settled })
    }

    /// The log that it writes.
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Says where the log stands, every two seconds and until `shutdown`; before that, lets a control that was restored from a backup
    /// take what the other nodes know.
    ///
    /// # Errors
    /// When another control node writes the same log.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<()> {
        if !self.is_new {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.wait_for_others() => {}
            }
            self.ensure_alone()?;
        }
        self.settled.cancel();
        let mut ticks = tokio::time::interval(HEAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            self.ensure_alone()?;
            if let Err(error) = self.say_head().await {
                tracing::error!(error = format!("{error:#}"), "no head of the metadata log");
            }
        }
    }

    async fn wait_for_others(&self) {
        let heard = async {
            tokio::time::sleep(LISTEN).await;
            self.log.until_answered().await;
        };
        if tokio::time::timeout(SETTLE_WAIT_MAX, heard).await.is_err() {
            tracing::info!("no other node has answered about the metadata log: control goes on with its own");
        }
    }

    /// Two controls that write one log would fork it.
    fn ensure_alone(&self) -> Result<()> {
        let heard = self.log.with(|replica| replica.heard());
        let other = heard.filter(|(database, at)| *database != self.database && *at > self.node.started_at);
        ensure!(
            other.is_none(),
            "another control node writes the metadata log of this cluster, with the key of this one: is a copy of this data directory \
             in use elsewhere? Stop one of them"
        );
        Ok(())
    }

    async fn say_head(&self) -> Result<()> {
        let _in_order = self.writing.lock().await;
        let now = self.node.clock.wall();
        let head = self.log.with(|replica| replica.head(now, self.database)).context("there is no root statement")?;
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
        self.settled.cancelled().await;
        let _in_order = self.writing.lock().await;
        let edits = self.log.look(edits);
        let was_changed = !edits.is_empty();
        for some in in_entries(edits) {
            let now = self.node.clock.wall();
            let signed = self.log.append(|replica| {
                ensure_whole(replica)?;
                let signed = replica.draft(some, now)?.sign(&self.key)?;
                let SignedEntry { entry, rows } = signed.clone();
                Ok((signed, Input::Entry { entry, rows }))
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
        tracing::warn!(version, entry = %self.place().sequence, "the root has made another statement");
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
