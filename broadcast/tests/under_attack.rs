//! Viewers watch while one host takes all it can. Judged by what they are served: every playlist and every part, in order.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use messages::Role;
use node::tls::Server;
use support::{Zone, eventually};
use testkit::hostile::{Attack, Attacking, Host, Place, Timeline, watch};
use testkit::studio::{PARTS, Studio};
use tokio::sync::watch;

const VIEWERS: usize = 40;
/// Parts that each viewer watches during an attack.
const ROWS: usize = 12;
/// What the attacker has to have done by then, and how much there is of what it takes.
const ATTACKS_MIN: u64 = 100;
/// Longest wait for a row to reach all viewers; a stall is a refusal, and not this.
const PATIENCE: Duration = Duration::from_secs(30);
const MEDIA_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_served_everything_while_one_host_attacks() {
    let zone = Zone::start().await;
    let configure = |config: &mut broadcast::Config| {
        (config.waiting_max, config.waiting_share) = (400, 40);
        (config.connections_max, config.connections_share) = (80, Some(8));
        (config.media_bytes_max, config.dvr_window_s) = (MEDIA_BYTES_MAX, 60);
    };
    let node = zone.node_with("b1", configure).await;
    let mut studio = Studio::new("demo", zone.now());
    (studio.renditions, studio.part_bytes) = (vec!["1080p".into()], 100_000);
    let ingest = zone.ingest("i1", &studio).await;
    ingest.play(&[&node], &mut studio).await;
    ingest.play(&[&node], &mut studio).await;
    let timeline = Timeline { path: "/live/demo/1080p".to_owned(), parts_per_segment: PARTS };
    let host = |address| Host {
        address,
        server: node.https.clone(),
        tls: zone.control.identity.client(Server::Any(Role::Broadcast)),
    };
    let viewers: Vec<_> = (0..VIEWERS)
        .map(|number| host(Ipv4Addr::new(127, 0, 1, u8::try_from(number).unwrap())).client(1 << 20))
        .collect();
    let newest = watch::Sender::new(Place { epoch: 1, msn: 1, part: PARTS - 1 });
    for attack in Attack::ALL {
        let attacking = Attacking::start(attack, &host(Ipv4Addr::new(127, 0, 0, 9)), &timeline, &newest.subscribe());
        let next = timeline.after(*newest.borrow());
        let seen = watch::Sender::new(0);
        let watching: Vec<_> = viewers
            .iter()
            .map(|client| {
                let seen = seen.clone();
                let noted = move |_| seen.send_modify(|seen| *seen += 1);
                tokio::spawn(watch(client.clone(), (node.https.clone(), timeline.clone()), (next, ROWS), noted))
            })
            .collect();
        for row in 1..=ROWS {
            let pushed = studio.row(zone.now());
            ingest.push(&[&node], &pushed).await;
            newest.send_modify(|newest| *newest = timeline.after(*newest));
            // A viewer that is refused something ends, and is missed here.
            let mut seen = seen.subscribe();
            let all = seen.wait_for(|seen| *seen == row * VIEWERS);
            if tokio::time::timeout(PATIENCE, all).await.is_err() {
                for viewer in watching.into_iter().filter(tokio::task::JoinHandle::is_finished) {
                    assert_eq!(viewer.await.unwrap(), Ok(()), "{}", attack.name());
                }
                panic!("{}: viewers wait for row {row} in vain", attack.name());
            }
        }
        for viewer in watching {
            assert_eq!(viewer.await.unwrap(), Ok(()), "{}", attack.name());
        }
        eventually("the host attacks", async || attacking.done() >= ATTACKS_MIN).await;
        let taken = node.status().await["media_bytes"].as_u64().unwrap();
        assert!(taken <= MEDIA_BYTES_MAX, "{}: {taken} bytes of media", attack.name());
    }
}
