//! Publishers with a token of an issuer in place of a stream key.

use std::io::Write;
use std::sync::{Arc, Mutex};

use issuers::{Algorithm, Document, DocumentKind, Role, Rule, Settings, Use};
use media::Epoch;
use messages::SessionState;
use metadata::{Body, TokenIssuer};
use node::clock::Clock;
use serde_json::{Value, json};
use testkit::issuer::{Fault, Issuer};
use testkit::jwt::SigningKey;
use testkit::wait::{PATIENCE, eventually_async, within};

use crate::client::SilentPublisher;
use crate::cluster::{Cluster, KEY, text};

/// An issuer, and an ingest that takes its tokens. Its keys have no names, so that tokens can be short.
async fn cluster_of(issuer: &Issuer) -> Cluster {
    let settings = Settings {
        url: issuer.url(),
        audiences: vec!["a".to_owned()],
        algorithms: vec![Algorithm::EdDSA],
        jwks_url: issuer.jwks_url(),
        leeway_s: 1,
        uses: vec![Use::Publish],
        rules: vec![Rule { claim: "r".to_owned(), equals: "s".to_owned(), role: Role::Producer }],
        streams_claim: "streams".to_owned(),
        sign_in: None,
    };
    Cluster::start(move |config| {
        config.issuers = vec![settings];
        config.outbound_allow = vec!["127.0.0.1".to_owned()];
        config.outbound_ca = Some(issuer.ca());
        config.reconnect_grace_s = 20;
    })
    .await
}

fn now_s() -> i64 {
    Clock::new().wall().0 / 1_000
}

fn claims(issuer: &Issuer, life_s: i64) -> Value {
    json!({"iss": issuer.url(), "aud": "a", "exp": now_s() + life_s, "r": "s", "streams": "demo"})
}

fn token(key: &SigningKey, claims: &Value) -> String {
    key.signed(&json!({"alg": "EdDSA"}), &claims.to_string())
}

/// A token of at least this many characters, and at most three more.
fn token_of_length(key: &SigningKey, issuer: &Issuer, characters: usize) -> String {
    let mut claims = claims(issuer, 300);
    let mut padding = String::new();
    loop {
        claims["p"] = padding.as_str().into();
        let token = token(key, &claims);
        if token.len() >= characters {
            assert!(token.len() < characters + 4, "{} for {characters}", token.len());
            return token;
        }
        padding.push('x');
    }
}

/// Whoever names the stream otherwise, or several, says which one it means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_in_place_of_a_key_publishes_the_stream_that_it_names_and_no_other() {
    let key = SigningKey::ed25519("k");
    let issuer = Issuer::start(&[&key]).await;
    let cluster = cluster_of(&issuer).await;
    let of = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims(&issuer, 300);
        change(&mut claims);
        token(&key, &claims)
    };
    let several = of(&|claims| claims["streams"] = json!(["other", "demo"]));
    let refused = [
        (several.clone(), "names several streams"),
        (format!("nothing?token={several}"), "names other streams"),
        (of(&|claims| claims["streams"] = "other".into()), "names a stream that does not exist"),
        (of(&|claims| claims["streams"] = json!([])), "names no streams"),
        (of(&|claims| claims["r"] = "viewer".into()), "No rule gives this token a role"),
        (of(&|claims| claims["aud"] = "another".into()), "expected is \"a\" as aud or azp"),
        (of(&|claims| claims["exp"] = (now_s() - 60).into()), "The token expired at"),
        (token(&SigningKey::ed25519("k"), &claims(&issuer, 300)), "The signature of the token is wrong"),
    ];
    for (shown, words) in refused {
        let said = SilentPublisher::connect_with(&cluster, &shown).await.err().expect(words);
        assert!(said.contains(words) && said.contains("NetStream.Publish.BadName"), "{words}: {said}");
    }
    drop(SilentPublisher::connect_with(&cluster, &format!("demo?token={several}")).await.unwrap());
    let output = cluster.publish(&cluster.url("live", &of(&|_| {})), 5).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster.session(SessionState::Reconnecting).await;
    // Keys go on beside tokens.
    drop(SilentPublisher::connect(&cluster).await);
    cluster.stop().await;
}

