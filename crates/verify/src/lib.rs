//! What a viewer's browser checks for itself, with nothing but the root public key: who may seal the stream ([`metadata::Trust`]), the seals
//! of its log, and every media object that the player loads.
//!
//! A [`Verifier`] belongs to one stream. The caller fetches and hands in what a node answers, in any order; it learns what does not
//! hold. A seal counts when a key that may seal now has signed it, or has signed a later one that builds on it: so what a key signed
//! before it was revoked counts where the log goes on from there, and a thief who backdates gains nothing.
//! Deliberately judges no time by the viewer's clock, which is often wrong: keys are judged by control's. Pure; `boundary` is how
//! JavaScript calls it.

#[cfg(target_arch = "wasm32")]
mod boundary;
pub mod calls;
mod log;
mod objects;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::{LogSequence, SessionId, StreamId, UnixMillis};
use metadata::{DelegatedSession, GrantedKey, LogId, Roots, Trust};
use seal::{Chain, KeyId, Refusal, RefusalReason};

use log::Place;
use objects::Objects;

/// Keys of the stream that are remembered: those of a [`Trust`], and those of the one before.
const KEYS_MAX: usize = 64;
/// Sessions that streamers have delegated and that are remembered, likewise.
const SESSIONS_MAX: usize = 16;

/// What control says of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// SHA-256 of a root key that has signed the statement in force.
    pub root: [u8; 32],
    /// The metadata log.
    pub log: LogId,
    /// When control said so, by its own clock.
    pub at: UnixMillis,
    /// First and last seal that the node has; nobody signs it.
    pub kept: Option<(LogSequence, LogSequence)>,
}

/// A key, and the state of the cluster in which its grant is proven.
#[derive(Debug, Clone)]
struct Known {
    key: GrantedKey,
    /// When control said so. A later word that leaves the key out may leave out that it was revoked.
    said_at: UnixMillis,
}

/// Checks one stream.
pub struct Verifier {
    stream: StreamId,
    /// What the root key's SHA-256 has to begin with; `None` at a first meeting.
    fingerprint: Option<Vec<u8>>,
    roots: Option<Roots>,
    said: Option<Said>,
    keys: BTreeMap<KeyId, Known>,
    /// Sessions that streamers let other keys seal, each with the time of control's word.
    sessions: BTreeMap<SessionId, (DelegatedSession, UnixMillis)>,
    chain: Chain,
    place: Option<Place>,
    objects: Objects,
    seals: u64,
    /// Why the newest seals that were handed in do not count yet.
    doubt: Option<Refusal>,
    /// The first thing that is wrong. It stays.
    wrong: Option<String>,
}

impl Verifier {
    /// A verifier of a stream. `fingerprint` is what the root key's SHA-256 has to begin with, 16 to 32 bytes; without one, the first
    /// answer is believed.
    ///
    /// # Errors
    /// When the fingerprint is too short to say anything, or too long.
    pub fn new(stream: StreamId, fingerprint: Option<Vec<u8>>) -> Result<Self, Refusal> {
        if fingerprint.as_ref().is_some_and(|bytes| !(16..=32).contains(&bytes.len())) {
            return Err(Refusal::malformed("a fingerprint of a root key has 16 to 32 bytes, in hexadecimal"));
        }
        Ok(Self {
            chain: Chain::new(stream.clone()),
            stream,
            fingerprint,
            roots: None,
            said: None,
            keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            place: None,
            objects: Objects::default(),
            seals: 0,
            doubt: None,
            wrong: None,
        })
    }

    /// Takes what a node answers under `/api/v1/trust/{stream}`. An answer older than the newest changes nothing.
    ///
    /// Refuses with the reason of whatever does not verify, and changes nothing then.
    pub fn take_trust(&mut self, answer: &[u8]) -> Result<(), Refusal> {
        let trust = Trust::decode(answer)?;
        let mut roots = match &self.roots {
            Some(roots) => roots.clone(),
            None => Roots::begin(&trust.roots, self.fingerprint.as_deref())?,
        };
        let proven = trust.verify(&mut roots, &self.stream)?;
        let root = roots.fingerprint().ok_or_else(|| Refusal::new(RefusalReason::Key, "no root statement"))?;
        if self.said.as_ref().is_some_and(|said| proven.at < said.at) {
            return Ok(());
        }
        self.said = Some(Said { root: root.0, log: proven.log, at: proven.at, kept: trust.kept });
        if self.keys.len().saturating_add(proven.keys.len()) > KEYS_MAX {
            self.keys.clear();
        }
        let known = |key: GrantedKey| (key.public_key.id(), Known { key, said_at: proven.at });
        self.keys.extend(proven.keys.into_iter().map(known));
        if self.sessions.len().saturating_add(proven.delegations.len()) > SESSIONS_MAX {
            self.sessions.clear();
        }
        self.sessions.extend(proven.delegations.into_iter().map(|one| (one.session, (one, proven.at))));
        self.roots = Some(roots);
        Ok(())
    }

