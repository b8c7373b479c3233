//! `Catalogue.Watch`: what it tells, how it goes on after an interruption, and when it ends.

use tonic::{Code, Streaming};

use reqwest::{Method, StatusCode};

use crate::api::id;
use crate::cluster::PATIENCE;
use crate::grpc::v1::*;
use crate::grpc::{Served, by, named, reason, titled};

/// A change as a test compares it: kind, stream, title, whether the key is another.
type Told = (String, String, Option<String>, bool);

fn told(kind: &str, name: &str, title: Option<&str>, key_rotated: bool) -> Told {
    (kind.to_owned(), name.to_owned(), title.map(str::to_owned), key_rotated)
}

async fn next(watch: &mut Streaming<WatchResponse>) -> WatchResponse {
    let next = tokio::time::timeout(PATIENCE, watch.message()).await.expect("an answer comes");
    next.unwrap().expect("the call goes on")
}

/// The next changes, and the entry of the last.
async fn changes(watch: &mut Streaming<WatchResponse>, count: usize) -> (Vec<Told>, u64) {
    let (mut all, mut sequence) = (Vec::new(), 0);
    while all.len() < count {
        let answer = next(watch).await;
        assert!(!answer.reset && answer.sequence >= sequence, "{answer:?}");
        sequence = answer.sequence;
        all.extend(
            answer
                .changes
                .into_iter()
                .map(|change| (change.kind, change.name, change.stream.map(|stream| stream.title), change.key_rotated)),
        );
    }
    (all, sequence)
}

async fn watch(served: &Served, key: &str, after_sequence: Option<u64>) -> Streaming<WatchResponse> {
    served.catalogue().watch(by(key, WatchRequest { after_sequence })).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_goes_on_after_its_entry_when_control_was_started_again() {
    let mut served = Served::start().await;
    for slug in ["acme", "other"] {
        served.api.tenant(slug).await;
    }
    let (key, other) = (served.api.secret("acme", "owner").await, served.api.secret("other", "owner").await);
    let first = served.catalogue().list_streams(by(&key, ListStreamsRequest::default())).await.unwrap().into_inner();
    let mut catalogue = served.catalogue();
    let mut live = watch(&served, &key, Some(first.sequence)).await;
    let begun = next(&mut live).await;
    assert_eq!((begun.sequence, begun.reset, begun.changes.len()), (first.sequence, false, 0));
    catalogue.create_stream(by(&key, named("acme.hall"))).await.unwrap();
    catalogue.create_stream(by(&other, named("other.hall"))).await.unwrap();
    catalogue.update_stream(by(&key, titled("acme.hall", "Hall"))).await.unwrap();
    let rotate = RotateStreamKeyRequest { stream: "acme.hall".to_owned() };
    catalogue.rotate_stream_key(by(&key, rotate)).await.unwrap();
    let (seen, place) = changes(&mut live, 3).await;
    let before = [
        told("created", "acme.hall", Some(""), false),
        told("updated", "acme.hall", Some("Hall"), false),
        told("updated", "acme.hall", Some("Hall"), true),
    ];
    assert_eq!(seen, before);
    catalogue.create_stream(by(&key, named("acme.missed"))).await.unwrap();

    served = served.again().await;
    // Missed while it was away, and new.
    let mut catalogue = served.catalogue();
    let delete = DeleteStreamRequest { stream: "acme.hall".to_owned(), version: None };
    catalogue.delete_stream(by(&key, delete)).await.unwrap();
    let mut resumed = watch(&served, &key, Some(place)).await;
    catalogue.create_stream(by(&key, named("acme.new"))).await.unwrap();
    let after = [
        told("created", "acme.missed", Some(""), false),
        told("deleted", "acme.hall", None, false),
        told("created", "acme.new", Some(""), false),
    ];
    let (seen, newest) = changes(&mut resumed, 3).await;
    assert_eq!(seen, after);
    // From the beginning, all of it, and nothing of anybody else.
    let mut all = watch(&served, &key, Some(first.sequence)).await;
    assert_eq!(changes(&mut all, 6).await, ([&before[..], &after[..]].concat(), newest));
    let mut theirs = watch(&served, &other, Some(0)).await;
    assert_eq!(changes(&mut theirs, 1).await.0, [told("created", "other.hall", Some(""), false)]);
    // From now on.
    let mut now = watch(&served, &key, None).await;
    assert!(next(&mut now).await.sequence >= newest);
    // An entry that is none: the client has to read again, and goes on from there.
    let mut lost = watch(&served, &key, Some(u64::MAX)).await;
    let reset = next(&mut lost).await;
    assert!(reset.reset && reset.sequence >= newest && reset.changes.is_empty(), "{reset:?}");
    catalogue.update_stream(by(&key, titled("acme.new", "New"))).await.unwrap();
    for watch in [&mut lost, &mut now] {
        assert_eq!(changes(watch, 1).await.0, [told("updated", "acme.new", Some("New"), false)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_ends_with_its_credential_and_places_are_few() {
    let served = Served::start().await;
    let made = served.api.key("default", "viewer").await;
    let key = made["secret"].as_str().unwrap();
    let mut ended = watch(&served, key, None).await;
    next(&mut ended).await;
    let mut places = Vec::new();
    for _ in 1..20 {
        places.push(watch(&served, key, None).await);
    }
    let request = || by(key, WatchRequest::default());
    let refused = served.catalogue().watch(request()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "rate-limited"));
    // Whoever leaves makes room.
    drop(places);
    testkit::wait::eventually_async("there is room", PATIENCE, async || {
        served.catalogue().watch(request()).await.is_ok().then_some(())
    })
    .await;
    let path = format!("/api/v1/api-keys/{}", id(&made));
    let gone = served.api.operate("default", Method::DELETE, &path, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let over = async {
        loop {
            match ended.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends with a reason"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, over).await.expect("it ends");
    assert_eq!(status.code(), Code::Unauthenticated);
}
