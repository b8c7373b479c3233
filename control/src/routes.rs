//! The data plane of control: HTTP/2 over mutual TLS. The caller's certificate says what it may do, once the metadata log says that it
//! is the certificate of this member ([`crate::callers`]).
//!
//! | route | role | does |
//! |---|---|---|
//! | `POST /cluster/v1/grants` | ingest | body: ML-DSA-44 public key, 1312 bytes; answer: the entry of the metadata log that grants it |
//! | `GET /cluster/v1/delegates` | ingest | for a streamer: the shared ingests to which it can delegate a session ([`messages::Delegates`]) |
//! | `POST /cluster/v1/delegations` | ingest | for a streamer: body: a delegation that it has signed; answer: the entry that has it |
//! | `GET /cluster/v1/streams` | ingest, control | names of the streams that the ingest serves, MACs of their keys, and what recognises each ([`messages::StreamTable`]) |
//! | `GET /cluster/v1/chat/{stream}` | broadcast | what changed in a chat after a change ([`messages::ChatChanges`]) |
//! | `POST /cluster/v1/metadata/self` | every node | what the node says of itself; makes it a member when it may be one, else 403 says why |
//! | `GET /cluster/v1/metadata/…` | every node | the metadata log ([`replica::router`]) |
//! | `…/cluster/v1/admin/…` | control | streams, keys and nodes, for `sealcast stream\|key\|node` |
//! | `…/api/v1/…` | load balancer, control | the API ([`crate::api`]): a balancer's clients show a credential of their own |
//!
//! Of several control nodes, the one that leads answers what changes anything; the others say which one that is ([`crate::lead`]).
//!
//! A node that was revoked gets 403 everywhere, and one that is no member everywhere but at `metadata/self`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Json, Router};
use catalogue::Stream;
use media::{NodeId, StreamId};
use messages::{Delegates, MacForm, Role, StreamEntry, StreamTable};
use metadata::RootStatement;
use metadata::limits::ROOT_BYTES_MAX;
use node::http::Peer;
use node::tls;
use seal::KeyId;
use serde::{Deserialize, Serialize};

use crate::ControlState;
use crate::acknowledged::{AcknowledgedView, acknowledged, nodes};
use crate::api::{self, Done, Touched};
use crate::callers::{not_revoked, only, only_members};
use crate::certificate::Shown;
use crate::chat;
use crate::drains::known;
use crate::grants::{self, Misuse};
use crate::lead::only_leading;
use crate::log::SelfReport;
use crate::members::{self, Replace};
use crate::nodes::NodeInfo;
use crate::refusal::{Refusal, not_logged};
use crate::restored::ensure_not_restored;
use crate::stream_routes::{self, stream_name};
use crate::streamers;

/// Longest request body in bytes: a public key has 1312, a stream's name and key some 250.
const BODY_BYTES_MAX: usize = 4_096;

/// The same of a streamer: a certificate, and the names of its streams.
const STREAMER_BYTES_MAX: usize = 64 * 1024;

