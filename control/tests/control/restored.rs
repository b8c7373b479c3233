//! What a control that was restored from a backup takes from the metadata log besides streams' keys, and what it waits for.

use bytes::Bytes;
use catalogue::{Catalogue, Location};
use messages::{Pepper, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::api::Api;
use crate::cluster::{Cluster, PATIENCE, copy, json as ask};
use crate::metadata::{Follower, admin, backed_up, id, node_and_first_run, revoke};
use crate::people::{Browser, PASSWORD, member};

/// Deleted keys stay deleted; tenants, keys, titles and quotas of after the backup come back; and a name that is refused today holds
/// nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn restored_control_takes_owners_keys_and_titles_from_the_log_before_it_serves() {
    let cluster = Cluster::start().await;
    let b1 = node_and_first_run(&cluster).await;
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_until(end.clone()).await;
    let mut api = Api::at(cluster, &base).await;
    let (kept, leaked) = (api.key("default", "owner").await, api.key("default", "owner").await);
    let secret = |key: &Value| key["secret"].as_str().unwrap().to_owned();
    api.stream(&secret(&kept), "odd").await;
    api.tenant("left").await;
    let (out, _) = member(&api, "default", "viewer", "Vera").await;
    member(&api, "default", "viewer", "Olga").await;
    let mut signing_keys = Vec::new();
    for name in ["stays", "stolen"] {
        let made = api.operate("default", Method::POST, "/api/v1/signing-keys", Some(json!({ "name": name }))).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        signing_keys.push(format!("/api/v1/signing-keys/{}", made.json()["id"].as_str().unwrap()));
    }
    end.cancel();
    task.await.unwrap().unwrap();
    let (data, backup) = backed_up(&api.cluster);

    // As a version did that knew no such rule.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("catalogue.db"));
    let mut database = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE streams SET name = 'str_odd.m3u8' WHERE name = 'odd'").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let end = api.cluster.all.child_token();
    let (base, task) = api.cluster.control_until(end.clone()).await;
    api.moved(&base);
    let leaked_path = format!("/api/v1/api-keys/{}", leaked["id"].as_str().unwrap());
    let gone = api.operate("default", Method::DELETE, &leaked_path, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let gone = api.operate("default", Method::DELETE, &signing_keys[1], None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    let out = format!("/api/v1/members/{}", out["id"].as_str().unwrap());
    let gone = api.operate("default", Method::DELETE, &out, None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    let rotated = format!("/api/v1/api-keys/{}/rotate", kept["id"].as_str().unwrap());
    let rotated = api.operate("default", Method::POST, &rotated, Some(json!({}))).await.json();
    let gone = api.operate("default", Method::DELETE, "/api/v1/tenants/left?confirm=left", None).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text);
    api.tenant("late").await;
    let of_late = api.secret("late", "owner").await;
    let quota = json!({ "quota": { "publishers": 3 } });
    assert_eq!(api.operate("default", Method::PATCH, "/api/v1/tenants/late", Some(quota)).await.status, StatusCode::OK);
    let choir = json!({ "name": "late.hall", "title": "Choir" });
    assert_eq!(api.ask(&of_late, Method::POST, "/api/v1/streams", Some(choir)).await.status, StatusCode::CREATED);
    let titled = api.operate("default", Method::PATCH, "/api/v1/streams/hall", Some(json!({ "title": "Town" }))).await;
    assert_eq!(titled.status, StatusCode::OK, "{}", titled.text);
    let newest = titled.header("x-sealcast-metadata").parse::<u64>().unwrap();
    b1.sees("all of it", |view| {
        let hall = view.stream(&"hall".parse().unwrap()).is_some_and(|row| row.title == "Town");
        hall && view.tenant("late").is_some() && view.tenant("left").is_none()
    })
    .await;
    assert!(newest > 0);
    end.cancel();
    task.await.unwrap().unwrap();

    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    std::fs::write(data.join(control::RESTORED_FILE), "").unwrap();
    let (base, _control) = api.cluster.control_until(api.cluster.all.clone()).await;
    // Not before the log has said what became of the keys.
    api.moved(&base);
    let early = api.ask(&secret(&leaked), Method::GET, "/api/v1/session", None).await;
    assert_eq!((early.status, early.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "control-away"));
    let early = Browser::sign_in(&api, "olga", PASSWORD).await.err().map(|answer| answer.problem());
    assert_eq!(early.as_deref(), Some("control-away"), "nobody knows yet whether she is still a member");
    let served = async {
        while api.ask(&secret(&leaked), Method::GET, "/api/v1/session", None).await.status
            == StatusCode::SERVICE_UNAVAILABLE
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("control has taken what it had forgotten");
    let session = async |key: &str| api.ask(key, Method::GET, "/api/v1/session", None).await.status;
    assert_eq!(session(&secret(&leaked)).await, StatusCode::UNAUTHORIZED, "deleted after the backup");
    assert_eq!(session(&secret(&kept)).await, StatusCode::UNAUTHORIZED, "rotated after the backup");
    assert_eq!(session(&secret(&rotated)).await, StatusCode::OK);
    assert_eq!(session(&of_late).await, StatusCode::OK, "made after the backup");
    assert_eq!(
        api.operate("default", Method::GET, &out, None).await.problem(),
        "not-found",
        "deleted after the backup"
    );
    assert!(Browser::sign_in(&api, "vera", PASSWORD).await.is_err());
    assert!(Browser::sign_in(&api, "olga", PASSWORD).await.is_ok());
    let signing = async |at: usize| api.operate("default", Method::GET, &signing_keys[at], None).await.status;
    assert_eq!(
        [signing(0).await, signing(1).await],
        [StatusCode::OK, StatusCode::NOT_FOUND],
        "deleted after the backup"
    );
    let hall = api.ask(&of_late, Method::GET, "/api/v1/streams/late.hall", None).await.json();
    assert_eq!((hall["title"].as_str(), hall["name"].as_str()), (Some("Choir"), Some("late.hall")), "{hall}");
    let late = api.operate("default", Method::GET, "/api/v1/tenants/late", None).await.json();
    assert_eq!(late["quota"]["publishers"], 3);
    assert_eq!(api.operate("default", Method::GET, "/api/v1/tenants/left", None).await.problem(), "not-found");
    let list = api.operate("default", Method::GET, "/api/v1/streams", None).await.json();
    let titles: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|row| (row["name"].clone(), row["title"].clone())).collect();
    assert!(
        titles.contains(&(json!("hall"), json!("Town"))) && titles.contains(&(json!("str_odd.m3u8"), json!(""))),
        "{list}"
    );
    assert!(!titles.iter().any(|(name, _)| name == "odd"), "{list}");
    // The catalogue is a whole one.
    let pepper = Pepper::from_bytes(&std::fs::read(data.join("pepper.key")).unwrap()).unwrap();
    let (catalogue, _) = Catalogue::open(Location::File(&data.join("catalogue.db")), &pepper).await.unwrap();
    assert!(!catalogue.is_restored().await.unwrap());
    catalogue.close().await;
}

/// A node that comes after the restored control has nothing to say of heads yet; what it has of entries counts all the same, whether the
/// broker still says how far the log goes, or nobody but that node knows.
#[tokio::test(flavor = "multi_thread")]
async fn restored_control_writes_nothing_before_a_node_that_comes_later_has_told_it_the_rest() {
    for (has_broker_forgotten, has_branched) in [(true, false), (false, false), (true, true)] {
        let cluster = Cluster::start().await;
        let b1 = node_and_first_run(&cluster).await;
        let (data, backup) = backed_up(&cluster);
        let end = cluster.all.child_token();
        let (base, task) = cluster.control_until(end.clone()).await;
        if has_branched {
            let branch = format!("{base}/admin/metadata/branch");
            assert_eq!(ask(&admin(&cluster), Method::POST, branch, None).await.0, StatusCode::OK);
        }
        revoke(&cluster, &base, "i1").await;
        revoke(&cluster, &base, "i2").await;
        b1.sees("i2", |view| view.is_node_revoked(&id("i2"))).await;
        b1.stop().await;
        end.cancel();
        task.await.unwrap().unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&backup, &data);
        let mut connected = None;
        if has_broker_forgotten {
            let bus = bus::connect(&cluster.bus("c1"), "forgetful", None, None, cluster.all.clone()).await.unwrap();
            let topic = messages::Prefix::default().name(&messages::Topic::MetadataHead);
            bus.publish(bus::Message { topic, payload: Bytes::new(), retain: true }).await.unwrap();
            // What it has taken is on its way for as long as somebody holds it.
            connected = Some(bus);
            // As `sealcast restore` does: without this word nobody would know.
            std::fs::write(data.join(control::RESTORED_FILE), "").unwrap();
        }

        let end = cluster.all.child_token();
        let (base, task) = cluster.control_until(end.clone()).await;
        let url = format!("{base}/admin/nodes/i3/revoke");
        let (status, why) = ask(&admin(&cluster), Method::POST, url, None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
        assert!(why.to_string().contains("restored from a backup"), "{why}");
        let b1 = Follower::start(&cluster, "b1", None).await;
        end.cancel();
        task.await.unwrap().unwrap();
        let (base, _control) = cluster.control_until(cluster.all.clone()).await;
        revoke(&cluster, &base, "i3").await;
        b1.sees("i3", |view| ["i1", "i2", "i3"].iter().all(|node| view.is_node_revoked(&id(node)))).await;
        assert_eq!(b1.log.standing().fork, None);
        let i2 = cluster.client("i2", Role::Ingest);
        let grants = i2.post(format!("{base}/grants")).body(vec![0; 1312]).send().await.unwrap();
        assert_eq!(grants.status(), StatusCode::FORBIDDEN, "control knows of it again");
        drop(connected);
    }
}
