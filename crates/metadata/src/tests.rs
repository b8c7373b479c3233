//! A cluster's log as its nodes see it: keys, a control that writes, replicas that fold.

mod attacks;
mod network;
mod roots;
mod rules;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::{ClusterId, NodeId, Now, UnixMillis};
use messages::Role;
use seal::{ControlKey, RefusalReason, RootKey};

use crate::body::{Member, NodePolicy, Revocation, Revoked, StreamSettings, Tombstone};
use crate::*;

/// Wall clock at the start of every test.
const START: UnixMillis = UnixMillis(1_800_000_000_000);

fn at(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now { elapsed, wall: START.plus(elapsed) }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn root_key(seed: u8) -> RootKey {
    RootKey::from_seed_bytes(&[seed; 32]).unwrap()
}

fn control_key(seed: u8) -> ControlKey {
    ControlKey::from_seed_bytes(&[seed; 32]).unwrap()
}

/// Identity of the row with a natural name, the same in all tests.
fn id(kind: u64, name: &str) -> RowId {
    let digest = row_digest(format!("{kind}/{name}").as_bytes());
    RowId(digest.0[..16].try_into().unwrap())
}

/// An edit that writes a row.
fn write(body: Body) -> Edit {
    let kind = body.kind();
    Edit { id: id(kind, &body.name().unwrap()), kind, body: Some(body), salt: [7; 16] }
}

fn remove(kind: u64, name: &str) -> Edit {
    Edit { id: id(kind, name), kind, body: None, salt: [0; 16] }
}

fn member(name: &str) -> Body {
    let (node, spki) = (node(name), vec![row_digest(name.as_bytes())]);
    Body::Member(Member { node, role: Role::Broadcast, is_guest: false, spki, public_url: None, level: 1 })
}

fn revoked(name: &str) -> Body {
    let subject = Revoked::Node(node(name));
    Body::Revocation(Revocation { subject, since: START, reason: "stolen".to_owned() })
}

fn tombstone(kind: u64, name: &str) -> Body {
    Body::Tombstone(Tombstone { kind, name: name.to_owned(), at: START })
}

fn policy(name: &str, weight_percent: u64) -> Body {
    Body::Policy(NodePolicy { node: node(name), is_drained: false, weight_percent })
}

fn stream(name: &str, title: &str) -> Body {
    let (name, title) = (media::StreamId::new(name).unwrap(), title.to_owned());
    Body::Stream(StreamSettings {
        name,
        pool: "main".to_owned(),
        key_macs: Vec::new(),
        visibility: Visibility::Public,
        title,
        tenant: None,
        pages: PageSettings::default(),
    })
}

/// A stream that only holders of tokens may watch.
fn hidden(name: &str) -> Body {
    match stream(name, "Hall") {
        Body::Stream(stream) => Body::Stream(StreamSettings { visibility: Visibility::Token, ..stream }),
        other => other,
    }
}

fn verifier(seed: u8) -> Body {
    Body::Verifier(Verifier {
        key: [seed; 32],
        from: START,
        until: START.plus(Duration::from_secs(3600)),
        tenant: None,
    })
}

fn token_revoked() -> Body {
    let tokens = RevokedTokens::Viewer { viewer: ViewerDigest::of("u81"), up_to_ver: 3 };
    Body::TokenRevocation(TokenRevocation { tokens, until: START.plus(Duration::from_secs(90_000)) })
}

/// The first root statement: root key 1, control key 1 of node `c1`.
fn statement() -> RootStatement {
    RootStatement {
        cluster: ClusterId::new("town").unwrap(),
        log: LogId([9; 16]),
        version: 1,
        at: START,
        root_keys: vec![root_key(1).public_key_bytes()],
        threshold: 1,
        controls: vec![control(1)],
        branch: None,
    }
}

fn control(seed: u8) -> Control {
    Control {
        public_key: control_key(seed).public_key_bytes(),
        node: node(&format!("c{seed}")),
        first: EntrySequence(1),
        last: None,
        not_after: START.plus(Duration::from_secs(400 * 86_400)),
    }
}

fn roots() -> Roots {
    Roots::new(ClusterId::new("town").unwrap(), root_key(1).public_key().unwrap())
}

/// Its signature is random, and so made once.
fn first_statement() -> Bytes {
    static SIGNED: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    SIGNED.get_or_init(|| sign_root(&statement(), &[&root_key(1)]).unwrap()).clone()
}

/// A replica that has the first root statement.
fn replica() -> Replica {
    let mut replica = Replica::new(roots(), Duration::ZERO);
    let outputs = replica.apply(Input::Root(first_statement()), at(0));
    assert_eq!(outputs, [Output::StoreRoot(first_statement())]);
    replica
}

/// What a control writes, and everything that it has written.
#[derive(Clone)]
struct Writer {
    replica: Replica,
    key: u8,
    entries: BTreeMap<EntrySequence, SignedEntry>,
}

impl Writer {
    fn new() -> Self {
        Self { replica: replica(), key: 1, entries: BTreeMap::new() }
    }

    fn write(&mut self, edits: Vec<Edit>, now: Now) -> SignedEntry {
        let signed = self.replica.draft(edits, now.wall).unwrap().sign(&control_key(self.key)).unwrap();
        let outputs = apply(&mut self.replica, &signed, now);
        assert!(outputs.contains(&Output::Changed), "{outputs:?}");
        self.entries.insert(self.replica.place().sequence, signed.clone());
        signed
    }

    fn head(&self, now: Now) -> Bytes {
        self.replica.head(now.wall, [3; 16]).unwrap().sign(&control_key(self.key)).unwrap()
    }

    /// Some entries with rows of many kinds.
    fn with_history(entries: u64) -> Self {
        let mut writer = Self::new();
        for n in 1..=entries {
            let edits = vec![write(member(&format!("b{n}"))), write(policy("b1", n))];
            writer.write(edits, at(n));
        }
        writer
    }
}

fn apply(replica: &mut Replica, signed: &SignedEntry, now: Now) -> Vec<Output> {
    let outputs = replica.apply(Input::Entry { entry: signed.entry.clone(), rows: signed.rows.clone() }, now);
    replica.check_invariants();
    outputs
}

fn refusals(outputs: &[Output]) -> Vec<RefusalReason> {
    let refused = outputs.iter().filter_map(|output| match output {
        Output::Refused(refusal) => Some(refusal.reason),
        _ => None,
    });
    refused.collect()
}
