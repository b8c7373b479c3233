//! The shell of a stream's [`StreamMachine`]: one loop that hands in what happens and carries out what the session says.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result};
use media::segmenter::Targets;
use media::{SessionId, StreamId, Timestamp, aac};
use node::CancellationToken;
use node::clock::Clock;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::machine::StreamMachine;
use super::phase::{Input, Output, Source};
use crate::authority::{Authority, SessionOver};
use crate::intake::access_unit_feed::{AccessUnitFeed, Flow};
use crate::intake::figures::Figures;
use crate::intake::hub::{Attendance, Opened};
use crate::intake::publication::{Link, MediaMessage, NewPublisher};
use crate::log::head_keeper::HeadKeeper;
use crate::log::heads::{Ask, Found, Heads};
use crate::log::writer::{Ground, Seal, ThumbnailKey, Writer};
use crate::pipeline::slate::{Likeness, Picture, Slate};
use crate::pipeline::thumbnail::Thumbnailer;
use crate::pipeline::{self, Outputs, PipelineInput};
use crate::push::{Links, LogPlace, Pusher};
use crate::report::announcer::{self, Announcer};
use crate::report::reporter;
use crate::report::stats::{StatusBoard, StreamStats};
use crate::slate::Reel;
use crate::standby::peer_ingests::{PeerIngests, Peers};

/// How long shutdown waits until some node has the newest bytes, which are a few parts.
const FLUSH_WAIT: Duration = Duration::from_millis(500);
/// How long the end of a stream waits for the same. Nothing depends on this wait, and slow nodes may be a minute behind.
const END_WAIT: Duration = Duration::from_secs(60);
/// Messages of the slate that may wait, as many as of a publisher.
const SLATE_DEPTH: usize = 256;

/// What the streams' tasks work with.
pub(crate) struct Handles {
    pub(crate) context: node::Context,
    pub(crate) targets: Targets,
    pub(crate) pipeline: pipeline::Config,
    pub(crate) authority: Arc<Authority>,
    pub(crate) heads: Heads,
    pub(crate) links: Links,
    /// The slate shown while a stream waits for its publisher; `None` means gaps.
    pub(crate) slate: Option<Arc<Picture>>,
    /// `None` when thumbnails cannot be made; streams then go without them.
    pub(crate) thumbnails: Option<Thumbnailer<ThumbnailKey>>,
    pub(crate) board: StatusBoard,
    pub(crate) shutdown: CancellationToken,
}

/// A pipeline at work, and what feeds it. Dropping it ends both.
struct Running {
    source: Source,
    outputs: Outputs,
    pipeline_input: Weak<PipelineInput>,
    flow: watch::Receiver<Flow>,
    feed: AbortOnDropHandle<()>,
    has_feed: bool,
    /// Sends the slate's messages.
    reel: Option<AbortOnDropHandle<()>>,
}

/// The slate of a publisher that is away.
enum NextSlate {
    None,
    Coming(AbortOnDropHandle<Option<Reel>>),
    Ready(Reel),
}

struct Driver {
    handles: Arc<Handles>,
    stream: StreamId,
    /// The session that a streamer has delegated to us.
    delegated: Option<SessionId>,
    stats: Arc<StreamStats>,
    figures: Arc<Figures>,
    session: StreamMachine,
    attendance: Attendance,
    publishers: mpsc::Receiver<NewPublisher>,
    /// The publisher that is to be started.
    waiting: Option<NewPublisher>,
    /// Link of the newest publisher that was started.
    link: Arc<Link>,
    running: Option<Running>,
    /// What the pipelines have learnt about the source.
    memory: pipeline::Memory,
    slate: NextSlate,
    /// The question to the nodes where the log stands.
    asked: Option<JoinHandle<Result<Found>>>,
    /// The session waits for the answer.
    wants_ground: bool,
    has_peers: bool,
    conflict: watch::Receiver<Option<LogPlace>>,
    pusher: Pusher,
    head_keeper: HeadKeeper,
    announcer: Announcer,
    peer_ingests: PeerIngests,
    is_stopping: bool,
    is_over: bool,
}

