//! Deliveries: which event goes to which endpoint, and how far that is. Made with the event, and settled by the one control node that holds
//! the lease of sending.

use media::UnixMillis;

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::outbox::{self, Event, select_events};
use crate::queue::{Due, enqueue};
use crate::rows::Page;
use crate::webhooks::{self, Webhook};
use crate::{Catalogue, Error};

/// Deliveries that are read at once.
const READ_MAX: i64 = 1_000;
/// Most events that one replay takes.
pub const REPLAY_MAX: usize = 1_000;

/// A delivery that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Rises with time.
    pub number: i64,
    pub webhook: Id,
    pub subject: String,
    pub sequence: i64,
    pub attempts: u32,
    pub due_at: UnixMillis,
    pub first_failed_at: Option<UnixMillis>,
}

/// A delivery, as its tenant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Id,
    pub event: String,
    pub kind: String,
    pub sequence: i64,
    /// `pending`, `delivered`, `failed` or `dropped`.
    pub state: String,
    pub attempts: i64,
    /// When it is tried next; of one that waits.
    pub due_at: UnixMillis,
    pub answered_at: Option<UnixMillis>,
    /// Status of the last answer.
    pub status: Option<i64>,
    /// Why the last attempt failed, in words.
    pub error: Option<String>,
    pub created_at: UnixMillis,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub number: i64,
    pub became: Became,
    pub attempts: u32,
    pub first_failed_at: Option<UnixMillis>,
    pub answered_at: Option<UnixMillis>,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    Delivered,
    /// It is tried again then.
    Waits(UnixMillis),
    /// It was given up.
    Failed,
    /// Too many waited, or its event is forgotten.
    Dropped,
}

/// What became of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Delivers,
    FailingSince(UnixMillis),
    /// It gets nothing more, for this reason.
    Disabled(String),
}

/// What the sender has learnt since it last wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    pub deliveries: Vec<Settled>,
    /// By tenant and endpoint.
    pub endpoints: Vec<((Id, Id), Standing)>,
}

fn due_of(event: &Event) -> Due<'_> {
    Due {
        tenant: event.tenant.as_str(),
        event: event.id.as_str(),
        kind: &event.kind,
        subject: &event.subject.1,
        sequence: event.sequence,
    }
}

/// Delivers these events once more.
pub(crate) async fn replay(writing: &mut Writing, webhook: &Id, events: &[Event]) -> Result<(), Error> {
    let at = writing.now().await?;
    for event in events {
        enqueue(writing, webhook.as_str(), &due_of(event), at).await?;
    }
    Ok(())
}

/// Writes what became of deliveries and endpoints.
pub(crate) async fn settle(writing: &mut Writing, settlement: &Settlement) -> Result<(), Error> {
    for one in &settlement.deliveries {
        let (state, due_at) = match one.became {
            Became::Delivered => ("delivered", None),
            Became::Waits(at) => ("pending", Some(at.0)),
            Became::Failed => ("failed", None),
            Became::Dropped => ("dropped", None),
        };
        let values = [
            Value::Number(one.number),
            Value::Text(state),
            Value::MaybeNumber(due_at),
            Value::Number(one.attempts.into()),
            Value::MaybeNumber(one.first_failed_at.map(|at| at.0)),
            Value::MaybeNumber(one.answered_at.map(|at| at.0)),
            Value::MaybeNumber(one.status.map(i64::from)),
            Value::MaybeText(one.error.as_deref()),
        ];
        let update = "UPDATE deliveries SET state = $2, due_at = COALESCE($3, due_at), attempts = $4, first_failed_at = $5, \
                      answered_at = COALESCE($6, answered_at), status = $7, error = $8 WHERE number = $1 AND state = 'pending'";
        writing.execute(update, &values).await?;
    }
    for ((tenant, webhook), standing) in &settlement.endpoints {
        let id = Value::Text(webhook.as_str());
        match standing {
            Standing::Delivers => {
                let clear = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
                writing.execute(clear, &[id]).await?;
            }
            Standing::FailingSince(at) => {
                let set = "UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
                writing.execute(set, &[id, Value::Number(at.0)]).await?;
            }
            Standing::Disabled(reason) => webhooks::disable(writing, tenant, webhook, reason).await?,
        }
    }
    Ok(())
}

type PendingRow = (i64, String, String, i64, i64, i64, Option<i64>);
type Row = (String, String, String, i64, String, i64, i64, Option<i64>, Option<i64>, Option<String>, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, event, kind, sequence, state, attempts, due_at, answered_at, status, error, created_at FROM deliveries ",
            $rest
        )
    };
}

