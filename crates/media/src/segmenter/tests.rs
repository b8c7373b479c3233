//! Rules of cutting on regular streams, and properties on irregular ones.

use mp4_atom::{Decode as _, Moof};
use proptest::prelude::*;

use super::*;
use crate::{Timescale, aac::AudioSpecificConfig, avc::DecoderConfig};

mod gaps;
mod parts;

const BASELINE: &str = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
const TARGETS: Targets = Targets { segment: Duration::from_secs(4), part: Duration::from_millis(500) };
const START: i64 = 900_000;

fn name(text: &str) -> RenditionId {
    RenditionId::new(text).unwrap()
}

fn video(text: &str, frame_rate_millihertz: u32) -> RenditionConfig {
    let avc = DecoderConfig::parse(&hex::decode(BASELINE).unwrap()).unwrap();
    let track = TrackConfig::Video { avc, timescale: Timescale::VIDEO, frame_rate_millihertz };
    config(text, track)
}

fn audio(rate: u32) -> RenditionConfig {
    config("audio", TrackConfig::Audio { aac: AudioSpecificConfig::low_complexity(rate, 2).unwrap() })
}

fn config(text: &str, track: TrackConfig) -> RenditionConfig {
    RenditionConfig {
        rendition: name(text),
        track,
        bandwidth_peak: BitsPerSecond(2),
        bandwidth_mean: BitsPerSecond(1),
        has_more_sync: false,
    }
}

fn sample(timescale: Timescale, dts: i64, pts: i64, duration: i64, sync: bool) -> Sample {
    let at = |ticks| Timestamp::new(ticks, timescale);
    // The bytes identify the sample.
    let data = Bytes::copy_from_slice(&dts.to_be_bytes());
    Sample { pts: at(pts), dts: at(dts), duration: at(duration), sync, data }
}

/// Video of `seconds` at a constant frame duration, an IDR every `gop` frames, with or without two B-frames between others.
fn frames(frame: i64, gop: i64, seconds: i64, b_frames: bool) -> Vec<Sample> {
    (0..seconds * 90_000 / frame)
        .map(|n| {
            let (in_gop, dts) = (n % gop, START + n * frame);
            // Decode order I P B B P B B: presented at 0 3 1 2 6 4 5, one frame late. The tail of a GOP is in order.
            let last_group = (gop - 1) / 3 * 3;
            let shift = match (b_frames && in_gop <= last_group && in_gop > 0, in_gop % 3) {
                (true, 1) => 2,
                (true, _) => -1,
                _ => 0,
            };
            sample(Timescale::VIDEO, dts - if b_frames { frame } else { 0 }, dts + shift * frame, frame, in_gop == 0)
        })
        .collect()
}

fn sound(rate: u32, start: i64, seconds: i64) -> Vec<Sample> {
    let timescale = Timescale::new(rate).unwrap();
    let first = Timestamp::new(start, Timescale::VIDEO).rescale(timescale).ticks;
    (0..seconds * i64::from(rate) / 1024)
        .map(|n| sample(timescale, first + n * 1024, first + n * 1024, 1024, true))
        .collect()
}

/// Feeds all renditions in order of decode time, collecting rows and checking invariants at each step.
fn run(segmenter: &mut Segmenter, tracks: &[(RenditionId, Vec<Sample>)]) -> Vec<Row> {
    let mut all: Vec<_> = tracks.iter().flat_map(|(id, samples)| samples.iter().map(move |s| (s.dts, id, s))).collect();
    all.sort_by_key(|(dts, ..)| *dts);
    let mut rows = Vec::new();
    for (_, id, sample) in all {
        segmenter.push(id, sample.clone()).unwrap();
        while let Some(row) = segmenter.next_row().unwrap() {
            segmenter.check_invariants();
            rows.push(row);
        }
        segmenter.check_invariants();
    }
    rows.extend(segmenter.finish().unwrap());
    segmenter.check_invariants();
    rows
}

