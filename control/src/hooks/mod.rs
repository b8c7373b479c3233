//! Events on their way out: what control hears of streams becomes events, and events go to webhooks. One control node of a cluster does
//! that, the one that holds the lease.
//!
//! [`live`] and [`crossings`] decide what is an event, and `webhooks::Endpoint` when one is sent; all are pure. Events themselves are the catalogue's.

mod attempt;
mod crossings;
mod envelope;
mod live;
mod observer;
mod sender;
mod watcher;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalogue::Catalogue;
use node::CancellationToken;
use node::clock::Clock;
use outbound::{InvalidTrust, Outbound, Policy, Trust};
use tokio::sync::mpsc;

pub(crate) use self::attempt::{Posted, post};
pub(crate) use self::envelope::{KINDS, envelope, needs};
use self::observer::Observer;
pub(crate) use self::observer::{HEARD_MAX, Heard};
use self::sender::Sender;
use self::watcher::Watcher;
use crate::ControlState;
use crate::lease::{LeaseHolder, Pace};

/// Name of the lease of whoever sends.
const EVENTS: &str = "events";
/// Pause after the catalogue failed, or another control node took over.
const RETRY: Duration = Duration::from_secs(2);
/// How often old events are forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// What sending needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hooks {
    pub(crate) catalogue: Catalogue,
    /// `None` where no server outside can be trusted.
    pub(crate) outbound: Option<Outbound>,
    pub(crate) clock: Clock,
}

/// The way out for webhooks; `None` when this machine trusts no authority at all.
///
/// # Errors
/// When the operator's list or file cannot be read.
pub(crate) fn outbound(allow: &[String], ca: Option<&Path>) -> anyhow::Result<Option<Outbound>> {
    let policy = Policy::new(allow).map_err(|error| anyhow::anyhow!("outbound_allow: {error}"))?;
    match Trust::load(ca, node::tls::provider()) {
        Ok(trust) => Ok(Some(Outbound::new(policy, &trust))),
        Err(InvalidTrust::Nobody) => Ok(None),
        Err(error) => Err(error).context("outbound_ca"),
    }
}

/// Turns what is heard into events, and sends events, while this node holds the lease; until `shutdown`.
pub(crate) async fn run(
    shared: Arc<ControlState>,
    mut heard: mpsc::Receiver<Heard>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let lease =
        LeaseHolder::new((&shared.catalogue, shared.node.clock), (EVENTS, shared.node.id.as_str()), Pace::default());
    let work = async {
        loop {
            // What is heard by whoever does not hold the lease, the holder hears, too.
            tokio::select! {
                () = lease.acquire(|_, _| {}) => {}
                () = drain(&mut heard) => {}
            }
            tracing::debug!("this node turns what it hears into events, and sends them");
            let observe = Observer::new(&shared, &lease).run(&mut heard);
            let send = Sender::new(shared.hooks.clone(), &lease).run();
            let watch = Watcher::new(&shared, &lease).run();
            // None of them ends but by a failure.
            let Err(error) = tokio::try_join!(lease.keep(), observe, send, watch, prune(&shared.hooks.catalogue));
            tracing::warn!(error = &error as &dyn std::error::Error, "events wait");
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
    lease.release().await;
    Ok(())
}

/// Throws away what is heard.
async fn drain(heard: &mut mpsc::Receiver<Heard>) {
    while heard.recv().await.is_some() {}
    std::future::pending::<()>().await;
}

async fn prune(catalogue: &Catalogue) -> Result<Infallible, catalogue::Error> {
    loop {
        catalogue.prune_events().await?;
        tokio::time::sleep(PRUNE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;
