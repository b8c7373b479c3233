//! What delivering to viewers costs the server that does it: its CPU alone, for the same bytes, against a named peer. `h2load` asks
//! ours and theirs in turn, over TLS 1.3 with AES-128-GCM; the median of the rounds counts.
//!
//! A [`Pair`] is a server of ours, its peer and the [`Row`]s that both are asked for. Who adds a pair adds it to [`pairs`].

mod balancer;
mod load;
mod nginx;
mod node;

use std::net::SocketAddr;

use load::Load;

use crate::{Figure, median};

/// Both servers of a pair, and what they are asked for.
struct Pair {
    ours: Server,
    peer: Server,
    rows: Vec<Row>,
}

/// A server on this machine. It ends with its owner.
struct Server {
    name: &'static str,
    address: SocketAddr,
    /// The processes whose CPU time is the server's, without those of servers behind it.
    processes: Vec<u32>,
    /// What has to live as long as the server serves.
    _running: Box<dyn std::any::Any>,
}

/// One thing that is asked for many times in one way.
struct Row {
    what: String,
    path: String,
    protocol: Protocol,
    /// How many times, in each round.
    requests: u32,
    unit: Unit,
    /// The ratio that is wanted.
    wanted: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    /// With so many streams at once on each connection.
    Http2 {
        streams: u32,
    },
}

/// What is counted for a second of CPU.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// Bytes of bodies.
    Bytes,
    Requests,
}

/// Every pair there is, started one after the other.
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

/// What a server did for a second of its CPU.
fn rate(server: &Server, row: &Row) -> anyhow::Result<f64> {
    let load = Load { address: server.address, path: &row.path, protocol: row.protocol };
    // Buffers, caches and session tickets are as they will be.
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
