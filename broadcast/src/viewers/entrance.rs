//! Who may have what: the one layer before routing, metrics and logs. It takes the token off the path, brings the path into its normal
//! form, and asks for the decision ([`access::Rules::decide`]). What comes after it sees no token.
//!
//! Deliberately refuses nothing by a text of its own where a stream is hidden: such a request goes on as one for a stream that nobody has,
//! so that its answer is that of one.

use std::sync::{Arc, Mutex, PoisonError};

use access::session::from_cookies;
use access::{
    Allowed, Ask, ChatRules, Checked, Class, Invalid, Membership, OriginUse, Place, Readers, Refusal, RequestPath,
    Role, Rules, SessionRules, Verified, Visibility, normalised,
};
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, RETRY_AFTER,
    VARY,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use issuers::ForeignKeys;
use media::StreamId;
use node::Redacted;
use node::clock::Clock;
use node::problem::Type;
use tokio::sync::watch;

use super::allowance::Allowances;
use super::asked::client_address;
use super::caching;
use super::respond;
use crate::quotas::Quotas;

/// Most tokens whose signature is remembered: more than a node has viewers. Each takes some 400 bytes.
const CHECKED_MAX: usize = 65_536;
/// A name that no stream has: nobody can make one that begins with a hyphen.
const NO_STREAM: &str = "-nobody-has-this-stream";
/// Seconds after which somebody may try again to begin, where viewers get as much as a quota allows.
const FULL_FOR_S: HeaderValue = HeaderValue::from_static("10");
/// Longest URL below a token in bytes.
const UNDER_TOKEN_BYTES_MAX: usize = 2_048;
/// Says of which site the page is that asks; no page can set it.
const FETCH_SITE: &str = "sec-fetch-site";
/// The end of paths whose answers last.
const EVENTS: &str = "/events";
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a node knows of rights, and the tokens that it has verified.
#[derive(Debug)]
pub struct AccessControl {
    rules: ArcSwap<Rules>,
    sessions: ArcSwap<SessionRules>,
    /// Says that the rules have changed.
    changes: watch::Sender<()>,
    foreign: ArcSwap<ForeignKeys>,
    checked: Mutex<Checked>,
    allowances: Mutex<Allowances>,
    quotas: Arc<Quotas>,
    /// Entry of the metadata log up to which all of this says what the log does.
    reflected: watch::Sender<u64>,
    clock: Clock,
}

