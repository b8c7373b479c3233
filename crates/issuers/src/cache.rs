//! One issuer with its keys: fetches them, and decides tokens with them. When to fetch is [`crate::freshness`]'s decision.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use http::header;
use media::{Now, UnixMillis};
use node::clock::Clock;
use outbound::{Answer, Limits, Outbound, Request, Target};
use tokio::sync::{Semaphore, watch};

use crate::decide::{self, KeyProblem, Verified};
use crate::fingerprint::Fingerprint;
use crate::freshness::{Bounds, Freshness, Input, Output};
use crate::identity::{self, Identity};
use crate::jwks::{KeySet, SET_BYTES_MAX};
use crate::refusal::Refusal;
use crate::settings::{Settings, Use};
use crate::token::Token;

/// Tokens that may wait for the keys of one issuer: more than viewers come in a second, and few enough to hold in memory.
const WAITING_MAX: usize = 4_096;
/// Clocks that differ by more than this are worth a warning: it is what the nodes of a cluster may differ by.
const CLOCK_OFF_MS_MAX: u64 = 30_000;

/// The keys, as of some fetch.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    keys: Arc<KeySet>,
    /// Fetches that had ended then.
    ended: u64,
}

/// What is shown of an issuer besides its keys.
#[derive(Debug, Default)]
struct Report {
    /// When the keys were fetched.
    fetched_at: Option<UnixMillis>,
    /// Why the newest fetch failed, for the operator.
    failure: Option<String>,
    /// The same for those who send tokens.
    failure_told: Option<String>,
    /// `max-age` of the issuer's own answer, in seconds.
    issuer_max_age_s: Option<u64>,
    /// By how much this node's clock is ahead of the issuer's, in milliseconds.
    clock_off_ms: Option<i64>,
}

/// The keys of an issuer, for whoever hands them on.
#[derive(Debug, Clone, PartialEq)]
pub enum PublicKeys {
    /// Those that count.
    Now(Vec<serde_json::Value>),
    /// It has not answered since the start.
    NotYet,
    /// It has not answered for longer than keys count.
    TooOld,
}

/// One issuer.
pub(crate) struct Cache {
    pub(crate) settings: Settings,
    target: Target,
    outbound: Outbound,
    clock: Clock,
    bounds: Bounds,
    state: Mutex<(Freshness, Report)>,
    keys: watch::Sender<Snapshot>,
    waiting: Semaphore,
    /// Sends when a fetch of any issuer has ended.
    fetched: watch::Sender<()>,
}

/// What a fetch brought.
struct Fetched {
    keys: KeySet,
    issuer_max_age_s: Option<u64>,
    clock_off_ms: Option<i64>,
}

impl Cache {
    /// Checks the settings; fetches nothing yet.
    pub(crate) fn new(
        settings: Settings,
        outbound: Outbound,
        clock: Clock,
        bounds: Bounds,
        fetched: watch::Sender<()>,
    ) -> anyhow::Result<Arc<Self>> {
        let target = settings.check(outbound.policy())?;
        Ok(Arc::new(Self {
            settings,
            target,
            outbound,
            clock,
            bounds,
            state: Mutex::new((Freshness::new(bounds), Report::default())),
            keys: watch::Sender::new(Snapshot::default()),
            waiting: Semaphore::new(WAITING_MAX),
            fetched,
        }))
    }

    fn state(&self) -> MutexGuard<'_, (Freshness, Report)> {
        // No holder of the lock leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do now, and how many fetches have ended before. A fetch is begun here.
    fn apply(self: &Arc<Self>, input: Input) -> (Output, u64) {
        let mut state = self.state();
        let before = state.0.ended();
        let output = state.0.apply(input, self.clock.now());
        drop(state);
        if output == Output::Fetch {
            self.fetch();
        }
        (output, before)
    }

    /// Decides a token whose `iss` is this issuer. Waits for keys, for [`Bounds::wait_max`] at most, when the token's is not there.
    pub(crate) async fn check(self: &Arc<Self>, token: &Token<'_>, wanted: Use) -> Result<Verified, Refusal> {
        let clock_off_ms = self.state().1.clock_off_ms;
        decide::claims(&self.settings, token, self.clock.wall(), clock_off_ms)?;
        let key = self.signer(token).await?;
        decide::rights(&self.settings, &token.claims, wanted, key)
    }

    /// The same of an ID token for this client, in answer to the question with this nonce.
    pub(crate) async fn check_id_token(
        self: &Arc<Self>,
        token: &Token<'_>,
        client_id: &str,
        nonce: &str,
    ) -> Result<Identity, Refusal> {
        let clock_off_ms = self.state().1.clock_off_ms;
        decide::id_claims(&self.settings, token, (client_id, nonce), self.clock.wall(), clock_off_ms)?;
        self.signer(token).await?;
        identity::identity(&self.settings, &token.claims, decide::role(&self.settings, &token.claims))
    }

