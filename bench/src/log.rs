//! A synthetic stream for measurements: real keys, real seals, arbitrary bytes as media.

use bytes::Bytes;
use media::{
    BitsPerSecond, ClusterId, Digest, DiscontinuitySequence, Epoch, Format, LogSequence, MediaSequence, NodeId,
    ObjectName, PartIndex, RenditionId, SessionId, Slot, StreamId, Timescale, Timestamp, Track, UnixMillis,
};
use messages::{SessionInfo, SessionState};
use seal::{Grant, Keyring, Object, Rendition, Rights, RootKey, Scope, SealBody, SealKind, Sealed, SealingKey};

/// Parts of a segment: a segment has 4 s, a part half a second.
const PARTS: u32 = 8;
/// Duration of a part, in ticks.
const PART_TICKS: i64 = 45_000;
const SESSION: SessionId = SessionId([7; 16]);
const EPOCH: Epoch = Epoch(1);
/// Bytes of an init segment.
const INIT_BYTES: usize = 700;

/// One row: its seal, and the objects to push.
pub(crate) struct Row {
    pub(crate) sealed: Sealed,
    pub(crate) objects: Vec<(ObjectName, Bytes)>,
}

/// Makes the rows of one stream's log.
pub(crate) struct Author {
    key: SealingKey,
    pub(crate) root: RootKey,
    pub(crate) grant: Grant,
    pub(crate) keyring: Keyring,
    pub(crate) stream: StreamId,
    renditions: Vec<RenditionId>,
    /// Bytes of each part to come.
    pub(crate) part_bytes: usize,
    now: UnixMillis,
    previous: Digest,
    sequence: u64,
    segment: Vec<Vec<u8>>,
}

impl Author {
    pub(crate) fn new(renditions: u32, part_bytes: usize, now: UnixMillis) -> anyhow::Result<Self> {
        let (root, key) = (RootKey::generate()?, SealingKey::generate()?);
        let stream = StreamId::new("bench")?;
        let grant = Grant {
            public_key: key.public_key_bytes(),
            node: NodeId::new("ingest")?,
            scope: Scope::Streams(vec![stream.clone()]),
            may_delegate: false,
            from: UnixMillis(now.0 - 60_000),
            until: UnixMillis(now.0 + 86_400_000),
        };
        let keyring = Keyring::new(Self::cluster()?).with(Rights { grants: vec![grant.clone()], ..Rights::default() });
        let names: Result<Vec<_>, _> = (0..renditions).map(|n| RenditionId::new(&format!("r{n:02}"))).collect();
        let renditions = names?;
        Ok(Self {
            segment: vec![Vec::new(); renditions.len()],
            key,
            root,
            grant,
            keyring,
            stream,
            renditions,
            part_bytes,
            now,
            previous: Digest::NONE,
            sequence: 0,
        })
    }

    /// The announcement that its ingest makes of its session.
    pub(crate) fn session(&self, now: UnixMillis) -> SessionInfo {
        SessionInfo {
            stream: self.stream.clone(),
            epoch: EPOCH,
            session: SESSION,
            ingest: self.grant.node.clone(),
            state: SessionState::Live,
            started_at: now,
            ladder: Vec::new(),
            owners: Vec::new(),
            replicas: 1,
        }
    }

    pub(crate) fn cluster() -> anyhow::Result<ClusterId> {
        Ok(ClusterId::new("bench")?)
    }

    /// The next row, made at `now`.
    pub(crate) fn next(&mut self, now: UnixMillis) -> anyhow::Result<Row> {
        let part = u32::try_from(self.sequence % u64::from(PARTS))?;
        let msn = MediaSequence(self.sequence / u64::from(PARTS));
        let completes = part + 1 == PARTS;
        let mut pushed = Vec::new();
        let mut objects = Vec::new();
        for (index, rendition) in self.renditions.clone().into_iter().enumerate() {
            let init = init(&rendition);
            if self.sequence == 0 {
                objects.push(self.object(&rendition, Slot::Init, &init, 0));
                pushed.push((self.name(&rendition, Slot::Init), init.clone()));
            }
            let slot = Slot::Part { msn, part: PartIndex(part) };
            let mut bytes = format!("{rendition}/{}", self.sequence).into_bytes();
            bytes.resize(self.part_bytes, 0x5a);
            let segment = self.segment.get_mut(index).expect("one for each rendition");
            segment.extend_from_slice(&bytes);
            let whole = if completes { Some(std::mem::take(segment)) } else { None };
            objects.push(self.object(&rendition, slot, &bytes, PART_TICKS));
            if let Some(whole) = whole {
                objects.push(self.object(&rendition, Slot::Segment { msn }, &whole, PART_TICKS * i64::from(PARTS)));
            }
            pushed.push((self.name(&rendition, slot), Bytes::from(bytes)));
        }
        let checkpoint = if self.sequence == 0 || completes { self.checkpoint() } else { Vec::new() };
        let body = SealBody {
            cluster: Self::cluster()?,
            stream: self.stream.clone(),
            session: SESSION,
            epoch: EPOCH,
            sequence: LogSequence(self.sequence),
            previous: self.previous,
            issued_at: now,
            origin: self.now,
            next_msn: if completes { msn.next() } else { msn },
            discontinuity: DiscontinuitySequence(0),
            kind: SealKind::Media,
            checkpoint,
            objects,
        };
        let sealed = seal::sign_seal(&body, &self.key)?;
        self.previous = sealed.digest();
        self.sequence += 1;
        Ok(Row { sealed, objects: pushed })
    }

    fn name(&self, rendition: &RenditionId, slot: Slot) -> ObjectName {
        ObjectName { stream: self.stream.clone(), rendition: rendition.clone(), epoch: EPOCH, slot }
    }

    fn object(&self, rendition: &RenditionId, slot: Slot, bytes: &[u8], duration: i64) -> Object {
        let row = i64::try_from(self.sequence).unwrap_or(i64::MAX);
        let start = match slot {
            Slot::Init | Slot::Image { .. } => 0,
            Slot::Part { .. } => row * PART_TICKS,
            Slot::Segment { .. } => (row + 1 - i64::from(PARTS)) * PART_TICKS,
        };
        Object {
            rendition: rendition.clone(),
            slot,
            start: Timestamp::new(start, Timescale::VIDEO),
            decode_time: Timestamp::new(start, Timescale::VIDEO),
            duration: Timestamp::new(duration, Timescale::VIDEO),
            independent: true,
            gap: false,
            length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            digest: seal::digest(bytes),
            init: seal::digest(&init(rendition)),
            sync_length: None,
        }
    }

    fn checkpoint(&self) -> Vec<Rendition> {
        let rendition = |name: &RenditionId| Rendition {
            track: Track {
                rendition: name.clone(),
                codec: "avc1.64001f".to_owned(),
                timescale: Timescale::VIDEO,
                format: Format::Video { width: 1280, height: 720, frame_rate_millihertz: 30_000 },
                bandwidth_peak: BitsPerSecond(3_000_000),
                bandwidth_mean: BitsPerSecond(2_500_000),
            },
            init: seal::digest(&init(name)),
            init_length: u64::try_from(INIT_BYTES).unwrap_or(u64::MAX),
        };
        self.renditions.iter().map(rendition).collect()
    }
}

fn init(rendition: &RenditionId) -> Bytes {
    let mut bytes = rendition.as_str().as_bytes().to_vec();
    bytes.resize(INIT_BYTES, 0);
    bytes.into()
}
