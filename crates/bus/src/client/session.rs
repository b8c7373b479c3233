//! One connection to one broker: login, subscriptions, messages both ways, until it breaks.
//!
//! Reading and writing are two loops that never wait for each other's half of the socket, so two peers that both write cannot block each
//! other. Each wait has a limit, so the bus notices a silent peer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use mqtt5_protocol::ReasonCode;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::disconnect::DisconnectPacket;
use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::suback::SubAckPacket;
use mqtt5_protocol::packet::subscribe::SubscribePacket;
use mqtt5_protocol::packet::unsubscribe::UnsubscribePacket;
use mqtt5_protocol::{Packet, QoS, WillMessage};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::codec::{Encoder, FramedRead};

use super::context::{BusContext, LinkError, Login};
use super::endpoint::Endpoint;
use super::owned::{Outgoing, PublishOrder};
use super::subscriptions::Wanted;
use crate::codec::Codec;
use crate::{Message, PACKET_BYTES_MAX, Wire};

/// TCP, TLS and login together.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest silence that we promise the broker. We ping twice in it, and allow the broker a silence half as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A connection whose broker reads nothing for this long is given up.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the queued messages and DISCONNECT may take at shutdown.
const GOODBYE_WAIT_MAX: Duration = Duration::from_millis(250);
/// Messages sent and not yet acknowledged, both ways.
const IN_FLIGHT_MAX: u16 = 64;
/// A message unacknowledged on this many broken connections may be what breaks them: it is dropped.
const SENDS_MAX: u8 = 3;
/// Packet identifiers from here on belong to subscriptions, those below to messages.
const SUBSCRIBE_ID_MIN: u16 = 0x8000;

/// What a connection leaves when it ends.
pub(super) struct Ended {
    /// `None`: the bus was shut down.
    pub(super) error: Option<LinkError>,
    /// Messages for the next connection to send again.
    pub(super) unacknowledged: VecDeque<Outgoing>,
}

/// A connection that is logged in.
pub(super) struct Session {
    reader: FramedRead<ReadHalf<Box<dyn Wire>>, Codec>,
    writer: Writer,
    keep_alive: Duration,
    window: u16,
}

impl Session {
    pub(super) async fn open(endpoint: &Endpoint, login: &Login) -> Result<Self, LinkError> {
        timeout(CONNECT_WAIT_MAX, Self::log_in(endpoint, login)).await.map_err(|_| LinkError::Silent)?
    }

    async fn log_in(endpoint: &Endpoint, login: &Login) -> Result<Self, LinkError> {
        let (read, write) = tokio::io::split(endpoint.connect().await?);
        let mut reader = FramedRead::new(read, Codec::default());
        let mut writer = Writer { wire: write, buffer: BytesMut::new(), packet_bytes_max: PACKET_BYTES_MAX };
        writer.push(&Packet::Connect(Box::new(connect_packet(login))))?;
        writer.flush().await?;
        let connack = match reader.next().await.ok_or(LinkError::Closed)?? {
            Packet::ConnAck(connack) => connack,
            other => return Err(LinkError::Unexpected(other.packet_type_name())),
        };
        if connack.reason_code != ReasonCode::Success {
            return Err(LinkError::Refused(connack.reason_code));
        }
        if let Some(max) = connack.maximum_packet_size() {
            writer.packet_bytes_max = usize::try_from(max).unwrap_or(usize::MAX).min(PACKET_BYTES_MAX);
        }
        let server_keep_alive = connack.properties.get_server_keep_alive().map(|s| Duration::from_secs(s.into()));
        let keep_alive = server_keep_alive.filter(|limit| !limit.is_zero()).map_or(KEEP_ALIVE, |l| l.min(KEEP_ALIVE));
        let window = connack.receive_maximum().unwrap_or(IN_FLIGHT_MAX).clamp(1, IN_FLIGHT_MAX);
        Ok(Self { reader, writer, keep_alive, window })
    }

    /// Runs until the connection breaks or the bus is shut down.
    pub(super) async fn run(
        self,
        shared: &BusContext,
        queue: &mut mpsc::Receiver<Outgoing>,
        unacknowledged: VecDeque<Outgoing>,
    ) -> Ended {
        let flight = Flight::new(self.window);
        let (acks, ack_queue) = mpsc::channel(usize::from(IN_FLIGHT_MAX) * 2);
        let (owned, horizon) = shared.owned.lock().unwrap_or_else(PoisonError::into_inner).all();
        let mut replay = unacknowledged;
        replay.extend(owned);
        let mut sender =
            Sender { writer: self.writer, flight: &flight, shared, queue, replay, horizon, acks: ack_queue };
        let result = tokio::select! {
            result = receive(self.reader, self.keep_alive, &flight, shared, acks) => result,
            result = sender.run(self.keep_alive) => result,
        };
        let mut unacknowledged = flight.unacknowledged();
        let again = sender.replay.into_iter().filter(|outgoing| !outgoing.message.retain);
        unacknowledged.extend(again);
        unacknowledged.truncate(usize::from(IN_FLIGHT_MAX));
        Ended { error: result.err(), unacknowledged }
    }
}

