//! The secrets of API keys, `sc_{id}_{256 bits}{check}`, and how each kind of secret is told from the others. Pure, except for the random
//! bits. Only SHA-256 digests are kept: 256 random bits need no slow hash.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use media::Digest;
use zeroize::Zeroizing;

use crate::id::{ALPHABET, ID_CHARS, Id, Kind};
use crate::key::KEY_PREFIX;

/// What the secret of an API key begins with.
pub const API_KEY_PREFIX: &str = "sc_";
/// Random characters: 52 of 5 bits each are 260 bits.
const RANDOM_CHARS: usize = 52;
/// Characters that follow from the others, so that a scanner of repositories knows a key without asking, and a typing error is no guess.
const CHECK_CHARS: usize = 6;

/// The secret of an API key. `Debug` prints `…`; dropping wipes it from memory.
#[derive(Clone)]
pub struct ApiSecret(Zeroizing<String>);

impl ApiSecret {
    /// Draws the secret of a key.
    pub fn draw(id: &Id) -> Self {
        let bytes: Zeroizing<[u8; RANDOM_CHARS]> = Zeroizing::new(std::array::from_fn(|_| rand::random()));
        let length = API_KEY_PREFIX.len() + ID_CHARS + 1 + RANDOM_CHARS + CHECK_CHARS;
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(API_KEY_PREFIX);
        text.push_str(id.characters());
        text.push('_');
        text.extend(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])));
        let check = check_of(&text);
        text.push_str(&check);
        Self(text)
    }

    /// Reads a secret, and the identity of its key; `None` when it has another form, or was mistyped.
    pub fn parse(text: &str) -> Option<(Id, Self)> {
        let (id, rest) = text.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
        let id = Id::parse(Kind::ApiKey, &format!("{}{id}", Kind::ApiKey.prefix()))?;
        let is_one = rest.len() == RANDOM_CHARS + CHECK_CHARS && rest.bytes().all(|byte| ALPHABET.contains(&byte));
        let (body, check) = text.split_at_checked(text.len().checked_sub(CHECK_CHARS)?)?;
        (is_one && check_of(body) == check).then(|| (id, Self(Zeroizing::new(text.to_owned()))))
    }

    /// The secret in clear text, which `Debug` hides.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        sha256(self.0.as_bytes())
    }

    /// Its last characters, by which people recognise it.
    pub fn hint(&self) -> String {
        self.0.get(self.0.len().saturating_sub(CHECK_CHARS)..).unwrap_or_default().to_owned()
    }

    /// Whether a digest is that of this secret, in a time that does not depend on where the two differ.
    pub fn is_of(&self, kept: &Digest) -> bool {
        constant_time::verify_slices_are_equal(&self.digest().0, &kept.0).is_ok()
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a set-up link ends in.
pub const SET_UP_PREFIX: &str = "sci_";

/// The secret of a set-up link, by which somebody becomes a member. `Debug` prints `…`; dropping wipes it from memory.
#[derive(Clone)]
pub struct SetUpSecret(Zeroizing<String>);

impl SetUpSecret {
    /// Draws a secret.
    pub fn draw() -> Self {
        let bytes: Zeroizing<[u8; RANDOM_CHARS]> = Zeroizing::new(std::array::from_fn(|_| rand::random()));
        let mut text = Zeroizing::new(String::with_capacity(SET_UP_PREFIX.len() + RANDOM_CHARS + CHECK_CHARS));
        text.push_str(SET_UP_PREFIX);
        text.extend(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])));
        let check = check_of(&text);
        text.push_str(&check);
        Self(text)
    }

    /// Reads a secret; `None` when it has another form, or was mistyped.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SET_UP_PREFIX)?;
        let is_one = rest.len() == RANDOM_CHARS + CHECK_CHARS && rest.bytes().all(|byte| ALPHABET.contains(&byte));
        let (body, check) = text.split_at_checked(text.len().checked_sub(CHECK_CHARS)?)?;
        (is_one && check_of(body) == check).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret in clear text, which `Debug` hides.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for SetUpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    let found = digest::digest(&digest::SHA256, bytes);
    Digest(found.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

fn check_of(body: &str) -> String {
    let digest = sha256(body.as_bytes()).0;
    digest.iter().take(CHECK_CHARS).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// Kinds of secrets that people and programs have in hand. Each has its own door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    ApiKey,
    StreamKey,
    ViewerToken,
    Cookie,
    SetUpLink,
    Jwt,
    Unknown,
}

impl SecretKind {
    /// Which kind a text looks like. Says nothing about whether it is valid.
    pub fn of(text: &str) -> Self {
        let has = |prefix: &str| text.starts_with(prefix);
        match () {
            () if has(KEY_PREFIX) => Self::StreamKey,
            () if has("scv_") => Self::ViewerToken,
            () if has("scs_") => Self::Cookie,
            () if has("sci_") => Self::SetUpLink,
            () if has(API_KEY_PREFIX) => Self::ApiKey,
            () if has("ey") && text.split('.').count() == 3 => Self::Jwt,
            () => Self::Unknown,
        }
    }

    /// What a refusal calls it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ApiKey => "an API key",
            Self::StreamKey => "a stream key",
            Self::ViewerToken => "a viewer token",
            Self::Cookie => "a session cookie",
            Self::SetUpLink => "a set-up link",
            Self::Jwt => "a JWT",
            Self::Unknown => "no secret of a known kind",
        }
    }
}

