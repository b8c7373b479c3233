//! Routing: connections, their subscriptions and bounded queues, and the retained messages.
//!
//! Routing never waits: a connection that does not take its messages loses some, and delays no other connection. Which ones it loses
//! is decided by class of topic and by sender ([`crate::fair`]): whoever floods presences costs nobody a seal.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mqtt5_protocol::QoS;
use mqtt5_protocol::packet::subscribe::RetainHandling;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{PATTERNS_MAX, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, RETAINED_BYTES_MAX, RETAINED_MAX, SUBSCRIPTIONS_MAX};
use crate::Message;
use crate::fair::{Bounds, FairQueue};

/// Number of a connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

/// What a connection asked for with one filter.
#[derive(Debug, Clone)]
pub(super) struct Interest {
    pub(super) filter: String,
    pub(super) qos: QoS,
    pub(super) identifier: Option<u32>,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) retain_handling: RetainHandling,
}

/// The user who sent a message; nobody, for what was retained before the subscription.
type Sender = Arc<str>;

/// Topics whose messages take turns with those of others: what they are about, whatever the prefix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Seals,
    Sessions,
    Metadata,
    Nodes,
    Others,
}

impl Class {
    fn of(topic: &str) -> Self {
        let mut levels = topic.rsplit('/');
        match (levels.next(), levels.next(), levels.next()) {
            (Some("seals" | "head"), Some(_), Some("streams")) => Self::Seals,
            (Some("session"), Some(_), Some("streams")) => Self::Sessions,
            (Some(_), Some("metadata"), _) => Self::Metadata,
            (Some(_), Some("nodes"), _) => Self::Nodes,
            _ => Self::Others,
        }
    }
}

/// A message for one connection.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) message: Message,
    pub(super) qos: QoS,
    /// Those of all filters that match: at most [`PATTERNS_MAX`] and one.
    pub(super) identifiers: Vec<u32>,
}

/// A limit of retained messages or of subscriptions is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QuotaExceeded;

/// Messages waiting for one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<FairQueue<Class, Sender, Delivery>>,
    ready: Notify,
}

impl Default for Outbox {
    fn default() -> Self {
        let bounds = Bounds { messages_max: QUEUE_MESSAGES_MAX, bytes_max: QUEUE_BYTES_MAX };
        Self { waiting: Mutex::new(FairQueue::new(bounds)), ready: Notify::default() }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, FairQueue<Class, Sender, Delivery>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, class: Class, sender: Sender, delivery: Delivery) {
        let bytes = delivery.message.payload.len();
        let dropped = self.lock().push(class, sender, delivery, bytes);
        if dropped > 0 {
            metrics::counter!("broker_dropped_total").increment(u64::try_from(dropped).unwrap_or(u64::MAX));
        }
        self.ready.notify_one();
    }

    /// The next message; cancelling loses nothing.
    pub(super) async fn next(&self) -> Delivery {
        loop {
            if let Some(delivery) = self.lock().pop() {
                return delivery;
            }
            self.ready.notified().await;
        }
    }
}

/// What a connection gets when it has logged in.
pub(super) struct Admission {
    pub(super) id: ConnectionId,
    pub(super) outbox: Arc<Outbox>,
    /// Cancelled when a newer connection has the same client id, and when the user is shut out.
    pub(super) replaced: CancellationToken,
}

/// The subscriptions of a connection. Nearly all filters name one topic, and a map finds these, so the cost of a message does not grow
/// with the number of streams.
#[derive(Default)]
struct Interests {
    /// By their filter, which is the topic.
    topics: HashMap<String, Interest>,
    /// Those with a wildcard.
    patterns: Vec<Interest>,
}

impl Interests {
    fn len(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }

    fn contains(&self, filter: &str) -> bool {
        self.topics.contains_key(filter) || self.patterns.iter().any(|known| known.filter == filter)
    }

    /// Adds one; it replaces the one with the same filter.
    fn insert(&mut self, interest: Interest) {
        self.remove(&interest.filter);
        if interest.filter.contains(['+', '#']) {
            self.patterns.push(interest);
        } else {
            self.topics.insert(interest.filter.clone(), interest);
        }
    }

    /// Returns whether there was one.
    fn remove(&mut self, filter: &str) -> bool {
        let before = self.len();
        self.topics.remove(filter);
        self.patterns.retain(|known| known.filter != filter);
        self.len() < before
    }

    fn matching(&self, topic: &str) -> impl Iterator<Item = &Interest> {
        let matches = |interest: &&Interest| mqtt5_protocol::topic_matches_filter(topic, &interest.filter);
        self.topics.get(topic).into_iter().chain(self.patterns.iter()).filter(matches)
    }
}

