use std::collections::BTreeMap;

use media::UnixMillis;
use messages::{NodeState, Presence};

use super::*;
use crate::membership::tests::{at, presence};

fn cluster(loads: &[(&str, f64)]) -> Membership {
    let mut view = Membership::default();
    for (name, cpu) in loads {
        let mut presence = presence(name, NodeState::Online, 1);
        presence.load.cpu = *cpu;
        view.heard(presence, at(0));
    }
    view
}

fn first(view: &Membership, key: u64, sticky: Option<&str>) -> String {
    let sticky = sticky.map(|name| NodeId::new(name).unwrap());
    let viewer = Viewer { key, sticky: sticky.as_ref(), ..Viewer::default() };
    let order = candidates(view, &Policy::default(), viewer, at(1));
    order.first().unwrap().presence.node.to_string()
}

#[test]
fn viewers_follow_the_headroom() {
    let view = cluster(&[("b1", 0.0), ("b2", 0.5), ("b3", 0.75)]);
    let mut counts = BTreeMap::new();
    for key in 0..70_000 {
        *counts.entry(first(&view, key, None)).or_insert(0u32) += 1;
    }
    // Weights 1 : 0.5 : 0.25 of 70,000.
    assert!((39_000..41_000).contains(&counts["b1"]), "{counts:?}");
    assert!((19_000..21_000).contains(&counts["b2"]), "{counts:?}");
    assert!((9_000..11_000).contains(&counts["b3"]), "{counts:?}");
}

#[test]
fn viewer_that_only_its_key_keeps_stays_until_its_node_is_nearly_full() {
    let node = |view: &Membership, key| {
        let viewer = Viewer { key, is_placed_by_key: true, ..Viewer::default() };
        candidates(view, &Policy::default(), viewer, at(1)).first().unwrap().presence.node.to_string()
    };
    let quiet = cluster(&[("b1", 0.0), ("b2", 0.1)]);
    let busy = cluster(&[("b1", 0.75), ("b2", 0.05)]);
    let full = cluster(&[("b1", 0.95), ("b2", 0.05)]);
    let moved = (0..1_000).filter(|key| node(&quiet, *key) != node(&busy, *key)).count();
    let left = (0..1_000).filter(|key| node(&full, *key) == "b1").count();
    assert!(moved == 0 && left < 100, "{moved} moved, {left} left");
}

#[test]
fn loss_of_a_node_moves_its_own_viewers_only() {
    let view = cluster(&[("b1", 0.1), ("b2", 0.1), ("b3", 0.1)]);
    let mut smaller = view.clone();
    smaller.heard(presence("b3", NodeState::Offline, 1), at(0));
    for key in 0..1_000 {
        let before = first(&view, key, None);
        assert!(before == "b3" || before == first(&smaller, key, None), "key {key} moved without need");
    }
}

fn drained(names: &[&str]) -> Policy {
    Policy { drained: names.iter().map(|name| NodeId::new(name).unwrap()).collect(), ..Policy::default() }
}

#[test]
fn viewer_stays_on_a_busy_node_and_leaves_one_that_drains_or_fails() {
    let mut view = cluster(&[("b1", 0.9), ("b2", 0.0)]);
    assert_eq!(first(&view, 7, Some("b1")), "b1");
    let b1 = NodeId::new("b1").unwrap();
    let viewer = Viewer { key: 7, sticky: Some(&b1), ..Viewer::default() };
    let order = |policy| candidates(&view, &policy, viewer, at(1)).first().unwrap().presence.node.to_string();
    assert_eq!(order(drained(&["b1"])), "b2");
    assert_eq!(order(drained(&["b1", "b2"])), "b1", "nothing else is there");
    view.failed(&b1, at(0));
    assert_eq!(first(&view, 7, Some("b1")), "b2");
    view.heard(presence("b1", NodeState::Draining, 1), at(0));
    assert_eq!(first(&view, 7, Some("b1")), "b2");
    view.heard(presence("b2", NodeState::Offline, 1), at(0));
    assert_eq!(first(&view, 7, None), "b1", "nothing else is there");
}

