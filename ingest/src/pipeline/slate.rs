//! The slate: a still picture in place of a publisher that is away, encoded once as a publisher would send it.
//!
//! This module makes one GOP, which its sender repeats; it goes through the pipeline like published media. The picture is read at
//! start-up, so that a file that cannot be shown is found then, and not during an outage.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::util::picture;
use ffmpeg::{Dictionary, codec, color, frame};
use media::{BitsPerSecond, RenditionId, TrackConfig, avc};

use super::encoder::{Encoder, PictureFormat};
use super::ladder::Pictures;
use super::memory::Known;
use super::pixel_aspect::PixelAspect;
use super::{Cadence, Config, Error, Memory, Preset, Rung, RungKind, SourceFormat, VideoFormat};

/// Largest file of a picture, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Sides of a picture in its file, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=8_192;
/// A picture is kept no larger than this: 12 MB, once for all streams. Larger streams have it scaled up.
const KEPT: (u32, u32) = (3_840, 2_160);
/// Frame rates that a slate is made in, in frames per 1000 s. Slower sources still need a picture in each part.
const FRAME_RATES_MILLIHERTZ: (u32, u32) = (5_000, 120_000);
/// Assumed where the frame rate is not known.
const FRAME_RATE_ASSUMED_MILLIHERTZ: u32 = 30_000;
/// Longest time from one keyframe to the next.
const KEYFRAME_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Highest bit rate of a slate, which stands still. Its GOP has at most twice as many bits, 750 KB.
const BITS_PER_SECOND_MAX: u64 = 3_000_000;
const BITS_PER_SECOND_MIN: u64 = 150_000;

/// Luma of the calm picture at its top and its bottom, and its chroma: a little blue.
const DARK: (usize, usize) = (44, 24);
const TINT: [u8; 2] = [131, 126];
/// Brightness of the three dots in its middle.
const DOTS: u8 = 96;

/// Why a file cannot be the slate's picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Not there, or not ours to read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A directory or a device.
    #[error("is not a file")]
    NoFile,
    /// More than 32 MiB.
    #[error("is larger than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLarge,
    #[error("is neither a PNG nor a JPEG")]
    Format,
    /// Damaged, or of a kind that FFmpeg does not know.
    #[error("cannot be decoded: {0}")]
    Damaged(String),
    /// Too small or too large.
    #[error("is {width}x{height} pixels: sides of {} to {} can be shown", SIDES.start(), SIDES.end())]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

impl From<ffmpeg::Error> for PictureError {
    fn from(error: ffmpeg::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// The picture of a slate: from a file, or the calm dark one that needs none.
#[derive(Default)]
pub struct Picture(Option<frame::Video>);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.0.as_ref().map(|picture| (picture.width(), picture.height()));
        f.debug_tuple("Picture").field(&size).finish()
    }
}

impl Picture {
    /// Reads a PNG or JPEG. Blocks for the disk.
    ///
    /// # Errors
    /// When the file cannot be shown; says why, and the caller names the file.
    pub fn read(path: &Path) -> Result<Self, PictureError> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(PictureError::NoFile);
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(PictureError::TooLarge);
        }
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        let id = match bytes {
            [0x89, b'P', b'N', b'G', ..] => codec::Id::PNG,
            [0xFF, 0xD8, 0xFF, ..] => codec::Id::MJPEG,
            _ => return Err(PictureError::Format),
        };
        super::init().map_err(|error| PictureError::Damaged(error.to_string()))?;
        let codec = ffmpeg::decoder::find(id).ok_or(ffmpeg::Error::DecoderNotFound)?;
        let mut options = Dictionary::new();
        options.set("err_detect", "explode");
        options.set("max_pixels", &(u64::from(*SIDES.end()) * u64::from(*SIDES.end())).to_string());
        let context = codec::Context::new_with_codec(codec);
        let mut decoder = context.decoder().open_as_with(codec, options)?.video()?;
        let decoded = quietly(|| {
            let mut decoded = frame::Video::empty();
            decoder.send_packet(&ffmpeg::Packet::copy(bytes))?;
            decoder.send_eof()?;
            decoder.receive_frame(&mut decoded).map(|()| decoded)
        })?;
        let (width, height) = (decoded.width(), decoded.height());
        if !(SIDES.contains(&width) && SIDES.contains(&height)) {
            return Err(PictureError::Size { width, height });
        }
        if decoded.is_corrupt() || decoded.has_decode_errors() {
            return Err(PictureError::Damaged("parts of it are missing".to_owned()));
        }
        let room = (KEPT.0.min(width), KEPT.1.min(height));
        Ok(Self(Some(scaled(&decoded, within(PixelAspect::SQUARE.of_square((width, height)), room))?)))
    }

    /// The picture at this size, in pixels of this shape: as large as it fits, on a dark ground.
    fn at(&self, width: u32, height: u32, aspect: PixelAspect) -> Result<frame::Video, ffmpeg::Error> {
        let mut ground = frame::Video::new(Pixel::YUV420P, width, height);
        ground.set_color_range(color::Range::MPEG);
        super::ffi::set_aspect(&mut ground, aspect.ratio());
        darken(&mut ground);
        match &self.0 {
            Some(picture) => {
                let size = within(aspect.of_square((picture.width(), picture.height())), (width, height));
                paste(&mut ground, &scaled(picture, size)?);
            }
            None => dots(&mut ground, aspect),
        }
        Ok(ground)
    }
}

