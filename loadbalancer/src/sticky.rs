//! The sticky token names the node that a viewer was sent to. The viewer carries it in a cookie. It is signed, so that any balancer with
//! the same key can honour it and nobody can make one up.
//!
//! Shape: `base64url(viewer key, 8 bytes ‖ node name ‖ HMAC-SHA256 of both, first 16 bytes)`, without padding. It names no
//! person: the viewer key is a random number that spreads viewers over nodes. Pure except for [`StickyKey::ensure`].

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use media::{NAME_BYTES_MAX, NodeId};

pub const COOKIE: &str = "sealcast_node";

/// Length of the key in bytes.
const KEY_BYTES: usize = 32;
/// Length of the viewer key in bytes.
const VIEWER_BYTES: usize = 8;
/// Length of the shortened authentication code in bytes: 128 bits cannot be guessed.
const TAG_BYTES: usize = 16;
/// Longest token in characters, with room: longer ones are not even decoded.
const TOKEN_CHARS_MAX: usize = 2 * (VIEWER_BYTES + NAME_BYTES_MAX + TAG_BYTES);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Random number of the viewer, for placement.
    pub viewer: u64,
    /// Node it was sent to.
    pub node: NodeId,
}

/// The key that signs tokens.
pub struct StickyKey(hmac::Key);

impl StickyKey {
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Reads the key from a file, or makes one there that only its owner can read.
    ///
    /// # Errors
    /// When the file cannot be read or written, or has another length.
    pub fn ensure(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            let bytes = node::files::read_bounded(path)?;
            let key: &[u8; KEY_BYTES] = bytes
                .as_slice()
                .try_into()
                .with_context(|| format!("it has {} bytes, not {KEY_BYTES}", bytes.len()))?;
            return Ok(Self::new(key));
        }
        let key: [u8; KEY_BYTES] = rand::random();
        node::files::atomic_write(path, &key, 0o600)?;
        Ok(Self::new(&key))
    }

    /// Places a viewer without a token: the same number on all balancers with this key, and of no use to find the address.
    pub fn place(&self, address: IpAddr) -> u64 {
        // A dual-stack listener sees IPv4 viewers as IPv6 addresses with one common prefix.
        let bytes = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            // A viewer can change the last 64 bits at will (RFC 7421).
            IpAddr::V6(address) => address.octets().iter().take(8).copied().collect(),
        };
        let tag = hmac::sign(&self.0, &bytes);
        tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    /// The token as text, signed with this key: the value of the cookie.
    pub fn seal(&self, token: &Token) -> String {
        let mut bytes = token.viewer.to_be_bytes().to_vec();
        bytes.extend_from_slice(token.node.as_str().as_bytes());
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend(tag.as_ref().iter().take(TAG_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; `None` unless this key, or a balancer that shares it, made it.
    pub fn open(&self, text: &str) -> Option<Token> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        let expected = hmac::sign(&self.0, said);
        let expected = expected.as_ref().get(..TAG_BYTES)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(expected, tag).ok()?;
        let (viewer, node) = said.split_first_chunk::<VIEWER_BYTES>()?;
        let node = NodeId::new(std::str::from_utf8(node).ok()?).ok()?;
        Some(Token { viewer: u64::from_be_bytes(*viewer), node })
    }
}

/// The value of our cookie in a `Cookie` header (RFC 6265, 4.2.1).
pub fn from_cookies(header: &str) -> Option<&str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token { viewer: 0x0102_0304_0506_0708, node: NodeId::new("b1").unwrap() }
    }

    #[test]
    fn token_reads_back_with_the_same_key_only() {
        let key = StickyKey::new(&[7; KEY_BYTES]);
        let text = key.seal(&token());
        assert_eq!(key.open(&text), Some(token()));
        assert_eq!(StickyKey::new(&[8; KEY_BYTES]).open(&text), None);
    }

    #[test]
    fn changed_token_is_refused() {
        let key = StickyKey::new(&[7; KEY_BYTES]);
        let bytes = URL_SAFE_NO_PAD.decode(key.seal(&token())).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&URL_SAFE_NO_PAD.encode(&changed)), None, "bit {bit}");
        }
        for text in ["", "AAAA", &"A".repeat(10_000), "!!!", &key.seal(&token())[1..]] {
            assert_eq!(key.open(text), None, "{text:.20?}");
        }
    }

    #[test]
    fn viewers_of_ipv4_have_places_of_their_own_on_a_listener_of_both_kinds() {
        let key = StickyKey::new(&[7; KEY_BYTES]);
        let place = |address: &str| key.place(address.parse().unwrap());
        assert_eq!(place("::ffff:192.0.2.1"), place("192.0.2.1"));
        assert_ne!(place("::ffff:192.0.2.1"), place("::ffff:192.0.2.2"));
    }

    #[test]
    fn viewer_without_a_token_keeps_its_place_within_its_network() {
        let place = |key: u8, address: &str| StickyKey::new(&[key; KEY_BYTES]).place(address.parse().unwrap());
        assert_eq!(place(7, "192.0.2.1"), place(7, "192.0.2.1"));
        assert_ne!(place(7, "192.0.2.1"), place(7, "192.0.2.2"));
        assert_ne!(place(7, "192.0.2.1"), place(8, "192.0.2.1"), "the place does not tell the address");
        assert_eq!(place(7, "2001:db8::1"), place(7, "2001:db8::ffff:2"));
        assert_ne!(place(7, "2001:db8::1"), place(7, "2001:db8:0:1::1"));
    }

    #[test]
    fn cookie_is_found_among_others() {
        assert_eq!(from_cookies("a=b; sealcast_node=xyz; c=d"), Some("xyz"));
        assert_eq!(from_cookies("sealcast_node=xyz"), Some("xyz"));
        assert_eq!(from_cookies("sealcast_nodes=xyz; xsealcast_node=1"), None);
    }

    #[test]
    fn key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sticky.key");
        let text = StickyKey::ensure(&path).unwrap().seal(&token());
        assert_eq!(StickyKey::ensure(&path).unwrap().open(&text), Some(token()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert!(StickyKey::ensure(&path).is_err());
    }
}
