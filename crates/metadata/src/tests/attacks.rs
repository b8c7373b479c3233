//! What nobody gets past a replica.

use proptest::prelude::*;
use seal::limits::COUNTER_MAX;

use super::*;

/// Flips, cuts, doubles or replaces bytes of a statement.
#[derive(Debug, Clone)]
enum Mutation {
    Flip { at: prop::sample::Index, bit: u8 },
    Cut { at: prop::sample::Index },
    Double { at: prop::sample::Index },
    Swap { at: prop::sample::Index, with: prop::sample::Index },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        1 => at().prop_map(|at| Mutation::Cut { at }),
        1 => at().prop_map(|at| Mutation::Double { at }),
        1 => (at(), at()).prop_map(|(at, with)| Mutation::Swap { at, with }),
    ]
}

fn mutate(bytes: &Bytes, mutation: &Mutation) -> Bytes {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    match mutation {
        Mutation::Flip { at, bit } => bytes[at.index(length)] ^= 1 << bit,
        Mutation::Cut { at } => bytes.truncate(at.index(length)),
        Mutation::Double { at } => bytes.insert(at.index(length), bytes[at.index(length)]),
        Mutation::Swap { at, with } => bytes.swap(at.index(length), with.index(length)),
    }
    bytes.into()
}

/// Three entries with rows, their state, and a reader that has the first two.
fn scene() -> (Writer, Replica, SignedEntry) {
    let mut writer = Writer::with_history(2);
    let reader = writer.replica.clone();
    let third = writer
        .write(vec![write(revoked("b1")), write(hidden("hall")), write(verifier(9)), write(token_revoked())], at(3));
    (writer, reader, third)
}

thread_local! {
    static SCENE: (Writer, Replica, SignedEntry) = scene();
}