/// Silences FFmpeg while `decode` runs: we report what is wrong with a file, and once is enough.
fn quietly<T>(decode: impl FnOnce() -> T) -> T {
    ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    let decoded = decode();
    ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
    decoded
}

/// A picture of this size in 8-bit 4:2:0.
fn scaled(picture: &frame::Video, (width, height): (u32, u32)) -> Result<frame::Video, ffmpeg::Error> {
    let from = (picture.format(), picture.width(), picture.height());
    let mut scaler =
        scaling::Context::get(from.0, from.1, from.2, Pixel::YUV420P, width, height, scaling::Flags::BICUBIC)?;
    let mut scaled = frame::Video::empty();
    scaler.run(picture, &mut scaled)?;
    Ok(scaled)
}

/// The largest even size of this shape that fits into `room`.
fn within((wide, high): (u64, u64), room: (u32, u32)) -> (u32, u32) {
    let [room_wide, room_high] = [room.0, room.1].map(|side| u64::from(side.max(2)));
    let (wide, high) = if wide * room_high >= high * room_wide {
        (room_wide, high * room_wide / wide)
    } else {
        (wide * room_high / high, room_high)
    };
    let even = |side: u64| u32::try_from(side).unwrap_or(2).max(2) & !1;
    (even(wide), even(high))
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn darken(ground: &mut frame::Video) {
    let (rows, stride) = (index(ground.height()).max(1), ground.stride(0).max(1));
    for (row, line) in ground.data_mut(0).chunks_mut(stride).take(rows).enumerate() {
        let luma = DARK.0 - (DARK.0 - DARK.1) * row / rows;
        line.fill(u8::try_from(luma).unwrap_or(16));
    }
    for (plane, tint) in (1..).zip(TINT) {
        ground.data_mut(plane).fill(tint);
    }
}

/// Draws three dots in the middle, as a sign that the stream waits.
fn dots(ground: &mut frame::Video, PixelAspect(wide, high): PixelAspect) {
    let (width, height, stride) = (index(ground.width()), index(ground.height()), ground.stride(0).max(1));
    let (wide, high) = (index(wide), index(high));
    // The radius is in columns.
    let radius = (width.min(height) / 50).max(2);
    let luma = ground.data_mut(0);
    for dot in [0, 1, 2] {
        let (centre, middle) = (width / 2 + 4 * radius * dot, height / 2);
        for (y, line) in luma.chunks_mut(stride).enumerate().take(height) {
            for (x, pixel) in line.iter_mut().enumerate().take(width) {
                // The first is four radii left of the middle.
                let (off_x, off_y) = ((x + 4 * radius).abs_diff(centre), y.abs_diff(middle) * high / wide);
                if off_x * off_x + off_y * off_y <= radius * radius {
                    *pixel = DOTS;
                }
            }
        }
    }
}

/// Puts a picture into the middle of another that is not smaller; both are 8-bit 4:2:0 with even sides.
fn paste(ground: &mut frame::Video, picture: &frame::Video) {
    let left = index((ground.width().saturating_sub(picture.width()) / 2) & !1);
    let top = index((ground.height().saturating_sub(picture.height()) / 2) & !1);
    for plane in 0..3 {
        let halved = usize::from(plane > 0);
        let (width, height) = (index(picture.width()) >> halved, index(picture.height()) >> halved);
        let (from, to) = (picture.stride(plane).max(1), ground.stride(plane).max(1));
        let lines = ground.data_mut(plane).chunks_mut(to).skip(top >> halved);
        for (line, own) in lines.zip(picture.data(plane).chunks(from)).take(height) {
            let place = line.get_mut(left >> halved..).and_then(|rest| rest.get_mut(..width));
            if let (Some(place), Some(own)) = (place, own.get(..width)) {
                place.copy_from_slice(own);
            }
        }
    }
}

/// A slate, ready to be sent again and again.
pub struct Slate {
    /// `avcC`.
    pub record: Bytes,
    /// One GOP: access units with length prefixes, each to be shown when it is decoded. The first is an IDR, and the only one.
    pub gop: Vec<Bytes>,
    /// Frames per 1000 s.
    pub frame_rate_millihertz: u32,
    /// Memory for the pipeline that shows it, so that it has nothing to learn.
    pub memory: Memory,
}

impl std::fmt::Debug for Slate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes: usize = self.gop.iter().map(Bytes::len).sum();
        f.debug_struct("Slate").field("frames", &self.gop.len()).field("bytes", &bytes).finish_non_exhaustive()
    }
}

/// The source that a slate replaces.
#[derive(Debug, Clone, Copy)]
pub struct Likeness {
    /// The source as it was published: a slate has its size and frame rate, and so the same ladder.
    pub source: SourceFormat,
    pub aspect: PixelAspect,
    pub sound: bool,
    /// Longest segment: each begins with a keyframe.
    pub segment: Duration,
}

