//! Several gates on a bus that loses, repeats and reorders, with peers that answer pulls.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::PullId;

/// Gates that reach each other.
struct Cluster {
    gates: Vec<(NodeId, Bench)>,
    now: Duration,
    /// What a peer answers instead of the truth.
    liar: Option<(NodeId, Pulled)>,
}

impl Cluster {
    fn new(authority: &Authority, studio: &Studio, names: &[&str]) -> Self {
        let mut cluster = Self { gates: vec![], now: Duration::ZERO, liar: None };
        for name in names {
            cluster.join(name, authority, studio);
        }
        cluster.wait(Duration::from_secs(2));
        cluster
    }

    fn join(&mut self, name: &str, authority: &Authority, studio: &Studio) {
        let mut bench = Bench::new(BTreeMap::new());
        bench.now = self.now;
        bench.apply(Input::Keys(authority.grant(studio, START)));
        self.gates.push((node(name), bench));
        self.introduce();
    }

    fn introduce(&mut self) {
        let all: Vec<NodeId> = self.gates.iter().map(|(name, _)| name.clone()).collect();
        for (name, bench) in &mut self.gates {
            bench.apply(Input::Peers(all.iter().filter(|other| *other != name).cloned().collect()));
        }
        self.settle();
    }

    fn gate(&mut self, name: &str) -> &mut Bench {
        &mut self.gates.iter_mut().find(|(n, _)| n.as_str() == name).unwrap().1
    }

    /// Answers all pulls, until there are none.
    fn settle(&mut self) {
        let mut waiting: VecDeque<(usize, PullId, Pulled)> = VecDeque::new();
        for _ in 0..100_000 {
            for index in 0..self.gates.len() {
                for pull in std::mem::take(&mut self.gates[index].1.pulls) {
                    let (id, result) = self.answer(&pull);
                    waiting.push_back((index, id, result));
                }
            }
            let Some((index, id, result)) = waiting.pop_front() else { return };
            self.gates[index].1.apply(Input::Pulled { id, result });
        }
        panic!("pulls without end");
    }

    fn answer(&self, pull: &Effect) -> (PullId, Pulled) {
        let view = |peer: &NodeId, stream: &StreamId| {
            let found = self.gates.iter().find(|(name, _)| name == peer);
            found.and_then(|(_, bench)| bench.views.get(stream).cloned())
        };
        let lie = |peer: &NodeId| self.liar.as_ref().filter(|(name, _)| name == peer).map(|(_, lie)| lie.clone());
        match pull {
            Effect::PullObject { id, peer, name, .. } => {
                let held = view(peer, &name.stream).and_then(|v| v.media.get(name.epoch, &name.rendition, name.slot));
                let truth = held.map_or(Pulled::Failed(None), |(digest, bytes)| Pulled::Object { digest, bytes });
                (*id, lie(peer).unwrap_or(truth))
            }
            Effect::PullLog { id, peer, stream, from } => {
                let truth = view(peer, stream).map_or(Pulled::Failed(None), |view| Pulled::Log(view.seals(*from)));
                (*id, lie(peer).unwrap_or(truth))
            }
            other => panic!("not a pull: {other:?}"),
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(50)).min(end);
            for (_, bench) in &mut self.gates {
                let left = self.now.saturating_sub(bench.now);
                bench.wait(left);
            }
            self.settle();
        }
    }

    fn everyone(&mut self, act: impl Fn(&mut Bench)) {
        self.gates.iter_mut().for_each(|(_, bench)| act(bench));
        self.settle();
    }

    fn assert_alike(&self) {
        let (_, first) = &self.gates[0];
        for (name, bench) in &self.gates {
            for rendition in ["1080p", "360p", "audio"] {
                let (ours, theirs) = (bench.playlist(rendition), first.playlist(rendition));
                let tail =
                    |text: &Option<String>| text.as_ref().map(|text| text.lines().rev().take(3).collect::<String>());
                let (tail_ours, tail_theirs) = (tail(&ours), tail(&theirs));
                assert!(theirs.is_some() && ours == theirs, "{name} {rendition}: {tail_ours:?} {tail_theirs:?}");
            }
            let multivariant = |bench: &Bench| {
                bench.view().playlists.as_ref().unwrap().live().multivariant().unwrap().identity().clone()
            };
            assert_eq!(multivariant(bench), multivariant(first));
        }
    }
}

