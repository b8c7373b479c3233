//! Waits with a limit, and the lock of tests that need the whole machine.

use std::time::Duration;

/// Longest wait for anything that should happen; generous, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A lock for the tests of one file that encode: each expects a machine that can keep up with it.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Waits for the future; panics with `what` when [`PATIENCE`] runs out.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    limited(what, PATIENCE, future).await
}

/// Tries until there is an answer; panics with `what` when [`PATIENCE`] runs out.
pub async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    eventually_async(what, PATIENCE, async || probe()).await
}

/// Tries until there is an answer; panics with `what` when `patience` runs out.
pub async fn eventually_async<T>(what: &str, patience: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if let Some(found) = probe().await {
                break found;
            }
        }
    };
    limited(what, patience, answer).await
}

async fn limited<T>(what: &str, patience: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("waited {patience:?} in vain for {what}"))
}
