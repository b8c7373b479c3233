//! The origin's HTTPS and HTTP/2, and the answers to requests.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use conformance::observation::Tls;
use conformance::watch::{Ask, Reply, Transport};
use futures_util::{StreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::breakage::Break;
use super::render::{Extent, View};
use super::timeline::{PART_MS, PARTS_AT_START, PARTS_PER_SEGMENT, Rendition, is_gap};
use super::{Kind, Station};

/// How many parts ahead clients may request: 3 / PART-TARGET.
const ADVANCE_PARTS: u64 = 13;
const TARGET: Duration = Duration::from_secs(1);

pub async fn serve(listener: TcpListener, certified: CertifiedKey<KeyPair>, station: Arc<Station>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let app = router(station);
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(app.clone()));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn router(station: Arc<Station>) -> axum::Router {
    axum::Router::new().fallback(answer).with_state(station)
}

/// The same answers without a network. Nothing here takes real time, so that a run can use virtual time.
pub struct InProcess(axum::Router);

impl InProcess {
    pub fn new(station: Station) -> Self {
        Self(router(Arc::new(station)))
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, ask: Ask) -> anyhow::Result<Reply> {
        let mut request = Request::get(&ask.url);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let response = self.0.clone().oneshot(request.body(Body::empty())?).await?;
        let headers = response.headers().iter();
        Ok(Reply {
            status: response.status().as_u16(),
            http: "HTTP/2.0".to_owned(),
            headers: headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
            body: response.into_body().into_data_stream().map(|piece| Ok(piece?)).boxed(),
        })
    }

    async fn tls(&self, _: &str) -> Option<Tls> {
        Some(Tls { version: "TLSv1_3".to_owned(), protocol: Some("h2".to_owned()) })
    }
}

async fn answer(State(station): State<Arc<Station>>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/live/").unwrap_or("").to_owned();
    let query = request.uri().query().unwrap_or("").to_owned();
    let headers = request.headers();
    let names: Vec<&str> = path.split('/').collect();
    match (station.kind, names.as_slice()) {
        (Kind::Transport, ["index.m3u8"]) => playlist(&station, headers, |view| view.transport(), "max-age=1"),
        (Kind::Transport, [name]) => transport(&station, name),
        (Kind::Plain, ["index.m3u8"]) => playlist(&station, headers, |view| view.plain_multivariant(), "max-age=1"),
        (_, ["index.m3u8"]) => playlist(&station, headers, |view| view.multivariant(), "max-age=1"),
        (Kind::Plain, ["s0", "index.m3u8"]) => playlist(&station, headers, |view| view.subtitles(), "max-age=1"),
        (Kind::Plain, ["s0", name]) => subtitle(&station, name),
        (kind, [name, list @ ("index.m3u8" | "iframes.m3u8")]) => {
            let Some(rendition) = Rendition::of(name) else { return StatusCode::NOT_FOUND.into_response() };
            let iframes = *list == "iframes.m3u8";
            if kind == Kind::Plain {
                return playlist(&station, headers, |view| view.plain_media(rendition, iframes), "max-age=1");
            }
            reload(&station, headers, rendition, iframes, &query).await
        }
        (_, [name, epoch, object]) => match Rendition::of(name) {
            Some(rendition) => media(&station, headers, rendition, epoch, object, &query).await,
            None => StatusCode::NOT_FOUND.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn playlist(
    station: &Station,
    headers: &HeaderMap,
    render: impl Fn(&View<'_>) -> String,
    cache: &'static str,
) -> Response {
    let view = View { timeline: &station.timeline, now: station.now() };
    let text = render(&view);
    let zipped = headers.get(header::ACCEPT_ENCODING).is_some_and(|accepted| accepted.as_bytes() == b"gzip");
    let common = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
        (header::CACHE_CONTROL, cache),
        (header::HeaderName::from_static("priority"), "u=1"),
    ];
    if !zipped || station.timeline.broken == Break::NoGzip {
        return (common, text).into_response();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    (common, [(header::CONTENT_ENCODING, "gzip")], encoder.finish().unwrap()).into_response()
}

/// `_HLS_msn`, `_HLS_part`, and whether `_HLS_skip` is present.
fn directives(query: &str) -> (Option<u64>, Option<u64>, bool) {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    };
    let number = |name: &str| value(name).and_then(|value| value.parse().ok());
    (number("_HLS_msn"), number("_HLS_part"), value("_HLS_skip").is_some())
}

/// Answers a request for a media playlist (RFC 8216bis 6.2.5).
async fn reload(station: &Station, headers: &HeaderMap, rendition: Rendition, iframes: bool, query: &str) -> Response {
    let (msn, part, skip) = directives(query);
    let timeline = &station.timeline;
    let now = station.now();
    let listed = timeline.parts_at(now, rendition);
    let ended = timeline.ended(listed) && timeline.broken != Break::WaitsAfterEnd;
    let broken = |fault| timeline.broken == fault;
    if part.is_some() && msn.is_none() && !ended && !broken(Break::PartAlone) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if let Some(msn) = msn.filter(|_| !ended && !broken(Break::NoWait)) {
        let finished = |msn: u64| msn < listed / PARTS_PER_SEGMENT;
        // A segment needs the part that completes it. An index past the end of a finished segment is part 0 of the next.
        let needed = match part {
            None => (msn + 1) * PARTS_PER_SEGMENT,
            Some(index) if index >= PARTS_PER_SEGMENT && finished(msn) => (msn + 1) * PARTS_PER_SEGMENT + 1,
            Some(index) => msn * PARTS_PER_SEGMENT + index.min(1_000_000) + 1,
        };
        let too_far = msn > listed / PARTS_PER_SEGMENT + 2
            || part.is_some_and(|index| index >= PARTS_PER_SEGMENT + ADVANCE_PARTS && !finished(msn));
        if too_far {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let began = now;
        while timeline.parts_at(station.now(), rendition) < needed {
            if station.now() - began > TARGET * 3 {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let cache = if msn.is_some() { "max-age=6" } else { "max-age=1" };
    let render = |view: &View<'_>| match (skip, iframes) {
        (true, _) => view.delta(rendition, iframes),
        (false, true) => view.iframes(rendition, Extent::Full),
        (false, false) => view.media(rendition, Extent::Full),
    };
    playlist(station, headers, render, cache)
}

/// Answers a request for a media initialization section, a segment or a part.
async fn media(
    station: &Station,
    headers: &HeaderMap,
    rendition: Rendition,
    epoch: &str,
    object: &str,
    query: &str,
) -> Response {
    let timeline = &station.timeline;
    if timeline.broken == Break::Redirects && query != "again" {
        let to = format!("/live/{}/{epoch}/{object}?again", rendition.name());
        return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    }
    if object == "init.mp4" {
        return body(station, headers, rendition, timeline.init(rendition, epoch));
    }
    let numbers: Vec<Option<u64>> = object.trim_end_matches(".m4s").split('.').map(|text| text.parse().ok()).collect();
    let (msn, part) = match numbers.as_slice() {
        [Some(msn)] => (*msn, None),
        [Some(msn), Some(part)] => (*msn, Some(msn * PARTS_PER_SEGMENT + part)),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let needed = part.map_or((msn + 1) * PARTS_PER_SEGMENT, |part| part + 1);
    let listed = timeline.parts_at(station.now(), rendition);
    let hinted = part == Some(listed) && timeline.last_msn.is_none_or(|last| msn <= last);
    if (is_gap(msn) && timeline.broken != Break::PartsOfGap) || timeline.epoch_name(rendition, msn) != epoch {
        return StatusCode::NOT_FOUND.into_response();
    }
    if needed > listed && !hinted {
        return StatusCode::NOT_FOUND.into_response();
    }
    if timeline.broken == Break::RemovedGone && part.is_none() && msn + 12 < listed / PARTS_PER_SEGMENT {
        return StatusCode::NOT_FOUND.into_response();
    }
    if timeline.broken == Break::ListedTooEarly && part.is_none() {
        // The first request gets a 404.
        let first = station.asked.lock().unwrap().insert(format!("{}/{object}", rendition.name()));
        if first && needed > PARTS_AT_START {
            return StatusCode::NOT_FOUND.into_response();
        }
    }
    let bytes = part.map_or_else(|| timeline.segment(rendition, msn), |part| timeline.part(rendition, part));
    if hinted && timeline.broken == Break::HintTrickles {
        return trickle(&bytes);
    }
    while timeline.parts_at(station.now(), rendition) < needed {
        tokio::time::sleep(Duration::from_millis(PART_MS / 40)).await;
    }
    body(station, headers, rendition, bytes)
}

/// Sends half of the bytes at once, and the rest much later.
fn trickle(bytes: &[u8]) -> Response {
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let pieces = [(Duration::ZERO, head.to_vec()), (Duration::from_millis(2_500), tail.to_vec())];
    let body = stream::unfold(pieces.into_iter(), |mut pieces| async move {
        let (wait, piece) = pieces.next()?;
        tokio::time::sleep(wait).await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), pieces))
    });
    (
        [(header::CONTENT_TYPE, "video/mp4"), (header::HeaderName::from_static("priority"), "u=3")],
        Body::from_stream(body),
    )
        .into_response()
}

fn body(station: &Station, headers: &HeaderMap, rendition: Rendition, bytes: Vec<u8>) -> Response {
    let urgency = match (station.timeline.broken, rendition.is_sound()) {
        (Break::UrgentMedia, _) => "u=1",
        (_, true) => "u=2",
        (_, false) => "u=3",
    };
    let kind = if rendition.is_sound() { "audio/mp4" } else { "video/mp4" };
    let common = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=60, immutable"),
        (header::HeaderName::from_static("priority"), urgency),
    ];
    let range =
        headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    if let Some((first, last)) = range {
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let slice = bytes[first..=last.min(bytes.len() - 1)].to_vec();
        let said = format!("bytes {first}-{}/{}", first + slice.len() - 1, bytes.len());
        return (StatusCode::PARTIAL_CONTENT, common, [(header::CONTENT_RANGE, said)], slice).into_response();
    }
    (common, bytes).into_response()
}

fn subtitle(station: &Station, name: &str) -> Response {
    let map = if station.timeline.broken == Break::NoTimestampMap {
        ""
    } else {
        "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n"
    };
    let Some(msn) = name.strip_suffix(".vtt") else { return StatusCode::NOT_FOUND.into_response() };
    if msn.parse::<u64>().is_err() {
        return StatusCode::NOT_FOUND.into_response();
    }
    ([(header::CONTENT_TYPE, "text/vtt")], format!("WEBVTT\n{map}\n")).into_response()
}

fn transport(station: &Station, name: &str) -> Response {
    let index = name.strip_suffix(".ts").and_then(|number| number.parse::<usize>().ok());
    let Some(bytes) = index.and_then(|index| station.timeline.clips.transport.get(index)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut bytes = bytes.clone();
    if station.timeline.broken == Break::CountersRestart {
        let mut counters = std::collections::BTreeMap::<u16, u8>::new();
        for packet in bytes.chunks_exact_mut(188) {
            let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
            let counter = counters.entry(pid).or_default();
            packet[3] = packet[3] & 0xf0 | *counter;
            *counter = (*counter + 1) % 16;
        }
    }
    ([(header::CONTENT_TYPE, "video/mp2t")], bytes).into_response()
}
