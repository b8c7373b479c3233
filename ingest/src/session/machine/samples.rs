//! Where the media of a publisher or a slate goes: epochs that open and end, the backlog of an ingest that stands by, and its takeover.

use anyhow::{Context as _, Result};
use media::segmenter::RenditionConfig;
use media::{Now, RenditionId, Sample, Timescale, Timestamp, UnixMillis};
use messages::AlertReason;

use super::super::phase::{FirstSamples, Ladder, Media, Output, Phase, Source};
use super::StreamMachine;
use crate::authority::SessionOver;
use crate::intake::publication::Ending;
use crate::log::heads::{Ask, Unreliable};
use crate::log::writer::{Ground, Opening};
use crate::pipeline::{self, Output as Coded};
use crate::standby::backlog::{Backlog, Resumed};
use crate::standby::turn::Duty;

impl StreamMachine {
    /// Handles an output of the pipeline.
    pub(super) fn coded(&mut self, coded: Coded, now: Now) {
        let Phase::On(run) = &mut self.phase else { return };
        let is_ending_slate = run.source == Source::Slate && run.drain_until.is_some();
        match coded {
            Coded::Tracks(_) | Coded::Break(_) if is_ending_slate => self.end_run(now),
            Coded::Tracks(renditions) => self.tracks(renditions),
            Coded::Sample { rendition, sample } => self.coded_sample(rendition, sample, now),
            Coded::Shed { rendition, reason } => {
                let shed = self.shed(rendition, reason, now);
                self.check(shed, now);
            }
            Coded::Restored { rendition } => self.restore(&rendition),
            Coded::Break(reason) => {
                tracing::info!(%reason, "epoch ends");
                if run.source == Source::Publisher {
                    self.stats.broke(&reason);
                }
                (run.media, run.broke_at) = (Media::Nowhere, Some(now.elapsed));
                self.log.close(now);
            }
            Coded::Ended => self.end_run(now),
            Coded::Failed(error) => {
                tracing::warn!(%error, "pipeline failed");
                self.say(Output::Close(Ending::Media, format!("This cannot be encoded: {error}.")));
                self.end_run(now);
            }
        }
    }

    /// A run begins. Its epoch opens with the first sample; gaps are sealed until then.
    fn tracks(&mut self, renditions: Vec<RenditionConfig>) {
        let Phase::On(run) = &mut self.phase else { return };
        (run.number, run.origin) = (run.number.saturating_add(1), None);
        run.media = match self.duty {
            Duty::Active => Media::Beginning,
            Duty::Standby => Media::Backlog(Backlog::new(renditions.clone())),
        };
        if run.source == Source::Slate {
            tracing::info!("slate is shown");
            metrics::counter!("ingest_slates_total").increment(1);
            self.stats.slate(true);
        }
        self.ladder = Ladder { renditions, shed: Vec::new() };
    }

    fn coded_sample(&mut self, rendition: RenditionId, sample: Sample, now: Now) {
        let Phase::On(run) = &mut self.phase else { return };
        let origin = run.origin_with(&sample);
        match &mut run.media {
            Media::Beginning => {
                let media_from = Some(origin.plus(sample.pts.as_duration()));
                let ladder = self.ladder.clone();
                let samples = vec![(rendition, sample)];
                run.media = Media::Opening(Box::new(FirstSamples { ladder, samples, media_from, ground: None }));
                self.ask_for_base();
                self.say(Output::Ground);
            }
            Media::Backlog(backlog) => {
                if backlog.push(&rendition, sample) && self.duty == Duty::Active {
                    self.take_over();
                }
            }
            Media::TakingOver(backlog) => {
                backlog.push(&rendition, sample);
            }
            Media::Log => {
                let sealed = self.sample(&rendition, sample, now);
                self.check(sealed, now);
            }
            // Samples behind the end of an epoch; the pipeline breaks its run.
            Media::Nowhere | Media::Opening(_) => {}
        }
    }

