//! The encoded part of a run: one decoder, a cascade of scalers, an encoder thread per rung, and the choice of the rung to shed when they
//! are too slow.

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::{frame, picture};
use media::segmenter::RenditionConfig;
use media::{RenditionId, Timescale, Timestamp, TrackConfig};

use super::decoder::Decoder;
use super::encoder::{Encoder, EncoderThread, PictureFormat, refusal_reason};
use super::idr::{ExtraPlacer, IdrPlacer, Placement};
use super::lag::LagWatch;
use super::outputs::Sender;
use super::pipeline_state::{PipelineState, count};
use super::plan::{Cadence, Rung};
use super::queue::Refused;
use super::room::RoomWatch;
use super::scaler::Scaler;
use super::{BreakReason, Config, ENQUEUE_WAIT_MAX, Error, Output, Pace, ShedReason, VideoPacket, ticks};

/// A picture is repeated when it would last longer than this share of the limit, in percent. The margin is for rungs of half the frame
/// rate, which do not get every picture.
const FILL_PERCENT: i64 = 90;

/// How often a picture is repeated per part while the source pauses.
const REPEATS_PER_PART: i64 = 4;

/// How often a picture is repeated at most: half a minute of the shortest parts.
const REPEATS_MAX: i64 = 600;

/// A rung at work.
struct Active {
    rung: Rung,
    /// The track that its init segment was made of.
    track: TrackConfig,
    /// `None` when the picture above has its size and format already.
    scaler: Option<Scaler>,
    thread: EncoderThread,
}

impl Active {
    /// Its queue is at least half full.
    fn is_busy(&self) -> bool {
        self.thread.queue.len() * 2 >= self.thread.queue.depth()
    }
}

/// A rung that was shed, and may come back.
struct Away {
    rung: Rung,
    track: TrackConfig,
}

/// Whether the run has a rendition apart from the encoded ones, so that the last encoded one may be shed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// There is the passed-through source.
    PassedThrough,
    /// There is none: the last encoded rung stays and skips pictures instead.
    None,
}

/// Size and format of the pictures that a ladder works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pictures {
    size: (u32, u32),
    decoded: Pixel,
    format: PictureFormat,
}

impl Pictures {
    /// Those of a decoded picture. All rungs are 8-bit 4:2:0, of the source's range.
    pub(super) fn of(frame: &frame::Video) -> Self {
        let full = frame.format() == Pixel::YUVJ420P || frame.color_range() == ffmpeg::color::Range::JPEG;
        let format = PictureFormat {
            pixel: if frame.format() == Pixel::YUVJ420P { Pixel::YUVJ420P } else { Pixel::YUV420P },
            range: if full { ffmpeg::color::Range::JPEG } else { frame.color_range() },
            space: frame.color_space(),
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
            aspect: frame.aspect_ratio(),
        };
        Self { size: (frame.width(), frame.height()), decoded: frame.format(), format }
    }

    /// Width of a pixel divided by its height; 0 if not known.
    pub(super) const fn aspect(&self) -> ffmpeg::Rational {
        self.format.aspect
    }
}

/// The ladder of one run.
pub(super) struct EncodeLadder {
    pub(super) decoder: Decoder,
    pub(super) pictures: Pictures,
    pub(super) placer: IdrPlacer,
    /// `None` if there are no IDRs besides the placer's.
    extra: Option<ExtraPlacer>,
    active: Vec<Active>,
    away: Vec<Away>,
    others: Others,
    config: Arc<Config>,
    output: Sender,
    shared: Arc<PipelineState>,
    lag: LagWatch,
    room: RoomWatch,
    /// There is room for a rung that is away.
    has_room: bool,
    /// Decode time of the newest packet.
    at: Timestamp,
    last_pts: Option<i64>,
    /// The newest picture, to be shown again when the next one comes late.
    newest: Option<frame::Video>,
    picture_ticks_max: i64,
    odd: bool,
    idr_owed: bool,
    resting: bool,
    /// Pictures up to here were shown in the run before.
    not_before: i64,
}

