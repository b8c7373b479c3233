//! Compares the outcome of a case with the expectation. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::driver::{Ended, Happened};
use super::probe::{Run, Track};
use super::script::{Answer, Script};
use super::watch::{Record, Rendition};

/// Most media that may be listed beyond what was sent, for a server that shows an end twice.
const MEDIA_OVER_MAX: Duration = Duration::from_secs(3);
/// Largest difference between the starts, and between the ends, of audio and video of a run, in seconds.
const SKEW_SECONDS_MAX: f64 = 0.5;
/// Largest difference between the decoded and the listed duration of a run, in seconds.
const LENGTH_SECONDS_OFF_MAX: f64 = 0.6;
/// Longest segment: OBS with its default settings makes 8.3 s.
const SEGMENT_MAX: Duration = Duration::from_secs(15);

/// Expected behaviour of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The media plays without a discontinuity.
    Plays,
    /// The media plays with exactly one discontinuity, at the same segment of all renditions.
    PlaysWithOneDiscontinuity,
    /// The media plays with one discontinuity or none.
    PlaysWithAtMostOneDiscontinuity,
    /// The server refuses the publisher with a reason, or closes the connection, and lists nothing of it.
    Refused,
    /// Either as `Plays`, or as `Refused`.
    PlaysOrRefused,
    /// The server may do anything with this publisher, as long as it still serves the next one.
    Survives,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plays => "plays",
            Self::PlaysWithOneDiscontinuity => "plays, 1 discontinuity",
            Self::PlaysWithAtMostOneDiscontinuity => "plays, at most 1 discontinuity",
            Self::Refused => "refused",
            Self::PlaysOrRefused => "plays or refused",
            Self::Survives => "survives",
        })
    }
}

/// Which media a case sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Video and audio from the start.
    Both,
    /// Video, and audio that begins later.
    SoundLater,
    /// Video alone.
    Pictures,
    /// Audio alone.
    Sound,
}

/// All that is known of a case at its end.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub script: &'a Script,
    /// How each publisher ended.
    pub happened: &'a [Happened],
    /// What the server listed.
    pub record: &'a Record,
    /// Decoded runs of each rendition.
    pub runs: &'a [Vec<Run>],
    /// Media that may be missing.
    pub keeps_back: Duration,
}

/// A summary of what happened.
#[must_use]
pub fn came(evidence: Evidence<'_>) -> String {
    let turned_away = evidence.happened.iter().find(|happened| happened.ended != Ended::Finished);
    let media = evidence.record.media();
    if media.is_zero() {
        return turned_away.map_or_else(|| "let in, nothing listed".to_owned(), |happened| happened.ended.to_string());
    }
    let count = discontinuity_count(evidence.record);
    let played = format!("played {:.1} s, discontinuities: {count}", media.as_secs_f64());
    turned_away.map_or_else(|| played.clone(), |happened| format!("{played}; {}", happened.ended))
}

/// Returns the differences from the expectation; empty for none.
#[must_use]
pub fn judge(outcome: Outcome, shows: Shows, evidence: Evidence<'_>) -> Vec<String> {
    match outcome {
        Outcome::Survives => Vec::new(),
        Outcome::Refused => refused(evidence),
        Outcome::Plays => played(0..=0, shows, evidence),
        Outcome::PlaysWithOneDiscontinuity => played(1..=1, shows, evidence),
        Outcome::PlaysWithAtMostOneDiscontinuity => played(0..=1, shows, evidence),
        Outcome::PlaysOrRefused => {
            if refused(evidence).is_empty() {
                return Vec::new();
            }
            played(0..=0, shows, evidence)
        }
    }
}

fn refused(evidence: Evidence<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for happened in evidence.happened {
        if !matches!(happened.ended, Ended::Told(..) | Ended::Cut) {
            faults.push(format!("a publisher was {}", happened.ended));
        }
    }
    let media = evidence.record.media();
    if !media.is_zero() {
        faults.push(format!("{:.1} s of it were listed", media.as_secs_f64()));
    }
    faults
}

fn played(allowed: std::ops::RangeInclusive<usize>, shows: Shows, evidence: Evidence<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for (connection, happened) in evidence.script.connections.iter().zip(evidence.happened) {
        match connection.answer {
            Answer::Admitted if happened.ended != Ended::Finished => {
                faults.push(format!("the publisher was {}", happened.ended));
            }
            Answer::Refused if !matches!(happened.ended, Ended::Told(..) | Ended::Cut) => {
                faults.push(format!("the one that should be refused was {}", happened.ended));
            }
            _ => {}
        }
    }
    let (media, sent) = (evidence.record.media(), evidence.script.media());
    if media + evidence.keeps_back < sent || media > sent + MEDIA_OVER_MAX {
        faults.push(format!("{:.1} s were sent and {:.1} s listed", sent.as_secs_f64(), media.as_secs_f64()));
    }
    faults.extend(evidence.record.renditions.values().flat_map(listed));
    let count = discontinuity_count(evidence.record);
    if !allowed.contains(&count) {
        faults.push(format!("discontinuities: {count}"));
    }
    faults.extend(same_instants(evidence.record));
    faults.extend(decoded(shows, evidence.runs));
    faults
}

