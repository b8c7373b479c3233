//! The test cases; each takes the kind of broker.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{BusError, PAYLOAD_BYTES_MAX, PUBLISH_WAIT_MAX, SUBSCRIPTION_MESSAGES_MAX};
use messages::Prefix;
use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::{QoS, WillMessage};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::brokers::{Kind, Node, TestBroker, config, free_port, message, next, password, within};
use crate::raw::{Proxy, RawClient};

fn is(rest: &str, payload: &str, retain: bool) -> (String, String, bool) {
    (rest.to_owned(), payload.to_owned(), retain)
}

pub(crate) async fn a_retained_message_reaches_a_late_subscriber(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let ingest = broker.node("i1").await;
    ingest.retain("streams/demo/head", "old").await;
    ingest.retain("streams/demo/head", "new").await;
    ingest.publish("streams/demo/seals", "gone").await;
    ingest.retain("streams/other/head", "other").await;
    let mut both: BTreeSet<_> = [is("streams/demo/head", "new", true), is("streams/other/head", "other", true)].into();
    // The publisher's last message is back, so the broker has them all.
    let mut echo = ingest.subscribe("streams/other/head").await;
    next(&mut echo).await;
    let node = broker.node("b1").await;
    let mut late = node.subscribe("streams/+/head").await;
    while !both.is_empty() {
        let message = next(&mut late).await;
        assert!(both.remove(&message), "{message:?}");
    }
}

pub(crate) async fn a_node_that_vanishes_is_announced_by_its_last_will(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let watcher = broker.node("c1").await;
    let mut presence = watcher.subscribe_surely("nodes/+", &watcher, "nodes/c1").await;
    let (_dir, config) = config("b1", &password("b1"), &[broker.url()], None);
    let will = message("nodes/b1", "offline", true);
    // A runtime of its own: its end closes the sockets without DISCONNECT, as a kill would.
    let runtime = Runtime::new().unwrap();
    let node = runtime.spawn(async move {
        let bus = bus::connect(&config, "b1", Some(will), None, CancellationToken::new()).await.unwrap();
        bus.connected().wait_for(|connected| *connected == 1).await.unwrap();
        bus.publish(message("nodes/b1", "online", true)).await.unwrap();
        bus
    });
    let _bus = within("the node is up", node).await.unwrap();
    assert_eq!(next(&mut presence).await, is("nodes/b1", "online", false));
    runtime.shutdown_background();
    assert_eq!(next(&mut presence).await, is("nodes/b1", "offline", false));
    let other = broker.node("b2").await;
    let mut late = other.subscribe("nodes/b1").await;
    assert_eq!(next(&mut late).await, is("nodes/b1", "offline", true));
}

pub(crate) async fn a_node_that_takes_leave_has_no_last_will(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let watcher = broker.node("c1").await;
    let mut presence = watcher.subscribe_surely("nodes/+", &watcher, "nodes/c1").await;
    // Several rounds: whether the broker reads DISCONNECT depends on what else is on its way when the connection closes.
    for round in 0..20 {
        let will = message("nodes/b1", "vanished", true);
        let node = Node::start("b1", &password("b1"), &[broker.url()], None, Some(will)).await;
        node.await_connected(1).await;
        // What is published right before the end is still sent.
        node.retain("nodes/b1", format!("leaving {round}")).await;
        node.shutdown.cancel();
        node.await_connected(0).await;
        assert_eq!(node.bus.publish(message("nodes/b1", "", false)).await, Err(BusError::Closed));
        assert_eq!(next(&mut presence).await, is("nodes/b1", &format!("leaving {round}"), false));
        watcher.publish("nodes/c1", "after").await;
        assert_eq!(next(&mut presence).await, is("nodes/c1", "after", false));
    }
}

pub(crate) async fn messages_arrive_once_and_in_order(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let mut seals = node.subscribe_surely("streams/+/seals", &ingest, "streams/demo/seals").await;
    for number in 0..1000 {
        ingest.publish("streams/demo/seals", number.to_string()).await;
    }
    for number in 0..1000 {
        assert_eq!(next(&mut seals).await, is("streams/demo/seals", &number.to_string(), false));
    }
}

pub(crate) async fn a_second_reader_of_a_filter_gets_the_retained_messages_too(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (control, node) = (broker.node("c1").await, broker.node("b1").await);
    control.retain("policy", "1").await;
    let mut first = node.subscribe("policy").await;
    assert_eq!(next(&mut first).await.1, "1");
    let mut second = node.subscribe("policy").await;
    assert_eq!(next(&mut second).await.1, "1");
    drop(first);
    control.retain("policy", "2").await;
    while next(&mut second).await.1 != "2" {}
}

