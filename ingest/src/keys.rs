//! Stream keys: which key publishes which stream. A key is reduced to its SHA-256 digest as soon as it is read from the
//! network, so it can be neither logged nor kept. Pure.

use std::collections::BTreeMap;
use std::fmt;

use media::StreamId;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Streams in the table. At 100 bytes each, far more than one ingest can encode.
pub(crate) const STREAMS_MAX: usize = 10_000;

/// SHA-256 of a stream key.
#[derive(Clone, Copy)]
pub(crate) struct KeyDigest([u8; 32]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

impl KeyDigest {
    /// Digest of the key as the publisher sent it.
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    fn from_hex(text: &str) -> Option<Self> {
        text.parse::<media::Digest>().ok().map(|digest| Self(digest.0))
    }

    /// Compares in a time that does not depend on where the two differ.
    fn matches(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// One line of the table, as control sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamEntry {
    pub(crate) name: StreamId,
    /// SHA-256 of its key, in hex.
    pub(crate) key_sha256: String,
}

/// State of a key that was once admitted to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// It is still the stream's key.
    Valid,
    /// The stream has another key.
    KeyChanged,
    /// There is no such stream.
    Deleted,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct KeyTable {
    keys: BTreeMap<StreamId, KeyDigest>,
}

impl KeyTable {
    /// Takes what control sent. Entries whose digest is not one, and those beyond [`STREAMS_MAX`], are left out and counted.
    pub(crate) fn new(entries: Vec<StreamEntry>) -> (Self, usize) {
        let given = entries.len();
        let keys: BTreeMap<_, _> = entries
            .into_iter()
            .filter_map(|entry| Some((entry.name, KeyDigest::from_hex(&entry.key_sha256)?)))
            .take(STREAMS_MAX)
            .collect();
        let left_out = given.saturating_sub(keys.len());
        (Self { keys }, left_out)
    }

    /// The stream that this key publishes. Looks at every entry, whether found or not.
    pub(crate) fn stream_of(&self, key: &KeyDigest) -> Option<&StreamId> {
        let mut found = None;
        for (stream, digest) in &self.keys {
            if digest.matches(key) {
                found = Some(stream);
            }
        }
        found
    }

    /// Whether a key that published this stream still does.
    pub(crate) fn standing(&self, stream: &StreamId, key: &KeyDigest) -> KeyState {
        match self.keys.get(stream) {
            Some(digest) if digest.matches(key) => KeyState::Valid,
            Some(_) => KeyState::KeyChanged,
            None => KeyState::Deleted,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, key_sha256: &str) -> StreamEntry {
        StreamEntry { name: name.parse().unwrap(), key_sha256: key_sha256.to_owned() }
    }

    #[test]
    fn key_finds_its_stream_and_no_other() {
        let digest = hex(&Sha256::digest(b"secret"));
        let (table, left_out) =
            KeyTable::new(vec![entry("a", &"00".repeat(32)), entry("b", &digest), entry("c", "xx")]);
        assert_eq!((table.len(), left_out), (2, 1));
        assert_eq!(table.stream_of(&KeyDigest::of("secret")).unwrap().as_str(), "b");
        assert!(table.stream_of(&KeyDigest::of("Secret")).is_none());
        assert!(table.stream_of(&KeyDigest::of("")).is_none());
    }

    #[test]
    fn key_stands_until_its_stream_has_another_or_is_gone() {
        let table = |key: &[u8], name: &str| KeyTable::new(vec![entry(name, &hex(&Sha256::digest(key)))]).0;
        let (hall, secret) = ("hall".parse().unwrap(), KeyDigest::of("secret"));
        assert_eq!(table(b"secret", "hall").standing(&hall, &secret), KeyState::Valid);
        assert_eq!(table(b"another", "hall").standing(&hall, &secret), KeyState::KeyChanged);
        assert_eq!(table(b"secret", "stage").standing(&hall, &secret), KeyState::Deleted, "another stream's now");
        assert_eq!(KeyTable::default().standing(&hall, &secret), KeyState::Deleted);
    }

    #[test]
    fn digest_of_a_key_is_not_printed() {
        assert_eq!(format!("{:?}", KeyDigest::of("secret")), "KeyDigest(…)");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
