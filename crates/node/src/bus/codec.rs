//! Frames MQTT 5 packets, with a bound on their length before anything is allocated. Pure.

use bytes::{Buf, BytesMut};
use mqtt5::packet::{FixedHeader, Packet};
use mqtt5::transport::packet_io::encode_packet_to_buffer;
use tokio_util::codec::{Decoder, Encoder};

use super::PACKET_BYTES_MAX;

const PROTOCOL_VERSION: u8 = 5;
/// A packet type byte and at most four bytes of "remaining length" (MQTT 5, 2.1.4).
const HEADER_BYTES_MAX: usize = 5;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Mqtt(#[from] mqtt5::MqttError),
    #[error("packet of {0} bytes is too long")]
    TooLong(usize),
}

/// Reads and writes packets on a byte stream.
#[derive(Debug, Default)]
pub(super) struct Codec;

impl Decoder for Codec {
    type Item = Packet;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        let Some(header_bytes) = header_length(buffer) else {
            // Five bytes that do not end a length cannot become one.
            return if buffer.len() >= HEADER_BYTES_MAX { Err(CodecError::TooLong(buffer.len())) } else { Ok(None) };
        };
        let mut header_buffer = buffer.clone();
        let header = FixedHeader::decode(&mut header_buffer)?;
        let total = usize::try_from(header.remaining_length).unwrap_or(usize::MAX).saturating_add(header_bytes);
        if total > PACKET_BYTES_MAX {
            return Err(CodecError::TooLong(total));
        }
        if buffer.len() < total {
            buffer.reserve(total - buffer.len());
            return Ok(None);
        }
        let mut body = buffer.split_to(total).freeze();
        body.advance(header_bytes);
        Ok(Some(Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, PROTOCOL_VERSION)?))
    }
}

/// Bytes of the fixed header, once it is there as a whole.
fn header_length(buffer: &[u8]) -> Option<usize> {
    let length = buffer.iter().skip(1).take(HEADER_BYTES_MAX - 1).position(|byte| byte & 0x80 == 0)?;
    Some(length + 2)
}

impl Encoder<&Packet> for Codec {
    type Error = CodecError;

    fn encode(&mut self, packet: &Packet, buffer: &mut BytesMut) -> Result<(), CodecError> {
        Ok(encode_packet_to_buffer(packet, buffer)?)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use mqtt5::QoS;
    use mqtt5::packet::publish::PublishPacket;

    use super::*;

    #[test]
    fn a_packet_reads_back_whatever_the_pieces() {
        let sent = PublishPacket::new("a/b", vec![7_u8; 300], QoS::AtLeastOnce).with_packet_id(9);
        let mut wire = BytesMut::new();
        Codec.encode(&Packet::Publish(sent), &mut wire).unwrap();
        let mut buffer = BytesMut::new();
        let mut read = None;
        for (index, byte) in wire.iter().enumerate() {
            assert!(read.is_none(), "complete after {index} of {} bytes", wire.len());
            buffer.put_u8(*byte);
            read = Codec.decode(&mut buffer).unwrap();
        }
        let Some(Packet::Publish(read)) = read else { panic!("{read:?}") };
        assert_eq!((read.topic_name.as_str(), read.packet_id, read.payload.len()), ("a/b", Some(9), 300));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_long_packet_is_refused_by_its_header() {
        // PUBLISH of 2 MB, of which only the header is there.
        let mut buffer = BytesMut::from(&[0x30, 0x80, 0x89, 0x7a][..]);
        assert!(matches!(Codec.decode(&mut buffer), Err(CodecError::TooLong(_))));
        let mut endless = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(Codec.decode(&mut endless).is_err());
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut buffer = BytesMut::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                buffer.put_u8(state.to_be_bytes()[0]);
            }
            while let Ok(Some(_)) = Codec.decode(&mut buffer) {}
        }
    }
}