#[cfg(test)]
mod tests {
    use media::UnixMillis;

    use super::*;
    use crate::StreamKey;

    #[test]
    fn secret_names_its_key_and_a_mistyped_one_is_none() {
        let id = Id::draw(Kind::ApiKey, UnixMillis(1));
        let secret = ApiSecret::draw(&id);
        let (of, read) = ApiSecret::parse(secret.expose()).unwrap();
        assert_eq!(of, id);
        assert!(read.is_of(&secret.digest()) && !read.is_of(&ApiSecret::draw(&id).digest()));
        assert!(secret.expose().ends_with(&secret.hint()) && !format!("{secret:?}").contains(secret.expose()));
        for at in 0..secret.expose().len() {
            let mut typed = secret.expose().to_owned().into_bytes();
            typed[at] = if typed[at] == b'7' { b'8' } else { b'7' };
            let typed = String::from_utf8(typed).unwrap();
            assert!(ApiSecret::parse(&typed).is_none() || typed == secret.expose(), "{at}");
        }
        for other in ["", "sc_", "sc__", "sc_é", secret.expose().get(..80).unwrap()] {
            assert!(ApiSecret::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn secret_of_a_link_is_read_back_and_a_mistyped_one_is_none() {
        let secret = SetUpSecret::draw();
        assert_eq!(SetUpSecret::parse(secret.expose()).unwrap().digest(), secret.digest());
        assert_ne!(SetUpSecret::draw().digest(), secret.digest());
        assert_eq!(format!("{secret:?}"), "…");
        assert_eq!(SecretKind::of(secret.expose()), SecretKind::SetUpLink);
        let length = secret.expose().len();
        for other in
            ["", "sci_", "sci_é", &secret.expose()[..length - 1], &format!("{}0", &secret.expose()[..length - 1])]
        {
            assert!(SetUpSecret::parse(other).is_none() || other == secret.expose(), "{other}");
        }
    }

    #[test]
    fn kinds_of_secrets_are_told_by_how_they_begin() {
        let key = ApiSecret::draw(&Id::draw(Kind::ApiKey, UnixMillis(1)));
        assert_eq!(SecretKind::of(key.expose()), SecretKind::ApiKey);
        assert_eq!(SecretKind::of(StreamKey::random().expose()), SecretKind::StreamKey);
        for (text, kind) in [
            ("scv_x", SecretKind::ViewerToken),
            ("scs_x", SecretKind::Cookie),
            ("sci_x", SecretKind::SetUpLink),
            ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", SecretKind::Jwt),
            ("hunter2", SecretKind::Unknown),
            ("", SecretKind::Unknown),
        ] {
            assert_eq!(SecretKind::of(text), kind, "{text}");
        }
    }
}
