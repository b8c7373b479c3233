//! What a pipeline knows of its source from the run before, or from the publisher's last connection. Pure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::ladder::Pictures;
use super::pixel_aspect::PixelAspect;
use super::plan::SourceFormat;
use super::{BreakReason, VideoFormat};

/// PipelineState by the pipelines of one stream, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    known: Option<Known>,
    /// A run has begun.
    has_begun: bool,
}

/// What was learnt from a source with these parameter sets. They do not tell its frame rate and its keyframes. But a source that comes
/// back with the same parameter sets, and whose encoder states no other settings, is the same encoder with the same settings.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) format: VideoFormat,
    pub(super) source: SourceFormat,
    /// What the encoder stated about its settings, as it wrote it.
    pub(super) settings: Option<Bytes>,
    /// Size and format of its decoded pictures; `None` when nothing was decoded.
    pub(super) pictures: Option<Pictures>,
    pub(super) sound: bool,
}

impl Known {
    /// Whether a source with the same parameter sets, whose encoder states these settings or none, is that source.
    pub(super) fn is_of(&self, settings: Option<&Bytes>) -> bool {
        settings.is_none() || settings == self.settings.as_ref()
    }
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, known: Option<Known>) {
        self.inner().known = known;
    }

    /// A run has begun: viewers have had something of the stream.
    pub(super) fn begins(&self) {
        self.inner().has_begun = true;
    }

    /// Whether a run has begun before, in this pipeline or another.
    pub(super) fn has_begun(&self) -> bool {
        self.inner().has_begun
    }

    /// A publisher comes back whose video was no longer passed through, for the reason `ended`. After a pause, it may be passed through
    /// again; otherwise the source has to show once more that it can be.
    pub(crate) fn begin_again(&self, ended: &BreakReason) {
        let mut inner = self.inner();
        match (&mut inner.known, ended) {
            (Some(known), BreakReason::Paused(_)) => known.source.pass_through = true,
            (known, _) => *known = None,
        }
    }

    /// The source that was seen last.
    pub(crate) fn source(&self) -> Option<SourceFormat> {
        self.inner().known.as_ref().map(|known| known.source)
    }

    /// Shape of that source's pixels; square if it was not decoded.
    pub(crate) fn pixel_aspect(&self) -> PixelAspect {
        let pictures = self.inner().known.as_ref().and_then(|known| known.pictures);
        pictures.map_or(PixelAspect::SQUARE, |pictures| PixelAspect::of(pictures.aspect()))
    }

    /// What is known of a source with these parameter sets.
    pub(super) fn of(&self, format: Option<&VideoFormat>) -> Option<Known> {
        self.inner().known.as_ref().filter(|known| format == Some(&known.format)).cloned()
    }
}
