//! The work of a viewer's program: it reads playlists, fetches media and decodes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

use crate::http::{get, get_bytes};
use crate::wait::{PATIENCE, eventually_async};

/// Waits for the multivariant playlist.
pub async fn multivariant(http: &reqwest::Client, base: &str, stream: &str) -> MasterPlaylist {
    let url = format!("{base}/live/{stream}/index.m3u8");
    let text = eventually_async(&url, PATIENCE, async || get(http, &url).await).await;
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Names of all renditions: `720p`, `audio`, …
pub fn renditions(master: &MasterPlaylist) -> BTreeSet<String> {
    let variants = master.variants.iter().map(|variant| variant.uri.clone());
    let audio = master.alternatives.iter().filter_map(|media| media.uri.clone());
    variants.chain(audio).map(|uri| uri.split('/').next().unwrap_or_default().to_owned()).collect()
}

/// Waits for a media playlist that lists at least `segments`.
pub async fn playlist(
    http: &reqwest::Client,
    base: &str,
    stream: &str,
    rendition: &str,
    segments: usize,
) -> MediaPlaylist {
    let url = format!("{base}/live/{stream}/{rendition}/index.m3u8");
    eventually_async(&format!("{segments} segments in {url}"), PATIENCE, async || {
        let playlist = parse(&get(http, &url).await?);
        (playlist.segments.len() >= segments).then_some(playlist)
    })
    .await
}

/// Waits until the node at `base` lists as many segments as `other` did, and its newest. A node that joins a stream lists old segments
/// first, so their number alone says nothing.
pub async fn catches_up(http: &reqwest::Client, base: &str, stream: &str, rendition: &str, other: &MediaPlaylist) {
    let end = |playlist: &MediaPlaylist| playlist.media_sequence + playlist.segments.len() as u64;
    let url = format!("{base}/live/{stream}/{rendition}/index.m3u8");
    eventually_async(&format!("{url} to list segment {}", end(other) - 1), PATIENCE, async || {
        let playlist = parse(&get(http, &url).await?);
        (playlist.segments.len() >= other.segments.len() && end(&playlist) >= end(other)).then_some(())
    })
    .await;
}

pub fn parse(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The init segment and the first segments of a rendition in one file, as a player would append them.
pub async fn download(http: &reqwest::Client, base: &str, stream: &str, rendition: &str, segments: usize) -> Vec<u8> {
    let playlist = playlist(http, base, stream, rendition, segments).await;
    let root = format!("{base}/live/{stream}/{rendition}");
    let map = playlist.segments.first().and_then(|s| s.map.clone()).expect("the first segment has a map");
    let mut all = get_bytes(http, &format!("{root}/{}", map.uri)).await;
    for segment in playlist.segments.iter().take(segments) {
        all.extend(get_bytes(http, &format!("{root}/{}", segment.uri)).await);
    }
    all
}

/// Decodes everything; panics with FFmpeg's output if there is any.
pub fn decode(file: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(file)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed: scripts/setup.sh test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{}: {said}", file.display());
}

/// First and last presentation time of a file's packets, in seconds.
pub fn span(file: &Path) -> (f64, f64) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe is installed: scripts/setup.sh test");
    let times: Vec<f64> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse().ok())
        .collect();
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(first.is_finite() && last.is_finite(), "{} has no packets", file.display());
    (first, last)
}
