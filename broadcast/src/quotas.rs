//! What tenants use of the cluster's nodes, and what their quotas leave this one: bits to viewers, and bytes of recordings.
//!
//! Each node counts what it sends for a tenant's streams and what it has of them on disk, says both in its presence, and adds up what all
//! nodes say. So every node comes to the same conclusion within two or three seconds, and none has to ask. The quotas are those of the
//! metadata log, and hold while control is away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::Rules;
use arc_swap::ArcSwap;
use cluster::Health;
use media::{BitsPerSecond, StreamId};
use messages::{Role, TenantLoad};
use metadata::View;
use node::CancellationToken;
use node::clock::Clock;
use node::cluster_view::ClusterView;
use tokio::time::MissedTickBehavior;

/// How often a node adds up: as often as nodes say what they use.
const INTERVAL: Duration = node::presence::INTERVAL;
/// Over which time a rate is a mean: two segments and more, so that it does not swing with them.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Measurements within [`RATE_OVER`], and one before it.
const MEASURED_MAX: usize = 7;
/// A tenant that was above its quota takes new viewers again at this share of it: the rate of a few viewers swings by less.
const REOPENS_PERCENT: u64 = 90;
/// Most tenants of which a node says what they use: as many as it has streams. Those that use most come first.
const SAID_MAX: usize = 256;
/// Slug of the tenant that is always there.
const DEFAULT_TENANT: &str = "default";

/// What a tenant uses of this node, and what it may.
#[derive(Debug)]
pub(crate) struct Account {
    sent_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    /// Bytes of recordings that this node may keep.
    stored_bytes_max: AtomicU64,
    /// Nobody begins to watch.
    is_closed: AtomicBool,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            sent_bytes: AtomicU64::default(),
            stored_bytes: AtomicU64::default(),
            stored_bytes_max: AtomicU64::new(u64::MAX),
            is_closed: AtomicBool::default(),
        }
    }
}

impl Account {
    /// Counts bytes that a viewer's connection took.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of recordings that this node may keep of the tenant's streams; `u64::MAX` where only the disk limits them.
    pub(crate) fn stored_bytes_max(&self) -> u64 {
        self.stored_bytes_max.load(Ordering::Relaxed)
    }

    /// Whether viewers of the tenant get as much as its quota allows, so that nobody else may begin.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// The limits of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) egress_bps: Option<u64>,
    pub(crate) storage_bytes: Option<u64>,
}

/// What the log says of tenants, by their slugs.
#[derive(Debug, Default)]
struct Known {
    tenants: BTreeMap<String, (Limits, Arc<Account>)>,
    rules: Arc<Rules>,
}

/// All tenants of the log.
#[derive(Debug, Default)]
pub struct Quotas {
    known: ArcSwap<Known>,
    meters: Mutex<BTreeMap<String, Meter>>,
}

impl Quotas {
    /// From now on, the quotas of this log count. What was counted stays.
    pub(crate) fn obey(&self, view: &View<'_>, rules: Arc<Rules>) {
        let limits = |row: &metadata::Tenant| Limits {
            egress_bps: row.quota.egress_bps,
            storage_bytes: row.quota.storage_bytes,
        };
        self.know(view.tenants().map(|row| (row.slug.clone(), limits(row))), rules);
    }

    /// The same of tenants with these limits.
    pub(crate) fn know(&self, tenants: impl Iterator<Item = (String, Limits)>, rules: Arc<Rules>) {
        let before = self.known.load();
        let account = |slug: &str| before.tenants.get(slug).map(|(_, account)| Arc::clone(account)).unwrap_or_default();
        let with_account = |(slug, limits): (String, Limits)| {
            let account = account(&slug);
            (slug, (limits, account))
        };
        self.known.store(Arc::new(Known { tenants: tenants.map(with_account).collect(), rules }));
    }

