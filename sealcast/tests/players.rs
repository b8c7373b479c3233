//! Common players, each through a reconnect of the encoder, a switch of rung and the death of its node.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use testkit::players::Kind;
use testkit::players::scenario::{Script, Verdict, play};
use testkit::wait::turn;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Segments are short, so that players begin near the end and buffer little: each event reaches every screen within these seconds.
const SCRIPT: Script = Script { seconds: 8.0, segment_seconds: 2 };

/// Most stalls of Sealcast's page per step. A returning encoder, the death of a node and a busy machine may show; a broken player has
/// one stall per second.
const STALLS_MAX: u64 = 6;

/// Five steps of a minute each.
const SOAK: Script = Script { seconds: 60.0, segment_seconds: 4 };

#[tokio::test(flavor = "multi_thread")]
async fn every_player_plays_on_through_reconnect_switch_and_death_of_its_node() {
    let _turn = turn().await;
    for verdict in play(SEALCAST, &Kind::OTHERS, SCRIPT).await {
        assert_played_on(&verdict);
        // Only objects may be missing that were hinted when the encoder went away (RFC 8216bis, 6.2.6). hls.js ignores them; Shaka
        // reports them, changes rendition and plays on.
        let complaints = &verdict.progress.complaints;
        let missing = complaints.iter().filter(|said| said.contains(",404]") || said.contains(" 404 "));
        assert!(missing.clone().all(|said| said.contains("/1/")), "{}\n{}", verdict.kind.name(), complaints.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_plays_on_through_the_same_in_firefox_and_webkit() {
    let _turn = turn().await;
    play(SEALCAST, &[Kind::PageInFirefox, Kind::PageInWebKit], SCRIPT).await.iter().for_each(assert_page_played_on);
}

/// Five minutes of playing in each browser, with the events between them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: takes about eight minutes"]
async fn soak_page_plays_for_minutes_in_every_browser() {
    let _turn = turn().await;
    play(SEALCAST, &Kind::PAGES, SOAK).await.iter().for_each(assert_page_played_on);
}

fn assert_played_on(verdict: &Verdict) {
    eprintln!("{verdict}");
    let (name, said) = (verdict.kind.name(), verdict.progress.complaints.join("\n"));
    assert_eq!(verdict.broke, None, "{name} after {:?}\n{said}", verdict.passed);
    assert_eq!(verdict.progress.errors, [""; 0], "{name}\n{said}");
}

fn assert_page_played_on(verdict: &Verdict) {
    assert_played_on(verdict);
    let stalled: Vec<_> = verdict.passed.iter().filter(|step| step.imperfections > STALLS_MAX).collect();
    assert!(stalled.is_empty(), "{} stalled: {stalled:?}", verdict.kind.name());
}
