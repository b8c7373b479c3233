//! Shows the slate in place of a publisher that is away. The slate acts as a publisher of our own that gives way to any other at once.

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
use crate::pipeline::{self, Output, Outputs, PipelineInput};
use crate::session::access_unit_feed::{self, AccessUnitFeed, Incoming};
use crate::session::publication::{Link, MediaMessage, NewPublisher};
use crate::session::slate::{BEGINS_AFTER, Reel};
use crate::session::stats::StreamStats;
use crate::session::turn::Duty;

/// How long the pipeline may take to hand out its last samples when the slate ends. A publisher that is back waits this long at most.
const DRAIN_MAX: Duration = Duration::from_millis(150);
/// Messages of the slate that may wait, as many as of a publisher.
const MEDIA_DEPTH: usize = 256;

/// A slate that is being prepared. Dropping it cancels it.
pub(super) struct Coming(JoinHandle<Option<Reel>>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves when the slate is ready, with `None` if it failed. Never resolves when none is being prepared.
pub(super) async fn come(coming: &mut Option<Coming>) -> Option<Reel> {
    let Some(Coming(task)) = coming else { return std::future::pending().await };
    let reel = task.await;
    *coming = None;
    reel.ok().flatten()
}

/// A slate that is shown.
struct Showing {
    outputs: Outputs,
    incoming: Incoming,
    pipeline_input: Weak<PipelineInput>,
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
    /// Prepares the slate for a publisher that has just gone. `None` when no slate is configured, another ingest has the stream, or the
    /// publisher sent no video that the slate could replace.
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
        // Another ingest that has the same stream continues it before this wait ends.
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

    /// Shows the slate until a publisher comes, which it returns, or the grace ends. Does nothing when another ingest has the stream, or
    /// the stream no longer waits for a publisher.
    pub(super) async fn stand_in(
        &mut self,
        reel: Reel,
        publishers: &mut mpsc::Receiver<NewPublisher>,
    ) -> Option<NewPublisher> {
        let waits = self.hub.state(&self.stream).0 == SessionState::Reconnecting;
        if !waits || self.peer_ingests.duty() == Duty::Standby || !self.writer.is_out() {
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

    /// Starts the pipeline of a slate and the tasks that feed it. Its input does not count in the publisher's figures.
    fn show(&mut self, reel: Reel) -> Result<Showing, pipeline::Error> {
        let context = &self.hub.services.context;
        let config = self.hub.services.pipeline.clone();
        let (pipeline_input, outputs) = pipeline::start_again(config, reel.memory())?;
        self.runs = 0;
        let (sender, media) = mpsc::channel(MEDIA_DEPTH);
        let reel = tokio::spawn(roll(reel, sender, context.clock));
        let stats = Arc::new(StreamStats::new(context.clock.wall()));
        self.writer.look_for_base(Ask::Head);
        let (pipeline_input, link) = (Arc::new(pipeline_input), Arc::new(Link::default()));
        let way_in = Arc::downgrade(&pipeline_input);
        let (flow, incoming) = access_unit_feed::watch();
        let (hub, after) = (Arc::clone(&self.hub), self.writer.media_end());
        let feed = tokio::spawn(
            AccessUnitFeed { media, after, pipeline_input, flow, link: Arc::clone(&link), hub, stats }.run(),
        );
        Ok(Showing { outputs, incoming, pipeline_input: way_in, link, reel, feed })
    }

    async fn run_slate(
        &mut self,
        showing: &mut Showing,
        publishers: &mut mpsc::Receiver<NewPublisher>,
    ) -> Option<NewPublisher> {
        let Showing { outputs, incoming, pipeline_input, link, .. } = showing;
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
                () = self.peer_ingests.changed() => match self.peer_ingests.duty() {
                    Duty::Active => Next::Output,
                    Duty::Standby => return None,
                },
                output = outputs.recv() => {
                    self.slate_output(output?, incoming, pipeline_input, link).await
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

    async fn slate_output(
        &mut self,
        output: Output,
        incoming: &Incoming,
        pipeline_input: &Weak<PipelineInput>,
        link: &Link,
    ) -> Next {
        if matches!(output, Output::Tracks(_)) {
            tracing::info!("slate is shown");
            metrics::counter!("ingest_slates_total").increment(1);
            self.stats.slate(true);
        }
        self.output(output, incoming, pipeline_input, link).await
    }

    /// Seals what is left of the slate, within [`DRAIN_MAX`].
    async fn end_slate(&mut self, mut showing: Showing) {
        showing.reel.abort();
        // If the slate's epoch has not opened yet, it no longer does.
        self.is_beginning = false;
        let clock = self.hub.services.context.clock;
        let until = clock.elapsed().saturating_add(DRAIN_MAX);
        while self.peer_ingests.duty() == Duty::Active {
            let output = tokio::select! {
                output = showing.outputs.recv() => output,
                () = tokio::time::sleep_until(clock.instant(until)) => None,
            };
            let Some(output) = output.filter(|output| !matches!(output, Output::Tracks(_))) else { break };
            match self.output(output, &showing.incoming, &showing.pipeline_input, &showing.link).await {
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

/// Sends the messages that are due, until the receiver is gone.
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
