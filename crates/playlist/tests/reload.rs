//! Delivery directives (RFC 8216bis 6.2.5): the rules by example. `fold` compares every request near an edge with an oracle.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use playlist::Settings;
use playlist::reload::Extent;
use playlist::reload::{Answer, BadDirective, Directives, Edge, TooFar};
use support::writer::PART;
use support::{Writer, fold, fold_with, ladder};

fn parse(query: &str) -> Result<Directives, BadDirective> {
    Directives::parse(query)
}

/// Two complete segments of eight parts, and three parts of segment 2.
fn edge() -> Edge {
    let mut writer = Writer::new(ladder(&[360], true));
    writer.segments(2);
    (0..3).for_each(|_| _ = writer.row(PART, false, None));
    fold(&writer.log).edge().unwrap()
}

fn answer(query: &str) -> Answer {
    edge().answer(&parse(query).unwrap())
}

#[test]
fn directives_are_read_among_other_parameters() {
    let plain = parse("").unwrap();
    assert_eq!(plain, Directives::default());
    assert_eq!(parse("token=_HLS_msn&x&=&&HLS_part=3").unwrap(), plain);
    let directives = parse("a=b&_HLS_part=7&_HLS_msn=0012&_HLS_skip=YES").unwrap();
    assert_eq!((directives.msn.unwrap().0, directives.part.unwrap().0), (12, 7));
    assert_eq!(directives.extent, Extent::Delta);
    assert_eq!(parse("_HLS_skip=v2").unwrap().extent, Extent::Delta);
    // Unknown directives are optional: the full playlist is always right.
    assert_eq!(parse("_HLS_skip=NO&_HLS_push=1").unwrap(), plain);
}

#[test]
fn directives_that_make_no_sense_are_refused() {
    for number in ["", "-1", "+1", "1.0", "0x1", "１", "1%20", " 1", "18446744073709551616"] {
        assert_eq!(parse(&format!("_HLS_msn={number}")), Err(BadDirective::NotANumber("_HLS_msn")), "{number:?}");
        let part = format!("_HLS_msn=1&_HLS_part={number}");
        assert_eq!(parse(&part), Err(BadDirective::NotANumber("_HLS_part")), "{number:?}");
    }
    assert_eq!(parse("_HLS_msn"), Err(BadDirective::NotANumber("_HLS_msn")));
    for name in ["_HLS_msn", "_HLS_part", "_HLS_skip"] {
        assert_eq!(parse(&format!("{name}=1&{name}=1")), Err(BadDirective::Repeated(name)));
    }
    assert_eq!(parse("_HLS_part=1"), Err(BadDirective::PartAlone));
}

#[test]
fn what_is_there_is_answered_now_and_what_comes_next_is_waited_for() {
    for now in ["", "_HLS_msn=0", "_HLS_msn=1", "_HLS_msn=1&_HLS_part=7", "_HLS_msn=2&_HLS_part=2", "_HLS_skip=YES"] {
        assert_eq!(answer(now), Answer::Now, "{now}");
    }
    for wait in ["_HLS_msn=2", "_HLS_msn=2&_HLS_part=3", "_HLS_msn=2&_HLS_part=7", "_HLS_msn=3&_HLS_part=0"] {
        assert_eq!(answer(wait), Answer::Wait, "{wait}");
    }
}

#[test]
fn part_past_the_end_of_a_segment_is_the_first_of_the_next() {
    assert_eq!(answer("_HLS_msn=1&_HLS_part=8"), Answer::Now);
    assert_eq!(answer("_HLS_msn=0&_HLS_part=4294967295"), Answer::Now);
    // The next segment has no parts yet.
    let edge = fold(&Writer::new(ladder(&[360], true)).segments(2).log).edge().unwrap();
    assert_eq!(edge.answer(&parse("_HLS_msn=1&_HLS_part=8").unwrap()), Answer::Wait);
}

#[test]
fn requests_too_far_ahead_are_refused() {
    assert_eq!(answer("_HLS_msn=3"), Answer::Wait);
    assert_eq!(answer("_HLS_msn=4"), Answer::Refuse(TooFar::Segment));
    assert_eq!(answer("_HLS_msn=18446744073709551615&_HLS_part=0"), Answer::Refuse(TooFar::Segment));
    // Three seconds are five parts of 0.535 s, counted from the last part, 2.
    assert_eq!(answer("_HLS_msn=2&_HLS_part=7"), Answer::Wait);
    assert_eq!(answer("_HLS_msn=2&_HLS_part=8"), Answer::Refuse(TooFar::Part));
    assert_eq!(answer("_HLS_msn=3&_HLS_part=4"), Answer::Wait);
    assert_eq!(answer("_HLS_msn=3&_HLS_part=5"), Answer::Refuse(TooFar::Part));
    // Parts of a second or more: three.
    let mut writer = Writer::new(ladder(&[360], false));
    let log = &writer.segments(2).row(PART, false, None).log;
    let edge = fold_with(log, Settings { part_target_ms: 1_500, ..Settings::default() }).edge().unwrap();
    assert_eq!(edge.answer(&parse("_HLS_msn=2&_HLS_part=3").unwrap()), Answer::Wait);
    assert_eq!(edge.answer(&parse("_HLS_msn=2&_HLS_part=4").unwrap()), Answer::Refuse(TooFar::Part));
}

#[test]
fn nothing_is_waited_for_after_the_end() {
    let edge = fold(&Writer::new(ladder(&[360], true)).segments(2).end().log).edge().unwrap();
    assert!(edge.is_ended());
    assert_eq!(edge.answer(&parse("_HLS_msn=99&_HLS_part=99").unwrap()), Answer::Now);
}

#[test]
fn patience_is_three_target_durations() {
    assert_eq!(edge().patience(), Duration::from_secs(12));
}
