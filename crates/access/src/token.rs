//! Viewer tokens: a CWT (RFC 8392) in an untagged `COSE_Sign1` (RFC 9052) with Ed25519, as base64url after `scv_`; short, because it
//! stands in every URL of a viewer.
//!
//! One header is valid and one encoding of the claims, so that a token has one spelling. `coset`, which reads leniently, is the oracle of
//! the tests. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use media::{ClusterId, StreamId, UnixMillis};
use metadata::{TokenId, TokenKeyId, ViewerDigest};
use seal::wire::{Reader, Writer};
use sha2::{Digest as _, Sha256};

use crate::origin::{AllowedOrigin, DIGEST_BYTES};
use crate::{TokenKey, VerifyingKey};

/// What every viewer token begins with, so that people and scanners of secrets recognise it.
pub const PREFIX: &str = "scv_";
/// Longest token in characters, prefix included: players and proxies cut long URLs.
pub const TOKEN_CHARS_MAX: usize = 200;
/// What a token of an issuer or of a registered key begins with (JWS, RFC 7515): `{"` in base64url.
pub const JWS_PREFIX: &str = "eyJ";
/// Longest such token in characters: with the path, the URL stays below 2,048.
pub const JWS_CHARS_MAX: usize = 1_500;
/// Longest life of a token in seconds, so that a revocation may be forgotten after it.
pub const LIFE_S_MAX: u64 = 86_400;
/// Longest leeway of an issuer in seconds, which its tokens live on for.
const LEEWAY_S_MAX: u64 = 60;
/// Most streams that a token names; its length allows some five short names.
pub const STREAMS_MAX: usize = 16;
/// The same of a token of an issuer.
pub const JWS_STREAMS_MAX: usize = 100;
/// Most origins that a token names.
pub const ORIGINS_MAX: usize = 8;
/// Longest `sub` in bytes.
pub const SUB_BYTES_MAX: usize = 64;
/// Longest name that stands in a token as it is; a longer one stands there as a digest of as many bytes.
const IN_FULL_BYTES_MAX: usize = 16;

/// Array of 4; byte string of 9: map of 2: alg (1) is EdDSA (-8), kid (4) is a byte string of 4, which follows.
const HEAD: [u8; 7] = [0x84, 0x49, 0xa2, 0x01, 0x27, 0x04, 0x44];
/// The empty map: no unprotected header.
const UNPROTECTED: [u8; 1] = [0xa0];
/// Head of a byte string of 64.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];
const SIGNATURE_BYTES: usize = 64;

/// Keys of claims (RFC 8392, 4), in their order, and the one private claim, which holds ours.
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const CTI: i64 = 7;
const OURS: i64 = -65_537;

/// Why something is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a token has at most {TOKEN_CHARS_MAX} characters")]
    TooLong,
    #[error("a token begins with {PREFIX}")]
    Prefix,
    #[error("the token is not base64url: it was cut short or changed")]
    Base64,
    #[error("the token is no COSE_Sign1 with EdDSA and a kid of 4 bytes")]
    Envelope,
    #[error(
        "a token of an issuer has at most {JWS_CHARS_MAX} characters here: give it fewer claims, or get a viewer token for it"
    )]
    JwsTooLong,
    #[error("the token's claim {name} {problem}")]
    Claim { name: &'static str, problem: &'static str },
    #[error("the token is not good for watching: {0}")]
    Foreign(&'static str),
    #[error("no key of this cluster has signed the token")]
    UnknownKey,
    #[error("the token's signature is wrong: it was changed")]
    Signature,
    #[error("the token's claims are not the one encoding of what they say")]
    Claims,
    #[error("the token's times make no sense, or it lives for longer than a day")]
    Times,
    /// Found where the signature is verified.
    #[error("the token has ended: get a new one where this one came from")]
    Expired,
    #[error("the token is not valid yet: a clock is wrong")]
    NotYet,
}

/// A stream that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By its name of up to 16 bytes.
    Name(StreamId),
    /// By the first 16 bytes of the SHA-256 of a longer name.
    Digest([u8; IN_FULL_BYTES_MAX]),
}

impl From<&StreamId> for Named {
    fn from(stream: &StreamId) -> Self {
        if stream.as_str().len() <= IN_FULL_BYTES_MAX {
            return Self::Name(stream.clone());
        }
        Self::Digest(short_digest(stream.as_str()))
    }
}

