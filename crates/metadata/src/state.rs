//! The state digest: a Merkle root over all rows, so that two replicas that differ notice, and a single row can be proven. Pure.
//!
//! A leaf is the SHA-256 of a bucket's rows (identity and digest, sorted); an empty bucket is all zeros. A node above is the SHA-256
//! of its two children.

use std::collections::BTreeMap;

use media::Digest;
use sha2::{Digest as _, Sha256};

use crate::RowId;
use crate::limits::BUCKETS;

/// Levels of the tree above the buckets.
pub(crate) const LEVELS: usize = BUCKETS.ilog2() as usize;
/// Digests beside the way from a bucket to the root.
pub(crate) type Path = [Digest; LEVELS];

const LEAF: &[u8] = b"sealcast/metadata-leaf";
const NODE: &[u8] = b"sealcast/metadata-node";

/// The tree. The root is at 1, the children of `n` are at `2n` and `2n + 1`, and the buckets are the last [`BUCKETS`] nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateTree {
    nodes: Vec<Digest>,
    buckets: Vec<BTreeMap<RowId, Digest>>,
}

impl StateTree {
    pub(crate) fn new() -> Self {
        let mut nodes = vec![Digest::NONE; 2 * BUCKETS];
        for at in (1..BUCKETS).rev() {
            set(&mut nodes, at);
        }
        Self { nodes, buckets: vec![BTreeMap::new(); BUCKETS] }
    }

    pub(crate) fn root(&self) -> Digest {
        self.nodes.get(1).copied().unwrap_or(Digest::NONE)
    }

    /// All rows of the bucket of a row, and the digests beside the way from that bucket to the root.
    pub(crate) fn prove(&self, id: &RowId) -> (Vec<(RowId, Digest)>, Path) {
        let rows = self.buckets.get(id.bucket()).into_iter().flatten();
        let mut at = BUCKETS + id.bucket();
        let path = std::array::from_fn(|_| {
            let beside = self.nodes.get(at ^ 1).copied().unwrap_or(Digest::NONE);
            at /= 2;
            beside
        });
        (rows.map(|(id, digest)| (*id, *digest)).collect(), path)
    }

    /// Sets the digests of rows; `None` removes one.
    pub(crate) fn apply(&mut self, changes: impl IntoIterator<Item = (RowId, Option<Digest>)>) {
        let mut touched = std::collections::BTreeSet::new();
        for (id, digest) in changes {
            let bucket = id.bucket();
            let Some(rows) = self.buckets.get_mut(bucket) else { continue };
            match digest {
                Some(digest) => rows.insert(id, digest),
                None => rows.remove(&id),
            };
            touched.insert(bucket);
        }
        let mut level = touched;
        for bucket in &level {
            let leaf = self.buckets.get(*bucket).map_or(Digest::NONE, |rows| bucket_digest(rows.iter()));
            if let Some(node) = self.nodes.get_mut(BUCKETS + bucket) {
                *node = leaf;
            }
        }
        level = level.into_iter().map(|bucket| (BUCKETS + bucket) / 2).collect();
        while level.first().is_some_and(|at| *at >= 1) {
            level.iter().for_each(|at| set(&mut self.nodes, *at));
            level = level.into_iter().map(|at| at / 2).collect();
        }
    }
}

/// The leaf of a bucket with these rows, sorted.
pub(crate) fn bucket_digest<'r>(rows: impl Iterator<Item = (&'r RowId, &'r Digest)>) -> Digest {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Digest::NONE;
    }
    let mut hasher = Sha256::new_with_prefix(LEAF);
    for (id, digest) in rows {
        hasher.update(id.0);
        hasher.update(digest.0);
    }
    Digest(hasher.finalize().into())
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new_with_prefix(NODE).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of a tree in which a bucket has this leaf.
pub(crate) fn root_above(bucket: usize, leaf: Digest, path: &Path) -> Digest {
    let mut at = BUCKETS + bucket;
    path.iter().fold(leaf, |below, beside| {
        let is_left = at.is_multiple_of(2);
        at /= 2;
        if is_left { node(below, *beside) } else { node(*beside, below) }
    })
}

/// Computes a node from its children.
fn set(nodes: &mut [Digest], at: usize) {
    let child = |n: usize| nodes.get(n).copied().unwrap_or(Digest::NONE);
    let digest = node(child(2 * at), child(2 * at + 1));
    if let Some(node) = nodes.get_mut(at) {
        *node = digest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> impl Strategy<Value = (RowId, Option<Digest>)> {
        // Few identities and buckets, so that rows meet.
        let id = (0_u8..4, 0_u8..3).prop_map(|(first, last)| {
            let mut id = [0; 16];
            (id[0], id[15]) = (first, last);
            RowId(id)
        });
        (id, proptest::option::of(any::<u8>().prop_map(|byte| Digest([byte; 32]))))
    }

    proptest! {
        #[test]
        fn root_depends_on_what_is_there_and_not_on_how_it_came(changes in proptest::collection::vec(row(), 0..40)) {
            let (mut at_once, mut one_by_one, mut anew) = (StateTree::new(), StateTree::new(), StateTree::new());
            at_once.apply(changes.clone());
            changes.iter().for_each(|change| one_by_one.apply([*change]));
            let rows: BTreeMap<RowId, Option<Digest>> = changes.into_iter().collect();
            anew.apply(rows.into_iter().filter(|(_, digest)| digest.is_some()));
            prop_assert_eq!(at_once.root(), one_by_one.root());
            prop_assert_eq!(at_once.root(), anew.root());
        }
    }

    proptest! {
        #[test]
        fn proof_of_a_row_leads_to_the_root_and_that_of_a_changed_one_does_not(
            rows in proptest::collection::btree_map(any::<[u8; 16]>(), any::<[u8; 32]>(), 1..40),
            which: prop::sample::Index,
        ) {
            let rows: Vec<(RowId, Digest)> = rows.into_iter().map(|(id, digest)| (RowId(id), Digest(digest))).collect();
            let mut tree = StateTree::new();
            tree.apply(rows.iter().map(|(id, digest)| (*id, Some(*digest))));
            let (id, digest) = *which.get(&rows);
            let (mut bucket, path) = tree.prove(&id);
            let root = |bucket: &[(RowId, Digest)]| {
                root_above(id.bucket(), bucket_digest(bucket.iter().map(|(id, digest)| (id, digest))), &path)
            };
            prop_assert!(bucket.contains(&(id, digest)));
            prop_assert_eq!(root(&bucket), tree.root());
            for (_, digest) in &mut bucket {
                digest.0[0] ^= 1;
            }
            prop_assert_ne!(root(&bucket), tree.root());
        }
    }

    #[test]
    fn every_row_shows_in_the_root() {
        let mut tree = StateTree::new();
        let empty = tree.root();
        tree.apply([(RowId([7; 16]), Some(Digest([1; 32])))]);
        let one = tree.root();
        tree.apply([(RowId([7; 16]), Some(Digest([2; 32])))]);
        assert!(empty != one && one != tree.root());
        tree.apply([(RowId([7; 16]), None)]);
        assert_eq!(tree.root(), empty);
    }
}