pub(crate) async fn subscriptions_survive_a_killed_broker(kind: Kind) {
    let mut broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let mut seals = node.subscribe_surely("streams/+/seals", &ingest, "streams/demo/seals").await;
    for round in 0..3 {
        broker.kill().await;
        ingest.await_connected(0).await;
        node.await_connected(0).await;
        broker.start_again().await;
        ingest.await_connected(1).await;
        node.await_connected(1).await;
        // When the probe is back, the node has subscribed again, and gets what is published from then on.
        let probe = node.subscribe_surely("streams/probe/seals", &ingest, "streams/probe/seals").await;
        drop(probe);
        ingest.publish("streams/demo/seals", round.to_string()).await;
        while next(&mut seals).await != is("streams/demo/seals", &round.to_string(), false) {}
    }
}

pub(crate) async fn an_empty_broker_is_filled_again_by_its_publishers(kind: Kind) {
    let mut broker = TestBroker::start(kind).await;
    let (ingest, control) = (broker.node("i1").await, broker.node("c1").await);
    ingest.retain("streams/demo/head", "1").await;
    control.retain("metadata/head", "newest").await;
    control.retain("metadata/other", "withdrawn").await;
    control.retain("metadata/other", "").await;
    broker.kill().await;
    ingest.await_connected(0).await;
    // No broker takes the message, but the bus remembers it.
    let lost = ingest.bus.publish(message("streams/demo/head", "2", true)).await;
    assert!(matches!(lost, Err(BusError::Unreachable { .. })), "{lost:?}");
    broker.replace().await;
    let node = broker.node("b1").await;
    let (mut heads, mut log) = (node.subscribe("streams/+/head").await, node.subscribe("metadata/+").await);
    assert_eq!(next(&mut heads).await.1, "2");
    assert_eq!(next(&mut log).await.1, "newest");
}

pub(crate) async fn a_reader_that_does_not_read_holds_up_nobody(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let idle = node.subscribe("streams/+/seals").await;
    let mut seals = node.subscribe_surely("streams/demo/seals", &ingest, "streams/demo/seals").await;
    let count = SUBSCRIPTION_MESSAGES_MAX + 200;
    for number in 0..count {
        within("publishing goes on", ingest.publish("streams/demo/seals", number.to_string())).await;
        assert_eq!(next(&mut seals).await.1, number.to_string());
    }
    assert!(idle.dropped() >= 200, "{}", idle.dropped());
    assert_eq!(seals.dropped(), 0);
}

/// A connection whose other end reads nothing at all (a stopped process, a dead machine): the broker has to give up the connection.
pub(crate) async fn a_stalled_connection_holds_up_nobody(kind: Kind) {
    const TOTAL_BYTES: usize = 96 * 1024 * 1024;
    const PAYLOAD_BYTES: usize = 32 * 1024;
    /// A viewer has more than this in its buffer.
    const HOLD_UP_MAX: Duration = Duration::from_millis(500);
    let broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let mut seals = node.subscribe_surely("streams/demo/seals", &ingest, "streams/demo/seals").await;
    let (mut stalled, code) = RawClient::connect(broker.address(), Some(("eye", &password("eye"))), None).await;
    assert_eq!(code, 0);
    stalled.subscribe(&Prefix::default().filter("#")).await;
    let payload = vec![b'x'; PAYLOAD_BYTES];
    for number in 0..TOTAL_BYTES / PAYLOAD_BYTES {
        ingest.publish("streams/demo/seals", payload.clone()).await;
        let arrived = tokio::time::timeout(HOLD_UP_MAX, next(&mut seals)).await;
        assert!(arrived.is_ok(), "message {number} was held up by a stalled connection");
    }
    drop(stalled);
}

pub(crate) async fn a_wrong_password_is_refused(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    for (user, pass) in [("b1", "wrong"), ("b1", ""), ("nobody", "x"), ("b1", &password("b2")), ("", "")] {
        let (client, code) = RawClient::connect(broker.address(), Some((user, pass)), None).await;
        assert!(code >= 0x80, "{user:?} with {pass:?}: {code:#x}");
        client.await_end().await;
    }
    let node = Node::start("b1", "wrong", &[broker.url()], None, None).await;
    let refused = node.bus.publish(message("alerts", "x", false)).await;
    assert!(matches!(refused, Err(BusError::Unreachable { .. })), "{refused:?}");
    assert_eq!(*node.bus.connected().borrow(), 0);
}

