//! The two clocks: one to pace by, one to show. The only place that reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

/// How often a wait checks for shutdown.
const SLICE: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "this is the black box's clock: it shares none with the cluster")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Wall clock in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the black box's clock: it shares none with the cluster")]
pub(crate) fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Waits until `until` or shutdown; returns `false` on shutdown.
pub(crate) fn wait_until(until: Instant, shutdown: &CancellationToken) -> bool {
    loop {
        if shutdown.is_cancelled() {
            return false;
        }
        let left = until.saturating_duration_since(monotonic());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(SLICE));
    }
}
