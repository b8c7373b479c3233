//! What of a stream is seen from outside: its view, its playlists, and the head that survives a restart. Pure.

use std::sync::Arc;

use bytes::Bytes;
use playlist::reload::Edge;
use seal::Head;

use super::super::limits::SAVED_INITS_BYTES_MAX;
use super::super::store::length;
use super::super::view::{Playlists, StreamView};
use super::super::{GateContext, Output, SavedHead};
use super::Stream;

/// When shown segments are void, playlists wait until the new epoch has made up for them, if these are no more than this. A
/// timeline that is further behind is shown as it is: the log was lost, and waiting would be an outage.
const VOID_SEGMENTS_MAX: u64 = 6;

/// Whether playlists that end at `edge` would take back some of what was shown.
fn goes_back(shown: &Edge, edge: &Edge) -> bool {
    let (shown, place) = (shown.place(), edge.place());
    place < shown && shown.0.0 - place.0.0 <= VOID_SEGMENTS_MAX
}

impl Stream {
    fn head_to_save(&self) -> Option<SavedHead> {
        let newest = self.log.back()?;
        let epoch = newest.body().epoch;
        let mut inits: Vec<Bytes> = self.media.inits(epoch).cloned().collect();
        if inits.is_empty() {
            // Before the first checkpoint after a restart, the saved ones still apply.
            let before = self.saved.iter().filter(|saved| saved.head.epoch == epoch);
            inits = before.flat_map(|saved| saved.inits.clone()).collect();
        }
        let fit = inits.iter().map(length).sum::<u64>() <= SAVED_INITS_BYTES_MAX;
        let inits = if fit { inits } else { Vec::new() };
        Some(SavedHead { head: Head::of(newest), raw: newest.raw().clone(), inits })
    }

    /// Publishes the view, if it changed; returns the newest admitted seal, if that changed.
    pub(crate) fn publish(&mut self, shared: &mut GateContext) -> Option<SavedHead> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.show();
        let saved = if std::mem::replace(&mut self.is_saved, true) { None } else { self.head_to_save() };
        if let Some(saved) = &saved {
            shared.outputs.push(Output::SaveHead(self.id.clone(), saved.clone()));
            self.saved = Some(saved.clone());
        }
        let tracks = self.timeline.checkpoint().map_or(&[][..], |checkpoint| &checkpoint.renditions);
        shared.outputs.push(Output::Publish(Arc::new(StreamView {
            stream: self.id.clone(),
            playlists: self.playlists.clone(),
            media: self.media.clone(),
            log: self.log.iter().cloned().collect(),
            head: self.saved.as_ref().map(|saved| saved.raw.clone()),
            tracks: tracks.iter().map(|rendition| rendition.track.clone()).collect(),
            holding: self.holding,
            ended: self.timeline.is_ended(),
            admitted_at: self.admitted_at,
            seals_admitted: self.seals_admitted,
            refused: self.refused.clone(),
        })));
        saved
    }

    /// Shows the playlists, if what they list changed. They do not go back: what was shown and is void stays until the log has
    /// passed it again.
    fn show(&mut self) {
        let is_filled = self.timeline.head().is_some_and(|head| head >= self.show_from);
        let edge = self.timeline.edge().filter(|_| is_filled && self.is_relisted);
        let Some(edge) = edge.filter(|edge| !self.shown.is_some_and(|shown| goes_back(&shown, edge))) else { return };
        (self.shown, self.is_relisted) = (Some(edge), false);
        self.playlists = Playlists::of(&self.timeline).map(Arc::new);
    }
}
