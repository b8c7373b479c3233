//! The viewers' URLs, what each answers, and for how long an answer may be kept.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use gate::Rendered;
use http::header::{CONTENT_SECURITY_POLICY, LINK, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use media::{Epoch, NodeId, ObjectName, RenditionId, Slot, StreamId};
use messages::SessionState;
use node::http::Application;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::respond::{self, Meta};
use super::traffic::Metered;
use super::{Direct, Shelf, StreamDetail, StreamSummary, Traffic, envelope, live, web};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const CBOR_SEQUENCE: HeaderValue = HeaderValue::from_static("application/cbor-seq");

/// Settings of the viewers' side of a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name: in every answer, as `x-sealcast-node`.
    pub node: NodeId,
    /// EXT-X-TARGETDURATION in seconds. A playlist may be kept for half of it.
    pub target_duration_s: u32,
    /// How viewers reach nodes directly; `None` where all come through a balancer.
    pub direct: Option<Direct>,
}

/// How long an answer may be kept by the viewer and by caches in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The bytes under this name never change.
    ForEver,
    /// A playlist, or whatever else changes with each segment: half a target duration (RFC 8216bis, B.1), so that caching puts
    /// no viewer a segment behind.
    Playlist {
        /// EXT-X-TARGETDURATION in seconds.
        target_duration_s: u32,
    },
    /// A playlist that was asked for from a certain part on: six target durations (RFC 8216bis, B.1). A client that asks for it
    /// later gets what it asked for, and then asks for the next.
    BlockingReload {
        /// EXT-X-TARGETDURATION in seconds.
        target_duration_s: u32,
    },
    /// Changes with every seal: long enough for a cache to answer a crowd once.
    OneSecond,
    /// May be kept, and is to be asked about each time.
    Revalidated,
    /// Refusals. RFC 8216bis, B.1 lets caches keep them for one to four target durations, which suits a single origin. Here,
    /// what a node does not have may be on the next node, or come in a moment.
    Never,
}

/// Every `Cache-Control` comes from here.
pub(super) fn cache_control(kept: Kept) -> HeaderValue {
    match kept {
        Kept::ForEver => HeaderValue::from_static("public, max-age=31536000, immutable"),
        Kept::Playlist { target_duration_s } => for_seconds((target_duration_s / 2).max(1)),
        Kept::BlockingReload { target_duration_s } => for_seconds(target_duration_s.saturating_mul(6)),
        Kept::OneSecond => HeaderValue::from_static("public, max-age=1"),
        Kept::Revalidated => HeaderValue::from_static("no-cache"),
        Kept::Never => HeaderValue::from_static("no-store"),
    }
}

fn for_seconds(seconds: u32) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={seconds}")).expect("digits")
}

/// What an answer is: a closed set, for metrics and priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A playlist.
    Playlist,
    /// A media object of a rendition that has sound only.
    Sound,
    /// Any other media object.
    Picture,
    /// A still image of a stream.
    Image,
    /// A description in JSON, or grants.
    Api,
    /// A piece of the seal log.
    Seals,
    /// A file of the web app.
    Web,
    /// Anything that is not what was asked for.
    Refusal,
}

impl Kind {
    /// In the order of their discriminants.
    pub(super) const ALL: [Self; 8] =
        [Self::Playlist, Self::Sound, Self::Picture, Self::Image, Self::Api, Self::Seals, Self::Web, Self::Refusal];

    /// Label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Playlist => "playlist",
            Self::Sound | Self::Picture => "media",
            Self::Image => "image",
            Self::Api => "api",
            Self::Seals => "seals",
            Self::Web => "web",
            Self::Refusal => "none",
        }
    }
}

