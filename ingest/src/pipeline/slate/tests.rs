use std::process::Command;

use ffmpeg::Rational;
use media::Timestamp;

use super::super::decoder::Decoder;
use super::super::pipeline_state::PipelineState;
use super::super::{Input, Output, PipelineInput, VideoPacket};
use super::*;

fn likeness(width: u32, height: u32, frame_rate_millihertz: u32) -> Likeness {
    let bit_rate = BitsPerSecond(1_000_000);
    let codec = rtmp::flv::VideoCodec::Avc;
    let source = SourceFormat { codec, width, height, frame_rate_millihertz, bit_rate, pass_through: true };
    Likeness { source, aspect: PixelAspect::SQUARE, sound: false, segment: Duration::from_secs(4) }
}

fn avc(slate: &Slate) -> avc::DecoderConfig {
    avc::DecoderConfig::parse(&slate.record).unwrap()
}

/// Decoded pictures of the GOP, sent `times` times.
fn decoded(slate: &Slate, times: usize) -> Vec<frame::Video> {
    let (shared, mut pictures) = (PipelineState::default(), Vec::new());
    let mut decoder = Decoder::open(&VideoFormat::Avc(avc(slate)), 1).unwrap();
    let count = slate.gop.len() * times;
    for (number, data) in (0..).zip(slate.gop.iter().cycle().take(count)) {
        let at = Timestamp::new(number * 3_000, media::Timescale::VIDEO);
        let packet = VideoPacket { pts: at, dts: at, data: data.clone() };
        decoder.push(&packet, number == 0, &shared, &mut |picture| pictures.push(picture));
    }
    decoder.finish(&shared, &mut |picture| pictures.push(picture));
    assert_eq!((shared.counters().packets_refused, shared.counters().frames_concealed), (0, 0));
    pictures
}

fn luma(picture: &frame::Video, x: usize, y: usize) -> u8 {
    picture.data(0)[y * picture.stride(0) + x]
}

/// A file of one colour, made by ffmpeg.
fn file(directory: &tempfile::TempDir, name: &str, size: &str, colour: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    let source = format!("color={colour}:size={size}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-frames:v", "1"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    path
}

#[test]
fn slate_has_the_size_and_frame_rate_of_the_source_and_can_be_repeated() {
    for (width, height, rate, frames) in [(640, 360, 30_000, 30), (360, 640, 29_970, 30), (854, 480, 60_000, 60)] {
        let slate = Slate::encode(&Picture::default(), likeness(width, height, rate), &Config::default()).unwrap();
        let avc = avc(&slate);
        assert_eq!((avc.width(), avc.height(), slate.frame_rate_millihertz), (width, height, rate));
        assert_eq!(slate.gop.len(), frames);
        assert!(slate.gop.iter().enumerate().all(|(place, data)| avc.is_idr(data) == (place == 0)));
        let bytes: usize = slate.gop.iter().map(Bytes::len).sum();
        assert!(bytes < 150_000, "{bytes} bytes for a second of 1 Mbit/s");
        let pictures = decoded(&slate, 3);
        assert_eq!(pictures.len(), frames * 3);
        let corner = luma(&pictures[0], 8, 8);
        assert!(corner < 60, "dark: {corner}");
        let middle = luma(&pictures[0], usize::try_from(width / 2).unwrap(), usize::try_from(height / 2).unwrap());
        assert!(middle > 70, "with dots: {middle}");
    }
}

#[test]
fn picture_of_a_file_is_shown_whole_in_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["white.png", "white.jpg"] {
        let picture = Picture::read(&file(&directory, name, "200x200", "white")).unwrap();
        let slate = Slate::encode(&picture, likeness(640, 360, 30_000), &Config::default()).unwrap();
        let shown = &decoded(&slate, 1)[0];
        assert!(luma(shown, 320, 180) > 200 && luma(shown, 320, 4) > 200 && luma(shown, 320, 355) > 200, "{name}");
        assert!(luma(shown, 130, 180) < 60 && luma(shown, 510, 180) < 60, "{name}: beside it, dark");
    }
}

