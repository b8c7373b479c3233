//! The RTMP chunk stream, sending side: a server's messages to a publisher, as chunks (RTMP 1.0, section 5.3). Pure.
//!
//! We do not use `rml_rtmp`'s writer. It writes nothing at all for an empty message, and without compression it begins later chunks of
//! a message with a whole header. It also keeps headers to compress against, which gains nothing for a dozen short answers per
//! connection.

/// Chunk size in bytes until we announce another (5.4.1).
const CHUNK_BYTES_INITIAL: usize = 128;
/// Longest message, in bytes, that a header can describe (5.3.1.2).
const MESSAGE_BYTES_MAX: usize = 0x00FF_FFFF;

#[derive(Debug)]
pub(crate) struct ChunkWriter {
    chunk_bytes: usize,
}

impl ChunkWriter {
    pub(crate) const fn new() -> Self {
        Self { chunk_bytes: CHUNK_BYTES_INITIAL }
    }

    /// Announces another chunk size, 1 to 65,535 bytes, and uses it from then on.
    pub(crate) fn set_chunk_bytes(&mut self, out: &mut Vec<u8>, bytes: u16) {
        self.message(out, 1, 0, &u32::from(bytes).to_be_bytes());
        self.chunk_bytes = usize::from(bytes.max(1));
    }

    /// Writes one message at time 0: the first chunk with a whole header (type 0), the others with none (type 3). Cuts a message longer
    /// than 16 MiB; this crate makes none.
    pub(crate) fn message(&self, out: &mut Vec<u8>, kind: u8, stream: u32, data: &[u8]) {
        let data = data.get(..MESSAGE_BYTES_MAX).unwrap_or(data);
        let [_, length @ ..] = u32::try_from(data.len()).unwrap_or_default().to_be_bytes();
        // Messages about the connection have a chunk stream of their own (5.4); commands use another.
        let id = if kind <= 6 { 2 } else { 3 };
        out.extend_from_slice(&[id, 0, 0, 0]);
        out.extend_from_slice(&length);
        out.push(kind);
        out.extend_from_slice(&stream.to_le_bytes());
        for (index, piece) in data.chunks(self.chunk_bytes).enumerate() {
            if index > 0 {
                out.push(0xC0 | id);
            }
            out.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rml_rtmp::chunk_io::ChunkDeserializer;

    use super::*;

    #[test]
    fn header_stands_once_and_bytes_are_as_in_the_specification() {
        let (writer, mut out) = (ChunkWriter::new(), Vec::new());
        writer.message(&mut out, 20, 1, &[7; 130]);
        assert_eq!(&out[..12], &[3, 0, 0, 0, 0, 0, 130, 20, 1, 0, 0, 0]);
        assert_eq!((out.len(), out[12 + 128], &out[12 + 129..]), (12 + 131, 0xC3, &[7, 7][..]));
    }

    #[test]
    fn empty_message_has_a_header() {
        let mut out = Vec::new();
        ChunkWriter::new().message(&mut out, 20, 0, &[]);
        assert_eq!(out, [3, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0]);
    }

    proptest! {
        /// Another implementation reads the written messages.
        #[test]
        fn messages_are_read_back(
            lengths in proptest::collection::vec((1..6_000_usize, prop_oneof![Just(4_u8), Just(5), Just(20)]), 1..8),
            chunk_bytes in 1..5_000_u16,
        ) {
            let (mut writer, mut out) = (ChunkWriter::new(), Vec::new());
            writer.set_chunk_bytes(&mut out, chunk_bytes);
            for (length, kind) in &lengths {
                writer.message(&mut out, *kind, 1, &vec![*kind; *length]);
            }
            let mut peer = ChunkDeserializer::new();
            let first = peer.get_next_message(&out).unwrap().unwrap();
            prop_assert_eq!((first.type_id, &first.data[..]), (1, &u32::from(chunk_bytes).to_be_bytes()[..]));
            peer.set_max_chunk_size(usize::from(chunk_bytes)).unwrap();
            for (length, kind) in lengths {
                let message = peer.get_next_message(&[]).unwrap().unwrap();
                prop_assert_eq!((message.type_id, message.message_stream_id), (kind, 1));
                prop_assert_eq!(&message.data[..], &vec![kind; length][..]);
            }
        }
    }
}
