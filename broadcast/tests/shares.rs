//! What one host can take of a node that viewers reach directly, and what it leaves to others.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;

use broadcast::Config;
use metadata::Revoked;
use node::Role;
use support::viewer::{Answer, Viewer};
use support::{Ingest, Node, Zone, eventually};
use testkit::studio::Studio;
use tokio::task::JoinHandle;

const GREEDY: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SCHOOL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The next part after two segments.
const WAITS: &str = "/live/demo/1080p/index.m3u8?_HLS_msn=2&_HLS_part=0";
/// A node takes 128 requests at once on a connection.
const REQUESTS_PER_CONNECTION: usize = 120;

struct Scene {
    zone: Zone,
    node: Node,
    ingest: Ingest,
    studio: Studio,
}

impl Scene {
    async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let zone = Zone::start().await;
        let node = zone.node_with("b1", configure).await;
        let mut studio = Studio::new("demo", zone.now());
        let ingest = zone.ingest("i1", &studio).await;
        ingest.play(&[&node], &mut studio).await;
        ingest.play(&[&node], &mut studio).await;
        Self { zone, node, ingest, studio }
    }

    /// The node has a metadata log from now on, which names no balancer.
    async fn begin_log(&self) {
        self.zone.add_member(&self.zone.issued("b1", Role::Broadcast), Role::Broadcast).await;
        self.zone.begin_log(&[(&self.ingest.context, Role::Ingest)]).await;
        self.node.knows_the_log_of(&self.zone).await;
    }

    /// Requests of an address that wait, or are refused at once.
    fn block(&self, address: Ipv4Addr, requests: usize) -> Vec<JoinHandle<Answer>> {
        let connect = || Viewer::at(address, &self.zone.control.identity, b"h2", &self.node);
        spread(connect, requests)
    }

    /// Pushes what the requests wait for.
    async fn release(&mut self) {
        let row = self.studio.row(self.zone.now());
        self.ingest.push(&[&self.node], &row).await;
    }
}

fn spread(connect: impl Fn() -> Viewer, requests: usize) -> Vec<JoinHandle<Answer>> {
    let mut answers = Vec::new();
    while answers.len() < requests {
        let viewer = connect();
        let more = (requests - answers.len()).min(REQUESTS_PER_CONNECTION);
        answers.extend((0..more).map(|_| {
            let viewer = viewer.clone();
            tokio::spawn(async move { viewer.get(WAITS, &[]).await })
        }));
    }
    answers
}

/// How many of the answers are there.
fn answered(answers: &[JoinHandle<Answer>]) -> usize {
    answers.iter().filter(|answer| answer.is_finished()).count()
}

