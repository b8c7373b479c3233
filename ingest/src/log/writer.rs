//! Writes the epochs of a stream, one after the other: samples become rows, rows become signed seals. Pure but for the signature.
//!
//! Owns where an epoch begins, how its times join those of the epoch before, and the gaps between two epochs. Deliberately writes nothing
//! to the disk and sends nothing: the caller takes the [`Seal`]s.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use media::segmenter::{RenditionConfig, Row, Targets};
use media::{
    ClusterId, Epoch, LogSequence, MediaSequence, Now, PartIndex, RenditionId, Sample, Segmenter, SessionId, StreamId,
    Timescale, Timestamp, Track, TrackConfig, UnixMillis, avc,
};
use seal::{SealBody, Sealed};

use super::epoch_log::{Entry, EpochIdentity, EpochLog, Image};
use super::heads::Found;
use super::outage::{Outage, Stand};
use super::position::LogPosition;
use crate::pipeline::thumbnail::Thumbnails;
use crate::push::{LogPlace, RING_ENTRIES_MAX, RingEntry};

/// Own positions that are kept to build on if the newest is not acknowledged: as many as the ring has entries.
const POSITIONS_MAX: usize = RING_ENTRIES_MAX;
/// Renditions whose measured bandwidth is kept: two ladders of the greatest length.
const MEASURED_MAX: usize = 20;
/// Rows whose lag is kept. Their median counts, because rows that come at once when a run begins or drains say nothing about the lag.
const LAGS_KEPT: usize = 8;
/// Gaps are not held back longer than this, whatever the lag was.
const LAG_KEPT_MAX: Duration = Duration::from_secs(4);

/// Identifies a thumbnail of a stream.
pub(crate) type ThumbnailKey = (Epoch, MediaSequence, RenditionId);

/// Signs the body of a seal with the key that this node has been granted.
pub(crate) type Sign = Arc<dyn Fn(&SealBody) -> Result<Sealed, seal::Error> + Send + Sync>;

/// A seal that has to go out.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) entry: RingEntry,
    /// The seal has to be on the disk before the next one that has to be goes out. It opens a segment, or it is the end of the stream. So
    /// an epoch that builds on the kept seal, because no node knows the log any more, begins with a media sequence number that was never
    /// shown; when the process dies while the disk writes, with that of the last segment.
    pub(crate) is_kept: bool,
    /// What the seal's row says; `None` for the end of the stream.
    pub(crate) row: Option<SealedRow>,
}

/// A row that was sealed.
#[derive(Debug)]
pub(crate) struct SealedRow {
    /// The renditions with their measured bandwidths, where the row states them.
    pub(crate) tracks: Vec<Track>,
    /// How long after the end of the row, by the wall clock, it was sealed.
    pub(crate) lag: Duration,
    /// The row has no media: the publisher is away.
    pub(crate) is_gap: bool,
}

/// What is known of the log at the moment an epoch opens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground {
    /// What the nodes and the disk said; the default where nobody was asked since the epoch before.
    pub(crate) found: Found,
    /// Rank of this ingest among all, and their number.
    pub(crate) rank: (u64, u64),
    /// A broadcast node is there.
    pub(crate) has_nodes: bool,
    /// Every seal of ours that no node has acknowledged is still being pushed.
    pub(crate) will_deliver: bool,
    /// Newest seal of ours whose bytes a node has.
    pub(crate) acknowledged: Option<LogPlace>,
    /// Identifies the session that begins; random.
    pub(crate) session: SessionId,
}

/// An epoch that is to begin.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) ground: Ground,
    pub(crate) epoch: Epoch,
    pub(crate) renditions: Vec<RenditionConfig>,
    /// Wall clock of the publisher's time zero.
    pub(crate) origin: UnixMillis,
    /// Presentation time of the first sample.
    pub(crate) first: Timestamp,
    /// Wall clock of the first media, up to which gaps are sealed; `None` when the media may have begun earlier.
    pub(crate) media_from: Option<UnixMillis>,
}

/// An epoch that takes samples.
#[derive(Debug)]
struct Open {
    log: EpochLog,
    segmenter: Segmenter,
    /// The renditions of video, from the smallest up.
    pictures: Vec<(RenditionId, Arc<avc::DecoderConfig>)>,
    progress: Option<Progress>,
}

