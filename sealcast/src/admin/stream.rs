//! `sealcast stream …`: streams, their keys, and the state of their input.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use media::UnixMillis;
use messages::{AudioInput, InputReport, Severity, VideoInput, Warning};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Admin, field, items, node, table};
use crate::cli::StreamCommand;
use crate::cli::access::{EmbedName, OnOff, StreamSetFlags, WritersName};

/// How often `--watch` asks control: as often as the ingest reports on its input.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Most columns of a line of a warning, with its indent.
const TEXT_COLUMNS: usize = 100;
/// Column where the values begin.
const INDENT: usize = 14;
/// Moves the cursor to the upper left corner and erases the screen (ECMA-48, CUP and ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// `sealcast stream …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn run(command: StreamCommand) -> anyhow::Result<()> {
    match command {
        StreamCommand::List { admin } => {
            let admin = Admin::connect(&admin)?;
            let streams = admin.ask(Method::GET, "/streams", None).await?;
            admin.print(&streams, |streams| {
                let heading = ["STREAM", "STATE", "INPUT", "BIT RATE", "WARNINGS", "KEY"];
                table(&heading, &items(streams).iter().map(row).collect::<Vec<_>>()) + &key_advice("STREAM")
            })
        }
        StreamCommand::Create { name, visibility, admin } => {
            let admin = Admin::connect(&admin)?;
            let body = serde_json::json!({ "name": name, "visibility": visibility.name() });
            let stream = admin.ask(Method::POST, "/streams", Some(body)).await?;
            admin.print(&stream, with_key)
        }
        StreamCommand::Set(flags) => set(&flags).await,
        StreamCommand::Embed { name, base_url, of, admin } => {
            let admin = Admin::connect(&admin)?;
            let base = base_url.map_or_else(String::new, |base| format!("?base_url={base}"));
            let path = format!("/streams/{}/embed{base}", checked(&name)?);
            let frame = admin.api(Method::GET, &path, Some(&of.tenant), None).await?;
            admin.print(&frame, |frame| {
                let sites = match field(frame, "embed") {
                    "anywhere" => "every site shows it".to_owned(),
                    "listed" if !items(&frame["origins"]).is_empty() => {
                        let sites: Vec<&str> = items(&frame["origins"]).iter().filter_map(Value::as_str).collect();
                        format!("sites that show it: {}", sites.join(", "))
                    }
                    _ => format!("no other site shows it: sealcast stream set {name} --origin https://SITE"),
                };
                let token = if frame["needs_token"] == true {
                    let tenant = &of.tenant;
                    format!("in place of TOKEN stands a viewer token: sealcast token create {name} --tenant {tenant}\n")
                } else {
                    String::new()
                };
                format!("{}\n{sites}\n{token}", field(frame, "html"))
            })
        }
        StreamCommand::Show { name, watch, admin } => show(&name, watch, &Admin::connect(&admin)?).await,
        StreamCommand::RotateKey { name, admin } => {
            let admin = Admin::connect(&admin)?;
            let stream = admin.ask(Method::POST, &format!("/streams/{}/rotate-key", checked(&name)?), None).await?;
            admin.print(&stream, |stream| {
                format!("{}a publisher with the old key is disconnected within seconds\n", with_key(stream))
            })
        }
        StreamCommand::Delete { name, admin } => {
            let admin = Admin::connect(&admin)?;
            let answer = admin.ask(Method::DELETE, &format!("/streams/{}", checked(&name)?), None).await?;
            admin
                .print(&answer, |_| format!("stream {name} is deleted; its publisher is disconnected within seconds\n"))
        }
    }
}

/// Changes what is said of a stream. Visibility alone waits for the nodes, and says which have it.
async fn set(flags: &StreamSetFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let (name, mut patch) = (checked(&flags.name)?, json!({}));
    if flags.no_origins || !flags.origins.is_empty() {
        patch["origins"] = json!(flags.origins);
    }
    if let Some(embed) = flags.embed {
        patch["embed"] = match embed {
            EmbedName::Listed => "listed",
            EmbedName::Anywhere => "anywhere",
            EmbedName::Nowhere => "nowhere",
        }
        .into();
    }
    if let Some(chat) = flags.chat {
        patch["chat"]["on"] = (chat == OnOff::On).into();
    }
    if let Some(slow) = flags.chat_slow {
        patch["chat"]["slow_s"] = slow.as_secs().into();
    }
    if let Some(writers) = flags.chat_writers {
        patch["chat"]["writers"] = if writers == WritersName::Token { "token" } else { "everybody" }.into();
    }
    let visibility = flags.visibility.map(|visibility| json!({ "visibility": visibility.name() }));
    if patch != json!({}) {
        if let Some(visibility) = visibility {
            patch["visibility"] = visibility["visibility"].clone();
        }
        let set = admin.api(Method::PATCH, &format!("/streams/{name}"), Some(&flags.of.tenant), Some(patch)).await?;
        return admin.print(&set, said);
    }
    let path = format!("/streams/{name}/visibility");
    let set = admin.ask(Method::POST, &path, visibility).await?;
    admin.print(&set, |set| format!("stream {name} is {}\n{}", field(set, "visibility"), node::acknowledged(set)))
}

