//! The replica: folds the log, and says what a node has to store, to fetch and to tell its operator. Pure.
//!
//! Entries are taken strictly in order, each only when its signature, its place in the chain, its rows and the state digest after
//! it are right; so a broker or peer can delay the log, and nothing else. What comes too early is not kept: the replica asks for
//! what is missing, and a peer's answer has both.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use media::{Digest, Now, UnixMillis};
use seal::{Refusal, RefusalReason};

use crate::entry::{Entry, Head, ReadEntry, Row, chain_value, row_digest, split_rows};
use crate::freshness::{Freshness, LastHeard};
use crate::limits::{AHEAD_MAX, EVIDENCE_MAX, HISTORY_MAX};
use crate::root::{Branch, RootStep, Roots, Signs};
use crate::rows::{HeldRow, Rows, Undo};
use crate::sessions::SessionRule;
use crate::view::View;
use crate::{Body, EntrySequence, RowId};

/// An input of the replica.
#[derive(Debug, Clone)]
pub enum Input {
    /// A root statement came.
    Root(Bytes),
    /// An entry came, with its rows as a CBOR sequence.
    Entry {
        /// The signed entry.
        entry: Bytes,
        /// Rows that it writes, in the order of its changes.
        rows: Bytes,
    },
    /// A head came.
    Head(Bytes),
    /// A deadline passed.
    Tick,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Keep this entry with its rows, in one transaction.
    StoreEntry {
        /// Its place.
        sequence: EntrySequence,
        /// The signed entry.
        entry: Bytes,
        /// Its rows.
        rows: Bytes,
    },
    /// Keep this root statement.
    StoreRoot(Bytes),
    /// The newest head that counts: keep it, and relay it.
    StoreHead(Bytes),
    /// Forget entries after this one: the root has voided them.
    Rewind(EntrySequence),
    /// Forget all entries: the root has voided more than can be taken back. The replica is empty now.
    StartAgain,
    /// Ask control or another node for entries from this one on.
    FetchEntries(EntrySequence),
    /// Ask for root statements after this version.
    FetchRoots(u64),
    /// Rows have changed.
    Changed,
    /// Control is heard again, or is not heard any more.
    Freshness(Freshness),
    /// Control signed two logs. Nothing more is folded before the root decides.
    Forked(Box<Evidence>),
    /// Refused, and why.
    Refused(Refusal),
}

/// Two statements of which only one can be true, both signed by control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Entry that they disagree about.
    pub sequence: EntrySequence,
    /// Chain value that the replica has there.
    pub ours: Digest,
    /// The other statement: an entry or a head.
    pub other: Bytes,
}

/// An entry that can be taken back.
#[derive(Debug, Clone)]
struct Past {
    sequence: EntrySequence,
    /// Digest of its payload, to know it again.
    entry: Digest,
    /// Chain value after it.
    chain: Digest,
    at: UnixMillis,
    undo: Undo,
}

/// Place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Newest entry; 0 for the empty log.
    pub sequence: EntrySequence,
    /// Its chain value; zeros for the empty log.
    pub chain: Digest,
    /// When control signed it.
    pub at: UnixMillis,
}

const EMPTY: Place = Place { sequence: EntrySequence(0), chain: Digest::NONE, at: UnixMillis(0) };

/// A replica of the log.
#[derive(Debug, Clone)]
pub struct Replica {
    roots: Roots,
    place: Place,
    rows: Rows,
    history: VecDeque<Past>,
    /// A head ahead of the log: the nearest, so that one that lies far ahead hides none.
    ahead: Option<(Head, Bytes)>,
    heard: LastHeard,
    heard_from: Option<([u8; 16], UnixMillis)>,
    freshness: Freshness,
    /// First entry of which control signed two.
    fork: Option<EntrySequence>,
    evidence: Vec<Evidence>,
    /// Revocations that only the other side of a fork has: they count, too.
    other_revocations: Vec<Body>,
}

