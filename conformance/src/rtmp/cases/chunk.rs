//! Chunk streams (RTMP 1.0, 5.3 and 5.4).

use std::time::Duration;

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::chunk::{Continuations, Headers, Message, Style, kind, promise};
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Act, Answer, Awaited, Options, Script, Wire};
use crate::rtmp::take::Timed;

/// First time that needs the extended timestamp field, in milliseconds (5.3.1.3).
const EXTENDED: i64 = 0x00FF_FFFF;
/// How long before a limit of timestamps cases begin.
const BEFORE_WRAP_MS: i64 = 15_000;
/// How long these cases send.
const WRAP_LENGTH_MS: i64 = 19_000;
/// Start of a case in which all timestamps are extended.
const LATE_MS: i64 = 20_000_000;

const WHOLE: Style = Style { headers: Headers::Whole, continuations: Continuations::RepeatExtended };
const DELTAS: Style = Style { headers: Headers::Deltas, continuations: Continuations::RepeatExtended };

pub(super) const CASES: [Case; 18] = [
    Case::new("chunk", "chunk-extended-delta", "clock at 5.6 h, each delta in the extended field", |studio| {
        let style = Style { headers: Headers::ExtendedDeltas, ..DELTAS };
        studio.script(styled(style), studio.both(LENGTH_MS)?.later(LATE_MS))
    }),
    Case::new(
        "chunk",
        "chunk-extended-delta-jump",
        "clock jumps by 5 h with a delta that needs the extended field",
        |studio| {
            let jump = |message: &Timed| message.stamp_ms + if message.at_ms < MIDDLE_MS { 0 } else { 18_000_000 };
            studio.script(styled(DELTAS), studio.both(LENGTH_MS)?.stamped(jump))
        },
    )
    .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("chunk", "chunk-type3-with-extended", "type 3 chunks repeat the extended timestamp", |studio| {
        studio.script(small_chunks(WHOLE), studio.both(LENGTH_MS)?.later(LATE_MS))
    }),
    Case::new("chunk", "chunk-type3-without-extended", "type 3 chunks leave the extended timestamp out", |studio| {
        let style = Style { continuations: Continuations::OmitExtended, ..WHOLE };
        studio.script(small_chunks(style), studio.both(LENGTH_MS)?.later(LATE_MS))
    }),
    Case::new("chunk", "chunk-clock-24-bit", "clock begins 15 s before 0xFFFFFF", |studio| {
        studio.script(small_chunks(WHOLE), studio.both(WRAP_LENGTH_MS)?.later(EXTENDED - BEFORE_WRAP_MS))
    })
    .lasting(19),
    Case::new("chunk", "chunk-clock-32-bit", "clock begins 15 s before it wraps", |studio| {
        studio.script(small_chunks(WHOLE), studio.both(WRAP_LENGTH_MS)?.later((1 << 32) - BEFORE_WRAP_MS))
    })
    .lasting(19),
    Case::new("chunk", "chunk-clock-32-bit-deltas", "the same, written in deltas", |studio| {
        studio.script(styled(DELTAS), studio.both(WRAP_LENGTH_MS)?.later((1 << 32) - BEFORE_WRAP_MS))
    })
    .lasting(19),
    Case::new("chunk", "chunk-size-1", "chunks of 1 byte", |studio| sized(studio, Some(1))),
    Case::new("chunk", "chunk-size-128", "chunks of 128 bytes, never said", |studio| sized(studio, None)),
    Case::new("chunk", "chunk-size-65536", "chunks of 64 KiB", |studio| sized(studio, Some(65_536))),
    Case::new("chunk", "chunk-size-max", "chunks of 0x7FFFFFFF bytes", |studio| sized(studio, Some(0x7FFF_FFFF))),
    Case::new("chunk", "chunk-size-change-mid-message", "chunk size changes within a picture", |studio| {
        between_chunks(studio, |wire, count| {
            let size = if count.is_multiple_of(2) { 1_000 } else { 300 };
            wire.chunks.set_chunk_size(size)
        })
    }),
    Case::new("chunk", "chunk-body-never-sent", "a message of 16 MB is announced and not sent", |studio| {
        let mut wire = Wire::publishing(Options::default(), studio.target);
        wire.media(&studio.both(2_000)?);
        wire.act(Act::Write(promise(6, 2_000, kind::VIDEO, 0x00FF_FFFF).into()));
        wire.act(Act::Write(vec![0x17; 128].into()));
        wire.act(Act::Await(Awaited::End(Duration::from_secs(3))));
        Ok(Script::of(wire.connection().answered(Answer::Any)))
    })
    .expecting(Outcome::Survives),
    Case::new("chunk", "chunk-bodies-never-sent", "messages of 16 MB are begun on 60 chunk streams", |studio| {
        let mut wire = Wire::publishing(Options::default(), studio.target);
        for csid in 10..70 {
            let begun = [promise(csid, 0, kind::VIDEO, 0x00FF_FFFF), vec![0x17; 4_096]].concat();
            wire.act(Act::Write(begun.into()));
        }
        wire.act(Act::Await(Awaited::End(Duration::from_secs(3))));
        Ok(Script::of(wire.connection().answered(Answer::Any)))
    })
    .expecting(Outcome::Survives),
    Case::new("chunk", "chunk-stream-ids-2-bytes", "chunk streams 64 and 319", |studio| on_streams(studio, 64, 319)),
    Case::new("chunk", "chunk-stream-ids-3-bytes", "chunk streams 320 and 65599", |studio| {
        on_streams(studio, 320, 65_599)
    }),
    Case::new(
        "chunk",
        "chunk-abort",
        "a picture is begun on another chunk stream and aborted, each second",
        |studio| {
            let mut wire = Wire::publishing(Options::default(), studio.target);
            let take = studio.both(LENGTH_MS)?;
            let mut media = Vec::new();
            for (count, message) in take.0.iter().enumerate() {
                let at_ms = u64::try_from(message.at_ms)?;
                if count % 60 == 30 {
                    let begun = [promise(7, 0, kind::VIDEO, 9_000), vec![0xFF; 4_096]].concat();
                    let abort = Message { stamp_ms: 0, kind: kind::ABORT, stream: 0, body: vec![0, 0, 0, 7].into() };
                    media.push((at_ms, [begun, wire.chunks.message(2, &abort)].concat().into()));
                }
                let bytes = wire.bytes(message);
                media.push((at_ms, bytes));
            }
            wire.act(Act::Media(media));
            wire.unpublish(&studio.target.key);
            Ok(Script::of(wire.connection().sending(&take)))
        },
    ),
    Case::new("chunk", "chunk-interleaved", "chunks of sound stand between those of a picture", |studio| {
        let mut sounds = studio.sound(LENGTH_MS)?.0.into_iter().peekable();
        let pictures = studio.both(LENGTH_MS)?.only(|message| message.kind == kind::VIDEO);
        let mut wire = Wire::publishing(small_chunks(DELTAS), studio.target);
        let mut media = Vec::new();
        for picture in &pictures.0 {
            let message = wire.message(picture);
            let mut due = Vec::new();
            while let Some(sound) = sounds.next_if(|sound| sound.at_ms <= picture.at_ms) {
                let message = wire.message(&sound);
                due.extend(wire.chunks.chunks(sound.csid, &message));
            }
            let mut woven = Vec::new();
            let mut due = due.into_iter();
            for chunk in wire.chunks.chunks(picture.csid, &message) {
                woven.extend(chunk);
                woven.extend(due.next().unwrap_or_default());
            }
            woven.extend(due.flatten());
            media.push((u64::try_from(picture.at_ms)?, woven.into()));
        }
        wire.act(Act::Media(media));
        wire.unpublish(&studio.target.key);
        Ok(Script::of(wire.connection().sending(&pictures)))
    }),
];

