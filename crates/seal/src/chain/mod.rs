//! The chain: puts the verified seals of one stream in log order, whatever order they arrive in. Pure.
//!
//! Owns the rule for what extends the log (`docs/design/log.md`): repeats, holes, forks, and epochs that void the seals after the one
//! they build on. Deliberately knows neither signatures (a [`Sealed`] is verified) nor media bytes: the gate admits the seal of a
//! [`Step`] only when its bytes are there too.
//!
//! A chain without a head extends nothing until it has joined a log ([`Chain::join`]) or resumed one ([`Chain::resume`]). The caller
//! decides where to begin, because an old log verifies just as well as a new one.

mod history;
mod join;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::{Digest, Epoch, LogSequence, Now, Slot, StreamId};

use crate::content;
use crate::limits::{BUFFERED_MAX, BUFFERED_WAIT_MAX, EVIDENCE_MAX, HISTORY_MAX};
use crate::{Head, Refusal, RefusalReason, Sealed};
use history::{Entry, History};

/// An event for a chain.
#[derive(Debug, Clone)]
pub enum Input {
    /// A verified seal arrived, from any source.
    Seal(Sealed),
    /// A deadline passed.
    Tick,
    /// Catch-up asked every peer, and none fills the hole: the chain refuses the waiting seals.
    GiveUp,
}

/// A change for the fold to apply. Steps come in log order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This seal is the next of the log.
    Extend(Sealed),
    /// A new epoch begins. The log's seals after `void_after` are void; this seal takes their place.
    OpenEpoch {
        /// First seal of the epoch.
        sealed: Sealed,
        /// Sequence of the seal that it builds on.
        void_after: LogSequence,
    },
}

impl Step {
    /// The seal that the step makes the newest of the log.
    pub fn sealed(&self) -> &Sealed {
        match self {
            Self::Extend(sealed) | Self::OpenEpoch { sealed, .. } => sealed,
        }
    }
}

/// The chain's decision about the seal of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The seal is now in the log: it is the first of the steps.
    Extended,
    /// The seal is or was in the log, already waits, or is older than the chain remembers.
    Duplicate,
    /// The seal waits for seals before it: see [`Chain::missing`].
    Buffered,
    /// The chain refused the seal.
    Refused(Refusal),
    /// The input was not a seal.
    Nothing,
}

/// All results of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Decision about the seal of the input.
    pub verdict: Verdict,
    /// New in the log, in log order; more than one when waiting seals follow the new one.
    pub steps: Vec<Step>,
    /// Seals that waited and are now refused.
    pub refused: Vec<(Sealed, Refusal)>,
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, steps: Vec::new(), refused: Vec::new() }
    }
}

/// What catch-up has to fetch so that waiting seals find their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The seals of a peer's log from `from` up to `until`, exclusive. When the peer's log begins later than `from`, join its tail
    /// instead.
    Range {
        /// First seal that is needed.
        from: LogSequence,
        /// First seal that is already here.
        until: LogSequence,
    },
    /// A peer's whole log, to [join](Chain::join): the chain's history does not reach back far enough.
    Tail,
}

/// Proof that two validly signed seals contradict each other about one sequence or slot.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The seal that is in the log; `None` when only its digest survived a restart.
    pub held: Option<Sealed>,
    /// Digest of the seal that is in the log.
    pub held_digest: Digest,
    /// The seal that contradicts it.
    pub other: Sealed,
}

#[derive(Debug, Clone)]
struct Waiting {
    sealed: Sealed,
    since: Duration,
}

