//! The keyring: which keys may seal which streams; it verifies seals against them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::{ClusterId, NodeId, SessionId, StreamId, UnixMillis};

use crate::content::Freshness;
use crate::cose::{self, Envelope};
use crate::limits::{CLOCK_AHEAD_MAX, SEAL_BYTES_MAX, UNHEARD_MAX};
use crate::{
    Delegation, Grant, KeyId, PublicKey, Refusal, RefusalReason, Rights, Scope, SealBody, Sealed, SignedDelegation,
    content, encoding,
};

#[derive(Debug, Clone)]
struct Granted {
    grant: Grant,
    public_key: PublicKey,
}

/// The keys that the metadata log has granted and not revoked, and what they may seal. Public keys come from grants, never from the
/// statement under verification. It does not change: another reading of the log is another keyring.
#[derive(Debug, Clone)]
pub struct Keyring {
    cluster: ClusterId,
    granted: BTreeMap<KeyId, Granted>,
    /// What revoked keys were granted, for recordings of before.
    taken_back: BTreeMap<KeyId, Granted>,
    /// The keys of revoked nodes are among them.
    revoked: BTreeMap<KeyId, UnixMillis>,
    pools: BTreeMap<StreamId, String>,
    /// What streamers let other nodes' keys do: each was signed by a key that may delegate its stream.
    delegations: BTreeMap<SessionId, SignedDelegation>,
}