    /// The key that signed a token.
    async fn signer(self: &Arc<Self>, token: &Token<'_>) -> Result<Fingerprint, Refusal> {
        // Cloned: whoever holds the lock of the state waits for those who read the keys.
        let snapshot = self.keys.borrow().clone();
        match self.key_now(token, &snapshot) {
            Ok(key) => Ok(key),
            Err(KeyProblem::Refuse(refusal)) => Err(refusal),
            Err(KeyProblem::Ask(_)) => {
                let _place = self.waiting.try_acquire().map_err(|_| Refusal::Busy)?;
                let waited = tokio::time::timeout(self.bounds.wait_max, self.key_soon(token)).await;
                waited.unwrap_or_else(|_| Err(self.away("it does not answer in time".to_owned())))
            }
        }
    }

    /// The key that signed the token, if it is among those that count now.
    fn key_now(&self, token: &Token<'_>, snapshot: &Snapshot) -> Result<Fingerprint, KeyProblem> {
        if !self.state().0.counts(self.clock.elapsed()) {
            return Err(KeyProblem::Ask(self.away("there are none, or they are too old".to_owned())));
        }
        decide::signature(&snapshot.keys, token)
    }

    /// The same after a fetch.
    async fn key_soon(self: &Arc<Self>, token: &Token<'_>) -> Result<Fingerprint, Refusal> {
        let mut keys = self.keys.subscribe();
        let since = keys.borrow().ended;
        loop {
            let snapshot = keys.borrow_and_update().clone();
            let refusal = match self.key_now(token, &snapshot) {
                Ok(key) => return Ok(key),
                Err(KeyProblem::Refuse(refusal)) => return Err(refusal),
                Err(KeyProblem::Ask(refusal)) => refusal,
            };
            let until = match self.apply(Input::Needed { since }).0 {
                // A fetch that ended while this token was decided has changed the keys once more.
                Output::Settled if keys.has_changed().unwrap_or(false) => continue,
                Output::Settled => return Err(refusal),
                Output::WaitUntil(until) => self.clock.instant(until),
                Output::Fetch | Output::Wait | Output::Nothing => self.clock.instant(Duration::MAX),
            };
            tokio::select! {
                // The sender lives as long as `self`.
                _ = keys.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn away(&self, otherwise: String) -> Refusal {
        Refusal::KeysAway(self.state().1.failure_told.clone().unwrap_or(otherwise))
    }

    /// Fetches in a task of its own, so that no token that goes away takes the fetch along.
    fn fetch(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let asked = Arc::clone(&this);
            // A task of its own again: a panic ends the fetch, and not the cache.
            let fetched = tokio::spawn(async move { asked.ask().await }).await;
            let fetched = fetched.unwrap_or_else(|error| Err(anyhow::anyhow!("the fetch ended early: {error}")));
            let input = this.take(fetched);
            this.end(input);
        });
    }

    async fn ask(&self) -> anyhow::Result<Fetched> {
        let limits = Limits { time: self.bounds.fetch_time, body_bytes: SET_BYTES_MAX };
        let answer = self.outbound.send(&self.target, Request::get_json(), limits).await?;
        let here = self.clock.wall();
        ensure!(answer.status == http::StatusCode::OK, "{} answers {}", self.target, answer.status);
        let keys = KeySet::parse(answer.body_for_parsing()).map_err(anyhow::Error::msg);
        let keys = keys.with_context(|| format!("{} is not the URL of its keys", self.target))?;
        Ok(Fetched { keys, issuer_max_age_s: max_age_s(&answer), clock_off_ms: clock_off_ms(&answer, here) })
    }

    /// Notes how a fetch ended.
    fn take(&self, fetched: anyhow::Result<Fetched>) -> Input {
        let issuer = &self.settings.url;
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("issuers_fetches_total", "result" => result).increment(1);
        let mut state = self.state();
        let (freshness, report) = &mut *state;
        let was_stale = freshness.stale_since_at().is_some();
        match fetched {
            Ok(Fetched { keys, issuer_max_age_s, clock_off_ms }) => {
                if was_stale {
                    metrics::gauge!("issuers_stale").decrement(1);
                    tracing::info!(issuer, keys = keys.len(), "the issuer's keys are fresh again");
                }
                let is_far = |off: &i64| off.unsigned_abs() > CLOCK_OFF_MS_MAX;
                if let Some(off_ms) =
                    clock_off_ms.filter(|off| is_far(off) && !report.clock_off_ms.is_some_and(|was| is_far(&was)))
                {
                    tracing::warn!(
                        issuer,
                        off_ms,
                        "the clocks of this node and of the issuer differ: good tokens may be refused"
                    );
                }
                let fetched_at = Some(self.clock.wall());
                *report = Report { fetched_at, issuer_max_age_s, clock_off_ms, ..Report::default() };
                // Those who wait are told when the fetch has ended.
                self.keys.send_if_modified(|snapshot| {
                    snapshot.keys = Arc::new(keys);
                    false
                });
                Input::Fetched
            }
            Err(error) => {
                let failure = format!("{error:#}");
                if !was_stale {
                    metrics::gauge!("issuers_stale").increment(1);
                    let keys = self.keys.borrow().keys.len();
                    tracing::warn!(issuer, error = failure, keys, "the issuer's keys cannot be fetched");
                }
                let told = error.downcast_ref::<outbound::Error>().map(outbound::Error::for_tenant);
                report.failure_told = Some(told.unwrap_or_else(|| failure.clone()));
                report.failure = Some(failure);
                Input::Failed
            }
        }
    }

    /// Ends a fetch, and tells those who wait. Both under one lock, so that no token sees the one without the other.
    fn end(self: &Arc<Self>, input: Input) {
        let mut state = self.state();
        let output = state.0.apply(input, self.clock.now());
        let ended = state.0.ended();
        self.keys.send_modify(|snapshot| snapshot.ended = ended);
        drop(state);
        self.fetched.send_replace(());
        if output == Output::Fetch {
            self.fetch();
        }
    }

    /// Fetches now, and waits until a fetch that began after this call has ended.
    ///
    /// # Errors
    /// When it fails; says why. The keys before it stay.
    pub(crate) async fn refresh(self: &Arc<Self>) -> anyhow::Result<()> {
        let mut keys = self.keys.subscribe();
        let (output, before) = self.apply(Input::Refresh);
        // A fetch that is under way began before this call.
        let wanted = before.saturating_add(if output == Output::Wait { 2 } else { 1 });
        while keys.borrow_and_update().ended < wanted {
            keys.changed().await.context("the cache is gone")?;
        }
        match self.state().1.failure.clone() {
            None => Ok(()),
            Some(failure) => Err(anyhow::anyhow!(failure)),
        }
    }

    /// Keeps the keys fresh for as long as it is polled.
    pub(crate) async fn keep_fresh(self: &Arc<Self>) {
        let mut keys = self.keys.subscribe();
        loop {
            self.apply(Input::Tick);
            let due = self.state().0.next_deadline();
            let due = self.clock.instant(due.unwrap_or(Duration::MAX));
            tokio::select! {
                // The sender lives as long as `self`.
                _ = keys.changed() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// Whether the issuer still has this key, as far as is known: keys that could not be fetched again stay.
    pub(crate) fn has(&self, key: &Fingerprint) -> bool {
        self.keys.borrow().keys.has(key)
    }

    /// The keys as they are handed on.
    pub(crate) fn public(&self, keys_max: usize) -> PublicKeys {
        let counts = self.state().0.counts(self.clock.elapsed());
        let keys = &self.keys.borrow().keys;
        match counts {
            true => PublicKeys::Now(keys.public(keys_max)),
            false if keys.len() == 0 => PublicKeys::NotYet,
            false => PublicKeys::TooOld,
        }
    }

    /// Since when the newest fetches failed.
    pub(crate) fn stale_since_at(&self) -> Option<UnixMillis> {
        self.state().0.stale_since_at()
    }

    /// What `/status` shows.
    pub(crate) fn status(&self) -> serde_json::Value {
        let Now { elapsed, .. } = self.clock.now();
        let state = self.state();
        let (freshness, report) = &*state;
        let keys = self.keys.borrow();
        let passed_over: serde_json::Map<_, _> =
            keys.keys.passed_over.iter().map(|(why, count)| (why.name().to_owned(), (*count).into())).collect();
        serde_json::json!({
            "url": self.settings.url,
            "keys": keys.keys.len(),
            "keys_passed_over": passed_over,
            "keys_count": freshness.counts(elapsed),
            "fetched_at": report.fetched_at,
            "age_ms": freshness.age(elapsed).map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            "refresh_ms": u64::try_from(self.bounds.refresh.as_millis()).unwrap_or(u64::MAX),
            "issuer_max_age_s": report.issuer_max_age_s,
            "stale_since_at": freshness.stale_since_at(),
            "failure": report.failure,
            "failure_told": report.failure_told,
            "clock_off_ms": report.clock_off_ms,
        })
    }
}

/// `max-age` of an answer, to be shown beside our own age.
fn max_age_s(answer: &Answer) -> Option<u64> {
    let directives = answer.headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    directives.split(',').find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
}

/// By how much our clock is ahead of the one that wrote the answer, in milliseconds. `Date` has whole seconds, and a cache that answers in
/// place of the issuer says in `Age` how old the answer is (RFC 9110, section 6.6.1; RFC 9111, section 5.1).
fn clock_off_ms(answer: &Answer, here: UnixMillis) -> Option<i64> {
    let date = httpdate::parse_http_date(answer.headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let age_s = answer.headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0_u64);
    let there_s = date.duration_since(UNIX_EPOCH).ok()?.as_secs().saturating_add(age_s);
    let there_ms = i64::try_from(there_s.saturating_mul(1_000)).ok()?;
    let off_ms = here.0.saturating_sub(there_ms);
    // The rest of a second is not known.
    Some(if (0..1_000).contains(&off_ms) { 0 } else { off_ms })
}
