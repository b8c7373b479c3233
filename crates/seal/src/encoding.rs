//! The one encoding of a seal's body: deterministic CBOR (RFC 8949, 4.2.1), maps with small integer keys. Every key is always
//! present, except an object's last (`sync_length`), which is absent when there is none. The functions below give the keys in order;
//! the label and version come first. Pure.

use media::{
    BitsPerSecond, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, PartIndex, SessionId, Slot, Track,
    UnixMillis,
};

use crate::limits::{OBJECTS_MAX, RENDITIONS_MAX, SEAL_BYTES_MAX};
use crate::wire::{Reader, Writer, canonical};
use crate::{Object, Refusal, Rendition, SealBody, SealKind};

/// Domain label of a seal: no grant and no statement of another program passes for one.
const LABEL: &str = "sealcast/seal";
const BODY_PAIRS: u64 = 15;
const RENDITION_PAIRS: u64 = 8;
const OBJECT_PAIRS: u64 = 10;
/// Pairs of an object that has `sync_length`.
const OBJECT_PAIRS_SYNC: u64 = OBJECT_PAIRS + 1;

/// Encodes a body; each body has exactly one encoding.
pub fn encode_body(body: &SealBody) -> Vec<u8> {
    let mut w = Writer::with_capacity(256 + 160 * (body.checkpoint.len() + body.objects.len()));
    w.preamble(BODY_PAIRS, LABEL);
    w.uint(2).text(body.cluster.as_str());
    w.uint(3).text(body.stream.as_str());
    w.uint(4).bytes(&body.session.0);
    w.uint(5).uint(body.epoch.0);
    w.uint(6).uint(body.sequence.0);
    w.uint(7).bytes(&body.previous.0);
    w.uint(8).int(body.issued_at.0);
    w.uint(9).int(body.origin.0);
    w.uint(10).uint(body.next_msn.0);
    w.uint(11).uint(body.discontinuity.0);
    w.uint(12).uint(match body.kind {
        SealKind::Media => 0,
        SealKind::End => 1,
    });
    w.uint(13).array(body.checkpoint.len());
    body.checkpoint.iter().for_each(|rendition| write_rendition(&mut w, rendition));
    w.uint(14).array(body.objects.len());
    body.objects.iter().for_each(|object| write_object(&mut w, object));
    w.finish()
}

/// Reads a body. Refuses bytes as malformed unless [`encode_body`] writes exactly the same bytes for the body read.
pub fn decode_body(bytes: &[u8]) -> Result<SealBody, Refusal> {
    if bytes.len() > SEAL_BYTES_MAX {
        return Err(Refusal::malformed(format!("{} bytes, at most {SEAL_BYTES_MAX} are allowed", bytes.len())));
    }
    let mut r = Reader::new(bytes);
    r.preamble(BODY_PAIRS, LABEL)?;
    let body = SealBody {
        cluster: r.key(2)?.cluster()?,
        stream: r.key(3)?.stream()?,
        session: SessionId(r.key(4)?.bytes_of()?),
        epoch: Epoch(r.key(5)?.uint()?),
        sequence: LogSequence(r.key(6)?.uint()?),
        previous: r.key(7)?.digest()?,
        issued_at: UnixMillis(r.key(8)?.int()?),
        origin: UnixMillis(r.key(9)?.int()?),
        next_msn: MediaSequence(r.key(10)?.uint()?),
        discontinuity: DiscontinuitySequence(r.key(11)?.uint()?),
        kind: match r.key(12)?.uint()? {
            0 => SealKind::Media,
            1 => SealKind::End,
            other => return Err(Refusal::malformed(format!("kind {other} of a seal"))),
        },
        checkpoint: r.key(13)?.list(RENDITIONS_MAX, read_rendition)?,
        objects: r.key(14)?.list(OBJECTS_MAX, read_object)?,
    };
    canonical(bytes, &encode_body(&body))?;
    Ok(body)
}

