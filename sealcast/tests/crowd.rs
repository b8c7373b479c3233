//! Viewers who come all at once on an overloaded machine, on which the ingest sheds rungs while they watch.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use futures_util::future::join_all;
use testkit::browser::Browser;
use testkit::hls::multivariant;
use testkit::publish::{busy_encoders, film, publish};
use testkit::sealcast::Up;
use testkit::wait::PATIENCE;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const VIEWERS: usize = 4;
const ROUNDS: usize = 2;
/// More encoders than the machine has free cores, so that it is busy.
const ENCODERS: usize = 2;
/// Time that each plays from its first picture on, within which rungs are shed.
const PLAY_SECONDS: f64 = 12.0;
/// Between two reports, a second apart, a position that moves by more than this has jumped.
const JUMP_SECONDS: f64 = 3.0;
/// Longest time that a page is open.
const OPEN_SECONDS: u32 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn every_viewer_of_a_crowd_plays_on_while_the_machine_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let film = film(directory.path(), 10);
    let toml = "[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n";
    std::fs::write(directory.path().join("sealcast.toml"), toml).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let _publisher = publish(&film, &up.rtmp(), &up.key("hall"));
    multivariant(&up.http, &up.https(), "hall").await;
    let page = format!("{}/watch/hall", up.https());
    let _encoders = busy_encoders(ENCODERS);
    for _ in 0..ROUNDS {
        join_all((0..VIEWERS).map(|_| play_on(&page))).await;
    }
    up.stop().await;
}

/// Opens the page and stays until it has played [`PLAY_SECONDS`].
async fn play_on(page: &str) {
    let mut browser = Browser::open(page, OPEN_SECONDS);
    browser.until_playing().await;
    let (mut played, mut position) = (0.0, f64::NAN);
    let playing = async {
        while played < PLAY_SECONDS {
            let report = browser.next().await.expect("the browser stays");
            let now = report["player"]["currentTime"].as_f64().unwrap_or(f64::NAN);
            let moved = now - position;
            played += if (0.0..JUMP_SECONDS).contains(&moved) { moved } else { 0.0 };
            position = now;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, playing).await;
    assert!(ended.is_ok(), "played {played:.1} s only: {:?}", browser.reports.last());
    let last = browser.stop().await.0.pop().unwrap();
    eprintln!("stalls {}, watchdog {}", last["player"]["stalls"], last["player"]["watchdog"]);
    assert_eq!(last["player"]["fatalErrors"], 0, "{last}");
    assert_eq!(last["pageErrors"], serde_json::json!([]), "{last}");
}
