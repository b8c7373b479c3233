//! Publishers passed through: how many a core carries, against nginx-rtmp and xiu, and how much memory each needs.
//!
//! Each server makes HLS of what publishers send. Sealcast does all its work (`sealcast up` with one broadcast node: sealed, pushed,
//! verified and listed, with thumbnails); the peers are set up as in their documentation. Sealcast runs once with its default parts of
//! half a second for low latency, and once with parts as long as the peers' segments. The CPU per publisher is the difference between
//! two numbers of publishers, which excludes what a server does without any.

mod crowd;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::Figure;
use crate::conformance::{nginx_server, xiu_server};
use crate::joins::load;
use crate::role::{cpu_seconds, resident_bytes};
use crate::startup::{self, Running};
use crowd::{Crowd, Door, Media, key};

/// Numbers of publishers at once, in this order.
const COUNTS: [usize; 2] = [20, 60];
/// Wait between the arrival of publishers and the count of CPU, until every stream is decided and listed.
const SETTLE: Duration = Duration::from_secs(12);
/// Time over which CPU counts.
const COUNTED: Duration = Duration::from_secs(20);
/// Time after which a node holds as much as it ever will: the window, as long again for players of what has left it (RFC 8216
/// 6.2.2), and a margin.
const FULL: Duration = Duration::from_secs(125);
/// Window of a playlist in seconds, of all servers.
const WINDOW_S: u32 = 48;
/// Sealcast's parts and segments in milliseconds: the defaults, and both as long as the peers' segments.
const LENGTHS_MS: [(u32, u32); 2] = [(500, 4_000), (2_000, 2_000)];
/// Media for the longest run.
const MEDIA: Duration = Duration::from_secs(200);
/// Limit of connections in each server's settings: the publishers, and room.
const CONNECTIONS_MAX: usize = 200;

/// A server that takes publishers; it ends when this is dropped.
struct Server {
    name: &'static str,
    door: Door,
    /// Longest wait before CPU counts with all publishers.
    full: Duration,
    /// URL of Sealcast's ops plane; none for peers.
    ops: Option<String>,
    running: Running,
    directory: tempfile::TempDir,
}

/// What a server needs for its publishers.
struct Cost {
    /// CPU seconds per second, with each of [`COUNTS`].
    cpu: [f64; 2],
    /// Resident bytes without publishers, and with all.
    resident: [u64; 2],
    /// What Sealcast reports that it holds.
    held: Held,
}

/// Bytes of media per publisher, by where they are.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// At the broadcast node.
    node: f64,
    /// At the ingest, kept for nodes that come back.
    ring: f64,
}

impl Cost {
    /// CPU of one publisher, in seconds per second.
    fn slope(&self) -> f64 {
        let ([few, many], [few_cpu, many_cpu]) = (COUNTS.map(|count| count as f64), self.cpu);
        (many_cpu - few_cpu) / (many - few)
    }

    fn per_core(&self) -> f64 {
        1.0 / self.slope()
    }

    fn text(&self) -> String {
        let [few, many] = self.cpu.map(|cpu| cpu * 100.0);
        format!("{:.0} ({} take {few:.1} %, {} take {many:.1} %)", self.per_core(), COUNTS[0], COUNTS[1])
    }

    /// Resident bytes of one publisher.
    fn memory(&self) -> f64 {
        let [none, all] = self.resident;
        all.saturating_sub(none) as f64 / COUNTS[1] as f64
    }
}

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    // The HTTP client for the ops plane needs a TLS provider, though it asks without TLS.
    node::tls::provider();
    let media = Media::make(MEDIA)?;
    let [short, long] = LENGTHS_MS;
    let ours = cost(&sealcast("Sealcast", short, FULL)?, &media)?;
    let with_long_parts = cost(&sealcast("Sealcast with parts of 2 s", long, SETTLE)?, &media)?;
    let peers = [nginx_rtmp, xiu].map(|start| start().and_then(|server| Ok((server.name, cost(&server, &media)?))));
    let mut figures = Vec::new();
    for peer in peers {
        let (name, theirs) = peer?;
        for (ours, parts, bound) in [(&ours, "0.5", ">= 1.5x"), (&with_long_parts, "2", "-")] {
            figures.push(Figure {
                what: format!(
                    "publishers of {:.0} kbit/s passed through per core, parts of {parts} s; peer: {name}, segments of 2 s (load {})",
                    media.bits_per_second / 1e3,
                    load()
                ),
                ours: ours.text(),
                peer: theirs.text(),
                ratio: Some(ours.per_core() / theirs.per_core()),
                bound,
            });
        }
    }
    figures.push(memory(&ours, &media));
    Ok(figures)
}

fn memory(ours: &Cost, media: &Media) -> Figure {
    let megabytes = |bytes: f64| bytes / 1e6;
    let window = media.bits_per_second / 8.0 * f64::from(WINDOW_S);
    let Held { node, ring } = ours.held;
    let all = ours.memory();
    Figure {
        what: format!("memory of a passed-through publisher, {WINDOW_S} s window ({:.1} MB)", megabytes(window)),
        ours: format!(
            "{:.1} MB, of them media {:.1} MB at the node and {:.1} MB at the ingest: {:.1} MB beyond, {:.1} MB beyond the window's",
            megabytes(all),
            megabytes(node),
            megabytes(ring),
            megabytes(all - node - ring),
            megabytes(all - window)
        ),
        peer: "-".to_owned(),
        ratio: None,
        bound: "<= 3 MB beyond media",
    }
}

