//! Who may write, and who may void.

use super::*;

fn next(changes: impl FnOnce(&mut RootStatement)) -> RootStatement {
    let mut next = RootStatement { version: 2, ..statement() };
    changes(&mut next);
    next.root_keys.sort();
    next
}

#[test]
fn first_statement_is_signed_by_the_pinned_key() {
    let take = |statement: &RootStatement, keys: &[&RootKey]| roots().take(&sign_root(statement, keys).unwrap());
    assert_eq!(take(&statement(), &[&root_key(1)]).unwrap(), RootStep::Taken);
    // A later version will do, when it still names the key.
    assert_eq!(take(&next(|_| {}), &[&root_key(1)]).unwrap(), RootStep::Taken);
    let refused = |statement: &RootStatement, keys: &[&RootKey]| take(statement, keys).unwrap_err().reason;
    let other = next(|next| next.root_keys = vec![root_key(2).public_key_bytes()]);
    assert_eq!(refused(&other, &[&root_key(1), &root_key(2)]), RefusalReason::Key, "it does not name the pinned key");
    let both = next(|next| next.root_keys.push(root_key(2).public_key_bytes()));
    assert_eq!(refused(&both, &[&root_key(2)]), RefusalReason::Key);
    let foreign = RootStatement { cluster: ClusterId::new("village").unwrap(), ..statement() };
    assert_eq!(refused(&foreign, &[&root_key(1)]), RefusalReason::Identity);
    let mut raw = first_statement().to_vec();
    *raw.last_mut().unwrap() ^= 1;
    assert_eq!(roots().take(&raw.into()).unwrap_err().reason, RefusalReason::Signature);
}

#[test]
fn root_keys_rotate_by_both_thresholds_and_never_back() {
    let mut roots = roots();
    roots.take(&first_statement()).unwrap();
    let rotated = next(|next| {
        next.root_keys = vec![root_key(2).public_key_bytes(), root_key(3).public_key_bytes()];
        next.threshold = 2;
    });
    let (one, two, three) = (root_key(1), root_key(2), root_key(3));
    let by = |keys: &[&RootKey]| sign_root(&rotated, keys).unwrap();
    for too_few in [&[&one][..], &[&two, &three], &[&one, &two]] {
        assert_eq!(roots.take(&by(too_few)).unwrap_err().reason, RefusalReason::Key);
    }
    assert_eq!(roots.take(&by(&[&one, &two, &three])).unwrap(), RootStep::Taken);
    assert_eq!(roots.take(&first_statement()).unwrap_err().reason, RefusalReason::Key, "version 1 again");
    let skipped = RootStatement { version: 4, ..rotated.clone() };
    assert_eq!(roots.take(&sign_root(&skipped, &[&two, &three]).unwrap()).unwrap_err().reason, RefusalReason::Chain);
    let twice = RootStatement { at: START.plus(Duration::from_secs(1)), ..rotated.clone() };
    let refused = roots.take(&sign_root(&twice, &[&two, &three]).unwrap()).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Equivocation, "{refused}");
    let third = RootStatement { version: 3, ..rotated };
    assert_eq!(roots.take(&sign_root(&third, &[&two, &three]).unwrap()).unwrap(), RootStep::Taken);
    assert_eq!(roots.version(), 3);
}

#[test]
fn key_of_control_signs_only_its_part_of_the_log() {
    let mut writer = Writer::with_history(2);
    let handed_over = next(|next| {
        next.controls[0].last = Some(EntrySequence(2));
        next.controls.push(Control { first: EntrySequence(3), ..control(2) });
    });
    let raw = sign_root(&handed_over, &[&root_key(1)]).unwrap();
    let outputs = writer.replica.apply(Input::Root(raw.clone()), at(3));
    assert_eq!(outputs, [Output::StoreRoot(raw)]);
    let draft = writer.replica.draft(vec![write(member("b3"))], at(3).wall).unwrap();
    let old = draft.sign(&control_key(1)).unwrap();
    assert_eq!(refusals(&apply(&mut writer.replica, &old, at(3))), [RefusalReason::Key]);
    let never = draft.sign(&control_key(3)).unwrap();
    assert_eq!(refusals(&apply(&mut writer.replica, &never, at(3))), [RefusalReason::Key]);
    writer.key = 2;
    writer.write(vec![write(member("b3"))], at(3));
    // 400 days later it signs nothing.
    let late = at(400 * 86_400);
    let draft = writer.replica.draft(vec![write(member("b4"))], late.wall).unwrap();
    let outputs = apply(&mut writer.replica, &draft.sign(&control_key(2)).unwrap(), late);
    assert_eq!(refusals(&outputs), [RefusalReason::Key]);
}

