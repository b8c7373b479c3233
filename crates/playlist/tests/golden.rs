//! Compares rendered playlists with golden files in `testdata`. `UPDATE_GOLDEN=1 cargo test -p playlist` rewrites them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::path::PathBuf;

use playlist::Timeline;
use playlist::reload::Extent;
use playlist::render::{self, Pathway, Steering};
use support::client::Playlist;
use support::writer::PART;
use support::{Writer, delta, fold, full, ladder, rendition, rules};

fn compare(name: &str, text: Option<String>) -> String {
    let text = text.expect("there is something to list");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.m3u8"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{name}");
    m3u8_rs::parse_playlist_res(text.as_bytes()).unwrap_or_else(|_| panic!("{name} does not parse"));
    text
}

/// Compares the media playlist of a rendition, and its delta update if that skips segments.
fn media(name: &str, timeline: &Timeline, of: &str) {
    let text = compare(&format!("{name}-{of}"), full(timeline, &rendition(of)));
    rules::alone(&Playlist::parse(&text));
    let update = delta(timeline, &rendition(of));
    if update.as_ref() != Some(&text) {
        compare(&format!("{name}-{of}-delta"), update);
    }
}

#[test]
fn first_segments_of_a_stream() {
    let timeline = fold(&Writer::new(ladder(&[720, 1080], true)).segments(3).row(PART, false, None).log);
    media("first", &timeline, "720p");
    compare("first-multivariant", render::multivariant(&timeline));
    compare("first-iframes", render::iframes(&timeline, &rendition("720p"), Extent::Full));
}

#[test]
fn steered_playlist_lists_all_renditions_on_each_pathway() {
    let timeline = fold(&Writer::new(ladder(&[720, 1080], true)).segments(3).log);
    let pathway = |id: &str, base: &str| Pathway { id: id.into(), base: base.into() };
    let steering = Steering {
        server_uri: "steering.json?listed=b1,b2".into(),
        pathways: vec![
            pathway("b1", "https://b1.example.net:8443/live/demo/"),
            pathway("b2", "https://b2.example.net:8443/live/demo/"),
            pathway(".balancer", ""),
        ],
    };
    let text = compare("steered-multivariant", render::steered(&timeline, &steering));
    // Without the additions for steering, each pathway equals the plain playlist.
    let plain = render::multivariant(&timeline).unwrap();
    for Pathway { id, base } in &steering.pathways {
        let (mut found, mut is_ours) = (String::new(), false);
        for line in text.lines() {
            is_ours = match line.split_once(':') {
                Some(("#EXT-X-MEDIA", _)) => line.contains(&format!("audio-{id}\"")),
                Some(("#EXT-X-STREAM-INF" | "#EXT-X-I-FRAME-STREAM-INF", _)) => {
                    line.contains(&format!("PATHWAY-ID=\"{id}\""))
                }
                Some(("#EXT-X-CONTENT-STEERING", _)) => false,
                _ if line.starts_with('#') => true,
                _ => is_ours,
            };
            if is_ours {
                found.push_str(&line.replace(&format!(",PATHWAY-ID=\"{id}\""), "").replace(base.as_str(), ""));
                found.push('\n');
            }
        }
        let found = found.replace(&format!("audio-{id}\""), "audio\"");
        let stable = |text: &str, name: &str| text.replace(&format!(",STABLE-{name}"), "");
        let found = ["1080p", "720p", "audio"].iter().fold(found, |text, rendition| {
            let text = stable(&text, &format!("VARIANT-ID=\"{rendition}\""));
            let text = stable(&text, &format!("VARIANT-ID=\"{rendition}-iframes\""));
            stable(&text, &format!("RENDITION-ID=\"{rendition}\""))
        });
        assert_eq!(found, plain, "{id}");
    }
}

#[test]
fn window_slides_and_segments_at_its_end_have_parts() {
    let timeline = fold(&Writer::new(ladder(&[720], true)).segments(15).log);
    media("sliding", &timeline, "audio");
    media("sliding", &timeline, "720p");
    compare("sliding-iframes", render::iframes(&timeline, &rendition("720p"), Extent::Full));
    compare("sliding-iframes-delta", render::iframes(&timeline, &rendition("720p"), Extent::Delta));
}

#[test]
fn open_segment_is_its_parts() {
    let mut writer = Writer::new(ladder(&[720], true));
    writer.segments(8);
    (0..5).for_each(|_| _ = writer.row(PART, false, None));
    media("open", &fold(&writer.log), "720p");
}

