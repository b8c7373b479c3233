//! What each role may do, and what control tells the cluster.

use std::time::Duration;

use bytes::Bytes;
use control::{Config, Control};
use media::NodeId;
use messages::{Role, StreamTable};
use node::Redacted;
use node::tls::{Authority, Identity, Server};
use reqwest::{Client, Method, StatusCode};
use seal::{SealingKey, Signer as _};
use serde_json::Value;
use testkit::postgres::Postgres;

use crate::cluster::{Cluster, PATIENCE, config, json, next};
use crate::metadata::Follower;

#[tokio::test(flavor = "multi_thread")]
async fn ingest_is_granted_its_own_key_and_the_cluster_hears_of_it() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let mut keys = cluster.listen("keys/+").await;
    let sealing = SealingKey::generate().unwrap();
    let ingest = cluster.client("i1", Role::Ingest);
    let answer = ingest.post(format!("{base}/grants")).body(sealing.public_key_bytes()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let grant: Bytes = answer.bytes().await.unwrap();

    let mut keyring = cluster.keyring();
    let key = keyring.add_grant(&grant, node::clock::Clock::new().wall()).unwrap();
    assert_eq!(key, sealing.key_id());
    assert_eq!(keyring.grant(&key).unwrap().node.as_str(), "i1", "the certificate says whose key it is");
    let heard = next(&mut keys).await;
    assert_eq!((heard.topic, heard.payload), (format!("sealcast/v1/keys/{key}"), grant));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_decides_what_a_caller_may_do() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let public_key = SealingKey::generate().unwrap().public_key_bytes();
    for role in [Role::Broadcast, Role::LoadBalancer, Role::Control] {
        let client = cluster.client(&format!("x-{role}"), role);
        let answer = client.post(format!("{base}/grants")).body(public_key.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{role} asks for a grant");
    }
    for role in [Role::Broadcast, Role::LoadBalancer, Role::Ingest] {
        let client = cluster.client(&format!("y-{role}"), role);
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

#[tokio::test(flavor = "multi_thread")]
async fn bad_key_is_refused_and_a_long_body_is_not_read() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let ingest = cluster.client("i1", Role::Ingest);
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
    let (admin, ingest) = (cluster.client("c2", Role::Control), cluster.client("i1", Role::Ingest));
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
        table.streams.iter().map(|entry| (entry.name.as_str(), entry.key_mac == table.pepper.mac(key))).collect();
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
    let admin = cluster.client("c2", Role::Control);
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
    let ingest = cluster.client("i1", Role::Ingest);
    let table: StreamTable = ingest.get(format!("{base}/streams")).send().await.unwrap().json().await.unwrap();
    let mac = table.pepper.mac(made["key"].as_str().unwrap());
    assert!(table.streams.iter().any(|entry| entry.name.as_str() == "choir" && entry.key_mac == mac));
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
    let mut keys = cluster.listen("keys/+").await;
    let (admin, stolen) = (cluster.client("c2", Role::Control), cluster.client("i1", Role::Ingest));
    let ask = async |client: &Client, key: &SealingKey| {
        let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    };
    let first = SealingKey::generate().unwrap();
    let (status, grant) = ask(&stolen, &first).await;
    assert_eq!(status, StatusCode::OK);
    next(&mut keys).await;

    let revoke = |node: &str| format!("{base}/admin/nodes/{node}/revoke");
    let (status, said) = json(&admin, Method::POST, revoke("i1"), None).await;
    assert_eq!(
        (status, said),
        (
            StatusCode::OK,
            serde_json::json!({ "node": "i1", "keys": [first.key_id().to_string()], "acknowledged": [], "missing": [] })
        )
    );
    let list = next(&mut keys).await;
    assert_eq!(list.topic, "sealcast/v1/keys/revoked");
    assert_eq!(next(&mut keys).await.payload, Bytes::new(), "the retained grant is cleared");
    let now = node::clock::Clock::new().wall();
    let mut keyring = cluster.keyring();
    keyring.add_grant(&grant, now).unwrap();
    keyring.apply_revocations(&list.payload).unwrap();
    assert!(keyring.grant(&first.key_id()).is_none() && keyring.add_grant(&grant, now).is_err());

    // The thief makes another key, and the certificate still verifies.
    let (status, why) = ask(&stolen, &SealingKey::generate().unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&why).contains("node i1 is revoked"), "{why:?}");
    let (status, _) = json(&stolen, Method::GET, format!("{base}/streams"), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "nor does it read which keys publish");
    let (status, _) = ask(&cluster.client("i2", Role::Ingest), &SealingKey::generate().unwrap()).await;
    assert_eq!(status, StatusCode::OK);

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
    let ask = async |client: &Client, key: &SealingKey| {
        let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap_or_default())
    };
    let (greedy, other) = (cluster.client("i1", Role::Ingest), cluster.client("i2", Role::Ingest));
    let first = SealingKey::generate().unwrap();
    assert_eq!(ask(&greedy, &first).await.0, StatusCode::OK);
    let mut granted = 1;
    for _ in 0..20 {
        let (status, why) = ask(&greedy, &SealingKey::generate().unwrap()).await;
        if status == StatusCode::OK {
            granted += 1;
        } else {
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
            assert!(why.contains("node i1 has 4 keys granted already"), "{why}");
        }
    }
    assert_eq!(granted, seal::limits::GRANTS_PER_NODE_MAX);
    assert_eq!(ask(&greedy, &first).await.0, StatusCode::OK, "a key that has its place is granted again");
    assert_eq!(ask(&other, &SealingKey::generate().unwrap()).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_is_on_the_list_and_its_grant_is_gone_from_the_bus() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let mut keys = cluster.listen("keys/+").await;
    let sealing = SealingKey::generate().unwrap();
    let (admin, ingest) = (cluster.client("c2", Role::Control), cluster.client("i1", Role::Ingest));
    let grant = ingest.post(format!("{base}/grants")).body(sealing.public_key_bytes()).send().await.unwrap();
    let grant = grant.bytes().await.unwrap();
    next(&mut keys).await;

    let url = format!("{base}/admin/keys/{}/revoke", sealing.key_id());
    assert_eq!(json(&admin, Method::POST, url.clone(), None).await.0, StatusCode::OK);
    let list = next(&mut keys).await;
    assert_eq!(list.topic, "sealcast/v1/keys/revoked");
    let mut keyring = cluster.keyring();
    keyring.apply_revocations(&list.payload).unwrap();
    assert!(keyring.add_grant(&grant, node::clock::Clock::new().wall()).is_err());
    assert_eq!(next(&mut keys).await.payload, Bytes::new(), "the retained grant is cleared");

    assert_eq!(json(&admin, Method::POST, url, None).await.0, StatusCode::NOT_FOUND);
    let again = ingest.post(format!("{base}/grants")).body(sealing.public_key_bytes()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::FORBIDDEN);
}

/// Revocations of after the backup are on the bus, and nodes refuse every list that does not follow them.
#[tokio::test(flavor = "multi_thread")]
async fn control_restored_from_a_backup_goes_on_with_the_newest_revocations() {
    let cluster = Cluster::start().await;
    let admin = cluster.client("c2", Role::Control);
    let revoke = async |base: &str, node: &str| {
        let (status, answer) = json(&admin, Method::POST, format!("{base}/admin/nodes/{node}/revoke"), None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&NodeId::new("b1").unwrap()).is_some()).await;
    revoke(&base, "i1").await;
    let files = ["revocations.cose", "metadata.db", "metadata.db-wal"]
        .map(|name| cluster.directory.path().join("c1").join(name));
    let backup = files.clone().map(|file| std::fs::read(file).unwrap());
    revoke(&base, "i2").await;
    revoke(&base, "i3").await;
    end.cancel();
    task.await.unwrap().unwrap();

    for (file, content) in files.iter().zip(backup) {
        std::fs::write(file, content).unwrap();
    }
    // A node that was there all the time.
    let mut lists = cluster.listen("keys/revoked").await;
    let mut keyring = cluster.keyring();
    keyring.apply_revocations(&next(&mut lists).await.payload).unwrap();
    let base = cluster.control().await;
    let is_revoked = |node: &str| keyring.is_node_revoked(&NodeId::new(node).unwrap());
    assert!(is_revoked("i1") && is_revoked("i2") && is_revoked("i3"));
    // It refuses what was revoked after the backup, and what it revokes now counts everywhere.
    let i3 = cluster.client("i3", Role::Ingest);
    let refused = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let key = SealingKey::generate().unwrap().public_key_bytes();
            let answer = i3.post(format!("{base}/grants")).body(key).send().await.unwrap();
            if answer.status() == StatusCode::FORBIDDEN {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("i3 is refused");
    revoke(&base, "i4").await;
    while !keyring.is_node_revoked(&NodeId::new("i4").unwrap()) {
        keyring.apply_revocations(&next(&mut lists).await.payload).expect("no list is refused");
    }
    assert!(keyring.is_node_revoked(&NodeId::new("i2").unwrap()));
}
