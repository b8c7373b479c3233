//! The catalogue: tenants, their streams and API keys, what is kept of all keys, and the audit of what was changed.
//!
//! Owns the tables and the queries, on SQLite in a file or on PostgreSQL. Deliberately knows no HTTP and no bus: `control` has both.

mod access;
mod api_keys;
mod audit;
mod channels;
mod commit;
mod copy;
mod database;
mod id;
mod key;
mod migration;
mod rows;
mod secret;
mod streams;
mod tenants;

use std::sync::Arc;

use media::StreamId;
use messages::{MacKey, Pepper};
use tokio::sync::Mutex;

use crate::database::Database;

pub use access::{SIGNING_KEYS_MAX, SigningKey};
pub use api_keys::{API_KEYS_MAX, ApiKey};
pub use audit::{Break, Checked, RECORDS_MAX, Record};
pub use channels::{Channel, Texts};
pub use commit::{Commit, Edit, KeptAnswer};
pub use copy::{check_database, copy_database};
pub use database::Location;
pub use id::{ID_CHARS, Id, Kind};
pub use key::{InvalidKey, KEY_CHARS_MAX, KEY_CHARS_MIN, KEY_PREFIX, KeptKey, StreamKey};
pub use migration::ClearKey;
pub use rows::Page;
pub use secret::{API_KEY_PREFIX, ApiSecret, SecretKind, sha256};
pub use streams::{Stream, is_misleading};
pub use tenants::{Belongings, DEFAULT_SLUG, Quota, SLUG_CHARS_MAX, SLUG_CHARS_MIN, TENANTS_MAX, Tenant, is_slug};

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
        "a stream cannot be called {0}: names that begin with '-' are read as flags, those that end in .m3u8 as playlists, and those that \
         begin with str_ as identities; use another"
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
    /// There already is a tenant of this slug.
    #[error("there is a tenant {0} already")]
    SlugTaken(String),
    /// A stream of the tenant `default` has a name that the new tenant would own.
    #[error("the slug {slug} cannot be used: the stream {name} of the tenant default begins with it")]
    SlugOfStream { slug: String, name: String },
    /// There are as many as there may be.
    #[error("there are as many {0} as there may be")]
    FullOf(&'static str),
    /// The tenant has as many as its quota allows.
    #[error("the quota of {quota} {what} is used up")]
    Quota { what: &'static str, quota: i64 },
    /// The tenant is gone.
    #[error("the tenant is gone")]
    Gone,
    /// The row has another version by now, or is gone.
    #[error("the row has changed meanwhile")]
    VersionMismatch,
    /// The same request was answered meanwhile.
    #[error("a request with this idempotency key was answered meanwhile")]
    Repeated,
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
    /// Key of the chain of audit records.
    audit_key: MacKey,
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
        Ok(Self { database, audit_key: audit::key_of(pepper), writing: Arc::default() })
    }

    /// Writes SQLite's journal back into the one file, and closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
