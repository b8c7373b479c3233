//! CPU of the ingest for a 4-rung 1080p30 ladder, against the ffmpeg command line with the same encoder settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use ingest::pipeline::{Config, PassThrough, RungConfig, encode_file};

use crate::{Figure, median};

/// Height and bit rate of each rung, in pixels and kbit/s.
const RUNGS: [(u32, u32); 4] = [(1080, 5000), (720, 2800), (480, 1400), (360, 800)];
const SECONDS: u32 = 20;

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let clip = clip(directory.path())?;
    let encoded = Config {
        rungs: Some(RUNGS.map(|(short_side, kbit)| RungConfig { short_side, kbit_per_second: Some(kbit) }).to_vec()),
        pass_through: PassThrough::Never,
        cpu_share_percent: 100,
        ..Config::default()
    };
    let passed = Config { pass_through: PassThrough::Auto, ..encoded.clone() };
    let (mut ours, mut through, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(ours_once(&clip, &encoded)?);
        peer.push(ffmpeg_once(&clip)?);
        through.push(ours_once(&clip, &passed)?);
    }
    let (ours, through, peer) = (median(ours), median(through), median(peer));
    let per_second = |cpu: f64| format!("{:.2} CPU-s per s", cpu / f64::from(SECONDS));
    Ok(vec![
        Figure {
            what: "ladder 1080p30, 4 rungs, all encoded; peer: ffmpeg".to_owned(),
            ours: per_second(ours),
            peer: per_second(peer),
            ratio: Some(ours / peer),
            bound: "<= 1.0x",
        },
        Figure {
            what: "the same, source passed through; peer: ffmpeg, all encoded".to_owned(),
            ours: per_second(through),
            peer: per_second(peer),
            ratio: Some(through / peer),
            bound: "<= 0.6x",
        },
    ])
}

/// A 1080p30 source as OBS sends it: moving detail, some noise, 6 Mbit/s, a keyframe every 2 s.
fn clip(directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join("source.flv");
    let picture = format!("testsrc2=size=1920x1080:rate=30:duration={SECONDS},noise=alls=6:allf=t,format=yuv420p");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={SECONDS}");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-maxrate", "6M", "-bufsize", "12M"])
        .args(["-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "128k"])
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .context("ffmpeg is missing: scripts/setup.sh bench")?;
    ensure!(status.success(), "ffmpeg made no clip");
    Ok(path)
}

fn ours_once(clip: &Path, config: &Config) -> anyhow::Result<f64> {
    let measured = encode_file(clip, config)?;
    ensure!(measured.shed.is_empty(), "rungs were shed: {:?}", measured.shed);
    ensure!(measured.renditions.len() == RUNGS.len() + 1, "renditions: {:?}", measured.renditions);
    Ok(measured.cpu.as_secs_f64())
}

/// The same encodes by ffmpeg's command line: decode once, one scaler per rung, the same x264 settings.
fn ffmpeg_once(clip: &Path) -> anyhow::Result<f64> {
    let mut graph = format!("[0:v]split={}", RUNGS.len());
    for (side, _) in RUNGS {
        graph.push_str(&format!("[s{side}]"));
    }
    for (side, _) in RUNGS {
        graph.push_str(&format!(";[s{side}]scale=-2:{side}:flags=bicubic[v{side}]"));
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-y", "-benchmark", "-i"]).arg(clip).args(["-filter_complex", &graph]);
    for (side, kbit) in RUNGS {
        command.args(["-map", &format!("[v{side}]"), "-c:v", "libx264", "-preset", "veryfast", "-bf", "0"]);
        command.args(["-b:v", &format!("{kbit}k"), "-maxrate", &format!("{}k", kbit * 11 / 10)]);
        command.args(["-bufsize", &format!("{kbit}k"), "-g", "30", "-keyint_min", "30", "-sc_threshold", "0"]);
        command.args(["-rc-lookahead", "2", "-x264-params", "force-cfr=1"]);
        command.args(["-f", "null", "/dev/null"]);
    }
    command.args(["-map", "0:a", "-c:a", "copy", "-f", "null", "/dev/null"]);
    let output = command.stdin(Stdio::null()).output().context("ffmpeg is missing: scripts/setup.sh bench")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ffmpeg failed: {said}");
    let seconds = |name: &str| -> Option<f64> {
        let rest = said.split(&format!("{name}=")).nth(1)?;
        rest.split('s').next()?.parse().ok()
    };
    let cpu = seconds("utime").zip(seconds("stime")).with_context(|| format!("no benchmark line in: {said}"))?;
    Ok(cpu.0 + cpu.1)
}
