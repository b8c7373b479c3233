//! Audio time: a contiguous, sample-exact timeline from frames stamped in milliseconds.
//!
//! RTMP stamps are too coarse to say where an AAC frame begins (1024 samples at 44.1 kHz are 23.22 ms), and encoders stamp loosely
//! (OBS sends -1 ms for priming). So the timeline counts samples, and the stamps only check it. When the two differ by more than a
//! frame, the clock inserts whole frames of silence or drops a frame. Counting never rounds, so nothing drifts. Pure.

use bytes::Bytes;

use crate::aac::{AudioSpecificConfig, silent_frame};
use crate::{Error, Sample, Timescale, Timestamp};

/// The longest hole that the clock fills with silence, in milliseconds: audio that the source mutes, loses or starts late. 10 s is
/// also the largest step that [`crate::input_clock`] lets through.
pub const SILENCE_MILLIS_MAX: i64 = 10_000;

/// The longest overlap that the clock drops, in milliseconds. It exceeds the largest step back that [`crate::input_clock`] lets through.
pub const OVERLAP_MILLIS_MAX: i64 = 1_000;

/// The stamps jumped further than silence or dropped frames can hide: the timeline breaks, and a new epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audio time jumped by {by_millis} ms")]
pub struct Break {
    /// Size and direction of the jump in milliseconds.
    pub by_millis: i64,
}

/// Puts AAC frames on a timeline without holes or overlaps.
#[derive(Debug)]
pub struct AudioClock {
    timescale: Timescale,
    frame_ticks: i64,
    silence: Bytes,
    next_ticks: Option<i64>,
    silent_frames: u64,
    dropped_frames: u64,
}

impl AudioClock {
    /// A clock whose timeline begins at `start` (presentation time of the session's first video frame), or, with `None`,
    /// where the first frame is stamped.
    ///
    /// Errors when [`silent_frame`] has no frame for the configured channels.
    pub fn new(config: &AudioSpecificConfig, start: Option<Timestamp>) -> Result<Self, Error> {
        let timescale = config.timescale();
        Ok(Self {
            timescale,
            frame_ticks: i64::from(config.frame_samples()),
            silence: silent_frame(config.channels()).ok_or(Error::Aac("no silence for these channels"))?,
            next_ticks: start.map(|start| start.rescale(timescale).ticks),
            silent_frames: 0,
            dropped_frames: 0,
        })
    }

    /// Takes the next frame, stamped `stamp` on the session's timeline. Returns samples that follow directly on those returned before:
    /// silent frames to fill a hole, then the frame; none when the frame is dropped. An emitted frame starts within one frame of its stamp.
    ///
    /// Errors when the stamp is more than [`SILENCE_MILLIS_MAX`] ahead of or [`OVERLAP_MILLIS_MAX`] behind the timeline.
    pub fn push(&mut self, stamp: Timestamp, data: Bytes) -> Result<Emitted, Break> {
        let stamped = stamp.rescale(self.timescale).ticks;
        let next = *self.next_ticks.get_or_insert(stamped);
        let off_ticks = stamped.saturating_sub(next);
        let off_millis = Timestamp::new(off_ticks, self.timescale).rescale(Timescale::MILLIS).ticks;
        if !(-OVERLAP_MILLIS_MAX..=SILENCE_MILLIS_MAX).contains(&off_millis) {
            return Err(Break { by_millis: off_millis });
        }
        if off_ticks < -self.frame_ticks {
            self.dropped_frames += 1;
            return Ok(self.emit(0, None));
        }
        let silent = if off_ticks > self.frame_ticks {
            // To the nearest frame.
            (off_ticks + self.frame_ticks / 2) / self.frame_ticks
        } else {
            0
        };
        Ok(self.emit(silent, Some(data)))
    }

    /// Fills with silence up to `until`, exclusive, while the video goes on without audio. One call adds at most
    /// [`SILENCE_MILLIS_MAX`], and nothing before the timeline has begun.
    pub fn fill(&mut self, until: Timestamp) -> Emitted {
        let most = Timestamp::new(SILENCE_MILLIS_MAX, Timescale::MILLIS).rescale(self.timescale).ticks;
        let until = until.rescale(self.timescale).ticks;
        let missing = self.next_ticks.map_or(0, |next| until.saturating_sub(next).clamp(0, most));
        self.emit(missing / self.frame_ticks, None)
    }

