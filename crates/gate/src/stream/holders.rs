//! Which nodes hold the stream: this one, as owner or edge, and those that are asked for what is missing. Pure.

use media::NodeId;

use crate::Holding;
use crate::limits::SOURCES_MAX;

/// Holders of a stream, as the placement and the peers' presence say.
#[derive(Debug)]
pub(super) struct Holders {
    here: Holding,
    /// Nodes that own the stream; this one may be among them.
    owners: Vec<NodeId>,
    /// Nodes that are asked: the owners that are present, or at most [`SOURCES_MAX`] peers when none is.
    sources: Vec<NodeId>,
}

impl Holders {
    pub(super) fn new(here: Holding, owners: Vec<NodeId>, peers: &[NodeId]) -> Self {
        let mut holders = Self { here, owners, sources: Vec::new() };
        holders.peers_changed(peers);
        holders
    }

    pub(super) const fn here(&self) -> Holding {
        self.here
    }

    pub(super) fn sources(&self) -> &[NodeId] {
        &self.sources
    }

    /// Returns whether this node holds the stream in another way than before.
    pub(super) fn change(&mut self, here: Holding, owners: Vec<NodeId>, peers: &[NodeId]) -> bool {
        self.owners = owners;
        self.peers_changed(peers);
        std::mem::replace(&mut self.here, here) != here
    }

    pub(super) fn peers_changed(&mut self, peers: &[NodeId]) {
        let owners: Vec<NodeId> = peers.iter().filter(|peer| self.owners.contains(peer)).cloned().collect();
        self.sources = if owners.is_empty() { peers.iter().take(SOURCES_MAX).cloned().collect() } else { owners };
    }
}
