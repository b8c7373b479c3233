//! What takes long to render holds up nobody, and is rendered once for all who ask.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use node::clock::Clock;

use crate::site::Site;

const LIVE: &str = "/live/demo/720p/index.m3u8";
const DVR: &str = "/live/demo/720p/dvr.m3u8";

/// On one thread: whatever rendered there would hold up all.
#[tokio::test]
async fn live_playlists_do_not_wait_for_a_recording_that_is_being_rendered() {
    let site = Arc::new(Site::start().await);
    let asking = site.clone();
    let recorded = tokio::spawn(async move { asking.send(&asking.http2, Method::GET, DVR, &[]).await.status() });
    site.watched.rendering.subscribe().wait_for(|rendering| *rendering).await.unwrap();
    assert_eq!(site.get(LIVE, &[]).await.status, 200);
    assert!(!recorded.is_finished(), "it is still being rendered");
    site.watched.finish();
    assert_eq!(recorded.await.unwrap(), 200);
}

#[tokio::test]
async fn list_of_streams_is_rendered_once_for_all_who_ask_for_it() {
    let site = Arc::new(Site::start().await);
    let started = Clock::new();
    let asked = (0..300).map(|_| {
        let site = site.clone();
        tokio::spawn(
            async move { site.send(&site.http2, Method::GET, "/api/v1/streams", &[]).await.text().await.unwrap() },
        )
    });
    let texts = futures_util::future::join_all(asked.collect::<Vec<_>>()).await;
    let texts: Vec<String> = texts.into_iter().map(Result::unwrap).collect();
    assert!(texts.iter().all(|text| *text == texts[0] && text.contains("demo")));
    // Eight are saved up, and one more comes each quarter of a second.
    let most = 9 + usize::try_from(started.elapsed().as_millis() / 250).unwrap();
    let lists = site.watched.lists.load(Ordering::SeqCst);
    assert!((1..=most).contains(&lists), "rendered {lists} times, and {most} would do");
}