/// Case B13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_is_let_go_when_its_token_ends_and_goes_on_with_a_new_one() {
    let key = SigningKey::ed25519("k");
    let issuer = Issuer::start(&[&key]).await;
    let cluster = cluster_of(&issuer).await;
    let short = token(&key, &claims(&issuer, 6));
    let publisher = cluster.publish(&cluster.url("live", &short), 60);
    cluster.session(SessionState::Live).await;
    let output = publisher.end().await;
    assert!(!output.status.success() && text(&output).contains("The token has ended"), "{}", text(&output));
    assert_eq!(cluster.refused("token_ended").await, 1);
    let first = cluster.session(SessionState::Reconnecting).await;
    // The status is the one after which encoders do not try again.
    let silent = SilentPublisher::connect_with(&cluster, &token(&key, &claims(&issuer, 2))).await.unwrap();
    let said = silent.read_to_end().await;
    assert!(said.contains("NetStream.Publish.BadName") && said.contains("The token has ended"), "{said}");
    // The old one is refused, one with fewer rights too, and a new one goes on with the stream.
    let again = SilentPublisher::connect_with(&cluster, &short).await.err().unwrap();
    assert!(again.contains("The token expired at"), "{again}");
    let mut fewer = claims(&issuer, 300);
    fewer["streams"] = "other".into();
    let fewer = SilentPublisher::connect_with(&cluster, &token(&key, &fewer)).await.err().unwrap();
    assert!(fewer.contains("names a stream that does not exist"), "{fewer}");
    let renewed = cluster.publish(&cluster.url("live", &token(&key, &claims(&issuer, 300))), 5);
    let live = cluster.session_where("live again", |s| s.state == SessionState::Live && s.epoch > Epoch(1)).await;
    assert_eq!(live.started_at, first.started_at, "the same stream");
    assert!(renewed.end().await.status.success());
    cluster.stop().await;
}

/// Case B8, for publishers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_whose_signing_key_the_issuer_takes_back_is_let_go() {
    let (old, new) = (SigningKey::ed25519("old"), SigningKey::ed25519("new"));
    let issuer = Issuer::start(&[&old, &new]).await;
    let cluster = cluster_of(&issuer).await;
    let publisher = SilentPublisher::connect_with(&cluster, &old.token(&claims(&issuer, 300))).await.unwrap();
    issuer.publish([new.jwk()]);
    // A token with another name of a key makes the ingest ask.
    let stranger = SigningKey::ed25519("stranger").token(&claims(&issuer, 300));
    let said = SilentPublisher::connect_with(&cluster, &stranger).await.err().unwrap();
    assert!(said.contains("The issuer has no such key"), "{said}");
    let said = publisher.read_to_end().await;
    assert!(said.contains("has taken back the key of this token"), "{said}");
    cluster.stop().await;
}

/// An issuer that a tenant has registered: control has written it and its keys into the log, and the ingest asks nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_an_issuer_in_the_metadata_log_publishes_its_tenants_streams_until_it_is_gone() {
    let key = SigningKey::ed25519("k");
    let cluster = Cluster::start(|_| {}).await;
    let row = |tenant: Option<&str>, audience: &str, leeway_s| {
        let settings = Settings {
            url: "https://idp.example/".to_owned(),
            audiences: vec![audience.to_owned()],
            algorithms: vec![Algorithm::EdDSA],
            jwks_url: "https://192.0.2.1/jwks".to_owned(),
            leeway_s,
            uses: vec![Use::Publish, Use::View],
            rules: vec![Rule { claim: "r".to_owned(), equals: "s".to_owned(), role: Role::Producer }],
            streams_claim: "streams".to_owned(),
            sign_in: None,
        };
        let document = Document { kind: DocumentKind::Issuer, settings, keys: vec![key.jwk()] };
        let (id, document) = (format!("iss_{audience}"), serde_json::to_string(&document).unwrap());
        Body::TokenIssuer(TokenIssuer { id, tenant: tenant.map(str::to_owned), document })
    };
    let of = |audience: &str, streams: &str| {
        let now = now_s();
        let claims = json!({"iss": "https://idp.example/", "aud": audience, "iat": now, "exp": now + 300, "r": "s", "streams": streams});
        key.token(&claims)
    };
    let said = SilentPublisher::connect_with(&cluster, &of("own", "demo")).await.err().unwrap();
    assert!(said.contains("takes stream keys only"), "{said}");
    cluster.write(row(None, "own", 1)).await;
    cluster.write(row(Some("acme"), "acme", 1)).await;
    let publisher = eventually_async("the ingest knows the issuer", PATIENCE, async || {
        SilentPublisher::connect_with(&cluster, &of("own", "demo")).await.ok()
    })
    .await;
    for (audience, shown, words) in [
        ("acme", of("acme", "demo"), "names other streams"),
        ("acme", of("acme", "acme.demo"), "a stream that does not exist"),
        ("acme", format!("demo?token={}", of("acme", "*")), "names other streams"),
        ("own", of("own", "acme.demo"), "names other streams"),
        ("none", of("none", "demo"), "as aud or azp"),
    ] {
        let said = SilentPublisher::connect_with(&cluster, &shown).await.err().expect(words);
        assert!(said.contains(words) && said.contains("NetStream.Publish.BadName"), "{audience}: {said}");
    }
    // Other settings are other rights: whoever was admitted by those of before is let go.
    cluster.write(row(None, "own", 2)).await;
    let said = publisher.read_to_end().await;
    assert!(said.contains("has taken back the key of this token"), "{said}");
    cluster.stop().await;
}

