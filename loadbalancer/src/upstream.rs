//! The balancer's connections to nodes: HTTP/1.1 for what a node answers at once, while there is a place, and HTTP/2 for the rest, many
//! requests on few connections. No request delays another. [`crate::proof`] checks that the server is the node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node::tls::{Identity, Shown};
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{ALPN, HttpPeer, Tracer};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;

use crate::node_connections::{CONNECT_TIMEOUT, Dial};
use crate::target::Target;

/// Idle connections to nodes that are kept open.
pub(crate) const IDLE_UPSTREAMS_MAX: usize = 256;
/// Requests at once on one connection to a node. A node takes 128; it may not have forgotten some that were cancelled.
const STREAMS_MAX: usize = 100;
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

/// The authorities that certify nodes, as they are now, in Pingora's form.
pub(crate) struct Trust {
    identity: Arc<Identity>,
    made: Mutex<Option<Made>>,
    shown: Mutex<Option<Shown<CertKey>>>,
}

/// The authorities, and what was made from them.
type Made = (Arc<[CertificateDer<'static>]>, Arc<CaType>);

impl Trust {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self { identity, made: Mutex::default(), shown: Mutex::default() }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the balancer shows nodes, so that they do not take it for one viewer.
    fn shown(&self) -> Arc<CertKey> {
        self.identity.shown(&self.shown, |chain, key| {
            CertKey::new(chain.iter().map(|certificate| certificate.to_vec()).collect(), key.secret_der().to_vec())
        })
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
    let dial = Dial::new(target.connections.clone());
    peer.client_cert_key = Some(trust.shown());
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
