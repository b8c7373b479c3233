//! Decides whether this ingest seals a stream: of several ingests one does, and the others stand by with the same media. Pure.
//!
//! The log decides, not a vote: nodes take the newest epoch and refuse all older ones. This core only keeps ingests from taking a
//! stream from each other without need. An ingest that finds another at work stands by. Its turn comes when the other one has ended,
//! is gone, or brings no more media to the nodes.

use std::time::Duration;

use media::{Epoch, LogSequence, NodeId, UnixMillis};
use messages::{SessionInfo, SessionState};
use seal::KeyId;

/// Another ingest loses its turn when its log has brought no media to any node for this long. Players have 1.5 s buffered, and a part
/// comes every 0.5 s.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// How long we wait for an ingest that is gone or has lost its publisher. By then the nodes have its last seals, which come before
/// ours in the log.
const SETTLE: Duration = Duration::from_secs(1);
/// An ingest that has not looked for this long was asleep, and cannot tell what happened meanwhile.
const ASLEEP: Duration = Duration::from_secs(1);

/// What an ingest does with the media of its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Seals it.
    Active,
    /// Keeps the newest of it ready.
    Standby,
}

impl Duty {
    /// As `/status` shows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
        }
    }
}

/// The newest session of another ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Other {
    ingest: NodeId,
    epoch: Epoch,
    /// Since when it has no publisher. Meanwhile it seals a slate or gaps.
    away_since: Option<Duration>,
    /// When its process was started: a process that has taken its place since has another time.
    process: Option<UnixMillis>,
    heard_at: Duration,
}

/// The turn of this ingest at one stream. Times are readings of one monotonic clock.
#[derive(Debug)]
pub(crate) struct Turn {
    me: NodeId,
    duty: Duty,
    ours: Option<Epoch>,
    other: Option<Other>,
    newest: Option<(Epoch, LogSequence)>,
    /// When the nodes last had new media of another ingest; before any, when we began to stand by.
    media_at: Duration,
    /// It is our turn, and no epoch of ours has begun yet.
    is_pending: bool,
    /// Our key, if it counts.
    key: Option<KeyId>,
    /// We stand by only because our key did not count, and go on as soon as another does.
    goes_on: bool,
    looked_at: Option<Duration>,
}

impl Turn {
    /// A stream of which nothing is known.
    pub(crate) const fn new(me: NodeId) -> Self {
        Self {
            me,
            duty: Duty::Active,
            ours: None,
            other: None,
            newest: None,
            media_at: Duration::ZERO,
            is_pending: false,
            key: None,
            goes_on: false,
            looked_at: None,
        }
    }

    pub(crate) const fn duty(&self) -> Duty {
        self.duty
    }

    /// Our key counts, or does not any more (`None`), or we have another. Without one this ingest stands by; with another it goes on where
    /// nodes have its log, if no other ingest has.
    pub(crate) fn keyed(&mut self, key: Option<KeyId>, now: Duration) {
        let is_lost = self.key.is_some() && self.key != key;
        self.key = key;
        if is_lost && self.duty == Duty::Active {
            self.stand_by(now);
            self.goes_on = true;
        }
    }

    /// We have opened an epoch.
    pub(crate) fn opened(&mut self, epoch: Epoch) {
        (self.ours, self.is_pending) = (Some(epoch), false);
    }

    /// Whether the nodes have to be asked how far another ingest's log has come.
    pub(crate) fn is_watching(&self) -> bool {
        self.duty == Duty::Standby || self.is_pending
    }

