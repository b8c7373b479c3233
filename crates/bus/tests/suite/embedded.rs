//! Properties that only the embedded broker promises.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::broker::{Access, CONNECTIONS_MAX, Config, EmbeddedBroker, QUEUE_MESSAGES_MAX, Rules, Streamer, User};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::brokers::{Kind, Node, TestBroker, find, message, next, password, users, within};
use crate::raw::RawClient;

fn config() -> Config {
    Config { listen: (Ipv4Addr::LOCALHOST, 0).into(), users: users(), ..Config::default() }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = EmbeddedBroker::load(config()).await.unwrap();
    let taken = first.address();
    let error = EmbeddedBroker::load(Config { listen: taken, ..config() }).await.err().unwrap();
    assert!(error.to_string().contains(&taken.to_string()), "{error:#}");
}

#[tokio::test]
async fn bad_users_are_refused_before_binding() {
    let user =
        |name: &str, password: &str| User { name: name.into(), password: password.into(), access: Access::Broadcast };
    for users in [vec![user("b1", "")], vec![user("a/b", "x")], vec![user("+", "x")], vec![user("b1", "x"); 2]] {
        assert!(EmbeddedBroker::load(Config { users, ..config() }).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_within_a_second_under_connected_nodes_and_silent_strangers() {
    let broker = EmbeddedBroker::load(config()).await.unwrap();
    let address = broker.address();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(broker.run(shutdown.clone()));
    let url = [format!("mqtt://{address}")];
    let _nodes = [Node::connect("b1", &url).await, Node::connect("i1", &url).await];
    let _silent = TcpStream::connect(address).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(1), serving).await.expect("stops in time").unwrap().unwrap();
    // Its port is free again.
    EmbeddedBroker::load(Config { listen: address, ..config() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_harms_nobody() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let node = broker.node("b1").await;
    let mut own = node.subscribe("nodes/b1").await;
    let mut state = 7_u64;
    for length in 1..200_usize {
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect();
        let mut stream = TcpStream::connect(broker.address()).await.unwrap();
        // Half of them begin like a CONNECT.
        let head: &[u8] = if length % 2 == 0 { b"\x10\x7f\x00\x04MQTT\x05" } else { b"" };
        let _closed_early = stream.write_all(&[head, &garbage].concat()).await;
    }
    node.publish("nodes/b1", "alive").await;
    assert_eq!(next(&mut own).await.1, "alive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_freed() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let node = broker.node("b1").await;
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS_MAX * 2 {
        strangers.push(TcpStream::connect(broker.address()).await.unwrap());
    }
    // The oldest have lost their places at once, not only when the time to log in is over.
    let first = strangers.first_mut().unwrap();
    let turned_away = tokio::time::timeout(Duration::from_secs(2), first.read_u8()).await;
    assert!(matches!(turned_away, Ok(Err(_))), "{turned_away:?}");
    // And a node gets in while the others are still there.
    within("a node gets in beside strangers", broker.node("b2")).await;
    let mut own = node.subscribe("nodes/b1").await;
    node.publish("nodes/b1", "alive").await;
    assert_eq!(next(&mut own).await.1, "alive");
    drop(strangers);
    // There is room for a node again.
    within("a node gets in", broker.node("i1")).await;
}

/// A host without a password takes every place again as soon as it loses it; a node on another host gets in all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_come_back_at_once_keep_no_node_out() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let address = broker.address();
    let connected = Arc::new(AtomicUsize::new(0));
    let stranger = |connected: Arc<AtomicUsize>| async move {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::new(127, 0, 0, 9), 0).into()).unwrap();
            if let Ok(mut stream) = socket.connect(address).await {
                connected.fetch_add(1, Ordering::Relaxed);
                let _closed = stream.read_u8().await;
            }
        }
    };
    let flood: Vec<_> = (0..2 * CONNECTIONS_MAX).map(|_| tokio::spawn(stranger(connected.clone()))).collect();
    while connected.load(Ordering::Relaxed) < 4 * CONNECTIONS_MAX {
        tokio::task::yield_now().await;
    }
    for name in ["b1", "i1", "l1"] {
        within("a node gets in", broker.node(name)).await;
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_overlap_multiply_no_messages() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let node = broker.node("b1").await;
    let (mut eye, code) = RawClient::connect(broker.address(), Some(("eye", &password("eye"))), None).await;
    assert_eq!(code, 0);
    for filter in ["#", "sealcast/#", "sealcast/v1/#", "+/v1/nodes/+", "+/+/nodes/b1", "sealcast/v1/nodes/b1"] {
        eye.subscribe(filter).await;
    }
    for n in 0..20 {
        node.publish("nodes/b1", format!("message {n}.")).await;
    }
    node.publish("nodes/b1", "the last one").await;
    let all = within("all messages arrive", eye.take_until(b"the last one")).await;
    for n in 0..20 {
        let message = format!("message {n}.");
        let times = all.windows(message.len()).filter(|window| *window == message.as_bytes()).count();
        assert_eq!(times, 1, "{message}");
    }
}

/// A person watches the bus with this: it speaks MQTT 3.1.1 by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_reads_it_in_both_versions() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let control = broker.node("c1").await;
    control.retain("policy", "{}").await;
    for version in ["mqttv311", "mqttv5"] {
        let port = broker.address().port().to_string();
        let password = password("eye");
        let arguments = ["-V", version, "-p", &port, "-u", "eye", "-P", &password, "-q", "1"];
        let look = Command::new(find("mosquitto_sub"))
            .args(arguments)
            .args(["-t", "sealcast/#", "-C", "1", "-v", "-W", "20"])
            .kill_on_drop(true)
            .output();
        let output = within("mosquitto_sub ends", look).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "sealcast/v1/policy {}\n", "{version}: {output:?}");
        let say = Command::new(find("mosquitto_pub"))
            .args(arguments)
            .args(["-t", "sealcast/v1/policy", "-m", "forged", "-r"])
            .kill_on_drop(true)
            .output();
        within("mosquitto_pub ends", say).await.unwrap();
    }
    let mut policy = control.subscribe("policy").await;
    assert_eq!(next(&mut policy).await.1, "{}");
}

