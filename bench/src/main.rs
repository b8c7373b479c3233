//! Figures, measured side by side with the named peer in one run. Machines are noisy: ours and theirs alternate, the median
//! of the rounds counts, and the ratio is what is printed. Nothing here decides whether a test passes.

mod gate;
mod ladder;
mod log;
mod signatures;
mod startup;

use clap::{Parser, ValueEnum};

/// One line of the table.
struct Figure {
    what: String,
    ours: String,
    peer: String,
    ratio: Option<f64>,
    bound: &'static str,
}

impl Figure {
    fn print(&self) {
        let ratio = self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        println!("| {} | {} | {} | {ratio} | {} |", self.what, self.ours, self.peer, self.bound);
    }
}

/// Measures Sealcast against its peers.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  make bench
  target/release/bench ladder gate")]
struct Arguments {
    /// What to measure; everything when none is named.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Rounds of each side; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long `memory` watches, in seconds.
    #[arg(long, default_value_t = 600)]
    memory_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// CPU of the ingest's ladder against the ffmpeg command line.
    Ladder,
    /// Seal verifications a second.
    Signatures,
    /// Delay from "seal and bytes are here" to "listed".
    Gate,
    /// `sealcast up` to its ready file.
    Startup,
    /// Memory of the all-in-one over time.
    Memory,
}

const ALL: [What; 5] = [What::Ladder, What::Signatures, What::Gate, What::Startup, What::Memory];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = if arguments.what.is_empty() { ALL.to_vec() } else { arguments.what.clone() };
    println!("| what | Sealcast | peer | ratio | bound |\n|---|---|---|---|---|");
    for what in wanted {
        let figures = match what {
            What::Ladder => ladder::measure(arguments.rounds)?,
            What::Signatures => signatures::measure()?,
            What::Gate => gate::measure()?,
            What::Startup => startup::ready(arguments.rounds)?,
            What::Memory => startup::memory(arguments.memory_seconds)?,
        };
        for figure in figures {
            figure.print();
        }
    }
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
