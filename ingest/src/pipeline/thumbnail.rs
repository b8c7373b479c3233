//! Thumbnails: one sync sample in, a small JPEG out, on one thread for all streams.
//!
//! Works on packaged samples, so passed-through and encoded renditions are alike, and nothing ever waits for it. A picture has no
//! thumbnail if it comes before the one before is done, if it is not done when its segment ends, or if it cannot be decoded.
//! A stream has one of its smallest rendition every [`EVERY`], as often as viewers look: 2 ms of CPU, or 40 ms if there is only 1080p.
//! Rejected: one per segment, at a quarter of the cost of passing a small picture through in segments of 2 s; a thread per stream,
//! because each keeps the memory that its decoder has touched.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ffmpeg_next as ffmpeg;

use bytes::Bytes;
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Rational, codec, frame};
use media::{Timescale, Timestamp, avc};

use super::decoder::Decoder;
use super::pipeline_state::PipelineState;
use super::{Error, VideoFormat, VideoPacket, ffi};

/// Longest side of a thumbnail in pixels.
pub const SIDE_MAX: u32 = 320;

/// Largest thumbnail in bytes; one that is larger is made again at the next lower quality, or not at all.
pub const BYTES_MAX: usize = 40_000;

/// Qualities, from the best down: quantizers of FFmpeg's MJPEG encoder, 2 to 31.
const QUANTIZERS: [usize; 3] = [4, 10, 24];

/// Shortest time between two thumbnails of a stream. Pages that show streams look for a new one every 8 s.
pub const EVERY: Duration = Duration::from_secs(7);

/// Pictures that may wait: one each of this many streams.
const WAITING_MAX: usize = 64;

/// A picture to be made small.
struct Work<K> {
    key: K,
    avc: Arc<avc::DecoderConfig>,
    idr: Bytes,
    made: Arc<Mutex<Made<K>>>,
}

/// State of the thumbnails that a stream has asked for.
#[derive(Debug)]
struct Made<K> {
    is_busy: bool,
    newest: Option<(K, Bytes)>,
    /// When the newest was asked for, on a monotonic clock; `None` after one that could not be made.
    asked_at: Option<Duration>,
}

/// The thread that makes thumbnails. It ends when this and all [`Thumbnails`] of it are dropped.
#[derive(Debug)]
pub struct Thumbnailer<K> {
    work: SyncSender<Work<K>>,
}

impl<K: PartialEq + Send + 'static> Thumbnailer<K> {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> Result<Self, Error> {
        let (work, received) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("thumbnails".to_owned())
            .spawn(move || thread(&received))
            .map_err(|error| Error::Thread(format!("cannot start the thumbnail thread: {error}")))?;
        Ok(Self { work })
    }

    /// The thumbnails of one stream.
    pub fn stream(&self) -> Thumbnails<K> {
        let made = Arc::new(Mutex::new(Made { is_busy: false, newest: None, asked_at: None }));
        Thumbnails { work: self.work.clone(), made }
    }
}

/// Makes thumbnails of one stream; `K` tells them apart.
#[derive(Debug)]
pub struct Thumbnails<K> {
    work: SyncSender<Work<K>>,
    made: Arc<Mutex<Made<K>>>,
}

impl<K: PartialEq + Send + 'static> Thumbnails<K> {
    /// Asks for the thumbnail of a sync sample: H.264 with length prefixes, as `avc` says. Never waits. Does nothing until [`EVERY`] after
    /// the last one, or while that is not done, so that no stream takes the others' turns. `now` is on a monotonic clock.
    pub fn ask(&self, now: Duration, key: K, avc: &Arc<avc::DecoderConfig>, idr: Bytes) {
        let mut made = lock(&self.made);
        let is_due = made.asked_at.is_none_or(|at| now.saturating_sub(at) >= EVERY);
        if !made.is_busy && is_due {
            let work = Work { key, avc: Arc::clone(avc), idr, made: Arc::clone(&self.made) };
            // If the queue is full or the thread gone, there is no thumbnail.
            made.is_busy = self.work.try_send(work).is_ok();
            if made.is_busy {
                made.asked_at = Some(now);
            }
        }
    }

    /// The thumbnail that was asked for with this key, if it is ready. Never waits.
    pub fn take(&self, key: &K) -> Option<Bytes> {
        lock(&self.made).newest.take_if(|(made, _)| made == key).map(|(_, jpeg)| jpeg)
    }
}

