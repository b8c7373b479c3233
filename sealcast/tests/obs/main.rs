//! OBS Studio itself streams to a real `sealcast up`, while a real hls.js plays. The tests check how the stream is shown, what happens
//! to it when OBS or the server is cut off, killed or stopped, and how OBS takes a refusal.
//!
//! Not part of `make test`: `make obs-test` installs OBS and an X server that needs no screen. Timing is the default: 30 s of grace,
//! takeover after 5 s of silence. Only segments are shorter, so that a discontinuity is listed soon.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]
#![allow(unreachable_pub, reason = "modules of a test")]

mod onlooker;
mod studio;

use std::path::PathBuf;
use std::time::Duration;

use onlooker::{Onlooker, discontinuities, end};
use serde_json::Value;
use studio::{Display, Obs};
use testkit::browser::Browser;
use testkit::hls::{decode, download};
use testkit::link::{Link, Mode};
use testkit::players::Player;
use testkit::publish::{Clip, clip};
use testkit::sealcast::{self, Up, text};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const KEY: &str = "for-this-test-only";
/// A ladder of OBS's own video, passed through, and a small encoded rung.
const SETTINGS: &str = r#"[[streams]]
name = "hall"
key = "for-this-test-only"
[role.ingest]
segment_ms = 2000
[role.broadcast]
target_duration_s = 2
[role.ingest.pipeline]
rungs = [{ short_side = 360 }, { short_side = 180, kbit_per_second = 200 }]
preset = "ultrafast"
"#;
/// Time that the picture has to move after each event, in seconds.
const PLAYS_SECONDS: f64 = 4.0;
/// Number of segments that have to follow the last event without another discontinuity.
const SEGMENTS_AFTER: u64 = 3;
/// Longest wait until OBS notices a dead connection. Once its buffers are full, OBS waits for 15 s.
const OBS_NOTICES_MAX: Duration = Duration::from_secs(90);

const DISCONNECTED: &str = "Disconnected from rtmp://";
const CONNECTED: &str = "successful\n";

/// hls.js repeats the load of a playlist twice, and counts the repetitions of all levels together. When no server listens, hls.js 1.7.4
/// changes level twice within 50 ms, each with an immediate load, and calls the third failure fatal. An integrator has to allow more
/// for the time without a server.
const PATIENT: &str = r#"{ "playlistLoadPolicy": { "default": {
    "maxTimeToFirstByteMs": 10000, "maxLoadTimeMs": 20000,
    "timeoutRetry": { "maxNumRetry": 2, "retryDelayMs": 0, "maxRetryDelayMs": 0 },
    "errorRetry": { "maxNumRetry": 8, "retryDelayMs": 1000, "maxRetryDelayMs": 8000 }
} } }"#;