pub(crate) async fn strangers_are_refused(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (client, code) = RawClient::connect(broker.address(), None, None).await;
    assert!(code >= 0x80, "{code:#x}");
    client.await_end().await;
}

pub(crate) async fn a_broadcast_node_may_not_seal_grant_or_speak_for_another(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (node, watcher) = (broker.node("b1").await, broker.node("eye").await);
    let mut all = watcher.subscribe_surely("#", &node, "alerts").await;
    for rest in
        ["streams/demo/seals", "streams/demo/head", "streams/demo/session", "metadata/log", "metadata/head", "nodes/b2"]
    {
        node.retain(rest, "forged").await;
    }
    for rest in ["policy", "catalogue/update", "catalogue/b2", "nodes/b1/more", "other"] {
        node.retain(rest, "forged").await;
    }
    node.bus.publish(bus::Message { topic: "elsewhere".into(), ..message("", "forged", true) }).await.unwrap();
    for rest in ["nodes/b1", "alerts"] {
        node.publish(rest, "own").await;
        // Messages keep their order, so no forged one came before.
        assert_eq!(next(&mut all).await, is(rest, "own", false));
    }
    let mut late = watcher.subscribe("streams/#").await;
    let ingest = broker.node("i1").await;
    ingest.retain("streams/demo/head", "true").await;
    assert_eq!(next(&mut late).await.1, "true");
    // An observer may publish nothing.
    watcher.publish("alerts", "forged").await;
    node.publish("alerts", "own").await;
    while next(&mut all).await != is("alerts", "own", false) {}
}

pub(crate) async fn a_refused_last_will_is_not_published(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let watcher = broker.node("c1").await;
    let mut all = watcher.subscribe_surely("#", &watcher, "alerts").await;
    let prefix = Prefix::default();
    let forged = WillMessage::new(prefix.filter("nodes/b2"), "forged").with_qos(QoS::AtLeastOnce).with_retain(true);
    let (client, _) = RawClient::connect(broker.address(), Some(("b1", &password("b1"))), Some(forged)).await;
    drop(client);
    let own = WillMessage::new(prefix.filter("nodes/b1"), "own").with_qos(QoS::AtLeastOnce).with_retain(true);
    let (client, code) = RawClient::connect(broker.address(), Some(("b1", &password("b1"))), Some(own)).await;
    assert_eq!(code, 0);
    drop(client);
    assert_eq!(next(&mut all).await, is("nodes/b1", "own", false));
}

pub(crate) async fn large_payloads_pass_and_too_large_ones_are_refused(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let mut heads = node.subscribe("streams/+/head").await;
    for bytes in [64 * 1024, PAYLOAD_BYTES_MAX] {
        ingest.retain("streams/demo/head", vec![b'a'; bytes]).await;
        assert_eq!(next(&mut heads).await.1.len(), bytes);
    }
    let refused = ingest.bus.publish(message("streams/demo/head", vec![0; PAYLOAD_BYTES_MAX + 1], true)).await;
    assert!(matches!(refused, Err(BusError::TooLarge { bytes, .. }) if bytes == PAYLOAD_BYTES_MAX + 1), "{refused:?}");
    for topic in ["", "a/+", "a/#", "a\0b"] {
        let refused = ingest.bus.publish(bus::Message { topic: topic.into(), ..message("", "", false) }).await;
        assert!(matches!(refused, Err(BusError::InvalidTopic(_))), "{topic:?}: {refused:?}");
    }
    for filter in ["", "a#", "#/a", "$SYS/#", "$share/g/a"] {
        let refused = ingest.bus.subscribe(filter).await.err();
        assert!(matches!(refused, Some(BusError::InvalidTopic(_))), "{filter:?}: {refused:?}");
    }
}

pub(crate) async fn an_oversized_packet_ends_only_its_own_connection(kind: Kind) {
    let broker = TestBroker::start(kind).await;
    let (ingest, node) = (broker.node("i1").await, broker.node("b1").await);
    let mut seals = node.subscribe_surely("streams/+/seals", &ingest, "streams/demo/seals").await;
    let (mut client, _) = RawClient::connect(broker.address(), Some(("i1", &password("i1"))), None).await;
    let topic = Prefix::default().filter("streams/demo/seals");
    let large = PublishPacket::new(topic, vec![0; PAYLOAD_BYTES_MAX * 4], QoS::AtLeastOnce).with_packet_id(1);
    let mut wire = bytes::BytesMut::new();
    large.encode(&mut wire).unwrap();
    // The broker may close before it has read everything.
    let _closed_early = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &wire).await;
    client.await_end().await;
    ingest.publish("streams/demo/seals", "next").await;
    assert_eq!(next(&mut seals).await.1, "next");
}

