//! Thumbnails: one sync sample in, a small JPEG out, on a thread of its own.
//!
//! Works on what was packaged already, so passed-through and encoded renditions are alike to it, and nobody ever waits for it: a picture that
//! comes while it is busy has no thumbnail, and one that cannot be decoded neither. One picture per segment of the smallest
//! rendition: some 10 ms of CPU every few seconds, 40 ms where nothing but 1080p is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Rational, codec, frame};
use media::{Timescale, Timestamp, avc};

use super::decoder::Decoder;
use super::shared::Shared;
use super::{Error, VideoFormat, VideoPacket, ffi};

/// Longest side of a thumbnail in pixels.
pub const SIDE_MAX: u32 = 320;

/// Largest thumbnail in bytes; one that is larger is made again at the next lower quality, or not at all.
pub const BYTES_MAX: usize = 40_000;

/// Qualities, from the best down: quantizers of FFmpeg's MJPEG encoder, 2 to 31.
const QUANTIZERS: [usize; 3] = [4, 10, 24];

/// Pictures that may wait: the thread takes milliseconds, they come seconds apart.
const WAITING_MAX: usize = 1;

/// A picture to be made small.
struct Work<K> {
    key: K,
    avc: Arc<avc::DecoderConfig>,
    idr: Bytes,
}

/// Makes thumbnails; `K` tells them apart. Its thread ends when it is dropped.
#[derive(Debug)]
pub struct Thumbnails<K> {
    work: SyncSender<Work<K>>,
    newest: Arc<Mutex<Option<(K, Bytes)>>>,
}

impl<K: PartialEq + Send + 'static> Thumbnails<K> {
    /// Starts the thread.
    pub fn start() -> Result<Self, Error> {
        let (work, received) = sync_channel(WAITING_MAX);
        let newest = Arc::new(Mutex::new(None));
        let made = Arc::clone(&newest);
        std::thread::Builder::new()
            .name("thumbnails".to_owned())
            .spawn(move || thread(&received, &made))
            .map_err(|error| Error::Thread(format!("cannot start the thumbnail thread: {error}")))?;
        Ok(Self { work, newest })
    }

    /// Asks for the thumbnail of a sync sample: H.264 with length prefixes, as `avc` says. Never waits; while the thread is busy nothing
    /// comes of it.
    pub fn ask(&self, key: K, avc: &Arc<avc::DecoderConfig>, idr: Bytes) {
        // Full or gone: no thumbnail.
        let _ = self.work.try_send(Work { key, avc: Arc::clone(avc), idr });
    }

    /// The thumbnail that was asked for with this key, if it is ready. Never waits.
    pub fn take(&self, key: &K) -> Option<Bytes> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.take_if(|(made, _)| made == key).map(|(_, jpeg)| jpeg)
    }
}

fn thread<K: Send>(work: &Receiver<Work<K>>, newest: &Mutex<Option<(K, Bytes)>>) {
    while let Ok(Work { key, avc, idr }) = work.recv() {
        // Publishers' bytes go through a lot of code; what fails here costs a thumbnail.
        match catch_unwind(AssertUnwindSafe(|| thumbnail(&avc, idr))) {
            Ok(Ok(jpeg)) => *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, jpeg)),
            Ok(Err(error)) => tracing::debug!(%error, "no thumbnail"),
            Err(_) => tracing::warn!("no thumbnail: its thread panicked"),
        }
    }
}

/// The JPEG of a sync sample.
fn thumbnail(avc: &avc::DecoderConfig, idr: Bytes) -> Result<Bytes, Error> {
    let none = |what| Error::Ffmpeg { what, detail: "no picture".to_owned() };
    let (shared, mut picture) = (Shared::default(), None);
    let mut decoder = Decoder::open(&VideoFormat::Avc(avc.clone()), 1)?;
    let at = Timestamp::zero(Timescale::VIDEO);
    let mut take = |frame| _ = picture.get_or_insert(frame);
    decoder.push(&VideoPacket { pts: at, dts: at, data: idr }, true, &shared, &mut take);
    decoder.finish(&shared, &mut take);
    let picture = small(&picture.ok_or_else(|| none("cannot decode a thumbnail's picture"))?)?;
    for quantizer in QUANTIZERS {
        let jpeg = jpeg(&picture, quantizer)?;
        if jpeg.len() <= BYTES_MAX {
            return Ok(jpeg);
        }
    }
    Err(none("a thumbnail is too large at any quality"))
}

