//! Drives one stream from its first publisher to its end: publishers, their pipelines, epochs, and the waits between publishers.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Result;
use media::segmenter::RenditionConfig;
use media::{RenditionId, Sample, StreamId, Timescale, Timestamp, UnixMillis};
use messages::{AlertReason, SessionInfo, SessionState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::access_unit_feed::{self, AccessUnitFeed, Incoming};
use super::announcer::{self, Announcer};
use super::backlog::{Backlog, Resumed};
use super::epoch::Writer;
use super::hub::{Hub, Opened};
use super::peer_ingests::PeerIngests;
use super::publication::{Ending, Link, NewPublisher};
use super::report;
use super::stats::StreamStats;
use super::turn::Duty;
use crate::heads::{Ask, Unreliable};
use crate::pipeline::{self, Output, Outputs, PipelineInput};

mod stand_in;

/// How long an ingest that has lost its publisher seals nothing when another may have the same stream. Its seals would be void once the
/// other one continues the log.
const YIELD: Duration = Duration::from_secs(2);
/// How long the pipeline may take to hand out its last samples once its publisher is gone. They are a few frames per rung, which take
/// far less.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The same when the role shuts down, which has 3 s for everything.
const DRAIN_SHUTDOWN_MAX: Duration = Duration::from_millis(1_200);

/// A publisher at work.
struct Publishing {
    outputs: Outputs,
    incoming: Incoming,
    pipeline_input: Weak<PipelineInput>,
    feed: JoinHandle<()>,
}

/// What the driver waits for after an output of the pipeline.
enum Next {
    /// The next one.
    Output,
    /// The next epoch of this publisher.
    Epoch,
    /// The next publisher.
    Publisher,
}

/// The task of one stream.
struct Driver {
    hub: Arc<Hub>,
    stream: StreamId,
    stats: Arc<StreamStats>,
    writer: Writer,
    announcer: Announcer,
    peer_ingests: PeerIngests,
    /// The renditions of the pipeline's run, and those of them that it has shed.
    renditions: (Vec<RenditionConfig>, Vec<RenditionId>),
    /// The run has begun, but its epoch opens with the first sample; gaps are sealed until then.
    is_beginning: bool,
    /// The newest samples of the publisher, while another ingest seals the stream.
    backlog: Option<Backlog>,
    /// What the pipeline has learnt about the source.
    memory: pipeline::Memory,
    /// Runs of the current pipeline that have begun.
    runs: u64,
    /// The slate that will take the place of a publisher that has gone.
    slate: Option<stand_in::Coming>,
    /// The slate is shown.
    is_standing_in: bool,
}

/// Runs a stream, as [`super::hub::Drive`] has it.
pub(crate) fn drive(hub: Arc<Hub>, opened: Opened) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let Opened { stream, stats, first, publishers } = opened;
    Box::pin(Driver::new(hub, stream, stats).run(first, publishers))
}

impl Driver {
    fn new(hub: Arc<Hub>, stream: StreamId, stats: Arc<StreamStats>) -> Self {
        let writer = Writer::new(&hub, stream.clone(), Arc::clone(&stats));
        let announcer = Announcer::start(hub.services.context.clone(), writer.placed());
        let peer_ingests = PeerIngests::start(Arc::clone(&hub), stream.clone(), writer.conflict());
        stats.follow_duty(peer_ingests.watch());
        let (renditions, memory) = Default::default();
        let (backlog, slate, is_beginning, is_standing_in) = (None, None, false, false);
        Self {
            hub,
            stream,
            stats,
            writer,
            announcer,
            peer_ingests,
            renditions,
            is_beginning,
            backlog,
            memory,
            runs: 0,
            slate,
            is_standing_in,
        }
    }

