//! Properties of the fold over random logs (RFC 8216bis 6.2.1, 6.2.2 and 6.2.4).

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use media::{LogSequence, MediaSequence, PartIndex, Slot};
use playlist::{Contradiction, Settings, Timeline, render};
use proptest::prelude::*;
use seal::limits::HISTORY_MAX;
use seal::{Object, SealBody};
use support::client::Playlist;
use support::script::Script;
use support::writer::PART;
use support::{Writer, delta, fold, full, ladder, rendition};

/// Scripts for an ingest.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn viewers_see_only_what_the_specification_allows(bytes in bytes()) {
        support::targets::log(&bytes);
    }

    #[test]
    fn void_goes_back_to_what_was(bytes in bytes(), kept in 1_usize..200) {
        let script = Script::read(&bytes);
        prop_assume!(!script.log.is_empty());
        let all = &script.log;
        let kept = kept.min(all.len());
        let mut turned = fold(all);
        let straight = fold(&all[..kept]);
        let oldest = turned.oldest_needed().unwrap();
        turned.void_after(all[kept - 1].sequence);
        turned.check_invariants();
        if turned.head().is_none() {
            // The void part begins before everything kept.
            prop_assert!(all[kept - 1].sequence < oldest || all.len() - kept >= seal::limits::HISTORY_MAX);
            prop_assert_eq!(turned, Timeline::new(Settings::default()));
            return Ok(());
        }
        // Segments that left at the front in the meantime do not come back; the rest is as before.
        let keys = |timeline: &Timeline| timeline.segments().map(|segment| (segment.key(), segment.parts())).collect::<Vec<_>>();
        prop_assert!(keys(&straight).ends_with(&keys(&turned)));
        prop_assert_eq!(turned.head(), straight.head());
        prop_assert_eq!(turned.open(), straight.open());
        prop_assert_eq!(turned.edge().map(|edge| edge.place()), straight.edge().filter(|_| turned.edge().is_some()).map(|edge| edge.place()));
    }

    #[test]
    fn what_is_dropped_at_the_front_changes_nothing_behind_it(bytes in bytes(), cut in 1_usize..200, dropped in 1_usize..200) {
        let script = Script::read(&bytes);
        prop_assume!(!script.log.is_empty());
        let all = &script.log;
        let cut = cut.min(all.len());
        let dropped = all[dropped.min(cut) - 1].sequence;
        let mut turned = fold(&all[..cut]);
        turned.drop_through(dropped);
        turned.check_invariants();
        prop_assert!(turned.segments().all(|segment| segment.rows().iter().all(|row| row.sequence > dropped)));
        for body in &all[cut..] {
            let opens = body.objects.iter().any(|object| object.slot == Slot::Init);
            let base = LogSequence(body.sequence.0.saturating_sub(1));
            if opens && turned.head().is_some_and(|head| head > base) {
                turned.void_after(base);
            }
            // An open segment that was dropped cannot be continued: the next one can be.
            _ = turned.apply(body);
            turned.check_invariants();
        }
        let straight = fold(all);
        let keys = |timeline: &Timeline| timeline.listed().map(|segment| (segment.key(), segment.parts())).collect::<Vec<_>>();
        if cut == all.len() || turned.head() == straight.head() {
            prop_assert!(keys(&straight).ends_with(&keys(&turned)), "{:?} {:?}", keys(&straight), keys(&turned));
        }
    }

    #[test]
    fn other_readers_take_it_too(bytes in bytes()) {
        let timeline = fold(&Script::read(&bytes).log);
        for name in timeline.renditions() {
            for text in [full(&timeline, name), delta(&timeline, name)].into_iter().flatten() {
                let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
                prop_assert_eq!(parsed.end_list, timeline.is_ended());
            }
            if let Some(text) = render::iframes(&timeline, name, playlist::reload::Extent::Full) {
                let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
                prop_assert!(parsed.i_frames_only);
                prop_assert_eq!(parsed.segments.len(), timeline.listed().len());
            }
        }
        if let Some(text) = render::multivariant(&timeline) {
            let parsed = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
            prop_assert!(!parsed.variants.is_empty());
        }
    }
}

#[test]
fn new_session_on_an_older_seal_replaces_what_came_after() {
    let mut writer = Writer::new(ladder(&[360], true));
    writer.segments(3);
    let mut other = writer.clone();
    let mut timeline = fold(&writer.segment().row(45_000, false, None).log);
    let from = LogSequence(24);
    let gone = timeline.void_after(LogSequence(23));
    assert_eq!(gone.iter().map(|key| key.msn.0).collect::<Vec<_>>(), [3, 4]);
    other.reconnect(ladder(&[360], true)).segment();
    for body in other.log.iter().filter(|body| body.sequence >= from) {
        timeline.apply(body).unwrap();
        timeline.check_invariants();
    }
    let text = full(&timeline, &rendition("360p")).unwrap();
    assert!(text.contains("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"1/init.mp4\"") && text.contains("1/3.m4s"), "{text}");
    assert_eq!(timeline, fold(&other.log));
}

