//! Sound as encoders really send it.

use super::tags::{Form, Tag, inputs, tags};
use super::*;

const PICTURE: &str = "testsrc2=size=160x90:rate=30:duration=";

/// Messages of a clip of `seconds`, from `start_ms` on; `sound` are options for its sound.
fn messages(directory: &TempDir, seconds: u32, sound: &str, start_ms: u32) -> Vec<Tag> {
    let path = clip(directory, "in.mp4", &format!("{PICTURE}{seconds}"), &format!("-g 30 -bf 0 {sound}"));
    tags(&path, Form::Legacy, start_ms)
}

fn run_all(tags: impl IntoIterator<Item = Tag>) -> Vec<Seen> {
    feed(config(&[90], PassThrough::Auto), inputs(tags)).0
}

fn format(run: &Seen) -> (u32, u8) {
    let track = run.tracks.iter().find(|track| !track.track.is_video()).unwrap();
    let media::Format::Audio { sample_rate_hz, channels } = track.track.format() else { panic!("sound") };
    (sample_rate_hz, channels)
}

/// From the start of the first sample to the end of the last, in milliseconds.
fn length_ms(run: &Seen, rendition: &str) -> i64 {
    let samples = run.of(rendition);
    let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
    last.pts.plus(last.duration).minus(first.pts).rescale(Timescale::MILLIS).ticks
}

/// Whether a message comes 10 to 20 s after the beginning. The upper bound excludes priming, whose stamp is -21 ms modulo 2^32.
fn is_late(tag: &Tag) -> bool {
    (10_000..20_000).contains(&tag.stamp_ms)
}

fn is_whole(run: &Seen) {
    let sound = run.of(AUDIO_RENDITION);
    assert!(sound.windows(2).all(|pair| pair[0].pts.plus(pair[0].duration) == pair[1].pts), "without a hole");
    let (picture, sound) = (length_ms(run, run.videos()[0]), length_ms(run, AUDIO_RENDITION));
    assert!(picture.abs_diff(sound) <= 100, "picture of {picture} ms, sound of {sound} ms");
}

#[test]
fn sound_that_never_comes_leaves_the_picture_alone() {
    let directory = TempDir::new().unwrap();
    let run = one(run_all(messages(&directory, 4, "", 0).into_iter().filter(|tag| tag.is_video)));
    assert_eq!(run.names(), ["90p"]);
    run.check(&directory);
}

#[test]
fn sound_that_comes_after_ten_seconds_is_one_break() {
    let directory = TempDir::new().unwrap();
    let all = messages(&directory, 14, "", 0);
    let header = all.iter().find(|tag| !tag.is_video).unwrap().clone();
    let mut late: Vec<Tag> = all.into_iter().filter(|tag| tag.is_video || is_late(tag)).collect();
    let first = late.iter().position(|tag| !tag.is_video).unwrap();
    late.insert(first, Tag { stamp_ms: 10_000, ..header });
    let runs = run_all(late);
    assert_eq!(runs.iter().map(|run| run.broke.clone()).collect::<Vec<_>>(), [Some(BreakReason::AudioFormat), None]);
    runs.iter().for_each(|run| run.check(&directory));
    assert!((9_000..=11_000).contains(&length_ms(&runs[0], "90p")));
    is_whole(&runs[1]);
}

#[test]
fn header_that_is_announced_ten_seconds_before_its_sound_is_no_break() {
    let directory = TempDir::new().unwrap();
    let is_header = |tag: &Tag| tag.body.get(1) == Some(&0);
    let late = messages(&directory, 14, "", 0).into_iter();
    let run = one(run_all(late.filter(|tag| tag.is_video || is_header(tag) || is_late(tag))));
    run.check(&directory);
    is_whole(&run);
}

#[test]
fn sound_of_another_rate_or_other_channels_is_one_break() {
    let directory = TempDir::new().unwrap();
    for (before, after, formats) in [
        ("-ar 44100 -ac 2", "-ar 48000 -ac 2", [(44_100, 2), (48_000, 2)]),
        ("-ar 48000 -ac 1", "-ar 48000 -ac 2", [(48_000, 1), (48_000, 2)]),
    ] {
        let first = messages(&directory, 4, before, 0);
        let second = messages(&directory, 4, after, 4_000);
        let runs = run_all(first.into_iter().chain(second));
        assert_eq!(
            runs.iter().map(|run| run.broke.clone()).collect::<Vec<_>>(),
            [Some(BreakReason::AudioFormat), None]
        );
        runs.iter().for_each(|run| run.check(&directory));
        assert_eq!([format(&runs[0]), format(&runs[1])], formats);
        runs.iter().for_each(is_whole);
    }
}

