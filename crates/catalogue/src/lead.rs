//! Several control nodes on one database: one of them leads, by a lease. What is signed for the metadata log is kept here before anybody
//! sees it, in a transaction that only the holder of the lease can commit; so is every change of the catalogue.

use std::sync::PoisonError;

use crate::database::{Value, Writing};
use crate::leases::ensure_held;
use crate::{Catalogue, Error};

/// Name of the lease of the control node that leads.
pub const LEAD: &str = "lead";
/// Entries that are kept, for a control node that was away: as many as each node keeps.
const ENTRIES_KEPT: i64 = 4_096;
/// Most entries that are read at once.
pub const ENTRIES_READ_MAX: usize = 256;

/// Who may change the catalogue through this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Lead {
    /// Whoever has it open.
    #[default]
    Anybody,
    /// The holder of the lease [`LEAD`] of this name, while that is so.
    Holder(String),
    /// Nobody: another control node leads.
    Nobody,
}

/// What a control node that leads has signed.
pub(crate) enum Signed {
    Entry {
        sequence: i64,
        entry: String,
        rows: String,
    },
    Root {
        version: i64,
        statement: String,
        /// Entries after this one do not count any more.
        voids_after: Option<i64>,
    },
}

/// Refuses to write for whoever does not lead: the lease is looked at in the transaction of the change, so that a process which has slept
/// through the end of its lease writes nothing.
pub(crate) async fn ensure_leads(writing: &mut Writing, lead: &Lead) -> Result<(), Error> {
    match lead {
        Lead::Anybody => Ok(()),
        Lead::Holder(holder) => ensure_held(writing, LEAD, holder).await,
        Lead::Nobody => Err(Error::LeaseLost),
    }
}

pub(crate) async fn keep(writing: &mut Writing, signed: Signed) -> Result<(), Error> {
    match signed {
        Signed::Entry { sequence, entry, rows } => {
            let insert = "INSERT INTO log_entries (sequence, entry, entry_rows) VALUES ($1, $2, $3) ON CONFLICT (sequence) DO NOTHING";
            let values = [Value::Number(sequence), Value::Text(&entry), Value::Text(&rows)];
            if writing.execute(insert, &values).await? == 0 {
                return Err(Error::SequenceTaken(sequence));
            }
            let oldest = Value::Number(sequence.saturating_sub(ENTRIES_KEPT));
            writing.execute("DELETE FROM log_entries WHERE sequence <= $1", &[oldest]).await?;
        }
        Signed::Root { version, statement, voids_after } => {
            let insert = "INSERT INTO log_roots (version, statement) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING";
            let is_new = writing.execute(insert, &[Value::Number(version), Value::Text(&statement)]).await? == 1;
            if let Some(after) = voids_after.filter(|_| is_new) {
                writing.execute("DELETE FROM log_entries WHERE sequence > $1", &[Value::Number(after)]).await?;
            }
        }
    }
    Ok(())
}

impl Catalogue {
    /// Whether other control nodes can have this catalogue open, too.
    pub const fn is_shared(&self) -> bool {
        self.database.is_server()
    }

    /// Says who may change the catalogue through this and its clones from now on.
    pub fn set_lead(&self, lead: Lead) {
        *self.lead.lock().unwrap_or_else(PoisonError::into_inner) = lead;
    }

    pub(crate) fn lead(&self) -> Lead {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next entries after one, with their rows, ascending: at most [`ENTRIES_READ_MAX`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_entries_after(&self, sequence: i64) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT entry, entry_rows FROM log_entries WHERE sequence > $1 ORDER BY sequence LIMIT 256";
        self.database.fetch(sql, &[Value::Number(sequence)]).await
    }

    /// Place of the newest entry that is kept; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_log_entry(&self) -> Result<Option<i64>, Error> {
        let sql = "SELECT sequence FROM log_entries ORDER BY sequence DESC LIMIT 1";
        Ok(self.database.fetch::<(i64,)>(sql, &[]).await?.into_iter().next().map(|(sequence,)| sequence))
    }

