//! What an ingest makes: sealed rows of media with real signatures, each detail of which a test may change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, NodeId,
    ObjectName, PartIndex, RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use seal::{
    Grant, Keyring, Object, Rendition, Rights, RootKey, Scope, SealBody, SealKind, Sealed, SealingKey, Signer as _,
    sign_seal,
};
use sha2::{Digest as _, Sha256};

/// When tests begin: 2026-01-01.
pub const START: UnixMillis = UnixMillis(1_767_225_600_000);
/// Parts of a segment.
pub const PARTS: u32 = 8;
/// A part is half a second.
const PART_TICKS: i64 = 45_000;

pub fn cluster() -> ClusterId {
    ClusterId::new("test").unwrap()
}

pub fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

pub fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub fn rendition(name: &str) -> RenditionId {
    RenditionId::new(name).unwrap()
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// What the metadata log would say of keys. Each change returns the keyring of all that was said so far.
pub struct Authority {
    pub root: RootKey,
    rights: Mutex<Rights>,
}

impl Authority {
    pub fn new() -> Self {
        Self { root: RootKey::generate().unwrap(), rights: Mutex::default() }
    }

    /// No key at all.
    pub fn nobody() -> Arc<Keyring> {
        Arc::new(Keyring::new(cluster()))
    }

    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::new(Keyring::new(cluster()).with(self.rights.lock().unwrap().clone()))
    }

    /// Grants a studio's key its stream, as that of `i1`, from an hour before `now` for a day.
    pub fn grant(&self, studio: &Studio, now: UnixMillis) -> Arc<Keyring> {
        self.rights.lock().unwrap().grants.push(Self::statement(studio, now));
        self.keyring()
    }

    pub fn statement(studio: &Studio, now: UnixMillis) -> Grant {
        Grant {
            public_key: studio.key.public_key_bytes(),
            node: node("i1"),
            scope: Scope::Streams(vec![studio.stream.clone()]),
            may_delegate: false,
            from: UnixMillis(now.0 - 3_600_000),
            until: UnixMillis(now.0 + 86_400_000),
        }
    }

    /// Revokes a key; what it has signed stays.
    pub fn revoke(&self, key: &SealingKey) -> Arc<Keyring> {
        self.revoke_since(key, UnixMillis(i64::MAX))
    }

    /// Revokes a key that may have been in wrong hands since a time.
    pub fn revoke_since(&self, key: &SealingKey, since: UnixMillis) -> Arc<Keyring> {
        self.rights.lock().unwrap().revoked.insert(key.key_id(), since);
        self.keyring()
    }
}

/// One sealed row and the bytes it names.
#[derive(Debug, Clone)]
pub struct Row {
    pub sealed: Sealed,
    pub objects: Vec<(ObjectName, Bytes)>,
}

/// Where the log stands.
#[derive(Debug, Clone)]
struct Place {
    epoch: u64,
    sequence: u64,
    previous: Digest,
    msn: u64,
    part: u32,
    discontinuity: u64,
    row: i64,
    opened: bool,
    /// Bytes of the open segment.
    segment: BTreeMap<String, Vec<u8>>,
}

/// Writes the log of one stream.
pub struct Studio {
    pub key: SealingKey,
    pub stream: StreamId,
    pub cluster: ClusterId,
    pub renditions: Vec<String>,
    pub part_bytes: usize,
    /// Parts of a segment: [`PARTS`] unless it is changed.
    pub parts: u32,
    session: SessionId,
    origin: UnixMillis,
    place: Place,
}

impl Studio {
    pub fn new(stream_name: &str, now: UnixMillis) -> Self {
        let place = Place {
            epoch: 1,
            sequence: 0,
            previous: Digest::NONE,
            msn: 0,
            part: 0,
            discontinuity: 0,
            row: 0,
            opened: false,
            segment: BTreeMap::new(),
        };
        Self {
            key: SealingKey::generate().unwrap(),
            stream: stream(stream_name),
            cluster: cluster(),
            renditions: vec!["1080p".into(), "360p".into(), "audio".into()],
            part_bytes: 2000,
            parts: PARTS,
            session: SessionId([1; 16]),
            origin: now,
            place,
        }
    }

    /// The next row, issued `now`.
    pub fn row(&mut self, now: UnixMillis) -> Row {
        let (body, objects) = self.body(now);
        self.take(&body, objects)
    }

