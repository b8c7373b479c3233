//! Which node answered a request that many viewers wait for.

use std::sync::OnceLock;

use media::NodeId;

use crate::members::Among;

/// Who answered; nobody, if the balancer itself had to refuse.
#[derive(Debug, Default)]
pub(crate) struct Report(OnceLock<Source>);

/// The node that answered, and among which it was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) node: NodeId,
    pub(crate) among: Among,
}

impl Report {
    pub(crate) fn answered(&self, source: Source) {
        // A fetch has one answer.
        let _ = self.0.set(source);
    }

    pub(crate) fn source(&self) -> Option<Source> {
        self.0.get().cloned()
    }
}
