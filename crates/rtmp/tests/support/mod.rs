//! Shared by tests and fuzz targets: the handling of input bytes, and the rules that must hold for any bytes.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, not all used in each")]

pub(crate) mod seeds;
pub(crate) mod targets;
