//! MPEG-2 transport streams (RFC 8216bis 3.1.1), as far as the rules need them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::nal::{self, Family};
use super::ticks;

const PACKET: usize = 188;
/// Most faults that are kept of one segment; more show nothing new.
const FAULTS_MAX: usize = 16;
/// Timestamps have 33 bits, so they wrap here.
const WRAP: u64 = 1 << 33;
const NULL_PID: u16 = 0x1fff;

/// A PES packet's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pes {
    /// Decode time in ticks of 90 kHz, modulo 2^33.
    pub dts: u64,
    /// Presentation time in ticks of 90 kHz, modulo 2^33.
    pub pts: u64,
    /// Whether it holds an IDR picture; none when unknown.
    pub idr: Option<bool>,
}

/// An elementary stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// stream_type of the PMT.
    pub kind: u8,
    /// Its PES packets in order.
    pub pes: Vec<Pes>,
}

impl Stream {
    /// Whether `kind` is video: MPEG-1, MPEG-2, MPEG-4 part 2, H.264 or H.265.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        matches!(self.kind, 0x01 | 0x02 | 0x10 | 0x1b | 0x24)
    }

    /// Whether `kind` is audio: MPEG, AAC, AC-3 or E-AC-3, the last three also encrypted.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        matches!(self.kind, 0x03 | 0x04 | 0x0f | 0x11 | 0x81 | 0x87 | 0xc1 | 0xc2 | 0xcf)
    }

    /// The start of its format's name in CODECS.
    #[must_use]
    pub fn codec(&self) -> Option<&'static str> {
        match self.kind {
            0x1b => Some("avc1"),
            0x24 => Some("hvc1"),
            0x0f | 0x11 | 0xcf => Some("mp4a"),
            0x03 | 0x04 => Some("mp4a.40.34"),
            0x81 | 0xc1 => Some("ac-3"),
            0x87 | 0xc2 => Some("ec-3"),
            _ => None,
        }
    }

    /// Duration from its first decode time to the end of its last packet, whose interval counts as long as the one before.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        let (first, last) = (self.pes.first()?, self.pes.last()?);
        let before = self.pes.len().checked_sub(2).and_then(|at| self.pes.get(at));
        let interval = before.map_or(0, |before| later(before.dts, last.dts));
        Some(ticks(later(first.dts, last.dts) + interval, 90_000))
    }
}

/// Ticks from one 33-bit timestamp to a later one.
#[must_use]
pub fn later(from: u64, to: u64) -> u64 {
    (to + WRAP - from % WRAP) % WRAP
}

/// A transport stream segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ts {
    /// Violations of the standard: lost synchronisation, counters that jump.
    pub faults: Vec<String>,
    /// PIDs of the first two packets.
    pub first_pids: Vec<u16>,
    /// Programs of the PAT; none when there is no PAT.
    pub programs: Option<usize>,
    /// PID of the PMT, if one was found.
    pub pmt: Option<u16>,
    /// Elementary streams by PID.
    pub streams: BTreeMap<u16, Stream>,
    /// First and last continuity counter by PID.
    pub counters: BTreeMap<u16, (u8, u8)>,
}

/// Whether the bytes start with a packet.
#[must_use]
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x47) && bytes.get(PACKET).is_none_or(|byte| *byte == 0x47) && bytes.len() >= PACKET
}

