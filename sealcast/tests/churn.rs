//! Publishers that come and go, strangers, and peers that fall silent leave nothing behind. A full run is
//! `SEALCAST_CHURN_CYCLES=10000 cargo test --release -p sealcast --test churn -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::net::SocketAddr;
use std::time::Duration;

use testkit::hls::multivariant;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::Up;
use testkit::wait::eventually_async;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// What OBS 29 sent in its first 2.5 s, with stream key `for-this-test-only`.
const OBS: &[u8] = include_bytes!("../../crates/rtmp/testdata/obs-29-x264-bframes.rtmp");
const KEY: &[u8] = b"for-this-test-only";
/// Bytes of it that are sent: the commands, a keyframe, and some frames, of which the last is cut off.
const SESSION_BYTES: usize = 20_000;
/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// Streams that are published at once.
const STREAMS: usize = 4;
/// Publishes in `make test`.
const CYCLES: usize = 150;
/// Publishes before memory is first read, or a tenth of all if that is more, to fill the windows. The ingest keeps 104 log entries of a
/// stream, and each publish makes one.
const WARM_CYCLES_MIN: usize = 100;
/// How long a long run publishes before memory is first read, because a node keeps what has left a playlist for 58 s.
const WARM_MIN: Duration = Duration::from_secs(75);
/// How long memory is read, so that the last publisher's encoder ends and the allocator returns memory within it.
const LOOK: Duration = Duration::from_secs(3);
/// Largest growth of memory once all windows are full, in bytes.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Additional growth per publish while windows fill: the bytes of a log entry.
const ENTRY_BYTES_MAX: u64 = 256 * 1024;
/// Number of publishes after which all windows are full: 104 log entries of each stream.
const FILLED_AFTER: usize = 104 * STREAMS;
/// Descriptors that come and go anyway, for connections between nodes.
const SPARE_DESCRIPTORS: usize = 8;
const STRANGERS: usize = 1_000;
const SILENT: usize = 200;
/// Limit of the time for handshake and commands, and of a publisher's silence, in the settings of this test.
const LIMIT: Duration = Duration::from_secs(2);
/// Longest wait until a peer is closed.
const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> String {
    let streams = (0..STREAMS).map(|n| format!("[[streams]]\nname = \"s{n}\"\nkey = \"{}\"\n", key(n)));
    let seconds = LIMIT.as_secs();
    format!(
        "{}[[streams]]\nname = \"hall\"\nkey = \"{}\"\n[role.ingest]\nconnections_max = 2000\nconnections_per_address_max = 2000\n\
         handshake_s = {seconds}\nidle_s = {seconds}\n[[role.ingest.pipeline.rungs]]\nshort_side = 360\n",
        streams.collect::<String>(),
        std::str::from_utf8(KEY).unwrap(),
    )
}

/// A key as long as the one in the capture.
fn key(stream: usize) -> String {
    format!("for-this-test-{stream:04}")
}

/// The captured session with another key.
fn session(stream: usize) -> Vec<u8> {
    let mut bytes = OBS[..SESSION_BYTES].to_vec();
    for at in 0..bytes.len() - KEY.len() {
        if bytes[at..].starts_with(KEY) {
            bytes[at..at + KEY.len()].copy_from_slice(key(stream).as_bytes());
        }
    }
    bytes
}

