//! Makes the rows that are sealed while the publisher is away: gaps in all renditions, in real time. Pure.
//!
//! An epoch whose media has ended continues with rows without bytes. So playlists keep growing, and players wait at the live edge instead
//! of giving up. Each row comes as long after its media time as the rows before the outage did, so there is no pause between
//! rows. Gaps end where the media of the next epoch begins by the wall clock: no time occurs twice, and a viewer's distance
//! from live stays the same.

use std::time::Duration;

use bytes::Bytes;
use media::segmenter::{MediaObject, Row, Targets};
use media::{MediaSequence, Now, PartIndex, RenditionId, Slot, Timescale, Timestamp, Track, UnixMillis};

/// The shortest rest of a segment that becomes a gap: a playlist has no use for 20 ms.
const REST_MIN: Timestamp = Timestamp::new(20, Timescale::MILLIS);

/// Most rows between the newest gap and the next epoch's media: the time that an encoder is behind live, in parts of 0.2 s.
const LAST_ROWS_MAX: usize = 16;

/// Where the log stands when the outage begins.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    /// The renditions, sorted by name.
    pub(super) tracks: Vec<Track>,
    /// Wall clock of presentation time zero.
    pub(super) origin: UnixMillis,
    /// End of the newest row.
    pub(super) end: Timestamp,
    /// Start of the segment that is open; `end` when none is.
    pub(super) segment_start: Timestamp,
    /// The next row's segment.
    pub(super) msn: MediaSequence,
    /// The next row's part.
    pub(super) part: PartIndex,
    /// How long after their media time rows were sealed before the outage.
    pub(super) lag: Duration,
}

#[derive(Debug)]
pub(super) struct Outage {
    targets: Targets,
    stand: Stand,
    /// When the next row is due, on the monotonic clock.
    due: Duration,
    rows: u64,
}

impl Outage {
    pub(super) fn new(stand: Stand, targets: Targets, now: Now) -> Self {
        let row_end = wall(&stand, stand.end).plus(targets.part).plus(stand.lag);
        let due = if row_end >= now.wall {
            now.elapsed.saturating_add(row_end.since(now.wall))
        } else {
            now.elapsed.saturating_sub(now.wall.since(row_end))
        };
        Self { targets, stand, due, rows: 0 }
    }

    /// When [`Self::row`] will return a row: not before `quiet_until`, because until then the next epoch may begin at any moment.
    pub(super) fn next_deadline(&self, quiet_until: Option<Duration>) -> Duration {
        self.due.max(quiet_until.unwrap_or_default())
    }

    /// The next row, if it is due.
    pub(super) fn row(&mut self, now: Duration, quiet_until: Option<Duration>) -> Option<Row> {
        if self.next_deadline(quiet_until) > now {
            return None;
        }
        self.due = self.due.saturating_add(self.targets.part);
        let end = self.stand.end.plus(self.part());
        Some(self.take(end, Segment::ByTarget))
    }

    /// The rows up to the media of the next epoch, which begins now; the last one may be shorter. Empty when no gap was sealed before.
    pub(super) fn last_rows(mut self, media_from: Option<UnixMillis>) -> Vec<Row> {
        let Some(media_from) = media_from.filter(|_| self.rows > 0) else { return Vec::new() };
        let mut rows = Vec::new();
        while rows.len() < LAST_ROWS_MAX {
            let rest = media_from.0.saturating_sub(wall(&self.stand, self.stand.end).0);
            let rest = Timestamp::new(rest, Timescale::MILLIS).rescale(self.stand.end.timescale);
            // In an open segment the rest closes that segment. Otherwise it is a segment of its own, which takes at least half a part.
            let least = if self.stand.part == PartIndex(0) { half(self.part()) } else { REST_MIN };
            if rest < least {
                break;
            }
            let (rest, segment) =
                if rest > self.part() { (self.part(), Segment::ByTarget) } else { (rest, Segment::Ends) };
            let end = self.stand.end.plus(rest);
            rows.push(self.take(end, segment));
        }
        rows
    }

    fn part(&self) -> Timestamp {
        let millis = i64::try_from(self.targets.part.as_millis()).unwrap_or(i64::MAX);
        Timestamp::new(millis, Timescale::MILLIS).rescale(self.stand.end.timescale)
    }

