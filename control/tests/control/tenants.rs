//! Tenants of a control node with a configuration, and changes that overtake one another.

use control::{Config, StreamConfig};
use futures_util::FutureExt as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::{Api, Ask};
use crate::cluster::{Cluster, config, next};
use crate::metadata::Follower;
use crate::people::{Browser, PASSWORD, believes_of, code, member};

/// A configured stream would come back at the next start, without its tenant.
#[tokio::test(flavor = "multi_thread")]
async fn tenant_with_a_configured_stream_is_deleted_only_after_it_left_the_configuration() {
    let cluster = Cluster::start().await;
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let mut api = Api::at(cluster, &base).await;
    api.tenant("acme").await;
    end.cancel();
    task.await.unwrap().unwrap();

    let key_file = api.cluster.directory.path().join("keys/acme.hall");
    let mut streams = config().streams;
    streams.push(StreamConfig {
        name: "acme.hall".parse().unwrap(),
        key: None,
        pool: None,
        key_file: Some(key_file.clone()),
    });
    let (base, _control) = api.cluster.control_with(Config { streams, ..config() }, api.cluster.all.clone()).await;
    api.moved(&base);
    let gone = api.operate("default", Method::DELETE, "/api/v1/tenants/acme?confirm=acme", None).await;
    assert_eq!((gone.status, gone.problem().as_str()), (StatusCode::CONFLICT, "from-file"), "{}", gone.text);
    assert!(gone.text.contains("acme.hall") && key_file.exists(), "{}", gone.text);
}

/// A private key that signs for nobody stays on no disk.
#[tokio::test(flavor = "multi_thread")]
async fn signing_key_of_a_deleted_tenant_leaves_no_file() {
    let api = Api::start().await;
    for tenant in ["acme", "other"] {
        api.tenant(tenant).await;
        let made = api.operate(tenant, Method::POST, "/api/v1/signing-keys", Some(json!({ "name": "ours" }))).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }
    let folder = api.cluster.directory.path().join("c1");
    let files = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("viewer-tokens.")).count()
    };
    assert_eq!(files(), 2);
    let gone = api.operate("default", Method::DELETE, "/api/v1/tenants/acme?confirm=acme", None).await;
    assert_eq!((gone.status, files()), (StatusCode::ACCEPTED, 1), "{}", gone.text);
}

/// A node believes a cookie for ten minutes, and what it says of a tenant for as long as the tenant is there.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_signed_in_at_a_deleted_tenant_anywhere() {
    let api = Api::start().await;
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    for tenant in ["acme", "band"] {
        api.tenant(tenant).await;
    }
    let (_, only) = member(&api, "acme", "viewer", "Olga").await;
    let (_, both) = member(&api, "acme", "owner", "Vera").await;
    let joins = api.operate("band", Method::POST, "/api/v1/members", Some(json!({ "name": "Vera" }))).await.made();
    let link = code(joins["invite_url"].as_str().unwrap());
    let both_again =
        Browser::set_up(&api, link, "Vera", PASSWORD).await.unwrap_or_else(|answer| panic!("{}", answer.text));
    believes_of(&b1, &only.cookie, &["acme"]).await;
    believes_of(&b1, &both_again.cookie, &["acme", "band"]).await;
    let gone = api.operate("default", Method::DELETE, "/api/v1/tenants/acme?confirm=acme", None).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text);
    believes_of(&b1, &only.cookie, &[]).await;
    believes_of(&b1, &both_again.cookie, &["band"]).await;
    assert_eq!(only.get("/api/v1/session").await.problem(), "expired");
    assert!(Browser::sign_in(&api, "olga", PASSWORD).await.is_err());
    assert_eq!(both.get("/api/v1/session").await.json()["tenant"]["slug"], "band");
    // Another tenant with the name is another one. Tokens have seconds, so it begins in a later one.
    let clock = node::clock::Clock::new();
    let second = clock.wall().0 / 1_000;
    while clock.wall().0 / 1_000 <= second {
        tokio::task::yield_now().await;
    }
    api.tenant("acme").await;
    b1.sees("the new one", |view| view.tenant("acme").is_some()).await;
    believes_of(&b1, &only.cookie, &[]).await;
    believes_of(&b1, &both_again.cookie, &["band"]).await;
}

/// A deletion that names no version is of the tenant as it is, whatever others change of it meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_of_a_tenant_is_not_lost_to_changes_at_the_same_moment() {
    let api = Api::start().await;
    for round in 0..8 {
        let slug = format!("t{round}");
        api.tenant(&slug).await;
        let path = format!("/api/v1/tenants/{slug}");
        let rename = async |n: usize| {
            api.operate("default", Method::PATCH, &path, Some(json!({ "name": format!("name {n}") }))).await.status
        };
        let confirmed = format!("{path}?confirm={slug}");
        let delete = api.operate("default", Method::DELETE, &confirmed, None);
        let ((), _, _, gone, _) = tokio::join!(async {}, rename(0), rename(1), delete, rename(2));
        assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text);
    }
}

/// What viewers read of a stream is one row, and no ingest reads the whole table of keys again for it.
#[tokio::test(flavor = "multi_thread")]
async fn title_is_written_as_one_row_and_told_to_no_ingest() {
    let api = Api::start().await;
    let key = api.secret("default", "owner").await;
    for name in ["one", "two"] {
        api.stream(&key, name).await;
    }
    // What control writes at its start comes first, and that the node is there.
    let b1 = Follower::start(&api.cluster, "b1", None).await;
    b1.sees("the start", |view| {
        view.stream(&"hall".parse().unwrap()).is_some() && view.member(&"b1".parse().unwrap()).is_some()
    })
    .await;
    let mut updates = api.cluster.listen("catalogue/update").await;
    let log = || async {
        let answer = api.operate("default", Method::GET, "/cluster/v1/admin/metadata", None).await.json();
        answer["sequence"].as_u64().unwrap()
    };
    let before = log().await;
    // Only whoever reads all streams would find it.
    let path = api.cluster.directory.path().join("c1/catalogue.db");
    let mut database = {
        use sqlx::Connection as _;
        sqlx::SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap()
    };
    sqlx::query("UPDATE streams SET title = 'by hand' WHERE name = 'two'").execute(&mut database).await.unwrap();
    let titled = api.ask(&key, Method::PATCH, "/api/v1/streams/one", Some(json!({ "title": "Choir" }))).await;
    assert_eq!(titled.status, StatusCode::OK, "{}", titled.text);
    assert_eq!(log().await, before + 1);
    let rotate =
        Ask { key: Some(&key), method: Method::POST, path: "/api/v1/streams/one/rotate-key", headers: &[], body: None };
    assert_eq!(api.send(rotate).await.status, StatusCode::OK);
    next(&mut updates).await;
    let deleted = api.ask(&key, Method::DELETE, "/api/v1/streams/one", None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text);
    next(&mut updates).await;
    assert!(updates.recv().now_or_never().is_none(), "two changes concern ingests");
}