    /// Runs until the stream has ended or the role shuts down.
    #[tracing::instrument(name = "stream", skip_all, fields(stream = %self.stream))]
    async fn run(mut self, first: NewPublisher, mut publishers: mpsc::Receiver<NewPublisher>) {
        let shutdown = self.hub.shutdown.clone();
        let clock = self.hub.services.context.clock;
        let (mut next, mut quiet_until) = (Some(first), None);
        let reporter = report::start(Arc::clone(&self.hub), self.stream.clone(), Arc::clone(&self.stats));
        loop {
            if let Some(publisher) = next.take() {
                self.slate = None;
                self.publish(publisher).await;
                self.slate = self.prepare_slate();
                quiet_until = (!self.is_alone()).then(|| clock.elapsed().saturating_add(YIELD));
                let (state, _) = self.hub.state(&self.stream);
                self.announce(state);
            }
            if shutdown.is_cancelled() {
                // The log stays open: a publisher within the grace, here or elsewhere, continues it.
                break;
            }
            let (_, deadline) = self.hub.state(&self.stream);
            let gap = self.writer.next_gap(quiet_until);
            tokio::select! {
                publisher = publishers.recv() => next = publisher,
                () = tokio::time::sleep_until(clock.instant(deadline.unwrap_or_default())), if deadline.is_some() => {
                    if self.hub.expire(&self.stream) && self.end().await {
                        break;
                    }
                }
                () = tokio::time::sleep_until(clock.instant(gap.unwrap_or_default())), if gap.is_some() => {
                    self.writer.gaps(quiet_until).await;
                }
                reel = stand_in::come(&mut self.slate) => {
                    if let Some(reel) = reel {
                        next = self.stand_in(reel, &mut publishers).await;
                    }
                }
                () = self.peer_ingests.changed() => self.stand_by(),
                () = shutdown.cancelled() => {}
            }
        }
        drop(reporter);
        self.announcer.finish().await;
        self.writer.finish().await;
    }

    /// Whether there is no other ingest.
    fn is_alone(&self) -> bool {
        self.hub.services.links.nodes.rank_of_ingest(&self.hub.services.context.id).1 == 1
    }

    /// Seals the end of the stream after its grace. `false` when somebody publishes it again already.
    async fn end(&mut self) -> bool {
        tracing::info!("stream ended");
        self.writer.end().await;
        let forgotten = self.hub.forget(&self.stream);
        if forgotten {
            self.announce(SessionState::Ended);
        }
        forgotten
    }

