//! The viewers' snapshots: what the gate published, in the shapes that the viewers' routes take.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gate::{Holding, Lists, Look, Playlist, Playlists, Rendered, Shown, StreamView};
use media::{LogSequence, NodeId, ObjectName, RenditionId, Slot, StreamId, UnixMillis};
use messages::{SessionInfo, SessionState};
use node::clock::Clock;
use playlist::reload::Directives;
use playlist::render::Steering;

use crate::actor::{Board, Views};
use crate::dvr::{self, Dvr};
use crate::edge::Fetcher;
use crate::follow::Attention;
use crate::trust::TrustAnswers;
use crate::viewers::{
    Coming, DvrSummary, NoPlace, Object, OnDisk, Reach, Reading, RenditionSummary, Snapshots, StreamDetail,
    StreamSummary, Trusted, Trusting, Verified, Waiter,
};

/// A stream whose newest seal is older than this is not live, whatever its session says: twenty rows.
const LIVE_AGE_MAX_MS: i64 = 10_000;

/// The snapshots of a broadcast node.
pub(crate) struct NodeSnapshots {
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    pub(crate) views: Views,
    /// Sessions as the bus tells of them: for display only.
    pub(crate) sessions: Arc<Board<SessionInfo>>,
    /// The keys that may seal, for browsers.
    pub(crate) trust: TrustAnswers,
    /// Recordings; `None` when nothing is recorded.
    pub(crate) dvr: Option<Dvr>,
    /// Where viewers' requests for streams are noted.
    pub(crate) attention: Attention,
    /// Whether a message came by the bus since the start.
    pub(crate) has_heard: Arc<AtomicBool>,
    /// Fetches what an edge does not have from the owners.
    pub(crate) fetcher: Fetcher,
}

impl NodeSnapshots {
    /// Looks at the live or the DVR playlists of a stream.
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
        // The owners of an edge's stream record it if this node would: nodes are configured alike, and a balancer asks the owners.
        let is_edge = view.holding == Holding::Edge;
        let said = session.as_ref().filter(|session| session.epoch >= body.epoch).map(|session| session.state);
        Some(StreamSummary {
            name: view.stream.clone(),
            state: self.state(view, said),
            started_at: session.as_ref().map(|session| session.started_at),
            epoch: body.epoch,
            ingest: session.map(|session| session.ingest),
            poster: image.as_ref().map(|_| poster_of(&view.stream)),
            thumbnails: image.map(|(_, rendition)| format!("/live/{}/{rendition}/{{epoch}}/{{msn}}.jpg", view.stream)),
            renditions: view.tracks.iter().map(RenditionSummary::from).collect(),
            dvr: self.dvr.as_ref().filter(|dvr| is_edge || dvr.has(&view.stream)).map(|dvr| DvrSummary {
                url: format!("/live/{}/dvr.m3u8", view.stream),
                window_s: dvr.window().as_secs(),
            }),
        })
    }

    /// Summary of a stream that other nodes own and no viewer has asked this one for, as its ingest announced it.
    fn announced(&self, session: SessionInfo) -> StreamSummary {
        StreamSummary {
            poster: Some(poster_of(&session.stream)),
            name: session.stream,
            state: session.state,
            started_at: Some(session.started_at),
            epoch: session.epoch,
            ingest: Some(session.ingest),
            thumbnails: None,
            renditions: session.ladder.iter().map(RenditionSummary::from).collect(),
            dvr: None,
        }
    }

    /// Fetches an object that an admitted seal names, and that is at the owners of its stream; `None` when it is not.
    fn fetch(&self, name: &ObjectName) -> Option<Reading> {
        let view = self.views.get(&name.stream)?;
        let absent = view.media.elsewhere(name.epoch, &name.rendition, name.slot)?;
        let (fetcher, name, digest) = (self.fetcher.clone(), name.clone(), absent.digest);
        Some(Box::pin(async move {
            match fetcher.get(name, absent, &view).await {
                Some(bytes) => OnDisk::Here(Object { bytes, digest }),
                // An owner that a balancer reaches may have it.
                None => OnDisk::Absent,
            }
        }))
    }

    /// The log comes before the bus: an end is signed, what a session says is not.
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

