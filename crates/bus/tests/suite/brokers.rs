//! Brokers to test against, that can be killed and started again on the same port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bus::broker::{self, Access, EmbeddedBroker, User, mosquitto_acl, mosquitto_passwords};
use bus::{Bus, Message, Trust};
use messages::Prefix;
use node::tls::BrokerTrust;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest that a test waits for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits `future`, or fails naming what did not happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {PATIENCE:?}: {what}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Mosquitto,
}

enum Running {
    Embedded(JoinHandle<anyhow::Result<()>>),
    Mosquitto(Child),
}

/// Users of all test brokers: an ingest, two broadcast nodes, a control node, an observer.
pub(crate) fn users() -> Vec<User> {
    [
        ("i1", Access::Ingest),
        ("b1", Access::Broadcast),
        ("b2", Access::Broadcast),
        ("l1", Access::LoadBalancer),
        ("c1", Access::Control),
        ("eye", Access::Observer),
    ]
    .into_iter()
    .map(|(name, access)| User { name: name.into(), password: password(name), access })
    .collect()
}

pub(crate) fn password(user: &str) -> String {
    format!("{user}-4d6c1f0a9b")
}

pub(crate) struct TestBroker {
    kind: Kind,
    dir: TempDir,
    port: u16,
    running: Option<Running>,
}

/// Port, certificate and key of Mosquitto's TLS listener.
pub(crate) struct Tls {
    pub(crate) port: u16,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl TestBroker {
    pub(crate) async fn start(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self { kind, dir, port: free_port(), running: None };
        broker.start_again().await;
        broker
    }

    pub(crate) async fn start_mosquitto_with_tls(tls: &Tls) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self { kind: Kind::Mosquitto, dir, port: free_port(), running: None };
        assert!(broker.start_mosquitto(Some(tls)).await, "Mosquitto did not start");
        broker
    }

    /// Kills it, as a crash would.
    pub(crate) async fn kill(&mut self) {
        match self.running.take() {
            Some(Running::Embedded(task)) => {
                task.abort();
                assert!(task.await.is_err());
            }
            Some(Running::Mosquitto(mut child)) => child.kill().await.unwrap(),
            None => {}
        }
    }

    /// Starts it again on its port, with what it has on disk (the embedded broker has nothing there).
    pub(crate) async fn start_again(&mut self) {
        match self.kind {
            Kind::Embedded => self.start_embedded().await,
            Kind::Mosquitto => assert!(self.start_mosquitto(None).await, "Mosquitto did not start again"),
        }
    }

    /// Puts an empty broker in its place.
    pub(crate) async fn replace(&mut self) {
        self.kill().await;
        self.dir = tempfile::tempdir().unwrap();
        self.start_again().await;
    }

    async fn start_embedded(&mut self) {
        let config =
            broker::Config { listen: (Ipv4Addr::LOCALHOST, self.port).into(), users: users(), ..Default::default() };
        let broker = EmbeddedBroker::load(config).await.unwrap();
        self.port = broker.address().port();
        self.running = Some(Running::Embedded(tokio::spawn(broker.run(CancellationToken::new()))));
    }

    async fn start_mosquitto(&mut self, tls: Option<&Tls>) -> bool {
        let config = write_mosquitto_files(self.dir.path(), self.port, tls);
        let mut child = Command::new(mosquitto())
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        while let Some(line) = within("Mosquitto starts", log.next_line()).await.unwrap() {
            let ready = line.contains(" running");
            seen.push(line);
            if ready {
                // The rest of its log is read and dropped, so that Mosquitto never blocks on a full pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
                self.running = Some(Running::Mosquitto(child));
                return true;
            }
        }
        eprintln!("Mosquitto ended at once: {seen:#?}");
        false
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    pub(crate) async fn node(&self, user: &str) -> Node {
        Node::connect(user, &[self.url()]).await
    }
}

/// A bus, logged in as one of the users, and the token that ends it.
pub(crate) struct Node {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) shutdown: CancellationToken,
    // Holds the password file.
    _dir: Arc<TempDir>,
}

impl Node {
    /// Connected to all of `urls` when this returns.
    pub(crate) async fn connect(user: &str, urls: &[String]) -> Self {
        let node = Self::start(user, &password(user), urls, None, None).await;
        node.await_connected(urls.len()).await;
        node
    }

    pub(crate) async fn start(
        user: &str,
        password: &str,
        urls: &[String],
        ca: Option<&Path>,
        will: Option<Message>,
    ) -> Self {
        let (dir, config) = config(user, password, urls, ca);
        let shutdown = CancellationToken::new();
        let trust = ca.map(|ca| Arc::new(BrokerTrust::load(ca).unwrap()) as Arc<dyn Trust>);
        let bus = bus::connect(&config, user, will, trust, shutdown.clone()).await.unwrap();
        Self { bus, shutdown, _dir: dir }
    }

