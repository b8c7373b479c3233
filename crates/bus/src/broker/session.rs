//! One connection to the embedded broker: login, then packets both ways until it ends.
//!
//! As in the bus, reading and writing are two loops that do not wait for each other, and each wait has a limit.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acceptor::{Census, HandshakeError, Slot};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use mqtt5_protocol::packet::connack::ConnAckPacket;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::disconnect::DisconnectPacket;
use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::suback::{SubAckPacket, SubAckReasonCode};
use mqtt5_protocol::packet::subscribe::{SubscribePacket, TopicFilter};
use mqtt5_protocol::packet::unsuback::{UnsubAckPacket, UnsubAckReasonCode};
use mqtt5_protocol::packet::unsubscribe::UnsubscribePacket;
use mqtt5_protocol::{Packet, QoS, ReasonCode};
use rand::Rng;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Encoder, FramedRead};
use tokio_util::sync::CancellationToken;

use super::gatekeeper::Gatekeeper;
use super::router::{Admission, Delivery, Interest, Leave, QuotaExceeded, Router};
use super::strangers::Strangers;
use crate::codec::{Codec, CodecError, VERSION_3_1_1, VERSION_5};

use crate::{Message, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, Wire};

/// A client has this long to log in; after that its connection is closed.
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest CONNECT, its will included; a client that has not logged in gets no more memory.
const LOGIN_BYTES_MAX: usize = 16 * 1024;
/// Keep-alive of a client that asks for none, and the longest that the broker grants.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(60);
/// A connection whose client reads nothing for this long is given up.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Messages sent and not yet acknowledged, both ways.
const IN_FLIGHT_MAX: u16 = 64;
/// Answers waiting to be written: the acknowledgements of a full window, and as many others.
const ANSWERS_MAX: usize = 2 * IN_FLIGHT_MAX as usize;
const CLIENT_ID_BYTES_MAX: usize = 256;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) router: Arc<Router>,
    pub(super) gatekeeper: Arc<Gatekeeper>,
    pub(super) tls: Option<TlsAcceptor>,
    /// Connections that have not logged in.
    pub(super) strangers: Arc<Strangers>,
    /// Those that have.
    pub(super) clients: Arc<Census>,
    /// Cancelled when the broker stops.
    pub(super) stop: CancellationToken,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("silent for too long")]
    Silent,
    #[error("not logged in yet, and another needed its place")]
    Displaced,
    #[error("closed without a word")]
    Closed,
    #[error("login refused: {0:?}")]
    Refused(ReasonCode),
    #[error("ended: {0:?}")]
    Protocol(ReasonCode),
}

impl From<HandshakeError> for SessionError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Failed(error) => Self::Io(error),
            HandshakeError::Late => Self::Silent,
        }
    }
}

/// Serves a connection from login to end.
pub(super) async fn serve(stream: TcpStream, address: IpAddr, hub: Hub) -> Result<(), SessionError> {
    let stranger = hub.strangers.enter(address);
    let handshake = async {
        let stream: Box<dyn Wire> = match &hub.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(acceptor::handshake(tls, stream, LOGIN_WAIT_MAX).await?),
        };
        Ok::<_, SessionError>(stream)
    };
    let stream = tokio::select! {
        () = stranger.displaced.cancelled() => return Err(SessionError::Displaced),
        stream = handshake => stream?,
    };
    let (read, write) = tokio::io::split(stream);
    let codec = Codec { packet_bytes_max: LOGIN_BYTES_MAX, version: VERSION_5 };
    let mut reader = FramedRead::new(read, codec);
    let mut writer = Writer { wire: write, buffer: BytesMut::new(), version: VERSION_5, packet_bytes_max: usize::MAX };
    let login = tokio::select! {
        () = hub.stop.cancelled() => return Ok(()),
        () = stranger.displaced.cancelled() => return Err(SessionError::Displaced),
        login = timeout(LOGIN_WAIT_MAX, log_in(&mut reader, &mut writer, &hub, address)) => login,
    };
    let (client, admission, _slot) = login.map_err(|_| SessionError::Silent)??;
    drop(stranger);
    let id = admission.id;
    // It may have been shut out between its login and its admission.
    if hub.gatekeeper.is_shut_out(&client.user) {
        hub.router.leave(id, Leave::Vanished);
        return Err(SessionError::Protocol(ReasonCode::NotAuthorized));
    }
    let result = client.run(reader, writer, &hub, admission).await;
    let leave = if result.is_ok() || hub.stop.is_cancelled() { Leave::Properly } else { Leave::Vanished };
    hub.router.leave(id, leave);
    result
}

/// A client that has logged in.
struct Client {
    user: String,
    version: u8,
    silence_max: Duration,
    window: u16,
}

