//! Issuers of tokens (JWT): those of tenants, from the catalogue, and those of the configuration. Control fetches their keys, takes their
//! tokens at the API, and writes issuers and keys into the metadata log, where ingests and broadcast nodes have them from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use catalogue::{Id, Issuer, Kind, PublicKey, SigningKey};
use issuers::{Bounds, Document, DocumentKind, Issuers, PublicKeys, Settings, Use};
use media::UnixMillis;
use metadata::limits::ISSUER_BYTES_MAX;
use metadata::{Body, Edit, TokenIssuer, View};
use node::CancellationToken;
use node::clock::Clock;
use outbound::{Outbound, Policy, Trust};
use tokio::sync::Notify;

use crate::ControlState;
use crate::rows::put;
use crate::viewer_tokens::removed;

/// How often control looks for issuers that another control node has changed, and for keys that have become too old.
const POLL: Duration = Duration::from_secs(10);
/// By how much clocks may differ, in seconds, where a tenant signs with a registered key.
const KEY_LEEWAY_S: u64 = 30;

/// An issuer whose keys control fetches.
#[derive(Clone)]
pub(crate) struct Running {
    /// Identity of its tenant.
    pub(crate) tenant: Id,
    pub(crate) settings: Settings,
    pub(crate) issuers: Arc<Issuers>,
    /// When this process began to ask it, on the clock that no adjustment moves.
    since: Duration,
    end: CancellationToken,
}

/// All issuers that control knows.
pub(crate) struct LiveIssuers {
    configured: Vec<Settings>,
    allow: Vec<String>,
    authorities: Option<PathBuf>,
    clock: Clock,
    outbound: OnceLock<Outbound>,
    running: Mutex<BTreeMap<Id, Running>>,
    changed: Arc<Notify>,
    written: Mutex<Vec<IssuerRow>>,
}

/// An issuer as it belongs into the metadata log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IssuerRow {
    id: String,
    tenant: Option<String>,
    kind: DocumentKind,
    settings: Settings,
    keys: PublicKeys,
}

impl LiveIssuers {
    pub(crate) fn new(
        configured: Vec<Settings>,
        (allow, authorities): (Vec<String>, Option<PathBuf>),
        clock: Clock,
    ) -> Self {
        Self {
            configured,
            allow,
            authorities,
            clock,
            outbound: OnceLock::new(),
            running: Mutex::default(),
            changed: Arc::default(),
            written: Mutex::default(),
        }
    }

