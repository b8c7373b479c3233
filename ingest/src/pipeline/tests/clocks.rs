//! Stamps as encoders really send them, from RTMP's milliseconds to the rows that a seal would list.
//!
//! Frames contain no media: their bytes hold their times, so that output can be compared with input.

use media::segmenter::{MediaObject, Row, Targets};
use media::{MediaSequence, Segmenter, Slot, UnixMillis};
use rtmp::flv::{Body, VideoCodec};

use super::*;
use crate::intake::input::InputMapper;

const TARGETS: Targets = Targets { segment: Duration::from_secs(4), part: Duration::from_millis(500) };
/// An `avcC` of x264: baseline, 320x240. It says nothing of B-frames, which do not matter here.
const AVCC: &str = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
const AAC_HZ: i64 = 44_100;
const FRAME_SAMPLES: i64 = 1_024;
/// Bytes of a picture: length, NAL header, and its time.
const PICTURE_BYTES: usize = 13;
/// Bytes of a sound frame.
const SOUND_BYTES: usize = 8;

/// A source whose video and sound are stamped by one clock, in rounded milliseconds.
#[derive(Clone, Copy)]
struct Source {
    /// Frames in 1001 s.
    frames: i64,
    /// Pictures from one keyframe to the next.
    gop: i64,
    /// How much faster than its nominal rate the sound's crystal is, in parts per million.
    ppm: i64,
}

const NTSC: Source = Source { frames: 30_000, gop: 60, ppm: 0 };

/// A frame of a source, with its time in microseconds since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    is_video: bool,
    key: bool,
    at_us: i64,
}

impl Frame {
    fn ms(self) -> i64 {
        self.at_us / 1_000
    }
}

impl Source {
    /// All frames up to `seconds`, in the order of their times.
    fn frames(self, seconds: i64) -> impl Iterator<Item = Frame> {
        let picture =
            move |n: i64| Frame { is_video: true, key: n % self.gop == 0, at_us: n * 1_001_000_000 / self.frames };
        let sound = move |n: i64| {
            let at_us = i128::from(n * FRAME_SAMPLES) * 1_000_000 * 1_000_000
                / (i128::from(AAC_HZ) * i128::from(1_000_000 + self.ppm));
            Frame { is_video: false, key: true, at_us: i64::try_from(at_us).unwrap() }
        };
        let (mut pictures, mut sounds) = (0, 0);
        std::iter::from_fn(move || {
            let (next_picture, next_sound) = (picture(pictures), sound(sounds));
            let next = if next_picture.at_us <= next_sound.at_us { next_picture } else { next_sound };
            *if next.is_video { &mut pictures } else { &mut sounds } += 1;
            (next.at_us < seconds * 1_000_000).then_some(next)
        })
    }
}

fn body(frame: Frame, composition_ms: i32) -> Body {
    let when = frame.at_us.to_be_bytes();
    if !frame.is_video {
        return Body::Audio(Bytes::copy_from_slice(&when));
    }
    let nal = if frame.key { 0x65 } else { 0x41 };
    let data = [&[0, 0, 0, 9, nal][..], &when].concat().into();
    Body::Video { codec: VideoCodec::Avc, composition_ms, key: frame.key, data }
}

/// The segmenter's output of one run.
#[derive(Debug, Default)]
struct Cut {
    rows: u64,
    /// Presentation times of its beginning and end, in milliseconds.
    span_ms: Option<(i64, i64)>,
    broke: Option<BreakReason>,
    /// The last segment's length, while it is open.
    segment_ms: i64,
    /// Smallest and largest difference between a frame's presentation time and its own time, in microseconds: video, sound.
    off_us: [Option<(i64, i64)>; 2],
    /// Frames that came out: video, sound; silence counts.
    frames: [u64; 2],
    /// Shortest and longest time from a picture to the next one, in 90 kHz ticks.
    picture_ticks: Option<(i64, i64)>,
}

fn widen(range: &mut Option<(i64, i64)>, value: i64) {
    let (least, most) = range.unwrap_or((value, value));
    *range = Some((least.min(value), most.max(value)));
}

