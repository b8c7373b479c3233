//! Row 2: place and count of tags, form of attributes, and the version that they need. Pure.

use super::common::line;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::{MediaPlaylist, Multivariant};
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 2,
    name: "tags: each media tag once, no mixed playlist kinds, version",
    rule: "D4.2, D4.4, D8",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut playlists = 0;
    if let Some(multivariant) = &observation.multivariant {
        playlists += 1;
        judge_multivariant(&observation.url, multivariant, &mut findings);
    }
    for (rendition, version) in observation.versions() {
        playlists += 1;
        judge_media(rendition, &version.playlist, &mut findings);
    }
    // For the second opinion, one version of each playlist is enough, because all versions look alike to it.
    for (rendition, playlist) in observation.lasts() {
        second_opinion(rendition, playlist, &mut findings);
    }
    findings.looked_at(playlists, "playlists");
    findings.verdict("no playlist was loaded")
}

fn judge_multivariant(url: &str, playlist: &Multivariant, findings: &mut Findings) {
    for fault in &playlist.faults {
        findings.must(&format!("D{}", fault.section), format!("{url} {}", fault.evidence()));
    }
    for variant in &playlist.variants {
        if variant.bandwidth().is_none() {
            findings.must("D4.4.6.2", format!("{url} line {}: no BANDWIDTH", variant.line));
        }
    }
    let groups = [("AUDIO", "AUDIO"), ("VIDEO", "VIDEO"), ("SUBTITLES", "SUBTITLES")];
    for variant in &playlist.variants {
        for (attribute, kind) in groups {
            let Some(group) = variant.attributes.quoted(attribute) else { continue };
            if !playlist.renditions.iter().any(|found| found.kind() == kind && found.group() == group) {
                let what = format!("{url} line {}: {attribute}={group:?} names no group", variant.line);
                findings.must("D4.4.6.2", what);
            }
        }
    }
    for (index, one) in playlist.renditions.iter().enumerate() {
        for other in playlist.renditions.iter().skip(index + 1) {
            let same_group = one.kind() == other.kind() && one.group() == other.group();
            if same_group && one.attributes.text("NAME") == other.attributes.text("NAME") {
                findings.must("D4.4.6.1.1", format!("{url} lines {} and {}: the same NAME", one.line, other.line));
            }
            if same_group && one.attributes.yes("DEFAULT") && other.attributes.yes("DEFAULT") {
                findings.must("D4.4.6.1.1", format!("{url} lines {} and {}: both DEFAULT", one.line, other.line));
            }
        }
    }
}

fn judge_media(rendition: &RenditionSeen, playlist: &MediaPlaylist, findings: &mut Findings) {
    for fault in &playlist.faults {
        findings.must(&format!("D{}", fault.section), format!("{} {}", rendition.name, fault.evidence()));
    }
    if playlist.target_duration.is_none() {
        findings.must("D4.4.3.1", format!("{}: no EXT-X-TARGETDURATION", rendition.name));
    }
    let parts = playlist.numbered_with_open().find_map(|(_, segment)| segment.parts.first());
    if let (Some(part), None) = (parts, playlist.part_target) {
        findings.must("D4.4.3.7", format!("{}: parts, but no EXT-X-PART-INF", line(rendition, playlist, part.line)));
    }
    for (_, segment) in playlist.numbered_with_open() {
        for (number, _) in &segment.late_tags {
            findings.must("D4.4.4.9", format!("{} stands after the first part", line(rendition, playlist, *number)));
        }
    }
    let (needed, why) = needed_version(playlist);
    let stated = playlist.version.unwrap_or(1);
    if stated < needed {
        findings.must("D8", format!("{}: EXT-X-VERSION is {stated}, but {why} needs {needed}", rendition.name));
    } else if stated > needed {
        let what = format!("{}: EXT-X-VERSION is {stated}, but {needed} would do ({why})", rendition.name);
        findings.should("D6.2.1", what);
    }
}

/// The least version that a playlist needs (section 8), and the reason.
fn needed_version(playlist: &MediaPlaylist) -> (u64, &'static str) {
    let text = &playlist.text;
    let key = |needle: &str| text.tags("EXT-X-KEY").any(|(_, value)| value.contains(needle));
    let needs = [
        (11, "EXT-X-DEFINE with QUERYPARAM", text.tags("EXT-X-DEFINE").any(|(_, value)| value.contains("QUERYPARAM="))),
        (10, "RECENTLY-REMOVED-DATERANGES", text.tags("EXT-X-SKIP").any(|(_, value)| value.contains("RECENTLY-"))),
        (9, "EXT-X-SKIP", playlist.skip.is_some()),
        (8, "variable substitution", text.has("EXT-X-DEFINE")),
        (6, "EXT-X-MAP", text.has("EXT-X-MAP") && !playlist.iframes_only),
        (5, "EXT-X-MAP of I-frames", text.has("EXT-X-MAP")),
        (5, "SAMPLE-AES or KEYFORMAT", key("METHOD=SAMPLE-AES") || key("KEYFORMAT")),
        (4, "EXT-X-BYTERANGE", text.has("EXT-X-BYTERANGE")),
        (4, "EXT-X-I-FRAMES-ONLY", playlist.iframes_only),
        (3, "a decimal EXTINF", playlist.segments.iter().any(|segment| segment.duration_text.contains('.'))),
        (2, "IV", key("IV=")),
    ];
    needs.iter().find(|(_, _, needed)| *needed).map_or((1, "what it holds"), |(version, why, _)| (*version, why))
}

/// Reads the playlist with another parser. It knows no low-latency tags, so only its success and its number of segments count.
fn second_opinion(rendition: &RenditionSeen, playlist: &MediaPlaylist, findings: &mut Findings) {
    match m3u8_rs::parse_media_playlist_res(playlist.text.raw.as_bytes()) {
        Ok(read) if read.segments.len() != playlist.segments.len() => findings.should(
            "D4",
            format!(
                "{}: m3u8-rs reads {} segments, not {}",
                rendition.name,
                read.segments.len(),
                playlist.segments.len()
            ),
        ),
        Ok(_) => {}
        Err(_) => findings.should("D4", format!("{}: m3u8-rs cannot read it", rendition.name)),
    }
}
