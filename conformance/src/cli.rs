//! The command line: names, help and examples, and the commands.

mod rtmp;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::report::{Colour, Report};
use crate::rows::ROWS;
use crate::watch::{Cookies, Network, Settings, Tools, Trust, observe};

/// Exit status when a MUST is broken.
const FAILED: u8 = 1;
/// Exit status when the command line is wrong, or there is nothing to check.
const UNREACHABLE: u8 = 2;
/// Longest run: a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Checks streaming servers from outside: their HLS as a strict client sees it, and how they treat RTMP publishers.
#[derive(Debug, Parser)]
#[command(
    name = "conformance",
    version,
    after_help = "Examples:
  conformance hls https://127.0.0.1:8443/live/demo/index.m3u8 --ca data/certs/ca.pem
  conformance hls https://example.com/live.m3u8 --duration 5m --json report.json
  conformance hls http://127.0.0.1:8080/hls/a.m3u8 --only 1-8,34
  conformance rows
  conformance rtmp rtmp://127.0.0.1:1935/live --key KEY --hls https://127.0.0.1:8443/live/demo/index.m3u8 --ca data/certs/ca.pem

Exit code: 0 no MUST is broken and all cases passed, 1 otherwise, 2 usage, or the server cannot be reached."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch an HLS stream and check it against RFC 8216bis and Apple's authoring specification.
    Hls(HlsFlags),
    /// List the rows that `hls` checks.
    Rows,
    /// Publish what encoders and strangers really send to an RTMP server, and check what the server lists.
    Rtmp(rtmp::Flags),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:
  conformance completion bash > /etc/bash_completion.d/conformance")]
    Completion {
        /// Shell to complete for.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  conformance hls https://127.0.0.1:8443/live/demo/index.m3u8 --ca data/certs/ca.pem
  conformance hls https://example.com/live.m3u8 --duration 5m --json - > report.json

What the run does not show (an outage, the end, a change of format) is reported as SKIP: not seen. ffprobe and ffmpeg are
used when they are on the PATH.")]
struct HlsFlags {
    /// URL of a multivariant or media playlist.
    url: String,
    /// How long to watch: seconds, or a number with s, m or h.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    duration: Duration,
    /// How long requests that are under way or due at the end may still take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    row_timeout: Duration,
    /// Write the report as JSON to a file. With -, print the JSON instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Report only these rows: numbers and ranges, such as 1-8,34.
    #[arg(long, value_name = "ROWS")]
    only: Option<String>,
    /// PEM file of the authority behind the server's certificate, in addition to the authorities that this machine trusts.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Accept any certificate.
    #[arg(long)]
    insecure: bool,
    /// Tolerance for timings when machine and network are busy, in addition to the round trip.
    #[arg(long, value_name = "TIME", default_value = "150ms", value_parser = time)]
    slack: Duration,
    /// Ignore cookies, as a shared cache does. Players keep them.
    #[arg(long)]
    no_cookies: bool,
    /// Do not check segments with ffprobe and ffmpeg.
    #[arg(long)]
    no_tools: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { UNREACHABLE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match execute(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(UNREACHABLE)
        }
    }
}

fn execute(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Hls(flags) => hls(flags),
        Command::Rows => {
            let mut text = String::new();
            for row in &ROWS {
                text.push_str(&format!("{:>3}  {} ({})\n", row.number, row.name, row.rule));
            }
            print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rtmp(flags) => rtmp::run(flags),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "conformance", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn hls(flags: &HlsFlags) -> anyhow::Result<ExitCode> {
    let wanted = flags.only.as_deref().map(rows).transpose()?.unwrap_or_default();
    ensure!(is_web(&flags.url), "{:?} is no http or https URL", flags.url);
    let trust = trust(flags.ca.as_ref(), flags.insecure);
    let settings = Settings {
        url: flags.url.clone(),
        duration: flags.duration,
        row_timeout: flags.row_timeout,
        cookies: if flags.no_cookies { Cookies::Ignore } else { Cookies::Keep },
        tools: if flags.no_tools { Tools::Leave } else { Tools::Use },
        slack: flags.slack,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let transport = Arc::new(Network::new(&trust)?);
    let observation = runtime.block_on(observe(transport, &settings))?;
    let report = Report::of(&observation, &wanted);
    let to_stdout = flags.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = &flags.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        if to_stdout {
            print(&json)?;
        } else {
            std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if !to_stdout {
        let colour = if std::io::stdout().is_terminal() { Colour::Ansi } else { Colour::None };
        print(&report.text(colour))?;
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn is_web(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
}

fn trust(ca: Option<&PathBuf>, insecure: bool) -> Trust {
    match (ca, insecure) {
        (_, true) => Trust::Anyone,
        (Some(path), false) => Trust::Authority(path.clone()),
        (None, false) => Trust::System,
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader, such as `head`, may have read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Parses a time: `60`, `60s`, `5m`, `1h`, `500ms`.
fn time(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(|| format!("{text:?} is no time"))?;
    let span = match text.get(digits.len()..).unwrap_or("") {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3_600)),
        unit => bail!("{unit:?} is no unit of time: ms, s, m or h"),
    };
    ensure!(span <= DURATION_MAX, "{text} is longer than a day");
    Ok(span)
}

/// Parses row numbers: `1-8,34`.
fn rows(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut wanted = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.trim().parse::<u8>().with_context(|| format!("{item:?} is no row"));
        let (first, last) = (number(first)?, number(last)?);
        ensure!(
            first >= 1 && first <= last && usize::from(last) <= ROWS.len(),
            "{item:?}: rows are 1 to {}",
            ROWS.len()
        );
        wanted.extend(first..=last);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("90").unwrap(), Duration::from_secs(90));
        assert_eq!(time("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(time("250ms").unwrap(), Duration::from_millis(250));
        for bad in ["", "m", "5x", "-1s", "25h"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rows_are_numbers_and_ranges() {
        assert_eq!(rows("1-3,34").unwrap(), [1, 2, 3, 34]);
        for bad in ["", "0", "40", "3-1", "a"] {
            assert!(rows(bad).is_err(), "{bad:?}");
        }
    }
}
