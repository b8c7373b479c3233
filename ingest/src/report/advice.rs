//! Warns a streamer of problems with the stream, in plain words and with a remedy. Pure.
//!
//! Each warning has a condition with two bounds: the figure at which a warning goes is better than the one at which it comes. It also has
//! two patiences: how long the condition has to hold before the warning is shown, and how long it has to be gone before the warning
//! goes. So no warning flickers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use media::{BitsPerSecond, Now, UnixMillis};
use messages::{InputReport, Severity, VideoInput, Warning};

use crate::intake::tenants::OverQuota;
use crate::pipeline::BreakReason;

/// How long an event is shown.
const EVENT_SHOWN: Duration = Duration::from_secs(60);
/// Reconnects are counted over this long.
const RECONNECT_WINDOW: Duration = Duration::from_secs(600);
/// Rises of a counter that are kept.
const CHANGES_MAX: usize = 64;

/// Kinds of warnings, the most important first: the streamer sees them in this order. A new kind also belongs in [`Kind::ALL`]; then the
/// compiler names the places that are left, but for its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    NoPicture,
    OverQuota,
    Slow,
    RungsShed,
    PassThroughEnded,
    FrameRate,
    NoAudio,
    AudioSkew,
    KeyframeInterval,
    BitRateLow,
    BitRateHigh,
    Fast,
    ClockJumped,
    ClockOffset,
    Damaged,
    Reconnects,
    Reordering,
    Transcoded,
    AudioTranscoded,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::NoPicture,
        Self::OverQuota,
        Self::Slow,
        Self::RungsShed,
        Self::PassThroughEnded,
        Self::FrameRate,
        Self::NoAudio,
        Self::AudioSkew,
        Self::KeyframeInterval,
        Self::BitRateLow,
        Self::BitRateHigh,
        Self::Fast,
        Self::ClockJumped,
        Self::ClockOffset,
        Self::Damaged,
        Self::Reconnects,
        Self::Reordering,
        Self::Transcoded,
        Self::AudioTranscoded,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::NoPicture => "no_picture",
            Self::OverQuota => "over_quota",
            Self::Slow => "slower_than_real_time",
            Self::RungsShed => "rungs_shed",
            Self::PassThroughEnded => "pass_through_ended",
            Self::FrameRate => "frame_rate",
            Self::NoAudio => "no_audio",
            Self::AudioSkew => "audio_skew",
            Self::KeyframeInterval => "keyframe_interval",
            Self::BitRateLow => "bit_rate_low",
            Self::BitRateHigh => "bit_rate_high",
            Self::Fast => "faster_than_real_time",
            Self::ClockJumped => "clock_jumped",
            Self::ClockOffset => "clock_offset",
            Self::Damaged => "damaged",
            Self::Reconnects => "reconnects",
            Self::Reordering => "b_frames",
            Self::Transcoded => "video_transcoded",
            Self::AudioTranscoded => "audio_transcoded",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Reordering | Self::Transcoded | Self::AudioTranscoded | Self::ClockOffset => Severity::Note,
            _ => Severity::Warning,
        }
    }

    /// How long the condition has to hold before the warning is shown, and be gone before it goes.
    const fn patience(self) -> (Duration, Duration) {
        let (shown, gone) = match self {
            // These count over their own windows, or are steady by nature.
            Self::ClockJumped | Self::Damaged | Self::Reconnects | Self::RungsShed => (0, 0),
            Self::PassThroughEnded | Self::ClockOffset | Self::Transcoded => (0, 0),
            Self::AudioTranscoded | Self::NoPicture | Self::OverQuota => (0, 0),
            Self::KeyframeInterval | Self::NoAudio | Self::Reordering => (0, 4),
            Self::AudioSkew | Self::Slow | Self::FrameRate => (6, 10),
            Self::BitRateLow | Self::BitRateHigh | Self::Fast => (15, 15),
        };
        (Duration::from_secs(shown), Duration::from_secs(gone))
    }
}

