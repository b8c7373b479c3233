//! Many replicas and a network that loses, repeats, reorders and invents: they agree in the end.

use proptest::prelude::*;

use super::*;

/// What the network does next.
#[derive(Debug, Clone)]
enum Event {
    /// Control writes an entry.
    Write(u8),
    /// A message of those ever sent reaches a replica, perhaps again.
    Deliver { to: prop::sample::Index, which: prop::sample::Index },
    /// A replica asks another for what it lacks.
    Ask { who: prop::sample::Index, whom: prop::sample::Index },
    /// A replica restarts with what it has stored.
    Restart { who: prop::sample::Index },
    /// Control is restored from a backup: it lacks its newest entries, and takes them from a replica.
    Restore { back: u8, from: prop::sample::Index },
    /// Time passes.
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let index = || any::<prop::sample::Index>();
    prop_oneof![
        3 => any::<u8>().prop_map(Event::Write),
        6 => (index(), index()).prop_map(|(to, which)| Event::Deliver { to, which }),
        2 => (index(), index()).prop_map(|(who, whom)| Event::Ask { who, whom }),
        1 => index().prop_map(|who| Event::Restart { who }),
        1 => (0_u8..4, index()).prop_map(|(back, from)| Event::Restore { back, from }),
        1 => (0_u8..60).prop_map(Event::Wait),
    ]
}

/// A node: its replica, and what its outputs told it to store.
struct Node {
    replica: Replica,
    stored: BTreeMap<EntrySequence, SignedEntry>,
}

impl Node {
    fn new() -> Self {
        Self { replica: replica(), stored: BTreeMap::new() }
    }

    fn take(&mut self, input: Input, now: Now) {
        for output in self.replica.apply(input, now) {
            match output {
                Output::StoreEntry { sequence, entry, rows } => {
                    let before = self.stored.insert(sequence, SignedEntry { entry, rows });
                    assert!(before.is_none(), "each entry is stored once");
                }
                Output::Refused(refusal) => panic!("honest messages are never refused: {refusal}"),
                Output::Forked(evidence) => panic!("control signed one log: {evidence:?}"),
                _ => {}
            }
        }
        self.replica.check_invariants();
    }

    fn restart(&mut self, now: Now) {
        let mut rows = BTreeMap::new();
        for signed in self.stored.values() {
            for raw in entry::split_rows(&signed.rows).unwrap() {
                rows.insert(entry::Row::decode(raw).unwrap().id, Bytes::copy_from_slice(raw));
            }
            // Rows that were removed are no more in the store.
            for change in entry::ReadEntry::read(&signed.entry).unwrap().entry.changes {
                if change.digest.is_none() {
                    rows.remove(&change.id);
                }
            }
        }
        let Some(newest) = self.stored.values().next_back() else {
            self.replica = replica();
            return;
        };
        let before = (self.replica.place(), self.replica.state());
        let mut roots = roots();
        roots.take(&first_statement()).unwrap();
        self.replica = Replica::restore(roots, &newest.entry, rows.into_values(), now).unwrap();
        assert_eq!((self.replica.place(), self.replica.state()), before, "a restart changes nothing");
    }
}

fn pick<'i, T>(index: &prop::sample::Index, of: &'i [T]) -> Option<&'i T> {
    (!of.is_empty()).then(|| &of[index.index(of.len())])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_whatever_the_network_does(events in proptest::collection::vec(event(), 1..60)) {
        let mut writer = Writer::new();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::new()).collect();
        let mut sent: Vec<Input> = Vec::new();
        let mut seconds = 1;
        for event in events {
            let now = at(seconds);
            match event {
                Event::Write(byte) => {
                    let name = format!("b{}", byte % 5);
                    let mut edits = vec![write(policy(&name, u64::from(byte)))];
                    if writer.replica.view().policy(&node(&name)).is_some() && byte % 3 == 0 {
                        edits = vec![remove(8, &name)];
                    }
                    let SignedEntry { entry, rows } = writer.write(edits, now);
                    sent.extend([Input::Entry { entry, rows }, Input::Head(writer.head(now))]);
                }
                Event::Deliver { to, which } => {
                    let count = nodes.len();
                    if let Some(input) = pick(&which, &sent) {
                        nodes[to.index(count)].take(input.clone(), now);
                    }
                }
                Event::Ask { who, whom } => {
                    let (who, whom) = (who.index(nodes.len()), whom.index(nodes.len()));
                    let next = nodes[who].replica.place().sequence.next();
                    for signed in nodes[whom].stored.range(next..).map(|(_, s)| s.clone()).collect::<Vec<_>>() {
                        nodes[who].take(Input::Entry { entry: signed.entry, rows: signed.rows }, now);
                    }
                }
                Event::Restart { who } => {
                    let count = nodes.len();
                    nodes[who.index(count)].restart(now);
                }
                Event::Restore { back, from } => {
                    // Control asks a node before it writes, and the node has more than the backup or less than control had.
                    let peer = &nodes[from.index(nodes.len())];
                    let newest = writer.replica.place().sequence;
                    let kept = EntrySequence(newest.0.saturating_sub(back.into()));
                    let lost = writer.entries.range(kept.next()..).map(|(sequence, _)| *sequence);
                    if lost.clone().all(|sequence| peer.stored.contains_key(&sequence)) {
                        let mut restored = Writer { replica: replica(), entries: BTreeMap::new(), ..writer };
                        for signed in writer.entries.range(..=kept).map(|(_, s)| s).chain(peer.stored.range(kept.next()..).map(|(_, s)| s)) {
                            apply(&mut restored.replica, signed, now);
                            restored.entries.insert(restored.replica.place().sequence, signed.clone());
                        }
                        prop_assert_eq!(restored.replica.place(), writer.replica.place());
                        writer = restored;
                    }
                }
                Event::Wait(more) => seconds += u64::from(more),
            }
        }
        // The network heals: everybody asks control.
        let now = at(seconds + 1);
        for node in &mut nodes {
            let next = node.replica.place().sequence.next();
            for signed in writer.entries.range(next..).map(|(_, s)| s) {
                node.take(Input::Entry { entry: signed.entry.clone(), rows: signed.rows.clone() }, now);
            }
            node.take(Input::Head(writer.head(now)), now);
            prop_assert_eq!(node.replica.place(), writer.replica.place());
            prop_assert_eq!(node.replica.state(), writer.replica.state());
            prop_assert_eq!(node.replica.freshness(now.elapsed), Freshness::Fresh);
        }
    }
}
