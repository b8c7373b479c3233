//! The seal log, the JSON descriptions, methods and CORS.

use reqwest::Method;

use crate::site::Site;
use crate::snapshots::{SEAL_BYTES, SEALS, seal};

#[tokio::test]
async fn log_is_a_sequence_of_seals_from_where_it_is_asked_for() {
    let site = Site::start().await;
    for (query, first) in
        [("", 0), ("?from=0", 0), ("?from=3", 3), ("?x=1&from=4", 4), ("?from=18446744073709551615", SEALS)]
    {
        let answer = site.get(&format!("/live/demo/seals{query}"), &[("accept-encoding", "gzip")]).await;
        let expected: Vec<u8> = (first..SEALS).flat_map(seal).collect();
        assert_eq!((answer.status, answer.body), (200, expected), "{query}");
        assert_eq!(answer.headers["content-type"], "application/cbor-seq");
        assert_eq!(answer.headers["cache-control"], "public, max-age=1");
        assert_eq!(answer.headers["content-length"], ((SEALS - first) * SEAL_BYTES).to_string());
        assert!(!answer.headers.contains_key("content-encoding"));
    }
    assert_eq!(site.get("/live/other/seals", &[]).await.status, 404);
}

#[tokio::test]
async fn absurd_parameter_is_400_and_named() {
    let site = Site::start().await;
    for query in ["from=-1", "from=x", "from=", "from", "from=1&from=2", "from=99999999999999999999", "from=%31"] {
        let answer = site.get(&format!("/live/demo/seals?{query}"), &[]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().starts_with("from:"), "{}", answer.text());
    }
}

#[tokio::test]
async fn streams_are_described_as_the_page_reads_them() {
    let site = Site::start().await;
    let answer = site.get("/api/v1/streams", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let summary = serde_json::json!({
        "name": "demo", "live": true, "state": "live", "started_at": 1_767_225_600_000_i64, "epoch": 1, "ingest": "i1",
        "dvr": null, "poster": "/live/demo/poster.jpg", "thumbnails": "/live/demo/720p/{epoch}/{msn}.jpg",
        "renditions": [{"name": "720p", "codec": "avc1.64001f", "width": 1280, "height": 720, "frame_rate": 30.0,
            "bandwidth": 3_000_000}],
    });
    assert_eq!(json, serde_json::json!({ "streams": [summary] }));

    let answer = site.get("/api/v1/streams/demo", &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut json: serde_json::Value = serde_json::from_slice(&answer.unzipped()).unwrap();
    let verified = json.as_object_mut().unwrap().remove("verified").unwrap();
    assert_eq!(json, summary);
    assert_eq!((&verified["node"], &verified["sequence"]), (&"b1".into(), &4.into()));
    assert_eq!(verified["refused"], serde_json::json!({"digest": 2}));

    assert_eq!(site.get("/api/v1/streams/other", &[]).await.status, 404);
    assert_eq!(site.get("/api/v1/streams/", &[]).await.status, 404);
}

#[tokio::test]
async fn grants_and_the_description_of_the_api_are_there() {
    let site = Site::start().await;
    let grants = site.get("/api/v1/grants", &[]).await;
    assert_eq!((grants.status, grants.text()), (200, "grants"));
    assert_eq!(grants.header("content-type"), "application/cbor");
    let openapi = site.get("/api/v1/openapi.json", &[]).await;
    let json: serde_json::Value = serde_json::from_slice(&openapi.body).unwrap();
    assert_eq!((openapi.status, &json["openapi"]), (200, &"3.1.0".into()));
}

#[tokio::test]
async fn who_may_seal_a_stream_is_told_to_any_page_and_only_when_it_is_news() {
    let site = Site::start().await;
    let trust = site.get("/api/v1/trust/demo", &[]).await;
    assert_eq!((trust.status, trust.text()), (200, "trust"));
    assert_eq!(trust.header("content-type"), "application/cbor");
    assert_eq!(trust.header("cache-control"), "public, max-age=1");
    assert_eq!(trust.header("access-control-allow-origin"), "*");
    let again = site.get("/api/v1/trust/demo", &[("if-none-match", trust.header("etag"))]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(site.get("/api/v1/trust/other", &[]).await.status, 404);
}

#[tokio::test]
async fn other_methods_are_refused_and_the_allowed_ones_named() {
    let site = Site::start().await;
    for path in ["/", "/live/demo/index.m3u8", "/live/demo/720p/1/7.m4s", "/live/demo/seals"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
            let answer = site.ask(method.clone(), path, &[]).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            assert!(answer.text().contains("GET"));
        }
    }
}

/// What only control answers, changes, and credentials of which a node knows nothing.
#[tokio::test]
async fn what_control_has_to_be_asked_is_refused_by_a_type_that_says_so() {
    let site = Site::start().await;
    for (method, path, headers) in [
        (Method::POST, "/api/v1/streams", &[][..]),
        (Method::DELETE, "/api/v1/streams/demo", &[][..]),
        (Method::GET, "/api/v1/tenants", &[][..]),
        (Method::GET, "/api/v1/streams", &[("x-api-key", "sc_x")][..]),
        (Method::GET, "/api/v1/streams/demo", &[("authorization", "Bearer sc_x")][..]),
    ] {
        let answer = site.ask(method.clone(), path, headers).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (421, "application/problem+json"),
            "{method} {path}"
        );
        assert!(answer.text().contains(r#""type":"/api/v1/problems/wrong-node""#), "{}", answer.text());
    }
    assert_eq!(site.get("/api/v1/streams", &[]).await.status, 200);
}

#[tokio::test]
async fn player_on_another_site_may_ask() {
    let site = Site::start().await;
    let preflight = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range"),
    ];
    let answer = site.ask(Method::OPTIONS, "/live/demo/720p/1/7.m4s", &preflight).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(answer.header("access-control-allow-headers"), "*");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    let answer = site.get("/live/demo/index.m3u8", &[("origin", "https://player.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("x-sealcast-node"));
}

#[tokio::test]
async fn who_has_seen_an_entry_of_the_log_reads_nothing_older() {
    let site = Site::start().await;
    site.reflect(7);
    for path in ["/api/v1/streams", "/api/v1/streams/demo"] {
        let here = site.get(path, &[("x-sealcast-wait", "7")]).await;
        assert_eq!((here.status, here.header("x-sealcast-metadata")), (200, "7"), "{path}");
        assert_eq!(site.get(path, &[]).await.header("x-sealcast-metadata"), "7", "{path}");
        // It never comes.
        let behind = site.get(path, &[("x-sealcast-wait", "9")]).await;
        assert_eq!((behind.status, behind.header("content-type")), (503, "application/problem+json"), "{path}");
        assert!(behind.text().contains("/problems/replica-behind") && behind.header("retry-after") == "1");
        assert_eq!(site.get(path, &[("x-sealcast-wait", "soon")]).await.status, 400, "{path}");
    }
    // It comes while somebody waits.
    let path = "/api/v1/streams";
    let waiting = site.get(path, &[("x-sealcast-wait", "8")]);
    let (answer, ()) = tokio::join!(waiting, async {
        // By then, the one before has been asked, and answered.
        assert_eq!(site.get(path, &[]).await.header("x-sealcast-metadata"), "7");
        site.reflect(8);
    });
    assert_eq!((answer.status, answer.header("x-sealcast-metadata")), (200, "8"));
}
