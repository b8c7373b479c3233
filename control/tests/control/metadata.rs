//! The metadata log over real sockets: nodes follow it, control is restored, doubled and refused, and strangers are no members.

use std::path::PathBuf;
use std::sync::Arc;

use catalogue::{Catalogue, Location};
use control::Config;
use media::NodeId;
use messages::{Pepper, Role, StreamTable};
use metadata::View;
use node::cluster_view::{ClusterView, Topics};
use node::presence::PresenceParts;
use node::{CancellationToken, Redacted, http, presence};
use replica::{Log, Membership, Report, Rules};
use reqwest::{Client, Method, StatusCode};
use seal::{RootPublicKey, SealingKey, Signer as _};
use serde_json::json;
use testkit::postgres::Postgres;

use crate::cluster::{Cluster, PATIENCE, config, copy, json as ask};

/// A broadcast node, as far as it has to do with the log.
pub(crate) struct Follower {
    pub(crate) log: Arc<Log>,
    cluster: ClusterView,
    end: CancellationToken,
    /// Whether control has taken it, or why not.
    joined: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Follower {
    /// Starts it. Without a broker it has to be told where control is.
    pub(crate) async fn start(cluster: &Cluster, name: &str, control: Option<&str>) -> Self {
        let root = std::fs::read(cluster.directory.path().join("c1/root.pub")).unwrap();
        Self::start_trusting(cluster, name, control, RootPublicKey::from_bytes(&root).unwrap()).await
    }

    async fn start_trusting(cluster: &Cluster, name: &str, control: Option<&str>, root: RootPublicKey) -> Self {
        let end = cluster.all.child_token();
        let context = cluster.context(name, Role::Broadcast, control.is_none(), &end).await;
        let log = Log::open(&context.data.join("metadata.db"), &context, root).await.unwrap();
        let view = ClusterView::new(context.clock);
        let mut updates = view.subscribe(&context, Topics::NodesAndPolicy).await.unwrap();
        tokio::spawn(end.clone().run_until_cancelled_owned(async move { while updates.next().await.is_some() {} }));
        let listener = acceptor::bind("127.0.0.1:0".parse().unwrap(), "data_listen").await.unwrap();
        let data = format!("https://{}", listener.local_addr().unwrap());
        let parts = move || PresenceParts { data: Some(data.clone()), ..PresenceParts::default() };
        presence::spawn(&context, parts, end.clone());
        let routes = replica::only_members(replica::router(Arc::clone(&log)), &log);
        tokio::spawn(http::serve_tls(
            listener,
            context.identity.server_mutual(),
            routes,
            http::Limits::default(),
            end.clone(),
        ));
        let control: Vec<String> =
            control.into_iter().map(|base| base.trim_end_matches("/cluster/v1").to_owned()).collect();
        let membership = Membership {
            log: Arc::clone(&log),
            node: context,
            cluster: view.clone(),
            control,
            report: Report::new(None),
            rules: Rules::default(),
        };
        let joined = tokio::spawn(membership.run(|_: &Arc<Log>| std::future::ready(()), end.clone()));
        Self { log, cluster: view, end, joined }
    }

    /// What the node's log says now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        self.log.look(look)
    }

    /// Waits until the rows are as `is_so` says.
    pub(crate) async fn sees(&self, what: &str, is_so: impl Fn(View<'_>) -> bool) {
        let mut changes = self.log.changes();
        let seen = async {
            while !self.log.look(&is_so) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("in vain: {what}: {:?}", self.log.standing()));
    }

    /// Looks at the rows as they are now.
    pub(crate) fn looks<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        self.log.look(look)
    }

