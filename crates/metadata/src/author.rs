//! What control writes: a draft of the next entry, from the rows that it changes. Pure.

use bytes::Bytes;
use media::{Digest, UnixMillis};
use seal::{ControlKey, Error, Refusal, RefusalReason};

use crate::entry::{Change, Entry, Head, Row, row_digest};
use crate::limits::{ROW_BYTES_MAX, ROWS_BYTES_MAX};
use crate::rows::HeldRow;
use crate::{Body, Replica, RowId};

/// A row that control writes or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which row; 16 random bytes for a new one.
    pub id: RowId,
    /// Number of its kind.
    pub kind: u64,
    /// What it says from now on; `None` removes it.
    pub body: Option<Body>,
    /// 16 random bytes.
    pub salt: [u8; 16],
}

impl Edit {
    /// Longest that the row can be, in bytes; 0 when it is removed.
    pub fn row_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.encode().len().saturating_add(ROW_OVERHEAD_BYTES))
    }
}

/// Most bytes of a row beside its body: kind, identity, version and salt.
const ROW_OVERHEAD_BYTES: usize = 64;

/// The next entry, not signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    entry: Entry,
    rows: Vec<u8>,
}

/// An entry as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntry {
    /// The signed entry.
    pub entry: Bytes,
    /// Its rows, a CBOR sequence.
    pub rows: Bytes,
}

impl Draft {
    /// Signs the draft.
    ///
    /// # Errors
    /// When it changes nothing or too much, or the cryptographic library fails.
    pub fn sign(&self, key: &ControlKey) -> Result<SignedEntry, Error> {
        Ok(SignedEntry { entry: self.entry.sign(key)?, rows: self.rows.clone().into() })
    }
}

impl Replica {
    /// The entry that makes these edits, as the next of the log. Nothing has changed before the signed entry is applied.
    ///
    /// # Errors
    /// When an edit breaks a rule of its row or of the log, or no root statement is in force.
    pub fn draft(&mut self, edits: Vec<Edit>, at: UnixMillis) -> Result<Draft, Refusal> {
        let place = self.place();
        let sequence = place.sequence.next();
        let statement = self.roots().statement();
        let (log, root_version) = statement
            .map(|statement| (statement.log, statement.version))
            .ok_or_else(|| Refusal::new(RefusalReason::Key, "there is no root statement yet"))?;
        let (mut changes, mut rows, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for Edit { id, kind, body, salt } in edits {
            let Some(body) = body else {
                changes.push(Change { kind, id, digest: None });
                held.push((kind, id, None));
                continue;
            };
            let raw = Row { kind, id, sequence, salt, body }.encode();
            // What is signed has to be readable.
            let row = Row::decode(&raw)?;
            let digest = row_digest(&raw);
            if raw.len() > ROW_BYTES_MAX || rows.len() + raw.len() > ROWS_BYTES_MAX {
                return Err(Refusal::malformed(format!("row {id}: {} bytes do not fit an entry", raw.len())));
            }
            rows.extend_from_slice(&raw);
            changes.push(Change { kind, id, digest: Some(digest) });
            held.push((kind, id, Some(HeldRow { kind, sequence, digest, body: row.body })));
        }
        let undo = self.rows_mut().apply(held)?;
        let state = self.state();
        self.rows_mut().take_back(undo);
        let cluster = self.roots().cluster().clone();
        // The log's time never falls, even when control's clock was set back.
        let at = at.max(place.at);
        let (before, audit) = (place.chain, Digest::NONE);
        Ok(Draft { entry: Entry { cluster, log, sequence, before, at, root_version, changes, state, audit }, rows })
    }

    /// The head of this replica, for control to sign; `None` before the first root statement.
    pub fn head(&self, at: UnixMillis, database: [u8; 16]) -> Option<Head> {
        let statement = self.roots().statement()?;
        let place = self.place();
        Some(Head {
            cluster: self.roots().cluster().clone(),
            log: statement.log,
            sequence: place.sequence,
            chain: place.chain,
            state: self.state(),
            at,
            root_version: statement.version,
            database,
        })
    }
}
