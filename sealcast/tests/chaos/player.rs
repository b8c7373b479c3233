//! A low-latency player without a screen. It loads both renditions with blocking reloads and parts over HTTP/2, and changes to the other
//! of two balancers when one fails. It buffers PART-HOLD-BACK, and plays by the clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node::clock::Clock;
use reqwest::StatusCode;
use tokio::sync::watch;

use super::cluster::{RENDITIONS, STREAM};
use super::ledger::Ledger;
use super::playlist::{Listing, Place};

/// Longest wait for an answer. A blocking reload takes a part's duration, 0.5 s, and players give up on a server not much later.
const ANSWER_WAIT_MAX: Duration = Duration::from_millis(1_300);
/// Pause between rounds through both balancers.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Longest time that a listed object may be 404, because a node that just came back fetches it first.
const ABSENT_MAX: Duration = Duration::from_secs(3);

/// A standstill of the picture.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    /// When it began, by the player's clock.
    pub at: Duration,
    pub length: Duration,
}

/// The buffer of each rendition in seconds, and the playback.
#[derive(Debug, Default)]
struct Screen {
    buffered: [f64; RENDITIONS.len()],
    /// Time of the first picture, shifted by all stalls so far; none while nothing plays.
    playing_since: Option<f64>,
    /// Since when it waits, and the seconds played by then.
    waiting: Option<(f64, f64)>,
    stalls: Vec<Stall>,
    /// Whether it seeks to its initial distance from the live edge with the next part.
    seeks: bool,
}