/// What a stream says of who may watch it, where, and of its chat.
fn said(stream: &Value) -> String {
    let sites: Vec<&str> = items(&stream["origins"]).iter().filter_map(Value::as_str).collect();
    let chat = &stream["chat"];
    let chat = if chat["on"] == true {
        format!("on, a message every {} s, written by {}", chat["slow_s"], field(chat, "writers"))
    } else {
        "off".to_owned()
    };
    line("stream", field(stream, "name"))
        + &line("visibility", field(stream, "visibility"))
        + &line("sites", &if sites.is_empty() { "-".to_owned() } else { sites.join(", ") })
        + &line("frames", field(stream, "embed"))
        + &line("chat", &chat)
}

/// Shows a stream once, or repeatedly until Ctrl-C. Only the former says how to get a key.
async fn show(name: &str, watch: bool, admin: &Admin) -> anyhow::Result<()> {
    let path = format!("/streams/{}", checked(name)?);
    if !watch {
        let stream = admin.ask(Method::GET, &path, None).await?;
        return admin.print(&stream, |stream| format!("{}{}{}", with_hint(stream), input(stream), key_advice(name)));
    }
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let stream = admin.ask(Method::GET, &path, None).await?;
        let clear = if std::io::stdout().is_terminal() && !admin.json { CLEAR } else { "" };
        let shown = admin.print(&stream, |stream| format!("{clear}{}{}\n", head(stream), input(stream)));
        std::io::stdout().lock().flush()?;
        shown?;
    }
}

/// Checks that a stream's name is valid, and so is safe in a URL path.
fn checked(name: &str) -> anyhow::Result<media::StreamId> {
    Ok(media::StreamId::new(name)?)
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<INDENT$}{value}\n")
}

fn head(stream: &Value) -> String {
    line("stream", field(stream, "name")) + &line("state", &state(stream))
}

/// A stream that has just got a key.
fn with_key(stream: &Value) -> String {
    let key = line("stream key", &format!("{}   keep it: it is not shown again", field(stream, "key")));
    line("stream", field(stream, "name")) + &key + &line("state", &state(stream))
}

fn with_hint(stream: &Value) -> String {
    let who = stream["visibility"].as_str().map_or_else(String::new, |who| line("visibility", who));
    line("stream", field(stream, "name")) + &line("stream key", &hint(stream)) + &who + &line("state", &state(stream))
}

/// What people recognise a key by.
fn hint(stream: &Value) -> String {
    match stream["key_hint"].as_str() {
        Some("") | None => "not shown".to_owned(),
        Some(hint) => format!("…{hint}"),
    }
}

/// How to get a key, which is shown only once.
fn key_advice(stream: &str) -> String {
    format!("a key is shown once, when it is made; for a new one: sealcast stream rotate-key {stream}\n")
}

/// State of a stream, and how many nodes hold it if those are too few.
fn state(stream: &Value) -> String {
    let state = stream["session"]["state"].as_str().unwrap_or("never published");
    let (holders, wanted) =
        (stream["holders"].as_u64().unwrap_or(0), stream["session"]["replicas"].as_u64().unwrap_or(0));
    if state == "live" && holders < wanted {
        return format!("live, degraded: {holders} of {wanted} nodes hold it");
    }
    state.to_owned()
}

fn report(stream: &Value) -> Option<InputReport> {
    serde_json::from_value(stream["input"].clone()).ok()
}

fn row(stream: &Value) -> Vec<String> {
    let report = report(stream).filter(|report| report.connected_at.is_some());
    let known = report.as_ref().map_or_else(
        || ["-", "-", "-"].map(str::to_owned),
        |report| {
            let format = report.video.as_ref().map_or_else(
                || report.audio.as_ref().map_or_else(|| "nothing yet".to_owned(), |_| "sound only".to_owned()),
                |video| format!("{} {}x{}", codec_name(&video.codec), video.width, video.height),
            );
            let warnings = report.warnings.iter().filter(|warning| warning.severity == Severity::Warning);
            [format, megabits(report.bit_rate.0), warnings.count().to_string()]
        },
    );
    [field(stream, "name").to_owned(), state(stream)].into_iter().chain(known).chain([hint(stream)]).collect()
}

