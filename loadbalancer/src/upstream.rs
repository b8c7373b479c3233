//! The balancer's connections to nodes: HTTP/1.1 for what a node answers at once, while there is a place, and HTTP/2 for the rest, many
//! requests on few connections. No request delays another. [`crate::certificate`] checks that the server is the node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node::tls::Identity;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{ALPN, HttpPeer, Tracer};
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::line::Dial;
use crate::members::Target;

/// Idle connections to nodes that are kept open.
pub(crate) const IDLE_UPSTREAMS_MAX: usize = 256;
/// Requests at once on one connection to a node. A node takes 128; it may not have forgotten some that were cancelled.
const STREAMS_MAX: usize = 100;
/// Connections that are being made to one node at once. Requests that find none wait for these instead of making one each:
/// after a start, thousands of blocked viewers come at the same moment.
const CONNECTS_MAX: usize = 4;
/// Requests at once to one node over HTTP/1.1, each on a connection of its own: 1/32 of what a node takes by default. More
/// go over HTTP/2.
const HTTP1_REQUESTS_MAX: usize = 128;
/// Longest wait for a connection to a node; it is in the same cluster.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest silence of a node within one response. A node answers a blocked request within 3 target durations of at most 30 s each; this
/// limit is for a node that has forgotten a request. The connection shows when a node is gone.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const _: () = assert!(SILENCE_MAX.as_secs() > 3 * 30);
/// How often a connection to a node is probed. One that does not answer for 5 s more is given up.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long an unused connection to a node is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that a node may send ahead of a viewer that reads slowly.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all viewers of one connection: as much as all of them can leave unread, so that no viewer takes the others' room.
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX as u32 * STREAM_WINDOW_BYTES;

/// Limits the requests that connect to one node at once, and those over HTTP/1.1. Clones share the limits.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    connects: Arc<Semaphore>,
    http1: Arc<Semaphore>,
}

impl Default for Door {
    fn default() -> Self {
        Self { connects: Arc::new(Semaphore::new(CONNECTS_MAX)), http1: Arc::new(Semaphore::new(HTTP1_REQUESTS_MAX)) }
    }
}

impl Door {
    /// A place to connect, if one is free. The caller keeps the permit until the request has its connection.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.connects.clone().try_acquire_owned().ok()
    }

    /// A place on an HTTP/1.1 connection, if one is free. The caller keeps the permit until the request has ended.
    pub(crate) fn try_http1(&self) -> Option<OwnedSemaphorePermit> {
        self.http1.clone().try_acquire_owned().ok()
    }

    /// Waits for a place to connect. Requests that wait at the same time get theirs one by one.
    pub(crate) async fn enter(&self) -> OwnedSemaphorePermit {
        self.connects.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// The authorities that certify nodes, as they are now, in Pingora's form.
pub(crate) struct Trust {
    identity: Arc<Identity>,
    made: Mutex<Option<Made>>,
}

/// The authorities, and what was made from them.
type Made = (Arc<[CertificateDer<'static>]>, Arc<CaType>);

impl Trust {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self { identity, made: Mutex::default() }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn now(&self) -> Arc<CaType> {
        let authorities = self.identity.authorities();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((from, there)) if Arc::ptr_eq(from, &authorities) => Arc::clone(there),
            _ => {
                let wrap = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
                let fresh: Arc<CaType> = authorities.iter().map(wrap).collect();
                *made = Some((authorities, Arc::clone(&fresh)));
                fresh
            }
        }
    }
}

/// What Pingora needs to know to send a request to a node.
pub(crate) fn peer(target: &Target, protocol: ALPN, trust: &Trust) -> HttpPeer {
    // The certificate names the node, wherever it runs.
    let mut peer = HttpPeer::new(target.address, true, target.node.to_string());
    let dial = Dial::new(target.line.clone());
    let options = &mut peer.options;
    options.tracer = Some(Tracer(Box::new(dial.clone())));
    options.custom_l4 = Some(Arc::new(dial));
    options.ca = Some(trust.now());
    options.alpn = protocol;
    options.connection_timeout = Some(CONNECT_TIMEOUT);
    options.total_connection_timeout = Some(2 * CONNECT_TIMEOUT);
    options.read_timeout = Some(SILENCE_MAX);
    options.idle_timeout = Some(IDLE_TIMEOUT);
    options.max_h2_streams = STREAMS_MAX;
    options.h2_ping_interval = Some(PING_INTERVAL);
    options.h2_stream_window_size = Some(STREAM_WINDOW_BYTES);
    options.h2_connection_window_size = Some(CONNECTION_WINDOW_BYTES);
    peer
}
