//! Keys and grants: the keyring refuses each attack under its own reason.

use media::{ClusterId, NodeId, StreamId, UnixMillis};

use super::author::{Author, KEY, ROOT, START, cluster, grant, keyring, now, signed, stream};
use crate::limits::{CATCH_UP_AGE_MAX, GRANTS_MAX, LIVE_AGE_MAX, SEAL_BYTES_MAX};
use crate::{
    Freshness, Grant, KeyId, Keyring, Refusal, RefusalReason, RevocationList, RootKey, Sealed, SealingKey, Signer,
    StreamPattern, cose, encode_body, sign_grant, sign_revocations, sign_seal,
};

fn verify(keyring: &Keyring, sealed: &Sealed, at: UnixMillis) -> Result<Sealed, Refusal> {
    keyring.verify(sealed.raw(), &stream(), at, Freshness::Live)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, reason: RefusalReason) {
    assert_eq!(result.unwrap_err().reason, reason);
}

fn empty() -> Keyring {
    Keyring::new(cluster(), ROOT.public_key().unwrap())
}

#[test]
fn key_without_a_valid_grant_is_refused() {
    let sealed = Author::new().row();
    refused(verify(&empty(), &sealed, START), RefusalReason::Key);

    let mut late = empty();
    late.add_grant(&signed(&Grant { not_before: UnixMillis(START.0 + 60_000), ..grant() }), START).unwrap();
    refused(verify(&late, &sealed, START), RefusalReason::Key);
    assert!(verify(&late, &sealed, UnixMillis(START.0 + 60_000)).is_ok());

    let expired = signed(&Grant { not_after: START, ..grant() });
    refused(empty().add_grant(&expired, START), RefusalReason::Key);
    let held = keyring();
    assert!(verify(&held, &sealed, START).is_ok());
    let end = grant().not_after;
    refused(held.verify(sealed.raw(), &stream(), end, Freshness::CatchUp), RefusalReason::Key);
    assert!(held.verify(sealed.raw(), &stream(), UnixMillis(end.0 - 1), Freshness::CatchUp).is_ok());
}

#[test]
fn grant_for_another_stream_does_not_cover_this_one() {
    let sealed = Author::new().row();
    for (streams, granted) in [
        (vec![StreamPattern::Named(StreamId::new("other").unwrap())], false),
        (vec![], false),
        (vec![StreamPattern::All], true),
        (vec![StreamPattern::All, StreamPattern::Named(StreamId::new("other").unwrap())], true),
    ] {
        let mut keyring = empty();
        keyring.add_grant(&signed(&Grant { streams: streams.clone(), ..grant() }), START).unwrap();
        match verify(&keyring, &sealed, START) {
            Ok(_) => assert!(granted, "{streams:?}"),
            Err(refusal) => assert!(!granted && refusal.reason == RefusalReason::Key, "{streams:?}: {refusal}"),
        }
    }
}

#[test]
fn grant_that_the_root_key_did_not_sign_is_refused() {
    let other_root = RootKey::from_seed_bytes(&[2; 32]).unwrap();
    refused(empty().add_grant(&sign_grant(&grant(), &other_root).unwrap(), START), RefusalReason::Key);
    let self_made = RootKey::from_seed_bytes(&[7; 32]).unwrap();
    assert_eq!(self_made.key_id(), KEY.key_id(), "the key that the grant is for signs it");
    refused(empty().add_grant(&sign_grant(&grant(), &self_made).unwrap(), START), RefusalReason::Key);

    // The root's name over another's signature.
    let mut forged = sign_grant(&grant(), &other_root).unwrap().to_vec();
    forged[9..25].copy_from_slice(&ROOT.key_id().0);
    refused(empty().add_grant(&forged, START), RefusalReason::Signature);
    let mut flipped = signed(&grant()).to_vec();
    flipped[200] ^= 1;
    refused(empty().add_grant(&flipped, START), RefusalReason::Signature);
}

#[test]
fn public_key_comes_from_the_grant_and_not_from_the_message() {
    // Another key's seal under the granted key's name.
    let stranger = SealingKey::from_seed_bytes(&[8; 32]).unwrap();
    let mut forged = sign_seal(&Author::new().next_body(), &stranger).unwrap().raw().to_vec();
    forged[9..25].copy_from_slice(&KEY.key_id().0);
    refused(keyring().verify(&forged.into(), &stream(), START, Freshness::Live), RefusalReason::Signature);
}

