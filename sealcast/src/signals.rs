//! Ctrl-C and SIGTERM cancel one shutdown token; parts that take too long to end are aborted.

use std::time::Duration;

use anyhow::Context as _;
use node::CancellationToken;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Longest time for all parts to end after the signal: 3 s, less the time that the bus and the broker need after them.
pub(crate) const STOP_WAIT_MAX: Duration = Duration::from_millis(2_300);

/// A token that is cancelled by Ctrl-C or SIGTERM.
///
/// # Errors
/// When signal handlers cannot be installed.
pub(crate) fn shutdown() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        cancel.cancel();
    });
    Ok(token)
}

/// Waits for all parts. If one ends before `shutdown`, the others end, too.
///
/// # Errors
/// The first error of a part, or that a part ended before `shutdown`.
pub(crate) async fn join(mut parts: JoinSet<anyhow::Result<()>>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let first = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        ended = parts.join_next() => ended,
    };
    let result = |ended: Result<anyhow::Result<()>, tokio::task::JoinError>| {
        ended.context("a part of the process panicked").flatten()
    };
    let mut outcome = match first {
        Some(ended) => result(ended).and_then(|()| Err(anyhow::anyhow!("a part of the process ended by itself"))),
        None => Ok(()),
    };
    shutdown.cancel();
    let others = async {
        while let Some(ended) = parts.join_next().await {
            let ended = result(ended);
            if outcome.is_ok() {
                outcome = ended;
            }
        }
    };
    if tokio::time::timeout(STOP_WAIT_MAX, others).await.is_err() {
        tracing::warn!("parts of the process did not end in time and are cut off");
    }
    outcome
}
