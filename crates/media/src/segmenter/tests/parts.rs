//! Lengths of parts, and where they begin.

use super::*;

/// Frames of a source at a frame rate, with RTMP's whole milliseconds, an IDR every `gop` frames.
fn rtmp_frames(rate: (i64, i64), gop: i64, seconds: i64) -> Vec<Sample> {
    let stamp = |n: i64| START + (n * 1_000 * rate.1 + rate.0 / 2) / rate.0 * 90;
    let count = seconds * rate.0 / rate.1;
    let frame = 90_000 * rate.1 / rate.0;
    (0..count).map(|n| sample(Timescale::VIDEO, stamp(n), stamp(n), frame, n % gop == 0)).collect()
}

/// Parts that are not the last of their segment: shortest and longest of each rendition.
fn regular_parts(rows: &[Row]) -> Vec<(Duration, Duration)> {
    let ids: Vec<_> = rows[0].tracks.iter().map(|track| track.rendition.clone()).collect();
    let range = |id| {
        let all: Vec<_> = part_durations(rows, id).collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    };
    ids.iter().map(range).collect()
}

fn cut_for(targets: Targets, renditions: Vec<(RenditionConfig, Vec<Sample>)>) -> Vec<Row> {
    let configs = renditions.iter().map(|(config, _)| config.clone()).collect();
    let mut segmenter = Segmenter::new(targets, MediaSequence(0), configs).unwrap();
    let tracks: Vec<_> = renditions.into_iter().map(|(config, samples)| (config.rendition, samples)).collect();
    let rows = run(&mut segmenter, &tracks);
    check_rows(&rows, &tracks);
    rows
}

const RATES: [(i64, i64); 8] =
    [(24_000, 1_001), (24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60_000, 1_001), (60, 1)];

/// RFC 8216bis, 4.4.4.9: no part is longer than the declared target, and regular ones have 85 % of it. Audio gets no exception, because
/// all its parts are independent.
#[test]
fn regular_parts_have_85_to_100_percent_of_the_declared_target_at_all_usual_rates() {
    let usual =
        [(200, &RATES[..]), (400, &RATES[1..4]), (500, &RATES[..]), (1_000, &RATES[1..4]), (2_000, &RATES[1..3])];
    for (part_ms, rates) in usual {
        let targets = Targets { part: Duration::from_millis(part_ms), ..TARGETS };
        let (least, most) = (targets.declared_part() * 85 / 100, targets.declared_part());
        for rate in rates.iter().copied() {
            for sound_rate in [44_100, 48_000] {
                let millihertz = u32::try_from(rate.0 * 1_000 / rate.1).unwrap();
                let rows = cut_for(
                    targets,
                    vec![
                        (video("720p", millihertz), rtmp_frames(rate, 2 * (rate.0 + 1) / rate.1, 12)),
                        (audio(sound_rate), sound(sound_rate, START, 12)),
                    ],
                );
                assert!(segments(&rows).iter().all(|(millis, _)| *millis < 4_500), "{:?}", segments(&rows));
                for (shortest, longest) in regular_parts(&rows) {
                    let said = format!("{part_ms} ms, {rate:?}, {sound_rate}: {shortest:?} {longest:?}");
                    assert!(shortest >= least && longest <= most, "{said}: {least:?} {most:?}");
                }
            }
        }
    }
}

#[test]
fn declared_part_target_is_7_percent_over_the_one_aimed_at() {
    for (aimed_at, declared) in [(200, 214), (500, 535), (333, 357), (2_000, 2_140)] {
        assert_eq!(declared_part(Duration::from_millis(aimed_at)), Duration::from_millis(declared));
    }
}

#[test]
fn idr_in_the_middle_of_a_segment_begins_a_part_at_25_frames_a_second() {
    let rows =
        cut(vec![(video("720p", 25_000), frames(3_600, 50, 12, false)), (audio(48_000), sound(48_000, START, 12))]);
    let parts: Vec<_> = rows.iter().map(|row| (row.part.0, row.objects[0].independent)).collect();
    assert_eq!(parts.iter().filter(|(_, independent)| *independent).count(), 6, "{parts:?}");
    let millis: Vec<_> =
        rows[..4].iter().map(|row| row.end.minus(row.start).rescale(Timescale::MILLIS).ticks).collect();
    assert_eq!(millis, [480, 520, 480, 520]);
}

/// By its boxes: a part's decode time, first presentation time, and end of presentation.
fn shown(part: &MediaObject) -> (i64, i64, i64) {
    let moof = Moof::decode(&mut part.bytes.as_ref()).unwrap();
    let start = i64::try_from(moof.traf[0].tfdt.as_ref().unwrap().base_media_decode_time).unwrap();
    let (mut decode_time, mut first, mut end) = (start, i64::MAX, i64::MIN);
    for entry in moof.traf[0].trun[0].samples.iter() {
        let (at, duration) = (decode_time + entry.cts.unwrap(), i64::from(entry.duration.unwrap()));
        (first, end, decode_time) = (first.min(at), end.max(at + duration), decode_time + duration);
    }
    assert_eq!(decode_time, start + part.duration.ticks);
    (start, first, end)
}

/// ISO/IEC 23000-19: a track with any reordering delay joins where a sync sample begins a part.
#[test]
fn sync_sample_at_the_start_of_a_part_is_decoded_when_it_is_shown_and_follows_on_the_pictures_before() {
    // RTMP's whole milliseconds, of 29.97 frames a second; the last three of 64 frames are decoded in another order than shown.
    let rounded = |time: Timestamp| Timestamp::new((time.ticks + 45).div_euclid(90) * 90, Timescale::VIDEO);
    let delayed = |delay: i64| {
        let early = (delay - 1) * 3_003;
        let of = |s: Sample| {
            let dts = rounded(Timestamp::new(s.dts.ticks - early, Timescale::VIDEO)).ticks;
            sample(Timescale::VIDEO, dts, rounded(s.pts).ticks, 3_003, s.sync)
        };
        frames(3_003, 64, 20, delay > 0).into_iter().map(of).collect::<Vec<_>>()
    };
    let [two, three, none] = ["two", "three", "none"].map(|id| video(id, 29_970));
    let rows = cut(vec![(two, delayed(1)), (three, delayed(2)), (none, delayed(0))]);
    for id in ["two", "three", "none"].map(name) {
        let parts: Vec<_> = rows.iter().map(|row| row.objects.iter().find(|o| o.rendition == id).unwrap()).collect();
        let mut joins = 0;
        for (before, part) in parts.iter().zip(parts.iter().skip(1)).filter(|(_, part)| part.independent) {
            let (decoded, first, _) = shown(part);
            assert_eq!((decoded, first), (part.decode_time.ticks, decoded), "{id} {}", part.slot);
            assert_eq!(shown(before).2, first, "{id} {}: no gap, no overlap", part.slot);
            joins += 1;
        }
        assert!(joins >= 8, "{id}: {joins}");
    }
}
