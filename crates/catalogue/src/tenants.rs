//! Tenants: who streams, keys and quotas belong to.

use media::UnixMillis;

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, one};
use crate::{Catalogue, Error, chat, events, members};

/// Most tenants of a catalogue: as many rows as the metadata log has room for.
pub const TENANTS_MAX: i64 = 10_000;
/// Fewest and most characters of a slug: it begins names of 64 bytes, which need room for the rest.
pub const SLUG_CHARS_MIN: usize = 2;
pub const SLUG_CHARS_MAX: usize = 24;
/// The slug of the tenant that is always there.
pub const DEFAULT_SLUG: &str = "default";

/// Most of what a tenant may use; `None` where it has no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    pub streams: Option<i64>,
    pub publishers: Option<i64>,
    pub input_bps: Option<i64>,
    pub egress_bps: Option<i64>,
    pub storage_bytes: Option<i64>,
}

/// A tenant as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: Id,
    /// What the names of its streams begin with, before a dot; those of the tenant `default` have no such beginning.
    pub slug: String,
    pub name: String,
    /// A suspended tenant reads and changes nothing.
    pub is_suspended: bool,
    pub quota: Quota,
    pub version: i64,
    pub created_at: UnixMillis,
}

impl Tenant {
    /// Whether it is the tenant that is always there.
    pub fn is_default(&self) -> bool {
        self.id == Id::default_tenant()
    }
}

/// Whether a text can be a slug: lower-case letters, digits and `-`, beginning with a letter.
pub fn is_slug(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (SLUG_CHARS_MIN..=SLUG_CHARS_MAX).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(allowed)
}

/// What a tenant has that would go with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongings {
    pub streams: i64,
    pub api_keys: i64,
}

type Row = (String, String, String, String, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>, i64, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, slug, name, state, quota_streams, quota_publishers, quota_input_bps, quota_egress_bps, ",
            "quota_storage_bytes, version, created_at FROM tenants ",
            $rest
        )
    };
}

impl Catalogue {
    /// The tenant with this identity or slug; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_tenant(&self, name: &str) -> Result<Option<Tenant>, Error> {
        let rows = self.database.fetch(select!("WHERE id = $1 OR slug = $1"), &[Value::Text(name)]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A page of all tenants.
    ///
    /// # Errors
    /// As [`Catalogue::find_tenant`].
    pub async fn tenants(&self, page: &Page) -> Result<Vec<Tenant>, Error> {
        let values = page.values();
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE (created_at < $1 OR (created_at = $1 AND id < $2)) AND created_at >= $3 AND created_at <= $4 AND ($5 = '' OR \
                 LOWER(slug) LIKE $5 ESCAPE '!' OR LOWER(name) LIKE $5 ESCAPE '!') ORDER BY created_at DESC, id DESC LIMIT $6"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE (created_at > $1 OR (created_at = $1 AND id > $2)) AND created_at >= $3 AND created_at <= $4 AND ($5 = '' OR \
                 LOWER(slug) LIKE $5 ESCAPE '!' OR LOWER(name) LIKE $5 ESCAPE '!') ORDER BY created_at, id LIMIT $6"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }

    /// All tenants.
    ///
    /// # Errors
    /// As [`Catalogue::find_tenant`].
    pub async fn all_tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.database.fetch(select!("ORDER BY id"), &[]).await?.into_iter().map(read).collect()
    }

    /// What would go with a tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn belongings(&self, tenant: &Id) -> Result<Belongings, Error> {
        let count = "SELECT (SELECT COUNT(*) FROM streams WHERE tenant = $1), (SELECT COUNT(*) FROM api_keys WHERE tenant = $1)";
        let counts = self.database.fetch::<(i64, i64)>(count, &[Value::Text(tenant.as_str())]).await?;
        Ok(counts
            .into_iter()
            .next()
            .map_or_else(Belongings::default, |(streams, api_keys)| Belongings { streams, api_keys }))
    }
}

fn state(tenant: &Tenant) -> &'static str {
    if tenant.is_suspended { "suspended" } else { "active" }
}

pub(crate) async fn create(writing: &mut Writing, tenant: &Tenant) -> Result<(), Error> {
    let (slug, begins) = (Value::Text(&tenant.slug), format!("{}.%", tenant.slug));
    if !writing.fetch::<(String,)>("SELECT id FROM tenants WHERE slug = $1", &[slug]).await?.is_empty() {
        return Err(Error::SlugTaken(tenant.slug.clone()));
    }
    let others = "SELECT name FROM streams WHERE name LIKE $1 LIMIT 1";
    if let Some((name,)) = writing.fetch::<(String,)>(others, &[Value::Text(&begins)]).await?.into_iter().next() {
        return Err(Error::SlugOfStream { slug: tenant.slug.clone(), name });
    }
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM tenants", &[]).await?;
    if counts.iter().any(|(count,)| *count >= TENANTS_MAX) {
        return Err(Error::FullOf("tenants"));
    }
    insert(writing, tenant).await
}