impl Catalogue {
    /// Deliveries that wait, after a number, oldest first; some at once.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn pending(&self, after: i64) -> Result<Vec<Pending>, Error> {
        let sql = "SELECT number, webhook, subject, sequence, attempts, due_at, first_failed_at FROM deliveries \
                   WHERE state = 'pending' AND number > $1 ORDER BY number LIMIT $2";
        let rows: Vec<PendingRow> = self.database.fetch(sql, &[Value::Number(after), Value::Number(READ_MAX)]).await?;
        let read = |(number, webhook, subject, sequence, attempts, due_at, first_failed_at): PendingRow| {
            let unreadable = || Error::Unreadable(format!("delivery {number}"));
            Ok(Pending {
                number,
                webhook: Id::parse(Kind::Webhook, &webhook).ok_or_else(unreadable)?,
                subject,
                sequence,
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                due_at: UnixMillis(due_at),
                first_failed_at: first_failed_at.map(UnixMillis),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Newest number of a delivery, and how often endpoints were changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivery_counters(&self) -> Result<(i64, i64), Error> {
        let sql = "SELECT (SELECT value FROM counters WHERE name = 'deliveries'), (SELECT value FROM counters WHERE name = 'webhooks')";
        Ok(self.database.fetch::<(i64, i64)>(sql, &[]).await?.into_iter().next().unwrap_or_default())
    }

    /// The event of a delivery that waits, and the endpoint, as they are now; `None` when one of them is gone.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn to_deliver(&self, number: i64, tenant: &Id, webhook: &Id) -> Result<Option<(Event, Webhook)>, Error> {
        let sql =
            select_events!("WHERE events.id = (SELECT event FROM deliveries WHERE number = $1 AND state = 'pending')");
        let found: Vec<outbox::Row> = self.database.fetch(sql, &[Value::Number(number)]).await?;
        let event = found.into_iter().next().map(outbox::read).transpose()?;
        Ok(event.zip(self.find_webhook(tenant, webhook.as_str()).await?))
    }

    /// An event of a tenant, while it is kept.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_event(&self, tenant: &Id, id: &str) -> Result<Option<Event>, Error> {
        let sql = select_events!("WHERE events.tenant = $1 AND events.id = $2");
        let found: Vec<outbox::Row> =
            self.database.fetch(sql, &[Value::Text(tenant.as_str()), Value::Text(id)]).await?;
        found.into_iter().next().map(outbox::read).transpose()
    }

    /// A tenant's events of a time, oldest first, at most one more than [`REPLAY_MAX`].
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn events_between(&self, tenant: &Id, (from, to): (UnixMillis, UnixMillis)) -> Result<Vec<Event>, Error> {
        let most = i64::try_from(REPLAY_MAX).unwrap_or(i64::MAX).saturating_add(1);
        let values = [Value::Text(tenant.as_str()), Value::Number(from.0), Value::Number(to.0), Value::Number(most)];
        let sql = select_events!(
            "WHERE events.tenant = $1 AND events.created_at >= $2 AND events.created_at < $3 ORDER BY position LIMIT $4"
        );
        let rows: Vec<outbox::Row> = self.database.fetch(sql, &values).await?;
        rows.into_iter().map(outbox::read).collect()
    }

    /// A delivery to an endpoint.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_delivery(&self, webhook: &Id, id: &str) -> Result<Option<Delivery>, Error> {
        let values = [Value::Text(webhook.as_str()), Value::Text(id)];
        let rows: Vec<Row> = self.database.fetch(select!("WHERE webhook = $1 AND id = $2"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A page of the deliveries to an endpoint; those in one state, or with an empty one all.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn deliveries(&self, webhook: &Id, state: &str, page: &Page) -> Result<Vec<Delivery>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(webhook.as_str()), at, id, after, before, like, limit, Value::Text(state)];
        let rows: Vec<Row> = if page.is_newest_first {
            let sql = select!(
                "WHERE webhook = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(kind) LIKE $6 ESCAPE '!') AND ($8 = '' OR state = $8) ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE webhook = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(kind) LIKE $6 ESCAPE '!') AND ($8 = '' OR state = $8) ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }
}

fn read(row: Row) -> Result<Delivery, Error> {
    let (id, event, kind, sequence, state, attempts, due_at, answered_at, status, error, created_at) = row;
    Ok(Delivery {
        id: Id::parse(Kind::Delivery, &id).ok_or_else(|| Error::Unreadable(format!("delivery {id:?}")))?,
        event,
        kind,
        sequence,
        state,
        attempts,
        due_at: UnixMillis(due_at),
        answered_at: answered_at.map(UnixMillis),
        status,
        error,
        created_at: UnixMillis(created_at),
    })
}
