//! Session tokens: what stands in the cookie of a person who is signed in. Control signs one for ten minutes, and every node verifies it by
//! itself, so people keep reading while control is away.
//!
//! The envelope is that of viewer tokens ([`crate::token`]), with keys of its own and other external data, so neither kind of token passes
//! for the other. One encoding of the claims is valid. Pure.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use media::{ClusterId, UnixMillis};
use metadata::{PersonDigest, SessionRow, SessionRule, SessionToken, TokenKeyId, View};
use seal::wire::{Reader, Writer};

use crate::decide::{AHEAD_MAX, seconds};
use crate::token::{audience, envelope, opened, to_be_signed};
use crate::{TokenKey, VerifyingKey};

/// What every session token begins with.
pub const PREFIX: &str = "scs_";
/// The cookie that holds it. With this prefix, browsers take it from this host alone, over TLS, for all paths.
pub const COOKIE: &str = "__Host-sealcast";
/// For how long nodes believe a token, in seconds.
pub const LIFE_S: u64 = 600;
/// Longest token in characters: eight tenants with long names, and room in a header of 4 KiB.
pub const TOKEN_CHARS_MAX: usize = 1_024;
/// Most tenants of a person that a token names.
pub const TENANTS_MAX: usize = 8;
/// Longest name of a tenant or identity of a member in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// External data of the signature: it is a session's.
const EXTERNAL: &[u8] = b"sealcast/session";
/// Form of the claims.
const FORM: u64 = 1;

/// What a member may do in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Producer,
    Owner,
    Operator,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Producer, Self::Owner, Self::Operator];

    /// Its name in the API and in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Producer => "producer",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    const fn number(self) -> u64 {
        match self {
            Self::Viewer => 0,
            Self::Producer => 1,
            Self::Owner => 2,
            Self::Operator => 3,
        }
    }
}

/// A tenant of a person, and what the person may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The tenant's slug.
    pub tenant: String,
    pub role: Role,
}

/// What a token says. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionClaims {
    /// The cluster, as [`audience`] spells it.
    pub aud: String,
    pub session: SessionToken,
    pub person: PersonDigest,
    /// When it was made.
    pub iat: u64,
    /// The person's tenants, 1 to [`TENANTS_MAX`]; the first is meant where the person names none.
    pub tenants: Vec<Membership>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the cookie is no session of Sealcast")]
    Form,
    #[error("no key of this cluster has signed the session")]
    UnknownKey,
    #[error("the session's signature is wrong")]
    Signature,
    #[error("the session is one of another cluster")]
    Elsewhere,
    #[error("the session begins in the future: a clock is wrong")]
    NotYet,
    /// Control makes a new token while the session lasts.
    #[error("the time of the session's token is over")]
    Expired,
    #[error("the session was ended")]
    Ended,
}

impl SessionClaims {
    /// First second in which nodes do not believe the token any more.
    pub const fn exp(&self) -> u64 {
        self.iat.saturating_add(LIFE_S)
    }

    /// Makes the token. `None` when a reader would refuse the claims, or it would be too long.
    pub fn sign(&self, key: &TokenKey) -> Option<String> {
        let payload = self.encode();
        Self::decode(&payload)?;
        let signature = key.sign(&to_be_signed(key.id(), EXTERNAL, &payload));
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope(key.id(), &payload, &signature)));
        (text.len() <= TOKEN_CHARS_MAX).then_some(text)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(128);
        w.array(6).uint(FORM).text(&self.aud).bytes(&self.session.0).bytes(&self.person.0).uint(self.iat);
        w.array(self.tenants.len());
        for one in &self.tenants {
            w.array(2).text(&one.tenant).uint(one.role.number());
        }
        w.finish()
    }

    /// Reads claims; another encoding of what they say is refused.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let claims = Self::read(&mut r).ok()?;
        let is_short = |text: &str| (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        let is_plain = is_short(&claims.aud) && claims.tenants.iter().all(|one| is_short(&one.tenant));
        (r.is_done() && is_plain && !claims.tenants.is_empty() && claims.encode() == bytes).then_some(claims)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, seal::Refusal> {
        r.array_of(6)?;
        if r.uint()? != FORM {
            return Err(seal::Refusal::malformed("another form of sessions"));
        }
        Ok(Self {
            aud: r.text()?.to_owned(),
            session: SessionToken(r.bytes_of()?),
            person: PersonDigest(r.bytes_of()?),
            iat: r.uint()?,
            tenants: r.list(TENANTS_MAX, |r| {
                r.array_of(2)?;
                let tenant = r.text()?.to_owned();
                let number = r.uint()?;
                let role = Role::ALL.into_iter().find(|role| role.number() == number);
                let role = role.ok_or_else(|| seal::Refusal::implausible(format!("role {number}")))?;
                Ok(Membership { tenant, role })
            })?,
        })
    }
}

/// A token whose signature is right. Whether it counts now is for [`SessionRules::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSession {
    pub claims: SessionClaims,
    key: TokenKeyId,
}

/// A key, and when it counts.
#[derive(Debug)]
struct Key {
    verifying: VerifyingKey,
    from: UnixMillis,
    until: UnixMillis,
}

