//! The words of the state machine: its inputs and outputs, who publishes, and where the samples go.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use media::segmenter::RenditionConfig;
use media::{Epoch, RenditionId, Sample, Timestamp, UnixMillis, aac};
use messages::{AlertReason, SessionInfo, SessionState};

use crate::intake::access_unit_feed::Flow;
use crate::intake::publication::Ending;
use crate::log::heads::Ask;
use crate::log::writer::{Ground, Seal};
use crate::pipeline;
use crate::push::LogPlace;
use crate::standby::backlog::Backlog;
use crate::standby::turn::Duty;

/// How long gaps wait for the first sample of a publisher's next run. Most runs follow each other within a few pictures.
const NEXT_RUN_MAX: Duration = Duration::from_secs(1);

/// Breaks of a source's clock that are kept until their samples come.
const FLOWS_MAX: usize = 8;

/// What happens.
#[derive(Debug)]
pub(super) enum Input {
    /// A deadline is over.
    Tick,
    /// A publisher was admitted and waits.
    Publisher,
    /// Answer to [`Output::Start`].
    Started(Result<(), pipeline::Error>),
    /// An output of the pipeline; `None` after the last one.
    Media(Option<pipeline::Output>),
    /// What is known of the publisher's media has changed.
    Flow(Flow),
    /// The publisher's connection has ended, or its media was refused.
    FeedEnded,
    /// Answer to [`Output::Ground`].
    Ground(Result<Box<Ground>>),
    /// Answer to [`Output::KeepEpoch`].
    EpochKept(Result<Epoch>),
    /// Whether this ingest seals the stream or stands by.
    Duty(Duty),
    /// A node refused our seal at this place.
    Refused(LogPlace),
    /// Whether there are other ingests.
    Peers(bool),
    /// Whether somebody publishes the stream, and when its grace ends.
    Attendance(SessionState, Option<Duration>),
    /// The slate that [`Output::PrepareSlate`] asked for can be shown.
    SlateReady,
    /// Answer to [`Output::Expire`].
    Expired(bool),
    /// Answer to [`Output::Forget`].
    Forgotten(bool),
    Shutdown,
}

/// What has to be done.
#[derive(Debug)]
pub(super) enum Output {
    /// Keep this seal on the disk, if it says so, and push it.
    Seal(Seal),
    /// Ask the nodes where the log stands, in place of what was asked before.
    Ask(Ask),
    /// Hand in [`Input::Ground`], once the nodes have answered.
    Ground,
    /// Write the epoch's number to the disk.
    KeepEpoch(Epoch),
    /// Start a pipeline for the publisher that waits, or for the slate that is ready. Its times begin at `after`.
    Start {
        source: Source,
        /// End of the media before.
        after: Option<Timestamp>,
    },
    /// Stop feeding the slate; its pipeline hands out what it has left.
    StopSlate,
    /// Drop the pipeline and what feeds it.
    Stop,
    /// Close the publisher's connection.
    Close(Ending, String),
    /// Have the pipeline shed a rung that delays the others.
    Shed(RenditionId),
    /// Have the pipeline encode what it passes through in this run.
    EncodeAnew(u64),
    /// Tell the other ingests that an epoch of ours has begun.
    Opened(Epoch),
    /// The nodes have a newer epoch of another ingest: stand by for it.
    Superseded,
    /// Announce the session on the bus from now on.
    Announce(SessionInfo),
    /// Announce nothing from now on.
    FallSilent,
    /// Warn the operators.
    Alert(AlertReason, String),
    /// Encode the slate after a wait, with silence if there was sound.
    PrepareSlate {
        /// How long the publisher has to be away first.
        wait: Duration,
        /// The sound that was published.
        sound: Option<aac::AudioSpecificConfig>,
    },
    /// Drop the slate that is being prepared or is ready.
    DropSlate,
    /// Say with [`Input::Expired`] whether the grace is over.
    Expire,
    /// Forget the stream, and say with [`Input::Forgotten`] whether that was possible.
    Forget,
    /// The session is over; there is no further output.
    Finish,
}

/// Who sends media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Publisher,
    /// A publisher of our own, which stands in for one that is away and gives way to any other at once.
    Slate,
}

/// Who publishes.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nobody. Gaps continue an epoch that had media.
    Away {
        /// Until when no gaps are sealed, because another ingest may continue the log.
        quiet_until: Option<Duration>,
    },
    /// The pipeline is being started.
    Starting(Source),
    /// A pipeline is at work.
    On(Box<Run>),
    /// The stream has ended, or the role shuts down.
    Over,
}

