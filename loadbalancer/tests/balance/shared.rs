//! What many viewers want at the same moment is asked of a node once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use node::clock::Clock;
use node::http::Limits;
use testkit::viewer::{Viewer, length};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::blocked::WINDOW_BYTES;
use crate::cluster::{Cluster, NODES, first_answer, within};

const PLAIN: &str = "/live/demo/v/index.m3u8";
const BLOCKS: &str = "/live/demo/v/index.m3u8?_HLS_msn=7&_HLS_part=1";
/// How long the balancer may keep a playlist that does not block.
const PLAIN_KEPT_MAX: Duration = Duration::from_millis(100);

/// A node that counts what it is asked. Each answer says which node gave it, to what, and in which edition. Paths with a directive, and
/// media, wait until they are released.
#[derive(Clone)]
struct Origin {
    name: &'static str,
    asked: watch::Sender<usize>,
    waiting: watch::Sender<usize>,
    released: watch::Sender<bool>,
    edition: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
    cache_control: &'static str,
    /// Bytes that make its playlists longer.
    padding: usize,
    /// The headers of the last request.
    headers: Arc<Mutex<HeaderMap>>,
}

/// Counts a waiting request, until it is dropped.
struct Waits(watch::Sender<usize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Origin {
    fn new(name: &'static str) -> Self {
        let (asked, waiting, released) = (watch::Sender::new(0), watch::Sender::new(0), watch::Sender::new(false));
        let (edition, refuses) = (Arc::default(), Arc::default());
        let (cache_control, headers) = ("public, max-age=24", Arc::default());
        Self { name, asked, waiting, released, edition, refuses, cache_control, padding: 0, headers }
    }

    fn router(&self) -> Router {
        Router::new().route("/", axum::routing::get(|| async {})).fallback(Self::answer).with_state(self.clone())
    }

    async fn answer(State(origin): State<Self>, request: Request) -> Response {
        origin.headers.lock().unwrap().clone_from(request.headers());
        origin.asked.send_modify(|asked| *asked += 1);
        let target = request.uri().path_and_query().unwrap().to_string();
        if target.contains("_HLS_msn") || target.contains(".m4s") {
            origin.waiting.send_modify(|waiting| *waiting += 1);
            let _waits = Waits(origin.waiting.clone());
            origin.released.subscribe().wait_for(|released| *released).await.unwrap();
        }
        if target.starts_with("/t/scv_wrong/") {
            return (StatusCode::FORBIDDEN, [(header::CACHE_CONTROL, "no-store")], "refused").into_response();
        }
        if origin.refuses.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::CACHE_CONTROL, "no-store")], "refused").into_response();
        }
        let coding = if accepts_gzip(request.headers()) { "gzip" } else { "identity" };
        let headers = [
            (header::CACHE_CONTROL, origin.cache_control),
            (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
            (header::CONTENT_ENCODING, coding),
            (header::VARY, "accept-encoding"),
            (header::ETAG, "\"tag\""),
        ];
        let edition = origin.edition.load(Ordering::Relaxed);
        let padding = " ".repeat(origin.padding);
        (headers, format!("{padding}{} {target} {coding} {edition}", origin.name)).into_response()
    }

    async fn has_waiting(&self, requests: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting == requests);
        within(&format!("{requests} requests wait on {}", self.name), reached).await.unwrap();
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT_ENCODING).is_some_and(|value| value == "gzip")
}

/// A viewer's answer: its text, or its status if that is not 200.
async fn text(answer: reqwest::Response) -> String {
    match answer.status() {
        StatusCode::OK => answer.text().await.unwrap(),
        status => status.as_str().to_owned(),
    }
}

