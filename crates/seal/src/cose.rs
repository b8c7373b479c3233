//! `COSE_Sign1` (RFC 9052, 4.2), tagged, alg ML-DSA-44 (RFC 9964) and kid in the protected header, nothing unprotected.
//!
//! Only one header is valid, so the reader compares bytes with it and can tolerate no unknown header by mistake. `coset`, which reads
//! leniently, is the oracle of the tests. Pure.

use crate::backend::SIGNATURE_BYTES;
use crate::wire::{Reader, Writer};
use crate::{Error, KeyId, PublicKey, Refusal, Signer};

/// The first bytes of every envelope: tag 18 (`COSE_Sign1`), array of 4, byte string of 22.
const ENVELOPE_HEAD: [u8; 3] = [0xd2, 0x84, 0x56];
/// Map of 2: alg (1) is -48, kid (4) is a byte string of 16; the key id follows.
const PROTECTED_HEAD: [u8; 6] = [0xa2, 0x01, 0x38, 0x2f, 0x04, 0x50];
/// The empty map: no unprotected header.
const UNPROTECTED: [u8; 1] = [0xa0];
/// Length of the protected header with the key id.
const PROTECTED_BYTES: usize = 22;
/// Most bytes of an envelope besides its payload: heads, header, signature.
const OVERHEAD_BYTES: usize = 3 + PROTECTED_BYTES + 1 + 5 + 3 + SIGNATURE_BYTES;

/// A well-formed envelope. Trust nothing in it before its signature is verified.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'b> {
    /// The key that claims to have signed.
    pub key: KeyId,
    /// The statement.
    pub payload: &'b [u8],
    /// ML-DSA-44 over [`to_be_signed`].
    pub signature: &'b [u8],
}

fn protected(key: KeyId) -> [u8; PROTECTED_BYTES] {
    let mut header = [0; PROTECTED_BYTES];
    let (head, id) = header.split_at_mut(PROTECTED_HEAD.len());
    head.copy_from_slice(&PROTECTED_HEAD);
    id.copy_from_slice(&key.0);
    header
}

/// The bytes to sign: the `Sig_structure` (RFC 9052, 4.4) with no external data.
pub fn to_be_signed(key: KeyId, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(payload.len().saturating_add(64));
    writer.array(4).text("Signature1").bytes(&protected(key)).bytes(&[]).bytes(payload);
    writer.finish()
}

/// Signs a payload. Errors, before signing, when the envelope could have more than `bytes_max` bytes.
pub fn seal(payload: &[u8], signer: &impl Signer, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let length = payload.len().saturating_add(OVERHEAD_BYTES);
    if length > bytes_max {
        return Err(Error::TooLarge { length, max: bytes_max });
    }
    let key = signer.key_id();
    let signature = signer.sign(&to_be_signed(key, payload))?;
    Ok(encode(&Envelope { key, payload, signature: &signature }))
}

fn encode(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = ENVELOPE_HEAD.to_vec();
    bytes.reserve(envelope.payload.len().saturating_add(OVERHEAD_BYTES));
    bytes.extend_from_slice(&protected(envelope.key));
    bytes.extend_from_slice(&UNPROTECTED);
    let mut rest = Writer::with_capacity(envelope.payload.len().saturating_add(SIGNATURE_BYTES + 8));
    rest.bytes(envelope.payload).bytes(envelope.signature);
    bytes.extend_from_slice(&rest.finish());
    bytes
}

impl<'b> Envelope<'b> {
    /// Whether the signature is that of `key` over the payload.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.key == key.id() && key.verify(&to_be_signed(self.key, self.payload), self.signature)
    }

    /// Reads an envelope. Any other encoding of it, or more than `bytes_max` bytes, is malformed.
    pub fn read(bytes: &'b [u8], bytes_max: usize) -> Result<Self, Refusal> {
        if bytes.len() > bytes_max {
            return Err(Refusal::malformed(format!("{} bytes, at most {bytes_max} are allowed", bytes.len())));
        }
        let header = || Refusal::malformed("not a COSE_Sign1 with exactly alg ML-DSA-44 and a kid of 16 bytes");
        let rest = bytes.strip_prefix(&ENVELOPE_HEAD).and_then(|rest| rest.strip_prefix(&PROTECTED_HEAD));
        let (key, rest) = rest.and_then(|rest| rest.split_first_chunk::<16>()).ok_or_else(header)?;
        let rest = rest.strip_prefix(&UNPROTECTED).ok_or_else(header)?;
        let mut reader = Reader::new(rest);
        let (payload, signature) = (reader.bytes()?, reader.bytes()?);
        if signature.len() != SIGNATURE_BYTES {
            return Err(Refusal::malformed(format!("signature of {} bytes", signature.len())));
        }
        // Both are byte strings within `rest`, so only longer heads or a tail could encode the same envelope differently.
        if bytes_head(payload.len()) + payload.len() + 3 + SIGNATURE_BYTES != rest.len() {
            return Err(Refusal::malformed("trailing bytes, or a length that is not in its shortest form"));
        }
        Ok(Self { key: KeyId(*key), payload, signature })
    }
}

/// Bytes of the shortest head of a byte string (RFC 8949, 3). Envelopes are far below 4 GB.
const fn bytes_head(length: usize) -> usize {
    match length {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}