/// What an [`EncodeLadder`] is made of.
pub(super) struct Parts<'a> {
    pub(super) decoder: Decoder,
    pub(super) pictures: Pictures,
    pub(super) placer: IdrPlacer,
    pub(super) rungs: &'a [Rung],
    pub(super) others: Others,
    pub(super) not_before: i64,
}

impl EncodeLadder {
    /// Opens all encoders and starts their threads; returns their renditions.
    pub(super) fn start(
        parts: Parts<'_>,
        config: &Arc<Config>,
        output: &Sender,
        shared: &Arc<PipelineState>,
    ) -> Result<(Self, Vec<RenditionConfig>), Error> {
        let Parts { decoder, pictures, placer, rungs, others, not_before } = parts;
        // A rung of half the source's frame rate decides where segments end, and may not have more IDRs than the source.
        let has_extra = others == Others::PassedThrough && rungs.iter().all(|rung| rung.cadence == Cadence::Every);
        let mut tracks = Vec::new();
        let mut active = Vec::new();
        for rung in rungs {
            let encoder = Encoder::open(rung, &pictures.format, config)?;
            let track = encoder.track().clone();
            tracks.push(RenditionConfig {
                rendition: rung.rendition.clone(),
                track: track.clone(),
                bandwidth_peak: rung.bandwidth_peak(),
                bandwidth_mean: rung.bit_rate,
                has_more_sync: has_extra,
            });
            let handicap = config.handicap.as_ref().filter(|(name, _)| *name == rung.rendition.as_str());
            let thread = EncoderThread::spawn(
                rung.rendition.clone(),
                encoder,
                handicap.map(|(_, delay)| *delay),
                output.clone(),
                Arc::clone(shared),
            )?;
            active.push(Active { rung: rung.clone(), track, scaler: None, thread });
        }
        let mut ladder = Self {
            decoder,
            pictures,
            placer,
            extra: has_extra.then(|| ExtraPlacer::new(config.keyframe_ticks())),
            active,
            away: Vec::new(),
            others,
            config: Arc::clone(config),
            output: output.clone(),
            shared: Arc::clone(shared),
            lag: LagWatch::default(),
            room: RoomWatch::default(),
            has_room: false,
            at: Timestamp::zero(Timescale::VIDEO),
            last_pts: None,
            newest: None,
            picture_ticks_max: config.picture_ticks_max() * FILL_PERCENT / 100,
            odd: false,
            idr_owed: false,
            resting: false,
            not_before,
        };
        ladder.connect_scalers()?;
        Ok((ladder, tracks))
    }

    /// Gives every rung a scaler from the nearest larger one.
    fn connect_scalers(&mut self) -> Result<(), Error> {
        let Pictures { size, decoded, format } = self.pictures;
        let mut above = (decoded, size.0, size.1);
        for active in &mut self.active {
            let own = (format.pixel, active.rung.width, active.rung.height);
            active.scaler = if own == above { None } else { Some(Scaler::new(above, own)?) };
            above = own;
        }
        Ok(())
    }

    /// Presentation time of the newest picture sent to the encoders.
    pub(super) const fn last_pts(&self) -> Option<i64> {
        self.last_pts
    }

    /// Whether all rungs were shed: then nothing is decoded.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether all rungs were shed, and none comes back.
    pub(super) fn is_over(&self) -> bool {
        self.active.is_empty() && self.away.is_empty()
    }