/// The report on a stream's input, with its warnings.
fn input(stream: &Value) -> String {
    let Some(report) = report(stream) else { return String::new() };
    let mut text = line("ingest", &format!("{}, publisher {}", report.ingest, whereabouts(stream, &report)));
    if report.connected_at.is_some() {
        text += &figures(&report);
    }
    text += &line("reconnects", &report.reconnects.to_string());
    for other in
        items(&stream["standby"]).iter().filter_map(|other| serde_json::from_value::<InputReport>(other.clone()).ok())
    {
        let rate = megabits(other.bit_rate.0);
        text += &line("standby", &format!("{}, {rate}, {} warnings", other.ingest, other.warnings.len()));
    }
    text + &warnings(&report.warnings)
}

/// Since when the publisher is connected or away, and what viewers see while it is away.
fn whereabouts(stream: &Value, report: &InputReport) -> String {
    if let Some(since) = report.connected_at {
        return format!("connected since {since}");
    }
    let since = report.away_since.map_or_else(String::new, |since| format!(" since {since}"));
    let shown = match stream["session"]["state"].as_str() {
        Some("reconnecting") if report.slate => "; viewers see the slate",
        Some("reconnecting") => "; viewers see a gap",
        _ => "",
    };
    format!("away{since}{shown}")
}

fn figures(report: &InputReport) -> String {
    let mut text = line("encoder", report.encoder.as_deref().unwrap_or("does not say"));
    text += &line("picture", &report.video.as_ref().map_or_else(|| "none".to_owned(), picture));
    if let Some(video) = &report.video {
        text += &line("frame rate", &frame_rate(video));
        let interval = video.keyframe_interval_ms.map_or_else(|| "not known yet".to_owned(), seconds);
        text += &line("keyframes", &format!("every {interval}"));
    }
    text += &line("sound", &report.audio.as_ref().map_or_else(|| "none".to_owned(), sound));
    let pace = report.pace_permille.map_or_else(String::new, |permille| format!(", {} % of real time", permille / 10));
    text += &line("bit rate", &format!("{}{pace}", megabits(report.bit_rate.0)));
    if let Some(ahead) = report.video_ahead_of_audio_ms {
        let behind = if ahead >= 0 { "behind" } else { "ahead of" };
        text += &line("A/V skew", &format!("sound {} ms {behind} the picture", ahead.unsigned_abs()));
    }
    let drops = report.drops;
    text += &line(
        "drops",
        &format!(
            "{} frames: {} without parameters, {} refused, {} damaged, {} not encoded",
            drops.total(),
            drops.early,
            drops.refused,
            drops.concealed,
            drops.skipped
        ),
    );
    text += &line("clock jumps", &report.clock_jumps.to_string());
    text + &line("measured", "rates over the last 8 s; drops and jumps since the publisher connected")
}

fn picture(video: &VideoInput) -> String {
    let way = if video.passed_through { "passed through" } else { "encoded again" };
    format!(
        "{} ({}), {}x{}, {}, {way}",
        codec_name(&video.codec),
        video.codec,
        video.width,
        video.height,
        megabits(video.bit_rate.0)
    )
}

fn sound(audio: &AudioInput) -> String {
    let rate = audio.sample_rate_hz.map_or_else(String::new, |hz| format!(", {hz} Hz"));
    let channels = match audio.channels {
        None => String::new(),
        Some(1) => ", mono".to_owned(),
        Some(2) => ", stereo".to_owned(),
        Some(count) => format!(", {count} channels"),
    };
    format!("{} ({}){rate}{channels}, {} kbit/s", codec_name(&audio.codec), audio.codec, audio.bit_rate.0 / 1_000)
}

fn frame_rate(video: &VideoInput) -> String {
    let hertz = |millihertz: u32| format!("{:.2}", f64::from(millihertz) / 1e3);
    let measured = video.frame_rate_millihertz.map_or_else(|| "not known yet".to_owned(), hertz);
    match video.announced_frame_rate_millihertz {
        Some(announced) => format!("{measured} ({} announced)", hertz(announced)),
        None => measured,
    }
}

