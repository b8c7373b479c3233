//! What a viewer is handed to decide who may seal: what verifies, and what somebody on the way can do to it.

use std::collections::BTreeMap;

use media::StreamId;
use seal::{KeyId, SealingKey};

use super::*;
use crate::{ProvenRow, Trust, root_fingerprint};
use seal::{Delegation, Grant, Scope};

fn hall() -> StreamId {
    StreamId::new("hall").unwrap()
}

fn sealing_key(seed: u8) -> SealingKey {
    SealingKey::from_seed_bytes(&[seed; 32]).unwrap()
}

fn key_id(seed: u8) -> KeyId {
    KeyId::of(&sealing_key(seed).public_key_bytes())
}

fn grant(seed: u8, scope: Scope, until: UnixMillis) -> Body {
    let public_key = sealing_key(seed).public_key_bytes();
    Body::Grant(Grant { public_key, node: node("i1"), scope, may_delegate: false, from: START, until })
}

fn pools(name: &str) -> Scope {
    Scope::Pools(vec![name.to_owned()])
}

const DAY: Duration = Duration::from_secs(86_400);

/// The rows that a writer has written, by their identity.
fn rows(writer: &Writer) -> BTreeMap<RowId, Bytes> {
    let mut rows = BTreeMap::new();
    for signed in writer.entries.values() {
        for (id, row) in row_writes(&signed.entry, &signed.rows).unwrap() {
            match row {
                Some(row) => rows.insert(id, row),
                None => rows.remove(&id),
            };
        }
    }
    rows
}

fn trust(writer: &Writer, keys: &[u8], now: Now) -> Trust {
    let there = rows(writer);
    let keys: Vec<KeyId> = keys.iter().map(|seed| key_id(*seed)).collect();
    let proofs = writer.replica.prove(&hall(), &keys);
    let rows = proofs.into_iter().map(|proof| ProvenRow::new(there[&proof.id].clone(), proof)).collect();
    let roots = vec![writer.replica.roots().raw().unwrap().clone()];
    Trust { roots, head: writer.head(now), rows, kept: Some((media::LogSequence(3), media::LogSequence(9))) }
}

fn verify(trust: &Trust) -> Result<crate::Proven, seal::Refusal> {
    let pinned = root_fingerprint(&root_key(1).public_key_bytes());
    let mut roots = Roots::begin(&trust.roots, Some(&pinned.0))?;
    trust.verify(&mut roots, &hall())
}

fn written() -> Writer {
    let mut writer = Writer::with_history(3);
    let until = START.plus(DAY);
    writer.write(
        vec![
            write(stream("hall", "The hall")),
            write(grant(1, pools("main"), until)),
            write(grant(2, Scope::Streams(vec![hall()]), until)),
            write(grant(3, pools("other"), until)),
            write(grant(4, Scope::Streams(Vec::new()), until)),
        ],
        at(10),
    );
    writer
}

#[test]
fn grant_counts_for_the_streams_and_pools_that_it_names_and_no_others() {
    let proven = verify(&trust(&written(), &[1, 2, 3, 4, 5], at(11))).unwrap();
    let may: Vec<_> = proven.keys.iter().map(|key| (key.public_key.id(), key.may_seal)).collect();
    assert_eq!(may, [(key_id(1), true), (key_id(2), true), (key_id(3), false), (key_id(4), false)]);
    assert_eq!((proven.log, proven.at), (LogId([9; 16]), at(11).wall));
}

#[test]
fn row_that_was_written_anew_proves_nothing_any_more() {
    let mut writer = written();
    let before = trust(&writer, &[1], at(11));
    writer.write(vec![write(grant(1, pools("main"), at(12).wall))], at(12));
    let after = trust(&writer, &[1], at(13));
    assert_eq!(verify(&after).unwrap().keys[0].until, at(12).wall);
    let mixed = Trust { head: after.head, ..before };
    assert_eq!(verify(&mixed).unwrap_err().reason, RefusalReason::Chain);
}

#[test]
fn other_root_and_other_control_are_refused() {
    let trust = trust(&written(), &[1], at(11));
    let other = root_fingerprint(&root_key(2).public_key_bytes());
    let refused = Roots::begin(&trust.roots, Some(&other.0)).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key);
    let named = root_fingerprint(&root_key(1).public_key_bytes());
    assert!(Roots::begin(&trust.roots, Some(&named.0[..16])).is_ok() && Roots::begin(&trust.roots, None).is_ok());
    let head = written().replica.head(at(11).wall, [3; 16]).unwrap().sign(&control_key(2)).unwrap();
    assert_eq!(verify(&Trust { head, ..trust }).unwrap_err().reason, RefusalReason::Key);
}

#[test]
fn successor_of_a_root_key_is_followed_and_its_fingerprint_changes() {
    let second = RootStatement { version: 2, root_keys: vec![root_key(2).public_key_bytes()], ..statement() };
    let second = sign_root(&second, &[&root_key(1), &root_key(2)]).unwrap();
    let statements = [first_statement(), second];
    let pinned = root_fingerprint(&root_key(1).public_key_bytes());
    let roots = Roots::begin(&statements, Some(&pinned.0)).unwrap();
    assert_eq!(roots.version(), 2);
    let successor = root_fingerprint(&root_key(2).public_key_bytes());
    assert_eq!(roots.fingerprint(), Some(successor));
    assert_eq!(Roots::begin(&statements, Some(&successor.0)).unwrap().version(), 2);
}

