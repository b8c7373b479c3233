//! `sealcast seal`: checks a stream from outside. It trusts nothing but the root public key, and does not ask the server for that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use media::{ClusterId, ObjectName, SessionId, Slot, StreamId};
use metadata::{DelegatedSession, GrantedKey, Proven, Roots, Scope, root_fingerprint};
use seal::limits::TAIL_MAX;
use seal::{Chain, KeyId, Refusal, RefusalReason, RootPublicKey, SealKind, Sealed};
use serde::Serialize;

use crate::cli::{SealCommand, VerifyFlags};

/// Longest wait for one answer of the server.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest answer of the server in bytes: a page of the log, or one segment.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Authorities that this machine trusts, as Debian stores them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What passed the checks.
#[derive(Debug, Default, Serialize)]
struct Report {
    stream: String,
    seals: usize,
    first_sequence: u64,
    last_sequence: u64,
    epochs: usize,
    /// Who let the keys of the seals sign, from the root on.
    trust: Vec<Trust>,
    ended: bool,
    media_checked: usize,
    media_bytes: u64,
    media_gone: usize,
}

/// How the key of some seals is trusted.
#[derive(Debug, Serialize)]
struct Trust {
    /// The root key that the command was given.
    root: String,
    /// Version of the newest root statement, which names the keys of control.
    root_statement: u64,
    /// The key of control that signs the state of the metadata log in which the grant is.
    control: String,
    /// When control said so.
    said_at: String,
    /// The entry of the metadata log that wrote the grant, or the delegation.
    entry: u64,
    /// The key that signed the seals.
    key: String,
    /// The ingest that has it.
    ingest: String,
    /// What the key may seal.
    scope: String,
    /// The streamer that lets the key seal the session; missing where the grant itself names the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    streamer: Option<Streamer>,
}

/// A streamer that has delegated a session.
#[derive(Debug, Serialize)]
struct Streamer {
    node: String,
    /// The key that signed the delegation.
    key: String,
    /// What that key may seal, and so delegate.
    scope: String,
    session: String,
    until: String,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be fetched, and for the first signature, seal or object that fails its check.
pub(crate) async fn run(command: SealCommand) -> anyhow::Result<()> {
    match command {
        SealCommand::Verify(flags) => verify(&flags).await,
        SealCommand::Show { file } => show(&file),
    }
}

fn show(file: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut out = std::io::stdout().lock();
    for (index, item) in seal::sequence::split(&Bytes::from(bytes)).enumerate() {
        let (key, body) =
            seal::peek(&item?).with_context(|| format!("item {index} of {} is not a seal", file.display()))?;
        writeln!(out, "key {key}, not verified: {body:#?}")?;
    }
    Ok(())
}

async fn verify(flags: &VerifyFlags) -> anyhow::Result<()> {
    let (base, stream) = split_url(&flags.url)?;
    let root = node::files::read_bounded(&flags.root)?;
    let root = RootPublicKey::from_bytes(&root)
        .with_context(|| format!("{} is not a root public key", flags.root.display()))?;
    let http = client(flags.ca.as_deref())?;
    let now = node::clock::Clock::new().now();

    let cluster = ClusterId::new(&flags.cluster)?;
    let answer = fetch(&http, &format!("{base}/api/v1/trust/{stream}")).await?;
    let (proven, roots) = proven(&answer, &root, &cluster, &stream)?;
    let keys = Keys { stream: &stream, cluster: &cluster, proven: &proven };
    let seals = fetch_log(&http, &base, &keys).await?;
    keys.ensure_right(&seals)?;
    // A gate keeps the same chain, so this refuses whatever a gate would refuse.
    Chain::new(stream.clone()).join(seals.clone(), now).context("the log is not one chain")?;
    let mut report = summary(&stream, &seals)?;
    report.trust = trust(&seals, &keys, &roots);
    if flags.media {
        check_media(&http, &base, &stream, &seals, &mut report).await?;
    }
    print(&report, flags)
}

/// `https://host:port/live/stream` → (`https://host:port`, `stream`).
fn split_url(url: &str) -> anyhow::Result<(String, StreamId)> {
    let (base, rest) =
        url.split_once("/live/").with_context(|| format!("{url:?} is not https://HOST:PORT/live/STREAM"))?;
    ensure!(base.starts_with("https://"), "{url:?} does not start with https://");
    let name = rest.split('/').next().unwrap_or_default();
    Ok((base.to_owned(), StreamId::new(name)?))
}

fn client(ca: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    node::tls::provider();
    let mut builder = reqwest::Client::builder().use_rustls_tls().timeout(ANSWER_WAIT_MAX).https_only(true);
    for path in [Some(Path::new(SYSTEM_AUTHORITIES)).filter(|path| path.exists()), ca].into_iter().flatten() {
        let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bundle = reqwest::Certificate::from_pem_bundle(&pem);
        for certificate in bundle.with_context(|| format!("{} holds no certificates", path.display()))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().context("cannot make an HTTPS client")
}

async fn fetch(http: &reqwest::Client, url: &str) -> anyhow::Result<Bytes> {
    fetch_if_there(http, url).await?.with_context(|| format!("{url}: 404, there is no such thing"))
}

async fn fetch_if_there(http: &reqwest::Client, url: &str) -> anyhow::Result<Option<Bytes>> {
    let answer = http.get(url).send().await.with_context(|| format!("cannot fetch {url}"))?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    ensure!(answer.status().is_success(), "{url}: {}", answer.status());
    node::answer::body(answer, ANSWER_BYTES_MAX).await.map(Some)
}

/// What a server proves of the stream to whoever has the root key.
fn proven(
    answer: &[u8],
    root: &RootPublicKey,
    cluster: &ClusterId,
    stream: &StreamId,
) -> anyhow::Result<(Proven, Roots)> {
    let said = metadata::Trust::decode(answer).context("the server's answer on who may seal the stream")?;
    let named = "the server proves no grants under this root key";
    let mut roots = Roots::begin(&said.roots, Some(&root_fingerprint(root.as_bytes()).0)).context(named)?;
    ensure!(roots.cluster() == cluster, "the server speaks of cluster {}, not of {cluster}", roots.cluster());
    let proven = said.verify(&mut roots, stream).context(named)?;
    ensure!(!proven.keys.is_empty(), "control has granted no key of stream {stream}, as far as the server says");
    Ok((proven, roots))
}

/// The keys that may seal a stream, as the server has proven them.
struct Keys<'p> {
    stream: &'p StreamId,
    cluster: &'p ClusterId,
    proven: &'p Proven,
}

impl Keys<'_> {
    fn key(&self, id: KeyId) -> Option<&GrantedKey> {
        self.proven.keys.iter().find(|key| key.public_key.id() == id)
    }

