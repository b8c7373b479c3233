//! `GET /events`: a tenant's outbox as server-sent events. Their ids are places in the outbox, so whoever comes back goes on where it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use catalogue::Id;
use futures_util::stream;
use media::Now;
use node::http::Peer;
use node::problem::Type;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::caller::{self, Call, Principal};
use super::person;
use super::problem::Problem;
use super::scopes::Scopes;
use crate::ControlState;
use crate::hooks::{envelope, needs};

/// Responses that are open at once, and those of one tenant. Each asks the catalogue twice a second.
pub(crate) const STREAMS_MAX: usize = 100;
const STREAMS_OF_TENANT_MAX: usize = 20;
/// How often it is looked for events of other control nodes, and whether the caller still may listen.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it waits for further changes after one, so that a busy catalogue is not asked by each response for each change.
const GATHERED: Duration = Duration::from_millis(50);
/// How often a line is sent when nothing happens, so that nobody in between takes the connection for a dead one.
const COMMENT_INTERVAL: Duration = Duration::from_secs(10);
/// Header with the id of the last event that a client has.
const LAST_EVENT_ID: &str = "last-event-id";
/// How long a client waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Events of the tenant as they happen (server-sent events).
///
/// With `Last-Event-ID`, those that the client has missed come first, as far as they are kept: 24 hours, 10,000 events. Where that is not
/// enough, the event `reset` says so: read lists again. What a credential may not read is left out. The response ends within a second when
/// the credential ends.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that the client has")),
    responses(
        (status = 200, description = "Events", content_type = "text/event-stream", body = String),
        (status = "4XX", description = "A problem"),
    ),
)]
pub(crate) async fn follow(
    State(shared): State<Arc<ControlState>>,
    peer: Option<Extension<Peer>>,
    call: Call,
) -> Result<Response, Problem> {
    let tenant = call.tenant.id.clone();
    let busy = || {
        let problem = Problem::new(Type::RateLimited, "too many responses of this route are open: close one");
        Problem { retry_after_s: Some(10), ..problem }
    };
    let place = Place::take(&shared, &tenant).ok_or_else(busy)?;
    let outbox = shared.catalogue.outbox(&tenant).await?;
    let given = call.headers.get(LAST_EVENT_ID);
    let last = given.map(|value| value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()));
    let (position, is_reset) = match last {
        None => (outbox.newest, false),
        Some(Some(last)) if (outbox.pruned..=outbox.newest).contains(&last) => (last, false),
        Some(_) => (outbox.newest, true),
    };
    let mut first = format!("retry: {RETRY_MS}\n");
    // The client has a place to come back to, also when nothing happens.
    first.push_str(&if is_reset { message(position, Some("reset"), "{}") } else { format!("id: {position}\n\n") });
    let listener = Listener {
        changes: shared.catalogue.changes(),
        said_at: shared.node.clock.now(),
        scopes: call.principal.scopes,
        peer: peer.map(|Extension(peer)| peer),
        headers: call.headers.clone(),
        principal: call.principal.clone(),
        first: Some(first),
        position,
        tenant,
        shared,
        _place: place,
    };
    let body = stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), listener))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

/// A place among the responses that are open.
struct Place {
    shared: Arc<ControlState>,
    tenant: Id,
    _any: OwnedSemaphorePermit,
}

impl Place {
    fn take(shared: &Arc<ControlState>, tenant: &Id) -> Option<Self> {
        let any = Arc::clone(&shared.api.event_streams).try_acquire_owned().ok()?;
        let is_free = shared.api.count_listener(tenant, STREAMS_OF_TENANT_MAX);
        is_free.then(|| {
            metrics::gauge!("control_event_streams").increment(1);
            Self { shared: Arc::clone(shared), tenant: tenant.clone(), _any: any }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.api.forget_listener(&self.tenant);
        metrics::gauge!("control_event_streams").decrement(1);
    }
}

/// Somebody who listens.
struct Listener {
    shared: Arc<ControlState>,
    tenant: Id,
    peer: Option<Peer>,
    headers: HeaderMap,
    principal: Principal,
    scopes: Scopes,
    /// What is sent before any event.
    first: Option<String>,
    /// Newest event that was sent, or left out.
    position: i64,
    changes: watch::Receiver<u64>,
    /// When something was sent.
    said_at: Now,
    _place: Place,
}

impl Listener {
    /// What is sent next; `None`: the response ends.
    async fn next(&mut self) -> Option<String> {
        let mut text = match self.first.take() {
            Some(first) => return Some(first),
            None => String::new(),
        };
        loop {
            self.changes.mark_unchanged();
            if !self.still_may().await {
                return None;
            }
            // The client comes back when the catalogue fails.
            let events = self.shared.catalogue.events_after(&self.tenant, self.position).await.ok()?;
            for event in events {
                self.position = event.position;
                if Scopes::named(needs(&event.kind)).is_some_and(|needed| self.scopes.contains(needed)) {
                    text.push_str(&message(event.position, Some(&event.kind), &envelope(&event).to_string()));
                }
            }
            let now = self.shared.node.clock.now();
            if text.is_empty() && now.elapsed.saturating_sub(self.said_at.elapsed) >= COMMENT_INTERVAL {
                // With the place, so that a client to whom nothing is shown does not fall behind.
                text = format!(": nothing happened\nid: {}\n\n", self.position);
            }
            if !text.is_empty() {
                self.said_at = now;
                return Some(text);
            }
            tokio::select! {
                // Changes that come together are read together.
                _ = self.changes.changed() => tokio::time::sleep(GATHERED).await,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Whether the credential still counts, for the same tenant. Takes in what it may do by now.
    async fn still_may(&mut self) -> bool {
        let Ok(principal) = person::recognise_any(&self.shared, self.peer.as_ref(), &self.headers).await else {
            return false;
        };
        let is_revoked = self
            .peer
            .as_ref()
            .and_then(|peer| peer.node.as_ref())
            .is_some_and(|(node, _)| self.shared.is_revoked(node));
        if is_revoked || principal.credential != self.principal.credential {
            return false;
        }
        self.scopes = principal.scopes;
        let tenant = caller::tenant_of(&self.shared, &principal, (&self.headers, false)).await;
        tenant.is_ok_and(|tenant| tenant.id == self.tenant)
    }
}

/// An event (HTML, section 9.2.6).
fn message(id: i64, name: Option<&str>, data: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("id: {id}\n{name}data: {data}\n\n")
}
