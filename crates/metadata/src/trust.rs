//! What a viewer needs to decide which keys may seal a stream, when nothing but the root public key is trusted. Pure.
//!
//! A [`Trust`] holds root statements, control's newest head, and rows with their proofs: each is in the state that the head signs. So
//! whoever hands it out can hold news back, which the head's time shows, and can do nothing else. It says which keys may seal *now*, by
//! their own grants or because a streamer has delegated a session to them: a
//! key that is revoked has a grant that has ended, because control ends it in the entry that revokes the key.

use std::collections::BTreeSet;

use bytes::Bytes;
use media::{Digest, LogSequence, NodeId, SessionId, StreamId, UnixMillis};
use seal::wire::{Reader, Writer};
use seal::{Grant, KeyId, PublicKey, Refusal, RefusalReason, RootPublicKey, Scope, SignedDelegation};
use sha2::{Digest as _, Sha256};

use crate::entry::{Head, Row, row_digest};
use crate::limits::{
    BUCKET_ROWS_MAX, ROW_BYTES_MAX, TRUST_BYTES_MAX, TRUST_DELEGATIONS_MAX, TRUST_KEYS_MAX, TRUST_ROOTS_MAX,
    TRUST_ROWS_MAX,
};
use crate::root::{RootStatement, Roots};
use crate::state::{LEVELS, Path, bucket_digest, root_above};
use crate::{Body, EntrySequence, LogId, Replica, RowId, kind};

const LABEL: &str = "sealcast/trust";
const PAIRS: u64 = 6;
/// Bytes of an identity and a digest.
const LISTED_BYTES: usize = 48;

/// Where a row is in the state of the log: what stands beside it in its bucket, and beside the bucket's ancestors in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The row that is proven.
    pub id: RowId,
    /// All rows of its bucket, sorted by identity; its own is one of them.
    pub bucket: Vec<(RowId, Digest)>,
    /// Digests beside the way to the top, from the bucket on.
    pub path: Path,
}

/// A row, and the proof that the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenRow {
    /// The row as it travels.
    pub row: Bytes,
    /// All rows of its bucket.
    pub bucket: Vec<(RowId, Digest)>,
    /// Digests beside the way to the top.
    pub path: Path,
}

impl ProvenRow {
    /// The row as it travels, with its proof.
    pub fn new(row: Bytes, proof: Proof) -> Self {
        Self { row, bucket: proof.bucket, path: proof.path }
    }

    /// Reads the row, if it is in this state.
    ///
    /// Refuses with `Malformed` what is no row, and with `Chain` one that is not in the state.
    fn verify(&self, state: Digest) -> Result<Row, Refusal> {
        let row = Row::decode(&self.row)?;
        let refuse = |why: &str| Err(Refusal::new(RefusalReason::Chain, format!("row {}: {why}", row.id)));
        if !self.bucket.is_sorted_by(|(a, _), (b, _)| a < b) {
            return refuse("its bucket is not sorted");
        }
        if !self.bucket.contains(&(row.id, row_digest(&self.row))) {
            return refuse("its bucket has not what it says");
        }
        let leaf = bucket_digest(self.bucket.iter().map(|(id, digest)| (id, digest)));
        if root_above(row.id.bucket(), leaf, &self.path) != state {
            return refuse("it is not in the state that control signs");
        }
        Ok(row)
    }
}

/// What a broadcast node answers under `/api/v1/trust/{stream}`; and, without a stream, under `/api/v1/grants`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Root statements, ascending; the last one is in force.
    pub roots: Vec<Bytes>,
    /// Control's newest head.
    pub head: Bytes,
    /// Grants, the stream's own row, and what streamers let ingests do for it.
    pub rows: Vec<ProvenRow>,
    /// First and last seal of the stream's log that the node has: where to begin. Nobody signs it.
    pub kept: Option<(LogSequence, LogSequence)>,
}

