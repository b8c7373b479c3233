//! Configuration of a broadcast node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use media::NodeId;
use media::segmenter::{PART_TARGET_MS, declared_part};
use node::config::HOST_NAME;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::direct::is_base_url;
use crate::dvr;
use crate::viewers::{WAITING_PER_STREAM_MAX, WAITING_SHARE, WaitingBounds};

/// Longest `dvr_window_s`: a day. A playlist of a day has two megabytes.
const DVR_WINDOW_S_MAX: u64 = 86_400;

/// Lowest egress capacity, in bits per second: nobody could watch with less, so a lower value was meant in another unit.
const EGRESS_CAPACITY_MIN: u64 = 1_000_000;

/// Configuration of a broadcast node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where viewers are served (TLS; HTTP/2 and HTTP/1.1). Default: `127.0.0.1:0`; port 0 asks for a free port.
    pub https_listen: SocketAddr,
    /// The data plane (mutual TLS, HTTP/2): ingests push here, other broadcast nodes pull. Default: `127.0.0.1:0`.
    pub data_listen: SocketAddr,
    /// Base URL by which viewers and load balancers reach this node. `{hostname}` in it, and in `data_url`, stands for the name
    /// of the machine or container. Default: `https://` and the address that was bound.
    pub https_url: Option<String>,
    /// Base URL by which other nodes reach the data plane. Default: `https://` and the address that was bound.
    pub data_url: Option<String>,
    /// File with the authority's public key (ML-DSA-44, 1312 bytes): the trust anchor. Default: `root.pub`. Set by the program
    /// that runs the role, from the setting that all roles share.
    #[serde(skip)]
    pub root_key: PathBuf,
    /// Base URLs of control nodes, to ask about the metadata log; presences name others. Default: none. Set by the program that runs
    /// the role, from the setting that all roles share.
    #[serde(skip)]
    pub control: Vec<String>,
    /// EXT-X-TARGETDURATION in seconds: the segment target of the ingests, 1 to 30; the same on all nodes. Default: 4.
    pub target_duration_s: u32,
    /// The part target of the ingests, in milliseconds, 200 to 2000; the same on all nodes. Playlists declare
    /// [`media::segmenter::declared_part`] of it. Default: 500. Set by the program that runs the role, from the setting that
    /// ingest and broadcast share.
    #[serde(skip)]
    pub part_target_ms: u64,
    /// Segments that a playlist lists, 6 to 64; the same on all nodes. Default: 12.
    pub window_segments: usize,
    /// Most bytes of media in memory, all streams together, with what has left the store and slow viewers still read; at least 64 MiB.
    /// When there are more, the responses of the slowest of those viewers end. What an edge has fetched comes on top, half as much.
    /// Default: 2 GiB.
    pub media_bytes_max: u64,
    /// Most connections of viewers at once. Further ones are closed at once, so that a load balancer tries another node. Each
    /// takes a file descriptor, and some 60 kB of memory with a request that waits. Default: 16384.
    pub connections_max: usize,
    /// Connections from one address, or one IPv6 network of 64 bits, that stay when all are taken: of an address with more, the newest
    /// gives way to a viewer from an address with fewer. Those of balancers count for no address. Default: half of `connections_max`.
    pub connections_share: Option<usize>,
    /// Requests that wait for what is about to come of one stream (blocking playlist reload, hinted parts), 4 to 1,000,000; twice as many
    /// for all streams together. A viewer has up to four. Default: 32768.
    pub waiting_max: usize,
    /// Of those, how many of one address, or one IPv6 network of 64 bits, stay when all places are taken, 1 to 1,000,000. Of an address
    /// with more, the newest gets 503 and makes room for one from another. Requests through a balancer count for no address: the balancer
    /// has a share for each viewer's. Default: 2048, for 500 viewers behind one router.
    pub waiting_share: usize,
    /// How far back a viewer can go, in seconds. That much of each stream is on disk below the node's data directory and listed
    /// in `dvr.m3u8`. 0 records nothing; other values are at least what the live playlist lists, and at most a day. The disk
    /// holds twice as much, because a segment that has left a playlist stays for as long again as that playlist was. Default:
    /// 0.
    pub dvr_window_s: u64,
    /// Most bytes of disk that all recordings of this node take; at least 64 MiB. When they need more, the oldest segments go.
    /// Besides, 2 GiB of the disk stay free. Default: 64 GiB.
    pub dvr_bytes_max: u64,
    /// Whether browsers reach nodes directly, by content steering (RFC 8216bis 7), and use a balancer for the page, for
    /// steering and when a node fails; the same on all nodes. Default: false.
    pub direct: bool,
    /// Base URL by which browsers reach this node with `direct`: a host name of its own, for which its certificate is valid;
    /// `{hostname}` in it is the machine's or container's name. Default: `https_url`.
    pub public_url: Option<String>,
    /// Most that this node can send to viewers, in bits per second; at least 1,000,000. Default: not known.
    pub egress_capacity: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            https_listen: any,
            data_listen: any,
            https_url: None,
            data_url: None,
            root_key: PathBuf::from("root.pub"),
            control: Vec::new(),
            target_duration_s: 4,
            part_target_ms: 500,
            window_segments: 12,
            media_bytes_max: 2 * 1024 * 1024 * 1024,
            connections_max: 16_384,
            connections_share: None,
            waiting_max: WAITING_PER_STREAM_MAX,
            waiting_share: WAITING_SHARE,
            dvr_window_s: 0,
            dvr_bytes_max: 64 * 1024 * 1024 * 1024,
            direct: false,
            public_url: None,
            egress_capacity: None,
        }
    }
}

