//! What publishers do, as data: bytes, moments, and what is waited for. Pure; the driver plays it.

use std::time::Duration;

use bytes::Bytes;

use super::amf::{self, Value};
use super::chunk::{ChunkWriter, Message, Style, kind};
use super::handshake;
use super::take::Take;

/// Chunk stream of commands.
const COMMAND_CSID: u32 = 3;
/// Message stream that servers give out first.
const FIRST_STREAM: u32 = 1;

/// Transaction of `connect`.
pub const CONNECT: u32 = 1;
/// Transaction of `createStream`.
pub const CREATE: u32 = 4;

/// How fast the handshake is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// In one piece.
    Whole,
    /// Byte by byte, each in a packet of its own.
    Bytewise,
    /// A byte every so often, and it never ends.
    Drip(Duration),
}

/// What is waited for before a script goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The answer to that transaction.
    Result(u32),
    /// `NetStream.Publish.Start`.
    Publishing,
    /// A refusal, or the end of the connection.
    End(Duration),
}

/// A step of a publisher.
#[derive(Debug, Clone)]
pub enum Act {
    /// The handshake.
    Shake(handshake::Kind, Pace),
    /// Bytes, at once.
    Write(Bytes),
    /// Waiting.
    Await(Awaited),
    /// Bytes with their moments, in milliseconds from the start of this act.
    Media(Vec<(u64, Bytes)>),
    /// Nothing.
    Pause(Duration),
    /// The connection stays open to the end of the case, and nothing more is sent: a cable was pulled.
    Leave,
}

/// What has to become of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is let in, and may stay.
    Admitted,
    /// It is told why not, or closed.
    Refused,
    /// That is up to the server.
    Any,
}

/// One publisher.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it comes, from the start of the case.
    pub begins: Duration,
    /// It comes again so long after it was turned away, as encoders do.
    pub retry: Option<Duration>,
    /// What has to become of it.
    pub answer: Answer,
    /// How much media it sends.
    pub media: Duration,
    /// What it does.
    pub acts: Vec<Act>,
}

impl Connection {
    /// Later.
    #[must_use]
    pub const fn beginning(mut self, at_ms: u64) -> Self {
        self.begins = Duration::from_millis(at_ms);
        self
    }

    /// With another fate.
    #[must_use]
    pub const fn answered(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    /// With the length of that take, where its bytes were written by hand.
    #[must_use]
    pub fn sending(mut self, take: &Take) -> Self {
        self.media += Duration::from_millis(take.length_ms());
        self
    }

    /// That tries again.
    #[must_use]
    pub const fn retrying(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }
}

/// All publishers of a case. They run side by side.
#[derive(Debug, Clone)]
pub struct Script {
    /// In any order.
    pub connections: Vec<Connection>,
}

impl Script {
    /// One publisher.
    #[must_use]
    pub fn of(connection: Connection) -> Self {
        Self { connections: vec![connection] }
    }

    /// Media that has to be listed: that of all who are let in.
    #[must_use]
    pub fn media(&self) -> Duration {
        let admitted = self.connections.iter().filter(|connection| connection.answer == Answer::Admitted);
        admitted.map(|connection| connection.media).sum()
    }
}

/// Where to publish.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name of the application.
    pub application: String,
    /// The URL without the key.
    pub url: String,
    /// Stream key.
    pub key: String,
}

/// Choices of a publisher besides its media.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Headers and continuations.
    pub style: Style,
    /// Which handshake.
    pub handshake: handshake::Kind,
    /// And how fast.
    pub pace: Pace,
    /// Chunk size in bytes; `None` leaves it at 128 without a word.
    pub chunk_bytes: Option<u32>,
    /// Says `releaseStream`.
    pub release: bool,
    /// Says `FCPublish`, and `FCUnpublish` at the end.
    pub fc_publish: bool,
    /// Sends the metadata that fits the normal clip, with `@setDataFrame`.
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
    /// The chunk stream, for who wants to write something odd.
    pub chunks: ChunkWriter,
    /// Message stream that is published on.
    pub stream: u32,
    options: Options,
    acts: Vec<Act>,
    media: Duration,
}

impl Wire {
    /// A publisher that has not said anything yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let acts = vec![Act::Shake(options.handshake, options.pace)];
        Self { chunks: ChunkWriter::new(options.style), stream: FIRST_STREAM, options, acts, media: Duration::ZERO }
    }

    /// One that is let in to publish under the target's key.
    #[must_use]
    pub fn publishing(options: Options, target: &Target) -> Self {
        let mut wire = Self::new(options);
        wire.connect(target);
        wire.create();
        wire.publish(&target.key);
        wire
    }

    /// Any act.
    pub fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// A command on a message stream.
    pub fn command(&mut self, stream: u32, values: &[Value]) {
        let body = amf::write(values).into();
        let message = Message { stamp_ms: 0, kind: kind::COMMAND, stream, body };
        let bytes = self.chunks.message(COMMAND_CSID, &message);
        self.acts.push(Act::Write(bytes.into()));
    }

    /// `connect`, and its answer.
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

    /// `createStream`, and its answer.
    pub fn create(&mut self) {
        self.command(0, &[Value::text("createStream"), number(CREATE), Value::Null]);
        self.acts.push(Act::Await(Awaited::Result(CREATE)));
    }

    /// `releaseStream` and `FCPublish` where wanted, and `publish` with its answer.
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

    /// The bytes of a take.
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

    /// A message as it stands on the wire.
    #[must_use]
    pub fn message(&self, message: &super::take::Timed) -> Message {
        let (stamp_ms, body) = (message.wire_stamp(), message.body.clone());
        Message { stamp_ms, kind: message.kind, stream: self.stream, body }
    }

    /// `FCUnpublish` and `deleteStream`.
    pub fn unpublish(&mut self, key: &str) {
        if self.options.fc_publish {
            self.command(0, &[Value::text("FCUnpublish"), number(6), Value::Null, Value::text(key)]);
        }
        self.command(0, &[Value::text("deleteStream"), number(7), Value::Null, number(self.stream)]);
    }

    /// The publisher.
    #[must_use]
    pub fn connection(self) -> Connection {
        Connection { begins: Duration::ZERO, retry: None, answer: Answer::Admitted, media: self.media, acts: self.acts }
    }
}

/// A number.
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
