//! Keeps one broker connected: connects, and reconnects after each break.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt5_protocol::ReasonCode;
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::owned::{Outgoing, Owned};
use super::session::{Ended, Session};
use super::subscriptions::Registry;
use crate::codec::CodecError;
use crate::{Message, RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN};

/// What all connections of a bus share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    pub(super) owned: Mutex<Owned>,
    /// How many brokers are connected.
    pub(super) connected: watch::Sender<usize>,
    pub(super) shutdown: CancellationToken,
}

impl Shared {
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

/// The task that keeps one broker connected.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    pub(super) login: Login,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Outgoing>,
    pub(super) connected: watch::Sender<bool>,
}

/// What was last logged, so that each change is logged once and not each try.
#[derive(PartialEq)]
enum Reported {
    Nothing,
    Up,
    Down(String),
}

impl Link {
    /// Runs until the bus is shut down or dropped.
    pub(super) async fn run(mut self) {
        let broker = self.endpoint.name();
        let mut reported = Reported::Nothing;
        let mut delay = RECONNECT_DELAY_MIN;
        let mut unacknowledged = VecDeque::new();
        while !self.shared.shutdown.is_cancelled() && !self.queue.is_closed() {
            let shutdown = self.shared.shutdown.clone();
            let opened = tokio::select! {
                () = shutdown.cancelled() => break,
                opened = Session::open(&self.endpoint, &self.login) => opened,
            };
            let error = match opened {
                Ok(session) => {
                    delay = RECONNECT_DELAY_MIN;
                    tracing::info!(broker, "MQTT connected");
                    reported = Reported::Up;
                    self.set_connected(true);
                    let ended = session.run(&self.shared, &mut self.queue, unacknowledged).await;
                    self.set_connected(false);
                    let Ended { error, unacknowledged: left } = ended;
                    unacknowledged = left;
                    let leaving = self.shared.shutdown.is_cancelled() || self.queue.is_closed();
                    match error {
                        Some(error) if !leaving => error,
                        _ => {
                            tracing::info!(broker, "MQTT disconnected");
                            break;
                        }
                    }
                }
                Err(error) => error,
            };
            let now = Reported::Down(error.to_string());
            if reported != now {
                let was_up = reported == Reported::Up;
                tracing::warn!(broker, was_up, %error, "the MQTT broker is not there or refuses this node, trying again");
                reported = now;
            }
            let shutdown = self.shared.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(jittered(delay)) => {}
            }
            delay = (delay * 2).min(RECONNECT_DELAY_MAX);
        }
        self.shared.registry.close();
    }

    fn set_connected(&self, connected: bool) {
        self.connected.send_replace(connected);
        self.shared.connected.send_modify(|count| {
            *count = if connected { *count + 1 } else { count.saturating_sub(1) };
        });
        let count = u32::try_from(*self.shared.connected.borrow()).unwrap_or(u32::MAX);
        metrics::gauge!("bus_connected_brokers").set(f64::from(count));
    }
}

/// Half to all of `delay`, so that nodes do not all come back to a broker at the same moment.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::rng().random_range(0.5..=1.0))
}
