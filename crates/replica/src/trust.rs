//! What a viewer's browser needs to decide which keys may seal a stream: the log's rows, with their proofs.

use anyhow::Result;
use bytes::Bytes;
use media::StreamId;
use metadata::limits::TRUST_ROOTS_MAX;
use metadata::{Proof, ProvenRow, Replica, Trust, row_digest};
use seal::KeyId;

use crate::Log;

/// Most bytes of root statements in one answer; the newest count.
const ROOTS_BYTES_MAX: usize = 1024 * 1024;

impl Log {
    /// Root statements, the newest head, and the rows that say which of these keys may seal the stream. `None` while the newest head
    /// speaks of other rows than those that are here: control says a new one within two seconds.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn trust(&self, stream: &StreamId, keys: &[KeyId]) -> Result<Option<Trust>> {
        self.proven(|replica| replica.prove(stream, keys)).await
    }

    /// The same of the grants in force, whatever they name.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn grants(&self) -> Result<Option<Trust>> {
        let now = self.clock().wall();
        self.proven(|replica| replica.prove_grants(now)).await
    }

    async fn proven(&self, prove: impl FnOnce(&Replica) -> Vec<Proof>) -> Result<Option<Trust>> {
        let Some(head) = self.head() else { return Ok(None) };
        let proofs = self.with(|replica| {
            let said = replica.roots().check_head(&head).ok()?;
            (said.state == replica.state()).then(|| prove(replica))
        });
        let Some(proofs) = proofs else { return Ok(None) };
        let mut rows = Vec::with_capacity(proofs.len());
        for proof in proofs {
            // Memory is ahead of the disk for a moment.
            let row = self.reader().row(&proof.id).await?;
            let Some(row) = row.filter(|row| proof.bucket.contains(&(proof.id, row_digest(row)))) else {
                return Ok(None);
            };
            rows.push(ProvenRow::new(row, proof));
        }
        let roots = newest(self.reader().roots(0).await?);
        Ok(Some(Trust { roots, head, rows, kept: None }))
    }

    /// The newest head that counts here, as it travels: what [`Log::trust`] says changes with it.
    pub fn newest_head(&self) -> Option<Bytes> {
        self.head()
    }
}

/// The newest statements, as many as one answer may have, ascending.
fn newest(statements: Vec<Bytes>) -> Vec<Bytes> {
    let mut bytes = 0_usize;
    let mut newest: Vec<Bytes> = statements
        .into_iter()
        .rev()
        .take(TRUST_ROOTS_MAX)
        .take_while(|statement| {
            bytes = bytes.saturating_add(statement.len());
            bytes <= ROOTS_BYTES_MAX
        })
        .collect();
    newest.reverse();
    newest
}
