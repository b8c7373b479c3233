//! Shared by tests and the fuzz target: statements of a control whose key was stolen, or is broken, and the rules that hold all the same.
//!
//! The fuzz target includes this module by its path, because it is a workspace of its own.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, not all used in each")]

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use media::{ClusterId, Digest, NodeId, Now, SessionId, StreamId, UnixMillis};
use messages::Role;
use metadata::{
    ApiKey, Body, ChatRules, ChatWriters, Cluster, Control, Delegation, Edit, Embedding, EntrySequence, Grant, Input,
    LogId, Member, NodePolicy, Output, PageSettings, PersonDigest, Replica, Revocation, Revoked, RevokedTokens,
    RootStatement, Roots, Row, RowId, Scope, SessionRow, SessionRule, SessionToken, SignedDelegation, StreamSettings,
    Tenant, TenantQuota, TokenId, TokenIssuer, TokenRevocation, Tombstone, Verifier, ViewerDigest, Visibility,
    row_digest, sign_root,
};
use seal::cose::{self, Envelope};
use seal::wire::Writer;
use seal::{ControlKey, KeyId, RootKey, SealingKey};

const START: UnixMillis = UnixMillis(1_800_000_000_000);
const NOW: Now = Now { elapsed: Duration::from_secs(60), wall: UnixMillis(START.0 + 60_000) };
/// Far above what any input may have, so that the reader's own limit counts.
const SIGNED_BYTES_MAX: usize = 1024 * 1024;

/// What a frame of the input is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame {
    /// The payload of an entry, which is signed; the next frame holds its rows.
    Entry,
    /// The payload of a head, which is signed.
    Head,
    /// The payload of a root statement, which is signed.
    Root,
    /// An entry as it is; the next frame holds its rows.
    RawEntry,
    /// A head as it is.
    RawHead,
    /// A root statement as it is.
    RawRoot,
    /// A row.
    Row,
}

const FRAMES: [Frame; 7] =
    [Frame::Entry, Frame::Head, Frame::Root, Frame::RawEntry, Frame::RawHead, Frame::RawRoot, Frame::Row];

fn root_key() -> &'static RootKey {
    static KEY: OnceLock<RootKey> = OnceLock::new();
    KEY.get_or_init(|| RootKey::from_seed_bytes(&[1; 32]).unwrap())
}

fn control_key() -> &'static ControlKey {
    static KEY: OnceLock<ControlKey> = OnceLock::new();
    KEY.get_or_init(|| ControlKey::from_seed_bytes(&[1; 32]).unwrap())
}

fn statement() -> RootStatement {
    RootStatement {
        cluster: ClusterId::new("town").unwrap(),
        log: LogId([9; 16]),
        version: 1,
        at: START,
        root_keys: vec![root_key().public_key_bytes()],
        threshold: 1,
        controls: vec![Control {
            public_key: control_key().public_key_bytes(),
            node: NodeId::new("c1").unwrap(),
            first: EntrySequence(1),
            last: None,
            not_after: START.plus(Duration::from_secs(400 * 86_400)),
        }],
        branch: None,
    }
}

/// A replica that has the first root statement.
fn replica() -> Replica {
    static FIRST: OnceLock<Replica> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let roots = Roots::new(ClusterId::new("town").unwrap(), root_key().public_key().unwrap());
        let mut replica = Replica::new(roots, Duration::ZERO);
        replica.apply(Input::Root(sign_root(&statement(), &[root_key()]).unwrap()), NOW);
        replica
    });
    first.clone()
}

/// Cuts an input into frames: a byte that says what it is, the length in two bytes, and the payload. The last may be cut short.
fn frames(mut bytes: &[u8]) -> Vec<(Frame, Bytes)> {
    let mut frames = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        frames.push((FRAMES[usize::from(*kind) % FRAMES.len()], Bytes::copy_from_slice(payload)));
        bytes = rest;
    }
    frames
}

