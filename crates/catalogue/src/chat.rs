//! Chats: the newest messages of each stream, and who may not write for a time. Knows writers by what the caller calls them, which is no
//! address and no token.

use media::{StreamId, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::Page;
use crate::{Catalogue, Error};

/// For how long messages are kept, in milliseconds.
const KEPT_MS: i64 = 24 * 3_600 * 1_000;
/// Most bans of a stream at once.
pub const BANS_MAX: i64 = 10_000;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: Id,
    pub stream: StreamId,
    /// Place of its last change; the catalogue says it when the message is written.
    pub changed: i64,
    pub author: String,
    pub role: String,
    /// Who has written it, for bans and the pace.
    pub writer: String,
    /// Empty once it is deleted.
    pub text: String,
    pub is_deleted: bool,
    pub created_at: UnixMillis,
}

/// A message with what has to hold for it to be written.
#[derive(Debug, Clone)]
pub struct Saying {
    pub message: Message,
    /// Other names of the writer that count for bans and the pace.
    pub also: String,
    /// Milliseconds since the last message of the writer; 0 for none.
    pub slow_ms: i64,
    /// Messages of the stream that are kept.
    pub kept: i64,
}

/// Somebody may not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    pub id: Id,
    pub stream: StreamId,
    pub writer: String,
    pub author: String,
    pub created_at: UnixMillis,
    pub until: UnixMillis,
}

type Row = (String, String, i64, String, String, String, String, String, i64);
type BanRow = (String, String, String, String, i64, i64);

macro_rules! messages {
    ($rest:literal) => {
        concat!("SELECT id, stream, changed, author, role, writer, text, state, created_at FROM chat_messages ", $rest)
    };
}

macro_rules! bans {
    ($rest:literal) => {
        concat!("SELECT id, stream, writer, author, created_at, until FROM chat_bans ", $rest)
    };
}

impl Catalogue {
    /// Writes a message, and forgets the oldest ones.
    ///
    /// # Errors
    /// When the writer is banned or too early, or the database fails.
    pub async fn say(&self, saying: Saying) -> Result<(), Error> {
        self.say_in_turn(saying).await
    }

    /// Messages that changed after a place, in the order of their changes.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn chat_changes(&self, stream: &StreamId, after: i64, limit: i64) -> Result<Vec<Message>, Error> {
        // The newest, so that whoever has nothing gets these.
        let newest = messages!("WHERE stream = $1 AND changed > $2 ORDER BY changed DESC, id DESC LIMIT $3");
        let values = [Value::Text(stream.as_str()), Value::Number(after), Value::Number(limit)];
        let mut found: Vec<Message> =
            self.database.fetch(newest, &values).await?.into_iter().map(read).collect::<Result<_, _>>()?;
        found.reverse();
        Ok(found)
    }

    /// A page of a stream's messages.
    ///
    /// # Errors
    /// As [`Catalogue::chat_changes`].
    pub async fn chat_messages(&self, stream: &StreamId, page: &Page) -> Result<Vec<Message>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(stream.as_str()), at, id, after, before, like, limit];
        let sql = if page.is_newest_first {
            messages!(
                "WHERE stream = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(author) LIKE $6 ESCAPE '!' OR LOWER(text) LIKE $6 ESCAPE '!') \
                 ORDER BY created_at DESC, id DESC LIMIT $7"
            )
        } else {
            messages!(
                "WHERE stream = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(author) LIKE $6 ESCAPE '!' OR LOWER(text) LIKE $6 ESCAPE '!') ORDER BY created_at, id LIMIT $7"
            )
        };
        self.database.fetch(sql, &values).await?.into_iter().map(read).collect()
    }

    /// A message of a stream; `None` when it is not there any more.
    ///
    /// # Errors
    /// As [`Catalogue::chat_changes`].
    pub async fn find_message(&self, stream: &StreamId, id: &str) -> Result<Option<Message>, Error> {
        let values = [Value::Text(stream.as_str()), Value::Text(id)];
        let found = self.database.fetch(messages!("WHERE stream = $1 AND id = $2"), &values).await?;
        found.into_iter().next().map(read).transpose()
    }

    /// The bans of a stream that count, a page of them.
    ///
    /// # Errors
    /// As [`Catalogue::chat_changes`].
    pub async fn bans(&self, stream: &StreamId, page: &Page, now: UnixMillis) -> Result<Vec<Ban>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(stream.as_str()), at, id, after, before, like, limit, Value::Number(now.0)];
        let sql = if page.is_newest_first {
            bans!(
                "WHERE stream = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(author) LIKE $6 ESCAPE '!') AND until > $8 ORDER BY created_at DESC, id DESC LIMIT $7"
            )
        } else {
            bans!(
                "WHERE stream = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(author) LIKE $6 ESCAPE '!') AND until > $8 ORDER BY created_at, id LIMIT $7"
            )
        };
        self.database.fetch(sql, &values).await?.into_iter().map(read_ban).collect()
    }

    /// A ban of a stream.
    ///
    /// # Errors
    /// As [`Catalogue::chat_changes`].
    pub async fn find_ban(&self, stream: &StreamId, id: &str, now: UnixMillis) -> Result<Option<Ban>, Error> {
        let values = [Value::Text(stream.as_str()), Value::Text(id), Value::Number(now.0)];
        let found = self.database.fetch(bans!("WHERE stream = $1 AND id = $2 AND until > $3"), &values).await?;
        found.into_iter().next().map(read_ban).transpose()
    }
}

