//! Blocking playlist reload and hinted objects (RFC 8216bis 6.2.5.2, 6.2.6) on a real node: TLS, HTTP/2 and HTTP/1.1.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::sync::Arc;

use http::StatusCode;
use support::viewer::{Answer, Viewer};
use support::{Ingest, Node, Zone, listed};
use testkit::studio::{PARTS, Studio};

/// A node with two segments of a stream, and the first part of the third; an ingest, and a viewer of each version of HTTP.
struct Scene {
    zone: Zone,
    node: Arc<Node>,
    ingest: Ingest,
    studio: Studio,
    viewers: [Viewer; 2],
}

impl Scene {
    async fn start() -> Self {
        let zone = Zone::start().await;
        let node = Arc::new(zone.node("b1").await);
        let mut studio = Studio::new("demo", zone.now());
        let ingest = zone.ingest("i1", &studio).await;
        ingest.play(&[&node], &mut studio).await;
        ingest.play(&[&node], &mut studio).await;
        let viewers = zone.viewers(&node).await;
        let mut scene = Self { zone, node, ingest, studio, viewers };
        scene.row().await;
        scene
    }

    /// Pushes the next row, and waits until it is listed.
    async fn row(&mut self) {
        let row = self.studio.row(self.zone.now());
        self.ingest.push(&[&self.node], &row).await;
        self.node.admitted(&row).await;
    }

    /// Sends the same requests in both versions of HTTP; all of them wait.
    async fn blocked(&self, paths: &[&str]) -> Blocked {
        let mut answers = Vec::new();
        for viewer in &self.viewers {
            for path in paths {
                let (viewer, path) = (viewer.clone(), (*path).to_owned());
                answers.push(tokio::spawn(async move { viewer.get(&path, &[]).await }));
            }
        }
        self.node.waiting(answers.len()).await;
        Blocked(answers)
    }

    async fn get(&self, path: &str) -> Answer {
        let [one, two] = &self.viewers;
        let (one, two) = (one.get(path, &[]).await, two.get(path, &[]).await);
        assert_eq!((one.status, &one.body), (two.status, &two.body), "{path}");
        two
    }

    /// Asks for what must be answered at once, without a wait.
    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status
    }
}

struct Blocked(Vec<tokio::task::JoinHandle<Answer>>);

impl Blocked {
    async fn answers(self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for answer in self.0 {
            answers.push(answer.await.unwrap());
        }
        answers
    }
}

const PLAYLIST: &str = "/live/demo/1080p/index.m3u8";

