//! `/viewer-tokens`: what lets people watch streams that are not for everybody. Nobody keeps tokens, so they are made and taken back only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::Edit;
use media::{NodeId, StreamId, UnixMillis};
use metadata::{RevokedTokens, TokenId};
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Change;
use super::body::{self, Settings};
use super::caller::{Call, Caller};
use super::problem::{Invalid, Problem};
use super::scopes::Scopes;
use crate::ControlState;
use crate::acknowledged::acknowledged;
use crate::nodes::viewers_base;
use crate::refusal::not_logged;
use crate::restored::ensure_not_restored;
use crate::viewer_tokens::{Error, Made, RevokeWanted, TTL_S, Wanted};

/// Most characters of a base URL, and of a `jti` that a tenant has given itself.
const URL_CHARS_MAX: usize = 256;
const JTI_CHARS_MAX: usize = 64;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let pointer = match &error {
            Error::Catalogue(_) | Error::Log(_) | Error::Key(_) | Error::Full(_) | Error::NotFound => "",
            Error::Life => "#/ttl_s",
            Error::Origin(_) => "#/origins",
            Error::NoStream | Error::TooManyStreams => "#/streams",
            Error::NotMade(_) => "#",
        };
        match error {
            Error::Catalogue(error) => error.into(),
            Error::Log(error) => not_logged(&error).into(),
            Error::Key(error) => {
                Self::new(Type::Internal, format!("the key of viewer tokens cannot be had: {error:#}"))
            }
            Error::Full(_) => Self::new(Type::StorageFull, error.to_string()),
            Error::NotFound => Self::not_found(),
            other => Self::invalid(pointer, "not_possible", other.to_string()),
        }
    }
}

/// What a token is to say.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewViewerToken {
    /// Streams that it opens, by name or identity, at most 16; `*` alone for all of the tenant.
    #[schema(required)]
    streams: Vec<String>,
    /// The viewer, as the tenant calls it.
    sub: Option<String>,
    /// For how long it counts, in seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    ttl_s: Option<u64>,
    /// For how long a viewer may begin with it, in seconds; whoever watches then goes on.
    admit_for_s: Option<u64>,
    /// Version among the viewer's tokens; null: after those that were taken back.
    ver: Option<u64>,
    /// Sites whose pages may use it, such as `https://site.example` or `https://*.site.example`.
    origins: Vec<String>,
    /// Every request has to come from such a site, and not only the first.
    strict: bool,
    /// Viewers at once.
    max_viewers: Option<u64>,
    /// May write in the chat.
    chat: bool,
    /// Where viewers reach the cluster, when a load balancer's own address is not it.
    base_url: Option<String>,
}

impl Default for NewViewerToken {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            sub: None,
            ttl_s: Some(TTL_S),
            admit_for_s: None,
            ver: None,
            origins: Vec::new(),
            strict: false,
            max_viewers: None,
            chat: false,
            base_url: None,
        }
    }
}

impl Settings for NewViewerToken {
    fn check(&self, errors: &mut Vec<Invalid>) {
        let is_url = |url: &str| {
            let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte));
            url.starts_with("https://") && url.len() <= URL_CHARS_MAX && plain
        };
        if self.base_url.as_deref().is_some_and(|url| !is_url(url)) {
            errors.push(Invalid { pointer: "#/base_url".to_owned(), code: "wrong_form" });
        }
    }
}

/// What a viewer opens with a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenUrls {
    hls: String,
    page: String,
    /// What a hidden stream allows, the server says to whoever shows a token alone.
    embed: String,
}

impl TokenUrls {
    pub(crate) fn of(base: &str, token: &str, stream: &StreamId) -> Self {
        Self {
            hls: format!("{base}/t/{token}/live/{stream}/index.m3u8"),
            page: format!("{base}/watch/{stream}#t={token}"),
            embed: format!("{base}/t/{token}/live/{stream}/embed"),
        }
    }
}

/// A viewer token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewerToken {
    pub(crate) token: String,
    pub(crate) jti: String,
    pub(crate) expires_at: i64,
    /// Those of its first stream; null when it is for all of the tenant.
    #[schema(required)]
    pub(crate) urls: Option<TokenUrls>,
}

/// Makes a viewer token. No other answer has it.
#[utoipa::path(
    post, path = "/api/v1/viewer-tokens", tag = "tokens", request_body = NewViewerToken,
    responses(
        (status = 201, description = "The token, and the URLs of its first stream that its holder opens", body = ViewerToken),
    ),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let began = shared.node.clock.elapsed();
    let new: NewViewerToken = body::read(&call.body)?;
    ensure_not_restored(&shared).await?;
    let NewViewerToken { streams, sub, ttl_s, admit_for_s, ver, origins, strict, max_viewers, chat, base_url } = new;
    let wanted = Wanted { streams, sub, ttl_s, admit_for_s, ver, origins, strict, max_viewers, chat };
    let said = json!({ "streams": wanted.streams, "sub": wanted.sub, "origins": wanted.origins });
    let Made { token, claims, stream, new_key } = shared.make_token(&call.tenant, wanted).await?;
    if let Some(sequence) = new_key {
        // Nodes have to know the key before a viewer comes with its first token.
        acknowledged(&shared, sequence, began).await;
    }
    let (jti, expires_at) = (claims.jti.to_string(), ends(claims.exp).0);
    let base = base_url.or_else(|| viewers_base(&shared.cluster)).unwrap_or_default();
    let base = base.trim_end_matches('/');
    let urls = stream.map(|stream| TokenUrls::of(base, &token, &stream));
    let mut changes = said;
    changes["expires_at"] = expires_at.into();
    changes["ver"] = claims.ver.into();
    let change = Change {
        object: jti.clone(),
        changes,
        answer: json!(ViewerToken { token, jti, expires_at, urls }),
        edit: Edit::Nothing,
        status: StatusCode::CREATED,
    };
    call.commit(&shared, change).await
}