fn connect_packet(login: &Login) -> ConnectPacket {
    let mut options = mqtt5_protocol::ConnectOptions::new(&login.client_id)
        .with_keep_alive(KEEP_ALIVE)
        .with_clean_start(true)
        // The session ends with the connection: a node that reconnects subscribes again and catches up over HTTP.
        .with_session_expiry_interval(0)
        .with_receive_maximum(IN_FLIGHT_MAX);
    options.properties.maximum_packet_size = u32::try_from(PACKET_BYTES_MAX).ok();
    options.username.clone_from(&login.username);
    options.password = login.password.as_ref().map(|password| password.as_bytes().to_vec());
    options.will = login.will.as_ref().map(|will| {
        WillMessage::new(will.topic.clone(), will.payload.to_vec()).with_qos(QoS::AtLeastOnce).with_retain(will.retain)
    });
    ConnectPacket::new(options)
}

/// The write half of the connection, with the bytes that are not yet written.
struct Writer {
    wire: WriteHalf<Box<dyn Wire>>,
    buffer: BytesMut,
    /// The longest packet that the broker accepts.
    packet_bytes_max: usize,
}

impl Writer {
    /// Adds a packet. Returns `false`, and leaves it out, when it is longer than the broker accepts.
    fn push(&mut self, packet: &Packet) -> Result<bool, LinkError> {
        let before = self.buffer.len();
        Codec::default().encode(packet, &mut self.buffer)?;
        let fits = self.buffer.len() - before <= self.packet_bytes_max;
        if !fits {
            self.buffer.truncate(before);
        }
        Ok(fits)
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        let write = async {
            self.wire.write_all_buf(&mut self.buffer).await?;
            self.wire.flush().await
        };
        Ok(timeout(WRITE_WAIT_MAX, write).await.map_err(|_| LinkError::Silent)??)
    }
}

/// Messages sent and not yet acknowledged.
struct Flight {
    room: Semaphore,
    state: Mutex<InFlight>,
}

#[derive(Default)]
struct InFlight {
    messages: HashMap<u16, Outgoing>,
    subscribing: HashMap<u16, Vec<String>>,
    last_message_id: u16,
    last_subscribe_id: u16,
}

