//! The keyring: which keys may seal which streams; it verifies seals against them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use media::{ClusterId, NodeId, StreamId, UnixMillis};

use crate::content::Freshness;
use crate::cose::{self, Envelope};
use crate::limits::{CLOCK_AHEAD_MAX, GRANT_BYTES_MAX, GRANTS_MAX, REVOCATIONS_BYTES_MAX, SEAL_BYTES_MAX};
use crate::{
    Grant, KeyId, PublicKey, Refusal, RefusalReason, RevocationList, RootPublicKey, Sealed, content, encoding,
};

#[derive(Debug, Clone)]
struct Granted {
    grant: Grant,
    raw: Bytes,
    public_key: PublicKey,
}

/// The keys that the authority has granted and not revoked. Public keys come from grants under the root key, never from the statement
/// under verification.
#[derive(Debug, Clone)]
pub struct Keyring {
    cluster: ClusterId,
    root: RootPublicKey,
    granted: BTreeMap<KeyId, Granted>,
    revoked: BTreeSet<KeyId>,
    revocations: Option<(u64, Bytes)>,
    /// Keys and nodes that the metadata log revokes, besides the list.
    withdrawn: BTreeSet<KeyId>,
}

fn refuse<T>(reason: RefusalReason, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

impl Keyring {
    /// An empty keyring under the root key of the node's configuration.
    pub fn new(cluster: ClusterId, root: RootPublicKey) -> Self {
        Self {
            cluster,
            root,
            granted: BTreeMap::new(),
            revoked: BTreeSet::new(),
            revocations: None,
            withdrawn: BTreeSet::new(),
        }
    }

    /// Takes a grant and returns the identity of its key. Accepts a grant that it already holds. Keeps a grant that is not valid yet, and
    /// refuses its key until then.
    ///
    /// Refuses with `Malformed` what is not a grant; with `Signature` a wrong signature; with `Identity` a grant of another cluster.
    /// Refuses with `Key` a grant under another root key, expired, revoked or of a revoked node, older than the one held, or beyond
    /// [`GRANTS_MAX`].
    pub fn add_grant(&mut self, cose: &[u8], now: UnixMillis) -> Result<KeyId, Refusal> {
        let envelope = Envelope::read(cose, GRANT_BYTES_MAX)?;
        self.verify_root(&envelope)?;
        let grant = Grant::decode(envelope.payload)?;
        let key = grant.key_id();
        self.check_cluster(&grant.cluster)?;
        if grant.not_after <= now {
            return refuse(RefusalReason::Key, format!("grant of key {key} expired at {}", grant.not_after));
        }
        if self.is_revoked(&key) {
            return refuse(RefusalReason::Key, format!("key {key} is revoked"));
        }
        if self.is_node_revoked(&grant.node) {
            return refuse(RefusalReason::Key, format!("node {}, which has key {key}, is revoked", grant.node));
        }
        if let Some(held) = self.granted.get(&key) {
            if held.grant == grant {
                return Ok(key);
            }
            if (grant.not_before, grant.not_after) <= (held.grant.not_before, held.grant.not_after) {
                return refuse(RefusalReason::Key, format!("grant of key {key} is older than the one held"));
            }
        } else if self.granted.len() >= GRANTS_MAX {
            self.granted.retain(|_, held| now < held.grant.not_after);
            if self.granted.len() >= GRANTS_MAX {
                return refuse(RefusalReason::Key, format!("{GRANTS_MAX} keys are granted already"));
            }
        }
        let public_key = PublicKey::from_bytes(&grant.public_key).map_err(|e| Refusal::malformed(e.to_string()))?;
        self.granted.insert(key, Granted { grant, raw: Bytes::copy_from_slice(cose), public_key });
        Ok(key)
    }

    /// Takes a revocation list, and returns whether it was new: the list in force may come again.
    ///
    /// Refuses with `Malformed` what is not a list; with `Signature` a wrong signature; with `Identity` a list of another cluster. Refuses
    /// with `Key` a list under another root key, older than the one held, or different from the held one of the same version.
    pub fn apply_revocations(&mut self, cose: &[u8]) -> Result<bool, Refusal> {
        let envelope = Envelope::read(cose, REVOCATIONS_BYTES_MAX)?;
        self.verify_root(&envelope)?;
        let list = RevocationList::decode(envelope.payload)?;
        self.check_cluster(&list.cluster)?;
        if let Some((held, _)) = &self.revocations {
            let same = list.version == *held && list.keys.iter().copied().collect::<BTreeSet<_>>() == self.revoked;
            if same {
                return Ok(false);
            }
            if list.version <= *held {
                let detail = format!("revocation list {} after list {held} was seen", list.version);
                return refuse(RefusalReason::Key, detail);
            }
        }
        self.revoked = list.keys.into_iter().collect();
        self.forget_revoked();
        self.revocations = Some((list.version, Bytes::copy_from_slice(cose)));
        Ok(true)
    }

    /// Takes what the metadata log revokes, keys and [`KeyId::of_node`] of nodes, in place of what it revoked before; the list counts
    /// besides. Returns whether that was new.
    pub fn withdraw(&mut self, withdrawn: BTreeSet<KeyId>) -> bool {
        let is_new = self.withdrawn != withdrawn;
        self.withdrawn = withdrawn;
        self.forget_revoked();
        is_new
    }

    fn forget_revoked(&mut self) {
        let (revoked, withdrawn) = (&self.revoked, &self.withdrawn);
        let is_revoked = |key: &KeyId| revoked.contains(key) || withdrawn.contains(key);
        self.granted.retain(|key, held| !is_revoked(key) && !is_revoked(&KeyId::of_node(&held.grant.node)));
    }

    /// Whether the list in force or the metadata log revokes this key.
    pub fn is_revoked(&self, key: &KeyId) -> bool {
        self.revoked.contains(key) || self.withdrawn.contains(key)
    }

    /// The signed revocation list in force, with its version. The caller keeps it on disk, so that the node refuses an older one after a
    /// restart too.
    pub fn revocations(&self) -> Option<(u64, &Bytes)> {
        self.revocations.as_ref().map(|(version, raw)| (*version, raw))
    }

    /// The entries of the revocation list in force, sorted: keys, and [`KeyId::of_node`] of nodes.
    pub fn revoked(&self) -> impl Iterator<Item = &KeyId> {
        self.revoked.iter()
    }

    /// Whether the list in force or the metadata log revokes this node. If so, trust none of its keys and serve none of its requests.
    pub fn is_node_revoked(&self, node: &NodeId) -> bool {
        let is_any_revoked = !self.revoked.is_empty() || !self.withdrawn.is_empty();
        is_any_revoked && self.is_revoked(&KeyId::of_node(node))
    }

    /// The keys of a node whose grants are held and have not expired.
    pub fn keys_of(&self, node: &NodeId, now: UnixMillis) -> impl Iterator<Item = KeyId> {
        let is_its = move |held: &Granted| held.grant.node == *node && now < held.grant.not_after;
        self.granted.iter().filter(move |(_, held)| is_its(held)).map(|(key, _)| *key)
    }

    /// The held grant of a key, whether or not it is valid now.
    pub fn grant(&self, key: &KeyId) -> Option<&Grant> {
        self.granted.get(key).map(|held| &held.grant)
    }

    /// All held grants, in their signed form.
    pub fn grants(&self) -> impl Iterator<Item = (&KeyId, &Bytes)> {
        self.granted.iter().map(|(key, held)| (key, &held.raw))
    }

    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Verifies a seal that was presented as one of `stream`.
    ///
    /// Checks, in this order: size and envelope (`Malformed`), key (`Key`), signature (`Signature`). From here on the signer is known:
    /// label, version and canonical encoding (`Malformed`), cluster and stream (`Identity`), the key's grant for the stream (`Key`), and
    /// the plausibility of the content (`Malformed`, `Implausible`). [`crate::Chain`] checks that the seal extends the log.
    pub fn verify(
        &self,
        cose: &Bytes,
        stream: &StreamId,
        now: UnixMillis,
        freshness: Freshness,
    ) -> Result<Sealed, Refusal> {
        let envelope = Envelope::read(cose, SEAL_BYTES_MAX)?;
        let held = self.key(envelope.key, now)?;
        verify_signature(&envelope, &held.public_key)?;
        let body = encoding::decode_body(envelope.payload)?;
        self.check_cluster(&body.cluster)?;
        if body.stream != *stream {
            return refuse(RefusalReason::Identity, format!("seal of stream {} presented as {stream}'s", body.stream));
        }
        if !held.grant.allows(stream) {
            return refuse(RefusalReason::Key, format!("key {} is not granted stream {stream}", envelope.key));
        }
        let located = |refusal: Refusal| {
            let detail = format!("stream {stream}, epoch {}, seal {}: {}", body.epoch, body.sequence, refusal.detail);
            Refusal::new(refusal.reason, detail)
        };
        content::check(&body).map_err(located)?;
        content::check_time(&body, now, freshness).map_err(located)?;
        Ok(Sealed::new(body, cose.clone(), envelope.key))
    }

    fn key(&self, key: KeyId, now: UnixMillis) -> Result<&Granted, Refusal> {
        if self.is_revoked(&key) {
            return refuse(RefusalReason::Key, format!("key {key} is revoked"));
        }
        let Some(held) = self.granted.get(&key) else {
            return refuse(RefusalReason::Key, format!("key {key} has no grant"));
        };
        if held.grant.not_after <= now {
            return refuse(RefusalReason::Key, format!("grant of key {key} expired at {}", held.grant.not_after));
        }
        // The authority's clock may be ahead of ours, and an ingest seals as soon as it has its grant.
        if now.plus(CLOCK_AHEAD_MAX) < held.grant.not_before {
            let from = held.grant.not_before;
            return refuse(RefusalReason::Key, format!("grant of key {key} is not valid before {from}"));
        }
        Ok(held)
    }

    fn verify_root(&self, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        if envelope.key != self.root.id() {
            return refuse(RefusalReason::Key, format!("signed by {}, not by the root key", envelope.key));
        }
        verify_signature(envelope, &self.root.0)
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
