//! Endpoints of webhooks. The catalogue keeps a salt of each secret: the secret follows from it and from control's pepper, which is not in
//! the database.

use media::UnixMillis;
use messages::MacKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::database::{Value, Writing};
use crate::events::row_changed;
use crate::id::{Id, Kind};
use crate::queue::endpoints_changed;
use crate::rows::{Page, one};
use crate::{Catalogue, Error};

/// Most endpoints of a tenant, and of all: each gets every event, and waits for each answer.
pub const WEBHOOKS_MAX: i64 = 20;
pub const WEBHOOKS_ALL_MAX: i64 = 1_000;
/// What the key is derived with that secrets follow from. No stream key has a NUL.
pub(crate) const KEY_LABEL: &str = "\0sealcast webhook secrets";
/// Random bytes of a salt.
const SALT_BYTES: usize = 16;

/// An endpoint as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: Id,
    pub tenant: Id,
    pub url: String,
    /// Kinds of events, separated by spaces: `stream.live`, `stream.*`, or `*` alone.
    pub kinds: String,
    /// Why it gets nothing; `None` while it is active.
    pub disabled: Option<String>,
    pub salt: Salt,
    /// The salt before, and until when its secret signs, too.
    pub old: Option<(Salt, UnixMillis)>,
    /// Since when nothing was delivered although it was tried.
    pub failing_since: Option<UnixMillis>,
    pub version: i64,
    pub created_at: UnixMillis,
}

/// What a secret follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salt(String);

impl Salt {
    pub fn draw() -> Self {
        let bytes: [u8; SALT_BYTES] = rand::random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Webhook {
    /// The salts whose secrets sign now, the newest first.
    pub fn salts(&self, now: UnixMillis) -> impl Iterator<Item = &Salt> {
        let old = self.old.as_ref().filter(move |(_, until)| now < *until).map(|(salt, _)| salt);
        std::iter::once(&self.salt).chain(old)
    }
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    Option<String>,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, url, kinds, state, reason, salt, old_salt, old_until, failing_since, version, created_at FROM webhooks ",
            $rest
        )
    };
}

impl Catalogue {
    /// The secret of an endpoint that follows from a salt: 32 bytes.
    pub fn webhook_secret(&self, id: &Id, salt: &Salt) -> Zeroizing<Vec<u8>> {
        let key: &MacKey = &self.webhook_key;
        Zeroizing::new(key.mac(&format!("{id} {}", salt.0)).0.to_vec())
    }

    /// A tenant's endpoint; `None` when it has none with this identity.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_webhook(&self, tenant: &Id, id: &str) -> Result<Option<Webhook>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(id)];
        let rows = self.database.fetch(select!("WHERE tenant = $1 AND id = $2"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// All endpoints that get events.
    ///
    /// # Errors
    /// As [`Catalogue::find_webhook`].
    pub async fn active_webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let rows = self.database.fetch(select!("WHERE state = 'active'"), &[]).await?;
        rows.into_iter().map(read).collect()
    }

    /// A page of a tenant's endpoints.
    ///
    /// # Errors
    /// As [`Catalogue::find_webhook`].
    pub async fn webhooks(&self, tenant: &Id, page: &Page) -> Result<Vec<Webhook>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.as_str()), at, id, after, before, like, limit];
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(url) LIKE $6 ESCAPE '!') ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(url) LIKE $6 ESCAPE '!') ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }
}

pub(crate) async fn create(writing: &mut Writing, webhook: &Webhook) -> Result<(), Error> {
    let tenant = Value::Text(webhook.tenant.as_str());
    if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
        return Err(Error::Gone);
    }
    let counts = "SELECT (SELECT COUNT(*) FROM webhooks WHERE tenant = $1), (SELECT COUNT(*) FROM webhooks)";
    let counts = writing.fetch::<(i64, i64)>(counts, &[tenant]).await?;
    if counts.iter().any(|(own, all)| *own >= WEBHOOKS_MAX || *all >= WEBHOOKS_ALL_MAX) {
        return Err(Error::FullOf("webhooks"));
    }
    let values = [
        Value::Text(webhook.id.as_str()),
        tenant,
        Value::Text(&webhook.url),
        Value::Text(&webhook.kinds),
        Value::Text(&webhook.salt.0),
        Value::Number(webhook.version),
        Value::Number(webhook.created_at.0),
    ];
    let insert = "INSERT INTO webhooks (id, tenant, url, kinds, state, salt, version, created_at) \
                  VALUES ($1, $2, $3, $4, 'active', $5, $6, $7)";
    writing.execute(insert, &values).await?;
    endpoints_changed(writing).await
}

