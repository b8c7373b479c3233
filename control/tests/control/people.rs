//! People: the first operator's link, signing in and out, cookies and what they may do, members of tenants.

use access::session::{COOKIE, PREFIX, from_cookies};
use access::{Refused, SessionClaims, SessionRules, TokenKey};
use media::ClusterId;
use metadata::{SessionToken, View};
use node::CancellationToken;
use node::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Ask};
use crate::metadata::Follower;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A browser: it keeps its cookie, and says where its pages come from.
pub(crate) struct Browser<'a> {
    pub(crate) api: &'a Api,
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(api: &'a Api) -> Self {
        Self { api, cookie: String::new(), csrf: String::new() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, more: &[(&str, &str)], body: Option<Value>) -> Answer {
        let (origin, cookie) = (self.api.base.clone(), format!("{COOKIE}={}", self.cookie));
        let mut headers = vec![("cookie", cookie.as_str())];
        if !more.iter().any(|(name, _)| *name == "origin") {
            headers.push(("origin", &origin));
        }
        if !more.iter().any(|(name, _)| *name == "x-sealcast-csrf") {
            headers.push(("x-sealcast-csrf", &self.csrf));
        }
        headers.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        self.api.send(Ask { key: None, method, path, headers: &headers, body: body.map(|body| body.to_string()) }).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    /// Takes what an answer gives a browser.
    pub(crate) fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = set_cookie(answer) {
            self.cookie = cookie;
        }
        if let Some(csrf) = answer.json()["csrf"].as_str() {
            csrf.clone_into(&mut self.csrf);
        }
    }

    /// Uses a link, and is signed in.
    pub(crate) async fn set_up(api: &'a Api, code: &str, name: &str, password: &str) -> Result<Self, Answer> {
        let mut browser = Self::new(api);
        let body = json!({ "code": code, "name": name, "password": password });
        let answer = browser.send(Method::POST, "/api/v1/setup", &[], Some(body)).await;
        if answer.status != StatusCode::CREATED {
            return Err(answer);
        }
        browser.keep(&answer);
        Ok(browser)
    }

    pub(crate) async fn sign_in(api: &'a Api, name: &str, password: &str) -> Result<Self, Answer> {
        let mut browser = Self::new(api);
        let body = json!({ "name": name, "password": password });
        let answer = browser.send(Method::POST, "/api/v1/session", &[], Some(body)).await;
        if answer.status != StatusCode::CREATED {
            return Err(answer);
        }
        browser.keep(&answer);
        Ok(browser)
    }
}

/// The token of a `Set-Cookie`, whose attributes are all there.
fn set_cookie(answer: &Answer) -> Option<String> {
    let text = answer.headers.get("set-cookie")?.to_str().unwrap();
    for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(text.contains(attribute), "{text}");
    }
    assert!(!text.contains("Domain"), "{text}");
    from_cookies([text]).map(str::to_owned)
}

pub(crate) fn code(link: &str) -> &str {
    link.split_once('#').expect("a link has a fragment").1
}

/// Control that was started, and the link that its start would print.
async fn started() -> (Api, String) {
    let api = Api::start().await;
    let link = api.set_up.clone().expect("nobody is the operator yet");
    (api, link)
}

pub(crate) async fn operator(api: &Api) -> Browser<'_> {
    let link = api.set_up.clone().unwrap();
    Browser::set_up(api, code(&link), "Ada", PASSWORD).await.unwrap_or_else(|answer| panic!("{}", answer.text))
}