fn styled(style: Style) -> Options {
    Options { style, ..Options::default() }
}

/// Options with chunks that are smaller than most frames of video.
fn small_chunks(style: Style) -> Options {
    Options { style, chunk_bytes: Some(512), ..Options::default() }
}

fn sized(studio: &Studio<'_>, chunk_bytes: Option<u32>) -> anyhow::Result<Script> {
    studio.script(Options { chunk_bytes, ..Options::default() }, studio.both(LENGTH_MS)?)
}

fn on_streams(studio: &Studio<'_>, audio: u32, video: u32) -> anyhow::Result<Script> {
    let moved = |mut message: Timed| {
        message.csid = if message.kind == kind::VIDEO { video } else { audio };
        message
    };
    studio.script(Options::default(), studio.both(LENGTH_MS)?.each(moved))
}

/// Inserts `between` after the first chunk of every tenth message, if more chunks follow; it may change the size of those.
fn between_chunks(studio: &Studio<'_>, mut between: impl FnMut(&mut Wire, usize) -> Vec<u8>) -> anyhow::Result<Script> {
    let mut wire = Wire::publishing(small_chunks(DELTAS), studio.target);
    let take = studio.both(LENGTH_MS)?;
    let mut media = Vec::new();
    for (count, picture) in take.0.iter().enumerate() {
        let at_ms = u64::try_from(picture.at_ms)?;
        let message = wire.message(picture);
        let (mut bytes, extended) = wire.chunks.header(picture.csid, &message);
        let (first, mut rest) = message.body.split_at(message.body.len().min(wire.chunks.chunk_bytes()));
        bytes.extend_from_slice(first);
        if !rest.is_empty() && count.is_multiple_of(10) {
            bytes.extend(between(&mut wire, count / 10));
        }
        while !rest.is_empty() {
            let piece = rest.get(..wire.chunks.chunk_bytes()).unwrap_or(rest);
            bytes.extend(wire.chunks.continuation(picture.csid, extended, piece));
            rest = rest.get(piece.len()..).unwrap_or_default();
        }
        media.push((at_ms, bytes.into()));
    }
    wire.act(Act::Media(media));
    wire.unpublish(&studio.target.key);
    Ok(Script::of(wire.connection().sending(&take)))
}
