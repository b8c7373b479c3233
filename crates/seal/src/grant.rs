//! Statements of the authority: grants and the revocation list, both `COSE_Sign1` under the root key. Pure.

use bytes::Bytes;
use media::{ClusterId, NodeId, StreamId, UnixMillis};

use crate::backend::PUBLIC_KEY_BYTES;
use crate::limits::{GRANT_BYTES_MAX, GRANT_STREAMS_MAX, REVOCATIONS_BYTES_MAX, REVOKED_MAX};
use crate::wire::{Reader, Writer, canonical};
use crate::{Error, KeyId, Refusal, RootKey, cose};

const GRANT_LABEL: &str = "sealcast/grant";
const GRANT_PAIRS: u64 = 8;
const REVOKED_LABEL: &str = "sealcast/revoked";
const REVOKED_PAIRS: u64 = 6;

/// Streams that a key may seal for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamPattern {
    /// Every stream of the cluster; written `*`.
    All,
    /// The stream of this name.
    Named(StreamId),
}

impl StreamPattern {
    /// Whether the pattern covers the stream.
    pub fn matches(&self, stream: &StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Named(name) => name == stream,
        }
    }
}

/// The authority's statement that a key may seal for certain streams until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// The key: an ML-DSA-44 public key of 1312 bytes. Verifiers take public keys only from grants.
    pub public_key: Vec<u8>,
    /// Node that holds the private key.
    pub node: NodeId,
    /// Streams that it may seal for; sorted, no name twice, at most [`GRANT_STREAMS_MAX`].
    pub streams: Vec<StreamPattern>,
    /// Valid from this instant on. Of two grants for one key the one with the later `not_before` counts.
    pub not_before: UnixMillis,
    /// Valid until this instant, exclusive.
    pub not_after: UnixMillis,
}

impl Grant {
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.public_key)
    }

    /// Whether the key may seal for the stream.
    pub fn allows(&self, stream: &StreamId) -> bool {
        self.streams.iter().any(|pattern| pattern.matches(stream))
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(PUBLIC_KEY_BYTES + 512);
        w.preamble(GRANT_PAIRS, GRANT_LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).bytes(&self.public_key);
        w.uint(4).text(self.node.as_str());
        w.uint(5).array(self.streams.len());
        for pattern in &self.streams {
            w.text(match pattern {
                StreamPattern::All => "*",
                StreamPattern::Named(name) => name.as_str(),
            });
        }
        w.uint(6).int(self.not_before.0);
        w.uint(7).int(self.not_after.0);
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.preamble(GRANT_PAIRS, GRANT_LABEL)?;
        let grant = Self {
            cluster: r.key(2)?.cluster()?,
            public_key: r.key(3)?.bytes_of::<PUBLIC_KEY_BYTES>()?.to_vec(),
            node: r.key(4)?.node()?,
            streams: r.key(5)?.list(GRANT_STREAMS_MAX, read_pattern)?,
            not_before: UnixMillis(r.key(6)?.int()?),
            not_after: UnixMillis(r.key(7)?.int()?),
        };
        canonical(bytes, &grant.encode())?;
        grant.check()?;
        Ok(grant)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.public_key.len() != PUBLIC_KEY_BYTES {
            return Err(Refusal::malformed(format!("grant of a key of {} bytes", self.public_key.len())));
        }
        if self.streams.len() > GRANT_STREAMS_MAX || !self.streams.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::malformed("streams of a grant are too many, or not sorted, or named twice"));
        }
        if self.not_before >= self.not_after {
            return Err(Refusal::malformed("grant that ends before it begins"));
        }
        Ok(())
    }
}

fn read_pattern(r: &mut Reader<'_>) -> Result<StreamPattern, Refusal> {
    match r.text()? {
        "*" => Ok(StreamPattern::All),
        name => StreamId::new(name).map(StreamPattern::Named).map_err(|error| Refusal::malformed(error.to_string())),
    }
}

/// Signs a grant. Errors when the key has a wrong length, the streams are too many, unsorted or repeated, or the grant ends before it
/// begins.
pub fn sign_grant(grant: &Grant, root: &RootKey) -> Result<Bytes, Error> {
    grant.check().map_err(Error::Content)?;
    cose::seal(&grant.encode(), root, GRANT_BYTES_MAX).map(Bytes::from)
}

/// Keys and nodes that nobody may trust any more, whatever their grants say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// Rises with each list; a keyring refuses a list older than the one it holds.
    pub version: u64,
    /// When the authority issued it.
    pub issued_at: UnixMillis,
    /// The keys, and [`KeyId::of_node`] of each node; sorted, none twice, at most [`REVOKED_MAX`].
    pub keys: Vec<KeyId>,
}

impl RevocationList {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(128 + 17 * self.keys.len());
        w.preamble(REVOKED_PAIRS, REVOKED_LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).uint(self.version);
        w.uint(4).int(self.issued_at.0);
        w.uint(5).array(self.keys.len());
        self.keys.iter().for_each(|key| {
            w.bytes(&key.0);
        });
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.preamble(REVOKED_PAIRS, REVOKED_LABEL)?;
        let list = Self {
            cluster: r.key(2)?.cluster()?,
            version: r.key(3)?.uint()?,
            issued_at: UnixMillis(r.key(4)?.int()?),
            keys: r.key(5)?.list(REVOKED_MAX, |r| r.bytes_of().map(KeyId))?,
        };
        canonical(bytes, &list.encode())?;
        list.check()?;
        Ok(list)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.keys.len() > REVOKED_MAX || !self.keys.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::malformed("revoked keys are too many, or not sorted, or named twice"));
        }
        Ok(())
    }
}

/// Signs a revocation list. Errors when its keys are too many, not sorted or named twice.
pub fn sign_revocations(list: &RevocationList, root: &RootKey) -> Result<Bytes, Error> {
    list.check().map_err(Error::Content)?;
    cose::seal(&list.encode(), root, REVOCATIONS_BYTES_MAX).map(Bytes::from)
}