/// How far an epoch has come, for an outage to continue.
#[derive(Debug)]
struct Progress {
    tracks: Vec<Track>,
    end: Timestamp,
    segment_start: Timestamp,
    next: (MediaSequence, PartIndex),
    /// How long after their media time the newest rows were sealed, the newest last.
    lags: VecDeque<Duration>,
}

#[derive(Debug)]
enum State {
    /// No epoch was opened yet, or the stream was left to another ingest.
    Absent,
    Open(Box<Open>),
    /// The media of the epoch has ended. Gaps continue it, if it had media.
    Over {
        log: Box<EpochLog>,
        outage: Option<Outage>,
    },
}

/// Writes the log of one stream.
pub(crate) struct Writer {
    cluster: ClusterId,
    stream: StreamId,
    targets: Targets,
    sign: Sign,
    thumbnails: Option<Thumbnails<ThumbnailKey>>,
    state: State,
    /// Our newest epoch.
    ours: Option<(Epoch, SessionId)>,
    /// Added to this publisher's times, to place them on the log's timeline.
    shift: Timestamp,
    /// Newest last.
    positions: VecDeque<LogPosition>,
    /// The newest of our seals that a node refused.
    refused: Option<LogPlace>,
    /// Where the media of the newest epoch that is over ended, without gaps.
    media_end: Option<Timestamp>,
    /// Bandwidths measured for the stream's sources, the newest last, so that another epoch of the same source states no less.
    measured: VecDeque<RenditionConfig>,
    /// Seals that nobody has taken yet.
    seals: Vec<Seal>,
}

impl Writer {
    /// The writer of a stream of which nothing is known.
    pub(crate) const fn new(
        cluster: ClusterId,
        stream: StreamId,
        targets: Targets,
        sign: Sign,
        thumbnails: Option<Thumbnails<ThumbnailKey>>,
    ) -> Self {
        Self {
            cluster,
            stream,
            targets,
            sign,
            thumbnails,
            state: State::Absent,
            ours: None,
            shift: Timestamp::zero(Timescale::VIDEO),
            positions: VecDeque::new(),
            refused: None,
            media_end: None,
            measured: VecDeque::new(),
            seals: Vec::new(),
        }
    }

    /// The seals that were made since the last call, in the order of the log.
    pub(crate) fn take_seals(&mut self) -> Vec<Seal> {
        std::mem::take(&mut self.seals)
    }

    /// The newest epoch and its session; `None` before the first, and after the stream was left to another ingest.
    pub(crate) fn session(&self) -> Option<(Epoch, SessionId)> {
        self.ours.filter(|_| !matches!(self.state, State::Absent))
    }

    /// Where the media of the last epoch ended and the next publisher continues; `None` before any.
    pub(crate) const fn media_end(&self) -> Option<Timestamp> {
        self.media_end
    }

    /// A publisher begins, or the log of another ingest is continued: times are no longer moved as those of the epoch before.
    pub(crate) const fn begin_anew(&mut self) {
        self.shift = Timestamp::zero(Timescale::VIDEO);
    }

    /// The number of the epoch that can be opened on this ground. It has to be on the disk before [`Self::open`].
    pub(crate) fn next_epoch(&self, ground: &Ground) -> Epoch {
        let ours = self.ours.map(|(epoch, _)| epoch.next());
        let (mine, among) = ground.rank;
        own_epoch(ours.into_iter().fold(ground.found.next_epoch(), Ord::max), mine, among)
    }

    /// Begins an epoch that builds on the newest position whose bytes some node has or will have. Before that, seals gaps up to the first
    /// media, if its time is known. Returns the renditions as the epoch states them.
    pub(crate) fn open(&mut self, opening: Opening, now: Now) -> Result<Vec<Track>> {
        let Opening { ground, epoch, renditions, origin, first, media_from } = opening;
        self.end_outage(media_from, now);
        let base = match self.own_base(&ground) {
            Some(own) => ground.found.admitted.filter(|admitted| admitted.place() > own.place()).or(Some(own)),
            None => ground.found.base(),
        };
        let ours = self.ours.map(|(epoch, _)| epoch);
        // After our own epoch, times continue as they are. After another ingest's, the first sample is moved to where that one stopped.
        let resume = base.filter(|base| Some(base.epoch) != ours).and_then(|base| base.decoded);
        if let Some(resume) = resume {
            self.shift = resume.minus(first).rescale(Timescale::VIDEO);
        }
        let origin = UnixMillis(origin.0.saturating_sub(self.shift.rescale(Timescale::MILLIS).ticks));
        let (session, stream) = (ground.session, self.stream.clone());
        let identity = EpochIdentity { cluster: self.cluster.clone(), stream, session, epoch, origin };
        let tracks: Vec<_> = renditions.iter().map(|config| (config.rendition.clone(), config.track.clone())).collect();
        let log = EpochLog::new(identity, base.as_ref(), &tracks)?;
        let names: Vec<_> = tracks.iter().map(|(rendition, _)| rendition.to_string()).collect();
        tracing::info!(%epoch, %session, first_msn = %log.next_msn(), renditions = names.join(" "), "epoch begins");
        let mut segmenter = Segmenter::new(self.targets, log.next_msn(), renditions)?;
        self.measured.iter().for_each(|before| segmenter.resume_measurement(before));
        let stated = segmenter.tracks();
        self.state = State::Open(Box::new(Open { log, segmenter, pictures: pictures(&tracks), progress: None }));
        self.ours = Some((epoch, session));
        Ok(stated)
    }

