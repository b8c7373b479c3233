//! Seals: the signed log of a stream, and the keys that may write it.
//!
//! Owns the encoding of a seal (deterministic CBOR in `COSE_Sign1`, RFC 9052, signed with ML-DSA-44, RFC 9964), what a
//! grant says, the [`Keyring`] that verifies, and the [`Chain`] that puts verified seals in log order. Deliberately knows nothing of
//! where grants come from (the metadata log), and nothing of media bytes, MQTT or HTTP: the gate (`broadcast`) checks that bytes have the digest that a
//! seal names. Pure: no clock, socket or disk; the caller hands in `now`.

mod backend;
mod body;
mod chain;
mod content;
pub mod cose;
mod delegation;
mod encoding;
mod error;
mod grant;
mod head;
mod key;
mod keyring;
pub mod limits;
mod sealed;
pub mod sequence;
mod verify;
pub mod wire;

pub use body::{Object, Rendition, SealBody, SealKind};
pub use chain::{Chain, Evidence, Input, Missing, Outcome, Step, Verdict};
pub use content::Freshness;
pub use delegation::{Delegation, SignedDelegation};
pub use encoding::{decode_body, encode_body};
pub use error::{Error, Refusal, RefusalReason};
pub use grant::{Grant, Rights, Scope};
pub use head::{Head, HeadTrack};
pub use key::{ControlKey, KeyId, PublicKey, RootKey, RootPublicKey, SealingKey, Signer};
pub use keyring::{Keyring, verify_place};
pub use sealed::{Sealed, digest, peek, sign_seal};
pub use verify::{key_named, verify_seal};

#[cfg(test)]
mod tests;
