//! The replica on disk: root statements, the newest entries, all rows, the newest head. SQLite in a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use media::Digest;
use metadata::limits::HISTORY_MAX;
use metadata::{Body, EntrySequence, Evidence, Output, Row, RowId, row_writes};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::mpsc;

/// One writer, one reader for questions, and one for a snapshot.
const CONNECTIONS_MAX: u32 = 3;
/// Longest wait for another process, such as a backup.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Newest entries that are kept. Whoever lacks an older one takes a snapshot.
const ENTRIES_MAX: i64 = HISTORY_MAX as i64;

/// What was on disk. Nothing of it is verified.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Ascending.
    pub(crate) roots: Vec<Bytes>,
    pub(crate) newest: Option<Bytes>,
    pub(crate) rows: Vec<Bytes>,
    pub(crate) head: Option<Bytes>,
}

/// Why a range of entries cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    Here(Vec<(Bytes, Bytes)>),
    /// The first of them is not kept any more.
    Pruned,
}

/// What an entry changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChanges {
    /// The entry.
    pub sequence: EntrySequence,
    /// The rows that it wrote or removed.
    pub rows: Vec<RowChange>,
}

/// A row before and after an entry. Bodies that cannot be read are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// `None` for a new row.
    pub before: Option<Body>,
    /// `None` for a row that was removed.
    pub after: Option<Body>,
}

