//! The viewers' shelf: what the gate published, in the shapes that the viewers' routes take.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use media::{LogSequence, NodeId, ObjectName, RenditionId, StreamId, UnixMillis};
use messages::{SessionInfo, SessionState};
use node::clock::Clock;
use playlist::reload::Directives;
use playlist::render::Steering;

use crate::actor::{Board, Views};
use crate::dvr::{self, Dvr};
use crate::gate::{Playlists, Shown, StreamView};
use crate::viewers::{
    DvrSummary, Lists, Look, NoPlace, Object, OnDisk, Playlist, Reach, Reading, Rendered, RenditionSummary, Shelf,
    StreamDetail, StreamSummary, Verified, Waiter,
};

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
    /// Recordings; `None` when nothing is recorded.
    pub(crate) dvr: Option<Dvr>,
}

impl NodeShelf {
    /// Looks at the playlists of a stream that go back as far as is wanted.
    fn shown<T>(&self, stream: &StreamId, reach: Reach, look: impl FnOnce(Shown<'_>) -> T) -> Option<T> {
        let playlists = self.views.get(stream)?.playlists.clone()?;
        match reach {
            Reach::Live => Some(look(playlists.live())),
            Reach::Dvr => {
                let dvr = self.dvr.as_ref()?;
                Some(look(playlists.long(|timeline| dvr.past(stream, timeline))?))
            }
        }
    }

    fn summary(&self, view: &StreamView) -> Option<StreamSummary> {
        view.playlists.as_ref()?;
        let newest = view.newest()?;
        let session = self.sessions.get(&view.stream);
        let body = newest.body();
        let image = view.media.newest_image();
        let said = session.as_ref().filter(|session| session.epoch >= body.epoch).map(|session| session.state);
        Some(StreamSummary {
            name: view.stream.clone(),
            state: self.state(view, said),
            started_at: session.as_ref().map(|session| session.started_at),
            epoch: body.epoch,
            ingest: session.map(|session| session.ingest),
            poster: image.as_ref().map(|_| format!("/live/{}/poster.jpg", view.stream)),
            thumbnails: image
                .map(|(_, rendition, ..)| format!("/live/{}/{rendition}/{{epoch}}/{{msn}}.jpg", view.stream)),
            renditions: view.tracks.iter().map(RenditionSummary::from).collect(),
            dvr: self.dvr.as_ref().filter(|dvr| dvr.has(&view.stream)).map(|dvr| DvrSummary {
                url: format!("/live/{}/dvr.m3u8", view.stream),
                window_s: dvr.window().as_secs(),
            }),
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
    fn multivariant(&self, stream: &StreamId, reach: Reach) -> Option<Rendered> {
        self.shown(stream, reach, |shown| shown.multivariant().cloned())?
    }

    fn steered(&self, stream: &StreamId, steering: &Steering) -> Option<String> {
        self.shown(stream, Reach::Live, |shown| shown.steered(steering))?
    }

    fn playlist(
        &self,
        stream: &StreamId,
        rendition: &RenditionId,
        (lists, reach): (Lists, Reach),
        wanted: &Directives,
    ) -> Look<Playlist> {
        self.shown(stream, reach, |shown| shown.reload(rendition, lists, wanted)).unwrap_or(Look::Absent)
    }

    fn object(&self, name: &ObjectName) -> Look<Object> {
        let Some(view) = self.views.get(&name.stream) else { return Look::Absent };
        if let Some((digest, bytes)) = view.media.get(name.epoch, &name.rendition, name.slot) {
            return Look::Here(Object { bytes, digest });
        }
        if view.media.is_gap(name.epoch, &name.rendition, name.slot) {
            return Look::Here(Object::nothing());
        }
        // Playlists of before a log that broke off are shown until the next epoch has made up for it; what they hint never comes.
        let is_open = view.newest().is_some_and(|newest| newest.body().epoch <= name.epoch);
        let is_hinted = |playlists: &Arc<Playlists>| playlists.hints(name.epoch, &name.rendition, name.slot);
        if is_open && view.playlists.as_ref().is_some_and(is_hinted) { Look::Soon } else { Look::Absent }
    }

    fn poster(&self, stream: &StreamId) -> Option<Object> {
        let (.., digest, bytes) = self.views.get(stream)?.media.newest_image()?;
        Some(Object { bytes, digest })
    }

    fn kept(&self, name: &ObjectName) -> Option<Reading> {
        let (dvr, name) = (self.dvr.clone()?, name.clone());
        dvr.has(&name.stream).then(|| -> Reading {
            Box::pin(async move {
                match dvr.read(&name).await {
                    dvr::Read::Here(object) => OnDisk::Here(object),
                    dvr::Read::Absent => OnDisk::Absent,
                    dvr::Read::Busy => OnDisk::Busy,
                }
            })
        })
    }

    fn wait(&self, stream: &StreamId) -> Result<Waiter, NoPlace> {
        self.views.wait(stream, self.clock)
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