struct Connection {
    client: String,
    sender: Sender,
    interests: Interests,
    outbox: Arc<Outbox>,
    replaced: CancellationToken,
    /// Published unless the connection ends with DISCONNECT; already checked against its user's access.
    will: Option<Message>,
}

#[derive(Default)]
struct State {
    last: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    retained: HashMap<String, Bytes>,
    retained_bytes: usize,
}

/// All connections and retained messages of the broker.
#[derive(Default)]
pub(super) struct Router {
    state: Mutex<State>,
}

impl Router {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection. An older one with the same client id ends, and its will is published before anything that the new one
    /// publishes (MQTT 5, 3.1.4-3).
    pub(super) fn enter(&self, client: &str, will: Option<Message>) -> Admission {
        let mut state = self.lock();
        let older = state.connections.iter().find(|(_, connection)| connection.client == client).map(|(id, _)| *id);
        if let Some(older) = older {
            state.leave(older, Leave::Vanished);
        }
        state.last += 1;
        let id = ConnectionId(state.last);
        let outbox = Arc::new(Outbox::default());
        let replaced = CancellationToken::new();
        let connection = Connection {
            client: client.to_owned(),
            sender: client.split('/').next().unwrap_or_default().into(),
            interests: Interests::default(),
            outbox: Arc::clone(&outbox),
            replaced: replaced.clone(),
            will,
        };
        state.connections.insert(id, connection);
        Admission { id, outbox, replaced }
    }

    /// Ends a connection; does nothing when a newer connection has already replaced it.
    pub(super) fn leave(&self, id: ConnectionId, leave: Leave) {
        self.lock().leave(id, leave);
    }

    /// Ends the connections of users that are shut out; returns how many. Their wills are published, as those of nodes that vanish.
    pub(super) fn cut(&self, is_shut_out: impl Fn(&str) -> bool) -> usize {
        let mut state = self.lock();
        // A client's name begins with that of its user.
        let user = |connection: &Connection| connection.client.split('/').next().unwrap_or_default().to_owned();
        let cut = state.connections.iter().filter(|(_, connection)| is_shut_out(&user(connection)));
        let cut: Vec<ConnectionId> = cut.map(|(id, _)| *id).collect();
        cut.iter().for_each(|id| state.leave(*id, Leave::Vanished));
        cut.len()
    }

    /// Hands a message to every matching subscription, and keeps it when it is retained.
    pub(super) fn publish(&self, from: ConnectionId, message: &Message, qos: QoS) -> Result<(), QuotaExceeded> {
        let mut state = self.lock();
        state.keep(message)?;
        let Some(sender) = state.connections.get(&from).map(|connection| Arc::clone(&connection.sender)) else {
            return Ok(());
        };
        state.route((Some(from), &sender), message, qos);
        Ok(())
    }

    /// Adds or replaces a subscription, and delivers the retained messages it asks for.
    pub(super) fn subscribe(&self, id: ConnectionId, interest: Interest) -> Result<(), QuotaExceeded> {
        let mut state = self.lock();
        let State { connections, retained, .. } = &mut *state;
        // A newer connection has just replaced it: nobody is left to get an answer.
        let Some(connection) = connections.get_mut(&id) else { return Ok(()) };
        let is_known = connection.interests.contains(&interest.filter);
        let is_pattern = interest.filter.contains(['+', '#']);
        let is_full = connection.interests.len() >= SUBSCRIPTIONS_MAX
            || (is_pattern && connection.interests.patterns.len() >= PATTERNS_MAX);
        if !is_known && is_full {
            return Err(QuotaExceeded);
        }
        let send = match interest.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendAtSubscribeIfNew => !is_known,
            RetainHandling::DoNotSend => false,
        };
        if send {
            let kept = Sender::default();
            let matching = |topic: &str| mqtt5_protocol::topic_matches_filter(topic, &interest.filter);
            for (topic, payload) in retained.iter().filter(|(topic, _)| matching(topic)) {
                let message = Message { topic: topic.clone(), payload: payload.clone(), retain: true };
                connection.outbox.push(
                    Class::of(topic),
                    Arc::clone(&kept),
                    Delivery { message, qos: interest.qos, identifiers: interest.identifier.into_iter().collect() },
                );
            }
        }
        connection.interests.insert(interest);
        Ok(())
    }

    /// Returns whether there was such a subscription.
    pub(super) fn unsubscribe(&self, id: ConnectionId, filter: &str) -> bool {
        let mut state = self.lock();
        state.connections.get_mut(&id).is_some_and(|connection| connection.interests.remove(filter))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// With DISCONNECT, or because the broker stops: the last will is discarded.
    Properly,
    /// Without DISCONNECT: the last will is published.
    Vanished,
}

