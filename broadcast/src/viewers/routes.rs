//! The viewers' URLs, what each answers, and for how long an answer may be kept.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use gate::Rendered;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LINK, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use media::{ObjectName, StreamId};
use messages::SessionState;
use node::control_routes::{Answerer, answerer};
use node::http::Application;
use node::problem::Type;
use serde::Serialize;

use super::asked::{Asked, Thing};
use super::caching::{CacheLifetime, Kind};
use super::render::Render;
use super::respond::{self, Meta};
use super::seen::{Waiting, reflecting};
use super::site::{Names, Settings, Shared, Site, not_found};
use super::{Direct, Snapshots, StreamDetail, StreamSummary, Traffic, Trusted, chat, join, live, web};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CBOR: HeaderValue = HeaderValue::from_static("application/cbor");

/// The viewers' side of a node. Everything is GET, HEAD and OPTIONS; unknown query parameters are ignored.
#[derive(Clone)]
pub struct Viewers {
    pub(super) site: Arc<Site>,
    router: Router,
}

impl Viewers {
    /// Serves the content of `snapshots`.
    ///
    /// # Panics
    /// Never: names of nodes can stand in a header.
    pub fn new(settings: Settings, snapshots: Arc<dyn Snapshots>, traffic: Arc<Traffic>) -> Self {
        let node =
            HeaderValue::from_str(settings.node.as_str()).expect("names are ASCII letters, digits and punctuation");
        let openapi = Rendered::new(document().to_string());
        let site = Arc::new(Site {
            snapshots,
            settings,
            traffic,
            node,
            openapi,
            render: Render::new(),
            pages: web::MadePages::default(),
            waiting: Waiting::default(),
        });
        let mut router = Router::new();
        for (path, methods) in table() {
            router = router.route(path, methods);
        }
        let router = router
            .fallback(async || not_found())
            .method_not_allowed_fallback(async || {
                respond::refuse(StatusCode::METHOD_NOT_ALLOWED, "viewers only read: use GET, HEAD or OPTIONS\n")
            })
            .with_state(site.clone());
        Self { site, router }
    }

    /// Answers a request by its route. What players ask for all the time goes straight to its handler, without the router.
    pub(super) async fn routed(self, asked: Option<Asked>, request: Request<Body>) -> Response {
        match asked {
            Some(Asked { stream, rendition: Some(rendition), thing: Some(thing) }) if is_read(&request) => {
                match thing {
                    Thing::MediaPlaylist => {
                        live::media_playlist(State(self.site), Names((stream, rendition)), request).await
                    }
                    Thing::Object(epoch, slot) => {
                        live::media_object(self.site, ObjectName { stream, rendition, epoch, slot }, request).await
                    }
                }
            }
            _ if answerer(request.method(), request.uri(), request.headers()) == Answerer::Control => wrong_node(),
            _ => self.router.answer(request).await,
        }
    }
}

/// The description of the whole API: what nodes answer, and what control does, so that it can be read without control. Where both answer,
/// a credential makes the difference.
fn document() -> serde_json::Value {
    let read = |text| serde_json::from_str(text).expect("the file in the source tree is JSON");
    let (mut own, mut control): (serde_json::Value, serde_json::Value) =
        (read(include_str!("openapi.json")), read(include_str!("../../../control/openapi.json")));
    let merge = |own: &mut serde_json::Value, from: serde_json::Value| {
        let (Some(own), serde_json::Value::Object(from)) = (own.as_object_mut(), from) else { return };
        for (name, item) in from {
            match (own.get_mut(&name).and_then(serde_json::Value::as_object_mut), item) {
                // A path that both answer: where the method is one, too, what nodes say of it stays.
                (Some(there), serde_json::Value::Object(item)) => {
                    for (method, operation) in item {
                        there.entry(method).or_insert(operation);
                    }
                }
                (_, item) => _ = own.insert(name, item),
            }
        }
    };
    merge(&mut own["paths"], control["paths"].take());
    for part in ["schemas", "securitySchemes", "responses", "headers"] {
        if own["components"][part].is_null() {
            own["components"][part] = serde_json::json!({});
        }
        merge(&mut own["components"][part], control["components"][part].take());
    }
    own
}

/// The answer to what control has to be asked: a load balancer knows where that is.
fn wrong_node() -> Response {
    let detail = "a broadcast node cannot answer this: ask the load balancer, which asks control";
    respond::problem(Type::WrongNode, detail)
}