async fn log_in(
    reader: &mut FramedRead<ReadHalf<Box<dyn Wire>>, Codec>,
    writer: &mut Writer,
    hub: &Hub,
    address: IpAddr,
) -> Result<(Client, Admission, Slot), SessionError> {
    let Packet::Connect(connect) = reader.next().await.ok_or(SessionError::Closed)?? else {
        return Err(SessionError::Protocol(ReasonCode::ProtocolError));
    };
    writer.version = connect.protocol_version;
    reader.decoder_mut().version = connect.protocol_version;
    let checked = check_login(&connect, hub).and_then(|will| {
        let slot = hub.clients.admit(address).map_err(|_| ReasonCode::ServerBusy)?;
        Ok((will, slot))
    });
    let (will, slot) = match checked {
        Ok(checked) => checked,
        Err(reason) => {
            writer.push(&Packet::ConnAck(connack(connect.protocol_version, reason)))?;
            writer.flush().await?;
            writer.wire.shutdown().await?;
            return Err(SessionError::Refused(reason));
        }
    };
    let version = connect.protocol_version;
    let properties = &connect.properties;
    if let Some(max) = properties.get_maximum_packet_size() {
        writer.packet_bytes_max = usize::try_from(max).unwrap_or(usize::MAX);
    }
    let window = properties.get_receive_maximum().unwrap_or(IN_FLIGHT_MAX).clamp(1, IN_FLIGHT_MAX);
    let asked = Duration::from_secs(connect.keep_alive.into());
    let granted = if asked.is_zero() { KEEP_ALIVE_MAX } else { asked.min(KEEP_ALIVE_MAX) };
    let mut answer = connack(version, ReasonCode::Success)
        .with_receive_maximum(IN_FLIGHT_MAX)
        .with_maximum_qos(1)
        .with_maximum_packet_size(u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX))
        .with_topic_alias_maximum(0)
        .with_shared_subscription_available(false)
        // No session outlives its connection, so an absent client costs no memory.
        .with_session_expiry_interval(0);
    if granted != asked {
        answer = answer.with_server_keep_alive(u16::try_from(granted.as_secs()).unwrap_or(u16::MAX));
    }
    let client_id = if connect.client_id.is_empty() {
        let assigned = format!("anonymous-{:016x}", rand::rng().random::<u64>());
        answer = answer.with_assigned_client_id(assigned.clone());
        assigned
    } else {
        connect.client_id.clone()
    };
    let user = connect.username.clone().unwrap_or_default();
    // The key holds the user, so a client can take over only connections of its own user.
    let admission = hub.router.enter(&format!("{user}/{client_id}"), will);
    writer.push(&Packet::ConnAck(answer))?;
    reader.decoder_mut().packet_bytes_max = PACKET_BYTES_MAX;
    tracing::debug!(user, client_id, "MQTT client is in");
    // MQTT 3.1.1 and older have no way to ask for a longer silence than one and a half (3.1.2.10).
    Ok((Client { user, version, silence_max: granted * 3 / 2, window }, admission, slot))
}

fn connack(version: u8, reason: ReasonCode) -> ConnAckPacket {
    if version == VERSION_5 { ConnAckPacket::new(false, reason) } else { ConnAckPacket::new_v311(false, reason) }
}

/// Checks CONNECT; returns its will.
fn check_login(connect: &ConnectPacket, hub: &Hub) -> Result<Option<Message>, ReasonCode> {
    if !matches!(connect.protocol_version, VERSION_5 | VERSION_3_1_1) {
        return Err(ReasonCode::UnsupportedProtocolVersion);
    }
    let Some(user) = connect.username.as_deref() else { return Err(ReasonCode::NotAuthorized) };
    if !hub.gatekeeper.knows(user, connect.password.as_deref().unwrap_or_default()) {
        metrics::counter!("broker_logins_refused_total").increment(1);
        return Err(ReasonCode::BadUsernameOrPassword);
    }
    if connect.properties.get_authentication_method().is_some() {
        return Err(ReasonCode::BadAuthenticationMethod);
    }
    if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(ReasonCode::ClientIdentifierNotValid);
    }
    let Some(will) = &connect.will else { return Ok(None) };
    let valid = will.topic.len() <= TOPIC_BYTES_MAX && mqtt5_protocol::is_valid_topic_name(&will.topic);
    if !valid || will.qos == QoS::ExactlyOnce || !hub.gatekeeper.may_publish(user, &will.topic) {
        tracing::warn!(user, "MQTT last will refused");
        return Err(ReasonCode::NotAuthorized);
    }
    let payload = Bytes::copy_from_slice(&will.payload);
    Ok(Some(Message { topic: will.topic.clone(), payload, retain: will.retain }))
}

