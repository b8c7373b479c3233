//! Playlists: short-lived, compressed for clients that accept it, validated by strong tags.

use crate::site::Site;
use crate::snapshots::{MEDIA_PLAYLIST, MULTIVARIANT};

const MEDIA_URL: &str = "/live/demo/720p/index.m3u8";

#[tokio::test]
async fn playlist_is_sent_as_it_was_rendered_and_kept_for_half_a_target_duration() {
    let site = Site::start().await;
    for (path, text) in [("/live/demo/index.m3u8", MULTIVARIANT), (MEDIA_URL, MEDIA_PLAYLIST)] {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, answer.text()), (200, text));
        assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
        assert_eq!(answer.header("cache-control"), "public, max-age=2");
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("content-encoding"), "");
        assert_eq!(answer.header("content-length"), text.len().to_string());
        m3u8_rs::parse_playlist_res(&answer.body).unwrap();
    }
}

#[tokio::test]
async fn gzip_is_another_representation_with_another_tag() {
    let site = Site::start().await;
    let plain = site.get(MEDIA_URL, &[("accept-encoding", "br")]).await;
    let zipped = site.get(MEDIA_URL, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert_eq!(zipped.unzipped(), plain.body);
    assert!(zipped.body.len() < plain.body.len());
    assert_eq!(zipped.header("content-length"), zipped.body.len().to_string());
    assert_eq!(zipped.header("vary"), "accept-encoding");
    assert_ne!(zipped.header("etag"), plain.header("etag"));
    assert_eq!(site.get(MEDIA_URL, &[("accept-encoding", "gzip;q=0")]).await.body, plain.body);
    let known = |etag: &str, encoding: &'static str| {
        let (site, etag) = (&site, etag.to_owned());
        async move { site.get(MEDIA_URL, &[("if-none-match", &etag), ("accept-encoding", encoding)]).await }
    };
    let unchanged = known(zipped.header("etag"), "gzip").await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("vary"), "accept-encoding");
    assert_eq!(unchanged.header("content-encoding"), "");
    assert_eq!(known(plain.header("etag"), "identity").await.status, 304);
    assert_eq!(known(plain.header("etag"), "gzip").await.status, 200);
}

#[tokio::test]
async fn parameters_and_ranges_do_not_change_a_playlist() {
    let site = Site::start().await;
    for query in ["?_HLS_msn=3&_HLS_part=1", "?_HLS_skip=YES", "?x=%00%ff&&=", "?"] {
        let answer = site.get(&format!("{MEDIA_URL}{query}"), &[("range", "bytes=0-9")]).await;
        assert_eq!((answer.status, answer.text()), (200, MEDIA_PLAYLIST), "{query}");
    }
}

#[tokio::test]
async fn unknown_stream_or_rendition_is_not_found() {
    let site = Site::start().await;
    for path in [
        "/live/other/index.m3u8",
        "/live/demo/360p/index.m3u8",
        "/live/other/720p/index.m3u8",
        "/live/demo/",
        "/live/demo",
    ] {
        assert_eq!(site.get(path, &[]).await.status, 404, "{path}");
    }
}
