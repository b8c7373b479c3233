//! Runs a file through the pipeline, for benchmarks and for checks by hand.

use std::path::Path;
use std::time::Duration;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use media::{RenditionId, Timescale, Timestamp, aac, av1, avc, hevc};

use super::{AudioFormat, AudioPacket, Config, Counters, Error, Input, Output, Pace, VideoFormat, VideoPacket};

/// Scheduler ticks a second in /proc on every Linux that FFmpeg runs on (USER_HZ).
const PROC_TICKS_PER_SECOND: u64 = 100;

/// All times of a file are shifted by this, so that decode times before zero stay positive; 90 kHz ticks.
const BASE_OFFSET_TICKS: i64 = 900_000;

/// What came out of a file.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// CPU time that this process spent meanwhile, user and system, to 10 ms. Zero where there is no /proc.
    pub cpu: Duration,
    /// Length of the input.
    pub media: Duration,
    /// Samples and bytes of each rendition, in the order of the tracks; of all runs together.
    pub renditions: Vec<(RenditionId, u64, u64)>,
    pub shed: Vec<RenditionId>,
    pub counters: Counters,
}

/// Feeds a file (H.264, HEVC or AV1 in MP4, or H.264 in FLV, with or without AAC) through a pipeline as fast as it goes and returns what
/// came out and what it cost. Always uses [`Pace::Wait`]. Blocks; call it from a thread.
pub fn encode_file(path: &Path, config: &Config) -> Result<Measured, Error> {
    let config = Config { pace: Pace::Wait, ..config.clone() };
    let inputs = read_file(path)?;
    let last =
        inputs.iter().filter_map(|input| if let Input::Video(packet) = input { Some(packet.dts) } else { None }).max();
    let before = cpu_time();
    let (pipeline_input, mut outputs) = super::start(config)?;
    let reader = std::thread::spawn(move || {
        let mut measured = Measured::default();
        let mut failure = None;
        while let Some(output) = outputs.blocking_recv() {
            match output {
                Output::Tracks(tracks) => {
                    for track in tracks {
                        if !measured.renditions.iter().any(|(name, ..)| *name == track.rendition) {
                            measured.renditions.push((track.rendition, 0, 0));
                        }
                    }
                }
                Output::Sample { rendition, sample } => {
                    if let Some(entry) = measured.renditions.iter_mut().find(|(name, ..)| *name == rendition) {
                        entry.1 += 1;
                        entry.2 += u64::try_from(sample.data.len()).unwrap_or(0);
                    }
                }
                Output::Shed { rendition, .. } => measured.shed.push(rendition),
                Output::Failed(error) => failure = Some(error),
                Output::Restored { .. } | Output::Break(_) | Output::Ended => {}
            }
        }
        failure.map_or(Ok(measured), Err)
    });
    for input in inputs {
        if pipeline_input.send_blocking(input).is_err() {
            break;
        }
    }
    let shared = std::sync::Arc::clone(&pipeline_input.shared);
    drop(pipeline_input);
    let outcome = reader.join().map_err(|_| Error::Thread("the reader panicked".to_owned()))?;
    let mut measured = outcome?;
    measured.cpu = cpu_time().saturating_sub(before);
    measured.media = last
        .map_or(Duration::ZERO, |last| last.minus(Timestamp::new(BASE_OFFSET_TICKS, Timescale::VIDEO)).as_duration());
    measured.counters = shared.counters();
    Ok(measured)
}

/// Reads a file's packets as pipeline inputs.
pub fn read_file(path: &Path) -> Result<Vec<Input>, Error> {
    let failed = |error: ffmpeg::Error| Error::Ffmpeg { what: "cannot read the file", detail: error.to_string() };
    ffmpeg::init().map_err(failed)?;
    let mut file = ffmpeg::format::input(path).map_err(failed)?;
    let mut inputs = Vec::new();
    let mut streams = Vec::new();
    for stream in file.streams() {
        let extradata = super::ffi::parameters_extradata(&stream.parameters());
        let base = stream.time_base();
        match stream.parameters().id() {
            ffmpeg::codec::Id::H264 => {
                inputs.push(Input::VideoConfig(VideoFormat::Avc(avc::DecoderConfig::parse(&extradata)?)));
            }
            ffmpeg::codec::Id::HEVC => {
                inputs.push(Input::VideoConfig(VideoFormat::Hevc(hevc::DecoderConfig::parse(&extradata)?)));
            }
            ffmpeg::codec::Id::AV1 => {
                inputs.push(Input::VideoConfig(VideoFormat::Av1(av1::DecoderConfig::parse(&extradata)?)));
            }
            ffmpeg::codec::Id::AAC => {
                let aac = aac::AudioSpecificConfig::parse(&extradata)?;
                inputs.push(Input::AudioConfig(AudioFormat::Aac(aac)));
            }
            ffmpeg::codec::Id::MP3 => inputs.push(Input::AudioConfig(AudioFormat::Mp3)),
            _ => continue,
        }
        let video = stream.parameters().medium() == ffmpeg::media::Type::Video;
        streams.push((stream.index(), video, base));
    }
    let mut packet = ffmpeg::Packet::empty();
    while packet.read(&mut file).is_ok() {
        let Some((_, video, base)) = streams.iter().find(|(index, ..)| *index == packet.stream()) else { continue };
        let Some(data) = packet.data().map(Bytes::copy_from_slice) else { continue };
        let at = |ticks: i64| {
            let (numerator, denominator) = (i128::from(base.numerator()), i128::from(base.denominator()).max(1));
            let scaled = i128::from(ticks) * numerator * 90_000 / denominator;
            Timestamp::new(i64::try_from(scaled).unwrap_or(0) + BASE_OFFSET_TICKS, Timescale::VIDEO)
        };
        let dts = at(packet.dts().or_else(|| packet.pts()).unwrap_or(0));
        let pts = packet.pts().map_or(dts, at);
        inputs.push(if *video {
            Input::Video(VideoPacket { pts, dts, data })
        } else {
            Input::Audio(AudioPacket { pts, data })
        });
        packet = ffmpeg::Packet::empty();
    }
    Ok(inputs)
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; the fields after it are counted from 3 (proc(5)).
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / PROC_TICKS_PER_SECOND)
}
