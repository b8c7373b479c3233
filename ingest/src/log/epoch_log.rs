//! The seal log as its author sees it: rows in, seal bodies and the bytes they name out. Pure.
//!
//! Owns where an epoch starts, the chain of digests, and the digests of segments. Deliberately does not sign: the caller does, and
//! says with [`EpochLog::sealed`] what the next seal builds on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::segmenter::{MediaObject, Row};
use media::{
    ClusterId, Digest, DiscontinuitySequence, Epoch, LogSequence, MediaSequence, ObjectName, RenditionId, SessionId,
    Slot, StreamId, Timestamp, Track, TrackConfig, UnixMillis, cmaf,
};
use seal::limits::IMAGE_BYTES_MAX;
use seal::{Object, Rendition, SealBody, SealKind, Sealed};
use sha2::{Digest as _, Sha256};

use super::position::LogPosition;

/// The most that an epoch's wall clock is moved so that it does not go back. A larger difference means that a clock was set; it stays.
const WALL_MOVE_MAX: Duration = Duration::from_secs(60);

/// What is the same in all seals of an epoch.
#[derive(Debug, Clone)]
pub(crate) struct EpochIdentity {
    pub(crate) cluster: ClusterId,
    pub(crate) stream: StreamId,
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    /// Wall clock of presentation time zero.
    pub(crate) origin: UnixMillis,
}

/// The thumbnail of a segment: its first picture as a JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// Rendition whose picture it is.
    pub(crate) rendition: RenditionId,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Clone)]
struct Init {
    bytes: Bytes,
    digest: Digest,
    length: u64,
    timestamp: Timestamp,
}

/// What a row becomes: the body of a seal, and the bytes that it names (init segments, parts and thumbnails; the bytes of a segment are
/// those of its parts).
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) body: SealBody,
    pub(crate) objects: Vec<(ObjectName, Bytes)>,
}

/// The log of one epoch.
#[derive(Debug)]
pub(crate) struct EpochLog {
    identity: EpochIdentity,
    next_sequence: LogSequence,
    previous: Digest,
    discontinuity: DiscontinuitySequence,
    next_msn: MediaSequence,
    /// The epoch's media begins no earlier, by the wall clock.
    not_before: Option<UnixMillis>,
    segment_open: bool,
    started: bool,
    inits: BTreeMap<RenditionId, Init>,
    /// Digest of the open segment so far, per rendition.
    segments: BTreeMap<RenditionId, Sha256>,
}

impl EpochLog {
    /// The log of a new epoch, which builds on `base`. Errors when an init segment cannot be written.
    pub(crate) fn new(
        identity: EpochIdentity,
        base: Option<&LogPosition>,
        tracks: &[(RenditionId, TrackConfig)],
    ) -> Result<Self, media::Error> {
        let mut inits = BTreeMap::new();
        for (rendition, track) in tracks {
            let bytes = cmaf::init_segment(track)?;
            let init = Init {
                digest: sha256(&bytes),
                length: length(&bytes),
                bytes,
                timestamp: Timestamp::zero(track.timescale()),
            };
            inits.insert(rendition.clone(), init);
        }
        Ok(Self {
            identity,
            next_sequence: base.map_or(LogSequence(0), |base| base.sequence.next()),
            previous: base.map_or(Digest::NONE, |base| base.digest),
            discontinuity: base.map_or(DiscontinuitySequence(0), |base| base.discontinuity.next()),
            next_msn: base.map_or(MediaSequence(0), |base| base.first_msn),
            not_before: base.and_then(|base| base.reached),
            segment_open: false,
            started: false,
            inits,
            segments: BTreeMap::new(),
        })
    }

    /// First media sequence number of the epoch.
    pub(crate) const fn next_msn(&self) -> MediaSequence {
        self.next_msn
    }

    /// Makes the entry of a row, with the thumbnail of the segment that it completes, if there is one.
    pub(crate) fn row(&mut self, row: Row, image: Option<Image>, issued_at: UnixMillis) -> Entry {
        let first = !std::mem::replace(&mut self.started, true);
        let mut objects = Vec::new();
        let mut bytes = Vec::new();
        if first {
            self.begin(row.start);
            for (rendition, init) in &self.inits {
                objects.push(init_object(rendition, init));
                bytes.push((self.name(rendition, Slot::Init), init.bytes.clone()));
            }
        }
        for object in row.objects {
            let digest = self.digest(&object);
            let init = self.inits.get(&object.rendition).map_or(Digest::NONE, |init| init.digest);
            if !object.gap && matches!(object.slot, Slot::Part { .. }) {
                bytes.push((self.name(&object.rendition, object.slot), object.bytes.clone()));
            }
            objects.push(stated(object, digest, init));
        }
        let image = image.and_then(|image| Some((image_object(&image, row.msn, &objects)?, image)));
        if let Some((object, Image { rendition, bytes: jpeg })) = image {
            bytes.push((self.name(&rendition, object.slot), jpeg));
            objects.push(object);
        }
        objects.sort_by(|a, b| (&a.rendition, a.slot).cmp(&(&b.rendition, b.slot)));
        self.segment_open = !row.completes_segment;
        self.next_msn = if row.completes_segment { row.msn.next() } else { row.msn };
        if row.completes_segment {
            self.segments.clear();
        }
        let checkpoint = self.checkpoint(row.tracks);
        Entry { body: self.body(SealKind::Media, issued_at, checkpoint, objects), objects: bytes }
    }

