//! Feeds a publisher's messages into the pipeline: one task per publisher.
//!
//! Owns what counts as silence: [`Heard`] is pure, the task around it is not.

use std::sync::Arc;
use std::time::Duration;

use media::{Timestamp, UnixMillis};
use node::clock::Clock;
use rtmp::flv::Body;
use tokio::sync::{mpsc, watch};

use super::figures::Figures;
use super::input::InputMapper;
use super::publication::{Ending, Link, MediaMessage};
use crate::pipeline::{Input, PipelineInput};

/// A publisher that is connected and sends no picture for this long is away: gaps take its place, and later media begins a new
/// epoch. A shorter silence is a hiccup of its network, after which all delayed media comes; a player has 1.5 s buffered.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Messages that are handled together: more than a fast publisher sends between two reads of its socket.
const AT_ONCE_MAX: usize = 32;

/// What the stream's task has to know of a publisher's media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Wall clock of the timeline's zero.
    pub(crate) origin: UnixMillis,
    /// Time on the timeline from which that holds: where the clock broke last. `None` from the beginning.
    pub(crate) from: Option<Timestamp>,
    /// Since when playable media has been coming: from a keyframe on, or from the first sound if there is no video.
    pub(crate) since: Option<Duration>,
}

/// When something was heard of a publisher.
#[derive(Debug, Default)]
struct Heard {
    pictures: bool,
    last: Option<Duration>,
}

impl Heard {
    /// Takes note of a message. Returns `now` if playable media may begin with it.
    fn hear(&mut self, body: &Body, now: Duration) -> Option<Duration> {
        let (picture, begins) = match body {
            Body::Video { key, .. } => (true, *key),
            Body::Audio(_) | Body::Mp3(_) => (false, !self.pictures),
            Body::VideoConfig(..) => {
                self.pictures = true;
                return None;
            }
            Body::AudioConfig(_) | Body::Nothing => return None,
        };
        self.pictures |= picture;
        if picture || !self.pictures {
            self.last = Some(now);
        }
        begins.then_some(now)
    }

    /// Notes that the publisher is away.
    const fn away(&mut self) {
        self.last = None;
    }

    /// When its silence becomes an outage. If there were pictures, only they count. `None` while nothing was heard.
    fn silent_at(&self) -> Option<Duration> {
        self.last.map(|last| last.saturating_add(SILENCE_MAX))
    }
}

/// The task between connection and pipeline. When the connection ends, it ends, and with it the pipeline's input.
pub(crate) struct AccessUnitFeed {
    pub(crate) media: mpsc::Receiver<MediaMessage>,
    /// End of the media before this publisher's.
    pub(crate) after: Option<Timestamp>,
    pub(crate) pipeline_input: Arc<PipelineInput>,
    pub(crate) flow: watch::Sender<Flow>,
    pub(crate) link: Arc<Link>,
    pub(crate) clock: Clock,
    pub(crate) figures: Arc<Figures>,
}

