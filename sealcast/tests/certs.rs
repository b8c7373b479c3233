//! `sealcast certs`: the files that it makes for a cluster, and how it renews and replaces them.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use testkit::sealcast;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Runs `sealcast certs` in a directory. Returns its output, or its error.
fn certs(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = sealcast::command(SEALCAST).arg("certs").args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

const CLUSTER: [&str; 12] = [
    "cluster",
    "--node",
    "control=control",
    "--node",
    "ingest1=ingest",
    "--node",
    "b1..3=broadcast",
    "--node",
    "lb1..2=loadbalancer",
    "--broker",
    "mosquitto",
    "--name=b1..3=*.streaming-cluster.test",
];

/// Contents of all files below a directory, by their relative paths.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_cluster_is_made_once_and_each_role_has_its_own_folder() {
    let directory = tempfile::tempdir().unwrap();
    // An empty directory, as a new volume of docker-compose.
    std::fs::create_dir_all(directory.path().join("certs/broker")).unwrap();
    let said = certs(directory.path(), &CLUSTER).unwrap();
    assert!(!said.contains("of their own now"), "there is nothing to bring up to date: {said}");
    let made = files(directory.path());
    assert!(certs(directory.path(), &CLUSTER).is_ok());
    assert!(files(directory.path()) == made, "what is there stays");

    let all = directory.path().join("certs");
    let names =
        |folder: &str| files(&all.join(folder)).into_keys().map(|p| p.display().to_string()).collect::<Vec<_>>();
    assert_eq!(names("ingest"), ["broker-ca.pem", "ca.pem", "ingest1.key", "ingest1.password", "ingest1.pem"]);
    assert_eq!(names("broker"), ["acl", "broker-ca.pem", "mosquitto.key", "mosquitto.pem", "passwords"]);
    assert!(names("loadbalancer").contains(&"sticky.key".to_owned()));
    for path in made.keys().filter(|path| path.extension().is_none_or(|e| e != "pem") && !path.ends_with(".lock")) {
        let mode = std::fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let passwords = std::fs::read_to_string(all.join("broker/passwords")).unwrap();
    let password = std::fs::read_to_string(all.join("broadcast/b2.password")).unwrap();
    assert!(passwords.contains("b2:$7$") && !passwords.contains(&password), "hashes only");

    // Another node changes nothing for the existing ones.
    certs(directory.path(), &[&CLUSTER[..], &["--node", "b4=broadcast"]].concat()).unwrap();
    let more = files(directory.path());
    assert!(more.contains_key(Path::new("certs/broadcast/b4.pem")));
    let list = Path::new("certs/control/members.pem");
    let may_change = |path: &Path| path.starts_with("certs/broker") || path == list;
    assert!(made.iter().all(|(path, bytes)| may_change(path) || more.get(path) == Some(bytes)));
    let listed =
        |files: &BTreeMap<PathBuf, Vec<u8>>| String::from_utf8_lossy(&files[list]).matches("BEGIN CERT").count();
    assert_eq!((listed(&made), listed(&more)), (7, 8), "all nodes, and no broker");

    // Also when a call names only the new node, the brokers still know all others.
    certs(directory.path(), &["cluster", "--node", "b5=broadcast"]).unwrap();
    let passwords = std::fs::read_to_string(all.join("broker/passwords")).unwrap();
    let acl = std::fs::read_to_string(all.join("broker/acl")).unwrap();
    for node in ["ingest1", "b2", "b4", "b5"] {
        assert!(passwords.contains(&format!("{node}:$7$")) && acl.contains(&format!("user {node}\n")), "{node}");
    }
    let said = certs(directory.path(), &["cluster", "--node", "b5=ingest"]).unwrap_err();
    assert!(said.contains("b5 is a node of role broadcast already"), "{said}");
}

#[test]
fn what_cannot_be_meant_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, why) in [
        (&["rotate", "--step", "trust"][..], "ca.key"),
        (&["cluster", "--node", "b1"], "write NAME=ROLE"),
        (&["cluster", "--node", "b1=edge"], "ingest, broadcast, loadbalancer or control"),
        (&["cluster", "--node", "b1=broadcast", "--node", "b1=ingest"], "b1 is given twice"),
        (&["cluster", "--node", "b1=broadcast", "--name", "b2=a.test"], "no --node or --broker b2"),
        (&["cluster", "--node", "ca=broadcast"], "ca"),
        (&["--id", "b1"], "--role"),
    ] {
        let said = certs(directory.path(), arguments).unwrap_err();
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}