fn body(row: &Bytes) -> Option<Body> {
    Row::decode(row).ok().map(|row| row.body)
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the file, creates it if needed, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_WAIT_MAX);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn load(&self) -> Result<Loaded> {
        Ok(Loaded {
            roots: self.blobs("SELECT statement FROM root ORDER BY version").await?,
            newest: self.blobs("SELECT entry FROM entry ORDER BY sequence DESC LIMIT 1").await?.pop(),
            rows: self.blobs("SELECT row FROM row").await?,
            head: self.blobs("SELECT head FROM head").await?.pop(),
        })
    }

    async fn blobs(&self, query: &'static str) -> Result<Vec<Bytes>> {
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar(query).fetch_all(&self.pool).await?;
        Ok(blobs.into_iter().map(Bytes::from).collect())
    }

    /// Root statements after a version, ascending.
    pub(crate) async fn roots(&self, after: u64) -> Result<Vec<Bytes>> {
        let query = sqlx::query_scalar("SELECT statement FROM root WHERE version > $1 ORDER BY version");
        let blobs: Vec<Vec<u8>> = query.bind(sql(after)?).fetch_all(&self.pool).await?;
        Ok(blobs.into_iter().map(Bytes::from).collect())
    }

    /// A row as it travels, if it is there.
    pub(crate) async fn row(&self, id: &RowId) -> Result<Option<Bytes>> {
        let query = sqlx::query_scalar("SELECT row FROM row WHERE id = $1").bind(&id.0[..]);
        let row: Option<Vec<u8>> = query.fetch_optional(&self.pool).await?;
        Ok(row.map(Bytes::from))
    }

    /// Entries from one on, with their rows: at most `count`, and no more than `bytes`.
    pub(crate) async fn entries(&self, from: EntrySequence, count: u32, bytes: usize) -> Result<Entries> {
        let mut connection = self.pool.begin().await?;
        let first: Option<i64> =
            sqlx::query_scalar("SELECT MIN(sequence) FROM entry").fetch_one(&mut *connection).await?;
        if first.is_some_and(|first| sql(from.0).is_ok_and(|from| from < first)) {
            return Ok(Entries::Pruned);
        }
        let query = sqlx::query_as("SELECT entry, rows FROM entry WHERE sequence >= $1 ORDER BY sequence LIMIT $2");
        let mut found = query.bind(sql(from.0)?).bind(count).fetch(&mut *connection);
        let (mut entries, mut total) = (Vec::new(), 0_usize);
        while let Some((entry, rows)) = found.try_next().await? {
            let (entry, rows): (Vec<u8>, Vec<u8>) = (entry, rows);
            total = total.saturating_add(entry.len()).saturating_add(rows.len());
            if total > bytes && !entries.is_empty() {
                break;
            }
            entries.push((Bytes::from(entry), Bytes::from(rows)));
        }
        Ok(Entries::Here(entries))
    }

    /// What entries after `after` changed, in their order: at most `count` entries, and no more than `bytes`. `None` when the first of them
    /// is not kept any more, or came without its rows.
    pub(crate) async fn changes(
        &self,
        after: EntrySequence,
        (count, bytes): (u32, usize),
    ) -> Result<Option<Vec<EntryChanges>>> {
        // One transaction: the root may void entries meanwhile.
        let mut connection = self.pool.begin().await?;
        let first: Option<i64> =
            sqlx::query_scalar("SELECT MIN(sequence) FROM entry").fetch_one(&mut *connection).await?;
        let after = sql(after.0)?;
        if first.is_some_and(|first| after.saturating_add(1) < first) {
            return Ok(None);
        }
        let query =
            sqlx::query_as("SELECT sequence, entry, rows FROM entry WHERE sequence > $1 ORDER BY sequence LIMIT $2");
        let found: Vec<(i64, Vec<u8>, Vec<u8>)> = query.bind(after).bind(count).fetch_all(&mut *connection).await?;
        let (mut changes, mut total) = (Vec::new(), 0_usize);
        for (sequence, entry, rows) in found {
            total = total.saturating_add(entry.len()).saturating_add(rows.len());
            if total > bytes && !changes.is_empty() {
                break;
            }
            // The entry of a snapshot has no rows.
            let Ok(writes) = row_writes(&entry, &rows.into()) else { return Ok(None) };
            let query = sqlx::query_as("SELECT id, row FROM before WHERE sequence = $1");
            let before: Vec<(Vec<u8>, Option<Vec<u8>>)> = query.bind(sequence).fetch_all(&mut *connection).await?;
            let mut before: BTreeMap<Vec<u8>, Option<Vec<u8>>> = before.into_iter().collect();
            let change = |(id, after): (RowId, Option<Bytes>)| RowChange {
                before: before.remove(&id.0[..]).flatten().and_then(|row| body(&row.into())),
                after: after.as_ref().and_then(body),
            };
            let rows = writes.into_iter().map(change).collect();
            changes.push(EntryChanges { sequence: EntrySequence(sequence.try_into().unwrap_or(0)), rows });
        }
        Ok(Some(changes))
    }

    /// Sends the newest entry, and then all rows as of that entry. Ends early when nobody receives any more.
    pub(crate) async fn snapshot(&self, to: &mpsc::Sender<Bytes>) -> Result<()> {
        let mut reading = self.pool.begin().await?;
        let newest = sqlx::query_scalar("SELECT entry FROM entry ORDER BY sequence DESC LIMIT 1");
        let newest: Option<Vec<u8>> = newest.fetch_optional(&mut *reading).await?;
        let Some(newest) = newest else { return Ok(()) };
        if to.send(newest.into()).await.is_err() {
            return Ok(());
        }
        let mut rows = sqlx::query_scalar("SELECT row FROM row ORDER BY id").fetch(&mut *reading);
        while let Some(row) = rows.try_next().await? {
            let row: Vec<u8> = row;
            if to.send(row.into()).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps what a replica has taken, in one transaction. `version` is that of its root statement.
    pub(crate) async fn keep(&self, outputs: &[Output], version: u64) -> Result<()> {
        if !outputs.iter().any(is_kept) {
            return Ok(());
        }
        let mut transaction = self.pool.begin().await?;
        for output in outputs {
            keep(&mut transaction, output, version).await?;
        }
        transaction.commit().await.context("cannot commit")
    }

    /// Begins anew with what a snapshot has.
    pub(crate) async fn replace(&self, sequence: EntrySequence, entry: &Bytes, rows: &[Bytes]) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        clear(&mut transaction).await?;
        insert_entry(&mut transaction, sequence, entry, &Bytes::new()).await?;
        for row in rows {
            let id = metadata::Row::decode(row).map_err(anyhow::Error::from)?.id;
            put_row(&mut transaction, &id.0, Some(row)).await?;
        }
        transaction.commit().await.context("cannot commit")
    }

    /// Forgets all entries and rows; root statements stay.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        clear(&mut transaction).await?;
        transaction.commit().await.context("cannot commit")
    }
}

