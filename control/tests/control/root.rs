//! Control without the root key: it goes on, and the root decides where its key is.

use media::NodeId;
use messages::Role;
use metadata::{EntrySequence, Head, RootStatement, Roots, sign_root};
use node::CancellationToken;
use reqwest::{Client, Method, StatusCode};
use seal::{ControlKey, RefusalReason, RootKey, SealingKey, Signer as _};

use crate::cluster::{Cluster, json};
use crate::metadata::Follower;

/// A control that has run once, and whose root key was taken away; returns the key.
async fn exported(cluster: &Cluster) -> RootKey {
    let end = cluster.all.child_token();
    let (_, task) = cluster.control_until(end.clone()).await;
    let b1 = Follower::start(cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&NodeId::new("b1").unwrap()).is_some()).await;
    b1.stop().await;
    end.cancel();
    task.await.unwrap().unwrap();
    let path = cluster.directory.path().join("c1/root.key");
    let key = RootKey::from_seed_bytes(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    key
}

/// The statement in force, as control tells whoever has the root key.
async fn statement(admin: &Client, base: &str, root: &RootKey) -> RootStatement {
    let (status, said) = json(admin, Method::GET, format!("{base}/admin/metadata/root"), None).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let mut roots = Roots::new(media::ClusterId::new("test").unwrap(), root.public_key().unwrap());
    roots.take(&unhex(said["statement"].as_str().unwrap()).into()).unwrap();
    roots.statement().unwrap().clone()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

async fn offer(admin: &Client, base: &str, signed: bytes::Bytes) -> (StatusCode, String) {
    let answer = admin.post(format!("{base}/admin/metadata/root")).body(signed).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn control_grants_revokes_and_adds_without_the_root_key() {
    let cluster = Cluster::start().await;
    exported(&cluster).await;
    let base = cluster.control().await;
    let admin = cluster.client("c1", Role::Control);
    let b1 = Follower::start(&cluster, "b1", None).await;
    let (ingest, key) = (cluster.ingest(&base, "i1").await, SealingKey::generate().unwrap());
    let answer = ingest.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    b1.sees("the grant", |view| view.grant(&key.key_id()).is_some()).await;

    let certificate = cluster.authority.issue(&NodeId::new("b4").unwrap(), Role::Broadcast, &[]).unwrap().certificate;
    let new = serde_json::json!({ "certificate": std::fs::read_to_string(certificate).unwrap() });
    let (status, said) = json(&admin, Method::POST, format!("{base}/admin/nodes/b4/add"), Some(new)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    b1.sees("b4", |view| view.member(&NodeId::new("b4").unwrap()).is_some()).await;

    let (status, _) = json(&admin, Method::POST, format!("{base}/admin/nodes/i1/revoke"), None).await;
    assert_eq!(status, StatusCode::OK);
    b1.sees("the revocation", |view| view.grant(&key.key_id()).is_none()).await;

    let (status, why) = json(&admin, Method::POST, format!("{base}/admin/metadata/branch"), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(why.as_str().unwrap().contains("sealcast root branch --yes --key FILE"), "{why}");
    let (_, log) = json(&admin, Method::GET, format!("{base}/admin/metadata"), None).await;
    assert_eq!(log["root_key_here"], false);
    assert!(log["control_until"].as_i64().unwrap() > node::clock::Clock::new().wall().0);
    assert!(!cluster.directory.path().join("c1/root.key").exists(), "control makes no other root key");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_is_followed_by_all_nodes_and_takes_the_old_and_the_new_root_keys() {
    let cluster = Cluster::start().await;
    let old = exported(&cluster).await;
    let (base, _) = cluster.control_until(cluster.all.clone()).await;
    let admin = cluster.client("c1", Role::Control);
    let (b1, new) = (Follower::start(&cluster, "b1", None).await, RootKey::generate().unwrap());

    let mut next = statement(&admin, &base, &old).await;
    next.begin_next(node::clock::Clock::new().wall());
    next.root_keys = vec![new.public_key_bytes()];
    for too_few in [&[&old][..], &[&new]] {
        let (status, why) = offer(&admin, &base, sign_root(&next, too_few).unwrap()).await;
        assert!(status == StatusCode::CONFLICT && why.contains("too few"), "{status}: {why}");
    }
    let (status, log) = offer(&admin, &base, sign_root(&next, &[&old, &new]).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{log}");
    let (_, audit) =
        json(&admin, Method::GET, format!("{}/api/v1/audit?all=true", base.trim_end_matches("/cluster/v1")), None)
            .await;
    let done = audit["items"].as_array().unwrap().iter().find(|row| row["result"] == "done");
    assert_eq!(done.map(|row| &row["action"]), Some(&"metadata.rotate".into()), "{audit}");
    let version = next.version;
    b1.reaches_root(version).await;
    // A node that was given the first root key walks from it to the newest statement.
    let b2 = Follower::start(&cluster, "b2", None).await;
    b2.reaches_root(version).await;
    b2.sees("b2", |view| view.member(&NodeId::new("b2").unwrap()).is_some()).await;

    // The old key alone decides nothing any more; the new one does, also after a restart of control.
    let mut later = statement(&admin, &base, &new).await;
    later.begin_next(node::clock::Clock::new().wall());
    assert_eq!(offer(&admin, &base, sign_root(&later, &[&old]).unwrap()).await.0, StatusCode::CONFLICT);
    assert_eq!(offer(&admin, &base, sign_root(&later, &[&new]).unwrap()).await.0, StatusCode::OK);
    b1.reaches_root(version + 1).await;
    // A node that takes several statements at once keeps each: it begins with them after a restart.
    let b3 = Follower::start(&cluster, "b3", Some(&base)).await;
    b3.reaches_root(version + 1).await;
    b3.stop().await;
    let alone = Follower::start(&cluster, "b3", Some("https://127.0.0.1:9/cluster/v1")).await;
    alone.reaches_root(version + 1).await;
}

/// Nobody names the key of this control: it says what to do, and does not run.
#[tokio::test(flavor = "multi_thread")]
async fn control_that_no_statement_names_and_without_a_root_key_says_what_to_do() {
    let cluster = Cluster::start().await;
    exported(&cluster).await;
    std::fs::remove_file(cluster.directory.path().join("c1/metadata.key")).unwrap();
    let context = cluster.context("c1", Role::Control, true, &CancellationToken::new()).await;
    let why = control::Control::load(crate::cluster::config(), context).await.err().unwrap();
    assert!(format!("{why:#}").contains("restore metadata.key from a backup"), "{why:#}");
}

/// Somebody has a copy of control's key. The operator takes it away, and starts control with the root key.
#[tokio::test(flavor = "multi_thread")]
async fn stolen_key_of_control_signs_nothing_once_another_has_taken_its_place() {
    let cluster = Cluster::start().await;
    let end = cluster.all.child_token();
    let (_, task) = cluster.control_until(end.clone()).await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&NodeId::new("b1").unwrap()).is_some()).await;
    end.cancel();
    task.await.unwrap().unwrap();
    let data = cluster.directory.path().join("c1");
    let stolen = std::fs::read(data.join("metadata.key")).unwrap();
    let stolen = ControlKey::from_seed_bytes(&stolen).unwrap();
    std::fs::remove_file(data.join("metadata.key")).unwrap();

    let (base, _) = cluster.control_until(cluster.all.clone()).await;
    b1.reaches_root(2).await;
    let admin = cluster.operator();
    let new = serde_json::json!({ "name": "choir" });
    let (status, said) = json(&admin, Method::POST, format!("{base}/admin/streams"), Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let choir = media::StreamId::new("choir").unwrap();
    b1.sees("what the new key writes", |view| view.stream(&choir).is_some()).await;
    // A node that begins now believes what the old key wrote, and nothing that it signs.
    let b2 = Follower::start(&cluster, "b2", Some(&base)).await;
    b2.sees("all of it", |view| view.stream(&choir).is_some()).await;
    let root = RootKey::from_seed_bytes(&std::fs::read(data.join("root.key")).unwrap()).unwrap();
    let controls = statement(&admin, &base, &root).await.controls;
    let [old, new] = &controls[..] else { panic!("{controls:?}") };
    assert_eq!((old.last.map(EntrySequence::next), new.last), (Some(new.first), None));
    let (_, said) = json(&admin, Method::GET, format!("{base}/admin/metadata/root"), None).await;
    let mut roots = Roots::new(media::ClusterId::new("test").unwrap(), root.public_key().unwrap());
    roots.take(&unhex(said["statement"].as_str().unwrap()).into()).unwrap();
    let (sequence, chain, state) = (old.last.unwrap(), media::Digest([1; 32]), media::Digest([2; 32]));
    let (cluster, log) = (roots.cluster().clone(), roots.statement().unwrap().log);
    for sequence in [sequence, sequence.next()] {
        let (cluster, at) = (cluster.clone(), node::clock::Clock::new().wall());
        let head = Head { cluster, log, sequence, chain, state, at, root_version: 2, database: [7; 16] };
        let refused = roots.check_head(&head.sign(&stolen).unwrap()).unwrap_err();
        assert_eq!(refused.reason, RefusalReason::Key, "{refused}");
    }
}
