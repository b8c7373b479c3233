//! The route of who may watch a stream, for `sealcast stream set`. Tokens are the API's ([`crate::api`]).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use media::StreamId;
use serde::{Deserialize, Serialize};

use crate::ControlState;
use crate::acknowledged::{AcknowledgedView, acknowledged};
use crate::refusal::{Refusal, not_logged};
use crate::restored::ensure_not_restored;
use crate::stream_routes::{stream_name, visibility_of};

pub(crate) fn router() -> Router<Arc<ControlState>> {
    Router::new().route("/streams/{stream}/visibility", post(set_visibility))
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