fn refuse<T>(reason: RefusalReason, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

impl Keyring {
    /// A keyring without any key, for before the log is known.
    pub const fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            granted: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            revoked: BTreeMap::new(),
            pools: BTreeMap::new(),
            delegations: BTreeMap::new(),
        }
    }

    /// The keyring of other rights. Takes over the public keys that it has read already.
    #[must_use]
    pub fn with(&self, rights: Rights) -> Self {
        let Rights { grants, mut revoked, pools, delegations } = rights;
        let (mut granted, mut taken_back) = (BTreeMap::new(), BTreeMap::new());
        for grant in grants {
            let key = grant.key_id();
            let its_node = if revoked.is_empty() { None } else { revoked.get(&KeyId::of_node(&grant.node)).copied() };
            let since = revoked.get(&key).copied().into_iter().chain(its_node).min();
            let into = if since.is_some() { &mut taken_back } else { &mut granted };
            revoked.extend(since.map(|since| (key, since)));
            let read = self.granted.get(&key).or_else(|| self.taken_back.get(&key)).map(|held| held.public_key.clone());
            // Bytes that are no key verify nothing.
            let Some(public_key) = read.or_else(|| PublicKey::from_bytes(&grant.public_key).ok()) else { continue };
            into.insert(key, Granted { grant, public_key });
        }
        let cluster = self.cluster.clone();
        let mut next = Self { cluster, granted, taken_back, revoked, pools, delegations: BTreeMap::new() };
        for signed in delegations {
            if next.is_delegated_rightly(&signed, self) {
                next.delegations.entry(signed.delegation().session).or_insert(signed);
            }
        }
        next
    }

    /// What a key was granted, also one that was revoked since.
    fn once_granted(&self, key: &KeyId) -> Option<&Granted> {
        self.granted.get(key).or_else(|| self.taken_back.get(key))
    }

    /// Whether the key that signed a delegation may delegate this stream, or might before it was revoked, and has signed it. What the
    /// keyring `before` verified needs no second look.
    fn is_delegated_rightly(&self, signed: &SignedDelegation, before: &Self) -> bool {
        let Delegation { cluster, stream, session, .. } = signed.delegation();
        let Some(Granted { grant, public_key }) = self.once_granted(&signed.signer()) else { return false };
        let is_bounded = signed.delegation().is_bounded();
        let may = is_bounded && *cluster == self.cluster && grant.may_delegate && self.covers(grant, stream);
        may && (before.delegations.get(session) == Some(signed) || signed.is_signed_by(public_key))
    }

    /// Checks that a streamer lets this key seal the session now; of a recording, that it did when the seal was made.
    ///
    /// Refuses with `Key` when there is none, it is over, or the grant of the streamer's key is.
    fn check_delegation(
        &self,
        key: KeyId,
        body: &SealBody,
        (now, freshness): (UnixMillis, Freshness),
    ) -> Result<(), Refusal> {
        let signed = self.delegations.get(&body.session);
        let signed =
            signed.filter(|signed| signed.delegation().stream == body.stream && signed.delegation().key == key);
        let Some(signed) = signed else {
            return refuse(RefusalReason::Key, format!("key {key} is not granted stream {}", body.stream));
        };
        let is_in_force = match freshness {
            Freshness::Recorded => self.was_in_force(signed, body.issued_at),
            Freshness::Live | Freshness::CatchUp => self.is_in_force(signed, now),
        };
        if body.issued_at >= signed.delegation().until || !is_in_force {
            let detail =
                format!("session {} was delegated to key {key}, and is not any more, or not yet", body.session);
            return refuse(RefusalReason::Key, detail);
        }
        Ok(())
    }

    /// Whether a delegation counts at a time, and the grant of the streamer's key with it.
    fn is_in_force(&self, signed: &SignedDelegation, at: UnixMillis) -> bool {
        let Delegation { from, until, .. } = signed.delegation();
        let its_grant = self.granted.get(&signed.signer()).map(|held| held.grant.until);
        *from <= at.plus(CLOCK_AHEAD_MAX) && at < *until && its_grant.is_some_and(|until| at < until)
    }

    /// Whether a delegation counted when a recording was made. Control ends the grants of a streamer's keys when it revokes them; what was
    /// admitted before stays, as it does of other keys.
    fn was_in_force(&self, signed: &SignedDelegation, at: UnixMillis) -> bool {
        let Delegation { from, until, .. } = signed.delegation();
        let signer = signed.signer();
        let heard_of = if self.is_revoked(&signer) { UNHEARD_MAX } else { Duration::ZERO };
        let its_grant = self.once_granted(&signer).map(|held| held.grant.until.plus(heard_of));
        let is_now = *from <= at.plus(CLOCK_AHEAD_MAX) && at < *until && its_grant.is_some_and(|until| at < until);
        // Whoever had the streamer's key in hand may have signed the delegation.
        is_now && !self.is_void(&signer, at)
    }

    /// Whether a key is granted other streams, and nothing is known here of a streamer who lets it seal this session: the log may still
    /// bring the delegation.
    pub fn lacks_delegation(&self, key: &KeyId, stream: &StreamId, session: &SessionId) -> bool {
        let is_other = self.once_granted(key).is_some_and(|held| !self.covers(&held.grant, stream));
        is_other && !self.delegations.contains_key(session)
    }

    /// The newest delegation with which a key may seal a stream now that its own grant does not name.
    pub fn delegation(&self, key: &KeyId, stream: &StreamId, now: UnixMillis) -> Option<&Delegation> {
        let its = self.delegations.values().filter(|signed| {
            let delegation = signed.delegation();
            delegation.key == *key && delegation.stream == *stream && self.is_in_force(signed, now)
        });
        its.map(SignedDelegation::delegation).max_by_key(|delegation| (delegation.from, delegation.session))
    }

    /// Whether the own grant of a key names a stream.
    pub fn is_granted(&self, key: &KeyId, stream: &StreamId) -> bool {
        self.grant(key).is_some_and(|grant| self.covers(grant, stream))
    }

    /// Whether this key is revoked.
    pub fn is_revoked(&self, key: &KeyId) -> bool {
        self.revoked.contains_key(key)
    }

    /// Whether a seal counts for nothing although it was verified once: its key was revoked, and may have been in wrong hands when the seal
    /// was made.
    pub fn is_void(&self, key: &KeyId, issued_at: UnixMillis) -> bool {
        self.revoked.get(key).is_some_and(|since| issued_at >= *since)
    }

    /// Whether this node is revoked. If so, trust none of its keys and serve none of its requests.
    pub fn is_node_revoked(&self, node: &NodeId) -> bool {
        !self.revoked.is_empty() && self.is_revoked(&KeyId::of_node(node))
    }

    /// The grant of a key that is not revoked, whether or not it is valid now.
    pub fn grant(&self, key: &KeyId) -> Option<&Grant> {
        self.granted.get(key).map(|held| &held.grant)
    }

    /// Whether a node has a key that may seal this stream now, by its grant or for a streamer: only such a node may push it and fence its log.
    pub fn may_push(&self, node: &NodeId, stream: &StreamId, now: UnixMillis) -> bool {
        let is_valid = |grant: &Grant| grant.from <= now.plus(CLOCK_AHEAD_MAX) && now < grant.until;
        let mut its = self.granted.values().map(|held| &held.grant).filter(|grant| grant.node == *node);
        let is_delegated = |grant: &Grant| self.delegation(&grant.key_id(), stream, now).is_some();
        let may = |grant: &Grant| is_valid(grant) && (self.covers(grant, stream) || is_delegated(grant));
        !self.is_node_revoked(node) && its.any(may)
    }

    fn covers(&self, grant: &Grant, stream: &StreamId) -> bool {
        grant.scope.covers(stream, self.pools.get(stream).map(String::as_str))
    }

    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Verifies a seal that was presented as one of `stream`.
    ///
    /// Checks, in this order: size and envelope (`Malformed`), key (`Key`), signature (`Signature`). From here on the signer is known:
    /// label, version and canonical encoding (`Malformed`), cluster and stream (`Identity`), the key's grant for the stream (`Key`), and
    /// the plausibility of the content (`Malformed`, `Implausible`). [`crate::Chain`] checks that the seal extends the log.
    ///
    /// Of a recording, seals of a revoked key pass, too, as they did when they were recorded: [`Keyring::is_void`] says which of them count
    /// for nothing.
    pub fn verify(
        &self,
        cose: &Bytes,
        stream: &StreamId,
        now: UnixMillis,
        freshness: Freshness,
    ) -> Result<Sealed, Refusal> {
        let envelope = Envelope::read(cose, SEAL_BYTES_MAX)?;
        let held = match freshness {
            Freshness::Live | Freshness::CatchUp => self.key(envelope.key, now)?,
            Freshness::Recorded => self.recorded(envelope.key)?,
        };
        verify_signature(&envelope, &held.public_key)?;
        let body = encoding::decode_body(envelope.payload)?;
        self.check_cluster(&body.cluster)?;
        if body.stream != *stream {
            return refuse(RefusalReason::Identity, format!("seal of stream {} presented as {stream}'s", body.stream));
        }
        self.check_grant(&held.grant, &body, (now, freshness))?;
        let located = |refusal: Refusal| {
            let detail = format!("stream {stream}, epoch {}, seal {}: {}", body.epoch, body.sequence, refusal.detail);
            Refusal::new(refusal.reason, detail)
        };
        content::check(&body).map_err(located)?;
        content::check_time(&body, now, freshness).map_err(located)?;
        Ok(Sealed::new(body, cose.clone(), envelope.key))
    }

    fn held(&self, key: KeyId) -> Result<&Granted, Refusal> {
        if self.is_revoked(&key) {
            return refuse(RefusalReason::Key, format!("key {key} is revoked"));
        }
        let held = self.granted.get(&key);
        held.ok_or_else(|| Refusal::new(RefusalReason::Key, format!("key {key} has no grant")))
    }

    fn recorded(&self, key: KeyId) -> Result<&Granted, Refusal> {
        match self.taken_back.get(&key) {
            Some(held) => Ok(held),
            None => self.held(key),
        }
    }

    fn key(&self, key: KeyId, now: UnixMillis) -> Result<&Granted, Refusal> {
        let held = self.held(key)?;
        if held.grant.until <= now {
            return refuse(RefusalReason::Key, format!("grant of key {key} expired at {}", held.grant.until));
        }
        // Control's clock may be ahead of ours, and an ingest seals as soon as it has its grant.
        if now.plus(CLOCK_AHEAD_MAX) < held.grant.from {
            let from = held.grant.from;
            return refuse(RefusalReason::Key, format!("grant of key {key} is not valid before {from}"));
        }
        Ok(held)
    }

    /// Whether the grant covers the stream of a seal, or a streamer lets the key seal its session. A recording was admitted while the stream was in a pool that the key served, and
    /// while the grant was valid: the log says only where the stream is now, and begins a renewed grant anew.
    fn check_grant(
        &self,
        grant: &Grant,
        body: &SealBody,
        (now, freshness): (UnixMillis, Freshness),
    ) -> Result<(), Refusal> {
        let (key, stream) = (grant.key_id(), &body.stream);
        let is_covered = match (freshness, &grant.scope) {
            (Freshness::Recorded, Scope::Pools(_)) => true,
            _ => self.covers(grant, stream),
        };
        if !is_covered {
            self.check_delegation(key, body, (now, freshness))?;
        }
        // Control ends the grant of a key when it revokes that.
        let until = if self.is_revoked(&key) { grant.until.plus(UNHEARD_MAX) } else { grant.until };
        if freshness == Freshness::Recorded && until <= body.issued_at {
            return refuse(RefusalReason::Key, format!("grant of key {key} had expired at {}", grant.until));
        }
        Ok(())
    }

    fn check_cluster(&self, cluster: &ClusterId) -> Result<(), Refusal> {
        if *cluster == self.cluster {
            return Ok(());
        }
        refuse(RefusalReason::Identity, format!("of cluster {cluster}, this is {}", self.cluster))
    }
}

