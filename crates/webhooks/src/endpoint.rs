//! Which event goes to an endpoint when. Pure: [`Endpoint::apply`] takes inputs with `now`, and says what to send.
//!
//! - An endpoint gets the events of a subject in order, one at a time. One that failed holds the later ones of its subject for
//!   [`ORDER_HOLD`]; then they go, and it goes on trying. Each delivery says which sequence is the newest, so whoever keeps the highest one is
//!   right at the end.
//! - Subjects do not wait for each other, up to [`IN_FLIGHT_MAX`] deliveries at once; endpoints have nothing in common.
//! - An endpoint that delivers nothing from a delivery's first failure to its last is disabled, and so is one that answers 410.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::Now;

use crate::retry::{RETRY_AFTER_MAX, pause};

/// How long a delivery that failed holds the later ones of its subject.
pub const ORDER_HOLD: Duration = Duration::from_secs(60);
/// Deliveries to one endpoint at once.
pub const IN_FLIGHT_MAX: usize = 4;
/// Events that may wait for one endpoint. Beyond that, the oldest are dropped, and counted.
pub const QUEUE_MAX: usize = 10_000;

/// An event as an endpoint's queue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the outbox; rises with time.
    pub position: u64,
    /// What it is about.
    pub subject: String,
    /// Rises by one with each event of the subject.
    pub sequence: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// Anything else: no answer, another status, a redirect. With what the receiver wrote into `Retry-After`.
    Failed { retry_after: Option<Duration> },
    /// 410: the receiver wants no more.
    Gone,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Attempts so far.
    pub attempts: u32,
    /// When the next one is due, on the clock of `now`.
    pub due_at: Duration,
    /// When it failed first.
    pub first_failed_at: Option<Duration>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Occurred(Event),
    /// An event that another process has tried to deliver, or that waited there.
    Resumed(Event, Progress),
    /// An attempt has ended. `random` is any number, for the jitter of the next.
    Answered {
        position: u64,
        outcome: Outcome,
        random: u64,
    },
    /// An attempt was not made: the event is forgotten, or nobody waits for it any more.
    Withdrawn {
        position: u64,
    },
    /// Time has passed.
    Tick,
    /// The tenant wants a disabled endpoint back.
    Enable,
}

/// A delivery to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub position: u64,
    /// Counted from 1.
    pub attempt: u32,
    /// The newest sequence of the subject: `data.current.sequence`.
    pub current_sequence: u64,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send it, and say how that ended. Its id stays the same with each attempt.
    Send(Delivery),
    /// It has failed for a day, or the endpoint is disabled; a replay can bring it back.
    GaveUp { position: u64 },
    /// Too many wait.
    Dropped { position: u64 },
    /// The endpoint gets nothing more; tell its tenant.
    Disabled,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    attempts: u32,
    due_at: Duration,
    first_failed_at: Option<Duration>,
    is_in_flight: bool,
}

impl Waiting {
    const fn new(event: Event, progress: Progress) -> Self {
        let Progress { attempts, due_at, first_failed_at } = progress;
        Self { event, attempts, due_at, first_failed_at, is_in_flight: false }
    }
}

#[derive(Debug, Default)]
struct Subject {
    newest_sequence: u64,
    /// Positions, in order; not empty.
    queue: BTreeSet<u64>,
}

/// The queue of one endpoint.
#[derive(Debug, Default)]
pub struct Endpoint {
    waiting: BTreeMap<u64, Waiting>,
    subjects: BTreeMap<String, Subject>,
    in_flight: usize,
    /// The receiver asked for quiet until then.
    quiet_until: Duration,
    /// The first failure after the last success.
    failing_since: Option<Duration>,
    is_disabled: bool,
}

impl Endpoint {
    /// An endpoint that has got nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An endpoint that another process knew, and to which nothing could be delivered since then.
    pub fn failing_for(since: Option<Duration>) -> Self {
        Self { failing_since: since, ..Self::default() }
    }

    /// How far a delivery is that waits; `None` for one that does not.
    pub fn progress(&self, position: u64) -> Option<Progress> {
        let waiting = self.waiting.get(&position)?;
        let Waiting { attempts, due_at, first_failed_at, .. } = *waiting;
        Some(Progress { attempts, due_at, first_failed_at })
    }

    /// Whether it gets nothing more.
    pub const fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    /// Since when, on the monotonic clock, nothing has been delivered although it was tried.
    pub const fn failing_since(&self) -> Option<Duration> {
        self.failing_since
    }

