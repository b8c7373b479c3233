//! The slate in place of a publisher who is away: a publisher of our own, which gives way to any other at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use media::TrackConfig;
use messages::SessionState;
use node::clock::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Driver, Next, YIELD};
use crate::heads::Ask;
use crate::pipeline::slate::{Likeness, Slate};
use crate::pipeline::{self, Feeder, Output, Outputs};
use crate::session::feed::{self, Feed, Incoming};
use crate::session::hub::{Link, MediaMessage, NewPublisher};
use crate::session::slate::{BEGINS_AFTER, Reel};
use crate::session::stats::StreamStats;
use crate::session::turn::Duty;

/// How long the pipeline may take to hand out what it has when the slate ends. A publisher who is back waits so long at most.
const DRAIN_MAX: Duration = Duration::from_millis(150);
/// Messages that may wait, as for a publisher's.
const MEDIA_DEPTH: usize = 256;

/// A slate that is on its way. Dropping it calls it off.
pub(super) struct Coming(JoinHandle<Option<Reel>>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves when a slate is there, or does not come after all; never where none is on its way.
pub(super) async fn come(coming: &mut Option<Coming>) -> Option<Reel> {
    let Some(Coming(task)) = coming else { return std::future::pending().await };
    let reel = task.await;
    *coming = None;
    reel.ok().flatten()
}

/// A slate at work.
struct Showing {
    outputs: Outputs,
    incoming: Incoming,
    feeder: Weak<Feeder>,
    link: Arc<Link>,
    reel: JoinHandle<()>,
    feed: JoinHandle<()>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.reel.abort();
        self.feed.abort();
    }
}

impl Driver {
    /// The slate for a publisher who has just gone, in a moment. `None` where none is shown, another ingest has the stream, or no picture
    /// was published that it could stand in for.
    pub(super) fn prepare_slate(&self) -> Option<Coming> {
        let services = &self.hub.services;
        let picture = services.slate.clone().filter(|_| self.writer.is_out())?;
        let tracks = || self.renditions.0.iter().map(|config| &config.track);
        let sound = tracks().find_map(|track| match track {
            TrackConfig::Audio { aac } => Some(aac.clone()),
            TrackConfig::Video { .. } => None,
        });
        let has_picture = tracks().any(|track| matches!(track, TrackConfig::Video { .. }));
        let source = self.memory.source().filter(|_| has_picture)?;
        let segment = services.config.targets().segment;
        let likeness = Likeness { source, aspect: self.memory.pixel_aspect(), sound: sound.is_some(), segment };
        let (config, clock) = (services.pipeline.clone(), services.context.clock);
        // Another ingest may have the same stream, and goes on with it sooner than that.
        let wait = if self.is_alone() { BEGINS_AFTER } else { BEGINS_AFTER.saturating_add(YIELD) };
        let at = clock.elapsed().saturating_add(wait);
        let task = async move {
            tokio::time::sleep_until(clock.instant(at)).await;
            let encoded = tokio::task::spawn_blocking(move || Slate::encode(&picture, likeness, &config)).await;
            let slate = encoded.ok()?.inspect_err(|error| tracing::warn!(%error, "no slate: gaps go on")).ok()?;
            Some(Reel::new(slate, sound.as_ref(), clock.elapsed()))
        };
        Some(Coming(tokio::spawn(tracing::Instrument::in_current_span(task))))
    }

    /// Shows the slate until somebody publishes, who is handed back, or there is no more to wait for. Does nothing where another ingest
    /// has the stream, or it does not wait any more.
    pub(super) async fn stand_in(
        &mut self,
        reel: Reel,
        publishers: &mut mpsc::Receiver<NewPublisher>,
    ) -> Option<NewPublisher> {
        let waits = self.hub.state(&self.stream).0 == SessionState::Reconnecting;
        if !waits || self.rivals.duty() == Duty::Standby || !self.writer.is_out() {
            return None;
        }
        let mut showing = match self.show(reel) {
            Ok(showing) => showing,
            Err(error) => {
                tracing::warn!(%error, "no slate: gaps go on");
                return None;
            }
        };
        self.is_standing_in = true;
        let publisher = self.run_slate(&mut showing, publishers).await;
        self.end_slate(showing).await;
        self.is_standing_in = false;
        publisher
    }

