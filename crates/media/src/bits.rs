//! Reads and writes the bits of codec headers: safe on untrusted input, no allocation besides the output. Pure.

/// Reads bits, most significant first. Every read past the end is `None`; nothing panics.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// Up to 32 bits as an unsigned number: u(n) of H.264, 7.2.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        u8::try_from(self.bits(8)?).ok()
    }

    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        self.position = self.position.checked_add(usize::try_from(count).ok()?)?;
        (self.position <= self.bytes.len().saturating_mul(8)).then_some(())
    }

    /// Exp-Golomb, unsigned: ue(v) of H.264, 9.1. `None` for codes of more than 32 bits.
    pub(crate) fn unsigned_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        ((1_u32 << zeros) - 1).checked_add(rest)
    }

    /// Exp-Golomb, signed: se(v) of H.264, 9.1.1.
    pub(crate) fn signed_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.unsigned_golomb()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }
}

/// Writes bits, most significant first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    free: u32,
}

impl BitWriter {
    /// The lowest `count` bits of `value`, `count` up to 32.
    pub(crate) fn put(&mut self, count: u32, value: u32) {
        for shift in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            let bit = u8::from(value >> shift & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << self.free;
            }
        }
    }

    /// The bytes, the last one padded with zero bits.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golomb_codes_are_those_of_table_9_2() {
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!(reader.unsigned_golomb(), Some(0));
        assert_eq!(reader.unsigned_golomb(), Some(1));
        assert_eq!(reader.unsigned_golomb(), Some(2));
        assert_eq!(reader.unsigned_golomb(), Some(3));
        assert_eq!(reader.signed_golomb(), Some(-2));
        assert_eq!(reader.unsigned_golomb(), None, "runs off the end");
    }

    #[test]
    fn golomb_code_of_many_zeros_is_refused() {
        assert_eq!(BitReader::new(&[0; 64]).unsigned_golomb(), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = BitWriter::default();
        writer.put(3, 5);
        writer.put(12, 0xabc);
        writer.put(32, 0xdead_beef);
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        assert_eq!((reader.bits(3), reader.bits(12), reader.bits(32)), (Some(5), Some(0xabc), Some(0xdead_beef)));
    }
}
