//! What a publisher's connection and its stream share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use node::CancellationToken;
use rtmp::flv;
use tokio::sync::mpsc;

/// One message of a publisher.
#[derive(Debug)]
pub(crate) struct MediaMessage {
    /// RTMP timestamp: milliseconds modulo 2^32.
    pub(crate) stamp_ms: u32,
    /// Parsed FLV body of the message.
    pub(crate) body: flv::Body,
}

/// Why a stream closes its publisher's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was silent, and another publisher took over.
    TakenOver,
    /// Its stream has a new key.
    KeyChanged,
    /// Its stream was deleted.
    Deleted,
    /// Its token has ended.
    TokenEnded,
    /// The issuer has taken back the key that signed its token.
    TokenRevoked,
    /// The operator has suspended the tenant of its stream.
    Suspended,
    /// Its tenant has used up a quota.
    Quota,
    /// Its media cannot be decoded, encoded or packaged.
    Media,
    /// The role is shutting down.
    Stopping,
    /// This ingest failed.
    Failed,
}

impl Ending {
    /// Label `reason` of `ingest_refused_total`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::TakenOver => "taken_over",
            Self::KeyChanged => "key_changed",
            Self::Deleted => "stream_deleted",
            Self::TokenEnded => "token_ended",
            Self::TokenRevoked => "token_revoked",
            Self::Suspended => "tenant_suspended",
            Self::Quota => "tenant_quota",
            Self::Media => "media",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }

    /// `code` of the RTMP `onStatus`. `NetStream.Failed` is for what the encoder cannot mend: encoders try again after it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::TakenOver
            | Self::KeyChanged
            | Self::Deleted
            | Self::TokenEnded
            | Self::TokenRevoked
            | Self::Suspended
            | Self::Quota
            | Self::Media => "NetStream.Publish.BadName",
            Self::Stopping | Self::Failed => "NetStream.Failed",
        }
    }
}

/// State that a connection and its stream share.
#[derive(Debug, Default)]
pub(crate) struct Link {
    heard_ms: AtomicU64,
    pub(super) held_back: AtomicBool,
    close: CancellationToken,
    reason: OnceLock<(Ending, String)>,
}

impl Link {
    /// Asks the connection to close, telling the publisher why. The first reason counts.
    pub(crate) fn close(&self, ending: Ending, words: &str) {
        // An error means that a reason is set already; it stands.
        let _ = self.reason.set((ending, words.to_owned()));
        self.close.cancel();
    }

    /// Resolves when the connection has to close.
    pub(crate) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Why it has to close, and the words for it.
    pub(crate) fn reason(&self) -> (Ending, &str) {
        self.reason.get().map_or((Ending::Failed, "Closed."), |(ending, words)| (*ending, words))
    }

    pub(super) fn heard(&self, elapsed: Duration) {
        self.heard_ms.store(millis(elapsed), Ordering::Relaxed);
    }

    /// How long the publisher has sent nothing; zero while it waits for us to take a message.
    pub(super) fn silent_for(&self, elapsed: Duration) -> Duration {
        if self.held_back.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        Duration::from_millis(millis(elapsed).saturating_sub(self.heard_ms.load(Ordering::Relaxed)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A publisher as its driver receives it.
pub(crate) struct NewPublisher {
    pub(crate) media: mpsc::Receiver<MediaMessage>,
    pub(crate) link: Arc<Link>,
}
