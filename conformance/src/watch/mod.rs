//! The shell: watches a stream for a while and fills the [`Observation`].
//!
//! Owns requests, timing and limits. Judges nothing.

pub(crate) mod clock;
mod cookies;
mod fetch;
mod objects;
mod poll;
mod prober;
mod secure;
mod tools;
mod transport;
mod trust;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::observation::{Observation, RenditionSeen, Role};
use crate::playlist::{Flavour, Multivariant, Text, flavour};
use clock::Stopwatch;
pub use fetch::Cookies;
use fetch::{Fetcher, Wish, resolve};
use poll::{Kept, Poller};
use prober::{PROBES_MAX, Prober};
pub use transport::{Ask, Network, Reply, Transport};
pub use trust::Trust;

/// Most media playlists of one multivariant playlist that are watched.
const RENDITIONS_MAX: usize = 64;
/// Longest time for all runs of the tools together.
const TOOLS_WAIT_MAX: Duration = Duration::from_secs(120);

/// What to watch, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A multivariant or media playlist.
    pub url: String,
    pub duration: Duration,
    /// How much longer to wait at the end for requests that are under way or due.
    pub row_timeout: Duration,
    /// Whether the server's cookies are kept.
    pub cookies: Cookies,
    /// Whether `ffprobe` and `ffmpeg` check segments.
    pub tools: Tools,
    /// Tolerance for timings when machine and network are busy, in addition to the round trip.
    pub slack: Duration,
}

/// Whether `ffprobe` and `ffmpeg` check segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// Yes, if they are installed.
    Use,
    /// No.
    Leave,
}

/// Watches a stream. Fails only if there is nothing to watch.
pub async fn observe(transport: Arc<dyn Transport>, settings: &Settings) -> anyhow::Result<Observation> {
    let clock = Stopwatch::start();
    let fetcher = Fetcher::new(transport, settings.cookies, clock);
    let wish = Wish { range: None, text: true, wait_max: Duration::from_secs(20) };
    let first = fetcher.get(&settings.url, wish).await;
    ensure!(
        first.answer.status == 200 && first.answer.problem.is_none(),
        "{}: {}",
        settings.url,
        first.answer.outcome()
    );
    let text = Arc::new(Text::read(&first.body));
    ensure!(text.starts_right || text.raw.contains("#EXTM3U"), "{} is not a playlist: it has no #EXTM3U", settings.url);
    let multivariant = (flavour(&text) == Flavour::Multivariant).then(|| Arc::new(Multivariant::read(&text)));
    let listed = match &multivariant {
        Some(multivariant) => listed(multivariant, &first.url),
        None => vec![(first.url.clone(), settings.url.clone(), vec![Role::Alone])],
    };
    if listed.is_empty() {
        bail!("{} lists no playlists", settings.url);
    }
    let mut observation = Observation {
        url: settings.url.clone(),
        first: first.answer,
        multivariant,
        tools_missing: match settings.tools {
            Tools::Use => tools::missing().await,
            Tools::Leave => Some("ffprobe and ffmpeg were left out".to_owned()),
        },
        ..Observation::default()
    };
    if settings.url.starts_with("https:") {
        observation.tls = fetcher.transport.tls(&first.url).await;
    }
    watch(settings, &fetcher, listed, &mut observation).await?;
    observation.slack = settings.slack + round_trip(&observation);
    let first = observation.firsts().next().map(|(_, playlist)| playlist.target());
    observation.interval = poll::interval(first.unwrap_or_default());
    Ok(observation)
}

/// The media playlists of a multivariant playlist, each once: URL, URI as written, roles.
fn listed(multivariant: &Multivariant, base: &str) -> Vec<(String, String, Vec<Role>)> {
    let mut found: Vec<(String, String, Vec<Role>)> = Vec::new();
    let variants = multivariant.variants.iter().enumerate().map(|(index, variant)| {
        let role = if variant.iframes { Role::Iframes(index) } else { Role::Variant(index) };
        (variant.uri.as_str(), role)
    });
    let renditions = multivariant.renditions.iter().enumerate();
    let renditions = renditions.filter_map(|(index, rendition)| Some((rendition.uri()?, Role::Media(index))));
    for (uri, role) in variants.chain(renditions) {
        let url = resolve(base, uri);
        let room = found.len() < RENDITIONS_MAX;
        match found.iter_mut().find(|(known, _, _)| *known == url) {
            Some((_, _, roles)) => roles.push(role),
            None if room => found.push((url, uri.to_owned(), vec![role])),
            None => {}
        }
    }
    found
}