fn is_read(request: &Request<Body>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// All routes; `openapi.json` describes each, and a test holds the two together. Who may have what they answer, [`access::Place`] says,
/// which a test holds against this table, too.
pub(super) fn table() -> [(&'static str, MethodRouter<Arc<Site>>); 26] {
    [
        ("/", get(page)),
        ("/watch/{stream}", get(watch)),
        ("/studio", get(studio)),
        ("/studio/{*page}", get(studio)),
        ("/sign-in", get(sign_in)),
        ("/setup", get(sign_in)),
        ("/assets/{*file}", get(asset)),
        ("/{file}", get(root_file)),
        ("/live/{stream}/index.m3u8", get(live::multivariant)),
        ("/live/{stream}/{rendition}/index.m3u8", get(live::media_playlist)),
        ("/live/{stream}/{rendition}/iframes.m3u8", get(live::iframe_playlist)),
        ("/live/{stream}/dvr.m3u8", get(live::dvr_multivariant)),
        ("/live/{stream}/{rendition}/dvr.m3u8", get(live::dvr_playlist)),
        ("/live/{stream}/{rendition}/dvr-iframes.m3u8", get(live::dvr_iframe_playlist)),
        ("/live/{stream}/{rendition}/{epoch}/{object}", get(live::object)),
        ("/live/{stream}/steering.json", get(live::steering)),
        ("/live/{stream}/embed", get(embed)),
        ("/live/{stream}/events", get(chat::events)),
        // Control answers it.
        ("/live/{stream}/chat", post(async || wrong_node())),
        ("/live/{stream}/poster.jpg", get(live::poster)),
        ("/live/{stream}/seals", get(live::seals)),
        ("/api/v1/streams", get(streams)),
        ("/api/v1/streams/{stream}", get(stream)),
        ("/api/v1/trust/{stream}", get(trust)),
        ("/api/v1/grants", get(grants)),
        ("/api/v1/openapi.json", get(openapi)),
    ]
}

/// What the policy of every other page says of frames.
const NO_ANCESTORS: &str = "frame-ancestors 'none'";

async fn page(State(site): Shared, request: Request<Body>) -> Response {
    web_file(&site, &request, web::Page::Viewer.file())
}

/// The studio finds its pages by their path itself.
async fn studio(State(site): Shared, request: Request<Body>) -> Response {
    web_file(&site, &request, web::Page::Studio.file())
}

async fn sign_in(State(site): Shared, request: Request<Body>) -> Response {
    web_file(&site, &request, web::Page::SignIn.file())
}

async fn watch(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let mut links = Vec::new();
    let mut response = match join::page(&site, &stream) {
        // It is as old as its playlists.
        Some(page) => web_text(&site, &request, &page, (web::Page::Viewer.file(), CacheLifetime::Never)),
        // The page finds out whether there is such a stream: it may begin while the page is open. The browser sends the page's first
        // request while the page's script is loading (RFC 8288; preload as in HTML).
        None => {
            links.push(format!("</live/{stream}/index.m3u8>; rel=preload; as=fetch; crossorigin"));
            web_file(&site, &request, web::Page::Viewer.file())
        }
    };
    links.extend(join::PLAYER_SCRIPT.as_ref().map(|script| format!("<{script}>; rel=modulepreload")));
    let link = HeaderValue::try_from(links.join(", ")).expect("names of streams and files are ASCII");
    response.headers_mut().insert(LINK, link);
    response
}

/// The player alone, for frames of the sites that the stream allows. What a hidden stream allows, nobody learns from it.
async fn embed(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let mut response = web_file(&site, &request, web::Page::Viewer.file());
    let ancestors = format!("frame-ancestors {}", site.settings.access.frame_ancestors(&stream));
    let headers = response.headers_mut();
    let policy = headers.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    let widened = policy.map(|policy| policy.replace(NO_ANCESTORS, &ancestors));
    // Without a policy that says which, no site may.
    if let Some(policy) = widened.and_then(|policy| HeaderValue::try_from(policy).ok()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        // It knows no list, and browsers heed it where the policy allows more.
        headers.remove(X_FRAME_OPTIONS);
    }
    response
}

async fn asset(State(site): Shared, Names(path): Names<String>, request: Request<Body>) -> Response {
    match web::file(&format!("assets/{path}")) {
        Some(file) => web_file(&site, &request, file),
        None => not_found(),
    }
}

async fn root_file(State(site): Shared, Names(path): Names<String>, request: Request<Body>) -> Response {
    match web::file(&path) {
        Some(file) => web_file(&site, &request, file),
        None => not_found(),
    }
}

fn web_file(site: &Site, request: &Request<Body>, file: &'static web::File) -> Response {
    let kept = if file.is_hashed { CacheLifetime::ForEver } else { CacheLifetime::Revalidated };
    web_text(site, request, &file.rendered, (file, kept))
}

/// The text in place of a file's own.
fn web_text(
    site: &Site,
    request: &Request<Body>,
    rendered: &Rendered,
    (file, kept): (&'static web::File, CacheLifetime),
) -> Response {
    let meta = Meta { kind: Kind::Web, content_type: file.content_type.clone(), kept };
    let mut response = respond::text(request, rendered, meta);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, content_security_policy(file.policy, site.settings.direct.as_ref()));
    let security: [(HeaderName, &'static str); 4] = [
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in security {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Nodes besides this one that a page may load from. Each stands in its policy twice, and servers and browsers agree on headers
/// of up to 8 KiB.
const PAGE_NODES_MAX: usize = 32;

/// With direct delivery, the page may also load from this node's public URL and from the other nodes.
fn content_security_policy(plain: &'static str, direct: Option<&Direct>) -> HeaderValue {
    let Some(direct) = direct else { return HeaderValue::from_static(plain) };
    let mut nodes = direct.url.clone();
    let others = direct.neighbours.all();
    for neighbour in others.iter().filter(|neighbour| neighbour.url != direct.url).take(PAGE_NODES_MAX) {
        nodes.push(' ');
        nodes.push_str(&neighbour.url);
    }
    let widened = ["connect-src 'self'", "media-src 'self' blob:"]
        .iter()
        .fold(plain.to_owned(), |policy, sources| policy.replace(sources, &format!("{sources} {nodes}")));
    HeaderValue::try_from(widened).unwrap_or(HeaderValue::from_static(plain))
}

/// A stream's description, with what follows from its state.
#[derive(Serialize)]
struct Described<T> {
    #[serde(flatten)]
    stream: T,
    /// Can be watched now, or is expected back within its grace.
    live: bool,
}

/// A stream with its chat.
#[derive(Serialize)]
struct WithChat {
    #[serde(flatten)]
    stream: Described<StreamDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<Chat>,
}

#[derive(Serialize)]
struct Chat {
    /// Seconds between two messages of one writer.
    slow_s: u64,
}

#[derive(Serialize)]
struct Listing {
    streams: Vec<Described<StreamSummary>>,
}

const fn is_live(state: SessionState) -> bool {
    matches!(state, SessionState::Live | SessionState::Reconnecting)
}

/// What somebody sees who is signed in, while control is away.
#[derive(Serialize)]
struct Page {
    items: Vec<Described<StreamSummary>>,
    next_cursor: Option<String>,
}

async fn streams(State(site): Shared, request: Request<Body>) -> Response {
    let seen = match site.waiting.ensure_seen(site.settings.access.reflected(), request.headers()).await {
        Ok(seen) => seen,
        Err(refusal) => return refusal,
    };
    if answerer(request.method(), request.uri(), request.headers()) == Answerer::ControlElseNode {
        return reflecting(streams_of_reader(&site, request).await, seen.1);
    }
    let snapshots = Arc::clone(&site.snapshots);
    let access = Arc::clone(&site.settings.access);
    let rendered = site.render.list(seen, move || {
        let described = |stream: StreamSummary| Described { live: is_live(stream.state), stream };
        // What is not public has no place in what everybody gets.
        let public = snapshots.streams().into_iter().filter(|stream| access.is_listed(&stream.name));
        let text = rendered(&Listing { streams: public.map(described).collect() });
        let _ = text.gzip();
        text
    });
    match rendered.await {
        Some((sequence, text)) => reflecting(respond::text(&request, &text, JSON_META), sequence),
        None => respond::unavailable("the streams cannot be listed now\n"),
    }
}

/// The streams of the tenant at which somebody is signed in; of nobody, none.
async fn streams_of_reader(site: &Arc<Site>, request: Request<Body>) -> Response {
    let Some(reader) = site.settings.access.reader(&request) else { return not_signed_in() };
    let snapshots = Arc::clone(&site.snapshots);
    let listed = site.render.apart(move || {
        let described = |stream: StreamSummary| Described { live: is_live(stream.state), stream };
        let own = snapshots.streams().into_iter().filter(|stream| reader.has(&stream.name));
        rendered(&Page { items: own.map(described).collect(), next_cursor: None })
    });
    let Some(text) = listed.await else { return respond::unavailable("the streams cannot be listed now\n") };
    let mut response = respond::text(&request, &text, JSON_META);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// The answer to a cookie that does not count. Control may know better, and makes a new one of an old one.
fn not_signed_in() -> Response {
    let detail = "the session is over, or control has to renew it: try again, or sign in";
    respond::problem(Type::Expired, detail)
}

async fn stream(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let seen = match site.waiting.ensure_seen(site.settings.access.reflected(), request.headers()).await {
        Ok(seen) => seen,
        Err(refusal) => return refusal,
    };
    match site.snapshots.stream(&stream) {
        Some(stream) => {
            let chat = site.settings.access.chat(&stream.summary.name).map(|chat| Chat { slow_s: chat.slow_s });
            let stream = Described { live: is_live(stream.summary.state), stream };
            reflecting(json::<WithChat>(&request, &WithChat { stream, chat }), seen.1)
        }
        None => respond::refuse(StatusCode::NOT_FOUND, "this node has no such stream\n"),
    }
}

fn json<T: Serialize>(request: &Request<Body>, value: &T) -> Response {
    respond::text(request, &rendered(value), JSON_META)
}

const JSON_META: Meta = Meta { kind: Kind::Api, content_type: JSON, kept: CacheLifetime::OneSecond };

fn rendered<T: Serialize>(value: &T) -> Rendered {
    Rendered::new(serde_json::to_vec(value).expect("names, numbers and lists have a JSON form"))
}

async fn trust(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    trusted(site.snapshots.trust(&stream).await, &request)
}

async fn grants(State(site): Shared, request: Request<Body>) -> Response {
    trusted(site.snapshots.grants().await, &request)
}

fn trusted(trusted: Trusted, request: &Request<Body>) -> Response {
    match trusted {
        Trusted::Here(answer) => {
            let meta = Meta { kind: Kind::Api, content_type: CBOR, kept: CacheLifetime::OneSecond };
            respond::text(request, &answer, meta)
        }
        Trusted::Absent => respond::refuse(StatusCode::NOT_FOUND, "this node has no such stream\n"),
        Trusted::Soon => respond::unavailable("control has not said anything about this state of the cluster yet\n"),
    }
}

async fn openapi(State(site): Shared, request: Request<Body>) -> Response {
    let meta = Meta { kind: Kind::Api, content_type: JSON, kept: CacheLifetime::Revalidated };
    respond::text(&request, &site.openapi, meta)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use access::{Class, Place};

    use super::*;

    /// Routes that have nothing of one stream, or, as the page of a stream does, answer alike whether there is such a stream.
    const OPEN: [&str; 11] = [
        "/",
        "/watch/{stream}",
        "/studio",
        "/studio/{*page}",
        "/sign-in",
        "/setup",
        "/assets/{*file}",
        "/{file}",
        "/api/v1/streams",
        "/api/v1/grants",
        "/api/v1/openapi.json",
    ];

    #[test]
    fn no_route_is_without_a_rule() {
        for (path, _) in table() {
            let asked = path
                .replace("{stream}", "hall")
                .replace("{*file}", "page.js")
                .replace("{*page}", "streams/hall")
                .replace("{file}", "favicon.svg")
                .replace("{rendition}", "720p")
                .replace("{epoch}", "1")
                .replace("{object}", "7.m4s");
            let Place { class, stream } = Place::of(&asked);
            if OPEN.contains(&path) {
                assert_eq!((class, stream), (Class::Open, None), "{path}");
                continue;
            }
            assert_eq!(
                stream.as_ref().map(StreamId::as_str),
                Some("hall"),
                "{path}: whose is it? (access::Place, or OPEN)"
            );
            let admits = ["/live/{stream}/index.m3u8", "/live/{stream}/dvr.m3u8"].contains(&path);
            assert_eq!(class == Class::Admission, admits, "{path}");
        }
    }

    #[test]
    fn document_has_what_nodes_answer_and_what_control_does() {
        let document = document();
        let has = |path: &str, method: &str| document["paths"][path][method].is_object();
        assert!(has("/live/{stream}/index.m3u8", "get") && has("/api/v1/tenants/{tenant}", "delete"));
        assert!(has("/api/v1/streams", "get") && has("/api/v1/streams", "post"));
        assert!(document["components"]["schemas"]["NewStream"].is_object());
        // What one of the two refers to, the other has not replaced.
        let text = document.to_string();
        let referred = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let dangling: BTreeSet<&str> = referred.filter(|place| document.pointer(place).is_none()).collect();
        assert_eq!(dangling, BTreeSet::new());
        let own: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        for part in ["schemas", "responses", "headers"] {
            for (name, item) in own["components"][part].as_object().into_iter().flatten() {
                assert_eq!(&document["components"][part][name], item, "{part}: {name}");
            }
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        // OpenAPI has no parameter that spans slashes.
        let served = table().map(|(path, _)| path.replace("{*", "{"));
        assert_eq!(described, served.iter().map(String::as_str).collect());
        for (path, item) in document["paths"].as_object().unwrap() {
            let operation = item.get("get").unwrap_or(&item["post"]);
            let declared = operation["parameters"].as_array().into_iter().flatten();
            let names: BTreeSet<&str> =
                declared.filter(|given| given["in"] == "path").map(|given| given["name"].as_str().unwrap()).collect();
            let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(names, in_path.collect(), "{path}");
        }
    }
}
