//! The catalogue: tenants, their streams and API keys, what is kept of all keys, and the audit of what was changed.
//!
//! Owns the tables and the queries, on SQLite in a file or on PostgreSQL. Deliberately knows no HTTP and no bus: `control` has both.

mod access;
mod api_keys;
mod audit;
mod channels;
mod chat;
mod commit;
mod copy;
mod database;
mod deliveries;
mod events;
mod id;
mod issuers;
mod key;
mod lead;
mod leases;
mod members;
mod migration;
mod outbox;
mod queue;
mod restored;
mod rows;
mod secret;
mod sessions;
mod standings;
mod streams;
mod tenants;
mod token_keys;
mod webhooks;

use std::sync::Arc;

use media::{StreamId, UnixMillis};
use messages::{MacKey, Pepper};
use tokio::sync::{Mutex, watch};

use crate::database::Database;

pub use api_keys::{ALL_API_KEYS_MAX, API_KEYS_MAX, ApiKey};
pub use audit::{Break, Checked, RECORDS_MAX, Record};
pub use channels::{Channel, Pages, Texts};
pub use chat::{BANS_MAX, Ban, Message, Saying};
pub use commit::{ANSWERS_MAX, Commit, Edit, KeptAnswer};
pub use copy::{check_database, copy_database};
pub use database::Location;
pub use deliveries::{Became, Delivery, Pending, REPLAY_MAX, Settled, Settlement, Standing};
pub use events::{EVENTS_KEPT_MS, EVENTS_MAX, LiveEvent, Noted};
pub use id::{ID_CHARS, Id, Kind};
pub use issuers::{ISSUERS_MAX, Issuer};
pub use key::{InvalidKey, KEY_CHARS_MAX, KEY_CHARS_MIN, KEY_PREFIX, KeptKey, StreamKey};
pub use lead::{ENTRIES_READ_MAX, LEAD, Lead};
pub use leases::Lease;
pub use members::{MEMBERS_MAX, Member, MemberState, Person};
pub use migration::ClearKey;
pub use outbox::{EVENTS_READ_MAX, Event, LiveState, Outbox};
pub use restored::{Remembered, RememberedStream};
pub use rows::Page;
pub use secret::{API_KEY_PREFIX, ApiSecret, SET_UP_PREFIX, SecretKind, SetUpSecret, sha256};
pub use sessions::{MemberEdit, NewPassword, People, SESSIONS_MAX, Session};
pub use standings::Stood;
pub use streams::{Stream, is_misleading};
pub use tenants::{Belongings, DEFAULT_SLUG, Quota, SLUG_CHARS_MAX, SLUG_CHARS_MIN, TENANTS_MAX, Tenant, is_slug};
pub use token_keys::{PublicKey, SIGNING_KEYS_MAX, SigningKey};
pub use webhooks::{Salt, WEBHOOKS_ALL_MAX, WEBHOOKS_MAX, Webhook};

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
    /// The tenant has this key already.
    #[error("this key is registered already")]
    SigningKeyTaken,
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
    /// The person is a member of the tenant already.
    #[error("this person is a member of the tenant already")]
    MemberExists,
    /// Nobody could decide any more who is a member.
    #[error(
        "the tenant, or the cluster, would have nobody who decides who is a member: make another owner or operator first"
    )]
    LastOwner,
    /// Somebody else has this name for signing in.
    #[error("somebody signs in with this name already: use another")]
    NameInUse,
    /// The tenant is gone.
    #[error("the tenant is gone")]
    Gone,
    /// The row has another version by now, or is gone.
    #[error("the row has changed meanwhile")]
    VersionMismatch,
    /// The same request was answered meanwhile.
    #[error("a request with this idempotency key was answered meanwhile")]
    Repeated,
    /// Another control node holds the lease by now.
    #[error("another control node does this now")]
    LeaseLost,
    /// Another control node has signed an entry of this place.
    #[error("entry {0} of the metadata log is signed already")]
    SequenceTaken(i64),
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
    /// The writer may not write in this chat yet.
    #[error("you may not write in this chat until {until}")]
    ChatBanned { until: UnixMillis },
    /// The chat is slow, and the writer's last message is not old enough.
    #[error("this chat takes your next message in {} s", wait_ms.div_ceil(1_000))]
    ChatSlow { wait_ms: u64 },
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
    /// What secrets of webhooks follow from.
    webhook_key: MacKey,
    /// Counts changes that were made through this and its clones.
    written: Arc<watch::Sender<u64>>,
    /// Held by the one that writes: writers in this process wait here, and not for the database's lock.
    writing: Arc<Mutex<()>>,
    /// Who may change the catalogue here.
    lead: Arc<std::sync::Mutex<Lead>>,
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
        Ok(Self {
            database,
            audit_key: audit::key_of(pepper),
            webhook_key: pepper.key_for(webhooks::KEY_LABEL),
            written: Arc::default(),
            writing: Arc::default(),
            lead: Arc::default(),
        })
    }

    /// Hears of each change that this process makes. What other processes change has to be looked for.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Writes SQLite's journal back into the one file, and closes the connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
