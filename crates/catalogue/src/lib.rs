//! The catalogue: the streams, and what is kept of their keys.
//!
//! Owns the tables and the queries, on SQLite in a file or on PostgreSQL. Deliberately knows no HTTP and no bus: `control` has both.

mod access;
mod copy;
mod database;
mod key;
mod migration;
mod streams;

use std::sync::Arc;

use media::StreamId;
use messages::Pepper;
use tokio::sync::Mutex;

use crate::database::Database;

pub use access::{SIGNING_KEYS_MAX, SigningKey};
pub use copy::{check_database, copy_database, mark_restored};
pub use database::Location;
pub use key::{InvalidKey, KEY_CHARS_MAX, KEY_CHARS_MIN, KEY_PREFIX, KeptKey, StreamKey};
pub use migration::ClearKey;
pub use streams::Stream;

/// Why a caller could not keep the keys that it was given.
pub type KeepError = Box<dyn std::error::Error + Send + Sync>;

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
    /// There are [`SIGNING_KEYS_MAX`] keys already.
    #[error("the catalogue has {SIGNING_KEYS_MAX} keys of viewer tokens, the most")]
    SigningKeysFull,
    /// The MACs in the catalogue are of another pepper.
    #[error(
        "its stream keys are kept under another pepper, so none would be recognised: bring pepper.key from the control node that made \
         it, or from a backup"
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
    /// Keys that were in the clear could not be kept elsewhere; they are still in the database.
    #[error("stream keys are not taken out of the catalogue before they are kept elsewhere")]
    NotKept(#[source] KeepError),
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
    database: Database,
    /// Held by the one that writes: writers in this process wait here, and not for the database's lock.
    writing: Arc<Mutex<()>>,
}

impl Catalogue {
    /// Opens the catalogue, creates a file with mode 0600 if needed, and brings the tables up to date. Returns with it the keys that an
    /// older version kept in the clear: nobody can read them afterwards.
    ///
    /// # Errors
    /// When the database cannot be opened, is none, was changed by a newer version, or has the keys under another pepper.
    pub async fn open(location: Location<'_>, pepper: &Pepper) -> Result<(Self, Vec<ClearKey>), Error> {
        let mut were_clear = Vec::new();
        let keep = |keys: &[ClearKey]| {
            were_clear = keys.to_vec();
            Ok(())
        };
        let catalogue = Self::open_keeping(location, pepper, keep).await?;
        Ok((catalogue, were_clear))
    }

    /// As [`Catalogue::open`]. Calls `keep` with the keys in the clear while the database still has them: when it fails, or the process
    /// ends, they are there at the next start.
    ///
    /// # Errors
    /// As [`Catalogue::open`]; and [`Error::NotKept`] when `keep` fails.
    pub async fn open_keeping(
        location: Location<'_>,
        pepper: &Pepper,
        keep: impl FnOnce(&[ClearKey]) -> Result<(), KeepError>,
    ) -> Result<Self, Error> {
        let database = Database::open(location).await?;
        migration::run(&database, pepper, keep).await?;
        Ok(Self { database, writing: Arc::default() })
    }

    /// Writes SQLite's journal back into the one file, and closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