/// A server, and the link by which OBS reaches it.
struct Stage {
    up: Up,
    link: Link,
    display: Display,
    clip: PathBuf,
    onlooker: Onlooker,
    /// Number of OBS instances so far.
    studios: usize,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("sealcast.toml"), SETTINGS).unwrap();
        let display = Display::start(directory.path()).await;
        let clip = clip(directory.path(), Clip::default());
        let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
        let target = up.rtmp().trim_start_matches("rtmp://").trim_end_matches("/live").parse().unwrap();
        let link = Link::open(target).await;
        let onlooker = Onlooker::start(up.http.clone(), format!("{}/live/hall/360p/index.m3u8", up.https()));
        Self { up, link, display, clip, onlooker, studios: 0 }
    }

    /// Starts OBS, and waits until it streams or is refused.
    async fn obs(&mut self, key: &str) -> Obs {
        self.studios += 1;
        let home = self.up.directory.path().join(format!("obs{}", self.studios));
        let server = format!("rtmp://{}/live", self.link.address);
        let obs = Obs::start(&self.display, home, &self.clip, &server, key);
        obs.says("Connection to rtmp://", 0, PATIENCE).await;
        obs
    }

    /// Starts an unmodified hls.js on the live stream.
    async fn player(&mut self) -> Player {
        self.player_with("{}").await
    }

    /// As [`Stage::player`], with additional configuration.
    async fn player_with(&mut self, config: &str) -> Player {
        self.onlooker.until("three segments", PATIENCE, |playlist| playlist.segments.len() >= 3).await;
        let url = format!("{}/live/hall/index.m3u8", self.up.https());
        let mut player = Player::hls_js(&url, config);
        player.plays("start", PLAYS_SECONDS, PATIENCE).await.unwrap();
        player
    }

    /// Waits until there were `wanted` discontinuities, and the player has played on.
    async fn goes_on(&mut self, what: &str, wanted: u64, player: &mut Player) {
        let before = end(&self.onlooker.newest());
        let there = |playlist: &_| discontinuities(playlist) >= wanted && end(playlist) > before;
        let playlist = self.onlooker.until(&format!("{what}: {wanted} discontinuities"), PATIENCE, there).await;
        assert_eq!(discontinuities(&playlist), wanted, "{what}: {playlist:?}");
        assert!(!playlist.end_list, "{what}");
        player.plays(what, PLAYS_SECONDS, PATIENCE).await.unwrap();
    }

    /// Checks that more segments come without another discontinuity, and that no playlist contradicted another.
    async fn settles(&mut self, wanted: u64, player: &Player) {
        let goal = end(&self.onlooker.newest()) + SEGMENTS_AFTER;
        let playlist = self.onlooker.until("more segments", PATIENCE, |playlist| end(playlist) >= goal).await;
        assert_eq!(discontinuities(&playlist), wanted, "{playlist:?}");
        self.onlooker.assert_never_contradicted_itself();
        let now = player.progress();
        assert_eq!(now.errors, [""; 0], "hls.js calls nothing fatal: {:?}", now.complaints);
        eprintln!(
            "hls.js played {:.0} s, {} stalls, {:?}",
            now.played_seconds,
            now.imperfections,
            now.kinds_of_complaints()
        );
    }

    /// The report on the stream's input, from `sealcast stream show`.
    fn input(&self) -> Value {
        let shown = self.run(&["stream", "show", "hall", "--json"]);
        serde_json::from_str::<Value>(&shown).unwrap()["input"].take()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output =
            sealcast::command(SEALCAST).args(arguments).current_dir(self.up.directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Number of publishers that were refused for this reason.
    async fn refused(&self, reason: &str) -> u64 {
        let ops = format!("{}/metrics", text(&self.up.ready, "ops"));
        let metrics = self.up.http.get(ops).send().await.unwrap().text().await.unwrap();
        let name = format!("ingest_refused_total{{reason=\"{reason}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OBS: make obs-test"]
async fn obs_is_shown_as_it_is_and_played_with_picture_and_sound() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let obs = stage.obs(KEY).await;
    let mut player = stage.player().await;
    // A busy machine may get a warning that it is slow, but no warning about OBS.
    let input = eventually_async("figures without a warning", PATIENCE, async || {
        let input = stage.input();
        let settled = input["video"]["keyframe_interval_ms"].is_u64() && input["warnings"] == serde_json::json!([]);
        settled.then_some(input)
    })
    .await;
    let [video, audio] = [&input["video"], &input["audio"]];
    assert!(text(&input, "encoder").starts_with("obs-output module"), "{input}");
    assert!(text(video, "codec").starts_with("avc1.") && video["passed_through"] == true, "{input}");
    assert_eq!((&video["width"], &video["height"]), (&640.into(), &360.into()), "{input}");
    assert_eq!(
        (&audio["codec"], &audio["sample_rate_hz"], &audio["channels"]),
        (&"mp4a.40.2".into(), &48_000.into(), &2.into())
    );
    assert_eq!(video["announced_frame_rate_millihertz"], 30_000, "{input}");
    let between = |value: &Value, range: std::ops::RangeInclusive<u64>| {
        value.as_u64().is_some_and(|value| range.contains(&value))
    };
    assert!(between(&video["keyframe_interval_ms"], 1_990..=2_010), "{input}");
    assert!(between(&video["frame_rate_millihertz"], 20_000..=31_000), "{input}");
    assert!(between(&input["bit_rate"], 400_000..=1_500_000), "800 kbit/s of picture, 96 of sound: {input}");
    assert_eq!((&input["reconnects"], &input["clock_jumps"]), (&0.into(), &0.into()), "{input}");
    for rendition in ["360p", "180p", "audio"] {
        let path = stage.up.directory.path().join(format!("{rendition}.mp4"));
        std::fs::write(&path, download(&stage.up.http, &stage.up.https(), "hall", rendition, 3).await).unwrap();
        decode(&path);
    }
    player.plays("on", PLAYS_SECONDS, PATIENCE).await.unwrap();
    stage.settles(0, &player).await;
    obs.stop().await;
    stage.up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OBS: make obs-test"]
async fn obs_that_is_cut_off_comes_back_by_itself_each_time() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let obs = stage.obs(KEY).await;
    let mut player = stage.player().await;
    let mut wanted = 0;
    for (mode, times) in [(Mode::Reset, 5), (Mode::Forgotten, 1), (Mode::Dead, 1)] {
        for time in 1..=times {
            let (disconnected, connected) = (obs.said(DISCONNECTED), obs.said(CONNECTED));
            let refused = stage.refused("busy").await;
            stage.link.set(mode);
            obs.says(DISCONNECTED, disconnected, OBS_NOTICES_MAX).await;
            stage.link.set(Mode::Pass);
            obs.says(CONNECTED, connected, PATIENCE).await;
            wanted += 1;
            stage.goes_on(&format!("{mode:?} {time}"), wanted, &mut player).await;
            // With `Forgotten`, the old connection stays open. Until it has been silent for 5 s, OBS is refused and connects again.
            if mode != Mode::Forgotten {
                assert_eq!(stage.refused("busy").await, refused, "{mode:?}");
            }
        }
    }
    stage.settles(wanted, &player).await;
    obs.stop().await;
    stage.up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OBS: make obs-test"]
async fn obs_that_is_killed_goes_on_within_the_grace_and_one_that_was_stopped_begins_anew_after_it() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let mut obs = stage.obs(KEY).await;
    let mut player = stage.player().await;
    obs.process.kill();
    let obs = stage.obs(KEY).await;
    stage.goes_on("killed", 1, &mut player).await;
    stage.settles(1, &player).await;
    drop(player);

    let mut browser = Browser::open(&format!("{}/watch/hall", stage.up.https()), 300);
    browser.until_playing().await;
    obs.stop().await;
    let ended = stage.onlooker.until("the end", PATIENCE, |playlist| playlist.end_list).await;
    assert_eq!(discontinuities(&ended), 1);
    let obs = stage.obs(KEY).await;
    let anew = stage.onlooker.until("a new session", PATIENCE, |playlist| !playlist.end_list).await;
    let anew = stage.onlooker.until("its segments", PATIENCE, |playlist| end(playlist) >= end(&anew) + 2).await;
    assert!(discontinuities(&anew) == 2 && end(&anew) > end(&ended), "{anew:?}");
    browser.until("to play the new session", |player| player["verified"]["epoch"] == 3).await;
    let from = browser.reports.last().and_then(|report| report["player"]["currentTime"].as_f64()).unwrap();
    let moves = |player: &Value| player["currentTime"].as_f64().is_some_and(|now| now >= from + PLAYS_SECONDS);
    browser.until("to play on", moves).await;
    stage.onlooker.assert_never_contradicted_itself();
    obs.stop().await;
    stage.up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OBS: make obs-test"]
async fn obs_comes_back_by_itself_when_everything_was_killed_and_started_anew() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let obs = stage.obs(KEY).await;
    let mut player = stage.player_with(PATIENT).await;
    let address = |url: String| url.split('/').nth(2).unwrap().to_owned();
    let (rtmp, https) = (address(stage.up.rtmp()), address(stage.up.https()));
    let connected = obs.said(CONNECTED);
    let Up { mut process, directory, .. } = stage.up;
    process.kill();
    stage.up =
        Up::start_in(SEALCAST, directory, &["--no-source", "--rtmp-listen", &rtmp, "--https-listen", &https]).await;
    obs.says(CONNECTED, connected, PATIENCE).await;
    stage.goes_on("killed server", 1, &mut player).await;
    stage.settles(1, &player).await;
    obs.stop().await;
    stage.up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OBS: make obs-test"]
async fn obs_says_why_it_is_refused_and_nobody_else_is_harmed() {
    let _turn = turn().await;
    let mut stage = Stage::set().await;
    let obs = stage.obs(KEY).await;
    let mut player = stage.player().await;
    for (key, why, reason) in [
        ("wrong-for-this-test", "Wrong stream key.", "wrong_key"),
        (KEY, "This stream is being published already.", "busy"),
    ] {
        let mut refused = stage.obs(key).await;
        refused.says("==== Streaming Stop ====", 0, PATIENCE).await;
        assert!(refused.log().contains(&format!("NetStream.Publish.BadName ({why})")), "{}", refused.log());
        assert_eq!(stage.refused(reason).await, 1, "{reason}");
        refused.process.kill();
        player.plays(reason, PLAYS_SECONDS, PATIENCE).await.unwrap();
    }
    assert_eq!(obs.said(DISCONNECTED), 0);
    stage.settles(0, &player).await;
    obs.stop().await;
    stage.up.stop().await;
}
