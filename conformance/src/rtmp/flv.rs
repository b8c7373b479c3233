//! Bodies of audio and video messages (Video File Format 10.1, E.4.2 and E.4.3; Enhanced RTMP v2), and FLV files that `ffmpeg` wrote. Pure.

use bytes::Bytes;

use super::chunk::kind;

/// Bytes of an FLV file's header with the first tag size (E.2).
const FILE_HEADER_BYTES: usize = 13;
/// Bytes of a tag's header (E.4.1).
const TAG_HEADER_BYTES: usize = 11;

/// What the body of a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// Parameter sets: the sequence header.
    Config,
    Frame,
}

/// How a video message names its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// A codec number: 7 is AVC; 12 is HEVC, in a form that no specification has.
    Number(u8),
    /// Enhanced RTMP.
    FourCc([u8; 4]),
    /// Enhanced RTMP, a multitrack packet with only this track.
    Track([u8; 4], u8),
}

/// The body of a video message. `composition_ms` is presentation time minus decode time.
#[must_use]
pub fn video(codec: Pictures, packet: Packet, key: bool, composition_ms: i32, data: &[u8]) -> Bytes {
    let frame: u8 = if key { 1 } else { 2 };
    let number = u8::from(packet == Packet::Frame);
    let [_, cts @ ..] = composition_ms.to_be_bytes();
    // AV1 has no reordering that a container must know.
    let timed = |four_cc: [u8; 4]| packet == Packet::Frame && &four_cc != b"av01";
    let mut body = match codec {
        Pictures::Number(codec) => [&[frame << 4 | codec & 0x0F, number][..], &cts].concat(),
        Pictures::FourCc(four_cc) => [&[0x80 | frame << 4 | number][..], &four_cc].concat(),
        Pictures::Track(four_cc, track) => [&[0x80 | frame << 4 | 6, number][..], &four_cc, &[track]].concat(),
    };
    match codec {
        Pictures::FourCc(four_cc) | Pictures::Track(four_cc, _) if timed(four_cc) => body.extend_from_slice(&cts),
        _ => {}
    }
    body.extend_from_slice(data);
    body.into()
}

/// How an audio message names its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sounds {
    /// AAC, with its codec number.
    Aac,
    /// MP3, with its codec number.
    Mp3,
    /// Enhanced RTMP, a multitrack packet with only this track.
    Track([u8; 4], u8),
}

/// The body of an audio message.
#[must_use]
pub fn audio(codec: Sounds, packet: Packet, data: &[u8]) -> Bytes {
    let number = u8::from(packet == Packet::Frame);
    let head = match codec {
        // 44 kHz, 16 bit, stereo: for AAC these fields are fixed (E.4.2.1).
        Sounds::Aac => vec![0xAF, number],
        Sounds::Mp3 => vec![0x2F],
        Sounds::Track(four_cc, track) => [&[0x95, number][..], &four_cc, &[track]].concat(),
    };
    [&head, data].concat().into()
}

/// A tag of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Message type.
    pub kind: u8,
    pub stamp_ms: u32,
    pub body: Bytes,
}

/// The complete tags of an FLV file, which may be cut off.
#[must_use]
pub fn tags(file: &Bytes) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while let Some(header) = file.get(at..at + TAG_HEADER_BYTES) {
        let [kind, a, b, c, d, e, f, high, ..] = *header else { break };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let start = at + TAG_HEADER_BYTES;
        if file.len() < start.saturating_add(length) {
            break;
        }
        let stamp_ms = u32::from_be_bytes([high, d, e, f]);
        tags.push(Tag { kind, stamp_ms, body: file.slice(start..start + length) });
        at = start + length + 4;
    }
    tags
}

/// The fields of a tag with a frame or a sequence header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Which of the two.
    pub packet: Packet,
    /// Whether it is marked as a keyframe.
    pub key: bool,
    /// Presentation time minus decode time.
    pub composition_ms: i32,
    /// The bytes after the headers.
    pub data: Bytes,
}

/// Parses a tag of AVC, AAC or MP3; `None` for all others.
#[must_use]
pub fn parts(tag: &Tag) -> Option<Parts> {
    let first = *tag.body.first()?;
    let packet = |byte: u8| match byte {
        0 => Some(Packet::Config),
        1 => Some(Packet::Frame),
        _ => None,
    };
    match (tag.kind, first & 0x0F, first >> 4) {
        (kind::VIDEO, 7, frame) => {
            let [_, number, a, b, c] = *tag.body.first_chunk::<5>()?;
            let composition_ms = i32::from_be_bytes([a, b, c, 0]) >> 8;
            Some(Parts { packet: packet(number)?, key: frame == 1, composition_ms, data: tag.body.slice(5..) })
        }
        (kind::AUDIO, _, 10) => {
            let packet = packet(*tag.body.get(1)?)?;
            Some(Parts { packet, key: true, composition_ms: 0, data: tag.body.slice(2..) })
        }
        (kind::AUDIO, _, 2) => {
            Some(Parts { packet: Packet::Frame, key: true, composition_ms: 0, data: tag.body.slice(1..) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_headers_of_their_form() {
        let avc = Pictures::Number(7);
        assert_eq!(&video(avc, Packet::Config, true, 0, b"x")[..], b"\x17\0\0\0\0x");
        assert_eq!(&video(avc, Packet::Frame, false, -1, b"x")[..], b"\x27\x01\xFF\xFF\xFFx");
        let hevc = Pictures::FourCc(*b"hvc1");
        assert_eq!(&video(hevc, Packet::Config, true, 0, b"x")[..], b"\x90hvc1x");
        assert_eq!(&video(hevc, Packet::Frame, false, 66, b"x")[..], b"\xA1hvc1\0\0\x42x");
        assert_eq!(&video(Pictures::FourCc(*b"av01"), Packet::Frame, true, 0, b"x")[..], b"\x91av01x");
        assert_eq!(&video(Pictures::Track(*b"avc1", 1), Packet::Config, true, 0, b"x")[..], b"\x96\0avc1\x01x");
        assert_eq!(&audio(Sounds::Aac, Packet::Frame, b"x")[..], b"\xAF\x01x");
        assert_eq!(&audio(Sounds::Track(*b"mp4a", 1), Packet::Frame, b"x")[..], b"\x95\x01mp4a\x01x");
    }

    #[test]
    fn file_is_read_up_to_where_it_is_cut_off() {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        file.extend_from_slice(b"\x09\0\0\x06\0\0\x21\x01\0\0\0\x17\x01\0\0\x42x\0\0\0\x11");
        file.extend_from_slice(b"\x08\0\0\x09\0\0\x21\0\0\0\0\xAF");
        let tags = tags(&file.into());
        assert_eq!(tags.len(), 1);
        assert_eq!(tags[0].stamp_ms, 0x0100_0021);
        let parts = parts(&tags[0]).unwrap();
        assert_eq!(
            (parts.packet, parts.key, parts.composition_ms, &parts.data[..]),
            (Packet::Frame, true, 66, &b"x"[..])
        );
    }
}