fn cut(renditions: Vec<(RenditionConfig, Vec<Sample>)>) -> Vec<Row> {
    let configs = renditions.iter().map(|(config, _)| config.clone()).collect();
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(7), configs).unwrap();
    let tracks: Vec<_> = renditions.into_iter().map(|(config, samples)| (config.rendition, samples)).collect();
    let rows = run(&mut segmenter, &tracks);
    check_rows(&rows, &tracks);
    rows
}

/// Checks that rows are contiguous, objects sorted and aligned, decode times contiguous, segments the sum of their parts, and that the
/// parts hold exactly the samples pushed.
fn check_rows(rows: &[Row], tracks: &[(RenditionId, Vec<Sample>)]) {
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        assert_eq!(row.end, next.start);
        let expected = if row.completes_segment { (row.msn.next(), PartIndex(0)) } else { (row.msn, row.part.next()) };
        assert_eq!((next.msn, next.part), expected);
    }
    for (index, row) in rows.iter().enumerate() {
        assert!(row.start < row.end);
        assert_eq!(row.tracks.is_empty(), !(row.completes_segment || index == 0));
        assert!(row.objects.is_sorted_by_key(|object| (&object.rendition, object.slot)));
        assert_eq!(row.objects.len(), tracks.len() * if row.completes_segment { 2 } else { 1 });
    }
    for (id, samples) in tracks {
        check_rendition(rows, id, samples);
    }
}

fn check_rendition(rows: &[Row], id: &RenditionId, samples: &[Sample]) {
    let (mut data, mut next, mut length) = (Vec::new(), None, 0);
    for object in rows.iter().flat_map(|row| &row.objects).filter(|object| object.rendition == *id) {
        if matches!(object.slot, Slot::Segment { .. }) {
            assert!(object.gap || object.length == length, "a segment is its parts");
            assert!(object.bytes.is_empty());
            length = 0;
            continue;
        }
        assert!(object.duration.ticks > 0);
        assert_eq!(object.length, u64::try_from(object.bytes.len()).unwrap());
        assert_eq!(object.gap, object.bytes.is_empty());
        assert_eq!(object.sync_length, first_sync_sample_end(object), "{id} {}", object.slot);
        let first = object.sync_length.map(|_| Bytes::copy_from_slice(&mdat(&object.bytes)[..8]));
        assert_eq!(object.sync_sample(), first, "samples of 8 bytes");
        if object.gap {
            next = None;
            continue;
        }
        assert!(next.is_none_or(|next| next == object.decode_time), "decode time follows on");
        next = Some(object.decode_time.plus(object.duration));
        length += object.length;
        data.extend_from_slice(mdat(&object.bytes));
    }
    // All samples from some first to some last one, each once and in order.
    let dts: Vec<_> = data.chunks(8).map(|chunk| i64::from_be_bytes(chunk.try_into().unwrap())).collect();
    if let Some(first) = dts.first() {
        let skipped = samples.iter().position(|sample| sample.dts.ticks == *first).unwrap();
        let expected: Vec<_> = samples[skipped..].iter().take(dts.len()).map(|sample| sample.dts.ticks).collect();
        assert_eq!(dts, expected, "{id}");
    }
}

/// End of the first sample by the boxes, when it is a video sync sample.
fn first_sync_sample_end(part: &MediaObject) -> Option<u64> {
    if part.gap || part.rendition == name("audio") {
        return None;
    }
    let moof = Moof::decode(&mut part.bytes.as_ref()).unwrap();
    let run = &moof.traf[0].trun[0];
    let first = run.samples.get(0).unwrap();
    let sync = first.flags.unwrap() & 0x0001_0000 == 0;
    assert_eq!(sync, part.independent);
    // Offsets in a `trun` count from the first byte of its `moof` (ISO/IEC 14496-12, 8.8.8).
    sync.then(|| u64::try_from(run.data_offset.unwrap()).unwrap() + u64::from(first.size.unwrap()))
}

fn mdat(fragment: &[u8]) -> &[u8] {
    let moof = u32::from_be_bytes(fragment[..4].try_into().unwrap());
    &fragment[usize::try_from(moof).unwrap() + 8..]
}

