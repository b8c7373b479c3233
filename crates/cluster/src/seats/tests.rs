use std::collections::{BTreeMap, BTreeSet};

use media::UnixMillis;
use messages::{NodeState, Policy, Presence};
use proptest::prelude::*;

use super::*;
use crate::Membership;
use crate::membership::tests::{at, presence};
use crate::placement::{Viewer, candidates};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

#[test]
fn household_shares_a_seat_and_a_school_takes_many() {
    let mut seats = Seats::default();
    let school: Vec<SeatId> = (0..50).map(|_| seats.join(7, secs(0)).unwrap()).collect();
    let distinct: BTreeSet<u64> = school.iter().map(|seat| seat.key()).collect();
    assert_eq!(distinct.len(), 9, "50 connections, six to a seat");
    assert_eq!(school[0].key(), 7, "every balancer places the first ones by the address alone");
    assert_eq!(school[5], school[0]);
    seats.leave(school[3], secs(1));
    seats.leave(school[20], secs(2));
    assert_eq!(seats.join(7, secs(3)), Some(school[20]), "who left last returns to its seat, though another has room");
    assert_eq!(seats.join(8, secs(2)).unwrap().index, 0, "another address has seats of its own");
}

#[test]
fn seat_keeps_its_node_for_minutes_after_its_last_connection() {
    let mut seats = Seats::default();
    let seat = seats.join(7, secs(0)).unwrap();
    seats.placed(seat, &node("b2"));
    seats.leave(seat, secs(100));
    let again = seats.join(7, secs(390)).unwrap();
    assert_eq!(seats.node(again), Some(&node("b2")));
    seats.leave(again, secs(400));
    assert_eq!(seats.join(8, secs(701)).unwrap().index, 0);
    let later = seats.join(7, secs(702)).unwrap();
    assert_eq!(seats.node(later), None, "forgotten 300 s after its last connection");
}

#[test]
fn viewers_beyond_the_last_seat_are_not_remembered_and_harm_nobody() {
    let mut seats = Seats::default();
    let first = seats.join(0, secs(0)).unwrap();
    for address in 1..SEATS_MAX as u64 {
        assert!(seats.join(address, secs(0)).is_some());
    }
    assert_eq!(seats.join(u64::MAX, secs(0)), None);
    assert!(seats.join(0, secs(0)).is_some(), "there is room on its seat");
    seats.leave(first, secs(0));
    seats.check_invariants();
}

#[test]
fn connection_remembers_a_node_for_each_of_few_streams() {
    let stream = |index: usize| StreamId::new(&format!("s{index}")).unwrap();
    let mut watching = Watching::default();
    for index in 0..=STREAMS_MAX {
        watching.placed(&stream(index), &node("b1"));
    }
    assert_eq!(watching.node(&stream(0)), None, "the oldest makes room");
    assert_eq!(watching.node(&stream(1)), Some(&node("b1")));
    watching.placed(&stream(1), &node("b2"));
    assert_eq!(watching.node(&stream(1)), Some(&node("b2")));
    watching.refused(&stream(1));
    assert_eq!(watching.node(&stream(1)), None);
}

/// Viewers of one stream, each with a connection, asking four times a second in virtual time.
struct Audience {
    view: Membership,
    seats: Seats,
    stream: StreamId,
    /// For each viewer: its address, its connection, and the nodes that answered it, in order and without repeats.
    viewers: Vec<(u64, Watching, Option<SeatId>, Vec<String>)>,
}

impl Audience {
    fn ask(&mut self, millis: u64, reconnects: impl Fn(usize) -> bool) {
        let now = at(millis);
        for (index, (address, watching, seat, nodes)) in self.viewers.iter_mut().enumerate() {
            if reconnects(index)
                && let Some(seat) = seat.take()
            {
                self.seats.leave(seat, now.elapsed);
                *watching = Watching::default();
            }
            let seat = *seat.get_or_insert_with(|| self.seats.join(*address, now.elapsed).unwrap());
            let viewer = Viewer {
                key: seat.key(),
                is_placed_by_key: true,
                watched_on: watching.node(&self.stream),
                sticky: self.seats.node(seat),
                stream: Some(&self.stream),
            };
            let chosen = candidates(&self.view, &Policy::default(), viewer, now)[0].presence.node.clone();
            watching.placed(&self.stream, &chosen);
            self.seats.placed(seat, &chosen);
            if nodes.last().map(String::as_str) != Some(chosen.as_str()) {
                nodes.push(chosen.to_string());
            }
        }
        self.seats.check_invariants();
    }
}

