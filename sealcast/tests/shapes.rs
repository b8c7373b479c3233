//! Sessions of different shapes on one stream, one after the other within the grace: with audio, without, with audio again, audio alone,
//! and with fewer keyframes. The checker polls from outside, and shares no code with Sealcast.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::observation::RenditionSeen;
use conformance::playlist::Position;
use conformance::report::Report;
use conformance::verdict::Status;
use conformance::watch::{Cookies, Network, Settings, Tools, Trust, observe};
use testkit::process::Process;
use testkit::sealcast::Up;
use testkit::wait::{PATIENCE, eventually_async};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const STREAM: &str = "shapes";
/// Two video renditions, short segments, and a sliding window.
const SETTINGS: &str = "[[streams]]
name = \"shapes\"
key = \"shapes-key\"
[role.ingest]
segment_ms = 2000
[role.ingest.pipeline]
rungs = [{ short_side = 90 }]
preset = \"ultrafast\"
[role.broadcast]
target_duration_s = 2
window_segments = 6
";
/// Video whose first two seconds are easy to encode, so that the measured bit rate becomes more than its start suggests.
const PICTURE: &str = "testsrc2=size=320x180:rate=30,noise=alls=40:allf=t:enable='gt(t,2)'";
const SOUND: &str = "sine=440:sample_rate=48000";
/// Most that audio adds to a variant's BANDWIDTH.
const SOUND_BITS_MAX: u64 = 240_000;
/// How long the stream is watched.
const WATCHED: Duration = Duration::from_secs(36);
/// Tolerance for timings on a machine that does all of this at once; the faults of interest are five part targets without media.
const SLACK: Duration = Duration::from_secs(1);
/// Rows about append-only playlists, timeliness, discontinuities and hints.
const ROWS: [u8; 5] = [6, 7, 10, 11, 29];

/// Runs one publisher to its end.
async fn publish(up: &Up, seconds: u32, keyframes: Option<u32>, sound: bool) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]);
    if keyframes.is_some() {
        command.args(["-re", "-f", "lavfi", "-i", PICTURE]);
    }
    if sound {
        command.args(["-re", "-f", "lavfi", "-i", SOUND, "-c:a", "aac", "-ac", "2"]);
    }
    if let Some(interval) = keyframes {
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]);
        command.args(["-g", &interval.to_string(), "-crf", "30"]);
    }
    let url = format!("{}/shapes-key", up.rtmp());
    command.args(["-t", &seconds.to_string(), "-f", "flv", &url]);
    let mut publisher = Process::spawn("ffmpeg", &mut command);
    let ended = publisher.ended(PATIENCE).await.expect("ffmpeg ends");
    assert!(ended.success(), "{ended}");
}

/// Records BANDWIDTH of the largest rendition in the multivariant playlist, in order. Never ends.
async fn note_bandwidth(up: &Up, stated: &Mutex<Vec<u64>>) {
    let url = format!("{}/live/{STREAM}/index.m3u8", up.https());
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let Ok(answer) = up.http.get(&url).send().await else { continue };
        let text = answer.text().await.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let variant = lines.windows(2).find(|pair| pair[1] == "180p/index.m3u8");
        let bandwidth = variant.and_then(|pair| pair[0].split_once(":BANDWIDTH=")?.1.split(',').next()?.parse().ok());
        stated.lock().unwrap().extend::<Option<u64>>(bandwidth);
    }
}

/// Checks that the EXT-X-MAP of a listed segment never changes, even for a gap (RFC 8216bis 6.2.1).
fn maps_stay(rendition: &RenditionSeen) {
    let mut maps: BTreeMap<u64, Option<String>> = BTreeMap::new();
    for version in rendition.versions.iter().filter(|version| version.playlist.skip.is_none()) {
        for (msn, segment) in version.playlist.numbered_with_open() {
            let map = segment.map.as_ref().map(|map| map.uri.clone());
            let first = maps.entry(msn).or_insert_with(|| map.clone());
            assert_eq!(*first, map, "EXT-X-MAP of segment {msn} of {}", rendition.name);
        }
    }
}

