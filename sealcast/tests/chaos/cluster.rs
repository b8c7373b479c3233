//! A cluster of real processes that the test can disturb in every way: two Mosquittos, control, two ingests, three broadcast nodes
//! and two balancers. A link of the test's stands in front of each listener that others connect to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::hostile_broker::{Deeds, HostileBroker};
use testkit::http::client;
use testkit::link::{Link, Mode};
use testkit::process::Process;
use testkit::sealcast;
use testkit::wait::eventually;

pub const STREAM: &str = "hall";
pub const KEY: &str = "for-this-test-only";
/// Renditions of the stream: the video as published, and audio.
pub const RENDITIONS: [&str; 2] = ["360p", "audio"];
pub const OWNERS: usize = 2;
pub const BROADCAST: [&str; 3] = ["b1", "b2", "b3"];
pub const INGESTS: [&str; 2] = ["i1", "i2"];
/// Nodes and their roles, in the order in which they start.
const NODES: [(&str, &str); 8] = [
    ("control", "control"),
    ("b1", "broadcast"),
    ("b2", "broadcast"),
    ("b3", "broadcast"),
    ("i1", "ingest"),
    ("i2", "ingest"),
    ("lb1", "loadbalancer"),
    ("lb2", "loadbalancer"),
];
const BROKERS: usize = 2;

/// Size in bytes of a node's disk that can be filled.
const DISK_BYTES: usize = 4 << 20;

/// Ports below those that systems give to outgoing connections, so that a killed node finds its port free when it returns.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

