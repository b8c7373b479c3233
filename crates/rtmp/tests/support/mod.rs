//! Shared by tests and fuzz targets: the handling of input bytes, and the rules that must hold for any bytes.
//!
//! The fuzz targets and the example `capture` include this module by its path. Fuzz targets are a workspace of their own with its own
//! lock file. In `testkit`, the module would make each of their builds compile the HTTP clients of other tests, too.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, not all used in each")]

pub(crate) mod seeds;
pub(crate) mod targets;
