//! A cluster of plain processes, one role each, around a real Mosquitto, with the certificates of `sealcast certs cluster`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::http::client;
use crate::process::{Process, free_port};
use crate::sealcast::{self, read_ready, text};
use crate::wait::eventually;

/// A broker, an authority, and the processes of the nodes.
pub struct Cluster {
    /// Path to `sealcast`.
    program: PathBuf,
    pub directory: tempfile::TempDir,
    pub broker: Process,
    broker_address: SocketAddr,
    /// Where the control nodes are, by name.
    controls: BTreeMap<String, String>,
    /// Additional settings of every node, in TOML.
    pub settings: String,
    /// Additional arguments of every control node.
    pub control_arguments: Vec<String>,
    pub http: reqwest::Client,
}

/// One node's process, and its ready file.
pub struct Node {
    pub process: Process,
    pub ready: Value,
}

/// A stream that the cluster is configured with.
pub const STREAM: &str = "hall";
/// Key of that stream.
pub const KEY: &str = "for-this-test-only";

/// Nodes that the broker knows: name and role.
const NODES: [(&str, &str); 8] = [
    ("control", "control"),
    ("control2", "control"),
    ("ingest", "ingest"),
    ("ingest2", "ingest"),
    ("lb", "loadbalancer"),
    ("b1", "broadcast"),
    ("b2", "broadcast"),
    ("b3", "broadcast"),
];

impl Cluster {
    /// Makes all certificates with the `sealcast` at `program`, and starts Mosquitto.
    pub async fn start(program: impl AsRef<Path>) -> Self {
        let program = program.as_ref().to_owned();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut certs = sealcast::command(&program);
        certs.args(["certs", "cluster", "--broker", "mosquitto", "--dir"]).arg(directory.path().join("certs"));
        for (id, role) in NODES {
            certs.arg("--node").arg(format!("{id}={role}"));
        }
        assert!(certs.stdout(Stdio::null()).status().expect("sealcast starts").success());
        let port = free_port();
        let broker_address = SocketAddr::from(([127, 0, 0, 1], port));
        let broker = start_mosquitto(directory.path(), broker_address);
        eventually("Mosquitto to listen", || std::net::TcpStream::connect(broker_address).ok()).await;
        let http = client(&directory.path().join("certs/ca.pem"));
        Self {
            program,
            directory,
            broker,
            broker_address,
            controls: BTreeMap::new(),
            settings: String::new(),
            control_arguments: Vec::new(),
            http,
        }
    }

    /// Starts a node and waits until it serves.
    pub async fn node(&mut self, id: &str) -> Node {
        let role = NODES.iter().find(|(name, _)| *name == id).expect("a node that the broker knows").1;
        let config = self.write_config(id, role);
        let ready_file = self.path(&format!("{id}.ready.json"));
        let _ = std::fs::remove_file(&ready_file);
        let mut command = sealcast::command(&self.program);
        command.arg(role).args(["--id", id, "--log", "info", "--ops-listen", "127.0.0.1:0", "--config"]).arg(&config);
        command.arg("--ready-file").arg(&ready_file).current_dir(self.directory.path());
        if role == "control" {
            command.args(&self.control_arguments);
        }
        command.stderr(std::fs::File::create(self.path(&format!("{id}.log"))).expect("a log file"));
        let mut process = Process::spawn(id, &mut command);
        let ready = read_ready(&ready_file, &mut process).await;
        if role == "control" {
            let admin = std::fs::read(self.path("data/admin.json")).expect("the control node wrote it");
            let admin: Value = serde_json::from_slice(&admin).expect("JSON");
            self.controls.insert(id.to_owned(), text(&admin, "control"));
        }
        Node { process, ready }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_config(&self, id: &str, role: &str) -> PathBuf {
        let mut toml = format!(
            r#"data = "data"
root_key = "data/control/root.pub"
control = {control}
rtmp_listen = "127.0.0.1:0"
https_listen = "127.0.0.1:0"

[node]
identities = "certs/{role}"

[bus]
urls = ["mqtts://{broker}"]
"#,
            control = serde_json::json!(self.controls.values().collect::<Vec<_>>()),
            broker = self.broker_address,
        );
        if role == "control" {
            write!(toml, "\n[[streams]]\nname = \"{STREAM}\"\nkey = \"{KEY}\"\n").expect("written to a string");
        }
        toml.push_str(&self.settings);
        let path = self.path(&format!("{id}.toml"));
        std::fs::write(&path, toml).expect("written");
        path
    }

    /// The log of a node.
    pub fn log(&self, id: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{id}.log"))).unwrap_or_default()
    }

    /// Stops the broker and starts an empty one in its place.
    pub async fn replace_broker(&mut self) {
        self.broker.kill();
        self.broker = start_mosquitto(self.directory.path(), self.broker_address);
        eventually("Mosquitto to listen", || std::net::TcpStream::connect(self.broker_address).ok()).await;
    }
}

/// Starts Mosquitto with TLS, passwords and access rules, but without persistence: nodes publish again what it forgets.
fn start_mosquitto(directory: &Path, address: SocketAddr) -> Process {
    let files = directory.join("certs/broker");
    let config = files.join("mosquitto.conf");
    let text = format!(
        "per_listener_settings false\nlistener {port} {ip}\ncertfile {files}/mosquitto.pem\nkeyfile {files}/mosquitto.key\n\
         allow_anonymous false\npassword_file {files}/passwords\nacl_file {files}/acl\n\
         user root\nlog_type error\nmax_packet_size 300000\n",
        port = address.port(),
        ip = address.ip(),
        files = files.display(),
    );
    std::fs::write(&config, text).expect("written");
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    Process::spawn("mosquitto", Command::new(program).arg("-c").arg(&config))
}