/// `more` are further routes below `/cluster/v1/admin`.
pub(crate) fn router(shared: Arc<ControlState>, more: Router<Arc<ControlState>>) -> Router {
    let admin = Router::new()
        .merge(stream_routes::router())
        .merge(more)
        .route("/keys", get(list_keys))
        .route("/keys/{key}/revoke", post(revoke_key))
        .route("/streamers", get(list_streamers))
        .route("/streamers/{node}", post(add_streamer).layer(DefaultBodyLimit::max(STREAMER_BYTES_MAX)))
        .route("/nodes", get(list_nodes))
        .route("/nodes/{node}", get(show_node))
        .route("/nodes/{node}/add", post(add_node))
        .route("/metadata", get(show_log))
        .route("/metadata/branch", post(branch_log))
        .route("/metadata/root", get(show_root).post(take_root).layer(DefaultBodyLimit::max(ROOT_BYTES_MAX)))
        .route("/nodes/{node}/drain", post(drain_node))
        .route("/nodes/{node}/undrain", post(undrain_node))
        .route("/nodes/{node}/revoke", post(revoke_node))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), api::record_administration))
        .layer(middleware::from_fn_with_state(&[Role::Control][..], only));
    let ingest = Router::new()
        .route("/grants", post(grant))
        .route("/delegates", get(delegates))
        .merge(
            Router::new()
                .route("/delegations", post(delegate))
                .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), api::record_administration)),
        )
        .layer(middleware::from_fn_with_state(&[Role::Ingest][..], only))
        .merge(
            Router::new()
                .route("/streams", get(stream_table))
                .layer(middleware::from_fn_with_state(&[Role::Ingest, Role::Control][..], only)),
        )
        .merge(
            Router::new()
                .route("/chat/{stream}", get(chat::changes_after))
                .layer(middleware::from_fn_with_state(&[Role::Broadcast][..], only)),
        );
    let log = shared.writer.log();
    Router::new()
        .nest("/cluster/v1/admin", admin)
        .nest("/cluster/v1", ingest)
        .merge(api::router(&shared))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), only_members))
        .route("/cluster/v1/metadata/self", post(report_self))
        .merge(replica::only_members(replica::router(Arc::clone(log)), log).with_state(()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), only_leading))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), not_revoked))
        .with_state(shared)
}

async fn grant(
    State(shared): State<Arc<ControlState>>,
    Extension(peer): Extension<Peer>,
    public_key: Bytes,
) -> Result<Json<serde_json::Value>, Refusal> {
    let (node, _) = peer.node.ok_or_else(|| Refusal(StatusCode::FORBIDDEN, "no certificate".to_owned()))?;
    let sequence = shared.grant(&node, &public_key).await?;
    Ok(Json(serde_json::json!({ "sequence": sequence.0 })))
}

