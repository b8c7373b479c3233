//! The data plane: ingests push bytes and seals here, other broadcast nodes pull what was admitted. Mutual TLS, HTTP/2.
//!
//! Owns the bounds on what a node may push: size, time, requests and bytes at once. What is pushed goes to the gate; only what
//! the gate published goes out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use media::{Digest, Epoch, LogSequence, NodeId, ObjectName, RenditionId, Slot, StreamId};
use messages::{AlertReason, Role};
use node::clock::Clock;
use node::http::{Peer, REMEMBERED};
use seal::Keyring;
use seal::limits::{PART_BYTES_MAX, SEAL_BYTES_MAX};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::actor::Handle;
use crate::follow::Attention;
use gate::{Answer, Holding, Input, Source};

/// Requests at once from one node: a row of 20 renditions, and the one before it.
const REQUESTS_PER_PEER: usize = 64;
/// Bytes on their way in from one node at once: the rows of two seconds of a 100 Mbit/s ladder.
const BYTES_PER_PEER: usize = 32 * 1024 * 1024;
/// Nodes that may push at once; one more gets 429.
const PUSHING_PEERS_MAX: usize = 64;
/// Longest wait of an edge for an object that this owner is about to admit: a row and some.
const SOON_MAX: Duration = Duration::from_millis(1_500);
/// How long a push waits for the entry that grants its sender a key.
const GRANT_WAIT_MAX: Duration = Duration::from_secs(2);
/// Time for a whole body: a part is half a second of media.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the routes share.
#[derive(Clone)]
pub(crate) struct DataPlane {
    handle: Handle,
    clock: Clock,
    attention: Attention,
    budgets: Arc<Mutex<HashMap<NodeId, Budget>>>,
    keys: watch::Receiver<Arc<Keyring>>,
}

