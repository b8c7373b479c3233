//! Streams, and what is kept of their keys.

use std::sync::Arc;

use media::{StreamId, UnixMillis};
use messages::{MacKey, Pepper};
use tokio::task::JoinError;

use crate::access::{self, SigningKey};
use crate::audit::Record;
use crate::commit::{self, Commit, Edit};
use crate::database::{Value, Writing};
use crate::id::Id;
use crate::rows::{ensure_room, key_taken};
use crate::{Catalogue, Error, KeptKey, StreamKey, api_keys, channels};

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
pub(crate) enum Change {
    /// A stream, and who may watch it.
    Create(Stream, Option<String>),
    SetKey(StreamId, KeptKey),
    Delete(StreamId),
    MarkRestored,
    SetVisibility(StreamId, String),
    AddSigningKey(SigningKey),
    ForgetRestore,
    Commit(Box<Commit>),
    /// An API key was used.
    Used(Id, UnixMillis),
    /// Streams get identities that they lack.
    GiveIds,
}

impl Catalogue {
    /// Creates a stream.
    ///
    /// # Errors
    /// When the name exists already, another stream has the key, the catalogue is full, or the name reads as a flag or a playlist.
    pub async fn create_stream(&self, stream: &Stream) -> Result<(), Error> {
        self.change(Change::Create(stream.clone(), None)).await
    }

    /// Creates a stream of this visibility ([`Catalogue::set_visibility`]), which is at no moment a public one.
    ///
    /// # Errors
    /// As [`Catalogue::create_stream`].
    pub async fn create_stream_for(&self, stream: &Stream, visibility: &str) -> Result<(), Error> {
        self.change(Change::Create(stream.clone(), Some(visibility.to_owned()))).await
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

    /// Makes a change, whole or not at all.
    ///
    /// # Errors
    /// When the change is not possible; then nothing is recorded either.
    pub async fn commit(&self, commit: Commit) -> Result<(), Error> {
        self.change(Change::Commit(Box::new(commit))).await
    }

    /// Records something that was refused, or that happened outside of the catalogue.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note(&self, record: Record) -> Result<(), Error> {
        self.commit(Commit { edit: Edit::Nothing, record, answer: None }).await
    }

    /// Notes when an API key was used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_key_used(&self, id: &Id, at: UnixMillis) -> Result<(), Error> {
        self.change(Change::Used(id.clone(), at)).await
    }

    pub(crate) async fn give_ids(&self) -> Result<(), Error> {
        self.change(Change::GiveIds).await
    }

    /// Says who may watch a stream, by a name that the caller knows again; `public` for everybody.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn set_visibility(&self, name: &StreamId, visibility: &str) -> Result<(), Error> {
        self.change(Change::SetVisibility(name.clone(), visibility.to_owned())).await
    }

    /// Adds a key that signs viewer tokens; one that is there stays as it is.
    ///
    /// # Errors
    /// When there are too many.
    pub async fn add_signing_key(&self, key: &SigningKey) -> Result<(), Error> {
        self.change(Change::AddSigningKey(*key)).await
    }

    /// Makes a change in a task of its own: a caller who goes away in the middle leaves no transaction open.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Error> {
        let (database, writing) = (self.database.clone(), Arc::clone(&self.writing));
        let audit_key = self.audit_key.clone();
        let task = tokio::spawn(async move {
            let _alone = writing.lock().await;
            let mut transaction = database.write().await?;
            apply(&mut transaction, &audit_key, change).await?;
            transaction.commit().await
        });
        match task.await.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_the_runtime_ends)) => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// Checks that no other stream has a key. The table tells only keys of the older form apart.
    ///
    /// # Errors
    /// When another has it, or the database fails.
    pub async fn ensure_key_free(&self, name: &StreamId, key: &StreamKey, pepper: &Pepper) -> Result<(), Error> {
        let has_it = |other: &Stream| other.name != *name && other.key.is_of(key, pepper, &other.name);
        if self.streams().await?.iter().any(has_it) { Err(Error::KeyTaken(name.clone())) } else { Ok(()) }
    }

    /// The stream of this name; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_stream(&self, name: &StreamId) -> Result<Option<Stream>, Error> {
        let rows = self.database.fetch(ONE, &[Value::Text(name.as_str())]).await?;
        rows.into_iter().next().map(read).transpose()
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
        let rows = self.database.fetch("SELECT name, key_mac, key_hint, created_at FROM streams", &[]).await?;
        let mut streams: Vec<Stream> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        // Here, because the order of a database depends on its locale.
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(streams)
    }
}

