//! Which of several control nodes leads. Those with one PostgreSQL share a lease in it: its holder alone changes the catalogue, writes the
//! metadata log and says where that stands. The others follow the log, answer who reads, and send everybody else to the holder. A catalogue
//! in a file has one control node, which always leads.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use catalogue::{Catalogue, LEAD, Lead};
use futures_util::future::BoxFuture;
use metadata::{EntrySequence, SignedEntry};
use node::CancellationToken;
use node::http::LEADER;
use node::problem::{self, Type};
use replica::Ledger;
use tokio::sync::watch;

use crate::callers::BEGIN_WAIT_MAX;
use crate::lease::{LeaseHolder, Pace};
use crate::refusal::Refusal;
use crate::{ControlState, policy};

/// How the lease is held. Another control node leads some seven seconds after the one before was heard last.
const PACE: Pace =
    Pace { look: Duration::from_millis(500), beat: Duration::from_secs(1), expires: Duration::from_secs(6) };
/// Once the leader has been silent for this long, requests wait for the next one.
const SILENT: Duration = Duration::from_millis(2_500);
/// Pause after this node could not begin to lead: another one may be able to.
const RETRY: Duration = Duration::from_secs(3);
/// When a caller may try again, in seconds.
pub(crate) const RETRY_AFTER_S: u64 = 1;

/// Who leads, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leader {
    This,
    /// The name of another node.
    Other(String),
    /// Nobody, or nobody knows.
    Unknown,
}

/// What requests know of who leads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leadership(watch::Sender<Leader>);

impl Leadership {
    /// One control node alone leads from the start.
    pub(crate) fn new(catalogue: &Catalogue) -> Self {
        Self(watch::Sender::new(if catalogue.is_shared() { Leader::Unknown } else { Leader::This }))
    }

    /// Whether this node leads.
    pub(crate) fn is_held(&self) -> bool {
        *self.0.borrow() == Leader::This
    }

    /// As `/status` shows it.
    pub(crate) fn shown(&self) -> serde_json::Value {
        match &*self.0.borrow() {
            Leader::This => serde_json::json!({ "leads": true }),
            Leader::Other(node) => serde_json::json!({ "leads": false, "leader": node }),
            Leader::Unknown => serde_json::json!({ "leads": false }),
        }
    }

    fn set(&self, leader: Leader) {
        let leads = leader == Leader::This;
        self.0.send_if_modified(|known| {
            let is_news = *known != leader;
            *known = leader;
            is_news
        });
        metrics::gauge!("control_leads").set(if leads { 1.0 } else { 0.0 });
    }

    /// Waits until it is known who leads, for a while.
    async fn known(&self) -> Leader {
        let mut leader = self.0.subscribe();
        let known = leader.wait_for(|leader| *leader != Leader::Unknown);
        match tokio::time::timeout(BEGIN_WAIT_MAX, known).await {
            Ok(Ok(leader)) => leader.clone(),
            _ => Leader::Unknown,
        }
    }
}

/// Why this node does nothing for a request: another one leads, or none does.
pub(crate) struct Away {
    pub(crate) detail: String,
    /// The name of the node that leads; empty when none does.
    leader: String,
}

/// Lets changes pass on the node that leads, whatever door they come by.
///
/// # Errors
/// On any other node, which has done nothing.
pub(crate) async fn ensure_leads(shared: &ControlState, method: &Method, path: &str) -> Result<(), Away> {
    if !needs_lead(method, path) {
        return Ok(());
    }
    match shared.lead.known().await {
        Leader::This => Ok(()),
        Leader::Other(leader) => {
            let detail = format!(
                "control node {leader} leads now, and alone changes anything: load balancers and ingests ask there; run commands on its \
                 machine"
            );
            Err(Away { detail, leader })
        }
        Leader::Unknown => {
            let detail = "no control node leads at this moment: try again in a few seconds".to_owned();
            Err(Away { detail, leader: String::new() })
        }
    }
}

/// Lets requests of HTTP pass that this node may answer. To any other it says who leads.
pub(crate) async fn only_leading(State(shared): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    match ensure_leads(&shared, request.method(), request.uri().path()).await {
        Ok(()) => next.run(request).await,
        Err(away) => elsewhere(request.uri().path(), away),
    }
}

/// Whether a request changes anything. With the table of streams of a node whose log is behind, ingests would disconnect publishers; ways to
/// issuers begin and end in a change.
fn needs_lead(method: &Method, path: &str) -> bool {
    let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    is_change || path == "/cluster/v1/streams" || path.starts_with("/api/v1/auth/")
}

fn elsewhere(path: &str, Away { detail, leader }: Away) -> Response {
    let mut response = if path.starts_with("/cluster/") {
        Refusal(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    } else {
        let said = Type::ControlAway.said(&detail, None).to_string();
        (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, problem::CONTENT_TYPE)], said).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LEADER, HeaderValue::from_str(&leader).unwrap_or(HeaderValue::from_static("")));
    response
}

