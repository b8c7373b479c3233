//! Viewer tokens that control did not make: those of a tenant's registered keys and issuers (JWS). Nodes that serve media take them to let
//! people watch, and control takes them in chats. All have the keys from the metadata log, so they ask nobody. Pure.

use std::collections::HashSet;

use access::token::{Claims, JWS_CHARS_MAX, Named, Streams};
use access::{AllowedOrigin, Invalid, Rules, Verified};
use media::UnixMillis;
use metadata::{TokenId, View};

use crate::decide;
use crate::known::Known;
use crate::refusal::Refusal;
use crate::settings::{Role, Use};
use crate::viewing::Viewing;

/// The issuers and registered keys whose tokens let people watch.
#[derive(Debug, Default)]
pub struct ForeignKeys(Vec<Known>);

/// The holder of such a token.
#[derive(Debug)]
pub struct ForeignViewer {
    pub verified: Verified,
    /// What people call it; untrusted, and as long as it came.
    pub name: Option<String>,
    /// What the issuer's rules make of it.
    pub role: Role,
}

impl ForeignKeys {
    /// Those that the metadata log has, and this version understands.
    pub fn of(view: &View<'_>) -> Self {
        let read = |row: &metadata::TokenIssuer| Known::read(&row.id, row.tenant.as_deref(), &row.document);
        Self::new(view.token_issuers().filter_map(read).collect())
    }

    /// Of all these, the ones for viewers.
    pub fn new(all: Vec<Known>) -> Self {
        Self(all.into_iter().filter(|known| known.is_for(Use::View)).collect())
    }

    /// What stands for each of their keys.
    pub fn signers(&self) -> HashSet<[u8; 32]> {
        self.0.iter().flat_map(Known::signers).map(|signer| signer.0).collect()
    }

    /// Verifies a token for a stream of this tenant: another tenant's issuer may be called the same, and has no say.
    ///
    /// # Errors
    /// With what is wrong with the token.
    pub fn verified(
        &self,
        text: &str,
        tenant: Option<&str>,
        (rules, now): (&Rules, UnixMillis),
    ) -> Result<ForeignViewer, Invalid> {
        if text.len() > JWS_CHARS_MAX {
            return Err(Invalid::JwsTooLong);
        }
        let of_tenant = self.0.iter().filter(|known| known.tenant.as_deref() == tenant);
        let viewing = Viewing::of(text, of_tenant, now).map_err(|refusal| invalid(&refusal))?;
        let origins = viewing.origins.iter().map(|origin| AllowedOrigin::parse(origin));
        let origins = origins.collect::<Result<Vec<_>, _>>().map_err(|_| Invalid::Claims)?;
        let claims = Claims {
            // Without one, its text tells it from others; then nobody can take it back by itself.
            jti: TokenId::of_text(viewing.id.as_deref().unwrap_or(text)),
            sub: viewing.subject,
            aud: rules.audience().to_owned(),
            exp: viewing.ends_s,
            nbf: viewing.begins_s,
            streams: match viewing.streams {
                decide::Streams::All => Streams::All,
                decide::Streams::These(names) => Streams::Some(names.iter().map(Named::from).collect()),
            },
            admit_by: viewing.admit_by_s,
            ver: viewing.ver,
            origins,
            strict: viewing.strict,
            max_viewers: viewing.max_viewers,
            chat: viewing.chat,
        };
        let verified = Verified::elsewhere(claims, viewing.signer.0, tenant.map(str::to_owned))?;
        Ok(ForeignViewer { verified, name: viewing.name, role: viewing.role })
    }
}

fn invalid(refusal: &Refusal) -> Invalid {
    match refusal {
        Refusal::Signature => Invalid::Signature,
        Refusal::NoIssuer | Refusal::NoKey | Refusal::KeyNotNamed | Refusal::Issuer { .. } => Invalid::UnknownKey,
        Refusal::NotYet { .. } => Invalid::NotYet,
        Refusal::Expired { .. } => Invalid::Expired,
        Refusal::Malformed(_) | Refusal::Cut(_) => Invalid::Envelope,
        Refusal::TooLong(_) => Invalid::JwsTooLong,
        Refusal::Claim { name, problem } => Invalid::Claim { name, problem },
        Refusal::Algorithm { .. } => Invalid::Foreign("it is signed by an algorithm that its key is not for"),
        Refusal::Kind => Invalid::Foreign("it is an ID token or a refresh token; use an access token"),
        Refusal::Audience { .. } => Invalid::Foreign("it is for somebody else, by its aud and azp"),
        Refusal::KeysAway(_) | Refusal::Busy => {
            Invalid::Foreign("the keys of its issuer are not known now; try again in a moment")
        }
        Refusal::NoRole | Refusal::Role { .. } => {
            Invalid::Foreign("no rule of its issuer gives it a role that watches")
        }
        Refusal::NoStreams(_) | Refusal::OtherStreams | Refusal::SeveralStreams => {
            Invalid::Foreign("it names no streams, or not as a list of names")
        }
    }
}