impl AccessControl {
    /// Everything is public, and no token counts, until somebody says otherwise.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            rules: ArcSwap::default(),
            sessions: ArcSwap::default(),
            foreign: ArcSwap::default(),
            changes: watch::Sender::new(()),
            checked: Mutex::new(Checked::new(CHECKED_MAX)),
            allowances: Mutex::default(),
            quotas: Arc::default(),
            reflected: watch::Sender::new(0),
            clock,
        })
    }

    /// From now on these rules count, also for requests that wait.
    pub fn obey(&self, rules: impl Into<Arc<Rules>>) {
        self.rules.store(rules.into());
        self.changes.send_replace(());
    }

    /// What tenants use, and may use.
    pub const fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// All that was said before is what the metadata log says up to this entry.
    pub fn reflect(&self, sequence: u64) {
        self.reflected.send_replace(sequence);
    }

    /// Entry of the metadata log up to which that is so.
    pub(super) fn reflected(&self) -> watch::Receiver<u64> {
        self.reflected.subscribe()
    }

    /// Says when other rules count.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether a response that lasts may go on.
    pub(super) fn may_still(&self, right: &Right) -> bool {
        let token = right.token.as_deref().map(Ok);
        self.decide_by(&self.rules.load(), &right.place, token, right.origin.as_ref()).is_ok()
    }

    /// From now on these sessions count.
    pub fn believe(&self, sessions: SessionRules) {
        self.sessions.store(Arc::new(sessions));
    }

    /// The tenant whose streams a request may read, because somebody is signed in there. Only for what control would answer if it were here.
    pub(super) fn reader(&self, request: &Request<Body>) -> Option<Reader> {
        let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let token = from_cookies(cookies)?;
        let rules = self.sessions.load();
        let session = rules.verify(token).ok()?;
        rules.check(&session, self.clock.wall()).ok()?;
        let wanted = match request.headers().get(TENANT) {
            Some(wanted) => Some(wanted.to_str().ok()?),
            None => None,
        };
        Reader::of(&rules.memberships(&session.claims), wanted, self.rules.load_full())
    }

    /// From now on, tokens of these are taken, too, as far as the rules have their signers.
    pub fn take_foreign(&self, foreign: ForeignKeys) {
        self.foreign.store(Arc::new(foreign));
    }

    /// Whether lists for everybody show a stream.
    pub(super) fn is_listed(&self, stream: &StreamId) -> bool {
        self.rules.load().is_listed(stream)
    }

    /// Whether whoever knows the name of a stream may begin to watch it, on any site.
    pub(super) fn is_for_everybody(&self, stream: &StreamId) -> bool {
        let rules = self.rules.load();
        matches!(rules.visibility(stream), Visibility::Public | Visibility::Unlisted)
            && rules.readers(stream, None) == Readers::AllSites
            && !self.quotas.account(stream).is_some_and(|account| account.is_closed())
    }

    /// Which sites may show a stream's player.
    pub(super) fn frame_ancestors(&self, stream: &StreamId) -> String {
        self.rules.load().frame_ancestors(stream)
    }

    /// The chat of a stream; `None` when it has none.
    pub(super) fn chat(&self, stream: &StreamId) -> Option<ChatRules> {
        self.rules.load().chat(stream)
    }

    /// Whether a stream has a chat.
    pub(crate) fn has_chat(&self, stream: &StreamId) -> bool {
        self.chat(stream).is_some()
    }

    /// A token whose signature is right. One of an issuer is read for the tenant of the stream that it is to open.
    fn verified(&self, rules: &Rules, text: &str, stream: Option<&StreamId>) -> Result<Arc<Verified>, Invalid> {
        let tenant = stream.and_then(|stream| rules.owner(stream));
        let is_foreign = RequestPath::is_jws(text);
        let digest = match tenant.filter(|_| is_foreign) {
            None => Checked::digest(text),
            // No token has a slash.
            Some(tenant) => Checked::digest(&format!("{tenant}/{text}")),
        };
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = checked().get(&digest).filter(|known| !is_foreign || rules.knows(known)) {
            return Ok(known);
        }
        let verified = Arc::new(match is_foreign {
            true => self.foreign.load().verified(text, tenant, (rules, self.clock.wall()))?.verified,
            false => Verified::read(text, |id| rules.key(id))?,
        });
        checked().put(digest, Arc::clone(&verified));
        Ok(verified)
    }
}

/// The path of the token that a request came with, for the few URIs that are absolute. Nobody prints it.
#[derive(Clone)]
pub(super) struct Prefix {
    /// The URI as it came.
    uri: Redacted<Uri>,
    /// Bytes of its path that are the token's.
    bytes: usize,
}

impl Prefix {
    /// What stands before the path of everything that the request's answer leads to; empty without a token.
    pub(super) fn of(request: &Request<Body>) -> &str {
        let prefix = request.extensions().get::<Self>();
        prefix.and_then(|prefix| prefix.uri.expose().path().get(..prefix.bytes)).unwrap_or_default()
    }
}

/// A request that may go on, without its token.
pub(super) struct Entered {
    pub(super) request: Request<Body>,
    pub(super) pass: Pass,
}

/// With what right a request went on.
pub(super) struct Pass {
    place: Place,
    /// Only of a holder.
    token: Option<Arc<Verified>>,
    origin: Option<HeaderValue>,
    /// The page is one of the same site as this server, as the browser says (Fetch Metadata): the cluster's own pages load from nodes
    /// under other names.
    is_same_site: bool,
    origin_use: Option<OriginUse>,
    rules: Arc<Rules>,
    /// It is the description of a stream, for somebody who is signed in.
    is_members: bool,
}

/// With what right a response lasts, for as long as it does.
#[derive(Clone)]
pub(super) struct Right {
    place: Place,
    token: Option<Arc<Verified>>,
    origin: Option<HeaderValue>,
}

/// Mark of an answer that scripts of other sites may not read.
#[derive(Clone, Copy)]
pub(super) struct OwnPagesOnly;

/// Whether a URL is longer than any of ours; without its token, it may have `plain_max` bytes.
pub(super) fn is_too_long(uri: &Uri, plain_max: usize) -> bool {
    let whole = uri.path_and_query().map_or(0, |text| text.as_str().len());
    let target = RequestPath::of(uri.path());
    // The token in the path, or the one that leads there.
    let in_query = token_of_query(uri.query().unwrap_or_default()).map_or(0, str::len);
    let taken = target.prefix_bytes().saturating_add(in_query);
    whole.saturating_sub(taken) > plain_max || (taken > 0 && whole > UNDER_TOKEN_BYTES_MAX)
}