    fn session(&self, session: SessionId) -> Option<&DelegatedSession> {
        self.proven.delegations.iter().find(|delegated| delegated.session == session)
    }

    /// Verifies a seal, apart from the right of its key.
    fn verified(&self, raw: &Bytes) -> Result<Sealed, Refusal> {
        let id = seal::key_named(raw)?;
        let unknown = || Refusal::new(RefusalReason::Key, format!("key {id}: the metadata log has no grant of it"));
        seal::verify_seal(raw, &self.key(id).ok_or_else(unknown)?.public_key, self.cluster, self.stream)
    }

    /// Whether the newest seal counts by its own signature. It vouches for those before it: each names the one before, and a key that was
    /// replaced or revoked, or whose session is over, has signed what it signed. The checks in the browser have the same rule.
    fn ensure_right(&self, seals: &[Sealed]) -> anyhow::Result<()> {
        let newest = seals.last().context("the log is empty")?;
        let body = newest.body();
        let key = self.key(newest.key()).context("its key was there to verify it")?;
        let counts = key.counts(self.session(body.session), body.issued_at, self.proven.at);
        counts.with_context(|| format!("seal {}, the newest of the log, is refused", body.sequence))
    }
}

/// How each key that signed a seal is trusted.
fn trust(seals: &[Sealed], keys: &Keys<'_>, roots: &Roots) -> Vec<Trust> {
    let signed: BTreeSet<(KeyId, SessionId)> =
        seals.iter().map(|sealed| (sealed.key(), sealed.body().session)).collect();
    let mut trust = BTreeMap::new();
    for (id, session) in signed {
        let Some(key) = keys.key(id) else { continue };
        let delegated = keys.session(session).filter(|one| one.key == id && !key.may_seal);
        let by = delegated.and_then(|delegated| Some((delegated, keys.key(delegated.by)?)));
        let streamer = by.map(|(delegated, streamer)| Streamer {
            node: streamer.node.to_string(),
            key: delegated.by.to_string(),
            scope: scope(&streamer.scope),
            session: session.to_string(),
            until: delegated.until.to_string(),
        });
        let entry = delegated.map_or(key.sequence, |delegated| delegated.sequence).0;
        let which = (id, delegated.map(|delegated| delegated.session));
        trust.entry(which).or_insert_with(|| Trust {
            root: roots.pinned().to_string(),
            root_statement: roots.version(),
            control: keys.proven.control.to_string(),
            said_at: keys.proven.at.to_string(),
            entry,
            key: id.to_string(),
            ingest: key.node.to_string(),
            scope: scope(&key.scope),
            streamer,
        });
    }
    trust.into_values().collect()
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Pools(pools) => format!("streams of pool {}", pools.join(", ")),
        Scope::Streams(streams) => {
            let names: Vec<&str> = streams.iter().map(StreamId::as_str).collect();
            format!("streams {} alone", names.join(", "))
        }
    }
}

/// Downloads the log, page by page, and verifies every seal.
async fn fetch_log(http: &reqwest::Client, base: &str, keys: &Keys<'_>) -> anyhow::Result<Vec<Sealed>> {
    let mut seals: Vec<Sealed> = Vec::new();
    while seals.len() < TAIL_MAX {
        let from = seals.last().map_or(0, |newest| newest.body().sequence.0.saturating_add(1));
        let page = fetch(http, &format!("{base}/live/{}/seals?from={from}", keys.stream)).await?;
        let before = seals.len();
        for item in seal::sequence::split(&page).take(TAIL_MAX - before) {
            let sealed = keys.verified(&item?);
            seals.push(sealed.with_context(|| format!("seal {} of the log is refused", seals.len()))?);
        }
        if seals.len() == before {
            break;
        }
    }
    Ok(seals)
}

