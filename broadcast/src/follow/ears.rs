//! What is heard of one stream: its head and its seals, to the gate.

use anyhow::Result;
use media::StreamId;
use messages::Topic;
use node::bus::Message;
use node::{CancellationToken, Context};

use super::subscribe;
use crate::actor::Handle;
use crate::gate::{Input, Source};

/// The subscriptions of a stream; they end when this is dropped.
pub(super) struct Ears {
    _stop: tokio_util::sync::DropGuard,
}

impl Ears {
    /// Subscribes. Works while no broker is there.
    pub(super) async fn open(context: &Context, gate: &Handle, stream: &StreamId) -> Result<Self> {
        let mut heads = subscribe(context, &Topic::Head(stream.clone()).to_string()).await?;
        let mut seals = subscribe(context, &Topic::Seals(stream.clone()).to_string()).await?;
        let stop = CancellationToken::new();
        let (stopping, gate, stream) = (stop.clone(), gate.clone(), stream.clone());
        tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    () = stopping.cancelled() => return,
                    message = heads.recv() => message.map(|message| (message, Source::Head)),
                    message = seals.recv() => message.map(|message| (message, Source::Bus)),
                };
                let Some((Message { payload: raw, .. }, source)) = heard else { return };
                // Empty: the broker forgets what it had retained.
                let input = Input::Seal { stream: stream.clone(), raw: raw.clone(), source };
                if !raw.is_empty() && gate.send(input).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { _stop: stop.drop_guard() })
    }
}
