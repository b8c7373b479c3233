//! The model: what is around a session, as a step at a time of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use media::segmenter::{RenditionConfig, Targets};
use media::{
    BitsPerSecond, Epoch, Now, RenditionId, Sample, SessionId, StreamId, Timescale, Timestamp, TrackConfig, UnixMillis,
};
use messages::SessionState;
use seal::{Head, KeyId, SealKind, Sealed};
use tokio::sync::watch;

use super::super::machine::StreamMachine;
use super::super::phase::{Input, Output, Source};
use crate::intake::access_unit_feed::Flow;
use crate::intake::lifecycle::{Lifecycle, PublisherId};
use crate::log::heads::Found;
use crate::log::position::LogPosition;
use crate::log::writer::{Ground, Opening, Seal, Sign, Writer};
use crate::pipeline::{BreakReason, Output as Coded, ShedReason};
use crate::push::LogPlace;
use crate::report::stats::StreamStats;
use crate::standby::turn::Duty;

const WALL: i64 = 1_700_000_000_000;
const TARGETS: Targets = Targets { segment: Duration::from_secs(2), part: Duration::from_millis(500) };
const GRACE: Duration = Duration::from_secs(20);
/// Frames come at this interval, a keyframe every tenth.
const FRAME_MS: u64 = 100;
const RUNGS: [&str; 2] = ["360p", "720p"];
/// Frames after which a publisher that sends nothing is away, as its feed has it.
const SILENT_FRAMES: u64 = 30;
/// Frames after which the nodes have answered, or are not waited for.
const ANSWER_FRAMES: u64 = 20;
/// The longest that a log which is ours stands still: media that had to wait for the nodes' answer ends as much later, the next gap has
/// the same lag, and the log may be yielded to another ingest meanwhile.
const STILL_MAX: Duration = Duration::from_secs(8);

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A publisher connects, if nobody publishes.
    Connect,
    /// A publisher takes over from one that is silent.
    Replace,
    /// The publisher's connection ends.
    Leave,
    /// The publisher, or the slate, sends media in real time for so many frames.
    Play(u64),
    /// Nothing comes for so many frames.
    Wait(u64),
    /// The run breaks and another begins.
    Break,
    Shed,
    Restore,
    /// The nodes answer where the log stands.
    Answer,
    SlateReady,
    /// Another ingest continues the log from where the nodes are, for so many frames.
    OtherSeals(u64),
    /// Our node hears that the other one has the stream.
    StandBy,
    /// It is our turn.
    TakeTurn,
    /// The next write to the disk fails.
    DiskFails,
    /// The next pipeline does not start.
    PipelineFails,
    Shutdown,
}

/// Signs with zeros: the model checks the log, not the signatures.
struct Zeros;

