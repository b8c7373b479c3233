//! The server's side of RTMP after the handshake: chunks in, events and bytes out (RTMP 1.0, sections 5.4 and 7). Pure.
//!
//! We do not use `rml_rtmp`'s server session. It panics on commands with fewer than three values and on a `@setDataFrame` without
//! arguments. It also reports refusals as a reply to the wrong transaction; OBS reads that as "connection lost" and retries for ever.

use bytes::Bytes;

use crate::amf::{self, AmfError, Value};
use crate::chunk::{ChunkError, ChunkReader, Message};
use crate::key::StreamKey;
use crate::limits::{MESSAGE_STREAMS_MAX, NAME_BYTES_MAX, WINDOW_BYTES_MIN};
use crate::writer::ChunkWriter;

/// Our chunk size, in bytes: larger than all we send.
const CHUNK_BYTES_OUT: u16 = 4096;
/// Acknowledgement window that the server announces, in bytes (5.4.4).
const WINDOW_BYTES: u32 = 2_500_000;

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The chunk stream cannot be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command does not parse, or metadata nests too deep.
    #[error("command: {0}")]
    Amf(#[from] AmfError),
    /// More than [`MESSAGE_STREAMS_MAX`] message streams.
    #[error("more than {MESSAGE_STREAMS_MAX} message streams")]
    TooManyStreams,
    /// A command before `connect`, or a second `connect`.
    #[error("command {0:?} is not valid here")]
    Command(String),
}

impl ProtocolError {
    /// Name of the exceeded limit, for metrics; `None` when the bytes are not valid RTMP.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Chunk(ChunkError::MessageTooLong(..)) => Some("message_bytes"),
            Self::Chunk(ChunkError::AssemblyTooLong(_)) => Some("assembly_bytes"),
            Self::Chunk(ChunkError::TooManyStreams) => Some("chunk_streams"),
            Self::Chunk(ChunkError::ChunkSize(_)) => Some("chunk_bytes"),
            Self::Amf(AmfError::TooDeep) => Some("amf_depth"),
            Self::Amf(AmfError::TooMany) => Some("amf_values"),
            Self::TooManyStreams => Some("message_streams"),
            Self::Chunk(ChunkError::NoHeader(_) | ChunkError::Overlap(_))
            | Self::Amf(AmfError::Truncated | AmfError::Type(_))
            | Self::Command(_) => None,
        }
    }
}

/// An action of the peer.
#[derive(Debug)]
pub enum Event {
    /// `connect` to an application; answer with [`Protocol::accept_connect`].
    Connect {
        /// Name of the application, without query.
        app: String,
    },
    /// `publish`; answer with [`Protocol::accept_publish`] or [`Protocol::reject_publish`].
    Publish {
        /// The stream key, and the token of its query.
        key: StreamKey,
    },
    /// `play`: not served here; answer with [`Protocol::reject_play`].
    Play,
    /// The peer stops publishing, and may start again.
    Unpublish,
    /// Metadata: the encoder's description of itself. For display only; no decision depends on it.
    Metadata(Value),
    /// Body of a video message.
    Video {
        /// Milliseconds modulo 2^32.
        stamp_ms: u32,
        /// FLV tag body.
        body: Bytes,
    },
    /// Body of an audio message.
    Audio {
        /// Milliseconds modulo 2^32.
        stamp_ms: u32,
        /// FLV tag body.
        body: Bytes,
    },
}

/// The protocol state of one connection.
#[derive(Debug)]
pub struct Protocol {
    reader: ChunkReader,
    writer: ChunkWriter,
    out: Vec<u8>,
    connected: bool,
    connect_transaction: f64,
    streams: u32,
    publish_stream: u32,
    publishing: bool,
    received: u64,
    acknowledged: u64,
    window: u32,
}

impl Default for Protocol {
    fn default() -> Self {
        Self::new()
    }
}

impl Protocol {
    /// The state before the first byte after the handshake.
    pub fn new() -> Self {
        Self {
            reader: ChunkReader::new(),
            writer: ChunkWriter::new(),
            out: Vec::new(),
            connected: false,
            connect_transaction: 0.0,
            streams: 0,
            publish_stream: 0,
            publishing: false,
            received: 0,
            acknowledged: 0,
            window: u32::MAX,
        }
    }