impl Cut {
    /// Checks what must hold for every row, whatever the stamps.
    fn row(&mut self, row: &Row) {
        let ms = |time: Timestamp| time.rescale(Timescale::MILLIS).ticks;
        let (start, end) = (ms(row.start), ms(row.end));
        if let Some((_, before)) = self.span_ms {
            assert_eq!(before, start, "rows follow on one another");
        }
        self.span_ms = Some((self.span_ms.map_or(start, |span| span.0), end));
        assert!((1..=535).contains(&(end - start)), "a part of {} ms", end - start);
        self.segment_ms += end - start;
        assert!(self.segment_ms < 4_500, "a segment of {} ms", self.segment_ms);
        if row.completes_segment {
            self.segment_ms = 0;
        }
        for object in row.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. })) {
            assert!(!object.gap && ms(object.start) == start, "all renditions are cut at the same instant");
            self.part(object);
        }
        self.rows += 1;
    }

    /// Compares the presentation times of a part's frames with their own times.
    fn part(&mut self, object: &MediaObject) {
        let is_video = object.rendition.as_str() != AUDIO_RENDITION;
        let moof = usize::try_from(u32::from_be_bytes(*object.bytes.first_chunk().unwrap())).unwrap();
        let size = if is_video { PICTURE_BYTES } else { SOUND_BYTES };
        let samples: Vec<&[u8]> = object.bytes[moof + 8..].chunks(size).collect();
        let count = i64::try_from(samples.len()).unwrap();
        self.frames[usize::from(!is_video)] += samples.len() as u64;
        if is_video {
            return;
        }
        for (number, sample) in (0..count).zip(samples) {
            // Silence has other bytes, without a time.
            let Ok(when) = sample.try_into().map(i64::from_be_bytes) else { continue };
            let ticks = object.decode_time.ticks + number * FRAME_SAMPLES;
            let shown_us = i128::from(ticks) * 1_000_000 / i128::from(AAC_HZ);
            widen(&mut self.off_us[1], i64::try_from(shown_us).unwrap() - when);
        }
    }

    /// Compares the presentation time of a picture with its own time.
    fn picture(&mut self, sample: &Sample, before: Option<Timestamp>) {
        let when = i64::from_be_bytes(*sample.data.last_chunk().unwrap());
        widen(&mut self.off_us[0], sample.pts.ticks * 100 / 9 - when);
        if let Some(before) = before {
            widen(&mut self.picture_ticks, sample.dts.minus(before).ticks);
        }
    }
}