fn write_rendition(w: &mut Writer, rendition: &Rendition) {
    let track = &rendition.track;
    w.map(RENDITION_PAIRS);
    w.uint(0).text(track.rendition.as_str());
    w.uint(1).text(&track.codec);
    w.uint(2).uint(track.timescale.get().into());
    w.uint(3);
    match track.format {
        Format::Video { width, height, frame_rate_millihertz } => {
            w.array(4).uint(0).uint(width.into()).uint(height.into()).uint(frame_rate_millihertz.into());
        }
        Format::Audio { sample_rate_hz, channels } => {
            w.array(3).uint(1).uint(sample_rate_hz.into()).uint(channels.into());
        }
    }
    w.uint(4).uint(track.bandwidth_peak.0);
    w.uint(5).uint(track.bandwidth_mean.0);
    w.uint(6).bytes(&rendition.init.0);
    w.uint(7).uint(rendition.init_length);
}

fn read_rendition(r: &mut Reader<'_>) -> Result<Rendition, Refusal> {
    r.map(RENDITION_PAIRS)?;
    let track = Track {
        rendition: r.key(0)?.rendition()?,
        codec: r.key(1)?.text()?.to_owned(),
        timescale: r.key(2)?.timescale()?,
        format: read_format(r.key(3)?)?,
        bandwidth_peak: BitsPerSecond(r.key(4)?.uint()?),
        bandwidth_mean: BitsPerSecond(r.key(5)?.uint()?),
    };
    Ok(Rendition { track, init: r.key(6)?.digest()?, init_length: r.key(7)?.uint()? })
}

fn read_format(r: &mut Reader<'_>) -> Result<Format, Refusal> {
    match (r.array(4)?, r.uint()?) {
        (4, 0) => Ok(Format::Video { width: r.uint32()?, height: r.uint32()?, frame_rate_millihertz: r.uint32()? }),
        (3, 1) => {
            let sample_rate_hz = r.uint32()?;
            let channels = u8::try_from(r.uint()?).map_err(|_| Refusal::malformed("more than 255 channels"))?;
            Ok(Format::Audio { sample_rate_hz, channels })
        }
        (length, kind) => Err(Refusal::malformed(format!("format {kind} of {length} elements"))),
    }
}

fn write_object(w: &mut Writer, object: &Object) {
    w.map(if object.sync_length.is_some() { OBJECT_PAIRS_SYNC } else { OBJECT_PAIRS });
    w.uint(0).text(object.rendition.as_str());
    w.uint(1);
    match object.slot {
        Slot::Init => w.array(1).uint(0),
        Slot::Part { msn, part } => w.array(3).uint(1).uint(msn.0).uint(part.0.into()),
        Slot::Segment { msn } => w.array(2).uint(2).uint(msn.0),
        Slot::Image { msn } => w.array(2).uint(3).uint(msn.0),
    };
    w.uint(2).time(object.start);
    w.uint(3).time(object.decode_time);
    w.uint(4).time(object.duration);
    w.uint(5).bool(object.independent);
    w.uint(6).bool(object.gap);
    w.uint(7).uint(object.length);
    w.uint(8).bytes(&object.digest.0);
    w.uint(9).bytes(&object.init.0);
    if let Some(length) = object.sync_length {
        w.uint(10).uint(length);
    }
}

fn read_object(r: &mut Reader<'_>) -> Result<Object, Refusal> {
    let has_sync = r.map_of(OBJECT_PAIRS, OBJECT_PAIRS_SYNC)? == OBJECT_PAIRS_SYNC;
    Ok(Object {
        rendition: r.key(0)?.rendition()?,
        slot: read_slot(r.key(1)?)?,
        start: r.key(2)?.time()?,
        decode_time: r.key(3)?.time()?,
        duration: r.key(4)?.time()?,
        independent: r.key(5)?.bool()?,
        gap: r.key(6)?.bool()?,
        length: r.key(7)?.uint()?,
        digest: r.key(8)?.digest()?,
        init: r.key(9)?.digest()?,
        sync_length: if has_sync { Some(r.key(10)?.uint()?) } else { None },
    })
}

fn read_slot(r: &mut Reader<'_>) -> Result<Slot, Refusal> {
    match (r.array(3)?, r.uint()?) {
        (1, 0) => Ok(Slot::Init),
        (3, 1) => Ok(Slot::Part { msn: MediaSequence(r.uint()?), part: PartIndex(r.uint32()?) }),
        (2, 2) => Ok(Slot::Segment { msn: MediaSequence(r.uint()?) }),
        (2, 3) => Ok(Slot::Image { msn: MediaSequence(r.uint()?) }),
        (length, kind) => Err(Refusal::malformed(format!("slot {kind} of {length} elements"))),
    }
}
