//! Delegations: a shared ingest seals the one session that a streamer lets it seal, and nothing else.

use std::time::Duration;

use media::{ClusterId, NodeId, SessionId, StreamId, UnixMillis};

use super::author::{Author, KEY, START, cluster, grant, stream};
use crate::limits::DELEGATION_LIFE_MAX;
use crate::{
    Chain, Delegation, Freshness, Grant, Input, KeyId, Keyring, Refusal, RefusalReason, Rights, Scope, Sealed,
    SealingKey, SignedDelegation, Signer as _, Verdict,
};

const HOUR: i64 = 3_600_000;

fn anna() -> SealingKey {
    SealingKey::from_seed_bytes(&[9; 32]).unwrap()
}

fn plus(hours: i64) -> UnixMillis {
    UnixMillis(START.0 + hours * HOUR)
}

/// The session of the author's first epoch, for four hours.
fn delegation() -> Delegation {
    let (cluster, stream, session) = (cluster(), stream(), SessionId([1; 16]));
    Delegation { cluster, stream, session, key: KEY.key_id(), from: UnixMillis(START.0 - 60_000), until: plus(4) }
}

/// What the log says: a streamer that has a stream, and a shared ingest that serves others.
struct Said {
    ingest: Grant,
    streamer: Grant,
    signed: SignedDelegation,
    revoked: Vec<KeyId>,
}

