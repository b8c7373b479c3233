//! ffmpeg, ffplay, GStreamer and VLC, without a screen or a loudspeaker.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::{Kind, Player, Progress};

/// Frame rate of what is published.
const FRAMES_PER_SECOND: f64 = 30.0;

/// Levels that FFmpeg prints before errors.
const FFMPEG_ERRORS: [&str; 3] = ["[error]", "[fatal]", "[panic]"];

/// Errors of FFmpeg's that are not the stream's: connections that end with a node, and the timing of its own output.
const FFMPEG_OTHER_ERRORS: [&str; 2] = ["[tls @", "[null @"];

/// Errors of VLC's that are not the stream's: no desktop, connections and requests that end with a node, requests that it has given up
/// itself, and messages when it ends at a break and starts again, or is late on a busy machine.
const VLC_OTHER_ERRORS: [&str; 11] = [
    "interface error:",
    "libvlc error:",
    "tls client error:",
    "peer ",
    "local stream error: Cancellation",
    "no moov before mdat",
    "Failed to create demuxer",
    "no reference clock",
    "timestamp 0",
    "PCR",
    "buffer deadlock prevented",
];

/// Interval at which VLC is asked for its figures.
const VLC_ASKED_EVERY: Duration = Duration::from_secs(1);

/// Decodes everything as it arrives.
pub(super) fn ffmpeg(url: &str, ca: &Path) -> Player {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "repeat+level+warning", "-progress", "pipe:1"]);
    command.args(["-tls_verify", "1", "-ca_file"]).arg(ca).args(["-i", url, "-f", "null", "-"]);
    Player::spawn(Kind::Ffmpeg, &mut command, ffmpeg_progress, ffmpeg_says)
}

fn ffmpeg_progress(now: &mut Progress, line: &str) {
    match line.split_once('=') {
        Some(("frame", frames)) => {
            now.played_seconds = frames.trim().parse::<f64>().unwrap_or(0.0) / FRAMES_PER_SECOND;
        }
        Some(("out_time_us", micros)) => now.position_seconds = micros.parse::<f64>().ok().map(|us| us / 1e6),
        Some(("progress", "end")) => now.failed = true,
        _ => {}
    }
}

fn ffmpeg_says(now: &mut Progress, line: &str) {
    now.cut |= line.contains("Stream ends prematurely");
    let other = now.cut || FFMPEG_OTHER_ERRORS.iter().any(|other| line.contains(other));
    if !other && FFMPEG_ERRORS.iter().any(|level| line.contains(level)) {
        now.error(line);
    } else if other || line.contains("[warning]") {
        now.complain(line);
    }
}

/// Plays in real time, with SDL's dummy drivers.
pub(super) fn ffplay(url: &str, ca: &Path) -> Player {
    let mut command = Command::new("ffplay");
    command.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
    command.args(["-hide_banner", "-loglevel", "repeat+level+warning", "-stats", "-autoexit"]);
    command.args(["-tls_verify", "1", "-ca_file"]).arg(ca).arg(url);
    Player::spawn(Kind::Ffplay, &mut command, |_, _| (), ffplay_says)
}

/// Reads `  41.00 A-V:  0.007 fd=   3 aq=    2KB vq=   55KB sq=    0B f=0/0`.
fn ffplay_says(now: &mut Progress, line: &str) {
    if let Some((position, rest)) = line.split_once(" A-V:").or_else(|| line.split_once(" M-")) {
        if let Ok(position) = position.trim().parse::<f64>() {
            now.at(position);
        }
        let late = rest.split_once("fd=").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        now.imperfections = late.unwrap_or(now.imperfections);
    } else {
        ffmpeg_says(now, line);
    }
}

/// playbin3 with the newest installed demuxer. GStreamer trusts only the system's authorities, so it runs in a mount namespace in which
/// the test's authority is the system's.
pub(super) fn gstreamer(url: &str, ca: &Path) -> Player {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount --bind \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\"").arg(ca);
    command.args(["gst-launch-1.0", "--verbose", "playbin3", &format!("uri={url}"), "audio-sink=fakesink sync=true"]);
    command.arg("video-sink=fpsdisplaysink video-sink=fakesink text-overlay=false sync=true");
    Player::spawn(Kind::GStreamer, &mut command, gstreamer_says, gstreamer_says)
}

/// Reads `/GstPlayBin3:…: last-message = rendered: 465, dropped: 0, current: 30.00, average: 30.13`, and caps as they change.
fn gstreamer_says(now: &mut Progress, line: &str) {
    let number = |after: &str| -> Option<u64> {
        let digits = line.split_once(after)?.1;
        digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    if let (true, Some(rendered)) = (line.contains("last-message"), number("rendered: ")) {
        now.played_seconds = f64::from(u32::try_from(rendered).unwrap_or(u32::MAX)) / FRAMES_PER_SECOND;
        now.imperfections = number("dropped: ").unwrap_or_default();
    } else if line.contains("GstFakeSink") && line.contains("caps = video/x-raw") {
        now.height = number("height=(int)").or(now.height);
    } else if line.starts_with("ERROR") || line.contains("Got EOS") {
        now.error(line);
        now.failed = true;
    } else if line.starts_with("WARNING") || line.contains("CRITICAL") {
        now.complain(line);
    }
}

/// VLC, which reports its figures on its console. It refuses to run as root, so it runs as another user. It chooses renditions by the
/// measured rate: by itself it keeps one for minutes, however slow the link has become.
///
/// VLC 3 cannot play across an encoder's return, from any server. It knows only one EXT-X-MAP in a playlist, restarts its demuxer at
/// EXT-X-DISCONTINUITY without the init segment, and requests segments that are gaps. With `--repeat`, it starts the stream again by
/// itself until the break is behind it.
pub(super) fn vlc(url: &str, ca: &Path, home: &Path) -> Player {
    let trusted = home.join("trusted");
    std::fs::create_dir_all(&trusted).expect("a directory");
    std::fs::copy(ca, trusted.join("ca.pem")).expect("the authority's certificate");
    let mut command = Command::new("unshare");
    command.args(["--user", "vlc", "--intf", "oldrc", "--rc-fake-tty", "--no-color", "--verbose", "1"]);
    command.args(["--adaptive-logic", "rate", "--repeat"]);
    command.args(["--vout", "dummy", "--aout", "adummy", "--gnutls-dir-trust"]).arg(&trusted).arg(url);
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home);
    let mut player = Player::spawn(Kind::Vlc, &mut command, vlc_says, vlc_says);
    player.ask(b"stats\ninfo\n", VLC_ASKED_EVERY);
    player
}

/// Reads `| frames displayed :      105`, `| Video resolution: 640x360`, `[00007f…] http stream error: …`.
fn vlc_says(now: &mut Progress, line: &str) {
    let value = line.split_once(':').map(|(_, value)| value.trim());
    if line.contains("frames displayed") {
        if let Some(frames) = value.and_then(|value| value.parse::<f64>().ok()) {
            now.counted(frames / FRAMES_PER_SECOND);
        }
    } else if line.contains("frames lost") {
        now.imperfections = value.and_then(|value| value.parse().ok()).unwrap_or_default();
    } else if line.contains("ideo resolution") {
        now.height = value.and_then(|value| value.split_once('x')?.1.parse().ok()).or(now.height);
    } else if line.contains(" error: ") && !VLC_OTHER_ERRORS.iter().any(|other| line.contains(other)) {
        now.error(line);
    } else if line.contains(" error: ") || line.contains(" warning: ") {
        now.complain(line);
    }
}