    /// The issuers of the configuration, with the identities that they have in lists.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (Id, &Settings)> {
        self.configured.iter().map(|settings| (configured_id(settings), settings))
    }

    pub(crate) fn policy(&self) -> anyhow::Result<Policy> {
        Ok(Policy::new(&self.allow)?)
    }

    fn outbound(&self) -> anyhow::Result<&Outbound> {
        if let Some(outbound) = self.outbound.get() {
            return Ok(outbound);
        }
        // Only now: the system's authorities need not be there where nobody is asked.
        let trust = Trust::load(self.authorities.as_deref(), node::tls::provider())?;
        Ok(self.outbound.get_or_init(|| Outbound::new(self.policy().unwrap_or_default(), &trust)))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Id, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer of this identity, while its keys are fetched.
    pub(crate) fn find(&self, id: &Id) -> Option<Running> {
        self.running().get(id).cloned()
    }

    /// Issuers whose tokens are for this and say that they come from `url`, the oldest first.
    pub(crate) fn of(&self, url: &str, wanted: Use) -> Vec<(Id, Running)> {
        let fits = |running: &Running| running.settings.url == url && running.settings.uses.contains(&wanted);
        self.running().iter().filter(|(_, one)| fits(one)).map(|(id, one)| (id.clone(), one.clone())).collect()
    }

    /// All issuers with their tenants and URLs, and since when the keys of each could not be fetched.
    pub(crate) fn standings(&self) -> Vec<(Id, Id, String, Option<UnixMillis>)> {
        let of = |(id, one): (&Id, &Running)| {
            let stale_since_at = one.issuers.stale_since_at();
            (id.clone(), one.tenant.clone(), one.settings.url.clone(), stale_since_at)
        };
        self.running().iter().map(of).collect()
    }

    /// Whether any issuer's tokens are for this.
    pub(crate) fn has(&self, wanted: Use) -> bool {
        self.running().values().any(|running| running.settings.uses.contains(&wanted))
    }

    /// Brings what runs to what the rows and the configuration say.
    fn follow(&self, rows: &[Issuer]) {
        let mut wanted: BTreeMap<Id, (Id, Settings)> = BTreeMap::new();
        for (id, settings) in self.configured() {
            wanted.insert(id, (Id::default_tenant(), settings.clone()));
        }
        for row in rows {
            match serde_json::from_str(&row.settings) {
                Ok(settings) => _ = wanted.insert(row.id.clone(), (row.tenant.clone(), settings)),
                Err(error) => {
                    tracing::warn!(issuer = %row.id, %error, "an issuer that this version cannot read takes no tokens");
                }
            }
        }
        let mut running = self.running();
        running.retain(|id, one| {
            let stays = wanted.get(id).is_some_and(|(_, settings)| *settings == one.settings);
            if !stays {
                one.end.cancel();
            }
            stays
        });
        for (id, (tenant, settings)) in wanted {
            if running.contains_key(&id) {
                continue;
            }
            match self.start(tenant, settings) {
                Ok(one) => _ = running.insert(id, one),
                Err(error) => {
                    tracing::warn!(issuer = %id, error = format!("{error:#}"), "an issuer takes no tokens");
                }
            }
        }
    }

    fn start(&self, tenant: Id, settings: Settings) -> anyhow::Result<Running> {
        let (outbound, end) = (self.outbound()?, CancellationToken::new());
        let issuers = Issuers::load(vec![settings.clone()], outbound, self.clock, Bounds::default())?;
        let (own, until) = (Arc::clone(&issuers), end.clone());
        tokio::spawn(async move { own.run(until).await });
        let (mut fetches, until, changed) = (issuers.fetches(), end.clone(), Arc::clone(&self.changed));
        tokio::spawn(async move {
            let tell = async {
                while fetches.changed().await.is_ok() {
                    changed.notify_one();
                }
            };
            let _ = until.run_until_cancelled(tell).await;
        });
        Ok(Running { tenant, settings, issuers, since: self.clock.elapsed(), end })
    }

    fn end(&self) {
        self.running().values().for_each(|one| one.end.cancel());
    }

    /// What belongs into the log: issuers for publishers and viewers, and registered keys.
    pub(crate) fn rows(
        &self,
        keys: &[SigningKey],
        slugs: &BTreeMap<String, String>,
        (audience, now): (&str, UnixMillis),
    ) -> Vec<IssuerRow> {
        let slug = |tenant: &Id| match slugs.get(tenant.as_str()).map(String::as_str) {
            None | Some(catalogue::DEFAULT_SLUG) => None,
            Some(slug) => Some(slug.to_owned()),
        };
        let too_old = Bounds::default().stale_max;
        let configured: Vec<Id> = self.configured().map(|(id, _)| id).collect();
        let mut rows = Vec::new();
        for (id, one) in self.running().iter() {
            // That of a tenant which has just gone is nobody's.
            if !slugs.contains_key(one.tenant.as_str()) {
                continue;
            }
            let mut settings = one.settings.clone();
            // Ingests have those of their own configuration from there.
            settings.uses.retain(|used| *used == Use::View || (*used == Use::Publish && !configured.contains(id)));
            if settings.uses.is_empty() {
                continue;
            }
            let keys = match one.issuers.public_keys() {
                PublicKeys::NotYet if self.clock.elapsed().saturating_sub(one.since) > too_old => PublicKeys::TooOld,
                keys => keys,
            };
            rows.push(IssuerRow {
                id: id.to_string(),
                tenant: slug(&one.tenant),
                kind: DocumentKind::Issuer,
                settings,
                keys,
            });
        }
        for key in keys.iter().filter(|key| now < key.not_after && slugs.contains_key(key.tenant.as_str())) {
            let PublicKey::Registered(text) = &key.public_key else { continue };
            let Ok(jwk) = serde_json::from_str(text) else { continue };
            let Ok((algorithm, _)) = issuers::registered(&jwk) else { continue };
            let own = (key.id.as_str(), audience.to_owned());
            let Document { kind, settings, keys } = Document::of_key(own, algorithm, jwk, KEY_LEEWAY_S);
            rows.push(IssuerRow {
                id: key.id.to_string(),
                tenant: slug(&key.tenant),
                kind,
                settings,
                keys: PublicKeys::Now(keys),
            });
        }
        rows
    }

    /// Whether these rows differ from those that were written last.
    fn are_new(&self, rows: &[IssuerRow]) -> bool {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) != rows
    }

    pub(crate) fn note_written(&self, rows: Vec<IssuerRow>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

fn configured_id(settings: &Settings) -> Id {
    Id::of_name(Kind::Issuer, &format!("{} {}", settings.url, settings.audiences.join(" ")))
}

/// The edits that bring the log to these rows. An issuer that has not answered yet since the start keeps the keys that the log has.
pub(crate) fn issuer_edits(view: &View<'_>, rows: &[IssuerRow]) -> Vec<Edit> {
    let wanted: Vec<TokenIssuer> = rows.iter().filter_map(|row| row.body(view)).collect();
    let is_there = |row: &&TokenIssuer| view.token_issuers().any(|known| known == *row);
    let added = wanted.iter().filter(|row| !is_there(row)).filter_map(|row| put(view, Body::TokenIssuer(row.clone())));
    let gone = view.token_issuers().filter(|known| wanted.iter().all(|row| row.id != known.id));
    let gone = gone.filter_map(|known| removed(view, &Body::TokenIssuer(known.clone())));
    added.chain(gone).collect()
}

impl IssuerRow {
    fn body(&self, view: &View<'_>) -> Option<TokenIssuer> {
        let keys = match &self.keys {
            PublicKeys::Now(keys) => keys.clone(),
            PublicKeys::TooOld => return None,
            PublicKeys::NotYet => {
                let known = view.token_issuers().find(|known| known.id == self.id)?;
                let Document { settings, keys, .. } = serde_json::from_str(&known.document).ok()?;
                (settings.jwks_url == self.settings.jwks_url).then_some(keys)?
            }
        };
        let Self { id, tenant, kind, settings, .. } = self.clone();
        let mut document = Document { kind, settings, keys };
        loop {
            let text = serde_json::to_string(&document).ok()?;
            if text.len() <= ISSUER_BYTES_MAX {
                return Some(TokenIssuer { id, tenant, document: text });
            }
            // Its last keys have to wait until others are gone.
            tracing::warn!(
                issuer = id,
                keys = document.keys.len(),
                "an issuer has more keys than the metadata log has room for"
            );
            document.keys.pop()?;
        }
    }
}

impl ControlState {
    /// Keeps issuers and their keys up to date until `shutdown`.
    pub(crate) async fn follow_issuers(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Err(error) = self.look_for_issuers().await {
                tracing::warn!(error = format!("{error:#}"), "issuers could not be brought up to date");
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.issuers.changed.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.issuers.end();
        Ok(())
    }

    async fn look_for_issuers(&self) -> anyhow::Result<()> {
        let rows = self.issuer_rows().await?;
        if self.begun.is_cancelled() && self.lead.is_held() && self.issuers.are_new(&rows) {
            self.write_log().await.context("the metadata log")?;
        }
        Ok(())
    }

    /// What belongs into the log of issuers and registered keys.
    pub(crate) async fn issuer_rows(&self) -> Result<Vec<IssuerRow>, catalogue::Error> {
        // First what runs: an issuer that is not asked has no row.
        self.issuers.follow(&self.catalogue.issuers().await?);
        let (keys, slugs) = (self.catalogue.signing_keys().await?, self.catalogue.slugs().await?);
        let audience = access::token::audience(&self.node.cluster);
        Ok(self.issuers.rows(&keys, &slugs, (&audience, self.node.clock.wall())))
    }
}
