//! Streams that not everybody may watch, and the tokens of those who may.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use access::token::Claims;
use access::{AllowedOrigin, Facts, TokenKey, Visibility};
use media::{ClusterId, StreamId, UnixMillis};
use metadata::{RevokedTokens, TokenId};
use reqwest::Method;
use testkit::viewer_tokens;

use crate::site::{Answer, Site};
use crate::snapshots::{IMAGE, MEDIA_PLAYLIST, POSTER, SEGMENT};

/// Everything that a stream has, and more that it could have.
const PATHS: [&str; 16] = [
    "/live/demo/index.m3u8",
    "/live/demo/720p/index.m3u8",
    "/live/demo/720p/index.m3u8?_HLS_skip=YES",
    "/live/demo/720p/iframes.m3u8",
    "/live/demo/dvr.m3u8",
    "/live/demo/720p/dvr.m3u8",
    "/live/demo/720p/dvr-iframes.m3u8",
    SEGMENT,
    "/live/demo/720p/1/7.0.m4s",
    "/live/demo/720p/1/init.mp4",
    IMAGE,
    POSTER,
    "/live/demo/steering.json",
    "/live/demo/seals",
    "/api/v1/streams/demo",
    "/api/v1/trust/demo",
];

fn cluster() -> ClusterId {
    ClusterId::new("town").unwrap()
}

fn now_s() -> u64 {
    u64::try_from(node::clock::Clock::new().wall().0 / 1_000).unwrap()
}

pub(crate) fn claims(stream: &str) -> Claims {
    viewer_tokens::claims(&cluster(), &StreamId::new(stream).unwrap(), now_s())
}

pub(crate) fn token(claims: &Claims) -> String {
    claims.sign(&viewer_tokens::key()).unwrap()
}

/// `demo` is what is said, and the key counts.
pub(crate) fn facts(visibility: Visibility) -> Facts {
    let demo = StreamId::new("demo").unwrap();
    let keys = vec![viewer_tokens::verifier(UnixMillis(0), UnixMillis(i64::MAX))];
    Facts { visibility: [(demo, visibility)].into(), keys, ..Facts::of(cluster()) }
}

/// A site whose recordings are rendered at once.
async fn site(visibility: Visibility) -> Site {
    let site = Site::start().await;
    site.watched.finish();
    site.obey(facts(visibility));
    site
}

fn problem(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["status"], answer.status);
    json["type"].as_str().unwrap().strip_prefix("/api/v1/problems/").unwrap().to_owned()
}

