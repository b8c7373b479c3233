//! A control node with a broker, and those who ask it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bus::broker::{Access, EmbeddedBroker, User};
use bus::{Message, Subscription};
use control::{Config, Control, StreamConfig};
use media::{ClusterId, NodeId, StreamId};
use messages::{Prefix, Role};
use node::ops::Ops;
use node::tls::{Authority, Identity, Server};
use node::{CancellationToken, Redacted};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

const PASSWORD: &str = "only for this test";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) broker: SocketAddr,
    pub(crate) all: CancellationToken,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new()).unwrap();
        std::fs::write(directory.path().join("password"), PASSWORD).unwrap();
        let user = |name: &str, access| User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let config = bus::broker::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            users: vec![
                user("c1", Access::Control),
                user("looker", Access::Observer),
                user("b1", Access::Broadcast),
                user("b2", Access::Broadcast),
                user("i1", Access::Ingest),
                user("i2", Access::Ingest),
            ],
            ..bus::broker::Config::default()
        };
        let broker = EmbeddedBroker::load(config).await.unwrap();
        let address = broker.address();
        let all = CancellationToken::new();
        tokio::spawn(broker.run(all.clone()));
        Self { directory, authority, broker: address, all }
    }

    /// The same cluster, with a copy of all its files.
    pub(crate) fn twin(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(self.directory.path(), directory.path());
        let authority = Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new()).unwrap();
        Self { directory, authority, broker: self.broker, all: CancellationToken::new() }
    }

    pub(crate) fn bus(&self, user: &str) -> bus::Config {
        bus::Config {
            urls: vec![format!("mqtt://{}", self.broker)],
            username: Some(user.to_owned()),
            password_file: Some(self.directory.path().join("password")),
            ..bus::Config::default()
        }
    }

    /// Runs a control node with one configured stream; returns its base URL.
    pub(crate) async fn control(&self) -> String {
        self.control_until(self.all.clone()).await.0
    }

    /// The same with this configuration, until `end`.
    pub(crate) async fn control_with(
        &self,
        config: Config,
        end: CancellationToken,
    ) -> (String, tokio::task::JoinHandle<anyhow::Result<()>>) {
        let context = self.context("c1", Role::Control, true, &end).await;
        let control = Control::load(config, context).await.unwrap();
        let base = format!("https://{}/cluster/v1", control.data_address());
        (base, tokio::spawn(control.run(end)))
    }

    /// What a node starts with; `broker` is false for one that reaches none.
    pub(crate) async fn context(&self, name: &str, role: Role, broker: bool, end: &CancellationToken) -> node::Context {
        let id = NodeId::new(name).unwrap();
        let nowhere = bus::Config { urls: vec!["mqtt://127.0.0.1:9".to_owned()], ..self.bus(name) };
        let setup = node::Setup {
            id: id.clone(),
            role,
            cluster: ClusterId::new("test").unwrap(),
            data: self.directory.path().join(name),
            bus: if broker { self.bus(name) } else { nowhere },
            identity: self.authority.issue(&id, role, &[]).unwrap(),
            ops: Ops::new(),
        };
        setup.start(end.clone()).await.unwrap()
    }

    /// The same until `end`; the task is done when the node has stopped.
    pub(crate) async fn control_until(
        &self,
        end: CancellationToken,
    ) -> (String, tokio::task::JoinHandle<anyhow::Result<()>>) {
        self.control_with(config(), end).await
    }

    /// An HTTP client with a certificate of this role.
    pub(crate) fn client(&self, name: &str, role: Role) -> Client {
        let paths = self.authority.issue(&NodeId::new(name).unwrap(), role, &[]).unwrap();
        Identity::load(&paths).unwrap().http_client(Server::Node(Role::Control, NodeId::new("c1").unwrap())).unwrap()
    }

    pub(crate) async fn listen(&self, filter: &str) -> Subscription {
        let bus = bus::connect(&self.bus("looker"), "looker", None, None, self.all.clone()).await.unwrap();
        let subscription = bus.subscribe(&Prefix::default().filter(filter)).await.unwrap();
        let all = self.all.clone();
        // The bus lives as long as somebody holds it.
        tokio::spawn(async move {
            all.cancelled().await;
            drop(bus);
        });
        subscription
    }

    /// The operator's client: `sealcast` asks with the certificate of the control node.
    pub(crate) fn operator(&self) -> Client {
        self.client("c1", Role::Control)
    }

    /// A client with the certificate that a thief of the authority's key signs for a name that may be another node's.
    pub(crate) fn thief(&self, name: &str, role: Role) -> Client {
        let certs = self.directory.path().join("certs");
        let stolen = tempfile::tempdir().unwrap();
        for file in ["ca.pem", "ca.key"] {
            std::fs::copy(certs.join(file), stolen.path().join(file)).unwrap();
        }
        let authority = Authority::ensure(stolen.path(), &node::clock::Clock::new()).unwrap();
        let paths = authority.issue(&NodeId::new(name).unwrap(), role, &[]).unwrap();
        Identity::load(&paths).unwrap().http_client(Server::Node(Role::Control, NodeId::new("c1").unwrap())).unwrap()
    }

    /// A client of an ingest that has said what it is, and so is a member.
    pub(crate) async fn ingest(&self, base: &str, name: &str) -> Client {
        self.member(base, name, Role::Ingest).await
    }

    /// The same of any role; the operator adds a control node.
    pub(crate) async fn member(&self, base: &str, name: &str, role: Role) -> Client {
        let client = self.client(name, role);
        if role == Role::Control {
            let pem = std::fs::read_to_string(self.directory.path().join(format!("certs/{name}.pem"))).unwrap();
            let (url, new) = (format!("{base}/admin/nodes/{name}/add"), serde_json::json!({ "certificate": pem }));
            let (status, answer) = json(&self.operator(), Method::POST, url, Some(new)).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            return client;
        }
        let said = serde_json::json!({ "level": 1 });
        let (status, answer) = json(&client, Method::POST, format!("{base}/metadata/self"), Some(said)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        client
    }
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// One configured stream.
pub(crate) fn config() -> Config {
    let key = Some(Redacted::new("for-this-test-only".to_owned()));
    let streams = vec![StreamConfig { name: StreamId::new("hall").unwrap(), key, pool: None, key_file: None }];
    Config { streams, ..Config::default() }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

pub(crate) async fn next(subscription: &mut Subscription) -> Message {
    tokio::time::timeout(PATIENCE, subscription.recv()).await.expect("a message comes").expect("the bus is open")
}

pub(crate) async fn json(client: &Client, method: Method, url: String, body: Option<Value>) -> (StatusCode, Value) {
    let request = client.request(method, url);
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
