//! DVR for viewers and operators: far behind the live edge, after a process is killed, and with a damaged disk.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use m3u8_rs::{MediaPlaylist, MediaSegment};
use reqwest::StatusCode;
use testkit::hls::{decode, multivariant, parse, playlist, renditions};
use testkit::http::{get, get_bytes};
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::Up;
use testkit::wait::{PATIENCE, eventually_async};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// The shortest possible live window, so that media leaves it soon: six segments of two seconds.
const SETTINGS: &str = r#"
[[streams]]
name = "hall"
key = "for-this-test-only"

[[role.ingest.pipeline.rungs]]
short_side = 240

[role.ingest]
segment_ms = 2000

[role.broadcast]
target_duration_s = 2
window_segments = 6
"#;
const FLAGS: [&str; 5] = ["--no-source", "--broadcast", "1", "--dvr-window-s", "3600"];
/// Number of segments that have left the live window before the node is killed.
const GONE: u64 = 10;
/// Index of the segment whose file is damaged.
const DAMAGED: usize = 3;
/// Longest distance of two video packets: a frame at 30 per second, in RTMP's milliseconds.
const FRAME_SECONDS_MAX: f64 = 0.0345;
/// Longest distance of two audio packets: an AAC frame at 48 kHz.
const SOUND_SECONDS_MAX: f64 = 0.0214;

/// A viewer of the recording.
struct Viewer<'u> {
    up: &'u Up,
}

impl Viewer<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}/live/hall/{path}", self.up.https())
    }

    async fn recorded(&self, rendition: &str) -> Option<MediaPlaylist> {
        Some(parse(&get(&self.up.http, &self.url(&format!("{rendition}/dvr.m3u8"))).await?))
    }

    async fn bytes(&self, rendition: &str, uri: &str) -> Vec<u8> {
        get_bytes(&self.up.http, &self.url(&format!("{rendition}/{uri}"))).await
    }

    async fn status(&self, rendition: &str, uri: &str) -> StatusCode {
        self.up.http.get(self.url(&format!("{rendition}/{uri}"))).send().await.unwrap().status()
    }

    /// Downloads everything that a recording lists. Returns it in one file, and each object by its URI.
    async fn download(&self, rendition: &str, listed: &[MediaSegment]) -> (PathBuf, BTreeMap<String, Vec<u8>>) {
        let map = listed[0].map.as_ref().expect("the first segment has a map").uri.clone();
        let mut objects = BTreeMap::from([(map.clone(), self.bytes(rendition, &map).await)]);
        let mut all = objects[&map].clone();
        for segment in listed {
            let bytes = self.bytes(rendition, &segment.uri).await;
            all.extend_from_slice(&bytes);
            objects.insert(segment.uri.clone(), bytes);
        }
        let path = self.up.directory.path().join(format!("{rendition}-{}.mp4", listed.len()));
        std::fs::write(&path, all).unwrap();
        (path, objects)
    }
}

/// Presentation times of a file's packets in seconds, sorted.
fn times(file: &Path) -> Vec<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe is installed: scripts/setup.sh test");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut times: Vec<f64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// FFmpeg as a viewer who goes back to the start of a recording and watches some seconds.
fn watch_from_the_start(url: &str, seconds: u32) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-live_start_index", "0", "-i", url, "-t", &seconds.to_string()])
        .args(["-progress", "pipe:1", "-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed: scripts/setup.sh test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{url}: {said}");
    let progress = String::from_utf8_lossy(&output.stdout);
    let frames =
        progress.lines().filter_map(|line| line.strip_prefix("frame=")?.trim().parse::<u32>().ok()).next_back();
    assert!(frames.is_some_and(|frames| frames >= seconds * 30 - 1), "{url}: {progress}");
}

/// What identifies a listed segment.
fn listed(playlist: &MediaPlaylist) -> Vec<(String, f32)> {
    playlist.segments.iter().map(|segment| (segment.uri.clone(), segment.duration)).collect()
}

/// A rendition as it was recorded before the node was killed.
struct Recorded {
    segments: Vec<(String, f32)>,
    /// All listed objects, by their URIs.
    objects: BTreeMap<String, Vec<u8>>,
}