    /// The newest of our own seals, as long as its bytes still reach the nodes, however slowly: seals that the next epoch left out
    /// would be void and pushed in vain. Else the newest whose bytes some node has. Without any node, the newest of all.
    fn own_base(&self, ground: &Ground) -> Option<LogPosition> {
        let newest = *self.positions.back()?;
        if !ground.has_nodes || ground.will_deliver {
            return Some(newest);
        }
        let place = ground.acknowledged?;
        self.positions.iter().rev().find(|position| position.place() <= place).copied().or(Some(newest))
    }

    /// Takes a sample; seals the rows that it completes. `false` when the sample was left out because of its times.
    pub(crate) fn sample(&mut self, rendition: &RenditionId, mut sample: Sample, now: Now) -> Result<bool> {
        let State::Open(open) = &mut self.state else { return Ok(true) };
        let shift = self.shift.rescale(sample.dts.timescale);
        (sample.pts, sample.dts) = (sample.pts.plus(shift), sample.dts.plus(shift));
        let is_taken = match open.segmenter.push(rendition, sample) {
            Ok(()) => true,
            Err(error @ media::Error::Timing { .. }) => {
                tracing::debug!(%error, "sample left out");
                false
            }
            Err(error) => return Err(error.into()),
        };
        self.rows(now)?;
        Ok(is_taken)
    }

    /// A rendition that delays the others.
    pub(crate) fn lagging(&self) -> Option<RenditionId> {
        let State::Open(open) = &self.state else { return None };
        open.segmenter.lagging().map(|lag| lag.rendition)
    }

