//! Requests that no viewer makes: nothing panics, no answer is a 500, and nothing but our own content is served.

use std::sync::{Arc, LazyLock};

use access::{Facts, Rules};
use axum::body::Body;
use broadcast::viewers::{AccessControl, ChatBounds, ChatHub, Settings, Traffic, Viewers};
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use media::NodeId;
use node::CancellationToken;
use node::clock::Clock;
use node::http::Application as _;
use proptest::prelude::*;

use crate::site::Site;
use crate::snapshots::{Fixed, SEGMENT, SEGMENT_BYTES};

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

fn app() -> Viewers {
    app_with(&AccessControl::new(Clock::new()))
}

fn app_with(access: &Arc<AccessControl>) -> Viewers {
    let (node, access) = (NodeId::new("b1").unwrap(), Arc::clone(access));
    let settings = Settings {
        node,
        target_duration_s: 4,
        direct: None,
        access,
        chat: ChatHub::new(ChatBounds::default(), CancellationToken::new()),
    };
    Viewers::new(settings, Arc::new(Fixed::new()), Arc::new(Traffic::default()))
}

/// The statuses of requests for these URLs, on this thread, with these rights.
pub(crate) fn ask_with(facts: Facts, urls: &[&str]) -> Vec<u16> {
    let access = AccessControl::new(Clock::new());
    access.obey(Rules::from_facts(facts));
    let app = app_with(&access);
    urls.iter().map(|url| ask_of(&app, Request::get(*url).body(Body::empty()).unwrap()).0).collect()
}

static APP: LazyLock<Viewers> = LazyLock::new(app);

/// Status and length of the body, which must be the length that the headers state.
fn ask(request: Request<Body>) -> (u16, usize) {
    ask_of(&APP, request)
}

fn ask_of(app: &Viewers, request: Request<Body>) -> (u16, usize) {
    RUNTIME.block_on(async {
        let response = app.clone().answer(request).await;
        let (status, length) = (response.status().as_u16(), response.headers().get("content-length").cloned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if let Some(length) = length {
            assert_eq!(length, body.len().to_string());
        }
        (status, body.len())
    })
}

proptest! {
    #[test]
    fn no_header_leads_to_a_server_error(
        name in prop::sample::select(vec!["range", "if-range", "if-none-match", "if-match", "accept-encoding"]),
        value in prop::collection::vec(any::<u8>(), 0..60),
        path in prop::sample::select(vec![SEGMENT, "/live/demo/index.m3u8", "/api/v1/streams", "/"]),
    ) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let (status, _) = ask(Request::get(path).header(name, value).body(Body::empty()).unwrap());
        prop_assert!([200, 206, 304, 412, 416].contains(&status), "{status}");
    }

    #[test]
    fn header_that_is_nearly_right_is_answered_within_the_object(
        range in "[Bb]ytes ?= ?[0-9]{0,22}-?[0-9]{0,22}(, ?[0-9]{0,3}-[0-9]{0,3})?",
        if_range in "(W/)?\"?[a-f0-9]{0,4}\"?",
    ) {
        let request = Request::get(SEGMENT).header("range", range).body(Body::empty()).unwrap();
        let (status, length) = ask(request);
        prop_assert!([200, 206, 416].contains(&status));
        prop_assert!(length <= SEGMENT_BYTES);
        let request = Request::get(SEGMENT).header("range", "bytes=1-2").header("if-range", if_range);
        prop_assert_eq!(ask(request.body(Body::empty()).unwrap()), (200, SEGMENT_BYTES));
    }

    #[test]
    fn no_path_leads_anywhere_but_to_what_is_there(
        path in "(/(live|api|v1|watch|assets|demo|720p|1|7\\.m4s|\\.\\.|%2e%2e|%2f|%00|%ff|%c3%28|[!-~]{0,8})){0,7}/?(\\?[!-~]{0,20})?",
    ) {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let Ok(request) = Request::get(uri).body(Body::empty()) else { return Ok(()) };
        let (status, _) = ask(request);
        // Control is asked what only it knows.
        let is_controls = status == 421 && path.starts_with("/api/v1/");
        let allowed: &[u16] = if path.starts_with("/t/") { &[403, 414] } else { &[200, 400, 404] };
        prop_assert!(is_controls || allowed.contains(&status), "{status} {path}");
    }
}

#[tokio::test]
async fn traversal_and_strange_encodings_find_nothing() {
    let site = Site::start().await;
    for path in [
        "/../../../../etc/passwd",
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/live/../live/demo/index.m3u8",
        "/live/demo%2f720p/index.m3u8",
        "/live/demo%00/index.m3u8",
        "/live/%ff%fe/index.m3u8",
        "/live/demo/720p/1/..%2f1%2f7.m4s",
        "/live/demo/720p/1/%",
        "/live/demo/720p/1/%zz",
        "/api/v1/streams/%2e%2e",
        "/live/demo/720p/1/\\..\\7.m4s",
    ] {
        let answer = site.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{path}: {answer}");
        assert!(!answer.contains("root:"), "{path}");
    }
}

#[tokio::test]
async fn unreserved_letters_may_be_percent_encoded() {
    let site = Site::start().await;
    let request = b"GET /live/%64emo/index.m3u8 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(site.raw(request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn overlong_url_is_414_and_the_connection_goes_on() {
    let site = Site::start().await;
    for path in [format!("/live/{}/index.m3u8", "a".repeat(2000)), format!("/live/demo/seals?x={}", "1".repeat(2000))] {
        assert_eq!(site.get(&path, &[]).await.status, 414);
    }
    assert_eq!(site.get("/live/demo/index.m3u8", &[]).await.status, 200);
}

#[test]
fn unknown_names_add_no_metric() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let app = metrics::with_local_recorder(&recorder, app);
    let series = |from: u32, to: u32| {
        metrics::with_local_recorder(&recorder, || {
            for number in from..to {
                for path in [format!("/live/s{number}/index.m3u8"), format!("/{number}"), format!("/api/{number}/x")] {
                    assert_eq!(ask_of(&app, Request::get(path).body(Body::empty()).unwrap()).0, 404);
                }
            }
        });
        handle.render().lines().filter(|line| !line.starts_with('#')).count()
    };
    let few = series(0, 1);
    assert!(few > 0);
    assert_eq!(series(1, 1000), few);
}
