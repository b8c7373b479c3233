//! The RTMP chunk stream, receiving side: bytes in, messages out (RTMP 1.0, section 5.3).
//!
//! We do not use `rml_rtmp`'s reader. It assembles only one message per connection, so interleaved chunk streams corrupt one another.
//! A header that shortens an unfinished message makes it panic, and it adds the extended timestamp of type 1 and 2 headers twice when
//! the timestamp wraps. Here every length is bounded. Pure.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{
    ASSEMBLY_BYTES_MAX, ASSEMBLY_BYTES_UNPUBLISHED_MAX, CHUNK_BYTES_MAX, CHUNK_STREAMS_MAX, MESSAGE_BYTES_MAX,
    MESSAGE_BYTES_UNPUBLISHED_MAX,
};

/// Chunk size in bytes until the peer announces another (5.4.1).
const CHUNK_SIZE_INITIAL: u32 = 128;
/// A larger chunk size counts as this one: no message is longer, so larger chunks make no difference (5.4.1).
const CHUNK_SIZE_USED_MAX: u32 = 0x00FF_FFFF;
/// Longest header: basic header, message header and extended timestamp (5.3.1).
const HEADER_BYTES_MAX: usize = 3 + 11 + 4;
/// A timestamp field of this value announces four more bytes (5.3.1.3).
const EXTENDED: u32 = 0x00FF_FFFF;

/// Why the chunk stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk stream begins with a compressed header.
    #[error("chunk stream {0} starts with a compressed header")]
    NoHeader(u32),
    /// A message header comes before the previous message is complete.
    #[error("chunk stream {0} starts a message within a message")]
    Overlap(u32),
    /// A message is longer than [`MESSAGE_BYTES_MAX`], or, before a publisher is accepted, [`MESSAGE_BYTES_UNPUBLISHED_MAX`].
    #[error("message of {0} bytes is longer than {1} bytes")]
    MessageTooLong(u32, u32),
    /// Unfinished messages exceed [`ASSEMBLY_BYTES_MAX`], or, before a publisher is accepted, [`ASSEMBLY_BYTES_UNPUBLISHED_MAX`].
    #[error("unfinished messages hold more than {0} bytes")]
    AssemblyTooLong(usize),
    /// More than [`CHUNK_STREAMS_MAX`] chunk streams.
    #[error("more than {CHUNK_STREAMS_MAX} chunk streams")]
    TooManyStreams,
    /// Chunk size 0, or beyond [`CHUNK_BYTES_MAX`].
    #[error("chunk size {0:#x} is not allowed")]
    ChunkSize(u32),
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds modulo 2^32, from an arbitrary zero.
    pub timestamp_ms: u32,
    /// Message type (5.4, 7.1).
    pub kind: u8,
    /// Id of the message stream; 0 is the connection's own.
    pub stream: u32,
    pub data: Bytes,
}

/// State of one chunk stream.
#[derive(Debug, Default)]
struct ChunkStream {
    timestamp_ms: u32,
    delta_ms: u32,
    extended: bool,
    length: u32,
    kind: u8,
    stream: u32,
    /// `None` between messages.
    assembly: Option<BytesMut>,
}

/// A chunk header as sent.
#[derive(Debug, Clone, Copy)]
struct Header {
    format: u8,
    id: u32,
    /// The three-byte field; 0 in type 3.
    time_field: u32,
    length: u32,
    kind: u8,
    stream: u32,
    /// Bytes of the header without the extended timestamp.
    bytes: usize,
}

