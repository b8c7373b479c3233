//! Requests that wait for something to be admitted: blocking playlist reload (RFC 8216bis 6.2.5.2) and hinted objects (6.2.6).
//!
//! A request that waits is a future with a place among the waiters of its stream: no thread, no timer of its own, no copy of
//! anything. Owns how many may wait, of all and of each address, for how long, and who is woken before whom. The waiter itself looks
//! for what it waits for whenever it is woken.
//!
//! Whoever is woken is answered, which takes the threads that serve viewers some time. So a change wakes some requests of each address at
//! once, and the others of an address that has more in [lanes](Lanes), one after the other: a host with thousands of requests is
//! answered in the time that viewers elsewhere leave.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acceptor::{Census, Slot};
use node::clock::Clock;
use tokio::sync::{Notify, watch};

/// Requests that wait for one stream at once: a player has up to four (picture and sound, the playlist and the hinted part of
/// each), so these are those of 8,000 viewers.
pub const WAITING_PER_STREAM_MAX: usize = 32 * 1024;
/// Requests that wait on a node at once, at the default bounds: those of two streams. Each takes some kilobytes.
#[cfg(test)]
const WAITING_PER_NODE_MAX: usize = 2 * WAITING_PER_STREAM_MAX;
/// Requests of one address that wait for a stream and stay when all places are taken: those of 500 viewers behind one router.
pub const WAITING_SHARE: usize = 2 * 1024;
/// Requests of one address that a change wakes at the same time: those of eight viewers.
const WOKEN_AT_ONCE: usize = 32;

/// How many requests may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingBounds {
    /// For one stream. Default: [`WAITING_PER_STREAM_MAX`].
    pub per_stream_max: usize,
    /// Of those, how many of one address stay when all places are taken. Default: [`WAITING_SHARE`].
    pub share: usize,
}

impl Default for WaitingBounds {
    fn default() -> Self {
        Self { per_stream_max: WAITING_PER_STREAM_MAX, share: WAITING_SHARE }
    }
}

/// The requests that wait on a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeWaiters(Arc<NodeWaitersState>);

#[derive(Debug)]
struct NodeWaitersState {
    places: Arc<Census>,
    bounds: WaitingBounds,
    closed: AtomicBool,
    /// Notified when some stream has lanes that are due.
    due: Notify,
}

impl Default for NodeWaiters {
    fn default() -> Self {
        Self::new(WaitingBounds::default())
    }
}

impl NodeWaiters {
    /// The node has the places, and an address the share, of two streams.
    pub fn new(bounds: WaitingBounds) -> Self {
        let places = Census::fair(bounds.per_stream_max.saturating_mul(2), bounds.share.saturating_mul(2));
        Self(Arc::new(NodeWaitersState { places, bounds, closed: AtomicBool::new(false), due: Notify::new() }))
    }

    /// Ends all waiting: every request that is woken from now on is sent away.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Requests that wait now, of all streams.
    pub fn waiting(&self) -> usize {
        self.0.places.total()
    }

    /// Resolves when a change has made lanes of some stream due, for [`StreamWaiters::wake_next`].
    pub async fn due(&self) {
        self.0.due.notified().await;
    }
}

/// The requests that wait for one stream. Dropping it wakes them.
#[derive(Debug)]
pub struct StreamWaiters {
    node: NodeWaiters,
    places: Arc<Census>,
    /// Wakes the first [`WOKEN_AT_ONCE`] of each address, and those of no address.
    woken: watch::Sender<()>,
    lanes: Mutex<Lanes>,
    /// Whether [`StreamWaiters::wake`] was called since the last [`StreamWaiters::sweep`].
    is_fresh: AtomicBool,
}