/// A member of a tenant, invited by the operator's command.
pub(crate) async fn member<'a>(api: &'a Api, tenant: &str, role: &str, name: &str) -> (Value, Browser<'a>) {
    let body = json!({ "name": name, "role": role });
    let made = api.operate(tenant, Method::POST, "/api/v1/members", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    let link = made["invite_url"].as_str().unwrap();
    let browser = Browser::set_up(api, code(link), name, PASSWORD).await;
    (made, browser.unwrap_or_else(|answer| panic!("{}", answer.text)))
}

/// Case A4: no default credential, one link, once.
#[tokio::test(flavor = "multi_thread")]
async fn link_of_the_start_makes_the_operator_once() {
    let (api, link) = started().await;
    assert!(link.starts_with("/setup#sci_"), "{link}");
    let early = Browser::sign_in(&api, "ada", PASSWORD).await.err().unwrap();
    assert_eq!((early.status, early.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not-set-up"));
    let set_up = async |code: &str, name: &str, password: &str| {
        Browser::set_up(&api, code, name, password).await.err().map(|answer| answer.problem())
    };
    let mut mistyped = code(&link).to_owned();
    mistyped.replace_range(10..11, if &mistyped[10..11] == "7" { "8" } else { "7" });
    for (wrong, name, password, problem) in [
        (mistyped.as_str(), "Ada", PASSWORD, "gone"),
        ("sci_x", "Ada", PASSWORD, "gone"),
        (code(&link), "", PASSWORD, "invalid"),
        (code(&link), "Ada", "too short", "invalid"),
        (code(&link), "Ada", &"x".repeat(257), "invalid"),
        (code(&link), &"x".repeat(101), PASSWORD, "invalid"),
    ] {
        assert_eq!(set_up(wrong, name, password).await.as_deref(), Some(problem), "{name} {}", password.len());
    }
    // Of many who have it at the same moment, one is the operator.
    let all = (0..4).map(|n| {
        let (api, code) = (&api, code(&link).to_owned());
        async move { Browser::set_up(api, &code, &format!("Ada{n}"), PASSWORD).await.ok() }
    });
    let browsers: Vec<_> = futures_util::future::join_all(all).await.into_iter().flatten().collect();
    assert_eq!(browsers.len(), 1);
    assert_eq!(set_up(code(&link), "Eve", PASSWORD).await.as_deref(), Some("gone"));
    let session = browsers[0].get("/api/v1/session").await.json();
    let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("kind"), text("role")), ("cookie".to_owned(), "operator".to_owned()));
    assert!(text("name").starts_with("Ada") && text("credential").starts_with("mem_"), "{session}");
    assert_eq!(session["tenant"]["slug"], "default");
    assert_eq!(session["tenants"][0]["role"], "operator");
    assert!(session["scopes"].as_array().unwrap().contains(&json!("cluster:write")), "{session}");

    // Case A3: neither link, password, cookie nor csrf is in a file of control.
    let secrets = [code(&link), PASSWORD, &browsers[0].cookie, &browsers[0].csrf];
    let data = api.cluster.directory.path().join("c1");
    for entry in std::fs::read_dir(&data).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        for secret in secrets {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} is in {}", &secret[..4], entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_reads_changes_with_its_page_and_ends() {
    let (api, _) = started().await;
    let (mut ada, b1) = (operator(&api).await, Follower::start(&api.cluster, "b1", None).await);
    let make = json!({ "name": "hall2" });
    let post = async |more: &[(&str, &str)]| ada.send(Method::POST, "/api/v1/streams", more, Some(make.clone())).await;
    for more in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "")],
        &[("origin", "null")],
        &[("x-sealcast-csrf", "")],
        &[("x-sealcast-csrf", "wrong")],
    ] {
        let refused = post(more).await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::FORBIDDEN, "csrf"), "{more:?}");
    }
    assert_eq!(ada.get("/api/v1/streams/hall2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&[]).await.status, StatusCode::CREATED);
    let audit = ada.get("/api/v1/audit?limit=5").await.json();
    let newest = &audit["items"][0];
    assert_eq!((newest["actor"].as_str(), newest["action"].as_str()), (Some("cookie"), Some("streams.create")));
    assert!(newest["credential"].as_str().unwrap().starts_with("mem_"), "{newest}");

    // A page elsewhere cannot sign a visitor in either.
    let body = json!({ "name": "ada", "password": PASSWORD });
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(ada.send(Method::POST, "/api/v1/session", &foreign, Some(body)).await.problem(), "csrf");
    // Upper and lower case are one; another session has another secret.
    let second = Browser::sign_in(&api, "ADA", PASSWORD).await.ok().unwrap();
    assert!(second.csrf != ada.csrf && second.cookie != ada.cookie);
    let stolen = [("x-sealcast-csrf", second.csrf.as_str())];
    assert_eq!(post(&stolen).await.problem(), "csrf");

    believes(&b1, "a session", &second.cookie, Ok(())).await;
    let out = second.send(Method::DELETE, "/api/v1/session", &[], None).await;
    assert_eq!((out.status, set_cookie(&out).as_deref()), (StatusCode::NO_CONTENT, Some("")));
    assert_eq!(second.get("/api/v1/session").await.problem(), "expired");
    believes(&b1, "a session that was ended", &second.cookie, Err(Refused::Ended)).await;
    believes(&b1, "another one of the same person", &ada.cookie, Ok(())).await;
    assert_eq!(ada.get("/api/v1/session").await.status, StatusCode::OK, "the other session goes on");
    // A key has no session to end.
    let key = api.secret("default", "owner").await;
    assert_eq!(api.ask(&key, Method::DELETE, "/api/v1/session", None).await.problem(), "state");
    ada.csrf.clear();
    assert_eq!(ada.send(Method::DELETE, "/api/v1/session", &[], None).await.problem(), "csrf");
}

/// What a node with this log thinks of a token.
fn opinion(view: &View<'_>, token: &str) -> Result<SessionClaims, Refused> {
    let rules = SessionRules::of(view, &ClusterId::new("test").unwrap());
    let known = rules.verify(token)?;
    rules.check(&known, Clock::new().wall()).map(|()| known.claims)
}

/// Waits until a node takes a token for one of exactly these tenants.
pub(crate) async fn believes_of(node: &Follower, token: &str, tenants: &[&str]) {
    let is_so = |view: View<'_>| {
        let rules = SessionRules::of(&view, &ClusterId::new("test").unwrap());
        let of = opinion(&view, token).map(|claims| rules.memberships(&claims)).unwrap_or_default();
        of.iter().map(|one| one.tenant.as_str()).eq(tenants.iter().copied())
    };
    node.sees(&format!("a token of {tenants:?}"), is_so).await;
}

