//! Tokens whose signature was verified, by the digest of their text: a signature costs fifty times what a look-up costs. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::Verified;

type Digest = [u8; 32];

/// Tokens that verify, and no others, so that whoever has none fills nothing. Bounded: of two generations, the older one goes when
/// the newer one is full.
#[derive(Debug)]
pub struct Checked {
    generation_max: usize,
    newer: HashMap<Digest, Arc<Verified>>,
    older: HashMap<Digest, Arc<Verified>>,
}

impl Checked {
    /// Keeps at most `tokens_max`, and at least half of the ones that were used last.
    pub fn new(tokens_max: usize) -> Self {
        Self { generation_max: (tokens_max / 2).max(1), newer: HashMap::new(), older: HashMap::new() }
    }

    /// The digest of a token's text.
    pub fn digest(text: &str) -> Digest {
        Sha256::digest(text).into()
    }

    /// A token that was verified before.
    pub fn get(&mut self, digest: &Digest) -> Option<Arc<Verified>> {
        if let Some(found) = self.newer.get(digest) {
            return Some(Arc::clone(found));
        }
        let found = self.older.remove(digest)?;
        self.put(*digest, Arc::clone(&found));
        Some(found)
    }

    /// Keeps a token that was verified.
    pub fn put(&mut self, digest: Digest, verified: Arc<Verified>) {
        if self.newer.len() >= self.generation_max && !self.newer.contains_key(&digest) {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(digest, verified);
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