impl Catalogue {
    /// Whether the catalogue comes from a backup, and may have forgotten what the metadata log knows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_restored(&self) -> Result<bool, Error> {
        let marks = self.database.fetch::<(String,)>("SELECT name FROM settings WHERE name = 'restored'", &[]).await?;
        Ok(!marks.is_empty())
    }

    /// Notes that the catalogue comes from a backup.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_restored(&self) -> Result<(), Error> {
        self.change(Change::MarkRestored).await
    }

    /// Notes that nothing is missing any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_restore(&self) -> Result<(), Error> {
        self.change(Change::ForgetRestore).await
    }
}

/// Whether commands would take the name for a flag, people and players would take the stream's URL for a playlist's, or the API would take
/// it for an identity.
pub fn is_misleading(name: &str) -> bool {
    name.starts_with('-') || name.to_ascii_lowercase().ends_with(".m3u8") || name.starts_with("str_")
}

/// Name, MAC, hint, and time of a stream, as the table has them.
type Row = (String, String, String, i64);

const ONE: &str = "SELECT name, key_mac, key_hint, created_at FROM streams WHERE name = $1";

async fn apply(writing: &mut Writing, audit_key: &MacKey, change: Change) -> Result<(), Error> {
    let (name, changed) = match change {
        Change::Create(stream, visibility) => {
            let name = stream.name.clone();
            create(writing, stream).await?;
            if let Some(visibility) = visibility {
                access::set_visibility(writing, &name, &visibility).await?;
            }
            return Ok(());
        }
        Change::SetKey(name, key) => {
            let mac = key.to_text();
            let values = [Value::Text(name.as_str()), Value::Text(&mac), Value::Text(&key.hint)];
            let update = "UPDATE streams SET key_mac = $2, key_hint = $3, version = version + 1 WHERE name = $1";
            let changed = writing.execute(update, &values).await.map_err(|error| key_taken(error, &name))?;
            (name, changed)
        }
        Change::Delete(name) => {
            let changed = writing.execute("DELETE FROM streams WHERE name = $1", &[Value::Text(name.as_str())]).await?;
            access::forget_visibility(writing, Value::Text(name.as_str())).await?;
            (name, changed)
        }
        Change::MarkRestored => {
            let mark = "INSERT INTO settings (name, value) VALUES ('restored', 'yes') ON CONFLICT (name) DO NOTHING";
            writing.execute(mark, &[]).await?;
            return Ok(());
        }
        Change::SetVisibility(name, visibility) => {
            let changed = access::set_visibility(writing, &name, &visibility).await?;
            (name, changed)
        }
        Change::AddSigningKey(key) => return access::add_signing_key(writing, &key).await,
        Change::ForgetRestore => {
            writing.execute("DELETE FROM settings WHERE name = 'restored'", &[]).await?;
            return Ok(());
        }
        Change::Commit(commit) => return commit::apply(writing, audit_key, *commit).await,
        Change::Used(id, at) => return api_keys::used(writing, &id, at).await,
        Change::GiveIds => return channels::give_ids(writing).await,
    };
    if changed == 0 { Err(Error::NoStream(name)) } else { Ok(()) }
}

async fn create(writing: &mut Writing, stream: Stream) -> Result<(), Error> {
    if !writing.fetch::<Row>(ONE, &[Value::Text(stream.name.as_str())]).await?.is_empty() {
        return Err(Error::StreamExists(stream.name));
    }
    if is_misleading(stream.name.as_str()) {
        return Err(Error::MisleadingName(stream.name));
    }
    ensure_room(writing).await?;
    insert(writing, &stream).await.map_err(|error| key_taken(error, &stream.name))?;
    // A name that begins with the slug of a tenant is that tenant's, whoever makes it.
    if let Some((slug, _)) = stream.name.as_str().split_once('.') {
        let owner =
            "UPDATE streams SET tenant = COALESCE((SELECT id FROM tenants WHERE slug = $2), tenant) WHERE name = $1";
        writing.execute(owner, &[Value::Text(stream.name.as_str()), Value::Text(slug)]).await?;
    }
    channels::give_ids(writing).await
}

pub(crate) async fn insert(writing: &mut Writing, stream: &Stream) -> Result<(), sqlx::Error> {
    let mac = stream.key.to_text();
    let (name, hint) = (Value::Text(stream.name.as_str()), Value::Text(&stream.key.hint));
    let values = [name, Value::Text(&mac), hint, Value::Number(stream.created_at.0)];
    let insert = "INSERT INTO streams (name, key_mac, key_hint, created_at) VALUES ($1, $2, $3, $4)";
    writing.execute(insert, &values).await.map(drop)
}

fn read((name, mac, hint, created_at): Row) -> Result<Stream, Error> {
    let unreadable = |what: String| Error::Unreadable(format!("{name:?}: {what}"));
    Ok(Stream {
        key: KeptKey::from_text(&mac, hint).ok_or_else(|| unreadable("its MAC is none".to_owned()))?,
        created_at: UnixMillis(created_at),
        name: StreamId::new(&name).map_err(|error| unreadable(error.to_string()))?,
    })
}

#[cfg(test)]
pub(crate) mod tests;
