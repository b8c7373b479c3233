//! What a control or broadcast node answers about the log, on its data plane (mutual TLS). All of it proves itself.
//!
//! | route under `/cluster/v1/metadata` | answer |
//! |---|---|
//! | `GET /head?have=N` | the newest head (COSE); `have` is the newest entry that the caller has; 404 before the first head |
//! | `GET /roots?after=V` | root statements after version V: a CBOR sequence of byte strings |
//! | `GET /entries?from=N` | at most 512 entries and 8 MiB: a CBOR sequence of byte strings, each entry followed by its rows; 410 when N is not kept any more |
//! | `GET /snapshot` | the newest entry, then every row: a CBOR sequence of byte strings; 404 before the first entry |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use media::NodeId;
use metadata::EntrySequence;
use node::http::Peer;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use crate::store::Entries;
use crate::{Log, frames};

/// Most entries of one answer.
const ENTRIES_MAX: u32 = 512;
/// Most bytes of the entries of one answer, the last entry apart.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Snapshots that are read at once; one more is told to come back.
const SNAPSHOTS_MAX: usize = 2;
/// Rows that wait for the network.
const ROWS_AHEAD_MAX: usize = 64;
/// Nodes whose place in the log is remembered; more than any cluster has.
const NODES_MAX: usize = 4_096;

const SEQUENCE: &str = "application/cbor-seq";

/// What other nodes say that they have, by the name in their certificate.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(Mutex<BTreeMap<NodeId, EntrySequence>>);

impl Acknowledged {
    fn note(&self, node: NodeId, have: EntrySequence) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < NODES_MAX || all.contains_key(&node) {
            all.insert(node, have);
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<NodeId, EntrySequence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nodes that have an entry.
    pub(crate) fn have(&self, sequence: EntrySequence) -> Vec<NodeId> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, have)| **have >= sequence).map(|(node, _)| node.clone()).collect()
    }
}

#[derive(Clone)]
struct Shared {
    log: Arc<Log>,
    snapshots: Arc<Semaphore>,
}

/// The routes, for a listener that verifies certificates of nodes.
pub fn router(log: Arc<Log>) -> Router {
    Router::new()
        .route("/cluster/v1/metadata/head", get(head))
        .route("/cluster/v1/metadata/roots", get(roots))
        .route("/cluster/v1/metadata/entries", get(entries))
        .route("/cluster/v1/metadata/snapshot", get(snapshot))
        .with_state(Shared { log, snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)) })
}

type Refusal = (StatusCode, &'static str);

fn failed(error: &anyhow::Error) -> Refusal {
    tracing::error!(error = format!("{error:#}"), "the metadata log cannot be read");
    (StatusCode::INTERNAL_SERVER_ERROR, "the metadata log cannot be read\n")
}

#[derive(Deserialize)]
struct Have {
    #[serde(default)]
    have: u64,
}

async fn head(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    Query(Have { have }): Query<Have>,
) -> Result<Response, Refusal> {
    if let Some((node, _)) = peer.node {
        shared.log.acknowledged().note(node, EntrySequence(have));
    }
    let head = shared.log.head().ok_or((StatusCode::NOT_FOUND, "no head yet\n"))?;
    Ok(([(header::CONTENT_TYPE, "application/cose")], head).into_response())
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn roots(State(shared): State<Shared>, Query(After { after }): Query<After>) -> Result<Response, Refusal> {
    let roots = shared.log.reader().roots(after).await.map_err(|error| failed(&error))?;
    let body = frames::join(roots.iter().map(|statement| &statement[..]));
    Ok(([(header::CONTENT_TYPE, SEQUENCE)], body).into_response())
}

#[derive(Deserialize)]
struct From {
    from: u64,
}

async fn entries(State(shared): State<Shared>, Query(From { from }): Query<From>) -> Result<Response, Refusal> {
    let found = shared.log.reader().entries(EntrySequence(from), ENTRIES_MAX, ANSWER_BYTES_MAX).await;
    match found.map_err(|error| failed(&error))? {
        Entries::Pruned => Err((StatusCode::GONE, "not kept any more: take a snapshot\n")),
        Entries::Here(entries) => {
            let body = frames::join(entries.iter().flat_map(|(entry, rows)| [&entry[..], &rows[..]]));
            Ok(([(header::CONTENT_TYPE, SEQUENCE)], body).into_response())
        }
    }
}

async fn snapshot(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "others take snapshots now: come back\n");
    let permit = Arc::clone(&shared.snapshots).try_acquire_owned().map_err(|_| busy)?;
    let (to, mut rows) = mpsc::channel::<Bytes>(ROWS_AHEAD_MAX);
    let reader = shared.log.reader().clone();
    tokio::spawn(async move {
        let _one_of_few = permit;
        if let Err(error) = reader.snapshot(&to).await {
            // The answer ends early, and does not verify.
            failed(&error);
        }
    });
    let first = rows.recv().await.ok_or((StatusCode::NOT_FOUND, "no entry yet\n"))?;
    let stream = futures_util::stream::unfold((Some(first), rows), async |(first, mut rows)| {
        let mut parts: Vec<Bytes> = first.into_iter().collect();
        rows.recv_many(&mut parts, ROWS_AHEAD_MAX).await;
        if parts.is_empty() {
            return None;
        }
        let frames = frames::join(parts.iter().map(|part| &part[..]));
        Some((Ok::<_, Infallible>(frames), (None, rows)))
    });
    Ok(([(header::CONTENT_TYPE, SEQUENCE)], Body::from_stream(stream)).into_response())
}
