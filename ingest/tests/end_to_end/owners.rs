//! Streams are pushed to the configured number of owners, and to another node in place of an owner that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{Method, StatusCode};
use media::NodeId;
use messages::{Role, SessionInfo};
use node::CancellationToken;

use crate::cluster::{Cluster, KEY};

/// A node that accepts and counts every push.
struct Node {
    pushes: Arc<AtomicUsize>,
    here: CancellationToken,
}

async fn node(cluster: &mut Cluster, name: &str) -> Node {
    let pushes = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&pushes);
    let router = Router::new().fallback(move |method: Method| async move {
        if method != Method::PUT {
            return StatusCode::NOT_FOUND;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        StatusCode::CREATED
    });
    let here = CancellationToken::new();
    cluster.serve_until(name, Role::Broadcast, router, here.clone()).await;
    Node { pushes, here }
}

fn owners(session: &SessionInfo) -> Vec<String> {
    session.owners.iter().map(NodeId::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_is_pushed_to_its_owners_and_to_another_node_when_one_is_gone() {
    let mut cluster = Cluster::start(|_| {}).await;
    let mut nodes = BTreeMap::new();
    for name in ["b2", "b3"] {
        nodes.insert(name.to_owned(), node(&mut cluster, name).await);
    }
    cluster.leave("b1");
    nodes.insert("b4".to_owned(), node(&mut cluster, "b4").await);
    let publisher = cluster.publish(&cluster.url("live", KEY), 60);
    let session = cluster.session_where("two owners", |session| session.owners.len() == 2).await;
    let (first, replicas) = (owners(&session), session.replicas);
    assert_eq!(replicas, 2);
    let pushed = |names: &[String], nodes: &BTreeMap<String, Node>| {
        names.iter().all(|name| nodes[name].pushes.load(Ordering::SeqCst) > 8)
    };
    cluster.eventually("both owners are pushed to", || pushed(&first, &nodes)).await;
    let spare = nodes.keys().find(|name| !first.contains(name)).unwrap().clone();
    assert_eq!(nodes[&spare].pushes.load(Ordering::SeqCst), 0, "a node that owns nothing is left alone");

    nodes[&first[0]].here.cancel();
    let session = cluster.session_where("the spare node as owner", |session| owners(session).contains(&spare)).await;
    let mut expected = vec![first[1].clone(), spare.clone()];
    expected.sort();
    assert_eq!(owners(&session), expected, "the other owner stays");
    cluster.eventually("the new owner is pushed to", || pushed(&expected, &nodes)).await;
    drop(publisher);
    cluster.stop().await;
}
