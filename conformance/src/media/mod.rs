//! Parses media: boxes, transport stream packets, WebVTT. Keeps a summary, not the bytes.
//!
//! Owns the formats. Does not decode, and leaves it to the rows which faults matter. Pure.

pub mod boxes;
mod codec;
pub mod fmp4;
mod nal;
pub mod ts;
pub mod vtt;

use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

pub use fmp4::{Fragment, Init, Run, Sample, Track};
pub use ts::Ts;
pub use vtt::Vtt;

/// The content of a segment or part.
#[derive(Debug, Clone, Default)]
pub enum Content {
    Fmp4(fmp4::Fragments),
    Ts(Ts),
    Vtt(Vtt),
    /// Not parsed: encrypted, empty, or of an unknown format.
    #[default]
    Opaque,
}

impl Content {
    /// Recognises the format by its first bytes, and parses it.
    #[must_use]
    pub fn read(bytes: &[u8], init: Option<&Init>) -> Self {
        if ts::looks_like(bytes) {
            return Self::Ts(Ts::read(bytes));
        }
        if vtt::looks_like(bytes) {
            return Self::Vtt(Vtt::read(bytes));
        }
        if boxes::looks_like(bytes) {
            return Self::Fmp4(fmp4::Fragments::read(bytes, init));
        }
        Self::Opaque
    }

    /// `fMP4`, `MPEG-TS`, `WebVTT` or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fmp4(_) => "fMP4",
            Self::Ts(_) => "MPEG-TS",
            Self::Vtt(_) => "WebVTT",
            Self::Opaque => "unknown",
        }
    }

    /// Duration of the video if there is any, else of the longest track.
    #[must_use]
    pub fn duration(&self, init: Option<&Init>) -> Option<Duration> {
        match self {
            Self::Fmp4(fragments) => fragments.duration(init?),
            Self::Ts(ts) => ts.duration(),
            Self::Vtt(_) | Self::Opaque => None,
        }
    }
}

/// Ticks of a timescale as a span. Saturates, because the numbers are untrusted.
#[must_use]
pub fn ticks(ticks: u64, timescale: u32) -> Duration {
    if timescale == 0 {
        return Duration::ZERO;
    }
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(timescale);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// A digest to compare bytes within one run; it must not be stored.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
