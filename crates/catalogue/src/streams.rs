//! Streams, and what is kept of their keys.

use std::sync::Arc;

use media::{StreamId, UnixMillis};
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinError;

use crate::{Catalogue, Error, KeptKey, STREAMS_MAX};

/// A stream as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub name: StreamId,
    /// What is kept of its publisher's key.
    pub key: KeptKey,
    /// When the stream was created.
    pub created_at: UnixMillis,
}

/// A change of the catalogue.
enum Change {
    Create(Stream),
    SetKey(StreamId, KeptKey),
    Delete(StreamId),
    ForgetRestore,
}

impl Catalogue {
    /// Creates a stream.
    ///
    /// # Errors
    /// When the name exists already, another stream has the key, the catalogue is full, or the name reads as a flag or a playlist.
    pub async fn create_stream(&self, stream: &Stream) -> Result<(), Error> {
        self.change(Change::Create(stream.clone())).await
    }

    /// Gives a stream another key.
    ///
    /// # Errors
    /// When there is no such stream, or another has the key.
    pub async fn set_key(&self, name: &StreamId, key: &KeptKey) -> Result<(), Error> {
        self.change(Change::SetKey(name.clone(), key.clone())).await
    }

    /// Deletes a stream and its key.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn delete_stream(&self, name: &StreamId) -> Result<(), Error> {
        self.change(Change::Delete(name.clone())).await
    }

    /// Makes a change in a task of its own: a caller who goes away in the middle leaves no transaction open.
    async fn change(&self, change: Change) -> Result<(), Error> {
        let (pool, writing) = (self.pool.clone(), Arc::clone(&self.writing));
        let task = tokio::spawn(async move {
            let _alone = writing.lock().await;
            let mut connection = pool.acquire().await?;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            apply(&mut transaction, change).await?;
            Ok(transaction.commit().await?)
        });
        match task.await.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_the_runtime_ends)) => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// The stream of this name; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_stream(&self, name: &StreamId) -> Result<Option<Stream>, Error> {
        find(&mut *self.pool.acquire().await?, name).await
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn stream(&self, name: &StreamId) -> Result<Stream, Error> {
        self.find_stream(name).await?.ok_or_else(|| Error::NoStream(name.clone()))
    }

    /// All streams, by name.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn streams(&self) -> Result<Vec<Stream>, Error> {
        let rows = sqlx::query_as("SELECT name, key_mac, key_hint, created_at FROM streams ORDER BY name");
        rows.fetch_all(&self.pool).await?.into_iter().map(read).collect()
    }
}

impl Catalogue {
    /// Whether the catalogue comes from a backup, and may have forgotten what the metadata log knows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_restored(&self) -> Result<bool, Error> {
        let mark = sqlx::query_scalar("SELECT COUNT(*) FROM settings WHERE name = 'restored'");
        let marks: i64 = mark.fetch_one(&self.pool).await?;
        Ok(marks > 0)
    }

    /// Notes that nothing is missing any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_restore(&self) -> Result<(), Error> {
        self.change(Change::ForgetRestore).await
    }
}

/// Whether commands would take the name for a flag, or people and players would take the stream's URL for a playlist's.
fn is_misleading(name: &str) -> bool {
    name.starts_with('-') || name.to_ascii_lowercase().ends_with(".m3u8")
}

/// Name, MAC, hint, and time of a stream, as the table has them.
type Row = (String, String, String, i64);

async fn apply(writing: &mut SqliteConnection, change: Change) -> Result<(), Error> {
    let (name, changed) = match change {
        Change::Create(stream) => return create(writing, stream).await,
        Change::SetKey(name, key) => {
            let update = sqlx::query("UPDATE streams SET key_mac = $2, key_hint = $3 WHERE name = $1");
            let update = update.bind(name.as_str()).bind(key.mac.to_string()).bind(key.hint);
            let changed = update.execute(writing).await.map_err(|error| key_taken(error, &name))?;
            (name, changed)
        }
        Change::Delete(name) => {
            let delete = sqlx::query("DELETE FROM streams WHERE name = $1").bind(name.as_str());
            let changed = delete.execute(writing).await?;
            (name, changed)
        }
        Change::ForgetRestore => {
            sqlx::query("DELETE FROM settings WHERE name = 'restored'").execute(writing).await?;
            return Ok(());
        }
    };
    if changed.rows_affected() == 0 { Err(Error::NoStream(name)) } else { Ok(()) }
}

async fn create(writing: &mut SqliteConnection, stream: Stream) -> Result<(), Error> {
    if find(writing, &stream.name).await?.is_some() {
        return Err(Error::StreamExists(stream.name));
    }
    if is_misleading(stream.name.as_str()) {
        return Err(Error::MisleadingName(stream.name));
    }
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM streams").fetch_one(&mut *writing).await?;
    if count >= STREAMS_MAX {
        return Err(Error::Full);
    }
    insert(writing, stream).await
}

async fn insert(writing: &mut SqliteConnection, stream: Stream) -> Result<(), Error> {
    sqlx::query("INSERT INTO streams (name, key_mac, key_hint, created_at) VALUES ($1, $2, $3, $4)")
        .bind(stream.name.as_str())
        .bind(stream.key.mac.to_string())
        .bind(stream.key.hint)
        .bind(stream.created_at.0)
        .execute(writing)
        .await
        .map_err(|error| key_taken(error, &stream.name))?;
    Ok(())
}

async fn find(connection: &mut SqliteConnection, name: &StreamId) -> Result<Option<Stream>, Error> {
    let row = sqlx::query_as("SELECT name, key_mac, key_hint, created_at FROM streams WHERE name = $1");
    row.bind(name.as_str()).fetch_optional(connection).await?.map(read).transpose()
}

fn key_taken(error: sqlx::Error, name: &StreamId) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::KeyTaken(name.clone()),
        _ => Error::Database(error),
    }
}

fn read((name, mac, hint, created_at): Row) -> Result<Stream, Error> {
    let unreadable = |what: String| Error::Unreadable(format!("{name:?}: {what}"));
    Ok(Stream {
        key: KeptKey { mac: mac.parse().map_err(|_| unreadable("its MAC is none".to_owned()))?, hint },
        created_at: UnixMillis(created_at),
        name: StreamId::new(&name).map_err(|error| unreadable(error.to_string()))?,
    })
}

#[cfg(test)]
mod tests;
