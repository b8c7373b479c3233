//! Nodes serve the same bytes: two side by side, one that comes late, one that was restarted, with and without its disk.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use support::{Zone, assert_alike, listed};
use testkit::studio::Studio;

#[tokio::test(flavor = "multi_thread")]
async fn playlists_of_all_nodes_are_the_same_bytes() {
    let zone = Zone::start().await;
    let (b1, b2) = (zone.node("b1").await, zone.node("b2").await);
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    for n in 0..14 {
        if n == 5 {
            studio.reconnect(zone.now());
        }
        // Some rows reach one node only; the other pulls.
        let rows = studio.segment(zone.now());
        for (index, row) in rows.iter().enumerate() {
            let nodes = if index % 3 == 0 { vec![&b1, &b2] } else { vec![&b2] };
            ingest.push(&nodes, row).await;
        }
        listed(&[&b1, &b2], &studio, &rows).await;
        assert_alike(&[&b1, &b2], &studio).await;
    }
    let text = b1.playlist(&studio.stream, "1080p").await.unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:2\n") && text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");

    // A late joiner, and one that was restarted with its disk.
    let b3 = zone.node("b3").await;
    b1.stop().await;
    let b1 = zone.node("b1").await;
    ingest.play(&[&b1, &b2, &b3], &mut studio).await;
    assert_alike(&[&b1, &b2, &b3], &studio).await;

    // Now with an empty disk.
    b1.stop().await;
    std::fs::remove_dir_all(zone.directory.path().join("b1")).unwrap();
    let b1 = zone.node("b1").await;
    ingest.play(&[&b1, &b2, &b3], &mut studio).await;
    assert_alike(&[&b1, &b2, &b3], &studio).await;
    assert_eq!(b2.refused(&studio.stream).await, Default::default());

    let end = studio.end(zone.now());
    ingest.push(&[&b1], &end).await;
    support::eventually("all have ended", async || {
        let mut ended = 0;
        for node in [&b1, &b2, &b3] {
            ended += usize::from(node.playlist(&studio.stream, "audio").await.is_some_and(|t| t.contains("ENDLIST")));
        }
        ended == 3
    })
    .await;
    assert_alike(&[&b1, &b2, &b3], &studio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_node_goes_on_after_a_restart() {
    let zone = Zone::start().await;
    let b1 = zone.node("b1").await;
    let mut studio = Studio::new("demo", zone.now());
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&b1], &mut studio).await;
    b1.stop().await;
    let b1 = zone.node("b1").await;
    // The rest of the segment brings a checkpoint; the next segment is listed.
    for row in studio.segment(zone.now()) {
        ingest.push(&[&b1], &row).await;
    }
    ingest.play(&[&b1], &mut studio).await;
}
