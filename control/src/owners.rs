//! Tenants, streams and API keys in the metadata log: one row after a change of one, and all of them at the start. The catalogue has
//! them; the log lets nodes act on them, and tells a control that was restored from a backup what it has forgotten.

use catalogue::{Id, Kind, Quota};
use media::StreamId;
use metadata::{Body, Edit, TenantQuota, View, kind};

use crate::ControlState;
use crate::pages::page_settings;
use crate::rows::{ended, random};

/// The row of a tenant.
pub(crate) fn tenant_row(tenant: &catalogue::Tenant) -> Body {
    let limit = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or(0));
    let Quota { streams, publishers, input_bps, egress_bps, storage_bytes } = tenant.quota;
    Body::Tenant(metadata::Tenant {
        slug: tenant.slug.clone(),
        id: tenant.id.to_string(),
        is_suspended: tenant.is_suspended,
        quota: TenantQuota {
            streams: limit(streams),
            publishers: limit(publishers),
            input_bps: limit(input_bps),
            egress_bps: limit(egress_bps),
            storage_bytes: limit(storage_bytes),
        },
        created_at: tenant.created_at,
    })
}

/// The row of an API key.
pub(crate) fn key_row(key: &catalogue::ApiKey) -> Body {
    Body::ApiKey(metadata::ApiKey {
        id: key.id.to_string(),
        tenant: key.tenant.to_string(),
        digest: key.digest,
        old: key.old,
        scopes: key.scopes.clone(),
        expires_at: key.expires_at,
        created_at: key.created_at,
    })
}

/// What the catalogue has of a tenant, as the log has it; its name is not there. `None` for what is no tenant of ours.
pub(crate) fn tenant_of(row: &metadata::Tenant) -> Option<catalogue::Tenant> {
    let limit = |limit: Option<u64>| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let TenantQuota { streams, publishers, input_bps, egress_bps, storage_bytes } = row.quota;
    Some(catalogue::Tenant {
        id: Id::parse(Kind::Tenant, &row.id)?,
        slug: row.slug.clone(),
        name: row.slug.clone(),
        is_suspended: row.is_suspended,
        quota: Quota {
            streams: limit(streams),
            publishers: limit(publishers),
            input_bps: limit(input_bps),
            egress_bps: limit(egress_bps),
            storage_bytes: limit(storage_bytes),
        },
        version: 1,
        created_at: row.created_at,
    })
}

/// What the catalogue has of an API key, as the log has it; its name and its hint are not there.
pub(crate) fn key_of(row: &metadata::ApiKey) -> Option<catalogue::ApiKey> {
    Some(catalogue::ApiKey {
        id: Id::parse(Kind::ApiKey, &row.id)?,
        tenant: Id::parse(Kind::Tenant, &row.tenant)?,
        name: format!("restored {}", row.id),
        scopes: row.scopes.clone(),
        digest: row.digest,
        hint: String::new(),
        old: row.old,
        expires_at: row.expires_at,
        last_used_at: None,
        version: 1,
        created_at: row.created_at,
    })
}

/// The edits that make one row say what is `wanted`; `None` removes it.
fn towards(view: &View<'_>, (kind, name): (u64, &str), wanted: Option<Body>) -> Vec<Edit> {
    match wanted {
        Some(body) => view.edits_towards(&[body], &[], random),
        None => {
            let id = view.row_id(kind, name);
            id.map(|id| Edit { id, kind, body: None, salt: [0; 16] }).into_iter().collect()
        }
    }
}

impl ControlState {
    /// Brings one stream into the log, as the catalogue has it now.
    ///
    /// # Errors
    /// When the catalogue cannot be read, or the log not written.
    pub(crate) async fn log_stream(&self, name: &StreamId) -> anyhow::Result<()> {
        let _in_order = self.logging.lock().await;
        let stream = self.catalogue.find_stream(name).await?;
        let is_gone = stream.is_none();
        let (title, visibility) = self.catalogue.shown_of(name).await?;
        let tenant = self.catalogue.owners().await?.remove(name.as_str());
        let pages = self.catalogue.pages().await?.get(name.as_str()).map(page_settings).unwrap_or_default();
        let row = |view: View<'_>| {
            let said = (title, visibility.as_deref(), tenant, pages);
            let wanted = stream.map(|stream| self.stream_row(&view, stream, said));
            towards(&view, (kind::STREAM, name.as_str()), wanted)
        };
        self.writer.write(row).await?;
        if is_gone {
            let now = self.node.clock.wall();
            let grants = |view: View<'_>| self.rescoped(&view, now).into_iter().chain(ended(&view, &[], now)).collect();
            self.writer.write(grants).await?;
        }
        Ok(())
    }

    /// Brings one API key into the log, as the catalogue has it now.
    ///
    /// # Errors
    /// As [`ControlState::log_stream`].
    pub(crate) async fn log_api_key(&self, id: &Id) -> anyhow::Result<()> {
        let _in_order = self.logging.lock().await;
        let wanted = self.catalogue.known_api_key(id).await?.as_ref().map(key_row);
        self.writer.write(|view: View<'_>| towards(&view, (kind::API_KEY, id.as_str()), wanted)).await?;
        Ok(())
    }

    /// Brings one tenant into the log, as the catalogue has it now; not what belongs to it.
    ///
    /// # Errors
    /// As [`ControlState::log_stream`].
    pub(crate) async fn log_tenant(&self, slug: &str) -> anyhow::Result<()> {
        let _in_order = self.logging.lock().await;
        let found = self.catalogue.find_tenant(slug).await?;
        let wanted = found.filter(|tenant| tenant.slug == slug).as_ref().map(tenant_row);
        self.writer.write(|view: View<'_>| towards(&view, (kind::TENANT, slug), wanted)).await?;
        Ok(())
    }
}