/// A broker that serves, and what may be changed while it does.
async fn ruled() -> ([String; 1], Rules, CancellationToken) {
    let broker = EmbeddedBroker::load(config()).await.unwrap();
    let (url, rules, shutdown) = ([format!("mqtt://{}", broker.address())], broker.rules(), CancellationToken::new());
    tokio::spawn(broker.run(shutdown.clone()));
    (url, rules, shutdown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_node_is_cut_off_and_let_in_no_more() {
    let (url, rules, shutdown) = ruled().await;
    let (stolen, other) = (Node::connect("b1", &url).await, Node::connect("b2", &url).await);
    let mut heard = other.subscribe_surely("nodes/+", &other, "nodes/b2").await;
    rules.set_revoked(&[media::NodeId::new("b1").unwrap()].into());
    stolen.await_connected(0).await;
    // Its bus tries again and again, and is refused; what it says reaches nobody.
    stolen.bus.publish(message("nodes/b1", "still here", false)).await.unwrap_err();
    let again = Node::start("b1", &password("b1"), &url, None, None).await;
    again.bus.publish(message("nodes/b1", "still here", false)).await.unwrap_err();
    other.publish("nodes/b2", "alone").await;
    while next(&mut heard).await.1 != "alone" {}
    shutdown.cancel();
}

/// A stolen streamer's ingest tries to announce, seal and read another stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamer_says_and_hears_what_concerns_its_streams_and_nothing_else() {
    let (url, rules, shutdown) = ruled().await;
    let streams = vec![media::StreamId::new("choir").unwrap()];
    let anna = Streamer { name: "anna".to_owned(), password: password("anna"), streams };
    rules.set_streamers(&[anna]);
    let (thief, ingest) = (Node::connect("anna", &url).await, Node::connect("i1", &url).await);
    let watcher = Node::connect("eye", &url).await;
    let mut all = watcher.subscribe_surely("#", &thief, "nodes/anna").await;
    for rest in
        ["streams/hall/seals", "streams/hall/head", "streams/hall/session", "streams/hall/input", "alerts", "policy"]
    {
        thief.retain(rest, "forged").await;
    }
    for rest in ["streams/choir/seals", "streams/choir/session"] {
        thief.publish(rest, "genuine").await;
        assert_eq!(next(&mut all).await, (rest.to_owned(), "genuine".to_owned(), false));
    }
    // It may ask for its own streams, and gets nothing of others.
    let mut own = thief.subscribe_surely("streams/choir/+", &ingest, "streams/choir/seals").await;
    let mut others = Vec::new();
    for rest in ["streams/+/seals", "#", "streams/hall/seals", "alerts"] {
        others.push(thief.subscribe(rest).await);
    }
    ingest.publish("streams/hall/seals", "of the hall").await;
    ingest.publish("alerts", "of the hall").await;
    for _ in 0..2 {
        ingest.publish("streams/choir/seals", "of the choir").await;
        assert_eq!(next(&mut own).await.1, "of the choir");
    }
    for other in &mut others {
        assert!(other.recv().now_or_never().is_none());
    }
    // Removed, it is cut off.
    rules.set_streamers(&[]);
    thief.await_connected(0).await;
    shutdown.cancel();
}

/// A stolen node says its presence as fast as it can, to a node that takes its messages slowly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_presences_costs_no_seal() {
    let broker = TestBroker::start(Kind::Embedded).await;
    let (mut reader, reason) = RawClient::connect(broker.address(), Some(("b1", &password("b1"))), None).await;
    assert_eq!(reason, 0);
    reader.subscribe("sealcast/v1/#").await;
    let (ingest, thief) = (broker.node("i1").await, broker.node("b2").await);
    // The reader acknowledges nothing, so all but a window of 64 messages waits at the broker.
    for number in 0..10 {
        ingest.publish("streams/demo/seals", format!("seal {number}.")).await;
    }
    let beyond = QUEUE_MESSAGES_MAX + 1_000;
    for number in 0..beyond {
        thief.publish("nodes/b2", format!("presence {number}.")).await;
    }
    thief.publish("nodes/b2", "the last.").await;
    for number in 10..20 {
        ingest.publish("streams/demo/seals", format!("seal {number}.")).await;
    }
    let heard = within("the seals arrive", reader.take_until(b"seal 19.")).await;
    let text = String::from_utf8_lossy(&heard);
    for number in 0..20 {
        assert!(text.contains(&format!("seal {number}.")), "seal {number} was dropped");
    }
    let presences = text.matches("presence ").count();
    assert!(presences < 200, "the seals came behind {presences} presences");
}