/// What is seen of a publisher at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The report with the figures; its warnings are ignored.
    pub(super) report: &'a InputReport,
    /// Bit rate of video that the encoder announced.
    pub(super) announced_bit_rate: Option<BitsPerSecond>,
    /// Rungs that are shed in the current epoch.
    pub(super) shed: &'a [String],
    /// Why video is no longer passed through.
    pub(super) pass_through_ended: Option<&'a BreakReason>,
    /// How much later the stamps of sound are than those of video, in milliseconds, when the two count from different zeros.
    pub(super) zero_offset_ms: i64,
    /// How long the publisher has been connected; `None` while it is away.
    pub(super) connected_for: Option<Duration>,
    /// How long ago the newest picture came; `None` before the first.
    pub(super) picture_silent_for: Option<Duration>,
    /// How long ago the newest sound came; `None` before the first.
    pub(super) sound_silent_for: Option<Duration>,
    /// Whether a keyframe interval was seen whole.
    pub(super) interval_is_whole: bool,
    /// The publishers of its tenant send more than the quota.
    pub(super) over_quota: Option<OverQuota>,
}

/// Derives warnings from what is seen.
#[derive(Debug, Default)]
pub(super) struct Advisor {
    conditions: BTreeMap<Kind, Condition>,
    jumps: Changes,
    drops: Changes,
    reconnects: Changes,
    fullest: Fullest,
}

/// The highest bit rate of video since its publisher connected.
#[derive(Debug, Default)]
struct Fullest {
    connected_at: Option<UnixMillis>,
    rate: BitsPerSecond,
}

impl Fullest {
    fn observe(&mut self, report: &InputReport) -> BitsPerSecond {
        if self.connected_at != report.connected_at {
            *self = Self { connected_at: report.connected_at, ..Self::default() };
        }
        self.rate = self.rate.max(report.video.as_ref().map_or_else(BitsPerSecond::default, |video| video.bit_rate));
        self.rate
    }
}

#[derive(Debug, Default)]
struct Condition {
    bad_since: Option<Duration>,
    well_since: Option<Now>,
    shown: Option<(UnixMillis, String)>,
}

impl Condition {
    /// Takes the warning's text while the condition holds, and `None` while it does not.
    fn observe(&mut self, said: Option<String>, patience: (Duration, Duration), now: Now) {
        match said {
            Some(text) => {
                self.well_since = None;
                let since = *self.bad_since.get_or_insert(now.elapsed);
                if let Some((_, shown)) = &mut self.shown {
                    *shown = text;
                } else if now.elapsed.saturating_sub(since) >= patience.0 {
                    self.shown = Some((now.wall, text));
                }
            }
            None => {
                self.bad_since = None;
                let since = *self.well_since.get_or_insert(now);
                if now.elapsed.saturating_sub(since.elapsed) >= patience.1 {
                    self.shown = None;
                }
            }
        }
    }
}

/// When a counter rose. A counter that fell has started anew.
#[derive(Debug, Default)]
struct Changes {
    value: u64,
    rises: VecDeque<(Duration, u64)>,
}

impl Changes {
    fn observe(&mut self, value: u64, window: Duration, now: Duration) -> u64 {
        let rise = value.saturating_sub(self.value);
        self.value = value;
        if rise > 0 {
            if self.rises.len() >= CHANGES_MAX {
                self.rises.pop_front();
            }
            self.rises.push_back((now, rise));
        }
        self.rises.retain(|(at, _)| now.saturating_sub(*at) < window);
        self.rises.iter().map(|(_, rise)| *rise).sum()
    }
}

/// Events within their windows, and the highest bit rate so far.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    jumps: u64,
    drops: u64,
    reconnects: u64,
    fullest: BitsPerSecond,
}