/// Media sequence numbers of the first and the last segment with media, in any rendition.
fn span(record: &Record) -> Option<(u64, u64)> {
    let segments = record.renditions.values().flat_map(|rendition| &rendition.segments);
    let media = || segments.clone().filter(|(_, segment)| !segment.gap).map(|(msn, _)| *msn);
    Some((media().min()?, media().max()?))
}

/// Media sequence numbers of discontinuities within the media of a case. A discontinuity at its start does not count. A rendition
/// that comes later or leaves has gaps on the other side.
fn discontinuities(record: &Record, rendition: &Rendition) -> BTreeSet<u64> {
    let Some((first, last)) = span(record) else { return BTreeSet::new() };
    let within = rendition.segments.iter().filter(|(msn, _)| **msn > first && **msn <= last);
    within.filter(|(_, segment)| segment.discontinuity).map(|(msn, _)| *msn).collect()
}

/// Number of discontinuities, of the rendition with most.
fn discontinuity_count(record: &Record) -> usize {
    record.renditions.values().map(|rendition| discontinuities(record, rendition).len()).max().unwrap_or(0)
}

fn listed(rendition: &Rendition) -> Vec<String> {
    let mut faults = rendition.faults.clone();
    let longest = rendition.segments.values().map(|segment| segment.duration).max().unwrap_or_default();
    if longest > SEGMENT_MAX || longest > rendition.target + Duration::from_millis(500) {
        let (longest, target) = (longest.as_secs_f64(), rendition.target.as_secs());
        faults.push(format!("a segment of {longest:.1} s, where the target duration is {target} s"));
    }
    faults
}

/// Checks that all renditions have their discontinuities at the same segments, as far as they list the same ones: at a change of
/// format, some renditions come and others leave.
fn same_instants(record: &Record) -> Option<String> {
    let renditions: Vec<_> = record.renditions.values().filter(|rendition| !rendition.segments.is_empty()).collect();
    let misses = |one: &Rendition, other: &Rendition| {
        let marks = discontinuities(record, one);
        marks.iter().any(|msn| other.segments.get(msn).is_some_and(|segment| !segment.discontinuity))
    };
    let (first, rest) = renditions.split_first()?;
    let differs = rest.iter().any(|other| misses(first, other) || misses(other, first));
    differs.then(|| "discontinuities are not at the same segments of all renditions".to_owned())
}

fn decoded(shows: Shows, renditions: &[Vec<Run>]) -> Vec<String> {
    let mut faults = Vec::new();
    for run in renditions.iter().flatten() {
        faults.extend(run.complaints.iter().map(|complaint| format!("decoder: {complaint}")));
        let Some(track) = run.tracks.get("video").or_else(|| run.tracks.get("audio")) else {
            faults.push("a run has no frame that decodes".to_owned());
            continue;
        };
        let (lasts, listed) = (track.end - track.start, run.listed.as_secs_f64());
        if (lasts - listed).abs() > LENGTH_SECONDS_OFF_MAX {
            faults.push(format!("{listed:.1} s are listed, and the media of them lasts {lasts:.1} s"));
        }
    }
    let has = |kind: &str| renditions.iter().flatten().any(|run| run.tracks.contains_key(kind));
    if shows != Shows::Sound && !has("video") {
        faults.push("there is no picture".to_owned());
    }
    if shows != Shows::Pictures && !has("audio") {
        faults.push("there is no sound".to_owned());
    }
    if shows == Shows::Both {
        faults.extend(in_step(renditions));
    }
    faults
}

