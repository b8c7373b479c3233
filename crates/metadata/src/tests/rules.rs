//! What entries may say, and what comes of it.

use super::*;

#[test]
fn rows_are_written_changed_and_removed() {
    let (mut writer, mut reader) = (Writer::new(), replica());
    let first = writer.write(vec![write(member("b1")), write(stream("hall", "Town hall"))], at(1));
    let second = writer.write(vec![write(policy("b1", 50)), write(stream("hall", "Hall"))], at(2));
    let third = writer.write(vec![remove(8, "b1")], at(3));
    for (n, entry) in [(1, &first), (2, &second), (3, &third)] {
        let outputs = apply(&mut reader, entry, at(n));
        let stored =
            Output::StoreEntry { sequence: EntrySequence(n), entry: entry.entry.clone(), rows: entry.rows.clone() };
        assert_eq!(outputs, [stored, Output::Changed]);
        if n == 2 {
            assert_eq!(reader.view().policy(&node("b1")).unwrap().weight_percent, 50);
        }
    }
    let view = reader.view();
    assert_eq!(view.member(&node("b1")).unwrap().role, Role::Broadcast);
    assert_eq!(view.streams().next().unwrap().title, "Hall");
    assert!(view.policy(&node("b1")).is_none());
    assert_eq!((reader.place(), reader.state()), (writer.replica.place(), writer.replica.state()));
}

#[test]
fn entry_is_taken_once_and_what_comes_too_early_is_asked_for() {
    let (mut writer, mut reader) = (Writer::new(), replica());
    let first = writer.write(vec![write(member("b1"))], at(1));
    let second = writer.write(vec![write(member("b2"))], at(2));
    assert_eq!(apply(&mut reader, &second, at(2)), [Output::FetchEntries(EntrySequence(1))]);
    apply(&mut reader, &first, at(2));
    apply(&mut reader, &second, at(2));
    assert!(apply(&mut reader, &first, at(3)).is_empty() && apply(&mut reader, &second, at(3)).is_empty());
    assert_eq!(reader.place(), writer.replica.place());
}

#[test]
fn name_of_a_member_never_returns() {
    let mut writer = Writer::new();
    writer.write(vec![write(member("b1"))], at(1));
    let why = |edits| writer.clone().replica.draft(edits, at(2).wall).unwrap_err().detail;
    assert!(why(vec![remove(2, "b1")]).contains("without a tombstone"));
    writer.write(vec![remove(2, "b1"), write(tombstone(2, "b1"))], at(2));
    let why = |edits| writer.clone().replica.draft(edits, at(3).wall).unwrap_err().detail;
    assert!(why(vec![write(member("b1"))]).contains("was there once"));
    assert!(why(vec![remove(11, "2/b1")]).contains("stays"));
    assert!(writer.replica.view().was_member(&node("b1")) && writer.replica.view().member(&node("b1")).is_none());
    // What is no member may come back.
    writer.write(vec![write(policy("b1", 10))], at(4));
    writer.write(vec![remove(8, "b1")], at(5));
    writer.write(vec![write(policy("b1", 20))], at(6));
}

#[test]
fn two_rows_of_one_name_are_refused_and_nothing_of_the_entry_remains() {
    let mut writer = Writer::new();
    writer.write(vec![write(member("b1"))], at(1));
    let (place, state) = (writer.replica.place(), writer.replica.state());
    let another = Edit { id: RowId([1; 16]), ..write(member("b1")) };
    let refused = writer.replica.draft(vec![write(member("b2")), another], at(2).wall).unwrap_err();
    assert!(refused.detail.contains("b1 is there already"), "{refused}");
    assert_eq!((writer.replica.place(), writer.replica.state()), (place, state));
    assert!(writer.replica.view().member(&node("b2")).is_none());
    writer.replica.check_invariants();
    let renamed = Edit { id: id(2, "b1"), ..write(member("b3")) };
    assert!(writer.replica.draft(vec![renamed], at(2).wall).unwrap_err().detail.contains("cannot become"));
}

#[test]
fn revoked_node_is_no_member_and_its_keys_seal_nothing() {
    let mut writer = Writer::new();
    let public_key = seal::SealingKey::from_seed_bytes(&[5; 32]).unwrap().public_key_bytes();
    let key = seal::KeyId::of(&public_key);
    let scope = Scope::Pools(vec!["main".to_owned()]);
    let (from, until) = (START, START.plus(Duration::from_secs(3600)));
    let grant = Grant { public_key, node: node("i1"), scope, may_delegate: false, from, until };
    writer.write(vec![write(member("i1")), write(Body::Grant(grant))], at(1));
    assert!(writer.replica.view().grant(&key).is_some());
    assert_eq!(writer.replica.view().grants(at(2).wall).count(), 1);
    assert_eq!(writer.replica.view().grants(at(3600).wall).count(), 0, "it has ended");
    writer.write(vec![write(revoked("i1"))], at(2));
    let view = writer.replica.view();
    assert!(view.grant(&key).is_none() && view.grants(at(2).wall).count() == 0);
    assert!(view.member(&node("i1")).is_none() && view.members().count() == 0);
    assert!(view.is_node_revoked(&node("i1")) && view.revocations().count() == 1);
    assert!(view.any_member(&node("i1")).is_some(), "the name stays taken");
}

