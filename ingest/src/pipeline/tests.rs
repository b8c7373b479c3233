//! The pipeline on real media, made by the `ffmpeg` command when the tests run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use media::segmenter::RenditionConfig;
use media::{RenditionId, Sample, cmaf};
use tempfile::TempDir;

use super::*;

mod again;
mod clocks;
mod codecs;
mod he_aac;
mod keyframes;
mod pauses;
mod shedding;
mod sound;
mod tags;

/// A short clip. `options` go to the encoder; sound is AAC-LC unless `options` say otherwise.
fn clip(directory: &TempDir, name: &str, picture: &str, options: &str) -> PathBuf {
    let path = directory.path().join(name);
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        "sine=440:sample_rate=48000",
    ]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]);
    command.args(options.split_whitespace()).arg(&path);
    let output = command.output().expect("ffmpeg is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn config(rungs: &[u32], pass_through: PassThrough) -> Config {
    let rung = |&short_side| RungConfig { short_side, kbit_per_second: None };
    let rungs = (!rungs.is_empty()).then(|| rungs.iter().map(rung).collect());
    Config { rungs, pass_through, pace: Pace::Wait, preset: Preset::Ultrafast, cores: 2, ..Config::default() }
}

/// The outputs of one run.
#[derive(Debug, Default)]
struct Seen {
    tracks: Vec<RenditionConfig>,
    samples: Vec<(RenditionId, Sample)>,
    shed: Vec<(String, ShedReason)>,
    restored: Vec<String>,
    end: Option<String>,
    broke: Option<BreakReason>,
}

impl Seen {
    fn of(&self, rendition: &str) -> Vec<&Sample> {
        self.samples.iter().filter(|(name, _)| name.as_str() == rendition).map(|(_, sample)| sample).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.tracks.iter().map(|track| track.rendition.as_str()).collect()
    }

    fn videos(&self) -> Vec<&str> {
        self.names().into_iter().filter(|name| *name != AUDIO_RENDITION).collect()
    }

    fn pts(&self, rendition: &str) -> BTreeSet<i64> {
        self.of(rendition).iter().map(|sample| sample.pts.ticks).collect()
    }

    fn all_idrs(&self, rendition: &str) -> Vec<i64> {
        self.of(rendition).iter().filter(|sample| sample.sync).map(|sample| sample.pts.ticks).collect()
    }

    /// IDRs that the first rendition has, too. Beside a source that is passed through, encoded renditions have more.
    fn idrs(&self, rendition: &str) -> Vec<i64> {
        let first = self.videos().first().map(|first| self.all_idrs(first)).unwrap_or_default();
        self.all_idrs(rendition).into_iter().filter(|pts| first.contains(pts)).collect()
    }

    /// Checks what every rendition of every run has to be.
    fn check(&self, directory: &TempDir) {
        for track in &self.tracks {
            let name = track.rendition.as_str();
            let samples = self.of(name);
            assert!(!samples.is_empty(), "{name} has no samples");
            assert!(samples[0].sync, "{name} starts with a sync sample");
            assert!(samples.iter().all(|sample| sample.dts.ticks >= 0));
            assert!(samples.windows(2).all(|pair| pair[0].dts < pair[1].dts), "{name}: decode times rise");
            decodes(directory, track, &samples);
        }
    }
}

