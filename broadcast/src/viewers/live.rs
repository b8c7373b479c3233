//! The streams' URLs: playlists, media objects and the seal log.
//!
//! A request for what is about to come waits here until the snapshots have it, or say that it will never come.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use gate::{Lists, Look, Playlist, Rendered};
use http::{HeaderValue, Request, StatusCode};
use media::{LogSequence, ObjectName, RenditionId, Slot, StreamId};
use playlist::reload::Directives;

use super::asked::{counted_as, object_place};
use super::caching::{CacheLifetime, Kind};
use super::entrance::Prefix;
use super::readers::Held;
use super::respond::{self, Meta};
use super::site::{CBOR_SEQUENCE, Names, Shared, Site};
use super::{Object, OnDisk, Reach, Waiter};

/// Most bytes of seals in one answer; a client continues from the sequence after the last one it got. A window of 60 s of
/// half-second seals has some 0.5 MB.
const SEALS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Name of the rendition that has sound only; its objects are `audio/mp4`.
const AUDIO_RENDITION: &str = "audio";

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const VIDEO: HeaderValue = HeaderValue::from_static("video/mp4");
const AUDIO: HeaderValue = HeaderValue::from_static("audio/mp4");
const STEERING: HeaderValue = HeaderValue::from_static("application/json");
const JPEG: HeaderValue = HeaderValue::from_static("image/jpeg");

const NO_PLAYLIST: &str = "this node has no such stream or rendition\n";
const NO_STEERING: &str = "this node has no such stream, or viewers do not reach it directly (direct)\n";
const NO_RECORDING: &str = "this node has no such stream or rendition, or does not record it (dvr_window_s)\n";
const NO_OBJECT: &str = "this node has no such media object, or no longer\n";

pub(super) async fn multivariant(site: Shared, stream: Names<StreamId>, request: Request<Body>) -> Response {
    let (State(site), Names(stream)) = (site, stream);
    let text = match &site.settings.direct {
        Some(direct) => site
            .snapshots
            .steered(&stream, &direct.listed((&site.settings.node, &stream), Prefix::of(&request)))
            .map(Rendered::new),
        None => site.snapshots.multivariant(&stream, Reach::Live),
    };
    match text {
        Some(text) => playlist(&site, &request, &text, Answered::AsItIs),
        None => respond::refuse(StatusCode::NOT_FOUND, NO_PLAYLIST),
    }
}

/// Without steering: viewers fetch recordings through a balancer, which knows which nodes have them.
pub(super) async fn dvr_multivariant(
    State(site): Shared,
    Names(stream): Names<StreamId>,
    request: Request<Body>,
) -> Response {
    let snapshots = Arc::clone(&site.snapshots);
    let rendered = site.render.apart(move || {
        let text = snapshots.multivariant(&stream, Reach::Dvr);
        text.inspect(|text| _ = text.gzip())
    });
    match rendered.await.flatten() {
        Some(text) => playlist(&site, &request, &text, Answered::AsItIs),
        None => respond::refuse(StatusCode::NOT_FOUND, NO_RECORDING),
    }
}

/// The steering manifest (RFC 8216bis 7.1). No cache keeps it, because it begins with the node that answers.
pub(super) async fn steering(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let found = site.settings.direct.as_ref().zip(site.snapshots.stream(&stream));
    let Some((direct, detail)) = found else { return respond::refuse(StatusCode::NOT_FOUND, NO_STEERING) };
    let query = request.uri().query().unwrap_or_default();
    let place = (&site.settings.node, &stream, Prefix::of(&request));
    let text = direct.manifest(place, query, &detail.summary.renditions);
    let meta = Meta { kind: Kind::Playlist, content_type: STEERING, kept: CacheLifetime::Never };
    respond::text(&request, &Rendered::new(text), meta)
}

type Rendition = Names<(StreamId, RenditionId)>;

pub(super) async fn media_playlist(site: Shared, names: Rendition, request: Request<Body>) -> Response {
    live_playlist(site, names, Lists::Media, request).await
}

pub(super) async fn dvr_playlist(site: Shared, names: Rendition, request: Request<Body>) -> Response {
    recorded_playlist(site, names, Lists::Media, request).await
}

pub(super) async fn iframe_playlist(site: Shared, names: Rendition, request: Request<Body>) -> Response {
    live_playlist(site, names, Lists::IFrames, request).await
}

pub(super) async fn dvr_iframe_playlist(site: Shared, names: Rendition, request: Request<Body>) -> Response {
    recorded_playlist(site, names, Lists::IFrames, request).await
}