impl Advisor {
    /// Takes what is seen and returns the warnings to show. Called every second or two.
    pub(super) fn observe(&mut self, seen: &Seen<'_>, now: Now) -> Vec<Warning> {
        let report = seen.report;
        let before = Before {
            jumps: self.jumps.observe(report.clock_jumps, EVENT_SHOWN, now.elapsed),
            drops: self.drops.observe(report.drops.total(), EVENT_SHOWN, now.elapsed),
            reconnects: self.reconnects.observe(report.reconnects, RECONNECT_WINDOW, now.elapsed),
            fullest: self.fullest.observe(report),
        };
        for kind in Kind::ALL {
            let condition = self.conditions.entry(kind).or_default();
            if seen.connected_for.is_none() && kind != Kind::Reconnects {
                // A publisher that is away sends nothing to judge, and starts anew when it returns.
                *condition = Condition::default();
                continue;
            }
            let said = said(kind, seen, before, condition.shown.is_some());
            condition.observe(said, kind.patience(), now);
        }
        self.warnings()
    }

    fn warnings(&self) -> Vec<Warning> {
        let warning = |(kind, condition): (&Kind, &Condition)| {
            let (since, text) = condition.shown.clone()?;
            let until = condition.well_since.map(|since| since.wall);
            Some(Warning { kind: kind.label().to_owned(), severity: kind.severity(), text, since, until })
        };
        self.conditions.iter().filter_map(warning).collect()
    }
}

/// The text of a warning if its condition holds. `shown` selects the bound at which a warning that is shown goes.
fn said(kind: Kind, seen: &Seen<'_>, before: Before, shown: bool) -> Option<String> {
    let report = seen.report;
    match kind {
        Kind::NoPicture => no_picture(seen),
        Kind::OverQuota => seen.over_quota.map(|OverQuota { used, quota }| {
            format!(
                "the streams of this tenant bring {used} bit/s, and its quota is {quota}: lower the bit rate, or the newest publisher is \
                 disconnected"
            )
        }),
        Kind::NoAudio => no_audio(seen),
        Kind::KeyframeInterval => keyframes(report.video.as_ref()?, seen.interval_is_whole, shown),
        Kind::FrameRate => frame_rate(report.video.as_ref()?, shown),
        Kind::Slow => slow(report.pace_permille?, shown),
        Kind::Fast => fast(report.pace_permille?, shown),
        Kind::AudioSkew => skew(report.video_ahead_of_audio_ms?, shown),
        Kind::BitRateLow => {
            bit_rate_low(report.video.as_ref()?.bit_rate, before.fullest, seen.announced_bit_rate?, shown)
        }
        Kind::BitRateHigh => bit_rate_high(report.video.as_ref()?.bit_rate, seen.announced_bit_rate?, shown),
        Kind::RungsShed => rungs_shed(seen.shed),
        Kind::PassThroughEnded => {
            // Pass-through may have started again, with a source whose keyframes are regular.
            let is_encoded = report.video.as_ref().is_some_and(|video| !video.passed_through);
            pass_through_ended(seen.pass_through_ended.filter(|_| is_encoded)?)
        }
        Kind::ClockOffset => clock_offset(seen.zero_offset_ms),
        Kind::ClockJumped => (before.jumps > 0).then(|| {
            format!(
                "the encoder's clock jumped ({} in the last minute): viewers saw a break; if it happens again, restart the encoder",
                times(before.jumps)
            )
        }),
        Kind::Damaged => (before.drops >= if shown { 1 } else { 5 }).then(|| {
            format!(
                "{} frames of the last minute were damaged, came before their parameters or could not be encoded in time: update the \
                 encoder, or try another one (x264 in place of hardware)",
                before.drops
            )
        }),
        Kind::Reconnects => (before.reconnects >= 3).then(|| {
            format!(
                "the encoder has reconnected {} in the last ten minutes: check its network, use a cable, lower the bit rate",
                times(before.reconnects)
            )
        }),
        Kind::Reordering => reordering(report.video.as_ref()?, shown),
        Kind::Transcoded => transcoded(report.video.as_ref()?),
        Kind::AudioTranscoded => {
            let codec = &report.audio.as_ref()?.codec;
            (codec != "mp4a.40.2")
                .then(|| format!("sound comes as {codec} and is encoded again: send AAC (AAC-LC) to have it passed through"))
        }
    }
}