    /// Waits until it has a root statement of this version.
    pub(crate) async fn reaches_root(&self, version: u64) {
        let reached = async {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
            while self.log.standing().root_version < version {
                ticks.tick().await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "root statement {version} did not come: {:?}", self.log.standing());
    }

    pub(crate) async fn stop(self) {
        self.end.cancel();
        self.joined.await.unwrap().unwrap();
    }
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn admin(cluster: &Cluster) -> Client {
    cluster.client("c1", Role::Control)
}

pub(crate) async fn revoke(cluster: &Cluster, base: &str, node: &str) -> serde_json::Value {
    let url = format!("{base}/admin/nodes/{node}/revoke");
    let (status, answer) = ask(&admin(cluster), Method::POST, url, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// A control that has run once, and the broadcast node b1, which it made a member.
pub(crate) async fn node_and_first_run(cluster: &Cluster) -> Follower {
    let end = cluster.all.child_token();
    let (_, task) = cluster.control_until(end.clone()).await;
    let b1 = Follower::start(cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&id("b1")).is_some()).await;
    end.cancel();
    task.await.unwrap().unwrap();
    b1
}

/// Copies the data of control, which does not run. Returns where they are, and the copy.
pub(crate) fn backed_up(cluster: &Cluster) -> (PathBuf, PathBuf) {
    let (data, backup) = (cluster.directory.path().join("c1"), cluster.directory.path().join("backup"));
    copy(&data, &backup);
    (data, backup)
}

/// What a node says of itself to control; the status and what control answers.
async fn report(client: &Client, base: &str, report: serde_json::Value) -> (StatusCode, String) {
    let (status, answer) = ask(client, Method::POST, format!("{base}/metadata/self"), Some(report)).await;
    (status, answer.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_follow_the_log_and_acknowledge_what_they_have() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    let b2 = Follower::start(&cluster, "b2", None).await;
    for follower in [&b1, &b2] {
        let has_all = |view: View<'_>| {
            let members = ["c1", "b1", "b2"].iter().all(|name| view.member(&id(name)).is_some());
            let stream = view.stream(&media::StreamId::new("hall").unwrap()).is_some();
            members && stream && view.cluster().is_some_and(|rules| rules.part_target_ms == 500)
        };
        follower.sees("members, streams and rules", has_all).await;
    }
    let answer = revoke(&cluster, &base, "i9").await;
    assert_eq!(answer["acknowledged"], json!(["b1", "b2"]), "{answer}");
    assert_eq!(answer["missing"], json!([]));
    b1.sees("the revocation", |view| view.is_node_revoked(&id("i9"))).await;
    assert_eq!(b1.log.state(), b2.log.state());

    // A node that is drained is drained on all nodes, and a restarted one knows it from its own disk.
    let (status, _) = ask(&admin(&cluster), Method::POST, format!("{base}/admin/nodes/b2/drain"), None).await;
    assert_eq!(status, StatusCode::OK);
    b1.sees("the drain", |view| view.drained_nodes() == [id("b2")]).await;
    let state = b1.log.state();
    // It acknowledges what is on its disk.
    let newest = b1.log.standing().sequence;
    let acknowledged = async {
        loop {
            let (_, log) = ask(&admin(&cluster), Method::GET, format!("{base}/admin/metadata"), None).await;
            if log["nodes"]["b1"].as_u64() >= Some(newest) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.expect("b1 acknowledges");
    b1.stop().await;
    let again = Follower::start(&cluster, "b1", Some("https://127.0.0.1:9")).await;
    assert_eq!(again.log.state(), state, "nobody else is there");
    let is_drained = || again.cluster.look(|cluster| cluster.policy.drained == [id("b2")]);
    tokio::time::timeout(PATIENCE, async {
        while !is_drained() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("no message says so, and the log does");
}

/// A broker that withholds everything: the node hears no message at all, and asks control.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_that_no_broker_delivers_comes_by_asking() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let deaf = Follower::start(&cluster, "b1", Some(&base)).await;
    deaf.sees("the log", |view| view.cluster().is_some()).await;
    revoke(&cluster, &base, "i1").await;
    deaf.sees("the revocation", |view| view.is_node_revoked(&id("i1"))).await;
    assert_eq!(deaf.log.standing().freshness, "fresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn name_belongs_to_the_key_that_was_seen_first_until_the_operator_says_otherwise() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&id("b1")).is_some()).await;

    // Somebody has the authority's key, and signs another b1.
    let certs = cluster.directory.path().join("certs");
    let first = std::fs::read(certs.join("b1.key")).unwrap();
    std::fs::remove_file(certs.join("b1.key")).unwrap();
    let thief = cluster.client("b1", Role::Broadcast);
    let (status, why) = report(&thief, &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.contains("b1 belongs to another machine"), "{why}");
    // It is refused by members, too.
    let b2 = Follower::start(&cluster, "b2", None).await;
    b2.sees("b1", |view| view.member(&id("b1")).is_some()).await;
    assert_ne!(std::fs::read(certs.join("b1.key")).unwrap(), first, "another key");

    let pem = std::fs::read_to_string(certs.join("b1.pem")).unwrap();
    let url = format!("{base}/admin/nodes/b1/add");
    let (status, answer) = ask(&admin(&cluster), Method::POST, url.clone(), Some(json!({ "certificate": pem }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, why) = report(&thief, &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::OK, "{why}");
    let (status, why) =
        ask(&admin(&cluster), Method::POST, url.replace("b1/add", "b3/add"), Some(json!({ "certificate": pem }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.to_string().contains("that is the certificate of b1"), "{why}");
    // One of another authority would cut b1 off, and let nobody in.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = node::tls::Authority::ensure(elsewhere.path(), &node::clock::Clock::new()).unwrap();
    let pem = std::fs::read_to_string(other.issue(&id("b1"), Role::Broadcast, &[]).unwrap().certificate).unwrap();
    let (status, why) = ask(&admin(&cluster), Method::POST, url, Some(json!({ "certificate": pem }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.to_string().contains("no authority of this cluster has signed that certificate of b1"), "{why}");
    let (status, why) = report(&thief, &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::OK, "{why}");
}

/// A node that was given the root key or the name of another cluster ends with the reason; it would wait in silence otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn node_of_another_cluster_or_root_key_is_told_so() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let root = seal::RootKey::generate().unwrap().public_key().unwrap();
    let stranger = Follower::start_trusting(&cluster, "b2", Some(&base), root).await;
    let ended = tokio::time::timeout(PATIENCE, stranger.joined).await.expect("it is refused").unwrap();
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("b2 trusts root key") && why.contains("copy root.pub of the control machine"), "{why}");

    let b1 = cluster.client("b1", Role::Broadcast);
    let trust = json!({ "cluster": "village", "root": "ab" });
    let (status, why) = report(&b1, &base, json!({ "level": 1, "trust": trust })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.contains("b1 is configured for cluster") && why.contains("and this is test: set cluster"), "{why}");
}

/// Revocation is for good: neither the operator, nor a list, nor the node itself writes the member again.
#[tokio::test(flavor = "multi_thread")]
async fn revoked_node_is_not_made_a_member_again() {
    let cluster = Cluster::start().await;
    let list = cluster.directory.path().join("members.pem");
    let members = Config { members: vec![list.clone()], ..config() };
    let b1 = cluster.client("b1", Role::Broadcast);
    let certs = cluster.directory.path().join("certs");
    let pem = std::fs::read_to_string(certs.join("b1.pem")).unwrap();
    std::fs::write(&list, &pem).unwrap();
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(members.clone(), end.clone()).await;
    let (status, why) = report(&b1, &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::OK, "{why}");
    revoke(&cluster, &base, "b1").await;

    let url = format!("{base}/admin/nodes/b1/add");
    let (status, why) = ask(&admin(&cluster), Method::POST, url, Some(json!({ "certificate": pem }))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{why}");
    assert!(why.to_string().contains("b1 is revoked for good"), "{why}");
    let (status, why) = report(&b1, &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{why}");
    let written = async |base: &str| {
        let (_, log) = ask(&admin(&cluster), Method::GET, format!("{base}/admin/metadata"), None).await;
        (log["sequence"].clone(), log["state"].clone())
    };
    let before = written(&base).await;
    end.cancel();
    task.await.unwrap().unwrap();
    let (base, _control) = cluster.control_with(members, cluster.all.clone()).await;
    // Control judges nobody before it has taken the lists.
    let (status, why) = report(&cluster.client("b2", Role::Broadcast), &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{why}");
    assert_eq!(written(&base).await, before, "the list writes nothing either");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_no_list_names_is_no_member() {
    let cluster = Cluster::start().await;
    let certs = cluster.directory.path().join("certs");
    let list = cluster.directory.path().join("members.pem");
    cluster.client("b1", Role::Broadcast);
    std::fs::copy(certs.join("b1.pem"), &list).unwrap();
    let members = Config { members: vec![list.clone()], ..config() };
    let (base, _control) = cluster.control_with(members, cluster.all.clone()).await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    b1.sees("b1", |view| view.member(&id("b1")).is_some()).await;
    let b2 = Follower::start(&cluster, "b2", None).await;
    let why = tokio::time::timeout(PATIENCE, b2.joined).await.expect("it is refused").unwrap().unwrap_err().to_string();
    assert!(why.starts_with("this cluster does not take b2: b2 is no member of this cluster: add it"), "{why}");

    // The list grows, as `certs cluster` makes it.
    let both = ["b1.pem", "b2.pem"].map(|name| std::fs::read_to_string(certs.join(name)).unwrap()).concat();
    std::fs::write(&list, both).unwrap();
    b1.sees("b2", |view| view.member(&id("b2")).is_some()).await;
    let (status, why) = report(&cluster.client("b2", Role::Broadcast), &base, json!({ "level": 1 })).await;
    assert_eq!(status, StatusCode::OK, "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_sent_only_to_hosts_that_the_certificate_or_the_operator_names() {
    let cluster = Cluster::start().await;
    let hosts = Config { public_hosts: vec![".cdn.example.org".to_owned()], ..config() };
    let (base, _control) = cluster.control_with(hosts, cluster.all.clone()).await;
    let b1 = cluster.client("b1", Role::Broadcast);
    let url = |url: &str| json!({ "level": 1, "public_url": url });
    for bad in [
        "https://evil.example",
        "http://b1.cdn.example.org",
        "https://b1.cdn.example.org@evil.example",
        "https://cdn.example.org",
    ] {
        let (status, why) = report(&b1, &base, url(bad)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{bad}");
        assert!(why.contains("viewers may not be sent to"), "{why}");
    }
    for good in ["https://localhost:8443", "https://b1.cdn.example.org:8443"] {
        let (status, why) = report(&b1, &base, url(good)).await;
        assert_eq!(status, StatusCode::OK, "{good}: {why}");
    }
    let b2 = Follower::start(&cluster, "b2", None).await;
    let shown = |view: View<'_>| view.member(&id("b1")).and_then(|b1| b1.public_url.clone());
    b2.sees("the newest URL", |view| shown(view).as_deref() == Some("https://b1.cdn.example.org:8443")).await;
}

/// A control that was restored from a backup takes what it has forgotten from the nodes, and goes on after it.
#[tokio::test(flavor = "multi_thread")]
async fn control_restored_from_a_backup_takes_the_missing_entries_before_it_writes() {
    let cluster = Cluster::start().await;
    let b1 = node_and_first_run(&cluster).await;
    let (data, backup) = backed_up(&cluster);

    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    for node in ["i1", "i2", "i3"] {
        revoke(&cluster, &base, node).await;
    }
    b1.sees("i3", |view| view.is_node_revoked(&id("i3"))).await;
    end.cancel();
    task.await.unwrap().unwrap();

    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    let (base, _control) = cluster.control_until(cluster.all.clone()).await;
    assert_eq!(revoke(&cluster, &base, "i4").await["known"], json!(false), "nobody has that name");
    assert_eq!(revoke(&cluster, &base, "b9").await["known"], json!(false));
    assert_eq!(revoke(&cluster, &base, "i3").await["known"], json!(true));
    b1.sees("i4", |view| view.is_node_revoked(&id("i4"))).await;
    assert_eq!(b1.log.standing().fork, None);
    assert!(b1.log.look(|view| ["i1", "i2", "i3"].iter().all(|node| view.is_node_revoked(&id(node)))));
    let i3 = cluster.client("i3", Role::Ingest);
    let grants = i3.post(format!("{base}/grants")).body(vec![0; 1312]).send().await.unwrap();
    assert_eq!(grants.status(), StatusCode::FORBIDDEN, "control knows of it again");
}

/// What became of streams after the backup is in the log; their keys are there as MACs.
#[tokio::test(flavor = "multi_thread")]
async fn control_restored_from_a_backup_takes_streams_of_after_it_from_the_log() {
    let cluster = Cluster::start().await;
    let b1 = node_and_first_run(&cluster).await;
    let admin = cluster.operator();
    let post = async |url: String, body: Option<serde_json::Value>| {
        let (status, made) = ask(&admin, Method::POST, url, body).await;
        assert!(status.is_success(), "{made}");
        made["key"].as_str().unwrap().to_owned()
    };
    let new = |name: &str| Some(json!({ "name": name }));
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let leaked = post(format!("{base}/admin/streams"), new("rotated")).await;
    post(format!("{base}/admin/streams"), new("deleted")).await;
    let kept = post(format!("{base}/admin/streams"), new("kept")).await;
    end.cancel();
    task.await.unwrap().unwrap();
    let (data, backup) = backed_up(&cluster);

    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let made = post(format!("{base}/admin/streams"), new("made")).await;
    let rotated = post(format!("{base}/admin/streams/rotated/rotate-key"), None).await;
    let url = format!("{base}/admin/streams/deleted");
    assert_eq!(admin.delete(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    b1.sees("the deletion", |view| view.stream(&"deleted".parse().unwrap()).is_none()).await;
    end.cancel();
    task.await.unwrap().unwrap();

    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    std::fs::write(data.join(control::RESTORED_FILE), "").unwrap();
    let (base, _control) = cluster.control_until(cluster.all.clone()).await;
    // What the log would undo is not done.
    for (method, url, body) in [
        (Method::POST, format!("{base}/admin/streams"), new("early")),
        (Method::POST, format!("{base}/admin/streams/kept/rotate-key"), None),
        (Method::DELETE, format!("{base}/admin/streams/kept"), None),
    ] {
        let (status, why) = ask(&admin, method, url.clone(), body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{url}: {why}");
        assert!(why.to_string().contains("does not know yet what it has forgotten"), "{why}");
    }
    let mut refusals = 0;
    let table = async {
        loop {
            let answer = admin.get(format!("{base}/streams")).send().await.unwrap();
            if answer.status() == StatusCode::OK {
                break answer.json::<StreamTable>().await.unwrap();
            }
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "ingests go on with the table that they have");
            refusals += 1;
        }
    };
    let table = tokio::time::timeout(PATIENCE, table).await.expect("control has taken the streams from the log");
    assert!(refusals > 0);
    let published = |key: &str| {
        let entry = table.streams.iter().find(|entry| entry.has_key(key));
        entry.map_or("nothing", |entry| entry.name.as_str())
    };
    assert_eq!([&made, &rotated, &kept, &leaked].map(|key| published(key)), ["made", "rotated", "kept", "nothing"]);
    let names: Vec<&str> = table.streams.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["hall", "kept", "made", "rotated"], "and the deleted one stays deleted");
}

/// The server's backup is older than the data directory's.
#[tokio::test(flavor = "multi_thread")]
async fn restored_catalogue_in_postgresql_takes_what_it_has_forgotten_from_the_log() {
    let (cluster, server) = (Cluster::start().await, Postgres::start());
    let b1 = node_and_first_run(&cluster).await;
    let (admin, data, url) = (cluster.operator(), cluster.directory.path().join("c1"), server.database());
    let with_database = || Config { database: Some(Redacted::new(url.clone())), ..config() };
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(with_database(), end.clone()).await;
    let (status, made) =
        ask(&admin, Method::POST, format!("{base}/admin/streams"), Some(json!({ "name": "made" }))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let made_stream: media::StreamId = "made".parse().unwrap();
    b1.sees("made", |view| view.stream(&made_stream).is_some()).await;
    end.cancel();
    task.await.unwrap().unwrap();

    let pepper = Pepper::from_bytes(&std::fs::read(data.join("pepper.key")).unwrap()).unwrap();
    let (catalogue, _) = Catalogue::open(Location::Server(&url), &pepper).await.unwrap();
    catalogue.delete_stream(&made_stream).await.unwrap();
    catalogue.close().await;
    std::fs::write(data.join(control::RESTORED_FILE), "").unwrap();
    let (base, _control) = cluster.control_with(with_database(), cluster.all.clone()).await;
    let table = async {
        loop {
            let answer = admin.get(format!("{base}/streams")).send().await.unwrap();
            if answer.status() == StatusCode::OK {
                break answer.json::<StreamTable>().await.unwrap();
            }
        }
    };
    let table = tokio::time::timeout(PATIENCE, table).await.expect("control has taken the streams from the log");
    let key = made["key"].as_str().unwrap();
    assert!(table.streams.iter().any(|entry| entry.name == made_stream && entry.has_key(key)), "it is here again");
    assert!(!data.join(control::RESTORED_FILE).exists());
}

/// Somebody copies the data directory of a control, and runs both.
#[tokio::test(flavor = "multi_thread")]
async fn second_control_with_a_copy_of_the_data_writes_nothing_and_ends() {
    let cluster = Cluster::start().await;
    let b1 = node_and_first_run(&cluster).await;
    let twin = cluster.twin();

    let (base, _first) = cluster.control_until(cluster.all.clone()).await;
    revoke(&cluster, &base, "i1").await;
    let (_, second) = twin.control_until(twin.all.clone()).await;
    let ended = tokio::time::timeout(PATIENCE, second).await.expect("the second control ends").unwrap();
    let why = format!("{:#}", ended.unwrap_err());
    assert!(why.contains("another control node writes the metadata log"), "{why}");
    revoke(&cluster, &base, "i2").await;
    b1.sees("i2", |view| view.is_node_revoked(&id("i2"))).await;
    assert_eq!(b1.log.standing().fork, None);
}

/// A restored control that finds no node with the rest does not fork the log: it says so, and the root decides.
#[tokio::test(flavor = "multi_thread")]
async fn restored_control_that_finds_nobody_writes_only_after_the_root_has_decided() {
    let cluster = Cluster::start().await;
    let b1 = node_and_first_run(&cluster).await;
    let (data, backup) = backed_up(&cluster);
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    revoke(&cluster, &base, "i1").await;
    revoke(&cluster, &base, "i2").await;
    b1.stop().await;
    end.cancel();
    task.await.unwrap().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);

    let (base, _control) = cluster.control_until(cluster.all.clone()).await;
    let url = format!("{base}/admin/nodes/i3/revoke");
    let (status, why) = ask(&admin(&cluster), Method::POST, url.clone(), None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(why.to_string().contains("was it restored from a backup?"), "{why}");
    let (status, log) = ask(&admin(&cluster), Method::POST, format!("{base}/admin/metadata/branch"), None).await;
    assert_eq!((status, &log["root_version"]), (StatusCode::OK, &json!(2)), "{log}");
    let (status, answer) = ask(&admin(&cluster), Method::POST, url, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The node comes back with entries that are void now, and goes on with the others.
    let b1 = Follower::start(&cluster, "b1", None).await;
    b1.sees("i3", |view| view.is_node_revoked(&id("i3"))).await;
    let standing = b1.log.standing();
    assert_eq!((standing.fork, standing.root_version), (None, 2));
    assert!(!b1.log.look(|view| view.is_node_revoked(&id("i2"))), "what was given up is void");
}

/// A viewer's browser sees the row of a grant, and no proof that a revocation is not there.
#[tokio::test(flavor = "multi_thread")]
async fn grant_of_a_revoked_key_ends_in_the_log() {
    let cluster = Cluster::start().await;
    let base = cluster.control().await;
    let keys = [(); 3].map(|()| SealingKey::generate().unwrap());
    for (node, key) in ["i1", "i1", "i2"].into_iter().zip(&keys) {
        let asked = cluster.ingest(&base, node).await.post(format!("{base}/grants")).body(key.public_key_bytes());
        assert_eq!(asked.send().await.unwrap().status(), StatusCode::OK);
    }
    let b1 = Follower::start(&cluster, "b1", None).await;
    let now = node::clock::Clock::new().wall();
    let runs = |view: &View<'_>, key: usize| view.any_grant(&keys[key].key_id()).map(|grant| now < grant.until);
    b1.sees("grants", |view| [0, 1, 2].iter().all(|key| runs(&view, *key) == Some(true))).await;
    let url = format!("{base}/admin/keys/{}/revoke", keys[0].key_id());
    assert_eq!(ask(&admin(&cluster), Method::POST, url, None).await.0, StatusCode::OK);
    let later = node::clock::Clock::new().wall();
    let runs = |view: &View<'_>, key: usize| view.any_grant(&keys[key].key_id()).map(|grant| later < grant.until);
    b1.sees("the end of the first", |view| runs(&view, 0) == Some(false) && runs(&view, 1) == Some(true)).await;
    revoke(&cluster, &base, "i1").await;
    let later = node::clock::Clock::new().wall();
    let runs = |view: &View<'_>, key: usize| view.any_grant(&keys[key].key_id()).map(|grant| later < grant.until);
    b1.sees("the end of the second", |view| runs(&view, 1) == Some(false) && runs(&view, 2) == Some(true)).await;
    b1.stop().await;
}
