//! Where several control nodes keep what one of them has signed, before anybody else sees it.

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use metadata::{EntrySequence, SignedEntry};

/// What control nodes share of the log they write. Only the one that leads can keep anything, and no place in the log is kept twice.
pub trait Ledger: Send + Sync + 'static {
    /// Keeps an entry. When this fails, it may have been kept nevertheless.
    fn keep_entry(&self, sequence: EntrySequence, signed: SignedEntry) -> BoxFuture<'static, Result<()>>;

    /// Keeps a root statement; a new one removes the entries after `voids_after`.
    fn keep_root(
        &self,
        version: u64,
        statement: Bytes,
        voids_after: Option<EntrySequence>,
    ) -> BoxFuture<'static, Result<()>>;

    /// Entries from one on, ascending; some at a time.
    fn entries_from(&self, sequence: EntrySequence) -> BoxFuture<'static, Result<Vec<SignedEntry>>>;

    /// Place of the newest entry.
    fn newest(&self) -> BoxFuture<'static, Result<Option<EntrySequence>>>;

    /// All root statements, ascending.
    fn roots(&self) -> BoxFuture<'static, Result<Vec<Bytes>>>;

    /// Identity under which all of these control nodes write.
    fn identity(&self) -> BoxFuture<'static, Result<[u8; 16]>>;
}
