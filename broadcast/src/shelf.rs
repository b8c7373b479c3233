//! The viewers' shelf: what the gate published, in the shapes that the viewers' routes take.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use media::{LogSequence, NodeId, ObjectName, RenditionId, StreamId, UnixMillis};
use messages::{SessionInfo, SessionState};
use node::clock::Clock;

use crate::actor::{Board, Views};
use crate::gate::StreamView;
use crate::viewers::{Object, Rendered, RenditionSummary, Shelf, StreamDetail, StreamSummary, Verified};

/// A stream whose newest seal is older than this is not live, whatever its session says: twenty rows.
const LIVE_AGE_MAX_MS: i64 = 10_000;

/// What a broadcast node has to show.
pub(crate) struct NodeShelf {
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    pub(crate) views: Views,
    /// Sessions as the bus tells of them: for display only.
    pub(crate) sessions: Arc<Board<SessionInfo>>,
    /// Grants and the revocation list, as the gate holds them.
    pub(crate) grants: Arc<ArcSwap<Vec<Bytes>>>,
}

impl NodeShelf {
    fn summary(&self, view: &StreamView) -> Option<StreamSummary> {
        view.multivariant.as_ref()?;
        let newest = view.newest()?;
        let session = self.sessions.get(&view.stream);
        let body = newest.body();
        let said = session.as_ref().filter(|session| session.epoch >= body.epoch).map(|session| session.state);
        Some(StreamSummary {
            name: view.stream.clone(),
            state: self.state(view, said),
            started_at: session.as_ref().map(|session| session.started_at),
            epoch: body.epoch,
            ingest: session.map(|session| session.ingest),
            renditions: view.tracks.iter().map(RenditionSummary::from).collect(),
        })
    }

    /// What the log says comes before what the bus says: an end is signed, a session's word is not.
    fn state(&self, view: &StreamView, said: Option<SessionState>) -> SessionState {
        let UnixMillis(now) = self.clock.wall();
        let is_fresh = now.saturating_sub(view.admitted_at.0) <= LIVE_AGE_MAX_MS;
        match said {
            _ if view.ended => SessionState::Ended,
            Some(SessionState::Ended) if !is_fresh => SessionState::Ended,
            Some(SessionState::Reconnecting) => SessionState::Reconnecting,
            _ if is_fresh => SessionState::Live,
            _ => SessionState::Reconnecting,
        }
    }
}

impl Shelf for NodeShelf {
    fn multivariant(&self, stream: &StreamId) -> Option<Rendered> {
        self.views.get(stream)?.multivariant.clone()
    }

    fn media_playlist(&self, stream: &StreamId, rendition: &RenditionId) -> Option<Rendered> {
        self.views.get(stream)?.media_playlists.get(rendition).cloned()
    }

    fn object(&self, name: &ObjectName) -> Option<Object> {
        let (digest, bytes) = self.views.get(&name.stream)?.media.get(name.epoch, &name.rendition, name.slot)?;
        Some(Object { bytes, digest })
    }

    fn seals(&self, stream: &StreamId, from: LogSequence) -> Option<Vec<Bytes>> {
        Some(self.views.get(stream)?.seals(from))
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.views.all().iter().filter_map(|view| self.summary(view)).collect()
    }

    fn stream(&self, stream: &StreamId) -> Option<StreamDetail> {
        let view = self.views.get(stream)?;
        let summary = self.summary(&view)?;
        let verified = view.newest().map(|newest| Verified {
            node: self.node.clone(),
            sequence: newest.body().sequence,
            epoch: newest.body().epoch,
            digest: newest.digest(),
            key: newest.key().to_string(),
            algorithm: "ML-DSA-44",
            issued_at: newest.body().issued_at,
            admitted_at: view.admitted_at,
            seals_admitted: view.seals_admitted,
            refused: view.refused.clone(),
        });
        Some(StreamDetail { summary, verified })
    }

    fn grants(&self) -> Vec<Bytes> {
        self.grants.load().to_vec()
    }
}
