//! Media that only responses under way still hold, and what happens when that is too much.
//!
//! `media_bytes_max` bounds the store and what viewers keep out of it together. The gate counts both in one [`Ledger`]; when it is over,
//! the slowest of those viewers' responses end. The same happens when they keep all memory for recordings.

use std::sync::Arc;
use std::time::Duration;

use gate::Ledger;
use media::ObjectName;
use node::CancellationToken;

use crate::actor::Views;
use crate::dvr::Dvr;
use crate::edge::Fetcher;
use crate::viewers::Traffic;

/// How often the node looks: what comes meanwhile is a tenth of a second of media.
const INTERVAL: Duration = Duration::from_millis(100);

/// Watches the memory of media.
pub(crate) struct MemoryWatch {
    pub(crate) ledger: Ledger,
    /// Most bytes in it.
    pub(crate) bytes_max: u64,
    pub(crate) views: Views,
    pub(crate) fetcher: Fetcher,
    pub(crate) dvr: Option<Dvr>,
    pub(crate) traffic: Arc<Traffic>,
}

impl MemoryWatch {
    /// Until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look();
        }
    }

    fn look(&self) {
        let bytes = self.ledger.bytes();
        metrics::gauge!("broadcast_media_bytes").set(bytes as f64);
        let fetched = self.fetcher.excess();
        let read = self.dvr.as_ref().map_or(0, Dvr::wanted_bytes);
        let wanted = bytes.saturating_sub(self.bytes_max).max(fetched).max(read);
        if wanted == 0 {
            return;
        }
        let ended = self.traffic.readers().relieve(wanted, |name| self.is_stored(name));
        if ended > 0 {
            metrics::counter!("viewers_responses_cut_total").increment(u64::try_from(ended).unwrap_or(u64::MAX));
            tracing::debug!(ended, wanted, "ended responses that kept media in memory");
        }
    }

    /// Whether the node itself keeps an object, so that to end its response would free nothing.
    fn is_stored(&self, name: &ObjectName) -> bool {
        let view = self.views.get(&name.stream);
        view.is_some_and(|view| view.media.get(name.epoch, &name.rendition, name.slot).is_some())
            || self.fetcher.keeps(name)
            || self.dvr.as_ref().is_some_and(|dvr| dvr.has_read(name))
    }
}