impl seal::Signer for Zeros {
    fn key_id(&self) -> KeyId {
        KeyId::of(&[0; 1312])
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, seal::Error> {
        Ok(vec![0; 2420])
    }
}

/// Signs, and keeps what was signed.
fn signer() -> (Sign, Arc<Mutex<Vec<Sealed>>>) {
    let signed = Arc::<Mutex<Vec<Sealed>>>::default();
    let kept = Arc::clone(&signed);
    let sign = move |body: &_| {
        let sealed = seal::sign_seal(body, &Zeros)?;
        kept.lock().unwrap().push(sealed.clone());
        Ok(sealed)
    };
    (Arc::new(sign), signed)
}

fn stream() -> StreamId {
    "hall".parse().unwrap()
}

fn renditions() -> Vec<RenditionConfig> {
    let hex = "0142c00dffe100166742c00dda0507ec0440000003004000000f03c50aa801000468ce0fc8";
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let avc = media::avc::DecoderConfig::parse(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()).unwrap();
    let config = |name: &str| RenditionConfig {
        rendition: name.parse().unwrap(),
        track: TrackConfig::Video { avc: avc.clone(), timescale: Timescale::VIDEO, frame_rate_millihertz: 10_000 },
        bandwidth_peak: BitsPerSecond(1_000),
        bandwidth_mean: BitsPerSecond(1_000),
        has_more_sync: false,
    };
    RUNGS.iter().map(|name| config(name)).collect()
}

fn frame(number: u64, key: bool) -> Sample {
    let at = |frames: u64| Timestamp::new(i64::try_from(frames * FRAME_MS * 90).unwrap(), Timescale::VIDEO);
    let data = Bytes::from_static(&[0, 0, 0, 1, 0x65]);
    Sample { pts: at(number), dts: at(number), duration: at(1), sync: key, data }
}

/// A pipeline at work. Its outputs wait while the session takes none.
struct Pipeline {
    source: Source,
    outputs: VecDeque<Option<Coded>>,
    /// Number of the next frame on its timeline.
    next: u64,
    /// Frames since the run began; `None` between runs.
    in_run: Option<u64>,
    flow: Flow,
    /// Frames since it sent anything.
    silent: u64,
    shed: bool,
}

impl Pipeline {
    fn frame(&mut self) {
        self.silent = 0;
        if self.in_run.is_none() {
            self.outputs.push_back(Some(Coded::Tracks(renditions())));
            (self.in_run, self.shed) = (Some(0), false);
        }
        let since = self.in_run.unwrap_or_default();
        for rung in RUNGS.iter().take(if self.shed { 1 } else { 2 }) {
            let sample = frame(self.next, since.is_multiple_of(10));
            self.outputs.push_back(Some(Coded::Sample { rendition: rung.parse().unwrap(), sample }));
        }
        (self.in_run, self.next) = (Some(since + 1), self.next + 1);
    }
}

pub(super) struct World {
    pub(super) session: StreamMachine,
    now: Now,
    pub(super) signed: Arc<Mutex<Vec<Sealed>>>,
    /// What the nodes have admitted, of us and of the other ingest.
    pub(super) admitted: Vec<Sealed>,
    /// Epochs that are on our disk.
    epochs: Vec<Epoch>,
    /// The newest seal of ours that the nodes refused.
    refused: Option<LogPlace>,
    state: SessionState,
    grace_until: Option<Duration>,
    /// Publishers that the session has not been told of.
    pub(super) queue: u32,
    /// The publisher that the session was told of and has not started, and for how many frames.
    waiting: Option<u64>,
    /// Media of publishers that was handed in, and that was sealed.
    pub(super) handed_in: Duration,
    pub(super) sealed: Duration,
    pipeline: Option<Pipeline>,
    pub(super) started: u32,
    asked: Option<Found>,
    /// For how many frames the session has waited for the nodes' answer.
    wants_ground: Option<u64>,
    slate_wanted: bool,
    duty: Duty,
    other: (Writer, Arc<Mutex<Vec<Sealed>>>),
    /// When something of ours was last admitted, while the log is ours.
    sealed_at: Option<Duration>,
    pub(super) disk_fails: bool,
    pub(super) pipeline_fails: bool,
    pub(super) is_stopping: bool,
    pub(super) is_over: bool,
    has_ended: bool,
    /// Refusals of nodes come too late to be of use.
    pub(super) is_deaf: bool,
    /// A node has refused our seal, and the other ingests' watch has not noticed yet.
    is_superseded: bool,
    /// It stood by since its newest seal, so it has no log that it could end.
    pub(super) has_left: bool,
    pub(super) closed: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        let ((sign, signed), (other_sign, others)) = (signer(), signer());
        let writer = |sign| Writer::new("c".parse().unwrap(), stream(), TARGETS, sign, None);
        let (grace, silence) = (Duration::from_secs(20), Duration::from_secs(5));
        let lifecycle = watch::Sender::new(Lifecycle::new(PublisherId(1), grace, silence));
        let stats = StreamStats::new(UnixMillis(WALL), Arc::default(), lifecycle.subscribe());
        let session = StreamMachine::new(stream(), "i1".parse().unwrap(), writer(sign), Arc::new(stats));
        let mut world = Self {
            session,
            now: Now { elapsed: Duration::from_secs(100), wall: UnixMillis(WALL) },
            signed,
            admitted: Vec::new(),
            epochs: Vec::new(),
            refused: None,
            state: SessionState::Live,
            grace_until: None,
            queue: 1,
            waiting: None,
            handed_in: Duration::ZERO,
            sealed: Duration::ZERO,
            pipeline: None,
            started: 0,
            asked: None,
            wants_ground: None,
            slate_wanted: false,
            duty: Duty::Active,
            other: (writer(other_sign), others),
            sealed_at: None,
            disk_fails: false,
            pipeline_fails: false,
            is_stopping: false,
            is_over: false,
            has_ended: false,
            is_deaf: false,
            is_superseded: false,
            has_left: false,
            closed: Vec::new(),
        };
        world.feed(Input::Peers(true));
        world.admit_publisher();
        world
    }