impl Trust {
    /// Its encoding: a CBOR map, as our signed statements have it; nobody signs this one.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::with_capacity(16 * 1024);
        w.preamble(PAIRS, LABEL);
        w.uint(2).array(self.roots.len());
        self.roots.iter().for_each(|statement| _ = w.bytes(statement));
        w.uint(3).bytes(&self.head);
        w.uint(4).array(self.rows.len());
        for ProvenRow { row, bucket, path } in &self.rows {
            let listed: Vec<u8> =
                bucket.iter().flat_map(|(id, digest)| [&id.0[..], &digest.0]).flatten().copied().collect();
            let beside: Vec<u8> = path.iter().flat_map(|digest| digest.0).collect();
            w.array(3).bytes(row).bytes(&listed).bytes(&beside);
        }
        w.uint(5);
        match self.kept {
            Some((oldest, newest)) => w.array(2).uint(oldest.0).uint(newest.0),
            None => w.null(),
        };
        w.finish().into()
    }

    /// Reads what [`Trust::encode`] writes; nothing in it is verified.
    ///
    /// # Errors
    /// When it is malformed, or beyond a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > TRUST_BYTES_MAX {
            return Err(Refusal::malformed(format!("{} bytes, at most {TRUST_BYTES_MAX} are allowed", bytes.len())));
        }
        let mut r = Reader::new(bytes);
        r.preamble(PAIRS, LABEL)?;
        let trust = Self {
            roots: r.key(2)?.list(TRUST_ROOTS_MAX, |r| r.bytes().map(Bytes::copy_from_slice))?,
            head: Bytes::copy_from_slice(r.key(3)?.bytes()?),
            rows: r.key(4)?.list(TRUST_ROWS_MAX, read_row)?,
            kept: r.key(5)?.or_null(|r| {
                r.array_of(2)?;
                Ok((LogSequence(r.uint()?), LogSequence(r.uint()?)))
            })?,
        };
        if !r.is_done() {
            return Err(Refusal::malformed("bytes after the last field"));
        }
        Ok(trust)
    }

    /// What the statements, the head and the rows say of a stream, each verified. `roots` takes the statements that are new to it.
    ///
    /// Refuses with the reason of whatever does not verify; `roots` may have taken statements then, each of which did.
    pub fn verify(&self, roots: &mut Roots, stream: &StreamId) -> Result<Proven, Refusal> {
        for statement in &self.roots {
            // Statements are walked upwards only; those of before are no news.
            if RootStatement::read(statement)?.version > roots.version() {
                roots.take(statement)?;
            }
        }
        let head = roots.check_head(&self.head)?;
        let rows = self.rows.iter().map(|row| row.verify(head.state)).collect::<Result<Vec<_>, _>>()?;
        let pool = rows.iter().find_map(|row| match &row.body {
            Body::Stream(settings) if settings.name == *stream => Some(settings.pool.as_str()),
            _ => None,
        });
        let mut keys = Vec::new();
        for row in &rows {
            let Body::Grant(grant) = &row.body else { continue };
            let public_key = PublicKey::from_bytes(&grant.public_key);
            let may_seal = allows(grant, stream, pool);
            keys.push(GrantedKey {
                public_key: public_key.map_err(|error| Refusal::malformed(error.to_string()))?,
                node: grant.node.clone(),
                scope: grant.scope.clone(),
                may_seal,
                may_delegate: may_seal && grant.may_delegate,
                from: grant.from,
                until: grant.until,
                sequence: row.sequence,
            });
        }
        let mut delegations = Vec::new();
        for row in &rows {
            let Body::Delegation(signed) = &row.body else { continue };
            let said = signed.delegation();
            if said.is_bounded() && said.cluster == *roots.cluster() && said.stream == *stream {
                delegations.extend(delegated(signed, &keys, row.sequence)?);
            }
        }
        let (_, envelope) = Head::read(&self.head)?;
        Ok(Proven { log: head.log, at: head.at, control: envelope.key, keys, delegations })
    }
}

/// What a delegation allows, if the key that signed it may delegate the stream: `None` when its grant is not among the keys.
///
/// Refuses with `Signature` one that the key has not signed.
fn delegated(
    signed: &SignedDelegation,
    keys: &[GrantedKey],
    sequence: EntrySequence,
) -> Result<Option<DelegatedSession>, Refusal> {
    let signer = keys.iter().find(|key| key.may_delegate && key.public_key.id() == signed.signer());
    let Some(signer) = signer else { return Ok(None) };
    let delegation = signed.delegation();
    if !signed.is_signed_by(&signer.public_key) {
        let detail = format!("delegation of session {}", delegation.session);
        return Err(Refusal::new(RefusalReason::Signature, detail));
    }
    Ok(Some(DelegatedSession {
        session: delegation.session,
        key: delegation.key,
        by: signed.signer(),
        // The streamer's right ends with its grant.
        until: delegation.until.min(signer.until),
        sequence,
    }))
}

