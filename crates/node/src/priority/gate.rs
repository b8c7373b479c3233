//! The scheduler's shell: wakers, the transport and the tasks of one connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scheduler::{Key, SLICE_BYTES_MAX, Scheduler, Step};
use super::{Hint, Priority};

/// A response that sends fewer bytes than this in a minute makes no progress: 9 kbit/s.
pub const PROGRESS_BYTES_MIN: u64 = 64 * 1024;

/// Where the responses of a connection were at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes that had left for the operating system.
    pub written_bytes: u64,
    /// Responses that begin later are not open for long.
    mark: u64,
}

/// One HTTP/2 connection, as its responses see it. Clones are the same connection.
#[derive(Debug, Clone, Default)]
pub struct Connection(Arc<ConnectionState>);

#[derive(Debug, Default)]
struct ConnectionState {
    state: Mutex<State>,
    /// The task that drives the connection.
    driver: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    scheduler: Scheduler,
    /// The tasks of the responses that have begun.
    tasks: Vec<(Key, Arc<AtomicWaker>)>,
    written_bytes: u64,
}

impl Connection {
    /// Where the connection's responses are now, for [`Connection::stands_still_since`].
    pub fn progress(&self) -> Progress {
        let state = self.0.lock();
        Progress { written_bytes: state.written_bytes, mark: state.scheduler.mark() }
    }

    /// Whether responses that had begun before, and have not ended, have sent less than [`PROGRESS_BYTES_MIN`] each. New requests
    /// are no excuse: what such a response holds would stay in memory. Never on HTTP/1.1, which has no order of responses.
    /// So many of them, `long_lived`, may be silent.
    pub fn stands_still_since(&self, before: Progress, long_lived: usize) -> bool {
        let state = self.0.lock();
        let open = state.scheduler.open_since(before.mark).saturating_sub(long_lived);
        let open = u64::try_from(open).unwrap_or(u64::MAX);
        state.written_bytes - before.written_bytes < open.saturating_mul(PROGRESS_BYTES_MIN)
    }

    /// Whether no response has begun that has not ended, so that one more holds up no other.
    pub fn is_idle(&self) -> bool {
        self.0.lock().tasks.is_empty()
    }

    /// Registers the task that writes the connection; it is woken when responses wait for it.
    pub fn driven_by(&self, task: &Waker) {
        self.0.driver.register(task);
    }

    /// The operating system has taken all that was written: `bytes` since the last call. 0 means that nothing could be written.
    pub fn flushed(&self, bytes: usize) {
        self.0.step(|state| {
            state.written_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
            state.scheduler.flushed(bytes)
        });
    }

    /// The connection is gone: its responses may run to their end.
    pub fn close(&self) {
        let tasks: Vec<_> = {
            let mut state = self.0.lock();
            let _ = state.scheduler.close().count();
            state.tasks.iter().map(|(_, task)| task.clone()).collect()
        };
        for task in tasks {
            task.wake();
        }
    }
}

impl ConnectionState {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the scheduler says, without holding its lock.
    fn step(&self, decide: impl FnOnce(&mut State) -> Step) {
        let (task, nudge) = {
            let mut state = self.lock();
            let step = decide(&mut state);
            (state.task(step.grant), step.nudge)
        };
        self.wake(task, nudge);
    }

    fn wake(&self, task: Option<Arc<AtomicWaker>>, nudge: bool) {
        if let Some(task) = task {
            task.wake();
        }
        if nudge {
            self.driver.wake();
        }
    }
}

impl State {
    fn task(&self, key: Option<Key>) -> Option<Arc<AtomicWaker>> {
        let wanted = key?;
        self.tasks.iter().find(|(key, _)| *key == wanted).map(|(_, task)| task.clone())
    }
}

/// One request's response. Before it [begins](Response::begin) it runs freely; a blocked request costs the others nothing.
#[derive(Debug)]
pub struct Response {
    connection: Arc<ConnectionState>,
    task: Arc<AtomicWaker>,
    key: OnceLock<Key>,
    cut: AtomicBool,
}

impl Response {
    /// Ends it at once: its future is dropped, and with it what it has not sent.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Begins the body: from here on the task runs in its turns only. Resolves in the first turn, which is now when no other response has
    /// the turn: then header and body leave together.
    pub async fn begin(&self, priority: Priority) {
        std::future::poll_fn(|_| self.poll_begin(priority)).await;
    }