/// Milliseconds and parts of each segment of the first rendition.
fn segments(rows: &[Row]) -> Vec<(i64, u32)> {
    let millis = |row: &Row| {
        let segment = row.objects.iter().find(|object| matches!(object.slot, Slot::Segment { .. })).unwrap();
        segment.duration.rescale(Timescale::MILLIS).ticks
    };
    rows.iter().filter(|row| row.completes_segment).map(|row| (millis(row), row.part.0 + 1)).collect()
}

fn part_durations<'a>(rows: &'a [Row], id: &'a RenditionId) -> impl Iterator<Item = Duration> + 'a {
    let objects = rows.iter().filter(|row| !row.completes_segment).flat_map(|row| &row.objects);
    objects.filter(move |object| object.rendition == *id).map(|object| object.duration.as_duration())
}

#[test]
fn segments_end_where_all_have_a_sync_sample_and_parts_may_begin_with_more() {
    // The rendition with more comes first by name, and its extra sync samples are where segments might end.
    let more = RenditionConfig { has_more_sync: true, ..video("360p", 30_000) };
    let rows = cut(vec![
        (more, frames(3_000, 30, 30, false)),
        (video("720p", 30_000), frames(3_000, 60, 30, true)),
        (audio(48_000), sound(48_000, START, 30)),
    ]);
    let parts = |id: &'static str| {
        let objects = rows.iter().flat_map(|row| &row.objects).filter(move |object| object.rendition.as_str() == id);
        objects.filter_map(|object| match object.slot {
            Slot::Part { part, .. } => Some((part, object.independent)),
            _ => None,
        })
    };
    assert!(parts("720p").filter(|(part, _)| *part == PartIndex(0)).all(|(_, independent)| independent));
    let count = |id| parts(id).filter(|(_, independent)| *independent).count();
    assert_eq!((count("720p"), count("360p")), (15, 30));
}

#[test]
fn two_second_gops_make_four_second_segments_of_eight_parts() {
    for (frame, gop) in [(3_000, 60), (3_003, 60), (1_500, 120)] {
        let rows =
            cut(vec![(video("720p", 0), frames(frame, gop, 12, false)), (audio(48_000), sound(48_000, START, 12))]);
        let millis = frame * gop * 2 / 90;
        assert!(segments(&rows).iter().take(2).all(|segment| *segment == (millis, 8)), "{:?}", segments(&rows));
        assert!(
            rows.iter().filter(|row| row.part.0 % 4 == 0).all(|row| row.objects[0].independent),
            "IDRs begin parts"
        );
        for id in [name("720p"), name("audio")] {
            assert!(part_durations(&rows, &id).all(|part| part <= TARGETS.declared_part()));
            assert!(part_durations(&rows, &id).all(|part| part >= TARGETS.declared_part() * 85 / 100));
        }
    }
}

#[test]
fn pause_of_the_source_longer_than_a_part_is_an_error_and_a_shorter_one_is_not() {
    let paused = |ticks: i64| {
        let mut samples = frames(3_000, 30, 12, false);
        for sample in &mut samples[100..] {
            (sample.pts.ticks, sample.dts.ticks) = (sample.pts.ticks + ticks, sample.dts.ticks + ticks);
        }
        let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 30_000)]).unwrap();
        let mut rows = Vec::new();
        for sample in samples {
            segmenter.push(&name("720p"), sample)?;
            while let Some(row) = segmenter.next_row()? {
                rows.push(row);
            }
        }
        Ok::<_, Error>(rows)
    };
    let rows = paused(44_000).unwrap();
    assert!(rows.iter().all(|row| {
        row.objects
            .iter()
            .all(|o| matches!(o.slot, Slot::Segment { .. }) || o.duration.as_duration() <= TARGETS.declared_part())
    }));
    assert!(matches!(paused(50_000), Err(Error::PartTooLong { .. })));
}

