//! Leases: what one control node does for all. A holder raises its beat; whoever has seen the same beat for long enough takes over. Nobody
//! compares clocks, and a holder that has lost its lease can write nothing more under it.

use crate::database::{Value, Writing};
use crate::{Catalogue, Error};

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub holder: String,
    /// Rises while the holder is there.
    pub beat: i64,
}

/// What is done to a lease.
pub(crate) enum Hold {
    /// Takes it from whom it was seen with, in this state.
    Take {
        name: &'static str,
        holder: String,
        seen: Option<Lease>,
    },
    Beat {
        name: &'static str,
        holder: String,
    },
    Release {
        name: &'static str,
        holder: String,
    },
}

pub(crate) async fn hold(writing: &mut Writing, hold: Hold) -> Result<(), Error> {
    let changed = match hold {
        Hold::Take { name, holder, seen: None } => {
            let take = "INSERT INTO leases (name, holder, beat) VALUES ($1, $2, 0) ON CONFLICT (name) DO NOTHING";
            writing.execute(take, &[Value::Text(name), Value::Text(&holder)]).await?
        }
        Hold::Take { name, holder, seen: Some(seen) } => {
            let take = "UPDATE leases SET holder = $2, beat = beat + 1 WHERE name = $1 AND holder = $3 AND beat = $4";
            let values = [Value::Text(name), Value::Text(&holder), Value::Text(&seen.holder), Value::Number(seen.beat)];
            writing.execute(take, &values).await?
        }
        Hold::Beat { name, holder } => {
            let beat = "UPDATE leases SET beat = beat + 1 WHERE name = $1 AND holder = $2";
            writing.execute(beat, &[Value::Text(name), Value::Text(&holder)]).await?
        }
        Hold::Release { name, holder } => {
            let release = "DELETE FROM leases WHERE name = $1 AND holder = $2";
            writing.execute(release, &[Value::Text(name), Value::Text(&holder)]).await?
        }
    };
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Refuses to write for whoever does not hold a lease.
pub(crate) async fn ensure_held(writing: &mut Writing, name: &str, holder: &str) -> Result<(), Error> {
    let held = "SELECT holder FROM leases WHERE name = $1 AND holder = $2";
    let found = writing.fetch::<(String,)>(held, &[Value::Text(name), Value::Text(holder)]).await?;
    if found.is_empty() { Err(Error::LeaseLost) } else { Ok(()) }
}

impl Catalogue {
    /// Who holds a lease; `None` when nobody does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, Error> {
        let sql = "SELECT holder, beat FROM leases WHERE name = $1";
        let found = self.database.fetch::<(String, i64)>(sql, &[Value::Text(name)]).await?;
        Ok(found.into_iter().next().map(|(holder, beat)| Lease { holder, beat }))
    }
}
