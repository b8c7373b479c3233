//! The queue of deliveries: a row for each endpoint that wants an event, written with the event.

use media::UnixMillis;

use crate::Error;
use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::outbox::one_number;

/// Whose business an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The tenant's: also of endpoints that want all there is.
    Tenant,
    /// The operators': of the endpoints of their tenant that name the kind. Only operators may name it there.
    Operators,
}

/// An event that is due to endpoints.
pub(crate) struct Due<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) event: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) sequence: i64,
}

/// Makes a delivery for each endpoint that wants an event.
pub(crate) async fn fan_out(writing: &mut Writing, due: &Due<'_>, (at, to): (i64, To)) -> Result<(), Error> {
    let group = due.kind.split('.').next().unwrap_or_default();
    let wants = "SELECT id FROM webhooks WHERE tenant = $1 AND state = 'active' AND (kinds = $4 OR ' ' || kinds || ' ' LIKE \
                 '% ' || $2 || ' %' OR ' ' || kinds || ' ' LIKE '% ' || $3 || '.* %') ORDER BY created_at, id";
    let all = match to {
        To::Tenant => "*",
        // No endpoint has an empty list.
        To::Operators => "",
    };
    let values = [Value::Text(due.tenant), Value::Text(due.kind), Value::Text(group), Value::Text(all)];
    for (webhook,) in writing.fetch::<(String,)>(wants, &values).await? {
        enqueue(writing, &webhook, due, at).await?;
    }
    Ok(())
}

/// Queues an event for one endpoint.
pub(crate) async fn enqueue(writing: &mut Writing, webhook: &str, due: &Due<'_>, at: i64) -> Result<(), Error> {
    let next = "UPDATE counters SET value = value + 1 WHERE name = 'deliveries' RETURNING value";
    let number = one_number(writing, next, &[]).await?;
    let id = Id::draw(Kind::Delivery, UnixMillis(at));
    let values = [
        Value::Number(number),
        Value::Text(id.as_str()),
        Value::Text(webhook),
        Value::Text(due.tenant),
        Value::Text(due.event),
        Value::Text(due.kind),
        Value::Text(due.subject),
        Value::Number(due.sequence),
        Value::Number(at),
    ];
    let insert = "INSERT INTO deliveries (number, id, webhook, tenant, event, kind, subject, sequence, state, attempts, due_at, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', 0, $9, $9)";
    writing.execute(insert, &values).await?;
    Ok(())
}

/// Tells whoever sends that endpoints are others now.
pub(crate) async fn endpoints_changed(writing: &mut Writing) -> Result<(), Error> {
    writing.execute("UPDATE counters SET value = value + 1 WHERE name = 'webhooks'", &[]).await?;
    Ok(())
}