impl Replica {
    /// An empty replica that trusts `roots`, started `now`.
    pub fn new(roots: Roots, now: Duration) -> Self {
        Self {
            roots,
            place: EMPTY,
            rows: Rows::new(),
            history: VecDeque::new(),
            ahead: None,
            heard: LastHeard::new(now),
            heard_from: None,
            freshness: Freshness::Fresh,
            fork: None,
            evidence: Vec::new(),
            other_revocations: Vec::new(),
        }
    }

    /// A replica as a snapshot has it: the newest entry, and all rows in any order. It takes nobody's word: the entry is signed,
    /// and states the digest of all rows.
    ///
    /// # Errors
    /// When the entry is not signed by control, or the rows are not those of its state.
    pub fn restore(
        roots: Roots,
        entry: &Bytes,
        rows: impl IntoIterator<Item = Bytes>,
        now: Now,
    ) -> Result<Self, Refusal> {
        let mut replica = Self::new(roots, now.elapsed);
        let read = ReadEntry::read(entry)?;
        replica.check_signed(&read, &mut Vec::new())?;
        let newest = read.entry.sequence;
        let mut held = Vec::new();
        for raw in rows {
            let row = Row::decode(&raw)?;
            if row.sequence > newest {
                return Err(refusal(RefusalReason::Chain, format!("row of entry {} after {newest}", row.sequence)));
            }
            let body = HeldRow { kind: row.kind, sequence: row.sequence, digest: row_digest(&raw), body: row.body };
            held.push((row.kind, row.id, Some(body)));
        }
        replica.rows.apply(held)?;
        if replica.rows.digest() != read.entry.state {
            return Err(refusal(RefusalReason::Chain, format!("the rows are not those of entry {newest}")));
        }
        let chain = chain_value(read.entry.before, read.digest);
        let (at, undo) = (read.entry.at, Undo::new());
        replica.place = Place { sequence: newest, chain, at };
        replica.history.push_back(Past { sequence: newest, entry: read.digest, chain, at, undo });
        Ok(replica)
    }

    /// Takes an input.
    pub fn apply(&mut self, input: Input, now: Now) -> Vec<Output> {
        let mut outputs = Vec::new();
        let taken = match input {
            Input::Root(raw) => self.take_root(&raw, &mut outputs),
            Input::Entry { entry, rows } => self.take_entry(&entry, rows, now, &mut outputs),
            Input::Head(raw) => self.take_head(raw, now, &mut outputs),
            Input::Tick => Ok(()),
        };
        if let Err(refusal) = taken {
            outputs.push(Output::Refused(refusal));
        }
        let freshness = self.heard.freshness(now.elapsed);
        if std::mem::replace(&mut self.freshness, freshness) != freshness {
            outputs.push(Output::Freshness(freshness));
        }
        outputs
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.heard.next_deadline(now)
    }

    /// Where the replica stands.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// State digest of all rows.
    pub fn state(&self) -> Digest {
        self.rows.digest()
    }

    /// The root statements that the replica trusts.
    pub const fn roots(&self) -> &Roots {
        &self.roots
    }

    /// How old the newest head is, on the own clock; since the start when none came.
    pub fn head_age(&self, now: Duration) -> Duration {
        self.heard.age(now)
    }

    /// How fresh the replica is.
    pub fn freshness(&self, now: Duration) -> Freshness {
        self.heard.freshness(now)
    }

    /// Newest entry that control is known to have signed, where that is not here.
    pub fn behind(&self) -> Option<EntrySequence> {
        self.ahead.as_ref().map(|(head, _)| head.sequence)
    }

    /// Control's database as the newest head that counts names it, and that head's time.
    pub const fn heard(&self) -> Option<([u8; 16], UnixMillis)> {
        self.heard_from
    }

