//! Requests that wait for something to be admitted: blocking playlist reload (RFC 8216bis 6.2.5.2) and hinted objects (6.2.6).
//!
//! A request that waits is a future with a place among the waiters of its stream: no thread, no timer of its own, no copy of
//! anything. Owns how many may wait and for how long. The waiter itself looks for what it waits for whenever it is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use node::clock::Clock;
use tokio::sync::watch;

/// Requests that wait for one stream at once: a player has up to four (picture and sound, the playlist and the hinted part of
/// each), so these are those of 8,000 viewers.
pub const WAITING_PER_STREAM_MAX: usize = 32 * 1024;
/// Requests that wait on a node at once: two streams at their bounds. Each takes some kilobytes.
pub const WAITING_PER_NODE_MAX: usize = 2 * WAITING_PER_STREAM_MAX;

/// The requests that wait on a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct NodeWaiters(Arc<NodeWaitersState>);

#[derive(Debug, Default)]
struct NodeWaitersState {
    waiting: Arc<AtomicUsize>,
    closed: AtomicBool,
}

impl NodeWaiters {
    /// Ends all waiting: every request that is woken from now on is sent away.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Requests that wait now, of all streams.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

/// The requests that wait for one stream. Dropping it wakes them.
#[derive(Debug)]
pub struct StreamWaiters {
    node: NodeWaiters,
    waiting: Arc<AtomicUsize>,
    woken: watch::Sender<()>,
    /// Whether [`StreamWaiters::wake`] was called since the last [`StreamWaiters::sweep`].
    is_fresh: AtomicBool,
}

impl StreamWaiters {
    pub fn new(node: NodeWaiters) -> Self {
        let (woken, _) = watch::channel(());
        Self { node, waiting: Arc::default(), woken, is_fresh: AtomicBool::new(false) }
    }

    /// Wakes all who wait, because something changed.
    pub fn wake(&self) {
        self.is_fresh.store(true, Ordering::Relaxed);
        self.woken.send_replace(());
    }

    /// Wakes all who wait, unless something did since the last sweep, so that they look whether they have waited too long.
    /// Called about once a second, so that no waiter needs a timer of its own.
    pub fn sweep(&self) {
        let is_fresh = self.is_fresh.swap(false, Ordering::Relaxed);
        if !is_fresh && self.waiting.load(Ordering::Relaxed) > 0 {
            self.woken.send_replace(());
        }
    }

    /// A place among the waiters until `wait_max` from now.
    ///
    /// # Errors
    /// When all are taken, or the node is stopping.
    pub fn enter(&self, clock: Clock, wait_max: Duration) -> Result<Waiter, NoPlace> {
        if self.node.0.closed.load(Ordering::Acquire) {
            return Err(NoPlace::Stopping);
        }
        let places = (
            WaitingSlot::take(&self.waiting, WAITING_PER_STREAM_MAX).ok_or(NoPlace::Taken)?,
            WaitingSlot::take(&self.node.0.waiting, WAITING_PER_NODE_MAX).ok_or(NoPlace::Taken)?,
        );
        let woken = self.woken.subscribe();
        let node = self.node.clone();
        Ok(Waiter { woken, clock, until: clock.elapsed().saturating_add(wait_max), node, _places: places })
    }
}

/// Why a request does not wait here, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The node does not hold the stream any more.
    Gone,
    /// The stream or the node has as many as may wait.
    Taken,
    /// Nothing new came for three target durations.
    Late,
    /// The node is stopping: another one can answer.
    Stopping,
}

/// A request that waits. Dropping it gives its place back, so a client that hangs up makes room.
#[derive(Debug)]
pub struct Waiter {
    woken: watch::Receiver<()>,
    clock: Clock,
    until: Duration,
    node: NodeWaiters,
    _places: (WaitingSlot, WaitingSlot),
}

impl Waiter {
    /// Waits until there may be something new since it entered or was last woken. `false` when [`StreamWaiters`] is gone, and another has
    /// to be found.
    pub async fn woken(&mut self) -> bool {
        self.woken.changed().await.is_ok()
    }

    /// Why it should wait no longer, if so.
    pub fn is_over(&self) -> Option<NoPlace> {
        if self.node.0.closed.load(Ordering::Acquire) {
            return Some(NoPlace::Stopping);
        }
        (self.clock.elapsed() >= self.until).then_some(NoPlace::Late)
    }
}

/// One of a bounded number of places.
#[derive(Debug)]
struct WaitingSlot(Arc<AtomicUsize>);

impl WaitingSlot {
    fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |taken| (taken < max).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for WaitingSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(12);

    #[test]
    fn who_waits_is_woken_by_a_change_and_by_nothing_else() {
        let waiters = StreamWaiters::new(NodeWaiters::default());
        waiters.wake();
        let mut waiter = waiters.enter(Clock::new(), LONG).unwrap();
        assert_eq!(waiter.woken().now_or_never(), None, "what was before it entered it has seen");
        waiters.wake();
        waiters.wake();
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        assert_eq!(waiter.woken().now_or_never(), None);
        drop(waiters);
        assert_eq!(waiter.woken().now_or_never(), Some(false));
    }

    #[test]
    fn places_of_a_stream_and_of_the_node_are_bounded_and_given_back() {
        let node = NodeWaiters::default();
        let streams = [(); 3].map(|()| StreamWaiters::new(node.clone()));
        let enter = |waiters: &StreamWaiters| waiters.enter(Clock::new(), LONG);
        let mut waiters: Vec<Waiter> = (0..WAITING_PER_STREAM_MAX).map(|_| enter(&streams[0]).unwrap()).collect();
        assert_eq!(enter(&streams[0]).unwrap_err(), NoPlace::Taken);
        waiters.extend((0..WAITING_PER_STREAM_MAX).map(|_| enter(&streams[1]).unwrap()));
        assert_eq!(node.waiting(), WAITING_PER_NODE_MAX);
        assert_eq!(enter(&streams[2]).unwrap_err(), NoPlace::Taken);
        waiters.pop();
        assert!(enter(&streams[0]).is_err(), "what found no place on the node took none of the stream's");
        assert!(enter(&streams[2]).is_ok());
        waiters.clear();
        assert_eq!(node.waiting(), 0);
        assert!(enter(&streams[0]).is_ok());
    }

    #[test]
    fn sweep_wakes_those_whom_nothing_woke_and_who_waited_too_long_sees_it() {
        let waiters = StreamWaiters::new(NodeWaiters::default());
        let mut waiter = waiters.enter(Clock::new(), LONG).unwrap();
        waiters.wake();
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        waiters.sweep();
        assert_eq!(waiter.woken().now_or_never(), None);
        waiters.sweep();
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        assert_eq!(waiter.is_over(), None);
        assert_eq!(waiters.enter(Clock::new(), Duration::ZERO).unwrap().is_over(), Some(NoPlace::Late));
    }

    #[test]
    fn closing_sends_everybody_away() {
        let node = NodeWaiters::default();
        let waiters = StreamWaiters::new(node.clone());
        let waiter = waiters.enter(Clock::new(), LONG).unwrap();
        node.close();
        assert_eq!(waiter.is_over(), Some(NoPlace::Stopping));
        assert_eq!(waiters.enter(Clock::new(), LONG).unwrap_err(), NoPlace::Stopping);
    }
}
