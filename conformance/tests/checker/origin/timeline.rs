//! The media of the origin as a pure function of time.

use std::sync::Arc;
use std::time::Duration;

use super::breakage::Break;
use super::clip::{Clip, Clips};
use super::mux::{Fragment, Wrong, fragment};

pub const PARTS_PER_SEGMENT: u64 = 5;
pub const PART_MS: u64 = 200;
/// Parts that exist when the origin starts: a full window.
pub const PARTS_AT_START: u64 = 14 * PARTS_PER_SEGMENT;
/// Segments with which new epochs begin: one leaves the playlist during a run, one is added.
pub const EPOCH_STARTS: [u64; 2] = [3, 16];
/// This segment is a gap.
pub const GAP: u64 = 18;
/// First segment with a fault, for faults of one variant.
pub const WRONG_FROM: u64 = 15;
/// Decode times of an epoch begin this many seconds after those of the one before.
const EPOCH_SECONDS: u64 = 1_000;
/// 2026-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH_DATE_MS: u64 = 1_767_225_600_000;

/// A rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendition {
    Low,
    High,
    Sound,
}

impl Rendition {
    pub const ALL: [Self; 3] = [Self::Low, Self::High, Self::Sound];

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "v0",
            Self::High => "v1",
            Self::Sound => "a0",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rendition| rendition.name() == name)
    }

    pub fn is_sound(self) -> bool {
        self == Self::Sound
    }
}

/// The stream.
#[derive(Debug, Clone)]
pub struct Timeline {
    pub clips: Arc<Clips>,
    pub broken: Break,
    /// Last segment of a stream that ends.
    pub last_msn: Option<u64>,
}

pub fn epoch(msn: u64) -> u64 {
    u64::try_from(EPOCH_STARTS.iter().filter(|start| msn >= **start).count()).unwrap()
}

pub fn is_gap(msn: u64) -> bool {
    msn == GAP
}

impl Timeline {
    /// Number of parts that are listed at this time of the run.
    pub fn parts_at(&self, now: Duration, rendition: Rendition) -> u64 {
        let mut elapsed = u64::try_from(now.as_millis()).unwrap();
        if self.broken == Break::Stall && elapsed > 2_500 {
            elapsed = elapsed.saturating_sub(3_000).max(2_500);
        }
        let mut parts = PARTS_AT_START + elapsed / PART_MS;
        if self.broken == Break::SoundLate && rendition.is_sound() {
            parts -= 8;
        }
        self.last_msn.map_or(parts, |last| parts.min((last + 1) * PARTS_PER_SEGMENT))
    }

    pub fn ended(&self, parts: u64) -> bool {
        self.last_msn.is_some_and(|last| parts >= (last + 1) * PARTS_PER_SEGMENT)
    }

    fn clip(&self, rendition: Rendition, msn: u64) -> &Clip {
        match rendition {
            // One segment has another resolution.
            Rendition::High if self.broken == Break::UnannouncedResolution && msn == WRONG_FROM => &self.clips.low,
            Rendition::Low => &self.clips.low,
            Rendition::High => &self.clips.high,
            Rendition::Sound => &self.clips.sound,
        }
    }

    /// Index of the first sample of a part. Audio frames do not divide parts evenly.
    fn first_sample(&self, rendition: Rendition, part: u64) -> u64 {
        if rendition.is_sound() { (part * 75).div_ceil(8) } else { part * 5 }
    }

    fn samples_duration(&self, rendition: Rendition, from: u64, to: u64) -> Duration {
        let clip = self.clip(rendition, 0);
        Duration::from_nanos((to - from) * clip.frame_ticks * 1_000_000_000 / clip.timescale)
    }

    pub fn part_duration(&self, rendition: Rendition, part: u64) -> Duration {
        self.samples_duration(rendition, self.first_sample(rendition, part), self.first_sample(rendition, part + 1))
    }

    pub fn segment_duration(&self, rendition: Rendition, msn: u64) -> Duration {
        let first = msn * PARTS_PER_SEGMENT;
        let (from, to) = (self.first_sample(rendition, first), self.first_sample(rendition, first + PARTS_PER_SEGMENT));
        self.samples_duration(rendition, from, to)
    }

