//! Tests the checker against a correct origin, and against origins with one fault each.
//!
//! A live origin goes by the clock. Faults run in virtual time and without a network, so that nothing depends on the machine's load.
//! What only a network shows runs over HTTPS, with much slack.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]
#![allow(unreachable_pub, reason = "the origin's modules are one program with the tests")]

mod origin;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use conformance::report::{Colour, Report};
use conformance::verdict::Status;
use conformance::watch::{Cookies, Network, Settings, Tools, Trust, observe};
use origin::clip::Clips;
use origin::{Break, InProcess, Kind, Origin, Station};

fn settings(url: &str, tools: Tools, slack: Duration) -> Settings {
    Settings {
        url: url.to_owned(),
        // Long enough for each of the origin's events.
        duration: Duration::from_secs(7),
        row_timeout: Duration::from_secs(5),
        cookies: Cookies::Keep,
        tools,
        slack,
    }
}

fn clips() -> Arc<Clips> {
    static CLIPS: OnceLock<Arc<Clips>> = OnceLock::new();
    CLIPS.get_or_init(|| Arc::new(Clips::encode())).clone()
}

/// Runs the checker in this process and in virtual time.
fn virtually(kind: Kind, broken: Break) -> Report {
    let clips = clips();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let origin = Arc::new(InProcess::new(Station::new(kind, broken, clips)));
        let settings = settings("https://origin.test/live/index.m3u8", Tools::Leave, Duration::from_millis(150));
        Report::of(&observe(origin, &settings).await.unwrap(), &[])
    })
}

/// Runs the checker over HTTPS.
async fn really(kind: Kind) -> Report {
    let origin = Origin::start(kind, Break::None, clips()).await;
    let network = Arc::new(Network::new(&Trust::Authority(origin.ca.clone())).unwrap());
    let settings = settings(&origin.url, Tools::Use, Duration::from_secs(3));
    Report::of(&observe(network, &settings).await.unwrap(), &[])
}

fn with(report: &Report, statuses: &[Status]) -> BTreeSet<u8> {
    report.rows.iter().filter(|judged| statuses.contains(&judged.verdict.status)).map(|judged| judged.row).collect()
}

fn passed(report: &Report) -> BTreeSet<u8> {
    with(report, &[Status::Pass])
}

fn rows(rows: &[u8]) -> BTreeSet<u8> {
    rows.iter().copied().collect()
}

