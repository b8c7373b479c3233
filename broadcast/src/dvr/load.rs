//! Reads a recording back: verifies its seals like those of any log, and folds them again.
//!
//! The disk is not trusted. Each seal has to be of a key that was granted when it sealed, and to follow the one before. Where that fails,
//! or seals are missing, the recording goes on at the next checkpoint. Media are not read here; only their files are looked
//! for. Their bytes are checked when a viewer asks for them.
//!
//! What is void because its key was revoked is read, too: the recorder erases it with all before it ([`super::reel::Reel::take_keys`]),
//! as it does with what it has recorded itself.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use media::{Digest, Epoch, LogSequence, MediaSequence, Now, SessionId, StreamId};
use seal::limits::TAIL_MAX;
use seal::{Chain, Freshness, Input, KeyId, Keyring, Refusal, RefusalReason, Sealed, Step, Verdict};

use super::files::Files;
use super::fold::Fold;
use super::log::{self, Piece};
use super::tape::{Spans, Tape};
use super::{Missing, is_passing, settle};
use gate::{Refused, reason_of};

/// Refusals of one recording that are reported; the last of them counts the others.
const REFUSALS_MAX: usize = 8;

/// A recording to be read.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) stream: StreamId,
    pub(super) files: Files,
    /// Files of seals from this number on are not read: they are being written.
    pub(super) until: u64,
    pub(super) spans: Spans,
    pub(super) settings: playlist::Settings,
    pub(super) patience: Patience,
}

/// What to do about seals of keys that have no grant here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Leave the recording for now: the metadata log may still bring grants.
    WaitForGrants,
    /// Read it without those seals.
    GoOn,
}

/// A recording as it was found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) fold: Fold,
    pub(super) tape: Tape,
    pub(super) pieces: Vec<Piece>,
    pub(super) known: VecDeque<(LogSequence, Digest)>,
    pub(super) refused: Vec<Refused>,
}

/// Reads a recording. `None` when it has seals of a key that has no grant here, and the grant is to be waited for.
///
/// # Errors
/// When it cannot be listed, or a temporary error keeps it from being read.
pub(super) fn load(job: &Job, keyring: &Arc<Keyring>, now: Now) -> io::Result<Option<Loaded>> {
    let mut reader = Reader {
        job,
        now,
        chain: None,
        newest: None,
        lacking: None,
        loaded: Loaded {
            fold: Fold::new(job.settings),
            // Nothing is void for now.
            tape: Tape::new(job.spans, Arc::new(Keyring::new(keyring.cluster().clone()))),
            pieces: Vec::new(),
            known: VecDeque::new(),
            refused: Vec::new(),
        },
        refusals: 0,
    };
    let directory = job.files.directory();
    let numbers = log::numbers(directory)?;
    for number in numbers.into_iter().filter(|number| *number < job.until) {
        let seals = match log::read(directory, number) {
            Ok(seals) => seals,
            Err(error) if is_passing(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(stream = %job.stream, %error, "a file of a recording's seals cannot be read");
                continue;
            }
        };
        let mut piece = Piece { number, next_msn: MediaSequence(0), bytes: 0 };
        for raw in seals {
            piece.bytes += u64::try_from(raw.len()).unwrap_or(u64::MAX);
            match verify(keyring, &raw, job, now) {
                Ok(sealed) => {
                    piece.next_msn = piece.next_msn.max(sealed.body().next_msn);
                    reader.seal(sealed);
                }
                Err(unverified) if reader.is_to_wait(&unverified, &raw) => return Ok(None),
                Err(unverified) => reader.refuse(&unverified.refusal),
            }
        }
        reader.loaded.pieces.push(piece);
    }
    reader.say_refusals();
    Ok(Some(reader.loaded))
}

/// A seal that does not verify.
struct Unverified {
    refusal: Refusal,
    /// The key that it names, if a grant or a delegation for it may still come, and the digest of the seal that it says it follows.
    lacking: Option<(KeyId, Digest)>,
}