#[test]
fn gap_of_one_part_is_a_gap_of_its_segment_when_that_ends() {
    let mut writer = Writer::new(ladder(&[720], false));
    writer.segments(8).row(PART, false, None).row(PART, false, Some(0)).row(PART, false, None);
    media("part-gap-open", &fold(&writer.log), "720p");
    media("part-gap", &fold(&writer.row(PART, true, None).log), "720p");
}

#[test]
fn shed_rung_is_a_gap_and_leaves_the_variants() {
    let mut writer = Writer::new(ladder(&[360, 720], true));
    writer.segments(2);
    (0..8).for_each(|part| {
        writer.row(PART, part == 7, Some(1));
    });
    let timeline = fold(&writer.log);
    media("shed", &timeline, "720p");
    compare("shed-multivariant", render::multivariant(&timeline));
    compare("shed-iframes", render::iframes(&timeline, &rendition("720p"), Extent::Full));
    assert_eq!(render::iframes(&timeline, &rendition("audio"), Extent::Full), None);
}

#[test]
fn outage_goes_on_as_gaps_and_hints_at_the_next_epoch() {
    let mut writer = Writer::new(ladder(&[360], true));
    writer.segments(8).row(PART, false, None).outage(3);
    media("outage", &fold(&writer.log), "360p");
    writer.outage(6);
    media("outage-long", &fold(&writer.log), "360p");
    media("outage-long", &fold(&writer.log), "audio");
    writer.reconnect(ladder(&[360], true)).row(PART, false, None);
    media("outage-over", &fold(&writer.log), "360p");
}

#[test]
fn reconnect_is_one_discontinuity_and_closes_the_open_segment() {
    let mut writer = Writer::new(ladder(&[720], true));
    writer.segments(6).row(PART, false, None).row(PART, false, None);
    let timeline = fold(&writer.reconnect(ladder(&[360, 720], true)).segments(2).row(PART, false, None).log);
    media("reconnect", &timeline, "720p");
    // New in this epoch, and gone in the next.
    media("reconnect", &timeline, "360p");
    compare("reconnect-multivariant", render::multivariant(&timeline));
    compare("reconnect-iframes", render::iframes(&timeline, &rendition("360p"), Extent::Full));
    let timeline = fold(&writer.reconnect(ladder(&[720], true)).row(PART, false, None).log);
    media("reconnect-gone", &timeline, "360p");
}

#[test]
fn discontinuity_stays_until_its_segment_leaves() {
    let mut writer = Writer::new(ladder(&[720], false));
    let timeline = fold(&writer.segments(3).reconnect(ladder(&[720], false)).segments(12).log);
    media("discontinuity-first", &timeline, "720p");
    media("discontinuity-gone", &fold(&writer.segment().log), "720p");
}

#[test]
fn end_of_stream_and_comeback() {
    let mut writer = Writer::new(ladder(&[], true));
    let timeline = fold(&writer.segments(8).row(PART, false, None).end().log);
    media("end", &timeline, "audio");
    compare("audio-only-multivariant", render::multivariant(&timeline));
    // The stream returns with an empty window, and its numbers continue.
    let timeline = fold(&writer.reconnect(ladder(&[], true)).row(PART, false, None).log);
    assert_eq!(full(&timeline, &rendition("audio")), None);
    let timeline = fold(&writer.segment().row(PART, false, None).log);
    media("after-end", &timeline, "audio");
}

#[test]
fn short_segments_stay_until_there_are_three_target_durations() {
    let mut writer = Writer::new(ladder(&[720], false));
    writer.segments(4);
    (0..16).for_each(|_| _ = writer.reconnect(ladder(&[720], false)).row(PART, false, None));
    media("short", &fold(&writer.log), "720p");
}

#[test]
fn nothing_to_list_is_no_playlist() {
    let timeline = fold(&Writer::new(ladder(&[720], true)).row(PART, false, None).log);
    assert_eq!(full(&timeline, &rendition("720p")), None);
    assert_eq!(render::iframes(&timeline, &rendition("720p"), Extent::Full), None);
    assert_eq!(render::multivariant(&timeline), None);
    assert_eq!(timeline.edge(), None);
    let timeline = fold(&Writer::new(ladder(&[720], true)).segment().log);
    assert_eq!(full(&timeline, &rendition("1080p")), None);
    assert_eq!(render::iframes(&timeline, &rendition("1080p"), Extent::Full), None);
}
