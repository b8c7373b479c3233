//! The pipeline: compressed pictures and sound of one publisher in, samples of all renditions out.
//!
//! Owns the ladder (what is encoded and what is passed through), the decoder, the scalers, the encoders and their threads.
//! Deliberately knows nothing of RTMP, segments, seals or sockets, and reads no clock: it follows the timestamps it is given.
//!
//! ```text
//! Feeder ──bounded──▶ feed thread: audio, pass-through, decoder, scalers ──bounded──▶ encoder thread per rung
//!                                  └──────────────────────┬───────────────────────────────────┘
//!                                                 bounded ▼ Output
//! ```
//!
//! What comes out is a row of *runs*. A run starts with [`Output::Tracks`], goes on with samples, and ends with
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
mod plan;
mod queue;
mod room;
mod run;
mod scaler;
mod shared;
pub mod slate;
pub mod thumbnail;
mod transcode;

pub use config::{Config, InvalidConfig, Pace, PassThrough, Preset, RungConfig};
pub use format::VideoFormat;
pub use measure::{Measured, encode_file, read_file};
pub use memory::Memory;
pub use outputs::Outputs;
pub use plan::{Cadence, Ladder, Rung, RungKind, SourceFormat, plan};
use shared::Shared;

/// Batches of inputs that may wait for the feed thread: what came between two looks at a publisher's socket each, so 16 s with parts of
/// 0.5 s. The lag rule sheds long before it is full; when it is full, [`Feeder::send`] waits, and so the publisher is held back.
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
    /// AAC: AAC-LC is passed through, other object types are encoded anew.
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

/// What goes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// Parameter sets. The same again changes nothing; others end the run at the next keyframe.
    VideoConfig(VideoFormat),
    /// Sound format. The same again changes nothing; another one, or the first after the run began, ends the run at the next IDR.
    AudioConfig(AudioFormat),
    /// A picture.
    Video(VideoPacket),
    /// Sound.
    Audio(AudioPacket),
    /// The timeline jumped (the clock of the input broke): what follows has nothing to do with what came before. Ends the run
    /// now; the next one starts with the next IDR.
    Break,
}

/// Why a run ended although the publisher goes on. Each is a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakReason {
    /// Parameter sets changed: another size, profile or level.
    #[error("the picture format changed")]
    VideoFormat,
    /// Sound came late, or its format changed.
    #[error("the sound format changed")]
    AudioFormat,
    /// Pictures came after the run had begun with sound alone.
    #[error("pictures appeared")]
    VideoAppeared,
    /// The passed-through source left too long a time without an IDR; the next run is encoded.
    #[error("the source has no keyframe for {0} ms, it cannot be passed through any more")]
    KeyframesIrregular(i64),
    /// The passed-through source left too long a time between two pictures; the next run is encoded, where the one before is shown again.
    #[error("the source had no picture for {0} ms, it cannot be passed through any more")]
    Paused(i64),
    /// [`Feeder::encode_anew`]; the next run is encoded.
    #[error("the source's keyframes leave no place to end a segment, it cannot be passed through any more")]
    Unsegmentable,
    /// [`Input::Break`].
    #[error("the input's clock broke")]
    InputClock,
    /// The stamps of the sound jumped further than silence may cover, in milliseconds.
    #[error("the sound's clock jumped by {0} ms")]
    AudioClock(i64),
}

/// Why a rung was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShedReason {
    /// Its encoder took no frame for [`ENQUEUE_WAIT_MAX`].
    #[error("encoder stuck")]
    EncoderStuck,
    /// All in all the ladder is slower than real time.
    #[error("behind live")]
    BehindLive,
    /// Its encoder failed.
    #[error("encoder failed")]
    EncoderFailed,
    /// [`Feeder::shed`].
    #[error("asked for")]
    Requested,
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A run starts with these renditions: pictures from the largest down, then sound.
    Tracks(Vec<RenditionConfig>),
    /// A sample. Video: 90 kHz, 4-byte length prefixes unless passed through with others; audio: its sample rate. Per rendition
    /// in decode order, decode times strictly rising, the first a sync sample.
    Sample {
        /// Rendition.
        rendition: RenditionId,
        /// The sample.
        sample: Sample,
    },
    /// No more samples of this rendition, unless it comes [back](Output::Restored).
    Shed {
        /// Rendition.
        rendition: RenditionId,
        /// Why.
        reason: ShedReason,
    },
    /// A rendition that was shed goes on as it was, with an IDR.
    Restored {
        /// Rendition.
        rendition: RenditionId,
    },
    /// The run is over (all its samples are out); the next one starts with [`Output::Tracks`].
    Break(BreakReason),
    /// The input ended and all samples are out. The last output.
    Ended,
    /// The pipeline cannot go on. The last output.
    Failed(Error),
}

