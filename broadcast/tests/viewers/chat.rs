//! Chat on its way down: events for whoever may watch, for as long as they may.

use std::collections::BTreeMap;
use std::time::Duration;

use access::{ChatRules, ChatWriters, Facts, PageSettings, Visibility};
use media::StreamId;
use messages::{ChatChanges, ChatMessage, ChatRole};
use metadata::{RevokedTokens, TokenId};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use testkit::wait::PATIENCE;

use crate::site::Site;
use crate::snapshots::SEGMENT;
use crate::tokens::{claims, facts, token};

const EVENTS: &str = "/live/demo/events";
/// Case L3.
const CROWD: usize = 5_000;
/// Of one connection; a node takes 128 requests at once.
const OF_ONE: usize = 125;

fn with_chat(visibility: Visibility, slow_s: u64) -> Facts {
    let chat = Some(ChatRules { slow_s, writers: ChatWriters::Everybody });
    let settings = PageSettings { chat, ..PageSettings::default() };
    Facts { pages: BTreeMap::from([(demo(), settings)]), ..facts(visibility) }
}

fn demo() -> StreamId {
    StreamId::new("demo").unwrap()
}

fn said(n: u64) -> ChatMessage {
    ChatMessage {
        id: format!("msg_{n}"),
        author: "Ann".to_owned(),
        role: ChatRole::Guest,
        tag: "00ff".to_owned(),
        text: Some(format!("number {n}")),
        at: 7,
        changed: n,
    }
}

fn changes(previous: u64, messages: &[ChatMessage]) -> ChatChanges {
    ChatChanges { previous, messages: messages.to_vec() }
}

