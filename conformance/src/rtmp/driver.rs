//! Plays a script against a server. A shell: it owns sockets and waiting, and judges nothing.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::amf::{self, Value};
use super::chunk::{ChunkReader, kind};
use super::handshake;
use super::script::{Act, Awaited, Connection, Pace, Script};
use crate::watch::clock::Stopwatch;

/// Longest wait for an answer to a command.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);
/// Longest time for a server to read what is written; it may slow a publisher down.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest time that a refused publisher retries, and that a slow handshake goes on.
const RETRY_MAX: Duration = Duration::from_secs(40);
/// Most messages of a server that wait to be read.
const HEARD_MAX: usize = 64;
/// Wait after the last byte, because a refusal may still be under way.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How a publisher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It did everything in its script.
    Finished,
    /// The server refused it with a reason: code and description.
    Told(String, String),
    /// The server closed the connection without a reason.
    Cut,
    /// An awaited answer did not come.
    Unanswered,
    /// The connection failed, with the system's error; no answer in time is [`Self::Unanswered`].
    Unreachable(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("let in"),
            Self::Told(code, text) if text.is_empty() => write!(f, "refused: {code}"),
            Self::Told(code, text) => write!(f, "refused: {code}: {text}"),
            Self::Cut => f.write_str("closed without a word"),
            Self::Unanswered => f.write_str("never answered"),
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
        }
    }
}

/// The outcome of a publisher.
#[derive(Debug, Clone)]
pub struct Happened {
    /// How its last connection ended.
    pub ended: Ended,
    /// Whether its last connection was admitted.
    pub admitted: bool,
}

/// Plays all publishers of a script against the server at `address`. Closes connections that publishers left open at the end.
pub async fn play(address: &str, script: &Script) -> Vec<Happened> {
    let publishers = script.connections.iter().map(|connection| publisher(address, connection));
    let (happened, _left): (Vec<_>, Vec<_>) = join_all(publishers).await.into_iter().unzip();
    happened
}

async fn publisher(address: &str, connection: &Connection) -> (Happened, Option<Peer>) {
    tokio::time::sleep(connection.begins).await;
    let clock = Stopwatch::start();
    loop {
        let (happened, left) = attempt(address, connection).await;
        match connection.retry {
            Some(wait) if !happened.admitted && clock.now() < RETRY_MAX => tokio::time::sleep(wait).await,
            _ => return (happened, left),
        }
    }
}

async fn attempt(address: &str, connection: &Connection) -> (Happened, Option<Peer>) {
    let socket = match timeout(ANSWER_WAIT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return (Happened { ended: Ended::Unreachable(error.to_string()), admitted: false }, None),
        Err(_) => return (Happened { ended: Ended::Unanswered, admitted: false }, None),
    };
    // Each write of a script should be a packet of its own.
    let _ = socket.set_nodelay(true);
    let mut peer = Peer::new(socket);
    let mut leaves = false;
    let mut ended = Ended::Finished;
    for act in &connection.acts {
        leaves |= matches!(act, Act::Leave);
        if let Err(early) = peer.perform(act).await {
            ended = early;
            break;
        }
    }
    if ended == Ended::Finished && !leaves {
        ended = peer.last_words().await;
    }
    let happened = Happened { ended, admitted: peer.admitted };
    (happened, leaves.then_some(peer))
}

/// A message of a server.
#[derive(Debug)]
enum Heard {
    /// The answer to a transaction.
    Result(f64),
    /// `NetStream.Publish.Start`.
    Publishing,
    /// A refusal: code and description.
    Refusal(String, String),
}

