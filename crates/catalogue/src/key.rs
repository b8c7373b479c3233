//! Stream keys, which a streamer enters into OBS. Pure, except for drawing a random key.

use std::fmt;

use zeroize::Zeroizing;

/// Fewest characters of a key: one that a person chooses must not be easy to guess.
pub const KEY_CHARS_MIN: usize = 8;
/// Most characters of a key, which is part of a URL.
pub const KEY_CHARS_MAX: usize = 128;
/// Characters of a random key: 32 of 5 bits each are 160 bits.
const KEY_CHARS: usize = 32;
/// 32 characters that people can tell apart at a glance.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

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
        Self(Zeroizing::new(bytes.iter().map(character).collect()))
    }

    /// The key in clear text, which `Debug` hides.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_keys_are_valid_and_differ() {
        let (a, b) = (StreamKey::random(), StreamKey::random());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), KEY_CHARS);
        assert_eq!(StreamKey::new(a.expose()), Ok(a.clone()));
        assert_eq!(format!("{a:?}"), "…");
    }

    #[test]
    fn key_that_could_not_travel_or_be_secret_is_refused() {
        for bad in ["", "short", "with space", "with/slash", "with?query=1", &"x".repeat(129)] {
            assert_eq!(StreamKey::new(bad), Err(InvalidKey), "{bad:?}");
        }
    }
}