impl Ts {
    /// Reads all packets up to the first that is none; `faults` has what breaks the standard.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut ts = Self::default();
        let mut pmt_pid = None;
        let mut payloads = BTreeMap::<u16, Vec<u8>>::new();
        for (index, packet) in bytes.chunks(PACKET).enumerate() {
            if packet.len() < PACKET || packet.first() != Some(&0x47) {
                ts.fault(format!("packet {index} is no packet"));
                break;
            }
            if let Some(read) = Packet::read(packet) {
                ts.packet(index, &read, &mut pmt_pid, &mut payloads);
            }
        }
        for (pid, payload) in payloads {
            ts.pes(pid, &payload);
        }
        ts
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }

    fn packet(
        &mut self,
        index: usize,
        packet: &Packet<'_>,
        pmt_pid: &mut Option<u16>,
        payloads: &mut BTreeMap<u16, Vec<u8>>,
    ) {
        const PES_BYTES_MAX: usize = 8 << 20;
        if self.first_pids.len() < 2 {
            self.first_pids.push(packet.pid);
        }
        if packet.pid == NULL_PID {
            return;
        }
        if let Some(payload) = packet.payload {
            self.counter(index, packet);
            if packet.pid == 0 && packet.starts {
                let (programs, found) = program_association(payload);
                self.programs = Some(programs);
                *pmt_pid = found;
            } else if Some(packet.pid) == *pmt_pid && packet.starts {
                self.pmt = Some(packet.pid);
                for (pid, kind) in program_map(payload) {
                    self.streams.entry(pid).or_insert_with(|| Stream { kind, ..Stream::default() });
                }
            } else if self.streams.contains_key(&packet.pid) {
                if packet.starts
                    && let Some(done) = payloads.remove(&packet.pid)
                {
                    self.pes(packet.pid, &done);
                }
                let held = payloads.entry(packet.pid).or_default();
                // A PES packet without its start is useless.
                if (packet.starts || !held.is_empty()) && held.len() < PES_BYTES_MAX {
                    held.extend_from_slice(payload);
                }
            }
        }
    }

    fn counter(&mut self, index: usize, packet: &Packet<'_>) {
        let Some((_, last)) = self.counters.get(&packet.pid).copied() else {
            self.counters.insert(packet.pid, (packet.counter, packet.counter));
            return;
        };
        // A packet may be repeated with the same counter.
        if packet.counter != (last + 1) % 16 && packet.counter != last && !packet.discontinuity {
            self.fault(format!("packet {index}, PID {}: counter {last} is followed by {}", packet.pid, packet.counter));
        }
        if let Some((_, last)) = self.counters.get_mut(&packet.pid) {
            *last = packet.counter;
        }
    }

    fn pes(&mut self, pid: u16, bytes: &[u8]) -> Option<()> {
        let stream = self.streams.get_mut(&pid)?;
        if bytes.get(..3)? != [0, 0, 1] {
            return None;
        }
        let flags = bytes.get(7)? >> 6;
        let header = usize::from(*bytes.get(8)?);
        if flags & 2 == 0 {
            return None;
        }
        let pts = stamp(bytes.get(9..14)?)?;
        let dts = if flags == 3 { stamp(bytes.get(14..19)?)? } else { pts };
        let family = match stream.kind {
            0x1b => Some(Family::Avc),
            0x24 => Some(Family::Hevc),
            _ => None,
        };
        let body = bytes.get(9 + header..)?;
        let idr = family.and_then(|family| nal::idr(family, nal::with_start_codes(body)));
        stream.pes.push(Pes { dts, pts, idr });
        Some(())
    }

    /// Duration of the video, or else of the longest stream.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        let spans = self.streams.values().filter_map(|stream| Some((stream.is_picture(), stream.duration()?)));
        spans.max().map(|(_, span)| span)
    }

    /// The video, or else the first stream with timestamps.
    #[must_use]
    pub fn main(&self) -> Option<&Stream> {
        let stamped = || self.streams.values().filter(|stream| !stream.pes.is_empty());
        stamped().find(|stream| stream.is_picture()).or_else(|| stamped().next())
    }
}

/// A packet's header, and its payload.
struct Packet<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    discontinuity: bool,
    payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let [_, high, low, control, ..] = bytes else { return None };
        let pid = u16::from(high & 0x1f) << 8 | u16::from(*low);
        let (mut at, mut discontinuity) = (4, false);
        if control & 0x20 != 0 {
            let length = usize::from(*bytes.get(4)?);
            discontinuity = length > 0 && bytes.get(5)? & 0x80 != 0;
            at += 1 + length;
        }
        let payload = if control & 0x10 == 0 { None } else { bytes.get(at..) };
        Some(Self { pid, starts: high & 0x40 != 0, counter: control & 0x0f, discontinuity, payload })
    }
}

/// Number of programs in a PAT, and the PID of the first program's PMT.
fn program_association(payload: &[u8]) -> (usize, Option<u16>) {
    let mut programs = Vec::new();
    for entry in section(payload, 8).unwrap_or(&[]).as_chunks::<4>().0 {
        let [number_high, number_low, high, low] = *entry;
        if (number_high, number_low) != (0, 0) {
            programs.push(u16::from(high & 0x1f) << 8 | u16::from(low));
        }
    }
    (programs.len(), programs.first().copied())
}

