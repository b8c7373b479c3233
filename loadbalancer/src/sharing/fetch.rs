//! The request to a node that many viewers wait for, as a subrequest of Pingora's.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::http::subrequest::server::SubrequestHandle;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::subrequest::Ctx;
use pingora::proxy::{PreparedSubrequest, Session};
use tokio::sync::mpsc;

use super::{ANSWER_BYTES_MAX, Question};
use crate::report::{Report, Source};
use crate::request::Placement;

/// Nodes answer alike whatever the viewer calls the host.
const AUTHORITY: &str = "sealcast";

/// Headers of one connection (RFC 9110, 7.6.1), and those that Pingora sets for each answer.
const OF_A_CONNECTION: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "trailer", "upgrade", "date"];

/// What the proxy's filters need to know of a fetch.
#[derive(Clone)]
pub(crate) struct Order {
    /// That of the viewer who asked first.
    pub(crate) placement: Placement,
    pub(crate) report: Arc<Report>,
}

impl Order {
    /// The order of a session that is a fetch.
    pub(crate) fn of(session: &Session) -> Option<&Self> {
        session.subrequest_ctx.as_ref()?.user_ctx()?.downcast_ref()
    }
}

/// A fetch that has not begun.
pub(crate) struct Request {
    subrequest: PreparedSubrequest,
    handle: SubrequestHandle,
    report: Arc<Report>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) head: ResponseHeader,
    pub(crate) body: Bytes,
    pub(crate) source: Option<Source>,
    /// When it came, since the start of the clock.
    pub(super) came: Duration,
}

/// What a fetch brought.
pub(super) enum Fetched {
    Whole(Box<Answer>),
    TooLong,
    Broken,
}

impl Request {
    /// `None` when the session may have no subrequests.
    pub(crate) async fn new(session: &Session, placement: Placement, question: &Question) -> Option<Self> {
        let report = Arc::new(Report::default());
        let order = Order { placement, report: Arc::clone(&report) };
        let context = Ctx::builder().user_ctx(Box::new(order)).build();
        let spawner = session.subrequest_spawner.as_ref()?;
        let (subrequest, handle) = spawner.create_subrequest(&parent(question).await?, context);
        Some(Self { subrequest, handle, report })
    }

    /// Runs it to its end. `landed` is called as soon as the answer is there.
    pub(super) async fn run(self, landed: impl FnOnce(Fetched)) {
        let Self { subrequest, handle, report } = self;
        // A subrequest ends when nobody holds this.
        let _is_wanted = handle.tx;
        let answer = async {
            let fetched = match read(handle.rx).await {
                Read::Whole(head, body) => Fetched::Whole(Box::new(answer(*head, body, report.source()))),
                Read::TooLong => Fetched::TooLong,
                Read::Broken => Fetched::Broken,
            };
            landed(fetched);
        };
        tokio::join!(subrequest.run(), answer);
    }
}

/// The request that Pingora takes the subrequest from, as every node gets it: nothing of the viewer who asked first. Read from memory,
/// because Pingora reads subrequests as HTTP/1.1, and the viewer may speak HTTP/2.
async fn parent(question: &Question) -> Option<ServerSession> {
    let (target, coding) = (question.target(), question.accept_encoding());
    let request = format!("GET {target} HTTP/1.1\r\nhost: {AUTHORITY}\r\naccept-encoding: {coding}\r\n\r\n");
    let mut parent = ServerSession::new_http1(Box::new(Cursor::new(request.into_bytes())));
    parent.read_request().await.ok()?.then_some(parent)
}

enum Read {
    Whole(Box<ResponseHeader>, Bytes),
    TooLong,
    Broken,
}

async fn read(mut tasks: mpsc::Receiver<HttpTask>) -> Read {
    let mut head = None;
    let mut body = Body::default();
    loop {
        let is_end = match tasks.recv().await {
            Some(HttpTask::Header(found, is_end)) if !found.status.is_informational() => {
                head = Some(found);
                is_end
            }
            Some(HttpTask::Body(piece, is_end)) => {
                body.append(piece.unwrap_or_default());
                is_end
            }
            Some(HttpTask::Done | HttpTask::Trailer(_)) => true,
            Some(HttpTask::Header(..)) => false,
            Some(HttpTask::Failed(_) | HttpTask::UpgradedBody(..)) | None => return Read::Broken,
        };
        let expected = head.as_deref().and_then(length);
        if body.length.max(expected.unwrap_or(0)) > ANSWER_BYTES_MAX {
            return Read::TooLong;
        }
        if let Some(found) = head.take_if(|_| is_end || expected == Some(body.length)) {
            // What ended before its length says so is not whole.
            let is_whole = expected.is_none_or(|expected| expected == body.length);
            return if is_whole { Read::Whole(found, body.bytes()) } else { Read::Broken };
        }
    }
}

fn length(head: &ResponseHeader) -> Option<usize> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[derive(Default)]
struct Body {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Body {
    fn append(&mut self, piece: Bytes) {
        self.length += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// In memory of its own: a piece would keep the buffer that it was read into.
    fn bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.length);
        for piece in self.pieces {
            bytes.extend_from_slice(&piece);
        }
        bytes.freeze()
    }
}

fn answer(mut head: ResponseHeader, body: Bytes, source: Option<Source>) -> Answer {
    for name in OF_A_CONNECTION {
        head.remove_header(name);
    }
    head.set_version(Version::HTTP_11);
    // It cannot fail: a number is a valid value.
    let _ = head.insert_header(header::CONTENT_LENGTH, body.len());
    Answer { head, body, source, came: Duration::ZERO }
}
