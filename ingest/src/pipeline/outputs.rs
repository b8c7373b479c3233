//! The output channel of a pipeline. Outputs travel in batches, because waking the reader for each sample costs more than passing the
//! sample through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Output;

/// Most samples of the feed thread that travel together; usually they are those of a batch of inputs.
const KEPT_MAX: usize = 64;

/// Nobody reads the outputs any more.
#[derive(Debug)]
pub(super) struct Closed;

/// The outputs of a pipeline, in order.
#[derive(Debug)]
pub struct Outputs {
    batches: mpsc::Receiver<Vec<Output>>,
    /// The rest of the newest batch.
    ready: VecDeque<Output>,
}

impl Outputs {
    /// The next output; waits for it. `None` after the last one. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Option<Output> {
        while self.ready.is_empty() {
            self.ready = self.batches.recv().await?.into();
        }
        self.ready.pop_front()
    }

    /// As [`Outputs::recv`], for threads. Panics inside an async context.
    pub fn blocking_recv(&mut self) -> Option<Output> {
        while self.ready.is_empty() {
            self.ready = self.batches.blocking_recv()?.into();
        }
        self.ready.pop_front()
    }

    /// The next output, if it is there.
    #[cfg(test)]
    pub(super) fn try_recv(&mut self) -> Option<Output> {
        while self.ready.is_empty() {
            self.ready = self.batches.try_recv().ok()?.into();
        }
        self.ready.pop_front()
    }
}

/// Sends outputs, each at once.
#[derive(Debug, Clone)]
pub(super) struct Sender(mpsc::Sender<Vec<Output>>);

impl Sender {
    /// Sends an output; waits while the channel is full.
    pub(super) fn send(&self, output: Output) -> Result<(), Closed> {
        self.0.blocking_send(vec![output]).map_err(|_| Closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Sends outputs of the feed thread, and its samples in batches.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    sender: Sender,
    kept: Arc<Mutex<Vec<Output>>>,
}

impl Collector {
    /// Keeps a sample for [`Collector::flush`]; all else goes out at once, after what was kept.
    pub(super) fn send(&self, output: Output) -> Result<(), Closed> {
        let is_sample = matches!(output, Output::Sample { .. });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(output);
        let waits = is_sample && kept.len() < KEPT_MAX;
        drop(kept);
        if waits { Ok(()) } else { self.flush() }
    }

    /// Sends what was kept; waits while the channel is full.
    pub(super) fn flush(&self) -> Result<(), Closed> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        if kept.is_empty() { Ok(()) } else { self.sender.0.blocking_send(kept).map_err(|_| Closed) }
    }

    /// The sender for other threads.
    pub(super) const fn sender(&self) -> &Sender {
        &self.sender
    }
}

/// A channel in which `depth` batches may wait.
pub(super) fn channel(depth: usize) -> (Collector, Outputs) {
    let (sender, batches) = mpsc::channel(depth);
    let collector = Collector { sender: Sender(sender), kept: Arc::default() };
    (collector, Outputs { batches, ready: VecDeque::new() })
}

#[cfg(test)]
mod tests {
    use media::{Sample, Timescale, Timestamp};

    use super::super::BreakReason;
    use super::*;

    fn sample() -> Output {
        let at = Timestamp::zero(Timescale::VIDEO);
        let sample = Sample { pts: at, dts: at, duration: at, sync: true, data: bytes::Bytes::new() };
        Output::Sample { rendition: "a".parse().unwrap(), sample }
    }

    #[test]
    fn samples_wait_for_each_other_and_nothing_overtakes_them() {
        let (collector, mut outputs) = channel(4);
        collector.send(sample()).unwrap();
        collector.send(sample()).unwrap();
        assert!(outputs.try_recv().is_none(), "kept");
        collector.flush().unwrap();
        collector.send(sample()).unwrap();
        collector.send(Output::Break(BreakReason::InputClock)).unwrap();
        let mut seen = || outputs.try_recv().map(|output| matches!(output, Output::Sample { .. }));
        assert_eq!([seen(), seen(), seen(), seen(), seen()], [Some(true), Some(true), Some(true), Some(false), None]);
        for _ in 0..KEPT_MAX {
            collector.send(sample()).unwrap();
        }
        assert!(outputs.try_recv().is_some(), "no more are kept");
        drop(outputs);
        assert!(collector.sender().is_closed() && collector.send(Output::Ended).is_err());
    }
}
