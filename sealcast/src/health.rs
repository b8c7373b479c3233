//! `sealcast health`: for the health check of a container.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cli::HealthFlags;

/// Longest wait for an answer from this machine.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);

/// Asks the ops plane whether the node is ready or, with `--live`, alive.
///
/// # Errors
/// When nothing answers, or the answer is not a success.
pub(crate) async fn run(flags: &HealthFlags) -> anyhow::Result<()> {
    node::tls::provider();
    // If the node listens on all interfaces, ask on loopback.
    let base = crate::ready::url("http", flags.ops);
    let url = format!("{base}/{}", if flags.live { "healthz" } else { "readyz" });
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WAIT_MAX).build()?;
    let answer = http.get(&url).send().await.with_context(|| format!("nothing answers at {url}"))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "{url}: {status}: {}", text.trim());
    Ok(())
}
