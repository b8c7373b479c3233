//! Servers that have a certificate of the cluster, but are not the node that the ingest expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use messages::{Role, SessionState};

use crate::cluster::{Cluster, KEY, table_of, text};
use crate::log;

/// A stream key of the thief's choice.
const STOLEN: &str = "key-of-a-thief";

/// What has reached an impostor.
#[derive(Default)]
struct Reached {
    questions: AtomicUsize,
    bytes: AtomicUsize,
}

impl Reached {
    fn assert_nothing(&self) {
        let questions = self.questions.load(Ordering::SeqCst);
        assert_eq!(questions, 0, "requests reached the impostor, with {} bytes", self.bytes.load(Ordering::SeqCst));
    }
}

async fn count(State(reached): State<Arc<Reached>>, body: Bytes) {
    reached.questions.fetch_add(1, Ordering::SeqCst);
    reached.bytes.fetch_add(body.len(), Ordering::SeqCst);
}

/// Control as a thief would run it: `demo` has the thief's key.
fn forged_control(reached: &Arc<Reached>) -> Router {
    async fn table(State(reached): State<Arc<Reached>>) -> String {
        reached.questions.fetch_add(1, Ordering::SeqCst);
        table_of(&[STOLEN.to_owned()])
    }
    Router::new()
        .route("/cluster/v1/streams", get(table))
        .route("/cluster/v1/grants", post(count))
        .with_state(Arc::clone(reached))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_of_a_control_node_moves_no_ingest_to_another_table() {
    let mut cluster = Cluster::start(|_| {}).await;
    let reached = Arc::<Reached>::default();
    let stolen = cluster.identity("b4");
    let url = cluster.impersonate(&stolen, forged_control(&reached)).await;
    let _thief = cluster.say_presence("b4", Role::Broadcast, Role::Control, url).await;
    cluster.streams_are_asked_for(5).await;
    reached.assert_nothing();

    let thief = cluster.publish(&cluster.url("live", STOLEN), 5).end().await;
    assert!(!thief.status.success() && text(&thief).contains("Wrong stream key"), "{}", text(&thief));
    let publisher = cluster.publish(&cluster.url("live", KEY), 4).end().await;
    assert!(publisher.status.success(), "the right key: {}", text(&publisher));
    // A restart asks control for everything again, and the broker repeats the presence.
    cluster.stop_ingest().await;
    cluster.start_ingest().await;
    cluster.streams_are_asked_for(5).await;
    reached.assert_nothing();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_another_role_at_the_address_of_control_gets_no_question() {
    let mut cluster = Cluster::start(|_| {}).await;
    cluster.stop_ingest().await;
    let reached = Arc::<Reached>::default();
    let stolen = cluster.identity("b4");
    let url = cluster.impersonate(&stolen, forged_control(&reached)).await;
    let refused = "tls_wrong_servers_total{expected=\"control\"}";
    let before = cluster.counted(refused).await;
    cluster.start_ingest_under(url).await;
    cluster.eventually_counted(refused, before + 2).await;
    reached.assert_nothing();
    assert!(!cluster.ops.is_ready(), "an ingest without control's word is not ready");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_at_the_address_of_control_gets_no_question() {
    let mut cluster = Cluster::start(|_| {}).await;
    cluster.stop_ingest().await;
    let reached = Arc::<Reached>::default();
    let certificate = cluster.broker_certificate();
    let url = cluster.serve_over(certificate.server(), forged_control(&reached)).await;
    // An operator may have put both authorities into one file.
    cluster.trust_brokers_as_nodes();
    let refused = "tls_wrong_servers_total{expected=\"control\"}";
    let before = cluster.counted(refused).await;
    cluster.start_ingest_under(url).await;
    cluster.eventually_counted(refused, before + 2).await;
    reached.assert_nothing();
    assert!(!cluster.ops.is_ready());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_is_pushed_to_nobody_but_the_node_that_owns_the_stream() {
    // The first has another name than the owner, the second has another role.
    for (name, role) in [("b4", Role::Broadcast), ("i2", Role::Ingest)] {
        let mut cluster = Cluster::start(|_| {}).await;
        let reached = Arc::<Reached>::default();
        let stolen = cluster.identity_of(name, role);
        let router = Router::new().fallback(count).with_state(Arc::clone(&reached));
        let url = cluster.impersonate(&stolen, router).await;
        let _owner = cluster.say_presence("b2", Role::Broadcast, Role::Broadcast, url).await;
        let refused = "tls_wrong_servers_total{expected=\"broadcast\"}";
        let before = cluster.counted(refused).await;
        let publisher = cluster.publish(&cluster.url("live", KEY), 8);
        cluster.session_where("owned by both", |session| session.owners.len() == 2).await;
        assert!(publisher.end().await.status.success());
        cluster.session(SessionState::Reconnecting).await;
        cluster.eventually_counted(refused, before + 1).await;
        reached.assert_nothing();
        cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
        log::check(&cluster.receiver);
        cluster.stop().await;
    }
}
