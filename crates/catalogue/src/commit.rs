//! Changes by the API: the change, its audit record, and the answer that a repeated request gets, in one transaction.

use media::UnixMillis;
use messages::MacKey;

use crate::audit::{self, Record};
use crate::database::{Value, Writing};
use crate::id::Id;
use crate::{ApiKey, Catalogue, Channel, Error, Tenant, api_keys, channels, tenants};

/// For how long a repeated request gets the same answer, in milliseconds.
const REPLAY_MS: i64 = 24 * 3_600 * 1_000;

/// What changes. An update carries the version that it makes, and a deletion the version that it ends: another one that came first makes
/// it [`Error::VersionMismatch`].
#[derive(Debug, Clone)]
pub enum Edit {
    /// Nothing: something was refused, or happened elsewhere.
    Nothing,
    CreateTenant(Tenant),
    UpdateTenant(Tenant),
    DeleteTenant(Tenant),
    CreateApiKey(ApiKey),
    UpdateApiKey(ApiKey),
    DeleteApiKey(ApiKey),
    CreateChannel(Channel),
    UpdateChannel(Channel),
    DeleteChannel(Channel),
}

/// The answer to a request, for whoever repeats it with the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub tenant: Id,
    /// SHA-256 of the idempotency key, in hexadecimal.
    pub key: String,
    /// SHA-256 of the request, in hexadecimal.
    pub request: String,
    pub status: u16,
    /// The answer, encrypted, in hexadecimal.
    pub sealed: String,
    pub at: UnixMillis,
}

/// A change with all that has to be true together with it.
#[derive(Debug, Clone)]
pub struct Commit {
    pub edit: Edit,
    pub record: Record,
    pub answer: Option<KeptAnswer>,
}

impl Catalogue {
    /// The answer that was kept for an idempotency key of a tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept_answer(&self, tenant: &Id, key: &str, now: UnixMillis) -> Result<Option<KeptAnswer>, Error> {
        let sql = "SELECT request, status, answer, created_at FROM idempotency_keys WHERE tenant = $1 AND digest = $2 AND created_at > $3";
        let values = [Value::Text(tenant.as_str()), Value::Text(key), Value::Number(now.0.saturating_sub(REPLAY_MS))];
        let found = self.database.fetch::<(String, i64, String, i64)>(sql, &values).await?;
        Ok(found.into_iter().next().map(|(request, status, sealed, at)| KeptAnswer {
            tenant: tenant.clone(),
            key: key.to_owned(),
            request,
            status: u16::try_from(status).unwrap_or(500),
            sealed,
            at: UnixMillis(at),
        }))
    }
}

pub(crate) async fn apply(writing: &mut Writing, key: &MacKey, commit: Commit) -> Result<(), Error> {
    if let Some(answer) = &commit.answer {
        keep(writing, answer).await?;
    }
    match &commit.edit {
        Edit::Nothing => {}
        Edit::CreateTenant(tenant) => tenants::create(writing, tenant).await?,
        Edit::UpdateTenant(tenant) => tenants::update(writing, tenant).await?,
        Edit::DeleteTenant(tenant) => tenants::delete(writing, tenant).await?,
        Edit::CreateApiKey(key) => api_keys::create(writing, key).await?,
        Edit::UpdateApiKey(key) => api_keys::update(writing, key).await?,
        Edit::DeleteApiKey(key) => api_keys::delete(writing, key).await?,
        Edit::CreateChannel(channel) => channels::create(writing, channel).await?,
        Edit::UpdateChannel(channel) => channels::update(writing, channel).await?,
        Edit::DeleteChannel(channel) => channels::delete(writing, channel).await?,
    }
    audit::append(writing, key, &commit.record).await
}

/// Keeps an answer, and forgets those that nobody may ask for any more.
async fn keep(writing: &mut Writing, answer: &KeptAnswer) -> Result<(), Error> {
    let old = Value::Number(answer.at.0.saturating_sub(REPLAY_MS));
    writing.execute("DELETE FROM idempotency_keys WHERE created_at <= $1", &[old]).await?;
    let values = [
        Value::Text(answer.tenant.as_str()),
        Value::Text(&answer.key),
        Value::Text(&answer.request),
        Value::Number(answer.status.into()),
        Value::Text(&answer.sealed),
        Value::Number(answer.at.0),
    ];
    let insert = "INSERT INTO idempotency_keys (tenant, digest, request, status, answer, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, digest) DO NOTHING";
    if writing.execute(insert, &values).await? == 0 { Err(Error::Repeated) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