    /// Proofs that control signed two logs; at most [`EVIDENCE_MAX`].
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// What the rows say.
    pub const fn view(&self) -> View<'_> {
        View::new(&self.rows, self.fork, self.other_revocations.as_slice())
    }

    pub(crate) const fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) const fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    fn take_root(&mut self, raw: &Bytes, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        match self.roots.take(raw)? {
            RootStep::Known => {}
            RootStep::Taken => outputs.push(Output::StoreRoot(raw.clone())),
            RootStep::Branched(branch) => {
                outputs.push(Output::StoreRoot(raw.clone()));
                self.branch(branch, outputs);
            }
        }
        Ok(())
    }

    /// Takes back the entries that the root has voided, and those of a wrong log.
    fn branch(&mut self, branch: Branch, outputs: &mut Vec<Output>) {
        if branch.sequence > self.place.sequence && self.fork.is_none() {
            // The replica is behind; whatever it fetches has to lead to the branch.
            return;
        }
        let at_branch = self.history.iter().find(|past| past.sequence == branch.sequence);
        if at_branch.is_none_or(|past| past.chain != branch.chain) {
            return self.start_again(outputs);
        }
        let before = self.place.sequence;
        while let Some(past) = self.history.pop_back_if(|past| past.sequence > branch.sequence) {
            self.rows.take_back(past.undo);
        }
        if let Some(newest) = self.history.back() {
            self.place = Place { sequence: newest.sequence, chain: newest.chain, at: newest.at };
        }
        (self.fork, self.ahead) = (None, None);
        self.other_revocations.clear();
        if before != branch.sequence {
            outputs.push(Output::Rewind(branch.sequence));
        }
        outputs.push(Output::Changed);
    }

    /// Forgets all entries: the log that the root means is another one, or begins before all that can be taken back.
    fn start_again(&mut self, outputs: &mut Vec<Output>) {
        (self.place, self.rows) = (EMPTY, Rows::new());
        (self.fork, self.ahead) = (None, None);
        self.history.clear();
        self.other_revocations.clear();
        outputs.extend([Output::StartAgain, Output::Changed, Output::FetchEntries(EMPTY.sequence.next())]);
    }

    /// Asks for root statements, when control knows a newer one: it may name the key that is not known here.
    fn fetch_roots(&self, known_to_control: u64, outputs: &mut Vec<Output>) {
        if known_to_control > self.roots.version() {
            outputs.push(Output::FetchRoots(self.roots.version()));
        }
    }

    /// Checks identity, key and signature of an entry.
    fn check_signed(&self, read: &ReadEntry<'_>, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        let entry = &read.entry;
        let Some(statement) = self.roots.statement() else {
            return Err(refusal(RefusalReason::Key, "an entry came before any root statement"));
        };
        if entry.cluster != *self.roots.cluster() || entry.log != statement.log {
            let detail = format!("entry of log {} of cluster {}", entry.log, entry.cluster);
            return Err(refusal(RefusalReason::Identity, detail));
        }
        let key = self.roots.control(read.key(), (Signs::Entry, entry.sequence), entry.at);
        let key = key.inspect_err(|_| self.fetch_roots(entry.root_version, outputs))?;
        if !read.envelope.is_signed_by(key) {
            return Err(refusal(RefusalReason::Signature, format!("entry {}", entry.sequence)));
        }
        self.ensure_counts("entry", entry.sequence, entry.root_version)
    }

    /// Refuses what the root has voided: what follows its branch, under a statement of before.
    fn ensure_counts(&self, what: &str, sequence: EntrySequence, root_version: u64) -> Result<(), Refusal> {
        let branch = self.roots.statement().and_then(|statement| statement.branch);
        if branch.is_some_and(|branch| sequence > branch.sequence && root_version < branch.version) {
            let detail = format!("{what} at {sequence} is void: the root has branched");
            return Err(refusal(RefusalReason::Chain, detail));
        }
        Ok(())
    }

    fn take_entry(&mut self, raw: &Bytes, rows: Bytes, now: Now, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        let read = ReadEntry::read(raw)?;
        let (sequence, next) = (read.entry.sequence, self.place.sequence.next());
        if self.history.iter().any(|past| past.entry == read.digest) {
            return Ok(());
        }
        self.check_signed(&read, outputs)?;
        self.fetch_roots(read.entry.root_version, outputs);
        if sequence > next {
            outputs.push(Output::FetchEntries(next));
            return Ok(());
        }
        let changes = self.check_rows(&read.entry, &rows)?;
        if sequence < next {
            return self.disagree(sequence, raw.clone(), changes, outputs);
        }
        if self.fork.is_some() {
            return Err(refusal(
                RefusalReason::Equivocation,
                format!("entry {sequence} after a fork: the root decides"),
            ));
        }
        self.check_place(&read.entry, read.digest, now)?;
        let undo = self.rows.apply(changes)?;
        if self.rows.digest() != read.entry.state {
            self.rows.take_back(undo);
            return Err(refusal(RefusalReason::Chain, format!("entry {sequence} leads to another state than it says")));
        }
        let (at, chain) = (read.entry.at, chain_value(read.entry.before, read.digest));
        self.history.push_back(Past { sequence, entry: read.digest, chain, at, undo });
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        self.place = Place { sequence, chain, at };
        outputs.push(Output::StoreEntry { sequence, entry: raw.clone(), rows });
        outputs.push(Output::Changed);
        if let Some((head, raw)) = self.ahead.take_if(|(head, _)| head.sequence <= sequence) {
            self.compare_head(&head, raw, now, outputs)?;
        }
        Ok(())
    }

    /// The rows of an entry, each with the digest that the entry states.
    fn check_rows(&self, entry: &Entry, rows: &[u8]) -> Result<Vec<(u64, RowId, Option<HeldRow>)>, Refusal> {
        let malformed = |what: &str| Refusal::malformed(format!("rows of entry {}: {what}", entry.sequence));
        let mut split = split_rows(rows)?.into_iter();
        let mut changes = Vec::with_capacity(entry.changes.len());
        for change in &entry.changes {
            let row = match change.digest {
                None => None,
                Some(digest) => {
                    let raw = split.next().ok_or_else(|| malformed("one is missing"))?;
                    if row_digest(raw) != digest {
                        return Err(malformed("not what the entry names"));
                    }
                    let row = Row::decode(raw)?;
                    if (row.kind, row.id, row.sequence) != (change.kind, change.id, entry.sequence) {
                        return Err(malformed("one says another kind, identity or version"));
                    }
                    Some(HeldRow { kind: row.kind, sequence: row.sequence, digest, body: row.body })
                }
            };
            changes.push((change.kind, change.id, row));
        }
        if split.next().is_some() {
            return Err(malformed("more than the entry names"));
        }
        Ok(changes)
    }

    /// Whether a signed entry is the next one.
    fn check_place(&self, entry: &Entry, digest: Digest, now: Now) -> Result<(), Refusal> {
        let refuse = |reason, why: String| Err(refusal(reason, format!("entry {}: {why}", entry.sequence)));
        if entry.before != self.place.chain {
            return refuse(RefusalReason::Chain, "it follows another log".to_owned());
        }
        if entry.at < self.place.at {
            return refuse(RefusalReason::Implausible, "it is older than the one before".to_owned());
        }
        let branch = self.roots.statement().and_then(|statement| statement.branch);
        let chain = chain_value(entry.before, digest);
        if branch.is_some_and(|branch| branch.sequence == entry.sequence && branch.chain != chain) {
            return refuse(RefusalReason::Chain, "the root goes on from another entry".to_owned());
        }
        let ahead = entry.at.since(now.wall);
        if ahead > AHEAD_MAX {
            let why = format!("its time is {} s ahead of this node's clock: set one of the clocks", ahead.as_secs());
            return refuse(RefusalReason::Implausible, why);
        }
        Ok(())
    }

    /// Control signed an entry that differs from one that is folded.
    fn disagree(
        &mut self,
        sequence: EntrySequence,
        other: Bytes,
        changes: Vec<(u64, RowId, Option<HeldRow>)>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(ours) = self.history.iter().find(|past| past.sequence == sequence).map(|past| past.chain) else {
            // Too long ago to say which is which.
            return Ok(());
        };
        let bodies = changes.into_iter().filter_map(|(.., row)| row).map(|row| row.body);
        let room = EVIDENCE_MAX.saturating_sub(self.evidence.len());
        if room > 0 {
            let takes_back = |body: &Body| match body {
                Body::Revocation(_) | Body::TokenRevocation(_) => true,
                Body::Session(row) => !matches!(row.says, SessionRule::Key { .. }),
                _ => false,
            };
            self.other_revocations.extend(bodies.filter(takes_back));
        }
        self.fork_at(Evidence { sequence, ours, other }, outputs);
        outputs.push(Output::Changed);
        Err(refusal(RefusalReason::Equivocation, format!("control signed two entries {sequence}")))
    }

    fn fork_at(&mut self, evidence: Evidence, outputs: &mut Vec<Output>) {
        let first = self.fork.map_or(evidence.sequence, |fork| fork.min(evidence.sequence));
        self.fork = Some(first);
        if self.evidence.len() < EVIDENCE_MAX && !self.evidence.contains(&evidence) {
            self.evidence.push(evidence.clone());
            outputs.push(Output::Forked(Box::new(evidence)));
        }
    }

    fn take_head(&mut self, raw: Bytes, now: Now, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        let (head, envelope) = Head::read(&raw)?;
        let Some(statement) = self.roots.statement() else {
            outputs.push(Output::FetchRoots(0));
            return Ok(());
        };
        if head.cluster != *self.roots.cluster() || head.log != statement.log {
            return Err(refusal(
                RefusalReason::Identity,
                format!("head of log {} of cluster {}", head.log, head.cluster),
            ));
        }
        let key = self.roots.control(envelope.key, (Signs::Head, head.sequence), head.at);
        let key = key.inspect_err(|_| self.fetch_roots(head.root_version, outputs))?;
        if !envelope.is_signed_by(key) {
            return Err(refusal(RefusalReason::Signature, format!("head at entry {}", head.sequence)));
        }
        self.ensure_counts("head", head.sequence, head.root_version)?;
        self.fetch_roots(head.root_version, outputs);
        let ahead = head.at.since(now.wall);
        if ahead > AHEAD_MAX {
            let why = format!("head is {} s ahead of this node's clock: set one of the clocks", ahead.as_secs());
            return Err(refusal(RefusalReason::Implausible, why));
        }
        if head.sequence > self.place.sequence {
            outputs.push(Output::FetchEntries(self.place.sequence.next()));
            let is_nearer = self.ahead.as_ref().is_none_or(|(nearest, _)| {
                (head.sequence, std::cmp::Reverse(head.at)) <= (nearest.sequence, std::cmp::Reverse(nearest.at))
            });
            if is_nearer {
                self.ahead = Some((head, raw));
            }
            return Ok(());
        }
        self.compare_head(&head, raw, now, outputs)
    }

    /// A head that the log has reached: it counts when it names what is folded.
    fn compare_head(&mut self, head: &Head, raw: Bytes, now: Now, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        let ours = match head.sequence {
            EntrySequence(0) => Some(Digest::NONE),
            sequence => self.history.iter().find(|past| past.sequence == sequence).map(|past| past.chain),
        };
        // A head of long ago is no news.
        let Some(ours) = ours else { return Ok(()) };
        let is_newest = head.sequence == self.place.sequence;
        if head.chain != ours || (is_newest && head.state != self.rows.digest()) {
            self.fork_at(Evidence { sequence: head.sequence, ours, other: raw }, outputs);
            let detail = format!("control says another log up to entry {} than it wrote", head.sequence);
            return Err(refusal(RefusalReason::Equivocation, detail));
        }
        if self.heard.hear(head.at, now) {
            self.heard_from = Some((head.database, head.at));
            if is_newest {
                outputs.push(Output::StoreHead(raw));
            }
        }
        Ok(())
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        self.rows.check_invariants();
        assert!(self.history.len() <= HISTORY_MAX && self.evidence.len() <= EVIDENCE_MAX);
        let sequences = self.history.iter().map(|past| past.sequence);
        assert!(sequences.is_sorted_by(|a, b| a.next() == *b), "history has no holes");
        if let Some(newest) = self.history.back() {
            assert_eq!((newest.sequence, newest.chain), (self.place.sequence, self.place.chain));
        }
        assert!(self.rows.iter().all(|(_, row)| row.sequence <= self.place.sequence));
        assert!(self.ahead.as_ref().is_none_or(|(head, _)| head.sequence > self.place.sequence));
    }
}

fn refusal(reason: RefusalReason, detail: impl Into<String>) -> Refusal {
    Refusal::new(reason, detail)
}