    pub(super) fn head(&self) -> Option<&Sealed> {
        self.admitted.last()
    }

    pub(super) const fn duty(&self) -> Duty {
        self.duty
    }

    /// How many epochs we have begun.
    pub(super) const fn begun(&self) -> usize {
        self.epochs.len()
    }

    fn found(&self) -> Found {
        let epoch_used = self.epochs.iter().max().copied();
        Found { admitted: self.head().map(LogPosition::after), is_remembered: false, kept: None, epoch_used }
    }

    /// Hands an input in, carries out what the session says, and hands in the answers.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([Input::Attendance(self.state, self.grace_until), input]);
        while let Some(input) = inputs.pop_front() {
            let outputs = self.session.apply(input, self.now);
            assert!(!self.is_over || outputs.is_empty(), "after the end: {outputs:?}");
            for output in outputs {
                inputs.extend(self.carry_out(output));
            }
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Seal(seal) => return self.push(&seal),
            Output::Ask(_) => self.asked = Some(self.found()),
            Output::Ground => self.wants_ground = Some(0),
            Output::KeepEpoch(epoch) => {
                if std::mem::take(&mut self.disk_fails) {
                    return Some(Input::EpochKept(Err(anyhow::anyhow!("the disk is full"))));
                }
                assert!(self.epochs.iter().all(|before| *before < epoch), "{epoch} was used before");
                self.epochs.push(epoch);
                return Some(Input::EpochKept(Ok(epoch)));
            }
            Output::Start { source, after } => {
                assert!(self.pipeline.is_none(), "two pipelines at once");
                if source == Source::Publisher {
                    assert!(self.waiting.take().is_some(), "nobody waits");
                } else {
                    assert!(self.slate_wanted, "no slate is ready");
                    self.slate_wanted = false;
                }
                if std::mem::take(&mut self.pipeline_fails) {
                    return Some(Input::Started(Err(crate::pipeline::Error::Thread("no memory".to_owned()))));
                }
                // The timeline of a publisher begins where the media before ended.
                let next =
                    after.map_or(100, |after| u64::try_from(after.as_duration().as_millis()).unwrap() / FRAME_MS + 1);
                let outputs = VecDeque::new();
                self.pipeline = Some(Pipeline {
                    source,
                    outputs,
                    next,
                    in_run: None,
                    flow: Flow::default(),
                    silent: 0,
                    shed: false,
                });
                self.started += 1;
                return Some(Input::Started(Ok(())));
            }
            Output::StopSlate => self.end_feed(),
            Output::Stop => assert!(self.pipeline.take().is_some(), "no pipeline to stop"),
            Output::Close(_, words) => self.closed.push(words),
            Output::Announce(session) => {
                assert_eq!(self.duty, Duty::Active, "the other ingest announces the stream");
                let publishes = self.pipeline.as_ref().is_some_and(|pipeline| pipeline.source == Source::Publisher);
                assert!(session.state != SessionState::Live || publishes || self.state == SessionState::Live);
                self.has_ended |= session.state == SessionState::Ended;
            }
            Output::PrepareSlate { .. } => self.slate_wanted = true,
            Output::DropSlate => self.slate_wanted = false,
            Output::Expire => {
                let expired = self.grace_until.is_some_and(|until| until <= self.now.elapsed);
                if expired {
                    (self.state, self.grace_until) = (SessionState::Ended, None);
                }
                return Some(Input::Expired(expired));
            }
            Output::Forget => return Some(Input::Forgotten(self.state == SessionState::Ended)),
            Output::Finish => {
                assert!(self.pipeline.is_none(), "a pipeline is left behind");
                self.is_over = true;
            }
            Output::Superseded => self.is_superseded = true,
            Output::Shed(_) | Output::EncodeAnew(_) | Output::Opened(_) | Output::FallSilent | Output::Alert(..) => {}
        }
        None
    }

    /// The nodes take a seal, or refuse it.
    fn push(&mut self, seal: &Seal) -> Option<Input> {
        let place = (seal.entry.epoch, seal.entry.sequence);
        assert_eq!(self.duty, Duty::Active, "{place:?} sealed out of turn");
        assert!(self.epochs.contains(&place.0), "epoch {} is not on the disk", place.0);
        let sealed = self.signed.lock().unwrap().iter().find(|sealed| *sealed.raw() == seal.entry.seal).cloned();
        let sealed = sealed.expect("it was signed");
        let body = sealed.body();
        let opens_segment = body
            .objects
            .iter()
            .any(|object| matches!(object.slot, media::Slot::Part { part, .. } if part == media::PartIndex(0)));
        assert_eq!(seal.is_kept, opens_segment || body.kind == SealKind::End);
        let refusal = self.head().and_then(|head| Head::of(head).admits(body).err());
        if let Some(refusal) = refusal {
            // Only another ingest can have moved the log under our feet.
            let others = self.other.1.lock().unwrap();
            let is_others = self.head().is_some_and(|head| others.iter().any(|other| other == head));
            assert!(is_others, "nodes refuse {place:?}: {refusal}");
            drop(others);
            if self.is_deaf {
                return None;
            }
            self.refused = self.refused.max(Some(place));
            self.is_superseded = true;
            return self.refused.map(Input::Refused);
        }
        if let Some(before) = self.head() {
            let (before, after) = (LogPosition::after(before).reached, LogPosition::after(&sealed).reached);
            assert!(after.is_none() || before <= after, "{place:?}: the wall clock of the media goes back");
        }
        if self.pipeline.as_ref().is_some_and(|pipeline| pipeline.source == Source::Publisher) {
            let is_part = |object: &&seal::Object| matches!(object.slot, media::Slot::Part { .. }) && !object.gap;
            let parts = body.objects.iter().filter(is_part).filter(|part| part.rendition.as_str() == RUNGS[0]);
            self.sealed += parts.map(|part| part.duration.as_duration()).sum::<Duration>();
        }
        self.admitted.push(sealed);
        (self.sealed_at, self.has_left) = (Some(self.now.elapsed), false);
        None
    }

    pub(super) fn admit_publisher(&mut self) {
        if self.queue > 0 && self.session.takes_publisher() && !self.is_over {
            self.queue -= 1;
            self.waiting = Some(0);
            self.feed(Input::Publisher);
        }
    }

    /// Hands in what the pipeline has for as long as the session takes it.
    fn pump(&mut self) {
        while self.session.takes_media() && !self.is_over {
            let Some(pipeline) = &mut self.pipeline else { return };
            let Some(output) = pipeline.outputs.pop_front() else { return };
            if let (Some(Coded::Sample { rendition, sample }), Source::Publisher) = (&output, pipeline.source)
                && rendition.as_str() == RUNGS[0]
            {
                self.handed_in += sample.duration.as_duration();
            }
            self.feed(Input::Media(output));
        }
    }

    /// The feed of the pipeline ends: what it has left comes, and then nothing.
    fn end_feed(&mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.outputs.push_back(None);
        }
    }

    fn is_fed(&self) -> bool {
        self.pipeline.as_ref().is_some_and(|pipeline| !pipeline.outputs.iter().any(Option::is_none))
    }

    fn publishes(&self) -> bool {
        self.is_fed() && self.pipeline.as_ref().is_some_and(|pipeline| pipeline.source == Source::Publisher)
    }

    /// One frame's time passes; what is due is done at its time.
    pub(super) fn pass(&mut self, sends: bool) {
        let until = self.now.elapsed + Duration::from_millis(FRAME_MS);
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= until && !self.is_over) {
            self.at(due.max(self.now.elapsed));
            let before = self.session.next_deadline();
            self.feed(Input::Tick);
            self.pump();
            assert!(self.is_over || self.session.next_deadline() != before, "{before:?} stays due");
        }
        self.at(until);
        // The slate never pauses.
        if (sends || !self.publishes()) && self.is_fed() && !self.is_over {
            let pipeline = self.pipeline.as_mut().unwrap();
            if pipeline.in_run.is_none() {
                let ahead = Duration::from_millis(pipeline.next * FRAME_MS);
                let origin = self.now.wall.0 - i64::try_from(ahead.as_millis()).unwrap();
                let from = Some(frame(pipeline.next, true).pts);
                let flow = Flow { origin: UnixMillis(origin), from, since: Some(self.now.elapsed) };
                pipeline.flow = flow;
                self.feed(Input::Flow(flow));
            }
            if let Some(pipeline) = &mut self.pipeline {
                pipeline.frame();
            }
        }
        self.waiting = self.waiting.map(|frames| frames + 1);
        assert!(self.waiting < Some(10) || self.is_stopping, "a publisher is not started");
        self.wants_ground = self.wants_ground.map(|frames| frames + 1);
        if self.wants_ground > Some(ANSWER_FRAMES) {
            self.answer();
        }
        if std::mem::take(&mut self.is_superseded) {
            self.turn(Duty::Standby);
        }
        if !sends && self.publishes() {
            self.silence();
        }
        self.pump();
        self.admit_publisher();
        let is_ours = self.duty == Duty::Active && self.refused.is_none() && !self.is_over && !self.is_stopping;
        if let Some(sealed_at) = self.sealed_at.filter(|_| is_ours && self.state != SessionState::Ended) {
            assert!(self.now.elapsed - sealed_at <= STILL_MAX, "the log stands still");
        }
    }

    /// A connected publisher sends nothing.
    fn silence(&mut self) {
        let Some(pipeline) = &mut self.pipeline else { return };
        pipeline.silent += 1;
        if pipeline.silent == SILENT_FRAMES {
            if pipeline.in_run.take().is_some() {
                pipeline.outputs.push_back(Some(Coded::Break(BreakReason::InputClock)));
                pipeline.next += 10;
            }
            let flow = Flow { since: None, ..pipeline.flow };
            self.feed(Input::Flow(flow));
        }
    }

    fn at(&mut self, elapsed: Duration) {
        let passed = elapsed.saturating_sub(self.now.elapsed);
        self.now = Now { elapsed, wall: self.now.wall.plus(passed) };
    }

    pub(super) fn answer(&mut self) {
        if self.wants_ground.take().is_some() {
            let newest = self.session.newest().filter(|_| self.refused.is_none());
            let ground = Ground {
                found: self.asked.take().unwrap_or_default(),
                rank: (0, 2),
                has_nodes: true,
                will_deliver: self.refused.is_none(),
                acknowledged: newest.or_else(|| self.head().map(|head| (head.body().epoch, head.body().sequence))),
                session: SessionId(rand::random()),
            };
            self.feed(Input::Ground(Ok(Box::new(ground))));
            self.pump();
        }
    }

    pub(super) fn turn(&mut self, duty: Duty) {
        if self.duty != duty && !self.is_over {
            self.duty = duty;
            // Who takes the turn again asks the nodes, and so knows no refusal of before.
            (self.refused, self.sealed_at) = (None, None);
            self.has_left |= duty == Duty::Standby;
            self.feed(Input::Duty(duty));
            self.pump();
        }
    }

    /// Another ingest opens an epoch where the nodes are, and seals so many frames.
    fn other_seals(&mut self, frames: u64) {
        let ground = Ground {
            found: Found { epoch_used: None, ..self.found() },
            rank: (1, 2),
            has_nodes: true,
            will_deliver: false,
            acknowledged: None,
            session: SessionId(rand::random()),
        };
        let epoch = self.other.0.next_epoch(&ground);
        let first = frame(1_000, true).pts;
        let origin = UnixMillis(self.now.wall.0 - i64::try_from(1_000 * FRAME_MS).unwrap());
        self.other.0.abandon();
        let opening = Opening { ground, epoch, renditions: renditions(), origin, first, media_from: None };
        self.other.0.open(opening, self.now).unwrap();
        for number in 0..frames {
            for rung in RUNGS {
                let rendition: RenditionId = rung.parse().unwrap();
                self.other.0.sample(&rendition, frame(1_000 + number, number % 10 == 0), self.now).unwrap();
            }
        }
        self.other.0.close(self.now);
        self.other.0.take_seals();
        let signed = self.other.1.lock().unwrap().clone();
        for sealed in signed.into_iter().filter(|sealed| sealed.body().epoch == epoch) {
            self.head().into_iter().for_each(|head| Head::of(head).admits(sealed.body()).unwrap());
            self.admitted.push(sealed);
            self.sealed_at = None;
        }
        self.now.wall = self.now.wall.plus(Duration::from_millis(frames * FRAME_MS));
        self.now.elapsed += Duration::from_millis(frames * FRAME_MS);
        self.feed(Input::Tick);
    }

    /// The hub sees a publisher come or go.
    pub(super) fn attend(&mut self, state: SessionState) {
        let is_away = state == SessionState::Reconnecting;
        (self.state, self.grace_until) = (state, is_away.then(|| self.now.elapsed + GRACE));
        self.feed(Input::Tick);
    }

    pub(super) fn step(&mut self, op: &Op) {
        if self.is_over {
            return;
        }
        match op {
            Op::Connect if self.state != SessionState::Live => {
                self.attend(SessionState::Live);
                self.queue += 1;
                self.admit_publisher();
            }
            Op::Replace if self.publishes() => {
                self.queue += 1;
                self.end_publisher();
            }
            Op::Leave if self.publishes() => {
                self.attend(SessionState::Reconnecting);
                self.end_publisher();
            }
            Op::Play(frames) => (0..*frames).for_each(|_| self.pass(true)),
            Op::Wait(frames) => (0..*frames).for_each(|_| self.pass(false)),
            Op::Break => {
                if let Some(pipeline) = self.pipeline.as_mut().filter(|pipeline| pipeline.in_run.is_some()) {
                    pipeline.in_run = None;
                    pipeline.outputs.push_back(Some(Coded::Break(BreakReason::InputClock)));
                    // The timeline jumps.
                    pipeline.next += 10;
                    self.pump();
                }
            }
            Op::Shed => self.rung(true),
            Op::Restore => self.rung(false),
            Op::Answer => self.answer(),
            Op::SlateReady if self.slate_wanted => {
                self.feed(Input::SlateReady);
            }
            Op::OtherSeals(frames) if !self.admitted.is_empty() => self.other_seals(*frames),
            Op::StandBy => self.turn(Duty::Standby),
            Op::TakeTurn => self.turn(Duty::Active),
            Op::DiskFails => self.disk_fails = true,
            Op::PipelineFails => self.pipeline_fails = true,
            Op::Shutdown => {
                self.is_stopping = true;
                self.feed(Input::Shutdown);
                self.end_publisher();
            }
            Op::Connect | Op::Replace | Op::Leave | Op::SlateReady | Op::OtherSeals(_) => {}
        }
    }

    fn rung(&mut self, shed: bool) {
        let Some(pipeline) = self.pipeline.as_mut().filter(|it| it.in_run.is_some() && it.shed != shed) else { return };
        pipeline.shed = shed;
        let rendition: RenditionId = RUNGS[1].parse().unwrap();
        pipeline.outputs.push_back(Some(if shed {
            Coded::Shed { rendition, reason: ShedReason::Requested }
        } else {
            // It comes back with the next keyframe of all.
            pipeline.in_run = Some(0);
            Coded::Restored { rendition }
        }));
        self.pump();
    }

    fn end_publisher(&mut self) {
        if self.publishes() {
            self.end_feed();
            self.feed(Input::FeedEnded);
            self.pump();
            self.admit_publisher();
        }
    }

    /// Everybody goes, every answer comes, and time passes.
    pub(super) fn settle(&mut self) {
        self.turn(Duty::Active);
        (self.disk_fails, self.pipeline_fails) = (false, false);
        for _ in 0..2 {
            for _ in 0..50 {
                self.turn(Duty::Active);
                self.answer();
                self.pass(false);
            }
            if self.state == SessionState::Live {
                self.step(&Op::Leave);
                self.attend(SessionState::Reconnecting);
            }
            for _ in 0..250 {
                self.answer();
                self.pass(false);
            }
        }
    }
}
