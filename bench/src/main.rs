//! Figures, measured side by side with the named peer in one run. Machines are noisy: ours and theirs alternate, the median
//! of the rounds counts, and the ratio is what is printed. Nothing here decides whether a test passes.

mod balancer;
mod blocked;
mod conformance;
mod contribution;
mod crowd;
mod delivery;
mod edge;
mod failover;
mod fleet;
mod gate;
mod join;
mod joins;
mod ladder;
mod latency;
mod log;
mod network;
mod origin;
mod placement;
mod players;
mod publishers;
mod role;
mod signatures;
mod startup;
#[path = "../../sealcast/tests/support/mod.rs"]
mod support;
mod viewer;

use clap::{Parser, ValueEnum};

/// The one of the binary that is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Viewers that `blocked` lets wait; a tenth of them watch in `failover`.
    #[arg(long, default_value_t = 5000)]
    viewers: usize,
    /// Runs the node of `blocked`, which starts itself so.
    #[arg(long, hide = true)]
    blocked_node: bool,
    /// Runs the load balancer of `balancer`, which starts itself so.
    #[arg(long, hide = true)]
    balancer: Option<String>,
    /// How long `conformance` watches each server, in seconds.
    #[arg(long, default_value_t = 60)]
    conformance_seconds: u64,
    /// How long `memory` watches, in seconds.
    #[arg(long, default_value_t = 600)]
    memory_seconds: u64,
    /// How long `network` watches each player on each network, in seconds.
    #[arg(long, default_value_t = 60.0)]
    network_seconds: f64,
    /// Only networks of `network` whose name contains this, and only our side.
    #[arg(long)]
    only_network: Option<String>,
    /// Viewers of each kind that `latency` and `join` let come.
    #[arg(long, default_value_t = 20)]
    joins: usize,
    /// Where the random moments of the joins begin; the same seed gives the same moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the crowd of `crowd` comes.
    #[arg(long, default_value_t = 10)]
    crowd_rounds: usize,
    /// How long `stalls` watches each player, in seconds.
    #[arg(long, default_value_t = 600)]
    stalls_seconds: u64,
    /// How long `players` lets each play at the least between two events, in seconds.
    #[arg(long, default_value_t = 45)]
    players_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// CPU of the ingest's ladder against the ffmpeg command line.
    Ladder,
    /// Viewers blocked on the next part: delay, memory, CPU.
    Blocked,
    /// Viewers blocked on the next part through a load balancer, against HAProxy.
    Balancer,
    /// CPU of a server for what viewers get, against nginx.
    Delivery,
    /// Seal verifications a second.
    Signatures,
    /// Delay from "seal and bytes are here" to "listed".
    Gate,
    /// `sealcast up` to its ready file.
    Startup,
    /// Memory of the all-in-one over time.
    Memory,
    /// Age of the picture on a viewer's screen, against nginx-rtmp.
    Latency,
    /// Time to the first frame, against nginx-rtmp.
    Join,
    /// How often the picture stands still.
    Stalls,
    /// Viewers who come at once while encoders keep all cores busy. When asked for: eight minutes.
    Crowd,
    /// A crowd on a cold edge, and bytes for CPU of one node and of four.
    Edge,
    /// Players behind slow, changing, lossy and pausing networks, against the same on nginx-rtmp's HLS. As root, when asked for: half an hour.
    Network,
    /// Streams on owners, simulated with a thousand nodes.
    Placement,
    /// Publishers passed through: how many a core takes, and their memory, against nginx-rtmp and xiu. When asked for: five minutes.
    Publishers,
    /// A broadcast node is killed, or frozen: what viewers see of it. When asked for: two minutes.
    Failover,
    /// Players that people have, through reconnect, switch and death of nodes: five minutes, when asked for.
    Players,
    /// The checker's rows for Sealcast, nginx-rtmp, ffmpeg's HLS muxer and xiu: a table of its own, when asked for alone.
    Conformance,
    /// What Sealcast, nginx-rtmp and xiu make of `conformance rtmp`: a table of its own, when asked for alone.
    Contribution,
}

/// Of the viewers of `blocked`, so many watch in `failover`, where each has its own loop.
const FAILOVER_SHARE: usize = 10;

const ALL: [What; 13] = [
    What::Ladder,
    What::Signatures,
    What::Gate,
    What::Startup,
    What::Memory,
    What::Latency,
    What::Join,
    What::Stalls,
    What::Blocked,
    What::Balancer,
    What::Delivery,
    What::Placement,
    What::Edge,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.blocked_node {
        return blocked::serve();
    }
    if let Some(orders) = &arguments.balancer {
        return balancer::serve(orders);
    }
    if arguments.what == [What::Conformance] {
        print!("{}", conformance::table(arguments.conformance_seconds)?);
        return Ok(());
    }
    let wanted = if arguments.what.is_empty() { ALL.to_vec() } else { arguments.what.clone() };
    if arguments.what == [What::Contribution] {
        print!("{}", contribution::table()?);
        return Ok(());
    }
    println!("| what | Sealcast | peer | ratio | bound |\n|---|---|---|---|---|");
    for what in wanted {
        let figures = match what {
            // No figures: their tables are printed when one is asked for alone.
            What::Conformance | What::Contribution => Vec::new(),
            What::Ladder => ladder::measure(arguments.rounds)?,
            What::Blocked => blocked::measure(arguments.viewers)?,
            What::Balancer => balancer::measure(arguments.rounds)?,
            What::Delivery => delivery::measure(arguments.rounds)?,
            What::Signatures => signatures::measure()?,
            What::Gate => gate::measure()?,
            What::Edge => edge::measure()?,
            What::Network => network::measure(arguments.network_seconds, arguments.only_network.as_deref())?,
            What::Placement => placement::measure()?,
            What::Startup => startup::ready(arguments.rounds)?,
            What::Memory => startup::memory(arguments.memory_seconds)?,
            What::Latency => latency::measure(arguments.joins, arguments.seed)?,
            What::Join => join::measure(arguments.joins, arguments.seed)?,
            What::Crowd => crowd::measure(arguments.crowd_rounds, arguments.seed)?,
            What::Stalls => latency::stalls(arguments.stalls_seconds)?,
            What::Failover => failover::measure(arguments.viewers / FAILOVER_SHARE)?,
            What::Publishers => publishers::measure()?,
            What::Players => players::measure(arguments.players_seconds.into())?,
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
