//! Watches one media playlist: reloads it, records every version, and downloads what it lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::fetch::{Fetcher, Got, Wish, resolve, with_directives};
use super::objects::{self, Downloaded, Inits, Object};
use crate::media::Content;
use crate::observation::{Answer, Asked, At, HintSeen, Load, PartSeen, RenditionSeen, Role, SegmentSeen, Version};
use crate::playlist::{MediaPlaylist, Position, Segment, Text};

/// Most downloads under way at once for one rendition. Further objects are counted, but not loaded.
const JOBS_MAX: usize = 48;
/// Most lines of all versions together, about 400 bytes each; beyond it, the oldest versions are dropped.
const LINES_KEPT_MAX: usize = 300_000;
/// Most requests that are recorded.
const LOADS_MAX: usize = 20_000;
/// Number of segments of the first version that are downloaded: the newest of a live playlist, the first of an ended one.
const START_SEGMENTS: usize = 3;
const ENDED_SEGMENTS: usize = 12;
/// Most removed parts that are downloaded late, per rendition.
const LATE_PARTS_MAX: usize = 6;
/// Most removed segments that are downloaded late, per rendition.
const LATE_SEGMENTS_MAX: usize = 8;
/// Most segments whose bytes are kept for the tools.
const KEPT_MAX: usize = 2;
/// The same for transport streams, in which each segment states its own format.
const KEPT_TS_MAX: usize = 24;
const KEPT_BYTES_MAX: usize = 48 << 20;

/// A segment's bytes, for the tools.
pub(super) struct Kept {
    pub msn: u64,
    pub init: Option<Bytes>,
    pub bytes: Bytes,
}

/// Results of downloads.
enum Done {
    Segment { msn: u64, downloaded: Downloaded },
    LateSegment { msn: u64, answer: Answer },
    Part { key: (u64, u64), downloaded: Downloaded },
    LatePart { key: (u64, u64), answer: Answer },
    Hint { index: usize, downloaded: Downloaded },
}

/// Downloads that are due later.
#[derive(Clone, Copy)]
enum Later {
    Segment(u64),
    Part((u64, u64)),
}

pub(super) struct Poller {
    fetcher: Fetcher,
    inits: Arc<Inits>,
    seen: RenditionSeen,
    jobs: JoinSet<Done>,
    /// Keyed by time, and by a number that distinguishes equal times.
    later: BTreeMap<(At, usize), Later>,
    later_count: usize,
    kept: Vec<(u64, Bytes)>,
    lines_kept: usize,
    late_parts: usize,
    late_segments: usize,
    until: At,
    grace: Duration,
    last_plain: At,
}

impl Poller {
    pub(super) fn new(
        fetcher: Fetcher,
        url: String,
        name: String,
        roles: Vec<Role>,
        until: At,
        grace: Duration,
    ) -> Self {
        Self {
            inits: Arc::new(Inits::new(fetcher.clone())),
            fetcher,
            seen: RenditionSeen { name, url, roles, ..RenditionSeen::default() },
            jobs: JoinSet::new(),
            later: BTreeMap::new(),
            later_count: 0,
            kept: Vec::new(),
            lines_kept: 0,
            late_parts: 0,
            late_segments: 0,
            until,
            grace,
            last_plain: Duration::ZERO,
        }
    }

    /// Watches until the end of the run, or of the stream.
    pub(super) async fn run(mut self) -> (RenditionSeen, Vec<Kept>) {
        let mut asked = Asked::Plain;
        while self.fetcher.clock.now() < self.until {
            let Some((answer, playlist)) = self.load(asked).await else { break };
            let unchanged = self.note(asked, answer, playlist);
            let Some(last) = self.seen.last().cloned() else {
                self.pause(Duration::from_millis(500)).await;
                continue;
            };
            if last.ended {
                break;
            }
            (asked, _) = self.next(&last);
            let failed = self.seen.loads.last().is_none_or(|load| load.end.is_none());
            let hasty = unchanged && self.seen.loads.last().is_some_and(|load| load.asked != Asked::Plain);
            if asked == Asked::Plain && !last.can_block() || failed || hasty {
                self.pause(interval(last.target())).await;
            }
        }
        self.finish().await
    }

    /// Directives of the next request, and the end of `last`.
    fn next(&self, last: &MediaPlaylist) -> (Asked, Option<Position>) {
        let end = last.end();
        let plain_due = self.fetcher.clock.now() >= self.last_plain + last.target();
        let asked = match end {
            Some(_) if !last.can_block() || plain_due => Asked::Plain,
            Some(Position { msn, parts: Position::WHOLE }) => {
                Asked::Blocking { msn: msn + 1, part: last.low_latency().then_some(0) }
            }
            Some(Position { msn, parts }) => Asked::Blocking { msn, part: Some(parts) },
            None => Asked::Plain,
        };
        (asked, end)
    }