fn short_digest(text: &str) -> [u8; IN_FULL_BYTES_MAX] {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut short = [0; IN_FULL_BYTES_MAX];
    short.copy_from_slice(digest.split_at(IN_FULL_BYTES_MAX).0);
    short
}

/// Which streams a token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Streams {
    /// All of the tenant whose key it is.
    All,
    /// These, 1 to [`STREAMS_MAX`].
    Some(Vec<Named>),
}

impl Streams {
    /// Whether a stream is among them.
    pub fn contains(&self, stream: &StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Some(named) => {
                let wanted = Named::from(stream);
                named.contains(&wanted)
            }
        }
    }
}

/// What a token says. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The viewer, as the tenant calls it: opaque here. 1 to [`SUB_BYTES_MAX`] bytes without control characters.
    pub sub: Option<String>,
    /// The cluster, as [`audience`] spells it.
    pub aud: String,
    /// First second after which it is no token any more.
    pub exp: u64,
    /// First second in which it is one.
    pub nbf: u64,
    /// What tells it from all others.
    pub jti: TokenId,
    pub streams: Streams,
    /// Until when a viewer may begin, with a multivariant playlist. Who watches goes on until `exp`.
    pub admit_by: Option<u64>,
    /// Rises when the tenant takes back all earlier tokens of the viewer.
    pub ver: u64,
    /// Sites whose pages may use it; empty for all.
    pub origins: Vec<AllowedOrigin>,
    /// Every request has to come from such a site, and say so.
    pub strict: bool,
    /// Viewers at once, by their addresses; each node counts its own.
    pub max_viewers: Option<u64>,
    /// May write in the chat, when there is one.
    pub chat: bool,
}

/// How a cluster is named in `aud`: by its name, or, where that is long, by `#` and a digest, which no name is.
pub fn audience(cluster: &ClusterId) -> String {
    if cluster.as_str().len() <= IN_FULL_BYTES_MAX {
        return cluster.to_string();
    }
    let [digest @ .., _, _, _, _] = short_digest(cluster.as_str());
    format!("#{}", URL_SAFE_NO_PAD.encode(digest))
}

/// Why a token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    #[error(
        "the token would have {0} characters, and {TOKEN_CHARS_MAX} are the most: name fewer streams or origins, or a shorter viewer"
    )]
    TooLong(usize),
    #[error("the claims cannot stand in a token: {0}")]
    Claims(&'static str),
}