/// Checks that `ffmpeg` decodes a rendition, as it would be packaged, without a warning.
fn decodes(directory: &TempDir, track: &RenditionConfig, samples: &[&Sample]) {
    let mut samples: Vec<Sample> = samples.iter().map(|sample| (*sample).clone()).collect();
    for index in 1..samples.len() {
        samples[index - 1].duration = samples[index].dts.minus(samples[index - 1].dts);
    }
    let mut file = cmaf::init_segment(&track.track).unwrap().to_vec();
    file.extend_from_slice(&cmaf::fragment(1, samples[0].dts, &samples).unwrap());
    let path = directory.path().join(format!("{}.mp4", track.rendition));
    std::fs::write(&path, file).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(&path)
        .args(["-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{}: {said}", track.rendition);
}

/// Feeds inputs through a pipeline; returns its runs.
fn feed(config: Config, inputs: Vec<Input>) -> (Vec<Seen>, Counters) {
    let (pipeline_input, mut outputs) = start(config).unwrap();
    let shared = Arc::clone(&pipeline_input.shared);
    let sender =
        std::thread::spawn(move || inputs.into_iter().try_for_each(|input| pipeline_input.send_blocking(input)));
    let mut runs: Vec<Seen> = Vec::new();
    while let Some(output) = outputs.blocking_recv() {
        see(&mut runs, output);
    }
    sender.join().unwrap().ok();
    (runs, shared.counters())
}

/// As live as possible without a clock: sends three seconds, and then stays at most 133 ms ahead of the output of a rendition.
fn feed_live(
    (pipeline_input, mut outputs): (PipelineInput, Outputs),
    inputs: Vec<Input>,
    rendition: &str,
) -> Vec<Seen> {
    let time = |input: &Input| if let Input::Video(packet) = input { Some(ticks(packet.dts)) } else { None };
    let mut until = inputs.iter().find_map(time).unwrap() + 3 * 90_000;
    let (mut pipeline_input, mut inputs, mut runs) = (Some(pipeline_input), inputs.into_iter().peekable(), Vec::new());
    while runs.last().is_none_or(|run: &Seen| run.end.is_none()) {
        while let Some(input) = inputs.next_if(|input| time(input).is_none_or(|at| at < until)) {
            pipeline_input.as_ref().unwrap().send_blocking(input).unwrap();
        }
        if inputs.peek().is_none() {
            pipeline_input = None;
        }
        let Some(output) = outputs.blocking_recv() else { break };
        if let Output::Sample { rendition: name, sample } = &output
            && name.as_str() == rendition
        {
            until = until.max(sample.pts.ticks + 12_000);
        }
        see(&mut runs, output);
    }
    runs
}

fn see(runs: &mut Vec<Seen>, output: Output) {
    if matches!(output, Output::Tracks(_)) || runs.is_empty() {
        runs.push(Seen::default());
    }
    let run = runs.last_mut().unwrap();
    match output {
        Output::Tracks(tracks) => run.tracks = tracks,
        Output::Sample { rendition, sample } => {
            assert!(run.broke.is_none(), "a sample after the break");
            run.samples.push((rendition, sample));
        }
        Output::Shed { rendition, reason } => run.shed.push((rendition.to_string(), reason)),
        Output::Restored { rendition } => run.restored.push(rendition.to_string()),
        Output::Break(reason) => run.broke = Some(reason),
        Output::Ended => run.end = Some("ended".to_owned()),
        Output::Failed(error) => run.end = Some(error.to_string()),
    }
}

fn one(mut runs: Vec<Seen>) -> Seen {
    assert_eq!(runs.len(), 1, "{:?}", runs.iter().map(|run| &run.broke).collect::<Vec<_>>());
    let run = runs.remove(0);
    assert_eq!(run.end.as_deref(), Some("ended"));
    run
}

fn source_packets(path: &Path) -> Vec<VideoPacket> {
    let inputs = read_file(path).unwrap();
    inputs.into_iter().filter_map(|input| if let Input::Video(packet) = input { Some(packet) } else { None }).collect()
}

fn source_pts(path: &Path) -> BTreeSet<i64> {
    source_packets(path).iter().map(|packet| ticks(packet.pts)).collect()
}

#[test]
fn encoded_rungs_decode_and_have_their_idrs_together() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=640x360:rate=30:duration=6.5", "-bf 3 -g 75");
    let run = one(feed(config(&[360, 240, 144], PassThrough::Never), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["360p", "240p", "144p", "audio"]);
    run.check(&directory);
    let start = run.idrs("360p")[0];
    let grid: Vec<i64> = (0..7).map(|index| start + index * 90_000).collect();
    for name in run.videos() {
        assert_eq!(run.all_idrs(name), grid, "{name}: an IDR every second, whatever the source had");
        assert_eq!(run.pts(name), source_pts(&path), "{name}: every picture at its own time");
    }
    for track in run.tracks.iter().filter(|track| track.track.is_video()) {
        let media::Format::Video { width, height, frame_rate_millihertz } = track.track.format() else { panic!() };
        assert!(width <= 640 && height <= 360 && width % 2 == 0 && height % 2 == 0);
        assert_eq!(frame_rate_millihertz, 30_000);
        let bits: usize = run.of(track.rendition.as_str()).iter().map(|sample| sample.data.len() * 8).sum();
        let per_second = u64::try_from(bits).unwrap() * 10 / 65;
        assert!(per_second * 100 < track.bandwidth_peak.0 * 125, "{}: {per_second} bit/s", track.rendition);
    }
    let sound = run.of("audio");
    assert!((sound[0].pts.rescale(Timescale::VIDEO).ticks - start).abs() <= 2_000, "the sound starts with the picture");
    assert!(sound.windows(2).all(|pair| pair[0].pts.plus(pair[0].duration) == pair[1].pts), "without a hole");
}

#[test]
fn passed_through_source_keeps_its_bytes_and_sets_the_idrs() {
    let directory = TempDir::new().unwrap();
    // B-frames, and keyframes at odd distances.
    let options = "-preset veryfast -bf 2 -g 60 -force_key_frames 0,1.5,2.7,4";
    let path = clip(&directory, "in.flv", "testsrc2=size=640x360:rate=30:duration=5", options);
    let run = one(feed(config(&[240, 144], PassThrough::Auto), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["360p", "240p", "144p", "audio"]);
    run.check(&directory);
    let source = source_packets(&path);
    let passed = run.of("360p");
    assert_eq!(passed.len(), source.len());
    for (sample, packet) in passed.iter().zip(&source) {
        assert_eq!((sample.pts, sample.dts), (packet.pts, packet.dts));
        // FLV from ffmpeg repeats no parameter sets in band, so the bytes are the same.
        assert_eq!(sample.data, packet.data);
    }
    let idrs = run.idrs("360p");
    assert!(idrs.len() >= 4, "{idrs:?}");
    assert_eq!(run.idrs("240p"), idrs);
    assert_eq!(run.idrs("144p"), idrs);
    let encoded = run.all_idrs("240p");
    assert!(encoded.windows(2).all(|pair| pair[1] - pair[0] <= 91_500), "none is further than a second: {encoded:?}");
    assert!(encoded.len() > idrs.len(), "{encoded:?}");
    assert_eq!(run.all_idrs("144p"), encoded);
    assert_eq!(run.pts("144p"), run.pts("360p"));
}

#[test]
fn ntsc_stamps_in_milliseconds_are_kept_and_idrs_do_not_drift() {
    let directory = TempDir::new().unwrap();
    let picture = "testsrc2=size=320x180:rate=30000/1001:duration=8.5";
    let path = clip(&directory, "in.flv", picture, "-bf 0 -g 250 -keyint_min 250");
    let run = one(feed(config(&[180, 90], PassThrough::Auto), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["180p", "90p", "audio"]);
    run.check(&directory);
    assert_eq!(run.pts("180p"), source_pts(&path));
    assert_eq!(run.all_idrs("180p"), run.all_idrs("90p"));
    let idrs = run.idrs("90p");
    assert_eq!(idrs.len(), 9);
    for (index, idr) in idrs.iter().enumerate() {
        let grid = idrs[0] + i64::try_from(index).unwrap() * 90_000;
        assert!((idr - grid).abs() <= 1_600, "IDR {index} is {} ticks off", idr - grid);
    }
    let TrackConfigFormat { rate, .. } = format_of(&run.tracks[0]);
    assert_eq!(rate, 29_970);
}

struct TrackConfigFormat {
    size: (u32, u32),
    rate: u32,
}

fn format_of(track: &RenditionConfig) -> TrackConfigFormat {
    let media::Format::Video { width, height, frame_rate_millihertz } = track.track.format() else { panic!("video") };
    TrackConfigFormat { size: (width, height), rate: frame_rate_millihertz }
}

#[test]
fn small_rungs_of_60_fps_have_half_the_pictures_and_all_the_idrs() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=60:duration=5", "-bf 2 -g 61");
    let run = one(feed(config(&[90], PassThrough::Auto), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["180p", "90p", "audio"]);
    run.check(&directory);
    assert_eq!(run.idrs("90p"), run.idrs("180p"));
    let (all, half) = (run.of("180p").len(), run.of("90p").len());
    assert!((all / 2..=all / 2 + 10).contains(&half), "{half} of {all}");
    assert_eq!(format_of(&run.tracks[1]).rate, 30_000);
}

#[test]
fn portrait_and_variable_frame_rate_keep_shape_and_times() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("in.mp4");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=206x362:rate=30:duration=5"])
        // Every seventh and every second picture of some seconds is missing.
        .args(["-vf", "select='mod(n,7)*if(between(t,1,3),mod(n,2),1)'", "-fps_mode", "vfr", "-c:v", "libx264"])
        .args(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = one(feed(config(&[206, 120], PassThrough::Never), read_file(&path).unwrap()).0);
    assert_eq!(run.names(), ["206p", "120p"], "no sound, no rendition of it");
    run.check(&directory);
    assert_eq!(format_of(&run.tracks[1]).size, (120, 210));
    assert_eq!(run.pts("120p"), source_pts(&path));
    assert_eq!(run.idrs("206p"), run.idrs("120p"));
}

#[test]
fn another_picture_size_is_a_break_and_a_new_run() {
    let directory = TempDir::new().unwrap();
    let first = clip(&directory, "a.mp4", "testsrc2=size=320x180:rate=25:duration=3", "-g 50");
    let second = clip(&directory, "b.mp4", "testsrc2=size=256x256:rate=25:duration=3", "-g 50");
    let mut inputs = read_file(&first).unwrap();
    let later = Timestamp::new(3_000, Timescale::MILLIS);
    inputs.extend(read_file(&second).unwrap().into_iter().map(|input| shifted(input, later)));
    let (runs, _) = feed(config(&[120], PassThrough::Auto), inputs);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].broke, Some(BreakReason::VideoFormat));
    assert_eq!((runs[0].names(), runs[1].names()), (vec!["180p", "120p", "audio"], vec!["256p", "120p", "audio"]));
    for run in &runs {
        run.check(&directory);
        assert_eq!(run.idrs(run.videos()[0]), run.idrs("120p"));
    }
    assert_eq!(runs[0].of("120p").len() + runs[1].of("120p").len(), 150, "no picture is lost on the way");
}

fn shifted(input: Input, by: Timestamp) -> Input {
    match input {
        Input::Video(packet) => {
            Input::Video(VideoPacket { pts: packet.pts.plus(by), dts: packet.dts.plus(by), data: packet.data })
        }
        Input::Audio(packet) => Input::Audio(AudioPacket { pts: packet.pts.plus(by), data: packet.data }),
        other => other,
    }
}

#[test]
fn source_that_stops_having_keyframes_is_encoded_from_there() {
    let directory = TempDir::new().unwrap();
    let options = "-bf 2 -g 1000 -keyint_min 1000 -sc_threshold 0 -force_key_frames 0,1,2,3";
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=10", options);
    let (runs, _) = feed(config(&[180, 90], PassThrough::Auto), read_file(&path).unwrap());
    assert_eq!(runs.len(), 2);
    assert!(matches!(runs[0].broke, Some(BreakReason::KeyframesIrregular(4_200..=4_400))), "{:?}", runs[0].broke);
    assert_eq!((runs[0].names(), runs[1].names()), (vec!["180p", "90p", "audio"], vec!["180p", "90p", "audio"]));
    runs.iter().for_each(|run| run.check(&directory));
    assert_eq!(runs[1].idrs("180p"), runs[1].idrs("90p"));
    let (before, after) = (runs[0].pts("180p"), runs[1].pts("180p"));
    assert!(before.last() < after.first(), "no picture is shown twice");
    let missing: Vec<i64> =
        source_pts(&path).into_iter().filter(|pts| !before.contains(pts) && !after.contains(pts)).collect();
    assert!(missing.len() <= 3, "only those that were reordered around the break: {missing:?}");
    assert!(runs[1].of("audio").windows(2).all(|pair| pair[0].pts.plus(pair[0].duration) == pair[1].pts));
}

#[test]
fn run_that_is_given_up_breaks_and_the_next_one_is_encoded() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=8", "-bf 0 -g 30 -keyint_min 30");
    let (pipeline_input, mut outputs) = start(config(&[180], PassThrough::Auto)).unwrap();
    let mut inputs = read_file(&path).unwrap().into_iter();
    let mut runs = Vec::new();
    // The run begins before half of the input is there, and has made some progress when it is given up.
    for input in inputs.by_ref().take(400) {
        pipeline_input.send_blocking(input).unwrap();
        while let Some(output) = outputs.try_recv() {
            see(&mut runs, output);
        }
    }
    while runs.first().is_none_or(|run: &Seen| run.samples.is_empty()) {
        see(&mut runs, outputs.blocking_recv().unwrap());
    }
    pipeline_input.encode_anew(1);
    let sender = std::thread::spawn(move || inputs.try_for_each(|input| pipeline_input.send_blocking(input)));
    while let Some(output) = outputs.blocking_recv() {
        see(&mut runs, output);
    }
    sender.join().unwrap().ok();
    assert_eq!(runs.len(), 2);
    assert!(matches!(runs[0].broke, Some(BreakReason::Unsegmentable)), "{:?}", runs[0].broke);
    let bytes = |run: &Seen| run.of("180p").iter().map(|sample| sample.data.clone()).collect::<BTreeSet<_>>();
    assert!(bytes(&runs[0]).is_disjoint(&bytes(&runs[1])) && !bytes(&runs[1]).is_empty(), "encoded anew");
    runs.iter().for_each(|run| run.check(&directory));
}

