//! The sound of a run: passed through or encoded anew, with sample-exact times.

use media::audio_clock::AudioClock;
use media::segmenter::RenditionConfig;
use media::{BitsPerSecond, RenditionId, Sample, Timescale, Timestamp, TrackConfig};

use super::transcode::Transcoder;
use super::{AUDIO_RENDITION, AudioFormat, AudioPacket, BreakReason, Error};

/// Sound that is further behind the pictures counts as missing: silence takes its place up to this point, so that segments can end.
const LATE_MAX: Timestamp = Timestamp::new(1_000, Timescale::MILLIS);

/// Bit rate stated for sound that is passed through, until it was measured.
const PASSED_BITS_PER_SECOND: u64 = 192_000;

/// MPEG-4 audio object type of AAC-LC.
const AAC_LC: u8 = 2;

/// Sound of a lower rate is encoded anew: its frames are so long that parts would not have the declared length. It may also have SBR that
/// is not announced, which only a decoder notices.
const PASSED_SAMPLE_RATE_HZ_MIN: u32 = 44_100;

enum Path {
    PassThrough,
    Encode(Box<Transcoder>),
}

/// The sound of one run.
pub(super) struct AudioTrack {
    path: Path,
    clock: AudioClock,
    start: Option<Timestamp>,
    frame: Timestamp,
    track: RenditionConfig,
}

impl AudioTrack {
    /// Sound that starts at `start`, the presentation time of the first picture, or, without pictures, with its first frame.
    pub(super) fn new(format: &AudioFormat, start: Option<Timestamp>) -> Result<Self, Error> {
        let (path, aac, mean) = match format {
            AudioFormat::Aac(aac)
                if aac.object_type() == AAC_LC
                    && !aac.has_sbr()
                    && aac.sample_rate_hz() >= PASSED_SAMPLE_RATE_HZ_MIN =>
            {
                (Path::PassThrough, aac.clone(), PASSED_BITS_PER_SECOND)
            }
            other => {
                let transcoder = Transcoder::open(other)?;
                let aac = transcoder.config()?;
                (Path::Encode(Box::new(transcoder)), aac, super::transcode::BITS_PER_SECOND)
            }
        };
        let rendition = RenditionId::new(AUDIO_RENDITION).map_err(|error| Error::Thread(error.to_string()))?;
        let clock = AudioClock::new(&aac, start)?;
        let frame = Timestamp::new(i64::from(aac.frame_samples()), aac.timescale());
        let track = RenditionConfig {
            rendition,
            track: TrackConfig::Audio { aac },
            bandwidth_peak: BitsPerSecond(mean * 6 / 5),
            bandwidth_mean: BitsPerSecond(mean),
            has_more_sync: false,
        };
        Ok(Self { path, clock, start, frame, track })
    }

    /// Its entry in the run's [`super::Output::Tracks`].
    pub(super) const fn config(&self) -> &RenditionConfig {
        &self.track
    }

    /// Takes a frame; hands over samples.
    pub(super) fn push(&mut self, packet: &AudioPacket, take: &mut dyn FnMut(Sample)) -> Result<(), BreakReason> {
        let broke = |broke: media::audio_clock::Break| BreakReason::AudioClock(broke.by_millis);
        if self.start.is_some_and(|start| packet.pts.plus(self.frame) <= start) {
            return Ok(());
        }
        match &mut self.path {
            Path::PassThrough => self.clock.push(packet.pts, packet.data.clone()).map_err(broke)?.for_each(take),
            Path::Encode(transcoder) => {
                for (stamp, data) in transcoder.push(packet) {
                    if self.start.is_none_or(|start| stamp >= start) {
                        self.clock.push(stamp, data).map_err(broke)?.for_each(&mut *take);
                    }
                }
            }
        }
        Ok(())
    }

    /// Video has reached `decode_time`: fills up with silence if sound is too far behind.
    pub(super) fn follow(&mut self, decode_time: Timestamp, take: &mut dyn FnMut(Sample)) {
        let until = decode_time.minus(LATE_MAX);
        if self.clock.next().is_some_and(|next| next < until) {
            self.clock.fill(until).for_each(take);
        }
    }
}