/// Scales a picture into a square of [`SIDE_MAX`], with square pixels, in the full range that JPEG has.
fn small(picture: &frame::Video) -> Result<frame::Video, Error> {
    let failed = |error: ffmpeg::Error| Error::Ffmpeg { what: "cannot scale a thumbnail", detail: error.to_string() };
    let full = picture.color_range() == ffmpeg::color::Range::JPEG;
    // FFmpeg tells full range by the format.
    let from = if full && picture.format() == Pixel::YUV420P { Pixel::YUVJ420P } else { picture.format() };
    let (width, height) = size(picture.width(), picture.height(), picture.aspect_ratio());
    let (own_width, own_height, to) = (picture.width(), picture.height(), Pixel::YUVJ420P);
    let mut scaler =
        scaling::Context::get(from, own_width, own_height, to, width, height, scaling::Flags::AREA).map_err(failed)?;
    let mut source = ffi::reference(picture).map_err(failed)?;
    source.set_format(from);
    let mut scaled = frame::Video::empty();
    scaler.run(&source, &mut scaled).map_err(failed)?;
    Ok(scaled)
}

/// Size of the thumbnail of a picture whose pixels have this aspect: even, and never larger than the picture.
fn size(width: u32, height: u32, aspect: Rational) -> (u32, u32) {
    let pixels = |side: u32| u64::from(side.max(1));
    let wide = match (u64::try_from(aspect.numerator()), u64::try_from(aspect.denominator())) {
        (Ok(numerator @ 1..), Ok(denominator @ 1..)) => pixels(width) * numerator / denominator,
        _ => pixels(width),
    };
    let (wide, high) = (wide.max(1), pixels(height));
    let longest = wide.max(high).max(u64::from(SIDE_MAX));
    let side = |side: u64| u32::try_from(side * u64::from(SIDE_MAX) / longest).unwrap_or(SIDE_MAX).max(2) & !1;
    (side(wide), side(high))
}

/// A picture as JPEG.
fn jpeg(picture: &frame::Video, quantizer: usize) -> Result<Bytes, Error> {
    let failed = |error: ffmpeg::Error| Error::Ffmpeg { what: "cannot encode a thumbnail", detail: error.to_string() };
    let codec = ffmpeg::encoder::find(codec::Id::MJPEG).ok_or_else(|| failed(ffmpeg::Error::EncoderNotFound))?;
    let mut video = codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    video.set_width(picture.width());
    video.set_height(picture.height());
    video.set_format(picture.format());
    video.set_time_base(Rational(1, 25));
    video.set_flags(codec::Flags::QSCALE);
    video.set_global_quality(i32::try_from(quantizer).unwrap_or(4) * FF_QP2LAMBDA);
    let mut encoder = video.open().map_err(failed)?;
    let mut own = ffi::reference(picture).map_err(failed)?;
    own.set_pts(Some(0));
    ffi::set_quality(&mut own, i32::try_from(quantizer).unwrap_or(4) * FF_QP2LAMBDA);
    encoder.send_frame(&own).map_err(failed)?;
    encoder.send_eof().map_err(failed)?;
    let mut packet = ffmpeg::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(failed)?;
    packet.data().map(Bytes::copy_from_slice).ok_or_else(|| failed(ffmpeg::Error::InvalidData))
}

/// What FFmpeg multiplies a quantizer with to get a `quality`.
const FF_QP2LAMBDA: i32 = 118;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnail_keeps_the_shape_of_the_picture_as_it_is_shown_and_is_never_larger() {
        let square = Rational(1, 1);
        for ((width, height, aspect), expected) in [
            ((1_920, 1_080, square), (320, 180)),
            ((1_080, 1_920, square), (180, 320)),
            ((640, 360, Rational(0, 1)), (320, 180)),
            ((160, 90, square), (160, 90)),
            ((720, 576, Rational(16, 11)), (320, 176)),
            ((8_192, 32, square), (320, 2)),
            ((0, 0, Rational(-1, 0)), (2, 2)),
        ] {
            assert_eq!(size(width, height, aspect), expected, "{width}x{height}");
        }
    }

    #[test]
    fn garbage_costs_the_thumbnail_and_nothing_else() {
        ffmpeg::init().unwrap();
        let record = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
        let bytes = (0..record.len()).step_by(2).map(|at| u8::from_str_radix(&record[at..at + 2], 16).unwrap());
        let avc = avc::DecoderConfig::parse(&bytes.collect::<Vec<_>>()).unwrap();
        for garbage in [&b""[..], b"\0\0\0\x02\x65\x88", b"\xff\xff\xff\xff", &[0x65; 10_000]] {
            assert!(thumbnail(&avc, Bytes::from_static(b"")).is_err());
            let _ = thumbnail(&avc, Bytes::copy_from_slice(garbage));
        }
    }
}
