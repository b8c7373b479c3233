//! Stream keys: which key publishes which stream. A key is reduced to its MAC when a publisher sends it, so it can be neither logged
//! nor kept. Pure.

use std::collections::BTreeMap;

use media::StreamId;
use messages::{KeyMac, Pepper, StreamTable};

/// Streams in the table. At 100 bytes each, far more than one ingest can encode.
pub(crate) const STREAMS_MAX: usize = 10_000;

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

#[derive(Debug, Clone)]
pub(crate) struct KeyTable {
    pepper: Pepper,
    keys: BTreeMap<StreamId, KeyMac>,
}

impl KeyTable {
    /// Takes what control sent. Entries beyond [`STREAMS_MAX`] are left out and counted.
    pub(crate) fn new(table: StreamTable) -> (Self, usize) {
        let given = table.streams.len();
        let keys: BTreeMap<_, _> =
            table.streams.into_iter().take(STREAMS_MAX).map(|entry| (entry.name, entry.key_mac)).collect();
        let left_out = given.saturating_sub(keys.len());
        (Self { pepper: table.pepper, keys }, left_out)
    }

    /// The stream that this key publishes, and the key's MAC. Looks at every entry, whether found or not, and compares each in constant
    /// time.
    pub(crate) fn stream_of(&self, key: &str) -> Option<(&StreamId, KeyMac)> {
        let mac = self.pepper.mac(key);
        let mut found = None;
        for (stream, known) in &self.keys {
            if *known == mac {
                found = Some((stream, mac));
            }
        }
        found
    }

    /// Whether a key that published this stream still does.
    pub(crate) fn standing(&self, stream: &StreamId, key: &KeyMac) -> KeyState {
        match self.keys.get(stream) {
            Some(known) if known == key => KeyState::Valid,
            Some(_) => KeyState::KeyChanged,
            None => KeyState::Deleted,
        }
    }

    /// Whether there is such a stream.
    pub(crate) fn has(&self, stream: &StreamId) -> bool {
        self.keys.contains_key(stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use messages::StreamEntry;

    use super::*;

    fn pepper() -> Pepper {
        Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap()
    }

    fn table(streams: &[(&str, KeyMac)]) -> KeyTable {
        let entry = |(name, key_mac): &(&str, KeyMac)| StreamEntry { name: name.parse().unwrap(), key_mac: *key_mac };
        KeyTable::new(StreamTable { pepper: pepper(), streams: streams.iter().map(entry).collect() }).0
    }

    #[test]
    fn key_finds_its_stream_and_no_other() {
        let table = table(&[("a", KeyMac([0; 32])), ("b", pepper().mac("secret"))]);
        assert_eq!(table.len(), 2);
        assert_eq!(table.stream_of("secret").unwrap().0.as_str(), "b");
        assert!(table.stream_of("Secret").is_none() && table.stream_of("").is_none());
        let other = Pepper::from_bytes(&[8; Pepper::BYTES]).unwrap();
        let of_another_cluster = KeyTable { pepper: other, ..table };
        assert!(of_another_cluster.stream_of("secret").is_none());
    }

    #[test]
    fn key_stands_until_its_stream_has_another_or_is_gone() {
        let (hall, secret) = ("hall".parse().unwrap(), pepper().mac("secret"));
        assert_eq!(table(&[("hall", secret)]).standing(&hall, &secret), KeyState::Valid);
        assert_eq!(table(&[("hall", pepper().mac("another"))]).standing(&hall, &secret), KeyState::KeyChanged);
        assert_eq!(table(&[("stage", secret)]).standing(&hall, &secret), KeyState::Deleted, "another stream's now");
        assert_eq!(table(&[]).standing(&hall, &secret), KeyState::Deleted);
    }

    #[test]
    fn streams_beyond_the_bound_are_left_out_and_counted() {
        let entry = |n: usize| StreamEntry { name: format!("s{n}").parse().unwrap(), key_mac: KeyMac([0; 32]) };
        let streams = (0..STREAMS_MAX + 3).map(entry).collect();
        let (table, left_out) = KeyTable::new(StreamTable { pepper: pepper(), streams });
        assert_eq!((table.len(), left_out), (STREAMS_MAX, 3));
    }
}