async fn delegates(
    State(shared): State<Arc<ControlState>>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Delegates>, Refusal> {
    let (node, _) = peer.node.ok_or_else(|| Refusal(StatusCode::FORBIDDEN, "no certificate".to_owned()))?;
    Ok(Json(shared.delegates(&node)?))
}

async fn delegate(
    State(shared): State<Arc<ControlState>>,
    Extension(peer): Extension<Peer>,
    signed: Bytes,
) -> Result<(Extension<Touched>, Json<AcknowledgedView>), Refusal> {
    let began = shared.node.clock.elapsed();
    let (node, _) = peer.node.ok_or_else(|| Refusal(StatusCode::FORBIDDEN, "no certificate".to_owned()))?;
    let (stream, sequence) = shared.delegate(&node, &signed).await?;
    // The ingest needs the key of the stream.
    shared.announce_change().await;
    Ok((Extension(Touched(stream)), Json(acknowledged(&shared, sequence, began).await)))
}

async fn report_self(
    State(shared): State<Arc<ControlState>>,
    Extension(peer): Extension<Peer>,
    Json(report): Json<SelfReport>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let none = || Refusal(StatusCode::FORBIDDEN, "no certificate".to_owned());
    let (Some(node), Some(certificate)) = (peer.node, peer.certificate) else { return Err(none()) };
    let shown = Shown::of(&certificate).ok_or_else(none)?;
    shared.begun.cancelled().await;
    let sequence = shared.admit(node, &shown, report).await?;
    Ok(Json(serde_json::json!({ "sequence": sequence.0 })))
}

async fn stream_table(
    State(shared): State<Arc<ControlState>>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<StreamTable>, Refusal> {
    // Ingests keep the table that they have; with this one they would disconnect publishers of streams that are only forgotten.
    ensure_not_restored(&shared).await?;
    // Before that, the log may lack streams and pools, and an ingest would disconnect their publishers.
    shared.ensure_begun().await?;
    let ingest = peer.node.filter(|(_, role)| *role == Role::Ingest).map(|(node, _)| node);
    if let Some(node) = ingest.as_ref().filter(|node| !shared.is_member(node)) {
        return Err(grants::Error::NoMember(node.clone()).into());
    }
    let delegated = ingest.as_ref().map(|node| shared.delegated_streams(node)).unwrap_or_default();
    let serves = |node: &NodeId, name: &StreamId| shared.serves(node, name) || delegated.contains(name);
    let is_told = |stream: &Stream| ingest.as_ref().is_none_or(|node| serves(node, &stream.name));
    let is_guest = ingest.as_ref().is_some_and(|node| shared.is_guest(node));
    // What recognises a key of before would let a streamer guess at the keys of all streams.
    let is_withheld = |stream: &Stream| is_guest && stream.key.form == MacForm::OfAll;
    let entry = |stream: Stream| {
        let mac_key = shared.pepper.mac_key(stream.key.form, &stream.name);
        StreamEntry { name: stream.name, key_mac: stream.key.mac, mac_key, hint: stream.key.hint }
    };
    let streams = shared.catalogue.streams().await?.into_iter();
    let told = streams.filter(|stream| is_told(stream) && !is_withheld(stream)).map(entry).collect();
    Ok(Json(StreamTable { streams: told }))
}

async fn list_keys(State(shared): State<Arc<ControlState>>) -> Json<Vec<grants::GrantInfo>> {
    Json(shared.grant_infos())
}

/// What is said with a revocation; nothing has to be.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// For how many seconds the key, or the node, may have been in wrong hands.
    misused_for_s: Option<u32>,
}

impl Revoke {
    fn misuse(said: Option<Json<Self>>) -> Misuse {
        let seconds = said.and_then(|Json(revoke)| revoke.misused_for_s);
        seconds.map_or(Misuse::None, |seconds| Misuse::For(Duration::from_secs(seconds.into())))
    }
}

async fn revoke_key(
    State(shared): State<Arc<ControlState>>,
    Path(key): Path<String>,
    said: Option<Json<Revoke>>,
) -> Result<Json<AcknowledgedView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let sequence = shared.revoke_key(&key, Revoke::misuse(said)).await?;
    tracing::warn!(key, "key revoked");
    Ok(Json(acknowledged(&shared, sequence, began).await))
}

/// Answer to the revocation of a node.
#[derive(Serialize)]
struct RevokedView {
    node: NodeId,
    /// Whether a node of this name is known: a name that nobody has may be a mistake.
    known: bool,
    /// Its keys that were granted until now.
    keys: Vec<String>,
    #[serde(flatten)]
    acknowledged: AcknowledgedView,
}

async fn revoke_node(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    said: Option<Json<Revoke>>,
) -> Result<Json<RevokedView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let node = NodeId::new(&name).map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
    if node == shared.node.id {
        let detail = format!("{node} is the control node that you ask: after this it would refuse you");
        return Err(Refusal(StatusCode::CONFLICT, detail));
    }
    let known = shared.writer.log().look(|view| view.member(&node).is_some() || view.is_node_revoked(&node));
    let (sequence, keys) = shared.revoke_node(&node, Revoke::misuse(said)).await.map_err(|error| not_logged(&error))?;
    tracing::warn!(%node, known, keys = keys.len(), "node revoked");
    let keys = keys.iter().map(ToString::to_string).collect();
    // If it was a streamer, the shared ingests need the keys of its streams.
    shared.announce_change().await;
    let acknowledged = acknowledged(&shared, sequence, began).await;
    Ok(Json(RevokedView { node, known, keys, acknowledged }))
}

async fn list_nodes(State(shared): State<Arc<ControlState>>) -> Json<Vec<NodeInfo>> {
    Json(nodes(&shared))
}

async fn show_node(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(known(&shared, &name)?))
}

async fn drain_node(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(shared.drain(&name).await?))
}

async fn undrain_node(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(shared.undrain(&name).await?))
}

/// A node that the operator adds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMember {
    /// Its certificate, PEM.
    certificate: String,
}