/// A replica refuses a mutated entry, or an entry with mutated rows, and stays where it is.
fn is_refused(of_entry: bool, mutation: &Mutation) -> Result<(), TestCaseError> {
    SCENE.with(|(_, reader, third)| {
        let (entry, rows) = if of_entry {
            (mutate(&third.entry, mutation), third.rows.clone())
        } else {
            (third.entry.clone(), mutate(&third.rows, mutation))
        };
        prop_assume!((&entry, &rows) != (&third.entry, &third.rows));
        let mut reader = reader.clone();
        let outputs = reader.apply(Input::Entry { entry, rows }, at(3));
        prop_assert!(!refusals(&outputs).is_empty(), "{outputs:?}");
        prop_assert_eq!(reader.place().sequence, EntrySequence(2));
        prop_assert!(reader.view().fork().is_none());
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "soak: half a minute"]
    fn soak_hundred_thousand_mutated_entries_are_refused(of_entry in any::<bool>(), mutation in mutation()) {
        is_refused(of_entry, &mutation)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_entry_is_never_taken(of_entry in any::<bool>(), mutation in mutation()) {
        is_refused(of_entry, &mutation)?;
    }

    #[test]
    fn mutated_head_or_root_changes_nothing(mutation in mutation()) {
        SCENE.with(|(writer, ..)| {
            let mut reader = writer.replica.clone();
            let (head, root) = (writer.head(at(4)), first_statement());
            let bytes = mutate(&head, &mutation);
            if bytes != head {
                let outputs = reader.apply(Input::Head(bytes), at(4));
                let is_news = |output: &Output| !matches!(output, Output::Refused(_) | Output::FetchRoots(_));
                prop_assert!(!refusals(&outputs).is_empty() && !outputs.iter().any(is_news), "{outputs:?}");
            }
            // Another signature under the statement in force is no news, right or wrong.
            let outputs = reader.apply(Input::Root(mutate(&root, &mutation)), at(4));
            prop_assert_eq!(refusals(&outputs).len(), outputs.len());
            prop_assert_eq!(reader.roots().raw(), Some(&root));
            prop_assert!(reader.view().fork().is_none() && reader.evidence().is_empty());
            Ok(())
        })?;
    }
}

#[test]
fn old_entries_after_a_restart_are_refused_or_known() {
    let (writer, _, third) = scene();
    let newest = writer.entries.values().next_back().unwrap();
    assert_eq!(*newest, third);
    let mut rows = BTreeMap::new();
    for signed in writer.entries.values() {
        for raw in entry::split_rows(&signed.rows).unwrap() {
            rows.insert(entry::Row::decode(raw).unwrap().id, Bytes::copy_from_slice(raw));
        }
    }
    let mut roots = roots();
    roots.take(&first_statement()).unwrap();
    let mut restarted = Replica::restore(roots, &third.entry, rows.into_values(), at(5)).unwrap();
    let (place, state) = (restarted.place(), restarted.state());
    for old in writer.entries.values() {
        let outputs = apply(&mut restarted, old, at(6));
        assert!(!outputs.contains(&Output::Changed), "{outputs:?}");
    }
    assert_eq!((restarted.place(), restarted.state()), (place, state));
    assert!(restarted.view().is_node_revoked(&node("b1")) && restarted.view().fork().is_none());
}

#[test]
fn rows_of_one_entry_do_not_fit_another() {
    let mut writer = Writer::with_history(1);
    let mut reader = writer.replica.clone();
    let before = reader.place();
    let (a, b) = (vec![write(policy("b1", 10))], vec![write(policy("b1", 20))]);
    let second = writer.write(a, at(2));
    let third = writer.write(b, at(3));
    let mixed = SignedEntry { rows: third.rows.clone(), ..second.clone() };
    assert_eq!(refusals(&apply(&mut reader, &mixed, at(3))), [RefusalReason::Malformed]);
    let both = SignedEntry { rows: [&second.rows[..], &third.rows].concat().into(), ..second.clone() };
    assert_eq!(refusals(&apply(&mut reader, &both, at(3))), [RefusalReason::Malformed]);
    let none = SignedEntry { rows: Bytes::new(), ..second };
    assert_eq!(refusals(&apply(&mut reader, &none, at(3))), [RefusalReason::Malformed]);
    assert_eq!(reader.place(), before);
}

#[test]
fn entry_that_leads_elsewhere_than_it_says_is_refused_and_leaves_nothing() {
    let mut writer = Writer::new();
    let good = writer.write(vec![write(member("b1"))], at(1));
    let mut entry = entry::ReadEntry::read(&good.entry).unwrap().entry;
    entry.state = media::Digest([1; 32]);
    let wrong = SignedEntry { entry: entry.sign(&control_key(1)).unwrap(), rows: good.rows.clone() };
    let mut reader = replica();
    let empty = reader.state();
    assert_eq!(refusals(&apply(&mut reader, &wrong, at(1))), [RefusalReason::Chain]);
    // The right state does not help an entry that follows another log.
    let mut entry = entry::ReadEntry::read(&good.entry).unwrap().entry;
    entry.before = media::Digest([1; 32]);
    let elsewhere = SignedEntry { entry: entry.sign(&control_key(1)).unwrap(), rows: good.rows.clone() };
    assert_eq!(refusals(&apply(&mut reader, &elsewhere, at(1))), [RefusalReason::Chain]);
    assert_eq!((reader.state(), reader.place().sequence), (empty, EntrySequence(0)));
    assert!(apply(&mut reader, &good, at(1)).contains(&Output::Changed));
}

#[test]
fn twin_cluster_of_the_same_name_and_root_key_is_another_log() {
    let twin = RootStatement { log: LogId([8; 16]), ..statement() };
    let mut twin_writer = Writer { replica: Replica::new(roots(), Duration::ZERO), ..Writer::new() };
    twin_writer.replica.apply(Input::Root(sign_root(&twin, &[&root_key(1)]).unwrap()), at(0));
    let entry = twin_writer.write(vec![write(member("b1"))], at(1));
    let mut reader = replica();
    assert_eq!(refusals(&apply(&mut reader, &entry, at(1))), [RefusalReason::Identity]);
    assert_eq!(refusals(&reader.apply(Input::Head(twin_writer.head(at(1))), at(1))), [RefusalReason::Identity]);
    let root = sign_root(&twin, &[&root_key(1)]).unwrap();
    assert_eq!(refusals(&reader.apply(Input::Root(root), at(1))), [RefusalReason::Identity]);
}

#[test]
fn head_far_ahead_without_entries_hides_no_other() {
    let mut writer = Writer::with_history(2);
    let mut reader = writer.replica.clone();
    let mut far = reader.head(at(3).wall, [3; 16]).unwrap();
    far.sequence = EntrySequence(COUNTER_MAX);
    let far = far.sign(&control_key(1)).unwrap();
    assert_eq!(reader.apply(Input::Head(far.clone()), at(3)), [Output::FetchEntries(EntrySequence(3))]);
    let third = writer.write(vec![write(member("b3"))], at(4));
    assert_eq!(reader.apply(Input::Head(writer.head(at(4))), at(4)), [Output::FetchEntries(EntrySequence(3))]);
    assert_eq!(reader.apply(Input::Head(far), at(4)), [Output::FetchEntries(EntrySequence(3))]);
    let outputs = apply(&mut reader, &third, at(5));
    assert!(outputs.iter().any(|output| matches!(output, Output::StoreHead(_))), "{outputs:?}");
}

#[test]
fn entry_from_a_clock_that_is_ahead_waits_until_it_is_true() {
    let mut writer = Writer::new();
    let entry = writer.write(vec![write(member("b1"))], at(100));
    let mut reader = replica();
    assert_eq!(refusals(&apply(&mut reader, &entry, at(69))), [RefusalReason::Implausible]);
    assert!(apply(&mut reader, &entry, at(70)).contains(&Output::Changed));
    // Control's clock is set back: the time of the log stands still.
    let next = writer.write(vec![write(member("b2"))], at(80));
    assert!(apply(&mut reader, &next, at(81)).contains(&Output::Changed));
}

#[test]
fn control_that_signs_two_logs_is_found_out_and_its_rights_end_where_they_part() {
    let mut writer = Writer::with_history(2);
    let mut thief = writer.clone();
    let ours = writer.write(vec![write(member("b3"))], at(3));
    let theirs = thief.write(vec![write(member("evil")), write(revoked("b1"))], at(3));
    let later = thief.write(vec![write(member("evil2"))], at(4));
    let mut reader = writer.replica.clone();
    let outputs = apply(&mut reader, &theirs, at(4));
    let sequence = EntrySequence(3);
    let evidence = Evidence { sequence, ours: writer.replica.place().chain, other: theirs.entry.clone() };
    assert!(outputs.contains(&Output::Forked(Box::new(evidence.clone()))), "{outputs:?}");
    assert_eq!(refusals(&outputs), [RefusalReason::Equivocation]);
    assert_eq!(reader.evidence(), [evidence]);
    let view = reader.view();
    assert!(view.member(&node("b2")).is_some(), "what both sides share counts");
    assert!(view.member(&node("b3")).is_none() && view.member(&node("evil")).is_none(), "rights after the fork do not");
    assert!(view.is_node_revoked(&node("b1")), "revocations of both sides do");
    // Nothing more is folded, whichever side it continues.
    let next = writer.write(vec![write(policy("b2", 10))], at(5));
    assert_eq!(refusals(&apply(&mut reader, &next, at(5))), [RefusalReason::Equivocation]);
    assert!(!refusals(&apply(&mut reader, &later, at(5))).is_empty());
    assert_eq!(apply(&mut reader, &theirs, at(6)).iter().filter(|o| matches!(o, Output::Forked(_))).count(), 0);
    // A head of the other side shows it as well.
    let mut other = replica();
    for signed in writer.entries.values().take(3) {
        apply(&mut other, signed, at(6));
    }
    let outputs = other.apply(Input::Head(thief_head(&theirs, &writer)), at(6));
    assert!(outputs.iter().any(|output| matches!(output, Output::Forked(_))), "{outputs:?}");
    // So does one of a place that is behind already.
    let mut further = writer.replica.clone();
    assert_eq!(further.place().sequence, EntrySequence(4));
    let outputs = further.apply(Input::Head(thief_head(&theirs, &writer)), at(6));
    assert!(outputs.iter().any(|output| matches!(output, Output::Forked(_))), "{outputs:?}");
    // The root decides: its branch goes on from the last entry that counts.
    let branch = Branch { version: 2, sequence: EntrySequence(3), chain: writer_chain(&ours, &writer) };
    let decided = RootStatement { version: 2, branch: Some(branch), ..statement() };
    let outputs = reader.apply(Input::Root(sign_root(&decided, &[&root_key(1)]).unwrap()), at(7));
    assert!(refusals(&outputs).is_empty(), "{outputs:?}");
    assert!(reader.view().fork().is_none() && reader.view().member(&node("b3")).is_some());
}

/// A head of the thief's log at entry 3.
fn thief_head(theirs: &SignedEntry, writer: &Writer) -> Bytes {
    let mut thief = replica();
    for signed in writer.entries.values().take(2).chain([theirs]) {
        apply(&mut thief, signed, at(6));
    }
    thief.head(at(6).wall, [3; 16]).unwrap().sign(&control_key(1)).unwrap()
}

/// Chain value of entry 3 of the honest log.
fn writer_chain(ours: &SignedEntry, writer: &Writer) -> media::Digest {
    let mut honest = replica();
    for signed in writer.entries.values().take(2).chain([ours]) {
        apply(&mut honest, signed, at(6));
    }
    honest.place().chain
}
