//! `GET /events`: a tenant's outbox as server-sent events. Their ids are places in the outbox, so whoever comes back goes on where it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use catalogue::Id;
use futures_util::stream;
use media::Now;
use node::http::Peer;
use tokio::sync::watch;

use super::caller::Call;
use super::listening::{LOOK_INTERVAL, Listening, SILENCE_MAX};
use super::problem::Problem;
use super::scopes::Scopes;
use crate::ControlState;
use crate::hooks::{envelope, needs};

/// How long it waits for further changes after one, so that a busy catalogue is not asked by each response for each change.
const GATHERED: Duration = Duration::from_millis(50);
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
        (status = 200, description = "Events", content_type = "text/event-stream", body = String)
    ),
)]
pub(crate) async fn follow(
    State(shared): State<Arc<ControlState>>,
    peer: Option<Extension<Peer>>,
    call: Call,
) -> Result<Response, Problem> {
    let tenant = call.tenant.id.clone();
    let listening = Listening::begin(&shared, peer.map(|Extension(peer)| peer), &call)?;
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
        listening,
        first: Some(first),
        position,
        tenant,
        shared,
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

/// Somebody who listens.
struct Listener {
    shared: Arc<ControlState>,
    tenant: Id,
    listening: Listening,
    /// What is sent before any event.
    first: Option<String>,
    /// Newest event that was sent, or left out.
    position: i64,
    changes: watch::Receiver<u64>,
    /// When something was sent.
    said_at: Now,
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
            if self.listening.ensure_may().await.is_err() {
                return None;
            }
            // The client comes back when the catalogue fails.
            let events = self.shared.catalogue.events_after(&self.tenant, self.position).await.ok()?;
            for event in events {
                self.position = event.position;
                if Scopes::named(needs(&event.kind)).is_some_and(|needed| self.listening.scopes().contains(needed)) {
                    text.push_str(&message(event.position, Some(&event.kind), &envelope(&event).to_string()));
                }
            }
            let now = self.shared.node.clock.now();
            if text.is_empty() && now.elapsed.saturating_sub(self.said_at.elapsed) >= SILENCE_MAX {
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
}

/// An event (HTML, section 9.2.6).
fn message(id: i64, name: Option<&str>, data: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("id: {id}\n{name}data: {data}\n\n")
}
