//! What happens to a stream from its first publisher to its end: publishers come and go, the encoder drops, another ingest takes over, a
//! slate stands in. Pure.
//!
//! [`StreamMachine::apply`] takes an [`Input`] and returns the [`Output`]s that the shell carries out, in order. The [`Phase`] says who
//! publishes, and [`Media`](super::phase::Media) where that publisher's samples go: nowhere yet, to the log, or to the backlog. Nothing
//! here waits. Where an answer is needed, there is a state for the wait, and the answer is an input.

use std::sync::Arc;
use std::time::Duration;

use media::{NodeId, Now, StreamId, TrackConfig, aac};
use messages::{SessionInfo, SessionState};

use super::phase::{Input, Ladder, Media, Output, Phase, Run, Source};
use crate::intake::publication::Ending;
use crate::log::heads::Ask;
use crate::log::writer::Writer;
use crate::pipeline;
use crate::report::stats::StreamStats;
use crate::slate::BEGINS_AFTER;
use crate::standby::turn::Duty;

mod samples;

/// How long an ingest that has lost its publisher seals nothing when another may have the same stream. Its seals would be void once the
/// other one continues the log.
const YIELD: Duration = Duration::from_secs(2);
/// How long the pipeline may take to hand out its last samples once its publisher is gone. They are a few frames per rung, which take
/// far less.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The same when the role shuts down, which has 3 s for everything.
const DRAIN_SHUTDOWN_MAX: Duration = Duration::from_millis(1_200);
/// The same when a slate ends. A publisher that is back waits this long at most.
const DRAIN_SLATE_MAX: Duration = Duration::from_millis(150);

/// One stream at this ingest.
pub(super) struct StreamMachine {
    stream: StreamId,
    ingest: NodeId,
    phase: Phase,
    log: Writer,
    /// Write-only, but for the ladder that is announced.
    stats: Arc<StreamStats>,
    duty: Duty,
    /// Other ingests were seen.
    has_peers: bool,
    /// Whether somebody publishes the stream, and when its grace ends.
    attendance: (SessionState, Option<Duration>),
    /// The renditions of the newest run.
    ladder: Ladder,
    is_stopping: bool,
    /// The nodes were asked where the log stands, and nobody has had the answer.
    is_asking: bool,
    outputs: Vec<Output>,
}

impl StreamMachine {
    /// A stream that nobody publishes yet.
    pub(super) fn new(stream: StreamId, ingest: NodeId, log: Writer, stats: Arc<StreamStats>) -> Self {
        Self {
            stream,
            ingest,
            phase: Phase::Away { quiet_until: None },
            log,
            stats,
            duty: Duty::Active,
            has_peers: false,
            attendance: (SessionState::Live, None),
            ladder: Ladder::default(),
            is_stopping: false,
            is_asking: false,
            outputs: Vec::new(),
        }
    }

    /// Takes an input. The caller carries the outputs out in their order, and hands in the answers that they ask for before anything else.
    pub(super) fn apply(&mut self, input: Input, now: Now) -> Vec<Output> {
        match input {
            Input::Tick => {}
            Input::Publisher => self.publisher(now),
            Input::Started(started) => self.started(started, now),
            Input::Media(Some(coded)) => self.coded(coded, now),
            Input::Media(None) => self.end_run(now),
            Input::Flow(flow) => {
                if let Phase::On(run) = &mut self.phase {
                    run.flow(flow);
                }
            }
            Input::FeedEnded => self.feed_ended(now),
            Input::Ground(ground) => self.ground(ground, now),
            Input::EpochKept(kept) => self.epoch_kept(kept, now),
            Input::Duty(duty) => self.turn(duty, now),
            Input::Refused(place) => self.log.refused(place),
            Input::Peers(has_peers) => self.has_peers = has_peers,
            Input::Attendance(state, deadline) => self.attendance = (state, deadline),
            Input::SlateReady => self.slate_ready(),
            Input::Expired(expired) => self.expired(expired, now),
            Input::Forgotten(forgotten) => self.forgotten(forgotten),
            Input::Shutdown => self.shutdown(now),
        }
        self.due(now);
        let seals = self.log.take_seals().into_iter().map(Output::Seal);
        seals.chain(std::mem::take(&mut self.outputs)).collect()
    }