/// Whether a grant names the stream, or the pool in which its own row puts it.
fn allows(grant: &Grant, stream: &StreamId, pool: Option<&str>) -> bool {
    match &grant.scope {
        Scope::Streams(streams) => streams.contains(stream),
        Scope::Pools(pools) => pool.is_some_and(|pool| pools.iter().any(|named| named == pool)),
    }
}

fn read_row(r: &mut Reader<'_>) -> Result<ProvenRow, Refusal> {
    r.array_of(3)?;
    let row = r.bytes()?;
    if row.len() > ROW_BYTES_MAX {
        return Err(Refusal::malformed(format!("row of {} bytes", row.len())));
    }
    let listed = r.bytes()?;
    let (pairs, rest) = listed.as_chunks::<LISTED_BYTES>();
    if !rest.is_empty() || pairs.len() > BUCKET_ROWS_MAX {
        return Err(Refusal::malformed(format!("bucket of {} bytes", listed.len())));
    }
    let bucket = pairs.iter().map(|pair| {
        let (mut id, mut digest) = ([0; 16], [0; 32]);
        let (first, second) = pair.split_at(16);
        id.copy_from_slice(first);
        digest.copy_from_slice(second);
        (RowId(id), Digest(digest))
    });
    let bucket = bucket.collect();
    let (digests, rest) = r.bytes()?.as_chunks::<32>();
    let path: Option<Path> = digests.iter().copied().map(Digest).collect::<Vec<_>>().try_into().ok();
    let path = path
        .filter(|_| rest.is_empty())
        .ok_or_else(|| Refusal::malformed(format!("not {LEVELS} digests beside the way")))?;
    Ok(ProvenRow { row: Bytes::copy_from_slice(row), bucket, path })
}

/// What a [`Trust`] proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The log that it is about.
    pub log: LogId,
    /// When control said so, by its own clock.
    pub at: UnixMillis,
    /// The key of control that said so.
    pub control: KeyId,
    /// Keys with a grant in the log, also those whose grants have ended.
    pub keys: Vec<GrantedKey>,
    /// Sessions of the stream that streamers let other keys seal, also those that are over.
    pub delegations: Vec<DelegatedSession>,
}

/// A session that a streamer lets the key of an ingest seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelegatedSession {
    /// The session, and no other.
    pub session: SessionId,
    /// The ingest's key.
    pub key: KeyId,
    /// The streamer's key, which has signed this.
    pub by: KeyId,
    /// Valid until this time, exclusive: by the delegation, and by the grant of the streamer's key.
    pub until: UnixMillis,
    /// The entry that wrote it.
    pub sequence: EntrySequence,
}

/// A sealing key, as its grant in the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedKey {
    /// The key.
    pub public_key: PublicKey,
    /// The ingest that has the private key.
    pub node: NodeId,
    /// What the grant names.
    pub scope: Scope,
    /// Whether the grant names the stream.
    pub may_seal: bool,
    /// Whether the key may let another one seal the stream.
    pub may_delegate: bool,
    /// Valid from this time on.
    pub from: UnixMillis,
    /// Valid until this time, exclusive.
    pub until: UnixMillis,
    /// The entry that wrote the grant.
    pub sequence: EntrySequence,
}

impl GrantedKey {
    /// Whether a seal of this session and time counts by its own signature, when control's newest word is of `now`; `delegated` is what is
    /// known of the session. When the grant begins says nothing: a renewed one begins anew, after seals that the same key has signed.
    ///
    /// Refuses with `Key` when not: the grant does not name the stream and no streamer lets the key seal the session, or that has ended.
    pub fn counts(
        &self,
        delegated: Option<&DelegatedSession>,
        issued_at: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let (id, node) = (self.public_key.id(), &self.node);
        let refuse = |why: String| Err(Refusal::new(RefusalReason::Key, format!("key {id} of {node}: {why}")));
        let is_over = |until: UnixMillis| now >= until || issued_at >= until;
        if !self.may_seal {
            let Some(delegated) = delegated.filter(|delegated| delegated.key == id) else {
                let why = "its grant does not name the stream, and no streamer has delegated the session to it";
                return refuse(why.to_owned());
            };
            if is_over(delegated.until) {
                return refuse(format!("it was delegated session {} until {}", delegated.session, delegated.until));
            }
        }
        if is_over(self.until) {
            return refuse(format!("its grant ended at {}, or it was revoked", self.until));
        }
        Ok(())
    }
}

