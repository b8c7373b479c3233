//! ML-DSA-44 (FIPS 204) with an empty context: the only module that knows the cryptographic library.
//!
//! A second library (for WASM) would be another file with the same items; no code outside this module names a library.

mod aws_lc;

pub(crate) use crate::limits::PUBLIC_KEY_BYTES;
pub(crate) use aws_lc::{PrivateKey, VerifyingKey, random_seed};

/// Bytes of a seed (ξ in FIPS 204, algorithm 1).
pub(crate) const SEED_BYTES: usize = 32;
/// Bytes of a signature (FIPS 204, table 2).
pub(crate) const SIGNATURE_BYTES: usize = 2420;
