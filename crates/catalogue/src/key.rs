//! Stream keys, which a streamer enters into OBS, and what is kept of them. Pure, except for drawing a random key.

use std::fmt;

use media::StreamId;
use messages::{KeyMac, MacForm, Pepper};
use zeroize::Zeroizing;

use crate::id::ALPHABET;

/// Fewest characters of a key: one that a person chooses must not be easy to guess.
pub const KEY_CHARS_MIN: usize = 8;
/// Most characters of a key, which is part of a URL.
pub const KEY_CHARS_MAX: usize = 128;
/// How a key begins that we draw. Whoever finds one in a log or a repository knows what it is.
pub const KEY_PREFIX: &str = "scp_";
/// Characters of a random key after its prefix: 32 of 5 bits each are 160 bits.
const KEY_CHARS: usize = 32;
/// Characters of a key that its hint shows.
const HINT_CHARS: usize = 4;
/// How a MAC of the newer form begins in the table.
const OF_STREAM: &str = "v2:";
/// Shorter keys have no hint: it would give away too much of them.
const HINTED_CHARS_MIN: usize = 20;

/// Why a key was refused. Does not hold the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stream key has {KEY_CHARS_MIN} to {KEY_CHARS_MAX} characters out of a-z, A-Z, 0-9, '-', '_' and '.'")]
pub struct InvalidKey;

/// A stream key. `Debug` prints `…`; dropping wipes it from memory.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(Zeroizing<String>);

impl StreamKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// When the text is too short to be secret, too long, or would need escaping in a URL.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(InvalidKey)
        }
    }

    /// Draws a key of 160 random bits.
    pub fn random() -> Self {
        let bytes: Zeroizing<[u8; KEY_CHARS]> = Zeroizing::new(rand::random());
        let character = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
        let mut key = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + KEY_CHARS));
        key.push_str(KEY_PREFIX);
        key.extend(bytes.iter().map(character));
        Self(key)
    }

    /// The key in clear text, which `Debug` hides.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the catalogue keeps of it, as the key of a stream.
    pub fn kept(&self, pepper: &Pepper, stream: &StreamId) -> KeptKey {
        let is_long = self.0.len() >= HINTED_CHARS_MIN;
        let hint = self.0.len().checked_sub(HINT_CHARS).filter(|_| is_long).and_then(|from| self.0.get(from..));
        let form = MacForm::OfStream;
        let mac = pepper.mac_key(form, stream).mac(&self.0);
        KeptKey { mac, form, hint: hint.unwrap_or_default().to_owned() }
    }
}

impl KeptKey {
    /// Whether this was kept of a key of the stream.
    pub fn is_of(&self, key: &StreamKey, pepper: &Pepper, stream: &StreamId) -> bool {
        pepper.mac_key(self.form, stream).mac(&key.0) == self.mac
    }

    /// As the table has it: the newer form begins with [`OF_STREAM`].
    pub(crate) fn to_text(&self) -> String {
        match self.form {
            MacForm::OfAll => self.mac.to_string(),
            MacForm::OfStream => format!("{OF_STREAM}{}", self.mac),
        }
    }

    /// Reads what [`KeptKey::to_text`] writes; `None` for anything else.
    pub(crate) fn from_text(text: &str, hint: String) -> Option<Self> {
        let (form, text) = match text.strip_prefix(OF_STREAM) {
            Some(rest) => (MacForm::OfStream, rest),
            None => (MacForm::OfAll, text),
        };
        Some(Self { mac: text.parse().ok()?, form, hint })
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is kept of a key: enough to recognise it, not enough to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    pub mac: KeyMac,
    /// Under what. Nobody can bring a key of before into the newer form without having the key.
    pub form: MacForm,
    /// The key's last four characters, by which people recognise it; empty for a key of fewer than 20.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_keys_are_valid_and_differ() {
        let (a, b) = (StreamKey::random(), StreamKey::random());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), KEY_PREFIX.len() + KEY_CHARS);
        assert!(a.expose().starts_with("scp_"));
        assert_eq!(StreamKey::new(a.expose()), Ok(a.clone()));
        assert_eq!(format!("{a:?}"), "…");
    }

    #[test]
    fn key_that_could_not_travel_or_be_secret_is_refused() {
        for bad in ["", "short", "with space", "with/slash", "with?query=1", &"x".repeat(129)] {
            assert_eq!(StreamKey::new(bad), Err(InvalidKey), "{bad:?}");
        }
    }

    #[test]
    fn hint_shows_the_end_of_a_long_key_and_nothing_of_a_short_one() {
        let pepper = Pepper::from_bytes(&[1; Pepper::BYTES]).unwrap();
        let hall = "hall".parse().unwrap();
        let hint = |key: &str| StreamKey::new(key).unwrap().kept(&pepper, &hall).hint;
        assert_eq!(hint("0123456789abcdefghij"), "ghij");
        assert_eq!((hint("0123456789abcdefghi"), hint("12345678")), (String::new(), String::new()));
    }
}
