//! The database of a catalogue: SQLite in a file, or PostgreSQL. One set of queries for both: they use no more than the SQL that the two
//! share, and bind texts and whole numbers only.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{FromRow, PgPool, Postgres, Sqlite, SqlitePool};

use crate::Error;

/// Most connections: one that writes, the others read, which takes microseconds.
const CONNECTIONS_MAX: u32 = 4;
/// Longest wait for another process that writes, such as a backup.
pub(crate) const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often a file is opened that another process is making, and the pause in between.
const OPEN_TRIES: usize = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(100);
/// What SQLite says of a lock that it did not wait for.
const SQLITE_BUSY: &str = "5";
/// Longest wait for a connection to a server.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest pause in the middle of a transaction, in milliseconds, before the server ends it: a process that was stopped there would keep the
/// writer's lock from the control node that takes over.
const TRANSACTION_PAUSE_MS_MAX: &str = "3000";
/// Advisory lock of whoever writes to a catalogue in PostgreSQL: "sealcast" in ASCII. SQLite has one writer by itself.
const WRITER_LOCK: i64 = 0x7365_616c_6361_7374;

/// Where a catalogue is.
#[derive(Clone, Copy)]
pub enum Location<'a> {
    /// An SQLite file.
    File(&'a Path),
    /// `postgres://…`, with a password maybe.
    Server(&'a str),
}

/// A value that a query binds.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(i64),
    MaybeText(Option<&'a str>),
    MaybeNumber(Option<i64>),
}

/// A row that either database reads.
pub(crate) trait AnyRow: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> AnyRow for T {}

/// Binds values to a query of either database.
macro_rules! bound {
    ($query:expr, $values:expr) => {
        $values.iter().fold($query, |query, value| match value {
            Value::Text(text) => query.bind(text.to_owned()),
            Value::Number(number) => query.bind(*number),
            Value::MaybeText(text) => query.bind(text.map(str::to_owned)),
            Value::MaybeNumber(number) => query.bind(*number),
        })
    };
}

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    pub(crate) async fn open(location: Location<'_>) -> Result<Self, Error> {
        match location {
            Location::File(path) => Self::open_file(path).await,
            Location::Server(url) => {
                let options: PgConnectOptions = url.parse()?;
                let options = options.options([("idle_in_transaction_session_timeout", TRANSACTION_PAUSE_MS_MAX)]);
                let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(CONNECT_WAIT_MAX);
                Ok(Self::Postgres(pool.connect_with(options).await?))
            }
        }
    }

    pub(crate) const fn is_server(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    async fn open_file(path: &Path) -> Result<Self, Error> {
        create_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_WAIT_MAX)
            .pragma("secure_delete", "on")
            .foreign_keys(true);
        for _ in 1..OPEN_TRIES {
            match SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options.clone()).await {
                // Who makes the journal holds a lock for which SQLite does not wait.
                Err(sqlx::Error::Database(busy)) if busy.code().as_deref() == Some(SQLITE_BUSY) => {
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                opened => return Ok(Self::Sqlite(opened?)),
            }
        }
        Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?))
    }

    /// Begins to write, when nobody else does any more, in this process or another.
    pub(crate) async fn write(&self) -> Result<Writing, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Writing::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITER_LOCK);
                lock.execute(&mut *transaction).await?;
                Writing::Postgres(transaction)
            }
        })
    }

    /// Rows as of one moment.
    pub(crate) async fn fetch<T: AnyRow>(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<T>, Error> {
        Ok(match self {
            Self::Sqlite(pool) => bound!(sqlx::query_as::<Sqlite, T>(sql), values).fetch_all(pool).await?,
            Self::Postgres(pool) => bound!(sqlx::query_as::<Postgres, T>(sql), values).fetch_all(pool).await?,
        })
    }

    /// Changes rows as somebody would who has the database only.
    #[cfg(test)]
    pub(crate) async fn edit_by_hand(&self, sql: &'static str) -> u64 {
        let mut writing = self.write().await.unwrap();
        let changed = writing.execute(sql, &[]).await.unwrap();
        writing.commit().await.unwrap();
        changed
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A transaction that changes the catalogue. Undone unless it is committed.
pub(crate) enum Writing {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Writing {
    /// Returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(on) => bound!(sqlx::query::<Sqlite>(sql), values).execute(&mut **on).await?.rows_affected(),
            Self::Postgres(on) => {
                bound!(sqlx::query::<Postgres>(sql), values).execute(&mut **on).await?.rows_affected()
            }
        })
    }

    pub(crate) async fn fetch<T: AnyRow>(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<T>, Error> {
        Ok(match self {
            Self::Sqlite(on) => bound!(sqlx::query_as::<Sqlite, T>(sql), values).fetch_all(&mut **on).await?,
            Self::Postgres(on) => bound!(sqlx::query_as::<Postgres, T>(sql), values).fetch_all(&mut **on).await?,
        })
    }

    /// The database's own time, in milliseconds since 1970-01-01T00:00:00Z. The one query that the two do not share.
    pub(crate) async fn now(&mut self) -> Result<i64, Error> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)",
            Self::Postgres(_) => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        };
        Ok(self.fetch::<(i64,)>(sql, &[]).await?.into_iter().next().map_or(0, |(now,)| now))
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

/// Creates the file with mode 0600: who streams what is nobody else's business. SQLite gives its journals the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Never opens one that is there: closing it would drop the locks of SQLite in this process (POSIX).
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
