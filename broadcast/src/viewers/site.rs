//! What all routes share, and the checked names in their paths.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use gate::Rendered;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use media::NodeId;
use serde::de::DeserializeOwned;

use super::render::Render;
use super::seen::Waiting;
use super::web::MadePages;
use super::{AccessControl, ChatHub, Direct, Snapshots, Traffic, respond};

pub(super) const CBOR_SEQUENCE: HeaderValue = HeaderValue::from_static("application/cbor-seq");

/// Settings of the viewers' side of a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name: in every answer, as `x-sealcast-node`.
    pub node: NodeId,
    /// EXT-X-TARGETDURATION in seconds. A playlist may be kept for half of it.
    pub target_duration_s: u32,
    /// How viewers reach nodes directly; `None` where all come through a balancer.
    pub direct: Option<Direct>,
    /// Who may have what.
    pub access: Arc<AccessControl>,
    pub chat: Arc<ChatHub>,
}

/// What all routes share.
pub(super) struct Site {
    pub(super) snapshots: Arc<dyn Snapshots>,
    pub(super) settings: Settings,
    pub(super) traffic: Arc<Traffic>,
    pub(super) node: HeaderValue,
    pub(super) openapi: Rendered,
    pub(super) render: Render,
    pub(super) pages: MadePages,
    pub(super) waiting: Waiting,
}

pub(super) type Shared = State<Arc<Site>>;

pub(super) fn not_found() -> Response {
    respond::refuse(StatusCode::NOT_FOUND, "there is nothing at this URL\n")
}

/// Checked path parameters. A name that cannot exist is not found, like one that does not.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Site>> for Names<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        match Path::from_request_parts(parts, site).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(_) => Err(not_found()),
        }
    }
}
