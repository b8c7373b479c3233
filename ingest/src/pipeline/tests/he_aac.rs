//! HE-AAC from a real encoder: a tone that moves between 400 Hz and 4 kHz, and one at 13 kHz, which only SBR brings; the right channel
//! at a quarter of the left.

use super::tags::{Form, Tag, inputs, tags};
use super::*;

/// Directory of the captures that `conformance/testdata/README.md` describes.
const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/testdata");
/// Samples of one channel in a frame, after SBR.
const FRAME_SAMPLES: usize = 2_048;
/// Rate after SBR.
const RATE_HZ: usize = 48_000;
/// Length of a frame of the output, in milliseconds.
const AAC_FRAME_MS: i64 = 22;
/// Filters for what the AAC-LC core cannot contain, and for what it contains.
const ABOVE: &str = "highpass=f=12200,highpass=f=12200,highpass=f=12200";
const BELOW: &str = "lowpass=f=6000,lowpass=f=6000";

/// The frames of an ADTS file without CRCs (ISO/IEC 14496-3, 1.A.2.2).
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
        frames.push(rest[7..length].to_vec());
        rest = &rest[length..];
    }
    frames
}

/// Both channels of a file, filtered.
fn decoded(path: &Path, filter: &str) -> [Vec<f64>; 2] {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-af", filter, "-f", "f32le", "-ar", "48000", "-ac", "2", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples: Vec<f64> =
        output.stdout.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect();
    [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
}

/// Loudness in dB of full scale.
fn loudness(samples: &[f64]) -> f64 {
    let squares: f64 = samples.iter().map(|sample| sample * sample).sum();
    10.0 * (squares / f64::from(u32::try_from(samples.len()).unwrap())).log10()
}

/// How often the tone rises through zero in each 20 ms, from each millisecond on.
fn pitch(samples: &[f64]) -> Vec<i64> {
    let per_ms = RATE_HZ / 1_000;
    let rises: Vec<usize> = (1..samples.len()).filter(|at| samples[at - 1] < 0.0 && samples[*at] >= 0.0).collect();
    let before = |sample| rises.partition_point(|rise| *rise < sample);
    (0..samples.len() / per_ms - 20)
        .map(|ms| i64::try_from(before((ms + 20) * per_ms) - before(ms * per_ms)).unwrap())
        .collect()
}

/// By how many milliseconds `heard` is behind `sent`: the delay at which their tones differ least.
fn delay_ms(sent: &[i64], heard: &[i64]) -> i64 {
    let apart = |delay: i64| -> i64 {
        // The range in which both have a tone.
        let of = |pitch: &[i64], ms: i64| pitch[usize::try_from(ms).unwrap()];
        (300..7_000).map(|ms| of(sent, ms).abs_diff(of(heard, ms + delay)).cast_signed()).sum()
    };
    (-200..=200).min_by_key(|delay| apart(*delay)).unwrap()
}

#[test]
fn he_aac_plays_with_its_upper_band_in_time_however_it_is_signalled() {
    let directory = TempDir::new().unwrap();
    let picture = clip(&directory, "in.mp4", "testsrc2=size=160x90:rate=15:duration=8", "-g 15 -bf 0");
    let pictures: Vec<Tag> = tags(&picture, Form::Legacy, 0).into_iter().filter(|tag| tag.is_video).collect();
    for (file, signalled, header) in [
        ("he-aac.aac", "hierarchically", &[0x2b, 0x11, 0x88, 0x00][..]),
        ("he-aac.aac", "backward compatibly", &[0x13, 0x10, 0x56, 0xe5, 0x98]),
        ("he-aac.aac", "by its frames", &[0x13, 0x10]),
        ("he-aac-v2.aac", "hierarchically", &[0xeb, 0x09, 0x88, 0x00]),
        ("he-aac-v2.aac", "backward compatibly", &[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80]),
        ("he-aac-v2.aac", "by its frames", &[0x13, 0x08]),
    ] {
        let source = Path::new(TESTDATA).join(file);
        let what = format!("{file}, signalled {signalled}");
        let mut all = pictures.clone();
        all.push(Tag::aac(0, true, header));
        all.extend(frames(&source).iter().enumerate().map(|(index, frame)| {
            Tag::aac(u32::try_from(index * FRAME_SAMPLES * 1_000 / RATE_HZ).unwrap(), false, frame)
        }));
        all.sort_by_key(|tag| tag.stamp_ms);
        let run = one(feed(config(&[90], PassThrough::Auto), inputs(all)).0);
        run.check(&directory);

        let track = &run.tracks[1].track;
        assert_eq!(track.format(), media::Format::Audio { sample_rate_hz: 48_000, channels: 2 }, "{what}");
        assert_eq!(track.codec_string(), "mp4a.40.2", "{what}");
        let (seen, heard) = (run.of("90p"), run.of(AUDIO_RENDITION));
        let end = |samples: &[&Sample]| samples.last().map(|last| last.pts.plus(last.duration)).unwrap();
        let ms = |later: Timestamp, sooner: Timestamp| later.minus(sooner).rescale(Timescale::MILLIS).ticks;
        let (begins, ends) = (ms(heard[0].pts, seen[0].pts), ms(end(&heard), end(&seen)));
        // The last input frame, of 43 ms, is still in the encoder.
        assert!(begins.abs() <= AAC_FRAME_MS && ends.abs() <= 3 * AAC_FRAME_MS, "{what}: {begins} ms, {ends} ms");

        let played = directory.path().join(format!("{AUDIO_RENDITION}.mp4"));
        let [left, right] = decoded(&played, ABOVE).map(|channel| loudness(&channel));
        assert!((-36.0..-26.0).contains(&left), "{what}: the tone at 13 kHz has {left:.1} dB");
        assert!((8.0..16.0).contains(&(left - right)), "{what}: at 13 kHz, left {left:.1} dB, right {right:.1} dB");
        let [sent, _] = decoded(&source, BELOW);
        let [tone, quiet] = decoded(&played, BELOW);
        let (left, right) = (loudness(&tone), loudness(&quiet));
        assert!((-19.0..-13.0).contains(&left), "{what}: the moving tone has {left:.1} dB");
        assert!((8.0..16.0).contains(&(left - right)), "{what}: left {left:.1} dB, right {right:.1} dB");
        let delay = delay_ms(&pitch(&sent), &pitch(&tone)) + begins;
        assert!(delay.abs() <= AAC_FRAME_MS, "{what}: {delay} ms late");
    }
}