    fn sample(&mut self, rendition: &RenditionId, sample: Sample, now: Now) -> Result<()> {
        let Phase::On(run) = &self.phase else { return Ok(()) };
        let (has_input, number) = (run.has_input, run.number);
        let pushed = self.log.sample(rendition, sample, now);
        if let Some(lagging) = self.log.lagging().filter(|_| has_input) {
            self.say(Output::Shed(lagging));
        }
        let error = match pushed {
            Ok(is_taken) => {
                if !is_taken {
                    self.stats.sample_refused();
                }
                return Ok(());
            }
            Err(error) => error,
        };
        match error.downcast_ref() {
            Some(media::Error::SyncSampleLate { .. } | media::Error::PartTooLong { .. }) if has_input => {
                // The source left out a keyframe or paused. We encode its next run, so we choose where segments end.
                tracing::warn!(error = format!("{error:#}"), "epoch ends: the source is encoded from here");
                self.log.close(now);
                self.media(Media::Nowhere);
                self.say(Output::EncodeAnew(number));
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn media(&mut self, media: Media) {
        if let Phase::On(run) = &mut self.phase {
            run.media = media;
        }
    }

    /// Ends the run after an error, and tells the publisher why.
    fn check(&mut self, outcome: Result<()>, now: Now) {
        let Err(error) = outcome else { return };
        if let Some(over) = error.downcast_ref::<SessionOver>() {
            tracing::warn!(%over, "publisher refused");
            self.say(Output::Close(Ending::Failed, format!("{over}.")));
        } else if error.is::<Unreliable>() {
            tracing::error!(error = format!("{error:#}"), "publisher refused: an epoch might be used twice");
            let words = "This ingest cannot tell where the log of this stream stands; its own log says why.";
            self.say(Output::Close(Ending::Failed, words.to_owned()));
        } else {
            tracing::warn!(error = format!("{error:#}"), "epoch cannot go on: the publisher has to connect again");
            self.say(Output::Close(Ending::Media, format!("This cannot be packaged: {error:#}.")));
        }
        self.end_run(now);
    }

    fn backlog(&mut self) -> Option<&mut Backlog> {
        match &mut self.phase {
            Phase::On(run) => match &mut run.media {
                Media::Backlog(backlog) | Media::TakingOver(backlog) => Some(backlog),
                Media::Nowhere | Media::Beginning | Media::Opening(_) | Media::Log => None,
            },
            Phase::Away { .. } | Phase::Starting(_) | Phase::Over => None,
        }
    }

    /// The pipeline has shed a rung.
    fn shed(&mut self, rendition: RenditionId, reason: pipeline::ShedReason, now: Now) -> Result<()> {
        self.stats.shed(&rendition, &reason.to_string());
        tracing::warn!(%rendition, %reason, "rung shed");
        metrics::counter!("ingest_rungs_shed_total").increment(1);
        let shed = self.log.shed(&rendition, now);
        if let Some(backlog) = self.backlog() {
            backlog.shed(&rendition);
        }
        self.say(Output::Alert(AlertReason::RungShed, format!("rung {rendition} shed: {reason}")));
        self.ladder.shed.push(rendition);
        self.announce(self.state_with_media());
        shed
    }

    /// The pipeline has restored a rung.
    fn restore(&mut self, rendition: &RenditionId) {
        metrics::counter!("ingest_rungs_restored_total").increment(1);
        self.stats.restored(rendition);
        self.log.restore(rendition);
        if let Some(backlog) = self.backlog() {
            backlog.restore(rendition);
        }
        self.ladder.shed.retain(|shed| shed != rendition);
        self.announce(self.state_with_media());
    }

    /// Asks the nodes again if our own log does not say what the epoch builds on. What they said when the publisher connected is seconds
    /// old: another ingest of which we have not heard may have sealed since. The fence keeps it from sealing more, which viewers would see
    /// and then lose. Where our own log says it, the other one may have continued that, if we slept.
    fn ask_for_base(&mut self) {
        match (self.log.newest(), self.has_peers) {
            (Some(_), false) => {}
            (Some(_), true) => self.ask(Ask::StillOurs),
            (None, true) => self.ask(Ask::Fence),
            (None, false) if self.is_asking => {}
            (None, false) => self.ask(Ask::Head),
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        self.is_asking = true;
        self.say(Output::Ask(ask));
    }

    /// The answer to [`Output::Ground`].
    pub(super) fn ground(&mut self, ground: Result<Box<Ground>>, now: Now) {
        self.is_asking = false;
        let Phase::On(run) = &mut self.phase else { return };
        let ground = match (ground, &run.media) {
            (Ok(ground), Media::Opening(_) | Media::TakingOver(_)) => ground,
            (Err(error), Media::Opening(_) | Media::TakingOver(_)) => return self.check(Err(error), now),
            (_, Media::Nowhere | Media::Beginning | Media::Log | Media::Backlog(_)) => return,
        };
        // An ingest that takes over has left its own log.
        let is_continued = |(ours, _)| ground.found.admitted.is_some_and(|admitted| admitted.epoch > ours);
        if self.log.newest().is_some_and(is_continued) {
            tracing::info!("another ingest has continued the log meanwhile");
            self.say(Output::Superseded);
            return self.turn(Duty::Standby, now);
        }
        if let Media::TakingOver(backlog) = &mut run.media {
            let backlog = std::mem::take(backlog);
            run.media = resume(backlog, run.origin.unwrap_or_default(), &ground);
        }
        if let Media::Opening(first) = &mut run.media {
            first.ground = Some(*ground);
            let epoch = self.log.next_epoch(&ground);
            self.say(Output::KeepEpoch(epoch));
        }
    }

    /// The answer to [`Output::KeepEpoch`]: the epoch's number is on the disk.
    pub(super) fn epoch_kept(&mut self, kept: Result<media::Epoch>, now: Now) {
        let opened = kept.context("the epoch's number cannot be kept").and_then(|epoch| self.open(epoch, now));
        self.check(opened, now);
    }

    fn open(&mut self, epoch: media::Epoch, now: Now) -> Result<()> {
        let Phase::On(run) = &mut self.phase else { return Ok(()) };
        let origin = run.origin.unwrap_or_default();
        let opening = match std::mem::replace(&mut run.media, Media::Log) {
            Media::Opening(opening) => opening,
            other => {
                run.media = other;
                return Ok(());
            }
        };
        let FirstSamples { ladder, samples, media_from, ground: Some(ground) } = *opening else { return Ok(()) };
        let first = samples.first().map_or(Timestamp::zero(Timescale::VIDEO), |(_, sample)| sample.pts);
        let Ladder { renditions, shed } = ladder;
        let tracks = self.log.open(Opening { ground, epoch, renditions, origin, first, media_from }, now)?;
        self.stats.epoch(epoch, &tracks);
        self.say(Output::Opened(epoch));
        self.announce(self.state_with_media());
        for rendition in &shed {
            self.log.shed(rendition, now)?;
        }
        samples.into_iter().try_for_each(|(rendition, sample)| self.sample(&rendition, sample, now))
    }

    /// Our duty has changed.
    pub(super) fn turn(&mut self, duty: Duty, now: Now) {
        self.duty = duty;
        match duty {
            Duty::Standby => {
                self.log.abandon();
                self.say(Output::FallSilent);
                let Phase::On(run) = &mut self.phase else { return };
                if run.source == Source::Slate {
                    return self.end_run(now);
                }
                let mut backlog = Backlog::new(self.ladder.renditions.clone());
                self.ladder.shed.iter().for_each(|rendition| backlog.shed(rendition));
                run.media = match std::mem::replace(&mut run.media, Media::Nowhere) {
                    Media::Nowhere => Media::Nowhere,
                    Media::Beginning | Media::Log => Media::Backlog(backlog),
                    Media::Opening(opening) => {
                        for (rendition, sample) in opening.samples {
                            backlog.push(&rendition, sample);
                        }
                        Media::Backlog(backlog)
                    }
                    Media::Backlog(backlog) | Media::TakingOver(backlog) => Media::Backlog(backlog),
                };
            }
            Duty::Active => self.take_over(),
        }
    }

    /// Continues the log where another ingest stopped, if there is a backlog. The nodes are asked at each try: an ingest that was taken for
    /// gone may have continued the log.
    fn take_over(&mut self) {
        let Phase::On(run) = &mut self.phase else { return };
        if let Media::Backlog(backlog) = &mut run.media {
            run.media = Media::TakingOver(std::mem::take(backlog));
            self.log.begin_anew();
            self.ask(Ask::Fence);
            self.say(Output::Ground);
        }
    }
}

/// Media from where the log stands, or the backlog again when that has not come yet.
fn resume(mut backlog: Backlog, origin: UnixMillis, ground: &Ground) -> Media {
    let reached = ground.found.base().and_then(|base| base.reached);
    let from = reached.map(|reached| Timestamp::new(reached.0.saturating_sub(origin.0), Timescale::MILLIS));
    match backlog.resume(from) {
        Some(Resumed { renditions, shed, samples }) => {
            let ladder = Ladder { renditions, shed };
            Media::Opening(Box::new(FirstSamples { ladder, samples, media_from: None, ground: None }))
        }
        None => Media::Backlog(backlog),
    }
}
