//! This node's standing with the authority: its sealing key, the grant for it, the keyring, and the table of stream keys.
//!
//! Owns the private key (made here on the first start, never sent) and the polling of control. It polls only the configured
//! addresses, because whoever answers there decides what is published. Control writes the grant into the metadata log, and this node
//! takes it from there. No publisher is accepted before there is a valid grant and a table.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use media::{SessionId, StreamId, UnixMillis};
use messages::{Role, StreamTable};
use node::tls::Server;
use node::{CancellationToken, files};
use replica::Log;
use seal::limits::CLOCK_AHEAD_MAX;
use seal::{Freshness, KeyId, Keyring, RefusalReason, Rights, SealBody, Sealed, SealingKey, Signer as _};
use serde::Deserialize;
use tokio::sync::watch;

use crate::keys::KeyTable;

/// File of the sealing key's seed, in the node's data directory; mode 0600.
const KEY_FILE: &str = "sealing.key";
/// How often the table of stream keys is read when no message says that it changed.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Waits between attempts while control does not answer: from the first, doubling, to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Time limit of a request to control.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest table of stream keys, in bytes: [`crate::keys::STREAMS_MAX`] entries of at most 250 bytes.
const TABLE_BYTES_MAX: usize = 2_500_000;
/// Longest answer about a grant, in bytes.
const GRANTED_BYTES_MAX: usize = 1_024;
/// Most characters of the reason for a refusal that are logged.
const REASON_CHARS_MAX: usize = 300;
/// A grant is renewed when less than 1 / `RENEW_SHARE` of its life is left: control may be away for that long.
const RENEW_SHARE: i64 = 2;

/// What the pools of streamers' streams begin with.
const STREAMER_POOL: &str = "streamer/";

/// Most delegated sessions that are remembered after their end. Without it, nodes refuse the seals.
const SPENT_MAX: usize = 4_096;

/// What a publisher is told by an ingest whose grant, by its own clock, is not valid yet.
const CLOCK_BEHIND: &str = "The clock of this ingest is behind that of its control node: set it, then try again.";

/// The standing. One for the role, shared by all streams.
pub(crate) struct Authority {
    context: node::Context,
    /// Connects to nodes of the role control only.
    http: reqwest::Client,
    control: Vec<String>,
    /// Replaced when it is revoked and this node is not.
    key: Mutex<Arc<SealingKey>>,
    /// Who sealed what in the past.
    log: Arc<Log>,
    keyring: Mutex<Arc<Keyring>>,
    /// `None` before control has answered. The table stays while control is away.
    table: watch::Sender<Option<Arc<KeyTable>>>,
    /// `None` without a grant.
    granted: watch::Sender<Option<Granted>>,
    /// Sent after each change of the metadata log.
    rows: watch::Sender<()>,
    /// Sessions that streamers have delegated and that have ended; each lasts for some hours only.
    spent: Mutex<BTreeSet<SessionId>>,
}

/// By what right this ingest seals a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Its own grant names the stream.
    Own,
    /// A streamer has delegated this session of its stream.
    Session(SessionId),
    /// The session that a streamer has delegated has ended.
    Over,
    /// It is a streamer's stream, who has delegated nothing of it.
    None,
}

/// A session that a streamer has delegated to this ingest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "session {0}, which the streamer has delegated to this ingest, has ended: the streamer has to delegate another"
)]
pub(crate) struct SessionOver(pub(crate) SessionId);

/// Control has written our grant.
#[derive(Debug, Deserialize)]
struct Written {
    /// The entry that grants it.
    sequence: u64,
}

/// The grant of our key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) key: KeyId,
    /// Valid from this time on.
    from: UnixMillis,
    /// Valid until this time.
    until: UnixMillis,
}

