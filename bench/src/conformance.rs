//! The checker's rows for Sealcast and its peers. Each server is set up as in its own documentation, and gets the same ffmpeg
//! source, one after the other.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use conformance::report::Report;
use conformance::rows::ROWS;
use conformance::verdict::{Level, Status};
use conformance::watch::{Cookies, Network, Settings, Tools, Trust, observe};
use serde_json::Value;

use crate::origin::{RTMP_MODULE, free_port, wait_until};
use crate::startup::{self, Running};

/// Time that a stream runs before the checker comes, so that windows are full.
const SETTLE: Duration = Duration::from_secs(40);
/// Tolerance for timings on a machine that also encodes.
const SLACK: Duration = Duration::from_millis(250);

/// A server with the source. When this is dropped, the source ends first.
struct Server {
    name: &'static str,
    url: String,
    trust: Trust,
    _children: Vec<Running>,
    _directory: tempfile::TempDir,
}

/// Checks all servers, and writes the Markdown table.
pub(crate) fn table(seconds: u64) -> anyhow::Result<String> {
    let mut reports: Vec<(&str, Result<Report, String>)> = Vec::new();
    for (name, start) in [
        ("Sealcast", sealcast as fn() -> anyhow::Result<Server>),
        ("nginx-rtmp", nginx_rtmp),
        ("ffmpeg HLS muxer", ffmpeg_muxer),
        ("xiu", xiu),
    ] {
        eprintln!("conformance: {name}");
        let report = start().and_then(|server| check(&server, seconds)).map_err(|error| format!("{error:#}"));
        reports.push((name, report));
    }
    render(&reports)
}

fn check(server: &Server, seconds: u64) -> anyhow::Result<Report> {
    std::thread::sleep(SETTLE);
    let settings = Settings {
        url: server.url.clone(),
        duration: Duration::from_secs(seconds),
        row_timeout: Duration::from_secs(30),
        cookies: Cookies::Keep,
        tools: Tools::Use,
        slack: SLACK,
    };
    let network = Arc::new(Network::new(&server.trust)?);
    let observation = tokio::runtime::Runtime::new()?.block_on(observe(network, &settings))?;
    let report = Report::of(&observation, &[]);
    eprintln!("{}:\n{}", server.name, report.text(conformance::report::Colour::None));
    Ok(report)
}

/// One line per row with the verdict on each server; below the table, the reasons of failures.
fn render(reports: &[(&str, Result<Report, String>)]) -> anyhow::Result<String> {
    let mut text = String::from("| row |");
    for (name, _) in reports {
        write!(text, " {name} |")?;
    }
    write!(text, "\n|---|{}\n", "---|".repeat(reports.len()))?;
    for row in &ROWS {
        write!(text, "| {} {} |", row.number, row.name)?;
        for (_, report) in reports {
            let judged =
                report.as_ref().ok().and_then(|report| report.rows.iter().find(|judged| judged.row == row.number));
            match judged {
                Some(judged) if judged.verdict.status == Status::Fail => {
                    let broken = judged.verdict.evidence.iter().filter(|found| found.level == Level::Must);
                    let mut sections: Vec<_> = broken.map(|found| found.section.as_str()).collect();
                    sections.dedup();
                    write!(text, " **FAIL** {} |", sections.join(", "))?;
                }
                Some(judged) => write!(text, " {} |", judged.verdict.status.name())?,
                None => text.push_str(" - |"),
            }
        }
        text.push('\n');
    }
    for (status, what) in [(Status::Pass, "passed"), (Status::Fail, "a MUST broken"), (Status::Warn, "a SHOULD broken")]
    {
        write!(text, "| **{what}** |")?;
        for (_, report) in reports {
            write!(
                text,
                " **{}** |",
                report.as_ref().map_or("-".to_owned(), |report| report.count(status).to_string())
            )?;
        }
        text.push('\n');
    }
    for (name, report) in reports {
        if let Err(error) = report {
            write!(text, "\n{name} could not be checked: {error}\n")?;
        }
    }
    Ok(text)
}

/// The source: 720p30 with a keyframe every two seconds and B-frames, as OBS sends it.
fn ffmpeg(to: &[&str]) -> anyhow::Result<Running> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"]);
    command.args([
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
    ]);
    command.args(["-pix_fmt", "yuv420p", "-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "5000k"]);
    command.args(["-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "128k", "-ac", "2"]);
    spawn(command.args(to)).context("ffmpeg is missing: scripts/setup.sh bench")
}

fn spawn(command: &mut Command) -> anyhow::Result<Running> {
    let child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(Running(child))
}

fn nginx(directory: &Path, config: &str) -> anyhow::Result<Running> {
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new(if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" });
    command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(path);
    spawn(&mut command).context("nginx is missing: scripts/setup.sh test")
}

/// The part of nginx's configuration that serves files, with the media types and the compression for HLS.
fn files(directory: &Path, http: u16) -> String {
    let dir = directory.display();
    format!(
        "http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }}
  gzip on; gzip_types application/vnd.apple.mpegurl; gzip_min_length 0;
  server {{ listen 127.0.0.1:{http}; location /hls {{ root {dir}; add_header Cache-Control no-cache; }} }} }}\n"
    )
}

fn preamble(directory: &Path) -> String {
    let dir = directory.display();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\nevents {{ worker_connections 256; }}\n"
    )
}

/// `sealcast up` with its default settings.
fn sealcast() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let stream = "[[streams]]\nname = \"checked\"\nkey = \"conformance-check-stream-key-1\"\n";
    std::fs::write(directory.path().join("sealcast.toml"), stream)?;
    let (running, _) = startup::start(directory.path(), &["--no-source"])?;
    let ready: Value = serde_json::from_slice(&std::fs::read(directory.path().join("ready.json"))?)?;
    let text = |name: &str| ready.get(name).and_then(Value::as_str).context("the ready file lacks an address");
    let rtmp = format!("{}/conformance-check-stream-key-1", text("rtmp")?);
    let source = ffmpeg(&["-f", "flv", &rtmp])?;
    Ok(Server {
        name: "Sealcast",
        url: format!("{}/live/checked/index.m3u8", text("https")?),
        trust: Trust::Authority(directory.path().join(text("ca")?)),
        _children: vec![source, running],
        _directory: directory,
    })
}