#[test]
fn node_that_a_viewer_stays_on_is_the_first_candidate_until_it_drains_or_fails() {
    let mut view = cluster(&[("b1", 0.99), ("b2", 0.1)]);
    let watched = NodeId::new("b1").unwrap();
    let viewer = Viewer { key: 7, watched_on: Some(&watched), ..Viewer::default() };
    let stays = |view: &Membership, policy: &Policy, now: Now| {
        let stays = stays(view, policy, viewer, now).map(|member| member.presence.node.clone());
        let first = candidates(view, policy, viewer, now)[0].presence.node.clone();
        assert!(stays.is_none() || stays.as_ref() == Some(&first), "{stays:?} is not {first:?}");
        stays
    };
    assert_eq!(stays(&view, &Policy::default(), at(0)), Some(watched.clone()));
    assert_eq!(stays(&view, &drained(&["b1"]), at(0)), None);
    assert!(super::stays(&view, &Policy::default(), Viewer::default(), at(0)).is_none());
    view.failed(&watched, at(0));
    assert_eq!(stays(&view, &Policy::default(), at(0)), None);
}

#[test]
fn nodes_that_hold_the_stream_go_first_then_all_with_room_then_the_others() {
    let mut view = Membership::default();
    let demo = StreamId::new("demo").unwrap();
    let mut hears = |node: &str, state, cpu, streams: &[&StreamId], edges: &[&StreamId]| {
        let mut presence = presence(node, state, 1);
        presence.load.cpu = cpu;
        presence.streams = streams.iter().map(|stream| (*stream).clone()).collect();
        presence.edges = edges.iter().map(|stream| (*stream).clone()).collect();
        view.heard(presence, at(0));
    };
    hears("owner", NodeState::Online, 0.5, &[&demo], &[]);
    hears("edge", NodeState::Online, 0.5, &[], &[&demo]);
    hears("idle", NodeState::Online, 0.0, &[], &[]);
    hears("busy-owner", NodeState::Online, 0.9, &[&demo], &[]);
    hears("busy", NodeState::Online, 0.9, &[], &[]);
    hears("draining-owner", NodeState::Draining, 0.0, &[&demo], &[]);
    hears("failed-owner", NodeState::Online, 0.0, &[&demo], &[]);
    hears("gone-owner", NodeState::Offline, 0.0, &[&demo], &[]);
    view.failed(&NodeId::new("failed-owner").unwrap(), at(0));
    let order = |sticky: Option<&str>, key| {
        let sticky = sticky.map(|name| NodeId::new(name).unwrap());
        let viewer = Viewer { key, sticky: sticky.as_ref(), stream: Some(&demo), ..Viewer::default() };
        let order = candidates(&view, &Policy::default(), viewer, at(1)).into_iter();
        order.map(|member| member.presence.node.to_string()).collect::<Vec<_>>()
    };
    let best = |sticky, key| order(sticky, key).remove(0);
    for key in 0..100 {
        let mut order = order(None, key);
        order[..2].sort();
        order[3..5].sort();
        let expected = ["edge", "owner", "idle", "busy", "busy-owner", "draining-owner", "failed-owner"];
        assert_eq!(order, expected, "key {key}");
        assert_eq!(best(Some("busy-owner"), key), "busy-owner", "who watches stays");
    }
    assert_eq!(order(Some("idle"), 7)[2], "idle", "who has been elsewhere goes to a node that holds the stream");
    assert_eq!(order(Some("draining-owner"), 7)[5], "draining-owner");
}

