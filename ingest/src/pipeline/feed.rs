//! The feed thread: takes the inputs in order, holds back the start of each run, starts and ends runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::decision::{After, Packet, Start};
use super::pipeline_state::{PipelineState, count};
use super::run::{Carried, Context, NotStarted, Run};
use super::{
    AudioFormat, AudioPacket, BreakReason, Config, Error, INPUT_DEPTH, Input, Memory, OUTPUT_DEPTH, Output, Outputs,
    PACKET_BYTES_MAX, Pace, PassThrough, PipelineInput, VideoFormat, VideoPacket, outputs,
};

/// How long the pipeline waits for a keyframe that can be decoded before it gives up. OBS sends a keyframe every 8.3 s by default.
const NO_KEYFRAME_SECONDS_MAX: u64 = 20;

pub(super) fn start(config: Config, memory: Memory) -> Result<(PipelineInput, Outputs), Error> {
    config.check().map_err(|error| Error::Thread(error.to_string()))?;
    super::init()?;
    let (input, inputs) = mpsc::channel(INPUT_DEPTH);
    let (output, outputs) = outputs::channel(OUTPUT_DEPTH);
    let shared = Arc::new(PipelineState::default());
    let context = Context { config: Arc::new(config), output, shared: Arc::clone(&shared), memory };
    std::thread::Builder::new()
        .name("feed".to_owned())
        .spawn(move || thread(&context, inputs))
        .map_err(|error| Error::Thread(format!("cannot start the feed thread: {error}")))?;
    Ok((PipelineInput { input, shared }, outputs))
}

fn thread(context: &Context, mut inputs: mpsc::Receiver<Vec<Input>>) {
    let mut feed =
        FeedThread { context: context.clone(), state: State::default(), format: None, audio: None, pending: None };
    // Publishers' bytes go through a lot of code; a panic in it ends this stream, not the node.
    let outcome = catch_unwind(AssertUnwindSafe(|| feed.all(&mut inputs)));
    let last = match outcome {
        Ok(Ok(())) => Output::Ended,
        Ok(Err(error)) => Output::Failed(error),
        Err(_) => Output::Failed(Error::Thread("the feed thread panicked".to_owned())),
    };
    drop(feed);
    context.say(last);
}

enum State {
    Starting(Start),
    Running(Box<Run>),
}

impl Default for State {
    fn default() -> Self {
        Self::Starting(Start::default())
    }
}

struct FeedThread {
    context: Context,
    state: State,
    format: Option<VideoFormat>,
    audio: Option<AudioFormat>,
    /// Why the run has to break as soon as the next one can start.
    pending: Option<BreakReason>,
}