#[test]
fn new_epoch_builds_on_a_seal_as_far_back_as_a_chain_remembers() {
    let mut writer = Writer::new(ladder(&[360], true));
    writer.segments(40);
    let back = |seals: usize| {
        let kept = writer.log.len() - seals;
        let mut timeline = fold(&writer.log);
        timeline.void_after(writer.log[kept - 1].sequence);
        timeline.check_invariants();
        timeline
    };
    // Of 320 seals the window has the last 96; nothing needs the older ones.
    assert_eq!(back(90).head(), Some(LogSequence(229)));
    assert_eq!(back(97), Timeline::new(Settings::default()));
    // A window of segments of one part each is longer than the memory.
    let mut writer = Writer::new(ladder(&[360], true));
    writer.segments(2);
    (0..300).for_each(|_| _ = writer.row(45_000, true, None));
    let settings = Settings { window_segments: 250, ..Settings::default() };
    for (seals, remembered) in [(HISTORY_MAX, true), (HISTORY_MAX + 1, false)] {
        let mut timeline = support::fold_with(&writer.log, settings);
        let last = writer.log[writer.log.len() - 1 - seals].sequence;
        timeline.void_after(last);
        timeline.check_invariants();
        assert_eq!(timeline.head().is_some(), remembered, "{seals} seals back");
    }
}

#[test]
fn contradictions_change_nothing() {
    let good = Writer::new(ladder(&[360], true)).segments(2).row(45_000, false, None).log.clone();
    type Tampering = Box<dyn Fn(&mut SealBody)>;
    let mut tampered: Vec<(&str, Tampering)> = Vec::new();
    tampered.push(("sequence", Box::new(|body| body.sequence = LogSequence(99))));
    tampered.push(("rendition missing", Box::new(|body| _ = body.objects.pop())));
    tampered.push(("rendition unknown", Box::new(|body| body.objects[0].rendition = rendition("999p"))));
    tampered.push((
        "msn jumps",
        Box::new(|body| {
            for object in &mut body.objects {
                object.slot = media::Slot::Part { msn: media::MediaSequence(1_000_000_000), part: media::PartIndex(0) };
            }
        }),
    ));
    tampered.push(("too long", Box::new(|body| body.objects[0].duration.ticks = 90_000 * 5)));
    tampered.push(("not independent", Box::new(|body| body.objects[0].independent = false)));
    tampered.push(("one ahead of the other", Box::new(|body| body.objects[0].start.ticks += 1)));
    tampered.push(("epoch without checkpoint", Box::new(|body| body.epoch = media::Epoch(7))));
    let (last, before) = good.split_last().unwrap();
    for (name, tamper) in tampered {
        let mut timeline = fold(before);
        let mut body = last.clone();
        tamper(&mut body);
        let state = timeline.clone();
        timeline.apply(&body).expect_err(name);
        assert_eq!(timeline, state, "{name}");
        timeline.apply(last).unwrap();
    }
}

#[test]
fn segment_that_is_not_its_parts_is_refused() {
    let good = Writer::new(ladder(&[360], true)).segment().log.clone();
    let (last, before) = good.split_last().unwrap();
    let mut body = last.clone();
    body.objects.iter_mut().filter(|o| matches!(o.slot, media::Slot::Segment { .. })).for_each(|o| o.length += 1);
    assert!(matches!(fold(before).apply(&body), Err(Contradiction::Sum { .. })));
}

#[test]
fn default_part_target_is_what_half_a_second_is_declared_as() {
    let declared = media::segmenter::declared_part(std::time::Duration::from_millis(500));
    assert_eq!(u128::from(Settings::default().part_target_ms), declared.as_millis());
}

#[test]
fn part_over_the_part_target_is_refused() {
    let settings = Settings { part_target_ms: 500, ..Settings::default() };
    let last = |ticks: i64| {
        let log = Writer::new(ladder(&[360], false)).segment().row(ticks, false, None).log.clone();
        let mut timeline = support::fold_with(&log[..log.len() - 1], settings);
        timeline.apply(log.last().unwrap())
    };
    assert!(last(45_000).is_ok());
    assert!(matches!(last(45_001), Err(Contradiction::PartDuration { part_target_ms: 500, .. })));
}

#[test]
fn epoch_keeps_its_renditions() {
    // The last seal completes the segment, and states other renditions, namely those of its own row.
    let one = Writer::new(ladder(&[360], true)).segment().log.clone();
    let other = Writer::new(ladder(&[360, 720], true)).segment().log.clone();
    let mut timeline = fold(&one[..7]);
    assert!(matches!(timeline.apply(&other[7]), Err(Contradiction::Row { .. })));
    timeline.apply(&one[7]).unwrap();
}

/// RFC 8216bis 6.2.4: all renditions have one mapping of dates to media timestamps, by which players align playlists.
#[test]
fn dates_of_sound_are_those_of_its_own_first_frame() {
    let log = Writer::new(ladder(&[720], true)).segments(15).row(PART, false, None).log.clone();
    for name in ["720p", "audio"] {
        let playlist = Playlist::parse(&full(&fold(&log), &rendition(name)).unwrap());
        for segment in playlist.segments.iter().chain(&playlist.open) {
            let msn = MediaSequence(segment.msn);
            let is_first = |object: &&Object| {
                object.rendition.as_str() == name && object.slot == Slot::Part { msn, part: PartIndex(0) }
            };
            let (body, first) = log.iter().find_map(|body| Some((body, body.objects.iter().find(is_first)?))).unwrap();
            let date = body.origin.plus(first.decode_time.as_duration());
            assert_eq!(segment.date, date.to_string(), "{name} {msn}");
        }
    }
}