impl StreamWaiters {
    pub fn new(node: NodeWaiters) -> Self {
        let (woken, _) = watch::channel(());
        let WaitingBounds { per_stream_max, share } = node.0.bounds;
        let places = Census::fair(per_stream_max, share);
        Self { node, places, woken, lanes: Mutex::default(), is_fresh: AtomicBool::new(false) }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait, because something changed: the first of each address now, the others with [`StreamWaiters::wake_next`].
    pub fn wake(&self) {
        self.is_fresh.store(true, Ordering::Relaxed);
        self.wake_in_order();
    }

    fn wake_in_order(&self) {
        self.woken.send_replace(());
        if self.lanes().all_due() {
            self.node.0.due.notify_one();
        }
    }

    /// Wakes the next lane that is due; `false` when none is. Call it once for each turn of the tasks that answer.
    pub fn wake_next(&self) -> bool {
        self.lanes().wake_next()
    }

    /// Wakes all who wait, unless something did since the last sweep, so that they look whether they have waited too long.
    /// Called about once a second, so that no waiter needs a timer of its own.
    pub fn sweep(&self) {
        let is_fresh = self.is_fresh.swap(false, Ordering::Relaxed);
        if !is_fresh && self.places.total() > 0 {
            self.wake_in_order();
        }
    }

    /// A place among the waiters until `wait_max` from now, for a request of the address `from`; without one, for a request that
    /// stands for many viewers, or for none. When all places are taken, the newest of the address with the most makes room.
    ///
    /// # Errors
    /// When all are taken and nobody makes room, or the node is stopping.
    pub fn enter(&self, from: Option<IpAddr>, clock: Clock, wait_max: Duration) -> Result<Waiter, NoPlace> {
        if self.node.0.closed.load(Ordering::Acquire) {
            return Err(NoPlace::Stopping);
        }
        let take = |places: &Arc<Census>| match from {
            Some(address) => places.admit(address).map_err(|_| NoPlace::Taken),
            None => places.admit_to_stay().map_err(|_| NoPlace::Taken),
        };
        let places = (take(&self.places)?, take(&self.node.0.places)?);
        let woken = match (places.0.rank() / WOKEN_AT_ONCE).checked_sub(1) {
            None => self.woken.subscribe(),
            Some(lane) => self.lanes().enter(lane),
        };
        let node = self.node.clone();
        Ok(Waiter { woken, clock, until: clock.elapsed().saturating_add(wait_max), node, places })
    }
}

/// Requests beyond the first [`WOKEN_AT_ONCE`] of their address: so many of each address in a lane. A change makes all lanes due, and one
/// after the other is woken, in a circle: also when changes come faster than that, each has its turn.
#[derive(Debug, Default)]
struct Lanes {
    lanes: Vec<Lane>,
    next: usize,
}

#[derive(Debug)]
struct Lane {
    woken: watch::Sender<()>,
    is_due: bool,
}

impl Lanes {
    fn enter(&mut self, lane: usize) -> watch::Receiver<()> {
        while self.lanes.len() <= lane {
            self.lanes.push(Lane { woken: watch::Sender::new(()), is_due: false });
        }
        self.lanes.get(lane).expect("it was added").woken.subscribe()
    }

    /// Makes all lanes due in which somebody waits; `false` when there is none.
    fn all_due(&mut self) -> bool {
        while self.lanes.pop_if(|last| last.woken.is_closed()).is_some() {}
        self.lanes.iter_mut().fold(false, |any, lane| {
            lane.is_due = !lane.woken.is_closed();
            any | lane.is_due
        })
    }

    fn wake_next(&mut self) -> bool {
        let (first, count) = (self.next.min(self.lanes.len()), self.lanes.len());
        let (before, after) = self.lanes.split_at_mut(first);
        let mut order = after.iter_mut().chain(before).enumerate();
        let Some((ahead, lane)) = order.find(|(_, lane)| lane.is_due) else { return false };
        lane.is_due = false;
        lane.woken.send_replace(());
        self.next = (first + ahead + 1) % count;
        true
    }
}

/// Why a request does not wait here, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The node does not hold the stream any more.
    Gone,
    /// The stream or the node has as many as may wait.
    Taken,
    /// Its address has more requests that wait than any other, and more than its share; another one needed the place.
    Displaced,
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
    places: (Slot, Slot),
}

impl Waiter {
    /// Waits until there may be something new since it entered or was last woken, or it has to leave. `false` when [`StreamWaiters`] is
    /// gone, and another has to be found.
    pub async fn woken(&mut self) -> bool {
        tokio::select! {
            biased;
            changed = self.woken.changed() => changed.is_ok(),
            () = self.places.0.displaced() => true,
            () = self.places.1.displaced() => true,
        }
    }