/// What the metadata log says of sessions. The default believes no token.
#[derive(Debug, Default)]
pub struct SessionRules {
    audience: String,
    keys: HashMap<TokenKeyId, Key>,
    ended: HashSet<SessionToken>,
    persons: HashMap<PersonDigest, u64>,
    /// Tenants that are there, and the first second of tokens that can speak of them; `None` in a log of before tenants were in it.
    tenants: Option<HashMap<String, u64>>,
}

impl SessionRules {
    /// The rules of a log.
    pub fn of(view: &View<'_>, cluster: &ClusterId) -> Self {
        let tenants = view.tenants().map(|tenant| (tenant.slug.clone(), tenant.created_at)).collect();
        Self::from_rows(view.sessions(), cluster).within(tenants)
    }

    /// The same where these tenants are there, each since a time. What a token says of another one counts for nothing, also of one before
    /// it with the same name.
    fn within(self, tenants: Vec<(String, UnixMillis)>) -> Self {
        let tenants: HashMap<_, _> = tenants.into_iter().map(|(slug, at)| (slug, seconds(at))).collect();
        Self { tenants: (!tenants.is_empty()).then_some(tenants), ..self }
    }

    /// The rules that follow from rows.
    pub fn from_rows<'r>(rows: impl IntoIterator<Item = &'r SessionRow>, cluster: &ClusterId) -> Self {
        let mut rules = Self { audience: audience(cluster), ..Self::default() };
        for SessionRow { says, until } in rows {
            match says {
                SessionRule::Key { key, from } => {
                    // Control checks keys before it writes them; one that is none verifies nothing.
                    if let Ok(verifying) = VerifyingKey::new(key) {
                        rules.keys.insert(TokenKeyId::of(key), Key { verifying, from: *from, until: *until });
                    }
                }
                SessionRule::Ended(session) => _ = rules.ended.insert(*session),
                SessionRule::Person { person, up_to_s } => {
                    let known = rules.persons.entry(*person).or_default();
                    *known = (*known).max(*up_to_s);
                }
            }
        }
        rules
    }

    /// Verifies a token with the key that it names.
    ///
    /// # Errors
    /// When it is none, or no key of the log has signed it.
    pub fn verify(&self, text: &str) -> Result<VerifiedSession, Refused> {
        let text = text.strip_prefix(PREFIX).filter(|text| text.len() <= TOKEN_CHARS_MAX).ok_or(Refused::Form)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Form)?;
        let (key, payload, signature) = opened(&bytes).ok_or(Refused::Form)?;
        let known = self.keys.get(&key).ok_or(Refused::UnknownKey)?;
        if !known.verifying.verify(&to_be_signed(key, EXTERNAL, payload), signature) {
            return Err(Refused::Signature);
        }
        let claims = SessionClaims::decode(payload).ok_or(Refused::Form)?;
        if claims.aud != self.audience {
            return Err(Refused::Elsewhere);
        }
        Ok(VerifiedSession { claims, key })
    }

    /// Whether a token counts now.
    ///
    /// # Errors
    /// With the reason why not.
    pub fn check(&self, token: &VerifiedSession, at: UnixMillis) -> Result<(), Refused> {
        let (claims, now) = (&token.claims, seconds(at));
        let counts = |key: &Key| key.from <= at.plus(AHEAD_MAX) && at < key.until;
        if !self.keys.get(&token.key).is_some_and(counts) {
            return Err(Refused::UnknownKey);
        }
        if now.saturating_add(AHEAD_MAX.as_secs()) < claims.iat {
            return Err(Refused::NotYet);
        }
        let is_over = self.ended.contains(&claims.session);
        if is_over || self.persons.get(&claims.person).is_some_and(|up_to| claims.iat <= *up_to) {
            return Err(Refused::Ended);
        }
        if now >= claims.exp() { Err(Refused::Expired) } else { Ok(()) }
    }

    /// What a token says of tenants that are there.
    pub fn memberships(&self, claims: &SessionClaims) -> Vec<Membership> {
        let is_there = |one: &&Membership| match &self.tenants {
            None => true,
            Some(tenants) => tenants.get(&one.tenant).is_some_and(|first_s| *first_s <= claims.iat),
        };
        claims.tenants.iter().filter(is_there).cloned().collect()
    }

    /// Whether the log has this key.
    pub fn has_key(&self, id: TokenKeyId) -> bool {
        self.keys.contains_key(&id)
    }

    /// The first second of a person's new tokens: after those that were taken back.
    pub fn first_second(&self, person: &PersonDigest, now_s: u64) -> u64 {
        self.persons.get(person).map_or(now_s, |up_to| now_s.max(up_to.saturating_add(1)))
    }
}

/// The session tokens in a request's `Cookie` headers. A browser sends one; whoever can set cookies of another path or domain cannot set
/// this one.
pub fn from_cookies<'h>(headers: impl IntoIterator<Item = &'h str>) -> Option<&'h str> {
    let mut pairs = headers.into_iter().flat_map(|header| header.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests;