fn summary(stream: &StreamId, seals: &[Sealed]) -> anyhow::Result<Report> {
    let (first, last) = (seals.first(), seals.last());
    let (first, last) = first.zip(last).context("the log is empty")?;
    let mut epochs: Vec<_> = seals.iter().map(|sealed| sealed.body().epoch).collect();
    epochs.dedup();
    Ok(Report {
        stream: stream.to_string(),
        seals: seals.len(),
        first_sequence: first.body().sequence.0,
        last_sequence: last.body().sequence.0,
        epochs: epochs.len(),
        ended: last.body().kind == SealKind::End,
        ..Report::default()
    })
}

/// Downloads the objects that the seals name and compares digests. Objects that have left the window may be gone (404).
async fn check_media(
    http: &reqwest::Client,
    base: &str,
    stream: &StreamId,
    seals: &[Sealed],
    report: &mut Report,
) -> anyhow::Result<()> {
    let named =
        || seals.iter().flat_map(|sealed| sealed.body().objects.iter().map(|object| (sealed.body().epoch, object)));
    // A segment is the bytes of its parts, so only the parts of the open segment are checked on their own.
    let whole: BTreeSet<_> = named()
        .filter_map(|(epoch, object)| match object.slot {
            Slot::Segment { msn } => Some((epoch, &object.rendition, msn)),
            Slot::Init | Slot::Part { .. } | Slot::Image { .. } => None,
        })
        .collect();
    let covered = |epoch, object: &seal::Object| match object.slot {
        Slot::Part { msn, .. } => whole.contains(&(epoch, &object.rendition, msn)),
        Slot::Init | Slot::Segment { .. } | Slot::Image { .. } => false,
    };
    for (epoch, object) in named().filter(|(epoch, object)| !object.gap && !covered(*epoch, object)) {
        let name = ObjectName { stream: stream.clone(), rendition: object.rendition.clone(), epoch, slot: object.slot };
        let Some(bytes) = fetch_if_there(http, &format!("{base}{name}")).await? else {
            report.media_gone += 1;
            continue;
        };
        let digest = seal::digest(&bytes);
        ensure!(
            digest == object.digest,
            "{name} is NOT what was sealed: its SHA-256 is {digest}, sealed was {}",
            object.digest
        );
        report.media_checked += 1;
        report.media_bytes += object.length;
    }
    ensure!(report.media_checked > 0, "the server serves none of the media that its log names");
    Ok(())
}

fn print(report: &Report, flags: &VerifyFlags) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
        return Ok(());
    }
    writeln!(out, "stream      {} in cluster {}", report.stream, flags.cluster)?;
    writeln!(
        out,
        "seals       {}, numbers {} to {}, epochs: {}",
        report.seals, report.first_sequence, report.last_sequence, report.epochs
    )?;
    writeln!(
        out,
        "signatures  all verified: ML-DSA-44, under {} of this root key ({})",
        if report.trust.len() == 1 { "one key".to_owned() } else { format!("{} keys", report.trust.len()) },
        flags.root.display()
    )?;
    for Trust { root, root_statement, control, said_at, entry, key, ingest, scope, streamer } in &report.trust {
        writeln!(out, "root        {root}, statement {root_statement}")?;
        writeln!(out, "  control   {control} at {said_at}, entry {entry} of the metadata log")?;
        if let Some(Streamer { node, key: by, scope, session, until }) = streamer {
            writeln!(out, "    streamer {by} of {node}, for {scope}")?;
            writeln!(out, "      ingest  {key} of {ingest}, for session {session} until {until}")?;
        } else {
            writeln!(out, "    ingest  {key} of {ingest}, for {scope}")?;
        }
    }
    writeln!(out, "chain       unbroken{}", if report.ended { ", ended" } else { "" })?;
    if flags.media {
        writeln!(
            out,
            "media       {} objects, {} bytes, every SHA-256 as sealed; {} no longer served",
            report.media_checked, report.media_bytes, report.media_gone
        )?;
    }
    writeln!(out, "OK")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_server_and_stream() {
        let (base, stream) = split_url("https://127.0.0.1:8443/live/demo/index.m3u8").unwrap();
        assert_eq!((base.as_str(), stream.as_str()), ("https://127.0.0.1:8443", "demo"));
        let (below, _) = split_url("https://127.0.0.1:8443/t/scv_abc/live/demo/index.m3u8").unwrap();
        assert_eq!(below, "https://127.0.0.1:8443/t/scv_abc");
        assert!(split_url("https://127.0.0.1:8443/watch/demo").is_err());
        assert!(split_url("http://127.0.0.1/live/demo").is_err());
        assert!(split_url("https://h/live/..").is_err());
    }
}
