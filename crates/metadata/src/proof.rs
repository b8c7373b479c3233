//! What proves grants to somebody who has the root key and no replica: root statements, and each grant with the entry that wrote it.
//! It proves that control wrote the grant, and not that it still counts. Pure.
//!
//! The form is a CBOR sequence of byte strings: the root statements, ascending; an empty string; then entry and row, in turn.

use bytes::Bytes;
use media::UnixMillis;
use seal::wire::{Reader, Writer};
use seal::{Grant, KeyId, Refusal, RefusalReason};

use crate::entry::{Change, ReadEntry, Row, row_digest};
use crate::limits::rows_max;
use crate::root::Signs;
use crate::{Body, EntrySequence, Roots, kind};

/// Most root statements that a proof has: more than any cluster makes.
const ROOTS_MAX: usize = 1_024;

/// A grant that control has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenGrant {
    /// What it says.
    pub grant: Grant,
    /// The entry that wrote it.
    pub sequence: EntrySequence,
    /// When control signed that.
    pub at: UnixMillis,
    /// The key of control that signed it.
    pub control: KeyId,
}

/// Puts a proof together: statements, and entries each with the row of a grant.
pub fn join(roots: &[Bytes], grants: &[(Bytes, Bytes)]) -> Bytes {
    let mut w = Writer::with_capacity(4_096);
    roots.iter().for_each(|statement| _ = w.bytes(statement));
    w.bytes(&[]);
    for (entry, row) in grants {
        w.bytes(entry).bytes(row);
    }
    w.finish().into()
}

/// Reads a proof. `roots` trusts the root key of the reader, and takes the statements.
///
/// Refuses with what [`Roots::take`] refuses; with `Malformed` what is no proof; with `Identity`, `Key` and `Signature` an entry that
/// control did not sign; with `Chain` one that the root has voided.
pub fn read(proof: &Bytes, roots: &mut Roots) -> Result<Vec<ProvenGrant>, Refusal> {
    let mut r = Reader::new(proof);
    for _ in 0..ROOTS_MAX {
        let statement = r.bytes()?;
        if statement.is_empty() {
            return grants(&mut r, roots);
        }
        roots.take(&proof.slice_ref(statement))?;
    }
    Err(Refusal::malformed("a proof with too many root statements"))
}

fn grants(r: &mut Reader<'_>, roots: &Roots) -> Result<Vec<ProvenGrant>, Refusal> {
    let mut grants = Vec::new();
    while !r.is_done() {
        if grants.len() >= rows_max(kind::GRANT) {
            return Err(Refusal::malformed("a proof of too many grants"));
        }
        let (entry, row) = (r.bytes()?, r.bytes()?);
        grants.push(grant(entry, row, roots)?);
    }
    Ok(grants)
}

fn grant(entry: &[u8], row: &[u8], roots: &Roots) -> Result<ProvenGrant, Refusal> {
    let read = ReadEntry::read(entry)?;
    let entry = &read.entry;
    let statement = roots.statement();
    if entry.cluster != *roots.cluster() || statement.is_none_or(|statement| statement.log != entry.log) {
        return Err(Refusal::new(RefusalReason::Identity, format!("entry {} of another log", entry.sequence)));
    }
    let branch = statement.and_then(|statement| statement.branch);
    if branch.is_some_and(|branch| entry.sequence > branch.sequence && entry.root_version < branch.version) {
        return Err(Refusal::new(RefusalReason::Chain, format!("entry {} is void", entry.sequence)));
    }
    let public = roots.control(read.key(), (Signs::Entry, entry.sequence), entry.at)?;
    if !read.envelope.is_signed_by(public) {
        return Err(Refusal::new(RefusalReason::Signature, format!("entry {}", entry.sequence)));
    }
    let decoded = Row::decode(row)?;
    let written = Change { kind: decoded.kind, id: decoded.id, digest: Some(row_digest(row)) };
    match decoded.body {
        Body::Grant(grant) if entry.changes.contains(&written) => {
            Ok(ProvenGrant { grant, sequence: entry.sequence, at: entry.at, control: read.key() })
        }
        _ => Err(Refusal::malformed(format!("not a grant that entry {} wrote", entry.sequence))),
    }
}