    /// Events that wait, those in flight included.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes an input, and says what to do now.
    pub fn apply(&mut self, input: Input, now: Now) -> Vec<Output> {
        let now = now.elapsed;
        let mut outputs = Vec::new();
        match input {
            Input::Occurred(event) => {
                let progress = Progress { due_at: now, ..Progress::default() };
                self.occurred(Waiting::new(event, progress), &mut outputs);
            }
            Input::Resumed(event, progress) => self.occurred(Waiting::new(event, progress), &mut outputs),
            Input::Answered { position, outcome, random } => {
                self.answered(position, outcome, random, now, &mut outputs);
            }
            Input::Withdrawn { position } => {
                if self.waiting.get(&position).is_some_and(|waiting| waiting.is_in_flight) {
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
                self.remove(position);
            }
            Input::Tick => {}
            Input::Enable => {
                self.is_disabled = false;
                self.failing_since = None;
                self.quiet_until = Duration::ZERO;
            }
        }
        self.send(now, &mut outputs);
        outputs
    }

    fn occurred(&mut self, new: Waiting, outputs: &mut Vec<Output>) {
        let (event, position) = (&new.event, new.event.position);
        if self.is_disabled {
            return outputs.push(Output::GaveUp { position });
        }
        if self.waiting.contains_key(&position) {
            return;
        }
        if self.waiting.len() >= QUEUE_MAX {
            let oldest = self.waiting.iter().find(|(_, waiting)| !waiting.is_in_flight).map(|(position, _)| *position);
            if let Some(position) = oldest {
                self.remove(position);
                outputs.push(Output::Dropped { position });
            }
        }
        let subject = self.subjects.entry(event.subject.clone()).or_default();
        subject.newest_sequence = subject.newest_sequence.max(event.sequence);
        subject.queue.insert(position);
        self.waiting.insert(position, new);
    }

    fn answered(&mut self, position: u64, outcome: Outcome, random: u64, now: Duration, outputs: &mut Vec<Output>) {
        // Answers to what was given up with its endpoint come late.
        let Some(waiting) = self.waiting.get_mut(&position).filter(|waiting| waiting.is_in_flight) else { return };
        waiting.is_in_flight = false;
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Delivered => {
                self.failing_since = None;
                self.remove(position);
            }
            Outcome::Gone => self.disable(outputs),
            Outcome::Failed { retry_after } => {
                let first_failed_at = *waiting.first_failed_at.get_or_insert(now);
                let failing_since = *self.failing_since.get_or_insert(now);
                if let Some(quiet) = retry_after {
                    self.quiet_until = self.quiet_until.max(now.saturating_add(quiet.min(RETRY_AFTER_MAX)));
                }
                match pause(waiting.attempts, random, retry_after) {
                    Some(pause) => waiting.due_at = now.saturating_add(pause),
                    None => {
                        self.remove(position);
                        outputs.push(Output::GaveUp { position });
                        if failing_since <= first_failed_at {
                            self.disable(outputs);
                        }
                    }
                }
            }
        }
    }

    fn disable(&mut self, outputs: &mut Vec<Output>) {
        self.is_disabled = true;
        self.in_flight = 0;
        self.subjects.clear();
        outputs.extend(std::mem::take(&mut self.waiting).into_keys().map(|position| Output::GaveUp { position }));
        outputs.push(Output::Disabled);
    }

    fn remove(&mut self, position: u64) {
        let Some(waiting) = self.waiting.remove(&position) else { return };
        if let Some(subject) = self.subjects.get_mut(&waiting.event.subject) {
            subject.queue.remove(&position);
            if subject.queue.is_empty() {
                self.subjects.remove(&waiting.event.subject);
            }
        }
    }

    /// Sends what is due, the longest due first.
    fn send(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        while self.in_flight < IN_FLIGHT_MAX && !self.is_disabled {
            let next = self.subjects.values().filter_map(|subject| self.next_of(subject)).min();
            let Some((_, position)) = next.filter(|(at, _)| *at <= now) else { return };
            let Some(waiting) = self.waiting.get_mut(&position) else { return };
            waiting.is_in_flight = true;
            waiting.attempts = waiting.attempts.saturating_add(1);
            self.in_flight = self.in_flight.saturating_add(1);
            let newest = self.subjects.get(&waiting.event.subject).map(|subject| subject.newest_sequence);
            let current_sequence = newest.unwrap_or(waiting.event.sequence);
            outputs.push(Output::Send(Delivery { position, attempt: waiting.attempts, current_sequence }));
        }
    }

