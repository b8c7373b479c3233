//! One rung's encoder and its thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::{Dictionary, frame};
use media::{RenditionId, Sample, Timescale, Timestamp, TrackConfig, avc};

use super::outputs::Sender;
use super::pipeline_state::PipelineState;
use super::plan::{Rung, encode_micros, threads};
use super::{Config, Error, Output, ShedReason, ffi, queue};

/// How much may wait in front of an encoder, in milliseconds. With this limit and the decoder's delay, an encoded rung stays less than
/// half of [`media::segmenter::LAG_MAX`] behind the source at any frame rate.
const QUEUE_MILLIS: u32 = 400;

/// How far x264 may look ahead, in milliseconds: 2 frames at 30 a second. All renditions wait for it, so it adds to every viewer's
/// latency. Two frames more are worth 0.1 to 0.2 dB (SSIM) at the ladder's bit rates, and `veryfast`'s other six as much again.
const LOOKAHEAD_MILLIS: u32 = 70;

/// How many pictures may wait in front of an encoder, at least and at most: 24 are 0.4 s at 60 frames a second, 75 MB of 1080p.
const QUEUE_FRAMES_MIN: u32 = 2;
pub(super) const QUEUE_FRAMES_MAX: u32 = 24;

/// Most pictures inside x264 whose times are kept; its lookahead is 10 (`veryfast`) to 40 (`medium`) frames.
const FRAMES_INSIDE_MAX: usize = 256;

/// Only we place keyframes: x264 never reaches its own limit.
const KEYFRAME_INTERVAL_FRAMES_MAX: &str = "100000";

/// What the encoder has to know of the pictures that it gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct PictureFormat {
    pub(super) pixel: ffmpeg::format::Pixel,
    pub(super) range: ffmpeg::color::Range,
    pub(super) space: ffmpeg::color::Space,
    pub(super) primaries: ffmpeg::color::Primaries,
    pub(super) transfer: ffmpeg::color::TransferCharacteristic,
    pub(super) aspect: ffmpeg::Rational,
}

/// An opened encoder.
///
/// x264 runs without B-frames: at `veryfast` 720p three of them took 1.25 times the CPU, and they delay by two to three frames. So decode
/// times are the presentation times. The time base is one frame, so that rate control and the VUI see the nominal frame rate; the exact
/// presentation times bypass x264.
pub(super) struct Encoder {
    encoder: ffmpeg::encoder::Video,
    track: TrackConfig,
    frame_rate_millihertz: u32,
    first_pts: Option<i64>,
    last_index: i64,
    inside: VecDeque<(i64, i64)>,
}

