//! Watches what a server lists and serves while a case runs. A shell around [`Record`], which is pure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::Url;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::playlist::{Flavour, MediaPlaylist, Multivariant, Text, flavour};
use crate::watch::clock::Stopwatch;
use crate::watch::{Ask, Transport};

/// Interval at which playlists are loaded.
const POLL: Duration = Duration::from_millis(400);
/// Longest wait for an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Most renditions of a stream that are watched.
const RENDITIONS_MAX: usize = 8;
/// Most segments of a rendition that are kept.
const SEGMENTS_MAX: usize = 400;

/// A segment as it was listed, and its bytes.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// EXTINF.
    pub duration: Duration,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// Its media initialization section, if it has one.
    pub init: Option<Bytes>,
    /// Its bytes, once they are downloaded.
    pub bytes: Option<Bytes>,
}

/// A media playlist over time.
#[derive(Debug, Clone, Default)]
pub struct Rendition {
    /// The first media sequence number of this case.
    pub base: u64,
    /// Media sequence number after the newest segment.
    pub next: u64,
    /// EXT-X-TARGETDURATION.
    pub target: Duration,
    /// Segments of this case by media sequence number.
    pub segments: BTreeMap<u64, Segment>,
    /// Duration of the open segment's parts.
    pub open: Duration,
    /// Where the media sequence went back.
    pub faults: Vec<String>,
}

impl Rendition {
    /// Duration of the listed media, without gaps.
    #[must_use]
    pub fn media(&self) -> Duration {
        self.segments.values().filter(|segment| !segment.gap).map(|segment| segment.duration).sum::<Duration>()
            + self.open
    }
}

/// What a server has listed since the case began.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// By URL.
    pub renditions: BTreeMap<String, Rendition>,
    /// How often all playlists were loaded.
    pub looks: u64,
}

impl Record {
    /// Duration of the listed media, of the rendition with most.
    #[must_use]
    pub fn media(&self) -> Duration {
        self.renditions.values().map(Rendition::media).max().unwrap_or_default()
    }

    /// Whether the bytes of a segment are still missing.
    fn incomplete(&self) -> bool {
        self.renditions
            .values()
            .flat_map(|rendition| rendition.segments.values())
            .any(|segment| !segment.gap && segment.bytes.is_none())
    }

    /// Records a playlist. Returns new segments, as media sequence numbers with URI and the URI of EXT-X-MAP.
    fn note(&mut self, url: &str, playlist: &MediaPlaylist, first: bool) -> Vec<(u64, String, Option<String>)> {
        let rendition = self.renditions.entry(url.to_owned()).or_default();
        rendition.target = playlist.target();
        if first {
            (rendition.base, rendition.next) = (playlist.next_msn(), playlist.next_msn());
        }
        if playlist.next_msn() < rendition.next {
            if rendition.segments.is_empty() {
                rendition.base = 0;
            } else {
                rendition.faults.push(format!(
                    "media sequence went back from {} to {}",
                    rendition.next,
                    playlist.next_msn()
                ));
                rendition.base = rendition.next;
            }
        }
        rendition.next = playlist.next_msn();
        let mut fresh = Vec::new();
        for (msn, segment) in playlist.numbered() {
            if msn < rendition.base || rendition.segments.contains_key(&msn) || rendition.segments.len() >= SEGMENTS_MAX
            {
                continue;
            }
            let (duration, discontinuity, gap) = (segment.duration, segment.discontinuity, segment.gap);
            rendition.segments.insert(msn, Segment { duration, discontinuity, gap, init: None, bytes: None });
            if !gap {
                fresh.push((msn, segment.uri.clone(), segment.map.as_ref().map(|map| map.uri.clone())));
            }
        }
        // A segment that was open before the case does not belong to it.
        let open = playlist.open.as_ref().filter(|_| !first && playlist.next_msn() >= rendition.base);
        rendition.open = open
            .map_or(Duration::ZERO, |open| open.parts.iter().filter(|part| !part.gap).map(|part| part.duration).sum());
        fresh
    }
}

/// Watches a stream until it is dropped.
pub struct Watch {
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to watch. What is listed already does not belong to this case.
    pub async fn begin(transport: Arc<dyn Transport>, url: String) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let mut watcher = Watcher { transport, url, record: Arc::clone(&record), inits: BTreeMap::new(), first: true };
        watcher.look().await;
        watcher.first = false;
        let task = tokio::spawn(async move {
            let mut looks = tokio::time::interval(POLL);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                watcher.look().await;
            }
        });
        Self { record, task }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Duration of the media that is listed so far.
    #[must_use]
    pub fn media(&self) -> Duration {
        self.lock().media()
    }

    /// Waits until at least `wanted` is listed and nothing new came for `calm`, but not longer than `patience`.
    pub async fn settle(&self, wanted: Duration, calm: Duration, patience: Duration) -> Record {
        let mut ticks = tokio::time::interval(POLL);
        let clock = Stopwatch::start();
        let (mut seen, mut since) = (self.seen(), (clock.now(), self.lock().looks));
        while clock.now() < patience {
            ticks.tick().await;
            let now = self.seen();
            if now != seen {
                (seen, since) = (now, (clock.now(), self.lock().looks));
            }
            let record = self.lock();
            // A load that was under way at the newest change may have missed part of it, so two more must follow.
            let looked = record.looks >= since.1.saturating_add(2);
            if record.media() >= wanted && looked && clock.now() >= since.0 + calm && !record.incomplete() {
                break;
            }
        }
        self.lock().clone()
    }

    /// Sum of the media of all renditions, which changes with any of them.
    fn seen(&self) -> Duration {
        self.lock().renditions.values().map(Rendition::media).sum()
    }

    /// Waits until more than `media` is listed; `false` when `patience` runs out.
    pub async fn more_than(&self, media: Duration, patience: Duration) -> bool {
        let came = async {
            let mut looks = tokio::time::interval(POLL);
            while self.media() <= media {
                looks.tick().await;
            }
        };
        timeout(patience, came).await.is_ok()
    }
}

