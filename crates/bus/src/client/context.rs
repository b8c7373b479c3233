//! What the connections of a bus have in common: its subscriptions, its retained messages, its login, and how a connection fails.

use std::sync::{Arc, Mutex, PoisonError};

use mqtt5_protocol::ReasonCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::owned::{Outgoing, Owned};
use super::subscriptions::Registry;
use crate::Message;
use crate::codec::CodecError;

/// What all connections of a bus share.
#[derive(Debug)]
pub(super) struct BusContext {
    pub(super) registry: Arc<Registry>,
    pub(super) owned: Mutex<Owned>,
    /// How many brokers are connected.
    pub(super) connected: watch::Sender<usize>,
    pub(super) shutdown: CancellationToken,
}

impl BusContext {
    pub(super) fn note(&self, message: Message) -> Outgoing {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).note(message)
    }
}

/// What a connection shows the broker in CONNECT.
pub(super) struct Login {
    /// The same over reconnects, so that the broker ends the old connection at once, instead of when it times out.
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) will: Option<Message>,
}

/// Why there is no connection (any more).
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no answer in time")]
    Silent,
    #[error("connection closed")]
    Closed,
    #[error("refused: {0:?}; are bus.username and bus.password_file what the broker knows?")]
    Refused(ReasonCode),
    #[error("ended by the broker: {0:?}")]
    Disconnected(ReasonCode),
    #[error("protocol error: unexpected {0}")]
    Unexpected(&'static str),
}