impl FeedThread {
    fn all(&mut self, inputs: &mut mpsc::Receiver<Vec<Input>>) -> Result<(), Error> {
        'inputs: while let Some(batch) = inputs.blocking_recv() {
            for input in batch {
                if self.context.shared.aborted() || self.context.output.sender().is_closed() {
                    self.context.shared.abort();
                    break 'inputs;
                }
                self.input(input)?;
            }
            self.context.flush();
        }
        if let State::Starting(_) = &self.state {
            // The input is shorter than a decision takes. It is shown, whatever it is.
            self.decide()?;
        }
        if let State::Running(run) = std::mem::take(&mut self.state) {
            run.finish();
        }
        Ok(())
    }

    fn input(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::VideoConfig(config) => self.video_config(config),
            Input::AudioConfig(format) => self.audio_config(format),
            Input::Video(packet) if acceptable(packet.data.len()) => self.video(packet)?,
            Input::Audio(packet) if acceptable(packet.data.len()) => self.audio(packet)?,
            Input::Video(_) | Input::Audio(_) => count(&self.context.shared.packets_refused),
            Input::Break => self.end_run(BreakReason::InputClock),
        }
        Ok(())
    }

    fn video_config(&mut self, format: VideoFormat) {
        if self.format.as_ref() == Some(&format) {
            return;
        }
        self.format = Some(format);
        match &mut self.state {
            State::Starting(start) => start.forget_video(),
            State::Running(run) if run.has_video() => self.pending = Some(BreakReason::VideoFormat),
            State::Running(_) => self.pending = Some(BreakReason::VideoAppeared),
        }
    }

    fn audio_config(&mut self, format: AudioFormat) {
        if self.audio.as_ref() == Some(&format) {
            return;
        }
        self.audio = Some(format);
        match &mut self.state {
            State::Starting(start) => start.forget_audio(),
            State::Running(_) if self.pending.is_none() => self.pending = Some(BreakReason::AudioFormat),
            State::Running(_) => {}
        }
    }

    fn video(&mut self, packet: VideoPacket) -> Result<(), Error> {
        // Pictures before their parameter sets mean nothing.
        let Some(format) = &self.format else { return Ok(()) };
        let idr = format.is_sync(&packet.data);
        if self.context.shared.take_given_up() {
            self.carry_on(BreakReason::Unsegmentable)?;
        }
        if let Some(reason) = self.pending.clone() {
            let carries = matches!(&self.state, State::Running(run) if run.can_carry());
            match reason {
                _ if idr => self.end_run(reason),
                BreakReason::AudioFormat if carries => self.carry_on(reason)?,
                // Old parameter sets no longer fit these pictures.
                BreakReason::VideoFormat | BreakReason::VideoAppeared => return Ok(()),
                _ => {}
            }
        }
        match &mut self.state {
            State::Starting(start) => {
                if let Some(format) = &self.format {
                    start.video(packet, idr, format);
                }
                self.decide_when_ready()
            }
            State::Running(run) => match run.video(&packet, idr) {
                Ok(()) => Ok(()),
                Err(reason) => self.broke(reason, &packet, idr),
            },
        }
    }

    fn audio(&mut self, packet: AudioPacket) -> Result<(), Error> {
        if self.audio.is_none() {
            return Ok(());
        }
        if self.pending == Some(BreakReason::AudioFormat) {
            match &self.state {
                State::Running(run) if run.has_video() => return Ok(()),
                _ => self.end_run(BreakReason::AudioFormat),
            }
        }
        match &mut self.state {
            State::Starting(start) => {
                start.audio(packet);
                self.decide_when_ready()
            }
            State::Running(run) => {
                if let Err(reason) = run.audio(&packet) {
                    self.end_run(reason);
                }
                Ok(())
            }
        }
    }

    /// A run broke at this picture, which belongs to the next one.
    fn broke(&mut self, reason: BreakReason, packet: &VideoPacket, idr: bool) -> Result<(), Error> {
        if matches!(reason, BreakReason::KeyframesIrregular(_)) {
            // It would break again and again.
            let config = Config { pass_through: PassThrough::Never, ..Config::clone(&self.context.config) };
            self.context.config = Arc::new(config);
        }
        if matches!(reason, BreakReason::KeyframesIrregular(_) | BreakReason::Paused(_)) {
            self.carry_on(reason)?;
        } else {
            self.end_run(reason);
        }
        match &mut self.state {
            State::Running(run) => {
                if let Err(reason) = run.video(packet, idr) {
                    self.end_run(reason);
                }
            }
            State::Starting(start) => {
                if let Some(format) = &self.format {
                    start.video(packet.clone(), idr, format);
                }
            }
        }
        Ok(())
    }

    /// Ends the run; the next one starts with an IDR.
    fn end_run(&mut self, reason: BreakReason) {
        self.pending = None;
        if reason == BreakReason::VideoFormat {
            self.context.memory.set(None);
        }
        if let State::Running(run) = std::mem::take(&mut self.state) {
            run.finish();
            tracing::info!(%reason, "run ended");
            self.context.say(Output::Break(reason));
        }
    }

    /// Ends the run. The next one starts with the next picture, whatever it is, if it can take over the decoder; otherwise with an IDR.
    fn carry_on(&mut self, reason: BreakReason) -> Result<(), Error> {
        self.pending = None;
        let State::Running(run) = std::mem::take(&mut self.state) else { return Ok(()) };
        let audio = self.audio.clone();
        let carried: Option<Carried> = run.finish_and_carry();
        tracing::info!(%reason, "run ended");
        self.context.say(Output::Break(reason));
        if carried.is_none() {
            // The source has to show once more that it can be passed through.
            self.context.memory.set(None);
        }
        if let Some(carried) = carried {
            let run = Run::resume(&self.context, carried, audio.as_ref())?;
            run.remember();
            self.state = State::Running(Box::new(run));
        }
        Ok(())
    }

    /// What came before the start. A pipeline that is not live has no viewers who wait.
    fn after(&self) -> After {
        let is_live = self.context.config.pace == Pace::Live;
        if is_live && self.context.memory.has_begun() { After::Run } else { After::Nothing }
    }

    fn decide_when_ready(&mut self) -> Result<(), Error> {
        let State::Starting(start) = &self.state else { return Ok(()) };
        let known = start.recognise(self.context.memory.of(self.format.as_ref()));
        let settings = (&*self.context.config, self.after());
        if start.ready(self.format.as_ref(), self.audio.is_some(), settings, known.as_ref()) {
            return self.decide();
        }
        let waited = u64::try_from(start.waited() / 90_000).unwrap_or(0);
        if waited > NO_KEYFRAME_SECONDS_MAX {
            return Err(Error::NoKeyframe(NO_KEYFRAME_SECONDS_MAX));
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<(), Error> {
        let State::Starting(start) = std::mem::take(&mut self.state) else { return Ok(()) };
        let known = start.recognise(self.context.memory.of(self.format.as_ref()));
        let settings = (&*self.context.config, self.after());
        let decided = start.decide(self.format.as_ref(), self.audio.as_ref(), settings, known);
        let Some(decision) = decided else { return Ok(()) };
        let (run, packets) = match Run::start(&self.context, decision) {
            Ok(started) => started,
            // Garbage; the next IDR may be better.
            Err(NotStarted::NoPicture) => return Ok(()),
            Err(NotStarted::Failed(error)) => return Err(error),
        };
        run.remember();
        self.state = State::Running(Box::new(run));
        for packet in packets {
            match packet {
                Packet::Video(packet, _) => self.video(packet)?,
                Packet::Audio(packet) => self.audio(packet)?,
            }
        }
        Ok(())
    }
}

fn acceptable(length: usize) -> bool {
    (1..=PACKET_BYTES_MAX).contains(&length)
}
