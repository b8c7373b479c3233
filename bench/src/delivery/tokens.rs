//! The same node, with a viewer's token in the path and without.

use anyhow::Context as _;
use media::StreamId;
use metadata::Body;

use super::{Protocol, Row, Server, Unit, rate};
use crate::fleet::Fleet;
use crate::{Figure, median};

/// Tokens may cost two per cent of a node's CPU.
const COST: &str = ">= 0.98x";
/// Segments of the window, and bytes of a part: a segment has 2.2 MB.
const SEGMENTS: usize = 12;
const PART_BYTES: usize = 275_000;

/// What a viewer has before its paths, and what makes a node take it.
pub(crate) struct WithToken {
    pub(crate) prefix: String,
    pub(crate) row: Body,
}

/// CPU of a node for answers with a token, against the same answers without one, in turns; the median of the rounds counts.
pub(crate) fn measure(
    rounds: usize,
    token_for: fn(&StreamId) -> anyhow::Result<WithToken>,
) -> anyhow::Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let fleet = runtime.block_on(Fleet::start(directory.path(), (1, 1), PART_BYTES, SEGMENTS))?;
    let base = format!("/live/{}/r00", fleet.author.stream);
    let WithToken { prefix, row } = token_for(&fleet.author.stream)?;
    let node = fleet.nodes.first().context("there is one node")?;
    let (address, processes) = (node.addresses.https, vec![node.pid()]);
    let playlist = format!("{base}/index.m3u8");
    runtime.block_on(fleet.write(row, &format!("{prefix}{playlist}")))?;
    let server = Server { name: "node", address, processes, _running: Box::new((fleet, runtime, directory)) };
    let segment = format!("{base}/1/{}.m4s", SEGMENTS - 2);
    let http2 = Protocol::Http2 { streams: 4 };
    let mut figures = Vec::new();
    for (what, path, protocol, requests, unit) in [
        ("segment", &segment, Protocol::Http1, 1_500, Unit::Bytes),
        ("segment", &segment, http2, 1_500, Unit::Bytes),
        ("media playlist", &playlist, Protocol::Http1, 60_000, Unit::Requests),
        ("media playlist", &playlist, http2, 60_000, Unit::Requests),
    ] {
        let row = |path: String| Row {
            what: format!("{what} with a viewer's token; peer: without"),
            path,
            protocol,
            requests,
            unit,
            wanted: COST,
        };
        let (with, without) = (row(format!("{prefix}{path}")), row(path.clone()));
        let (mut with_rates, mut without_rates) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            with_rates.push(rate(&server, &with)?);
            without_rates.push(rate(&server, &without)?);
        }
        figures.push(with.figure((&server, median(with_rates)), (&server, median(without_rates))));
    }
    Ok(figures)
}
