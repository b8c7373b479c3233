//! Streams as their tenants see them: with an identity, an owner and texts. [`crate::Stream`] is the part that publishing needs.

use media::{StreamId, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, ensure_room, key_taken, one};
use crate::{Catalogue, Error, KeptKey, Stream, access, chat, is_misleading, tenants};

/// Most identities that are given to streams at once.
const ADOPTED_MAX: i64 = 1_000;

/// What a tenant may set of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    pub title: String,
    pub description: String,
    pub category: String,
}

/// Who may watch a stream, which sites may use it, and its chat, by names that the caller knows again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    pub visibility: String,
    /// Without spaces in them.
    pub origins: Vec<String>,
    pub embed: String,
    pub has_chat: bool,
    pub chat_slow_s: i64,
    pub chat_writers: String,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            visibility: access::PUBLIC.to_owned(),
            origins: Vec::new(),
            embed: "listed".to_owned(),
            has_chat: false,
            chat_slow_s: 0,
            chat_writers: "everybody".to_owned(),
        }
    }
}

impl Pages {
    fn read((origins, embed, chat_on, chat_slow_s, chat_writers): PagesRow, visibility: Option<String>) -> Self {
        Self {
            visibility: visibility.unwrap_or_else(|| access::PUBLIC.to_owned()),
            origins: origins.split_whitespace().map(str::to_owned).collect(),
            embed,
            has_chat: chat_on != 0,
            chat_slow_s,
            chat_writers,
        }
    }
}

/// Origins, who may show the player, whether there is a chat, its pace and its writers, as the table has them.
type PagesRow = (String, String, i64, i64, String);

/// A stream of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub id: Id,
    pub tenant: Id,
    pub name: StreamId,
    pub texts: Texts,
    pub pages: Pages,
    /// What is kept of its publisher's key.
    pub key: KeptKey,
    pub version: i64,
    pub created_at: UnixMillis,
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    Option<String>,
    String,
    String,
    i64,
    i64,
    String,
);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, name, title, description, category, key_mac, key_hint, version, created_at, ",
            "(SELECT visibility FROM stream_visibility WHERE stream_visibility.name = streams.name), ",
            "origins, embed, chat_on, chat_slow_s, chat_writers FROM streams ",
            $rest
        )
    };
}

