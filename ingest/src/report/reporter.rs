//! Reports on a stream for its streamer: figures and warnings every two seconds, on the bus, at `/status` and in metrics.
//!
//! Owns the task that reports. [`Meter`] and [`report`] are pure. Media waits for none of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bus::Message;
use media::{BitsPerSecond, NodeId, Now, StreamId, UnixMillis};
use messages::{AudioInput, Drops, InputReport, Severity, Topic, VideoInput};
use tokio_util::sync::CancellationToken;

use super::advice::{Advisor, Seen};
use super::stats::{SessionFigures, StreamStats};
use crate::intake::figures::PublisherFigures;
use crate::intake::input::InputCounters;
use crate::pipeline::AudioFormat;
use crate::standby::turn::Duty;

/// How often a report is made.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// Reports that rates are measured over: 8 s, four keyframe intervals of the recommended length, so that pictures of all sizes count.
const LOOKS: usize = 4;
/// How long a message may wait while no broker is there.
const SAY_WAIT: Duration = Duration::from_millis(100);

/// Ends the reports when it is dropped.
pub(crate) struct Reporter(CancellationToken);

impl Drop for Reporter {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Reports on a stream until the [`Reporter`] is dropped.
pub(crate) fn start(context: node::Context, stream: StreamId, stats: Arc<StreamStats>) -> Reporter {
    let ended = CancellationToken::new();
    let until = ended.clone();
    tokio::spawn(async move {
        until.run_until_cancelled(run(context, stream.clone(), stats)).await;
        gauges(&stream, None);
    });
    Reporter(ended)
}

async fn run(context: node::Context, stream: StreamId, stats: Arc<StreamStats>) {
    let (mut meter, mut advisor) = (Meter::default(), Advisor::default());
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = context.clock.now();
        let (publisher, session) = stats.publisher();
        let rates = meter.look(&publisher, now.elapsed);
        let about = About {
            stream: stream.clone(),
            ingest: context.id.clone(),
            at: now.wall,
            standby: stats.duty() == Duty::Standby,
            reconnects: stats.reconnects(),
        };
        let mut said = report(about, &publisher, &session, rates);
        said.warnings = advisor.observe(&seen(&said, &publisher, &session, now), now);
        gauges(&stream, Some(&said));
        stats.reported(said.clone());
        let Ok(payload) = serde_json::to_vec(&said) else { continue };
        let topic = context.prefix.name(&Topic::Input(stream.clone()));
        let message = Message { topic, payload: payload.into(), retain: false };
        // After a failure, the next report comes in two seconds.
        let _ = tokio::time::timeout(SAY_WAIT, context.bus.publish(message)).await;
    }
}

/// Rates over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rates {
    video: BitsPerSecond,
    audio: BitsPerSecond,
    frame_rate_millihertz: Option<u32>,
    pace_permille: Option<u32>,
}

/// Measures rates from the counters that it is shown with each report.
#[derive(Debug, Default)]
struct Meter {
    looks: VecDeque<(Duration, InputCounters)>,
    connected: Option<Duration>,
}

impl Meter {
    /// Rates up to `now`, from at most [`LOOKS`] looks before; those of another publisher, or before a jump of the clock, do not count.
    fn look(&mut self, publisher: &PublisherFigures, now: Duration) -> Rates {
        let connected = publisher.connected.map(|connected| connected.elapsed);
        let counters = publisher.input;
        let is_new =
            self.connected != connected || self.looks.back().is_some_and(|(_, last)| last.breaks != counters.breaks);
        if is_new || connected.is_none() {
            self.looks.clear();
            self.connected = connected;
        }
        if connected.is_none() {
            return Rates::default();
        }
        let first = self.looks.front().copied();
        if self.looks.len() >= LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, counters));
        let Some((since, before)) = first else { return Rates::default() };
        let Some(span) = millis(now.saturating_sub(since)).filter(|span| *span > 0) else { return Rates::default() };
        let rate = |bytes: u64| BitsPerSecond(bytes.saturating_mul(8_000).checked_div(span).unwrap_or(0));
        let frames = counters.video_frames.saturating_sub(before.video_frames);
        Rates {
            video: rate(counters.video_bytes.saturating_sub(before.video_bytes)),
            audio: rate(counters.audio_bytes.saturating_sub(before.audio_bytes)),
            frame_rate_millihertz: between(before.video_ms, counters.video_ms)
                .and_then(|media| frames.saturating_mul(1_000_000).checked_div(media))
                .and_then(|rate| u32::try_from(rate).ok()),
            pace_permille: between(before.newest_ms(), counters.newest_ms())
                .and_then(|media| u32::try_from(media.saturating_mul(1_000).checked_div(span)?).ok()),
        }
    }
}