    /// Takes bytes from the network. The caller drains [`Self::next_event`] before it gives more.
    pub fn input(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        self.received = self.received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.received.saturating_sub(self.acknowledged) >= u64::from(self.window) {
            self.acknowledged = self.received;
            // The sequence number is the count modulo 2^32 (5.4.3).
            let [_, _, _, _, low @ ..] = self.received.to_be_bytes();
            self.send(3, 0, &low);
        }
    }

    /// The next event; `None` when more bytes are needed. One event at a time, so that the caller answers `publish` before later bytes are
    /// interpreted.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        while let Some(message) = self.reader.next_message()? {
            if let Some(event) = self.message(message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Takes the bytes to write to the network now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Panics when buffers exceed their limits, are counted wrongly, or the state contradicts itself.
    pub fn check_invariants(&self) {
        self.reader.check_invariants();
        assert!(self.streams <= MESSAGE_STREAMS_MAX.saturating_add(1), "{} message streams", self.streams);
        assert!(self.connected || !self.publishing, "publishing before connect");
        assert!(self.acknowledged <= self.received, "more acknowledged than received");
    }

    fn message(&mut self, message: Message) -> Result<Option<Event>, ProtocolError> {
        let Message { timestamp_ms: stamp_ms, kind, stream, data } = message;
        match kind {
            4 => self.user_control(&data),
            5 => {
                let window = data.first_chunk::<4>().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
                self.window = window.max(WINDOW_BYTES_MIN);
            }
            8 if self.publishing && stream == self.publish_stream => {
                return Ok(Some(Event::Audio { stamp_ms, body: data }));
            }
            9 if self.publishing && stream == self.publish_stream => {
                return Ok(Some(Event::Video { stamp_ms, body: data }));
            }
            15 | 18 => return self.data(&data),
            // Real encoders send "AMF 3" commands as a zero byte and AMF 0.
            17 => return self.command(stream, data.strip_prefix(&[0]).unwrap_or(&data)),
            20 => return self.command(stream, &data),
            _ => {}
        }
        Ok(None)
    }

    /// Reads metadata. Drops what does not parse or is longer than any encoder's; errors only when it nests too deep, which is an attack.
    fn data(&self, data: &[u8]) -> Result<Option<Event>, ProtocolError> {
        if !self.publishing {
            return Ok(None);
        }
        let values = match amf::decode(data) {
            Ok(values) => values,
            Err(error @ AmfError::TooDeep) => return Err(error.into()),
            Err(AmfError::Truncated | AmfError::TooMany | AmfError::Type(_)) => return Ok(None),
        };
        let named = |value: &Value| value.as_str().is_some_and(|name| name == "onMetaData" || name == "@setDataFrame");
        let metadata = values.iter().find(|value| matches!(value, Value::Object(_)));
        let metadata = metadata.filter(|_| values.first().is_some_and(named));
        Ok(metadata.cloned().map(Event::Metadata))
    }

    /// Answers a ping (7.1.7).
    fn user_control(&mut self, data: &[u8]) {
        match data {
            [0, 6, time @ ..] if time.len() == 4 => self.send(4, 0, &[&[0, 7], time].concat()),
            _ => {}
        }
    }

    fn command(&mut self, stream: u32, data: &[u8]) -> Result<Option<Event>, ProtocolError> {
        let values = amf::decode(data)?;
        let name = values.first().and_then(Value::as_str).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        let argument = |index: usize| values.get(index).and_then(Value::as_str).unwrap_or_default();
        if !self.connected && name != "connect" {
            return Err(ProtocolError::Command(name.chars().take(32).collect()));
        }
        match name {
            // One connection has one application (7.2.1.1).
            "connect" if self.connected => return Err(ProtocolError::Command(name.to_owned())),
            "connect" => {
                self.connect_transaction = transaction;
                let app =
                    values.get(2).and_then(|object| object.get("app")).and_then(Value::as_str).unwrap_or_default();
                return Ok(Some(Event::Connect { app: plain_name(app) }));
            }
            "releaseStream" => self.result(transaction, Value::Null),
            "FCPublish" => {
                self.result(transaction, Value::Null);
                self.status_command("onFCPublish", 0, "status", "NetStream.Publish.Start", "ready");
            }
            "createStream" => {
                self.streams = self.streams.saturating_add(1);
                if self.streams > MESSAGE_STREAMS_MAX {
                    return Err(ProtocolError::TooManyStreams);
                }
                self.result(transaction, Value::Number(f64::from(self.streams)));
            }
            "publish" if !self.publishing => {
                self.publish_stream = stream;
                return Ok(Some(Event::Publish { key: StreamKey::new(argument(3)) }));
            }
            "play" | "play2" if !self.publishing => {
                self.publish_stream = stream;
                return Ok(Some(Event::Play));
            }
            "FCUnpublish" | "closeStream" | "deleteStream" if self.publishing => {
                self.publishing = false;
                return Ok(Some(Event::Unpublish));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Lets the peer into the application.
    pub fn accept_connect(&mut self) {
        self.connected = true;
        self.send(5, 0, &WINDOW_BYTES.to_be_bytes());
        // Limit type 2, dynamic (5.4.5).
        let bandwidth = [&WINDOW_BYTES.to_be_bytes()[..], &[2]].concat();
        self.send(6, 0, &bandwidth);
        self.writer.set_chunk_bytes(&mut self.out, CHUNK_BYTES_OUT);
        let server = vec![
            ("fmsVer".to_owned(), Value::text("FMS/3,5,7,7009")),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ];
        let mut info = status("status", "NetConnection.Connect.Success", "Connection succeeded.");
        info.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        let transaction = Value::Number(self.connect_transaction);
        self.invoke(0, &[Value::text("_result"), transaction, Value::Object(server), Value::Object(info)]);
    }

    /// Answers `publish` with Stream Begin and `NetStream.Publish.Start`; media may come from here on.
    pub fn accept_publish(&mut self) {
        self.publishing = true;
        self.reader.allow_media();
        let begin = [&[0, 0][..], &self.publish_stream.to_be_bytes()].concat();
        self.send(4, 0, &begin);
        self.status_command("onStatus", self.publish_stream, "status", "NetStream.Publish.Start", "Publishing.");
    }

    /// Refuses `publish`, or ends it; the caller closes the connection. OBS takes `NetStream.Publish.BadName` for "wrong or used
    /// stream key" and does not retry; it takes any other code for trouble on the network.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        self.publishing = false;
        self.status_command("onStatus", self.publish_stream, "error", code, description);
    }

    /// Refuses `play`; the caller closes the connection.
    pub fn reject_play(&mut self) {
        let text = "This server takes publishers only; watch over HTTPS.";
        self.status_command("onStatus", self.publish_stream, "error", "NetStream.Play.StreamNotFound", text);
    }

    fn result(&mut self, transaction: f64, value: Value) {
        self.invoke(0, &[Value::text("_result"), Value::Number(transaction), Value::Null, value]);
    }

    fn status_command(&mut self, command: &str, stream: u32, level: &str, code: &str, text: &str) {
        let info = Value::Object(status(level, code, text));
        self.invoke(stream, &[Value::text(command), Value::Number(0.0), Value::Null, info]);
    }

    fn invoke(&mut self, stream: u32, values: &[Value]) {
        self.send(20, stream, &amf::encode(values));
    }

    fn send(&mut self, kind: u8, stream: u32, data: &[u8]) {
        self.writer.message(&mut self.out, kind, stream, data);
    }
}

fn status(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    [("level", level), ("code", code), ("description", description)]
        .map(|(name, text)| (name.to_owned(), Value::text(text)))
        .into()
}

/// A name without its query and without slashes at its ends; empty when longer than [`NAME_BYTES_MAX`].
fn plain_name(text: &str) -> String {
    let name = text.split('?').next().unwrap_or_default().trim_matches('/');
    if name.len() > NAME_BYTES_MAX { String::new() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use rml_rtmp::chunk_io::ChunkSerializer;
    use rml_rtmp::messages::MessagePayload;
    use rml_rtmp::time::RtmpTimestamp;

    use super::*;
    use crate::flv;
    use crate::limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX, KEY_BYTES_MAX};

    /// What OBS 29 sent in its first 2.5 s: x264 with B-frames, keyframe interval 2 s, stream key `for-this-test-only`.
    const OBS: &[u8] = include_bytes!("../testdata/obs-29-x264-bframes.rtmp");
    /// C0, C1 and C2 (5.2).
    const HANDSHAKE_BYTES: usize = 1 + 1536 + 1536;
    /// The events of a session, counted.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        app: String,
        key_is_right: bool,
        metadata: usize,
        pictures: usize,
        sounds: usize,
    }

    /// Feeds a capture in pieces of `step` bytes and answers as the server does.
    fn replay(bytes: &[u8], step: usize) -> Result<Seen, ProtocolError> {
        let mut protocol = Protocol::new();
        let mut seen = Seen::default();
        for piece in bytes[HANDSHAKE_BYTES..].chunks(step) {
            protocol.input(piece);
            while let Some(event) = protocol.next_event()? {
                match event {
                    Event::Connect { app } => {
                        seen.app = app;
                        protocol.accept_connect();
                    }
                    Event::Publish { key } => {
                        seen.key_is_right = key.expose() == "for-this-test-only";
                        protocol.accept_publish();
                    }
                    Event::Metadata(_) => seen.metadata += 1,
                    Event::Video { body, .. } => seen.pictures += usize::from(flv::video(&body).is_ok()),
                    Event::Audio { body, .. } => seen.sounds += usize::from(flv::audio(&body).is_ok()),
                    Event::Play | Event::Unpublish => {}
                }
            }
        }
        Ok(seen)
    }

    /// A message written by another implementation, in chunks of 128 bytes.
    fn message(type_id: u8, message_stream_id: u32, data: Vec<u8>) -> Vec<u8> {
        let payload =
            MessagePayload { timestamp: RtmpTimestamp::new(0), type_id, message_stream_id, data: data.into() };
        ChunkSerializer::new().serialize(&payload, false, false).unwrap().bytes
    }

    fn command(name: &str, argument: Value) -> Vec<u8> {
        amf::encode(&[Value::text(name), Value::Number(1.0), Value::Null, argument])
    }

    fn connected() -> Protocol {
        let mut protocol = Protocol::new();
        protocol.input(&message(20, 0, command("connect", Value::Null)));
        assert!(matches!(protocol.next_event().unwrap(), Some(Event::Connect { .. })));
        protocol.accept_connect();
        protocol
    }

    fn publishing() -> Protocol {
        let mut protocol = connected();
        protocol.input(&message(20, 1, command("publish", Value::text("key"))));
        assert!(matches!(protocol.next_event().unwrap(), Some(Event::Publish { .. })));
        protocol.accept_publish();
        protocol
    }

    /// `depth` objects, each in the next.
    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |inner, _| Value::Object(vec![("a".to_owned(), inner)]))
    }

