//! Chaos: the tests disturb a cluster of real processes in every known way, while viewers watch and the ledger compares all that is
//! served.
//!
//! What has to hold throughout: every served byte is sealed. No playlist contradicts another one, of any node, or goes back. Players
//! stall at most once and briefly per fault, and only when what serves them dies. After each fault, without help, all nodes agree
//! again, and as many as wanted hold the stream.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]
#![allow(unreachable_pub, reason = "modules of a test")]

mod cluster;
mod control;
mod fault;
mod ledger;
mod onlookers;
mod player;
mod playlist;
mod publisher;
mod run;

use run::Run;
use testkit::wait::turn;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Number of faults in the random sequence.
const SEQUENCE: usize = 6;

/// `SEALCAST_CHAOS_ONLY=Frozen` runs only faults whose names contain it, and the last one; `SEALCAST_CHAOS_TIMES=20` each as often.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_alone_leaves_the_stream_whole() {
    let _turn = turn().await;
    let mut run = Run::start(seed()).await;
    let only = std::env::var("SEALCAST_CHAOS_ONLY").unwrap_or_default();
    let times = std::env::var("SEALCAST_CHAOS_TIMES").map_or(1, |text| text.parse().expect("a number"));
    for step in fault::each(run.has_disks()).into_iter().filter(|step| format!("{:?}", step.0).contains(&only)) {
        for _ in 0..times {
            run.suffer(step).await;
        }
    }
    run.suffer_checked(fault::DRAINED).await;
    run.finish().await;
}

/// Replay with `SEALCAST_CHAOS_SEED=N cargo test -p sealcast --test chaos chance`.
#[tokio::test(flavor = "multi_thread")]
async fn faults_in_an_order_of_chance_leave_the_stream_whole() {
    let _turn = turn().await;
    let seed = seed();
    let mut run = Run::start(seed).await;
    for step in fault::sequence(seed, SEQUENCE, run.has_disks()) {
        run.suffer(step).await;
    }
    run.finish().await;
}

/// Integrity always, and playing goes on, whatever the brokers say.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: ten minutes"]
async fn soak_hostile_brokers_for_ten_minutes_leave_the_stream_whole() {
    let _turn = turn().await;
    let mut run = Run::start(seed()).await;
    run.suffer(fault::HOSTILE).await;
    run.finish().await;
}

/// A seed that is shown, or the one of `SEALCAST_CHAOS_SEED`.
fn seed() -> u64 {
    let seed = std::env::var("SEALCAST_CHAOS_SEED").ok().map(|text| text.parse().expect("a number"));
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    eprintln!("chaos: SEALCAST_CHAOS_SEED={seed}");
    seed
}
