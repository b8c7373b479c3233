//! Servers for viewers: `sealcast up`, or nginx-rtmp, each with the same test picture.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::startup::{self, Running};
use crate::viewer::Viewer;

/// nginx's RTMP module as Debian installs it.
pub(crate) const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// Longest wait for a stream to appear.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(90);
/// Time that a stream runs before viewers come, so that playlists are as long as any player wants them.
const SETTLE: Duration = Duration::from_secs(25);
/// Pause between two viewers on different networks, so that packets under way to the one do not reach the other.
pub(crate) const SETTLE_BETWEEN: Duration = Duration::from_secs(3);
const LOOPBACK: &str = "127.0.0.1";
/// The rungs of [`LADDER`] for nginx-rtmp: name, height, kbit/s of video.
const PEER_RUNGS: [(&str, u32, u32); 3] = [("low", 360, 866), ("mid", 480, 1_334), ("hi", 720, 2_450)];
/// Interval between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(50);

/// Three encoded rungs; segments, parts and keyframes have their defaults.
pub(crate) const LADDER: &str = "[role.ingest.pipeline]
rungs = [{ short_side = 720 }, { short_side = 480 }, { short_side = 360 }]
pass_through = \"never\"
";

/// Settings for a picture that needs all its bits on every rung, as a film does: for `sealcast up`, and below for `source`.
pub(crate) const FILM: &str = "[test_source]\nbit_rate = 4_000_000\ngrain = 24\n";
const FILM_FLAGS: &[&str] = &["--bit-rate", "4000000", "--grain", "24"];

/// How nginx-rtmp cuts fragments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// `hls_fragment`, in seconds.
    pub(crate) fragment_s: u32,
    /// The source's keyframe interval, in milliseconds.
    pub(crate) keyframe_ms: u32,
}

/// A server with a live stream; it ends when this is dropped.
pub(crate) struct Origin {
    _children: Vec<Running>,
    _directory: tempfile::TempDir,
    /// URL of the multivariant (or only) playlist.
    pub(crate) playlist: String,
    /// URL of the page that plays it.
    pub(crate) page: Option<String>,
}

impl Origin {
    /// `sealcast up` with its test picture, configured with `toml`.
    pub(crate) fn sealcast(toml: &str) -> anyhow::Result<Self> {
        Self::sealcast_at(LOOPBACK, toml)
    }

    /// As [`Origin::sealcast`], with viewers at another address of this machine.
    pub(crate) fn sealcast_at(host: &str, toml: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("sealcast.toml"), toml)?;
        let (running, _) = startup::start_at(host, directory.path(), &[])?;
        let ready: Value = serde_json::from_slice(&std::fs::read(directory.path().join("ready.json"))?)?;
        let base = ready["https"].as_str().context("no https in the ready file")?.to_owned();
        std::thread::sleep(SETTLE);
        Ok(Self {
            playlist: format!("{base}/live/demo/index.m3u8"),
            page: Some(format!("{base}/watch/demo")),
            _children: vec![running],
            _directory: directory,
        })
    }

    /// nginx with its RTMP module, over plain HTTP, with the same picture as `sealcast up`.
    pub(crate) fn nginx(cut: Cut) -> anyhow::Result<Self> {
        Self::nginx_with(LOOPBACK, cut, None)
    }

    /// The same with [`FILM`] and a ladder, which `ffmpeg` encodes as in the module's documentation.
    pub(crate) fn nginx_film_ladder(host: &str, cut: Cut) -> anyhow::Result<Self> {
        Self::nginx_with(host, cut, Some(FILM_FLAGS))
    }

    fn nginx_with(host: &str, cut: Cut, film_ladder: Option<&[&str]>) -> anyhow::Result<Self> {
        ensure!(Path::new(RTMP_MODULE).exists(), "{RTMP_MODULE} is missing: scripts/setup.sh test");
        let directory = tempfile::tempdir()?;
        let (rtmp, http) = (free_port()?, free_port()?);
        let config = directory.path().join("nginx.conf");
        let place = Place { directory: directory.path(), host, rtmp, http };
        std::fs::write(&config, nginx_conf(&place, cut, film_ladder.is_some())?)?;
        let mut command = Command::new(if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" });
        command.arg("-p").arg(directory.path()).arg("-e").arg(directory.path().join("error.log")).arg("-c").arg(config);
        let mut children = vec![spawn(&mut command).context("nginx is missing: scripts/setup.sh test")?];
        wait_until("nginx to listen", || TcpStream::connect(("127.0.0.1", rtmp)).is_ok())?;
        let mut source = Command::new(std::env::current_exe()?.with_file_name("source"));
        source.arg(format!("rtmp://127.0.0.1:{rtmp}/live")).args(["--key", "demo"]);
        source.args(["--keyframe-interval", &cut.keyframe_ms.to_string()]);
        source.args(film_ladder.unwrap_or_default());
        children.insert(0, spawn(&mut source).context("source is not built: make build")?);
        if film_ladder.is_some() {
            children
                .insert(0, spawn(&mut ladder_encoder(rtmp, cut)).context("ffmpeg is missing: scripts/setup.sh test")?);
        }
        let file = directory.path().join("hls/demo.m3u8");
        wait_until("nginx-rtmp's playlist", || file.exists())?;
        std::thread::sleep(SETTLE);
        Ok(Self {
            playlist: format!("http://{host}:{http}/hls/demo.m3u8"),
            page: None,
            _children: children,
            _directory: directory,
        })
    }

    /// A viewer of Sealcast's page.
    pub(crate) fn page(&self) -> anyhow::Result<Viewer> {
        Ok(Viewer::Page(self.page.clone().context("this server has no page")?))
    }

    /// A viewer with Shaka alone.
    pub(crate) fn shaka(&self) -> Viewer {
        Viewer::Shaka(self.playlist.clone())
    }

    /// A viewer with hls.js alone.
    pub(crate) fn hls_js(&self) -> Viewer {
        Viewer::HlsJs(self.playlist.clone())
    }
}

