//! Which response of an HTTP/2 connection hands bytes over next. Pure.
//!
//! A response is *ready* when its task was woken: it has bytes, or room in a window, or an end to deal with. One ready
//! response at a time is given the turn, the most urgent first, and only while little is [ahead](AHEAD_BYTES_MAX): what was
//! handed over and is not on the wire yet cannot be overtaken. A response that cannot go on, because its client does not
//! read it or its source is slow, is not woken, so it is not ready and holds nobody up.

use super::Priority;

/// Most bytes handed over at once. With a frame's header of 9 bytes (RFC 9113, 4.1) they fill one TLS record (RFC 8446, 5.1), and every
/// peer has to accept a frame of that length (RFC 9113, 4.2).
pub const SLICE_BYTES_MAX: usize = 16 * 1024 - 9;

/// Bytes that may be handed over and not yet written, all responses of a connection together; the last slice may go beyond.
/// Four slices leave in one call of the operating system.
pub const AHEAD_BYTES_MAX: usize = 4 * SLICE_BYTES_MAX;

/// Identifies a response among those of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

/// What the shell has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// Wake this response's task: it has the turn, until it [leaves](Scheduler::leave) or [ends](Scheduler::end).
    pub grant: Option<Key>,
    /// Wake the connection's task: responses wait for it to write, or to say that there is nothing to write.
    pub nudge: bool,
}

#[derive(Debug)]
struct Response {
    key: Key,
    priority: Priority,
    /// Place in the line of those with equal urgency.
    place: u64,
    ready: bool,
}

/// The responses of one connection that have begun to send a body: as many as the connection allows requests at once.
#[derive(Debug, Default)]
pub struct Scheduler {
    responses: Vec<Response>,
    next: u64,
    turn: Option<Key>,
    /// Bytes that the response with the turn has handed over since it got the turn.
    turn_bytes: usize,
    ahead_bytes: usize,
    /// The connection was nudged and has not flushed since.
    nudged: bool,
    closed: bool,
}

impl Scheduler {
    /// A response begins to send. It is not ready before [`Scheduler::ready`] says so.
    pub fn begin(&mut self, priority: Priority) -> Key {
        let place = self.take_place();
        let key = Key(place);
        self.responses.push(Response { key, priority, place, ready: false });
        key
    }

    /// The response has something to do.
    pub fn ready(&mut self, key: Key) -> Step {
        if self.closed {
            return Step { grant: Some(key), nudge: false };
        }
        if let Some(response) = self.response(key) {
            response.ready = true;
        }
        self.step()
    }

    /// The response's task runs. Returns whether it may go on now: it may when it has the turn, or can get it.
    pub fn enter(&mut self, key: Key) -> (bool, Step) {
        let mut step = Step::default();
        if !self.closed && self.turn != Some(key) {
            step = self.ready(key);
            if step.grant != Some(key) {
                return (false, step);
            }
            step.grant = None;
        }
        if let Some(response) = self.response(key) {
            response.ready = false;
        }
        (true, step)
    }

    /// A mark in the order in which responses begin, for [`Scheduler::open_since`].
    pub const fn mark(&self) -> u64 {
        self.next
    }

    /// How many responses began before the mark and have not ended.
    pub fn open_since(&self, mark: u64) -> usize {
        self.responses.iter().filter(|response| response.key.0 < mark).count()
    }

    /// Whether the response that has the turn may hand over another slice.
    pub fn has_room(&self) -> bool {
        self.closed || self.ahead_bytes < AHEAD_BYTES_MAX
    }

    /// The response that has the turn handed bytes over.
    pub fn sent(&mut self, bytes: usize) {
        self.ahead_bytes = self.ahead_bytes.saturating_add(bytes);
        self.turn_bytes = self.turn_bytes.saturating_add(bytes);
    }

