//! What tenants use of their quotas: who publishes their streams, at this ingest and at others, and how much comes in. Pure.
//!
//! Ingests hear one another's reports every two seconds. A quota is what the newest metadata log says, so it holds while control is away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::{BitsPerSecond, NodeId, Now, StreamId, UnixMillis};
use messages::InputReport;

/// A report older than this counts no more: its ingest has sent none of three.
const FRESH: Duration = Duration::from_secs(7);
/// How long the bit rate of a tenant, which is a mean over eight seconds, may be above its quota before a publisher is let go. The peaks of
/// an encoder with a variable bit rate are shorter.
const OVER_MAX: Duration = Duration::from_secs(12);
/// Publishers that came within this time may not have known of one another: of too many, the newest go. An older one stays when a quota
/// is lowered.
const RACE: Duration = Duration::from_secs(15);
/// Publishers that are remembered: far more than the ingests of a cluster can encode.
const PUBLISHERS_MAX: usize = 10_000;

/// The limits of a tenant that has some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limits {
    /// The tenant.
    pub(crate) slug: String,
    pub(crate) publishers: Option<u64>,
    pub(crate) input_bps: Option<u64>,
}

/// A tenant's bit rate is above its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverQuota {
    pub(crate) used: BitsPerSecond,
    pub(crate) quota: BitsPerSecond,
}

/// What follows for a publisher of this ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All publishers of the tenant together send too much; `None` when they do not any more.
    Warn(StreamId, Option<OverQuota>),
    /// It has to go, because they went on to send too much.
    TooMuch(StreamId, OverQuota),
    /// It has to go, because it came at the same moment as others.
    TooMany(StreamId, u64),
}

#[derive(Debug, Clone)]
struct Publisher {
    heard: Duration,
    connected_at: UnixMillis,
    bit_rate: BitsPerSecond,
}

/// Who publishes, as reports say.
#[derive(Debug)]
pub(crate) struct Publishers {
    own: NodeId,
    /// By stream and ingest.
    publishers: BTreeMap<(StreamId, NodeId), Publisher>,
    /// Since when a tenant is above its bit rate.
    over: BTreeMap<String, Duration>,
}

impl Publishers {
    pub(crate) const fn new(own: NodeId) -> Self {
        Self { own, publishers: BTreeMap::new(), over: BTreeMap::new() }
    }

    /// Takes the report of an ingest, this one included. An ingest that stands by has a publisher that sends the same as another one.
    pub(crate) fn heard(&mut self, report: &InputReport, now: Duration) {
        let place = (report.stream.clone(), report.ingest.clone());
        let Some(connected_at) = report.connected_at.filter(|_| !report.standby) else {
            self.publishers.remove(&place);
            return;
        };
        self.publishers.retain(|_, publisher| now.saturating_sub(publisher.heard) < FRESH);
        if self.publishers.len() < PUBLISHERS_MAX || self.publishers.contains_key(&place) {
            let publisher = Publisher { heard: now, connected_at, bit_rate: report.bit_rate };
            self.publishers.insert(place, publisher);
        }
    }

    fn fresh(&self, now: Duration) -> impl Iterator<Item = (&StreamId, &NodeId, &Publisher)> {
        let is_fresh = move |publisher: &Publisher| now.saturating_sub(publisher.heard) < FRESH;
        self.publishers
            .iter()
            .filter(move |(_, publisher)| is_fresh(publisher))
            .map(|((stream, ingest), publisher)| (stream, ingest, publisher))
    }

    /// Streams that other ingests have and that are `its`.
    pub(crate) fn elsewhere(&self, now: Duration, its: impl Fn(&StreamId) -> bool) -> BTreeSet<StreamId> {
        let there = self.fresh(now).filter(|(stream, ingest, _)| **ingest != self.own && its(stream));
        there.map(|(stream, _, _)| stream.clone()).collect()
    }