/// Waits until a node believes a token, or refuses it.
async fn believes(node: &Follower, what: &str, token: &str, expected: Result<(), Refused>) {
    node.sees(what, |view| opinion(&view, token).map(|_| ()) == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_cookie_opens_anything() {
    let (api, _) = started().await;
    let (ada, b1) = (operator(&api).await, Follower::start(&api.cluster, "b1", None).await);
    believes(&b1, "a session", &ada.cookie, Ok(())).await;
    let claims = b1.look(|view| opinion(&view, &ada.cookie)).unwrap();
    let ask = async |cookie: String| {
        let browser = Browser { api: &api, cookie, csrf: ada.csrf.clone() };
        browser.get("/api/v1/session").await
    };
    assert_eq!(ask(ada.cookie.clone()).await.status, StatusCode::OK);
    let thief = TokenKey::from_seed(&[7; 32]).unwrap();
    let village = access::token::audience(&ClusterId::new("village").unwrap());
    let elsewhere = SessionClaims { aud: village, ..claims.clone() };
    let mut changed = ada.cookie.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'Q' } else { 'A' });
    for (what, forged) in [
        ("another key", claims.sign(&thief).unwrap()),
        ("another cluster", elsewhere.sign(&thief).unwrap()),
        ("another signature", changed),
        ("another kind", ada.cookie.replace(PREFIX, "scv_")),
        ("no token", "scs_".to_owned()),
    ] {
        let refused = ask(forged).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{what}: {}", refused.text);
        assert!(!refused.text.contains("scs_"), "{what}: {}", refused.text);
    }
    // The cluster's own key, which only control has: a session that is none, and one whose ten minutes are over.
    let seed = std::fs::read(api.cluster.directory.path().join("c1/sessions.key")).unwrap();
    let own = TokenKey::from_seed(&seed.try_into().unwrap()).unwrap();
    let nobody = SessionClaims { session: SessionToken([9; 16]), ..claims.clone() };
    assert_eq!(ask(nobody.sign(&own).unwrap()).await.problem(), "expired");
    let future = SessionClaims { iat: claims.iat + 3_600, ..claims.clone() };
    assert_eq!(ask(future.sign(&own).unwrap()).await.problem(), "unauthenticated");
    let old = SessionClaims { iat: claims.iat - 700, ..claims.clone() }.sign(&own).unwrap();
    believes(&b1, "a token whose time is over", &old, Err(Refused::Expired)).await;
    let renewed = ask(old).await;
    assert_eq!(renewed.status, StatusCode::OK);
    let fresh = set_cookie(&renewed).expect("control gives a new one while the session lasts");
    believes(&b1, "the new one", &fresh, Ok(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_and_passwords_get_one_answer_and_few_tries() {
    let (api, _) = started().await;
    operator(&api).await;
    let tell = |answer: &Answer| (answer.status, answer.json()["detail"].clone());
    let wrong = Browser::sign_in(&api, "ada", "correct horse batterY").await.err().unwrap();
    let absent = Browser::sign_in(&api, "nobody", "correct horse batterY").await.err().unwrap();
    assert_eq!((wrong.status, wrong.problem().as_str()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
    assert_eq!(tell(&wrong), tell(&absent));
    // Ten at once; then, the right one neither, from this network.
    let refused = loop {
        let answer = Browser::sign_in(&api, "Ada", "guess guess guess").await.err().unwrap();
        if answer.status != StatusCode::UNAUTHORIZED {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1);
    let right = Browser::sign_in(&api, "ada", PASSWORD).await.err().unwrap();
    assert_eq!(right.problem(), "rate-limited");
    // Others still may.
    member(&api, "default", "viewer", "Bob").await;
    assert!(Browser::sign_in(&api, "bob", PASSWORD).await.is_ok());
    // Failed tries stand in the audit, without what was typed.
    let audit = api.operate("default", Method::GET, "/api/v1/audit?all=true&limit=200", None).await;
    let failed = audit.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["action"] == "session.create" && row["result"] == "unauthenticated")
        .count();
    assert!(failed >= 5 && !audit.text.contains("guess guess"), "{}", audit.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_does_what_its_role_says_and_nothing_once_it_is_gone() {
    let (api, _) = started().await;
    let (ada, b1) = (operator(&api).await, Follower::start(&api.cluster, "b1", None).await);
    api.tenant("choir").await;
    let (row, owner) = member(&api, "choir", "owner", "Olga").await;
    let (viewer_row, viewer) = member(&api, "choir", "viewer", "Vera").await;
    let streams = "/api/v1/streams";
    let make = |name: &str| Some(json!({ "name": name }));
    assert_eq!(owner.send(Method::POST, streams, &[], make("choir.hall")).await.status, StatusCode::CREATED);
    assert_eq!(viewer.send(Method::POST, streams, &[], make("choir.b")).await.problem(), "scope-missing");
    assert_eq!(viewer.get("/api/v1/streams/choir.hall").await.status, StatusCode::OK);
    // Nobody makes more of somebody than what it is.
    let operator = json!({ "name": "Eve", "role": "operator" });
    assert_eq!(
        owner.send(Method::POST, "/api/v1/members", &[], Some(operator.clone())).await.problem(),
        "scope-missing"
    );
    let in_choir = [("x-sealcast-tenant", "choir")];
    assert_eq!(ada.send(Method::POST, "/api/v1/members", &in_choir, Some(operator)).await.problem(), "invalid");
    // Another tenant is not there; the operator's is any.
    let elsewhere = [("x-sealcast-tenant", "default")];
    assert_eq!(owner.send(Method::GET, streams, &elsewhere, None).await.problem(), "not-found");
    assert_eq!(ada.send(Method::GET, streams, &in_choir, None).await.json()["items"][0]["name"], "choir.hall");
    let listed = owner.get("/api/v1/members").await.json();
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Olga", "Vera"], "and not Ada, who is another tenant's");
    assert!(listed["items"][0]["invite_url"].is_null() && listed["items"][0]["state"] == "active");

    let path = format!("/api/v1/members/{}", row["id"].as_str().unwrap());
    for (method, body) in [(Method::DELETE, None), (Method::PATCH, Some(json!({ "role": "viewer" })))] {
        assert_eq!(owner.send(method, &path, &[], body).await.problem(), "last-owner");
    }
    // Case A6: suspended, and gone, within a second; on nodes, too.
    let path = format!("/api/v1/members/{}", viewer_row["id"].as_str().unwrap());
    let token = viewer.cookie.clone();
    let suspend = Some(json!({ "state": "suspended" }));
    assert_eq!(owner.send(Method::PATCH, &path, &[], suspend).await.status, StatusCode::OK);
    assert_eq!(viewer.get("/api/v1/session").await.status, StatusCode::UNAUTHORIZED);
    believes(&b1, "a member who was suspended", &token, Err(Refused::Ended)).await;
    assert_eq!(Browser::sign_in(&api, "vera", PASSWORD).await.err().unwrap().problem(), "unauthenticated");
    let active = Some(json!({ "state": "active", "role": "producer" }));
    assert_eq!(owner.send(Method::PATCH, &path, &[], active).await.json()["role"], "producer");
    let back = viewer.get("/api/v1/session").await;
    assert_eq!(back.json()["role"], "producer", "the session goes on, with what the member may do now");
    let fresh = set_cookie(&back).expect("with a token that nodes believe");
    believes(&b1, "a member who is back", &fresh, Ok(())).await;
    assert_eq!(owner.send(Method::DELETE, &path, &[], None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(viewer.get("/api/v1/session").await.problem(), "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_is_a_member_of_two_tenants_and_gets_a_new_password() {
    let (api, _) = started().await;
    operator(&api).await;
    for slug in ["choir", "band"] {
        api.tenant(slug).await;
    }
    let (_, choir) = member(&api, "choir", "owner", "Vera").await;
    let (row, _) = member(&api, "band", "viewer", "vera").await;
    let session = choir.get("/api/v1/session").await.json();
    let tenants: Vec<_> = session["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["slug"].as_str().unwrap(), one["role"].as_str().unwrap()))
        .collect();
    assert_eq!(tenants, [("choir", "owner"), ("band", "viewer")]);
    let band = choir.send(Method::GET, "/api/v1/session", &[("x-sealcast-tenant", "band")], None).await.json();
    assert_eq!((band["tenant"]["slug"].as_str(), band["role"].as_str()), (Some("band"), Some("viewer")));
    // With another password, the name is somebody else's.
    let invited = api.operate("band", Method::POST, "/api/v1/members", Some(json!({ "name": "x" }))).await.json();
    let link = invited["invite_url"].as_str().unwrap();
    let refused = Browser::set_up(&api, code(link), "VERA", "another password").await.err().unwrap();
    assert_eq!(refused.problem(), "name-taken");
    // Who owns one of two tenants gives nobody the password of the other.
    let (_, boss) = member(&api, "band", "owner", "Boss").await;
    let again = format!("/api/v1/members/{}/invite", row["id"].as_str().unwrap());
    assert_eq!(boss.send(Method::POST, &again, &[], None).await.problem(), "scope-missing");
    let made = api.operate("band", Method::POST, &again, None).await.json();
    let link = made["invite_url"].as_str().unwrap();
    let renewed = Browser::set_up(&api, code(link), "", "an entirely new one").await.ok().unwrap();
    assert_eq!(renewed.get("/api/v1/session").await.json()["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(choir.get("/api/v1/session").await.problem(), "expired", "whoever had the old password is out");
    assert!(Browser::sign_in(&api, "vera", "an entirely new one").await.is_ok());
    assert!(Browser::sign_in(&api, "vera", PASSWORD).await.is_err());
}

/// Whoever has a link for a new password is the person in all tenants, and got it for what the person was.
#[tokio::test(flavor = "multi_thread")]
async fn link_for_a_new_password_is_none_any_more_once_the_person_has_risen_elsewhere() {
    let (api, _) = started().await;
    operator(&api).await;
    for slug in ["choir", "band"] {
        api.tenant(slug).await;
    }
    let (_, boss) = member(&api, "band", "owner", "Boss").await;
    let (row, _) = member(&api, "band", "viewer", "Vera").await;
    let again = format!("/api/v1/members/{}/invite", row["id"].as_str().unwrap());
    let made = boss.send(Method::POST, &again, &[], None).await.json();
    let link = made["invite_url"].as_str().unwrap();
    member(&api, "choir", "owner", "vera").await;
    let refused = Browser::set_up(&api, code(link), "", "a password of the boss").await.err().map(|it| it.problem());
    assert_eq!(refused.as_deref(), Some("gone"));
    let listed =
        api.operate("band", Method::GET, &format!("/api/v1/members/{}", row["id"].as_str().unwrap()), None).await;
    assert_eq!(listed.json()["invite_until_at"], Value::Null, "{}", listed.text);
    assert!(Browser::sign_in(&api, "vera", PASSWORD).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_prints_another_link_until_there_is_an_operator() {
    let cluster = crate::cluster::Cluster::start().await;
    let link = async |end: &CancellationToken| {
        let context = cluster.context("c1", messages::Role::Control, true, end).await;
        let control = control::Control::load(crate::cluster::config(), context).await.unwrap();
        let link = control.set_up_link().map(|link| link.into_inner());
        let base = format!("https://{}", control.data_address());
        let running = tokio::spawn(control.run(end.clone()));
        let session = cluster.operator().get(format!("{base}/api/v1/session")).send().await.unwrap();
        assert_eq!(session.status(), StatusCode::OK);
        (link, base, running)
    };
    let end = CancellationToken::new();
    let (first, _, running) = link(&end).await;
    end.cancel();
    running.await.unwrap().unwrap();
    let (second, base, _running) = link(&cluster.all).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    let http = cluster.operator();
    let post = async |link: &str| {
        let body = json!({ "code": code(link), "name": "Ada", "password": PASSWORD });
        http.post(format!("{base}/api/v1/setup")).json(&body).send().await.unwrap().status()
    };
    assert_eq!(post(&first).await, StatusCode::GONE);
    assert_eq!(post(&second).await, StatusCode::CREATED);
}

/// Whether a node lets the holder of a viewer token have a stream.
fn plays(view: &View<'_>, token: Option<&str>) -> Result<access::Allowed, access::Refusal> {
    let (rules, hall) =
        (access::Rules::of(view, &ClusterId::new("test").unwrap()), media::StreamId::new("hall").unwrap());
    let verified = token.map(|text| access::Verified::read(text, |id| rules.key(id)));
    let token = verified.as_ref().map(|verified| verified.as_ref().map_err(|why| *why));
    let (class, stream) = (access::Class::Stream, Some(&hall));
    rules.decide(&access::Ask { class, stream, token, origin: None, at: Clock::new().wall() })
}

#[tokio::test(flavor = "multi_thread")]
async fn member_watches_a_stream_for_members_until_it_is_out() {
    let (api, _) = started().await;
    let (ada, b1) = (operator(&api).await, Follower::start(&api.cluster, "b1", None).await);
    let visibility = json!({ "visibility": "members" });
    let set = api.operate("default", Method::POST, "/cluster/v1/admin/streams/hall/visibility", Some(visibility)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    b1.sees("a stream for members", |view| plays(&view, None) == Err(access::Refusal::Absent)).await;
    let (row, vera) = member(&api, "default", "viewer", "Vera").await;
    let path = "/api/v1/streams/hall/watch";
    let made = vera.send(Method::POST, path, &[], None).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(made["urls"]["page"], format!("/watch/hall#t={token}").replacen('/', &format!("{}/", api.base), 1));
    b1.sees("the token of a member", |view| plays(&view, Some(&token)).is_ok()).await;
    // Neither members of another tenant, nor programs, nor pages of others.
    api.tenant("choir").await;
    let (_, olga) = member(&api, "choir", "owner", "Olga").await;
    assert_eq!(olga.send(Method::POST, path, &[], None).await.problem(), "not-found");
    let key = api.secret("default", "owner").await;
    assert_eq!(api.ask(&key, Method::POST, path, None).await.problem(), "state");
    assert_eq!(vera.send(Method::POST, path, &[("x-sealcast-csrf", "")], None).await.problem(), "csrf");
    let suspend = Some(json!({ "state": "suspended" }));
    let member = format!("/api/v1/members/{}", row["id"].as_str().unwrap());
    assert_eq!(ada.send(Method::PATCH, &member, &[], suspend).await.status, StatusCode::OK);
    b1.sees("a member that is out", |view| plays(&view, Some(&token)) == Err(access::Refusal::Revoked)).await;
}
