//! Where encoders are sent to.

use control::StreamConfig;
use media::NodeId;
use messages::Role;
use node::CancellationToken;
use node::presence::{self, PresenceParts};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::Api;
use crate::cluster::{PATIENCE, config, json as ask_json};

/// An ingest that is there until the token is cancelled, and says where publishers reach it.
async fn ingest(api: &Api, name: &str, url: &str) -> CancellationToken {
    let said = json!({ "level": 1, "public_url": url });
    let client = api.cluster.client(name, Role::Ingest);
    let (status, answer) =
        ask_json(&client, Method::POST, format!("{}/cluster/v1/metadata/self", api.base), Some(said)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let context = api.cluster.context(name, Role::Ingest, true, &api.cluster.all).await;
    let end = api.cluster.all.child_token();
    presence::spawn(&context, PresenceParts::default, end.clone());
    end
}

/// What a client is told, once it is this.
async fn is_told(api: &Api, (key, path): (&str, &str), wanted: Value) {
    let mut told = Value::Null;
    let wait = async {
        while told != wanted {
            told = api.ask(key, Method::GET, path, None).await.made()["publish_urls"].take();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let is_told = tokio::time::timeout(PATIENCE, wait).await;
    assert!(is_told.is_ok(), "{path} at {}: {told} and not {wanted}", api.base);
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_are_sent_to_the_ingests_that_are_there_and_may_seal_the_stream() {
    let mut settings = config();
    let choir =
        StreamConfig { name: "choir".parse().unwrap(), key: None, pool: Some("music".to_owned()), key_file: None };
    settings.streams.push(choir);
    settings.ingest_pools = [(NodeId::new("i2").unwrap(), vec!["music".to_owned()])].into();
    let mut api = Api::start_with(settings).await;
    let key = api.secret("default", "owner").await;
    let made = api.ask(&key, Method::POST, "/api/v1/streams", Some(json!({ "name": "organ" }))).await.made();
    assert_eq!(made["publish_urls"], json!([]), "no ingest is there");

    let i1 = ingest(&api, "i1", "rtmp://0.0.0.0:1936/live").await;
    let _i2 = ingest(&api, "i2", "rtmps://music.town.example/live").await;
    let [organ, choir] = ["organ", "choir"].map(|name| format!("/api/v1/streams/{name}?include=publish_urls"));
    let (organ, choir) = ((&*key, &*organ), (&*key, &*choir));
    is_told(&api, organ, json!(["rtmp://127.0.0.1:1936/live"])).await;
    is_told(&api, choir, json!(["rtmps://music.town.example/live"])).await;
    api.base = api.base.replace("127.0.0.1", "localhost");
    is_told(&api, organ, json!(["rtmp://localhost:1936/live"])).await;
    let plain = api.ask(&key, Method::GET, "/api/v1/streams/organ", None).await.made();
    assert_eq!(plain["publish_urls"], Value::Null, "a row with its version has settings only");
    let rotated = api.ask(&key, Method::POST, "/api/v1/streams/organ/rotate-key", None).await.made();
    assert_eq!(rotated["publish_urls"], json!(["rtmp://localhost:1936/live"]), "beside the new key");

    i1.cancel();
    is_told(&api, organ, json!([])).await;
    is_told(&api, choir, json!(["rtmps://music.town.example/live"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_url_of_rtmp_is_taken_from_an_ingest() {
    let api = Api::start().await;
    let url = format!("{}/cluster/v1/metadata/self", api.base);
    let i1 = api.cluster.client("i1", Role::Ingest);
    for bad in ["https://town.example/live", "rtmp://town.example/$(id)", "rtmp://town.example", ""] {
        let said = json!({ "level": 1, "public_url": bad });
        let (status, answer) = ask_json(&i1, Method::POST, url.clone(), Some(said)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{bad}");
        assert!(answer.to_string().contains("publishers cannot be sent to"), "{answer}");
    }
}