    pub(crate) async fn await_connected(&self, count: usize) {
        let mut connected = self.bus.connected();
        within("the number of connected brokers changes", connected.wait_for(|now| *now == count)).await.unwrap();
    }

    pub(crate) async fn publish(&self, rest: &str, payload: impl Into<Vec<u8>>) {
        self.send(rest, payload, false).await;
    }

    pub(crate) async fn retain(&self, rest: &str, payload: impl Into<Vec<u8>>) {
        self.send(rest, payload, true).await;
    }

    async fn send(&self, rest: &str, payload: impl Into<Vec<u8>>, retain: bool) {
        self.bus.publish(message(rest, payload, retain)).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, rest: &str) -> bus::Subscription {
        self.bus.subscribe(&Prefix::default().filter(rest)).await.unwrap()
    }

    /// Subscribes, and returns once the broker has the subscription, which a probe that came back has shown.
    pub(crate) async fn subscribe_surely(&self, rest: &str, teller: &Self, through: &str) -> bus::Subscription {
        let mut subscription = self.subscribe(rest).await;
        let token = format!("probe-{rest}").into_bytes();
        within("a subscription is there", async {
            loop {
                teller.publish(through, token.clone()).await;
                let probe = tokio::time::timeout(Duration::from_millis(200), subscription.recv());
                if let Ok(Some(message)) = probe.await
                    && message.payload == token
                {
                    return;
                }
            }
        })
        .await;
        subscription
    }
}

/// The next message that is not a probe of [`Node::subscribe_surely`]: rest of the topic, payload as text, retained.
pub(crate) async fn next(subscription: &mut bus::Subscription) -> (String, String, bool) {
    loop {
        let message = within("a message arrives", subscription.recv()).await.expect("the bus is open");
        let payload = String::from_utf8_lossy(&message.payload).into_owned();
        if !payload.starts_with("probe-") {
            let rest = message.topic.strip_prefix("sealcast/v1/").expect("under the prefix").to_owned();
            return (rest, payload, message.retain);
        }
    }
}

pub(crate) fn message(rest: &str, payload: impl Into<Vec<u8>>, retain: bool) -> Message {
    Message { topic: Prefix::default().filter(rest), payload: payload.into().into(), retain }
}

pub(crate) fn config(user: &str, password: &str, urls: &[String], ca: Option<&Path>) -> (Arc<TempDir>, bus::Config) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let password_file = dir.path().join("password");
    std::fs::write(&password_file, format!("{password}\n")).unwrap();
    let config = bus::Config {
        urls: urls.to_vec(),
        username: Some(user.into()),
        password_file: Some(password_file),
        ca: ca.map(Path::to_owned),
        ..Default::default()
    };
    (dir, config)
}

/// A port that nobody listens on now, below those that systems use for outgoing connections: a broker that is down for a moment must find
/// its port still free.
pub(crate) fn free_port() -> u16 {
    std::iter::repeat_with(|| rand::random_range(15_000..30_000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .unwrap()
}

fn mosquitto() -> PathBuf {
    find("mosquitto")
}

pub(crate) fn find(program: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("{program} is not installed: these tests need Debian's packages `mosquitto` and `mosquitto-clients`")
    })
}

fn write_mosquitto_files(dir: &Path, port: u16, tls: Option<&Tls>) -> PathBuf {
    let file = |name: &str| dir.join(name);
    std::fs::write(file("acl"), mosquitto_acl(&users(), &[], &Prefix::default())).unwrap();
    std::fs::write(file("passwords"), mosquitto_passwords(&users(), "")).unwrap();
    let mut config = format!(
        "user root\nallow_anonymous false\nset_tcp_nodelay true\npassword_file {passwords}\nacl_file {acl}\n\
         persistence true\npersistence_location {dir}/\nautosave_interval 1\n\
         max_packet_size {packet}\nmax_queued_messages 4096\nlog_dest stderr\nlog_type all\n\
         listener {port} 127.0.0.1\n",
        passwords = file("passwords").display(),
        acl = file("acl").display(),
        dir = dir.display(),
        packet = bus::PACKET_BYTES_MAX,
    );
    if let Some(tls) = tls {
        config.push_str(&format!(
            "listener {} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
            tls.port,
            tls.certificate.display(),
            tls.key.display()
        ));
    }
    std::fs::write(file("mosquitto.conf"), config).unwrap();
    file("mosquitto.conf")
}