    /// Runs one publisher, from its first message to the last sample of its pipeline.
    async fn publish(&mut self, publisher: NewPublisher) {
        let link = Arc::clone(&publisher.link);
        let Publishing { mut outputs, mut incoming, pipeline_input, mut feed } = match self.begin(publisher) {
            Ok(publishing) => publishing,
            Err(error) => {
                tracing::error!(%error, "pipeline does not start");
                return link.close(Ending::Failed, &format!("The encoder does not start: {error}."));
            }
        };
        let clock = self.hub.services.context.clock;
        let shutdown = self.hub.shutdown.clone();
        let (mut drain_until, mut stopping) = (None, false);
        loop {
            let gap = self.writer.next_gap(incoming.quiet_until());
            let next = tokio::select! {
                output = outputs.recv() => {
                    let Some(output) = output else { break };
                    self.output(output, &incoming, &pipeline_input, &link).await
                }
                () = self.peer_ingests.changed() => {
                    let turned = self.turn(&incoming, &pipeline_input).await;
                    Self::next(turned, &link)
                }
                () = tokio::time::sleep_until(clock.instant(gap.unwrap_or_default())), if gap.is_some() => {
                    self.writer.gaps(incoming.quiet_until()).await;
                    Next::Output
                }
                () = incoming.changed() => Next::Output,
                _ = &mut feed, if drain_until.is_none() => {
                    drain_until = Some(clock.elapsed().saturating_add(DRAIN_MAX));
                    Next::Output
                }
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    link.close(Ending::Stopping, "This ingest is shutting down.");
                    drain_until = Some(clock.elapsed().saturating_add(DRAIN_SHUTDOWN_MAX));
                    Next::Output
                }
                () = tokio::time::sleep_until(clock.instant(drain_until.unwrap_or_default())), if drain_until.is_some() => {
                    tracing::warn!("pipeline did not drain in time: its last samples are lost");
                    Next::Publisher
                }
            };
            match next {
                Next::Output => {}
                Next::Epoch => incoming.broke(clock.elapsed()),
                Next::Publisher => break,
            }
        }
        metrics::gauge!("ingest_publishers").decrement(1.0);
        feed.abort();
        (self.backlog, self.is_beginning) = (None, false);
        self.stats.publisher_gone(self.hub.services.context.clock.wall());
        self.writer.close_epoch().await;
        tracing::info!("publisher is gone");
    }

    /// Starts the pipeline of a publisher, and the task that feeds it.
    fn begin(&mut self, publisher: NewPublisher) -> Result<Publishing, pipeline::Error> {
        let NewPublisher { media, link } = publisher;
        let config = self.hub.services.pipeline.clone();
        if let Some(ended) = self.stats.pass_through_ended() {
            self.memory.begin_again(&ended);
        }
        let (pipeline_input, outputs) = pipeline::start_again(config, self.memory.clone())?;
        tracing::info!("publisher begins");
        metrics::gauge!("ingest_publishers").increment(1.0);
        self.stats.new_publisher(self.hub.services.context.clock.now());
        self.writer.look_for_base(Ask::Head);
        self.runs = 0;
        let pipeline_input = Arc::new(pipeline_input);
        let way_in = Arc::downgrade(&pipeline_input);
        let (flow, incoming) = access_unit_feed::watch();
        let (hub, stats, after) = (Arc::clone(&self.hub), Arc::clone(&self.stats), self.writer.media_end());
        let feed = tokio::spawn(AccessUnitFeed { media, after, pipeline_input, flow, link, hub, stats }.run());
        Ok(Publishing { outputs, incoming, pipeline_input: way_in, feed })
    }

    /// Handles one output of the pipeline.
    async fn output(
        &mut self,
        output: Output,
        incoming: &Incoming,
        pipeline_input: &Weak<PipelineInput>,
        link: &Link,
    ) -> Next {
        let result = match output {
            Output::Tracks(renditions) => {
                self.runs = self.runs.saturating_add(1);
                self.renditions = (renditions.clone(), Vec::new());
                let is_active = self.peer_ingests.duty() == Duty::Active;
                self.backlog = (!is_active).then(|| Backlog::new(renditions));
                self.is_beginning = is_active;
                Ok(())
            }
            Output::Sample { rendition, sample } if self.backlog.is_some() => {
                let may_begin = self.backlog.as_mut().is_some_and(|backlog| backlog.push(&rendition, sample));
                if may_begin { self.take_over(incoming, pipeline_input).await } else { Ok(()) }
            }
            Output::Sample { rendition, sample } if self.is_beginning => {
                match self.begin_epoch(incoming.origin(), sample.pts).await {
                    Ok(()) => self.sample(&rendition, sample, pipeline_input).await,
                    failed => failed,
                }
            }
            Output::Sample { rendition, sample } => self.sample(&rendition, sample, pipeline_input).await,
            Output::Shed { rendition, reason } => self.shed(rendition, reason).await,
            Output::Restored { rendition } => {
                self.restore(&rendition);
                Ok(())
            }
            Output::Break(reason) => {
                tracing::info!(%reason, "epoch ends");
                if !self.is_standing_in {
                    self.stats.broke(&reason);
                }
                (self.backlog, self.is_beginning) = (None, false);
                self.writer.close_epoch().await;
                return Next::Epoch;
            }
            Output::Ended => return Next::Publisher,
            Output::Failed(error) => {
                tracing::warn!(%error, "pipeline failed");
                link.close(Ending::Media, &format!("This cannot be encoded: {error}."));
                return Next::Publisher;
            }
        };
        Self::next(result, link)
    }

    /// The pipeline has shed a rung.
    async fn shed(&mut self, rendition: RenditionId, reason: pipeline::ShedReason) -> Result<()> {
        self.stats.shed(&rendition, &reason.to_string());
        tracing::warn!(%rendition, %reason, "rung shed");
        metrics::counter!("ingest_rungs_shed_total").increment(1);
        let shed = self.writer.shed(&rendition).await;
        if let Some(backlog) = &mut self.backlog {
            backlog.shed(&rendition);
        }
        let detail = format!("rung {rendition} shed: {reason}");
        self.renditions.1.push(rendition);
        announcer::alert(&self.hub.services.context, &self.stream, AlertReason::RungShed, detail).await;
        self.announce(self.state_with_media());
        shed
    }

    /// The pipeline has restored a rung.
    fn restore(&mut self, rendition: &RenditionId) {
        metrics::counter!("ingest_rungs_restored_total").increment(1);
        self.stats.restored(rendition);
        self.writer.restore(rendition);
        if let Some(backlog) = &mut self.backlog {
            backlog.restore(rendition);
        }
        self.renditions.1.retain(|shed| shed != rendition);
        self.announce(self.state_with_media());
    }

    /// What the driver waits for after this outcome. After an error it closes the link and tells the publisher why.
    fn next(outcome: Result<()>, link: &Link) -> Next {
        let Err(error) = outcome else { return Next::Output };
        if error.is::<Unreliable>() {
            tracing::error!(error = format!("{error:#}"), "publisher refused: an epoch might be used twice");
            let words = "This ingest cannot tell where the log of this stream stands; its own log says why.";
            link.close(Ending::Failed, words);
            return Next::Publisher;
        }
        tracing::warn!(error = format!("{error:#}"), "epoch cannot go on: the publisher has to connect again");
        link.close(Ending::Media, &format!("This cannot be packaged: {error:#}."));
        Next::Publisher
    }

    /// Opens the epoch of a run whose first sample has come.
    async fn begin_epoch(&mut self, origin: UnixMillis, start: Timestamp) -> Result<()> {
        self.is_beginning = false;
        let (renditions, shed) = self.renditions.clone();
        self.open_epoch(renditions, origin, Some(origin.plus(start.as_duration()))).await?;
        for rendition in &shed {
            self.writer.shed(rendition).await?;
        }
        Ok(())
    }

    async fn open_epoch(
        &mut self,
        renditions: Vec<RenditionConfig>,
        origin: UnixMillis,
        media_from: Option<UnixMillis>,
    ) -> Result<()> {
        self.writer.open_epoch(renditions, origin, media_from).await?;
        if let Some((epoch, _)) = self.writer.session() {
            self.peer_ingests.opened(epoch);
        }
        self.announce(self.state_with_media());
        Ok(())
    }

    /// The state while there is media. Media of a slate is not the publisher's, so its stream stays `Reconnecting`.
    const fn state_with_media(&self) -> SessionState {
        if self.is_standing_in { SessionState::Reconnecting } else { SessionState::Live }
    }

    /// Leaves the stream to the other ingest if our duty is to stand by.
    fn stand_by(&mut self) {
        if self.peer_ingests.duty() == Duty::Standby {
            self.writer.abandon();
            self.announcer.fall_silent();
        }
    }

    /// Handles a change of duty while a publisher is connected.
    async fn turn(&mut self, incoming: &Incoming, pipeline_input: &Weak<PipelineInput>) -> Result<()> {
        match self.peer_ingests.duty() {
            Duty::Standby => {
                self.stand_by();
                let (renditions, shed) = &self.renditions;
                let mut backlog = Backlog::new(renditions.clone());
                shed.iter().for_each(|rendition| backlog.shed(rendition));
                (self.backlog, self.is_beginning) = (Some(backlog), false);
                Ok(())
            }
            Duty::Active => self.take_over(incoming, pipeline_input).await,
        }
    }

    /// Continues the log where another ingest stopped, once the backlog has media from there on.
    async fn take_over(&mut self, incoming: &Incoming, pipeline_input: &Weak<PipelineInput>) -> Result<()> {
        let Some(backlog) = self.backlog.as_mut().filter(|_| self.peer_ingests.duty() == Duty::Active) else {
            return Ok(());
        };
        let origin = incoming.origin();
        // Ask again at each try: an ingest that was taken for gone may have continued the log.
        self.writer.look_for_base(Ask::Fence);
        let from = self.writer.reached().await?;
        let from = from.map(|reached| Timestamp::new(reached.0.saturating_sub(origin.0), Timescale::MILLIS));
        let Some(Resumed { renditions, shed, samples }) = backlog.resume(from) else { return Ok(()) };
        self.backlog = None;
        self.open_epoch(renditions, origin, None).await?;
        for rendition in shed {
            self.writer.shed(&rendition).await?;
        }
        for (rendition, sample) in samples {
            self.sample(&rendition, sample, pipeline_input).await?;
        }
        Ok(())
    }

    async fn sample(
        &mut self,
        rendition: &RenditionId,
        sample: Sample,
        pipeline_input: &Weak<PipelineInput>,
    ) -> Result<()> {
        let pushed = self.writer.sample(rendition, sample).await;
        let pipeline_input = pipeline_input.upgrade();
        if let (Some(lagging), Some(pipeline_input)) = (self.writer.lagging(), &pipeline_input) {
            pipeline_input.shed(&lagging);
        }
        let Err(error) = pushed else { return Ok(()) };
        match (error.downcast_ref(), pipeline_input) {
            (Some(media::Error::SyncSampleLate { .. } | media::Error::PartTooLong { .. }), Some(pipeline_input)) => {
                // The source left out a keyframe or paused. We encode its next run, so we choose where segments end.
                tracing::warn!(error = format!("{error:#}"), "epoch ends: the source is encoded from here");
                self.writer.close_epoch().await;
                pipeline_input.encode_anew(self.runs);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Announces the state of the stream on the bus.
    fn announce(&self, state: SessionState) {
        let Some((epoch, session)) = self.writer.session() else { return };
        if self.peer_ingests.duty() == Duty::Standby || self.writer.is_superseded() {
            // Another ingest has the stream and announces it.
            return self.announcer.fall_silent();
        }
        self.announcer.say(SessionInfo {
            stream: self.stream.clone(),
            epoch,
            session,
            ingest: self.hub.services.context.id.clone(),
            state,
            started_at: self.stats.started_at(),
            ladder: self.stats.ladder(),
            owners: Vec::new(),
            replicas: 0,
        });
    }
}