fn millis(span: Duration) -> Option<u64> {
    u64::try_from(span.as_millis()).ok()
}

fn between(before: Option<i64>, after: Option<i64>) -> Option<u64> {
    u64::try_from(after?.saturating_sub(before?)).ok()
}

/// What a report says besides the publisher's figures.
struct About {
    stream: StreamId,
    ingest: NodeId,
    at: UnixMillis,
    standby: bool,
    reconnects: u64,
}

/// The report on a publisher, without warnings.
fn report(about: About, publisher: &PublisherFigures, session: &SessionFigures, rates: Rates) -> InputReport {
    let PublisherFigures { connected, gone, announced, input, pipeline, video, audio, .. } = publisher;
    let video = video.as_ref().map(|format| VideoInput {
        codec: format.codec_string(),
        width: format.width(),
        height: format.height(),
        frame_rate_millihertz: rates.frame_rate_millihertz,
        announced_frame_rate_millihertz: announced.frame_rate_millihertz.or(format.frame_rate_millihertz()),
        keyframe_interval_ms: input.keyframe_interval_ms(),
        reorder_ms: u32::try_from(input.reorder_ms).unwrap_or(0),
        bit_rate: rates.video,
        passed_through: pipeline.passes_through,
    });
    let audio = audio.as_ref().map(|format| match format {
        AudioFormat::Aac(aac) => AudioInput {
            codec: aac.codec_string(),
            sample_rate_hz: Some(aac.output_sample_rate_hz()),
            channels: Some(aac.channels()),
            bit_rate: rates.audio,
        },
        AudioFormat::Mp3 => {
            AudioInput { codec: "mp3".to_owned(), sample_rate_hz: None, channels: None, bit_rate: rates.audio }
        }
    });
    InputReport {
        stream: about.stream,
        ingest: about.ingest,
        at: about.at,
        standby: about.standby,
        reconnects: about.reconnects,
        connected_at: connected.map(|connected| connected.wall),
        away_since: *gone,
        slate: session.slate,
        encoder: announced.encoder.clone(),
        bit_rate: BitsPerSecond(rates.video.0.saturating_add(rates.audio.0)),
        pace_permille: rates.pace_permille,
        video,
        audio,
        video_ahead_of_audio_ms: input.skew_ms(),
        drops: Drops {
            early: input.dropped,
            refused: pipeline.packets_refused.saturating_add(session.samples_refused),
            concealed: pipeline.frames_concealed,
            skipped: pipeline.frames_skipped,
        },
        clock_jumps: input.breaks,
        warnings: Vec::new(),
    }
}

fn seen<'a>(
    report: &'a InputReport,
    publisher: &'a PublisherFigures,
    session: &'a SessionFigures,
    now: Now,
) -> Seen<'a> {
    let since = |then: Option<Duration>| then.map(|then| now.elapsed.saturating_sub(then));
    Seen {
        report,
        announced_bit_rate: publisher.announced.bit_rate,
        shed: &session.shed,
        pass_through_ended: session.pass_through_ended.as_ref(),
        zero_offset_ms: publisher.input.zero_offset_ms,
        connected_for: since(publisher.connected.map(|connected| connected.elapsed)),
        picture_silent_for: since(publisher.heard.0),
        sound_silent_for: since(publisher.heard.1),
        interval_is_whole: publisher.input.has_whole_interval(),
        over_quota: publisher.over_quota,
    }
}

