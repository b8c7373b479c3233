//! The audit: each change and each refusal is one record, and each record names the digest of the one before. The digest is an HMAC under a
//! key that follows from control's pepper, so whoever has the database only can edit it, and cannot make the chain fit.
//!
//! Records that are gone from the end show as well, because the head of the chain is kept beside it. Whoever has database and pepper, or
//! puts back an older copy of the whole database, leaves no trace here.

use media::UnixMillis;
use messages::{MacKey, Pepper};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::Page;
use crate::{Catalogue, Error};

/// Most records that are kept; the oldest go first, and the chain then begins at the first that is left. At some 500 bytes each, 500 MB.
pub const RECORDS_MAX: i64 = 1_000_000;
/// How many records go at once.
const PRUNED: i64 = 1_000;
/// Records that are read at once to check the chain.
const CHECKED: i64 = 1_000;
/// Most breaks of a chain that are named.
const BREAKS_MAX: usize = 100;
/// What the key of the chain is derived with. No stream key has a NUL.
const KEY_LABEL: &str = "\0sealcast audit chain";
/// Setting that has the newest sequence and digest, and the one with the sequence and digest before the oldest record.
const HEAD: &str = "audit_head";
const BEGIN: &str = "audit_begin";

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: Id,
    pub at: UnixMillis,
    /// Whose tenant it concerns; `None` for the cluster.
    pub tenant: Option<Id>,
    /// What kind of caller it was, such as `api_key` or `certificate`.
    pub actor: String,
    /// Which credential: the identity of a key, or the name of a node. Never a secret.
    pub credential: String,
    /// What was asked for, such as `streams.create`.
    pub action: String,
    /// Identity or name of the row.
    pub object: String,
    /// JSON: what changed, without secrets.
    pub changes: String,
    /// `done`, or the type of the problem.
    pub result: String,
    pub request_id: String,
}

/// The chain of records, as it was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that are there.
    pub records: i64,
    /// Sequence of the newest.
    pub newest: i64,
    /// Where it does not hold; empty for a sound chain.
    pub breaks: Vec<Break>,
}

/// A place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    pub sequence: i64,
    pub id: String,
    /// What is wrong, in words.
    pub why: &'static str,
}

/// Begins the key of a chain.
pub(crate) fn key_of(pepper: &Pepper) -> MacKey {
    pepper.key_for(KEY_LABEL)
}

type Row = (i64, String, i64, String, String, String, String, String, String, String, String, String, String);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT sequence, id, at, tenant, actor, credential, action, object, changes, result, request_id, previous, digest FROM audit ",
            $rest
        )
    };
}

/// The digest of a record. Each text comes with its length, so that no two records have the same form.
fn digest_of(key: &MacKey, sequence: i64, record: &Record, previous: &str) -> String {
    let tenant = record.tenant.as_ref().map_or("", Id::as_str);
    let (sequence, at) = (sequence.to_string(), record.at.0.to_string());
    let texts = [
        previous,
        &sequence,
        record.id.as_str(),
        &at,
        tenant,
        &record.actor,
        &record.credential,
        &record.action,
        &record.object,
        &record.changes,
        &record.result,
        &record.request_id,
    ];
    let mut form = String::new();
    for text in texts {
        form.push_str(&text.len().to_string());
        form.push(':');
        form.push_str(text);
    }
    key.mac(&form).to_string()
}

/// Sequence and digest of a setting.
async fn mark(writing: &mut Writing, name: &'static str) -> Result<Option<(i64, String)>, Error> {
    let found = writing.fetch::<(String,)>("SELECT value FROM settings WHERE name = $1", &[Value::Text(name)]).await?;
    Ok(found.into_iter().next().and_then(|(value,)| read_mark(&value)))
}

fn read_mark(value: &str) -> Option<(i64, String)> {
    let (sequence, digest) = value.split_once(' ')?;
    Some((sequence.parse().ok()?, digest.to_owned()))
}

async fn set_mark(writing: &mut Writing, name: &'static str, (sequence, digest): (i64, &str)) -> Result<(), Error> {
    let value = format!("{sequence} {digest}");
    let set =
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    writing.execute(set, &[Value::Text(name), Value::Text(&value)]).await?;
    Ok(())
}

/// Appends a record to the chain.
pub(crate) async fn append(writing: &mut Writing, key: &MacKey, record: &Record) -> Result<(), Error> {
    // The head and not the newest row: after the newest rows were deleted by hand, the chain shows a gap for ever.
    let (newest, previous) = mark(writing, HEAD).await?.unwrap_or_default();
    let sequence = newest.saturating_add(1);
    let digest = digest_of(key, sequence, record, &previous);
    let values = [
        Value::Number(sequence),
        Value::Text(record.id.as_str()),
        Value::Number(record.at.0),
        Value::Text(record.tenant.as_ref().map_or("", Id::as_str)),
        Value::Text(&record.actor),
        Value::Text(&record.credential),
        Value::Text(&record.action),
        Value::Text(&record.object),
        Value::Text(&record.changes),
        Value::Text(&record.result),
        Value::Text(&record.request_id),
        Value::Text(&previous),
        Value::Text(&digest),
    ];
    let insert = "INSERT INTO audit (sequence, id, at, tenant, actor, credential, action, object, changes, result, request_id, \
                  previous, digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    writing.execute(insert, &values).await?;
    set_mark(writing, HEAD, (sequence, &digest)).await?;
    if sequence > RECORDS_MAX && sequence % PRUNED == 0 {
        prune(writing, sequence - RECORDS_MAX).await?;
    }
    Ok(())
}

