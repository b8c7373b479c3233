//! RTMP over TLS: the same server at another listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use messages::{Role, SessionState};
use node::tls::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Cluster, KEY, loopback, text};
use crate::log;

fn address(cluster: &Cluster) -> SocketAddr {
    cluster.rtmps.unwrap()
}

async fn tls(cluster: &Cluster) -> TlsStream<TcpStream> {
    let client = TlsConnector::from(Arc::new(cluster.identity("b4").client(Server::Any(Role::Ingest))));
    let socket = TcpStream::connect(address(cluster)).await.unwrap();
    client.connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

/// The certificate that the server shows.
fn certificate(socket: &TlsStream<TcpStream>) -> Vec<u8> {
    socket.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_ffmpeg_sends_over_tls_is_sealed_and_decodes() {
    let cluster = Cluster::start(|config| config.rtmps_listen = Some(loopback())).await;
    let url = format!("rtmps://localhost:{}/live/{KEY}", address(&cluster).port());
    let ca = cluster.file("certs/ca.pem").display().to_string();
    let trusted = ["-g", "60", "-tls_verify", "1", "-ca_file", &ca];
    let output = cluster.publish_with(&url, 8, &trusted).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster.session(SessionState::Reconnecting).await;
    cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    let seals = log::check(&cluster.receiver);
    let seconds = log::decode(&cluster, &seals, &"audio".parse().unwrap());
    assert!((7.8..8.2).contains(&seconds), "{seconds}");
    // Both listeners lead to the same streams.
    let output = cluster.publish(&cluster.url("live", KEY), 3).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on() {
    let cluster = Cluster::start(|config| {
        config.rtmps_listen = Some(loopback());
        config.handshake_s = 60;
    })
    .await;
    let mut open = tls(&cluster).await;
    let before = certificate(&open);
    cluster.renew_certificate();
    let renewed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        while certificate(&tls(&cluster).await) == before {
            ticks.tick().await;
        }
    };
    let wait = node::tls::REREAD_INTERVAL * 3;
    assert!(tokio::time::timeout(wait, renewed).await.is_ok(), "the old certificate is still shown");
    open.write_all(&[3; 1 + 1536]).await.unwrap();
    let mut answer = vec![0; 1 + 2 * 1536];
    open.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_before_tls_is_there_and_count_for_both_doors() {
    let cluster = Cluster::start(|config| {
        config.rtmps_listen = Some(loopback());
        config.handshake_s = 2;
        config.connections_per_address_max = 3;
    })
    .await;
    let (slow, not_tls) = (cluster.refused("handshake_time").await, cluster.refused("tls").await);
    let many = cluster.refused("connections_per_address").await;

    let mut mute = TcpStream::connect(address(&cluster)).await.unwrap();
    let mut greeted = tls(&cluster).await;
    let _third = TcpStream::connect(cluster.rtmp).await.unwrap();
    let mut rest = Vec::new();
    for beyond in [cluster.rtmp, address(&cluster)] {
        let mut socket = TcpStream::connect(beyond).await.unwrap();
        assert!(matches!(socket.read_to_end(&mut rest).await, Ok(0) | Err(_)), "one more was let in");
    }
    assert_eq!(cluster.refused("connections_per_address").await, many + 2);

    // The deadline is the same without a TLS handshake and after one with nothing behind it.
    let ended = async {
        let _ = mute.read_to_end(&mut rest).await;
        assert!(
            greeted.read_to_end(&mut rest).await.is_ok(),
            "cut without TLS's word for it: GStreamer reports an error"
        );
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok(), "slow connection left open");
    cluster.eventually_refused("handshake_time", slow + 2).await;

    let mut plain = TcpStream::connect(address(&cluster)).await.unwrap();
    plain.write_all(&[3; 1 + 1536]).await.unwrap();
    let _ = plain.read_to_end(&mut rest).await;
    cluster.eventually_refused("tls", not_tls + 1).await;
    cluster.stop().await;
}