fn frame(kind: Frame, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn signed(payload: &[u8], signer: &impl seal::Signer) -> Bytes {
    cose::seal(payload, signer, SIGNED_BYTES_MAX).unwrap().into()
}

/// Applies the frames to a replica. Whatever control or the root signs, and whatever strangers send, nothing panics, the replica does
/// not contradict itself, and it can be restored from what it has kept. Returns how many rows it has in the end.
pub(crate) fn fold(bytes: &[u8]) -> usize {
    let mut replica = replica();
    let (mut newest, mut rows) = (None, std::collections::BTreeMap::new());
    let mut frames = frames(bytes).into_iter();
    while let Some((kind, payload)) = frames.next() {
        let input = match kind {
            Frame::Entry | Frame::RawEntry => {
                let entry = if matches!(kind, Frame::Entry) { signed(&payload, control_key()) } else { payload };
                Input::Entry { entry, rows: frames.next().map(|(_, rows)| rows).unwrap_or_default() }
            }
            Frame::Head => Input::Head(signed(&payload, control_key())),
            Frame::RawHead => Input::Head(payload),
            Frame::Root => {
                let mut list = Writer::with_capacity(payload.len());
                list.array(1).bytes(&signed(&payload, root_key()));
                Input::Root(list.finish().into())
            }
            Frame::RawRoot => Input::Root(payload),
            Frame::Row => {
                let _ = Row::decode(&payload);
                continue;
            }
        };
        for output in replica.apply(input, NOW) {
            match output {
                Output::StoreEntry { entry, rows: written, .. } => {
                    for (id, row) in metadata::row_writes(&entry, &written).unwrap() {
                        match row {
                            Some(row) => rows.insert(id, row),
                            None => rows.remove(&id),
                        };
                    }
                    newest = Some(entry);
                }
                // The rows of before are not kept here.
                Output::Rewind(_) | Output::StartAgain => {
                    replica.check_invariants();
                    return replica.view().rows();
                }
                _ => {}
            }
        }
    }
    replica.check_invariants();
    let count = replica.view().rows();
    assert_eq!(count, rows.len());
    if let Some(newest) = newest {
        let restored = Replica::restore(replica.roots().clone(), &newest, rows.into_values(), NOW);
        // A newer root may have retired the key of the newest entry.
        if let Ok(restored) = restored {
            assert_eq!((restored.state(), restored.place()), (replica.state(), replica.place()));
        } else {
            assert!(replica.roots().version() > 1);
        }
    }
    count
}

fn put(body: Body) -> Edit {
    let (kind, name) = (body.kind(), body.name().unwrap());
    let id = RowId(row_digest(format!("{kind}/{name}").as_bytes()).0[..16].try_into().unwrap());
    Edit { id, kind, body: Some(body), salt: [7; 16] }
}

/// Files to begin with: whole histories, of which a fuzzer changes bytes.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let node = |name: &str| NodeId::new(name).unwrap();
    let member = Member {
        node: node("b1"),
        role: Role::Broadcast,
        is_guest: false,
        spki: vec![Digest([1; 32])],
        public_url: Some("https://b1.example.org".to_owned()),
        level: 1,
    };
    let hall = StreamId::new("hall").unwrap();
    let grant = Grant {
        public_key: control_key().public_key_bytes(),
        node: node("i1"),
        scope: Scope::Streams(vec![hall.clone()]),
        may_delegate: false,
        from: START,
        until: START.plus(Duration::from_secs(3600)),
    };
    let cluster = Cluster { part_target_ms: 500, target_duration_s: 4, level: 1, grant_hours: 24 };
    let stream = StreamSettings {
        name: hall.clone(),
        pool: "main".to_owned(),
        key_macs: Vec::new(),
        visibility: Visibility::Public,
        title: "Town hall".to_owned(),
        pages: PageSettings::default(),
        tenant: None,
    };
    let hidden = StreamSettings { visibility: Visibility::Token, ..stream.clone() };
    let pages = PageSettings {
        origins: vec!["https://hall.example.org".to_owned(), "https://*.town.example".to_owned()],
        embed: Embedding::Anywhere,
        chat: Some(ChatRules { slow_s: 30, writers: ChatWriters::Token }),
    };
    let embedded = StreamSettings { pages, ..stream.clone() };
    let verifier = Verifier { key: [9; 32], from: START, until: START.plus(Duration::from_secs(3600)), tenant: None };
    let tenants = [
        Body::Stream(StreamSettings {
            name: StreamId::new("acme.hall").unwrap(),
            tenant: Some("acme".to_owned()),
            ..stream.clone()
        }),
        Body::Verifier(Verifier { key: [8; 32], tenant: Some("acme".to_owned()), ..verifier }),
        Body::TokenIssuer(TokenIssuer {
            id: "iss_1".to_owned(),
            tenant: Some("acme".to_owned()),
            document: "{}".to_owned(),
        }),
    ]
    .map(put);
    let taken_back = [
        RevokedTokens::Token(TokenId([1; 8])),
        RevokedTokens::Viewer { viewer: ViewerDigest::of("u81"), up_to_ver: 3 },
        RevokedTokens::Stream { stream: hall, up_to_nbf_s: 1_800_000_000 },
    ]
    .map(|tokens| {
        put(Body::TokenRevocation(TokenRevocation { tokens, until: START.plus(Duration::from_secs(90_000)) }))
    });
    let signed_in = [
        SessionRule::Key { key: [4; 32], from: START },
        SessionRule::Ended(SessionToken([2; 16])),
        SessionRule::Person { person: PersonDigest::of("name:ada"), up_to_s: 1_800_000_000 },
    ]
    .map(|says| put(Body::Session(SessionRow { says, until: START.plus(Duration::from_secs(600)) })));
    let revocation = Revocation { subject: Revoked::Node(node("b1")), since: START, reason: "stolen".to_owned() };
    let policy = NodePolicy { node: node("b1"), is_drained: true, weight_percent: 50 };
    let delegation = Delegation {
        cluster: ClusterId::new("town").unwrap(),
        stream: StreamId::new("hall").unwrap(),
        session: SessionId([5; 16]),
        key: KeyId([6; 16]),
        from: START,
        until: START.plus(Duration::from_secs(3600)),
    };
    // Nobody verifies it here, and signatures are random.
    let mut raw = delegation.sign(&SealingKey::from_seed_bytes(&[1; 32]).unwrap()).unwrap().raw().to_vec();
    let (_, signature) = raw.split_last_chunk_mut::<2_420>().unwrap();
    signature.fill(0);
    let delegation = SignedDelegation::read(&raw).unwrap();
    let tenant = Tenant {
        slug: "acme".to_owned(),
        id: "ten_01".to_owned(),
        is_suspended: true,
        quota: TenantQuota { publishers: Some(3), input_bps: Some(4_000_000), ..TenantQuota::default() },
        created_at: START,
    };
    let api_key = ApiKey {
        id: "key_01".to_owned(),
        tenant: "ten_01".to_owned(),
        digest: Digest([4; 32]),
        old: Some((Digest([5; 32]), NOW.wall)),
        scopes: "streams:read streams:write".to_owned(),
        expires_at: Some(NOW.wall),
        created_at: START,
    };
    let forever = ApiKey { old: None, expires_at: None, ..api_key.clone() };
    let no_key = Edit { body: None, ..put(Body::ApiKey(api_key.clone())) };
    let gone = Tombstone { kind: 2, name: "b1".to_owned(), at: START };
    let remove = Edit { body: None, ..put(Body::Member(member.clone())) };
    let histories = vec![
        ("start", vec![vec![put(Body::Cluster(cluster)), put(Body::Member(member.clone()))]]),
        ("catalogue", vec![vec![put(Body::Stream(stream))], vec![put(Body::Policy(policy))]]),
        ("tokens", vec![vec![put(Body::Stream(hidden)), put(Body::Verifier(verifier))], taken_back.to_vec()]),
        ("sessions", vec![signed_in.to_vec()]),
        ("embedded", vec![vec![put(Body::Stream(embedded))]]),
        ("of-tenants", vec![tenants.to_vec()]),
        (
            "owners",
            vec![
                vec![put(Body::Tenant(tenant)), put(Body::ApiKey(api_key))],
                vec![put(Body::ApiKey(forever))],
                vec![no_key],
            ],
        ),
        ("grant", vec![vec![put(Body::Grant(grant))]]),
        ("delegation", vec![vec![put(Body::Delegation(delegation))]]),
        ("revoked", vec![vec![put(Body::Member(member.clone()))], vec![put(Body::Revocation(revocation))]]),
        ("removed", vec![vec![put(Body::Member(member))], vec![remove, put(Body::Tombstone(gone))]]),
    ];
    let mut seeds: Vec<(&str, Vec<u8>)> =
        histories.into_iter().map(|(name, entries)| (name, history(entries))).collect();
    let mut next = statement();
    (next.version, next.at) = (2, NOW.wall);
    let signed = sign_root(&next, &[root_key()]).unwrap();
    let mut list = seal::wire::Reader::new(&signed);
    list.array_of(1).unwrap();
    let root = Envelope::read(list.bytes().unwrap(), SIGNED_BYTES_MAX).unwrap();
    seeds.push(("root", frame(Frame::Root, root.payload)));
    seeds
}

/// The frames of some entries, each followed by a head.
fn history(entries: Vec<Vec<Edit>>) -> Vec<u8> {
    let mut replica = replica();
    let mut bytes = Vec::new();
    for edits in entries {
        let signed = replica.draft(edits, NOW.wall).unwrap().sign(control_key()).unwrap();
        let payload = Envelope::read(&signed.entry, SIGNED_BYTES_MAX).unwrap().payload;
        bytes.extend(frame(Frame::Entry, payload));
        bytes.extend(frame(Frame::Row, &signed.rows));
        let outputs = replica.apply(Input::Entry { entry: signed.entry.clone(), rows: signed.rows.clone() }, NOW);
        assert!(outputs.contains(&Output::Changed), "{outputs:?}");
        let head = replica.head(NOW.wall, [3; 16]).unwrap().sign(control_key()).unwrap();
        bytes.extend(frame(Frame::Head, Envelope::read(&head, SIGNED_BYTES_MAX).unwrap().payload));
    }
    bytes
}