    /// Start of the next frame; `None` before the timeline has begun.
    pub fn next(&self) -> Option<Timestamp> {
        self.next_ticks.map(|ticks| Timestamp::new(ticks, self.timescale))
    }

    /// Silent frames inserted so far.
    pub const fn silent_frames(&self) -> u64 {
        self.silent_frames
    }

    /// Frames dropped so far, because their stamps were more than a frame behind the timeline.
    pub const fn dropped_frames(&self) -> u64 {
        self.dropped_frames
    }

    fn emit(&mut self, silent: i64, frame: Option<Bytes>) -> Emitted {
        let start = self.next_ticks.unwrap_or(0);
        let frames = silent + i64::from(frame.is_some());
        self.silent_frames += silent.unsigned_abs();
        if let Some(next) = &mut self.next_ticks {
            *next += frames * self.frame_ticks;
        }
        Emitted {
            timescale: self.timescale,
            frame_ticks: self.frame_ticks,
            silence: self.silence.clone(),
            next_ticks: start,
            silent,
            frame,
        }
    }
}

/// Samples from the [`AudioClock`], in order. The clock counts them as emitted even when the caller does not take them.
#[derive(Debug)]
#[must_use = "what is not taken out is a hole in the timeline"]
pub struct Emitted {
    timescale: Timescale,
    frame_ticks: i64,
    silence: Bytes,
    next_ticks: i64,
    silent: i64,
    frame: Option<Bytes>,
}

