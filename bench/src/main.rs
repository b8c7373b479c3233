//! Measures Sealcast side by side with named peers. Machines are noisy, so both sides alternate, the median of the rounds counts,
//! and the table prints the ratio. Nothing here decides whether a test passes.

mod access;
mod balancer;
mod balancer_process;
mod blocked;
mod conformance;
mod contribution;
mod crowd;
mod delivery;
mod edge;
mod failover;
mod fleet;
mod gate;
mod hostile;
mod join;
mod joins;
mod ladder;
mod latency;
mod log;
mod metadata;
mod network;
mod origin;
mod placement;
mod players;
mod publishers;
mod role;
mod signatures;
mod startup;
mod verify;
mod viewer;

use clap::{Parser, ValueEnum};

/// The same allocator as in the measured binary.
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
    /// What to measure. Without names: everything, except what runs only when asked for.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Rounds of each side; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Viewers that wait in `blocked`; a tenth of them watch in `failover` and `hostile`.
    #[arg(long, default_value_t = 5000)]
    viewers: usize,
    /// Runs the node of `blocked`, which starts itself with this flag.
    #[arg(long, hide = true)]
    blocked_node: bool,
    /// Runs the load balancer of `balancer` and `blocked`, which start themselves with this flag.
    #[arg(long, hide = true)]
    balancer: bool,
    /// How long `conformance` watches each server, in seconds.
    #[arg(long, default_value_t = 60)]
    conformance_seconds: u64,
    /// How long `memory` watches, in seconds.
    #[arg(long, default_value_t = 600)]
    memory_seconds: u64,
    /// How long `network` watches each player on each network, in seconds.
    #[arg(long, default_value_t = 60.0)]
    network_seconds: f64,
    /// Measure only networks of `network` whose name contains this, and only Sealcast.
    #[arg(long)]
    only_network: Option<String>,
    /// Number of joins of each kind in `latency` and `join`.
    #[arg(long, default_value_t = 20)]
    joins: usize,
    /// Seed of the random moments of the joins; the same seed gives the same moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of times that the crowd of `crowd` comes.
    #[arg(long, default_value_t = 10)]
    crowd_rounds: usize,
    /// How long `stalls` watches each player, in seconds.
    #[arg(long, default_value_t = 600)]
    stalls_seconds: u64,
    /// Shortest time that `players` lets each player play between two events, in seconds.
    #[arg(long, default_value_t = 45)]
    players_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// CPU of the ingest's ladder against the ffmpeg command line.
    Ladder,
    /// Viewers blocked on the next part: delay, memory, CPU. First of one node, and then through a load balancer.
    Blocked,
    /// Viewers blocked on the next part through a load balancer, against HAProxy.
    Balancer,
    /// CPU that a server needs to deliver to viewers, against nginx, and against HAProxy for the load balancer.
    Delivery,
    /// Seal verifications per second.
    Signatures,
    /// Seals that a viewer's browser verifies per second.
    Verify,
    /// Delay from the arrival of seal and bytes until the playlist lists them.
    Gate,
    /// What viewer tokens cost, and viewers who come with them while control is dead.
    Access,
    /// How soon an entry of the metadata log is on all nodes, and how soon a new node has 100,000 rows.
    Metadata,
    /// Time from `sealcast up` to its ready file.
    Startup,
    /// Memory of `sealcast up` over time.
    Memory,
    /// Age of the picture on a viewer's screen, against nginx-rtmp.
    Latency,
    /// Time to the first frame, against nginx-rtmp.
    Join,
    /// How often the picture stands still.
    Stalls,
    /// Viewers who join at once while encoders keep all cores busy. Only when asked for: eight minutes.
    Crowd,
    /// A crowd on a cold edge, and bytes sent per CPU second by one node and by four.
    Edge,
    /// Players behind slow, changing, lossy and pausing networks, against the same players on nginx-rtmp's HLS. Needs root. Only when asked
    /// for: half an hour.
    Network,
    /// Placement of streams on owners, simulated with a thousand nodes.
    Placement,
    /// Publishers passed through: how many a core carries, and their memory, against nginx-rtmp and xiu. Only when asked for: five minutes.
    Publishers,
    /// What viewers see when a broadcast node is killed or frozen. Only when asked for: two minutes.
    Failover,
    /// Viewers who play while one host attacks, in six ways: their stalls, and the node's memory. Only when asked for: two minutes.
    Hostile,
    /// Common players, through a reconnect, a switch of rung and the death of nodes. Only when asked for: five minutes.
    Players,
    /// The checker's rows for Sealcast, nginx-rtmp, ffmpeg's HLS muxer and xiu. A table of its own; only when asked for alone.
    Conformance,
    /// Results of `conformance rtmp` for Sealcast, nginx-rtmp and xiu. A table of its own; only when asked for alone.
    Contribution,
}

/// `failover` and `hostile` have the viewers of `blocked` divided by this, because each viewer there runs its own loop.
const FAILOVER_SHARE: usize = 10;

const ALL: [What; 16] = [
    What::Ladder,
    What::Signatures,
    What::Verify,
    What::Gate,
    What::Metadata,
    What::Startup,
    What::Memory,
    What::Latency,
    What::Join,
    What::Stalls,
    What::Blocked,
    What::Balancer,
    What::Delivery,
    What::Access,
    What::Placement,
    What::Edge,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.blocked_node {
        return blocked::serve();
    }
    if arguments.balancer {
        return balancer_process::serve();
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
            // These have no figures: each prints its own table when it is asked for alone.
            What::Conformance | What::Contribution => Vec::new(),
            What::Ladder => ladder::measure(arguments.rounds)?,
            What::Blocked => blocked::measure(arguments.viewers)?,
            What::Balancer => balancer::measure(arguments.rounds)?,
            What::Delivery => delivery::measure(arguments.rounds)?,
            What::Signatures => signatures::measure()?,
            What::Verify => verify::measure()?,
            What::Gate => gate::measure()?,
            What::Access => access::measure(arguments.rounds)?,
            What::Metadata => metadata::measure()?,
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
            What::Hostile => hostile::measure(arguments.viewers / FAILOVER_SHARE)?,
            What::Publishers => publishers::measure()?,
            What::Players => players::measure(arguments.players_seconds.into())?,
        };
        for figure in figures {
            figure.print();
        }
    }
    Ok(())
}

/// The middle value (of an even number, the upper one); NaN for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest value that at least this share of all values do not exceed, by nearest rank; NaN for none.
fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