impl Flight {
    fn new(window: u16) -> Self {
        Self { room: Semaphore::new(window.into()), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_off(&self, outgoing: Outgoing, permit: SemaphorePermit<'_>) -> u16 {
        permit.forget();
        let mut state = self.lock();
        let mut id = state.last_message_id;
        loop {
            id = if id + 1 >= SUBSCRIBE_ID_MIN { 1 } else { id + 1 };
            if !state.messages.contains_key(&id) {
                break;
            }
        }
        state.last_message_id = id;
        state.messages.insert(id, outgoing);
        id
    }

    fn land(&self, id: u16) -> Option<Outgoing> {
        let landed = self.lock().messages.remove(&id);
        if landed.is_some() {
            self.room.add_permits(1);
        }
        landed
    }

    fn subscribing(&self, filters: Vec<String>) -> u16 {
        let mut state = self.lock();
        state.last_subscribe_id = state.last_subscribe_id.wrapping_add(1) | SUBSCRIBE_ID_MIN;
        let id = state.last_subscribe_id;
        state.subscribing.insert(id, filters);
        id
    }

    fn subscribed(&self, id: u16) -> Vec<String> {
        self.lock().subscribing.remove(&id).unwrap_or_default()
    }

    /// In the order of publishing. Leaves out retained messages, since each new connection sends the newest of each topic anyway, and
    /// those already sent [`SENDS_MAX`] times.
    fn unacknowledged(&self) -> VecDeque<Outgoing> {
        let mut left: Vec<Outgoing> = std::mem::take(&mut self.lock().messages).into_values().collect();
        left.retain(|outgoing| !outgoing.message.retain && outgoing.sent < SENDS_MAX);
        left.sort_by_key(|outgoing| outgoing.place);
        left.into()
    }
}

/// Writes subscriptions, acknowledgements, pings and messages, until shutdown or an error.
struct Sender<'a> {
    writer: Writer,
    flight: &'a Flight,
    shared: &'a BusContext,
    queue: &'a mut mpsc::Receiver<Outgoing>,
    /// Sent before the messages in the queue.
    replay: VecDeque<Outgoing>,
    /// `replay` holds every retained message up to this place or a newer one, so the queue's copies are skipped.
    horizon: PublishOrder,
    acks: mpsc::Receiver<u16>,
}

impl Sender<'_> {
    async fn run(&mut self, keep_alive: Duration) -> Result<(), LinkError> {
        let mut changes = self.shared.registry.changes();
        let mut asked = Wanted::new();
        let mut ping = tokio::time::interval(keep_alive / 2);
        loop {
            self.ask(&mut asked)?;
            self.writer.flush().await?;
            tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => return self.goodbye().await,
                Some(id) = self.acks.recv() => self.acknowledge(id)?,
                // The registry outlives this loop, so this is always a change.
                _ = changes.changed() => {}
                _ = ping.tick() => drop(self.writer.push(&Packet::PingReq)?),
                next = next(self.flight, &mut self.replay, self.queue, self.horizon) => match next {
                    Some((outgoing, permit)) => self.publish(outgoing, permit)?,
                    None => return self.goodbye().await,
                },
            }
        }
    }

    fn acknowledge(&mut self, first: u16) -> Result<(), LinkError> {
        let mut next = Some(first);
        while let Some(packet_id) = next {
            self.writer.push(&Packet::PubAck(PubAckPacket::new(packet_id)))?;
            next = self.acks.try_recv().ok();
        }
        Ok(())
    }

    /// Subscribes to the filters that the broker was not yet asked for, and unsubscribes from those without readers.
    fn ask(&mut self, asked: &mut Wanted) -> Result<(), LinkError> {
        let wanted = self.shared.registry.wanted();
        let gone: Vec<&String> = asked.keys().filter(|filter| !wanted.contains_key(*filter)).collect();
        if !gone.is_empty() {
            let id = self.flight.subscribing(Vec::new());
            let packet = gone.into_iter().fold(UnsubscribePacket::new(id), UnsubscribePacket::add_filter);
            self.writer.push(&Packet::Unsubscribe(packet))?;
        }
        // One packet each, since a subscription identifier holds for a whole packet (MQTT 5, 3.8.2.1.2).
        for (filter, ask) in wanted.iter().filter(|(filter, ask)| asked.get(*filter) != Some(ask)) {
            let id = self.flight.subscribing(vec![filter.clone()]);
            let packet = SubscribePacket::new(id).add_filter(filter, QoS::AtLeastOnce);
            self.writer.push(&Packet::Subscribe(packet.with_subscription_identifier(ask.identifier)))?;
        }
        *asked = wanted;
        Ok(())
    }

    fn publish(&mut self, mut outgoing: Outgoing, permit: SemaphorePermit<'_>) -> Result<(), LinkError> {
        outgoing.sent = outgoing.sent.saturating_add(1);
        let Message { topic, payload, retain } = outgoing.message.clone();
        let again = outgoing.sent > 1;
        let id = self.flight.take_off(outgoing, permit);
        let packet = PublishPacket::new(topic, payload, QoS::AtLeastOnce).with_packet_id(id).with_retain(retain);
        if !self.writer.push(&Packet::Publish(packet))? {
            let left_out = self.flight.land(id);
            let topic = left_out.map(|outgoing| outgoing.message.topic);
            tracing::warn!(topic, again, "MQTT message is longer than the broker takes, dropped");
            metrics::counter!("bus_publish_refused_total").increment(1);
        }
        Ok(())
    }

    /// Sends what is queued, as far as the window allows, and DISCONNECT, so that the broker discards the last will.
    async fn goodbye(&mut self) -> Result<(), LinkError> {
        while let Ok(permit) = self.flight.room.try_acquire() {
            let Ok(outgoing) = self.queue.try_recv() else { break };
            self.publish(outgoing, permit)?;
        }
        self.writer.push(&Packet::Disconnect(DisconnectPacket::normal()))?;
        let leave = async {
            self.writer.flush().await?;
            self.writer.wire.shutdown().await?;
            // Closing with unread acknowledgements would reset the connection, and Mosquitto would then drop what it has not yet read,
            // our DISCONNECT too. The reading loop reads on, and ends the session when the broker has closed.
            std::future::pending::<Result<(), LinkError>>().await
        };
        // A broker that reads nothing any more gets no DISCONNECT.
        timeout(GOODBYE_WAIT_MAX, leave).await.unwrap_or(Ok(()))
    }
}