    /// What control says; `None` before [`Verifier::take_trust`] took something.
    pub const fn said(&self) -> Option<&Said> {
        self.said.as_ref()
    }

    /// The key with this identity, if the log has a grant of it, for whatever stream.
    ///
    /// Refuses with `Key` when it has none.
    fn key(&self, id: KeyId) -> Result<&Known, Refusal> {
        let unknown = || Refusal::new(RefusalReason::Key, format!("key {id}: the cluster's log has no grant of it"));
        self.keys.get(&id).ok_or_else(unknown)
    }

    /// Whether a seal of this key, session and time counts by its own signature ([`GrantedKey::counts`]).
    ///
    /// Refuses with `Key` when not.
    fn counts(&self, id: KeyId, session: SessionId, issued_at: UnixMillis) -> Result<(), Refusal> {
        let Known { key, said_at } = self.key(id)?;
        let now = self.said.as_ref().map_or(UnixMillis(0), |said| said.at);
        // What the newest word leaves out counts no more: its row may be withheld because it has ended.
        let delegated = self.sessions.get(&session).filter(|(_, said_at)| *said_at >= now).map(|(one, _)| one);
        if *said_at < now {
            let detail = format!("key {id} of {}: the newest statement of who may seal leaves it out", key.node);
            return Err(Refusal::new(RefusalReason::Key, detail));
        }
        key.counts(delegated, issued_at, now)
    }

    /// Takes an object that the player has loaded, by its place: `720p/3/17.2.m4s`. Any other place is wrong, because no seal can name it.
    pub fn object(&mut self, place: &str, bytes: &[u8], now: Duration) {
        let Some(name) = objects::parse(place) else {
            self.wrong.get_or_insert_with(|| format!("{place} is no place of an object"));
            return;
        };
        self.objects.take(name, seal::digest(bytes), bytes.len(), now);
        self.settle(now);
    }

    /// Compares objects that wait with what the log lists.
    fn settle(&mut self, now: Duration) {
        if let Some(wrong) = self.objects.settle(self.place.as_ref(), now) {
            self.wrong.get_or_insert(wrong);
        }
    }

    /// What the checks have come to.
    pub fn standing(&self, now: Duration) -> Standing<'_> {
        Standing {
            said: self.said.as_ref(),
            seals: self.seals,
            objects: self.objects.right(),
            waiting: self.objects.waiting(),
            before: self.objects.before(),
            longest_wait: self.objects.longest_wait(now),
            unlisted: self.objects.unlisted(),
            node: self.place.as_ref().and_then(|place| self.keys.get(&place.key)).map(|known| known.key.node.as_str()),
            place: self.place.as_ref(),
            next: self.next(),
            doubt: self.doubt.as_ref(),
            wrong: self.wrong.as_deref(),
        }
    }
}

/// What the checks have come to.
#[derive(Debug)]
pub struct Standing<'v> {
    /// What control says.
    pub said: Option<&'v Said>,
    /// Seals that count.
    pub seals: u64,
    /// Objects that are what a seal names.
    pub objects: u64,
    /// Objects whose seal is not here yet.
    pub waiting: usize,
    /// Objects of before the log that is here: an older piece may list them.
    pub before: usize,
    /// How long the oldest of those that wait has waited.
    pub longest_wait: Duration,
    /// Objects that are older than all that was handed in: they are not checked.
    pub unlisted: u64,
    /// The ingest that has the key of the newest seal.
    pub node: Option<&'v str>,
    /// The newest seal.
    pub place: Option<&'v Place>,
    /// Where to ask for seals from; `None` while no log is here.
    pub next: Option<LogSequence>,
    /// Why the newest seals do not count yet.
    pub doubt: Option<&'v Refusal>,
    /// What is wrong.
    pub wrong: Option<&'v str>,
}

impl Verifier {
    /// Takes a piece of the seal log, as a node answers `/live/{stream}/seals`: seals one after the other, without holes.
    ///
    /// Refuses with `Key` when a key is not granted or not any more: a newer [`Verifier::take_trust`] may know it. Any other refusal is
    /// for good. What came before the seal that is refused is taken.
    pub fn take_seals(&mut self, sequence: &Bytes, now: Duration) -> Result<(), Refusal> {
        let taken = self.take_log(sequence, now);
        self.doubt = taken.as_ref().err().cloned();
        self.settle(now);
        taken
    }
}
