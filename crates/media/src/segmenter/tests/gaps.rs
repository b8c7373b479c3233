//! Renditions without samples for a while.

use super::*;

#[test]
fn rendition_that_loses_pictures_is_a_gap_until_a_segment_begins_and_the_others_go_on() {
    let lossy = frames(3_000, 60, 20, false);
    let lossy: Vec<_> = lossy.into_iter().zip(0..).filter(|(_, n)| !(70..100).contains(n)).map(|(s, _)| s).collect();
    let configs = vec![video("720p", 30_000), video("360p", 30_000)];
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), configs).unwrap();
    let tracks = [(name("720p"), lossy), (name("360p"), frames(3_000, 60, 20, false))];
    // The rendition without loss is the reference, because both rates are equal and its name comes first.
    let rows = run(&mut segmenter, &tracks);
    let gaps: Vec<_> = rows.iter().map(|row| row.objects.iter().filter(|o| o.gap).count()).collect();
    assert_eq!(rows.len(), 40);
    assert_eq!(gaps[..8], [0, 0, 0, 0, 1, 1, 1, 2], "the segment too");
    assert!(gaps[8..].iter().all(|gaps| *gaps == 0) && rows[8].objects[1].independent);
    assert!(rows.iter().flat_map(|row| &row.objects).all(|o| o.rendition == name("720p") || !o.gap));
}

#[test]
fn audio_that_starts_late_has_gaps_first() {
    let rows = cut(vec![
        (video("720p", 30_000), frames(3_000, 60, 12, false)),
        (audio(48_000), sound(48_000, START + 5 * 90_000, 8)),
    ]);
    let gaps: Vec<_> =
        rows.iter().map(|row| row.objects.iter().find(|o| o.rendition == name("audio")).unwrap().gap).collect();
    assert_eq!(gaps.iter().filter(|gap| **gap).count(), 10);
    assert!(gaps[..10].iter().all(|gap| *gap));
    let segment = rows[15].objects.iter().rfind(|o| o.slot == Slot::Segment { msn: MediaSequence(8) }).unwrap();
    assert!(rows[15].completes_segment && segment.gap, "a segment with a gap in it is a gap");
}

#[test]
fn shed_rendition_has_gaps_and_holds_nobody_up() {
    let configs = vec![video("720p", 30_000), video("360p", 30_000)];
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), configs).unwrap();
    let mut rows = Vec::new();
    for (index, sample) in frames(3_000, 60, 12, false).into_iter().enumerate() {
        if index < 70 {
            segmenter.push(&name("360p"), sample.clone()).unwrap();
        }
        segmenter.push(&name("720p"), sample).unwrap();
        if let Some(lag) = segmenter.lagging() {
            assert_eq!(lag.rendition, name("360p"));
            assert!(lag.behind > LAG_MAX && lag.behind < LAG_MAX + Duration::from_millis(40));
            segmenter.shed(&lag.rendition);
        }
        while let Some(row) = segmenter.next_row().unwrap() {
            rows.push(row);
        }
        segmenter.check_invariants();
    }
    rows.extend(segmenter.finish().unwrap());
    assert_eq!(rows.len(), 24);
    let low: Vec<_> =
        rows.iter().map(|row| row.objects.iter().find(|o| o.rendition == name("360p")).unwrap()).collect();
    assert!(low[..4].iter().all(|object| !object.gap) && low[4..].iter().all(|object| object.gap));
    assert!(low[4..].iter().all(|object| object.length == 0 && object.duration.ticks == 45_000));
    assert!(rows.iter().all(|row| row.objects.iter().all(|o| o.rendition != name("720p") || !o.gap)));
}

#[test]
fn restored_rendition_ends_its_gaps_where_a_segment_begins() {
    let configs = vec![video("720p", 30_000), video("360p", 15_000)];
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), configs).unwrap();
    let mut rows = Vec::new();
    for (index, sample) in frames(3_000, 60, 20, false).into_iter().enumerate() {
        match index {
            70 => segmenter.shed(&name("360p")),
            // With an IDR in the middle of the segment from 8 to 12 s.
            300 => segmenter.restore(&name("360p")),
            _ => {}
        }
        if index % 2 == 0 && !(70..300).contains(&index) {
            let duration = Timestamp::new(6_000, Timescale::VIDEO);
            segmenter.push(&name("360p"), Sample { duration, ..sample.clone() }).unwrap();
        }
        segmenter.push(&name("720p"), sample).unwrap();
        while let Some(row) = segmenter.next_row().unwrap() {
            rows.push(row);
        }
        segmenter.check_invariants();
    }
    rows.extend(segmenter.finish().unwrap());
    for row in &rows {
        let part = |id: &str| row.objects.iter().find(|object| object.rendition == name(id)).unwrap();
        let begins = row.start.rescale(Timescale::VIDEO).ticks - START;
        // From the row that was open until the next segment after the IDR.
        let is_away = (150_000..12 * 90_000).contains(&begins);
        assert_eq!((part("720p").gap, part("360p").gap), (false, is_away), "{begins}");
        assert!(row.part.0 > 0 || is_away || part("360p").independent, "a segment begins with a sync sample");
    }
    let wholes = rows.iter().flat_map(|row| &row.objects).filter(|o| matches!(o.slot, Slot::Segment { .. }));
    let of_it: Vec<_> =
        wholes.filter(|o| o.rendition == name("360p")).map(|o| (o.gap, o.duration.as_duration())).collect();
    let seconds = Duration::from_secs(4);
    assert_eq!(of_it, [(true, seconds), (true, seconds), (true, seconds), (false, seconds), (false, seconds)]);
}
