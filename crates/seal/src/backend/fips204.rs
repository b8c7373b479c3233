//! ML-DSA-44 on fips204, in plain Rust, for the viewer's browser (WASM). A browser verifies and has no key of its own: there is no
//! randomness here, and signatures are FIPS 204's deterministic variant.

use fips204::ml_dsa_44 as library;
use fips204::traits::{KeyGen as _, SerDes as _, Signer as _, Verifier as _};
use zeroize::Zeroizing;

use super::{PUBLIC_KEY_BYTES, SEED_BYTES, SIGNATURE_BYTES};

/// FIPS 204, 3.4: all zeros make the deterministic variant.
const NO_RANDOMNESS: [u8; 32] = [0; 32];

/// The library refused a public key, or cannot do what was asked.
#[derive(Debug)]
pub(crate) struct Failed;

/// A private key, expanded; the library zeroises it.
pub(crate) struct PrivateKey {
    private: Box<library::PrivateKey>,
    public: Box<[u8; PUBLIC_KEY_BYTES]>,
}

impl PrivateKey {
    #[allow(clippy::unnecessary_wraps, reason = "the other library can fail")]
    pub(crate) fn from_seed(seed: &[u8; SEED_BYTES]) -> Result<Self, Failed> {
        let (public, private) = library::KG::keygen_from_seed(seed);
        Ok(Self { private: Box::new(private), public: Box::new(public.into_bytes()) })
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        self.public.as_slice()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failed> {
        let signed = self.private.try_sign_with_seed(&NO_RANDOMNESS, message, &[]);
        signed.map(|signature| signature.to_vec()).map_err(|_| Failed)
    }
}

/// A public key, parsed once for many verifications.
#[derive(Clone)]
pub(crate) struct VerifyingKey(Box<library::PublicKey>);

impl VerifyingKey {
    pub(crate) fn new(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, Failed> {
        library::PublicKey::try_from_bytes(*bytes).map(|key| Self(Box::new(key))).map_err(|_| Failed)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        <&[u8; SIGNATURE_BYTES]>::try_from(signature).is_ok_and(|signature| self.0.verify(message, signature, &[]))
    }
}

/// Fails: where this library is used, nobody makes keys.
pub(crate) fn random_seed() -> Result<Zeroizing<[u8; SEED_BYTES]>, Failed> {
    Err(Failed)
}