    /// Judges all tenants that have limits. Called every two seconds or so.
    pub(crate) fn judge(&mut self, now: Now, limits_of: impl Fn(&StreamId) -> Option<Limits>) -> Vec<Verdict> {
        let mut tenants: BTreeMap<Limits, Vec<(UnixMillis, StreamId, NodeId, BitsPerSecond)>> = BTreeMap::new();
        for (stream, ingest, publisher) in self.fresh(now.elapsed) {
            if let Some(limits) = limits_of(stream) {
                let one = (publisher.connected_at, stream.clone(), ingest.clone(), publisher.bit_rate);
                tenants.entry(limits).or_default().push(one);
            }
        }
        self.over.retain(|slug, _| tenants.keys().any(|limits| limits.slug == *slug));
        let mut verdicts = Vec::new();
        for (limits, mut publishers) in tenants {
            // The oldest first; every ingest finds the same order.
            publishers.sort();
            self.judge_rate((&limits, &publishers), now.elapsed, &mut verdicts);
            if let Some(most) = limits.publishers {
                let mut streams = BTreeSet::new();
                for (connected_at, stream, ingest, _) in &publishers {
                    streams.insert(stream);
                    let is_surplus = u64::try_from(streams.len()).unwrap_or(u64::MAX) > most;
                    if is_surplus && *ingest == self.own && now.wall.since(*connected_at) < RACE {
                        verdicts.push(Verdict::TooMany(stream.clone(), most));
                    }
                }
            }
        }
        verdicts
    }