#[tokio::test(flavor = "multi_thread")]
async fn blocked_playlist_comes_with_the_part_it_waits_for() {
    let mut scene = Scene::start().await;
    let blocked =
        scene.blocked(&[&format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=1"), &format!("{PLAYLIST}?_HLS_msn=2")]).await;
    scene.row().await;
    let now = scene.get(PLAYLIST).await;
    assert!(now.text().contains("URI=\"1/2.1.m4s\"") && !now.text().contains("1/2.2.m4s\",INDEPENDENT"));
    // Requests that wait for the whole segment go on waiting.
    scene.node.waiting(2).await;
    for _ in 2..PARTS {
        scene.row().await;
    }
    let answers = blocked.answers().await;
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.header("cache-control") == "public, max-age=24")
    );
    let texts: Vec<&str> = answers.iter().map(Answer::text).collect();
    let whole = scene.get(PLAYLIST).await;
    assert_eq!(texts, [now.text(), whole.text(), now.text(), whole.text()]);
    assert!(whole.text().contains("\n1/2.m4s\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_answered_at_once_and_whole() {
    let scene = Scene::start().await;
    let now = scene.get(PLAYLIST).await;
    for query in
        ["_HLS_msn=2&_HLS_part=0", "_HLS_msn=1", "_HLS_msn=1&_HLS_part=7", "_HLS_msn=0&_HLS_part=99", "_HLS_msn=0"]
    {
        let answer = scene.get(&format!("{PLAYLIST}?{query}")).await;
        assert_eq!((answer.status, answer.text()), (200, now.text()), "{query}");
        assert_eq!(answer.header("cache-control"), "public, max-age=24", "{query}");
    }
    // The part after the last one of a segment is the first of the next.
    assert_eq!(scene.get(&format!("{PLAYLIST}?_HLS_msn=1&_HLS_part=8")).await.text(), now.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn part_after_the_last_of_a_segment_is_the_first_of_the_next() {
    let mut scene = Scene::start().await;
    for _ in 1..PARTS {
        scene.row().await;
    }
    let blocked = scene
        .blocked(&[&format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=8"), &format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=99")])
        .await;
    scene.row().await;
    let now = scene.get(PLAYLIST).await;
    assert!(now.text().contains("URI=\"1/3.0.m4s\""));
    for answer in blocked.answers().await {
        assert_eq!((answer.status, answer.text()), (200, now.text()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_directives_are_400_and_unknown_names_404_at_once() {
    let scene = Scene::start().await;
    for query in [
        "_HLS_part=1",
        "_HLS_part=1&_HLS_skip=YES",
        "_HLS_msn=4",
        "_HLS_msn=4&_HLS_part=0",
        "_HLS_msn=99999999999",
        "_HLS_msn=18446744073709551615&_HLS_part=4294967295",
        "_HLS_msn=18446744073709551616",
        "_HLS_msn=2&_HLS_part=7",
        "_HLS_msn=3&_HLS_part=6",
        "_HLS_msn=2&_HLS_part=4294967296",
        "_HLS_msn=-1",
        "_HLS_msn=",
        "_HLS_msn=x",
        "_HLS_msn=2&_HLS_msn=2",
        "_HLS_msn=2&_HLS_part=1&_HLS_part=1",
        "_HLS_msn=2.0",
        "_HLS_msn=+2",
    ] {
        let answer = scene.get(&format!("{PLAYLIST}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.text().starts_with("_HLS_"), "{}", answer.text());
    }
    for path in [
        "/live/other/1080p/index.m3u8?_HLS_msn=2&_HLS_part=1",
        "/live/demo/nothing/index.m3u8?_HLS_msn=2&_HLS_part=1",
        "/live/demo/nothing/1/2.1.m4s",
        "/live/other/1080p/1/2.1.m4s",
        // No playlist of a node that is a little ahead can name these: more than three seconds beyond the hint, of an epoch
        // other than this one and the next, or a whole segment beyond the next.
        "/live/demo/1080p/1/2.7.m4s",
        "/live/demo/1080p/1/3.6.m4s",
        "/live/demo/1080p/1/4.0.m4s",
        "/live/demo/1080p/3/2.1.m4s",
        "/live/demo/1080p/0/2.1.m4s",
        "/live/demo/1080p/3/init.mp4",
        "/live/demo/1080p/1/4.m4s",
    ] {
        assert_eq!(scene.status(path).await, 404, "{path}");
    }
    scene.node.waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hinted_part_is_sent_the_moment_it_is_admitted() {
    let mut scene = Scene::start().await;
    let text = scene.get(PLAYLIST).await.text().to_owned();
    let hint = text.lines().find_map(|line| line.strip_prefix("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"")).unwrap();
    let uri = hint.trim_end_matches('"');
    assert_eq!(uri, "1/2.1.m4s");
    let paths = [format!("/live/demo/1080p/{uri}"), format!("/live/demo/audio/{uri}")];
    let blocked = scene.blocked(&[&paths[0], &paths[1]]).await;
    let row = scene.studio.row(scene.zone.now());
    scene.ingest.put_objects(&[&scene.node], &row).await;
    // The bytes are here, but nobody has sealed them yet.
    scene.node.waiting(4).await;
    scene.ingest.publish_seal(&row).await;
    for (answer, path) in blocked.answers().await.iter().zip(paths.iter().cycle()) {
        let (_, bytes) = row.objects.iter().find(|(name, _)| name.to_string() == *path).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &bytes[..]));
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hint_of_an_epoch_that_was_replaced_is_not_found_and_playlists_go_on() {
    let mut scene = Scene::start().await;
    let paths = ["/live/demo/1080p/1/2.1.m4s", "/live/demo/1080p/index.m3u8?_HLS_msn=2&_HLS_part=1"];
    let blocked = scene.blocked(&paths).await;
    scene.studio.reconnect(scene.zone.now());
    scene.row().await;
    let now = scene.get(PLAYLIST).await;
    assert!(now.text().contains("#EXT-X-DISCONTINUITY\n") && now.text().contains("URI=\"2/3.0.m4s\""));
    let answers = blocked.answers().await;
    for answers in answers.chunks(2) {
        assert_eq!((answers[0].status, answers[0].header("cache-control")), (404, "no-store"));
        // The part that is waited for never comes, but the segment after it is there (6.2.5.2).
        assert_eq!((answers[1].status, answers[1].text()), (200, now.text()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hint_of_a_log_that_is_void_is_not_found_while_playlists_still_show_it() {
    let mut scene = Scene::start().await;
    let mut other = scene.studio.fork();
    for _ in 1..PARTS + 2 {
        scene.row().await;
    }
    let shown = scene.get(PLAYLIST).await;
    assert!(shown.text().contains("TYPE=PART,URI=\"1/3.2.m4s\""));
    let blocked = scene.blocked(&["/live/demo/1080p/1/3.2.m4s"]).await;
    // The next session builds on a row before the segment that is open here.
    other.reconnect(scene.zone.now());
    let row = other.row(scene.zone.now());
    scene.ingest.push(&[&scene.node], &row).await;
    assert!(blocked.answers().await.iter().all(|answer| answer.status == 404));
    assert_eq!(scene.get(PLAYLIST).await.text(), shown.text(), "playlists never go back");
    scene.studio = other;
    scene.row().await;
    let now = scene.get(PLAYLIST).await;
    assert!(now.text().contains("URI=\"2/3.1.m4s\"") && !now.text().contains("\"1/3."), "{}", now.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_outage_the_next_gap_is_hinted_and_the_next_epoch_is_waited_for() {
    let mut scene = Scene::start().await;
    let gap = scene.studio.gap(scene.zone.now());
    scene.ingest.push(&[&scene.node], &gap).await;
    scene.node.admitted(&gap).await;
    let text = scene.get(PLAYLIST).await.text().to_owned();
    assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1/2.2.m4s\""), "{text}");
    assert!(!text.contains("TYPE=MAP"), "nobody can foresee the next epoch: {text}");
    // A client that waited for a hint, or does not know EXT-X-GAP, gets an empty body for a gap.
    let part = scene.get("/live/demo/1080p/1/2.1.m4s").await;
    assert_eq!((part.status, part.body.len()), (200, 0), "a gap has no bytes");
    let cut_short = "/live/demo/1080p/1/2.m4s";
    let paths = ["/live/demo/1080p/2/init.mp4", "/live/demo/1080p/2/3.0.m4s"];
    let blocked = scene.blocked(&paths).await;
    scene.studio.reconnect(scene.zone.now());
    let row = scene.studio.row(scene.zone.now());
    scene.ingest.push(&[&scene.node], &row).await;
    for (answer, path) in blocked.answers().await.iter().zip(paths.iter().cycle()) {
        let (_, bytes) = row.objects.iter().find(|(name, _)| name.to_string() == *path).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &bytes[..]), "{path}");
    }
    let listed = scene.get(PLAYLIST).await;
    assert!(listed.text().contains("#EXT-X-GAP\n#EXTINF:0.999996,\n1/2.m4s"), "{}", listed.text());
    let nothing = scene.get(cut_short).await;
    assert_eq!(
        (nothing.status, nothing.body.len()),
        (200, 0),
        "whoever asks for a gap in spite of EXT-X-GAP gets nothing"
    );
    assert_eq!(scene.status("/live/demo/nobody/1/2.m4s").await, 404);
    assert_eq!(scene.status("/live/demo/1080p/1/3.m4s").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn end_answers_everybody_and_directives_are_ignored_after_it() {
    let mut scene = Scene::start().await;
    // Enough segments for a delta update to leave some out.
    for _ in 0..8 * PARTS {
        scene.row().await;
    }
    assert!(scene.get(&format!("{PLAYLIST}?_HLS_skip=YES")).await.text().contains("#EXT-X-SKIP:"));
    let blocked = scene.blocked(&[&format!("{PLAYLIST}?_HLS_msn=10&_HLS_part=1"), "/live/demo/1080p/1/10.1.m4s"]).await;
    let end = scene.studio.end(scene.zone.now());
    scene.ingest.push(&[&scene.node], &end).await;
    let answers = blocked.answers().await;
    let now = scene.get(PLAYLIST).await;
    assert!(now.text().ends_with("#EXT-X-ENDLIST\n") && !now.text().contains("PRELOAD-HINT"));
    for answers in answers.chunks(2) {
        assert_eq!((answers[0].status, answers[0].text(), answers[1].status), (200, now.text(), 404));
    }
    for query in ["_HLS_msn=99", "_HLS_msn=3&_HLS_part=99", "_HLS_msn=1", "_HLS_skip=YES", "_HLS_msn=11&_HLS_skip=v2"] {
        let answer = scene.get(&format!("{PLAYLIST}?{query}")).await;
        assert_eq!((answer.status, answer.text()), (200, now.text()), "{query}");
        assert_eq!(answer.header("cache-control"), "public, max-age=2", "{query}");
    }
    assert_eq!(scene.status(&format!("{PLAYLIST}?_HLS_part=1")).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_gives_the_place_back() {
    let scene = Scene::start().await;
    let blocked = scene.blocked(&[&format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=1"), "/live/demo/1080p/1/2.1.m4s"]).await;
    for answer in blocked.0 {
        answer.abort();
    }
    scene.node.waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_that_stands_still_is_503_after_three_target_durations() {
    let zone = Zone::start().await;
    let node = zone.node_with("b1", |config| config.target_duration_s = 1).await;
    let mut studio = Studio::new("demo", zone.now());
    studio.parts = 2;
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&node], &mut studio).await;
    let [one, two] = zone.viewers(&node).await;
    let path = format!("{PLAYLIST}?_HLS_msn=1&_HLS_part=0");
    let before = zone.clock.elapsed();
    for answer in [one.get(&path, &[]), two.get("/live/demo/audio/1/1.0.m4s", &[])] {
        let answer = answer.await;
        assert_eq!((answer.status, answer.header("cache-control")), (503, "no-store"));
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert!(zone.clock.elapsed() - before >= std::time::Duration::from_secs(6), "each waited three target durations");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_stops_lets_nobody_wait() {
    let scene = Scene::start().await;
    let blocked = scene.blocked(&[&format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=1")]).await;
    let node = Arc::into_inner(scene.node).unwrap();
    node.stop().await;
    for answer in blocked.answers().await {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-sealcast-stopping"), "", "a balancer asks another node");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_who_wait_are_answered_by_one_admission() {
    const CONNECTIONS: usize = 20;
    const EACH: usize = 100;
    let mut scene = Scene::start().await;
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let [_, viewer] = scene.zone.viewers(&scene.node).await;
        for n in 0..EACH {
            let viewer = viewer.clone();
            let path = match n % 3 {
                0 => format!("{PLAYLIST}?_HLS_msn=2&_HLS_part=1"),
                1 => "/live/demo/audio/index.m3u8?_HLS_msn=2&_HLS_part=1&_HLS_skip=YES".to_owned(),
                _ => "/live/demo/1080p/1/2.1.m4s".to_owned(),
            };
            answers.spawn(async move { viewer.get(&path, &[]).await.status });
        }
    }
    scene.node.waiting(CONNECTIONS * EACH).await;
    scene.row().await;
    let statuses = answers.join_all().await;
    assert_eq!(statuses, [StatusCode::OK.as_u16(); CONNECTIONS * EACH]);
    scene.node.waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_say_the_same_bytes_part_by_part() {
    let mut scene = Scene::start().await;
    let b2 = scene.zone.node("b2").await;
    // The node joins in the middle of a segment, and shows what is complete since then.
    let rows: Vec<_> = (0..2 * PARTS - 1).map(|_| scene.studio.row(scene.zone.now())).collect();
    for row in &rows {
        scene.ingest.push(&[&scene.node, &b2], row).await;
    }
    listed(&[&scene.node, &b2], &scene.studio, &rows).await;
    for n in 0..PARTS {
        if n == 3 {
            scene.studio.reconnect(scene.zone.now());
        }
        let row = scene.studio.row(scene.zone.now());
        scene.ingest.push(&[&scene.node, &b2], &row).await;
        for node in [&*scene.node, &b2] {
            node.admitted(&row).await;
        }
        support::assert_alike(&[&*scene.node, &b2], &scene.studio).await;
    }
}

/// All nodes went down, and come back before the encoder does.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_stream_is_waited_for_and_never_absent() {
    let Scene { zone, node, ingest, mut studio, .. } = Scene::start().await;
    Arc::into_inner(node).unwrap().stop().await;
    let node = zone.node("b1").await;
    let [one, two] = zone.viewers(&node).await;
    let early = tokio::join!(one.get(PLAYLIST, &[]), two.get("/live/demo/index.m3u8", &[]));
    for answer in [early.0, early.1] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    }
    assert_eq!(one.get("/live/other/index.m3u8", &[]).await.status, 404);

    studio.reconnect(zone.now());
    let nodes = [&node];
    let goes_on = ingest.play(&nodes, &mut studio);
    let waited = tokio::join!(one.get(PLAYLIST, &[]), two.get("/live/demo/index.m3u8", &[]), goes_on);
    assert_eq!((waited.0.status, waited.1.status), (200, 200));
    assert_eq!(one.get("/live/demo/1440p/index.m3u8", &[]).await.status, 404, "what it has not, it never had");
}