impl Claims {
    /// Makes the token.
    ///
    /// # Errors
    /// When it would be too long, or a reader would refuse the claims.
    pub fn sign(&self, key: &TokenKey) -> Result<String, NotMade> {
        self.check().map_err(NotMade::Claims)?;
        let payload = self.encode();
        let signature = key.sign(&to_be_signed(key.id(), &[], &payload));
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope(key.id(), &payload, &signature)));
        if text.len() > TOKEN_CHARS_MAX { Err(NotMade::TooLong(text.len())) } else { Ok(text) }
    }

    /// What is wrong with the claims, whoever signed them.
    fn check(&self) -> Result<(), &'static str> {
        self.check_within(LIFE_S_MAX, STREAMS_MAX)
    }

    fn check_within(&self, life_s_max: u64, streams_max: usize) -> Result<(), &'static str> {
        let is_short = |text: &str, max| (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
        let admits = self.admit_by.is_none_or(|by| (self.nbf..=self.exp).contains(&by));
        let few = match &self.streams {
            Streams::All => true,
            Streams::Some(named) => (1..=streams_max).contains(&named.len()),
        };
        match () {
            () if self.sub.as_deref().is_some_and(|sub| !is_short(sub, SUB_BYTES_MAX)) => Err("sub: 1 to 64 bytes"),
            () if !is_short(&self.aud, SUB_BYTES_MAX) => Err("aud: the cluster"),
            () if self.exp <= self.nbf || self.exp - self.nbf > life_s_max => Err("exp: within a day after nbf"),
            () if !admits => Err("admit_by: between nbf and exp"),
            () if !few => Err("streams: 1 to 16, or *"),
            () if self.origins.len() > ORIGINS_MAX => Err("origins: at most 8"),
            () if self.strict && self.origins.is_empty() => Err("strict: name the origins"),
            () if self.max_viewers == Some(0) => Err("max_viewers: at least 1"),
            () => Ok(()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(128);
        w.map(5 + u64::from(self.sub.is_some()));
        if let Some(sub) = &self.sub {
            w.int(SUB).text(sub);
        }
        w.int(AUD).text(&self.aud).int(EXP).uint(self.exp).int(NBF).uint(self.nbf).int(CTI).bytes(&self.jti.0);
        w.int(OURS);
        self.encode_ours(&mut w);
        w.finish()
    }

    fn encode_ours(&self, w: &mut Writer) {
        let there = [
            self.admit_by.is_some(),
            self.ver > 0,
            !self.origins.is_empty(),
            self.strict,
            self.max_viewers.is_some(),
            self.chat,
        ];
        w.map(1 + there.iter().map(|is_there| u64::from(*is_there)).sum::<u64>()).uint(1);
        match &self.streams {
            Streams::All => _ = w.array(1).text("*"),
            Streams::Some(named) => {
                w.array(named.len());
                for one in named {
                    match one {
                        Named::Name(name) => w.text(name.as_str()),
                        Named::Digest(digest) => w.bytes(digest),
                    };
                }
            }
        }
        if let Some(by) = self.admit_by {
            w.uint(2).uint(by);
        }
        if self.ver > 0 {
            w.uint(3).uint(self.ver);
        }
        if !self.origins.is_empty() {
            w.uint(4).array(self.origins.len());
            self.origins.iter().for_each(|origin| _ = w.bytes(&origin.0));
        }
        if self.strict {
            w.uint(5).bool(true);
        }
        if let Some(viewers) = self.max_viewers {
            w.uint(6).uint(viewers);
        }
        if self.chat {
            w.uint(7).bool(true);
        }
    }

    /// Reads claims, whoever wrote them. Another encoding of what they say is refused.
    fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let claims = Self::read(&mut Reader::new(bytes)).map_err(|_| Invalid::Claims)?;
        if claims.encode() != bytes {
            return Err(Invalid::Claims);
        }
        if claims.exp <= claims.nbf || claims.exp - claims.nbf > LIFE_S_MAX {
            return Err(Invalid::Times);
        }
        claims.check().map_err(|_| Invalid::Claims)?;
        Ok(claims)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, seal::Refusal> {
        let has_sub = r.map_of(5, 6)? == 6;
        let sub = if has_sub { Some(key(r, SUB)?.text()?.to_owned()) } else { None };
        let mut claims = Self {
            sub,
            aud: key(r, AUD)?.text()?.to_owned(),
            exp: key(r, EXP)?.uint()?,
            nbf: key(r, NBF)?.uint()?,
            jti: TokenId(key(r, CTI)?.bytes_of()?),
            streams: Streams::All,
            admit_by: None,
            ver: 0,
            origins: Vec::new(),
            strict: false,
            max_viewers: None,
            chat: false,
        };
        let ours = key(r, OURS)?.map_of(1, 7)?;
        claims.streams = streams(r.key(1)?)?;
        // Order and repetition show when what was read is encoded again.
        for _ in 1..ours {
            match r.uint()? {
                2 => claims.admit_by = Some(r.uint()?),
                3 => claims.ver = r.uint()?,
                4 => claims.origins = r.list(ORIGINS_MAX, |r| r.bytes_of::<DIGEST_BYTES>().map(AllowedOrigin))?,
                5 => claims.strict = r.bool()?,
                6 => claims.max_viewers = Some(r.uint()?),
                7 => claims.chat = r.bool()?,
                other => return Err(seal::Refusal::malformed(format!("claim {other}"))),
            }
        }
        Ok(claims)
    }
}

fn key<'r, 'b>(r: &'r mut Reader<'b>, expected: i64) -> Result<&'r mut Reader<'b>, seal::Refusal> {
    match r.int()? {
        found if found == expected => Ok(r),
        found => Err(seal::Refusal::malformed(format!("claim {found}, {expected} expected"))),
    }
}

fn streams(r: &mut Reader<'_>) -> Result<Streams, seal::Refusal> {
    let named = r.list(STREAMS_MAX, |r| {
        let value = r.value()?;
        match Reader::new(value).text() {
            // A long name has another form.
            Ok(text) => {
                let name = StreamId::new(text).ok().filter(|name| name.as_str().len() <= IN_FULL_BYTES_MAX);
                Ok((text == "*", name.map(Named::Name)))
            }
            Err(_) => Reader::new(value).bytes_of().map(|digest| (false, Some(Named::Digest(digest)))),
        }
    })?;
    match named.as_slice() {
        [(true, _)] => Ok(Streams::All),
        [] => Err(seal::Refusal::malformed("no stream")),
        some => {
            let named: Option<Vec<Named>> = some.iter().map(|(_, named)| named.clone()).collect();
            named.map(Streams::Some).ok_or_else(|| seal::Refusal::malformed("no name of a stream"))
        }
    }
}

/// The bytes to sign: the `Sig_structure` (RFC 9052, 4.4). The external data say what kind of token it is; those of viewers have none.
pub(crate) fn to_be_signed(key: TokenKeyId, external: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut protected = HEAD.split_at(2).1.to_vec();
    protected.extend_from_slice(&key.0);
    let mut w = Writer::with_capacity(payload.len().saturating_add(32));
    w.array(4).text("Signature1").bytes(&protected).bytes(external).bytes(payload);
    w.finish()
}

pub(crate) fn envelope(key: TokenKeyId, payload: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(&UNPROTECTED);
    let mut w = Writer::with_capacity(payload.len().saturating_add(SIGNATURE_BYTES + 4));
    w.bytes(payload).bytes(signature);
    bytes.extend_from_slice(&w.finish());
    bytes
}

/// The parts of an envelope: key, payload, signature.
pub(crate) fn opened(bytes: &[u8]) -> Option<(TokenKeyId, &[u8], &[u8; SIGNATURE_BYTES])> {
    let (key, rest) = bytes.strip_prefix(&HEAD)?.split_first_chunk::<4>()?;
    let (rest, signature) = rest.strip_prefix(&UNPROTECTED)?.split_last_chunk::<SIGNATURE_BYTES>()?;
    let rest = rest.strip_suffix(&SIGNATURE_HEAD)?;
    let mut reader = Reader::new(rest);
    let payload = reader.bytes().ok().filter(|_| reader.is_done())?;
    let key = TokenKeyId(*key);
    // The length of the payload may be spelled in more than one way.
    (envelope(key, payload, signature) == bytes).then_some((key, payload, signature))
}

/// What verified a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signed {
    /// A key of control's.
    Key { id: TokenKeyId, public: [u8; 32] },
    /// What [`crate::Facts::signers`] has.
    Elsewhere([u8; 32]),
}