    /// The response's task has run, and waits.
    pub fn leave(&mut self, key: Key) -> Step {
        if self.turn != Some(key) {
            return Step::default();
        }
        self.turn = None;
        let behind = self.next;
        let rotates = self.turn_bytes > 0;
        match self.response(key) {
            // Incremental ones take turns; others stay where they are until they are through (RFC 9218, section 10).
            Some(response) if rotates && response.priority.incremental => {
                response.place = behind;
                self.next += 1;
            }
            _ => {}
        }
        self.step()
    }

    /// The response has ended, or is given up.
    pub fn end(&mut self, key: Key) -> Step {
        self.responses.retain(|response| response.key != key);
        if self.turn == Some(key) {
            self.turn = None;
        }
        self.step()
    }

    /// The operating system has taken all that the connection had to write: `bytes` since the last call. 0 means that the connection
    /// could write nothing: what was handed over and is still there waits for its client, and holds up no other response.
    pub fn flushed(&mut self, bytes: usize) -> Step {
        self.nudged = false;
        self.ahead_bytes = self.ahead_bytes.saturating_sub(bytes);
        // While a response runs, what it hands over may be on its way to the connection.
        if bytes == 0 && self.turn.is_none() {
            self.ahead_bytes = 0;
        }
        self.step()
    }

    /// The connection is gone: each response may run to its end. Returns all of them.
    pub fn close(&mut self) -> impl Iterator<Item = Key> {
        self.closed = true;
        self.responses.iter().map(|response| response.key)
    }

    /// Gives the turn to the first in line, if it is free and there is room.
    fn step(&mut self) -> Step {
        if self.turn.is_some() || self.closed {
            return Step::default();
        }
        let ready = self.responses.iter().filter(|response| response.ready);
        let Some(first) = ready.min_by_key(|response| (response.priority.urgency, response.place)) else {
            return Step::default();
        };
        if !self.has_room() {
            let nudge = !std::mem::replace(&mut self.nudged, true);
            return Step { grant: None, nudge };
        }
        self.turn = Some(first.key);
        self.turn_bytes = 0;
        Step { grant: self.turn, nudge: false }
    }

    fn response(&mut self, key: Key) -> Option<&mut Response> {
        self.responses.iter_mut().find(|response| response.key == key)
    }

    fn take_place(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        place
    }