/// Nothing panics while it is held.
fn lock<K>(made: &Mutex<Made<K>>) -> MutexGuard<'_, Made<K>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread<K: Send>(work: &Receiver<Work<K>>) {
    while let Ok(Work { key, avc, idr, made }) = work.recv() {
        // Publishers' bytes go through a lot of code; a panic in it costs one thumbnail.
        let outcome = catch_unwind(AssertUnwindSafe(|| thumbnail(&avc, idr)));
        let mut made = lock(&made);
        made.is_busy = false;
        match outcome {
            Ok(Ok(jpeg)) => {
                made.newest = Some((key, jpeg));
                continue;
            }
            Ok(Err(error)) => tracing::debug!(%error, "no thumbnail"),
            Err(_) => tracing::warn!("no thumbnail: its thread panicked"),
        }
        made.asked_at = None;
    }
}

/// The JPEG of a sync sample.
fn thumbnail(avc: &avc::DecoderConfig, idr: Bytes) -> Result<Bytes, Error> {
    let none = |what| Error::Ffmpeg { what, detail: "no picture".to_owned() };
    let (shared, mut picture) = (PipelineState::default(), None);
    let mut decoder = Decoder::open(&VideoFormat::Avc(avc.clone()), 1)?;
    // Block edges do not show at this size.
    decoder.skip_loop_filter();
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
    // FFmpeg's scaler recognises full range by the pixel format.
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

/// FFmpeg's factor from a quantizer to a `quality`.
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
    fn stream_that_waits_for_one_asks_for_no_other_and_leaves_the_others_their_turns() {
        let (work, received) = sync_channel(2);
        let thumbnailer = Thumbnailer { work };
        let (one, other) = (thumbnailer.stream(), thumbnailer.stream());
        let avc = Arc::new(garbage());
        for key in 0..3 {
            one.ask(key * EVERY, key, &avc, Bytes::new());
        }
        other.ask(EVERY, 7, &avc, Bytes::new());
        assert_eq!(received.try_iter().map(|work| work.key).collect::<Vec<_>>(), [0, 7]);
    }

    #[test]
    fn stream_may_ask_again_after_one_that_cannot_be_made() {
        ffmpeg::init().unwrap();
        let (work, received) = sync_channel(1);
        let thumbnails = Thumbnailer { work }.stream();
        let avc = Arc::new(garbage());
        for key in 0..3 {
            thumbnails.ask(Duration::ZERO, key, &avc, Bytes::new());
            let Work { key: asked, made, .. } = received.try_recv().expect("it was asked");
            assert_eq!(asked, key);
            let (again, queue) = sync_channel(1);
            again.send(Work { key, avc: Arc::clone(&avc), idr: Bytes::new(), made }).unwrap();
            drop(again);
            thread(&queue);
            assert_eq!(thumbnails.take(&key), None);
        }
    }

    #[test]
    fn stream_that_found_no_place_asks_with_its_next_picture() {
        let (work, received) = sync_channel(1);
        let thumbnailer = Thumbnailer { work };
        let (one, other) = (thumbnailer.stream(), thumbnailer.stream());
        let avc = Arc::new(garbage());
        one.ask(Duration::ZERO, 0, &avc, Bytes::new());
        other.ask(Duration::ZERO, 1, &avc, Bytes::new());
        assert_eq!(received.try_recv().map(|work| work.key), Ok(0));
        other.ask(Duration::from_secs(2), 2, &avc, Bytes::new());
        assert_eq!(received.try_recv().map(|work| work.key), Ok(2));
    }

    #[test]
    fn next_one_is_made_when_it_is_time() {
        let (work, received) = sync_channel(9);
        let thumbnails = Thumbnailer { work }.stream();
        let avc = Arc::new(garbage());
        for second in 0..20 {
            thumbnails.ask(Duration::from_secs(second), second, &avc, Bytes::new());
            lock(&thumbnails.made).is_busy = false;
        }
        assert_eq!(received.try_iter().map(|work| work.key).collect::<Vec<_>>(), [0, 7, 14]);
    }

    #[test]
    fn garbage_costs_the_thumbnail_and_nothing_else() {
        ffmpeg::init().unwrap();
        let avc = garbage();
        for garbage in [&b""[..], b"\0\0\0\x02\x65\x88", b"\xff\xff\xff\xff", &[0x65; 10_000]] {
            assert!(thumbnail(&avc, Bytes::from_static(b"")).is_err());
            let _ = thumbnail(&avc, Bytes::copy_from_slice(garbage));
        }
    }

    /// Parameter sets of a picture that never comes.
    fn garbage() -> avc::DecoderConfig {
        let record = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
        let bytes = (0..record.len()).step_by(2).map(|at| u8::from_str_radix(&record[at..at + 2], 16).unwrap());
        avc::DecoderConfig::parse(&bytes.collect::<Vec<_>>()).unwrap()
    }
}