    /// Takes a session message from the bus. `process` is when its ingest was started, if known.
    pub(crate) fn heard(&mut self, session: &SessionInfo, process: Option<UnixMillis>, now: Duration) {
        if session.ingest == self.me || self.other.as_ref().is_some_and(|other| session.epoch < other.epoch) {
            return;
        }
        let SessionInfo { ingest, epoch, state, .. } = session;
        let before = self.other.as_ref().filter(|other| other.ingest == *ingest).and_then(|other| other.away_since);
        let away_since = (*state != SessionState::Live).then(|| before.unwrap_or(now));
        let other = Other { ingest: ingest.clone(), epoch: *epoch, away_since, process, heard_at: now };
        let is_newer = self.ours.is_none_or(|ours| ours < other.epoch);
        self.goes_on &= away_since.is_some() || !is_newer;
        if away_since.is_none() && is_newer && self.duty == Duty::Active {
            self.stand_by(now);
        }
        self.other = Some(other);
    }

    /// A node has refused our seal: another ingest continues the log.
    pub(crate) fn superseded(&mut self, now: Duration) {
        if self.duty == Duty::Active {
            self.stand_by(now);
        }
    }

    const fn stand_by(&mut self, now: Duration) {
        (self.duty, self.media_at, self.is_pending) = (Duty::Standby, now, false);
    }

    /// The nodes' log has come to `place`, with media or with a gap.
    pub(crate) fn advanced(&mut self, place: (Epoch, LogSequence), has_media: bool, now: Duration) {
        if self.newest.is_none_or(|newest| newest < place) {
            self.newest = Some(place);
            if has_media {
                self.media_at = now;
                let is_slate = self.other.as_ref().is_some_and(|other| other.away_since.is_some());
                if self.is_pending && !is_slate {
                    self.stand_by(now);
                }
            }
        }
    }

    /// Decides whether it is our turn by now; `true` when the duty has changed. `process` tells when an ingest was started, or `None`
    /// if it is not there.
    pub(crate) fn decide(&mut self, process: impl Fn(&NodeId) -> Option<UnixMillis>, now: Duration) -> bool {
        let asleep = self.looked_at.replace(now).map_or(Duration::ZERO, |before| now.saturating_sub(before));
        if asleep >= ASLEEP {
            self.media_at = self.media_at.saturating_add(asleep);
            let away_since = self.other.as_mut().and_then(|other| other.away_since.as_mut());
            away_since.into_iter().for_each(|since| *since = since.saturating_add(asleep));
        }
        if self.duty == Duty::Active || self.key.is_none() {
            return false;
        }
        if std::mem::take(&mut self.goes_on) {
            (self.duty, self.is_pending) = (Duty::Active, true);
            return true;
        }
        let is_at_work = self.other.as_mut().is_none_or(|other| {
            let process = process(&other.ingest);
            other.process = other.process.or(process);
            other.away_since.is_none() && process.is_some() && other.process == process
        });
        let last_sign = match &self.other {
            None => self.media_at,
            Some(Other { away_since: None, heard_at, .. }) => self.media_at.max(*heard_at),
            // Wait for the media that was on its way then, and not for the slate that follows.
            Some(Other { away_since: Some(since), .. }) => self.media_at.clamp(*since, since.saturating_add(SETTLE)),
        };
        let silent = now.saturating_sub(self.media_at) >= SILENCE_MAX;
        let settled = now.saturating_sub(last_sign) >= SETTLE;
        if !silent && (is_at_work || !settled) {
            return false;
        }
        (self.duty, self.is_pending) = (Duty::Active, true);
        true
    }
}

#[cfg(test)]
mod tests {
    use media::SessionId;

    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn session(ingest: &str, epoch: u64, state: SessionState) -> SessionInfo {
        SessionInfo {
            stream: "demo".parse().unwrap(),
            epoch: Epoch(epoch),
            session: SessionId([1; 16]),
            ingest: id(ingest),
            state,
            started_at: UnixMillis(0),
            ladder: Vec::new(),
            owners: Vec::new(),
            replicas: 0,
        }
    }

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn place(epoch: u64, sequence: u64) -> (Epoch, LogSequence) {
        (Epoch(epoch), LogSequence(sequence))
    }

