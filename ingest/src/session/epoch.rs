//! The epochs of a stream, one after the other: samples into rows, rows into seals, seals to the nodes and the bus.

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

use super::hub::Hub;
use super::log::{Entry, EpochIdentity, EpochLog, Image, LogPosition};
use super::outage::{Outage, Stand};
use super::stats::StreamStats;
use super::turn::own_epoch;
use crate::heads::{Ask, Found};
use crate::pipeline::thumbnail::{Thumbnailer, Thumbnails};
use crate::push::{Place, Pusher, RING_ENTRIES_MAX, RingEntry};

/// How long the end of the role waits for some node to have the newest bytes: they are a few parts.
const FLUSH_WAIT: Duration = Duration::from_millis(500);
/// How long the end of a stream does: nobody waits for it, and nodes that are slow may be a minute behind.
const END_WAIT: Duration = Duration::from_secs(60);
/// Own positions that are kept to build on, should the newest not be acknowledged: as many as the ring has entries.
const POSITIONS_MAX: usize = RING_ENTRIES_MAX;

/// Renditions of sources whose bandwidth is remembered: two ladders of the longest kind.
const MEASURED_MAX: usize = 20;

/// Rows whose lag is remembered. The middle one counts: those that come at once when a run begins or is drained say nothing of it.
const LAGS_KEPT: usize = 8;
/// Gaps are not held back longer than this, whatever the lag was.
const LAG_KEPT_MAX: Duration = Duration::from_secs(4);

/// Which thumbnail of a stream.
pub(crate) type ThumbnailKey = (Epoch, MediaSequence, RenditionId);

/// Writes the log of one stream.
pub(super) struct Writer {
    hub: Arc<Hub>,
    stream: StreamId,
    stats: Arc<StreamStats>,
    pusher: Option<Pusher>,
    /// Asking the nodes, since the publisher connected.
    asking: Option<JoinHandle<Result<Found>>>,
    /// What they answered, until an epoch is built on it.
    found: Option<Found>,
    /// Newest last.
    positions: VecDeque<LogPosition>,
    epoch: Option<(Epoch, SessionId)>,
    log: Option<EpochLog>,
    /// The pictures' renditions, from the smallest up.
    pictures: Vec<(RenditionId, Arc<avc::DecoderConfig>)>,
    thumbnails: Option<Thumbnails<ThumbnailKey>>,
    segmenter: Option<Segmenter>,
    /// Where another ingest has stopped: the presentation time, and so the decode time, that the first sample is moved to.
    resume: Option<Timestamp>,
    /// How much later the times of this publisher are on the log's timeline.
    shift: Timestamp,
    /// Where the epoch's rows have come to.
    progress: Option<Progress>,
    /// Where the media of the newest epoch that is over ended; gaps are not counted in.
    media_end: Option<Timestamp>,
    /// What was measured of the stream's sources, the newest last: another epoch of the same one states no less.
    measured: VecDeque<RenditionConfig>,
    /// The epoch's media has ended, and no other has begun.
    outage: Option<Outage>,
}

/// The newest row of an epoch, as far as an outage goes on from it.
#[derive(Debug)]
struct Progress {
    tracks: Vec<Track>,
    end: Timestamp,
    segment_start: Timestamp,
    next: (MediaSequence, PartIndex),
    /// How long after their media time the newest rows were sealed; the newest last.
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

    /// The newest epoch and its session; `None` before the first, and once the stream was left to another ingest.
    pub(super) fn session(&self) -> Option<(Epoch, SessionId)> {
        self.log.as_ref().and(self.epoch)
    }

    /// Who owns the stream.
    pub(super) fn placed(&self) -> watch::Receiver<Placed> {
        self.pusher.as_ref().map_or_else(|| watch::Sender::new(Placed::default()).subscribe(), Pusher::placed)
    }

    /// The newest of our seals that a node refused.
    pub(super) fn conflict(&self) -> watch::Receiver<Option<Place>> {
        self.pusher.as_ref().map_or_else(|| watch::Sender::new(None).subscribe(), Pusher::conflict)
    }

    /// Where the media ended that the next publisher goes on from; `None` before any.
    pub(super) const fn media_end(&self) -> Option<Timestamp> {
        self.media_end
    }