/// A token whose signature is right. Whether it counts now, and for what, is for [`crate::Rules::decide`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub claims: Claims,
    /// What verified it.
    pub(crate) signed: Signed,
    /// Slug of the tenant whose streams it opens; `None` for the tenant `default`.
    pub(crate) tenant: Option<String>,
    /// What revocations name the viewer by.
    pub viewer: Option<ViewerDigest>,
}

impl Verified {
    /// Verifies a token with the key that it names, as `find` knows it.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read<'k>(text: &str, find: impl FnOnce(TokenKeyId) -> Option<&'k VerifyingKey>) -> Result<Self, Invalid> {
        if text.len() > TOKEN_CHARS_MAX {
            return Err(Invalid::TooLong);
        }
        let text = text.strip_prefix(PREFIX).ok_or(Invalid::Prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::Base64)?;
        let (key, payload, signature) = opened(&bytes).ok_or(Invalid::Envelope)?;
        let verifying = find(key).ok_or(Invalid::UnknownKey)?;
        if !verifying.verify(&to_be_signed(key, &[], payload), signature) {
            return Err(Invalid::Signature);
        }
        let claims = Claims::decode(payload)?;
        let (signed, tenant) = (Signed::Key { id: key, public: *verifying.public() }, verifying.tenant());
        Ok(Self::new(claims, signed, tenant.map(str::to_owned)))
    }

    /// A token of another form, which somebody else has verified: `signer` stands for whose it is, and counts while
    /// [`crate::Facts::signers`] has it.
    ///
    /// # Errors
    /// When such a token cannot be.
    pub fn elsewhere(claims: Claims, signer: [u8; 32], tenant: Option<String>) -> Result<Self, Invalid> {
        let checked = claims.check_within(LIFE_S_MAX + LEEWAY_S_MAX, JWS_STREAMS_MAX);
        checked.map_err(|_| Invalid::Claims)?;
        Ok(Self::new(claims, Signed::Elsewhere(signer), tenant))
    }

    fn new(claims: Claims, signed: Signed, tenant: Option<String>) -> Self {
        let viewer = claims.sub.as_deref().map(|sub| ViewerDigest::within(tenant.as_deref(), sub));
        Self { claims, signed, tenant, viewer }
    }

    /// Slug of the tenant whose streams it opens; `None` for the tenant `default`.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// When the token ends.
    pub fn ends(&self) -> UnixMillis {
        UnixMillis(i64::try_from(self.claims.exp.saturating_mul(1_000)).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests;
