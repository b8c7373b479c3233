//! How many seals a second a viewer's browser verifies: the WebAssembly in V8 (Node.js), and the same code built for this machine.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use verify::calls::Calls;

use crate::Figure;

const HOW_LONG: Duration = Duration::from_secs(3);
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../web");
/// The log that both verify: eight seals of three renditions, with the trust that they need.
const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/verify/testdata/log.json");

#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn native(log: &serde_json::Value) -> anyhow::Result<f64> {
    let bytes = |name: &str| hex::decode(log[name].as_str().unwrap_or_default());
    let (trust, seals) = (bytes("trust")?, bytes("seals")?);
    let begin = format!("{}\n", log["stream"].as_str().unwrap_or_default());
    let mut calls = Calls::default();
    let (began, mut verified) = (Instant::now(), 0_u32);
    while began.elapsed() < HOW_LONG {
        calls.answer(1, begin.clone().into(), Duration::ZERO);
        calls.answer(2, trust.clone(), Duration::ZERO);
        let said = calls.answer(3, seals.clone(), Duration::ZERO);
        ensure!(said.contains("\"seals\":8,"), "the recorded log does not verify: {said}");
        verified += 8;
    }
    Ok(f64::from(verified) / began.elapsed().as_secs_f64())
}

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    let log = serde_json::from_slice(&std::fs::read(LOG).with_context(|| LOG.to_owned())?)?;
    let output = Command::new("node").arg("tests/verify-bench.mjs").current_dir(Path::new(WEB)).output();
    let output = output.context("node does not start")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("no {name}"));
    let (browser, native) = (number("sealsPerSecond")?, native(&log)?);
    Ok(vec![
        Figure {
            what: "seals that a viewer's browser verifies, with root statement and head for every eight; peer: the same code in a node"
                .to_owned(),
            ours: format!("{browser:.0} a second and core"),
            peer: format!("{native:.0}"),
            ratio: Some(browser / native),
            bound: ">= 300",
        },
        Figure {
            what: "media that a viewer's browser compares with its seals".to_owned(),
            ours: format!("{:.0} MB a second and core", number("megabytesPerSecond")?),
            peer: "-".to_owned(),
            ratio: None,
            bound: ">= 50",
        },
    ])
}