/// Reads a seal of this stream that was made with a key which may not count any more: its place in the log is where the next epoch
/// goes on. Content and times are not checked; nothing of it may be shown.
///
/// Refuses with `Malformed` what is no seal, with `Key` one of another key, with `Signature` a wrong signature, and with `Identity` one
/// of another cluster or stream.
pub fn verify_place(
    cose: &Bytes,
    public_key: &[u8],
    cluster: &ClusterId,
    stream: &StreamId,
) -> Result<Sealed, Refusal> {
    let envelope = Envelope::read(cose, SEAL_BYTES_MAX)?;
    let key = PublicKey::from_bytes(public_key).map_err(|error| Refusal::malformed(error.to_string()))?;
    if envelope.key != key.id() {
        return refuse(RefusalReason::Key, format!("signed by {}, not by {}", envelope.key, key.id()));
    }
    verify_signature(&envelope, &key)?;
    let body = encoding::decode_body(envelope.payload)?;
    if body.cluster != *cluster || body.stream != *stream {
        let detail = format!("seal of stream {} of cluster {}", body.stream, body.cluster);
        return refuse(RefusalReason::Identity, detail);
    }
    Ok(Sealed::new(body, cose.clone(), envelope.key))
}

fn verify_signature(envelope: &Envelope<'_>, key: &PublicKey) -> Result<(), Refusal> {
    let message = cose::to_be_signed(envelope.key, envelope.payload);
    if key.verify(&message, envelope.signature) {
        return Ok(());
    }
    refuse(RefusalReason::Signature, format!("not a signature of key {}", envelope.key))
}
