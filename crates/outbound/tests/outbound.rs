//! Requests over real sockets: a name server that changes its mind, and servers that answer in ways that could harm the asker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use outbound::{Class, Error, Limits, Outbound, Policy, Refused, Request, Target, Trust};

use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use support::{Answers, HOST, Names, Server, provider};
use tokio::net::TcpListener;

const PATIENT: Limits = Limits { time: Duration::from_secs(20), body_bytes: 1_000 };

struct Site {
    names: Names,
    /// On an address that the operator's list has.
    open: Server,
    /// On one that it does not have.
    secret: Server,
    outbound: Outbound,
    target: Target,
}

/// Two servers with one certificate and one port, of which the policy allows the first only.
async fn site(answers: Answers) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let (tls, ca) = support::certificate(directory.path());
    let (open, secret) = support::listeners("127.0.0.2", "127.0.0.3").await;
    let (open, secret) =
        (Server::start(open, tls.clone(), answers), Server::start(secret, tls, Answers::Text("secret")));
    let names = Names::start().await;
    let trust = Trust::load(Some(&ca), provider()).unwrap();
    let policy = Policy::new(["127.0.0.2"]).unwrap();
    let target = Target::parse(&format!("https://{HOST}:{}/path", open.address.port()), &policy).unwrap();
    let outbound = Outbound::with_resolver(policy, &trust, names.resolver());
    Site { names, open, secret, outbound, target }
}

impl Site {
    async fn ask(&self) -> Result<outbound::Answer, Error> {
        self.outbound.send(&self.target, Request::get_json(), PATIENT).await
    }
}

fn is_refused(asked: &Result<outbound::Answer, Error>, address: &str) -> bool {
    let address: std::net::IpAddr = address.parse().unwrap();
    matches!(asked, Err(Error::Refused(Refused::Address { host, address: at, class: Class::Loopback }))
        if host == HOST && *at == address)
}

/// Case E10: the name has an allowed address when it is checked, and another one a moment later.
#[tokio::test]
async fn name_that_changes_its_address_is_asked_once_and_reached_where_it_was_checked() {
    let site = site(Answers::Text("hello")).await;
    site.names.answer_with(&[&["127.0.0.2"], &["127.0.0.3"], &["127.0.0.3"]]);
    let answer = site.ask().await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body_for_parsing()[..]), (200, &b"hello"[..]));
    assert!(!format!("{answer:?}").contains("hello"), "{answer:?}");
    assert_eq!(site.names.asked(), 1, "one resolution for one request");
    let again = site.ask().await;
    assert!(is_refused(&again, "127.0.0.3"), "{again:?}");
    assert_eq!((site.names.asked(), site.secret.connections()), (2, 0));
}

#[tokio::test]
async fn name_with_one_forbidden_address_is_refused_as_a_whole() {
    let site = site(Answers::Text("hello")).await;
    site.names.answer_with(&[&["127.0.0.2", "127.0.0.3"]]);
    let asked = site.ask().await;
    assert!(is_refused(&asked, "127.0.0.3"), "{asked:?}");
    assert_eq!((site.open.connections(), site.secret.connections()), (0, 0));
}

#[tokio::test]
async fn redirect_into_the_network_is_not_followed() {
    let site = site(Answers::Redirect(HOST)).await;
    site.names.answer_with(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let asked = site.ask().await;
    assert!(matches!(asked, Err(Error::Redirected { status: 302, .. })), "{asked:?}");
    assert_eq!((site.names.asked(), site.open.connections(), site.secret.connections()), (1, 1, 0));
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let site_of = async |answers| {
        let site = site(answers).await;
        site.names.answer_with(&[&["127.0.0.2"]]);
        site
    };
    let large = site_of(Answers::Endless).await.ask().await;
    assert!(matches!(large, Err(Error::TooLarge { limit_bytes: 1_000, .. })), "{large:?}");
    let silent = site_of(Answers::Nothing).await;
    let limits = Limits { time: Duration::from_millis(200), body_bytes: 1_000 };
    let asked = silent.outbound.send(&silent.target, Request::get_json(), limits).await;
    assert!(matches!(asked, Err(Error::TooSlow { limit_ms: 200, .. })), "{asked:?}");
    let head = site_of(Answers::EndlessHead).await.ask().await;
    assert!(matches!(head, Err(Error::Http { .. })), "{head:?}");
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let site = site(Answers::Text("hello")).await;
    site.names.answer_with(&[&["127.0.0.2"]]);
    let directory = tempfile::tempdir().unwrap();
    let (_, other) = support::certificate(directory.path());
    let trust = Trust::load(Some(&other), provider()).unwrap();
    let outbound = Outbound::with_resolver(site.outbound.policy().clone(), &trust, site.names.resolver());
    let asked = outbound.send(&site.target, Request::get_json(), PATIENT).await;
    assert!(matches!(asked, Err(Error::Tls { .. })), "{asked:?}");
    let text = asked.unwrap_err().to_string();
    assert!(text.contains("outbound_ca"), "{text}");
    assert!(!text.contains("/path"), "paths may hold secrets");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let of = |host: &str| CertificateParams::new([host.to_owned()]).unwrap();
    let mut authority = of(HOST);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (mut old, mut early) = (of(HOST), of(HOST));
    (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    early.not_before = date_time_ymd(4000, 1, 1);
    for (fields, said) in [
        (authority, "a server needs one of its own (CA:FALSE)"),
        (old, "has expired"),
        (early, "is not valid yet"),
        (of("elsewhere.test"), "is for another name"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (tls, ca) = support::issued(directory.path(), &fields);
        let server = Server::start(TcpListener::bind("127.0.0.2:0").await.unwrap(), tls, Answers::Text("hello"));
        let names = Names::start().await;
        names.answer_with(&[&["127.0.0.2"]]);
        let trust = Trust::load(Some(&ca), provider()).unwrap();
        let policy = Policy::new(["127.0.0.2"]).unwrap();
        let target = Target::parse(&format!("https://{HOST}:{}/", server.address.port()), &policy).unwrap();
        let outbound = Outbound::with_resolver(policy, &trust, names.resolver());
        let text = outbound.send(&target, Request::get_json(), PATIENT).await.unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn only_listed_hosts_are_asked_without_tls() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let server = Server::plain(listener, Answers::Text("hello"));
    let port = server.address.port();
    let names = Names::start().await;
    names.answer_with(&[&["127.0.0.2"], &["127.0.0.2"]]);
    let policy = Policy::new([format!("http://{HOST}:{port}")]).unwrap();
    let target = Target::parse(&format!("http://{HOST}:{port}/"), &policy).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (_, ca) = support::certificate(directory.path());
    let trust = Trust::load(Some(&ca), provider()).unwrap();
    let asked = |policy: Policy| {
        let outbound = Outbound::with_resolver(policy, &trust, names.resolver());
        let target = target.clone();
        async move { outbound.send(&target, Request::get_json(), PATIENT).await }
    };
    assert_eq!(&asked(policy).await.unwrap().body_for_parsing()[..], b"hello");
    let without = asked(Policy::new(["127.0.0.2"]).unwrap()).await;
    assert!(matches!(without, Err(Error::Refused(Refused::Plain { .. }))), "{without:?}");
}