struct Peer {
    reading: Option<OwnedReadHalf>,
    writing: OwnedWriteHalf,
    /// Messages from the task that listens after the handshake; closed when the server closes the connection.
    heard: mpsc::Receiver<Heard>,
    listener: Option<JoinHandle<()>>,
    admitted: bool,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Peer {
    fn new(socket: TcpStream) -> Self {
        let (reading, writing) = socket.into_split();
        let (_, heard) = mpsc::channel(1);
        Self { reading: Some(reading), writing, heard, listener: None, admitted: false }
    }

    async fn perform(&mut self, act: &Act) -> Result<(), Ended> {
        match act {
            Act::Shake(kind, pace) => self.shake(*kind, *pace).await,
            Act::Write(bytes) => self.write(bytes).await,
            Act::Await(awaited) => self.wait(*awaited).await,
            Act::Media(media) => self.media(media).await,
            Act::Pause(span) => self.listen_for(*span).await,
            Act::Leave => Ok(()),
        }
    }

    async fn shake(&mut self, kind: handshake::Kind, pace: Pace) -> Result<(), Ended> {
        let Some(mut reading) = self.reading.take() else { return Ok(()) };
        let hello = handshake::hello(kind);
        match pace {
            Pace::Whole => self.write(&hello).await?,
            Pace::Bytewise => {
                for byte in hello.chunks(1) {
                    self.write(byte).await?;
                }
            }
            Pace::Drip(every) => return self.drip(&hello, every, &mut reading).await,
        }
        let mut answer = vec![0; handshake::ANSWER_BYTES];
        match timeout(ANSWER_WAIT_MAX, reading.read_exact(&mut answer)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(Ended::Cut),
            Err(_) => return Err(Ended::Unanswered),
        }
        let reply = handshake::reply(kind, &answer).ok_or(Ended::Unanswered)?;
        match pace {
            Pace::Bytewise => {
                for byte in reply.chunks(1) {
                    self.write(byte).await?;
                }
            }
            Pace::Whole | Pace::Drip(_) => self.write(&reply).await?,
        }
        let (say, heard) = mpsc::channel(HEARD_MAX);
        self.heard = heard;
        self.listener = Some(tokio::spawn(listen(reading, say)));
        Ok(())
    }

    /// Sends one byte per interval until the server closes the connection, or [`RETRY_MAX`] is over.
    async fn drip(&mut self, bytes: &[u8], every: Duration, reading: &mut OwnedReadHalf) -> Result<(), Ended> {
        let clock = Stopwatch::start();
        let mut buffer = vec![0; handshake::ANSWER_BYTES];
        for byte in bytes.chunks(1) {
            if clock.now() > RETRY_MAX {
                break;
            }
            self.write(byte).await?;
            let read = timeout(every, reading.read(&mut buffer)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return Err(Ended::Cut);
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match timeout(WRITE_WAIT_MAX, self.writing.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            // The server may have sent a reason.
            Ok(Err(_)) => Err(self.farewell().await),
            Err(_) => Err(Ended::Unanswered),
        }
    }

    async fn wait(&mut self, awaited: Awaited) -> Result<(), Ended> {
        let patience = if let Awaited::End(patience) = awaited { patience } else { ANSWER_WAIT_MAX };
        let answered = timeout(patience, async {
            loop {
                match (self.heard.recv().await, awaited) {
                    (None, _) => return Err(Ended::Cut),
                    (Some(Heard::Refusal(code, text)), _) => return Err(Ended::Told(code, text)),
                    (Some(Heard::Result(transaction)), Awaited::Result(wanted)) if transaction == f64::from(wanted) => {
                        return Ok(());
                    }
                    (Some(Heard::Publishing), Awaited::Publishing) => {
                        self.admitted = true;
                        return Ok(());
                    }
                    (Some(_), _) => {}
                }
            }
        });
        match answered.await {
            Ok(answer) => answer,
            Err(_) if matches!(awaited, Awaited::End(_)) => Ok(()),
            Err(_) => Err(Ended::Unanswered),
        }
    }

    async fn media(&mut self, media: &[(u64, Bytes)]) -> Result<(), Ended> {
        let clock = Stopwatch::start();
        for (at_ms, bytes) in media {
            let wait = Duration::from_millis(*at_ms).saturating_sub(clock.now());
            if !wait.is_zero() {
                self.listen_for(wait).await?;
            }
            self.write(bytes).await?;
        }
        Ok(())
    }

    /// Waits; ends early when the server refuses or closes.
    async fn listen_for(&mut self, span: Duration) -> Result<(), Ended> {
        let deadline = tokio::time::sleep(span);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => return Ok(()),
                heard = self.heard.recv() => match heard {
                    None => return Err(Ended::Cut),
                    Some(Heard::Refusal(code, text)) => return Err(Ended::Told(code, text)),
                    Some(_) => {}
                },
            }
        }
    }

    async fn last_words(&mut self) -> Ended {
        match self.listen_for(LAST_WORDS).await {
            Err(told @ Ended::Told(..)) => told,
            // The script has ended, so the server may close.
            _ => Ended::Finished,
        }
    }

    /// The reason that the server sent before it closed, if any.
    async fn farewell(&mut self) -> Ended {
        match self.listen_for(LAST_WORDS).await {
            Err(told @ Ended::Told(..)) => told,
            _ => Ended::Cut,
        }
    }
}

/// Reads messages of a server until the connection ends, or bytes cannot be parsed.
async fn listen(mut reading: OwnedReadHalf, say: mpsc::Sender<Heard>) {
    let mut reader = ChunkReader::default();
    let mut buffer = vec![0; 4_096];
    while let Ok(read @ 1..) = reading.read(&mut buffer).await {
        let Some(messages) = buffer.get(..read).and_then(|bytes| reader.read(bytes)) else { return };
        for (kind, body) in messages {
            if kind == kind::COMMAND
                && let Some(heard) = heard(&amf::read(&body))
                && say.send(heard).await.is_err()
            {
                return;
            }
        }
    }
}

fn heard(command: &[Value]) -> Option<Heard> {
    let name = command.first()?.as_text()?;
    let info = command.get(3);
    let field =
        |name: &str| info.and_then(|info| info.get(name)).and_then(Value::as_text).unwrap_or_default().to_owned();
    match name {
        "_result" => Some(Heard::Result(command.get(1)?.as_number()?)),
        "_error" => Some(Heard::Refusal(field("code"), field("description"))),
        "onStatus" if field("level") == "error" => Some(Heard::Refusal(field("code"), field("description"))),
        "onStatus" if field("code") == "NetStream.Publish.Start" => Some(Heard::Publishing),
        _ => None,
    }
}
