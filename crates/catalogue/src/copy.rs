//! Copies of SQLite files that others write meanwhile, for backups. A copy of file and journal side by side may be of two moments.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::Error;
use crate::database::BUSY_WAIT_MAX;

/// Copies any SQLite file as of one moment, while others read and write it. `to` must not exist; it has no journal.
///
/// # Errors
/// When `from` is no database or is damaged, or `to` cannot be written.
pub async fn copy_database(from: &Path, to: &Path) -> Result<(), Error> {
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(BUSY_WAIT_MAX);
    let mut source = SqliteConnection::connect_with(&options).await?;
    let name =
        to.to_str().ok_or_else(|| Error::Damaged(format!("{} is no name that SQLite can write", to.display())))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source).await?;
    source.close().await?;
    check_database(to).await
}

/// Checks every page, index and constraint of an SQLite file.
///
/// # Errors
/// When something is wrong; says what.
pub async fn check_database(path: &Path) -> Result<(), Error> {
    let options = SqliteConnectOptions::new().filename(path).immutable(true).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(3)").fetch_all(&mut connection).await?;
    connection.close().await?;
    if found == ["ok"] { Ok(()) } else { Err(Error::Damaged(found.join("; "))) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use media::{StreamId, UnixMillis};
    use messages::Pepper;

    use super::*;
    use crate::{Catalogue, Location, Stream, StreamKey};

    #[tokio::test(flavor = "multi_thread")]
    async fn copy_under_writes_is_sound_and_has_all_that_was_written_before() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pepper) = (directory.path().join("catalogue.db"), Pepper::from_bytes(&[7; 32]).unwrap());
        let (catalogue, _) = Catalogue::open(Location::File(&path), &pepper).await.unwrap();
        let (written, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let write = async {
            for n in 0.. {
                let name = StreamId::new(&format!("s{n}")).unwrap();
                let key = StreamKey::random().kept(&pepper, &name);
                catalogue.create_stream(&Stream { name, key, created_at: UnixMillis(0) }).await.unwrap();
                written.store(n + 1, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
            }
        };
        let copy = async {
            for n in 0..20 {
                let before = written.load(Ordering::SeqCst);
                let to = directory.path().join(format!("copy{n}.db"));
                copy_database(&path, &to).await.unwrap();
                let after = written.load(Ordering::SeqCst) + 1;
                let copy =
                    Catalogue::open(Location::File(&to), &pepper).await.unwrap().0.streams().await.unwrap().len();
                assert!((before..=after).contains(&copy), "{copy} streams, {before} to {after} were written");
            }
            is_over.store(true, Ordering::SeqCst);
        };
        tokio::join!(write, copy);
    }

    #[tokio::test]
    async fn damaged_database_is_told_from_a_sound_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pepper) = (directory.path().join("catalogue.db"), Pepper::from_bytes(&[7; 32]).unwrap());
        let (catalogue, _) = Catalogue::open(Location::File(&path), &pepper).await.unwrap();
        let name = StreamId::new("hall").unwrap();
        let key = StreamKey::random().kept(&pepper, &name);
        let mac = key.mac.to_string();
        catalogue.create_stream(&Stream { name, key, created_at: UnixMillis(0) }).await.unwrap();
        catalogue.close().await;
        check_database(&path).await.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // The MAC is in the table and in the index of MACs.
        let at = bytes.windows(mac.len()).position(|window| window == mac.as_bytes()).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let said = check_database(&path).await.unwrap_err().to_string();
        assert!(said.starts_with("the database is damaged: ") && said.contains("index"), "{said}");
    }
}