async fn add_node(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    Json(new): Json<NewMember>,
) -> Result<Json<AcknowledgedView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let listed = certificate_of(&shared, &name, &new.certificate)?;
    let sequence = shared.add_members(vec![listed], Replace::Key).await?;
    tracing::info!(node = name, "the operator added a node");
    Ok(Json(acknowledged(&shared, sequence, began).await))
}

/// A streamer that the operator adds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStreamer {
    /// Certificate of its ingest, PEM.
    certificate: String,
    /// The streams that it seals from now on, and nobody else.
    streams: Vec<String>,
}

/// Reads the certificate of the node that a request names.
fn certificate_of(shared: &ControlState, name: &str, pem: &str) -> Result<members::Listed, Refusal> {
    let invalid = |error: String| Refusal(StatusCode::BAD_REQUEST, error);
    let node = NodeId::new(name).map_err(|error| invalid(error.to_string()))?;
    let listed = members::read(pem.as_bytes(), "the certificate").map_err(|error| invalid(format!("{error:#}")))?;
    let [listed] = <[_; 1]>::try_from(listed).map_err(|_| invalid("give one certificate".to_owned()))?;
    if listed.node != node {
        return Err(invalid(format!("that is the certificate of {}, not of {node}", listed.node)));
    }
    // It would cut off the node that has the name, and let nobody in.
    let certificates = tls::parse_certificates(pem.as_bytes(), std::path::Path::new("the certificate"));
    let at = shared.node.clock.wall();
    if !certificates.is_ok_and(|all| all.iter().all(|one| shared.node.identity.has_signed(one, at))) {
        return Err(invalid(format!(
            "no authority of this cluster has signed that certificate of {node}, or its time is over: nodes would refuse it. Have the \
             authority in {} sign one (sealcast certs), and add that",
            shared.node.identity.ca_path().display()
        )));
    }
    Ok(listed)
}

async fn add_streamer(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    Json(new): Json<NewStreamer>,
) -> Result<Json<AcknowledgedView>, Refusal> {
    let began = shared.node.clock.elapsed();
    let listed = certificate_of(&shared, &name, &new.certificate)?;
    let streams: Vec<StreamId> = new.streams.iter().map(|stream| stream_name(stream)).collect::<Result<_, _>>()?;
    let sequence = shared.add_streamer(listed, &streams).await.map_err(|error| match error {
        streamers::Error::NotAdmitted(why) => Refusal::from(why),
        streamers::Error::NoStream(_) => Refusal(StatusCode::NOT_FOUND, error.to_string()),
        _ => Refusal(StatusCode::CONFLICT, error.to_string()),
    })?;
    tracing::info!(node = name, streams = streams.len(), "the operator added a streamer");
    // Shared ingests forget the keys of these streams.
    shared.announce_change().await;
    Ok(Json(acknowledged(&shared, sequence, began).await))
}

async fn list_streamers(State(shared): State<Arc<ControlState>>) -> Json<Vec<streamers::StreamerView>> {
    Json(shared.streamers())
}

/// The metadata log, as operators see it.
#[derive(Serialize)]
struct LogView {
    #[serde(flatten)]
    standing: replica::Standing,
    /// State digest: nodes with the same have the same rows.
    state: String,
    /// Newest entry that control is known to have signed, where it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
    /// Root keys that count, and how many of them have to sign.
    root_keys: Vec<String>,
    root_threshold: u64,
    /// Whether the root key is on the control machine.
    root_key_here: bool,
    /// Keys of control that may write.
    controls: Vec<ControlView>,
    /// Until when the root lets this control node write.
    #[serde(skip_serializing_if = "Option::is_none")]
    control_until: Option<i64>,
    /// What each node says that it has.
    nodes: BTreeMap<NodeId, u64>,
}

/// A key of control.
#[derive(Serialize)]
struct ControlView {
    key: String,
    node: NodeId,
    until: i64,
}

