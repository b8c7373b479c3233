//! Sound that cannot be passed through: decoded, resampled to 48 kHz stereo, encoded as AAC-LC.

use std::collections::VecDeque;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::format::Sample as SampleFormat;
use ffmpeg::format::sample::Type;
use ffmpeg::software::resampling;
use ffmpeg::{ChannelLayout, codec, frame};
use media::aac::AudioSpecificConfig;
use media::{Timescale, Timestamp};

use super::{AudioFormat, AudioPacket, Error, ffi};

/// Output rate in Hz.
const SAMPLE_RATE_HZ: u32 = 48_000;

/// Output rate in bit/s.
pub(super) const BITS_PER_SECOND: u64 = 128_000;

/// Samples of one channel that an AAC frame takes.
const FRAME_SAMPLES: usize = 1_024;

/// Samples of one channel that may wait for a full frame: one second. More than a frame waits only inside [`Transcoder::push`].
const WAITING_SAMPLES_MAX: usize = 48_000;

/// A stamp counts again when it is further than this from the time that the samples give, in output samples: 50 ms.
const STAMP_SKEW_MAX: i64 = 2_400;

const FORMAT: SampleFormat = SampleFormat::F32(Type::Planar);

/// A decoder, a resampler and an encoder in a row.
pub(super) struct Transcoder {
    decoder: ffmpeg::decoder::Audio,
    resampler: Option<(resampling::Context, (SampleFormat, u32, u64))>,
    encoder: ffmpeg::encoder::Audio,
    /// Samples that wait, one queue a channel.
    waiting: [VecDeque<f32>; 2],
    /// Time of the first sample that waits, in output samples.
    at: Option<i64>,
}

fn failed(what: &'static str) -> impl Fn(ffmpeg::Error) -> Error {
    move |error| Error::Ffmpeg { what, detail: error.to_string() }
}

fn timescale() -> Timescale {
    Timescale::new(SAMPLE_RATE_HZ).unwrap_or(Timescale::MILLIS)
}

impl Transcoder {
    /// Opens the decoder of `format` and the AAC encoder. Errors when FFmpeg lacks one of them.
    pub(super) fn open(format: &AudioFormat) -> Result<Self, Error> {
        let (id, extradata) = match format {
            AudioFormat::Aac(aac) => (codec::Id::AAC, aac.encode()),
            AudioFormat::Mp3 => (codec::Id::MP3, Bytes::new()),
        };
        let missing = |what| Error::Ffmpeg { what, detail: "not built in".to_owned() };
        let codec = ffmpeg::decoder::find(id).ok_or_else(|| missing("cannot open the sound decoder"))?;
        let context = ffi::context_with_extradata(codec, &extradata)?;
        let decoder = context.decoder().audio().map_err(failed("cannot open the sound decoder"))?;
        let codec = ffmpeg::encoder::find_by_name("aac").ok_or_else(|| missing("cannot open the AAC encoder"))?;
        let mut encoder =
            codec::Context::new_with_codec(codec).encoder().audio().map_err(failed("cannot open the AAC encoder"))?;
        encoder.set_rate(i32::try_from(SAMPLE_RATE_HZ).unwrap_or(48_000));
        encoder.set_channel_layout(ChannelLayout::STEREO);
        encoder.set_channels(2);
        encoder.set_format(FORMAT);
        encoder.set_time_base(ffmpeg::Rational(1, i32::try_from(SAMPLE_RATE_HZ).unwrap_or(48_000)));
        encoder.set_bit_rate(usize::try_from(BITS_PER_SECOND).unwrap_or(128_000));
        encoder.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder = encoder.open().map_err(failed("cannot open the AAC encoder"))?;
        Ok(Self { decoder, resampler: None, encoder, waiting: Default::default(), at: None })
    }

    /// Configuration of what comes out.
    pub(super) fn config(&self) -> Result<AudioSpecificConfig, Error> {
        Ok(AudioSpecificConfig::parse(&ffi::extradata(&self.encoder))?)
    }

    /// Takes a frame and returns AAC frames with their times. A frame that cannot be decoded leaves a hole, which the audio clock fills.
    pub(super) fn push(&mut self, packet: &AudioPacket) -> Vec<(Timestamp, Bytes)> {
        let stamp = packet.pts.rescale(timescale()).ticks;
        let mut raw = ffmpeg::Packet::copy(&packet.data);
        raw.set_pts(Some(stamp));
        if self.decoder.send_packet(&raw).is_err() {
            return Vec::new();
        }
        let mut out = Vec::new();
        let mut frame = frame::Audio::empty();
        while self.decoder.receive_frame(&mut frame).is_ok() {
            let at = frame.pts().unwrap_or(stamp);
            if self.resample(&frame, at).is_ok() {
                self.encode(&mut out);
            }
        }
        out
    }

    fn resample(&mut self, frame: &frame::Audio, at: i64) -> Result<(), ffmpeg::Error> {
        let layout = if frame.channel_layout().is_empty() {
            ChannelLayout::default(i32::from(frame.channels()))
        } else {
            frame.channel_layout()
        };
        let from = (frame.format(), frame.rate(), layout.bits());
        if self.resampler.as_ref().is_none_or(|(_, before)| *before != from) {
            let to = (FORMAT, ChannelLayout::STEREO, SAMPLE_RATE_HZ);
            let context = resampling::Context::get(frame.format(), layout, frame.rate(), to.0, to.1, to.2)?;
            self.resampler = Some((context, from));
        }
        let Some((context, _)) = &mut self.resampler else { return Ok(()) };
        let mut input = ffi::audio_reference(frame)?;
        input.set_channel_layout(layout);
        let mut output = frame::Audio::empty();
        context.run(&input, &mut output)?;
        let [left, right] = &mut self.waiting;
        let expected = self.at.map(|first| first + i64::try_from(left.len()).unwrap_or(0));
        if expected.is_none_or(|expected| expected.abs_diff(at) > STAMP_SKEW_MAX.unsigned_abs()) {
            left.clear();
            right.clear();
            self.at = Some(at);
        }
        let room = WAITING_SAMPLES_MAX.saturating_sub(left.len()).min(output.samples());
        if output.planes() >= 2 {
            left.extend(output.plane::<f32>(0).iter().take(room));
            right.extend(output.plane::<f32>(1).iter().take(room));
        }
        Ok(())
    }

    fn encode(&mut self, out: &mut Vec<(Timestamp, Bytes)>) {
        while self.waiting.iter().all(|channel| channel.len() >= FRAME_SAMPLES) {
            let mut frame = frame::Audio::new(FORMAT, FRAME_SAMPLES, ChannelLayout::STEREO);
            frame.set_rate(SAMPLE_RATE_HZ);
            frame.set_pts(self.at);
            for (index, channel) in self.waiting.iter_mut().enumerate() {
                for (place, sample) in frame.plane_mut::<f32>(index).iter_mut().zip(channel.drain(..FRAME_SAMPLES)) {
                    *place = sample;
                }
            }
            self.at = self.at.map(|at| at + i64::try_from(FRAME_SAMPLES).unwrap_or(0));
            if self.encoder.send_frame(&frame).is_err() {
                return;
            }
            let mut packet = ffmpeg::Packet::empty();
            while self.encoder.receive_packet(&mut packet).is_ok() {
                if let (Some(pts), Some(data)) = (packet.pts(), packet.data()) {
                    out.push((Timestamp::new(pts, timescale()), Bytes::copy_from_slice(data)));
                }
            }
        }
    }
}
