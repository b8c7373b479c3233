//! The head of a log, which the next seal has to fit. Pure.

use media::{
    Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, SessionId, Slot,
    StreamId, Timescale, Timestamp, UnixMillis,
};

use crate::content;
use crate::limits::{EPOCH_STEP_MAX, HEAD_BYTES_MAX, RENDITIONS_MAX};
use crate::wire::{Reader, Writer, canonical};
use crate::{Refusal, RefusalReason, SealBody, SealKind, Sealed};

const LABEL: &str = "sealcast/head";
const HEAD_PAIRS: u64 = 13;

/// The state of a log after a seal: everything that decides which seal may follow.
///
/// A node persists the head of its newest admitted seal ([`Head::to_bytes`]), so that nobody can replay an older log into it after a
/// restart. A head is not signed: read it only from the node's own disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub stream: StreamId,
    pub session: SessionId,
    pub epoch: Epoch,
    /// Place of the seal in the log.
    pub sequence: LogSequence,
    /// Digest of the seal.
    pub digest: Digest,
    /// Kind of the seal; only a new epoch follows an end.
    pub kind: SealKind,
    /// Wall clock of presentation time zero of the epoch.
    pub origin: UnixMillis,
    /// Segment that the next part opens or continues.
    pub next_msn: MediaSequence,
    /// The next part within it; 0 when no segment is open.
    pub next_part: PartIndex,
    /// Discontinuity sequence number of the epoch.
    pub discontinuity: DiscontinuitySequence,
    /// Presentation time of the start of the seal's row; `None` without a row.
    pub start: Option<Timestamp>,
    /// The renditions of the seal's row, sorted by name; empty without a row.
    pub tracks: Vec<HeadTrack>,
}

/// The properties of a rendition that are constant throughout an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadTrack {
    pub rendition: RenditionId,
    pub timescale: Timescale,
    /// Digest of its init segment; [`Digest::NONE`] when its part was a gap that named none.
    pub init: Digest,
}

fn refuse(reason: RefusalReason, body: &SealBody, why: &str) -> Refusal {
    Refusal::new(reason, format!("stream {}, epoch {}, seal {}: {why}", body.stream, body.epoch, body.sequence))
}

impl Head {
    /// The head after this seal.
    pub fn of(sealed: &Sealed) -> Self {
        let body = sealed.body();
        let row = content::row(body);
        let next_part = match row {
            Some(row) if !row.completes && body.kind == SealKind::Media => PartIndex(row.part.0.saturating_add(1)),
            _ => PartIndex(0),
        };
        Self {
            stream: body.stream.clone(),
            session: body.session,
            epoch: body.epoch,
            sequence: body.sequence,
            digest: sealed.digest(),
            kind: body.kind,
            origin: body.origin,
            next_msn: body.next_msn,
            next_part,
            discontinuity: body.discontinuity,
            start: row.map(|row| row.start),
            tracks: tracks(body),
        }
    }

    /// First media sequence number of an epoch that builds on this head: past the open segment, if there is one.
    pub fn epoch_start(&self) -> MediaSequence {
        if self.next_part == PartIndex(0) { self.next_msn } else { self.next_msn.next() }
    }

    /// Checks whether a verified seal may follow this head.
    ///
    /// Refuses with [`RefusalReason::Epoch`] an older epoch, with `Identity` another session in the same epoch, with `Chain` a seal that
    /// names another previous seal, is not at the next sequence or follows an end of its session, and with `Implausible` media that do
    /// not continue.
    pub fn admits(&self, body: &SealBody) -> Result<(), Refusal> {
        let ensure = |holds: bool, reason, why| if holds { Ok(()) } else { Err(refuse(reason, body, why)) };
        ensure(body.epoch >= self.epoch, RefusalReason::Epoch, "older epoch")?;
        ensure(body.previous == self.digest, RefusalReason::Chain, "names another previous seal")?;
        ensure(body.sequence == self.sequence.next(), RefusalReason::Chain, "not the next sequence")?;
        if body.epoch == self.epoch { self.admits_row(body) } else { self.admits_epoch(body) }
    }

    fn admits_epoch(&self, body: &SealBody) -> Result<(), Refusal> {
        let ensure = |holds: bool, why| if holds { Ok(()) } else { Err(refuse(RefusalReason::Implausible, body, why)) };
        // A streamer may have let an ingest seal this one session.
        if self.kind == SealKind::End && body.session == self.session {
            return Err(refuse(RefusalReason::Chain, body, "its session has ended"));
        }
        ensure(body.epoch.0.saturating_sub(self.epoch.0) <= EPOCH_STEP_MAX, "epoch far ahead")?;
        ensure(content::opens_epoch(body), "an epoch that does not open with its init segments")?;
        ensure(body.discontinuity == self.discontinuity.next(), "an epoch begins with exactly one discontinuity")?;
        let row = content::row(body);
        ensure(row.is_some_and(|row| row.msn == self.epoch_start()), "an epoch begins at the next free segment")
    }

