use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::clock::Clock;

const DAY_MS: i64 = 86_400_000;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn second_start_uses_the_same_authority_and_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let issue = |clock: &Clock| {
        let authority = Authority::ensure(directory.path(), clock).unwrap();
        let paths = authority.issue(&node("b1"), Role::Broadcast, &["live.example".to_owned()]).unwrap();
        (
            std::fs::read(&paths.ca).unwrap(),
            std::fs::read(&paths.certificate).unwrap(),
            std::fs::read(&paths.key).unwrap(),
        )
    };
    let first = issue(&clock);
    assert_eq!(issue(&clock), first);
    assert_eq!(issue(&clock.shifted(360 * DAY_MS)), first, "37 days are left");
    let renewed = issue(&clock.shifted(370 * DAY_MS));
    assert_eq!(renewed.0, first.0, "the authority lives longer than its nodes' certificates");
    assert_ne!((&renewed.1, &renewed.2), (&first.1, &first.2), "27 days are left");
    let late = issue(&clock.shifted(3_640 * DAY_MS));
    assert_ne!(late.0, first.0, "the authority has 10 days left");
}

#[test]
fn hosts_are_names_and_addresses_without_anything_around_them() {
    for good in ["localhost", "live.example", "*.live.example", "lb_1", "10.0.0.5", "::1"] {
        assert!(is_host(good), "{good:?}");
    }
    for bad in [
        "",
        "https://live.example",
        "live.example:8443",
        "live.example/",
        "a b",
        "-a.example",
        "a..b",
        "*",
        "höll.example",
    ] {
        assert!(!is_host(bad), "{bad:?}");
    }
}

#[test]
fn keys_are_for_their_owner_alone_and_certificates_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
    let paths = authority.issue(&node("i1"), Role::Ingest, &[]).unwrap();
    assert_eq!((mode(&paths.key), mode(&directory.path().join("ca.key"))), (0o600, 0o600));
    assert_eq!((mode(&paths.certificate), mode(&authority.ca_path())), (0o644, 0o644));
}

#[test]
fn certificate_says_whose_it_is_and_prints_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
    for role in [Role::Ingest, Role::Broadcast, Role::LoadBalancer, Role::Control] {
        let identity = Identity::load(&authority.issue(&node("n1"), role, &[]).unwrap()).unwrap();
        assert_eq!((identity.node(), identity.role()), (&node("n1"), role));
        assert_eq!(node_of(&identity.certificate()), Some((node("n1"), role)));
        let key = std::fs::read_to_string(directory.path().join("n1.key")).unwrap();
        let secret = key.lines().nth(1).unwrap();
        let printed = format!("{identity:?} {authority:?}");
        assert!(!printed.contains(secret) && printed.contains("n1"), "{printed}");
    }
}

#[test]
fn new_name_makes_a_new_certificate_and_a_subset_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let paths = authority.issue(&node("b1"), Role::Broadcast, &names).unwrap();
        std::fs::read(paths.certificate).unwrap()
    };
    let first = issue(&["live.example", "192.0.2.7"]);
    assert_eq!(issue(&["192.0.2.7"]), first);
    assert_ne!(issue(&["192.0.2.8"]), first);
    assert!(authority.issue(&node("b1"), Role::Broadcast, &["no spaces, please ü".to_owned()]).is_err());
    assert!(authority.issue(&node("ca"), Role::Broadcast, &[]).is_err(), "would overwrite the authority");
}

#[test]
fn certificate_of_another_authority_is_replaced() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Clock::new();
    let foreign = Authority::ensure(theirs.path(), &clock).unwrap().issue(&node("b1"), Role::Broadcast, &[]).unwrap();
    let authority = Authority::ensure(ours.path(), &clock).unwrap();
    std::fs::copy(&foreign.certificate, ours.path().join("b1.pem")).unwrap();
    std::fs::copy(&foreign.key, ours.path().join("b1.key")).unwrap();
    let paths = authority.issue(&node("b1"), Role::Broadcast, &[]).unwrap();
    assert_ne!(std::fs::read(&paths.certificate).unwrap(), std::fs::read(&foreign.certificate).unwrap());
}

#[test]
fn broken_authority_is_named_and_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "not a certificate").unwrap();
    let error = format!("{:#}", Authority::ensure(directory.path(), &Clock::new()).unwrap_err());
    assert!(error.contains("ca.pem") && error.contains("remove"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a certificate");
}

#[test]
fn key_of_another_certificate_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::ensure(directory.path(), &Clock::new()).unwrap();
    let mut paths = authority.issue(&node("b1"), Role::Broadcast, &[]).unwrap();
    paths.key = authority.issue(&node("b2"), Role::Broadcast, &[]).unwrap().key;
    let error = format!("{:#}", Identity::load(&paths).unwrap_err());
    assert!(error.contains("b2.key is not the key of") && error.contains("b1.pem"), "{error}");
    (paths.certificate, paths.key) = (authority.ca_path(), directory.path().join("ca.key"));
    let error = format!("{:#}", Identity::load(&paths).unwrap_err());
    assert!(error.contains("ca.pem does not say whose it is"), "{error}");
    paths.certificate = directory.path().join("gone.pem");
    let error = format!("{:#}", Identity::load(&paths).unwrap_err());
    assert!(error.contains("gone.pem"), "{error}");
}

#[test]
fn certificate_that_names_two_nodes_names_none() {
    let key = rcgen::KeyPair::generate().unwrap();
    let with_uris = |uris: &[&str]| {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())).collect();
        node_of(params.self_signed(&key).unwrap().der())
    };
    assert_eq!(with_uris(&["sealcast:control/c1"]), Some((node("c1"), Role::Control)));
    assert_eq!(with_uris(&["https://example", "sealcast:control/c1"]), Some((node("c1"), Role::Control)));
    for uris in [
        &["sealcast:control/c1", "sealcast:ingest/i1"][..],
        &["sealcast:admin/c1"],
        &["sealcast:control"],
        &["sealcast:control/c/1"],
        &["sealcastcontrol/c1"],
        &[],
    ] {
        assert_eq!(with_uris(uris), None, "{uris:?}");
    }
    assert_eq!(node_of(&CertificateDer::from(b"0\x82garbage".to_vec())), None);
}

#[test]
fn two_processes_at_once_get_one_authority() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let made: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| std::fs::read(Authority::ensure(path, &Clock::new()).unwrap().ca_path()).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}
