//! `sealcast capacity`: estimates what a number of viewers needs, for operators who plan machines and networks. Pure except for the
//! printing.

use std::io::Write as _;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use crate::cli::CapacityFlags;

/// Bytes on the network for each byte of media. The rest is playlists, HTTP/2, TLS 1.3, TCP/IP and Ethernet frames, for small parts of
/// half a second.
const LINE_FACTOR: f64 = 1.06;
/// Resident memory of a viewer's connection with blocked requests, in bytes (measured by `bench blocked`, rounded up).
const VIEWER_BYTES: u64 = 60_000;
/// Default limit of viewers' connections to a node (`role.broadcast.connections_max`).
const CONNECTIONS_MAX: u64 = 16_384;
/// Most rungs of a ladder.
const RUNGS_MAX: usize = 16;

/// A rung; the command line spells it `1080p=4500`, with the bit rate in kbit/s.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rung {
    name: String,
    kbit_per_second: u32,
}

impl FromStr for Rung {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rate) =
            text.split_once('=').with_context(|| format!("{text:?}: write NAME=KBIT, such as 720p=2450"))?;
        let kbit_per_second: u32 =
            rate.parse().with_context(|| format!("{rate:?} in {text:?} is not a number of kbit/s"))?;
        ensure!(!name.is_empty() && (1..=400_000).contains(&kbit_per_second), "{text:?}: use 1 to 400000 kbit/s");
        Ok(Self { name: name.to_owned(), kbit_per_second })
    }
}

/// What the flags ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    pub viewers: u64,
    pub rungs: Vec<Rung>,
    /// Relative number of viewers of each rung; the sum is the whole.
    pub shares: Vec<u32>,
    pub audio_kbit: u32,
    /// Speeds of a node's network to plan for, in Gbit/s.
    pub nics: Vec<f64>,
    /// Largest share of its network that a node uses, in percent.
    pub fill_percent: u32,
    pub owners: u64,
}

/// A line of the table: all viewers watch the same rung, or the mix of rungs that the shares give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub watched: String,
    /// Bits per second on the network for one viewer.
    pub bits_per_viewer: f64,
    /// Bits per second on the network for all viewers.
    pub egress_bits: f64,
    pub nodes: Vec<Nodes>,
}

/// The nodes needed with one speed of network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Nodes {
    pub nic_gbit: f64,
    pub viewers_per_node: u64,
    /// Without a spare node.
    pub nodes: u64,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Plan {
    pub lines: Vec<Line>,
    /// Bits per second that an ingest sends to the owners of one stream.
    pub push_bits: f64,
    /// Most bits per second that an edge fetches of one stream.
    pub edge_bits: f64,
    /// Memory of all viewers' connections, in bytes.
    pub viewer_bytes: u64,
}

/// Computes the plan for a question.
pub(crate) fn plan(question: &Question) -> Plan {
    let bits = |kbit: u32| f64::from(kbit) * 1_000.0;
    let on_line = |rung: &Rung| (bits(rung.kbit_per_second) + bits(question.audio_kbit)) * LINE_FACTOR;
    let line = |watched: String, bits_per_viewer: f64| {
        #[expect(clippy::cast_precision_loss, reason = "viewers are fewer than 2^53")]
        let egress_bits = bits_per_viewer * question.viewers as f64;
        let nodes = question.nics.iter().map(|nic| nodes(question, *nic, bits_per_viewer)).collect();
        Line { watched, bits_per_viewer, egress_bits, nodes }
    };
    let mut lines: Vec<Line> =
        question.rungs.iter().map(|rung| line(format!("all {}", rung.name), on_line(rung))).collect();
    let all: f64 = question.shares.iter().map(|share| f64::from(*share)).sum();
    let mixed =
        question.rungs.iter().zip(&question.shares).map(|(rung, share)| on_line(rung) * f64::from(*share) / all);
    lines.push(line("mixed".to_owned(), mixed.sum()));
    let ladder: f64 =
        question.rungs.iter().map(|rung| bits(rung.kbit_per_second)).sum::<f64>() + bits(question.audio_kbit);
    #[expect(clippy::cast_precision_loss, reason = "owners are a handful")]
    let push_bits = ladder * LINE_FACTOR * question.owners as f64;
    let (edge_bits, viewer_bytes) = (ladder * LINE_FACTOR, question.viewers.saturating_mul(VIEWER_BYTES));
    Plan { lines, push_bits, edge_bits, viewer_bytes }
}

fn nodes(question: &Question, nic_gbit: f64, bits_per_viewer: f64) -> Nodes {
    let usable = nic_gbit * 1e9 * f64::from(question.fill_percent) / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and rounded down on purpose"
    )]
    let by_line = (usable / bits_per_viewer) as u64;
    let viewers_per_node = by_line.clamp(1, CONNECTIONS_MAX);
    Nodes { nic_gbit, viewers_per_node, nodes: question.viewers.div_ceil(viewers_per_node) }
}

