//! Filters, their readers, and the bounded queue of each reader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::fair::{Bounds, FairQueue};
use crate::{BusError, Message, SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX, SUBSCRIPTIONS_MAX};

/// Number of subscription identifiers; after so many they repeat.
const IDENTIFIERS: u64 = 268_435_454;

/// All subscriptions of a bus.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    /// Grows with each change, so that connections can bring their broker up to date.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    filters: BTreeMap<String, Filter>,
    readers: usize,
    generation: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Filter {
    ask: Ask,
    readers: Vec<Arc<Queue>>,
}

/// One filter's SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ask {
    /// The broker returns it with each message, so that a message for one of two overlapping filters does not go to both.
    pub(super) identifier: u32,
    /// Changes with each new reader: a new SUBSCRIBE makes the broker send its retained messages again.
    generation: u64,
}

/// Filters, and how they are subscribed to: what the readers want, or what a connection has asked for.
pub(super) type Wanted = BTreeMap<String, Ask>;

impl Registry {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(self: &Arc<Self>, filter: &str) -> Result<Subscription, BusError> {
        let queue = Arc::new(Queue::default());
        {
            let mut state = self.lock();
            if state.closed {
                return Err(BusError::Closed);
            }
            if state.readers >= SUBSCRIPTIONS_MAX {
                return Err(BusError::Full("subscriptions"));
            }
            state.readers += 1;
            state.generation += 1;
            let generation = state.generation;
            // 1 to 268,435,455 (MQTT 5, 3.8.2.1.2). Long before an identifier is used again, its first filter is gone.
            let identifier = u32::try_from(generation % IDENTIFIERS).unwrap_or_default() + 1;
            let entry = state.filters.entry(filter.to_owned()).or_default();
            if entry.ask.identifier == 0 {
                entry.ask.identifier = identifier;
            }
            entry.ask.generation = generation;
            entry.readers.push(Arc::clone(&queue));
        }
        self.changed.send_modify(|version| *version += 1);
        Ok(Subscription { filter: filter.to_owned(), queue, registry: Arc::clone(self) })
    }

    fn leave(&self, filter: &str, queue: &Arc<Queue>) {
        {
            let mut state = self.lock();
            state.readers = state.readers.saturating_sub(1);
            if let Some(entry) = state.filters.get_mut(filter) {
                entry.readers.retain(|reader| !Arc::ptr_eq(reader, queue));
                if entry.readers.is_empty() {
                    state.filters.remove(filter);
                }
            }
        }
        self.changed.send_modify(|version| *version += 1);
    }

    /// Watches changes of [`Self::wanted`]; the present state counts as seen.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.lock().filters.iter().map(|(filter, entry)| (filter.clone(), entry.ask)).collect()
    }

    /// Hands a message to the readers of the filters that the broker sent it for; never waits.
    pub(super) fn dispatch(&self, message: &Message, identifiers: &[u32]) {
        for (filter, entry) in &self.lock().filters {
            let meant = identifiers.is_empty() || identifiers.contains(&entry.ask.identifier);
            if meant && mqtt5_protocol::topic_matches_filter(&message.topic, filter) {
                entry.readers.iter().for_each(|queue| queue.push(message.clone()));
            }
        }
    }

    /// Ends all subscriptions; readers still get what is queued.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.filters.values().flat_map(|entry| &entry.readers).for_each(|queue| queue.close());
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    ready: Notify,
    dropped: AtomicU64,
}

/// What waits for a reader. All of it matches one filter; of a node's own topics each has one sender, so a topic stands for that.
#[derive(Debug)]
struct Waiting {
    messages: FairQueue<(), String, Message>,
    closed: bool,
}

impl Default for Waiting {
    fn default() -> Self {
        let bounds = Bounds { messages_max: SUBSCRIPTION_MESSAGES_MAX, bytes_max: SUBSCRIPTION_BYTES_MAX };
        Self { messages: FairQueue::new(bounds), closed: false }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: Message) {
        let (topic, bytes) = (message.topic.clone(), message.payload.len());
        let dropped = u64::try_from(self.lock().messages.push((), topic, message, bytes)).unwrap_or(u64::MAX);
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            metrics::counter!("bus_reader_dropped_total").increment(dropped);
        }
        self.ready.notify_one();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }
}

/// A stream of messages whose topics match one filter. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    filter: String,
    queue: Arc<Queue>,
    registry: Arc<Registry>,
}

impl Subscription {
    /// The next message; `None` once the bus is closed. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            {
                let mut waiting = self.queue.lock();
                if let Some(message) = waiting.messages.pop() {
                    return Some(message);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.queue.ready.notified().await;
        }
    }

    /// How many messages were dropped because this reader was slow: the oldest of the topic that had most.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.registry.leave(&self.filter, &self.queue);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(topic: &str, number: usize) -> Message {
        Message { topic: topic.into(), payload: Bytes::from(number.to_string()), retain: false }
    }

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_and_the_others_nothing() {
        let registry = Arc::new(Registry::new());
        let mut slow = registry.subscribe("a/+").unwrap();
        let mut quick = registry.subscribe("a/b").unwrap();
        for number in 0..SUBSCRIPTION_MESSAGES_MAX + 3 {
            registry.dispatch(&message("a/b", number), &[]);
            assert_eq!(quick.recv().await, Some(message("a/b", number)));
        }
        assert_eq!((slow.dropped(), quick.dropped()), (3, 0));
        assert_eq!(slow.recv().await, Some(message("a/b", 3)));
    }

    #[tokio::test]
    async fn flood_on_one_topic_costs_another_nothing() {
        let registry = Arc::new(Registry::new());
        let mut reader = registry.subscribe("nodes/#").unwrap();
        registry.dispatch(&message("nodes/b1", 7), &[]);
        for number in 0..2 * SUBSCRIPTION_MESSAGES_MAX {
            registry.dispatch(&message("nodes/b9", number), &[]);
        }
        assert_eq!(reader.recv().await, Some(message("nodes/b1", 7)));
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let registry = Arc::new(Registry::new());
        let reader = registry.subscribe("a").unwrap();
        let large = Message { topic: "a".into(), payload: vec![0; SUBSCRIPTION_BYTES_MAX / 2].into(), retain: false };
        for _ in 0..3 {
            registry.dispatch(&large, &[]);
        }
        assert_eq!(reader.dropped(), 1);
    }

    #[tokio::test]
    async fn closing_ends_a_reader_after_what_is_queued() {
        let registry = Arc::new(Registry::new());
        let mut reader = registry.subscribe("a").unwrap();
        registry.dispatch(&message("a", 1), &[]);
        registry.close();
        assert!(reader.recv().await.is_some());
        assert!(reader.recv().await.is_none());
        assert_eq!(registry.subscribe("a").err(), Some(BusError::Closed));
    }

    #[test]
    fn readers_are_bounded_and_leave_when_dropped() {
        let registry = Arc::new(Registry::new());
        let readers: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|_| registry.subscribe("a").unwrap()).collect();
        assert!(matches!(registry.subscribe("b"), Err(BusError::Full(_))));
        drop(readers);
        assert!(registry.wanted().is_empty());
        assert!(registry.subscribe("b").is_ok());
    }
}
