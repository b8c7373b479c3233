//! Timestamps that jump, stand still, or disagree.

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::chunk::{Headers, Style, kind};
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Options, Script};
use crate::rtmp::take::Timed;

/// Two hours, which leave room to go back.
const LATE_MS: i64 = 7_200_000;
const DAY_MS: i64 = 86_400_000;

pub(super) const CASES: [Case; 9] = [
    Case::new("timing", "timing-sound-50-s-ahead", "stamps of sound are 50 s ahead of the pictures'", |studio| {
        offset(studio, 50_000)
    }),
    Case::new("timing", "timing-sound-50-s-behind", "stamps of sound are 50 s behind the pictures'", |studio| {
        offset(studio, -50_000)
    }),
    Case::new("timing", "timing-priming", "the second frame of sound is stamped -1 ms", |studio| {
        let second =
            studio.sound(LENGTH_MS)?.0.iter().filter(|message| message.frame).nth(1).map(|message| message.at_ms);
        let primed = move |message: &Timed| {
            if message.kind == kind::AUDIO && Some(message.at_ms) == second { -1 } else { message.stamp_ms }
        };
        studio.script(absolute(), studio.both(LENGTH_MS)?.stamped(primed))
    }),
    Case::new("timing", "timing-back-1-s", "the clock goes back by 1 s", |studio| jump(studio, -1_000))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("timing", "timing-back-1-h", "the clock goes back by 1 h", |studio| jump(studio, -3_600_000))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("timing", "timing-forward-24-h", "the clock goes forward by 24 h", |studio| jump(studio, DAY_MS))
        .expecting(Outcome::PlaysWithOneDiscontinuity),
    Case::new("timing", "timing-zero-at-start", "the first ten pictures are stamped 0", |studio| {
        let zero =
            |message: &Timed| if message.kind == kind::VIDEO && message.at_ms < 320 { 0 } else { message.stamp_ms };
        studio.script(absolute(), studio.both(LENGTH_MS)?.stamped(zero))
    }),
    Case::new("timing", "timing-duplicates", "each two pictures have one stamp", |studio| {
        let pair = |message: &Timed| {
            if message.kind == kind::VIDEO { message.at_ms / 67 * 67 } else { message.stamp_ms }
        };
        studio.script(absolute(), studio.both(LENGTH_MS)?.stamped(pair))
    }),
    Case::new("timing", "timing-all-zero", "every stamp is 0", |studio| {
        studio.script(absolute(), studio.both(LENGTH_MS)?.stamped(|_| 0))
    })
    .expecting(Outcome::Survives),
];

fn absolute() -> Options {
    Options { style: Style { headers: Headers::Whole, ..Style::default() }, ..Options::default() }
}

fn offset(studio: &Studio<'_>, by_ms: i64) -> anyhow::Result<Script> {
    let moved = move |message: &Timed| LATE_MS + message.at_ms + if message.kind == kind::AUDIO { by_ms } else { 0 };
    studio.script(Options::default(), studio.both(LENGTH_MS)?.stamped(moved))
}

fn jump(studio: &Studio<'_>, by_ms: i64) -> anyhow::Result<Script> {
    let jumped = move |message: &Timed| LATE_MS + message.at_ms + if message.at_ms < MIDDLE_MS { 0 } else { by_ms };
    studio.script(Options::default(), studio.both(LENGTH_MS)?.stamped(jumped))
}
