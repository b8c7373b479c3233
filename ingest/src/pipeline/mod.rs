//! The pipeline: compressed pictures and sound of one publisher in, samples of all renditions out.
//!
//! Owns the ladder (what is encoded and what is passed through), the decoder, the scalers, the encoders and their threads.
//! Deliberately knows nothing of RTMP, segments, seals or sockets, and reads no clock: it follows the timestamps it is given.
//!
//! ```text
//! PipelineInput ──bounded──▶ feed thread: audio, pass-through, decoder, scalers ──bounded──▶ encoder thread per rung
//!                                  └──────────────────────┬───────────────────────────────────┘
//!                                                 bounded ▼ Output
//! ```
//!
//! The output is a sequence of *runs*. A run starts with [`Output::Tracks`], continues with samples, and ends with
//! [`Output::Break`] (the next run follows, in a new epoch), [`Output::Ended`] or [`Output::Failed`]. In a run all video
//! renditions start at the same presentation time with an IDR, have their IDRs at the same presentation times (a shed one up
//! to where it was shed), and the sound starts there too, to within a frame.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::segmenter::RenditionConfig;
use media::{RenditionId, Sample, Timescale, Timestamp};
use tokio::sync::mpsc;

mod audio;
mod config;
mod decision;
mod decoder;
mod encoder;
mod feed;
mod ffi;
mod format;
mod idr;
mod ladder;
mod lag;
mod measure;
mod memory;
mod outputs;
mod pipeline_state;
mod pixel_aspect;
mod plan;
mod queue;
mod room;
mod run;
mod scaler;
pub mod slate;
pub mod thumbnail;
mod transcode;

pub use config::{Config, InvalidConfig, Pace, PassThrough, Preset, RungConfig};
pub use format::VideoFormat;
pub use measure::{Measured, encode_file, read_file};
pub use memory::Memory;
pub use outputs::Outputs;
use pipeline_state::PipelineState;
pub use plan::{Cadence, Ladder, Rung, RungKind, SourceFormat, plan};

/// Batches of inputs that may wait for the feed thread. Each is what came between two reads of a publisher's socket, so this is 16 s with
/// parts of 0.5 s. The lag rule sheds long before the queue is full. When it is full, [`PipelineInput::send`] waits and so holds the publisher
/// back.
pub const INPUT_DEPTH: usize = 256;

/// Batches of outputs that may wait for the session: about 3 s of a five-rendition ladder, whose encoders send each sample alone.
pub const OUTPUT_DEPTH: usize = 512;

/// Largest picture or sound packet accepted; larger ones are skipped and counted. RTMP's own bound is 16 MiB.
pub const PACKET_BYTES_MAX: usize = 8 << 20;

/// How long the feed thread waits for a place in an encoder's queue before a rung is shed.
pub const ENQUEUE_WAIT_MAX: Duration = Duration::from_millis(500);

/// Name of the sound's rendition.
pub const AUDIO_RENDITION: &str = "audio";

/// How sound is coded in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioFormat {
    /// AAC. AAC-LC of at least 44.1 kHz without SBR is passed through; other AAC is encoded anew.
    Aac(media::aac::AudioSpecificConfig),
    /// MPEG-1/2 layer III; encoded anew.
    Mp3,
}

/// One access unit of the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPacket {
    /// Presentation time on the session's timeline.
    pub pts: Timestamp,
    /// Decode time on the session's timeline; packets come in its order.
    pub dts: Timestamp,
    /// Coded as the newest [`Input::VideoConfig`] says.
    pub data: Bytes,
}

/// One sound frame of the publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPacket {
    /// Presentation time on the session's timeline, as stamped: the pipeline makes it sample-exact.
    pub pts: Timestamp,
    /// One raw AAC frame (no ADTS), or one MP3 frame.
    pub data: Bytes,
}

/// An input of a pipeline.
#[derive(Debug, Clone)]
pub enum Input {
    /// Parameter sets. The same again changes nothing; others end the run at the next keyframe.
    VideoConfig(VideoFormat),
    /// Sound format. The same again changes nothing. Another one, or the first after the run began, ends the run: at the next picture if
    /// all rungs are encoded, at the next IDR if the source is passed through, and at the next sound frame if there is no video.
    AudioConfig(AudioFormat),
    Video(VideoPacket),
    Audio(AudioPacket),
    /// The clock of the input broke, and the timeline jumped. Ends the run now; the next one starts with the next IDR.
    Break,
}

/// Why a run ended while the publisher continues. The next run is a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakReason {
    /// Parameter sets changed: another size, profile or level.
    #[error("the picture format changed")]
    VideoFormat,
    /// Sound appeared after the run had begun, or its format changed.
    #[error("the sound format changed")]
    AudioFormat,
    /// Pictures came after the run had begun with sound alone.
    #[error("pictures appeared")]
    VideoAppeared,
    /// The passed-through source had no IDR for too long; the next run is encoded.
    #[error("the source has no keyframe for {0} ms, it cannot be passed through any more")]
    KeyframesIrregular(i64),
    /// The passed-through source paused too long between two pictures; the next run is encoded, where the last picture is repeated.
    #[error("the source had no picture for {0} ms, it cannot be passed through any more")]
    Paused(i64),
    /// [`PipelineInput::encode_anew`]; the next run is encoded.
    #[error("the source's keyframes leave no place to end a segment, it cannot be passed through any more")]
    Unsegmentable,
    /// [`Input::Break`].
    #[error("the input's clock broke")]
    InputClock,
    /// The stamps of the sound jumped further than silence may cover, in milliseconds.
    #[error("the sound's clock jumped by {0} ms")]
    AudioClock(i64),
}

