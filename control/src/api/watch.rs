//! `/streams/{stream}/watch`: a member of the tenant gets a viewer token, by which nodes let it watch a stream for members.

use std::sync::Arc;

use access::token::NotMade;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::Edit;
use media::{NodeId, UnixMillis};
use messages::Role;
use node::problem::Type;
use serde_json::json;

use super::Change;
use super::caller::Call;
use super::problem::Problem;
use super::streams::find;
use super::viewer_tokens::{TokenUrls, ViewerToken};
use crate::ControlState;
use crate::log::ACKNOWLEDGE_WAIT_MIN;
use crate::people::viewer_of;
use crate::viewer_tokens::{Error, Wanted};

/// Life of a member's token in seconds. Whoever watches for longer asks again; whoever is no member any more loses it at once.
const TTL_S: u64 = 3_600;
/// The same where the names of cluster and stream leave no room for the member, whose token then ends by itself only.
const NAMELESS_TTL_S: u64 = 300;

/// Makes a viewer token for somebody who is signed in. It ends when the member is suspended or deleted.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/watch", tag = "streams", params(("stream" = String, Path, description = "Name or identity")),
    responses((status = 201, description = "The token, and where it leads", body = ViewerToken)),
)]
pub(crate) async fn create(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let channel = find(&shared, &call, &name).await?;
    let Some(person) = &call.principal.person else {
        let detail = "only people watch as members: programs make viewer tokens for their viewers";
        return Err(Problem::new(Type::State, detail));
    };
    // An operator watches everywhere, and is one member all the same.
    let (stream, member) = (channel.name, person.member.id.as_str());
    let wanted =
        |sub, ttl_s| Wanted { streams: vec![stream.to_string()], sub, ttl_s: Some(ttl_s), ..Wanted::default() };
    let made = match shared.make_token(&call.tenant, wanted(Some(viewer_of(member)), TTL_S)).await {
        Err(Error::NotMade(NotMade::TooLong(_))) => shared.make_token(&call.tenant, wanted(None, NAMELESS_TTL_S)).await,
        made => made,
    };
    let made = made?;
    if let Some(sequence) = made.new_key {
        // Nodes have to know the key before a viewer comes with its first token.
        let nodes: Vec<NodeId> = shared.writer.log().look(|view| {
            let nodes = view.members().filter(|member| member.role == Role::Broadcast);
            nodes.map(|member| member.node.clone()).collect()
        });
        let all = |have: &[NodeId]| nodes.iter().all(|node| have.contains(node));
        shared.writer.acknowledged(sequence, all, ACKNOWLEDGE_WAIT_MIN).await;
    }
    let (token, base) = (&made.token, &call.base_url);
    let expires_at = UnixMillis(i64::try_from(made.claims.exp.saturating_mul(1_000)).unwrap_or(i64::MAX));
    let urls = Some(TokenUrls::of(base, token, &stream));
    let jti = made.claims.jti.to_string();
    let answer = json!(ViewerToken { token: token.clone(), jti: jti.clone(), expires_at: expires_at.0, urls });
    let change = Change {
        edit: Edit::Nothing,
        object: channel.id.to_string(),
        changes: json!({ "jti": jti, "member": member }),
        status: StatusCode::CREATED,
        answer,
    };
    call.commit(&shared, change).await
}
