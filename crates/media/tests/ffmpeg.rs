//! FFmpeg reads our files. Real encoder output, in FLV as RTMP carries it, goes through both clocks and the segmenter into init
//! segments and parts, and back through FFmpeg's demuxer and decoders. Needs `ffmpeg` and `ffprobe` in the path.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use media::aac::{AudioSpecificConfig, silent_frame};
use media::audio_clock::AudioClock;
use media::avc::DecoderConfig;
use media::input_clock::{InputClock, Media};
use media::segmenter::{RenditionConfig, Row, Segmenter, Targets};
use media::{BitsPerSecond, MediaSequence, RenditionId, Sample, Slot, Timescale, Timestamp, TrackConfig, cmaf};
use mp4_atom::{Decode, Moof};

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a tool and returns its standard output. Fails when the tool fails or writes to standard error.
fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(tool).args(arguments).output().unwrap_or_else(|error| panic!("{tool} is needed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{tool} {arguments:?}: {errors}");
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Tags of an FLV file: type, stamp, body.
fn flv_tags(file: &[u8]) -> Vec<(u8, u32, &[u8])> {
    let (mut rest, mut tags) = (&file[13..], Vec::new());
    while rest.len() >= 11 {
        let length = usize::try_from(u32::from_be_bytes([0, rest[1], rest[2], rest[3]])).unwrap();
        let stamp = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        tags.push((rest[0], stamp, &rest[11..11 + length]));
        rest = &rest[11 + length + 4..];
    }
    tags
}

struct Packaged {
    video: TrackConfig,
    audio: TrackConfig,
    rows: Vec<Row>,
    audio_samples: usize,
}

/// A small ingest: packages the messages of a publisher as a session does.
fn package(flv: &[u8]) -> Packaged {
    let tags = flv_tags(flv);
    let header =
        |kind: u8, skip: usize| tags.iter().find(|(k, _, body)| *k == kind && body[1] == 0).unwrap().2.split_at(skip).1;
    let avc = DecoderConfig::parse(header(9, 5)).unwrap();
    let aac = AudioSpecificConfig::parse(header(8, 2)).unwrap();
    let rate = avc.frame_rate_millihertz().unwrap();
    let video = TrackConfig::Video { avc: avc.clone(), timescale: Timescale::VIDEO, frame_rate_millihertz: rate };
    let audio = TrackConfig::Audio { aac: aac.clone() };
    let config = |name: &str, track: &TrackConfig| RenditionConfig {
        rendition: RenditionId::new(name).unwrap(),
        track: track.clone(),
        bandwidth_peak: BitsPerSecond(0),
        bandwidth_mean: BitsPerSecond(0),
        has_more_sync: false,
    };
    let configs = vec![config("360p", &video), config("audio", &audio)];
    let [video_id, audio_id] = [0, 1].map(|index: usize| configs[index].rendition.clone());
    let targets = Targets { segment: Duration::from_secs(4), part: Duration::from_millis(500) };
    let mut segmenter = Segmenter::new(targets, MediaSequence(0), configs).unwrap();
    let (mut clock, mut audio_clock) = (InputClock::new(), AudioClock::new(&aac, None).unwrap());
    let (mut rows, mut audio_samples) = (Vec::new(), 0);
    for (kind, stamp, body) in tags {
        match (kind, body.get(1)) {
            (9, Some(1)) => {
                let dts = clock.unwrap(Media::Video, stamp).unwrap();
                let offset = i64::from(i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8);
                let pts = Timestamp::new(dts.ticks + offset, Timescale::MILLIS);
                let data = avc.strip_parameter_sets(&Bytes::copy_from_slice(&body[5..])).unwrap();
                let sync = avc.is_idr(&data);
                let duration = Timestamp::zero(Timescale::MILLIS);
                segmenter.push(&video_id, Sample { pts, dts, duration, sync, data }).unwrap();
            }
            (8, Some(1)) => {
                let at = clock.unwrap(Media::Audio, stamp).unwrap();
                for sample in audio_clock.push(at, Bytes::copy_from_slice(&body[2..])).unwrap() {
                    audio_samples += 1;
                    segmenter.push(&audio_id, sample).unwrap();
                }
            }
            _ => {}
        }
        while let Some(row) = segmenter.next_row().unwrap() {
            rows.push(row);
        }
        segmenter.check_invariants();
    }
    rows.extend(segmenter.finish().unwrap());
    Packaged { video, audio, rows, audio_samples }
}

/// Init segment and all parts of a rendition in one file.
fn write(path: &Path, track: &TrackConfig, rows: &[Row], rendition: &str) {
    let mut bytes = cmaf::init_segment(track).unwrap().to_vec();
    for object in rows.iter().flat_map(|row| &row.objects).filter(|object| object.rendition.as_str() == rendition) {
        bytes.extend_from_slice(&object.bytes);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Hashes of the decoded frames.
fn frame_hashes(path: &str, stream: &str) -> Vec<String> {
    let listing = text(run(
        "ffmpeg",
        &["-v", "error", "-i", path, "-map", stream, "-fps_mode", "passthrough", "-f", "framemd5", "-"],
    ));
    let lines = listing.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Decode times of all packets, and which are sync samples.
fn packets(path: &str) -> Vec<(i64, bool)> {
    let entries = ["-v", "error", "-show_entries", "packet=dts,flags", "-of", "csv=p=0", path];
    let listing = text(run("ffprobe", &entries));
    let packet = |line: &str| {
        let (dts, flags) = line.split_once(',').unwrap();
        (dts.parse().unwrap(), flags.starts_with('K'))
    };
    listing.lines().filter(|line| !line.is_empty()).map(packet).collect()
}

/// Each `tfdt` is the previous one plus the durations in its `trun` (Apple's authoring rule 7.3).
fn assert_contiguous(rows: &[Row], rendition: &str) {
    let mut next = None;
    for object in rows.iter().flat_map(|row| &row.objects).filter(|object| object.rendition.as_str() == rendition) {
        if object.bytes.is_empty() {
            continue;
        }
        let moof = Moof::decode(&mut object.bytes.as_ref()).unwrap();
        let start = moof.traf[0].tfdt.as_ref().unwrap().base_media_decode_time;
        assert!(next.is_none_or(|next| next == start), "{rendition} {}", object.slot);
        let durations = moof.traf[0].trun[0].samples.iter().map(|entry| u64::from(entry.duration.unwrap()));
        next = Some(start + durations.sum::<u64>());
    }
}

#[test]
fn real_encoder_output_survives_packaging_frame_by_frame() {
    let directory = directory("survives");
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let source = path("source.flv");
    let x264 =
        ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0"];
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30000/1001"];
    arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "9", "-pix_fmt", "yuv420p"]);
    arguments.extend(x264);
    arguments.extend(["-c:a", "aac", "-b:a", "96k", "-ac", "2", &source]);
    run("ffmpeg", &arguments);

    let packaged = package(&std::fs::read(&source).unwrap());
    let (video, audio) = (path("video.mp4"), path("audio.mp4"));
    write(Path::new(&video), &packaged.video, &packaged.rows, "360p");
    write(Path::new(&audio), &packaged.audio, &packaged.rows, "audio");

    // Every picture matches bit for bit, and FFmpeg decodes without complaint.
    let hashes = frame_hashes(&video, "0:v");
    assert_eq!(hashes, frame_hashes(&source, "0:v"));
    assert_eq!(hashes.len(), 270);
    let sound = packets(&audio);
    assert!(packaged.audio_samples - sound.len() <= 8, "only what comes before or after the video is left out");
    run("ffmpeg", &["-v", "error", "-i", &audio, "-f", "null", "-"]);

    for (id, list) in [("360p", packets(&video)), ("audio", sound)] {
        assert!(list[0].1 && list.is_sorted_by(|one, next| one.0 < next.0));
        assert_contiguous(&packaged.rows, id);
    }
    let completed: Vec<_> =
        packaged.rows.iter().filter(|row| row.completes_segment).map(|row| row.part.0 + 1).collect();
    assert_eq!(completed, [8, 8, 2]);
    let first_parts = packaged.rows.iter().filter(|row| row.part.0 == 0).flat_map(|row| &row.objects);
    assert!(first_parts.filter(|object| matches!(object.slot, Slot::Part { .. })).all(|object| object.independent));
}

/// The byte range of an I-frame playlist: the first bytes of an independent part are one picture, and no more.
#[test]
fn start_of_an_independent_part_through_its_sync_sample_is_one_picture() {
    let directory = directory("one_picture");
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let source = path("source.flv");
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"];
    arguments.extend(["-f", "lavfi", "-i", "sine", "-t", "9", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", "2"]);
    arguments.extend(["-g", "60", "-sc_threshold", "0", "-c:a", "aac", &source]);
    run("ffmpeg", &arguments);
    let packaged = package(&std::fs::read(&source).unwrap());
    let pictures = frame_hashes(&source, "0:v");
    let init = cmaf::init_segment(&packaged.video).unwrap();
    let parts = packaged.rows.iter().flat_map(|row| &row.objects).filter(|object| object.sync_length.is_some());
    // The fragment's boxes list samples that are not there: FFmpeg reports that, and decodes those that are.
    let decode = |bytes: &[u8]| {
        let file = path("part.mp4");
        std::fs::write(&file, [&init, bytes].concat()).unwrap();
        let output = Command::new("ffmpeg").args(["-v", "quiet", "-i", &file, "-f", "framemd5", "-"]).output().unwrap();
        let listing = text(output.stdout);
        listing.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    for (part, number) in parts.clone().zip(0..) {
        let end = usize::try_from(part.sync_length.unwrap()).unwrap();
        assert!(part.independent && part.rendition.as_str() == "360p");
        let decoded = decode(&part.bytes[..end]);
        assert_eq!(decoded.len(), 1, "{decoded:?}");
        assert!(decoded[0].ends_with(&pictures[60 * number]), "the picture of IDR {number}");
        assert!(decode(&part.bytes[..end - 1]).is_empty(), "one byte less is not the whole picture");
    }
    assert_eq!(parts.count(), 5, "an IDR every 2 s of 9 s");
}

#[test]
fn silence_decodes_to_zeros_for_every_channel_count() {
    let directory = directory("silence");
    for channels in [1, 2, 3, 4, 5, 6, 8] {
        let aac = AudioSpecificConfig::low_complexity(48_000, channels).unwrap();
        let timescale = aac.timescale();
        let at = |ticks| Timestamp::new(ticks, timescale);
        let data = silent_frame(channels).unwrap();
        let samples: Vec<_> = (0..10)
            .map(|n| Sample {
                pts: at(n * 1024),
                dts: at(n * 1024),
                duration: at(1024),
                sync: true,
                data: data.clone(),
            })
            .collect();
        let init = cmaf::init_segment(&TrackConfig::Audio { aac }).unwrap();
        let path = directory.join(format!("{channels}.mp4"));
        std::fs::write(&path, [init, cmaf::fragment(1, at(0), &samples).unwrap()].concat()).unwrap();
        let pcm =
            run("ffmpeg", &["-v", "error", "-i", path.to_str().unwrap(), "-f", "s16le", "-c:a", "pcm_s16le", "-"]);
        assert_eq!(pcm.len(), 10 * 1024 * 2 * usize::from(channels), "{channels} channels");
        assert!(pcm.iter().all(|byte| *byte == 0), "{channels} channels");
    }
}