impl Iterator for Emitted {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let data = if self.silent > 0 {
            self.silent -= 1;
            self.silence.clone()
        } else {
            self.frame.take()?
        };
        let pts = Timestamp::new(self.next_ticks, self.timescale);
        self.next_ticks += self.frame_ticks;
        Some(Sample { pts, dts: pts, duration: Timestamp::new(self.frame_ticks, self.timescale), sync: true, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Bytes = Bytes::from_static(b"frame");

    fn clock(rate: u32, start_millis: Option<i64>) -> AudioClock {
        let config = AudioSpecificConfig::low_complexity(rate, 2).unwrap();
        AudioClock::new(&config, start_millis.map(millis)).unwrap()
    }

    const fn millis(ms: i64) -> Timestamp {
        Timestamp::new(ms, Timescale::MILLIS)
    }

    /// Pushes a frame, and checks that the samples returned follow directly on those before.
    fn push(clock: &mut AudioClock, ms: i64) -> Result<Vec<Sample>, Break> {
        let before = clock.next();
        let out: Vec<_> = clock.push(millis(ms), FRAME)?.collect();
        let mut next = before.unwrap_or_else(|| millis(ms).rescale(clock.timescale));
        for sample in &out {
            assert_eq!((sample.pts, sample.dts, sample.duration.ticks), (next, next, 1024));
            next = next.plus(sample.duration);
        }
        assert_eq!(clock.next(), Some(next));
        Ok(out)
    }

    #[test]
    fn obs_priming_stamp_costs_one_priming_frame_and_no_sync() {
        // OBS stamps its first frame 0 instead of -22, and the second one -1.
        let mut clock = clock(48_000, None);
        let counts = [10_000, 9_999, 10_021, 10_043, 10_064, 10_085].map(|ms| push(&mut clock, ms).unwrap().len());
        assert_eq!(counts, [1, 0, 1, 1, 1, 1]);
        assert_eq!((clock.silent_frames(), clock.dropped_frames()), (0, 1));
    }

    #[test]
    fn hole_is_filled_with_silence_to_the_nearest_frame() {
        let mut clock = clock(48_000, None);
        push(&mut clock, 0).unwrap();
        let out = push(&mut clock, 1_000).unwrap();
        // 978.67 ms are 45.9 frames.
        assert_eq!(out.len(), 47);
        assert!(out[..46].iter().all(|sample| sample.data == silent_frame(2).unwrap()));
        assert_eq!(out[46].data, FRAME);
    }

    #[test]
    fn overlap_is_dropped_until_the_stamps_catch_up() {
        let mut clock = clock(48_000, None);
        for n in 0..10 {
            push(&mut clock, n * 64 / 3).unwrap();
        }
        let emitted: Vec<_> = (5..15).map(|n| push(&mut clock, n * 64 / 3).unwrap().len()).collect();
        assert_eq!(emitted[..4], [0; 4]);
        assert_eq!(emitted[6..], [1; 4]);
    }

    #[test]
    fn jump_beyond_hiding_breaks() {
        let mut clock = clock(48_000, Some(0));
        push(&mut clock, 0).unwrap();
        assert_eq!(push(&mut clock, 20_000), Err(Break { by_millis: 19_979 }));
        assert_eq!(push(&mut clock, -2_000), Err(Break { by_millis: -2_021 }));
        assert_eq!(push(&mut clock, 21).unwrap().len(), 1, "a refused stamp changes nothing");
    }

    #[test]
    fn audio_that_starts_late_begins_with_the_video() {
        let mut clock = clock(44_100, Some(10_000));
        let first = push(&mut clock, 10_500).unwrap();
        assert_eq!(first[0].pts, millis(10_000));
        assert_eq!(first.len(), 23);
    }

    #[test]
    fn absent_audio_is_filled_behind_the_video() {
        let mut clock = clock(48_000, Some(0));
        let filled: Vec<_> = clock.fill(millis(100)).collect();
        assert_eq!(filled.len(), 4, "four whole frames fit into 100 ms");
        assert_eq!(clock.fill(millis(100)).count(), 0);
        assert_eq!(push(&mut clock, 100).unwrap().len(), 1);
        assert_eq!(clock.fill(millis(1 << 40)).count(), 468, "no more than the bound at once");
    }

    /// 24 h of frames stamped in rounded milliseconds, by an encoder whose crystal is `ppm` off.
    fn run_day(rate: u32, ppm: i64) -> AudioClock {
        const DAY_MILLIS: i64 = 86_400_000;
        let mut clock = clock(rate, Some(0));
        let nominal = i128::from(rate) * 1_000_000;
        for n in 0_i128.. {
            let ms = i64::try_from(n * 1024 * 1_000 * i128::from(1_000_000 + ppm) / nominal).unwrap();
            if ms >= DAY_MILLIS {
                break;
            }
            let Some(last) = clock.push(millis(ms), FRAME).unwrap().last() else { continue };
            // The video runs on the stamps' clock. All day long, each frame starts within one frame of that clock.
            let off = last.pts.minus(millis(ms)).ticks;
            assert!(off.abs() <= 1024, "{ms} ms: {off} ticks");
        }
        clock
    }

    #[test]
    fn day_of_exact_audio_needs_no_correction_at_any_rate() {
        for rate in [44_100, 48_000] {
            let clock = run_day(rate, 0);
            assert_eq!((clock.silent_frames(), clock.dropped_frames()), (0, 0), "{rate}");
        }
    }

    #[test]
    fn day_with_crystals_apart_stays_within_a_frame() {
        let slow = run_day(48_000, 50);
        // 50 ppm of a day are 4.32 s: 202 frames.
        assert!((200..=203).contains(&slow.silent_frames()), "{}", slow.silent_frames());
        let fast = run_day(44_100, -50);
        assert!((184..=187).contains(&fast.dropped_frames()), "{}", fast.dropped_frames());
    }

    proptest! {
        #[test]
        fn any_stamps_give_a_contiguous_timeline_near_them(
            rate in prop::sample::select(vec![44_100_u32, 48_000, 24_000, 16_000]),
            steps in prop::collection::vec(prop_oneof![8 => 15_i64..30, 1 => -900_i64..900, 1 => -20_000_i64..20_000], 1..300),
        ) {
            let mut clock = clock(rate, None);
            let mut ms = 10_000;
            for step in steps {
                ms += step;
                if let Ok(out) = push(&mut clock, ms) && let Some(last) = out.last() {
                    prop_assert!(last.pts.minus(millis(ms)).ticks.abs() <= 1024);
                }
            }
        }
    }
}
