//! Viewers that come at random moments, and statistics over them, for `latency`, `join` and `crowd`.

use std::time::Duration;

use crate::origin::Origin;
use crate::viewer::{Browser, Seen, Viewer};

/// Longest pause between a viewer's leave and the next join: a whole segment, so that every position in one is equally likely.
const GAP_MAX: Duration = Duration::from_secs(4);

/// Pseudo-random moments, which repeat with the same seed (SplitMix64).
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next pause, evenly distributed over [`GAP_MAX`].
    pub(crate) fn pause(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let millis = u64::try_from(GAP_MAX.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % millis)
    }
}

/// Joins of one kind: the name of what was watched, and what each viewer saw.
pub(crate) struct Joins {
    pub(crate) name: String,
    pub(crate) seen: Vec<Seen>,
}

impl Joins {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), seen: Vec::new() }
    }

    /// Runs one more viewer, for `seconds`.
    pub(crate) async fn add(&mut self, browser: &mut Browser, viewer: &Viewer, seconds: f64) -> anyhow::Result<()> {
        let seen = browser.watch(viewer, seconds).await?;
        eprintln!("{}: {}", self.name, describe(&seen));
        self.seen.push(seen);
        Ok(())
    }

    /// Runs one more viewer in each browser, all at once.
    pub(crate) async fn add_all(
        &mut self,
        browsers: &mut [Browser],
        viewer: &Viewer,
        seconds: f64,
    ) -> anyhow::Result<()> {
        let watch = browsers.iter_mut().map(|browser| browser.watch(viewer, seconds));
        for seen in futures_util::future::try_join_all(watch).await? {
            eprintln!("{}: {}", self.name, describe(&seen));
            self.seen.push(seen);
        }
        Ok(())
    }

    /// A value of each join; joins without one count as infinite.
    pub(crate) fn each(&self, value: impl Fn(&Seen) -> Option<f64>) -> Spread {
        let mut values: Vec<f64> = self.seen.iter().map(|seen| value(seen).unwrap_or(f64::INFINITY)).collect();
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    /// The age of the picture in each join: the median over its frames, in seconds.
    pub(crate) fn ages(&self) -> Spread {
        self.each(|seen| Some(crate::median(seen.ages())).filter(|age| age.is_finite()))
    }

    pub(crate) fn stalls(&self) -> usize {
        self.seen.iter().map(|seen| seen.stalls.len()).sum()
    }

    pub(crate) fn errors(&self) -> usize {
        self.seen.iter().map(|seen| seen.errors.len()).sum()
    }
}

/// One turn of a server, in a browser of its own: `count` joins of each line, with the lines alternating.
pub(crate) async fn turn(
    origin: &Origin,
    moments: &mut Moments,
    (count, seconds): (usize, f64),
    lines: &mut [(Viewer, &mut Joins)],
) -> anyhow::Result<()> {
    let before = load();
    let mut browser = Browser::open(&origin.hls_js()).await?;
    for _ in 0..count {
        for (viewer, joins) in &mut *lines {
            tokio::time::sleep(moments.pause()).await;
            joins.add(&mut browser, viewer, seconds).await?;
        }
    }
    eprintln!("load average {before} before, {} after", load());
    browser.close().await
}

/// One join as a line of text, for whoever watches the measurement.
fn describe(seen: &Seen) -> String {
    let ages = seen.ages();
    let at = |age: Option<&f64>| age.map_or_else(|| "-".to_owned(), |age| format!("{age:.2}"));
    let stalls = seen.stalls.iter().fold(0.0, |sum, stall| sum + stall.ms);
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let mut line = format!(
        "first frame {:.0} ms, second {:.0}; age first {} median {:.2} last {} s",
        seen.first_frame_ms.unwrap_or(f64::NAN),
        seen.second_frame_ms.unwrap_or(f64::NAN),
        at(ages.first()),
        crate::median(ages.clone()),
        at(ages.last()),
    );
    line.push_str(&format!(
        " (the player says {}, the page {}); {} stalls, {stalls:.0} ms; {} dropped; {}p; timeline moved {:.0} ms; {} frames read",
        number(seen.player_latency_seconds),
        number(seen.page_glass_to_glass_seconds),
        seen.stalls.len(),
        seen.dropped.unwrap_or(f64::NAN),
        seen.level.unwrap_or(f64::NAN),
        seen.timeline_shift_ms(),
        ages.len(),
    ));
    for error in &seen.errors {
        line.push_str(&format!("; {error}"));
    }
    line
}

/// Values in ascending order.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// Percentile by nearest rank: the smallest value that `percent` (0 to 100) of all values do not exceed.
    fn at(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(50)
    }

    pub(crate) fn p95(&self) -> f64 {
        self.at(95)
    }
}

/// The machine's load average over the last minute, because figures of a busy machine mean little.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