/// Sets a stream's gauges. Every stream that was published since the start has them, and operators create the streams. `None` sets zeros.
#[expect(clippy::cast_precision_loss, reason = "for display")]
fn gauges(stream: &StreamId, report: Option<&InputReport>) {
    let here = report.filter(|report| report.connected_at.is_some());
    let video = here.and_then(|report| report.video.as_ref());
    let gauge = |gauge: metrics::Gauge, value: f64| gauge.set(value);
    let name = || stream.to_string();
    let rate = video.and_then(|video| video.frame_rate_millihertz).unwrap_or(0);
    let interval = video.and_then(|video| video.keyframe_interval_ms).unwrap_or(0);
    let skew = here.and_then(|report| report.video_ahead_of_audio_ms).unwrap_or(0);
    let warnings = report
        .map_or(0, |report| report.warnings.iter().filter(|warning| warning.severity == Severity::Warning).count());
    gauge(metrics::gauge!("ingest_input_bits_per_second", "stream" => name()), here.map_or(0, |r| r.bit_rate.0) as f64);
    gauge(metrics::gauge!("ingest_input_frame_rate", "stream" => name()), f64::from(rate) / 1e3);
    gauge(metrics::gauge!("ingest_input_keyframe_interval_seconds", "stream" => name()), interval as f64 / 1e3);
    gauge(metrics::gauge!("ingest_input_skew_seconds", "stream" => name()), skew as f64 / 1e3);
    gauge(
        metrics::gauge!("ingest_input_frames_dropped", "stream" => name()),
        here.map_or(0, |r| r.drops.total()) as f64,
    );
    gauge(metrics::gauge!("ingest_input_reconnects", "stream" => name()), report.map_or(0, |r| r.reconnects) as f64);
    gauge(metrics::gauge!("ingest_input_warnings", "stream" => name()), warnings as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { elapsed: Duration::from_secs(seconds), wall: UnixMillis(0) }
    }

    /// A publisher that has been connected for `seconds`, at 30 frames and 250,000 bytes a second of its own time.
    fn publisher(seconds: i64) -> PublisherFigures {
        let count = u64::try_from(seconds).unwrap();
        let input = InputCounters {
            video_frames: 30 * count,
            video_bytes: 250_000 * count,
            audio_bytes: 16_000 * count,
            video_ms: Some(10_000 + 1_000 * seconds),
            audio_ms: Some(9_980 + 1_000 * seconds),
            ..InputCounters::default()
        };
        PublisherFigures { connected: Some(at(100)), input, ..PublisherFigures::default() }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.look(&publisher(0), at(100).elapsed), Rates::default(), "nothing to compare with");
        for seconds in [2, 4, 60] {
            let rates = meter.look(&publisher(seconds), at(100 + seconds.unsigned_abs()).elapsed);
            let expected = Rates {
                video: BitsPerSecond(2_000_000),
                audio: BitsPerSecond(128_000),
                frame_rate_millihertz: Some(30_000),
                pace_permille: Some(1_000),
            };
            assert_eq!(rates, expected, "{seconds}");
        }
        // The next eight seconds bring four seconds of media. The last look measures from the one at 60 s on.
        let mut last = Rates::default();
        for step in 1..=4_u32 {
            last = meter.look(&publisher(60 + i64::from(step)), at(160 + 2 * u64::from(step)).elapsed);
        }
        assert_eq!((last.pace_permille, last.frame_rate_millihertz), (Some(500), Some(30_000)));
        assert_eq!(last.video, BitsPerSecond(1_000_000));
    }

    #[test]
    fn jump_of_the_clock_and_another_publisher_begin_anew() {
        let mut meter = Meter::default();
        meter.look(&publisher(0), at(100).elapsed);
        let mut jumped = publisher(2);
        jumped.input.breaks = 1;
        assert_eq!(meter.look(&jumped, at(102).elapsed), Rates::default());
        let mut after = publisher(4);
        after.input.breaks = 1;
        assert_ne!(meter.look(&after, at(104).elapsed), Rates::default());
        let other = PublisherFigures { connected: Some(at(105)), ..publisher(1) };
        assert_eq!(meter.look(&other, at(106).elapsed), Rates::default());
        assert_eq!(
            meter.look(&PublisherFigures { connected: None, ..publisher(9) }, at(108).elapsed),
            Rates::default()
        );
    }
}
