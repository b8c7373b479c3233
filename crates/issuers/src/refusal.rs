//! Why a token is refused. The texts are for whoever sent the token, and may repeat its claims; a log gets [`Refusal::label`] only. Pure.

use media::UnixMillis;

use crate::algorithm::Algorithm;
use crate::limits::TOKEN_BYTES_MAX;
use crate::settings::Role;

/// Most characters of a claim that are repeated to its sender.
const SHOWN_CHARS_MAX: usize = 80;

/// Why a token is not good, or not good for this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("This token has {0} characters, and at most {TOKEN_BYTES_MAX} are taken.")]
    TooLong(usize),
    /// Clients cut what is too long for them: then the rest of the token is missing.
    #[error(
        "This token ends early: {0} characters came. Programs cut long keys; give this one a shorter token, or a stream key."
    )]
    Cut(usize),
    #[error("This is no token: {0}.")]
    Malformed(&'static str),
    /// Decided by what the issuer and the key are for; the signature was not looked at.
    #[error("The token is signed by {got}, and this issuer's tokens have to be signed by {expected}.")]
    Algorithm { got: String, expected: String },
    #[error("The token's claim {name} {problem}.")]
    Claim { name: &'static str, problem: &'static str },
    #[error("The token is an ID token or a refresh token: send an access token.")]
    Kind,
    /// Nobody here knows any issuer.
    #[error("No issuer and no key is registered here that could have signed this token.")]
    NoIssuer,
    #[error("The token comes from issuer {got}, and expected is {expected}.")]
    Issuer { got: String, expected: String },
    #[error("The token is for {got}, and expected is {expected} as aud or azp.")]
    Audience { got: String, expected: String },
    #[error("The token expired at {at}; here it is {now}.{clock}")]
    Expired { at: UnixMillis, now: UnixMillis, clock: String },
    #[error("The token counts from {at} on; here it is {now}.{clock}")]
    NotYet { at: UnixMillis, now: UnixMillis, clock: String },
    #[error("The issuer has no such key: the token names another one, or none.")]
    NoKey,
    #[error("The token names no key, and the issuer has too many to try.")]
    KeyNotNamed,
    #[error("The signature of the token is wrong.")]
    Signature,
    /// Not the token's fault: it may be good.
    #[error("The keys of the issuer are not known now: {0}. Try again in a moment.")]
    KeysAway(String),
    /// Not the token's fault: too many others wait for keys.
    #[error("Too many tokens wait for the issuer's keys: try again in a moment.")]
    Busy,
    #[error("No rule gives this token a role.")]
    NoRole,
    #[error("The token gives the role {}, and this needs {}.", has.name(), needs.name())]
    Role { has: Role, needs: Role },
    #[error("The token's claim {0} names no streams.")]
    NoStreams(String),
    #[error("The token names other streams.")]
    OtherStreams,
    #[error("The token names several streams: send the key as NAME?token=TOKEN.")]
    SeveralStreams,
}

impl Refusal {
    /// The reason in one word, for metrics and logs: it holds nothing of the token.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "token_too_long",
            Self::Cut(_) => "token_cut",
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm { .. } => "token_algorithm",
            Self::Claim { .. } => "token_claim",
            Self::Kind => "token_kind",
            Self::NoIssuer | Self::Issuer { .. } => "token_issuer",
            Self::Audience { .. } => "token_audience",
            Self::Expired { .. } => "token_expired",
            Self::NotYet { .. } => "token_not_yet",
            Self::NoKey | Self::KeyNotNamed => "token_key",
            Self::Signature => "token_signature",
            Self::KeysAway(_) => "token_keys_away",
            Self::Busy => "token_keys_busy",
            Self::NoRole | Self::Role { .. } => "token_role",
            Self::NoStreams(_) | Self::OtherStreams | Self::SeveralStreams => "token_streams",
        }
    }

    /// Whether the same token may be taken a moment later.
    pub const fn may_pass_later(&self) -> bool {
        matches!(self, Self::KeysAway(_) | Self::Busy | Self::NotYet { .. })
    }

    /// Whether it says only that the token is another issuer's, or signed by another key.
    pub(crate) const fn is_vague(&self) -> bool {
        matches!(
            self,
            Self::NoIssuer | Self::Issuer { .. } | Self::Audience { .. } | Self::NoKey | Self::Algorithm { .. }
        )
    }

    pub(crate) fn issuer<'u>(got: &str, expected: impl IntoIterator<Item = &'u str>) -> Self {
        let urls: Vec<_> = expected.into_iter().map(shown).collect();
        let expected = if urls.is_empty() { "none".to_owned() } else { urls.join(" or ") };
        Self::Issuer { got: shown(got), expected }
    }

    pub(crate) fn algorithm(got: &str, expected: &[Algorithm]) -> Self {
        let names: Vec<_> = expected.iter().map(|algorithm| algorithm.name()).collect();
        Self::Algorithm { got: shown(got), expected: names.join(" or ") }
    }

    pub(crate) fn audience(got: &[String], authorized_party: Option<&str>, expected: &[String]) -> Self {
        let quoted = |texts: &[String]| texts.iter().take(5).map(|text| shown(text)).collect::<Vec<_>>().join(", ");
        let of_party = authorized_party.map(|party| format!(" (azp {})", shown(party))).unwrap_or_default();
        let got = if got.is_empty() { "nobody".to_owned() } else { quoted(got) };
        Self::Audience { got: format!("{got}{of_party}"), expected: quoted(expected) }
    }
}

/// A claim as its sender reads it: quoted, without control characters, and not too long.
pub(crate) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
}