const SOON: Duration = Duration::from_secs(5);

fn no_picture(seen: &Seen<'_>) -> Option<String> {
    match (seen.picture_silent_for, seen.sound_silent_for) {
        (Some(silent), _) if silent >= Duration::from_secs(3) => Some(format!(
            "no picture has come for {} s: viewers see a gap; check the encoder and its network",
            silent.as_secs()
        )),
        (None, Some(_)) if seen.connected_for? >= SOON => Some(
            "only sound comes, no picture: check that the encoder has a video source; if that is meant, all is well"
                .to_owned(),
        ),
        (None, None) if seen.connected_for? >= SOON => {
            Some("the encoder is connected and sends nothing: start its stream, or restart it".to_owned())
        }
        _ => None,
    }
}

fn no_audio(seen: &Seen<'_>) -> Option<String> {
    let picture_runs = seen.picture_silent_for? < Duration::from_secs(3);
    match seen.sound_silent_for {
        _ if !picture_runs => None,
        None if seen.connected_for? >= SOON => Some(
            "no sound comes: choose an audio track in OBS (Settings > Output); if that is meant, all is well"
                .to_owned(),
        ),
        Some(silent) if silent >= SOON => Some(format!(
            "no sound has come for {} s: viewers hear silence; check the encoder's audio source",
            silent.as_secs()
        )),
        _ => None,
    }
}

fn keyframes(video: &VideoInput, is_whole: bool, shown: bool) -> Option<String> {
    let ms = video.keyframe_interval_ms?;
    let seconds = tenths(ms);
    if ms > if shown { 2_600 } else { 3_100 } {
        let mut text = String::new();
        let is = if is_whole { "is" } else { "is more than" };
        // Writing to a string cannot fail.
        let _ = write!(text, "keyframe interval {is} {seconds} s; set 2 s in OBS for low latency");
        text.push_str(" (Settings > Output > Keyframe Interval; ffmpeg: -g with twice the frame rate)");
        if !video.passed_through && ms > 4_200 {
            text.push_str("; with more than 4 s the picture cannot be passed through");
        }
        return Some(text);
    }
    let often = is_whole && ms < if shown { 500 } else { 450 };
    often
        .then(|| format!("keyframes come every {ms} ms, which costs picture quality: set the keyframe interval to 2 s"))
}

fn frame_rate(video: &VideoInput, shown: bool) -> Option<String> {
    let (is, announced) = (video.frame_rate_millihertz?, video.announced_frame_rate_millihertz?);
    let percent = if shown { 95 } else { 90 };
    (u64::from(is) * 100 < u64::from(announced) * percent).then(|| {
        format!(
            "frame rate is {} where {} were announced: the encoder's machine or its network drops frames; lower its bit rate or \
             resolution, or use a hardware encoder",
            tenths(is.into()),
            tenths(announced.into())
        )
    })
}

fn slow(permille: u32, shown: bool) -> Option<String> {
    (permille < if shown { 980 } else { 930 }).then(|| {
        format!(
            "media comes at {} % of real time: the upload is too slow, and viewers will stall; lower the encoder's bit rate",
            permille / 10
        )
    })
}

fn fast(permille: u32, shown: bool) -> Option<String> {
    (permille > if shown { 1_100 } else { 1_300 }).then(|| {
        format!(
            "media comes at {} % of real time: let the encoder send as fast as it is played (ffmpeg: -re before -i)",
            permille / 10
        )
    })
}

fn skew(video_ahead_ms: i64, shown: bool) -> Option<String> {
    let apart = video_ahead_ms.unsigned_abs();
    let behind = if video_ahead_ms > 0 { "behind" } else { "ahead of" };
    (apart > if shown { 500 } else { 1_000 }).then(|| {
        format!(
            "sound is {} s {behind} the picture when it arrives; sound more than 1 s behind is replaced by silence: set the encoder's \
             audio offset to 0 and restart its stream",
            tenths(apart)
        )
    })
}

