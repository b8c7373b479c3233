//! `mqtts`, to a Mosquitto with a certificate.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::brokers::{Node, TestBroker, Tls, config, free_port, message, next, password, users};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: PathBuf,
}

fn authority(dir: &Path, name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca = dir.join(format!("{name}.pem"));
    std::fs::write(&ca, issuer.pem()).unwrap();
    Authority { issuer, ca }
}

fn server(dir: &Path, authority: &Authority) -> Tls {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let tls = Tls { port: free_port(), certificate: dir.join("server.pem"), key: dir.join("server.key") };
    std::fs::write(&tls.certificate, certificate.pem()).unwrap();
    std::fs::write(&tls.key, key.serialize_pem()).unwrap();
    tls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_trusted_by_its_authority_only() {
    let dir = tempfile::tempdir().unwrap();
    let (own, foreign) = (authority(dir.path(), "own"), authority(dir.path(), "foreign"));
    let tls = server(dir.path(), &own);
    let _broker = TestBroker::start_mosquitto_with_tls(&tls).await;
    let url = [format!("mqtts://127.0.0.1:{}", tls.port)];

    let node = Node::start("b1", &password("b1"), &url, Some(&own.ca), None).await;
    node.await_connected(1).await;
    let mut presence = node.subscribe("nodes/b1").await;
    node.retain("nodes/b1", "over TLS").await;
    assert_eq!(next(&mut presence).await.1, "over TLS");

    let deceived = Node::start("b2", &password("b2"), &url, Some(&foreign.ca), None).await;
    assert!(deceived.bus.publish(message("nodes/b2", "secret", false)).await.is_err());
    assert_eq!(*deceived.bus.connected().borrow(), 0);

    let (_dir, without) = config("b1", "x", &url, None);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let error = bus::connect(&without, "b1", None, None, shutdown).await.err().unwrap();
    assert!(error.to_string().contains("`ca`"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_no_broker_whoever_signed_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let clock = node::clock::Clock::new();
    let nodes = node::tls::Authority::ensure(dir.path(), &clock).unwrap();
    let brokers = node::tls::Authority::ensure_for_brokers(dir.path(), &clock).unwrap();
    let stolen = nodes.issue(&media::NodeId::new("b9").unwrap(), node::Role::Broadcast, &[]).unwrap();
    assert!(brokers.issue(&media::NodeId::new("b8").unwrap(), node::Role::Broadcast, &[]).is_err());
    assert!(nodes.issue_in(dir.path(), &media::NodeId::new("broker").unwrap(), None, &[]).is_err());
    assert!(node::tls::BrokerCertificate::load(&stolen).is_err(), "the embedded broker shows no node's certificate");
    let tls = Tls { port: free_port(), certificate: stolen.certificate, key: stolen.key };
    let _impostor = TestBroker::start_mosquitto_with_tls(&tls).await;
    let url = [format!("mqtts://127.0.0.1:{}", tls.port)];
    // The second trusts the nodes' authority for brokers too, which nobody should do, but old configurations do.
    for (user, ca) in [("b1", brokers.ca_path()), ("b2", nodes.ca_path())] {
        let node = Node::start(user, &password(user), &url, Some(&ca), None).await;
        let sent = node.bus.publish(message(&format!("nodes/{user}"), "secret", false)).await;
        assert!(sent.is_err(), "{user} spoke to the impostor");
        assert_eq!(*node.bus.connected().borrow(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_broadcast_password_is_of_little_use_at_mosquitto() {
    let dir = tempfile::tempdir().unwrap();
    let own = authority(dir.path(), "own");
    let tls = server(dir.path(), &own);
    let _broker = TestBroker::start_mosquitto_with_tls(&tls).await;
    cannot_seal_grant_steer_or_speak_for_another(tls.port, &own.ca).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_broadcast_password_is_of_little_use_at_the_embedded_broker() {
    let dir = tempfile::tempdir().unwrap();
    let authority = node::tls::Authority::ensure_for_brokers(dir.path(), &node::clock::Clock::new()).unwrap();
    let paths = authority.issue_in(dir.path(), &media::NodeId::new("broker").unwrap(), None, &[]).unwrap();
    let certificate = node::tls::BrokerCertificate::load(&paths).unwrap();
    let config = bus::broker::Config { listen: ([127, 0, 0, 1], 0).into(), users: users(), ..Default::default() };
    let broker = bus::broker::EmbeddedBroker::load(config).await.unwrap().with_tls(certificate.server());
    let (port, shutdown) = (broker.address().port(), tokio_util::sync::CancellationToken::new());
    let running = tokio::spawn(broker.run(shutdown.clone()));
    cannot_seal_grant_steer_or_speak_for_another(port, &paths.ca).await;
    // Without TLS, no client can log in.
    let plain = Node::start("b1", &password("b1"), &[format!("mqtt://127.0.0.1:{port}")], None, None).await;
    assert!(plain.bus.publish(message("nodes/b1", "x", false)).await.is_err());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// A thief who takes over a broadcast node's machine has its password. The broker knows which node that is, not only that it is one of
/// ours.
async fn cannot_seal_grant_steer_or_speak_for_another(port: u16, ca: &Path) {
    let url = [format!("mqtts://127.0.0.1:{port}")];
    let start = async |user: &str| {
        let node = Node::start(user, &password(user), &url, Some(ca), None).await;
        node.await_connected(1).await;
        node
    };
    let (thief, other, ingest, control) = (start("b1").await, start("b2").await, start("i1").await, start("c1").await);
    let watcher = start("eye").await;
    let mut all = watcher.subscribe_surely("#", &thief, "alerts").await;

    let owned = [
        (&ingest, "streams/demo/seals"),
        (&ingest, "streams/demo/head"),
        (&ingest, "streams/demo/session"),
        (&control, "metadata/log"),
        (&control, "metadata/head"),
        (&control, "policy"),
        (&control, "catalogue/update"),
        (&other, "nodes/b2"),
    ];
    for (_, topic) in owned {
        thief.retain(topic, "forged").await;
    }
    // Messages keep their order, so any forged one that the broker had let through would have come before.
    thief.retain("nodes/b1", "own presence").await;
    assert_eq!(next(&mut all).await, ("nodes/b1".to_owned(), "own presence".to_owned(), false));
    // Messages of the topics' owners arrive.
    for (owner, topic) in owned {
        owner.publish(topic, "genuine").await;
        assert_eq!(next(&mut all).await, (topic.to_owned(), "genuine".to_owned(), false));
    }
    // No forged message was retained for later subscribers either.
    let newcomer = start("eye").await;
    let mut late = newcomer.subscribe("#").await;
    assert_eq!(next(&mut late).await, ("nodes/b1".to_owned(), "own presence".to_owned(), true));
    thief.publish("alerts", "last").await;
    assert_eq!(next(&mut late).await.1, "last");
}
