//! Fetches what is missing of a log: joins a stream that is new here, fills holes, and asks peers when nothing comes. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use media::{LogSequence, NodeId};
use messages::AlertReason;
use seal::{Freshness, Input as ChainInput, Missing, RefusalReason, Sealed};

use super::{Stream, opens_epoch};
use crate::limits::{
    BEGINNING_WAIT_MAX, EDGE_SILENCE_MAX, JOIN_ANSWERED_WAIT_MAX, JOIN_SEALS_MAX, JOIN_WAIT_MAX, PEERS_WAIT_MAX,
    PULL_ROUND_PAUSE, SEAL_LATE_AFTER, SILENCE_MAX, STUCK_MAX,
};
use crate::{Answer, Effect, GateContext, Holding, Output, Pull, PullId, reason_of};

/// A stream that is new here. Peers are asked before its first seal is trusted, because an old session verifies as well as the live one.
#[derive(Debug)]
struct Joining {
    since: Duration,
    /// The chain has no head, not even a saved one.
    is_new: bool,
    /// Seals that came meanwhile; `seals_since` is when the first of them did.
    seals: Vec<Sealed>,
    seals_since: Option<Duration>,
    asked: BTreeSet<NodeId>,
    under_way: BTreeSet<PullId>,
    tails: Vec<Vec<Sealed>>,
}

/// How the stream gets its log.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    phase: Phase,
    /// When the log last grew, or the join began.
    progress_at: Duration,
}

#[derive(Debug)]
enum Phase {
    Joining(Joining),
    Joined(Joined),
}

/// Catching up with a log that was joined.
#[derive(Debug, Default)]
struct Joined {
    under_way: Option<PullId>,
    /// Pulls so far: sources are asked in turn.
    asked: usize,
    next_ask: Duration,
    /// Since when the chain lacks seals.
    missing_since: Option<Duration>,
    /// The join found nothing, and no seal had come: peers are asked again when the first seal comes.
    is_blind: bool,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Joined(Joined::default())
    }
}

impl CatchUp {
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining(_))
    }

    pub(super) const fn progress_at(&self) -> Duration {
        self.progress_at
    }

    fn joining(&mut self) -> Option<&mut Joining> {
        match &mut self.phase {
            Phase::Joining(joining) => Some(joining),
            Phase::Joined(_) => None,
        }
    }

    fn joined(&mut self) -> Option<&mut Joined> {
        match &mut self.phase {
            Phase::Joined(joined) => Some(joined),
            Phase::Joining(_) => None,
        }
    }

    /// The log grew.
    pub(super) fn progress(&mut self, now: Duration) {
        self.progress_at = now;
    }
}

impl Joined {
    /// When a hole is given up: [`STUCK_MAX`] after it was noticed, or after the log last grew.
    fn stuck_at(&self, progress_at: Duration) -> Option<Duration> {
        self.missing_since.map(|since| since.max(progress_at) + STUCK_MAX)
    }
}

impl Joining {
    fn is_over(&self, shared: &GateContext) -> bool {
        shared.now.elapsed >= self.over_at(shared)
    }

    /// When the join ends, unless an input changes that.
    fn over_at(&self, shared: &GateContext) -> Duration {
        let end = self.since + JOIN_WAIT_MAX;
        let all_answered = match (self.under_way.is_empty(), self.asked.is_empty()) {
            (false, _) => end,
            (true, false) => self.since,
            (true, true) => self.peers_until(shared),
        };
        let answered = all_answered.min(self.answered_until().unwrap_or(end));
        answered.max(self.beginning_until().unwrap_or(answered)).min(end)
    }

    /// Until when the other peers are waited for; `None` until one has answered with verified seals.
    fn answered_until(&self) -> Option<Duration> {
        (!self.tails.is_empty()).then_some(self.since + JOIN_ANSWERED_WAIT_MAX)
    }

    /// Until when an epoch's first seal is waited for; `None` unless only later seals are here.
    fn beginning_until(&self) -> Option<Duration> {
        let begins = || self.seals.iter().any(|sealed| opens_epoch(sealed.body()));
        let is_sought = self.is_new && self.tails.is_empty() && !begins();
        self.seals_since.filter(|_| is_sought).map(|since| since + BEGINNING_WAIT_MAX)
    }

    fn peers_until(&self, shared: &GateContext) -> Duration {
        shared.started.unwrap_or(self.since) + PEERS_WAIT_MAX
    }
}

impl Stream {
    pub(super) fn start_join(&mut self, shared: &mut GateContext) {
        let since = shared.now.elapsed;
        let phase = Phase::Joining(Joining {
            since,
            is_new: self.chain.head().is_none(),
            seals: Vec::new(),
            seals_since: None,
            asked: BTreeSet::new(),
            under_way: BTreeSet::new(),
            tails: Vec::new(),
        });
        self.catch_up = CatchUp { phase, progress_at: since };
        self.ask_all(shared);
    }