fn ends(exp_s: u64) -> UnixMillis {
    UnixMillis(i64::try_from(exp_s.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

/// What is taken back: one of `jti`, `sub` and `stream`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RevokedViewerTokens {
    /// The one token with this `jti`.
    jti: Option<String>,
    /// The tokens of this viewer.
    sub: Option<String>,
    /// With `sub`: up to this version; null: all that were made until now.
    up_to_ver: Option<u64>,
    /// The tokens for this stream that were made until now.
    stream: Option<String>,
}

impl Settings for RevokedViewerTokens {
    fn check(&self, errors: &mut Vec<Invalid>) {
        let named = [self.jti.is_some(), self.sub.is_some(), self.stream.is_some()];
        let mut note = |pointer: &str, code| errors.push(Invalid { pointer: pointer.to_owned(), code });
        if named.into_iter().filter(|is_there| *is_there).count() != 1 {
            note("#", "say_one_of_jti_sub_stream");
        }
        if self.up_to_ver.is_some() && self.sub.is_none() {
            note("#/up_to_ver", "only_with_sub");
        }
        if self.jti.as_ref().is_some_and(|jti| !(1..=JTI_CHARS_MAX).contains(&jti.len())) {
            note("#/jti", "wrong_form");
        }
    }
}

impl RevokedViewerTokens {
    async fn wanted(self, shared: &ControlState, call: &Caller) -> Result<RevokeWanted, Problem> {
        Ok(match (self.jti, self.sub, self.stream) {
            (Some(jti), _, _) => RevokeWanted::Token(TokenId::of_text(&jti)),
            (_, Some(sub), _) => RevokeWanted::Viewer { sub, up_to_ver: self.up_to_ver },
            (.., stream) => {
                let name = stream.unwrap_or_default();
                let found = shared.catalogue.find_channel(&call.tenant.id, &name).await?;
                RevokeWanted::Stream(found.ok_or_else(Problem::not_found)?.name)
            }
        })
    }
}

/// What was taken back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedTokens)]
struct Revoked {
    /// With `sub`: up to which version.
    #[schema(required)]
    up_to_ver: Option<u64>,
    /// Whether all nodes that are there have it.
    is_everywhere: bool,
    /// For operators: nodes that are there and have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>)]
    acknowledged: Option<Vec<NodeId>>,
    /// For operators: nodes that are there and have not said so in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>)]
    missing: Option<Vec<NodeId>>,
}

/// Takes viewer tokens back, everywhere within a second.
#[utoipa::path(
    post, path = "/api/v1/viewer-tokens/revoke", tag = "tokens", request_body = RevokedViewerTokens,
    responses((status = 200, description = "What was taken back", body = Revoked)),
)]
pub(crate) async fn revoke(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Response, Problem> {
    let began = shared.node.clock.elapsed();
    let said: RevokedViewerTokens = body::read(&call.body)?;
    let changes = serde_json::to_value(&said).unwrap_or_default();
    let wanted = said.wanted(&shared, &call).await?;
    let object = match &wanted {
        RevokeWanted::Token(id) => id.to_string(),
        RevokeWanted::Viewer { sub, .. } => sub.chars().take(JTI_CHARS_MAX).collect(),
        RevokeWanted::Stream(stream) => stream.to_string(),
    };
    let (sequence, tokens) = shared.revoke_tokens(&call.tenant, wanted).await?;
    tracing::info!(tenant = call.tenant.slug, "viewer tokens taken back");
    let up_to_ver = match tokens {
        RevokedTokens::Viewer { up_to_ver, .. } => Some(up_to_ver),
        _ => None,
    };
    let nodes = acknowledged(&shared, sequence, began).await;
    let is_everywhere = nodes.is_complete();
    // Which nodes there are is the operators' business.
    let is_operator = call.principal.scopes.contains(Scopes::named("cluster:read").unwrap_or_default());
    let (acknowledged, missing) = is_operator.then_some((nodes.acknowledged, nodes.missing)).unzip();
    let answer = json!(Revoked { up_to_ver, is_everywhere, acknowledged, missing });
    let change = Change { edit: Edit::Nothing, object, changes, status: StatusCode::OK, answer };
    call.commit(&shared, change).await
}