    fn judge_rate(
        &mut self,
        (limits, publishers): (&Limits, &[(UnixMillis, StreamId, NodeId, BitsPerSecond)]),
        now: Duration,
        verdicts: &mut Vec<Verdict>,
    ) {
        let used = publishers.iter().map(|(_, _, _, rate)| rate.0).fold(0, u64::saturating_add);
        let quota = limits.input_bps.filter(|quota| used > *quota);
        let over = quota.map(|quota| OverQuota { used: BitsPerSecond(used), quota: BitsPerSecond(quota) });
        let own = publishers.iter().filter(|(_, _, ingest, _)| *ingest == self.own);
        verdicts.extend(own.map(|(_, stream, _, _)| Verdict::Warn(stream.clone(), over)));
        let Some(over) = over else {
            self.over.remove(&limits.slug);
            return;
        };
        let since = self.over.entry(limits.slug.clone()).or_insert(now);
        if now.saturating_sub(*since) < OVER_MAX {
            return;
        }
        // The next one gets the same time.
        *since = now;
        if let Some((_, stream, _, _)) = publishers.last().filter(|(_, _, ingest, _)| *ingest == self.own) {
            verdicts.push(Verdict::TooMuch(stream.clone(), over));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stream: &str, ingest: &str, connected_s: i64, bit_rate: u64) -> InputReport {
        let text = serde_json::json!({
            "stream": stream, "ingest": ingest, "at": 0, "connected_at": connected_s * 1_000, "bit_rate": bit_rate,
        });
        serde_json::from_value(text).unwrap()
    }

    fn at(seconds: u64) -> Now {
        let elapsed = Duration::from_secs(seconds);
        Now { elapsed, wall: UnixMillis(0).plus(elapsed) }
    }

    fn publishers() -> Publishers {
        Publishers::new("i1".parse().unwrap())
    }

    /// `acme` may send 4 Mbit/s with three streams; the others may do as they like.
    fn limits(stream: &StreamId) -> Option<Limits> {
        let is_its = stream.as_str().starts_with("acme.");
        is_its.then(|| Limits { slug: "acme".to_owned(), publishers: Some(3), input_bps: Some(4_000_000) })
    }

    /// What is decided besides warnings, with reports of these rates each second.
    fn decided(
        known: &mut Publishers,
        seconds: std::ops::Range<u64>,
        rates: &[(&str, &str, i64, u64)],
    ) -> Vec<Verdict> {
        let mut decided = Vec::new();
        for second in seconds {
            for (stream, ingest, connected_s, rate) in rates {
                known.heard(&report(stream, ingest, *connected_s, *rate), at(second).elapsed);
            }
            decided.extend(known.judge(at(second), limits).into_iter().filter(|it| !matches!(it, Verdict::Warn(..))));
        }
        decided
    }

    #[test]
    fn tenant_that_goes_on_above_its_bit_rate_loses_the_newest_publisher_and_peaks_are_allowed() {
        let mut known = publishers();
        let over = OverQuota { used: BitsPerSecond(9_100_000), quota: BitsPerSecond(4_000_000) };
        let hall: StreamId = "acme.hall".parse().unwrap();
        let rates = [("acme.hall", "i1", 50, 9_000_000), ("acme.stage", "i2", 10, 100_000), ("other", "i1", 60, 99)];
        assert_eq!(decided(&mut known, 100..112, &rates), []);
        assert!(known.judge(at(111), limits).contains(&Verdict::Warn(hall.clone(), Some(over))), "it is warned before");
        assert_eq!(decided(&mut known, 112..113, &rates), [Verdict::TooMuch(hall.clone(), over)]);
        assert_eq!(decided(&mut known, 113..124, &rates), [], "the next one has the same time");
        // A peak is over before that, and the time begins anew.
        let (mut known, calm) = (publishers(), [("acme.hall", "i1", 50, 3_900_000)]);
        for round in 0..4 {
            let begin = 200 + 20 * round;
            assert_eq!(decided(&mut known, begin..begin + 11, &rates[..1]), []);
            assert_eq!(decided(&mut known, begin + 11..begin + 20, &calm), []);
        }
        assert!(known.judge(at(279), limits).contains(&Verdict::Warn(hall, None)));
    }

    #[test]
    fn other_ingests_count_and_the_one_that_has_the_newest_publisher_lets_it_go() {
        let mut known = publishers();
        let rates = [("acme.hall", "i1", 10, 3_000_000), ("acme.stage", "i2", 50, 3_000_000)];
        assert_eq!(decided(&mut known, 100..130, &rates), [], "the newest is that of the other");
    }

    #[test]
    fn of_too_many_that_came_at_one_moment_the_newest_go_and_old_ones_stay() {
        let mut known = publishers();
        let came = [
            ("acme.a", "i1", 100, 1),
            ("acme.b", "i2", 101, 1),
            ("acme.c", "i1", 102, 1),
            ("acme.d", "i2", 103, 1),
            ("acme.e", "i1", 104, 1),
        ];
        let gone = decided(&mut known, 105..106, &came);
        assert_eq!(gone, [Verdict::TooMany("acme.e".parse().unwrap(), 3)], "d is that of the other ingest");
        assert_eq!(decided(&mut known, 200..201, &came), [], "nobody is cut later");
    }

    #[test]
    fn report_counts_while_it_is_fresh_and_not_of_a_second_ingest_that_stands_by() {
        let mut known = publishers();
        let all = |_: &StreamId| true;
        known.heard(&report("acme.a", "i2", 1, 1), at(10).elapsed);
        known.heard(&report("acme.b", "i1", 1, 1), at(10).elapsed);
        known.heard(&InputReport { standby: true, ..report("acme.c", "i2", 1, 1) }, at(10).elapsed);
        let elsewhere = |known: &Publishers, second| {
            known.elsewhere(at(second).elapsed, all).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(elsewhere(&known, 16), ["acme.a"]);
        assert!(elsewhere(&known, 17).is_empty());
        known.heard(&InputReport { connected_at: None, ..report("acme.a", "i2", 1, 1) }, at(11).elapsed);
        assert!(elsewhere(&known, 12).is_empty(), "it has left");
        for n in 0..PUBLISHERS_MAX + 10 {
            known.heard(&report(&format!("s{n}"), "i2", 1, 1), at(12).elapsed);
        }
        assert!(known.publishers.len() <= PUBLISHERS_MAX);
    }
}