#[tokio::test]
async fn without_a_token_a_hidden_stream_is_one_that_is_not_there() {
    for visibility in [Visibility::Token, Visibility::Members] {
        let site = site(visibility).await;
        for path in PATHS {
            let (hidden, absent) = (site.get(path, &[]).await, site.get(&path.replace("demo", "nope"), &[]).await);
            assert_eq!(hidden.status, 404, "{path}");
            assert_eq!((&hidden.headers, &hidden.body), (&absent.headers, &absent.body), "{path}");
        }
        assert_eq!(site.get("/api/v1/streams", &[]).await.text(), r#"{"streams":[]}"#);
        // The page itself answers for every name, and carries nothing of the stream.
        let page = site.get("/watch/demo", &[]).await;
        assert_eq!(page.text(), site.get("/watch/nope", &[]).await.text());
    }
}

#[tokio::test]
async fn unlisted_stream_plays_for_whoever_has_its_name() {
    let site = site(Visibility::Unlisted).await;
    assert_eq!(site.get("/live/demo/index.m3u8", &[]).await.header("cache-control"), "public, max-age=2");
    assert_eq!(site.get("/api/v1/streams/demo", &[]).await.status, 200);
    assert_eq!(site.get("/api/v1/streams", &[]).await.text(), r#"{"streams":[]}"#);
}

#[tokio::test]
async fn holder_gets_the_bytes_that_everybody_would_get_and_no_cache_keeps_them_for_others() {
    let (public, hidden) = (site(Visibility::Public).await, site(Visibility::Token).await);
    let prefix = format!("/t/{}", token(&claims("demo")));
    for path in PATHS {
        for headers in [&[][..], &[("accept-encoding", "gzip")], &[("range", "bytes=0-9")]] {
            let (plain, ours) =
                (public.get(path, headers).await, hidden.get(&format!("{prefix}{path}"), headers).await);
            assert_eq!((plain.status, &plain.body), (ours.status, &ours.body), "{path}");
            let kept = ours.header("cache-control");
            assert!(kept.starts_with("private, ") || kept == "no-store", "{path}: {kept}");
            let expected = plain.header("cache-control").replace("public, ", "private, ");
            assert_eq!(kept, expected, "{path}");
            let mut headers = plain.headers.clone();
            headers.insert("cache-control".to_owned(), expected);
            assert_eq!(headers, ours.headers, "{path}");
        }
    }
    let playlist = hidden.get(&format!("{prefix}/live/demo/720p/index.m3u8"), &[]).await;
    assert_eq!(playlist.text(), MEDIA_PLAYLIST);
    let again = [("if-none-match", playlist.header("etag"))];
    let unchanged = hidden.get(&format!("{prefix}/live/demo/720p/index.m3u8"), &again).await;
    assert_eq!((unchanged.status, unchanged.header("cache-control")), (304, "private, max-age=2"));
}

#[tokio::test]
async fn token_of_another_stream_opens_nothing_however_the_path_is_spelled() {
    let site = site(Visibility::Token).await;
    let prefix = format!("/t/{}", token(&claims("other")));
    for path in PATHS.into_iter().chain(["/live/nope/index.m3u8", "/live/nope/720p/1/7.m4s", "/vod/x/index.m3u8"]) {
        let answer = site.get(&format!("{prefix}{path}"), &[]).await;
        assert_eq!((answer.status, problem(&answer).as_str()), (403, "token-elsewhere"), "{path}");
    }
    for path in ["/", "/watch/other", "/api/v1/streams", "/api/v1/grants", "/favicon.svg", "/t/x/live/other/index.m3u8"]
    {
        assert_eq!(site.get(&format!("{prefix}{path}"), &[]).await.status, 403, "{path}");
    }
    for path in [
        "/live/other/../demo/index.m3u8",
        "/live/other/%2e%2e/demo/index.m3u8",
        "/live/other/..%2fdemo/index.m3u8",
        "/live/other%2f..%2fdemo/index.m3u8",
        "/live//demo/index.m3u8",
        "//live/demo/index.m3u8",
        "/live/./demo/index.m3u8",
        "/live/%64emo/index.m3u8",
        "/live/other\\..\\demo/index.m3u8",
        "/LIVE/demo/index.m3u8",
        "/Live/demo/720p/1/7.m4s",
        "/live/Demo/index.m3u8",
        "/live/demo%00/index.m3u8",
    ] {
        let request = format!("GET {prefix}{path} HTTP/1.1\r\nhost: other.example\r\nconnection: close\r\n\r\n");
        let answer = site.raw(request.as_bytes()).await;
        let is_refused = answer.starts_with("HTTP/1.1 403") && answer.contains("token-elsewhere");
        // A backslash is no part of any URL.
        assert!(is_refused || (path.contains('\\') && answer.starts_with("HTTP/1.1 400")), "{path}: {answer}");
    }
    // The same without a token: not there.
    for path in ["/live/%64emo/index.m3u8", "/live/nope/../demo/index.m3u8", "/live//demo/index.m3u8", "/t/"] {
        let answer = site.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        let expected = if path == "/t/" { "HTTP/1.1 403" } else { "HTTP/1.1 404" };
        assert!(answer.starts_with(expected), "{path}: {answer}");
    }
}

#[tokio::test]
async fn refusal_says_what_is_wrong_with_a_token_and_is_never_401() {
    let site = site(Visibility::Token).await;
    let good = claims("demo");
    let ended = Claims { nbf: now_s() - 100, exp: now_s() - 1, ..good.clone() };
    let late = Claims { nbf: now_s() - 100, admit_by: Some(now_s() - 1), ..good.clone() };
    let village = Claims { aud: "village".to_owned(), ..good.clone() };
    let strange = good.sign(&TokenKey::from_seed(&[8; 32]).unwrap()).unwrap();
    let cut: String = token(&good).chars().take(90).collect();
    for (text, why) in [
        (token(&ended), "token-expired"),
        (token(&late), "token-expired"),
        (token(&village), "token-elsewhere"),
        (strange, "token-invalid"),
        (cut, "token-invalid"),
        ("x".to_owned(), "token-invalid"),
        ("scv_".to_owned(), "token-invalid"),
    ] {
        let answer = site.get(&format!("/t/{text}/live/demo/index.m3u8"), &[]).await;
        assert_eq!((answer.status, problem(&answer).as_str()), (403, why), "{text}");
        assert!(!answer.text().contains(&text) || text == "x", "an answer repeats no token");
    }
    // Who watches goes on.
    assert_eq!(site.get(&format!("/t/{}/live/demo/720p/index.m3u8", token(&late)), &[]).await.status, 200);
    // What is not there yet is no fault of the token's.
    assert_eq!(site.get(&format!("/t/{}/live/demo/9999p/index.m3u8", token(&good)), &[]).await.status, 404);
}

#[tokio::test]
async fn revoked_token_counts_no_longer_although_its_signature_is_known() {
    let site = site(Visibility::Token).await;
    let path = format!("/t/{}{SEGMENT}", token(&claims("demo")));
    assert_eq!(site.get(&path, &[]).await.status, 200);
    site.obey(Facts { revoked: vec![RevokedTokens::Token(TokenId([5; 8]))], ..facts(Visibility::Token) });
    let answer = site.get(&path, &[]).await;
    assert_eq!((answer.status, problem(&answer).as_str()), (403, "token-revoked"));
    site.obey(Facts { keys: Vec::new(), ..facts(Visibility::Token) });
    let answer = site.get(&path, &[]).await;
    assert_eq!((answer.status, problem(&answer).as_str()), (403, "token-invalid"));
}

#[tokio::test]
async fn playlist_leads_a_token_from_the_query_or_a_header_into_the_path() {
    let site = site(Visibility::Token).await;
    let text = token(&claims("demo"));
    let to = format!("/t/{text}/live/demo/index.m3u8");
    let bearer = format!("Bearer {text}");
    for (path, headers, location) in [
        (format!("/live/demo/index.m3u8?token={text}"), &[][..], to.clone()),
        (format!("/live/demo/index.m3u8?a=1&token={text}&b=2"), &[], format!("{to}?a=1&b=2")),
        ("/live/demo/index.m3u8".to_owned(), &[("authorization", bearer.as_str())], to.clone()),
    ] {
        let answer = site.get(&path, headers).await;
        assert_eq!((answer.status, answer.header("location")), (307, location.as_str()));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(site.get(answer.header("location"), &[]).await.status, 200);
    }
    // Only there, and only for what looks like a token.
    for path in [
        format!("/live/demo/720p/index.m3u8?token={text}"),
        "/live/demo/index.m3u8?token=x".to_owned(),
        "/live/demo/index.m3u8?token=scv_%0d%0ax".to_owned(),
    ] {
        assert_eq!(site.get(&path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn token_is_bound_to_sites_and_answers_say_so() {
    let site = site(Visibility::Token).await;
    let page = "https://site.example";
    let lax = Claims { origins: vec![AllowedOrigin::parse(page).unwrap()], ..claims("demo") };
    let strict = Claims { strict: true, ..lax.clone() };
    let path = |claims: &Claims, rest: &str| format!("/t/{}{rest}", token(claims));
    let entrance = "/live/demo/index.m3u8";
    let answer = site.get(&path(&lax, entrance), &[("origin", page)]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, page));
    let varies = site.send(&site.http2, Method::GET, &path(&lax, entrance), &[("origin", page)]).await;
    let by: Vec<&str> = varies.headers().get_all("vary").iter().map(|by| by.to_str().unwrap()).collect();
    assert_eq!(by, ["accept-encoding", "origin"]);
    for wrong in ["https://site.example.evil.net", "null", "https://evil.net"] {
        let answer = site.get(&path(&lax, entrance), &[("origin", wrong)]).await;
        assert_eq!((answer.status, problem(&answer).as_str()), (403, "origin-refused"), "{wrong}");
        assert_eq!(answer.header("vary"), "origin");
        assert_eq!(site.get(&path(&lax, SEGMENT), &[("origin", wrong)]).await.status, 200);
        assert_eq!(site.get(&path(&strict, SEGMENT), &[("origin", wrong)]).await.status, 403);
    }
    assert_eq!(site.get(&path(&lax, entrance), &[]).await.status, 200, "a player that is no browser");
    assert_eq!(site.get(&path(&strict, entrance), &[]).await.status, 403);
    assert_eq!(site.get(&path(&strict, SEGMENT), &[("origin", page)]).await.status, 200);
}

#[tokio::test]
async fn path_needs_no_preflight_and_a_preflight_tells_nothing() {
    let site = site(Visibility::Token).await;
    let asks = [("origin", "https://player.example"), ("access-control-request-method", "GET")];
    for path in ["/t/x/live/demo/index.m3u8", "/live/demo/index.m3u8", "/live/nope/index.m3u8"] {
        let answer = site.ask(Method::OPTIONS, path, &asks).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"), "{path}");
    }
}

#[tokio::test]
async fn overlong_url_is_refused_below_a_token_too() {
    let site = site(Visibility::Token).await;
    let text = token(&claims("demo"));
    for path in [
        format!("/t/{}/live/demo/index.m3u8", "a".repeat(2_048)),
        format!("/t/{text}/live/demo/seals?x={}", "1".repeat(1_024)),
    ] {
        assert_eq!(site.get(&path, &[]).await.status, 414);
    }
    assert_eq!(site.get(&format!("/t/{}/live/demo/index.m3u8", "a".repeat(1_500)), &[]).await.status, 403);
}

/// A token of a tenant's own key, or of its issuer (JWS).
mod of_others {
    use issuers::{Document, Known, registered};
    use serde_json::{Value, json};
    use testkit::jwt::SigningKey;

    use super::*;

    /// `key` is registered by this tenant.
    fn known(key: &SigningKey, tenant: Option<&str>) -> Known {
        let (algorithm, _) = registered(&key.jwk()).unwrap();
        let document = Document::of_key(("sgk_1", "town".to_owned()), algorithm, key.jwk(), 30);
        Known::read("sgk_1", tenant, &serde_json::to_string(&document).unwrap()).unwrap()
    }

    fn claims(change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = json!({ "aud": "town", "iat": now_s(), "exp": now_s() + 600, "sub": "u81", "jti": "a", "streams": ["demo"] });
        change(&mut claims);
        claims
    }

    #[tokio::test]
    async fn token_of_a_registered_key_plays_without_control_until_the_key_is_gone() {
        let (site, key) = (site(Visibility::Token).await, SigningKey::p256("mine"));
        let facts = || facts(Visibility::Token);
        site.obey_foreign(facts(), vec![known(&key, None)]);
        let ask = async |text: &str, path: &str| {
            let answer = site.get(&format!("/t/{text}{path}"), &[]).await;
            let why = if answer.status == 403 { problem(&answer) } else { String::new() };
            (answer.status, why)
        };
        let good = key.token(&claims(|_| {}));
        assert!(good.starts_with("eyJ") && good.contains('.'));
        for path in ["/live/demo/index.m3u8", "/live/demo/720p/index.m3u8", SEGMENT] {
            assert_eq!(ask(&good, path).await.0, 200, "{path}");
        }
        let invalid = || (403, "token-invalid".to_owned());
        assert_eq!(ask(&good, "/live/other/index.m3u8").await, (403, "token-elsewhere".to_owned()));
        assert_eq!(ask(&good, "/live/acme.demo/index.m3u8").await, invalid(), "it is no key of acme's");
        assert_eq!(ask(&good[..good.len() - 2], SEGMENT).await, invalid());
        assert_eq!(ask(&SigningKey::p256("mine").token(&claims(|_| {})), SEGMENT).await, invalid());
        for (wrong, why) in [
            (claims(|claims| claims["aud"] = "village".into()), "token-invalid"),
            (claims(|claims| claims["exp"] = (now_s() - 31).into()), "token-expired"),
            (claims(|claims| claims["exp"] = (now_s() + 90_000).into()), "token-invalid"),
            (claims(|claims| claims["streams"] = json!(["other"])), "token-elsewhere"),
        ] {
            let text = key.token(&wrong);
            assert_eq!(ask(&text, SEGMENT).await, (403, why.to_owned()), "{wrong}");
        }
        // Long ones play up to the limit, in a URL of 2,048 bytes.
        let padded = |bytes: usize| key.token(&claims(|claims| claims["pad"] = "p".repeat(bytes).into()));
        let fits = (0..1_200).rev().map(padded).find(|text| text.len() <= 1_500).unwrap();
        assert!(fits.len() > 1_490);
        assert_eq!(ask(&fits, SEGMENT).await.0, 200);
        assert_eq!(ask(&padded(1_200), SEGMENT).await, invalid());
        let led = site.get(&format!("/live/demo/index.m3u8?token={fits}"), &[]).await;
        assert_eq!((led.status, led.header("location")), (307, format!("/t/{fits}/live/demo/index.m3u8").as_str()));
        // What was verified counts no longer than its key, and than until it is taken back.
        let revoked = vec![RevokedTokens::Token(TokenId::of_text("a"))];
        site.obey_foreign(Facts { revoked, ..facts() }, vec![known(&key, None)]);
        assert_eq!(ask(&good, SEGMENT).await, (403, "token-revoked".to_owned()));
        site.obey_foreign(facts(), Vec::new());
        assert_eq!(ask(&good, SEGMENT).await, invalid());
    }

    #[tokio::test]
    async fn key_of_a_tenant_opens_its_streams_alone() {
        let (site, key) = (site(Visibility::Public).await, SigningKey::ed25519("mine"));
        site.obey_foreign(facts(Visibility::Public), vec![known(&key, Some("acme"))]);
        let all = key.token(&claims(|claims| claims["streams"] = json!(["*"])));
        let status = async |path: &str| site.get(&format!("/t/{all}{path}"), &[]).await.status;
        assert_eq!(status("/live/demo/index.m3u8").await, 403);
        // Its own stream is not there, and the token is right.
        assert_eq!(status("/live/acme.demo/index.m3u8").await, 404);
        assert_eq!(status("/live/zenith.demo/index.m3u8").await, 403);
    }
}

#[tokio::test]
async fn token_for_one_viewer_is_not_for_a_second_address() {
    let site = site(Visibility::Token).await;
    let path = |viewers| {
        let claims = Claims { max_viewers: Some(viewers), jti: TokenId(viewers.to_be_bytes()), ..claims("demo") };
        format!("/t/{}{SEGMENT}", token(&claims))
    };
    // Two connections of one address are one viewer.
    for _ in 0..3 {
        assert_eq!(site.get(&path(1), &[]).await.status, 200);
    }
    let second = site.ask_from_another_address(&path(1)).await;
    assert!(second.starts_with("HTTP/1.1 403") && second.contains("/api/v1/problems/quota"), "{second}");
    assert!(site.ask_from_another_address(&path(2)).await.starts_with("HTTP/1.1 200"));
}

/// What everything that logs has written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The router, the handlers and their libraries, at the most talkative level.
#[test]
fn no_token_is_written_to_a_log_or_a_metric() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let text = token(&claims("demo"));
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&recorder, || {
            let answers = crate::hostile::ask_with(
                facts(Visibility::Token),
                &[
                    &format!("/t/{text}/live/demo/index.m3u8"),
                    &format!("/t/{text}{SEGMENT}"),
                    &format!("/t/{text}/live/other/index.m3u8"),
                    &format!("/t/{}/live/demo/index.m3u8", &text[..100]),
                    &format!("/live/demo/index.m3u8?token={text}"),
                ],
            );
            assert_eq!(answers, [200, 200, 403, 403, 307]);
            tracing::info!("written");
        });
    });
    let (log, metrics) = (written.text(), handle.render());
    assert!(log.contains("written") && metrics.contains("viewers_token_refusals_total"), "{log} {metrics}");
    for part in [&text[..], &text[4..60], &text[100..]] {
        assert!(!log.contains(part) && !metrics.contains(part), "{log}");
    }
}