/// Checks that audio and video of each run begin and end together.
fn in_step(renditions: &[Vec<Run>]) -> Vec<String> {
    let tracks =
        |kind| -> Vec<Track> { renditions.iter().flatten().filter_map(|run| run.tracks.get(kind)).copied().collect() };
    let (pictures, sounds) = (tracks("video"), tracks("audio"));
    let apart = |one: &Track, other: &Track| (one.start - other.start).abs().max((one.end - other.end).abs());
    let alone = |one: &Track, others: &[Track]| {
        let nearest = others.iter().min_by(|a, b| apart(one, a).total_cmp(&apart(one, b)))?;
        (apart(one, nearest) > SKEW_SECONDS_MAX).then_some(*nearest)
    };
    let say = |(picture, sound): (Track, Track)| {
        let (start, end) = (sound.start - picture.start, sound.end - picture.end);
        format!("sound begins {start:.2} s after the picture, and ends {end:.2} s after it")
    };
    let of_pictures = pictures.iter().filter_map(|picture| Some((*picture, alone(picture, &sounds)?)));
    let of_sounds = sounds.iter().filter_map(|sound| Some((alone(sound, &pictures)?, *sound)));
    let mut faults: Vec<String> = of_pictures.chain(of_sounds).map(say).collect();
    faults.dedup();
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::script::Connection;
    use super::super::watch::Segment;
    use super::*;

    const KEEPS_BACK: Duration = Duration::from_secs(3);

    fn script(seconds: u64, answer: Answer) -> Script {
        let media = Duration::from_secs(seconds);
        Script::of(Connection { begins: Duration::ZERO, retry: None, answer, media, acts: Vec::new() })
    }

    /// A rendition of segments of 2 s, with discontinuities at these numbers.
    fn rendition(segments: u64, discontinuities: &[u64]) -> Rendition {
        let segment = |msn| Segment {
            duration: Duration::from_secs(2),
            discontinuity: discontinuities.contains(&msn),
            ..Segment::default()
        };
        let segments = (0..segments).map(|msn| (msn, segment(msn))).collect();
        Rendition { segments, target: Duration::from_secs(2), ..Rendition::default() }
    }

    fn run(kind: &str, start: f64, end: f64) -> Run {
        let tracks = BTreeMap::from([(kind.to_owned(), Track { start, end, frames: 9 })]);
        Run { listed: Duration::from_secs_f64(end - start), tracks, complaints: Vec::new() }
    }

    fn faults(outcome: Outcome, renditions: [Rendition; 2], runs: &[Vec<Run>]) -> String {
        let script = script(8, Answer::Admitted);
        let happened = [Happened { ended: Ended::Finished, admitted: true }];
        let renditions = ["audio", "video"].map(str::to_owned).into_iter().zip(renditions).collect();
        let record = Record { renditions, looks: 1 };
        judge(
            outcome,
            Shows::Both,
            Evidence { script: &script, happened: &happened, record: &record, runs, keeps_back: KEEPS_BACK },
        )
        .join("; ")
    }

    fn good() -> Vec<Vec<Run>> {
        vec![vec![run("audio", 10.0, 18.0)], vec![run("video", 10.1, 18.0)]]
    }

    #[test]
    fn discontinuity_at_the_start_belongs_to_what_was_before() {
        assert_eq!(faults(Outcome::Plays, [rendition(4, &[0]), rendition(4, &[0])], &good()), "");
        let one = [rendition(4, &[0, 2]), rendition(4, &[0, 2])];
        assert!(faults(Outcome::Plays, one.clone(), &good()).contains("discontinuities: 1"));
        assert_eq!(faults(Outcome::PlaysWithOneDiscontinuity, one, &good()), "");
        let none = [rendition(4, &[]), rendition(4, &[])];
        assert!(faults(Outcome::PlaysWithOneDiscontinuity, none, &good()).contains("discontinuities: 0"));
    }

    #[test]
    fn discontinuities_are_at_the_same_segments() {
        let apart = [rendition(4, &[1]), rendition(4, &[2])];
        assert!(faults(Outcome::PlaysWithOneDiscontinuity, apart, &good()).contains("not at the same segments"));
    }

    #[test]
    fn media_has_to_be_there_to_decode_and_to_be_in_step() {
        let whole = || [rendition(4, &[]), rendition(4, &[])];
        assert!(
            faults(Outcome::Plays, [rendition(1, &[]), rendition(1, &[])], &good())
                .contains("8.0 s were sent and 2.0 s listed")
        );
        let late = vec![vec![run("audio", 10.9, 18.0)], vec![run("video", 10.0, 18.0)]];
        assert!(faults(Outcome::Plays, whole(), &late).contains("sound begins 0.90 s after"));
        let mut silent = good();
        silent.remove(0);
        assert!(faults(Outcome::Plays, whole(), &silent).contains("no sound"));
        let mut broken = good();
        broken[1][0].complaints.push("no frame!".to_owned());
        assert!(faults(Outcome::Plays, whole(), &broken).contains("decoder: no frame!"));
        let mut long = good();
        long[1][0].listed = Duration::from_secs(60);
        assert!(faults(Outcome::Plays, whole(), &long).contains("60.0 s are listed, and the media of them lasts"));
    }

    #[test]
    fn absurd_segment_is_found() {
        let mut long = [rendition(4, &[]), rendition(4, &[])];
        long[0].segments.get_mut(&3).unwrap().duration = Duration::from_secs(4_294_967);
        assert!(faults(Outcome::Plays, long, &good()).contains("a segment of 4294967.0 s"));
    }

    #[test]
    fn refusal_is_told_or_cut_and_shows_nothing() {
        let script = script(8, Answer::Refused);
        let judged = |ended: Ended, renditions: BTreeMap<String, Rendition>| {
            let (happened, record) = ([Happened { ended, admitted: true }], Record { renditions, looks: 1 });
            judge(
                Outcome::Refused,
                Shows::Both,
                Evidence { script: &script, happened: &happened, record: &record, runs: &[], keeps_back: KEEPS_BACK },
            )
        };
        assert!(judged(Ended::Cut, BTreeMap::new()).is_empty());
        assert!(!judged(Ended::Finished, BTreeMap::new()).is_empty());
        assert!(!judged(Ended::Cut, BTreeMap::from([("u".to_owned(), rendition(1, &[]))])).is_empty());
    }
}
