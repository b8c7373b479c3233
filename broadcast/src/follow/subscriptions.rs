//! The bus subscriptions of one stream: hands its head and its seals to the gate.

use anyhow::Result;
use bus::Message;
use media::StreamId;
use messages::Topic;
use node::{CancellationToken, Context};

use super::subscribe;
use crate::actor::Handle;
use gate::{Input, Source};

/// The subscriptions of a stream, until they are closed or the bus is.
pub(super) struct StreamSubscriptions {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl StreamSubscriptions {
    /// Subscribes. Works while no broker is there.
    pub(super) async fn open(context: &Context, gate: &Handle, stream: &StreamId) -> Result<Self> {
        let mut heads = subscribe(context, &Topic::Head(stream.clone()).to_string()).await?;
        let mut seals = subscribe(context, &Topic::Seals(stream.clone()).to_string()).await?;
        let stop = CancellationToken::new();
        let (stopping, gate, stream) = (stop.clone(), gate.clone(), stream.clone());
        let task = tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    message = heads.recv() => message.map(|message| (message, Source::Head)),
                    message = seals.recv() => message.map(|message| (message, Source::Bus)),
                };
                let Some((Message { payload: raw, .. }, source)) = heard else { return };
                // An empty payload clears a retained message.
                let input = Input::Seal { stream: stream.clone(), raw: raw.clone(), source };
                if !raw.is_empty() && gate.send(input).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { stop, task })
    }

    /// Ends the subscriptions. Once this returns, nothing more is handed to the gate.
    pub(super) async fn close(self) {
        self.stop.cancel();
        // It ends with its token; a panic in it has been reported by the runtime.
        let _ = self.task.await;
    }
}