/// The next message to send, once the window has room for it; `None` when the bus is dropped. Cancelling loses nothing.
async fn next<'f>(
    flight: &'f Flight,
    replay: &mut VecDeque<Outgoing>,
    queue: &mut mpsc::Receiver<Outgoing>,
    horizon: PublishOrder,
) -> Option<(Outgoing, SemaphorePermit<'f>)> {
    let permit = flight.room.acquire().await.expect("the semaphore is never closed");
    if let Some(outgoing) = replay.pop_front() {
        return Some((outgoing, permit));
    }
    loop {
        let outgoing = queue.recv().await?;
        if !outgoing.message.retain || outgoing.place > horizon {
            return Some((outgoing, permit));
        }
    }
}

/// Reads until an error, or until nothing comes for one and a half times `keep_alive`.
async fn receive(
    mut reader: FramedRead<ReadHalf<Box<dyn Wire>>, Codec>,
    keep_alive: Duration,
    flight: &Flight,
    shared: &BusContext,
    acks: mpsc::Sender<u16>,
) -> Result<(), LinkError> {
    let silence_max = keep_alive * 3 / 2;
    loop {
        let packet = timeout(silence_max, reader.next()).await.map_err(|_| LinkError::Silent)?;
        match packet.ok_or(LinkError::Closed)?? {
            Packet::Publish(publish) => {
                if publish.qos == QoS::ExactlyOnce {
                    return Err(LinkError::Unexpected("QoS 2"));
                }
                // Copied, so that a small message does not keep the whole read buffer in memory.
                let payload = Bytes::copy_from_slice(&publish.payload);
                let identifiers = publish.properties.subscription_identifiers();
                let message = Message { topic: publish.topic_name, payload, retain: publish.retain };
                shared.registry.dispatch(&message, &identifiers);
                if let Some(id) = publish.packet_id {
                    acks.send(id).await.map_err(|_| LinkError::Closed)?;
                }
            }
            Packet::PubAck(ack) => {
                let landed = flight.land(ack.packet_id);
                if let (Some(landed), true) = (landed, ack.reason_code.is_error()) {
                    let Message { topic, .. } = landed.message;
                    tracing::warn!(topic, reason = ?ack.reason_code, "MQTT broker refused a message");
                    metrics::counter!("bus_publish_refused_total").increment(1);
                }
            }
            Packet::SubAck(ack) => report_refused(&ack, &flight.subscribed(ack.packet_id)),
            Packet::UnsubAck(ack) => drop(flight.subscribed(ack.packet_id)),
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => return Err(LinkError::Disconnected(disconnect.reason_code)),
            other => return Err(LinkError::Unexpected(other.packet_type_name())),
        }
    }
}

fn report_refused(ack: &SubAckPacket, filters: &[String]) {
    for (code, filter) in ack.reason_codes.iter().zip(filters) {
        if !code.is_success() {
            tracing::warn!(filter, reason = ?code, "MQTT broker refused a subscription");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::owned::Owned;

    fn message(topic: &str, retain: bool) -> Message {
        Message { topic: topic.into(), payload: Bytes::from_static(b"x"), retain }
    }

    #[tokio::test]
    async fn a_queued_retained_message_never_overwrites_what_was_put_back() {
        let (sender, mut queue) = mpsc::channel(8);
        let mut owned = Owned::default();
        sender.send(owned.note(message("old", true))).await.unwrap();
        sender.send(owned.note(message("kept", false))).await.unwrap();
        owned.note(message("old", true));
        let (replay, horizon) = owned.all();
        sender.send(owned.note(message("new", true))).await.unwrap();
        drop(sender);
        let (flight, mut replay) = (Flight::new(8), VecDeque::from(replay));
        let mut sent = Vec::new();
        while let Some((outgoing, _)) = next(&flight, &mut replay, &mut queue, horizon).await {
            sent.push(outgoing.message.topic);
        }
        assert_eq!(sent, ["old", "kept", "new"]);
    }

    #[tokio::test]
    async fn what_was_not_acknowledged_is_sent_again_in_order_but_not_for_ever() {
        let flight = Flight::new(8);
        let mut owned = Owned::default();
        let mut fly = |topic: &str, retain: bool, sent: u8| {
            let outgoing = Outgoing { sent, ..owned.note(message(topic, retain)) };
            flight.take_off(outgoing, flight.room.try_acquire().unwrap())
        };
        let first = fly("acknowledged", false, 1);
        for (topic, retain, sent) in [("a", false, 1), ("put back anyway", true, 1), ("poison", false, SENDS_MAX)] {
            fly(topic, retain, sent);
        }
        fly("b", false, 2);
        assert_eq!(flight.land(first).unwrap().message.topic, "acknowledged");
        assert!(flight.land(first).is_none());
        assert_eq!(flight.room.available_permits(), 4);
        let again: Vec<String> = flight.unacknowledged().into_iter().map(|outgoing| outgoing.message.topic).collect();
        assert_eq!(again, ["a", "b"]);
    }
}
