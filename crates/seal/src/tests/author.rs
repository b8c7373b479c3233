//! A well-behaved ingest: makes the seals of consecutive sessions.

use std::sync::LazyLock;

use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, NodeId, Now,
    PartIndex, RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use sha2::{Digest as _, Sha256};

use crate::{
    Grant, Head, Keyring, Object, Rendition, Rights, Scope, SealBody, SealKind, Sealed, SealingKey, sign_seal,
};

pub(crate) const START: UnixMillis = UnixMillis(1_780_000_000_000);
pub(crate) const PARTS: u32 = 4;
const NAMES: [&str; 5] = ["1080p", "360p", "480p", "720p", "audio"];

pub(crate) static KEY: LazyLock<SealingKey> = LazyLock::new(|| SealingKey::from_seed_bytes(&[7; 32]).unwrap());

pub(crate) fn cluster() -> ClusterId {
    ClusterId::new("test").unwrap()
}

pub(crate) fn stream() -> StreamId {
    StreamId::new("demo").unwrap()
}

pub(crate) fn now(millis: i64) -> Now {
    Now { elapsed: std::time::Duration::from_millis(millis.unsigned_abs()), wall: UnixMillis(START.0 + millis) }
}

pub(crate) fn grant() -> Grant {
    Grant {
        public_key: KEY.public_key_bytes(),
        node: NodeId::new("i1").unwrap(),
        scope: Scope::Streams(vec![stream()]),
        may_delegate: false,
        from: UnixMillis(START.0 - 3_600_000),
        until: UnixMillis(START.0 + 86_400_000),
    }
}

/// A keyring that has these grants, and nothing else.
pub(crate) fn granted(grants: Vec<Grant>) -> Keyring {
    Keyring::new(cluster()).with(Rights { grants, ..Rights::default() })
}

pub(crate) fn keyring() -> Keyring {
    granted(vec![grant()])
}

pub(crate) fn digest(of: impl AsRef<[u8]>) -> Digest {
    Digest(Sha256::digest(of).into())
}

fn timescale(name: &str) -> Timescale {
    if name == "audio" { Timescale::new(48_000).unwrap() } else { Timescale::VIDEO }
}

#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) epoch: u64,
    pub(crate) head: Option<Head>,
    opening: bool,
    rows: i64,
    /// Makes the media of two authors differ, and so their digests.
    pub(crate) salt: u8,
}

impl Author {
    pub(crate) fn new() -> Self {
        Self::opening(1)
    }

    /// The first session of a log.
    pub(crate) fn opening(epoch: u64) -> Self {
        Self { epoch, head: None, opening: true, rows: 0, salt: 0 }
    }

    /// A new session that builds on this head.
    pub(crate) fn after(head: &Head, epoch: u64) -> Self {
        Self { epoch, head: Some(head.clone()), opening: true, rows: 0, salt: 0 }
    }

    pub(crate) fn next_body(&self) -> SealBody {
        let head = self.head.as_ref();
        let (msn, part) = match head {
            Some(head) if self.opening => (head.epoch_start(), PartIndex(0)),
            Some(head) => (head.next_msn, head.next_part),
            None => (MediaSequence(0), PartIndex(0)),
        };
        let completes = part.0 + 1 == PARTS;
        let mut body = self.empty_body();
        body.next_msn = if completes { msn.next() } else { msn };
        for name in NAMES {
            let mut slots = vec![Slot::Part { msn, part }];
            if self.opening {
                slots.insert(0, Slot::Init);
            }
            if completes {
                slots.push(Slot::Segment { msn });
            }
            body.objects.extend(slots.into_iter().map(|slot| self.object(name, slot)));
            if self.opening || completes {
                body.checkpoint.push(self.rendition(name));
            }
        }
        body
    }

    fn empty_body(&self) -> SealBody {
        let head = self.head.as_ref();
        SealBody {
            cluster: cluster(),
            stream: stream(),
            session: SessionId([u8::try_from(self.epoch % 200).unwrap() + self.salt; 16]),
            epoch: Epoch(self.epoch),
            sequence: head.map_or(LogSequence(0), |head| head.sequence.next()),
            previous: head.map_or(Digest::NONE, |head| head.digest),
            issued_at: UnixMillis(START.0 + self.rows * 500),
            origin: UnixMillis(START.0 - 10_000),
            next_msn: MediaSequence(0),
            discontinuity: match head {
                Some(head) if self.opening => head.discontinuity.next(),
                Some(head) => head.discontinuity,
                None => DiscontinuitySequence(0),
            },
            kind: SealKind::Media,
            checkpoint: Vec::new(),
            objects: Vec::new(),
        }
    }

    fn object(&self, name: &str, slot: Slot) -> Object {
        let scale = timescale(name);
        let half_seconds = |count: i64| Timestamp::new(count * i64::from(scale.get()) / 2, scale);
        let part = self.head.as_ref().filter(|_| !self.opening).map_or(0, |head| i64::from(head.next_part.0));
        let row = 20 + self.rows;
        let (start, duration) = match slot {
            Slot::Init => (half_seconds(0), half_seconds(0)),
            Slot::Part { .. } => (half_seconds(row), half_seconds(1)),
            Slot::Segment { .. } => (half_seconds(row - part), half_seconds(part + 1)),
            Slot::Image { .. } => unreachable!("images are put in where a test wants one"),
        };
        let init = digest(format!("{name} init {}", self.epoch));
        let bytes =
            if slot == Slot::Init { init } else { digest(format!("{name} {slot} {} {}", self.epoch, self.salt)) };
        Object {
            rendition: RenditionId::new(name).unwrap(),
            slot,
            start,
            decode_time: start,
            duration,
            independent: true,
            gap: false,
            length: if slot == Slot::Init { 800 } else { 100_000 },
            digest: bytes,
            init,
            sync_length: (matches!(slot, Slot::Part { .. }) && name != "audio").then_some(40_000),
        }
    }

    fn rendition(&self, name: &str) -> Rendition {
        let video = Format::Video { width: 1920, height: 1080, frame_rate_millihertz: 30_000 };
        let audio = Format::Audio { sample_rate_hz: 48_000, channels: 2 };
        let track = Track {
            rendition: RenditionId::new(name).unwrap(),
            codec: if name == "audio" { "mp4a.40.2" } else { "avc1.64001f" }.to_owned(),
            timescale: timescale(name),
            format: if name == "audio" { audio } else { video },
            bandwidth_peak: BitsPerSecond(5_000_000),
            bandwidth_mean: BitsPerSecond(4_000_000),
        };
        Rendition { track, init: digest(format!("{name} init {}", self.epoch)), init_length: 800 }
    }

    /// Signs a body and continues after it.
    pub(crate) fn sign(&mut self, body: &SealBody) -> Sealed {
        let sealed = sign_seal(body, &*KEY).unwrap();
        self.head = Some(Head::of(&sealed));
        self.opening = false;
        self.rows += 1;
        sealed
    }

    pub(crate) fn row(&mut self) -> Sealed {
        self.sign(&self.next_body())
    }

    pub(crate) fn rows(&mut self, count: usize) -> Vec<Sealed> {
        (0..count).map(|_| self.row()).collect()
    }

    pub(crate) fn end(&mut self) -> Sealed {
        let mut body = self.empty_body();
        body.kind = SealKind::End;
        body.next_msn = self.head.as_ref().unwrap().epoch_start();
        self.sign(&body)
    }
}
