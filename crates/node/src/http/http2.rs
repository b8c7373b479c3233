//! Drives an HTTP/2 connection and its requests in one task: reading, answering and sending follow one another without a task switch, and
//! everything that one pass makes is sent together.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use hyper_util::server::graceful::GracefulConnection;

use super::transport::Transport;
use crate::priority::{Connection, Gated};

/// Most passes in one turn of the task, before other connections have theirs. Two send 64 KiB of a long response.
const PASSES_MAX: usize = 16;
/// Most responses that end in one turn. A change may let all blocked requests of a connection go on at once, and each takes some tens of
/// microseconds.
const RESPONSES_MAX: usize = 16;

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;
type Request = Gated<Boxed>;

/// The executor that gets the requests of a connection, and puts them under its order.
#[derive(Clone)]
pub(super) struct Requests {
    order: Connection,
    new: Arc<Mutex<Vec<Request>>>,
}

impl Requests {
    pub(super) fn new(order: Connection) -> Self {
        Self { order, new: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> hyper::rt::Executor<F> for Requests
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        let request = Gated::new(&self.order, Box::pin(request) as Boxed);
        self.lock().push(request);
    }
}

/// Wakes the connection's task, unless it is running.
#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    /// The task runs, and checks `raised` before it stops.
    running: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::SeqCst);
        if !self.running.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// A connection with its requests and its transport. They end with it.
pub(super) struct Driven<C> {
    protocol: C,
    requests: Requests,
    open: FuturesUnordered<Request>,
    transport: Transport,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<C> Driven<C>
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    /// `protocol` reads and writes `transport`, and gives its requests to `requests`.
    pub(super) fn new(protocol: C, requests: Requests, transport: Transport) -> Self {
        let signal = Arc::<Signal>::default();
        let waker = Waker::from(signal.clone());
        Self { protocol, requests, open: FuturesUnordered::new(), transport, signal, waker }
    }

    pub(super) fn graceful_shutdown(self: Pin<&mut Self>) {
        Pin::new(&mut self.get_mut().protocol).graceful_shutdown();
    }

    /// Makes passes until nothing is left to do, [`PASSES_MAX`] are done, or [`RESPONSES_MAX`] responses have ended.
    fn poll_passes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        let mut responses = 0;
        for _ in 0..PASSES_MAX {
            self.signal.raised.store(false, Ordering::SeqCst);
            self.requests.order.driven_by(&self.waker);
            if let Poll::Ready(ended) = Pin::new(&mut self.protocol).poll(cx) {
                return Poll::Ready(ended);
            }
            self.open.extend(self.requests.lock().drain(..));
            while responses < RESPONSES_MAX
                && let Poll::Ready(Some(())) = self.open.poll_next_unpin(cx)
            {
                responses += 1;
            }
            let is_others_turn = responses == RESPONSES_MAX;
            // First turn what was answered into frames.
            if self.is_raised() && !is_others_turn {
                continue;
            }
            match self.transport.poll_send(cx) {
                Poll::Ready(Ok(bytes)) => self.requests.order.flushed(bytes),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "the peer is gone");
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
            if is_others_turn {
                // More may be ready.
                self.signal.raised.store(true, Ordering::SeqCst);
            }
            if is_others_turn || !self.is_raised() {
                break;
            }
        }
        Poll::Pending
    }

    fn is_raised(&self) -> bool {
        self.signal.raised.load(Ordering::SeqCst)
    }
}

impl<C> Future for Driven<C>
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    type Output = Result<(), hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.signal.task.register(cx.waker());
        this.signal.running.store(true, Ordering::SeqCst);
        let waker = this.waker.clone();
        let polled = this.poll_passes(&mut Context::from_waker(&waker));
        this.signal.running.store(false, Ordering::SeqCst);
        if polled.is_pending() && this.is_raised() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<C> Drop for Driven<C> {
    fn drop(&mut self) {
        self.requests.order.close();
    }
}
