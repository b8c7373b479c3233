//! HEVC and AV1, as Enhanced RTMP brings them.

use rtmp::flv::VideoCodec;

use super::tags::{Form, codec, inputs, tags};
use super::*;

/// x265 with its defaults: open GOPs (CRA pictures from the second keyframe on) and B-frames.
const HEVC: &str = "-c:v libx265 -x265-params log-level=none:keyint=30:min-keyint=30 -tag:v hvc1";
const AV1: &str = "-c:v libsvtav1 -preset 12 -g 30";

/// Presentation times in milliseconds.
fn pts_ms(run: &Seen, rendition: &str) -> Vec<i64> {
    run.pts(rendition).into_iter().map(|ticks| ticks / 90).collect()
}

#[test]
fn hevc_and_av1_come_out_as_h264_with_every_picture_at_its_time() {
    let directory = TempDir::new().unwrap();
    for (options, form, expected) in [
        (HEVC, Form::FourCc, VideoCodec::Hevc),
        (HEVC, Form::Legacy, VideoCodec::Hevc),
        (AV1, Form::FourCc, VideoCodec::Av1),
    ] {
        let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=4.5", options);
        let tags = tags(&path, form, 77_000);
        assert_eq!(codec(&tags), expected);
        let run = one(feed(config(&[180, 90], PassThrough::Auto), inputs(tags)).0);
        assert_eq!(run.names(), ["180p", "90p", "audio"], "{expected:?}");
        run.check(&directory);
        assert!(run.tracks[0].track.codec_string().starts_with("avc1."), "{expected:?} is not passed through");
        let source: Vec<i64> = source_pts(&path).into_iter().map(|ticks| ticks / 90).collect();
        let first = source[0] - pts_ms(&run, "180p")[0];
        for name in run.videos() {
            let seen: Vec<i64> = pts_ms(&run, name).into_iter().map(|ms| ms + first).collect();
            assert_eq!(seen.len(), source.len(), "{expected:?} {name}");
            assert!(seen.iter().zip(&source).all(|(seen, source)| seen.abs_diff(*source) <= 1), "{expected:?} {name}");
        }
        assert_eq!(run.idrs("180p"), run.idrs("90p"));
    }
}

#[test]
fn ten_bit_hevc_comes_out_with_eight_bits() {
    let directory = TempDir::new().unwrap();
    let options = format!("{HEVC} -pix_fmt yuv420p10le");
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=2", &options);
    let run = one(feed(config(&[180], PassThrough::Auto), inputs(tags(&path, Form::FourCc, 0))).0);
    run.check(&directory);
    let media::TrackConfig::Video { avc, .. } = &run.tracks[0].track else { panic!("a picture") };
    assert_eq!((avc.bit_depth(), avc.chroma_format()), (8, 1));
    assert_eq!(run.of("180p").len(), 60);
}

#[test]
fn publisher_that_is_joined_at_an_open_gop_starts_with_its_cra_picture() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=4", HEVC);
    let mut inputs = inputs(tags(&path, Form::FourCc, 0));
    // The first keyframe is lost, and so is all that depends on it.
    let idr = inputs.iter().position(|input| matches!(input, Input::Video(_))).unwrap();
    inputs.remove(idr);
    let run = one(feed(config(&[180], PassThrough::Auto), inputs).0);
    run.check(&directory);
    let count = run.of("180p").len();
    assert!((80..=90).contains(&count), "{count} of the 90 pictures from the second keyframe on");
}

#[test]
fn other_parameter_sets_and_another_codec_are_one_break_each() {
    let directory = TempDir::new().unwrap();
    let clips = [
        ("a.mp4", "testsrc2=size=320x180:rate=30:duration=3", HEVC),
        ("b.mp4", "testsrc2=size=160x90:rate=30:duration=3", HEVC),
        ("c.mp4", "testsrc2=size=160x90:rate=30:duration=3", AV1),
        ("d.mp4", "testsrc2=size=160x90:rate=30:duration=3", "-g 30 -bf 0"),
    ];
    let mut all = Vec::new();
    for (number, (name, picture, options)) in (0_u32..).zip(clips) {
        let path = clip(&directory, name, picture, options);
        let more = tags(&path, Form::FourCc, 1_000 + 3_100 * number);
        // Sound continues unchanged: its header repeats.
        all.extend(more);
    }
    let (runs, _) = feed(config(&[180, 90], PassThrough::Auto), inputs(all));
    let breaks: Vec<_> = runs.iter().map(|run| run.broke.clone()).collect();
    assert_eq!(
        breaks,
        [Some(BreakReason::VideoFormat), Some(BreakReason::VideoFormat), Some(BreakReason::VideoFormat), None]
    );
    runs.iter().for_each(|run| run.check(&directory));
    assert_eq!(format_of(&runs[0].tracks[0]).size, (320, 180));
    assert!(runs[1..].iter().all(|run| format_of(&run.tracks[0]).size == (160, 90)));
}

#[test]
fn damaged_hevc_and_av1_are_survived() {
    let directory = TempDir::new().unwrap();
    for options in [HEVC, AV1] {
        let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=4", options);
        let mut inputs = inputs(tags(&path, Form::FourCc, 0));
        let pictures =
            inputs.iter_mut().filter_map(|input| if let Input::Video(packet) = input { Some(packet) } else { None });
        for (number, packet) in pictures.enumerate().skip(1) {
            let mut bytes = packet.data.to_vec();
            match number % 7 {
                2 => bytes.truncate(bytes.len() / 2),
                4 => bytes.iter_mut().skip(number % 50).step_by(37).for_each(|byte| *byte ^= 0x55),
                6 => bytes = vec![0xFF; 40],
                _ => {}
            }
            packet.data = bytes.into();
        }
        let (runs, counters) = feed(config(&[90], PassThrough::Auto), inputs);
        assert_eq!(runs.last().and_then(|run| run.end.as_deref()), Some("ended"), "{options}");
        assert!(counters.packets_refused > 0, "{counters:?}");
    }
}