    /// Decodes a packet and sends what comes out to the encoders.
    pub(super) fn packet(&mut self, packet: &VideoPacket, idr: bool) -> Result<(), BreakReason> {
        self.at = packet.dts;
        if self.is_idle() {
            if self.config.pace == Pace::Live {
                self.keep_up(packet.dts);
            }
            if !(idr && self.has_room) {
                return Ok(());
            }
            // Pictures that the decoder still holds from before it rested are not shown.
            self.not_before = self.last_pts.take().unwrap_or(self.not_before).max(ticks(packet.pts).saturating_sub(1));
            self.newest = None;
            self.bring_back();
        }
        if idr {
            self.placer.source_idr(ticks(packet.pts));
            self.resting = false;
        }
        if self.resting {
            count(&self.shared.frames_skipped);
            return Ok(());
        }
        let mut frames = Vec::new();
        self.decoder.push(packet, idr, &self.shared, &mut |frame| frames.push(frame));
        frames.into_iter().try_for_each(|frame| self.picture(frame))?;
        if self.config.pace == Pace::Live {
            self.keep_up(packet.dts);
        }
        Ok(())
    }

    /// Places a decoded picture and sends it to all rungs.
    pub(super) fn picture(&mut self, frame: frame::Video) -> Result<(), BreakReason> {
        if (frame.width(), frame.height()) != self.pictures.size || frame.format() != self.pictures.decoded {
            return Err(BreakReason::VideoFormat);
        }
        let Some(pts) = frame.pts().or_else(|| frame.timestamp()) else {
            count(&self.shared.frames_skipped);
            return Ok(());
        };
        if pts <= self.last_pts.unwrap_or(self.not_before) {
            // The picture was shown in the run before, or its time does not rise.
            count(&self.shared.frames_skipped);
            return Ok(());
        }
        self.fill(pts);
        self.newest = super::ffi::reference(&frame).ok();
        self.place(frame, pts);
        Ok(())
    }

    /// Repeats the newest picture while the source pauses for longer than a picture may last, because parts cannot be longer.
    fn fill(&mut self, until: i64) {
        let Some(last) = self.last_pts.filter(|last| until.saturating_sub(*last) > self.picture_ticks_max) else {
            return;
        };
        let step = (self.picture_ticks_max / REPEATS_PER_PART).max(1);
        let repeats = (1..=REPEATS_MAX).map(|n| last.saturating_add(n.saturating_mul(step)));
        for pts in repeats.take_while(|pts| pts.saturating_add(step / 2) < until) {
            let Some(again) = self.newest.as_ref().and_then(|newest| super::ffi::reference(newest).ok()) else {
                return;
            };
            self.place(again, pts);
        }
    }

    fn place(&mut self, mut frame: frame::Video, pts: i64) {
        let placement = self.placer.place(pts, self.last_pts);
        self.last_pts = Some(pts);
        if self.has_room && placement == Placement::Idr {
            self.bring_back();
        }
        frame.set_pts(Some(pts));
        match placement {
            Placement::Free => self.send(frame, false),
            Placement::Idr => self.send(frame, true),
            Placement::Stand(at) => {
                if let Ok(mut stand_in) = super::ffi::reference(&frame) {
                    stand_in.set_pts(Some(at));
                    self.send(stand_in, true);
                }
                self.send(frame, false);
            }
        }
    }

    fn send(&mut self, mut frame: frame::Video, idr: bool) {
        let idr = idr || std::mem::take(&mut self.idr_owed);
        let pts = frame.pts().unwrap_or_default();
        let idr = self.extra.as_mut().map_or(idr, |extra| extra.place(pts, idr));
        // The picture type of the source must not matter to the encoder.
        frame.set_kind(if idr { picture::Type::I } else { picture::Type::None });
        self.odd = !idr && !self.odd;
        let mut above = Arc::new(frame);
        let mut stuck = Vec::new();
        for active in &mut self.active {
            if active.rung.cadence == Cadence::Half && self.odd {
                continue;
            }
            let own = match &mut active.scaler {
                None => Ok(above),
                Some(scaler) => scaler.scale(&above),
            };
            let Ok(own) = own else {
                // Only a lack of memory leads here. This rung and those below lose the picture.
                count(&self.shared.frames_skipped);
                self.idr_owed |= idr;
                break;
            };
            if let Err(refused) = enqueue(&active.thread, Arc::clone(&own), self.config.pace, &self.shared) {
                stuck.push((active.rung.rendition.clone(), refusal_reason(&refused)));
            }
            above = own;
        }
        for (rendition, reason) in stuck {
            self.stuck(&rendition, reason, idr);
        }
    }

