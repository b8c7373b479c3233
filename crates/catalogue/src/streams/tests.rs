use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use messages::{MacForm, Pepper};
use testkit::postgres::Postgres;

use super::*;
use crate::{Location, StreamKey};

/// Where a test keeps its catalogue.
pub(crate) enum Place {
    File(tempfile::TempDir, PathBuf),
    Server(String),
}

impl Place {
    pub(crate) fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalogue.db");
        Self::File(directory, path)
    }

    pub(crate) fn server() -> Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        Self::Server(SERVER.get_or_init(Postgres::start).database())
    }

    pub(crate) async fn open(&self) -> Catalogue {
        let location = match self {
            Self::File(_, path) => Location::File(path),
            Self::Server(url) => Location::Server(url),
        };
        Catalogue::open(location, &pepper()).await.unwrap().0
    }
}

/// One suite of tests for both databases.
macro_rules! on_both_databases {
    ($($rule:ident)*) => {
        mod sqlite {
            use $crate::streams::tests::Place;
            $(#[tokio::test(flavor = "multi_thread")] async fn $rule() { super::$rule(Place::file()).await; })*
        }
        mod postgres {
            use $crate::streams::tests::Place;
            $(#[tokio::test(flavor = "multi_thread")] async fn $rule() { super::$rule(Place::server()).await; })*
        }
    };
}
pub(crate) use on_both_databases;

on_both_databases! {
    streams_survive_reopening
    names_and_keys_are_unique
    misleading_names_are_refused_where_a_stream_is_made_and_nowhere_else
    key_changes_and_stream_goes
    key_of_before_keeps_its_form_until_there_is_another
    order_and_numbers_are_those_of_the_other_database
    change_whose_caller_goes_away_is_made_whole_or_not_at_all
    two_controls_lose_and_double_no_change
    one_of_two_that_open_at_once_migrates
}

pub(crate) fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap()
}

fn stream(name: &str) -> Stream {
    let name = StreamId::new(name).unwrap();
    let key = StreamKey::random().kept(&pepper(), &name);
    Stream { name, key, created_at: UnixMillis(1_234) }
}

fn names(streams: &[Stream]) -> Vec<&str> {
    streams.iter().map(|stream| stream.name.as_str()).collect()
}

async fn streams_survive_reopening(place: Place) {
    let (b, a) = (stream("b"), stream("a"));
    let catalogue = place.open().await;
    catalogue.create_stream(&b).await.unwrap();
    catalogue.create_stream(&a).await.unwrap();
    catalogue.close().await;
    let catalogue = place.open().await;
    assert_eq!(catalogue.streams().await.unwrap(), [a.clone(), b]);
    assert_eq!(catalogue.stream(&a.name).await.unwrap(), a);
}

async fn names_and_keys_are_unique(place: Place) {
    let catalogue = place.open().await;
    let (a, key) = (stream("a"), StreamKey::random());
    let (a, b) = (Stream { key: key.kept(&pepper(), &a.name), ..a }, stream("b").name);
    catalogue.create_stream(&a).await.unwrap();
    assert!(matches!(catalogue.ensure_key_free(&b, &key, &pepper()).await, Err(Error::KeyTaken(name)) if name == b));
    catalogue.ensure_key_free(&a.name, &key, &pepper()).await.unwrap();
    catalogue.ensure_key_free(&b, &StreamKey::random(), &pepper()).await.unwrap();
    assert!(matches!(catalogue.create_stream(&stream("a")).await, Err(Error::StreamExists(name)) if name == a.name));
    let same_key = Stream { key: a.key.clone(), ..stream("b") };
    assert!(matches!(catalogue.create_stream(&same_key).await, Err(Error::KeyTaken(_))));
    catalogue.create_stream(&stream("b")).await.unwrap();
    assert!(matches!(catalogue.set_key(&same_key.name, &a.key).await, Err(Error::KeyTaken(_))));
}

async fn misleading_names_are_refused_where_a_stream_is_made_and_nowhere_else(place: Place) {
    let catalogue = place.open().await;
    for name in ["-v", "--help", "hall.m3u8", "hall.M3U8"] {
        let said = catalogue.create_stream(&stream(name)).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("a stream cannot be called {name}: ")), "{said}");
    }
    catalogue.create_stream(&stream("m3u8-hall.v1")).await.unwrap();
    // Names that an older version allowed.
    for name in ["-old", "old.m3u8"] {
        let mut writing = catalogue.database.write().await.unwrap();
        insert(&mut writing, &stream(name)).await.unwrap();
        writing.commit().await.unwrap();
        let kept = catalogue.stream(&StreamId::new(name).unwrap()).await.unwrap();
        catalogue.set_key(&kept.name, &stream(name).key).await.unwrap();
    }
    assert_eq!(catalogue.streams().await.unwrap().len(), 3);
}