    /// All root statements, ascending.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_roots(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT statement FROM log_roots ORDER BY version";
        Ok(self.database.fetch::<(String,)>(sql, &[]).await?.into_iter().map(|(statement,)| statement).collect())
    }

    /// Identity of the database, 32 hexadecimal digits. A restore makes another one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn database_id(&self) -> Result<String, Error> {
        let found = self.database.fetch::<(String,)>("SELECT value FROM settings WHERE name = 'database'", &[]).await?;
        found.into_iter().next().map(|(id,)| id).ok_or_else(|| Error::Unreadable("it has no identity".to_owned()))
    }
}

/// Gives the database an identity, unless it has one.
pub(crate) async fn name_database(writing: &mut Writing) -> Result<(), Error> {
    let insert = "INSERT INTO settings (name, value) VALUES ('database', $1) ON CONFLICT (name) DO NOTHING";
    writing.execute(insert, &[Value::Text(&format!("{:032x}", rand::random::<u128>()))]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use messages::Pepper;
    use testkit::postgres::Postgres;

    use super::*;
    use crate::{Lease, Location};

    fn pepper() -> Pepper {
        Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap()
    }

    async fn two(location: Location<'_>) -> (Catalogue, Catalogue) {
        let open = async || Catalogue::open(location, &pepper()).await.unwrap().0;
        (open().await, open().await)
    }

    async fn sign(catalogue: &Catalogue, sequence: i64) -> Result<(), Error> {
        catalogue.keep_log_entry(sequence, format!("{sequence:02x}"), String::new()).await
    }

    async fn entries(catalogue: &Catalogue, after: i64) -> Vec<String> {
        catalogue.log_entries_after(after).await.unwrap().into_iter().map(|(entry, _)| entry).collect()
    }

    /// A process that has slept through the end of its lease, and does not know it yet.
    async fn sleeper_writes_nothing((first, second): (Catalogue, Catalogue)) {
        assert_eq!(first.database_id().await.unwrap(), second.database_id().await.unwrap());
        first.take_lease(LEAD, "one", None).await.unwrap();
        first.set_lead(Lead::Holder("one".to_owned()));
        second.set_lead(Lead::Nobody);
        sign(&first, 1).await.unwrap();
        assert!(matches!(sign(&second, 2).await, Err(Error::LeaseLost)), "it does not lead");
        let seen = Some(Lease { holder: "one".to_owned(), beat: 0 });
        second.take_lease(LEAD, "two", seen).await.unwrap();
        second.set_lead(Lead::Holder("two".to_owned()));
        assert!(matches!(sign(&first, 2).await, Err(Error::LeaseLost)), "its lease is over");
        assert!(matches!(first.mark_restored().await, Err(Error::LeaseLost)), "and so for the catalogue");
        assert!(!second.is_restored().await.unwrap());
        assert!(matches!(sign(&second, 1).await, Err(Error::SequenceTaken(1))), "what was signed stays");
        sign(&second, 2).await.unwrap();
        assert_eq!(entries(&first, 0).await, ["01", "02"]);
        assert_eq!(entries(&first, 1).await, ["02"]);
        assert_eq!(first.newest_log_entry().await.unwrap(), Some(2));
        second.keep_log_root(1, "a1".to_owned(), None).await.unwrap();
        second.keep_log_root(2, "a2".to_owned(), Some(1)).await.unwrap();
        sign(&second, 2).await.expect("the root has voided the one of before");
        second.keep_log_root(2, "a2".to_owned(), Some(1)).await.unwrap();
        assert_eq!(
            (entries(&first, 0).await.len(), first.log_roots().await.unwrap()),
            (2, vec!["a1".into(), "a2".into()])
        );
    }

    #[tokio::test]
    async fn who_has_lost_the_lead_writes_nothing_in_sqlite() {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("catalogue.db");
        sleeper_writes_nothing(two(Location::File(&path)).await).await;
    }

    #[tokio::test]
    async fn who_has_lost_the_lead_writes_nothing_in_postgresql() {
        let server = Postgres::start();
        sleeper_writes_nothing(two(Location::Server(&server.database())).await).await;
    }
}
