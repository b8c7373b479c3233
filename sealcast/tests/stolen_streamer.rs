//! Somebody has the whole folder of a streamer: certificate, key, broker login, sealing key and grant. He tries everything with the
//! streams of others, at the bus, the data planes of nodes, and control; they go on, and so does the streamer's own.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Message, Subscription};
use bytes::Bytes;
use media::Digest;
use messages::Role;
use node::CancellationToken;
use node::tls::{BrokerTrust, Identity, IdentityPaths, Server};
use reqwest::{Client, Method, StatusCode};
use seal::{SealingKey, Signer as _, sign_seal};
use serde_json::{Value, json};
use testkit::hls::playlist;
use testkit::process::Process;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up, read_ready, text};
use testkit::wait::{eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");
const CHOIR_KEY: &str = "key-of-the-choir";
const STREAMS: &str = "[[streams]]\nname = \"choir\"\nkey = \"key-of-the-choir\"\n";

fn ok(directory: &Path, arguments: &[&str]) -> String {
    let output = sealcast::command(SEALCAST).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cluster with a live stream `hall`, and the streamer `anna` with the stream `choir`.
struct Target {
    /// Where commands are given: `data` and the folder `anna` are in it.
    directory: PathBuf,
    http: Client,
    /// Where viewers are served.
    https: String,
    broker: String,
    broker_ca: Option<PathBuf>,
    /// Somebody who reads everything at the broker: name and file of the password.
    watcher: (&'static str, PathBuf),
    /// Data plane of the node.
    data: String,
}

async fn login(target: &Target, name: &str, id: &str, password_file: PathBuf) -> Arc<dyn Bus> {
    let config = bus::Config {
        urls: vec![target.broker.clone()],
        username: Some(name.to_owned()),
        password_file: Some(password_file),
        ca: target.broker_ca.clone(),
        ..bus::Config::default()
    };
    let trust = target.broker_ca.as_ref().map(|ca| Arc::new(BrokerTrust::load(ca).unwrap()) as Arc<dyn bus::Trust>);
    let bus = bus::connect(&config, id, None, trust, CancellationToken::new()).await.unwrap();
    let mut connected = bus.connected();
    let logged_in = connected.wait_for(|brokers| *brokers == 1);
    tokio::time::timeout(Duration::from_secs(20), logged_in).await.expect("the broker lets it in").unwrap();
    bus
}

async fn say(bus: &Arc<dyn Bus>, rest: &str, payload: &'static str) {
    let message =
        Message { topic: format!("sealcast/v1/{rest}"), payload: Bytes::from_static(payload.as_bytes()), retain: true };
    // A broker that refuses is not asked again.
    let _ = bus.publish(message).await;
}

/// Everything that comes until a payload does.
async fn until(subscription: &mut Subscription, last: &str) -> Vec<Message> {
    let mut heard = Vec::new();
    let all = async {
        loop {
            let message = subscription.recv().await.expect("the bus is open");
            if message.payload == last.as_bytes() {
                return;
            }
            heard.push(message);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap_or_else(|_| panic!("no {last}"));
    heard
}

impl Target {
    fn machine(&self) -> PathBuf {
        self.directory.join("anna")
    }

    fn thief(&self, server: Server) -> Client {
        let file = |end: &str| self.machine().join(end);
        let paths = IdentityPaths { certificate: file("anna.pem"), key: file("anna.key"), ca: file("ca.pem") };
        Identity::load(&paths).unwrap().http_client(server).unwrap()
    }

    fn sealing_key(&self) -> SealingKey {
        ingest::sealing_key_in(&self.machine().join("data/anna")).unwrap()
    }

    async fn newest_seal(&self) -> Bytes {
        let url = format!("{}/live/hall/seals?from=0", self.https);
        let log = testkit::http::get_bytes(&self.http, &url).await;
        seal::sequence::split(&Bytes::from(log)).last().unwrap().unwrap()
    }

    /// Says what is not hers on every topic, and listens to what she may not hear.
    async fn attack_the_bus(&self) {
        let watcher = login(self, self.watcher.0, self.watcher.0, self.watcher.1.clone()).await;
        let mut all = watcher.subscribe("sealcast/v1/#").await.unwrap();
        let thief = login(self, "anna", "anna", self.machine().join("anna.password")).await;
        let mut stolen = Vec::new();
        for filter in
            ["#", "sealcast/v1/#", "sealcast/v1/streams/hall/+", "sealcast/v1/streams/+/seals", "sealcast/v1/alerts"]
        {
            stolen.push(thief.subscribe(filter).await.unwrap());
        }
        let mut own = thief.subscribe("sealcast/v1/streams/choir/+").await.unwrap();
        for rest in [
            "streams/hall/session",
            "streams/hall/seals",
            "streams/hall/head",
            "streams/hall/input",
            "nodes/b1",
            "nodes/ingest",
            "policy",
            "metadata/log",
            "metadata/head",
            "catalogue/update",
            "alerts",
        ] {
            say(&thief, rest, "forged").await;
        }
        say(&thief, "streams/choir/input", "the thief was here").await;
        let heard = until(&mut all, "the thief was here").await;
        let forged: Vec<&str> =
            heard.iter().filter(|message| message.payload == "forged").map(|message| message.topic.as_str()).collect();
        assert!(forged.is_empty(), "{forged:?}");
        until(&mut own, "the thief was here").await;
        // Seals of the hall are said twice a second: one has come by now, and the broker keeps the newest of each.
        let url = format!("{}/live/hall/audio/index.m3u8", self.https);
        let before = testkit::http::get(&self.http, &url).await;
        eventually_async("the hall goes on", Duration::from_secs(30), async || {
            (testkit::http::get(&self.http, &url).await != before).then_some(())
        })
        .await;
        for subscription in &mut stolen {
            let stolen = futures_util::FutureExt::now_or_never(subscription.recv()).flatten();
            let of_others =
                stolen.filter(|message| message.topic.contains("/hall/") || message.topic.ends_with("alerts"));
            assert!(of_others.is_none(), "{of_others:?}");
        }
        drop((thief, watcher));
    }

    /// Pushes, fences and reads what is not hers at the data plane of a node.
    async fn attack_the_node(&self) {
        let thief = self.thief(Server::Any(Role::Broadcast));
        let seal = self.newest_seal().await;
        let (_, mut body) = seal::peek(&seal).unwrap();
        (body.sequence, body.previous) = (body.sequence.next(), seal::digest(&seal));
        let forged = sign_seal(&body, &self.sealing_key()).unwrap().raw().clone();
        let epoch = body.epoch;
        for (method, path, content) in [
            (Method::PUT, "seals".to_owned(), forged.clone()),
            (Method::PUT, "seals".to_owned(), seal.clone()),
            (Method::PUT, format!("audio/{epoch}/9999.0.m4s"), Bytes::from_static(b"forged")),
            (Method::POST, "fence".to_owned(), Bytes::new()),
            (Method::GET, "head".to_owned(), Bytes::new()),
            (Method::GET, "seals".to_owned(), Bytes::new()),
            (Method::GET, format!("audio/{epoch}/init.mp4"), Bytes::new()),
        ] {
            let url = format!("{}/live/hall/{path}", self.data);
            let answer = thief.request(method.clone(), &url).body(content).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
        }
        // As a seal of her own stream, whose topic and path she may use: it says which stream it is of.
        let url = format!("{}/live/choir/seals", self.data);
        let answer = thief.put(url).body(forged).send().await.unwrap();
        let (status, why) = (answer.status(), answer.text().await.unwrap());
        assert!(status == StatusCode::UNPROCESSABLE_ENTITY && why == "refused: identity\n", "{status}: {why}");
    }

    /// Asks control for grants, keys, members and statements of others, and gives the operator's commands.
    async fn attack_control(&self) {
        let thief = self.thief(Server::Any(Role::Control));
        let admin: Value =
            serde_json::from_slice(&std::fs::read(self.directory.join("data/admin.json")).unwrap()).unwrap();
        let base = format!("{}/cluster/v1", text(&admin, "control"));
        let certificate = std::fs::read_to_string(self.machine().join("anna.pem")).unwrap();
        let hers = json!({ "certificate": certificate, "streams": ["choir", "hall"] });
        let nothing = Value::Null;
        for (method, path, body) in [
            (Method::GET, "admin/streams", &nothing),
            (Method::POST, "admin/streams", &json!({ "name": "mine" })),
            (Method::GET, "admin/streams/hall", &nothing),
            (Method::POST, "admin/streams/hall/rotate-key", &nothing),
            (Method::DELETE, "admin/streams/hall", &nothing),
            (Method::GET, "admin/keys", &nothing),
            (Method::POST, "admin/keys/0123456789abcdef0123456789abcdef/revoke", &nothing),
            (Method::GET, "admin/streamers", &nothing),
            (Method::POST, "admin/streamers/anna", &hers),
            (Method::POST, "admin/nodes/anna/add", &json!({ "certificate": certificate })),
            (Method::POST, "admin/nodes/b1/drain", &nothing),
            (Method::POST, "admin/nodes/b1/revoke", &nothing),
            (Method::GET, "admin/metadata", &nothing),
            (Method::POST, "admin/metadata/branch", &nothing),
            (Method::GET, "admin/metadata/root", &nothing),
            (Method::POST, "admin/metadata/root", &nothing),
            (Method::POST, "metadata/self", &json!({ "level": 1, "public_url": "https://evil.example" })),
        ] {
            let request = thief.request(method.clone(), format!("{base}/{path}"));
            let answer = if body.is_null() { request } else { request.json(body) }.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
        }
        // A key of the shared ingest's, which everybody can read, and one of her own.
        let stream = "hall".parse().unwrap();
        let trust = testkit::http::get_bytes(&self.http, &format!("{}/api/v1/trust/hall", self.https)).await;
        let trust = metadata::Trust::decode(&trust).unwrap();
        let mut roots = metadata::Roots::begin(&trust.roots, None).unwrap();
        let of_another = trust.verify(&mut roots, &stream).unwrap().keys[0].public_key.as_bytes().to_vec();
        let grant = async |key: Vec<u8>| thief.post(format!("{base}/grants")).body(key).send().await.unwrap().status();
        assert_eq!(grant(of_another).await, StatusCode::FORBIDDEN);
        assert_eq!(grant(self.sealing_key().public_key_bytes()).await, StatusCode::OK, "for her own stream");
        let table: Value = thief.get(format!("{base}/streams")).send().await.unwrap().json().await.unwrap();
        let names: Vec<&str> =
            table["streams"].as_array().unwrap().iter().map(|entry| text_of(&entry["name"])).collect();
        assert_eq!(names, ["choir"], "and nothing of the keys of others: {table}");
        assert_eq!(table.as_object().unwrap().len(), 1, "{table}");
        let delegation = seal::Delegation {
            cluster: "sealcast".parse().unwrap(),
            stream,
            session: media::SessionId(Digest([7; 32]).0[..16].try_into().unwrap()),
            key: self.sealing_key().key_id(),
            from: node::clock::Clock::new().wall(),
            until: node::clock::Clock::new().wall().plus(Duration::from_secs(600)),
        };
        let signed = delegation.sign(&self.sealing_key()).unwrap().raw().clone();
        let answer = thief.post(format!("{base}/delegations")).body(signed).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }

    /// What the operator sees when it is over: everything is as it was.
    async fn assert_unharmed(&self, before: &Value) {
        let streams = |text: &str| {
            let all: Value = serde_json::from_str(text).unwrap();
            all.as_array()
                .unwrap()
                .iter()
                .map(|one| (text_of(&one["name"]).to_owned(), one["key_hint"].clone()))
                .collect::<Vec<_>>()
        };
        let listed = streams(&ok(&self.directory, &["stream", "list", "--json", "--config", "operator.toml"]));
        let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["choir", "hall"]);
        let streamers = ok(&self.directory, &["streamer", "list", "--json", "--config", "operator.toml"]);
        assert_eq!(
            serde_json::from_str::<Value>(&streamers).unwrap(),
            json!([{ "node": "anna", "streams": ["choir"] }])
        );
        let nodes: Value =
            serde_json::from_str(&ok(&self.directory, &["node", "list", "--json", "--config", "operator.toml"]))
                .unwrap();
        assert!(
            nodes.as_array().unwrap().iter().all(|node| node["drained"] == false && node["revoked"] == false),
            "{nodes}"
        );
        let shown = self.shown("hall").await;
        for field in ["ingest", "state", "started_at"] {
            assert_eq!(shown[field], before[field], "the publisher of the hall has noticed nothing");
        }
    }

    /// The session of a stream.
    async fn shown(&self, stream: &str) -> Value {
        let text = ok(&self.directory, &["stream", "show", stream, "--json", "--config", "operator.toml"]);
        serde_json::from_str::<Value>(&text).unwrap()["session"].clone()
    }

    /// The streamer starts her ingest, with the same folder.
    async fn her_own_stream_goes_on(&self, file: &Path) {
        let machine = self.machine();
        let made = std::fs::read_to_string(machine.join("sealcast.toml")).unwrap();
        std::fs::write(machine.join("sealcast.toml"), format!("rtmp_listen = \"127.0.0.1:0\"\n{made}")).unwrap();
        let mut command = sealcast::command(SEALCAST);
        command.args(["ingest", "--ops-listen", "127.0.0.1:0", "--ready-file", "ready.json"]);
        let mut own = Process::spawn("the streamer's ingest", command.current_dir(&machine));
        let ready = read_ready(&machine.join("ready.json"), &mut own).await;
        let _publisher = publish(file, &text(&ready, "rtmp"), CHOIR_KEY);
        playlist(&self.http, &self.https, "choir", "audio", 2).await;
    }

    async fn attack_everything(&self, file: &Path) {
        let before = self.shown("hall").await;
        assert_eq!(before["state"], "live", "{before}");
        self.attack_control().await;
        self.attack_the_bus().await;
        self.attack_the_node().await;
        self.assert_unharmed(&before).await;
        self.her_own_stream_goes_on(file).await;
        self.assert_unharmed(&before).await;
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Where the data plane of `b1` is, as its presence says.
fn data_plane(directory: &Path) -> String {
    let nodes = ok(directory, &["node", "list", "--json", "--config", "operator.toml"]);
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    let b1 = nodes.as_array().unwrap().iter().find(|node| node["node"] == "b1").unwrap();
    text(b1, "data")
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_streamer_harms_nobody_else_at_the_embedded_broker() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    let configured = format!(
        "[[role.ingest.pipeline.rungs]]\nshort_side = 240\n\n[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n\n{STREAMS}"
    );
    std::fs::write(directory.path().join("sealcast.toml"), &configured).unwrap();
    std::fs::write(directory.path().join("operator.toml"), &configured).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source", "--broadcast", "1"]).await;
    let here = up.directory.path().to_owned();
    let file = clip(&here, Clip::default());
    let _publisher = publish(&file, &up.rtmp(), "for-this-test-only");
    playlist(&up.http, &up.https(), "hall", "audio", 2).await;
    ok(&here, &["streamer", "add", "anna", "--stream", "choir", "--out", "anna"]);
    std::fs::create_dir_all(here.join("anna/data/anna")).unwrap();
    let target = Target {
        http: up.http.clone(),
        https: up.https(),
        broker: text(&json!({ "url": up.ready["mqtt"][0] }), "url"),
        broker_ca: None,
        watcher: ("observer", here.join("data/bus/observer.password")),
        data: data_plane(&here),
        directory: here,
    };
    target.attack_everything(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_streamer_harms_nobody_else_at_mosquitto() {
    let _turn = turn().await;
    let mut cluster = testkit::cluster::Cluster::start(SEALCAST).await;
    let here = cluster.directory.path().to_owned();
    cluster.settings = format!("\n{STREAMS}");
    let _control = cluster.node("control").await;
    cluster.settings = "\n[[role.ingest.pipeline.rungs]]\nshort_side = 240\n".to_owned();
    let node = cluster.node("b1").await;
    let ingest = cluster.node("ingest").await;
    let file = clip(&here, Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), testkit::cluster::KEY);
    let https = text(&node.ready["broadcast"][0], "https");
    playlist(&cluster.http, &https, testkit::cluster::STREAM, "audio", 2).await;
    std::fs::copy(here.join("control.toml"), here.join("operator.toml")).unwrap();
    let add = ["streamer", "add", "anna", "--stream", "choir", "--out", "anna", "--dir", "certs"];
    ok(&here, &[&add[..], &["--config", "operator.toml"]].concat());
    std::fs::create_dir_all(here.join("anna/data/anna")).unwrap();
    // It reads its users and rules again.
    cluster.broker.signal("HUP");
    let target = Target {
        http: cluster.http.clone(),
        https,
        broker: text(&json!({ "url": broker_of(&here) }), "url"),
        broker_ca: Some(here.join("certs/broker/broker-ca.pem")),
        watcher: ("observer", here.join("certs/observer.password")),
        data: data_plane(&here),
        directory: here,
    };
    target.attack_everything(&file).await;
}

/// Where nodes find the broker, as the folder of the streamer has it.
fn broker_of(directory: &Path) -> String {
    let text = std::fs::read_to_string(directory.join("anna/sealcast.toml")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("urls = [\"")).unwrap();
    line.split('"').next().unwrap().to_owned()
}
