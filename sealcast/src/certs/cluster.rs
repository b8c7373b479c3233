//! `sealcast certs cluster`: makes one folder for each role, so that a machine gets what its role needs and no secrets of other roles.
//!
//! The folder of a role holds `ca.pem` and `broker-ca.pem`, and for each node `{node}.pem`, `{node}.key` and `{node}.password`. The
//! balancers' folder also holds the sticky key. The brokers' folder holds their certificates, `broker-ca.pem`, and Mosquitto's
//! `passwords` (hashes) and `acl`. Beside the folders are the two authorities, whose private keys give access to everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use bus::broker::{Access, Streamer, User, mosquitto_acl, mosquitto_passwords};
use media::NodeId;
use messages::{Prefix, Role};
use node::clock::Clock;
use node::files::{self, MODE_PUBLIC, MODE_SECRET};
use node::tls::Authority;

use super::{MEMBERS_FILE, brokers, folder, streamers};
use crate::cli::{ClusterFlags, RoleName};

/// Most nodes of one call, so that a mistyped range does not fill the disk.
const NODES_MAX: usize = 1_024;
/// Roles that have a folder; brokers have another.
const ROLES: [Role; 4] = [Role::Control, Role::Ingest, Role::Broadcast, Role::LoadBalancer];
/// A user of the brokers that may only subscribe.
const OBSERVER: &str = "observer";

/// A node or, without a role, a broker; `names` are its host names and addresses.
struct Entry {
    id: NodeId,
    role: Option<Role>,
    names: Vec<String>,
}

/// Makes missing files, renews certificates that expire soon, and prints where the files are.
///
/// # Errors
/// When a node, name or role is not valid, or the directory cannot be written.
pub(super) fn run(flags: &ClusterFlags) -> anyhow::Result<()> {
    let entries = entries(flags)?;
    let prefix = Prefix::new(&flags.prefix)?;
    let authority = Authority::ensure(&flags.dir, &Clock::new())?;
    let signs_brokers = brokers(&flags.dir)?;
    for Entry { id, role, names } in &entries {
        ensure_no_other_role(&flags.dir, id, *role)?;
        let directory = flags.dir.join(folder(*role));
        let signer = if role.is_some() { &authority } else { &signs_brokers };
        signer.issue_in(&directory, id, *role, names).with_context(|| id.to_string())?;
        if let Some(role) = role {
            signs_brokers.share(&directory)?;
            user(&directory, id, (*role).into())?;
        }
    }
    list_members(&flags.dir)?;
    let directory = flags.dir.join(folder(None));
    files::create_private_directory(&directory)?;
    signs_brokers.share(&directory)?;
    write_broker_rules(&flags.dir, &prefix)?;
    if entries.iter().any(|entry| entry.role == Some(Role::LoadBalancer)) {
        let path = flags.dir.join(folder(Some(Role::LoadBalancer))).join("sticky.key");
        loadbalancer::sticky::StickyKey::ensure(&path).with_context(|| format!("sticky key {}", path.display()))?;
    }
    print(&flags.dir, &entries);
    Ok(())
}

/// The prefix of the topics in Mosquitto's rules, as `certs cluster` wrote them: every user but streamers reads `PREFIX/#`.
///
/// # Errors
/// When the rules are there, and name none.
pub(super) fn prefix_of_rules(directory: &Path) -> anyhow::Result<Prefix> {
    let path = directory.join(folder(None)).join("acl");
    if !path.exists() {
        return Ok(Prefix::default());
    }
    let text =
        String::from_utf8(files::read_bounded(&path)?).with_context(|| format!("{} is not text", path.display()))?;
    let prefix = text.lines().find_map(|line| line.strip_prefix("topic read ")?.strip_suffix("/#"));
    let unknown = || format!("{} names no prefix of topics: run `sealcast certs cluster` again", path.display());
    Ok(Prefix::new(prefix.with_context(unknown)?)?)
}