    /// The next delivery of a subject, and when it may go; `None` while one is in flight.
    fn next_of(&self, subject: &Subject) -> Option<(Duration, u64)> {
        let mut held_until = self.quiet_until;
        let mut next: Option<(Duration, u64)> = None;
        for position in &subject.queue {
            let waiting = self.waiting.get(position)?;
            if waiting.is_in_flight {
                return None;
            }
            let candidate = (waiting.due_at.max(held_until), *position);
            next = Some(next.map_or(candidate, |next| next.min(candidate)));
            match waiting.first_failed_at {
                Some(at) => held_until = held_until.max(at.saturating_add(ORDER_HOLD)),
                None => break,
            }
        }
        next
    }

    /// When time alone will matter.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.is_disabled || self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        self.subjects.values().filter_map(|subject| self.next_of(subject)).map(|(at, _)| at).min()
    }

    /// Panics when the queue contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.waiting.len() <= QUEUE_MAX, "more wait than may");
        let in_flight = self.waiting.values().filter(|waiting| waiting.is_in_flight).count();
        assert_eq!(in_flight, self.in_flight, "deliveries in flight are counted");
        assert!(in_flight <= IN_FLIGHT_MAX, "more in flight than may be");
        let mut queued = 0;
        for (name, subject) in &self.subjects {
            assert!(!subject.queue.is_empty(), "{name} has no events");
            queued += subject.queue.len();
            let of_subject = subject.queue.iter().filter_map(|position| self.waiting.get(position));
            assert!(of_subject.clone().all(|waiting| waiting.event.subject == *name), "events of {name}");
            assert!(of_subject.filter(|waiting| waiting.is_in_flight).count() <= 1, "two of {name} in flight");
        }
        assert_eq!(queued, self.waiting.len(), "every event waits with its subject");
        assert!(!self.is_disabled || self.waiting.is_empty(), "a disabled endpoint waits for nothing");
    }
}

#[cfg(test)]
mod tests {
    use media::UnixMillis;
    use proptest::prelude::*;

    use super::*;
    use crate::retry::ATTEMPTS_MAX;

    fn at(elapsed_s: u64) -> Now {
        Now { elapsed: Duration::from_secs(elapsed_s), wall: UnixMillis(0) }
    }

    fn event(position: u64, subject: &str, sequence: u64) -> Input {
        Input::Occurred(Event { position, subject: subject.to_owned(), sequence })
    }

    fn answer(position: u64, outcome: Outcome) -> Input {
        Input::Answered { position, outcome, random: 200 }
    }

    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    fn send(position: u64, attempt: u32, current_sequence: u64) -> Output {
        Output::Send(Delivery { position, attempt, current_sequence })
    }

    /// Case E8: the publisher is back while "ended" is still being tried.
    #[test]
    fn event_that_failed_holds_the_next_of_its_subject_for_a_minute_and_both_say_what_is_newest() {
        let mut it = Endpoint::new();
        assert_eq!(it.apply(event(1, "hall", 1), at(0)), [send(1, 1, 1)]);
        assert_eq!(it.apply(event(2, "hall", 2), at(1)), []);
        assert_eq!(it.apply(event(3, "stage", 1), at(1)), [send(3, 1, 1)], "another subject does not wait");
        assert_eq!(it.apply(answer(1, FAILED), at(2)), []);
        assert_eq!(it.next_deadline(), Some(Duration::from_secs(7)));
        assert_eq!(it.apply(Input::Tick, at(7)), [send(1, 2, 2)], "the retry says that 2 is newest");
        assert_eq!(it.apply(answer(1, FAILED), at(8)), []);
        assert_eq!(it.apply(Input::Tick, at(38)), [send(1, 3, 2)]);
        assert_eq!(it.apply(answer(1, FAILED), at(39)), []);
        assert_eq!(it.next_deadline(), Some(Duration::from_secs(62)), "a minute after the first failure");
        assert_eq!(it.apply(Input::Tick, at(62)), [send(2, 1, 2)]);
        assert_eq!(it.apply(answer(2, Outcome::Delivered), at(62)), []);
        assert_eq!(it.apply(Input::Tick, at(159)), [send(1, 4, 2)], "late, and it says so itself");
        it.check_invariants();
    }