impl Client {
    /// Returns `Ok` when the client sent DISCONNECT.
    async fn run(
        &self,
        reader: FramedRead<ReadHalf<Box<dyn Wire>>, Codec>,
        mut writer: Writer,
        hub: &Hub,
        admission: Admission,
    ) -> Result<(), SessionError> {
        let flight = Flight { room: Semaphore::new(self.window.into()), ids: Mutex::default() };
        let (answers, answer_queue) = mpsc::channel(ANSWERS_MAX);
        let result = tokio::select! {
            result = self.read(reader, hub, &admission, &flight, &answers) => result,
            result = write(&mut writer, &admission, &flight, answer_queue, self.version) => result,
            () = admission.replaced.cancelled() => Err(SessionError::Protocol(ReasonCode::SessionTakenOver)),
            () = hub.stop.cancelled() => Err(SessionError::Protocol(ReasonCode::ServerShuttingDown)),
        };
        let reason = match &result {
            Err(SessionError::Protocol(reason)) => Some(*reason),
            Err(SessionError::Codec(CodecError::TooLong(_))) => Some(ReasonCode::PacketTooLarge),
            Err(SessionError::Codec(CodecError::Mqtt(_))) => Some(ReasonCode::MalformedPacket),
            _ => None,
        };
        if let (Some(reason), VERSION_5) = (reason, self.version) {
            // A client that still reads learns the reason; the connection is over either way.
            writer.push(&Packet::Disconnect(DisconnectPacket::new(reason)))?;
            let _not_listening = writer.flush().await;
        }
        result
    }

    async fn read(
        &self,
        mut reader: FramedRead<ReadHalf<Box<dyn Wire>>, Codec>,
        hub: &Hub,
        admission: &Admission,
        flight: &Flight,
        answers: &mpsc::Sender<Packet>,
    ) -> Result<(), SessionError> {
        loop {
            let packet = timeout(self.silence_max, reader.next()).await.map_err(|_| SessionError::Silent)?;
            let answer = match packet.ok_or(SessionError::Closed)?? {
                Packet::Publish(publish) => self.published(publish, hub, admission)?,
                Packet::Subscribe(subscribe) => Some(self.subscribed(&subscribe, hub, admission)),
                Packet::Unsubscribe(unsubscribe) => Some(self.unsubscribed(&unsubscribe, hub, admission)),
                Packet::PubAck(ack) => {
                    flight.land(ack.packet_id);
                    None
                }
                Packet::PingReq => Some(Packet::PingResp),
                // With reason code 0x04 the client asks for its will to be published (3.14.2.1).
                Packet::Disconnect(disconnect) if disconnect.reason_code == ReasonCode::DisconnectWithWillMessage => {
                    return Err(SessionError::Closed);
                }
                Packet::Disconnect(_) => return Ok(()),
                _ => return Err(SessionError::Protocol(ReasonCode::ProtocolError)),
            };
            if let Some(answer) = answer {
                answers.send(answer).await.map_err(|_| SessionError::Closed)?;
            }
        }
    }

    fn published(
        &self,
        publish: PublishPacket,
        hub: &Hub,
        admission: &Admission,
    ) -> Result<Option<Packet>, SessionError> {
        if publish.qos == QoS::ExactlyOnce {
            return Err(SessionError::Protocol(ReasonCode::QoSNotSupported));
        }
        if publish.properties.get_topic_alias().is_some() {
            return Err(SessionError::Protocol(ReasonCode::TopicAliasInvalid));
        }
        if publish.topic_name.len() > TOPIC_BYTES_MAX || !mqtt5_protocol::is_valid_topic_name(&publish.topic_name) {
            return Err(SessionError::Protocol(ReasonCode::TopicNameInvalid));
        }
        if publish.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SessionError::Protocol(ReasonCode::PacketTooLarge));
        }
        let reason = if hub.gatekeeper.may_publish(&self.user, &publish.topic_name) {
            // Copied, so that a retained message does not keep the whole read buffer in memory.
            let payload = Bytes::copy_from_slice(&publish.payload);
            let message = Message { topic: publish.topic_name, payload, retain: publish.retain };
            match hub.router.publish(admission.id, &message, publish.qos) {
                Ok(()) => ReasonCode::Success,
                Err(QuotaExceeded) => ReasonCode::QuotaExceeded,
            }
        } else {
            metrics::counter!("broker_publish_refused_total").increment(1);
            tracing::debug!(user = self.user, topic = publish.topic_name, "MQTT message refused");
            ReasonCode::NotAuthorized
        };
        let ack = |id| {
            let mut ack = PubAckPacket::new(id);
            // MQTT 3.1.1 cannot refuse a message in PUBACK.
            ack.reason_code = if self.version == VERSION_5 { reason } else { ReasonCode::Success };
            Packet::PubAck(ack)
        };
        Ok(publish.packet_id.map(ack))
    }

    fn subscribed(&self, packet: &SubscribePacket, hub: &Hub, admission: &Admission) -> Packet {
        let identifier = packet.properties.get_subscription_identifier();
        let mut ack = SubAckPacket::new(packet.packet_id);
        ack.protocol_version = self.version;
        for TopicFilter { filter, options } in &packet.filters {
            let qos = if options.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let interest = Interest {
                filter: filter.clone(),
                qos,
                identifier,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                retain_handling: options.retain_handling,
            };
            let valid = filter.len() <= TOPIC_BYTES_MAX && mqtt5_protocol::is_valid_topic_filter(filter);
            let code = if !Gatekeeper::may_subscribe(filter) || !hub.gatekeeper.may_read(&self.user, filter) {
                SubAckReasonCode::NotAuthorized
            } else if !valid {
                SubAckReasonCode::TopicFilterInvalid
            } else if hub.router.subscribe(admission.id, interest).is_err() {
                SubAckReasonCode::QuotaExceeded
            } else {
                SubAckReasonCode::from_qos(qos)
            };
            // MQTT 3.1.1 has one failure code only.
            let failed = self.version != VERSION_5 && !code.is_success();
            ack = ack.add_reason_code(if failed { SubAckReasonCode::UnspecifiedError } else { code });
        }
        Packet::SubAck(ack)
    }

    fn unsubscribed(&self, packet: &UnsubscribePacket, hub: &Hub, admission: &Admission) -> Packet {
        let mut ack = UnsubAckPacket::new(packet.packet_id);
        ack.protocol_version = self.version;
        for filter in &packet.filters {
            let there = hub.router.unsubscribe(admission.id, filter);
            let code = if there { UnsubAckReasonCode::Success } else { UnsubAckReasonCode::NoSubscriptionExisted };
            ack = ack.add_reason_code(code);
        }
        Packet::UnsubAck(ack)
    }
}

