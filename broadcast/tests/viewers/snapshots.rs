//! Snapshots with fixed content: real playlists, and bytes with a pattern.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use broadcast::viewers::{
    Coming, NoPlace, Object, Reach, Reading, RenditionSummary, Snapshots, StreamDetail, StreamSummary, Trusted,
    Trusting, Verified, Waiter,
};
use bytes::Bytes;
use gate::{Lists, Look, Playlist, Rendered};
use media::{BitsPerSecond, Digest, Epoch, LogSequence, NodeId, ObjectName, RenditionId, Slot, StreamId, UnixMillis};
use messages::{AlertReason, SessionState};
use playlist::reload::Directives;
use playlist::render::Steering;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

pub(crate) const MULTIVARIANT: &str = include_str!("../../../crates/playlist/testdata/first-multivariant.m3u8");
pub(crate) const MEDIA_PLAYLIST: &str = include_str!("../../../crates/playlist/testdata/reconnect-720p.m3u8");
pub(crate) const SEGMENT: &str = "/live/demo/720p/1/7.m4s";
pub(crate) const POSTER: &str = "/live/demo/poster.jpg";
pub(crate) const IMAGE: &str = "/live/demo/720p/1/7.jpg";
/// Long enough to be sent in several pieces.
pub(crate) const SEGMENT_BYTES: usize = 300_000;
pub(crate) const SEALS: usize = 5;
pub(crate) const SEAL_BYTES: usize = 4_000;

/// What a test sees and holds of the node.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    /// How often the streams were listed.
    pub(crate) lists: Arc<AtomicUsize>,
    /// Whether a DVR playlist is being rendered, and whether it may be finished.
    pub(crate) rendering: watch::Sender<bool>,
    pub(crate) may_finish: Arc<(Mutex<bool>, Condvar)>,
}

impl Watched {
    /// Takes until it may finish, on a thread that it holds meanwhile, as real rendering does.
    fn render(&self) {
        self.rendering.send_replace(true);
        let (may_finish, changed) = &*self.may_finish;
        let held = may_finish.lock().unwrap();
        drop(changed.wait_timeout_while(held, Duration::from_secs(10), |may_finish| !*may_finish).unwrap());
    }

    pub(crate) fn finish(&self) {
        *self.may_finish.0.lock().unwrap() = true;
        self.may_finish.1.notify_all();
    }
}

pub(crate) struct Fixed {
    pub(crate) watched: Watched,
    playlists: BTreeMap<&'static str, Rendered>,
    objects: BTreeMap<String, Object>,
}

/// The bytes of an object: different for each name.
pub(crate) fn bytes_of(name: &str, length: usize) -> Bytes {
    let seed = Sha256::digest(name);
    seed.iter().copied().cycle().zip(0_u32..).map(|(byte, at)| byte ^ at.to_le_bytes()[1]).take(length).collect()
}

impl Fixed {
    pub(crate) fn new() -> Self {
        let names = [
            (SEGMENT, SEGMENT_BYTES),
            ("/live/demo/720p/1/7.0.m4s", 40_000),
            ("/live/demo/720p/1/init.mp4", 800),
            (IMAGE, 9_000),
            ("/live/demo/audio/1/7.m4s", 60_000),
            ("/live/demo/audio/1/init.mp4", 700),
        ];
        let object = |(name, length): (&str, usize)| {
            let bytes = bytes_of(name, length);
            let digest = Digest(Sha256::digest(&bytes).into());
            (name.to_owned(), Object { bytes, digest })
        };
        let playlists = BTreeMap::from([("720p", Rendered::new(MEDIA_PLAYLIST))]);
        Self { watched: Watched::default(), playlists, objects: names.into_iter().map(object).collect() }
    }

    fn summary() -> StreamSummary {
        StreamSummary {
            name: StreamId::new("demo").unwrap(),
            state: SessionState::Live,
            started_at: Some(UnixMillis(1_767_225_600_000)),
            epoch: Epoch(1),
            ingest: Some(NodeId::new("i1").unwrap()),
            poster: Some(POSTER.into()),
            thumbnails: Some("/live/demo/720p/{epoch}/{msn}.jpg".into()),
            renditions: vec![RenditionSummary {
                name: RenditionId::new("720p").unwrap(),
                codec: "avc1.64001f".into(),
                width: Some(1280),
                height: Some(720),
                frame_rate: Some(30.0),
                bandwidth: BitsPerSecond(3_000_000),
            }],
            dvr: None,
        }
    }
}

