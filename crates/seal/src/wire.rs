//! Deterministic CBOR (RFC 8949, 4.2.1): thin wrappers around minicbor that read and write only what our encodings use. All signed
//! statements of the cluster are written with it, those of the `metadata` crate too.
//!
//! The reader refuses indefinite lengths, and keys in a wrong order or number. The caller checks that integers have their shortest
//! form: it encodes again and compares ([`canonical`]). Nothing here allocates by a claimed length. Pure.

use std::convert::Infallible;
use std::fmt;

use media::{ClusterId, Digest, NodeId, RenditionId, StreamId, Timescale, Timestamp};
use minicbor::{Decoder, Encoder};

use crate::Refusal;

/// Writes CBOR into memory, which cannot fail.
pub struct Writer(Encoder<Vec<u8>>);

type Written<'a> = Result<&'a mut Encoder<Vec<u8>>, minicbor::encode::Error<Infallible>>;

fn sure(written: Written<'_>) {
    written.expect("writing to a Vec cannot fail");
}

impl Writer {
    /// An empty writer with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Encoder::new(Vec::with_capacity(bytes)))
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    /// Begins a map; the pairs follow, keys in ascending order.
    pub fn map(&mut self, pairs: u64) -> &mut Self {
        sure(self.0.map(pairs));
        self
    }

    /// Begins an array; its elements follow.
    pub fn array(&mut self, length: usize) -> &mut Self {
        sure(self.0.array(u64::try_from(length).expect("lengths fit 64 bits")));
        self
    }

    /// An unsigned integer, in its shortest form.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        sure(self.0.u64(value));
        self
    }

    /// An integer, in its shortest form.
    pub fn int(&mut self, value: i64) -> &mut Self {
        sure(self.0.i64(value));
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        sure(self.0.bool(value));
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        sure(self.0.str(value));
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        sure(self.0.bytes(value));
        self
    }

    /// Nothing.
    pub fn null(&mut self) -> &mut Self {
        sure(self.0.null());
        self
    }

    /// An array of ticks and timescale.
    pub fn time(&mut self, value: Timestamp) -> &mut Self {
        self.array(2).int(value.ticks).uint(value.timescale.get().into())
    }

    /// The label and version that every signed statement begins with.
    pub fn preamble(&mut self, pairs: u64, label: &str) -> &mut Self {
        self.map(pairs).uint(0).text(label).uint(1).uint(VERSION)
    }
}

/// Version of all our signed statements.
pub const VERSION: u64 = 1;

/// Reads CBOR. Every error is [`crate::RefusalReason::Malformed`].
pub struct Reader<'b>(Decoder<'b>);

fn bad(error: impl fmt::Display) -> Refusal {
    Refusal::malformed(format!("CBOR: {error}"))
}