#[test]
fn changed_answer_says_the_same_or_nothing() {
    let whole = trust(&with_streamer(delegated(2, |_| {})), &[1, 3], at(12));
    assert_eq!(verify(&whole).unwrap().delegations.len(), 1);
    let (proven, encoded) = (verify(&whole).unwrap(), whole.encode());
    assert_eq!(Trust::decode(&encoded).unwrap(), whole);
    // Every place near the beginning of a field, and some in each long one.
    for place in (0..encoded.len()).filter(|place| place % 13 == 0 || *place < 64) {
        let mut changed = encoded.to_vec();
        changed[place] ^= 0x11;
        let said = Trust::decode(&changed).and_then(|trust| verify(&trust));
        assert!(said.is_err() || said.as_ref() == Ok(&proven), "byte {place}: {said:?}");
    }
    assert!(Trust::decode(&encoded[..encoded.len() - 1]).is_err());
}

/// Key 3, whose grant names another pool, may seal a session of the hall until a time, as the streamer with key 2 says.
fn delegated(signer: u8, change: impl FnOnce(&mut Delegation)) -> Body {
    let mut delegation = Delegation {
        cluster: ClusterId::new("town").unwrap(),
        stream: hall(),
        session: media::SessionId([5; 16]),
        key: key_id(3),
        from: START,
        until: START.plus(DAY / 4),
    };
    change(&mut delegation);
    Body::Delegation(delegation.sign(&sealing_key(signer)).unwrap())
}

fn with_streamer(row: Body) -> Writer {
    let mut writer = written();
    let Body::Grant(streamer) = grant(2, Scope::Streams(vec![hall()]), START.plus(DAY)) else { unreachable!() };
    let streamer = Body::Grant(Grant { may_delegate: true, node: node("anna"), ..streamer });
    writer.write(vec![write(streamer), write(row)], at(11));
    writer
}

#[test]
fn delegated_session_is_proven_with_the_grant_of_the_streamer_who_signed_it() {
    let proven = verify(&trust(&with_streamer(delegated(2, |_| {})), &[3], at(12))).unwrap();
    let keys: Vec<KeyId> = proven.keys.iter().map(|key| key.public_key.id()).collect();
    assert_eq!(keys, [key_id(3), key_id(2)]);
    let [session] = proven.delegations[..] else { panic!("{:?}", proven.delegations) };
    assert_eq!((session.key, session.by, session.until), (key_id(3), key_id(2), START.plus(DAY / 4)));
    let counts = |seconds: u64| proven.keys[0].counts(Some(&session), at(seconds).wall, proven.at);
    assert!(counts(12).is_ok());
    assert_eq!(counts(86_400).unwrap_err().reason, RefusalReason::Key, "stated after its end");
    assert_eq!(proven.keys[0].counts(None, at(12).wall, proven.at).unwrap_err().reason, RefusalReason::Key);
    let late = proven.keys[0].counts(Some(&session), at(12).wall, session.until);
    assert_eq!(late.unwrap_err().reason, RefusalReason::Key, "control's word is of after its end");
}

#[test]
fn delegation_of_another_stream_or_by_a_key_that_may_not_delegate_proves_nothing() {
    for (what, row) in [
        ("another stream", delegated(2, |it| it.stream = StreamId::new("stage").unwrap())),
        ("another cluster", delegated(2, |it| it.cluster = ClusterId::new("village").unwrap())),
        ("may not delegate", delegated(1, |_| {})),
        ("signed by its own key", delegated(3, |_| {})),
        ("signed by a stranger", delegated(9, |_| {})),
    ] {
        let proven = verify(&trust(&with_streamer(row), &[3], at(12))).unwrap();
        assert_eq!(proven.delegations, [], "{what}");
        assert!(!proven.keys[0].may_seal, "{what}");
    }
}

/// A row is in the log because control took it, and control verifies; whoever has stolen control's key does not.
#[test]
fn delegation_with_a_wrong_signature_is_refused() {
    let Body::Delegation(signed) = delegated(2, |_| {}) else { unreachable!() };
    let mut raw = signed.raw().to_vec();
    *raw.last_mut().unwrap() ^= 1;
    let forged = Body::Delegation(crate::SignedDelegation::read(&raw).unwrap());
    let refused = verify(&trust(&with_streamer(forged), &[3], at(12))).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Signature, "{refused}");
}

#[test]
fn streamer_whose_grant_was_ended_has_delegated_nothing_from_then_on() {
    let mut writer = with_streamer(delegated(2, |_| {}));
    let Body::Grant(streamer) = grant(2, Scope::Streams(vec![hall()]), at(13).wall) else { unreachable!() };
    writer.write(vec![write(Body::Grant(Grant { may_delegate: true, node: node("anna"), ..streamer }))], at(13));
    let proven = verify(&trust(&writer, &[3], at(14))).unwrap();
    let [session] = proven.delegations[..] else { panic!("{:?}", proven.delegations) };
    assert_eq!(session.until, at(13).wall);
    let refused = proven.keys[0].counts(Some(&session), at(12).wall, proven.at).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "backdated or not");
}

#[test]
fn grants_in_force_are_proven_without_a_stream() {
    let writer = written();
    let there = rows(&writer);
    let proofs = writer.replica.prove_grants(at(12).wall);
    assert_eq!(proofs.len(), 4);
    let rows = proofs.into_iter().map(|proof| ProvenRow::new(there[&proof.id].clone(), proof)).collect();
    let roots = vec![writer.replica.roots().raw().unwrap().clone()];
    let all = Trust { roots, head: writer.head(at(12)), rows, kept: None };
    let mut keys: Vec<KeyId> = verify(&all).unwrap().keys.iter().map(|key| key.public_key.id()).collect();
    keys.sort();
    let mut named = [1, 2, 3, 4].map(key_id);
    named.sort();
    assert_eq!(keys, named);
    assert!(writer.replica.prove_grants(START.plus(DAY)).is_empty(), "they are over");
}
