//! `sealcast.v1` (gRPC): the same rules and the same functions as `/api/v1` ([`crate::api`]), for programs that follow what happens.
//!
//! [`door`] reads a call and writes its answer, [`status`] writes refusals, and the other modules are one service each. A call names the route of
//! HTTP whose rules hold for it. The listener asks for no certificate of nodes: programs show an API key, or a token of an issuer.

mod door;
mod listener;
mod nodes;
mod status;
mod streams;
mod watch;
mod watch_nodes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use node::CancellationToken;
use node::http::{Limits, Peer};
use tokio::net::TcpListener;
use tonic::service::Routes;

use self::door::Door;
use self::nodes::Nodes;
use self::streams::Streams;
use self::v1::catalogue_server::CatalogueServer;
use self::v1::cluster_server::ClusterServer;
use crate::ControlState;
use crate::api::request_id;

#[allow(
    unreachable_pub,
    clippy::pedantic,
    clippy::all,
    clippy::unwrap_used,
    rust_2018_idioms,
    reason = "tonic makes it of the definitions below control/proto"
)]
mod v1 {
    tonic::include_proto!("sealcast.v1");
}

/// The definitions, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sealcast.v1.bin"));
/// Longest message of a request in bytes, as HTTP bounds its bodies.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Programs, each with a connection or two.
const CONNECTIONS_MAX: usize = 256;
/// Of one address, when all are taken: an office behind one router.
const CONNECTIONS_SHARE: usize = 64;
/// Calls at once on one connection.
const CALLS_MAX: u32 = 64;
/// What the paths of the services begin with that need no credential.
const OPEN: &str = "/grpc.";

/// Serves gRPC until `shutdown`.
///
/// # Errors
/// When the listener fails for good.
pub(crate) async fn serve(
    shared: Arc<ControlState>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let door = Door::new(Arc::clone(&shared));
    let streams = CatalogueServer::new(Streams::new(door.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let nodes = ClusterServer::new(Nodes::new(door)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<CatalogueServer<Streams>>().await;
    reporter.set_serving::<ClusterServer<Nodes>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = Routes::new(streams)
        .add_service(nodes)
        .add_service(health.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(reflection().build_v1()?.max_decoding_message_size(MESSAGE_BYTES_MAX))
        // Tools that know no newer one.
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .into_axum_router()
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), count_strangers));
    let limits = Limits {
        name: "grpc",
        connections_max: CONNECTIONS_MAX,
        connections_share: CONNECTIONS_SHARE,
        handshake_timeout: Duration::from_secs(5),
        streams_max: CALLS_MAX,
        ..Limits::default()
    };
    node::http::serve_tls(listener, shared.node.identity.server_programs(), router, limits, shutdown).await
}

/// Counts calls that need no credential for their address, as all others are.
async fn count_strangers(State(shared): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<Peer>().and_then(Peer::counted_as);
    if request.uri().path().starts_with(OPEN)
        && let Some(address) = address
        && let Err(problem) = shared.api.count_stranger(address, shared.node.clock.elapsed())
    {
        return status::of(&problem, &request_id(&shared, request.headers())).into_http::<Body>();
    }
    next.run(request).await
}
