//! Rendered playlists against golden files in `testdata`. `UPDATE_GOLDEN=1 cargo test -p playlist` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::path::PathBuf;

use playlist::{Timeline, render};
use support::{Writer, fold, full, ladder, rendition};

fn compare(name: &str, text: Option<String>) {
    let text = text.expect("there is something to list");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{name}");
    m3u8_rs::parse_playlist_res(text.as_bytes()).unwrap_or_else(|_| panic!("{name} does not parse"));
}

fn media(timeline: &Timeline, name: &str) -> Option<String> {
    full(timeline, &rendition(name))
}

#[test]
fn first_segments_of_a_stream() {
    let timeline = fold(&Writer::new(ladder(&[720, 1080], true)).segments(3).row(45_000, false, None).log);
    compare("first-media.m3u8", media(&timeline, "720p"));
    compare("first-multivariant.m3u8", render::multivariant(&timeline));
}

#[test]
fn window_slides() {
    let timeline = fold(&Writer::new(ladder(&[720], true)).segments(15).log);
    compare("sliding-audio.m3u8", media(&timeline, "audio"));
}

#[test]
fn reconnect_is_one_discontinuity_and_closes_the_open_segment() {
    let mut writer = Writer::new(ladder(&[720], true));
    writer.segments(2).row(45_000, false, None).row(45_000, false, None);
    let timeline = fold(&writer.reconnect(ladder(&[360, 720], true)).segments(2).log);
    compare("reconnect-720p.m3u8", media(&timeline, "720p"));
    compare("reconnect-360p.m3u8", media(&timeline, "360p"));
    compare("reconnect-multivariant.m3u8", render::multivariant(&timeline));
}

#[test]
fn discontinuity_stays_until_its_segment_leaves() {
    let mut writer = Writer::new(ladder(&[720], false));
    let timeline = fold(&writer.segments(3).reconnect(ladder(&[720], false)).segments(12).log);
    compare("discontinuity-first.m3u8", media(&timeline, "720p"));
    compare("discontinuity-gone.m3u8", media(&fold(&writer.segment().log), "720p"));
}

#[test]
fn shed_rung_is_a_gap_and_leaves_the_variants() {
    let mut writer = Writer::new(ladder(&[360, 720], true));
    writer.segments(2);
    (0..8).for_each(|part| {
        writer.row(45_000, part == 7, Some(1));
    });
    let timeline = fold(&writer.log);
    compare("gap-720p.m3u8", media(&timeline, "720p"));
    compare("gap-multivariant.m3u8", render::multivariant(&timeline));
    compare("gap-iframes.m3u8", render::iframes(&timeline, &rendition("720p")));
    assert_eq!(render::iframes(&timeline, &rendition("audio")), None);
}

#[test]
fn end_of_stream() {
    let mut writer = Writer::new(ladder(&[], true));
    let timeline = fold(&writer.segments(2).row(45_000, false, None).end().log);
    compare("end-audio.m3u8", media(&timeline, "audio"));
    compare("audio-only-multivariant.m3u8", render::multivariant(&timeline));
    // It comes back: an empty window, and numbers that go on.
    let timeline = fold(&writer.reconnect(ladder(&[], true)).segment().log);
    compare("after-end-audio.m3u8", media(&timeline, "audio"));
}

#[test]
fn nothing_to_list_is_no_playlist() {
    let timeline = fold(&Writer::new(ladder(&[720], true)).row(45_000, false, None).log);
    assert_eq!(media(&timeline, "720p"), None);
    assert_eq!(render::multivariant(&timeline), None);
    let timeline = fold(&Writer::new(ladder(&[720], true)).segment().log);
    assert_eq!(media(&timeline, "1080p"), None);
}
