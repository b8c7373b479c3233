//! Case A10: each change and each refusal is one record, and a record that was edited by hand shows.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::api::{Api, Ask};

async fn all(api: &Api) -> Vec<Value> {
    let audit = api.operate("default", Method::GET, "/api/v1/audit?all=true&limit=200&sort=created_at", None).await;
    assert_eq!(audit.status, StatusCode::OK, "{}", audit.text);
    audit.json()["items"].as_array().unwrap().clone()
}

async fn check(api: &Api) -> Value {
    let checked = api.operate("default", Method::GET, "/api/v1/audit/check", None).await;
    assert_eq!(checked.status, StatusCode::OK, "{}", checked.text);
    checked.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_and_each_refusal_is_one_record_and_an_edited_one_is_named() {
    let api = Api::start().await;
    api.tenant("acme").await;
    let owner = api.key("acme", "owner").await;
    let (owner_id, owner) = (owner["id"].as_str().unwrap(), owner["secret"].as_str().unwrap());
    let viewer = api.secret("acme", "viewer").await;
    let stream = api.stream(owner, "acme.hall").await;
    let id = stream["id"].as_str().unwrap();
    let headers = [("x-request-id", "my-request")];
    let body = Some(json!({ "title": "Choir" }).to_string());
    let patch =
        Ask { key: Some(owner), method: Method::PATCH, path: "/api/v1/streams/acme.hall", headers: &headers, body };
    assert_eq!(api.send(patch).await.status, StatusCode::OK);
    api.ask(owner, Method::POST, "/api/v1/streams/acme.hall/rotate-key", None).await;
    for (key, method, path, wanted) in [
        (&*viewer, Method::DELETE, "/api/v1/streams/acme.hall", "scope-missing"),
        (owner, Method::DELETE, "/api/v1/streams/none", "not-found"),
        (owner, Method::POST, "/api/v1/streams", "invalid"),
        ("hunter2", Method::POST, "/api/v1/streams", "unauthenticated"),
    ] {
        assert_eq!(api.ask(key, method, path, None).await.problem(), wanted);
    }
    // What is only read is no change.
    api.ask(owner, Method::GET, "/api/v1/streams/none", None).await;
    let operator = api.cluster.operator();
    let revoke = format!("{}/cluster/v1/admin/nodes/i9/revoke", api.base);
    assert_eq!(operator.post(revoke).send().await.unwrap().status(), StatusCode::OK);
    let bad = operator.post(format!("{}/cluster/v1/admin/streams", api.base)).json(&json!({ "name": "-v" }));
    assert_eq!(bad.send().await.unwrap().status(), StatusCode::BAD_REQUEST);

    let records = all(&api).await;
    let told: Vec<(&str, &str, &str)> = records
        .iter()
        .filter(|row| row["action"] != "nodes.add")
        .map(|row| (row["actor"].as_str().unwrap(), row["action"].as_str().unwrap(), row["result"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("configuration", "streams.create", "done"),
            ("start", "members.invite", "done"),
            ("certificate", "tenants.create", "done"),
            ("certificate", "api-keys.create", "done"),
            ("certificate", "api-keys.create", "done"),
            ("api_key", "streams.create", "done"),
            ("api_key", "streams.update", "done"),
            ("api_key", "streams.rotate-key", "done"),
            ("api_key", "streams.delete", "scope-missing"),
            ("api_key", "streams.delete", "not-found"),
            ("api_key", "streams.create", "invalid"),
            ("anonymous", "streams.create", "unauthenticated"),
            ("certificate", "nodes.revoke", "done"),
            ("certificate", "streams.create", "refused 400"),
        ]
    );
    let updated = records.iter().find(|row| row["action"] == "streams.update").unwrap();
    assert_eq!(
        (updated["credential"].as_str(), updated["object"].as_str(), updated["request_id"].as_str()),
        (Some(owner_id), Some(id), Some("my-request"))
    );
    assert_eq!(updated["changes"], json!({ "title": { "from": "", "to": "Choir" } }));
    let text = serde_json::to_string(&records).unwrap();
    for secret in [owner, &viewer, stream["key"]["secret"].as_str().unwrap(), "hunter2"] {
        assert!(!text.contains(secret), "a secret stands in the audit");
    }
    // A tenant reads its own records, without the places of these among all.
    let own = api.ask(owner, Method::GET, "/api/v1/audit", None).await.json();
    assert!(own["items"].as_array().unwrap().iter().all(|row| row["sequence"].is_null()));
    assert_eq!(own["items"].as_array().unwrap().len(), 9, "{own}");
    assert_eq!(api.ask(owner, Method::GET, "/api/v1/audit?all=true", None).await.problem(), "scope-missing");

    let sound = check(&api).await;
    assert_eq!((sound["breaks"].clone(), sound["records"].as_i64()), (json!([]), sound["newest"].as_i64()), "{sound}");
    let path = api.cluster.directory.path().join("c1/catalogue.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut database = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let edited = updated["sequence"].as_i64().unwrap();
    let edit = "UPDATE audit SET changes = '{}' WHERE sequence = $1";
    sqlx::query(edit).bind(edited).execute(&mut database).await.unwrap();
    let broken = check(&api).await;
    assert_eq!(broken["breaks"], json!([{ "sequence": edited, "id": updated["id"], "why": "it was changed" }]));
    sqlx::query("DELETE FROM audit WHERE sequence = $1").bind(edited).execute(&mut database).await.unwrap();
    let broken = check(&api).await;
    assert_eq!(broken["breaks"][0]["sequence"], edited + 1);
    assert_eq!(broken["breaks"][0]["why"], "records before it are missing");
    let newest = sound["newest"].as_i64().unwrap();
    sqlx::query("DELETE FROM audit WHERE sequence = $1").bind(newest).execute(&mut database).await.unwrap();
    let breaks = check(&api).await["breaks"].as_array().unwrap().clone();
    assert_eq!(breaks.last().unwrap()["why"], "the newest records are missing");
    // Deleted records leave a gap for ever.
    api.stream(owner, "acme.later").await;
    assert_eq!(check(&api).await["breaks"].as_array().unwrap().len(), 2);
}

/// Whoever has addresses enough could have everything else forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn flood_of_anonymous_refusals_leaves_a_hundred_records() {
    let api = Api::start().await;
    let owner = api.secret("default", "owner").await;
    for n in 0..130 {
        let from = format!("198.51.100.{n}");
        let headers = [("x-forwarded-for", from.as_str())];
        let (method, path) = (Method::POST, "/api/v1/streams");
        let refused = api.send(Ask { key: None, method, path, headers: &headers, body: None }).await;
        assert_eq!(refused.problem(), "unauthenticated");
    }
    assert_eq!(api.ask(&owner, Method::DELETE, "/api/v1/streams/none", None).await.problem(), "not-found");
    let records = all(&api).await;
    let by = |actor: &str| records.iter().filter(|row| row["actor"] == actor).count();
    assert_eq!((by("anonymous"), by("api_key")), (100, 1));
}

/// What an operator does to a stream stands in its tenant's audit, too.
#[tokio::test(flavor = "multi_thread")]
async fn command_on_a_stream_is_recorded_for_its_tenant_with_its_name() {
    let api = Api::start().await;
    let acme = api.tenant("acme").await;
    let owner = api.secret("acme", "owner").await;
    let admin = "/cluster/v1/admin/streams";
    let made = api.operate("default", Method::POST, admin, Some(json!({ "name": "acme.hall" }))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let rotated = api.operate("default", Method::POST, &format!("{admin}/acme.hall/rotate-key"), None).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.text);
    let gone = api.operate("default", Method::DELETE, &format!("{admin}/acme.hall"), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    let own = api.ask(&owner, Method::GET, "/api/v1/audit?sort=created_at", None).await.json();
    let told: Vec<_> =
        own["items"].as_array().unwrap().iter().map(|row| (row["action"].clone(), row["object"].clone())).collect();
    let streams: Vec<_> =
        told.into_iter().filter(|(action, _)| action.as_str().unwrap().starts_with("streams.")).collect();
    let of = |action: &str| (json!(action), json!("acme.hall"));
    assert_eq!(streams, ["streams.create", "streams.rotate-key", "streams.delete"].map(of), "{own}");
    let records = all(&api).await;
    assert!(records.iter().filter(|row| row["object"] == "acme.hall").all(|row| row["tenant"] == acme["id"]));
}
