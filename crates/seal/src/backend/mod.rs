//! ML-DSA-44 (FIPS 204) with an empty context: the only module that knows cryptographic libraries.
//!
//! Nodes have aws-lc-rs, and a viewer's browser has fips204, which is plain Rust: AWS-LC is C and assembler, and does not build for
//! WASM. Both files have the same items; no code outside this module names a library. Tests build both, and compare them.

#[cfg(not(target_arch = "wasm32"))]
mod aws_lc;
#[cfg(any(test, target_arch = "wasm32"))]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "tests compare what verifies"))]
pub(crate) mod fips204;

#[cfg(target_arch = "wasm32")]
pub(crate) use self::fips204::{PrivateKey, VerifyingKey, random_seed};
pub(crate) use crate::limits::PUBLIC_KEY_BYTES;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use aws_lc::{PrivateKey, VerifyingKey, random_seed};

/// Bytes of a seed (ξ in FIPS 204, algorithm 1).
pub(crate) const SEED_BYTES: usize = 32;
/// Bytes of a signature (FIPS 204, table 2).
pub(crate) const SIGNATURE_BYTES: usize = 2420;
