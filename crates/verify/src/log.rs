//! The seal log in a verifier: which seals count, and what they list. Pure.

use std::time::Duration;

use bytes::Bytes;
use media::{Digest, Epoch, LogSequence, MediaSequence, Now, UnixMillis};
use seal::{Chain, Input, KeyId, Missing, Refusal, RefusalReason, SealBody, Sealed, Step, Verdict};

use crate::Verifier;

/// Most seals of one answer; a node sends at most 4 MiB.
const SEALS_MAX: usize = 2_048;

/// The newest seal of the log here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its place in the log.
    pub sequence: LogSequence,
    /// Its digest.
    pub digest: Digest,
    /// The key that signed it.
    pub key: KeyId,
    /// When the ingest signed it, by its own clock.
    pub issued_at: UnixMillis,
    /// Segments below this one are complete.
    pub(crate) next_msn: MediaSequence,
    /// When its epoch opened, as the caller measures time.
    pub(crate) opened_at: Duration,
    /// Oldest seal here, and the digest of the one before. `None` when what seals list was forgotten: no older piece leads on to the rest.
    pub(crate) oldest: Option<(LogSequence, Digest)>,
}

/// A seal whose signature is not checked yet.
struct Claimed {
    raw: Bytes,
    key: KeyId,
    body: SealBody,
    digest: Digest,
}

fn refuse<T>(reason: RefusalReason, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

/// Cuts an answer into its seals.
///
/// Refuses with `Malformed` what is none, and with `Chain` seals that do not follow one another.
fn claimed(sequence: &Bytes) -> Result<Vec<Claimed>, Refusal> {
    let mut seals: Vec<Claimed> = Vec::new();
    for raw in seal::sequence::split(sequence).take(SEALS_MAX) {
        let raw = raw?;
        let (key, body) = seal::peek(&raw)?;
        if seals.last().is_some_and(|before| before.digest != body.previous) {
            return refuse(RefusalReason::Chain, format!("seal {} does not name the one before it", body.sequence));
        }
        let digest = seal::digest(&raw);
        seals.push(Claimed { raw, key, body, digest });
    }
    Ok(seals)
}

impl Verifier {
    /// Where to ask for seals from.
    pub(crate) fn next(&self) -> Option<LogSequence> {
        let head = self.chain.head()?;
        match self.chain.missing() {
            // An epoch began further back than the log here ends.
            Some(Missing::Range { from, .. }) => Some(from),
            Some(Missing::Tail) => None,
            None => Some(head.sequence.next()),
        }
    }

    pub(crate) fn take_log(&mut self, sequence: &Bytes, now: Duration) -> Result<(), Refusal> {
        let mut seals = claimed(sequence)?;
        // A seal counts by a later one that names it; those after the last that counts by itself do not.
        let counts = |seal: &Claimed| self.counts(seal.key, seal.body.session, seal.body.issued_at);
        let last = seals.iter().rposition(|seal| counts(seal).is_ok());
        let rest = seals.split_off(last.map_or(0, |last| last.saturating_add(1)));
        let doubt = rest.first().map_or(Ok(()), counts);
        let head = self.chain.head().map(|head| head.sequence);
        let follows = |first: &Claimed| head.is_some_and(|head| first.body.sequence <= head.next());
        match seals.first() {
            None => {}
            Some(first) if follows(first) && self.next().is_some() => self.extend(&seals, now)?,
            Some(_) => self.join(&seals, now)?,
        }
        doubt
    }

    fn verified(&self, seal: &Claimed) -> Result<Sealed, Refusal> {
        let key = &self.key(seal.key)?.key;
        let roots = self.roots.as_ref().ok_or_else(|| Refusal::new(RefusalReason::Key, "no root statement"))?;
        seal::verify_seal(&seal.raw, &key.public_key, roots.cluster(), &self.stream)
    }

    fn extend(&mut self, seals: &[Claimed], now: Duration) -> Result<(), Refusal> {
        let head = self.chain.head().map(|head| (head.sequence, head.digest));
        // What was here before needs no second look.
        let known = head
            .and_then(|(at, digest)| seals.iter().position(|seal| (seal.body.sequence, seal.digest) == (at, digest)));
        for seal in seals.iter().skip(known.map_or(0, |known| known.saturating_add(1))) {
            let sealed = self.verified(seal)?;
            let outcome = self.chain.apply(Input::Seal(sealed), at(now));
            for step in &outcome.steps {
                self.list(step, now);
            }
            if let Verdict::Refused(refusal) = outcome.verdict {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Begins with a log, or goes on with one that has moved on too far. What seals before the hole list is forgotten, because nothing here
    /// says what those in it list: objects of both are from before the log.
    fn join(&mut self, seals: &[Claimed], now: Duration) -> Result<(), Refusal> {
        let tail = seals.iter().skip_while(|seal| seal.body.checkpoint.is_empty());
        let tail = tail.map(|seal| self.verified(seal)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = tail.first() else { return Ok(()) };
        let oldest = (first.body().sequence, first.body().previous);
        let outcome = self.chain.join(tail, at(now))?;
        self.objects.begin();
        if let Some(place) = &mut self.place {
            place.oldest = Some(oldest);
        }
        for step in &outcome.steps {
            self.list(step, now);
        }
        Ok(())
    }

    /// Takes the part of the log before the oldest seal here, up to that seal or past it. The seal vouches for it by its digest, so no
    /// signature is checked again.
    ///
    /// Refuses with `Malformed` what is no log, and with `Chain` one that does not lead to the seal.
    pub fn take_past(&mut self, sequence: &Bytes, now: Duration) -> Result<(), Refusal> {
        let mut seals = claimed(sequence)?;
        let Some((oldest, previous)) = self.place.as_ref().and_then(|place| place.oldest) else { return Ok(()) };
        seals.retain(|seal| seal.body.sequence < oldest);
        let Some(last) = seals.last() else { return Ok(()) };
        if last.digest != previous {
            return refuse(RefusalReason::Chain, format!("the log before seal {oldest} is another one"));
        }
        for seal in &seals {
            self.seals = self.seals.saturating_add(1);
            self.objects.list(&seal.body, seal.body.sequence);
        }
        if let (Some(place), Some(first)) = (&mut self.place, seals.first()) {
            place.oldest = Some((first.body.sequence, first.body.previous));
        }
        self.settle(now);
        Ok(())
    }

    fn list(&mut self, step: &Step, now: Duration) {
        if let Step::OpenEpoch { void_after, .. } = step {
            self.objects.void(*void_after);
        }
        let sealed = step.sealed();
        let body = sealed.body();
        self.seals = self.seals.saturating_add(1);
        self.objects.list(body, body.sequence);
        let has_forgotten = self.objects.forget(body.sequence);
        let before = self.place.as_ref();
        let oldest = before.map_or(Some((body.sequence, body.previous)), |place| place.oldest);
        let opened_at = before.filter(|place| place.epoch == body.epoch).map_or(now, |place| place.opened_at);
        self.place = Some(Place {
            epoch: body.epoch,
            sequence: body.sequence,
            digest: sealed.digest(),
            key: sealed.key(),
            issued_at: body.issued_at,
            next_msn: body.next_msn,
            opened_at,
            oldest: oldest.filter(|_| !has_forgotten),
        });
    }

    /// The chain, for tests.
    #[doc(hidden)]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// The chain judges only how long seals wait, so the wall clock does not matter to it.
const fn at(now: Duration) -> Now {
    Now { elapsed: now, wall: UnixMillis(0) }
}
