//! Streams, and what is kept of their keys.

use std::sync::Arc;

use media::{StreamId, UnixMillis};
use messages::{MacKey, Pepper};
use tokio::task::JoinError;

use crate::access;
use crate::audit::Record;
use crate::channels::{give_to_owner, insert};
use crate::commit::{self, Commit, Edit};
use crate::database::{Value, Writing};
use crate::deliveries::{self, Settlement};
use crate::events::{self, LiveEvent, Noted, StreamRow};
use crate::id::Id;
use crate::lead::{self, Lead, Signed};
use crate::leases::{self, Hold, Lease};
use crate::rows::{ensure_room, key_taken};
use crate::{
    Catalogue, Error, Issuer, KeptKey, Pages, Remembered, Saying, SigningKey, Stood, StreamKey, api_keys, channels,
    chat, issuers, members, restored, sessions, standings, token_keys,
};

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
    AddIssuer(Issuer),
    RemoveSigningKey(SigningKey),
    RemoveIssuer(Issuer),
    ForgetRestore,
    /// What a catalogue from a backup takes from the metadata log.
    Remember(Box<Remembered>),
    Commit(Box<Commit>),
    /// An API key was used.
    Used(Id, UnixMillis),
    /// When a session was seen.
    Seen(String, UnixMillis),
    SetPages(StreamId, Box<Pages>),
    Say(Box<Saying>),
    /// Streams get identities that they lack.
    GiveIds,
    Hold(Hold),
    /// What the holder of a lease has learnt of deliveries.
    Settle((&'static str, String), Settlement),
    /// What the holder of a lease has heard of streams.
    Live((&'static str, String), Vec<LiveEvent>),
    Note(Vec<Noted>),
    /// What the holder of a lease sees of quotas and issuers.
    Stand((&'static str, String), Vec<Stood>),
    /// Old events go.
    Prune,
    /// The metadata log says that these members are gone.
    GoneIsLogged(Vec<Id>),
    /// What the control node that leads has signed.
    Sign(Box<Signed>),
}

impl Change {
    /// Whether it is refused unless this process leads. Others have a lease of their own, or say only that somebody was seen.
    pub(crate) const fn needs_lead(&self) -> bool {
        !matches!(
            self,
            Self::Hold(_)
                | Self::Settle(..)
                | Self::Live(..)
                | Self::Note(_)
                | Self::Prune
                | Self::Stand(..)
                | Self::Used(..)
                | Self::Seen(..)
                | Self::GiveIds
        )
    }
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

    /// Notes when a session was seen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_seen(&self, id: &str, at: UnixMillis) -> Result<(), Error> {
        self.change(Change::Seen(id.to_owned(), at)).await
    }

    /// Takes a lease from whom it was seen with; `None`: from nobody.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when it is another's by now, or its holder is still there.
    pub async fn take_lease(&self, name: &'static str, holder: &str, seen: Option<Lease>) -> Result<(), Error> {
        self.change(Change::Hold(Hold::Take { name, holder: holder.to_owned(), seen })).await
    }

    /// Says that the holder of a lease is there.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when it is another's.
    pub async fn beat_lease(&self, name: &'static str, holder: &str) -> Result<(), Error> {
        self.change(Change::Hold(Hold::Beat { name, holder: holder.to_owned() })).await
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when it is another's.
    pub async fn release_lease(&self, name: &'static str, holder: &str) -> Result<(), Error> {
        self.change(Change::Hold(Hold::Release { name, holder: holder.to_owned() })).await
    }

    /// Writes what became of deliveries and endpoints, for the holder of a lease.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when the lease is another's; then nothing is written.
    pub async fn settle(&self, lease: &'static str, holder: &str, settlement: Settlement) -> Result<(), Error> {
        self.change(Change::Settle((lease, holder.to_owned()), settlement)).await
    }

    /// Writes what happened to streams beyond the catalogue, for the holder of a lease.
    ///
    /// # Errors
    /// As [`Catalogue::settle`].
    pub async fn live(&self, lease: &'static str, holder: &str, events: Vec<LiveEvent>) -> Result<(), Error> {
        self.change(Change::Live((lease, holder.to_owned()), events)).await
    }

    /// Writes where things stand that are no rows, with the events that say so, for the holder of a lease.
    ///
    /// # Errors
    /// As [`Catalogue::settle`].
    pub async fn stand(&self, lease: &'static str, holder: &str, stood: Vec<Stood>) -> Result<(), Error> {
        self.change(Change::Stand((lease, holder.to_owned()), stood)).await
    }

    /// Writes those of these states that no event has yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_states(&self, states: Vec<Noted>) -> Result<(), Error> {
        if states.is_empty() { Ok(()) } else { self.change(Change::Note(states)).await }
    }

    /// Forgets events that are older than [`crate::EVENTS_KEPT_MS`], and what hangs on them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune_events(&self) -> Result<(), Error> {
        self.change(Change::Prune).await
    }

    /// Takes in that the metadata log says which members were deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gone_is_logged(&self, members: Vec<Id>) -> Result<(), Error> {
        self.change(Change::GoneIsLogged(members)).await
    }

    /// Keeps an entry of the metadata log with its rows, both in hexadecimal, for the control node that leads.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when another leads, [`Error::SequenceTaken`] when it has kept one of this place, or when the database fails:
    /// then nobody knows whether the entry was kept, and only [`Catalogue::log_entries_after`] says.
    pub async fn keep_log_entry(&self, sequence: i64, entry: String, rows: String) -> Result<(), Error> {
        self.change(Change::Sign(Box::new(Signed::Entry { sequence, entry, rows }))).await
    }

    /// Keeps a root statement, in hexadecimal; a new one that voids entries removes those.
    ///
    /// # Errors
    /// With [`Error::LeaseLost`] when another control node leads; or when the database fails.
    pub async fn keep_log_root(&self, version: i64, statement: String, voids_after: Option<i64>) -> Result<(), Error> {
        self.change(Change::Sign(Box::new(Signed::Root { version, statement, voids_after }))).await
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

    /// Sets what a stream says of pages, visibility apart.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn set_pages(&self, name: &StreamId, pages: &Pages) -> Result<(), Error> {
        self.change(Change::SetPages(name.clone(), Box::new(pages.clone()))).await
    }

    pub(crate) async fn say_in_turn(&self, saying: Saying) -> Result<(), Error> {
        self.change(Change::Say(Box::new(saying))).await
    }

    /// Adds a key that signs viewer tokens; one that is there stays as it is.
    ///
    /// # Errors
    /// When there are too many.
    pub async fn add_signing_key(&self, key: &SigningKey) -> Result<(), Error> {
        self.change(Change::AddSigningKey(key.clone())).await
    }

    /// Adds an issuer.
    ///
    /// # Errors
    /// When there are too many.
    pub async fn add_issuer(&self, issuer: &Issuer) -> Result<(), Error> {
        self.change(Change::AddIssuer(issuer.clone())).await
    }

    /// Makes a change in a task of its own: a caller who goes away in the middle leaves no transaction open.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Error> {
        let (database, writing) = (self.database.clone(), Arc::clone(&self.writing));
        let audit_key = self.audit_key.clone();
        let written = Arc::clone(&self.written);
        let lead = if change.needs_lead() { self.lead() } else { Lead::Anybody };
        let task = tokio::spawn(async move {
            let _alone = writing.lock().await;
            let mut transaction = database.write().await?;
            lead::ensure_leads(&mut transaction, &lead).await?;
            apply(&mut transaction, &audit_key, change).await?;
            transaction.commit().await?;
            written.send_modify(|changes| *changes = changes.wrapping_add(1));
            Ok(())
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

    /// Takes what the metadata log says of what is here.
    ///
    /// # Errors
    /// When the database fails; then nothing is taken.
    pub async fn remember(&self, remembered: Remembered) -> Result<(), Error> {
        self.change(Change::Remember(Box::new(remembered))).await
    }

    /// Removes a key that the metadata log does not have any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_signing_key(&self, key: SigningKey) -> Result<(), Error> {
        self.change(Change::RemoveSigningKey(key)).await
    }

    /// Removes an issuer that the metadata log does not have any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_issuer(&self, issuer: Issuer) -> Result<(), Error> {
        self.change(Change::RemoveIssuer(issuer)).await
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
            return StreamRow::created(writing, &name).await;
        }
        Change::SetKey(name, key) => {
            let mac = key.to_text();
            let values = [Value::Text(name.as_str()), Value::Text(&mac), Value::Text(&key.hint)];
            let update = "UPDATE streams SET key_mac = $2, key_hint = $3, version = version + 1 WHERE name = $1";
            let changed = writing.execute(update, &values).await.map_err(|error| key_taken(error, &name))?;
            StreamRow::changed(writing, &name, "stream.key_rotated").await?;
            (name, changed)
        }
        Change::Delete(name) => {
            let row = StreamRow::find(writing, &name).await?;
            let changed = writing.execute("DELETE FROM streams WHERE name = $1", &[Value::Text(name.as_str())]).await?;
            chat::forget(writing, Value::Text(name.as_str())).await?;
            access::forget_visibility(writing, Value::Text(name.as_str())).await?;
            if let Some(row) = row {
                row.deleted(writing).await?;
            }
            (name, changed)
        }
        Change::MarkRestored => {
            let mark = "INSERT INTO settings (name, value) VALUES ('restored', 'yes') ON CONFLICT (name) DO NOTHING";
            writing.execute(mark, &[]).await?;
            // What ended after the backup stays ended: people sign in again, and links are made again.
            writing.execute("DELETE FROM sessions", &[]).await?;
            writing.execute("UPDATE members SET invite = NULL, invite_until = NULL", &[]).await?;
            // Whoever runs on the one that was copied is another.
            writing.execute("DELETE FROM settings WHERE name = 'database'", &[]).await?;
            lead::name_database(writing).await?;
            return events::step_over_restore(writing).await;
        }
        Change::SetVisibility(name, visibility) => {
            let changed = access::set_visibility(writing, &name, &visibility).await?;
            // It stands in the stream's row of the API.
            let newer = "UPDATE streams SET version = version + 1 WHERE name = $1";
            writing.execute(newer, &[Value::Text(name.as_str())]).await?;
            StreamRow::changed(writing, &name, "stream.updated").await?;
            (name, changed)
        }
        Change::SetPages(name, pages) => {
            let changed = channels::set_pages(writing, &name, &pages).await?;
            StreamRow::changed(writing, &name, "stream.updated").await?;
            (name, changed)
        }
        Change::AddSigningKey(key) => {
            return match token_keys::create(writing, &key).await {
                Err(Error::SigningKeyTaken) => Ok(()),
                done => done,
            };
        }
        Change::AddIssuer(issuer) => return issuers::create(writing, &issuer).await,
        Change::RemoveSigningKey(key) => return token_keys::delete(writing, &key).await,
        Change::RemoveIssuer(issuer) => return issuers::delete(writing, &issuer).await,
        Change::ForgetRestore => {
            writing.execute("DELETE FROM settings WHERE name = 'restored'", &[]).await?;
            return Ok(());
        }
        Change::Remember(remembered) => return restored::remember(writing, *remembered).await,
        Change::Commit(commit) => return commit::apply(writing, audit_key, *commit).await,
        Change::Used(id, at) => return api_keys::used(writing, &id, at).await,
        Change::Seen(id, at) => return sessions::seen(writing, &id, at).await,
        Change::Say(saying) => return chat::say(writing, &saying).await,
        Change::GiveIds => return channels::give_ids(writing).await,
        Change::Hold(hold) => return leases::hold(writing, hold).await,
        Change::Settle((lease, holder), settlement) => {
            leases::ensure_held(writing, lease, &holder).await?;
            return deliveries::settle(writing, &settlement).await;
        }
        Change::Live((lease, holder), happened) => {
            leases::ensure_held(writing, lease, &holder).await?;
            for event in &happened {
                events::live(writing, event).await?;
            }
            return Ok(());
        }
        Change::Note(states) => {
            for noted in &states {
                events::note(writing, noted).await?;
            }
            return Ok(());
        }
        Change::Stand((lease, holder), stood) => {
            leases::ensure_held(writing, lease, &holder).await?;
            return standings::stand(writing, stood).await;
        }
        Change::Prune => return events::prune(writing).await,
        Change::GoneIsLogged(members) => return members::gone_is_logged(writing, &members).await,
        Change::Sign(signed) => return lead::keep(writing, *signed).await,
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
    give_to_owner(writing, &stream.name).await?;
    channels::give_ids(writing).await
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
