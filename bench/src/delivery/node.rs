//! A broadcast node with a synthetic stream, against nginx with the same bytes in files.

use std::path::Path;

use anyhow::{Context as _, ensure};
use node::tls;

use super::{Pair, Protocol, Row, Server, Unit, nginx};
use crate::fleet::Fleet;

/// Segments of the window. Their parts have two sizes, so that a segment has 2.2 MB and a part of the newest one 232 kB.
const SEGMENTS: usize = 12;
const PART_BYTES: usize = 275_000;
const NEWEST_PART_BYTES: usize = 232_000;
const PARTS_PER_SEGMENT: usize = 8;

pub(super) fn pair() -> anyhow::Result<Pair> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let fleet = runtime.block_on(start(directory.path()))?;
    let base = format!("/live/{}/r00", fleet.author.stream);
    let (segment, part) = (format!("{base}/1/{}.m4s", SEGMENTS - 1), format!("{base}/1/{SEGMENTS}.0.m4s"));
    let playlist = format!("{base}/index.m3u8");

    let root = directory.path().join("files");
    let paths = [&segment, &part, &playlist];
    let lengths = runtime.block_on(async {
        let mut lengths = Vec::new();
        for path in paths {
            lengths.push(copy(&fleet, path, &root).await?);
        }
        anyhow::Ok(lengths)
    })?;
    let authority = tls::Authority::ensure(&directory.path().join("certs"), &node::clock::Clock::new())?;
    let identity = authority.issue(&media::NodeId::new("nginx")?, node::Role::Broadcast, &[])?;
    let peer = nginx::start(directory.path(), &root, &identity)?;
    let [segment_bytes, part_bytes, playlist_bytes] = lengths[..] else { anyhow::bail!("three files") };

    let row = |what: String, path: &str, protocol, requests, unit, wanted| Row {
        what,
        path: path.to_owned(),
        protocol,
        requests,
        unit,
        wanted,
    };
    let (segment_of, part_of, playlist_of) = (
        format!("segment of {:.1} MB", segment_bytes as f64 / 1e6),
        format!("part of {:.0} kB", part_bytes as f64 / 1e3),
        format!("media playlist of {:.1} kB", playlist_bytes as f64 / 1e3),
    );
    let (http1, http2) = (Protocol::Http1, Protocol::Http2 { streams: 4 });
    let rows = vec![
        row(segment_of.clone(), &segment, http1, 1_500, Unit::Bytes, ">= 2.0x"),
        row(segment_of, &segment, http2, 1_500, Unit::Bytes, ">= 1.6x"),
        row(part_of, &part, http1, 12_000, Unit::Bytes, ">= 2.0x"),
        row(playlist_of.clone(), &playlist, http1, 60_000, Unit::Requests, ">= 1.2x"),
        row(playlist_of, &playlist, http2, 60_000, Unit::Requests, ">= 1.0x"),
    ];
    let node = fleet.nodes.first().context("there is one node")?;
    let (address, processes) = (node.addresses.https, vec![node.pid()]);
    let ours = Server { name: "node", address, processes, _running: Box::new((fleet, runtime, directory)) };
    Ok(Pair { ours, peer, rows })
}

/// Starts a node whose newest segment is complete, and followed by one part.
async fn start(directory: &Path) -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::start(directory, (1, 1), PART_BYTES, SEGMENTS).await?;
    fleet.author.part_bytes = NEWEST_PART_BYTES;
    fleet.push_row().await?;
    fleet.wait_for_sequence(u64::try_from(SEGMENTS * PARTS_PER_SEGMENT)?).await?;
    Ok(fleet)
}

/// Copies what the node serves at `path` to a file of the same path under `root`. Returns its length in bytes.
async fn copy(fleet: &Fleet, path: &str, root: &Path) -> anyhow::Result<usize> {
    let node = fleet.nodes.first().context("there is one node")?;
    let client = reqwest::Client::builder().use_preconfigured_tls(fleet.viewers.clone()).build()?;
    let answer = client.get(format!("https://localhost:{}{path}", node.addresses.https.port())).send().await?;
    ensure!(answer.status().is_success(), "{path}: {}", answer.status());
    let bytes = answer.bytes().await?;
    let file = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(file.parent().context("a file is in a directory")?)?;
    std::fs::write(file, &bytes)?;
    Ok(bytes.len())
}
