//! All issuers of a node.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::future::join_all;
use node::CancellationToken;
use node::clock::Clock;
use outbound::Outbound;
use tokio::sync::watch;

use crate::cache::Cache;
use crate::claims::Claims;
use crate::decide::{self, Verified};
use crate::freshness::Bounds;
use crate::refusal::{Refusal, shown};
use crate::settings::{ISSUERS_MAX, Settings, Use};
use crate::token::Token;

/// The issuers, with their keys. The default has none.
#[derive(Default)]
pub struct Issuers {
    issuers: Vec<Arc<Cache>>,
    fetched: watch::Sender<()>,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls: Vec<_> = self.issuers.iter().map(|issuer| &issuer.settings.url).collect();
        f.debug_struct("Issuers").field("urls", &urls).finish()
    }
}

impl Issuers {
    /// Checks the settings, and that signatures can be verified at all.
    ///
    /// # Errors
    /// When a setting is not valid, or the cryptography does not work; names which.
    pub fn load(
        settings: Vec<Settings>,
        outbound: &Outbound,
        clock: Clock,
        bounds: Bounds,
    ) -> anyhow::Result<Arc<Self>> {
        ensure!(settings.len() <= ISSUERS_MAX, "{} issuers are more than {ISSUERS_MAX}", settings.len());
        if !settings.is_empty() {
            crate::self_test()?;
        }
        let fetched = watch::Sender::new(());
        let load = |settings| Cache::new(settings, outbound.clone(), clock, bounds, fetched.clone());
        let issuers = settings.into_iter().map(load).collect::<anyhow::Result<_>>()?;
        Ok(Arc::new(Self { issuers, fetched }))
    }

    /// Whether no issuer is for this use.
    pub fn is_empty_for(&self, wanted: Use) -> bool {
        !self.issuers.iter().any(|issuer| issuer.settings.uses.contains(&wanted))
    }

    /// Decides a token. When its key is not known yet, it waits for the issuer, for a few seconds at most ([`Bounds::wait_max`]).
    ///
    /// # Errors
    /// When the token is not good, or not good for this.
    pub async fn check(&self, token: &str, wanted: Use) -> Result<Verified, Refusal> {
        let token = Token::parse(token)?;
        let issuer = self.issuer_of(&token.claims, wanted)?;
        issuer.check(&token, wanted).await
    }

    fn issuer_of(&self, claims: &Claims, wanted: Use) -> Result<Arc<Cache>, Refusal> {
        let for_this = || self.issuers.iter().filter(move |issuer| issuer.settings.uses.contains(&wanted));
        let of_issuer: Vec<_> = for_this().filter(|issuer| issuer.settings.url == claims.issuer).collect();
        // Two tenants may have the same issuer, for different audiences.
        let issuer = of_issuer.iter().find(|issuer| decide::is_for(&issuer.settings, claims)).or(of_issuer.first());
        issuer.map(|issuer| Arc::clone(issuer)).ok_or_else(|| {
            let urls: Vec<_> = for_this().map(|issuer| shown(&issuer.settings.url)).collect();
            let expected = if urls.is_empty() { "none".to_owned() } else { urls.join(" or ") };
            Refusal::Issuer { got: shown(&claims.issuer), expected }
        })
    }

    /// Whether the key that signed a token, and the issuer, are still there. While the issuer does not answer, they are.
    pub fn stands(&self, verified: &Verified) -> bool {
        let of_issuer = |issuer: &&Arc<Cache>| issuer.settings.url == verified.issuer;
        self.issuers.iter().filter(of_issuer).any(|issuer| issuer.has(&verified.key))
    }

    /// Changes whenever a fetch of keys has ended: then [`Self::stands`] may say something new.
    pub fn fetches(&self) -> watch::Receiver<()> {
        self.fetched.subscribe()
    }

    /// Fetches the keys of an issuer now, because one of them must not count any more.
    ///
    /// # Errors
    /// When there is no such issuer, or it does not answer; then its keys stay as they are.
    pub async fn refresh(&self, url: &str) -> anyhow::Result<()> {
        let issuer = self.issuers.iter().find(|issuer| issuer.settings.url == url);
        issuer.with_context(|| format!("there is no issuer {url:?}"))?.refresh().await
    }

    /// Keeps all keys fresh until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let fresh = join_all(self.issuers.clone().into_iter().map(|issuer| async move { issuer.keep_fresh().await }));
        let _ = shutdown.run_until_cancelled(fresh).await;
    }

    /// What `/status` shows of each issuer.
    pub fn status(&self) -> serde_json::Value {
        self.issuers.iter().map(|issuer| issuer.status()).collect()
    }
}