/// Writes Mosquitto's users and rules: of all nodes in the folders, and of all streamers.
pub(super) fn write_broker_rules(directory: &Path, prefix: &Prefix) -> anyhow::Result<()> {
    let mut users = Vec::new();
    for role in ROLES {
        let directory = directory.join(folder(Some(role)));
        for id in nodes_in(&directory)? {
            users.push(user(&directory, &id, role.into())?);
        }
    }
    users.push(user(directory, &NodeId::new(OBSERVER)?, Access::Observer)?);
    let streamers = streamers::all(directory)?;
    let brokers = directory.join(folder(None));
    write_if_new(&brokers.join("acl"), &mosquitto_acl(&users, &streamers, prefix))?;
    let passwords = brokers.join("passwords");
    let existing = std::fs::read_to_string(&passwords).unwrap_or_default();
    // Their rights are in the other file.
    let logins =
        streamers.into_iter().map(|Streamer { name, password, .. }| User { name, password, access: Access::Observer });
    users.extend(logins);
    write_if_new(&passwords, &mosquitto_passwords(&users, &existing))
}

/// Writes the list of all nodes' certificates for control nodes, which make members of them.
pub(super) fn list_members(directory: &Path) -> anyhow::Result<()> {
    let mut list = Vec::new();
    for role in ROLES {
        let folder = directory.join(folder(Some(role)));
        for id in nodes_in(&folder)? {
            let certificate = folder.join(format!("{id}.pem"));
            if certificate.exists() {
                list.extend(files::read_bounded(&certificate)?);
            }
        }
    }
    let control = directory.join(folder(Some(Role::Control)));
    if !control.exists() {
        return Ok(());
    }
    let path = control.join(MEMBERS_FILE);
    if files::read_bounded(&path).ok().as_ref() == Some(&list) {
        return Ok(());
    }
    files::atomic_write(&path, &list, MODE_PUBLIC)
}

/// Nodes that have a password in a folder, sorted by name; none if the folder does not exist.
fn nodes_in(directory: &Path) -> anyhow::Result<Vec<NodeId>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut nodes = Vec::new();
    for entry in entries.take(4 * NODES_MAX) {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".password")).and_then(|id| NodeId::new(id).ok());
        nodes.extend(id);
    }
    nodes.sort();
    Ok(nodes)
}

/// Refuses a name that a node of another role has: both would log in to the brokers as one user, with one set of rights.
fn ensure_no_other_role(directory: &Path, id: &NodeId, role: Option<Role>) -> anyhow::Result<()> {
    for other in ROLES.into_iter().filter(|other| Some(*other) != role) {
        let path = password_path(&directory.join(folder(Some(other))), id);
        ensure!(!path.exists(), "{id} is a node of role {other} already ({}): give another name", path.display());
    }
    Ok(())
}

fn print(directory: &Path, entries: &[Entry]) {
    for key in ["ca.key", "broker-ca.key"] {
        println!("authority    {}  (this key opens everything: keep it apart)", directory.join(key).display());
    }
    let mut by_role: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        *by_role.entry(folder(entry.role)).or_default() += 1;
    }
    for (role, count) in by_role {
        println!("{role:<12} {}  ({count} made or there)", directory.join(&role).display());
    }
}

