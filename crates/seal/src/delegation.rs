//! Delegations: with one, a streamer lets the key of a shared ingest seal one session of one of its streams. Pure.
//!
//! It says nothing by itself: the streamer's key has to have a grant that names the stream and lets it delegate, and the ingest's key
//! has to have a grant of its own, for whatever streams ([`crate::Keyring`]).

use bytes::Bytes;
use media::{ClusterId, SessionId, StreamId, UnixMillis};

use crate::cose::{self, Envelope};
use crate::limits::{DELEGATION_BYTES_MAX, DELEGATION_LIFE_MAX};
use crate::wire::{Reader, Writer, canonical};
use crate::{Error, KeyId, PublicKey, Refusal, SealingKey, Signer as _};

const LABEL: &str = "sealcast/delegation";
const PAIRS: u64 = 8;

/// What a streamer lets an ingest do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// The stream that may be sealed.
    pub stream: StreamId,
    /// The one session, which the streamer has drawn. All epochs from its first publisher to its end have this identity.
    pub session: SessionId,
    /// The ingest's sealing key.
    pub key: KeyId,
    /// Valid from this time on.
    pub from: UnixMillis,
    /// Valid until this time, exclusive; at most [`DELEGATION_LIFE_MAX`] after `from`.
    pub until: UnixMillis,
}

/// A delegation with its signature, which is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDelegation {
    delegation: Delegation,
    signer: KeyId,
    raw: Bytes,
}

impl Delegation {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        w.preamble(PAIRS, LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).text(self.stream.as_str());
        w.uint(4).bytes(&self.session.0);
        w.uint(5).bytes(&self.key.0);
        w.uint(6).int(self.from.0);
        w.uint(7).int(self.until.0);
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.preamble(PAIRS, LABEL)?;
        let delegation = Self {
            cluster: r.key(2)?.cluster()?,
            stream: r.key(3)?.stream()?,
            session: SessionId(r.key(4)?.bytes_of()?),
            key: KeyId(r.key(5)?.bytes_of()?),
            from: UnixMillis(r.key(6)?.int()?),
            until: UnixMillis(r.key(7)?.int()?),
        };
        canonical(bytes, &delegation.encode())?;
        Ok(delegation)
    }

    /// Whether it lasts for some time, and no longer than any may. Nobody counts on another; it can be read all the same, because a newer
    /// version may allow more.
    pub fn is_bounded(&self) -> bool {
        self.from < self.until && self.until.since(self.from) <= DELEGATION_LIFE_MAX
    }

    /// Signs it with the streamer's key.
    ///
    /// # Errors
    /// When it breaks a rule, so that nobody would believe it, or the cryptographic library fails.
    pub fn sign(&self, key: &SealingKey) -> Result<SignedDelegation, Error> {
        if !self.is_bounded() {
            let hours = DELEGATION_LIFE_MAX.as_secs() / 3_600;
            return Err(Error::Content(Refusal::implausible(format!("a delegation lasts {hours} hours at most"))));
        }
        self.sign_unchecked(key)
    }

    pub(crate) fn sign_unchecked(&self, key: &SealingKey) -> Result<SignedDelegation, Error> {
        let raw = cose::seal(&self.encode(), key, DELEGATION_BYTES_MAX)?;
        Ok(SignedDelegation { delegation: self.clone(), signer: key.key_id(), raw: raw.into() })
    }
}

impl SignedDelegation {
    /// Reads a delegation. Its signature is not verified ([`SignedDelegation::is_signed_by`]).
    ///
    /// Refuses with `Malformed` what is none.
    pub fn read(raw: &[u8]) -> Result<Self, Refusal> {
        let envelope = Envelope::read(raw, DELEGATION_BYTES_MAX)?;
        let (delegation, signer) = (Delegation::decode(envelope.payload)?, envelope.key);
        Ok(Self { delegation, signer, raw: Bytes::copy_from_slice(raw) })
    }

    /// What it says.
    pub const fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// The key that claims to have signed it.
    pub const fn signer(&self) -> KeyId {
        self.signer
    }

    /// As it travels.
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        Envelope::read(&self.raw, DELEGATION_BYTES_MAX).is_ok_and(|envelope| envelope.is_signed_by(key))
    }
}