/// How many were shown the playlist, and how many were told to come again.
async fn outcome(answers: Vec<JoinHandle<Answer>>) -> (usize, usize) {
    let (mut shown, mut refused) = (0, 0);
    for answer in answers {
        let answer = answer.await.unwrap();
        match answer.status {
            200 => shown += 1,
            503 if answer.header("retry-after") == "1" => refused += 1,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    (shown, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_blocks_in_all_places_gives_way_to_viewers_elsewhere() {
    let configure = |config: &mut Config| (config.waiting_max, config.waiting_share) = (200, 20);
    let mut scene = Scene::start(configure).await;
    let greedy = scene.block(GREEDY, 300);
    scene.node.waiting(200).await;
    eventually("100 to be refused", async || answered(&greedy) == 100).await;
    let viewers = scene.block(ELSEWHERE, 50);
    eventually("50 more to give way", async || answered(&greedy) == 150).await;
    assert_eq!(answered(&viewers), 0, "they wait");
    scene.release().await;
    assert_eq!((outcome(viewers).await, outcome(greedy).await), ((50, 0), (150, 150)));
}

/// 300 viewers with the four requests of a player of low latency.
#[tokio::test(flavor = "multi_thread")]
async fn school_behind_one_address_keeps_its_places_while_another_host_takes_all() {
    let share = Config::default().waiting_share;
    let mut scene = Scene::start(|config| config.waiting_max = 1_200 + share + 100).await;
    let school = scene.block(SCHOOL, 1_200);
    scene.node.waiting(1_200).await;
    let greedy = scene.block(GREEDY, share + 200);
    scene.node.waiting(1_200 + share + 100).await;
    let viewers = scene.block(ELSEWHERE, 100);
    eventually("100 to be refused, and 100 to give way", async || answered(&greedy) == 200).await;
    assert_eq!((answered(&school), answered(&viewers)), (0, 0), "they wait");
    scene.release().await;
    assert_eq!((outcome(school).await, outcome(viewers).await), ((1_200, 0), (100, 0)));
    assert_eq!(outcome(greedy).await, (share, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn balancer_is_not_counted_as_one_viewer() {
    let configure = |config: &mut Config| (config.waiting_max, config.waiting_share) = (200, 20);
    let mut scene = Scene::start(configure).await;
    let identity = scene.zone.balancer_identity();
    // It has the address of the greedy host.
    let balancer = spread(|| Viewer::balancer(&identity, b"h2", &scene.node), 160);
    scene.node.waiting(160).await;
    let greedy = scene.block(GREEDY, 40);
    scene.node.waiting(200).await;
    let viewers = scene.block(ELSEWHERE, 20);
    eventually("20 to give way", async || answered(&greedy) == 20).await;
    let one_more = Viewer::at(SCHOOL, &scene.zone.control.identity, b"h2", &scene.node);
    assert_eq!(one_more.get(WAITS, &[]).await.status, 503, "the others have no more than their share");
    assert_eq!((answered(&balancer), answered(&viewers)), (0, 0), "they wait");
    scene.release().await;
    assert_eq!((outcome(balancer).await, outcome(viewers).await), ((160, 0), (20, 0)));
    assert_eq!(outcome(greedy).await, (20, 20));
}

/// A balancer whose certificate has been signed by a stolen authority is in no metadata log.
#[tokio::test(flavor = "multi_thread")]
async fn balancer_that_is_no_member_has_the_share_of_a_viewer() {
    let configure = |config: &mut Config| (config.waiting_max, config.waiting_share) = (200, 20);
    let mut scene = Scene::start(configure).await;
    scene.begin_log().await;
    let forged = scene.zone.balancer_identity();
    let requests = spread(|| Viewer::balancer(&forged, b"h2", &scene.node), 200);
    scene.node.waiting(200).await;
    let viewers = scene.block(ELSEWHERE, 50);
    eventually("50 to give way", async || answered(&requests) == 50).await;
    assert_eq!(answered(&viewers), 0, "they wait");
    scene.release().await;
    assert_eq!((outcome(viewers).await, outcome(requests).await), ((50, 0), (150, 50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn balancer_that_is_revoked_has_the_share_of_a_viewer_from_then_on() {
    let configure = |config: &mut Config| (config.waiting_max, config.waiting_share) = (200, 20);
    let mut scene = Scene::start(configure).await;
    let identity = scene.zone.balancer_identity();
    scene.zone.add_member(&identity, Role::LoadBalancer).await;
    scene.begin_log().await;
    let block = |requests| spread(|| Viewer::balancer(&identity, b"h2", &scene.node), requests);
    let waiting = block(100);
    scene.node.waiting(100).await;
    scene.zone.granter.revoke(Revoked::Node(identity.node().clone())).await.unwrap();
    scene.node.knows_the_log_of(&scene.zone).await;
    let more = block(120);
    eventually("20 to be refused", async || answered(&more) == 20).await;
    let viewers = scene.block(ELSEWHERE, 50);
    eventually("50 to give way", async || answered(&more) == 70).await;
    assert_eq!((answered(&waiting), answered(&viewers)), (0, 0), "they wait");
    scene.release().await;
    assert_eq!((outcome(waiting).await, outcome(viewers).await), ((100, 0), (50, 0)));
    assert_eq!(outcome(more).await, (50, 70));
}

/// Those of the host are more than the threads that serve viewers answer at once.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_answered_before_a_host_whose_hundreds_of_requests_wait_for_the_same() {
    let mut scene = Scene::start(|_| {}).await;
    let greedy = Arc::new(scene.block(GREEDY, 1_200));
    scene.node.waiting(1_200).await;
    let viewers: Vec<_> = (10..30).flat_map(|last| scene.block(Ipv4Addr::new(127, 0, 0, last), 1)).collect();
    scene.node.waiting(1_220).await;
    let before: Vec<_> = viewers
        .into_iter()
        .map(|viewer| {
            let greedy = Arc::clone(&greedy);
            tokio::spawn(async move { (viewer.await.unwrap().status, answered(&greedy)) })
        })
        .collect();
    scene.release().await;
    for viewer in before {
        let (status, before) = viewer.await.unwrap();
        assert!(status == 200 && before < 600, "{status}: {before} requests of the host were answered before");
    }
    assert_eq!(outcome(Arc::into_inner(greedy).unwrap()).await, (1_200, 0));
}
