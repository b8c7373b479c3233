//! Members: what a person may do in a tenant. A person is told from others by an issuer's name for it, or by the name of a password; one
//! person may be a member of several tenants.

use media::{Digest, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, one};
use crate::{Catalogue, Error};

/// Most members of a tenant: a school with its teachers and pupils.
pub const MEMBERS_MAX: i64 = 10_000;
/// Deleted members that are read at once: as many as one entry of the metadata log takes.
const GONE_READ_MAX: i64 = 128;
/// Most memberships of a person that are looked at.
const MEMBERSHIPS_MAX: i64 = 64;

/// Who somebody is, in all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// Signs in with this name and a password.
    Named(String),
    /// Signs in at an issuer, which calls the person `subject`.
    Issued { issuer: String, subject: String },
}

impl Person {
    /// The person who signs in with a name: upper and lower case are one.
    pub fn named(name: &str) -> Self {
        Self::Named(name.trim().to_lowercase())
    }

    /// What tells the person from others.
    pub fn key(&self) -> String {
        match self {
            Self::Named(name) => format!("name:{name}"),
            // No URL has a space.
            Self::Issued { issuer, subject } => format!("issuer:{issuer} {subject}"),
        }
    }

    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Named(_) => None,
            Self::Issued { issuer, .. } => Some(issuer),
        }
    }

    /// What the issuer calls the person, or the name for signing in.
    pub fn subject(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Issued { subject, .. } => subject,
        }
    }
}

/// Whether a member may do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Nobody has used the invitation yet.
    Invited,
    Active,
    Suspended,
}

impl MemberState {
    /// Its name, here and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// The state of a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Invited, Self::Active, Self::Suspended].into_iter().find(|state| state.name() == name)
    }
}

/// A member as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: Id,
    pub tenant: Id,
    /// What people call it.
    pub name: String,
    /// `None` until the invitation is used.
    pub person: Option<Person>,
    /// `viewer`, `producer`, `owner` or `operator`.
    pub role: String,
    pub state: MemberState,
    /// The issuer's rules decide the role at each sign-in.
    pub is_by_rule: bool,
    /// SHA-256 of the set-up link that may be used, and until when.
    pub invite: Option<(Digest, UnixMillis)>,
    pub version: i64,
    pub created_at: UnixMillis,
}

impl Member {
    /// Whether it may decide who else is a member.
    fn is_in_charge(&self) -> bool {
        self.state == MemberState::Active && matches!(self.role.as_str(), "owner" | "operator")
    }

    fn is_operator(&self) -> bool {
        self.state == MemberState::Active && self.role == "operator"
    }
}

type Row = (
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    String,
    String,
    i64,
    Option<String>,
    Option<i64>,
    i64,
    i64,
);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, name, issuer, subject, role, state, by_rule, invite, invite_until, version, created_at FROM members ",
            $rest
        )
    };
}

impl Catalogue {
    /// A tenant's member; `None` when it has none with this identity.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_member(&self, tenant: &Id, id: &str) -> Result<Option<Member>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(id)];
        self.one_member(select!("WHERE tenant = $1 AND id = $2"), &values).await
    }

    /// The member whose set-up link this is the digest of.
    ///
    /// # Errors
    /// As [`Catalogue::find_member`].
    pub async fn invited_member(&self, link: &Digest) -> Result<Option<Member>, Error> {
        self.one_member(select!("WHERE invite = $1"), &[Value::Text(&link.to_string())]).await
    }

    /// The newest operator that nobody is yet.
    ///
    /// # Errors
    /// As [`Catalogue::find_member`].
    pub async fn invited_operator(&self) -> Result<Option<Member>, Error> {
        let sql = select!("WHERE role = 'operator' AND state = 'invited' ORDER BY created_at DESC, id DESC LIMIT 1");
        self.one_member(sql, &[]).await
    }

    async fn one_member(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Member>, Error> {
        self.database.fetch(sql, values).await?.into_iter().next().map(read).transpose()
    }

    /// What a person is a member of, and active in: the oldest membership first.
    ///
    /// # Errors
    /// As [`Catalogue::find_member`].
    pub async fn memberships(&self, person: &str) -> Result<Vec<Member>, Error> {
        let sql = select!("WHERE person = $1 AND state = 'active' ORDER BY created_at, id LIMIT $2");
        let rows = self.database.fetch(sql, &[Value::Text(person), Value::Number(MEMBERSHIPS_MAX)]).await?;
        rows.into_iter().map(read).collect()
    }

    /// A person's membership of a tenant, in whatever state.
    ///
    /// # Errors
    /// As [`Catalogue::find_member`].
    pub async fn membership(&self, tenant: &Id, person: &str) -> Result<Option<Member>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(person)];
        self.one_member(select!("WHERE tenant = $1 AND person = $2"), &values).await
    }

    /// Whether somebody has become an operator: until then, nobody has set up the server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_operator(&self) -> Result<bool, Error> {
        let sql = "SELECT id FROM members WHERE role = 'operator' AND state <> 'invited' LIMIT 1";
        Ok(!self.database.fetch::<(String,)>(sql, &[]).await?.is_empty())
    }

    /// Members that were deleted, and of whom the metadata log does not say so yet: the oldest of them.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn members_gone(&self) -> Result<Vec<(Id, UnixMillis)>, Error> {
        let sql = "SELECT id, at FROM members_gone ORDER BY at, id LIMIT $1";
        let rows = self.database.fetch::<(String, i64)>(sql, &[Value::Number(GONE_READ_MAX)]).await?;
        let read = |(id, at): (String, i64)| {
            let known = Id::parse(Kind::Member, &id).ok_or_else(|| Error::Unreadable(format!("member {id:?}")))?;
            Ok((known, UnixMillis(at)))
        };
        rows.into_iter().map(read).collect()
    }

    /// What is kept of a person's password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn password_of(&self, person: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT hash FROM passwords WHERE person = $1";
        let rows = self.database.fetch::<(String,)>(sql, &[Value::Text(person)]).await?;
        Ok(rows.into_iter().next().map(|(hash,)| hash))
    }

    /// A page of a tenant's members.
    ///
    /// # Errors
    /// As [`Catalogue::find_member`].
    pub async fn members(&self, tenant: &Id, page: &Page) -> Result<Vec<Member>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.as_str()), at, id, after, before, like, limit];
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!') ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(name) LIKE $6 ESCAPE '!') ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }
}