impl Config {
    /// Checks it as a whole, before anything is bound.
    ///
    /// # Errors
    /// Names the first field that is out of range, as it is written in `sealcast.toml`.
    pub fn check(&self) -> Result<()> {
        ensure!(
            (1..=30).contains(&self.target_duration_s),
            "role.broadcast.target_duration_s = {}: use 1 to 30",
            self.target_duration_s
        );
        ensure!(
            PART_TARGET_MS.contains(&self.part_target_ms),
            "part_target_ms = {}: use {} to {}",
            self.part_target_ms,
            PART_TARGET_MS.start(),
            PART_TARGET_MS.end()
        );
        let window = playlist::WINDOW_SEGMENTS_MIN..=64;
        ensure!(
            window.contains(&self.window_segments),
            "role.broadcast.window_segments = {}: use 6 to 64",
            self.window_segments
        );
        ensure!(
            self.media_bytes_max >= 64 * 1024 * 1024,
            "role.broadcast.media_bytes_max = {}: use at least 64 MiB",
            self.media_bytes_max
        );
        for (name, value, least) in [("waiting_max", self.waiting_max, 4), ("waiting_share", self.waiting_share, 1)] {
            ensure!((least..=1_000_000).contains(&value), "role.broadcast.{name} = {value}: use {least} to 1000000");
        }
        ensure!(self.connections_max > 0, "role.broadcast.connections_max = 0: nobody could watch; use at least 1");
        let live = u64::try_from(self.window_segments).unwrap_or(u64::MAX) * u64::from(self.target_duration_s);
        ensure!(
            self.dvr_window_s == 0 || (live..=DVR_WINDOW_S_MAX).contains(&self.dvr_window_s),
            "role.broadcast.dvr_window_s = {}: use 0, or {live} (what the live playlist lists) to {DVR_WINDOW_S_MAX}",
            self.dvr_window_s
        );
        ensure!(
            self.dvr_bytes_max >= 64 * 1024 * 1024,
            "role.broadcast.dvr_bytes_max = {}: use at least 64 MiB",
            self.dvr_bytes_max
        );
        for (name, url) in [("https_url", &self.https_url), ("data_url", &self.data_url)] {
            let Some(url) = url else { continue };
            ensure!(
                url.starts_with("https://") && !url.ends_with('/'),
                "role.broadcast.{name} = {url:?}: use https://HOST:PORT without a slash at the end"
            );
        }
        if let Some(url) = &self.public_url {
            // The machine's name takes the placeholder's place when the node starts.
            ensure!(
                is_base_url(&url.replace(HOST_NAME, "host")),
                "role.broadcast.public_url = {url:?}: use https://HOST or https://HOST:PORT, and nothing after it"
            );
        }
        ensure!(
            self.egress_capacity.is_none_or(|bits| bits >= EGRESS_CAPACITY_MIN),
            "role.broadcast.egress_capacity = {}: use at least {EGRESS_CAPACITY_MIN} bit/s, or leave it out when it is not known",
            self.egress_capacity.unwrap_or_default()
        );
        Ok(())
    }

    /// How many requests may wait.
    pub(crate) const fn waiting(&self) -> WaitingBounds {
        WaitingBounds { per_stream_max: self.waiting_max, share: self.waiting_share }
    }

    /// How recordings are made below a node's data directory; `None` when there are to be none.
    pub(crate) fn dvr(&self, node: &NodeId, data: &Path) -> Option<dvr::Settings> {
        (self.dvr_window_s > 0).then(|| dvr::Settings {
            node: node.clone(),
            root: data.join("dvr"),
            playlist: self.playlist(),
            window: Duration::from_secs(self.dvr_window_s),
            bytes_max: self.dvr_bytes_max,
            free_bytes_min: dvr::DISK_FREE_BYTES_MIN,
            grants_wait_max: dvr::GRANTS_WAIT_MAX,
        })
    }

    /// Settings of the playlists that this node renders.
    pub fn playlist(&self) -> playlist::Settings {
        let Self { target_duration_s, window_segments, part_target_ms, .. } = *self;
        let declared = declared_part(Duration::from_millis(part_target_ms));
        let part_target_ms = u32::try_from(declared.as_millis()).unwrap_or(u32::MAX);
        playlist::Settings { target_duration_s, window_segments, part_target_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key_in_the_file() {
        Config::default().check().unwrap();
        let error = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        for (said, change) in [
            ("egress_capacity = 0: use at least 1000000 ", (|c| c.egress_capacity = Some(0)) as fn(&mut Config)),
            ("target_duration_s = 0: ", |c| c.target_duration_s = 0),
            ("window_segments = 5: ", |c| c.window_segments = 5),
            ("media_bytes_max = 1: ", |c| c.media_bytes_max = 1),
            ("connections_max = 0: ", |c| c.connections_max = 0),
            ("waiting_max = 3: ", |c| c.waiting_max = 3),
            ("waiting_share = 0: ", |c| c.waiting_share = 0),
            ("dvr_window_s = 1: ", |c| c.dvr_window_s = 1),
            ("dvr_bytes_max = 1: ", |c| c.dvr_bytes_max = 1),
            ("https_url = \"http://a\": ", |c| c.https_url = Some("http://a".to_owned())),
            ("data_url = \"https://a/\": ", |c| c.data_url = Some("https://a/".to_owned())),
            ("public_url = \"a\": ", |c| c.public_url = Some("a".to_owned())),
        ] {
            let error = error(change);
            assert!(error.strip_prefix("role.broadcast.").is_some_and(|rest| rest.starts_with(said)), "{error}");
        }
        assert!(error(|c| c.part_target_ms = 100).starts_with("part_target_ms = 100: "), "it stands at the top");
    }
}