    /// The account of whoever owns a stream; `None` of a stream that is not there, or in a log of before tenants were in it.
    pub(crate) fn account(&self, stream: &StreamId) -> Option<Arc<Account>> {
        let known = self.known.load();
        if known.tenants.is_empty() || known.rules.is_gone(stream) {
            return None;
        }
        let owner = known.rules.owner(stream).unwrap_or(DEFAULT_TENANT);
        known.tenants.get(owner).map(|(_, account)| Arc::clone(account))
    }

    /// Slug of the tenant that owns a stream, for the recordings of streams that are there.
    pub(crate) fn owner(&self, stream: &StreamId) -> Option<String> {
        let known = self.known.load();
        (!known.rules.is_gone(stream)).then(|| known.rules.owner(stream).unwrap_or(DEFAULT_TENANT).to_owned())
    }

    /// Whether the log has streams, and this one is none of them.
    pub(crate) fn is_gone(&self, stream: &StreamId) -> bool {
        self.known.load().rules.is_gone(stream)
    }

    /// Bytes of recordings that this node may keep of a tenant's streams.
    pub(crate) fn stored_bytes_max(&self, slug: &str) -> u64 {
        self.known.load().tenants.get(slug).map_or(u64::MAX, |(_, account)| account.stored_bytes_max())
    }

