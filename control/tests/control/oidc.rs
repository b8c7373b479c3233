//! Signing in at an issuer: the code flow, its attacks, and the roles that rules give.

use issuers::{Algorithm, Role, Rule, Settings, SignIn};
use node::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::issuer::{Issuer, Question};
use testkit::jwt::SigningKey;
use testkit::provider::Provider;

use crate::api::{Answer, Api};
use crate::people::{Browser, code, operator};

const CLIENT: &str = "sealcast-web";

/// A control node where people sign in at these issuers.
struct Town {
    api: Api,
    school: Issuer,
    key: SigningKey,
}

fn settings(issuer: &Issuer, name: &str, tenant: &str) -> Settings {
    let rule = |equals: &str, role| Rule { claim: "groups".to_owned(), equals: equals.to_owned(), role };
    Settings {
        url: issuer.url(),
        audiences: vec!["an-api".to_owned()],
        algorithms: vec![Algorithm::ES256],
        jwks_url: issuer.jwks_url(),
        leeway_s: 30,
        uses: Vec::new(),
        rules: vec![rule("staff", Role::Owner), rule("teachers", Role::Producer), rule("pupils", Role::Viewer)],
        streams_claim: "streams".to_owned(),
        sign_in: Some(SignIn {
            name: name.to_owned(),
            client_id: CLIENT.to_owned(),
            client_secret_file: None,
            authorization_url: issuer.authorization_url(),
            token_url: issuer.token_url(),
            scopes: vec!["openid".to_owned()],
            tenant: tenant.to_owned(),
        }),
    }
}

impl Town {
    async fn start() -> Self {
        let key = SigningKey::p256("k1");
        let school = Issuer::start(&[&key]).await;
        let config = control::Config {
            issuers: vec![settings(&school, "School", "default")],
            outbound_allow: vec!["127.0.0.1".to_owned()],
            outbound_ca: Some(school.ca()),
            ..crate::cluster::config()
        };
        Self { api: Api::start_with(config).await, school, key }
    }

    /// What the issuer says of a person who is in this group.
    fn claims(&self, question: &Question, subject: &str, group: &str) -> Value {
        let now_s = Clock::new().wall().0 / 1_000;
        json!({
            "iss": self.school.url(), "aud": CLIENT, "sub": subject, "exp": now_s + 300, "iat": now_s,
            "nonce": question.nonce, "name": format!("{subject} of school"), "groups": [group],
        })
    }

    /// Begins to sign in; returns the question that the browser takes along.
    async fn begin(&self, browser: &mut Flow<'_>, body: Value) -> Question {
        let mut wanted = json!({ "issuer": self.school.url() });
        wanted.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let answer = browser.0.send(Method::POST, "/api/v1/auth/login", &[], Some(wanted)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        browser.1 = cookie(&answer, "__Host-sealcast-auth").expect("a flow");
        Question::of(answer.json()["url"].as_str().unwrap())
    }

    /// A whole way: agrees for a person, and comes back.
    async fn signs_in(&self, body: Value, subject: &str, group: &str) -> (Answer, Option<Browser<'_>>) {
        let mut browser = Flow(Browser::new(&self.api), String::new());
        let question = self.begin(&mut browser, body).await;
        let code = self.school.agree(&question, self.key.token(&self.claims(&question, subject, group)));
        let answer = browser.back(&[("code", &code), ("state", &question.state)]).await;
        let session = cookie(&answer, "__Host-sealcast");
        let signed_in = match session {
            None => None,
            Some(session) => {
                browser.0.cookie = session;
                let csrf = browser.0.get("/api/v1/session").await;
                browser.0.keep(&csrf);
                Some(browser.0)
            }
        };
        (answer, signed_in)
    }
}

/// What is wrong with claims.
type Change = dyn Fn(&mut Value);

/// A browser on its way to an issuer, with the cookie of the flow.
struct Flow<'a>(Browser<'a>, String);