    /// Handles a rung that did not take a picture: its stream has a hole, and an IDR may be in the hole.
    fn stuck(&mut self, rendition: &RenditionId, reason: ShedReason, idr: bool) {
        if reason == ShedReason::EncoderFailed || self.may_shed() {
            // The rung that is stuck goes. Costs only matter when the whole ladder is behind.
            self.shed(rendition, reason);
        } else {
            count(&self.shared.frames_skipped);
            self.idr_owed |= idr;
        }
    }

    fn may_shed(&self) -> bool {
        self.active.len() > 1 || (self.others == Others::PassedThrough && !self.active.is_empty())
    }

    /// Sheds a rung, or rests until the next IDR, when the whole ladder is behind live.
    fn keep_up(&mut self, at: Timestamp) {
        let newest = Timestamp::new(self.shared.newest_dts(), Timescale::VIDEO);
        let is_busy = self.active.iter().any(Active::is_busy);
        self.has_room = !self.away.is_empty() && self.room.observe(at, newest, is_busy);
        if !self.lag.observe(at, newest) || self.is_idle() {
            return;
        }
        self.lag.shed(at);
        if !self.may_shed() {
            self.resting = true;
            self.idr_owed = true;
            return;
        }
        let loads = self.active.iter().map(|active| Load { cost: active.rung.pixel_rate(), waiting: active.is_busy() });
        let victim = victim(&loads.collect::<Vec<_>>(), self.others);
        let victim = victim.and_then(|index| self.active.get(index)).map(|active| active.rung.rendition.clone());
        if let Some(rendition) = victim {
            self.shed(&rendition, ShedReason::BehindLive);
        }
    }

    /// Sheds a rung. Returns when its last sample is out. Ignores unknown rungs.
    pub(super) fn shed(&mut self, rendition: &RenditionId, reason: ShedReason) {
        let Some(index) = self.active.iter().position(|active| active.rung.rendition == *rendition) else { return };
        let Active { rung, track, thread, .. } = self.active.remove(index);
        let failure = thread.give_up();
        count(&self.shared.rungs_shed);
        self.room.shed(self.at);
        self.has_room = false;
        if reason != ShedReason::EncoderFailed {
            self.away.push(Away { rung, track });
        }
        tracing::warn!(%rendition, %reason, failure, "rung shed");
        if self.output.send(Output::Shed { rendition: rendition.clone(), reason }).is_err() {
            self.shared.abort();
        }
        // The rung below now scales from a larger one. While there is no memory for that, the smallest rung is shed, too.
        while let Err(error) = self.connect_scalers() {
            let Some(below) = self.active.pop() else { return };
            tracing::warn!(rendition = %below.rung.rendition, %error, "rung shed");
            below.thread.give_up();
            let output = Output::Shed { rendition: below.rung.rendition, reason: ShedReason::EncoderFailed };
            if self.output.send(output).is_err() {
                self.shared.abort();
            }
        }
    }