#[test]
fn segment_ends_at_the_last_sync_sample_that_keeps_it_within_the_target() {
    for (gop_frames, millis) in [(90, 3_000), (45, 3_000), (60, 4_000), (100, 3_333), (120, 4_000), (1, 4_000)] {
        let rows = cut(vec![(video("720p", 30_000), frames(3_000, gop_frames, 20, false))]);
        let all = segments(&rows);
        assert!(all.iter().take(all.len() - 1).all(|(length, _)| *length == millis), "{gop_frames}: {all:?}");
    }
}

#[test]
fn short_keyframe_interval_fills_the_target_once_it_has_proved_regular() {
    let rows = cut(vec![(video("720p", 30_000), frames(3_000, 15, 40, false))]);
    let lengths: Vec<_> = segments(&rows).into_iter().map(|(millis, _)| millis).collect();
    assert_eq!(lengths[..6], [2_500; 6], "32 intervals are 16 s");
    assert_eq!(lengths[6..10], [4_000; 4]);
}

#[test]
fn sync_samples_at_changes_of_scene_do_not_make_a_segment_late() {
    // At 0.8, 1.6, 2.4, 3.1 s, then after the encoder's maximum of 2 s.
    let sync = [0, 24, 48, 72, 93, 153, 213, 273];
    let samples = frames(3_000, 1_000, 10, false).into_iter().zip(0..);
    let samples = samples.map(|(sample, n)| Sample { sync: sync.contains(&n), ..sample }).collect();
    let rows = cut(vec![(video("720p", 30_000), samples)]);
    assert_eq!(segments(&rows)[..2], [(2_400, 5), (2_700, 6)]);
}

#[test]
fn keyframe_interval_beyond_the_target_is_an_error() {
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 30_000)]).unwrap();
    let error = frames(3_000, 250, 10, false).into_iter().find_map(|sample| {
        segmenter.push(&name("720p"), sample).unwrap();
        while let Some(row) = segmenter.next_row().transpose() {
            if let Err(error) = row {
                return Some(error);
            }
        }
        None
    });
    assert!(matches!(error, Some(Error::SyncSampleLate { .. })), "{error:?}");
}

#[test]
fn renditions_with_and_without_b_frames_are_cut_at_the_same_instants() {
    let rows = cut(vec![
        (video("1080p", 60_000), frames(1_500, 120, 12, true)),
        (video("720p", 30_000), frames(3_000, 60, 12, false)),
        (audio(44_100), sound(44_100, START - 4_000, 13)),
    ]);
    assert_eq!(segments(&rows)[..2], [(4_000, 8), (4_000, 8)]);
    for row in &rows[..rows.len() - 1] {
        let [high, low] = ["1080p", "720p"].map(|id| row.objects.iter().find(|o| o.rendition == name(id)).unwrap());
        assert_eq!((high.duration, high.independent), (low.duration, low.independent));
        assert_eq!(high.decode_time, low.decode_time, "the delay of reordering is no part of the decode time");
        let sound = row.objects.iter().find(|o| o.rendition == name("audio")).unwrap();
        let late = sound.decode_time.rescale(Timescale::VIDEO).minus(row.start).ticks;
        assert!((0..=2_090).contains(&late), "audio begins with the frame that starts in the row: {late}");
    }
}

#[test]
fn slowest_video_decides_so_that_parts_are_equal_on_all() {
    let rows = cut(vec![
        (video("1080p", 50_000), frames(1_800, 100, 12, false)),
        (video("720p", 25_000), frames(3_600, 50, 12, false)),
    ]);
    for row in rows.iter().filter(|row| !row.completes_segment) {
        // 12 and 13 frames of 25 a second; half a second would be 12.5.
        let millis = if row.part.0 % 2 == 0 { 480 } else { 520 };
        assert!(row.objects.iter().all(|part| part.duration == Timestamp::new(millis, Timescale::MILLIS)));
    }
}

#[test]
fn audio_alone_is_cut_at_its_own_frames() {
    let rows = cut(vec![(audio(48_000), sound(48_000, START, 20))]);
    assert_eq!(segments(&rows)[..4], [(3_989, 9); 4]);
}