    fn admits_row(&self, body: &SealBody) -> Result<(), Refusal> {
        let ensure = |holds: bool, reason, why| if holds { Ok(()) } else { Err(refuse(reason, body, why)) };
        let implausible = RefusalReason::Implausible;
        ensure(body.session == self.session, RefusalReason::Identity, "another session in the same epoch")?;
        ensure(self.kind == SealKind::Media, RefusalReason::Chain, "after the end of its session")?;
        ensure(!content::opens_epoch(body), implausible, "opens an epoch that is open")?;
        ensure(body.origin == self.origin, implausible, "origin changed within an epoch")?;
        ensure(body.discontinuity == self.discontinuity, implausible, "discontinuity within an epoch")?;
        let Some(row) = content::row(body) else {
            return ensure(body.next_msn == self.epoch_start(), implausible, "an end that does not close its segment");
        };
        let in_place = (row.msn, row.part) == (self.next_msn, self.next_part);
        ensure(in_place, implausible, "its row is not the next one")?;
        ensure(self.start.is_none_or(|start| start < row.start), implausible, "time does not go forward")?;
        let found = tracks(body);
        let same = |(held, found): (&HeadTrack, &HeadTrack)| {
            let names = (&held.rendition, held.timescale) == (&found.rendition, found.timescale);
            names && (held.init == found.init || held.init == Digest::NONE || found.init == Digest::NONE)
        };
        let all = self.tracks.len() == found.len() && self.tracks.iter().zip(&found).all(same);
        ensure(all, implausible, "renditions, timescales or init segments changed within an epoch")
    }

    /// Encodes the head for the node's own disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256 + 110 * self.tracks.len());
        w.preamble(HEAD_PAIRS, LABEL);
        w.uint(2).text(self.stream.as_str());
        w.uint(3).bytes(&self.session.0);
        w.uint(4).uint(self.epoch.0);
        w.uint(5).uint(self.sequence.0);
        w.uint(6).bytes(&self.digest.0);
        w.uint(7).bool(self.kind == SealKind::End);
        w.uint(8).int(self.origin.0);
        w.uint(9).array(2).uint(self.next_msn.0).uint(self.next_part.0.into());
        w.uint(10).uint(self.discontinuity.0);
        w.uint(11).array(usize::from(self.start.is_some()));
        if let Some(start) = self.start {
            w.time(start);
        }
        w.uint(12).array(self.tracks.len());
        for track in &self.tracks {
            w.array(3).text(track.rendition.as_str()).uint(track.timescale.get().into()).bytes(&track.init.0);
        }
        w.finish()
    }

    /// Reads the output of [`Head::to_bytes`]. Refuses anything else, such as a torn or foreign file, as malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Refusal::malformed("head over the limit"));
        }
        let mut r = Reader::new(bytes);
        r.preamble(HEAD_PAIRS, LABEL)?;
        let head = Self {
            stream: r.key(2)?.stream()?,
            session: SessionId(r.key(3)?.bytes_of()?),
            epoch: Epoch(r.key(4)?.uint()?),
            sequence: LogSequence(r.key(5)?.uint()?),
            digest: r.key(6)?.digest()?,
            kind: if r.key(7)?.bool()? { SealKind::End } else { SealKind::Media },
            origin: UnixMillis(r.key(8)?.int()?),
            next_msn: MediaSequence(if r.key(9)?.array(2)? == 2 { r.uint()? } else { return Err(short()) }),
            next_part: PartIndex(r.uint32()?),
            discontinuity: DiscontinuitySequence(r.key(10)?.uint()?),
            start: r.key(11)?.list(1, Reader::time)?.pop(),
            tracks: r.key(12)?.list(RENDITIONS_MAX, |r| match r.array(3)? {
                3 => Ok(HeadTrack { rendition: r.rendition()?, timescale: r.timescale()?, init: r.digest()? }),
                _ => Err(short()),
            })?,
        };
        canonical(bytes, &head.to_bytes())?;
        Ok(head)
    }
}

fn short() -> Refusal {
    Refusal::malformed("array of another length than a head has")
}

/// The renditions of a row. The seal's checkpoint, if any, gives the init segment even of a gap.
fn tracks(body: &SealBody) -> Vec<HeadTrack> {
    let parts = body.objects.iter().filter(|object| matches!(object.slot, Slot::Part { .. }));
    let stated = |name: &RenditionId| {
        let found = body.checkpoint.iter().find(|rendition| rendition.track.rendition == *name);
        found.map(|rendition| rendition.init)
    };
    parts
        .map(|part| HeadTrack {
            rendition: part.rendition.clone(),
            timescale: part.duration.timescale,
            init: stated(&part.rendition).unwrap_or(part.init),
        })
        .collect()
}