#[test]
fn origins_without_fault_pass_every_row_that_applies() {
    let low_latency = virtually(Kind::LowLatency, Break::None);
    let all: BTreeSet<u8> = (1..=39).collect();
    assert_eq!(passed(&low_latency), &all - &rows(&[17, 37]), "{}", low_latency.text(Colour::None));
    assert_eq!(with(&low_latency, &[Status::NotApplicable]), rows(&[17, 37]));
    for (kind, expected) in [
        (Kind::Ending, rows(&[12, 29, 32, 33])),
        (Kind::Plain, rows(&[7, 8, 9, 10, 11, 13, 22, 26, 37])),
        (Kind::Transport, rows(&[3, 4, 15, 16, 17, 19, 21])),
    ] {
        let report = virtually(kind, Break::None);
        assert_eq!(with(&report, &[Status::Fail, Status::Warn]), rows(&[]), "{}", report.text(Colour::None));
        assert!(passed(&report).is_superset(&expected), "{}", report.text(Colour::None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_without_fault_passes_over_https_with_the_tools() {
    let (low_latency, transport) = tokio::join!(really(Kind::LowLatency), really(Kind::Transport));
    for report in [&low_latency, &transport] {
        assert_eq!(with(report, &[Status::Fail, Status::Warn]), rows(&[]), "{}", report.text(Colour::None));
    }
    // Rows that need a network, TLS and the tools.
    assert!(passed(&low_latency).is_superset(&rows(&[16, 21, 34])), "{}", low_latency.text(Colour::None));
}

/// A fault, its row, and rows that it unavoidably breaks, too.
type Case = (Kind, Break, u8, &'static [u8]);

const CASES: [Case; 51] = [
    (Kind::LowLatency, Break::ByteOrderMark, 1, &[]),
    (Kind::LowLatency, Break::TwoTargets, 2, &[]),
    (Kind::LowLatency, Break::MixedKinds, 2, &[]),
    // The dates stay unchanged.
    (Kind::LowLatency, Break::LongExtinf, 3, &[13]),
    (Kind::LowLatency, Break::InaccurateExtinf, 4, &[]),
    (Kind::LowLatency, Break::PartTargetChanges, 5, &[]),
    (Kind::LowLatency, Break::UriChanges, 6, &[]),
    (Kind::LowLatency, Break::Stall, 7, &[]),
    (Kind::LowLatency, Break::ShortWindow, 8, &[]),
    (Kind::LowLatency, Break::RemovedGone, 9, &[]),
    // Dates are compared by discontinuity sequence number, which is wrong.
    (Kind::LowLatency, Break::DiscontinuityNotCounted, 10, &[13]),
    (Kind::LowLatency, Break::UnannouncedResolution, 11, &[]),
    (Kind::LowLatency, Break::EventType, 12, &[]),
    (Kind::LowLatency, Break::DatesDiffer, 13, &[]),
    (Kind::LowLatency, Break::PartsOfGap, 14, &[]),
    (Kind::LowLatency, Break::ListedTooEarly, 15, &[]),
    // A cut line is also a bad line.
    (Kind::LowLatency, Break::CutOff, 15, &[2, 31, 33]),
    (Kind::LowLatency, Break::NoIdr, 16, &[]),
    (Kind::Transport, Break::CountersRestart, 17, &[]),
    (Kind::LowLatency, Break::MovieDuration, 18, &[]),
    // A variant that jumps also differs from the other one.
    (Kind::LowLatency, Break::DecodeTimeJumps, 19, &[38]),
    (Kind::LowLatency, Break::PartLacksSample, 20, &[]),
    (Kind::LowLatency, Break::TwoSounds, 21, &[]),
    (Kind::LowLatency, Break::ControlDiffers, 22, &[]),
    (Kind::LowLatency, Break::NoFrameRate, 23, &[]),
    (Kind::LowLatency, Break::CodecsIncomplete, 24, &[]),
    (Kind::LowLatency, Break::LowBandwidth, 25, &[]),
    (Kind::LowLatency, Break::NoIframes, 26, &[]),
    (Kind::LowLatency, Break::ShortParts, 27, &[]),
    (Kind::LowLatency, Break::ShortHoldBack, 28, &[]),
    (Kind::LowLatency, Break::NoHints, 29, &[]),
    // A wrongly hinted object becomes a part later, so the server owed it.
    (Kind::LowLatency, Break::WrongHints, 29, &[30]),
    (Kind::LowLatency, Break::HintTrickles, 30, &[]),
    (Kind::LowLatency, Break::NoReports, 31, &[]),
    (Kind::LowLatency, Break::StaleReports, 31, &[]),
    (Kind::LowLatency, Break::NoWait, 32, &[]),
    (Kind::LowLatency, Break::PartAlone, 32, &[]),
    (Kind::Ending, Break::WaitsAfterEnd, 32, &[]),
    (Kind::LowLatency, Break::DeltaLacksTag, 33, &[]),
    (Kind::LowLatency, Break::DeltaSkipsTooMuch, 33, &[]),
    (Kind::LowLatency, Break::NoGzip, 34, &[]),
    (Kind::LowLatency, Break::UrgentMedia, 34, &[]),
    (Kind::LowLatency, Break::Redirects, 35, &[]),
    (Kind::LowLatency, Break::SoundLate, 36, &[]),
    (Kind::LowLatency, Break::DecodedEarly, 38, &[]),
    // Two and a half frames are also more than one frame.
    (Kind::LowLatency, Break::DecodedMuchEarlier, 38, &[39]),
    (Kind::LowLatency, Break::ShownEarly, 39, &[]),
    (Kind::Plain, Break::KeyVanishes, 37, &[]),
    (Kind::Plain, Break::NoTimestampMap, 37, &[]),
    (Kind::Plain, Break::NoGzip, 34, &[]),
    (Kind::Plain, Break::EventType, 12, &[]),
];

#[test]
fn each_fault_fails_its_row_and_no_other() {
    assert_eq!(
        CASES.iter().map(|(_, _, row, _)| *row).collect::<BTreeSet<_>>(),
        (1..=39).collect(),
        "every row has a fault"
    );
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    // A run takes a second of CPU and does not wait.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    wrong.lock().unwrap().extend(judged(case));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the verdicts on a fault; none if nothing is.
fn judged((kind, broken, row, also): &Case) -> Option<String> {
    let report = virtually(*kind, *broken);
    let failed = with(&report, &[Status::Fail]);
    let allowed: BTreeSet<u8> = also.iter().chain([row]).copied().collect();
    let right = failed.contains(row) && failed.is_subset(&allowed);
    (!right)
        .then(|| format!("{kind:?} {broken:?}: row {row} is to fail, {failed:?} did\n{}", report.text(Colour::None)))
}
