//! A proxy that runs, and the segment that it is asked for.

use std::process::Child;

/// It is there at once.
pub(crate) const SEGMENT: &str = "/live/bench/v/2/0.m4s";

/// A balancer's process, killed by its own pid at the end.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