    /// Why it should wait no longer, if so.
    pub fn is_over(&self) -> Option<NoPlace> {
        if self.node.0.closed.load(Ordering::Acquire) {
            return Some(NoPlace::Stopping);
        }
        if self.places.0.is_displaced() || self.places.1.is_displaced() {
            return Some(NoPlace::Displaced);
        }
        (self.clock.elapsed() >= self.until).then_some(NoPlace::Late)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(12);
    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    fn address(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn who_waits_is_woken_by_a_change_and_by_nothing_else() {
        let waiters = StreamWaiters::new(NodeWaiters::default());
        waiters.wake();
        let mut waiter = waiters.enter(HOME, Clock::new(), LONG).unwrap();
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
        let enter = |waiters: &StreamWaiters| waiters.enter(HOME, Clock::new(), LONG);
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
    fn host_that_fills_all_places_makes_room_for_others_and_a_share_is_left_alone() {
        let waiters = StreamWaiters::new(NodeWaiters::new(WaitingBounds { share: 4, ..WaitingBounds::default() }));
        let enter = |from| waiters.enter(from, Clock::new(), LONG);
        let school: Vec<Waiter> = (0..4).map(|_| enter(address(1)).unwrap()).collect();
        let balancer: Vec<Waiter> = (0..8).map(|_| enter(None).unwrap()).collect();
        let mut greedy: Vec<Waiter> = (12..WAITING_PER_STREAM_MAX).map(|_| enter(address(2)).unwrap()).collect();
        assert_eq!(enter(address(2)).unwrap_err(), NoPlace::Taken, "not for one more of its own");
        let newcomers = [enter(address(3)).unwrap(), enter(None).unwrap()];
        let is_over = |waiters: &[Waiter]| waiters.iter().filter_map(Waiter::is_over).count();
        assert_eq!([&school, &balancer, &greedy].map(|waiters| is_over(waiters)), [0, 0, 2]);
        let mut newest = greedy.pop().unwrap();
        assert_eq!(newest.woken().now_or_never(), Some(true));
        assert_eq!((newest.is_over(), is_over(&newcomers)), (Some(NoPlace::Displaced), 0));
    }

    /// How many of these are woken now.
    fn woken(waiters: &mut [Waiter]) -> usize {
        waiters.iter_mut().filter_map(|waiter| waiter.woken().now_or_never()).count()
    }

    #[test]
    fn requests_of_one_address_beyond_the_first_are_woken_after_those_of_others_in_batches() {
        let waiters = StreamWaiters::new(NodeWaiters::default());
        let enter = |from| waiters.enter(from, Clock::new(), LONG).unwrap();
        let mut greedy: Vec<Waiter> = (0..3 * WOKEN_AT_ONCE).map(|_| enter(address(2))).collect();
        let mut others = [enter(address(3)), enter(None)];
        waiters.wake();
        assert_eq!((woken(&mut others), woken(&mut greedy)), (2, WOKEN_AT_ONCE));
        assert!(waiters.wake_next());
        assert_eq!(woken(&mut greedy[WOKEN_AT_ONCE..2 * WOKEN_AT_ONCE]), WOKEN_AT_ONCE);
        assert_eq!(woken(&mut greedy), 0);
        // Another change does not begin anew: otherwise the last would wait for ever.
        waiters.wake();
        assert_eq!((woken(&mut others), woken(&mut greedy)), (2, WOKEN_AT_ONCE));
        assert!(waiters.wake_next());
        assert_eq!(woken(&mut greedy[2 * WOKEN_AT_ONCE..]), WOKEN_AT_ONCE);
        assert!(waiters.wake_next());
        assert_eq!(woken(&mut greedy[WOKEN_AT_ONCE..]), WOKEN_AT_ONCE);
        assert!(!waiters.wake_next());
        greedy.truncate(WOKEN_AT_ONCE);
        waiters.wake();
        assert!(!waiters.wake_next(), "nobody waits there any more");
    }

    #[test]
    fn sweep_wakes_those_whom_nothing_woke_and_who_waited_too_long_sees_it() {
        let waiters = StreamWaiters::new(NodeWaiters::default());
        let mut waiter = waiters.enter(HOME, Clock::new(), LONG).unwrap();
        waiters.wake();
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        waiters.sweep();
        assert_eq!(waiter.woken().now_or_never(), None);
        waiters.sweep();
        assert_eq!(waiter.woken().now_or_never(), Some(true));
        assert_eq!(waiter.is_over(), None);
        assert_eq!(waiters.enter(HOME, Clock::new(), Duration::ZERO).unwrap().is_over(), Some(NoPlace::Late));
    }

    #[test]
    fn closing_sends_everybody_away() {
        let node = NodeWaiters::default();
        let waiters = StreamWaiters::new(node.clone());
        let waiter = waiters.enter(HOME, Clock::new(), LONG).unwrap();
        node.close();
        assert_eq!(waiter.is_over(), Some(NoPlace::Stopping));
        assert_eq!(waiters.enter(HOME, Clock::new(), LONG).unwrap_err(), NoPlace::Stopping);
    }
}