/// One who reads.
struct Reader {
    response: Response,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Reader {
    async fn open(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::of(site.send(&site.http2, Method::GET, path, headers).await)
    }

    fn of(response: Response) -> Self {
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
                };
                let event = field("event").map(|name| Event {
                    name,
                    id: field("id"),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    async fn texts(&mut self) -> (bool, Vec<Value>) {
        let event = self.next().await.expect("it goes on");
        assert_eq!(event.name, "chat", "{event:?}");
        let texts = event.data["messages"].as_array().unwrap().iter().map(|message| message["text"].clone()).collect();
        (event.data["reset"].as_bool().unwrap(), texts)
    }

    async fn state(&mut self) -> Value {
        let event = self.next().await.expect("it goes on");
        assert_eq!(event.name, "state", "{event:?}");
        event.data
    }
}

#[tokio::test]
async fn reader_gets_the_history_and_all_that_follows_once() {
    let site = Site::start().await;
    assert_eq!(site.get(EVENTS, &[]).await.status, 404, "no chat unless the tenant says so");
    site.obey(with_chat(Visibility::Public, 5));
    let mut ann = Reader::open(&site, EVENTS, &[]).await;
    assert_eq!(ann.response.headers()["cache-control"], "no-store");
    assert_eq!(ann.response.headers()["priority"], "u=7, i");
    assert_eq!(
        ann.state().await,
        json!({ "paused": true, "slow_s": 5, "writers": "everybody" }),
        "control is not there"
    );
    // First nothing, because control was not asked yet.
    assert_eq!(ann.texts().await, (true, vec![]));
    site.chat.pause(false);
    assert_eq!(ann.state().await["paused"], false);
    site.chat.heard(&demo(), changes(0, &[said(9)]));
    site.chat.answered(&demo(), changes(0, &[said(1), said(2)]));
    assert_eq!(ann.texts().await, (true, vec![json!("number 1"), json!("number 2")]));
    site.chat.heard(&demo(), changes(2, &[said(3)]));
    assert_eq!(ann.texts().await, (false, vec![json!("number 3")]));
    // From the second broker.
    site.chat.heard(&demo(), changes(2, &[said(3)]));
    site.chat.heard(&demo(), changes(3, &[ChatMessage { text: None, changed: 4, ..said(1) }]));
    let deleted = ann.next().await.unwrap();
    assert_eq!((deleted.id.as_deref(), &deleted.data["messages"][0]["id"]), (Some("4"), &json!("msg_1")));
    assert_eq!(deleted.data["messages"][0]["text"], Value::Null);

    // Who comes later gets what is there; who comes back, what is new.
    let mut bob = Reader::open(&site, EVENTS, &[]).await;
    bob.state().await;
    assert_eq!(bob.texts().await, (true, vec![json!("number 2"), json!("number 3")]));
    for (path, headers) in [(EVENTS.to_owned(), &[("last-event-id", "3")][..]), (format!("{EVENTS}?after=3"), &[])] {
        let mut back = Reader::open(&site, &path, headers).await;
        back.state().await;
        assert_eq!(back.texts().await, (false, vec![Value::Null]));
    }
    site.chat.pause(true);
    assert_eq!(bob.state().await["paused"], true);
    site.obey(with_chat(Visibility::Public, 60));
    assert_eq!(bob.state().await["slow_s"], 60);
    let listed = site.get("/api/v1/streams/demo", &[]).await;
    assert_eq!(serde_json::from_slice::<Value>(&listed.body).unwrap()["chat"], json!({ "slow_s": 60 }));
    site.obey(facts(Visibility::Public));
    assert_eq!(bob.next().await, None, "the chat is over");
}

#[tokio::test]
async fn right_to_read_ends_with_the_right_to_watch() {
    let site = Site::start().await;
    site.obey(with_chat(Visibility::Token, 0));
    let (hidden, absent) = (site.get(EVENTS, &[]).await, site.get("/live/nope/events", &[]).await);
    assert_eq!((hidden.status, &hidden.headers, &hidden.body), (404, &absent.headers, &absent.body));
    let path = format!("/t/{}{EVENTS}", token(&claims("demo")));
    let mut holder = Reader::open(&site, &path, &[]).await;
    holder.state().await;
    let revoked = vec![RevokedTokens::Token(TokenId([5; 8]))];
    site.obey(Facts { revoked, ..with_chat(Visibility::Token, 0) });
    while let Some(event) = holder.next().await {
        assert_eq!(event.name, "chat", "{event:?}");
    }
    site.obey(with_chat(Visibility::Public, 0));
    let mut anybody = Reader::open(&site, EVENTS, &[]).await;
    anybody.state().await;
    site.obey(with_chat(Visibility::Token, 0));
    while let Some(event) = anybody.next().await {
        assert_eq!(event.name, "chat", "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crowd_of_readers_gets_each_message_and_costs_the_picture_nothing() {
    let site = Site::start().await;
    site.obey(with_chat(Visibility::Public, 0));
    let clients: Vec<Client> = (0..CROWD / OF_ONE).map(|_| site.client(b"h2")).collect();
    let mut readers = Vec::with_capacity(CROWD);
    for client in &clients {
        // The first makes the connection.
        readers.push(Reader::of(site.send(client, Method::GET, EVENTS, &[]).await));
        let opened = (1..OF_ONE).map(|_| site.send(client, Method::GET, EVENTS, &[]));
        readers.extend(futures_util::future::join_all(opened).await.into_iter().map(Reader::of));
    }
    site.chat.answered(&demo(), changes(0, &[said(1)]));
    let reading = readers.into_iter().map(|mut reader| {
        tokio::spawn(async move {
            let mut last = Value::Null;
            while last != "number 3" {
                let event = reader.next().await.expect("it goes on");
                if event.name == "chat" {
                    last = event.data["messages"]
                        .as_array()
                        .unwrap()
                        .last()
                        .map_or(last, |message| message["text"].clone());
                }
            }
            reader
        })
    });
    let reading: Vec<_> = reading.collect();
    site.chat.heard(&demo(), changes(1, &[said(2)]));
    site.chat.heard(&demo(), changes(2, &[said(3)]));
    let picture = tokio::time::timeout(Duration::from_secs(10), site.get(SEGMENT, &[])).await;
    assert_eq!(picture.expect("chats hold up no picture").status, 200);
    for reader in reading {
        reader.await.unwrap();
    }
}