/// Starts nginx with its RTMP module and no source. Returns its RTMP and HTTP ports, and a guard that ends it.
pub(crate) fn nginx_server(directory: &Path, playlist_s: u32) -> anyhow::Result<(u16, u16, Running)> {
    ensure!(Path::new(RTMP_MODULE).exists(), "{RTMP_MODULE} is missing: scripts/setup.sh test");
    let (rtmp, http, dir) = (free_port()?, free_port()?, directory.display());
    let config = format!(
        "load_module {RTMP_MODULE};\n{}rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{ live on;
  hls on; hls_path {dir}/hls; hls_fragment 2s; hls_playlist_length {playlist_s}s; }} }} }}\n{}",
        preamble(directory),
        files(directory, http)
    );
    let server = nginx(directory, &config)?;
    wait_until("nginx to listen", || std::net::TcpStream::connect(("127.0.0.1", rtmp)).is_ok())?;
    Ok((rtmp, http, server))
}

/// nginx with its RTMP module: transport streams.
fn nginx_rtmp() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, http, server) = nginx_server(directory.path(), 24)?;
    let source = ffmpeg(&["-f", "flv", &format!("rtmp://127.0.0.1:{rtmp}/live/checked")])?;
    Ok(Server {
        name: "nginx-rtmp",
        url: format!("http://127.0.0.1:{http}/hls/checked.m3u8"),
        trust: Trust::System,
        _children: vec![source, server],
        _directory: directory,
    })
}

/// ffmpeg's own muxer: fMP4 with a multivariant playlist, behind nginx.
fn ffmpeg_muxer() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let http = free_port()?;
    let hls = directory.path().join("hls");
    std::fs::create_dir(&hls)?;
    let config = format!("{}{}", preamble(directory.path()), files(directory.path(), http));
    let server = nginx(directory.path(), &config)?;
    let playlist = hls.join("checked.m3u8").display().to_string();
    let flags = "delete_segments+program_date_time+independent_segments";
    let muxer =
        ["-f", "hls", "-hls_time", "2", "-hls_list_size", "12", "-hls_segment_type", "fmp4", "-hls_flags", flags];
    let source = ffmpeg(&[muxer.as_slice(), &["-master_pl_name", "index.m3u8", &playlist]].concat())?;
    Ok(Server {
        name: "ffmpeg HLS muxer",
        url: format!("http://127.0.0.1:{http}/hls/index.m3u8"),
        trust: Trust::System,
        _children: vec![source, server],
        _directory: directory,
    })
}

/// Settings without which xiu 0.14 does not start, or makes no HLS.
const XIU_EXTRA: &str = "[authsecret]
key = \"none\"
password = \"none\"
push_password = \"none\"
[hls.s3]
enabled = false
bucket = \"none\"
region = \"none\"
prefix = \"none\"
";

/// Starts xiu without a source. Returns its RTMP and HTTP ports, and a guard that ends it.
pub(crate) fn xiu_server(directory: &Path) -> anyhow::Result<(u16, u16, Running)> {
    let binary = std::env::var_os("XIU").map_or_else(|| PathBuf::from("xiu"), PathBuf::from);
    let (rtmp, http) = (free_port()?, free_port()?);
    let config = format!(
        "[rtmp]\nenabled = true\nport = {rtmp}\ngop_num = 1\n[hls]\nenabled = true\nport = {http}\nneed_record = false\n[log]\nlevel = \"error\"\n{XIU_EXTRA}"
    );
    std::fs::write(directory.join("xiu.toml"), config)?;
    let mut command = Command::new(binary);
    command.current_dir(directory).args(["-c", "xiu.toml"]);
    let server = spawn(&mut command).context("xiu is missing: cargo install xiu, or XIU=/path/to/it")?;
    wait_until("xiu to listen", || std::net::TcpStream::connect(("127.0.0.1", rtmp)).is_ok())?;
    Ok((rtmp, http, server))
}

/// xiu, another server in Rust: `cargo install xiu`.
fn xiu() -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let (rtmp, http, server) = xiu_server(directory.path())?;
    let source = ffmpeg(&["-f", "flv", &format!("rtmp://127.0.0.1:{rtmp}/live/checked")])?;
    Ok(Server {
        name: "xiu",
        url: format!("http://127.0.0.1:{http}/live/checked/checked.m3u8"),
        trust: Trust::System,
        _children: vec![source, server],
        _directory: directory,
    })
}