    /// Asks each source that was not asked yet for its whole log.
    pub(super) fn ask_all(&mut self, shared: &mut GateContext) {
        let Some(joining) = self.catch_up.joining() else { return };
        for peer in self.holders.sources() {
            if joining.asked.insert(peer.clone()) {
                let id = shared.start_pull(Pull::Log { stream: self.id.clone(), peer: peer.clone() });
                joining.under_way.insert(id);
                let from = LogSequence(0);
                let pull = Effect::PullLog { id, peer: peer.clone(), stream: self.id.clone(), from };
                shared.outputs.push(Output::Effect(pull));
            }
        }
    }

    /// Holds a verified seal back while the stream is being joined; gives it back otherwise.
    pub(super) fn hold_back(&mut self, sealed: Sealed, shared: &mut GateContext) -> Result<Answer, Sealed> {
        if self.catch_up.joined().is_some_and(|joined| joined.is_blind) {
            self.start_join(shared);
        }
        let Some(joining) = self.catch_up.joining() else { return Err(sealed) };
        if joining.seals.contains(&sealed) {
            return Ok(Answer::Known);
        }
        if joining.seals.len() >= JOIN_SEALS_MAX {
            return Ok(Answer::Full);
        }
        joining.seals.push(sealed);
        joining.seals_since.get_or_insert(shared.now.elapsed);
        Ok(Answer::Stored)
    }

    /// `raw` is a peer's answer, oldest seal first; empty when the peer had nothing or failed.
    pub(crate) fn pulled_log(&mut self, id: PullId, peer: &NodeId, raw: &[Bytes], shared: &mut GateContext) {
        let seals = self.verify_log(peer, raw, shared);
        match &mut self.catch_up.phase {
            Phase::Joining(joining) => {
                if joining.under_way.remove(&id) && !seals.is_empty() {
                    joining.tails.push(seals);
                }
            }
            Phase::Joined(joined) if joined.under_way == Some(id) => {
                joined.under_way = None;
                let pause = self.take_log(seals, shared);
                if let Some(joined) = self.catch_up.joined() {
                    joined.next_ask = shared.now.elapsed + pause;
                }
            }
            Phase::Joined(_) => {}
        }
    }

    /// Takes a peer's answer; returns for how long no other is asked.
    fn take_log(&mut self, seals: Vec<Sealed>, shared: &mut GateContext) -> Duration {
        let before = self.chain.head().map(|head| head.digest);
        let begins_late = |seals: &[Sealed]| {
            let first = seals.first().map(|sealed| sealed.body().sequence);
            match self.chain.missing() {
                Some(Missing::Tail) => true,
                Some(Missing::Range { from, .. }) => first.is_some_and(|first| first > from),
                None => false,
            }
        };
        if begins_late(&seals) && self.join_tail(seals.clone(), shared).is_ok() {
            return Duration::ZERO;
        }
        for sealed in seals {
            self.offer(sealed, shared);
        }
        let (asked, sources) = (self.catch_up.joined().map_or(0, |joined| joined.asked), self.holders.sources().len());
        let all_asked = asked.checked_rem(sources).is_none_or(|rest| rest == 0);
        let progress = self.chain.head().map(|head| head.digest) != before;
        match self.chain.missing() {
            _ if progress || !all_asked => Duration::ZERO,
            Some(_) => PULL_ROUND_PAUSE,
            None => SILENCE_MAX,
        }
    }

    /// The seals of a peer's answer up to the first that does not verify.
    fn verify_log(&mut self, peer: &NodeId, raw: &[Bytes], shared: &mut GateContext) -> Vec<Sealed> {
        let mut seals = Vec::with_capacity(raw.len());
        for cose in raw {
            match shared.keyring.verify(cose, &self.id, shared.now.wall, Freshness::CatchUp) {
                Ok(sealed) => seals.push(sealed),
                Err(refusal) => {
                    self.refuse(reason_of(refusal.reason), format!("log of peer {peer}: {}", refusal.detail), shared);
                    break;
                }
            }
        }
        seals
    }

    /// Starts again at the first checkpoint of the tail, if the tail leads past what was seen here.
    pub(super) fn join_tail(&mut self, mut tail: Vec<Sealed>, shared: &mut GateContext) -> Result<(), seal::Refusal> {
        let first = tail.iter().position(|sealed| !sealed.body().checkpoint.is_empty());
        tail.drain(..first.unwrap_or(tail.len()));
        let outcome = self.chain.join(tail, shared.now)?;
        self.start_log(outcome, shared);
        Ok(())
    }

