//! What the viewers' routes need of the node: admitted things only, as snapshots.
//!
//! Owns the shapes that cross from the node's store to HTTP. Deliberately knows nothing of gates, quarantine or sockets. Each
//! method answers at once from a snapshot: it neither waits nor blocks, and an unknown name costs one look-up and leaves
//! nothing behind. A request that has to wait looks again whenever its [`Waiter`] is woken; a read from disk is a future.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;

use bytes::Bytes;
use gate::{Lists, Look, Playlist, Rendered};
use media::{
    BitsPerSecond, Digest, Epoch, Format, LogSequence, NodeId, ObjectName, RenditionId, StreamId, Track, UnixMillis,
};
use messages::{AlertReason, SessionState};
use playlist::reload::Directives;
use playlist::render::Steering;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{NoPlace, Waiter};

/// What a node has admitted, as its viewers may see it.
pub trait Snapshots: Send + Sync + 'static {
    /// The multivariant playlist; `None` when the stream is unknown or has no rendition yet.
    fn multivariant(&self, stream: &StreamId, reach: Reach) -> Option<Rendered>;

    /// The live multivariant playlist with content steering; `None` like the plain one.
    fn steered(&self, stream: &StreamId, steering: &Steering) -> Option<String>;

    /// A playlist of a rendition, once it has what `wanted` asks for.
    fn playlist(
        &self,
        stream: &StreamId,
        rendition: &RenditionId,
        which: (Lists, Reach),
        wanted: &Directives,
    ) -> Look<Playlist>;

    /// An admitted media object. Absent when it is unknown and not hinted, or when it is gone.
    fn object(&self, name: &ObjectName) -> Look<Object>;

    /// Where the newest image of a stream is; `None` when there is none.
    fn poster(&self, stream: &StreamId) -> Option<ObjectName>;

    /// An object that is absent from memory and may be on disk or at another node; `None` when it is at neither.
    fn kept(&self, name: &ObjectName) -> Option<Reading>;

    /// Notes that a viewer of the address `from` asks for a stream. When the stream is at other nodes only, or is interrupted, returns a future that
    /// resolves once it is here, or once the wait is over.
    fn attend(&self, stream: &StreamId, rendition: Option<&RenditionId>, from: Option<IpAddr>) -> Option<Coming>;

    /// Whether other nodes own the stream, too, and may have what this one lacks.
    fn is_elsewhere(&self, stream: &StreamId) -> bool;

    /// Whether no node has the stream now, although it is about to go on.
    fn is_interrupted(&self, stream: &StreamId) -> bool;

    /// A place to wait for a stream, for a request of the address `from`; without one it counts for no address.
    ///
    /// # Errors
    /// When there is none; says why.
    fn wait(&self, stream: &StreamId, from: Option<IpAddr>) -> Result<Waiter, NoPlace>;

    /// Admitted seals as they were signed, in log order, from `from` on, or from the oldest kept when `from` is older. The
    /// snapshots may cut a long answer off at the end, never in the middle. Empty when `from` is after the newest; `None` when the
    /// stream is unknown.
    fn seals(&self, stream: &StreamId, from: LogSequence) -> Option<Vec<Bytes>>;

    /// All streams whose playlists this node has, and those that are live at other nodes, sorted by name.
    fn streams(&self) -> Vec<StreamSummary>;

    /// A stream whose playlists this node has; `None` for any other.
    fn stream(&self, stream: &StreamId) -> Option<StreamDetail>;

    /// What a browser needs to decide which keys may seal a stream: the encoding of a [`metadata::Trust`].
    fn trust(&self, stream: &StreamId) -> Trusting;

    /// The same of all grants in force, whatever they name.
    fn grants(&self) -> Trusting;
}

/// How far back a playlist goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As far as is in memory: `index.m3u8`.
    Live,
    /// As far as is on disk: `dvr.m3u8`.
    Dvr,
}

/// A stream that is being joined.
pub type Coming = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An object that is being read from disk, or fetched from another node.
pub type Reading = Pin<Box<dyn Future<Output = OnDisk> + Send>>;

/// What a node says under `/api/v1/trust`, being put together.
pub type Trusting = Pin<Box<dyn Future<Output = Trusted> + Send>>;

/// What a node has to say on who may seal a stream.
#[derive(Debug, Clone)]
pub enum Trusted {
    /// The encoding.
    Here(Rendered),
    /// The node has no such stream.
    Absent,
    /// Not now: control's newest head speaks of rows that are not here yet, or of none.
    Soon,
}

/// What the disk, or another node, has of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDisk {
    /// The object; its digest was compared with the seal's.
    Here(Object),
    Absent,
    /// Too much is being read already.
    Busy,
}

/// The bytes of an admitted media object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The bytes; none for a gap.
    pub bytes: Bytes,
    /// Their SHA-256, as the seal names it.
    pub digest: Digest,
}

