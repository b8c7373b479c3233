//! The routes of viewer tokens and of who may watch, for `sealcast token` and `sealcast stream set`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use media::{StreamId, UnixMillis};
use messages::Role;
use metadata::{RevokedTokens, TokenId};
use serde::{Deserialize, Serialize};

use crate::ControlState;
use crate::refusal::{Refusal, not_logged};
use crate::restored::ensure_not_restored;
use crate::routes::{AcknowledgedView, acknowledged, nodes, stream_name, visibility_of};
use crate::viewer_tokens::{Error, Made, RevokeWanted, Wanted};

pub(crate) fn router() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/viewer-tokens", post(make))
        .route("/viewer-tokens/revoke", post(revoke))
        .route("/streams/{stream}/visibility", post(set_visibility))
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Catalogue(error) => return error.into(),
            Error::Log(error) => return not_logged(&error),
            Error::Key(error) => {
                tracing::error!(error = format!("{error:#}"), "the key of viewer tokens cannot be had");
                return Self(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"));
            }
            Error::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            Error::Name(_) | Error::Origin(_) | Error::NotMade(_) | Error::Life | Error::NoStream => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self(status, error.to_string())
    }
}

/// What a token is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    streams: Vec<String>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    ttl_s: Option<u64>,
    /// For how long a viewer may begin with it.
    #[serde(default)]
    admit_for_s: Option<u64>,
    #[serde(default)]
    ver: Option<u64>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    max_viewers: Option<u64>,
    #[serde(default)]
    chat: bool,
    /// Where viewers reach the cluster, when a balancer's own address is not it.
    #[serde(default)]
    base_url: Option<String>,
}

/// The answer: the token is in no other one.
#[derive(Debug, Serialize)]
struct TokenView {
    token: String,
    /// What `token revoke` takes.
    jti: String,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<Urls>,
}

/// Where a viewer goes with it; of its first stream.
#[derive(Debug, Serialize)]
struct Urls {
    hls: String,
    page: String,
    embed: String,
}

async fn make(
    State(shared): State<Arc<ControlState>>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<TokenView>), Refusal> {
    let began = shared.node.clock.elapsed();
    ensure_not_restored(&shared).await?;
    let NewToken { streams, sub, ttl_s, admit_for_s, ver, origins, strict, max_viewers, chat, base_url } = new;
    let wanted = Wanted { streams, sub, ttl_s, admit_for_s, ver, origins, strict, max_viewers, chat };
    let Made { token, claims, stream, new_key } = shared.make_token(wanted).await?;
    if let Some(sequence) = new_key {
        // Nodes have to know the key before a viewer comes with its first token.
        acknowledged(&shared, sequence, began).await;
    }
    tracing::info!(jti = %claims.jti, until = %ends(claims.exp), "viewer token made");
    let base = base_url.or_else(|| viewers_base(&shared)).unwrap_or_default();
    let urls = stream.map(|stream| Urls {
        hls: format!("{base}/t/{token}/live/{stream}/index.m3u8"),
        page: format!("{base}/watch/{stream}#t={token}"),
        embed: format!("{base}/live/{stream}/embed#t={token}"),
    });
    let view = TokenView { jti: claims.jti.to_string(), expires_at: ends(claims.exp).0, token, urls };
    Ok((StatusCode::CREATED, Json(view)))
}

fn ends(exp_s: u64) -> UnixMillis {
    UnixMillis(i64::try_from(exp_s.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

/// The base URL of a balancer; `None` when none is there. One that listens on all addresses is reached by this machine's name for itself.
fn viewers_base(shared: &ControlState) -> Option<String> {
    let balancer =
        nodes(shared).into_iter().find(|info| info.presence.role == Role::LoadBalancer && info.health == "online")?;
    let https = balancer.presence.https?;
    Some(https.replace("://0.0.0.0:", "://localhost:").replace("://[::]:", "://localhost:"))
}

/// What is taken back: exactly one of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeTokens {
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    up_to_ver: Option<u64>,
    #[serde(default)]
    stream: Option<String>,
}

impl RevokeTokens {
    fn wanted(self) -> Result<RevokeWanted, Refusal> {
        let invalid = |detail: &str| Refusal(StatusCode::UNPROCESSABLE_ENTITY, detail.to_owned());
        match (self.jti, self.sub, self.stream, self.up_to_ver) {
            (Some(jti), None, None, None) => {
                let mut id = [0; 8];
                let read = hex::decode_to_slice(&jti, &mut id);
                read.map_err(|_| invalid("jti: the 16 hexadecimal digits that were shown with the token"))?;
                Ok(RevokeWanted::Token(TokenId(id)))
            }
            (None, Some(sub), None, up_to_ver) => Ok(RevokeWanted::Viewer { sub, up_to_ver }),
            (None, None, Some(stream), None) => Ok(RevokeWanted::Stream(stream_name(&stream)?)),
            _ => Err(invalid("say one of: jti, sub (and up_to_ver), stream")),
        }
    }
}

#[derive(Debug, Serialize)]
struct TokensRevokedView {
    /// Up to which version a viewer's tokens do not count any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_ver: Option<u64>,
    #[serde(flatten)]
    acknowledged: AcknowledgedView,
}

async fn revoke(
    State(shared): State<Arc<ControlState>>,
    Json(said): Json<RevokeTokens>,
) -> Result<Json<TokensRevokedView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let (sequence, tokens) = shared.revoke_tokens(said.wanted()?).await?;
    tracing::info!(?tokens, "viewer tokens taken back");
    let up_to_ver = match tokens {
        RevokedTokens::Viewer { up_to_ver, .. } => Some(up_to_ver),
        _ => None,
    };
    Ok(Json(TokensRevokedView { up_to_ver, acknowledged: acknowledged(&shared, sequence, began).await }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetVisibility {
    visibility: String,
}

#[derive(Debug, Serialize)]
struct VisibilityView {
    stream: StreamId,
    visibility: &'static str,
    #[serde(flatten)]
    acknowledged: AcknowledgedView,
}

async fn set_visibility(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    Json(said): Json<SetVisibility>,
) -> Result<Json<VisibilityView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let (stream, visibility) = (stream_name(&name)?, visibility_of(&said.visibility)?);
    ensure_not_restored(&shared).await?;
    shared.catalogue.set_visibility(&stream, visibility.name()).await?;
    let sequence = shared.write_log().await.map_err(|error| not_logged(&error))?;
    tracing::info!(%stream, %visibility, "the operator said who may watch a stream");
    let acknowledged = acknowledged(&shared, sequence, began).await;
    Ok(Json(VisibilityView { stream, visibility: visibility.name(), acknowledged }))
}
