//! Simulates the placement of streams on owners: how even it is, how much a change moves, and how soon it settles. Nodes state what
//! they hold only once per tick, as real ones do every two seconds, so decisions in between rest on their last statements.

use std::collections::BTreeMap;

use cluster::Membership;
use cluster::owners::{Replicas, SLACK, owners};
use media::{NodeId, Now, StreamId, UnixMillis};
use messages::{Load, NodeState, Policy, Presence, Role};

use crate::Figure;

const NODES: usize = 1_000;
const STREAMS: usize = 100_000;
/// Streams that begin between two presence messages.
const BEGIN_PER_TICK: usize = 1_000;
/// After this many rounds, placement counts as not converging.
const ROUNDS_MAX: usize = 50;

struct Simulation {
    view: Membership,
    policy: Policy,
    nodes: Vec<(NodeId, NodeState)>,
    owners: BTreeMap<StreamId, Vec<NodeId>>,
}

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    let nodes: Result<Vec<_>, _> = (0..NODES).map(|n| NodeId::new(&format!("b{n:04}"))).collect();
    let nodes: Vec<_> = nodes?.into_iter().map(|node| (node, NodeState::Online)).collect();
    let mut simulation =
        Simulation { view: Membership::default(), policy: Policy::default(), nodes, owners: BTreeMap::new() };
    simulation.tick();
    for number in 0..STREAMS {
        let stream = StreamId::new(&format!("s{number:06}"))?;
        let chosen = owners(&simulation.view, &simulation.policy, &stream, (&[], Replicas::default()), now());
        simulation.owners.insert(stream, chosen);
        if number % BEGIN_PER_TICK == BEGIN_PER_TICK - 1 {
            simulation.tick();
        }
    }
    let mut figures = vec![figure("after all have begun", &simulation, "")];
    let one = simulation.set(&[0], NodeState::Offline);
    figures.push(figure("one node dies", &simulation, &one));
    let many: Vec<usize> = (100..200).collect();
    let many = simulation.set(&many, NodeState::Offline);
    figures.push(figure("a hundred die at once", &simulation, &many));
    let drained: Vec<usize> = (200..210).collect();
    let drained = simulation.set(&drained, NodeState::Draining);
    figures.push(figure("ten are drained", &simulation, &drained));
    let back: Vec<usize> = (100..200).collect();
    let back = simulation.set(&back, NodeState::Online);
    figures.push(figure("the hundred come back", &simulation, &back));
    Ok(figures)
}

const fn now() -> Now {
    Now { elapsed: std::time::Duration::ZERO, wall: UnixMillis(0) }
}

fn figure(what: &str, simulation: &Simulation, moved: &str) -> Figure {
    let loads = simulation.loads();
    let there = simulation.nodes.iter().filter(|(_, state)| *state == NodeState::Online).count();
    let mean = loads.values().sum::<usize>() as f64 / there as f64;
    let most = loads.values().copied().max().unwrap_or(0) as f64;
    Figure {
        what: format!("{STREAMS} streams, two owners each, {NODES} nodes: {what}"),
        ours: format!("fullest node {:.2}x the mean of {mean:.0}{moved}", most / mean),
        peer: "-".to_owned(),
        ratio: None,
        bound: "no stream without owners; what a change moves is what it takes away",
    }
}

impl Simulation {
    fn loads(&self) -> BTreeMap<&NodeId, usize> {
        self.owners.values().flatten().fold(BTreeMap::new(), |mut loads, node| {
            *loads.entry(node).or_default() += 1;
            loads
        })
    }

    /// All nodes state what they hold.
    fn tick(&mut self) {
        let mut held: BTreeMap<&NodeId, Vec<StreamId>> = BTreeMap::new();
        for (stream, owners) in &self.owners {
            owners.iter().for_each(|node| held.entry(node).or_default().push(stream.clone()));
        }
        for (node, state) in &self.nodes {
            let presence = Presence {
                node: node.clone(),
                role: Role::Broadcast,
                state: *state,
                at: UnixMillis(0),
                started_at: UnixMillis(0),
                https: None,
                data: None,
                public: None,
                load: Load::default(),
                streams: held.remove(node).unwrap_or_default(),
                edges: Vec::new(),
                tenants: Vec::new(),
            };
            self.view.heard(presence, now());
        }
    }

    /// Changes the state of nodes; then decides all streams again, tick after tick, until nothing moves.
    fn set(&mut self, which: &[usize], state: NodeState) -> String {
        let mut lost = 0;
        for at in which {
            let Some(node) = self.nodes.get_mut(*at) else { continue };
            node.1 = state;
            lost += self.owners.values().filter(|owners| owners.contains(&node.0)).count();
        }
        self.tick();
        let (mut moved, mut rounds) = (0, 0);
        loop {
            let mut in_round = 0;
            for (stream, current) in &mut self.owners {
                let next = owners(&self.view, &self.policy, stream, (current, Replicas::default()), now());
                in_round += next.iter().filter(|node| !current.contains(node)).count();
                *current = next;
            }
            self.tick();
            moved += in_round;
            if in_round == 0 || rounds == ROUNDS_MAX {
                break;
            }
            rounds += 1;
        }
        let whole = self.owners.values().filter(|owners| owners.len() == 2).count();
        let lost = if state == NodeState::Online { 0 } else { lost };
        format!(
            "; {lost} places lost, {moved} moved, all {whole} streams whole after {rounds} presences (bound of load {:.2}x)",
            1.0 + SLACK
        )
    }
}
