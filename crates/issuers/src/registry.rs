//! All issuers of a node.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use futures_util::future::join_all;
use media::{StreamId, UnixMillis};
use node::CancellationToken;
use node::clock::Clock;
use outbound::Outbound;
use tokio::sync::watch;

use crate::cache::{Cache, PublicKeys};
use crate::claims::Claims;
use crate::decide::{self, Verified};
use crate::freshness::Bounds;
use crate::identity::Identity;
use crate::known::{self, Known};
use crate::refusal::{Refusal, shown};
use crate::settings::{ISSUERS_MAX, Settings, Use};
use crate::token::Token;

/// The issuers, with their keys.
pub struct Issuers {
    issuers: Vec<Arc<Cache>>,
    /// What the metadata log says of others.
    known: Mutex<Arc<Vec<Known>>>,
    clock: Clock,
    fetched: watch::Sender<()>,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls: Vec<_> = self.issuers.iter().map(|issuer| &issuer.settings.url).collect();
        f.debug_struct("Issuers").field("urls", &urls).finish()
    }
}

impl Issuers {
    /// None that this node asks itself.
    pub fn none(clock: Clock) -> Arc<Self> {
        Arc::new(Self { issuers: Vec::new(), known: Mutex::default(), clock, fetched: watch::Sender::new(()) })
    }

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
        Ok(Arc::new(Self { issuers, known: Mutex::default(), clock, fetched }))
    }

    /// Whether no issuer is for this use.
    pub fn is_empty_for(&self, wanted: Use) -> bool {
        !self.issuers.iter().any(|issuer| issuer.settings.uses.contains(&wanted))
            && !self.known().iter().any(|known| known.is_for(wanted))
    }

    /// From now on, these of the metadata log count besides.
    pub fn take(&self, known: Vec<Known>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        self.fetched.send_replace(());
    }

    fn known(&self) -> Arc<Vec<Known>> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides a token that is to publish, and the stream that it publishes; `asked` is the name that came beside it, if one did. `owner` says
    /// whose a stream is: an issuer that a tenant has registered opens no other tenant's.
    ///
    /// # Errors
    /// When the token is not good, not good for this, or names no one stream.
    pub async fn publish(
        &self,
        token: &str,
        asked: Option<&str>,
        owner: impl Fn(&StreamId) -> Option<String>,
    ) -> Result<(StreamId, Verified), Refusal> {
        let own = match self.check(token, Use::Publish).await {
            Ok(verified) => return Ok((verified.streams.one(asked)?, verified)),
            Err(refusal) => refusal,
        };
        let all = self.known();
        if !own.is_vague() || all.is_empty() {
            return Err(own);
        }
        let now = self.clock.wall();
        let decide = |known: &Known| {
            let verified = known.publishing(token, now)?;
            let stream = verified.streams.one(asked)?;
            if owner(&stream) == known.tenant { Ok((stream, verified)) } else { Err(Refusal::OtherStreams) }
        };
        known::first(all.iter().filter(|known| known.is_for(Use::Publish)), decide)
    }

    /// The keys of the first issuer, as they are handed on.
    pub fn public_keys(&self) -> PublicKeys {
        self.issuers.first().map_or(PublicKeys::NotYet, |issuer| issuer.public(known::KEYS_MAX))
    }

    /// Decides a token. When its key is not known yet, it waits for the issuer, for a few seconds at most ([`Bounds::wait_max`]).
    ///
    /// # Errors
    /// When the token is not good, or not good for this.
    pub async fn check(&self, token: &str, wanted: Use) -> Result<Verified, Refusal> {
        let token = Token::parse(token)?;
        token.claims.issuer()?;
        let issuer = self.issuer_of(&token.claims, wanted)?;
        issuer.check(&token, wanted).await
    }

    /// Decides an ID token of the issuer at which somebody wanted to sign in, and of no other.
    ///
    /// # Errors
    /// When there is no such issuer, or the token is not good.
    pub async fn check_id_token(&self, url: &str, token: &str, nonce: &str) -> Result<Identity, Refusal> {
        let token = Token::parse(token)?;
        let other = || Refusal::Issuer { got: shown(&token.claims.issuer), expected: shown(url) };
        let signs_in = |issuer: &&Arc<Cache>| issuer.settings.url == url && issuer.settings.sign_in.is_some();
        let issuer = self.issuers.iter().find(signs_in).ok_or_else(other)?;
        if token.claims.issuer != url {
            return Err(other());
        }
        let client_id = issuer.settings.sign_in.as_ref().map_or("", |sign_in| &sign_in.client_id);
        issuer.check_id_token(&token, client_id, nonce).await
    }

    fn issuer_of(&self, claims: &Claims, wanted: Use) -> Result<Arc<Cache>, Refusal> {
        let for_this = || self.issuers.iter().filter(move |issuer| issuer.settings.uses.contains(&wanted));
        let of_issuer: Vec<_> = for_this().filter(|issuer| issuer.settings.url == claims.issuer).collect();
        // Two tenants may have the same issuer, for different audiences.
        let issuer = of_issuer.iter().find(|issuer| decide::is_for(&issuer.settings, claims)).or(of_issuer.first());
        issuer
            .map(|issuer| Arc::clone(issuer))
            .ok_or_else(|| Refusal::issuer(&claims.issuer, for_this().map(|issuer| issuer.settings.url.as_str())))
    }

    /// Whether the key that signed a token, and the issuer, are still there. While the issuer does not answer, they are.
    pub fn stands(&self, verified: &Verified) -> bool {
        if let Some(signer) = verified.signer {
            return self.known().iter().any(|known| known.signers().any(|one| one == signer));
        }
        let of_issuer = |issuer: &&Arc<Cache>| issuer.settings.url == verified.issuer;
        self.issuers.iter().filter(of_issuer).any(|issuer| issuer.has(&verified.key))
    }

    /// Changes whenever a fetch of keys has ended: then [`Self::stands`] may say something new.
    pub fn fetches(&self) -> watch::Receiver<()> {
        self.fetched.subscribe()
    }

    /// Since when the keys of one of them could not be fetched; `None` while all is well.
    pub fn stale_since_at(&self) -> Option<UnixMillis> {
        self.issuers.iter().filter_map(|issuer| issuer.stale_since_at()).min()
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
