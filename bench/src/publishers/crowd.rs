//! Publishers that send one clip in a loop in real time, as encoders do: each message when it is due, in a write of its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use conformance::rtmp::clip::{Clips, Name};
use conformance::rtmp::driver::{self, Happened};
use conformance::rtmp::script::{Act, Options, Script, Target, Wire};
use conformance::rtmp::take::Take;
use tokio::task::JoinHandle;

/// Length of the clip `Name::Loop`.
const CLIP_MS: i64 = 16_000;
/// The clip's keyframe interval. Publishers arrive spread over this time, so that not all of their segments end at once.
const SPREAD: Duration = Duration::from_secs(2);

/// Media for some minutes, written once for all publishers.
#[derive(Debug, Clone)]
pub(super) struct Media {
    act: Act,
    /// Bit rate of the messages' payload.
    pub(super) bits_per_second: f64,
}

impl Media {
    /// Makes the clip, and repeats it until it is at least `length` long.
    pub(super) fn make(length: Duration) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let clip = Clips::new(directory.path()).get(Name::Loop)?;
        let once = Take::both(&clip, 0, CLIP_MS);
        let bytes: usize = once.0.iter().map(|message| message.body.len()).sum();
        let mut take = Take::default();
        for round in 0..=i64::try_from(length.as_millis())? / CLIP_MS {
            // Parameter sets are sent only once.
            let again = once.clone().only(|message| round == 0 || message.frame);
            take.0.extend(again.each(|message| later(message, round * CLIP_MS)).0);
        }
        let mut wire = wire(&Target { application: String::new(), url: String::new(), key: String::new() });
        wire.media(&take);
        let act = wire.connection().acts.pop().context("a take is an act")?;
        Ok(Self { act, bits_per_second: bytes as f64 * 8e3 / CLIP_MS as f64 })
    }
}

fn later(mut message: conformance::rtmp::take::Timed, by_ms: i64) -> conformance::rtmp::take::Timed {
    message.at_ms += by_ms;
    message.stamp_ms += by_ms;
    message
}

fn wire(target: &Target) -> Wire {
    Wire::publishing(Options::default(), target)
}

/// Where a server takes publishers.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// Host and port.
    pub(super) address: String,
    pub(super) application: &'static str,
}

/// Publishers at work, on one thread of their own. They leave when this is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    runtime: tokio::runtime::Runtime,
    publishers: Vec<JoinHandle<Vec<Happened>>>,
}

impl Crowd {
    pub(super) fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, publishers: Vec::new() })
    }

    /// Adds publishers until there are `count`, with the stream keys of [`key`].
    pub(super) fn grow(&mut self, count: usize, door: &Door, media: &Media) {
        let (first, address) = (self.publishers.len(), &door.address);
        let many = u32::try_from(count.saturating_sub(first).max(1)).unwrap_or(1);
        for (place, number) in (0..).zip(first..count) {
            let url = format!("rtmp://{address}/{}", door.application);
            let mut wire = wire(&Target { application: door.application.to_owned(), url, key: key(number) });
            wire.act(media.act.clone());
            let mut connection = wire.connection();
            connection.begins = SPREAD * place / many;
            let address = address.clone();
            let publisher = async move { driver::play(&address, &Script::of(connection)).await };
            self.publishers.push(self.runtime.spawn(publisher));
        }
    }

    /// Checks that all of them still publish.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let gone = self.publishers.iter().position(JoinHandle::is_finished);
        let Some(number) = gone else { return Ok(()) };
        let happened = self.runtime.block_on(self.publishers.swap_remove(number))?;
        ensure!(false, "publisher {number} is gone: {:?}", happened.first().map(|happened| &happened.ended));
        Ok(())
    }
}

/// Stream key of a publisher, which is also the name of its stream.
pub(super) fn key(number: usize) -> String {
    format!("passed-{number}")
}
