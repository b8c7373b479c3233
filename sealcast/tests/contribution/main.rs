//! Contribution: sends to a real `sealcast up` what encoders and strangers really send. Each case has its expected outcome, and after
//! each case, the same stream takes a normal publisher.
//!
//! The cases are those of `conformance rtmp`. They cannot kill an ingest in the middle of a segment;
//! `killed_ingest_comes_back_and_the_playlist_goes_on_with_one_discontinuity` in `cluster.rs` does.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]
#![allow(unreachable_pub, reason = "modules of a test")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use conformance::rtmp::cases::{self, Case};
use conformance::rtmp::run::{self, Judged, Settings};
use conformance::watch::{Network, Trust};
use testkit::sealcast::Up;
use testkit::wait::turn;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Cases that run side by side: most of them wait most of the time, and two cores have to keep up with the others.
const PARALLEL: usize = 10;
/// Media that may be missing.
const KEEPS_BACK: Duration = Duration::from_secs(2);
/// Segments are short, so that a discontinuity is listed soon. Sources are passed through, or encoded small if they cannot be.
const SETTINGS: &str = "[role.ingest]
segment_ms = 2000
connections_per_address_max = 200
[role.ingest.pipeline]
rungs = [{ short_side = 180 }]
preset = \"ultrafast\"
";

/// Starts `sealcast up` with a stream for each case, so that no case finds what another left behind.
async fn start(cases: &[Case]) -> Up {
    let directory = tempfile::tempdir().unwrap();
    let mut toml = SETTINGS.to_owned();
    for case in cases {
        write!(toml, "[[streams]]\nname = \"check-{0}\"\nkey = \"check-{0}\"\n", case.name).unwrap();
    }
    std::fs::write(directory.path().join("sealcast.toml"), toml).unwrap();
    Up::start_in(SEALCAST, directory, &["--no-source", "--broadcast", "1"]).await
}

async fn outcomes(up: &Up, cases: Vec<Case>) -> Vec<Judged> {
    let settings = Settings {
        url: up.rtmp(),
        keys: vec![format!("check-{}", run::CASE)],
        hls: format!("{}/live/{}/index.m3u8", up.https(), run::KEY),
        parallel: PARALLEL,
        keeps_back: KEEPS_BACK,
    };
    let network = Arc::new(Network::new(&Trust::Authority(up.ca())).unwrap());
    run::run(&settings, network, cases, |judged| eprintln!("{}", judged.line())).await.unwrap()
}

/// `SEALCAST_CASE=timing cargo test -p sealcast --test contribution` runs only cases whose names begin with `timing`.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_has_its_outcome_and_the_next_publisher_is_taken() {
    let _turn = turn().await;
    let only = std::env::var("SEALCAST_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.name.starts_with(&only)).collect();
    let up = start(&cases).await;
    let count = cases.len();
    let judged = outcomes(&up, cases).await;
    assert_eq!(judged.len(), count);
    let failed: Vec<String> = judged.iter().filter(|judged| !judged.passed()).map(Judged::line).collect();
    assert!(failed.is_empty(), "{} of {count} cases:\n{}", failed.len(), failed.join("\n"));
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcome_that_does_not_come_is_noticed() {
    let _turn = turn().await;
    let wrong = [
        ("handshake-simple", cases::Outcome::PlaysWithOneDiscontinuity, "discontinuities: 0"),
        ("timing-back-1-h", cases::Outcome::Plays, "discontinuities: 1"),
        ("codec-unknown-four-cc", cases::Outcome::Plays, "there is no picture"),
        ("audio-none", cases::Outcome::Refused, "a publisher was let in"),
    ];
    let all = cases::all();
    let case = |name: &str| *all.iter().find(|case| case.name == name).unwrap();
    let cases: Vec<Case> = wrong.iter().map(|(name, outcome, _)| Case { outcome: *outcome, ..case(name) }).collect();
    let up = start(&cases).await;
    for (judged, (name, _, said)) in outcomes(&up, cases).await.iter().zip(wrong) {
        assert_eq!(judged.case, name);
        assert!(judged.faults.iter().any(|fault| fault.contains(said)), "{}", judged.line());
    }
    up.stop().await;
}