/// Why a pipeline cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing fits: the source is too small or too large, or the ladder of the configuration is above the source.
    #[error("no rung fits a source of {width}x{height}")]
    NoRung {
        /// Source width in pixels.
        width: u32,
        /// Source height in pixels.
        height: u32,
    },
    /// FFmpeg refused.
    #[error("{what}: {detail}")]
    Ffmpeg {
        /// What was tried.
        what: &'static str,
        /// FFmpeg's words.
        detail: String,
    },
    /// No picture that could be decoded.
    #[error("no keyframe that can be decoded within {0} s")]
    NoKeyframe(u64),
    /// A thread could not be started, or panicked.
    #[error("{0}")]
    Thread(String),
    /// The sound's format cannot be put into a rendition.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// What is counted over the life of a pipeline. Read at any time with [`Feeder::counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pictures decoded.
    pub frames_decoded: u64,
    /// Packets that the decoder refused.
    pub packets_refused: u64,
    /// Pictures that the decoder had to conceal errors in.
    pub frames_concealed: u64,
    /// Pictures not encoded because their time did not rise, or the last encoder left was full.
    pub frames_skipped: u64,
    /// Rungs shed.
    pub rungs_shed: u64,
    /// In the newest run the source's picture is a rendition as it comes.
    pub passes_through: bool,
}

/// The way into a pipeline. Dropping it ends the input: the pipeline then drains and says [`Output::Ended`].
#[derive(Debug)]
pub struct Feeder {
    input: mpsc::Sender<Vec<Input>>,
    shared: Arc<Shared>,
}

/// The pipeline stopped before its input ended: its last output says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

impl Feeder {
    /// Hands inputs over, for which the feed thread wakes once; waits while [`INPUT_DEPTH`] batches are waiting. Cancel-safe: a cancelled
    /// call sent nothing.
    pub async fn send(&self, inputs: Vec<Input>) -> Result<(), Stopped> {
        inputs.iter().for_each(|input| self.shared.note(input));
        self.input.send(inputs).await.map_err(|_| Stopped)
    }

    /// As [`Feeder::send`], for threads. Panics inside an async context.
    pub fn send_blocking(&self, input: Input) -> Result<(), Stopped> {
        self.shared.note(&input);
        self.input.blocking_send(vec![input]).map_err(|_| Stopped)
    }

    /// Gives a rung up because whoever reads the output says that it holds up the others. Answered with [`Output::Shed`].
    pub fn shed(&self, rendition: &RenditionId) {
        self.shared.request_shed(rendition);
    }

    /// Ends a run, the `run`-th that began ([`Output::Tracks`], counted from 1), because whoever reads the output cannot cut it into
    /// segments; the next one is encoded, or begins with a keyframe. Nothing when that run is over already.
    pub fn encode_anew(&self, run: u64) {
        self.shared.give_up(run);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }
}

/// Starts a pipeline. Its outputs must be read while inputs are sent (both sides are bounded: a task that awaits [`Feeder::send`] and
/// only then reads would wait for itself).
///
/// Spawns its feed thread; encoder threads follow with each run. They end when the [`Feeder`] is dropped (after
/// draining), or when the receiver is (at once).
pub fn start(config: Config) -> Result<(Feeder, Outputs), Error> {
    start_again(config, Memory::default())
}

/// As [`start`], for a stream whose last pipeline had the same memory: what was learnt of the source is not learnt again, so that a
/// publisher that comes back is sealed from its first picture on.
pub fn start_again(config: Config, memory: Memory) -> Result<(Feeder, Outputs), Error> {
    feed::start(config, memory)
}

/// FFmpeg's libraries can be used from here on; they keep quiet.
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
