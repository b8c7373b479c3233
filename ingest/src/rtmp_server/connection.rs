//! One RTMP connection: reads, answers, and hands media on. Everything it waits for has a deadline.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use media::StreamId;
use rand::RngCore as _;
use rtmp::handshake::{Handshake, HandshakeError, RANDOM_BYTES};
use rtmp::{Event, Protocol, ProtocolError, StreamKey, flv};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::paced::Pace;
use super::refusals::Refusals;
use crate::intake::hub::{Hub, Publication};
use crate::intake::publication::{Ending, MediaMessage};

/// Bytes read at once from a publisher.
const READ_BYTES: usize = 64 * 1024;
/// Bytes read at once before `publish`: handshake and commands, from anyone who found the port.
const READ_BYTES_UNPUBLISHED: usize = 4 * 1024;
/// Longest wait for the peer to take what we write: answers of a few hundred bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refused peer may take to read why, before the connection is cut.
const LINGER: Duration = Duration::from_secs(1);
/// Media messages of one connection that may fail to parse before it is closed.
const BROKEN_TAGS_MAX: u32 = 100;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// The peer closed it, or the network did.
    #[error("closed by the peer")]
    Gone,
    /// The peer stopped publishing, and neither closed the connection nor published again.
    #[error("stopped publishing")]
    Unpublished,
    /// The peer was told why.
    #[error("refused: {0}")]
    Refused(String),
    /// What it sent is not TLS, or its TLS handshake failed.
    #[error("no TLS: {0}")]
    Tls(String),
    /// What it sent is not RTMP.
    #[error("not valid RTMP: {0}")]
    Invalid(String),
    /// It exceeded a limit: the name that the limit is counted under, and the text for the operator.
    #[error("{1}")]
    Limit(&'static str, String),
}

impl Closed {
    /// The label under which `ingest_refused_total` counts the end; `None` if it is nobody's fault, or was counted when the peer was told.
    pub(super) const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Gone | Self::Unpublished | Self::Refused(_) => None,
            Self::Tls(_) => Some("tls"),
            Self::Invalid(_) => Some("invalid"),
            Self::Limit(label, _) => Some(label),
        }
    }

    /// A TLS handshake that failed. A peer that hung up during it is only [gone](Self::Gone).
    pub(super) fn from_tls(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::Other => Self::Tls(error.to_string()),
            _ => Self::Gone,
        }
    }

    /// The peer was slower than `limit`; `what` did not happen in time.
    pub(super) fn late(label: &'static str, what: &str, limit: Duration) -> Self {
        Self::Limit(label, format!("{what} within {} s", limit.as_secs_f64()))
    }
}

impl From<ProtocolError> for Closed {
    fn from(error: ProtocolError) -> Self {
        match error.limit() {
            Some(label) => Self::Limit(label, error.to_string()),
            None => Self::Invalid(error.to_string()),
        }
    }
}