#[derive(Debug, Clone)]
struct Budget {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A share of a node's budget, given back when the request is over.
struct Share {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Status and text of a request that is refused.
type Refusal = (StatusCode, &'static str);

pub(crate) fn router(
    handle: Handle,
    attention: Attention,
    clock: Clock,
    keys: watch::Receiver<Arc<Keyring>>,
) -> axum::Router {
    axum::Router::new()
        .route("/live/{stream}/seals", get(seals).put(put_seal))
        .route("/live/{stream}/head", get(head))
        .route("/live/{stream}/fence", post(fence))
        .route("/live/{stream}/{rendition}/{epoch}/{slot}", get(object).merge(put(put_object)))
        .with_state(DataPlane { handle, clock, attention, budgets: Arc::default(), keys })
}

/// The object that a path names; each has one spelling.
fn name((stream, rendition, epoch, slot): (String, String, String, String)) -> Result<ObjectName, Refusal> {
    let parse = || {
        let name = ObjectName {
            stream: StreamId::new(&stream).ok()?,
            rendition: RenditionId::new(&rendition).ok()?,
            epoch: epoch.parse::<Epoch>().ok().filter(|parsed| parsed.to_string() == epoch)?,
            slot: Slot::parse(&slot)?,
        };
        Some(name)
    };
    parse().ok_or((StatusCode::NOT_FOUND, "no such object\n"))
}

type ObjectPath = Path<(String, String, String, String)>;

async fn object(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(path): ObjectPath,
) -> Result<Response, Refusal> {
    let name = name(path)?;
    plane.ensure_may_read(&peer, &name.stream).await?;
    let admitted = tokio::time::timeout(SOON_MAX, plane.admitted(&name)).await.ok().flatten();
    let bytes = admitted.ok_or((StatusCode::NOT_FOUND, "not admitted here\n"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

#[derive(Debug, Deserialize)]
struct From {
    #[serde(default)]
    from: u64,
}

async fn seals(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(stream): Path<String>,
    Query(from): Query<From>,
) -> Result<Response, Refusal> {
    let none = (StatusCode::NOT_FOUND, "no such stream here\n");
    let stream = StreamId::new(&stream).map_err(|_| none)?;
    plane.ensure_may_read(&peer, &stream).await?;
    let view = plane.handle.views().get(&stream).ok_or(none)?;
    let seals = view.seals(LogSequence(from.from)).concat();
    Ok(([(header::CONTENT_TYPE, "application/cbor-seq")], seals).into_response())
}

async fn head(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(stream): Path<String>,
) -> Result<Response, Refusal> {
    let none = (StatusCode::NOT_FOUND, "nothing admitted\n");
    let stream = StreamId::new(&stream).map_err(|_| none)?;
    plane.ensure_may_read(&peer, &stream).await?;
    plane.head(&stream).ok_or(none)
}

/// Fences the log and answers with its head: nothing comes after that until the asker has opened an epoch, or is taken for gone.
async fn fence(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(stream): Path<String>,
) -> Result<Response, Refusal> {
    let peer = ingest(&peer)?;
    let id = StreamId::new(&stream).map_err(|_| (StatusCode::NOT_FOUND, "no such stream\n"))?;
    plane.ensure_granted(&peer, &id).await?;
    match plane.handle.push(Input::Fence { stream: id.clone(), peer }).await.map_err(|_| STOPPING)? {
        Answer::Full => Err((StatusCode::SERVICE_UNAVAILABLE, "too much waits\n")),
        Answer::Refused(_) => Err((StatusCode::FORBIDDEN, "the node that asks is revoked\n")),
        _ => plane.head(&id).ok_or((StatusCode::NOT_FOUND, "nothing admitted\n")),
    }
}

async fn put_object(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(path): ObjectPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let peer = ingest(&peer)?;
    let name = name(path)?;
    plane.ensure_granted(&peer, &name.stream).await?;
    plane.attention.pushed(&name.stream);
    let length = content_length(&headers, PART_BYTES_MAX)?;
    let _share = plane.share(&peer, length)?;
    let mut hasher = Sha256::new();
    let bytes = read(body, length, |piece| hasher.update(piece)).await?;
    let digest = Digest(hasher.finalize().into());
    let answer = plane.handle.push(Input::Object { name, digest, bytes, peer }).await;
    Ok(respond(answer.map_err(|_| STOPPING)?))
}

async fn put_seal(
    State(plane): State<DataPlane>,
    Extension(peer): Extension<Peer>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let peer = ingest(&peer)?;
    let stream = StreamId::new(&stream).map_err(|_| (StatusCode::NOT_FOUND, "no such stream\n"))?;
    plane.ensure_granted(&peer, &stream).await?;
    plane.attention.pushed(&stream);
    let length = content_length(&headers, u64::try_from(SEAL_BYTES_MAX).unwrap_or(u64::MAX))?;
    let _share = plane.share(&peer, length)?;
    let raw = read(body, length, |_| ()).await?;
    let answer = plane.handle.push(Input::Seal { stream, raw, source: Source::Put(peer) }).await;
    Ok(respond(answer.map_err(|_| STOPPING)?))
}

const STOPPING: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");

fn ingest(peer: &Peer) -> Result<NodeId, Refusal> {
    match &peer.node {
        Some((node, Role::Ingest)) => Ok(node.clone()),
        _ => Err((StatusCode::FORBIDDEN, "only an ingest may push\n")),
    }
}

fn content_length(headers: &HeaderMap, max: u64) -> Result<usize, Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let length = length.ok_or((StatusCode::LENGTH_REQUIRED, "content-length is required\n"))?;
    let fits = usize::try_from(length).ok().filter(|_| length <= max);
    fits.ok_or((StatusCode::PAYLOAD_TOO_LARGE, "longer than any part or seal\n"))
}

/// Reads a body of exactly `length` bytes within [`BODY_TIMEOUT`], and shows each piece to `seen`.
async fn read(body: Body, length: usize, mut seen: impl FnMut(&[u8])) -> Result<Bytes, Refusal> {
    let wrong = (StatusCode::BAD_REQUEST, "the body is not as long as content-length says\n");
    let mut body = body;
    let mut bytes = BytesMut::with_capacity(length);
    let whole = async {
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| wrong)?.into_data() else { continue };
            if bytes.len() + piece.len() > length {
                return Err(wrong);
            }
            seen(&piece);
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() == length { Ok(bytes.freeze()) } else { Err(wrong) }
    };
    tokio::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or(Err((StatusCode::REQUEST_TIMEOUT, "too slow\n")))
}

impl DataPlane {
    /// An object, once it is admitted: an edge may have its seal from the bus before its bytes are here. `None` when it is not
    /// what comes next, or when this node is an edge itself.
    async fn admitted(&self, name: &ObjectName) -> Option<Bytes> {
        loop {
            // Take the place before looking: otherwise a change in between would be missed.
            let place = self.handle.views().wait(&name.stream, None, self.clock);
            let view = self.handle.views().get(&name.stream)?;
            if let Some((_, bytes)) = view.media.get(name.epoch, &name.rendition, name.slot) {
                return Some(bytes);
            }
            let playlists = view.playlists.as_ref()?;
            if view.holding == Holding::Edge || !playlists.hints(name.epoch, &name.rendition, name.slot) {
                return None;
            }
            if !place.ok()?.woken().await {
                return None;
            }
        }
    }

    /// The newest seal of a stream; with a header when the log itself is not in memory.
    fn head(&self, stream: &StreamId) -> Option<Response> {
        let has_log = self.handle.has_log(stream);
        let raw = self.handle.head(stream)?;
        let mut response = ([(header::CONTENT_TYPE, "application/cose")], raw).into_response();
        if !has_log {
            response.headers_mut().insert(REMEMBERED, HeaderValue::from_static(""));
        }
        Some(response)
    }

    /// Ingests ask about the streams that they may seal, and no others; broadcast nodes about all.
    async fn ensure_may_read(&self, peer: &Peer, stream: &StreamId) -> Result<(), Refusal> {
        match &peer.node {
            Some((node, Role::Ingest)) => self.ensure_granted(node, stream).await,
            _ => Ok(()),
        }
    }

    /// Refuses a node that has no key which may seal the stream: it pushes nothing of it, and fences nothing. One that was granted just
    /// now is sometimes faster than the entry that says so.
    async fn ensure_granted(&self, peer: &NodeId, stream: &StreamId) -> Result<(), Refusal> {
        let is_granted = |keyring: &Arc<Keyring>| keyring.may_push(peer, stream, self.clock.wall());
        let is_revoked = |keyring: &Arc<Keyring>| keyring.is_node_revoked(peer);
        let mut keys = self.keys.clone();
        let known = keys.wait_for(|keyring| is_granted(keyring) || is_revoked(keyring));
        let is_known = tokio::time::timeout(GRANT_WAIT_MAX, known).await.is_ok_and(|known| known.is_ok());
        if is_known && !is_revoked(&self.keys.borrow()) {
            return Ok(());
        }
        metrics::counter!("broadcast_pushes_refused_total", "reason" => "not_granted").increment(1);
        tracing::debug!(%peer, %stream, "a push is refused: the node has no grant for the stream");
        Err((StatusCode::FORBIDDEN, "this node has no key that may seal this stream\n"))
    }

    fn share(&self, peer: &NodeId, bytes: usize) -> Result<Share, Refusal> {
        let busy = (StatusCode::TOO_MANY_REQUESTS, "too much at once\n");
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if !budgets.contains_key(peer) && budgets.len() >= PUSHING_PEERS_MAX {
            // A node whose budget is all free has no push under way.
            budgets.retain(|_, budget| budget.requests.available_permits() < REQUESTS_PER_PEER);
            if budgets.len() >= PUSHING_PEERS_MAX {
                return Err(busy);
            }
        }
        let budget = budgets.entry(peer.clone()).or_insert_with(|| Budget {
            requests: Arc::new(Semaphore::new(REQUESTS_PER_PEER)),
            bytes: Arc::new(Semaphore::new(BYTES_PER_PEER)),
        });
        let permits = u32::try_from(bytes).map_err(|_| busy)?;
        let request = budget.requests.clone().try_acquire_owned().map_err(|_| refused_busy(busy))?;
        let bytes = budget.bytes.clone().try_acquire_many_owned(permits).map_err(|_| refused_busy(busy))?;
        Ok(Share { _request: request, _bytes: bytes })
    }
}

fn refused_busy(busy: Refusal) -> Refusal {
    metrics::counter!("broadcast_pushes_refused_total", "reason" => "busy").increment(1);
    busy
}

fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Stored => (StatusCode::CREATED, "stored\n").into_response(),
        Answer::Known => (StatusCode::OK, "known\n").into_response(),
        Answer::Full => (StatusCode::TOO_MANY_REQUESTS, "full\n").into_response(),
        Answer::Refused(reason) => (refused_status(reason), format!("refused: {}\n", reason.label())).into_response(),
    }
}

/// A seal that has no place in the log is a conflict; anything else is invalid in itself.
fn refused_status(reason: AlertReason) -> StatusCode {
    match reason {
        AlertReason::Epoch | AlertReason::Chain | AlertReason::Equivocation => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