    #[test]
    fn commands_nest_as_deep_as_the_limit_and_no_deeper() {
        let said = |depth| {
            let mut protocol = connected();
            protocol.input(&message(20, 0, command("x", nested(depth))));
            protocol.next_event().map(|event| event.is_some())
        };
        assert_eq!(said(AMF_DEPTH_MAX), Ok(false));
        assert_eq!(said(AMF_DEPTH_MAX + 1), Err(ProtocolError::Amf(AmfError::TooDeep)));
    }

    #[test]
    fn metadata_that_nests_too_deep_ends_a_connection_and_long_or_broken_one_does_not() {
        let said = |data: Vec<u8>| {
            let mut protocol = publishing();
            protocol.input(&message(18, 1, data));
            protocol.next_event().map(|event| event.is_some())
        };
        let metadata = |value| amf::encode(&[Value::text("onMetaData"), value]);
        assert_eq!(said(metadata(nested(AMF_DEPTH_MAX))), Ok(true));
        assert_eq!(said(metadata(nested(AMF_DEPTH_MAX + 1))), Err(ProtocolError::Amf(AmfError::TooDeep)));
        assert_eq!(said(metadata(Value::Array(vec![Value::Null; AMF_VALUES_MAX]))), Ok(false));
        assert_eq!(said(b"\x02\0".to_vec()), Ok(false));
    }