async fn show_log(State(shared): State<Arc<ControlState>>) -> Json<LogView> {
    let log = shared.writer.log();
    let statement = shared.writer.root_statement().map(|(statement, _)| statement);
    let own = shared.writer.public_key();
    let until = |statement: &RootStatement| {
        statement.controls.iter().find(|control| control.public_key == own).map(|control| control.not_after.0)
    };
    Json(LogView {
        controls: statement.iter().flat_map(|statement| &statement.controls).filter_map(control_view).collect(),
        control_until: statement.as_ref().and_then(until),
        root_threshold: statement.as_ref().map_or(0, |statement| statement.threshold),
        root_keys: statement.iter().flat_map(|s| &s.root_keys).map(|key| KeyId::of(key).to_string()).collect(),
        root_key_here: shared.root.key_path().exists(),
        standing: log.standing(),
        state: hex::encode(log.state().0),
        behind: log.behind().map(|sequence| sequence.0),
        nodes: log.acknowledgements().into_iter().map(|(node, have)| (node, have.0)).collect(),
    })
}

/// A key of control, unless it was ended.
fn control_view(control: &metadata::Control) -> Option<ControlView> {
    let key = KeyId::of(&control.public_key).to_string();
    control.last.is_none().then(|| ControlView { key, node: control.node.clone(), until: control.not_after.0 })
}

async fn branch_log(State(shared): State<Arc<ControlState>>) -> Result<Json<LogView>, Refusal> {
    let root = shared.root.key().map_err(|error| not_logged(&error))?.ok_or_else(|| {
        let why = "the root key is not on the control machine: say where it is (sealcast root branch --yes --key FILE)";
        Refusal(StatusCode::CONFLICT, why.to_owned())
    })?;
    shared.writer.branch(&root).await.map_err(|error| not_logged(&error))?;
    Ok(show_log(State(shared)).await)
}

/// What whoever has the root keys needs to make the next statement.
#[derive(Serialize)]
struct RootView {
    /// The statement in force, signed; hexadecimal.
    statement: String,
    /// The key of this control node; hexadecimal.
    control: String,
    /// Newest entry that is here.
    sequence: u64,
    /// Its chain value; hexadecimal.
    chain: String,
    /// When it was signed.
    at: i64,
}

async fn show_root(State(shared): State<Arc<ControlState>>) -> Result<Json<RootView>, Refusal> {
    let none = || Refusal(StatusCode::SERVICE_UNAVAILABLE, "there is no root statement yet".to_owned());
    let (_, raw) = shared.writer.root_statement().ok_or_else(none)?;
    let place = shared.writer.place();
    Ok(Json(RootView {
        statement: hex::encode(raw),
        control: hex::encode(shared.writer.public_key()),
        sequence: place.sequence.0,
        chain: hex::encode(place.chain.0),
        at: place.at.0,
    }))
}

async fn take_root(
    State(shared): State<Arc<ControlState>>,
    signed: Bytes,
) -> Result<(Extension<Done>, Json<LogView>), Refusal> {
    let refused = |error: anyhow::Error| Refusal(StatusCode::CONFLICT, format!("{error:#}"));
    let before = shared.writer.root_statement().map(|(statement, _)| statement);
    shared.writer.take_root(signed).await.map_err(refused)?;
    let after = shared.writer.root_statement().map(|(statement, _)| statement);
    Ok((Extension(Done(root_change(before.as_ref(), after.as_ref()))), show_log(State(shared)).await))
}

/// What the audit calls a new root statement.
fn root_change(before: Option<&RootStatement>, after: Option<&RootStatement>) -> &'static str {
    let Some((before, after)) = before.zip(after) else { return "metadata.root" };
    match () {
        () if before.branch != after.branch => "metadata.branch",
        () if before.root_keys != after.root_keys || before.threshold != after.threshold => "metadata.rotate",
        () if before.controls != after.controls => "metadata.controls",
        () => "metadata.root",
    }
}