#[test]
fn what_was_measured_is_stated_by_the_next_session_of_the_same_source() {
    let stated = |rows: &[Row]| rows.first().unwrap().tracks[0].bandwidth_peak;
    let begin = |before: Option<&RenditionConfig>, config: RenditionConfig| {
        let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![config]).unwrap();
        before.into_iter().for_each(|before| segmenter.resume_measurement(before));
        let rows = run(&mut segmenter, &[(name("720p"), frames(3_000, 60, 9, false))]);
        (stated(&rows), segmenter.measured().next().unwrap())
    };
    let (guess, measured) = begin(None, video("720p", 30_000));
    assert!(guess == BitsPerSecond(2) && measured.bandwidth_peak > guess, "{guess:?} {measured:?}");
    assert_eq!(begin(Some(&measured), video("720p", 30_000)).0, measured.bandwidth_peak);
    assert_eq!(begin(Some(&measured), video("720p", 25_000)).0, guess, "another source");
}

#[test]
fn buffer_is_bounded_when_a_rendition_never_comes() {
    let mut segmenter =
        Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 30_000), video("360p", 30_000)]).unwrap();
    let mut samples = frames(3_000, 60, 100, false).into_iter();
    let error = samples.find_map(|sample| segmenter.push(&name("720p"), sample).err());
    assert!(matches!(error, Some(Error::BufferFull { samples: BUFFERED_SAMPLES_MAX, .. })), "{error:?}");
    assert_eq!(segmenter.lagging().unwrap().rendition, name("360p"));
    segmenter.check_invariants();
}

#[test]
fn duplicate_and_slightly_backward_decode_times_are_moved_forward() {
    let mut samples = frames(3_000, 60, 12, false);
    samples[20].dts = samples[19].dts;
    samples[40].dts.ticks -= 3_030;
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 30_000)]).unwrap();
    let rows = run(&mut segmenter, &[(name("720p"), samples)]);
    assert_eq!(segments(&rows), [(4_000, 8); 3]);
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 30_000)]).unwrap();
    segmenter.push(&name("720p"), sample(Timescale::VIDEO, 90_000, 90_000, 3_000, true)).unwrap();
    let back = sample(Timescale::VIDEO, 0, 0, 3_000, false);
    assert!(matches!(segmenter.push(&name("720p"), back), Err(Error::Timing { .. })));
}

#[test]
fn what_cannot_be_segmented_is_refused() {
    let new = |targets, renditions| Segmenter::new(targets, MediaSequence(0), renditions).is_err();
    assert!(new(TARGETS, vec![]));
    assert!(new(TARGETS, vec![audio(48_000), audio(44_100)]));
    assert!(new(Targets { part: Duration::ZERO, ..TARGETS }, vec![audio(48_000)]));
    assert!(new(Targets { part: Duration::from_secs(5), ..TARGETS }, vec![audio(48_000)]));
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![audio(48_000)]).unwrap();
    let timescale = Timescale::new(48_000).unwrap();
    assert!(segmenter.push(&name("other"), sample(timescale, 0, 0, 1024, true)).is_err());
    segmenter.push(&name("audio"), sample(timescale, 0, 0, 1024, true)).unwrap();
    assert!(segmenter.push(&name("audio"), sample(timescale, 1_025, 1_025, 1024, true)).is_err());
}

