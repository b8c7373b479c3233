//! What a node sends to viewers: counters for presence and metrics, and the body that feeds them.
//!
//! Counts bytes when the connection takes them, not when an answer is made: bytes that a viewer who left did not get are not
//! egress. Knows no viewer's address and has no label per viewer.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use media::{BitsPerSecond, Now};

use super::caching::Kind;
use super::readers::{self, Place, Readers};
use crate::quotas::Account;

/// Largest piece handed to a connection at once, in bytes: large enough that an HTTP/1.1 connection sends much in one call, small enough
/// that a slow viewer's segment is counted as it goes out. Pieces are slices; nothing is copied.
const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Counters of one node's viewers' side.
#[derive(Debug)]
pub struct Traffic {
    requests: AtomicU64,
    egress_bytes: AtomicU64,
    mark: Mutex<Option<Mark>>,
    answers: [[metrics::Counter; CLASSES.len()]; Kind::ALL.len()],
    egress: metrics::Counter,
    readers: Readers,
}

/// Classes of status, as metrics call them.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

impl Default for Traffic {
    /// Looks the counters up once, because that costs more than counting. The process's metrics recorder, if it has one, is there by now.
    fn default() -> Self {
        let counter = |kind: Kind, class: &'static str| metrics::counter!("viewers_requests_total", "answer" => kind.label(), "status" => class);
        Self {
            requests: AtomicU64::default(),
            egress_bytes: AtomicU64::default(),
            mark: Mutex::default(),
            answers: Kind::ALL.map(|kind| CLASSES.map(|class| counter(kind, class))),
            egress: metrics::counter!("viewers_egress_bytes_total"),
            readers: Readers::default(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Now,
    requests: u64,
    egress_bytes: u64,
}

/// What viewers ask and get, per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub requests_per_second: f64,
    /// Bits of bodies; headers and TLS come on top.
    pub egress: BitsPerSecond,
}

impl Traffic {
    /// The responses under way.
    pub(crate) const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Requests since the node started.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that connections took since the node started.
    pub fn egress_bytes(&self) -> u64 {
        self.egress_bytes.load(Ordering::Relaxed)
    }

    /// Means since the last call; zero at the first one. One caller calls it once per report.
    pub fn rates(&self, now: Now) -> Rates {
        let next = Mark { at: now, requests: self.requests(), egress_bytes: self.egress_bytes() };
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = mark.replace(next) else { return Rates::default() };
        let millis = now.elapsed.saturating_sub(last.at.elapsed).as_millis().max(1);
        let requests = next.requests.saturating_sub(last.requests);
        let bits = u128::from(next.egress_bytes.saturating_sub(last.egress_bytes)) * 8 * 1000 / millis;
        Rates {
            requests_per_second: requests as f64 * 1000.0 / millis as f64,
            egress: BitsPerSecond(u64::try_from(bits).unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Labels are of closed sets: what was answered, and the class of the status.
    pub(super) fn count_answer(&self, kind: Kind, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        let counters = self.answers.get(kind as usize).and_then(|classes| classes.get(class));
        counters.expect("there is one for each kind and class").increment(1);
    }

    fn count_bytes(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.egress_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.egress.increment(bytes);
    }
}

/// A body whose bytes are counted as the connection takes them.
pub struct Metered {
    inner: Body,
    /// The rest of a frame that was too large for one piece.
    rest: Bytes,
    traffic: Arc<Traffic>,
    /// Its place among the responses that hold more than themselves.
    place: Option<Arc<Place>>,
    /// Whose stream it is.
    account: Option<Arc<Account>>,
}

impl Metered {
    pub(super) fn new(
        inner: Body,
        traffic: Arc<Traffic>,
        (place, account): (Option<Arc<Place>>, Option<Arc<Account>>),
    ) -> Self {
        Self { inner, rest: Bytes::new(), traffic, place, account }
    }

    fn piece(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
        self.rest = data;
        self.traffic.count_bytes(piece.len());
        if let Some(account) = &self.account {
            account.sent(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Frame::data(match &self.place {
            Some(place) => readers::piece(piece, place),
            None => piece,
        })
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.piece(rest))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(data) => self.piece(data),
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if self.is_end_stream() {
            // An exact hint of 0 would become a length of 0, which a 204 must not have, and which in a 304 would be the length of
            // the 200 (RFC 9110, 8.6). Answers with bodies state their lengths themselves.
            return hint;
        }
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use media::UnixMillis;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { elapsed: Duration::from_secs(seconds), wall: UnixMillis(0) }
    }

    #[tokio::test]
    async fn bytes_count_when_they_are_taken_piece_by_piece() {
        let traffic = Arc::new(Traffic::default());
        let length = PIECE_BYTES_MAX * 2 + 1;
        let mut body = Metered::new(Body::from(vec![7; length]), traffic.clone(), (None, None));
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        assert_eq!(traffic.egress_bytes(), 0);
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((piece.len(), traffic.egress_bytes()), (PIECE_BYTES_MAX, PIECE_BYTES_MAX as u64));
        assert_eq!(body.size_hint().exact(), Some(length as u64 - PIECE_BYTES_MAX as u64));
        assert!(!body.is_end_stream());
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(piece.len() + rest.len(), length);
        assert_eq!(traffic.egress_bytes(), length as u64);
    }

    #[test]
    fn rates_are_means_since_the_last_report() {
        let traffic = Traffic::default();
        assert_eq!(traffic.rates(at(10)), Rates::default());
        traffic.count_request();
        traffic.count_request();
        traffic.count_request();
        traffic.count_bytes(1000);
        let rates = traffic.rates(at(12));
        assert_eq!(rates, Rates { requests_per_second: 1.5, egress: BitsPerSecond(4000) });
        assert_eq!(traffic.rates(at(14)), Rates::default());
        assert_eq!(traffic.rates(at(14)), Rates::default());
    }
}
