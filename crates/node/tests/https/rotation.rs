//! Certificates and authorities that change while a listener serves.

use std::path::Path;
use std::sync::Arc;

use node::tls::{IdentityPaths, PublicPaths, REREAD_INTERVAL, Reread};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;

/// A listener of both planes, whose identity the test controls.
struct Station {
    directory: TempDir,
    identity: Arc<Identity>,
    paths: IdentityPaths,
    public: SocketAddr,
    mutual: SocketAddr,
    shutdown: CancellationToken,
}

fn node_id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn authority(directory: &Path) -> Authority {
    Authority::ensure(directory, &Clock::new()).unwrap()
}

impl Station {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = authority(directory.path()).issue(&node_id("b1"), Role::Broadcast, &[]).unwrap();
        let identity = Arc::new(Identity::load(&paths).unwrap());
        let shutdown = CancellationToken::new();
        let mut addresses = Vec::new();
        for tls in [identity.server_public(), identity.server_mutual()] {
            let listener = acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), "a_listen").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let served = router(Arc::default());
            tokio::spawn(http::serve_tls(listener, tls, served, Limits::default(), shutdown.clone()));
        }
        Self { directory, identity, paths, public: addresses[0], mutual: addresses[1], shutdown }
    }

    fn authority(&self) -> Authority {
        authority(self.directory.path())
    }

    /// Makes a new certificate, after removing the old one.
    fn renew(&self) {
        std::fs::remove_file(&self.paths.certificate).unwrap();
        self.authority().issue(&node_id("b1"), Role::Broadcast, &[]).unwrap();
    }

    /// The certificate that a new viewer gets.
    async fn shown_to(&self, host: &str) -> CertificateDer<'static> {
        let stream = self.viewer(host).await;
        stream.get_ref().1.peer_certificates().unwrap().first().unwrap().clone().into_owned()
    }

    async fn viewer(&self, host: &str) -> TlsStream<TcpStream> {
        let config = trusting(&[&self.paths.ca, &self.directory.path().join("public/broker-ca.pem")]);
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TcpStream::connect(self.public).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn lets_in(&self, client: &reqwest::Client) -> bool {
        client.get(format!("https://{}/who", self.mutual)).send().await.is_ok()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// TLS of a viewer that offers HTTP/1.1 and resumes no session.
fn trusting(files: &[&Path]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for file in files.iter().filter(|file| file.exists()) {
        for certificate in CertificateDer::pem_file_iter(file).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1024];
    let length = within("an answer", stream.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_viewers_and_nobody_is_cut() {
    let station = Station::start().await;
    let mut viewer = station.viewer("localhost").await;
    assert!(ask(&mut viewer).await.starts_with("HTTP/1.1 200"));
    let first = station.shown_to("localhost").await;
    assert_eq!(station.identity.reread().unwrap(), Reread::Same);

    station.renew();
    assert_eq!(station.shown_to("localhost").await, first, "nobody has read it yet");
    assert_eq!(station.identity.reread().unwrap(), Reread::New);
    let second = station.shown_to("localhost").await;
    assert_ne!(second, first);
    assert_eq!(station.identity.certificate(), second);
    assert!(ask(&mut viewer).await.starts_with("HTTP/1.1 200"), "the connection from before goes on");
}

#[tokio::test]
async fn what_makes_no_sense_leaves_the_certificate_as_it_was() {
    let station = Station::start().await;
    let first = station.shown_to("localhost").await;
    station.renew();
    let new = std::fs::read(&station.paths.certificate).unwrap();
    let other = station.authority().issue(&node_id("b2"), Role::Broadcast, &[]).unwrap();
    let half = &new[..new.len() / 2];
    for (bytes, why) in
        [(half, "b1.pem"), (b"", "no certificate"), (&std::fs::read(&other.certificate).unwrap(), "is not the key of")]
    {
        std::fs::write(&station.paths.certificate, bytes).unwrap();
        let error = format!("{:#}", station.identity.reread().unwrap_err());
        assert!(error.contains(why), "{error}");
        assert_eq!(station.shown_to("localhost").await, first);
    }
    std::fs::copy(&other.certificate, &station.paths.certificate).unwrap();
    std::fs::copy(&other.key, &station.paths.key).unwrap();
    let error = format!("{:#}", station.identity.reread().unwrap_err());
    assert!(error.contains("now belongs to broadcast b2"), "{error}");
    assert_eq!(station.shown_to("localhost").await, first);
}

#[tokio::test]
async fn files_are_read_again_without_being_told() {
    let station = Station::start().await;
    let first = station.identity.certificate();
    station.renew();
    tokio::time::pause();
    let following = tokio::spawn(Arc::clone(&station.identity).follow(station.shutdown.clone()));
    within("the certificate changes", async {
        while station.identity.certificate() == first {
            tokio::time::sleep(REREAD_INTERVAL / 2).await;
        }
    })
    .await;
    station.shutdown.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn an_authority_takes_over_from_another_while_everybody_goes_on() {
    let station = Station::start().await;
    let peer_paths = station.authority().issue(&node_id("i1"), Role::Ingest, &[]).unwrap();
    let peer = Identity::load(&peer_paths).unwrap();
    let stale = identity(&station.authority(), "i2", Role::Ingest);
    // Each call makes a new connection.
    let is_let_in = async |peer: &Identity| station.lets_in(&peer.http_client(b1()).unwrap()).await;
    let kept = peer.http_client(b1()).unwrap();
    assert!(station.lets_in(&kept).await);

    let authority = station.authority();
    assert!(Authority::existing(station.directory.path(), &Clock::new()).unwrap().issue_by_next().is_err());
    authority.trust_next().unwrap();
    let both = std::fs::read(&station.paths.ca).unwrap();
    authority.trust_next().unwrap();
    assert_eq!(std::fs::read(&station.paths.ca).unwrap(), both, "done twice, it changes nothing");
    assert!(authority.forget_others().is_err(), "the next one does not sign yet");
    assert_eq!(station.identity.reread().unwrap(), Reread::New);
    assert_eq!(peer.reread().unwrap(), Reread::New);
    assert!(is_let_in(&peer).await);

    // The peer has its new certificate first; the station still has its old one.
    let authority = authority.issue_by_next().unwrap();
    authority.issue(&node_id("i1"), Role::Ingest, &[]).unwrap();
    assert!(is_let_in(&peer).await, "with its old certificate");
    peer.reread().unwrap();
    assert!(is_let_in(&peer).await, "with its new one, at a station with an old one");
    station.authority().issue(&node_id("b1"), Role::Broadcast, &[]).unwrap();
    station.identity.reread().unwrap();
    assert!(is_let_in(&peer).await, "both have new ones");

    // A node that was away all the time is refused now.
    stale.reread().unwrap();
    assert!(is_let_in(&stale).await);
    authority.forget_others().unwrap();
    station.identity.reread().unwrap();
    peer.reread().unwrap();
    assert!(is_let_in(&peer).await);
    assert!(!is_let_in(&stale).await);
    assert!(station.lets_in(&kept).await, "nobody's connection was cut");
}

#[tokio::test]
async fn viewers_are_shown_the_certificate_of_the_name_they_ask_for() {
    let station = Station::start().await;
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let public = station.directory.path().join("public");
        // A server that is no node.
        let authority = Authority::ensure_for_brokers(&public, &Clock::new()).unwrap();
        authority.issue_in(&public, &node_id("viewers"), None, &names).unwrap()
    };
    let made = issue(&["live.example", "*.live.example"]);
    let paths = PublicPaths { certificate: made.certificate, key: made.key, is_made_later: false, challenges: None };
    station.identity.add_public(paths.clone()).unwrap();
    let own = station.identity.certificate();
    let public = station.shown_to("live.example").await;
    assert_ne!(public, own);
    assert_eq!(station.shown_to("B3.Live.example").await, public);
    assert_eq!(station.shown_to("b1").await, own, "a balancer knows nodes by their names");
    assert_eq!(station.shown_to("127.0.0.1").await, own);

    issue(&["live.example", "*.live.example", "also.example"]);
    assert_eq!(station.identity.reread().unwrap(), Reread::New);
    assert_ne!(station.shown_to("live.example").await, public);
    let gone = PublicPaths { certificate: "gone.pem".into(), ..paths.clone() };
    assert!(station.identity.add_public(gone.clone()).is_err());
    station.identity.add_public(PublicPaths { is_made_later: true, ..gone }).unwrap();
    assert_eq!(station.identity.reread().unwrap(), Reread::Same);
}
