//! Stream keys: which key publishes which stream. A key is reduced to its MAC when a publisher sends it, so it can be neither logged
//! nor kept. Pure.

use std::collections::BTreeMap;

use media::StreamId;
use messages::{KeyMac, StreamEntry, StreamTable};

/// Streams in the table. At 100 bytes each, far more than one ingest can encode.
pub(crate) const STREAMS_MAX: usize = 10_000;
/// Longest end of a key by which it is looked up. A longer hint is as good as none.
const HINT_BYTES_MAX: usize = 8;

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
    keys: BTreeMap<StreamId, StreamEntry>,
    /// Streams by what their keys end with; those of which nobody knows are under the empty text.
    by_hint: BTreeMap<String, Vec<StreamId>>,
}

impl KeyTable {
    /// Takes what control sent. Entries beyond [`STREAMS_MAX`] are left out and counted.
    pub(crate) fn new(table: StreamTable) -> (Self, usize) {
        let given = table.streams.len();
        let keys: BTreeMap<_, _> =
            table.streams.into_iter().take(STREAMS_MAX).map(|entry| (entry.name.clone(), entry)).collect();
        let left_out = given.saturating_sub(keys.len());
        let mut by_hint: BTreeMap<String, Vec<StreamId>> = BTreeMap::new();
        for (name, entry) in &keys {
            let hint = if entry.hint.len() > HINT_BYTES_MAX { "" } else { &entry.hint };
            by_hint.entry(hint.to_owned()).or_default().push(name.clone());
        }
        (Self { keys, by_hint }, left_out)
    }

    /// Entries whose key may be this one. Of drawn keys, one in a million has a given end; the ends of short ones are not known.
    fn candidates(&self, key: &str) -> impl Iterator<Item = &StreamEntry> {
        let ends = (0..=HINT_BYTES_MAX).filter_map(|bytes| key.get(key.len().checked_sub(bytes)?..));
        let fitting: Vec<&Vec<StreamId>> = ends.filter_map(|end| self.by_hint.get(end)).collect();
        fitting.into_iter().flatten().filter_map(|stream| self.keys.get(stream))
    }

    /// The stream that this key publishes, and the key's MAC. Each candidate costs a MAC, some 600 ns, and is compared in constant time.
    /// How long it takes says at most whether some key ends as this one does, which people see in lists.
    pub(crate) fn stream_of(&self, key: &str) -> Option<(&StreamId, KeyMac)> {
        let mut found = None;
        for entry in self.candidates(key) {
            if entry.has_key(key) {
                found = Some((&entry.name, entry.key_mac));
            }
        }
        found
    }

    /// Whether a key that published this stream still does.
    pub(crate) fn standing(&self, stream: &StreamId, key: &KeyMac) -> KeyState {
        match self.keys.get(stream) {
            Some(known) if known.key_mac == *key => KeyState::Valid,
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
    use messages::{MacForm, MacKey, Pepper};

    use super::*;

    fn mac_key(form: MacForm, stream: &str) -> MacKey {
        Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap().mac_key(form, &stream.parse().unwrap())
    }

    fn entry(form: MacForm, name: &str, key: &str) -> StreamEntry {
        let mac_key = mac_key(form, name);
        StreamEntry { name: name.parse().unwrap(), key_mac: mac_key.mac(key), mac_key, hint: String::new() }
    }

    fn table(streams: &[(MacForm, &str, &str)]) -> KeyTable {
        let streams = streams.iter().map(|(form, name, key)| entry(*form, name, key)).collect();
        KeyTable::new(StreamTable { streams }).0
    }

    #[test]
    fn key_finds_its_stream_and_no_other() {
        let table = table(&[
            (MacForm::OfStream, "a", "another"),
            (MacForm::OfStream, "b", "secret"),
            (MacForm::OfAll, "c", "of-before"),
        ]);
        assert_eq!(table.len(), 3);
        assert_eq!(table.stream_of("secret").unwrap().0.as_str(), "b");
        assert_eq!(table.stream_of("of-before").unwrap().0.as_str(), "c");
        assert!(table.stream_of("Secret").is_none() && table.stream_of("").is_none());
    }

    #[test]
    fn wrong_key_costs_no_mac_for_keys_that_end_otherwise() {
        let hinted = |n: usize| {
            let key = format!("scp_0123456789abcdefghijklmnop{n:04}");
            StreamEntry { hint: format!("{n:04}"), ..entry(MacForm::OfStream, &format!("s{n}"), &key) }
        };
        let mut streams: Vec<StreamEntry> = (0..STREAMS_MAX - 1).map(hinted).collect();
        streams.push(entry(MacForm::OfStream, "short", "secret-1"));
        let (table, _) = KeyTable::new(StreamTable { streams });
        for (key, candidates, found) in [
            ("scp_0123456789abcdefghijklmnop0042", 2, Some("s42")),
            ("a-guess-that-ends-with-0042", 2, None),
            ("a-guess-that-ends-otherwise", 1, None),
            ("secret-1", 1, Some("short")),
            ("", 1, None),
        ] {
            assert_eq!(table.candidates(key).count(), candidates, "{key}");
            assert_eq!(table.stream_of(key).map(|(name, _)| name.as_str()), found, "{key}");
        }
    }

    /// Whoever is given one stream's entry can guess at no other stream's MAC, which everybody can read.
    #[test]
    fn what_recognises_the_key_of_one_stream_recognises_that_of_no_other() {
        let (a, mut b) = (entry(MacForm::OfStream, "a", "secret"), entry(MacForm::OfStream, "b", "secret"));
        assert!(a.has_key("secret") && b.has_key("secret"));
        b.mac_key = a.mac_key;
        assert!(!b.has_key("secret"));
    }

    #[test]
    fn key_stands_until_its_stream_has_another_or_is_gone() {
        let (hall, one) = ("hall".parse().unwrap(), MacForm::OfStream);
        let secret = entry(one, "hall", "secret").key_mac;
        assert_eq!(table(&[(one, "hall", "secret")]).standing(&hall, &secret), KeyState::Valid);
        assert_eq!(table(&[(one, "hall", "another")]).standing(&hall, &secret), KeyState::KeyChanged);
        assert_eq!(
            table(&[(one, "stage", "secret")]).standing(&hall, &secret),
            KeyState::Deleted,
            "another stream's now"
        );
        assert_eq!(table(&[]).standing(&hall, &secret), KeyState::Deleted);
    }

    #[test]
    fn streams_beyond_the_bound_are_left_out_and_counted() {
        let streams = (0..STREAMS_MAX + 3).map(|n| entry(MacForm::OfStream, &format!("s{n}"), "secret")).collect();
        let (table, left_out) = KeyTable::new(StreamTable { streams });
        assert_eq!((table.len(), left_out), (STREAMS_MAX, 3));
    }
}