/// Runs a stream until it has ended or the role shuts down.
#[tracing::instrument(name = "stream", skip_all, fields(stream = %opened.stream))]
pub(crate) async fn drive(handles: Arc<Handles>, opened: Opened) {
    let Opened { stream, session, figures, attendance, first, publishers } = opened;
    let context = handles.context.clone();
    let stats = Arc::new(StreamStats::new(context.clock.wall(), Arc::clone(&figures), attendance.watch()));
    let listed = handles.board.list(&stream, &stats);
    let reporter = reporter::start(context, stream.clone(), Arc::clone(&stats));
    let mut driver = Driver::new(handles, (stream, stats, figures), attendance, (first, publishers));
    driver.delegated = session;
    driver.run().await;
    drop((reporter, listed));
    driver.finish().await;
}

impl Driver {
    fn new(
        handles: Arc<Handles>,
        (stream, stats, figures): (StreamId, Arc<StreamStats>, Arc<Figures>),
        attendance: Attendance,
        (first, publishers): (NewPublisher, mpsc::Receiver<NewPublisher>),
    ) -> Self {
        let context = &handles.context;
        let pusher = Pusher::start(stream.clone(), handles.targets.part, handles.links.clone());
        stats.follow(pusher.placed());
        let announcer = Announcer::start(context.clone(), pusher.placed());
        let peers = Peers {
            context: context.clone(),
            nodes: handles.links.nodes.clone(),
            heads: handles.heads.clone(),
            authority: Arc::clone(&handles.authority),
        };
        let peer_ingests = PeerIngests::start(peers, stream.clone(), pusher.conflict());
        stats.follow_duty(peer_ingests.watch());
        let authority = Arc::clone(&handles.authority);
        let thumbnails = handles.thumbnails.as_ref().map(Thumbnailer::stream);
        let sign = Arc::new(move |body: &_| authority.sign(body));
        let log = Writer::new(context.cluster.clone(), stream.clone(), handles.targets, sign, thumbnails);
        let (heads, name) = (handles.heads.clone(), stream.clone());
        let head_keeper = HeadKeeper::new(move |head| heads.keep_head(&name, head));
        let session = StreamMachine::new(stream.clone(), context.id.clone(), log, Arc::clone(&stats));
        Self {
            stream,
            delegated: None,
            stats,
            figures,
            session,
            attendance,
            publishers,
            link: Arc::clone(&first.link),
            waiting: Some(first),
            running: None,
            memory: pipeline::Memory::default(),
            slate: NextSlate::None,
            asked: None,
            wants_ground: false,
            has_peers: false,
            conflict: pusher.conflict(),
            pusher,
            head_keeper,
            announcer,
            peer_ingests,
            is_stopping: false,
            is_over: false,
            handles,
        }
    }

    async fn run(&mut self) {
        let mut input = Input::Publisher;
        loop {
            let (state, deadline) = self.attendance.now();
            self.apply(Input::Attendance(state, deadline)).await;
            let has_peers = self.has_peers();
            if std::mem::replace(&mut self.has_peers, has_peers) != has_peers {
                self.apply(Input::Peers(has_peers)).await;
            }
            self.apply(input).await;
            if self.is_over {
                return;
            }
            input = self.next_input().await;
        }
    }

