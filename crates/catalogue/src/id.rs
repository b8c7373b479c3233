//! Identities of rows: a prefix that names the kind, and 26 characters of Crockford's Base32 in lower case. They hold 48 bits of time in
//! milliseconds and 80 random bits, so they sort by age and say nothing else. Pure, except for the random bits.

use std::fmt;

use media::UnixMillis;

/// Characters after the prefix.
pub const ID_CHARS: usize = 26;
/// The characters of identities, keys and secrets: 32 that people can tell apart at a glance.
pub(crate) const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Random bits of an identity.
const RANDOM_BITS: u32 = 80;

/// What an identity names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tenant,
    ApiKey,
    Member,
    Stream,
    /// An event, or an audit record.
    Event,
    Webhook,
    /// One event on its way to one endpoint.
    Delivery,
    Request,
    /// A message of a chat.
    Message,
    /// A ban from a chat.
    Ban,
    SigningKey,
    Issuer,
}

impl Kind {
    /// What its identities begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Tenant => "ten_",
            Self::ApiKey => "key_",
            Self::Member => "mem_",
            Self::Stream => "str_",
            Self::Event => "evt_",
            Self::Webhook => "whk_",
            Self::Delivery => "dlv_",
            Self::Request => "req_",
            Self::Message => "msg_",
            Self::Ban => "ban_",
            Self::SigningKey => "sgk_",
            Self::Issuer => "iss_",
        }
    }
}

/// The identity of a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// A new identity.
    pub fn draw(kind: Kind, now: UnixMillis) -> Self {
        let time = u128::try_from(now.0).unwrap_or(0) & ((1 << 48) - 1);
        let random = rand::random::<u128>() & ((1 << RANDOM_BITS) - 1);
        Self::of_bits(kind, (time << RANDOM_BITS) | random)
    }

    /// The tenant that owns what nobody else does.
    pub fn default_tenant() -> Self {
        Self::of_bits(Kind::Tenant, 0)
    }

    /// The identity that follows from a name, for rows that the configuration has: the same at every start, and older than all others.
    pub fn of_name(kind: Kind, name: &str) -> Self {
        let mut bits = 0_u128;
        for byte in crate::sha256(name.as_bytes()).0.into_iter().take(10) {
            bits = (bits << 8) | u128::from(byte);
        }
        Self::of_bits(kind, bits)
    }

    fn of_bits(kind: Kind, bits: u128) -> Self {
        let character = |at: u32| {
            let five = u8::try_from((bits >> (5 * at)) & 31).unwrap_or(0);
            char::from(ALPHABET[usize::from(five)])
        };
        let mut text = String::with_capacity(kind.prefix().len() + ID_CHARS);
        text.push_str(kind.prefix());
        text.extend((0..26).rev().map(character));
        Self(text)
    }

    /// Reads an identity of this kind; `None` for any other text.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(kind.prefix())?;
        let is_one = rest.len() == ID_CHARS && rest.bytes().all(|byte| ALPHABET.contains(&byte));
        is_one.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the prefix.
    pub(crate) fn characters(&self) -> &str {
        self.0.split_once('_').map_or("", |(_, rest)| rest)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_sort_by_age_and_are_read_back() {
        let at = |ms| Id::draw(Kind::Stream, UnixMillis(ms));
        assert!(at(1) < at(2) && at(1_999_999_999_999) < at(2_000_000_000_000));
        assert_ne!(at(7), at(7));
        let id = at(1_800_000_000_000);
        assert_eq!((id.as_str().len(), Id::parse(Kind::Stream, id.as_str())), (30, Some(id.clone())));
        assert_eq!(Id::default_tenant().as_str(), "ten_00000000000000000000000000");
        for other in [
            "",
            "str_",
            "str_0",
            "ten_00000000000000000000000000",
            "str_0000000000000000000000000u",
            "str_0000000000000000000000000A",
        ] {
            assert_eq!(Id::parse(Kind::Stream, other), None, "{other}");
        }
    }
}