    fn end_join(&mut self, shared: &mut GateContext) {
        let Phase::Joining(mut joining) = std::mem::take(&mut self.catch_up.phase) else { return };
        for id in &joining.under_way {
            shared.pulls.remove(id);
        }
        let end = |tail: &Vec<Sealed>| tail.last().map(|last| (last.body().epoch, last.body().sequence));
        joining.tails.sort_by_key(end);
        while let Some(tail) = joining.tails.pop() {
            match self.join_tail(tail, shared) {
                Ok(()) => break,
                // A peer that is a little behind is not at fault.
                Err(refusal) if refusal.reason == RefusalReason::Chain => {}
                Err(refusal) => self.refuse(reason_of(refusal.reason), refusal.detail, shared),
            }
        }
        if self.chain.head().is_none() {
            // No peer knows the log: begin with the newest session that came.
            let newest = joining.seals.iter().map(|sealed| sealed.body().epoch).max();
            joining.seals.sort_by_key(|sealed| (Some(sealed.body().epoch) != newest, sealed.body().sequence));
        }
        let is_blind = self.is_bare() && joining.seals.is_empty();
        self.catch_up.phase = Phase::Joined(Joined { is_blind, ..Joined::default() });
        for sealed in joining.seals {
            self.offer(sealed, shared);
        }
    }

    /// Ends the join when it is over, and asks a peer for missing seals when it is time.
    pub(super) fn catch_up(&mut self, shared: &mut GateContext) {
        let now = shared.now.elapsed;
        if self.catch_up.joining().is_some_and(|joining| joining.is_over(shared)) {
            self.end_join(shared);
        }
        let (is_missing, progress_at) = (self.chain.missing().is_some(), self.catch_up.progress_at);
        let Some(joined) = self.catch_up.joined() else { return };
        joined.missing_since = is_missing.then(|| joined.missing_since.unwrap_or(now));
        if joined.stuck_at(progress_at).is_some_and(|at| at <= now) {
            joined.missing_since = Some(now);
            self.skip_hole(shared);
        }
        self.ask(shared);
    }

    /// Asks the next source for the log from where seals are missing, if it is time.
    fn ask(&mut self, shared: &mut GateContext) {
        let Phase::Joined(joined) = &self.catch_up.phase else { return };
        if self.ask_at(joined, shared).is_none_or(|at| at > shared.now.elapsed) {
            return;
        }
        let from = match self.chain.missing() {
            Some(Missing::Range { from, .. }) => from,
            Some(Missing::Tail) => LogSequence(0),
            None => self.chain.head().map_or(LogSequence(0), |head| head.sequence.next()),
        };
        let Phase::Joined(joined) = &mut self.catch_up.phase else { return };
        let sources = self.holders.sources();
        let Some(peer) = sources.get(joined.asked % sources.len().max(1)).cloned() else { return };
        joined.asked += 1;
        let id = shared.start_pull(Pull::Log { stream: self.id.clone(), peer: peer.clone() });
        joined.under_way = Some(id);
        let pull = Effect::PullLog { id, peer, stream: self.id.clone(), from };
        shared.outputs.push(Output::Effect(pull));
    }

    /// When to ask a peer for the log; `None` when there is no reason to ask, or no peer.
    fn ask_at(&self, joined: &Joined, shared: &GateContext) -> Option<Duration> {
        if shared.peers.is_empty() || joined.under_way.is_some() {
            return None;
        }
        let hole = joined.missing_since.map(|since| since + SEAL_LATE_AFTER);
        let is_live = self.chain.head().is_some_and(|head| head.kind == seal::SealKind::Media);
        let silence_max = match self.holders.here() {
            Holding::Owner => SILENCE_MAX,
            Holding::Edge => EDGE_SILENCE_MAX,
        };
        let silence = is_live.then_some(self.catch_up.progress_at + silence_max);
        hole.into_iter().chain(silence).min().map(|at| at.max(joined.next_ask))
    }

    /// Gives up a hole that nobody can fill: the log continues at the first checkpoint after it.
    fn skip_hole(&mut self, shared: &mut GateContext) {
        let given_up = self.chain.apply(ChainInput::GiveUp, shared.now).refused;
        let mut waiting: Vec<Sealed> = given_up.iter().map(|(sealed, _)| sealed.clone()).collect();
        waiting.sort_by_key(|sealed| (sealed.body().epoch, sealed.body().sequence));
        let start = waiting.iter().position(|sealed| !sealed.body().checkpoint.is_empty());
        let Some(start) = start else {
            for (_, refusal) in given_up {
                self.refuse(reason_of(refusal.reason), refusal.detail, shared);
            }
            return;
        };
        let rest = waiting.split_off(start);
        let mut rest = rest.into_iter();
        let Some(first) = rest.next() else { return };
        let place = first.body().sequence;
        match self.join_tail(vec![first], shared) {
            Ok(()) => {
                let detail = format!("stream {}: no peer has the seals before {place}: the log goes on there", self.id);
                self.refuse(AlertReason::Chain, detail, shared);
            }
            Err(refusal) => self.refuse(reason_of(refusal.reason), refusal.detail, shared),
        }
        for sealed in rest {
            self.offer(sealed, shared);
        }
    }

    pub(super) fn catch_up_deadline(&self, shared: &GateContext) -> Option<Duration> {
        match &self.catch_up.phase {
            Phase::Joining(joining) => Some(joining.over_at(shared)),
            Phase::Joined(joined) => {
                let stuck = joined.stuck_at(self.catch_up.progress_at);
                self.ask_at(joined, shared).into_iter().chain(stuck).chain(self.chain.next_deadline()).min()
            }
        }
    }
}
