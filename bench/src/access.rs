//! What viewer tokens cost: CPU for a request with and without one, on the same node in turns; the check itself; and viewers who come
//! with tokens that nobody has seen while control is dead.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use access::token::Claims;
use access::{Ask, Checked, Facts, Rules, TokenKey, Verified};
use anyhow::{Context as _, ensure};
use media::{ClusterId, StreamId, UnixMillis};
use metadata::{Body, TokenId, Visibility};
use node::clock::Clock;
use testkit::cluster::{Cluster, KEY, STREAM};
use testkit::hls::playlist;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, text};
use testkit::viewer_tokens;

use crate::delivery::{self, WithToken};
use crate::log::Author;
use crate::{Figure, startup};

/// Viewers who come at once while control is dead.
const VIEWERS: u64 = 1_000;
/// Checks of the in-process loop.
const CHECKS: u32 = 200_000;

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![check()?];
    figures.extend(delivery::with_and_without_token(rounds, token_for)?);
    figures.push(tokio::runtime::Runtime::new()?.block_on(without_control())?);
    Ok(figures)
}

fn claims(cluster: &ClusterId, stream: &StreamId, viewer: u64) -> Claims {
    let nbf = u64::try_from(Clock::new().wall().0 / 1_000).unwrap_or(0);
    let (sub, jti) = (Some(format!("u{viewer}")), TokenId(viewer.to_be_bytes()));
    Claims { sub, jti, ..viewer_tokens::claims(cluster, stream, nbf) }
}

/// A token for a stream, and the rows that make nodes take it.
fn token_for(stream: &StreamId) -> anyhow::Result<WithToken> {
    let now = Clock::new().wall();
    let row = viewer_tokens::verifier(now, UnixMillis(now.0 + 86_400_000));
    let token = claims(&Author::cluster()?, stream, 1).sign(&viewer_tokens::key())?;
    Ok(WithToken { prefix: format!("/t/{token}"), row: Body::Verifier(row) })
}

/// What a node does for each request of a viewer whose token it has verified: digest, look-up, decision.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn check() -> anyhow::Result<Figure> {
    let (cluster, hall) = (ClusterId::new("bench")?, StreamId::new("hall")?);
    let at = Clock::new().wall();
    let rules = Rules::from_facts(Facts {
        visibility: [(hall.clone(), Visibility::Token)].into(),
        keys: vec![viewer_tokens::verifier(at, UnixMillis(at.0 + 86_400_000))],
        ..Facts::of(cluster.clone())
    });
    let text = claims(&cluster, &hall, 1).sign(&viewer_tokens::key())?;
    let began = Instant::now();
    let mut verified = None;
    let signatures = CHECKS / 100;
    for _ in 0..signatures {
        verified = Some(Verified::read(&text, |id| rules.key(id)).context("a token that we made")?);
    }
    let signature_us = began.elapsed().as_secs_f64() * 1e6 / f64::from(signatures);
    let mut checked = Checked::new(65_536);
    checked.put(Checked::digest(&text), Arc::new(verified.context("it was read")?));
    let began = Instant::now();
    for _ in 0..CHECKS {
        let token = checked.get(&Checked::digest(&text)).context("it is kept")?;
        let ask = Ask { class: access::Class::Stream, stream: Some(&hall), token: Some(Ok(&token)), origin: None, at };
        ensure!(rules.decide(&ask).is_ok(), "it is a right one");
    }
    let check_us = began.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS);
    Ok(Figure {
        what: "check of a token on each request; peer: its signature, once".to_owned(),
        ours: format!("{check_us:.2} us"),
        peer: format!("{signature_us:.1} us"),
        ratio: Some(check_us / signature_us),
        bound: "<= 5 us",
    })
}

/// A cluster of processes whose control is killed before the viewers come.
async fn without_control() -> anyhow::Result<Figure> {
    let program = startup::sealcast()?;
    let mut cluster = Cluster::start(&program).await;
    let mut control = cluster.node("control").await;
    let _nodes = [cluster.node("b1").await, cluster.node("b2").await];
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let file = clip(cluster.directory.path(), Clip::default());
    let _publisher = publish(&file, &text(&ingest.ready, "rtmp"), KEY);
    let said = |arguments: &[&str]| {
        let mut command = sealcast::command(&program);
        let output = command.args(arguments).arg("--json").current_dir(cluster.directory.path()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice::<serde_json::Value>(&output.stdout)?)
    };
    said(&["stream", "set", STREAM, "--visibility", "token"])?;
    let first = text(&said(&["token", "create", STREAM])?, "token");
    let base = text(&balancer.ready, "https");
    playlist(&cluster.http, &format!("{base}/t/{first}"), STREAM, "audio", 2).await;
    // What control would sign: the file is the test's own.
    let is_key = |path: &PathBuf| path.to_string_lossy().contains("viewer-tokens.");
    let mut files = std::fs::read_dir(cluster.path("data/control"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let seed = std::fs::read(files.find(is_key).context("control has a key of viewer tokens")?)?;
    let key = TokenKey::from_seed(seed.as_slice().try_into().context("a seed of 32 bytes")?)?;
    control.process.kill();
    let (name, stream) = (ClusterId::new("sealcast")?, StreamId::new(STREAM)?);
    let tokens: Result<Vec<String>, _> = (0..VIEWERS).map(|viewer| claims(&name, &stream, viewer).sign(&key)).collect();
    let play = tokens?.into_iter().map(|token| {
        let (http, below) = (cluster.http.clone(), format!("{base}/t/{token}/live/{STREAM}"));
        async move {
            for path in ["index.m3u8", "audio/index.m3u8"] {
                let answer = http.get(format!("{below}/{path}")).send().await?;
                ensure!(answer.status().is_success(), "{path}: {}", answer.status());
                answer.bytes().await?;
            }
            anyhow::Ok(())
        }
    });
    let outcomes = futures_util::future::join_all(play).await;
    let played = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    Ok(Figure {
        what: format!(
            "{VIEWERS} viewers with tokens that no node has seen, while control is dead: who gets the stream"
        ),
        ours: format!("{played}"),
        peer: format!("wanted {VIEWERS}"),
        ratio: Some(played as f64 / VIEWERS as f64),
        bound: "1.00x",
    })
}
