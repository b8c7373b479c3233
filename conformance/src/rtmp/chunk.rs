//! The RTMP chunk stream (RTMP 1.0, section 5.3): a writer with every choice open, and a reader for servers' answers. Pure.
//!
//! The writer of an encoder makes one good choice; this one can make all choices, allowed or not.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Chunk size in bytes before the first Set Chunk Size message (5.4.1).
pub const CHUNK_BYTES_INITIAL: u32 = 128;
/// Value of a timestamp field that an extended timestamp of four bytes follows (5.3.1.3).
const EXTENDED: u32 = 0x00FF_FFFF;
/// Longest message of a server that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most chunk streams of a server that are read.
const ANSWER_STREAMS_MAX: usize = 32;

/// Message types (5.4, 7.1).
pub mod kind {
    /// Protocol control: set chunk size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Protocol control: abort message.
    pub const ABORT: u8 = 2;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    /// Data in AMF 0: metadata.
    pub const DATA: u8 = 18;
    /// Command in AMF 0.
    pub const COMMAND: u8 = 20;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds modulo 2^32.
    pub stamp_ms: u32,
    /// Message type.
    pub kind: u8,
    /// Message stream ID.
    pub stream: u32,
    pub body: Bytes,
}

/// Which message headers are written (5.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Type 0 with an absolute timestamp for each message.
    Whole,
    /// Type 1 with a delta for each message, except the first of a chunk stream and one whose time goes back.
    Deltas,
    /// As `Deltas`, with every delta in the extended field, however small.
    ExtendedDeltas,
}

/// Whether type 3 chunks repeat the extended timestamp (5.3.1.3 says yes; some encoders say no).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuations {
    /// As specified.
    RepeatExtended,
    /// As old forks of librtmp.
    OmitExtended,
}

/// How a [`ChunkWriter`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub headers: Headers,
    /// Extended timestamps in type 3 chunks.
    pub continuations: Continuations,
}

impl Default for Style {
    fn default() -> Self {
        Self { headers: Headers::Deltas, continuations: Continuations::RepeatExtended }
    }
}

/// What the reader of a chunk stream remembers, as far as the writer uses it.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamp_ms: u32,
    stream: u32,
}

/// Splits messages into chunks, and remembers the last timestamp of each chunk stream.
#[derive(Debug)]
pub struct ChunkWriter {
    /// Its style, which may change between messages.
    pub style: Style,
    chunk_bytes: u32,
    known: BTreeMap<u32, Known>,
}

impl ChunkWriter {
    /// A writer at the start of a connection.
    #[must_use]
    pub const fn new(style: Style) -> Self {
        Self { style, chunk_bytes: CHUNK_BYTES_INITIAL, known: BTreeMap::new() }
    }

    /// Writes a Set Chunk Size message (5.4.1), and uses that size from here on. Writes a `size` of 0, too, but then uses 1.
    pub fn set_chunk_size(&mut self, size: u32) -> Vec<u8> {
        let body = Bytes::copy_from_slice(&size.to_be_bytes());
        let out = self.message(2, &Message { stamp_ms: 0, kind: kind::SET_CHUNK_SIZE, stream: 0, body });
        self.chunk_bytes = size.max(1);
        out
    }

    /// Current chunk size, in bytes.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        usize::try_from(self.chunk_bytes).unwrap_or(usize::MAX).max(1)
    }

    /// Bytes of a whole message on a chunk stream (2 to 65,599).
    pub fn message(&mut self, csid: u32, message: &Message) -> Vec<u8> {
        self.chunks(csid, message).concat()
    }

    /// The chunks of a message, for callers that put something between them.
    pub fn chunks(&mut self, csid: u32, message: &Message) -> Vec<Vec<u8>> {
        let (mut first, extended) = self.header(csid, message);
        let mut pieces = message.body.chunks(self.chunk_bytes());
        first.extend_from_slice(pieces.next().unwrap_or_default());
        let mut out = vec![first];
        for piece in pieces {
            out.push(self.continuation(csid, extended, piece));
        }
        out
    }

    /// A type 3 chunk of a message whose header had the extended timestamp `extended`.
    #[must_use]
    pub fn continuation(&self, csid: u32, extended: Option<u32>, piece: &[u8]) -> Vec<u8> {
        let mut out = basic_header(3, csid);
        if let Some(value) = extended
            && self.style.continuations == Continuations::RepeatExtended
        {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(piece);
        out
    }

    /// The header of a message, and its extended timestamp.
    pub fn header(&mut self, csid: u32, message: &Message) -> (Vec<u8>, Option<u32>) {
        let Message { stamp_ms, kind, stream, body } = message;
        let known = self.known.insert(csid, Known { stamp_ms: *stamp_ms, stream: *stream });
        let delta = known.filter(|known| known.stream == *stream).map(|known| stamp_ms.wrapping_sub(known.stamp_ms));
        // A delta of 2^31 or more goes back in time, which only an absolute timestamp can express.
        let delta = delta.filter(|delta| self.style.headers != Headers::Whole && *delta < 1 << 31);
        let (format, time) = delta.map_or((0, *stamp_ms), |delta| (1, delta));
        let force = format == 1 && self.style.headers == Headers::ExtendedDeltas;
        let extended = (force || time >= EXTENDED).then_some(time);
        let mut out = basic_header(format, csid);
        out.extend_from_slice(&be24(extended.map_or(time, |_| EXTENDED)));
        out.extend_from_slice(&be24(u32::try_from(body.len()).unwrap_or(u32::MAX)));
        out.push(*kind);
        if format == 0 {
            out.extend_from_slice(&stream.to_le_bytes());
        }
        if let Some(value) = extended {
            out.extend_from_slice(&value.to_be_bytes());
        }
        (out, extended)
    }
}

