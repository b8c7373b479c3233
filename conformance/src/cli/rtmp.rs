//! `conformance rtmp`: its flags and its output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{FAILED, is_web, print, time, trust};
use crate::rtmp::cases::{self, Case};
use crate::rtmp::run::{self, Judged, KEY, PARALLEL_MAX, Settings};
use crate::watch::Network;

/// Which cases run, on which server, and how the outcome is printed.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  conformance rtmp --list
  conformance rtmp rtmp://127.0.0.1:1935/live --key KEY --hls https://127.0.0.1:8443/live/demo/index.m3u8 --ca data/certs/ca.pem
  conformance rtmp rtmp://127.0.0.1:1935/live --key KEY --hls … --case chunk-clock-32-bit --case timing
  conformance rtmp rtmp://127.0.0.1/live --key 'check-{case}' --hls 'http://127.0.0.1:8080/hls/{key}.m3u8' --parallel 8 --json

A case publishes for 4 to 30 s and says what is expected: that it plays, that it plays with exactly one discontinuity, that it is
refused, or only that the server survives. Whatever it was, a normal publisher then has to be let in with the same key and be
listed. Several keys (with {key} in --hls), or one with {case} in it where a server takes any, let cases run side by side. ffmpeg
and ffprobe have to be on the PATH.

Exit code: 0 all passed, 1 some did not, 2 usage, or the server cannot be reached.")]
pub(super) struct Flags {
    /// RTMP server with its application: rtmp://HOST[:PORT]/live
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// Stream key; {case} in it becomes the name of the case. Can be given several times.
    #[arg(long = "key", value_name = "KEY", required_unless_present = "list")]
    keys: Vec<String>,
    /// URL of the stream's multivariant or media playlist; {key} in it becomes the key.
    #[arg(long, value_name = "URL", required_unless_present = "list")]
    hls: Option<String>,
    /// PEM file of the authority behind the playlist's certificate, in addition to the authorities that this machine trusts.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Accept any certificate.
    #[arg(long)]
    insecure: bool,
    /// Run only this case, or the cases whose names begin with this. Can be given several times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Most cases that run side by side, as far as there are keys.
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Media that may be missing because the server lists only complete segments: seconds, or a number with s or ms.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    keeps_back: Duration,
    /// List the cases without running them.
    #[arg(long)]
    list: bool,
    /// Print the outcome as JSON instead of lines.
    #[arg(long)]
    json: bool,
}

/// Lists the wanted cases or runs them; the exit status is `FAILED` unless all pass.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let cases = wanted(&flags.cases)?;
    if flags.list {
        let lines = cases.iter().map(|case| format!("{:<32} {:<30} {}\n", case.name, case.outcome, case.what));
        print(&lines.collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let url = flags.url.clone().context("no URL of an RTMP server")?;
    let hls = flags.hls.clone().context("no URL of a playlist")?;
    ensure!(is_web(&hls), "{hls:?} is no http or https URL");
    ensure!((1..=PARALLEL_MAX).contains(&flags.parallel), "--parallel is 1 to {PARALLEL_MAX}");
    let several = flags.keys.len() > 1 || flags.keys.iter().any(|key| key.contains(run::CASE));
    ensure!(!several || hls.contains(KEY), "several keys need {KEY} in --hls");
    let settings =
        Settings { url, keys: flags.keys.clone(), hls, parallel: flags.parallel, keeps_back: flags.keeps_back };
    let network = Arc::new(Network::new(&trust(flags.ca.as_ref(), flags.insecure))?);
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let mut unprinted = Ok(());
    let each = |judged: &Judged| {
        if !flags.json && unprinted.is_ok() {
            unprinted = print(&(judged.line() + "\n"));
        }
    };
    let all = runtime.block_on(run::run(&settings, network, cases, each))?;
    unprinted?;
    let passed = all.iter().filter(|judged| judged.passed()).count();
    if flags.json {
        print(&(serde_json::to_string_pretty(&all)? + "\n"))?;
    } else {
        print(&format!("{passed} of {} cases passed\n", all.len()))?;
    }
    Ok(if passed == all.len() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Cases whose names begin with one of `names`; all cases without names.
fn wanted(names: &[String]) -> anyhow::Result<Vec<Case>> {
    let mut cases = cases::all();
    for name in names {
        ensure!(cases.iter().any(|case| case.name.starts_with(name.as_str())), "there is no case {name:?}: see --list");
    }
    cases.retain(|case| names.is_empty() || names.iter().any(|name| case.name.starts_with(name.as_str())));
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name_or_by_its_beginning() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            super::wanted(&wanted).map(|cases| cases.len())
        };
        assert_eq!(names(&[]).unwrap(), cases::all().len());
        assert_eq!(names(&["chunk-abort"]).unwrap(), 1);
        assert!(names(&["timing-", "chunk-abort"]).unwrap() > 5);
        assert!(names(&["no-such-case"]).is_err());
    }
}
