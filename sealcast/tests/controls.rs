//! Two control nodes on one PostgreSQL, as processes: whichever is killed or stopped, and whatever happens to the database, nothing that was
//! acknowledged is lost, and no change is made twice.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use messages::Role;
use node::tls::{Identity, IdentityPaths, Server};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testkit::cluster::{Cluster, Node};
use testkit::postgres::Postgres;
use testkit::sealcast::text;
use testkit::wait::{PATIENCE, eventually_async, within};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

const CONTROLS: [&str; 2] = ["control", "control2"];
/// How long the other one takes at most to lead, and a broadcast node to hear of it, on a busy machine.
const TURN: Duration = PATIENCE;

/// A control node, and the operator's way to it.
struct Control {
    node: Node,
    base: String,
    operator: Client,
}

impl Control {
    async fn start(cluster: &mut Cluster, name: &str) -> Self {
        let node = cluster.node(name).await;
        let admin: Value = serde_json::from_slice(&std::fs::read(cluster.path("data/admin.json")).unwrap()).unwrap();
        // The configuration named the files as the process sees them.
        let paths: IdentityPaths = serde_json::from_value(admin["identity"].clone()).unwrap();
        let here = |path: PathBuf| cluster.directory.path().join(path);
        let paths = IdentityPaths { certificate: here(paths.certificate), key: here(paths.key), ca: here(paths.ca) };
        let identity = Identity::load(&paths).unwrap();
        let operator = identity.http_client(Server::Node(Role::Control, identity.node().clone())).unwrap();
        Self { node, base: text(&admin, "control"), operator }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.operator.get(format!("{}{path}", self.base)).timeout(Duration::from_secs(5)).send().await;
        answer.ok()?.error_for_status().ok()?.json().await.ok()
    }

    /// Makes a stream; `None` when nobody knows whether it was made.
    async fn make(&self, name: &str, key: &str) -> Option<(StatusCode, Value)> {
        let request = self.operator.post(format!("{}/api/v1/streams", self.base)).header("idempotency-key", key);
        let answer = request.json(&json!({ "name": name })).timeout(TURN).send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    /// A key of the API with these scopes.
    async fn api_key(&self, scopes: &[&str]) -> String {
        let request = self.operator.post(format!("{}/api/v1/api-keys", self.base));
        let key = request.json(&json!({ "name": "program", "scopes": scopes })).send().await;
        let key: Value = key.unwrap().error_for_status().unwrap().json().await.unwrap();
        text(&key, "secret")
    }

    /// Where programs connect by gRPC.
    fn programs(&self, cluster: &Cluster) -> Channel {
        let ca = Certificate::from_pem(std::fs::read(cluster.path("certs/ca.pem")).unwrap());
        let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
        Endpoint::from_shared(text(&self.node.ready, "grpc")).unwrap().tls_config(tls).unwrap().connect_lazy()
    }

    async fn names(&self) -> Option<Vec<String>> {
        let all = self.get("/cluster/v1/admin/streams").await?;
        all.as_array()?.iter().map(|stream| Some(stream["name"].as_str()?.to_owned())).collect()
    }
}

/// What `/status` of a process says of a node in it.
async fn status(cluster: &Cluster, node: &Node, id: &str) -> Option<Value> {
    let url = format!("{}/status", node.ready["ops"].as_str()?);
    let answer = cluster.http.get(url).timeout(Duration::from_secs(2)).send().await.ok()?;
    let all: Value = answer.json().await.ok()?;
    Some(all["nodes"][id].clone())
}

struct Site {
    server: Postgres,
    cluster: Cluster,
    controls: Vec<Control>,
    b1: Node,
}

impl Site {
    async fn start() -> Self {
        let server = Postgres::start();
        let mut cluster = Cluster::start(SEALCAST).await;
        cluster.control_arguments = vec!["--grpc-listen".to_owned(), "127.0.0.1:0".to_owned()];
        cluster.settings = format!("\n[role.control]\ndatabase = \"{}\"\n", server.database());
        let first = Control::start(&mut cluster, CONTROLS[0]).await;
        std::fs::create_dir_all(cluster.path("data/control2")).unwrap();
        for file in ["pepper.key", "metadata.key", "root.pub"] {
            std::fs::copy(cluster.path("data/control").join(file), cluster.path("data/control2").join(file)).unwrap();
        }
        // The first one leads before there is another.
        let leads =
            async || status(&cluster, &first.node, CONTROLS[0]).await.filter(|now| now["lead"]["leads"] == true);
        eventually_async("the first control node leads", TURN, leads).await;
        let second = Control::start(&mut cluster, CONTROLS[1]).await;
        let b1 = cluster.node("b1").await;
        let site = Self { server, cluster, controls: vec![first, second], b1 };
        site.knows(0).await;
        site
    }