#[test]
fn longer_header_that_says_the_same_breaks_nothing() {
    let directory = TempDir::new().unwrap();
    let mut all = messages(&directory, 4, "-ar 48000 -ac 2", 0);
    // As in xiu's issue 110: a header of two bytes, then longer ones.
    let header = all.iter_mut().find(|tag| !tag.is_video).unwrap();
    *header = Tag::aac(0, true, &[0x11, 0x90]);
    let at = all.iter().position(|tag| (2_000..3_000).contains(&tag.stamp_ms)).unwrap();
    all.insert(at, Tag::aac(2_000, true, &[0x11, 0x90, 0x56, 0xe5]));
    all.insert(at, Tag::aac(2_000, true, &[0x11, 0x90, 0x56, 0xe5, 0x00]));
    let run = one(run_all(all));
    run.check(&directory);
    is_whole(&run);
}

#[test]
fn sound_before_its_header_is_left_out() {
    let directory = TempDir::new().unwrap();
    let mut all = messages(&directory, 4, "", 0);
    let header = all.iter().position(|tag| !tag.is_video).unwrap();
    let header = all.remove(header);
    let at = all.iter().position(|tag| (300..1_000).contains(&tag.stamp_ms)).unwrap();
    all.insert(at, header);
    let run = one(run_all(all));
    run.check(&directory);
    is_whole(&run);
}

#[test]
fn sbr_that_is_announced_over_a_fast_core_is_not_passed_through() {
    let directory = TempDir::new().unwrap();
    let mut all = messages(&directory, 2, "-ar 48000 -ac 2", 0);
    let header = all.iter_mut().find(|tag| !tag.is_video).unwrap();
    // The header announces SBR of 96 kHz after AAC-LC.
    *header = Tag::aac(0, true, &[0x11, 0x90, 0x56, 0xe5, 0x80]);
    let run = one(run_all(all));
    run.check(&directory);
    assert_eq!((format(&run), run.tracks[1].track.codec_string().as_str()), ((48_000, 2), "mp4a.40.2"));
    is_whole(&run);
}

#[test]
fn sound_that_stops_becomes_silence() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 30 -bf 0");
    let mut inputs = read_file(&path).unwrap();
    inputs.retain(|input| match input {
        Input::Audio(packet) => packet.pts < Timestamp::new(12_000, Timescale::MILLIS),
        _ => true,
    });
    let run = one(feed(config(&[90], PassThrough::Auto), inputs).0);
    run.check(&directory);
    let (picture, sound) = (run.of("180p").last().unwrap().pts, run.of("audio").last().unwrap().pts);
    assert!(picture.minus(sound) < Timestamp::new(1_100, Timescale::MILLIS), "the sound is silence by now");
}

#[test]
fn mp3_becomes_aac() {
    let directory = TempDir::new().unwrap();
    let picture = "testsrc2=size=320x180:rate=30:duration=4";
    let path = clip(&directory, "in.flv", picture, "-g 30 -c:a libmp3lame -ar 44100 -ac 1");
    let run = one(feed(config(&[90], PassThrough::Auto), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["180p", "90p", "audio"]);
    run.check(&directory);
    let media::Format::Audio { sample_rate_hz, channels } = run.tracks[2].track.format() else { panic!("sound") };
    assert_eq!((sample_rate_hz, channels), (48_000, 2));
    let sound = run.of("audio");
    assert!(sound.len() > 170, "{} frames of 1024 samples in 4 s", sound.len());
}

#[test]
fn late_sound_is_a_new_run_and_missing_sound_is_silence() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=9", "-g 30");
    let base = 10_000;
    let keep = |input: &Input| match input {
        Input::Audio(packet) => {
            let at = packet.pts.rescale(Timescale::MILLIS).ticks - base;
            (4_000..5_000).contains(&at) || at > 8_000
        }
        Input::AudioConfig(_) => false,
        _ => true,
    };
    let all = read_file(&path).unwrap();
    let sound = all.iter().find(|input| matches!(input, Input::AudioConfig(_))).cloned().unwrap();
    let mut inputs: Vec<Input> = all.into_iter().filter(keep).collect();
    let first = inputs.iter().position(|input| matches!(input, Input::Audio(_))).unwrap();
    inputs.insert(first, sound);
    let (runs, _) = feed(config(&[90], PassThrough::Auto), inputs);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].broke, Some(BreakReason::AudioFormat));
    assert_eq!((runs[0].names(), runs[1].names()), (vec!["180p", "90p"], vec!["180p", "90p", "audio"]));
    let sound = runs[1].of("audio");
    assert!(sound.windows(2).all(|pair| pair[0].pts.plus(pair[0].duration) == pair[1].pts), "without a hole");
    assert!(sound.len() > 180, "{} frames in more than 4 s", sound.len());
}

#[test]
fn sound_alone_is_a_run() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=4", "-g 30");
    let inputs = read_file(&path).unwrap().into_iter();
    let inputs = inputs.filter(|input| matches!(input, Input::Audio(_) | Input::AudioConfig(_))).collect();
    let run = one(feed(config(&[90], PassThrough::Auto), inputs).0);
    assert_eq!(run.names(), ["audio"]);
    run.check(&directory);
}
