//! A position in the seal log of a stream. Pure.

use media::{Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, SessionId, Slot, Timestamp, UnixMillis};
use seal::{Head, Object, SealBody, SealKind, Sealed};

/// Where a log stands: what the first seal of the next epoch builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// Epoch of the newest seal.
    pub(crate) epoch: Epoch,
    pub(crate) sequence: LogSequence,
    pub(crate) digest: Digest,
    /// First free media sequence number: past the segment that it left open, if any.
    pub(crate) first_msn: MediaSequence,
    pub(crate) discontinuity: DiscontinuitySequence,
    /// Wall clock that its media has reached; `None` when the seal has no media.
    pub(crate) reached: Option<UnixMillis>,
    /// Decode time that its media has reached, on its epoch's timeline.
    pub(crate) decoded: Option<Timestamp>,
    /// Whether it has a part that is no gap.
    pub(crate) has_media: bool,
    /// The session that ended here, if one did: no epoch of it follows.
    pub(crate) ended: Option<SessionId>,
}

impl LogPosition {
    /// The position after this seal.
    pub(crate) fn after(sealed: &Sealed) -> Self {
        let head = Head::of(sealed);
        Self {
            epoch: head.epoch,
            sequence: head.sequence,
            digest: head.digest,
            first_msn: head.epoch_start(),
            discontinuity: head.discontinuity,
            reached: reached(sealed.body()),
            decoded: parts(sealed.body()).map(|part| part.decode_time.plus(part.duration)).max(),
            has_media: parts(sealed.body()).any(|part| !part.gap),
            ended: (head.kind == SealKind::End).then_some(head.session),
        }
    }

    /// Order of the log: epoch, then sequence.
    pub(crate) const fn place(&self) -> (Epoch, LogSequence) {
        (self.epoch, self.sequence)
    }
}

fn parts(body: &SealBody) -> impl Iterator<Item = &Object> {
    body.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. }))
}

/// Wall clock of the end of a seal's row, rounded up.
fn reached(body: &SealBody) -> Option<UnixMillis> {
    let end = parts(body).map(|part| part.start.plus(part.duration)).max()?;
    let millis = end.as_duration().as_nanos().div_ceil(1_000_000);
    Some(UnixMillis(body.origin.0.saturating_add(i64::try_from(millis).ok()?)))
}
