//! One rung's scaler, with the frames that it draws into.

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg::software::scaling;

use super::{Error, ffi};

/// Frames kept for drawing: as many as an encoder's queue holds, and those at both of its ends. When all are in use a new one is
/// made and dropped after use.
const FRAMES_KEPT_MAX: u32 = super::encoder::QUEUE_FRAMES_MAX + 2;

/// Bicubic, as the `ffmpeg` command does it: from 1080p to 720p it measured 2.3 ms a picture where fast bilinear took 1.8 ms. Half a
/// millisecond is 1.5 % of a core at 30 frames a second, and fast bilinear pays for it with aliasing that every rung below inherits.
const FILTER: scaling::Flags = scaling::Flags::BICUBIC;

/// Scales pictures of one size to another.
pub(super) struct Scaler {
    context: scaling::Context,
    kept: Vec<Arc<frame::Video>>,
}

impl Scaler {
    /// A scaler from one pixel format, width and height to another.
    pub(super) fn new(from: (Pixel, u32, u32), to: (Pixel, u32, u32)) -> Result<Self, Error> {
        let context = scaling::Context::get(from.0, from.1, from.2, to.0, to.1, to.2, FILTER)
            .map_err(|error| Error::Ffmpeg { what: "cannot make a scaler", detail: error.to_string() })?;
        Ok(Self { context, kept: Vec::new() })
    }

    /// A scaled picture with the time and kind of `input`.
    pub(super) fn scale(&mut self, input: &frame::Video) -> Result<Arc<frame::Video>, Error> {
        let failed = |error: ffmpeg::Error| Error::Ffmpeg { what: "cannot scale", detail: error.to_string() };
        let place = self.kept.iter_mut().position(|kept| Arc::get_mut(kept).is_some_and(ffi::is_writable));
        let mut frame = match place {
            Some(place) => self.kept.swap_remove(place),
            None => {
                let to = *self.context.output();
                Arc::new(frame::Video::new(to.format, to.width, to.height))
            }
        };
        if let Some(picture) = Arc::get_mut(&mut frame) {
            self.context.run(input, picture).map_err(failed)?;
            picture.set_pts(input.pts());
            picture.set_kind(input.kind());
        }
        if u32::try_from(self.kept.len()).is_ok_and(|kept| kept < FRAMES_KEPT_MAX) {
            self.kept.push(Arc::clone(&frame));
        }
        Ok(frame)
    }
}
