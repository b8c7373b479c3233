//! The player in frames of other sites, and which sites' scripts may read a stream.

use std::collections::BTreeMap;

use access::{Embedding, Facts, PageSettings, Visibility};
use media::StreamId;

use crate::site::{Answer, Site};
use crate::snapshots::SEGMENT;
use crate::tokens::{claims, facts, token};

const EMBED: &str = "/live/demo/embed";
const TOWN: &str = "https://town.example";

fn with(visibility: Visibility, origins: &[&str], embed: Embedding) -> Facts {
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let settings = PageSettings { origins, embed, chat: None };
    let pages = BTreeMap::from([(StreamId::new("demo").unwrap(), settings)]);
    Facts { pages, ..facts(visibility) }
}

/// The sites that an answer lets show it.
fn ancestors(answer: &Answer) -> &str {
    let policy = answer.header("content-security-policy");
    policy.split("; ").find_map(|directive| directive.strip_prefix("frame-ancestors ")).unwrap_or("any")
}

#[tokio::test]
async fn player_is_shown_on_the_sites_that_the_stream_allows_and_no_other_page_anywhere() {
    let site = Site::start().await;
    let listed = ["https://town.example", "https://*.choir.example"];
    for (origins, embed, expected) in [
        (&[][..], Embedding::Listed, "'self'"),
        (&listed[..], Embedding::Listed, "'self' https://town.example https://*.choir.example"),
        (&listed[..], Embedding::Nowhere, "'self'"),
        (&[], Embedding::Anywhere, "*"),
        (&["https://a.example; script-src *"], Embedding::Listed, "'self'"),
    ] {
        site.obey(with(Visibility::Public, origins, embed));
        let page = site.get(EMBED, &[]).await;
        assert_eq!((page.status, ancestors(&page)), (200, expected));
        assert!(!page.headers.contains_key("x-frame-options"), "it would overrule the policy");
        assert_eq!(page.header("referrer-policy"), "same-origin", "a token in the path goes nowhere");
        let again = site.get(EMBED, &[("if-none-match", page.header("etag"))]).await;
        assert_eq!((again.status, ancestors(&again)), (304, expected), "a kept page gets the policy of now");
        // Scripts of all sites may read the page, so it carries nothing of a stream that lists some.
        let carries = site.get("/watch/demo", &[]).await.text().contains(r#"id="join""#);
        assert_eq!(carries, origins.is_empty(), "{origins:?}");
        for other in ["/", "/watch/demo"] {
            let page = site.get(other, &[]).await;
            assert_eq!((ancestors(&page), page.header("x-frame-options")), ("'none'", "DENY"), "{other}");
        }
    }
}

#[tokio::test]
async fn frame_of_a_hidden_stream_needs_the_token_in_its_path_and_tells_others_nothing() {
    let site = Site::start().await;
    site.obey(with(Visibility::Token, &[TOWN], Embedding::Listed));
    let (hidden, absent) = (site.get(EMBED, &[]).await, site.get("/live/nope/embed", &[]).await);
    assert_eq!((hidden.status, &hidden.headers, &hidden.body), (200, &absent.headers, &absent.body));
    let prefix = format!("/t/{}", token(&claims("demo")));
    let ours = site.get(&format!("{prefix}{EMBED}"), &[]).await;
    assert_eq!((ours.status, ancestors(&ours)), (200, "'self' https://town.example"));
    assert_eq!((ours.header("cache-control"), &ours.body), ("private, no-cache", &hidden.body));
    assert_eq!(site.get(&format!("{prefix}/live/other/embed"), &[]).await.status, 403);
    assert_eq!(site.get(&format!("/t/scv_x{EMBED}"), &[]).await.status, 403);
}

#[tokio::test]
async fn stream_that_lists_sites_is_read_by_their_scripts_alone_and_answers_say_on_what_they_depend() {
    let site = Site::start().await;
    let paths =
        ["/live/demo/index.m3u8", "/live/demo/720p/index.m3u8", SEGMENT, "/live/demo/seals", "/api/v1/streams/demo"];
    let read = async |path: &str, headers: &[(&str, &str)]| {
        let answer = site.send(&site.http2, reqwest::Method::GET, path, headers).await;
        let varies = answer.headers().get_all("vary").iter().any(|by| by == "origin");
        let allowed =
            answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), allowed, varies)
    };
    for path in paths {
        assert_eq!(read(path, &[("origin", TOWN)]).await, (200, Some("*".to_owned()), false), "{path}");
    }
    site.obey(with(Visibility::Public, &[TOWN], Embedding::Nowhere));
    for path in paths {
        assert_eq!(read(path, &[("origin", TOWN)]).await, (200, Some(TOWN.to_owned()), true), "{path}");
        for wrong in ["https://town.example.evil.net", "null", "https://evil.net", "http://town.example"] {
            assert_eq!(read(path, &[("origin", wrong)]).await, (200, None, true), "{path} {wrong}");
        }
        // No browser's: whoever sends none gets the bytes.
        assert_eq!(read(path, &[]).await, (200, None, true), "{path}");
        // The page under a balancer's name, which loads from nodes.
        let own = [("origin", "https://live.example"), ("sec-fetch-site", "same-site")];
        assert_eq!(read(path, &own).await, (200, Some("https://live.example".to_owned()), true), "{path}");
    }
    assert_eq!(read("/live/other/index.m3u8", &[("origin", TOWN)]).await, (404, Some("*".to_owned()), false));
}