fn verify(keyring: &Keyring, raw: &Bytes, job: &Job, now: Now) -> Result<Sealed, Unverified> {
    keyring.verify(raw, &job.stream, now.wall, Freshness::Recorded).map_err(|refusal| {
        let is_unknown = |key: &KeyId| keyring.grant(key).is_none() && !keyring.is_revoked(key);
        let named = (refusal.reason == RefusalReason::Key).then(|| seal::peek(raw).ok()).flatten();
        // A key whose grant is for other streams may have sealed for a streamer.
        let lacks =
            |key: &KeyId, session: &SessionId| is_unknown(key) || keyring.lacks_delegation(key, &job.stream, session);
        let lacking = named.filter(|(key, body)| lacks(key, &body.session)).map(|(key, body)| (key, body.previous));
        Unverified { refusal, lacking }
    })
}

struct Reader<'j> {
    job: &'j Job,
    now: Now,
    /// The log since the last hole.
    chain: Option<Chain>,
    newest: Option<(Epoch, LogSequence)>,
    /// The last seal of a key that has no grant here: that key, and the seal's digest.
    lacking: Option<(KeyId, Digest)>,
    loaded: Loaded,
    refusals: u64,
}

impl Reader<'_> {
    /// Whether to wait for the grant of a seal's key: when two seals of that key follow one another. A seal that was damaged on
    /// disk may name any key, but the seal after it does not name the damaged one.
    fn is_to_wait(&mut self, unverified: &Unverified, raw: &Bytes) -> bool {
        let Some((key, previous)) = unverified.lacking else { return false };
        let before = self.lacking.replace((key, seal::digest(raw)));
        self.job.patience == Patience::WaitForGrants && before == Some((key, previous))
    }

    fn seal(&mut self, sealed: Sealed) {
        if let Some(chain) = &mut self.chain {
            let outcome = chain.apply(Input::Seal(sealed.clone()), self.now);
            match outcome.verdict {
                Verdict::Extended => return outcome.steps.into_iter().for_each(|step| self.step(step)),
                Verdict::Duplicate => return,
                Verdict::Refused(refusal) => return self.refuse(&refusal),
                // There is a hole before it.
                Verdict::Buffered | Verdict::Nothing => {}
            }
        }
        let body = sealed.body();
        let (epoch, sequence) = (body.epoch, body.sequence);
        if body.checkpoint.is_empty() || Some((epoch, sequence)) <= self.newest {
            return;
        }
        let mut chain = Chain::new(self.job.stream.clone());
        match chain.join(vec![sealed], self.now) {
            Ok(outcome) => {
                self.chain = Some(chain);
                outcome.steps.into_iter().for_each(|step| self.step(step));
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn step(&mut self, step: Step) {
        let (sealed, void_after) = match step {
            Step::Extend(sealed) => (sealed, None),
            Step::OpenEpoch { sealed, void_after } => (sealed, Some(void_after)),
        };
        let (epoch, sequence) = (sealed.body().epoch, sealed.body().sequence);
        self.newest = Some((epoch, sequence));
        let Loaded { fold, tape, known, .. } = &mut self.loaded;
        known.push_back((sequence, sealed.digest()));
        if known.len() > TAIL_MAX {
            known.pop_front();
        }
        let mut taken = fold.take(&sealed, void_after);
        // Segments that are older than any on disk have expired.
        taken.closed.retain(|closed| !tape.is_empty() || self.job.files.has(closed.segment.key()));
        // Directories of what is not kept are swept later.
        tape.follow(settle(taken, &self.job.files), Missing::IsGap, sealed.body().issued_at);
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.refusals += 1;
        if self.loaded.refused.len() < REFUSALS_MAX {
            let detail = format!("recording on disk: {}", refusal.detail);
            let (reason, stream) = (reason_of(refusal.reason), Some(self.job.stream.clone()));
            self.loaded.refused.push(Refused { reason, stream, detail });
        }
    }

    fn say_refusals(&mut self) {
        let more = self.refusals.saturating_sub(u64::try_from(REFUSALS_MAX).unwrap_or(u64::MAX));
        if let Some(last) = self.loaded.refused.last_mut().filter(|_| more > 0) {
            last.detail = format!("{}; and {more} more seals", last.detail);
        }
    }
}