/// Writes an endpoint over the version before its own. One that is disabled gets nothing of what waits.
pub(crate) async fn update(writing: &mut Writing, webhook: &Webhook) -> Result<(), Error> {
    let (old, until) = webhook.old.as_ref().map(|(salt, until)| (salt.0.as_str(), until.0)).unzip();
    let id = Value::Text(webhook.id.as_str());
    let values = [
        id,
        Value::Text(webhook.tenant.as_str()),
        Value::Text(&webhook.url),
        Value::Text(&webhook.kinds),
        Value::Text(if webhook.disabled.is_some() { "disabled" } else { "active" }),
        Value::MaybeText(webhook.disabled.as_deref()),
        Value::Text(&webhook.salt.0),
        Value::MaybeText(old),
        Value::MaybeNumber(until),
        Value::MaybeNumber(webhook.failing_since.map(|at| at.0)),
        Value::Number(webhook.version),
    ];
    let update = "UPDATE webhooks SET url = $3, kinds = $4, state = $5, reason = $6, salt = $7, old_salt = $8, old_until = $9, \
                  failing_since = $10, version = $11 WHERE id = $1 AND tenant = $2 AND version = $11 - 1";
    one(writing.execute(update, &values).await?)?;
    if webhook.disabled.is_some() {
        give_up(writing, id).await?;
    }
    endpoints_changed(writing).await
}

/// Deletes an endpoint, with its deliveries.
pub(crate) async fn delete(writing: &mut Writing, webhook: &Webhook) -> Result<(), Error> {
    let id = Value::Text(webhook.id.as_str());
    let values = [id, Value::Text(webhook.tenant.as_str()), Value::Number(webhook.version)];
    one(writing.execute("DELETE FROM webhooks WHERE id = $1 AND tenant = $2 AND version = $3", &values).await?)?;
    writing.execute("DELETE FROM deliveries WHERE webhook = $1", &[id]).await?;
    endpoints_changed(writing).await
}

/// Disables an endpoint that takes nothing, and says so to the tenant's others.
pub(crate) async fn disable(writing: &mut Writing, tenant: &Id, webhook: &Id, reason: &str) -> Result<(), Error> {
    let id = Value::Text(webhook.as_str());
    let disable =
        "UPDATE webhooks SET state = 'disabled', reason = $2, version = version + 1 WHERE id = $1 AND state = 'active'";
    if writing.execute(disable, &[id, Value::Text(reason)]).await? == 0 {
        return Ok(());
    }
    give_up(writing, id).await?;
    let object = json!({ "id": webhook.as_str(), "reason": reason });
    row_changed(writing, "webhook.disabled", (tenant, webhook), object).await?;
    endpoints_changed(writing).await
}

async fn give_up(writing: &mut Writing, webhook: Value<'_>) -> Result<(), Error> {
    let failed = "UPDATE deliveries SET state = 'failed', error = COALESCE(error, 'the endpoint was disabled before it was tried') \
                  WHERE webhook = $1 AND state = 'pending'";
    writing.execute(failed, &[webhook]).await?;
    Ok(())
}

fn read(row: Row) -> Result<Webhook, Error> {
    let (id, tenant, url, kinds, state, reason, salt, old_salt, old_until, failing_since, version, created_at) = row;
    let unreadable = || Error::Unreadable(format!("webhook {id:?}"));
    let disabled = (state != "active").then(|| reason.unwrap_or_default());
    Ok(Webhook {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        id: Id::parse(Kind::Webhook, &id).ok_or_else(unreadable)?,
        url,
        kinds,
        disabled,
        salt: Salt(salt),
        old: old_salt.map(Salt).zip(old_until.map(UnixMillis)),
        failing_since: failing_since.map(UnixMillis),
        version,
        created_at: UnixMillis(created_at),
    })
}
