//! The rows that the log has written so far, with the rules that one row alone cannot hold. Pure.

use std::collections::BTreeMap;

use media::Digest;
use seal::Refusal;

use crate::limits::rows_max;
use crate::state::StateTree;
use crate::trust::Proof;
use crate::{Body, EntrySequence, RowId, kind};

/// A row that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRow {
    pub(crate) kind: u64,
    /// The entry that wrote it.
    pub(crate) sequence: EntrySequence,
    pub(crate) digest: Digest,
    pub(crate) body: Body,
}

/// What rows were before some changes, newest change last.
pub(crate) type Undo = Vec<(RowId, Option<HeldRow>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    rows: BTreeMap<RowId, HeldRow>,
    names: BTreeMap<(u64, String), RowId>,
    counts: BTreeMap<u64, usize>,
    /// Rows for which [`Body::is_denied`].
    denied: usize,
    tree: StateTree,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            names: BTreeMap::new(),
            counts: BTreeMap::new(),
            denied: 0,
            tree: StateTree::new(),
        }
    }

    /// State digest.
    pub(crate) fn digest(&self) -> Digest {
        self.tree.root()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RowId, &HeldRow)> {
        self.rows.iter()
    }

    /// Rows of all kinds.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that this version does not understand, and that deny something for it.
    pub(crate) const fn denied(&self) -> usize {
        self.denied
    }

    /// The row of a kind with a natural name.
    pub(crate) fn find(&self, kind: u64, name: &str) -> Option<(&RowId, &HeldRow)> {
        let id = self.names.get(&(kind, name.to_owned()))?;
        self.rows.get(id).map(|row| (id, row))
    }

    /// Proves the row of a kind with a natural name.
    pub(crate) fn prove(&self, kind: u64, name: &str) -> Option<Proof> {
        let (id, _) = self.find(kind, name)?;
        let (bucket, path) = self.tree.prove(id);
        Some(Proof { id: *id, bucket, path })
    }

    /// Changes rows, all or none; `None` removes one. Returns how to take it back.
    ///
    /// # Errors
    /// When a change breaks a rule; nothing is changed then.
    pub(crate) fn apply(&mut self, changes: Vec<(u64, RowId, Option<HeldRow>)>) -> Result<Undo, Refusal> {
        let mut undo = Undo::new();
        for (kind, id, row) in changes {
            if let Err(refusal) = self.check(kind, &id, row.as_ref()) {
                self.take_back(undo);
                return Err(refusal);
            }
            undo.push((id, self.set(id, row)));
        }
        if let Err(refusal) = self.check_removed(&undo) {
            self.take_back(undo);
            return Err(refusal);
        }
        self.tree.apply(undo.iter().map(|(id, _)| (*id, self.rows.get(id).map(|row| row.digest))));
        Ok(undo)
    }

    /// Takes back what [`Rows::apply`] changed.
    pub(crate) fn take_back(&mut self, undo: Undo) {
        let ids: Vec<RowId> = undo.iter().map(|(id, _)| *id).collect();
        for (id, row) in undo.into_iter().rev() {
            self.set(id, row);
        }
        self.tree.apply(ids.into_iter().map(|id| (id, self.rows.get(&id).map(|row| row.digest))));
    }

    fn set(&mut self, id: RowId, row: Option<HeldRow>) -> Option<HeldRow> {
        let old = match row {
            Some(row) => {
                if let Some(name) = row.body.name() {
                    self.names.insert((row.kind, name), id);
                }
                *self.counts.entry(row.kind).or_default() += 1;
                self.denied += usize::from(row.body.is_denied());
                self.rows.insert(id, row)
            }
            None => self.rows.remove(&id),
        };
        if let Some(old) = &old {
            *self.counts.entry(old.kind).or_default() -= 1;
            self.denied -= usize::from(old.body.is_denied());
            if let Some(name) = old.body.name() {
                // The new row may have the same name.
                let still = self.rows.get(&id).and_then(|row| row.body.name());
                if still.as_deref() != Some(&name) {
                    self.names.remove(&(old.kind, name));
                }
            }
        }
        old
    }

    fn check(&self, kind: u64, id: &RowId, row: Option<&HeldRow>) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::implausible(format!("row {id}: {why}")));
        let old = self.rows.get(id);
        if let Some(old) = old.filter(|old| old.kind != kind) {
            return refuse(format!("of kind {}, not {kind}", old.kind));
        }
        let Some(row) = row else {
            return match old.map(|old| &old.body) {
                None => refuse("removed, and was never there".to_owned()),
                Some(Body::Tombstone(gone)) if Body::is_unique_for_good(gone.kind) => {
                    refuse(format!("the tombstone of {} stays", gone.name))
                }
                Some(_) => Ok(()),
            };
        };
        if old.is_none() && self.counts.get(&kind).copied().unwrap_or(0) >= rows_max(kind) {
            return refuse(format!("{} rows of kind {kind} are the most", rows_max(kind)));
        }
        let Some(name) = row.body.name() else { return Ok(()) };
        if old.and_then(|old| old.body.name()).is_some_and(|before| before != name) {
            return refuse(format!("it cannot become {name}"));
        }
        if self.names.get(&(kind, name.clone())).is_some_and(|other| other != id) {
            return refuse(format!("{name} is there already"));
        }
        if Body::is_unique_for_good(kind) && self.names.contains_key(&(kind::TOMBSTONE, format!("{kind}/{name}"))) {
            return refuse(format!("{name} was there once: use another name"));
        }
        Ok(())
    }

    /// Rows whose names never return leave a tombstone.
    fn check_removed(&self, undo: &Undo) -> Result<(), Refusal> {
        for (id, old) in undo {
            let Some(old) = old.as_ref().filter(|old| Body::is_unique_for_good(old.kind)) else { continue };
            if self.rows.contains_key(id) {
                continue;
            }
            let name = old.body.name().unwrap_or_default();
            if !self.names.contains_key(&(kind::TOMBSTONE, format!("{}/{name}", old.kind))) {
                return Err(Refusal::implausible(format!("row {id}: {name} was removed without a tombstone")));
            }
        }
        Ok(())
    }

    pub(crate) fn check_invariants(&self) {
        let names = self.rows.iter().filter_map(|(id, row)| Some(((row.kind, row.body.name()?), *id)));
        assert_eq!(names.collect::<BTreeMap<_, _>>(), self.names, "names lead to their rows");
        let mut tree = StateTree::new();
        tree.apply(self.rows.iter().map(|(id, row)| (*id, Some(row.digest))));
        assert_eq!(tree.root(), self.tree.root(), "the tree has all rows");
        for (kind, count) in &self.counts {
            let there = self.rows.values().filter(|row| row.kind == *kind).count();
            assert!(there == *count && there <= rows_max(*kind), "rows of kind {kind} are counted");
        }
        assert_eq!(
            self.rows.values().filter(|row| row.body.is_denied()).count(),
            self.denied,
            "denied rows are counted"
        );
    }
}