/// Case B7, for publishers: it is not their fault, and encoders try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_whose_issuer_is_away_is_told_to_try_again_and_the_status_says_since_when() {
    let key = SigningKey::ed25519("k");
    let issuer = Issuer::start(&[&key]).await;
    issuer.set(Fault::Down);
    let cluster = cluster_of(&issuer).await;
    let said = SilentPublisher::connect_with(&cluster, &token(&key, &claims(&issuer, 300))).await.err().unwrap();
    assert!(said.contains("NetStream.Failed") && said.contains("answers 503"), "{said}");
    let status = cluster.status("i1").await;
    assert!(status["issuers"][0]["stale_since_at"].is_i64(), "{status}");
    cluster.stop().await;
}

/// Case B11, with ffmpeg. It cuts what stands in a URL at 1,024 characters, and has an option for longer keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_tokens_work_or_are_refused_with_what_is_wrong() {
    let key = SigningKey::ed25519("k");
    let issuer = Issuer::start(&[&key]).await;
    let cluster = cluster_of(&issuer).await;
    for characters in [300, 600, 1_100, 2_000] {
        let token = token_of_length(&key, &issuer, characters);
        let by_option = cluster.publish_with(&cluster.url("live", ""), 2, &["-g", "60", "-rtmp_playpath", &token]);
        let output = by_option.end().await;
        assert!(output.status.success(), "{characters}: {}", text(&output));
        cluster.session(SessionState::Reconnecting).await;
        let output = cluster.publish(&cluster.url("live", &token), 2).end().await;
        if characters < 1_000 {
            assert!(output.status.success(), "{characters}: {}", text(&output));
            cluster.session(SessionState::Reconnecting).await;
        } else {
            let said = text(&output);
            assert!(!output.status.success() && said.contains("This token ends early: 10"), "{characters}: {said}");
        }
    }
    let long = "k".repeat(5_000);
    let said = SilentPublisher::connect_with(&cluster, &long).await.err().unwrap();
    assert!(said.contains("has 5000 characters, and at most 4096 are taken"), "{said}");
    cluster.stop().await;
}

/// What is logged on this thread, at every level.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread, so that the log of all tasks is this test's.
#[tokio::test]
async fn nothing_of_a_token_reaches_a_log() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let key = SigningKey::ed25519("k");
    let issuer = Issuer::start(&[&key]).await;
    let cluster = cluster_of(&issuer).await;
    let mut told = claims(&issuer, 300);
    told["sub"] = "subject-of-this-test".into();
    let good = token(&key, &told);
    told["aud"] = "audience-of-this-test".into();
    let bad = token(&key, &told);
    let publisher = SilentPublisher::connect_with(&cluster, &good).await.unwrap();
    let said = SilentPublisher::connect_with(&cluster, &bad).await.err().unwrap();
    assert!(said.contains("audience-of-this-test"), "the publisher is told: {said}");
    let cut = SilentPublisher::connect_with(&cluster, &good[..good.len() - 9]).await.err().unwrap();
    assert!(cut.contains("ends early"), "{cut}");
    drop(publisher);
    within("the end", cluster.stop()).await;
    let log = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
    assert!(log.contains("publisher accepted") && log.contains("token_audience") && log.contains("token_cut"), "{log}");
    let parts = good.split('.').chain(bad.split('.')).filter(|part| part.len() > 30);
    for secret in parts.chain(["subject-of-this-test", "audience-of-this-test", KEY]) {
        assert!(!log.contains(secret), "{secret}");
    }
}
