//! What requests see of a stream: an immutable copy, replaced as a whole. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use media::{Epoch, LogSequence, RenditionId, Slot, StreamId, UnixMillis};
use messages::AlertReason;
use playlist::reload::{Answer, Directives, Edge, Extent, Presence, TooFar};
use playlist::render::{self, Steering};
use playlist::{Listing, Past, Timeline};
use seal::Sealed;

use super::Holding;
use super::ledger::Ledger;
use super::rendered::Rendered;
use super::store::Media;

/// What a playlist of a rendition lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Segments and parts: the media playlist.
    Media,
    /// The first picture of each segment.
    IFrames,
}

/// What a look at the admitted media finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// It was found.
    Here(T),
    /// It is not here yet, and is about to come.
    Soon,
    /// It is not here, and nothing says that it will come.
    Absent,
    /// It is not here, and the request is too far ahead to wait.
    TooFar(TooFar),
}

/// A media playlist.
#[derive(Debug, Clone)]
pub struct Playlist {
    /// Its text.
    pub text: Rendered,
    /// It ends with EXT-X-ENDLIST.
    pub is_ended: bool,
}

/// A stream, as it is served.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// Stream that this is a view of.
    pub stream: StreamId,
    /// Its playlists, once there is a segment.
    pub playlists: Option<Arc<Playlists>>,
    /// Admitted media.
    pub media: Media,
    /// Admitted seals that a late joiner needs, oldest first.
    pub log: Vec<Sealed>,
    /// The newest admitted seal as it travels; after a restart the one from disk.
    pub head: Option<Bytes>,
    /// Renditions of the newest checkpoint.
    pub tracks: Vec<media::Track>,
    /// Whether this node is its owner or an edge.
    pub holding: Holding,
    /// Whether a seal has ended it.
    pub ended: bool,
    /// When the newest seal was admitted.
    pub admitted_at: UnixMillis,
    /// Seals admitted since this node holds the stream.
    pub seals_admitted: u64,
    /// Number of refusals, by reason.
    pub refused: BTreeMap<AlertReason, u64>,
}

/// The playlists of a stream at one place in its log. Each is rendered once, when a request first asks for it: twenty
/// renditions in two extents cost nothing in rows for which nobody asks.
#[derive(Debug)]
pub struct Playlists {
    timeline: Timeline,
    edge: Edge,
    live: Texts,
    /// The DVR playlists, once a request has asked for one.
    long: OnceLock<(Arc<Past>, Texts)>,
}

/// Playlists, each rendered on its first request.
#[derive(Debug)]
struct Texts {
    multivariant: OnceLock<Option<Rendered>>,
    renditions: BTreeMap<RenditionId, RenditionTexts>,
    /// Where they are counted: a response may hold them for longer than the node.
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct RenditionTexts {
    media: Extents,
    iframes: Extents,
}

#[derive(Debug, Default)]
struct Extents {
    full: OnceLock<Option<Rendered>>,
    delta: OnceLock<Option<Rendered>>,
}

impl Extents {
    fn get(&self, ledger: &Ledger, extent: Extent, render: impl FnOnce() -> Option<String>) -> Option<&Rendered> {
        let text = match extent {
            Extent::Full => &self.full,
            Extent::Delta => &self.delta,
        };
        text.get_or_init(|| render().map(|text| Rendered::counted_in(ledger, text))).as_ref()
    }
}

impl Texts {
    fn of(listing: Listing<'_>, ledger: &Ledger) -> Self {
        let names = listing.renditions().into_iter().cloned();
        Self {
            multivariant: OnceLock::new(),
            renditions: names.map(|name| (name, RenditionTexts::default())).collect(),
            ledger: ledger.clone(),
        }
    }
}

impl Playlists {
    /// The playlists of a timeline; `None` while it has none.
    pub(super) fn of(timeline: &Timeline, ledger: &Ledger) -> Option<Self> {
        let (edge, live) = (timeline.edge()?, Texts::of(timeline.into(), ledger));
        Some(Self { timeline: timeline.clone(), edge, live, long: OnceLock::new() })
    }

    /// Where they end.
    pub const fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The live playlists.
    pub fn live(&self) -> Shown<'_> {
        Shown { listing: (&self.timeline).into(), edge: &self.edge, texts: &self.live }
    }

