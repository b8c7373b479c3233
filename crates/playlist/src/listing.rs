//! The segments that the playlists of a stream list: the window of a timeline, or hours (DVR). Pure.

use std::collections::BTreeSet;

use media::{MediaSequence, RenditionId};

use crate::timeline::Segment;
use crate::{Past, Timeline};

/// The segments that playlists list, and the playlists' file names.
///
/// Playlists with a past are those of the timeline with older segments in front, so both have the same end.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub(crate) timeline: &'a Timeline,
    past: Option<&'a Past>,
}

/// File names of playlists, in the directory of their rendition.
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
    /// Playlists that reach back as far as `past`, which must have joined the timeline ([`Past::join`]).
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

    /// Complete segments, oldest first.
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

    /// Names of all renditions that have a playlist: those of the newest epoch, and those with listed segments.
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

    /// Media sequence number of the first listed segment of the timeline; 0 when there is none.
    fn first(&self) -> MediaSequence {
        self.timeline.listed().next().map_or(MediaSequence(0), |first| first.key().msn)
    }
}
