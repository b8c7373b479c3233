//! What happens to one request: pick a node, pass it on, try another when the node fails, tell the viewer where it is.

use std::sync::Arc;
use std::time::Duration;

use acceptor::Census;
use access::RequestPath;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, COOKIE, HOST, SET_COOKIE};
use media::NodeId;
use node::CancellationToken;
use node::clock::Clock;
use node::control_routes::{Answerer, answerer};
use node::http::{ELSEWHERE, LEADER, STOPPING};
use node::priority::{self, Hint, Priority};
use node::problem::{self, Type};
use node::wait::WAIT;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::{ALPN, HttpPeer};
use pingora::{Error, ErrorType, Result, RetryType};

use crate::answered::Answered;
use crate::kept::KeptPlaylists;
use crate::members::{Among, Members};
use crate::proof;
use crate::report::Source;
use crate::request::{Request, Way, is_of_stream, stream_of};
use crate::sharing::fetch::{self, Answer, Order};
use crate::sharing::{self, Asked, Key, Outcome, Question, Sharing};
use crate::sticky::{self, StickyKey, Token};
use crate::target::Target;
use crate::upstream::{self, Trust};
use crate::viewer;
use crate::written::Written;

/// Most nodes that one request is tried on.
const NODES_TRIED_MAX: usize = 4;
/// Most tries of one request: a node whose connection has no room for it may be asked again on another, and when a node dies, hundreds of
/// requests look for room at once.
pub(crate) const TRIES_MAX: usize = 32;
/// Most fetches that a viewer waits for, when nodes fail in the middle of their answers; after that it asks by itself.
const FETCHES_MAX: usize = 3;
/// Longest time in which a viewer may take nothing of a response that waits for it; more urgent responses of the same connection may come
/// first.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// `Retry-After` in seconds: a node may be there by then.
const RETRY_AFTER: &str = "2";
/// `Retry-After` of a full cluster, in seconds: viewers come and go more slowly than nodes.
const RETRY_AFTER_FULL: &str = "10";
/// `Retry-After` of an address that asks for too much at once, in seconds: answers take moments.
const RETRY_AFTER_SHARE: &str = "1";
const TOO_MANY: &str = "Too many requests of your address wait for an answer. Try again in a moment.\n";
const BUSY: &str = "No broadcast node can answer right now. Try again in a few seconds.\n";
const FULL: &str = "All broadcast nodes send as much as they can. Try again in a moment.\n";
const NO_CONTROL: &str = "no control node can be reached now; broadcast goes on without it";
const ABSENT: &str = "No broadcast node that can be reached has this.\n";

/// The node is stopping: what waited there is better asked for elsewhere.
const NODE_IS_STOPPING: ErrorType = ErrorType::Custom("NodeIsStopping");
/// The server at the node's address is not the node: it gets no request, and viewers get nothing from it.
const NOT_THE_NODE: ErrorType = ErrorType::Custom("NotTheNode");
/// The node is an edge and does not have what an owner may have.
const NODE_IS_AN_EDGE: ErrorType = ErrorType::Custom("NodeIsAnEdge");

/// The control node does not lead, and has done nothing.
const DOES_NOT_LEAD: ErrorType = ErrorType::Custom("DoesNotLead");

/// Where the API begins.
const API: &str = "/api/v1/";

/// The proxy's filters.
pub(crate) struct Balancer {
    members: Arc<Members>,
    sticky: StickyKey,
    trust: Trust,
    stopping: CancellationToken,
    /// Requests of each address that are not answered yet.
    requests: Arc<Census>,
    /// What viewers share.
    sharing: Arc<Sharing>,
    answered: Arc<Answered>,
    written: Written,
    clock: Clock,
}

impl Balancer {
    /// `requests_max` is how many requests of one address are under way at once.
    pub(crate) fn new(
        members: Arc<Members>,
        sticky: StickyKey,
        (trust, requests_max): (Trust, usize),
        (sharing, stopping): (Arc<Sharing>, CancellationToken),
        clock: Clock,
    ) -> Self {
        let (requests, answered) = (Census::new(usize::MAX, requests_max), Arc::default());
        Self { members, sticky, trust, stopping, requests, sharing, answered, written: Written::default(), clock }
    }