impl Object {
    /// The empty object of a gap. Players that do not know EXT-X-GAP (hlsdemux2) ask for it all the same, and fail when it is
    /// refused. Others (Shaka) ask because a hint announced the part, and blame the rendition.
    pub fn nothing() -> Self {
        Self { bytes: Bytes::new(), digest: Digest(Sha256::digest([]).into()) }
    }
}

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamSummary {
    pub name: StreamId,
    /// State of its newest session.
    pub state: SessionState,
    /// When the stream went live by the ingest's clock; survives reconnects within the grace. `None` when not known here.
    pub started_at: Option<UnixMillis>,
    /// Epoch of the newest admitted seal.
    pub epoch: Epoch,
    /// The ingest node that seals it; `None` when not known here.
    pub ingest: Option<NodeId>,
    /// URL of its newest image; `None` when there is none.
    pub poster: Option<String>,
    /// URL of the images of its segments, with `{epoch}` and `{msn}` to be filled in; `None` when there is none.
    pub thumbnails: Option<String>,
    /// Its renditions, as the newest checkpoint states them.
    pub renditions: Vec<RenditionSummary>,
    /// Its recording; `None` when it is not recorded.
    pub dvr: Option<DvrSummary>,
}

/// The recording of a stream, to watch it from an earlier point on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DvrSummary {
    /// The path of its multivariant playlist.
    pub url: String,
    /// How far back it goes at most, in seconds.
    pub window_s: u64,
}

/// A rendition in the description of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RenditionSummary {
    /// Its name in URLs.
    pub name: RenditionId,
    /// Codec as in the CODECS attribute (RFC 6381).
    pub codec: String,
    /// Width in pixels; `None` for sound.
    pub width: Option<u32>,
    /// Height in pixels; `None` for sound.
    pub height: Option<u32>,
    /// Frames per second; `None` for sound and when not known.
    pub frame_rate: Option<f64>,
    /// Largest bit rate of a segment.
    pub bandwidth: BitsPerSecond,
}

impl From<&Track> for RenditionSummary {
    fn from(track: &Track) -> Self {
        let (width, height, frame_rate) = match track.format {
            Format::Video { width, height, frame_rate_millihertz } => {
                let known = frame_rate_millihertz > 0;
                (Some(width), Some(height), known.then(|| f64::from(frame_rate_millihertz) / 1000.0))
            }
            Format::Audio { .. } => (None, None, None),
        };
        let name = track.rendition.clone();
        Self { name, codec: track.codec.clone(), width, height, frame_rate, bandwidth: track.bandwidth_peak }
    }
}

/// A stream, with what the gate checked of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamDetail {
    /// As in the list.
    #[serde(flatten)]
    pub summary: StreamSummary,
    /// What this node checked; `None` until it admitted a seal of the stream itself.
    pub verified: Option<Verified>,
}

/// What a node's gate checked of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub node: NodeId,
    /// Place in the log of the newest admitted seal.
    pub sequence: LogSequence,
    /// Epoch of that seal.
    pub epoch: Epoch,
    /// Digest of that seal.
    pub digest: Digest,
    /// Id of the key that signed it, in hexadecimal.
    pub key: String,
    /// The signature's algorithm: `ML-DSA-44`.
    pub algorithm: &'static str,
    /// When the ingest signed it.
    pub issued_at: UnixMillis,
    /// When this node admitted it.
    pub admitted_at: UnixMillis,
    /// Seals of this stream that this node admitted since it started.
    pub seals_admitted: u64,
    /// What was refused of this stream since the node started, by reason; a reason that never occurred may be absent.
    pub refused: BTreeMap<AlertReason, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_of_a_stream_is_what_the_page_reads() {
        let summary = StreamSummary {
            name: StreamId::new("demo").unwrap(),
            state: SessionState::Reconnecting,
            started_at: Some(UnixMillis(5)),
            epoch: Epoch(2),
            ingest: Some(NodeId::new("i1").unwrap()),
            poster: Some("/live/demo/poster.jpg".into()),
            thumbnails: None,
            renditions: vec![RenditionSummary {
                name: RenditionId::new("720p").unwrap(),
                codec: "avc1.64001f".into(),
                width: Some(1280),
                height: Some(720),
                frame_rate: Some(29.97),
                bandwidth: BitsPerSecond(3_000_000),
            }],
            dvr: Some(DvrSummary { url: "/live/demo/dvr.m3u8".into(), window_s: 14_400 }),
        };
        let verified = Verified {
            node: NodeId::new("b1").unwrap(),
            sequence: LogSequence(7),
            epoch: Epoch(2),
            digest: Digest([0xab; 32]),
            key: "00ff".into(),
            algorithm: "ML-DSA-44",
            issued_at: UnixMillis(6),
            admitted_at: UnixMillis(7),
            seals_admitted: 8,
            refused: BTreeMap::from([(AlertReason::Digest, 1)]),
        };
        let json = serde_json::to_value(StreamDetail { summary, verified: Some(verified) }).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "name": "demo", "state": "reconnecting", "started_at": 5, "epoch": 2, "ingest": "i1",
                "poster": "/live/demo/poster.jpg", "thumbnails": null,
                "renditions": [{"name": "720p", "codec": "avc1.64001f", "width": 1280, "height": 720,
                    "frame_rate": 29.97, "bandwidth": 3_000_000}],
                "dvr": {"url": "/live/demo/dvr.m3u8", "window_s": 14_400},
                "verified": {"node": "b1", "sequence": 7, "epoch": 2, "digest": "ab".repeat(32), "key": "00ff",
                    "algorithm": "ML-DSA-44", "issued_at": 6, "admitted_at": 7, "seals_admitted": 8,
                    "refused": {"digest": 1}},
            })
        );
    }
}
