//! Rows on who may watch: visibility, keys that verify viewer tokens, and tokens that were taken back. What they say of a request is
//! the `access` crate's business. Pure.

use std::fmt;

use media::{StreamId, UnixMillis};
use seal::Refusal;
use seal::wire::{Reader, Writer};
use sha2::{Digest as _, Sha256};

use crate::limits::{ISSUER_BYTES_MAX, TENANT_BYTES_MAX};

/// Who may watch a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Everybody; lists show it.
    #[default]
    Public,
    /// Whoever has its name; lists do not show it.
    Unlisted,
    /// Members of its tenant, by the tokens that they get.
    Members,
    /// Whoever has a token.
    Token,
}

impl Visibility {
    pub const ALL: [Self; 4] = [Self::Public, Self::Unlisted, Self::Members, Self::Token];

    /// Its name in configuration, in the API and in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Members => "members",
            Self::Token => "token",
        }
    }

    /// The visibility of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.name() == name)
    }

    /// Its number in a row; public is said by absence, so that rows of before are what they were.
    pub(crate) const fn number(self) -> Option<u64> {
        match self {
            Self::Public => None,
            Self::Unlisted => Some(1),
            Self::Members => Some(2),
            Self::Token => Some(3),
        }
    }

    pub(crate) fn of_number(number: u64) -> Result<Self, Refusal> {
        let found = Self::ALL.into_iter().find(|visibility| visibility.number() == Some(number));
        found.ok_or_else(|| Refusal::implausible(format!("visibility {number}")))
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a viewer token names its key by: the first bytes of the SHA-256 of the public key. Short, because it stands in every URL; a log
/// has no two keys with one id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKeyId(pub [u8; 4]);

impl TokenKeyId {
    /// The id of a public key.
    pub fn of(public: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = sha256(&[public]);
        Self([a, b, c, d])
    }
}

/// Identity of a viewer token: random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 8]);

/// A viewer, whom the log does not name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerDigest(pub [u8; 16]);

impl TokenId {
    /// What revocations of a tenant name a token by: none of them concerns a token of another tenant that happens to have the same id.
    pub fn within(self, tenant: Option<&str>) -> Self {
        let Some(tenant) = tenant else { return self };
        let mut short = [0; 8];
        short.copy_from_slice(sha256(&[b"sealcast/token/", tenant.as_bytes(), b"/", &self.0]).split_at(8).0);
        Self(short)
    }

    /// The id of a token whose `jti` is a text: 16 hexadecimal digits as they are, and any other one by its digest.
    pub fn of_text(jti: &str) -> Self {
        let mut id = [0; 8];
        if hex::decode_to_slice(jti, &mut id).is_err() {
            id.copy_from_slice(sha256(&[b"sealcast/jti/", jti.as_bytes()]).split_at(8).0);
        }
        Self(id)
    }
}

impl ViewerDigest {
    /// The digest of the `sub` of a token of the tenant `default`.
    pub fn of(sub: &str) -> Self {
        Self::within(None, sub)
    }

    /// The digest of the `sub` of a tenant's token: tenants may call different people the same.
    pub fn within(tenant: Option<&str>, sub: &str) -> Self {
        let mut short = [0; 16];
        let digest = match tenant {
            None => sha256(&[b"sealcast/viewer/", sub.as_bytes()]),
            // No slug has a slash, so no two pairs have one form.
            Some(tenant) => sha256(&[b"sealcast/viewer-of/", tenant.as_bytes(), b"/", sub.as_bytes()]),
        };
        short.copy_from_slice(digest.split_at(16).0);
        Self(short)
    }
}

fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    hash.finalize().into()
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
hexadecimal!(TokenKeyId, TokenId, ViewerDigest);

/// A public key by which nodes verify viewer tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Ed25519.
    pub key: [u8; 32],
    pub from: UnixMillis,
    pub until: UnixMillis,
    /// Slug of the tenant whose streams its tokens open; `None` for the tenant `default`.
    pub tenant: Option<String>,
}

impl Verifier {
    /// What tokens name the key by.
    pub fn id(&self) -> TokenKeyId {
        TokenKeyId::of(&self.key)
    }
}

/// Whose tokens (JWT) count, for what, and by which keys: an issuer, or a key that a tenant has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// Its identity in the catalogue.
    pub id: String,
    /// Slug of the tenant whose streams its tokens concern; `None` for the tenant `default`.
    pub tenant: Option<String>,
    /// Settings and public keys in JSON, as the crate `issuers` reads them; a reader that does not understand them takes no token by them.
    pub document: String,
}

pub(crate) fn tenant(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let slug = r.text()?;
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if slug.is_empty() || slug.len() > TENANT_BYTES_MAX || !slug.bytes().all(is_one) {
        return Err(Refusal::implausible(format!("tenant {slug:.80?}")));
    }
    Ok(slug.to_owned())
}

pub(crate) fn document(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let document = r.text()?;
    if document.len() > ISSUER_BYTES_MAX {
        return Err(Refusal::implausible("an issuer with too many settings or keys"));
    }
    Ok(document.to_owned())
}

/// The one use of a verifier that there is: viewer tokens, by Ed25519.
const USE_VIEW_ED25519: u64 = 1;

pub(crate) fn write_use(w: &mut Writer) {
    w.uint(USE_VIEW_ED25519);
}

pub(crate) fn read_use(r: &mut Reader<'_>) -> Result<u64, Refusal> {
    r.uint()
}

/// Whether a verifier's use is one that this version knows; another one is [`crate::Body::NotUnderstood`].
pub(crate) const fn is_known_use(number: u64) -> bool {
    number == USE_VIEW_ED25519
}

/// Viewer tokens that do not count any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRevocation {
    pub tokens: RevokedTokens,
    /// When the longest of these tokens has ended: control then removes the row.
    pub until: UnixMillis,
}

/// Which tokens are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedTokens {
    /// One.
    Token(TokenId),
    /// Those of a viewer, up to a version.
    Viewer { viewer: ViewerDigest, up_to_ver: u64 },
    /// All for a stream whose `nbf` is at this second or before.
    Stream { stream: StreamId, up_to_nbf_s: u64 },
}

impl RevokedTokens {
    /// What tells the revocation from others.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Token(id) => format!("token/{id}"),
            Self::Viewer { viewer, .. } => format!("viewer/{viewer}"),
            Self::Stream { stream, .. } => format!("stream/{stream}"),
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Token(id) => _ = w.array(2).uint(0).bytes(&id.0),
            Self::Viewer { viewer, up_to_ver } => _ = w.array(3).uint(1).bytes(&viewer.0).uint(*up_to_ver),
            Self::Stream { stream, up_to_nbf_s } => _ = w.array(3).uint(2).text(stream.as_str()).uint(*up_to_nbf_s),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Refusal> {
        let length = r.array(3)?;
        match (r.uint()?, length) {
            (0, 2) => Ok(Self::Token(TokenId(r.bytes_of()?))),
            (1, 3) => Ok(Self::Viewer { viewer: ViewerDigest(r.bytes_of()?), up_to_ver: r.uint()? }),
            (2, 3) => Ok(Self::Stream { stream: r.stream()?, up_to_nbf_s: r.uint()? }),
            (other, _) => Err(Refusal::implausible(format!("revocation of tokens of kind {other}"))),
        }
    }
}
