//! Low-latency playlists as a node serves them: delta updates (RFC 8216bis 6.2.5.1), I-frames, lifetimes in caches (B.1), and media that
//! has left the playlists (6.2.2).

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use support::viewer::{Answer, Viewer};
use support::{Ingest, Node, Zone};
use testkit::studio::{PARTS, Studio};

const PLAYLIST: &str = "/live/demo/1080p/index.m3u8";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

struct Scene {
    zone: Zone,
    node: Node,
    ingest: Ingest,
    studio: Studio,
    viewers: [Viewer; 2],
}

impl Scene {
    /// A node with so many segments of a stream, and the first part of the next one.
    async fn start(segments: usize) -> Self {
        let zone = Zone::start().await;
        let node = zone.node("b1").await;
        let mut studio = Studio::new("demo", zone.now());
        let ingest = zone.ingest("i1", &studio).await;
        for _ in 0..segments {
            ingest.play(&[&node], &mut studio).await;
        }
        let viewers = zone.viewers(&node).await;
        let mut scene = Self { zone, node, ingest, studio, viewers };
        scene.row().await;
        scene
    }

    async fn row(&mut self) {
        let row = self.studio.row(self.zone.now());
        self.ingest.push(&[&self.node], &row).await;
        self.node.admitted(&row).await;
    }

    /// The answer, which must be the same in both versions of HTTP.
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let [one, two] = &self.viewers;
        let (mut one, mut two) = (one.get(path, headers).await, two.get(path, headers).await);
        for answer in [&mut one, &mut two] {
            answer.headers.remove("date").expect("every answer has a date");
        }
        assert_eq!((one.status, &one.headers, &one.body), (two.status, &two.headers, &two.body), "{path}");
        two
    }
}