    /// Moves the origin so that the wall clock does not go back from one epoch to the next: the first row begins no earlier than the media
    /// before ended. It moves by more than a row or two only when clocks were set.
    fn begin(&mut self, start: Timestamp) {
        let starts = self.identity.origin.plus(start.as_duration());
        if let Some(behind) = self.not_before.map(|reached| reached.since(starts)).filter(|b| *b <= WALL_MOVE_MAX) {
            self.identity.origin = self.identity.origin.plus(behind);
        }
    }

    /// Wall clock of presentation time zero.
    pub(crate) const fn origin(&self) -> UnixMillis {
        self.identity.origin
    }

    /// Whether a row has become an entry.
    pub(crate) const fn has_started(&self) -> bool {
        self.started
    }

    /// Makes the entry of the stream's end. A segment left open counts as closed.
    pub(crate) fn end(&mut self, issued_at: UnixMillis) -> Entry {
        if std::mem::take(&mut self.segment_open) {
            self.next_msn = self.next_msn.next();
        }
        Entry { body: self.body(SealKind::End, issued_at, Vec::new(), Vec::new()), objects: Vec::new() }
    }

    /// Takes the signed entry that was made last; the next one builds on it.
    pub(crate) fn sealed(&mut self, sealed: &Sealed) {
        self.previous = sealed.digest();
        self.next_sequence = sealed.body().sequence.next();
    }

    fn body(
        &self,
        kind: SealKind,
        issued_at: UnixMillis,
        checkpoint: Vec<Rendition>,
        objects: Vec<Object>,
    ) -> SealBody {
        SealBody {
            cluster: self.identity.cluster.clone(),
            stream: self.identity.stream.clone(),
            session: self.identity.session,
            epoch: self.identity.epoch,
            sequence: self.next_sequence,
            previous: self.previous,
            issued_at,
            origin: self.identity.origin,
            next_msn: self.next_msn,
            discontinuity: self.discontinuity,
            kind,
            checkpoint,
            objects,
        }
    }

    fn checkpoint(&self, tracks: Vec<Track>) -> Vec<Rendition> {
        let with_init = |track: Track| {
            let init = self.inits.get(&track.rendition)?;
            Some(Rendition { track, init: init.digest, init_length: init.length })
        };
        tracks.into_iter().filter_map(with_init).collect()
    }

    /// Digest of an object: of a part, over its bytes; of a segment, over the bytes of all its parts; none for a gap.
    fn digest(&mut self, object: &MediaObject) -> Digest {
        match object.slot {
            _ if object.gap => Digest::NONE,
            Slot::Segment { .. } => {
                self.segments.remove(&object.rendition).map_or(Digest::NONE, |hash| Digest(hash.finalize().into()))
            }
            Slot::Part { .. } | Slot::Init | Slot::Image { .. } => {
                self.segments.entry(object.rendition.clone()).or_default().update(&object.bytes);
                sha256(&object.bytes)
            }
        }
    }

    fn name(&self, rendition: &RenditionId, slot: Slot) -> ObjectName {
        let EpochIdentity { stream, epoch, .. } = &self.identity;
        ObjectName { stream: stream.clone(), rendition: rendition.clone(), epoch: *epoch, slot }
    }
}

fn init_object(rendition: &RenditionId, init: &Init) -> Object {
    Object {
        rendition: rendition.clone(),
        slot: Slot::Init,
        start: init.timestamp,
        decode_time: init.timestamp,
        duration: init.timestamp,
        independent: true,
        gap: false,
        length: init.length,
        digest: init.digest,
        init: init.digest,
        sync_length: None,
    }
}

