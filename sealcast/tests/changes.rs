//! Unmodified players change rendition again and again, within segments and at their ends, and play on.
//!
//! Sources have no B-frames, or two or three in a row; the top rendition is passed through, or all renditions are encoded.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::time::Duration;

use serde_json::Value;
use testkit::hls::playlist;
use testkit::players::{By, Changes, Kind, Player, Progress};
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::Up;
use testkit::wait::{PATIENCE, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const KEY: &str = "for-this-test-only";
/// Longest wait for a change. They come every 6.5 s on average, by bandwidth every 15 s, and machines that run tests are busy.
const CHANGE_PATIENCE: Duration = Duration::from_secs(40);

/// The clip is short, because the times of pictures shift by some milliseconds where it begins again. Encoders that measure the time of each
/// picture always send such times.
const CLIP_SECONDS: u32 = 7;

/// How the stream is published and encoded.
#[derive(Debug, Clone, Copy)]
struct Stream {
    b_frames: u32,
    /// `auto` or `never`.
    pass_through: &'static str,
}

impl Stream {
    fn settings(self) -> String {
        let Self { pass_through, .. } = self;
        format!(
            "[[streams]]\nname = \"hall\"\nkey = \"{KEY}\"\n[role.ingest.pipeline]\npass_through = \"{pass_through}\"\n\
             preset = \"ultrafast\"\nrungs = [{{ short_side = 360 }}, {{ short_side = 240, kbit_per_second = 400 }}]\n"
        )
    }
}

/// The outcome of a player.
#[derive(Debug)]
struct Changed {
    mid_segment: u64,
    at_segment: u64,
    longest_still_ms: u64,
}

/// Has each player change rendition, until all changes are done or enough of them fell within a segment. All play one stream.
async fn change(stream: Stream, kinds: &[Kind], changes: Changes, mid_segment_enough: u64) -> Vec<(Kind, Changed)> {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), stream.settings()).unwrap();
    let file = clip(directory.path(), Clip { b_frames: stream.b_frames, seconds: CLIP_SECONDS, ..Clip::default() });
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let _publisher = publish(&file, &up.rtmp(), KEY);
    playlist(&up.http, &up.https(), "hall", "240p", 3).await;
    let url = format!("{}/live/hall/index.m3u8", up.https());
    let run = async |kind: Kind| {
        let mut player = Player::changing(kind, &url, changes);
        let seen = |report: &Value| report["midSegment"].as_u64().zip(report["atSegment"].as_u64());
        let enough = |report: &Value| {
            seen(report).is_some_and(|(mid, at)| mid >= mid_segment_enough || mid + at >= u64::from(changes.count))
        };
        let patience = CHANGE_PATIENCE * changes.count + PATIENCE;
        let over = |now: &Progress| enough(&now.changes) || !now.errors.is_empty();
        player.until("changes", patience, over).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(player.progress().errors, [""; 0], "{kind:?}");
        // The effect of the last change on the picture shows only when its media is played.
        player.plays("the last change", 5.0, PATIENCE).await.unwrap_or_else(|why| panic!("{why}"));
        let now = player.progress();
        assert_eq!(now.errors, [""; 0], "{kind:?}");
        let (mid_segment, at_segment) = seen(&now.changes).unwrap();
        let longest_still_ms = now.changes["longestStillMs"].as_u64().unwrap();
        let changed = Changed { mid_segment, at_segment, longest_still_ms };
        let standstills = &now.changes["standstills"];
        eprintln!("{stream:?} by {:?} {}: {changed:?}, standstills {standstills:#}", changes.by, kind.name());
        (kind, changed)
    };
    futures_util::future::join_all(kinds.iter().map(|kind| run(*kind))).await
}

const fn told(count: u32) -> Changes {
    Changes { count, by: By::Choice }
}

/// Longest standstill. A player that waits for media that it believes to have stands still for five seconds; a busy machine costs less
/// than two.
const STILL_MS_MAX: u64 = 2_000;
/// Longest standstill on a machine on which nothing else runs.
const SOAK_STILL_MS_MAX: u64 = 250;

#[tokio::test(flavor = "multi_thread")]
async fn players_play_on_after_changes_in_the_middle_of_segments() {
    let stream = Stream { b_frames: 3, pass_through: "auto" };
    // Half of all changes fall within a segment.
    for (kind, changed) in change(stream, &[Kind::HlsJs, Kind::Shaka], told(20), 3).await {
        assert!(changed.mid_segment >= 3, "{}: {changed:?}", kind.name());
        assert!(changed.longest_still_ms <= STILL_MS_MAX, "{}: {changed:?}", kind.name());
    }
}

/// On each of three streams: 204 changes of each player.
const SOAK_CHANGES: u32 = 68;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: 204 changes of each of two players on three streams, a quarter of an hour"]
async fn soak_players_change_encoded_rendition_two_hundred_times() {
    two_hundred("never", SOAK_STILL_MS_MAX).await;
}

/// What a source with a keyframe every two seconds costs a player as it comes: a change to it may lack pictures up to the next one.
const SOAK_PASSED_THROUGH_STILL_MS_MAX: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: 204 changes of each of two players on three streams, a quarter of an hour"]
async fn soak_players_change_to_passed_through_rendition_and_back_two_hundred_times() {
    two_hundred("auto", SOAK_PASSED_THROUGH_STILL_MS_MAX).await;
}

async fn two_hundred(pass_through: &'static str, still_ms_max: u64) {
    let mut still = Vec::new();
    for b_frames in [0, 2, 3] {
        let stream = Stream { b_frames, pass_through };
        for (kind, changed) in change(stream, &[Kind::HlsJs, Kind::Shaka], told(SOAK_CHANGES), u64::MAX).await {
            assert!(changed.mid_segment >= 4 && changed.at_segment >= 4, "{}: {changed:?}", kind.name());
            if changed.longest_still_ms > still_ms_max {
                still.push(format!("{} on {stream:?}: {changed:?}", kind.name()));
            }
        }
    }
    assert_eq!(still, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: 100 changes of two players; does not pass yet: the narrow link starves the player before hls.js leaves the rung"]
async fn soak_players_change_rendition_with_their_bandwidth() {
    let stream = Stream { b_frames: 3, pass_through: "auto" };
    let changes = Changes { count: 100, by: By::Bandwidth };
    for (kind, changed) in change(stream, &[Kind::HlsJs, Kind::Shaka], changes, u64::MAX).await {
        assert!(changed.longest_still_ms <= SOAK_STILL_MS_MAX, "{}: {changed:?}", kind.name());
    }
}
