//! Changes by the API: the change, its audit record, and the answer that a repeated request gets, in one transaction.

use media::UnixMillis;
use messages::MacKey;
use serde_json::{Value as Json, json};

use crate::audit::{self, Record};
use crate::database::{Value, Writing};
use crate::events::{StreamRow, row_changed, tenant_deleted};
use crate::id::Id;
use crate::outbox::Event;
use crate::sessions::MemberEdit;
use crate::webhooks::Webhook;
use crate::{
    ApiKey, Ban, Catalogue, Channel, Error, Issuer, Member, Message, People, SigningKey, Tenant, api_keys, channels,
    chat, deliveries, issuers, sessions, tenants, token_keys, webhooks,
};

/// For how long a repeated request gets the same answer, in milliseconds.
const REPLAY_MS: i64 = 24 * 3_600 * 1_000;

/// Most answers that are kept for a tenant: seven POSTs a minute, all day. Of more, the oldest are forgotten before their time.
pub const ANSWERS_MAX: i64 = 10_000;

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
    People(People),
    DeleteMessage(Message, UnixMillis),
    /// Deletes what the writer has written, too.
    BanWriter(Ban),
    LiftBan(Ban),
    CreateWebhook(Webhook),
    UpdateWebhook(Webhook),
    DeleteWebhook(Webhook),
    /// Events go to an endpoint once more.
    Replay(Webhook, Vec<Event>),
    CreateSigningKey(SigningKey),
    UpdateSigningKey(SigningKey),
    DeleteSigningKey(SigningKey),
    CreateIssuer(Issuer),
    UpdateIssuer(Issuer),
    DeleteIssuer(Issuer),
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
    // A stream that goes is described before it goes.
    let before = match &commit.edit {
        Edit::UpdateChannel(channel) => channels::key_of(writing, channel).await?,
        _ => None,
    };
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
        Edit::DeleteChannel(channel) => {
            let row = StreamRow::find(writing, &channel.name).await?;
            channels::delete(writing, channel).await?;
            if let Some(row) = row {
                row.deleted(writing).await?;
            }
        }
        Edit::CreateWebhook(webhook) => webhooks::create(writing, webhook).await?,
        Edit::UpdateWebhook(webhook) => webhooks::update(writing, webhook).await?,
        Edit::DeleteWebhook(webhook) => webhooks::delete(writing, webhook).await?,
        Edit::Replay(webhook, events) => deliveries::replay(writing, &webhook.id, events).await?,
        Edit::People(people) => sessions::apply(writing, people, commit.record.at).await?,
        Edit::DeleteMessage(message, at) => chat::delete_message(writing, message, *at).await?,
        Edit::BanWriter(ban) => chat::ban(writing, ban).await?,
        Edit::LiftBan(ban) => chat::lift(writing, ban).await?,
        Edit::CreateSigningKey(key) => token_keys::create(writing, key).await?,
        Edit::UpdateSigningKey(key) => token_keys::update(writing, key).await?,
        Edit::DeleteSigningKey(key) => token_keys::delete(writing, key).await?,
        Edit::CreateIssuer(issuer) => issuers::create(writing, issuer).await?,
        Edit::UpdateIssuer(issuer) => issuers::update(writing, issuer).await?,
        Edit::DeleteIssuer(issuer) => issuers::delete(writing, issuer).await?,
    }
    tell(writing, &commit.edit, before.as_deref()).await?;
    audit::append(writing, key, &commit.record).await
}

/// Writes the event of a change, in its transaction. A new kind of row needs one line here: `row_changed` with the event's name, the row's
/// tenant and identity, and what receivers see of it.
async fn tell(writing: &mut Writing, edit: &Edit, key_before: Option<&str>) -> Result<(), Error> {
    match edit {
        Edit::CreateChannel(channel) => StreamRow::created(writing, &channel.name).await,
        Edit::UpdateChannel(channel) => {
            let is_rotated = key_before.is_some_and(|before| before != channel.key.to_text());
            let kind = if is_rotated { "stream.key_rotated" } else { "stream.updated" };
            StreamRow::changed(writing, &channel.name, kind).await
        }
        Edit::CreateApiKey(key) => {
            row_changed(writing, "api_key.created", (&key.tenant, &key.id), api_key_object(key)).await
        }
        Edit::UpdateApiKey(key) => {
            row_changed(writing, "api_key.updated", (&key.tenant, &key.id), api_key_object(key)).await
        }
        Edit::DeleteApiKey(key) => {
            row_changed(writing, "api_key.deleted", (&key.tenant, &key.id), api_key_object(key)).await
        }
        Edit::DeleteTenant(tenant) => tenant_deleted(writing, tenant).await,
        Edit::People(People { member: Some(edit), .. }) => {
            let (kind, member) = match edit {
                MemberEdit::Create(member) => ("member.created", member),
                MemberEdit::Update(member) => ("member.updated", member),
                MemberEdit::Delete(member) => ("member.deleted", member),
            };
            row_changed(writing, kind, (&member.tenant, &member.id), member_object(member)).await
        }
        _ => Ok(()),
    }
}

fn member_object(member: &Member) -> Json {
    json!({ "id": member.id.as_str(), "name": member.name, "role": member.role, "state": member.state.name() })
}

fn api_key_object(key: &ApiKey) -> Json {
    json!({ "id": key.id.as_str(), "name": key.name, "scopes": key.scopes.split(' ').collect::<Vec<_>>(), "hint": key.hint })
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
    if writing.execute(insert, &values).await? == 0 {
        return Err(Error::Repeated);
    }
    let surplus = "DELETE FROM idempotency_keys WHERE tenant = $1 AND created_at <= \
                   (SELECT created_at FROM idempotency_keys WHERE tenant = $1 ORDER BY created_at DESC LIMIT 1 OFFSET $2)";
    writing.execute(surplus, &[Value::Text(answer.tenant.as_str()), Value::Number(ANSWERS_MAX)]).await?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
