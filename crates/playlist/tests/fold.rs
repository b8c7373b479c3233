//! Properties of the fold over random logs (RFC 8216bis 6.2.1, 6.2.2 and 6.2.4).

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::collections::BTreeMap;

use media::LogSequence;
use playlist::{Contradiction, Settings, Timeline, render};
use proptest::prelude::*;
use seal::SealBody;
use support::{Writer, fold, full, ladder, rendition};

#[derive(Debug, Clone)]
enum Step {
    Row { completes: bool, gap: Option<usize> },
    Segments(usize),
    Reconnect(bool),
    End(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop::bool::weighted(0.4), prop::option::weighted(0.1, 0_usize..2));
    let step = prop_oneof![
        6 => row.prop_map(|(completes, gap)| Step::Row { completes, gap }),
        4 => (1_usize..5).prop_map(Step::Segments),
        2 => any::<bool>().prop_map(Step::Reconnect),
        1 => any::<bool>().prop_map(Step::End),
    ];
    prop::collection::vec(step, 1..60)
}

fn log(steps: &[Step]) -> Vec<SealBody> {
    let both = |wide: bool| ladder(if wide { &[360, 720] } else { &[360] }, true);
    let mut writer = Writer::new(both(true));
    let mut parts = 0;
    writer.segment();
    for step in steps {
        match step {
            Step::Row { completes, gap } => {
                let completes = *completes || parts == 7;
                writer.row(45_000, completes, *gap);
                parts = if completes { 0 } else { parts + 1 };
                continue;
            }
            Step::Segments(count) if parts == 0 => _ = writer.segments(*count),
            Step::Segments(_) => _ = writer.row(45_000, true, None),
            // An epoch always starts with a row.
            Step::Reconnect(wide) => _ = writer.reconnect(both(*wide)).row(45_000, true, None),
            Step::End(wide) => _ = writer.end().reconnect(both(*wide)).row(45_000, true, None),
        }
        parts = 0;
    }
    writer.log
}

/// A playlist as a client sees it: for each media sequence number its discontinuity sequence, and its lines.
fn client_view(text: &str) -> BTreeMap<u64, (u64, Vec<String>)> {
    let value = |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)).unwrap().parse::<u64>().unwrap();
    let (mut msn, mut discontinuity) = (value("#EXT-X-MEDIA-SEQUENCE:"), value("#EXT-X-DISCONTINUITY-SEQUENCE:"));
    let mut view = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("#EXT-X-DISCONTINUITY-SEQUENCE")).skip(1) {
        match line {
            "#EXT-X-DISCONTINUITY" => discontinuity += 1,
            "#EXT-X-ENDLIST" => continue,
            _ if ["#EXT-X-MAP", "#EXT-X-PART"].iter().any(|tag| line.starts_with(tag)) => continue,
            _ => {}
        }
        lines.push(line.to_owned());
        if !line.starts_with('#') {
            view.insert(msn, (discontinuity, std::mem::take(&mut lines)));
            msn += 1;
        }
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn playlists_only_append_and_remove_from_the_front(steps in steps()) {
        let mut timeline = Timeline::new(Settings::default());
        let mut before: BTreeMap<u64, (u64, Vec<String>)> = BTreeMap::new();
        for body in log(&steps) {
            let effects = timeline.apply(&body).unwrap();
            timeline.check_invariants();
            let Some(text) = full(&timeline, &rendition("360p")) else { continue };
            let now = client_view(&text);
            let (first, last) = (*now.first_key_value().unwrap().0, *now.last_key_value().unwrap().0);
            if let (Some((old_first, _)), Some((old_last, _))) = (before.first_key_value(), before.last_key_value()) {
                prop_assert!(first >= *old_first && last >= *old_last && first <= old_last + 1, "MSN never back, no hole");
                let removed = u64::try_from(effects.removed.len()).unwrap();
                prop_assert_eq!(first, old_first + removed, "MSN rises by one for each removal");
            }
            for (msn, lines) in &before {
                if let Some(again) = now.get(msn) {
                    prop_assert_eq!(again, lines, "a listed segment never changes");
                }
            }
            prop_assert!(now.values().map(|(discontinuity, _)| discontinuity).is_sorted());
            before = now;
        }
    }

    #[test]
    fn renditions_are_in_lockstep(steps in steps()) {
        let timeline = fold(&log(&steps));
        let views: Vec<_> = timeline.renditions().into_iter()
            .filter_map(|name| full(&timeline, name))
            .map(|text| client_view(&text))
            .collect();
        let shape = |view: &BTreeMap<u64, (u64, Vec<String>)>| -> Vec<(u64, u64, String)> {
            let time = |lines: &[String]| lines.iter().find(|line| line.contains("DATE-TIME")).unwrap().clone();
            view.iter().map(|(msn, (discontinuity, lines))| (*msn, *discontinuity, time(lines))).collect()
        };
        for view in &views {
            prop_assert_eq!(shape(view), shape(&views[0]));
        }
    }

    #[test]
    fn late_joiner_comes_to_the_same_state(steps in steps(), later in 0_usize..40) {
        let all = log(&steps);
        let join = all.len().saturating_sub(later).max(1);
        let early = fold(&all[..join]);
        let from = early.oldest_needed().unwrap();
        let tail: Vec<SealBody> = all.iter().filter(|body| body.sequence >= from).cloned().collect();
        let late = fold(&tail);
        prop_assert_eq!(&late, &fold(&all));
        for name in late.renditions() {
            prop_assert_eq!(full(&late, name), full(&fold(&all), name));
        }
    }

    #[test]
    fn void_goes_back_to_what_was(steps in steps(), kept in 1_usize..200) {
        let all = log(&steps);
        let kept = kept.min(all.len());
        let (straight, mut turned) = (fold(&all[..kept]), fold(&all));
        let oldest = turned.oldest_needed().unwrap();
        turned.void_after(all[kept - 1].sequence);
        turned.check_invariants();
        if all[kept - 1].sequence >= oldest {
            // What left at the front in the meantime does not come back; the rest is as it was.
            let listed: Vec<_> = turned.listed().collect();
            let before: Vec<_> = straight.listed().collect();
            prop_assert!(before.ends_with(&listed));
            prop_assert_eq!(turned.head(), straight.head());
            prop_assert_eq!(turned.open(), straight.open());
        } else {
            prop_assert_eq!(turned, Timeline::new(Settings::default()));
        }
    }

    #[test]
    fn rendered_text_parses(steps in steps()) {
        let timeline = fold(&log(&steps));
        for name in timeline.renditions() {
            if let Some(text) = full(&timeline, name) {
                let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
                prop_assert_eq!(parsed.segments.len(), timeline.listed().count());
                prop_assert!(parsed.segments.iter().all(|segment| segment.duration.round() <= 4.0));
                prop_assert_eq!(parsed.end_list, timeline.is_ended());
            }
        }
        let text = render::multivariant(&timeline).unwrap();
        let parsed = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
        prop_assert!(!parsed.variants.is_empty());
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
