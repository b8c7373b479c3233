//! Media objects: immutable, in ranges, never compressed.

use reqwest::Method;

use crate::site::Site;
use crate::snapshots::{IMAGE, POSTER, SEGMENT, SEGMENT_BYTES, bytes_of};

#[tokio::test]
async fn object_is_immutable_and_the_same_in_both_versions_of_http() {
    let site = Site::start().await;
    let answer = site.get(SEGMENT, &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, bytes_of(SEGMENT, SEGMENT_BYTES));
    assert_eq!(answer.header("content-type"), "video/mp4");
    assert_eq!(answer.header("content-length"), SEGMENT_BYTES.to_string());
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("vary"), "");
    assert_eq!(answer.header("x-sealcast-node"), "b1");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("content-range"));
    for (path, content_type) in [
        ("/live/demo/720p/1/init.mp4", "video/mp4"),
        ("/live/demo/720p/1/7.0.m4s", "video/mp4"),
        ("/live/demo/audio/1/init.mp4", "audio/mp4"),
        ("/live/demo/audio/1/7.m4s", "audio/mp4"),
    ] {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, content_type), "{path}");
        assert_eq!(answer.body, bytes_of(path, answer.body.len()));
    }
}

#[tokio::test]
async fn newest_image_has_a_url_of_its_own_and_is_kept_like_a_playlist() {
    let site = Site::start().await;
    let (image, poster) = (site.get(IMAGE, &[]).await, site.get(POSTER, &[]).await);
    assert_eq!((image.status, image.body.len()), (200, 9_000));
    assert_eq!((poster.status, &poster.body, poster.header("etag")), (200, &image.body, image.header("etag")));
    for (answer, kept) in [(&image, "public, max-age=31536000, immutable"), (&poster, "public, max-age=2")] {
        assert_eq!((answer.header("content-type"), answer.header("priority")), ("image/jpeg", "u=5"));
        assert_eq!(answer.header("cache-control"), kept);
    }
    assert_eq!(site.get(POSTER, &[("if-none-match", image.header("etag"))]).await.status, 304);
    assert_eq!(site.get("/live/other/poster.jpg", &[]).await.status, 404);
    assert_eq!(site.get("/live/demo/720p/1/8.jpg", &[]).await.status, 404);
}

#[tokio::test]
async fn one_range_is_answered_with_206_and_its_place() {
    let site = Site::start().await;
    let whole = bytes_of(SEGMENT, SEGMENT_BYTES);
    let last = SEGMENT_BYTES - 1;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=100-299".into(), 100, 299),
        (format!("bytes={last}-"), last, last),
        ("bytes=-500".into(), SEGMENT_BYTES - 500, last),
        ("bytes=-99999999999999999999999".into(), 0, last),
        (format!("bytes=10-{}", u64::MAX), 10, last),
    ] {
        let answer = site.get(SEGMENT, &[("range", &range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{to}/{SEGMENT_BYTES}"));
        assert_eq!(answer.header("content-length"), (to - from + 1).to_string());
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert!(!answer.header("etag").is_empty());
        assert_eq!(answer.body, whole[from..=to], "{range}");
    }
}

#[tokio::test]
async fn range_beyond_the_end_is_416_and_says_the_length() {
    let site = Site::start().await;
    for range in [format!("bytes={SEGMENT_BYTES}-"), "bytes=-0".into(), "bytes=99999999999999999999999-".into()] {
        let answer = site.get(SEGMENT, &[("range", &range)]).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes */{SEGMENT_BYTES}"));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn several_ranges_or_nonsense_get_the_whole() {
    let site = Site::start().await;
    for range in ["bytes=0-1,5-6", "bytes=5-2", "bytes=a-b", "bytes=", "seconds=0-1"] {
        let answer = site.get(SEGMENT, &[("range", range)]).await;
        assert_eq!((answer.status, answer.body.len()), (200, SEGMENT_BYTES), "{range}");
    }
}

#[tokio::test]
async fn range_is_honoured_only_for_the_object_that_if_range_names() {
    let site = Site::start().await;
    let etag = site.get(SEGMENT, &[]).await.header("etag").to_owned();
    let ranged = |if_range: String| {
        let site = &site;
        async move { site.get(SEGMENT, &[("range", "bytes=0-9"), ("if-range", &if_range)]).await.status }
    };
    assert_eq!(ranged(etag.clone()).await, 206);
    assert_eq!(ranged(format!("W/{etag}")).await, 200);
    assert_eq!(ranged("\"other\"".into()).await, 200);
    assert_eq!(ranged("Wed, 21 Oct 2026 07:28:00 GMT".into()).await, 200);
}

#[tokio::test]
async fn known_object_is_304_before_any_range() {
    let site = Site::start().await;
    let etag = site.get(SEGMENT, &[]).await.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() == 34, "{etag}");
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
        let answer = site.get(SEGMENT, &[("if-none-match", &known), ("range", "bytes=0-9")]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    }
    assert_eq!(site.get(SEGMENT, &[("if-none-match", "\"other\"")]).await.status, 200);
    assert_eq!(site.get(SEGMENT, &[("if-match", "\"other\"")]).await.status, 412);
    assert_eq!(site.get(SEGMENT, &[("if-match", &etag)]).await.status, 200);
}

#[tokio::test]
async fn head_says_what_get_would_send_and_sends_nothing() {
    let site = Site::start().await;
    for path in [SEGMENT, "/live/demo/index.m3u8", "/live/demo/seals", "/api/v1/streams", "/", "/nothing/here"] {
        let (get, head) = (site.get(path, &[]).await, site.ask(Method::HEAD, path, &[]).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.headers, get.headers, "{path}");
    }
    let ranged = site.ask(Method::HEAD, SEGMENT, &[("range", "bytes=0-9")]).await;
    assert_eq!((ranged.status, ranged.header("content-length")), (200, SEGMENT_BYTES.to_string().as_str()));
}

#[tokio::test]
async fn object_has_one_spelling_and_unknown_ones_are_not_found() {
    let site = Site::start().await;
    for path in [
        "/live/demo/720p/01/7.m4s",
        "/live/demo/720p/+1/7.m4s",
        "/live/demo/720p/1/07.m4s",
        "/live/demo/720p/1/7.00.m4s",
        "/live/demo/720p/1/7.m4s/",
        "/live/demo/720p/1/7",
        "/live/demo/720p/2/7.m4s",
        "/live/demo/720p/99999999999999999999/7.m4s",
        "/live/demo/360p/1/7.m4s",
        "/live/other/720p/1/7.m4s",
        "/LIVE/demo/720p/1/7.m4s",
    ] {
        let answer = site.get(path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-sealcast-node"), "b1");
        assert!(answer.text().ends_with('\n') && answer.text().len() > 10);
    }
}

#[tokio::test]
async fn what_connections_took_is_counted() {
    let site = Site::start().await;
    let length = site.get(SEGMENT, &[]).await.body.len() as u64;
    assert_eq!((site.traffic.requests(), site.traffic.egress_bytes()), (2, 2 * length));
    site.ask(Method::HEAD, SEGMENT, &[]).await;
    assert_eq!((site.traffic.requests(), site.traffic.egress_bytes()), (4, 2 * length));
    site.get(SEGMENT, &[("range", "bytes=0-99")]).await;
    assert_eq!((site.traffic.requests(), site.traffic.egress_bytes()), (6, 2 * length + 200));
}
