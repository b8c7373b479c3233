//! The source at work: paces, publishes, reconnects.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::clock::UnixMillis;
use crate::config::Config;
use crate::connection::Connection;
use crate::encode::{AudioEncoder, VideoEncoder};
use crate::file::{self, Looped};
use crate::time::{monotonic, wait_until, wall_millis};
use crate::tone;

/// First and longest pause before connecting again; it doubles in between.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// After a connection that lasted this long, the next pause is the shortest again.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// When the encoder is later than this, frames are left out rather than sent late.
const LATE_MAX: Duration = Duration::from_millis(500);

/// The beeps follow the wall clock when it has moved by more than this against the monotonic one; each smaller correction would click.
const CLOCK_SET_MICROS_MIN: u64 = 20_000;

#[derive(Debug)]
pub struct Source {
    config: Config,
}

/// How a connection ended.
enum End {
    Shutdown,
    Lost(anyhow::Error),
}

impl Source {
    /// Checks the configuration, the encoders or the file. Connects to nothing yet.
    pub fn load(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        ffmpeg_next::init().context("cannot initialise FFmpeg")?;
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Fatal);
        match &config.file {
            None => drop(VideoEncoder::open(&config)?),
            Some(path) => drop(Looped::open(path)?),
        }
        Ok(Self { config })
    }

    /// Publishes until `shutdown` is cancelled, and then ends within a second; connects again whenever the server goes away. Works on a
    /// thread of its own. Fails only when nothing can ever be published: when the encoder or the file fails.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || {
                // The send fails only when the caller is gone.
                let _ = done.send(self.run_blocking(&shutdown));
            })
            .context("cannot start the source's thread")?;
        outcome.await.context("the source's thread panicked")?
    }

    /// As [`Source::run`], on the calling thread.
    pub fn run_blocking(self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut pause = BACKOFF_MIN;
        while !shutdown.is_cancelled() {
            let since = monotonic();
            let end = match &self.config.file {
                None => self.publish_pattern(shutdown)?,
                Some(path) => self.publish_file(&mut Looped::open(path)?, shutdown)?,
            };
            match end {
                End::Shutdown => break,
                End::Lost(_) if shutdown.is_cancelled() => break,
                End::Lost(error) => {
                    if since.elapsed() > GOOD_CONNECTION {
                        pause = BACKOFF_MIN;
                    }
                    let server = self.config.server();
                    tracing::warn!(
                        server,
                        error = format!("{error:#}"),
                        pause_ms = pause.as_millis(),
                        pause_ms_max = BACKOFF_MAX.as_millis(),
                        "not publishing: tries again after a pause, which grows up to a limit, until it is stopped"
                    );
                    wait_until(monotonic() + pause, shutdown);
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
        Ok(())
    }

    fn publish_pattern(&self, shutdown: &CancellationToken) -> anyhow::Result<End> {
        let pattern = &self.config;
        let mut video = VideoEncoder::open(pattern)?;
        let mut audio = AudioEncoder::open()?;
        let streams = [video.parameters(), audio.parameters()];
        let mut connection = match Connection::open(&self.config.target(), &streams, shutdown) {
            Ok(connection) => connection,
            Err(error) => return Ok(End::Lost(error)),
        };
        tracing::info!(server = self.config.server(), width = pattern.width, height = pattern.height, "publishing");
        let start = monotonic();
        let mut origin_micros = wall_millis() * 1_000;
        let mut index = 0_u64;
        loop {
            let due = start + Duration::from_nanos(pattern.frame_rate.nanos(index));
            if !wait_until(due, shutdown) {
                connection.finish();
                return Ok(End::Shutdown);
            }
            // A machine that slept or is too slow: skip frames to stay live.
            while monotonic().saturating_duration_since(frame_time(start, pattern, index)) > LATE_MAX {
                index += 1;
            }
            let nanos = pattern.frame_rate.nanos(index);
            let time = wall_at(frame_time(start, pattern, index));
            let expected = origin_micros.saturating_add(i64::try_from(nanos / 1_000)?);
            if time.0.saturating_mul(1_000).abs_diff(expected) > CLOCK_SET_MICROS_MIN {
                origin_micros = origin_micros.saturating_add(time.0.saturating_mul(1_000).saturating_sub(expected));
            }
            let until = i64::try_from(u128::from(nanos) * u128::from(tone::SAMPLE_RATE_HZ) / 1_000_000_000)?;
            audio.skip_to(until - i64::from(tone::SAMPLE_RATE_HZ));
            for packet in audio.encode_until(until, origin_micros)? {
                if let Err(error) = connection.write(1, audio.time_base(), packet) {
                    return Ok(End::Lost(error));
                }
            }
            for packet in video.encode(i64::try_from(index)?, time)? {
                if let Err(error) = connection.write(0, video.time_base(), packet) {
                    return Ok(End::Lost(error));
                }
            }
            index += 1;
        }
    }

    fn publish_file(&self, file: &mut Looped, shutdown: &CancellationToken) -> anyhow::Result<End> {
        let mut connection = match Connection::open(&self.config.target(), file.parameters(), shutdown) {
            Ok(connection) => connection,
            Err(error) => return Ok(End::Lost(error)),
        };
        tracing::info!(server = self.config.server(), "publishing a file");
        let start = monotonic();
        loop {
            let (index, at, packet) = file.next()?;
            let micros = u64::try_from(at).unwrap_or(0) * 100 / 9;
            if !wait_until(start + Duration::from_micros(micros), shutdown) {
                connection.finish();
                return Ok(End::Shutdown);
            }
            if let Err(error) = connection.write(index, file::TIME_BASE, packet) {
                return Ok(End::Lost(error));
            }
        }
    }
}

/// The wall clock at `due`, a little ago: a late frame shows when it was due, so that clock, stamps and beeps agree.
fn wall_at(due: Instant) -> UnixMillis {
    let late = monotonic().saturating_duration_since(due);
    UnixMillis(wall_millis().saturating_sub(i64::try_from(late.as_millis()).unwrap_or(0)))
}

fn frame_time(start: Instant, pattern: &Config, index: u64) -> Instant {
    start + Duration::from_nanos(pattern.frame_rate.nanos(index))
}