    /// When [`Input::Tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let gap = self.log.next_gap(self.quiet_until());
        let own = match &self.phase {
            Phase::Away { .. } => self.attendance.1,
            Phase::On(run) => run.drain_until.or_else(|| self.attendance.1.filter(|_| run.source == Source::Slate)),
            Phase::Starting(_) | Phase::Over => None,
        };
        gap.filter(|_| !matches!(self.phase, Phase::Over)).into_iter().chain(own).min()
    }

    /// Whether the next publisher may come.
    pub(super) const fn takes_publisher(&self) -> bool {
        match &self.phase {
            Phase::Away { .. } => !self.is_stopping,
            Phase::On(run) => matches!(run.source, Source::Slate) && run.drain_until.is_none(),
            Phase::Starting(_) | Phase::Over => false,
        }
    }

    /// Whether the pipeline's next output is taken. An epoch that is being opened takes none, so the pipeline holds its outputs back.
    pub(super) const fn takes_media(&self) -> bool {
        matches!(&self.phase, Phase::On(run) if !matches!(run.media, Media::Opening(_)))
    }

    /// Place of the newest seal of ours, which somebody should have before delivery ends.
    pub(super) fn newest(&self) -> Option<crate::push::LogPlace> {
        self.log.newest()
    }

    fn say(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Until when no gaps are sealed, because media may begin at any moment.
    fn quiet_until(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Away { quiet_until } => *quiet_until,
            Phase::On(run) => run.quiet_until(),
            Phase::Starting(_) | Phase::Over => None,
        }
    }

    /// Does what is due by now.
    fn due(&mut self, now: Now) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.log.gaps(self.quiet_until(), now);
        let is_due = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now.elapsed);
        let is_graceless = is_due(self.attendance.1);
        match &self.phase {
            Phase::Away { .. } if is_graceless => {
                // Asked once; the answer, or a change of attendance, sets the next deadline.
                self.attendance.1 = None;
                self.say(Output::Expire);
            }
            Phase::On(run) if is_due(run.drain_until) => {
                if run.source == Source::Publisher {
                    tracing::warn!("pipeline did not drain in time: its last samples are lost");
                }
                self.end_run(now);
            }
            Phase::On(run) if run.source == Source::Slate && is_graceless => self.end_slate(now),
            Phase::Away { .. } | Phase::On(_) | Phase::Starting(_) | Phase::Over => {}
        }
    }

    // Publishers and slates come and go.

    /// A publisher waits to be started.
    fn publisher(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Away { .. } => self.start(Source::Publisher),
            Phase::On(run) if run.source == Source::Slate => {
                run.is_publisher_waiting = true;
                self.end_slate(now);
            }
            Phase::On(_) | Phase::Starting(_) | Phase::Over => {}
        }
    }

    fn start(&mut self, source: Source) {
        let after = self.log.media_end();
        if source == Source::Publisher {
            self.say(Output::DropSlate);
        }
        self.say(Output::Start { source, after });
        self.phase = Phase::Starting(source);
    }

    fn started(&mut self, started: Result<(), pipeline::Error>, now: Now) {
        let Phase::Starting(source) = self.phase else { return };
        match (started, source) {
            (Ok(()), _) => {
                self.phase = Phase::On(Box::new(Run::new(source)));
                self.log.begin_anew();
                self.ask(Ask::Head);
                if source == Source::Publisher {
                    self.stats.new_publisher();
                }
                if self.is_stopping {
                    self.shutdown(now);
                }
            }
            (Err(error), Source::Publisher) => {
                tracing::error!(%error, "pipeline does not start");
                self.say(Output::Close(Ending::Failed, format!("The encoder does not start: {error}.")));
                self.leave(now);
            }
            (Err(error), Source::Slate) => {
                tracing::warn!(%error, "no slate: gaps go on");
                self.away(None);
            }
        }
    }

    /// The publisher's connection has ended, and its pipeline hands out what it has left.
    fn feed_ended(&mut self, now: Now) {
        let Phase::On(run) = &mut self.phase else { return };
        run.has_input = false;
        if run.source == Source::Publisher {
            run.drain_until.get_or_insert(now.elapsed.saturating_add(DRAIN_MAX));
        }
    }

    /// The run's last sample has come, or it is not waited for.
    fn end_run(&mut self, now: Now) {
        let Phase::On(run) = &self.phase else { return };
        let (source, is_publisher_waiting) = (run.source, run.is_publisher_waiting);
        self.log.close(now);
        self.say(Output::Stop);
        match source {
            Source::Publisher => {
                tracing::info!("publisher is gone");
                self.leave(now);
            }
            Source::Slate => {
                tracing::info!("slate ends");
                self.stats.slate(false);
                if is_publisher_waiting && !self.is_stopping {
                    self.start(Source::Publisher);
                } else {
                    self.away(None);
                }
            }
        }
    }

    /// Nobody publishes any more.
    fn leave(&mut self, now: Now) {
        self.away(self.has_peers.then(|| now.elapsed.saturating_add(YIELD)));
        self.prepare_slate();
        self.announce(self.attendance.0);
    }

    fn away(&mut self, quiet_until: Option<Duration>) {
        self.phase = Phase::Away { quiet_until };
        if self.is_stopping {
            self.over();
        }
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.say(Output::Finish);
    }

    fn shutdown(&mut self, now: Now) {
        self.is_stopping = true;
        match &mut self.phase {
            // The log stays open: a publisher within the grace, here or elsewhere, continues it.
            Phase::Away { .. } => self.over(),
            Phase::On(run) if run.source == Source::Slate => self.end_slate(now),
            Phase::On(run) => {
                run.drain_until = Some(now.elapsed.saturating_add(DRAIN_SHUTDOWN_MAX));
                self.say(Output::Close(Ending::Stopping, "This ingest is shutting down.".to_owned()));
            }
            Phase::Starting(_) | Phase::Over => {}
        }
    }

    /// Asks for the slate of a publisher that has just gone. There is none when another ingest has the stream, or when the publisher sent
    /// no video that the slate could replace.
    fn prepare_slate(&mut self) {
        let tracks = || self.ladder.renditions.iter().map(|config| &config.track);
        let has_picture = tracks().any(|track| matches!(track, TrackConfig::Video { .. }));
        if self.is_stopping || !has_picture || !self.log.is_out() {
            return;
        }
        let sound = tracks().find_map(|track| match track {
            TrackConfig::Audio { aac } => Some(aac::AudioSpecificConfig::clone(aac)),
            TrackConfig::Video { .. } => None,
        });
        // Another ingest that has the same stream continues it before this wait ends.
        let wait = if self.has_peers { BEGINS_AFTER.saturating_add(YIELD) } else { BEGINS_AFTER };
        self.say(Output::PrepareSlate { wait, sound });
    }

    /// Shows the slate, unless another ingest has the stream or the stream no longer waits for a publisher.
    fn slate_ready(&mut self) {
        let waits = matches!(self.phase, Phase::Away { .. }) && self.attendance.0 == SessionState::Reconnecting;
        if waits && self.duty == Duty::Active && self.log.is_out() && !self.is_stopping {
            self.start(Source::Slate);
        } else {
            self.say(Output::DropSlate);
        }
    }

    /// The slate ends: what its pipeline has left is sealed, within [`DRAIN_SLATE_MAX`].
    fn end_slate(&mut self, now: Now) {
        let Phase::On(run) = &mut self.phase else { return };
        if run.drain_until.is_some() {
            return;
        }
        run.drain_until = Some(now.elapsed.saturating_add(DRAIN_SLATE_MAX));
        run.has_input = false;
        if matches!(run.media, Media::Beginning | Media::Opening(_)) {
            // If the slate's epoch has not opened yet, it no longer does.
            run.media = Media::Nowhere;
        }
        self.say(Output::StopSlate);
    }

    /// The answer to [`Output::Expire`].
    fn expired(&mut self, expired: bool, now: Now) {
        if expired && matches!(self.phase, Phase::Away { .. }) {
            tracing::info!("stream ended");
            self.log.end(now);
            self.say(Output::Forget);
        }
    }

    /// The answer to [`Output::Forget`]: `false` when somebody publishes the stream again already.
    fn forgotten(&mut self, forgotten: bool) {
        if forgotten {
            self.announce(SessionState::Ended);
            self.over();
        }
    }

    /// The state while there is media. Media of a slate is not the publisher's, so its stream stays `Reconnecting`.
    const fn state_with_media(&self) -> SessionState {
        match &self.phase {
            Phase::On(run) if matches!(run.source, Source::Slate) => SessionState::Reconnecting,
            Phase::On(_) | Phase::Away { .. } | Phase::Starting(_) | Phase::Over => SessionState::Live,
        }
    }

    /// Announces the state of the stream on the bus, unless another ingest has the stream and announces it.
    fn announce(&mut self, state: SessionState) {
        let Some((epoch, session)) = self.log.session() else { return };
        if self.duty == Duty::Standby || self.log.is_superseded() {
            return self.say(Output::FallSilent);
        }
        self.say(Output::Announce(SessionInfo {
            stream: self.stream.clone(),
            epoch,
            session,
            ingest: self.ingest.clone(),
            state,
            started_at: self.stats.started_at(),
            ladder: self.stats.ladder(),
            owners: Vec::new(),
            replicas: 0,
        }));
    }
}
