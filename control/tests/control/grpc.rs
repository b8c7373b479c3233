//! `sealcast.v1` by a real client over TLS: credentials, scopes, tenants, repeats, refusals, nodes, health and reflection.

use std::net::SocketAddr;

use control::{Config, Control};
use messages::Role;
use node::presence::PresenceParts;
use node::problem::Type;
use node::{CancellationToken, presence};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};
use tonic_types::StatusExt as _;

use self::v1::catalogue_client::CatalogueClient;
use self::v1::cluster_client::ClusterClient;
use self::v1::*;
use crate::api::Api;
use crate::cluster::{Cluster, PATIENCE, config};

#[allow(unreachable_pub, clippy::all, clippy::pedantic, rust_2018_idioms, reason = "made of control/proto")]
pub(crate) mod v1 {
    include!(concat!(env!("OUT_DIR"), "/sealcast.v1.rs"));
}

/// Control with its door for programs.
pub(crate) struct Served {
    pub(crate) api: Api,
    pub(crate) grpc: SocketAddr,
    pub(crate) end: CancellationToken,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

async fn run(cluster: &Cluster, end: &CancellationToken) -> (String, SocketAddr, JoinHandle<anyhow::Result<()>>) {
    let config = Config { grpc_listen: Some("127.0.0.1:0".parse().unwrap()), ..config() };
    let context = cluster.context("c1", Role::Control, true, end).await;
    let control = Control::load(config, context).await.unwrap();
    let (base, grpc) = (format!("https://{}/cluster/v1", control.data_address()), control.grpc_address().unwrap());
    (base, grpc, tokio::spawn(control.run(end.clone())))
}

impl Served {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start().await;
        let end = cluster.all.child_token();
        let (base, grpc, task) = run(&cluster, &end).await;
        Self { api: Api::at(cluster, &base).await, grpc, end, task }
    }

    /// Stops control, and starts it again.
    pub(crate) async fn again(self) -> Self {
        let Self { mut api, end, task, .. } = self;
        end.cancel();
        task.await.unwrap().unwrap();
        let end = api.cluster.all.child_token();
        let (base, grpc, task) = run(&api.cluster, &end).await;
        api.moved(&base);
        Self { api, grpc, end, task }
    }

    pub(crate) fn channel(&self) -> Channel {
        let ca = std::fs::read(self.api.cluster.directory.path().join("certs/ca.pem")).unwrap();
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.grpc)).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }

    pub(crate) fn catalogue(&self) -> CatalogueClient<Channel> {
        CatalogueClient::new(self.channel())
    }
}

/// A request with an API key.
pub(crate) fn by<T>(key: &str, message: T) -> Request<T> {
    with(&[("x-api-key", key)], message)
}

