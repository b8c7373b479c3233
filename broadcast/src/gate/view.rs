//! What requests see of a stream: an immutable copy, replaced as a whole. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{LogSequence, RenditionId, StreamId, UnixMillis};
use messages::AlertReason;
use seal::Sealed;

use super::store::Media;
use crate::viewers::Rendered;

/// A stream, as it is served.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// Stream.
    pub stream: StreamId,
    /// The multivariant playlist, once there is a segment.
    pub multivariant: Option<Rendered>,
    /// Media playlists.
    pub media_playlists: BTreeMap<RenditionId, Rendered>,
    /// Admitted media.
    pub media: Media,
    /// Admitted seals that a late joiner needs, oldest first.
    pub log: Vec<Sealed>,
    /// The newest admitted seal as it travels; after a restart the one from disk.
    pub head: Option<Bytes>,
    /// Renditions of the newest checkpoint.
    pub tracks: Vec<media::Track>,
    /// Whether a seal has ended it.
    pub ended: bool,
    /// When the newest seal was admitted.
    pub admitted_at: UnixMillis,
    /// Seals admitted since this node holds the stream.
    pub seals_admitted: u64,
    /// What was refused, by reason.
    pub refused: BTreeMap<AlertReason, u64>,
}

impl StreamView {
    /// Admitted seals from `from` on, or from the oldest kept when that is older, as they travel.
    pub fn seals(&self, from: LogSequence) -> Vec<Bytes> {
        let start = self.log.partition_point(|sealed| sealed.body().sequence < from);
        self.log.get(start..).unwrap_or_default().iter().map(|sealed| sealed.raw().clone()).collect()
    }

    /// The newest admitted seal.
    pub fn newest(&self) -> Option<&Sealed> {
        self.log.last()
    }
}
