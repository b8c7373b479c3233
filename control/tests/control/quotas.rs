//! What tenants use of their quotas: the figures of nodes at the API, and the events of crossings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use control::Config;
use media::BitsPerSecond;
use messages::{Role, TenantLoad};
use node::presence::{self, PresenceParts};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::issuer::{Fault, Issuer};
use testkit::jwt::SigningKey;

use crate::api::{Api, id};
use crate::cluster::{PATIENCE, config};
use crate::webhooks::listen;

/// A broadcast node that says that a tenant's viewers get so much, and that its recordings take so much.
struct Node {
    egress_bps: Arc<AtomicU64>,
    storage_bytes: Arc<AtomicU64>,
}

impl Node {
    async fn start(api: &Api, name: &'static str, tenant: &'static str) -> Self {
        api.cluster.member(&format!("{}/cluster/v1", api.base), name, Role::Broadcast).await;
        let context = api.cluster.context(name, Role::Broadcast, true, &api.cluster.all).await;
        let it = Self { egress_bps: Arc::default(), storage_bytes: Arc::default() };
        let (egress_bps, storage_bytes) = (Arc::clone(&it.egress_bps), Arc::clone(&it.storage_bytes));
        let parts = move || {
            let load = TenantLoad {
                tenant: tenant.to_owned(),
                egress: BitsPerSecond(egress_bps.load(Ordering::Relaxed)),
                storage_bytes: storage_bytes.load(Ordering::Relaxed),
            };
            PresenceParts { tenants: vec![load], ..PresenceParts::default() }
        };
        presence::spawn(&context, parts, api.cluster.all.clone());
        it
    }

    fn uses(&self, egress_bps: u64, storage_bytes: u64) {
        self.egress_bps.store(egress_bps, Ordering::Relaxed);
        self.storage_bytes.store(storage_bytes, Ordering::Relaxed);
    }
}

async fn used_is(api: &Api, key: &str, name: &str, wanted: u64) {
    let wait = async {
        loop {
            let usage = api.ask(key, Method::GET, "/api/v1/usage", None).await.made();
            if usage["used"][name] == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, wait).await;
    assert!(done.is_ok(), "{name} is never {wanted}");
}

/// The objects of events of a kind.
fn objects(text: &str, kind: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events.filter(|event| event["type"] == kind).map(|mut event| event["data"]["object"].take()).collect()
}

/// Case A9.
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_what_nodes_measure_together_and_each_crossing_is_one_event_of_the_tenant() {
    let api = Api::start().await;
    for tenant in ["acme", "other"] {
        api.tenant(tenant).await;
    }
    let quota = json!({ "quota": { "streams": 1, "egress_bps": 1_000_000, "storage_bytes": 5_000 } });
    let set = api.operate("default", Method::PATCH, "/api/v1/tenants/acme", Some(quota)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let (key, foreign) = (api.secret("acme", "owner").await, api.secret("other", "owner").await);
    let mut heard = listen(&api, &key, None).await;
    let mut elsewhere = listen(&api, &foreign, None).await;
    let (b1, b2) = (Node::start(&api, "b1", "acme").await, Node::start(&api, "b2", "acme").await);
    b1.uses(300_000, 100);
    used_is(&api, &key, "egress_bps", 300_000).await;
    b2.uses(500_000, 200);
    used_is(&api, &key, "egress_bps", 800_000).await;
    used_is(&api, &key, "storage_bytes", 300).await;
    let text = heard.until("quota.warned").await.to_owned();
    let warned = objects(&text, "quota.warned");
    assert_eq!(warned, [json!({ "quota": "egress_bps", "used": 800_000, "limit": 1_000_000 })]);
    b2.uses(900_000, 200);
    heard.until("quota.reached").await;
    // It swings, and no encoder or viewer who does so fills a receiver's log.
    for (egress, wanted) in [(100_000, 400_000), (900_000, 1_200_000), (100_000, 400_000), (900_000, 1_200_000)] {
        b2.uses(egress, 200);
        used_is(&api, &key, "egress_bps", wanted).await;
    }
    // What comes later shows that nothing of it came before.
    api.stream(&key, "acme.hall").await;
    let text = heard.until(r#""quota":"streams""#).await.to_owned();
    let reached: Vec<Value> = objects(&text, "quota.reached").into_iter().map(|mut one| one["quota"].take()).collect();
    assert_eq!(
        (reached, objects(&text, "quota.warned").len()),
        (vec![json!("egress_bps"), json!("streams")], 1),
        "{text}"
    );
    let nothing = api.ask(&foreign, Method::GET, "/api/v1/usage", None).await.made();
    assert_eq!((&nothing["used"]["egress_bps"], &nothing["quota"]["egress_bps"]), (&json!(0), &Value::Null));
    api.stream(&foreign, "other.hall").await;
    let text = elsewhere.until("stream.created").await;
    assert!(!text.contains("quota"), "another tenant hears nothing of it: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_whose_keys_cannot_be_fetched_is_one_event_of_its_tenant() {
    let key = SigningKey::p256("first");
    let issuer = Issuer::start(&[&key]).await;
    let outbound =
        Config { outbound_allow: vec!["127.0.0.0/8".to_owned()], outbound_ca: Some(issuer.ca()), ..config() };
    let api = Api::start_with(outbound).await;
    api.tenant("acme").await;
    let owner = api.secret("acme", "owner").await;
    let settings = json!({
        "url": issuer.url(), "audiences": ["sealcast"], "jwks_url": issuer.jwks_url(), "uses": ["api"],
        "rules": [{ "claim": "role", "equals": "fan", "role": "viewer" }],
    });
    let made = api.ask(&owner, Method::POST, "/api/v1/issuers", Some(settings)).await.made();
    let mut heard = listen(&api, &owner, None).await;
    let path = format!("/api/v1/issuers/{}", id(&made));
    let refresh = async || {
        let shown = api.ask(&owner, Method::POST, &format!("{path}/refresh"), None).await.made();
        assert!(shown["stale_since_at"].is_i64(), "{shown}");
    };
    issuer.set(Fault::Down);
    refresh().await;
    let text = heard.until("issuer.stale").await.to_owned();
    let object = objects(&text, "issuer.stale").remove(0);
    assert_eq!((&object["id"], &object["url"]), (&made["id"], &json!(issuer.url())), "{object}");
    let shown = api.ask(&owner, Method::GET, &path, None).await.made();
    assert_eq!(shown["stale_since_at"], object["stale_since_at"]);
    refresh().await;
    api.stream(&owner, "acme.hall").await;
    let text = heard.until("stream.created").await.to_owned();
    assert_eq!(objects(&text, "issuer.stale").len(), 1, "{text}");
}
