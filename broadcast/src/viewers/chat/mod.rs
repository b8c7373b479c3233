//! Chat on its way down: `/live/{stream}/events`, a stream of events (HTML, 9.2) for whoever may watch. What viewers write goes through a
//! balancer to control; the node only reads.

mod hub;
mod room;

use std::sync::Arc;
use std::time::Duration;

use access::ChatRules;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use media::StreamId;
use node::http::{LongLivedGuard, Peer};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Interval, interval};

pub use self::hub::{ChatBounds, ChatHub};

use self::hub::Seat;
use super::asked::counted_as;
use super::caching::{CacheLifetime, Kind, cache_control};
use super::entrance::{AccessControl, Right};
use super::respond;
use super::site::{Names, Shared};

/// How often a reader hears something, so that proxies keep the response open, and its right is looked at again.
const BEAT: Duration = Duration::from_secs(10);
/// A comment, which readers skip.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");

/// `GET /live/{stream}/events`.
pub(super) async fn events(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let access = Arc::clone(&site.settings.access);
    let none = || respond::refuse(StatusCode::NOT_FOUND, "this stream has no chat\n");
    let (Some(chat), Some(right)) = (access.chat(&stream), request.extensions().get::<Right>().cloned()) else {
        return none();
    };
    let rules = access.changes();
    let hub = Arc::clone(&site.settings.chat);
    let Some(seat) = hub.enter(&stream, counted_as(&request)) else {
        return respond::unavailable("too many read chats here already\n");
    };
    let last = last_event(request.headers(), request.uri().query().unwrap_or_default());
    let first = format!("retry: {}\n\n", seat.retry_ms);
    let long_lived = request.extensions().get::<Peer>().map(|peer| peer.long_lived.begin());
    let reader = Reader {
        pending: Some(Bytes::from(first)),
        said: None,
        last: Some(last),
        beat: interval(BEAT),
        stream,
        access,
        right,
        rules,
        hub,
        seat,
        chat,
        _long_lived: long_lived,
    };
    let body = if *request.method() == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((Ok::<_, std::convert::Infallible>(event), reader))
        }))
    };
    let mut response = respond::of_kind(Kind::Events, Response::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, cache_control(CacheLifetime::Never));
    response
}

/// Up to where a reader has read: what its browser says when it comes back, or the page.
fn last_event(headers: &HeaderMap, query: &str) -> Option<u64> {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
    header.or(after)?.parse().ok()
}

/// One who reads a chat.
struct Reader {
    stream: StreamId,
    access: Arc<AccessControl>,
    right: Right,
    rules: watch::Receiver<()>,
    hub: Arc<ChatHub>,
    seat: Seat,
    chat: ChatRules,
    /// What was said of the chat itself.
    said: Option<(ChatRules, bool)>,
    pending: Option<Bytes>,
    /// Up to where it has read, until that is made good.
    last: Option<Option<u64>>,
    beat: Interval,
    _long_lived: Option<LongLivedGuard>,
}

impl Reader {
    /// What it gets next; `None` when it may not read any more, or the node stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.pending.take() {
            return Some(first);
        }
        if let Some(state) = self.state() {
            return Some(state);
        }
        if let Some(last) = self.last.take()
            && let Some(event) = self.hub.since(&self.stream, last)
        {
            return Some(event);
        }
        loop {
            tokio::select! {
                () = self.seat.stopping.cancelled() => return None,
                heard = self.seat.events.recv() => match heard {
                    Ok(event) => return Some(event),
                    Err(RecvError::Lagged(_)) => {
                        if let Some(event) = self.hub.since(&self.stream, None) {
                            return Some(event);
                        }
                    }
                    Err(RecvError::Closed) => return None,
                },
                changed = self.rules.changed() => {
                    changed.ok()?;
                    self.chat = self.access.chat(&self.stream).filter(|_| self.access.may_still(&self.right))?;
                }
                changed = self.seat.paused.changed() => changed.ok()?,
                _ = self.beat.tick() => {
                    // A token ends by itself, and nobody says so.
                    if !self.access.may_still(&self.right) {
                        return None;
                    }
                    return Some(NOTHING);
                }
            }
            if let Some(state) = self.state() {
                return Some(state);
            }
        }
    }

    /// What the chat itself is, when that is news.
    fn state(&mut self) -> Option<Bytes> {
        let now = (self.chat, *self.seat.paused.borrow_and_update());
        if self.said == Some(now) {
            return None;
        }
        self.said = Some(now);
        let (chat, is_paused) = now;
        let data = serde_json::json!({ "paused": is_paused, "slow_s": chat.slow_s, "writers": chat.writers.name() });
        Some(Bytes::from(format!("event: state\ndata: {data}\n\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_goes_on_where_its_browser_or_its_page_says() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event(&headers, ""), None);
        assert_eq!(last_event(&headers, "x=1&after=7"), Some(7));
        headers.insert("last-event-id", HeaderValue::from_static("9"));
        assert_eq!(last_event(&headers, "after=7"), Some(9));
        headers.insert("last-event-id", HeaderValue::from_static("nine"));
        assert_eq!(last_event(&headers, ""), None);
    }
}