impl Authority {
    /// Reads or makes the sealing key. `log` says which keys are granted.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid; names the path.
    pub(crate) fn load(context: &node::Context, log: Arc<Log>, control: &[String]) -> Result<Arc<Self>> {
        let key = sealing_key(&context.data.join(KEY_FILE))?;
        tracing::info!(key = %key.key_id(), "sealing key ready");
        let keyring = Keyring::new(context.cluster.clone()).with(log.look(|view| view.rights()));
        let this = Self {
            keyring: Mutex::new(Arc::new(keyring)),
            context: context.clone(),
            http: context.identity.http_client(Server::Any(Role::Control))?,
            control: control.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            key: Mutex::new(Arc::new(key)),
            log,
            table: watch::Sender::new(None),
            granted: watch::Sender::new(None),
            rows: watch::Sender::new(()),
            spent: Mutex::default(),
        };
        this.note_own_grant();
        Ok(Arc::new(this))
    }

    fn key(&self) -> Arc<SealingKey> {
        Arc::clone(&self.key.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The grant of our key, sent again when it changes.
    pub(crate) fn grants(&self) -> watch::Receiver<Option<Granted>> {
        self.granted.subscribe()
    }

    /// Takes what the metadata log says of keys.
    pub(crate) fn take_rights(&self, rights: Rights) {
        let next = Arc::new(self.keyring().with(rights));
        *self.keyring.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.note_own_grant();
        self.rows.send_replace(());
    }

    /// Says when the metadata log has changed.
    pub(crate) fn rows(&self) -> watch::Receiver<()> {
        self.rows.subscribe()
    }

    /// The tenant of a stream; `None` while the log has no tenants.
    pub(crate) fn tenant_of(&self, stream: &StreamId) -> Option<metadata::Tenant> {
        self.log.look(|view| view.tenant_of(stream).cloned())
    }

    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why no publisher can be accepted now; `None` when one can.
    pub(crate) fn not_ready(&self, now: UnixMillis) -> Option<&'static str> {
        match *self.granted.borrow() {
            None => Some("This ingest has no grant to seal yet: try again in a moment."),
            // Nodes would refuse its seals, and it could verify no other ingest's: it would take every stream for dead.
            Some(granted) if now.plus(CLOCK_AHEAD_MAX) < granted.from => Some(CLOCK_BEHIND),
            Some(granted) if granted.until <= now => {
                Some("This ingest's grant to seal has expired: try again in a moment.")
            }
            Some(_) if self.table.borrow().is_none() => Some("This ingest does not know the stream keys yet."),
            Some(_) => None,
        }
    }

    /// The table of stream keys, once there is one.
    pub(crate) fn table(&self) -> Option<Arc<KeyTable>> {
        self.table.borrow().clone()
    }

    /// The table, sent again whenever control has answered.
    pub(crate) fn tables(&self) -> watch::Receiver<Option<Arc<KeyTable>>> {
        self.table.subscribe()
    }

    /// By what right this ingest seals a stream.
    pub(crate) fn right(&self, stream: &StreamId) -> Right {
        let (keyring, key) = (self.keyring(), self.key().key_id());
        let session = keyring.delegation(&key, stream, self.context.clock.wall()).map(|delegation| delegation.session);
        match session {
            _ if keyring.is_granted(&key, stream) => Right::Own,
            Some(session) if self.spent().contains(&session) => Right::Over,
            Some(session) => Right::Session(session),
            None if self.is_streamers(stream) => Right::None,
            // The entry that says so may still be on its way.
            None => Right::Own,
        }
    }

    /// Slug of the tenant that owns a stream; `None` for the tenant `default`.
    pub(crate) fn owner(&self, stream: &StreamId) -> Option<String> {
        self.log.look(|view| view.owner(stream).map(str::to_owned))
    }

    fn is_streamers(&self, stream: &StreamId) -> bool {
        self.log.look(|view| view.stream(stream).is_some_and(|row| row.pool.starts_with(STREAMER_POOL)))
    }

    /// Notes that a delegated session has ended.
    pub(crate) fn spend(&self, session: SessionId) {
        let mut spent = self.spent();
        while spent.len() >= SPENT_MAX {
            spent.pop_first();
        }
        spent.insert(session);
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, BTreeSet<SessionId>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a seal. Errors when the body breaks a rule, which is a bug here.
    pub(crate) fn sign(&self, body: &SealBody) -> Result<Sealed, seal::Error> {
        seal::sign_seal(body, &*self.key())
    }

    /// Checks a seal of this stream that came from a node, to go on after it; logs a refusal.
    pub(crate) fn verify(&self, cose: &Bytes, stream: &StreamId) -> Option<Sealed> {
        self.check(cose, stream)
            .inspect_err(|refusal| tracing::warn!(%stream, %refusal, "head of the log refused"))
            .ok()
    }

    /// Checks a seal of this stream, to go on after it. A key that does not count any more still says where its log ends: nodes have
    /// admitted that, and show it.
    pub(crate) fn check(&self, cose: &Bytes, stream: &StreamId) -> Result<Sealed, seal::Refusal> {
        let now = self.context.clock.wall();
        let refusal = match self.keyring().verify(cose, stream, now, Freshness::CatchUp) {
            Err(refusal) if refusal.reason == RefusalReason::Key => refusal,
            checked => return checked,
        };
        let signer = seal::peek(cose)?.0;
        let granted_once = self.log.look(|view| view.any_grant(&signer).map(|grant| grant.public_key.clone()));
        match granted_once {
            Some(public_key) => seal::verify_place(cose, &public_key, &self.context.cluster, stream),
            None => Err(refusal),
        }
    }

    /// Gets and renews the grant, and reads the table, until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, ready: node::ops::ReadyFlag, shutdown: CancellationToken) -> Result<()> {
        let bus = &self.context.bus;
        let mut updates = bus.subscribe(&self.context.prefix.filter("catalogue/update")).await?;
        let (mut wait, mut lost) = (RETRY.0, self.granted.subscribe());
        loop {
            let done = self.refresh().await;
            let pause = match &done {
                Ok(()) => {
                    wait = RETRY.0;
                    POLL_INTERVAL
                }
                Err(error) => {
                    wait = wait.saturating_mul(2).min(RETRY.1);
                    tracing::warn!(error = format!("{error:#}"), "control does not answer as it should");
                    wait
                }
            };
            ready.set(self.not_ready(self.context.clock.wall()).is_none());
            let timer = tokio::time::sleep(pause);
            tokio::pin!(timer);
            loop {
                tokio::select! {
                    () = &mut timer => break,
                    () = shutdown.cancelled() => return Ok(()),
                    Some(_) = updates.recv() => break,
                    // Without a grant, the next question has no time.
                    Ok(()) = lost.changed() => {
                        if lost.borrow_and_update().is_none() {
                            break;
                        }
                    }
                    else => return Ok(()),
                }
            }
        }
    }

    async fn refresh(&self) -> Result<()> {
        let mut last = None;
        for base in &self.control {
            match self.refresh_from(base).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error.context(format!("control at {base}"))),
            }
        }
        last.map_or(Ok(()), Err)
    }

    async fn refresh_from(&self, base: &str) -> Result<()> {
        self.replace_revoked_key()?;
        if self.needs_grant() {
            self.request_grant(base).await?;
        }
        let url = format!("{base}/cluster/v1/streams");
        let body = bounded_body(self.http.get(url).timeout(REQUEST_TIMEOUT), TABLE_BYTES_MAX).await?;
        let table: StreamTable = serde_json::from_slice(&body).context("table of streams does not parse")?;
        let (table, left_out) = KeyTable::new(table);
        if left_out > 0 {
            tracing::warn!(left_out, "streams were left out of the table: too many");
        }
        tracing::debug!(streams = table.len(), "table of streams read");
        self.table.send_replace(Some(Arc::new(table)));
        Ok(())
    }

    /// Makes another key when ours is revoked and this node is not. The old one stays on the disk, beside the new one.
    fn replace_revoked_key(&self) -> Result<()> {
        let old = self.key().key_id();
        let keyring = self.keyring();
        if !keyring.is_revoked(&old) || keyring.is_node_revoked(&self.context.id) {
            return Ok(());
        }
        let path = self.context.data.join(KEY_FILE);
        let aside = self.context.data.join(format!("{KEY_FILE}.{old}"));
        std::fs::rename(&path, &aside).with_context(|| format!("cannot rename {}", path.display()))?;
        let key = sealing_key(&path)?;
        tracing::warn!(%old, new = %key.key_id(), kept = %aside.display(), "the sealing key is revoked, and replaced by a new one");
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(())
    }

    fn needs_grant(&self) -> bool {
        let now = self.context.clock.wall();
        self.keyring().grant(&self.key().key_id()).is_none_or(|grant| {
            let life = grant.until.0.saturating_sub(grant.from.0);
            grant.until.0.saturating_sub(now.0) < life.saturating_div(RENEW_SHARE)
        })
    }

    async fn request_grant(&self, base: &str) -> Result<()> {
        let url = format!("{base}/cluster/v1/grants");
        let request = self.http.post(url).timeout(REQUEST_TIMEOUT).body(self.key().public_key_bytes());
        let answer = bounded_body(request, GRANTED_BYTES_MAX).await?;
        let written: Written = serde_json::from_slice(&answer).context("the answer about the grant does not parse")?;
        tracing::debug!(sequence = written.sequence, "the grant is in the metadata log");
        // The bus brings the entry, unless something holds it back.
        self.log.hurry();
        Ok(())
    }

    /// Takes over the validity of our grant in the keyring.
    fn note_own_grant(&self) {
        let key = self.key().key_id();
        let granted = self.keyring().grant(&key).map(|grant| Granted { key, from: grant.from, until: grant.until });
        let changed = self.granted.send_if_modified(|known| std::mem::replace(known, granted) != granted);
        let Some(Granted { from, until, .. }) = granted.filter(|_| changed) else { return };
        tracing::info!(%key, %until, "granted to seal");
        if self.not_ready(self.context.clock.wall()) == Some(CLOCK_BEHIND) {
            tracing::error!(%from, "the clock of this ingest is behind that of control: no publisher is accepted until it is set");
        }
    }
}

