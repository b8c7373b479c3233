//! A connection with many responses at once leaves others their turns. All of it runs on one thread, where tasks take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use axum::Router;
use axum::routing::get;
use tokio::sync::watch;

use super::{Limits, Plane, Server, client, within};

/// Requests that wait for the same thing.
const BLOCKED: usize = 100;
/// Most responses between two turns of another task: those of one turn of the connection, and room.
const ANSWERED_MAX: usize = 20;

#[tokio::test]
async fn requests_that_all_go_on_at_once_let_other_tasks_run_in_between() {
    let (waiting, answered) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let go = watch::Sender::new(false);
    let blocked = {
        let (waiting, answered, go) = (Arc::clone(&waiting), Arc::clone(&answered), go.clone());
        move || {
            let (waiting, answered, mut go) = (Arc::clone(&waiting), Arc::clone(&answered), go.subscribe());
            async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                go.wait_for(|go| *go).await.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
                "here"
            }
        }
    };
    let server = Server::serve(Plane::Public, Limits::default(), Router::new().route("/blocked", get(blocked))).await;
    let client = client(server.stranger(&["h2"]));
    // All go over one connection, which has to be there.
    assert_eq!(client.get(server.url("/")).send().await.unwrap().status(), 404);
    let requests: Vec<_> = (0..BLOCKED).map(|_| tokio::spawn(client.get(server.url("/blocked")).send())).collect();
    within("all wait", async {
        while waiting.load(Ordering::SeqCst) < BLOCKED {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let is_over = Arc::<AtomicBool>::default();
    let other = tokio::spawn({
        let (answered, is_over) = (Arc::clone(&answered), Arc::clone(&is_over));
        let mut most = 0;
        // Runs whenever the tasks that are ready had their turn.
        std::future::poll_fn(move |context| {
            most = most.max(answered.swap(0, Ordering::SeqCst));
            context.waker().wake_by_ref();
            if is_over.load(Ordering::SeqCst) { Poll::Ready(most) } else { Poll::Pending }
        })
    });
    go.send_replace(true);
    for request in requests {
        assert_eq!(within("an answer", request).await.unwrap().unwrap().text().await.unwrap(), "here");
    }
    is_over.store(true, Ordering::SeqCst);
    let most = within("the other task", other).await.unwrap();
    assert!(most <= ANSWERED_MAX, "{most} requests were answered before another task ran");
    server.stop().await;
}
