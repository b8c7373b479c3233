//! Streams and their keys.

use media::{StreamId, UnixMillis};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::{Catalogue, Error, STREAMS_MAX, StreamKey};

/// A stream as the catalogue stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub name: StreamId,
    /// Key of its publisher.
    pub key: StreamKey,
    /// When the stream was created.
    pub created_at: UnixMillis,
}

impl Catalogue {
    /// Creates a stream.
    ///
    /// # Errors
    /// When the name exists already, another stream has the key, the catalogue is full, or the name reads as a flag or a playlist.
    pub async fn create_stream(&self, stream: &Stream) -> Result<(), Error> {
        if self.find_stream(&stream.name).await?.is_some() {
            return Err(Error::StreamExists(stream.name.clone()));
        }
        if is_misleading(stream.name.as_str()) {
            return Err(Error::MisleadingName(stream.name.clone()));
        }
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM streams").fetch_one(&self.pool).await?;
        if count >= STREAMS_MAX {
            return Err(Error::Full);
        }
        self.insert(stream).await
    }

    async fn insert(&self, stream: &Stream) -> Result<(), Error> {
        sqlx::query("INSERT INTO streams (name, stream_key, created_at) VALUES ($1, $2, $3)")
            .bind(stream.name.as_str())
            .bind(stream.key.expose())
            .bind(stream.created_at.0)
            .execute(&self.pool)
            .await
            .map_err(|error| key_taken(error, &stream.name))?;
        Ok(())
    }

    /// Gives a stream another key.
    ///
    /// # Errors
    /// When there is no such stream, or another has the key.
    pub async fn set_key(&self, name: &StreamId, key: &StreamKey) -> Result<(), Error> {
        let changed = sqlx::query("UPDATE streams SET stream_key = $2 WHERE name = $1")
            .bind(name.as_str())
            .bind(key.expose())
            .execute(&self.pool)
            .await
            .map_err(|error| key_taken(error, name))?;
        if changed.rows_affected() == 0 { Err(Error::NoStream(name.clone())) } else { Ok(()) }
    }

    /// Deletes a stream and its key.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn delete_stream(&self, name: &StreamId) -> Result<(), Error> {
        let deleted =
            sqlx::query("DELETE FROM streams WHERE name = $1").bind(name.as_str()).execute(&self.pool).await?;
        if deleted.rows_affected() == 0 { Err(Error::NoStream(name.clone())) } else { Ok(()) }
    }

    /// The stream of this name; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub async fn find_stream(&self, name: &StreamId) -> Result<Option<Stream>, Error> {
        let row = sqlx::query("SELECT name, stream_key, created_at FROM streams WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn stream(&self, name: &StreamId) -> Result<Stream, Error> {
        self.find_stream(name).await?.ok_or_else(|| Error::NoStream(name.clone()))
    }

    /// All streams, by name.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub async fn streams(&self) -> Result<Vec<Stream>, Error> {
        let rows = sqlx::query("SELECT name, stream_key, created_at FROM streams ORDER BY name").fetch_all(&self.pool);
        rows.await?.iter().map(read).collect()
    }
}

/// Whether commands would take the name for a flag, or people and players would take the stream's URL for a playlist's.
fn is_misleading(name: &str) -> bool {
    name.starts_with('-') || name.to_ascii_lowercase().ends_with(".m3u8")
}

fn key_taken(error: sqlx::Error, name: &StreamId) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::KeyTaken(name.clone()),
        _ => Error::Database(error),
    }
}

fn read(row: &SqliteRow) -> Result<Stream, Error> {
    let name: String = row.try_get("name")?;
    let unreadable = |what: String| Error::Unreadable(format!("{name:?}: {what}"));
    Ok(Stream {
        name: StreamId::new(&name).map_err(|error| unreadable(error.to_string()))?,
        key: StreamKey::new(row.try_get("stream_key")?).map_err(|error| unreadable(error.to_string()))?,
        created_at: UnixMillis(row.try_get("created_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> Stream {
        Stream { name: StreamId::new(name).unwrap(), key: StreamKey::random(), created_at: UnixMillis(1_234) }
    }

    async fn open(directory: &tempfile::TempDir) -> Catalogue {
        Catalogue::open(&directory.path().join("catalogue.db")).await.unwrap()
    }

    #[tokio::test]
    async fn streams_survive_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let (b, a) = (stream("b"), stream("a"));
        let catalogue = open(&directory).await;
        catalogue.create_stream(&b).await.unwrap();
        catalogue.create_stream(&a).await.unwrap();
        catalogue.close().await;
        let catalogue = open(&directory).await;
        assert_eq!(catalogue.streams().await.unwrap(), [a.clone(), b]);
        assert_eq!(catalogue.stream(&a.name).await.unwrap(), a);
    }

    #[tokio::test]
    async fn names_and_keys_are_unique() {
        let directory = tempfile::tempdir().unwrap();
        let catalogue = open(&directory).await;
        let a = stream("a");
        catalogue.create_stream(&a).await.unwrap();
        assert!(
            matches!(catalogue.create_stream(&stream("a")).await, Err(Error::StreamExists(name)) if name == a.name)
        );
        let same_key = Stream { key: a.key.clone(), ..stream("b") };
        assert!(matches!(catalogue.create_stream(&same_key).await, Err(Error::KeyTaken(_))));
        catalogue.create_stream(&stream("b")).await.unwrap();
        assert!(matches!(catalogue.set_key(&same_key.name, &a.key).await, Err(Error::KeyTaken(_))));
    }

    #[tokio::test]
    async fn misleading_names_are_refused_where_a_stream_is_made_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let catalogue = open(&directory).await;
        for name in ["-v", "--help", "hall.m3u8", "hall.M3U8"] {
            let said = catalogue.create_stream(&stream(name)).await.unwrap_err().to_string();
            assert!(said.starts_with(&format!("a stream cannot be called {name}: ")), "{said}");
        }
        catalogue.create_stream(&stream("m3u8-hall.v1")).await.unwrap();
        // Names that an older version allowed.
        for name in ["-old", "old.m3u8"] {
            catalogue.insert(&stream(name)).await.unwrap();
            let kept = catalogue.stream(&StreamId::new(name).unwrap()).await.unwrap();
            catalogue.set_key(&kept.name, &StreamKey::random()).await.unwrap();
        }
        assert_eq!(catalogue.streams().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn key_changes_and_stream_goes() {
        let directory = tempfile::tempdir().unwrap();
        let catalogue = open(&directory).await;
        let a = stream("a");
        assert!(matches!(catalogue.set_key(&a.name, &a.key).await, Err(Error::NoStream(_))));
        catalogue.create_stream(&a).await.unwrap();
        let key = StreamKey::random();
        catalogue.set_key(&a.name, &key).await.unwrap();
        assert_eq!(catalogue.stream(&a.name).await.unwrap().key, key);
        catalogue.delete_stream(&a.name).await.unwrap();
        assert!(matches!(catalogue.stream(&a.name).await, Err(Error::NoStream(_))));
        assert!(matches!(catalogue.delete_stream(&a.name).await, Err(Error::NoStream(_))));
    }

    #[tokio::test]
    async fn file_is_private_and_keys_are_not_printed() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let catalogue = open(&directory).await;
        let a = stream("a");
        catalogue.create_stream(&a).await.unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!format!("{a:?}{catalogue:?}").contains(a.key.expose()));
    }
}