impl Encoder {
    /// Opens x264 for a rung.
    pub(super) fn open(rung: &Rung, picture: &PictureFormat, config: &Config) -> Result<Self, Error> {
        let failed = |detail: String| Error::Ffmpeg { what: "cannot open the x264 encoder", detail };
        let codec = ffmpeg::encoder::find_by_name("libx264").ok_or_else(|| failed("not built in".to_owned()))?;
        let context = ffmpeg::codec::Context::new_with_codec(codec);
        let mut video = context.encoder().video().map_err(|error| failed(error.to_string()))?;
        let frame_rate_millihertz = if rung.frame_rate_millihertz == 0 { 30_000 } else { rung.frame_rate_millihertz };
        let rate = rational(frame_rate_millihertz);
        video.set_width(rung.width);
        video.set_height(rung.height);
        video.set_format(picture.pixel);
        video.set_time_base(rate.invert());
        video.set_frame_rate(Some(rate));
        video.set_color_range(picture.range);
        video.set_colorspace(picture.space);
        video.set_color_primaries(picture.primaries);
        video.set_color_transfer_characteristic(picture.transfer);
        if picture.aspect.numerator() > 0 {
            video.set_aspect_ratio(picture.aspect);
        }
        let threads = threads(encode_micros(rung.pixel_rate(), config.preset), config.cores_found());
        let mut options = Dictionary::new();
        options.set("preset", &config.preset.to_string());
        options.set("threads", &threads.to_string());
        options.set("b", &rung.bit_rate.0.to_string());
        options.set("maxrate", &rung.max_rate().0.to_string());
        options.set("bufsize", &rung.buffer_bits().to_string());
        options.set("g", KEYFRAME_INTERVAL_FRAMES_MAX);
        options.set("keyint_min", "1");
        options.set("sc_threshold", "0");
        options.set("forced-idr", "1");
        options.set("bf", "0");
        options.set("flags", "+cgop+global_header");
        // Otherwise x264 holds every picture until the next one shows how long it lasts. The time base is one frame, so each lasts 1.
        options.set("x264-params", "force-cfr=1");
        // The fastest presets do not look ahead; for the others, this limits how far they do.
        if let Some(usual) = config.preset.lookahead_frames() {
            let lookahead = usual.min(frames(frame_rate_millihertz, LOOKAHEAD_MILLIS));
            options.set("rc-lookahead", &lookahead.to_string());
        }
        let encoder = video.open_with(options).map_err(|error| failed(error.to_string()))?;
        let avc = avc::DecoderConfig::from_annex_b_extradata(&ffi::extradata(&encoder))?;
        let track =
            TrackConfig::Video { avc, timescale: Timescale::VIDEO, frame_rate_millihertz: rung.frame_rate_millihertz };
        Ok(Self { encoder, track, frame_rate_millihertz, first_pts: None, last_index: -1, inside: VecDeque::new() })
    }

    /// The track that its init segment is made of.
    pub(super) fn track(&self) -> &TrackConfig {
        &self.track
    }

    /// Length of a frame at the nominal rate, in 90 kHz ticks.
    pub(super) fn frame_ticks(&self) -> i64 {
        90_000_000 / i64::from(self.frame_rate_millihertz)
    }

    /// Encodes a picture, or drains with `None`; hands over what comes out.
    pub(super) fn encode(
        &mut self,
        picture: Option<&frame::Video>,
        take: &mut dyn FnMut(Sample) -> bool,
    ) -> Result<(), ffmpeg::Error> {
        match picture {
            Some(picture) => {
                let pts = picture.pts().unwrap_or(0);
                let index = self.index(pts);
                // The picture is shared with other rungs: its time is set on a reference of our own.
                let mut own = ffi::reference(picture)?;
                own.set_pts(Some(index));
                if self.inside.len() >= FRAMES_INSIDE_MAX {
                    self.inside.pop_front();
                }
                self.inside.push_back((index, pts));
                self.encoder.send_frame(&own)?;
            }
            None => self.encoder.send_eof()?,
        }
        let mut packet = ffmpeg::Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            if let Some(sample) = self.sample(&packet)
                && !take(sample)
            {
                break;
            }
        }
        Ok(())
    }

    /// Number of the frame at `pts` at the nominal rate, strictly rising.
    fn index(&mut self, pts: i64) -> i64 {
        let first = *self.first_pts.get_or_insert(pts);
        let scaled = i128::from(pts - first) * i128::from(self.frame_rate_millihertz);
        let per_frame = 90_000_i128 * 1_000;
        let nearest = i64::try_from((2 * scaled + per_frame).div_euclid(2 * per_frame)).unwrap_or(i64::MAX - 1);
        self.last_index = nearest.max(self.last_index + 1);
        self.last_index
    }

    fn sample(&mut self, packet: &ffmpeg::Packet) -> Option<Sample> {
        let index = packet.pts()?;
        while self.inside.front().is_some_and(|(inside, _)| *inside < index) {
            self.inside.pop_front();
        }
        let (_, pts) = self.inside.pop_front().filter(|(inside, _)| *inside == index)?;
        let data: Bytes = avc::annex_b_to_length_prefixed(packet.data()?);
        let pts = Timestamp::new(pts, Timescale::VIDEO);
        let duration = Timestamp::new(self.frame_ticks(), Timescale::VIDEO);
        Some(Sample { pts, dts: pts, duration, sync: packet.is_key(), data })
    }
}

