//! What a publisher shows, and the stream that it opens: a stream key, or a token of an issuer.

use std::time::Duration;

use issuers::{Issuers, Refusal, Verified, looks_like_a_token};
use media::{Now, StreamId};
use messages::KeyMac;
use rtmp::StreamKey;
use rtmp::limits::KEY_BYTES_MAX;

use super::publication::Ending;
use crate::keys::{KeyState, KeyTable};

/// Why a publisher is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// No grant, or no table of keys yet.
    #[error("{0}")]
    NotReady(&'static str),
    /// No stream has this key.
    #[error("Wrong stream key.")]
    WrongKey,
    /// The key is longer than any key or token; how many bytes it has.
    #[error("This stream key has {0} characters, and at most {KEY_BYTES_MAX} are taken.")]
    KeyTooLong(usize),
    /// A token, and nobody is configured to issue tokens for publishers.
    #[error("This is a token, and this ingest takes stream keys only.")]
    NoIssuer,
    /// The token is not good, or not good for this.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// The token names a stream that there is not.
    #[error("The token names a stream that does not exist.")]
    NoStream,
    /// Another publisher is live.
    #[error("This stream is being published already.")]
    Busy,
    /// The operator has suspended the tenant.
    #[error("The operator has suspended the tenant of this stream.")]
    Suspended,
    /// As many streams of the tenant are published as it may publish at once.
    #[error(
        "{0} of this tenant's streams are being published, which is its quota: end one, or ask the operator for more."
    )]
    Publishers(u64),
    /// The one session that the streamer let this ingest seal is over.
    #[error("The session that was delegated to this ingest is over: the streamer has to delegate another.")]
    SessionOver,
    /// This ingest has too many streams already.
    #[error("This ingest has no room for another stream.")]
    Full,
    /// The role is shutting down.
    #[error("This ingest is shutting down.")]
    Stopping,
}

impl Denied {
    /// Label `reason` of `ingest_refused_total`.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::NotReady(_) => "not_ready",
            Self::WrongKey => "wrong_key",
            Self::KeyTooLong(_) => "key_too_long",
            Self::NoIssuer => "token_no_issuer",
            Self::Token(refusal) => refusal.label(),
            Self::NoStream => "token_streams",
            Self::Busy => "busy",
            Self::Suspended => "tenant_suspended",
            Self::Publishers(_) => "tenant_quota",
            Self::SessionOver => "session_over",
            Self::Full => "full",
            Self::Stopping => "stopping",
        }
    }

    /// `code` of the RTMP `onStatus`. Encoders try again after `NetStream.Failed`, and not after the other.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotReady(_) | Self::Publishers(_) | Self::SessionOver | Self::Full | Self::Stopping => {
                "NetStream.Failed"
            }
            Self::Token(refusal) if refusal.may_pass_later() => "NetStream.Failed",
            Self::Token(_)
            | Self::WrongKey
            | Self::KeyTooLong(_)
            | Self::NoIssuer
            | Self::NoStream
            | Self::Suspended
            | Self::Busy => "NetStream.Publish.BadName",
        }
    }

    /// The text for the log. What a publisher is told of its token repeats what the token says, so the log does not have it.
    pub(crate) fn logged(&self) -> String {
        match self {
            Self::Token(refusal) => format!("A token was refused: {}.", refusal.label()),
            other => other.to_string(),
        }
    }
}

/// What a publisher shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Key(&'a str),
    /// A token in place of the key, or beside the name of a stream: `NAME?token=TOKEN`.
    Token {
        token: &'a str,
        stream: Option<&'a str>,
    },
}

impl<'a> Shown<'a> {
    pub(crate) fn of(key: &'a StreamKey) -> Result<Self, Denied> {
        if let Some(bytes) = key.excess_bytes() {
            return Err(Denied::KeyTooLong(bytes));
        }
        Ok(match (key.expose(), key.expose_token()) {
            (name, Some(token)) if !name.is_empty() => Self::Token { token, stream: Some(name) },
            (name, _) if looks_like_a_token(name) => Self::Token { token: name, stream: None },
            (name, _) => Self::Key(name),
        })
    }
}

/// What a publisher may do, as far as was found out before the streams were locked.
#[derive(Debug)]
pub(crate) enum Right {
    Key { stream: StreamId, mac: KeyMac },
    Token { stream: StreamId, verified: Verified },
}

impl Right {
    /// What a stream key opens. Costs a MAC for each key that it may be, so nobody may hold a lock meanwhile.
    pub(crate) fn of_key(key: &str, table: &KeyTable) -> Result<Self, Denied> {
        let (stream, mac) = table.stream_of(key).ok_or(Denied::WrongKey)?;
        Ok(Self::Key { stream: stream.clone(), mac })
    }

    /// The stream that it opens, and what has to stay valid.
    pub(crate) fn credential(self, table: &KeyTable, issuers: &Issuers) -> Result<(StreamId, Credential), Denied> {
        match self {
            // The table may be another one since the key was looked for.
            Self::Key { stream, mac } if table.standing(&stream, &mac) == KeyState::Valid => {
                Ok((stream, Credential::Key(mac)))
            }
            Self::Key { .. } => Err(Denied::WrongKey),
            Self::Token { stream, .. } if !table.has(&stream) => Err(Denied::NoStream),
            // The issuer may have taken it back since it was checked.
            Self::Token { verified, .. } if !issuers.stands(&verified) => Err(Refusal::NoKey.into()),
            Self::Token { stream, verified } => Ok((stream, Credential::Token(Box::new(verified)))),
        }
    }
}

/// What a stream's publisher was admitted with.
#[derive(Debug)]
pub(crate) enum Credential {
    Key(KeyMac),
    Token(Box<Verified>),
}

impl Credential {
    /// When it ends by itself, on the clock that no adjustment moves: a leap of the wall clock lets nobody go who is live.
    pub(crate) fn ends_at(&self, now: Now) -> Option<Duration> {
        match self {
            Self::Key(_) => None,
            Self::Token(verified) => Some(now.elapsed.saturating_add(verified.ends_at.since(now.wall))),
        }
    }

    /// Why it is no longer valid, and the words for the publisher; `None` while it is.
    pub(crate) fn objection(
        &self,
        stream: &StreamId,
        table: &KeyTable,
        issuers: &Issuers,
    ) -> Option<(Ending, &'static str)> {
        const DELETED: (Ending, &str) = (Ending::Deleted, "The stream was deleted.");
        match self {
            Self::Key(mac) => match table.standing(stream, mac) {
                KeyState::Valid => None,
                KeyState::KeyChanged => Some((Ending::KeyChanged, "The stream key was changed.")),
                KeyState::Deleted => Some(DELETED),
            },
            Self::Token(_) if !table.has(stream) => Some(DELETED),
            Self::Token(verified) if !issuers.stands(verified) => {
                Some((Ending::TokenRevoked, "The issuer has taken back the key of this token: publish with a new one."))
            }
            Self::Token(_) => None,
        }
    }
}