impl AccessControl {
    /// Lets a request in, or says what it is answered.
    pub(super) fn enter(&self, mut request: Request<Body>) -> Result<Entered, Box<Response>> {
        // It shares the bytes of the request's.
        let uri = Redacted::new(request.uri().clone());
        let target = RequestPath::of(uri.expose().path());
        let token = target.token;
        let Some(mut path) = normalised(target.rest) else {
            return Err(Box::new(match token {
                Some(token) => {
                    let rules = self.rules.load();
                    let why = self.verified(&rules, token, None).map_or_else(Refusal::Invalid, |_| Refusal::Elsewhere);
                    refused(why)
                }
                None => super::site::not_found(),
            }));
        };
        let place = Place::of(&path);
        if token.is_none()
            && let Some(redirect) = to_token_path(&request, &place, &path)
        {
            return Err(Box::new(redirect));
        }
        let rules = self.rules.load_full();
        let verified = token.map(|token| self.verified(&rules, token, place.stream.as_ref()));
        let origin = request.headers().get(ORIGIN).cloned();
        let site = request.headers().get(FETCH_SITE).map(HeaderValue::as_bytes);
        let is_same_site = site.is_some_and(|site| [&b"same-site"[..], b"same-origin"].contains(&site));
        let mut pass = Pass { place, token: None, origin, is_same_site, origin_use: None, rules, is_members: false };
        match self.decide(&pass, verified.as_ref()) {
            Ok(Allowed::Everybody) => {}
            Ok(Allowed::Holder(origin_use)) => {
                let holder = verified.as_ref().and_then(|verified| verified.as_ref().ok());
                if holder.is_some_and(|holder| !self.is_within_allowance(holder, &request)) {
                    return Err(Box::new(refused(Refusal::TooMany)));
                }
                pass.origin_use = Some(origin_use);
            }
            Err(Refusal::Absent) if self.is_read_by_member(&request, &path, &pass.place) => {
                (pass.origin_use, pass.is_members) = (Some(OriginUse::Free), true);
            }
            Err(Refusal::Absent) => {
                path = hidden(&path, &pass.place).into();
                // Nothing about the answer is this stream's.
                pass.place.stream = None;
            }
            Err(why) => return Err(Box::new(refused(why))),
        }
        let begins = pass.place.stream.as_ref().filter(|_| pass.place.class == Class::Admission);
        if begins.and_then(|stream| self.quotas.account(stream)).is_some_and(|account| account.is_closed()) {
            return Err(Box::new(full()));
        }
        pass.token = verified.and_then(Result::ok);
        if pass.token.is_some() {
            request.extensions_mut().insert(Prefix { uri: uri.clone(), bytes: target.prefix_bytes() });
        }
        if path.ends_with(EVENTS) {
            let (place, token, origin) = (pass.place.clone(), pass.token.clone(), pass.origin.clone());
            request.extensions_mut().insert(Right { place, token, origin });
        }
        if path != request.uri().path() {
            *request.uri_mut() = with_path(request.uri(), &path).ok_or_else(|| Box::new(super::site::not_found()))?;
        }
        Ok(Entered { request, pass })
    }

    /// Whether it is the description of a stream for somebody who is signed in at its tenant.
    fn is_read_by_member(&self, request: &Request<Body>, path: &str, place: &Place) -> bool {
        let is_read = path.starts_with("/api/v1/streams/") && matches!(*request.method(), Method::GET | Method::HEAD);
        let stream = place.stream.as_ref().filter(|_| is_read);
        stream.is_some_and(|stream| self.reader(request).is_some_and(|reader| reader.has(stream)))
    }

    /// Whether as many viewers as the token allows, or fewer, watch with it on this node.
    fn is_within_allowance(&self, token: &Verified, request: &Request<Body>) -> bool {
        let Some(most) = token.claims.max_viewers else { return true };
        // Nobody is refused whose address nobody knows.
        let Some(address) = client_address(request) else { return true };
        let id = Checked::digest(&format!("{}/{}", token.tenant().unwrap_or_default(), token.claims.jti));
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.admits(id, acceptor::network(address), most, self.clock.elapsed())
    }

    fn decide(&self, pass: &Pass, token: Option<&Result<Arc<Verified>, Invalid>>) -> Result<Allowed, Refusal> {
        let token = token.map(|token| token.as_deref().map_err(|why| *why));
        self.decide_by(&pass.rules, &pass.place, token, pass.origin.as_ref())
    }