    /// Starts the pipeline of a slate, and the tasks that feed it. What comes in is none of the publisher's figures.
    fn show(&mut self, reel: Reel) -> Result<Showing, pipeline::Error> {
        let context = &self.hub.services.context;
        let config = self.hub.services.pipeline.clone();
        let (feeder, outputs) = pipeline::start_again(config, reel.memory())?;
        self.runs = 0;
        let (sender, media) = mpsc::channel(MEDIA_DEPTH);
        let reel = tokio::spawn(roll(reel, sender, context.clock));
        let stats = Arc::new(StreamStats::new(context.clock.wall()));
        self.writer.look_for_base(Ask::Head);
        let (feeder, link) = (Arc::new(feeder), Arc::new(Link::default()));
        let way_in = Arc::downgrade(&feeder);
        let (flow, incoming) = feed::watch();
        let (hub, after) = (Arc::clone(&self.hub), self.writer.media_end());
        let feed = tokio::spawn(Feed { media, after, feeder, flow, link: Arc::clone(&link), hub, stats }.run());
        Ok(Showing { outputs, incoming, feeder: way_in, link, reel, feed })
    }

    async fn run_slate(
        &mut self,
        showing: &mut Showing,
        publishers: &mut mpsc::Receiver<NewPublisher>,
    ) -> Option<NewPublisher> {
        let Showing { outputs, incoming, feeder, link, .. } = showing;
        let clock = self.hub.services.context.clock;
        let shutdown = self.hub.shutdown.clone();
        let (_, deadline) = self.hub.state(&self.stream);
        loop {
            let gap = self.writer.next_gap(incoming.quiet_until());
            let next = tokio::select! {
                biased;
                publisher = publishers.recv() => return publisher,
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(clock.instant(deadline.unwrap_or_default())) => return None,
                () = self.rivals.changed() => match self.rivals.duty() {
                    Duty::Active => Next::Output,
                    Duty::Standby => return None,
                },
                output = outputs.recv() => {
                    self.slate_output(output?, incoming, feeder, link).await
                }
                () = tokio::time::sleep_until(clock.instant(gap.unwrap_or_default())), if gap.is_some() => {
                    self.writer.gaps(incoming.quiet_until()).await;
                    Next::Output
                }
                () = incoming.changed() => Next::Output,
            };
            match next {
                Next::Output => {}
                Next::Epoch => incoming.broke(clock.elapsed()),
                Next::Publisher => return None,
            }
        }
    }

    async fn slate_output(&mut self, output: Output, incoming: &Incoming, feeder: &Weak<Feeder>, link: &Link) -> Next {
        if matches!(output, Output::Tracks(_)) {
            tracing::info!("slate is shown");
            metrics::counter!("ingest_slates_total").increment(1);
            self.stats.slate(true);
        }
        self.output(output, incoming, feeder, link).await
    }

    /// Seals what is left of the slate, in a moment.
    async fn end_slate(&mut self, mut showing: Showing) {
        showing.reel.abort();
        // One that has not begun does not begin any more.
        self.is_beginning = false;
        let clock = self.hub.services.context.clock;
        let until = clock.elapsed().saturating_add(DRAIN_MAX);
        while self.rivals.duty() == Duty::Active {
            let output = tokio::select! {
                output = showing.outputs.recv() => output,
                () = tokio::time::sleep_until(clock.instant(until)) => None,
            };
            let Some(output) = output.filter(|output| !matches!(output, Output::Tracks(_))) else { break };
            match self.output(output, &showing.incoming, &showing.feeder, &showing.link).await {
                Next::Output => {}
                Next::Epoch | Next::Publisher => break,
            }
        }
        drop(showing);
        self.backlog = None;
        self.stats.slate(false);
        self.stand_by();
        self.writer.close_epoch().await;
        tracing::info!("slate ends");
    }
}

/// Sends what is due, until nobody takes it.
async fn roll(mut reel: Reel, media: mpsc::Sender<MediaMessage>, clock: Clock) {
    loop {
        tokio::time::sleep_until(clock.instant(reel.next_deadline())).await;
        while let Some(message) = reel.message(clock.elapsed()) {
            if media.send(message).await.is_err() {
                return;
            }
        }
    }
}