fn free_address() -> SocketAddr {
    let length = PORTS.end - PORTS.start;
    let from = u16::try_from(std::process::id() % u32::from(length)).expect("less than a port");
    for _ in 0..length {
        let offset = (u32::from(from) + u32::from(NEXT_PORT.fetch_add(1, Ordering::Relaxed))) % u32::from(length);
        let port = PORTS.start + u16::try_from(offset).expect("less than a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// A tmpfs for one node, which can be filled; unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it; none if the test may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory");
        let options = format!("size={DISK_BYTES},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "sealcast-chaos"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// One node: its process, and the links to it.
pub struct Node {
    pub role: &'static str,
    process: Option<Process>,
    /// Address of its listener for viewers' HTTPS, or for RTMP.
    listen: SocketAddr,
    /// Address of its data plane's listener.
    data: SocketAddr,
    to_data: Option<Link>,
    to_viewers: Option<Link>,
    to_brokers: Vec<Link>,
    disk: Option<Disk>,
}

/// A broker, and its address. Nodes speak to the proxy in front of it, which has its certificate.
struct Broker {
    process: Option<Process>,
    address: SocketAddr,
    proxy: HostileBroker,
}

pub struct Cluster {
    pub nodes: BTreeMap<&'static str, Node>,
    brokers: Vec<Broker>,
    pub directory: tempfile::TempDir,
    pub http: reqwest::Client,
    /// Whether nodes have disks that can be filled.
    pub has_disks: bool,
}

/// How a node's wall clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallClock {
    Right,
    /// An hour ahead.
    Ahead,
    /// An hour behind.
    Behind,
}

impl WallClock {
    /// The setting for libfaketime.
    const fn shift(self) -> Option<&'static str> {
        match self {
            Self::Right => None,
            Self::Ahead => Some("+1h"),
            Self::Behind => Some("-1h"),
        }
    }
}

impl Cluster {
    /// Starts the cluster; each node is ready before the next one starts.
    pub async fn start(seed: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut certs = sealcast::command(crate::SEALCAST);
        certs.args(["certs", "cluster", "--broker", "mosquitto", "--dir"]).arg(directory.path().join("certs"));
        for (id, role) in NODES {
            certs.arg("--node").arg(format!("{id}={role}"));
        }
        assert!(certs.stdout(Stdio::null()).status().expect("sealcast starts").success());
        let http = client(&directory.path().join("certs/ca.pem"));
        let mut brokers = Vec::new();
        for broker in 0..BROKERS {
            let address = free_address();
            let files = directory.path().join("certs/broker");
            let proxy = HostileBroker::open(address, &files, seed.wrapping_add(broker as u64)).await;
            brokers.push(Broker { process: None, address, proxy });
        }
        let mut cluster = Self { nodes: BTreeMap::new(), brokers, directory, http, has_disks: true };
        for broker in 0..BROKERS {
            cluster.start_broker(broker).await;
        }
        for (id, role) in NODES {
            let (listen, data) = (free_address(), free_address());
            let is_broadcast = role == "broadcast";
            let mut to_brokers = Vec::new();
            for broker in &cluster.brokers {
                to_brokers.push(Link::open(broker.proxy.address).await);
            }
            let disk = Disk::mount(&cluster.path(&format!("data/{id}")));
            cluster.has_disks &= disk.is_some();
            let to_data = if is_broadcast { Some(Link::open(data).await) } else { None };
            let to_viewers = if is_broadcast { Some(Link::open(listen).await) } else { None };
            let node = Node { role, process: None, listen, data, to_data, to_viewers, to_brokers, disk };
            cluster.nodes.insert(id, node);
            cluster.start_node(id, WallClock::Right).await;
        }
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn node(&mut self, id: &str) -> &mut Node {
        self.nodes.get_mut(id).expect("a node of this cluster")
    }

    /// Starts a node, and waits until it serves, or says that it cannot.
    pub async fn start_node(&mut self, id: &str, clock: WallClock) {
        let config = self.path(&format!("{id}.toml"));
        std::fs::write(&config, self.config(id)).expect("written");
        let ready_file = self.path(&format!("{id}.ready.json"));
        let _ = std::fs::remove_file(&ready_file);
        let mut command = sealcast::command(crate::SEALCAST);
        command.arg(self.nodes[id].role).args(["--id", id, "--log", "info", "--ops-listen", "127.0.0.1:0"]);
        command.arg("--config").arg(&config).arg("--ready-file").arg(&ready_file).current_dir(self.directory.path());
        let log = std::fs::File::options().create(true).append(true).open(self.path(&format!("{id}.log")));
        command.stderr(log.expect("a log file"));
        if let Some(shift) = clock.shift() {
            // Timers use the monotonic clock, which stays right.
            command.env("LD_PRELOAD", faketime()).env("FAKETIME", shift).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME_NO_CACHE", "1");
        }
        let mut process = Process::spawn(id, &mut command);
        eventually("the ready file", || {
            if process.has_ended().is_some() {
                panic!("{id} ended before it was ready:\n{}", self.log_tail(id));
            }
            // An ingest whose clock is behind accepts nobody, and says so.
            let is_behind = clock == WallClock::Behind && self.log_tail(id).contains("clock of this ingest is behind");
            (ready_file.exists() || is_behind).then_some(())
        })
        .await;
        self.node(id).process = Some(process);
    }

    fn log_tail(&self, id: &str) -> String {
        let log = std::fs::read_to_string(self.path(&format!("{id}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub fn config(&self, id: &str) -> String {
        let node = &self.nodes[id];
        let urls: Vec<String> = node.to_brokers.iter().map(|link| format!("\"mqtts://{}\"", link.address)).collect();
        let control = match self.nodes.get("control") {
            Some(control) if id != "control" => format!("[\"https://{}\"]", control.data),
            _ => "[]".to_owned(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut toml = format!(
            "data = \"data\"\nroot_key = \"data/control/root.pub\"\ncontrol = {control}\nrtmp_listen = \"{rtmp}\"\n\
             https_listen = \"{https}\"\n\n[node]\nidentities = \"certs/{role}\"\n\n[bus]\nurls = [{urls}]\n\n\
             [role.ingest]\nowners = {OWNERS}\nsegment_ms = 2000\n\n\
             [[role.ingest.pipeline.rungs]]\nshort_side = 360\n\n\
             [role.loadbalancer]\nsticky_key = \"sticky.key\"\n\n\
             [role.broadcast]\ntarget_duration_s = 2\n",
            rtmp = if node.role == "ingest" { node.listen } else { any },
            https = if node.role == "ingest" { any } else { node.listen },
            role = node.role,
            urls = urls.join(", "),
        );
        if let (Some(to_data), Some(to_viewers)) = (&node.to_data, &node.to_viewers) {
            write!(
                toml,
                "https_listen = \"{}\"\ndata_listen = \"{}\"\nhttps_url = \"https://{}\"\ndata_url = \"https://{}\"\n",
                node.listen, node.data, to_viewers.address, to_data.address
            )
            .expect("written to a string");
        }
        if id == "control" {
            write!(toml, "\n[role.control]\ndata_listen = \"{}\"\n", node.data).expect("written to a string");
            write!(toml, "\n[[streams]]\nname = \"{STREAM}\"\nkey = \"{KEY}\"\n").expect("written to a string");
        }
        toml
    }

    /// Base URL of a node's own listener, past its link.
    pub fn https(&self, id: &str) -> String {
        format!("https://{}", self.nodes[id].listen)
    }

    pub fn rtmp(&self, id: &str) -> String {
        format!("rtmp://{}/live", self.nodes[id].listen)
    }

    /// Duty of an ingest for the stream: `active`, or `standby` with a publisher. None while it has no publisher.
    pub async fn duty(&self, id: &str) -> Option<String> {
        let ready = std::fs::read(self.path(&format!("{id}.ready.json"))).ok()?;
        let ready: Value = serde_json::from_slice(&ready).ok()?;
        let status = reqwest::get(format!("{}/status", ready["ops"].as_str()?)).await.ok()?.bytes().await.ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        let stream = &status["nodes"][id]["streams"][STREAM];
        (stream["state"] == "live").then(|| stream["duty"].as_str().map(str::to_owned)).flatten()
    }

    /// `kill -9`.
    pub fn kill_node(&mut self, id: &str) {
        self.node(id).process = None;
    }

    pub fn signal_node(&self, id: &str, signal: &str) {
        self.nodes[id].process.as_ref().expect("it runs").signal(signal);
    }

    /// Sets the link to its data plane.
    pub fn data_link(&self, id: &str, mode: Mode) {
        self.nodes[id].to_data.as_ref().expect("a broadcast node").set(mode);
    }

    /// Sets the link by which viewers and balancers reach it.
    pub fn viewers_link(&self, id: &str, mode: Mode) {
        self.nodes[id].to_viewers.as_ref().expect("a broadcast node").set(mode);
    }

    /// Sets its link to one broker.
    pub fn bus_link(&self, id: &str, broker: usize, mode: Mode) {
        self.nodes[id].to_brokers[broker].set(mode);
    }

    /// Sets the links of all nodes to one broker.
    pub fn broker_links(&self, broker: usize, mode: Mode) {
        for id in self.nodes.keys() {
            self.bus_link(id, broker, mode);
        }
    }

    pub fn fill_disk(&self, id: &str) {
        let disk = self.nodes[id].disk.as_ref().expect("it has one");
        // This write must fail, because no space is left.
        let _ = std::fs::write(disk.filler(), vec![0; 2 * DISK_BYTES]);
        assert!(std::fs::write(disk.0.join("more"), [0; 8192]).is_err(), "the disk is full");
        let _ = std::fs::remove_file(disk.0.join("more"));
        let length = std::fs::metadata(disk.filler()).expect("it is there").len();
        assert!(length > 0);
    }

    pub fn empty_disk(&self, id: &str) {
        let disk = self.nodes[id].disk.as_ref().expect("it has one");
        std::fs::remove_file(disk.filler()).expect("it is there");
    }

    /// Starts a broker, which keeps nothing: nodes publish again what it forgets.
    pub async fn start_broker(&mut self, broker: usize) {
        let files = self.path("certs/broker");
        let Broker { process, address, .. } = &mut self.brokers[broker];
        let config = files.join(format!("mosquitto-{broker}.conf"));
        let text = format!(
            "per_listener_settings false\nlistener {port} {ip}\nallow_anonymous false\npassword_file {files}/passwords\n\
             acl_file {files}/acl\nuser root\nlog_type error\nmax_packet_size 300000\n",
            port = address.port(),
            ip = address.ip(),
            files = files.display(),
        );
        std::fs::write(&config, text).expect("written");
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let mut command = Command::new(program);
        *process = Some(Process::spawn("mosquitto", command.arg("-c").arg(&config).stderr(Stdio::null())));
        eventually("Mosquitto to listen", || std::net::TcpStream::connect(*address).ok()).await;
    }

    /// Has the proxy in front of a broker lie, or stop it.
    pub fn set_hostile(&self, broker: usize, is_hostile: bool) {
        let proxy = &self.brokers[broker].proxy;
        proxy.set_hostile(is_hostile);
        if !is_hostile {
            eprintln!("chaos: broker {broker} has been hostile: {:?}", proxy.deeds);
        }
    }

    /// Whether the proxies have done all that they can do, together.
    pub fn were_hostile(&self) -> bool {
        let did = |count: fn(&Deeds) -> &AtomicU64| {
            self.brokers.iter().any(|broker| count(&broker.proxy.deeds).load(Ordering::Relaxed) > 0)
        };
        let lied = did(|deeds| &deeds.damaged) && did(|deeds| &deeds.invented);
        lied && did(|deeds| &deeds.withheld) && did(|deeds| &deeds.repeated) && did(|deeds| &deeds.held_back)
    }

    pub fn kill_broker(&mut self, broker: usize) {
        self.brokers[broker].process = None;
    }

    /// Sends SIGTERM, and waits for its end.
    pub async fn stop_broker(&mut self, broker: usize) {
        self.signal_broker(broker, "TERM");
        let process = self.brokers[broker].process.as_mut().expect("it runs");
        process.ended(Duration::from_secs(10)).await.expect("Mosquitto ends when it is told to");
        self.kill_broker(broker);
    }

    pub fn signal_broker(&self, broker: usize, signal: &str) {
        self.brokers[broker].process.as_ref().expect("it runs").signal(signal);
    }

    /// Ends all processes and keeps their logs. Returns the directory.
    pub fn keep(self) -> PathBuf {
        let Self { nodes, brokers, directory, .. } = self;
        drop((nodes, brokers));
        directory.keep()
    }

    /// Runs `sealcast node …` as an operator. Returns its output, or its error.
    pub async fn admin(&self, arguments: &[&str]) -> Result<String, String> {
        self.run(&[&["node"], arguments].concat()).await
    }

    /// Runs `sealcast …` as an operator. Returns its output, or its error.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = tokio::process::Command::from(sealcast::command(crate::SEALCAST));
        command.args(arguments).current_dir(self.directory.path()).kill_on_drop(true);
        let output = command.output().await.expect("sealcast starts");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    /// Broadcast nodes that are online, not drained, and hold the stream; none while control lacks a node.
    pub async fn holders(&self) -> Option<Vec<String>> {
        let nodes: Value = serde_json::from_str(&self.admin(&["list", "--json"]).await.ok()?).ok()?;
        let there = nodes.as_array()?.iter().filter(|node| node["health"] == "online" && node["drained"] == false);
        if there.count() < NODES.len() {
            return None;
        }
        let holds = |node: &&Value| {
            node["health"] == "online"
                && node["role"] == "broadcast"
                && node["streams"].as_array().is_some_and(|streams| streams.iter().any(|stream| stream == STREAM))
        };
        let nodes = nodes.as_array()?.iter().filter(holds);
        Some(nodes.filter_map(|node| Some(node["node"].as_str()?.to_owned())).collect())
    }
}

/// Path of libfaketime, which shows a program another time, on Debian.
fn faketime() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").expect("it is there").filter_map(|entry| {
        let path = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
        path.exists().then_some(path)
    });
    found.into_iter().next().expect("faketime is installed: scripts/setup.sh test")
}
