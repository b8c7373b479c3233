//! Common players, through a reconnect of the encoder, a switch of rung and the death of their nodes: the scenario of
//! `sealcast/tests/players.rs`, for minutes.

use testkit::players::Kind;
use testkit::players::scenario::{Script, Verdict, play};

use crate::joins::load;
use crate::{Figure, startup};

/// The default duration of segments.
const SEGMENT_SECONDS: u32 = 4;

/// Runs all players at once, each for at least `seconds` between the events.
pub(crate) fn measure(seconds: f64) -> anyhow::Result<Vec<Figure>> {
    let verdicts = tokio::runtime::Runtime::new()?.block_on(play(
        startup::sealcast()?,
        &Kind::OTHERS,
        Script { seconds, segment_seconds: SEGMENT_SECONDS },
    ));
    Ok(verdicts.iter().map(figure).collect())
}

fn figure(verdict: &Verdict) -> Figure {
    eprintln!("{verdict}");
    let Verdict { kind, passed, broke, progress } = verdict;
    let names: Vec<_> = passed.iter().map(|step| step.name).collect();
    Figure {
        what: format!("{}: {} (load {})", kind.name(), names.join(", "), load()),
        ours: format!(
            "{:.0} s, {} stalls or late pictures, {} errors{}",
            progress.played_seconds,
            progress.imperfections,
            progress.errors.len(),
            broke.as_ref().map_or_else(String::new, |why| format!("; broke at {why}")),
        ),
        peer: "-".to_owned(),
        ratio: None,
        bound: "plays on",
    }
}