    /// Loads the playlist, and does what falls due meanwhile. None when the run ends first.
    async fn load(&mut self, asked: Asked) -> Option<(Answer, Option<Arc<MediaPlaylist>>)> {
        let target = self.seen.last().map_or(Duration::from_secs(6), |last| last.target());
        let url = match asked {
            Asked::Plain => self.seen.url.clone(),
            Asked::Blocking { msn, part } => {
                let mut directives = vec![("_HLS_msn", msn.to_string())];
                directives.extend(part.map(|part| ("_HLS_part", part.to_string())));
                with_directives(&self.seen.url, &directives)
            }
        };
        if asked == Asked::Plain {
            self.last_plain = self.fetcher.clock.now();
        }
        let wish = Wish { range: None, text: true, wait_max: 4 * target + Duration::from_secs(3) };
        let (fetcher, clock) = (self.fetcher.clone(), self.fetcher.clock);
        let mut request = Box::pin(async move { fetcher.get(&url, wish).await });
        loop {
            let wake = self.later.first_key_value().map_or(self.until, |((at, _), _)| (*at).min(self.until));
            tokio::select! {
                Got { answer, body, .. } = &mut request => {
                    let whole = answer.status == 200 && answer.problem.is_none();
                    let playlist = whole.then(|| Arc::new(MediaPlaylist::read(&Arc::new(Text::read(&body)))));
                    return Some((answer, playlist));
                }
                Some(Ok(done)) = self.jobs.join_next() => self.take(done),
                () = clock.until(wake) => {
                    self.start_due(clock.now());
                    if clock.now() >= self.until {
                        return None;
                    }
                }
            }
        }
    }

    /// Records an answer. Returns whether it brought nothing new.
    fn note(&mut self, asked: Asked, answer: Answer, playlist: Option<Arc<MediaPlaylist>>) -> bool {
        let (at, sent) = (answer.done, answer.asked);
        if self.seen.loads.len() < LOADS_MAX {
            self.seen.loads.push(Load {
                asked,
                answer,
                end: playlist.as_ref().and_then(|playlist| playlist.end()),
                ended: playlist.as_ref().is_some_and(|playlist| playlist.ended),
            });
        }
        let Some(playlist) = playlist else { return false };
        let alike = |version: &&Version| (version.asked == Asked::Plain) == (asked == Asked::Plain);
        let last = self.seen.versions.iter().rev().find(alike);
        if last.is_some_and(|last| last.playlist.text.raw == playlist.text.raw) {
            return true;
        }
        let first = self.seen.versions.is_empty();
        let stale = self.seen.last().is_some_and(|last| last.end() > playlist.end());
        self.keep(Version { at, sent, asked, playlist: playlist.clone() });
        if !stale {
            self.segments(&playlist, at, first);
            self.parts(&playlist, at, first);
            self.hints(&playlist, at);
        }
        false
    }

    fn keep(&mut self, version: Version) {
        self.lines_kept += version.playlist.text.lines.len();
        self.seen.versions.push(version);
        while self.lines_kept > LINES_KEPT_MAX && self.seen.versions.len() > 2 {
            let oldest = self.seen.versions.remove(0);
            self.lines_kept -= oldest.playlist.text.lines.len();
        }
    }

    fn segments(&mut self, playlist: &MediaPlaylist, at: At, first: bool) {
        let count = playlist.segments.len();
        for (index, (msn, tags)) in playlist.numbered().enumerate() {
            if self.seen.segments.contains_key(&msn) {
                continue;
            }
            let object = Object::new(&self.seen.url, &tags.uri, tags.range, tags);
            let seen = SegmentSeen {
                tags: tags.clone(),
                url: object.url.clone(),
                init: object.map.as_ref().map(|init| init.key.clone()),
                listed: at,
                from_start: first,
                removed: None,
                fetch: None,
                again: None,
                late: None,
                probed: None,
            };
            self.seen.segments.insert(msn, seen);
            let chosen = match (first, playlist.ended) {
                (true, true) => index < ENDED_SEGMENTS,
                (true, false) => index + START_SEGMENTS >= count,
                (false, _) => true,
            };
            if chosen && !tags.gap {
                let wait_max = object_wait(playlist);
                self.start(move |fetcher, inits| async move {
                    let downloaded = objects::download(&fetcher, &inits, &object, wait_max).await;
                    Done::Segment { msn, downloaded }
                });
            }
        }
        let first_msn = playlist.first_msn();
        let gone = self.seen.segments.range_mut(..first_msn).filter(|(_, seen)| seen.removed.is_none());
        let mut late = Vec::new();
        for (msn, seen) in gone {
            seen.removed = Some(at);
            if !seen.tags.gap {
                late.push((at + seen.tags.duration / 2, *msn));
            }
        }
        for (at, msn) in late {
            if self.late_segments < LATE_SEGMENTS_MAX {
                self.late_segments += 1;
                self.plan(at, Later::Segment(msn));
            }
        }
    }

