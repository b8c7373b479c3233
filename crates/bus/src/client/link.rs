//! Keeps one broker connected: connects, and reconnects after each break.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::{mpsc, watch};

use super::context::{BusContext, Login};
use super::endpoint::Endpoint;
use super::owned::Outgoing;
use super::session::{Ended, Session};
use crate::{RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN};

/// The task that keeps one broker connected.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    pub(super) login: Login,
    pub(super) shared: Arc<BusContext>,
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