    /// Sheds a rendition: it has gaps from here on.
    pub(crate) fn shed(&mut self, rendition: &RenditionId, now: Now) -> Result<()> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        open.segmenter.shed(rendition);
        self.rows(now)
    }

    /// Restores a rendition that was shed.
    pub(crate) fn restore(&mut self, rendition: &RenditionId) {
        if let State::Open(open) = &mut self.state {
            open.segmenter.restore(rendition);
        }
    }

    fn rows(&mut self, now: Now) -> Result<()> {
        while let State::Open(open) = &mut self.state
            && let Some(row) = open.segmenter.next_row()?
        {
            self.seal_row(row, now)?;
        }
        Ok(())
    }

    /// Seals what is left of the epoch; from then on gaps are due. Does nothing when no epoch is open.
    pub(crate) fn close(&mut self, now: Now) {
        let State::Open(open) = &mut self.state else { return };
        let sealed = open
            .segmenter
            .finish()
            .map_err(anyhow::Error::from)
            .and_then(|rows| rows.into_iter().try_for_each(|row| self.seal_row(row, now)));
        if let Err(error) = sealed {
            tracing::warn!(error = format!("{error:#}"), "last rows of the epoch are lost");
        }
        let State::Open(open) = std::mem::replace(&mut self.state, State::Absent) else { return };
        let Open { log, segmenter, progress, .. } = *open;
        self.keep_measured(&segmenter);
        let outage = progress.filter(|_| log.has_started()).map(|progress| self.begin_outage(&log, progress, now));
        self.state = State::Over { log: Box::new(log), outage };
    }

    /// Keeps the measured bandwidths for the next epoch of the same source.
    fn keep_measured(&mut self, segmenter: &Segmenter) {
        for measured in segmenter.measured() {
            let is_same =
                |before: &RenditionConfig| before.rendition == measured.rendition && before.track == measured.track;
            self.measured.retain(|before| !is_same(before));
            if self.measured.len() >= MEASURED_MAX {
                self.measured.pop_front();
            }
            self.measured.push_back(measured);
        }
    }

    /// Leaves the stream to another ingest: the open epoch stays as it is, and nothing more is sealed.
    pub(crate) fn abandon(&mut self) {
        self.state = State::Absent;
        self.positions.clear();
    }

    fn begin_outage(&mut self, log: &EpochLog, progress: Progress, now: Now) -> Outage {
        let Progress { tracks, end, segment_start, next: (msn, part), lags } = progress;
        self.media_end = Some(end);
        let lag = median(lags).min(LAG_KEPT_MAX);
        Outage::new(Stand { tracks, origin: log.origin(), end, segment_start, msn, part, lag }, self.targets, now)
    }

    /// Whether an epoch of ours has ended and no other has taken its place, here or elsewhere.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.state, State::Over { outage: Some(_), .. }) && !self.is_superseded()
    }

    /// When [`Self::gaps`] has something to do; `None` without an outage, or once a node has refused our seal.
    pub(crate) fn next_gap(&self, quiet_until: Option<Duration>) -> Option<Duration> {
        let State::Over { outage: Some(outage), .. } = &self.state else { return None };
        (!self.is_superseded()).then(|| outage.next_deadline(quiet_until))
    }

    /// Seals the gaps that are due.
    pub(crate) fn gaps(&mut self, quiet_until: Option<Duration>, now: Now) {
        while !self.is_superseded()
            && let State::Over { outage: Some(outage), .. } = &mut self.state
            && let Some(row) = outage.row(now.elapsed, quiet_until)
        {
            self.gap(row, now);
        }
    }

    fn end_outage(&mut self, media_from: Option<UnixMillis>, now: Now) {
        let State::Over { outage, .. } = &mut self.state else { return };
        let Some(outage) = outage.take().filter(|_| !self.is_superseded()) else { return };
        for row in outage.last_rows(media_from) {
            self.gap(row, now);
        }
    }

    fn gap(&mut self, row: Row, now: Now) {
        if let Err(error) = self.seal_row(row, now) {
            tracing::error!(error = format!("{error:#}"), "gap cannot be sealed");
            if let State::Over { outage, .. } = &mut self.state {
                *outage = None;
            }
        }
    }

    /// A node refused our seal at this place, because it has no place in the log.
    pub(crate) const fn refused(&mut self, place: LogPlace) {
        self.refused = Some(place);
    }

    /// Whether a node refused our newest seal: another ingest continues the stream.
    pub(crate) fn is_superseded(&self) -> bool {
        self.refused.zip(self.positions.back()).is_some_and(|(refused, newest)| refused >= newest.place())
    }

    /// The place of our newest seal.
    pub(crate) fn newest(&self) -> Option<LogPlace> {
        self.positions.back().map(LogPosition::place)
    }

    /// Seals the end of the stream.
    pub(crate) fn end(&mut self, now: Now) {
        if self.is_superseded() {
            return;
        }
        let State::Over { log, outage } = &mut self.state else { return };
        *outage = None;
        let entry = log.end(now.wall);
        if let Err(error) = self.seal(entry, true, None) {
            tracing::error!(error = format!("{error:#}"), "end of the stream cannot be sealed");
        }
    }

    fn seal_row(&mut self, row: Row, now: Now) -> Result<()> {
        let (opens_segment, tracks) = (row.part == PartIndex(0), row.tracks.clone());
        let image = self.image(&row, now);
        let (log, progress) = match &mut self.state {
            State::Absent => return Ok(()),
            State::Open(open) => (&mut open.log, Some(&mut open.progress)),
            State::Over { log, .. } => (log.as_mut(), None),
        };
        let is_gap = progress.is_none();
        let lag = now.wall.since(log.origin().plus(row.end.as_duration()));
        if let Some(progress) = progress {
            progress.get_or_insert_with(|| Progress::at(&row)).take(&row, lag);
        }
        let entry = log.row(row, image, now.wall);
        self.seal(entry, opens_segment, Some(SealedRow { tracks, lag, is_gap }))
    }

    /// Asks for a thumbnail of the first picture of a segment, if one is due, and takes a finished one. Never waits.
    fn image(&self, row: &Row, now: Now) -> Option<Image> {
        let (thumbnails, (epoch, _)) = (self.thumbnails.as_ref()?, self.ours?);
        let State::Open(open) = &self.state else { return None };
        if row.part == PartIndex(0) {
            // The smallest rendition that has the picture, because it costs least to decode.
            let found = open.pictures.iter().find_map(|(rendition, avc)| {
                let part = row.objects.iter().find(|object| object.rendition == *rendition && !object.gap)?;
                Some((rendition, avc, part.sync_sample()?))
            });
            if let Some((rendition, avc, idr)) = found {
                thumbnails.ask(now.elapsed, (epoch, row.msn, rendition.clone()), avc, idr);
            }
        }
        if !row.completes_segment {
            return None;
        }
        open.pictures.iter().find_map(|(rendition, _)| {
            let bytes = thumbnails.take(&(epoch, row.msn, rendition.clone()))?;
            Some(Image { rendition: rendition.clone(), bytes })
        })
    }

    /// Signs an entry and puts it with the seals that have to go out.
    fn seal(&mut self, entry: Entry, is_kept: bool, row: Option<SealedRow>) -> Result<()> {
        let Entry { body, objects } = entry;
        let sealed = (self.sign)(&body).context("seal cannot be signed")?;
        match &mut self.state {
            State::Absent => return Ok(()),
            State::Open(open) => open.log.sealed(&sealed),
            State::Over { log, .. } => log.sealed(&sealed),
        }
        if self.positions.len() >= POSITIONS_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back(LogPosition::after(&sealed));
        tracing::debug!(sequence = %body.sequence, next_msn = %body.next_msn, objects = body.objects.len(), "sealed");
        let entry = RingEntry { epoch: body.epoch, sequence: body.sequence, seal: sealed.raw().clone(), objects };
        self.seals.push(Seal { entry, is_kept, row });
        Ok(())
    }
}

