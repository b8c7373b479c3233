//! CPU that a server needs to deliver to viewers, for the same bytes, against a named peer. `h2load` loads Sealcast and the peer in
//! turn, over TLS 1.3 with AES-128-GCM; the median of the rounds counts.
//!
//! A [`Pair`] is a server of Sealcast's, its peer, and the [`Row`]s that are requested of both. [`pairs`] lists all pairs.

mod balancer;
mod load;
mod nginx;
mod node;
mod tokens;

use std::net::SocketAddr;

use load::Load;
pub(crate) use tokens::{WithToken, measure as with_and_without_token};

use crate::{Figure, median};

/// Both servers of a pair, and what is requested of them.
struct Pair {
    ours: Server,
    peer: Server,
    rows: Vec<Row>,
}

/// A server on this machine. It ends when this is dropped.
struct Server {
    name: &'static str,
    address: SocketAddr,
    /// Processes whose CPU time counts for the server, without those of servers behind it.
    processes: Vec<u32>,
    /// Keeps alive what the server needs.
    _running: Box<dyn std::any::Any>,
}

/// One object that is requested many times over one protocol.
struct Row {
    what: String,
    path: String,
    protocol: Protocol,
    /// Requests in each round.
    requests: u32,
    unit: Unit,
    /// The wanted ratio, as the table prints it.
    wanted: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    /// HTTP/2 with this many streams at once on each connection.
    Http2 {
        streams: u32,
    },
}

/// What is counted per second of CPU.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// Bytes of bodies.
    Bytes,
    Requests,
}

/// Functions that start each pair; they run one after the other.
fn pairs() -> Vec<fn() -> anyhow::Result<Pair>> {
    vec![node::pair, balancer::pair]
}

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for start in pairs() {
        let Pair { ours, peer, rows } = start()?;
        for row in rows {
            let (mut our_rates, mut peer_rates) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                our_rates.push(rate(&ours, &row)?);
                peer_rates.push(rate(&peer, &row)?);
            }
            figures.push(row.figure((&ours, median(our_rates)), (&peer, median(peer_rates))));
        }
    }
    Ok(figures)
}

/// Bytes or requests that a server delivers per second of its CPU.
fn rate(server: &Server, row: &Row) -> anyhow::Result<f64> {
    let load = Load { address: server.address, path: &row.path, protocol: row.protocol };
    // Warm up buffers, caches and session tickets.
    load.run(row.requests / 20 + 1)?;
    let before = server.cpu_seconds()?;
    let bytes = load.run(row.requests)?;
    let cpu_seconds = server.cpu_seconds()? - before;
    Ok(match row.unit {
        Unit::Bytes => bytes as f64 / cpu_seconds,
        Unit::Requests => f64::from(row.requests) / cpu_seconds,
    })
}

impl Server {
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.processes.iter().map(|process| crate::role::cpu_seconds(*process)).sum()
    }
}

impl Row {
    fn figure(&self, (ours, our_rate): (&Server, f64), (peer, peer_rate): (&Server, f64)) -> Figure {
        let rate = |rate: f64| match self.unit {
            Unit::Bytes => format!("{:.0} MB/s", rate / 1e6),
            Unit::Requests => format!("{rate:.0}/s"),
        };
        let unit = match self.unit {
            Unit::Bytes => "bytes",
            Unit::Requests => "requests",
        };
        let protocol = match self.protocol {
            Protocol::Http1 => "HTTP/1.1".to_owned(),
            Protocol::Http2 { streams } => format!("HTTP/2 with {streams} streams"),
        };
        Figure {
            what: format!("{}, {protocol}: {unit} for a second of CPU, {}", self.what, ours.name),
            ours: rate(our_rate),
            peer: format!("{} {}", peer.name, rate(peer_rate)),
            ratio: Some(our_rate / peer_rate),
            bound: self.wanted,
        }
    }
}