fn cost(server: &Server, media: &Media) -> anyhow::Result<Cost> {
    eprintln!("publishers: {}", server.name);
    let pid = server.running.0.id();
    let none = resident_bytes(pid)?;
    let mut crowd = Crowd::new()?;
    let mut cpu = [0.0; 2];
    for (count, (cpu, settle)) in COUNTS.into_iter().zip(cpu.iter_mut().zip([SETTLE, server.full])) {
        crowd.grow(count, &server.door, media);
        std::thread::sleep(settle);
        *cpu = counted(pid)?;
        crowd.check()?;
    }
    let resident = [none, resident_bytes(pid)?];
    let held = server.held()?;
    let listed = server.listed()?;
    ensure!(listed == COUNTS[1], "{} lists {listed} of {} streams", server.name, COUNTS[1]);
    let cost = Cost { cpu, resident, held };
    eprintln!("{}: {}; {:.1} MB each", server.name, cost.text(), cost.memory() / 1e6);
    Ok(cost)
}

/// CPU of a process over [`COUNTED`], in seconds per second.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn counted(pid: u32) -> anyhow::Result<f64> {
    let (began, before) = (Instant::now(), cpu_seconds(pid)?);
    std::thread::sleep(COUNTED);
    Ok((cpu_seconds(pid)? - before) / began.elapsed().as_secs_f64())
}

impl Server {
    /// Number of streams that have a playlist.
    fn listed(&self) -> anyhow::Result<usize> {
        match &self.ops {
            Some(ops) => Ok(nodes(&status(ops)?).filter(|stream| stream["sequence"].is_u64()).count()),
            None => playlists(self.directory.path()),
        }
    }

    /// Mean bytes of media per publisher, as Sealcast reports them; 0 for peers.
    fn held(&self) -> anyhow::Result<Held> {
        let Some(ops) = &self.ops else { return Ok(Held::default()) };
        let status = status(ops)?;
        let mean = |bytes: &dyn Fn(&Value) -> &Value, streams: Vec<&Value>| {
            let sum: f64 = streams.iter().filter_map(|stream| bytes(stream).as_f64()).sum();
            sum / streams.len().max(1) as f64
        };
        let rings = status["nodes"]["ingest"]["streams"].as_object().context("the ingest says nothing")?;
        Ok(Held {
            node: mean(&|stream| &stream["media_bytes"], nodes(&status).collect()),
            ring: mean(&|stream| &stream["ring_bytes"], rings.values().collect()),
        })
    }
}

/// Streams of the broadcast node in a status report.
fn nodes(status: &Value) -> impl Iterator<Item = &Value> {
    status["nodes"]["b1"]["streams"].as_array().into_iter().flatten()
}

fn status(ops: &str) -> anyhow::Result<Value> {
    let text = async { anyhow::Ok(reqwest::get(format!("{ops}/status")).await?.bytes().await?) };
    Ok(serde_json::from_slice(&tokio::runtime::Runtime::new()?.block_on(text)?)?)
}

/// Number of playlists in a directory and its subdirectories.
fn playlists(directory: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            count += playlists(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "m3u8") {
            count += 1;
        }
    }
    Ok(count)
}

/// `sealcast up` with one broadcast node, and a stream for each publisher.
fn sealcast(name: &'static str, (part_ms, segment_ms): (u32, u32), full: Duration) -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let mut toml = format!(
        "part_target_ms = {part_ms}\n[role.ingest]\nsegment_ms = {segment_ms}\nconnections_max = {CONNECTIONS_MAX}\n\
         connections_per_address_max = {CONNECTIONS_MAX}\n"
    );
    for name in (0..COUNTS[1]).map(key) {
        write!(toml, "[[streams]]\nname = \"{name}\"\nkey = \"{name}\"\n")?;
    }
    std::fs::write(directory.path().join("sealcast.toml"), toml)?;
    let (running, _) = startup::start(directory.path(), &["--no-source", "--broadcast", "1"])?;
    let ready: Value = serde_json::from_slice(&std::fs::read(directory.path().join("ready.json"))?)?;
    let text = |name: &str| ready[name].as_str().context("the ready file lacks an address");
    let address = text("rtmp")?.strip_prefix("rtmp://").and_then(|url| url.strip_suffix("/live"));
    Ok(Server {
        name,
        door: Door { address: address.context("an address of another form")?.to_owned(), application: "live" },
        full,
        ops: Some(text("ops")?.to_owned()),
        running,
        directory,
    })
}

fn nginx_rtmp() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, _, running) = nginx_server(directory.path(), WINDOW_S)?;
    Ok(Server::of_peer("nginx-rtmp", rtmp, running, directory))
}

fn xiu() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, _, running) = xiu_server(directory.path())?;
    Ok(Server::of_peer("xiu", rtmp, running, directory))
}

impl Server {
    fn of_peer(name: &'static str, rtmp: u16, running: Running, directory: tempfile::TempDir) -> Self {
        let door = Door { address: format!("127.0.0.1:{rtmp}"), application: "live" };
        Self { name, door, full: SETTLE, ops: None, running, directory }
    }
}
