//! Where something stands that is no row: how much of a quota is used, whether an issuer answers. The state is that of the subject in the
//! outbox, so whoever writes events next goes on from there.

use serde_json::Value as Json;

use crate::database::{Value, Writing};
use crate::events::{Happened, State, append};
use crate::id::Id;
use crate::{Catalogue, Error};

/// A subject that has come into another state.
#[derive(Debug, Clone, PartialEq)]
pub struct Stood {
    pub tenant: Id,
    /// What it is about: its kind, such as `quota`, and what tells it from others of the cluster.
    pub subject: (&'static str, String),
    pub state: &'static str,
    /// The event that says so, with its object; without one, only the state is noted.
    pub event: Option<(&'static str, Json)>,
}

impl Catalogue {
    /// The states of all subjects of a kind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn standings(&self, kind: &'static str) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT subject, state FROM event_subjects WHERE kind = $1";
        self.database.fetch::<(String, String)>(sql, &[Value::Text(kind)]).await
    }
}

/// Writes states and events. Those of a tenant that is gone are passed over.
pub(crate) async fn stand(writing: &mut Writing, stood: Vec<Stood>) -> Result<(), Error> {
    for Stood { tenant, subject: (kind, subject), state, event } in stood {
        let tenant = Value::Text(tenant.as_str());
        if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
            continue;
        }
        match event {
            Some((event, object)) => {
                let Value::Text(tenant) = tenant else { continue };
                append(writing, Happened::new(tenant, event, (kind, &subject), (State::Is(state), object))).await?;
            }
            None => {
                let note = "UPDATE event_subjects SET state = $2 WHERE subject = $1";
                writing.execute(note, &[Value::Text(&subject), Value::Text(state)]).await?;
            }
        }
    }
    Ok(())
}
