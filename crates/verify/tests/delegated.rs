//! A stream that a streamer lets a shared ingest seal for one session: a viewer's browser and a node judge alike.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod support;

use std::time::Duration;

use media::{NodeId, SessionId, StreamId, UnixMillis};
use metadata::{Body, Delegation, Scope};
use seal::{Freshness, KeyId, RefusalReason, SealingKey, Signer as _};
use support::{STREAM, Scene, at, sequence};
use testkit::studio::{self, START};

const HOUR: u64 = 3_600;
const NOW: Duration = Duration::from_secs(1);

fn anna() -> SealingKey {
    SealingKey::from_seed_bytes(&[9; 32]).unwrap()
}

/// The studio's first session.
fn delegation(scene: &Scene) -> Delegation {
    Delegation {
        cluster: studio::cluster(),
        stream: studio::stream(STREAM),
        session: SessionId([1; 16]),
        key: scene.studio.key.key_id(),
        from: START,
        until: at(4 * HOUR).wall,
    }
}

/// A streamer's stream; the studio has the key of a shared ingest, and a delegation that was changed before it was signed.
fn delegated(signer: &SealingKey, change: impl FnOnce(&mut Delegation)) -> Scene {
    let mut scene = Scene::new();
    scene.town.put_in_pool("streamer/anna", at(0));
    scene.town.grant_with(&anna(), at(0), streamer);
    let mut said = delegation(&scene);
    change(&mut said);
    scene.town.write(Body::Delegation(said.sign(signer).unwrap()), at(0));
    scene
}

fn streamer(grant: &mut metadata::Grant) {
    (grant.node, grant.may_delegate) = (NodeId::new("anna").unwrap(), true);
    grant.scope = Scope::Streams(vec![studio::stream(STREAM)]);
}

/// What a page makes of the first row, and what a node makes of it, when control's newest word is of this time.
fn judged(scene: &mut Scene, sealed_at: UnixMillis, seconds: u64) -> [Result<(), RefusalReason>; 2] {
    let row = scene.studio.row(sealed_at);
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(seconds))).unwrap();
    let page = scene.verifier.take_seals(&sequence(std::slice::from_ref(&row)), NOW).map_err(|refusal| refusal.reason);
    let keyring = scene.town.keyring();
    let node = keyring.verify(row.sealed.raw(), &scene.studio.stream, at(seconds).wall, Freshness::CatchUp);
    [page, node.map(drop).map_err(|refusal| refusal.reason)]
}

#[test]
fn page_and_node_take_the_session_that_was_delegated_and_no_other() {
    assert_eq!(judged(&mut delegated(&anna(), |_| {}), at(1).wall, 2), [Ok(()), Ok(())]);
    type Change = fn(&mut Delegation);
    let changes: [(&str, Change); 5] = [
        ("another stream", |it| it.stream = StreamId::new("other").unwrap()),
        ("another key", |it| it.key = KeyId([7; 16])),
        ("another session", |it| it.session = SessionId([2; 16])),
        ("another cluster", |it| it.cluster = media::ClusterId::new("elsewhere").unwrap()),
        ("over", |it| it.until = at(1).wall),
    ];
    let refused = [Err(RefusalReason::Key), Err(RefusalReason::Key)];
    for (what, change) in changes {
        assert_eq!(judged(&mut delegated(&anna(), change), at(1).wall, 2), refused, "{what}");
    }
    let mut forged = delegated(&SealingKey::generate().unwrap(), |_| {});
    assert_eq!(judged(&mut forged, at(1).wall, 2), refused, "signed by a key that nobody granted");
}

#[test]
fn page_and_node_refuse_a_delegation_that_is_over_and_whose_streamer_lost_the_right() {
    let refused = [Err(RefusalReason::Key), Err(RefusalReason::Key)];
    assert_eq!(judged(&mut delegated(&anna(), |_| {}), at(1).wall, 4 * HOUR), refused, "control's word is of later");
    type Change = fn(&mut metadata::Grant);
    let changes: [(&str, Change); 4] = [
        ("may not delegate", |grant| grant.may_delegate = false),
        ("another stream", |grant| grant.scope = Scope::Streams(vec![StreamId::new("other").unwrap()])),
        ("is over, or revoked", |grant| grant.until = at(2).wall),
        ("is of a pool that the stream is not in", |grant| grant.scope = Scope::Pools(vec!["default".to_owned()])),
    ];
    for (what, change) in changes {
        let mut scene = delegated(&anna(), |_| {});
        scene.town.grant_with(&anna(), at(2), |grant| {
            streamer(grant);
            change(grant);
        });
        assert_eq!(judged(&mut scene, at(1).wall, 3), refused, "{what}");
    }
}

/// Whoever serves the page withholds the newer word by which the session is not delegated any more.
#[test]
fn session_that_the_newest_word_leaves_out_does_not_count() {
    let mut scene = delegated(&anna(), |_| {});
    let rows = scene.segment(1);
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(2))).unwrap();
    scene.verifier.take_trust(&scene.town.trust(&[], at(3))).unwrap();
    let refused = scene.verifier.take_seals(&sequence(&rows), NOW).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "{refused}");
    scene.verifier.take_trust(&scene.town.trust(&[&scene.studio.key], at(4))).unwrap();
    scene.verifier.take_seals(&sequence(&rows), NOW).unwrap();
    assert_eq!(scene.verifier.standing(NOW).node, Some("i1"));
}

/// Whoever serves the page adds what a streamer has delegated of another stream, and the ingest seals this one with the same session.
#[test]
fn session_that_was_delegated_of_another_stream_counts_for_that_one_alone() {
    let mut scene = delegated(&anna(), |it| it.stream = StreamId::new("other").unwrap());
    let both = Scope::Streams(vec![studio::stream(STREAM), studio::stream("other")]);
    scene.town.grant_with(&anna(), at(1), |grant| {
        streamer(grant);
        grant.scope = both;
    });
    let rows = scene.segment(1);
    let answer = scene.town.trust_of(&[STREAM, "other"], &[&scene.studio.key], at(2));
    scene.verifier.take_trust(&answer).unwrap();
    let refused = scene.verifier.take_seals(&sequence(&rows), NOW).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Key, "{refused}");
}