    /// The shortest way to answers that are kept.
    pub(crate) fn kept(&self) -> KeptPlaylists {
        KeptPlaylists::new(Arc::clone(&self.members), Arc::clone(&self.sharing), Arc::clone(&self.answered))
    }

    /// The authority file that Pingora needs at its start; each connection gets the authorities of the moment.
    pub(crate) fn ca_file(&self) -> String {
        self.trust.identity().ca_path().to_string_lossy().into_owned()
    }

    /// Marks the node that was just tried as failed, and counts it.
    fn node_failed(&self, request: &Request, why: &Error) {
        let Some(node) = request.tried.last() else { return };
        metrics::counter!("loadbalancer_upstream_failures_total", "node" => node.to_string()).increment(1);
        if request.is_for_control {
            self.members.leads(None);
            if !self.stopping.is_cancelled() {
                tracing::warn!(%node, error = %why.etype().as_str(), "a control node failed a request");
            }
            return;
        }
        // News only once: thousands of requests may have waited for the node. When the whole process stops, nodes may be gone before the
        // balancer.
        if self.members.failed(node) && !self.stopping.is_cancelled() {
            tracing::warn!(%node, error = %why.etype().as_str(), "a broadcast node failed a request");
        }
    }

    /// The best node that was not tried, once there is room to connect to it.
    async fn choose(&self, request: &mut Request) -> Result<Target> {
        let pick = |request: &Request| {
            let viewer = request.placement.viewer();
            // When no owner can be reached, the edge's answer stands: there is no such object.
            let status = if request.among == Among::Owners { 404 } else { 503 };
            let is_over = request.tried.len() >= NODES_TRIED_MAX;
            if request.is_for_control {
                let found = (!is_over).then(|| self.members.control(&request.tried)).flatten();
                return found.ok_or_else(|| Error::explain(ErrorType::HTTPStatus(503), "no control node is there"));
            }
            let found = (!is_over).then(|| self.members.pick(viewer, request.among, &request.tried)).flatten();
            found.ok_or_else(|| Error::explain(ErrorType::HTTPStatus(status), "no broadcast node is there"))
        };
        if request.is_for_control && request.may_be_for_node && !self.members.has_control(&request.tried) {
            // Somebody who is signed in reads what a node knows.
            request.is_for_control = false;
            request.tried.clear();
        }
        let mut target = pick(request)?;
        loop {
            if let Some(permit) = target.limits.try_enter() {
                request.connecting = Some(permit);
                return Ok(target);
            }
            let permit = target.limits.enter().await;
            // The requests before this one may have found that the node is gone.
            let again = pick(request)?;
            if again.node == target.node {
                request.connecting = Some(permit);
                return Ok(again);
            }
            target = again;
        }
    }

    /// Answers with what other viewers want of the same node, too. `false` when the request has to go to a node by itself.
    async fn share(&self, session: &mut Session, request: &mut Request, question: Question) -> Result<bool> {
        for _ in 0..FETCHES_MAX {
            let Some(target) = self.members.pick(request.placement.viewer(), Among::All, &[]) else { return Ok(false) };
            let key = Key { node: target.node, question: question.clone() };
            let (mut waiting, first) = match self.sharing.ask(&key) {
                Asked::Kept(answer) => {
                    request.placed(&key.node);
                    return self.deliver(session, request, &answer).await.map(|()| true);
                }
                Asked::Waits(waiting) => (waiting, None),
                Asked::Begins(waiting, underway) => (waiting, Some(underway)),
                Asked::Alone => return Ok(false),
            };
            request.placed(&key.node);
            if let Some(underway) = first {
                let fetch = fetch::Request::new(session, request.placement.clone(), &question).await;
                let Some(fetch) = fetch else { return Ok(false) };
                underway.begin(fetch);
            }
            let outcome = tokio::select! {
                outcome = waiting.outcome() => outcome,
                // It ends only when the viewer is gone.
                gone = session.as_downstream_mut().read_body_or_idle(true) => {
                    let error = gone.err().unwrap_or_else(|| Error::new(ErrorType::ConnectionClosed));
                    return Err(error.into_down());
                }
            };
            match outcome {
                Outcome::Answer(answer) => return self.deliver(session, request, &answer).await.map(|()| true),
                Outcome::Alone => return Ok(false),
                Outcome::Broken => {}
            }
        }
        Ok(false)
    }

