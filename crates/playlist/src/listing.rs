//! What the playlists of a stream list: the window of a timeline, or hours. Pure.

use std::collections::BTreeSet;

use media::{MediaSequence, RenditionId};

use crate::timeline::Segment;
use crate::{Past, Timeline};

/// What playlists list, and what they are called.
///
/// The playlists of a past are those of its timeline with older segments in front: what holds of the end of the ones holds of the end
/// of the others.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub(crate) timeline: &'a Timeline,
    past: Option<&'a Past>,
}

/// Names of playlists, in the directory of their rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) media: &'static str,
    pub(crate) iframes: &'static str,
}

impl<'a> From<&'a Timeline> for Listing<'a> {
    /// The live playlists.
    fn from(timeline: &'a Timeline) -> Self {
        Self { timeline, past: None }
    }
}

impl<'a> Listing<'a> {
    /// Playlists that go back as far as `past` does, which has joined the timeline ([`Past::join`]).
    pub const fn with_past(timeline: &'a Timeline, past: &'a Past) -> Self {
        Self { timeline, past: Some(past) }
    }

    pub(crate) const fn files(&self) -> Files {
        match self.past {
            None => Files { media: "index.m3u8", iframes: "iframes.m3u8" },
            Some(_) => Files { media: "dvr.m3u8", iframes: "dvr-iframes.m3u8" },
        }
    }

    /// All segments, oldest first; only the last may be open.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &'a Segment> + use<'a> {
        self.before().chain(self.timeline.segments())
    }

    pub(crate) fn segments_len(&self) -> usize {
        self.before_len() + self.timeline.segments().len()
    }

    /// Segments that are complete, oldest first.
    pub(crate) fn listed(&self) -> impl DoubleEndedIterator<Item = &'a Segment> + use<'a> {
        self.before().chain(self.timeline.listed())
    }

    pub(crate) fn listed_len(&self) -> usize {
        self.before_len() + self.timeline.listed().len()
    }

    /// Whether a rendition has a playlist.
    pub(crate) fn has(&self, rendition: &RenditionId) -> bool {
        let mut past = self.past.into_iter().flat_map(|past| past.first_of_epochs(self.first()));
        self.timeline.has(rendition) || past.any(|segment| segment.has(rendition))
    }

    /// Names of all renditions that have a playlist: those of the newest epoch, and those that are still listed.
    pub fn renditions(&self) -> BTreeSet<&'a RenditionId> {
        let mut names = self.timeline.renditions();
        let past = self.past.into_iter().flat_map(|past| past.first_of_epochs(self.first()));
        names.extend(past.flat_map(Segment::renditions));
        names
    }

    fn before(&self) -> impl DoubleEndedIterator<Item = &'a Segment> + use<'a> {
        let first = self.first();
        self.past.into_iter().flat_map(move |past| past.before(first))
    }

    fn before_len(&self) -> usize {
        self.past.map_or(0, |past| past.before(self.first()).len())
    }

    /// The first segment of the timeline.
    fn first(&self) -> MediaSequence {
        self.timeline.listed().next().map_or(MediaSequence(0), |first| first.key().msn)
    }
}
