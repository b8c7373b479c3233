//! What a request is about, and who asks. Pure.

use std::net::IpAddr;

use axum::body::Body;
use http::Request;
use media::{Epoch, RenditionId, Slot, StreamId};
use node::http::Peer;

/// What a path is about.
pub(super) struct Asked {
    pub(super) stream: StreamId,
    pub(super) rendition: Option<RenditionId>,
    /// Set when it is one of the things that players ask for all the time.
    pub(super) thing: Option<Thing>,
}

pub(super) enum Thing {
    MediaPlaylist,
    Object(Epoch, Slot),
}

impl Asked {
    /// `None` when it is about no stream, or about what needs none of its media.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest =
            ["/live/", "/api/v1/streams/", "/api/v1/trust/"].iter().find_map(|about| path.strip_prefix(about))?;
        let (stream, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (rendition, thing) = match rest.split_once('/') {
            None => (None, None),
            Some((rendition, "index.m3u8")) => (RenditionId::new(rendition).ok(), Some(Thing::MediaPlaylist)),
            Some((rendition, rest)) => {
                let object = rest.split_once('/').and_then(|(epoch, slot)| object_place(epoch, slot));
                (RenditionId::new(rendition).ok(), object.map(|(epoch, slot)| Thing::Object(epoch, slot)))
            }
        };
        let is_live = path.starts_with("/live/");
        if is_live && matches!(rest, "embed" | "events") {
            return None;
        }
        Some(Self { stream: StreamId::new(stream).ok()?, rendition, thing: thing.filter(|_| is_live) })
    }
}

/// Where an object is in its rendition. `None` unless it is spelled as [`ObjectName`] prints it, so that an object has one URL in
/// every cache.
pub(super) fn object_place(epoch: &str, slot: &str) -> Option<(Epoch, Slot)> {
    let (spelled, slot) = (epoch, Slot::parse(slot)?);
    let epoch: Epoch = spelled.parse().ok()?;
    (epoch.to_string() == spelled).then_some((epoch, slot))
}

/// Where a viewer is: the address of the connection, or what a load balancer says of it.
pub(super) fn client_address(request: &Request<Body>) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?;
    if !peer.is_balancer() {
        return peer.counted_as();
    }
    request.headers().get("x-forwarded-for")?.to_str().ok()?.parse().ok()
}

/// The address that a request counts for while it waits; `None` when it comes through a balancer.
pub(super) fn counted_as(request: &Request<Body>) -> Option<IpAddr> {
    request.extensions().get::<Peer>()?.counted_as()
}