    /// A row whose body was changed before it was signed. The log then goes on as if this row did not exist.
    pub fn spoiled(&mut self, now: UnixMillis, spoil: impl FnOnce(&mut SealBody)) -> Row {
        let place = self.place.clone();
        let (mut body, objects) = self.body(now);
        spoil(&mut body);
        let row = Row { sealed: sign_seal(&body, &self.key).unwrap(), objects };
        self.place = place;
        row
    }

    /// The next row while the encoder is away: gaps in every rendition. The segment continues only in the next epoch.
    pub fn gap(&mut self, now: UnixMillis) -> Row {
        let (mut body, _) = self.body(now);
        for object in &mut body.objects {
            (object.gap, object.length, object.digest) = (true, 0, Digest::NONE);
            (object.independent, object.sync_length) = (false, None);
        }
        self.take(&body, Vec::new())
    }

    /// The row that completes a segment, with an image of the second rendition.
    pub fn row_with_image(&mut self, now: UnixMillis, image: &'static [u8]) -> Row {
        let (mut body, mut objects) = self.body(now);
        let whole = |object: &&Object| matches!(object.slot, Slot::Segment { .. });
        let name = self.renditions[1].clone();
        let whole = body.objects.iter().filter(whole).find(|object| object.rendition.as_str() == name).unwrap().clone();
        let Slot::Segment { msn } = whole.slot else { unreachable!("a segment") };
        let slot = Slot::Image { msn };
        let (duration, bytes) = (Timestamp::zero(whole.duration.timescale), Bytes::from_static(image));
        let (length, digest, init) = (u64::try_from(image.len()).unwrap(), sha256(image), Digest::NONE);
        body.objects.push(Object { slot, duration, length, digest, init, ..whole });
        body.objects.sort_by(|a, b| (&a.rendition, a.slot).cmp(&(&b.rendition, b.slot)));
        objects.push((self.name(&name, slot), bytes));
        self.take(&body, objects)
    }

    /// The rows up to the end of the segment.
    pub fn segment(&mut self, now: UnixMillis) -> Vec<Row> {
        (self.place.part..self.parts).map(|_| self.row(now)).collect()
    }

    /// A new session that builds on the log so far.
    pub fn reconnect(&mut self, now: UnixMillis) {
        self.place.msn += u64::from(self.place.part > 0);
        let place = &mut self.place;
        (place.epoch, place.discontinuity) = (place.epoch + 1, place.discontinuity + 1);
        (place.part, place.row, place.opened) = (0, 0, false);
        self.session.0[0] = self.session.0[0].wrapping_add(1);
        self.origin = now;
    }

    /// A new epoch of the same session, which builds on the log so far.
    pub fn reopen(&mut self, now: UnixMillis) {
        let session = self.session;
        self.reconnect(now);
        self.session = session;
    }

    /// The session of the seals to come.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The same place in the log again: for sessions that fork.
    pub fn fork(&self) -> Self {
        Self {
            key: SealingKey::from_seed_bytes(&self.key.to_seed_bytes()).unwrap(),
            stream: self.stream.clone(),
            cluster: self.cluster.clone(),
            renditions: self.renditions.clone(),
            part_bytes: self.part_bytes,
            parts: self.parts,
            session: self.session,
            origin: self.origin,
            place: self.place.clone(),
        }
    }

    /// The end of the session; closes its segment.
    pub fn end(&mut self, now: UnixMillis) -> Row {
        self.place.msn += u64::from(self.place.part > 0);
        self.place.part = 0;
        let body = self.blank(now, SealKind::End);
        self.take(&body, Vec::new())
    }

    /// Body of the next row, before it is signed, and its bytes.
    pub fn body(&mut self, now: UnixMillis) -> (SealBody, Vec<(ObjectName, Bytes)>) {
        let place = self.place.clone();
        let completes = place.part + 1 == self.parts;
        let (mut listed, mut objects) = (Vec::new(), Vec::new());
        for name in self.renditions.clone() {
            let init = self.bytes(&name, "init", 100);
            if !place.opened {
                listed.push(self.object(&name, Slot::Init, &init, 0));
                objects.push((self.name(&name, Slot::Init), init));
            }
            let slot = Slot::Part { msn: MediaSequence(place.msn), part: PartIndex(place.part) };
            let part = self.bytes(&name, &slot.to_string(), self.part_bytes);
            listed.push(self.object(&name, slot, &part, PART_TICKS));
            if place.part == 0 {
                self.place.segment.insert(name.clone(), Vec::new());
            }
            self.place.segment.entry(name.clone()).or_default().extend_from_slice(&part);
            objects.push((self.name(&name, slot), part));
            if completes {
                let slot = Slot::Segment { msn: MediaSequence(place.msn) };
                let whole = self.place.segment.get(&name).cloned().unwrap_or_default();
                let mut object = self.object(&name, slot, &whole, PART_TICKS * i64::from(self.parts));
                let behind = PART_TICKS * i64::from(place.part);
                object.start.ticks -= behind;
                object.decode_time = object.start.rescale(object.decode_time.timescale);
                listed.push(object);
            }
        }
        (self.place.msn, self.place.part) = if completes { (place.msn + 1, 0) } else { (place.msn, place.part + 1) };
        self.place.row += 1;
        let mut body = self.blank(now, SealKind::Media);
        body.objects = listed;
        if completes || !place.opened {
            body.checkpoint = self.renditions.iter().map(|name| self.checkpoint(name)).collect();
        }
        self.place.opened = true;
        (body, objects)
    }

