//! The outbox as it is read: a tenant's events in order, with what is true of their subjects now.

use media::{StreamId, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::{Catalogue, Error};

/// Most events that are read at once.
pub const EVENTS_READ_MAX: i64 = 200;

/// State of a subject that is gone.
pub(crate) const DELETED: &str = "deleted";

/// An event, with what is true of its subject now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: Id,
    pub tenant: Id,
    /// Place in the tenant's outbox.
    pub position: i64,
    /// Such as `stream.live`.
    pub kind: String,
    /// What it is about: its kind, such as `stream`, and its identity.
    pub subject: (String, String),
    /// Rises by one with each event of the subject.
    pub sequence: i64,
    /// Of the session, for what happens to one.
    pub epoch: Option<i64>,
    /// JSON.
    pub object: String,
    pub created_at: UnixMillis,
    /// Newest sequence of the subject, and its state.
    pub current: (i64, String),
}

/// What of a tenant's outbox there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outbox {
    /// Newest position.
    pub newest: i64,
    /// Newest position that is forgotten.
    pub pruned: i64,
}

/// Where a stream is, as its events said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveState {
    pub stream: StreamId,
    /// Such as `live`; see [`crate::LiveEvent`].
    pub state: String,
    pub epoch: i64,
    pub started_at: UnixMillis,
}

/// The number that a statement returns.
pub(crate) async fn one_number(writing: &mut Writing, sql: &'static str, values: &[Value<'_>]) -> Result<i64, Error> {
    let found = writing.fetch::<(i64,)>(sql, values).await?;
    found.into_iter().next().map(|(number,)| number).ok_or_else(|| Error::Unreadable("a counter of events".to_owned()))
}

pub(crate) type Row =
    (String, i64, String, String, String, String, i64, Option<i64>, String, i64, Option<i64>, Option<String>);

/// Reads events with what is current. The rest says which.
macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT events.tenant, position, events.id, events.kind, subject_kind, events.subject, events.sequence, events.epoch, object, ",
            "events.created_at, event_subjects.sequence, event_subjects.state FROM events ",
            "LEFT JOIN event_subjects ON event_subjects.subject = events.subject ",
            $rest
        )
    };
}
pub(crate) use select_events;

pub(crate) fn read(row: Row) -> Result<Event, Error> {
    let (tenant, position, id, kind, subject_kind, subject, sequence, epoch, object, created_at, newest, state) = row;
    let unreadable = || Error::Unreadable(format!("event {id:?}"));
    Ok(Event {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        id: Id::parse(Kind::Event, &id).ok_or_else(unreadable)?,
        position,
        kind,
        subject: (subject_kind, subject),
        sequence,
        epoch,
        object,
        created_at: UnixMillis(created_at),
        current: (newest.unwrap_or(sequence), state.unwrap_or_else(|| DELETED.to_owned())),
    })
}

impl Catalogue {
    /// What of a tenant's outbox there is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox(&self, tenant: &Id) -> Result<Outbox, Error> {
        let head = "SELECT newest, pruned FROM event_heads WHERE tenant = $1";
        let found = self.database.fetch::<(i64, i64)>(head, &[Value::Text(tenant.as_str())]).await?;
        Ok(found.into_iter().next().map_or_else(Outbox::default, |(newest, pruned)| Outbox { newest, pruned }))
    }

    /// A tenant's events after a position, oldest first, at most [`EVENTS_READ_MAX`].
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn events_after(&self, tenant: &Id, position: i64) -> Result<Vec<Event>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Number(position), Value::Number(EVENTS_READ_MAX)];
        let sql = select_events!("WHERE events.tenant = $1 AND position > $2 ORDER BY position LIMIT $3");
        let rows: Vec<Row> = self.database.fetch(sql, &values).await?;
        rows.into_iter().map(read).collect()
    }

    /// Where the streams are of whose sessions there were events.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn live_states(&self) -> Result<Vec<LiveState>, Error> {
        let sql = "SELECT streams.name, state, epoch, started_at FROM event_subjects JOIN streams ON streams.id = event_subjects.subject \
                   WHERE epoch IS NOT NULL AND started_at IS NOT NULL";
        let rows = self.database.fetch::<(String, String, i64, i64)>(sql, &[]).await?;
        let read = |(name, state, epoch, started_at): (String, String, i64, i64)| {
            let unreadable = |error| Error::Unreadable(format!("{name:?}: {error}"));
            let stream = StreamId::new(&name).map_err(unreadable)?;
            Ok(LiveState { stream, state, epoch, started_at: UnixMillis(started_at) })
        };
        rows.into_iter().map(read).collect()
    }
}