#[test]
fn other_cluster_or_stream_is_refused() {
    let elsewhere = ClusterId::new("elsewhere").unwrap();
    refused(
        empty().add_grant(&signed(&Grant { cluster: elsewhere.clone(), ..grant() }), START),
        RefusalReason::Identity,
    );
    let mut body = Author::new().next_body();
    body.cluster = elsewhere.clone();
    refused(verify(&keyring(), &sign_seal(&body, &*KEY).unwrap(), START), RefusalReason::Identity);
    let sealed = Author::new().row();
    let b = StreamId::new("b").unwrap();
    refused(keyring().verify(sealed.raw(), &b, START, Freshness::Live), RefusalReason::Identity);
    let list = RevocationList { cluster: elsewhere, version: 1, issued_at: START, keys: vec![] };
    refused(empty().apply_revocations(&sign_revocations(&list, &ROOT).unwrap()), RefusalReason::Identity);
}

#[test]
fn revoked_node_has_no_key_that_counts_and_others_keep_theirs() {
    let sealed = Author::new().row();
    let other = SealingKey::from_seed_bytes(&[9; 32]).unwrap();
    let of = |node: &str, key: &SealingKey| {
        let node = NodeId::new(node).unwrap();
        signed(&Grant { node, public_key: key.public_key_bytes(), ..grant() })
    };
    let mut keyring = keyring();
    keyring.add_grant(&of("i2", &other), START).unwrap();
    let i1 = NodeId::new("i1").unwrap();
    assert_eq!(keyring.keys_of(&i1, START).collect::<Vec<_>>(), [KEY.key_id()]);
    assert_eq!(keyring.keys_of(&i1, grant().not_after).count(), 0, "a grant that is over is none");
    assert!(!keyring.is_node_revoked(&i1));
    // Only the node is on the list, and none of its keys.
    assert_eq!(keyring.apply_revocations(&revocations(1, vec![KeyId::of_node(&i1)])), Ok(true));
    assert!(keyring.is_node_revoked(&i1) && !keyring.is_node_revoked(&NodeId::new("i2").unwrap()));
    refused(verify(&keyring, &sealed, START), RefusalReason::Key);
    refused(keyring.add_grant(&signed(&grant()), START), RefusalReason::Key);
    let third = SealingKey::from_seed_bytes(&[10; 32]).unwrap();
    refused(keyring.add_grant(&of("i1", &third), START), RefusalReason::Key);
    assert!(keyring.grant(&other.key_id()).is_some());
    keyring.add_grant(&of("i2", &third), START).unwrap();
}

fn revocations(version: u64, keys: Vec<KeyId>) -> bytes::Bytes {
    let list = RevocationList { cluster: cluster(), version, issued_at: START, keys };
    sign_revocations(&list, &ROOT).unwrap()
}

#[test]
fn revoked_key_is_refused_for_good_and_older_lists_too() {
    let sealed = Author::new().row();
    let mut keyring = keyring();
    assert_eq!(keyring.apply_revocations(&revocations(1, vec![])), Ok(true));
    assert!(verify(&keyring, &sealed, START).is_ok());
    assert_eq!(keyring.apply_revocations(&revocations(2, vec![KEY.key_id()])), Ok(true));
    assert_eq!(keyring.apply_revocations(&revocations(2, vec![KEY.key_id()])), Ok(false), "brokers repeat");
    refused(verify(&keyring, &sealed, START), RefusalReason::Key);
    refused(keyring.add_grant(&signed(&grant()), START), RefusalReason::Key);
    refused(keyring.apply_revocations(&revocations(1, vec![])), RefusalReason::Key);
    refused(keyring.apply_revocations(&revocations(2, vec![])), RefusalReason::Key);
    refused(verify(&keyring, &sealed, START), RefusalReason::Key);

    // After a restart, from the list on disk.
    let (version, kept) = keyring.revocations().unwrap();
    assert_eq!(version, 2);
    let mut again = empty();
    again.apply_revocations(kept).unwrap();
    refused(again.apply_revocations(&revocations(1, vec![])), RefusalReason::Key);
    refused(again.add_grant(&signed(&grant()), START), RefusalReason::Key);

    let other_root = RootKey::from_seed_bytes(&[2; 32]).unwrap();
    let list = RevocationList { cluster: cluster(), version: 9, issued_at: START, keys: vec![] };
    refused(keyring.apply_revocations(&sign_revocations(&list, &other_root).unwrap()), RefusalReason::Key);
}

