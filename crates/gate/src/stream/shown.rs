//! The playlists that viewers see: they wait until the window is filled, and they never go back. Pure.

use std::sync::Arc;

use media::LogSequence;
use playlist::Timeline;
use playlist::reload::Edge;

use crate::ledger::Ledger;
use crate::view::Playlists;

/// When shown segments are void, playlists wait until the new epoch has made up for them, if these are no more than this. A
/// timeline that is further behind is shown as it is: the log was lost, and waiting would be an outage.
const VOID_SEGMENTS_MAX: u64 = 6;

#[derive(Debug, Default)]
pub(super) struct ShownPlaylists {
    /// Playlists are shown once this seal is admitted; until then the window is filling.
    from: Option<LogSequence>,
    /// Where the playlists end.
    edge: Option<Edge>,
    playlists: Option<Arc<Playlists>>,
    /// What the timeline lists has changed since.
    is_stale: bool,
}

/// Whether playlists that end at `edge` would take back some of what was shown.
fn goes_back(shown: &Edge, edge: &Edge) -> bool {
    let (shown, place) = (shown.place(), edge.place());
    place < shown && shown.0.0 - place.0.0 <= VOID_SEGMENTS_MAX
}

impl ShownPlaylists {
    /// The timeline starts again: playlists are shown once the seal `from` is admitted.
    pub(super) fn wait_for(&mut self, from: Option<LogSequence>) {
        self.from = from;
    }

    pub(super) fn relist(&mut self) {
        self.is_stale = true;
    }

    /// Shows nothing of what was shown, because some of it must not be listed any more. Playlists come back with the next segment; they
    /// still do not go back.
    pub(super) fn erase(&mut self) {
        (self.playlists, self.is_stale) = (None, true);
    }

    /// Shows the playlists, if what they list changed. What was shown and is void stays until the log has passed it again.
    pub(super) fn show(&mut self, timeline: &Timeline, ledger: &Ledger) {
        let is_filled = timeline.head().is_some_and(|head| Some(head) >= self.from);
        let edge = timeline.edge().filter(|_| is_filled && self.is_stale);
        let Some(edge) = edge.filter(|edge| !self.edge.is_some_and(|shown| goes_back(&shown, edge))) else { return };
        (self.edge, self.is_stale) = (Some(edge), false);
        self.playlists = Playlists::of(timeline, ledger).map(Arc::new);
    }

    pub(super) fn playlists(&self) -> Option<Arc<Playlists>> {
        self.playlists.clone()
    }

    /// The place of the part that comes after what playlists show.
    #[cfg(test)]
    pub(super) fn place(&self) -> Option<(media::MediaSequence, media::PartIndex)> {
        self.edge.map(|edge| edge.place())
    }
}
