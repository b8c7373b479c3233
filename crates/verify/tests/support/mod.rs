//! A cluster as a viewer meets it: a control that grants, ingests that seal, and a node that answers.
#![allow(dead_code, reason = "not all helpers are used in each test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::{NodeId, Now, UnixMillis};
use metadata::{
    Body, Control, Edit, EntrySequence, Grant, Input, LogId, ProvenRow, Replica, RootStatement, Roots, RowId, Scope,
    StreamSettings, Trust, root_fingerprint, row_digest, row_writes, sign_root,
};
use seal::{ControlKey, KeyId, Keyring, RootKey, SealingKey, Signer as _};
use testkit::studio::{self, Row, START, Studio};
use verify::Verifier;

pub(crate) const STREAM: &str = "demo";
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn at(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now { elapsed, wall: START.plus(elapsed) }
}

/// The cluster's root key, its control, and the metadata log.
pub(crate) struct Town {
    pub(crate) root: RootKey,
    control: ControlKey,
    replica: Replica,
    rows: BTreeMap<RowId, Bytes>,
}

impl Town {
    pub(crate) fn new(seed: u8) -> Self {
        let (root, control) =
            (RootKey::from_seed_bytes(&[seed; 32]).unwrap(), ControlKey::from_seed_bytes(&[seed; 32]).unwrap());
        let statement = RootStatement {
            cluster: studio::cluster(),
            log: LogId([seed; 16]),
            version: 1,
            at: START,
            root_keys: vec![root.public_key_bytes()],
            threshold: 1,
            controls: vec![Control {
                public_key: control.public_key_bytes(),
                node: NodeId::new("c1").unwrap(),
                first: EntrySequence(1),
                last: None,
                not_after: START.plus(400 * DAY),
            }],
            branch: None,
        };
        let roots = Roots::new(studio::cluster(), root.public_key().unwrap());
        let mut replica = Replica::new(roots, Duration::ZERO);
        replica.apply(Input::Root(sign_root(&statement, &[&root]).unwrap()), at(0));
        let mut town = Self { root, control, replica, rows: BTreeMap::new() };
        town.put_in_pool("default", at(0));
        town
    }

    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        root_fingerprint(&self.root.public_key_bytes()).0.to_vec()
    }

    pub(crate) fn write(&mut self, body: Body, now: Now) {
        let kind = body.kind();
        let digest = row_digest(format!("{kind}/{}", body.name().unwrap()).as_bytes());
        let id = RowId(digest.0[..16].try_into().unwrap());
        let draft = self.replica.draft(vec![Edit { id, kind, body: Some(body), salt: [7; 16] }], now.wall).unwrap();
        let signed = draft.sign(&self.control).unwrap();
        self.rows
            .extend(row_writes(&signed.entry, &signed.rows).unwrap().into_iter().map(|(id, row)| (id, row.unwrap())));
        self.replica.apply(Input::Entry { entry: signed.entry, rows: signed.rows }, now);
    }

    /// Grants a key from the beginning until a time, which may be over: so a revoked key looks.
    pub(crate) fn grant(&mut self, key: &SealingKey, until: UnixMillis, now: Now) {
        self.grant_with(key, now, |grant| grant.until = until);
    }

    /// Grants a key from the beginning for a day, as changed.
    pub(crate) fn grant_with(&mut self, key: &SealingKey, now: Now, change: impl FnOnce(&mut Grant)) {
        let mut grant = Grant {
            public_key: key.public_key_bytes(),
            node: NodeId::new("i1").unwrap(),
            scope: Scope::Pools(vec!["default".to_owned()]),
            may_delegate: false,
            from: START,
            until: START.plus(DAY),
        };
        change(&mut grant);
        self.write(Body::Grant(grant), now);
    }

    /// Puts the stream into a pool.
    pub(crate) fn put_in_pool(&mut self, pool: &str, now: Now) {
        let stream = StreamSettings {
            name: studio::stream(STREAM),
            pool: pool.to_owned(),
            key_macs: Vec::new(),
            visibility: metadata::Visibility::Public,
            title: String::new(),
            pages: metadata::PageSettings::default(),
            tenant: None,
        };
        self.write(Body::Stream(stream), now);
    }

    /// What a node makes of the log.
    pub(crate) fn keyring(&self) -> Keyring {
        Keyring::new(studio::cluster()).with(self.replica.view().rights())
    }

    /// What a node answers.
    pub(crate) fn trust(&self, keys: &[&SealingKey], now: Now) -> Bytes {
        self.trust_of(&[STREAM], keys, now)
    }

    /// The same with what concerns other streams.
    pub(crate) fn trust_of(&self, streams: &[&str], keys: &[&SealingKey], now: Now) -> Bytes {
        let keys: Vec<KeyId> = keys.iter().map(|key| key.key_id()).collect();
        let proofs = streams.iter().flat_map(|name| self.replica.prove(&studio::stream(name), &keys));
        let rows = proofs.map(|proof| ProvenRow::new(self.rows[&proof.id].clone(), proof)).collect();
        let head = self.replica.head(now.wall, [3; 16]).unwrap().sign(&self.control).unwrap();
        Trust { roots: vec![self.replica.roots().raw().unwrap().clone()], head, rows, kept: None }.encode()
    }
}

/// Seals one after the other, as a node sends them.
pub(crate) fn sequence(rows: &[Row]) -> Bytes {
    rows.iter().flat_map(|row| row.sealed.raw().iter().copied()).collect()
}

/// Place of an object as a page names it.
pub(crate) fn place(name: &media::ObjectName) -> String {
    format!("{}/{}/{}", name.rendition, name.epoch, name.slot)
}

/// A town with one ingest whose key is granted, its log, and a viewer who knows the root key.
pub(crate) struct Scene {
    pub(crate) town: Town,
    pub(crate) studio: Studio,
    pub(crate) verifier: Verifier,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut town = Town::new(1);
        let studio = Studio::new(STREAM, START);
        town.grant(&studio.key, START.plus(DAY), at(0));
        let verifier = Verifier::new(studio::stream(STREAM), Some(town.fingerprint())).unwrap();
        Self { town, studio, verifier }
    }

    /// The same, after the viewer has taken control's word.
    pub(crate) fn trusted() -> Self {
        let mut scene = Self::new();
        let answer = scene.town.trust(&[&scene.studio.key], at(0));
        scene.verifier.take_trust(&answer).unwrap();
        scene
    }

    pub(crate) fn segment(&mut self, seconds: u64) -> Vec<Row> {
        self.studio.segment(at(seconds).wall)
    }

    /// Loads all objects of some rows.
    pub(crate) fn load(&mut self, rows: &[Row], seconds: u64) {
        for (name, bytes) in rows.iter().flat_map(|row| &row.objects) {
            self.verifier.object(&place(name), bytes, at(seconds).elapsed);
        }
    }
}
