//! The stream key as the publisher sent it. Pure.

use std::fmt;

use zeroize::Zeroizing;

/// A stream key: whoever has it may publish. `Debug` hides it, it cannot be compared or copied, and dropping wipes it.
pub struct StreamKey(Zeroizing<String>);

impl StreamKey {
    pub(crate) fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself, for a caller that makes a digest of it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_not_printed() {
        let key = StreamKey::new("secret".to_owned());
        assert_eq!(format!("{key:?}"), "StreamKey(…)");
        assert_eq!(key.expose(), "secret");
    }
}