fn poster_of(stream: &StreamId) -> String {
    format!("/live/{stream}/poster.jpg")
}

impl Snapshots for NodeSnapshots {
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
        let is_listed = |playlists: &Arc<Playlists>| playlists.has(&name.rendition);
        if view.media.lacks(name.epoch, &name.rendition) && view.playlists.as_ref().is_some_and(is_listed) {
            return Look::Here(Object::nothing());
        }
        // Playlists from before a log broke off are shown until the next epoch has made up for it; what they hint never comes.
        let is_open = view.newest().is_some_and(|newest| newest.body().epoch <= name.epoch);
        let is_hinted = |playlists: &Arc<Playlists>| playlists.hints(name.epoch, &name.rendition, name.slot);
        if is_open && view.playlists.as_ref().is_some_and(is_hinted) { Look::Soon } else { Look::Absent }
    }

    fn poster(&self, stream: &StreamId) -> Option<ObjectName> {
        let (key, rendition) = self.views.get(stream)?.media.newest_image()?;
        Some(ObjectName { stream: stream.clone(), rendition, epoch: key.epoch, slot: Slot::Image { msn: key.msn } })
    }

    fn attend(&self, stream: &StreamId, rendition: Option<&RenditionId>, from: Option<IpAddr>) -> Option<Coming> {
        self.attention.attend(stream, rendition, from)
    }

    fn is_elsewhere(&self, stream: &StreamId) -> bool {
        // An owner that came late never had what has just left the playlists; others may. Until a message came by the bus,
        // others may own any stream.
        match self.sessions.get(stream) {
            Some(session) => session.owners.is_empty() || session.owners.iter().any(|owner| *owner != self.node),
            None => self.attention.holding(stream).is_none() && !self.has_heard.load(Ordering::Relaxed),
        }
    }

    fn is_interrupted(&self, stream: &StreamId) -> bool {
        // The playlists were withdrawn, because a compromised key signed what they list.
        let is_withdrawn = |view: &gate::StreamView| view.playlists.is_none() && view.seals_admitted > 0;
        self.attention.is_interrupted(stream) || self.views.get(stream).is_some_and(|view| is_withdrawn(&view))
    }

    fn kept(&self, name: &ObjectName) -> Option<Reading> {
        if let Some(fetching) = self.fetch(name) {
            return Some(fetching);
        }
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

    fn wait(&self, stream: &StreamId, from: Option<IpAddr>) -> Result<Waiter, NoPlace> {
        self.views.wait(stream, from, self.clock)
    }

    fn seals(&self, stream: &StreamId, from: LogSequence) -> Option<Vec<Bytes>> {
        Some(self.views.get(stream)?.seals(from))
    }

    fn streams(&self) -> Vec<StreamSummary> {
        let held: BTreeMap<StreamId, StreamSummary> =
            self.views.all().iter().filter_map(|view| Some((view.stream.clone(), self.summary(view)?))).collect();
        let is_live = |session: &SessionInfo| session.state != SessionState::Ended;
        let others =
            self.sessions.all().into_iter().filter(|(name, session)| !held.contains_key(name) && is_live(session));
        let mut all: BTreeMap<StreamId, StreamSummary> =
            others.map(|(name, session)| (name, self.announced(session))).collect();
        all.extend(held);
        all.into_values().collect()
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

    fn trust(&self, stream: &StreamId) -> Trusting {
        let Some(view) = self.views.get(stream) else { return Box::pin(std::future::ready(Trusted::Absent)) };
        self.trust.get(view)
    }

    fn grants(&self) -> Trusting {
        self.trust.grants()
    }
}