    /// Restores the cheapest rung that is away, from the next picture on, which is an IDR. If that fails, it stays away for the whole run.
    fn bring_back(&mut self) {
        self.has_room = false;
        self.room.came_back(self.at);
        let costs = self.away.iter().map(|away| away.rung.pixel_rate()).enumerate();
        let Some((index, _)) = costs.min_by_key(|(_, cost)| *cost) else { return };
        let Away { rung, track } = self.away.remove(index);
        let rendition = rung.rendition.clone();
        let thread = Encoder::open(&rung, &self.pictures.format, &self.config).and_then(|encoder| {
            if *encoder.track() != track {
                return Err(Error::Thread("the encoder's parameter sets are others now".to_owned()));
            }
            EncoderThread::spawn(rendition.clone(), encoder, None, self.output.clone(), Arc::clone(&self.shared))
        });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => return tracing::warn!(%rendition, %error, "rung stays away"),
        };
        tracing::info!(%rendition, "rung is back");
        let place = self.active.iter().take_while(|active| active.rung.width > rung.width).count();
        self.active.insert(place, Active { rung, track, scaler: None, thread });
        if self.output.send(Output::Restored { rendition: rendition.clone() }).is_err() {
            self.shared.abort();
        }
        if let Err(error) = self.connect_scalers() {
            tracing::warn!(%rendition, %error, "rung stays away");
            self.shed(&rendition, ShedReason::EncoderFailed);
        }
    }

    /// As [`EncodeLadder::shed`], on request: the last rendition of a run stays.
    pub(super) fn shed_requested(&mut self, rendition: &RenditionId) {
        if self.may_shed() {
            self.shed(rendition, ShedReason::Requested);
        }
    }

    /// Drains the decoder and all encoders.
    pub(super) fn finish(mut self) {
        let mut frames = Vec::new();
        self.decoder.finish(&self.shared, &mut |frame| frames.push(frame));
        // A picture of another format at the very end is dropped.
        let _ = frames.into_iter().try_for_each(|frame| self.picture(frame));
        self.into_decoder();
    }

    /// Drains all encoders and returns the decoder for the next run.
    pub(super) fn into_decoder(self) -> Decoder {
        for active in self.active {
            if let Some(error) = active.thread.finish() {
                tracing::warn!(rendition = %active.rung.rendition, error, "encoder failed at the end");
            }
        }
        self.decoder
    }
}

fn enqueue(
    thread: &EncoderThread,
    mut picture: Arc<frame::Video>,
    pace: Pace,
    shared: &PipelineState,
) -> Result<(), Refused<Arc<frame::Video>>> {
    loop {
        match thread.queue.send(picture, ENQUEUE_WAIT_MAX) {
            Err(Refused::Full(back)) if pace == Pace::Wait && !shared.aborted() => picture = back,
            other => return other,
        }
    }
}

/// What the choice of a victim knows of a rung.
#[derive(Debug, Clone, Copy)]
struct Load {
    cost: u64,
    /// Its queue is at least half full.
    waiting: bool,
}

/// Chooses the rung to shed when the ladder is behind live, of rungs from the largest down. It is the most expensive one, because that
/// frees most. If queues are filling, only their rungs count, because those are slow. The top is spared if it is what the publisher
/// sent ([`Others::None`]), unless it alone is slow.
fn victim(loads: &[Load], others: Others) -> Option<usize> {
    let any_waiting = loads.iter().any(|load| load.waiting);
    let top_spared = others == Others::None;
    let suspects = || loads.iter().enumerate().filter(|(_, load)| load.waiting || !any_waiting);
    let below_top = suspects().filter(|(index, _)| !(top_spared && *index == 0));
    below_top.max_by_key(|(_, load)| load.cost).or_else(|| suspects().next()).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(of: [(u64, bool); 3]) -> Vec<Load> {
        of.map(|(cost, waiting)| Load { cost, waiting }).to_vec()
    }

    #[test]
    fn most_expensive_rung_below_the_top_is_shed() {
        let all = loads([(62, true), (27, true), (7, true)]);
        assert_eq!(victim(&all, Others::None), Some(1));
        assert_eq!(victim(&all, Others::PassedThrough), Some(0), "the top is the source itself");
        let idle = loads([(62, false), (27, false), (7, false)]);
        assert_eq!(victim(&idle, Others::None), Some(1), "the decoder is slow: fewer scalers help");
    }

    #[test]
    fn slow_rung_is_shed_rather_than_an_expensive_one() {
        assert_eq!(victim(&loads([(62, false), (27, false), (7, true)]), Others::None), Some(2));
        assert_eq!(
            victim(&loads([(62, true), (27, false), (7, false)]), Others::None),
            Some(0),
            "the top alone is slow"
        );
        assert_eq!(victim(&[], Others::None), None);
    }
}