#[test]
fn nodes_that_hold_the_stream_go_first_where_all_are_busy() {
    let demo = StreamId::new("demo").unwrap();
    let first = |owner: f64, other: f64, key| {
        let mut view = cluster(&[("b1", other)]);
        let mut owns = presence("b2", NodeState::Online, 1);
        (owns.load.cpu, owns.streams) = (owner, vec![demo.clone()]);
        view.heard(owns, at(0));
        let viewer = Viewer { key, stream: Some(&demo), ..Viewer::default() };
        candidates(&view, &Policy::default(), viewer, at(1)).first().unwrap().presence.node.to_string()
    };
    for key in 0..100 {
        assert_eq!(first(0.92, 0.9, key), "b2");
        assert_eq!(first(1.0, 1.0, key), "b2");
        assert_eq!(first(0.97, 0.9, key), "b1", "it has much more left");
    }
}

#[test]
fn node_that_has_started_gets_viewers_bit_by_bit_and_nobody_moves_away_from_it() {
    // On clocks of their own, an hour apart.
    let says = |name: &str, started_at, age| Presence {
        at: UnixMillis(started_at + age),
        ..presence(name, NodeState::Online, started_at)
    };
    let takes = |millis| -> Vec<u64> {
        let mut view = Membership::default();
        view.heard(says("b1", 1, 1_000_000), at(0));
        view.heard(says("b2", 3_600_000, millis), at(0));
        let first = |key: &u64| {
            let viewer = Viewer { key: *key, is_placed_by_key: true, ..Viewer::default() };
            candidates(&view, &Policy::default(), viewer, at(1)).first().unwrap().presence.node.as_str() == "b2"
        };
        (0..2_000).filter(first).collect()
    };
    let (start, middle, end) = (takes(0), takes(3_000), takes(5_900));
    assert!((100..280).contains(&start.len()), "a tenth of the weight: {}", start.len());
    assert!(start.len() < middle.len() && middle.len() < end.len());
    assert!(start.iter().all(|key| middle.contains(key)) && middle.iter().all(|key| end.contains(key)));
}

#[test]
fn viewers_that_only_their_key_keeps_leave_a_node_that_fills_up_one_by_one() {
    let left = |cpu| {
        let view = cluster(&[("b1", cpu), ("b2", 0.0)]);
        let first = |key: &u64| {
            let viewer = Viewer { key: *key, is_placed_by_key: true, ..Viewer::default() };
            candidates(&view, &Policy::default(), viewer, at(1)).first().unwrap().presence.node.as_str() == "b1"
        };
        (0..2_000).filter(first).count()
    };
    let counts = [0.80, 0.84, 0.88, 0.92, 0.96].map(left);
    assert!(counts.is_sorted_by(|more, less| more > less), "{counts:?}");
    assert!(counts[0] > 900 && counts[1] > 600 && counts[4] == 0, "{counts:?}");
}

#[test]
fn cluster_is_full_when_every_node_that_takes_viewers_is() {
    use media::BitsPerSecond;
    let full = |egress: &[u64], capacity: u64, policy: &Policy| {
        let mut view = Membership::default();
        for (index, egress) in egress.iter().enumerate() {
            let mut presence = presence(&format!("b{index}"), NodeState::Online, 1);
            presence.load.egress = BitsPerSecond(*egress);
            presence.load.egress_capacity = BitsPerSecond(capacity);
            view.heard(presence, at(0));
        }
        is_full(&view, policy, at(1))
    };
    assert!(full(&[95, 99], 100, &Policy::default()));
    assert!(!full(&[95, 94], 100, &Policy::default()));
    assert!(full(&[95, 10], 100, &drained(&["b1"])), "who is drained takes nobody");
    assert!(!full(&[95, 99], 0, &Policy::default()), "nobody knows the capacity");
    assert!(!full(&[], 100, &Policy::default()), "it is not full but gone");
}

#[test]
fn hostile_loads_leave_every_node_usable() {
    let view = cluster(&[("b1", f64::NAN), ("b2", f64::INFINITY), ("b3", -1e300)]);
    for key in 0..100 {
        assert_eq!(candidates(&view, &Policy::default(), Viewer { key, ..Viewer::default() }, at(1)).len(), 3);
    }
}