async fn key_changes_and_stream_goes(place: Place) {
    let catalogue = place.open().await;
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

/// A MAC that was made under the pepper itself cannot be made under the stream's key, without the stream key.
async fn key_of_before_keeps_its_form_until_there_is_another(place: Place) {
    let catalogue = place.open().await;
    let (key, made) = (StreamKey::random(), stream("a"));
    let old = KeptKey {
        mac: pepper().mac_key(MacForm::OfAll, &made.name).mac(key.expose()),
        form: MacForm::OfAll,
        hint: String::new(),
    };
    catalogue.create_stream(&Stream { key: old.clone(), ..made.clone() }).await.unwrap();
    let there = catalogue.stream(&made.name).await.unwrap().key;
    assert!(there == old && there.is_of(&key, &pepper(), &made.name));
    assert!(matches!(catalogue.ensure_key_free(&stream("b").name, &key, &pepper()).await, Err(Error::KeyTaken(_))));
    catalogue.set_key(&made.name, &made.key).await.unwrap();
    assert_eq!(catalogue.stream(&made.name).await.unwrap().key.form, MacForm::OfStream);
}

async fn order_and_numbers_are_those_of_the_other_database(place: Place) {
    let catalogue = place.open().await;
    for (name, at) in [("b", i64::MAX), ("a-b", -1), ("B", 1 << 33), ("_a", 0), ("ab", i64::MIN), ("a.b", 7), ("1", 8)]
    {
        let made = Stream { created_at: UnixMillis(at), ..stream(name) };
        catalogue.create_stream(&made).await.unwrap();
        assert_eq!(catalogue.stream(&made.name).await.unwrap(), made);
    }
    assert_eq!(names(&catalogue.streams().await.unwrap()), ["1", "B", "_a", "a-b", "a.b", "ab", "b"]);
    assert!(catalogue.find_stream(&StreamId::new("A-b").unwrap()).await.unwrap().is_none(), "names have cases");
}

/// A caller that goes away in the middle, as a request does whose client closes the connection.
async fn change_whose_caller_goes_away_is_made_whole_or_not_at_all(place: Place) {
    let catalogue = place.open().await;
    for n in 0..200 {
        let stream = stream(&format!("s{n}"));
        let mut change = Box::pin(catalogue.create_stream(&stream));
        for _ in 0..n % 8 {
            if poll_fn(|context| Poll::Ready(change.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // The next writer comes after all of them, and finds no transaction open.
    catalogue.create_stream(&stream("last")).await.unwrap();
    let there = catalogue.streams().await.unwrap();
    assert!(there.len() > 1 && names(&there).contains(&"last"), "{}", there.len());
}

async fn two_controls_lose_and_double_no_change(place: Place) {
    const NAMES: usize = 60;
    let controls = [place.open().await, place.open().await];
    let made = AtomicUsize::new(0);
    let make = async |catalogue: &Catalogue| {
        for n in 0..NAMES {
            match catalogue.create_stream(&stream(&format!("s{n}"))).await {
                Ok(()) => made.fetch_add(1, Ordering::SeqCst),
                Err(Error::StreamExists(_)) => 0,
                Err(error) => panic!("{error:?}"),
            };
        }
    };
    tokio::join!(make(&controls[0]), make(&controls[1]), make(&controls[0]), make(&controls[1]));
    assert_eq!((made.into_inner(), controls[0].streams().await.unwrap().len()), (NAMES, NAMES));
    let deleted = AtomicUsize::new(0);
    let delete = async |catalogue: &Catalogue| {
        for n in 0..NAMES {
            match catalogue.delete_stream(&StreamId::new(&format!("s{n}")).unwrap()).await {
                Ok(()) => deleted.fetch_add(1, Ordering::SeqCst),
                Err(Error::NoStream(_)) => 0,
                Err(error) => panic!("{error:?}"),
            };
        }
    };
    tokio::join!(delete(&controls[0]), delete(&controls[1]));
    assert_eq!((deleted.into_inner(), controls[1].streams().await.unwrap().len()), (NAMES, 0));
}

async fn one_of_two_that_open_at_once_migrates(place: Place) {
    let (one, other) = tokio::join!(place.open(), place.open());
    one.create_stream(&stream("a")).await.unwrap();
    assert_eq!(names(&other.streams().await.unwrap()), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_restarted_under_two_controls_keeps_what_it_has_acknowledged() {
    let server = Postgres::start();
    let url = server.database();
    let place = Place::Server(url);
    let controls = [place.open().await, place.open().await];
    let (acknowledged, is_over) = ([AtomicUsize::new(0), AtomicUsize::new(0)], AtomicBool::new(false));
    let write = async |which: usize| {
        let mut kept = Vec::new();
        for n in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let stream = stream(&format!("c{which}-{n}"));
            if controls[which].create_stream(&stream).await.is_ok() {
                acknowledged[which].fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
            tokio::task::yield_now().await;
        }
        kept
    };
    let restart = async {
        let mut server = server;
        for _ in 0..3 {
            let before = [0, 1].map(|which| acknowledged[which].load(Ordering::SeqCst));
            while (0..2).any(|which| acknowledged[which].load(Ordering::SeqCst) < before[which] + 20) {
                tokio::task::yield_now().await;
            }
            let restarted = tokio::task::spawn_blocking(move || {
                server.restart();
                server
            });
            server = restarted.await.unwrap();
        }
        let before = [0, 1].map(|which| acknowledged[which].load(Ordering::SeqCst));
        while (0..2).any(|which| acknowledged[which].load(Ordering::SeqCst) < before[which] + 20) {
            tokio::task::yield_now().await;
        }
        is_over.store(true, Ordering::SeqCst);
        server
    };
    let (one, other, _server) = tokio::join!(write(0), write(1), restart);
    let there = controls[0].streams().await.unwrap();
    for stream in one.iter().chain(&other) {
        assert_eq!(there.iter().filter(|kept| *kept == stream).count(), 1, "{} was acknowledged", stream.name);
    }
    let unique: std::collections::BTreeSet<&str> = names(&there).into_iter().collect();
    assert_eq!(unique.len(), there.len());
}

#[tokio::test]
async fn file_is_private_and_keys_are_not_printed() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::file();
    let catalogue = place.open().await;
    let key = StreamKey::random();
    let a = stream("a");
    let a = Stream { key: key.kept(&pepper(), &a.name), ..a };
    catalogue.create_stream(&a).await.unwrap();
    let Place::File(directory, _) = &place else { unreachable!("it is a file") };
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!format!("{a:?}{catalogue:?}").contains(key.expose()));
}
