//! The outbox: what happened to whom, in the order in which it was written, and in the same transaction as the change that caused it.
//!
//! Each tenant has an outbox of its own, so that places in it say nothing of others. Deliveries to the tenant's webhooks are made with the
//! event. Times are the database's, so that of two controls neither is ahead.

use media::{StreamId, UnixMillis};
use serde_json::{Value as Json, json};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::outbox::{DELETED, one_number};
use crate::queue::To;
use crate::{Error, Tenant, queue};

/// For how long events are kept.
pub const EVENTS_KEPT_MS: i64 = 24 * 3_600 * 1_000;
/// Most events of a tenant; the oldest go first.
pub const EVENTS_MAX: i64 = 10_000;
/// An event that a delivery still needs is kept for this long, so that one that was given up can be delivered again.
const NEEDED_MS: i64 = 3 * EVENTS_KEPT_MS;
/// How many events of a tenant go at once.
const PRUNED: i64 = 100;
/// By how much sequences and positions rise when the catalogue is restored: more than there can have been since the backup.
const RESTORED_STEP: i64 = 1_000_000;

/// Something that happened to a stream beyond the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    pub stream: StreamId,
    /// Such as `stream.live`.
    pub kind: &'static str,
    /// The state that the stream has since then; `None`: the same as before.
    pub state: Option<&'static str>,
    pub epoch: Option<i64>,
    /// When the broadcast of the session began.
    pub started_at: Option<UnixMillis>,
    /// Members of the event's object besides the stream's own.
    pub more: Json,
}

/// An event that is about to be written.
pub(crate) struct Happened<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) subject: (&'a str, &'a str),
    pub(crate) now: State<'a>,
    pub(crate) session: Option<(i64, Option<i64>)>,
    pub(crate) object: Json,
}