/// Where a seal belongs.
enum Fit {
    Duplicate,
    /// Directly after this entry of the log, if it fits.
    After(LogSequence),
    Waits,
    /// It contradicts this entry.
    Fork(Option<Entry>),
    Refused(RefusalReason, &'static str),
}

/// The seal log of one stream as known here: the newest seals, and those that wait.
#[derive(Debug, Clone)]
pub struct Chain {
    stream: StreamId,
    head: Option<Head>,
    /// The newest entries of the log, without holes, ending at the head.
    history: History,
    /// Verified seals whose place is not known yet. A full map drops the highest epoch and sequence first.
    waiting: BTreeMap<(Epoch, LogSequence), Waiting>,
    /// Digests of seals that were in the log and are now void: a late repeat of one is not an attack.
    voided: VecDeque<Digest>,
    evidence: Vec<Evidence>,
}

impl Chain {
    /// A chain without a head. Seals that arrive before [`Chain::join`] wait.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            head: None,
            history: History::default(),
            waiting: BTreeMap::new(),
            voided: VecDeque::new(),
            evidence: Vec::new(),
        }
    }

    /// A chain that continues after a seal admitted before a restart, and takes nothing older.
    pub fn resume(head: Head) -> Self {
        let mut chain = Self::new(head.stream.clone());
        chain.history.push(Entry::Resumed(head.clone()));
        chain.head = Some(head);
        chain
    }

    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The newest place in the log; `None` before the chain has joined.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Proofs of equivocation, oldest first; at most [`EVIDENCE_MAX`].
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Number of seals that wait for others.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What catch-up has to fetch; `None` while nothing waits.
    pub fn missing(&self) -> Option<Missing> {
        let (Some(head), Some(oldest)) = (&self.head, self.history.oldest()) else {
            return (!self.waiting.is_empty()).then_some(Missing::Tail);
        };
        // Later epochs first: they may have voided the seals that this epoch waits for, so that no peer has them any more.
        let first = |later: bool| {
            let keys = self.waiting.keys().filter(|(epoch, _)| (*epoch > head.epoch) == later);
            keys.map(|(_, sequence)| *sequence).min()
        };
        let until = first(true).or_else(|| first(false))?;
        // A later epoch that begins inside our log parts from it somewhere in the history.
        let beyond = until > head.sequence.next();
        let from = if beyond { head.sequence.next() } else { oldest.next() };
        Some(if from < until { Missing::Range { from, until } } else { Missing::Tail })
    }

    /// When [`Input::Tick`] is due, on the clock of [`Now::elapsed`]; `None` while nothing waits.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.waiting.values().map(|waiting| waiting.since.saturating_add(BUFFERED_WAIT_MAX)).min()
    }

    /// Takes an input. Every input also refuses seals that have waited for [`BUFFERED_WAIT_MAX`].
    pub fn apply(&mut self, input: Input, now: Now) -> Outcome {
        let mut outcome = match input {
            Input::Seal(sealed) => self.seal(sealed, now),
            Input::Tick | Input::GiveUp if self.waiting.is_empty() => Outcome::of(Verdict::Nothing),
            Input::Tick => Outcome::of(Verdict::Nothing),
            Input::GiveUp => {
                let mut outcome = Outcome::of(Verdict::Nothing);
                self.refuse_waiting(&mut outcome, "no peer has the seal before it", |_| true);
                outcome
            }
        };
        let late = |waiting: &Waiting| waiting.since.saturating_add(BUFFERED_WAIT_MAX) <= now.elapsed;
        self.refuse_waiting(&mut outcome, "the seal before it did not arrive in time", late);
        outcome
    }

    fn refuse_waiting(&mut self, outcome: &mut Outcome, why: &'static str, which: impl Fn(&Waiting) -> bool) {
        let refused = self.waiting.extract_if(.., |_, waiting| which(waiting)).map(|(_, waiting)| {
            let refusal = refusal(&waiting.sealed, RefusalReason::Chain, why);
            (waiting.sealed, refusal)
        });
        outcome.refused.extend(refused);
    }

    fn seal(&mut self, sealed: Sealed, now: Now) -> Outcome {
        if sealed.body().stream != self.stream {
            let refusal = refusal(&sealed, RefusalReason::Identity, "of another stream than this chain's");
            return Outcome::of(Verdict::Refused(refusal));
        }
        match self.place(&sealed) {
            Fit::Duplicate => Outcome::of(Verdict::Duplicate),
            Fit::Waits => Outcome::of(self.wait(sealed, now)),
            Fit::Fork(held) => Outcome::of(Verdict::Refused(self.fork(held, sealed))),
            Fit::Refused(reason, why) => Outcome::of(Verdict::Refused(refusal(&sealed, reason, why))),
            Fit::After(base) => {
                let mut outcome = Outcome::of(Verdict::Extended);
                match self.extend(base, sealed) {
                    Ok(step) => {
                        outcome.steps.push(step);
                        self.drain(&mut outcome);
                    }
                    Err((_, refusal)) => outcome.verdict = Verdict::Refused(refusal),
                }
                outcome
            }
        }
    }

    fn place(&self, sealed: &Sealed) -> Fit {
        let Some(head) = &self.head else { return Fit::Waits };
        let body = sealed.body();
        if self.voided.contains(&sealed.digest()) {
            return Fit::Duplicate;
        }
        if let Some(held) = self.history.at(body.sequence) {
            if held.digest() == sealed.digest() {
                return Fit::Duplicate;
            }
            if held.epoch() == body.epoch {
                return Fit::Fork(Some(held.clone()));
            }
        }
        match body.epoch.cmp(&head.epoch) {
            std::cmp::Ordering::Less => Fit::Refused(RefusalReason::Epoch, "older epoch than one seen"),
            std::cmp::Ordering::Equal => self.place_in_epoch(head, sealed),
            std::cmp::Ordering::Greater => self.place_epoch(head, sealed),
        }
    }

    fn place_in_epoch(&self, head: &Head, sealed: &Sealed) -> Fit {
        let body = sealed.body();
        if self.history.oldest().is_some_and(|oldest| body.sequence < oldest) {
            return Fit::Duplicate;
        }
        if content::opens_epoch(body) {
            // Two sessions claim one epoch.
            return Fit::Fork(self.history.first_of(body.epoch).cloned());
        }
        match body.sequence.cmp(&head.sequence.next()) {
            std::cmp::Ordering::Less => Fit::Refused(RefusalReason::Chain, "from before its epoch began"),
            std::cmp::Ordering::Equal => Fit::After(head.sequence),
            std::cmp::Ordering::Greater => Fit::Waits,
        }
    }

    fn place_epoch(&self, head: &Head, sealed: &Sealed) -> Fit {
        let body = sealed.body();
        let Some(base) = body.sequence.0.checked_sub(1).map(LogSequence) else {
            return Fit::Refused(RefusalReason::Chain, "begins another log");
        };
        let names = |held: &Entry| held.digest() == body.previous;
        if !content::opens_epoch(body) || base > head.sequence || !self.history.at(base).is_some_and(names) {
            return Fit::Waits;
        }
        Fit::After(base)
    }

    /// Appends a seal after `base`, and voids the entries that were there.
    fn extend(&mut self, base: LogSequence, sealed: Sealed) -> Result<Step, (Sealed, Refusal)> {
        let Some(before) = self.history.at(base).map(Entry::head) else {
            let refusal = refusal(&sealed, RefusalReason::Chain, "builds on a seal that is not here");
            return Err((sealed, refusal));
        };
        if let Err(refusal) = before.admits(sealed.body()) {
            let restated = self.restates(&sealed).filter(|_| refusal.reason == RefusalReason::Implausible);
            let refusal = restated.map_or(refusal, |held| self.fork(Some(held), sealed.clone()));
            return Err((sealed, refusal));
        }
        let opens = sealed.body().epoch != before.epoch;
        for void in self.history.truncate_after(base) {
            if self.voided.len() >= HISTORY_MAX {
                self.voided.pop_front();
            }
            self.voided.push_back(void.digest());
        }
        self.head = Some(Head::of(&sealed));
        self.history.push(Entry::Seal(sealed.clone()));
        Ok(if opens { Step::OpenEpoch { sealed, void_after: base } } else { Step::Extend(sealed) })
    }

    /// The entry of the same epoch that states one of the seal's slots with another digest.
    fn restates(&self, sealed: &Sealed) -> Option<Entry> {
        let contradicts = |held: &Sealed| {
            held.body().epoch == sealed.body().epoch
                && held.body().objects.iter().any(|ours| {
                    let theirs = sealed.body().objects.iter().find(|theirs| {
                        (&theirs.rendition, theirs.slot) == (&ours.rendition, ours.slot) && theirs.slot != Slot::Init
                    });
                    theirs.is_some_and(|theirs| theirs.digest != ours.digest)
                })
        };
        self.history.iter().find(|entry| entry.sealed().is_some_and(contradicts)).cloned()
    }

    /// Takes the seals that waited for the new head.
    fn drain(&mut self, outcome: &mut Outcome) {
        while let Some((base, sealed)) = self.next_waiting() {
            match self.extend(base, sealed) {
                Ok(step) => outcome.steps.push(step),
                Err(refused) => outcome.refused.push(refused),
            }
        }
        let keys: Vec<_> = self.waiting.keys().copied().collect();
        for key in keys {
            let Some(waiting) = self.waiting.get(&key) else { continue };
            let place = self.place(&waiting.sealed);
            if matches!(place, Fit::Waits) {
                continue;
            }
            let Some(Waiting { sealed, .. }) = self.waiting.remove(&key) else { continue };
            match place {
                Fit::Fork(held) => {
                    let refusal = self.fork(held, sealed.clone());
                    outcome.refused.push((sealed, refusal));
                }
                // Void before it found its place: not a fault.
                Fit::Refused(RefusalReason::Epoch, _) | Fit::Duplicate | Fit::Waits | Fit::After(_) => {}
                Fit::Refused(reason, why) => {
                    let refusal = refusal(&sealed, reason, why);
                    outcome.refused.push((sealed, refusal));
                }
            }
        }
    }

    /// A waiting seal whose place is now known; later epochs first, because they void others that might follow.
    fn next_waiting(&mut self) -> Option<(LogSequence, Sealed)> {
        let found = self.waiting.iter().rev().find_map(|(key, waiting)| match self.place(&waiting.sealed) {
            Fit::After(base) => Some((*key, base)),
            _ => None,
        });
        let (key, base) = found?;
        self.waiting.remove(&key).map(|waiting| (base, waiting.sealed))
    }

    fn wait(&mut self, sealed: Sealed, now: Now) -> Verdict {
        let key = (sealed.body().epoch, sealed.body().sequence);
        if let Some(held) = self.waiting.get(&key) {
            if held.sealed == sealed {
                return Verdict::Duplicate;
            }
            let held = Entry::Seal(held.sealed.clone());
            return Verdict::Refused(self.fork(Some(held), sealed));
        }
        if self.waiting.len() >= BUFFERED_MAX {
            match self.waiting.last_key_value() {
                // The furthest seal is the least useful, and catch-up fetches it again.
                Some((last, _)) if key < *last => drop(self.waiting.pop_last()),
                _ => return Verdict::Refused(refusal(&sealed, RefusalReason::Chain, "too many seals wait before it")),
            }
        }
        self.waiting.insert(key, Waiting { sealed, since: now.elapsed });
        Verdict::Buffered
    }

    fn fork(&mut self, held: Option<Entry>, other: Sealed) -> Refusal {
        let refusal = refusal(&other, RefusalReason::Equivocation, "it contradicts another seal about the same place");
        if let Some(held) = held {
            let known = |e: &Evidence| (e.held_digest, e.other.digest()) == (held.digest(), other.digest());
            if self.evidence.len() < EVIDENCE_MAX && !self.evidence.iter().any(known) {
                let (held, held_digest) = (held.sealed().cloned(), held.digest());
                self.evidence.push(Evidence { held, held_digest, other });
            }
        }
        refusal
    }

    /// Panics when the state contradicts itself. For tests and fuzzing.
    pub fn check_invariants(&self) {
        assert!(self.waiting.len() <= BUFFERED_MAX && self.voided.len() <= HISTORY_MAX, "bounded");
        assert!(self.evidence.len() <= EVIDENCE_MAX, "bounded");
        self.history.check_invariants();
        let newest = self.history.iter().last().map(Entry::head);
        assert_eq!(newest, self.head, "the head is the newest of the history");
        for ((epoch, sequence), waiting) in &self.waiting {
            let body = waiting.sealed.body();
            assert_eq!((body.epoch, body.sequence), (*epoch, *sequence));
            assert_eq!(body.stream, self.stream);
            assert!(matches!(self.place(&waiting.sealed), Fit::Waits), "what has its place does not wait");
        }
        assert!(
            self.voided.iter().all(|void| self.history.iter().all(|entry| entry.digest() != *void)),
            "void stays void"
        );
        assert_eq!(self.missing().is_some(), !self.waiting.is_empty());
        assert_eq!(self.next_deadline().is_some(), !self.waiting.is_empty());
    }
}

fn refusal(sealed: &Sealed, reason: RefusalReason, why: &str) -> Refusal {
    let body = sealed.body();
    Refusal::new(reason, format!("stream {}, epoch {}, seal {}: {why}", body.stream, body.epoch, body.sequence))
}

#[cfg(test)]
mod tests;