    /// Starts asking the nodes where the log stands; [`Self::open_epoch`] takes the answer. Times of what comes are as they are.
    pub(super) fn look_for_base(&mut self, ask: Ask) {
        let (hub, stream) = (Arc::clone(&self.hub), self.stream.clone());
        let find = async move { hub.services.heads.find(&stream, ask, &hub.services.authority).await };
        self.asking = Some(tokio::spawn(find));
        (self.found, self.shift) = (None, Timestamp::zero(Timescale::VIDEO));
    }

    /// Wall clock that the log has come to, once the nodes have answered. `None` when it is new.
    pub(super) async fn reached(&mut self) -> Result<Option<UnixMillis>> {
        if let Some(asked) = self.asking.take() {
            self.found = Some(asked.await.context("the log was not looked for")??);
        }
        Ok(self.found.and_then(|found| found.base()?.reached))
    }

    /// Begins an epoch that builds on the newest position whose bytes some node has or will have. Gaps are sealed before, up to the
    /// media, if its wall clock is known.
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
        // Our own media goes on where it was; after another's, the first sample does.
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

    /// The newest of our own seals, as long as its bytes come to the nodes, be they ever so slow: what it left out would be void,
    /// and be pushed in vain. Else the newest whose bytes some node has; the newest of all when no node is there to have them.
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

    /// A rendition that holds up the others.
    pub(super) fn lagging(&self) -> Option<RenditionId> {
        self.segmenter.as_ref()?.lagging().map(|lag| lag.rendition)
    }

    /// Gives a rendition up: gaps from here on.
    pub(super) async fn shed(&mut self, rendition: &RenditionId) -> Result<()> {
        let Some(segmenter) = &mut self.segmenter else { return Ok(()) };
        segmenter.shed(rendition);
        self.rows().await
    }

    /// A rendition that was given up goes on.
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

    /// Seals what is left of the epoch; from then on there are gaps to be sealed. Nothing when there is none open.
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

    /// Keeps what was measured for the next epoch of the same source.
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

    /// Another ingest has the stream: what is open stays as it is, and nothing more is said of it.
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

    /// Whether an epoch of ours has ended, and nothing has taken its place, here or elsewhere.
    pub(super) fn is_out(&self) -> bool {
        self.outage.is_some() && !self.is_superseded()
    }

    /// When [`Self::gaps`] has something to do. Nothing once a node has said that the log goes on elsewhere.
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

    /// Whether a node said that our newest seal has no place in the log: the publisher has gone on at another ingest.
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

    /// Waits for the last bytes to arrive, no longer than for a moment once the role shuts down, and ends delivery.
    pub(super) async fn finish(mut self) {
        let Some(pusher) = self.pusher.take() else { return };
        if let Some(newest) = self.positions.back() {
            let shutdown = &self.hub.shutdown;
            let moment = async {
                shutdown.cancelled().await;
                tokio::time::sleep(FLUSH_WAIT).await;
            };
            let mut conflict = pusher.conflict();
            // The log goes on without them: somebody publishes the stream again.
            let is_void = |refused: &Option<Place>| refused.is_some_and(|(epoch, _)| epoch == newest.place().0);
            // Whether they came or not, this is the end.
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

    /// Remembers where an outage would go on. Says how long after its end the row is sealed.
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

    /// Has the first picture of a segment made into its thumbnail, if it is time for one, and takes the one that is ready. Never waits.
    fn image(&self, row: &Row) -> Option<Image> {
        let (thumbnails, (epoch, _)) = (self.thumbnails.as_ref()?, self.epoch?);
        if row.part == PartIndex(0) {
            // The smallest rendition that has it: least to decode.
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

    /// Signs an entry and sends it on its way; `keep` writes it to the disk as the newest, before anybody can see it. Done where a segment
    /// opens, an epoch that builds on what is kept has a media sequence number that was never shown, whenever this process dies.
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
                // Only matters when this node restarts while no broadcast node is there that remembers.
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

/// The renditions that are pictures, from the smallest up.
fn pictures(tracks: &[(RenditionId, TrackConfig)]) -> Vec<(RenditionId, Arc<avc::DecoderConfig>)> {
    let picture = |(rendition, track): &(RenditionId, TrackConfig)| match track {
        TrackConfig::Video { avc, .. } => Some((rendition.clone(), Arc::new(avc.clone()))),
        TrackConfig::Audio { .. } => None,
    };
    let mut pictures: Vec<_> = tracks.iter().filter_map(picture).collect();
    pictures.sort_by_key(|(_, avc)| u64::from(avc.width()) * u64::from(avc.height()));
    pictures
}