fn setup(names: &[&str]) -> (Authority, Studio, Cluster) {
    let authority = Authority::new();
    let studio = Studio::new("demo", START);
    let cluster = Cluster::new(&authority, &studio, names);
    (authority, studio, cluster)
}

#[test]
fn late_joiner_comes_to_the_same_playlists_byte_for_byte() {
    let (authority, mut studio, mut cluster) = setup(&["b1"]);
    for n in 0..20 {
        let rows = studio.segment(START);
        cluster.everyone(|bench| bench.take_all(&rows));
        if n == 7 {
            let row = studio.row(START);
            cluster.everyone(|bench| bench.take(&row));
            studio.reconnect(START);
        }
    }
    cluster.join("b2", &authority, &studio);
    let row = studio.row(START);
    cluster.everyone(|bench| bench.take(&row));
    cluster.wait(Duration::from_secs(1));
    cluster.assert_alike();
    let rows = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&rows));
    cluster.assert_alike();
    assert_eq!(cluster.gate("b2").reasons(), []);
}

#[test]
fn wiped_node_does_not_take_an_old_session_while_peers_are_up() {
    let (authority, mut studio, mut cluster) = setup(&["b1"]);
    let old = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&old));
    studio.reconnect(START);
    // Long enough for the old session to leave the window of the log.
    for _ in 0..14 {
        let new = studio.segment(START);
        cluster.everyone(|bench| bench.take_all(&new));
    }
    cluster.join("b2", &authority, &studio);
    cluster.gate("b2").take_all(&old);
    cluster.settle();
    cluster.wait(Duration::from_secs(1));
    cluster.assert_alike();
    assert!(cluster.gate("b2").reasons().contains(&AlertReason::Epoch));
}

#[test]
fn seals_and_bytes_that_never_came_are_pulled() {
    let (_, mut studio, mut cluster) = setup(&["b1", "b2"]);
    let rows = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&rows));
    // b2 gets every other seal and no bytes for a while, then nothing at all.
    for n in 0..24 {
        let row = studio.row(START);
        cluster.gate("b1").take(&row);
        if n < 12 && n % 2 == 0 {
            cluster.gate("b2").seal(&row);
        }
        cluster.wait(Duration::from_millis(500));
    }
    cluster.wait(Duration::from_secs(3));
    cluster.assert_alike();
    assert_eq!(cluster.gate("b2").reasons(), []);
}

#[test]
fn liar_is_passed_over() {
    let lies = [
        Pulled::Object { digest: sha256(b"<html>"), bytes: Bytes::from_static(b"<html>") },
        Pulled::Failed(Some((AlertReason::Deadline, "slow".into()))),
        Pulled::Log(vec![Bytes::from_static(b"<html>")]),
        Pulled::Failed(None),
    ];
    for lie in lies {
        let (_, mut studio, mut cluster) = setup(&["b1", "b2", "b3"]);
        let rows = studio.segment(START);
        cluster.everyone(|bench| bench.take_all(&rows));
        cluster.liar = Some((node("b1"), lie));
        for row in studio.segment(START) {
            cluster.gate("b1").take(&row);
            cluster.gate("b2").take(&row);
        }
        cluster.wait(Duration::from_secs(8));
        cluster.assert_alike();
    }
}

#[test]
fn partitioned_node_joins_again_far_ahead() {
    let (_, mut studio, mut cluster) = setup(&["b1", "b2"]);
    let rows = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&rows));
    for (_, bench) in &mut cluster.gates {
        bench.apply(Input::Peers(vec![]));
    }
    for _ in 0..40 {
        let rows = studio.segment(START);
        cluster.gate("b1").take_all(&rows);
    }
    cluster.introduce();
    cluster.wait(Duration::from_secs(5));
    cluster.assert_alike();
}

