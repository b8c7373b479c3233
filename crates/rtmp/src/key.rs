//! The stream key as the publisher sent it. Pure.

use std::fmt;

use zeroize::Zeroizing;

use crate::limits::KEY_BYTES_MAX;

/// The parameter of a key's query that is read: `NAME?token=TOKEN`.
const TOKEN_PARAMETER: &str = "token=";

/// A stream key: whoever has it may publish. `Debug` hides it, it cannot be compared or copied, and dropping wipes it.
pub struct StreamKey {
    name: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
    excess_bytes: Option<usize>,
}

impl StreamKey {
    /// Reads the argument of `publish`: a key without slashes at its ends, and perhaps a query.
    pub(crate) fn new(text: &str) -> Self {
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let name = name.trim_matches('/');
        let token = query.split('&').find_map(|parameter| parameter.strip_prefix(TOKEN_PARAMETER));
        let longest_bytes = name.len().max(token.map_or(0, str::len));
        if longest_bytes > KEY_BYTES_MAX {
            return Self { name: Zeroizing::default(), token: None, excess_bytes: Some(longest_bytes) };
        }
        let kept = |text: &str| Zeroizing::new(text.to_owned());
        Self { name: kept(name), token: token.map(kept), excess_bytes: None }
    }

    /// The key itself, without its query, for a caller that makes a digest of it.
    pub fn expose(&self) -> &str {
        &self.name
    }

    /// The parameter `token` of its query.
    pub fn expose_token(&self) -> Option<&str> {
        self.token.as_deref().map(String::as_str)
    }

    /// Length of what was sent, in bytes, if it is longer than [`KEY_BYTES_MAX`]; the key is empty then.
    pub const fn excess_bytes(&self) -> Option<usize> {
        self.excess_bytes
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
        let key = StreamKey::new("secret?token=secret");
        assert_eq!(format!("{key:?}"), "StreamKey(…)");
        assert_eq!((key.expose(), key.expose_token()), ("secret", Some("secret")));
    }

    #[test]
    fn token_of_the_query_is_read_and_the_rest_of_it_is_not_part_of_the_key() {
        let read = |text| {
            let key = StreamKey::new(text);
            (key.expose().to_owned(), key.expose_token().map(str::to_owned))
        };
        assert_eq!(read("/hall/?a=b&token=x.y.z&c"), ("hall".to_owned(), Some("x.y.z".to_owned())));
        assert_eq!(read("hall?tokens=x"), ("hall".to_owned(), None));
        assert_eq!(read("hall"), ("hall".to_owned(), None));
        let long = StreamKey::new(&format!("hall?token={}", "x".repeat(KEY_BYTES_MAX + 1)));
        assert_eq!((long.expose(), long.excess_bytes()), ("", Some(KEY_BYTES_MAX + 1)));
    }
}