    fn decide_by(
        &self,
        rules: &Rules,
        place: &Place,
        token: Option<Result<&Verified, Invalid>>,
        origin: Option<&HeaderValue>,
    ) -> Result<Allowed, Refusal> {
        let (class, stream, at) = (place.class, place.stream.as_ref(), self.clock.wall());
        // An origin that is no text is one that nobody lists.
        let origin = origin.map(|origin| origin.to_str().unwrap_or("null"));
        rules.decide(&Ask { class, stream, token, origin, at })
    }

    /// The answer of a request that may have waited: with the headers that its right brings, or refused, when it has no right any more.
    pub(super) fn leave(&self, mut pass: Pass, mut response: Response) -> Response {
        let rules = self.rules.load();
        if pass.place.class != Class::Open && !pass.is_members && !Arc::ptr_eq(&rules, &pass.rules) {
            pass.rules = Arc::clone(&rules);
            let token = pass.token.clone().map(Ok);
            match self.decide(&pass, token.as_ref()) {
                Ok(_) => {}
                Err(Refusal::Absent) if response.status() == StatusCode::NOT_FOUND => {}
                Err(Refusal::Absent) => response = super::site::not_found(),
                Err(why) => return refused(why),
            }
        }
        if let Some(account) = pass.place.stream.as_ref().and_then(|stream| self.quotas.account(stream)) {
            response.extensions_mut().insert(account);
        }
        let readers = pass.readers(&rules);
        let headers = response.headers_mut();
        if pass.origin_use.is_some()
            && let Some(kept) = headers.get(CACHE_CONTROL).map(caching::private)
        {
            headers.insert(CACHE_CONTROL, kept);
        }
        if readers != Readers::AllSites || pass.origin_use.is_some_and(|origin_use| origin_use != OriginUse::Free) {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        match (readers, pass.origin) {
            (Readers::ThisSite, Some(origin)) => _ = headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (Readers::OwnPages, _) => _ = response.extensions_mut().insert(OwnPagesOnly),
            _ => {}
        }
        response
    }
}

/// Header with which somebody says which tenant is meant.
const TENANT: &str = "x-sealcast-tenant";

/// The tenant whose streams somebody reads who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    slug: String,
    rules: Arc<Rules>,
}

impl Reader {
    /// `None` for a tenant that the person does not belong to. Operators read all.
    fn of(tenants: &[Membership], wanted: Option<&str>, rules: Arc<Rules>) -> Option<Self> {
        let operator = tenants.iter().find(|one| one.role == Role::Operator);
        let slug = match wanted {
            None => &operator.or_else(|| tenants.first())?.tenant,
            Some(wanted) if operator.is_some() => wanted,
            Some(wanted) => &tenants.iter().find(|one| one.tenant == wanted)?.tenant,
        };
        Some(Self { slug: slug.to_owned(), rules })
    }

    /// Whether a stream is the tenant's.
    pub(super) fn has(&self, stream: &StreamId) -> bool {
        self.rules.owner(stream).unwrap_or(DEFAULT_TENANT) == self.slug
    }
}

impl Pass {
    /// Which sites' scripts may read the answer: those that the token names, else those that the stream lists.
    fn readers(&self, rules: &Rules) -> Readers {
        let stream = self.place.stream.as_ref().filter(|_| self.place.class != Class::Open);
        let listed = stream.map_or(Readers::AllSites, |stream| {
            rules.readers(stream, self.origin.as_ref().and_then(|origin| origin.to_str().ok()))
        });
        match self.origin_use {
            Some(OriginUse::Listed) => Readers::ThisSite,
            _ if listed == Readers::OwnPages && self.is_same_site => Readers::ThisSite,
            _ => listed,
        }
    }
}

/// Slug of the tenant that is always there.
const DEFAULT_TENANT: &str = "default";

/// Where a token comes as a parameter or as a bearer's, the playlist leads to the path: players pass neither on to what it lists.
fn to_token_path(request: &Request<Body>, place: &Place, path: &str) -> Option<Response> {
    if place.class != Class::Admission || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let query = request.uri().query().unwrap_or_default();
    let token = token_of_query(query).or_else(|| bearer(request.headers()))?;
    let mut location = RequestPath::path_of(token, path);
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && token_of_query(pair).is_none()).collect();
    if !rest.is_empty() {
        location.push('?');
        location.push_str(&rest.join("&"));
    }
    let mut response = respond::refuse(StatusCode::TEMPORARY_REDIRECT, "the token belongs into the path\n");
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).ok()?);
    Some(response)
}

