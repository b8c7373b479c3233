//! The pattern's encoders: x264 without delay, AAC.

use ffmpeg_next as ffmpeg;

use anyhow::Context as _;
use ffmpeg::format::{Pixel, Sample, sample};
use ffmpeg::{ChannelLayout, Dictionary, Rational, codec, frame};

use crate::clock::{Luma, UnixMillis};
use crate::config::Config;
use crate::pattern::Painter;
use crate::tone;

/// Bit rate of the tone.
const AUDIO_BITS_PER_SECOND: usize = 96_000;

/// Encodes pictures of the pattern. Time base: one frame.
pub(crate) struct VideoEncoder {
    encoder: ffmpeg::encoder::video::Encoder,
    painter: Painter,
    pattern: Config,
}

impl VideoEncoder {
    pub(crate) fn open(pattern: &Config) -> anyhow::Result<Self> {
        let codec = ffmpeg::encoder::find_by_name("libx264").context("FFmpeg was built without libx264")?;
        let mut video = codec::Context::new_with_codec(codec).encoder().video()?;
        let rate = Rational::new(
            i32::try_from(pattern.frame_rate.numerator).context("frame rate")?,
            i32::try_from(pattern.frame_rate.denominator).context("frame rate")?,
        );
        video.set_width(pattern.width);
        video.set_height(pattern.height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(rate.invert());
        video.set_frame_rate(Some(rate));
        let keyframe_interval = pattern.frame_rate.frames(pattern.keyframe_interval_ms).to_string();
        let bits = pattern.bit_rate;
        let mut options = Dictionary::new();
        options.set("preset", &pattern.preset);
        options.set("tune", "zerolatency");
        options.set("threads", "1");
        options.set("g", &keyframe_interval);
        options.set("keyint_min", &keyframe_interval);
        options.set("sc_threshold", "0");
        options.set("b", &bits.to_string());
        options.set("maxrate", &bits.to_string());
        options.set("bufsize", &bits.to_string());
        options.set("flags", "+cgop+global_header");
        let encoder = video.open_with(options).with_context(|| {
            format!("x264 refused {}x{} with preset {:?}", pattern.width, pattern.height, pattern.preset)
        })?;
        let painter = Painter::new(usize::try_from(pattern.width)?, usize::try_from(pattern.height)?, pattern.grain);
        Ok(Self { encoder, painter, pattern: pattern.clone() })
    }

    pub(crate) fn parameters(&self) -> codec::Parameters {
        codec::Parameters::from(&self.encoder)
    }

    pub(crate) fn time_base(&self) -> Rational {
        self.encoder.time_base()
    }

    /// Draws and encodes frame `index`, showing `time`.
    pub(crate) fn encode(&mut self, index: i64, time: UnixMillis) -> anyhow::Result<Vec<ffmpeg::Packet>> {
        let mut picture = frame::Video::new(Pixel::YUV420P, self.pattern.width, self.pattern.height);
        for (number, plane) in self.painter.background().iter().enumerate() {
            let stride = picture.stride(number);
            let rows = picture.data_mut(number).chunks_mut(stride).take(plane.height);
            for (row, background) in rows.zip(plane.pixels.chunks(plane.width)) {
                if let Some(row) = row.get_mut(..plane.width) {
                    row.copy_from_slice(background);
                }
            }
        }
        let stride = picture.stride(0);
        let (width, height) = (usize::try_from(self.pattern.width)?, usize::try_from(self.pattern.height)?);
        let mut luma = Luma { pixels: picture.data_mut(0), width, height, stride };
        self.painter.draw(&mut luma, index.unsigned_abs(), time);
        picture.set_pts(Some(index));
        self.encoder.send_frame(&picture)?;
        let mut packets = Vec::new();
        let mut packet = ffmpeg::Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            packet.set_duration(1);
            packets.push(std::mem::replace(&mut packet, ffmpeg::Packet::empty()));
        }
        Ok(packets)
    }
}

/// Encodes the tone. Time base: one sample.
pub(crate) struct AudioEncoder {
    encoder: ffmpeg::encoder::audio::Encoder,
    next: i64,
}

impl AudioEncoder {
    pub(crate) fn open() -> anyhow::Result<Self> {
        let codec = ffmpeg::encoder::find_by_name("aac").context("FFmpeg was built without its AAC encoder")?;
        let mut audio = codec::Context::new_with_codec(codec).encoder().audio()?;
        let rate = i32::try_from(tone::SAMPLE_RATE_HZ)?;
        audio.set_rate(rate);
        audio.set_channel_layout(ChannelLayout::STEREO);
        audio.set_channels(2);
        audio.set_format(Sample::F32(sample::Type::Planar));
        audio.set_time_base(Rational::new(1, rate));
        audio.set_bit_rate(AUDIO_BITS_PER_SECOND);
        audio.set_flags(codec::Flags::GLOBAL_HEADER);
        Ok(Self { encoder: audio.open().context("FFmpeg's AAC encoder refused")?, next: 0 })
    }

    pub(crate) fn parameters(&self) -> codec::Parameters {
        codec::Parameters::from(&self.encoder)
    }

    pub(crate) fn time_base(&self) -> Rational {
        self.encoder.time_base()
    }

    /// Continues at sample `next` after a pause; never goes back.
    pub(crate) fn skip_to(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// Encodes all whole frames before sample `until`; sample 0 is at wall-clock `origin_micros`.
    pub(crate) fn encode_until(&mut self, until: i64, origin_micros: i64) -> anyhow::Result<Vec<ffmpeg::Packet>> {
        let length = i64::from(self.encoder.frame_size()).max(1);
        let mut packets = Vec::new();
        while self.next + length <= until {
            let mut sound =
                frame::Audio::new(Sample::F32(sample::Type::Planar), usize::try_from(length)?, ChannelLayout::STEREO);
            sound.set_rate(tone::SAMPLE_RATE_HZ);
            sound.set_pts(Some(self.next));
            for plane in 0..2 {
                for (place, index) in sound.plane_mut::<f32>(plane).iter_mut().zip(self.next..) {
                    *place = tone::sample(origin_micros + index * 1_000_000 / i64::from(tone::SAMPLE_RATE_HZ));
                }
            }
            self.next += length;
            self.encoder.send_frame(&sound)?;
            let mut packet = ffmpeg::Packet::empty();
            while self.encoder.receive_packet(&mut packet).is_ok() {
                // The encoder's priming has times before zero, which FLV cannot hold.
                let packet = std::mem::replace(&mut packet, ffmpeg::Packet::empty());
                if packet.pts().is_some_and(|pts| pts >= 0) {
                    packets.push(packet);
                }
            }
        }
        Ok(packets)
    }
}
