//! Streamers: guests that seal their own streams, and are told of nothing else.

use control::StreamConfig;
use media::{ClusterId, NodeId, StreamId};
use messages::Role;
use metadata::Scope;
use reqwest::{Client, Method, StatusCode};
use seal::{Keyring, SealingKey, Signer as _};

use crate::cluster::{Cluster, json};
use crate::metadata::Follower;

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

async fn names(client: &Client, base: &str) -> Vec<String> {
    let (status, table) = json(client, Method::GET, format!("{base}/streams"), None).await;
    assert_eq!(status, StatusCode::OK, "{table}");
    table["streams"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streamer_seals_its_own_streams_which_no_shared_ingest_seals() {
    let cluster = Cluster::start().await;
    let mut config = crate::cluster::config();
    for name in ["choir", "organ"] {
        config.streams.push(StreamConfig { name: stream(name), key: None, pool: None, key_file: None });
    }
    let (base, _) = cluster.control_with(config, cluster.all.clone()).await;
    let admin = cluster.operator();
    let b1 = Follower::start(&cluster, "b1", None).await;
    let shared = cluster.ingest(&base, "i1").await;
    let grant = async |client: &Client, key: &SealingKey| {
        let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (of_i1, of_anna) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
    assert_eq!(grant(&shared, &of_i1).await.0, StatusCode::OK);

    let certificate = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let add = async |streams: &[&str]| {
        let body = serde_json::json!({ "certificate": certificate, "streams": streams });
        json(&admin, Method::POST, format!("{base}/admin/streamers/anna"), Some(body)).await
    };
    assert_eq!(add(&["nothing"]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(add(&[]).await.0, StatusCode::CONFLICT);
    let (status, said) = add(&["choir", "organ"]).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (_, list) = json(&admin, Method::GET, format!("{base}/admin/streamers"), None).await;
    assert_eq!(list, serde_json::json!([{ "node": "anna", "streams": ["choir", "organ"] }]));

    let anna = cluster.client("anna", Role::Ingest);
    let (status, said) = grant(&anna, &of_anna).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let own = Scope::Streams(vec![stream("choir"), stream("organ")]);
    b1.sees("the grant", |view| view.grant(&of_anna.key_id()).is_some_and(|grant| grant.scope == own)).await;
    assert!(b1.looks(|view| view.member(&NodeId::new("anna").unwrap()).is_some_and(|member| member.is_guest)));
    let may = |node: &str, name: &str| {
        b1.looks(|view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            keyring.may_push(&NodeId::new(node).unwrap(), &stream(name), node::clock::Clock::new().wall())
        })
    };
    for name in ["choir", "organ"] {
        assert!(may("anna", name) && !may("i1", name), "{name}");
    }
    assert!(may("i1", "hall") && !may("anna", "hall"));
    assert_eq!(
        (names(&anna, &base).await, names(&shared, &base).await),
        (vec!["choir".into(), "organ".into()], vec!["hall".to_owned()])
    );

    // Another streamer gets none of them, and a shared ingest becomes no streamer.
    let other = cluster.authority.issue(&NodeId::new("bert").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let body = serde_json::json!({ "certificate": std::fs::read_to_string(other).unwrap(), "streams": ["choir"] });
    let (status, why) = json(&admin, Method::POST, format!("{base}/admin/streamers/bert"), Some(body)).await;
    assert!(status == StatusCode::CONFLICT && why.to_string().contains("that of streamer anna"), "{status}: {why}");

    // What it gives back goes to the shared ingests, and so does all when it is removed.
    assert_eq!(add(&["choir"]).await.0, StatusCode::OK);
    b1.sees("organ is shared again", |view| view.stream(&stream("organ")).is_some_and(|row| row.pool == "default"))
        .await;
    assert!(may("i1", "organ") && !may("anna", "organ") && may("anna", "choir"));
    let (status, _) = json(&admin, Method::POST, format!("{base}/admin/nodes/anna/revoke"), None).await;
    assert_eq!(status, StatusCode::OK);
    b1.sees("choir is shared again", |view| view.stream(&stream("choir")).is_some_and(|row| row.pool == "default"))
        .await;
    assert!(may("i1", "choir") && !may("anna", "choir"));
    assert_eq!(grant(&anna, &of_anna).await.0, StatusCode::FORBIDDEN);
}

/// A streamer's stream is its own, whatever the configuration says of it, until it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn stream_stays_with_its_streamer_when_control_starts_again_and_is_not_its_own_once_deleted() {
    let cluster = Cluster::start().await;
    let configured = || {
        let mut config = crate::cluster::config();
        let pool = Some("music".to_owned());
        config.streams.push(StreamConfig { name: stream("choir"), key: None, pool, key_file: None });
        config
    };
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(configured(), end.clone()).await;
    let admin = cluster.operator();
    let b1 = Follower::start(&cluster, "b1", None).await;
    let send = async |method: Method, url: String, body: Option<serde_json::Value>| {
        let (status, said) = json(&admin, method, url, body).await;
        assert!(status.is_success(), "{status}: {said}");
    };
    let make = |name: &str| Some(serde_json::json!({ "name": name }));
    send(Method::POST, format!("{base}/admin/streams"), make("organ")).await;
    let certificate = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let both = serde_json::json!({ "certificate": certificate, "streams": ["choir", "organ"] });
    send(Method::POST, format!("{base}/admin/streamers/anna"), Some(both)).await;
    let (anna, key) = (cluster.client("anna", Role::Ingest), SealingKey::generate().unwrap());
    let asked = anna.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    let scope = |view: &metadata::View<'_>| view.grant(&key.key_id()).map(|grant| grant.scope.clone());
    let own = |names: &[&str]| Some(Scope::Streams(names.iter().map(|name| stream(name)).collect()));
    b1.sees("the grant", |view| scope(&view) == own(&["choir", "organ"])).await;
    let pool = |name: &str| b1.looks(|view| view.stream(&stream(name)).map(|row| row.pool.clone()));
    send(Method::POST, format!("{base}/admin/streams"), make("bells")).await;
    b1.sees("another stream", |view| view.stream(&stream("bells")).is_some()).await;
    assert_eq!(pool("choir").as_deref(), Some("streamer/anna"), "another stream was made");
    end.cancel();
    task.await.unwrap().unwrap();

    let (base, _) = cluster.control_with(configured(), cluster.all.clone()).await;
    send(Method::POST, format!("{base}/admin/streams"), make("drums")).await;
    b1.sees("a third", |view| view.stream(&stream("drums")).is_some()).await;
    assert_eq!(pool("choir").as_deref(), Some("streamer/anna"), "control was started again");

    for (name, left) in [("choir", own(&["organ"])), ("organ", None)] {
        send(Method::DELETE, format!("{base}/admin/streams/{name}"), None).await;
        let now = node::clock::Clock::new().wall();
        let in_force = |view: &metadata::View<'_>| scope(view).filter(|_| view.grants(now).next().is_some());
        b1.sees(&format!("the grant without {name}"), |view| in_force(&view) == left).await;
        send(Method::POST, format!("{base}/admin/streams"), make(name)).await;
        let is_new =
            |view: metadata::View<'_>| view.stream(&stream(name)).is_some_and(|row| !row.pool.starts_with("streamer/"));
        b1.sees("the new stream", is_new).await;
        let may = b1.looks(|view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            keyring.may_push(&NodeId::new("anna").unwrap(), &stream(name), now)
        });
        assert!(!may, "anna may seal {name}, which was deleted and made again");
    }
}
