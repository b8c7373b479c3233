//! One run: from its tracks to its break or the end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::segmenter::RenditionConfig;
use media::{BitsPerSecond, RenditionId, Sample, Timescale, Timestamp, TrackConfig, avc};

use super::audio::AudioTrack;
use super::decision::{Decision, KEYFRAME_TICKS_MAX, Packet};
use super::decoder::Decoder;
use super::idr::IdrPlacer;
use super::ladder::{EncodeLadder, Others, Parts, Pictures};
use super::memory::Known;
use super::outputs::Collector;
use super::pipeline_state::{PipelineState, count};
use super::plan::{Ladder, Rung, RungKind, SourceFormat, decode_micros, plan, threads};
use super::{AudioFormat, AudioPacket, BreakReason, Config, Error, Memory, Output, VideoFormat, VideoPacket, ticks};

/// What a run needs from the feed thread.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) output: Collector,
    pub(super) shared: Arc<PipelineState>,
    pub(super) memory: Memory,
}

impl Context {
    pub(super) fn say(&self, output: Output) {
        if self.output.send(output).is_err() {
            self.shared.abort();
        }
    }

    /// Sends the outputs that were collected.
    pub(super) fn flush(&self) {
        if self.output.flush().is_err() {
            self.shared.abort();
        }
    }
}

/// Hands out the source's own samples.
struct PassedThrough {
    rendition: RenditionId,
    avc: avc::DecoderConfig,
    frame: Timestamp,
    last_idr: Option<i64>,
    last_dts: Option<i64>,
    last_pts: i64,
    picture_ticks_max: i64,
}

/// Pictures that were decoded before the run began, to learn their format.
struct Ahead {
    packets: usize,
    frames: Vec<ffmpeg_next::frame::Video>,
}

impl Ahead {
    /// Decodes until a picture comes out.
    fn decode<'a>(
        decoder: &mut Decoder,
        pictures: impl Iterator<Item = (&'a VideoPacket, bool)>,
        shared: &PipelineState,
    ) -> Self {
        let mut ahead = Self { packets: 0, frames: Vec::new() };
        for (packet, idr) in pictures {
            ahead.packets += 1;
            decoder.push(packet, idr, shared, &mut |frame| ahead.frames.push(frame));
            if !ahead.frames.is_empty() {
                break;
            }
        }
        ahead
    }
}

/// A decoder that the next run takes over, and what is known of its source.
pub(super) struct Carried {
    decoder: Decoder,
    pictures: Pictures,
    source: SourceFormat,
    format: VideoFormat,
    settings: Option<Bytes>,
    not_before: i64,
}

pub(super) struct Run {
    context: Context,
    passed: Option<PassedThrough>,
    ladder: Option<EncodeLadder>,
    ahead: Option<Ahead>,
    audio: Option<AudioTrack>,
    video: Option<(SourceFormat, VideoFormat)>,
    /// What the source's encoder says of its settings.
    settings: Option<Bytes>,
}

