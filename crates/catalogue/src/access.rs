//! Who may watch which stream, and the public keys of viewer tokens.

use std::collections::BTreeMap;

use media::{StreamId, UnixMillis};

use crate::database::{Value, Writing};
use crate::{Catalogue, Error};

/// Most signing keys: two control nodes, each with its successor, for years.
pub const SIGNING_KEYS_MAX: i64 = 64;

/// What streams are that have no row.
const PUBLIC: &str = "public";

/// A key that signs viewer tokens, without its private part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningKey {
    /// Ed25519.
    pub public_key: [u8; 32],
    pub created_at: UnixMillis,
    pub not_after: UnixMillis,
}

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

    /// All keys that sign viewer tokens, also those that have ended, oldest first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Error> {
        let all = "SELECT public_key, created_at, not_after FROM signing_keys ORDER BY created_at";
        let rows = self.database.fetch::<(String, i64, i64)>(all, &[]).await?;
        let read = |(key, created_at, not_after): (String, i64, i64)| {
            let unreadable = || Error::Unreadable(format!("signing key {key:?}"));
            let public_key = bytes_of(&key).ok_or_else(unreadable)?;
            Ok(SigningKey { public_key, created_at: UnixMillis(created_at), not_after: UnixMillis(not_after) })
        };
        rows.into_iter().map(read).collect()
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

/// Adds a key, if it is not there.
pub(crate) async fn add_signing_key(writing: &mut Writing, key: &SigningKey) -> Result<(), Error> {
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM signing_keys", &[]).await?;
    if counts.iter().any(|(count,)| *count >= SIGNING_KEYS_MAX) {
        return Err(Error::SigningKeysFull);
    }
    let text: String = key.public_key.iter().map(|byte| format!("{byte:02x}")).collect();
    let values = [Value::Text(&text), Value::Number(key.created_at.0), Value::Number(key.not_after.0)];
    let put = "INSERT INTO signing_keys (public_key, created_at, not_after) VALUES ($1, $2, $3) \
               ON CONFLICT (public_key) DO NOTHING";
    writing.execute(put, &values).await?;
    Ok(())
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
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
        let key = SigningKey { public_key: [7; 32], created_at: UnixMillis(1), not_after: UnixMillis(9) };
        for _ in 0..2 {
            catalogue.add_signing_key(&key).await.unwrap();
            assert_eq!(catalogue.signing_keys().await.unwrap(), [key]);
        }
    }

    #[tokio::test]
    async fn visibility_and_keys_are_kept_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pepper) = (directory.path().join("catalogue.db"), Pepper::from_bytes(&[7; 32]).unwrap());
        let catalogue = in_file(&path, &pepper).await;
        keeps(&catalogue, &pepper).await;
        catalogue.close().await;
        assert_eq!(in_file(&path, &pepper).await.signing_keys().await.unwrap().len(), 1);
    }
}