pub(crate) async fn say(writing: &mut Writing, saying: &Saying) -> Result<(), Error> {
    let Saying { message, also, slow_ms, kept } = saying;
    let (stream, writer, other) =
        (Value::Text(message.stream.as_str()), Value::Text(&message.writer), Value::Text(also));
    let now = message.created_at.0;
    let banned = "SELECT MAX(until) FROM chat_bans WHERE stream = $1 AND (writer = $2 OR writer = $3) AND until > $4";
    let until = writing.fetch::<(Option<i64>,)>(banned, &[stream, writer, other, Value::Number(now)]).await?;
    if let Some((Some(until),)) = until.into_iter().next() {
        return Err(Error::ChatBanned { until: UnixMillis(until) });
    }
    if *slow_ms > 0 {
        let last = "SELECT MAX(created_at) FROM chat_messages WHERE stream = $1 AND (writer = $2 OR writer = $3)";
        let last = writing.fetch::<(Option<i64>,)>(last, &[stream, writer, other]).await?;
        let wait_ms = last.into_iter().next().and_then(|(at,)| at).map_or(0, |at| at.saturating_add(*slow_ms) - now);
        if wait_ms > 0 {
            return Err(Error::ChatSlow { wait_ms: wait_ms.unsigned_abs() });
        }
    }
    let changed = next_change(writing, stream, now).await?;
    let values = [
        Value::Text(message.id.as_str()),
        stream,
        Value::Number(changed),
        Value::Text(&message.author),
        Value::Text(&message.role),
        writer,
        Value::Text(&message.text),
        Value::Number(now),
    ];
    let insert = "INSERT INTO chat_messages (id, stream, changed, author, role, writer, text, state, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, 'shown', $8)";
    writing.execute(insert, &values).await?;
    let forget = "DELETE FROM chat_messages WHERE stream = $1 AND (created_at < $2 OR id IN \
                  (SELECT id FROM chat_messages WHERE stream = $1 ORDER BY created_at DESC, id DESC LIMIT 1000 OFFSET $3))";
    writing.execute(forget, &[stream, Value::Number(now.saturating_sub(KEPT_MS)), Value::Number(*kept)]).await?;
    Ok(())
}

/// The place of a change. It follows the clock, so that a database from a backup, or a stream of the same name, takes no place twice.
async fn next_change(writing: &mut Writing, stream: Value<'_>, now: i64) -> Result<i64, Error> {
    let newest = "SELECT MAX(changed) FROM chat_messages WHERE stream = $1";
    let newest = writing.fetch::<(Option<i64>,)>(newest, &[stream]).await?;
    let newest = newest.into_iter().next().and_then(|(changed,)| changed).unwrap_or(0);
    Ok(now.max(newest.saturating_add(1)))
}