    fn parts(&mut self, playlist: &MediaPlaylist, at: At, first: bool) {
        let open = playlist.open.is_some().then(|| playlist.next_msn());
        for (msn, segment) in playlist.numbered_with_open() {
            for (index, tag) in (0_u64..).zip(&segment.parts) {
                if self.seen.parts.contains_key(&(msn, index)) {
                    continue;
                }
                let object = Object::new(&self.seen.url, &tag.uri, part_range(segment, index), segment);
                let seen = PartSeen {
                    tag: tag.clone(),
                    url: object.url.clone(),
                    listed: at,
                    from_start: first,
                    removed: None,
                    fetch: None,
                    late: None,
                };
                self.seen.parts.insert((msn, index), seen);
                if !tag.gap && (!first || open == Some(msn)) {
                    let wait_max = object_wait(playlist);
                    self.start(move |fetcher, inits| async move {
                        let downloaded = objects::download(&fetcher, &inits, &object, wait_max).await;
                        Done::Part { key: (msn, index), downloaded }
                    });
                }
            }
        }
        self.removed_parts(playlist, at);
    }

    fn removed_parts(&mut self, playlist: &MediaPlaylist, at: At) {
        // Just before three target durations are over, while the server still owes the part.
        let late_at = at + playlist.target() * 27 / 10;
        let gone = self.seen.parts.iter_mut().filter(|((msn, index), seen)| {
            let listed = || usize::try_from(*index).ok().and_then(|index| playlist.segment(*msn)?.parts.get(index));
            seen.removed.is_none() && *msn < playlist.next_msn() && listed().is_none()
        });
        let mut late = Vec::new();
        for (key, seen) in gone {
            seen.removed = Some(at);
            if !seen.tag.gap {
                late.push(*key);
            }
        }
        // One part of each segment is enough.
        late.dedup_by_key(|(msn, _)| *msn);
        for key in late {
            if self.late_parts < LATE_PARTS_MAX && late_at < self.until + self.grace {
                self.late_parts += 1;
                self.plan(late_at, Later::Part(key));
            }
        }
    }

    fn hints(&mut self, playlist: &MediaPlaylist, at: At) {
        for tag in &playlist.hints {
            let url = resolve(&self.seen.url, &tag.uri);
            if self.seen.hints.iter().any(|seen| seen.url == url && seen.tag.start == tag.start) {
                continue;
            }
            let index = self.seen.hints.len();
            let context = playlist.open.as_ref().or(playlist.segments.last()).cloned().unwrap_or_default();
            let mut object = Object::new(&self.seen.url, &tag.uri, None, &context);
            object.range = (tag.start > 0 || tag.length.is_some())
                .then(|| (tag.start, tag.length.unwrap_or((1 << 53) - 1 - tag.start)));
            self.seen.hints.push(HintSeen { tag: tag.clone(), url, listed: at, end: playlist.end(), fetch: None });
            let wait_max = object_wait(playlist);
            self.start(move |fetcher, inits| async move {
                let downloaded = objects::download(&fetcher, &inits, &object, wait_max).await;
                Done::Hint { index, downloaded }
            });
        }
    }

    fn start<F, R>(&mut self, job: F)
    where
        F: FnOnce(Fetcher, Arc<Inits>) -> R,
        R: Future<Output = Done> + Send + 'static,
    {
        if self.jobs.len() >= JOBS_MAX {
            self.seen.left_out += 1;
            return;
        }
        self.jobs.spawn(job(self.fetcher.clone(), self.inits.clone()));
    }

    fn plan(&mut self, at: At, later: Later) {
        self.later_count += 1;
        self.later.insert((at, self.later_count), later);
    }

