//! What publishers do, as data: bytes, times, and awaited answers. Pure; the driver plays it.

use std::time::Duration;

use bytes::Bytes;

use super::amf::{self, Value};
use super::chunk::{ChunkWriter, Message, Style, kind};
use super::handshake;
use super::take::Take;

/// Chunk stream of commands.
const COMMAND_CSID: u32 = 3;
/// Id of the first message stream that servers assign.
const FIRST_STREAM: u32 = 1;

/// Transaction of `connect`.
pub const CONNECT: u32 = 1;
/// Transaction of `createStream`.
pub const CREATE: u32 = 4;

/// How the handshake is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Whole,
    /// Byte by byte, each in a packet of its own.
    Bytewise,
    /// One byte per interval, so that the handshake does not end in time.
    Drip(Duration),
}

/// What a script waits for before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The answer to this transaction.
    Result(u32),
    /// `NetStream.Publish.Start`.
    Publishing,
    /// A refusal or the end of the connection, at most for this long.
    End(Duration),
}

/// A step of a publisher.
#[derive(Debug, Clone)]
pub enum Act {
    Shake(handshake::Kind, Pace),
    /// Sends bytes at once.
    Write(Bytes),
    Await(Awaited),
    /// Sends bytes, each at its time in milliseconds from the start of this act.
    Media(Vec<(u64, Bytes)>),
    /// Sends nothing for this long.
    Pause(Duration),
    /// Sends nothing more, and leaves the connection open to the end of the case, as when a cable is pulled.
    Leave,
}

/// How the server has to treat a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server admits it, and lets it stay.
    Admitted,
    /// The server refuses it with a reason, or closes the connection.
    Refused,
    /// The server may do either.
    Any,
}

/// One publisher, which may connect several times.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it connects, from the start of the case.
    pub begins: Duration,
    /// How long after a refusal it connects again, as encoders do; `None` for never.
    pub retry: Option<Duration>,
    /// How the server has to treat it.
    pub answer: Answer,
    /// Duration of the media that it sends.
    pub media: Duration,
    /// Its steps, in order.
    pub acts: Vec<Act>,
}

impl Connection {
    /// Sets when it connects, in milliseconds from the start of the case.
    #[must_use]
    pub const fn beginning(mut self, at_ms: u64) -> Self {
        self.begins = Duration::from_millis(at_ms);
        self
    }

    /// Sets how the server has to treat it.
    #[must_use]
    pub const fn answered(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    /// Adds the length of a take whose bytes the case writes itself.
    #[must_use]
    pub fn sending(mut self, take: &Take) -> Self {
        self.media += Duration::from_millis(take.length_ms());
        self
    }

    /// Makes it connect again this long after a refusal.
    #[must_use]
    pub const fn retrying(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }
}

/// All publishers of a case, which run side by side.
#[derive(Debug, Clone)]
pub struct Script {
    /// In any order.
    pub connections: Vec<Connection>,
}

impl Script {
    /// A script with one publisher.
    #[must_use]
    pub fn of(connection: Connection) -> Self {
        Self { connections: vec![connection] }
    }

    /// Duration of the media that has to be listed: that of all publishers to be admitted.
    #[must_use]
    pub fn media(&self) -> Duration {
        let admitted = self.connections.iter().filter(|connection| connection.answer == Answer::Admitted);
        admitted.map(|connection| connection.media).sum()
    }
}

/// Where to publish.
#[derive(Debug, Clone)]
pub struct Target {
    pub application: String,
    /// The URL without the key.
    pub url: String,
    /// Stream key.
    pub key: String,
}

/// A publisher's options besides its media.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub style: Style,
    pub handshake: handshake::Kind,
    pub pace: Pace,
    /// Chunk size in bytes; `None` leaves it at 128 and sends no message about it.
    pub chunk_bytes: Option<u32>,
    /// Whether to send `releaseStream`.
    pub release: bool,
    /// Whether to send `FCPublish`, and `FCUnpublish` at the end.
    pub fc_publish: bool,
    /// Whether to send the metadata of the normal clip, with `@setDataFrame`.
    pub metadata: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            style: Style::default(),
            handshake: handshake::Kind::Simple,
            pace: Pace::Whole,
            chunk_bytes: Some(4_096),
            release: true,
            fc_publish: true,
            metadata: true,
        }
    }
}

/// Writes one publisher's acts.
#[derive(Debug)]
pub struct Wire {
    /// The chunk writer, for cases that write something unusual.
    pub chunks: ChunkWriter,
    /// Id of the message stream to publish on.
    pub stream: u32,
    options: Options,
    acts: Vec<Act>,
    media: Duration,
}

