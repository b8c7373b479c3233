//! A bounded queue in which a flood harms itself alone.
//!
//! Messages wait by class, and within a class in their order. Classes take turns, so that a class with thousands of messages delays
//! another by one. When there is no room, the class that takes most loses a message: the oldest of the sender that takes most in it.
//! Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound;

/// What a message takes besides its payload, in bytes: its topic, and its places in the queue.
const MESSAGE_BYTES: usize = 256;

/// A queue of `T`, in classes `C`, from senders `S`.
#[derive(Debug)]
pub(crate) struct FairQueue<C, S, T> {
    classes: BTreeMap<C, Class<S, T>>,
    /// Whose turn was last.
    last: Option<C>,
    bounds: Bounds,
    messages: usize,
    bytes: usize,
    next: u64,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) messages_max: usize,
    /// Of payloads.
    pub(crate) bytes_max: usize,
}

#[derive(Debug)]
struct Class<S, T> {
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting<S, T>>,
    senders: HashMap<S, Sender>,
    /// Every sender with what its messages take; the one that takes most comes last.
    by_weight: BTreeSet<(usize, S)>,
    weight: usize,
}

#[derive(Debug)]
struct Waiting<S, T> {
    sender: S,
    message: T,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Sender {
    numbers: BTreeSet<u64>,
    weight: usize,
}

impl<S, T> Default for Class<S, T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), senders: HashMap::new(), by_weight: BTreeSet::new(), weight: 0 }
    }
}

impl<C: Ord + Clone, S: Ord + Hash + Clone, T> FairQueue<C, S, T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { classes: BTreeMap::new(), last: None, bounds, messages: 0, bytes: 0, next: 0 }
    }

    /// Adds a message with a payload of `bytes`; returns how many others were dropped for it.
    pub(crate) fn push(&mut self, class: C, sender: S, message: T, bytes: usize) -> usize {
        let number = self.next;
        self.next += 1;
        self.messages += 1;
        self.bytes += bytes;
        self.classes.entry(class).or_default().insert(number, Waiting { sender, message, bytes });
        let mut dropped = 0;
        while (self.messages > self.bounds.messages_max || self.bytes > self.bounds.bytes_max) && self.drop_one() {
            dropped += 1;
        }
        dropped
    }

    /// The oldest message of the class whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let after = self.last.as_ref().and_then(|last| {
            self.classes.range((Bound::Excluded(last), Bound::Unbounded)).next().map(|(class, _)| class.clone())
        });
        let class = after.or_else(|| self.classes.keys().next().cloned())?;
        let oldest = *self.classes.get(&class)?.waiting.keys().next()?;
        let message = self.remove(&class, oldest);
        self.last = Some(class);
        message
    }

    fn drop_one(&mut self) -> bool {
        let heaviest = self.classes.iter().max_by_key(|(_, class)| class.weight).map(|(name, _)| name.clone());
        let Some(class) = heaviest else { return false };
        let oldest = self.classes.get(&class).and_then(Class::oldest_of_the_heaviest);
        oldest.and_then(|number| self.remove(&class, number)).is_some()
    }

    fn remove(&mut self, name: &C, number: u64) -> Option<T> {
        let class = self.classes.get_mut(name)?;
        let removed = class.remove(number)?;
        self.messages -= 1;
        self.bytes -= removed.bytes;
        if class.waiting.is_empty() {
            self.classes.remove(name);
        }
        Some(removed.message)
    }
}

impl<S: Ord + Hash + Clone, T> Class<S, T> {
    fn insert(&mut self, number: u64, waiting: Waiting<S, T>) {
        let weight = waiting.bytes + MESSAGE_BYTES;
        self.weight += weight;
        self.weigh(waiting.sender.clone(), |sender| {
            sender.numbers.insert(number);
            sender.weight += weight;
        });
        self.waiting.insert(number, waiting);
    }

    fn remove(&mut self, number: u64) -> Option<Waiting<S, T>> {
        let removed = self.waiting.remove(&number)?;
        let weight = removed.bytes + MESSAGE_BYTES;
        self.weight -= weight;
        self.weigh(removed.sender.clone(), |sender| {
            sender.numbers.remove(&number);
            sender.weight -= weight;
        });
        Some(removed)
    }

    fn oldest_of_the_heaviest(&self) -> Option<u64> {
        let (_, heaviest) = self.by_weight.last()?;
        self.senders.get(heaviest)?.numbers.first().copied()
    }

    /// Changes what a sender has, and weighs it again.
    fn weigh(&mut self, name: S, change: impl FnOnce(&mut Sender)) {
        let sender = self.senders.entry(name.clone()).or_default();
        let before = sender.weight;
        change(sender);
        let (after, is_empty) = (sender.weight, sender.numbers.is_empty());
        self.by_weight.remove(&(before, name.clone()));
        if is_empty {
            self.senders.remove(&name);
        } else {
            self.by_weight.insert((after, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { messages_max: 8, bytes_max: 1000 };

    fn all<C: Ord + Clone, S: Ord + Hash + Clone, T>(queue: &mut FairQueue<C, S, T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn classes_take_turns_and_a_flood_loses_its_own() {
        let mut queue = FairQueue::new(BOUNDS);
        assert_eq!(queue.push("seals", "i1", 100, 10), 0);
        let dropped: usize = (0..50).map(|number| queue.push("nodes", "b9", number, 10)).sum();
        assert_eq!(queue.push("seals", "i1", 101, 10), 1);
        assert_eq!(dropped, 43);
        assert_eq!(all(&mut queue), [44, 100, 45, 101, 46, 47, 48, 49]);
    }

    #[test]
    fn sender_that_takes_most_of_a_class_loses_its_oldest() {
        let mut queue = FairQueue::new(BOUNDS);
        queue.push("nodes", "b1", 100, 10);
        (0..20).for_each(|number| _ = queue.push("nodes", "b9", number, 10));
        queue.push("nodes", "b2", 101, 10);
        assert_eq!(all(&mut queue), [100, 14, 15, 16, 17, 18, 19, 101], "in their order");
    }

    #[test]
    fn few_large_messages_are_a_flood_too() {
        let mut queue = FairQueue::new(BOUNDS);
        queue.push("seals", "i1", 100, 10);
        (0..5).for_each(|number| _ = queue.push("nodes", "b9", number, 400));
        assert_eq!(all(&mut queue), [3, 100, 4]);
    }

    proptest! {
        #[test]
        fn what_waits_is_counted_and_bounded(steps in prop::collection::vec((0u8..4, 0u8..3, 0usize..700), 0..80)) {
            let mut queue = FairQueue::new(BOUNDS);
            for (number, (class, sender, bytes)) in steps.into_iter().enumerate() {
                if class == 3 {
                    queue.pop();
                } else {
                    queue.push(class, sender, number, bytes);
                }
                let waiting = queue.classes.values().flat_map(|class| class.waiting.values());
                let (messages, bytes) = waiting.fold((0, 0), |(messages, bytes), one| (messages + 1, bytes + one.bytes));
                prop_assert_eq!((queue.messages, queue.bytes), (messages, bytes));
                prop_assert!(messages <= BOUNDS.messages_max && bytes <= BOUNDS.bytes_max);
                for class in queue.classes.values() {
                    prop_assert_eq!(class.senders.len(), class.by_weight.len());
                    prop_assert_eq!(class.weight, class.by_weight.iter().map(|(weight, _)| weight).sum::<usize>());
                }
            }
            all(&mut queue);
            prop_assert!(queue.classes.is_empty() && queue.messages == 0 && queue.bytes == 0);
        }
    }
}
