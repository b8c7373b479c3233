//! The decision on one request. Pure.

use std::fmt;
use std::time::Duration;

use media::{StreamId, UnixMillis};

use crate::origin::AllowedOrigin;
use crate::token::{Invalid, Verified};
use crate::{Rules, Visibility};

/// How far the clock of whoever made a key or a token may be ahead: clocks that are 30 s apart pass, and 90 s do not.
pub(crate) const AHEAD_MAX: Duration = Duration::from_secs(60);

/// What a route is to the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing of a stream: the page and its files, lists of public streams, what the cluster says to everybody.
    Open,
    /// A multivariant playlist: a viewer begins with it.
    Admission,
    /// Anything else of a stream.
    Stream,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub class: Class,
    /// The stream that it is about; `None` when there can be no such stream.
    pub stream: Option<&'a StreamId>,
    /// What came of its token; `None` when it has none.
    pub token: Option<Result<&'a Verified, Invalid>>,
    /// The `Origin` header, as it came.
    pub origin: Option<&'a str>,
    pub at: UnixMillis,
}

/// Why a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody may have it.
    Everybody,
    /// The holder of the token may have it.
    Holder(OriginUse),
}

/// What the origin of the request was to its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginUse {
    /// The token names none.
    Free,
    /// One that the token names.
    Listed,
    /// None, or another: what the token is not strict about.
    Other,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing for whoever has no token.
    Absent,
    Invalid(Invalid),
    Expired,
    /// It may go on and not begin.
    AdmissionOver,
    Revoked,
    /// Another cluster, another stream, or no stream at all.
    Elsewhere,
    Origin,
    /// As many viewers as it allows watch with it already.
    TooMany,
}

impl Refusal {
    /// The status of the answer. Never 401: players do not come back from it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Absent => 404,
            _ => 403,
        }
    }

    /// The problem's type, the last segment of its URI (RFC 9457).
    pub const fn problem(self) -> &'static str {
        match self {
            Self::Absent => "not-found",
            Self::Expired | Self::AdmissionOver | Self::Invalid(Invalid::Expired) => "token-expired",
            Self::Invalid(_) => "token-invalid",
            Self::Revoked => "token-revoked",
            Self::Elsewhere => "token-elsewhere",
            Self::Origin => "origin-refused",
            Self::TooMany => "quota",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "there is nothing at this URL",
            Self::Invalid(why) => return why.fmt(f),
            Self::Expired => "the token has ended: get a new one where this one came from",
            Self::AdmissionOver => {
                "the token does not let anybody begin any more: get a new one where this one came from"
            }
            Self::Revoked => "the token was taken back",
            Self::Elsewhere => "the token is not for this",
            Self::Origin => "the token is not for the site that asks",
            Self::TooMany => "as many viewers as the token allows watch with it already",
        })
    }
}

impl Rules {
    /// The decision. What is wrong with a token is said before the stream is looked at, so a refusal does not tell which streams there are.
    ///
    /// # Errors
    /// With the refusal.
    pub fn decide(&self, ask: &Ask<'_>) -> Result<Allowed, Refusal> {
        let Some(token) = ask.token else {
            return match (ask.class, ask.stream) {
                (Class::Open, _) => Ok(Allowed::Everybody),
                (_, Some(stream)) if self.is_for_everybody(stream) => Ok(Allowed::Everybody),
                _ => Err(Refusal::Absent),
            };
        };
        let token = token.map_err(Refusal::Invalid)?;
        self.check(token, ask.at)?;
        let stream = ask.stream.filter(|_| ask.class != Class::Open).ok_or(Refusal::Elsewhere)?;
        // A token for all streams is one for those of its tenant.
        if token.tenant() != self.owner(stream) || !token.claims.streams.contains(stream) {
            return Err(Refusal::Elsewhere);
        }
        if self.is_stream_revoked(stream, token) {
            return Err(Refusal::Revoked);
        }
        let now = seconds(ask.at);
        if ask.class == Class::Admission && token.claims.admit_by.is_some_and(|by| now >= by) {
            return Err(Refusal::AdmissionOver);
        }
        origin(ask, token).map(Allowed::Holder)
    }

    /// Whether a token counts now, for whatever it is.
    fn check(&self, token: &Verified, at: UnixMillis) -> Result<(), Refusal> {
        let claims = &token.claims;
        if !self.has_key(token, at) {
            return Err(Refusal::Invalid(Invalid::UnknownKey));
        }
        if claims.aud != self.audience() {
            return Err(Refusal::Elsewhere);
        }
        let now = seconds(at);
        if now >= claims.exp {
            return Err(Refusal::Expired);
        }
        if now.saturating_add(AHEAD_MAX.as_secs()) < claims.nbf {
            return Err(Refusal::Invalid(Invalid::NotYet));
        }
        if self.is_token_revoked(token) { Err(Refusal::Revoked) } else { Ok(()) }
    }

    fn is_for_everybody(&self, stream: &StreamId) -> bool {
        matches!(self.visibility(stream), Visibility::Public | Visibility::Unlisted)
    }
}

pub(crate) fn seconds(at: UnixMillis) -> u64 {
    u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0)
}

/// A token that is not strict binds pages where they begin, and players that name no origin nowhere. A strict one binds every request.
fn origin(ask: &Ask<'_>, token: &Verified) -> Result<OriginUse, Refusal> {
    let claims = &token.claims;
    if claims.origins.is_empty() {
        return Ok(OriginUse::Free);
    }
    match ask.origin {
        Some(origin) if AllowedOrigin::is_one_of(&claims.origins, origin) => Ok(OriginUse::Listed),
        Some(_) if claims.strict || ask.class == Class::Admission => Err(Refusal::Origin),
        None if claims.strict => Err(Refusal::Origin),
        _ => Ok(OriginUse::Other),
    }
}

#[cfg(test)]
mod tests;