/// The header of RFC 9218.
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// Every `Priority` comes from here: the urgency of an answer among those of its connection (RFC 9218, 4.1; RFC 8216bis, B.1:
/// playlists have 1, media 2 to 6, and no bit rate goes before a lower one). Sound is small and is missed first.
pub(super) const fn priority(kind: Kind) -> HeaderValue {
    HeaderValue::from_static(match kind {
        Kind::Playlist | Kind::Refusal => "u=1",
        Kind::Sound => "u=2",
        Kind::Picture => "u=3",
        Kind::Api | Kind::Seals => "u=4",
        Kind::Image => "u=5",
        Kind::Web => "u=6",
    })
}

/// What all routes share.
pub(super) struct Site {
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) settings: Settings,
    pub(super) traffic: Arc<Traffic>,
    pub(super) node: HeaderValue,
    openapi: Rendered,
}

pub(super) type Shared = State<Arc<Site>>;

/// The viewers' side of a node. Everything is GET, HEAD and OPTIONS; unknown query parameters are ignored.
#[derive(Clone)]
pub struct Viewers {
    pub(super) site: Arc<Site>,
    router: Router,
}

impl Viewers {
    /// Serves the content of `shelf`.
    ///
    /// # Panics
    /// Never: names of nodes can stand in a header.
    pub fn new(settings: Settings, shelf: Arc<dyn Shelf>, traffic: Arc<Traffic>) -> Self {
        let node =
            HeaderValue::from_str(settings.node.as_str()).expect("names are ASCII letters, digits and punctuation");
        let openapi = Rendered::new(include_str!("openapi.json"));
        let site = Arc::new(Site { shelf, settings, traffic, node, openapi });
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
            _ => self.router.answer(request).await,
        }
    }
}

impl Application for Viewers {
    type Body = Metered;

    fn answer(self, request: Request<Body>) -> impl Future<Output = http::Response<Metered>> + Send + 'static {
        envelope::enveloped(self, request)
    }
}

fn is_read(request: &Request<Body>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// What a path is about.
pub(super) struct Asked {
    pub(super) stream: StreamId,
    pub(super) rendition: Option<RenditionId>,
    /// Set when it is one of the things that players ask for all the time.
    thing: Option<Thing>,
}

enum Thing {
    MediaPlaylist,
    Object(Epoch, Slot),
}

impl Asked {
    /// `None` when it is not about a stream.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/live/").or_else(|| path.strip_prefix("/api/v1/streams/"))?;
        let (stream, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (rendition, thing) = match rest.split_once('/') {
            None => (None, None),
            Some((rendition, "index.m3u8")) => (RenditionId::new(rendition).ok(), Some(Thing::MediaPlaylist)),
            Some((rendition, rest)) => {
                let object = rest.split_once('/').and_then(|(epoch, slot)| live::object_place(epoch, slot));
                (RenditionId::new(rendition).ok(), object.map(|(epoch, slot)| Thing::Object(epoch, slot)))
            }
        };
        let is_live = path.starts_with("/live/");
        Some(Self { stream: StreamId::new(stream).ok()?, rendition, thing: thing.filter(|_| is_live) })
    }
}

/// All routes; `openapi.json` describes each, and a test holds the two together.
pub(super) fn table() -> [(&'static str, MethodRouter<Arc<Site>>); 18] {
    [
        ("/", get(page)),
        ("/watch/{stream}", get(watch)),
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
        ("/live/{stream}/poster.jpg", get(live::poster)),
        ("/live/{stream}/seals", get(live::seals)),
        ("/api/v1/streams", get(streams)),
        ("/api/v1/streams/{stream}", get(stream)),
        ("/api/v1/grants", get(grants)),
        ("/api/v1/openapi.json", get(openapi)),
    ]
}

fn not_found() -> Response {
    respond::refuse(StatusCode::NOT_FOUND, "there is nothing at this URL\n")
}

/// Checked path parameters. A name that cannot exist is not found, like one that does not.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Site>> for Names<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        match Path::from_request_parts(parts, site).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(_) => Err(not_found()),
        }
    }
}

async fn page(State(site): Shared, request: Request<Body>) -> Response {
    web_file(&site, &request, web::index())
}

