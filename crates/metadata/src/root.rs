//! Root statements: which root keys count, and which control keys may write the log. Pure.
//!
//! A statement is an array of `COSE_Sign1` envelopes with one payload, sorted by key. Version N + 1 is signed by the threshold of
//! version N's keys and by that of its own (TUF 5.3), so a node that has pinned one version walks upwards and never down.

use bytes::Bytes;
use media::{ClusterId, Digest, NodeId, UnixMillis};
use seal::cose::{self, Envelope};
use seal::limits::PUBLIC_KEY_BYTES;
use seal::wire::{Reader, Writer, canonical};
use seal::{Error, KeyId, PublicKey, Refusal, RefusalReason, RootKey, RootPublicKey};

use crate::entry::Head;
use crate::limits::{CONTROLS_MAX, ROOT_BYTES_MAX, ROOT_KEYS_MAX};
use crate::{EntrySequence, LogId};

const LABEL: &str = "sealcast/metadata-root";
const PAIRS: u64 = 10;

/// A key that may sign entries and heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// ML-DSA-44, 1312 bytes.
    pub public_key: Vec<u8>,
    /// The control node that has the private key.
    pub node: NodeId,
    /// First entry that the key may sign.
    pub first: EntrySequence,
    /// Last entry that it may sign; `None` while it is in use.
    pub last: Option<EntrySequence>,
    /// The key signs nothing at or after this time.
    pub not_after: UnixMillis,
}

impl Control {
    /// Ends the key at the newest entry, which was signed at a time: it signs no entry after that, and no head of a later time than now.
    pub fn end(&mut self, (newest, signed_at): (EntrySequence, UnixMillis), now: UnixMillis) {
        self.last = Some(self.last.map_or(newest, |last| last.min(newest)));
        // That entry may be the key's, and of a clock that is ahead.
        let over = now.max(UnixMillis(signed_at.0.saturating_add(1)));
        self.not_after = self.not_after.min(over);
    }
}

/// The place from which the log goes on: entries after it are void, unless they know of the branch. Only the root may void any.
/// Later statements repeat it, for nodes that begin with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Version of the statement that made it: entries that know an older one are void.
    pub version: u64,
    /// Last entry that counts; 0 voids all.
    pub sequence: EntrySequence,
    /// Chain value of that entry.
    pub chain: Digest,
}

/// What the root says, until its next version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootStatement {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// Log it is valid for.
    pub log: LogId,
    /// Rises by one with each statement; the first is 1.
    pub version: u64,
    /// When it was signed, by the signer's clock; nothing depends on it.
    pub at: UnixMillis,
    /// ML-DSA-44 public keys, 1312 bytes each; sorted, none twice, 1 to [`ROOT_KEYS_MAX`].
    pub root_keys: Vec<Vec<u8>>,
    /// How many of them have to sign.
    pub threshold: u64,
    /// Keys of control, those that are retired too; at most [`CONTROLS_MAX`].
    pub controls: Vec<Control>,
    /// Where the log goes on, if entries are void.
    pub branch: Option<Branch>,
}

impl RootStatement {
    /// Makes it the draft of the next statement. A branch stays as it is, unless another one is put in its place.
    pub fn begin_next(&mut self, at: UnixMillis) {
        (self.version, self.at) = (self.version.saturating_add(1), at);
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(PUBLIC_KEY_BYTES * (self.root_keys.len() + self.controls.len()) + 512);
        w.preamble(PAIRS, LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).bytes(&self.log.0);
        w.uint(4).uint(self.version);
        w.uint(5).int(self.at.0);
        w.uint(6).array(self.root_keys.len());
        for key in &self.root_keys {
            w.bytes(key);
        }
        w.uint(7).uint(self.threshold);
        w.uint(8).array(self.controls.len());
        for control in &self.controls {
            w.array(5).bytes(&control.public_key).text(control.node.as_str()).uint(control.first.0);
            match control.last {
                Some(last) => w.uint(last.0),
                None => w.null(),
            };
            w.int(control.not_after.0);
        }
        w.uint(9);
        match &self.branch {
            Some(branch) => w.array(3).uint(branch.version).uint(branch.sequence.0).bytes(&branch.chain.0),
            None => w.null(),
        };
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.preamble(PAIRS, LABEL)?;
        let statement = Self {
            cluster: r.key(2)?.cluster()?,
            log: LogId(r.key(3)?.bytes_of()?),
            version: r.key(4)?.uint()?,
            at: UnixMillis(r.key(5)?.int()?),
            root_keys: r.key(6)?.list(ROOT_KEYS_MAX, |r| r.bytes_of::<PUBLIC_KEY_BYTES>().map(|key| key.to_vec()))?,
            threshold: r.key(7)?.uint()?,
            controls: r.key(8)?.list(CONTROLS_MAX, read_control)?,
            branch: r.key(9)?.or_null(|r| {
                r.array_of(3)?;
                Ok(Branch { version: r.uint()?, sequence: EntrySequence(r.uint()?), chain: r.digest()? })
            })?,
        };
        canonical(bytes, &statement.encode())?;
        statement.check()?;
        Ok(statement)
    }