    #[test]
    fn ingest_whose_key_is_replaced_goes_on_at_once_and_not_where_another_has() {
        let mut turn = Turn::new(id("i1"));
        let key = |n| Some(KeyId([n; 16]));
        turn.keyed(key(1), at(0));
        turn.opened(Epoch(4));
        turn.keyed(None, at(0));
        assert_eq!(turn.duty(), Duty::Standby);
        assert!(!turn.decide(there, at(60_000)), "however long it takes");
        turn.keyed(key(2), at(60_100));
        assert!(turn.decide(there, at(60_100)) && turn.duty() == Duty::Active);
        // Both at once.
        turn.keyed(key(3), at(60_200));
        assert!(turn.duty() == Duty::Standby && turn.decide(there, at(60_200)));

        turn.keyed(None, at(61_000));
        turn.heard(&session("i2", 5, SessionState::Live), Some(UnixMillis(1)), at(62_000));
        turn.keyed(key(4), at(62_100));
        turn.advanced(place(5, 90), true, at(62_100));
        assert!(!turn.decide(there, at(62_200)) && turn.duty() == Duty::Standby);
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is asked of the bus")]
    const fn there(_: &NodeId) -> Option<UnixMillis> {
        Some(UnixMillis(1))
    }

    const fn gone(_: &NodeId) -> Option<UnixMillis> {
        None
    }

    /// Stands by for `i1`, which has epoch 4.
    fn standing_by() -> Turn {
        let mut turn = Turn::new(id("i2"));
        turn.keyed(Some(KeyId([2; 16])), at(0));
        turn.keyed(Some(KeyId([2; 16])), at(0));
        turn.heard(&session("i1", 4, SessionState::Live), None, at(0));
        assert_eq!(turn.duty(), Duty::Standby);
        turn
    }

    /// Decides every 250 ms and returns when it became our turn, in milliseconds.
    fn looks(turn: &mut Turn, process: fn(&NodeId) -> Option<UnixMillis>, (from, to): (u64, u64)) -> Option<u64> {
        (from..=to).step_by(250).find(|ms| turn.decide(process, at(*ms)))
    }

    #[test]
    fn ingest_stands_by_while_another_brings_media_and_takes_its_turn_when_that_stops() {
        let mut turn = standing_by();
        for second in 0..60 {
            turn.advanced(place(4, second), true, at(second * 1_000));
            assert_eq!(looks(&mut turn, there, (second * 1_000, second * 1_000 + 750)), None);
        }
        turn.advanced(place(4, 60), false, at(60_000));
        assert_eq!(looks(&mut turn, there, (60_000, 70_000)), Some(61_500), "gaps are no media");
        assert_eq!(turn.duty(), Duty::Active);
        assert_eq!(looks(&mut turn, there, (61_750, 70_000)), None, "said once");
    }

    #[test]
    fn ingest_takes_its_turn_soon_when_the_other_is_gone_or_has_lost_its_publisher() {
        assert_eq!(looks(&mut standing_by(), gone, (0, 5_000)), Some(1_000));
        let mut turn = standing_by();
        assert_eq!(looks(&mut turn, there, (0, 500)), None);
        let another = |_: &NodeId| Some(UnixMillis(2));
        assert_eq!(looks(&mut turn, another, (750, 5_000)), Some(1_000), "another process has its name");
        for state in [SessionState::Reconnecting, SessionState::Ended] {
            let mut turn = standing_by();
            turn.heard(&session("i1", 4, state), None, at(1_000));
            turn.advanced(place(4, 9), true, at(1_250));
            assert_eq!(looks(&mut turn, there, (1_250, 5_000)), Some(2_250), "once what it said last has come");
        }
    }

    #[test]
    fn slate_of_another_is_no_media_to_stand_by_for() {
        let mut turn = standing_by();
        let reconnecting = |epoch| session("i1", epoch, SessionState::Reconnecting);
        turn.heard(&reconnecting(4), None, at(1_000));
        turn.advanced(place(4, 9), true, at(1_250));
        // The slate opens an epoch of its own before we look.
        turn.heard(&reconnecting(5), None, at(2_000));
        turn.advanced(place(5, 10), true, at(2_200));
        assert_eq!(turn.duty(), Duty::Standby);
        assert_eq!(looks(&mut turn, there, (2_250, 9_000)), Some(3_000), "at most two seconds after it was left");
        for second in 3..30 {
            turn.advanced(place(5, 10 + second), true, at(second * 1_000));
            turn.heard(&reconnecting(5), None, at(second * 1_000 + 100));
            assert_eq!(looks(&mut turn, there, (second * 1_000 + 250, second * 1_000 + 750)), None);
            assert_eq!(turn.duty(), Duty::Active, "it stays our turn");
        }
        turn.heard(&session("i1", 6, SessionState::Live), None, at(30_000));
        assert_eq!(turn.duty(), Duty::Standby, "somebody publishes there again");
        assert_eq!(looks(&mut turn, there, (30_000, 31_000)), None);
        turn.heard(&session("i1", 6, SessionState::Reconnecting), None, at(31_000));
        assert_eq!(looks(&mut turn, there, (31_250, 39_000)), Some(32_000), "away anew");
    }

    #[test]
    fn ingest_that_slept_does_not_take_its_own_sleep_for_silence() {
        let mut turn = standing_by();
        assert_eq!(looks(&mut turn, there, (0, 1_000)), None);
        assert_eq!(looks(&mut turn, there, (60_000, 61_250)), None, "it has not looked yet");
        turn.advanced(place(4, 9), true, at(61_500));
        assert_eq!(looks(&mut turn, there, (61_500, 63_500)), None);
    }

    #[test]
    fn ingest_whose_turn_it_was_gives_it_back_while_it_has_not_begun() {
        let mut turn = standing_by();
        assert_eq!(looks(&mut turn, there, (0, 5_000)), Some(2_500));
        assert!(turn.is_watching());
        turn.advanced(place(4, 9), true, at(2_600));
        assert_eq!(turn.duty(), Duty::Standby, "it only paused");
        assert_eq!(looks(&mut turn, there, (2_750, 9_000)), Some(5_250));
        turn.opened(Epoch(5));
        turn.advanced(place(4, 10), true, at(5_300));
        assert_eq!(turn.duty(), Duty::Active, "nodes refuse that now");
    }

    #[test]
    fn newer_epoch_of_another_takes_the_turn_and_an_older_one_does_not() {
        let mut turn = Turn::new(id("i2"));
        turn.keyed(Some(KeyId([2; 16])), at(0));
        turn.keyed(Some(KeyId([2; 16])), at(0));
        turn.heard(&session("i2", 9, SessionState::Live), None, at(0));
        turn.opened(Epoch(5));
        turn.heard(&session("i1", 4, SessionState::Live), None, at(0));
        assert_eq!(turn.duty(), Duty::Active, "the one from before comes back");
        turn.heard(&session("i1", 6, SessionState::Ended), None, at(0));
        assert_eq!(turn.duty(), Duty::Active, "that is over already");
        turn.heard(&session("i1", 8, SessionState::Live), None, at(0));
        assert_eq!(turn.duty(), Duty::Standby);
        turn.heard(&session("i1", 6, SessionState::Ended), None, at(1));
        assert_eq!(looks(&mut turn, there, (0, 2_250)), None, "late news of an older one");
    }

    #[test]
    fn ingest_that_a_node_refused_stands_by_though_it_has_not_heard_for_whom() {
        let mut turn = Turn::new(id("i2"));
        turn.keyed(Some(KeyId([2; 16])), at(0));
        turn.superseded(at(1_000));
        assert_eq!(looks(&mut turn, gone, (1_000, 9_000)), Some(3_500), "nobody brings media");
    }
}