    fn start_due(&mut self, now: At) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let later = entry.remove();
            let (url, range) = match later {
                Later::Segment(msn) => {
                    let Some(seen) = self.seen.segments.get(&msn) else { continue };
                    (seen.url.clone(), seen.tags.range)
                }
                Later::Part(key) => {
                    let Some(seen) = self.seen.parts.get(&key) else { continue };
                    (seen.url.clone(), seen.tag.range)
                }
            };
            let wish = Wish {
                range: range.map(|range| (range.offset.unwrap_or(0), range.length)),
                text: false,
                wait_max: Duration::from_secs(10),
            };
            self.start(move |fetcher, _| async move {
                let answer = fetcher.get(&url, wish).await.answer;
                match later {
                    Later::Part(key) => Done::LatePart { key, answer },
                    Later::Segment(msn) => Done::LateSegment { msn, answer },
                }
            });
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Segment { msn, downloaded } => self.take_segment(msn, downloaded),
            Done::LateSegment { msn, answer } => {
                if let Some(seen) = self.seen.segments.get_mut(&msn) {
                    seen.late = Some(answer);
                }
            }
            Done::Part { key, downloaded } => {
                if let Some(seen) = self.seen.parts.get_mut(&key) {
                    seen.fetch = Some(downloaded.fetch);
                }
            }
            Done::LatePart { key, answer } => {
                if let Some(seen) = self.seen.parts.get_mut(&key) {
                    seen.late = Some(answer);
                }
            }
            Done::Hint { index, downloaded } => {
                if let Some(seen) = self.seen.hints.get_mut(index) {
                    seen.fetch = Some(downloaded.fetch);
                }
            }
        }
    }

    fn take_segment(&mut self, msn: u64, downloaded: Downloaded) {
        let Some(seen) = self.seen.segments.get_mut(&msn) else { return };
        let kept_max = if matches!(downloaded.fetch.content, Content::Ts(_)) { KEPT_TS_MAX } else { KEPT_MAX };
        let held: usize = self.kept.iter().map(|(_, bytes)| bytes.len()).sum();
        let wanted = self.kept.len() < kept_max || (seen.tags.discontinuity && self.kept.len() < KEPT_TS_MAX);
        let readable = matches!(downloaded.fetch.content, Content::Ts(_) | Content::Fmp4(_));
        if wanted && readable && held + downloaded.bytes.len() <= KEPT_BYTES_MAX {
            self.kept.push((msn, downloaded.bytes));
        }
        seen.fetch = Some(downloaded.fetch);
        seen.again = downloaded.again;
    }

    async fn pause(&mut self, span: Duration) {
        let clock = self.fetcher.clock;
        let end = (clock.now() + span).min(self.until);
        loop {
            let wake = self.later.first_key_value().map_or(end, |((at, _), _)| (*at).min(end));
            tokio::select! {
                Some(Ok(done)) = self.jobs.join_next() => self.take(done),
                () = clock.until(wake) => {
                    self.start_due(clock.now());
                    if clock.now() >= end {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for downloads that are under way or fall due soon.
    async fn finish(mut self) -> (RenditionSeen, Vec<Kept>) {
        let clock = self.fetcher.clock;
        let end = clock.now() + self.grace;
        loop {
            self.start_due(clock.now());
            let wake = self.later.first_key_value().map_or(end, |((at, _), _)| (*at).min(end));
            if (self.jobs.is_empty() && self.later.is_empty()) || clock.now() >= end {
                break;
            }
            tokio::select! {
                Some(Ok(done)) = self.jobs.join_next() => self.take(done),
                () = clock.until(wake) => {}
            }
        }
        self.seen.inits = self.inits.seen();
        let inits = &self.inits;
        let segments = &self.seen.segments;
        let kept = self.kept.into_iter().map(|(msn, bytes)| {
            let key = segments.get(&msn).and_then(|seen| seen.init.as_deref());
            Kept { msn, init: key.and_then(|key| inits.bytes(key)), bytes }
        });
        let kept = kept.collect();
        (self.seen, kept)
    }
}

/// Interval between two plain requests: well below the reload time of players (6.3.4), so that changes are seen when they happen.
pub(super) fn interval(target: Duration) -> Duration {
    (target / 4).clamp(Duration::from_millis(150), Duration::from_secs(1))
}

fn object_wait(playlist: &MediaPlaylist) -> Duration {
    4 * playlist.target() + Duration::from_secs(5)
}

/// The byte range of a part: without an offset it follows the part before it (4.4.4.9).
fn part_range(segment: &Segment, index: u64) -> Option<crate::playlist::ByteRange> {
    let mut next = 0;
    let mut found = None;
    for (at, part) in (0_u64..).zip(&segment.parts) {
        let mut range = part.range;
        if let Some(range) = &mut range {
            let offset = *range.offset.get_or_insert(next);
            next = offset.saturating_add(range.length);
        }
        if at == index {
            found = range;
            break;
        }
    }
    found
}
