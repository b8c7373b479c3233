//! Tokens of sessions: the key that signs them, what of them was ended, and the cookie that has one.
//!
//! A session is a row of the catalogue, and control looks there on each request. The token is for nodes: they believe it for ten minutes, and
//! the metadata log says what is over before that.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::session::{COOKIE, LIFE_S, TENANTS_MAX};
use access::token::audience;
use access::{KeyRefused, Membership, SessionClaims, SessionRules, TokenKey};
use anyhow::{Context as _, Result};
use catalogue::Person;
use media::{Digest, UnixMillis};
use metadata::limits::rows_max;
use metadata::{Body, Edit, EntrySequence, PersonDigest, SessionRow, SessionRule, SessionToken, View, kind};
use node::files;
use zeroize::Zeroizing;

use crate::ControlState;
use crate::rows::put;

/// File of the key in control's data directory; mode 0600. Whoever has it can read what people may read, on nodes, and change nothing.
const KEY_FILE: &str = "sessions.key";
/// How long a key signs.
const KEY_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// A key that ends in less than this signs nothing more.
const KEY_RENEWAL: Duration = Duration::from_secs(86_400);
/// How long what was ended stays in the log: until the last token has ended by itself, also by a clock that is a minute behind.
const ENDED_LIFE: Duration = Duration::from_secs(LIFE_S + 60);
/// How long somebody stays signed in, and how long without a request.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(7 * 86_400);
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(12 * 3_600);

/// What is remembered of the log: the rules, and the place of the log that they are of.
type Remembered = Option<(Digest, Arc<SessionRules>)>;

/// The key that signs, once somebody has signed in.
#[derive(Default)]
pub(crate) struct SessionKeys {
    current: tokio::sync::Mutex<Option<(Arc<TokenKey>, UnixMillis)>>,
    rules: Mutex<Remembered>,
}

/// A new session's identity.
pub(crate) fn draw_session() -> SessionToken {
    SessionToken(rand::random())
}