fn is_demo(stream: &StreamId) -> bool {
    stream.as_str() == "demo"
}

impl Snapshots for Fixed {
    fn multivariant(&self, stream: &StreamId, _: Reach) -> Option<Rendered> {
        is_demo(stream).then(|| Rendered::new(MULTIVARIANT))
    }

    fn steered(&self, stream: &StreamId, steering: &Steering) -> Option<String> {
        // Its content is tested where it is made.
        is_demo(stream).then(|| format!("{MULTIVARIANT}# {}\n", steering.server_uri))
    }

    fn playlist(
        &self,
        stream: &StreamId,
        rendition: &RenditionId,
        (lists, reach): (Lists, Reach),
        _: &Directives,
    ) -> Look<Playlist> {
        if reach == Reach::Dvr {
            self.watched.render();
        }
        let text = self.playlists.get(rendition.as_str()).filter(|_| is_demo(stream) && lists == Lists::Media);
        text.map_or(Look::Absent, |text| Look::Here(Playlist { text: text.clone(), is_ended: false }))
    }

    fn object(&self, name: &ObjectName) -> Look<Object> {
        self.objects.get(&name.to_string()).map_or(Look::Absent, |object| Look::Here(object.clone()))
    }

    fn poster(&self, stream: &StreamId) -> Option<ObjectName> {
        let slot = Slot::parse("7.jpg")?;
        let rendition = RenditionId::new("720p").ok()?;
        let name = ObjectName { stream: stream.clone(), rendition, epoch: Epoch(1), slot };
        is_demo(stream).then_some(name)
    }

    fn attend(&self, _: &StreamId, _: Option<&RenditionId>, _: Option<std::net::IpAddr>) -> Option<Coming> {
        None
    }

    fn is_elsewhere(&self, _: &StreamId) -> bool {
        false
    }

    fn is_interrupted(&self, _: &StreamId) -> bool {
        false
    }

    fn kept(&self, _: &ObjectName) -> Option<Reading> {
        None
    }

    fn wait(&self, _: &StreamId, _: Option<std::net::IpAddr>) -> Result<Waiter, NoPlace> {
        Err(NoPlace::Taken)
    }

    fn seals(&self, stream: &StreamId, from: LogSequence) -> Option<Vec<Bytes>> {
        let from = usize::try_from(from.0).unwrap_or(usize::MAX);
        is_demo(stream).then(|| (0..SEALS).skip(from).map(seal).collect())
    }

    fn trust(&self, stream: &StreamId) -> Trusting {
        let answer = if is_demo(stream) { Trusted::Here(Rendered::new("trust")) } else { Trusted::Absent };
        Box::pin(std::future::ready(answer))
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.watched.lists.fetch_add(1, Ordering::SeqCst);
        vec![Self::summary()]
    }

    fn stream(&self, stream: &StreamId) -> Option<StreamDetail> {
        let verified = Verified {
            node: NodeId::new("b1").unwrap(),
            sequence: LogSequence(4),
            epoch: Epoch(1),
            digest: Digest([0xab; 32]),
            key: "00".repeat(16),
            algorithm: "ML-DSA-44",
            issued_at: UnixMillis(1_767_225_601_000),
            admitted_at: UnixMillis(1_767_225_601_040),
            seals_admitted: 5,
            refused: BTreeMap::from([(AlertReason::Digest, 2)]),
        };
        is_demo(stream).then(|| StreamDetail { summary: Self::summary(), verified: Some(verified) })
    }

    fn grants(&self) -> Trusting {
        Box::pin(std::future::ready(Trusted::Here(Rendered::new(b"grants".to_vec()))))
    }
}

pub(crate) fn seal(sequence: usize) -> Bytes {
    bytes_of(&format!("seal {sequence}"), SEAL_BYTES)
}