/// Why a rung was shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShedReason {
    /// Its encoder took no frame for [`ENQUEUE_WAIT_MAX`].
    #[error("encoder stuck")]
    EncoderStuck,
    /// The ladder as a whole is slower than real time.
    #[error("behind live")]
    BehindLive,
    #[error("encoder failed")]
    EncoderFailed,
    /// [`PipelineInput::shed`].
    #[error("asked for")]
    Requested,
}

/// An output of a pipeline.
#[derive(Debug)]
pub enum Output {
    /// A run starts with these renditions: pictures from the largest down, then sound.
    Tracks(Vec<RenditionConfig>),
    /// A sample. Video has a timescale of 90 kHz and 4-byte length prefixes, unless it is passed through with others; sound has the
    /// timescale of its sample rate. Per rendition, samples come in decode order, decode times rise strictly, and the first is a sync
    /// sample.
    Sample {
        /// One of the newest [`Output::Tracks`].
        rendition: RenditionId,
        sample: Sample,
    },
    /// No more samples of this rendition, unless it comes [back](Output::Restored).
    Shed {
        /// One of the newest [`Output::Tracks`].
        rendition: RenditionId,
        reason: ShedReason,
    },
    /// A rendition that was shed continues as before, with an IDR.
    Restored {
        /// One of the newest [`Output::Tracks`].
        rendition: RenditionId,
    },
    /// The run is over (all its samples are out); the next one starts with [`Output::Tracks`].
    Break(BreakReason),
    /// The input ended and all samples are out. The last output.
    Ended,
    /// The pipeline cannot continue. The last output.
    Failed(Error),
}

/// Why a pipeline cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No rung fits, because the source is too small or too large.
    #[error("no rung fits a source of {width}x{height}")]
    NoRung {
        /// Source width in pixels.
        width: u32,
        /// Source height in pixels.
        height: u32,
    },
    #[error("{what}: {detail}")]
    Ffmpeg {
        /// What was tried.
        what: &'static str,
        /// FFmpeg's error message.
        detail: String,
    },
    /// No keyframe came that could be decoded.
    #[error("no keyframe that can be decoded within {0} s")]
    NoKeyframe(u64),
    /// A thread could not be started, or panicked.
    #[error("{0}")]
    Thread(String),
    /// The sound's format cannot be put into a rendition.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// What is counted over the life of a pipeline. Read at any time with [`PipelineInput::counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames_decoded: u64,
    /// Packets that the decoder refused.
    pub packets_refused: u64,
    /// Pictures that the decoder had to conceal errors in.
    pub frames_concealed: u64,
    /// Pictures not encoded because their time did not rise, or the last encoder left was full.
    pub frames_skipped: u64,
    pub rungs_shed: u64,
    /// Whether the newest run passes the source's video through.
    pub passes_through: bool,
}

/// The input of a pipeline. Dropping it ends the input: the pipeline then drains and sends [`Output::Ended`].
#[derive(Debug)]
pub struct PipelineInput {
    input: mpsc::Sender<Vec<Input>>,
    shared: Arc<PipelineState>,
}

/// The pipeline stopped before its input ended: its last output says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

impl PipelineInput {
    /// Hands inputs over as one batch, for which the feed thread wakes once. Waits while [`INPUT_DEPTH`] batches are waiting. Cancel-safe:
    /// a cancelled call has sent nothing.
    pub async fn send(&self, inputs: Vec<Input>) -> Result<(), Stopped> {
        inputs.iter().for_each(|input| self.shared.note(input));
        self.input.send(inputs).await.map_err(|_| Stopped)
    }

    /// As [`PipelineInput::send`], for threads. Panics inside an async context.
    pub fn send_blocking(&self, input: Input) -> Result<(), Stopped> {
        self.shared.note(&input);
        self.input.blocking_send(vec![input]).map_err(|_| Stopped)
    }

    /// Sheds a rung that delays the others, at the request of the output's reader. Answered with [`Output::Shed`].
    pub fn shed(&self, rendition: &RenditionId) {
        self.shared.request_shed(rendition);
    }

    /// Ends the `run`-th run (counted by [`Output::Tracks`], from 1), because the output's reader cannot cut it into segments. The next one
    /// is encoded, or begins with a keyframe. Does nothing when that run is over already.
    pub fn encode_anew(&self, run: u64) {
        self.shared.give_up(run);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }
}

/// Starts a pipeline. Its outputs must be read while inputs are sent (both sides are bounded: a task that awaits [`PipelineInput::send`] and
/// only then reads would wait for itself).
///
/// Spawns its feed thread; encoder threads follow with each run. They end when the [`PipelineInput`] is dropped (after
/// draining), or when the receiver is (at once).
pub fn start(config: Config) -> Result<(PipelineInput, Outputs), Error> {
    start_again(config, Memory::default())
}

/// As [`start`], with the memory of the stream's last pipeline: the pipeline does not learn the source again, so that a publisher that
/// comes back is sealed from its first picture on.
pub fn start_again(config: Config, memory: Memory) -> Result<(PipelineInput, Outputs), Error> {
    feed::start(config, memory)
}

/// Initialises FFmpeg's libraries; they log fatal errors only.
fn init() -> Result<(), Error> {
    ffmpeg_next::init()
        .map_err(|error| Error::Ffmpeg { what: "cannot initialise FFmpeg", detail: error.to_string() })?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Fatal);
    Ok(())
}

/// Ticks at 90 kHz.
fn ticks(time: Timestamp) -> i64 {
    time.rescale(Timescale::VIDEO).ticks
}

#[cfg(test)]
mod tests;
