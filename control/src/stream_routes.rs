//! Streams on the operators' plane: what `sealcast stream` asks for, below `/cluster/v1/admin`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use catalogue::{Stream, StreamKey};
use media::StreamId;
use messages::{InputReport, SessionInfo};
use metadata::Visibility;
use serde::{Deserialize, Serialize};

use crate::ControlState;
use crate::api::Touched;
use crate::refusal::{Refusal, not_kept, not_logged};
use crate::restored::ensure_not_restored;

pub(crate) fn router() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/streams", get(list).post(create))
        .route("/streams/{stream}", get(show).delete(delete))
        .route("/streams/{stream}/rotate-key", post(rotate_key))
}

/// A stream, as operators see it.
#[derive(Serialize)]
struct StreamView {
    name: StreamId,
    /// Its key, in the answer to the request that made it and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The key's last characters.
    key_hint: String,
    created_at: i64,
    /// Who may watch it, as the metadata log says.
    visibility: &'static str,
    session: Option<SessionInfo>,
    /// The input report of the ingest that has the stream; `None` when there is no fresh one.
    input: Option<InputReport>,
    /// The input reports of the ingests that stand by.
    standby: Vec<InputReport>,
    /// Nodes that hold it now; the stream is degraded when these are fewer than `session.replicas`.
    holders: usize,
}

fn view(shared: &ControlState, stream: Stream) -> Json<StreamView> {
    let mut inputs = shared.view.inputs(&stream.name, shared.node.clock.now()).into_iter();
    Json(StreamView {
        input: inputs.next(),
        standby: inputs.collect(),
        session: shared.view.session(&stream.name),
        holders: crate::nodes::holders(&shared.cluster, &stream.name),
        visibility: shared.visibility(&stream.name).name(),
        key: None,
        key_hint: stream.key.hint,
        created_at: stream.created_at.0,
        name: stream.name,
    })
}

/// The view of a stream that has just got this key.
fn view_with_key(shared: &ControlState, stream: Stream, key: &StreamKey) -> Json<StreamView> {
    let Json(view) = view(shared, stream);
    Json(StreamView { key: Some(key.expose().to_owned()), ..view })
}

pub(crate) fn stream_name(text: &str) -> Result<StreamId, Refusal> {
    StreamId::new(text).map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))
}

/// The visibility of a name.
pub(crate) fn visibility_of(name: &str) -> Result<Visibility, Refusal> {
    Visibility::parse(name).ok_or_else(|| {
        let known = Visibility::ALL.map(Visibility::name).join(", ");
        Refusal(StatusCode::UNPROCESSABLE_ENTITY, format!("visibility: one of {known}"))
    })
}

async fn list(State(shared): State<Arc<ControlState>>) -> Result<Json<Vec<StreamView>>, Refusal> {
    let streams = shared.catalogue.streams().await?;
    Ok(Json(streams.into_iter().map(|stream| view(&shared, stream).0).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStream {
    name: String,
    /// Who may watch it; everybody when nothing is said.
    #[serde(default)]
    visibility: Option<String>,
}

async fn create(
    State(shared): State<Arc<ControlState>>,
    Json(new): Json<NewStream>,
) -> Result<(StatusCode, Extension<Touched>, Json<StreamView>), Refusal> {
    let name = stream_name(&new.name)?;
    let visibility = new.visibility.as_deref().map(visibility_of).transpose()?;
    ensure_not_restored(&shared).await?;
    let key = StreamKey::random();
    let stream = Stream { key: key.kept(&shared.pepper, &name), name, created_at: shared.node.clock.wall() };
    let visibility = visibility.unwrap_or_default();
    shared.catalogue.create_stream_for(&stream, visibility.name()).await?;
    tracing::info!(stream = %stream.name, "stream made");
    shared.streams_changed().await.map_err(|error| not_logged(&error))?;
    let touched = Extension(Touched(stream.name.clone()));
    Ok((StatusCode::CREATED, touched, view_with_key(&shared, stream, &key)))
}

async fn show(State(shared): State<Arc<ControlState>>, Path(name): Path<String>) -> Result<Json<StreamView>, Refusal> {
    let stream = shared.catalogue.stream(&stream_name(&name)?).await?;
    Ok(view(&shared, stream))
}

async fn rotate_key(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
) -> Result<Json<StreamView>, Refusal> {
    let (name, key) = (stream_name(&name)?, StreamKey::random());
    ensure_not_restored(&shared).await?;
    let _turn = shared.key_files.turn().await;
    let mut stream = shared.catalogue.stream(&name).await?;
    // First the file: at the next start it says which key the stream has.
    shared.key_files.keep(&name, &key).map_err(|error| not_kept(&error))?;
    stream.key = key.kept(&shared.pepper, &name);
    shared.catalogue.set_key(&name, &stream.key).await?;
    tracing::info!(stream = %name, "stream has a new key");
    shared.streams_changed().await.map_err(|error| not_logged(&error))?;
    Ok(view_with_key(&shared, stream, &key))
}

async fn delete(State(shared): State<Arc<ControlState>>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    let name = stream_name(&name)?;
    ensure_not_restored(&shared).await?;
    let _turn = shared.key_files.turn().await;
    shared.catalogue.delete_stream(&name).await?;
    shared.key_files.forget(&name).map_err(|error| not_kept(&error))?;
    tracing::info!(stream = %name, "stream deleted");
    shared.streams_changed().await.map_err(|error| not_logged(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
