//! The port of viewers and balancers: a certificate counts while its node is a member.

use std::net::Ipv4Addr;
use std::sync::Arc;

use node::http::{self, Limits, Members, Peer};
use node::{CancellationToken, Role};
use tokio::sync::watch;

use super::{Authority, Clock, b1, identity, router, within};

/// All nodes are members, or none is.
#[derive(Debug)]
struct Told(watch::Sender<bool>, watch::Sender<()>);

impl Told {
    fn say(&self, are_members: bool) {
        self.0.send_replace(are_members);
        self.1.send_replace(());
    }
}

impl Members for Told {
    fn is_member(&self, _peer: &Peer) -> bool {
        *self.0.borrow()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.1.subscribe()
    }
}

#[tokio::test]
async fn balancer_connects_again_when_it_is_a_member_and_when_it_is_none_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
    let listener = acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), "a_listen").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let members = Arc::new(Told(watch::Sender::new(false), watch::Sender::new(())));
    let tls = (identity(&authority, "b1", Role::Broadcast).server_visitors(), Arc::clone(&members));
    let router = router(Arc::default());
    let running = tokio::spawn(http::serve_tls(listener, tls, router, Limits::default(), shutdown.clone()));
    let balancer = identity(&authority, "lb", Role::LoadBalancer).client(b1());
    let clients = [&b"http/1.1"[..], b"h2"].map(|protocol| {
        let mut tls = balancer.clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let builder = reqwest::Client::builder().no_proxy().use_preconfigured_tls(tls);
        builder.resolve("b1", address).build().unwrap()
    });
    let who = async |client: &reqwest::Client| {
        let asked = client.get(format!("https://b1:{}/who", address.port())).send();
        // A request may meet the end of its connection.
        within("an answer", asked).await.ok()?.text().await.ok()
    };
    for (are_members, known_as) in [(false, "nobody"), (true, "loadbalancer lb"), (false, "nobody")] {
        members.say(are_members);
        for client in &clients {
            // What it was known as before ends with the connection that it has.
            within(known_as, async { while who(client).await.as_deref() != Some(known_as) {} }).await;
        }
    }
    shutdown.cancel();
    within("the end of the listener", running).await.unwrap().unwrap();
}