/// The token among the parameters of a query.
fn token_of_query(query: &str) -> Option<&str> {
    let mut tokens = query.split('&').filter_map(|pair| pair.strip_prefix("token="));
    tokens.find(|token| RequestPath::is_like_a_token(token))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && RequestPath::is_like_a_token(token)).then_some(token)
}

/// The same path of a stream that nobody has.
fn hidden(path: &str, place: &Place) -> String {
    let Some(stream) = &place.stream else { return path.to_owned() };
    let split = || {
        let folder = Place::folder_of(path)?;
        Some((folder, path.strip_prefix(folder)?.strip_prefix(stream.as_str())?))
    };
    split().map_or_else(|| path.to_owned(), |(folder, below)| format!("{folder}{NO_STREAM}{below}"))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// A refusal of a token, as a problem (RFC 9457). Never 401: Safari does not come back from it.
fn refused(why: Refusal) -> Response {
    metrics::counter!("viewers_token_refusals_total", "why" => why.problem()).increment(1);
    let (status, kind) = (why.status(), why.problem());
    let problem = serde_json::json!({
        "type": format!("/api/v1/problems/{kind}"), "status": status, "detail": why.to_string(),
    });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = respond::refuse(status, problem.to_string());
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    if why == Refusal::Origin {
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// The answer to whoever wants to begin while the viewers of the tenant get as much as its quota allows. A player stops at it, and comes back
/// when somebody presses play.
fn full() -> Response {
    metrics::counter!("viewers_quota_refusals_total").increment(1);
    let detail = "as many people watch this tenant's streams as its quota of egress allows: try again later";
    let mut response = respond::refuse(StatusCode::FORBIDDEN, Type::Quota.said(detail, None).to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    headers.insert(RETRY_AFTER, FULL_FOR_S);
    response
}

#[cfg(test)]
mod tests {
    use access::Facts;
    use media::ClusterId;

    use super::*;

    #[test]
    fn whoever_is_signed_in_reads_the_streams_of_its_tenant() {
        let member = |tenant: &str, role| Membership { tenant: tenant.to_owned(), role };
        let both = [member("choir", Role::Viewer), member("band", Role::Owner)];
        let all = [member("choir", Role::Viewer), member("default", Role::Operator)];
        let stream = |name: &str| StreamId::new(name).unwrap();
        // The tenant `default` may have streams whose names have a dot: those of the configuration.
        let of_default = [stream("band.practice")].into();
        let rules = Arc::new(Rules::from_facts(Facts { of_default, ..Facts::of(ClusterId::new("town").unwrap()) }));
        let reader_of = |tenants: &[Membership], wanted| Reader::of(tenants, wanted, Arc::clone(&rules));
        for (tenants, wanted, has, has_not) in [
            (&both[..], None, "choir.hall", "band.hall"),
            (&both, Some("band"), "band.hall", "choir.hall"),
            (&all, None, "hall", "choir.hall"),
            (&all, Some("band"), "band.hall", "hall"),
            (&all, None, "band.practice", "band.hall"),
            (&both, Some("band"), "band.hall", "band.practice"),
        ] {
            let reader = reader_of(tenants, wanted).unwrap();
            assert!(reader.has(&stream(has)) && !reader.has(&stream(has_not)), "{wanted:?}");
        }
        assert!(reader_of(&both[..1], Some("band")).is_none());
        assert!(reader_of(&[], None).is_none());
        let choir = reader_of(&both, None).unwrap();
        assert!(!choir.has(&stream("choirs.hall")) && !choir.has(&stream("hall")));
    }

    #[test]
    fn hidden_stream_is_asked_for_as_one_that_nobody_has() {
        for (path, expected) in [
            ("/live/live/index.m3u8", "/live/-nobody-has-this-stream/index.m3u8"),
            ("/live/hall/hall/1/7.m4s", "/live/-nobody-has-this-stream/hall/1/7.m4s"),
            ("/live/hall", "/live/-nobody-has-this-stream"),
            ("/api/v1/streams/streams", "/api/v1/streams/-nobody-has-this-stream"),
            ("/api/v1/trust/v1", "/api/v1/trust/-nobody-has-this-stream"),
            ("/api/v1/trust/tru", "/api/v1/trust/-nobody-has-this-stream"),
        ] {
            assert_eq!(hidden(path, &Place::of(path)), expected);
        }
    }
}
