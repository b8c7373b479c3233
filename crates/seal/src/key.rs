//! Keys: an ingest's sealing key, and the root key that grants it. Pure; the caller stores the bytes (mode 0600).

use std::fmt;

use media::NodeId;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::Error;
use crate::backend::{self, PUBLIC_KEY_BYTES, PrivateKey, SEED_BYTES, VerifyingKey};

/// Identity of a public key: the first 16 bytes of its SHA-256. Printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// The identity of the public key with these bytes.
    pub fn of(public_key: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(public_key).into();
        let (head, _) = digest.split_first_chunk::<16>().expect("32 bytes have 16 at the front");
        Self(*head)
    }

    /// The identity of a node in a revocation list, beside its keys. To readers that know only keys, it is the identity of a key that
    /// nobody has.
    pub fn of_node(node: &NodeId) -> Self {
        Self::of(format!("sealcast/node/{node}").as_bytes())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A signer: a private key in this process, or one that never leaves a hardware module.
pub trait Signer {
    /// Identity of the public key that verifies its signatures.
    fn key_id(&self) -> KeyId;
    /// An ML-DSA-44 signature (2420 bytes, empty context) of the message.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// An ML-DSA-44 public key (FIPS 204), read and ready to verify.
#[derive(Clone)]
pub struct PublicKey {
    bytes: Box<[u8; PUBLIC_KEY_BYTES]>,
    id: KeyId,
    verifying: VerifyingKey,
}

impl PublicKey {
    /// Reads a public key from its 1312 bytes. Errors when there are more or fewer, or the library refuses them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let invalid = Error::InvalidKey { kind: "public key", length: bytes.len(), expected: PUBLIC_KEY_BYTES };
        let array: &[u8; PUBLIC_KEY_BYTES] = bytes.try_into().map_err(|_| invalid.clone())?;
        let verifying = VerifyingKey::new(array).map_err(|_| invalid)?;
        Ok(Self { bytes: Box::new(*array), id: KeyId::of(array), verifying })
    }

    /// Its 1312 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is a signature of the message by the matching private key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verify(message, signature)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

struct KeyPair {
    seed: Zeroizing<[u8; SEED_BYTES]>,
    private: PrivateKey,
    id: KeyId,
}

impl KeyPair {
    fn new(seed: Zeroizing<[u8; SEED_BYTES]>) -> Result<Self, Error> {
        let private = PrivateKey::from_seed(&seed).map_err(|_| Error::Backend("key generation"))?;
        let id = KeyId::of(private.public_key());
        Ok(Self { seed, private, id })
    }
}

macro_rules! private_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Holds the 32-byte seed and the library's expanded form. Dropping zeroises both, and `Debug` prints neither.
        pub struct $name(KeyPair);

        impl $name {
            /// A new key from the operating system's randomness.
            pub fn generate() -> Result<Self, Error> {
                let seed = backend::random_seed().map_err(|_| Error::Backend("random number generation"))?;
                KeyPair::new(seed).map(Self)
            }

            /// The key with this seed (ξ of FIPS 204, algorithm 1; 32 bytes).
            pub fn from_seed_bytes(seed: &[u8]) -> Result<Self, Error> {
                let mut copy = Zeroizing::new([0; SEED_BYTES]);
                if seed.len() != SEED_BYTES {
                    return Err(Error::InvalidKey { kind: "seed", length: seed.len(), expected: SEED_BYTES });
                }
                copy.copy_from_slice(seed);
                KeyPair::new(copy).map(Self)
            }

            /// The seed, which is all that the caller has to store. Whoever has it has the key.
            pub fn to_seed_bytes(&self) -> Zeroizing<Vec<u8>> {
                Zeroizing::new(self.0.seed.to_vec())
            }

            /// Bytes of the public key (1312).
            pub fn public_key_bytes(&self) -> Vec<u8> {
                self.0.private.public_key().to_vec()
            }
        }

        impl Signer for $name {
            fn key_id(&self) -> KeyId {
                self.0.id
            }

            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
                self.0.private.sign(message).map_err(|_| Error::Backend("signing"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}, redacted)"), self.0.id)
            }
        }
    };
}

private_key!(
    /// The private key with which an ingest seals.
    SealingKey
);
private_key!(
    /// The private key of the authority. It signs grants, revocation lists, and the root statements of the metadata log.
    RootKey
);
private_key!(
    /// The private key with which a control node signs entries and heads of the metadata log. A root statement names its public key.
    ControlKey
);

impl SealingKey {
    pub fn public_key(&self) -> Result<PublicKey, Error> {
        PublicKey::from_bytes(self.0.private.public_key())
    }
}

impl RootKey {
    /// The public key that nodes are configured to trust.
    pub fn public_key(&self) -> Result<RootPublicKey, Error> {
        RootPublicKey::from_bytes(self.0.private.public_key())
    }
}

/// The authority's public key: the trust anchor, which comes only from a node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPublicKey(pub(crate) PublicKey);

impl RootPublicKey {
    /// Reads a root key from its 1312 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        PublicKey::from_bytes(bytes).map(Self)
    }

    /// Its 1312 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub fn id(&self) -> KeyId {
        self.0.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_is_all_there_is_to_store() {
        let key = SealingKey::generate().unwrap();
        let again = SealingKey::from_seed_bytes(&key.to_seed_bytes()).unwrap();
        assert_eq!(key.public_key_bytes(), again.public_key_bytes());
        assert_eq!(key.key_id(), KeyId::of(&key.public_key_bytes()));
        let signature = again.sign(b"row").unwrap();
        assert!(key.public_key().unwrap().verify(b"row", &signature));
        assert!(!key.public_key().unwrap().verify(b"rov", &signature));
        assert!(!key.public_key().unwrap().verify(b"row", signature.split_last().unwrap().1));
    }

    #[test]
    fn private_keys_are_never_printed() {
        let key = RootKey::from_seed_bytes(&[0xab; 32]).unwrap();
        let printed = format!("{key:?}");
        assert!(printed.contains("redacted") && !printed.contains("abab") && !printed.contains("171"), "{printed}");
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for length in [0, 31, 33, 2560] {
            assert!(SealingKey::from_seed_bytes(&vec![0; length]).is_err(), "{length}");
        }
        for length in [0, 32, 1311, 1313, 1334] {
            assert!(PublicKey::from_bytes(&vec![0; length]).is_err(), "{length}");
        }
    }
}