/// The object of a thumbnail; `None` when its segment is not completed here or is a gap, or when its length is out of range.
fn image_object(image: &Image, msn: MediaSequence, objects: &[Object]) -> Option<Object> {
    let length = length(&image.bytes);
    let whole = objects
        .iter()
        .find(|object| object.rendition == image.rendition && object.slot == Slot::Segment { msn } && !object.gap)?;
    (1..=IMAGE_BYTES_MAX).contains(&length).then(|| Object {
        rendition: image.rendition.clone(),
        slot: Slot::Image { msn },
        start: whole.start,
        decode_time: whole.decode_time,
        duration: Timestamp::zero(whole.duration.timescale),
        independent: true,
        gap: false,
        length,
        digest: sha256(&image.bytes),
        init: Digest::NONE,
        sync_length: None,
    })
}

fn stated(object: MediaObject, digest: Digest, init: Digest) -> Object {
    let MediaObject { rendition, slot, start, decode_time, duration, independent, gap, length, sync_length, .. } =
        object;
    Object { rendition, slot, start, decode_time, duration, independent, gap, length, digest, init, sync_length }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use media::{BitsPerSecond, Format, PartIndex, Timescale, aac};
    use seal::{Head, SealingKey};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_020_000);

    fn rendition() -> RenditionId {
        "audio".parse().unwrap()
    }

    fn scale() -> Timescale {
        Timescale::new(48_000).unwrap()
    }

    fn log(epoch: u64, base: Option<&LogPosition>) -> EpochLog {
        let identity = EpochIdentity {
            cluster: "c".parse().unwrap(),
            stream: "s".parse().unwrap(),
            session: SessionId([u8::try_from(epoch).unwrap(); 16]),
            epoch: Epoch(epoch),
            origin: UnixMillis(NOW.0 - 20_000),
        };
        let track = TrackConfig::Audio { aac: aac::AudioSpecificConfig::low_complexity(48_000, 2).unwrap() };
        EpochLog::new(identity, base, &[(rendition(), track)]).unwrap()
    }

    /// A row of half a second of one rendition; a gap where `bytes` is `None`.
    fn row(log: &EpochLog, part: u32, bytes: Option<&'static [u8]>, closes: Option<u64>) -> Row {
        let msn = log.next_msn();
        let at = |half_seconds: u64| Timestamp::new(24_000 * i64::try_from(half_seconds).unwrap(), scale());
        let start = at(u64::from(part) + 10 + 8 * msn.0);
        let object = |slot, start, duration, length| MediaObject {
            rendition: rendition(),
            slot,
            start,
            decode_time: start,
            duration,
            independent: bytes.is_some(),
            gap: bytes.is_none(),
            length,
            sync_length: None,
            bytes: Bytes::from_static(bytes.unwrap_or_default()),
        };
        let length = bytes.map_or(0, <[u8]>::len) as u64;
        let mut objects = vec![object(Slot::Part { msn, part: PartIndex(part) }, start, at(1), length)];
        objects.extend(closes.map(|length| {
            let slot = Slot::Segment { msn };
            MediaObject { bytes: Bytes::new(), ..object(slot, at(10 + 8 * msn.0), at(u64::from(part) + 1), length) }
        }));
        let track = Track {
            rendition: rendition(),
            codec: "mp4a.40.2".to_owned(),
            timescale: scale(),
            format: Format::Audio { sample_rate_hz: 48_000, channels: 2 },
            bandwidth_peak: BitsPerSecond(1),
            bandwidth_mean: BitsPerSecond(1),
        };
        let first = !log.started;
        Row {
            start,
            end: start.plus(at(1)),
            msn,
            part: PartIndex(part),
            completes_segment: closes.is_some(),
            tracks: if first || closes.is_some() { vec![track] } else { Vec::new() },
            objects,
        }
    }

    fn seal(log: &mut EpochLog, entry: &Entry, key: &SealingKey) -> Sealed {
        let sealed = seal::sign_seal(&entry.body, key).unwrap();
        log.sealed(&sealed);
        sealed
    }

    #[test]
    fn segment_is_named_by_the_digest_of_all_its_parts() {
        let (mut log, key) = (log(1, None), SealingKey::generate().unwrap());
        let rows: [(u32, &[u8], _); 3] = [(0, b"ab", None), (1, b"c", None), (2, b"de", Some(5))];
        let mut seals: Vec<Sealed> = Vec::new();
        for (part, bytes, closes) in rows {
            let entry = log.row(row(&log, part, Some(bytes), closes), None, NOW);
            let sealed = seal(&mut log, &entry, &key);
            if let Some(before) = seals.last() {
                Head::of(before).admits(sealed.body()).unwrap();
            }
            assert_eq!(entry.objects.len(), if part == 0 { 2 } else { 1 }, "init once, then the parts alone");
            seals.push(sealed);
        }
        let segment = seals[2].body().objects.last().unwrap().clone();
        assert_eq!((segment.digest, segment.length), (sha256(b"abcde"), 5));
        assert_eq!(log.next_msn(), MediaSequence(1));
    }

    #[test]
    fn gap_has_no_bytes_and_makes_its_segment_a_gap() {
        let (mut log, key) = (log(1, None), SealingKey::generate().unwrap());
        let entry = log.row(row(&log, 0, Some(b"ab"), None), None, NOW);
        seal(&mut log, &entry, &key);
        let entry = log.row(row(&log, 1, None, Some(0)), None, NOW);
        assert!(entry.objects.is_empty());
        assert!(entry.body.objects.iter().all(|object| object.gap && object.digest == Digest::NONE));
        seal(&mut log, &entry, &key);
        let entry = log.row(row(&log, 0, Some(b"cd"), Some(2)), None, NOW);
        let sealed = seal(&mut log, &entry, &key);
        assert_eq!(sealed.body().objects[1].digest, sha256(b"cd"), "nothing of the segment before is left");
    }

    #[test]
    fn wall_clock_of_an_epoch_does_not_begin_before_the_one_before_has_ended() {
        let key = SealingKey::generate().unwrap();
        let mut first = log(1, None);
        let entry = first.row(row(&first, 0, Some(b"ab"), None), None, NOW);
        let sealed = seal(&mut first, &entry, &key);
        let base = LogPosition::after(&sealed);
        // It starts at 5 s and lasts half a second.
        let reached = UnixMillis(NOW.0 - 20_000 + 5_500);
        assert_eq!(base.reached, Some(reached));
        // The second begins at 9 s of its own time.
        for (origin, expected) in
            [(-30_000, NOW.0 - 20_000 - 3_500), (-10_000, NOW.0 - 10_000), (-90_000, NOW.0 - 90_000)]
        {
            let mut second = log(2, Some(&base));
            second.identity.origin = UnixMillis(NOW.0 + origin);
            let entry = second.row(row(&second, 0, Some(b"ab"), None), None, NOW);
            assert_eq!(entry.body.origin, UnixMillis(expected), "{origin}");
            assert_eq!(second.origin(), UnixMillis(expected));
        }
    }

    #[test]
    fn image_is_stated_with_the_segment_that_it_shows_and_with_no_gap() {
        let (mut log, key) = (log(1, None), SealingKey::generate().unwrap());
        let image = || Some(Image { rendition: rendition(), bytes: Bytes::from_static(b"jpeg") });
        let entry = log.row(row(&log, 0, Some(b"ab"), None), image(), NOW);
        assert_eq!(entry.objects.len(), 2, "a segment that goes on has no image");
        seal(&mut log, &entry, &key);
        let entry = log.row(row(&log, 1, Some(b"c"), Some(3)), image(), NOW);
        let name = |slot| log.name(&rendition(), slot);
        let pushed: Vec<_> = entry.objects.iter().map(|(name, _)| name.clone()).collect();
        let (msn, part) = (MediaSequence(0), PartIndex(1));
        assert_eq!(pushed, [name(Slot::Part { msn, part }), name(Slot::Image { msn })]);
        let stated = entry.body.objects.last().unwrap();
        assert_eq!((stated.slot, stated.digest, stated.length), (Slot::Image { msn }, sha256(b"jpeg"), 4));
        // Sound has no picture, so signing refuses the image; the rest of the body is valid.
        let refusal = seal::sign_seal(&entry.body, &key).unwrap_err().to_string();
        assert!(refusal.contains("image of sound"), "{refusal}");
        let entry = log.row(row(&log, 1, None, Some(0)), image(), NOW);
        assert!(entry.objects.is_empty(), "a gap shows nothing");
    }

    #[test]
    fn epoch_begins_past_an_open_segment_and_after_an_end() {
        let key = SealingKey::generate().unwrap();
        let mut first = log(1, None);
        let entry = first.row(row(&first, 0, Some(b"ab"), None), None, NOW);
        let open = seal(&mut first, &entry, &key);
        let mut second = log(2, Some(&LogPosition::after(&open)));
        assert_eq!(second.next_msn(), MediaSequence(1));
        let entry = second.row(row(&second, 0, Some(b"cd"), None), None, NOW);
        let sealed = seal(&mut second, &entry, &key);
        Head::of(&open).admits(sealed.body()).unwrap();
        let entry = second.end(NOW);
        let end = seal(&mut second, &entry, &key);
        Head::of(&sealed).admits(end.body()).unwrap();
        let mut third = log(3, Some(&LogPosition::after(&end)));
        let entry = third.row(row(&third, 0, Some(b"ef"), None), None, NOW);
        let sealed = seal(&mut third, &entry, &key);
        Head::of(&end).admits(sealed.body()).unwrap();
        assert_eq!((sealed.body().next_msn, sealed.body().discontinuity), (MediaSequence(2), DiscontinuitySequence(2)));
    }
}
