//! Keys of viewer tokens: those that control signs with, and public keys that tenants have registered. No private key is here.

use media::UnixMillis;

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, one};
use crate::{Catalogue, Error};

/// Most keys of a tenant: two control nodes, each with its successor, and some of its own.
pub const SIGNING_KEYS_MAX: i64 = 32;
/// Most keys in all, as the metadata log has room for them.
const ALL_MAX: i64 = 4_096;

/// A key, without its private part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    pub id: Id,
    pub tenant: Id,
    pub name: String,
    pub public_key: PublicKey,
    pub created_at: UnixMillis,
    /// When its tokens count no more.
    pub not_after: UnixMillis,
    pub version: i64,
}

/// Who has the private part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// A control node. Ed25519.
    Control([u8; 32]),
    /// The tenant. A JWK (RFC 7517).
    Registered(String),
}

impl PublicKey {
    fn origin(&self) -> &'static str {
        match self {
            Self::Control(_) => "control",
            Self::Registered(_) => "registered",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Control(key) => key.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Registered(jwk) => jwk.clone(),
        }
    }

    fn read(origin: &str, text: String) -> Option<Self> {
        match origin {
            "control" => bytes_of(&text).map(Self::Control),
            _ => Some(Self::Registered(text)),
        }
    }
}

type Row = (String, String, String, String, String, i64, i64, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, tenant, name, origin, public_key, created_at, not_after, version FROM token_keys ", $rest)
    };
}

impl Catalogue {
    /// All keys, also those that have ended, oldest first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Error> {
        let rows = self.database.fetch(select!("ORDER BY created_at, id"), &[]).await?;
        rows.into_iter().map(read).collect()
    }

    /// A tenant's key; `None` when it has none with this identity.
    ///
    /// # Errors
    /// As [`Catalogue::signing_keys`].
    pub async fn find_signing_key(&self, tenant: &Id, id: &str) -> Result<Option<SigningKey>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(id)];
        let rows = self.database.fetch(select!("WHERE tenant = $1 AND id = $2"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A page of a tenant's keys.
    ///
    /// # Errors
    /// As [`Catalogue::signing_keys`].
    pub async fn signing_keys_of(&self, tenant: &Id, page: &Page) -> Result<Vec<SigningKey>, Error> {
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

/// Adds a key.
pub(crate) async fn create(writing: &mut Writing, key: &SigningKey) -> Result<(), Error> {
    let (tenant, text) = (Value::Text(key.tenant.as_str()), key.public_key.text());
    if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
        return Err(Error::Gone);
    }
    let counts = "SELECT (SELECT COUNT(*) FROM token_keys WHERE tenant = $1), (SELECT COUNT(*) FROM token_keys)";
    let counts = writing.fetch::<(i64, i64)>(counts, &[tenant]).await?;
    if counts.iter().any(|(own, all)| *own >= SIGNING_KEYS_MAX || *all >= ALL_MAX) {
        return Err(Error::FullOf("keys of viewer tokens"));
    }
    let values = [
        Value::Text(key.id.as_str()),
        tenant,
        Value::Text(&key.name),
        Value::Text(key.public_key.origin()),
        Value::Text(&text),
        Value::Number(key.created_at.0),
        Value::Number(key.not_after.0),
        Value::Number(key.version),
    ];
    let put = "INSERT INTO token_keys (id, tenant, name, origin, public_key, created_at, not_after, version) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    if writing.execute(put, &values).await? == 0 { Err(Error::SigningKeyTaken) } else { Ok(()) }
}

/// Writes a key over the version before its own. Only its name changes.
pub(crate) async fn update(writing: &mut Writing, key: &SigningKey) -> Result<(), Error> {
    let values = [
        Value::Text(key.id.as_str()),
        Value::Text(key.tenant.as_str()),
        Value::Text(&key.name),
        Value::Number(key.version),
    ];
    let update = "UPDATE token_keys SET name = $3, version = $4 WHERE id = $1 AND tenant = $2 AND version = $4 - 1";
    one(writing.execute(update, &values).await?)
}

pub(crate) async fn delete(writing: &mut Writing, key: &SigningKey) -> Result<(), Error> {
    let values = [Value::Text(key.id.as_str()), Value::Text(key.tenant.as_str()), Value::Number(key.version)];
    one(writing.execute("DELETE FROM token_keys WHERE id = $1 AND tenant = $2 AND version = $3", &values).await?)
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn read(row: Row) -> Result<SigningKey, Error> {
    let (id, tenant, name, origin, public_key, created_at, not_after, version) = row;
    let unreadable = || Error::Unreadable(format!("signing key {id:?}"));
    Ok(SigningKey {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        public_key: PublicKey::read(&origin, public_key).ok_or_else(unreadable)?,
        id: Id::parse(Kind::SigningKey, &id).ok_or_else(unreadable)?,
        name,
        created_at: UnixMillis(created_at),
        not_after: UnixMillis(not_after),
        version,
    })
}
