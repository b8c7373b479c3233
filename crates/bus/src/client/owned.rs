//! The retained messages that this node has published, and sends again to a broker that has lost them. Pure.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{Message, OWNED_BYTES_MAX, OWNED_TOPICS_MAX};

/// Position of a message in the order in which this node publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct PublishOrder(u64);

/// A message on its way out.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) place: PublishOrder,
    /// How often it was sent on a connection that then broke.
    pub(super) sent: u8,
}

/// The newest retained message of each topic, up to named bounds; beyond them the one published longest ago is forgotten.
#[derive(Debug, Default)]
pub(super) struct Owned {
    topics: HashMap<String, (PublishOrder, Bytes)>,
    bytes: usize,
    last: PublishOrder,
}

impl Owned {
    /// Notes a message, and returns it with its place, ready to send.
    pub(super) fn note(&mut self, message: Message) -> Outgoing {
        self.last = PublishOrder(self.last.0 + 1);
        let place = self.last;
        if message.retain {
            self.forget(&message.topic);
            // An empty payload is kept too: a broker that comes back with an old message has to be told to forget it.
            self.bytes += message.payload.len();
            self.topics.insert(message.topic.clone(), (place, message.payload.clone()));
            while self.topics.len() > OWNED_TOPICS_MAX || self.bytes > OWNED_BYTES_MAX {
                let oldest = self.topics.iter().min_by_key(|(_, (place, _))| *place).map(|(topic, _)| topic.clone());
                let Some(oldest) = oldest else { break };
                self.forget(&oldest);
                metrics::counter!("bus_owned_forgotten_total").increment(1);
            }
        }
        Outgoing { message, place, sent: 0 }
    }

    fn forget(&mut self, topic: &str) {
        if let Some((_, payload)) = self.topics.remove(topic) {
            self.bytes -= payload.len();
        }
    }

    /// Everything, oldest first, and the place of the newest message noted.
    pub(super) fn all(&self) -> (Vec<Outgoing>, PublishOrder) {
        let message =
            |topic: &String, payload: &Bytes| Message { topic: topic.clone(), payload: payload.clone(), retain: true };
        let mut all: Vec<_> = self
            .topics
            .iter()
            .map(|(topic, (place, payload))| Outgoing { message: message(topic, payload), place: *place, sent: 0 })
            .collect();
        all.sort_by_key(|outgoing| outgoing.place);
        (all, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(topic: &str, payload: &'static str) -> Message {
        Message { topic: topic.into(), payload: Bytes::from(payload), retain: true }
    }

    #[test]
    fn the_newest_of_each_topic_is_kept() {
        let mut owned = Owned::default();
        owned.note(retained("a", "1"));
        owned.note(retained("b", "2"));
        owned.note(Message { retain: false, ..retained("c", "3") });
        owned.note(retained("a", "4"));
        owned.note(retained("d", ""));
        let (all, horizon) = owned.all();
        let all: Vec<_> = all.into_iter().map(|outgoing| outgoing.message).collect();
        assert_eq!(all, [retained("b", "2"), retained("a", "4"), retained("d", "")]);
        assert_eq!(horizon, PublishOrder(5));
    }

    #[test]
    fn topics_and_bytes_are_bounded() {
        let mut owned = Owned::default();
        for number in 0..OWNED_TOPICS_MAX + 2 {
            owned.note(retained(&number.to_string(), "x"));
        }
        assert_eq!(owned.topics.len(), OWNED_TOPICS_MAX);
        assert!(!owned.topics.contains_key("1") && owned.topics.contains_key("2"));
        let mut owned = Owned::default();
        for topic in ["a", "b", "c"] {
            owned.note(Message { payload: vec![0; OWNED_BYTES_MAX / 2].into(), ..retained(topic, "") });
        }
        assert!(owned.bytes <= OWNED_BYTES_MAX && !owned.topics.contains_key("a"));
    }
}