/// Forgets the records up to this one, and notes where the chain begins then.
async fn prune(writing: &mut Writing, to: i64) -> Result<(), Error> {
    let last = "SELECT digest FROM audit WHERE sequence = $1";
    let Some((digest,)) = writing.fetch::<(String,)>(last, &[Value::Number(to)]).await?.into_iter().next() else {
        return Ok(());
    };
    writing.execute("DELETE FROM audit WHERE sequence <= $1", &[Value::Number(to)]).await?;
    set_mark(writing, BEGIN, (to, &digest)).await
}

impl Catalogue {
    /// A page of records: those of a tenant, or all of them.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn records(&self, tenant: Option<&Id>, page: &Page) -> Result<Vec<(i64, Record)>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.map_or("", Id::as_str)), at, id, after, before, like, limit];
        let rows: Vec<Row> = if page.is_newest_first {
            let sql = select!(
                "WHERE ($1 = '' OR tenant = $1) AND (at < $2 OR (at = $2 AND id < $3)) AND at >= $4 AND at <= $5 \
                 AND ($6 = '' OR LOWER(action) LIKE $6 ESCAPE '!' OR LOWER(object) LIKE $6 ESCAPE '!') \
                 ORDER BY at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE ($1 = '' OR tenant = $1) AND (at > $2 OR (at = $2 AND id > $3)) AND at >= $4 AND at <= $5 \
                 AND ($6 = '' OR LOWER(action) LIKE $6 ESCAPE '!' OR LOWER(object) LIKE $6 ESCAPE '!') ORDER BY at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(|row| read(row).map(|(sequence, record, _, _)| (sequence, record))).collect()
    }

    /// Checks the chain of all records.
    ///
    /// # Errors
    /// When the database fails. A chain that does not hold is no error.
    pub async fn check_audit(&self) -> Result<Checked, Error> {
        let mut checked = Checked::default();
        let setting = async |name: &'static str| {
            let sql = "SELECT value FROM settings WHERE name = $1";
            let found = self.database.fetch::<(String,)>(sql, &[Value::Text(name)]).await?;
            Ok::<_, Error>(found.into_iter().next().and_then(|(value,)| read_mark(&value)).unwrap_or_default())
        };
        let head = setting(HEAD).await?;
        let (mut last, mut previous) = setting(BEGIN).await?;
        loop {
            let values = [Value::Number(last), Value::Number(head.0), Value::Number(CHECKED)];
            let sql = select!("WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3");
            let rows: Vec<Row> = self.database.fetch(sql, &values).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let (sequence, found) = (row.0, self.check_one(row, last, &previous));
                checked.records += 1;
                let (digest, broken) = found;
                if let Some(broken) = broken.filter(|_| checked.breaks.len() < BREAKS_MAX) {
                    checked.breaks.push(broken);
                }
                (last, previous) = (sequence, digest);
            }
        }
        if (last, &previous) != (head.0, &head.1) && checked.breaks.len() < BREAKS_MAX {
            checked.breaks.push(Break { sequence: last + 1, id: String::new(), why: "the newest records are missing" });
        }
        checked.newest = head.0;
        Ok(checked)
    }

    /// Checks one record against the one before. Returns the digest that it has.
    fn check_one(&self, row: Row, last: i64, previous: &str) -> (String, Option<Break>) {
        let (sequence, id, digest) = (row.0, row.1.clone(), row.12.clone());
        let is_next = sequence == last + 1;
        let why = match read(row) {
            Err(_) => Some("it cannot be read"),
            _ if !is_next => Some("records before it are missing"),
            Ok((_, _, kept, _)) if kept != previous => Some("it does not follow the record before"),
            Ok((_, record, kept, digest)) => {
                (digest_of(&self.audit_key, sequence, &record, &kept) != digest).then_some("it was changed")
            }
        };
        (digest, why.map(|why| Break { sequence, id, why }))
    }
}

/// A record, with its sequence, the digest before, and its own.
fn read(row: Row) -> Result<(i64, Record, String, String), Error> {
    let (sequence, id, at, tenant, actor, credential, action, object, changes, result, request_id, previous, digest) =
        row;
    let unreadable = || Error::Unreadable(format!("audit record {sequence}"));
    let tenant = if tenant.is_empty() { None } else { Some(Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?) };
    let id = Id::parse(Kind::Event, &id).ok_or_else(unreadable)?;
    let at = UnixMillis(at);
    let record = Record { id, at, tenant, actor, credential, action, object, changes, result, request_id };
    Ok((sequence, record, previous, digest))
}