    #[test]
    fn as_many_message_streams_as_the_limit_are_made_and_no_more() {
        let mut protocol = connected();
        for _ in 0..MESSAGE_STREAMS_MAX {
            protocol.input(&message(20, 0, command("createStream", Value::Null)));
            assert!(protocol.next_event().unwrap().is_none());
        }
        protocol.input(&message(20, 0, command("createStream", Value::Null)));
        assert_eq!(protocol.next_event().unwrap_err(), ProtocolError::TooManyStreams);
    }

    #[test]
    fn key_as_long_as_the_limit_is_read_and_a_longer_one_is_no_key() {
        for (length, read) in [(KEY_BYTES_MAX, KEY_BYTES_MAX), (KEY_BYTES_MAX + 1, 0)] {
            let mut protocol = connected();
            protocol.input(&message(20, 1, command("publish", Value::text(&"k".repeat(length)))));
            let Some(Event::Publish { key }) = protocol.next_event().unwrap() else { panic!("no publish") };
            assert_eq!((key.expose().len(), key.excess_bytes()), (read, (read == 0).then_some(length)));
        }
    }

    #[test]
    fn bytes_are_acknowledged_once_a_window_and_a_tiny_window_is_not_honoured() {
        let mut protocol = connected();
        protocol.input(&message(5, 0, vec![0, 0, 0, 1]));
        assert!(protocol.next_event().unwrap().is_none());
        let _ = protocol.take_output();
        let (mut acknowledged, pieces) = (0, 64);
        for _ in 0..pieces {
            protocol.input(&message(3, 0, vec![0; 1024]));
            assert!(protocol.next_event().unwrap().is_none());
            acknowledged += protocol.take_output().len() / 16;
        }
        assert!((3..=4).contains(&acknowledged), "{acknowledged} for {pieces} KiB");
    }

