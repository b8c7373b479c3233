//! Ctrl-C and SIGTERM become one shutdown token; what takes too long is cut.

use std::time::Duration;

use anyhow::Context as _;
use node::CancellationToken;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Everything has to end within this after the signal. The longest part is [`node::http::GRACE`].
pub(crate) const STOP_WAIT_MAX: Duration = Duration::from_millis(2_700);

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

/// Waits for all parts. The first that fails ends the others, and its error is returned.
///
/// # Errors
/// The first error of a part, or that a part ended though nobody asked it to.
pub(crate) async fn join(mut parts: JoinSet<anyhow::Result<()>>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while !parts.is_empty() {
        let next = async {
            if shutdown.is_cancelled() {
                tokio::time::timeout(STOP_WAIT_MAX, parts.join_next()).await
            } else {
                tokio::select! {
                    next = parts.join_next() => Ok(next),
                    () = shutdown.cancelled() => Ok(None),
                }
            }
        };
        match next.await {
            Ok(Some(ended)) => {
                let ended = ended.context("a part of the process panicked").flatten();
                if outcome.is_ok() && !shutdown.is_cancelled() {
                    outcome = ended.and_then(|()| Err(anyhow::anyhow!("a part of the process ended by itself")));
                }
                shutdown.cancel();
            }
            Ok(None) => {}
            Err(_) => {
                tracing::warn!(parts = parts.len(), "parts of the process did not end in time and are cut off");
                break;
            }
        }
    }
    outcome
}