#[test]
fn encoded_rung_stays_near_a_slow_source() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=8:duration=12", "-g 16 -bf 0");
    for preset in [Preset::Veryfast, Preset::Medium] {
        let config = Config { preset, ..config(&[90], PassThrough::Auto) };
        let run = one(feed(config, read_file(&path).unwrap()).0);
        let mut newest = [None; 2];
        for (name, sample) in &run.samples {
            let index = usize::from(name.as_str() == "90p");
            if name.as_str() != AUDIO_RENDITION {
                newest[index] = Some(sample.pts.ticks);
            }
            let start = run.idrs("180p")[0];
            let lag = newest[0].unwrap_or(start) - newest[1].unwrap_or(start);
            // The segmenter sheds a rendition that is 2 s behind; half of that is reserved for a busy machine.
            assert!(lag <= 90_000 * 5 / 4, "{preset}: {lag} ticks behind");
        }
    }
}

#[test]
fn garbage_is_counted_and_survived() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 30 -bf 2");
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap()
    };
    let mut inputs = read_file(&path).unwrap();
    for input in &mut inputs {
        let data = match input {
            Input::Video(packet) => &mut packet.data,
            Input::Audio(packet) => &mut packet.data,
            _ => continue,
        };
        let mut bytes = data.to_vec();
        match next() % 8 {
            0 => bytes.truncate(next() % bytes.len().max(1)),
            1 => (0..20).for_each(|_| {
                let at = next() % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }),
            2 => bytes = (0..next() % 300).map(|_| u8::try_from(next() % 256).unwrap()).collect(),
            _ => {}
        }
        *data = Bytes::from(bytes);
    }
    for pass_through in [PassThrough::Never, PassThrough::Auto] {
        let (runs, counters) = feed(config(&[180, 90], pass_through), inputs.clone());
        assert_eq!(runs.last().and_then(|run| run.end.as_deref()), Some("ended"));
        assert!(counters.packets_refused > 0, "{counters:?}");
        for run in &runs {
            let idrs = run.idrs("90p");
            assert_eq!(idrs, run.idrs(run.videos()[0]), "aligned even when the source's IDR is lost");
        }
    }
}

