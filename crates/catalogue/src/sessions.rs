//! Sessions of people who are signed in, and the changes that concern people: what has to be true together is one [`People`].

use media::UnixMillis;

use crate::database::{Value, Writing};
use crate::members::{self, Member};
use crate::{Catalogue, Error};

/// Most sessions of a person: a few browsers on a few devices. The oldest goes first.
pub const SESSIONS_MAX: i64 = 20;

/// A session as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// 16 random bytes in hexadecimal. Whoever has it cannot make a cookie of it.
    pub id: String,
    /// What tells the person from others ([`crate::Person::key`]).
    pub person: String,
    pub created_at: UnixMillis,
    pub seen_at: UnixMillis,
    pub until: UnixMillis,
}

/// What happens to a member.
#[derive(Debug, Clone)]
pub enum MemberEdit {
    Create(Member),
    Update(Member),
    Delete(Member),
}

/// A password that is set.
#[derive(Debug, Clone)]
pub struct NewPassword {
    pub person: String,
    /// Argon2id, as a PHC string.
    pub hash: String,
    /// The person has none yet: somebody else's is not replaced.
    pub is_first: bool,
}

/// A change that concerns people. The parts are made in this order.
#[derive(Debug, Clone, Default)]
pub struct People {
    pub member: Option<MemberEdit>,
    pub password: Option<NewPassword>,
    /// A person whose sessions all end.
    pub end_all_of: Option<String>,
    pub begin: Option<Session>,
    /// A session that ends.
    pub end: Option<String>,
}

impl Catalogue {
    /// The session of this identity, unless its time is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, id: &str, now: UnixMillis) -> Result<Option<Session>, Error> {
        let sql = "SELECT id, person, created_at, seen_at, until FROM sessions WHERE id = $1 AND until > $2";
        let rows = self.database.fetch(sql, &[Value::Text(id), Value::Number(now.0)]).await?;
        Ok(rows.into_iter().next().map(read))
    }
}

pub(crate) async fn apply(writing: &mut Writing, people: &People, now: UnixMillis) -> Result<(), Error> {
    match &people.member {
        None => {}
        Some(MemberEdit::Create(member)) => members::create(writing, member).await?,
        Some(MemberEdit::Update(member)) => members::update(writing, member).await?,
        Some(MemberEdit::Delete(member)) => members::delete(writing, member).await?,
    }
    if let Some(password) = &people.password {
        set_password(writing, password, now).await?;
    }
    if let Some(person) = &people.end_all_of {
        writing.execute("DELETE FROM sessions WHERE person = $1", &[Value::Text(person)]).await?;
    }
    if let Some(session) = &people.begin {
        begin(writing, session, now).await?;
    }
    if let Some(id) = &people.end {
        writing.execute("DELETE FROM sessions WHERE id = $1", &[Value::Text(id)]).await?;
    }
    Ok(())
}

async fn set_password(writing: &mut Writing, password: &NewPassword, now: UnixMillis) -> Result<(), Error> {
    let values = [Value::Text(&password.person), Value::Text(&password.hash), Value::Number(now.0)];
    let changed = if password.is_first {
        let insert =
            "INSERT INTO passwords (person, hash, changed_at) VALUES ($1, $2, $3) ON CONFLICT (person) DO NOTHING";
        writing.execute(insert, &values).await?
    } else {
        writing.execute("UPDATE passwords SET hash = $2, changed_at = $3 WHERE person = $1", &values).await?
    };
    if changed == 1 { Ok(()) } else { Err(Error::NameInUse) }
}

async fn begin(writing: &mut Writing, session: &Session, now: UnixMillis) -> Result<(), Error> {
    writing.execute("DELETE FROM sessions WHERE until <= $1", &[Value::Number(now.0)]).await?;
    let values = [Value::Text(&session.person), Value::Number(SESSIONS_MAX - 1)];
    let surplus = "DELETE FROM sessions WHERE person = $1 AND id NOT IN \
                   (SELECT id FROM sessions WHERE person = $1 ORDER BY created_at DESC, id DESC LIMIT $2)";
    writing.execute(surplus, &values).await?;
    let values = [
        Value::Text(&session.id),
        Value::Text(&session.person),
        Value::Number(session.created_at.0),
        Value::Number(session.seen_at.0),
        Value::Number(session.until.0),
    ];
    let insert = "INSERT INTO sessions (id, person, created_at, seen_at, until) VALUES ($1, $2, $3, $4, $5)";
    writing.execute(insert, &values).await?;
    Ok(())
}

/// Notes when a session was seen. No session lives longer for it than `until` says.
pub(crate) async fn seen(writing: &mut Writing, id: &str, at: UnixMillis) -> Result<(), Error> {
    let update = "UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2";
    writing.execute(update, &[Value::Text(id), Value::Number(at.0)]).await?;
    Ok(())
}

fn read((id, person, created_at, seen_at, until): (String, String, i64, i64, i64)) -> Session {
    Session { id, person, created_at: UnixMillis(created_at), seen_at: UnixMillis(seen_at), until: UnixMillis(until) }
}
