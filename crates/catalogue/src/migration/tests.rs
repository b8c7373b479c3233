use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use super::*;
use crate::{Catalogue, Location};

/// Streams of the old file: enough for several pages.
const STREAMS: usize = 500;

fn pepper(byte: u8) -> Pepper {
    Pepper::from_bytes(&[byte; Pepper::BYTES]).unwrap()
}

/// A key without the characters that separate texts in a file.
fn key(n: usize) -> String {
    format!("clear-stream-key-{n:06}")
}

/// A catalogue as the first version left it when it was killed: keys in the clear in the file, in its free pages and in the journal.
async fn of_first_version(path: &Path) -> SqlitePool {
    let options =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::migrate!("./migrations").run_to(1, &pool).await.unwrap();
    for n in 0..STREAMS {
        let insert = sqlx::query("INSERT INTO streams (name, stream_key, created_at) VALUES ($1, $2, $3)");
        insert.bind(format!("s{n}")).bind(key(n)).bind(1_000_i64).execute(&pool).await.unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await.unwrap();
    sqlx::query("DELETE FROM streams WHERE created_at = 1000 AND rowid % 2 = 0").execute(&pool).await.unwrap();
    sqlx::query("UPDATE streams SET stream_key = 'clear-stream-key-journal' WHERE name = 's0'")
        .execute(&pool)
        .await
        .unwrap();
    pool
}

/// How often the beginning of all clear keys is in the files of a directory.
fn clear_keys(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(16).filter(|window| window == b"clear-stream-key").count()).sum()
}

#[tokio::test]
async fn migration_keeps_macs_and_leaves_no_clear_key_in_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.db");
    let old = of_first_version(&path).await;
    assert!(clear_keys(directory.path()) > STREAMS, "deleted ones, too");
    let (catalogue, mut were_clear) = Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
    assert_eq!(clear_keys(directory.path()), 0);
    let streams = catalogue.streams().await.unwrap();
    assert_eq!((streams.len(), were_clear.len()), (STREAMS / 2, STREAMS / 2));
    were_clear.sort_by(|a, b| a.0.cmp(&b.0));
    for (stream, (name, key)) in streams.iter().zip(&were_clear) {
        assert_eq!((&stream.name, &stream.key, stream.created_at.0), (name, &key.kept(&pepper(1), name), 1_000));
    }
    catalogue.close().await;
    old.close().await;
    assert!(Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap().1.is_empty(), "once");
}

#[tokio::test]
async fn migration_that_ended_before_it_erased_is_finished_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.db");
    let old = of_first_version(&path).await;
    // A reader keeps the journal.
    let mut reader = old.acquire().await.unwrap();
    sqlx::query("BEGIN").execute(&mut *reader).await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM streams").execute(&mut *reader).await.unwrap();
    assert!(matches!(Catalogue::open(Location::File(&path), &pepper(1)).await, Err(Error::NotErased)));
    assert!(clear_keys(directory.path()) > 0);
    sqlx::query("COMMIT").execute(&mut *reader).await.unwrap();
    let (catalogue, _) = Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
    assert_eq!((clear_keys(directory.path()), catalogue.streams().await.unwrap().len()), (0, STREAMS / 2));
}

/// Whoever shows keys in the clear keeps them in files: these are written before the catalogue has them no more.
#[tokio::test]
async fn keys_that_could_not_be_kept_are_in_the_clear_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.db");
    of_first_version(&path).await.close().await;
    let fails = |_: &[ClearKey]| Err(KeepError::from("the disk is full"));
    let opened = Catalogue::open_keeping(Location::File(&path), &pepper(1), fails).await;
    assert!(matches!(opened, Err(Error::NotKept(_))), "{opened:?}");
    let (_, were_clear) = Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
    assert_eq!(were_clear.len(), STREAMS / 2);
    assert_eq!(clear_keys(directory.path()), 0);
}

#[tokio::test]
async fn catalogue_under_another_pepper_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.db");
    Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
    assert!(matches!(Catalogue::open(Location::File(&path), &pepper(2)).await, Err(Error::OtherPepper)));
    Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
}

#[tokio::test]
async fn newer_tables_are_used_if_they_only_add_and_refused_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue.db");
    let (catalogue, _) = Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap();
    let run = async |sql: &'static str| {
        let Database::Sqlite(pool) = &catalogue.database else { unreachable!("it is a file") };
        sqlx::query(sql).execute(pool).await.unwrap();
    };
    run("ALTER TABLE streams ADD COLUMN colour TEXT NOT NULL DEFAULT ''").await;
    run("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (900, 'colour', true, x'00', 0)").await;
    Catalogue::open(Location::File(&path), &pepper(1)).await.unwrap().0.streams().await.unwrap();
    run("UPDATE settings SET value = '900' WHERE name = 'oldest_reader'").await;
    assert!(matches!(Catalogue::open(Location::File(&path), &pepper(1)).await, Err(Error::TooNew)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_that_open_at_once_migrates_a_new_file_and_an_old_one() {
    for round in 0..50 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalogue.db");
        let streams = if round % 10 == 0 {
            of_first_version(&path).await.close().await;
            STREAMS / 2
        } else {
            0
        };
        let open = || {
            let path = path.clone();
            tokio::spawn(async move { Catalogue::open(Location::File(&path), &pepper(1)).await })
        };
        let (one, other) = (open(), open());
        let (one, other) = (one.await.unwrap().unwrap().0, other.await.unwrap().unwrap().0);
        assert_eq!((one.streams().await.unwrap().len(), other.streams().await.unwrap().len()), (streams, streams));
        assert_eq!(clear_keys(directory.path()), 0);
    }
}
