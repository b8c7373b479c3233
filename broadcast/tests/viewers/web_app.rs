//! The embedded web app.

use crate::site::{Answer, Site};

fn is_page(answer: &Answer) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("content-security-policy"), include_str!("../../../web/csp.txt").trim());
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert!(answer.text().contains("<title>Sealcast</title>"));
}

#[tokio::test]
async fn page_answers_for_all_urls_of_the_app_and_is_asked_about_each_time() {
    let site = Site::start().await;
    let page = site.get("/", &[]).await;
    is_page(&page);
    is_page(&site.get("/watch/demo", &[]).await);
    is_page(&site.get("/watch/not-live-yet?t=3", &[]).await);
    assert_eq!(site.get("/", &[("if-none-match", page.header("etag"))]).await.status, 304);
    for path in ["/watch", "/watch/", "/watch/a/b", "/watch/a%20b", "/watch/..%2f", "/nothing", "/index.htm"] {
        assert_eq!(site.get(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn watch_page_has_its_playlist_come_along() {
    let site = Site::start().await;
    let link = "</live/demo/index.m3u8>; rel=preload; as=fetch; crossorigin";
    assert_eq!(site.get("/watch/demo", &[]).await.header("link"), link);
    assert!(!site.get("/", &[]).await.headers.contains_key("link"));
}

#[tokio::test]
async fn everything_that_the_page_names_is_there_for_ever() {
    let site = Site::start().await;
    let page = site.get("/", &[]).await;
    let named: Vec<&str> = page.text().split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(named.len() >= 2, "{named:?}");
    for path in named {
        let plain = site.get(path, &[]).await;
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(plain.header("cache-control"), "public, max-age=31536000, immutable");
        let expected = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("no expectation for .{other}"),
        };
        assert_eq!(plain.header("content-type"), expected);
        let zipped = site.get(path, &[("accept-encoding", "gzip")]).await;
        if zipped.header("content-encoding") == "gzip" {
            assert_eq!(zipped.unzipped(), plain.body);
        }
    }
    assert_eq!(site.get("/assets/", &[]).await.status, 404);
    assert_eq!(site.get("/assets/other.js", &[]).await.status, 404);
}