    /// Notes what recordings take, by the slugs of their tenants.
    pub(crate) fn note_stored(&self, used: &BTreeMap<String, u64>) {
        for (slug, (_, account)) in &self.known.load().tenants {
            account.stored_bytes.store(used.get(slug).copied().unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// What tenants use of this node, those that use most first.
    pub(crate) fn said(&self) -> Vec<TenantLoad> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        let said = known.tenants.iter().filter_map(|(slug, (_, account))| {
            let egress = meters.get(slug).map_or(0, Meter::rate);
            let storage_bytes = account.stored_bytes.load(Ordering::Relaxed);
            let load = TenantLoad { tenant: slug.clone(), egress: BitsPerSecond(egress), storage_bytes };
            (egress > 0 || storage_bytes > 0).then_some(load)
        });
        let mut said: Vec<TenantLoad> = said.collect();
        said.sort_by_key(|load| std::cmp::Reverse((load.egress, load.storage_bytes)));
        said.truncate(SAID_MAX);
        said
    }

    /// Measures what was sent since, and compares what all nodes use with the quotas.
    pub(crate) fn measure(&self, now: Duration, others: &BTreeMap<String, (u64, u64)>) {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        meters.retain(|slug, _| known.tenants.contains_key(slug));
        for (slug, (limits, account)) in &known.tenants {
            let sent = account.sent_bytes.load(Ordering::Relaxed);
            // Tenants that nobody watches need none.
            let own = match meters.get_mut(slug) {
                Some(meter) => meter.measure(now, sent),
                None if sent > 0 => meters.entry(slug.clone()).or_default().measure(now, sent),
                None => 0,
            };
            let (egress, storage) = others.get(slug).copied().unwrap_or_default();
            let is_closed = is_closed(account.is_closed(), own.saturating_add(egress), limits.egress_bps);
            if is_closed != account.is_closed.swap(is_closed, Ordering::Relaxed) {
                let (used_bps, quota_bps) = (own.saturating_add(egress), limits.egress_bps);
                tracing::info!(
                    tenant = slug,
                    used_bps,
                    quota_bps,
                    is_closed,
                    "new viewers are refused, or let in again"
                );
            }
            let share = share(account.stored_bytes.load(Ordering::Relaxed), storage, limits.storage_bytes);
            account.stored_bytes_max.store(share, Ordering::Relaxed);
        }
    }

    /// Measures and compares until `shutdown`.
    pub(crate) async fn run(
        self: Arc<Self>,
        cluster: ClusterView,
        clock: Clock,
        own: media::NodeId,
        shutdown: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let others = cluster.look(|cluster| {
                let mut others: BTreeMap<String, (u64, u64)> = BTreeMap::new();
                let nodes = cluster.members.members().filter(|member| {
                    let is_other = member.presence.role == Role::Broadcast && member.presence.node != own;
                    is_other && cluster.health(member) != Health::Offline
                });
                for load in nodes.flat_map(|member| &member.presence.tenants) {
                    let (egress, storage) = others.entry(load.tenant.clone()).or_default();
                    *egress = egress.saturating_add(load.egress.0);
                    *storage = storage.saturating_add(load.storage_bytes);
                }
                others
            });
            self.measure(clock.elapsed(), &others);
        }
    }
}

/// Whether nobody else may begin to watch.
fn is_closed(was_closed: bool, used: u64, quota: Option<u64>) -> bool {
    let Some(quota) = quota else { return false };
    let limit = if was_closed { percent(quota, REOPENS_PERCENT) } else { quota };
    used > limit
}

fn percent(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// Bytes that this node may keep, which has `own` of all that nodes have: its part where they have too much, and what is left of the quota
/// otherwise.
fn share(own: u64, others: u64, quota: Option<u64>) -> u64 {
    let Some(quota) = quota else { return u64::MAX };
    let all = own.saturating_add(others);
    match quota.checked_sub(all) {
        Some(left) => own.saturating_add(left),
        None => {
            let part = u128::from(own) * u128::from(quota) / u128::from(all.max(1));
            u64::try_from(part).unwrap_or(u64::MAX)
        }
    }
}

/// A counter of bytes, as it was in the last seconds.
#[derive(Debug, Default)]
struct Meter {
    measured: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// Takes the counter as it is now. Returns bits per second, as a mean over [`RATE_OVER`].
    fn measure(&mut self, now: Duration, bytes: u64) -> u64 {
        self.measured.push_back((now, bytes));
        while self.measured.len() > MEASURED_MAX
            || self.measured.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_OVER)
        {
            self.measured.pop_front();
        }
        self.rate()
    }

    fn rate(&self) -> u64 {
        let Some(((from, before), (to, after))) = self.measured.front().zip(self.measured.back()) else { return 0 };
        // One that has just begun is no faster for that.
        let time = to.saturating_sub(*from).max(RATE_OVER / 5).as_millis().max(1);
        let bits = u128::from(after.saturating_sub(*before)) * 8 * 1_000 / time;
        u64::try_from(bits).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rate_is_a_mean_of_ten_seconds_and_falls_to_nothing() {
        let mut meter = Meter::default();
        assert_eq!(meter.measure(s(0), 1_000), 0, "nothing was measured before");
        assert_eq!(meter.measure(s(2), 1_000_000 + 1_000), 4_000_000);
        // A segment every four seconds.
        for second in [4, 6, 8, 10] {
            meter.measure(s(second), 1_001_000 + second / 4 * 1_000_000);
        }
        assert_eq!(meter.rate(), 3_000_000 * 8 / 10);
        for second in [12, 14, 16, 18, 20, 22] {
            meter.measure(s(second), 3_001_000);
        }
        assert_eq!(meter.rate(), 0);
        assert!(meter.measured.len() <= MEASURED_MAX);
    }

    #[test]
    fn tenant_above_its_quota_is_closed_until_it_is_clearly_below() {
        assert!(!is_closed(false, 100, Some(100)) && is_closed(false, 101, Some(100)));
        assert!(is_closed(true, 91, Some(100)) && !is_closed(true, 90, Some(100)));
        assert!(!is_closed(true, u64::MAX, None) && is_closed(false, 1, Some(0)) && !is_closed(true, 0, Some(0)));
        assert!(!is_closed(true, u64::MAX / 10 * 8, Some(u64::MAX)), "no overflow");
    }

    #[test]
    fn nodes_share_a_quota_of_storage_by_what_they_have() {
        assert_eq!(share(7, 9, None), u64::MAX);
        assert_eq!(share(30, 50, Some(100)), 50, "what is left");
        assert_eq!(share(30, 70, Some(100)), 30);
        // Twice too much: each keeps half.
        assert_eq!((share(150, 50, Some(100)), share(50, 150, Some(100))), (75, 25));
        assert_eq!((share(9, 0, Some(0)), share(0, 0, Some(0)), share(0, 5, Some(1))), (0, 0, 0));
        assert_eq!(share(u64::MAX, u64::MAX, Some(u64::MAX)), u64::MAX);
    }
}