    fn take(&mut self, end: Timestamp, segment: Segment) -> Row {
        let (start, msn, part) = (self.stand.end, self.stand.msn, self.stand.part);
        let segment_start = self.stand.segment_start;
        let next_end = end.plus(self.part()).minus(segment_start).as_duration();
        let completes_segment = segment == Segment::Ends || next_end > self.targets.segment;
        let mut objects = Vec::with_capacity(self.stand.tracks.len() * 2);
        for track in &self.stand.tracks {
            objects.push(gap(track, Slot::Part { msn, part }, start, end));
            if completes_segment {
                objects.push(gap(track, Slot::Segment { msn }, segment_start, end));
            }
        }
        self.rows += 1;
        self.stand.end = end;
        if completes_segment {
            (self.stand.segment_start, self.stand.msn, self.stand.part) = (end, msn.next(), PartIndex(0));
        } else {
            self.stand.part = part.next();
        }
        let tracks = if completes_segment { self.stand.tracks.clone() } else { Vec::new() };
        Row { start, end, msn, part, completes_segment, tracks, objects }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    /// The segment ends where another row would make it longer than its target.
    ByTarget,
    /// The segment ends with this row.
    Ends,
}

fn half(time: Timestamp) -> Timestamp {
    Timestamp::new(time.ticks / 2, time.timescale)
}

fn wall(stand: &Stand, at: Timestamp) -> UnixMillis {
    stand.origin.plus(at.as_duration())
}

fn gap(track: &Track, slot: Slot, start: Timestamp, end: Timestamp) -> MediaObject {
    let decode_time = start.rescale(track.timescale);
    let ticks = end.rescale(track.timescale).minus(decode_time).ticks.max(1);
    MediaObject {
        rendition: RenditionId::clone(&track.rendition),
        slot,
        start,
        decode_time,
        duration: Timestamp::new(ticks, track.timescale),
        independent: false,
        gap: true,
        length: 0,
        sync_length: None,
        bytes: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use media::{BitsPerSecond, Format};
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: UnixMillis = UnixMillis(1_700_000_000_000);
    const TARGETS: Targets = Targets { segment: Duration::from_secs(4), part: Duration::from_millis(500) };

    fn ms(ticks: i64) -> Timestamp {
        Timestamp::new(ticks, Timescale::MILLIS).rescale(Timescale::VIDEO)
    }

    fn track(name: &str, hz: u32) -> Track {
        Track {
            rendition: name.parse().unwrap(),
            codec: "x".to_owned(),
            timescale: Timescale::new(hz).unwrap(),
            format: Format::Audio { sample_rate_hz: hz, channels: 2 },
            bandwidth_peak: BitsPerSecond(1),
            bandwidth_mean: BitsPerSecond(1),
        }
    }

    /// Media ended at 20 s, which is ORIGIN + 20 s by the wall clock.
    fn stand(lag_ms: u64) -> Stand {
        Stand {
            tracks: vec![track("720p", 90_000), track("audio", 44_100)],
            origin: ORIGIN,
            end: ms(20_000),
            segment_start: ms(20_000),
            msn: MediaSequence(5),
            part: PartIndex(0),
            lag: Duration::from_millis(lag_ms),
        }
    }

    /// A reading of both clocks, which were both 0 at ORIGIN.
    fn now(ms: u64) -> Now {
        let elapsed = Duration::from_millis(ms);
        Now { elapsed, wall: ORIGIN.plus(elapsed) }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Rows up to `until`, with the times at which they came, in milliseconds.
    fn rows(outage: &mut Outage, until: Duration, quiet_until: Option<Duration>) -> Vec<(u64, Row)> {
        let mut all = Vec::new();
        loop {
            let due = outage.next_deadline(quiet_until);
            if due > until {
                return all;
            }
            let early = due == Duration::ZERO || outage.row(due - Duration::from_nanos(1), quiet_until).is_none();
            assert!(early, "not before");
            let row = outage.row(due, quiet_until).expect("the deadline says so");
            all.push((u64::try_from(due.as_millis()).unwrap(), row));
        }
    }

    fn places(rows: &[(u64, Row)]) -> Vec<(u64, u64, u32)> {
        rows.iter().map(|(at, row)| (*at, row.msn.0, row.part.0)).collect()
    }

    #[test]
    fn rows_go_on_at_the_pace_of_those_before_the_outage() {
        // The last row ended at 20 s and came 300 ms later.
        let mut outage = Outage::new(stand(300), TARGETS, now(20_250));
        let rows = rows(&mut outage, at(26_000), None);
        assert_eq!(places(&rows)[..2], [(20_800, 5, 0), (21_300, 5, 1)]);
        assert_eq!(places(&rows)[7..10], [(24_300, 5, 7), (24_800, 6, 0), (25_300, 6, 1)]);
        for (_, row) in &rows {
            let parts: Vec<_> = row.objects.iter().filter(|o| matches!(o.slot, Slot::Part { .. })).collect();
            assert_eq!(parts.iter().map(|part| part.duration.ticks).collect::<Vec<_>>(), [45_000, 22_050]);
            assert!(row.objects.iter().all(|object| object.gap && object.length == 0 && object.bytes.is_empty()));
            assert_eq!(row.tracks.is_empty(), !row.completes_segment);
        }
        let whole = rows[7].1.objects.iter().find(|object| object.slot == Slot::Segment { msn: MediaSequence(5) });
        assert_eq!(whole.unwrap().duration, ms(4_000));
        assert_eq!((whole.unwrap().start, rows[7].1.completes_segment), (ms(20_000), true));
    }

    #[test]
    fn rows_that_are_late_come_at_once() {
        // Noticed after three seconds of silence.
        let mut outage = Outage::new(stand(100), TARGETS, now(23_150));
        let mut count = 0;
        while outage.row(at(23_150), None).is_some() {
            count += 1;
        }
        assert_eq!((count, outage.next_deadline(None)), (6, at(23_600)));
    }

    #[test]
    fn gaps_go_on_until_the_media_of_the_next_epoch_is_there_and_end_where_it_begins() {
        let mut outage = Outage::new(stand(300), TARGETS, now(20_250));
        // A publisher is back at 22.13 s; its first sample comes 200 ms later.
        assert_eq!(
            places(&rows(&mut outage, at(22_330), None)),
            [(20_800, 5, 0), (21_300, 5, 1), (21_800, 5, 2), (22_300, 5, 3)]
        );
        let last = outage.last_rows(Some(ORIGIN.plus(at(22_130))));
        assert_eq!(last.len(), 1);
        assert_eq!((last[0].end, last[0].completes_segment, last[0].part), (ms(22_130), true, PartIndex(4)));
    }

    #[test]
    fn rows_that_the_lag_held_back_come_before_the_next_epoch() {
        let mut outage = Outage::new(stand(1_200), TARGETS, now(20_250));
        assert_eq!(rows(&mut outage, at(25_000), None).len(), 7);
        let last = outage.last_rows(Some(ORIGIN.plus(at(25_000))));
        let ends: Vec<_> = last.iter().map(|row| row.end.rescale(Timescale::MILLIS).ticks).collect();
        assert_eq!(ends, [24_000, 24_500, 25_000]);
        assert_eq!((last[0].completes_segment, last[2].completes_segment), (true, true));
    }

    #[test]
    fn break_inside_a_connection_makes_no_gaps_while_its_media_comes() {
        let mut outage = Outage::new(stand(300), TARGETS, now(20_250));
        assert!(rows(&mut outage, at(21_249), Some(at(21_250))).is_empty());
        assert!(outage.last_rows(Some(ORIGIN.plus(at(20_000)))).is_empty());
    }

    #[test]
    fn next_epoch_that_does_not_begin_in_time_is_not_waited_for() {
        let mut outage = Outage::new(stand(0), TARGETS, now(20_000));
        let rows = rows(&mut outage, at(22_000), Some(at(21_000)));
        assert_eq!(places(&rows)[..3], [(21_000, 5, 0), (21_000, 5, 1), (21_500, 5, 2)]);
        assert_eq!(rows.last().unwrap().1.end, ms(22_000), "and it catches up");
    }

    #[test]
    fn quick_reconnect_makes_no_gap() {
        let outage = Outage::new(stand(300), TARGETS, now(20_250));
        assert!(outage.last_rows(Some(ORIGIN.plus(at(20_600)))).is_empty());
    }

    proptest! {
        /// Whatever the times, rows are contiguous and no row is longer than a part. No segment exceeds its target by more than a part,
        /// and no row reaches into the media of the next epoch.
        #[test]
        fn gaps_are_contiguous_and_bounded(
            lag in 0_u64..3_000, noticed in 0_u64..10_000, away in 0_u64..60_000, part in prop::sample::select(vec![200_u64, 333, 500, 2_000]),
            open in prop::option::of(0_u32..5),
        ) {
            let targets = Targets { part: Duration::from_millis(part), ..TARGETS };
            let mut stand = stand(lag);
            if let Some(parts) = open {
                stand.segment_start = ms(20_000 - i64::from(parts + 1) * 100);
                stand.part = PartIndex(parts + 1);
            }
            let (first, first_part, segment_start) = (stand.end, stand.part, stand.segment_start);
            let begun = 20_000 + noticed;
            let mut outage = Outage::new(stand, targets, now(begun));
            let mut all: Vec<Row> =
                rows(&mut outage, at(begun + away), None).into_iter().map(|(_, row)| row).collect();
            let media_from = ORIGIN.plus(at(begun + away));
            all.extend(outage.last_rows(Some(media_from)));
            let mut place = (first, MediaSequence(5), first_part, segment_start);
            for row in &all {
                prop_assert_eq!((row.start, row.msn, row.part), (place.0, place.1, place.2));
                prop_assert!(row.end > row.start && row.end.minus(row.start).as_duration() <= targets.part);
                prop_assert!(row.end.minus(place.3).as_duration() <= targets.segment.max(row.end.minus(row.start).as_duration()) + targets.part);
                prop_assert!(ORIGIN.plus(row.end.as_duration()) <= media_from);
                place = if row.completes_segment {
                    (row.end, row.msn.next(), PartIndex(0), row.end)
                } else {
                    (row.end, row.msn, row.part.next(), place.3)
                };
            }
        }
    }
}