    /// The DVR playlists, which put `past` before the live ones and end where these do. `past` is called on the first request;
    /// `None` when it has no answer.
    pub fn long(&self, past: impl FnOnce(&Timeline) -> Option<Arc<Past>>) -> Option<Shown<'_>> {
        if self.long.get().is_none() {
            let past = past(&self.timeline)?;
            let texts = Texts::of(Listing::with_past(&self.timeline, &past), &self.live.ledger);
            // Another thread may have been faster.
            _ = self.long.set((past, texts));
        }
        let (past, texts) = self.long.get()?;
        Some(Shown { listing: Listing::with_past(&self.timeline, past), edge: &self.edge, texts })
    }

    /// Whether the live playlists include a rendition.
    pub fn has(&self, rendition: &RenditionId) -> bool {
        self.live.renditions.contains_key(rendition)
    }

    /// Whether an object that is not here is about to come, by the live playlists (RFC 8216bis 6.2.6).
    pub fn hints(&self, epoch: Epoch, rendition: &RenditionId, slot: Slot) -> bool {
        self.has(rendition) && self.edge.object(epoch, slot) == Presence::Wait
    }
}

/// The live or the DVR playlists: all end at the same place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    listing: Listing<'a>,
    edge: &'a Edge,
    texts: &'a Texts,
}

impl<'a> Shown<'a> {
    /// The multivariant playlist.
    pub fn multivariant(&self) -> Option<&'a Rendered> {
        let text = self.texts.multivariant.get_or_init(|| {
            render::multivariant(self.listing).map(|text| Rendered::counted_in(&self.texts.ledger, text))
        });
        text.as_ref()
    }

    /// The multivariant playlist with content steering; not cached, because its pathways change with the nodes.
    pub fn steered(&self, steering: &Steering) -> Option<String> {
        render::steered(self.listing, steering)
    }

    /// The media playlist of a rendition.
    pub fn media(&self, rendition: &RenditionId, extent: Extent) -> Option<&'a Rendered> {
        let texts = self.texts.renditions.get(rendition)?;
        texts.media.get(&self.texts.ledger, extent, || render::media(self.listing, rendition, extent))
    }

    /// The I-frame playlist of a rendition.
    pub fn iframes(&self, rendition: &RenditionId, extent: Extent) -> Option<&'a Rendered> {
        let texts = self.texts.renditions.get(rendition)?;
        texts.iframes.get(&self.texts.ledger, extent, || render::iframes(self.listing, rendition, extent))
    }

    /// Answers a request for a rendition's playlist by its delivery directives (RFC 8216bis 6.2.5).
    pub fn reload(&self, rendition: &RenditionId, lists: Lists, wanted: &Directives) -> Look<Playlist> {
        match lists {
            Lists::Media if !self.texts.renditions.contains_key(rendition) => Look::Absent,
            Lists::Media => self.answer(wanted, || self.media(rendition, wanted.extent)),
            Lists::IFrames => self.iframes(rendition, wanted.extent).map_or(Look::Absent, |text| {
                // An I-frame playlist has no parts to wait for.
                self.answer(&Directives { part: None, ..*wanted }, || Some(text))
            }),
        }
    }

    fn answer(&self, wanted: &Directives, text: impl FnOnce() -> Option<&'a Rendered>) -> Look<Playlist> {
        match self.edge.answer(wanted) {
            Answer::Now => text().map_or(Look::Absent, |text| {
                Look::Here(Playlist { text: text.clone(), is_ended: self.edge.is_ended() })
            }),
            Answer::Wait => Look::Soon,
            Answer::Refuse(why) => Look::TooFar(why),
        }
    }
}

impl StreamView {
    /// Admitted seals from `from` on, or from the oldest that is kept when `from` is older, as they travel.
    pub fn seals(&self, from: LogSequence) -> Vec<Bytes> {
        let start = self.log.partition_point(|sealed| sealed.body().sequence < from);
        self.log.get(start..).unwrap_or_default().iter().map(|sealed| sealed.raw().clone()).collect()
    }

    /// The newest admitted seal.
    pub fn newest(&self) -> Option<&Sealed> {
        self.log.last()
    }
}