/// Elementary streams of a PMT: PID and stream_type.
fn program_map(payload: &[u8]) -> Vec<(u16, u8)> {
    let mut found = Vec::new();
    let Some(body) = section(payload, 8) else { return found };
    let length = |high: u8, low: u8| usize::from(high & 0x0f) << 8 | usize::from(low);
    let Some([_, _, high, low]) = body.get(..4) else { return found };
    let mut rest = body.get(4 + length(*high, *low)..).unwrap_or(&[]);
    while let [kind, high, low, info_high, info_low, ..] = rest {
        found.push((u16::from(high & 0x1f) << 8 | u16::from(*low), *kind));
        rest = rest.get(5 + length(*info_high, *info_low)..).unwrap_or(&[]);
    }
    found
}

/// Body of a section, after `header` bytes and without its CRC.
fn section(payload: &[u8], header: usize) -> Option<&[u8]> {
    let pointer = usize::from(*payload.first()?);
    let section = payload.get(1 + pointer..)?;
    let length = usize::from(section.get(1)? & 0x0f) << 8 | usize::from(*section.get(2)?);
    section.get(header..(3 + length).checked_sub(4)?.min(section.len()))
}

/// Reads a 33-bit timestamp from five bytes.
fn stamp(bytes: &[u8]) -> Option<u64> {
    let [a, b, c, d, e] = *<&[u8; 5]>::try_from(bytes).ok()?;
    let high = u64::from(a >> 1 & 0x07) << 30;
    let middle = u64::from(b) << 22 | u64::from(c >> 1) << 15;
    Some(high | middle | u64::from(d) << 7 | u64::from(e >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, counter: u8, starts: bool, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut bytes = vec![0x47, high | if starts { 0x40 } else { 0 }, low, 0x30 | counter];
        let stuffing = PACKET - 5 - payload.len();
        bytes.push(u8::try_from(stuffing).unwrap());
        if stuffing > 0 {
            bytes.push(0);
            bytes.extend(vec![0xff; stuffing - 1]);
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    fn pat() -> Vec<u8> {
        vec![0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0x00, 0, 0, 0, 0]
    }

    fn pmt() -> Vec<u8> {
        vec![0, 2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 1, 0xf0, 0, 0x1b, 0xe1, 1, 0xf0, 0, 0, 0, 0, 0]
    }

    fn pes(pts: u64, nal: u8) -> Vec<u8> {
        let b = |shift: u32| u8::try_from(pts >> shift & 0xff).unwrap();
        let stamp = [
            0x21 | (b(30) & 7) << 1,
            b(22),
            (u8::try_from(pts >> 15 & 0x7f).unwrap() << 1) | 1,
            b(7),
            (u8::try_from(pts & 0x7f).unwrap() << 1) | 1,
        ];
        let mut bytes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
        bytes.extend(stamp);
        bytes.extend([0, 0, 1, nal, 0]);
        bytes
    }

    #[test]
    fn streams_stamps_and_idr_pictures_are_read() {
        let mut bytes = packet(0, 0, true, &pat());
        bytes.extend(packet(0x100, 0, true, &pmt()));
        bytes.extend(packet(0x101, 0, true, &pes(WRAP - 3_000, 0x65)));
        bytes.extend(packet(0x101, 1, true, &pes(0, 0x41)));
        let ts = Ts::read(&bytes);
        assert_eq!(ts.faults, Vec::<String>::new());
        assert_eq!((ts.first_pids.as_slice(), ts.programs, ts.pmt), ([0, 0x100].as_slice(), Some(1), Some(0x100)));
        let stream = ts.main().unwrap();
        assert!(stream.is_picture());
        assert_eq!(
            stream.pes.iter().map(|pes| (pes.dts, pes.idr)).collect::<Vec<_>>(),
            [(WRAP - 3_000, Some(true)), (0, Some(false))]
        );
        // Two frames of 3,000 ticks, across the wrap.
        assert_eq!(ts.duration(), Some(ticks(6_000, 90_000)));
    }

    #[test]
    fn a_counter_that_jumps_is_a_fault() {
        let mut bytes = packet(0, 3, true, &pat());
        bytes.extend(packet(0, 5, true, &pat()));
        assert_eq!(Ts::read(&bytes).faults, ["packet 1, PID 0: counter 3 is followed by 5"]);
    }

    #[test]
    fn garbage_is_read_to_its_end_without_a_panic() {
        let mut bytes = vec![0x47; 2 * PACKET + 5];
        assert!(!Ts::read(&bytes).faults.is_empty());
        if let Some(byte) = bytes.get_mut(PACKET) {
            *byte = 0;
        }
        assert_eq!(Ts::read(&bytes).faults, ["packet 1 is no packet"]);
    }
}
