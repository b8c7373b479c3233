//! Brings the tables up to date, in one transaction that nobody else writes beside.
//!
//! A migration only adds, so that the version before can still use the tables; one that cannot keep to that writes its number into
//! `settings.oldest_reader`, and older versions refuse.

use std::time::Duration;

use media::{StreamId, UnixMillis};
use messages::Pepper;
use sqlx::SqliteConnection;
use sqlx::migrate::Migrator;

use crate::channels::insert;
use crate::database::{Database, Value, Writing};
use crate::{Error, KeepError, Stream, StreamKey, channels, lead};

/// The migration that makes room for MACs.
const KEY_MACS: i64 = 2;
/// The migration that drops the table of clear keys.
const NO_CLEAR_KEYS: i64 = 3;
/// `PRAGMA user_version` of a file in which clear keys may be left, in pages that are free or in the journal.
const ERASE_DUE: i64 = 1;
/// How often it is tried to erase them while another process has the file open, and the pause in between.
const ERASE_TRIES: usize = 3;
const ERASE_PAUSE: Duration = Duration::from_millis(200);

/// A key that was kept in the clear until now, and its stream.
pub type ClearKey = (StreamId, StreamKey);

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    // sqlx has no lock for SQLite; the transaction is ours. What a newer version has added may be there.
    migrator.set_locking(false).set_ignore_missing(true);
    migrator
}

/// Migrates. Calls `keep` with the keys that were kept in the clear, if there are any, before they are gone for good.
pub(crate) async fn run(
    database: &Database,
    pepper: &Pepper,
    keep: impl FnOnce(&[ClearKey]) -> Result<(), KeepError>,
) -> Result<(), Error> {
    let migrator = migrator();
    let mut writing = database.write().await?;
    if let Writing::Sqlite(on) = &mut writing {
        note_clear_keys(on).await?;
    }
    apply(&migrator, &mut writing, Some(KEY_MACS)).await?;
    ensure_readable(&mut writing, &migrator).await?;
    ensure_same_pepper(&mut writing, pepper).await?;
    let done = "SELECT version FROM _sqlx_migrations WHERE version = $1";
    let is_done = !writing.fetch::<(i64,)>(done, &[Value::Number(NO_CLEAR_KEYS)]).await?.is_empty();
    let were_clear = if is_done { Vec::new() } else { keep_macs(&mut writing, pepper).await? };
    apply(&migrator, &mut writing, None).await?;
    channels::give_ids(&mut writing).await?;
    lead::name_database(&mut writing).await?;
    if !were_clear.is_empty() {
        keep(&were_clear).map_err(Error::NotKept)?;
    }
    writing.commit().await?;
    if let Database::Sqlite(pool) = database {
        erase_clear_keys(&mut *pool.acquire().await?).await?;
    }
    Ok(())
}

async fn apply(migrator: &Migrator, writing: &mut Writing, target: Option<i64>) -> Result<(), Error> {
    match writing {
        Writing::Sqlite(on) => migrator.run_direct(target, &mut **on, false).await?,
        Writing::Postgres(on) => migrator.run_direct(target, &mut **on, false).await?,
    }
    Ok(())
}

/// Refuses tables that a newer version has changed beyond what this one can read.
async fn ensure_readable(writing: &mut Writing, migrator: &Migrator) -> Result<(), Error> {
    let oldest_reader = setting(writing, "oldest_reader").await?.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    if migrator.version_exists(oldest_reader) || oldest_reader == 0 { Ok(()) } else { Err(Error::TooNew) }
}

/// Refuses another pepper than the one of the MACs: no key would be recognised.
async fn ensure_same_pepper(writing: &mut Writing, pepper: &Pepper) -> Result<(), Error> {
    let id = pepper.id().to_string();
    match setting(writing, "pepper").await? {
        Some(known) if known == id => Ok(()),
        Some(_) => Err(Error::OtherPepper),
        None => {
            writing.execute("INSERT INTO settings (name, value) VALUES ('pepper', $1)", &[Value::Text(&id)]).await?;
            Ok(())
        }
    }
}

async fn setting(writing: &mut Writing, name: &str) -> Result<Option<String>, Error> {
    let found = writing.fetch::<(String,)>("SELECT value FROM settings WHERE name = $1", &[Value::Text(name)]).await?;
    Ok(found.into_iter().next().map(|(value,)| value))
}

async fn keep_macs(writing: &mut Writing, pepper: &Pepper) -> Result<Vec<ClearKey>, Error> {
    let clear = "SELECT name, stream_key, created_at FROM streams_in_the_clear";
    let clear = writing.fetch::<(String, String, i64)>(clear, &[]).await?;
    let mut keys = Vec::with_capacity(clear.len());
    for (name, key, created_at) in clear {
        let unreadable = |what: String| Error::Unreadable(format!("{name:?}: {what}"));
        let key = StreamKey::new(&key).map_err(|error| unreadable(error.to_string()))?;
        let name = StreamId::new(&name).map_err(|error| unreadable(error.to_string()))?;
        let stream = Stream { name: name.clone(), key: key.kept(pepper, &name), created_at: UnixMillis(created_at) };
        insert(writing, &stream).await?;
        keys.push((name, key));
    }
    Ok(keys)
}

/// Notes in a file that is older than MACs that clear keys have to be erased. A new file never had any.
async fn note_clear_keys(writing: &mut SqliteConnection) -> Result<(), Error> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(&mut *writing).await?;
    let macs = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'settings'";
    let macs: i64 = sqlx::query_scalar(macs).fetch_one(&mut *writing).await?;
    if tables > 0 && macs == 0 {
        sqlx::query("PRAGMA user_version = 1").execute(writing).await?;
    }
    Ok(())
}

/// Rewrites the file once without its free pages, and empties the journal: both may hold clear keys. Is repeated at the next start
/// when the process ends before it is done.
async fn erase_clear_keys(connection: &mut SqliteConnection) -> Result<(), Error> {
    for _ in 0..ERASE_TRIES {
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
        if version != ERASE_DUE {
            return Ok(());
        }
        sqlx::query("VACUUM").execute(&mut *connection).await?;
        let checkpoint = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await?;
        let (is_busy, _, _): (i64, i64, i64) = checkpoint;
        if is_busy == 0 {
            sqlx::query("PRAGMA user_version = 0").execute(connection).await?;
            return Ok(());
        }
        // Another process may be about to do the same.
        tokio::time::sleep(ERASE_PAUSE).await;
    }
    Err(Error::NotErased)
}

#[cfg(test)]
mod tests;