struct Watcher {
    transport: Arc<dyn Transport>,
    url: String,
    record: Arc<Mutex<Record>>,
    inits: BTreeMap<String, Bytes>,
    first: bool,
}

impl Watcher {
    async fn look(&mut self) {
        let playlists = self.playlists().await;
        for (url, body) in playlists {
            let playlist = MediaPlaylist::read(&Arc::new(Text::read(&body)));
            let fresh = self.record.lock().unwrap_or_else(PoisonError::into_inner).note(&url, &playlist, self.first);
            for (msn, uri, map) in fresh {
                let init = match map {
                    Some(map) => self.init(resolve(&url, &map)).await,
                    None => None,
                };
                let bytes = self.get(&resolve(&url, &uri)).await.unwrap_or_default();
                let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(segment) =
                    record.renditions.get_mut(&url).and_then(|rendition| rendition.segments.get_mut(&msn))
                {
                    (segment.init, segment.bytes) = (init, Some(bytes));
                }
            }
        }
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.looks = record.looks.saturating_add(1);
    }

    /// The media playlists, as URLs and bodies.
    async fn playlists(&self) -> Vec<(String, Bytes)> {
        let Some(body) = self.get(&self.url).await else { return Vec::new() };
        let text = Arc::new(Text::read(&body));
        if flavour(&text) == Flavour::Media {
            return vec![(self.url.clone(), body)];
        }
        let multivariant = Multivariant::read(&text);
        let variants =
            multivariant.variants.iter().filter(|variant| !variant.iframes).map(|variant| variant.uri.as_str());
        let mut urls: Vec<String> = variants
            .chain(multivariant.renditions.iter().filter_map(|rendition| rendition.uri()))
            .map(|uri| resolve(&self.url, uri))
            .collect();
        urls.sort_unstable();
        urls.dedup();
        let mut playlists = Vec::new();
        for url in urls.into_iter().take(RENDITIONS_MAX) {
            if let Some(body) = self.get(&url).await {
                playlists.push((url, body));
            }
        }
        playlists
    }

    async fn init(&mut self, url: String) -> Option<Bytes> {
        if let Some(known) = self.inits.get(&url) {
            return Some(known.clone());
        }
        let bytes = self.get(&url).await?;
        self.inits.insert(url, bytes.clone());
        Some(bytes)
    }

    /// The body of a complete 200 that comes in time; `None` otherwise.
    async fn get(&self, url: &str) -> Option<Bytes> {
        let ask = Ask { url: url.to_owned(), headers: Vec::new() };
        let answer = async {
            let mut reply = self.transport.send(ask).await.ok()?;
            if reply.status != 200 {
                return None;
            }
            let mut body = BytesMut::new();
            while let Some(piece) = reply.body.next().await {
                body.extend_from_slice(&piece.ok()?);
                if body.len() > BODY_BYTES_MAX {
                    return None;
                }
            }
            Some(body.freeze())
        };
        timeout(ANSWER_WAIT_MAX, answer).await.ok().flatten()
    }
}

fn resolve(base: &str, uri: &str) -> String {
    Url::parse(base).and_then(|base| base.join(uri)).map_or_else(|_| uri.to_owned(), |url| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playlist(text: &str) -> MediaPlaylist {
        MediaPlaylist::read(&Arc::new(Text::read(text.as_bytes())))
    }

    #[test]
    fn what_was_listed_before_the_case_is_not_of_it() {
        let mut record = Record::default();
        let before = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:4\n#EXTINF:2,\n4.ts\n";
        assert!(record.note("u", &playlist(before), true).is_empty());
        let after = format!("{before}#EXT-X-GAP\n#EXTINF:2,\n5.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.5,\n6.ts\n");
        assert_eq!(record.note("u", &playlist(&after), false), [(6, "6.ts".to_owned(), None)]);
        assert_eq!(record.media(), Duration::from_millis(1_500));
        assert!(record.note("u", &playlist(&after), false).is_empty(), "known");
        assert!(record.incomplete());
        record.note("u", &playlist(before), false);
        assert!(record.renditions["u"].faults[0].contains("went back from 7 to 5"));
    }
}
