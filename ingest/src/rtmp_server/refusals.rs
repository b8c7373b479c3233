//! Bounds the log of refused connections: anyone who finds the port could fill the disk with lines. Metrics count every refusal.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use node::CancellationToken;
use node::clock::Clock;
use node::sparse::Sparse;

/// How often refusals are summed up, if there are any.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Refusals of the last minute.
#[derive(Debug)]
pub(super) struct Refusals {
    clock: Clock,
    sparse: Mutex<Sparse<Kind>>,
}

/// A kind of refusal; the first of each in a minute is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// As in `ingest_refused_total`.
    reason: &'static str,
    family: &'static str,
}

impl Refusals {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sparse: Mutex::default() }
    }

    /// Whether to log this refusal. Refusals that are not logged are summed up later.
    pub(super) fn is_first(&self, reason: &'static str, address: SocketAddr) -> bool {
        let family = if address.ip().to_canonical().is_ipv4() { "IPv4" } else { "IPv6" };
        self.lock().is_first(Kind { reason, family }, self.clock.elapsed())
    }

    /// Sums up refusals until `shutdown`.
    pub(super) async fn sum_up(&self, shutdown: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                _ = looks.tick() => self.say(self.clock.elapsed()),
                () = shutdown.cancelled() => return self.say(Duration::MAX),
            }
        }
    }

    fn say(&self, now: Duration) {
        let over = self.lock().over(now);
        for (Kind { reason, family }, count) in over {
            tracing::info!(reason, family, count, "more were refused within a minute, and not logged one by one");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sparse<Kind>> {
        // A panic leaves the counts as they were.
        self.sparse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_one_kind_hides_no_other() {
        let refusals = Refusals::new(Clock::new());
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(refusals.is_first("invalid", address("192.0.2.1:1")));
        for port in 1..1_000 {
            assert!(!refusals.is_first("invalid", SocketAddr::from(([192, 0, 2, 2], port))));
        }
        assert!(!refusals.is_first("invalid", address("[::ffff:192.0.2.3]:1")), "IPv4, too");
        assert!(refusals.is_first("invalid", address("[2001:db8::1]:1")), "another family");
        assert!(refusals.is_first("wrong_key", address("192.0.2.1:1")), "another reason");
        assert_eq!(refusals.lock().over(Duration::MAX).map(|(_, count)| count).collect::<Vec<_>>(), [1_000]);
    }
}