pub(crate) async fn two_brokers_at_once_lose_nothing_when_one_is_killed(kind: Kind) {
    const COUNT: usize = 3000;
    let mut first = TestBroker::start(kind).await;
    let second = TestBroker::start(kind).await;
    let urls = [first.url(), second.url()];
    let (ingest, node) = (Node::connect("i1", &urls).await, Node::connect("b1", &urls).await);
    // Each broker has the subscription once a message through it alone has come back.
    let mut seals = node.subscribe("streams/demo/seals").await;
    for broker in [&first, &second] {
        let alone = broker.node("i1").await;
        within("both brokers have the subscription", async {
            loop {
                alone.publish("streams/demo/seals", "probe-").await;
                if tokio::time::timeout(Duration::from_millis(200), seals.recv()).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }
    let reading = tokio::spawn(async move {
        let mut missing: BTreeSet<String> = (0..COUNT).map(|number| number.to_string()).collect();
        while !missing.is_empty() {
            missing.remove(&next(&mut seals).await.1);
        }
    });
    for number in 0..COUNT {
        if number == COUNT / 2 {
            first.kill().await;
        }
        ingest.publish("streams/demo/seals", number.to_string()).await;
    }
    reading.await.unwrap();
    node.await_connected(1).await;
    first.start_again().await;
    node.await_connected(2).await;
}

pub(crate) async fn a_hundred_dropped_connections_are_all_made_again(kind: Kind) {
    const DROPS: usize = 100;
    let broker = TestBroker::start(kind).await;
    let proxy = Proxy::start(broker.address()).await;
    let node = Node::connect("b1", &[format!("mqtt://{}", proxy.address)]).await;
    let mut own = node.subscribe("nodes/b1").await;
    for _ in 0..DROPS {
        node.await_connected(1).await;
        // A message is on its way when the connection breaks.
        let mut connected = node.bus.connected();
        connected.mark_unchanged();
        let sent = node.bus.publish(message("nodes/b1", "lost?", true)).await;
        proxy.cut();
        sent.unwrap();
        within("the broken connection is noticed", connected.changed()).await.unwrap();
    }
    node.await_connected(1).await;
    node.retain("nodes/b1", "still here").await;
    while next(&mut own).await.1 != "still here" {}
    let accepted = proxy.accepted();
    assert!((DROPS..DROPS * 3).contains(&accepted), "{accepted} connections for {DROPS} drops");
}

pub(crate) async fn without_a_broker_publishing_fails_in_time_and_recovers(kind: Kind) {
    let mut broker = TestBroker::start(kind).await;
    broker.kill().await;
    let urls = [broker.url(), format!("mqtt://127.0.0.1:{}", free_port())];
    let node = Node::start("b1", &password("b1"), &urls, None, None).await;
    let mut own = node.subscribe("nodes/b1").await;
    let failed = tokio::time::timeout(PUBLISH_WAIT_MAX * 2, node.bus.publish(message("nodes/b1", "kept", true))).await;
    assert!(matches!(failed, Ok(Err(BusError::Unreachable { .. }))), "{failed:?}");
    broker.start_again().await;
    node.await_connected(1).await;
    assert_eq!(next(&mut own).await.1, "kept");
    node.publish("nodes/b1", "and on").await;
    while next(&mut own).await.1 != "and on" {}
}

pub(crate) async fn a_node_hears_each_of_as_many_streams_as_it_can_hold(kind: Kind) {
    /// Streams that a gate holds at once.
    const STREAMS: usize = 128;
    let broker = TestBroker::start(kind).await;
    let (node, ingest) = (broker.node("b1").await, broker.node("i1").await);
    let mut own = Vec::new();
    for filter in ["metadata/#", "nodes/+", "policy", "streams/+/session"] {
        own.push(node.subscribe(filter).await);
    }
    let mut streams = Vec::new();
    for topic in (0..STREAMS).flat_map(|n| [format!("streams/s{n}/head"), format!("streams/s{n}/seals")]) {
        streams.push((node.subscribe(&topic).await, topic));
    }
    for (_, topic) in &streams {
        // Retained, so that it does not matter whether the subscription or the message comes first.
        ingest.retain(topic, topic.clone()).await;
    }
    for (subscription, topic) in &mut streams {
        let (heard, payload, _) = next(subscription).await;
        assert_eq!((heard.as_str(), payload.as_str()), (topic.as_str(), topic.as_str()));
    }
}
