//! Identifiers and counters of the metadata log. Pure.

use std::fmt;

/// Identity of a log: 16 random bytes of its first root statement. Two clusters with one name and one root key differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 16]);

/// Identity of a row: 16 random bytes, which the API shows too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub [u8; 16]);

impl RowId {
    /// The bucket of the state digest that the row belongs to: its last twelve bits.
    pub(crate) fn bucket(&self) -> usize {
        let [.., high, low] = self.0;
        usize::from(high & 0x0f) << 8 | usize::from(low)
    }
}

macro_rules! hexadecimal {
    ($($name:ident),*) => {
        $(
            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&hex::encode(self.0))
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($name), "({})"), self)
                }
            }
        )*
    };
}
hexadecimal!(LogId, RowId);

/// Place of an entry in the log; the first is 1. 0 is the empty log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntrySequence(pub u64);

impl EntrySequence {
    /// The one after this; saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for EntrySequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