/// What the bus does with one message.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Delivered,
    Lost,
    Twice,
    Late(usize),
}

fn fates() -> impl Strategy<Value = Vec<[Fate; 2]>> {
    let fate = || {
        prop_oneof![
            5 => Just(Fate::Delivered),
            2 => Just(Fate::Lost),
            1 => Just(Fate::Twice),
            2 => (1_usize..12).prop_map(Fate::Late),
        ]
    };
    prop::collection::vec([fate(), fate()], 40..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever the bus loses, repeats and reorders, and whichever bytes reach only one node, both nodes come to the same
    /// playlists, never go back on the way, and accuse nobody.
    #[test]
    fn all_nodes_agree_whatever_the_bus_does(fates in fates(), breaks in prop::collection::btree_set(8_usize..60, 0..3)) {
        let (_, mut studio, mut cluster) = setup(&["b1", "b2"]);
        let mut late: Vec<(usize, usize, Row)> = vec![];
        let mut shown = [None, None];
        for (n, fate) in fates.iter().enumerate() {
            if breaks.contains(&n) {
                studio.reconnect(START);
            }
            let row = studio.row(START);
            // At least one node has the bytes.
            cluster.gates[n % 2].1.objects(&row);
            for (index, fate) in fate.iter().enumerate() {
                let bench = &mut cluster.gates[index].1;
                // A node that hears of a stream when nobody has its first seal begins at the next checkpoint, so its window is shorter.
                let fate = if n == 0 && index == 0 { &Fate::Delivered } else { fate };
                match fate {
                    Fate::Delivered => bench.take(&row),
                    Fate::Lost if index == n % 2 => bench.seal(&row),
                    Fate::Lost => {}
                    Fate::Twice => { bench.take(&row); bench.seal(&row); }
                    Fate::Late(by) => late.push((n + by, index, row.clone())),
                }
            }
            for (_, index, row) in late.extract_if(.., |(due, _, _)| *due <= n) {
                cluster.gates[index].1.seal(&row);
            }
            cluster.wait(Duration::from_millis(100));
            for (index, (_, bench)) in cluster.gates.iter().enumerate() {
                let now = bench.gate.streams.values().next().and_then(|stream| stream.shown_place());
                prop_assert!(now >= shown[index], "a playlist went back");
                shown[index] = now;
            }
        }
        for (_, index, row) in late {
            cluster.gates[index].1.seal(&row);
        }
        let rows = studio.segment(START);
        cluster.everyone(|bench| bench.take_all(&rows));
        // Each may lack what only the other has, in turns: every turn takes a round of pulls.
        cluster.wait(Duration::from_secs(20));
        cluster.assert_alike();
        for (_, bench) in &mut cluster.gates {
            // Bytes from before the place where a node joined are dropped in the end, which accuses nobody.
            prop_assert!(bench.reasons().iter().all(|reason| *reason == AlertReason::Deadline));
        }
    }
}

#[test]
fn seal_that_is_a_minute_late_costs_nothing() {
    let (_, mut studio, mut cluster) = setup(&["b1", "b2"]);
    let rows = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&rows));
    let late = studio.row(START);
    cluster.gate("b1").take(&late);
    for _ in 0..120 {
        let row = studio.row(START);
        cluster.everyone(|bench| bench.take(&row));
        cluster.wait(Duration::from_millis(500));
    }
    cluster.assert_alike();
    cluster.gate("b2").seal(&late);
    assert_eq!(cluster.gate("b2").reasons(), []);
    cluster.assert_alike();
}

#[test]
fn bus_that_is_away_costs_nothing_while_a_peer_hears_the_ingest() {
    let (_, mut studio, mut cluster) = setup(&["b1", "b2"]);
    let rows = studio.segment(START);
    cluster.everyone(|bench| bench.take_all(&rows));
    for _ in 0..16 {
        let row = studio.row(START);
        cluster.gate("b1").take(&row);
        cluster.wait(Duration::from_millis(500));
    }
    cluster.wait(Duration::from_secs(3));
    cluster.assert_alike();
}
