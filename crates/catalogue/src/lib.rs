//! The catalogue: the streams, and what is kept of their keys.
//!
//! Owns the tables and the queries, on SQLite in a file. Deliberately knows no HTTP and no bus: `control` has both.

mod copy;
mod key;
mod migration;
mod streams;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use media::StreamId;
use messages::Pepper;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Mutex;

pub use copy::{check_database, copy_database, mark_restored};
pub use key::{InvalidKey, KEY_CHARS_MAX, KEY_CHARS_MIN, KEY_PREFIX, KeptKey, StreamKey};
pub use migration::ClearKey;
pub use streams::Stream;

/// Most database connections: one that writes, the others read, which takes microseconds.
const CONNECTIONS_MAX: u32 = 4;
/// Longest wait for another process that writes, such as a backup.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most streams of a catalogue.
pub const STREAMS_MAX: i64 = 10_000;

/// Why the catalogue could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no stream of this name.
    #[error("there is no stream {0}")]
    NoStream(StreamId),
    /// A new stream must not have this name; an existing one may keep it.
    #[error(
        "a stream cannot be called {0}: names that begin with '-' are read as flags, those that end in .m3u8 as playlists; use another"
    )]
    MisleadingName(StreamId),
    /// There already is a stream of this name.
    #[error("there is a stream {0} already")]
    StreamExists(StreamId),
    /// Another stream has this key.
    #[error("the key given for stream {0} belongs to another stream: keys tell streams apart")]
    KeyTaken(StreamId),
    /// There are [`STREAMS_MAX`] streams already.
    #[error("the catalogue is full: {STREAMS_MAX} streams")]
    Full,
    /// The MACs in the catalogue are of another pepper.
    #[error(
        "the pepper that was given is not the one under which the keys of this catalogue are kept: no stream key would be recognised"
    )]
    OtherPepper,
    /// A newer version has changed the tables.
    #[error(
        "a newer version of Sealcast has changed the catalogue: use that version, or restore a backup of before (sealcast restore)"
    )]
    TooNew,
    /// Another process reads the file, and its journal still holds keys in the clear.
    #[error(
        "stream keys in the clear cannot be erased while another program has the catalogue open: end that program, and start again"
    )]
    NotErased,
    /// A file is no sound database.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A row holds a name or key that this version does not allow.
    #[error("the catalogue holds a stream that this version cannot read: {0}")]
    Unreadable(String),
    #[error("the catalogue's database failed")]
    Database(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("the catalogue's tables cannot be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// An open catalogue. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pool: SqlitePool,
    /// Held by the one that writes: writers in this process wait here, and not for the database's lock.
    writing: Arc<Mutex<()>>,
}

impl Catalogue {
    /// Opens the catalogue in a file, creates the file with mode 0600 if needed, and brings the tables up to date. Returns with it the
    /// keys that an older version kept in the clear: nobody can read them afterwards.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a database, was changed by a newer version, or has the keys under another pepper.
    pub async fn open(path: &Path, pepper: &Pepper) -> Result<(Self, Vec<ClearKey>), Error> {
        create_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_WAIT_MAX)
            .pragma("secure_delete", "on")
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
        let were_clear = migration::run(&mut *pool.acquire().await?, pepper).await?;
        Ok((Self { pool, writing: Arc::default() }, were_clear))
    }

    /// Writes SQLite's journal back into the one file, and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Creates the file with mode 0600: who streams what is nobody else's business. SQLite gives its journals the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}