impl Flow<'_> {
    async fn back(&self, parameters: &[(&str, &str)]) -> Answer {
        let mut url = reqwest::Url::parse("https://x/api/v1/auth/callback").unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let cookie = format!("__Host-sealcast-auth={}", self.1);
        let answer = self
            .0
            .api
            .send(crate::api::Ask {
                key: None,
                method: Method::GET,
                path: &path,
                headers: &[("cookie", &cookie)],
                body: None,
            })
            .await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer
    }
}

fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let all = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let found = all.filter_map(|text| text.split(';').next()?.strip_prefix(name)?.strip_prefix('=')).next()?;
    (!found.is_empty()).then(|| found.to_owned())
}

fn refused(answer: &Answer) -> &str {
    assert_eq!(cookie(answer, "__Host-sealcast"), None);
    answer.header("location")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_at_their_school_with_the_role_that_its_rules_give() {
    let town = Town::start().await;
    let ada = operator(&town.api).await;
    let listed = ada.get("/api/v1/auth").await.json();
    assert_eq!(
        listed,
        json!({ "is_set_up": true, "password": true, "issuers": [{ "url": town.school.url(), "name": "School" }] })
    );
    let (answer, vera) = town.signs_in(json!({ "return_to": "/watch/hall?x=1" }), "vera", "pupils").await;
    assert_eq!(answer.header("location"), "/watch/hall?x=1");
    let vera = vera.expect("signed in");
    let session = vera.get("/api/v1/session").await.json();
    assert_eq!((session["role"].as_str(), session["name"].as_str()), (Some("viewer"), Some("vera of school")));
    assert_eq!(
        vera.send(Method::POST, "/api/v1/streams", &[], Some(json!({ "name": "a" }))).await.problem(),
        "scope-missing"
    );
    // The issuer changes its mind, and so does the next sign-in; also of the sessions that there are.
    let (_, teacher) = town.signs_in(json!({}), "vera", "teachers").await;
    assert_eq!(teacher.unwrap().get("/api/v1/session").await.json()["role"], "producer");
    assert_eq!(vera.get("/api/v1/session").await.json()["role"], "producer");
    let members = ada.get("/api/v1/members").await.json();
    let row = members["items"].as_array().unwrap().iter().find(|row| row["subject"] == "vera").unwrap().clone();
    assert_eq!((row["issuer"].as_str(), row["state"].as_str()), (Some(town.school.url().as_str()), Some("active")));
    // What an owner decides, no rule changes.
    let path = format!("/api/v1/members/{}", row["id"].as_str().unwrap());
    assert_eq!(ada.send(Method::PATCH, &path, &[], Some(json!({ "role": "owner" }))).await.status, StatusCode::OK);
    let (_, still) = town.signs_in(json!({}), "vera", "pupils").await;
    assert_eq!(still.unwrap().get("/api/v1/session").await.json()["role"], "owner");
    assert_eq!(ada.send(Method::PATCH, &path, &[], Some(json!({ "state": "suspended" }))).await.status, StatusCode::OK);
    let (answer, _) = town.signs_in(json!({}), "vera", "staff").await;
    assert_eq!(refused(&answer), "/sign-in?problem=unauthenticated");
    // Whoever no rule gives a role is a stranger, until somebody invites.
    let (answer, _) = town.signs_in(json!({}), "stranger", "parents").await;
    assert_eq!(refused(&answer), "/sign-in?problem=unauthenticated");
    let invited =
        town.api.operate("default", Method::POST, "/api/v1/members", Some(json!({ "name": "Guest" }))).await.json();
    let link = code(invited["invite_url"].as_str().unwrap()).to_owned();
    let (answer, guest) = town.signs_in(json!({ "code": link }), "stranger", "parents").await;
    assert_eq!(answer.header("location"), "/studio");
    assert_eq!(guest.unwrap().get("/api/v1/session").await.json()["name"], "Guest");
    let (_, again) = town.signs_in(json!({}), "stranger", "parents").await;
    assert!(again.is_some());
    let mut other = Flow(Browser::new(&town.api), String::new());
    let body = json!({ "issuer": town.school.url(), "code": link });
    assert_eq!(other.0.send(Method::POST, "/api/v1/auth/login", &[], Some(body)).await.problem(), "gone");
    let body = json!({ "issuer": "https://nobody.example/" });
    assert_eq!(other.0.send(Method::POST, "/api/v1/auth/login", &[], Some(body)).await.problem(), "invalid");
    // A link on another page leads to the issuer, too, and back to this server only.
    let path = format!("/api/v1/auth/login?issuer={}&return_to=//evil.example", town.school.url());
    let answer = other.0.get(&path).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    other.1 = cookie(&answer, "__Host-sealcast-auth").unwrap();
    let question = Question::of(answer.header("location"));
    assert_eq!(question.redirect_uri, format!("{}/api/v1/auth/callback", town.api.base));
    let code = town.school.agree(&question, town.key.token(&town.claims(&question, "tom", "pupils")));
    let answer = other
        .back(&[("code", &code), ("state", &question.state), ("iss", &town.school.url()), ("session_state", "x")])
        .await;
    assert_eq!(answer.header("location"), "/studio");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_signed_in_by_what_another_browser_issuer_or_sign_in_was_given() {
    let town = Town::start().await;
    let mut browser = Flow(Browser::new(&town.api), String::new());
    let other_key = SigningKey::p256("k1");
    let cases: [(&str, &Change); 8] = [
        ("another nonce", &|claims| claims["nonce"] = "other".into()),
        ("no nonce", &|claims| _ = claims.as_object_mut().unwrap().remove("nonce")),
        ("for another client", &|claims| claims["aud"] = "an-api".into()),
        ("for several clients", &|claims| claims["aud"] = json!([CLIENT, "other"])),
        ("of another issuer", &|claims| claims["iss"] = "https://evil.example/".into()),
        ("over", &|claims| claims["exp"] = (Clock::new().wall().0 / 1_000 - 100).into()),
        ("of nobody", &|claims| _ = claims.as_object_mut().unwrap().remove("sub")),
        ("of a name that is no text", &|claims| claims["sub"] = 7.into()),
    ];
    for (what, change) in cases {
        let question = town.begin(&mut browser, json!({})).await;
        let mut claims = town.claims(&question, "vera", "pupils");
        change(&mut claims);
        let code = town.school.agree(&question, town.key.token(&claims));
        let answer = browser.back(&[("code", &code), ("state", &question.state)]).await;
        assert_eq!(refused(&answer), "/sign-in?problem=unauthenticated", "{what}");
    }
    let good = |question: &Question| town.key.token(&town.claims(question, "vera", "pupils"));
    // The token of a thief's key, without a signature, and from a code that the issuer does not know.
    let signers: [&dyn Fn(&Value) -> String; 2] = [&|claims| other_key.token(claims), &testkit::jwt::unsigned];
    for sign in signers {
        let question = town.begin(&mut browser, json!({})).await;
        let code = town.school.agree(&question, sign(&town.claims(&question, "vera", "pupils")));
        refused(&browser.back(&[("code", &code), ("state", &question.state)]).await);
    }
    let question = town.begin(&mut browser, json!({})).await;
    refused(&browser.back(&[("code", "unknown"), ("state", &question.state)]).await);
    // The state of another way, none, and a browser without the cookie: a link that an attacker has sent.
    let theirs = town.begin(&mut Flow(Browser::new(&town.api), String::new()), json!({})).await;
    let question = town.begin(&mut browser, json!({})).await;
    let code = town.school.agree(&question, good(&question));
    refused(&browser.back(&[("code", &code), ("state", &theirs.state)]).await);
    refused(&browser.back(&[("code", &code)]).await);
    let naked = Flow(Browser::new(&town.api), String::new());
    refused(&naked.back(&[("code", &code), ("state", &question.state)]).await);
    // Mixed up: another issuer says that it has answered.
    let question = town.begin(&mut browser, json!({})).await;
    let code = town.school.agree(&question, good(&question));
    refused(&browser.back(&[("code", &code), ("state", &question.state), ("iss", "https://evil.example/")]).await);
    // The person has not agreed.
    let question = town.begin(&mut browser, json!({})).await;
    refused(&browser.back(&[("error", "access_denied"), ("state", &question.state)]).await);
    // The same code and way twice: the first one counts.
    let question = town.begin(&mut browser, json!({})).await;
    let code = town.school.agree(&question, good(&question));
    let first = browser.back(&[("code", &code), ("state", &question.state)]).await;
    assert_eq!(first.header("location"), "/studio");
    let again = town.school.agree(&question, good(&question));
    refused(&browser.back(&[("code", &again), ("state", &question.state)]).await);
    // Nothing of it made a member but the one.
    let members = town.api.operate("default", Method::GET, "/api/v1/members", None).await.json();
    let known = members["items"].as_array().unwrap().iter().filter(|row| row["issuer"].is_string()).count();
    assert_eq!(known, 1, "{members}");
}

/// With npm's certified provider, which shares no code with ours: discovery's values typed by hand, PKCE, a secret, RS256, `iss` in the answer.
#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_at_a_certified_provider() {
    // The provider has to know where its client is, and control where the provider is: the client's port is chosen first.
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = place.local_addr().unwrap();
    let redirect = format!("https://{listen}/api/v1/auth/callback");
    let provider = Provider::start(CLIENT, "s3cret / with: signs", &redirect).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret / with: signs\n").unwrap();
    let rule = Rule { claim: "groups".to_owned(), equals: "teachers".to_owned(), role: Role::Producer };
    let sign_in = SignIn {
        name: "School".to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret_file: Some(secret),
        authorization_url: format!("{}/auth", provider.url),
        token_url: format!("{}/token", provider.url),
        scopes: vec!["openid".to_owned(), "profile".to_owned()],
        tenant: "default".to_owned(),
    };
    let settings = Settings {
        url: provider.url.clone(),
        audiences: vec![CLIENT.to_owned()],
        algorithms: vec![Algorithm::RS256],
        jwks_url: format!("{}/jwks", provider.url),
        leeway_s: 30,
        uses: Vec::new(),
        rules: vec![rule],
        streams_claim: "streams".to_owned(),
        sign_in: Some(sign_in),
    };
    drop(place);
    let config = control::Config {
        data_listen: listen,
        issuers: vec![settings],
        outbound_allow: vec!["127.0.0.1".to_owned()],
        outbound_ca: Some(provider.ca()),
        ..crate::cluster::config()
    };
    let api = Api::start_with(config).await;
    let mut browser = Flow(Browser::new(&api), String::new());
    let body = json!({ "issuer": provider.url, "return_to": "/studio/streams" });
    let answer = browser.0.send(Method::POST, "/api/v1/auth/login", &[], Some(body)).await;
    browser.1 = cookie(&answer, "__Host-sealcast-auth").unwrap();
    let back = provider.follow(answer.json()["url"].as_str().unwrap()).await;
    let query = back.strip_prefix(&format!("{redirect}?")).unwrap_or_else(|| panic!("{back}"));
    let pairs: Vec<(String, String)> =
        reqwest::Url::parse(&format!("https://x/?{query}")).unwrap().query_pairs().into_owned().collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(pairs.contains(&("iss", &provider.url)), "{back}");
    let answer = browser.back(&pairs).await;
    assert_eq!(answer.header("location"), "/studio/streams");
    browser.0.cookie = cookie(&answer, "__Host-sealcast").unwrap();
    let session = browser.0.get("/api/v1/session").await.json();
    assert_eq!((session["name"].as_str(), session["role"].as_str()), (Some("Vera of school"), Some("producer")));
}
