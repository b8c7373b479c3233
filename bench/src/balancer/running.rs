//! A proxy that runs, and the segment that it is asked for.

use std::process::Child;

/// The node answers a request for it at once.
pub(crate) const SEGMENT: &str = "/live/bench/v/2/0.m4s";

/// A balancer's process, killed when this is dropped.
pub(crate) struct Running(pub(super) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
