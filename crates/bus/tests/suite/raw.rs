//! A client that breaks the rules: packets on a socket, to do what the bus never does; and a proxy that cuts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::subscribe::SubscribePacket;
use mqtt5_protocol::{ConnectOptions, QoS, WillMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::brokers::within;

pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
}

impl RawClient {
    /// Connects. Returns the reason code of the CONNACK (MQTT 5, 3.2.2.2); 0 is success.
    pub(crate) async fn connect(
        address: SocketAddr,
        login: Option<(&str, &str)>,
        will: Option<WillMessage>,
    ) -> (Self, u8) {
        let mut options = ConnectOptions::new(format!("raw-{:x}", rand::random::<u64>()));
        options.clean_start = true;
        if let Some((user, password)) = login {
            options.username = Some(user.into());
            options.password = Some(password.into());
        }
        options.will = will;
        let mut client = Self { stream: TcpStream::connect(address).await.unwrap() };
        client.send(&ConnectPacket::new(options)).await;
        let mut head = [0_u8; 4];
        within("CONNACK arrives", client.stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(head[0], 0x20, "CONNACK");
        (client, head[3])
    }

    pub(crate) async fn send(&mut self, packet: &impl MqttPacket) {
        let mut buffer = BytesMut::new();
        packet.encode(&mut buffer).unwrap();
        self.stream.write_all(&buffer).await.unwrap();
    }

    /// Subscribes at QoS 1 and reads only the SUBACK's first byte.
    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.send(&SubscribePacket::new(1).add_filter(filter, QoS::AtLeastOnce)).await;
        let mut first = [0_u8; 1];
        // A CONNACK may have properties left; the SUBACK comes after them.
        within("SUBACK arrives", async {
            while first[0] != 0x90 {
                self.stream.read_exact(&mut first).await.unwrap();
            }
        })
        .await;
    }

    /// After [`RawClient::subscribe`]: reads and acknowledges messages of QoS 1 until `end` has come; returns all that came.
    pub(crate) async fn take_until(&mut self, end: &[u8]) -> Vec<u8> {
        // The first byte of the SUBACK has been read.
        let (mut all, mut next) = (vec![0x90], 0);
        loop {
            // A message: its first byte, its length, its topic, and its packet identifier (MQTT 5, 3.3).
            while let Some((body, after)) = packet(&all, next) {
                if all[next] >> 4 == 3 {
                    let topic = usize::from(u16::from_be_bytes([all[body], all[body + 1]]));
                    let id = u16::from_be_bytes([all[body + 2 + topic], all[body + 3 + topic]]);
                    self.send(&PubAckPacket::new(id)).await;
                }
                next = after;
            }
            if all.windows(end.len()).any(|window| window == end) {
                return all;
            }
            assert!(self.stream.read_buf(&mut all).await.unwrap() > 0, "the broker closed the connection");
        }
    }

    /// Reads until the other side closes.
    pub(crate) async fn await_end(mut self) {
        let mut sink = vec![0; 4096];
        within("the broker closes the connection", async {
            while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
        })
        .await;
    }
}

/// Where the body of the packet at `start` begins, and where it ends; `None` while it is not whole (MQTT 5, 1.5.5).
fn packet(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let (mut length, mut at) = (0, start + 1);
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << shift;
        at += 1;
        if byte & 0x80 == 0 {
            return (at + length <= bytes.len()).then_some((at, at + length));
        }
    }
    None
}

/// Passes connections on to a broker, until told to cut them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<usize>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = watch::Sender::new(0);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (cut, count) = (cuts.clone(), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(broker).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inner, &mut outer) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cuts, accepted, task }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