    /// Whether the other control node knows that this one leads.
    async fn is_known(&self, leader: usize) -> Option<()> {
        let other = 1 - leader;
        let now = status(&self.cluster, &self.controls[other].node, CONTROLS[other]).await?;
        (now["lead"]["leader"] == CONTROLS[leader]).then_some(())
    }

    /// Waits until the other control node knows who leads.
    async fn knows(&self, leader: usize) {
        eventually_async("the other control node knows who leads", TURN, async || self.is_known(leader).await).await;
    }

    async fn leads(&self, which: usize) {
        let leads = async || {
            let now = status(&self.cluster, &self.controls[which].node, CONTROLS[which]).await?;
            (now["lead"]["leads"] == true).then_some(())
        };
        eventually_async(&format!("{} leads", CONTROLS[which]), TURN, leads).await;
    }

    /// Starts a control node again.
    async fn restart(&mut self, which: usize) {
        self.controls[which] = Control::start(&mut self.cluster, CONTROLS[which]).await;
    }

    /// Waits until all have the same log, which has not forked, and that of the broadcast node is as new.
    async fn agree(&self) {
        let same = async || {
            let one = self.controls[0].get("/cluster/v1/admin/metadata").await?;
            let two = self.controls[1].get("/cluster/v1/admin/metadata").await?;
            let b1 = status(&self.cluster, &self.b1, "b1").await?["metadata"].clone();
            assert!([&one, &two, &b1].iter().all(|log| log.get("fork").is_none()), "{one} {two} {b1}");
            let is_one = |field: &str| one[field] == two[field] && one.get(field).is_some();
            (is_one("state") && is_one("sequence") && b1["sequence"] == one["sequence"]).then_some(())
        };
        eventually_async("all have one log", TURN, same).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_with_one_key_to_two_control_nodes_are_one_change() {
    let site = Site::start().await;
    let before = site.controls[0].names().await.unwrap().len();
    let ask = async |number: usize| {
        for turn in number.. {
            let asked = site.controls[turn % 2].make("made", "one-key-for-fifty-requests").await;
            match asked {
                Some((StatusCode::CREATED, made)) => return made,
                Some((StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS, _)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => panic!("{other:?}"),
            }
        }
        unreachable!("numbers do not end")
    };
    let all = within("fifty answers", futures_util::future::join_all((0..50).map(ask))).await;
    assert!(all.iter().all(|made| *made == all[0] && made["key"]["secret"].is_string()), "all get the one secret");
    assert_eq!(site.controls[1].names().await.unwrap().len(), before + 1);
    site.agree().await;

    // The one that does not lead reads, and says who changes.
    let other = &site.controls[1];
    assert!(other.get("/api/v1/streams/made").await.is_some());
    let (status, problem) = other.make("late", "a-key-of-some-twenty-characters").await.unwrap();
    assert_eq!((status, &problem["type"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("/api/v1/problems/control-away")));
    assert!(problem["detail"].as_str().unwrap().starts_with("control node control leads now"), "{problem}");
}

/// `sealcast.v1.CreateStreamRequest`, as far as this test needs it.
#[derive(Clone, PartialEq, prost::Message)]
struct CreateStream {
    #[prost(string, tag = "1")]
    name: String,
}

/// A request or an answer of which nothing is said or read.
#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// Calls `sealcast.v1.Catalogue`, and reads nothing of the answer.
async fn call<M: prost::Message + 'static>(
    channel: Channel,
    key: &str,
    path: &'static str,
    message: M,
) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    let codec = ProstCodec::<M, Nothing>::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn program_reads_by_grpc_at_both_control_nodes_and_changes_at_the_one_that_leads() {
    let site = Site::start().await;
    let key = site.controls[0].api_key(&["streams:read", "streams:write"]).await;
    let channels = site.controls.iter().map(|control| control.programs(&site.cluster)).collect::<Vec<_>>();
    for channel in &channels {
        let answer = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
        call(channel.clone(), &key, "/sealcast.v1.Catalogue/ListStreams", Nothing {}).await.unwrap();
    }
    let create = "/sealcast.v1.Catalogue/CreateStream";
    let named = |name: &str| CreateStream { name: name.to_owned() };
    let away = call(channels[1].clone(), &key, create, named("late")).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away:?}");
    assert_eq!(away.get_details_error_info().unwrap().reason, "control-away");
    assert!(away.get_details_retry_info().is_some() && away.message().starts_with("control node control leads now"));
    // Whoever shows nothing is told so as well.
    let away = call(channels[1].clone(), "sc_wrong", create, named("late")).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable, "{away:?}");
    call(channels[0].clone(), &key, create, named("made")).await.unwrap();
    let names = site.controls[1].names().await.unwrap();
    assert!(names.contains(&"made".to_owned()) && !names.contains(&"late".to_owned()), "{names:?}");
}

/// Makes streams through the balancer, each until it is acknowledged, until `stop`. Returns their names.
async fn write(http: Client, base: String, api_key: String, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (name, key) = (format!("s{number}"), format!("key-of-the-stream-number-{number}"));
        let acknowledged = async {
            loop {
                let request = http.post(format!("{base}/api/v1/streams")).header("x-api-key", &api_key);
                let request = request.header("idempotency-key", &key).json(&json!({ "name": name }));
                match request.timeout(Duration::from_secs(8)).send().await.map(|answer| answer.status()) {
                    Ok(StatusCode::CREATED) => break,
                    // Busy, on its way, or nobody knows: once more with the same key.
                    Ok(status) => {
                        assert!(status.is_server_error() || [409, 429].contains(&status.as_u16()), "{name}: {status}");
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        within(&format!("{name} is acknowledged"), acknowledged).await;
        made.insert(name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_made_once_whoever_is_killed_and_whatever_happens_to_the_database() {
    let mut site = Site::start().await;
    let balancer = site.cluster.node("lb").await;
    let before: BTreeSet<String> = site.controls[0].names().await.unwrap().into_iter().collect();
    let key = site.controls[0].api_key(&["streams:read", "streams:write"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let base = text(&balancer.ready, "https");
    let writer = tokio::spawn(write(site.cluster.http.clone(), base, key, Arc::clone(&stop)));

    // The one that leads is killed.
    site.controls[0].node.process.kill();
    site.leads(1).await;
    site.restart(0).await;
    site.knows(1).await;
    // The one that does not.
    site.controls[0].node.process.kill();
    site.restart(0).await;
    site.knows(1).await;
    // The database ends as if its machine had lost power, and comes back.
    let mut server = site.server;
    site.server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    })
    .await
    .unwrap();
    // Until its lease is over, the one from before goes on; then either may lead.
    let agreed = async || {
        for (which, control) in site.controls.iter().enumerate() {
            let now = status(&site.cluster, &control.node, CONTROLS[which]).await?;
            if now["lead"]["leads"] == true {
                return site.is_known(which).await;
            }
        }
        None
    };
    eventually_async("one of them leads again, and the other knows it", TURN, agreed).await;
    // Both at once.
    for control in &mut site.controls {
        control.node.process.kill();
    }
    site.restart(1).await;
    site.leads(1).await;
    site.restart(0).await;

    stop.store(true, Ordering::Relaxed);
    let made = writer.await.unwrap();
    assert!(made.len() > 5, "{made:?}");
    for control in &site.controls {
        let names = eventually_async("streams", TURN, async || control.names().await).await;
        let there: BTreeSet<String> = names.iter().cloned().collect();
        assert_eq!(there.len(), names.len(), "none twice");
        assert_eq!(there, before.union(&made).cloned().collect(), "all that was acknowledged, and nothing else");
    }
    site.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_node_that_slept_through_the_end_of_its_lead_writes_nothing() {
    let site = Site::start().await;
    let [first, second] = &site.controls[..] else { panic!("two control nodes") };
    let before = first.names().await.unwrap();
    first.node.process.signal("STOP");
    // Its machine takes the request; it wakes up with it, and believes that it leads.
    let (operator, base) = (first.operator.clone(), first.base.clone());
    let late = tokio::spawn(async move {
        let request = operator.post(format!("{base}/api/v1/streams")).json(&json!({ "name": "late" }));
        request.timeout(TURN).send().await.map(|answer| answer.status())
    });
    site.leads(1).await;
    let (status, made) = second.make("made", "a-key-of-some-twenty-characters").await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{made}");
    first.node.process.signal("CONT");
    let late = within("an answer of the one that slept", late).await.unwrap();
    assert!(late.as_ref().map_or(true, |status| !status.is_success()), "{late:?}");
    site.knows(1).await;
    let (status, problem) = first.make("later", "another-key-of-some-twenty").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    site.agree().await;
    let mut names = second.names().await.unwrap();
    names.retain(|name| !before.contains(name));
    assert_eq!(names, ["made"]);
}