/// Directory, host and ports of an nginx.
struct Place<'a> {
    directory: &'a Path,
    host: &'a str,
    rtmp: u16,
    http: u16,
}

/// One decoder and one encoder per rung, with keyframes at the same times, as in nginx-rtmp's documentation of `hls_variant`.
fn ladder_encoder(rtmp: u16, cut: Cut) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", &format!("rtmp://127.0.0.1:{rtmp}/live/demo")]);
    let keyframes = format!("expr:gte(t,n_forced*{})", f64::from(cut.keyframe_ms) / 1e3);
    for (name, height, kbit) in PEER_RUNGS {
        command.args(["-map", "0:v", "-map", "0:a", "-vf", &format!("scale=-2:{height}"), "-c:v", "libx264"]);
        command.args(["-preset", "veryfast", "-tune", "zerolatency", "-bf", "0"]);
        command.args(["-b:v", &format!("{kbit}k"), "-maxrate", &format!("{}k", kbit * 11 / 10)]);
        command.args(["-bufsize", &format!("{kbit}k"), "-force_key_frames", &keyframes, "-g", "1000"]);
        command.args(["-c:a", "aac", "-b:a", "128k", "-f", "flv"]);
        command.arg(format!("rtmp://127.0.0.1:{rtmp}/ladder/demo_{name}"));
    }
    command
}

/// Configuration for HLS as in nginx-rtmp's documentation, on free ports.
fn nginx_conf(place: &Place<'_>, cut: Cut, ladder: bool) -> anyhow::Result<String> {
    let Place { host, rtmp, http, .. } = place;
    let dir = place.directory.display();
    let Cut { fragment_s, .. } = cut;
    let hls = format!("hls on; hls_path {dir}/hls; hls_fragment {fragment_s}s; hls_playlist_length 24s;");
    let mut text = format!("load_module {RTMP_MODULE};\ndaemon off;\nmaster_process off;\npid {dir}/nginx.pid;\n");
    writeln!(text, "error_log {dir}/error.log;\nevents {{ worker_connections 256; }}")?;
    writeln!(text, "rtmp {{ server {{ listen 127.0.0.1:{rtmp};")?;
    if ladder {
        writeln!(text, "  application live {{ live on; }}\n  application ladder {{ live on; {hls} hls_nested on;")?;
        for (name, height, kbit) in PEER_RUNGS {
            let (bandwidth, width) = (kbit * 1_200 + 128_000, height * 16 / 9);
            writeln!(text, "    hls_variant _{name} BANDWIDTH={bandwidth},RESOLUTION={width}x{height};")?;
        }
        writeln!(text, "  }} }} }}")?;
    } else {
        writeln!(text, "  application live {{ live on; {hls} }} }} }}")?;
    }
    writeln!(text, "http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;")?;
    writeln!(text, "  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;")?;
    writeln!(text, "  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}")?;
    writeln!(text, "  server {{ listen {host}:{http}; location /hls {{ root {dir};")?;
    writeln!(text, "    add_header Cache-Control no-cache; add_header Access-Control-Allow-Origin *; }} }} }}")?;
    Ok(text)
}

fn spawn(command: &mut Command) -> anyhow::Result<Running> {
    let child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(Running(child))
}

/// A port that was free a moment ago, because nginx cannot choose one itself.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "waits for real processes")]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !condition() {
        ensure!(began.elapsed() < STREAM_WAIT_MAX, "waited {STREAM_WAIT_MAX:?} in vain for {what}");
        std::thread::sleep(POLL);
    }
    Ok(())
}