/// Messages sent at QoS 1 and not yet acknowledged.
struct Flight {
    room: Semaphore,
    ids: Mutex<InFlight>,
}

#[derive(Default)]
struct InFlight {
    ids: HashSet<u16>,
    last: u16,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_off(&self, permit: SemaphorePermit<'_>) -> u16 {
        permit.forget();
        let mut state = self.lock();
        loop {
            state.last = state.last.wrapping_add(1).max(1);
            let id = state.last;
            if state.ids.insert(id) {
                return id;
            }
        }
    }

    fn land(&self, id: u16) {
        if self.lock().ids.remove(&id) {
            self.room.add_permits(1);
        }
    }
}

/// The write half of the connection, with the bytes that are not yet written.
struct Writer {
    wire: WriteHalf<Box<dyn Wire>>,
    buffer: BytesMut,
    version: u8,
    /// The longest packet that the client accepts.
    packet_bytes_max: usize,
}

impl Writer {
    /// Adds a packet. Returns `false`, and leaves it out, when it is longer than the client accepts.
    fn push(&mut self, packet: &Packet) -> Result<bool, SessionError> {
        let before = self.buffer.len();
        Codec { version: self.version, ..Codec::default() }.encode(packet, &mut self.buffer)?;
        let fits = self.buffer.len() - before <= self.packet_bytes_max;
        if !fits {
            self.buffer.truncate(before);
        }
        Ok(fits)
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let write = self.wire.write_all_buf(&mut self.buffer);
        Ok(timeout(WRITE_WAIT_MAX, write).await.map_err(|_| SessionError::Silent)??)
    }
}

/// Writes answers first, then deliveries while the window has room, until an error or until `answers` closes.
async fn write(
    writer: &mut Writer,
    admission: &Admission,
    flight: &Flight,
    mut answers: mpsc::Receiver<Packet>,
    version: u8,
) -> Result<(), SessionError> {
    loop {
        writer.flush().await?;
        tokio::select! {
            biased;
            answer = answers.recv() => drop(writer.push(&answer.ok_or(SessionError::Closed)?)?),
            (delivery, permit) = next(admission, flight) => {
                let Delivery { message, qos, identifiers } = delivery;
                let mut packet = PublishPacket::new(message.topic, message.payload, qos).with_retain(message.retain);
                packet.protocol_version = version;
                if qos == QoS::AtLeastOnce {
                    packet.packet_id = Some(flight.take_off(permit));
                }
                for identifier in identifiers.into_iter().filter(|_| version == VERSION_5) {
                    packet.properties.set_subscription_identifier(identifier);
                }
                let id = packet.packet_id;
                if let (false, Some(id)) = (writer.push(&Packet::Publish(packet))?, id) {
                    flight.land(id);
                }
            }
        }
    }
}

/// The next message, once the window has room for it. Cancelling loses nothing.
async fn next<'f>(admission: &Admission, flight: &'f Flight) -> (Delivery, SemaphorePermit<'f>) {
    let permit = flight.room.acquire().await.expect("the semaphore is never closed");
    (admission.outbox.next().await, permit)
}