const fn frames(frame_rate_millihertz: u32, millis: u32) -> u32 {
    (frame_rate_millihertz / 1_000).saturating_mul(millis) / 1_000
}

/// Frames per 1000 seconds as FFmpeg writes frame rates: the NTSC ones exactly.
pub(super) fn rational(frame_rate_millihertz: u32) -> ffmpeg::Rational {
    let exact = match frame_rate_millihertz {
        23_976 => Some((24_000, 1_001)),
        29_970 => Some((30_000, 1_001)),
        59_940 => Some((60_000, 1_001)),
        _ => None,
    };
    let (numerator, denominator) =
        exact.unwrap_or_else(|| (i32::try_from(frame_rate_millihertz).unwrap_or(30_000), 1_000));
    ffmpeg::Rational::new(numerator, denominator).reduce()
}

/// The feed thread's end of an encoder thread.
pub(super) struct EncoderThread {
    pub(super) queue: queue::Sender<Arc<frame::Video>>,
    thread: JoinHandle<Option<String>>,
}

impl EncoderThread {
    /// Starts the thread of an opened encoder.
    pub(super) fn spawn(
        rendition: RenditionId,
        encoder: Encoder,
        handicap: Option<Duration>,
        output: Sender,
        shared: Arc<PipelineState>,
    ) -> Result<Self, Error> {
        let depth = frames(encoder.frame_rate_millihertz, QUEUE_MILLIS).clamp(QUEUE_FRAMES_MIN, QUEUE_FRAMES_MAX);
        let (sender, receiver) = queue::bounded(usize::try_from(depth).unwrap_or(1));
        let name = format!("encode-{rendition}");
        let thread = std::thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn(move || run(&rendition, encoder, &receiver, handicap, &output, &shared))
            .map_err(|error| Error::Thread(format!("cannot start an encoder thread: {error}")))?;
        Ok(Self { queue: sender, thread })
    }

    /// Ends the input and waits until all samples are out. Returns what failed, if anything did.
    pub(super) fn finish(self) -> Option<String> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|_| Some("the encoder thread panicked".to_owned()))
    }

    /// Gives the encoder up: what is queued and inside is dropped. Waits for the picture that it is working on, so that no sample
    /// follows.
    pub(super) fn give_up(self) -> Option<String> {
        self.queue.close();
        self.finish()
    }
}

/// The thread. Ends when the queue does; the rest inside the encoder is drained unless the queue was closed.
fn run(
    rendition: &RenditionId,
    mut encoder: Encoder,
    queue: &queue::Receiver<Arc<frame::Video>>,
    handicap: Option<Duration>,
    output: &Sender,
    shared: &PipelineState,
) -> Option<String> {
    let mut take = |sample| {
        let sent = output.send(Output::Sample { rendition: rendition.clone(), sample }).is_ok();
        if !sent {
            shared.abort();
        }
        sent
    };
    while let Some(picture) = queue.receive() {
        if let Some(delay) = handicap {
            std::thread::sleep(delay);
        }
        if shared.aborted() {
            return None;
        }
        if let Err(error) = encoder.encode(Some(&picture), &mut take) {
            return Some(error.to_string());
        }
    }
    if queue.closed() || shared.aborted() {
        return None;
    }
    encoder.encode(None, &mut take).err().map(|error| error.to_string())
}

/// Why a rung whose thread refused a picture is shed.
pub(super) const fn refusal_reason<T>(refused: &queue::Refused<T>) -> ShedReason {
    match refused {
        queue::Refused::Full(_) => ShedReason::EncoderStuck,
        queue::Refused::Closed => ShedReason::EncoderFailed,
    }
}
