//! The load balancer against HAProxy, each in front of the same node, which runs in this process and does not count.

use super::{Pair, Protocol, Row, Server, Unit};
use crate::balancer::{Cluster, PLAYLIST, PLAYLIST_BYTES, SEGMENT, SEGMENT_BYTES, Which};

pub(super) fn pair() -> anyhow::Result<Pair> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(Cluster::start(directory.path()))?;
    let server = |name, which, running| Server {
        name,
        address: cluster.address(Some(which)),
        processes: vec![cluster.pid(which)],
        _running: running,
    };
    let peer = server("HAProxy", Which::Haproxy, Box::new(()));
    let mut ours = server("load balancer", Which::Ours, Box::new(()));
    ours._running = Box::new((cluster, runtime, directory));

    let segment = format!("segment of {:.1} MB", SEGMENT_BYTES as f64 / 1e6);
    let playlist = format!("media playlist of {:.1} kB", PLAYLIST_BYTES as f64 / 1e3);
    let alone = format!("{playlist} that each viewer asks for in another way, so that nobody shares it");
    // The balancer shares no answer to a query that it does not know.
    let own = format!("{PLAYLIST}?own");
    let (http1, http2) = (Protocol::Http1, Protocol::Http2 { streams: 4 });
    let row = |what: &str, path: &str, protocol, requests, unit, wanted| Row {
        what: what.to_owned(),
        path: path.to_owned(),
        protocol,
        requests,
        unit,
        wanted,
    };
    let rows = vec![
        row(&segment, SEGMENT, http1, 1_000, Unit::Bytes, ">= 1.3x"),
        row(&segment, SEGMENT, http2, 1_000, Unit::Bytes, ">= 1.3x"),
        row(&playlist, PLAYLIST, http1, 40_000, Unit::Requests, ">= 0.8x"),
        row(&playlist, PLAYLIST, http2, 40_000, Unit::Requests, ">= 0.8x"),
        row(&alone, &own, http1, 20_000, Unit::Requests, "-"),
        row(&alone, &own, http2, 20_000, Unit::Requests, "-"),
    ];
    Ok(Pair { ours, peer, rows })
}
