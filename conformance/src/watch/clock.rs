//! The one place where this crate reads a clock: the runtime's, which tests can make virtual.

use tokio::time::Instant;

use crate::observation::At;

/// Time since the run began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a checker measures real time, and depends on no clock of the system's"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> At {
        self.0.elapsed()
    }

    /// Waits until this time of the run.
    pub(crate) async fn until(&self, at: At) {
        tokio::time::sleep(at.saturating_sub(self.now())).await;
    }
}