/// A live playlist, which may be waited for (RFC 8216bis, 6.2.5.2).
async fn live_playlist(
    State(site): Shared,
    Names((stream, rendition)): Rendition,
    lists: Lists,
    request: Request<Body>,
) -> Response {
    let wanted = match Directives::parse(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(bad) => return respond::refuse(StatusCode::BAD_REQUEST, format!("{bad}\n")),
    };
    let look = || site.snapshots.playlist(&stream, &rendition, (lists, Reach::Live), &wanted);
    match settled(&site, (&stream, NO_PLAYLIST), counted_as(&request), look).await {
        Ok(found) => reloaded(&site, &request, &found, &wanted),
        Err(refusal) => refusal,
    }
}

/// The same of a recording. One of hours takes milliseconds to render and compress, so that happens off the threads that serve viewers.
async fn recorded_playlist(
    State(site): Shared,
    Names((stream, rendition)): Rendition,
    lists: Lists,
    request: Request<Body>,
) -> Response {
    let wanted = match Directives::parse(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(bad) => return respond::refuse(StatusCode::BAD_REQUEST, format!("{bad}\n")),
    };
    let mut wait = Wait::new(&site, (&stream, NO_RECORDING), counted_as(&request));
    loop {
        let (snapshots, stream, rendition) = (Arc::clone(&site.snapshots), stream.clone(), rendition.clone());
        let look = site.render.apart(move || {
            let found = snapshots.playlist(&stream, &rendition, (lists, Reach::Dvr), &wanted);
            if let Look::Here(found) = &found {
                let _ = found.text.gzip();
            }
            found
        });
        match wait.on(look.await.unwrap_or(Look::Absent)).await {
            Some(Ok(found)) => {
                let mut response = reloaded(&site, &request, &found, &wanted);
                let text = found.text.identity();
                respond::holds(&mut response, Held::Playlist(text.as_ptr().addr()), text.len());
                return response;
            }
            Some(Err(refusal)) => return refusal,
            None => {}
        }
    }
}

fn reloaded(site: &Site, request: &Request<Body>, found: &Playlist, wanted: &Directives) -> Response {
    let answered = if wanted.msn.is_some() && !found.is_ended { Answered::Blocking } else { Answered::AsItIs };
    playlist(site, request, &found.text, answered)
}

/// How a playlist was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// By a blocking reload: the same request may get the same answer later.
    Blocking,
    AsItIs,
}

fn playlist(site: &Site, request: &Request<Body>, text: &Rendered, answered: Answered) -> Response {
    let target_duration_s = site.settings.target_duration_s;
    let kept = match answered {
        Answered::Blocking => CacheLifetime::BlockingReload { target_duration_s },
        Answered::AsItIs => CacheLifetime::Playlist { target_duration_s },
    };
    respond::text(request, text, Meta { kind: Kind::Playlist, content_type: PLAYLIST, kept })
}

/// Waits until `look` finds something, or until it is known that nothing will come. `absent` is the text of the refusal when there is
/// nothing to wait for.
async fn settled<T>(
    site: &Site,
    (stream, absent): (&StreamId, &'static str),
    from: Option<IpAddr>,
    look: impl Fn() -> Look<T>,
) -> Result<T, Response> {
    let mut wait = Wait::new(site, (stream, absent), from);
    loop {
        if let Some(settled) = wait.on(look()).await {
            return settled;
        }
    }
}

/// A request that may have to wait between two looks.
struct Wait<'a> {
    site: &'a Site,
    stream: &'a StreamId,
    absent: &'static str,
    from: Option<IpAddr>,
    place: Option<Waiter>,
}

impl<'a> Wait<'a> {
    fn new(site: &'a Site, (stream, absent): (&'a StreamId, &'static str), from: Option<IpAddr>) -> Self {
        Self { site, stream, absent, from, place: None }
    }

    /// What follows from a look; `None`, after a wait, when another is needed.
    async fn on<T>(&mut self, look: Look<T>) -> Option<Result<T, Response>> {
        let absent = self.absent;
        match look {
            Look::Here(found) => return Some(Ok(found)),
            Look::Absent => return Some(Err(respond::refuse(StatusCode::NOT_FOUND, absent))),
            Look::TooFar(why) => return Some(Err(respond::refuse(StatusCode::BAD_REQUEST, format!("{why}\n")))),
            Look::Soon => {}
        }
        match &mut self.place {
            // Look once more with a place: otherwise a change in between would be missed.
            None => match self.site.snapshots.wait(self.stream, self.from) {
                Ok(place) => self.place = Some(place),
                Err(why) => return Some(Err(respond::no_place(why, absent))),
            },
            Some(place) => {
                if let Some(why) = place.is_over() {
                    return Some(Err(respond::no_place(why, absent)));
                }
                if !place.woken().await {
                    self.place = None;
                }
            }
        }
        None
    }
}