impl From<HandshakeError> for Closed {
    fn from(error: HandshakeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// How a connection ended, and the stream that it published.
#[derive(Debug)]
pub(super) struct End {
    pub(super) closed: Closed,
    /// The stream that it published; `None` for a stranger.
    pub(super) stream: Option<StreamId>,
}

impl From<Closed> for End {
    /// The end of a stranger's connection.
    fn from(closed: Closed) -> Self {
        Self { closed, stream: None }
    }
}

/// Time limits and the application that a connection has to know, and the log of refusals that all connections share.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Longest time from the connection's start, TLS included, to an accepted `publish`; also from the end of one to the next.
    pub(super) handshake: Duration,
    /// Longest time without a byte after that.
    pub(super) idle: Duration,
    /// The only application that publishers may name.
    pub(super) application: String,
    /// Which refusals are logged.
    pub(super) refusals: Arc<Refusals>,
}

pub(super) struct Connection<S> {
    socket: S,
    address: SocketAddr,
    protocol: Protocol,
    hub: Arc<Hub>,
    rules: Rules,
    buffer: Vec<u8>,
    broken_tags: u32,
    /// Whether the handshake is over.
    is_greeted: bool,
    /// The stream of the last `publish` that was accepted.
    published: Option<StreamId>,
    /// The application that the peer connected to, when it is not ours.
    unknown_application: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Pace + Unpin> Connection<S> {
    pub(super) fn new(socket: S, address: SocketAddr, hub: Arc<Hub>, rules: Rules) -> Self {
        Self {
            socket,
            address,
            protocol: Protocol::new(),
            hub,
            rules,
            buffer: vec![0; READ_BYTES_UNPUBLISHED],
            broken_tags: 0,
            is_greeted: false,
            published: None,
            unknown_application: None,
        }
    }

    /// Serves the connection until it ends. `spent` is how long its TLS handshake took.
    pub(super) async fn run(mut self, spent: Duration) -> End {
        let limit = self.rules.handshake;
        let mut left = limit.saturating_sub(spent);
        let ended = loop {
            match timeout(left, self.until_publish()).await {
                Ok(Ok(publication)) => match self.media(publication).await {
                    // The peer may publish again or is about to close. If we closed first, it would report an error.
                    Closed::Unpublished => left = limit,
                    closed => break closed,
                },
                Ok(Err(closed)) => break closed,
                Err(_) if self.published.is_some() => break Closed::Unpublished,
                Err(_) if self.is_greeted => break Closed::late("publish_time", "no publish", limit),
                Err(_) => break Closed::late("handshake_time", "no whole handshake", limit),
            }
        };
        if matches!(ended, Closed::Refused(_)) {
            self.linger().await;
        }
        // TLS announces the end (`close_notify`), and clients that do not receive it report an error.
        let _ = timeout(LINGER, self.socket.shutdown()).await;
        End { closed: ended, stream: self.published }
    }

    /// Does the handshake (5.2) the first time, and takes commands up to an accepted `publish`.
    async fn until_publish(&mut self) -> Result<Publication, Closed> {
        if !self.is_greeted {
            let rest = self.handshake().await?;
            self.is_greeted = true;
            self.protocol.input(&rest);
        }
        loop {
            while let Some(event) = guarded(|| self.protocol.next_event())? {
                if let Some(publication) = self.command(event).await? {
                    return Ok(publication);
                }
            }
            self.flush().await?;
            let read = self.socket.read(&mut self.buffer).await?;
            self.take(read)?;
        }
    }

    async fn handshake(&mut self) -> Result<Vec<u8>, Closed> {
        let mut random = Box::new([0; RANDOM_BYTES]);
        rand::rng().fill_bytes(random.as_mut_slice());
        let mut handshake = Handshake::new(random);
        loop {
            let read = self.socket.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(Closed::Gone);
            }
            let bytes = self.buffer.get(..read).unwrap_or_default();
            let progress = guarded(|| handshake.input(bytes))?;
            self.write(&progress.answer).await?;
            if let Some(rest) = progress.rest {
                return Ok(rest);
            }
        }
    }

    /// Handles one event before `publish` is accepted.
    async fn command(&mut self, event: Event) -> Result<Option<Publication>, Closed> {
        match event {
            Event::Connect { app } => {
                // An unknown application is refused at `publish`: OBS shows the reason of that refusal, not of this one.
                self.unknown_application = (app != self.rules.application).then_some(app);
                self.protocol.accept_connect();
            }
            Event::Publish { key } => return self.publish(&key).await.map(Some),
            Event::Play => {
                self.protocol.reject_play();
                return Err(self.refuse("play", "play is not served".to_owned()).await);
            }
            Event::Unpublish | Event::Metadata(_) | Event::Video { .. } | Event::Audio { .. } => {}
        }
        Ok(None)
    }

    async fn publish(&mut self, key: &StreamKey) -> Result<Publication, Closed> {
        if let Some(app) = &self.unknown_application {
            let (told, logged) = other_application(app, &self.rules.application);
            self.protocol.reject_publish("NetStream.Publish.BadName", &told);
            return Err(self.refuse("application", logged).await);
        }
        match self.hub.admit(key).await {
            Ok(publication) => {
                self.protocol.accept_publish();
                self.published = Some(publication.stream().clone());
                self.buffer.resize(READ_BYTES, 0);
                self.flush().await?;
                self.socket.pace()?;
                tracing::info!(stream = %publication.stream(), address = %self.address, "publisher accepted");
                Ok(publication)
            }
            Err(denied) => {
                self.protocol.reject_publish(denied.code(), &denied.to_string());
                Err(self.refuse(denied.label(), denied.logged()).await)
            }
        }
    }

    /// Forwards media from `publish` to the end of the publication.
    async fn media(&mut self, publication: Publication) -> Closed {
        let link = publication.link();
        tokio::select! {
            ended = self.forward(&publication) => ended.map_or_else(|closed| closed, |()| Closed::Unpublished),
            () = publication.closed() => {
                let (ending, text) = link.reason();
                self.protocol.reject_publish(ending.code(), text);
                self.let_go(publication.stream(), ending, text.to_owned()).await
            }
        }
    }

