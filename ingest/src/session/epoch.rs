//! Writes the epochs of a stream, one after the other: samples become rows, rows become seals, seals go to the nodes and the bus.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster::replicas::Placed;
use media::segmenter::{RenditionConfig, Row};
use media::{
    Epoch, MediaSequence, PartIndex, RenditionId, Sample, Segmenter, SessionId, StreamId, Timescale, Timestamp, Track,
    TrackConfig, UnixMillis, avc,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::hub::{Hub, ThumbnailKey};
use super::log::{Entry, EpochIdentity, EpochLog, Image};
use super::outage::{Outage, Stand};
use super::stats::StreamStats;
use super::turn::own_epoch;
use crate::heads::{Ask, Found};
use crate::log_position::LogPosition;
use crate::pipeline::thumbnail::{Thumbnailer, Thumbnails};
use crate::push::{LogPlace, Pusher, RING_ENTRIES_MAX, RingEntry};

/// How long shutdown waits until some node has the newest bytes, which are a few parts.
const FLUSH_WAIT: Duration = Duration::from_millis(500);
/// How long the end of a stream waits for the same. Nothing depends on this wait, and slow nodes may be a minute behind.
const END_WAIT: Duration = Duration::from_secs(60);
/// Own positions that are kept to build on if the newest is not acknowledged: as many as the ring has entries.
const POSITIONS_MAX: usize = RING_ENTRIES_MAX;

/// Renditions whose measured bandwidth is kept: two ladders of the greatest length.
const MEASURED_MAX: usize = 20;

/// Rows whose lag is kept. Their median counts, because rows that come at once when a run begins or drains say nothing about the lag.
const LAGS_KEPT: usize = 8;
/// Gaps are not held back longer than this, whatever the lag was.
const LAG_KEPT_MAX: Duration = Duration::from_secs(4);

/// Writes the log of one stream.
pub(super) struct Writer {
    hub: Arc<Hub>,
    stream: StreamId,
    stats: Arc<StreamStats>,
    pusher: Option<Pusher>,
    /// The question to the nodes where the log stands, from when the publisher connected.
    asking: Option<JoinHandle<Result<Found>>>,
    /// The nodes' answer, until an epoch is built on it.
    found: Option<Found>,
    /// Newest last.
    positions: VecDeque<LogPosition>,
    epoch: Option<(Epoch, SessionId)>,
    log: Option<EpochLog>,
    /// The renditions of video, from the smallest up.
    pictures: Vec<(RenditionId, Arc<avc::DecoderConfig>)>,
    thumbnails: Option<Thumbnails<ThumbnailKey>>,
    segmenter: Option<Segmenter>,
    /// Where another ingest stopped: the first sample is moved to this presentation time, which is also its decode time.
    resume: Option<Timestamp>,
    /// Added to this publisher's times, to place them on the log's timeline.
    shift: Timestamp,
    /// How far the epoch's rows have come.
    progress: Option<Progress>,
    /// Where the media of the newest epoch that is over ended, without gaps.
    media_end: Option<Timestamp>,
    /// Bandwidths measured for the stream's sources, the newest last, so that another epoch of the same source states no less.
    measured: VecDeque<RenditionConfig>,
    /// Set while the epoch's media has ended and no other epoch has begun.
    outage: Option<Outage>,
}

/// What an outage has to know of the newest row of an epoch.
#[derive(Debug)]
struct Progress {
    tracks: Vec<Track>,
    end: Timestamp,
    segment_start: Timestamp,
    next: (MediaSequence, PartIndex),
    /// How long after their media time the newest rows were sealed, the newest last.
    lags: VecDeque<Duration>,
}

impl Writer {
    pub(super) fn new(hub: &Arc<Hub>, stream: StreamId, stats: Arc<StreamStats>) -> Self {
        let services = &hub.services;
        let pusher = Pusher::start(stream.clone(), services.config.targets().part, services.links.clone());
        stats.follow(pusher.placed());
        Self {
            hub: Arc::clone(hub),
            stream,
            stats,
            pusher: Some(pusher),
            asking: None,
            found: None,
            positions: VecDeque::new(),
            epoch: None,
            log: None,
            pictures: Vec::new(),
            thumbnails: services.thumbnails.as_ref().map(Thumbnailer::stream),
            segmenter: None,
            resume: None,
            shift: Timestamp::zero(Timescale::VIDEO),
            progress: None,
            media_end: None,
            measured: VecDeque::new(),
            outage: None,
        }
    }

    /// The newest epoch and its session; `None` before the first, and after the stream was left to another ingest.
    pub(super) fn session(&self) -> Option<(Epoch, SessionId)> {
        self.log.as_ref().and(self.epoch)
    }

    /// The owners of the stream.
    pub(super) fn placed(&self) -> watch::Receiver<Placed> {
        self.pusher.as_ref().map_or_else(|| watch::Sender::new(Placed::default()).subscribe(), Pusher::placed)
    }

    /// The newest of our seals that a node refused.
    pub(super) fn conflict(&self) -> watch::Receiver<Option<LogPlace>> {
        self.pusher.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), Pusher::conflict)
    }

    /// Where the media of the last epoch ended and the next publisher continues; `None` before any.
    pub(super) const fn media_end(&self) -> Option<Timestamp> {
        self.media_end
    }

    /// Starts to ask the nodes where the log stands; [`Self::open_epoch`] takes the answer. Resets the shift of times.
    pub(super) fn look_for_base(&mut self, ask: Ask) {
        let (hub, stream) = (Arc::clone(&self.hub), self.stream.clone());
        let find = async move { hub.services.heads.find(&stream, ask, &hub.services.authority).await };
        self.asking = Some(tokio::spawn(find));
        (self.found, self.shift) = (None, Timestamp::zero(Timescale::VIDEO));
    }

    /// Waits for the nodes' answer and returns the wall clock that the log has reached; `None` when the log is new.
    pub(super) async fn reached(&mut self) -> Result<Option<UnixMillis>> {
        if let Some(asked) = self.asking.take() {
            self.found = Some(asked.await.context("the log was not looked for")??);
        }
        Ok(self.found.and_then(|found| found.base()?.reached))
    }

    /// Begins an epoch that builds on the newest position whose bytes some node has or will have. Before that, seals gaps up to
    /// `media_from`, the wall clock of the first media, if it is known.
    pub(super) async fn open_epoch(
        &mut self,
        renditions: Vec<RenditionConfig>,
        origin: UnixMillis,
        media_from: Option<UnixMillis>,
    ) -> Result<()> {
        self.end_outage(media_from).await;
        self.reached().await?;
        let found = self.found.take().unwrap_or_default();
        let base = match self.own_base() {
            Some(own) => found.admitted.filter(|admitted| admitted.place() > own.place()).or(Some(own)),
            None => found.base(),
        };
        let ours = self.epoch.map(|(epoch, _)| epoch);
        // After our own epoch, times continue as they are. After another ingest's, the first sample is moved to where that one stopped.
        self.resume = base.filter(|base| Some(base.epoch) != ours).and_then(|base| base.decoded);
        let context = &self.hub.services.context;
        let (mine, among) = self.hub.services.links.nodes.rank_of_ingest(&context.id);
        let epoch = own_epoch(ours.map(Epoch::next).into_iter().fold(found.next_epoch(), Ord::max), mine, among);
        let session = SessionId(rand::random());
        self.keep(move |heads, stream| heads.keep_epoch(stream, epoch)).await?;
        let origin = UnixMillis(origin.0.saturating_sub(self.shift.rescale(Timescale::MILLIS).ticks));
        let identity =
            EpochIdentity { cluster: context.cluster.clone(), stream: self.stream.clone(), session, epoch, origin };
        let tracks: Vec<_> = renditions.iter().map(|config| (config.rendition.clone(), config.track.clone())).collect();
        let log = EpochLog::new(identity, base.as_ref(), &tracks)?;
        let targets = self.hub.services.config.targets();
        let names: Vec<_> = tracks.iter().map(|(rendition, _)| rendition.to_string()).collect();
        tracing::info!(%epoch, %session, first_msn = %log.next_msn(), renditions = names.join(" "), "epoch begins");
        let mut segmenter = Segmenter::new(targets, log.next_msn(), renditions)?;
        self.measured.iter().for_each(|before| segmenter.resume_measurement(before));
        self.stats.epoch(epoch, &segmenter.tracks());
        self.segmenter = Some(segmenter);
        self.log = Some(log);
        self.progress = None;
        self.pictures = pictures(&tracks);
        self.epoch = Some((epoch, session));
        Ok(())
    }

    /// The newest of our own seals, as long as its bytes still reach the nodes, however slowly: seals that the next epoch left out
    /// would be void and pushed in vain. Else the newest whose bytes some node has. Without any node, the newest of all.
    fn own_base(&self) -> Option<LogPosition> {
        let newest = *self.positions.back()?;
        let pusher = self.pusher.as_ref()?;
        if self.hub.services.links.nodes.online().is_empty() || pusher.will_deliver() {
            return Some(newest);
        }
        let place = (*pusher.acknowledged().borrow())?;
        self.positions.iter().rev().find(|position| position.place() <= place).copied().or(Some(newest))
    }

    /// Takes a sample; seals the rows that it completes.
    pub(super) async fn sample(&mut self, rendition: &RenditionId, mut sample: Sample) -> Result<()> {
        if let (Some(resume), Some(log)) = (self.resume.take(), &mut self.log) {
            self.shift = resume.minus(sample.pts).rescale(Timescale::VIDEO);
            log.shift(self.shift);
        }
        let shift = self.shift.rescale(sample.dts.timescale);
        (sample.pts, sample.dts) = (sample.pts.plus(shift), sample.dts.plus(shift));
        let Some(segmenter) = &mut self.segmenter else { return Ok(()) };
        match segmenter.push(rendition, sample) {
            Ok(()) => {}
            Err(error @ media::Error::Timing { .. }) => {
                tracing::debug!(%error, "sample left out");
                self.stats.sample_refused();
            }
            Err(error) => return Err(error.into()),
        }
        self.rows().await
    }

    /// A rendition that delays the others.
    pub(super) fn lagging(&self) -> Option<RenditionId> {
        self.segmenter.as_ref()?.lagging().map(|lag| lag.rendition)
    }

    /// Sheds a rendition: it has gaps from here on.
    pub(super) async fn shed(&mut self, rendition: &RenditionId) -> Result<()> {
        let Some(segmenter) = &mut self.segmenter else { return Ok(()) };
        segmenter.shed(rendition);
        self.rows().await
    }

    /// Restores a rendition that was shed.
    pub(super) fn restore(&mut self, rendition: &RenditionId) {
        if let Some(segmenter) = &mut self.segmenter {
            segmenter.restore(rendition);
        }
    }

    async fn rows(&mut self) -> Result<()> {
        while let Some(row) = self.segmenter.as_mut().map_or(Ok(None), Segmenter::next_row)? {
            self.seal_row(row).await?;
        }
        Ok(())
    }

    /// Seals what is left of the epoch; from then on gaps are due. Does nothing when no epoch is open.
    pub(super) async fn close_epoch(&mut self) {
        let Some(mut segmenter) = self.segmenter.take() else { return };
        let sealed: Result<()> = async {
            for row in segmenter.finish()? {
                self.seal_row(row).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = sealed {
            tracing::warn!(error = format!("{error:#}"), "last rows of the epoch are lost");
        }
        self.keep_measured(&segmenter);
        self.begin_outage();
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
    pub(super) fn abandon(&mut self) {
        (self.segmenter, self.log, self.progress, self.outage) = (None, None, None, None);
        self.positions.clear();
    }

    fn begin_outage(&mut self) {
        let Some(log) = self.log.as_ref().filter(|log| log.has_started()) else { return };
        let Some(Progress { tracks, end, segment_start, next: (msn, part), lags }) = self.progress.take() else {
            return;
        };
        self.media_end = Some(end);
        let lag = median(lags).min(LAG_KEPT_MAX);
        let stand = Stand { tracks, origin: log.origin(), end, segment_start, msn, part, lag };
        let services = &self.hub.services;
        self.outage = Some(Outage::new(stand, services.config.targets(), services.context.clock.now()));
    }

    /// Whether an epoch of ours has ended and no other has taken its place, here or elsewhere.
    pub(super) fn is_out(&self) -> bool {
        self.outage.is_some() && !self.is_superseded()
    }

    /// When [`Self::gaps`] has something to do; `None` without an outage, or once a node has refused our seal.
    pub(super) fn next_gap(&self, quiet_until: Option<Duration>) -> Option<Duration> {
        let outage = self.outage.as_ref().filter(|_| !self.is_superseded())?;
        Some(outage.next_deadline(quiet_until))
    }

    /// Seals the gaps that are due.
    pub(super) async fn gaps(&mut self, quiet_until: Option<Duration>) {
        let now = self.hub.services.context.clock.elapsed();
        while let Some(row) = self.outage.as_mut().and_then(|outage| outage.row(now, quiet_until)) {
            self.gap(row).await;
        }
    }

    async fn end_outage(&mut self, media_from: Option<UnixMillis>) {
        let Some(outage) = self.outage.take().filter(|_| !self.is_superseded()) else { return };
        for row in outage.last_rows(media_from) {
            self.gap(row).await;
        }
    }

    async fn gap(&mut self, row: Row) {
        metrics::counter!("ingest_gaps_total").increment(1);
        if let Err(error) = self.seal_row(row).await {
            tracing::error!(error = format!("{error:#}"), "gap cannot be sealed");
            self.outage = None;
        }
    }

    /// Whether a node refused our newest seal because it has no place in the log: another ingest continues the stream.
    pub(super) fn is_superseded(&self) -> bool {
        let conflict = self.pusher.as_ref().and_then(|pusher| *pusher.conflict().borrow());
        conflict.zip(self.positions.back()).is_some_and(|(conflict, newest)| conflict >= newest.place())
    }

    /// Seals the end of the stream.
    pub(super) async fn end(&mut self) {
        self.outage = None;
        if self.is_superseded() {
            return;
        }
        let now = self.hub.services.context.clock.wall();
        let Some(entry) = self.log.as_mut().map(|log| log.end(now)) else { return };
        if let Err(error) = self.seal(entry, true).await {
            tracing::error!(error = format!("{error:#}"), "end of the stream cannot be sealed");
        }
    }

    /// Waits until some node has the last bytes, then ends delivery. Once the role shuts down, waits for [`FLUSH_WAIT`] at most.
    pub(super) async fn finish(mut self) {
        let Some(pusher) = self.pusher.take() else { return };
        if let Some(newest) = self.positions.back() {
            let shutdown = &self.hub.shutdown;
            let moment = async {
                shutdown.cancelled().await;
                tokio::time::sleep(FLUSH_WAIT).await;
            };
            let mut conflict = pusher.conflict();
            // Another ingest continues the log without these bytes.
            let is_void = |refused: &Option<LogPlace>| refused.is_some_and(|(epoch, _)| epoch == newest.place().0);
            // Delivery ends here, whether the bytes arrived or not.
            tokio::select! {
                _ = conflict.wait_for(is_void) => {}
                () = pusher.delivered(newest.place()) => {}
                () = moment => {}
                () = tokio::time::sleep(END_WAIT) => {}
            }
        }
        pusher.finish().await;
    }

    async fn seal_row(&mut self, row: Row) -> Result<()> {
        let now = self.hub.services.context.clock.wall();
        let (opens_segment, tracks) = (row.part == PartIndex(0), row.tracks.clone());
        let image = self.image(&row);
        let lag = self.note(&row, now);
        let Some(log) = &mut self.log else { return Ok(()) };
        let entry = log.row(row, image, now);
        let sequence = entry.body.sequence;
        self.seal(entry, opens_segment).await?;
        let ring_bytes = self.pusher.as_ref().map_or(0, Pusher::ring_bytes);
        self.stats.sealed(sequence, &tracks, ring_bytes, lag);
        if let Some((_, acknowledged)) = self.pusher.as_ref().and_then(|pusher| *pusher.acknowledged().borrow()) {
            self.stats.acknowledged(acknowledged);
        }
        Ok(())
    }

    /// Notes where an outage would continue. Returns how long after its end the row is sealed.
    fn note(&mut self, row: &Row, now: UnixMillis) -> Duration {
        let origin = self.log.as_ref().map_or(now, EpochLog::origin);
        let lag = now.since(origin.plus(row.end.as_duration()));
        let progress = self.progress.get_or_insert_with(|| Progress {
            tracks: Vec::new(),
            end: row.end,
            segment_start: row.start,
            next: (row.msn, row.part),
            lags: VecDeque::new(),
        });
        if !row.tracks.is_empty() {
            progress.tracks.clone_from(&row.tracks);
        }
        if row.part == PartIndex(0) {
            progress.segment_start = row.start;
        }
        progress.end = row.end;
        progress.next = if row.completes_segment {
            progress.segment_start = row.end;
            (row.msn.next(), PartIndex(0))
        } else {
            (row.msn, row.part.next())
        };
        if progress.lags.len() >= LAGS_KEPT {
            progress.lags.pop_front();
        }
        progress.lags.push_back(lag);
        lag
    }

    /// Asks for a thumbnail of the first picture of a segment, if one is due, and takes a finished one. Never waits.
    fn image(&self, row: &Row) -> Option<Image> {
        let (thumbnails, (epoch, _)) = (self.thumbnails.as_ref()?, self.epoch?);
        if row.part == PartIndex(0) {
            // The smallest rendition that has the picture, because it costs least to decode.
            let found = self.pictures.iter().find_map(|(rendition, avc)| {
                let part = row.objects.iter().find(|object| object.rendition == *rendition && !object.gap)?;
                Some((rendition, avc, part.sync_sample()?))
            });
            if let Some((rendition, avc, idr)) = found {
                let now = self.hub.services.context.clock.elapsed();
                thumbnails.ask(now, (epoch, row.msn, rendition.clone()), avc, idr);
            }
        }
        if !row.completes_segment {
            return None;
        }
        self.pictures.iter().find_map(|(rendition, _)| {
            let bytes = thumbnails.take(&(epoch, row.msn, rendition.clone()))?;
            Some(Image { rendition: rendition.clone(), bytes })
        })
    }

    /// Signs an entry and pushes it. `keep` first writes it to the disk as the newest. Because this is done where a segment opens, an
    /// epoch that builds on the kept seal has a media sequence number that was never shown, whenever this process dies.
    async fn seal(&mut self, entry: Entry, keep: bool) -> Result<()> {
        let Entry { body, objects } = entry;
        let sealed = self.hub.services.authority.sign(&body).context("seal cannot be signed")?;
        let Some(log) = &mut self.log else { return Ok(()) };
        log.sealed(&sealed);
        if self.positions.len() >= POSITIONS_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back(LogPosition::after(&sealed));
        tracing::debug!(sequence = %body.sequence, next_msn = %body.next_msn, objects = body.objects.len(), "sealed");
        metrics::counter!("ingest_seals_total").increment(1);
        let raw = sealed.raw().clone();
        if keep {
            let raw = raw.clone();
            let kept = self.keep(move |heads, stream| heads.keep_head(stream, &raw)).await;
            if let Err(error) = kept {
                // Only matters if this node restarts while no broadcast node that knows the log is there.
                tracing::warn!(error = format!("{error:#}"), "newest seal cannot be kept");
            }
        }
        if let Some(pusher) = &self.pusher {
            pusher.push(RingEntry { epoch: body.epoch, sequence: body.sequence, seal: raw, objects });
        }
        Ok(())
    }

    /// Writes to the disk, off the async threads.
    async fn keep(
        &self,
        write: impl FnOnce(&crate::heads::Heads, &StreamId) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (heads, stream) = (self.hub.services.heads.clone(), self.stream.clone());
        tokio::task::spawn_blocking(move || write(&heads, &stream)).await?
    }
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