impl Wire {
    /// A publisher that only shakes hands.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let acts = vec![Act::Shake(options.handshake, options.pace)];
        Self { chunks: ChunkWriter::new(options.style), stream: FIRST_STREAM, options, acts, media: Duration::ZERO }
    }

    /// A publisher that connects, and publishes with the target's key.
    #[must_use]
    pub fn publishing(options: Options, target: &Target) -> Self {
        let mut wire = Self::new(options);
        wire.connect(target);
        wire.create();
        wire.publish(&target.key);
        wire
    }

    pub fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Sends a command on a message stream.
    pub fn command(&mut self, stream: u32, values: &[Value]) {
        let body = amf::write(values).into();
        let message = Message { stamp_ms: 0, kind: kind::COMMAND, stream, body };
        let bytes = self.chunks.message(COMMAND_CSID, &message);
        self.acts.push(Act::Write(bytes.into()));
    }

    /// Sends `connect`, and waits for the answer.
    pub fn connect(&mut self, target: &Target) {
        let object = Value::object([
            ("app", Value::text(&target.application)),
            ("type", Value::text("nonprivate")),
            ("flashVer", Value::text("FMLE/3.0 (compatible; sealcast-conformance)")),
            ("swfUrl", Value::text(&target.url)),
            ("tcUrl", Value::text(&target.url)),
        ]);
        if let Some(size) = self.options.chunk_bytes {
            let bytes = self.chunks.set_chunk_size(size);
            self.acts.push(Act::Write(bytes.into()));
        }
        self.command(0, &[Value::text("connect"), number(CONNECT), object]);
        self.acts.push(Act::Await(Awaited::Result(CONNECT)));
    }

    /// Sends `createStream`, and waits for the answer.
    pub fn create(&mut self) {
        self.command(0, &[Value::text("createStream"), number(CREATE), Value::Null]);
        self.acts.push(Act::Await(Awaited::Result(CREATE)));
    }

    /// Sends `releaseStream` and `FCPublish` if wanted, then `publish`, and waits for its answer.
    pub fn publish(&mut self, key: &str) {
        let key = Value::text(key);
        if self.options.release {
            self.command(0, &[Value::text("releaseStream"), number(2), Value::Null, key.clone()]);
        }
        if self.options.fc_publish {
            self.command(0, &[Value::text("FCPublish"), number(3), Value::Null, key.clone()]);
        }
        self.command(self.stream, &[Value::text("publish"), number(5), Value::Null, key, Value::text("live")]);
        self.acts.push(Act::Await(Awaited::Publishing));
    }

    /// Sends a take, after the metadata if wanted.
    pub fn media(&mut self, take: &Take) {
        self.media += Duration::from_millis(take.length_ms());
        let mut timed: Vec<(u64, Bytes)> = Vec::new();
        if self.options.metadata {
            let metadata = Take::metadata(0, &normal_metadata());
            timed.extend(metadata.0.iter().map(|message| (0, self.bytes(message))));
        }
        for message in &take.0 {
            timed.push((u64::try_from(message.at_ms).unwrap_or(0), self.bytes(message)));
        }
        self.acts.push(Act::Media(timed));
    }

    /// The chunks of a message.
    pub fn bytes(&mut self, message: &super::take::Timed) -> Bytes {
        self.chunks.message(message.csid, &self.message(message)).into()
    }

    /// A timed message as a message on the wire.
    #[must_use]
    pub fn message(&self, message: &super::take::Timed) -> Message {
        let (stamp_ms, body) = (message.wire_stamp(), message.body.clone());
        Message { stamp_ms, kind: message.kind, stream: self.stream, body }
    }

    /// Sends `FCUnpublish` if wanted, and `deleteStream`.
    pub fn unpublish(&mut self, key: &str) {
        if self.options.fc_publish {
            self.command(0, &[Value::text("FCUnpublish"), number(6), Value::Null, Value::text(key)]);
        }
        self.command(0, &[Value::text("deleteStream"), number(7), Value::Null, number(self.stream)]);
    }

    /// The finished publisher, which has to be admitted.
    #[must_use]
    pub fn connection(self) -> Connection {
        Connection { begins: Duration::ZERO, retry: None, answer: Answer::Admitted, media: self.media, acts: self.acts }
    }
}

#[must_use]
pub fn number(value: u32) -> Value {
    Value::Number(f64::from(value))
}

/// Metadata as ffmpeg and OBS send it.
#[must_use]
pub fn normal_metadata() -> Value {
    let Value::Object(properties) = Value::object([
        ("duration", number(0)),
        ("width", number(320)),
        ("height", number(180)),
        ("videodatarate", number(250)),
        ("framerate", number(30)),
        ("videocodecid", number(7)),
        ("audiodatarate", number(64)),
        ("audiosamplerate", number(48_000)),
        ("audiosamplesize", number(16)),
        ("stereo", Value::Boolean(true)),
        ("audiocodecid", number(10)),
        ("encoder", Value::text("conformance")),
    ]) else {
        return Value::Null;
    };
    Value::EcmaArray(properties)
}