fn ask(viewer: &reqwest::Client, url: String, headers: &[(&'static str, &str)]) -> JoinHandle<reqwest::Response> {
    let request = headers.iter().fold(viewer.get(url), |request, (name, value)| request.header(*name, *value));
    tokio::spawn(async { request.send().await.unwrap() })
}

async fn all(answers: Vec<JoinHandle<reqwest::Response>>) -> Vec<String> {
    let mut texts = Vec::new();
    for answer in answers {
        texts.push(text(within("an answer", answer).await.unwrap()).await);
    }
    texts
}

/// A balancer in front of a node.
async fn balanced(origin: &Origin) -> (Cluster, String) {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let _backend = cluster.node(origin.name, origin.router(), Limits::default()).await;
    first_answer(&cluster.viewer(), &format!("{url}/")).await;
    (cluster, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_block_on_one_part_cost_one_request() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    // Every other viewer speaks HTTP/1.1, and has a cookie.
    let viewers: Vec<_> =
        (0..50).map(|index| cluster.viewer_with(std::net::Ipv4Addr::LOCALHOST.into(), index % 2 == 1)).collect();
    let mut answers = Vec::new();
    for (index, viewer) in viewers.iter().enumerate() {
        let cookie = format!("viewer={index}");
        for _ in 0..4 {
            answers.push(ask(viewer, format!("{url}{BLOCKS}"), &[("cookie", &cookie)]));
        }
    }
    cluster.has_waiting(200).await;
    assert_eq!((origin.asked(), *origin.waiting.borrow()), (1, 1));
    origin.released.send_replace(true);
    for answer in answers {
        let answer = within("an answer", answer).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let said = ["cache-control", "content-type", "etag", "vary", "set-cookie", "age"].map(header);
        let expected = ["public, max-age=24", "application/vnd.apple.mpegurl", "\"tag\"", "accept-encoding"].map(Some);
        assert_eq!(said.each_ref().map(Option::as_deref), [&expected[..], &[None, None]].concat()[..]);
        assert_eq!(answer.content_length(), Some(format!("b1 {BLOCKS} identity 0").len() as u64));
        assert_eq!(text(answer).await, format!("b1 {BLOCKS} identity 0"));
    }
    // Who comes a moment later gets it too.
    assert_eq!(all(vec![ask(&viewers[0], format!("{url}{BLOCKS}"), &[])]).await, [format!("b1 {BLOCKS} identity 0")]);
    assert_eq!(origin.asked(), 1);
    cluster.has_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_wait_on_a_node_that_dies_get_the_answer_of_another() {
    let cluster = Cluster::start(&NODES).await;
    let url = format!("https://{}", cluster.balancer().await);
    let origins = [Origin::new("b1"), Origin::new("b2")];
    let backends = [
        cluster.node("b1", origins[0].router(), Limits::default()).await,
        cluster.node("b2", origins[1].router(), Limits::default()).await,
    ];
    cluster.becomes("b1", "online").await;
    cluster.becomes("b2", "online").await;
    let viewer = cluster.viewer();
    first_answer(&viewer, &format!("{url}/")).await;
    let answers: Vec<_> = (0..100).map(|_| ask(&viewer, format!("{url}{BLOCKS}"), &[])).collect();
    cluster.has_waiting(100).await;
    // The balancer counts its viewers before the node that it chose has their request.
    let here = tokio::select! {
        () = origins[0].has_waiting(1) => 0,
        () = origins[1].has_waiting(1) => 1,
    };
    let there = &origins[1 - here];
    backends[here].kill();
    there.has_waiting(1).await;
    there.released.send_replace(true);
    let expected = format!("{} {BLOCKS} identity 0", there.name);
    assert!(all(answers).await.iter().all(|answer| *answer == expected));
    assert_eq!((origins[here].asked(), there.asked()), (1, 1));
    // The viewer stays where its answer came from.
    assert_eq!(
        all(vec![ask(&viewer, format!("{url}{PLAIN}"), &[])]).await,
        [format!("{} {PLAIN} identity 0", there.name)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn encodings_and_delta_updates_are_shared_each_for_itself() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let viewer = cluster.viewer();
    let delta = format!("{BLOCKS}&_HLS_skip=YES");
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(ask(&viewer, format!("{url}{BLOCKS}"), &[]));
        answers.push(ask(&viewer, format!("{url}{BLOCKS}"), &[("accept-encoding", "br, gzip")]));
        answers.push(ask(&viewer, format!("{url}{PLAIN}?_HLS_skip=YES&_HLS_part=1&_HLS_msn=7"), &[]));
        answers.push(ask(&viewer, format!("{url}{delta}"), &[("accept-encoding", "gzip")]));
    }
    cluster.has_waiting(20).await;
    origin.has_waiting(4).await;
    origin.released.send_replace(true);
    let expected = [
        format!("b1 {BLOCKS} identity 0"),
        format!("b1 {BLOCKS} gzip 0"),
        format!("b1 {delta} identity 0"),
        format!("b1 {delta} gzip 0"),
    ];
    for answers in all(answers).await.chunks(4) {
        assert_eq!(answers, expected);
    }
    assert_eq!(origin.asked(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_that_hangs_up_takes_nothing_from_others_and_the_last_one_ends_the_request() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let address = url.trim_start_matches("https://").parse().unwrap();
    let mut viewers = Vec::new();
    for _ in 0..3 {
        viewers.push(Viewer::connect(address, cluster.trust(), WINDOW_BYTES).await);
    }
    let mut answers = Vec::new();
    for (index, viewer) in viewers.iter_mut().enumerate() {
        answers.push(viewer.get(BLOCKS, None).await.1);
        // The first one asks first.
        cluster.has_waiting(index + 1).await;
    }
    origin.has_waiting(1).await;
    viewers[0].vanish();
    cluster.has_waiting(2).await;
    drop(answers.swap_remove(1));
    cluster.has_waiting(1).await;
    assert_eq!((origin.asked(), *origin.waiting.borrow()), (1, 1));
    viewers[2].vanish();
    cluster.has_waiting(0).await;
    origin.has_waiting(0).await;
    // Nobody is left who could have been told, and the next viewer begins anew.
    let http1 = cluster.viewer_with(std::net::Ipv4Addr::LOCALHOST.into(), true);
    let (stays, leaves) =
        (ask(&cluster.viewer(), format!("{url}{BLOCKS}"), &[]), ask(&http1, format!("{url}{BLOCKS}"), &[]));
    cluster.has_waiting(2).await;
    leaves.abort();
    cluster.has_waiting(1).await;
    origin.released.send_replace(true);
    assert_eq!(all(vec![stays]).await, [format!("b1 {BLOCKS} identity 0")]);
    assert_eq!(origin.asked(), 2);
    assert_eq!(cluster.health("b1").await.as_deref(), Some("online"));
}

#[tokio::test(flavor = "multi_thread")]
async fn playlist_that_does_not_block_is_shared_and_never_older_than_its_bound() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let (viewer, clock) = (cluster.viewer(), Clock::new());
    let edition = async || {
        let answer = all(vec![ask(&viewer, format!("{url}{PLAIN}"), &[])]).await.remove(0);
        answer.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()
    };
    let mut answers = 0;
    for next in 1..=5 {
        edition().await;
        origin.edition.store(next, Ordering::Relaxed);
        let changed = clock.elapsed();
        loop {
            let asked = clock.elapsed();
            answers += 1;
            if edition().await == next {
                break;
            }
            assert!(asked < changed + PLAIN_KEPT_MAX, "{:?} old", asked - changed);
        }
    }
    assert!(origin.asked() * 2 < answers, "{answers} answers, {} requests", origin.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_playlist_that_a_viewer_does_not_take_at_once_arrives_whole_and_holds_up_no_other() {
    let origin = Origin { padding: 200_000, ..Origin::new("b1") };
    let (cluster, url) = balanced(&origin).await;
    origin.released.send_replace(true);
    let mut viewer = Viewer::connect(url.trim_start_matches("https://").parse().unwrap(), cluster.trust(), 1_024).await;
    let whole = 200_000 + format!("b1 {BLOCKS} identity 0").len();
    // The first one is asked of the node, the others are kept.
    let (_, first) = viewer.get(BLOCKS, None).await;
    assert_eq!(within("the first playlist", async { length(first.await).await }).await, whole);
    let mut heads = Vec::new();
    for _ in 0..4 {
        let (_, answer) = viewer.get(BLOCKS, None).await;
        heads.push(within("the head of an answer", answer).await);
    }
    // None of them is read yet.
    let (_, other) = viewer.get("/", None).await;
    assert_eq!(within("another answer", async { length(other.await).await }).await, 0);
    for head in heads {
        assert_eq!(within("a whole playlist", length(head)).await, whole);
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_request_carries_nothing_of_the_viewer_who_asked_first() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let evil = [
        ("cookie", "a=b"),
        ("host", "evil.example"),
        ("origin", "https://evil.example"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "evil.example"),
        ("priority", "u=0"),
        ("cache-control", "no-cache"),
    ];
    for is_http1 in [true, false] {
        let viewer = cluster.viewer_with(std::net::Ipv4Addr::LOCALHOST.into(), is_http1);
        // HTTP/2 refuses a host that is not its authority.
        let headers = if is_http1 { &evil[..] } else { &[evil[0], evil[2], evil[3], evil[4], evil[5], evil[6]] };
        let path = format!("{PLAIN}?_HLS_skip={}", if is_http1 { "YES" } else { "no" });
        all(vec![ask(&viewer, format!("{url}{path}"), headers)]).await;
        let seen = origin.headers.lock().unwrap().clone();
        let seen: Vec<_> = seen.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        for header in &seen {
            assert!(
                [("host", "sealcast"), ("accept-encoding", "identity"), ("x-forwarded-proto", "https")]
                    .contains(header),
                "{seen:?}"
            );
        }
    }
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_for_those_who_waited_for_it() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let viewer = cluster.viewer();
    origin.refuses.store(true, Ordering::Relaxed);
    let answers: Vec<_> = (0..20).map(|_| ask(&viewer, format!("{url}{BLOCKS}"), &[])).collect();
    cluster.has_waiting(20).await;
    origin.released.send_replace(true);
    assert!(all(answers).await.iter().all(|answer| answer == "503"));
    assert_eq!(origin.asked(), 1);
    origin.refuses.store(false, Ordering::Relaxed);
    assert_eq!(all(vec![ask(&viewer, format!("{url}{BLOCKS}"), &[])]).await, [format!("b1 {BLOCKS} identity 0")]);
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_caches_may_not_keep_are_asked_for_by_each_viewer() {
    let origin = Origin { cache_control: "private, max-age=24", ..Origin::new("b1") };
    let (cluster, url) = balanced(&origin).await;
    let viewer = cluster.viewer();
    let answers: Vec<_> = (0..10).map(|_| ask(&viewer, format!("{url}{BLOCKS}"), &[])).collect();
    cluster.has_waiting(10).await;
    origin.released.send_replace(true);
    for answer in answers {
        let answer = within("an answer", answer).await.unwrap();
        // What caches do not share has the viewer's cookie.
        assert!(answer.headers().contains_key("set-cookie"));
        assert_eq!(text(answer).await, format!("b1 {BLOCKS} identity 0"));
    }
    assert_eq!(origin.asked(), 11, "one request showed it, and then each viewer asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_and_what_only_one_viewer_asks_is_not_shared() {
    let origin = Origin::new("b1");
    let (cluster, url) = balanced(&origin).await;
    let viewer = cluster.viewer();
    let answers: Vec<_> = (0..10).map(|_| ask(&viewer, format!("{url}/live/demo/v/1/7.1.m4s"), &[])).collect();
    origin.has_waiting(10).await;
    origin.released.send_replace(true);
    assert_eq!(all(answers).await, vec!["b1 /live/demo/v/1/7.1.m4s identity 0"; 10]);
    for _ in 0..5 {
        all(vec![ask(&viewer, format!("{url}/live/demo/v/1/7.1.m4s"), &[])]).await;
        all(vec![ask(&viewer, format!("{url}{PLAIN}"), &[("if-none-match", "\"other\"")])]).await;
        all(vec![ask(&viewer, format!("{url}{PLAIN}?mine"), &[])]).await;
    }
    assert_eq!(origin.asked(), 25);
}

/// A node that takes one token and refuses another is asked by each viewer: no playlist of one who may watch goes to one who may not, and
/// none to the next one with the same token, whose right may have ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_opens_goes_to_its_holder_alone() {
    let origin = Origin { cache_control: "private, max-age=24", ..Origin::new("b1") };
    let (cluster, url) = balanced(&origin).await;
    let viewer = cluster.viewer();
    let below = |token: &str| format!("{url}/t/{token}{BLOCKS}");
    let answers: Vec<_> =
        (0..10).map(|n| ask(&viewer, below(if n % 2 == 0 { "scv_right" } else { "scv_wrong" }), &[])).collect();
    origin.has_waiting(10).await;
    cluster.has_waiting(0).await;
    origin.released.send_replace(true);
    for (n, answer) in all(answers).await.into_iter().enumerate() {
        let expected = if n % 2 == 0 { format!("b1 /t/scv_right{BLOCKS} identity 0") } else { "403".to_owned() };
        assert_eq!(answer, expected);
    }
    assert_eq!(origin.asked(), 10);
    // Neither is any of it kept.
    for n in 1..=3 {
        assert_eq!(all(vec![ask(&viewer, below("scv_wrong"), &[])]).await, ["403"]);
        assert_eq!(origin.asked(), 10 + n);
    }
}
