//! A catalogue from a backup: takes what the metadata log says of tenants, streams, API keys and members, in one transaction. Until
//! [`crate::Catalogue::forget_restore`], it is still one from a backup.
//!
//! Nothing of it is refused for a rule of today, such as one about names: what the log has was made under the rules of its time.

use std::collections::{BTreeMap, BTreeSet};

use media::{StreamId, UnixMillis};

use crate::access;
use crate::database::{Value, Writing};
use crate::id::Id;
use crate::{ApiKey, Error, KeptKey, Stream, Tenant, api_keys, channels, chat, members, tenants};

/// What the metadata log says of what the catalogue has.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// `None` in a log of before tenants were in it.
    pub tenants: Option<Vec<Tenant>>,
    pub streams: Vec<RememberedStream>,
    /// Streams that stay without a row, because the configuration has them.
    pub configured: BTreeSet<StreamId>,
    /// `None` in a log of before API keys were in it. Names and hints are not in the log.
    pub api_keys: Option<Vec<ApiKey>>,
    /// Identities of members that were deleted.
    pub members_gone: Vec<String>,
}

/// A stream as its row says it.
#[derive(Debug, Clone)]
pub struct RememberedStream {
    pub name: StreamId,
    /// `None` where the row does not say it, or the configuration does.
    pub key: Option<KeptKey>,
    pub title: String,
    pub visibility: &'static str,
    /// Since when a stream is there that comes back.
    pub created_at: UnixMillis,
}

pub(crate) async fn remember(writing: &mut Writing, remembered: Remembered) -> Result<(), Error> {
    let Remembered { tenants, streams, configured, api_keys, members_gone } = remembered;
    if let Some(tenants) = tenants {
        take_tenants(writing, &tenants).await?;
    }
    take_streams(writing, streams, &configured).await?;
    if let Some(keys) = api_keys {
        take_api_keys(writing, keys).await?;
    }
    members::forget_after_restore(writing, &members_gone).await
}

async fn take_tenants(writing: &mut Writing, wanted: &[Tenant]) -> Result<(), Error> {
    let there = tenants::all(writing).await?;
    for gone in there.iter().filter(|there| !there.is_default() && !wanted.iter().any(|tenant| tenant.id == there.id)) {
        tenants::remove(writing, &gone.id).await?;
    }
    for tenant in wanted {
        match there.iter().find(|there| there.id == tenant.id) {
            Some(there) if (there.is_suspended, there.quota) == (tenant.is_suspended, tenant.quota) => {}
            Some(there) => {
                let (is_suspended, quota) = (tenant.is_suspended, tenant.quota);
                let changed = Tenant { is_suspended, quota, version: there.version + 1, ..there.clone() };
                tenants::update(writing, &changed).await?;
            }
            None => tenants::insert(writing, tenant).await?,
        }
    }
    Ok(())
}

async fn take_streams(
    writing: &mut Writing,
    wanted: Vec<RememberedStream>,
    configured: &BTreeSet<StreamId>,
) -> Result<(), Error> {
    let rows = writing.fetch::<(String, String)>("SELECT name, key_mac FROM streams", &[]).await?;
    let there: BTreeMap<String, String> = rows.into_iter().collect();
    let named: BTreeSet<&str> = wanted.iter().map(|row| &row.name).chain(configured).map(StreamId::as_str).collect();
    // A log without any stream is one of before there were some.
    let is_gone = |name: &&String| !wanted.is_empty() && !named.contains(name.as_str());
    for name in there.keys().filter(is_gone) {
        writing.execute("DELETE FROM streams WHERE name = $1", &[Value::Text(name)]).await?;
        chat::forget(writing, Value::Text(name)).await?;
        access::forget_visibility(writing, Value::Text(name)).await?;
    }
    for RememberedStream { name, key, title, visibility, created_at } in wanted {
        match (there.get(name.as_str()), key) {
            (Some(known), Some(key)) if *known != key.to_text() => set_key(writing, &name, &key).await?,
            (Some(_), _) => {}
            (None, Some(key)) => channels::insert(writing, &Stream { name: name.clone(), key, created_at }).await?,
            // Nobody could publish it: whoever configures it makes it.
            (None, None) => continue,
        }
        let update = "UPDATE streams SET title = $2, version = version + 1 WHERE name = $1 AND title <> $2";
        writing.execute(update, &[Value::Text(name.as_str()), Value::Text(&title)]).await?;
        channels::give_to_owner(writing, &name).await?;
        access::set_visibility(writing, &name, visibility).await?;
    }
    channels::give_ids(writing).await
}

async fn set_key(writing: &mut Writing, name: &StreamId, key: &KeptKey) -> Result<(), Error> {
    let mac = key.to_text();
    let values = [Value::Text(name.as_str()), Value::Text(&mac), Value::Text(&key.hint)];
    let update = "UPDATE streams SET key_mac = $2, key_hint = $3, version = version + 1 WHERE name = $1";
    writing.execute(update, &values).await?;
    Ok(())
}

async fn take_api_keys(writing: &mut Writing, wanted: Vec<ApiKey>) -> Result<(), Error> {
    let mut there: BTreeMap<Id, ApiKey> =
        api_keys::all(writing).await?.into_iter().map(|key| (key.id.clone(), key)).collect();
    for key in wanted {
        let Some(known) = there.remove(&key.id) else {
            api_keys::insert(writing, &key).await?;
            continue;
        };
        let hint = if known.digest == key.digest { known.hint.clone() } else { String::new() };
        let ApiKey { digest, old, scopes, expires_at, .. } = key;
        let changed = ApiKey { digest, hint, old, scopes, expires_at, ..known.clone() };
        if changed != known {
            api_keys::update(writing, &ApiKey { version: known.version + 1, ..changed }).await?;
        }
    }
    for gone in there.values() {
        api_keys::delete(writing, gone).await?;
    }
    Ok(())
}
