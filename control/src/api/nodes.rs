//! The nodes of the cluster, and what the operator wants of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use catalogue::Edit;
use metadata::NodePolicy;
use node::problem::Type;
use serde_json::{Value, json};

use super::caller::{Call, Caller};
use super::problem::Problem;
use super::{Answer, Change};
use crate::ControlState;
use crate::acknowledged::nodes;
use crate::drains::known;
use crate::nodes::NodeInfo;

/// Nodes of a page, unless the client says otherwise, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 200;

/// Whether an answer names the streams of a node, of which there may be thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    Named,
    Counted,
}

/// A node, as the API shows it.
pub(crate) fn view(info: &NodeInfo, streams: Streams) -> Value {
    let (presence, load) = (&info.presence, &info.presence.load);
    let mut view = json!({
        "name": presence.node,
        "role": presence.role,
        "health": info.health,
        "state": presence.state,
        "drained": info.operator.drained,
        "revoked": info.operator.revoked,
        "headroom_ratio": info.headroom,
        "seen_at": presence.at,
        "started_at": presence.started_at,
        "https_url": presence.https,
        "data_url": presence.data,
        "public_url": presence.public,
        "load": {
            "cpu_ratio": load.cpu,
            "memory_bytes": load.memory_bytes,
            "memory_total_bytes": load.memory_total_bytes,
            "disk_free_bytes": load.disk_free_bytes,
            "egress_bps": load.egress,
            "egress_capacity_bps": load.egress_capacity,
            "requests_per_second": load.requests_per_second,
        },
        "stream_count": presence.streams.len(),
        "edge_count": presence.edges.len(),
    });
    if streams == Streams::Named {
        view["streams"] = json!(presence.streams);
        view["edges"] = json!(presence.edges);
    }
    view
}

/// A page of nodes, by name.
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Answer, Problem> {
    let malformed = || Problem::new(Type::Malformed, format!("limit has to be a number from 1 to {LIMIT_MAX}"));
    let limit = match call.parameter("limit") {
        None => LIMIT,
        Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(malformed)?,
    };
    let after = call.parameter("cursor").map(read_cursor).transpose()?;
    let all = nodes(&shared);
    let is_next = |info: &&NodeInfo| after.as_deref().is_none_or(|after| info.presence.node.as_str() > after);
    let mut page: Vec<&NodeInfo> = all.iter().filter(is_next).take(limit + 1).collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|info| hex::encode(info.presence.node.as_str()));
    let items: Vec<Value> = page.into_iter().map(|info| view(info, Streams::Counted)).collect();
    Ok(Answer::read(json!({ "items": items, "next_cursor": next })))
}

fn read_cursor(text: &str) -> Result<String, Problem> {
    let read = hex::decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.ok_or_else(|| Problem::new(Type::CursorInvalid, "this is no cursor of this list"))
}

/// A node.
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    _: Call,
) -> Result<Answer, Problem> {
    Ok(Answer::read(view(&known(&shared, &name)?, Streams::Named)))
}

/// Has a broadcast node take no new viewers and no new streams.
pub(crate) async fn drain(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let info = shared.drain(&name).await?;
    decided(&shared, &call, &info).await
}

/// Ends that.
pub(crate) async fn undrain(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let info = shared.undrain(&name).await?;
    decided(&shared, &call, &info).await
}

/// The record follows the change, which is a row of the metadata log.
async fn decided(shared: &ControlState, call: &Caller, info: &NodeInfo) -> Result<Answer, Problem> {
    let change = Change {
        edit: Edit::Nothing,
        object: info.presence.node.to_string(),
        changes: json!({ "drained": info.operator.drained }),
        status: StatusCode::OK,
        answer: view(info, Streams::Named),
    };
    call.change(shared, change).await
}

/// What the operator wants of all nodes, as the metadata log has it.
pub(crate) async fn policy(State(shared): State<Arc<ControlState>>, _: Call) -> Result<Answer, Problem> {
    let sequence = shared.writer.place().sequence.0;
    let mut policies: Vec<NodePolicy> = shared.writer.log().look(|view| view.policies().cloned().collect());
    policies.sort_by(|one, other| one.node.cmp(&other.node));
    let node = |policy: &NodePolicy| json!({ "node": policy.node, "drained": policy.is_drained, "weight_percent": policy.weight_percent });
    let nodes: Vec<Value> = policies.iter().map(node).collect();
    Ok(Answer::read(json!({ "sequence": sequence, "nodes": nodes })))
}
