//! Leases: what one control node does for all, one at a time. Two nodes compare beats and no clocks.

use std::convert::Infallible;
use std::time::Duration;

use catalogue::{Catalogue, Error, Lease};
use node::clock::Clock;

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

/// A control node that holds a lease, or wants it.
#[derive(Debug, Clone)]
pub(crate) struct LeaseHolder {
    catalogue: Catalogue,
    clock: Clock,
    /// Name of the lease.
    lease: &'static str,
    /// How the names begin of which the lease is taken at once: those of the processes of this node, of which one is there at a time.
    /// `None`: not even those.
    inherits_from: Option<String>,
    /// Its name, which no other process has.
    pub(crate) name: String,
    pace: Pace,
}

impl LeaseHolder {
    pub(crate) fn new(
        (catalogue, clock): (&Catalogue, Clock),
        (lease, node): (&'static str, &str),
        pace: Pace,
    ) -> Self {
        let name = format!("{node} {:016x}", rand::random::<u64>());
        let inherits_from = Some(format!("{node} "));
        Self { catalogue: catalogue.clone(), clock, lease, inherits_from, name, pace }
    }

    /// Another process of this node may be there: its lease, too, is taken only when it is over.
    pub(crate) fn inheriting_nothing(self) -> Self {
        Self { inherits_from: None, ..self }
    }

    /// Waits until this process holds the lease. Tells `watch` who else holds it, and for how long its beat has been the same.
    pub(crate) async fn acquire(&self, watch: impl Fn(&Lease, Duration)) {
        let mut watched: Option<(Lease, Duration)> = None;
        loop {
            match self.catalogue.lease(self.lease).await {
                Ok(Some(lease)) if lease.holder == self.name => return,
                Ok(Some(lease)) => {
                    let now = self.clock.elapsed();
                    let since = match &watched {
                        Some((same, since)) if *same == lease => *since,
                        _ => now,
                    };
                    let is_own = self.inherits_from.as_ref().is_some_and(|own| lease.holder.starts_with(own));
                    watch(&lease, now.saturating_sub(since));
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
                Err(error) => tracing::debug!(%error, lease = self.lease, "cannot look who holds a lease"),
            }
            tokio::time::sleep(self.pace.look).await;
        }
    }

    async fn take(&self, seen: Option<Lease>) -> bool {
        self.catalogue.take_lease(self.lease, &self.name, seen).await.is_ok()
    }

    /// Says that this process is there, for as long as the lease is its own.
    pub(crate) async fn keep(&self) -> Result<Infallible, Error> {
        loop {
            self.catalogue.beat_lease(self.lease, &self.name).await?;
            tokio::time::sleep(self.pace.beat).await;
        }
    }

    /// The same through failures of the database, while nobody else can have taken the lease: for three quarters of the time after
    /// which others take it.
    pub(crate) async fn keep_through_failures(&self) -> Error {
        let mut confirmed = self.clock.elapsed();
        loop {
            tokio::time::sleep(self.pace.beat).await;
            let asked = self.clock.elapsed();
            let left = (self.pace.expires * 3 / 4).saturating_sub(asked.saturating_sub(confirmed));
            match tokio::time::timeout(left, self.catalogue.beat_lease(self.lease, &self.name)).await {
                Ok(Ok(())) => confirmed = asked,
                Ok(Err(Error::LeaseLost)) | Err(_) => return Error::LeaseLost,
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
                }
            }
        }
    }

    /// Lets another node take over at once.
    pub(crate) async fn release(&self) {
        // Whoever does not hold it has nothing to give back.
        let _ = self.catalogue.release_lease(self.lease, &self.name).await;
    }
}