/// Leads whenever it is this node's turn, until `shutdown`.
///
/// # Errors
/// When another control node, with another database, writes the same log.
pub(crate) async fn run(shared: &ControlState, shutdown: &CancellationToken) -> anyhow::Result<()> {
    if !shared.catalogue.is_shared() {
        shared.lead.set(Leader::This);
        return tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = term(shared, shutdown) => ended.map(|never| match never {}),
        };
    }
    shared.catalogue.set_lead(Lead::Nobody);
    loop {
        let holder = LeaseHolder::new((&shared.catalogue, shared.node.clock), (LEAD, shared.node.id.as_str()), PACE);
        let holder = holder.inheriting_nothing();
        let seen = |lease: &catalogue::Lease, same_for: Duration| {
            let node = lease.holder.split(' ').next().unwrap_or_default().to_owned();
            shared.lead.set(if same_for < SILENT { Leader::Other(node) } else { Leader::Unknown });
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = holder.acquire(seen) => {}
        }
        shared.catalogue.set_lead(Lead::Holder(holder.name.clone()));
        shared.lead.set(Leader::This);
        tracing::info!("this control node leads");
        let mut failed = None;
        let is_over = tokio::select! {
            () = shutdown.cancelled() => true,
            _lost = holder.keep_through_failures() => false,
            Err(error) = term(shared, shutdown) => {
                failed = Some(error);
                false
            }
        };
        shared.lead.set(Leader::Unknown);
        shared.writer.end();
        holder.release().await;
        shared.catalogue.set_lead(Lead::Nobody);
        match failed {
            _ if is_over => return Ok(()),
            None => tracing::warn!("this control node does not lead any more"),
            Some(error) if error.is::<replica::NotAlone>() => return Err(error),
            Some(error) => {
                tracing::error!(error = format!("{error:#}"), "this control node cannot lead");
                shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await;
            }
        }
    }
}

/// What a control node does while it leads.
async fn term(shared: &ControlState, shutdown: &CancellationToken) -> anyhow::Result<Infallible> {
    let write = async {
        shared.writer.begin().await?;
        let begin = async {
            shared.begin_log(shutdown).await;
            std::future::pending::<anyhow::Result<Infallible>>().await
        };
        tokio::try_join!(shared.writer.say_heads(), begin).map(|(never, _)| never)
    };
    let say = async {
        policy::say(shared, shutdown).await?;
        std::future::pending::<anyhow::Result<Infallible>>().await
    };
    tokio::try_join!(write, say).map(|(never, _)| never)
}

/// The part of the catalogue in which control nodes keep what they sign.
pub(crate) struct SharedLog(pub(crate) Catalogue);

impl Ledger for SharedLog {
    fn keep_entry(&self, sequence: EntrySequence, signed: SignedEntry) -> BoxFuture<'static, anyhow::Result<()>> {
        let catalogue = self.0.clone();
        Box::pin(async move {
            let (entry, rows) = (hex::encode(&signed.entry), hex::encode(&signed.rows));
            Ok(catalogue.keep_log_entry(number(sequence.0)?, entry, rows).await?)
        })
    }

    fn keep_root(
        &self,
        version: u64,
        statement: Bytes,
        voids_after: Option<EntrySequence>,
    ) -> BoxFuture<'static, anyhow::Result<()>> {
        let catalogue = self.0.clone();
        Box::pin(async move {
            let voids_after = voids_after.map(|sequence| number(sequence.0)).transpose()?;
            Ok(catalogue.keep_log_root(number(version)?, hex::encode(&statement), voids_after).await?)
        })
    }

    fn entries_from(&self, sequence: EntrySequence) -> BoxFuture<'static, anyhow::Result<Vec<SignedEntry>>> {
        let catalogue = self.0.clone();
        Box::pin(async move {
            let found = catalogue.log_entries_after(number(sequence.0.saturating_sub(1))?).await?;
            let read = |(entry, rows)| anyhow::Ok(SignedEntry { entry: bytes_of(entry)?, rows: bytes_of(rows)? });
            found.into_iter().map(read).collect()
        })
    }

    fn newest(&self) -> BoxFuture<'static, anyhow::Result<Option<EntrySequence>>> {
        let catalogue = self.0.clone();
        Box::pin(async move {
            let newest = catalogue.newest_log_entry().await?;
            Ok(newest.and_then(|sequence| u64::try_from(sequence).ok()).map(EntrySequence))
        })
    }

    fn roots(&self) -> BoxFuture<'static, anyhow::Result<Vec<Bytes>>> {
        let catalogue = self.0.clone();
        Box::pin(async move { catalogue.log_roots().await?.into_iter().map(bytes_of).collect() })
    }

    fn identity(&self) -> BoxFuture<'static, anyhow::Result<[u8; 16]>> {
        let catalogue = self.0.clone();
        Box::pin(async move {
            let mut id = [0; 16];
            hex::decode_to_slice(catalogue.database_id().await?, &mut id).context("the identity of the database")?;
            Ok(id)
        })
    }
}

fn number(sequence: u64) -> anyhow::Result<i64> {
    i64::try_from(sequence).context("a number that no database holds")
}

fn bytes_of(text: String) -> anyhow::Result<Bytes> {
    Ok(hex::decode(text).context("the metadata log in the database is not hexadecimal")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_answered_by_every_control_node_and_changes_by_the_one_that_leads() {
        for (method, path, wanted) in [
            (Method::GET, "/api/v1/streams", false),
            (Method::HEAD, "/api/v1/tenant", false),
            (Method::OPTIONS, "/api/v1/streams", false),
            (Method::POST, "/api/v1/streams", true),
            (Method::DELETE, "/api/v1/streams/hall", true),
            (Method::GET, "/api/v1/auth/login", true),
            (Method::POST, "/live/hall/chat", true),
            (Method::GET, "/cluster/v1/streams", true),
            (Method::GET, "/cluster/v1/admin/streams", false),
            (Method::POST, "/cluster/v1/grants", true),
            (Method::POST, "/cluster/v1/metadata/self", true),
        ] {
            assert_eq!(needs_lead(&method, path), wanted, "{method} {path}");
        }
    }
}
