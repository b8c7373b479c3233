//! The table of streams: what control tells ingests over mutual TLS, so that they recognise a stream key without being able to name one.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, hmac};
use media::{Digest, StreamId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What [`Pepper::id`] authenticates. No stream key has a NUL, so no key has this MAC.
const PEPPER_ID: &[u8] = b"\0sealcast pepper";

/// The secret under which stream keys are kept. Control makes it, ingests get it with the table and hold it in memory. `Debug` prints `…`.
#[derive(Clone)]
pub struct Pepper(Zeroizing<[u8; Self::BYTES]>);

impl Pepper {
    /// Length of a pepper.
    pub const BYTES: usize = 32;

    /// `None` unless there are [`Self::BYTES`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, which `Debug` hides.
    pub fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Tells peppers apart without saying anything of them.
    pub fn id(&self) -> Digest {
        Digest(self.authenticate(PEPPER_ID))
    }

    /// HMAC-SHA-256 (RFC 2104) of a stream key.
    pub fn mac(&self, key: &str) -> KeyMac {
        KeyMac(self.authenticate(key.as_bytes()))
    }

    fn authenticate(&self, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]), message);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Serialize for Pepper {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Digest(*self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pepper {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Digest::deserialize(deserializer).map(|Digest(bytes)| Self(Zeroizing::new(bytes)))
    }
}

/// HMAC-SHA-256 of a stream key under the pepper. Compares in a time that does not depend on where two differ.
#[derive(Clone, Copy)]
pub struct KeyMac(pub [u8; 32]);

impl PartialEq for KeyMac {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for KeyMac {}

impl fmt::Debug for KeyMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMac(…)")
    }
}

/// Hexadecimal.
impl fmt::Display for KeyMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl FromStr for KeyMac {
    type Err = <Digest as FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|Digest(bytes)| Self(bytes))
    }
}

impl Serialize for KeyMac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Digest(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeyMac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Digest::deserialize(deserializer).map(|Digest(bytes)| Self(bytes))
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntry {
    pub name: StreamId,
    /// MAC of its key.
    pub key_mac: KeyMac,
}

/// Answer to `GET /cluster/v1/streams`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamTable {
    pub pepper: Pepper,
    pub streams: Vec<StreamEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8) -> Pepper {
        Pepper::from_bytes(&[byte; 32]).unwrap()
    }

    /// Computed with `printf secret-key | openssl dgst -sha256 -mac HMAC -macopt hexkey:0b…0b`.
    #[test]
    fn mac_is_that_of_openssl_and_differs_by_key_and_pepper() {
        let mac = pepper(0x0b).mac("secret-key");
        assert_eq!(mac.to_string(), "d82f78b00d2aa15c0f713850c17813fde7384918ef6638f0e0fc0d90777fd2ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!(mac != pepper(0x0b).mac("secret-kex") && mac != pepper(0x0c).mac("secret-key"));
        assert_ne!(pepper(1).id(), pepper(2).id());
    }

    #[test]
    fn table_travels_and_prints_no_secret() {
        let name = "hall".parse().unwrap();
        let table = StreamTable {
            streams: vec![StreamEntry { name, key_mac: pepper(7).mac("secret-key") }],
            pepper: pepper(7),
        };
        let text = serde_json::to_string(&table).unwrap();
        let back: StreamTable = serde_json::from_str(&text).unwrap();
        assert_eq!((back.pepper.expose(), &back.streams), (&[7; 32], &table.streams));
        let printed = format!("{table:?}");
        assert!(!printed.contains("7, 7") && printed.contains("KeyMac(…)"), "{printed}");
        assert!(Pepper::from_bytes(&[0; 31]).is_none());
    }
}
