//! API keys: what programs use. The catalogue keeps the digests of their secrets.

use media::{Digest, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, one};
use crate::secret::ApiSecret;
use crate::{Catalogue, Error};

/// Most API keys of a tenant: some for each program and each person, and those that nobody has deleted yet.
pub const API_KEYS_MAX: i64 = 1_000;
/// Most API keys of all tenants: the metadata log has room for twice as many.
pub const ALL_API_KEYS_MAX: i64 = 50_000;

/// An API key as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Id,
    pub tenant: Id,
    pub name: String,
    /// Names of what it may do, separated by spaces.
    pub scopes: String,
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// The secret's last characters.
    pub hint: String,
    /// The secret before, and until when it is accepted, too.
    pub old: Option<(Digest, UnixMillis)>,
    pub expires_at: Option<UnixMillis>,
    pub last_used_at: Option<UnixMillis>,
    pub version: i64,
    pub created_at: UnixMillis,
}

impl ApiKey {
    /// Whether a secret is that of this key, or the one before while that is accepted.
    pub fn accepts(&self, secret: &ApiSecret, now: UnixMillis) -> bool {
        let is_old = self.old.is_some_and(|(digest, until)| now < until && secret.is_of(&digest));
        secret.is_of(&self.digest) || is_old
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

type Row =
    (String, String, String, String, String, String, Option<String>, Option<i64>, Option<i64>, Option<i64>, i64, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, name, scopes, digest, hint, old_digest, old_until, expires_at, last_used_at, version, created_at ",
            "FROM api_keys ",
            $rest
        )
    };
}

impl Catalogue {
    /// The key with this identity, whoever owns it: to recognise a secret.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn known_api_key(&self, id: &Id) -> Result<Option<ApiKey>, Error> {
        let rows = self.database.fetch(select!("WHERE id = $1"), &[Value::Text(id.as_str())]).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A tenant's key; `None` when it has none with this identity.
    ///
    /// # Errors
    /// As [`Catalogue::known_api_key`].
    pub async fn find_api_key(&self, tenant: &Id, id: &str) -> Result<Option<ApiKey>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(id)];
        let rows = self.database.fetch(select!("WHERE tenant = $1 AND id = $2"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// The keys of all tenants.
    ///
    /// # Errors
    /// As [`Catalogue::known_api_key`].
    pub async fn all_api_keys(&self) -> Result<Vec<ApiKey>, Error> {
        self.database.fetch(select!("ORDER BY id"), &[]).await?.into_iter().map(read).collect()
    }

    /// A page of a tenant's keys.
    ///
    /// # Errors
    /// As [`Catalogue::known_api_key`].
    pub async fn api_keys(&self, tenant: &Id, page: &Page) -> Result<Vec<ApiKey>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.as_str()), at, id, after, before, like, limit];
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!') ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!') ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }
}

pub(crate) async fn create(writing: &mut Writing, key: &ApiKey) -> Result<(), Error> {
    let tenant = Value::Text(key.tenant.as_str());
    if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
        return Err(Error::Gone);
    }
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM api_keys WHERE tenant = $1", &[tenant]).await?;
    if counts.iter().any(|(count,)| *count >= API_KEYS_MAX) {
        return Err(Error::FullOf("API keys of this tenant"));
    }
    let all = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM api_keys", &[]).await?;
    if all.iter().any(|(count,)| *count >= ALL_API_KEYS_MAX) {
        return Err(Error::FullOf("API keys"));
    }
    insert(writing, key).await
}

pub(crate) async fn all(writing: &mut Writing) -> Result<Vec<ApiKey>, Error> {
    writing.fetch(select!("ORDER BY id"), &[]).await?.into_iter().map(read).collect()
}

/// Adds a key, whatever there is already.
pub(crate) async fn insert(writing: &mut Writing, key: &ApiKey) -> Result<(), Error> {
    let (digest, old) = (key.digest.to_string(), key.old.map(|(digest, _)| digest.to_string()));
    let values = [
        Value::Text(key.id.as_str()),
        Value::Text(key.tenant.as_str()),
        Value::Text(&key.name),
        Value::Text(&key.scopes),
        Value::Text(&digest),
        Value::Text(&key.hint),
        Value::MaybeText(old.as_deref()),
        Value::MaybeNumber(key.old.map(|(_, until)| until.0)),
        Value::MaybeNumber(key.expires_at.map(|at| at.0)),
        Value::MaybeNumber(key.last_used_at.map(|at| at.0)),
        Value::Number(key.version),
        Value::Number(key.created_at.0),
    ];
    let insert = "INSERT INTO api_keys (id, tenant, name, scopes, digest, hint, old_digest, old_until, expires_at, last_used_at, \
                  version, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    writing.execute(insert, &values).await?;
    Ok(())
}

/// Writes a key over the version before its own.
pub(crate) async fn update(writing: &mut Writing, key: &ApiKey) -> Result<(), Error> {
    let (digest, old) = (key.digest.to_string(), key.old.map(|(digest, _)| digest.to_string()));
    let values = [
        Value::Text(key.id.as_str()),
        Value::Text(key.tenant.as_str()),
        Value::Text(&key.name),
        Value::Text(&key.scopes),
        Value::Text(&digest),
        Value::Text(&key.hint),
        Value::MaybeText(old.as_deref()),
        Value::MaybeNumber(key.old.map(|(_, until)| until.0)),
        Value::MaybeNumber(key.expires_at.map(|at| at.0)),
        Value::Number(key.version),
    ];
    let update = "UPDATE api_keys SET name = $3, scopes = $4, digest = $5, hint = $6, old_digest = $7, old_until = $8, \
                  expires_at = $9, version = $10 WHERE id = $1 AND tenant = $2 AND version = $10 - 1";
    one(writing.execute(update, &values).await?)
}

pub(crate) async fn delete(writing: &mut Writing, key: &ApiKey) -> Result<(), Error> {
    let values = [Value::Text(key.id.as_str()), Value::Text(key.tenant.as_str()), Value::Number(key.version)];
    let delete = "DELETE FROM api_keys WHERE id = $1 AND tenant = $2 AND version = $3";
    one(writing.execute(delete, &values).await?)
}

/// Notes when a key was used. That is no change of the key, so its version stays.
pub(crate) async fn used(writing: &mut Writing, id: &Id, at: UnixMillis) -> Result<(), Error> {
    let update = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    writing.execute(update, &[Value::Text(id.as_str()), Value::Number(at.0)]).await?;
    Ok(())
}

fn read(row: Row) -> Result<ApiKey, Error> {
    let (id, tenant, name, scopes, digest, hint, old_digest, old_until, expires_at, last_used_at, version, created_at) =
        row;
    let unreadable = || Error::Unreadable(format!("API key {id:?}"));
    let old = old_digest.as_deref().map(str::parse::<Digest>).transpose().map_err(|_| unreadable())?;
    Ok(ApiKey {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        digest: digest.parse().map_err(|_| unreadable())?,
        id: Id::parse(Kind::ApiKey, &id).ok_or_else(unreadable)?,
        name,
        scopes,
        hint,
        old: old.zip(old_until.map(UnixMillis)),
        expires_at: expires_at.map(UnixMillis),
        last_used_at: last_used_at.map(UnixMillis),
        version,
        created_at: UnixMillis(created_at),
    })
}