/// Checks that each hint becomes the next part, or another epoch begins in its place (4.4.5.3). Returns how many could be checked.
fn hints_come_true(rendition: &RenditionSeen) -> usize {
    let breaks = |msn: u64| {
        let mut versions = rendition.versions.iter();
        versions.any(|version| version.playlist.numbered_with_open().any(|(at, s)| at == msn && s.discontinuity))
    };
    let mut followed = 0;
    for hint in &rendition.hints {
        assert_eq!(hint.tag.kind, "PART", "no other init segment can be foreseen");
        let Some(Position { msn, parts }) = hint.end else { continue };
        let next = if parts == Position::WHOLE { (msn + 1, 0) } else { (msn, parts) };
        let Some((&(msn, part), seen)) = rendition.parts.range(next..).next() else { continue };
        let name = &rendition.name;
        assert!(seen.url == hint.url || part == 0 && breaks(msn), "{name}: {} came, not {}", seen.url, hint.url);
        followed += 1;
    }
    followed
}

/// Epoch of the newest segment.
async fn newest_epoch(up: &Up) -> u64 {
    let url = format!("{}/live/{STREAM}/audio/index.m3u8", up.https());
    let text = up.http.get(&url).send().await.unwrap().text().await.unwrap();
    let newest = text.lines().rfind(|line| line.ends_with(".m4s") && !line.starts_with('#')).unwrap();
    newest.split_once('/').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn playlists_go_on_whatever_shape_the_next_session_has() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source", "--broadcast", "1"]).await;
    let network = Arc::new(Network::new(&Trust::Authority(up.ca())).unwrap());
    let url = format!("{}/live/{STREAM}/index.m3u8", up.https());
    let settings = Settings {
        url: url.clone(),
        duration: WATCHED,
        row_timeout: Duration::from_secs(5),
        cookies: Cookies::Keep,
        tools: Tools::Leave,
        slack: SLACK,
    };
    let watch = async {
        let listed = async || up.http.get(&url).send().await.ok()?.error_for_status().ok();
        eventually_async("a playlist", PATIENCE, listed).await;
        let first = newest_epoch(&up).await;
        (first, observe(network, &settings).await.unwrap())
    };
    let stated = Mutex::new(Vec::new());
    let sessions = async {
        publish(&up, 8, Some(60), true).await;
        let with_sound = stated.lock().unwrap().len();
        publish(&up, 6, Some(60), false).await;
        publish(&up, 6, Some(60), true).await;
        let of_the_source = stated.lock().unwrap().len();
        publish(&up, 5, None, true).await;
        publish(&up, 10, Some(250), true).await;
        (with_sound..of_the_source, newest_epoch(&up).await)
    };
    let ((first, observation), (again, last)) = tokio::select! {
        () = note_bandwidth(&up, &stated) => unreachable!("it has no end"),
        seen = async { tokio::join!(watch, sessions) } => seen,
    };

    let report = Report::of(&observation, &ROWS);
    let failed: Vec<_> = report.rows.iter().filter(|row| row.verdict.status == Status::Fail).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let names: Vec<&str> = observation.regular().map(|rendition| rendition.name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for rendition in observation.regular() {
        maps_stay(rendition);
        assert!(hints_come_true(rendition) > 40, "{}", rendition.name);
    }
    // The next sessions state what was measured of the source, which was more than its start suggested.
    let stated = stated.into_inner().unwrap();
    let (before, after) = (&stated[..again.start], &stated[again]);
    let peak = before.iter().max().unwrap();
    assert!(before.first() < Some(peak), "{before:?}");
    assert!(after.iter().all(|later| later + SOUND_BITS_MAX >= *peak), "{peak}, then {after:?}");
    assert_eq!(last - first, 4, "one epoch for each session, also where keyframes are fewer");
    up.stop().await;
}
