//! The lease of sending: one control node at a time. Two nodes compare beats and no clocks.

use std::convert::Infallible;
use std::time::Duration;

use catalogue::{Catalogue, Error, Lease};
use node::clock::Clock;

use super::Hooks;

/// Name of the lease.
pub(crate) const EVENTS: &str = "events";

/// How a lease is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How often whoever waits for the lease looks at it.
    pub(crate) look: Duration,
    /// How often the holder says that it is there.
    pub(crate) beat: Duration,
    /// Whoever has seen the same beat for this long takes the lease: four beats.
    pub(crate) expires: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { look: seconds(1), beat: seconds(3), expires: seconds(12) }
    }
}

/// A control node that holds the lease, or wants it.
#[derive(Debug, Clone)]
pub(crate) struct LeaseHolder {
    catalogue: Catalogue,
    clock: Clock,
    /// How its own names begin: those of the processes of this node, of which one is there at a time.
    node: String,
    /// Its name, which no other process has.
    pub(crate) name: String,
    pace: Pace,
}

impl LeaseHolder {
    pub(crate) fn new(hooks: &Hooks, node: &str, pace: Pace) -> Self {
        let node = format!("{node} ");
        let name = format!("{node}{:016x}", rand::random::<u64>());
        Self { catalogue: hooks.catalogue.clone(), clock: hooks.clock, node, name, pace }
    }

    /// Waits until this process holds the lease.
    pub(crate) async fn acquire(&self) {
        let mut watched: Option<(Lease, Duration)> = None;
        loop {
            match self.catalogue.lease(EVENTS).await {
                Ok(Some(lease)) if lease.holder == self.name => return,
                Ok(Some(lease)) => {
                    let now = self.clock.elapsed();
                    let since = match &watched {
                        Some((same, since)) if *same == lease => *since,
                        _ => now,
                    };
                    let is_own = lease.holder.starts_with(&self.node);
                    watched = Some((lease.clone(), since));
                    if (is_own || now.saturating_sub(since) >= self.pace.expires) && self.take(Some(lease)).await {
                        return;
                    }
                }
                Ok(None) => {
                    if self.take(None).await {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot look who sends events"),
            }
            tokio::time::sleep(self.pace.look).await;
        }
    }

    async fn take(&self, seen: Option<Lease>) -> bool {
        self.catalogue.take_lease(EVENTS, &self.name, seen).await.is_ok()
    }

    /// Says that this process is there, for as long as the lease is its own.
    pub(crate) async fn keep(&self) -> Result<Infallible, Error> {
        loop {
            self.catalogue.beat_lease(EVENTS, &self.name).await?;
            tokio::time::sleep(self.pace.beat).await;
        }
    }

    /// Lets another node take over at once.
    pub(crate) async fn release(&self) {
        // Whoever does not hold it has nothing to give back.
        let _ = self.catalogue.release_lease(EVENTS, &self.name).await;
    }
}