#[test]
fn certificates_are_renewed_and_the_authority_replaced_with_their_names() {
    let directory = tempfile::tempdir().unwrap();
    certs(directory.path(), &CLUSTER).unwrap();
    let names = |node: &str| {
        let path = directory.path().join(format!("certs/broadcast/{node}.pem"));
        let leaf = node::tls::parse_certificates(&std::fs::read(&path).unwrap(), &path).unwrap().swap_remove(0);
        (node::tls::node_of(&leaf), node::tls::names_of(&leaf))
    };
    let (before, named) = (files(directory.path()), names("b2"));
    let changed = |before: &BTreeMap<PathBuf, Vec<u8>>| {
        let now = files(directory.path());
        let is_changed = |(path, bytes): &(&PathBuf, &Vec<u8>)| now.get(*path) != Some(bytes);
        before.iter().filter(is_changed).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
    };
    assert!(certs(directory.path(), &["renew"]).unwrap().starts_with("0 "));
    assert_eq!(changed(&before), [""; 0]);
    assert!(certs(directory.path(), &["renew", "--all"]).unwrap().starts_with("8 "));
    let now = changed(&before);
    assert_eq!(now.len(), 9, "eight certificates, and the list of members: {now:?}");
    assert!(
        now.iter().all(|path| path.ends_with(".pem")),
        "a node keeps its key: the cluster knows it by that: {now:?}"
    );
    assert_eq!(names("b2"), named);

    let before = files(directory.path());
    assert!(certs(directory.path(), &["rotate", "--step", "issue"]).unwrap_err().contains("`trust`"));
    certs(directory.path(), &["rotate", "--step", "trust"]).unwrap();
    let trusted = |path: &String| path.ends_with("/ca.pem") || path.ends_with("/broker-ca.pem");
    assert!(changed(&before).iter().all(trusted), "all trust both, none is renewed yet");
    assert_eq!(
        changed(&before).len(),
        5 + 6,
        "the authority of nodes in four folders and above, that of brokers in five"
    );
    assert!(certs(directory.path(), &["rotate", "--step", "issue"]).unwrap().starts_with("8 "));
    certs(directory.path(), &["rotate", "--step", "forget"]).unwrap();
    assert_eq!(names("b2"), named);
    let now = files(directory.path());
    let trusted = &now[Path::new("certs/ca.pem")];
    assert_ne!(trusted, &before[Path::new("certs/ca.pem")]);
    assert_eq!(&now[Path::new("certs/broadcast/ca.pem")], trusted);
    assert_eq!(String::from_utf8_lossy(trusted).matches("BEGIN").count(), 1);
    let for_brokers = &now[Path::new("certs/broker-ca.pem")];
    assert_ne!(for_brokers, &before[Path::new("certs/broker-ca.pem")]);
    assert_eq!(&now[Path::new("certs/broadcast/broker-ca.pem")], for_brokers);
}

/// The files of an older cluster, in which one authority signs nodes and brokers.
fn with_one_authority() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    certs(directory.path(), &CLUSTER).unwrap();
    let all = directory.path().join("certs");
    for path in files(&all).into_keys().filter(|path| path.to_str().unwrap().contains("broker-ca.")) {
        std::fs::remove_file(all.join(path)).unwrap();
    }
    std::fs::copy(all.join("ca.pem"), all.join("broker/ca.pem")).unwrap();
    directory
}

#[test]
fn cluster_with_one_authority_for_all_is_given_one_for_brokers() {
    let again: &[&[&str]] = &[&["renew"], &CLUSTER];
    for arguments in again {
        let directory = with_one_authority();
        let before = files(directory.path());
        let said = certs(directory.path(), arguments).unwrap();
        assert!(
            said.contains("brokers have an authority of their own now") && said.contains("restart the nodes"),
            "{said}"
        );
        let now = files(directory.path());
        for folder in ["", "control/", "ingest/", "broadcast/", "loadbalancer/", "broker/"] {
            let copy = &now[Path::new(&format!("certs/{folder}broker-ca.pem"))];
            assert_eq!(copy, &now[Path::new("certs/broker-ca.pem")], "{folder}");
        }
        let changed: Vec<String> = before
            .iter()
            .filter(|(path, bytes)| now.get(*path) != Some(bytes))
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert_eq!(changed, ["certs/broker/mosquitto.pem"], "nodes stay as they are");
        assert!(!certs(directory.path(), arguments).unwrap().contains("of their own now"), "said once");
    }
}

#[test]
fn node_of_a_cluster_with_one_authority_says_how_to_go_on() {
    let directory = with_one_authority();
    let bus = "[bus]\nurls = [\"mqtts://127.0.0.1:1\"]\n";
    let by_folder = format!("[node]\nidentities = \"certs/broadcast\"\nid = \"b1\"\n{bus}");
    let by_file = format!(
        "[node]\nid = \"b1\"\nca = \"certs/ca.pem\"\ncertificate = \"certs/broadcast/b1.pem\"\n\
         private_key = \"certs/broadcast/b1.key\"\n{bus}ca = \"certs/ca.pem\"\n"
    );
    for (config, what) in [(by_folder, "broker-ca.pem is missing"), (by_file, "ca.pem is the authority of the nodes")] {
        std::fs::write(directory.path().join("node.toml"), config).unwrap();
        let mut command = sealcast::command(SEALCAST);
        command.args(["broadcast", "--config", "node.toml", "--ops-listen", "127.0.0.1:0"]);
        let output = command.current_dir(directory.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(what) && said.contains("`sealcast certs renew`"), "{said}");
    }
}

#[test]
fn the_example_of_access_rules_is_what_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = ["control=control", "ingest1=ingest", "b1=broadcast", "lb1=loadbalancer"];
    let arguments: Vec<&str> =
        std::iter::once("cluster").chain(nodes.iter().flat_map(|node| ["--node", node])).collect();
    certs(directory.path(), &arguments).unwrap();
    let made = std::fs::read_to_string(directory.path().join("certs/broker/acl")).unwrap();
    let (_comment, example) = include_str!("../../deploy/mosquitto/acl.example").split_once('\n').unwrap();
    assert_eq!(example, made);
}

#[test]
fn health_is_failure_where_nothing_answers() {
    let output = sealcast::command(SEALCAST).args(["health", "--ops", "127.0.0.1:1"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing answers at http://127.0.0.1:1/readyz"));
}