fn entries(flags: &ClusterFlags) -> anyhow::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for text in &flags.nodes {
        let (range, role) = text.split_once('=').with_context(|| format!("--node {text}: write NAME=ROLE"))?;
        let role = <RoleName as clap::ValueEnum>::from_str(role, true)
            .map_err(|_| anyhow::anyhow!("--node {text}: ROLE is ingest, broadcast, loadbalancer or control"))?;
        for id in expand(range)? {
            entries.push(Entry { id, role: Some(role.into()), names: Vec::new() });
            ensure!(entries.len() <= NODES_MAX, "--node {text}: more than {NODES_MAX} nodes");
        }
    }
    for broker in &flags.brokers {
        entries.push(Entry { id: NodeId::new(broker)?, role: None, names: Vec::new() });
    }
    let mut seen = std::collections::BTreeSet::new();
    for entry in &entries {
        ensure!(seen.insert(&entry.id), "{} is given twice: each node and broker needs a name of its own", entry.id);
        ensure!(entry.id.as_str() != OBSERVER, "{OBSERVER} is the name of the brokers' user that only reads");
    }
    for text in &flags.names {
        let (range, name) = text.split_once('=').with_context(|| format!("--name {text}: write NODE=HOST"))?;
        for id in expand(range)? {
            let entry = entries.iter_mut().find(|entry| entry.id == id);
            entry
                .with_context(|| format!("--name {text}: there is no --node or --broker {id}"))?
                .names
                .push(name.into());
        }
    }
    Ok(entries)
}

/// Expands a range: `b1` is one node, `b1..16` are `b1` to `b16`.
fn expand(range: &str) -> anyhow::Result<Vec<NodeId>> {
    let Some((first, last)) = range.split_once("..") else { return Ok(vec![NodeId::new(range)?]) };
    let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |digits: &str| digits.parse::<u32>().ok();
    let (Some(from), Some(to)) = (first.strip_prefix(stem).and_then(number), number(last)) else {
        bail!("{range}: write a range as b1..16");
    };
    ensure!(
        from <= to && usize::try_from(to - from).is_ok_and(|more| more < NODES_MAX),
        "{range}: at most {NODES_MAX} nodes, the first number first"
    );
    (from..=to).map(|number| Ok(NodeId::new(&format!("{stem}{number}"))?)).collect()
}

/// A user with its existing password, or with a new one of 128 random bits.
fn user(directory: &Path, id: &NodeId, access: Access) -> anyhow::Result<User> {
    let path = password_path(directory, id);
    if !path.exists() {
        files::atomic_write(&path, hex::encode(rand::random::<[u8; 16]>()).as_bytes(), MODE_SECRET)?;
    }
    let text =
        String::from_utf8(files::read_bounded(&path)?).with_context(|| format!("{} is not text", path.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    ensure!(!password.is_empty(), "{} is empty: remove it to have a new password", path.display());
    Ok(User { name: id.to_string(), password, access })
}

/// File of a node's password for the brokers.
pub(super) fn password_path(directory: &Path, id: &NodeId) -> PathBuf {
    directory.join(format!("{id}.password"))
}

fn write_if_new(path: &Path, text: &str) -> anyhow::Result<()> {
    if files::read_bounded(path).ok().as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    files::atomic_write(path, text.as_bytes(), MODE_SECRET)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A streamer that is added has the rules written anew.
    #[test]
    fn rules_keep_their_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let rules = directory.path().join("broker/acl");
        assert_eq!(prefix_of_rules(directory.path()).unwrap(), Prefix::default());
        files::create_private_directory(rules.parent().unwrap()).unwrap();
        write_broker_rules(directory.path(), &Prefix::new("village/v1").unwrap()).unwrap();
        let before = std::fs::read_to_string(&rules).unwrap();
        let streams = ["choir".parse().unwrap()];
        super::super::streamer_password(directory.path(), directory.path(), &NodeId::new("anna").unwrap(), &streams)
            .unwrap();
        let text = std::fs::read_to_string(&rules).unwrap();
        assert!(text.starts_with(&before) && text.contains("user anna\n"), "{text}");
        let topics = || text.lines().filter(|line| line.starts_with("topic "));
        assert!(topics().all(|line| line.contains(" village/v1/")), "{text}");
    }

    #[test]
    fn ranges_are_counted_out() {
        let names = |range: &str| expand(range).map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names("b1").unwrap(), ["b1"]);
        assert_eq!(names("b9..11").unwrap(), ["b9", "b10", "b11"]);
        for wrong in ["b..3", "b3..1", "b1..x", "b1..99999", "", "a/b"] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }
}
