//! Rows on people who are signed in: keys that verify their session tokens, and what was ended before its time. What a token says is the
//! `access` crate's business. Pure.

use std::fmt;

use media::UnixMillis;
use seal::Refusal;
use seal::wire::{Reader, Writer};
use sha2::{Digest as _, Sha256};

use crate::access::TokenKeyId;

/// Identity of a session: random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionToken(pub [u8; 16]);

/// A person, whom the log does not name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonDigest(pub [u8; 16]);

impl PersonDigest {
    /// The digest of what tells a person from others.
    pub fn of(person: &str) -> Self {
        let digest: [u8; 32] = Sha256::new_with_prefix(b"sealcast/person/").chain_update(person).finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(digest.split_at(16).0);
        Self(short)
    }
}

macro_rules! hexadecimal {
    ($($name:ident),*) => {
        $(
            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&hex::encode(self.0))
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($name), "({})"), self)
                }
            }
        )*
    };
}
hexadecimal!(SessionToken, PersonDigest);

/// What nodes have to know of sessions, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub says: SessionRule,
    /// When control removes the row: a key signs no more then, and what was ended would have ended by itself.
    pub until: UnixMillis,
}

/// What a row of sessions says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionRule {
    /// Tokens that this Ed25519 key has signed count from then on.
    Key { key: [u8; 32], from: UnixMillis },
    /// The session is over.
    Ended(SessionToken),
    /// A person's tokens count no more that were made in this second or before: what the person may do has changed.
    Person { person: PersonDigest, up_to_s: u64 },
}

impl SessionRow {
    /// What tells the row from others.
    pub(crate) fn name(&self) -> String {
        match &self.says {
            SessionRule::Key { key, .. } => format!("key/{}", TokenKeyId::of(key)),
            SessionRule::Ended(session) => format!("session/{session}"),
            SessionRule::Person { person, .. } => format!("person/{person}"),
        }
    }
}

impl SessionRule {
    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Key { key, from } => _ = w.array(3).uint(0).bytes(key).int(from.0),
            Self::Ended(session) => _ = w.array(2).uint(1).bytes(&session.0),
            Self::Person { person, up_to_s } => _ = w.array(3).uint(2).bytes(&person.0).uint(*up_to_s),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let length = r.array(3)?;
        match (r.uint()?, length) {
            (0, 3) => Ok(Self::Key { key: r.bytes_of()?, from: UnixMillis(r.int()?) }),
            (1, 2) => Ok(Self::Ended(SessionToken(r.bytes_of()?))),
            (2, 3) => Ok(Self::Person { person: PersonDigest(r.bytes_of()?), up_to_s: r.uint()? }),
            (other, _) => Err(Refusal::implausible(format!("row of sessions of kind {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, kind};

    #[test]
    fn rows_of_sessions_are_read_back_and_others_are_refused() {
        let until = UnixMillis(1_800_000_000_000);
        for (says, name) in [
            (SessionRule::Key { key: [7; 32], from: UnixMillis(-1) }, format!("key/{}", TokenKeyId::of(&[7; 32]))),
            (SessionRule::Ended(SessionToken([1; 16])), format!("session/{}", "01".repeat(16))),
            (
                SessionRule::Person { person: PersonDigest::of("name:ada"), up_to_s: 9 },
                format!("person/{}", PersonDigest::of("name:ada")),
            ),
        ] {
            let body = Body::Session(SessionRow { says, until });
            let bytes = body.encode();
            assert_eq!(Body::decode(kind::SESSION, &bytes).unwrap(), body);
            assert_eq!(body.name(), Some(name));
            for end in 0..bytes.len() {
                assert!(Body::decode(kind::SESSION, &bytes[..end]).is_err(), "{end} bytes");
            }
        }
        assert_ne!(PersonDigest::of("name:ada"), PersonDigest::of("name:bob"));
    }
}