pub(crate) async fn create(writing: &mut Writing, member: &Member) -> Result<(), Error> {
    let tenant = Value::Text(member.tenant.as_str());
    if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
        return Err(Error::Gone);
    }
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM members WHERE tenant = $1", &[tenant]).await?;
    if counts.iter().any(|(count,)| *count >= MEMBERS_MAX) {
        return Err(Error::FullOf("members of this tenant"));
    }
    let insert = "INSERT INTO members (id, tenant, name, person, issuer, subject, role, state, by_rule, invite, invite_until, version, \
                  created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    write(writing, member, insert, &[Value::Number(member.version), Value::Number(member.created_at.0)]).await?;
    end_other_links(writing, member).await
}

/// Writes a member over the version before its own. Where the person gains or loses something by it, its links elsewhere end.
pub(crate) async fn update(writing: &mut Writing, member: &Member) -> Result<(), Error> {
    let before = find(writing, member).await?;
    if before.is_none_or(|before| may_differ(&before, member)) {
        end_other_links(writing, member).await?;
    }
    ensure_led_without(writing, member, Some(member)).await?;
    let update = "UPDATE members SET name = $3, person = $4, issuer = $5, subject = $6, role = $7, state = $8, by_rule = $9, \
                  invite = $10, invite_until = $11, version = $12 WHERE id = $1 AND tenant = $2 AND version = $12 - 1";
    one(write(writing, member, update, &[Value::Number(member.version)]).await?)
}

/// Whether the person of a member is another one now, or may do something else.
fn may_differ(before: &Member, after: &Member) -> bool {
    before.person != after.person || before.role != after.role || before.state != after.state
}

/// Ends the links by which others could give a person a new password. Whoever has such a link is the person in all tenants, and was given it
/// for what the person could do then.
async fn end_other_links(writing: &mut Writing, member: &Member) -> Result<(), Error> {
    let Some(person) = member.person.as_ref().map(Person::key) else { return Ok(()) };
    let end = "UPDATE members SET invite = NULL, invite_until = NULL, version = version + 1 \
               WHERE person = $1 AND id <> $2 AND invite IS NOT NULL";
    writing.execute(end, &[Value::Text(&person), Value::Text(member.id.as_str())]).await?;
    Ok(())
}

async fn find(writing: &mut Writing, member: &Member) -> Result<Option<Member>, Error> {
    let values = [Value::Text(member.tenant.as_str()), Value::Text(member.id.as_str())];
    let found = writing.fetch(select!("WHERE tenant = $1 AND id = $2"), &values).await?;
    found.into_iter().next().map(read).transpose()
}

pub(crate) async fn delete(writing: &mut Writing, member: &Member) -> Result<(), Error> {
    ensure_led_without(writing, member, None).await?;
    let values = [Value::Text(member.id.as_str()), Value::Text(member.tenant.as_str()), Value::Number(member.version)];
    one(writing.execute("DELETE FROM members WHERE id = $1 AND tenant = $2 AND version = $3", &values).await?)?;
    let gone = "INSERT INTO members_gone (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    let at = writing.now().await?;
    writing.execute(gone, &[Value::Text(member.id.as_str()), Value::Number(at)]).await?;
    forget_strangers(writing).await
}

