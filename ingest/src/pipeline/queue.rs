//! A bounded queue between two threads whose sender can wait for a bounded time. (The standard library's `sync_channel` cannot, and
//! shedding depends on the length of this wait.)

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// No more will be sent; what is queued is still received.
    finished: bool,
    /// No more will be received; what is queued is dropped.
    closed: bool,
}

#[derive(Debug)]
struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    depth: usize,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends. Dropping it finishes the queue.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Inner<T>>);

/// Receives. Dropping it closes the queue.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Inner<T>>);

/// Why an item was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused<T> {
    /// Still full after the wait; the item is given back.
    Full(T),
    /// Nobody receives; the item is dropped.
    Closed,
}

/// A queue of at most `depth` items.
pub(super) fn bounded<T>(depth: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { items: VecDeque::with_capacity(depth), finished: false, closed: false };
    let inner = Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new(), depth });
    (Sender(Arc::clone(&inner)), Receiver(inner))
}

impl<T> Sender<T> {
    /// Sends, waiting at most `wait` for a place.
    pub(super) fn send(&self, item: T, wait: Duration) -> Result<(), Refused<T>> {
        let full = |state: &mut State<T>| !state.closed && state.items.len() >= self.0.depth;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), wait, full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.0.depth {
            return Err(Refused::Full(item));
        }
        state.items.push_back(item);
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().items.len()
    }

    /// Most items that can wait.
    pub(super) fn depth(&self) -> usize {
        self.0.depth
    }

    /// Drops what is waiting and refuses the rest: the receiver sees the end.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.items.clear();
        drop(state);
        self.0.changed.notify_all();
    }
}

impl<T> Receiver<T> {
    /// The next item; waits for it. `None` when all was received and no more comes.
    pub(super) fn receive(&self) -> Option<T> {
        let empty = |state: &mut State<T>| !state.closed && !state.finished && state.items.is_empty();
        let mut state = self.0.changed.wait_while(self.0.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        drop(state);
        self.0.changed.notify_all();
        item
    }

    /// Whether the sender gave this receiver up.
    pub(super) fn closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().finished = true;
        self.0.changed.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.items.clear();
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn full_queue_gives_the_item_back_after_the_wait() {
        let (sender, receiver) = bounded(2);
        assert_eq!(sender.send(1, NO_WAIT), Ok(()));
        assert_eq!(sender.send(2, NO_WAIT), Ok(()));
        assert_eq!(sender.send(3, Duration::from_millis(1)), Err(Refused::Full(3)));
        assert_eq!(receiver.receive(), Some(1));
        assert_eq!(sender.send(3, NO_WAIT), Ok(()));
        assert_eq!(sender.len(), 2);
    }

    #[test]
    fn sender_waits_until_a_place_is_free() {
        let (sender, receiver) = bounded(1);
        sender.send(1, NO_WAIT).unwrap();
        let thread = std::thread::spawn(move || sender.send(2, LONG).is_ok());
        assert_eq!((receiver.receive(), receiver.receive()), (Some(1), Some(2)));
        assert!(thread.join().unwrap());
        assert_eq!(receiver.receive(), None, "dropping the sender finishes the queue");
    }

    #[test]
    fn finished_queue_is_drained_and_closed_queue_is_dropped() {
        let (sender, receiver) = bounded(2);
        sender.send(1, NO_WAIT).unwrap();
        drop(sender);
        assert_eq!((receiver.receive(), receiver.receive()), (Some(1), None));
        let (sender, receiver) = bounded(2);
        sender.send(1, NO_WAIT).unwrap();
        sender.close();
        assert!(receiver.closed());
        assert_eq!(receiver.receive(), None);
        assert_eq!(sender.send(2, LONG), Err(Refused::Closed));
        let (sender, receiver) = bounded::<u8>(1);
        drop(receiver);
        assert_eq!(sender.send(1, LONG), Err(Refused::Closed));
    }
}