impl<'b> Reader<'b> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    /// Whether everything is read.
    pub fn is_done(&self) -> bool {
        self.0.position() >= self.0.input().len()
    }

    /// The bytes of the next value, whatever it is; its integers may be in any form.
    pub fn value(&mut self) -> Result<&'b [u8], Refusal> {
        let start = self.0.position();
        self.0.skip().map_err(bad)?;
        self.0.input().get(start..self.0.position()).ok_or_else(|| bad("cut short"))
    }

    /// What `read` reads, or nothing, which is written as null.
    pub fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<Option<T>, Refusal> {
        if self.0.datatype().map_err(bad)? == minicbor::data::Type::Null {
            self.0.null().map_err(bad)?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// A map of exactly `pairs` pairs.
    pub fn map(&mut self, pairs: u64) -> Result<(), Refusal> {
        self.map_of(pairs, pairs).map(|_| ())
    }

    /// The number of pairs of a map that has `least` to `most` of them.
    pub fn map_of(&mut self, least: u64, most: u64) -> Result<u64, Refusal> {
        match self.0.map().map_err(bad)? {
            Some(found) if (least..=most).contains(&found) => Ok(found),
            Some(found) => Err(bad(format_args!("map of {found} pairs, {least} to {most} expected"))),
            None => Err(bad("map of indefinite length")),
        }
    }

    /// The next key of a map, which must be `expected`.
    pub fn key(&mut self, expected: u64) -> Result<&mut Self, Refusal> {
        match self.uint()? {
            found if found == expected => Ok(self),
            found => Err(bad(format_args!("key {found}, {expected} expected"))),
        }
    }

    /// The length of an array of at most `max` elements.
    pub fn array(&mut self, max: usize) -> Result<usize, Refusal> {
        let length = self.0.array().map_err(bad)?.ok_or_else(|| bad("array of indefinite length"))?;
        match usize::try_from(length) {
            Ok(length) if length <= max => Ok(length),
            _ => Err(bad(format_args!("array of {length} elements, at most {max} allowed"))),
        }
    }

    /// An array of exactly `length` elements.
    pub fn array_of(&mut self, length: usize) -> Result<(), Refusal> {
        match self.array(length)? {
            found if found == length => Ok(()),
            found => Err(bad(format_args!("array of {found} elements, {length} expected"))),
        }
    }

    /// An array of at most `max` elements, each read by `read`.
    pub fn list<T>(
        &mut self,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let length = self.array(max)?;
        (0..length).map(|_| read(self)).collect()
    }

    pub fn uint(&mut self) -> Result<u64, Refusal> {
        self.0.u64().map_err(bad)
    }

    pub fn uint32(&mut self) -> Result<u32, Refusal> {
        self.0.u32().map_err(bad)
    }

    pub fn int(&mut self) -> Result<i64, Refusal> {
        self.0.i64().map_err(bad)
    }

    pub fn bool(&mut self) -> Result<bool, Refusal> {
        self.0.bool().map_err(bad)
    }

    pub fn text(&mut self) -> Result<&'b str, Refusal> {
        self.0.str().map_err(bad)
    }

    pub fn bytes(&mut self) -> Result<&'b [u8], Refusal> {
        self.0.bytes().map_err(bad)
    }

    /// A byte string of exactly `N` bytes.
    pub fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| bad(format_args!("{} bytes, {N} expected", bytes.len())))
    }

    pub fn digest(&mut self) -> Result<Digest, Refusal> {
        self.bytes_of().map(Digest)
    }

    pub fn timescale(&mut self) -> Result<Timescale, Refusal> {
        Timescale::new(self.uint32()?).ok_or_else(|| bad("timescale 0"))
    }

    /// An array of ticks and timescale.
    pub fn time(&mut self) -> Result<Timestamp, Refusal> {
        self.array_of(2)?;
        Ok(Timestamp::new(self.int()?, self.timescale()?))
    }

    /// The label and version that every signed statement begins with.
    pub fn preamble(&mut self, pairs: u64, label: &str) -> Result<(), Refusal> {
        self.map(pairs)?;
        let found = self.key(0)?.text()?;
        if found != label {
            return Err(bad(format_args!("label {found:.32?}, {label:?} expected")));
        }
        match self.key(1)?.uint()? {
            VERSION => Ok(()),
            found => Err(bad(format_args!("version {found} of {label}, only {VERSION} is known"))),
        }
    }
}

macro_rules! names {
    ($($method:ident: $name:ident),*) => {
        impl Reader<'_> {
            $(pub fn $method(&mut self) -> Result<$name, Refusal> {
                $name::new(self.text()?).map_err(bad)
            })*
        }
    };
}
names!(cluster: ClusterId, stream: StreamId, rendition: RenditionId, node: NodeId);

/// Refuses `given` unless it equals `encoded`, the encoding of what was read from it: no trailing bytes, integers in shortest form.
pub fn canonical(given: &[u8], encoded: &[u8]) -> Result<(), Refusal> {
    if given == encoded { Ok(()) } else { Err(Refusal::malformed("not the canonical encoding of what it says")) }
}