/// A broker that has kept a head of before the branch keeps control from writing for ever, if it counts.
#[test]
fn head_of_what_the_root_has_voided_says_nothing_of_missing_entries() {
    let mut writer = Writer::with_history(3);
    let good = writer.replica.place();
    let mut restored = writer.replica.clone();
    writer.write(vec![write(member("b9"))], at(4));
    let head = writer.head(at(5));
    restored.apply(Input::Head(head.clone()), at(5));
    assert_eq!(restored.behind(), Some(good.sequence.next()));
    let branch = Branch { version: 2, sequence: good.sequence, chain: good.chain };
    let branched = sign_root(&next(|next| next.branch = Some(branch)), &[&root_key(1)]).unwrap();
    restored.apply(Input::Root(branched), at(6));
    assert_eq!(refusals(&restored.apply(Input::Head(head), at(6))), [RefusalReason::Chain]);
    assert_eq!(restored.behind(), None);
}

#[test]
fn branch_of_the_root_voids_what_a_thief_wrote() {
    let mut writer = Writer::with_history(3);
    let (good, good_rows) = (writer.replica.place(), writer.replica.state());
    let honest = writer.clone();
    // The thief has control's key, and writes far ahead.
    let mut stolen = Vec::new();
    for n in 0..5 {
        stolen.push(writer.write(vec![write(member(&format!("evil{n}")))], at(4)));
    }
    let mut reader = writer.replica.clone();
    assert!(reader.view().member(&node("evil4")).is_some());
    let branch = Branch { version: 2, sequence: good.sequence, chain: good.chain };
    let branched = next(|next| {
        next.branch = Some(branch);
        next.controls = vec![control(2)];
        next.controls.push(Control { last: Some(good.sequence), ..control(1) });
    });
    let raw = sign_root(&branched, &[&root_key(1)]).unwrap();
    let outputs = reader.apply(Input::Root(raw.clone()), at(5));
    assert_eq!(outputs, [Output::StoreRoot(raw.clone()), Output::Rewind(good.sequence), Output::Changed]);
    reader.check_invariants();
    assert_eq!((reader.place(), reader.state()), (good, good_rows));
    for signed in &stolen {
        assert!(!refusals(&apply(&mut reader, signed, at(6))).is_empty(), "what the thief wrote");
    }
    // Control goes on with its new key, on every replica: also on one that begins with the new statement.
    let mut control = Writer { key: 2, ..honest };
    control.replica.apply(Input::Root(raw.clone()), at(6));
    let next_entry = control.write(vec![write(member("b9"))], at(7));
    assert!(apply(&mut reader, &next_entry, at(7)).contains(&Output::Changed));
    let mut newcomer = Replica::new(roots(), Duration::ZERO);
    newcomer.apply(Input::Root(raw.clone()), at(8));
    for signed in control.entries.values() {
        assert!(apply(&mut newcomer, signed, at(8)).contains(&Output::Changed));
    }
    assert_eq!(newcomer.state(), reader.state());
    // One that has restarted cannot take back what was before, and begins again.
    let mut restarted = reader_after_restart(&writer);
    let outputs = restarted.apply(Input::Root(raw.clone()), at(8));
    let again = [Output::StoreRoot(raw), Output::StartAgain, Output::Changed, Output::FetchEntries(EntrySequence(1))];
    assert_eq!(outputs, again);
    assert!(restarted.view().rows() == 0 && restarted.place().sequence == EntrySequence(0));
    for signed in control.entries.values() {
        assert!(apply(&mut restarted, signed, at(8)).contains(&Output::Changed));
    }
    assert_eq!(restarted.state(), reader.state());
    // A later statement must not forget the branch.
    let forgetful = RootStatement { version: 3, branch: None, ..branched };
    let outputs = reader.apply(Input::Root(sign_root(&forgetful, &[&root_key(1)]).unwrap()), at(9));
    assert_eq!(refusals(&outputs), [RefusalReason::Chain]);
}

/// A replica of all that the writer has written, after a restart.
fn reader_after_restart(writer: &Writer) -> Replica {
    let mut rows = BTreeMap::new();
    for signed in writer.entries.values() {
        for raw in entry::split_rows(&signed.rows).unwrap() {
            rows.insert(entry::Row::decode(raw).unwrap().id, Bytes::copy_from_slice(raw));
        }
    }
    let mut roots = roots();
    roots.take(&first_statement()).unwrap();
    let newest = writer.entries.values().next_back().unwrap();
    Replica::restore(roots, &newest.entry, rows.into_values(), at(5)).unwrap()
}
