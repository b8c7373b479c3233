//! Sends requests that a player would not send: directives at their limits, objects that do not exist.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fetch::{Fetcher, Wish, resolve, with_directives};
use crate::observation::{Answer, At, Probe, Question};
use crate::playlist::{MediaPlaylist, Position, Text};

/// Most attempts to get a delta update between two equal full playlists.
const DELTA_TRIES: usize = 6;

/// The playlists to probe: index and URL.
#[derive(Clone)]
pub(super) struct Prober {
    pub fetcher: Fetcher,
    pub playlists: Vec<(usize, String)>,
    pub until: At,
    /// Takes probes one by one, so that a server that does not answer one costs only that one.
    pub probes: mpsc::Sender<Probe>,
}

/// Most probes of a run.
pub(super) const PROBES_MAX: usize = 256;

type Read = Arc<MediaPlaylist>;

impl Prober {
    /// Probes the first playlist with the whole matrix, and then each one with delta updates.
    pub(super) async fn run(self) {
        if let Some((index, url)) = self.playlists.first() {
            self.matrix(*index, url).await;
        }
        for (index, url) in &self.playlists {
            if self.fetcher.clock.now() < self.until {
                self.delta(*index, url).await;
            }
        }
    }

    /// If the stream ended during the run, sends the probes that an ended playlist has to ignore.
    pub(super) async fn after_the_end(&self) {
        for (index, url) in &self.playlists {
            let (_, Some(before)) = self.load(url, Duration::from_secs(10)).await else { return };
            if before.ended {
                self.ended(*index, url, &before).await;
                self.delta(*index, url).await;
            }
        }
    }

    async fn ended(&self, index: usize, url: &str, before: &Read) {
        if let Some(end) = before.end().filter(|_| before.can_block()) {
            let far = ("_HLS_msn", (end.msn + 1_000).to_string());
            self.ask(index, Question::Ended, url, before, &[far]).await;
        }
    }

    fn note(&self, probe: Probe) {
        // The channel is full when there are more playlists than probes can be kept for.
        let _ = self.probes.try_send(probe);
    }

    async fn load(&self, url: &str, wait_max: Duration) -> (Answer, Option<Read>) {
        let got = self.fetcher.get(url, Wish { range: None, text: true, wait_max }).await;
        let whole = got.answer.status == 200 && got.answer.problem.is_none();
        let playlist = whole.then(|| Arc::new(MediaPlaylist::read(&Arc::new(Text::read(&got.body)))));
        (got.answer, playlist)
    }

    async fn ask(&self, rendition: usize, question: Question, url: &str, before: &Read, directives: &[(&str, String)]) {
        let asked = with_directives(url, directives);
        let (answer, body) = self.load(&asked, 4 * before.target() + Duration::from_secs(3)).await;
        self.note(Probe { rendition, question, before: before.clone(), answer, body, after: None });
    }

    /// The matrix of 6.2.5.2 for one playlist.
    async fn matrix(&self, index: usize, url: &str) {
        let wait = Duration::from_secs(10);
        let (_, Some(before)) = self.load(url, wait).await else { return };
        self.unknown(index, url, &before).await;
        if before.ended {
            return self.ended(index, url, &before).await;
        }
        if !before.can_block() {
            return;
        }
        let msn = |msn: u64| ("_HLS_msn", msn.to_string());
        if let Some((listed, _)) = before.numbered().next_back() {
            self.ask(index, Question::Listed, url, &before, &[msn(listed)]).await;
        }
        if let Some(removed) = before.first_msn().checked_sub(1) {
            self.ask(index, Question::Removed, url, &before, &[msn(removed)]).await;
        }
        self.ask(index, Question::PartAlone, url, &before, &[("_HLS_part", "0".to_owned())]).await;
        for ahead in [4, 1_000] {
            let (_, Some(before)) = self.load(url, wait).await else { return };
            let Some(end) = before.end() else { return };
            self.ask(index, Question::Beyond(ahead), url, &before, &[msn(end.msn + ahead)]).await;
        }
        if before.low_latency() {
            self.parts(index, url).await;
        }
    }

    async fn parts(&self, index: usize, url: &str) {
        let wait = Duration::from_secs(10);
        let (_, Some(before)) = self.load(url, wait).await else { return };
        let Some(end) = before.end() else { return };
        let open = if end.parts == Position::WHOLE { end.msn + 1 } else { end.msn };
        // Use the segment after the open one. The open one may be finished by now, and then any part number belongs to the next.
        let far = [("_HLS_msn", (open + 1).to_string()), ("_HLS_part", "1000".to_owned())];
        self.ask(index, Question::BeyondPart, url, &before, &far).await;
        // When a segment is complete and the next one has no part yet, its "next part" is part 0 of the next segment.
        let whole = with_directives(url, &[("_HLS_msn", open.to_string())]);
        let (_, Some(before)) = self.load(&whole, 4 * before.target() + Duration::from_secs(3)).await else { return };
        let last = before.numbered().next_back().map(|(msn, segment)| (msn, segment.parts.len()));
        if let (Some((msn, parts)), None) = (last, &before.open)
            && parts > 0
        {
            let over = [("_HLS_msn", msn.to_string()), ("_HLS_part", parts.to_string())];
            self.ask(index, Question::OverPart, url, &before, &over).await;
        }
    }

    /// Requests a name beside the newest segment that does not exist.
    async fn unknown(&self, index: usize, url: &str, before: &Read) {
        let Some(segment) = before.segments.last() else { return };
        let base = resolve(url, &segment.uri);
        let extension = segment.uri.rsplit_once('.').map_or("", |(_, extension)| extension);
        let extension = extension.split(['?', '/']).next().unwrap_or("");
        let asked = resolve(&base, &format!("no-such-object-4711.{extension}"));
        let wait_max = 4 * before.target() + Duration::from_secs(3);
        let answer = self.fetcher.get(&asked, Wish { range: None, text: false, wait_max }).await.answer;
        let (before, body) = (before.clone(), None);
        self.note(Probe { rendition: index, question: Question::Unknown, before, answer, body, after: None });
    }

    /// A delta update between two equal full playlists.
    async fn delta(&self, rendition: usize, url: &str) {
        let wait = Duration::from_secs(10);
        let mut last = None;
        for _ in 0..DELTA_TRIES {
            let (_, Some(before)) = self.load(url, wait).await else { return };
            if before.skip_boundary().is_none() || self.fetcher.clock.now() > self.until {
                break;
            }
            let question = if before.ended { Question::EndedDelta } else { Question::Delta };
            let asked = with_directives(url, &[("_HLS_skip", "YES".to_owned())]);
            let (answer, body) = self.load(&asked, wait).await;
            let (_, after) = self.load(url, wait).await;
            let quiet = after.as_ref().is_some_and(|after| after.text.raw == before.text.raw);
            last = Some(Probe { rendition, question, before, answer, body, after });
            if quiet {
                break;
            }
        }
        if let Some(last) = last {
            self.note(last);
        }
    }
}