    /// Hands in an input, carries out what the session says, and hands in the answers.
    async fn apply(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.session.apply(input, self.clock().now()) {
                inputs.extend(self.carry_out(output).await);
            }
        }
    }

    fn clock(&self) -> Clock {
        self.handles.context.clock
    }

    fn has_peers(&self) -> bool {
        self.handles.links.nodes.rank_of_ingest(&self.handles.context.id).1 > 1
    }

    /// Waits for the next thing that happens.
    async fn next_input(&mut self) -> Input {
        let (takes_publisher, takes_media) = (self.session.takes_publisher(), self.session.takes_media());
        let deadline = self.session.next_deadline();
        let due = self.clock().instant(deadline.unwrap_or_default());
        let Self { publishers, running, asked, conflict, .. } = self;
        tokio::select! {
            Some(publisher) = publishers.recv(), if takes_publisher => {
                self.waiting = Some(publisher);
                Input::Publisher
            }
            input = running_input(running, takes_media) => input,
            found = found(asked), if self.wants_ground => {
                self.wants_ground = false;
                Input::Ground(found.and_then(|found| Ok(self.on_ground(found)?)))
            }
            () = self.peer_ingests.changed() => Input::Duty(self.peer_ingests.duty()),
            Ok(()) = conflict.changed() => match *conflict.borrow_and_update() {
                Some(place) => Input::Refused(place),
                None => Input::Tick,
            },
            // The loop hands in what it is now.
            () = self.attendance.changed() => Input::Tick,
            reel = next_reel(&mut self.slate) => {
                self.slate = reel.map_or(NextSlate::None, NextSlate::Ready);
                Input::SlateReady
            }
            () = tokio::time::sleep_until(due), if deadline.is_some() => Input::Tick,
            () = self.handles.shutdown.cancelled(), if !self.is_stopping => {
                self.is_stopping = true;
                Input::Shutdown
            }
        }
    }

    /// Carries out one output. Returns the answer, if the session wants one at once.
    async fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Seal(seal) => self.seal(seal).await,
            Output::Ask(ask) => self.ask(ask),
            Output::Ground if self.asked.is_some() => self.wants_ground = true,
            Output::Ground => return Some(Input::Ground(self.on_ground(Found::default()).map_err(Into::into))),
            Output::KeepEpoch(epoch) => {
                let kept = self.keep(move |heads, stream| heads.keep_epoch(stream, epoch)).await;
                return Some(Input::EpochKept(kept.map(|()| epoch)));
            }
            Output::Start { source: Source::Publisher, after } => {
                return self.waiting.take().map(|publisher| Input::Started(self.start(publisher, after)));
            }
            Output::Start { source: Source::Slate, after } => return Some(Input::Started(self.show_slate(after))),
            Output::StopSlate => self.running.iter_mut().for_each(|running| running.reel = None),
            Output::Stop => self.stop(),
            Output::Close(ending, words) => {
                // A slate has no connection; the link is that of the publisher before.
                if self.running.as_ref().is_none_or(|running| running.source == Source::Publisher) {
                    self.link.close(ending, &words);
                }
            }
            Output::Shed(rendition) => self.with_pipeline(|input| input.shed(&rendition)),
            Output::EncodeAnew(run) => self.with_pipeline(|input| input.encode_anew(run)),
            Output::Opened(epoch) => self.peer_ingests.opened(epoch),
            Output::Superseded => self.peer_ingests.superseded(),
            Output::Announce(session) => self.announcer.say(session),
            Output::FallSilent => self.announcer.fall_silent(),
            Output::Alert(reason, detail) => {
                announcer::alert(&self.handles.context, &self.stream, reason, detail).await;
            }
            Output::PrepareSlate { wait, sound } => {
                self.slate = self.prepare_slate(wait, sound).map_or(NextSlate::None, NextSlate::Coming);
            }
            Output::DropSlate => self.slate = NextSlate::None,
            Output::Expire => return Some(Input::Expired(self.attendance.expire())),
            Output::Forget => {
                // Before anybody can publish again. A stream that was never sealed has had no session.
                if let Some(session) = self.delegated.filter(|_| self.session.newest().is_some()) {
                    self.handles.authority.spend(session);
                }
                return Some(Input::Forgotten(self.attendance.forget()));
            }
            Output::Finish => self.is_over = true,
        }
        None
    }

    fn with_pipeline(&self, ask: impl FnOnce(&PipelineInput)) {
        if let Some(input) = self.running.as_ref().and_then(|running| running.pipeline_input.upgrade()) {
            ask(&input);
        }
    }

    async fn seal(&mut self, seal: Seal) {
        metrics::counter!("ingest_seals_total").increment(1);
        let sequence = seal.sequence();
        if seal.is_kept {
            self.head_keeper.keep(seal.entry.seal.clone()).await;
        }
        self.pusher.push(seal.entry);
        let Some(row) = seal.row else { return };
        if row.is_gap {
            metrics::counter!("ingest_gaps_total").increment(1);
        }
        self.stats.sealed(sequence, &row.tracks, self.pusher.ring_bytes(), row.lag);
        if let Some((_, acknowledged)) = *self.pusher.acknowledged().borrow() {
            self.stats.acknowledged(acknowledged);
        }
    }

    /// Writes to the disk, off the async threads.
    async fn keep(&self, write: impl FnOnce(&Heads, &StreamId) -> Result<()> + Send + 'static) -> Result<()> {
        let (heads, stream) = (self.handles.heads.clone(), self.stream.clone());
        tokio::task::spawn_blocking(move || write(&heads, &stream)).await?
    }

    fn ask(&mut self, ask: Ask) {
        let (handles, stream) = (Arc::clone(&self.handles), self.stream.clone());
        let find = async move { handles.heads.find(&stream, ask, &handles.authority).await };
        self.asked = Some(tokio::spawn(find));
    }

    /// What an epoch can be opened on. A streamer delegates one session, which ends with the stream.
    fn on_ground(&self, found: Found) -> Result<Box<Ground>, SessionOver> {
        let nodes = &self.handles.links.nodes;
        if let Some(session) = found.base().and_then(|base| base.ended).filter(|ended| Some(*ended) == self.delegated) {
            self.handles.authority.spend(session);
            return Err(SessionOver(session));
        }
        Ok(Box::new(Ground {
            found,
            rank: nodes.rank_of_ingest(&self.handles.context.id),
            has_nodes: !nodes.online().is_empty(),
            will_deliver: self.pusher.will_deliver(),
            acknowledged: *self.pusher.acknowledged().borrow(),
            session: self.delegated.unwrap_or_else(|| SessionId(rand::random())),
        }))
    }

    /// Starts the pipeline of a publisher, and the task that feeds it.
    fn start(&mut self, publisher: NewPublisher, after: Option<Timestamp>) -> Result<(), pipeline::Error> {
        let NewPublisher { media, link } = publisher;
        self.link = Arc::clone(&link);
        if let Some(ended) = self.stats.pass_through_ended() {
            self.memory.begin_again(&ended);
        }
        let started = pipeline::start_again(self.handles.pipeline.clone(), self.memory.clone())?;
        tracing::info!("publisher begins");
        metrics::gauge!("ingest_publishers").increment(1.0);
        self.figures.begin(self.clock().now());
        let figures = Arc::clone(&self.figures);
        self.running = Some(self.feed(Source::Publisher, started, media, after, (link, figures)));
        Ok(())
    }

    /// Starts the pipeline of the slate and the tasks that feed it. Its input does not count in the publisher's figures.
    fn show_slate(&mut self, after: Option<Timestamp>) -> Result<(), pipeline::Error> {
        let NextSlate::Ready(reel) = std::mem::replace(&mut self.slate, NextSlate::None) else {
            return Err(pipeline::Error::Thread("the slate is gone".to_owned()));
        };
        let started = pipeline::start_again(self.handles.pipeline.clone(), reel.memory())?;
        let (sender, media) = mpsc::channel(SLATE_DEPTH);
        let reel = AbortOnDropHandle::new(tokio::spawn(roll(reel, sender, self.clock())));
        let running = self.feed(Source::Slate, started, media, after, Default::default());
        self.running = Some(Running { reel: Some(reel), ..running });
        Ok(())
    }

    fn feed(
        &self,
        source: Source,
        (pipeline_input, outputs): (PipelineInput, Outputs),
        media: mpsc::Receiver<MediaMessage>,
        after: Option<Timestamp>,
        (link, figures): (Arc<Link>, Arc<Figures>),
    ) -> Running {
        let pipeline_input = Arc::new(pipeline_input);
        let way_in = Arc::downgrade(&pipeline_input);
        let (flow, flowing) = watch::channel(Flow::default());
        let clock = self.clock();
        let feed = AccessUnitFeed { media, after, pipeline_input, flow, link, clock, figures };
        let feed = AbortOnDropHandle::new(tokio::spawn(feed.run()));
        Running { source, outputs, pipeline_input: way_in, flow: flowing, feed, has_feed: true, reel: None }
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        if running.source == Source::Publisher {
            metrics::gauge!("ingest_publishers").decrement(1.0);
            self.figures.end(self.clock().wall());
        }
    }

    /// Encodes the slate once its publisher has been away for `wait`. `None` when no slate is configured, or nothing is known of the source.
    fn prepare_slate(
        &self,
        wait: Duration,
        sound: Option<aac::AudioSpecificConfig>,
    ) -> Option<AbortOnDropHandle<Option<Reel>>> {
        let picture = self.handles.slate.clone()?;
        let (source, aspect) = (self.memory.source()?, self.memory.pixel_aspect());
        let likeness = Likeness { source, aspect, sound: sound.is_some(), segment: self.handles.targets.segment };
        let (config, clock) = (self.handles.pipeline.clone(), self.clock());
        let at = clock.elapsed().saturating_add(wait);
        let task = async move {
            tokio::time::sleep_until(clock.instant(at)).await;
            let encoded = tokio::task::spawn_blocking(move || Slate::encode(&picture, likeness, &config)).await;
            let slate = encoded.ok()?.inspect_err(|error| tracing::warn!(%error, "no slate: gaps go on")).ok()?;
            Some(Reel::new(slate, sound.as_ref(), clock.elapsed()))
        };
        Some(AbortOnDropHandle::new(tokio::spawn(tracing::Instrument::in_current_span(task))))
    }

    /// Waits until some node has the last bytes, then ends delivery. Once the role shuts down, waits for [`FLUSH_WAIT`] at most.
    async fn finish(self) {
        let Self { announcer, pusher, mut head_keeper, session, handles, .. } = self;
        head_keeper.written().await;
        announcer.finish().await;
        if let Some(newest) = session.newest() {
            let moment = async {
                handles.shutdown.cancelled().await;
                tokio::time::sleep(FLUSH_WAIT).await;
            };
            let mut conflict = pusher.conflict();
            // Another ingest continues the log without these bytes.
            let is_void = |refused: &Option<LogPlace>| refused.is_some_and(|(epoch, _)| epoch == newest.0);
            // Delivery ends here, whether the bytes arrived or not.
            tokio::select! {
                _ = conflict.wait_for(is_void) => {}
                () = pusher.delivered(newest) => {}
                () = moment => {}
                () = tokio::time::sleep(END_WAIT) => {}
            }
        }
        pusher.finish().await;
    }
}

/// The next thing that happens in a pipeline or its feed; never resolves without one.
async fn running_input(running: &mut Option<Running>, takes_media: bool) -> Input {
    let Some(Running { outputs, flow, feed, has_feed, .. }) = running else { return std::future::pending().await };
    tokio::select! {
        // What is known of the media comes before the media.
        biased;
        Ok(()) = flow.changed() => Input::Flow(*flow.borrow_and_update()),
        output = outputs.recv(), if takes_media => Input::Media(output),
        _ = feed, if *has_feed => {
            *has_feed = false;
            Input::FeedEnded
        }
        // The feed has ended, and an epoch that is being opened takes no media.
        else => std::future::pending().await,
    }
}

/// The nodes' answer; never resolves when they are not asked.
async fn found(asked: &mut Option<JoinHandle<Result<Found>>>) -> Result<Found> {
    let Some(task) = asked else { return std::future::pending().await };
    let found = task.await;
    *asked = None;
    found.context("the log was not looked for")?
}

/// The slate once it is ready, with `None` if it failed; never resolves when none is being prepared.
async fn next_reel(slate: &mut NextSlate) -> Option<Reel> {
    let NextSlate::Coming(task) = slate else { return std::future::pending().await };
    task.await.ok().flatten()
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
