//! Shared by tests and fuzz targets: a writer of seal logs, scripts for it from bytes, a client that reads playlists, and the rules
//! against which it checks them.
//!
//! The fuzz targets include this module by its path. Fuzz targets are a workspace of their own with its own lock file. In `testkit`,
//! the module would make each of their builds compile the HTTP clients of other tests, too.
#![allow(clippy::unwrap_used, dead_code, unused_imports, reason = "helpers of tests, not all used in each")]

pub(crate) mod client;
pub(crate) mod oracle;
pub(crate) mod recorder;
pub(crate) mod rules;
pub(crate) mod script;
pub(crate) mod targets;
pub(crate) mod viewer;
pub(crate) mod writer;

use media::RenditionId;
use playlist::{Settings, Timeline, render};
use seal::SealBody;

pub(crate) use writer::{Ladder, Row, Writer, ladder};

/// Folds a log, and checks the invariants at every step.
pub(crate) fn fold(log: &[SealBody]) -> Timeline {
    fold_with(log, Settings::default())
}

pub(crate) fn fold_with(log: &[SealBody], settings: Settings) -> Timeline {
    let mut timeline = Timeline::new(settings);
    for body in log {
        timeline.apply(body).unwrap_or_else(|error| panic!("seal {}: {error}", body.sequence));
        timeline.check_invariants();
    }
    timeline
}

pub(crate) fn rendition(name: &str) -> RenditionId {
    RenditionId::new(name).unwrap()
}

/// The whole media playlist of a rendition.
pub(crate) fn full(timeline: &Timeline, rendition: &RenditionId) -> Option<String> {
    render::media(timeline, rendition, playlist::reload::Extent::Full)
}

/// The I-frame playlist of a rendition.
pub(crate) fn i_frames(
    timeline: &Timeline,
    rendition: &RenditionId,
    extent: playlist::reload::Extent,
) -> Option<String> {
    render::iframes(timeline, rendition, extent)
}

/// The playlist delta update of a rendition.
pub(crate) fn delta(timeline: &Timeline, rendition: &RenditionId) -> Option<String> {
    render::media(timeline, rendition, playlist::reload::Extent::Delta)
}