async fn watch(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    // The page finds out whether there is such a stream: it may begin while the page is open.
    let mut response = web_file(&site, &request, web::index());
    // The browser sends the page's first request while the page's script is loading (RFC 8288; preload as in HTML).
    let playlist = format!("</live/{stream}/index.m3u8>; rel=preload; as=fetch; crossorigin");
    let link = HeaderValue::try_from(playlist).expect("a stream's name is letters, digits, `-` and `_`");
    response.headers_mut().insert(LINK, link);
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
    let kept = if file.is_hashed { Kept::ForEver } else { Kept::Revalidated };
    let meta = Meta { kind: Kind::Web, content_type: file.content_type.clone(), kept };
    let mut response = respond::text(request, &file.rendered, meta);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, content_security_policy(site.settings.direct.as_ref()));
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
fn content_security_policy(direct: Option<&Direct>) -> HeaderValue {
    let plain = web::CONTENT_SECURITY_POLICY.trim_ascii();
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

#[derive(Serialize)]
struct Listing {
    streams: Vec<Described<StreamSummary>>,
}

const fn is_live(state: SessionState) -> bool {
    matches!(state, SessionState::Live | SessionState::Reconnecting)
}

async fn streams(State(site): Shared, request: Request<Body>) -> Response {
    let described = |stream: StreamSummary| Described { live: is_live(stream.state), stream };
    json(&request, &Listing { streams: site.shelf.streams().into_iter().map(described).collect() })
}

async fn stream(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    match site.shelf.stream(&stream) {
        Some(stream) => {
            json::<Described<StreamDetail>>(&request, &Described { live: is_live(stream.summary.state), stream })
        }
        None => respond::refuse(StatusCode::NOT_FOUND, "this node has no such stream\n"),
    }
}

fn json<T: Serialize>(request: &Request<Body>, value: &T) -> Response {
    let text = serde_json::to_vec(value).expect("names, numbers and lists have a JSON form");
    let meta = Meta { kind: Kind::Api, content_type: JSON, kept: Kept::OneSecond };
    respond::text(request, &Rendered::new(text), meta)
}

async fn grants(State(site): Shared) -> Response {
    let meta = Meta { kind: Kind::Api, content_type: CBOR_SEQUENCE, kept: Kept::OneSecond };
    respond::sequence(site.shelf.grants(), meta)
}

async fn openapi(State(site): Shared, request: Request<Body>) -> Response {
    let meta = Meta { kind: Kind::Api, content_type: JSON, kept: Kept::Revalidated };
    respond::text(&request, &site.openapi, meta)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        // OpenAPI has no parameter that spans slashes.
        let served = table().map(|(path, _)| path.replace("{*", "{"));
        assert_eq!(described, served.iter().map(String::as_str).collect());
        for (path, item) in document["paths"].as_object().unwrap() {
            let declared = item["get"]["parameters"].as_array().into_iter().flatten();
            let names: BTreeSet<&str> =
                declared.filter(|given| given["in"] == "path").map(|given| given["name"].as_str().unwrap()).collect();
            let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(names, in_path.collect(), "{path}");
        }
    }

    #[test]
    fn playlist_is_kept_for_half_a_target_duration_and_media_for_ever() {
        let playlist = |target_duration_s| cache_control(Kept::Playlist { target_duration_s });
        assert_eq!(playlist(4), "public, max-age=2");
        assert_eq!(playlist(5), "public, max-age=2");
        assert_eq!(playlist(1), "public, max-age=1");
        assert_eq!(cache_control(Kept::BlockingReload { target_duration_s: 4 }), "public, max-age=24");
        assert_eq!(cache_control(Kept::ForEver), "public, max-age=31536000, immutable");
        assert_eq!(cache_control(Kept::Never), "no-store");
    }

    #[test]
    fn playlists_go_before_sound_and_sound_before_pictures() {
        assert_eq!(priority(Kind::Playlist), "u=1");
        let media = [Kind::Sound, Kind::Picture].map(|kind| priority(kind).to_str().unwrap().to_owned());
        assert_eq!(media, ["u=2", "u=3"]);
    }
}
