//! Writes events of streams from what control hears on the bus.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalogue::{Error, LiveEvent};
use media::StreamId;
use messages::{Alert, InputReport, SessionInfo};
use tokio::sync::mpsc;

use super::EVENTS;
use super::live::Streams;
use crate::ControlState;
use crate::lease::LeaseHolder;

/// Messages that may wait. More are dropped: ingests repeat sessions every 5 s, and reports every 2 s.
pub(crate) const HEARD_MAX: usize = 1_024;
/// How often it is looked whether streams have become playable.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What control hears of streams.
#[derive(Debug)]
pub(crate) enum Heard {
    Session(SessionInfo),
    Input(Box<InputReport>),
    Alert(Alert),
}

pub(crate) struct Observer<'a> {
    shared: &'a Arc<ControlState>,
    holder: String,
}

impl<'a> Observer<'a> {
    pub(crate) fn new(shared: &'a Arc<ControlState>, lease: &LeaseHolder) -> Self {
        Self { shared, holder: lease.name.clone() }
    }

    /// Writes events until the lease is lost, or the catalogue fails.
    pub(crate) async fn run(self, heard: &mut mpsc::Receiver<Heard>) -> Result<Infallible, Error> {
        let shared = self.shared;
        let is_held = |stream: &StreamId| crate::nodes::holders(&shared.cluster, stream) > 0;
        let mut streams = Streams::resume(shared.catalogue.live_states().await?);
        let mut events = Vec::new();
        // What was said before this node held the lease.
        for session in shared.view.sessions() {
            events.extend(streams.session(&session, is_held(&session.stream)));
        }
        self.write(events).await?;
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let events = tokio::select! {
                Some(heard) = heard.recv() => match heard {
                    Heard::Session(session) => streams.session(&session, is_held(&session.stream)),
                    Heard::Input(report) => streams.input(&report, shared.node.clock.now()),
                    Heard::Alert(alert) => streams.alert(&alert, shared.node.clock.now()).into_iter().collect(),
                },
                _ = look.tick() => streams.look(is_held),
            };
            self.write(events).await?;
        }
    }

    async fn write(&self, events: Vec<LiveEvent>) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        self.shared.catalogue.live(EVENTS, &self.holder, events).await
    }
}