    /// Sends a shared answer to one viewer, as if a node had answered this viewer alone.
    async fn deliver(&self, session: &mut Session, request: &mut Request, answer: &Answer) -> Result<()> {
        let mut head = self.sharing.head(answer);
        match &answer.source {
            Some(Source { node, among }) => {
                request.among = *among;
                request.placed(node);
                request.tried.push(node.clone());
                self.begins(session, &mut head, request).await?;
            }
            None => self.answered.failed(),
        }
        session.write_response_header(head, false).await?;
        if let Some(response_stream) = priority::current() {
            response_stream.sent(answer.body.len());
        }
        session.write_response_body(Some(answer.body.clone()), true).await
    }

    /// A response to a viewer begins: it waits for its turn, and tells the viewer where it is.
    async fn begins(&self, session: &Session, response: &mut ResponseHeader, request: &Request) -> Result<()> {
        if let Some(response_stream) = priority::current() {
            let (asked, said) = (Hint::of(&session.req_header().headers), Hint::of(&response.headers));
            response_stream.begin(Priority::merged(asked, said)).await;
        }
        // Control is not where a viewer watches.
        if request.is_for_control {
            return Ok(());
        }
        if response.status.is_client_error() || response.status.is_server_error() {
            request.refused();
        }
        let Some(node) = request.tried.last() else { return Ok(()) };
        // An owner is asked for one object only: the viewer stays where it is.
        if request.among == Among::Owners || request.placement.token.as_ref() == Some(node) || is_shared(response) {
            return Ok(());
        }
        let token = self.sticky.seal(&Token { viewer: request.placement.key, node: node.clone() });
        let cookie = format!("{}={token}; Path=/; Secure; HttpOnly; SameSite=Lax", sticky::COOKIE);
        response.append_header(SET_COOKIE, cookie)?;
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Balancer {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request::default()
    }

    fn allow_spawning_subrequest(&self, session: &Session, _request: &Request) -> bool {
        session.subrequest_ctx.is_none() && sharing::is_playlist(session.req_header().uri.path())
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        if let Some(order) = Order::of(session) {
            *request = Request {
                placement: order.placement.clone(),
                report: Some(Arc::clone(&order.report)),
                way: Way::of(session.req_header()),
                ..Request::default()
            };
            return Ok(false);
        }
        if matches!(session.req_header().method.as_str(), "TRACE" | "CONNECT") {
            session.respond_error(405).await?;
            return Ok(true);
        }
        // RFC 9112, 3.2: without a host it is the viewer's fault, not a node's. In HTTP/2 the authority is in the URI.
        if session.req_header().headers.get(HOST).is_none() && session.req_header().uri.authority().is_none() {
            session.respond_error(400).await?;
            return Ok(true);
        }
        let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        match address.map(|address| self.requests.admit(address)).transpose() {
            Ok(counted) => request.counted = counted,
            Err(_) => {
                metrics::counter!("loadbalancer_refused_share_total").increment(1);
                respond(session, 429, TOO_MANY, RETRY_AFTER_SHARE).await?;
                return Ok(true);
            }
        }
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        let header = session.req_header();
        let answerer = answerer(&header.method, &header.uri, &header.headers);
        request.is_for_control = answerer != Answerer::Node;
        if answerer == Answerer::Control {
            return Ok(false);
        }
        request.may_be_for_node = answerer == Answerer::ControlElseNode;
        request.way = Way::of(session.req_header());
        let stream = stream_of(session.req_header().uri.path());
        let cookies = session.req_header().headers.get_all(COOKIE);
        let token = cookies
            .iter()
            .filter_map(|value| sticky::from_cookies(value.to_str().ok()?))
            .find_map(|text| self.sticky.open(text));
        let connection = viewer::current();
        let watched_on = connection.as_ref().and_then(|at| at.watched_on(stream.as_ref()?));
        let begins = watched_on.is_none() && is_entry(session.req_header().uri.path());
        let placement = &mut request.placement;
        (placement.stream, placement.watched_on) = (stream, watched_on);
        match token {
            Some(Token { viewer, node }) => (placement.key, placement.token) = (viewer, Some(node)),
            None if begins && self.members.is_full() => {
                metrics::counter!("loadbalancer_refused_full_total").increment(1);
                respond(session, 503, FULL, RETRY_AFTER_FULL).await?;
                return Ok(true);
            }
            None => {
                // Players that keep no cookie, or get none, stay on their node by their seat.
                let address = address.filter(|_| is_of_stream(session.req_header().uri.path()));
                let seat = address.zip(connection).map(|(address, at)| at.seat(|| self.sticky.place(address)));
                placement.is_placed_by_address = seat.is_some();
                (placement.key, placement.seated_on) = seat.unwrap_or_else(|| (rand::random(), None));
            }
        }
        match Question::of(session.req_header()).filter(|_| !request.is_for_control) {
            Some(question) => self.share(session, request, question).await,
            None => Ok(false),
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        if !request.tried.is_empty() {
            metrics::counter!("loadbalancer_retries_total").increment(1);
        }
        let target = self.choose(request).await?;
        request.placed(&target.node);
        request.tried.push(target.node.clone());
        request.http1 = if request.way == Way::Own { target.limits.try_http1() } else { None };
        let protocol = if request.http1.is_some() { ALPN::H1 } else { ALPN::H2 };
        let peer = upstream::peer(&target, protocol, &self.trust);
        request.target = Some(target);
        Ok(Box::new(peer))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        digest: Option<&Digest>,
        request: &mut Request,
    ) -> Result<()> {
        request.connecting = None;
        let target = request.target.as_ref().ok_or_else(|| Error::new(NOT_THE_NODE))?;
        let tls = digest.and_then(|digest| digest.ssl_digest.as_ref()).ok_or_else(|| Error::new(NOT_THE_NODE))?;
        if proof::is_of_node(&tls.cert_digest, target, self.trust.identity()).await {
            return Ok(());
        }
        metrics::counter!("loadbalancer_wrong_servers_total", "node" => target.node.to_string()).increment(1);
        Err(Error::new(NOT_THE_NODE).into_up())
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
        // What many wait for has no address.
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            upstream.insert_header("x-forwarded-for", address.ip().to_canonical().to_string())?;
        }
        upstream.insert_header("x-forwarded-proto", "https")?;
        // What one viewer wants first must not delay others on the same connection to the node.
        upstream.remove_header(priority::NAME);
        // Only a client that has a credential writes, and reads the API.
        let header = session.req_header();
        let may_wait = header.method.is_safe() && header.uri.path().starts_with(API);
        if may_wait
            && !header.headers.contains_key(WAIT)
            && let Some(entry) = self.written.wanted(&header.headers, self.clock.elapsed())
        {
            upstream.insert_header(WAIT, entry.to_string())?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        request.heard();
        if response.headers.contains_key(STOPPING) {
            return Err(Error::new(NODE_IS_STOPPING).into_up());
        }
        if let Some(leader) = response.remove_header(&LEADER).filter(|_| request.is_for_control) {
            self.members.leads(leader.to_str().ok().and_then(|leader| NodeId::new(leader).ok()));
            if request.tried.len() < NODES_TRIED_MAX && self.members.has_control(&request.tried) {
                return Err(Error::new(DOES_NOT_LEAD).into_up());
            }
        }
        if response.remove_header(&ELSEWHERE).is_some()
            && self.members.pick(request.placement.viewer(), Among::Owners, &request.tried).is_some()
        {
            request.among = Among::Owners;
            return Err(Error::new(NODE_IS_AN_EDGE).into_up());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        match (&request.report, request.tried.last()) {
            // The filters of those who wait do the rest.
            (Some(report), Some(node)) => report.answered(Source { node: node.clone(), among: request.among }),
            _ => {
                let asked = session.req_header();
                if request.is_for_control && response.status.is_success() {
                    self.written.answered(&asked.method, &asked.headers, &response.headers, self.clock.elapsed());
                }
                self.begins(session, response, request).await?;
            }
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        request: &mut Request,
    ) -> Result<Option<Duration>> {
        request.heard();
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
        request.connecting = None;
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
        is_reused: bool,
    ) -> Box<Error> {
        // Only a fault of the node counts against it; a viewer that hangs up is no news.
        if *error.esource() == pingora::ErrorSource::Upstream {
            let is_unanswered = session.response_written().is_none();
            if is_reused && request.http1.is_some() && is_unanswered && is_closed(&error) {
                // The node may have ended the connection while it was idle. If the node itself is gone, HTTP/2 finds that out.
                request.way = Way::Shared;
                request.tried.pop();
            } else if is_refusal(&error) {
                // It may be asked again, on another connection.
                request.tried.pop();
            } else if ![NODE_IS_STOPPING, NODE_IS_AN_EDGE, DOES_NOT_LEAD].contains(error.etype()) {
                self.node_failed(request, &error);
            }
            // A control node that does not lead has taken nothing of a change.
            let is_undone = *error.etype() == DOES_NOT_LEAD;
            let is_safe = is_undone || session.req_header().method.is_idempotent();
            let repeatable = is_safe && !session.as_ref().retry_buffer_truncated();
            error.set_retry(repeatable && is_unanswered);
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
            let line = if status == 404 { ABSENT } else { BUSY };
            let said = request.is_for_control.then(|| Type::ControlAway.said(NO_CONTROL, None).to_string());
            if status != 404 {
                // Those who wait for it are counted one by one.
                if request.report.is_none() {
                    self.answered.failed();
                }
                if !self.stopping.is_cancelled() {
                    tracing::warn!(status, tried = request.tried.len(), "a viewer's request failed");
                }
            }
            let answered = match said {
                Some(problem) => {
                    let problem = (problem::CONTENT_TYPE, Bytes::from(problem));
                    respond_with(session, Type::ControlAway.status(), problem, RETRY_AFTER).await
                }
                None => respond(session, status, line, RETRY_AFTER).await,
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "the viewer was gone before the error reached it");
            }
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, request: &mut Request) {
        if request.report.is_none() {
            self.answered.count(session.response_written().map(|response| response.status));
        }
    }

    fn suppress_error_log(&self, _session: &Session, _request: &Request, _error: &Error) -> bool {
        // Pingora's line would hold the viewer's address; ours are above.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _request: &Request,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        // Retries are counted; failed nodes have a line above.
        true
    }
}

/// Where a viewer begins to watch: the player's page, and the multivariant playlist.
fn is_entry(path: &str) -> bool {
    let is_playlist = |rest: &str| rest.split_once('/').is_some_and(|(_, file)| file == "index.m3u8");
    path.starts_with("/watch/") || RequestPath::of(path).rest.strip_prefix("/live/").is_some_and(is_playlist)
}

/// A refusal of our own: one line for a person, and `Retry-After` with a status of 500 or more.
async fn respond(session: &mut Session, status: u16, line: &'static str, retry_after_s: &str) -> Result<()> {
    let line = ("text/plain; charset=utf-8", Bytes::from_static(line.as_bytes()));
    respond_with(session, status, line, retry_after_s).await
}

async fn respond_with(
    session: &mut Session,
    status: u16,
    (content_type, body): (&'static str, Bytes),
    retry_after_s: &str,
) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(4))?;
    if status >= 429 {
        response.insert_header(http::header::RETRY_AFTER, retry_after_s)?;
    }
    response.insert_header("content-type", content_type)?;
    response.insert_header("cache-control", "no-store")?;
    response.set_content_length(body.len())?;
    session.write_response_header(Box::new(response), false).await?;
    session.write_response_body(Some(body), true).await
}

/// Whether the node said that it took nothing of the request: its connection was ending, or had no room for another request (RFC 9113,
/// 8.7).
fn is_refusal(error: &Error) -> bool {
    matches!(error.retry, RetryType::Decided(true))
        && !matches!(error.etype(), ErrorType::H2Downgrade | ErrorType::InvalidH2)
}

fn is_closed(error: &Error) -> bool {
    [ErrorType::ConnectionClosed, ErrorType::ReadError, ErrorType::WriteError].contains(error.etype())
}

/// Whether shared caches may keep the answer. Such an answer gets no cookie, or they would give one viewer's to all.
fn is_shared(response: &ResponseHeader) -> bool {
    let lines = response.headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("public"))
}