impl Said {
    fn new() -> Self {
        let streamer = Grant {
            public_key: anna().public_key_bytes(),
            node: NodeId::new("anna").unwrap(),
            may_delegate: true,
            ..grant()
        };
        let ingest = Grant { scope: Scope::Pools(vec!["default".to_owned()]), ..grant() };
        Self { ingest, streamer, signed: delegation().sign(&anna()).unwrap(), revoked: Vec::new() }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Keyring {
        let mut said = Self::new();
        change(&mut said);
        said.keyring(&Keyring::new(cluster()))
    }

    fn keyring(self, before: &Keyring) -> Keyring {
        let Self { ingest, streamer, signed, revoked } = self;
        before.with(Rights {
            grants: vec![ingest, streamer],
            revoked: revoked.into_iter().map(|key| (key, UnixMillis(i64::MAX))).collect(),
            pools: [(stream(), "streamer/anna".to_owned())].into(),
            delegations: vec![signed],
        })
    }
}

fn verify(keyring: &Keyring, sealed: &Sealed, at: UnixMillis) -> Result<Sealed, Refusal> {
    keyring.verify(sealed.raw(), &stream(), at, Freshness::Live)
}

fn i1() -> NodeId {
    grant().node
}

#[test]
fn session_that_a_streamer_has_delegated_is_sealed_and_nothing_else() {
    let sealed = Author::new().row();
    let keyring = Said::with(|_| {});
    assert!(verify(&keyring, &sealed, START).is_ok() && keyring.may_push(&i1(), &stream(), START));
    assert_eq!(keyring.delegation(&KEY.key_id(), &stream(), START), Some(&delegation()));
    assert!(!keyring.is_granted(&KEY.key_id(), &stream()) && keyring.is_granted(&anna().key_id(), &stream()));
    let resigned = |change: fn(&mut Delegation)| {
        move |said: &mut Said| {
            let mut other = delegation();
            change(&mut other);
            said.signed = other.sign(&anna()).unwrap();
        }
    };
    type Change = Box<dyn FnOnce(&mut Said)>;
    let changes: [(&str, Change); 15] = [
        ("another stream", Box::new(resigned(|it| it.stream = StreamId::new("other").unwrap()))),
        ("another key", Box::new(resigned(|it| it.key = KeyId([7; 16])))),
        ("another session", Box::new(resigned(|it| it.session = SessionId([2; 16])))),
        ("another cluster", Box::new(resigned(|it| it.cluster = ClusterId::new("elsewhere").unwrap()))),
        ("not yet", Box::new(resigned(|it| it.from = plus(1)))),
        ("over", Box::new(resigned(|it| (it.from, it.until) = (plus(-2), plus(-1))))),
        ("signed by the ingest itself", Box::new(|said| said.signed = delegation().sign(&KEY).unwrap())),
        (
            "signed by nobody that is known",
            Box::new(|said| said.signed = delegation().sign(&SealingKey::generate().unwrap()).unwrap()),
        ),
        ("streamer that may not delegate", Box::new(|said| said.streamer.may_delegate = false)),
        ("streamer without the stream", Box::new(|said| said.streamer.scope = Scope::Streams(Vec::new()))),
        ("streamer whose grant is over", Box::new(|said| said.streamer.until = START)),
        ("streamer that is revoked", Box::new(|said| said.revoked = vec![KeyId::of_node(&said.streamer.node)])),
        ("streamer's key that is revoked", Box::new(|said| said.revoked = vec![anna().key_id()])),
        ("ingest that is revoked", Box::new(|said| said.revoked = vec![KeyId::of_node(&i1())])),
        ("ingest whose grant is over", Box::new(|said| said.ingest.until = START)),
    ];
    for (what, change) in changes {
        let keyring = Said::with(change);
        let refusal = verify(&keyring, &sealed, START).expect_err(what);
        assert_eq!(refusal.reason, RefusalReason::Key, "{what}: {refusal}");
        let may_push = keyring.may_push(&i1(), &stream(), START);
        // Which session it is, says only the seal.
        assert_eq!(may_push, what == "another session", "{what}");
    }
}

#[test]
fn delegation_ends_by_itself_whatever_time_a_seal_states() {
    let (keyring, sealed) = (Said::with(|_| {}), Author::new().row());
    let until = delegation().until;
    let late = |at| keyring.verify(sealed.raw(), &stream(), at, Freshness::CatchUp);
    assert!(late(UnixMillis(until.0 - 1)).is_ok());
    assert_eq!(late(until).unwrap_err().reason, RefusalReason::Key, "a seal of before, that comes late");
    assert!(!keyring.may_push(&i1(), &stream(), until));
    assert!(keyring.verify(sealed.raw(), &stream(), until, Freshness::Recorded).is_ok(), "it was valid then");
    let mut body = Author::new().next_body();
    (body.issued_at, body.origin) = (until, until);
    let backwards = crate::sign_seal(&body, &*KEY).unwrap();
    assert_eq!(verify(&keyring, &backwards, UnixMillis(until.0 - 1)).unwrap_err().reason, RefusalReason::Key);
}

#[test]
fn second_session_is_refused_and_one_that_has_ended_does_not_begin_again() {
    let keyring = Said::with(|_| {});
    let mut author = Author::new();
    let mut seals = author.rows(3);
    seals.push(author.end());
    for sealed in &seals {
        verify(&keyring, sealed, START).unwrap();
    }
    let mut again = Author::after(author.head.as_ref().unwrap(), 2);
    let second = again.clone().row();
    assert_eq!(verify(&keyring, &second, START).unwrap_err().reason, RefusalReason::Key, "its session is another");
    // An ingest that takes the identity of the session that is over: the key may, and the log does not go on so.
    let mut body = again.next_body();
    body.session = SessionId([1; 16]);
    let same = again.sign(&body);
    verify(&keyring, &same, START).unwrap();
    let mut chain = Chain::new(stream());
    chain.join(seals, super::author::now(0)).unwrap();
    match chain.apply(Input::Seal(same), super::author::now(1)).verdict {
        Verdict::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::Chain, "{refusal}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn epoch_within_the_session_goes_on() {
    let keyring = Said::with(|_| {});
    let mut author = Author::new();
    let seals = author.rows(3);
    let mut next = Author::after(author.head.as_ref().unwrap(), 2);
    let mut body = next.next_body();
    body.session = SessionId([1; 16]);
    let reconnected = next.sign(&body);
    verify(&keyring, &reconnected, START).unwrap();
    let mut chain = Chain::new(stream());
    chain.join(seals, super::author::now(0)).unwrap();
    assert_eq!(chain.apply(Input::Seal(reconnected), super::author::now(1)).verdict, Verdict::Extended);
}

#[test]
fn changed_delegation_says_nothing() {
    let sealed = Author::new().row();
    let signed = Said::new().signed;
    let good = signed.raw().clone();
    assert_eq!(SignedDelegation::read(&good).unwrap(), signed);
    for place in 0..good.len() {
        let mut changed = good.to_vec();
        changed[place] ^= 1 << (place % 8);
        let Ok(signed) = SignedDelegation::read(&changed) else { continue };
        let keyring = Said::with(|said| said.signed = signed);
        assert!(verify(&keyring, &sealed, START).is_err(), "byte {place}");
        assert!(!keyring.may_push(&i1(), &stream(), START), "byte {place}");
    }
    for length in [0, 1, good.len() - 1] {
        assert!(SignedDelegation::read(&good[..length]).is_err());
    }
    assert!(SignedDelegation::read(&[&good[..], b"\0"].concat()).is_err());
}

#[test]
fn delegation_that_lasts_too_long_is_neither_signed_nor_believed() {
    let life = |life: Duration| Delegation { until: delegation().from.plus(life), ..delegation() };
    assert!(life(DELEGATION_LIFE_MAX).sign(&anna()).is_ok());
    assert!(life(DELEGATION_LIFE_MAX + Duration::from_millis(1)).sign(&anna()).is_err());
    assert!(life(Duration::ZERO).sign(&anna()).is_err());
    let endless = life(365 * DELEGATION_LIFE_MAX).sign_unchecked(&anna()).unwrap();
    assert_eq!(SignedDelegation::read(endless.raw()).unwrap(), endless);
    let keyring = Said::with(|said| said.signed = endless);
    assert_eq!(verify(&keyring, &Author::new().row(), START).unwrap_err().reason, RefusalReason::Key);
}

/// The keyring of the log a moment later verifies only what is new; what it took over has to be right all the same.
#[test]
fn next_reading_of_the_log_keeps_what_is_right_and_drops_what_is_not() {
    let (sealed, said) = (Author::new().row(), Said::new());
    let signed = said.signed.clone();
    let held = said.keyring(&Keyring::new(cluster()));
    let next = |signed: SignedDelegation, change: fn(&mut Said)| {
        let mut said = Said { signed, ..Said::new() };
        change(&mut said);
        verify(&said.keyring(&held), &sealed, START)
    };
    assert!(next(signed.clone(), |_| {}).is_ok());
    let mut forged = signed.raw().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(next(SignedDelegation::read(&forged).unwrap(), |_| {}).is_err(), "the same words, and another signature");
    assert!(next(signed, |said| said.streamer.may_delegate = false).is_err());
}

/// What was admitted stays, also once its streamer is revoked; a delegation of which the log has not told yet is known to be missing.
#[test]
fn recording_of_a_delegated_session_counts_after_its_streamer_was_revoked() {
    let sealed = Author::new().row();
    let recorded = |keyring: &Keyring| keyring.verify(sealed.raw(), &stream(), plus(5), Freshness::Recorded);
    // The grant of the ingest names streams: only the delegation says that it might seal this one.
    let others = |said: &mut Said| said.ingest.scope = Scope::Streams(vec![StreamId::new("other").unwrap()]);
    let revoked = |said: &mut Said| {
        others(said);
        said.streamer.until = START;
        said.revoked = vec![KeyId::of_node(&said.streamer.node)];
    };
    let keyring = Said::with(revoked);
    recorded(&keyring).unwrap();
    assert_eq!(verify(&keyring, &sealed, START).unwrap_err().reason, RefusalReason::Key, "nothing new");
    assert!(!keyring.may_push(&i1(), &stream(), START));
    let long_before = Said::with(|said| {
        revoked(said);
        said.streamer.until = plus(-1);
    });
    assert_eq!(recorded(&long_before).unwrap_err().reason, RefusalReason::Key, "revoked before it was made");

    let rights = |since| Rights {
        grants: vec![Said::new().ingest, Said::new().streamer]
            .into_iter()
            .map(|grant| Grant {
                scope: if grant.may_delegate { grant.scope } else { Scope::Streams(Vec::new()) },
                ..grant
            })
            .collect(),
        revoked: [(anna().key_id(), since)].into(),
        pools: [(stream(), "streamer/anna".to_owned())].into(),
        delegations: vec![Said::new().signed],
    };
    recorded(&Keyring::new(cluster()).with(rights(plus(1)))).unwrap();
    assert!(recorded(&Keyring::new(cluster()).with(rights(plus(-1)))).is_err(), "by a thief, maybe");

    let session = SessionId([1; 16]);
    let lacks = |keyring: &Keyring| keyring.lacks_delegation(&KEY.key_id(), &stream(), &session);
    assert!(!lacks(&keyring));
    let not_told = Said::with(|said| {
        others(said);
        said.signed = Delegation { session: SessionId([2; 16]), ..delegation() }.sign(&anna()).unwrap();
    });
    assert!(recorded(&not_told).is_err() && lacks(&not_told));
    assert!(!not_told.lacks_delegation(&anna().key_id(), &stream(), &session), "its own stream");
}
