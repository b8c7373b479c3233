//! The segment that balancers are asked for.

/// The node answers a request for it at once.
pub(crate) const SEGMENT: &str = "/live/bench/v/2/0.m4s";