    /// Panics when it contradicts itself.
    pub fn check_invariants(&self) {
        let known = |key| self.responses.iter().any(|response| response.key == key);
        assert!(self.turn.is_none_or(known), "the turn is with a response that is not there");
        let waiting = self.responses.iter().any(|response| response.ready);
        let idle = self.turn.is_none() && !self.closed;
        assert!(!(waiting && idle && self.has_room()), "a ready response waits though the turn is free");
        assert!(!(waiting && idle) || self.nudged, "responses wait for the connection, which does not know");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Urgency;
    use super::*;

    fn priority(level: u8, incremental: bool) -> Priority {
        Priority { urgency: Urgency::new(level).unwrap(), incremental }
    }

    const PLAYLIST: u8 = 1;
    const SEGMENT: u8 = 3;

    /// One that has begun and is ready.
    fn waiting(scheduler: &mut Scheduler, level: u8, incremental: bool) -> (Key, Step) {
        let key = scheduler.begin(priority(level, incremental));
        let step = scheduler.ready(key);
        (key, step)
    }

    fn fill(scheduler: &mut Scheduler) {
        while scheduler.has_room() {
            scheduler.sent(SLICE_BYTES_MAX);
        }
    }

    #[test]
    fn more_urgent_response_goes_first_once_what_is_ahead_is_written() {
        let mut scheduler = Scheduler::default();
        let (segment, step) = waiting(&mut scheduler, SEGMENT, false);
        assert_eq!(step.grant, Some(segment));
        assert!(scheduler.enter(segment).0);
        fill(&mut scheduler);
        assert_eq!(scheduler.ready(segment), Step::default(), "it has the turn");
        let (playlist, step) = waiting(&mut scheduler, PLAYLIST, false);
        assert_eq!(step, Step::default());
        assert_eq!(scheduler.leave(segment), Step { grant: None, nudge: true });
        assert_eq!(scheduler.flushed(SLICE_BYTES_MAX).grant, Some(playlist));
    }

    #[test]
    fn response_that_cannot_go_on_holds_nobody_up() {
        let mut scheduler = Scheduler::default();
        let (stalled, _) = waiting(&mut scheduler, PLAYLIST, false);
        assert!(scheduler.enter(stalled).0);
        // What it handed over waits for a window that never opens.
        fill(&mut scheduler);
        assert_eq!(scheduler.leave(stalled), Step::default(), "nobody else waits");
        let (segment, step) = waiting(&mut scheduler, SEGMENT, false);
        assert_eq!(step, Step { grant: None, nudge: true });
        assert_eq!(scheduler.flushed(0).grant, Some(segment));
    }

    #[test]
    fn equals_go_one_after_the_other_unless_they_are_incremental() {
        for (incremental, expected) in [(false, [0, 0, 0, 0, 0, 0]), (true, [0, 1, 2, 0, 1, 2])] {
            let mut scheduler = Scheduler::default();
            let keys: Vec<Key> = (0..3).map(|_| scheduler.begin(priority(SEGMENT, incremental))).collect();
            let mut step = Step::default();
            for key in &keys {
                let next = scheduler.ready(*key);
                step.grant = step.grant.or(next.grant);
            }
            let order = expected.map(|_| {
                let key = step.grant.unwrap();
                assert!(scheduler.enter(key).0);
                fill(&mut scheduler);
                let _ = scheduler.ready(key);
                let _ = scheduler.leave(key);
                step = scheduler.flushed(AHEAD_BYTES_MAX);
                keys.iter().position(|known| *known == key).unwrap()
            });
            assert_eq!(order, expected, "incremental: {incremental}");
        }
    }

    #[test]
    fn turn_of_a_response_that_ends_passes_on() {
        let mut scheduler = Scheduler::default();
        let (first, _) = waiting(&mut scheduler, PLAYLIST, false);
        let (second, step) = waiting(&mut scheduler, PLAYLIST, false);
        assert_eq!(step, Step::default());
        assert_eq!(scheduler.end(first).grant, Some(second), "it was given up before it ran");
    }

    #[test]
    fn end_of_the_connection_lets_everyone_go_on() {
        let mut scheduler = Scheduler::default();
        let (first, _) = waiting(&mut scheduler, SEGMENT, false);
        let (second, _) = waiting(&mut scheduler, SEGMENT, false);
        fill(&mut scheduler);
        assert_eq!(scheduler.close().collect::<Vec<_>>(), [first, second]);
        assert!(scheduler.enter(second).0 && scheduler.has_room());
        assert_eq!(scheduler.leave(second), Step::default());
        assert_eq!(scheduler.ready(second).grant, Some(second), "what wakes it wakes its task");
    }

    /// A response of the model: what it has left, and what its client's window takes.
    #[derive(Debug)]
    struct Modelled {
        key: Key,
        level: u8,
        left: usize,
        window: usize,
    }

    /// A small model of a connection: `handed` bytes are in HTTP/2's buffers and may be written.
    #[derive(Debug, Default)]
    struct Model {
        scheduler: Scheduler,
        responses: Vec<Modelled>,
        granted: Option<Key>,
        nudged: bool,
        handed: usize,
    }

    impl Model {
        fn take(&mut self, step: Step) {
            if let Some(key) = step.grant {
                assert_eq!(self.granted, None, "two have the turn");
                let level = |response: &&Modelled| response.level;
                let granted = self.responses.iter().find(|response| response.key == key).unwrap();
                let ready = self.scheduler.responses.iter().filter(|response| response.ready).map(|ready| ready.key);
                let urgent =
                    ready.filter_map(|key| self.responses.iter().find(|known| known.key == key)).map(|r| level(&r));
                assert!(urgent.min().is_none_or(|urgent| granted.level <= urgent), "a more urgent one was passed over");
                self.granted = Some(key);
            }
            self.nudged |= step.nudge;
            self.scheduler.check_invariants();
        }

        fn begin(&mut self, level: u8, incremental: bool, left: usize, window: usize) {
            let key = self.scheduler.begin(priority(level, incremental));
            self.responses.push(Modelled { key, level, left, window });
            let step = self.scheduler.ready(key);
            self.take(step);
        }

        /// The task of the response that has the turn runs.
        fn run(&mut self) {
            let Some(key) = self.granted.take() else { return };
            let (may, step) = self.scheduler.enter(key);
            assert!(may, "it has the turn");
            self.take(step);
            let response = self.responses.iter_mut().find(|response| response.key == key).unwrap();
            let mut again = false;
            while response.left > 0 && response.window > 0 {
                if !self.scheduler.has_room() {
                    again = true;
                    break;
                }
                let slice = response.left.min(SLICE_BYTES_MAX);
                let fits = slice.min(response.window);
                self.scheduler.sent(slice);
                self.handed += fits;
                response.left -= slice;
                response.window -= fits;
            }
            let ended = response.left == 0;
            if again {
                let step = self.scheduler.ready(key);
                self.take(step);
            }
            let step = if ended {
                self.responses.retain(|response| response.key != key);
                self.scheduler.end(key)
            } else {
                self.scheduler.leave(key)
            };
            self.take(step);
        }

        fn write(&mut self, bytes_max: usize) {
            let bytes = self.handed.min(bytes_max);
            self.handed -= bytes;
            self.nudged = false;
            let step = self.scheduler.flushed(bytes);
            self.take(step);
        }

        fn open(&mut self, index: usize, bytes: usize) {
            let Some(response) = self.responses.get_mut(index) else { return };
            response.window += bytes;
            let key = response.key;
            let step = self.scheduler.ready(key);
            self.take(step);
        }

        fn give_up(&mut self, index: usize) {
            if index >= self.responses.len() {
                return;
            }
            let key = self.responses.remove(index).key;
            if self.granted == Some(key) {
                self.granted = None;
            }
            let step = self.scheduler.end(key);
            self.take(step);
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Begin { level: u8, incremental: bool, left: usize, window: usize },
        Run,
        Write(usize),
        Open { index: usize, bytes: usize },
        GiveUp(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..8_u8, any::<bool>(), 1..200_000_usize, 0..100_000_usize)
                .prop_map(|(level, incremental, left, window)| Event::Begin { level, incremental, left, window }),
            Just(Event::Run),
            Just(Event::Run),
            (0..50_000_usize).prop_map(Event::Write),
            (0..8_usize, 0..50_000_usize).prop_map(|(index, bytes)| Event::Open { index, bytes }),
            (0..8_usize).prop_map(Event::GiveUp),
        ]
    }

    proptest! {
        #[test]
        fn everyone_whose_client_reads_comes_to_an_end(events in proptest::collection::vec(event(), 0..200)) {
            let mut model = Model::default();
            for event in events {
                match event {
                    Event::Begin { level, incremental, left, window } => model.begin(level, incremental, left, window),
                    Event::Run => model.run(),
                    Event::Write(bytes) => model.write(bytes),
                    Event::Open { index, bytes } => model.open(index, bytes),
                    Event::GiveUp(index) => model.give_up(index),
                }
            }
            // All but one client read now; the connection is polled only when it has bytes or was nudged.
            for index in 1..model.responses.len() {
                model.open(index, 1 << 30);
            }
            let stalled = model.responses.first().map(|response| response.key);
            for _ in 0..1_000 {
                model.run();
                if model.handed > 0 || model.nudged {
                    model.write(SLICE_BYTES_MAX);
                }
            }
            prop_assert!(model.responses.iter().all(|response| Some(response.key) == stalled), "{:?}", model);
        }
    }
}
