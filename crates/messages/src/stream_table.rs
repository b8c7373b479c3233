//! The table of streams: what control tells ingests over mutual TLS, so that they recognise a stream key without being able to name one.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, hmac};
use media::{Digest, StreamId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What [`Pepper::id`] authenticates. No stream key has a NUL, so no key has this MAC.
const PEPPER_ID: &[u8] = b"\0sealcast pepper";
/// What [`Pepper::mac_key`] authenticates, before the name of the stream. No stream key has a NUL, so no key of the older form has this MAC.
const MAC_KEY: &str = "\0sealcast stream ";

/// The secret from which the keys of all MACs come. Control makes it, and nobody else has it. `Debug` prints `…`.
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
        Digest(authenticate(&self.0, PEPPER_ID))
    }

    /// The key under which stream keys of this stream are kept. It says nothing of the pepper, or of other streams.
    pub fn mac_key(&self, form: MacForm, stream: &StreamId) -> MacKey {
        MacKey(match form {
            MacForm::OfStream => Zeroizing::new(authenticate(&self.0, format!("{MAC_KEY}{stream}").as_bytes())),
            MacForm::OfAll => self.0.clone(),
        })
    }

    /// A key for another purpose, which the label names. It says nothing of the pepper.
    pub fn key_for(&self, label: &str) -> MacKey {
        MacKey(Zeroizing::new(authenticate(&self.0, label.as_bytes())))
    }
}

/// Under what a stream key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacForm {
    /// The pepper itself, as versions of before did it: whoever can recognise one such key can guess at all of them.
    OfAll,
    /// A key of the stream's own.
    OfStream,
}

/// A key of MACs. With one, an ingest recognises stream keys: it gets it with the table, and holds it in memory. `Debug` prints `…`.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; Pepper::BYTES]>);

impl MacKey {
    /// HMAC-SHA-256 (RFC 2104) of a text.
    pub fn mac(&self, text: &str) -> KeyMac {
        KeyMac(authenticate(&self.0, text.as_bytes()))
    }
}

fn authenticate(key: &[u8; Pepper::BYTES], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..]), message);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Serialize for MacKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Digest(*self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MacKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Digest::deserialize(deserializer).map(|Digest(bytes)| Self(Zeroizing::new(bytes)))
    }
}

/// HMAC-SHA-256 of a stream key under a [`MacKey`]. Compares in a time that does not depend on where two differ.
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamEntry {
    pub name: StreamId,
    /// MAC of its key.
    pub key_mac: KeyMac,
    /// What the MAC was made with.
    pub mac_key: MacKey,
    /// What the key ends with, so that an ingest makes no MAC for the keys that end otherwise; empty when nobody knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl StreamEntry {
    /// Whether this is the stream's key. Takes a time that does not depend on where two differ.
    pub fn has_key(&self, key: &str) -> bool {
        self.mac_key.mac(key) == self.key_mac
    }
}

/// Answer to `GET /cluster/v1/streams`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamTable {
    pub streams: Vec<StreamEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(byte: u8, form: MacForm, stream: &str) -> MacKey {
        Pepper::from_bytes(&[byte; 32]).unwrap().mac_key(form, &stream.parse().unwrap())
    }

    /// Computed with `printf secret-key | openssl dgst -sha256 -mac HMAC -macopt hexkey:0b…0b`; and for the key of a stream, with
    /// `printf '\0sealcast stream hall'` in place of the key first.
    #[test]
    fn mac_is_that_of_openssl_and_differs_by_key_stream_and_pepper() {
        let mac = key_of(0x0b, MacForm::OfAll, "hall").mac("secret-key");
        assert_eq!(mac.to_string(), "d82f78b00d2aa15c0f713850c17813fde7384918ef6638f0e0fc0d90777fd2ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!(mac == key_of(0x0b, MacForm::OfAll, "stage").mac("secret-key"), "the older form knows no streams");
        let own = key_of(0x0b, MacForm::OfStream, "hall");
        assert_eq!(
            own.mac("secret-key").to_string(),
            "f95f5d970731e5a33c55fbf92ad95a4baa9515574a742de9ff928097258b8a9f"
        );
        for other in [
            own.mac("secret-kex"),
            key_of(0x0b, MacForm::OfStream, "stage").mac("secret-key"),
            key_of(0x0c, MacForm::OfStream, "hall").mac("secret-key"),
            mac,
        ] {
            assert!(own.mac("secret-key") != other);
        }
        let pepper = |byte| Pepper::from_bytes(&[byte; 32]).unwrap();
        assert_ne!(pepper(1).id(), pepper(2).id());
        assert!(Pepper::from_bytes(&[0; 31]).is_none());
    }

    #[test]
    fn table_travels_and_prints_no_secret() {
        let (name, mac_key) = ("hall".parse().unwrap(), key_of(7, MacForm::OfAll, "hall"));
        let table = StreamTable {
            streams: vec![StreamEntry { name, key_mac: mac_key.mac("secret-key"), mac_key, hint: String::new() }],
        };
        let text = serde_json::to_string(&table).unwrap();
        let back: StreamTable = serde_json::from_str(&text).unwrap();
        assert!(back.streams[0].has_key("secret-key") && !back.streams[0].has_key("secret-kex"));
        let printed = format!("{table:?}");
        assert!(
            !printed.contains("7, 7") && printed.contains("KeyMac(…)") && printed.contains("mac_key: …"),
            "{printed}"
        );
    }
}
