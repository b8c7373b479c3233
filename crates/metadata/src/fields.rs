//! The body of a row: a map of numbered fields. A newer version may add some. Pure.
//!
//! Fields below [`MUST_UNDERSTAND`] change what the others mean, so a node that does not know one denies what the row would allow.
//! Those from there on may be ignored.

use std::collections::BTreeMap;

use seal::Refusal;
use seal::wire::{Reader, Writer};

/// First number of the fields, and of the kinds of rows, that a node may ignore.
pub(crate) const MUST_UNDERSTAND: u64 = 64;
/// Most fields of a row.
const FIELDS_MAX: u64 = 64;

/// Fields that are not read yet.
pub(crate) struct Fields<'b>(BTreeMap<u64, &'b [u8]>);

impl<'b> Fields<'b> {
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, Refusal> {
        let mut r = Reader::new(body);
        let mut fields = BTreeMap::new();
        for _ in 0..r.map_of(0, FIELDS_MAX)? {
            let number = r.uint()?;
            if fields.last_key_value().is_some_and(|(last, _)| *last >= number) {
                return Err(Refusal::malformed(format!("field {number} comes too late, or twice")));
            }
            fields.insert(number, r.value()?);
        }
        if !r.is_done() {
            return Err(Refusal::malformed("bytes after the last field"));
        }
        Ok(Self(fields))
    }

    /// Reads a field that has to be there.
    pub(crate) fn take<T>(
        &mut self,
        number: u64,
        read: impl FnOnce(&mut Reader<'b>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.find(number, read)?.ok_or_else(|| Refusal::malformed(format!("field {number} is missing")))
    }

    /// Reads a field that may be missing.
    pub(crate) fn find<T>(
        &mut self,
        number: u64,
        read: impl FnOnce(&mut Reader<'b>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.remove(&number) else { return Ok(None) };
        let mut reader = Reader::new(value);
        read(&mut reader).map(Some)
    }

    /// Reads a field that has to be there, and leaves it.
    pub(crate) fn peek<T>(
        &self,
        number: u64,
        read: impl FnOnce(&mut Reader<'b>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let value = self.0.get(&number).ok_or_else(|| Refusal::malformed(format!("field {number} is missing")))?;
        read(&mut Reader::new(value))
    }

    /// Whether every field that must be understood was read.
    pub(crate) fn are_understood(&self) -> bool {
        self.0.keys().all(|number| *number >= MUST_UNDERSTAND)
    }
}

/// Writes the fields of a body, in ascending order; fields without a value are left out.
#[derive(Default)]
pub(crate) struct FieldsWriter(Vec<(u64, Vec<u8>)>);

impl FieldsWriter {
    pub(crate) fn put(mut self, number: u64, write: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer::with_capacity(64);
        write(&mut writer);
        self.0.push((number, writer.finish()));
        self
    }

    pub(crate) fn put_some<T>(self, number: u64, value: Option<T>, write: impl FnOnce(&mut Writer, T)) -> Self {
        match value {
            Some(value) => self.put(number, |w| write(w, value)),
            None => self,
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        w.map(u64::try_from(self.0.len()).expect("a row has some ten fields"));
        let mut bytes = w.finish();
        for (number, value) in self.0 {
            let mut key = Writer::with_capacity(2);
            key.uint(number);
            bytes.extend_from_slice(&key.finish());
            bytes.extend_from_slice(&value);
        }
        bytes
    }
}