/// The pipeline of one publisher, or of the slate, from its start to its last sample.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) source: Source,
    pub(super) media: Media,
    /// What is known of the source's media, and where its origin was before its clock broke, oldest first. Samples are some seconds
    /// behind.
    flows: VecDeque<Flow>,
    /// Wall clock of the timeline's zero in the current run of the pipeline, from its first sample on.
    pub(super) origin: Option<UnixMillis>,
    /// When a run of the pipeline ended while the publisher continued.
    pub(super) broke_at: Option<Duration>,
    /// Runs of the pipeline that have begun.
    pub(super) number: u64,
    /// The pipeline still takes media.
    pub(super) has_input: bool,
    /// The source has ended; the pipeline has until then for its last samples.
    pub(super) drain_until: Option<Duration>,
    /// A publisher waits for the end of the slate.
    pub(super) is_publisher_waiting: bool,
}

/// Where samples go.
#[derive(Debug)]
pub(super) enum Media {
    /// Nowhere: no run of the pipeline has begun, or its epoch has ended early.
    Nowhere,
    /// A run has begun; its epoch opens with the first sample.
    Beginning,
    /// An epoch is being opened with these samples; no others are taken meanwhile.
    Opening(Box<FirstSamples>),
    Log,
    /// To the backlog, because another ingest seals the stream, or because the instant where this one continues has not come yet.
    Backlog(Backlog),
    /// To the backlog, while the nodes are asked where the log stands.
    TakingOver(Backlog),
}

/// What an epoch begins with.
#[derive(Debug)]
pub(super) struct FirstSamples {
    pub(super) ladder: Ladder,
    /// In decode order.
    pub(super) samples: Vec<(RenditionId, Sample)>,
    /// Wall clock of the first sample, where gaps end; `None` after another ingest's media, which may reach further.
    pub(super) media_from: Option<UnixMillis>,
    /// Once it is known.
    pub(super) ground: Option<Ground>,
}

/// The renditions of a run of the pipeline, and those of them that are shed.
#[derive(Debug, Clone, Default)]
pub(super) struct Ladder {
    pub(super) renditions: Vec<RenditionConfig>,
    pub(super) shed: Vec<RenditionId>,
}

impl Run {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            media: Media::Nowhere,
            flows: VecDeque::new(),
            origin: None,
            broke_at: None,
            number: 0,
            has_input: true,
            drain_until: None,
            is_publisher_waiting: false,
        }
    }

    /// Takes what is known now.
    pub(super) fn flow(&mut self, flow: Flow) {
        if self.flows.back().is_some_and(|newest| newest.origin == flow.origin) {
            self.flows.pop_back();
        } else if self.flows.len() >= FLOWS_MAX {
            self.flows.pop_front();
        }
        self.flows.push_back(flow);
    }

    /// Wall clock of the timeline's zero in the run that this sample belongs to.
    pub(super) fn origin_with(&mut self, sample: &Sample) -> UnixMillis {
        let holds = |flow: &&Flow| flow.from.is_none_or(|from| from <= sample.pts);
        let found = self.flows.iter().rev().find(holds).or(self.flows.front());
        *self.origin.get_or_insert_with(|| found.map_or(UnixMillis::default(), |flow| flow.origin))
    }

    /// Until when gaps wait for the next run of a publisher that keeps sending media. Gaps do not wait for a publisher that has just
    /// come: they go on until its first sample.
    pub(super) fn quiet_until(&self) -> Option<Duration> {
        let since = self.flows.back()?.since?;
        Some(self.broke_at.filter(|broke_at| *broke_at > since)?.saturating_add(NEXT_RUN_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_wait_for_a_run_that_starts_anew_and_for_nobody_else() {
        let at = Duration::from_secs;
        let mut run = Run::new(Source::Publisher);
        assert_eq!(run.quiet_until(), None, "connected, and silent");
        let flow = |since| Flow { since, ..Flow::default() };
        run.flow(flow(Some(at(10))));
        assert_eq!(run.quiet_until(), None, "its first sample is not there yet");
        run.broke_at = Some(at(60));
        assert_eq!(run.quiet_until(), Some(at(61)));
        run.flow(flow(None));
        assert_eq!(run.quiet_until(), None, "silent, so it broke");
    }

    #[test]
    fn samples_have_the_origin_of_before_the_break_that_they_came_before() {
        let ms = |ms: i64| Timestamp::new(ms * 90, media::Timescale::VIDEO);
        let flow = |origin, from: Option<i64>| Flow { origin: UnixMillis(origin), from: from.map(ms), since: None };
        let sample = |at| Sample { pts: ms(at), dts: ms(at), duration: ms(40), sync: true, data: bytes::Bytes::new() };
        let mut run = Run::new(Source::Publisher);
        run.flow(flow(5_000, None));
        run.flow(flow(9_000, Some(11_000)));
        assert_eq!(run.origin_with(&sample(10_000)), UnixMillis(5_000));
        assert_eq!(run.origin_with(&sample(11_500)), UnixMillis(5_000), "one run has one origin");
        run.origin = None;
        assert_eq!(run.origin_with(&sample(11_000)), UnixMillis(9_000));
        (0..20).for_each(|at| run.flow(flow(at, Some(20_000 + at))));
        assert_eq!(run.flows.len(), FLOWS_MAX);
    }
}