impl Viewer<'_> {
    async fn wait_until_media_left_the_live_window(&self) {
        eventually_async("the live window to go on", PATIENCE, async || {
            let live = playlist(&self.up.http, &self.up.https(), "hall", "audio", 1).await;
            (live.media_sequence >= GONE).then_some(())
        })
        .await;
    }

    /// The stream's summary and the recording's multivariant playlist lead to all renditions, from their start.
    async fn assert_recording_is_found(&self, names: &BTreeSet<String>) {
        let summary = get(&self.up.http, &format!("{}/api/v1/streams/hall", self.up.https())).await.unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["dvr"], serde_json::json!({"url": "/live/hall/dvr.m3u8", "window_s": 3_600}));
        let multivariant = get(&self.up.http, &self.url("dvr.m3u8")).await.unwrap();
        assert!(names.iter().all(|name| multivariant.contains(&format!("{name}/dvr.m3u8"))), "{multivariant}");
        let iframes = parse(&get(&self.up.http, &self.url("240p/dvr-iframes.m3u8")).await.unwrap());
        assert!(iframes.i_frames_only && iframes.media_sequence == 0 && iframes.segments.len() as u64 > GONE);
    }

    /// A rendition is recorded from the start of the stream, decodes, and its timeline has no jump.
    async fn assert_recorded_whole(&self, name: &str) -> Recorded {
        let live = playlist(&self.up.http, &self.up.https(), "hall", name, 1).await;
        let recorded = self.recorded(name).await.unwrap();
        assert_eq!(recorded.media_sequence, 0);
        assert!(recorded.segments.len() as u64 >= live.media_sequence + live.segments.len() as u64);
        let oldest = &recorded.segments[0].uri;
        assert!(live.segments.iter().all(|segment| segment.uri != *oldest), "{oldest} has left the live window");
        let (first, _) = self.download(name, &recorded.segments[..1]).await;
        decode(&first);
        let (whole, objects) = self.download(name, &recorded.segments).await;
        decode(&whole);
        let longest = if name == "audio" { SOUND_SECONDS_MAX } else { FRAME_SECONDS_MAX };
        let times = times(&whole);
        let jump = times.windows(2).find(|pair| pair[1] - pair[0] > longest);
        assert!(jump.is_none(), "{name}: the timeline jumps at {jump:?}");
        let sum: f32 = recorded.segments.iter().map(|segment| segment.duration).sum();
        let spans = times.last().unwrap() - times[0];
        assert!((spans - f64::from(sum)).abs() < 0.1, "{name}: {spans} s of packets, {sum} s listed");
        Recorded { segments: listed(&recorded), objects }
    }

    /// A rendition that was recorded before is still listed and served, except for the object at `damaged`, and goes on.
    async fn assert_recording_goes_on(&self, name: &str, before: &Recorded, damaged: Option<&str>) {
        let Recorded { segments, objects } = before;
        let newest = segments.len() as u64;
        let after = eventually_async("the recording to go on", PATIENCE, async || {
            self.recorded(name).await.filter(|after| after.segments.len() as u64 > newest + 3)
        })
        .await;
        assert_eq!(after.media_sequence, 0);
        assert_eq!(&listed(&after)[..segments.len()], segments, "{name}: the same segments are listed again");
        for (uri, bytes) in objects {
            if damaged == Some(uri) {
                assert_eq!(self.status(name, uri).await, StatusCode::NOT_FOUND, "wrong bytes are never served");
            } else {
                assert_eq!(self.bytes(name, uri).await, *bytes, "{name}/{uri}");
            }
        }
    }
}

/// Flips a bit in the file of a recorded object of the rendition 240p, which held `bytes`.
fn damage(directory: &Path, uri: &str, bytes: &[u8]) {
    let path = directory.join("data/b1/dvr/hall").join(uri).with_extension("").join("240p.m4s");
    let mut kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(kept, bytes);
    let middle = kept.len() / 2;
    kept[middle] ^= 1;
    std::fs::write(&path, kept).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_live_window_is_there_from_the_start_also_after_kill_9_and_never_wrong() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
    // The file is longer than its publishing, because its timeline jumps where it begins again.
    let file = clip(directory.path(), Clip { seconds: 90, ..Clip::default() });
    let up = Up::start_in(SEALCAST, directory, &FLAGS).await;
    let publisher = publish(&file, &up.rtmp(), &up.key("hall"));
    let names = renditions(&multivariant(&up.http, &up.https(), "hall").await);
    let viewer = Viewer { up: &up };
    viewer.wait_until_media_left_the_live_window().await;
    viewer.assert_recording_is_found(&names).await;
    watch_from_the_start(&viewer.url("dvr.m3u8"), 20);
    let mut before = BTreeMap::new();
    for name in &names {
        before.insert(name.as_str(), viewer.assert_recorded_whole(name).await);
    }

    // `kill -9`, and damage to the disk meanwhile.
    let Up { mut process, directory, .. } = up;
    process.kill();
    drop(publisher);
    let small = &before["240p"];
    let damaged = small.segments[DAMAGED].0.as_str();
    damage(directory.path(), damaged, &small.objects[damaged]);

    let up = Up::start_in(SEALCAST, directory, &FLAGS).await;
    let _publisher = publish(&file, &up.rtmp(), &up.key("hall"));
    let viewer = Viewer { up: &up };
    for (name, before) in &before {
        viewer.assert_recording_goes_on(name, before, (*name == "240p").then_some(damaged)).await;
    }
    // The damage costs no other object: the newest segment of the same rendition is still served.
    let live = playlist(&up.http, &up.https(), "hall", "240p", 1).await;
    let newest = &live.segments.last().unwrap().uri;
    assert!(!viewer.bytes("240p", newest).await.is_empty());
    assert_eq!(viewer.status("240p", damaged).await, StatusCode::NOT_FOUND);
    up.stop().await;
}