impl Screen {
    fn media(&self) -> f64 {
        self.buffered.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Takes more media of a rendition.
    fn fill(&mut self, rendition: usize, seconds: f64, now: f64, hold_back: f64) {
        self.run(now);
        let before = self.media();
        self.buffered[rendition] += seconds;
        let media = self.media();
        if let Some(since) = &mut self.playing_since {
            if self.seeks && media > before {
                (*since, self.seeks) = (since.min(now - (media - hold_back)), false);
            }
            return;
        }
        let (waits_since, played) = self.waiting.unwrap_or((now, 0.0));
        // A little less than its initial buffer is enough, because media after an outage may lack a part.
        if media - played < hold_back * 0.95 {
            return;
        }
        self.playing_since = Some(now - played);
        if self.waiting.take().is_some() {
            let (at, length) = (Duration::from_secs_f64(waits_since), Duration::from_secs_f64(now - waits_since));
            self.stalls.push(Stall { at, length });
        }
    }

    /// Plays up to `now`.
    fn run(&mut self, now: f64) {
        let media = self.media();
        if let Some(since) = self.playing_since.filter(|since| now - since > media) {
            (self.playing_since, self.waiting) = (None, Some((since + media, media)));
        }
    }
}

/// State that the player's tasks share.
pub struct Player {
    http: reqwest::Client,
    balancers: [String; 2],
    /// The current balancer, and its cookie.
    at: Mutex<(usize, Option<String>)>,
    screen: Mutex<Screen>,
    clock: Clock,
    ledger: Arc<Mutex<Ledger>>,
    parts: watch::Sender<u64>,
    /// The node that answered last.
    node: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Player {
    /// Starts to play; ends with the set of tasks.
    pub fn start(
        http: reqwest::Client,
        balancers: [String; 2],
        ledger: Arc<Mutex<Ledger>>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Arc<Self> {
        let (at, screen) = (Mutex::default(), Mutex::default());
        let parts = watch::Sender::new(0);
        let player =
            Arc::new(Self { http, balancers, at, screen, clock: Clock::new(), ledger, parts, node: Mutex::default() });
        for index in 0..RENDITIONS.len() {
            let player = player.clone();
            tasks.spawn(async move { player.play(index).await });
        }
        player
    }

    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Stalls that began since then, with one that still lasts.
    pub fn stalls_since(&self, since: Duration) -> Vec<Stall> {
        let mut screen = lock(&self.screen);
        let now = self.clock.elapsed();
        screen.run(now.as_secs_f64());
        let going_on = screen.waiting.map(|(at, _)| {
            let at = Duration::from_secs_f64(at);
            Stall { at, length: now.saturating_sub(at) }
        });
        screen.stalls.iter().copied().chain(going_on).filter(|stall| stall.at >= since).collect()
    }

    /// The node that serves its media.
    pub fn node(&self) -> String {
        lock(&self.node).clone()
    }

    /// Seeks to PART-HOLD-BACK from the live edge, as players that fell back do in the long run.
    pub async fn seek(&self, patience: Duration) {
        lock(&self.screen).seeks = true;
        let mut seen = self.parts.subscribe();
        // Without media there is nowhere to seek to.
        let _ = tokio::time::timeout(patience, seen.wait_for(|_| !lock(&self.screen).seeks)).await;
    }

    /// Waits for this many more parts.
    pub async fn plays_on(&self, parts: u64, patience: Duration) -> bool {
        let mut seen = self.parts.subscribe();
        let goal = *seen.borrow() + parts;
        let waited = tokio::time::timeout(patience, seen.wait_for(|now| *now >= goal)).await;
        waited.is_ok()
    }

    async fn play(&self, index: usize) {
        let rendition = RENDITIONS[index];
        let mut next: Option<Place> = None;
        let mut map = None;
        loop {
            let query = next.map_or_else(String::new, |(msn, part)| format!("?_HLS_msn={msn}&_HLS_part={part}"));
            let path = format!("/live/{STREAM}/{rendition}/index.m3u8{query}");
            let Some((text, _)) = self.fetch(&path).await else { continue };
            let listing = match Listing::parse(&String::from_utf8_lossy(&text)) {
                Ok(listing) => listing,
                Err(why) => {
                    lock(&self.ledger).find(format!("{path}: {why}"));
                    continue;
                }
            };
            lock(&self.ledger).listed("player", rendition, &listing);
            let mut wanted = next.unwrap_or_else(|| begin(&listing));
            for segment in &listing.segments {
                if segment.msn < wanted.0 {
                    continue;
                }
                if segment.map.is_some() && segment.map != map {
                    map.clone_from(&segment.map);
                    self.object(rendition, map.as_deref().unwrap_or_default()).await;
                }
                let skipped = if segment.msn == wanted.0 { wanted.1 } else { 0 };
                let seconds = self.segment(rendition, segment, skipped).await;
                for seconds in seconds {
                    let now = self.clock.elapsed().as_secs_f64();
                    lock(&self.screen).fill(index, seconds, now, listing.part_hold_back);
                    self.parts.send_modify(|parts| *parts += 1);
                }
                wanted = match &segment.whole {
                    Some(_) => (segment.msn + 1, 0),
                    None => (segment.msn, segment.parts.len()),
                };
            }
            next = Some(wanted.max((listing.media_sequence, 0)));
        }
    }

    /// Fetches what is new of a segment. Returns the seconds of each piece.
    async fn segment(&self, rendition: &str, segment: &super::playlist::Segment, skipped: usize) -> Vec<f64> {
        let mut seconds = Vec::new();
        if segment.parts.is_empty() {
            // Its parts are not listed any more. What was played of it then counts twice, which is less than what was missed.
            if let (Some((uri, _)), false) = (&segment.whole, segment.gap) {
                self.object(rendition, uri).await;
            }
            seconds.extend(segment.seconds().filter(|_| skipped == 0));
            return seconds;
        }
        for part in segment.parts.iter().skip(skipped) {
            if !part.gap {
                self.object(rendition, &part.uri).await;
            }
            seconds.push(part.seconds());
        }
        // Also fetch the whole segment, as players without support for parts do.
        if let (Some((uri, _)), false, true) = (&segment.whole, segment.gap, segment.msn.is_multiple_of(4)) {
            self.object(rendition, uri).await;
        }
        seconds
    }

    /// Fetches a listed object, which every node has or gets.
    async fn object(&self, rendition: &str, uri: &str) {
        let path = format!("/live/{STREAM}/{rendition}/{uri}");
        let since = self.clock.elapsed();
        while self.clock.elapsed() - since < ABSENT_MAX {
            if let Some((bytes, source)) = self.fetch(&path).await {
                lock(&self.node).clone_from(&source);
                return lock(&self.ledger).served(&source, &path, &bytes);
            }
        }
        lock(&self.ledger).find(format!("{path} is listed, and was 404 for {ABSENT_MAX:?}"));
    }

    /// Asks one balancer and, if it fails, the other, until one answers. None is a 404.
    async fn fetch(&self, path: &str) -> Option<(Vec<u8>, String)> {
        loop {
            for _ in 0..self.balancers.len() {
                let (at, cookie) = lock(&self.at).clone();
                let mut request = self.http.get(format!("{}{path}", self.balancers[at])).timeout(ANSWER_WAIT_MAX);
                if let Some(cookie) = cookie {
                    request = request.header("cookie", cookie);
                }
                match self.answer(request).await {
                    Ok(answer) => return answer,
                    // The first task that notices changes the balancer, and the others follow.
                    Err(()) => {
                        let mut now = lock(&self.at);
                        if now.0 == at {
                            now.0 = (at + 1) % self.balancers.len();
                        }
                    }
                }
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Option<(Vec<u8>, String)>, ()> {
        let answer = request.send().await.map_err(|_| ())?;
        let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        let source = header("x-sealcast-node").unwrap_or_default();
        if let Some(cookie) = header("set-cookie") {
            lock(&self.at).1 = cookie.split(';').next().map(str::to_owned);
        }
        match answer.status() {
            StatusCode::OK => Ok(Some((answer.bytes().await.map_err(|_| ())?.to_vec(), source))),
            StatusCode::NOT_FOUND => {
                tokio::time::sleep(ROUND_PAUSE).await;
                Ok(None)
            }
            _ => Err(()),
        }
    }
}

/// Where a player at PART-HOLD-BACK begins: at the newest part that is that far from the end.
fn begin(listing: &Listing) -> Place {
    let mut behind = 0.0;
    for segment in listing.segments.iter().rev() {
        for (index, part) in segment.parts.iter().enumerate().rev() {
            behind += part.seconds();
            if behind >= listing.part_hold_back {
                return (segment.msn, index);
            }
        }
    }
    (listing.media_sequence, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD_BACK: f64 = 1.5;

    /// A screen that gets a part of half a second of both renditions at each of these times.
    fn played(times: &[f64]) -> Screen {
        let mut screen = Screen::default();
        for now in times {
            for rendition in 0..RENDITIONS.len() {
                screen.fill(rendition, 0.5, *now, HOLD_BACK);
            }
        }
        screen
    }

    fn stalls(times: &[f64]) -> Vec<(f64, f64)> {
        let seconds = |stall: &Stall| (stall.at.as_secs_f64(), stall.length.as_secs_f64());
        played(times).stalls.iter().map(seconds).collect()
    }

    #[test]
    fn parts_in_time_never_stall() {
        assert_eq!(stalls(&[0.0, 0.0, 0.0, 0.5, 1.0, 2.4, 2.4, 2.4, 3.0]), []);
    }

    #[test]
    fn parts_that_come_late_stall_from_when_the_buffer_is_empty_until_it_is_full() {
        // 1.5 s are buffered at 0, so it stands still from 1.5; at 2.5, enough is buffered again.
        assert_eq!(stalls(&[0.0, 0.0, 0.0, 2.5, 2.5, 2.5]), [(1.5, 1.0)]);
        assert_eq!(stalls(&[0.0, 0.0, 0.0, 2.0, 2.5, 3.0]), [(1.5, 1.5)]);
    }

    #[test]
    fn stall_that_goes_on_is_seen() {
        let mut screen = played(&[0.0, 0.0, 0.0]);
        screen.run(9.0);
        assert_eq!(screen.waiting, Some((1.5, 1.5)));
    }

    #[test]
    fn who_seeks_has_no_more_than_the_hold_back_again() {
        let mut screen = played(&[0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0, 4.0]);
        assert_eq!(screen.stalls.len(), 1);
        screen.seeks = true;
        for rendition in 0..RENDITIONS.len() {
            screen.fill(rendition, 0.5, 4.5, HOLD_BACK);
        }
        assert!(!screen.seeks);
        assert_eq!(screen.media() - (4.5 - screen.playing_since.unwrap()), HOLD_BACK);
    }
}