pub(crate) async fn all(writing: &mut Writing) -> Result<Vec<Tenant>, Error> {
    writing.fetch(select!("ORDER BY id"), &[]).await?.into_iter().map(read).collect()
}

/// Adds a tenant, whatever there is already.
pub(crate) async fn insert(writing: &mut Writing, tenant: &Tenant) -> Result<(), Error> {
    let quota = &tenant.quota;
    let values = [
        Value::Text(tenant.id.as_str()),
        Value::Text(&tenant.slug),
        Value::Text(&tenant.name),
        Value::Text(state(tenant)),
        Value::MaybeNumber(quota.streams),
        Value::MaybeNumber(quota.publishers),
        Value::MaybeNumber(quota.input_bps),
        Value::MaybeNumber(quota.egress_bps),
        Value::MaybeNumber(quota.storage_bytes),
        Value::Number(tenant.version),
        Value::Number(tenant.created_at.0),
    ];
    let insert = "INSERT INTO tenants (id, slug, name, state, quota_streams, quota_publishers, quota_input_bps, quota_egress_bps, \
                  quota_storage_bytes, version, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    writing.execute(insert, &values).await?;
    Ok(())
}

/// Writes a tenant over the version before its own.
pub(crate) async fn update(writing: &mut Writing, tenant: &Tenant) -> Result<(), Error> {
    let quota = &tenant.quota;
    let values = [
        Value::Text(tenant.id.as_str()),
        Value::Text(&tenant.name),
        Value::Text(state(tenant)),
        Value::MaybeNumber(quota.streams),
        Value::MaybeNumber(quota.publishers),
        Value::MaybeNumber(quota.input_bps),
        Value::MaybeNumber(quota.egress_bps),
        Value::MaybeNumber(quota.storage_bytes),
        Value::Number(tenant.version),
    ];
    let update = "UPDATE tenants SET name = $2, state = $3, quota_streams = $4, quota_publishers = $5, quota_input_bps = $6, \
                  quota_egress_bps = $7, quota_storage_bytes = $8, version = $9 WHERE id = $1 AND version = $9 - 1";
    one(writing.execute(update, &values).await?)
}

/// Deletes a tenant with all that it has, if that is still what was confirmed.
pub(crate) async fn delete(writing: &mut Writing, tenant: &Tenant) -> Result<(), Error> {
    let id = Value::Text(tenant.id.as_str());
    let version = Value::Number(tenant.version);
    one(writing.execute("DELETE FROM tenants WHERE id = $1 AND version = $2", &[id, version]).await?)?;
    delete_belongings(writing, &tenant.id).await
}

async fn delete_belongings(writing: &mut Writing, tenant: &Id) -> Result<(), Error> {
    let id = Value::Text(tenant.as_str());
    let hidden = "DELETE FROM stream_visibility WHERE name IN (SELECT name FROM streams WHERE tenant = $1)";
    writing.execute(hidden, &[id]).await?;
    chat::forget_all(writing, id).await?;
    writing.execute("DELETE FROM streams WHERE tenant = $1", &[id]).await?;
    writing.execute("DELETE FROM api_keys WHERE tenant = $1", &[id]).await?;
    writing.execute("DELETE FROM token_keys WHERE tenant = $1", &[id]).await?;
    writing.execute("DELETE FROM issuers WHERE tenant = $1", &[id]).await?;
    writing.execute("DELETE FROM idempotency_keys WHERE tenant = $1", &[id]).await?;
    writing.execute("DELETE FROM members WHERE tenant = $1", &[id]).await?;
    members::forget_strangers(writing).await?;
    events::forget_tenant(writing, id).await
}

/// Deletes a tenant in whatever version it is, with all that it has.
pub(crate) async fn remove(writing: &mut Writing, tenant: &Id) -> Result<(), Error> {
    writing.execute("DELETE FROM tenants WHERE id = $1", &[Value::Text(tenant.as_str())]).await?;
    delete_belongings(writing, tenant).await
}

/// The quota of a tenant that is there.
pub(crate) async fn quota_of_streams(writing: &mut Writing, tenant: &Id) -> Result<Option<i64>, Error> {
    let quota = "SELECT quota_streams FROM tenants WHERE id = $1";
    let found = writing.fetch::<(Option<i64>,)>(quota, &[Value::Text(tenant.as_str())]).await?;
    found.into_iter().next().map(|(quota,)| quota).ok_or(Error::Gone)
}

fn read(row: Row) -> Result<Tenant, Error> {
    let (id, slug, name, state, streams, publishers, input_bps, egress_bps, storage_bytes, version, created_at) = row;
    let unreadable = || Error::Unreadable(format!("tenant {id:?}"));
    Ok(Tenant {
        id: Id::parse(Kind::Tenant, &id).ok_or_else(unreadable)?,
        slug,
        name,
        is_suspended: state != "active",
        quota: Quota { streams, publishers, input_bps, egress_bps, storage_bytes },
        version,
        created_at: UnixMillis(created_at),
    })
}