/// The sealing key of the node whose data directory this is: read, or made and stored.
///
/// # Errors
/// When the file cannot be read or written, or is none; names it.
pub fn sealing_key_in(data: &Path) -> Result<SealingKey> {
    sealing_key(&data.join(KEY_FILE))
}

/// The sealing key: read, or made and stored.
///
/// # Errors
/// When the file cannot be read or written, or is none; names it.
fn sealing_key(path: &Path) -> Result<SealingKey> {
    if path.exists() {
        let seed = zeroize_on_drop(files::read_bounded(path)?);
        return SealingKey::from_seed_bytes(&seed).with_context(|| format!("{} is not a sealing key", path.display()));
    }
    let key = SealingKey::generate().context("cannot make a sealing key")?;
    files::atomic_write(path, &key.to_seed_bytes(), files::MODE_SECRET)?;
    Ok(key)
}

fn zeroize_on_drop(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}

/// Sends a request and returns the whole body of the answer, which has to be a success and no longer than `bytes_max`.
async fn bounded_body(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Bytes> {
    bounded_answer(request, bytes_max).await?.context("answered 404 Not Found")
}

/// As [`bounded_body`]; `None` for 404.
async fn bounded_answer(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Option<Bytes>> {
    read_answer(request.send().await?, bytes_max).await
}

/// The body of a success, no longer than `bytes_max`; `None` for 404.
pub(crate) async fn read_answer(mut answer: reqwest::Response, bytes_max: usize) -> Result<Option<Bytes>> {
    let status = answer.status();
    if status == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if !status.is_success() {
        let said = answer.chunk().await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let line: String = said.chars().take_while(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
        anyhow::bail!("answered {status}: {line}");
    }
    node::answer::body(answer, bytes_max).await.map(Some)
}
