//! Logs from bytes: each byte string is a script for an ingest. So a fuzzer's input, a failing case of a property and a file of the
//! corpus are the same thing.

use media::{Digest, Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Slot, Timescale, Timestamp};
use playlist::Settings;
use seal::{SealBody, SealKind};

use super::writer::{Ladder, PART, Row, Writer, ladder};

/// Most seals of a script: enough for the window to slide many times over, and for the timeline to forget old seals.
const SEALS_MAX: usize = 400;
/// Shortest regular row in ticks of 90 kHz: with one audio frame less it still has 85 % of the part target.
const ROW_MIN: i64 = 43_200;
/// The script completes a segment of this length, in ticks of 90 kHz.
const SEGMENT_MAX: i64 = 39 * 9_000;

/// What happens to a stream.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Seal(SealBody),
    /// Later seals are void: the next seal builds on this one.
    VoidAfter(LogSequence),
    /// A seal that probably contradicts the log.
    Tampered(SealBody),
    /// A node joins late, and gets the same playlists.
    Join,
}

/// A script: configuration and events.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) settings: Settings,
    pub(crate) events: Vec<Event>,
    /// The log without void seals.
    pub(crate) log: Vec<SealBody>,
}

struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn number(&mut self, below: u8) -> usize {
        usize::from(self.next() % below)
    }
}

impl Script {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes.iter());
        let settings = Settings { window_segments: 6 + bytes.number(7), ..Settings::default() };
        let mut writer = Writer::new(any_ladder(&mut bytes));
        let mut events = Vec::new();
        let mut written = 0;
        while bytes.0.len() > 0 && written < SEALS_MAX {
            let before = writer.log.len();
            let event = step(&mut writer, &mut bytes);
            let kept = before.min(writer.log.len());
            if let Some(Event::VoidAfter(sequence)) = event {
                events.push(Event::VoidAfter(sequence));
                continue;
            }
            events.extend(writer.log.iter().skip(kept).cloned().map(Event::Seal));
            events.extend(event);
            written += writer.log.len() - kept;
        }
        Self { settings, events, log: writer.log }
    }
}

fn any_ladder(bytes: &mut Bytes<'_>) -> Ladder {
    match bytes.number(8) {
        0 => ladder(&[360, 720], true),
        1 => ladder(&[360], true),
        2 => ladder(&[], true),
        3 => ladder(&[720], false),
        4 => Ladder { heights: vec![360], sample_rate_hz: Some(44_100) },
        5 => Ladder { heights: vec![], sample_rate_hz: Some(44_100) },
        6 => ladder(&[720, 360, 1080], true),
        _ => ladder(&[1080], true),
    }
}

/// One step of the script.
fn step(writer: &mut Writer, bytes: &mut Bytes<'_>) -> Option<Event> {
    let step = bytes.next();
    if writer.is_ended() && !matches!(step % 16, 10 | 11 | 14 | 15) {
        writer.reconnect(any_ladder(bytes));
    }
    match step % 16 {
        0..=4 => row(writer, 0, bytes),
        5 => {
            let gaps = bytes.next();
            row(writer, gaps.into(), bytes);
        }
        6..=8 => _ = writer.segments(1 + bytes.number(3)),
        9 => {
            writer.finish_segment();
            (0..8).for_each(|_| row(writer, 0, bytes));
        }
        10 => _ = writer.reconnect(any_ladder(bytes)),
        // Not so far back that there is no seal to build on.
        11 if writer.log.len() > 1 => {
            let back = bytes.number(24);
            return Some(Event::VoidAfter(writer.reconnect_before(back, any_ladder(bytes))));
        }
        12 if writer.has_opened() => _ = writer.end(),
        13 => _ = writer.outage(1 + bytes.number(12)),
        14 => return Some(Event::Join),
        15 => return tampered(writer, bytes).map(Event::Tampered),
        _ => {}
    }
    None
}

/// A row within the rules of an ingest.
fn row(writer: &mut Writer, gaps: u32, bytes: &mut Bytes<'_>) {
    let shape = bytes.next();
    let (open, rows) = writer.open();
    let wanted = shape.is_multiple_of(4);
    let completes = wanted || open >= SEGMENT_MAX - PART || rows >= 12;
    let long = ROW_MIN + i64::from(shape / 4) * (PART - ROW_MIN) / 63;
    // The last row of a segment may be short, if its audio has a frame.
    let ticks = if completes && shape % 8 == 4 { 4_000 } else { long };
    writer.write(Row { ticks, completes, gaps });
}

/// The next seal, or the previous one again, with a changed field.
fn tampered(writer: &Writer, bytes: &mut Bytes<'_>) -> Option<SealBody> {
    let mut next = writer.clone();
    if next.is_ended() {
        next.reconnect(ladder(&[360], true));
    }
    let completes = next.open().1 > 0 && bytes.next().is_multiple_of(2);
    let mut body = next.row(PART, completes, None).log.last()?.clone();
    let number = i64::from(bytes.next()) - 100;
    let at = bytes.number(8);
    let object = at.min(body.objects.len().checked_sub(1)?);
    let large = 1 << 53;
    match bytes.number(20) {
        0 => body.sequence = LogSequence(body.sequence.0.wrapping_add_signed(number)),
        1 => body.epoch = Epoch(body.epoch.0.wrapping_add_signed(number)),
        2 => body.checkpoint.clear(),
        3 => body.checkpoint = writer.log.iter().rev().find(|body| !body.checkpoint.is_empty())?.checkpoint.clone(),
        4 => _ = body.checkpoint.pop(),
        5 => body.objects.clear(),
        6 => _ = body.objects.remove(object),
        7 => body.objects.push(body.objects[object].clone()),
        8 => body.objects[object].rendition = RenditionId::new("999p").unwrap(),
        9 => body.objects[object].slot = Slot::Part { msn: MediaSequence(large), part: PartIndex(at as u32) },
        10 => body.objects[object].slot = Slot::Segment { msn: body.next_msn },
        11 => body.objects[object].slot = Slot::Init,
        12 => body.objects[object].duration.ticks = number * 10_000,
        13 => body.objects[object].duration = Timestamp::new(i64::MAX, Timescale::new(1).unwrap()),
        14 => body.objects[object].start.ticks += number,
        15 => body.objects[object].independent = false,
        16 => (body.objects[object].gap, body.objects[object].digest) = (true, Digest::NONE),
        17 => body.objects[object].length = u64::MAX,
        18 => body.kind = SealKind::End,
        _ => body.objects.swap(0, object),
    }
    Some(body)
}