/// A media playlist that was watched, and the segments of it that are kept for the tools.
type Watched = (RenditionSeen, Vec<Kept>);

async fn watch(
    settings: &Settings,
    fetcher: &Fetcher,
    listed: Vec<(String, String, Vec<Role>)>,
    observation: &mut Observation,
) -> anyhow::Result<()> {
    let began = fetcher.clock.now();
    let until = began + settings.duration;
    let (probes, mut probed) = mpsc::channel(PROBES_MAX);
    let prober = Prober { fetcher: fetcher.clone(), playlists: to_probe(&listed), until, probes };
    let mut pollers = JoinSet::new();
    for (index, (url, name, roles)) in listed.into_iter().enumerate() {
        let poller = Poller::new(fetcher.clone(), url, name, roles, until, settings.row_timeout);
        pollers.spawn(async move { (index, poller.run().await) });
    }
    let probing = tokio::spawn(prober.clone().run());
    let watched = in_order(pollers).await?;
    observation.lasted = fetcher.clock.now().saturating_sub(began);
    finish_probing(&prober, probing, settings.row_timeout, &watched).await;
    while let Ok(probe) = probed.try_recv() {
        observation.probes.push(probe);
    }
    let tools_end = fetcher.clock.now() + TOOLS_WAIT_MAX;
    for (mut rendition, kept) in watched {
        if observation.tools_missing.is_none() {
            second_opinions(&mut rendition, kept, fetcher.clock, tools_end).await;
        }
        observation.renditions.push(rendition);
    }
    ensure_something_loaded(observation)
}

/// Index and URL of each playlist. I-frame playlists come last, because the first playlist gets the whole matrix of probes.
fn to_probe(listed: &[(String, String, Vec<Role>)]) -> Vec<(usize, String)> {
    let (iframes, others): (Vec<_>, Vec<_>) =
        listed.iter().enumerate().partition(|(_, (_, _, roles))| matches!(roles.first(), Some(Role::Iframes(_))));
    others.into_iter().chain(iframes).map(|(index, (url, _, _))| (index, url.clone())).collect()
}

/// What all pollers saw, in the order of their playlists.
async fn in_order(mut pollers: JoinSet<(usize, Watched)>) -> anyhow::Result<Vec<Watched>> {
    let mut watched = BTreeMap::new();
    while let Some(done) = pollers.join_next().await {
        let (index, seen) = done.context("a poller broke")?;
        watched.insert(index, seen);
    }
    Ok(watched.into_values().collect())
}

/// Waits a while for probes that are under way, then sends those for playlists that ended meanwhile.
async fn finish_probing(prober: &Prober, mut probing: JoinHandle<()>, row_timeout: Duration, watched: &[Watched]) {
    let wait_max = row_timeout.max(Duration::from_secs(1));
    if tokio::time::timeout(wait_max, &mut probing).await.is_err() {
        probing.abort();
    }
    let ended_meanwhile = |(rendition, _): &Watched| {
        rendition.last().is_some_and(|last| last.ended)
            && rendition.versions.first().is_some_and(|first| !first.playlist.ended)
    };
    if watched.iter().any(ended_meanwhile) {
        let _ = tokio::time::timeout(wait_max, prober.after_the_end()).await;
    }
}

fn ensure_something_loaded(observation: &Observation) -> anyhow::Result<()> {
    ensure!(
        observation.firsts().next().is_some(),
        "none of the media playlists of {} could be loaded: {}",
        observation.url,
        observation
            .renditions
            .iter()
            .filter_map(|rendition| Some(format!("{} {}", rendition.name, rendition.loads.last()?.answer.outcome())))
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok(())
}

async fn second_opinions(rendition: &mut RenditionSeen, kept: Vec<Kept>, clock: Stopwatch, end: Duration) {
    for Kept { msn, init, bytes } in kept {
        if clock.now() > end {
            return;
        }
        if let (Ok(probed), Some(seen)) = (tools::probe(init.as_ref(), &bytes).await, rendition.segments.get_mut(&msn))
        {
            seen.probed = Some(probed);
        }
    }
}

/// Round trip: the median time of plain requests for playlists.
fn round_trip(observation: &Observation) -> Duration {
    let plain = observation.renditions.iter().flat_map(|rendition| &rendition.loads);
    let mut took: Vec<_> = plain
        .filter(|load| load.asked == crate::observation::Asked::Plain && load.end.is_some())
        .map(|load| load.answer.took())
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}