/// Why a run could not start.
pub(super) enum NotStarted {
    /// None of its pictures could be decoded; a later start may succeed.
    NoPicture,
    /// No start can succeed.
    Failed(Error),
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Run {
    /// Starts a run: plans the ladder, decodes until the picture format is known, opens the encoders and sends the tracks. Returns the
    /// held-back packets, which are handed in like all others.
    pub(super) fn start(context: &Context, decision: Decision) -> Result<(Self, VecDeque<Packet>), NotStarted> {
        let Decision { video, audio, packets, pictures: known, settings, shown_from } = decision;
        let Some((source, format)) = video else {
            let run = Self::begin(context, None, &[], None, None, audio.as_ref(), None)?;
            return Ok((run, packets));
        };
        let pictures = packets.iter().filter_map(|packet| match packet {
            Packet::Video(video, idr) => Some((video, *idr)),
            Packet::Audio(_) => None,
        });
        let first = pictures.clone().next().map_or(0, |(packet, _)| ticks(packet.pts));
        let (start, not_before) = shown_from.map_or((first, i64::MIN), |from| (from, from.saturating_sub(1)));
        let cores = context.config.cores_found();
        let Ladder { rungs, cost_millis } = plan(source, cores, &context.config)?;
        tracing::info!(?source, cost_millis, rungs = ?rungs.iter().map(|rung| rung.rendition.as_str()).collect::<Vec<_>>(), "ladder planned");
        let encoded: Vec<Rung> = rungs.iter().filter(|rung| rung.kind == RungKind::Encode).cloned().collect();
        let passes = encoded.len() < rungs.len();
        let mut ahead = None;
        let mut parts = None;
        if !encoded.is_empty() {
            let mut decoder = Decoder::open(&format, threads(decode_micros(source), cores))?;
            let pictures = match known {
                Some(known) => known,
                None => {
                    let decoded = Ahead::decode(&mut decoder, pictures, &context.shared);
                    let Some(first) = decoded.frames.first() else { return Err(NotStarted::NoPicture) };
                    let found = Pictures::of(first);
                    ahead = Some(decoded);
                    found
                }
            };
            let placer = if passes { IdrPlacer::source() } else { grid(&context.config, source) };
            let others = if passes { Others::PassedThrough } else { Others::None };
            parts = Some(Parts { decoder, pictures, placer, rungs: &encoded, others, not_before });
        }
        let start = Timestamp::new(start, Timescale::VIDEO);
        let mut run = Self::begin(context, Some((source, format)), &rungs, parts, Some(start), audio.as_ref(), ahead)?;
        run.passed = passes.then(|| run.pass_through(&rungs)).flatten();
        run.settings = settings;
        Ok((run, packets))
    }

    /// Starts a run with the decoder of the one before. All its rungs are encoded, from the next picture on.
    pub(super) fn resume(context: &Context, carried: Carried, audio: Option<&AudioFormat>) -> Result<Self, Error> {
        let Carried { decoder, pictures, source, format, settings, not_before } = carried;
        let source = SourceFormat { pass_through: false, ..source };
        let Ladder { rungs, .. } = plan(source, context.config.cores_found(), &context.config)?;
        let placer = grid(&context.config, source);
        let parts = Parts { decoder, pictures, placer, rungs: &rungs, others: Others::None, not_before };
        let start = Timestamp::new(not_before.saturating_add(frame_ticks(source)), Timescale::VIDEO);
        let run = Self::begin(context, Some((source, format)), &rungs, Some(parts), Some(start), audio, None)?;
        Ok(Self { settings, ..run })
    }

    fn begin(
        context: &Context,
        video: Option<(SourceFormat, VideoFormat)>,
        rungs: &[Rung],
        parts: Option<Parts<'_>>,
        start: Option<Timestamp>,
        audio: Option<&AudioFormat>,
        ahead: Option<Ahead>,
    ) -> Result<Self, Error> {
        let audio = audio.map(|format| AudioTrack::new(format, start)).transpose()?;
        let mut tracks = Vec::new();
        if let Some(avc) = video.as_ref().and_then(|(_, format)| format.avc()) {
            let passed = rungs.iter().filter(|rung| rung.kind == RungKind::PassThrough);
            tracks.extend(passed.map(|rung| passed_track(rung, avc)));
        }
        let ladder = match parts {
            None => None,
            Some(parts) => {
                let (ladder, encoded) =
                    EncodeLadder::start(parts, &context.config, context.output.sender(), &context.shared)?;
                tracks.extend(encoded);
                Some(ladder)
            }
        };
        tracks.extend(audio.iter().map(|audio| audio.config().clone()));
        context.shared.begins(rungs.iter().any(|rung| rung.kind == RungKind::PassThrough));
        context.say(Output::Tracks(tracks));
        context.memory.begins();
        Ok(Self { context: context.clone(), passed: None, ladder, ahead, audio, video, settings: None })
    }

    fn pass_through(&self, rungs: &[Rung]) -> Option<PassedThrough> {
        let (source, format) = self.video.as_ref()?;
        let avc = format.avc()?;
        let rung = rungs.iter().find(|rung| rung.kind == RungKind::PassThrough)?;
        Some(PassedThrough {
            rendition: rung.rendition.clone(),
            avc: avc.clone(),
            frame: Timestamp::new(frame_ticks(*source), Timescale::VIDEO),
            last_idr: None,
            last_dts: None,
            last_pts: i64::MIN,
            picture_ticks_max: self.context.config.picture_ticks_max(),
        })
    }

    /// Keeps what was learnt of the source for the next run, in this pipeline or another.
    pub(super) fn remember(&self) {
        let Some((source, format)) = self.video.clone() else { return };
        let pictures = self.ladder.as_ref().map(|ladder| ladder.pictures);
        let (settings, sound) = (self.settings.clone(), self.audio.is_some());
        self.context.memory.set(Some(Known { format, source, settings, pictures, sound }));
    }

    pub(super) const fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Whether it can break between any two pictures, because the next run can take over its decoder.
    pub(super) fn can_carry(&self) -> bool {
        self.passed.is_none() && self.ladder.is_some()
    }

    /// Takes a picture. An error ends the run, and the picture belongs to the next one.
    pub(super) fn video(&mut self, packet: &VideoPacket, idr: bool) -> Result<(), BreakReason> {
        for rendition in self.context.shared.take_shed_requests() {
            if let Some(ladder) = &mut self.ladder {
                ladder.shed_requested(&rendition);
            }
        }
        if let Some(passed) = &mut self.passed {
            passed.video(&self.context, packet, idr)?;
        }
        self.encode(packet, idr)?;
        if self.ladder.as_ref().is_some_and(EncodeLadder::is_over) {
            self.ladder = None;
        }
        let context = &self.context;
        if let Some(audio) = &mut self.audio {
            let rendition = audio.config().rendition.clone();
            let mut take = |sample| context.say(Output::Sample { rendition: rendition.clone(), sample });
            audio.follow(packet.dts, &mut take);
        }
        Ok(())
    }

    fn encode(&mut self, packet: &VideoPacket, idr: bool) -> Result<(), BreakReason> {
        let Some(ladder) = &mut self.ladder else { return Ok(()) };
        let Some(ahead) = &mut self.ahead else { return ladder.packet(packet, idr) };
        // This packet was decoded before the run began. The pictures are handed over with the last such packet.
        if idr {
            ladder.placer.source_idr(ticks(packet.pts));
        }
        ahead.packets = ahead.packets.saturating_sub(1);
        if ahead.packets == 0 {
            let frames = std::mem::take(&mut ahead.frames);
            self.ahead = None;
            frames.into_iter().try_for_each(|frame| ladder.picture(frame))?;
        }
        Ok(())
    }

    /// Takes sound; a run without sound drops it. An error ends the run.
    pub(super) fn audio(&mut self, packet: &AudioPacket) -> Result<(), BreakReason> {
        let Some(audio) = &mut self.audio else { return Ok(()) };
        let rendition = audio.config().rendition.clone();
        let context = &self.context;
        audio.push(packet, &mut |sample| context.say(Output::Sample { rendition: rendition.clone(), sample }))
    }

    /// Drains everything.
    pub(super) fn finish(self) {
        if let Some(ladder) = self.ladder {
            ladder.finish();
        }
    }

    /// Drains everything but the decoder, which the next run can take over; `None` when there is none.
    pub(super) fn finish_and_carry(self) -> Option<Carried> {
        let not_before = self.passed.as_ref().map(|passed| passed.last_pts);
        let (source, format) = self.video?;
        let ladder = self.ladder.filter(|ladder| !ladder.is_idle())?;
        let pictures = ladder.pictures;
        let not_before = not_before.or_else(|| ladder.last_pts()).unwrap_or(i64::MIN);
        let settings = self.settings;
        Some(Carried { decoder: ladder.into_decoder(), pictures, source, format, settings, not_before })
    }
}

impl PassedThrough {
    fn video(&mut self, context: &Context, packet: &VideoPacket, idr: bool) -> Result<(), BreakReason> {
        let dts = ticks(packet.dts);
        if idr {
            self.last_idr = Some(dts);
        }
        let Some(last_idr) = self.last_idr else { return Ok(()) };
        let without = dts.saturating_sub(last_idr);
        if without > KEYFRAME_TICKS_MAX {
            return Err(BreakReason::KeyframesIrregular(without / 90));
        }
        let paused = self.last_dts.map_or(0, |last| dts.saturating_sub(last));
        if paused > self.picture_ticks_max {
            return Err(BreakReason::Paused(paused / 90));
        }
        let Ok(data) = self.avc.strip_parameter_sets(&packet.data) else {
            // Its length prefixes do not add up, so no player could read it.
            count(&context.shared.packets_refused);
            return Ok(());
        };
        if data.is_empty() {
            return Ok(());
        }
        // Two pictures cannot be decoded at one time.
        let dts = self.last_dts.map_or(dts, |last| dts.max(last.saturating_add(1)));
        self.last_dts = Some(dts);
        let pts = ticks(packet.pts);
        self.last_pts = self.last_pts.max(pts);
        let at = |ticks| Timestamp::new(ticks, Timescale::VIDEO);
        let sample = Sample { pts: at(pts), dts: at(dts), duration: self.frame, sync: idr, data };
        context.say(Output::Sample { rendition: self.rendition.clone(), sample });
        Ok(())
    }
}

fn grid(config: &Config, source: SourceFormat) -> IdrPlacer {
    IdrPlacer::grid(config.keyframe_ticks(), frame_ticks(source))
}

/// Length of a frame at the nominal rate, in 90 kHz ticks.
fn frame_ticks(source: SourceFormat) -> i64 {
    90_000_000_i64.checked_div(i64::from(source.frame_rate_millihertz)).unwrap_or(3_000)
}

fn passed_track(rung: &Rung, avc: &avc::DecoderConfig) -> RenditionConfig {
    RenditionConfig {
        rendition: rung.rendition.clone(),
        track: TrackConfig::Video {
            avc: avc.clone(),
            timescale: Timescale::VIDEO,
            frame_rate_millihertz: rung.frame_rate_millihertz,
        },
        // Nothing limits the source. Until segments were measured, this states half as much again as its start had.
        bandwidth_peak: BitsPerSecond(rung.bit_rate.0.saturating_mul(3) / 2),
        bandwidth_mean: rung.bit_rate,
        has_more_sync: false,
    }
}