    /// Date of a segment's first sample, in milliseconds since 1970.
    pub fn date_ms(&self, rendition: Rendition, msn: u64) -> u64 {
        let first = self.first_sample(rendition, msn * PARTS_PER_SEGMENT);
        let media = self.samples_duration(rendition, 0, first);
        let off = if self.broken == Break::DatesDiffer && rendition == Rendition::High { 300 } else { 0 };
        EPOCH_DATE_MS + u64::try_from(media.as_millis()).unwrap() + off
    }

    /// Name of the epoch in URLs.
    pub fn epoch_name(&self, rendition: Rendition, msn: u64) -> String {
        let other = self.broken == Break::UnannouncedResolution && rendition == Rendition::High && msn == WRONG_FROM;
        if other { "9".to_owned() } else { epoch(msn).to_string() }
    }

    pub fn init(&self, rendition: Rendition, epoch_name: &str) -> Vec<u8> {
        let msn = if epoch_name == "9" { WRONG_FROM } else { 0 };
        match (self.broken, rendition) {
            (Break::TwoSounds, Rendition::Sound) => self.clips.two_sounds.clone(),
            (Break::MovieDuration, Rendition::High) => super::mux::with_duration(&self.clips.high.init),
            _ => self.clip(rendition, msn).init.clone(),
        }
    }

    fn fragment(&self, rendition: Rendition, part: u64, wrong: Wrong) -> Fragment {
        let msn = part / PARTS_PER_SEGMENT;
        let clip = self.clip(rendition, msn);
        let base = epoch(msn) * EPOCH_SECONDS * clip.timescale;
        let (from, to) = (self.first_sample(rendition, part), self.first_sample(rendition, part + 1));
        fragment(clip, from, to, base, wrong)
    }

    fn wrong(&self, rendition: Rendition, part: u64) -> Wrong {
        let msn = part / PARTS_PER_SEGMENT;
        let due = rendition == Rendition::High && msn >= WRONG_FROM;
        Wrong {
            not_idr: due && self.broken == Break::NoIdr && part.is_multiple_of(PARTS_PER_SEGMENT),
            late_ticks: if due && self.broken == Break::DecodeTimeJumps { self.clips.high.frame_ticks } else { 0 },
            lacks_last: false,
            // This fault holds from the start, so that the decode times of the variant are continuous.
            reordered_ticks: match (rendition, self.broken) {
                (Rendition::High, Break::DecodedEarly) => self.clips.high.frame_ticks * 3 / 4,
                (Rendition::High, Break::DecodedMuchEarlier) => self.clips.high.frame_ticks * 5 / 2,
                _ => 0,
            },
            last_early_ticks: match self.broken {
                Break::ShownEarly if due && (part + 1).is_multiple_of(PARTS_PER_SEGMENT) => {
                    self.clips.high.frame_ticks * 3
                }
                _ => 0,
            },
        }
    }

    pub fn part(&self, rendition: Rendition, part: u64) -> Vec<u8> {
        let due = rendition == Rendition::High && part / PARTS_PER_SEGMENT >= WRONG_FROM;
        let lacks_last = due && self.broken == Break::PartLacksSample && part % PARTS_PER_SEGMENT == 2;
        self.fragment(rendition, part, Wrong { lacks_last, ..self.wrong(rendition, part) }).bytes
    }

    pub fn segment(&self, rendition: Rendition, msn: u64) -> Vec<u8> {
        let first = msn * PARTS_PER_SEGMENT;
        let parts = first..first + PARTS_PER_SEGMENT;
        parts.flat_map(|part| self.fragment(rendition, part, self.wrong(rendition, part)).bytes).collect()
    }

    /// Length in bytes of a segment's start, through the end of its first picture.
    pub fn iframe_length(&self, rendition: Rendition, msn: u64) -> usize {
        let first = msn * PARTS_PER_SEGMENT;
        self.fragment(rendition, first, self.wrong(rendition, first)).first_sample_end
    }
}
