//! `ffprobe` and `ffmpeg` as second opinions on segments.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::process::Command;

use crate::observation::{Probed, ProbedStream};

/// Longest time for a run of a tool.
const TOOL_WAIT_MAX: Duration = Duration::from_secs(20);
/// Most complaints of the decoder that are kept; more show nothing new.
const COMPLAINTS_MAX: usize = 4;

/// Why the tools cannot be used; none if they can.
pub(super) async fn missing() -> Option<String> {
    for tool in ["ffprobe", "ffmpeg"] {
        let mut command = Command::new(tool);
        command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status().await {
            Ok(status) if status.success() => {}
            Ok(status) => return Some(format!("{tool} ended with {status}")),
            Err(_) => return Some(format!("{tool} is not on the PATH")),
        }
    }
    None
}

/// What the tools report about a segment after its media initialization section.
pub(super) async fn probe(init: Option<&Bytes>, segment: &Bytes) -> anyhow::Result<Probed> {
    let file = tempfile::NamedTempFile::new()?;
    let mut whole = init.map(|init| init.to_vec()).unwrap_or_default();
    whole.extend_from_slice(segment);
    tokio::fs::write(file.path(), &whole).await?;
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-of", "json", "-show_streams"]).arg(file.path());
    let streams = run(ffprobe).await?.stdout;
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-threads", "1", "-i"]).arg(file.path());
    // Passthrough, because complaints of the null muxer about timestamps that do not rise are not the decoder's.
    ffmpeg.args(["-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough", "-f", "null", "-"]);
    let said = String::from_utf8_lossy(&run(ffmpeg).await?.stderr).into_owned();
    let decoder = said.lines().filter(|line| !line.contains("null")).take(COMPLAINTS_MAX).map(str::to_owned).collect();
    Ok(Probed { streams: streams_of(&streams), decoder })
}

async fn run(mut command: Command) -> anyhow::Result<std::process::Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(tokio::time::timeout(TOOL_WAIT_MAX, command.output()).await??)
}

fn streams_of(json: &[u8]) -> Vec<ProbedStream> {
    let Ok(read) = serde_json::from_slice::<Value>(json) else { return Vec::new() };
    let streams = read.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
    streams.iter().map(stream).collect()
}

fn stream(json: &Value) -> ProbedStream {
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| json.get(name).and_then(Value::as_u64);
    let pair = |name: &str, between: char| {
        let written = text(name)?;
        let (left, right) = written.split_once(between)?;
        Some((left.parse().ok()?, right.parse().ok()?)).filter(|pair: &(u64, u64)| pair.0 != 0 && pair.1 != 0)
    };
    ProbedStream {
        kind: text("codec_type").unwrap_or_default(),
        codec: text("codec_name").unwrap_or_default(),
        tag: text("codec_tag_string").unwrap_or_default(),
        size: number("width").zip(number("height")),
        sample_aspect: pair("sample_aspect_ratio", ':'),
        field_order: text("field_order"),
        rate: pair("r_frame_rate", '/'),
        channels: number("channels"),
        channel_layout: text("channel_layout"),
        sample_rate: text("sample_rate").and_then(|rate| rate.parse().ok()),
    }
}