#[test]
fn older_grant_does_not_come_back() {
    let mut keyring = keyring();
    let wide = signed(&Grant { streams: vec![StreamPattern::All], ..grant() });
    let narrow = Grant { streams: vec![], not_before: UnixMillis(grant().not_before.0 + 1), ..grant() };
    assert_eq!(keyring.add_grant(&signed(&narrow), START), Ok(KEY.key_id()));
    assert_eq!(keyring.add_grant(&signed(&narrow), START), Ok(KEY.key_id()), "brokers repeat");
    refused(keyring.add_grant(&wide, START), RefusalReason::Key);
    assert_eq!(keyring.grant(&KEY.key_id()), Some(&narrow));
    assert_eq!(keyring.grants().count(), 1);
}

#[test]
fn statements_of_one_kind_are_not_taken_for_another() {
    let root_sealed = cose::seal(&encode_body(&Author::new().next_body()), &*ROOT, SEAL_BYTES_MAX).unwrap();
    refused(empty().add_grant(&root_sealed, START), RefusalReason::Malformed);
    refused(empty().apply_revocations(&root_sealed), RefusalReason::Malformed);
    refused(empty().apply_revocations(&signed(&grant())), RefusalReason::Malformed);
    refused(empty().add_grant(&revocations(1, vec![]), START), RefusalReason::Malformed);
    refused(keyring().verify(&signed(&grant()), &stream(), START, Freshness::Live), RefusalReason::Key);
}

#[test]
fn grants_are_bounded_and_expired_ones_make_room() {
    // Nobody needs the private keys: any 1312 bytes are a public key.
    let nth = |n: usize| {
        let mut public_key = KEY.public_key_bytes();
        public_key[100..108].copy_from_slice(&n.to_be_bytes());
        Grant { public_key, not_after: UnixMillis(START.0 + i64::try_from(n).unwrap() + 1), ..grant() }
    };
    let mut keyring = empty();
    for n in 0..GRANTS_MAX {
        keyring.add_grant(&signed(&nth(n)), START).unwrap();
    }
    refused(keyring.add_grant(&signed(&grant()), START), RefusalReason::Key);
    keyring.add_grant(&signed(&grant()), UnixMillis(START.0 + 10)).unwrap();
    assert!(keyring.grants().count() < GRANTS_MAX);
}

#[test]
fn invalid_grants_and_lists_are_not_signed() {
    let a = StreamPattern::Named(StreamId::new("a").unwrap());
    let b = StreamPattern::Named(StreamId::new("b").unwrap());
    for bad in [
        Grant { streams: vec![b, a.clone()], ..grant() },
        Grant { streams: vec![a.clone(), a.clone()], ..grant() },
        Grant { streams: vec![a, StreamPattern::All], ..grant() },
        Grant { not_after: grant().not_before, ..grant() },
        Grant { public_key: vec![0; 1311], ..grant() },
    ] {
        assert!(sign_grant(&bad, &ROOT).is_err(), "{bad:?}");
    }
    let keys = vec![KeyId([1; 16]), KeyId([1; 16])];
    let list = RevocationList { cluster: cluster(), version: 1, issued_at: START, keys };
    assert!(sign_revocations(&list, &ROOT).is_err());
}

#[test]
fn age_is_bounded_by_how_a_seal_came() {
    let sealed = Author::new().row();
    let at = |millis: i64, freshness| keyring_for_ever().verify(sealed.raw(), &stream(), now(millis).wall, freshness);
    let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap();
    let hour = 3_600_000;
    assert!(at(60_000, Freshness::Live).is_ok(), "a broker held it back");
    assert!(at(millis(LIVE_AGE_MAX), Freshness::Live).is_ok());
    refused(at(millis(LIVE_AGE_MAX) + 1, Freshness::Live), RefusalReason::Implausible);
    refused(at(hour, Freshness::Live), RefusalReason::Implausible);
    assert!(at(hour, Freshness::CatchUp).is_ok());
    refused(at(millis(CATCH_UP_AGE_MAX) + 1, Freshness::CatchUp), RefusalReason::Implausible);
    assert!(at(-10_000, Freshness::Live).is_ok());
    refused(at(-hour, Freshness::Live), RefusalReason::Implausible);
    refused(at(-hour, Freshness::CatchUp), RefusalReason::Implausible);
}

fn keyring_for_ever() -> Keyring {
    let mut keyring = empty();
    let grant = Grant { not_before: UnixMillis(0), not_after: UnixMillis(i64::MAX), ..grant() };
    keyring.add_grant(&signed(&grant), START).unwrap();
    keyring
}