impl State {
    fn leave(&mut self, id: ConnectionId, leave: Leave) {
        let Some(connection) = self.connections.remove(&id) else { return };
        connection.replaced.cancel();
        if let (Some(will), Leave::Vanished) = (connection.will, leave) {
            // A will that does not fit among the retained messages still reaches the present subscribers.
            let _no_room = self.keep(&will);
            self.route((None, &connection.sender), &will, QoS::AtLeastOnce);
        }
    }

    fn keep(&mut self, message: &Message) -> Result<(), QuotaExceeded> {
        if !message.retain {
            return Ok(());
        }
        let old = self.retained.get(&message.topic).map_or(0, Bytes::len);
        let bytes = self.retained_bytes - old + message.payload.len();
        if message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else {
            let known = self.retained.contains_key(&message.topic);
            if bytes > RETAINED_BYTES_MAX || (!known && self.retained.len() >= RETAINED_MAX) {
                return Err(QuotaExceeded);
            }
            self.retained.insert(message.topic.clone(), message.payload.clone());
        }
        self.retained_bytes = bytes;
        Ok(())
    }

    /// Delivers once to each connection, however many of its filters match, with the identifiers of all and the highest QoS of any
    /// (MQTT 5, 3.3.4): so filters that overlap multiply neither the messages that wait nor the work.
    fn route(&self, (from, sender): (Option<ConnectionId>, &Sender), message: &Message, qos: QoS) {
        let class = Class::of(&message.topic);
        for (id, connection) in &self.connections {
            let is_own = from == Some(*id);
            let mut delivery: Option<Delivery> = None;
            for interest in
                connection.interests.matching(&message.topic).filter(|interest| !(is_own && interest.no_local))
            {
                let delivery = delivery.get_or_insert_with(|| {
                    let message = Message { retain: false, ..message.clone() };
                    Delivery { message, qos: QoS::AtMostOnce, identifiers: Vec::new() }
                });
                delivery.message.retain |= message.retain && interest.retain_as_published;
                if interest.qos != QoS::AtMostOnce {
                    delivery.qos = qos;
                }
                delivery.identifiers.extend(interest.identifier);
            }
            if let Some(delivery) = delivery {
                connection.outbox.push(class, Arc::clone(sender), delivery);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(filter: &str) -> Interest {
        Interest {
            filter: filter.into(),
            qos: QoS::AtLeastOnce,
            identifier: Some(7),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    fn retained(topic: &str, payload: impl Into<Vec<u8>>) -> Message {
        Message { topic: topic.into(), payload: payload.into().into(), retain: true }
    }

    fn taken(outbox: &Outbox) -> Vec<(String, Bytes, bool)> {
        let mut waiting = outbox.lock();
        let deliveries = std::iter::from_fn(|| waiting.pop());
        deliveries.map(|d| (d.message.topic, d.message.payload, d.message.retain)).collect()
    }

    #[test]
    fn a_full_outbox_drops_the_oldest() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        router.subscribe(reader.id, interest("a")).unwrap();
        let writer = router.enter("writer", None);
        for number in 0..QUEUE_MESSAGES_MAX + 2 {
            let message = Message { retain: false, ..retained("a", number.to_string()) };
            router.publish(writer.id, &message, QoS::AtLeastOnce).unwrap();
        }
        let taken = taken(&reader.outbox);
        assert_eq!(taken.len(), QUEUE_MESSAGES_MAX);
        assert_eq!(taken.first().unwrap().1, "2");
    }

    #[test]
    fn topics_are_of_a_class_whatever_the_prefix_is() {
        for (topic, class) in [
            ("sealcast/v1/streams/demo/seals", Class::Seals),
            ("x/streams/demo/head", Class::Seals),
            ("x/streams/demo/session", Class::Sessions),
            ("x/metadata/head", Class::Metadata),
            ("x/nodes/b1", Class::Nodes),
            ("x/policy", Class::Others),
        ] {
            assert_eq!(Class::of(topic), class, "{topic}");
        }
    }

    #[test]
    fn retained_messages_are_bounded_replaced_and_forgotten() {
        let router = Router::default();
        let writer = router.enter("writer", None).id;
        let large = vec![0; RETAINED_BYTES_MAX / 2];
        router.publish(writer, &retained("a", large.clone()), QoS::AtLeastOnce).unwrap();
        router.publish(writer, &retained("b", large), QoS::AtLeastOnce).unwrap();
        assert_eq!(router.publish(writer, &retained("c", "x"), QoS::AtLeastOnce), Err(QuotaExceeded));
        router.publish(writer, &retained("a", ""), QoS::AtLeastOnce).unwrap();
        router.publish(writer, &retained("b", "new"), QoS::AtLeastOnce).unwrap();
        let reader = router.enter("reader", None);
        router.subscribe(reader.id, interest("#")).unwrap();
        assert_eq!(taken(&reader.outbox), [("b".to_owned(), Bytes::from("new"), true)]);
        for number in 0..RETAINED_MAX - 1 {
            router.publish(writer, &retained(&format!("n/{number}"), "x"), QoS::AtLeastOnce).unwrap();
        }
        assert_eq!(router.publish(writer, &retained("n/more", "x"), QoS::AtLeastOnce), Err(QuotaExceeded));
    }

    #[test]
    fn the_will_of_a_replaced_connection_comes_before_what_the_new_one_says() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        router.subscribe(reader.id, interest("nodes/+")).unwrap();
        let old = router.enter("node", Some(retained("nodes/n", "offline")));
        let new = router.enter("node", Some(retained("nodes/n", "offline")));
        assert!(old.replaced.is_cancelled());
        router.publish(new.id, &retained("nodes/n", "online"), QoS::AtLeastOnce).unwrap();
        router.leave(old.id, Leave::Vanished);
        let payloads: Vec<Bytes> = taken(&reader.outbox).into_iter().map(|(_, payload, _)| payload).collect();
        assert_eq!(payloads, ["offline", "online"]);
        router.leave(new.id, Leave::Properly);
        assert!(taken(&reader.outbox).is_empty());
    }

    #[test]
    fn message_comes_once_with_all_filters_that_it_matches_and_a_filter_is_there_once() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        for (number, filter) in (1..).zip(["a/b", "a/+", "#", "a", "a/b/c", "+/c", "a/b", "a/+"]) {
            router.subscribe(reader.id, Interest { identifier: Some(number), ..interest(filter) }).unwrap();
        }
        let writer = router.enter("writer", None);
        let message = Message { retain: false, ..retained("a/b", "x") };
        let identifiers = || {
            router.publish(writer.id, &message, QoS::AtLeastOnce).unwrap();
            let mut waiting = reader.outbox.lock();
            let mut delivered: Vec<Vec<u32>> = std::iter::from_fn(|| waiting.pop()).map(|d| d.identifiers).collect();
            delivered.iter_mut().for_each(|identifiers| identifiers.sort_unstable());
            delivered
        };
        assert_eq!(identifiers(), [[3, 7, 8]], "the newest of each filter");
        assert!(router.unsubscribe(reader.id, "a/b") && router.unsubscribe(reader.id, "#"));
        assert_eq!(identifiers(), [[8]]);
    }

    #[test]
    fn message_of_many_filters_has_the_highest_qos_of_any_and_is_retained_where_one_wants_that() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        let of = |filter: &str, qos, retain_as_published| Interest {
            qos,
            retain_as_published,
            identifier: None,
            no_local: true,
            ..interest(filter)
        };
        router.subscribe(reader.id, of("a/+", QoS::AtMostOnce, true)).unwrap();
        let writer = router.enter("writer", None);
        let published = |from: ConnectionId, qos| {
            router.publish(from, &retained("a/b", "x"), qos).unwrap();
            let mut waiting = reader.outbox.lock();
            std::iter::from_fn(|| waiting.pop()).map(|d| (d.qos, d.message.retain)).collect::<Vec<_>>()
        };
        assert_eq!(published(writer.id, QoS::AtLeastOnce), [(QoS::AtMostOnce, true)]);
        router.subscribe(reader.id, of("a/b", QoS::AtLeastOnce, false)).unwrap();
        assert_eq!(published(writer.id, QoS::AtLeastOnce).last(), Some(&(QoS::AtLeastOnce, true)));
        assert_eq!(published(writer.id, QoS::AtMostOnce), [(QoS::AtMostOnce, true)]);
        assert_eq!(published(reader.id, QoS::AtLeastOnce), [], "neither wants its own");
    }

    #[test]
    fn subscriptions_are_bounded() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        for number in 0..SUBSCRIPTIONS_MAX {
            router.subscribe(reader.id, interest(&number.to_string())).unwrap();
        }
        assert_eq!(router.subscribe(reader.id, interest("more")), Err(QuotaExceeded));
        router.subscribe(reader.id, interest("0")).unwrap();
        assert!(router.unsubscribe(reader.id, "0") && !router.unsubscribe(reader.id, "0"));
        router.subscribe(reader.id, interest("more")).unwrap();
    }

    #[test]
    fn filters_with_a_wildcard_are_fewer() {
        let router = Router::default();
        let reader = router.enter("reader", None);
        for number in 0..PATTERNS_MAX {
            router.subscribe(reader.id, interest(&format!("{number}/#"))).unwrap();
        }
        assert_eq!(router.subscribe(reader.id, interest("more/+")), Err(QuotaExceeded));
        router.subscribe(reader.id, interest("0/#")).unwrap();
        router.subscribe(reader.id, interest("a topic")).unwrap();
    }
}