    /// Reads a statement as it travels. Nothing is verified: [`Roots::take`] does that.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(raw: &[u8]) -> Result<Self, Refusal> {
        Claimed::read(raw).map(|claimed| claimed.statement)
    }

    fn check(&self) -> Result<(), Refusal> {
        let keys = u64::try_from(self.root_keys.len()).unwrap_or(u64::MAX);
        if keys == 0 || keys > ROOT_KEYS_MAX as u64 || !self.root_keys.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::malformed("root keys are none, too many, not sorted, or named twice"));
        }
        if self.threshold == 0 || self.threshold > keys {
            return Err(Refusal::malformed(format!("threshold {} of {keys} root keys", self.threshold)));
        }
        if self.version == 0 {
            return Err(Refusal::malformed("version 0: the first root statement is version 1"));
        }
        if self.branch.is_some_and(|branch| branch.version == 0 || branch.version > self.version) {
            return Err(Refusal::malformed("a branch of a version that is not there yet"));
        }
        let of_length = |key: &Vec<u8>| key.len() == PUBLIC_KEY_BYTES;
        let controls = self.controls.iter().map(|control| &control.public_key);
        if self.controls.len() > CONTROLS_MAX || !self.root_keys.iter().chain(controls).all(of_length) {
            return Err(Refusal::malformed("control keys are too many, or a key has a wrong length"));
        }
        Ok(())
    }

    /// Of these signers, how many are root keys of the statement.
    fn signed_by(&self, signers: &[KeyId]) -> u64 {
        let signed = self.root_keys.iter().filter(|key| signers.contains(&KeyId::of(key)));
        u64::try_from(signed.count()).unwrap_or(0)
    }
}

fn read_control(r: &mut Reader<'_>) -> Result<Control, Refusal> {
    r.array_of(5)?;
    Ok(Control {
        public_key: r.bytes_of::<PUBLIC_KEY_BYTES>()?.to_vec(),
        node: r.node()?,
        first: EntrySequence(r.uint()?),
        last: r.or_null(Reader::uint)?.map(EntrySequence),
        not_after: UnixMillis(r.int()?),
    })
}

/// Signs a statement with root keys of this version and of the one before.
///
/// # Errors
/// When the statement breaks a rule, so that every node would refuse it.
pub fn sign_root(statement: &RootStatement, keys: &[&RootKey]) -> Result<Bytes, Error> {
    statement.check().map_err(Error::Content)?;
    let payload = statement.encode();
    let mut signed = Vec::new();
    for key in keys {
        signed.push((KeyId::of(&key.public_key_bytes()), cose::seal(&payload, *key, ROOT_BYTES_MAX)?));
    }
    signed.sort();
    Ok(encode(signed.iter().map(|(_, envelope)| &envelope[..])).into())
}

fn encode<'e>(envelopes: impl ExactSizeIterator<Item = &'e [u8]>) -> Vec<u8> {
    let mut w = Writer::with_capacity(8 * 1024);
    w.array(envelopes.len());
    envelopes.for_each(|envelope| _ = w.bytes(envelope));
    w.finish()
}

/// A statement whose signatures are not checked yet.
struct Claimed<'b> {
    statement: RootStatement,
    envelopes: Vec<Envelope<'b>>,
}

