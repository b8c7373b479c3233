//! Helpers that several rows share. Pure.

use std::time::Duration;

use crate::observation::{Observation, RenditionSeen, Version};
use crate::playlist::MediaPlaylist;
use crate::playlist::text::shortened;

/// A span as evidence, in seconds with three decimals.
pub(super) fn s(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}

/// A span of microseconds as evidence.
pub(super) fn us(microseconds: i64) -> String {
    let sign = if microseconds < 0 { "-" } else { "" };
    let whole = microseconds.unsigned_abs();
    format!("{sign}{}.{:03} s", whole / 1_000_000, whole / 1_000 % 1_000)
}

/// A playlist's line as evidence: playlist, number and text.
pub(super) fn line(rendition: &RenditionSeen, playlist: &MediaPlaylist, number: usize) -> String {
    format!("{} line {number}: {}", rendition.name, shortened(playlist.text.line(number)))
}

/// Pairs of consecutive versions from the same kind of request.
pub(super) fn steps(rendition: &RenditionSeen) -> Vec<(&Version, &Version)> {
    let mut steps = Vec::new();
    for chain in rendition.chains() {
        steps.extend(chain.iter().zip(chain.iter().skip(1)).map(|(before, after)| (*before, *after)));
    }
    steps
}

/// A span rounded to whole seconds, half upwards (4.4.3.1).
pub(super) fn rounded_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_millis() >= 500)
}

/// The difference of two spans, whichever is longer.
pub(super) fn apart(a: Duration, b: Duration) -> Duration {
    a.abs_diff(b)
}

/// Duration of a frame, from the frame rate that the multivariant playlist states for a playlist. Without one it is 1/24 s, because
/// no common rate has longer frames.
pub(super) fn frame(observation: &Observation, rendition: &RenditionSeen) -> Duration {
    use crate::observation::Role;
    let stated = rendition.roles.iter().filter_map(|role| {
        let Role::Variant(index) = role else { return None };
        observation.multivariant.as_ref()?.variants.get(*index)?.frame_rate_thousandths()
    });
    stated
        .filter(|rate| *rate > 0)
        .max()
        .map_or(Duration::from_micros(41_667), |rate| Duration::from_nanos(1_000_000_000_000 / rate))
}
