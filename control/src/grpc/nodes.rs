//! `Cluster`: the nodes, and what the operator wants of them.

use std::sync::Arc;

use axum::http::Method;
use tonic::{Request, Response, Status, async_trait};

use super::door::{Asked, Door, message};
use super::listener::{Messages, listen};
use super::v1::cluster_server::Cluster;
use super::v1::{
    DrainRequest, GetNodeRequest, GetPolicyRequest, ListNodesRequest, ListNodesResponse, Node, Policy, UndrainRequest,
    WatchNodesRequest, WatchNodesResponse,
};
use super::watch_nodes::NodeChanges;
use crate::api::nodes;

pub(super) struct Nodes(Door);

impl Nodes {
    pub(super) const fn new(door: Door) -> Self {
        Self(door)
    }
}

const ALL: &str = "/api/v1/nodes";

#[async_trait]
impl Cluster for Nodes {
    async fn list(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let ask = |asked: ListNodesRequest| {
            Asked::of(Method::GET, ALL).with("limit", asked.limit).with("cursor", asked.cursor)
        };
        self.0.answer(request, ask, |state, _, call| nodes::list(state, call), message).await
    }

    async fn get(&self, request: Request<GetNodeRequest>) -> Result<Response<Node>, Status> {
        let ask = |asked: GetNodeRequest| Asked::of(Method::GET, "/api/v1/nodes/{node}").about(asked.node);
        self.0.answer(request, ask, nodes::show, message).await
    }

    type WatchNodesStream = Messages<WatchNodesResponse>;

    async fn watch_nodes(
        &self,
        request: Request<WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let entered = self.0.open(request, |_| Asked::of(Method::GET, ALL)).await?;
        let shared = Arc::clone(self.0.shared());
        let messages = listen(&shared, &entered, NodeChanges::default())?;
        Ok(entered.respond(messages))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<Node>, Status> {
        let ask = |asked: DrainRequest| Asked::of(Method::POST, "/api/v1/nodes/{node}/drain").about(asked.node);
        self.0.answer(request, ask, nodes::drain, message).await
    }

    async fn undrain(&self, request: Request<UndrainRequest>) -> Result<Response<Node>, Status> {
        let ask = |asked: UndrainRequest| Asked::of(Method::POST, "/api/v1/nodes/{node}/undrain").about(asked.node);
        self.0.answer(request, ask, nodes::undrain, message).await
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<Policy>, Status> {
        let ask = |_| Asked::of(Method::GET, "/api/v1/policy");
        self.0.answer(request, ask, |state, _, call| nodes::policy(state, call), message).await
    }
}
