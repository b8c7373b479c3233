//! Loads a media playlist again and again, as players do, and compares each with those before.

use std::collections::BTreeMap;

use m3u8_rs::MediaPlaylist;
use testkit::hls::parse;
use testkit::http::get;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, interval, timeout};

const EVERY: Duration = Duration::from_millis(250);

/// The newest playlist, and contradictions to older ones.
#[derive(Debug, Default)]
pub struct Seen {
    pub newest: MediaPlaylist,
    /// URI and number of discontinuities of each segment.
    segments: BTreeMap<u64, (String, u64)>,
    pub faults: Vec<String>,
}

/// Media sequence number after the newest segment.
pub fn end(playlist: &MediaPlaylist) -> u64 {
    playlist.media_sequence + playlist.segments.len() as u64
}

/// Number of discontinuities so far, removed and listed.
pub fn discontinuities(playlist: &MediaPlaylist) -> u64 {
    playlist.discontinuity_sequence + playlist.segments.iter().filter(|segment| segment.discontinuity).count() as u64
}

impl Seen {
    fn look(&mut self, playlist: MediaPlaylist) {
        let before = (self.newest.media_sequence, self.newest.discontinuity_sequence, end(&self.newest));
        let now = (playlist.media_sequence, playlist.discontinuity_sequence, end(&playlist));
        if now.0 < before.0 || now.1 < before.1 || now.2 < before.2 {
            self.faults.push(format!("media sequence, discontinuity sequence and end were {before:?}, are {now:?}"));
        }
        let mut discontinuity = playlist.discontinuity_sequence;
        for (msn, segment) in (playlist.media_sequence..).zip(&playlist.segments) {
            discontinuity += u64::from(segment.discontinuity);
            let said = (segment.uri.clone(), discontinuity);
            let first = self.segments.entry(msn).or_insert_with(|| said.clone());
            if *first != said {
                self.faults.push(format!("segment {msn} was {first:?}, is {said:?}"));
            }
        }
        self.newest = playlist;
    }
}

/// Watches a playlist until this is dropped.
pub struct Onlooker {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Onlooker {
    pub fn start(http: reqwest::Client, url: String) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let mut tick = interval(EVERY);
            loop {
                tick.tick().await;
                // There may be no server for a while; only its answers count.
                if let Some(text) = get(&http, &url).await {
                    sender.send_modify(|seen| seen.look(parse(&text)));
                }
            }
        });
        Self { seen, task }
    }

    /// Waits for a playlist that fulfils the condition.
    pub async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&MediaPlaylist) -> bool,
    ) -> MediaPlaylist {
        let found = timeout(patience, self.seen.wait_for(|seen| holds(&seen.newest))).await;
        let found = found.map(|seen| seen.expect("it reads on").newest.clone());
        found.unwrap_or_else(|_| panic!("waited {patience:?} in vain for {what}: {:?}", self.seen.borrow().newest))
    }

    pub fn newest(&self) -> MediaPlaylist {
        self.seen.borrow().newest.clone()
    }

    pub fn assert_never_contradicted_itself(&self) {
        assert_eq!(self.seen.borrow().faults, [""; 0]);
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
