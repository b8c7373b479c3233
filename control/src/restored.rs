//! A catalogue from a backup: what it has forgotten of streams is in the metadata log, which the other nodes have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use axum::http::StatusCode;
use catalogue::{Catalogue, Id, Issuer, KeptKey, Kind, PublicKey, Remembered, RememberedStream, SigningKey};
use issuers::{Document, DocumentKind, Use};
use media::Digest;
use messages::{KeyMac, MacForm};
use metadata::{StreamKeyMac, StreamSettings, TokenIssuer, kind};

use crate::ControlState;
use crate::owners::{key_of, tenant_of};
use crate::pages::kept_pages;
use crate::refusal::Refusal;

/// File in the data directory of a control node which says that the catalogue comes from a backup, wherever the catalogue is and whatever
/// version wrote it. Control takes the word into the catalogue, and removes the file.
pub const RESTORED_FILE: &str = "restored";

/// Notes in the catalogue that it comes from a backup, if the data directory says so.
///
/// # Errors
/// When the catalogue fails, or the file cannot be removed.
pub(crate) async fn note_restore(data: &Path, catalogue: &Catalogue) -> anyhow::Result<()> {
    let file = data.join(RESTORED_FILE);
    if file.try_exists().with_context(|| format!("cannot look for {}", file.display()))? {
        catalogue.mark_restored().await?;
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

impl ControlState {
    /// After a restore, brings the catalogue to what the metadata log says, once the log is whole: tenants, streams and API keys that were
    /// made, changed or deleted after the backup, and members that were deleted. Configured streams are as the configuration says.
    ///
    /// # Errors
    /// When the log is not whole, or the catalogue fails.
    pub(crate) async fn take_from_log_after_restore(&self) -> anyhow::Result<()> {
        if !self.catalogue.is_restored().await? {
            return Ok(());
        }
        // Waits until the other nodes were asked.
        self.writer.write(|_| Vec::new()).await?;
        let log = self.writer.log();
        if let Some(signed) = log.behind() {
            anyhow::bail!(
                "this control node was restored from a backup, and lacks entries of the metadata log up to {signed}"
            );
        }
        let remembered = self.remembered();
        self.say_what_comes_back(&remembered).await?;
        self.catalogue.remember(remembered).await?;
        let pages: Vec<_> = log.look(|view| view.streams().map(|row| (row.name.clone(), row.pages.clone())).collect());
        let there = self.catalogue.streams().await?;
        for (name, pages) in pages.iter().filter(|(name, _)| there.iter().any(|stream| stream.name == *name)) {
            self.catalogue.set_pages(name, &kept_pages(pages)).await?;
        }
        self.take_token_keys_after_restore().await?;
        Ok(self.catalogue.forget_restore().await?)
    }

    /// What the log says of tenants, streams, API keys and members.
    fn remembered(&self) -> Remembered {
        let now = self.node.clock.wall();
        self.writer.log().look(|view| {
            let stream = |row: &StreamSettings| RememberedStream {
                name: row.name.clone(),
                key: row.key_macs.first().copied().map(kept).filter(|_| !self.key_files.is_configured(&row.name)),
                title: row.title.clone(),
                visibility: row.visibility.name(),
                created_at: now,
            };
            // The tenant `default` is always there, unless the log is one of before tenants.
            let has_owners = view.tenants().next().is_some();
            Remembered {
                tenants: has_owners.then(|| view.tenants().filter_map(tenant_of).collect()),
                streams: view.streams().map(stream).collect(),
                configured: self.key_files.configured().clone(),
                api_keys: has_owners.then(|| view.api_keys().filter_map(key_of).collect()),
                members_gone: view.gone(kind::PERSON).map(|(name, _)| name.to_owned()).collect(),
            }
        })
    }

    /// Says what the backup had forgotten, or still had.
    async fn say_what_comes_back(&self, remembered: &Remembered) -> anyhow::Result<()> {
        let there: BTreeMap<_, _> =
            self.catalogue.streams().await?.into_iter().map(|stream| (stream.name, stream.key)).collect();
        let rows: BTreeMap<_, _> = remembered.streams.iter().map(|row| (&row.name, row.key.as_ref())).collect();
        for name in there.keys().filter(|name| !rows.contains_key(name) && !remembered.configured.contains(*name)) {
            tracing::warn!(stream = %name, "deleted after the backup, and deleted again");
        }
        for (name, key) in rows {
            match (there.get(name), key) {
                (Some(there), Some(key)) if (there.mac, there.form) != (key.mac, key.form) => {
                    tracing::warn!(stream = %name, "got another key after the backup, and has that key again");
                }
                (None, Some(_)) => {
                    tracing::warn!(stream = %name, "made after the backup, and taken from the metadata log");
                }
                _ => {}
            }
        }
        let keys = self.catalogue.all_api_keys().await?;
        let is_gone = |id: &Id| remembered.api_keys.as_ref().is_some_and(|rows| rows.iter().all(|row| row.id != *id));
        for key in keys.iter().filter(|key| is_gone(&key.id)) {
            tracing::warn!(key = %key.id, "deleted after the backup, and deleted again");
        }
        Ok(())
    }
}

impl ControlState {
    /// Keys of viewer tokens and issuers that were made or deleted after the backup. A tenant that the catalogue does not have has none of
    /// them any more.
    async fn take_token_keys_after_restore(&self) -> anyhow::Result<()> {
        let log = self.writer.log();
        let (verifiers, issuers): (Vec<_>, Vec<_>) =
            log.look(|view| (view.verifiers().cloned().collect(), view.token_issuers().cloned().collect()));
        let rows: BTreeSet<&str> = issuers.iter().map(|row| row.id.as_str()).collect();
        let mut known = self.catalogue.signing_keys().await?;
        let is_there = |key: &SigningKey| match &key.public_key {
            PublicKey::Control(public) => verifiers.iter().any(|row| row.key == *public),
            PublicKey::Registered(_) => rows.contains(key.id.as_str()),
        };
        for gone in known.extract_if(.., |key| !is_there(key)) {
            tracing::warn!(key = %gone.id, "deleted after the backup, and deleted again");
            self.catalogue.remove_signing_key(gone).await?;
        }
        self.remove_issuers_but(&rows).await?;
        for metadata::Verifier { key, from, until, tenant } in verifiers {
            let public_key = PublicKey::Control(key);
            let Some(tenant) = self.tenant_of_slug(tenant.as_deref()).await? else { continue };
            if known.iter().all(|row| row.public_key != public_key) {
                let id = Id::draw(Kind::SigningKey, from);
                let (name, version) = (String::new(), 1);
                let key = SigningKey { id, tenant, name, public_key, created_at: from, not_after: until, version };
                self.catalogue.add_signing_key(&key).await?;
            }
        }
        for TokenIssuer { id, tenant, document } in issuers {
            let Some(tenant) = self.tenant_of_slug(tenant.as_deref()).await? else { continue };
            let Ok(document) = serde_json::from_str::<Document>(&document) else { continue };
            self.take_issuer(id, tenant, document).await?;
        }
        Ok(())
    }

    async fn remove_issuers_but(&self, rows: &BTreeSet<&str>) -> anyhow::Result<()> {
        for issuer in self.catalogue.issuers().await? {
            let is_gone = !rows.contains(issuer.id.as_str());
            let settings = serde_json::from_str::<issuers::Settings>(&issuer.settings).ok();
            let is_in_the_log = settings.is_some_and(|settings| settings.uses.iter().any(|used| *used != Use::Api));
            if is_gone && is_in_the_log {
                tracing::warn!(issuer = %issuer.id, url = issuer.url, "deleted after the backup, and deleted again");
                self.catalogue.remove_issuer(issuer).await?;
            } else if is_gone {
                let detail = "the metadata log does not say whether this issuer was deleted after the backup: delete it if it was";
                tracing::warn!(issuer = %issuer.id, url = issuer.url, "{detail}");
            }
        }
        Ok(())
    }

    async fn take_issuer(&self, id: String, tenant: Id, document: Document) -> anyhow::Result<()> {
        let now = self.node.clock.wall();
        if document.kind == DocumentKind::Key {
            let is_there = self.catalogue.find_signing_key(&tenant, &id).await?.is_some();
            let Some(id) = Id::parse(Kind::SigningKey, &id).filter(|_| !is_there) else { return Ok(()) };
            let Some(jwk) = document.keys.first() else { return Ok(()) };
            let (public_key, name) = (PublicKey::Registered(jwk.to_string()), String::new());
            let not_after = now.plus(crate::viewer_tokens::KEY_LIFE);
            let key = SigningKey { id, tenant, name, public_key, created_at: now, not_after, version: 1 };
            return Ok(self.catalogue.add_signing_key(&key).await?);
        }
        let is_there = self.catalogue.find_issuer(&tenant, &id).await?.is_some();
        let is_configured = self.issuers.configured().any(|(known, _)| known.as_str() == id);
        let Some(id) = Id::parse(Kind::Issuer, &id).filter(|_| !is_there && !is_configured) else { return Ok(()) };
        let (url, settings) = (document.settings.url.clone(), serde_json::to_string(&document.settings)?);
        Ok(self.catalogue.add_issuer(&Issuer { id, tenant, url, settings, version: 1, created_at: now }).await?)
    }

    async fn tenant_of_slug(&self, slug: Option<&str>) -> Result<Option<Id>, catalogue::Error> {
        let found = self.catalogue.find_tenant(slug.unwrap_or(catalogue::DEFAULT_SLUG)).await?;
        Ok(found.map(|tenant| tenant.id))
    }
}

/// What the catalogue keeps of a key, as the log has it.
fn kept(mac: StreamKeyMac) -> KeptKey {
    let (Digest(mac), form) = match mac {
        StreamKeyMac::OfAll(mac) => (mac, MacForm::OfAll),
        StreamKeyMac::OfStream(mac) => (mac, MacForm::OfStream),
    };
    KeptKey { mac: KeyMac(mac), form, hint: String::new() }
}

/// Refuses what needs the streams of after a backup: the catalogue does not have them, and takes them from the log over what is in it.
pub(crate) async fn ensure_not_restored(shared: &ControlState) -> Result<(), Refusal> {
    if !shared.catalogue.is_restored().await? {
        return Ok(());
    }
    let detail = "control was restored from a backup, and does not know yet what it has forgotten of streams: try again once a \
                  broadcast node that has the rest is there, or after sealcast root branch";
    Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, detail.to_owned()))
}
