//! A broker in an attacker's hand: a proxy in front of a real one, which has the broker's certificate and reads what passes. Once it is
//! hostile it withholds, repeats, holds back, damages and invents what nodes receive. It cannot sign anything.
//!
//! It speaks as much of MQTT 5 as it needs: the frames of packets, and PUBLISH (3.3).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Longest packet that it reads.
const PACKET_BYTES_MAX: usize = 512 * 1024;
/// Messages that it remembers to repeat and to change: minutes of a small cluster.
const REMEMBERED: usize = 4_096;
/// Packets to one node that wait for the socket.
const QUEUE: usize = 1_024;
/// How long it holds a message back, in milliseconds.
const HELD_MS: std::ops::Range<u64> = 50..3_000;
/// How often it invents a message for each node, in milliseconds.
const INVENTED_EVERY_MS: std::ops::Range<u64> = 20..250;

const PUBLISH: u8 = 3;
const PUBACK: [u8; 2] = [0x40, 2];
const RETAIN: u8 = 1;

/// What it did, counted.
#[derive(Debug, Default)]
pub struct Deeds {
    pub passed: AtomicU64,
    pub withheld: AtomicU64,
    pub repeated: AtomicU64,
    pub held_back: AtomicU64,
    pub damaged: AtomicU64,
    pub invented: AtomicU64,
}

/// The proxy, which ends when this is dropped.
pub struct HostileBroker {
    pub address: SocketAddr,
    pub deeds: Arc<Deeds>,
    is_hostile: watch::Sender<bool>,
    accept: JoinHandle<()>,
}

/// What the connections share.
struct Shared {
    target: SocketAddr,
    tls: TlsAcceptor,
    is_hostile: watch::Receiver<bool>,
    deeds: Arc<Deeds>,
    seen: Mutex<Vec<Message>>,
}

/// A message as it may be sent again, to any node.
#[derive(Debug, Clone)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

impl HostileBroker {
    /// A proxy of a broker that listens without TLS at `target`. `files` has the broker's certificate and key, `mosquitto.pem` and
    /// `mosquitto.key`. It is honest at first. The same seed gives the same deeds for the same messages.
    pub async fn open(target: SocketAddr, files: &Path, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (is_hostile, seen_hostile) = watch::channel(false);
        let deeds = Arc::<Deeds>::default();
        let shared = Arc::new(Shared {
            target,
            tls: acceptor(files),
            is_hostile: seen_hostile,
            deeds: Arc::clone(&deeds),
            seen: Mutex::default(),
        });
        let accept = tokio::spawn(async move {
            for connection in 0.. {
                let Ok((near, _)) = listener.accept().await else { return };
                let random = StdRng::seed_from_u64(seed ^ connection);
                tokio::spawn(relay(near, Arc::clone(&shared), random));
            }
        });
        Self { address, deeds, is_hostile, accept }
    }

    pub fn set_hostile(&self, is_hostile: bool) {
        self.is_hostile.send_replace(is_hostile);
    }
}