    /// Case E7.
    #[test]
    fn endpoint_is_disabled_by_410_or_by_a_day_of_failures_and_not_by_one_bad_event() {
        let mut gone = Endpoint::new();
        gone.apply(event(1, "hall", 1), at(0));
        gone.apply(event(2, "hall", 2), at(0));
        let said = gone.apply(answer(1, Outcome::Gone), at(1));
        assert_eq!(said, [Output::GaveUp { position: 1 }, Output::GaveUp { position: 2 }, Output::Disabled]);
        assert_eq!(gone.apply(event(3, "hall", 3), at(2)), [Output::GaveUp { position: 3 }]);
        gone.apply(Input::Enable, at(3));
        assert_eq!(gone.apply(event(4, "hall", 4), at(3)), [send(4, 1, 4)]);

        for others_pass in [false, true] {
            let mut it = Endpoint::new();
            let (mut now_s, mut outputs) = (0, it.apply(event(1, "hall", 1), at(0)));
            for attempt in 1..=ATTEMPTS_MAX {
                assert_eq!(outputs, [send(1, attempt, 1)]);
                if others_pass && attempt == 2 {
                    it.apply(event(2, "stage", 1), at(now_s));
                    it.apply(answer(2, Outcome::Delivered), at(now_s));
                }
                outputs = it.apply(answer(1, FAILED), at(now_s));
                if let Some(due) = it.next_deadline() {
                    now_s = due.as_secs();
                    outputs = it.apply(Input::Tick, at(now_s));
                }
            }
            assert_eq!(it.is_disabled(), !others_pass);
            assert_eq!(outputs.first(), Some(&Output::GaveUp { position: 1 }));
            assert!((22 * 3_600..24 * 3_600).contains(&now_s), "{now_s}");
        }
    }

    /// Case E9: whoever takes over goes on where the other was.
    #[test]
    fn delivery_of_another_process_goes_on_with_its_attempts_and_holds_its_subject() {
        let mut it = Endpoint::failing_for(Some(Duration::from_secs(90)));
        let event = |position, sequence| Event { position, subject: "hall".to_owned(), sequence };
        let seconds = Duration::from_secs;
        let tried = Progress { attempts: 2, due_at: seconds(130), first_failed_at: Some(seconds(95)) };
        assert_eq!(it.apply(Input::Resumed(event(1, 1), tried), at(100)), []);
        assert_eq!(it.apply(Input::Resumed(event(2, 2), Progress::default()), at(100)), [], "held by the one before");
        assert_eq!(it.apply(Input::Tick, at(130)), [send(1, 3, 2)]);
        assert_eq!(it.progress(2), Some(Progress::default()));
        assert_eq!(it.apply(answer(1, Outcome::Delivered), at(131)), [send(2, 1, 2)]);
        assert_eq!((it.progress(1), it.failing_since()), (None, None));
        assert_eq!(it.apply(Input::Withdrawn { position: 2 }, at(132)), []);
        assert_eq!(it.waiting(), 0);
        it.check_invariants();
    }

    #[test]
    fn receiver_that_asks_for_quiet_gets_it_for_all_subjects() {
        let mut it = Endpoint::new();
        it.apply(event(1, "hall", 1), at(0));
        it.apply(answer(1, Outcome::Failed { retry_after: Some(Duration::from_secs(90)) }), at(0));
        assert_eq!(it.apply(event(2, "stage", 1), at(1)), []);
        assert_eq!(it.next_deadline(), Some(Duration::from_secs(90)));
        assert_eq!(it.apply(Input::Tick, at(90)), [send(1, 2, 1), send(2, 1, 1)]);
    }

    /// Case E11: the queue of a slow endpoint is bounded, and what is dropped is said.
    #[test]
    fn oldest_events_are_dropped_and_named_when_too_many_wait() {
        let mut it = Endpoint::new();
        for position in 0..QUEUE_MAX as u64 {
            it.apply(event(position, "hall", position), at(0));
        }
        assert_eq!(it.waiting(), QUEUE_MAX);
        let said = it.apply(event(20_000, "hall", 20_000), at(0));
        assert_eq!(said, [Output::Dropped { position: 1 }], "0 is in flight");
        it.check_invariants();
    }

    #[derive(Debug, Clone)]
    enum Op {
        Occur(u8),
        Answer(u8, Outcome, u64),
        Wait(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let outcome = prop_oneof![
            4 => Just(Outcome::Delivered),
            6 => Just(FAILED),
            1 => (0_u64..200).prop_map(|s| Outcome::Failed { retry_after: Some(Duration::from_secs(s)) }),
        ];
        let op = prop_oneof![
            3 => (0_u8..3).prop_map(Op::Occur),
            4 => (any::<u8>(), outcome, any::<u64>()).prop_map(|(which, outcome, random)| Op::Answer(which, outcome, random)),
            3 => (0_u64..100).prop_map(Op::Wait),
        ];
        prop::collection::vec(op, 1..200)
    }

