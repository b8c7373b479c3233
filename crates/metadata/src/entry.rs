//! Entries, their rows, and heads: what control signs, in its one encoding. Pure.

use bytes::Bytes;
use media::{ClusterId, Digest, UnixMillis};
use seal::cose::{self, Envelope};
use seal::wire::{Reader, Writer, canonical};
use seal::{ControlKey, Error, KeyId, Refusal};
use sha2::{Digest as _, Sha256};

use crate::limits::{CHANGES_MAX, ENTRY_BYTES_MAX, HEAD_BYTES_MAX, ROW_BYTES_MAX, ROWS_BYTES_MAX};
use crate::{Body, EntrySequence, LogId, RowId};

const ENTRY_LABEL: &str = "sealcast/metadata-entry";
const ENTRY_PAIRS: u64 = 11;
const HEAD_LABEL: &str = "sealcast/metadata-head";
const HEAD_PAIRS: u64 = 10;
const ROW_LABEL: &[u8] = b"sealcast/metadata-row";
const CHAIN_LABEL: &[u8] = b"sealcast/metadata-chain";

/// One row, changed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Number of the row's kind.
    pub kind: u64,
    /// Which row.
    pub id: RowId,
    /// Digest of the row; `None` removes it.
    pub digest: Option<Digest>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// Log it is valid in.
    pub log: LogId,
    /// Its place.
    pub sequence: EntrySequence,
    /// Chain value of the entry before; zeros for the first.
    pub before: Digest,
    /// When control signed it; never before the entry before.
    pub at: UnixMillis,
    /// Root statement that control knew.
    pub root_version: u64,
    /// What changes; 1 to [`CHANGES_MAX`].
    pub changes: Vec<Change>,
    /// State digest after it.
    pub state: Digest,
    /// Head of the audit chain; zeros while control keeps none.
    pub audit: Digest,
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256 + 56 * self.changes.len());
        w.preamble(ENTRY_PAIRS, ENTRY_LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).bytes(&self.log.0);
        w.uint(4).uint(self.sequence.0);
        w.uint(5).bytes(&self.before.0);
        w.uint(6).int(self.at.0);
        w.uint(7).uint(self.root_version);
        w.uint(8).array(self.changes.len());
        for change in &self.changes {
            w.array(3).uint(change.kind).bytes(&change.id.0);
            match change.digest {
                Some(digest) => w.bytes(&digest.0),
                None => w.null(),
            };
        }
        w.uint(9).bytes(&self.state.0);
        w.uint(10).bytes(&self.audit.0);
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.preamble(ENTRY_PAIRS, ENTRY_LABEL)?;
        let entry = Self {
            cluster: r.key(2)?.cluster()?,
            log: LogId(r.key(3)?.bytes_of()?),
            sequence: EntrySequence(r.key(4)?.uint()?),
            before: r.key(5)?.digest()?,
            at: UnixMillis(r.key(6)?.int()?),
            root_version: r.key(7)?.uint()?,
            changes: r.key(8)?.list(CHANGES_MAX, |r| {
                r.array_of(3)?;
                Ok(Change { kind: r.uint()?, id: RowId(r.bytes_of()?), digest: r.or_null(Reader::digest)? })
            })?,
            state: r.key(9)?.digest()?,
            audit: r.key(10)?.digest()?,
        };
        canonical(bytes, &entry.encode())?;
        if entry.changes.is_empty() {
            return Err(Refusal::malformed(format!("entry {} changes nothing", entry.sequence)));
        }
        Ok(entry)
    }

    /// Signs the entry.
    ///
    /// # Errors
    /// When it changes nothing or too much, so that every node would refuse it.
    pub(crate) fn sign(&self, key: &ControlKey) -> Result<Bytes, Error> {
        let payload = self.encode();
        Self::decode(&payload).map_err(Error::Content)?;
        cose::seal(&payload, key, ENTRY_BYTES_MAX).map(Bytes::from)
    }
}

/// A signed entry that was read; its signature is not checked.
#[derive(Debug)]
pub(crate) struct ReadEntry<'b> {
    pub(crate) entry: Entry,
    pub(crate) envelope: Envelope<'b>,
    pub(crate) digest: Digest,
}

impl<'b> ReadEntry<'b> {
    pub(crate) fn read(raw: &'b [u8]) -> Result<Self, Refusal> {
        let envelope = Envelope::read(raw, ENTRY_BYTES_MAX)?;
        let digest = Digest(Sha256::digest(envelope.payload).into());
        Ok(Self { entry: Entry::decode(envelope.payload)?, envelope, digest })
    }

    pub(crate) const fn key(&self) -> KeyId {
        self.envelope.key
    }
}

/// The chain value of an entry, from that of the one before and the digest of its payload. The signature is not part of it, because
/// ML-DSA signatures may differ for one statement.
pub(crate) fn chain_value(before: Digest, entry: Digest) -> Digest {
    let digest = Sha256::new_with_prefix(CHAIN_LABEL).chain_update(before.0).chain_update(entry.0).finalize();
    Digest(digest.into())
}

