//! Frames MQTT packets, and checks their length before it allocates; the bus and the embedded broker use it. Pure.

use bytes::{Buf, BytesMut};
use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::{FixedHeader, Packet, PacketType};
use tokio_util::codec::{Decoder, Encoder};

use super::PACKET_BYTES_MAX;

/// MQTT 5.
pub(crate) const VERSION_5: u8 = 5;
/// MQTT 3.1.1, which `mosquitto_sub` speaks unless told otherwise.
pub(crate) const VERSION_3_1_1: u8 = 4;
/// A packet type byte and at most four bytes of "remaining length" (MQTT 5, 2.1.4).
const HEADER_BYTES_MAX: usize = 5;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Mqtt(#[from] mqtt5_protocol::MqttError),
    #[error("packet of {0} bytes is too long")]
    TooLong(usize),
}

/// Reads and writes packets on a byte stream.
#[derive(Debug)]
pub(crate) struct Codec {
    /// Longest packet to read.
    pub(crate) packet_bytes_max: usize,
    /// Protocol version of the packets; CONNECT carries its own.
    pub(crate) version: u8,
}

impl Default for Codec {
    fn default() -> Self {
        Self { packet_bytes_max: PACKET_BYTES_MAX, version: VERSION_5 }
    }
}

impl Decoder for Codec {
    type Item = Packet;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        let Some(header_bytes) = header_length(buffer) else {
            // A header of five bytes that does not end its length is not valid.
            return if buffer.len() >= HEADER_BYTES_MAX { Err(CodecError::TooLong(buffer.len())) } else { Ok(None) };
        };
        let header = FixedHeader::decode(&mut buffer.get(..header_bytes).unwrap_or_default())?;
        let total = usize::try_from(header.remaining_length).unwrap_or(usize::MAX).saturating_add(header_bytes);
        if total > self.packet_bytes_max {
            return Err(CodecError::TooLong(total));
        }
        if buffer.len() < total {
            buffer.reserve(total - buffer.len());
            return Ok(None);
        }
        let mut body = buffer.split_to(total).freeze();
        body.advance(header_bytes);
        Ok(Some(Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, self.version)?))
    }
}

/// Bytes of the fixed header, once all of it has arrived.
fn header_length(buffer: &[u8]) -> Option<usize> {
    let length = buffer.iter().skip(1).take(HEADER_BYTES_MAX - 1).position(|byte| byte & 0x80 == 0)?;
    Some(length + 2)
}

impl Encoder<&Packet> for Codec {
    type Error = CodecError;

    fn encode(&mut self, packet: &Packet, buffer: &mut BytesMut) -> Result<(), CodecError> {
        let empty = |kind, buffer: &mut BytesMut| FixedHeader::new(kind, 0, 0).encode(buffer);
        match packet {
            Packet::Connect(packet) => packet.encode(buffer),
            Packet::ConnAck(packet) => packet.encode(buffer),
            Packet::Publish(packet) => packet.encode(buffer),
            Packet::PubAck(packet) => packet.encode(buffer),
            Packet::PubRec(packet) => packet.encode(buffer),
            Packet::PubRel(packet) => packet.encode(buffer),
            Packet::PubComp(packet) => packet.encode(buffer),
            Packet::Subscribe(packet) => packet.encode(buffer),
            Packet::SubAck(packet) => packet.encode(buffer),
            Packet::Unsubscribe(packet) => packet.encode(buffer),
            Packet::UnsubAck(packet) => packet.encode(buffer),
            Packet::PingReq => empty(PacketType::PingReq, buffer),
            Packet::PingResp => empty(PacketType::PingResp, buffer),
            // In MQTT 3.1.1 DISCONNECT has no body (3.14); in MQTT 5 the body may be left out for a normal disconnect.
            Packet::Disconnect(_) if self.version == VERSION_3_1_1 => empty(PacketType::Disconnect, buffer),
            Packet::Disconnect(packet) => packet.encode(buffer),
            Packet::Auth(packet) => packet.encode(buffer),
        }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use mqtt5_protocol::QoS;
    use mqtt5_protocol::packet::publish::PublishPacket;

    use super::*;

    #[test]
    fn a_packet_reads_back_whatever_the_pieces() {
        let sent = PublishPacket::new("a/b", vec![7_u8; 300], QoS::AtLeastOnce).with_packet_id(9);
        let mut wire = BytesMut::new();
        Codec::default().encode(&Packet::Publish(sent), &mut wire).unwrap();
        let mut buffer = BytesMut::new();
        let mut read = None;
        for (index, byte) in wire.iter().enumerate() {
            assert!(read.is_none(), "complete after {index} of {} bytes", wire.len());
            buffer.put_u8(*byte);
            read = Codec::default().decode(&mut buffer).unwrap();
        }
        let Some(Packet::Publish(read)) = read else { panic!("{read:?}") };
        assert_eq!((read.topic_name.as_str(), read.packet_id, read.payload.len()), ("a/b", Some(9), 300));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_long_packet_is_refused_by_its_header() {
        // PUBLISH of 2 MB, of which only the header is there.
        let mut buffer = BytesMut::from(&[0x30, 0x80, 0x89, 0x7a][..]);
        assert!(matches!(Codec::default().decode(&mut buffer), Err(CodecError::TooLong(_))));
        let mut endless = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(Codec::default().decode(&mut endless).is_err());
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut state = 1_u64;
        for round in 0..40_000 {
            let mut codec =
                Codec { version: if round % 2 == 0 { VERSION_5 } else { VERSION_3_1_1 }, ..Codec::default() };
            let mut buffer = BytesMut::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                buffer.put_u8(state.to_be_bytes()[0]);
            }
            while let Ok(Some(_)) = codec.decode(&mut buffer) {}
        }
    }
}