/// Common name of a codec, from its RFC 6381 string.
fn codec_name(codec: &str) -> &str {
    match codec.split('.').next().unwrap_or_default() {
        "avc1" => "H.264",
        "hvc1" | "hev1" => "HEVC",
        "av01" => "AV1",
        "mp3" => "MP3",
        "mp4a" => match codec {
            "mp4a.40.2" => "AAC",
            "mp4a.40.5" | "mp4a.40.29" => "HE-AAC",
            _ => "AAC family",
        },
        _ => codec,
    }
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn megabits(bits: u64) -> String {
    format!("{:.2} Mbit/s", bits as f64 / 1e6)
}

fn warnings(warnings: &[Warning]) -> String {
    let shown = |warning: &Warning| {
        let name = match warning.severity {
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let since = time_of_day(warning.since);
        let text = match warning.until {
            Some(until) => format!("over: {} ({since} to {})", warning.text, time_of_day(until)),
            None => format!("{} (since {since})", warning.text),
        };
        line(name, &wrapped(&text))
    };
    match warnings {
        [] => line("warnings", "none"),
        some => some.iter().map(shown).collect(),
    }
}

/// Time of day in UTC, as `12:00:00Z`.
fn time_of_day(at: UnixMillis) -> String {
    let text = at.to_string();
    text.get(11..19).map_or_else(|| text.clone(), |time| format!("{time}Z"))
}

/// Wraps text to lines of at most [`TEXT_COLUMNS`], with all lines after the first indented to align with it.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() + INDENT <= TEXT_COLUMNS => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{}", " ".repeat(INDENT)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream() -> Value {
        json!({
            "name": "hall", "key": "secret", "key_hint": "cret", "holders": 2,
            "session": { "state": "live", "replicas": 2 },
            "input": {
                "stream": "hall", "ingest": "ingest1", "at": 0, "connected_at": 1_700_000_000_000_i64, "reconnects": 1,
                "encoder": "Lavf59.27.100", "bit_rate": 2_600_000, "pace_permille": 1_001,
                "video": {
                    "codec": "avc1.64001f", "width": 1280, "height": 720, "frame_rate_millihertz": 29_970,
                    "announced_frame_rate_millihertz": 30_000, "keyframe_interval_ms": 8_333, "bit_rate": 2_500_000
                },
                "audio": { "codec": "mp4a.40.2", "sample_rate_hz": 48_000, "channels": 2, "bit_rate": 96_000 },
                "video_ahead_of_audio_ms": -12,
                "warnings": [{
                    "kind": "keyframe_interval", "severity": "warning", "since": 1_700_000_012_000_i64,
                    "text": "keyframe interval is 8.3 s; set 2 s in OBS for low latency, and some more words so that the line is long"
                }]
            }
        })
    }

    #[test]
    fn streamer_sees_what_comes_in_and_what_to_do() {
        let shown = input(&stream());
        for part in [
            "ingest        ingest1, publisher connected since 2023-11-14T22:13:20.000Z\n",
            "encoder       Lavf59.27.100\n",
            "picture       H.264 (avc1.64001f), 1280x720, 2.50 Mbit/s, encoded again\n",
            "frame rate    29.97 (30.00 announced)\n",
            "keyframes     every 8.3 s\n",
            "sound         AAC (mp4a.40.2), 48000 Hz, stereo, 96 kbit/s\n",
            "bit rate      2.60 Mbit/s, 100 % of real time\n",
            "A/V skew      sound 12 ms ahead of the picture\n",
            "drops         0 frames",
            "reconnects    1\n",
            "warning       keyframe interval is 8.3 s; set 2 s in OBS",
            "(since 22:13:32Z)",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        assert!(shown.lines().all(|line| line.chars().count() <= TEXT_COLUMNS), "{shown}");
        assert!(!shown.contains("secret") && with_key(&stream()).contains("secret"));
        let shown = with_hint(&stream());
        assert!(shown.contains("stream key    …cret\n") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn warning_that_is_over_says_so_beside_the_figure_that_is_well() {
        let mut well = stream();
        well["input"]["warnings"][0]["until"] = json!(1_700_000_042_000_i64);
        let shown = input(&well);
        assert!(shown.contains("warning       over: keyframe interval is 8.3 s;"), "{shown}");
        assert!(shown.contains("(22:13:32Z to 22:14:02Z)"), "{shown}");
    }

    #[test]
    fn stream_without_a_publisher_is_shown_as_such() {
        let mut away = stream();
        away["input"]["connected_at"] = Value::Null;
        away["input"]["warnings"] = json!([]);
        let shown = input(&away);
        assert!(shown.contains("ingest1, publisher away\n") && !shown.contains("picture"), "{shown}");
        away["input"]["away_since"] = json!(1_700_000_012_000_i64);
        assert!(input(&away).contains("publisher away since 2023-11-14T22:13:32.000Z\n"), "{}", input(&away));
        away["session"]["state"] = json!("reconnecting");
        assert!(input(&away).contains("22:13:32.000Z; viewers see a gap\n"), "{}", input(&away));
        away["input"]["slate"] = json!(true);
        assert!(input(&away).contains("22:13:32.000Z; viewers see the slate\n"), "{}", input(&away));
        assert!(shown.contains("warnings      none"), "{shown}");
        assert_eq!(row(&away)[2..], ["-", "-", "-", "…cret"]);
        assert_eq!(input(&json!({ "name": "hall", "input": null })), "");
        assert_eq!(row(&stream()), ["hall", "live", "H.264 1280x720", "2.60 Mbit/s", "1", "…cret"]);
    }
}
