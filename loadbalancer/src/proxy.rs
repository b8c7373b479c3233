//! What happens to one request: pick a node, pass it on, try another when the node fails, tell the viewer where it is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{COOKIE, HOST, RETRY_AFTER, SET_COOKIE};
use media::NodeId;
use node::priority::{self, Hint, Priority};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::{ALPN, HttpPeer};
use pingora::{Error, ErrorType, Result};

use crate::members::Members;
use crate::sticky::{self, StickyKey, Token};

/// Nodes that one request is tried on, at most.
pub(crate) const TRIES_MAX: usize = 4;
/// Connections to nodes that are kept open without use.
pub(crate) const IDLE_UPSTREAMS_MAX: usize = 256;
/// Longest wait for a connection to a node; it is in the same cluster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest silence of a node within one response. A blocked playlist request may wait for 3 target durations of 4 s.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest that a viewer may take nothing of a response that waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an unused connection to a node is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests at once on one connection to a node.
const STREAMS_MAX: usize = 100;
/// How often a connection to a node is probed.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The proxy's filters.
pub(crate) struct Balancer {
    members: Arc<Members>,
    sticky: StickyKey,
    ca_file: String,
}

/// What is known of one request.
#[derive(Default)]
pub(crate) struct Request {
    viewer: u64,
    sticky: Option<NodeId>,
    tried: Vec<NodeId>,
}

impl Balancer {
    pub(crate) fn new(members: Arc<Members>, sticky: StickyKey, ca_file: &Path) -> Self {
        Self { members, sticky, ca_file: ca_file.to_string_lossy().into_owned() }
    }

    pub(crate) fn ca_file(&self) -> &str {
        &self.ca_file
    }

    /// Marks the node that was just tried as failed, and counts it.
    fn node_failed(&self, request: &Request, why: &Error) {
        let Some(node) = request.tried.last() else { return };
        self.members.failed(node);
        metrics::counter!("loadbalancer_upstream_failures_total", "node" => node.to_string()).increment(1);
        tracing::warn!(%node, error = %why.etype().as_str(), "a broadcast node failed a request");
    }
}

#[async_trait]
impl ProxyHttp for Balancer {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request::default()
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        if matches!(session.req_header().method.as_str(), "TRACE" | "CONNECT") {
            session.respond_error(405).await?;
            return Ok(true);
        }
        // RFC 9112, 3.2: the viewer's fault, not a node's. In HTTP/2 the authority stands in the URI.
        if session.req_header().headers.get(HOST).is_none() && session.req_header().uri.authority().is_none() {
            session.respond_error(400).await?;
            return Ok(true);
        }
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        let cookies = session.req_header().headers.get_all(COOKIE);
        let token = cookies
            .iter()
            .filter_map(|value| sticky::from_cookies(value.to_str().ok()?))
            .find_map(|text| self.sticky.open(text));
        match token {
            Some(Token { viewer, node }) => (request.viewer, request.sticky) = (viewer, Some(node)),
            None => request.viewer = rand::random(),
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        let target = self
            .members
            .pick(request.viewer, request.sticky.as_ref(), &request.tried)
            .ok_or_else(|| Error::explain(ErrorType::HTTPStatus(503), "no broadcast node is there"))?;
        if !request.tried.is_empty() {
            metrics::counter!("loadbalancer_retries_total").increment(1);
        }
        request.tried.push(target.node.clone());
        // The node's certificate names the node, wherever it runs.
        let mut peer = HttpPeer::new(target.address, true, target.node.to_string());
        let options = &mut peer.options;
        options.alpn = ALPN::H2H1;
        options.connection_timeout = Some(CONNECT_TIMEOUT);
        options.total_connection_timeout = Some(2 * CONNECT_TIMEOUT);
        options.read_timeout = Some(READ_TIMEOUT);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.max_h2_streams = STREAMS_MAX;
        options.h2_ping_interval = Some(PING_INTERVAL);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        _request: &mut Request,
    ) -> Result<()> {
        // Whatever the viewer claims about its own address is replaced.
        upstream.remove_header("forwarded");
        upstream.remove_header("x-forwarded-for");
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            upstream.insert_header("x-forwarded-for", address.ip().to_string())?;
        }
        upstream.insert_header("x-forwarded-proto", "https")?;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if let Some(response_stream) = priority::current() {
            let (asked, said) = (Hint::of(&session.req_header().headers), Hint::of(&response.headers));
            response_stream.begin(Priority::merged(asked, said)).await;
        }
        let Some(node) = request.tried.last() else { return Ok(()) };
        if request.sticky.as_ref() == Some(node) || is_immutable(session.req_header().uri.path()) {
            return Ok(());
        }
        let token = self.sticky.seal(&Token { viewer: request.viewer, node: node.clone() });
        let cookie = format!("{}={token}; Path=/; Secure; HttpOnly; SameSite=Lax", sticky::COOKIE);
        response.append_header(SET_COOKIE, cookie)?;
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        _request: &mut Request,
    ) -> Result<Option<Duration>> {
        if let (Some(response_stream), Some(body)) = (priority::current(), body) {
            response_stream.sent(body.len());
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.node_failed(request, &error);
        error.set_retry(true);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Request,
        _client_reused: bool,
    ) -> Box<Error> {
        // Only a fault of the node counts against it; a viewer that hangs up is no news.
        if *error.esource() == pingora::ErrorSource::Upstream {
            self.node_failed(request, &error);
            let repeatable = session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
            error.set_retry(repeatable && session.response_written().is_none());
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, request: &mut Request) -> FailToProxy {
        let status = match error.etype() {
            ErrorType::HTTPStatus(status) => *status,
            _ if *error.esource() == pingora::ErrorSource::Downstream => 0,
            _ => 502,
        };
        if status > 0 && session.response_written().is_none() {
            metrics::counter!("loadbalancer_failed_requests_total").increment(1);
            tracing::warn!(status, tried = request.tried.len(), "a viewer's request failed");
            if let Err(error) = respond_busy(session, status).await {
                tracing::debug!(%error, "the viewer was gone before the error reached it");
            }
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, _request: &mut Request) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        metrics::counter!("loadbalancer_requests_total", "class" => class(status)).increment(1);
    }

    fn suppress_error_log(&self, _session: &Session, _request: &Request, _error: &Error) -> bool {
        // Pingora's line would hold the viewer's address; ours are above.
        true
    }
}

/// An error that says when to come back.
async fn respond_busy(session: &mut Session, status: u16) -> Result<()> {
    const BODY: &str = "No broadcast node can answer right now. Try again in a few seconds.\n";
    let mut response = ResponseHeader::build(status, Some(4))?;
    response.insert_header(RETRY_AFTER, "2")?;
    response.insert_header("content-type", "text/plain; charset=utf-8")?;
    response.insert_header("cache-control", "no-store")?;
    response.set_content_length(BODY.len())?;
    session.write_response_header(Box::new(response), false).await?;
    session.write_response_body(Some(Bytes::from_static(BODY.as_bytes())), true).await
}

/// Media and built assets never change, so shared caches may keep them: no cookie goes on those.
fn is_immutable(path: &str) -> bool {
    path.starts_with("/assets/") || [".m4s", ".mp4"].iter().any(|end| path.ends_with(end))
}

const fn class(status: u16) -> &'static str {
    match status {
        100..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "none",
    }
}