/// Warns only of a fall: a picture that never needed the announced rate is easy to encode.
fn bit_rate_low(is: BitsPerSecond, fullest: BitsPerSecond, announced: BitsPerSecond, shown: bool) -> Option<String> {
    let fell = percent(fullest, announced)? >= 80 && percent(is, announced)? < if shown { 50 } else { 40 };
    fell.then(|| {
        format!(
            "picture has fallen to {} Mbit/s where {} were announced: the network may be holding the encoder back; a still picture needs \
             few bits, too",
            tenths(is.0 / 1_000),
            tenths(announced.0 / 1_000)
        )
    })
}

fn bit_rate_high(is: BitsPerSecond, announced: BitsPerSecond, shown: bool) -> Option<String> {
    (percent(is, announced)? > if shown { 140 } else { 160 }).then(|| {
        format!(
            "picture has {} Mbit/s where {} were announced: use CBR as rate control, or viewers with little bandwidth stall",
            tenths(is.0 / 1_000),
            tenths(announced.0 / 1_000)
        )
    })
}

fn percent(is: BitsPerSecond, of: BitsPerSecond) -> Option<u64> {
    is.0.saturating_mul(100).checked_div(of.0)
}

fn rungs_shed(shed: &[String]) -> Option<String> {
    let names = shed.join(", ");
    (!shed.is_empty()).then(|| {
        format!(
            "this machine is too slow for all renditions, {names} {} given up: send fewer pixels or frames, shorten the ladder \
             ([[role.ingest.pipeline.rungs]]), or give the ingest more cores",
            if shed.len() == 1 { "was" } else { "were" }
        )
    })
}

fn pass_through_ended(reason: &BreakReason) -> Option<String> {
    let (why, way_out) = match reason {
        BreakReason::Paused(ms) => (
            format!("no picture came for {} s", tenths(ms.unsigned_abs())),
            "send a constant frame rate over a steady network",
        ),
        BreakReason::KeyframesIrregular(ms) => {
            (format!("no keyframe came for {} s", tenths(ms.unsigned_abs())), KEYFRAMES_AS_THEY_SHOULD_BE)
        }
        BreakReason::Unsegmentable => ("a keyframe was left out".to_owned(), KEYFRAMES_AS_THEY_SHOULD_BE),
        _ => return None,
    };
    Some(format!(
        "{why}, and since then the picture is encoded again instead of passed through, which costs quality and this machine's time: \
         {way_out}, and start the encoder's stream again to have it passed through"
    ))
}

const KEYFRAMES_AS_THEY_SHOULD_BE: &str = "set the keyframe interval to 2 s (OBS: Settings > Output)";

fn clock_offset(offset_ms: i64) -> Option<String> {
    let later = if offset_ms > 0 { "after" } else { "before" };
    (offset_ms != 0).then(|| {
        format!(
            "the encoder stamps sound {} s {later} the picture; both are put together as they arrive: check that lips and voice fit",
            tenths(offset_ms.unsigned_abs())
        )
    })
}

fn reordering(video: &VideoInput, shown: bool) -> Option<String> {
    let matters = video.reorder_ms > if shown { 120 } else { 150 };
    matters.then(|| {
        format!(
            "B-frames delay every picture by {} ms: for low latency set at most 2 (x264: bframes=2, or tune zerolatency for none)",
            video.reorder_ms
        )
    })
}

fn transcoded(video: &VideoInput) -> Option<String> {
    let name = match video.codec.split('.').next().unwrap_or_default() {
        "hvc1" | "hev1" => "HEVC",
        "av01" => "AV1",
        _ => return None,
    };
    Some(format!(
        "picture comes as {name}, which not every player has, and is encoded again as H.264: send H.264 to have it passed through, \
         with less work for this machine"
    ))
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Thousandths as a number with one decimal.
fn tenths(thousandths: u64) -> String {
    let rounded = thousandths.saturating_add(50) / 100;
    format!("{}.{}", rounded / 10, rounded % 10)
}

#[cfg(test)]
mod tests;
