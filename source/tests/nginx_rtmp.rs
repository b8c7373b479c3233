//! The source against a server that is not ours: nginx with its RTMP module, on a free port.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use source::clock::{self, UnixMillis};
use source::{CancellationToken, Config, Source};
use tempfile::TempDir;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// An nginx that dies with its owner.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(directory: &Path, port: u16) -> Self {
        let text = format!(
            "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n",
            dir = directory.display()
        );
        let config = directory.join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(&config);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx is there");
        let nginx = Self { child, port };
        wait_for("nginx to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        nginx
    }

    fn url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the source shows the machine's clock; there is no other to compare with"
)]
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn pattern(width: u32, height: u32) -> Config {
    Config { width, height, keyframe_interval_ms: 1_000, preset: "ultrafast".to_owned(), ..Config::default() }
}

struct Running {
    shutdown: CancellationToken,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(url: String, config: Config) -> Self {
        let source = Source::load(Config { url, key: "key".to_owned(), ..config }).unwrap();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        Self { shutdown, thread: std::thread::spawn(move || source.run_blocking(&token)) }
    }

    /// Ends it; returns how long that took, in milliseconds.
    fn stop(self) -> i64 {
        let before = now();
        self.shutdown.cancel();
        self.thread.join().unwrap().unwrap();
        now() - before
    }
}

/// The clocks of `frames` pictures that `ffmpeg` makes of `input`, 640x360.
fn clocks(input: &str, frames: usize) -> Vec<Option<UnixMillis>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", input, "-an", "-frames:v", &frames.to_string()]);
    command.args(["-vf", "scale=640:360,format=gray", "-f", "rawvideo", "-fps_mode", "passthrough", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut read = Vec::new();
    let mut picture = vec![0; 640 * 360];
    while out.read_exact(&mut picture).is_ok() {
        read.push(clock::read(&picture, 640, 360, 640));
    }
    child.wait().unwrap();
    read
}

#[test]
fn pattern_arrives_and_its_clock_reads_back_at_360p_and_low_bit_rate() {
    let directory = TempDir::new().unwrap();
    let nginx = Nginx::start(directory.path(), free_port());
    let started = now();
    let running = Running::start(nginx.url(), Config { frame_rate: 15.into(), ..pattern(1_280, 720) });
    let stream = format!("{}/key", nginx.url());

    // As a viewer of the smallest rung sees it: scaled to 360p, x264 at 250 kbit/s.
    let small = directory.path().join("small.mp4");
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-i",
        &stream,
        "-t",
        "3",
        "-vf",
        "scale=640:360",
        "-c:v",
        "libx264",
        "-fps_mode",
        "vfr",
    ]);
    command.args(["-preset", "veryfast", "-b:v", "250k", "-maxrate", "250k", "-bufsize", "250k", "-c:a", "copy"]);
    let output = command.arg(&small).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = clocks(small.to_str().unwrap(), 1_000);
    // On a machine that is too busy the source leaves pictures out rather than being late.
    assert!(read.len() >= 15, "{} pictures in 3 s", read.len());
    let times: Vec<i64> = read.iter().map(|time| time.expect("every picture has a clock").0).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(times.iter().all(|time| (started..=now()).contains(time)));
    let span = times.last().unwrap() - times[0];
    assert!((1_500..=3_500).contains(&span), "{span} ms in 3 s");

    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"])
        .arg(&small)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&probe.stdout);
    assert!(said.contains("h264,640,360") && said.contains("aac"), "{said}");

    let took = running.stop();
    assert!(took < 1_000, "{took} ms to stop");
}

#[test]
fn source_connects_again_when_the_server_comes_back() {
    let directory = TempDir::new().unwrap();
    let port = free_port();
    let nginx = Nginx::start(directory.path(), port);
    let running = Running::start(nginx.url(), pattern(640, 360));
    let stream = format!("{}/key", nginx.url());
    let before = clocks(&stream, 5).into_iter().flatten().max().expect("a clock before");
    drop(nginx);
    let nginx = Nginx::start(directory.path(), port);
    let after = clocks(&stream, 5).into_iter().flatten().min().expect("a clock after");
    assert!(after > before);
    drop(nginx);
    let took = running.stop();
    assert!(took < 1_000, "{took} ms to stop while connecting");
}

#[test]
fn file_is_looped_without_a_jump() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("loop.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=1"]);
    command.args(["-f", "lavfi", "-i", "sine=duration=1", "-c:v", "libx264", "-preset", "ultrafast"]);
    command.args(["-bf", "2", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac"]);
    assert!(command.arg(&path).status().unwrap().success());
    let nginx = Nginx::start(directory.path(), free_port());
    let running = Running::start(nginx.url(), Config { file: Some(path), ..Config::default() });
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time", "-of", "csv=p=0"]);
    command.args(["-read_intervals", "%+4", &format!("{}/key", nginx.url())]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let times: Vec<f64> =
        lines.map_while(Result::ok).filter_map(|line| line.trim_end_matches(',').parse().ok()).take(100).collect();
    child.kill().ok();
    child.wait().unwrap();
    assert!(times.len() >= 75, "{} packets", times.len());
    assert!(times.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] < 0.12), "{times:?}");
    assert!(running.stop() < 1_000);
}

#[test]
fn server_that_never_answers_does_not_hold_up_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtmp://{}/live", listener.local_addr().unwrap());
    let running = Running::start(url, pattern(320, 180));
    let (stream, _) = listener.accept().unwrap();
    let took = running.stop();
    assert!(took < 1_000, "{took} ms to stop");
    drop(stream);
}
