//! Reads ISO BMFF boxes from untrusted bytes. Pure.

/// Most boxes that are read on one level.
const BOXES_MAX: usize = 20_000;

/// A four-character code; `Display` shows unprintable bytes as `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FourCc(pub [u8; 4]);

impl std::fmt::Display for FourCc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            let c = char::from(byte);
            write!(f, "{}", if c.is_ascii_graphic() || c == ' ' { c } else { '?' })?;
        }
        Ok(())
    }
}

/// A box: its type, its body and its position.
#[derive(Debug, Clone, Copy)]
pub struct Box<'a> {
    pub kind: FourCc,
    /// The bytes after its header.
    pub body: &'a [u8],
    /// Offset of its header from the start of the bytes walked.
    pub start: usize,
    /// Length of its header in bytes: 16 with a 64-bit size, else 8.
    pub header: usize,
}

impl<'a> Box<'a> {
    /// Whether it has this type.
    #[must_use]
    pub fn is(&self, kind: &[u8; 4]) -> bool {
        &self.kind.0 == kind
    }

    /// The boxes inside, after `skip` bytes of its own fields.
    #[must_use]
    pub fn children(&self, skip: usize) -> Vec<Box<'a>> {
        walk(self.body.get(skip..).unwrap_or(&[])).0
    }

    /// The first child of this type, of a box without fields of its own.
    #[must_use]
    pub fn child(&self, kind: &[u8; 4]) -> Option<Box<'a>> {
        self.children(0).into_iter().find(|found| found.is(kind))
    }

    /// A reader of its fields.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields(self.body)
    }
}

/// The boxes side by side in `bytes`, and the fault if they do not fill `bytes`.
#[must_use]
pub fn walk(bytes: &[u8]) -> (Vec<Box<'_>>, Option<String>) {
    let mut found = Vec::new();
    let mut start = 0;
    while start < bytes.len() && found.len() < BOXES_MAX {
        let rest = bytes.get(start..).unwrap_or(&[]);
        let mut fields = Fields(rest);
        let (Some(size), Some(kind)) = (fields.u32(), fields.four_cc()) else {
            return (found, Some(format!("{} bytes after the last box", rest.len())));
        };
        let (size, header) = match size {
            0 => (Some(rest.len()), 8),
            1 => (fields.u64().and_then(|size| usize::try_from(size).ok()), 16),
            size => (usize::try_from(size).ok(), 8),
        };
        let body = size.and_then(|size| rest.get(header..size));
        let (Some(body), Some(size)) = (body, size) else {
            return (found, Some(format!("box {kind} at byte {start} is longer than what is there")));
        };
        found.push(Box { kind, body, start, header });
        start += size;
    }
    (found, None)
}

/// Whether the bytes start with a box that media starts with.
#[must_use]
pub fn looks_like(bytes: &[u8]) -> bool {
    const FIRST: [&[u8; 4]; 9] = [b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"mdat", b"free"];
    bytes.get(4..8).is_some_and(|kind| FIRST.iter().any(|first| first.as_slice() == kind))
}

/// Reads big-endian fields one after the other; gives none at the end of the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `n` bytes; takes nothing when fewer are left.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = (self.0.get(..n)?, self.0.get(n..)?);
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn four_cc(&mut self) -> Option<FourCc> {
        self.array().map(FourCc)
    }

    /// Version and flags of a full box.
    pub fn version_flags(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some((word.to_be_bytes()[0], word & 0x00ff_ffff))
    }

    /// Four or eight bytes, by the version of a full box.
    pub fn by_version(&mut self, version: u8) -> Option<u64> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_fill_the_bytes_or_a_fault_says_where_not() {
        let bytes = b"\0\0\0\x0cfree1234\0\0\0\x01mdat\0\0\0\0\0\0\0\x12ab";
        let (boxes, fault) = walk(bytes);
        assert_eq!(fault, None);
        let kinds: Vec<_> = boxes.iter().map(|b| (b.kind.to_string(), b.body.len(), b.start)).collect();
        assert_eq!(kinds, [("free".to_owned(), 4, 0), ("mdat".to_owned(), 2, 12)]);
        assert_eq!(walk(b"\0\0\0\x0cfree12").1.unwrap(), "box free at byte 0 is longer than what is there");
        assert_eq!(walk(b"\0\0\0\x04free").1.unwrap(), "box free at byte 0 is longer than what is there");
        assert_eq!(walk(b"\0\0\0\x08free\0\0").1.unwrap(), "2 bytes after the last box");
    }

    #[test]
    fn a_box_of_size_zero_takes_the_rest() {
        let (boxes, fault) = walk(b"\0\0\0\0mdatabc");
        assert_eq!((boxes.len(), fault), (1, None));
        assert_eq!(boxes.first().unwrap().body, b"abc");
    }
}
