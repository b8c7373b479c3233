//! What a pipeline knows of its source from before: of the run before, or of the publisher's last connection. Pure.

use std::sync::{Arc, Mutex, PoisonError};

use super::ladder::Pictures;
use super::plan::SourceFormat;
use super::slate::PixelAspect;
use super::{BreakReason, VideoFormat};

/// Shared by the pipelines of one stream, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Option<Known>>>);

/// What was learnt from a source with these parameter sets. They say nothing of its frame rate and its keyframes, but a source that
/// comes back with the same ones is the same encoder with the same settings.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) format: VideoFormat,
    pub(super) source: SourceFormat,
    /// What the decoder makes of it; `None` when nothing was decoded.
    pub(super) pictures: Option<Pictures>,
    /// It has sound.
    pub(super) sound: bool,
}

impl Memory {
    pub(super) fn set(&self, known: Option<Known>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// A publisher comes back, the picture of whose last connection was not passed through any more, for this reason. After a pause it is
    /// as good as before; otherwise it has to show once more that it can be.
    pub(crate) fn begin_again(&self, ended: &BreakReason) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *known, ended) {
            (Some(known), BreakReason::Paused(_)) => known.source.pass_through = true,
            (known, _) => *known = None,
        }
    }

    /// The source that was seen last.
    pub(crate) fn source(&self) -> Option<SourceFormat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.source)
    }

    /// Shape of that source's pixels; square where it was not decoded.
    pub(crate) fn pixel_aspect(&self) -> PixelAspect {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pictures = known.as_ref().and_then(|known| known.pictures);
        pictures.map_or(PixelAspect::SQUARE, |pictures| PixelAspect::of(pictures.aspect()))
    }

    /// What is known of a source with these parameter sets.
    pub(super) fn of(&self, format: Option<&VideoFormat>) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| format == Some(&known.format)).cloned()
    }
}
