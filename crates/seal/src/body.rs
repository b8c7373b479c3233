//! The content of a seal. Pure data: `encoding` has its encoding, `content` and `head` have its rules.

use media::{
    ClusterId, Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, RenditionId, SessionId, Slot,
    StreamId, Timestamp, Track, UnixMillis,
};

/// The signed statement of one entry of a stream's seal log.
///
/// A seal is one *row*: it advances every rendition of the stream by the same step. So all renditions of a stream have the same
/// media sequence numbers and part indices, and any two nodes at the same place in the log serve the same playlists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealBody {
    /// Cluster the seal is valid in.
    pub cluster: ClusterId,
    /// Stream whose log the seal extends.
    pub stream: StreamId,
    pub session: SessionId,
    pub epoch: Epoch,
    /// Place in the log, from 0; it continues across epochs.
    pub sequence: LogSequence,
    /// [`crate::Sealed::digest`] of the seal at `sequence - 1`; [`Digest::NONE`] at 0. The first seal of an epoch names the seal of an
    /// earlier epoch that it builds on; seals after that one are void.
    pub previous: Digest,
    /// When the ingest signed it.
    pub issued_at: UnixMillis,
    /// Wall clock of presentation time zero. Constant within an epoch.
    pub origin: UnixMillis,
    /// Media sequence number of the segment that the next part opens or continues. It never goes back, not even across epochs.
    pub next_msn: MediaSequence,
    /// Discontinuity sequence number of the segments of this epoch.
    pub discontinuity: DiscontinuitySequence,
    pub kind: SealKind,
    /// Checkpoint: all renditions of the epoch with their init segments, sorted by name. The first seal of an epoch states it, and every
    /// seal that completes a segment, so that a late joiner finds one within a segment. Empty in other seals.
    pub checkpoint: Vec<Rendition>,
    /// The media objects that became ready, sorted by rendition, then slot; no slot twice.
    pub objects: Vec<Object>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealKind {
    Media,
    /// Ends the session and, unless another session builds on it, the stream: playlists get EXT-X-ENDLIST. Its objects are the last ones.
    End,
}

/// A rendition, as a checkpoint states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Codec, format and measured bandwidth.
    pub track: Track,
    /// Digest of its init segment.
    pub init: Digest,
    /// Length of its init segment in bytes.
    pub init_length: u64,
}

/// One media object, named by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub rendition: RenditionId,
    /// Kind (init segment, part, segment or image) and place. A segment is exactly its parts' bytes, so nobody sends its bytes again.
    pub slot: Slot,
    /// Presentation time of the row's start, the same instant in all renditions; for a segment or its image, the segment's start. Zero for
    /// init segments.
    pub start: Timestamp,
    /// Decode time of the first sample (the `tfdt`), in the rendition's timescale; for an image, its segment's. Zero for init segments.
    pub decode_time: Timestamp,
    /// Sum of sample durations, in the rendition's timescale; positive, except for init segments and images.
    pub duration: Timestamp,
    /// The object starts with a sync sample (EXT-X-PART INDEPENDENT=YES). Always true for audio.
    pub independent: bool,
    /// The object has no bytes (EXT-X-GAP): `length` is 0 and `digest` is [`Digest::NONE`].
    pub gap: bool,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Digest of the init segment that it needs; its own for an init segment, [`Digest::NONE`] for an image.
    pub init: Digest,
    /// Bytes from the start of a part to the end of its first sample, which is a sync sample: the byte range in an I-frame playlist
    /// (EXT-X-I-FRAMES-ONLY). Only on independent video parts that are not gaps.
    pub sync_length: Option<u64>,
}