/// Deletes a message, for everybody who has it on screen too.
pub(crate) async fn delete_message(writing: &mut Writing, message: &Message, at: UnixMillis) -> Result<(), Error> {
    let stream = Value::Text(message.stream.as_str());
    let changed = next_change(writing, stream, at.0).await?;
    let values = [stream, Value::Text(message.id.as_str()), Value::Number(changed)];
    let delete = "UPDATE chat_messages SET state = 'deleted', text = '', changed = $3 WHERE stream = $1 AND id = $2 AND state = 'shown'";
    writing.execute(delete, &values).await?;
    Ok(())
}

/// Bans a writer, and deletes what it has written.
pub(crate) async fn ban(writing: &mut Writing, ban: &Ban) -> Result<(), Error> {
    let (stream, writer) = (Value::Text(ban.stream.as_str()), Value::Text(&ban.writer));
    let over = "DELETE FROM chat_bans WHERE until <= $1";
    writing.execute(over, &[Value::Number(ban.created_at.0)]).await?;
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM chat_bans WHERE stream = $1", &[stream]).await?;
    if counts.iter().any(|(count,)| *count >= BANS_MAX) {
        return Err(Error::FullOf("bans"));
    }
    let values = [
        Value::Text(ban.id.as_str()),
        stream,
        writer,
        Value::Text(&ban.author),
        Value::Number(ban.created_at.0),
        Value::Number(ban.until.0),
    ];
    let insert =
        "INSERT INTO chat_bans (id, stream, writer, author, created_at, until) VALUES ($1, $2, $3, $4, $5, $6)";
    writing.execute(insert, &values).await?;
    let changed = next_change(writing, stream, ban.created_at.0).await?;
    let hide = "UPDATE chat_messages SET state = 'deleted', text = '', changed = $3 WHERE stream = $1 AND writer = $2 AND state = 'shown'";
    writing.execute(hide, &[stream, writer, Value::Number(changed)]).await?;
    Ok(())
}

pub(crate) async fn lift(writing: &mut Writing, ban: &Ban) -> Result<(), Error> {
    let values = [Value::Text(ban.stream.as_str()), Value::Text(ban.id.as_str())];
    writing.execute("DELETE FROM chat_bans WHERE stream = $1 AND id = $2", &values).await?;
    Ok(())
}

/// Nothing of a chat outlives its stream.
pub(crate) async fn forget(writing: &mut Writing, stream: Value<'_>) -> Result<(), Error> {
    writing.execute("DELETE FROM chat_messages WHERE stream = $1", &[stream]).await?;
    writing.execute("DELETE FROM chat_bans WHERE stream = $1", &[stream]).await?;
    Ok(())
}

/// The same for all streams of a tenant.
pub(crate) async fn forget_all(writing: &mut Writing, tenant: Value<'_>) -> Result<(), Error> {
    let messages = "DELETE FROM chat_messages WHERE stream IN (SELECT name FROM streams WHERE tenant = $1)";
    writing.execute(messages, &[tenant]).await?;
    let bans = "DELETE FROM chat_bans WHERE stream IN (SELECT name FROM streams WHERE tenant = $1)";
    writing.execute(bans, &[tenant]).await?;
    Ok(())
}

fn read((id, stream, changed, author, role, writer, text, state, created_at): Row) -> Result<Message, Error> {
    let unreadable = || Error::Unreadable(format!("message {id:?}"));
    Ok(Message {
        id: Id::parse(Kind::Message, &id).ok_or_else(unreadable)?,
        stream: StreamId::new(&stream).map_err(|_| unreadable())?,
        changed,
        author,
        role,
        writer,
        text,
        is_deleted: state != "shown",
        created_at: UnixMillis(created_at),
    })
}

fn read_ban((id, stream, writer, author, created_at, until): BanRow) -> Result<Ban, Error> {
    let unreadable = || Error::Unreadable(format!("ban {id:?}"));
    Ok(Ban {
        id: Id::parse(Kind::Ban, &id).ok_or_else(unreadable)?,
        stream: StreamId::new(&stream).map_err(|_| unreadable())?,
        writer,
        author,
        created_at: UnixMillis(created_at),
        until: UnixMillis(until),
    })
}

#[cfg(test)]
mod tests;