/// A node's presence at a moment: its age, and a load that varies around the limit of enough headroom.
fn says(name: &str, started_at: u64, millis: u64, state: NodeState, stream: &StreamId) -> Presence {
    let age = i64::try_from(millis - started_at).unwrap();
    let swing = [0.0, 0.06, -0.05, 0.02, -0.08][usize::try_from(millis / 2_000).unwrap() % 5];
    let mut presence = presence(name, state, i64::try_from(started_at).unwrap());
    presence.at = UnixMillis(presence.started_at.0 + age);
    presence.load.cpu = if name == "b2" { 0.82 - swing } else { 0.82 + swing };
    presence.streams = vec![stream.clone()];
    presence
}

/// A minute: three nodes that have just started, a fourth at 20 s, `b1` drained at 40 s. 50 viewers share an address, 20 have one each.
/// Every fifth viewer connects anew every 3 s. Returns the nodes of each viewer until the drain and after it.
fn minute() -> Vec<(Vec<String>, Vec<String>)> {
    let stream = StreamId::new("demo").unwrap();
    let address =
        |index: u64| if index < 50 { 0x5eed_5eed_5eed_5eed } else { index.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
    let viewers = (0..70).map(|index| (address(index), Watching::default(), None, Vec::new())).collect();
    let mut audience = Audience { view: Membership::default(), seats: Seats::default(), stream, viewers };
    let mut before = Vec::new();
    for millis in (0..60_000).step_by(250) {
        for (name, started_at, offset) in [("b1", 0, 0), ("b2", 0, 500), ("b3", 0, 1_250), ("b4", 20_000, 750)] {
            let state = if name == "b1" && millis >= 40_000 { NodeState::Draining } else { NodeState::Online };
            let is_first = millis == 0 && started_at == 0;
            if millis >= started_at && (is_first || millis % 2_000 == offset) {
                audience.view.heard(says(name, started_at, millis, state, &audience.stream), at(millis));
            }
        }
        if millis == 40_000 {
            before = audience.viewers.iter_mut().map(|viewer| std::mem::take(&mut viewer.3)).collect();
        }
        // Those that connect anew do it one after the other.
        audience.ask(millis, |index| millis > 0 && index % 5 == 0 && millis % 3_000 == (index as u64 % 12) * 250);
    }
    before.into_iter().zip(audience.viewers.into_iter().map(|viewer| viewer.3)).collect()
}

#[test]
fn viewer_has_one_node_through_slow_starts_and_swings_of_load_and_moves_once_when_it_is_drained() {
    let viewers = minute();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (before, after)) in viewers.iter().enumerate() {
        assert_eq!(before.len(), 1, "viewer {index} was on {before:?}");
        assert_eq!(after.len(), 1, "viewer {index} was on {before:?}, then on {after:?}");
        assert!(before[0] == "b1" || before == after, "viewer {index} moved from {before:?} to {after:?}");
        assert_ne!(after[0], "b1", "it is drained");
        if index < 50 {
            *counts.entry(&before[0]).or_default() += 1;
        }
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count <= 30), "50 viewers of one address: {counts:?}");
}

proptest! {
    #[test]
    fn any_comings_and_goings_keep_the_invariants(steps in prop::collection::vec((0u64..4, 0u64..120, any::<bool>()), 1..200)) {
        let mut seats = Seats::default();
        let mut seated: Vec<SeatId> = Vec::new();
        let mut now = secs(0);
        for (address, wait, joins) in steps {
            now += secs(wait);
            if joins {
                seated.extend(seats.join(address, now));
            } else if let Some(seat) = seated.pop() {
                seats.placed(seat, &node("b1"));
                seats.leave(seat, now);
            }
            seats.check_invariants();
            for address in 0..4 {
                let taken = seats.by_address.get(&address).into_iter().flatten().map(|seat| seat.connections).sum::<u32>();
                prop_assert_eq!(taken as usize, seated.iter().filter(|seat| seat.address == address).count());
            }
        }
    }
}
