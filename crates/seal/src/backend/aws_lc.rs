//! ML-DSA-44 on aws-lc-rs. Signing is hedged (randomised); AWS-LC zeroises what it frees, private keys included.

use aws_lc_rs::signature::{KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ParsedPublicKey, PqdsaKeyPair};
use zeroize::Zeroizing;

use super::{PUBLIC_KEY_BYTES, SEED_BYTES, SIGNATURE_BYTES};

/// The library failed, for want of random numbers or memory, or it refused a public key.
#[derive(Debug)]
pub(crate) struct Failed;

/// A private key, expanded, in memory that the library zeroises when it frees it.
pub(crate) struct PrivateKey(PqdsaKeyPair);

impl PrivateKey {
    pub(crate) fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, Failed> {
        PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed).map(Self).map_err(|_| Failed)
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut signature = vec![0; SIGNATURE_BYTES];
        let length = self.0.sign(message, &mut signature).map_err(|_| Failed)?;
        if length == SIGNATURE_BYTES { Ok(signature) } else { Err(Failed) }
    }
}

/// A public key, parsed once for many verifications.
#[derive(Clone)]
pub(crate) struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    pub(crate) fn new(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, Failed> {
        ParsedPublicKey::new(&ML_DSA_44, bytes).map(Self).map_err(|_| Failed)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == SIGNATURE_BYTES && self.0.verify_sig(message, signature).is_ok()
    }
}

/// A seed from the operating system's randomness.
pub(crate) fn random_seed() -> Result<Zeroizing<[u8; SEED_BYTES]>, Failed> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    aws_lc_rs::rand::fill(&mut *seed).map_err(|_| Failed)?;
    Ok(seed)
}