/// Segments the output of a pipeline for these messages, each a stamp and a body.
fn cut(messages: impl Iterator<Item = (u32, Body)> + Send + 'static) -> Vec<Cut> {
    let config = Config { decision_ms: 2_500, ..config(&[], PassThrough::Auto) };
    let (pipeline_input, mut outputs) = start(config).unwrap();
    let pipeline_input = Arc::new(pipeline_input);
    let way_back = Arc::downgrade(&pipeline_input);
    let sender = std::thread::spawn(move || {
        let mut mapper = InputMapper::after(None);
        let avcc = Body::VideoConfig(VideoCodec::Avc, hex(AVCC));
        let headers = [(0, avcc), (0, Body::AudioConfig(Bytes::from_static(&[0x12, 0x10])))];
        for (stamp, body) in headers.into_iter().chain(messages) {
            for input in mapper.push(stamp, body, UnixMillis(1_700_000_000_000)).unwrap() {
                pipeline_input.send_blocking(input).unwrap();
            }
        }
    });
    let mut cuts: Vec<Cut> = Vec::new();
    let (mut segmenter, mut before): (Option<Segmenter>, _) = (None, None);
    while let Some(output) = outputs.blocking_recv() {
        match output {
            Output::Tracks(tracks) => {
                assert_eq!(tracks.len(), 2, "picture and sound");
                segmenter = Some(Segmenter::new(TARGETS, MediaSequence(0), tracks).unwrap());
                before = None;
                cuts.push(Cut::default());
            }
            Output::Sample { rendition, sample } => {
                let run = cuts.len() as u64;
                let (Some(open), cut) = (&mut segmenter, cuts.last_mut().unwrap()) else { continue };
                if rendition.as_str() != AUDIO_RENDITION {
                    cut.picture(&sample, before.replace(sample.dts));
                }
                open.push(&rendition, sample).unwrap();
                loop {
                    match open.next_row() {
                        Ok(Some(row)) => cut.row(&row),
                        Ok(None) => break,
                        // The session does the same.
                        Err(media::Error::SyncSampleLate { .. }) => {
                            open.finish().unwrap().iter().for_each(|row| cut.row(row));
                            segmenter = None;
                            way_back.upgrade().unwrap().encode_anew(run);
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Output::Break(_) | Output::Ended => {
                let cut = cuts.last_mut().unwrap();
                if let Some(mut open) = segmenter.take() {
                    open.finish().unwrap().iter().for_each(|row| cut.row(row));
                }
                cut.broke = if let Output::Break(reason) = output { Some(reason) } else { None };
            }
            other => panic!("{other:?}"),
        }
    }
    sender.join().unwrap();
    cuts
}

fn hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A stamp on the 32-bit circle.
fn wrapped(ms: i64) -> u32 {
    u32::try_from(ms.rem_euclid(1 << 32)).unwrap()
}

fn breaks(cuts: &[Cut]) -> Vec<Option<BreakReason>> {
    cuts.iter().map(|cut| cut.broke.clone()).collect()
}

/// The most by which presentation moves video and sound apart, in microseconds.
fn apart_us(cut: &Cut) -> i64 {
    let [(picture_least, picture_most), (sound_least, sound_most)] = cut.off_us.map(Option::unwrap);
    (sound_most - picture_least).max(picture_most - sound_least)
}

/// Length of one AAC frame in microseconds, and a millisecond for the stamps.
const FRAME_US: i64 = FRAME_SAMPLES * 1_000_000 / AAC_HZ + 1_000;

#[test]
fn day_of_input_keeps_picture_and_sound_within_one_audio_frame() {
    const DAY_SECONDS: i64 = 86_400;
    // Ten pictures a second leave time for all 3.7 million frames of sound. The stamps wrap at noon. The crystal of the sound is 30 ppm
    // off, which makes 2.6 s in a day.
    let source = Source { frames: 10_010, gop: 20, ppm: 30 };
    let start = (1 << 32) - DAY_SECONDS * 500;
    let cuts = cut(source.frames(DAY_SECONDS).map(move |frame| (wrapped(start + frame.ms()), body(frame, 0))));
    assert_eq!(breaks(&cuts), [None]);
    let cut = &cuts[0];
    assert_eq!(cut.span_ms.map(|(start, end)| (end - start).abs_diff(DAY_SECONDS * 1_000) <= 200), Some(true));
    assert_eq!(cut.frames[0], 864_000);
    assert!(cut.rows.abs_diff(172_800) <= 10, "{} parts of half a second", cut.rows);
    assert!(apart_us(cut) <= FRAME_US, "{:?}", cut.off_us);
}

#[test]
fn jump_of_the_clock_is_one_discontinuity_of_all_renditions() {
    const HOUR: i64 = 3_600_000;
    for jump in [24 * HOUR, 15_000, -1_000, -HOUR] {
        let stamp = move |frame: Frame| 5 * HOUR + frame.ms() + if frame.ms() < 20_020 { 0 } else { jump };
        let cuts = cut(NTSC.frames(40).map(move |frame| (wrapped(stamp(frame)), body(frame, 0))));
        assert_eq!(breaks(&cuts), [Some(BreakReason::InputClock), None], "{jump}");
        for cut in &cuts {
            let (start, end) = cut.span_ms.unwrap();
            assert!((17_000..=20_100).contains(&(end - start)), "{jump}: {start} to {end}");
            assert!(apart_us(cut) <= FRAME_US, "{jump}: {:?}", cut.off_us);
        }
        assert!(cuts[1].span_ms.unwrap().0 > cuts[0].span_ms.unwrap().1, "the timeline does not go back");
    }
}

#[test]
fn wrap_stray_and_equal_stamps_break_nothing() {
    // Stamps wrap after 25 s. Every hundredth frame is stamped 10 ms early, and one picture and one sound frame have a stray stamp.
    let start = (1 << 32) - 25_000;
    let stamp = move |(number, frame): (usize, Frame)| {
        let ms = match number % 100 {
            99 => frame.ms() - 10,
            _ => frame.ms(),
        };
        let is_stray =
            (7_000..7_030).contains(&ms) && frame.is_video || (9_000..9_020).contains(&ms) && !frame.is_video;
        (if is_stray { 77 } else { wrapped(start + ms) }, body(frame, 0))
    };
    let cuts = cut(NTSC.frames(30).enumerate().map(stamp));
    assert_eq!(breaks(&cuts), [None]);
    assert!((29_500..=30_100).contains(&cuts[0].span_ms.map(|(start, end)| end - start).unwrap()));
    assert!(cuts[0].frames[0] >= 898 && apart_us(&cuts[0]) <= FRAME_US + 11_000, "{:?}", cuts[0]);
}

#[test]
fn keyframe_that_is_left_out_is_one_discontinuity() {
    // The keyframe at 8 s, where a segment should end, is missing.
    let messages = NTSC.frames(30).filter(|frame| !(frame.is_video && (8_000..8_020).contains(&frame.ms())));
    let cuts = cut(messages.map(|frame| (wrapped(frame.ms()), body(frame, 0))));
    assert_eq!(breaks(&cuts), [Some(BreakReason::Unsegmentable), None]);
    let spans: Vec<_> = cuts.iter().map(|cut| cut.span_ms.unwrap()).collect();
    // Nothing is in real time here, so the source runs ahead of the output by what the queues hold.
    assert!(spans[0].1 - spans[0].0 >= 8_400 && spans[1].1 >= 39_900, "{spans:?}");
    assert!(cuts.iter().all(|cut| apart_us(cut) <= FRAME_US));
}

#[test]
fn sound_that_counts_from_another_zero_is_put_beside_the_picture() {
    for offset in [50_000, -50_000] {
        let stamp = move |frame: Frame| 100_000 + frame.ms() + if frame.is_video { 0 } else { offset };
        let cuts = cut(NTSC.frames(20).map(move |frame| (wrapped(stamp(frame)), body(frame, 0))));
        assert_eq!(breaks(&cuts), [None], "{offset}");
        assert!(apart_us(&cuts[0]) <= FRAME_US + 1_000, "{offset}: {:?}", cuts[0].off_us);
    }
}

#[test]
fn negative_composition_times_are_kept() {
    // P, B, B: decoded 0 1 2 3, shown 0 3 1 2, without a delay that would keep the difference positive.
    let composition = |number: i64| [0, 67, -33, -33][usize::try_from(number % 4).unwrap()];
    let mut pictures = 0;
    let messages = NTSC.frames(12).map(move |frame| {
        let shift = if frame.is_video { composition(pictures) } else { 0 };
        pictures += i64::from(frame.is_video);
        (wrapped(1_000 + frame.ms()), body(frame, shift))
    });
    let cuts = cut(messages);
    assert_eq!(breaks(&cuts), [None]);
    let (least, most) = cuts[0].off_us[0].unwrap();
    assert!(most - least >= 99_000, "shown earlier and later than decoded: {least} to {most}");
}

#[test]
fn fractional_rates_neither_drift_nor_jitter_by_more_than_a_millisecond() {
    for (frames, nominal) in [(30_000, 3_003), (60_000, 1_501), (24_000, 3_753)] {
        let source = Source { frames, gop: frames * 2 / 1_000, ..NTSC };
        let cuts = cut(source.frames(600).map(|frame| (wrapped(frame.ms()), body(frame, 0))));
        assert_eq!(breaks(&cuts), [None]);
        let (shortest, longest) = cuts[0].picture_ticks.unwrap();
        assert!(nominal - shortest < 90 && longest - nominal < 90, "{frames}: {shortest} to {longest} ticks");
        let (least, most) = cuts[0].off_us[0].unwrap();
        assert!(most - least <= 1_000, "{frames}: ten minutes later {least} to {most} us off");
        assert!(apart_us(&cuts[0]) <= FRAME_US, "{frames}: {:?}", cuts[0].off_us);
    }
}

#[test]
fn variable_frame_rate_has_parts_of_the_usual_length() {
    // A phone: between 15 and 60 frames a second, at random, with a keyframe every second.
    let mut random = 0x2545_F491_u32;
    let (mut picture_ms, mut key_ms) = (0, 0);
    let messages = Source { gop: 1, ..NTSC }.frames(20).filter_map(move |frame| {
        if frame.is_video {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let is_due = frame.ms() >= picture_ms;
            picture_ms = if is_due { frame.ms() + i64::from(random >> 28) * 4 } else { picture_ms };
            let key = is_due && frame.ms() >= key_ms;
            key_ms += if key { 1_000 } else { 0 };
            return is_due.then(|| (wrapped(frame.ms()), body(Frame { key, ..frame }, 0)));
        }
        Some((wrapped(frame.ms()), body(frame, 0)))
    });
    let cuts = cut(messages);
    assert_eq!(breaks(&cuts), [None]);
    // All parts but the last have between 85 % and all of the declared 535 ms (RFC 8216bis, 4.4.4.9).
    assert!((38..=44).contains(&cuts[0].rows), "{} parts in 20 s", cuts[0].rows);
    assert!(apart_us(&cuts[0]) <= FRAME_US, "{:?}", cuts[0].off_us);
}
