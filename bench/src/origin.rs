//! What viewers are pointed at: `sealcast up`, or nginx-rtmp, each with the same test picture.

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
/// A stream that is not there after this long has failed.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(90);
/// Runs before viewers come, so that playlists are as long as any player wants them.
const SETTLE: Duration = Duration::from_secs(25);
/// A look at something that will be there in a moment.
const POLL: Duration = Duration::from_millis(50);

/// Three rungs, all of them encoded; segments, parts and keyframes as by default.
pub(crate) const LADDER: &str = "[role.ingest.pipeline]
rungs = [{ short_side = 720 }, { short_side = 480 }, { short_side = 360 }]
pass_through = \"never\"
";

/// How nginx-rtmp cuts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// `hls_fragment`, in seconds.
    pub(crate) fragment_s: u32,
    /// Distance of the source's keyframes, in milliseconds.
    pub(crate) keyframe_ms: u32,
}

/// A server with a live stream in it; ends with its owner.
pub(crate) struct Origin {
    _children: Vec<Running>,
    _directory: tempfile::TempDir,
    /// The multivariant (or only) playlist.
    pub(crate) playlist: String,
    /// The page that plays it.
    pub(crate) page: Option<String>,
}

impl Origin {
    /// `sealcast up` with its test picture, configured with `toml`.
    pub(crate) fn sealcast(toml: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("sealcast.toml"), toml)?;
        let (running, _) = startup::start(directory.path(), &[])?;
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

    /// nginx with its RTMP module, over plain HTTP, with the picture that `sealcast up` shows.
    pub(crate) fn nginx(cut: Cut) -> anyhow::Result<Self> {
        ensure!(Path::new(RTMP_MODULE).exists(), "{RTMP_MODULE} is missing: scripts/setup.sh test");
        let directory = tempfile::tempdir()?;
        let (rtmp, http) = (free_port()?, free_port()?);
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, nginx_conf(directory.path(), rtmp, http, cut)?)?;
        let mut command = Command::new(if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" });
        command.arg("-p").arg(directory.path()).arg("-e").arg(directory.path().join("error.log")).arg("-c").arg(config);
        let nginx = spawn(&mut command).context("nginx is missing: scripts/setup.sh test")?;
        wait_until("nginx to listen", || TcpStream::connect(("127.0.0.1", rtmp)).is_ok())?;
        let mut source = Command::new(std::env::current_exe()?.with_file_name("source"));
        source.arg(format!("rtmp://127.0.0.1:{rtmp}/live")).args(["--key", "demo"]);
        source.args(["--keyframe-interval", &cut.keyframe_ms.to_string()]);
        let source = spawn(&mut source).context("source is not built: make build")?;
        let playlist = directory.path().join("hls/demo.m3u8");
        wait_until("nginx-rtmp's playlist", || playlist.exists())?;
        std::thread::sleep(SETTLE);
        Ok(Self {
            playlist: format!("http://127.0.0.1:{http}/hls/demo.m3u8"),
            page: None,
            _children: vec![source, nginx],
            _directory: directory,
        })
    }

    /// Our page.
    pub(crate) fn page(&self) -> anyhow::Result<Viewer> {
        Ok(Viewer::Page(self.page.clone().context("this server has no page")?))
    }

    /// hls.js and nothing else.
    pub(crate) fn hls_js(&self) -> Viewer {
        Viewer::HlsJs(self.playlist.clone())
    }
}

/// As its documentation sets it up for HLS, on free ports.
fn nginx_conf(directory: &Path, rtmp: u16, http: u16, cut: Cut) -> anyhow::Result<String> {
    let dir = directory.display();
    let Cut { fragment_s, .. } = cut;
    let mut text = format!("load_module {RTMP_MODULE};\ndaemon off;\nmaster_process off;\npid {dir}/nginx.pid;\n");
    writeln!(text, "error_log {dir}/error.log;\nevents {{ worker_connections 256; }}")?;
    writeln!(text, "rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{ live on;")?;
    writeln!(text, "  hls on; hls_path {dir}/hls; hls_fragment {fragment_s}s; hls_playlist_length 24s; }} }} }}")?;
    writeln!(text, "http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;")?;
    writeln!(text, "  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;")?;
    writeln!(text, "  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}")?;
    writeln!(text, "  server {{ listen 127.0.0.1:{http}; location /hls {{ root {dir};")?;
    writeln!(text, "    add_header Cache-Control no-cache; add_header Access-Control-Allow-Origin *; }} }} }}")?;
    Ok(text)
}

fn spawn(command: &mut Command) -> anyhow::Result<Running> {
    let child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(Running(child))
}

/// A port that was free a moment ago: nginx cannot be asked for one.
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