impl AccessUnitFeed {
    pub(crate) async fn run(mut self) {
        let clock = self.clock;
        let mut mapper = InputMapper::after(self.after);
        let mut heard = Heard::default();
        let (mut messages, mut inputs) = (Vec::new(), Vec::new());
        loop {
            let silent_at = clock.instant(heard.silent_at().unwrap_or_default());
            let count = tokio::select! {
                count = self.media.recv_many(&mut messages, AT_ONCE_MAX) => count,
                () = tokio::time::sleep_until(silent_at), if heard.silent_at().is_some() => {
                    tracing::warn!(silence = ?SILENCE_MAX, "publisher sends nothing: gaps take its place");
                    heard.away();
                    self.flow.send_modify(|flow| flow.since = None);
                    if self.pipeline_input.send(vec![Input::Break]).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            let now = clock.now();
            let mut refused = None;
            for MediaMessage { stamp_ms, body } in messages.drain(..) {
                let begins = heard.hear(&body, now.elapsed);
                let starts = match mapper.push(stamp_ms, body, now.wall) {
                    Ok(mapped) => {
                        let starts = mapped.iter().find_map(time);
                        inputs.extend(mapped);
                        starts
                    }
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                };
                let origin = mapper.origin();
                self.flow.send_if_modified(|flow| {
                    let before = *flow;
                    let from = if before.origin == origin { before.from } else { starts };
                    *flow = Flow { origin, from, since: flow.since.or(begins) };
                    before != *flow
                });
            }
            inputs.iter().for_each(|input| self.figures.format(input));
            // Repeated parameter sets yield no input.
            if !inputs.is_empty() && self.pipeline_input.send(std::mem::take(&mut inputs)).await.is_err() {
                return;
            }
            if let Some(error) = refused {
                tracing::warn!(%error, "publisher's media is not accepted");
                return self.link.close(Ending::Media, &format!("This media is not accepted: {error}."));
            }
            self.figures.input(mapper.counters(), self.pipeline_input.counters(), now.elapsed);
        }
    }
}

/// When a packet is shown or decoded, whichever is earlier.
fn time(input: &Input) -> Option<Timestamp> {
    match input {
        Input::Video(packet) => Some(packet.pts.min(packet.dts)),
        Input::Audio(packet) => Some(packet.pts),
        Input::VideoConfig(_) | Input::AudioConfig(_) | Input::Break => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtmp::flv::VideoCodec;

    use super::*;

    fn now(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn picture(key: bool) -> Body {
        Body::Video { codec: VideoCodec::Avc, composition_ms: 0, key, data: Bytes::from_static(b"x") }
    }

    fn sound() -> Body {
        Body::Audio(Bytes::from_static(b"x"))
    }

    #[test]
    fn media_begins_with_a_keyframe_or_with_sound_where_there_are_no_pictures() {
        let mut heard = Heard::default();
        assert_eq!(heard.hear(&Body::VideoConfig(VideoCodec::Avc, Bytes::new()), now(0)), None);
        assert_eq!(heard.hear(&sound(), now(10)), None, "pictures were announced");
        assert_eq!(heard.hear(&picture(false), now(20)), None);
        assert_eq!(heard.hear(&picture(true), now(30)), Some(now(30)));
        assert_eq!(Heard::default().hear(&sound(), now(40)), Some(now(40)));
        assert_eq!(Heard::default().hear(&Body::AudioConfig(Bytes::new()), now(40)), None);
    }

    #[test]
    fn publisher_is_away_after_three_seconds_without_a_picture_and_not_before() {
        let mut heard = Heard::default();
        assert_eq!(heard.silent_at(), None, "a publisher that has not begun cannot stop");
        heard.hear(&picture(true), now(1_000));
        assert_eq!(heard.silent_at(), Some(Duration::from_millis(4_000)));
        heard.hear(&picture(false), now(3_900));
        assert_eq!(heard.silent_at(), Some(Duration::from_millis(6_900)), "a hiccup");
        heard.hear(&sound(), now(5_000));
        assert_eq!(heard.silent_at(), Some(Duration::from_millis(6_900)), "sound alone is not what it published");
        let mut alone = Heard::default();
        alone.hear(&sound(), now(0));
        alone.hear(&sound(), now(2_000));
        assert_eq!(alone.silent_at(), Some(Duration::from_millis(5_000)));
    }

    #[test]
    fn outage_ends_with_the_next_keyframe() {
        let mut heard = Heard::default();
        heard.hear(&picture(true), now(0));
        heard.away();
        assert_eq!((heard.silent_at(), heard.hear(&sound(), now(4_000))), (None, None));
        assert_eq!(heard.silent_at(), None, "sound alone starts no watch");
        assert_eq!(heard.hear(&picture(false), now(5_000)), None);
        assert_eq!(heard.hear(&picture(true), now(6_000)), Some(now(6_000)));
    }
}
