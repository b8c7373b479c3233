//! Who may watch which stream.

use std::collections::BTreeMap;

use media::StreamId;

use crate::database::{Value, Writing};
use crate::{Catalogue, Error, Id, Kind};

/// What streams are that have no row.
pub(crate) const PUBLIC: &str = "public";

impl Catalogue {
    /// The visibility of all streams that are not public, by the names that the caller gave them.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn visibilities(&self) -> Result<BTreeMap<StreamId, String>, Error> {
        let rows =
            self.database.fetch::<(String, String)>("SELECT name, visibility FROM stream_visibility", &[]).await?;
        let read = |(name, visibility): (String, String)| {
            let unreadable = |error| Error::Unreadable(format!("{name:?}: {error}"));
            Ok((StreamId::new(&name).map_err(unreadable)?, visibility))
        };
        rows.into_iter().map(read).collect()
    }
}

impl Catalogue {
    /// Slugs of the tenants that own streams, by the streams' names; streams of the tenant `default` are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owners(&self) -> Result<BTreeMap<String, String>, Error> {
        let owners = "SELECT streams.name, tenants.slug FROM streams JOIN tenants ON tenants.id = streams.tenant \
                      WHERE tenants.slug <> 'default'";
        Ok(self.database.fetch::<(String, String)>(owners, &[]).await?.into_iter().collect())
    }

    /// The tenant of a stream; `None` when there is no such stream.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner(&self, stream: &str) -> Result<Option<Id>, Error> {
        let rows = self
            .database
            .fetch::<(String,)>("SELECT tenant FROM streams WHERE name = $1", &[Value::Text(stream)])
            .await?;
        Ok(rows.into_iter().next().and_then(|(tenant,)| Id::parse(Kind::Tenant, &tenant)))
    }

    /// Slugs of all tenants, by their identities.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn slugs(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.database.fetch::<(String, String)>("SELECT id, slug FROM tenants", &[]).await?.into_iter().collect())
    }
}

/// Sets the visibility of a stream.
pub(crate) async fn set_visibility(writing: &mut Writing, name: &StreamId, visibility: &str) -> Result<u64, Error> {
    let name = Value::Text(name.as_str());
    let found = writing.fetch::<(String,)>("SELECT name FROM streams WHERE name = $1", &[name]).await?;
    if visibility == PUBLIC {
        forget_visibility(writing, name).await?;
    } else if !found.is_empty() {
        let put = "INSERT INTO stream_visibility (name, visibility) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET visibility = excluded.visibility";
        writing.execute(put, &[name, Value::Text(visibility)]).await?;
    }
    Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
}

/// What a stream was is no longer known once it is gone: another of its name is public.
pub(crate) async fn forget_visibility(writing: &mut Writing, name: Value<'_>) -> Result<(), Error> {
    writing.execute("DELETE FROM stream_visibility WHERE name = $1", &[name]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use media::UnixMillis;
    use messages::Pepper;

    use super::*;
    use crate::{Location, Stream, StreamKey};

    async fn in_file(path: &std::path::Path, pepper: &Pepper) -> Catalogue {
        Catalogue::open(Location::File(path), pepper).await.unwrap().0
    }

    async fn keeps(catalogue: &Catalogue, pepper: &Pepper) {
        let name = StreamId::new("hall").unwrap();
        let unknown = catalogue.set_visibility(&name, "token").await.unwrap_err();
        assert!(matches!(unknown, Error::NoStream(_)), "{unknown}");
        let stream =
            Stream { name: name.clone(), key: StreamKey::random().kept(pepper, &name), created_at: UnixMillis(0) };
        catalogue.create_stream(&stream).await.unwrap();
        assert!(catalogue.visibilities().await.unwrap().is_empty());
        for visibility in ["token", "unlisted"] {
            catalogue.set_visibility(&name, visibility).await.unwrap();
            assert_eq!(catalogue.visibilities().await.unwrap(), [(name.clone(), visibility.to_owned())].into());
        }
        catalogue.delete_stream(&name).await.unwrap();
        catalogue.create_stream(&stream).await.unwrap();
        assert!(catalogue.visibilities().await.unwrap().is_empty(), "another stream of the name is public");
        catalogue.delete_stream(&name).await.unwrap();
        catalogue.create_stream_for(&stream, "token").await.unwrap();
        assert_eq!(catalogue.visibilities().await.unwrap(), [(name.clone(), "token".to_owned())].into());
        catalogue.delete_stream(&name).await.unwrap();
        catalogue.create_stream(&stream).await.unwrap();
        catalogue.set_visibility(&name, "members").await.unwrap();
        catalogue.set_visibility(&name, "public").await.unwrap();
        assert!(catalogue.visibilities().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn visibility_is_kept_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pepper) = (directory.path().join("catalogue.db"), Pepper::from_bytes(&[7; 32]).unwrap());
        let catalogue = in_file(&path, &pepper).await;
        keeps(&catalogue, &pepper).await;
        catalogue.close().await;
        assert!(in_file(&path, &pepper).await.visibilities().await.unwrap().is_empty());
    }
}
