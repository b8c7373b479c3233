//! Issuers of tokens (JWT), each of a tenant. Their keys are in the metadata log, and not here.

use media::UnixMillis;

use crate::database::{Value, Writing};
use crate::id::{Id, Kind};
use crate::rows::{Page, one};
use crate::{Catalogue, Error};

/// Most issuers of a tenant: its sites, and their successors.
pub const ISSUERS_MAX: i64 = 8;
/// Most issuers in all: control fetches the keys of each.
const ALL_MAX: i64 = 1_024;

/// An issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    pub id: Id,
    pub tenant: Id,
    /// What its tokens have as `iss`.
    pub url: String,
    /// JSON, which the caller reads again.
    pub settings: String,
    pub version: i64,
    pub created_at: UnixMillis,
}

type Row = (String, String, String, String, i64, i64);

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, tenant, url, settings, version, created_at FROM issuers ", $rest)
    };
}

impl Catalogue {
    /// All issuers, oldest first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn issuers(&self) -> Result<Vec<Issuer>, Error> {
        let rows = self.database.fetch(select!("ORDER BY created_at, id"), &[]).await?;
        rows.into_iter().map(read).collect()
    }

    /// A tenant's issuer; `None` when it has none with this identity.
    ///
    /// # Errors
    /// As [`Catalogue::issuers`].
    pub async fn find_issuer(&self, tenant: &Id, id: &str) -> Result<Option<Issuer>, Error> {
        let values = [Value::Text(tenant.as_str()), Value::Text(id)];
        let rows = self.database.fetch(select!("WHERE tenant = $1 AND id = $2"), &values).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// A page of a tenant's issuers.
    ///
    /// # Errors
    /// As [`Catalogue::issuers`].
    pub async fn issuers_of(&self, tenant: &Id, page: &Page) -> Result<Vec<Issuer>, Error> {
        let [at, id, after, before, like, limit] = page.values();
        let values = [Value::Text(tenant.as_str()), at, id, after, before, like, limit];
        let rows = if page.is_newest_first {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at < $2 OR (created_at = $2 AND id < $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(url) LIKE $6 ESCAPE '!') ORDER BY created_at DESC, id DESC LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        } else {
            let sql = select!(
                "WHERE tenant = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND created_at >= $4 AND created_at <= $5 \
                 AND ($6 = '' OR LOWER(url) LIKE $6 ESCAPE '!') ORDER BY created_at, id LIMIT $7"
            );
            self.database.fetch(sql, &values).await?
        };
        rows.into_iter().map(read).collect()
    }
}

pub(crate) async fn create(writing: &mut Writing, issuer: &Issuer) -> Result<(), Error> {
    let tenant = Value::Text(issuer.tenant.as_str());
    if writing.fetch::<(String,)>("SELECT id FROM tenants WHERE id = $1", &[tenant]).await?.is_empty() {
        return Err(Error::Gone);
    }
    let counts = "SELECT (SELECT COUNT(*) FROM issuers WHERE tenant = $1), (SELECT COUNT(*) FROM issuers)";
    let counts = writing.fetch::<(i64, i64)>(counts, &[tenant]).await?;
    if counts.iter().any(|(own, all)| *own >= ISSUERS_MAX || *all >= ALL_MAX) {
        return Err(Error::FullOf("issuers"));
    }
    let values = [
        Value::Text(issuer.id.as_str()),
        tenant,
        Value::Text(&issuer.url),
        Value::Text(&issuer.settings),
        Value::Number(issuer.version),
        Value::Number(issuer.created_at.0),
    ];
    let put = "INSERT INTO issuers (id, tenant, url, settings, version, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    writing.execute(put, &values).await?;
    Ok(())
}

/// Writes an issuer over the version before its own.
pub(crate) async fn update(writing: &mut Writing, issuer: &Issuer) -> Result<(), Error> {
    let values = [
        Value::Text(issuer.id.as_str()),
        Value::Text(issuer.tenant.as_str()),
        Value::Text(&issuer.url),
        Value::Text(&issuer.settings),
        Value::Number(issuer.version),
    ];
    let update =
        "UPDATE issuers SET url = $3, settings = $4, version = $5 WHERE id = $1 AND tenant = $2 AND version = $5 - 1";
    one(writing.execute(update, &values).await?)
}

pub(crate) async fn delete(writing: &mut Writing, issuer: &Issuer) -> Result<(), Error> {
    let values = [Value::Text(issuer.id.as_str()), Value::Text(issuer.tenant.as_str()), Value::Number(issuer.version)];
    one(writing.execute("DELETE FROM issuers WHERE id = $1 AND tenant = $2 AND version = $3", &values).await?)
}

