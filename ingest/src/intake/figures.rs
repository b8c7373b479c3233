//! Figures of a stream's newest publisher. Its connection and its feed write them; reports and `/status` read them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use media::{Now, UnixMillis};

use super::encoder_metadata::EncoderMetadata;
use super::input::InputCounters;
use super::tenants::OverQuota;
use crate::pipeline::{AudioFormat, Counters, Input, VideoFormat};

/// Figures of the newest publisher.
#[derive(Debug, Clone, Default)]
pub(crate) struct PublisherFigures {
    /// When it connected; `None` once it is gone.
    pub(crate) connected: Option<Now>,
    /// When it left; `None` while it is connected.
    pub(crate) gone: Option<UnixMillis>,
    pub(crate) announced: EncoderMetadata,
    pub(crate) input: InputCounters,
    pub(crate) pipeline: Counters,
    pub(crate) video: Option<VideoFormat>,
    pub(crate) audio: Option<AudioFormat>,
    /// When the newest picture and the newest sound came, by the monotonic clock.
    pub(crate) heard: (Option<Duration>, Option<Duration>),
    /// Its tenant's publishers send more than the quota.
    pub(crate) over_quota: Option<OverQuota>,
}

#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<PublisherFigures>);

impl Figures {
    fn with<T>(&self, change: impl FnOnce(&mut PublisherFigures) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> PublisherFigures {
        self.with(|figures| figures.clone())
    }

    /// Takes the counters of the publisher's input so far.
    pub(crate) fn input(&self, counters: InputCounters, pipeline: Counters, now: Duration) {
        self.with(|figures| {
            let before = std::mem::replace(&mut figures.input, counters);
            figures.pipeline = pipeline;
            if counters.video_frames != before.video_frames {
                figures.heard.0 = Some(now);
            }
            if counters.audio_frames != before.audio_frames {
                figures.heard.1 = Some(now);
            }
        });
    }

    /// Takes note of a format; ignores other inputs.
    pub(crate) fn format(&self, input: &Input) {
        match input {
            Input::VideoConfig(format) => self.with(|figures| figures.video = Some(format.clone())),
            Input::AudioConfig(format) => self.with(|figures| figures.audio = Some(format.clone())),
            Input::Video(_) | Input::Audio(_) | Input::Break => {}
        }
    }

    /// Takes what the encoder says of itself, in place of what the one before said.
    pub(crate) fn announced(&self, announced: EncoderMetadata) {
        self.with(|figures| figures.announced = announced);
    }

    /// Takes whether the tenant is above its quota.
    pub(crate) fn over_quota(&self, over: Option<OverQuota>) {
        self.with(|figures| figures.over_quota = over);
    }

    /// A publisher begins: its figures start anew, except for what it announced.
    pub(crate) fn begin(&self, now: Now) {
        self.with(|figures| {
            let announced = std::mem::take(&mut figures.announced);
            *figures = PublisherFigures { connected: Some(now), announced, ..PublisherFigures::default() };
        });
    }

    /// The publisher is gone.
    pub(crate) fn end(&self, now: UnixMillis) {
        self.with(|figures| (figures.connected, figures.gone) = (None, Some(now)));
    }
}
