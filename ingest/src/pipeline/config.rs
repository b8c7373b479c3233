//! Configuration of the pipeline. Pure.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The encoding ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The rungs, 1 to 8. Default: none named; then they are chosen to fit the source and the cores. Rungs above the source's size are
    /// left out: nothing is upscaled.
    pub rungs: Option<Vec<RungConfig>>,
    /// Whether the largest rung may be the source itself. Default `auto`.
    pub pass_through: PassThrough,
    /// x264 preset. Default `veryfast`.
    pub preset: Preset,
    /// Cores that the ladder may count on. 0 (the default): those of the machine.
    pub cores: usize,
    /// How much of these cores one stream may use, in percent, 1 to 100. Default 40: the rest is for the other roles, viewers
    /// and peaks.
    pub cpu_share_percent: u32,
    /// Longest interval between IDRs of encoded rungs in milliseconds, 500 to 4000, rounded down to whole parts. Beside a source that is
    /// passed through, they also have an IDR wherever the source has one; if a rung has half the source's frame rate, only there.
    /// Default 1000.
    pub keyframe_interval_ms: u32,
    /// How long the start of a run is held back at most to learn the source's keyframe interval and frame rate, in milliseconds,
    /// 500 to 5000. Default 2500. The run starts as soon as both are known.
    pub decision_ms: u32,
    /// What to do when the encoders are slower than the input. Default `live`.
    pub pace: Pace,
    /// Part target of the stream: no picture of a run lasts longer. Default 500 ms; set from the setting that all roles share.
    #[serde(skip)]
    pub part_target: Duration,
    /// Artificial delay of a rung's first encoder in a run, for tests of shedding: name and milliseconds per frame.
    #[serde(skip)]
    pub handicap: Option<(String, Duration)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rungs: None,
            pass_through: PassThrough::Auto,
            preset: Preset::Veryfast,
            cores: 0,
            cpu_share_percent: 40,
            keyframe_interval_ms: 1_000,
            decision_ms: 2_500,
            pace: Pace::Live,
            part_target: Duration::from_millis(500),
            handicap: None,
        }
    }
}

/// A value out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} is out of range: {range}")]
pub struct InvalidConfig {
    /// Key in the configuration.
    pub field: &'static str,
    pub value: u64,
    pub range: &'static str,
}

impl Config {
    /// Checks all ranges. Errors name the key.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let within = |field, value: u64, low: u64, high: u64, range| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(InvalidConfig { field, value, range }) }
        };
        within("cpu_share_percent", self.cpu_share_percent.into(), 1, 100, "1 to 100")?;
        within("keyframe_interval_ms", self.keyframe_interval_ms.into(), 500, 4_000, "500 to 4000")?;
        within("decision_ms", self.decision_ms.into(), 500, 5_000, "500 to 5000")?;
        let Some(rungs) = &self.rungs else { return Ok(()) };
        let count = u64::try_from(rungs.len()).unwrap_or(u64::MAX);
        within("rungs (count)", count, 1, 8, "1 to 8, or leave it out: then they are chosen to fit")?;
        for rung in rungs {
            within("rungs.short_side", rung.short_side.into(), 64, 4_320, "64 to 4320")?;
            let Some(kbit) = rung.kbit_per_second else { continue };
            let range = "50 to 100000, or leave it out: then it follows from the picture";
            within("rungs.kbit_per_second", kbit.into(), 50, 100_000, range)?;
        }
        Ok(())
    }

    /// `keyframe_interval_ms` in 90 kHz ticks, rounded down to whole parts, at least one: an IDR within a part makes no part independent.
    pub(super) fn keyframe_ticks(&self) -> i64 {
        let part = self.picture_ticks_max().max(1);
        (i64::from(self.keyframe_interval_ms) * 90 / part).max(1) * part
    }

    /// The longest that a picture may last, in 90 kHz ticks.
    pub(super) fn picture_ticks_max(&self) -> i64 {
        i64::try_from(self.part_target.as_millis()).unwrap_or(i64::MAX).saturating_mul(90)
    }

    /// Cores to count on, at least 1.
    pub fn cores_found(&self) -> usize {
        if self.cores > 0 {
            return self.cores;
        }
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    }
}

/// One rung of a configured ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RungConfig {
    /// The shorter side of the picture in pixels, 64 to 4320; also its name: 720 is `720p`.
    pub short_side: u32,
    /// Mean bit rate in 1000 bit/s, 50 to 100000. Default: from the picture's size and frame rate.
    #[serde(default)]
    pub kbit_per_second: Option<u32>,
}

/// Whether the largest rung may be the source itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassThrough {
    /// When the source allows it: H.264 baseline to high, 8 bit 4:2:0, progressive, with regular keyframes 0.5 s to 4.2 s apart.
    Auto,
    /// Never: all rungs are encoded.
    Never,
}

/// What happens when the encoders are slower than the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Stay live: shed rungs.
    Live,
    /// Hold the input back, shed nothing: for files.
    Wait,
}

/// x264's speed presets that are sensible for live encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Ultrafast,
    Superfast,
    Veryfast,
    Faster,
    Fast,
    Medium,
}

impl Preset {
    /// Frames that x264 looks ahead for rate control with this preset; `None` if it does not.
    pub(super) const fn lookahead_frames(self) -> Option<u32> {
        match self {
            Self::Ultrafast | Self::Superfast => None,
            Self::Veryfast => Some(10),
            Self::Faster => Some(20),
            Self::Fast => Some(30),
            Self::Medium => Some(40),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
        })
    }
}