fn read(row: Row) -> Result<Issuer, Error> {
    let (id, tenant, url, settings, version, created_at) = row;
    let unreadable = || Error::Unreadable(format!("issuer {id:?}"));
    Ok(Issuer {
        tenant: Id::parse(Kind::Tenant, &tenant).ok_or_else(unreadable)?,
        id: Id::parse(Kind::Issuer, &id).ok_or_else(unreadable)?,
        url,
        settings,
        version,
        created_at: UnixMillis(created_at),
    })
}

#[cfg(test)]
mod tests {
    use messages::Pepper;

    use super::*;
    use crate::{Commit, Edit, Location, PublicKey, Record, SIGNING_KEYS_MAX, SigningKey};

    async fn commit(catalogue: &Catalogue, edit: Edit) -> Result<(), Error> {
        let (id, at) = (Id::draw(Kind::Event, UnixMillis(0)), UnixMillis(0));
        let text = String::new;
        let (actor, credential, action, object) = (text(), text(), text(), text());
        let (changes, result, request_id) = ("{}".to_owned(), text(), text());
        let record = Record { id, at, tenant: None, actor, credential, action, object, changes, result, request_id };
        catalogue.commit(Commit { edit, record, answer: None }).await
    }

    #[tokio::test]
    async fn keys_and_issuers_are_a_tenants_own_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let pepper = Pepper::from_bytes(&[7; 32]).unwrap();
        let path = directory.path().join("catalogue.db");
        let catalogue = Catalogue::open(Location::File(&path), &pepper).await.unwrap().0;
        let (own, other) = (Id::default_tenant(), Id::draw(Kind::Tenant, UnixMillis(1)));
        let key = |n: u8| SigningKey {
            id: Id::draw(Kind::SigningKey, UnixMillis(n.into())),
            tenant: own.clone(),
            name: String::new(),
            public_key: if n.is_multiple_of(2) {
                PublicKey::Control([n; 32])
            } else {
                PublicKey::Registered(format!("{{\"n\":{n}}}"))
            },
            created_at: UnixMillis(n.into()),
            not_after: UnixMillis(9_000),
            version: 1,
        };
        for n in 0..u8::try_from(SIGNING_KEYS_MAX).unwrap() {
            commit(&catalogue, Edit::CreateSigningKey(key(n))).await.unwrap();
        }
        let full = commit(&catalogue, Edit::CreateSigningKey(key(200))).await.unwrap_err();
        assert!(matches!(full, Error::FullOf(_)), "{full}");
        let all = catalogue.signing_keys().await.unwrap();
        assert_eq!((all.len(), &all[3].public_key), (32, &key(3).public_key));
        assert!(catalogue.find_signing_key(&other, all[0].id.as_str()).await.unwrap().is_none());
        commit(&catalogue, Edit::DeleteSigningKey(all[0].clone())).await.unwrap();
        let again = SigningKey { id: Id::draw(Kind::SigningKey, UnixMillis(5)), ..all[1].clone() };
        let taken = commit(&catalogue, Edit::CreateSigningKey(again)).await.unwrap_err();
        assert!(matches!(taken, Error::SigningKeyTaken), "{taken}");
        let gone = commit(&catalogue, Edit::DeleteSigningKey(all[0].clone())).await.unwrap_err();
        assert!(matches!(gone, Error::VersionMismatch), "{gone}");

        let issuer = |tenant: &Id| Issuer {
            id: Id::draw(Kind::Issuer, UnixMillis(1)),
            tenant: tenant.clone(),
            url: "https://idp.example/".to_owned(),
            settings: "{}".to_owned(),
            version: 1,
            created_at: UnixMillis(1),
        };
        let gone = commit(&catalogue, Edit::CreateIssuer(issuer(&other))).await.unwrap_err();
        assert!(matches!(gone, Error::Gone), "a tenant that is not there: {gone}");
        for _ in 0..ISSUERS_MAX {
            commit(&catalogue, Edit::CreateIssuer(issuer(&own))).await.unwrap();
        }
        assert!(matches!(commit(&catalogue, Edit::CreateIssuer(issuer(&own))).await, Err(Error::FullOf("issuers"))));
        let first = catalogue.issuers().await.unwrap().remove(0);
        let next = Issuer { settings: "{\"a\":1}".to_owned(), version: 2, ..first.clone() };
        commit(&catalogue, Edit::UpdateIssuer(next.clone())).await.unwrap();
        assert!(matches!(commit(&catalogue, Edit::DeleteIssuer(first)).await, Err(Error::VersionMismatch)));
        assert_eq!(catalogue.find_issuer(&own, next.id.as_str()).await.unwrap().as_ref(), Some(&next));
        commit(&catalogue, Edit::DeleteIssuer(next)).await.unwrap();
        assert_eq!(catalogue.issuers().await.unwrap().len(), 7);
    }
}