pub(crate) fn with<T>(metadata: &[(&'static str, &str)], message: T) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// The reason of a refusal, which is a type of problems.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!(info.domain, "sealcast");
    assert_eq!(info.metadata["request_id"], status.metadata().get("x-request-id").unwrap().to_str().unwrap());
    assert!(Type::named(&info.reason).is_some(), "{}", info.reason);
    info.reason
}

pub(crate) fn named(name: &str) -> CreateStreamRequest {
    CreateStreamRequest { name: name.to_owned(), settings: None }
}

pub(crate) fn titled(stream: &str, title: &str) -> UpdateStreamRequest {
    let settings = StreamSettings { title: Some(title.to_owned()), ..StreamSettings::default() };
    UpdateStreamRequest { stream: stream.to_owned(), settings: Some(settings), version: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_is_made_changed_and_deleted_as_by_http() {
    let served = Served::start().await;
    let api = &served.api;
    api.tenant("acme").await;
    let key = api.secret("acme", "owner").await;
    let mut catalogue = served.catalogue();

    let metadata =
        [("x-api-key", key.as_str()), ("idempotency-key", "0123456789abcdefghij"), ("x-request-id", "own-1")];
    let settings = StreamSettings {
        visibility: Some("token".to_owned()),
        origins: Some(Origins { items: vec!["https://town.example".to_owned()] }),
        chat: Some(ChatSettings { on: Some(true), slow_s: Some(3), writers: None }),
        ..StreamSettings::default()
    };
    let new = CreateStreamRequest { name: "acme.hall".to_owned(), settings: Some(settings) };
    let answer = catalogue.create_stream(with(&metadata, new.clone())).await.unwrap();
    let text = |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(text("x-request-id"), "own-1");
    assert!(text("ratelimit").contains(";r=") && text("x-sealcast-metadata").parse::<u64>().unwrap() > 0);
    let made = answer.into_inner();
    let secret = made.key.clone().unwrap().secret.unwrap();
    assert!(made.id.starts_with("str_") && secret.starts_with("scp_") && made.version == 1, "{made:?}");
    // Again: the same answer, secret included. Another request with that key: none.
    assert_eq!(catalogue.create_stream(with(&metadata, new)).await.unwrap().into_inner(), made);
    let other = catalogue.create_stream(with(&metadata, named("acme.room"))).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_str()), (Code::InvalidArgument, "key-reused"));

    // HTTP shows what gRPC has made, member for member.
    let shown = api.ask(&key, Method::GET, "/api/v1/streams/acme.hall?include=live", None).await.made();
    let get = |with_live| GetStreamRequest { stream: made.id.clone(), with_live };
    let got = catalogue.get_stream(by(&key, get(true))).await.unwrap().into_inner();
    assert_eq!(got.live.as_ref().unwrap().state, "idle");
    let mut got = serde_json::to_value(got).unwrap();
    // What proto has no word for: that there is none.
    got["key"].as_object_mut().unwrap().remove("secret");
    got["live"] = shown["live"].clone();
    assert_eq!(got, shown);

    let updated = catalogue.update_stream(by(&key, titled("acme.hall", "Town hall"))).await.unwrap().into_inner();
    assert_eq!((updated.title.as_str(), updated.version, updated.origins.len()), ("Town hall", 2, 1));
    let stale = UpdateStreamRequest { version: Some(1), ..titled("acme.hall", "Late") };
    let stale = catalogue.update_stream(by(&key, stale)).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "version-mismatch"));
    let long = catalogue.update_stream(by(&key, titled("acme.hall", &"x".repeat(201)))).await.unwrap_err();
    let fields = long.get_details_bad_request().unwrap().field_violations;
    assert_eq!((reason(&long).as_str(), fields[0].field.as_str()), ("invalid", "title"));

    let rotate = RotateStreamKeyRequest { stream: "acme.hall".to_owned() };
    let rotated = catalogue.rotate_stream_key(by(&key, rotate)).await.unwrap().into_inner();
    assert!(rotated.key.unwrap().secret.is_some_and(|new| new != secret));
    let taken = catalogue.create_stream(by(&key, named("acme.hall"))).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::AlreadyExists, "name-taken"));

    catalogue.create_stream(by(&key, named("acme.room"))).await.unwrap();
    let list = |cursor| ListStreamsRequest { limit: Some(1), cursor, ..ListStreamsRequest::default() };
    let first = catalogue.list_streams(by(&key, list(None))).await.unwrap().into_inner();
    let next = catalogue.list_streams(by(&key, list(first.next_cursor.clone()))).await.unwrap().into_inner();
    assert_eq!((first.items[0].name.as_str(), next.items[0].name.as_str()), ("acme.hall", "acme.room"));
    assert!(next.next_cursor.is_none() && next.sequence > 0);
    let bad = catalogue.list_streams(by(&key, list(Some("00".to_owned())))).await.unwrap_err();
    assert_eq!(reason(&bad), "cursor-invalid");

    let delete = DeleteStreamRequest { stream: "acme.hall".to_owned(), version: None };
    catalogue.delete_stream(by(&key, delete)).await.unwrap();
    assert_eq!(reason(&catalogue.get_stream(by(&key, get(false))).await.unwrap_err()), "not-found");
    // One record of each, by the credential, as HTTP makes them.
    let audit = api.ask(&key, Method::GET, "/api/v1/audit?limit=200", None).await.made();
    let of = |action: &str, result: &str| {
        let rows = audit["items"].as_array().unwrap().iter();
        rows.filter(|row| row["action"] == action && row["result"] == result && row["actor"] == "api_key").count()
    };
    for (action, result, count) in [
        ("streams.create", "done", 2),
        ("streams.create", "key-reused", 1),
        ("streams.create", "name-taken", 1),
        ("streams.update", "done", 1),
        ("streams.update", "version-mismatch", 1),
        ("streams.update", "invalid", 1),
        ("streams.rotate-key", "done", 1),
        ("streams.delete", "done", 1),
    ] {
        assert_eq!(of(action, result), count, "{action} {result}: {audit}");
    }
}

