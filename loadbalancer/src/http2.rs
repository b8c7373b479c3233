//! A viewer's HTTP/2 connection: a session of Pingora's for each request, with the responses in the order of their priorities.
//!
//! Pingora's own loop spawns the requests itself, and nothing can be put around them. Here each is [`Gated`], so that the responses of a
//! connection go by urgency (RFC 9218): the proxy's filters say when a response begins and what it hands over.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use node::priority::{AHEAD_BYTES_MAX, Connection, Gated, SLICE_BYTES_MAX};
use pingora::apps::HttpServerApp as _;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora::proxy::HttpProxy;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::kept::KeptPlaylists;
use crate::proxy::{Balancer, WRITE_TIMEOUT};
use crate::transport::Transport;
use crate::viewer;

/// Requests at once on one connection. A player has some four blocked and as many under way.
const STREAMS_MAX: u32 = 128;
/// Longest header block in bytes; browsers add cookies.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Most bytes that HTTP/2 buffers for one stream: what was ahead when the response got its turn, and all that Pingora hands over at once
/// (4 frames from the node). So a response never leaves its turn with half of that handed over.
const SEND_BUFFER_BYTES_MAX: usize = AHEAD_BYTES_MAX + 6 * SLICE_BYTES_MAX;
/// Streams a viewer may have reset before we have looked at them (CVE-2023-44487, "rapid reset").
const PENDING_RESETS_MAX: usize = 20;
/// Most requests of one connection that are refused before they reach the proxy; one more ends the connection.
const MALFORMED_MAX: usize = 32;
/// Longest wait for the viewer's preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection without a request for this long is closed: players ask every few seconds, and a phone that has vanished
/// must not hold its place. Pingora does the same for HTTP/1.1.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves a connection until the viewer ends it, it is idle, or `stopping` changes; in the last case until its requests have ended.
pub(crate) async fn serve(
    transport: Transport,
    (app, kept): (&Arc<HttpProxy<Balancer>>, &KeptPlaylists),
    mut stopping: watch::Receiver<bool>,
) {
    let digest = Arc::new(transport.digest());
    let viewer = viewer::current().expect("a connection is served in its scope");
    let driver = Driver { records: transport.records(), order: Connection::default() };
    let handshake = driver.drive(server::handshake(Box::new(transport), Some(options())));
    let Ok(Ok(mut http2)) = tokio::time::timeout(PREFACE_TIMEOUT, handshake).await else { return };
    // Requests under way when the connection ends notice that themselves, and cancel what they asked of nodes.
    let mut requests = JoinSet::new();
    let mut malformed = 0;
    let mut ending = false;
    loop {
        let accepted = tokio::select! {
            accepted = driver.drive(HttpSession::from_h2_conn(&mut http2, digest.clone())) => accepted,
            Some(_) = requests.join_next() => continue,
            _ = stopping.changed(), if !ending => {
                http2.graceful_shutdown();
                ending = true;
                continue;
            }
            () = tokio::time::sleep(IDLE_TIMEOUT), if requests.is_empty() => break,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                // A response that has begun goes by urgency, which the proxy's filters know.
                let found = if driver.order.is_idle() { kept.answer(&viewer, session.req_header()) } else { None };
                if let Some(found) = found {
                    if let Some(rest) = send(session, found) {
                        requests.spawn(Gated::new(&driver.order, rest));
                    }
                    continue;
                }
                let (app, stopping) = (app.clone(), stopping.clone());
                let request = async move {
                    app.process_new_http(ServerSession::new_http2(session), &stopping).await;
                };
                requests.spawn(Gated::new(&driver.order, Box::pin(viewer.clone().scope(request))));
            }
            Ok(Some(H2Accept::Rejected)) if malformed < MALFORMED_MAX => malformed += 1,
            Ok(Some(H2Accept::Rejected) | None) | Err(_) => break,
        }
    }
    driver.send_last();
    drop(http2);
    requests.detach_all();
}

/// Sends an answer on the task of the connection. Returns the rest, if the viewer does not take all of it at once.
fn send(mut session: HttpSession, (head, body): (Box<ResponseHeader>, Bytes)) -> Option<Rest> {
    session.set_write_timeout(Some(WRITE_TIMEOUT));
    // It fails when the viewer has given the request up.
    session.write_response_header(head, false).ok()?;
    let mut rest: Rest = Box::pin(async move {
        let _ = session.write_body(body, true).await;
    });
    // A task that goes on with it is polled anew, and woken then.
    let is_sent = rest.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    (!is_sent).then_some(rest)
}

type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends what the protocol has written: all that one pass makes, in one system call.
struct Driver {
    records: node::http::Transport,
    order: Connection,
}

impl Driver {
    /// Runs a future that drives the protocol, and sends when nothing more is to be read: answers to requests that came together leave
    /// together.
    async fn drive<F: Future>(&self, protocol: F) -> F::Output {
        let mut protocol = pin!(protocol);
        poll_fn(|cx| {
            self.order.driven_by(cx.waker());
            let polled = protocol.as_mut().poll(cx);
            if polled.is_pending() {
                self.send(cx);
            }
            polled
        })
        .await
    }

    fn send(&self, cx: &mut Context<'_>) {
        // If the viewer is gone, the protocol finds it out when it reads.
        if let Poll::Ready(Ok(bytes)) = self.records.poll_send(cx) {
            self.order.flushed(bytes);
        }
    }

    /// Sends what the end of the connection has left.
    fn send_last(&self) {
        self.send(&mut Context::from_waker(Waker::noop()));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.order.close();
    }
}

fn options() -> H2Options {
    let mut options = server::default_h2_options();
    options
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX);
    options
}