#[test]
fn what_a_newer_version_writes_denies_or_is_ignored() {
    let unknown = |kind: u64| {
        let mut raw = seal::wire::Writer::with_capacity(64);
        raw.array(5).uint(kind).bytes(&[4; 16]).uint(1).bytes(&[0; 16]).bytes(&[0xa0]);
        entry::Row::decode(&raw.finish()).unwrap().body
    };
    assert!(unknown(63).is_denied() && !unknown(64).is_denied());
    // A field that must be understood makes a member none; one that may be ignored changes nothing.
    let with_field = |number: u64| {
        let encoded = member("b1").encode();
        let mut raw = vec![encoded[0] + 1];
        raw.extend_from_slice(&encoded[1..]);
        let mut field = seal::wire::Writer::with_capacity(4);
        field.uint(number).uint(1);
        raw.extend_from_slice(&field.finish());
        Body::decode(2, &raw).unwrap()
    };
    assert_eq!(with_field(64), member("b1"));
    assert_eq!(with_field(63), Body::NotUnderstood { kind: 2 });
}

#[test]
fn visibility_is_absent_where_it_is_public_and_said_in_one_way() {
    let encoded = |body: &Body| body.encode();
    let public = stream("hall", "Hall");
    assert_eq!(Body::decode(7, &encoded(&public)).unwrap(), public);
    assert_eq!(Body::decode(7, &encoded(&hidden("hall"))).unwrap(), hidden("hall"));
    let with_visibility = |number: u64| {
        let mut raw = seal::wire::Writer::with_capacity(32);
        raw.map(4).uint(1).text("hall").uint(2).text("main").uint(3).array(0).uint(4).uint(number);
        Body::decode(7, &raw.finish())
    };
    assert!(with_visibility(3).is_ok());
    for number in [0, 4] {
        assert_eq!(with_visibility(number).unwrap_err().reason, RefusalReason::Implausible, "{number}");
    }
}

#[test]
fn verifier_for_another_use_verifies_nothing_here_and_the_entry_is_taken() {
    let mut raw = seal::wire::Writer::with_capacity(32);
    raw.map(2).uint(1).uint(2).uint(2).text("an issuer");
    assert_eq!(Body::decode(9, &raw.finish()).unwrap(), Body::NotUnderstood { kind: 9 });
}

#[test]
fn stream_that_is_not_understood_is_noticed() {
    let mut writer = Writer::new();
    writer.write(vec![write(hidden("hall")), write(verifier(9)), write(token_revoked())], at(1));
    let view = writer.replica.view();
    assert_eq!((view.verifiers().count(), view.token_revocations().count()), (1, 1));
    assert!(!view.has_streams_not_understood());
}

#[test]
fn snapshot_is_taken_for_what_its_newest_entry_says() {
    let writer = Writer::with_history(5);
    let newest = writer.entries.values().next_back().unwrap();
    // The newest row of each identity, as a store has them.
    let mut rows = BTreeMap::new();
    for signed in writer.entries.values() {
        for raw in entry::split_rows(&signed.rows).unwrap() {
            rows.insert(entry::Row::decode(raw).unwrap().id, Bytes::copy_from_slice(raw));
        }
    }
    let rooted = || {
        let mut roots = roots();
        roots.take(&first_statement()).unwrap();
        roots
    };
    let restore = |rows: Vec<Bytes>| Replica::restore(rooted(), &newest.entry, rows, at(9));
    let all: Vec<Bytes> = rows.into_values().collect();
    let mut restored = restore(all.clone()).unwrap();
    restored.check_invariants();
    assert_eq!((restored.place(), restored.state()), (writer.replica.place(), writer.replica.state()));
    assert!(restore(all[1..].to_vec()).unwrap_err().detail.contains("not those of entry 5"));
    let old = writer.entries.values().next().unwrap().rows.clone();
    let of_old = entry::split_rows(&old).unwrap()[1];
    let swapped = all.iter().map(|row| match entry::Row::decode(row).unwrap().kind {
        8 => Bytes::copy_from_slice(of_old),
        _ => row.clone(),
    });
    assert!(restore(swapped.collect()).is_err(), "an old version of a row");
    // It goes on from there.
    let mut writer = writer;
    let next = writer.write(vec![write(member("b9"))], at(10));
    assert!(apply(&mut restored, &next, at(10)).contains(&Output::Changed));
}

#[test]
fn head_counts_when_its_entries_are_here_and_its_time_rises() {
    let mut writer = Writer::with_history(2);
    let mut reader = replica();
    let head = writer.head(at(40));
    assert_eq!(reader.apply(Input::Tick, at(31)), [Output::Freshness(Freshness::Stale)]);
    // The head alone proves nothing.
    assert_eq!(reader.apply(Input::Head(head.clone()), at(40)), [Output::FetchEntries(EntrySequence(1))]);
    assert_eq!(reader.freshness(at(40).elapsed), Freshness::Stale);
    for signed in writer.entries.clone().values() {
        let outputs = apply(&mut reader, signed, at(41));
        if reader.place() == writer.replica.place() {
            assert!(outputs.contains(&Output::StoreHead(head.clone())), "{outputs:?}");
            assert!(outputs.contains(&Output::Freshness(Freshness::Fresh)));
        }
    }
    // The same head, played for a minute, is old.
    assert!(reader.apply(Input::Head(head.clone()), at(60)).is_empty());
    assert_eq!(reader.next_deadline(at(60).elapsed), Some(Duration::from_millis(70_001)));
    assert_eq!(reader.apply(Input::Head(head), at(71)), [Output::Freshness(Freshness::Stale)]);
    // So is one that comes late.
    let outputs = reader.apply(Input::Head(writer.head(at(75))), at(110));
    assert!(matches!(outputs[..], [Output::StoreHead(_)]), "{outputs:?}");
    assert_eq!(reader.freshness(at(110).elapsed), Freshness::Stale);
    assert_eq!(reader.apply(Input::Tick, at(700)), [Output::Freshness(Freshness::Critical)]);
    writer.write(vec![write(member("b3"))], at(701));
    let outputs = reader.apply(Input::Head(writer.head(at(702))), at(702));
    assert_eq!(outputs, [Output::FetchEntries(EntrySequence(3))]);
}
