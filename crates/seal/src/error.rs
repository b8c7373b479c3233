//! Reasons to refuse a seal, grant or revocation list, and errors from signing one. Pure.

use std::fmt;

/// Why something was refused; metrics count refusals by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// Not a seal, grant or list at all: wrong structure, not canonical, too large.
    Malformed,
    /// Key unknown, expired, not yet valid, revoked, or not granted this stream.
    Key,
    Signature,
    /// It belongs to another cluster, stream or session.
    Identity,
    /// Epoch older than the newest seen.
    Epoch,
    /// Does not extend the chain.
    Chain,
    /// Two statements about one sequence or slot, both validly signed.
    Equivocation,
    /// A time, duration or number is impossible or out of range.
    Implausible,
}

impl RefusalReason {
    /// The label of the reason in metrics and alerts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Identity => "identity",
            Self::Epoch => "epoch",
            Self::Chain => "chain",
            Self::Equivocation => "equivocation",
            Self::Implausible => "implausible",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A refusal: the reason that metrics count, and one line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    pub reason: RefusalReason,
    /// One line for a person. Names stream, epoch and sequence where they are known; never key material.
    pub detail: String,
}

impl Refusal {
    /// A refusal with a detail for a person.
    pub fn new(reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// Not the statement that it should be, or not in its one encoding.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(RefusalReason::Malformed, detail)
    }

    /// A number or a time is out of range.
    pub fn implausible(detail: impl Into<String>) -> Self {
        Self::new(RefusalReason::Implausible, detail)
    }
}

/// What can fail when a key is read or something is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a key of this kind.
    #[error("not an ML-DSA-44 {kind}: {length} bytes, {expected} expected")]
    InvalidKey {
        /// `seed` or `public key`.
        kind: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes that such a key has.
        expected: usize,
    },
    /// The cryptographic library failed, for instance for want of random numbers.
    #[error("ML-DSA-44 {0} failed")]
    Backend(&'static str),
    /// The statement breaks a rule, so every node would refuse it.
    #[error("refusing to sign: {0}")]
    Content(Refusal),
    /// The encoded statement has more bytes than any node accepts.
    #[error("refusing to sign: {length} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes that it would have.
        length: usize,
        /// Bytes that it may have.
        max: usize,
    },
}