/// What becomes of the subject.
#[derive(Clone, Copy)]
pub(crate) enum State<'a> {
    Same,
    Is(&'a str),
    /// It has ended.
    Ends(&'a str),
}

impl<'a> Happened<'a> {
    /// Something that happened to a row, outside of any session.
    pub(crate) fn new(
        tenant: &'a str,
        kind: &'a str,
        subject: (&'a str, &'a str),
        (now, object): (State<'a>, Json),
    ) -> Self {
        Self { tenant, kind, subject, now, session: None, object }
    }
}

/// Writes an event, and a delivery for each endpoint that wants it.
pub(crate) async fn append(writing: &mut Writing, happened: Happened<'_>) -> Result<(), Error> {
    let Happened { tenant, subject: (subject_kind, subject), now, session, .. } = happened;
    let sequence = step(writing, (tenant, subject_kind, subject), now, session).await?;
    write(writing, happened, (sequence, To::Tenant)).await
}

/// Writes an event of a sequence that was counted.
async fn write(writing: &mut Writing, happened: Happened<'_>, (sequence, to): (i64, To)) -> Result<(), Error> {
    let at = writing.now().await?;
    let Happened { tenant, kind, subject: (subject_kind, subject), session, object, .. } = happened;
    let head = "INSERT INTO event_heads (tenant, newest, pruned) VALUES ($1, 1, 0) \
                ON CONFLICT (tenant) DO UPDATE SET newest = event_heads.newest + 1 RETURNING newest";
    let position = one_number(writing, head, &[Value::Text(tenant)]).await?;
    let (id, object) = (Id::draw(Kind::Event, UnixMillis(at)), object.to_string());
    let values = [
        Value::Text(tenant),
        Value::Number(position),
        Value::Text(id.as_str()),
        Value::Text(kind),
        Value::Text(subject_kind),
        Value::Text(subject),
        Value::Number(sequence),
        Value::MaybeNumber(session.map(|(epoch, _)| epoch)),
        Value::Text(&object),
        Value::Number(at),
    ];
    let insert = "INSERT INTO events (tenant, position, id, kind, subject_kind, subject, sequence, epoch, object, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    writing.execute(insert, &values).await?;
    let due = queue::Due { tenant, event: id.as_str(), kind, subject, sequence };
    queue::fan_out(writing, &due, (at, to)).await?;
    if position % PRUNED == 0 {
        forget_up_to(writing, tenant, position.saturating_sub(EVENTS_MAX)).await?;
    }
    Ok(())
}

/// Counts the subject on, and notes its state.
async fn step(
    writing: &mut Writing,
    (tenant, kind, subject): (&str, &str, &str),
    now: State<'_>,
    session: Option<(i64, Option<i64>)>,
) -> Result<i64, Error> {
    let (state, is_final) = match now {
        State::Same => (None, 0),
        State::Is(state) => (Some(state), 0),
        State::Ends(state) => (Some(state), 1),
    };
    let values = [
        Value::Text(subject),
        Value::Text(tenant),
        Value::Text(kind),
        Value::MaybeText(state),
        Value::MaybeNumber(session.map(|(epoch, _)| epoch)),
        Value::MaybeNumber(session.and_then(|(_, started_at)| started_at)),
        Value::Number(is_final),
    ];
    let step = "INSERT INTO event_subjects (subject, tenant, kind, sequence, state, epoch, started_at, is_final) \
                VALUES ($1, $2, $3, 1, COALESCE($4, 'active'), $5, $6, $7) \
                ON CONFLICT (subject) DO UPDATE SET sequence = event_subjects.sequence + 1, \
                state = COALESCE($4, event_subjects.state), epoch = COALESCE($5, event_subjects.epoch), \
                started_at = COALESCE($6, event_subjects.started_at), is_final = $7 RETURNING sequence";
    one_number(writing, step, &values).await
}

/// A stream, as its events show it.
pub(crate) struct StreamRow {
    id: String,
    tenant: String,
    name: String,
    title: String,
}

impl StreamRow {
    pub(crate) async fn find(writing: &mut Writing, name: &StreamId) -> Result<Option<Self>, Error> {
        let sql = "SELECT id, tenant, name, title FROM streams WHERE name = $1 AND id IS NOT NULL";
        let found = writing.fetch::<(String, String, String, String)>(sql, &[Value::Text(name.as_str())]).await?;
        Ok(found.into_iter().next().map(|(id, tenant, name, title)| Self { id, tenant, name, title }))
    }

    fn object(&self) -> Json {
        json!({ "id": self.id, "name": self.name, "title": self.title })
    }

    pub(crate) async fn happened(&self, writing: &mut Writing, kind: &str, now: State<'_>) -> Result<(), Error> {
        let subject = ("stream", self.id.as_str());
        append(writing, Happened::new(&self.tenant, kind, subject, (now, self.object()))).await
    }

    pub(crate) async fn created(writing: &mut Writing, name: &StreamId) -> Result<(), Error> {
        let row = Self::find(writing, name).await?;
        if let Some(row) = row { row.happened(writing, "stream.created", State::Is("idle")).await } else { Ok(()) }
    }

    pub(crate) async fn changed(writing: &mut Writing, name: &StreamId, kind: &str) -> Result<(), Error> {
        let row = Self::find(writing, name).await?;
        if let Some(row) = row { row.happened(writing, kind, State::Same).await } else { Ok(()) }
    }

    pub(crate) async fn deleted(&self, writing: &mut Writing) -> Result<(), Error> {
        self.happened(writing, "stream.deleted", State::Ends(DELETED)).await
    }
}

/// Something that happened to a row that is no stream: `api_key.created`, and whatever else has a name.
pub(crate) async fn row_changed(
    writing: &mut Writing,
    kind: &str,
    (tenant, id): (&Id, &Id),
    object: Json,
) -> Result<(), Error> {
    let subject_kind = kind.split('.').next().unwrap_or_default();
    let now = if kind.ends_with(".deleted") { State::Ends(DELETED) } else { State::Same };
    append(writing, Happened::new(tenant.as_str(), kind, (subject_kind, id.as_str()), (now, object))).await
}

/// Says that a tenant was deleted: to its own endpoints, as their last word, and to the operators. It is one event of one subject.
pub(crate) async fn tenant_deleted(writing: &mut Writing, tenant: &Tenant) -> Result<(), Error> {
    let (kind, object) =
        ("tenant.deleted", json!({ "id": tenant.id.as_str(), "slug": tenant.slug, "name": tenant.name }));
    let (operators, subject) = (Id::default_tenant(), ("tenant", tenant.id.as_str()));
    let now = State::Ends(DELETED);
    let sequence = step(writing, (operators.as_str(), subject.0, subject.1), now, None).await?;
    let to_own = Happened::new(tenant.id.as_str(), kind, subject, (now, object.clone()));
    write(writing, to_own, (sequence, To::Tenant)).await?;
    let to_operators = Happened::new(operators.as_str(), kind, subject, (now, object));
    write(writing, to_operators, (sequence, To::Operators)).await
}

/// Writes what happened to a stream beyond the catalogue. Streams that are not there are passed over.
pub(crate) async fn live(writing: &mut Writing, event: &LiveEvent) -> Result<(), Error> {
    let Some(row) = StreamRow::find(writing, &event.stream).await? else { return Ok(()) };
    let mut object = row.object();
    if let (Json::Object(object), Json::Object(more)) = (&mut object, event.more.clone()) {
        object.extend(more);
    }
    let now = event.state.map_or(State::Same, State::Is);
    let session = event.epoch.map(|epoch| (epoch, event.started_at.map(|at| at.0)));
    let subject = ("stream", row.id.as_str());
    append(writing, Happened { tenant: &row.tenant, kind: event.kind, subject, now, session, object }).await
}

/// Something outside of the catalogue that has a state: written if the state is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub tenant: Id,
    /// In place of the tenant: whoever owns this stream.
    pub of_stream: Option<StreamId>,
    /// Such as `token.revoked`.
    pub kind: &'static str,
    /// Identity of what it is about.
    pub subject: String,
    /// It ends with this, and a later one is another event.
    pub state: String,
    pub object: Json,
}

pub(crate) async fn note(writing: &mut Writing, noted: &Noted) -> Result<(), Error> {
    let known = "SELECT state FROM event_subjects WHERE subject = $1";
    let known = writing.fetch::<(String,)>(known, &[Value::Text(&noted.subject)]).await?;
    if known.iter().any(|(state,)| *state == noted.state) {
        return Ok(());
    }
    let row = match &noted.of_stream {
        Some(stream) => StreamRow::find(writing, stream).await?,
        None => None,
    };
    let tenant = row.as_ref().map_or(noted.tenant.as_str(), |row| row.tenant.as_str());
    let subject = (noted.kind.split('.').next().unwrap_or_default(), noted.subject.as_str());
    let now = (State::Ends(&noted.state), noted.object.clone());
    append(writing, Happened::new(tenant, noted.kind, subject, now)).await
}

/// Forgets what a tenant has in the outbox, because the tenant is gone. Its endpoints stay until they have got its last word.
pub(crate) async fn forget_tenant(writing: &mut Writing, tenant: Value<'_>) -> Result<(), Error> {
    for delete in [
        "DELETE FROM events WHERE tenant = $1",
        "DELETE FROM event_heads WHERE tenant = $1",
        "DELETE FROM event_subjects WHERE tenant = $1",
        "DELETE FROM deliveries WHERE tenant = $1",
    ] {
        writing.execute(delete, &[tenant]).await?;
    }
    queue::endpoints_changed(writing).await
}

/// Forgets the endpoints of tenants that are gone, and what is kept for them, once nothing waits for them any more.
async fn forget_gone_tenants(writing: &mut Writing) -> Result<(), Error> {
    let gone = "DELETE FROM webhooks WHERE tenant NOT IN (SELECT id FROM tenants) AND NOT EXISTS \
                (SELECT 1 FROM deliveries WHERE deliveries.webhook = webhooks.id AND state = 'pending')";
    if writing.execute(gone, &[]).await? > 0 {
        queue::endpoints_changed(writing).await?;
    }
    for delete in [
        "DELETE FROM deliveries WHERE tenant NOT IN (SELECT id FROM tenants) AND webhook NOT IN (SELECT id FROM webhooks)",
        "DELETE FROM events WHERE tenant NOT IN (SELECT id FROM tenants) AND tenant NOT IN (SELECT tenant FROM webhooks)",
        "DELETE FROM event_heads WHERE tenant NOT IN (SELECT id FROM tenants) AND tenant NOT IN (SELECT tenant FROM webhooks)",
    ] {
        writing.execute(delete, &[]).await?;
    }
    Ok(())
}

/// After a restore, sequences go on above all that receivers may have seen, and whoever resumes an outbox begins anew.
pub(crate) async fn step_over_restore(writing: &mut Writing) -> Result<(), Error> {
    let step = [Value::Number(RESTORED_STEP)];
    writing.execute("UPDATE event_subjects SET sequence = sequence + $1", &step).await?;
    writing.execute("UPDATE event_heads SET newest = newest + $1, pruned = newest + $1", &step).await?;
    Ok(())
}

async fn forget_up_to(writing: &mut Writing, tenant: &str, position: i64) -> Result<(), Error> {
    let values = [Value::Text(tenant), Value::Number(position)];
    if writing.execute("DELETE FROM events WHERE tenant = $1 AND position <= $2", &values).await? > 0 {
        let head = "UPDATE event_heads SET pruned = $2 WHERE tenant = $1 AND pruned < $2";
        writing.execute(head, &values).await?;
    }
    Ok(())
}

/// Forgets old events, subjects that have ended, and deliveries that nobody waits for.
pub(crate) async fn prune(writing: &mut Writing) -> Result<(), Error> {
    let now = writing.now().await?;
    let old = Value::Number(now.saturating_sub(EVENTS_KEPT_MS));
    let heads = "UPDATE event_heads SET pruned = (SELECT MAX(position) FROM events WHERE events.tenant = event_heads.tenant AND \
                 created_at < $1) WHERE pruned < (SELECT MAX(position) FROM events WHERE events.tenant = event_heads.tenant AND \
                 created_at < $1)";
    writing.execute(heads, &[old]).await?;
    let needed = Value::Number(now.saturating_sub(NEEDED_MS));
    writing.execute("DELETE FROM deliveries WHERE state <> 'pending' AND created_at < $1", &[needed]).await?;
    let events = "DELETE FROM events WHERE created_at < $2 OR (created_at < $1 AND NOT EXISTS \
                  (SELECT 1 FROM deliveries WHERE deliveries.event = events.id AND state IN ('pending', 'failed')))";
    writing.execute(events, &[old, needed]).await?;
    let subjects = "DELETE FROM event_subjects WHERE is_final = 1 AND NOT EXISTS \
                    (SELECT 1 FROM events WHERE events.tenant = event_subjects.tenant AND events.subject = event_subjects.subject)";
    writing.execute(subjects, &[]).await?;
    forget_gone_tenants(writing).await
}

#[cfg(test)]
mod tests;
