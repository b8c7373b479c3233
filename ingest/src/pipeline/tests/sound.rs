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

/// From the begin of the first sample to the end of the last, in milliseconds.
fn length_ms(run: &Seen, rendition: &str) -> i64 {
    let samples = run.of(rendition);
    let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
    last.pts.plus(last.duration).minus(first.pts).rescale(Timescale::MILLIS).ticks
}

/// Ten seconds after the begin. Priming comes before it, at -21 ms.
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
    // xiu's issue 110: two bytes, then more.
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

/// AAC-LC at 24 kHz as HE-AAC: its header says so, or its frames do.
#[test]
fn he_aac_plays_at_its_output_rate_however_it_is_signalled() {
    let directory = TempDir::new().unwrap();
    for (name, header, in_frames) in [
        ("hierarchical", &[0x2b, 0x11, 0x88, 0x00][..], false),
        ("backward compatible", &[0x13, 0x10, 0x56, 0xe5, 0x98], false),
        ("implicit", &[0x13, 0x10], true),
    ] {
        let mut all = messages(&directory, 4, "-ar 24000 -ac 2", 0);
        for tag in all.iter_mut().filter(|tag| !tag.is_video) {
            if tag.body[1] == 0 {
                *tag = Tag::aac(tag.stamp_ms, true, header);
            } else if in_frames {
                *tag = Tag::aac(tag.stamp_ms, false, &with_sbr(&tag.body[2..]));
            }
        }
        let run = one(run_all(all));
        run.check(&directory);
        assert_eq!(format(&run), (48_000, 2), "{name}");
        assert_eq!(run.tracks[1].track.codec_string(), "mp4a.40.2", "{name}");
        is_whole(&run);
        let mean = mean_volume(&directory);
        assert!(mean > -30.0, "{name}: the tone is there, at {mean} dB");
    }
}

/// A frame with an SBR element before its end (ISO/IEC 14496-3, tables 4.11 and 4.57): an empty one, whose presence tells the decoder.
fn with_sbr(frame: &[u8]) -> Vec<u8> {
    let mut bits: Vec<bool> = frame.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let end = bits.iter().rposition(|bit| *bit).unwrap() - 2;
    assert!(bits[end..end + 3].iter().all(|bit| *bit), "ID_END");
    bits.truncate(end);
    let mut put = |count: u32, value: u32| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    put(3, 6); // ID_FIL
    put(4, 8); // bytes
    put(4, 13); // EXT_SBR_DATA
    put(28, 0);
    put(32, 0);
    put(3, 7); // ID_END
    bits.chunks(8)
        .map(|chunk| chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at)))
        .collect()
}

/// Mean loudness of the sound that was checked last, in dB.
fn mean_volume(directory: &TempDir) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-v", "info", "-i"])
        .arg(directory.path().join(format!("{AUDIO_RENDITION}.mp4")))
        .args(["-af", "volumedetect", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let (_, rest) = said.split_once("mean_volume: ").unwrap_or_else(|| panic!("{said}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}