/// A header of type 0 that announces a body of `length` bytes, which need not follow.
#[must_use]
pub fn promise(csid: u32, stamp_ms: u32, kind: u8, length: u32) -> Vec<u8> {
    let mut out = basic_header(0, csid);
    out.extend_from_slice(&be24(stamp_ms));
    out.extend_from_slice(&be24(length));
    out.push(kind);
    out.extend_from_slice(&1_u32.to_le_bytes());
    out
}

/// Chunk type and chunk stream in one, two or three bytes (5.3.1.1).
#[must_use]
pub fn basic_header(format: u8, csid: u32) -> Vec<u8> {
    let format = (format & 3) << 6;
    let above = csid.saturating_sub(64);
    match (u8::try_from(csid), u8::try_from(above), u16::try_from(above)) {
        (Ok(id @ 2..=63), _, _) => vec![format | id],
        (_, Ok(id), _) => vec![format, id],
        (_, _, Ok(id)) => [&[format | 1][..], &id.to_le_bytes()].concat(),
        _ => vec![format | 1, 0xFF, 0xFF],
    }
}

fn be24(value: u32) -> [u8; 3] {
    let [_, a, b, c] = value.to_be_bytes();
    [a, b, c]
}

/// Reads the messages of a server.
#[derive(Debug)]
pub struct ChunkReader {
    buffer: BytesMut,
    chunk_bytes: u32,
    streams: BTreeMap<u32, Answering>,
}

#[derive(Debug, Default)]
struct Answering {
    length: usize,
    kind: u8,
    extended: bool,
    body: Vec<u8>,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), chunk_bytes: CHUNK_BYTES_INITIAL, streams: BTreeMap::new() }
    }
}

impl ChunkReader {
    /// Takes bytes from the network. Returns complete messages as type and body, or `None` when the bytes cannot be parsed.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
        self.buffer.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some((taken, message)) = self.chunk()? {
            let _ = self.buffer.split_to(taken);
            match message {
                Some((kind::SET_CHUNK_SIZE, body)) => {
                    self.chunk_bytes = u32::from_be_bytes(*body.first_chunk::<4>()?).clamp(1, EXTENDED);
                }
                Some(message) => messages.push(message),
                None => {}
            }
        }
        Some(messages)
    }

    /// Reads one chunk: its length, and the message that it completes. `Some(None)` means that more bytes are needed.
    #[expect(clippy::type_complexity, reason = "of one caller")]
    fn chunk(&mut self) -> Option<Option<(usize, Option<(u8, Vec<u8>)>)>> {
        let Some(head) = Head::read(&self.buffer) else { return Some(None) };
        if self.streams.len() > ANSWER_STREAMS_MAX {
            return None;
        }
        let state = self.streams.entry(head.csid).or_default();
        if let Some((length, kind)) = head.message {
            (state.length, state.kind) = (usize::try_from(length).ok()?, kind);
        }
        if let Some(time) = head.time {
            state.extended = time == EXTENDED;
        }
        if state.length > ANSWER_BYTES_MAX {
            return None;
        }
        let start = head.bytes + if state.extended { 4 } else { 0 };
        let piece = usize::try_from(self.chunk_bytes).ok()?.min(state.length.saturating_sub(state.body.len()));
        let Some(payload) = self.buffer.get(start..start + piece) else { return Some(None) };
        state.body.extend_from_slice(payload);
        let whole = state.body.len() >= state.length;
        Some(Some((start + piece, whole.then(|| (state.kind, std::mem::take(&mut state.body))))))
    }
}