impl Seal {
    pub(crate) const fn sequence(&self) -> LogSequence {
        self.entry.sequence
    }
}

impl Progress {
    /// Before the first row.
    fn at(row: &Row) -> Self {
        Self {
            tracks: Vec::new(),
            end: row.end,
            segment_start: row.start,
            next: (row.msn, row.part),
            lags: VecDeque::new(),
        }
    }

    fn take(&mut self, row: &Row, lag: Duration) {
        if !row.tracks.is_empty() {
            self.tracks.clone_from(&row.tracks);
        }
        if row.part == PartIndex(0) {
            self.segment_start = row.start;
        }
        self.end = row.end;
        self.next = if row.completes_segment {
            self.segment_start = row.end;
            (row.msn.next(), PartIndex(0))
        } else {
            (row.msn, row.part.next())
        };
        if self.lags.len() >= LAGS_KEPT {
            self.lags.pop_front();
        }
        self.lags.push_back(lag);
    }
}

/// The first epoch from `first` on that is ours: of `among` ingests, the one with rank `mine` takes every `among`-th epoch. So two ingests
/// that open an epoch at the same moment never open the same one, and nodes know which is newer.
fn own_epoch(first: Epoch, mine: u64, among: u64) -> Epoch {
    let among = among.max(1);
    let ahead = (mine % among + among - first.0 % among) % among;
    Epoch(first.0.saturating_add(ahead))
}

fn median(lags: VecDeque<Duration>) -> Duration {
    let mut lags = Vec::from(lags);
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied().unwrap_or_default()
}

/// The renditions of video, from the smallest up.
fn pictures(tracks: &[(RenditionId, TrackConfig)]) -> Vec<(RenditionId, Arc<avc::DecoderConfig>)> {
    let picture = |(rendition, track): &(RenditionId, TrackConfig)| match track {
        TrackConfig::Video { avc, .. } => Some((rendition.clone(), Arc::new(avc.clone()))),
        TrackConfig::Audio { .. } => None,
    };
    let mut pictures: Vec<_> = tracks.iter().filter_map(picture).collect();
    pictures.sort_by_key(|(_, avc)| u64::from(avc.width()) * u64::from(avc.height()));
    pictures
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ingests_never_take_the_same_epoch(first in 0_u64..1_000, other in 0_u64..1_000, among in 1_u64..8, mine in 0_u64..8) {
            let mine = mine % among;
            let epoch = own_epoch(Epoch(first), mine, among);
            prop_assert!(epoch.0 >= first && epoch.0 < first + among);
            for next in (0..among).filter(|next| *next != mine) {
                prop_assert_ne!(own_epoch(Epoch(other), next, among), epoch);
            }
        }
    }
}
