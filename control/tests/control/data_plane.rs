//! What each role may do, and what control tells the cluster.

use control::{Config, Control, StreamConfig};
use media::{ClusterId, NodeId, StreamId};
use messages::{Role, StreamTable};
use metadata::Scope;
use node::Redacted;
use node::tls::{Authority, Identity, Server};
use reqwest::{Client, Method, StatusCode};
use seal::{Keyring, SealingKey, Signer as _};
use serde_json::Value;
use testkit::postgres::Postgres;

use crate::cluster::{Cluster, config, json, next};
use crate::metadata::Follower;

/// Asks for a grant of a key.
async fn ask(client: &Client, base: &str, key: &SealingKey) -> (StatusCode, String) {
    let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_granted_its_own_key_and_the_cluster_hears_of_it() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    let sealing = SealingKey::generate().unwrap();
    let stranger = cluster.client("i1", Role::Ingest);
    let (status, why) = ask(&stranger, &base, &sealing).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.contains("i1 is no member"), "{why}");
    let ingest = cluster.ingest(&base, "i1").await;
    let (status, answer) = ask(&ingest, &base, &sealing).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (key, default) = (sealing.key_id(), Scope::Pools(vec!["default".to_owned()]));
    b1.sees("the grant", |view| {
        let grant = view.grant(&key);
        grant.is_some_and(|grant| grant.node.as_str() == "i1" && grant.scope == default)
    })
    .await;
    // The same key of the same node is granted already, and nobody else's.
    assert_eq!(ask(&ingest, &base, &sealing).await, (StatusCode::OK, answer));
    let other = cluster.ingest(&base, "i2").await;
    let (status, why) = ask(&other, &base, &sealing).await;
    assert!(status == StatusCode::FORBIDDEN && why.contains("belongs to node i1"), "{status}: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_granted_the_pools_that_it_serves_and_told_of_no_other_stream() {
    let cluster = Cluster::start().await;
    let mut config = crate::cluster::config();
    let stream = |name: &str| StreamConfig {
        name: StreamId::new(name).unwrap(),
        key: None,
        pool: Some("music".to_owned()),
        key_file: None,
    };
    config.streams.push(stream("choir"));
    config.ingest_pools.insert(NodeId::new("i2").unwrap(), vec!["music".to_owned()]);
    let (base, _) = cluster.control_with(config, cluster.all.clone()).await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    for (node, pool, serves) in [("i1", "default", "hall"), ("i2", "music", "choir")] {
        let (ingest, key) = (cluster.ingest(&base, node).await, SealingKey::generate().unwrap());
        assert_eq!(ask(&ingest, &base, &key).await.0, StatusCode::OK);
        let id = NodeId::new(node).unwrap();
        b1.sees("the grant", |view| {
            view.grant(&key.key_id()).is_some_and(|grant| grant.scope == Scope::Pools(vec![pool.to_owned()]))
        })
        .await;
        b1.sees("what it may seal", |view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            let may =
                |stream: &str| keyring.may_push(&id, &StreamId::new(stream).unwrap(), node::clock::Clock::new().wall());
            ["hall", "choir"].into_iter().all(|stream| may(stream) == (stream == serves))
        })
        .await;
        let (_, table) = json(&ingest, Method::GET, format!("{base}/streams"), None).await;
        let names: Vec<&str> =
            table["streams"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names, [serves]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_decides_what_a_caller_may_do() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let public_key = SealingKey::generate().unwrap().public_key_bytes();
    for role in [Role::Broadcast, Role::LoadBalancer, Role::Control] {
        let client = cluster.member(&base, &format!("x-{role}"), role).await;
        let answer = client.post(format!("{base}/grants")).body(public_key.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{role} asks for a grant");
    }
    for role in [Role::Broadcast, Role::LoadBalancer, Role::Ingest] {
        let client = cluster.member(&base, &format!("y-{role}"), role).await;
        for path in ["streams", "streams/hall", "keys", "nodes"] {
            let answer = client.get(format!("{base}/admin/{path}")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{role} reads {path}");
        }
    }
    let stranger = Authority::ensure(&cluster.directory.path().join("other"), &node::clock::Clock::new()).unwrap();
    let paths = stranger.issue(&NodeId::new("i1").unwrap(), Role::Ingest, &[]).unwrap();
    let client =
        Identity::load(&paths).unwrap().http_client(Server::Node(Role::Control, NodeId::new("c1").unwrap())).unwrap();
    assert!(client.get(format!("{base}/streams")).send().await.is_err(), "another authority's certificate");
}

/// Whoever has the authority's key signs any name, and has the key of none that is a member.
#[tokio::test(flavor = "multi_thread")]
async fn stolen_authority_gets_no_grant_no_table_and_no_command() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let ingest = cluster.ingest(&base, "i1").await;
    let sealing = SealingKey::generate().unwrap();
    let (table, metadata) = (format!("{base}/streams"), format!("{base}/metadata/entries?from=1"));
    let thief = cluster.thief("i1", Role::Ingest);
    let (status, why) = ask(&thief, &base, &sealing).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a grant: {why}");
    assert!(why.contains("the name i1 belongs to another machine"), "{why}");
    for (what, client) in [
        ("of i1", thief),
        ("of a new ingest", cluster.thief("i9", Role::Ingest)),
        ("of i1 as control", cluster.thief("i1", Role::Control)),
        ("of control", cluster.thief("c1", Role::Control)),
        ("of another control", cluster.thief("c9", Role::Control)),
    ] {
        for url in [&table, &metadata, &format!("{base}/admin/keys"), &format!("{base}/admin/metadata")] {
            let (status, answer) = json(&client, Method::GET, url.clone(), None).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "certificate {what}, {url}: {answer}");
        }
        let said = Some(serde_json::json!({ "level": 1 }));
        let (status, answer) = json(&client, Method::POST, format!("{base}/metadata/self"), said).await;
        assert!(what == "of a new ingest" || status == StatusCode::FORBIDDEN, "{what} says what it is: {answer}");
        let revoke = format!("{base}/admin/nodes/i1/revoke");
        assert_eq!(json(&client, Method::POST, revoke, None).await.0, StatusCode::FORBIDDEN, "{what} revokes");
    }
    for url in [&table, &metadata] {
        assert_eq!(ingest.get(url).send().await.unwrap().status(), StatusCode::OK, "i1 itself: {url}");
    }
    assert_eq!(ask(&ingest, &base, &sealing).await.0, StatusCode::OK);
    assert_eq!(json(&cluster.operator(), Method::GET, format!("{base}/admin/keys"), None).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_key_is_refused_and_a_long_body_is_not_read() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let ingest = cluster.ingest(&base, "i1").await;
    let refused = ingest.post(format!("{base}/grants")).body(vec![0; 100]).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let refused = ingest.post(format!("{base}/grants")).body(vec![0; 100_000]).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_made_shown_rotated_and_deleted_and_ingests_are_told() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let mut updates = cluster.listen("catalogue/update").await;
    let (admin, ingest) = (cluster.operator(), cluster.ingest(&base, "i1").await);
    let stream = |name: &str| format!("{base}/admin/streams/{name}");

    let new = serde_json::json!({ "name": "choir" });
    let (status, made) = json(&admin, Method::POST, format!("{base}/admin/streams"), Some(new.clone())).await;
    assert_eq!(status, StatusCode::CREATED);
    next(&mut updates).await;
    let (status, said) = json(&admin, Method::POST, format!("{base}/admin/streams"), Some(new)).await;
    assert_eq!((status, said), (StatusCode::CONFLICT, Value::String("there is a stream choir already\n".to_owned())));

    let (_, answer) = json(&ingest, Method::GET, format!("{base}/streams"), None).await;
    let table: StreamTable = serde_json::from_value(answer.clone()).unwrap();
    let key = made["key"].as_str().unwrap();
    let recognised: Vec<(&str, bool)> =
        table.streams.iter().map(|entry| (entry.name.as_str(), entry.has_key(key))).collect();
    assert_eq!(recognised, [("choir", true), ("hall", false)]);
    assert!(!answer.to_string().contains(key), "ingests get MACs, not keys");

    let (_, rotated) = json(&admin, Method::POST, stream("choir/rotate-key"), None).await;
    assert_ne!(rotated["key"], made["key"]);
    let (_, shown) = json(&admin, Method::GET, stream("choir"), None).await;
    assert!(
        shown.get("key").is_none() && rotated["key"].as_str().unwrap().ends_with(shown["key_hint"].as_str().unwrap())
    );
    next(&mut updates).await;
    let (status, _) = json(&admin, Method::DELETE, stream("choir"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    next(&mut updates).await;
    let (status, _) = json(&admin, Method::GET, stream("choir"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, hall) = json(&admin, Method::GET, stream("hall"), None).await;
    assert_eq!(
        (status, hall["key_hint"].as_str()),
        (StatusCode::OK, Some("")),
        "the hint of a short key would help a guesser"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogue_in_postgresql_outlives_control_and_is_of_use_with_its_pepper_only() {
    let (cluster, server) = (Cluster::start().await, Postgres::start());
    let admin = cluster.operator();
    let database = Some(Redacted::new(server.database()));
    let with_database = || Config { database: database.clone(), ..config() };
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(with_database(), end.clone()).await;
    let new = serde_json::json!({ "name": "choir" });
    let (status, made) = json(&admin, Method::POST, format!("{base}/admin/streams"), Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    end.cancel();
    task.await.unwrap().unwrap();
    let data = cluster.directory.path().join("c1");
    assert!(!data.join("catalogue.db").exists());

    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(with_database(), end.clone()).await;
    let table: StreamTable = admin.get(format!("{base}/streams")).send().await.unwrap().json().await.unwrap();
    let key = made["key"].as_str().unwrap();
    assert!(table.streams.iter().any(|entry| entry.name.as_str() == "choir" && entry.has_key(key)));
    end.cancel();
    task.await.unwrap().unwrap();

    std::fs::remove_file(data.join("pepper.key")).unwrap();
    let context = cluster.context("c1", Role::Control, true, &cluster.all).await;
    let said = format!("{:#}", Control::load(with_database(), context).await.err().expect("it is refused"));
    assert!(said.starts_with("catalogue in PostgreSQL (role.control.database): its stream keys are kept"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_node_gets_nothing_for_its_certificate_and_its_seals_count_nowhere() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let (admin, stolen) = (cluster.member(&base, "c2", Role::Control).await, cluster.ingest(&base, "i1").await);
    let (first, other) = (SealingKey::generate().unwrap(), cluster.ingest(&base, "i2").await);
    assert_eq!(ask(&stolen, &base, &first).await.0, StatusCode::OK);

    let revoke = |node: &str| format!("{base}/admin/nodes/{node}/revoke");
    let (status, said) = json(&admin, Method::POST, revoke("i1"), None).await;
    assert_eq!(
        (status, said),
        (
            StatusCode::OK,
            serde_json::json!({ "node": "i1", "known": true, "keys": [first.key_id().to_string()], "acknowledged": [], "missing": [] })
        )
    );
    // The thief makes another key, and the certificate still verifies.
    let (status, why) = ask(&stolen, &base, &SealingKey::generate().unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.contains("node i1 is revoked"), "{why}");
    let (status, _) = json(&stolen, Method::GET, format!("{base}/streams"), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "nor does it read which keys publish");
    assert_eq!(ask(&other, &base, &SealingKey::generate().unwrap()).await.0, StatusCode::OK);

    let (status, why) = json(&admin, Method::POST, revoke("c1"), None).await;
    assert_eq!(status, StatusCode::CONFLICT, "{why}");
    let (status, _) = json(&admin, Method::POST, revoke("c2"), None).await;
    assert_eq!(status, StatusCode::OK, "another control node may be");
    assert_eq!(json(&admin, Method::GET, format!("{base}/admin/keys"), None).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_keys_from_one_node_takes_its_own_places_and_no_others() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let (greedy, other) = (cluster.ingest(&base, "i1").await, cluster.ingest(&base, "i2").await);
    let first = SealingKey::generate().unwrap();
    assert_eq!(ask(&greedy, &base, &first).await.0, StatusCode::OK);
    let mut granted = 1;
    for _ in 0..20 {
        let (status, why) = ask(&greedy, &base, &SealingKey::generate().unwrap()).await;
        if status == StatusCode::OK {
            granted += 1;
        } else {
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
            assert!(why.contains("node i1 has 4 keys granted already"), "{why}");
        }
    }
    assert_eq!(granted, seal::limits::GRANTS_PER_NODE_MAX);
    assert_eq!(ask(&greedy, &base, &first).await.0, StatusCode::OK, "a key that has its place is granted again");
    assert_eq!(ask(&other, &base, &SealingKey::generate().unwrap()).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_counts_nowhere_and_is_not_granted_again() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    let sealing = SealingKey::generate().unwrap();
    let (admin, ingest) = (cluster.operator(), cluster.ingest(&base, "i1").await);
    assert_eq!(ask(&ingest, &base, &sealing).await.0, StatusCode::OK);
    b1.sees("the grant", |view| view.grant(&sealing.key_id()).is_some()).await;

    let url = format!("{base}/admin/keys/{}/revoke", sealing.key_id());
    assert_eq!(json(&admin, Method::POST, url.clone(), None).await.0, StatusCode::OK);
    b1.sees("the revocation", |view| view.is_key_revoked(&sealing.key_id())).await;
    b1.sees("no grant", |view| view.grant(&sealing.key_id()).is_none()).await;
    assert_eq!(json(&admin, Method::POST, url, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&ingest, &base, &sealing).await.0, StatusCode::FORBIDDEN);
    let (_, keys) = json(&admin, Method::GET, format!("{base}/admin/keys"), None).await;
    assert_eq!(keys, serde_json::json!([]));
}
