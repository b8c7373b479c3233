//! Keys and grants: the keyring refuses each attack under its own reason.

use media::{ClusterId, NodeId, StreamId, UnixMillis};

use super::author::{Author, KEY, START, cluster, grant, granted, keyring, now, stream};
use crate::limits::{CATCH_UP_AGE_MAX, LIVE_AGE_MAX, UNHEARD_MAX};
use crate::{
    Freshness, Grant, KeyId, Keyring, Refusal, RefusalReason, Rights, Scope, Sealed, SealingKey, Signer, sign_seal,
};

fn verify(keyring: &Keyring, sealed: &Sealed, at: UnixMillis) -> Result<Sealed, Refusal> {
    keyring.verify(sealed.raw(), &stream(), at, Freshness::Live)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, reason: RefusalReason) {
    assert_eq!(result.unwrap_err().reason, reason);
}

fn pools(names: &[&str]) -> Scope {
    Scope::Pools(names.iter().map(|name| (*name).to_owned()).collect())
}

/// A keyring with one grant, of a stream that is in the pool `music`.
fn of_scope(scope: Scope) -> Keyring {
    let pools = [(stream(), "music".to_owned())].into();
    Keyring::new(cluster()).with(Rights { grants: vec![Grant { scope, ..grant() }], pools, ..Rights::default() })
}

#[test]
fn key_without_a_valid_grant_is_refused() {
    let sealed = Author::new().row();
    refused(verify(&granted(vec![]), &sealed, START), RefusalReason::Key);

    let late = granted(vec![Grant { from: UnixMillis(START.0 + 60_000), ..grant() }]);
    refused(verify(&late, &sealed, START), RefusalReason::Key);
    assert!(verify(&late, &sealed, UnixMillis(START.0 + 60_000)).is_ok());

    let held = keyring();
    assert!(verify(&held, &sealed, START).is_ok());
    let end = grant().until;
    refused(held.verify(sealed.raw(), &stream(), end, Freshness::CatchUp), RefusalReason::Key);
    assert!(held.verify(sealed.raw(), &stream(), UnixMillis(end.0 - 1), Freshness::CatchUp).is_ok());
}

#[test]
fn grant_covers_what_it_names_and_nothing_else() {
    let sealed = Author::new().row();
    let other = StreamId::new("other").unwrap();
    for (scope, is_covered) in [
        (Scope::Streams(vec![other.clone()]), false),
        (Scope::Streams(vec![]), false),
        (Scope::Streams(vec![other, stream()]), true),
        (pools(&[]), false),
        (pools(&["default"]), false),
        (pools(&["default", "music"]), true),
    ] {
        let keyring = of_scope(scope.clone());
        match verify(&keyring, &sealed, START) {
            Ok(_) => assert!(is_covered, "{scope:?}"),
            Err(refusal) => assert!(!is_covered && refusal.reason == RefusalReason::Key, "{scope:?}: {refusal}"),
        }
        assert_eq!(keyring.may_push(&grant().node, &stream(), START), is_covered, "{scope:?}");
    }
}

#[test]
fn stream_without_a_row_is_in_no_pool() {
    let keyring = granted(vec![Grant { scope: pools(&["default"]), ..grant() }]);
    refused(verify(&keyring, &Author::new().row(), START), RefusalReason::Key);
    assert!(!keyring.may_push(&grant().node, &stream(), START));
}

#[test]
fn only_a_node_with_a_valid_grant_may_push() {
    let (held, i1, i2) = (keyring(), grant().node, NodeId::new("i2").unwrap());
    assert!(held.may_push(&i1, &stream(), START) && !held.may_push(&i2, &stream(), START));
    assert!(!held.may_push(&i1, &stream(), grant().until), "over");
    assert!(!held.may_push(&i1, &stream(), UnixMillis(grant().from.0 - 60_000)), "not yet");
    assert!(!held.may_push(&i1, &StreamId::new("other").unwrap(), START));
}

#[test]
fn recording_is_verified_by_what_its_key_was_granted() {
    let sealed = Author::new().row();
    let recorded = |keyring: &Keyring, at| keyring.verify(sealed.raw(), &stream(), at, Freshness::Recorded);
    let later = UnixMillis(grant().until.0 + 86_400_000);
    assert!(recorded(&keyring(), later).is_ok(), "the grant was valid then");
    let renewed = Grant { from: UnixMillis(START.0 + 3_600_000), ..grant() };
    assert!(recorded(&granted(vec![renewed]), later).is_ok(), "a renewed grant begins anew");
    let moved = granted(vec![Grant { scope: pools(&["default"]), ..grant() }]);
    assert!(recorded(&moved, later).is_ok(), "the stream is in another pool now, or in none");
    let over = Grant { from: UnixMillis(START.0 - 7_200_000), until: UnixMillis(START.0 - 3_600_000), ..grant() };
    refused(recorded(&granted(vec![over]), later), RefusalReason::Key);
    let other = Grant { scope: Scope::Streams(vec![StreamId::new("other").unwrap()]), ..grant() };
    refused(recorded(&granted(vec![other]), later), RefusalReason::Key);
}