    async fn forward(&mut self, publication: &Publication) -> Result<(), Closed> {
        loop {
            while let Some(event) = guarded(|| self.protocol.next_event())? {
                let (stamp_ms, body) = match event {
                    Event::Video { stamp_ms, body } => (stamp_ms, flv::video(&body)),
                    Event::Audio { stamp_ms, body } => (stamp_ms, flv::audio(&body)),
                    Event::Unpublish => return Ok(()),
                    Event::Metadata(metadata) => {
                        tracing::debug!(stream = %publication.stream(), ?metadata, "metadata");
                        publication.announced(&metadata);
                        continue;
                    }
                    Event::Connect { .. } | Event::Publish { .. } | Event::Play => continue,
                };
                let body = self.tag(body).await?;
                if body != flv::Body::Nothing && !publication.send(MediaMessage { stamp_ms, body }).await {
                    // The stream closed its end first; it says why on the link.
                    publication.link().closed().await;
                }
            }
            self.flush().await?;
            let idle = timeout(self.rules.idle, self.socket.read(&mut self.buffer)).await;
            let late = |_| Closed::late("idle_time", "nothing came from the publisher", self.rules.idle);
            let read = idle.map_err(late)??;
            publication.heard();
            self.take(read)?;
        }
    }

    /// Passes a tag on. An unsupported codec ends the publication; a truncated tag is left out, up to [`BROKEN_TAGS_MAX`] times.
    async fn tag(&mut self, body: Result<flv::Body, flv::FlvError>) -> Result<flv::Body, Closed> {
        match body {
            Ok(body) => Ok(body),
            Err(error @ (flv::FlvError::Codec { .. } | flv::FlvError::Multitrack(_) | flv::FlvError::ModEx(_))) => {
                self.protocol.reject_publish("NetStream.Publish.BadName", &error.to_string());
                Err(self.refuse("codec", error.to_string()).await)
            }
            Err(error @ flv::FlvError::Truncated(_)) => {
                self.broken_tags = self.broken_tags.saturating_add(1);
                if self.broken_tags > BROKEN_TAGS_MAX {
                    return Err(Closed::Limit("broken_tags", error.to_string()));
                }
                Ok(flv::Body::Nothing)
            }
        }
    }

    fn take(&mut self, read: usize) -> Result<(), Closed> {
        if read == 0 {
            return Err(Closed::Gone);
        }
        self.protocol.input(self.buffer.get(..read).unwrap_or_default());
        Ok(())
    }

    /// Sends the refusal that the protocol has ready.
    async fn refuse(&mut self, label: &'static str, text: String) -> Closed {
        if self.published.is_some() || self.rules.refusals.is_first(label, self.address) {
            tracing::warn!(address = %self.address, reason = label, text, "publisher refused");
        }
        self.tell(label, text).await
    }

    /// The same for a publisher that was accepted. Its stream has already logged what an operator may do.
    async fn let_go(&mut self, stream: &StreamId, ending: Ending, text: String) -> Closed {
        let label = ending.label();
        tracing::info!(%stream, address = %self.address, reason = label, text, "publisher let go");
        self.tell(label, text).await
    }

    async fn tell(&mut self, label: &'static str, text: String) -> Closed {
        metrics::counter!("ingest_refused_total", "reason" => label).increment(1);
        match self.flush().await {
            Ok(()) => Closed::Refused(text),
            Err(closed) => closed,
        }
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let out = self.protocol.take_output();
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = async {
            self.socket.write_all(bytes).await?;
            // TLS may still hold the last bytes.
            self.socket.flush().await
        };
        timeout(WRITE_TIMEOUT, written)
            .await
            .map_err(|_| Closed::late("write_time", "the peer did not take an answer", WRITE_TIMEOUT))??;
        Ok(())
    }

    /// Reads and drops the peer's data before the connection closes: closing with unread data makes TCP discard what the peer has not
    /// read yet.
    async fn linger(&mut self) {
        // If this fails, nobody is there to read the reason.
        let _ = timeout(LINGER, self.socket.shutdown()).await;
        let drained = async {
            while self.socket.read(&mut self.buffer).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        // Either way the connection is closed next.
        let _ = timeout(LINGER, drained).await;
    }
}

/// The text for a peer that names another application, and the text for the log. The log does not name it: a publisher that leaves the
/// application out of its URL sends the stream key in its place.
fn other_application(app: &str, ours: &str) -> (String, String) {
    (format!("No application {app:?} here: publish to /{ours}."), format!("Another application than /{ours}."))
}

/// Makes a panic in `step` an error of the connection, because nothing that a peer sends may end more than its own connection.
fn guarded<T, E: Into<Closed>>(step: impl FnOnce() -> Result<T, E>) -> Result<T, Closed> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            metrics::counter!("ingest_panics_total").increment(1);
            Err(Closed::Invalid("the parser panicked".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_in_place_of_the_application_is_not_logged() {
        let (told, logged) = other_application("my-stream-key", "live");
        assert!(told.contains("my-stream-key") && told.contains("publish to /live"), "{told}");
        assert!(!logged.contains("my-stream-key") && logged.contains("/live"), "{logged}");
    }
}