    #[test]
    fn limits_are_counted_by_name_and_nonsense_is_not() {
        assert_eq!(ProtocolError::from(ChunkError::MessageTooLong(1, 0)).limit(), Some("message_bytes"));
        assert_eq!(ProtocolError::from(AmfError::TooDeep).limit(), Some("amf_depth"));
        assert_eq!(ProtocolError::from(AmfError::Truncated).limit(), None);
        assert_eq!(ProtocolError::Command("x".to_owned()).limit(), None);
    }

    #[test]
    fn play_while_publishing_changes_nothing() {
        let mut protocol = publishing();
        for play in ["play", "play2"] {
            protocol.input(&message(20, 2, command(play, Value::text("key"))));
            assert!(protocol.next_event().unwrap().is_none(), "{play}");
        }
        protocol.input(&message(9, 1, vec![0x17, 1]));
        assert!(matches!(protocol.next_event().unwrap(), Some(Event::Video { .. })));
    }

    #[test]
    fn session_of_obs_is_read_whole_in_pieces_of_any_size() {
        let expected = Seen { app: "live".to_owned(), key_is_right: true, metadata: 1, pictures: 77, sounds: 117 };
        for step in [1, 7, 128, 1_460, 65_536, OBS.len()] {
            assert_eq!(replay(OBS, step).unwrap(), expected, "pieces of {step}");
        }
    }

    #[test]
    fn session_of_obs_with_a_broken_byte_is_refused_or_read_and_never_panics() {
        let mut refused = 0;
        for at in (HANDSHAKE_BYTES..OBS.len()).step_by(97) {
            let mut broken = OBS.to_vec();
            broken[at] ^= 0xff;
            refused += usize::from(replay(&broken, 1_460).is_err());
        }
        assert!(refused > 0, "no broken header was noticed");
    }
}