#[test]
fn slate_of_an_anamorphic_source_has_its_pixels_and_shows_a_square_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let square = Picture::read(&file(&directory, "square.png", "200x200", "white")).unwrap();
    // 4:3 in 720 columns: a square has 9 columns for 8 lines.
    let aspect = PixelAspect::of(Rational(8, 9));
    let likeness = Likeness { aspect, ..likeness(720, 480, 30_000) };
    let slate = Slate::encode(&square, likeness, &Config::default()).unwrap();
    let shown = &decoded(&slate, 1)[0];
    assert_eq!(shown.aspect_ratio(), Rational(8, 9));
    let columns = (0..720).filter(|x| luma(shown, *x, 240) > 128).count();
    assert!((536..=544).contains(&columns), "{columns} columns for 480 lines");
    let memory = slate.memory.pixel_aspect();
    assert_eq!(memory, aspect, "the ladder that is made of it has them, too");
    let dots = Slate::encode(&Picture::default(), likeness, &Config::default()).unwrap();
    let shown = &decoded(&dots, 1)[0];
    let bright = |at: (usize, usize)| usize::from(luma(shown, at.0, at.1) > 70);
    let wide: usize = (350..370).map(|x| bright((x, 240))).sum();
    let high: usize = (230..250).map(|y| bright((360, y))).sum();
    assert!(wide > high, "{wide} columns, {high} lines");
    for unknown in [Rational(0, 1), Rational(-1, 1), Rational(1, 0), Rational(70_000, 1)] {
        assert_eq!(PixelAspect::of(unknown), PixelAspect::SQUARE);
    }
}

#[test]
fn file_that_cannot_be_shown_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let said = |path: &Path| Picture::read(path).unwrap_err().to_string();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    assert!(said(&directory.path().join("missing.png")).starts_with("cannot be read: "));
    assert_eq!(said(directory.path()), "is not a file");
    assert_eq!(said(&write("empty", b"")), "is neither a PNG nor a JPEG");
    assert_eq!(said(&write("text.png", b"GIF89a")), "is neither a PNG nor a JPEG");
    for (name, colour) in [("whole.png", "red"), ("whole.jpg", "red")] {
        let whole = std::fs::read(file(&directory, name, "640x360", colour)).unwrap();
        for keep in [3, 8, whole.len() / 2] {
            let said = said(&write(&format!("cut-{name}"), &whole[..keep]));
            assert!(
                said.starts_with("cannot be decoded: ") || said.starts_with("is neither"),
                "{name}, {keep}: {said}"
            );
            assert_eq!(said.lines().count(), 1);
        }
    }
    let small = file(&directory, "small.png", "8x8", "red");
    assert_eq!(said(&small), "is 8x8 pixels: sides of 16 to 8192 can be shown");
}

fn send(pipeline_input: &PipelineInput, slate: &Slate, frames: usize) {
    pipeline_input.send_blocking(Input::VideoConfig(VideoFormat::Avc(avc(slate)))).unwrap();
    for (number, data) in (0..).zip(slate.gop.iter().cycle().take(frames)) {
        let at = Timestamp::new(900_000 + number * 3_000, media::Timescale::VIDEO);
        pipeline_input.send_blocking(Input::Video(VideoPacket { pts: at, dts: at, data: data.clone() })).unwrap();
    }
}

#[test]
fn pipeline_has_nothing_to_learn_of_a_slate_and_makes_the_ladder_of_its_source() {
    let rungs = [360, 180].map(|short_side| super::super::RungConfig { short_side, kbit_per_second: None });
    let config = Config { rungs: Some(rungs.into()), ..Config::default() };
    for pass_through in [true, false] {
        let mut likeness = likeness(640, 360, 30_000);
        likeness.source.pass_through = pass_through;
        let slate = Slate::encode(&Picture::default(), likeness, &config).unwrap();
        let (pipeline_input, mut outputs) = super::super::start_again(config.clone(), slate.memory.clone()).unwrap();
        send(&pipeline_input, &slate, 1);
        let Some(Output::Tracks(tracks)) = outputs.blocking_recv() else { panic!("a run begins with its tracks") };
        let names: Vec<_> = tracks.iter().map(|track| track.rendition.to_string()).collect();
        assert_eq!(names, ["360p", "180p"], "with the first picture");
        drop(pipeline_input);
        while let Some(output) = outputs.blocking_recv() {
            assert!(!matches!(output, Output::Break(_) | Output::Failed(_) | Output::Shed { .. }), "{output:?}");
        }
    }
}