#[test]
fn day_of_video_and_audio_does_not_drift() {
    const DAY_SECONDS: i64 = 86_400;
    let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 29_970), audio(44_100)]).unwrap();
    let (id, sound_id, rate) = (name("720p"), name("audio"), Timescale::new(44_100).unwrap());
    let (mut frame, mut audio_ticks, mut segments) = (0_i64, 0_i64, 0_i64);
    while frame * 3_003 < DAY_SECONDS * 90_000 {
        let at = frame * 3_003;
        segmenter.push(&id, sample(Timescale::VIDEO, at, at, 3_003, frame % 60 == 0)).unwrap();
        frame += 1;
        while Timestamp::new(audio_ticks, rate) < Timestamp::new(at + 3_003, Timescale::VIDEO) {
            segmenter.push(&sound_id, sample(rate, audio_ticks, audio_ticks, 1024, true)).unwrap();
            audio_ticks += 1024;
        }
        while let Some(row) = segmenter.next_row().unwrap() {
            segments += i64::from(row.completes_segment);
            let [video, audio] =
                ["720p", "audio"].map(|id| row.objects.iter().find(|o| o.rendition == name(id)).unwrap());
            assert_eq!(video.decode_time, row.start);
            let late = audio.decode_time.ticks * 90_000 - row.start.ticks * 44_100;
            assert!((0..1024 * 90_000).contains(&late), "audio within a frame, exactly, after {segments} segments");
        }
    }
    assert_eq!(segments, frame / 120);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Irregular frame durations and keyframes, jitter between renditions, any offset of the audio, any of the rates.
    #[test]
    fn any_sequence_is_cut_into_aligned_rows_that_hold_exactly_its_samples(
        steps in prop::collection::vec((1_000_i64..9_000, prop::bool::weighted(0.08)), 50..500),
        jitter in prop::collection::vec(-90_i64..=90, 500),
        audio_offset in -90_000_i64..200_000,
        rate in prop::sample::select(vec![44_100_u32, 48_000, 22_050]),
        delay in 0_i64..10_000,
    ) {
        let (mut high, mut low, mut at, mut since_sync) = (Vec::new(), Vec::new(), START, 0);
        for (index, (step, sync)) in steps.iter().enumerate() {
            let sync = *sync || index == 0 || since_sync > 17;
            since_sync = if sync { 0 } else { since_sync + 1 };
            high.push(sample(Timescale::VIDEO, at - delay, at, *step, sync));
            low.push(sample(Timescale::VIDEO, at + jitter[index], at + jitter[index], *step, sync));
            at += step;
        }
        let seconds = (at - START) / 90_000 + 4;
        let rows = cut(vec![
            (video("high", 0), high),
            (video("low", 0), low),
            (audio(rate), sound(rate, START + audio_offset, seconds)),
        ]);
        for row in &rows {
            let [high, low] = ["high", "low"].map(|id| row.objects.iter().find(|o| o.rendition == name(id)).unwrap());
            prop_assert!(row.part.0 != 0 || (high.independent && low.independent), "segments begin with sync samples");
            for part in row.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. })) {
                prop_assert!(part.duration.as_duration() <= TARGETS.declared_part(), "{part:?}");
            }
        }
        for (millis, _) in segments(&rows) {
            prop_assert!(millis < 4_500);
        }
    }

    /// Samples with any times, in any order, cause no panic, and the invariants hold.
    #[test]
    fn hostile_samples_do_not_panic(
        steps in prop::collection::vec((0_usize..3, -100_000_i64..400_000, -100_000_i64..100_000, -10_i64..100_000, any::<bool>()), 1..200),
        shed in prop::option::of(0_usize..200), restored in prop::option::of(0_usize..200),
    ) {
        let ids = [name("720p"), name("360p"), name("audio")];
        let mut segmenter = Segmenter::new(TARGETS, MediaSequence(0), vec![video("720p", 0), video("360p", 25_000), audio(48_000)]).unwrap();
        let mut at = [START; 3];
        for (index, (which, step, offset, duration, sync)) in steps.into_iter().enumerate() {
            at[which] = at[which].saturating_add(step);
            let _ = segmenter.push(&ids[which], sample(Timescale::VIDEO, at[which], at[which] + offset, duration, sync));
            if shed == Some(index) {
                segmenter.shed(&ids[which]);
            }
            if restored == Some(index) {
                ids.iter().for_each(|id| segmenter.restore(id));
            }
            segmenter.check_invariants();
            while let Ok(Some(_)) = segmenter.next_row() {
                segmenter.check_invariants();
            }
        }
        let _ = segmenter.finish();
    }
}
