//! What the balancer knows of one request.

use std::sync::Arc;

use acceptor::Slot;
use access::RequestPath;
use cluster::placement::Viewer;
use http::Method;
use media::{NodeId, StreamId};
use pingora::http::RequestHeader;
use tokio::sync::OwnedSemaphorePermit;

use crate::members::Among;
use crate::report::Report;
use crate::target::Target;
use crate::viewer;

/// What is known of one request.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) placement: Placement,
    pub(crate) among: Among,
    pub(crate) tried: Vec<NodeId>,
    /// The node that was tried last.
    pub(crate) target: Option<Target>,
    /// Kept until there is a connection to the node.
    pub(crate) connecting: Option<OwnedSemaphorePermit>,
    /// How it may go to nodes.
    pub(crate) way: Way,
    /// Its place on an HTTP/1.1 connection to the node, kept until it has ended; `None` over HTTP/2.
    pub(crate) http1: Option<OwnedSemaphorePermit>,
    /// Its place among the requests of the viewer's address.
    pub(crate) counted: Option<Slot>,
    /// Set when it is no viewer's, but one that many wait for.
    pub(crate) report: Option<Arc<Report>>,
    /// Control answers it, and no broadcast node.
    pub(crate) is_for_control: bool,
    /// The same, and a broadcast node answers while control is away.
    pub(crate) may_be_for_node: bool,
}

/// What decides the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    pub(crate) key: u64,
    pub(crate) is_placed_by_address: bool,
    /// The node that this connection watches the stream on.
    pub(crate) watched_on: Option<NodeId>,
    /// The node that the viewer's token names.
    pub(crate) token: Option<NodeId>,
    /// Without a token: the node that its seat had last.
    pub(crate) seated_on: Option<NodeId>,
    pub(crate) stream: Option<StreamId>,
}

impl Placement {
    pub(crate) fn viewer(&self) -> Viewer<'_> {
        Viewer {
            key: self.key,
            is_placed_by_key: self.is_placed_by_address,
            watched_on: self.watched_on.as_ref(),
            sticky: self.token.as_ref().or(self.seated_on.as_ref()),
            stream: self.stream.as_ref(),
        }
    }
}

/// Over which protocol a request goes to nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over HTTP/2, where requests that nodes hold back cost a stream and not a connection.
    #[default]
    Shared,
    /// Over HTTP/1.1 while the node has a place.
    Own,
}

impl Way {
    pub(crate) fn of(request: &RequestHeader) -> Self {
        let is_blocking = request.uri.query().is_some_and(|query| query.contains("_HLS_msn"));
        // Events last for as long as somebody reads them.
        let is_endless = request.uri.path().ends_with("/events");
        let is_own = request.method == Method::GET && is_of_stream(request.uri.path()) && !is_blocking && !is_endless;
        if is_own { Self::Own } else { Self::Shared }
    }
}

impl Request {
    /// Notes that the node has answered.
    pub(crate) fn heard(&self) {
        if let Some(target) = &self.target {
            target.connections.heard();
        }
    }

    /// Keeps the connection on this node. An owner that is asked for one object only does not become the viewer's node.
    pub(crate) fn placed(&self, node: &NodeId) {
        let is_viewers = self.among == Among::All && !self.is_for_control;
        let Some(connection) = viewer::current().filter(|_| is_viewers) else { return };
        if let Some(stream) = &self.placement.stream {
            connection.placed(stream, node);
        }
        if self.placement.is_placed_by_address {
            connection.seated(node);
        }
    }

    /// The node has nothing for the viewer, so nothing keeps the viewer there.
    pub(crate) fn refused(&self) {
        let connection = viewer::current().filter(|_| self.among == Among::All);
        if let (Some(connection), Some(stream)) = (connection, &self.placement.stream) {
            connection.refused(stream);
        }
    }
}

/// Whether a path is below those of streams, with a viewer's token before it or without.
pub(crate) fn is_of_stream(path: &str) -> bool {
    RequestPath::of(path).rest.starts_with("/live/")
}

/// The stream that a path belongs to, with a viewer's token before it or without.
pub(crate) fn stream_of(path: &str) -> Option<StreamId> {
    let (stream, _) = RequestPath::of(path).rest.strip_prefix("/live/")?.split_once('/')?;
    StreamId::new(stream).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_before_a_path_changes_nothing_about_where_it_belongs() {
        for path in ["/live/hall/720p/index.m3u8", "/t/scv_abc/live/hall/720p/index.m3u8"] {
            assert_eq!(stream_of(path), StreamId::new("hall").ok(), "{path}");
            let request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
            assert_eq!(Way::of(&request), Way::Own, "{path}");
        }
        let events = RequestHeader::build("GET", b"/live/hall/events", None).unwrap();
        assert_eq!(Way::of(&events), Way::Shared);
        assert_eq!(stream_of("/t/scv_abc/t/x/live/hall/720p/index.m3u8"), None);
    }
}