impl ControlState {
    /// What the log says of sessions now.
    pub(crate) fn session_rules(&self) -> Arc<SessionRules> {
        let place = self.writer.place().chain;
        let mut remembered = self.session_keys.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rules)) = remembered.as_ref().filter(|(of, _)| *of == place) {
            return Arc::clone(rules);
        }
        let rules = Arc::new(self.writer.log().look(|view| SessionRules::of(&view, &self.node.cluster)));
        *remembered = Some((place, Arc::clone(&rules)));
        rules
    }

    /// The `Set-Cookie` of a session that goes on.
    ///
    /// # Errors
    /// When the key cannot be had, or the log not be written.
    pub(crate) async fn session_cookie(
        &self,
        session: SessionToken,
        (person, mut tenants): (&str, Vec<Membership>),
        until: UnixMillis,
    ) -> Result<String> {
        let key = self.session_key().await?;
        let now = self.node.clock.wall();
        let person = PersonDigest::of(person);
        let iat = self.session_rules().first_second(&person, seconds(now));
        tenants.truncate(TENANTS_MAX);
        let claims = SessionClaims { aud: audience(&self.node.cluster), session, person, iat, tenants };
        let token = claims.sign(&key).context("the session cannot be said in a token")?;
        Ok(cookie(&token, until.since(now).as_secs()))
    }

    /// The key that signs now. Makes one at first use, and in time before the last one ends.
    async fn session_key(&self) -> Result<Arc<TokenKey>> {
        let mut current = self.session_keys.current.lock().await;
        let now = self.node.clock.wall();
        // A log that was begun again may have no row of it.
        let counts = |(key, until): &&(Arc<TokenKey>, UnixMillis)| {
            until.since(now) >= KEY_RENEWAL && self.session_rules().has_key(key.id())
        };
        if let Some((key, _)) = current.as_ref().filter(counts) {
            return Ok(Arc::clone(key));
        }
        let path = self.node.data.join(KEY_FILE);
        let kept = if path.exists() { Some(read_key(&path)?) } else { None };
        let kept = kept.and_then(|key| {
            let until = self.writer.log().look(|view| key_end(&view, &key.public()))?;
            (until.since(now) >= KEY_RENEWAL).then_some((key, until))
        });
        let (key, until) = match kept {
            Some(kept) => kept,
            None => self.new_session_key(&path, now).await?,
        };
        let key = Arc::new(key);
        *current = Some((Arc::clone(&key), until));
        Ok(key)
    }

    async fn new_session_key(&self, path: &Path, now: UnixMillis) -> Result<(TokenKey, UnixMillis)> {
        let seed: Zeroizing<[u8; TokenKey::SEED_BYTES]> = Zeroizing::new(rand::random());
        let key = TokenKey::from_seed(&seed)?;
        let (says, until) = (SessionRule::Key { key: key.public(), from: now }, now.plus(KEY_LIFE));
        files::atomic_write(path, &seed[..], files::MODE_SECRET)?;
        self.write_session_row(SessionRow { says, until }).await?;
        tracing::info!(key = %key.id(), "key of sessions made");
        Ok((key, until))
    }

    /// Ends a session on all nodes.
    ///
    /// # Errors
    /// When the log cannot be written: nodes believe its token for ten minutes more.
    pub(crate) async fn end_session(&self, session: SessionToken) -> Result<()> {
        self.end(SessionRule::Ended(session)).await
    }

    /// Takes a person's tokens back on all nodes, because what the person may do has changed. Control gives new ones to whoever is still
    /// signed in.
    ///
    /// # Errors
    /// When the log cannot be written: nodes believe the tokens for ten minutes more.
    async fn person_changed(&self, person: &str) -> Result<()> {
        let up_to_s = seconds(self.node.clock.wall());
        self.end(SessionRule::Person { person: PersonDigest::of(person), up_to_s }).await
    }

    /// The same where the change itself stands, whatever becomes of the log.
    pub(crate) async fn forget_tokens_of(&self, person: &Person) {
        if let Err(error) = self.person_changed(&person.key()).await {
            tracing::error!(
                error = format!("{error:#}"),
                "nodes believe a person's earlier tokens for ten minutes more"
            );
        }
    }

    async fn end(&self, says: SessionRule) -> Result<()> {
        let until = self.node.clock.wall().plus(ENDED_LIFE);
        self.write_session_row(SessionRow { says, until }).await.map(|_| ())
    }

    async fn write_session_row(&self, row: SessionRow) -> Result<EntrySequence> {
        let now = self.node.clock.wall();
        let mut is_full = false;
        let edits = |view: View<'_>| {
            let mut edits = over(&view, now);
            // Keys have to fit in any case.
            let most = rows_max(kind::SESSION) - if matches!(row.says, SessionRule::Key { .. }) { 0 } else { 16 };
            is_full = view.sessions().count().saturating_sub(edits.len()) >= most;
            if !is_full {
                edits.extend(put(&view, Body::Session(row)));
            }
            edits
        };
        let sequence = self.writer.write(edits).await?;
        if is_full {
            tracing::warn!("very many sessions were ended lately: nodes believe one of them for ten minutes more");
        }
        Ok(sequence)
    }
}

/// Until when the log has a key.
fn key_end(view: &View<'_>, public: &[u8; 32]) -> Option<UnixMillis> {
    view.sessions().find_map(|row| match &row.says {
        SessionRule::Key { key, .. } if key == public => Some(row.until),
        _ => None,
    })
}

/// The edits that forget what is over.
fn over(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let over = view.sessions().filter(|row| row.until <= now);
    let removed = |row: &SessionRow| {
        let id = view.row_id(kind::SESSION, &Body::Session(row.clone()).name()?)?;
        Some(Edit { id, kind: kind::SESSION, body: None, salt: [0; 16] })
    };
    over.filter_map(removed).collect()
}

fn seconds(at: UnixMillis) -> u64 {
    u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0)
}

/// A `Set-Cookie`. Browsers keep it for so many seconds, which control renews nothing beyond.
fn cookie(token: &str, life_s: u64) -> String {
    format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={life_s}")
}

/// The `Set-Cookie` that makes a browser forget the session.
pub(crate) fn no_cookie() -> String {
    cookie("", 0)
}

fn read_key(path: &Path) -> Result<TokenKey> {
    let bytes = Zeroizing::new(files::read_bounded(path)?);
    let seed: Result<&[u8; TokenKey::SEED_BYTES], _> = bytes.as_slice().try_into();
    let key = seed.map_err(|_| KeyRefused).and_then(TokenKey::from_seed);
    key.with_context(|| format!("{} is no key of sessions: remove it, and control makes a new one", path.display()))
}