    fn poll_begin(&self, priority: Priority) -> Poll<()> {
        if self.key.get().is_some() {
            return Poll::Ready(());
        }
        let mut state = self.connection.lock();
        let key = state.scheduler.begin(priority);
        state.tasks.push((key, self.task.clone()));
        drop(state);
        let _ = self.key.set(key);
        // Otherwise it waits in line, and is woken when it gets the turn.
        if self.enter() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reports that bytes of the body were handed to HTTP/2.
    pub fn sent(&self, bytes: usize) {
        if self.key.get().is_some() {
            self.connection.lock().scheduler.sent(bytes);
        }
    }

    /// Whether another slice may be handed over; if not, this response is woken when it may.
    fn has_room(&self) -> bool {
        let Some(key) = self.key.get() else { return true };
        let mut state = self.connection.lock();
        if state.scheduler.has_room() {
            return true;
        }
        // It has the turn, so this step has nothing to do; it is in line again when it leaves.
        let _ = state.scheduler.ready(*key);
        false
    }

    fn enter(&self) -> bool {
        let Some(key) = self.key.get() else { return true };
        let (may, task, nudge) = {
            let mut state = self.connection.lock();
            let (may, step) = state.scheduler.enter(*key);
            (may, state.task(step.grant), step.nudge)
        };
        self.connection.wake(task, nudge);
        may
    }

    fn leave(&self) {
        if let Some(key) = self.key.get() {
            self.connection.step(|state| state.scheduler.leave(*key));
        }
    }

    fn end(&self) {
        if let Some(key) = self.key.get() {
            self.connection.step(|state| {
                state.tasks.retain(|(known, _)| known != key);
                state.scheduler.end(*key)
            });
        }
    }
}

/// The waker of the future inside: it tells the scheduler that the response is ready before the response's task runs.
impl Wake for Response {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.key.get() {
            Some(key) => self.connection.step(|state| state.scheduler.ready(*key)),
            None => self.task.wake(),
        }
    }
}

tokio::task_local! {
    static CURRENT: Arc<Response>;
}

/// The response that the running task belongs to; `None` outside [`Gated`].
pub fn current() -> Option<Arc<Response>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The task of one request. The future inside finds its response with [`current`].
#[derive(Debug)]
pub struct Gated<F> {
    future: F,
    response: Arc<Response>,
    waker: Waker,
}

impl<F> Gated<F> {
    /// Puts a request's future under the order of its connection.
    pub fn new(connection: &Connection, future: F) -> Self {
        let connection = connection.0.clone();
        let response =
            Arc::new(Response { connection, task: Arc::default(), key: OnceLock::new(), cut: AtomicBool::new(false) });
        let waker = Waker::from(response.clone());
        Self { future, response, waker }
    }
}

impl<F: Future<Output: Default> + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, response, waker } = &mut *self;
        response.task.register(context.waker());
        if response.cut.load(Ordering::Acquire) {
            return Poll::Ready(F::Output::default());
        }
        if !response.enter() {
            return Poll::Pending;
        }
        let mut inside = Context::from_waker(waker);
        let polled = CURRENT.sync_scope(response.clone(), || Pin::new(future).poll(&mut inside));
        if polled.is_pending() {
            response.leave();
        }
        polled
    }
}

impl<F> Drop for Gated<F> {
    fn drop(&mut self) {
        self.response.end();
    }
}

/// A connection's transport. It tells the [`Connection`] what has been written, and when it is dropped.
#[derive(Debug)]
pub struct Paced<T> {
    transport: T,
    connection: Connection,
    unflushed_bytes: usize,
}

impl<T> Paced<T> {
    /// Wraps the transport of `connection`.
    pub fn new(transport: T, connection: Connection) -> Self {
        Self { transport, connection, unflushed_bytes: 0 }
    }

    pub fn get_ref(&self) -> &T {
        &self.transport
    }

    pub fn get_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.unflushed_bytes += bytes;
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.0.driver.register(cx.waker());
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.0.driver.register(cx.waker());
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        let bytes = std::mem::take(&mut self.unflushed_bytes);
        self.connection.flushed(bytes);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl<T> Drop for Paced<T> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// A response's body, handed over in slices in the response's turns. Outside [`Gated`] the body is unchanged.
#[derive(Debug)]
pub struct Sliced<B = Body> {
    body: B,
    rest: Bytes,
    priority: Priority,
}

impl<B: hyper::body::Body<Data = Bytes, Error = axum::Error> + Unpin> Sliced<B> {
    /// Puts a response under the order of its connection, by the priority that the request and the response name.
    pub fn response(request: Hint, response: hyper::Response<B>) -> hyper::Response<Self> {
        let priority = Priority::merged(request, Hint::of(response.headers()));
        response.map(|body| Self { body, rest: Bytes::new(), priority })
    }

    fn poll_slice(
        &mut self,
        response: &Response,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        ready!(response.poll_begin(self.priority));
        if !response.has_room() {
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let slice = self.rest.split_to(self.rest.len().min(SLICE_BYTES_MAX));
        response.sent(slice.len());
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}

impl<B: hyper::body::Body<Data = Bytes, Error = axum::Error> + Unpin> hyper::body::Body for Sliced<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match current() {
            Some(response) => self.poll_slice(&response, cx),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;
    use hyper::body::Body as _;

    use super::*;

    fn response(connection: &Connection) -> Gated<Pin<Box<dyn Future<Output = usize>>>> {
        let mut body = Sliced::response(Hint::default(), hyper::Response::new(Body::from(vec![7; 100]))).into_body();
        let sent = async move {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            frame.unwrap().unwrap().into_data().unwrap().len()
        };
        Gated::new(connection, Box::pin(sent))
    }

    #[test]
    fn body_goes_with_its_header_when_nobody_else_sends() {
        let connection = Connection::default();
        assert_eq!(response(&connection).now_or_never(), Some(100));
        let mut ahead = response(&connection);
        while connection.0.lock().scheduler.has_room() {
            connection.0.lock().scheduler.sent(SLICE_BYTES_MAX);
        }
        assert_eq!((&mut ahead).now_or_never(), None, "it waits for what is ahead");
        connection.flushed(3 * SLICE_BYTES_MAX);
        assert_eq!(ahead.now_or_never(), Some(100));
    }
}
