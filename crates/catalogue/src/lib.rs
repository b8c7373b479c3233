//! The catalogue: the streams and their keys.
//!
//! Owns the tables and the queries, on SQLite in a file. Deliberately knows no HTTP and no bus: `control` has both.

mod key;
mod streams;

use std::path::Path;
use std::time::Duration;

use media::StreamId;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use key::{InvalidKey, KEY_CHARS_MAX, KEY_CHARS_MIN, StreamKey};
pub use streams::Stream;

/// Most database connections: SQLite has one writer, and our reads take microseconds.
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
}

impl Catalogue {
    /// Opens the catalogue in a file, creates the file with mode 0600 if needed, and brings the tables up to date.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a database, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        create_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_WAIT_MAX)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Writes SQLite's journal back into the one file, and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Creates the file with mode 0600: it holds stream keys, so only its owner may read it. SQLite gives its journals the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}