    /// Signs a row and lets the log go on after it.
    pub fn take(&mut self, body: &SealBody, objects: Vec<(ObjectName, Bytes)>) -> Row {
        let sealed = sign_seal(body, &self.key).unwrap();
        (self.place.sequence, self.place.previous) = (self.place.sequence + 1, sealed.digest());
        Row { sealed, objects }
    }

    /// Part that comes next in the open segment.
    pub fn part(&self) -> u32 {
        self.place.part
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.place.epoch)
    }

    fn blank(&self, now: UnixMillis, kind: SealKind) -> SealBody {
        SealBody {
            cluster: self.cluster.clone(),
            stream: self.stream.clone(),
            session: self.session,
            epoch: Epoch(self.place.epoch),
            sequence: LogSequence(self.place.sequence),
            previous: self.place.previous,
            issued_at: now,
            origin: self.origin,
            next_msn: MediaSequence(self.place.msn),
            discontinuity: DiscontinuitySequence(self.place.discontinuity),
            kind,
            checkpoint: vec![],
            objects: vec![],
        }
    }

    fn name(&self, name: &str, slot: Slot) -> ObjectName {
        ObjectName { stream: self.stream.clone(), rendition: rendition(name), epoch: Epoch(self.place.epoch), slot }
    }

    /// Bytes that differ for every object.
    fn bytes(&self, name: &str, what: &str, length: usize) -> Bytes {
        let seed = format!("{} {} {name} {what} {:?};", self.stream, self.place.epoch, self.session);
        seed.bytes().cycle().take(length).collect()
    }

    fn timescale(name: &str) -> Timescale {
        if name == "audio" { Timescale::new(48_000).unwrap() } else { Timescale::VIDEO }
    }

    fn object(&self, name: &str, slot: Slot, bytes: &[u8], ticks: i64) -> Object {
        let scale = Self::timescale(name);
        let is_init = slot == Slot::Init;
        let start = if is_init { 0 } else { self.place.row * PART_TICKS };
        let start = Timestamp::new(start, Timescale::VIDEO);
        Object {
            rendition: rendition(name),
            slot,
            start,
            decode_time: start.rescale(scale),
            duration: Timestamp::new(ticks, Timescale::VIDEO).rescale(scale),
            independent: true,
            gap: false,
            length: u64::try_from(bytes.len()).unwrap(),
            digest: sha256(bytes),
            init: if is_init { sha256(bytes) } else { sha256(&self.bytes(name, "init", 100)) },
            sync_length: (matches!(slot, Slot::Part { .. }) && name != "audio").then_some(bytes.len() as u64 / 2),
        }
    }

    fn checkpoint(&self, name: &str) -> Rendition {
        let audio = name == "audio";
        let height: u32 = name.trim_end_matches('p').parse().unwrap_or(0);
        let format = if audio {
            Format::Audio { sample_rate_hz: 48_000, channels: 2 }
        } else {
            Format::Video { width: height * 16 / 9, height, frame_rate_millihertz: 30_000 }
        };
        let track = Track {
            rendition: rendition(name),
            codec: if audio { "mp4a.40.2" } else { "avc1.64001f" }.to_owned(),
            timescale: Self::timescale(name),
            format,
            bandwidth_peak: BitsPerSecond(1000 * u64::from(height) + 128_000),
            bandwidth_mean: BitsPerSecond(900 * u64::from(height) + 120_000),
        };
        Rendition { track, init: sha256(&self.bytes(name, "init", 100)), init_length: 100 }
    }
}