/// Reads chunks. Handles Set Chunk Size and Abort itself (5.4.1, 5.4.2) and does not return them.
#[derive(Debug)]
pub struct ChunkReader {
    buffer: BytesMut,
    streams: HashMap<u32, ChunkStream>,
    chunk_size: u32,
    message_bytes_max: u32,
    assembly_bytes_max: usize,
    /// Bytes in all assemblies.
    assembling: usize,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkReader {
    /// A reader before its first byte.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            streams: HashMap::new(),
            chunk_size: CHUNK_SIZE_INITIAL,
            message_bytes_max: MESSAGE_BYTES_UNPUBLISHED_MAX,
            assembly_bytes_max: ASSEMBLY_BYTES_UNPUBLISHED_MAX,
            assembling: 0,
        }
    }

    /// Raises the limits once the publisher is accepted: messages may now be as long as [`MESSAGE_BYTES_MAX`].
    pub fn allow_media(&mut self) {
        self.assembly_bytes_max = ASSEMBLY_BYTES_MAX;
        self.message_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// Takes bytes from the network. The caller drains [`Self::next_message`] before it gives more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more bytes are needed. After an error the connection cannot be read further.
    pub fn next_message(&mut self) -> Result<Option<Message>, ChunkError> {
        while let Some(step) = self.chunk()? {
            match step {
                None => {}
                Some(message) if message.kind == 1 => self.set_chunk_size(&message.data)?,
                Some(message) if message.kind == 2 => self.abort(&message.data),
                Some(message) => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    /// Panics when buffers exceed their limits or are counted wrongly. Valid whenever [`Self::next_message`] has returned `None`.
    pub fn check_invariants(&self) {
        let assemblies = self.streams.values().filter_map(|stream| stream.assembly.as_ref());
        let held = assemblies.fold(0_usize, |sum, assembly| sum.saturating_add(assembly.len()));
        assert_eq!(held, self.assembling, "bytes under assembly");
        assert!(held <= self.assembly_bytes_max, "{held} bytes under assembly");
        assert!(self.streams.len() <= CHUNK_STREAMS_MAX, "{} chunk streams", self.streams.len());
        let chunk_bytes_max = usize::try_from(self.message_bytes_max).unwrap_or(usize::MAX);
        let waiting_max = chunk_bytes_max.saturating_add(HEADER_BYTES_MAX);
        assert!(self.buffer.len() <= waiting_max, "{} bytes wait for the rest of a chunk", self.buffer.len());
    }

    /// Reads one chunk. `None`: more bytes needed; `Some(None)`: read, but no message is complete yet.
    ///
    /// It consumes only whole chunks, so `buffer` holds the payload until then: at most one message and one header.
    fn chunk(&mut self) -> Result<Option<Option<Message>>, ChunkError> {
        let Some(header) = parse_header(&self.buffer) else { return Ok(None) };
        let known = self.streams.get(&header.id);
        if known.is_none() && header.format != 0 {
            return Err(ChunkError::NoHeader(header.id));
        }
        if known.is_none() && self.streams.len() >= CHUNK_STREAMS_MAX {
            return Err(ChunkError::TooManyStreams);
        }
        let under_way = known.and_then(|known| known.assembly.as_ref()).map(BytesMut::len);
        if under_way.is_some() && header.format != 3 {
            return Err(ChunkError::Overlap(header.id));
        }
        let (length, extended) = match known {
            Some(known) if header.format == 3 => (known.length, known.extended),
            Some(known) if header.format == 2 => (known.length, header.time_field == EXTENDED),
            _ => (header.length, header.time_field == EXTENDED),
        };
        if length > self.message_bytes_max {
            return Err(ChunkError::MessageTooLong(length, self.message_bytes_max));
        }
        let Some((time, skip)) = self.extended_time(&header, extended) else { return Ok(None) };
        let missing = length.saturating_sub(u32::try_from(under_way.unwrap_or(0)).unwrap_or(u32::MAX));
        let take = usize::try_from(missing.min(self.chunk_size)).unwrap_or(usize::MAX);
        if self.buffer.len() < skip.saturating_add(take) {
            return Ok(None);
        }
        self.buffer.advance(skip);
        let payload = self.buffer.split_to(take);
        self.apply(header, time, extended, payload).map(Some)
    }

    /// The time of this header (absolute or delta) and the length of header and extended timestamp. `None`: more bytes needed.
    ///
    /// Some encoders omit the extended timestamp in type 3 chunks (against 5.3.1.3). There it counts as present only when it repeats the
    /// previous one.
    fn extended_time(&self, header: &Header, extended: bool) -> Option<(u32, usize)> {
        if !extended {
            return Some((header.time_field, header.bytes));
        }
        let field = self.buffer.get(header.bytes..header.bytes.checked_add(4)?)?;
        let value = u32::from_be_bytes(field.try_into().ok()?);
        if header.format == 3 {
            let known = self.streams.get(&header.id)?;
            let repeats = value == known.delta_ms || value == known.timestamp_ms;
            return Some((known.delta_ms, if repeats { header.bytes.saturating_add(4) } else { header.bytes }));
        }
        Some((value, header.bytes.saturating_add(4)))
    }

    fn apply(
        &mut self,
        header: Header,
        time: u32,
        extended: bool,
        payload: BytesMut,
    ) -> Result<Option<Message>, ChunkError> {
        let taken = payload.len();
        let state = self.streams.entry(header.id).or_default();
        if state.assembly.is_none() {
            match header.format {
                0 => (state.timestamp_ms, state.delta_ms) = (time, time),
                1 | 2 => {
                    state.timestamp_ms = state.timestamp_ms.wrapping_add(time);
                    state.delta_ms = time;
                }
                // After a type 0 header its timestamp is the delta (5.3.1.2.4), odd as that is; ffmpeg sends it so.
                _ => state.timestamp_ms = state.timestamp_ms.wrapping_add(state.delta_ms),
            }
            if header.format < 3 {
                state.extended = extended;
            }
            if header.format < 2 {
                (state.length, state.kind) = (header.length, header.kind);
            }
            if header.format == 0 {
                state.stream = header.stream;
            }
        }
        let whole = usize::try_from(state.length).unwrap_or(usize::MAX);
        let mut assembly = match state.assembly.take() {
            Some(mut assembly) => {
                assembly.extend_from_slice(&payload);
                assembly
            }
            None if taken >= whole => payload,
            // A copy: a slice of a few bytes would keep the whole buffer alive.
            None => BytesMut::from(&payload[..]),
        };
        if assembly.len() >= whole {
            self.assembling = self.assembling.saturating_sub(assembly.len().saturating_sub(taken));
            let (timestamp_ms, kind, stream) = (state.timestamp_ms, state.kind, state.stream);
            return Ok(Some(Message { timestamp_ms, kind, stream, data: assembly.split().freeze() }));
        }
        state.assembly = Some(assembly);
        self.assembling = self.assembling.saturating_add(taken);
        if self.assembling > self.assembly_bytes_max {
            return Err(ChunkError::AssemblyTooLong(self.assembly_bytes_max));
        }
        Ok(None)
    }

    fn set_chunk_size(&mut self, data: &[u8]) -> Result<(), ChunkError> {
        let size = data.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        if size == 0 || size > CHUNK_BYTES_MAX {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk_size = size.min(CHUNK_SIZE_USED_MAX);
        Ok(())
    }

    fn abort(&mut self, data: &[u8]) {
        let Some(id) = data.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else { return };
        if let Some(dropped) = self.streams.get_mut(&id).and_then(|state| state.assembly.take()) {
            self.assembling = self.assembling.saturating_sub(dropped.len());
        }
    }
}

/// Reads the basic and the message header (5.3.1.1, 5.3.1.2). `None` when more bytes are needed.
fn parse_header(buffer: &[u8]) -> Option<Header> {
    let first = *buffer.first()?;
    let (id, basic) = match first & 0x3F {
        0 => (u32::from(*buffer.get(1)?).saturating_add(64), 2),
        1 => (u32::from(u16::from_le_bytes([*buffer.get(1)?, *buffer.get(2)?])).saturating_add(64), 3),
        id => (u32::from(id), 1),
    };
    let format = first >> 6;
    let mut header = Header { format, id, time_field: 0, length: 0, kind: 0, stream: 0, bytes: basic };
    let rest = buffer.get(basic..)?;
    if format < 3 {
        header.time_field = be24(rest)?;
        header.bytes = basic.saturating_add(3);
    }
    if format < 2 {
        header.length = be24(rest.get(3..)?)?;
        header.kind = *rest.get(6)?;
        header.bytes = basic.saturating_add(7);
    }
    if format == 0 {
        header.stream = u32::from_le_bytes(*rest.get(7..)?.first_chunk::<4>()?);
        header.bytes = basic.saturating_add(11);
    }
    Some(header)
}

fn be24(bytes: &[u8]) -> Option<u32> {
    let [a, b, c] = *bytes.first_chunk::<3>()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header0(id: u8, time: u32, length: u32, kind: u8) -> Vec<u8> {
        let mut out = vec![id];
        out.extend_from_slice(&time.min(EXTENDED).to_be_bytes()[1..]);
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.push(kind);
        out.extend_from_slice(&1_u32.to_le_bytes());
        if time >= EXTENDED {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
        let mut reader = ChunkReader::new();
        let mut messages = Vec::new();
        for byte in bytes {
            reader.push(&[*byte]);
            while let Some(message) = reader.next_message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    fn times(bytes: &[u8]) -> Vec<u32> {
        read(bytes).unwrap().iter().map(|message| message.timestamp_ms).collect()
    }

    #[test]
    fn interleaved_chunk_streams_are_kept_apart() {
        let mut bytes = [header0(4, 10, 200, 9), vec![b'v'; 128], header0(5, 12, 3, 8), vec![b'a'; 3]].concat();
        bytes.extend([vec![0xC4], vec![b'v'; 72]].concat());
        let messages = read(&bytes).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].kind, &messages[0].data[..]), (8, &b"aaa"[..]));
        assert_eq!((messages[1].kind, messages[1].data.len(), messages[1].timestamp_ms), (9, 200, 10));
        assert!(messages[1].data.iter().all(|byte| *byte == b'v'));
    }

    #[test]
    fn extended_timestamp_of_a_compressed_header_is_a_delta() {
        let mut bytes = [header0(4, 1000, 1, 9), vec![0]].concat();
        bytes.extend([0x44, 0xFF, 0xFF, 0xFF, 0, 0, 1, 9, 0x01, 0x00, 0x00, 0x00, 0]);
        assert_eq!(times(&bytes), [1000, 1000 + 0x0100_0000]);
    }

    #[test]
    fn continuation_is_read_with_and_without_the_repeated_extended_timestamp() {
        let time: u32 = 0xFFFF_FFF0;
        let head = [header0(4, time, 130, 9), vec![7; 128]].concat();
        for repeated in [time.to_be_bytes().to_vec(), Vec::new()] {
            // One byte more follows, so that the reader can look four bytes ahead.
            let next = [header0(5, 3, 1, 8), vec![0]].concat();
            let bytes = [head.clone(), vec![0xC4], repeated, vec![7; 2], next].concat();
            let messages = read(&bytes).unwrap();
            assert_eq!(messages.len(), 2);
            assert_eq!((messages[0].timestamp_ms, messages[0].data.len()), (time, 130));
            assert!(messages[0].data.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn clock_wraps_at_32_bits() {
        let mut bytes = [header0(4, u32::MAX - 15, 1, 9), vec![0]].concat();
        bytes.extend([0x84, 0, 0, 40, 0]);
        bytes.extend([0xC4, 0]);
        assert_eq!(times(&bytes), [u32::MAX - 15, 24, 64]);
    }

    #[test]
    fn chunk_size_follows_the_peer_within_bounds() {
        let set = |size: u32| [header0(2, 0, 4, 1), size.to_be_bytes().to_vec()].concat();
        let message = [header0(4, 0, 300, 9), vec![1; 300]].concat();
        assert_eq!(read(&[set(65_536), message.clone()].concat()).unwrap().len(), 1);
        assert_eq!(read(&[set(0x7FFF_FFFF), message].concat()).unwrap().len(), 1);
        let one = (0..3).flat_map(|n| if n == 0 { [header0(4, 0, 3, 9), vec![1]].concat() } else { vec![0xC4, 1] });
        assert_eq!(read(&[set(1), one.collect()].concat()).unwrap().len(), 1);
        assert_eq!(read(&set(0)), Err(ChunkError::ChunkSize(0)));
        assert_eq!(read(&set(0x8000_0000)), Err(ChunkError::ChunkSize(0x8000_0000)));
    }

    #[test]
    fn aborted_message_is_forgotten() {
        let abort = [header0(2, 0, 4, 2), 4_u32.to_be_bytes().to_vec()].concat();
        let bytes = [header0(4, 0, 300, 9), vec![1; 128], abort, header0(4, 5, 1, 9), vec![2]].concat();
        let messages = read(&bytes).unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(&messages[0].data[..], &[2]);
    }

    #[test]
    fn oversized_and_impossible_headers_are_refused() {
        assert_eq!(read(&header0(4, 0, 0x00FF_FFFF, 9)), Err(ChunkError::MessageTooLong(0x00FF_FFFF, 65_536)));
        assert_eq!(read(&[0xC4]), Err(ChunkError::NoHeader(4)));
        let shortened = [header0(4, 0, 300, 9), vec![1; 128], vec![0x44, 0, 0, 0, 0, 0, 1, 9]].concat();
        assert_eq!(read(&shortened), Err(ChunkError::Overlap(4)));
        let many: Vec<u8> = (0..=255_u8).flat_map(|n| [&[0, n], &header0(0, 0, 0, 9)[1..]].concat()).collect();
        assert_eq!(read(&many), Err(ChunkError::TooManyStreams));
    }

    #[test]
    fn message_may_be_as_long_as_the_limit_and_no_longer() {
        let head = |length| [header0(2, 0, 4, 1), vec![0x7F, 0xFF, 0xFF, 0xFF], header0(4, 0, length, 9)].concat();
        let read_as = |publishing: bool, bytes: &[u8]| {
            let mut reader = ChunkReader::new();
            if publishing {
                reader.allow_media();
            }
            reader.push(bytes);
            reader.next_message().map(|message| message.map(|message| message.data.len()))
        };
        for (publishing, max) in [(false, MESSAGE_BYTES_UNPUBLISHED_MAX), (true, MESSAGE_BYTES_MAX)] {
            let length = usize::try_from(max).unwrap();
            assert_eq!(read_as(publishing, &[head(max), vec![1; length]].concat()), Ok(Some(length)));
            assert_eq!(read_as(publishing, &head(max + 1)), Err(ChunkError::MessageTooLong(max + 1, max)));
        }
    }

    #[test]
    fn unfinished_messages_may_hold_as_much_as_the_limit_and_no_more() {
        for (max, publishing) in [(ASSEMBLY_BYTES_UNPUBLISHED_MAX, false), (ASSEMBLY_BYTES_MAX, true)] {
            let mut reader = ChunkReader::new();
            if publishing {
                reader.allow_media();
            }
            // Messages of half the limit; of each, all but the last byte arrive.
            let half = u32::try_from(max / 2).unwrap();
            let size = |bytes: u32| [header0(2, 0, 4, 1), bytes.to_be_bytes().to_vec()].concat();
            let part = |id| [header0(id, 0, half, 9), vec![1; max / 2 - 1]].concat();
            reader.push(&[size(half - 1), part(4), part(5)].concat());
            assert_eq!(reader.next_message(), Ok(None));
            reader.push(&[vec![0xC4, 0], part(4)].concat());
            assert_eq!(reader.next_message().unwrap().unwrap().data.len(), max / 2, "room again");
            reader.push(&[size(1), header0(6, 0, half, 9), vec![1, 0xC6, 1]].concat());
            assert_eq!((reader.next_message(), reader.assembling), (Ok(None), max), "at the limit");
            reader.push(&[0xC6, 1]);
            assert_eq!(reader.next_message(), Err(ChunkError::AssemblyTooLong(max)));
        }
    }

    #[test]
    fn as_many_chunk_streams_as_the_limit_are_read_and_no_more() {
        let streams = |count: usize| (3..).take(count).flat_map(|id| header0(id, 0, 0, 9)).collect::<Vec<u8>>();
        let limit = CHUNK_STREAMS_MAX.min(60);
        let more = |count: u8| (0..count).flat_map(|id| [&[0, id][..], &header0(0, 0, 0, 9)[1..]].concat());
        let at = [streams(limit), more(4).collect()].concat();
        assert_eq!(read(&at).unwrap().len(), CHUNK_STREAMS_MAX);
        assert_eq!(read(&[streams(limit), more(5).collect()].concat()), Err(ChunkError::TooManyStreams));
    }

    #[test]
    fn a_part_of_a_message_keeps_nothing_else_in_memory() {
        let mut reader = ChunkReader::new();
        reader.buffer.reserve(1 << 20);
        reader.push(&[header0(4, 0, 300, 9), vec![1; 128]].concat());
        assert_eq!(reader.next_message(), Ok(None));
        assert!(reader.buffer.try_reclaim(1 << 20), "128 bytes that wait keep the megabyte that they came in");
    }

    #[test]
    fn chunk_stream_ids_of_two_and_three_bytes_are_read() {
        let two = [&[0, 200][..], &header0(0, 1, 1, 9)[1..], &[5]].concat();
        let three = [&[1, 0, 2][..], &header0(0, 2, 1, 9)[1..], &[6]].concat();
        assert_eq!(times(&[two, three].concat()), [1, 2]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stay_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut reader = ChunkReader::new();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_message() {}
            reader.check_invariants();
        }
    }
}
