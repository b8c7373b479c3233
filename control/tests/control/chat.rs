//! Chats as viewers and moderators have them: who writes what and how fast, what everybody gets, and who may not write any more. And what a
//! stream says of its pages.

use messages::{ChatChanges, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Ask};
use crate::cluster::next;

const HALL: &str = "/live/hall/chat";

/// A viewer of an address.
struct Viewer<'a> {
    api: &'a Api,
    address: &'a str,
    path: String,
}

impl<'a> Viewer<'a> {
    fn at(api: &'a Api, address: &'a str) -> Self {
        Self { api, address, path: HALL.to_owned() }
    }

    /// The holder of a token.
    fn with(self, token: &str) -> Self {
        Self { path: format!("/t/{token}{HALL}"), ..self }
    }

    async fn post(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = [&[("x-forwarded-for", self.address)], headers].concat();
        let (key, method, body) = (None, Method::POST, Some(body.to_owned()));
        self.api.send(Ask { key, method, path: &self.path, headers: &headers, body }).await
    }

    async fn says(&self, name: &str, text: &str) -> Answer {
        self.post(&json!({ "name": name, "text": text }).to_string(), &[]).await
    }
}

async fn patch(api: &Api, body: Value) -> Value {
    let answer = api.operate("default", Method::PATCH, "/api/v1/streams/hall", Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

fn read(message: &bus::Message) -> ChatChanges {
    let changes: ChatChanges = serde_json::from_slice(&message.payload).unwrap();
    assert!(changes.is_plausible());
    changes
}

async fn token(api: &Api, body: Value) -> String {
    let made = api.operate("default", Method::POST, "/api/v1/viewer-tokens", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn message_reaches_the_nodes_once_and_only_as_text() {
    let api = Api::start().await;
    let ann = Viewer::at(&api, "192.0.2.1");
    // There is no chat unless the tenant says so, and a stream that is not there answers alike.
    let off = ann.says("Ann", "Hello").await;
    let absent =
        Viewer { path: "/live/nope/chat".to_owned(), ..Viewer::at(&api, "192.0.2.1") }.says("Ann", "Hello").await;
    assert_eq!((off.status, off.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"));
    assert_eq!((absent.status, absent.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"));
    patch(&api, json!({ "chat": { "on": true } })).await;
    let mut heard = api.cluster.listen("streams/+/chat").await;
    let said = ann.says(" A\u{202e}nn ", "<b>Hello</b>\u{0}\u{202e} all\n\n").await;
    assert_eq!(said.status, StatusCode::CREATED, "{}", said.text);
    let said = said.json();
    assert_eq!(
        (&said["author"], &said["text"], &said["role"]),
        (&json!("Ann"), &json!("<b>Hello</b> all"), &json!("guest"))
    );
    let first = read(&next(&mut heard).await);
    assert_eq!((first.previous, first.messages.len()), (0, 1));
    assert_eq!(first.messages[0].text.as_deref(), Some("<b>Hello</b> all"));
    assert_eq!((&json!(first.messages[0].id), &json!(first.messages[0].tag)), (&said["id"], &said["tag"]));
    ann.says("Ann", "again").await;
    let second = read(&next(&mut heard).await);
    assert_eq!((second.previous, second.messages.len()), (first.messages[0].changed, 1));
    // What a node lacks, it asks for.
    let node = api.cluster.member(&format!("{}/cluster/v1", api.base), "b1", Role::Broadcast).await;
    let ask = async |after: u64| -> ChatChanges {
        let url = format!("{}/cluster/v1/chat/hall?after={after}", api.base);
        node.get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    };
    assert_eq!(ask(0).await.messages.len(), 2);
    assert_eq!(ask(first.messages[0].changed).await, second);

    for (body, kind) in [
        (r#"{"name":"Ann","text":""}"#, "invalid"),
        (r#"{"name":"\u202e","text":"x"}"#, "invalid"),
        (r#"{"name":"Ann","text":"x","role":"moderator"}"#, "malformed"),
        ("{", "malformed"),
    ] {
        assert_eq!(Viewer::at(&api, "192.0.2.9").post(body, &[]).await.problem(), kind, "{body}");
    }
    let long = "x".repeat(20_000);
    assert_eq!(ann.says("Ann", &long).await.problem(), "too-large");
    // A page of another site has its visitors write nothing.
    let body = json!({ "name": "Ann", "text": "spam" }).to_string();
    for headers in
        [[("sec-fetch-site", "cross-site")], [("sec-fetch-site", "same-site")], [("origin", "https://evil.example")]]
    {
        let answer = ann.post(&body, &headers).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::FORBIDDEN, "origin-refused"),
            "{headers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_is_slowed_and_moderators_are_not() {
    let api = Api::start().await;
    patch(&api, json!({ "chat": { "on": true } })).await;
    let flood = Viewer::at(&api, "192.0.2.1");
    let mut taken = 0;
    let slowed = loop {
        // Each message under another name: that helps nobody.
        let answer = flood.says(&format!("Ann {taken}"), "spam").await;
        match answer.status {
            StatusCode::CREATED => taken += 1,
            _ => break answer,
        }
        assert!(taken < 20);
    };
    assert_eq!((slowed.status, slowed.problem().as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1 && taken >= 5, "{taken}");
    assert_eq!(Viewer::at(&api, "198.51.100.1").says("Bob", "hello").await.status, StatusCode::CREATED);

    // Slow mode is the stream's; the next message of each writer waits.
    let set = patch(&api, json!({ "chat": { "slow_s": 600 } })).await;
    assert_eq!(set["chat"], json!({ "on": true, "slow_s": 600, "writers": "everybody" }));
    let early = Viewer::at(&api, "198.51.100.1").says("Bob", "more").await;
    assert_eq!(early.status, StatusCode::TOO_MANY_REQUESTS, "{}", early.text);
    let wait: u64 = early.header("retry-after").parse().unwrap();
    assert!((500..=600).contains(&wait), "{wait}");
    let producer = api.secret("default", "producer").await;
    for text in ["one", "two", "three"] {
        let body = json!({ "name": "Host", "text": text }).to_string();
        let headers = [("x-forwarded-for", "203.0.113.1")];
        let (key, method) = (Some(producer.as_str()), Method::POST);
        let said = api.send(Ask { key, method, path: HALL, headers: &headers, body: Some(body) }).await;
        assert_eq!((said.status, &said.json()["role"]), (StatusCode::CREATED, &json!("moderator")), "{}", said.text);
    }
    // One who only reads moderates nothing.
    let viewer = api.secret("default", "viewer").await;
    let ask = Ask {
        key: Some(&viewer),
        method: Method::POST,
        path: HALL,
        headers: &[("x-forwarded-for", "203.0.113.1")],
        body: Some("{}".to_owned()),
    };
    assert_eq!(api.send(ask).await.problem(), "scope-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn banned_writer_stays_away_under_each_name_and_what_it_wrote_goes() {
    let api = Api::start().await;
    patch(&api, json!({ "chat": { "on": true } })).await;
    let mut heard = api.cluster.listen("streams/+/chat").await;
    let key = api.secret("default", "producer").await;
    let (troll, ann) = (Viewer::at(&api, "192.0.2.1"), Viewer::at(&api, "198.51.100.1"));
    let spam = troll.says("Troll", "spam").await.json();
    ann.says("Ann", "hello").await;
    for _ in 0..2 {
        next(&mut heard).await;
    }
    // One message goes, also from the screens of those who have it.
    let path = format!("/api/v1/streams/hall/messages/{}", spam["id"].as_str().unwrap());
    assert_eq!(api.ask(&key, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    let gone = read(&next(&mut heard).await);
    assert_eq!((json!(gone.messages[0].id), gone.messages[0].text.clone()), (spam["id"].clone(), None));

    let more = troll.says("Angel", "more spam").await.json();
    next(&mut heard).await;
    let wrong = json!({ "message": "msg_x", "for_s": 0 });
    assert_eq!(api.ask(&key, Method::POST, "/api/v1/streams/hall/bans", Some(wrong)).await.problem(), "invalid");
    let body = json!({ "message": more["id"], "for_s": 3_600 });
    let ban = api.ask(&key, Method::POST, "/api/v1/streams/hall/bans", Some(body)).await;
    assert_eq!((ban.status, &ban.json()["author"]), (StatusCode::CREATED, &json!("Angel")), "{}", ban.text);
    let gone = read(&next(&mut heard).await);
    assert!(gone.messages.iter().all(|message| message.text.is_none()) && gone.messages.len() == 1, "{gone:?}");
    // Another name, another tab, the same network of a provider.
    for name in ["Troll", "Saint"] {
        let refused = troll.says(name, "I am back").await;
        assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::FORBIDDEN, "banned"));
    }
    assert_eq!(ann.says("Troll", "a name is no writer").await.status, StatusCode::CREATED);
    let listed = api.ask(&key, Method::GET, "/api/v1/streams/hall/messages", None).await.json();
    let shown: Vec<(&str, &str)> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["author"].as_str().unwrap(), row["state"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [("Troll", "shown"), ("Angel", "deleted"), ("Ann", "shown"), ("Troll", "deleted")]);
    assert!(!listed.to_string().contains("192.0.2.1"), "no address is kept");
    let bans = api.ask(&key, Method::GET, "/api/v1/streams/hall/bans", None).await.json();
    let id = bans["items"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/streams/hall/bans/{id}");
    assert_eq!(api.ask(&key, Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(troll.says("Troll", "sorry").await.status, StatusCode::CREATED);

    // A viewer with a token is known by it, wherever it is.
    patch(&api, json!({ "chat": { "writers": "token" } })).await;
    assert_eq!(ann.says("Ann", "hello").await.problem(), "scope-missing");
    let plain = token(&api, json!({ "streams": ["hall"], "sub": "u1" })).await;
    assert_eq!(Viewer::at(&api, "192.0.2.7").with(&plain).says("U", "hello").await.problem(), "scope-missing");
    let wanted = json!({ "streams": ["hall"], "sub": "u81", "chat": true });
    let one = token(&api, wanted.clone()).await;
    let said = Viewer::at(&api, "192.0.2.7").with(&one).says("U", "hello").await;
    assert_eq!((said.status, &said.json()["role"]), (StatusCode::CREATED, &json!("viewer")), "{}", said.text);
    let body = json!({ "message": said.json()["id"] });
    assert_eq!(api.ask(&key, Method::POST, "/api/v1/streams/hall/bans", Some(body)).await.status, StatusCode::CREATED);
    let another = token(&api, wanted).await;
    assert_eq!(Viewer::at(&api, "203.0.113.9").with(&another).says("V", "hello").await.problem(), "banned");
    let elsewhere = token(&api, json!({ "streams": ["*"], "chat": true })).await;
    let path = format!("/t/{elsewhere}/live/nope/chat");
    let nowhere = Viewer { path, ..Viewer::at(&api, "192.0.2.8") }.says("W", "hello").await;
    assert_eq!(nowhere.problem(), "not-found");
    let audit = api.ask(&api.secret("default", "owner").await, Method::GET, "/api/v1/audit", None).await.text;
    for action in ["bans.create", "bans.delete", "messages.delete"] {
        assert!(audit.contains(&format!("\"action\":\"{action}\"")), "{action}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_says_of_pages_is_checked_shown_and_known_to_the_nodes() {
    let api = Api::start().await;
    let node = crate::metadata::Follower::start(&api.cluster, "b1", None).await;
    let before = api.operate("default", Method::GET, "/api/v1/streams/hall", None).await.json();
    assert_eq!(
        (&before["visibility"], &before["origins"], &before["embed"]),
        (&json!("public"), &json!([]), &json!("listed"))
    );
    let wanted = json!({ "visibility": "unlisted", "origins": ["https://town.example"], "embed": "anywhere", "title": "A \"hall\"" });
    let set = patch(&api, wanted).await;
    assert_eq!((&set["visibility"], &set["embed"]), (&json!("unlisted"), &json!("anywhere")), "{set}");
    assert_eq!(set["version"].as_i64(), before["version"].as_i64().map(|version| version + 1));
    node.sees("the sites and who watches", |view| {
        let row = view.streams().find(|stream| stream.name.as_str() == "hall");
        row.is_some_and(|row| {
            let pages = &row.pages;
            row.visibility == metadata::Visibility::Unlisted
                && pages.origins == ["https://town.example"]
                && pages.embed == metadata::Embedding::Anywhere
        })
    })
    .await;
    let path = "/api/v1/streams/hall/embed?base_url=https://live.example";
    let frame = api.operate("default", Method::GET, path, None).await.json();
    assert_eq!((&frame["url"], &frame["needs_token"]), (&json!("https://live.example/live/hall/embed"), &json!(false)));
    let html = frame["html"].as_str().unwrap();
    assert!(
        html.starts_with("<iframe src=\"https://live.example/live/hall/embed\" title=\"A &quot;hall&quot;\""),
        "{html}"
    );
    // null is the default again.
    let unset = patch(&api, json!({ "visibility": null, "origins": null, "embed": null, "title": null })).await;
    assert_eq!(
        (&unset["visibility"], &unset["origins"], &unset["embed"]),
        (&json!("public"), &json!([]), &json!("listed"))
    );
    let wrong = json!({ "visibility": "secret", "origins": ["https://town.example/"], "embed": "here", "chat": { "slow_s": 9_999 } });
    let refused = api.operate("default", Method::PATCH, "/api/v1/streams/hall", Some(wrong)).await;
    let errors: Vec<String> = refused.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(errors, ["#/visibility", "#/embed", "#/origins/0", "#/chat/slow_s"], "{}", refused.text);
    // One that is made for some viewers only is at no moment a public one.
    let new = json!({ "name": "room", "visibility": "token", "chat": { "on": true } });
    let made = api.operate("default", Method::POST, "/api/v1/streams", Some(new)).await.json();
    assert_eq!((&made["visibility"], &made["chat"]["on"]), (&json!("token"), &json!(true)), "{made}");
    let frame = api.operate("default", Method::GET, "/api/v1/streams/room/embed", None).await.json();
    assert_eq!((&frame["needs_token"], &frame["url"]), (&json!(true), &json!("/t/TOKEN/live/room/embed")));
}