/// All that a refusal says.
fn said(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Case A1 at this door.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_absent_are_the_same_and_each_refusal_says_its_reason() {
    let served = Served::start().await;
    let api = &served.api;
    for slug in ["x-corp", "y-corp"] {
        api.tenant(slug).await;
    }
    let foreign = api.stream(&api.secret("y-corp", "owner").await, "y-corp.secret-show").await;
    let mut catalogue = served.catalogue();
    for role in ["viewer", "producer", "owner"] {
        let key = api.secret("x-corp", role).await;
        let metadata = [("x-api-key", key.as_str()), ("x-request-id", "the-same")];
        let id = foreign["id"].as_str().unwrap();
        let none = format!("str_{}", id.trim_start_matches("str_").chars().rev().collect::<String>());
        for (foreign, none) in [(id, none.as_str()), ("y-corp.secret-show", "z-corp.secret-show")] {
            let mut refusals = Vec::new();
            for stream in [foreign, none] {
                let stream = || stream.to_owned();
                let get = GetStreamRequest { stream: stream(), with_live: true };
                let delete = DeleteStreamRequest { stream: stream(), version: None };
                refusals.push([
                    said(&catalogue.get_stream(with(&metadata, get)).await.unwrap_err()),
                    said(&catalogue.update_stream(with(&metadata, titled(&stream(), "mine"))).await.unwrap_err()),
                    said(&catalogue.delete_stream(with(&metadata, delete)).await.unwrap_err()),
                    said(
                        &catalogue
                            .rotate_stream_key(with(&metadata, RotateStreamKeyRequest { stream: stream() }))
                            .await
                            .unwrap_err(),
                    ),
                ]);
            }
            assert_eq!(refusals[0], refusals[1], "{role}");
            assert_eq!(refusals[0][0].0, Code::NotFound, "{role}");
        }
        // No header opens another tenant.
        let theirs = [("x-api-key", key.as_str()), ("x-sealcast-tenant", "y-corp")];
        let theirs = catalogue.list_streams(with(&theirs, ListStreamsRequest::default())).await.unwrap_err();
        assert_eq!(reason(&theirs), "not-found");
        let own = catalogue.list_streams(by(&key, ListStreamsRequest::default())).await.unwrap().into_inner();
        assert_eq!(own.items, []);
    }
    let viewer = api.secret("x-corp", "viewer").await;
    let refused = catalogue.create_stream(by(&viewer, named("x-corp.hall"))).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "scope-missing"));
    let mut cluster = ClusterClient::new(served.channel());
    let owner = api.secret("x-corp", "owner").await;
    let refused = cluster.list(by(&owner, ListNodesRequest::default())).await.unwrap_err();
    assert_eq!(reason(&refused), "scope-missing");
    let refused = cluster.watch_nodes(by(&owner, WatchNodesRequest {})).await.unwrap_err();
    assert_eq!(reason(&refused), "scope-missing");

    let bearer = format!("Bearer {viewer}");
    let list = ListStreamsRequest::default();
    catalogue.list_streams(with(&[("authorization", &bearer)], list.clone())).await.unwrap();
    for (metadata, wanted) in [
        (&[][..], "unauthenticated"),
        (&[("x-api-key", "sc_wrong")], "unauthenticated"),
        (&[("x-api-key", "scv_abc")], "wrong-kind"),
        (&[("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln")], "wrong-kind"),
        (&[("x-api-key", viewer.as_str()), ("authorization", bearer.as_str())], "malformed"),
        // Cookies are for pages.
        (&[("cookie", "__Host-sealcast=scs_abc")], "unauthenticated"),
    ] {
        let refused = catalogue.list_streams(with(metadata, list.clone())).await.unwrap_err();
        assert_eq!(reason(&refused), wanted);
        assert!(!refused.message().contains(&viewer));
    }
    // Whoever guesses is slowed down, at the doors without a credential, too.
    let exhausted = async {
        loop {
            let refused = catalogue.list_streams(with(&[("x-api-key", "sc_wrong")], list.clone())).await.unwrap_err();
            if reason(&refused) == "rate-limited" {
                return refused;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, exhausted).await.unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let mut health = HealthClient::new(served.channel());
    let exhausted = async {
        loop {
            if let Err(refused) = health.check(HealthCheckRequest::default()).await {
                return refused;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, exhausted).await.unwrap();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "rate-limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_sees_drains_and_watches_nodes() {
    let served = Served::start().await;
    let api = &served.api;
    let key = api.secret("default", "operator").await;
    let mut cluster = ClusterClient::new(served.channel());
    let mut told = cluster.watch_nodes(by(&key, WatchNodesRequest {})).await.unwrap().into_inner();
    let appear = async |name: &'static str| {
        api.cluster.member(&format!("{}/cluster/v1", api.base), name, Role::Broadcast).await;
        let context = api.cluster.context(name, Role::Broadcast, true, &served.end).await;
        let parts = || PresenceParts { streams: vec!["hall".parse().unwrap()], ..PresenceParts::default() };
        presence::spawn(&context, parts, served.end.clone());
    };
    let mut until = async |what: &str, is_it: &dyn Fn(&Node) -> bool| {
        let wait = async {
            loop {
                let next = told.message().await.unwrap().expect("the call goes on");
                if next.node.as_ref().is_some_and(is_it) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
    };
    let drain = |node: &str| DrainRequest { node: node.to_owned() };
    appear("b1").await;
    until("b1 appears", &|node| node.name == "b1" && node.health == "online").await;
    let alone = cluster.drain(by(&key, drain("b1"))).await.unwrap_err();
    assert_eq!((alone.code(), reason(&alone).as_str()), (Code::FailedPrecondition, "state"));
    appear("b2").await;
    until("b2 appears", &|node| node.name == "b2").await;

    let list = |cursor| ListNodesRequest { limit: Some(1), cursor };
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = cluster.list(by(&key, list(cursor))).await.unwrap().into_inner();
        assert!(page.items.iter().all(|node| node.streams.is_empty()));
        names.extend(page.items.into_iter().map(|node| node.name));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!(names.contains(&"b1".to_owned()) && names.contains(&"b2".to_owned()) && names.is_sorted(), "{names:?}");
    let get = |node: &str| GetNodeRequest { node: node.to_owned() };
    let b1 = cluster.get(by(&key, get("b1"))).await.unwrap().into_inner();
    assert_eq!((b1.role.as_str(), b1.stream_count, b1.streams), ("broadcast", 1, vec!["hall".to_owned()]));

    let metadata = [("x-api-key", key.as_str()), ("idempotency-key", "0123456789abcdefghij")];
    let drained = cluster.drain(with(&metadata, drain("b1"))).await.unwrap().into_inner();
    assert!(drained.drained && drained.name == "b1");
    assert_eq!(cluster.drain(with(&metadata, drain("b1"))).await.unwrap().into_inner(), drained);
    assert_eq!(reason(&cluster.drain(with(&metadata, drain("b2"))).await.unwrap_err()), "key-reused");
    until("b1 is drained", &|node| node.name == "b1" && node.drained).await;
    let policy = cluster.get_policy(by(&key, GetPolicyRequest {})).await.unwrap().into_inner();
    let expected = NodePolicy { node: "b1".to_owned(), drained: true, weight_percent: 100 };
    assert_eq!(policy.nodes, [expected]);
    let undrained = cluster.undrain(by(&key, UndrainRequest { node: "b1".to_owned() })).await.unwrap().into_inner();
    assert!(!undrained.drained);
    until("b1 is drained no more", &|node| node.name == "b1" && !node.drained).await;
    for (node, wanted) in [("b9", "not-found"), ("", "not-found"), ("c1", "malformed")] {
        assert_eq!(reason(&cluster.drain(by(&key, drain(node))).await.unwrap_err()), wanted, "{node}");
    }
    let audit = api.operate("default", Method::GET, "/api/v1/audit?limit=200", None).await.made();
    let rows = audit["items"].as_array().unwrap();
    let of = |action: &str| -> Vec<(&Value, &Value)> {
        let rows = rows.iter().filter(|row| row["action"] == action && row["result"] == "done");
        rows.map(|row| (&row["object"], &row["changes"]["drained"])).collect()
    };
    assert_eq!(of("nodes.drain"), [(&json!("b1"), &json!(true))]);
    assert_eq!(of("nodes.undrain"), [(&json!("b1"), &json!(false))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_need_no_credential() {
    let served = Served::start().await;
    let mut health = HealthClient::new(served.channel());
    for service in ["", "sealcast.v1.Catalogue", "sealcast.v1.Cluster"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "sealcast.v1.Nothing".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut reflection = ServerReflectionClient::new(served.channel());
    let mut ask = async |what: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        let mut answers = reflection.server_reflection_info(tokio_stream_of(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list")
    };
    let names: Vec<String> = list.service.into_iter().map(|ServiceResponse { name }| name).collect();
    for service in ["sealcast.v1.Catalogue", "sealcast.v1.Cluster", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("sealcast.v1.Catalogue.Watch".to_owned());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("no file") };
    let text = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    assert!(text.contains("WatchRequest") && text.contains("sealcast/v1/catalogue.proto"));

    // HTTP's pages are not behind this door, and without the setting there is none.
    let ca = std::fs::read(served.api.cluster.directory.path().join("certs/ca.pem")).unwrap();
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(plain_tls(&ca))
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let page = client.get(format!("https://localhost:{}/api/v1/problems", served.grpc.port()));
    let page = page.send().await.unwrap();
    assert_eq!(page.headers().get("grpc-status").map(|code| code.as_bytes()), Some(&b"12"[..]), "{page:?}");
    let cluster = Cluster::start().await;
    let context = cluster.context("c1", Role::Control, true, &cluster.all).await;
    assert_eq!(Control::load(config(), context).await.unwrap().grpc_address(), None);
}

fn tokio_stream_of<T: Send + 'static>(one: T) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::iter([one])
}

/// A client that trusts the authority, and shows no certificate.
fn plain_tls(ca: &[u8]) -> rustls::ClientConfig {
    let certificates = node::tls::parse_certificates(ca, std::path::Path::new("ca.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let builder = rustls::ClientConfig::builder_with_provider(node::tls::provider());
    let mut config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