    /// A receiver, and what the rules promise it.
    #[derive(Default)]
    struct Receiver {
        now_s: u64,
        /// Subject and sequence of each position.
        occurred: Vec<(u8, u64)>,
        newest: [u64; 3],
        in_flight: Vec<u64>,
        /// When a position failed first.
        failed_at_s: BTreeMap<u64, u64>,
        settled: BTreeSet<u64>,
        /// The highest sequence that came.
        highest: [u64; 3],
    }

    impl Receiver {
        fn take(&mut self, outputs: Vec<Output>) {
            for output in outputs {
                match output {
                    Output::Send(Delivery { position, attempt, current_sequence }) => {
                        let (subject, sequence) = self.occurred[position as usize];
                        assert_eq!(current_sequence, self.newest[subject as usize], "the newest when it is sent");
                        assert!(sequence <= current_sequence);
                        let same = |other: &u64| self.occurred[*other as usize].0 == subject;
                        assert!(!self.in_flight.iter().any(same), "two of one subject at once");
                        if attempt == 1 {
                            let is_before = |other: &u64| same(other) && !self.settled.contains(other);
                            for earlier in (0..position).filter(is_before) {
                                let failed = self.failed_at_s.get(&earlier).expect("an earlier one was tried before");
                                assert!(self.now_s >= failed + 60, "{position} overtakes {earlier} too soon");
                            }
                        }
                        self.in_flight.push(position);
                    }
                    Output::GaveUp { position } | Output::Dropped { position } => {
                        assert!(self.settled.insert(position), "{position} ends twice");
                    }
                    Output::Disabled => {}
                }
            }
        }

        fn answer(&mut self, it: &mut Endpoint, which: usize, outcome: Outcome, random: u64) {
            if self.in_flight.is_empty() {
                return;
            }
            let position = self.in_flight.remove(which % self.in_flight.len());
            let (subject, sequence) = self.occurred[position as usize];
            if outcome == Outcome::Delivered {
                self.settled.insert(position);
                self.highest[subject as usize] = self.highest[subject as usize].max(sequence);
            } else {
                self.failed_at_s.entry(position).or_insert(self.now_s);
            }
            let outputs = it.apply(Input::Answered { position, outcome, random }, at(self.now_s));
            if it.is_disabled() {
                self.in_flight.clear();
            }
            self.take(outputs);
        }
    }

    proptest! {
        /// Whatever fails in whatever order: subjects stay in order, none is lost unsaid, and at the end the highest sequence is the truth.
        #[test]
        fn order_holds_nothing_is_lost_and_the_highest_sequence_is_true(ops in ops()) {
            let (mut it, mut receiver) = (Endpoint::new(), Receiver::default());
            for op in ops {
                match op {
                    Op::Occur(subject) => {
                        let position = receiver.occurred.len() as u64;
                        receiver.newest[subject as usize] += 1;
                        let sequence = receiver.newest[subject as usize];
                        receiver.occurred.push((subject, sequence));
                        let outputs = it.apply(event(position, &subject.to_string(), sequence), at(receiver.now_s));
                        receiver.take(outputs);
                    }
                    Op::Answer(which, outcome, random) => receiver.answer(&mut it, which.into(), outcome, random),
                    Op::Wait(seconds) => {
                        receiver.now_s += seconds;
                        let outputs = it.apply(Input::Tick, at(receiver.now_s));
                        receiver.take(outputs);
                    }
                }
                it.check_invariants();
            }
            // From now on the receiver takes everything.
            while it.waiting() > 0 {
                while !receiver.in_flight.is_empty() {
                    receiver.answer(&mut it, 0, Outcome::Delivered, 0);
                }
                if let Some(due) = it.next_deadline() {
                    receiver.now_s = receiver.now_s.max(due.as_secs() + 1);
                    let outputs = it.apply(Input::Tick, at(receiver.now_s));
                    receiver.take(outputs);
                }
                it.check_invariants();
            }
            prop_assert_eq!(receiver.settled.len(), receiver.occurred.len(), "every event came, or was given up aloud");
            if !it.is_disabled() {
                prop_assert_eq!(receiver.highest, receiver.newest);
            }
        }
    }
}