/// Resident memory in bytes, and open descriptors.
fn footprint(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    (kib * 1024, std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

/// The least memory and descriptors of a process over [`LOOK`]; prints them.
async fn look(pid: u32, what: &str) -> (u64, usize) {
    let mut ticks = tokio::time::interval(LOOK / 30);
    let mut least = footprint(pid);
    for _ in 0..30 {
        ticks.tick().await;
        let (bytes, descriptors) = footprint(pid);
        least = (least.0.min(bytes), least.1.min(descriptors));
    }
    eprintln!("churn: {what}: {:.1} MB, {} descriptors", least.0 as f64 / 1e6, least.1);
    least
}

/// Sends all bytes, closes its side, and reads the answer.
async fn say(rtmp: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(rtmp).await.unwrap();
    // A connection that the server closes meanwhile has been answered, too.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "connection left open");
    answer
}

/// Publishes and stops, `cycles` times in all. Returns how many were refused because the publisher before was still there.
async fn churn(rtmp: SocketAddr, cycles: usize) -> usize {
    let mut publishers = JoinSet::new();
    for stream in 0..STREAMS {
        let session = session(stream);
        publishers.spawn(async move {
            let mut refused = 0;
            for _ in 0..cycles / STREAMS {
                while !contains(&say(rtmp, &session).await, b"Publishing.") {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            refused
        });
    }
    publishers.join_all().await.into_iter().sum()
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

/// What strangers send: nothing, a handshake, noise, half a command.
fn strange(n: usize) -> Vec<u8> {
    let noise = (0..5_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8);
    match n % 4 {
        0 => Vec::new(),
        1 => OBS[..HANDSHAKE_BYTES].to_vec(),
        2 => noise.collect(),
        _ => OBS[..HANDSHAKE_BYTES + 100 + n % 300].to_vec(),
    }
}

/// Peers that send something and then nothing, on connections that stay open, as half-open ones look to a server.
async fn half_open(rtmp: SocketAddr) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for n in 0..SILENT {
        let mut socket = TcpStream::connect(rtmp).await.unwrap();
        let bytes = if n < STREAMS { session(n) } else { strange(n) };
        socket.write_all(&bytes).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_strangers_and_half_open_connections_leave_nothing_behind() {
    let cycles = std::env::var("SEALCAST_CHURN_CYCLES").map_or(CYCLES, |count| count.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), settings()).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source", "--broadcast", "1", "--log", "error"]).await;
    let rtmp: SocketAddr = up.rtmp().trim_start_matches("rtmp://").trim_end_matches("/live").parse().unwrap();
    let (pid, clock) = (up.process.id(), node::clock::Clock::new());
    let mut warm = WARM_CYCLES_MIN.max(cycles / 10);
    churn(rtmp, warm).await;
    while cycles > CYCLES && clock.elapsed() < WARM_MIN {
        churn(rtmp, WARM_CYCLES_MIN).await;
        warm += WARM_CYCLES_MIN;
    }
    let before = look(pid, "warm").await;
    let mut refused = 0;
    for done in (0..cycles).step_by(1_000) {
        refused += churn(rtmp, (cycles - done).min(1_000)).await;
        look(pid, &format!("{} cycles", cycles.min(done + 1_000))).await;
    }
    eprintln!("churn: {warm} and {cycles} cycles in {:?}, {refused} tries too early", clock.elapsed());

    let mut strangers = JoinSet::new();
    for n in 0..STRANGERS {
        strangers.spawn(async move { say(rtmp, &strange(n)).await });
    }
    strangers.join_all().await;
    look(pid, "strangers").await;

    let held = half_open(rtmp).await;
    eprintln!("churn: half-open: {} descriptors", footprint(pid).1);
    let closed = async || (footprint(pid).1 <= before.1 + SPARE_DESCRIPTORS).then_some(());
    eventually_async("half-open connections to be closed", PATIENCE, closed).await;
    let after = look(pid, "the end").await;
    drop(held);
    let filling = u64::try_from(FILLED_AFTER.saturating_sub(warm).min(cycles)).unwrap() * ENTRY_BYTES_MAX;
    assert!(after.0 <= before.0 + GROWTH_BYTES_MAX + filling, "memory grew by {} bytes", after.0 - before.0);
    assert!(after.1 <= before.1 + SPARE_DESCRIPTORS, "{} descriptors, {} before", after.1, before.1);

    // The server still takes a publisher.
    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), &up.key("hall"));
    assert!(!multivariant(&up.http, &up.https(), "hall").await.variants.is_empty());
    up.stop().await;
}