#[test]
fn recording_of_a_revoked_key_is_what_it_was_before() {
    let sealed = Author::new().row();
    let revoked_at = |until: UnixMillis, since| {
        let (grants, revoked) = (vec![Grant { until, ..grant() }], [(KEY.key_id(), since)].into());
        keyring().with(Rights { grants, revoked, ..Rights::default() })
    };
    let recorded = |keyring: &Keyring| keyring.verify(sealed.raw(), &stream(), START, Freshness::Recorded);
    let never = revoked_at(START, UnixMillis(i64::MAX));
    refused(verify(&never, &sealed, START), RefusalReason::Key);
    refused(never.verify(sealed.raw(), &stream(), START, Freshness::CatchUp), RefusalReason::Key);
    assert!(recorded(&never).is_ok(), "nodes may not have heard of it yet");
    assert!(!never.is_void(&KEY.key_id(), sealed.body().issued_at));
    let misused = revoked_at(START, START);
    assert!(recorded(&misused).is_ok() && misused.is_void(&KEY.key_id(), sealed.body().issued_at));
    refused(recorded(&revoked_at(START.minus(UNHEARD_MAX), UnixMillis(i64::MAX))), RefusalReason::Key);
    refused(recorded(&never.with(Rights::default())), RefusalReason::Key);
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
    let mut body = Author::new().next_body();
    body.cluster = ClusterId::new("elsewhere").unwrap();
    refused(verify(&keyring(), &sign_seal(&body, &*KEY).unwrap(), START), RefusalReason::Identity);
    let sealed = Author::new().row();
    let b = StreamId::new("b").unwrap();
    refused(keyring().verify(sealed.raw(), &b, START, Freshness::Live), RefusalReason::Identity);
}

#[test]
fn revoked_node_has_no_key_that_counts_and_others_keep_theirs() {
    let sealed = Author::new().row();
    let other = SealingKey::from_seed_bytes(&[9; 32]).unwrap();
    let i2 = NodeId::new("i2").unwrap();
    let of_i2 = Grant { node: i2.clone(), public_key: other.public_key_bytes(), ..grant() };
    let grants = vec![grant(), of_i2];
    let keyring = granted(grants.clone());
    assert!(verify(&keyring, &sealed, START).is_ok() && !keyring.is_node_revoked(&grant().node));
    // Only the node is revoked by name, and none of its keys.
    let revoked = [(KeyId::of_node(&grant().node), UnixMillis(i64::MAX))].into();
    let keyring = keyring.with(Rights { grants, revoked, ..Rights::default() });
    assert!(keyring.is_node_revoked(&grant().node) && !keyring.is_node_revoked(&i2));
    refused(verify(&keyring, &sealed, START), RefusalReason::Key);
    assert!(keyring.grant(&KEY.key_id()).is_none() && keyring.grant(&other.key_id()).is_some());
    assert!(!keyring.may_push(&grant().node, &stream(), START) && keyring.may_push(&i2, &stream(), START));
}

#[test]
fn revoked_key_is_refused_although_it_is_granted() {
    let sealed = Author::new().row();
    let revoked = [(KEY.key_id(), UnixMillis(i64::MAX))].into();
    let keyring = keyring().with(Rights { grants: vec![grant()], revoked, ..Rights::default() });
    refused(verify(&keyring, &sealed, START), RefusalReason::Key);
    assert!(keyring.is_revoked(&KEY.key_id()) && keyring.grant(&KEY.key_id()).is_none());
}

#[test]
fn other_rights_replace_all_that_was_there() {
    let sealed = Author::new().row();
    let held = keyring();
    assert!(
        verify(
            &held.with(Rights::default()).with(Rights { grants: vec![grant()], ..Rights::default() }),
            &sealed,
            START
        )
        .is_ok()
    );
    refused(verify(&held.with(Rights::default()), &sealed, START), RefusalReason::Key);
    let no_key = Grant { public_key: vec![0; 1311], ..grant() };
    refused(verify(&granted(vec![no_key]), &sealed, START), RefusalReason::Key);
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
    granted(vec![Grant { from: UnixMillis(0), until: UnixMillis(i64::MAX), ..grant() }])
}