struct Head {
    csid: u32,
    time: Option<u32>,
    message: Option<(u32, u8)>,
    bytes: usize,
}

impl Head {
    fn read(buffer: &[u8]) -> Option<Self> {
        let first = *buffer.first()?;
        let (csid, basic) = match first & 0x3F {
            0 => (u32::from(*buffer.get(1)?) + 64, 2),
            1 => (u32::from(u16::from_le_bytes(*buffer.get(1..)?.first_chunk()?)) + 64, 3),
            id => (u32::from(id), 1),
        };
        let field = |at: usize| {
            let [a, b, c] = *buffer.get(basic + at..)?.first_chunk::<3>()?;
            Some(u32::from_be_bytes([0, a, b, c]))
        };
        let format = first >> 6;
        let time = if format < 3 { Some(field(0)?) } else { None };
        let message = if format < 2 { Some((field(3)?, *buffer.get(basic + 6)?)) } else { None };
        let length = [11, 7, 3, 0].get(usize::from(format)).copied()?;
        buffer.get(basic..basic + length)?;
        Some(Self { csid, time, message, bytes: basic + length })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn video(stamp_ms: u32, body: &[u8]) -> Message {
        Message { stamp_ms, kind: kind::VIDEO, stream: 1, body: Bytes::copy_from_slice(body) }
    }

    fn writer(headers: Headers, continuations: Continuations) -> ChunkWriter {
        ChunkWriter::new(Style { headers, continuations })
    }

    #[test]
    fn chunk_stream_takes_one_two_or_three_bytes() {
        assert_eq!(basic_header(0, 4), [4]);
        assert_eq!(basic_header(3, 64), [0xC0, 0]);
        assert_eq!(basic_header(1, 319), [0x40, 255]);
        assert_eq!(basic_header(0, 320), [1, 0, 1]);
        assert_eq!(basic_header(0, 65_599), [1, 0xFF, 0xFF]);
    }

    #[test]
    fn header_of_type_1_carries_the_delta_and_the_extended_one_too() {
        let mut plain = writer(Headers::Deltas, Continuations::RepeatExtended);
        plain.message(6, &video(20_000_000, b"a"));
        assert_eq!(plain.message(6, &video(20_000_033, b"b")), [0x46, 0, 0, 33, 0, 0, 1, 9, b'b']);
        assert_eq!(
            plain.message(6, &video(120_000_033, b"c")),
            [0x46, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 0x05, 0xF5, 0xE1, 0x00, b'c']
        );
        let mut forced = writer(Headers::ExtendedDeltas, Continuations::RepeatExtended);
        forced.message(6, &video(0, b"a"));
        assert_eq!(forced.message(6, &video(33, b"b")), [0x46, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 0, 0, 0, 33, b'b']);
    }

    #[test]
    fn time_that_goes_back_is_written_absolute() {
        let mut deltas = writer(Headers::Deltas, Continuations::RepeatExtended);
        deltas.message(6, &video(5_000, b"a"));
        assert_eq!(deltas.message(6, &video(4_000, b"b"))[..4], [0x06, 0, 0x0F, 0xA0]);
    }

    #[test]
    fn type_3_repeats_the_extended_timestamp_or_leaves_it_out() {
        for (continuations, length) in [(Continuations::RepeatExtended, 5), (Continuations::OmitExtended, 1)] {
            let mut whole = writer(Headers::Whole, continuations);
            let chunks = whole.chunks(6, &video(0x0100_0000, &[7; 129]));
            assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [16 + 128, length + 1]);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            bodies in prop::collection::vec((prop::sample::select(vec![3_u32, 64, 400]), prop::collection::vec(any::<u8>(), 1..600), any::<u32>()), 1..20),
            size in 1_u32..5_000, step in 1_usize..700,
        ) {
            let mut wire = writer(Headers::Deltas, Continuations::RepeatExtended);
            let mut bytes = wire.set_chunk_size(size);
            for (csid, body, stamp) in &bodies {
                bytes.extend(wire.message(*csid, &video(*stamp, body)));
            }
            let mut reader = ChunkReader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(step) {
                read.extend(reader.read(piece).expect("it is valid"));
            }
            let expected: Vec<_> = bodies.into_iter().map(|(_, body, _)| (kind::VIDEO, body)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = ChunkReader::default().read(&bytes);
        }
    }
}