/// Forgets that members are gone, because the metadata log says so.
pub(crate) async fn gone_is_logged(writing: &mut Writing, members: &[Id]) -> Result<(), Error> {
    for id in members {
        writing.execute("DELETE FROM members_gone WHERE id = $1", &[Value::Text(id.as_str())]).await?;
    }
    Ok(())
}

/// Forgets the passwords and sessions of whoever is no member of anything any more.
pub(crate) async fn forget_strangers(writing: &mut Writing) -> Result<(), Error> {
    let is_nobody = [
        "DELETE FROM passwords WHERE person NOT IN (SELECT person FROM members WHERE person IS NOT NULL)",
        "DELETE FROM sessions WHERE person NOT IN (SELECT person FROM members WHERE person IS NOT NULL)",
    ];
    for sql in is_nobody {
        writing.execute(sql, &[]).await?;
    }
    Ok(())
}

/// Forgets members that were deleted after a backup, whatever they were.
pub(crate) async fn forget_after_restore(writing: &mut Writing, gone: &[String]) -> Result<(), Error> {
    for id in gone {
        writing.execute("DELETE FROM members WHERE id = $1", &[Value::Text(id)]).await?;
    }
    forget_strangers(writing).await
}

async fn write(writing: &mut Writing, member: &Member, sql: &'static str, last: &[Value<'_>]) -> Result<u64, Error> {
    let person = member.person.as_ref().map(Person::key);
    let invite = member.invite.map(|(digest, _)| digest.to_string());
    let values = [
        Value::Text(member.id.as_str()),
        Value::Text(member.tenant.as_str()),
        Value::Text(&member.name),
        Value::MaybeText(person.as_deref()),
        Value::MaybeText(member.person.as_ref().and_then(Person::issuer)),
        Value::MaybeText(member.person.as_ref().map(Person::subject)),
        Value::Text(&member.role),
        Value::Text(member.state.name()),
        Value::Number(i64::from(member.is_by_rule)),
        Value::MaybeText(invite.as_deref()),
        Value::MaybeNumber(member.invite.map(|(_, until)| until.0)),
    ];
    let values: Vec<Value<'_>> = values.iter().chain(last).copied().collect();
    let taken = |error: sqlx::Error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::MemberExists,
        _ => Error::Database(error),
    };
    writing.execute(sql, &values).await.map_err(taken)
}

/// Refuses a change after which nobody could decide who is a member: of the tenant, or, by an operator, of the cluster.
async fn ensure_led_without(writing: &mut Writing, member: &Member, after: Option<&Member>) -> Result<(), Error> {
    let Some(before) = find(writing, member).await? else { return Ok(()) };
    let values = [Value::Text(member.tenant.as_str()), Value::Text(member.id.as_str())];
    if before.is_in_charge() && !after.is_some_and(Member::is_in_charge) {
        let others = "SELECT id FROM members WHERE tenant = $1 AND id <> $2 AND state = 'active' AND role IN ('owner', 'operator') LIMIT 1";
        if writing.fetch::<(String,)>(others, &values).await?.is_empty() {
            return Err(Error::LastOwner);
        }
    }
    if before.is_operator() && !after.is_some_and(Member::is_operator) {
        let others = "SELECT id FROM members WHERE id <> $1 AND state = 'active' AND role = 'operator' LIMIT 1";
        if writing.fetch::<(String,)>(others, &[Value::Text(member.id.as_str())]).await?.is_empty() {
            return Err(Error::LastOwner);
        }
    }
    Ok(())
}

fn read(row: Row) -> Result<Member, Error> {
    let (id, tenant, name, issuer, subject, role, state, by_rule, invite, invite_until, version, created_at) = row;
    let unreadable = || Error::Unreadable(format!("member {id:?}"));
    let digest = invite.as_deref().map(str::parse::<Digest>).transpose().map_err(|_| unreadable())?;
    Ok(Member {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        person: match (issuer, subject) {
            (_, None) => None,
            (None, Some(name)) => Some(Person::Named(name)),
            (Some(issuer), Some(subject)) => Some(Person::Issued { issuer, subject }),
        },
        state: MemberState::parse(&state).ok_or_else(unreadable)?,
        id: Id::parse(Kind::Member, &id).ok_or_else(unreadable)?,
        name,
        role,
        is_by_rule: by_rule != 0,
        invite: digest.zip(invite_until.map(UnixMillis)),
        version,
        created_at: UnixMillis(created_at),
    })
}

#[cfg(test)]
mod tests;