impl Slate {
    /// Encodes a picture in the likeness of a source. Takes some tenths of a second of CPU.
    pub fn encode(picture: &Picture, likeness: Likeness, config: &Config) -> Result<Self, Error> {
        super::init()?;
        let failed = |detail: String| Error::Ffmpeg { what: "cannot encode the slate", detail };
        let source = source(likeness.source);
        let still =
            picture.at(source.width, source.height, likeness.aspect).map_err(|error| failed(error.to_string()))?;
        let mut encoder = Encoder::open(&rung(source)?, &format(&still), &with_preset(config))?;
        let TrackConfig::Video { avc, .. } = encoder.track() else { return Err(failed("no picture".to_owned())) };
        let record = avc.encode();
        let avc = avc::DecoderConfig::parse(&record)?;
        let interval =
            KEYFRAME_INTERVAL_MAX.min(Duration::from_millis(config.keyframe_interval_ms.into())).min(likeness.segment);
        let gop = gop(&mut encoder, &still, frames(interval, source.frame_rate_millihertz))?;
        let settings = gop.first().and_then(|first| avc.encoder_settings(first)).map(Bytes::copy_from_slice);
        let memory = Memory::default();
        let (format, pictures) = (VideoFormat::Avc(avc), Some(Pictures::of(&still)));
        memory.set(Some(Known { format, source, settings, pictures, sound: likeness.sound }));
        Ok(Self { record, gop, frame_rate_millihertz: source.frame_rate_millihertz, memory })
    }
}

/// The source format of a slate: with even sides, and a frame rate within the limits.
fn source(like: SourceFormat) -> SourceFormat {
    let rate = if like.frame_rate_millihertz == 0 { FRAME_RATE_ASSUMED_MILLIHERTZ } else { like.frame_rate_millihertz };
    SourceFormat {
        width: like.width & !1,
        height: like.height & !1,
        frame_rate_millihertz: rate.clamp(FRAME_RATES_MILLIHERTZ.0, FRAME_RATES_MILLIHERTZ.1),
        ..like
    }
}

fn rung(source: SourceFormat) -> Result<Rung, Error> {
    let bits = if source.bit_rate.0 == 0 { BITS_PER_SECOND_MAX } else { source.bit_rate.0 };
    Ok(Rung {
        rendition: RenditionId::new("slate").map_err(|error| Error::Thread(error.to_string()))?,
        width: source.width,
        height: source.height,
        kind: RungKind::Encode,
        cadence: Cadence::Every,
        frame_rate_millihertz: source.frame_rate_millihertz,
        bit_rate: BitsPerSecond(bits.clamp(BITS_PER_SECOND_MIN, BITS_PER_SECOND_MAX)),
    })
}

fn format(still: &frame::Video) -> PictureFormat {
    PictureFormat {
        pixel: still.format(),
        range: still.color_range(),
        space: still.color_space(),
        primaries: still.color_primaries(),
        transfer: still.color_transfer_characteristic(),
        aspect: still.aspect_ratio(),
    }
}

/// A still picture gains nothing by a slower preset.
fn with_preset(config: &Config) -> Config {
    Config { preset: Preset::Veryfast, ..config.clone() }
}

/// Frames in `interval`, at least two: two IDRs in a row would have to differ (H.264, 7.4.3, `idr_pic_id`).
fn frames(interval: Duration, frame_rate_millihertz: u32) -> u32 {
    let frames = interval.as_millis().saturating_mul(frame_rate_millihertz.into()).saturating_add(500_000) / 1_000_000;
    u32::try_from(frames).unwrap_or(u32::MAX).clamp(2, FRAME_RATES_MILLIHERTZ.1 / 500)
}

fn gop(encoder: &mut Encoder, still: &frame::Video, frames: u32) -> Result<Vec<Bytes>, Error> {
    let failed = |detail: String| Error::Ffmpeg { what: "cannot encode the slate", detail };
    let mut gop = Vec::new();
    let mut syncs = Vec::new();
    let mut take = |sample: media::Sample| {
        syncs.push(sample.sync);
        gop.push(sample.data);
        true
    };
    for number in 0..frames {
        let mut picture = super::ffi::reference(still).map_err(|error| failed(error.to_string()))?;
        picture.set_pts(Some(i64::from(number) * encoder.frame_ticks()));
        picture.set_kind(if number == 0 { picture::Type::I } else { picture::Type::None });
        encoder.encode(Some(&picture), &mut take).map_err(|error| failed(error.to_string()))?;
    }
    encoder.encode(None, &mut take).map_err(|error| failed(error.to_string()))?;
    let begins = syncs.first() == Some(&true) && !syncs.iter().skip(1).any(|sync| *sync);
    if begins && gop.len() == index(frames) {
        Ok(gop)
    } else {
        Err(failed(format!("{} of {frames} frames", gop.len())))
    }
}

#[cfg(test)]
mod tests;