impl Catalogue {
    /// A tenant's stream by name or identity; `None` when the tenant has none.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_channel(&self, tenant: &Id, name: &str) -> Result<Option<Channel>, Error> {
        self.adopt().await?;
        let values = [Value::Text(tenant.as_str()), Value::Text(name)];
        let rows = self.database.fetch(select!("WHERE tenant = $1 AND (id = $2 OR name = $2)"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A page of a tenant's streams.
    ///
    /// # Errors
    /// As [`Catalogue::find_channel`].
    pub async fn channels(&self, tenant: &Id, page: &Page) -> Result<Vec<Channel>, Error> {
        self.adopt().await?;
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.as_str()), at, id, after, before, like, limit];
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!' OR LOWER(title) LIKE $6 ESCAPE '!') \
                 ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!' OR LOWER(title) LIKE $6 ESCAPE '!') \
                 ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }

    /// Names of a tenant's streams.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn streams_of(&self, tenant: &Id) -> Result<Vec<StreamId>, Error> {
        let sql = "SELECT name FROM streams WHERE tenant = $1 ORDER BY created_at, id";
        let rows = self.database.fetch::<(String,)>(sql, &[Value::Text(tenant.as_str())]).await?;
        let read = |(name,): (String,)| StreamId::new(&name).map_err(|_| Error::Unreadable(format!("{name:?}")));
        rows.into_iter().map(read).collect()
    }

    /// Titles of all streams that have one, which the metadata log shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn titles(&self) -> Result<std::collections::BTreeMap<String, String>, Error> {
        let rows = self.database.fetch("SELECT name, title FROM streams WHERE title <> ''", &[]).await?;
        Ok(rows.into_iter().collect())
    }

    /// What streams say of pages that are not as all are by default, visibility apart.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pages(&self) -> Result<std::collections::BTreeMap<String, Pages>, Error> {
        let some = "SELECT name, origins, embed, chat_on, chat_slow_s, chat_writers FROM streams \
                    WHERE origins <> '' OR embed <> 'listed' OR chat_on <> 0";
        let rows = self.database.fetch::<(String, String, String, i64, i64, String)>(some, &[]).await?;
        let read = |(name, origins, embed, chat_on, slow_s, writers)| {
            (name, Pages::read((origins, embed, chat_on, slow_s, writers), None))
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Title and visibility of a stream, as the metadata log shows them; no visibility for a public one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shown_of(&self, name: &StreamId) -> Result<(String, Option<String>), Error> {
        let sql =
            "SELECT title, (SELECT visibility FROM stream_visibility WHERE name = $1) FROM streams WHERE name = $1";
        let rows = self.database.fetch::<(String, Option<String>)>(sql, &[Value::Text(name.as_str())]).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Gives an identity to streams that have none, because another version of control made them.
    async fn adopt(&self) -> Result<(), Error> {
        let without = "SELECT name FROM streams WHERE id IS NULL LIMIT 1";
        if self.database.fetch::<(String,)>(without, &[]).await?.is_empty() { Ok(()) } else { self.give_ids().await }
    }
}

/// Gives an identity to streams that have none.
pub(crate) async fn give_ids(writing: &mut Writing) -> Result<(), Error> {
    loop {
        let without = "SELECT name, created_at FROM streams WHERE id IS NULL LIMIT $1";
        let found = writing.fetch::<(String, i64)>(without, &[Value::Number(ADOPTED_MAX)]).await?;
        if found.is_empty() {
            return Ok(());
        }
        for (name, created_at) in found {
            let id = Id::draw(Kind::Stream, UnixMillis(created_at));
            let values = [Value::Text(&name), Value::Text(id.as_str())];
            writing.execute("UPDATE streams SET id = $2 WHERE name = $1", &values).await?;
        }
    }
}

/// A name that begins with the slug of a tenant is that tenant's, whoever makes it.
pub(crate) async fn give_to_owner(writing: &mut Writing, name: &StreamId) -> Result<(), Error> {
    if let Some((slug, _)) = name.as_str().split_once('.') {
        let owner =
            "UPDATE streams SET tenant = COALESCE((SELECT id FROM tenants WHERE slug = $2), tenant) WHERE name = $1";
        writing.execute(owner, &[Value::Text(name.as_str()), Value::Text(slug)]).await?;
    }
    Ok(())
}

pub(crate) async fn insert(writing: &mut Writing, stream: &Stream) -> Result<(), sqlx::Error> {
    let mac = stream.key.to_text();
    let (name, hint) = (Value::Text(stream.name.as_str()), Value::Text(&stream.key.hint));
    let values = [name, Value::Text(&mac), hint, Value::Number(stream.created_at.0)];
    let insert = "INSERT INTO streams (name, key_mac, key_hint, created_at) VALUES ($1, $2, $3, $4)";
    writing.execute(insert, &values).await.map(drop)
}

pub(crate) async fn create(writing: &mut Writing, channel: &Channel) -> Result<(), Error> {
    let (name, tenant) = (Value::Text(channel.name.as_str()), Value::Text(channel.tenant.as_str()));
    if !writing.fetch::<(String,)>("SELECT name FROM streams WHERE name = $1", &[name]).await?.is_empty() {
        return Err(Error::StreamExists(channel.name.clone()));
    }
    if is_misleading(channel.name.as_str()) {
        return Err(Error::MisleadingName(channel.name.clone()));
    }
    if let Some(quota) = tenants::quota_of_streams(writing, &channel.tenant).await? {
        let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM streams WHERE tenant = $1", &[tenant]).await?;
        if counts.iter().any(|(count,)| *count >= quota) {
            return Err(Error::Quota { what: "streams", quota });
        }
    }
    ensure_room(writing).await?;
    let mac = channel.key.to_text();
    let (pages, origins) = (&channel.pages, channel.pages.origins.join(" "));
    let values = [
        Value::Text(channel.id.as_str()),
        tenant,
        name,
        Value::Text(&channel.texts.title),
        Value::Text(&channel.texts.description),
        Value::Text(&channel.texts.category),
        Value::Text(&mac),
        Value::Text(&channel.key.hint),
        Value::Number(channel.version),
        Value::Number(channel.created_at.0),
        Value::Text(&origins),
        Value::Text(&pages.embed),
        Value::Number(pages.has_chat.into()),
        Value::Number(pages.chat_slow_s),
        Value::Text(&pages.chat_writers),
    ];
    let insert = "INSERT INTO streams (id, tenant, name, title, description, category, key_mac, key_hint, version, created_at, \
                  origins, embed, chat_on, chat_slow_s, chat_writers) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    writing.execute(insert, &values).await.map_err(|error| key_taken(error, &channel.name))?;
    access::set_visibility(writing, &channel.name, &pages.visibility).await?;
    Ok(())
}

/// Sets what a stream says of pages, visibility apart.
pub(crate) async fn set_pages(writing: &mut Writing, name: &StreamId, pages: &Pages) -> Result<u64, Error> {
    let origins = pages.origins.join(" ");
    let values = [
        Value::Text(name.as_str()),
        Value::Text(&origins),
        Value::Text(&pages.embed),
        Value::Number(pages.has_chat.into()),
        Value::Number(pages.chat_slow_s),
        Value::Text(&pages.chat_writers),
    ];
    let update = "UPDATE streams SET origins = $2, embed = $3, chat_on = $4, chat_slow_s = $5, chat_writers = $6 WHERE name = $1";
    Ok(writing.execute(update, &values).await?)
}

/// What is kept of the key that a stream has now.
pub(crate) async fn key_of(writing: &mut Writing, channel: &Channel) -> Result<Option<String>, Error> {
    let key = "SELECT key_mac FROM streams WHERE id = $1";
    Ok(writing.fetch::<(String,)>(key, &[Value::Text(channel.id.as_str())]).await?.into_iter().next().map(|(mac,)| mac))
}

/// Writes a stream over the version before its own.
pub(crate) async fn update(writing: &mut Writing, channel: &Channel) -> Result<(), Error> {
    let mac = channel.key.to_text();
    let values = [
        Value::Text(channel.id.as_str()),
        Value::Text(channel.tenant.as_str()),
        Value::Text(&channel.texts.title),
        Value::Text(&channel.texts.description),
        Value::Text(&channel.texts.category),
        Value::Text(&mac),
        Value::Text(&channel.key.hint),
        Value::Number(channel.version),
    ];
    let update = "UPDATE streams SET title = $3, description = $4, category = $5, key_mac = $6, key_hint = $7, version = $8 \
                  WHERE id = $1 AND tenant = $2 AND version = $8 - 1";
    let changed = writing.execute(update, &values).await.map_err(|error| key_taken(error, &channel.name))?;
    one(changed)?;
    access::set_visibility(writing, &channel.name, &channel.pages.visibility).await?;
    set_pages(writing, &channel.name, &channel.pages).await?;
    Ok(())
}

pub(crate) async fn delete(writing: &mut Writing, channel: &Channel) -> Result<(), Error> {
    let values =
        [Value::Text(channel.id.as_str()), Value::Text(channel.tenant.as_str()), Value::Number(channel.version)];
    let delete = "DELETE FROM streams WHERE id = $1 AND tenant = $2 AND version = $3";
    one(writing.execute(delete, &values).await?)?;
    chat::forget(writing, Value::Text(channel.name.as_str())).await?;
    access::forget_visibility(writing, Value::Text(channel.name.as_str())).await
}

fn read(row: Row) -> Result<Channel, Error> {
    #[rustfmt::skip]
    let (
        id, tenant, name, title, description, category, mac, hint, version, created_at,
        visibility, origins, embed, chat_on, chat_slow_s, chat_writers,
    ) = row;
    let pages = (origins, embed, chat_on, chat_slow_s, chat_writers);
    let unreadable = || Error::Unreadable(format!("{name:?}"));
    Ok(Channel {
        id: Id::parse(Kind::Stream, &id).ok_or_else(unreadable)?,
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        key: KeptKey::from_text(&mac, hint).ok_or_else(unreadable)?,
        name: StreamId::new(&name).map_err(|_| unreadable())?,
        texts: Texts { title, description, category },
        pages: Pages::read(pages, visibility),
        version,
        created_at: UnixMillis(created_at),
    })
}
