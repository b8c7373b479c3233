//! The encoded part of a run: one decoder, a cascade of scalers, an encoder thread per rung, and who is shed when they are too slow.

use std::sync::Arc;

use ffmpeg_next as ffmpeg;

use ffmpeg::format::Pixel;
use ffmpeg::{frame, picture};
use media::segmenter::RenditionConfig;
use media::{RenditionId, Timescale, Timestamp};

use super::decoder::Decoder;
use super::encoder::{Encoder, EncoderThread, PictureFormat, refusal_reason};
use super::idr::{IdrPlacer, Placement};
use super::lag::LagWatch;
use super::outputs::Sender;
use super::plan::{Cadence, Rung};
use super::queue::Refused;
use super::scaler::Scaler;
use super::shared::{Shared, count};
use super::{BreakReason, Config, ENQUEUE_WAIT_MAX, Error, Output, Pace, ShedReason, VideoPacket, ticks};

/// A picture is shown again when it would last longer than so much of what it may, in percent: a rung of half the frame rate has not got every
/// picture.
const FILL_PERCENT: i64 = 90;

/// How often a picture is shown again per part, where the source pauses.
const REPEATS_PER_PART: i64 = 4;

/// How often at most: half a minute of the shortest parts.
const REPEATS_MAX: i64 = 600;

/// A rung at work.
struct Active {
    rung: Rung,
    /// `None` when the picture above has its size and format already.
    scaler: Option<Scaler>,
    thread: EncoderThread,
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

    /// Width of a pixel by its height; 0 where it is not known.
    pub(super) const fn aspect(&self) -> ffmpeg::Rational {
        self.format.aspect
    }
}

/// The ladder of one run.
pub(super) struct EncodeLadder {
    pub(super) decoder: Decoder,
    pub(super) pictures: Pictures,
    pub(super) placer: IdrPlacer,
    active: Vec<Active>,
    others: Others,
    pace: Pace,
    output: Sender,
    shared: Arc<Shared>,
    lag: LagWatch,
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
    /// Opens all encoders and starts their threads; says what their renditions are.
    pub(super) fn start(
        parts: Parts<'_>,
        config: &Config,
        output: &Sender,
        shared: &Arc<Shared>,
    ) -> Result<(Self, Vec<RenditionConfig>), Error> {
        let Parts { decoder, pictures, placer, rungs, others, not_before } = parts;
        let mut tracks = Vec::new();
        let mut active = Vec::new();
        for rung in rungs {
            let encoder = Encoder::open(rung, &pictures.format, config)?;
            tracks.push(RenditionConfig {
                rendition: rung.rendition.clone(),
                track: encoder.track().clone(),
                bandwidth_peak: rung.bandwidth_peak(),
                bandwidth_mean: rung.bit_rate,
            });
            let handicap = config.handicap.as_ref().filter(|(name, _)| *name == rung.rendition.as_str());
            let thread = EncoderThread::spawn(
                rung.rendition.clone(),
                encoder,
                handicap.map(|(_, delay)| *delay),
                output.clone(),
                Arc::clone(shared),
            )?;
            active.push(Active { rung: rung.clone(), scaler: None, thread });
        }
        let mut ladder = Self {
            decoder,
            pictures,
            placer,
            active,
            others,
            pace: config.pace,
            output: output.clone(),
            shared: Arc::clone(shared),
            lag: LagWatch::default(),
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

    /// Whether all rungs were shed.
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Decodes a packet and sends what comes out to the encoders.
    pub(super) fn packet(&mut self, packet: &VideoPacket, idr: bool) -> Result<(), BreakReason> {
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
        if self.pace == Pace::Live {
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
            // Shown in the run before, or a time that does not rise.
            count(&self.shared.frames_skipped);
            return Ok(());
        }
        self.fill(pts);
        self.newest = super::ffi::reference(&frame).ok();
        self.place(frame, pts);
        Ok(())
    }

    /// Shows the newest picture again where the source pauses for longer than a picture may last: parts cannot be longer.
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
        // What the source's picture was must not matter to the encoder.
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
                // Out of memory is the one way here: the picture is lost to this rung and those below.
                count(&self.shared.frames_skipped);
                self.idr_owed |= idr;
                break;
            };
            if let Err(refused) = enqueue(&active.thread, Arc::clone(&own), self.pace, &self.shared) {
                stuck.push((active.rung.rendition.clone(), refusal_reason(&refused)));
            }
            above = own;
        }
        for (rendition, reason) in stuck {
            self.stuck(&rendition, reason, idr);
        }
    }

    /// A rung did not take a picture: without it, it has a hole, and an IDR may be in the hole.
    fn stuck(&mut self, rendition: &RenditionId, reason: ShedReason, idr: bool) {
        if reason == ShedReason::EncoderFailed || self.may_shed() {
            // The one that is stuck goes; the ladder's cost is looked at when the whole of it is behind.
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
        if !self.lag.observe(at, newest) {
            return;
        }
        self.lag.shed(at);
        if !self.may_shed() {
            self.resting = true;
            self.idr_owed = true;
            return;
        }
        let loads = self.active.iter().map(|active| Load {
            cost: active.rung.pixel_rate(),
            waiting: active.thread.queue.len() * 2 >= active.thread.queue.depth(),
        });
        let victim = victim(&loads.collect::<Vec<_>>(), self.others);
        let victim = victim.and_then(|index| self.active.get(index)).map(|active| active.rung.rendition.clone());
        if let Some(rendition) = victim {
            self.shed(&rendition, ShedReason::BehindLive);
        }
    }

    /// Gives a rung up. Returns when its last sample is out. Unknown ones are ignored.
    pub(super) fn shed(&mut self, rendition: &RenditionId, reason: ShedReason) {
        let Some(index) = self.active.iter().position(|active| active.rung.rendition == *rendition) else { return };
        let active = self.active.remove(index);
        let failure = active.thread.give_up();
        count(&self.shared.rungs_shed);
        tracing::warn!(%rendition, %reason, failure, "rung shed");
        if self.output.send(Output::Shed { rendition: rendition.clone(), reason }).is_err() {
            self.shared.abort();
        }
        // The one below now scales from further up. Without memory for that it goes too.
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
        // A picture of another format at the very end has nowhere to go.
        let _ = frames.into_iter().try_for_each(|frame| self.picture(frame));
        self.into_decoder();
    }

    /// Drains all encoders; the decoder goes on in the next run.
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
    shared: &Shared,
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

/// Which rung is shed when the ladder is behind live, of rungs from the largest down: the most expensive one, because that
/// frees most; of those whose queues are filling, if any are, because those are slow; and not the ladder's top, because it is what
/// the publisher sent, unless it alone is slow.
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