const fn is_kept(output: &Output) -> bool {
    matches!(
        output,
        Output::StoreEntry { .. }
            | Output::StoreRoot(_)
            | Output::StoreHead(_)
            | Output::Rewind(_)
            | Output::StartAgain
            | Output::Forked(_)
    )
}

fn sql(number: u64) -> Result<i64> {
    i64::try_from(number).context("a number that no database holds")
}

async fn keep(db: &mut SqliteConnection, output: &Output, version: u64) -> Result<()> {
    match output {
        Output::StoreEntry { sequence, entry, rows } => {
            for (id, row) in row_writes(entry, rows)? {
                let saved =
                    "INSERT INTO before (sequence, id, row) VALUES ($1, $2, (SELECT row FROM row WHERE id = $2))";
                sqlx::query(saved).bind(sql(sequence.0)?).bind(&id.0[..]).execute(&mut *db).await?;
                put_row(db, &id.0, row.as_ref()).await?;
            }
            insert_entry(db, *sequence, entry, rows).await?;
            let oldest = sql(sequence.0)?.saturating_sub(ENTRIES_MAX);
            for prune in ["DELETE FROM entry WHERE sequence <= $1", "DELETE FROM before WHERE sequence <= $1"] {
                sqlx::query(prune).bind(oldest).execute(&mut *db).await?;
            }
        }
        Output::StoreRoot(statement) => {
            let query = "INSERT OR REPLACE INTO root (version, statement) VALUES ($1, $2)";
            sqlx::query(query).bind(sql(version)?).bind(&statement[..]).execute(db).await?;
        }
        Output::StoreHead(head) => {
            let query = "INSERT OR REPLACE INTO head (one, head) VALUES (1, $1)";
            sqlx::query(query).bind(&head[..]).execute(db).await?;
        }
        Output::Rewind(to) => rewind(db, *to).await?,
        Output::StartAgain => clear(db).await?,
        Output::Forked(evidence) => {
            let Evidence { sequence, ours: Digest(ours), other } = &**evidence;
            let query = "INSERT OR IGNORE INTO evidence (sequence, ours, other) VALUES ($1, $2, $3)";
            sqlx::query(query).bind(sql(sequence.0)?).bind(&ours[..]).bind(&other[..]).execute(db).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn insert_entry(db: &mut SqliteConnection, sequence: EntrySequence, entry: &Bytes, rows: &Bytes) -> Result<()> {
    let query = "INSERT INTO entry (sequence, entry, rows) VALUES ($1, $2, $3)";
    sqlx::query(query).bind(sql(sequence.0)?).bind(&entry[..]).bind(&rows[..]).execute(db).await?;
    Ok(())
}

async fn put_row(db: &mut SqliteConnection, id: &[u8; 16], row: Option<&Bytes>) -> Result<()> {
    match row {
        Some(row) => {
            let query = "INSERT OR REPLACE INTO row (id, row) VALUES ($1, $2)";
            sqlx::query(query).bind(&id[..]).bind(&row[..]).execute(db).await?
        }
        None => sqlx::query("DELETE FROM row WHERE id = $1").bind(&id[..]).execute(db).await?,
    };
    Ok(())
}

/// Takes back the entries after `to`, newest first.
async fn rewind(db: &mut SqliteConnection, to: EntrySequence) -> Result<()> {
    let to = sql(to.0)?;
    let query = "SELECT id, row FROM before WHERE sequence > $1 ORDER BY sequence DESC";
    let before: Vec<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(query).bind(to).fetch_all(&mut *db).await?;
    for (id, row) in before {
        let id = <[u8; 16]>::try_from(id.as_slice()).context("an identity of another length")?;
        put_row(db, &id, row.map(Bytes::from).as_ref()).await?;
    }
    for forget in ["DELETE FROM entry WHERE sequence > $1", "DELETE FROM before WHERE sequence > $1"] {
        sqlx::query(forget).bind(to).execute(&mut *db).await?;
    }
    sqlx::query("DELETE FROM head").execute(db).await?;
    Ok(())
}

async fn clear(db: &mut SqliteConnection) -> Result<()> {
    for table in ["DELETE FROM entry", "DELETE FROM row", "DELETE FROM before", "DELETE FROM head"] {
        sqlx::query(table).execute(&mut *db).await?;
    }
    Ok(())
}