impl Drop for HostileBroker {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn acceptor(files: &Path) -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(files.join("mosquitto.pem")).expect("the broker's certificate");
    let certificates = certificates.map(|one| one.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_file(files.join("mosquitto.key")).expect("the broker's key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("the key is that of the certificate");
    TlsAcceptor::from(Arc::new(config))
}

async fn relay(near: TcpStream, shared: Arc<Shared>, random: StdRng) {
    let _ = near.set_nodelay(true);
    let Ok(near) = shared.tls.accept(near).await else { return };
    let Ok(far) = TcpStream::connect(shared.target).await else { return };
    let _ = far.set_nodelay(true);
    let (from_near, to_near) = tokio::io::split(near);
    let (from_far, to_far) = tokio::io::split(far);
    let (near_queue, for_near) = mpsc::channel(QUEUE);
    let (far_queue, for_far) = mpsc::channel(QUEUE);
    tokio::select! {
        () = pass(from_near, far_queue.clone()) => {}
        () = deliver(for_near, to_near) => {}
        () = deliver(for_far, to_far) => {}
        () = betray(from_far, near_queue, far_queue, shared, random) => {}
    }
}

/// Passes packets on as they are.
async fn pass(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Vec<u8>>) {
    while let Some(packet) = read_packet(&mut from).await {
        if to.send(packet).await.is_err() {
            return;
        }
    }
}

async fn deliver(mut packets: mpsc::Receiver<Vec<u8>>, mut to: impl AsyncWrite + Unpin) {
    while let Some(packet) = packets.recv().await {
        if to.write_all(&packet).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

/// Brings a node what the broker sends, or something else.
async fn betray(
    from: impl AsyncRead + Unpin + Send + 'static,
    near: mpsc::Sender<Vec<u8>>,
    far: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    mut random: StdRng,
) {
    // Reading a packet must not be cancelled half way.
    let (queue, mut packets) = mpsc::channel(1);
    let reading = pass(from, queue);
    tokio::pin!(reading);
    loop {
        let pause = Duration::from_millis(random.random_range(INVENTED_EVERY_MS));
        tokio::select! {
            () = &mut reading => return,
            Some(packet) = packets.recv() => {
                let published = Published::read(&packet);
                if let Some(published) = &published {
                    shared.remember(published.message(&packet));
                }
                let is_hostile = *shared.is_hostile.borrow();
                let went = match published {
                    Some(published) if is_hostile => {
                        act(packet, &published, &near, &far, &shared.deeds, &mut random).await
                    }
                    _ => near.send(packet).await.ok(),
                };
                if went.is_none() {
                    return;
                }
            }
            () = tokio::time::sleep(pause) => {
                if *shared.is_hostile.borrow() && let Some(message) = shared.invent(&mut random) {
                    shared.deeds.invented.fetch_add(1, Ordering::Relaxed);
                    if near.send(message.packet()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Does something to a message that was meant for a node; `None` once the node is gone.
async fn act(
    mut packet: Vec<u8>,
    published: &Published,
    near: &mpsc::Sender<Vec<u8>>,
    far: &mpsc::Sender<Vec<u8>>,
    deeds: &Deeds,
    random: &mut StdRng,
) -> Option<()> {
    let count = match random.random_range(0..100) {
        0..20 => {
            // The broker believes that it was delivered, and sends the next ones.
            if let Some(id) = published.packet_id {
                far.send([PUBACK, id].concat()).await.ok()?;
            }
            &deeds.withheld
        }
        20..30 => {
            near.send(packet.clone()).await.ok()?;
            near.send(published.message(&packet).packet()).await.ok()?;
            &deeds.repeated
        }
        30..45 => {
            let (near, held) = (near.clone(), Duration::from_millis(random.random_range(HELD_MS)));
            tokio::spawn(async move {
                tokio::time::sleep(held).await;
                let _ = near.send(packet).await;
            });
            &deeds.held_back
        }
        45..55 => {
            damage(packet.get_mut(published.payload_at..).unwrap_or_default(), random);
            near.send(packet).await.ok()?;
            &deeds.damaged
        }
        _ => {
            near.send(packet).await.ok()?;
            &deeds.passed
        }
    };
    count.fetch_add(1, Ordering::Relaxed);
    Some(())
}

/// Changes some bytes. Digits become other digits, so that numbers in JSON stay numbers: times, epochs and sequences.
fn damage(payload: &mut [u8], random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        let length = payload.len();
        if length == 0 {
            return;
        }
        let digits: Vec<usize> = (0..length).filter(|at| payload[*at].is_ascii_digit()).collect();
        match digits.choose(random).filter(|_| random.random_bool(0.7)) {
            Some(at) => payload[*at] = b'0' + u8::try_from(random.random_range(0..10)).expect("a digit"),
            None => payload[random.random_range(0..length)] = random.random(),
        }
    }
}

impl Shared {
    fn remember(&self, message: Message) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            // The oldest stay: old words are the worst.
            let at = REMEMBERED / 2 + usize::from(message.payload.last().copied().unwrap_or_default());
            seen.remove(at.min(REMEMBERED - 1));
        }
        seen.push(message);
    }

    /// A message that nobody has sent to this node now: an old one, one of another topic, a changed one, or an empty one, which takes
    /// back what was retained.
    fn invent(&self, random: &mut StdRng) -> Option<Message> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut message = seen.choose(random)?.clone();
        match random.random_range(0..6) {
            0 => message.payload.clear(),
            1 => damage(&mut message.payload, random),
            2 => message.payload = lie(&message.payload, random),
            3 => message.topic = seen.choose(random)?.topic.clone(),
            4 => random.fill_bytes(&mut message.payload),
            _ => {}
        }
        message.retain = random.random();
        Some(message)
    }
}

/// JSON that says something else: who is there is not, who stands by is active, and numbers are as large as they can be.
fn lie(payload: &[u8], random: &mut StdRng) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(payload) else { return payload.to_vec() };
    let Some(fields) = value.as_object_mut() else { return payload.to_vec() };
    let names: Vec<String> = fields.keys().cloned().collect();
    let Some(name) = names.choose(random) else { return payload.to_vec() };
    let field = fields.get_mut(name).expect("a name of it");
    *field = match field {
        serde_json::Value::Number(_) => match random.random_range(0..3) {
            0 => u64::MAX.into(),
            1 => 0.into(),
            _ => (1_u64 << 53).into(),
        },
        serde_json::Value::String(text) => match text.as_str() {
            "online" | "draining" => "offline".into(),
            "live" => "ended".into(),
            "active" => "standby".into(),
            "standby" => "active".into(),
            text if text.starts_with("https://") => "https://127.0.0.1:9".into(),
            _ => "control".into(),
        },
        serde_json::Value::Array(_) => serde_json::json!([]),
        serde_json::Value::Bool(is) => (!*is).into(),
        _ => serde_json::Value::Null,
    };
    value.to_string().into_bytes()
}

/// Where things are in a PUBLISH packet.
#[derive(Debug, Clone)]
struct Published {
    topic: String,
    packet_id: Option<[u8; 2]>,
    payload_at: usize,
}

impl Published {
    fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 4 != PUBLISH {
            return None;
        }
        let (_, mut at) = variable_length(packet, 1)?;
        let length = usize::from(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
        let topic = std::str::from_utf8(packet.get(at + 2..at + 2 + length)?).ok()?.to_owned();
        at += 2 + length;
        let packet_id = if first & 0b110 == 0 { None } else { Some(packet.get(at..at + 2)?.try_into().ok()?) };
        at += if packet_id.is_some() { 2 } else { 0 };
        let (properties, at) = variable_length(packet, at)?;
        Some(Self { topic, packet_id, payload_at: at + properties })
    }

    fn message(&self, packet: &[u8]) -> Message {
        let payload = packet.get(self.payload_at..).unwrap_or_default().to_vec();
        let retain = packet.first().is_some_and(|first| first & RETAIN != 0);
        Message { topic: self.topic.clone(), payload, retain }
    }
}

impl Message {
    /// As a packet of QoS 0, which needs no packet identifier.
    fn packet(&self) -> Vec<u8> {
        let mut body = u16::try_from(self.topic.len()).expect("read from such a length").to_be_bytes().to_vec();
        body.extend_from_slice(self.topic.as_bytes());
        body.push(0);
        body.extend_from_slice(&self.payload);
        let mut packet = vec![(PUBLISH << 4) | u8::from(self.retain)];
        let mut rest = body.len();
        loop {
            let seven = u8::try_from(rest % 128).expect("below 128");
            rest /= 128;
            packet.push(if rest > 0 { seven | 0x80 } else { seven });
            if rest == 0 {
                break;
            }
        }
        packet.extend(body);
        packet
    }
}

/// A variable byte integer (MQTT 5, 1.5.5) and where it ends.
fn variable_length(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
        if shift > 21 {
            return None;
        }
    }
}

/// The next packet; `None` at the end of the connection.
async fn read_packet(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut packet = vec![from.read_u8().await.ok()?];
    let length = loop {
        packet.push(from.read_u8().await.ok()?);
        if let Some((length, _)) = variable_length(&packet, 1) {
            break length;
        }
        if packet.len() > 5 {
            return None;
        }
    };
    if length > PACKET_BYTES_MAX {
        return None;
    }
    let head = packet.len();
    packet.resize(head + length, 0);
    from.read_exact(packet.get_mut(head..)?).await.ok()?;
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_as_it_was_written() {
        for length in [0, 100, 20_000] {
            let message = Message { topic: "sealcast/v1/x".to_owned(), payload: vec![7; length], retain: true };
            let packet = message.packet();
            let published = Published::read(&packet).expect("a PUBLISH");
            assert_eq!((published.topic.as_str(), published.packet_id), ("sealcast/v1/x", None));
            let again = published.message(&packet);
            assert_eq!((again.payload, again.retain), (message.payload, true));
        }
        // QoS 1, packet 258, a topic alias among the properties.
        let packet = [0x32, 11, 0, 1, b't', 1, 2, 3, 0x23, 0, 1, b'p', b'q'];
        let published = Published::read(&packet).expect("a PUBLISH");
        assert_eq!((published.packet_id, published.message(&packet).payload), (Some([1, 2]), b"pq".to_vec()));
    }
}