/// The playlist that a client makes of a delta update and of the playlist it had before (RFC 8216bis 6.3.7).
fn merged(before: &str, delta: &str) -> String {
    let skipped = delta.lines().find_map(|line| line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS=")).unwrap();
    let number =
        |text: &str, tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)?.parse::<usize>().ok()).unwrap();
    let removed = number(delta, "#EXT-X-MEDIA-SEQUENCE:") - number(before, "#EXT-X-MEDIA-SEQUENCE:");
    let (_, body) = before.split_once("#EXT-X-PART-INF:").unwrap();
    let (_, body) = body.split_once('\n').unwrap();
    let mut segments: Vec<String> = vec![String::new()];
    for line in body.lines() {
        let segment = segments.last_mut().unwrap();
        segment.push_str(line);
        segment.push('\n');
        if !line.starts_with('#') {
            segments.push(String::new());
        }
    }
    // Parts, which are listed only near the end, and the map do not count as skipped.
    let mut kept: String = segments.into_iter().skip(removed).take(skipped.parse().unwrap()).collect();
    kept = kept.lines().filter(|line| !line.starts_with("#EXT-X-PART:")).map(|line| format!("{line}\n")).collect();
    let map = before.lines().find(|line| line.starts_with("#EXT-X-MAP:")).unwrap();
    if !kept.starts_with("#EXT-X-MAP:") && removed > 0 {
        kept = format!("{map}\n{kept}");
    }
    let line = format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n");
    // The delta update states the map for the segments that it lists; there is only one map here.
    let delta = delta.replacen(&format!("{map}\n"), "", 1);
    delta.replace(&line, &kept).replace("#EXT-X-VERSION:9\n", "#EXT-X-VERSION:6\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_update_merged_with_the_playlist_before_is_the_whole() {
    let mut scene = Scene::start(13).await;
    let mut before = scene.get(PLAYLIST, &[]).await.text().to_owned();
    for n in 0..PARTS + 2 {
        scene.row().await;
        let whole = scene.get(PLAYLIST, &[]).await;
        let delta = scene.get(&format!("{PLAYLIST}?_HLS_skip={}", if n % 2 == 0 { "YES" } else { "v2" }), &[]).await;
        assert!(delta.text().contains("#EXT-X-VERSION:9\n") && delta.body.len() < whole.body.len());
        assert_eq!(merged(&before, delta.text()), whole.text(), "row {n}");
        assert_ne!(delta.header("etag"), whole.header("etag"));
        whole.text().clone_into(&mut before);
    }
    // Any other value does not ask for a delta update.
    for query in ["_HLS_skip=NO", "_HLS_skip", "_HLS_skip=yes", "_hls_skip=YES"] {
        assert_eq!(scene.get(&format!("{PLAYLIST}?{query}"), &[]).await.text(), before, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_are_those_that_caches_may_rely_on() {
    let scene = Scene::start(2).await;
    let uris = ["1/init.mp4", "1/1.m4s", "1/1.3.m4s", "1/2.0.m4s"].map(|uri| format!("/live/demo/1080p/{uri}"));
    let media = uris.iter().map(|uri| (uri.as_str(), FOR_EVER, "u=3"));
    let playlists = [
        ("/live/demo/index.m3u8", "public, max-age=2", "u=1"),
        ("/live/demo/index.m3u8?_HLS_msn=1", "public, max-age=2", "u=1"),
        (PLAYLIST, "public, max-age=2", "u=1"),
        ("/live/demo/1080p/index.m3u8?_HLS_skip=YES", "public, max-age=2", "u=1"),
        ("/live/demo/1080p/index.m3u8?_HLS_msn=1", "public, max-age=24", "u=1"),
        ("/live/demo/1080p/index.m3u8?_HLS_msn=2&_HLS_part=0&_HLS_skip=YES", "public, max-age=24", "u=1"),
        ("/live/demo/1080p/iframes.m3u8", "public, max-age=2", "u=1"),
        ("/live/demo/1080p/iframes.m3u8?_HLS_msn=1", "public, max-age=24", "u=1"),
        ("/live/demo/audio/1/1.0.m4s", FOR_EVER, "u=2"),
    ];
    for (path, kept, urgency) in playlists.into_iter().chain(media) {
        let answer = scene.get(path, &[]).await;
        assert_eq!(
            (answer.status, answer.header("cache-control"), answer.header("priority")),
            (200, kept, urgency),
            "{path}"
        );
        // A node's answer has no `age`, because a node is no cache (RFC 8216bis, C).
        assert!(!answer.headers.contains_key("age") && !answer.headers.contains_key("expires"));
        let again = scene.get(path, &[("if-none-match", answer.header("etag"))]).await;
        assert_eq!((again.status, again.body.len(), again.header("cache-control")), (304, 0, kept), "{path}");
        assert_eq!(again.header("priority"), urgency, "{path}");
    }
    for path in [
        "/live/demo/1080p/index.m3u8?_HLS_msn=99",
        "/live/demo/1080p/index.m3u8?_HLS_part=1",
        "/live/demo/nothing/index.m3u8",
        "/live/demo/audio/iframes.m3u8",
        "/live/demo/1080p/1/77.m4s",
    ] {
        let answer = scene.get(path, &[]).await;
        assert!((400..500).contains(&answer.status), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_playlist_is_compressed_for_who_takes_that() {
    let scene = Scene::start(7).await;
    for path in [
        PLAYLIST,
        "/live/demo/1080p/index.m3u8?_HLS_skip=YES",
        "/live/demo/1080p/index.m3u8?_HLS_msn=2&_HLS_part=0",
        "/live/demo/1080p/iframes.m3u8",
        "/live/demo/index.m3u8",
    ] {
        let (plain, zipped) = (scene.get(path, &[]).await, scene.get(path, &[("accept-encoding", "gzip")]).await);
        assert_eq!((zipped.header("content-encoding"), zipped.unzipped()), ("gzip", plain.body), "{path}");
        assert_eq!(
            (zipped.header("cache-control"), zipped.header("vary")),
            (plain.headers["cache-control"].as_str(), "accept-encoding")
        );
        assert_ne!(zipped.header("etag"), plain.headers["etag"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn iframe_playlist_lists_ranges_that_are_there_and_waits_for_segments() {
    let mut scene = Scene::start(3).await;
    let path = "/live/demo/1080p/iframes.m3u8";
    let playlist = scene.get(path, &[]).await;
    let text = playlist.text();
    assert!(text.contains("#EXT-X-I-FRAMES-ONLY\n") && !text.contains("#EXT-X-PART:"), "{text}");
    let uris: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(uris, ["1/0.m4s", "1/1.m4s", "1/2.m4s"]);
    let ranges: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-BYTERANGE:")).collect();
    for (uri, range) in uris.iter().zip(&ranges) {
        let length: usize = range.strip_suffix("@0").unwrap().parse().unwrap();
        let wanted = format!("bytes=0-{}", length - 1);
        let picture = scene.get(&format!("/live/demo/1080p/{uri}"), &[("range", &wanted)]).await;
        assert_eq!((picture.status, picture.body.len()), (206, length));
    }
    assert_eq!(ranges.len(), uris.len());
    // An I-frame playlist has no parts: a request that names one waits for the segment (6.2.5.2).
    let waits = [format!("{path}?_HLS_msn=3"), format!("{path}?_HLS_msn=3&_HLS_part=1")];
    let waits = waits.map(|path| {
        let viewer = scene.viewers[1].clone();
        tokio::spawn(async move { viewer.get(&path, &[]).await })
    });
    scene.node.waiting(2).await;
    for _ in 1..PARTS {
        scene.row().await;
    }
    let now = scene.get(path, &[]).await;
    assert_eq!(now.text().lines().rfind(|line| !line.starts_with('#')), Some("1/3.m4s"));
    for answer in waits {
        assert_eq!(answer.await.unwrap().text(), now.text());
    }
    assert_eq!(scene.get(&format!("{path}?_HLS_msn=6"), &[]).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_the_playlists_is_still_there_for_who_has_just_read_them() {
    let mut scene = Scene::start(1).await;
    let first = scene.get(PLAYLIST, &[]).await;
    assert!(first.text().contains("\n1/0.m4s\n") && first.text().contains("URI=\"1/0.7.m4s\""));
    for _ in 1..14 * PARTS {
        scene.row().await;
    }
    let text = scene.get(PLAYLIST, &[]).await.text().to_owned();
    assert!(!text.contains("1/0.m4s") && !text.contains("1/1.m4s") && !text.contains("1/10.7.m4s"), "{text}");
    for uri in ["1/init.mp4", "1/0.m4s", "1/0.0.m4s", "1/0.7.m4s", "1/1.m4s", "1/10.7.m4s"] {
        assert_eq!(scene.get(&format!("/live/demo/1080p/{uri}"), &[]).await.status, 200, "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poster_is_the_newest_image_and_thumbnails_are_found_by_their_template() {
    let mut scene = Scene::start(2).await;
    let streams = "/api/v1/streams/demo";
    let described = |answer: Answer| serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap();
    assert_eq!(scene.get("/live/demo/poster.jpg", &[]).await.status, 404);
    let before = described(scene.get(streams, &[]).await);
    assert_eq!((&before["poster"], &before["thumbnails"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let images: [&'static [u8]; 2] = [b"the first image", b"the second one"];
    for image in images {
        for _ in scene.studio.part()..PARTS - 1 {
            scene.row().await;
        }
        let row = scene.studio.row_with_image(scene.zone.now(), image);
        scene.ingest.push(&[&scene.node], &row).await;
        scene.node.admitted(&row).await;
        let poster = scene.get("/live/demo/poster.jpg", &[]).await;
        assert_eq!((poster.status, &poster.body[..], poster.header("content-type")), (200, image, "image/jpeg"));
    }
    let after = described(scene.get(streams, &[]).await);
    assert_eq!(after["poster"], "/live/demo/poster.jpg");
    let template = after["thumbnails"].as_str().unwrap();
    for (msn, image) in [("2", images[0]), ("3", images[1])] {
        let thumbnail = scene.get(&template.replace("{epoch}", "1").replace("{msn}", msn), &[]).await;
        assert_eq!((thumbnail.status, &thumbnail.body[..], thumbnail.header("cache-control")), (200, image, FOR_EVER));
    }
    assert_eq!(scene.get(&template.replace("{epoch}", "1").replace("{msn}", "1"), &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn player_on_another_site_may_measure_and_see_lifetimes() {
    let scene = Scene::start(1).await;
    for path in [PLAYLIST, "/live/demo/1080p/1/0.0.m4s", "/live/demo/1080p/1/99.0.m4s"] {
        let answer = scene.get(path, &[("origin", "https://player.example")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("timing-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin", "{path}");
        let exposed: Vec<&str> = answer.header("access-control-expose-headers").split(", ").collect();
        assert!(["age", "date", "content-length"].iter().all(|name| exposed.contains(name)), "{path}");
    }
}