pub(super) async fn object(
    State(site): Shared,
    Names((stream, rendition, epoch, slot)): Names<(StreamId, RenditionId, String, String)>,
    request: Request<Body>,
) -> Response {
    let Some((epoch, slot)) = object_place(&epoch, &slot) else {
        return respond::refuse(StatusCode::NOT_FOUND, NO_OBJECT);
    };
    media_object(site, ObjectName { stream, rendition, epoch, slot }, request).await
}

pub(super) async fn media_object(site: Arc<Site>, name: ObjectName, request: Request<Body>) -> Response {
    let (kind, content_type) = match name.slot {
        Slot::Image { .. } => (Kind::Image, JPEG),
        _ if name.rendition.as_str() == AUDIO_RENDITION => (Kind::Sound, AUDIO),
        _ => (Kind::Picture, VIDEO),
    };
    match found(&site, &name, counted_as(&request)).await {
        Ok(object) => respond::media(&request, name, object, Meta { kind, content_type, kept: CacheLifetime::ForEver }),
        Err(refusal) => refusal,
    }
}

/// An object from memory, as soon as it is there; otherwise from disk or from another node.
async fn found(site: &Site, name: &ObjectName, from: Option<IpAddr>) -> Result<Object, Response> {
    let refusal = match settled(site, (&name.stream, NO_OBJECT), from, || site.snapshots.object(name)).await {
        Ok(object) => return Ok(object),
        Err(refusal) => refusal,
    };
    let Some(reading) = site.snapshots.kept(name).filter(|_| refusal.status() == StatusCode::NOT_FOUND) else {
        return Err(refusal);
    };
    match reading.await {
        OnDisk::Here(object) => Ok(object),
        OnDisk::Absent => Err(refusal),
        OnDisk::Busy => Err(respond::unavailable("too much is read from disk already\n")),
    }
}

pub(super) async fn poster(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let kept = CacheLifetime::Playlist { target_duration_s: site.settings.target_duration_s };
    let Some(name) = site.snapshots.poster(&stream) else {
        return respond::refuse(StatusCode::NOT_FOUND, "this node has no image of such a stream\n");
    };
    match found(&site, &name, counted_as(&request)).await {
        Ok(image) => respond::media(&request, name, image, Meta { kind: Kind::Image, content_type: JPEG, kept }),
        Err(refusal) => refusal,
    }
}

pub(super) async fn seals(State(site): Shared, Names(stream): Names<StreamId>, request: Request<Body>) -> Response {
    let Some(from) = from_sequence(request.uri().query().unwrap_or_default()) else {
        let line = "from: give one sequence number of the log, in digits, such as ?from=120\n";
        return respond::refuse(StatusCode::BAD_REQUEST, line);
    };
    let Some(mut seals) = site.snapshots.seals(&stream, from) else {
        return respond::refuse(StatusCode::NOT_FOUND, "this node has no such stream\n");
    };
    seals.truncate(fitting(&seals, SEALS_BYTES_MAX));
    let meta = Meta { kind: Kind::Seals, content_type: CBOR_SEQUENCE, kept: CacheLifetime::OneSecond };
    respond::sequence(seals, meta)
}

/// The `from` of a query; 0 when there is none, `None` when it is given twice or is not a number.
fn from_sequence(query: &str) -> Option<LogSequence> {
    let mut given = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "from").then_some(value)
    });
    match (given.next(), given.next()) {
        (None, _) => Some(LogSequence(0)),
        (Some(value), None) if value.bytes().all(|byte| byte.is_ascii_digit()) => value.parse().ok(),
        _ => None,
    }
}

/// How many items fit into `bytes_max`; at least one, so that a client always makes progress.
fn fitting(items: &[Bytes], bytes_max: usize) -> usize {
    let mut total = 0_usize;
    let fits = items.iter().take_while(|item| {
        total = total.saturating_add(item.len());
        total <= bytes_max
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_begins_where_the_query_says() {
        assert_eq!(from_sequence(""), Some(LogSequence(0)));
        assert_eq!(from_sequence("from=7"), Some(LogSequence(7)));
        assert_eq!(from_sequence("_HLS_msn=3&from=7&x"), Some(LogSequence(7)));
        assert_eq!(from_sequence("from=18446744073709551615"), Some(LogSequence(u64::MAX)));
        for bad in
            ["from", "from=", "from=-1", "from=+1", "from=1.5", "from=a", "from=18446744073709551616", "from=1&from=1"]
        {
            assert_eq!(from_sequence(bad), None, "{bad}");
        }
    }

    #[test]
    fn long_log_is_cut_at_a_seal_and_never_to_nothing() {
        let items = [3, 3, 3].map(|length| Bytes::from(vec![0; length]));
        assert_eq!(fitting(&items, 9), 3);
        assert_eq!(fitting(&items, 8), 2);
        assert_eq!(fitting(&items, 1), 1);
    }
}