impl<'b> Claimed<'b> {
    fn read(raw: &'b [u8]) -> Result<Self, Refusal> {
        if raw.len() > ROOT_BYTES_MAX {
            return Err(Refusal::malformed(format!("root statement of {} bytes", raw.len())));
        }
        let parts = Reader::new(raw).list(2 * ROOT_KEYS_MAX, Reader::bytes)?;
        canonical(raw, &encode(parts.iter().copied()))?;
        let envelopes = parts.iter().map(|part| Envelope::read(part, ROOT_BYTES_MAX)).collect::<Result<Vec<_>, _>>()?;
        let first = envelopes.first().ok_or_else(|| Refusal::malformed("root statement that nobody signed"))?;
        if envelopes.iter().any(|envelope| envelope.payload != first.payload) {
            return Err(Refusal::malformed("root statement with two payloads"));
        }
        if !envelopes.is_sorted_by(|a, b| a.key < b.key) {
            return Err(Refusal::malformed("root statement whose signatures are not sorted, or made twice by one key"));
        }
        Ok(Self { statement: RootStatement::decode(first.payload)?, envelopes })
    }

    /// Those of `keys` that have signed.
    ///
    /// # Errors
    /// When one of their signatures is wrong.
    fn signers<'k>(&self, keys: impl Iterator<Item = &'k Vec<u8>>) -> Result<Vec<KeyId>, Refusal> {
        let mut signers = Vec::new();
        for key in keys {
            let Some(envelope) = self.envelopes.iter().find(|envelope| envelope.key == KeyId::of(key)) else {
                continue;
            };
            let public = PublicKey::from_bytes(key).map_err(|error| Refusal::malformed(error.to_string()))?;
            if !envelope.is_signed_by(&public) {
                let detail = format!("root statement {}: signature of {}", self.statement.version, public.id());
                return Err(Refusal::new(RefusalReason::Signature, detail));
            }
            signers.push(public.id());
        }
        Ok(signers)
    }
}

/// What a root statement changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootStep {
    /// It is in force already.
    Known,
    /// It is in force now.
    Taken,
    /// It is in force now, and voids entries after a place.
    Branched(Branch),
}

/// What a key of control signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signs {
    Entry,
    Head,
}

/// The statement in force, and how a node came to trust it.
#[derive(Debug, Clone)]
pub struct Roots {
    cluster: ClusterId,
    pinned: RootPublicKey,
    current: Option<(RootStatement, Bytes)>,
    /// Public keys of control, read once.
    controls: Vec<PublicKey>,
}

impl Roots {
    /// Trusts one root key, which comes from the node's configuration.
    pub const fn new(cluster: ClusterId, pinned: RootPublicKey) -> Self {
        Self { cluster, pinned, current: None, controls: Vec::new() }
    }

    /// The root key that was given, not learned.
    pub fn pinned(&self) -> KeyId {
        self.pinned.id()
    }

    /// The statement in force; `None` before the first.
    pub fn statement(&self) -> Option<&RootStatement> {
        self.current.as_ref().map(|(statement, _)| statement)
    }

    /// The statement in force, as it travels.
    pub fn raw(&self) -> Option<&Bytes> {
        self.current.as_ref().map(|(_, raw)| raw)
    }

    /// Version of the statement in force; 0 before the first.
    pub fn version(&self) -> u64 {
        self.statement().map_or(0, |statement| statement.version)
    }

