//! A way to measure, in process, the time that the gate adds between "bytes and seal are here" and "listed".
//!
//! `bench` gives the figure, in a release build. This test only shows that twenty renditions go through, and that a row is
//! listed by the time its seal's push is answered.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use broadcast::actor::Actor;
use gate::{Gate, Input, Settings, Source};
use node::CancellationToken;
use node::clock::Clock;
use playlist::reload::Extent;
use testkit::studio::{self, Authority, PARTS, Studio, node, sha256};

const SEGMENTS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_renditions_are_listed_as_soon_as_they_are_complete() {
    let clock = Clock::new();
    let authority = Authority::new();
    let mut studio = Studio::new("demo", clock.wall());
    studio.renditions = (0..20).map(|n| format!("{}p", 100 + n)).collect();
    // A part of half a second at 2 Mbit/s.
    studio.part_bytes = 125_000;
    let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 1 << 30 };
    let gate = Gate::new(settings, Authority::nobody(), BTreeMap::new());
    let shutdown = CancellationToken::new();
    let (handle, mut effects, thread) = Actor::spawn(gate, clock, shutdown.clone()).unwrap().into_parts();
    let drain = tokio::spawn(async move { while effects.recv().await.is_some() {} });
    handle.send(Input::Keys(authority.grant(&studio, clock.wall()))).await.unwrap();

    // The first seal of a stream waits a moment for peers; there are none here.
    let first = studio.row(clock.wall());
    for (name, bytes) in &first.objects {
        let (name, digest, bytes) = (name.clone(), sha256(bytes), bytes.clone());
        handle.push(Input::Object { name, digest, bytes, peer: node("i1") }).await.unwrap();
    }
    let (raw, source) = (first.sealed.raw().clone(), Source::Put(node("i1")));
    handle.push(Input::Seal { stream: studio.stream.clone(), raw, source }).await.unwrap();
    let joined = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while handle.views().get(&studio.stream).is_none_or(|view| view.newest().is_none()) {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), joined).await.unwrap();

    let mut delays = Vec::new();
    for _ in 0..SEGMENTS * PARTS {
        let row = studio.row(clock.wall());
        for (name, bytes) in &row.objects {
            let (name, digest, bytes) = (name.clone(), sha256(bytes), bytes.clone());
            handle.push(Input::Object { name, digest, bytes, peer: node("i1") }).await.unwrap();
        }
        let start = clock.elapsed();
        let (raw, source) = (row.sealed.raw().clone(), Source::Put(node("i1")));
        handle.push(Input::Seal { stream: studio.stream.clone(), raw, source }).await.unwrap();
        delays.push(clock.elapsed() - start);
        let newest = handle.views().get(&studio.stream).and_then(|view| Some(view.newest()?.body().sequence));
        assert_eq!(newest, Some(row.sealed.body().sequence), "visible with the answer");
    }
    let playlists = handle.views().get(&studio.stream).unwrap().playlists.clone().unwrap();
    let has_playlist = |name: &String| playlists.live().media(&studio::rendition(name), Extent::Full).is_some();
    assert!(studio.renditions.iter().all(has_playlist));
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    println!("gate delay, 20 renditions, {} rows: median {:?}, p99 {:?}", delays.len(), at(50), at(99));
    shutdown.cancel();
    drain.await.unwrap();
    thread.join().unwrap();
}
