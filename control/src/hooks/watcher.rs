//! Looks at what tenants use and how old issuers' keys are, and writes an event for each crossing of a bound ([`super::crossings`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalogue::{DEFAULT_SLUG, Error, Id, Kind, Stood};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::EVENTS;
use super::crossings::{Crossed, Crossings, Level, Seen};
use crate::ControlState;
use crate::lease::LeaseHolder;
use crate::usage::Usage;

/// How often it looks: nodes say every two seconds what tenants use.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Kinds of subjects.
const QUOTA: &str = "quota";
const ISSUER: &str = "issuer";

/// What an event says of something.
struct Facts {
    tenant: Id,
    object: Value,
}

pub(crate) struct Watcher<'a> {
    shared: &'a Arc<ControlState>,
    holder: String,
}

/// Everything of one kind, as it is seen now.
type Look = BTreeMap<String, (Seen, Facts)>;

impl<'a> Watcher<'a> {
    pub(crate) fn new(shared: &'a Arc<ControlState>, lease: &LeaseHolder) -> Self {
        Self { shared, holder: lease.name.clone() }
    }

    /// Writes events until the lease is lost, or the catalogue fails.
    pub(crate) async fn run(self) -> Result<Infallible, Error> {
        let catalogue = &self.shared.catalogue;
        let mut of_quotas = Crossings::resume(levels(catalogue.standings(QUOTA).await?));
        let mut of_issuers = Crossings::resume(levels(catalogue.standings(ISSUER).await?));
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = self.shared.node.clock.elapsed();
            let (quotas, issuers) = (self.quotas(), self.issuers());
            let mut stood = self::stood(QUOTA, of_quotas.see(&seen(&quotas), now), &quotas);
            stood.extend(self::stood(ISSUER, of_issuers.see(&seen(&issuers), now), &issuers));
            if !stood.is_empty() {
                catalogue.stand(EVENTS, &self.holder, stood).await?;
            }
        }
    }

    /// What tenants use of their quotas.
    fn quotas(&self) -> Look {
        let usage = self.shared.usage();
        self.shared.writer.log().look(|view| {
            let mut streams: BTreeMap<&str, u64> = BTreeMap::new();
            if view.tenants().any(|tenant| tenant.quota.streams.is_some()) {
                for stream in view.streams() {
                    *streams.entry(stream.tenant.as_deref().unwrap_or(DEFAULT_SLUG)).or_default() += 1;
                }
            }
            let mut all = Look::new();
            for row in view.tenants() {
                let Usage { publishers, input_bps, egress_bps, storage_bytes } =
                    usage.get(&row.slug).copied().unwrap_or_default();
                let Some(tenant) = Id::parse(Kind::Tenant, &row.id) else { continue };
                let used_of = [
                    ("streams", streams.get(row.slug.as_str()).copied().unwrap_or(0), row.quota.streams),
                    ("publishers", publishers, row.quota.publishers),
                    ("input_bps", input_bps, row.quota.input_bps),
                    ("egress_bps", egress_bps, row.quota.egress_bps),
                    ("storage_bytes", storage_bytes, row.quota.storage_bytes),
                ];
                for (name, used, quota) in used_of {
                    let Some(quota) = quota else { continue };
                    let object = json!({ "quota": name, "used": used, "limit": quota });
                    let facts = Facts { tenant: tenant.clone(), object };
                    all.insert(format!("{tenant}/{name}"), (Seen::Use { used, quota }, facts));
                }
            }
            all
        })
    }

    /// Whether issuers answer.
    fn issuers(&self) -> Look {
        let mut all = Look::new();
        for (id, tenant, url, stale_since_at) in self.shared.issuers.standings() {
            let object = json!({ "id": id.as_str(), "url": url, "stale_since_at": stale_since_at });
            all.insert(id.to_string(), (Seen::Is(stale_since_at.is_none()), Facts { tenant, object }));
        }
        all
    }
}

fn seen(look: &Look) -> BTreeMap<String, Seen> {
    look.iter().map(|(subject, (seen, _))| (subject.clone(), *seen)).collect()
}

/// Levels of states that were written.
fn levels(standings: Vec<(String, String)>) -> impl Iterator<Item = (String, Level)> {
    standings.into_iter().filter_map(|(subject, state)| match state.as_str() {
        "warned" => Some((subject, Level::Warned)),
        "reached" | "stale" => Some((subject, Level::Reached)),
        _ => None,
    })
}

/// States and events of what has crossed a bound. On the way down it is the state alone; of what is gone, nobody has to hear.
fn stood(kind: &'static str, crossed: Vec<Crossed>, look: &Look) -> Vec<Stood> {
    let one = |Crossed { subject, level, is_rise }: Crossed| {
        let (_, facts) = look.get(&subject)?;
        let (state, event) = match (kind, level) {
            (ISSUER, Level::Below) => ("fresh", "issuer.fresh"),
            (ISSUER, _) => ("stale", "issuer.stale"),
            (_, Level::Below) => ("below", "quota.below"),
            (_, Level::Warned) => ("warned", "quota.warned"),
            (_, Level::Reached) => ("reached", "quota.reached"),
        };
        let event = is_rise.then(|| (event, facts.object.clone()));
        Some(Stood { tenant: facts.tenant.clone(), subject: (kind, subject), state, event })
    };
    crossed.into_iter().filter_map(one).collect()
}
