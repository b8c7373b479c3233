//! The embedded web app.

use std::collections::{BTreeMap, BTreeSet};

use crate::site::{Answer, Site};

fn is_page(answer: &Answer) {
    is_page_of(answer, include_str!("../../../web/csp.txt").trim(), "<title>Sealcast</title>");
}

/// Whether it is the page with this policy and title.
fn is_page_of(answer: &Answer, policy: &str, title: &str) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("content-security-policy"), policy);
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert!(answer.text().contains(title));
}

#[tokio::test]
async fn page_answers_for_all_urls_of_the_app_and_is_asked_about_each_time() {
    let site = Site::start().await;
    let page = site.get("/", &[]).await;
    is_page(&page);
    is_page(&site.get("/watch/not-live-yet?t=3", &[]).await);
    assert_eq!(site.get("/", &[("if-none-match", page.header("etag"))]).await.status, 304);
    for path in ["/watch", "/watch/", "/watch/a/b", "/watch/a%20b", "/watch/..%2f", "/nothing", "/index.htm"] {
        assert_eq!(site.get(path, &[]).await.status, 404, "{path}");
    }
}

/// The playlists in a page, by path.
fn carried(page: &Answer) -> BTreeMap<String, String> {
    let block = page.text().split_once(r#"<script type="application/json" id="join">"#);
    let json = block.map_or("{}", |(_, rest)| rest.split_once("</script>").unwrap().0);
    assert!(!json.contains('<'), "{json}");
    serde_json::from_str(json).unwrap()
}

#[tokio::test]
async fn studio_answers_for_all_its_pages_with_a_policy_of_its_own() {
    let site = Site::start().await;
    let policy = include_str!("../../../web/csp-studio.txt").trim();
    assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("wasm"));
    for path in ["/studio", "/studio/new", "/studio/streams/hall/health", "/studio/settings/keys", "/studio.html"] {
        is_page_of(&site.get(path, &[]).await, policy, "<title>Studio · Sealcast</title>");
    }
    for path in ["/sign-in", "/sign-in?next=%2Fstudio", "/setup", "/sign-in.html"] {
        is_page_of(&site.get(path, &[]).await, policy, "<title>Sign in · Sealcast</title>");
    }
    for path in ["/studios", "/sign-in/x", "/setup/sci_x"] {
        assert_eq!(site.get(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn watch_page_carries_the_playlists_of_its_stream() {
    let site = Site::start().await;
    let page = site.get("/watch/demo", &[]).await;
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("content-security-policy"), include_str!("../../../web/csp.txt").trim());
    let carried = carried(&page);
    let paths: Vec<_> = carried.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/live/demo/720p/index.m3u8", "/live/demo/index.m3u8"]);
    for (path, playlist) in &carried {
        assert_eq!(playlist, site.get(path, &[]).await.text(), "{path}");
    }
    let again = site.get("/watch/demo", &[("accept-encoding", "gzip")]).await;
    assert_eq!(again.unzipped(), page.body, "viewers who come meanwhile get the same page");
    let (_, player) = page.header("link").split_once("</assets/watch-").unwrap();
    let (file, rest) = player.split_once('>').unwrap();
    assert_eq!(rest, "; rel=modulepreload");
    assert_eq!(site.get(&format!("/assets/watch-{file}"), &[]).await.status, 200);
    assert!(!site.get("/", &[]).await.headers.contains_key("link"));
}

#[tokio::test]
async fn watch_page_of_a_stream_that_is_not_here_has_its_playlist_come_along() {
    let site = Site::start().await;
    let page = site.get("/watch/nope", &[]).await;
    assert!(page.header("link").starts_with("</live/nope/index.m3u8>; rel=preload; as=fetch; crossorigin, </assets/"));
    assert!(carried(&page).is_empty());
}

#[tokio::test]
async fn everything_that_the_pages_name_is_there_for_ever() {
    let site = Site::start().await;
    let mut named = BTreeSet::new();
    for page in ["/", "/studio", "/sign-in"] {
        let page = site.get(page, &[]).await;
        let assets = page.text().split('"').filter(|text| text.starts_with("/assets/")).map(str::to_owned);
        let before = named.len();
        named.extend(assets);
        assert!(named.len() >= before + 2, "{named:?}");
    }
    for path in &named {
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
        // What is compressed when the app is built.
        let packed = site.get(path, &[("accept-encoding", "gzip, deflate, br")]).await;
        assert_eq!(packed.header("content-encoding"), "br", "{path}");
        assert_eq!(packed.unbrotlied(), plain.body, "{path}");
        assert!(packed.body.len() < zipped.body.len(), "{path}");
        for answer in [&plain, &zipped, &packed] {
            assert_eq!(answer.header("vary"), "accept-encoding", "{path}");
        }
        let tags: BTreeSet<_> = [&plain, &zipped, &packed].map(|answer| answer.header("etag")).into();
        assert_eq!(tags.len(), 3, "{path}: {tags:?}");
        let known = [("accept-encoding", "br"), ("if-none-match", packed.header("etag"))];
        assert_eq!(site.get(path, &known).await.status, 304, "{path}");
        assert_eq!(site.get(&format!("{path}.br"), &[]).await.status, 404, "{path}");
    }
    for page in ["/", "/studio", "/sign-in"] {
        let packed = site.get(page, &[("accept-encoding", "br")]).await;
        assert_eq!(packed.header("content-encoding"), "br", "{page}");
        assert_eq!(packed.unbrotlied(), site.get(page, &[]).await.body, "{page}");
    }
    assert_eq!(site.get("/assets/", &[]).await.status, 404);
    assert_eq!(site.get("/assets/other.js", &[]).await.status, 404);
}
