//! Starts in the middle of a log: a chain takes over the tail of a peer's log. Pure.

use media::{LogSequence, Now};

use super::{Chain, Input, Outcome, Step, Verdict, refusal};
use crate::limits::TAIL_MAX;
use crate::{Head, Refusal, RefusalReason, Sealed};

use super::history::Entry;

impl Chain {
    /// Takes over a log from its tail: one or more verified seals in log order, without holes, the first of which is a checkpoint.
    ///
    /// The steps give the whole tail, the first seal as [`Step::Extend`]; the fold starts over with them. A chain that already has a head
    /// takes only a tail that leads to it or past it, so it never joins an old log, however that was signed. An error changes nothing.
    ///
    /// Refuses with `Identity` another stream's tail; with `Chain` a tail that is empty, too long, has holes, does not begin with a
    /// checkpoint or ends before the head; with `Epoch` a tail that ends in an older epoch than the head's; with `Equivocation` a tail
    /// with a different seal at the head's place.
    pub fn join(&mut self, tail: Vec<Sealed>, now: Now) -> Result<Outcome, Refusal> {
        let mut tail = tail.into_iter();
        let Some(first) = tail.next().filter(|_| tail.len() < TAIL_MAX) else {
            return Err(Refusal::new(RefusalReason::Chain, format!("a tail has 1 to {TAIL_MAX} seals")));
        };
        if first.body().stream != self.stream {
            return Err(refusal(&first, RefusalReason::Identity, "of another stream than this chain's"));
        }
        if first.body().checkpoint.is_empty() {
            return Err(refusal(&first, RefusalReason::Chain, "a log is joined at a checkpoint"));
        }
        let mut fresh = Self::new(self.stream.clone());
        fresh.head = Some(Head::of(&first));
        fresh.history.push(Entry::Seal(first.clone()));
        let mut passed = self.head.is_none() || self.passes(&first, first.body().sequence)?;
        let begins = first.body().sequence;
        let mut steps = vec![Step::Extend(first)];
        for sealed in tail {
            passed = passed || self.passes(&sealed, begins)?;
            let outcome = fresh.apply(Input::Seal(sealed.clone()), now);
            match outcome.verdict {
                Verdict::Extended => steps.extend(outcome.steps),
                Verdict::Duplicate => {}
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::Buffered | Verdict::Nothing => {
                    return Err(refusal(&sealed, RefusalReason::Chain, "a hole in the tail before it"));
                }
            }
        }
        self.reaches_past_head(&fresh, passed)?;
        self.head = fresh.head;
        self.history = fresh.history;
        let mut outcome = Outcome { verdict: Verdict::Extended, steps, refused: Vec::new() };
        self.drain(&mut outcome);
        Ok(outcome)
    }

    /// Whether this is the seal at the head, or can only be one after it.
    fn passes(&self, sealed: &Sealed, begins: LogSequence) -> Result<bool, Refusal> {
        let Some(head) = &self.head else { return Ok(true) };
        let body = sealed.body();
        if sealed.digest() == head.digest || body.epoch > head.epoch {
            return Ok(true);
        }
        // The tail is past the head without having met it: right only when it begins after the head.
        let past = body.epoch == head.epoch && body.sequence >= head.sequence;
        if past && begins <= head.sequence {
            return Err(refusal(sealed, RefusalReason::Equivocation, "another seal than the one at the head"));
        }
        Ok(past)
    }

    fn reaches_past_head(&self, fresh: &Self, passed: bool) -> Result<(), Refusal> {
        let (Some(head), Some(newest)) = (&self.head, &fresh.head) else { return Ok(()) };
        if newest.epoch < head.epoch {
            let detail = format!("stream {}: log ends in epoch {}, {} was seen", self.stream, newest.epoch, head.epoch);
            return Err(Refusal::new(RefusalReason::Epoch, detail));
        }
        if passed {
            return Ok(());
        }
        let detail =
            format!("stream {}: log ends at seal {}, {} was seen", self.stream, newest.sequence, head.sequence);
        Err(Refusal::new(RefusalReason::Chain, detail))
    }
}