#[test]
fn lost_source_idr_is_stood_in_for_at_its_time() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 30 -bf 0");
    let mut inputs = read_file(&path).unwrap();
    let Some(Input::VideoConfig(format)) = inputs.iter().find(|input| matches!(input, Input::VideoConfig(_))).cloned()
    else {
        panic!("a picture")
    };
    let idrs = inputs.iter_mut().filter_map(|input| match input {
        Input::Video(packet) if format.is_sync(&packet.data) => Some(packet),
        _ => None,
    });
    let mut idrs: Vec<_> = idrs.collect();
    assert_eq!(idrs.len(), 6);
    // This is an IDR by its header, with no content.
    idrs[3].data = Bytes::from_static(&[0, 0, 0, 3, 0x65, 0x80, 0x00]);
    let (runs, counters) = feed(config(&[180, 90], PassThrough::Auto), inputs);
    let run = one(runs);
    assert!(counters.packets_refused > 0);
    assert_eq!(run.idrs("180p").len(), 6);
    assert_eq!(run.idrs("90p"), run.idrs("180p"));
    let missing = run.pts("180p").difference(&run.pts("90p")).count();
    assert!(missing <= 2, "{missing} pictures are missing");
}

#[test]
fn dropped_receiver_stops_the_threads() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 30");
    let (pipeline_input, outputs) = start(config(&[180, 90], PassThrough::Never)).unwrap();
    drop(outputs);
    let mut inputs = read_file(&path).unwrap().into_iter().cycle();
    // Sooner or later the pipeline takes no more input; otherwise this test would not end.
    while pipeline_input.send_blocking(inputs.next().unwrap()) == Ok(()) {}
}