impl Roots {
    /// Begins with the first of some statements that names the root key whose SHA-256 begins with `fingerprint` (16 to 32 bytes), and
    /// takes those after it. Without a fingerprint, it believes the first statement: only for a first meeting, where nothing better is
    /// known.
    ///
    /// Refuses with `Key` when no statement names the key, and with the reason of a statement that does not verify.
    pub fn begin(statements: &[Bytes], fingerprint: Option<&[u8]>) -> Result<Self, Refusal> {
        let is_meant = |key: &[u8]| fingerprint.is_none_or(|begins| root_fingerprint(key).0.starts_with(begins));
        let mut refused = None;
        for (index, statement) in statements.iter().enumerate() {
            let RootStatement { cluster, root_keys, .. } = RootStatement::read(statement)?;
            for key in root_keys.iter().filter(|key| is_meant(key)) {
                let key = RootPublicKey::from_bytes(key).map_err(|error| Refusal::malformed(error.to_string()))?;
                let mut roots = Self::new(cluster.clone(), key);
                // A key that a statement names need not be one of those that signed it.
                match roots.take(statement) {
                    Err(refusal) => refused = refused.or(Some(refusal)),
                    Ok(_) => {
                        let later = statements.iter().skip(index.saturating_add(1));
                        later.map(|statement| roots.take(statement)).collect::<Result<Vec<_>, _>>()?;
                        return Ok(roots);
                    }
                }
            }
        }
        let named: BTreeSet<String> = statements
            .iter()
            .filter_map(|statement| RootStatement::read(statement).ok())
            .flat_map(|statement| statement.root_keys.iter().map(|key| KeyId::of(key).to_string()).collect::<Vec<_>>())
            .collect();
        let named = named.into_iter().collect::<Vec<_>>().join(", ");
        Err(refused.unwrap_or_else(|| Refusal::new(RefusalReason::Key, format!("its statements name {named}"))))
    }

    /// SHA-256 of a root key that has signed the statement in force: whoever knows it can [begin](Roots::begin) with it. `None` before
    /// the first statement.
    pub fn fingerprint(&self) -> Option<Digest> {
        let statement = self.statement()?;
        let signers = self.signers();
        let pinned = statement.root_keys.iter().find(|key| KeyId::of(key) == self.pinned());
        let signed = statement.root_keys.iter().filter(|key| signers.contains(&KeyId::of(key)));
        let mut candidates = pinned.into_iter().filter(|key| signers.contains(&KeyId::of(key))).chain(signed);
        candidates.next().map(|key| root_fingerprint(key))
    }
}

/// SHA-256 of a root public key; the first 16 bytes are its [`KeyId`].
pub fn root_fingerprint(public_key: &[u8]) -> Digest {
    Digest(Sha256::digest(public_key).into())
}

impl Replica {
    /// Proofs of the rows that say which of these keys may seal a stream: their grants, the stream's own row, and what streamers let
    /// them seal of it, with the grants of the streamers' keys. Rows that are not there are left out.
    pub fn prove(&self, stream: &StreamId, keys: &[KeyId]) -> Vec<Proof> {
        let keys = keys.get(..TRUST_KEYS_MAX).unwrap_or(keys);
        let is_meant = |signed: &&SignedDelegation| {
            signed.delegation().stream == *stream && keys.contains(&signed.delegation().key)
        };
        let view = self.view();
        let mut delegations: Vec<&SignedDelegation> = view.delegations().filter(is_meant).collect();
        delegations.sort_by_key(|signed| std::cmp::Reverse(signed.delegation().until));
        delegations.truncate(TRUST_DELEGATIONS_MAX);
        let mut granted = keys.to_vec();
        for signed in &delegations {
            if !granted.contains(&signed.signer()) {
                granted.push(signed.signer());
            }
        }
        let grants = granted.iter().map(|key| (kind::GRANT, key.to_string()));
        let sessions = delegations.iter().map(|signed| (kind::DELEGATION, signed.delegation().session.to_string()));
        let named = grants.chain([(kind::STREAM, stream.to_string())]).chain(sessions);
        named.filter_map(|(kind, name)| self.rows().prove(kind, &name)).collect()
    }

    /// Proofs of the grants in force at a time; of very many, some.
    pub fn prove_grants(&self, at: UnixMillis) -> Vec<Proof> {
        let view = self.view();
        let grants = view.grants(at).take(TRUST_ROWS_MAX).map(|grant| grant.key_id().to_string());
        grants.filter_map(|name| self.rows().prove(kind::GRANT, &name)).collect()
    }
}