    /// Cluster that the log belongs to.
    pub const fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Takes the next statement. The first one may have any version, but has to name and be signed by the pinned key.
    ///
    /// Refuses with `Malformed` what is none; with `Identity` one of another cluster or log; with `Signature` a wrong signature; with
    /// `Key` one that too few keys signed; with `Chain` one that skips a version or comes too late; with `Equivocation` another one
    /// of the version in force.
    pub fn take(&mut self, raw: &Bytes) -> Result<RootStep, Refusal> {
        let claimed = Claimed::read(raw)?;
        let next = &claimed.statement;
        if next.cluster != self.cluster {
            return refuse(RefusalReason::Identity, format!("root statement of cluster {}", next.cluster));
        }
        let step = match &self.current {
            None => {
                let own = claimed.signers(next.root_keys.iter())?;
                if next.signed_by(&own) < next.threshold || !own.contains(&self.pinned.id()) {
                    let detail =
                        format!("root statement {}: not signed by root key {}", next.version, self.pinned.id());
                    return refuse(RefusalReason::Key, detail);
                }
                RootStep::Taken
            }
            Some((current, held)) if held == raw => {
                debug_assert_eq!(current.version, next.version);
                return Ok(RootStep::Known);
            }
            Some((current, _)) => {
                if next.log != current.log {
                    return refuse(RefusalReason::Identity, format!("root statement of log {}", next.log));
                }
                if next.version == current.version && *next == *current {
                    // The same statement with more signatures.
                    return Ok(RootStep::Known);
                }
                let signers = claimed.signers(current.root_keys.iter().chain(&next.root_keys))?;
                if current.signed_by(&signers) < current.threshold || next.signed_by(&signers) < next.threshold {
                    let detail =
                        format!("root statement {}: signed by too few keys of it or the one before", next.version);
                    return refuse(RefusalReason::Key, detail);
                }
                if next.version == current.version {
                    return refuse(RefusalReason::Equivocation, format!("two root statements {}", next.version));
                }
                if next.version != current.version + 1 {
                    let detail = format!("root statement {} after {}", next.version, current.version);
                    return refuse(RefusalReason::Chain, detail);
                }
                if next.branch == current.branch {
                    RootStep::Taken
                } else if let Some(branch) = next.branch.filter(|branch| branch.version == next.version) {
                    RootStep::Branched(branch)
                } else {
                    return refuse(RefusalReason::Chain, format!("root statement {} forgets a branch", next.version));
                }
            }
        };
        let controls = next.controls.iter().map(|control| PublicKey::from_bytes(&control.public_key));
        self.controls = controls.collect::<Result<_, _>>().map_err(|error| Refusal::malformed(error.to_string()))?;
        self.current = Some((claimed.statement, raw.clone()));
        Ok(step)
    }

    /// Keys that have signed the statement in force, those of the version before it included.
    pub(crate) fn signers(&self) -> Vec<KeyId> {
        let claimed = self.raw().and_then(|raw| Claimed::read(raw).ok());
        claimed.into_iter().flat_map(|claimed| claimed.envelopes).map(|envelope| envelope.key).collect()
    }

    /// Verifies a head for somebody who does not have the log: it is signed by a key that may sign it, and the root has not voided it.
    ///
    /// Refuses with `Malformed` what is none; with `Identity` one of another cluster or log; with `Key` one of another key; with
    /// `Signature` a wrong signature; with `Chain` one that is void.
    pub fn check_head(&self, raw: &[u8]) -> Result<Head, Refusal> {
        let (head, envelope) = Head::read(raw)?;
        let Some(statement) = self.statement() else {
            return refuse(RefusalReason::Key, "a head came before any root statement");
        };
        if head.cluster != self.cluster || head.log != statement.log {
            let detail = format!("head of log {} of cluster {}", head.log, head.cluster);
            return refuse(RefusalReason::Identity, detail);
        }
        let key = self.control(envelope.key, (Signs::Head, head.sequence), head.at)?;
        if !envelope.is_signed_by(key) {
            return refuse(RefusalReason::Signature, format!("head at entry {}", head.sequence));
        }
        let is_void = statement
            .branch
            .is_some_and(|branch| head.sequence > branch.sequence && head.root_version < branch.version);
        if is_void {
            return refuse(
                RefusalReason::Chain,
                format!("head at entry {} is void: the root has branched", head.sequence),
            );
        }
        Ok(head)
    }

    /// The key of control with this identity, if it may sign something at this place and time.
    ///
    /// # Errors
    /// `Key`, with the reason why it may not.
    pub(crate) fn control(
        &self,
        key: KeyId,
        (statement_of, sequence): (Signs, EntrySequence),
        at: UnixMillis,
    ) -> Result<&PublicKey, Refusal> {
        let statement = self.statement();
        let mut controls = statement.iter().flat_map(|statement| &statement.controls).zip(&self.controls);
        let Some((control, public)) = controls.find(|(_, public)| public.id() == key) else {
            return refuse(
                RefusalReason::Key,
                format!("key {key} is no key of control in root statement {}", self.version()),
            );
        };
        let is_too_early = match statement_of {
            Signs::Entry => sequence < control.first,
            // The next entry may be its first.
            Signs::Head => sequence.next() < control.first,
        };
        if is_too_early || control.last.is_some_and(|last| sequence > last) {
            return refuse(
                RefusalReason::Key,
                format!("key {key} of {} signs nothing at entry {sequence}", control.node),
            );
        }
        if at >= control.not_after {
            return refuse(
                RefusalReason::Key,
                format!("key {key} of {} is valid until {}", control.node, control.not_after),
            );
        }
        Ok(public)
    }
}

fn refuse<T>(reason: RefusalReason, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}