/// A row as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of its kind.
    pub kind: u64,
    /// Which row.
    pub id: RowId,
    /// The entry that wrote it, which is its version.
    pub sequence: EntrySequence,
    /// Random, so that the digest of a row that was withheld says nothing about it.
    pub salt: [u8; 16],
    /// What it says.
    pub body: Body,
}

impl Row {
    /// The row's one encoding. Not for a body that this version does not understand.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = self.body.encode();
        let mut w = Writer::with_capacity(body.len().saturating_add(64));
        w.array(5).uint(self.kind).bytes(&self.id.0).uint(self.sequence.0).bytes(&self.salt).bytes(&body);
        w.finish()
    }

    /// Reads a row. What it was made of is covered by its digest, so the reader need not compare encodings.
    ///
    /// # Errors
    /// When it is malformed, or its kind and body do not belong together.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(bytes);
        r.array_of(5)?;
        let kind = r.uint()?;
        let (id, sequence, salt) = (RowId(r.bytes_of()?), EntrySequence(r.uint()?), r.bytes_of()?);
        let body = Body::decode(kind, r.bytes()?)?;
        if !r.is_done() {
            return Err(Refusal::malformed("bytes after a row"));
        }
        Ok(Self { kind, id, sequence, salt, body })
    }
}

/// The digest of a row as it travels.
pub fn row_digest(row: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix(ROW_LABEL).chain_update(row).finalize().into())
}

/// Cuts a CBOR sequence of rows into the rows.
pub(crate) fn split_rows(rows: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if rows.len() > ROWS_BYTES_MAX {
        return Err(Refusal::malformed(format!("rows of {} bytes, at most {ROWS_BYTES_MAX} are allowed", rows.len())));
    }
    let mut r = Reader::new(rows);
    let mut split = Vec::new();
    while !r.is_done() {
        let row = r.value()?;
        if row.len() > ROW_BYTES_MAX || split.len() >= CHANGES_MAX {
            return Err(Refusal::malformed("a row is too long, or there are too many"));
        }
        split.push(row);
    }
    Ok(split)
}

/// The rows that an entry writes, each as it travels, in the order of its changes; `None` for one that it removes. For whoever keeps
/// rows: it checks no signature, so ask only for an entry that a [`crate::Replica`] has taken.
///
/// # Errors
/// When the entry cannot be read, or has not as many rows as it names.
pub fn row_writes(entry: &[u8], rows: &Bytes) -> Result<Vec<(RowId, Option<Bytes>)>, Refusal> {
    let read = ReadEntry::read(entry)?;
    let mut split = split_rows(rows)?.into_iter();
    let write = |change: &Change| match change.digest {
        None => Ok((change.id, None)),
        Some(_) => {
            let row = split.next().ok_or_else(|| Refusal::malformed("a row is missing"))?;
            Ok((change.id, Some(rows.slice_ref(row))))
        }
    };
    read.entry.changes.iter().map(write).collect()
}

/// Where the log stands, said anew every two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Cluster it is valid in.
    pub cluster: ClusterId,
    /// Log it speaks of.
    pub log: LogId,
    /// Newest entry.
    pub sequence: EntrySequence,
    /// Its chain value.
    pub chain: Digest,
    /// State digest after it.
    pub state: Digest,
    /// When control said so.
    pub at: UnixMillis,
    /// Root statement that control knows.
    pub root_version: u64,
    /// Control's database: 16 random bytes, new after a restore from a backup.
    pub database: [u8; 16],
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        w.preamble(HEAD_PAIRS, HEAD_LABEL);
        w.uint(2).text(self.cluster.as_str());
        w.uint(3).bytes(&self.log.0);
        w.uint(4).uint(self.sequence.0);
        w.uint(5).bytes(&self.chain.0);
        w.uint(6).bytes(&self.state.0);
        w.uint(7).int(self.at.0);
        w.uint(8).uint(self.root_version);
        w.uint(9).bytes(&self.database);
        w.finish()
    }

    /// Reads a head; its signature is not checked.
    pub(crate) fn read(raw: &[u8]) -> Result<(Self, Envelope<'_>), Refusal> {
        let envelope = Envelope::read(raw, HEAD_BYTES_MAX)?;
        let mut r = Reader::new(envelope.payload);
        r.preamble(HEAD_PAIRS, HEAD_LABEL)?;
        let head = Self {
            cluster: r.key(2)?.cluster()?,
            log: LogId(r.key(3)?.bytes_of()?),
            sequence: EntrySequence(r.key(4)?.uint()?),
            chain: r.key(5)?.digest()?,
            state: r.key(6)?.digest()?,
            at: UnixMillis(r.key(7)?.int()?),
            root_version: r.key(8)?.uint()?,
            database: r.key(9)?.bytes_of()?,
        };
        canonical(envelope.payload, &head.encode())?;
        Ok((head, envelope))
    }

    /// Signs the head.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, key: &ControlKey) -> Result<Bytes, Error> {
        cose::seal(&self.encode(), key, HEAD_BYTES_MAX).map(Bytes::from)
    }
}
