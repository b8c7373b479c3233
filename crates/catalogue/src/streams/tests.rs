use messages::Pepper;

use super::*;
use crate::StreamKey;

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap()
}

fn stream(name: &str) -> Stream {
    let key = StreamKey::random().kept(&pepper());
    Stream { name: StreamId::new(name).unwrap(), key, created_at: UnixMillis(1_234) }
}

async fn open(directory: &tempfile::TempDir) -> Catalogue {
    Catalogue::open(&directory.path().join("catalogue.db"), &pepper()).await.unwrap().0
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
    assert!(matches!(catalogue.create_stream(&stream("a")).await, Err(Error::StreamExists(name)) if name == a.name));
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
        insert(&mut catalogue.pool.acquire().await.unwrap(), stream(name)).await.unwrap();
        let kept = catalogue.stream(&StreamId::new(name).unwrap()).await.unwrap();
        catalogue.set_key(&kept.name, &stream(name).key).await.unwrap();
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
    let key = stream("a").key;
    catalogue.set_key(&a.name, &key).await.unwrap();
    assert_eq!(catalogue.stream(&a.name).await.unwrap().key, key);
    catalogue.delete_stream(&a.name).await.unwrap();
    assert!(matches!(catalogue.stream(&a.name).await, Err(Error::NoStream(_))));
    assert!(matches!(catalogue.delete_stream(&a.name).await, Err(Error::NoStream(_))));
}

/// A caller that goes away in the middle, as a request does whose client closes the connection.
#[tokio::test(flavor = "multi_thread")]
async fn change_whose_caller_goes_away_is_made_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = open(&directory).await;
    for n in 0..200 {
        let stream = stream(&format!("s{n}"));
        let mut change = Box::pin(catalogue.create_stream(&stream));
        for _ in 0..n % 8 {
            if std::future::poll_fn(|context| std::task::Poll::Ready(change.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // The next writer comes after all of them, and finds no transaction open.
    catalogue.create_stream(&stream("last")).await.unwrap();
    let there = catalogue.streams().await.unwrap();
    assert!(there.len() > 1 && there.iter().any(|stream| stream.name.as_str() == "last"), "{}", there.len());
}

#[tokio::test]
async fn file_is_private_and_keys_are_not_printed() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let catalogue = open(&directory).await;
    let key = StreamKey::random();
    let a = Stream { key: key.kept(&pepper()), ..stream("a") };
    catalogue.create_stream(&a).await.unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!format!("{a:?}{catalogue:?}").contains(key.expose()));
}