impl Question {
    /// Reads the flags.
    ///
    /// # Errors
    /// When a flag is not valid; names it.
    fn read(flags: &CapacityFlags) -> anyhow::Result<Self> {
        let rungs: Vec<Rung> =
            flags.ladder.split(',').map(str::parse).collect::<anyhow::Result<_>>().context("--ladder")?;
        ensure!(rungs.len() <= RUNGS_MAX, "--ladder: at most {RUNGS_MAX} rungs");
        let shares = match &flags.shares {
            Some(text) => text
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .context("--shares: write percentages, such as 50,30,20")?,
            None => falling(rungs.len()),
        };
        ensure!(shares.len() == rungs.len(), "--shares has {} numbers for {} rungs", shares.len(), rungs.len());
        ensure!(shares.iter().map(|share| u64::from(*share)).sum::<u64>() > 0, "--shares are all 0");
        let nics: Vec<f64> = flags
            .nics
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("--nics: write Gbit/s, such as 1,10,25")?;
        if let Some(bad) = nics.iter().find(|nic| !(0.01..=1_000.0).contains(*nic)) {
            bail!("--nics: {bad} Gbit/s is not in 0.01 to 1000");
        }
        let (viewers, audio_kbit, owners) = (flags.viewers, flags.audio, flags.owners.into());
        Ok(Self { viewers, rungs, shares, audio_kbit, nics, fill_percent: flags.fill.into(), owners })
    }
}

/// Half of the viewers on the first rung, half of the rest on the next, and so on.
fn falling(rungs: usize) -> Vec<u32> {
    (0..rungs).map(|rung| 1 << (rungs - rung - 1).min(16)).collect()
}

fn gigabits(bits: f64) -> String {
    if bits >= 1e9 { format!("{:.1} Gbit/s", bits / 1e9) } else { format!("{:.1} Mbit/s", bits / 1e6) }
}

fn text(question: &Question, plan: &Plan) -> String {
    let mut rows = vec![{
        let nics = question.nics.iter().map(|nic| format!("NODES AT {nic} Gbit/s"));
        ["WATCHED", "PER VIEWER", "EGRESS"].map(str::to_owned).into_iter().chain(nics).collect::<Vec<_>>()
    }];
    rows.extend(plan.lines.iter().map(|line| {
        let nodes =
            line.nodes.iter().map(|nodes| format!("{} + 1  ({} viewers each)", nodes.nodes, nodes.viewers_per_node));
        let first = [line.watched.clone(), gigabits(line.bits_per_viewer), gigabits(line.egress_bits)];
        first.into_iter().chain(nodes).collect()
    }));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let table: String = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column))).collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect();
    let shares: Vec<String> = question.shares.iter().map(u32::to_string).collect();
    format!(
        "{viewers} viewers, lines filled to {fill} %, one node to spare; mixed is {shares} of the viewers.\n\n{table}\n\
         An ingest sends {push} to the {owners} owners of a stream, however many nodes there are; a node that is none fetches \
         {edge} of it at most.\nViewers' connections take {memory:.1} GB of memory, all nodes together. A node takes \
         {CONNECTIONS_MAX} connections by default (role.broadcast.connections_max).\n",
        viewers = question.viewers,
        fill = question.fill_percent,
        shares = shares.join(":"),
        push = gigabits(plan.push_bits),
        owners = question.owners,
        edge = gigabits(plan.edge_bits),
        memory = bytes_in_gigabytes(plan.viewer_bytes),
    )
}

#[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
fn bytes_in_gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// `sealcast capacity`
///
/// # Errors
/// When a flag is not valid; names it.
pub(crate) fn run(flags: &CapacityFlags) -> anyhow::Result<()> {
    let question = Question::read(flags)?;
    let plan = plan(&question);
    let mut out = std::io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?;
    } else {
        write!(out, "{}", text(&question, &plan))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn question(flags: &[&str]) -> anyhow::Result<Question> {
        let arguments = ["sealcast", "capacity"].iter().chain(flags);
        let Command::Capacity(flags) = Cli::parse_from(arguments).command else { panic!("another command") };
        Question::read(&flags)
    }

    #[test]
    fn egress_is_rate_times_viewers_and_nodes_are_what_carries_it() {
        let question =
            question(&["--viewers", "5000", "--ladder", "1080p=4872", "--audio", "128", "--nics", "1,10"]).unwrap();
        let plan = plan(&question);
        let line = &plan.lines[0];
        assert!((line.bits_per_viewer - 5.3e6).abs() < 1.0 && (line.egress_bits - 26.5e9).abs() < 1e4);
        // 70 % of 1 Gbit/s carries 132 viewers of 5.3 Mbit/s each, and 70 % of 10 Gbit/s carries 1,320.
        let nodes: Vec<_> = line.nodes.iter().map(|nodes| (nodes.viewers_per_node, nodes.nodes)).collect();
        assert_eq!(nodes, [(132, 38), (1_320, 4)]);
        assert!((plan.push_bits - 2.0 * 5.3e6).abs() < 1.0);
        let text = text(&question, &plan);
        assert!(text.contains("all 1080p  5.3 Mbit/s  26.5 Gbit/s  38 + 1  (132 viewers each)"), "{text}");
    }

    #[test]
    fn mixed_viewers_take_the_mean_of_their_rungs() {
        let question = question(&["--ladder", "a=3000,b=1000", "--shares", "1,3", "--audio", "0"]).unwrap();
        let plan = plan(&question);
        assert!((plan.lines[2].bits_per_viewer - 1.5e6 * LINE_FACTOR).abs() < 1.0);
    }

    #[test]
    fn flags_that_make_no_sense_are_named() {
        for (flags, said) in [
            (["--ladder", "1080p"], "NAME=KBIT"),
            (["--ladder", "1080p=fast"], "\"fast\""),
            (["--shares", "1"], "--shares has 1 numbers for 4 rungs"),
            (["--nics", "0"], "--nics: 0 Gbit/s"),
        ] {
            let error = format!("{:#}", question(&flags).unwrap_err());
            assert!(error.contains(said), "{flags:?}: {error}");
        }
    }
}
